"""Pictures of what was chosen.  matplotlib is imported only where it draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .results import Comparison, replacing
from .surface import Real

#: Dark for strong, so that it prints, and monotone in grey.
_HEAT = "YlGnBu"
_DECIBELS = 20.0  # below the peak, where the colours end
_POINTS = 360  # along the longer side of a map
_HEIGHT = 5.4  # inches, of the axes
_INK = "#1B2230"
_BEHIND = "#D9D9D9"
_ACCENT = "#D1490C"
#: Told apart from each other and from the accent by lightness alone too.
_OTHERS = ("#C3C8CE", "#5AA9DD", "#3B4252", "#FFFFFF", "#8A93A0", "#1F5F8B")
_STYLE = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "legend.columnspacing": 1.2,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
}


def draw(path: Path, comparison: Comparison) -> None:
    """Draw the beam pattern of the choice over the scene, beside the rates of all methods.

    Where the scene has no positions, the pattern is drawn over direction cosines.

    Parameters
    ----------
    path : Path
        Ending in a format of matplotlib's: .png, .pdf, .svg.
    comparison : Comparison
        What was found.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    scene = comparison.scene
    placed = (scene.user_positions, scene.surface_position, scene.surface_rotation)
    with matplotlib.rc_context(_STYLE):
        figure = Figure()
        left, bar, right = (figure.add_axes((0, 0, 1, 1), label=name) for name in "abc")
        if any(position is None for position in placed):
            heat = _draw_directions(left, comparison)
        else:
            heat = _draw_ground(left, comparison)
        figure.colorbar(heat, cax=bar, extend="min")
        bar.set_ylabel("radiated power in that direction, dB relative to the peak; no range loss")
        _draw_rates(right, comparison)
        figure.suptitle(_title(comparison), x=0.5, y=0.975, fontsize=12)
        # The paper is cut to the map, which keeps its proportions.
        width = float(np.ptp(left.get_xlim()) / np.ptp(left.get_ylim()) * _HEIGHT)
        _place(figure, [(left, width, 0.85), (bar, 0.16, 0.15), (right, 6.3, 1.5)])
        with replacing(path) as temporary:
            figure.savefig(temporary)


def _place(figure: Any, row: list[tuple[Any, float, float]]) -> None:
    """Put axes side by side: their width, and the gap before each, in inches."""
    below, total = 1.5, sum(width + gap for _, width, gap in row) + 0.3
    height = below + _HEIGHT + 0.8
    figure.set_size_inches(total, height)
    begin = 0.0
    for axes, width, gap in row:
        begin += gap
        axes.set_position((begin / total, below / height, width / total, _HEIGHT / height))
        begin += width


def _title(comparison: Comparison) -> str:
    surface, settings = comparison.surface, comparison.settings
    floor = settings["min_rate"]
    return (
        f"{settings['scene']}: {len(comparison.users)} users, "
        f"{surface.shape[0]} × {surface.shape[1]} elements, {surface.feed_count} feeds, "
        f"{surface.frequency / 1e9:g} GHz, {settings['power_dbm']:g} dBm "
        f"({settings['constraint']}), noise {settings['noise_dbm']:g} dBm"
        + (f", at least {floor:g} bit/s/Hz" if floor else "")
    ).replace(" -", " −")


def _pattern(comparison: Comparison, directions: Real) -> Real:
    """Radiated power in dB relative to the strongest direction; NaN behind the surface."""
    schedule = comparison.choice.schedule
    digital = schedule.digital[:, schedule.served]
    # Row by row, which bounds the memory of a large surface's steering.
    power = np.stack(
        [comparison.surface.pattern(schedule.amplitudes, digital, row) for row in directions]
    )
    ahead = directions[..., 2] > 0
    peak = np.max(power, where=ahead, initial=np.finfo(float).tiny)
    decibels = 10 * np.log10(np.maximum(power / peak, 1e-30))
    return np.where(ahead, decibels, np.nan)


def _heat(axes: Any, x: Real, y: Real, decibels: Real) -> Any:
    axes.set_facecolor(_BEHIND)
    image = axes.pcolormesh(
        x,
        y,
        decibels,
        cmap=_HEAT,
        vmin=-_DECIBELS,
        vmax=0,
        shading="nearest",
        rasterized=True,
    )
    axes.set_aspect("equal")
    return image


def _draw_directions(axes: Any, comparison: Comparison) -> Any:
    line = np.linspace(-1, 1, _POINTS)
    u, v = np.meshgrid(line, line)
    across = u**2 + v**2
    ahead = np.sqrt(np.maximum(1 - across, 0))
    outside = across > 1
    directions = np.stack([u, v, ahead], axis=-1)
    directions[outside] = (0.0, 0.0, -1.0)
    heat = _heat(axes, line, line, _pattern(comparison, directions))
    axes.set(
        title=f"Beam pattern of {comparison.choice.label}",
        xlabel="u = sin θ cos φ",
        ylabel="v = sin θ sin φ",
    )
    return heat


def _draw_ground(axes: Any, comparison: Comparison) -> Any:
    scene = comparison.scene
    users, station = scene.user_positions, scene.surface_position
    assert users is not None
    assert station is not None
    x, y, height = _ground(users, station)
    points = np.stack(np.broadcast_arrays(x[None, :], y[:, None], height), axis=-1)
    decibels = _pattern(comparison, scene.directions(points))
    heat = _heat(axes, x, y, decibels)
    _mark_users(axes, comparison)
    axes.plot(
        *station[:2],
        marker="*",
        markersize=19,
        color="white",
        markeredgecolor=_INK,
        linestyle="none",
        label="base station",
    )
    axes.set(
        title=f"Beams of {comparison.choice.label}, {height:g} m above ground",
        xlabel="x, m",
        ylabel="y, m",
        xlim=(x[0], x[-1]),
        ylim=(y[0], y[-1]),
    )
    if np.isnan(decibels).any():
        axes.fill_between([], [], color=_BEHIND, label="behind the surface")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.14, -0.09), ncols=2, markerscale=0.8)
    return heat


def _ground(users: Real, station: Real) -> tuple[Real, Real, float]:
    """Coordinates that frame the users and the base station, and the users' height."""
    seen = np.vstack([users, station])[:, :2]
    low, high = seen.min(axis=0), seen.max(axis=0)
    margin = max(0.08 * (high - low).max(), 1.0)
    low, high = low - margin, high + margin
    step = (high - low).max() / _POINTS
    x, y = (np.arange(start, stop, step) for start, stop in zip(low, high, strict=True))
    return x, y, float(np.median(users[:, 2]))


def _mark_users(axes: Any, comparison: Comparison) -> None:
    scene, served = comparison.scene, comparison.choice.schedule.served
    assert scene.user_positions is not None
    sight = scene.line_of_sight
    kinds = [("o", "", np.full(len(served), True))]
    if sight is not None:
        kinds = [("o", ", line of sight", sight), ("D", ", no line of sight", ~sight)]
    for chosen, label, face, size in (
        (~served, "not served", "white", 130),
        (served, "served", _ACCENT, 190),
    ):
        for marker, where, kind in kinds:
            if (chosen & kind).any():
                axes.scatter(
                    *scene.user_positions[chosen & kind, :2].T,
                    s=size,
                    marker=marker,
                    facecolor=face,
                    edgecolor=_INK,
                    linewidth=1.2,
                    label=label + where,
                )
    for user, position, is_served in zip(
        comparison.users, scene.user_positions, served, strict=True
    ):
        axes.annotate(
            str(user),
            position[:2],
            ha="center",
            va="center",
            fontsize=8 if is_served else 6.5,
            fontweight="bold" if is_served else "normal",
            color="white" if is_served else _INK,
        )


def _draw_rates(axes: Any, comparison: Comparison) -> None:
    runs, choice = comparison.runs, comparison.choice
    rates = np.array([run.schedule.rates for run in runs])
    chosen = np.flatnonzero(choice.schedule.served)
    chosen = chosen[np.argsort(-choice.schedule.rates[chosen])]
    served = np.any([run.schedule.served for run in runs], axis=0)
    others = np.setdiff1d(np.flatnonzero(served), chosen)
    order = np.concatenate([chosen, others])
    ticks = np.arange(len(order))
    width = 0.84 / len(runs)
    handles = [
        axes.bar(
            ticks + (index - (len(runs) - 1) / 2) * width,
            rates[index, order],
            width,
            color=_ACCENT if run is choice else _OTHERS[index],
            edgecolor=_INK,
            linewidth=0.6,
            label=f"{run.label}: {float(run.schedule.sum_rate):.2f} bit/s/Hz",
        )
        for index, run in enumerate(runs)
    ]
    handles += axes.plot(
        np.arange(len(chosen)),
        comparison.fully_digital_rates[chosen],
        linestyle="none",
        marker="_",
        markersize=24,
        markeredgewidth=2,
        color=_INK,
        label=f"fully digital, same users: {comparison.fully_digital_rates.sum():.2f} bit/s/Hz",
    )
    floor = comparison.settings["min_rate"]
    if floor:
        handles.append(
            axes.axhline(
                floor,
                color=_INK,
                linewidth=1.2,
                linestyle=(0, (4, 3)),
                label=f"minimum: {floor:g} bit/s/Hz each",
            )
        )
    axes.set(
        title="Rates of the users that any method serves",
        xlabel="user (row in the file)",
        ylabel="rate, bit/s/Hz",
        xlim=(-0.6, max(len(order), 1) - 0.4),
    )
    axes.set_xticks(ticks, [str(user) for user in comparison.users[order]])
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.09, -0.09), ncols=2)
