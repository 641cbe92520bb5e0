"""What a study is made of: a description alone, which the engine, figures and tables read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xarray import Dataset


@dataclass(frozen=True)
class Setting:
    """The conditions of one point of a study; the transmit power is 1.

    Attributes
    ----------
    elements : int
        N, a square number: the surface is sqrt(N) x sqrt(N) at 2.5 mm and 30 GHz.
    users : int
        K, with as many feeds.
    snr_db : float
        Transmit power over noise power, dB.
    constraint : {"radiated", "digital"}
        Whose power it is, as in `solve`.
    gain_ratio : float
        Amplitude of user k over that of user k + 1.
    min_rate : float
        Of every user that is scheduled, bit/s/Hz; 0 where all are served.
    """

    elements: int = 64
    users: int = 6
    snr_db: float = 10.0
    constraint: str = "radiated"
    gain_ratio: float = 1.0
    min_rate: float = 0.0


@dataclass(frozen=True)
class Method:
    """A solver with its options, on all users or on those that a search serves.

    Attributes
    ----------
    label : str
        How a reader knows it.
    solver : str
        ``method`` of `solve`.
    search : str
        ``search`` of `schedule`; empty to serve all users.
    options : mapping of str to value
        More arguments of `solve` or `schedule`, plain numbers and strings.
    """

    label: str
    solver: str
    search: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """One set of axes: a variable against a dimension, one line for each label of others.

    Attributes
    ----------
    title, variable : str
        Heading, and the variable of the dataset.
    x : str
        Dimension along the axis; empty for the distribution of the variable itself, or a
        variable, whose realizations are drawn as points.
    lines : tuple of str
        Dimensions told apart by colour and marker, and by the style of the line.
    where : mapping
        Labels that other dimensions are held at, or a tuple of those to keep.
    statistic : {"mean", "median"}
        Over the realizations.
    log : str
        Axes that are logarithmic: "", "x", "y" or "xy".
    guides : mapping of str to float
        Powers of x to draw from the first point on, by their names.
    relative_to : str
        Label of a method whose mean divides that of the others; empty for none.
    """

    title: str
    variable: str
    x: str
    lines: tuple[str, ...] = ("method",)
    where: Mapping[str, Any] = field(default_factory=dict)
    statistic: str = "mean"
    log: str = ""
    guides: Mapping[str, float] = field(default_factory=dict)
    relative_to: str = ""


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds in our data, None where that was not measured, and the figures."""

    holds: bool | None
    figures: str


@dataclass(frozen=True)
class Claim:
    """A trend that a paper states, and how it shows in a dataset.

    Attributes
    ----------
    text : str
        What the paper says.
    check : callable
        Dataset -> Verdict.
    remark : str
        Why ours comes out as it does, where that is not as stated.
    """

    text: str
    check: Callable[[Dataset], Verdict]
    remark: str = ""


@dataclass(frozen=True)
class Study:
    """A figure or table of a paper: points x methods x realizations.

    Attributes
    ----------
    id, title, source : str
        "B-7", what it shows, and where the paper has it.
    measure : str
        What is measured on a chunk, by its name in ``chunks.MEASURES``.
    variables : tuple of str
        Those of the measure's that the dataset keeps.
    methods : tuple of Method
        Ours first, then the yardstick, then those published.
    base : Setting
        Of all points.
    grids : tuple of mappings
        Points: the union of the products of fields of `Setting` and their values.
    panels : tuple of Panel
        Of the figure and of the table.
    says : str
        What the paper says about it.
    claims : tuple of Claim
        The same, to be checked.
    most : int or None
        Most realizations that are of use.
    chunk : int
        Realizations in a chunk.
    """

    id: str
    title: str
    source: str
    measure: str
    variables: tuple[str, ...]
    methods: tuple[Method, ...]
    base: Setting
    grids: tuple[Mapping[str, tuple[Any, ...]], ...]
    panels: tuple[Panel, ...]
    says: str
    claims: tuple[Claim, ...] = ()
    most: int | None = None
    chunk: int = 100

    def axes(self) -> dict[str, list[Any]]:
        """Fields of `Setting` that vary, and all values each takes, ascending."""
        names = dict.fromkeys(name for grid in self.grids for name in grid)
        return {
            name: sorted({value for grid in self.grids for value in grid.get(name, ())})
            for name in names
        }

    def points(self) -> Iterator[tuple[tuple[int, ...], Setting]]:
        """Every point once: its place along each axis, and its setting."""
        axes = self.axes()
        seen = set()
        for grid in self.grids:
            for values in product(*grid.values()):
                chosen = dict(zip(grid, values, strict=True))
                place = tuple(axes[name].index(chosen[name]) for name in axes)
                if place not in seen:
                    seen.add(place)
                    yield place, replace(self.base, **chosen)
