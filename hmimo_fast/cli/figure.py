"""The figure of the command: where the beams of the choice go, beside the rates of all methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .. import plot
from ..writing import write_figure
from .comparison import Comparison

_STYLE = {
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.fontsize": 9.0,
    "legend.columnspacing": 1.2,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "text.usetex": False,
}


def draw(path: Path, comparison: Comparison) -> None:
    """Draw the beams of the choice over the scene, beside the rates of all methods.

    Where the scene has no positions, the beams are drawn over direction cosines.

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

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(13.0, 7.2), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
        _draw_beams(left, comparison)
        _draw_rates(right, comparison)
        # A name may hold what is markup elsewhere.
        figure.suptitle(_title(comparison), fontsize=12, parse_math=False)
        write_figure(path, figure)


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


def _draw_beams(axes: Any, comparison: Comparison) -> None:
    scene, choice = comparison.scene, comparison.choice
    placed = (scene.user_positions, scene.surface_position, scene.surface_rotation)
    if choice.schedule.served.any():
        plot.pattern(
            comparison.surface,
            choice.schedule.amplitudes,
            choice.schedule.digital,
            None if any(position is None for position in placed) else scene,
            users=comparison.users,
            ax=axes,
        )
    axes.set_title(f"Whose beam is the strongest, {choice.label}")


def _draw_rates(axes: Any, comparison: Comparison) -> None:
    runs, chosen = comparison.runs, comparison.choice.schedule
    served = np.flatnonzero(np.any([run.schedule.served for run in runs], axis=0))
    # Those of the choice first, by its rates.
    order = served[np.lexsort((-chosen.rates[served], ~chosen.served[served]))]
    axes.set_title("Rates of the users that any method serves")
    if not len(order):
        return
    users = comparison.users[order]
    plot.rates({run.label: run.schedule.rates[order] for run in runs}, users=users, ax=axes)
    digital = comparison.fully_digital_rates[order]
    there = np.flatnonzero(digital)
    axes.plot(there, digital[there], "_", markersize=28, markeredgewidth=2, color=plot.INK,
              label=f"fully digital, same users: {digital.sum():.2f} bit/s/Hz")  # fmt: skip
    floor = comparison.settings["min_rate"]
    if floor:
        axes.axhline(floor, color=plot.INK, linewidth=1.2, linestyle=(0, (4, 3)),
                     label=f"minimum: {floor:g} bit/s/Hz each")  # fmt: skip
    axes.set_xlabel("user (row in the file)")
    plot.legend_below(axes, [*axes.containers, *axes.lines])
