"""The command line: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import importlib
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

import hmimo_fast as hf
from hmimo_fast import benchmark, cli
from hmimo_fast.cli import main

QUICK = ["--users", "9", "--feeds", "3"]
LABELS = ("random + greedy", "alternating + greedy (as published)", "joint + greedy")
OPTIONS = """--users --seed --shape --feeds --frequency --spacing --key --power --noise --constraint
--min-rate --methods --search --accept --threads --output --figure --no-figure""".split()


@dataclass
class Outcome:
    """One run: what it printed, and its files."""

    text: str
    arrays: dict[str, np.ndarray]
    figure: Path


def load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file without any pickle."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def size_of_png(path: Path) -> tuple[int, int]:
    """Width and height from the header of the format."""
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", header[16:])


def run_into(folder: Path, *options: str) -> Outcome:
    """A quick schedule of Munich."""
    output = folder / "result.npz"
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["schedule", "munich", *QUICK, "--output", str(output), *options]) == 0
    return Outcome(printed.getvalue(), load(output), folder / "result.png")


@pytest.fixture(scope="module")
def munich(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return run_into(tmp_path_factory.mktemp("munich"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rates_of(found: dict[str, np.ndarray], method: int, noise: float) -> np.ndarray:
    """Rates of all users, one number at a time."""
    field = found["amplitudes"][method][:, None] * found["phase"] @ found["digital"][method]
    users = len(found["users"])
    rates = np.zeros(users)
    for k in range(users):
        received = [abs(np.dot(found["channel"][k], field[:, j])) ** 2 for j in range(users)]
        rates[k] = np.log2(1 + received[k] / (noise + sum(received) - received[k]))
    return rates


def test_table_shows_what_the_file_holds(munich: Outcome) -> None:
    lines = munich.text.splitlines()
    assert "9 of 88 users (seed 0)" in lines[0]
    assert "8 x 8 elements at 2.5 mm, 3 feeds, 30 GHz" in lines[1]
    assert "30 dBm (radiated), noise -87 dBm, minimum rate 1 bit/s/Hz" in lines[2]
    assert lines[5].split().count("bit/s/Hz") == 2
    for method, label in enumerate(LABELS):
        (row,) = (line for line in lines if line.startswith(label + "  "))
        served = munich.arrays["served"][method]
        lowest = munich.arrays["rates"][method][served].min()
        expected = [
            f"{munich.arrays['sum_rate'][method]:.2f}",
            str(served.sum()),
            "yes",
            f"{lowest:.2f}",
        ]
        assert row.removeprefix(label).split()[:4] == expected
        assert row.count("ms") + row.count(" s") == 2
    (row,) = (line for line in lines if line.startswith("fully digital, users of joint"))
    assert f"{munich.arrays['fully_digital_rates'].sum():.2f}" in row
    gain = munich.arrays["sum_rate"][2] / munich.arrays["sum_rate"][1]
    assert f"joint + greedy: {gain:.2f} times the sum rate of alternating" in munich.text


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_file_is_consistent(constraint: str, munich: Outcome, tmp_path: Path) -> None:
    found = munich.arrays
    if constraint == "digital":
        found = run_into(tmp_path, "--constraint", "digital", "--no-figure").arrays
    scene = hf.channels.load("munich")
    np.testing.assert_array_equal(found["channel"], scene.channel[found["users"]])
    np.testing.assert_array_equal(found["user_positions"], scene.user_positions[found["users"]])
    np.testing.assert_array_equal(found["phase"], hf.Surface(feeds=3).phase)
    assert found["methods"].tolist() == ["random", "alternating", "joint"]
    assert found["constraint"] == constraint
    assert (found["power_dbm"], found["noise_dbm"], found["min_rate"]) == (30, -87, 1)
    assert found["feasible"].all()
    for method in range(3):
        served, amplitudes = found["served"][method], found["amplitudes"][method]
        digital, rates = found["digital"][method], found["rates"][method]
        assert 1 <= served.sum() <= 3
        assert rates[served].min() >= 1 - 1e-9
        assert not rates[~served].any()
        assert not digital[:, ~served].any()
        assert amplitudes.min() >= 0
        assert amplitudes.max() <= 1
        np.testing.assert_allclose(rates_of(found, method, 1e-3 * 10**-8.7), rates, rtol=1e-8)
        np.testing.assert_allclose(found["sum_rate"][method], rates.sum())
        beams = (
            digital if constraint == "digital" else amplitudes[:, None] * found["phase"] @ digital
        )
        assert np.linalg.norm(beams) ** 2 <= 1 + 1e-9
    assert not found["fully_digital_rates"][~found["served"][-1]].any()
    assert found["fully_digital_rates"].sum() > 0


def test_figure_is_a_picture(munich: Outcome) -> None:
    image = importlib.import_module("matplotlib.image")
    width, height = size_of_png(munich.figure)
    assert 1000 <= width <= 4000
    assert 600 <= height <= 2400
    assert 1.2 <= width / height <= 3
    colours = image.imread(munich.figure)[..., :3]
    assert 0.3 < (colours == 1).all(axis=-1).mean() < 0.9  # the background, and a drawing on it


def test_same_seed_same_result(munich: Outcome, tmp_path: Path) -> None:
    again = run_into(tmp_path, "--no-figure", "--threads", "1").arrays
    timed = {name for name in again if name.endswith("seconds")}
    for name in again.keys() - timed:
        np.testing.assert_array_equal(again[name], munich.arrays[name])
    assert not (tmp_path / "result.png").exists()
    other = run_into(tmp_path, "--no-figure", "--seed", "1").arrays
    assert other["users"].tolist() != again["users"].tolist()


def test_hdf5_holds_the_same(munich: Outcome, here: Path) -> None:
    options = ["--output", "result.h5", "--no-figure"]
    assert main(["schedule", "munich", *QUICK, *options]) == 0
    with h5py.File("result.h5") as file:
        assert set(file) == set(munich.arrays)
        for name, expected in munich.arrays.items():
            if name.endswith("seconds"):
                continue
            dataset = file[name]
            saved = dataset.asstr()[()] if expected.dtype.kind == "U" else dataset[()]
            np.testing.assert_array_equal(saved, expected)
    assert [path.name for path in here.iterdir()] == ["result.h5"]


def save_npz(path: Path, channel: np.ndarray) -> None:
    np.savez(path, H=channel)


def save_placed(path: Path, channel: np.ndarray) -> None:
    users = np.random.default_rng(1).uniform([-40, 5, 1], [40, 80, 1], (len(channel), 3))
    np.savez(
        path,
        H=channel,
        user_positions=users,
        surface_position=[0.0, 0.0, 10.0],
        surface_rotation=[[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]],  # looks along the world's y
        frequency=28e9,
    )


def save_mat(path: Path, channel: np.ndarray) -> None:
    scipy.io.savemat(path, {"H": channel, "other": 1j * np.ones((2, 2))})


def save_h5(path: Path, channel: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["H"] = channel


@pytest.mark.parametrize(
    ("suffix", "save", "options"),
    [
        (".npz", save_npz, ["--frequency", "28", "--spacing", "2"]),
        (".npz", save_placed, ["--spacing", "2"]),
        (".npy", np.save, []),
        (".mat", save_mat, ["--key", "H"]),
        (".h5", save_h5, ["--shape", "6x6"]),
    ],
)
def test_own_file(
    suffix: str, save: Callable[[Path, Any], None], options: list[str], here: Path
) -> None:
    channel = 1e-5 * hf.channels.rayleigh(hf.Surface(shape=(6, 6)), users=5, seed=0)
    save(here / f"own{suffix}", channel)
    assert main(["schedule", f"own{suffix}", "--feeds", "2", *options]) == 0
    found = load(here / "schedule_own.npz")
    np.testing.assert_array_equal(found["channel"], channel)
    assert found["shape"].tolist() == [6, 6]
    frequency, spacing = (28e9, 2e-3) if "--spacing" in options else (30e9, 299792458 / 30e9 / 4)
    assert found["frequency_hz"] == frequency
    np.testing.assert_allclose(found["spacing_m"], spacing)
    assert ("user_positions" in found) == (save is save_placed)
    width, height = size_of_png(here / "schedule_own.png")
    assert width > height > 600


def test_nobody_served(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "munich", *QUICK, "--power", "-100"]) == 0
    found = load(here / "schedule_munich.npz")
    assert not found["served"].any()
    assert not found["feasible"].any()
    (row,) = (
        line for line in capsys.readouterr().out.splitlines() if line.startswith("joint + greedy")
    )
    assert row.removeprefix("joint + greedy").split()[:4] == ["0.00", "0", "-", "-"]
    assert size_of_png(here / "schedule_munich.png")[0] > 1000


def test_search_and_last_method(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--methods", "joint,zf", "--search", "local", "--accept", "rate", "--no-figure"]
    assert main(["schedule", "munich", *QUICK, *options]) == 0
    printed = capsys.readouterr().out
    assert "fully digital, users of zf" in printed
    assert "joint + local " in printed
    found = load(here / "schedule_munich.npz")
    assert found["methods"].tolist() == ["joint", "zf"]
    assert (found["search"], found["accept"]) == ("local", "rate")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("munich --shape 9x9", "shape"),
        ("munich --shape 8", "--shape"),
        ("munich --users 89", "--users"),
        ("munich --users 0", "--users"),
        ("munich --feeds 0", "--feeds"),
        ("munich --feeds edge:x", "feeds"),
        ("munich --methods joint,fast", "--methods"),
        ("munich --methods joint,joint", "--methods"),
        ("munich --min-rate -1", "--min-rate"),
        ("munich --power nan", "--power"),
        ("munich --noise 1e9", "--noise"),
        ("munich --power 30dBm", "--power"),
        ("munich --seed -1", "--seed"),
        ("munich --threads 0", "--threads"),
        ("munich --frequency 28", "--frequency"),
        ("munich --spacing 5", "--spacing"),
        ("munich --key H", "key"),
        ("munich --search quick", "--search"),
        ("munich --output result.txt", "--output"),
        ("munich --output nowhere/result.npz", "--output"),
        ("munich --output folder.npz", "--output"),
        ("munich --figure picture.doc", "--figure"),
        ("munich --bogus", "--bogus"),
        ("missing.npz", "missing.npz"),
        ("notes.txt", "notes.txt"),
        ("broken.npz", "broken.npz"),
        ("nan.npy", "nan.npy"),
        ("three.npy", "three.npy"),
        ("odd.npy", "--shape"),
        ("odd.npy --shape 3x1 --output odd.npy", "--output"),
        ("odd.npy --shape 3x1 --output ./odd.npz --figure odd.npy", "--figure"),
        ("", "SCENE"),
    ],
)
def test_refuses_in_one_line(
    options: str, word: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = np.ones((2, 3), complex)
    np.save("odd.npy", channel)
    np.save("nan.npy", channel * np.nan)
    np.save("three.npy", channel[None])
    Path("broken.npz").write_bytes(b"PK\x03\x04 no archive")
    Path("folder.npz").mkdir()
    before = sorted(here.rglob("*"))
    assert main(["schedule", *options.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hmimo-fast: error: ")
    assert said.err.count("\n") == 1
    assert word in said.err
    assert sorted(here.rglob("*")) == before


def test_refuses_an_exhaustive_search_of_many(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", "munich", "--search", "exhaustive"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("hmimo-fast: error: channel: ")


def test_interrupted(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.schedule, "schedule", interrupt)
    assert main(["schedule", "munich"]) == 130
    assert capsys.readouterr().err.splitlines()[1:] == ["hmimo-fast: interrupted"]
    assert not list(here.iterdir())


def without(package: str) -> Callable[[str], object]:
    return lambda name: None if name == package else object()


def test_without_matplotlib(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.output, "find_spec", without("matplotlib"))
    assert main(["schedule", "munich", *QUICK]) == 0
    assert "pip install 'hmimo_fast[cli]'" in capsys.readouterr().err.splitlines()[0]
    assert [path.name for path in here.iterdir()] == ["schedule_munich.npz"]
    assert main(["schedule", "munich", "--figure", "munich.png"]) == 2
    assert "pip install 'hmimo_fast[cli]'" in capsys.readouterr().err


def test_without_h5py(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.output, "find_spec", without("h5py"))
    assert main(["schedule", "munich", "--output", "result.h5"]) == 2
    assert "pip install 'hmimo_fast[io]'" in capsys.readouterr().err


@pytest.mark.parametrize("rich", [True, False])
def test_progress_on_a_terminal(
    rich: bool, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for stream in (sys.stdout, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(["schedule", "munich", *QUICK, "--no-figure"]) == 0
    said = capsys.readouterr()
    assert all(label in said.err for label in LABELS)
    assert ("pip install 'hmimo_fast[cli]'" in said.err) == (not rich)
    assert ("9/9" in said.err) == rich
    assert said.out.startswith("munich: ")


def test_progress_elsewhere_is_a_line_a_method(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schedule", "munich", *QUICK, "--no-figure"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"{label} ..." for label in LABELS]


@pytest.mark.parametrize("backend", ["native", "numba", "numpy"])
def test_info(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli.info, "get_backend", lambda: backend)
    if backend == "native":
        pytest.importorskip("hmimo_fast.kernels.native")
    assert main(["info"]) == 0
    said = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert said["backend"].startswith(backend)
    assert ("instructions" in said["backend"]) == (backend == "native")
    assert said["hmimo_fast"] == hf.__version__
    assert said["numpy"] == np.__version__
    assert "CPUs" in said["threads"]


@pytest.mark.slow
def test_bench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The measuring process with NumPy alone, and the table of its output."""
    pinned: list[int] = []
    monkeypatch.setattr(benchmark, "pin", lambda: pinned.append(0))
    monkeypatch.setattr(benchmark, "_FEWEST", 1)
    monkeypatch.setattr(
        benchmark, "available", lambda peers: {name: peers[name] for name in peers if "Num" in name}
    )
    monkeypatch.setattr(sys, "argv", ["benchmark", "0"])
    assert benchmark.main() == 0
    assert pinned == [0]
    measured = capsys.readouterr().out
    rows = json.loads(measured)
    commands: list[list[str]] = []

    def run(command: list[str], env: dict[str, str], **settings: Any) -> Any:
        commands.append(command)
        assert env["OPENBLAS_NUM_THREADS"] == "1"
        return subprocess.CompletedProcess(command, 0, measured)

    monkeypatch.setattr(cli.bench.subprocess, "run", run)
    assert main(["bench", "--seconds", "0.5"]) == 0
    assert commands == [[sys.executable, "-m", "hmimo_fast.benchmark", "0.5"]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"backend: {hf.get_backend()}")
    assert "µs" in lines[2]
    assert lines[4].split() == ["hmimo_fast", "NumPy", "NumPy", "in", "pieces", "best", "other"]
    table = lines[7:]
    assert len(table) == len(rows) == 10
    for line, (workload, row) in zip(table, rows.items(), strict=True):
        assert line.startswith(workload)
        ours, first, *_, ratio = line.removeprefix(workload).split()
        np.testing.assert_allclose(float(ours), 1e6 * row["hmimo_fast"], rtol=0.01)
        np.testing.assert_allclose(float(first), 1e6 * row["NumPy"], rtol=0.01)
        best = min(row[name] for name in row.keys() - {"hmimo_fast"})
        np.testing.assert_allclose(float(ratio), best / row["hmimo_fast"], atol=0.051)


@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
@pytest.mark.parametrize("batch", [None, 5])
def test_bench_peers_agree(batch: int | None, dtype: type) -> None:
    """`gradient_row` raises where a peer that is installed here differs."""
    row = benchmark.gradient_row(9, 3, batch, dtype, seconds=0.0)
    assert {"hmimo_fast", "NumPy"} <= row.rounds.keys()
    assert row.best() in row.rounds.keys() - {"hmimo_fast"}


def test_bench_refuses_a_peer_that_differs() -> None:
    right, wrong = np.ones(3), np.array([1.0, 1.0, 1.1])
    with pytest.raises(ArithmeticError, match="rate, result 0: other differs by 1"):
        benchmark.compare("rate", 1, lambda: right, {"other": lambda: wrong}, 1e-9, 0.0)


def test_bench_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cli.bench.subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 3, ""),
    )
    with pytest.raises(SystemExit) as stop:
        main(["bench"])
    assert stop.value.code == 3


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["schedule", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    body = said[said.index("channels and surface:") :]
    for option in OPTIONS:
        assert f"\n  {option}" in body
    assert said.count("(default: ") >= len(OPTIONS) - 4
    for unit in ("dBm", "bit/s/Hz", "GHz", "mm"):
        assert unit in body
    assert "examples:" in body


def test_examples_of_the_help_parse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["schedule", "--help"])
    help_lines = capsys.readouterr().out.splitlines()
    seen: list[Any] = []
    monkeypatch.setattr(cli.schedule, "run", seen.append)
    examples = [line.split()[1:] for line in help_lines if line.startswith("  hmimo-fast ")]
    assert [main(example) for example in examples] == [0, 0, 0, 0]
    assert [options.scene for options in seen] == ["munich"] * 3 + ["channels.mat"]
    assert (seen[1].shape, seen[1].feeds, seen[1].seed) == ((32, 32), 8, 3)
    assert (seen[3].key, seen[3].frequency, seen[3].power) == ("H", 28.0, 33.0)


@pytest.mark.slow
def test_as_a_module_into_a_closed_pipe() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "hmimo_fast", "info"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stream:
        assert stream.read() == b""
    assert process.wait() == 0
