"""The rows of a study's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import axis_label, select, told
from .description import Panel
from .summaries import Line, lines

if TYPE_CHECKING:
    from xarray import Dataset

#: Shares at which a distribution is tabulated.
_SHARES = (0.1, 0.5, 0.9)
#: Most columns of numbers; a longer axis is thinned.
_COLUMNS = 8


def tabulate(dataset: Dataset, panel: Panel) -> tuple[str, list[tuple[str, ...]]]:
    """What a panel draws as text, plus or minus half the 95 % band.

    Parameters
    ----------
    dataset : Dataset
        A study's.
    panel : Panel
        Of that study, with a dimension along x or with the distribution.

    Returns
    -------
    heading : str
        What the numbers are.
    rows : list of tuple of str
        Two rows of headings, then a row for each line that is drawn.
    """
    drawn = list(lines(dataset, panel))
    heading = f"{panel.title}: {axis_label(panel.variable)}"
    if panel.relative_to:
        heading = f"{panel.title}: relative to {panel.relative_to}"
    if panel.x:
        labels = np.unique(np.concatenate([line.x for line in drawn]))
        labels = labels[:: -(-len(labels) // _COLUMNS)]
        columns = [f"{label:g}" for label in labels]
        cells = [[_cell(line, label) for label in labels] for line in drawn]
        across = axis_label(panel.x)
    else:
        columns = [f"{share:.0%}" for share in _SHARES]
        cells = [[f"{_quantile(line, share):.4g}" for share in _SHARES] for line in drawn]
        across = "of the draws up to"
    names = [", ".join(told(dataset, *item) for item in line.labels.items()) for line in drawn]
    rows = [(name, *row) for name, row in zip(names, cells, strict=True)]
    return heading, [("", *[""] * (len(columns) - 1), across), ("", *columns), *rows]


def tabulate_samples(dataset: Dataset) -> list[tuple[str, ...]]:
    """What each training of a study of samples took, and where it ended, one number a seed.

    Parameters
    ----------
    dataset : Dataset
        Of the measure "samples".

    Returns
    -------
    rows : list of tuple of str
        Two rows of headings, then a row for each network.
    """
    heads = (
        ("", "", "a step,", "% of WMMSE-HBF", "", "channels", "", "matches"),
        ("", "parameters", "MB", "untrained", "at the end", "seen", "s", "after"),
    )

    def told(label: str, variable: str, form: str, by: float = 1.0, **at: Any) -> str:
        values = by * select(dataset, variable, method=label, **at).ravel()
        return ", ".join("-" if np.isnan(x) else form.format(x) for x in values)

    rows = []
    for label in dataset["method"].values.tolist():
        parameters, megabytes = (
            np.nanmax(select(dataset, name, method=label)) for name in ("parameters", "megabytes")
        )
        rows.append((
            label, f"{parameters / 1e3:.1f} k", f"{megabytes:.1f}",
            told(label, "course", "{:.1f}", 100.0, channels_seen=0),
            told(label, "share", "{:.1f}", 100.0), told(label, "seen", "{:.0f}"),
            told(label, "seconds", "{:.0f}"), told(label, "samples", "{:.0f}"),
        ))  # fmt: skip
    return [*heads, *rows]


def tabulate_training(dataset: Dataset) -> list[tuple[str, ...]]:
    """What the training of each network took, and where it stood against WMMSE-HBF.

    Parameters
    ----------
    dataset : Dataset
        A study's, with networks.

    Returns
    -------
    rows : list of tuple of str
        Two rows of headings, then a row for each network whose training is known.
    """
    heads = (
        ("", "", "inference", "", "training", "", "% of", "reached at", ""),
        ("", "parameters", "µs", "channels", "s", "MB", "the goal", "channels", "s"),
    )
    trainings = dataset.attrs["training"]
    return [*heads, *((label, *_training(dataset, label)) for label in trainings)]


def _training(dataset: Dataset, label: str) -> tuple[str, ...]:
    about = dataset.attrs["training"][label]
    inference = "-"
    columns, rows = about["training"]["shapes"][0]
    elements = columns * rows
    if "microseconds" in dataset.data_vars and elements in dataset["elements"].values:
        times = select(dataset, "microseconds", method=label, elements=elements)
        inference = f"{np.nanmedian(times):.4g}"
    batch, goal = about["training"]["batch"], about["goal"]
    steps, rate, seconds = about["log"][-1]
    reached = next((row for row in about["log"] if row[1] >= goal), None)
    return (
        f"{about['parameters'] / 1e3:.2f} k",
        inference,
        f"{steps * batch:g}",
        f"{seconds:.0f}",
        "-" if about["bytes"] is None else f"{about['bytes'] / 1e6:.0f}",
        f"{100 * rate / goal:.1f}",
        "-" if reached is None else f"{reached[0] * batch:g}",
        "-" if reached is None else f"{reached[2]:.0f}",
    )


def _quantile(line: Line, share: float) -> float:
    return float(line.x[np.searchsorted(line.centre, share)])


def _cell(line: Line, label: float) -> str:
    at = np.flatnonzero(line.x == label)
    if not len(at):
        return "-"
    centre, half = line.centre[at[0]], (line.high[at[0]] - line.low[at[0]]) / 2
    return f"{centre:.4g} ± {half:.2g}"
