"""Channels of ray tracers, with the elements in the order of ``Surface``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arguments import as_shape
from ..geometry import Complex


def from_sionna(
    paths: Any, shape: tuple[int, int] | None = None, frequencies: Any = (0.0,)
) -> Complex:
    """Channels of Sionna RT, whose transmit array is the surface.

    Parameters
    ----------
    paths : Paths or array_like
        What ``PathSolver`` returns, or its ``cfr``: (receivers, 1, 1, N, 1, F), one antenna a
        receiver, one transmitter, one time.
    shape : (int, int), optional
        (Nx, Ny): ``num_cols`` and ``num_rows`` of the array; a square by default.
    frequencies : sequence of float
        Hz from the carrier, where ``paths`` is not an array yet.

    Returns
    -------
    ndarray, complex64 or complex128
        (K, N) at one frequency, (F, K, N) at several.

    Raises
    ------
    ValueError
        If the response has other dimensions.

    Notes
    -----
    Sionna's array looks along x and counts its antennas column by column from the top left; the
    surface's (x, y, z) are the array's (y, z, x), so that each column is turned upside down.
    The response acts as y = H x, so nothing is conjugated.

    Examples
    --------
    >>> from_sionna(np.ones((6, 1, 1, 64, 1, 3), complex)).shape
    (3, 6, 64)
    """
    if hasattr(paths, "cfr"):
        paths = paths.cfr(frequencies=list(frequencies), out_type="numpy")
    response = _response("paths", paths, 6, (1, 2, 4), "(receivers, 1, 1, antennas, 1, F)")
    nx, ny = _grid(shape, response.shape[1])
    ordered = response[:, panel_order((nx, ny))]
    return _by_frequency(ordered.reshape(len(response), nx, ny, -1))


def from_deepmimo(dataset: Any, shape: tuple[int, int] | None = None) -> Complex:
    """Channels of DeepMIMO, whose base station's panel is the surface.

    Parameters
    ----------
    dataset : Dataset or array_like
        A data set after ``compute_channels``, or its channels (users, 1, N, F).
    shape : (int, int), optional
        (Nx, Ny) of the panel; a square by default.

    Returns
    -------
    ndarray, complex64 or complex128
        (K, N) with one subcarrier, (F, K, N) with several.

    Raises
    ------
    ValueError
        If the channels have other dimensions.

    Notes
    -----
    DeepMIMO's panel looks along x and counts its antennas along y first; the surface's
    (x, y, z) are the panel's (y, z, x), so that the two dimensions of the grid change places.

    Examples
    --------
    >>> from_deepmimo(np.ones((6, 1, 64, 1), complex)).shape
    (6, 64)
    """
    channel = getattr(dataset, "channel", dataset)
    response = _response("dataset", channel, 4, (1,), "(users, 1, antennas, subcarriers)")
    nx, ny = _grid(shape, response.shape[1])
    grid = response.reshape(len(response), ny, nx, -1).swapaxes(1, 2)
    return _by_frequency(grid)


def panel_order(shape: tuple[int, int]) -> NDArray[np.intp]:
    """Element of the surface that each antenna of Sionna's array is, (N,); its own inverse.

    Parameters
    ----------
    shape : (int, int)
        (Nx, Ny): the array's columns and rows.

    Returns
    -------
    ndarray, intp
        (N,).

    Examples
    --------
    >>> panel_order((2, 3))
    array([2, 1, 0, 5, 4, 3])
    """
    nx, ny = shape
    return np.arange(nx * ny).reshape(nx, ny)[:, ::-1].reshape(-1)


def _response(name: str, value: Any, ndim: int, ones: tuple[int, ...], meaning: str) -> Complex:
    array = np.asarray(value)
    if (
        array.dtype.kind != "c"
        or array.ndim != ndim
        or any(array.shape[axis] != 1 for axis in ones)
    ):
        raise ValueError(f"{name}: expected complex {meaning}, got {array.dtype} {array.shape}")
    return array.squeeze(ones)


def _grid(shape: tuple[int, int] | None, antennas: int) -> tuple[int, int]:
    side = math.isqrt(antennas)
    nx, ny = (side, side) if shape is None else as_shape("shape", shape)
    if nx * ny != antennas:
        raise ValueError(f"shape: expected (Nx, Ny) of {antennas} antennas, got {(nx, ny)}")
    return nx, ny


def _by_frequency(grid: Complex) -> Complex:
    users, nx, ny, frequencies = grid.shape
    channel = np.moveaxis(grid, -1, 0).reshape(frequencies, users, nx * ny)
    return np.ascontiguousarray(channel[0] if frequencies == 1 else channel)
