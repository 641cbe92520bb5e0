"""The figure of a study, as vector and PNG; lines differ without colour too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..writing import write_figure
from .dataset import MEANINGS, axis_label, told
from .description import Panel, Study
from .summaries import Line, lines

if TYPE_CHECKING:
    from xarray import Dataset

#: Okabe and Ito's colours, which the colour-blind tell apart, without yellow, which does not print,
#: and three dark ones.
_COLOURS = ("#D55E00", "#000000", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00",
            "#882255", "#666666", "#332288")  # fmt: skip
_MARKERS = "osD^vPX<>*"
_GREY = "#777777"
#: Dimensions that begin at 0, and where their logarithmic axis begins.
_FROM_ZERO = {"iterate": 2.0, "channels_seen": 100.0}
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
_SIZE = (4.6, 3.5)  # inches, of a panel
_STYLE = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.0,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "savefig.dpi": 160,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "text.usetex": False,
}


def draw(path: Path, study: Study, dataset: Dataset) -> None:
    """Draw all panels of a study, with 95 % bands.

    Parameters
    ----------
    path : Path
        Ending in a format of matplotlib's: .pdf, .png, .svg.
    study : Study
        Its panels.
    dataset : Dataset
        Its data.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    OSError
        If the file cannot be written.
    """
    import matplotlib
    from matplotlib.figure import Figure

    count = len(study.panels)
    across = min(count, 2 if count % 3 else 3)
    down = -(-count // across)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_SIZE[0] * across, _SIZE[1] * down + 1.0), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False).ravel()
        first: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for axes, panel in zip(grid, study.panels, strict=False):
            _draw_panel(axes, dataset, panel, first, rest)
        handles = first | rest
        _share_scales(grid, study.panels)
        columns = min(len(handles), 1 + across)
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)
        figure.suptitle(_title(study, dataset), fontsize=10)
        write_figure(path, figure)


def _title(study: Study, dataset: Dataset) -> str:
    found = dataset.attrs
    return (
        f"{study.id}: {study.title}\n{found['setting']['constraint']} power, "
        f"{found['realizations']} realizations, 95 % confidence bands"
    )


def _draw_panel(
    axes: Any, dataset: Dataset, panel: Panel, first: dict[str, Any], rest: dict[str, Any]
) -> None:
    """Draw one panel; what the legend is to name goes to ``first`` and ``rest``."""
    drawn = list(lines(dataset, panel))
    for line in drawn:
        style = _style(dataset, panel, line)
        axes.plot(line.x, line.centre, **style)
        if panel.x not in dataset.data_vars:
            axes.fill_between(
                line.x, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0
            )
        _add_keys(dataset, line, style, first, rest)
    for number, (name, power) in enumerate(panel.guides.items()):
        x, begin = drawn[-1].x, drawn[-1].centre[0]
        (rest[name],) = axes.plot(
            x,
            begin * (x / x[0]) ** power,
            color=_GREY,
            linewidth=1.0,
            linestyle=_DASHES[1 + number],
        )
    axes.set(
        title=panel.title,
        xlabel=axis_label(panel.x or panel.variable),
        ylabel=axis_label(panel.variable) if panel.x else "share of the draws",
    )
    if panel.relative_to:
        axes.set_ylabel(f"{MEANINGS[panel.variable][0]} / {panel.relative_to}")
    if "x" in panel.log:
        if panel.x in _FROM_ZERO:
            axes.set_xscale("symlog", linthresh=_FROM_ZERO[panel.x])
        else:
            axes.set_xscale("log")
    if "y" in panel.log:
        axes.set_yscale("log")
    if panel.x in dataset.coords and panel.x not in _FROM_ZERO:
        ticks = np.unique(np.concatenate([[], *(line.x for line in drawn)]))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)


def _style(dataset: Dataset, panel: Panel, line: Line) -> dict[str, Any]:
    """Colour and marker by the first of the panel's dimensions, dashes and filling by the next."""
    first, *others = panel.lines
    number = int(np.flatnonzero(dataset[first].values == line.labels[first])[0])
    style: dict[str, Any] = {
        "color": _COLOURS[number % len(_COLOURS)],
        "marker": _MARKERS[number % len(_MARKERS)],
        "linestyle": _DASHES[number % len(_DASHES)],
    }
    for name in others:
        second = panel.where[name].index(line.labels[name])
        style |= {"linestyle": _DASHES[second], "fillstyle": ("full", "none")[second % 2]}
    if panel.x in dataset.data_vars:
        style |= {"linestyle": "none", "markersize": 2.5, "alpha": 0.6}
    elif not panel.x or panel.x == "iterate":
        style["markevery"] = max(1, len(line.x) // 8)
    return style


def _add_keys(
    dataset: Dataset,
    line: Line,
    style: dict[str, Any],
    first: dict[str, Any],
    rest: dict[str, Any],
) -> None:
    """Legend entries: one for each label, drawn with the style that it decides."""
    from matplotlib.lines import Line2D

    (name, label), *others = line.labels.items()
    shown = style | {"markevery": None, "markersize": 5.0, "alpha": 1.0}
    alone = {"linestyle": "none", "fillstyle": "full"} if others else {}
    first.setdefault(told(dataset, name, label), Line2D([], [], **shown | alone))
    for other, value in others:
        key = Line2D([], [], **shown | {"color": _GREY, "marker": "o"})
        rest.setdefault(told(dataset, other, value), key)


def _share_scales(grid: Any, panels: tuple[Panel, ...]) -> None:
    """The same scale for panels of the same variable against the same dimension."""
    groups: dict[tuple[str, str], list[Any]] = {}
    for axes, panel in zip(grid, panels, strict=False):
        if panel.x and not panel.relative_to:
            groups.setdefault((panel.variable, panel.x), []).append(axes)
    for group in groups.values():
        low = min(axes.get_ylim()[0] for axes in group)
        high = max(axes.get_ylim()[1] for axes in group)
        for axes in group:
            axes.set_ylim(low, high)
