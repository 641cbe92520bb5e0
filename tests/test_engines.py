"""Engines: workers with other code, jobs of a batch system, and invalid names."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_studies import CHUNK, SMALL, Counting, equal
from xarray import Dataset

import hmimo_fast as hf
from hmimo_fast import studies
from hmimo_fast.cli import main
from hmimo_fast.files import Arrays
from hmimo_fast.studies import chunks, engines, jobs
from hmimo_fast.studies.chunks import Chunk, code, compute
from hmimo_fast.studies.engines import Engine, outcomes
from hmimo_fast.studies.runner import ChunksFailedError

pytestmark = pytest.mark.slow

# -- who computed it -----------------------------------------------------------------------


OURS = code(CHUNK.backend)
LARGER = replace(CHUNK, setting=replace(CHUNK.setting, elements=64, users=6))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ((), ("hmimo_fast unknown, an older copy", f"hmimo_fast {hf.__version__}")),
        (({**OURS, "files": "edited"},), ("files edited", f"files {OURS['files']}")),
        (({**OURS, "simd": "none"},), ("simd none", f"simd {OURS['simd']}")),
        (({**OURS, "products": "1"},), ("products 1", f"products {OURS['products']}")),
    ],
    ids=["older", "edited", "simd", "products"],
)
def test_other_code_is_refused_with_both_sides(
    told: tuple[dict[str, str], ...],
    words: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {"sum_rate": np.zeros(10), "served": np.zeros((10, 2)), "rates": np.zeros((10, 2))}
    other = Engine(lambda run, tasks, where, folder: ((i, wrong, *told) for i, _ in tasks))
    monkeypatch.setitem(engines.ENGINES, "other", other)
    lines: list[str] = []
    with pytest.raises(ChunksFailedError, match="all 30 chunks failed 3 times"):
        studies.run(SMALL, tmp_path, 30, 5, "other", report=lines.append)
    theirs, ours = words
    assert f"refused: the worker has {theirs}" in lines[0]
    assert f"here it is {ours}" in lines[0]
    assert list((tmp_path / "chunks").iterdir()) == []


def test_a_worker_on_other_instructions_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if code(hf.get_backend()).get("instructions", "baseline") == "baseline":
        pytest.skip("there are no others here")
    externals = pytest.importorskip("joblib.externals.loky")
    externals.get_reusable_executor().shutdown(kill_workers=True)
    monkeypatch.setenv("HMIMO_FAST_ISA", "baseline")  # of workers; it was read here already
    lines: list[str] = []
    try:
        with pytest.raises(ChunksFailedError, match="instructions baseline; here it is inst"):
            studies.run(SMALL, tmp_path, 10, 5, "processes:2", report=lines.append)
    finally:
        externals.get_reusable_executor().shutdown(kill_workers=True)
    assert list((tmp_path / "chunks").iterdir()) == []


def test_another_blas_is_other_code() -> None:
    """NumPy's OpenBLAS takes its kernels from an environment that a worker may not share."""
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_engines import LARGER\n"
        "from hmimo_fast.studies.chunks import code, compute\n"
        "print(hashlib.sha256(compute(LARGER)['rates'].tobytes()).hexdigest(), "
        "code(LARGER.backend))"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent)]
    (bits, ours), (other_bits, theirs) = (
        subprocess.run(
            command, env=os.environ | chosen, capture_output=True, text=True, check=True
        ).stdout.split(" ", 1)
        for chosen in ({}, {"OPENBLAS_CORETYPE": "Prescott"})
    )
    assert bits == other_bits or ours != theirs


def test_code_tells_sources_and_not_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "native.so", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"1")
    monkeypatch.setattr(chunks, "_PACKAGE", tmp_path)
    digest = chunks._files_digest.__wrapped__
    first = digest()
    (tmp_path / "native.so").write_bytes(b"another compiler's")
    assert digest() == first
    for name in ("a.py", "weights.safetensors"):
        (tmp_path / name).write_bytes(b"2")
        assert digest() != first
        first = digest()


def test_the_compiled_module_knows_its_sources() -> None:
    native = pytest.importorskip("hmimo_fast.kernels.native")
    assert len(native.source()) == 16
    assert int(native.source(), 16) > 0


# -- jobs ----------------------------------------------------------------------------------

PREAMBLE = f"""#!{sys.executable}
import os, re, signal, subprocess, sys
from pathlib import Path
pids = Path(__file__).parents[1] / "pids"

def running():
    for file in pids.iterdir():
        state = Path("/proc", file.read_text(), "stat")
        if state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
            yield file
"""
SLURM = {
    "sbatch": """
text = Path(sys.argv[1]).read_text()
found = re.search(r"--array=0-(\\d+)", text)
for task in range(int(found[1]) + 1 if found else 1):
    name = f"77_{task}" if found else "77"
    job = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1",
           "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "here", "SLURM_PROCID": "0",
           "SLURM_LOCALID": "0"}
    if found:
        job |= {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}
    process = subprocess.Popen(["sh", sys.argv[1]], env=os.environ | job, start_new_session=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (pids / name).write_text(str(process.pid))
print("Submitted batch job 77")
""",
    "srun": """
command = sys.argv[1:]
while command[0].startswith("-"):
    command = command[2:] if command[0] in ("--output", "--error") else command[1:]
os.execvp(command[0], command)
""",
    "squeue": """
print("\\n".join(file.name for file in running()))
""",
    "scancel": """
(pids.parent / "cancelled").write_text(" ".join(sys.argv[1:]))
for file in running():
    os.killpg(int(file.read_text()), signal.SIGKILL)
""",
    "sacct": "sys.exit('accounting is off')",
}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that stand for Slurm's, without accounting, and the folder of their notes."""
    pytest.importorskip("submitit")
    place = tmp_path / "slurm"
    (place / "bin").mkdir(parents=True)
    (place / "pids").mkdir()
    for name, body in SLURM.items():
        (place / "bin" / name).write_text(PREAMBLE + body)
        (place / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")
    root, tests = Path(hf.__file__).parents[1], Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", f"{root}{os.pathsep}{tests}")
    for name, seconds in (("_POLL", 0.1), ("_LOOK", 0.5), ("_GRACE", 1.5)):
        monkeypatch.setattr(jobs, name, seconds)
    monkeypatch.setattr(engines, "_JOB", 5)
    return place


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Of an undisturbed run on one process."""
    return studies.run(SMALL, tmp_path_factory.mktemp("serial"), 10, 5, "serial")


class Stopping:
    """`compute` that stops at every third chunk, for ever or by killing its job."""

    def __init__(self, kill: bool) -> None:
        self.kill = kill

    def __call__(self, chunk: Chunk) -> Arrays:
        if chunk.setting.elements == 4:
            if self.kill:
                os.kill(os.getpid(), 9)
            time.sleep(1000)
        return compute(chunk)


def test_slurm_without_accounting(slurm: Path, tmp_path: Path, whole: Dataset) -> None:
    assert equal(studies.run(SMALL, tmp_path, 10, 5, "slurm"), whole)


def test_an_interrupted_array_is_cancelled_and_its_results_are_read(
    slurm: Path, tmp_path: Path, whole: Dataset
) -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("chunks/*.npz"))) < 8 and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), 2)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        studies.run(SMALL, tmp_path, 10, 5, "slurm", compute=Stopping(kill=False))
    watcher.join()
    assert (slurm / "cancelled").read_text() == "77"
    rest = Counting()
    assert equal(studies.run(SMALL, tmp_path, 10, 5, "serial", compute=rest), whole)
    assert {chunk.setting.elements for chunk in rest.chunks} == {4}


def test_a_job_that_was_killed_ends_in_an_error(slurm: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    found = studies.run(
        SMALL, tmp_path, 10, 5, "slurm", report=lines.append, compute=Stopping(kill=True)
    )
    assert found.attrs["failed"] == 2
    assert any("left the queue without a result" in line for line in lines)


# -- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "engine",
    ["cloud", "", "serial:2", "processes:", "processes:0", "processes:-1", "processes:two",
     "processes:99999", "processes:99999999999999999999", "dask", "dask:", "ray", "slurm:x",
     "local:2"],
)  # fmt: skip
def test_an_engine_that_is_none_is_refused_by_name(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"^engine: expected "):
        list(outcomes(engine, compute, [(0, CHUNK)], tmp_path))
    where = tmp_path / "out"
    assert main(["reproduce", "all", "--engine", engine, "--output", str(where)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("hmimo-fast: error: --engine: expected ")
    assert said.count("\n") == 1


def test_slurm_where_there_is_none_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["reproduce", "all", "--engine", "slurm", "--output", str(tmp_path / "out")]) == 2
    assert "error: --engine: expected slurm where srun " in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore")  # distributed's own
def test_a_cluster_that_is_not_there_is_an_error_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dask = pytest.importorskip("dask")
    pytest.importorskip("distributed")
    monkeypatch.setattr(studies, "STUDIES", {"small": replace(SMALL, chunk=2)})
    options = ["--realizations", "2", "--output", str(tmp_path)]
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            with pytest.raises(SystemExit) as left:
                main(["reproduce", "small", "--engine", f"dask:{address}", *options])
        assert left.value.code == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(f"hmimo-fast: error: small: --engine: dask:{address}: ")
