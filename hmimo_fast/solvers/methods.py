"""The table of methods: all that is known of each, and a run of one.

Everything that holds for all methods is derived from this table: what `solve` and `schedule`
accept, the choices of the command, the errors, and the lists of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..kernels.operators import OPERATORS, Option
from ..problem import Problem, taken
from .alternating import alternating, random
from .floors import (
    fully_digital_beams,
    general_beams,
    joint_again,
    zero_forced_beams,
    zf_again,
)
from .found import Found, Run
from .fully_digital import fully_digital
from .hbf import wmmse_hbf, zf_hbf
from .levels import quantized
from .network import mbdnn
from .variable_projection import joint, zf


@dataclass(frozen=True)
class Method:
    """One algorithm.

    ``run`` goes from a start (1 or B, N) to amplitudes and beams; ``again`` yields what is tried
    under minimum rates for items that miss one, the most likely first.  A ``rescued`` method is
    tried under them in schedules too, unless told otherwise.
    """

    run: Callable[..., Run]
    again: Callable[[Problem, np.ndarray, Found, dict[str, Any]], Iterator[Run]]
    options: Mapping[str, Option] = field(default_factory=dict)
    zero_forces: bool = False  # no more users than feeds
    random_start: bool = False  # first start; all elements on otherwise
    rescued: bool = False
    fully_digital: bool = False  # no amplitudes

    def check(self, problem: Problem, users: int) -> None:
        """Raise if the method has no solution of such a problem for so many users."""
        if self.fully_digital and problem.states is not None:
            raise ValueError("levels: expected a method with amplitudes, got 'fully_digital'")
        if self.zero_forces and users > problem.feeds:
            raise ValueError(
                f"channel: expected at most L = {problem.feeds} users for zero forcing, "
                f"got K = {users}"
            )

    def first_start(self, problem: Problem, seed: int) -> np.ndarray:
        """Amplitudes (1 or B, N) of the first run: those given, random ones, or all on."""
        if problem.start is not None:
            return problem.start
        if self.random_start:
            return problem.random_start(seed, 0)
        return np.ones((1, problem.elements))


def _of(operator: str, *names: str) -> dict[str, Option]:
    """Options of an operator, all but the power's unless named."""
    options = OPERATORS[operator].options
    return {name: options[name] for name in names or options if name != "radiated"}


_SWEEPS = _of("coordinate_descent", "iterations", "tolerance")

METHODS = {
    "random": Method(random, zero_forced_beams, zero_forces=True, random_start=True),
    "alternating": Method(
        alternating, zero_forced_beams, _of("alternating"), zero_forces=True, random_start=True
    ),
    "zf": Method(
        zf,
        zf_again,
        _of("variable_projection", "iterations", "tolerance"),
        zero_forces=True,
        rescued=True,
    ),
    "joint": Method(joint, joint_again, _of("variable_projection"), rescued=True),
    "zf_hbf": Method(zf_hbf, zero_forced_beams, _SWEEPS, zero_forces=True, random_start=True),
    "wmmse_hbf": Method(wmmse_hbf, general_beams, _SWEEPS, random_start=True),
    "fully_digital": Method(fully_digital, fully_digital_beams, _SWEEPS, fully_digital=True),
    "mbdnn": Method(
        mbdnn,
        zero_forced_beams,
        {"model": Option("model", str, "mbdnn"), "polish": Option("polish", int, 0)},
    ),
}


def chosen(name: str, options: Mapping[str, Any]) -> tuple[Method, dict[str, Any]]:
    """A method by its name, and its options with every value checked."""
    if name not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(map(repr, METHODS))}, got {name!r}")
    method = METHODS[name]
    for option in options:
        if option not in method.options:
            expected = ", ".join(method.options) or "none"
            raise TypeError(f"{option}: expected an option of method {name!r} ({expected})")
    return method, {key: method.options[key].checked(value) for key, value in options.items()}


def attempt(problem: Problem, method: Method, start: np.ndarray, options: dict[str, Any]) -> Found:
    """One run from one start, and where it misses a minimum rate of the problem, one under them."""
    free = replace(problem, min_rate=None)
    best = Found.of(problem, quantized(free, method.run(free, start, **options)))
    rows = np.flatnonzero(~best.feasible & np.isfinite(best.sum_rate))
    if problem.min_rate is None or not len(rows):
        return best
    part, missed, starts = problem.take(rows), best.take(rows), taken(start, rows)
    better = missed
    for run in method.again(part, starts, missed, options):
        other = Found.of(part, quantized(part, run))
        better = better.better(other, other.feasible & other.beats(better))
    best.put(rows, better)
    return best
