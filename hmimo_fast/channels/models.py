"""Channel models.

Every model returns H with row k the channel of user k as it acts, ``y = H x``, as complex128 of
shape (K, N), or (size, K, N).  One seed gives the same bits on every call, and item i of a batch
does not depend on the size of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import as_count, as_nonnegative, as_positive
from ..geometry import Complex, Real, direction
from ..surface import Surface

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
    r"""Sparse mmWave channel: a few plane waves per user.

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
        Plane waves per user.
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
