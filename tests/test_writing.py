"""Files appear complete or not at all, whatever the disk, the folder or the name."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from xarray import Dataset

from hmimo_fast import studies
from hmimo_fast.files import write_arrays
from hmimo_fast.studies import curves
from hmimo_fast.writing import MARK, try_out, write, write_figure


def save_figure(path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(np.random.default_rng(0).uniform(size=5000))
    write_figure(path, figure)


def save_arrays(path: Path) -> None:
    write_arrays(path, {"rates": np.random.default_rng(0).uniform(size=20_000)})


def save_dataset(path: Path) -> None:
    values = np.random.default_rng(0).uniform(size=20_000)
    dataset = Dataset({"sum_rate": ("realization", values)}, {"realization": np.arange(20_000)})
    studies.save(dataset, path)


def save_curves(path: Path) -> None:
    curves.save(path, 100 * curves.committed())


def save_model(path: Path) -> None:
    nn = pytest.importorskip("hmimo_fast.nn")
    nn.save(nn.MBDNN(), path)


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "npz": ("result.npz", save_arrays),
    "hdf5": ("result.h5", save_arrays),
    "dataset": ("study.h5", save_dataset),
    "curves": ("curves.csv", save_curves),
    "png": ("figure.png", save_figure),
    "pdf": ("figure.pdf", save_figure),
    "svg": ("figure.svg", save_figure),
    "model": ("model.safetensors", save_model),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_on_files_is_an_error_that_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    """In a process of its own, which the HDF5 of old brought down."""
    name, _ = KINDS[kind]
    path = tmp_path / name
    path.write_bytes(b"old")
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import resource\n"
        "from pathlib import Path\n"
        "from test_writing import KINDS\n"
        f"save = KINDS[{kind!r}][1]\n"
        f"save(Path({str(path)!r}))\n"  # imports and caches what it needs
        f"Path({str(path)!r}).write_bytes(b'old')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))\n"
        "try:\n"
        f"    save(Path({str(path)!r}))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert "too large" in done.stdout
    assert ".part" not in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("kind", KINDS.keys() - {"curves", "model"})
def test_every_result_says_who_wrote_it(kind: str, tmp_path: Path) -> None:
    name, save = KINDS[kind]
    save(tmp_path / name)
    assert MARK.encode() in (tmp_path / name).read_bytes()


def test_a_link_is_written_through_and_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real.npz", tmp_path / "result.npz"
    link.symlink_to(target)
    write(link, b"one")  # of a file that is not there yet
    target.chmod(0o640)
    write(link, b"two")
    assert link.is_symlink()
    assert target.read_bytes() == b"two"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert [file.name for file in (tmp_path / "elsewhere").iterdir()] == ["real.npz"]


def test_a_new_file_has_the_mode_of_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write(tmp_path / "file", b"")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_threads_that_write_the_same_file_do_not_meet(tmp_path: Path) -> None:
    path, errors = tmp_path / "file", []

    def work(byte: bytes) -> None:
        try:
            for _ in range(50):
                write(path, byte * 10_000)
        except OSError as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(bytes([each]),)) for each in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert errors == []
    assert len(set(path.read_bytes())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_a_name_of_the_full_length(tmp_path: Path) -> None:
    write(tmp_path / ("a" * 255), b"fits")
    with pytest.raises(OSError, match="name too long"):
        write(tmp_path / ("a" * 256), b"")
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_file_stays_what_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/null")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    before = {file.name: file.lstat().st_mode for file in tmp_path.iterdir()}
    for name in before:
        for task in (lambda path: write(path, b"lost"), try_out):
            with pytest.raises(OSError, match=name):
                task(tmp_path / name)
    assert {file.name: file.lstat().st_mode for file in tmp_path.iterdir()} == before
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


@pytest.mark.parametrize("task", [lambda path: write(path, b"lost"), try_out])
def test_a_folder_that_takes_no_files(task: Callable[[Path], None]) -> None:
    with pytest.raises(OSError, match=r"/proc/self/result\.npz"):
        task(Path("/proc/self/result.npz"))


def test_trying_out_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    for name in ("file", "new"):
        try_out(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_results_are_plain_files_of_their_format(tmp_path: Path) -> None:
    arrays = {"rates": np.arange(3.0), "methods": np.array(["joint"])}
    for name in ("result.npz", "result.h5"):
        write_arrays(tmp_path / name, arrays)
    with np.load(tmp_path / "result.npz", allow_pickle=False) as archive:
        assert archive.files == ["rates", "methods"]
        np.testing.assert_array_equal(archive["rates"], arrays["rates"])
    with h5py.File(tmp_path / "result.h5") as file:
        assert file["methods"].asstr()[()].tolist() == ["joint"]
