"""How the command ends: files kept, messages and exit status."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from test_studies import OURS, SMALL
from xarray import Dataset

import hmimo_fast as hf
from hmimo_fast import studies
from hmimo_fast.cli import main
from hmimo_fast.files import Arrays
from hmimo_fast.studies import Panel, curves
from hmimo_fast.studies.chunks import Chunk, compute
from hmimo_fast.studies.jobs import signals_held

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-W", "error", "-m", "hmimo_fast"]
SOLVE = ["solve", "own.npy", "--axes", "draws,users,elements", "--feeds", "2", "--users", "2",
         "--snr", "10", "--method", "zf"]  # fmt: skip
FEW = replace(
    SMALL,
    grids=({"elements": (4, 9)},),
    panels=(Panel("rates", "sum_rate", x="elements"),),
    chunk=2,
)
ROOT = Path(hf.__file__).parents[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a batch of channels in ``own.npy``, one of them in ``one.npy``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")
    channel = hf.channels.rayleigh(hf.Surface(shape=(3, 3)), users=3, size=4, seed=0)
    np.save("own.npy", channel)
    np.save("one.npy", channel[0])
    return tmp_path


def run(
    command: Sequence[str], stdout: Any = subprocess.PIPE, **settings: Any
) -> subprocess.CompletedProcess[str]:
    """A process of its own."""
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
        **settings,
    )  # fmt: skip


def run_closed(command: Sequence[str], both: bool = False) -> tuple[int, str]:
    """A run whose stdout, or also stderr, is closed; exit status and stderr."""
    end, pipe = os.pipe()
    os.close(end)
    done = subprocess.run(
        command, stdout=pipe, stderr=pipe if both else subprocess.PIPE, timeout=300, check=False
    )
    os.close(pipe)
    return done.returncode, (done.stderr or b"").decode()


def small_study(*arguments: str) -> list[str]:
    """The command with two studies of a second, as a process."""
    script = (
        "from dataclasses import replace\n"
        "from hmimo_fast import studies\n"
        "from hmimo_fast.cli import main\n"
        "from test_ending import FEW\n"
        "studies.STUDIES.clear()\n"
        "studies.STUDIES.update(a=replace(FEW, id='a'), b=replace(FEW, id='b'))\n"
        f"raise SystemExit(main(['reproduce', *{list(arguments)!r}]))\n"
    )
    return [sys.executable, "-W", "error", "-c", script]


# -- stdout and stderr ---------------------------------------------------------------------


def test_results_are_there_though_nobody_reads(here: Path) -> None:
    assert run_closed([*COMMAND, *SOLVE]) == (0, "zf ...\nfully_digital ...\n")
    assert Path("solve_own.npz").exists()
    one = ["one.npy", "--feeds", "2", "--snr", "10", "--methods", "zf"]
    assert run_closed([*COMMAND, "schedule", *one], both=True)[0] == 0
    assert {path.name for path in here.glob("schedule*")} == {
        "schedule_one.npz",
        "schedule_one.png",
    }


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["info"]])
def test_nobody_reads_what_is_said_at_once(arguments: list[str]) -> None:
    assert run_closed([*COMMAND, *arguments]) == (0, "")


def test_a_full_device_is_told_and_loses_nothing(here: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run([*COMMAND, *SOLVE], stdout=full)
    assert done.returncode == 2
    assert done.stderr.splitlines()[2:] == [
        "hmimo-fast: error: [Errno 28] No space left on device: 'stdout'"
    ]
    assert Path("solve_own.npz").exists()


def test_streams_that_the_shell_closed(here: Path) -> None:
    done = run(["sh", "-c", '"$@" >&- 2>&-', "sh", *COMMAND, *SOLVE])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with np.load("solve_own.npz") as saved:
        assert saved["rates"].shape == (1, 4, 2)


def test_streams_that_the_shell_closed_are_there_for_processes_of_ours() -> None:
    script = (
        "import subprocess, sys\n"
        "from hmimo_fast.streams import settle\n"
        "settle()\n"
        "inner = 'import os, sys; os.fstat(1), os.fstat(2); sys.exit(5 if sys.stderr else 6)'\n"
        "sys.exit(subprocess.run([sys.executable, '-c', inner]).returncode)"
    )
    done = run(["sh", "-c", '"$@" >&- 2>&- <&-', "sh", sys.executable, "-c", script])
    assert done.returncode == 5


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1"])
def test_a_terminal_without_the_characters(encoding: str, here: Path) -> None:
    done = run(
        [*COMMAND, *SOLVE], env={**os.environ, "PYTHONIOENCODING": encoding}, errors="replace"
    )
    assert (done.returncode, done.stderr) == (0, "zf ...\nfully_digital ...\n")
    assert Path("solve_own.npz").exists()
    assert (" ? " in done.stdout) == (encoding == "ascii")
    done = run([*COMMAND, "solve", "名.npy"], env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "?.npy" in done.stderr


@pytest.mark.parametrize("name", [b"cost$5_a^2$.npy", b"$x$.npy", b"a_{b.npy", b"caf\xe9\xff.npy"])
@pytest.mark.parametrize("suffix", ["png", "pdf", "svg", "h5"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_any_file_name_is_solved_and_drawn(name: bytes, suffix: str, here: Path) -> None:
    path = os.fsdecode(name)
    os.rename("one.npy", path)
    where = ["--output", "out.h5"] if suffix == "h5" else ["--figure", f"out.{suffix}"]
    assert main(["solve", path, "--feeds", "2", "--users", "2", "--snr", "10", *where]) == 0
    assert Path(f"out.{suffix}").stat().st_size > 1000
    if suffix == "svg":  # whose text is text
        shown = Path(path).stem.encode(errors="replace").decode()
        assert f"{shown}: 2 users" in Path("out.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command",
    [
        [*SOLVE, "--output", "out.h5"],
        [*SOLVE, "--output", "out.npz"],
        ["reproduce", "curves", "--output", "."],
    ],
)
def test_a_limit_on_files_is_one_line_and_leaves_nothing(command: list[str], here: Path) -> None:
    before = sorted(here.iterdir())
    done = run(["sh", "-c", 'ulimit -f 1; exec "$@"', "sh", *COMMAND, *command])
    assert done.returncode == 2
    assert "hmimo-fast: error: [Errno 27] File too large: '" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert sorted(here.iterdir()) == before


# -- studies -------------------------------------------------------------------------------


def test_all_studies_are_there_though_the_reader_went(here: Path) -> None:
    command = small_study("all", "--realizations", "2", "--engine", "serial")
    status, said = run_closed(command)
    assert (status, "Traceback" in said) == (0, False)
    assert {path.stem for path in Path("studies").glob("*.h5")} == {"a", "b"}
    done = run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.count("result: ") == 2
    for file in Path("studies").glob("*.h5"):
        file.unlink()
    with open("/dev/full", "w") as full:
        done = run(command, stdout=full)
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "error" in line] == [
        "hmimo-fast: error: a: [Errno 28] No space left on device: 'stdout'"
    ]
    assert {path.stem for path in Path("studies").glob("*.h5")} == {"a", "b"}


@pytest.mark.parametrize("error", [ValueError("so it is"), RuntimeError("so it is")])
def test_a_study_that_fails_does_not_end_the_others(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save = studies.save

    def fail(dataset: Dataset, path: Path) -> None:
        if path.stem == "a":
            raise error
        save(dataset, path)

    monkeypatch.setattr(studies, "save", fail)
    named = {name: replace(FEW, id=name) for name in "ab"}
    monkeypatch.setattr(studies, "STUDIES", named)
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "2"]
    with pytest.raises(SystemExit) as left:
        main(["reproduce", "all", *options])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert "hmimo-fast: error: a: " in said.err
    assert "so it is" in said.err
    assert ("Traceback" in said.err) == isinstance(error, RuntimeError)
    assert f"result: {tmp_path / 'b'}.h5" in said.out
    assert {path.name for path in tmp_path.glob("a.*")} == set()


def test_chunks_that_all_fail_are_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = replace(OURS, options={"sweeps": -1})
    monkeypatch.setattr(studies, "STUDIES", {"small": replace(SMALL, methods=(wrong,))})
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "10"]
    with pytest.raises(SystemExit) as left:
        main(["reproduce", "small", *options])
    assert left.value.code == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "small: all 5 chunks failed 3 times" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["chunks"]
    assert main(["reproduce", "trends", "--output", str(tmp_path)]) == 2


# -- what cannot be written, or is not ours to replace ---------------------------------------


def unwritable(here: Path) -> dict[str, str]:
    """Results that cannot be written, each with a word of the refusal."""
    (here / "pipe").mkdir()
    os.mkfifo(here / "pipe" / "pipe.npz")
    (here / "loop.npz").symlink_to("loop.npz")
    (here / "null.npz").symlink_to("/dev/null")
    (here / "folder.npz").mkdir()
    return {
        "/proc/result.npz": "/proc/result.npz",
        f"{'a' * 300}.npz": "name too long",
        "pipe/pipe.npz": "Not a regular file",
        "null.npz": "Not a regular file",
        "loop.npz": "symbolic link",
        "folder.npz": "Is a directory",
        "nowhere/result.npz": "no such folder",
    }


@pytest.mark.parametrize("verb", ["solve", "schedule"])
def test_what_cannot_be_written_is_found_first(
    verb: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def computed(*arguments: Any, **settings: Any) -> None:
        raise AssertionError("computed")

    monkeypatch.setattr(f"hmimo_fast.cli.{verb}.solve", computed)
    monkeypatch.setattr("hmimo_fast.cli.schedule.schedule", computed)
    for name, word in unwritable(here).items():
        assert main([verb, "one.npy", "--feeds", "2", "--output", name]) == 2
        said = capsys.readouterr().err
        assert said.startswith("hmimo-fast: error: --output: ")
        assert (word in said, said.count("\n")) == (True, 1)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


FOREIGN = {
    "text": b"my own notes",
    "empty": b"",
    "named": b"a comparison with hmimo_fast",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("name", ["out.npz", "out.h5", "out.png", "out.pdf", "out.svg"])
def test_what_is_not_ours_is_not_replaced(
    name: str, content: bytes, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(name).write_bytes(content)
    option = "--output" if name.endswith(("npz", "h5")) else "--figure"
    command = ["solve", "one.npy", "--feeds", "2", "--users", "2", "--snr", "10", option, name]
    before = sorted(here.iterdir())
    assert main(command) == 2
    assert f"{option}: {name} is not of hmimo-fast; --force" in capsys.readouterr().err
    assert (Path(name).read_bytes(), sorted(here.iterdir())) == (content, before)
    assert main([*command, "--force"]) == 0
    ours = Path(name).read_bytes()
    assert ours != content
    assert main(command) == 0  # one of ours is replaced


def test_the_picture_beside_a_result_is_not_replaced(here: Path) -> None:
    np.savez("mine.npz", channel=np.ones(3))
    Path("solve_one.png").write_bytes(b"my own picture")
    assert main(["solve", "one.npy", "--feeds", "2", "--users", "2", "--snr", "10"]) == 2
    assert Path("solve_one.png").read_bytes() == b"my own picture"
    assert main(["solve", "one.npy", "--feeds", "2", "--snr", "10", "--output", "mine.npz"]) == 2
    with np.load("mine.npz") as kept:
        assert kept.files == ["channel"]


@pytest.mark.parametrize("name", ["small.h5", "small.pdf", "small.png", "small.txt", "curves.csv"])
def test_reproduce_replaces_only_its_own(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(studies, "STUDIES", {"small": FEW})
    monkeypatch.setattr(curves, "compute", curves.committed)
    study = "curves" if name == "curves.csv" else "small"
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "2"]
    (tmp_path / name).write_bytes(b"my own")
    assert main(["reproduce", study, *options]) == 2
    assert f"--output: {tmp_path / name} is not of hmimo-fast" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert main(["reproduce", study, *options, "--force"]) == 0
    assert main(["reproduce", study, *options]) == 0


@pytest.mark.parametrize("name", ["log.csv", "model.safetensors"])
def test_train_replaces_only_its_own(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    command = ["train", "mbdnn_digital", "--steps", "1", "--batch", "2", "--folder", str(tmp_path)]
    (tmp_path / name).write_bytes(b"my own")
    assert main(command) == 2
    assert (tmp_path / name).read_bytes() == b"my own"
    assert main([*command, "--force"]) == 0
    assert main(command) == 0


# -- signals -------------------------------------------------------------------------------


class Endless:
    """`compute` that never ends, in a worker that writes down its process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: Chunk) -> Arrays:
        (self.folder / str(os.getpid())).touch()
        while True:
            time.sleep(0.1)
        return compute(chunk)


def started(script: str, folder: Path, wanted: int) -> subprocess.Popen[bytes]:
    """A program, once as many of its workers are there."""
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) < wanted:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def ending(process: subprocess.Popen[bytes]) -> bytes:
    """Its standard error until it ends; killed if it does not."""
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    finally:
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def test_a_signal_that_something_swallows_comes_again(here: Path) -> None:
    (here / "workers").mkdir()
    script = (
        "import time\n"
        "from pathlib import Path\n"
        "from hmimo_fast.cli import ending\n"
        "ending._PATIENCE = 1.0\n"
        "class Swallows:\n"
        "    def __del__(self):\n"
        f"        Path({str(here / 'workers' / '0')!r}).touch()\n"
        "        time.sleep(2)\n"
        "with ending.ended_by_signals():\n"
        "    Swallows()\n"
        "    time.sleep(30)\n"
    )
    process = started(script, here / "workers", 1)
    process.send_signal(signal.SIGTERM)
    assert b"SystemExit" in ending(process)
    assert process.returncode == 128 + signal.SIGTERM


def test_signals_wait_until_jobs_are_known() -> None:
    came: list[str] = []
    handler = signal.signal(signal.SIGTERM, lambda number, frame: came.append("handled"))
    try:
        with signals_held():
            signal.raise_signal(signal.SIGTERM)
            came.append("known")
        assert came == ["known", "handled"]
    finally:
        signal.signal(signal.SIGTERM, handler)


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        ("processes:2", signal.SIGTERM),
        ("processes:2", signal.SIGHUP),
        ("processes:2", signal.SIGINT),
        ("local", signal.SIGTERM),
        ("local", signal.SIGINT),
    ],
)
def test_a_signal_leaves_no_worker(engine: str, number: signal.Signals, here: Path) -> None:
    pytest.importorskip("joblib" if engine == "processes:2" else "submitit")
    (here / "workers").mkdir()
    script = (
        "from pathlib import Path\n"
        "from hmimo_fast import studies\n"
        "from hmimo_fast.cli import main\n"
        "from hmimo_fast.studies import runner\n"
        "from test_ending import Endless\n"
        "from test_studies import SMALL\n"
        "studies.STUDIES.update(small=SMALL)\n"
        f"endless = Endless(Path({str(here)!r}, 'workers'))\n"
        "runner.run.__defaults__ = (*runner.run.__defaults__[:-1], endless)\n"
        f"raise SystemExit(main(['reproduce', 'small', '--engine', {engine!r}]))\n"
    )
    wanted = 2 if engine == "processes:2" else 1
    process = started(script, here / "workers", wanted)
    workers = [int(path.name) for path in (here / "workers").iterdir()]
    began = time.monotonic()
    process.send_signal(number)
    said = ending(process)
    assert time.monotonic() - began < 4  # and two on a machine that is free
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    assert b"Traceback" not in said
    while any(map(alive, workers)):
        assert time.monotonic() - began < 6
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("HMIMO_BACKEND", "bogus", "backend"),
        ("HMIMO_FAST_ISA", "v9", "backend"),
        ("HMIMO_NUM_THREADS", "many", "threads"),
    ],
)
def test_info_runs_whatever_is_broken(name: str, value: str, line: str, here: Path) -> None:
    done = run([*COMMAND, "info"], env={**os.environ, name: value})
    assert (done.returncode, done.stderr) == (0, "")
    said = dict(row.split(maxsplit=1) for row in done.stdout.splitlines())
    assert said[line].startswith(f"none: {name}: expected ")
    assert said["numpy"] == np.__version__


def test_info_runs_without_numba_and_home(here: Path) -> None:
    """Where Numba does not import, and nothing can be kept."""
    (here / "broken" / "numba").mkdir(parents=True)
    (here / "broken" / "numba" / "__init__.py").write_text("raise RuntimeError('no cache')\n")
    path = f"{here / 'broken'}{os.pathsep}{os.environ['PYTHONPATH']}"
    poor = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = run([*COMMAND, "info"], env={**poor, "PYTHONPATH": path, "HMIMO_BACKEND": "numba"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "no cache" in done.stdout


# -- damaged results -----------------------------------------------------------------------


def damaged(path: Path, how: str) -> None:
    """Damage a study's dataset."""
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "foreign":
        path.write_bytes(b"my own")
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "of another study":
        studies.save(studies.load(path).assign_attrs(study="other"), path)
    elif how == "variable":
        studies.save(studies.load(path).drop_vars("sum_rate"), path)
    elif how == "variable by h5py":
        with h5py.File(path, "a") as file:
            del file["sum_rate"]
    else:
        content[int(how) * len(content) // 100] ^= 0xFF
        path.write_bytes(content)


DAMAGES = ["cut", "foreign", "empty", "folder", "of another study", "variable", "variable by h5py",
           *map(str, range(0, 100, 7))]  # fmt: skip


def test_damaged_results_are_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = {name: replace(FEW, id=name) for name in "ab"}
    monkeypatch.setattr(studies, "STUDIES", named)
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "2"]
    assert main(["reproduce", "all", *options]) == 0
    whole = (tmp_path / "a.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:  # any program reads it
        assert file["sum_rate"].shape == (2, 2, 2)
    capsys.readouterr()
    for how in DAMAGES:
        (tmp_path / "a.h5").write_bytes(whole)
        damaged(tmp_path / "a.h5", how)
        with pytest.raises(SystemExit) as left:
            main(["reproduce", "trends", "--output", str(tmp_path)])
        said = capsys.readouterr()
        assert left.value.code == 2
        assert said.err.startswith("hmimo-fast: error: ")
        assert (str(tmp_path / "a.h5") in said.err, said.err.count("\n")) == (True, 1)
        assert said.out.startswith("b: a study for the tests\n")
        if how == "folder":
            (tmp_path / "a.h5").rmdir()


# -- absurd numbers ------------------------------------------------------------------------

HUGE = ("0", "-1", "1.5", "x", "", "²", "99999999999999999999", "9" * 5000)


@pytest.mark.parametrize(
    ("command", "high"),
    [
        ("solve munich --starts", 10_000),
        ("solve munich --levels", 16),
        ("solve munich --users", 2**31 - 1),
        ("solve munich --feeds", 2**31 - 1),
        ("schedule munich --threads", 2**31 - 1),
        ("reproduce B-7 --realizations", 1_000_000),
        ("train mbdnn_digital --steps", 2**31 - 1),
        ("train mbdnn_digital --batch", 100_000),
        ("train mbdnn_digital --samples", 1_000_000),
    ],
)
def test_absurd_counts_are_refused_with_their_bound(
    command: str, high: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(here.iterdir())
    for number in (*HUGE, str(high + 1)):
        *words, option = command.split()
        assert main([*words, f"{option}={number}"]) == 2
        said = capsys.readouterr().err
        assert f"argument {option}" in said
        assert f"expected an integer from 1 to {high}, got " in said
        assert (said.count("\n"), len(said) < 250) == (1, True)
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize("feeds", ["edge:0", "edge:x", "edge:65", "edge:2147483647", "65"])
def test_absurd_feeds_are_refused(
    feeds: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", "munich", "--feeds", feeds]) == 2
    assert "--feeds" in capsys.readouterr().err
