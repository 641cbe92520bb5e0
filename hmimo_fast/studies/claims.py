"""Checks of what the papers state, each a function of the dataset that can be pickled.

Differences are taken draw by draw, all settings and methods having seen the same channels; a
claim holds where the mean difference has the stated sign at every point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

from .dataset import describe, select
from .description import Verdict
from .summaries import mean

if TYPE_CHECKING:
    from xarray import Dataset

Check = Callable[["Dataset"], Verdict]
Labels = Mapping[str, Any]

#: Zero forcing gives all users the same rate within this, in bit/s/Hz.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Gap:
    """Mean difference at one point, and half its 95 % band."""

    where: str
    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.half:.2g}" + (f" ({self.where})" if self.where else "")


def gaps(
    dataset: Dataset,
    variable: str,
    one: Labels,
    other: Labels,
    kept: Labels,
) -> Iterator[Gap]:
    """Difference of a variable between two labels, at every point that has both.

    Parameters
    ----------
    dataset : Dataset
        With a dimension ``realization``.
    variable : str
        What differs.
    one, other : mapping
        Labels of the two, of the same dimensions.
    kept : mapping
        Labels to which other dimensions are held, tuples of them to keep.

    Yields
    ------
    Gap
        One minus other.
    """
    free = [name for name in dataset[variable].dims if name not in one and name != "realization"]
    choices = [_choices(dataset, name, kept) for name in free]
    for labels in product(*choices):
        at = dict(zip(free, labels, strict=True))
        ours, theirs = (select(dataset, variable, **at, **label) for label in (one, other))
        difference = ours - theirs
        if np.isfinite(difference).any():
            centre, _, high = mean(difference)
            told = [
                describe(name, label)
                for name, label, known in zip(free, labels, choices, strict=True)
                if len(known) > 1
            ]
            yield Gap(", ".join(told), float(centre), float(high - centre))


def _choices(dataset: Dataset, name: str, kept: Labels) -> tuple[Any, ...]:
    chosen = kept.get(name, tuple(dataset[name].values.tolist()))
    return chosen if isinstance(chosen, tuple) else (chosen,)


def _steps(dataset: Dataset, dimension: str, variable: str, kept: Labels) -> list[Gap]:
    """Differences from each label of a dimension to the next one."""
    return [
        Gap(f"{describe(dimension, low)} to {describe(dimension, high)}, {gap.where}".rstrip(", "),
            gap.mean, gap.half)
        for low, high in pairwise(_choices(dataset, dimension, kept))
        for gap in gaps(dataset, variable, {dimension: high}, {dimension: low}, kept)
    ]  # fmt: skip


def above(one: str, other: str, variable: str = "sum_rate", **kept: Any) -> Check:
    """A method above another at every point."""
    return partial(_above, one, other, variable, kept)


def _above(one: str, other: str, variable: str, kept: Labels, dataset: Dataset) -> Verdict:
    absent = {one, other} - set(dataset["method"].values.tolist())
    if absent:
        return Verdict(None, f"not run: {', '.join(sorted(absent))}")
    return _positive([*gaps(dataset, variable, {"method": one}, {"method": other}, kept)])


def sooner(one: str, other: str) -> Check:
    """A training that matches after fewer channels than another, or alone, with every seed."""
    return partial(_sooner, one, other)


def _sooner(one: str, other: str, dataset: Dataset) -> Verdict:
    ours, theirs = (select(dataset, "samples", method=label).ravel() for label in (one, other))
    told = [
        f"{label}: {', '.join('not' if np.isnan(x) else f'{x:.3g}' for x in seen)}"
        for label, seen in ((one, ours), (other, theirs))
    ]
    if np.isnan(ours).all() and np.isnan(theirs).all():
        return Verdict(None, f"neither does ({'; '.join(told)})")
    return Verdict(bool(np.all(ours < np.nan_to_num(theirs, nan=np.inf))), "; ".join(told))


def rises(dimension: str, variable: str = "sum_rate", **kept: Any) -> Check:
    """A variable rises along a dimension, at every step, for all that is kept."""
    return partial(_rises, dimension, variable, kept)


def _rises(dimension: str, variable: str, kept: Labels, dataset: Dataset) -> Verdict:
    return _positive(_steps(dataset, dimension, variable, kept))


def falls_or_stays(dimension: str, variable: str, **kept: Any) -> Check:
    """A variable never rises along a dimension by more than the 95 % band tells."""
    return partial(_falls_or_stays, dimension, variable, kept)


def _falls_or_stays(dimension: str, variable: str, kept: Labels, dataset: Dataset) -> Verdict:
    steps = _steps(dataset, dimension, variable, kept)
    rising = sum(step.mean - step.half > _ROUNDING for step in steps)
    most = max(steps, key=lambda step: step.mean)
    text = f"{len(steps) - rising} of {len(steps)} steps down or level, most up {most}"
    return Verdict(not rising, text)


def gap_along(
    dimension: str,
    sign: int,
    one: Labels,
    other: Labels,
    variable: str = "sum_rate",
    **kept: Any,
) -> Check:
    """A gap grows (sign 1) or shrinks (sign -1) from one end of a dimension to the other."""
    return partial(_gap_along, dimension, sign, one, other, variable, kept)


def _gap_along(
    dimension: str,
    sign: int,
    one: Labels,
    other: Labels,
    variable: str,
    kept: Labels,
    dataset: Dataset,
) -> Verdict:
    labels = _choices(dataset, dimension, kept)
    low, high = labels[0], labels[-1]
    ends = (
        list(gaps(dataset, variable, one, other, {**kept, dimension: at})) for at in (low, high)
    )
    pairs = list(zip(*ends, strict=True))
    holds = all(sign * (last.mean - first.mean) > 0 for first, last in pairs)
    told = [f"{Gap('', first.mean, first.half)} to {last}" for first, last in pairs]
    at = f"from {describe(dimension, low)} to {describe(dimension, high)}"
    return Verdict(holds, f"{at}: {'; '.join(told)}")


def _positive(found: list[Gap]) -> Verdict:
    if not found:
        return Verdict(None, "not measured")
    least, most = (choose(found, key=lambda gap: gap.mean) for choose in (min, max))
    wrong = sum(gap.mean <= 0 for gap in found)
    text = f"by {least} to {most}"
    return Verdict(not wrong, text + (f"; not at {wrong} of {len(found)} points" if wrong else ""))
