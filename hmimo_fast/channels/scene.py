"""Channels together with where they were taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..arguments import as_finite
from ..geometry import Real


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
    reading : str
        How a file's array was read, such as "H: 4 users × 64 elements × 100 draws".

    Raises
    ------
    ValueError
        If a shape does not fit the channel, or the rotation is not orthogonal.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> scene = hf.channels.load("munich")
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
    reading: str = ""

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
                object.__setattr__(self, name, as_finite(name, value, shape, meaning, kind))
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
        >>> import hmimo_fast as hf
        >>> scene = hf.channels.load("munich")
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
        >>> import hmimo_fast as hf
        >>> scene = hf.channels.load("munich")
        >>> ahead = scene.surface_position + scene.surface_rotation[:, 2]
        >>> abs(scene.directions(ahead)).round(12)
        array([0., 0., 1.])
        """
        own = self.to_surface(points)
        distance = np.linalg.norm(own, axis=-1, keepdims=True)
        if not np.all(distance > 0):
            raise ValueError("points: expected points apart from the surface's position")
        return np.asarray(own / distance)
