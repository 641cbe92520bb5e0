"""Gradient over the amplitudes alone, with the optimal beams following: `joint` and `zf`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..problem import Problem
from .found import Run, run_loop
from .levels import quantized

#: Iterations of the two stages under `digital` and under `radiated` power: one start is then
#: within 1.5 % of the best of 20 starts with 200 iterations each.  Complex weights take fewer under
#: `digital` power.
_STAGES = {False: (9, 27), True: (5, 35)}
_TURNED_STAGES = {False: (12, 22), True: (5, 38)}
#: Before weights are rounded to few states, without limits of the feeds or minimum rates: rounding
#: undoes what more would add under `digital` power.
_ROUNDED_STAGES = {False: (10, 12), True: (5, 35)}
_TURNED_ROUNDED_STAGES = {False: (8, 10), True: (5, 38)}
#: Of amplitudes under limits of the feeds, which zero forcing meets with more ease than the sweeps.
_LIMITED_STAGES = {False: (30, 24), True: (12, 32)}
#: Of a single user, each cheaper, which is slower to converge under `radiated` power.
_SOLO_STAGES = {False: (9, 27), True: (5, 90)}
#: The same where it has one channel and amplitudes, whose steps are exact (csrc/alone.inc.h).
_ALONE_STAGES = {False: (5, 3), True: (8, 36)}
#: Candidates; of such a user; and before weights are rounded, which costs more than what the others
#: would add.
_CANDIDATES, _ALONE_CANDIDATES, _FEW_CANDIDATES = 8, 12, 2
#: Of objectives that leave nobody out, and so have one candidate.
_ONE_CANDIDATE = (10, 80)
#: Of a second try at `max_min` under `digital` power, where ascents end apart and are short.
_SECOND_TRY = {"zf_iterations": 4, "iterations": 30}
#: Of amplitudes with a beam for each user: both tries are shorter, and the best of all goes on.
#: Beams that lag behind the amplitudes cost less than settled ones, and lead further.
_SHORT_TRY = {"zf_iterations": 10, "iterations": 34, "sweeps": 1}
_SHORT_SECOND_TRY = {"zf_iterations": 4, "iterations": 22, "sweeps": 1}
BEST_TRY = {"iterations": 30, "sweeps": 1}
#: So few users have about the same rates where their sum is highest, which has more candidates.
_ALIKE = {False: 2, True: 1}
#: Of a geometric mean from the amplitudes of the highest sum rate.
_FROM_THERE = {"iterations": 20}
#: Newton sweeps for balanced beams.
BALANCING_SWEEPS = 20
#: A minimum rate out of reach: items that miss it get balanced rates, as high as possible.
_UNREACHABLE = 100.0


def balancing(problem: Problem) -> Problem:
    """The problem of the highest lowest rate over users and channels."""
    asked = np.full((1, problem.users), _UNREACHABLE)
    return replace(
        problem,
        min_rate=asked,
        split=np.ones((1, problem.channel.shape[1], problem.users)),  # in each
        weights=np.ones((1, problem.users)),
        objective="sum_rate",
        idle=None,
    )


def joint(problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """ZF variable projection, then general beams by warm WMMSE sweeps (docs/mathematics.md).

    ``zf_iterations`` and ``iterations`` bound the evaluations of the two stages (9 and 27 under
    `digital` power, 5 and 35 under `radiated`, of a single user 5 and 3, 8 and 36; twice as many
    from all starts but the first; fewer before rounding).  The ``candidates`` serve nested sets of
    about as many users as promise most, from different starts (by default 8, of a single user 12).
    Each makes the first stage and a ninth of the second, the best four a third, and the best
    ``finalists`` of them the rest.
    ``zf_iterations=0`` keeps to the start.  Afterwards every user is served alone whose bound, and
    a first look, leave it a chance to have more than the sum rate, but for ``candidates=1`` and
    under minimum rates.
    ``sweeps`` is the WMMSE sweeps per evaluation, ``tolerance`` the rate that a step must promise,
    in bit/s/Hz of a user with the largest weight.  Candidates are compared in single precision
    (``mixed=False``: in that of the channel); the rest is in double for complex128, but for what
    is rounded to few states.
    """
    candidates = _CANDIDATES
    if problem.hardware.states is not None and problem.hardware.turned:
        candidates = _FEW_CANDIDATES
    elif is_alone(problem):
        candidates = _ALONE_CANDIDATES * problem.effort
    chosen = _stages(problem) | {"candidates": candidates, "mixed": True}
    if is_tried(problem, options):
        chosen |= _SHORT_TRY
    return run_loop("variable_projection", problem, start, **chosen | options)


def to_be_rounded(
    run: Callable[..., Run], problem: Problem, start: np.ndarray, options: dict[str, Any]
) -> list[Run]:
    """Runs for the sum rate whose weights will be rounded to few states.

    Rounding moves them further than single precision does, which takes half the time.
    """
    starts = [start]
    if problem.hardware.turned:  # roundings of complex weights differ more than the weights do
        starts.append(problem.some_angles())
    posed = problem
    if problem.feed_power is None and options.get("mixed", True):
        posed = problem.in_single()
    exact = problem.channel.real.dtype
    return [
        one._replace(
            amplitudes=one.amplitudes.astype(np.result_type(one.amplitudes, exact)),
            history=one.history.astype(exact),
        )
        for one in (run(posed, each, **options) for each in starts)
    ]


def further(
    run: Callable[..., Run],
    problem: Problem,
    start: np.ndarray,
    options: dict[str, Any],
) -> Iterator[Run]:
    """What is tried besides a run from the start."""
    if problem.hardware.states is not None and problem.hardware.turned:
        yield run(problem, problem.some_angles(), **options)
    if problem.objective == "max_min" and problem.channel.shape[1] == 1:
        if problem.users <= _ALIKE[problem.radiated]:
            yield _balanced(run, replace(problem, objective="sum_rate"), problem, start, options)
        elif not problem.radiated and not options.keys() & _SECOND_TRY:
            second = _SHORT_SECOND_TRY if is_tried(problem, options) else _SECOND_TRY
            yield run(problem, start, **second | options)
        if problem.users > 1:  # minimum rates out of reach, equal for all users, lead elsewhere
            yield _balanced(run, balancing(problem), problem, start, options)
    if problem.objective == "geometric_mean":
        rate = run(replace(problem, objective="sum_rate"), start, **options)
        yield run(problem, rate.amplitudes, **_FROM_THERE | options | {"zf_iterations": 0})


def is_tried(problem: Problem, options: dict[str, Any]) -> bool:
    """Whether `max_min` makes short tries, the best of which goes on (`BEST_TRY`)."""
    if problem.objective != "max_min" or problem.radiated or options.keys() & _SECOND_TRY:
        return False
    served = problem.channel.shape[1] == 1 and problem.users <= problem.feeds
    return served and not problem.hardware.turned and problem.hardware.states is None


def _balanced(
    run: Callable[..., Run],
    other: Problem,
    problem: Problem,
    start: np.ndarray,
    options: dict[str, Any],
) -> Run:
    """`max_min` where another problem leads."""
    found = quantized(other, run(other, start, **options))
    return found._replace(digital=problem.beams(found.amplitudes, BALANCING_SWEEPS)[0])


def zf(problem: Problem, start: np.ndarray, iterations: int = 60, **options: Any) -> Run:
    """The best zero forcing with water-filled powers over the amplitudes."""
    return joint(problem, start, zf_iterations=iterations, iterations=0, **options)


def zero_forcing_stage(problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """`joint` with all of its iterations in the first stage."""
    budgets = _stages(problem)
    budget = sum(options.get(name, default) for name, default in budgets.items())
    return joint(problem, start, **options | dict(zip(budgets, (budget, 0), strict=True)))


def is_alone(problem: Problem) -> bool:
    """Whether a single user has stages of its own (csrc/alone.inc.h); not before rounding."""
    if problem.users > 1 or problem.channel.shape[1] > 1 or problem.objective != "sum_rate":
        return False
    bound = problem.feed_power is not None or problem.min_rate is not None
    return not (bound or problem.hardware.turned or problem.hardware.states is not None)


def _stages(problem: Problem) -> dict[str, int]:
    limited, turned = problem.feed_power is not None, problem.hardware.turned
    if problem.hardware.states is not None and not limited and problem.min_rate is None:
        stages = _TURNED_ROUNDED_STAGES if turned else _ROUNDED_STAGES
    elif turned:
        stages = _TURNED_STAGES
    elif limited:
        stages = _LIMITED_STAGES
    elif problem.users > 1:
        stages = _STAGES
    else:
        stages = _ALONE_STAGES if is_alone(problem) else _SOLO_STAGES
    chosen = stages[problem.radiated] if problem.aim.leaves_out else _ONE_CANDIDATE
    names = "zf_iterations", "iterations"
    return {name: problem.effort * most for name, most in zip(names, chosen, strict=True)}
