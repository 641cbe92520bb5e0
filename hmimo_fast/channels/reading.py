"""Channels from files, with their axes named."""

from __future__ import annotations

import math
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import as_positive, as_shape
from ..files import SUFFIXES, Arrays, read_arrays
from .scene import Scene

#: What an axis may be; users and elements are needed.
AXES = ("users", "elements", "draws", "subcarriers", "parts", "1")
_NAMES = 'of users, elements, draws, subcarriers, parts (real, imaginary) and "1"'
#: How the names of an array's real and imaginary parts end.
_PARTS = (("real", "imag"), ("_re", "_im"), ("_r", "_i"), (".re", ".im"), ("/re", "/im"))
_LOWEST_FREQUENCY = 1e6  # Hz; below it GHz or MHz were meant


def load(
    path: str | PathLike[str],
    shape: tuple[int, int] | None = None,
    key: str | None = None,
    axes: str | None = None,
    *,
    conjugate: bool = False,
    frequency: float | None = None,
) -> Scene:
    """Channels from a file, or the shipped set ``"munich"``.

    Parameters
    ----------
    path : str or path
        ``"munich"``: 88 users ray-traced at 30 GHz, for a surface of 8 x 8 or 32 x 32
        elements, numbered as ``Surface`` numbers them (complex64, gains not normalised, see
        ``data/README.md`` in the package).  Otherwise a file: .npz, .npy, .mat (v7, and v7.3
        with h5py) or .h5/.hdf5 (with h5py).
    shape : (int, int), optional
        ``(Nx, Ny)`` of the surface.  Chooses between the shipped sets, (8, 8) by default; for a
        file, the number of elements it must have.
    key : str, optional
        Name of the array in the file: a path within HDF5, ``struct.field`` in MATLAB.  Without
        it the file must hold exactly one complex array, or one pair of real and imaginary parts.
    axes : str, optional
        What each axis of the array is, such as ``"users,elements,draws"``: users, elements,
        draws, subcarriers, parts (an axis of 2: real, imaginary) and 1 (an axis of one).
    conjugate : bool
        Conjugate the channels of a file that acts as y = H^* x.
    frequency : float, optional
        Carrier frequency, Hz, in the place of the file's.

    Returns
    -------
    Scene
        With a channel (K, N), or (..., K, N); ``reading`` says how the file was read.

    Raises
    ------
    ValueError
        If the file cannot be read, holds no array that fits or several, the axes cannot be told
        without ``axes``, the numbers are real, or the file's frequency is no frequency in Hz.
        Arrays of Python objects are never unpickled.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file is HDF5 and h5py is not installed.

    Notes
    -----
    Without ``axes`` two dimensions are (users, elements) where there are fewer users than
    elements, or ``shape`` or the file's user positions tell them apart; three need an axis of
    one or ``shape``, and are then (draws, users, elements); four are DeepMIMO's [users, 1,
    elements, subcarriers].  MATLAB's cells of equal arrays are stacked along a first axis.
    Elements stay in the file's order.

    Where they are present and fit, ``user_positions`` (or ``rx_pos``), ``surface_position``
    (``tx_pos``), ``surface_rotation``, ``line_of_sight`` (``los``) and ``frequency`` are read as
    well.

    Examples
    --------
    >>> scene = load("munich", shape=(32, 32))
    >>> scene.channel.shape, scene.frequency
    ((88, 1024), 30000000000.0)
    """
    if path == "munich":
        for name, value in (("key", key), ("axes", axes), ("frequency", frequency)):
            if value is not None:
                raise ValueError(f"{name}: the shipped set has its own, got {value!r}")
        if conjugate:
            raise ValueError("conjugate: the shipped set acts as y = H x")
        return _munich((8, 8) if shape is None else as_shape("shape", shape))
    file = Path(path)
    arrays = _arrays(file)
    name, array = _choose(arrays, key, file.name)
    elements = None if shape is None else math.prod(as_shape("shape", shape))
    named = _named(name, array, axes, elements, _positions(arrays))
    channel = _arranged(name, array, named)
    if elements is not None and channel.shape[-1] != elements:
        raise ValueError(
            f"shape: {file.name!r} has {channel.shape[-1]} elements, "
            f"expected {elements} for {tuple(shape or ())}"
        )
    fields = _fields(arrays, channel.shape[-2])
    if frequency is not None:
        fields["frequency"] = as_positive("frequency", frequency)
    elif "frequency" in fields:
        _check_frequency(fields["frequency"])
    return Scene(
        channel.conj() if conjugate else channel,
        name=file.stem,
        reading=_reading(name, array.shape, named),
        **fields,
    )


def contents(path: str | PathLike[str]) -> list[tuple[str, str, str, str]]:
    """Name, type, shape and reading of each array in a file, or what is missing for one."""
    file = Path(path)
    arrays = _arrays(file)
    rows = []
    for name, array in arrays.items():
        try:
            named = _named(name, array, None, None, _positions(arrays))
            _arranged(name, array, named)
            reading = _reading("", array.shape, named)
        except ValueError:
            reading = "-"
            if array.dtype.kind == "c" and array.ndim >= 2:
                reading = "name its axes"
            elif (
                array.dtype.kind == "f"
                and array.ndim >= 3
                and 2 in (array.shape[0], array.shape[-1])
            ):
                reading = "real; name its axes if one is parts"
        size = " × ".join(map(str, array.shape)) or "scalar"
        rows.append((name, str(array.dtype), size, reading))
    return rows


def _arrays(file: Path) -> Arrays:
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f'path: expected "munich" or a file {", ".join(SUFFIXES)}, got {str(file)!r}'
        )
    if not file.is_file():
        raise FileNotFoundError(f"path: no such file: {str(file)!r}")
    arrays = read_arrays(file)
    for name in tuple(arrays):
        for real, imag in _PARTS:
            stem = name.removesuffix(real)
            other = arrays.get(stem + imag)
            if stem == name or other is None:
                continue
            pair = arrays[name], other
            if pair[0].shape == pair[1].shape and all(part.dtype.kind in "fiu" for part in pair):
                joined = stem.rstrip("_./") or "channel"
                if joined not in arrays:
                    del arrays[name], arrays[stem + imag]
                    arrays[joined] = _joined(*pair)
    return arrays


def _joined(real: NDArray[Any], imag: NDArray[Any]) -> NDArray[Any]:
    joined = np.empty(real.shape, np.result_type(real, imag, np.complex64))
    joined.real, joined.imag = real, imag
    return joined


def _choose(arrays: Arrays, key: str | None, file: str) -> tuple[str, NDArray[Any]]:
    if key is not None:
        matches = [key] if key in arrays else [
            name for name in arrays if name.endswith((f".{key}", f"/{key}"))
        ]  # fmt: skip
        if len(matches) == 1:
            return matches[0], arrays[matches[0]]
        raise ValueError(_short(f"key: no array of numbers {key!r} in {file!r}", arrays))
    candidates = {
        name: array
        for name, array in arrays.items()
        # MATLAB keeps what its cells refer to under names like these.
        if array.dtype.kind == "c" and array.ndim >= 2 and not name.startswith("#")
    }
    if len(candidates) == 1:
        return next(iter(candidates.items()))
    raise ValueError(
        _short(
            f"key: expected one complex array in {file!r}, found {len(candidates)}",
            candidates or arrays,
        )
    )


def _short(message: str, arrays: Arrays) -> str:
    """The message with what there is, in about 500 characters at most."""
    shown = [f"{name[:40]} {array.dtype} {array.shape}" for name, array in arrays.items()][:5]
    more = f", and {len(arrays) - 5} more" if len(arrays) > 5 else ""
    return f"{message[:200]}; the file holds: {', '.join(shown)[:270] or 'nothing'}{more}"


def _named(
    name: str,
    array: NDArray[Any],
    axes: str | None,
    elements: int | None,
    positions: int | None,
) -> tuple[str, ...]:
    size = array.shape
    if axes is not None:
        named = tuple(part.strip() for part in axes.split(","))
        proper = [axis for axis in named if axis != "1"]
        if (
            not set(named) <= set(AXES)
            or len(set(proper)) < len(proper)
            or not {"users", "elements"} <= set(named)
        ):
            raise ValueError(f"axes: expected users, elements and others {_NAMES}, got {axes!r}")
        if len(named) != len(size):
            raise ValueError(f"axes: {name[:40]!r} has {len(size)} axes {size}, got {axes!r}")
        return named
    if array.dtype.kind in "fiu" and array.ndim >= 2:
        raise ValueError(
            f"key: {name[:40]!r} is real, {array.dtype} {size}; if it holds real and imaginary "
            "parts, name the axes, with parts where the two are"
        )
    if len(size) == 4 and size[1] == 1:
        return "users", "1", "elements", "subcarriers"
    kept = [axis for axis, length in enumerate(size) if length != 1 or len(size) == 2]
    if len(size) == 3 and len(kept) == 2:
        return _pair(name, size, kept, elements, positions)
    if len(size) == 2:
        return _pair(name, size, kept, elements, positions)
    if len(size) == 3 and elements == size[-1] and elements not in size[:-1]:
        return "draws", "users", "elements"
    raise ValueError(
        f"axes: cannot tell what the axes {size} of {name[:40]!r} are; name each, {_NAMES}"
    )


def _pair(
    name: str,
    size: tuple[int, ...],
    kept: list[int],
    elements: int | None,
    positions: int | None,
) -> tuple[str, ...]:
    users, last = (size[axis] for axis in kept)
    told = users != last and (elements == last or (elements is None and positions == users))
    if not (users < last or told):
        raise ValueError(
            f"axes: {name[:40]!r} is {size}: users, elements or elements, users? "
            f"name each axis, {_NAMES}"
        )
    named = ["1"] * len(size)
    named[kept[0]], named[kept[1]] = "users", "elements"
    return tuple(named)


def _arranged(name: str, array: NDArray[Any], named: tuple[str, ...]) -> NDArray[Any]:
    if array.dtype.kind not in "fiuc":
        raise ValueError(f"key: expected numbers, got {array.dtype} {array.shape}")
    lengths = array.shape
    if any(axis == "1" and length != 1 for axis, length in zip(named, lengths, strict=True)):
        raise ValueError(f"axes: expected 1 along the axes named 1, got {lengths}")
    if "parts" in named:
        at = named.index("parts")
        if lengths[at] != 2 or array.dtype.kind == "c":
            raise ValueError(f"axes: expected two real parts, got {array.dtype} {lengths}")
        array = _joined(array.take(0, at), array.take(1, at))
        named = named[:at] + named[at + 1 :]
    elif array.dtype.kind != "c":
        raise ValueError(f"key: {name[:40]!r} is real, {array.dtype}; expected complex numbers")
    order = sorted(
        (axis for axis in range(len(named)) if named[axis] != "1"),
        key=lambda axis: ("draws", "subcarriers", "users", "elements").index(named[axis]),
    )
    ones = tuple(axis for axis in range(len(named)) if named[axis] == "1")
    channel = array.transpose(*order, *ones).reshape([array.shape[axis] for axis in order])
    if named == ("users", "1", "elements", "subcarriers") and len(channel) == 1:
        channel = channel[0]  # a single subcarrier is no dimension
    dtype = np.complex64 if np.can_cast(array.dtype, np.complex64) else np.complex128
    return np.array(channel, dtype=dtype, order="C")


def _reading(name: str, size: tuple[int, ...], named: tuple[str, ...]) -> str:
    counts = [
        f"{size[named.index(axis)]} {axis if size[named.index(axis)] != 1 else axis[:-1]}"
        for axis in ("users", "elements", "draws", "subcarriers")
        if axis in named
    ]
    return f"{name[:40]}: {' × '.join(counts)}".removeprefix(": ")


def _positions(arrays: Arrays) -> int | None:
    """Users whose positions the file holds."""
    for name in ("user_positions", "rx_pos"):
        if name in arrays and arrays[name].ndim == 2 and arrays[name].shape[1] == 3:
            return len(arrays[name])
    return None


def _check_frequency(frequency: float) -> None:
    if not 0 < frequency < math.inf:
        raise ValueError(f"frequency: expected Hz > 0, the file has {frequency:g}; override it")
    if frequency < _LOWEST_FREQUENCY:
        raise ValueError(
            f"frequency: expected Hz, the file has {frequency:g}; if that is {frequency:g} GHz, "
            "say so by overriding it"
        )


def _munich(shape: tuple[int, int]) -> Scene:
    if shape not in ((8, 8), (32, 32)):
        raise ValueError(f'shape: "munich" holds (8, 8) and (32, 32), got {shape}')
    suffix = f"{shape[0]}x{shape[1]}"
    source = resources.files("hmimo_fast").joinpath("data", "munich_30ghz.npz")
    with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        # The array is in its own y-z plane: (x, y, z) of the surface is (y, z, x) of the array.
        cycle = [1, 2, 0]
        x, y, _ = np.round(archive[f"element_pos_{suffix}"][:, cycle], 6).T
        order = np.lexsort((y, x))
        return Scene(
            np.ascontiguousarray(archive[f"H_{suffix}"][:, order]),
            name="munich",
            user_positions=archive["ue_position"],
            surface_position=archive["tx_position"],
            surface_rotation=archive["tx_rotation"][:, cycle],
            line_of_sight=archive["is_los"],
            frequency=float(archive["frequency"]),
        )


#: Names in files -> fields of ``Scene``; the second names are DeepMIMO's.
_FIELDS = {
    "user_positions": "user_positions",
    "rx_pos": "user_positions",
    "surface_position": "surface_position",
    "tx_pos": "surface_position",
    "surface_rotation": "surface_rotation",
    "line_of_sight": "line_of_sight",
    "los": "line_of_sight",
    "frequency": "frequency",
}


def _fields(arrays: Arrays, users: int) -> dict[str, Any]:
    shapes = {
        "user_positions": (users, 3),
        "surface_position": (3,),
        "surface_rotation": (3, 3),
        "line_of_sight": (users,),
        "frequency": (),
    }
    found: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        array = arrays.get(name)
        # MATLAB has no vectors or scalars, only matrices with dimensions of 1.
        if array is not None and _without_ones(array.shape) == _without_ones(shapes[field]):
            found.setdefault(field, array.reshape(shapes[field]))
    if "line_of_sight" in found:  # DeepMIMO: 1 in sight, 0 not, -1 no path at all
        found["line_of_sight"] = found["line_of_sight"] > 0
    if "frequency" in found:
        found["frequency"] = float(found["frequency"])
    return found


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(length for length in shape if length != 1)
