"""The hardware: element grid, feeds, and the reference waves that link them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .arguments import as_count, as_finite, as_nonnegative, as_positive, as_shape
from .geometry import SPEED_OF_LIGHT, Complex, Real, direction

__all__ = ["SPEED_OF_LIGHT", "Surface", "direction"]


class Surface:
    r"""A rectangular holographic surface and the reference waves of its feeds.

    ``Nx x Ny`` elements lie in the x-y plane, centred at the origin; element
    ``n = ix * Ny + iy`` is at ``((ix - (Nx-1)/2) d, (iy - (Ny-1)/2) d, 0)``, and the
    surface radiates towards +z.  Feed ``l`` reaches element ``n`` over a distance ``r_nl`` as

    .. math:: \Phi_{nl} = \sqrt{\eta}\, e^{-a r_{nl}}\, e^{-j k_s r_{nl}},
              \qquad k_s = \sqrt{\epsilon_r}\, k_f .

    A surface does not change once built.

    Parameters
    ----------
    shape : (int, int)
        Elements along x and y, ``(Nx, Ny)``.
    spacing : float
        Distance ``d`` between neighbouring elements, metres.
    frequency : float
        Carrier frequency, Hz.
    feeds : int, str or array_like
        How many feeds to spread over the aperture: ``r = floor(sqrt(L))`` rows in y by
        ``ceil(L / r)`` columns in x, a feed at the centre of each cell, the first L row by
        row.  ``"edge:6"``: 6 feeds on a line along y, one spacing outside the first
        column of elements.  An array (L, 2) or (L, 3): their coordinates in metres.
    permittivity : float
        Relative permittivity ``eps_r`` of the medium the reference waves travel in.
    attenuation : float
        Amplitude loss ``a`` along the medium, nepers per metre.
    efficiency : float, "unit-energy" or "passive"
        ``eta``.  ``"unit-energy"`` is 1/N, so that a feed without loss excites all elements
        with unit energy together; ``"passive"`` scales ``phase`` to a largest singular
        value of 1, so that no feed signal is amplified.
    spreading : bool
        Multiply by ``1 / sqrt(r_nl)``, r_nl in metres: a cylindrical wave in a thin guide.
    phase : array_like, optional
        Use this (N, L) complex matrix in place of the formula, as it is.

    Attributes
    ----------
    elements, feed_count : int
        N and L.
    positions, feed_positions : ndarray, float64
        (N, 3) and (L, 3), metres, read-only.
    phase : ndarray, complex128
        (N, L), read-only.

    Raises
    ------
    ValueError, TypeError
        For an argument out of range or of the wrong shape; the message names it.

    Notes
    -----
    Formula of papers A (arXiv 2504.19522) and B (arXiv 2502.17408); neither places the feeds
    or fixes eta and a, which are our choice here.

    Examples
    --------
    >>> surface = Surface(shape=(8, 8), spacing=2.5e-3, frequency=30e9, feeds=6)
    >>> surface
    Surface(shape=(8, 8), spacing=0.0025, frequency=30000000000.0, feed_count=6)
    >>> surface.phase.shape, surface.positions.shape
    ((64, 6), (64, 3))
    """

    shape: tuple[int, int]
    spacing: float
    frequency: float
    positions: Real
    feed_positions: Real
    phase: Complex

    def __init__(
        self,
        shape: tuple[int, int] = (8, 8),
        spacing: float = 2.5e-3,
        frequency: float = 30e9,
        feeds: int | str | ArrayLike = 6,
        *,
        permittivity: float = 3.0,
        attenuation: float = 0.0,
        efficiency: float | str = 1.0,
        spreading: bool = False,
        phase: ArrayLike | None = None,
    ) -> None:
        shape = as_shape("shape", shape)
        spacing = as_positive("spacing", spacing)
        frequency = as_positive("frequency", frequency)
        permittivity = as_positive("permittivity", permittivity)
        attenuation = as_nonnegative("attenuation", attenuation)
        positions = _grid(shape, spacing)
        feed_positions = _feed_positions(feeds, shape, spacing)
        wavenumber = 2 * math.pi * frequency / SPEED_OF_LIGHT
        if phase is None:
            reference = _reference_wave(
                positions,
                feed_positions,
                math.sqrt(permittivity) * wavenumber,
                attenuation,
                efficiency,
                spreading,
            )
        elif attenuation or spreading or efficiency != 1.0:
            raise ValueError(
                "phase: a matrix handed in is used as it is, so attenuation, efficiency and "
                "spreading must be left at their defaults"
            )
        else:
            reference = as_finite(
                "phase", phase, (len(positions), len(feed_positions)), "(elements, feeds)", complex
            )
        self.__setstate__({
            "shape": shape,
            "spacing": spacing,
            "frequency": frequency,
            "positions": positions,
            "feed_positions": feed_positions,
            "phase": reference,
        })  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Arrays come writable out of a pickle and out of deepcopy.
        for name in ("positions", "feed_positions", "phase"):
            state[name].flags.writeable = False
        vars(self).update(state)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{name}: a Surface is frozen; build a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{name}: a Surface is frozen; build a new one")

    def __repr__(self) -> str:
        return (
            f"Surface(shape={self.shape}, spacing={self.spacing}, frequency={self.frequency}, "
            f"feed_count={self.feed_count})"
        )

    @property
    def elements(self) -> int:
        """Number of elements N."""
        return len(self.positions)

    @property
    def feed_count(self) -> int:
        """Number of feeds L, one RF chain each."""
        return len(self.feed_positions)

    @property
    def wavelength(self) -> float:
        """Free-space wavelength, metres."""
        return SPEED_OF_LIGHT / self.frequency

    @property
    def wavenumber(self) -> float:
        """Free-space wavenumber k_f, rad/m."""
        return 2 * math.pi / self.wavelength

    def steering_factors(self, directions: ArrayLike) -> tuple[Complex, Complex]:
        """Response along each axis: ``steering`` is their outer product.

        Parameters
        ----------
        directions : array_like
            (..., 3) unit vectors in the surface's frame.

        Returns
        -------
        along_x, along_y : ndarray, complex128
            (..., Nx) and (..., Ny).

        Raises
        ------
        ValueError
            If the directions are not (..., 3) vectors of unit length.

        Examples
        --------
        >>> along_x, along_y = Surface(shape=(4, 2)).steering_factors([0, 0, 1])
        >>> along_x.shape, along_y.shape
        ((4,), (2,))
        """
        unit = np.asarray(directions, dtype=np.float64)
        if unit.ndim == 0 or unit.shape[-1] != 3:
            raise ValueError(f"directions: expected (..., 3), got {unit.shape}")
        if not np.allclose(np.einsum("...i,...i->...", unit, unit), 1, rtol=0, atol=1e-5):
            raise ValueError("directions: expected vectors of unit length")
        along_x, along_y = (
            np.exp(1j * self.wavenumber * unit[..., axis, None] * _line(count, self.spacing))
            for axis, count in enumerate(self.shape)
        )
        return along_x, along_y

    def steering(self, directions: ArrayLike) -> Complex:
        """Response of the elements to plane waves, ``exp(+j k_f u . e_n)``.

        Parameters
        ----------
        directions : array_like
            (..., 3) unit vectors u in the surface's frame, towards the far end.

        Returns
        -------
        ndarray, complex128
            (..., N).

        Raises
        ------
        ValueError
            If the directions are not (..., 3) vectors of unit length.

        Examples
        --------
        >>> Surface(shape=(2, 2)).steering(direction(0.0, 0.0)).real
        array([1., 1., 1., 1.])
        """
        along_x, along_y = self.steering_factors(directions)
        response: Complex = along_x[..., :, None] * along_y[..., None, :]
        return response.reshape(*response.shape[:-2], self.elements)

    def pattern(
        self,
        amplitudes: ArrayLike,
        digital: ArrayLike,
        directions: ArrayLike,
        per_user: bool = False,
    ) -> Real:
        """Radiated power towards each direction, ``|exp(+j k_f u . e)^T diag(q) Phi V|^2``.

        Parameters
        ----------
        amplitudes : array_like
            (N,) radiation amplitudes in [0, 1], or complex weights in the unit disc.
        digital : array_like
            (L, K) digital beamformer, one column per user.
        directions : array_like
            (..., 3) unit vectors in the surface's frame.
        per_user : bool
            Keep the users' columns apart rather than summing them.

        Returns
        -------
        ndarray, float64
            (...), or (..., K) with ``per_user``; linear, in units of ``|digital|^2``.

        Raises
        ------
        ValueError
            If a shape does not match the surface, an amplitude is outside [0, 1] or the unit disc,
            or a direction is not of unit length.

        Notes
        -----
        Paper B (arXiv 2502.17408).

        Examples
        --------
        >>> import numpy as np
        >>> surface = Surface(shape=(8, 8), feeds=1)
        >>> amplitudes = np.clip(0.5 + 0.5 * surface.phase[:, 0].real, 0, 1)
        >>> surface.pattern(amplitudes, np.ones((1, 1)), direction([0.0, 1.0], 0.0)).round(0)
        array([157.,  21.])
        """
        kind = complex if np.iscomplexobj(amplitudes) else float
        chosen = as_finite("amplitudes", amplitudes, (self.elements,), "(elements,)", kind)
        if kind is float and (chosen.min() < 0 or chosen.max() > 1):
            raise ValueError(
                f"amplitudes: expected values in [0, 1], got [{chosen.min()}, {chosen.max()}]"
            )
        if kind is complex and np.abs(chosen).max() > 1 + 1e-6:
            raise ValueError(
                "amplitudes: expected values in the unit disc, got a magnitude of "
                f"{np.abs(chosen).max()}"
            )
        beamformer = np.asarray(digital, dtype=np.complex128)
        if beamformer.ndim != 2 or len(beamformer) != self.feed_count:
            raise ValueError(
                f"digital: expected (feeds, users) with {self.feed_count} feeds, "
                f"got {beamformer.shape}"
            )
        users = beamformer.shape[1]
        nx, ny = self.shape
        excitation = (chosen[:, None] * self.phase) @ beamformer
        along_x, along_y = self.steering_factors(directions)
        # Summing one axis of the grid at a time costs N + Ny operations a direction, and
        # never forms the (..., N) steering vectors.
        rows = (along_x @ excitation.reshape(nx, ny * users)).reshape(*along_y.shape, users)
        field = np.einsum("...y,...yk->...k", along_y, rows)
        power: Real = np.abs(field) ** 2
        return power if per_user else np.asarray(power.sum(axis=-1))

    def show(self, feed: int = 0, *, ax: Any = None) -> Any:
        """Draw the elements, the feeds, and the reference wave of one feed at the elements.

        An element is a square with the colour of the wave's phase; its side goes with the
        wave's amplitude.

        Parameters
        ----------
        feed : int
            Whose wave, 0 to L-1.
        ax : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
            In millimetres.

        Raises
        ------
        ValueError
            If there is no such feed.
        ImportError
            If matplotlib is not installed.

        Examples
        --------
        >>> ax = Surface(shape=(16, 16), feeds="edge:4").show(feed=1)
        >>> ax.get_xlabel()
        'x, mm'
        """
        from . import plot

        return plot.surface(self, feed, ax=ax)


def _line(count: int, spacing: float) -> Real:
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing, dtype=np.float64)


def _grid(shape: tuple[int, int], spacing: float) -> Real:
    nx, ny = shape
    x, y = np.repeat(_line(nx, spacing), ny), np.tile(_line(ny, spacing), nx)
    return np.stack([x, y, np.zeros(nx * ny)], axis=-1)


def _feed_positions(feeds: Any, shape: tuple[int, int], spacing: float) -> Real:
    width, height = shape[0] * spacing, shape[1] * spacing
    if isinstance(feeds, str):
        name, _, count = feeds.partition(":")
        if name != "edge" or not count.isdecimal():
            raise ValueError(
                f'feeds: expected a count, "edge:<count>" or coordinates, got {feeds!r}'
            )
        total = as_count("feeds", int(count))
        y = _line(total, height / total)
        return np.stack([np.full(total, -(width + spacing) / 2), y, np.zeros(total)], axis=-1)
    if np.ndim(feeds) == 0:
        total = as_count("feeds", feeds)
        rows = math.isqrt(total)
        columns = -(-total // rows)
        x = np.tile(_line(columns, width / columns), rows)
        y = np.repeat(_line(rows, height / rows), columns)
        return np.stack([x, y, np.zeros(rows * columns)], axis=-1)[:total]
    given = np.shape(feeds)
    if len(given) != 2 or given[0] < 1 or given[1] not in (2, 3):
        raise ValueError(f"feeds: expected coordinates (L, 2) or (L, 3), got {given}")
    coordinates = as_finite("feeds", feeds, given, "(feeds, axes)", float)
    return np.pad(coordinates, ((0, 0), (0, 3 - given[1])))


def _reference_wave(
    positions: Real,
    feed_positions: Real,
    wavenumber: float,
    attenuation: float,
    efficiency: float | str,
    spreading: bool,
) -> Complex:
    distance = np.linalg.norm(positions[:, None] - feed_positions, axis=-1)
    wave: Complex = np.exp(-(attenuation + 1j * wavenumber) * distance)
    if spreading:
        element, feed = np.unravel_index(distance.argmin(), distance.shape)
        if distance[element, feed] * wavenumber < 1e-9:
            raise ValueError(
                f"spreading: 1/sqrt(r) diverges, as feed {feed} lies on element {element}"
            )
        wave /= np.sqrt(distance)
    if efficiency == "passive":
        return wave / float(np.linalg.norm(wave, 2))
    if efficiency == "unit-energy":
        return wave / math.sqrt(len(positions))
    if isinstance(efficiency, str):
        raise ValueError(
            f'efficiency: expected a number, "unit-energy" or "passive", got {efficiency!r}'
        )
    return wave * math.sqrt(as_positive("efficiency", efficiency))
