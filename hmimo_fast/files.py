"""Arrays from .npz, .npy, .mat and HDF5 files that may be damaged or come from anywhere.

Nothing is unpickled, and a damaged file is an error, never a crash: MATLAB's format is read here
because SciPy's reader can bring the interpreter down on one flipped byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MATLAB_MATRIX, _MATLAB_COMPRESSED, _MATLAB_COMPLEX_FLAG = 14, 15, 0x0800
#: Data types of MATLAB's elements, and array classes of its variables, as NumPy's codes.
_MATLAB_TYPES = dict(zip((1, 2, 3, 4, 5, 6, 7, 9, 12, 13), "bBhHiIfdqQ", strict=True))
_MATLAB_CLASSES = dict(zip(range(6, 16), "dfbBhHiIqQ", strict=True))


def read_arrays(file: Path, names: set[str] | None = None) -> Arrays:
    """All arrays of numbers in a file, or those of the given names.

    Parameters
    ----------
    file : Path
        An existing file; its suffix, one of ``SUFFIXES``, tells the format.
    names : set of str, optional
        Skip all others.

    Returns
    -------
    dict of str to ndarray
        The one array of an .npy file goes by the file's stem.  MATLAB's cells, structs, strings
        and sparse arrays, and types of HDF5 other than plain numbers, are left out.

    Raises
    ------
    ValueError
        If the file cannot be read as what its suffix says.
    ImportError
        If the file is HDF5 and h5py is not installed.
    """
    try:
        return _READERS[file.suffix.lower()](file, names)
    except ImportError:
        raise
    except Exception as error:  # parsers meet damaged files with every kind of exception
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"path: cannot read {str(file)!r}: {reason}") from error


def _read_npy(file: Path, names: set[str] | None) -> Arrays:
    with file.open("rb") as opened:
        return {file.stem: np.load(opened, allow_pickle=False)}


def _read_npz(file: Path, names: set[str] | None) -> Arrays:
    # Opened here, because np.load leaves a file that it opens and cannot read unclosed.
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files if names is None or name in names}


def _read_mat(file: Path, names: set[str] | None) -> Arrays:
    content = memoryview(file.read_bytes())
    if _HDF5_SIGNATURE in (bytes(content[:8]), bytes(content[512:520])):
        # MATLAB stores its column-major arrays as they lie in memory: dimensions reversed.
        return {name: array.T for name, array in _read_hdf5(file, names).items()}
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise ValueError("not a MATLAB file of version 5 to 7.3 (save with -v7 or -v7.3)")
    arrays: Arrays = {}
    for kind, payload in _matlab_elements(content[128:], order):
        if kind == _MATLAB_COMPRESSED:
            [(kind, payload)] = _matlab_elements(memoryview(zlib.decompress(payload)), order)
        if kind == _MATLAB_MATRIX:
            arrays.update(_matlab_variable(payload, order, names))
    return arrays


def _matlab_elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and data of each element; one of up to 4 bytes is packed into 8 with its tag."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        at += 8
        if kind >> 16:
            kind, size, data = kind & 0xFFFF, kind >> 16, content[at - 4 : at]
        else:
            data = content[at : at + size]
            at += size if kind == _MATLAB_COMPRESSED else size + -size % 8
        if size > len(data):
            raise ValueError("an element runs past the end")
        yield kind, data[:size]


def _matlab_variable(payload: memoryview, order: str, names: set[str] | None) -> Arrays:
    elements = _matlab_elements(payload, order)
    _, flags = next(elements)
    (word,) = struct.unpack_from(order + "I", flags)
    _, lengths = next(elements)
    name = bytes(next(elements)[1]).decode()
    code = _MATLAB_CLASSES.get(word & 0xFF)
    if code is None or (names is not None and name not in names):
        return {}
    shape = np.frombuffer(lengths, order + "i")
    if shape.min() < 0:
        raise ValueError(f"{name} has a negative dimension")

    def part() -> NDArray[Any]:
        # MATLAB stores numbers in the smallest type that holds them exactly.
        kind, data = next(elements)
        numbers = np.frombuffer(data, order + _MATLAB_TYPES[kind]).astype(code)
        return numbers.reshape(shape, order="F")

    return {name: _join(part(), part()) if word & _MATLAB_COMPLEX_FLAG else part()}


def _read_hdf5(file: Path, names: set[str] | None) -> Arrays:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"{str(file)!r} is an HDF5 file, which needs h5py: pip install hmimo_fast[io]"
        ) from error
    arrays: Arrays = {}

    def is_plain(dataset: Any) -> bool:
        # HDF5 writes past the end of a type whose description is damaged.
        try:
            return bool(dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype)))
        except TypeError:
            return False

    def visit(name: str, item: Any) -> None:
        wanted = names is None or name in names
        if wanted and isinstance(item, h5py.Dataset) and is_plain(item):
            array = np.asarray(item[()])
            compound = array.dtype.names == ("real", "imag")
            arrays[name] = _join(array["real"], array["imag"]) if compound else array

    with h5py.File(file, "r") as opened:
        opened.visititems(visit)
    return arrays


def _join(real: NDArray[Any], imag: NDArray[Any]) -> NDArray[Any]:
    joined = np.empty(real.shape, np.result_type(real, np.complex64))
    joined.real, joined.imag = real, imag
    return joined


_READERS: dict[str, Callable[[Path, set[str] | None], Arrays]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".mat": _read_mat,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}

#: Suffixes of the files that ``read_arrays`` reads.
SUFFIXES = tuple(_READERS)
