"""Directions and the speed of light: what surfaces, channels and pictures share."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPEED_OF_LIGHT = 299_792_458.0  # m/s

Real = NDArray[np.float64]
Complex = NDArray[np.complex128]


def direction(theta: ArrayLike, phi: ArrayLike) -> Real:
    """Unit vector ``(sin t cos p, sin t sin p, cos t)``; theta is measured from broadside (+z).

    Parameters
    ----------
    theta, phi : array_like
        Polar and azimuth angles in radians, broadcast against each other.

    Returns
    -------
    ndarray, float64
        (..., 3).

    Examples
    --------
    >>> direction(0.0, 0.0)
    array([0., 0., 1.])
    """
    polar, azimuth = np.broadcast_arrays(
        np.asarray(theta, dtype=np.float64), np.asarray(phi, dtype=np.float64)
    )
    across = np.sin(polar)
    return np.stack([across * np.cos(azimuth), across * np.sin(azimuth), np.cos(polar)], axis=-1)
