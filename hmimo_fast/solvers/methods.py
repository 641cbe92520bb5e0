"""The table of methods: all that is known of each, and a run of one.

Everything that holds for all methods is derived from this table: what `solve` and `schedule`
accept, the choices and the help of the command, the errors, and the lists of the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import log
from typing import Any

import numpy as np

from ..arguments import one_of
from ..kernels.operators import OPERATORS, Option
from ..objective import OBJECTIVES
from ..problem import OWN_OPTIONS, Problem, taken
from .alternating import alternating, random
from .found import Found, Run, highest_alone, none_alone
from .fully_digital import fully_digital
from .hbf import wmmse_hbf, zf_hbf
from .levels import quantized
from .network import mbdnn
from .sharing import in_channels, is_moved, is_split, shared_out
from .variable_projection import (
    BALANCING_SWEEPS,
    BEST_TRY,
    balancing,
    further,
    is_alone,
    is_tried,
    joint,
    to_be_rounded,
    zero_forcing_stage,
    zf,
)

#: A first look at users alone, and what their gain may be at most relative to that: in 0 of 1500
#: draws of `bench/quality.py` it was more of the best one.
_GLANCE, _GLANCED = {"candidates": 6, "zf_iterations": 6, "iterations": 3}, 1.3
#: Runs for rates as they were split over the channels.
_SHARINGS = 2


@dataclass(frozen=True)
class Method:
    """One algorithm: ``run`` goes from a start (1 or B, N) to amplitudes and beams."""

    run: Callable[..., Run]
    summary: str
    options: Mapping[str, Option] = field(default_factory=dict)
    zero_forces: bool = False  # no more users than feeds
    random_start: bool = False  # first start; all elements on otherwise
    fully_digital: bool = False  # no amplitudes
    feed_limits: bool = False  # limits of each feed's power
    turns: bool = True  # all kinds of elements, and stuck ones
    #: Under minimum rates the method either runs again (`anew`, then `fallback`), or takes the best
    #: beams at the amplitudes found without them: general ones, or zero forcing.
    anew: bool = False
    fallback: Callable[..., Run] | None = None  # for no more users than feeds
    general: bool = False
    objectives: tuple[str, ...] = ("sum_rate",)
    rivals_alone: bool = False  # never worth less than one of its users alone
    rescued: bool = False  # tried under minimum rates in schedules too, unless told otherwise
    published_schedule: bool = False  # paper B publishes a schedule with it

    @property
    def is_network(self) -> bool:
        """Whether it has weights, which are files."""
        return "model" in self.options

    def check(self, problem: Problem, users: int) -> None:
        """Raise if the method has no solution of such a problem for so many users."""
        if problem.objective not in self.objectives:
            able = [name for name in METHODS if problem.objective in METHODS[name].objectives]
            raise ValueError(
                f"objective: expected one of the method's ({', '.join(self.objectives)}), got "
                f"{problem.objective!r}, which {', '.join(able)} has"
            )
        states = problem.hardware.states is not None
        if self.fully_digital and states:
            raise ValueError("levels: expected a method with amplitudes, got 'fully_digital'")
        if not self.turns and problem.hardware.turned:
            raise ValueError("elements: expected 'amplitude' for a method without other elements")
        if not self.turns and problem.stuck is not None:
            name = "direct" if problem.ends else "broken"
            raise ValueError(f"{name}: expected a method whose elements may be stuck")
        if not self.feed_limits and problem.feed_power is not None:
            holding = ", ".join(name for name in METHODS if METHODS[name].feed_limits)
            raise ValueError(f"feed_power: expected a method that can hold it ({holding})")
        if self.zero_forces and users > problem.feeds:
            raise ValueError(
                f"channel: expected at most L = {problem.feeds} users for zero forcing, "
                f"got K = {users}"
            )

    def first_start(self, problem: Problem, seed: int) -> np.ndarray:
        """Amplitudes (1 or B, N) of the first run, if none are given: random ones, or all on."""
        return problem.random_start(seed, 0) if self.random_start else problem.all_on()

    def under_floors(
        self, problem: Problem, start: np.ndarray, found: Found, options: dict[str, Any]
    ) -> Iterator[Run]:
        """What is tried under the problem's minimum rates, the first the most likely."""
        if self.anew:
            yield self.run(problem, start, **options)
            yield self.run(problem, found.amplitudes, **options)
            zeroable = problem.objective == "sum_rate" and problem.feed_power is None
            if self.fallback is not None and zeroable and problem.users <= problem.feeds:
                yield self.fallback(problem, start, **options)
            return
        if self.fully_digital:  # a surface whose feeds are its elements
            feeds = np.eye(problem.elements, dtype=complex)[None]
            problem = replace(problem, phase=feeds, radiated=False)
        digital, _ = problem.run("best_beams", found.amplitudes, general=self.general)
        kept = found.iterations, found.converged, found.history
        yield Run(found.amplitudes, digital, *kept, fully_digital=self.fully_digital)


def _of(operator: str, *names: str) -> dict[str, Option]:
    """Options of an operator, all but the power's unless named."""
    options = OPERATORS[operator].options
    return {name: options[name] for name in names or options if name not in OWN_OPTIONS}


_SWEEPS = _of("coordinate_descent", "iterations", "tolerance")

METHODS = {
    "joint": Method(
        joint, "amplitudes with the optimal beams following (ours)", _of("variable_projection"),
        anew=True, fallback=zero_forcing_stage, objectives=tuple(OBJECTIVES),
        rivals_alone=True, rescued=True, feed_limits=True,
    ),
    "zf": Method(
        zf, "the zero-forcing stage of joint alone",
        _of("variable_projection", "iterations", "tolerance"),
        zero_forces=True, anew=True, rivals_alone=True, rescued=True,
    ),
    "random": Method(
        random, "random amplitudes, zero forcing (the benchmark of paper B)",
        zero_forces=True, random_start=True,
    ),
    "alternating": Method(
        alternating, "gradient steps on the amplitudes and zero forcing in turn\n"
        "(paper B, arXiv 2502.17408, Algorithm 1)", _of("alternating"),
        zero_forces=True, random_start=True, published_schedule=True,
    ),
    "zf_hbf": Method(
        zf_hbf, "zero forcing and fractional programming (paper A, ZF-HBF)", _SWEEPS,
        zero_forces=True, random_start=True,
    ),
    "wmmse_hbf": Method(
        wmmse_hbf, "WMMSE on beams and amplitudes (paper A, arXiv 2504.19522)", _SWEEPS,
        random_start=True, general=True, feed_limits=True,
    ),
    "mbdnn": Method(
        mbdnn, "the network of paper A with the shipped weights; needs torch",
        {"model": Option("model", str, "mbdnn"), "polish": Option("polish", int, 0)},
        turns=False,
    ),
    "fully_digital": Method(
        fully_digital, "as many RF chains as elements, the yardstick above all", _SWEEPS,
        fully_digital=True, general=True, turns=False,
    ),
}  # fmt: skip


def chosen(name: str, options: Mapping[str, Any]) -> tuple[Method, dict[str, Any]]:
    """A method by its name, and its options with every value checked."""
    one_of("method", name, METHODS)
    method = METHODS[name]
    for option in options:
        if option not in method.options:
            expected = ", ".join(method.options) or "none"
            raise TypeError(f"{option}: expected an option of method {name!r} ({expected})")
    return method, {key: method.options[key].checked(value) for key, value in options.items()}


def attempt(problem: Problem, method: Method, start: np.ndarray, options: dict[str, Any]) -> Found:
    """One run from one start, and one under minimum rates for the items that miss any."""
    bound = problem.min_rate is None or problem.objective == "min_power"  # always under them
    free = problem if bound else replace(problem, min_rate=None)
    plain = free.objective == "sum_rate"
    if method.anew and plain and free.hardware.states is not None:
        runs = to_be_rounded(method.run, free, start, options)
    else:
        runs = [method.run(free, start, **options)]
    best = _reached(problem, free, method, *runs, options=options)
    for run in further(method.run, free, start, options) if method.anew and not plain else ():
        best = best.better(_reached(problem, free, method, run, options=options))
    if method.anew and is_tried(free, options):
        going = np.flatnonzero(~best.converged & np.isfinite(best.sum_rate))
        if len(going):
            part, so_far = free.take(going), best.take(going)
            further_on = _from_there(part, method, so_far, BEST_TRY | options)
            best.put(going, so_far.better(further_on))
    if problem.min_rate is not None:
        _mend(problem, method, start, best, options, bound)
    for power in _powers(problem, best) if method.anew and not plain else ():
        best = best.better(_highest_sum(problem, power, method, start, options))
    return best


def _powers(problem: Problem, best: Found) -> Iterator[np.ndarray]:
    """Powers (B,) at which the highest sum rate is tried under another objective.

    Users may be chosen otherwise at the power of the most efficient beams.  At all of the power it
    may be better where sums over channels or limits of the feeds bend the objective's own ascent.
    """
    if problem.objective == "energy_efficiency":
        used = best.power_used.mean(axis=-1)
        yield np.where(used > 0.0, used, problem.power)
    several = problem.channel.shape[1] > 1
    hard = several or problem.feed_power is not None
    if hard and problem.objective != "min_power":
        yield problem.power


def _highest_sum(
    problem: Problem,
    power: np.ndarray,
    method: Method,
    start: np.ndarray,
    options: dict[str, Any],
) -> Found:
    """The highest sum rate at that power (B,) of each channel, as the problem values it."""
    posed = replace(problem, objective="sum_rate", idle=None, power=power)
    rate = attempt(posed, method, start, options)
    if problem.objective == "energy_efficiency":
        serve_alone(posed, method, start, rate, options)
    kept = rate.iterations, rate.converged, rate.history
    run = Run(rate.amplitudes, rate.digital, *kept)
    if problem.objective != "max_min" or problem.users == 1:
        found = Found.of(problem, run)
    elif is_split(problem):
        found, _ = shared_out(problem, in_channels(problem), run)
    else:
        digital, _ = problem.beams(run.amplitudes, BALANCING_SWEEPS)
        found = Found.of(problem, run._replace(digital=digital))
    scale = (found.value / rate.sum_rate).astype(rate.history.dtype)
    found.history = scale[:, None] * rate.history  # ends at the value, in its unit
    return found


def _mend(
    problem: Problem,
    method: Method,
    start: np.ndarray,
    best: Found,
    options: dict[str, Any],
    bound: bool,
) -> None:
    """Try again, in place, for the items that miss a minimum rate."""
    rows = np.flatnonzero(~best.feasible & np.isfinite(best.sum_rate))
    if not len(rows):
        return
    part, better, starts = problem.take(rows), best.take(rows), taken(start, rows)
    missed = better
    for run in () if bound else method.under_floors(in_channels(part), starts, missed, options):
        other = _reached(part, part, method, run, options=options)
        better = better.better(other, other.feasible & other.beats(better))
    if method.anew and not method.zero_forces and not better.feasible.all():
        for other in _rescued(part, method, starts, missed, options):
            better = better.better(other, other.feasible & other.beats(better))
    best.put(rows, better)


def serve_alone(
    problem: Problem, method: Method, start: np.ndarray, best: Found, options: dict[str, Any]
) -> None:
    """Serve one user alone where that is better, in place, and not where minimum rates are met.

    Tried are all users whose bound is above the rate found, unless one candidate was asked for;
    with the default options those whose gain may still be the highest after a glance.
    """
    one = options.get("candidates") == 1 or options.get("zf_iterations") == 0
    if not method.rivals_alone or problem.objective != "sum_rate" or problem.users == 1 or one:
        return
    if none_alone(problem, best.sum_rate):
        return
    higher = highest_alone(problem) > best.sum_rate[:, None]
    if problem.min_rate is not None:
        higher &= ~best.feasible[:, None]
    items, users = np.nonzero(higher)
    if not len(items):
        return
    single = replace(problem, min_rate=None).of_users(items, users[:, None])
    heaviest = single.heaviest * taken(problem.heaviest, items)  # as in the whole problem
    single = replace(single, heaviest=heaviest)
    starts = taken(start, items)
    if is_alone(single) and not (options or method.zero_forces):
        reached = attempt(single, method, starts, _GLANCE).sum_rate
        promising = _within_reach(single, items, reached, best.sum_rate)
        if not promising.any():
            return
        single, starts = single.take(promising), taken(start, items[promising])
        items, users = items[promising], users[promising]
    lone = attempt(single, method, starts, options)
    # The best user of each item is the last of the item's in this order.
    order = np.lexsort((lone.sum_rate, items))[np.append(items[1:] > items[:-1], True)]
    order = order[lone.sum_rate[order] > best.sum_rate[items[order]]]
    lone, rows = lone.take(order), items[order]
    digital = np.zeros((len(rows), *best.digital.shape[1:]), best.digital.dtype)
    digital[np.arange(len(rows)), :, :, users[order]] = lone.digital[..., 0]
    kept = lone.iterations, lone.converged, lone.history
    found = Found.of(problem.take(rows), Run(lone.amplitudes, digital, *kept))
    best.put(rows, best.take(rows).better(found))


def _within_reach(
    single: Problem, items: np.ndarray, reached: np.ndarray, best: np.ndarray
) -> np.ndarray:
    """The rows of users who, after a glance, may still have the highest rate of their items."""
    weight = single.heaviest * single.weights[:, 0] / log(2.0)
    with_more = weight * np.log1p(_GLANCED * np.expm1(reached / weight))
    highest = best.copy()
    np.maximum.at(highest, items, reached)
    return np.flatnonzero(with_more > highest[items])


def _rescued(
    problem: Problem, method: Method, start: np.ndarray, missed: Found, options: dict[str, Any]
) -> Iterator[Found]:
    """The highest common multiple of the minimum rates, and a run from its amplitudes.

    For the least power also the highest sum rate under them.  With one channel other objectives
    have tried as much before.
    """
    floors, least = problem.floors, problem.objective == "min_power"
    if not (least or is_split(problem)):
        return
    highest = np.maximum(floors.max(axis=-1), np.finfo(float).tiny)
    fair = replace(
        problem,
        min_rate=None,
        objective="max_min",
        weights=floors / highest[:, None],
        heaviest=highest,
        idle=None,
    )
    found = _reached(problem, fair, method, method.run(fair, start, **options), options=options)
    yield found
    yield _from_there(problem, method, found, options)
    if least:
        rate = replace(problem, objective="sum_rate")
        for run in method.under_floors(in_channels(rate), start, missed, options):
            yield lowered(
                problem, method, _reached(problem, rate, method, run, options=options), options
            )


def _from_there(problem: Problem, method: Method, found: Found, options: dict[str, Any]) -> Found:
    run = method.run(in_channels(problem), found.amplitudes, **options | {"zf_iterations": 0})
    return _reached(problem, problem, method, run, options=options)


def lowered(problem: Problem, method: Method, found: Found, options: dict[str, Any]) -> Found:
    """What was found for another objective, or the least power from there."""
    if problem.objective != "min_power" or not found.feasible.any():
        return found
    other = _from_there(problem, method, found, options)
    return found.better(other, other.feasible & other.beats(found))


def _reached(
    problem: Problem, solved: Problem, method: Method, *runs: Run, options: dict[str, Any]
) -> Found:
    """What runs of the ``solved`` problem reach in a problem, at the states that it allows.

    Rates demanded of several channels are split at its amplitudes; more runs follow the split,
    unless it has moved with them.
    """
    run = runs[0]
    several = run.digital.shape[1] > 1
    posed = in_channels(solved) if several else solved
    if solved.hardware.states is not None:
        run = quantized(posed, *runs)
    if not (several and method.anew and not method.zero_forces and is_split(solved)):
        return Found.of(problem, run)
    best, posed = shared_out(solved, posed, run)
    for _ in range(0 if is_moved(problem) else _SHARINGS):
        again = method.run(posed, best.amplitudes, **options | {"zf_iterations": 0})
        other, posed = shared_out(solved, posed, quantized(posed, again))
        best = best.better(other)
    if problem is solved:
        return best
    kept = best.iterations, best.converged, best.history
    return Found.of(problem, Run(best.amplitudes, best.digital, *kept))


def common(
    problem: Problem, method: Method, found: Found, start: np.ndarray, options: dict[str, Any]
) -> Found:
    """The max-min solution; feasible where it meets the minimum rates."""
    equal = balancing(problem)
    if not is_split(problem) or not method.anew or method.zero_forces:
        run = next(method.under_floors(equal, start, found, options))
        return Found.of(problem, quantized(equal, run))
    equal = replace(equal, min_rate=None, objective="max_min")
    run = method.run(equal, start, **options)
    return _reached(problem, equal, method, run, options=options)
