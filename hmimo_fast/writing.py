"""Files that appear complete or not at all: everything this package writes goes through here."""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

#: In every result and picture, so that no foreign file is taken for one.
MARK = "written by hmimo_fast"


def write(path: Path, content: bytes) -> None:
    """Write bytes to a file, or leave what was there.

    A symbolic link is written through, and a file that is replaced hands on its mode.  Formats
    are made in memory, since HDF5 for one does not survive a disk that is full.

    Parameters
    ----------
    path : Path
        In a folder that exists.
    content : bytes
        All of it.

    Raises
    ------
    OSError
        If it cannot be written; it names ``path``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "note.txt", b"all or nothing")
    ...     [file.name for file in Path(folder).iterdir()]
    ['note.txt']
    """
    with _beside(path) as (target, file):
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        file.close()
        os.replace(file.name, target)


def write_figure(path: Path, figure: Any) -> None:
    """Write a figure of matplotlib's as .png, .pdf or .svg; the same one gives the same bytes."""
    told: dict[str, dict[str, str | None]] = {
        ".png": {"Software": MARK},
        ".pdf": {"Creator": MARK, "CreationDate": None},
        ".svg": {"Creator": MARK, "Date": None},
    }
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], metadata=told[path.suffix])
    write(path, content.getvalue())


def try_out(path: Path) -> None:
    """Raise the OSError that `write` would meet there; whether the disk has room is not known."""
    with _beside(path):
        pass


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The file behind ``path``, and a new one in its folder, of which nothing is left."""
    try:
        target = Path(os.path.realpath(path))
        mode = _mode(target)
        # A random name: process and thread numbers may be the same in two containers.
        file = target.with_name(f".{secrets.token_hex(8)}.part").open("xb")
        try:
            with file:
                if mode is not None:
                    os.chmod(file.name, mode)
                yield target, file
        finally:
            Path(file.name).unlink(missing_ok=True)  # even where closing fails
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _mode(target: Path) -> int | None:
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # a device would be replaced by a file
        raise OSError(errno.EINVAL, "Not a regular file")
    return stat.S_IMODE(mode)
