"""The air: channel models, and channels read from files.

Every model returns H with row k the channel of user k as it acts, ``y = H x``, as complex128 of
shape (K, N), or (size, K, N).  One seed gives the same bits on every call, and item i of a batch
does not depend on the size of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .files import SUFFIXES, Arrays, read_arrays
from .surface import (
    Complex,
    Real,
    Surface,
    as_array,
    as_count,
    as_nonnegative,
    as_positive,
    as_shape,
    direction,
)

Seed = int | np.random.Generator | None

_BLOCK = 2**20  # complex numbers drawn at a time, which bounds the memory of temporaries


def sparse_mmwave(
    surface: Surface,
    users: int,
    size: int | None = None,
    seed: Seed = None,
    *,
    paths: int = 2,
    scatter: float = 0.1,
    gain_ratio: float = 1.0,
) -> Complex:
    r"""Sparse mmWave channel: a few plane waves a user.

    .. math:: H_{kn} = \rho^{-(k-1)} \sum_p \beta_{kp}\, e^{+j k_f u_{kp} \cdot e_n}

    with u = (sin t cos p, sin t sin p, cos t), t ~ U(-pi/2, pi/2), p ~ U(-pi, pi), gains CN(0, 1)
    for the first path (line of sight) and CN(0, scatter) for the others.

    Parameters
    ----------
    surface : Surface
        The transmitter, N elements.
    users : int
        K.
    size : int, optional
        Items in the batch; None: one channel without a batch dimension.
    seed : int, Generator or None
        Source of randomness; a Generator is advanced.
    paths : int
        Plane waves a user.
    scatter : float
        Mean power of each path after the first.
    gain_ratio : float
        rho, by which each user's amplitude exceeds the next user's; paper B takes 1.2.

    Returns
    -------
    ndarray, complex128
        (size, K, N), or (K, N).

    Raises
    ------
    ValueError, TypeError
        For an argument out of range; the message names it.

    Notes
    -----
    Papers A (arXiv 2504.19522) and B (arXiv 2502.17408).

    Examples
    --------
    >>> sparse_mmwave(Surface(shape=(8, 8)), users=6, size=1000, seed=0).shape
    (1000, 6, 64)
    """
    users, paths = as_count("users", users), as_count("paths", paths)
    spread = np.sqrt(np.r_[1.0, np.full(paths - 1, as_nonnegative("scatter", scatter))])
    scale = as_positive("gain_ratio", gain_ratio) ** -np.arange(float(users))[:, None] * spread

    def draw(rng: np.random.Generator, items: int) -> Complex:
        radius, angle, theta, phi = _uniforms(rng, (items, users, paths), 4)
        gains = scale * _complex_normal(radius, angle)
        along_x, along_y = surface.steering_factors(_any_direction(theta, phi))
        grid: Complex = np.swapaxes(gains[..., None] * along_x, -1, -2) @ along_y
        return grid.reshape(items, users, surface.elements)

    return _batch(draw, size, seed, (users, surface.elements))


def rician(
    surface: Surface,
    users: int,
    size: int | None = None,
    seed: Seed = None,
    *,
    factor: float = 10.0,
) -> Complex:
    """Rician channel of unit mean power: one plane wave in independent scatter.

    The plane wave has a uniform phase and the directions of ``sparse_mmwave``; the scatter is
    i.i.d. complex normal.

    Parameters
    ----------
    surface : Surface
        The transmitter, N elements.
    users : int
        K.
    size : int, optional
        Items in the batch; None: one channel without a batch dimension.
    seed : int, Generator or None
        Source of randomness; a Generator is advanced.
    factor : float
        Power of the plane wave over that of the scatter, linear; 0 is Rayleigh fading.

    Returns
    -------
    ndarray, complex128
        (size, K, N), or (K, N).

    Raises
    ------
    ValueError, TypeError
        For an argument out of range; the message names it.

    Examples
    --------
    >>> rician(Surface(shape=(8, 8)), users=6, seed=0, factor=4.0).shape
    (6, 64)
    """
    users, factor = as_count("users", users), as_nonnegative("factor", factor)
    elements = surface.elements
    specular, scattered = math.sqrt(factor / (1 + factor)), math.sqrt(1 / (1 + factor))

    def draw(rng: np.random.Generator, items: int) -> Complex:
        drawn = rng.random((items, users, 3 + 2 * elements))
        theta, phi, angle = np.ascontiguousarray(np.moveaxis(drawn[..., :3], -1, 0))
        radius, turn = np.ascontiguousarray(
            np.moveaxis(drawn[..., 3:].reshape(items, users, elements, 2), -1, 0)
        )
        wave = surface.steering(_any_direction(theta, phi))
        wave *= specular * np.exp(2j * np.pi * angle)[..., None]
        return wave + scattered * _complex_normal(radius, turn)

    return _batch(draw, size, seed, (users, elements))


def rayleigh(surface: Surface, users: int, size: int | None = None, seed: Seed = None) -> Complex:
    """Independent Rayleigh fading: every entry CN(0, 1).

    Parameters
    ----------
    surface : Surface
        The transmitter, N elements.
    users : int
        K.
    size : int, optional
        Items in the batch; None: one channel without a batch dimension.
    seed : int, Generator or None
        Source of randomness; a Generator is advanced.

    Returns
    -------
    ndarray, complex128
        (size, K, N), or (K, N).

    Raises
    ------
    ValueError, TypeError
        For an argument out of range; the message names it.

    Examples
    --------
    >>> rayleigh(Surface(shape=(8, 8)), users=6, size=10, seed=0).shape
    (10, 6, 64)
    """
    core = as_count("users", users), surface.elements

    def draw(rng: np.random.Generator, items: int) -> Complex:
        return _complex_normal(*_uniforms(rng, (items, *core), 2))

    return _batch(draw, size, seed, core)


def near_field(surface: Surface, user_positions: ArrayLike) -> Complex:
    r"""Line-of-sight channel of exact spherical waves.

    .. math:: H_{kn} = \frac{\lambda}{4\pi r_{kn}} e^{-j k_f r_{kn}}

    Parameters
    ----------
    surface : Surface
        The transmitter, N elements.
    user_positions : array_like
        (..., K, 3) metres in the surface's frame (``Scene.to_surface`` converts).

    Returns
    -------
    ndarray, complex128
        (..., K, N).

    Raises
    ------
    ValueError
        If the positions are not finite (..., K, 3), or a user stands on an element.

    Examples
    --------
    >>> near_field(Surface(shape=(8, 8)), [[0.0, 0.0, 1.0], [0.5, 0.0, 1.0]]).shape
    (2, 64)
    """
    users = np.asarray(user_positions, dtype=np.float64)
    if users.ndim < 2 or users.shape[-1] != 3:
        raise ValueError(f"user_positions: expected (..., K, 3), got {users.shape}")
    if not np.isfinite(users).all():
        raise ValueError("user_positions: expected finite values")
    offsets = (users[..., axis, None] - surface.positions[:, axis] for axis in range(3))
    distance = np.sqrt(sum(offset**2 for offset in offsets))
    if not np.all(distance):
        raise ValueError("user_positions: a user stands on an element, where the wave diverges")
    wave: Complex = np.exp(-1j * surface.wavenumber * distance)
    wave *= surface.wavelength / (4 * np.pi) / distance
    return wave


@dataclass(frozen=True, eq=False)
class Scene:
    """Channels and, where they are known, where they were taken.

    Positions are in the world's frame.  The surface's own frame has the elements in its
    x-y plane and radiates towards +z: ``world = surface_position + surface_rotation @ own``, so
    the columns of ``surface_rotation`` are the surface's x, y and z axes in the world.

    Attributes
    ----------
    channel : ndarray, complex64 or complex128
        (..., K, N), y = H x.
    name : str
        Where it came from.
    user_positions : ndarray or None
        (K, 3), metres.
    surface_position : ndarray or None
        (3,), metres.
    surface_rotation : ndarray or None
        (3, 3), orthogonal.
    line_of_sight : ndarray or None
        (K,) bool.
    frequency : float or None
        Hz.

    Raises
    ------
    ValueError
        If a shape does not fit the channel, or the rotation is not orthogonal.

    Examples
    --------
    >>> scene = load("munich")
    >>> scene.channel.shape, scene.user_positions.shape, int(scene.line_of_sight.sum())
    ((88, 64), (88, 3), 64)
    """

    channel: NDArray[Any]
    name: str = ""
    user_positions: Real | None = None
    surface_position: Real | None = None
    surface_rotation: Real | None = None
    line_of_sight: NDArray[np.bool_] | None = None
    frequency: float | None = None

    def __post_init__(self) -> None:
        if self.channel.ndim < 2:
            raise ValueError(f"channel: expected (..., K, N), got {self.channel.shape}")
        users = self.channel.shape[-2]
        for name, shape, meaning in (
            ("user_positions", (users, 3), "(users, axes)"),
            ("surface_position", (3,), "(axes,)"),
            ("surface_rotation", (3, 3), "(world axes, surface axes)"),
            ("line_of_sight", (users,), "(users,)"),
        ):
            value = getattr(self, name)
            if value is not None:
                kind = bool if name == "line_of_sight" else float
                object.__setattr__(self, name, as_array(name, value, shape, meaning, kind))
        rotation = self.surface_rotation
        if rotation is not None and not np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-6):
            raise ValueError("surface_rotation: expected an orthogonal matrix")

    def to_surface(self, points: ArrayLike) -> Real:
        """World positions in the surface's own frame.

        Parameters
        ----------
        points : array_like
            (..., 3) metres, world frame.

        Returns
        -------
        ndarray, float64
            (..., 3) metres; the third coordinate is positive in front of the surface.

        Raises
        ------
        ValueError
            If the scene does not know where the surface is or how it is turned.

        Examples
        --------
        >>> scene = load("munich")
        >>> scene.to_surface(scene.surface_position)
        array([0., 0., 0.])
        """
        if self.surface_position is None or self.surface_rotation is None:
            raise ValueError(
                f"points: the scene {self.name!r} has no surface_position and surface_rotation "
                "to place them by"
            )
        placed = np.asarray(points, dtype=np.float64)
        if placed.ndim == 0 or placed.shape[-1] != 3:
            raise ValueError(f"points: expected (..., 3), got {placed.shape}")
        own: Real = (placed - self.surface_position) @ self.surface_rotation
        return own

    def directions(self, points: ArrayLike) -> Real:
        """Unit vectors from the surface to world positions, in the surface's own frame.

        Parameters
        ----------
        points : array_like
            (..., 3) metres, world frame, none at the surface's own position.

        Returns
        -------
        ndarray, float64
            (..., 3), ready for ``Surface.pattern`` and ``Surface.steering``.

        Raises
        ------
        ValueError
            As ``to_surface``, or if a point is at the surface itself.

        Examples
        --------
        >>> scene = load("munich")
        >>> ahead = scene.surface_position + scene.surface_rotation[:, 2]
        >>> abs(scene.directions(ahead)).round(12)
        array([0., 0., 1.])
        """
        own = self.to_surface(points)
        distance = np.linalg.norm(own, axis=-1, keepdims=True)
        if not np.all(distance > 0):
            raise ValueError("points: expected points apart from the surface's position")
        return np.asarray(own / distance)


def load(
    path: str | PathLike[str],
    shape: tuple[int, int] | None = None,
    key: str | None = None,
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
        Name of the array in the file, a path within HDF5.  Without it the file must hold exactly
        one complex array of 2 to 4 dimensions.

    Returns
    -------
    Scene
        With a channel (K, N), or (..., K, N).

    Raises
    ------
    ValueError
        If the file cannot be read, holds no array that fits or several, or the array's shape
        does not fit.  Arrays of Python objects are never unpickled.
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file is HDF5 and h5py is not installed.

    Notes
    -----
    An array of 2 or 3 dimensions is taken as (users, elements) or (..., users, elements), of 4
    dimensions as DeepMIMO's [users, rx_ant, tx_ant, subcarriers] with rx_ant = 1: one subcarrier
    gives (users, elements), F subcarriers give (F, users, elements).  MATLAB drops a last
    dimension of 1, so a .mat array (users, 1, elements) is read as DeepMIMO's too.  Elements stay
    in the file's order.

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
        if key is not None:
            raise ValueError(f"key: the shipped set has no other arrays, got {key!r}")
        return _munich((8, 8) if shape is None else as_shape("shape", shape))
    file = Path(path)
    if file.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f'path: expected "munich" or a file {", ".join(SUFFIXES)}, got {str(path)!r}'
        )
    if not file.is_file():
        raise FileNotFoundError(f"path: no such file: {str(file)!r}")
    arrays = read_arrays(file, None if key is None else {key, *_FIELDS})
    channel = _as_channel(_choose(arrays, key, str(file)), file.suffix.lower() == ".mat")
    if shape is not None and channel.shape[-1] != math.prod(as_shape("shape", shape)):
        raise ValueError(
            f"shape: {str(file)!r} has {channel.shape[-1]} elements, "
            f"expected {math.prod(shape)} for {tuple(shape)}"
        )
    return Scene(channel, name=file.stem, **_fields(arrays, channel.shape[-2]))


def _uniforms(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> Real:
    # One item-major draw, whose first items do not depend on how many follow; then one
    # contiguous array a variable, so that NumPy takes the same code path at any size.
    return np.ascontiguousarray(np.moveaxis(rng.random((*shape, count)), -1, 0))


def _complex_normal(radius: Real, angle: Real) -> Complex:
    # The polar form of CN(0, 1) takes exactly two uniforms a number, where a ziggurat normal
    # takes a varying count and would tie an item to those before it.
    turned: Complex = np.exp(2j * np.pi * angle)
    turned *= np.sqrt(-np.log1p(-radius))
    return turned


def _any_direction(theta: Real, phi: Real) -> Real:
    return direction(np.pi * (theta - 0.5), 2 * np.pi * (phi - 0.5))


def _batch(
    draw: Callable[[np.random.Generator, int], Complex],
    size: int | None,
    seed: Seed,
    core: tuple[int, int],
) -> Complex:
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise type(error)(f"seed: {error}") from None
    if size is None:
        return draw(rng, 1)[0]
    total = 0 if size == 0 else as_count("size", size)
    channel = np.empty((total, *core), dtype=np.complex128)
    step = max(1, _BLOCK // math.prod(core))
    for begin in range(0, total, step):
        end = min(begin + step, total)
        channel[begin:end] = draw(rng, end - begin)
    return channel


def _munich(shape: tuple[int, int]) -> Scene:
    if shape not in ((8, 8), (32, 32)):
        raise ValueError(f'shape: "munich" holds (8, 8) and (32, 32), got {shape}')
    suffix = f"{shape[0]}x{shape[1]}"
    source = resources.files(__package__).joinpath("data", "munich_30ghz.npz")
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


def _choose(arrays: Arrays, key: str | None, file: str) -> NDArray[Any]:
    if key is not None:
        if key not in arrays:
            raise ValueError(f"key: no array of numbers {key!r} in {file!r}")
        return arrays[key]
    candidates = {
        name: array
        for name, array in arrays.items()
        if array.dtype.kind == "c" and 2 <= array.ndim <= 4
    }
    if len(candidates) == 1:
        return next(iter(candidates.values()))
    listed = candidates or arrays
    found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in listed.items())
    raise ValueError(
        f"key: expected one complex array of 2 to 4 dimensions in {file!r}, found "
        f"{len(candidates)}; name one of: {found or 'nothing'}"
    )


def _as_channel(array: NDArray[Any], matlab: bool) -> NDArray[Any]:
    if array.dtype.kind not in "fiuc" or not 2 <= array.ndim <= 4:
        raise ValueError(
            f"key: expected numbers in 2 to 4 dimensions, got {array.dtype} {array.shape}"
        )
    if matlab and array.ndim == 3 and array.shape[1] == 1:
        array = array[..., None]
    if array.ndim == 4:
        if array.shape[1] != 1:
            raise ValueError(
                "channel: 4 dimensions are read as DeepMIMO's [users, rx_ant, tx_ant, "
                f"subcarriers], which needs rx_ant = 1, got {array.shape}"
            )
        array = np.moveaxis(array[:, 0], -1, 0)
        array = array[0] if len(array) == 1 else array
    dtype = np.complex64 if np.can_cast(array.dtype, np.complex64) else np.complex128
    return np.array(array, dtype=dtype, order="C")
