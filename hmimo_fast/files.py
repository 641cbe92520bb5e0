"""Arrays in files: written to .npz and HDF5, read from those, .npy and .mat of any origin.

Nothing is unpickled, and a damaged file is an error, never a crash: MATLAB's format is read here
because SciPy's reader can bring the interpreter down on one flipped byte.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .writing import MARK, write

Arrays = dict[str, NDArray[Any]]

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_MATLAB_CELL, _MATLAB_STRUCT, _MATLAB_DEPTH = 1, 2, 16  # a file nested deeper is no data
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
        The one array of an .npy file goes by the file's stem, the field of a MATLAB struct by
        ``struct.field``.  A MATLAB cell of equal arrays is one array, stacked along a first
        axis; real and imaginary fields of compounds are joined.  Whatever else there is, and
        what cannot be read beside arrays that can, is left out.

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
    except Exception as error:  # parsers raise every kind of exception on damaged files
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"path: cannot read {str(file)!r}: {reason}") from error


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays to one .npz or HDF5 file, or leave what was there.

    Parameters
    ----------
    path : Path
        Ending in one of ``WRITTEN``.
    arrays : dict of str to ndarray
        Numbers, booleans and strings.

    Raises
    ------
    ImportError
        If the file is HDF5 and h5py is not installed.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "result.npz"
    ...     write_arrays(file, {"rates": np.array([1.0, 2.0])})
    ...     with np.load(file) as saved:
    ...         saved["rates"]
    array([1., 2.])
    """
    content = io.BytesIO()
    if path.suffix != ".npz":
        _write_hdf5(content, arrays)
    else:
        # NumPy's types take any array by keyword for its flag allow_pickle.
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(content, "a") as archive:
            archive.comment = MARK.encode()
    write(path, content.getvalue())


def _read_npy(file: Path, names: set[str] | None) -> Arrays:
    with file.open("rb") as opened:
        return {file.stem: _without_fields(np.load(opened, allow_pickle=False))}


def _read_npz(file: Path, names: set[str] | None) -> Arrays:
    # Opened here, because np.load leaves a file that it opens and cannot read unclosed.
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
        arrays, failure = {}, None
        for name in archive.files:
            if names is None or name in names:
                try:
                    arrays[name] = _without_fields(archive[name])
                except ValueError as error:  # Python objects, which are never unpickled
                    failure = error
        if failure is not None and not arrays:
            raise failure
        return arrays


def _read_mat(file: Path, names: set[str] | None) -> Arrays:
    content = memoryview(file.read_bytes())
    if _HDF5_SIGNATURE in (bytes(content[:8]), bytes(content[512:520])):
        return _read_hdf5(file, names, matlab=True)
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise ValueError("not a MATLAB file of version 5 to 7.3 (save with -v7 or -v7.3)")
    arrays: Arrays = {}
    for kind, payload in _matlab_elements(content[128:], order):
        if kind == _MATLAB_COMPRESSED:
            [(kind, payload)] = _matlab_elements(memoryview(zlib.decompress(payload)), order)
        if kind == _MATLAB_MATRIX:
            arrays.update(_matlab_variable(payload, order))
    return {name: array for name, array in arrays.items() if names is None or name in names}


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


def _matlab_variable(payload: memoryview, order: str, name: str = "", depth: int = 0) -> Arrays:
    elements = _matlab_elements(payload, order)
    _, flags = next(elements)
    (word,) = struct.unpack_from(order + "I", flags)
    kind = word & 0xFF
    if kind not in (_MATLAB_CELL, _MATLAB_STRUCT, *_MATLAB_CLASSES):
        return {}  # text, tables and other objects, some of them without dimensions
    _, lengths = next(elements)
    name = name or bytes(next(elements)[1]).decode()
    if depth:
        next(elements)  # an entry of a cell or a struct has no name of its own
    shape = np.frombuffer(lengths, order + "i")
    if shape.min() < 0:
        raise ValueError(f"{name} has a negative dimension")
    if kind in (_MATLAB_CELL, _MATLAB_STRUCT) and depth < _MATLAB_DEPTH:
        keys = [name]
        if kind == _MATLAB_STRUCT:
            (width,) = struct.unpack_from(order + "i", next(elements)[1])
            packed = bytes(next(elements)[1])
            fields = [packed[at : at + width] for at in range(0, len(packed), max(width, 1))]
            keys = [f"{name}.{field.rstrip(bytes(1)).decode()}" for field in fields]
        gathered: dict[str, list[Arrays]] = {key: [] for key in keys}
        for place, (_, entry) in enumerate(elements):
            key = keys[place % len(keys)]
            gathered[key].append(_matlab_variable(entry, order, key, depth + 1) if entry else {})
        found: Arrays = {}
        for key, entries in gathered.items():
            found |= _stacked(key, entries)
        return found
    code = _MATLAB_CLASSES.get(kind)
    if code is None:
        return {}  # nested too deeply

    def part() -> NDArray[Any]:
        # MATLAB stores numbers in the smallest type that holds them exactly.
        kind, data = next(elements)
        numbers = np.frombuffer(data, order + _MATLAB_TYPES[kind]).astype(code)
        return numbers.reshape(shape, order="F")

    return {name: _join(part(), part()) if word & _MATLAB_COMPLEX_FLAG else part()}


def _stacked(name: str, entries: list[Arrays]) -> Arrays:
    """Equal arrays of a cell as one, others each by its place as MATLAB counts."""
    if len(entries) == 1:
        return entries[0]
    found: Arrays = {}
    for key in dict.fromkeys(key for entry in entries for key in entry):
        arrays = [entry.get(key) for entry in entries]
        kept = [array for array in arrays if array is not None]
        if len(kept) == len(arrays) and len({array.shape for array in kept}) == 1:
            found[key] = np.stack(kept)
            continue
        for place, array in enumerate(arrays):
            if array is not None:
                found[f"{name}{{{place + 1}}}{key.removeprefix(name)}"] = array
    return found


def _read_hdf5(file: Path, names: set[str] | None, matlab: bool = False) -> Arrays:
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

    def numbers(item: Any) -> NDArray[Any] | None:
        if not isinstance(item, h5py.Dataset) or not is_plain(item):
            return None
        array = _without_fields(np.asarray(item[()]))
        if array.dtype.kind not in "biufcV":
            return None
        # MATLAB stores its column-major arrays as they lie in memory: dimensions reversed.
        return array.T if matlab else array

    def held(key: str, item: Any, above: tuple[int, ...] = ()) -> Arrays:
        """What is under a name, with what MATLAB's cells refer to; structs are groups."""
        place = h5py.h5o.get_info(item.id).addr
        if place in above or len(above) > _MATLAB_DEPTH:
            return {}
        above = (*above, place)
        if isinstance(item, h5py.Group):
            parts = [held(f"{key}.{name}", item[name], above) for name in item]
            return {name: array for part in parts for name, array in part.items()}
        if isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is h5py.Reference:
            cells = np.asarray(item[()]).T.ravel("F")
            return _stacked(
                key, [held(key, item.file[cell], above) if cell else {} for cell in cells]
            )
        array = numbers(item)
        return {} if array is None else {key: array}

    def visit(name: str | bytes, item: Any) -> None:
        if isinstance(name, bytes):  # in another encoding than UTF-8
            name = name.decode(errors="replace")
        if isinstance(item, h5py.Group) or (matlab and name.startswith("#")):
            return
        key = name.replace("/", ".") if matlab else name
        found = held(key, item)
        arrays.update({at: found[at] for at in found if names is None or at in names})

    failure = None
    with h5py.File(file, "r") as opened:
        found: list[str | bytes] = []
        opened.visit(found.append)
        for name in found:
            try:
                visit(name, opened[name])
            except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
                failure = error
    if failure is not None and not arrays:
        raise failure
    return arrays


def _without_fields(array: NDArray[Any]) -> NDArray[Any]:
    """Joins the real and imaginary fields of a compound."""
    for real, imag in (("real", "imag"), ("r", "i"), ("re", "im")):
        if array.dtype.names == (real, imag):
            return _join(array[real], array[imag])
    return array


def _join(real: NDArray[Any], imag: NDArray[Any]) -> NDArray[Any]:
    joined = np.empty(real.shape, np.result_type(real, np.complex64))
    joined.real, joined.imag = real, imag
    return joined


def _write_hdf5(content: io.BytesIO, arrays: Arrays) -> None:
    import h5py

    with h5py.File(content, "w") as file:
        file.attrs["creator"] = np.bytes_(MARK)
        for name, array in arrays.items():
            # HDF5 has no fixed-width Unicode strings.
            is_text = array.dtype.kind == "U"
            file[name] = array.astype(h5py.string_dtype()) if is_text else array


_READERS: dict[str, Callable[[Path, set[str] | None], Arrays]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".mat": _read_mat,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}

#: Suffixes of the files that ``read_arrays`` reads.
SUFFIXES = tuple(_READERS)
#: Suffixes of the files that ``write_arrays`` writes.
WRITTEN = (".npz", ".h5", ".hdf5")
