"""The picture of the README: time an item against the number of elements."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hmimo_fast.benchmark import OURS, Row

#: Told apart by marker and line too; colours by Okabe and Ito, from dark to light in grey.
_LINES = {
    OURS: {"color": "#000000", "marker": "o", "linewidth": 2.6, "markersize": 7},
    "NumPy": {"color": "#0072B2", "marker": "s", "linestyle": "--"},
    "Numba loops": {"color": "#009E73", "marker": "D", "linestyle": "-."},
    "JAX": {"color": "#D55E00", "marker": "^", "linestyle": (0, (5, 1, 1, 1, 1, 1))},
    "torch": {"color": "#CC79A7", "marker": "v", "linestyle": ":"},
}
_NAMES = {"torch": "PyTorch autograd", "JAX": "JAX jit"}
_STYLE = {
    "font.size": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


def draw(path: Path, sizes: list[int], batches: list[Row], single: list[Row], below: str) -> None:
    """Two panels over N, many links per call and one; NumPy's line is the better of its two."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 5.2))
        left, right = figure.subplots(1, 2, sharey=True)
        _draw_panel(left, sizes, batches, "Many links per call")
        _draw_panel(right, sizes, single, "One link a call, from Python")
        left.set_ylabel("time of one link, µs")
        handles, labels = left.get_legend_handles_labels()
        figure.suptitle(
            "Sum rate and its gradients in amplitudes and beams, double precision, one core",
            fontsize=12.5, x=0.5, y=0.985,
        )  # fmt: skip
        figure.legend(handles, labels, loc="lower center", ncols=5, bbox_to_anchor=(0.5, 0.045))
        figure.text(0.5, 0.02, below, ha="center", fontsize=8.5, color="#444444")
        figure.subplots_adjust(left=0.08, right=0.97, top=0.88, bottom=0.22, wspace=0.15)
        figure.savefig(path)


def _draw_panel(axes: Axes, sizes: list[int], rows: list[Row], title: str) -> None:
    for name, style in _LINES.items():
        both = [f"{name} in pieces", name]
        times = [
            1e6 * min(row.seconds(each) for each in both if each in row.rounds)
            for row in rows
            if name in row.rounds
        ]
        if times:
            axes.loglog(sizes, times, label=_NAMES.get(name, name), **style)
    for size, row in zip(sizes, rows, strict=True):
        ours = 1e6 * row.seconds()
        axes.annotate(
            f"{ours:.{2 if ours < 1 else 1 if ours < 10 else 0}f}", (size, ours), xytext=(5, -15),
            textcoords="offset points", ha="center", fontsize=9, fontweight="bold",
        )  # fmt: skip
    axes.set(title=title, xlabel="elements N  (K = L = 6; 8 from N = 1024 on)")
    axes.set_ylim(bottom=0.3)
    axes.margins(x=0.08)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.tick_params(labelleft=True)
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.8)
