"""Means, medians and distributions over the realizations, with 95 % bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import select
from .description import Panel

if TYPE_CHECKING:
    from xarray import Dataset

_NORMAL = 1.96  # standard deviations that hold 95 % between them


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes
    ----------
    labels : dict
        Its label in each of the panel's ``lines``.
    x, centre, low, high : (n,) ndarray
        What is drawn, and the 95 % band; without a band both are the centre.
    """

    labels: dict[str, Any]
    x: np.ndarray
    centre: np.ndarray
    low: np.ndarray
    high: np.ndarray


def lines(dataset: Dataset, panel: Panel) -> Iterator[Line]:
    """The lines of a panel, in the order of their labels; those without data are left out."""
    dims = dataset[panel.variable].dims
    fixed = {k: v for k, v in panel.where.items() if not isinstance(v, tuple)}
    choices = [panel.where.get(name, tuple(dataset[name].values.tolist())) for name in panel.lines]
    for labels in product(*choices):
        at = fixed | dict(zip(panel.lines, labels, strict=True))
        if "method" in at and at["method"] not in dataset["method"].values:
            continue
        values = select(dataset, panel.variable, **at)
        own = {name: at[name] for name in panel.lines}
        if panel.relative_to:
            reference = select(dataset, panel.variable, **at | {"method": panel.relative_to})
            values = _relative(values, reference, _realizations(dims, at))
        if not panel.x:
            line = Line(own, *distribution(values))
        elif panel.x in dataset.data_vars:
            x = select(dataset, panel.x, **at)
            line = Line(own, x, values, values, values)
        else:
            across = np.moveaxis(values, _realizations(dims, at), -1)
            x = dataset[panel.x].values
            known = np.isfinite(across).any(axis=-1)
            summary = mean if panel.statistic == "mean" else median
            line = Line(own, x[known], *summary(across[known]))
        if len(line.x):
            yield line


def _realizations(dims: tuple[str, ...], at: dict[str, Any]) -> int:
    return [name for name in dims if name not in at].index("realization")


def _relative(values: np.ndarray, reference: np.ndarray, axis: int) -> np.ndarray:
    """Values whose mean is the ratio of the means, with the spread that this ratio has.

    The part of a channel's rate that both methods share cancels (delta method).
    """
    both = np.isfinite(values) & np.isfinite(reference)
    count, total, scale = (
        np.sum(each, axis=axis, keepdims=True, where=both)
        for each in (np.ones_like(values), values, reference)
    )
    with np.errstate(invalid="ignore"):  # no data: 0 / 0
        ratio, scale = total / scale, scale / count
    return np.asarray(ratio + (values - ratio * reference) / scale)


def mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over the last axis and its 95 % confidence bounds (normal approximation).

    Parameters
    ----------
    values : (..., R) real
        NaN for what is missing.

    Returns
    -------
    centre, low, high : (...) float64

    Examples
    --------
    >>> [float(bound) for bound in mean(np.array([1.0, 3.0, np.nan]))]
    [2.0, 0.04, 3.96]
    """
    count = np.isfinite(values).sum(axis=-1)
    centre = np.nanmean(values, axis=-1)
    variance = np.nansum((values - centre[..., None]) ** 2, axis=-1) / np.maximum(count - 1, 1)
    half = _NORMAL * np.sqrt(variance / count)
    return centre, centre - half, centre + half


def median(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median over the last axis and its 95 % confidence bounds, order statistics.

    Parameters
    ----------
    values : (..., R) real
        NaN for what is missing.

    Returns
    -------
    centre, low, high : (...) float64

    Examples
    --------
    >>> [float(bound) for bound in median(np.arange(101.0))]
    [50.0, 40.2, 59.8]
    """
    count = np.isfinite(values).sum(axis=-1)
    half = _NORMAL * 0.5 / np.sqrt(np.maximum(count, 1))
    shares = np.stack([np.full(count.shape, 0.5), 0.5 - half, 0.5 + half]).clip(0.0, 1.0)
    ordered = np.sort(values, axis=-1)  # NaN last
    places = shares * (count - 1)
    lower = np.floor(places).astype(int)
    upper = np.minimum(lower + 1, np.maximum(count - 1, 0))
    picked = [
        np.take_along_axis(ordered[None], index[..., None], -1)[..., 0] for index in (lower, upper)
    ]
    centre, low, high = picked[0] + (places - lower) * (picked[1] - picked[0])
    return centre, low, high


def distribution(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Empirical distribution with its 95 % band (Dvoretzky, Kiefer and Wolfowitz).

    Parameters
    ----------
    values : (R,) real
        NaN for what is missing.

    Returns
    -------
    x, share, low, high : (R,) float64
        Sorted values, and the share of those up to each.

    Examples
    --------
    >>> x, share, low, high = distribution(np.array([3.0, 1.0]))
    >>> x, share
    (array([1., 3.]), array([0.5, 1. ]))
    """
    x = np.sort(values[np.isfinite(values)])
    share = np.arange(1, len(x) + 1) / max(len(x), 1)
    half = np.sqrt(np.log(2 / 0.05) / (2 * max(len(x), 1)))
    return x, share, np.maximum(share - half, 0.0), np.minimum(share + half, 1.0)
