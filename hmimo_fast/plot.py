"""Pictures for papers and notebooks, drawn with matplotlib on given axes or on new ones.

Each function returns its axes, so that titles, limits and further lines are matplotlib's own calls.
The colour-blind tell the colours apart, and numbers, dashes or lightness say the same again.
matplotlib is imported when something is drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from .arguments import as_finite
from .geometry import Real, direction

if TYPE_CHECKING:
    from .channels import Scene
    from .surface import Surface

__all__ = ["amplitudes", "convergence", "pattern", "rates", "surface"]

#: Of users: Okabe and Ito's and two of Paul Tol's, without those that are faint in print or grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255")
INK = "#1B2230"
_BEHIND = "#D9D9D9"
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_STEP, _STEPS = 3.0, 5  # dB per shade, and their number
_SILENT = 1e-6  # a beam or rate this far below the largest counts as none
_FLOOR = 30.0  # dB below the peak, where a cut ends
_POINTS = 360  # along the longer side of a map


def pattern(
    surface: Surface,
    amplitudes: ArrayLike,
    digital: ArrayLike,
    scene: Scene | None = None,
    *,
    phi: float | None = None,
    users: Iterable[Any] | None = None,
    ax: Any = None,
) -> Any:
    """Draw the beam of every served user in a colour of its own.

    On a map a point has the colour of the user whose beam is the strongest there, in shades of
    3 dB below the peak of all beams; user k's number stands at its beam's peak or, on the ground,
    where the user is.  The map is over direction cosines u and v, or over a scene's ground at the
    median height of its users.  A cut draws the beams as lines over the angle from broadside.
    Range loss and reflections are left out.

    Parameters
    ----------
    surface : Surface
        N elements, L feeds.
    amplitudes : array_like
        (N,) radiation amplitudes in [0, 1], or complex weights.
    digital : array_like
        (L, K) digital beamformer; a user whose column is zero, or negligible, is not served.
    scene : Scene, optional
        Of the same K users, with their positions and the surface's: draw over its ground.
    phi : float, optional
        Azimuth in radians: draw the cut of this half-plane and the one opposite, over theta from
        -90 to 90 degrees.
    users : iterable, optional
        K names to write; 0 to K-1 by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ValueError
        If a shape does not match the surface or the scene, an amplitude is outside [0, 1], nobody
        is served, the scene has no positions, or both ``scene`` and ``phi`` are given.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    The pattern is that of `Surface.pattern` (paper B, arXiv 2502.17408).

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> scene = hf.channels.load("munich")
    >>> surface = hf.Surface(shape=(8, 8), feeds=6)
    >>> found = hf.schedule(scene.channel, surface.phase, power=1.0, noise_power=2e-12)
    >>> ax = hf.plot.pattern(surface, found.amplitudes, found.digital, scene)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('x, m', 'y, m')
    """
    beams = np.asarray(digital)
    if beams.ndim != 2:
        raise ValueError(f"digital: expected (feeds, users), got {beams.shape}")
    names = _names(users, beams.shape[1])
    strength = np.abs(beams).max(axis=0)
    served = np.flatnonzero(strength > _SILENT * strength.max())
    if not len(served):
        raise ValueError("digital: expected a beam for some user, got zeros or NaN")
    chosen = (surface, amplitudes, beams[:, served])
    if phi is not None:
        if scene is not None:
            raise ValueError("phi: a cut has no ground; give scene or phi, not both")
        return _draw_cut(ax, chosen, names[served], phi)
    if scene is None:
        return _draw_directions(ax, chosen, names[served])
    if scene.user_positions is None or scene.surface_position is None:
        raise ValueError(f"scene: {scene.name!r} has no positions of its users and surface")
    if len(scene.user_positions) != len(names):
        raise ValueError(f"scene: expected {len(names)} users, got {len(scene.user_positions)}")
    return _draw_ground(ax, chosen, names, served, scene)


def rates(
    values: ArrayLike | Mapping[str, ArrayLike],
    *,
    users: Iterable[Any] | None = None,
    ax: Any = None,
) -> Any:
    """Draw a bar for every user's rate, of one solution or of several beside each other.

    The bars of one solution have the colours that `pattern` gives its users; the legend of several
    has their sum rates.  A batch is drawn by its mean.

    Parameters
    ----------
    values : array_like, or mapping of str to array_like
        (..., K) rates in bit/s/Hz, or several such by name.
    users : iterable, optional
        K names to write; 0 to K-1 by default.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        User k is at x = k.

    Raises
    ------
    ValueError
        If the numbers of users differ.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(8, 8), feeds=6)
    >>> channel = hf.channels.sparse_mmwave(surface, users=6, size=20, seed=0)
    >>> found = {
    ...     method: hf.solve(
    ...         channel, surface.phase, power=1.0, noise_power=0.1, method=method
    ...     ).rates
    ...     for method in ("random", "joint")
    ... }
    >>> ax = hf.plot.rates(found)
    >>> len(ax.patches), ax.get_ylabel()
    (12, 'rate, bit/s/Hz')
    """
    several = isinstance(values, Mapping)
    given = {
        name: np.asarray(each, dtype=float) for name, each in _by_name("values", values).items()
    }
    counts = {each.shape[-1] if each.ndim else 0 for each in given.values()}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"values: expected (..., users), got {[v.shape for v in given.values()]}")
    count = counts.pop()
    names = _names(users, count)
    means = {name: each.reshape(-1, count).mean(axis=0) for name, each in given.items()}
    axes = _axes(ax)
    ticks = np.arange(count)
    width = 0.84 / len(means)
    if several:
        colours = _shades(len(means))
    else:
        (alone,) = means.values()
        colours = [_colours(alone > _SILENT * alone.max())]
    for index, (name, mean) in enumerate(means.items()):
        axes.bar(
            ticks + (index - (len(means) - 1) / 2) * width,
            mean,
            width,
            color=colours[index],
            edgecolor=INK,
            linewidth=0.6,
            label=f"{name}: {mean.sum():.2f} bit/s/Hz",
        )
    axes.set(xlabel="user", ylabel="rate, bit/s/Hz", xlim=(-0.6, count - 0.4))
    axes.set_xticks(ticks, names)
    if several:
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, frameon=False)
    return axes


def amplitudes(surface: Surface, values: ArrayLike, *, ax: Any = None) -> Any:
    """Draw the amplitudes, or the angles of complex weights, on the aperture with its feeds.

    Parameters
    ----------
    surface : Surface
        N elements.
    values : array_like
        (N,) radiation amplitudes in [0, 1], or complex weights, drawn by their angle over pi and
        as squares of their magnitude.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        In millimetres.

    Raises
    ------
    ValueError
        If there is not one finite amplitude an element.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(8, 8), feeds=6)
    >>> channel = hf.channels.sparse_mmwave(surface, users=6, seed=0)
    >>> solution = hf.solve(channel, surface.phase, power=1.0, noise_power=0.1)
    >>> ax = hf.plot.amplitudes(surface, solution.amplitudes)
    >>> ax.get_xlabel()
    'x, mm'
    """
    turned = np.iscomplexobj(values)
    kind = complex if turned else float
    chosen = as_finite("values", values, (surface.elements,), "(elements,)", kind)
    axes = _axes(ax)
    if turned:
        angles, sizes = np.angle(chosen) / np.pi, np.minimum(np.abs(chosen), 1.0)
        elements = _draw_elements(axes, surface, angles, sizes, cmap="twilight", clim=(-1, 1))
        _colour_bar(axes, elements, "angle / π")
    else:
        elements = _draw_elements(axes, surface, chosen, cmap="Blues", clim=(0, 1))
        _colour_bar(axes, elements, "amplitude")
    _mark_feeds(axes, surface)
    return axes


def convergence(history: ArrayLike | Mapping[str, ArrayLike], *, ax: Any = None) -> Any:
    """Draw the sum rate against the iteration.

    Over a batch the median is drawn, with a band that holds 80 % of the items; an item that has
    stopped stays at its last rate.

    Parameters
    ----------
    history : array_like, or mapping of str to array_like
        (..., I) sum rates in bit/s/Hz as in ``Solution.history``, NaN where there is no iterate;
        or several such by name.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        With a logarithmic axis of iterates, the first of which is 1.

    Raises
    ------
    ValueError
        If an array has no iterate.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(8, 8), feeds=6)
    >>> channel = hf.channels.sparse_mmwave(surface, users=6, size=20, seed=0)
    >>> found = hf.solve(channel, surface.phase, power=1.0, noise_power=0.1)
    >>> ax = hf.plot.convergence({"joint": found.history})
    >>> ax.get_xlabel(), ax.get_xscale()
    ('iterate', 'log')
    """
    given = {name: _continued(name, each) for name, each in _by_name("history", history).items()}
    axes = _axes(ax)
    for index, (name, items) in enumerate(given.items()):
        low, middle, high = np.quantile(items, [0.1, 0.5, 0.9], axis=0)
        iterates = 1 + np.arange(len(middle))
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(iterates, middle, color=colour, linestyle=_dash(index), label=name)
        if len(items) > 1:
            axes.fill_between(iterates, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.set(xlabel="iterate", ylabel="sum rate, bit/s/Hz", xscale="log")
    if isinstance(history, Mapping):
        axes.legend(frameon=False)
    return axes


def surface(surface: Surface, feed: int = 0, *, ax: Any = None) -> Any:
    """Draw what `Surface.show` draws; see there."""
    if not 0 <= feed < surface.feed_count:
        raise ValueError(f"feed: expected 0 to {surface.feed_count - 1}, got {feed}")
    wave = surface.phase[:, feed]
    axes = _axes(ax)
    strength = np.abs(wave)
    sides = strength / max(strength.max(), np.finfo(float).tiny)
    phase = np.angle(wave) / np.pi
    elements = _draw_elements(axes, surface, phase, sides, cmap="twilight", clim=(-1, 1))
    bar = _colour_bar(axes, elements, f"phase of the wave of feed {feed}, rad")
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−π", "−π/2", "0", "π/2", "π"])
    _mark_feeds(axes, surface, feed)
    return axes


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install 'hmimo_fast[cli]'") from error
    _, axes = pyplot.subplots(layout="compressed")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _names(users: Iterable[Any] | None, count: int) -> Any:
    names = [str(user) for user in (range(count) if users is None else users)]
    if len(names) != count:
        raise ValueError(f"users: expected {count} names, got {len(names)}")
    return np.array(names)


def _by_name(argument: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        return {"": values}
    if not values:
        raise ValueError(f"{argument}: expected an array or several by name, got an empty mapping")
    return values


def _continued(name: str, history: ArrayLike) -> Real:
    """Items (B, I) without empty columns, each continued at its last rate."""
    items = np.atleast_1d(np.asarray(history, dtype=float))
    items = items.reshape(-1, items.shape[-1])
    items = items[:, np.isfinite(items).any(axis=0)]
    if not items.size:
        raise ValueError(f"history: expected rates (..., I), got no finite one {name}".rstrip())
    items = items[np.isfinite(items).any(axis=1)]
    known = np.maximum.accumulate(
        np.where(np.isfinite(items), np.arange(items.shape[1]), -1), axis=1
    )
    first = np.isfinite(items).argmax(axis=1)[:, None]
    return np.asarray(np.take_along_axis(items, np.maximum(known, first), axis=1))


def _dash(index: int) -> Any:
    return _DASHES[index % len(_DASHES)]


def _colours(served: Any) -> list[str]:
    """Of each user; those served cycle through the colours, the others have no beam."""
    places = np.cumsum(served) - 1
    return [
        COLOURS[place % len(COLOURS)] if on else _BEHIND
        for place, on in zip(places, served, strict=True)
    ]


def _shades(count: int) -> Any:
    """From light to dark, distinct in grey too."""
    import matplotlib

    return matplotlib.colormaps["cividis_r"](np.linspace(0.1, 0.9, count) if count > 1 else [0.7])


def _draw_elements(
    axes: Any, surface: Surface, values: Real, sides: Any = 1.0, **style: Any
) -> Any:
    """A square for each element, coloured by its value; sides in element spacings."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    lengths = 1e3 * surface.spacing * 0.94 * np.broadcast_to(sides, values.shape)
    corners = 1e3 * surface.positions[:, :2] - lengths[:, None] / 2
    squares = [
        Rectangle(tuple(corner), length, length)
        for corner, length in zip(corners, lengths, strict=True)
    ]
    elements = PatchCollection(squares, edgecolor="#999999", linewidth=0.4, **style)
    elements.set_array(values)
    axes.add_collection(elements)
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)
    axes.set(xlabel="x, mm", ylabel="y, mm")
    return elements


def legend_below(axes: Any, handles: Any = None) -> None:
    """A legend under the label of the x axis, whatever the size of the axes."""
    from matplotlib.transforms import ScaledTranslation

    lines = ScaledTranslation(0.0, -0.5, axes.figure.dpi_scale_trans)
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=axes.transAxes + lines,
        ncols=2,
        frameon=False,
    )


def _colour_bar(axes: Any, coloured: Any, label: str) -> Any:
    """Beside the axes, as high as they are whatever their aspect."""
    beside = axes.inset_axes((1.03, 0.0, 0.045, 1.0))
    return axes.figure.colorbar(coloured, cax=beside, label=label)


def _mark_feeds(axes: Any, surface: Surface, chosen: int | None = None) -> None:
    x, y = 1e3 * surface.feed_positions[:, :2].T
    axes.plot(x, y, "o", markersize=7, color="white", markeredgecolor=INK, label="feed")
    if chosen is not None:
        axes.plot(x[chosen], y[chosen], "*", markersize=17, color="white", markeredgecolor=INK,
                  label=f"feed {chosen}")  # fmt: skip
    legend_below(axes)


def _powers(chosen: tuple[Surface, Any, Any], directions: Real) -> Real:
    """Power of each served user's beam (..., K), NaN behind the surface."""
    surface, amplitudes, digital = chosen
    ahead = directions[..., 2] > 0
    # Row by row, which bounds the memory of a large surface's steering.
    power = np.stack(
        [surface.pattern(amplitudes, digital, row, per_user=True) for row in directions]
    )
    return np.where(ahead[..., None], power, np.nan)


def _draw_map(axes: Any, x: Real, y: Real, power: Real) -> None:
    """Colour points by the strongest beam, in shades of its power."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb

    there = np.isfinite(power[..., 0])
    filled = np.where(there[..., None], power, 0.0)
    palette = np.array([to_rgb(colour) for colour in _colours(np.ones(power.shape[-1], bool))])
    below = -10 * np.log10(np.maximum(filled.max(axis=-1) / filled.max(), 1e-30))
    shade = np.maximum(1 - np.floor(below / _STEP) / _STEPS, 0)[..., None]
    image = 1 - shade * (1 - palette[filled.argmax(axis=-1)])
    axes.imshow(
        np.concatenate([image, there[..., None]], axis=-1),
        extent=(x[0], x[-1], y[0], y[-1]),
        origin="lower",
        interpolation="nearest",
    )
    greys = ListedColormap([(1 - step / _STEPS * 0.7,) * 3 for step in range(1, _STEPS + 1)])
    bounds = np.arange(-_STEPS, 1) * _STEP
    key = ScalarMappable(BoundaryNorm(bounds, greys.N), greys)
    bar = _colour_bar(axes, key, "power of the strongest beam, dB of the peak")
    bar.ax.tick_params(length=0)


def _draw_directions(ax: Any, chosen: tuple[Surface, Any, Any], names: Any) -> Any:
    line = np.linspace(-1, 1, _POINTS)
    u, v = np.meshgrid(line, line)
    across = u**2 + v**2
    directions = np.stack([u, v, np.sqrt(np.maximum(1 - across, 0))], axis=-1)
    directions[across > 1] = (0.0, 0.0, -1.0)
    power = _powers(chosen, directions)
    axes = _axes(ax)
    _draw_map(axes, line, line, power)
    peaks = [np.unravel_index(np.nanargmax(beam), beam.shape) for beam in np.moveaxis(power, -1, 0)]
    rows, columns = np.transpose(peaks)
    positions = np.stack([line[columns], line[rows]], axis=-1)
    _mark_served(axes, positions, names, "o")
    axes.set(xlabel="u = sin θ cos φ", ylabel="v = sin θ sin φ")
    return axes


def _draw_cut(ax: Any, chosen: tuple[Surface, Any, Any], names: Any, phi: float) -> Any:
    theta = np.linspace(-np.pi / 2, np.pi / 2, 721)
    surface, amplitudes, digital = chosen
    power = surface.pattern(amplitudes, digital, direction(theta, phi), per_user=True)
    decibels = 10 * np.log10(np.maximum(power / power.max(), 1e-30))
    axes = _axes(ax)
    for index, (name, beam) in enumerate(zip(names, decibels.T, strict=True)):
        axes.plot(
            np.degrees(theta),
            beam,
            color=COLOURS[index % len(COLOURS)],
            linestyle=_dash(index),
            label=f"user {name}",
        )
    axes.set(
        xlabel="angle from broadside, degrees",
        ylabel="power, dB of the peak",
        xlim=(-90, 90),
        ylim=(-_FLOOR, 1),
        xticks=range(-90, 91, 30),
    )
    legend_below(axes)
    return axes


def _draw_ground(
    ax: Any, chosen: tuple[Surface, Any, Any], names: Any, served: Any, scene: Scene
) -> Any:
    users, station = scene.user_positions, scene.surface_position
    assert users is not None
    assert station is not None
    x, y, height = _ground(users, station)
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], height), axis=-1)
    power = _powers(chosen, scene.directions(points))
    axes = _axes(ax)
    axes.set_facecolor(_BEHIND)
    _draw_map(axes, x, y, power)
    sight = scene.line_of_sight
    if sight is None:
        sight = np.full(len(users), True)
    others = np.setdiff1d(np.arange(len(users)), served)
    for marker, kind, label in (("o", sight, ""), ("D", ~sight, ", no line of sight")):
        there = others[kind[others]]
        if len(there):
            axes.plot(*users[there, :2].T, marker, markersize=6, color="white", markeredgecolor=INK,
                      label="not served" + label)  # fmt: skip
        there = kind[served]
        if there.any():
            _mark_served(axes, users[served], names[served], marker, there)
            axes.plot([], [], marker, markersize=9, color="white", markeredgecolor=INK,
                      markeredgewidth=2, label="served, in its beam's colour" + label)  # fmt: skip
    axes.plot(*station[:2], "*", markersize=19, color="white", markeredgecolor=INK, label="surface")
    axes.set(xlabel="x, m", ylabel="y, m", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]))
    legend_below(axes)
    return axes


def _ground(users: Real, station: Real) -> tuple[Real, Real, float]:
    """Coordinates that frame the users and the surface, and the users' height."""
    seen = np.vstack([users, station])[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = max(0.08 * (high - low).max(), 1.0)
    low, high = low - margin, high + margin
    step = (high - low).max() / _POINTS
    x, y = (np.arange(start, stop, step) for start, stop in zip(low, high, strict=True))
    return x, y, float(np.median(users[:, 2]))


def _mark_served(axes: Any, positions: Real, names: Any, marker: str, chosen: Any = None) -> None:
    """A numbered marker in the colour of the user's beam."""
    for index, (name, position) in enumerate(zip(names, positions, strict=True)):
        if chosen is not None and not chosen[index]:
            continue
        axes.plot(*position[:2], marker, markersize=15, color=COLOURS[index % len(COLOURS)],
                  markeredgecolor="white", markeredgewidth=1.6)  # fmt: skip
        axes.annotate(name, position[:2], ha="center", va="center", fontsize=8, fontweight="bold",
                      color="white")  # fmt: skip
