"""Reference curves: mean sum rates to compare other code with, to one part in 1e6.

The table has only runs that are insensitive to rounding: precoders at given amplitudes, and the
first iterations of the others.  Where a run to convergence stops depends on rounding, and so the
mean of 100 draws on processor and compiler in the sixth digit.
"""

from __future__ import annotations

import csv
import io
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import channels
from ..solvers import solve
from ..surface import Surface
from ..writing import write

REALIZATIONS, SEED = 100, 0
TOLERANCE = 1e-6  # relative
SIZES = ((4, 4), (6, 6), (8, 6))  # elements along a side, and users = feeds
SNR = (0, 10, 20)  # dB
#: Columns: the starting amplitudes, and the method with its options.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "zf_all_on": ("on", {"method": "random"}),
    "zf_random": ("random", {"method": "random"}),
    "alternating_10": ("random", {"method": "alternating", "iterations": 10}),
    "wmmse_hbf_10": ("random", {"method": "wmmse_hbf", "iterations": 10}),
    "joint_5": ("on", {"method": "joint", "zf_iterations": 0, "iterations": 5}),
    "fully_digital": ("on", {"method": "fully_digital"}),
}
FILE = "curves.csv"


class Row(NamedTuple):
    """A setting, and the mean sum rate of each of `METHODS` in bit/s/Hz."""

    constraint: str
    elements: int
    users: int
    snr_db: int
    rates: tuple[float, ...]


HEADING = (*Row._fields[:-1], *METHODS)


def compute() -> list[Row]:
    """The table as this machine computes it.

    Returns
    -------
    list of Row
        One a power convention, size and SNR.

    Examples
    --------
    >>> rows = compute()
    >>> len(rows), rows[0][:4]
    (18, ('radiated', 16, 4, 0))
    """
    rows = []
    for constraint, (side, users), snr in product(("radiated", "digital"), SIZES, SNR):
        surface = Surface((side, side), spacing=2.5e-3, frequency=30e9, feeds=users)
        channel = channels.sparse_mmwave(surface, users, REALIZATIONS, SEED)
        common: dict[str, Any] = {"noise_power": 10 ** (-snr / 10), "constraint": constraint}
        size = (REALIZATIONS, surface.elements)
        starts = {"on": np.ones(size), "random": np.random.default_rng(SEED).uniform(size=size)}
        found = [
            solve(channel, surface.phase, start=starts[start], **common, **how)
            for start, how in METHODS.values()
        ]
        rates = tuple(float(each.sum_rate.mean()) for each in found)
        rows.append(Row(constraint, surface.elements, users, snr, rates))
    return rows


def committed() -> list[Row]:
    """The table that comes with the package."""
    with resources.files(__package__).joinpath("data", FILE).open(encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    return [
        Row(constraint, int(elements), int(users), int(snr), tuple(map(float, rates)))
        for constraint, elements, users, snr, *rates in lines
    ]


def save(path: Path, rows: list[Row]) -> None:
    """Write a table as text, in ten digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADING)
    writer.writerows([*row[:-1], *(f"{rate:.10g}" for rate in row.rates)] for row in rows)
    write(path, text.getvalue().encode())


def difference(rows: list[Row], others: list[Row]) -> float:
    """The largest relative difference of two tables; infinite where they are of other settings."""
    if [row[:-1] for row in rows] != [row[:-1] for row in others]:
        return float("inf")
    ours, theirs = (np.array([row.rates for row in table]) for table in (rows, others))
    return float(np.abs(ours / theirs - 1).max())
