"""Gradient over the amplitudes alone, with the optimal beams following: `joint` and `zf`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Found, Problem, run_loop

#: Iterations of the two stages under `digital` and under `radiated` power: one start is then
#: within 1.5 % of the best of 20 starts with 200 iterations each.
_STAGES = {False: (6, 36), True: (5, 38)}


def joint(
    problem: Problem,
    start: np.ndarray,
    *,
    zf_iterations: int | None = None,
    iterations: int | None = None,
    candidates: int | None = None,
    finalists: int = 1,
    sweeps: int = 3,
    tolerance: float = 1e-9,
) -> Found:
    """ZF variable projection, then general beams by warm WMMSE sweeps (docs/mathematics.md).

    ``zf_iterations`` and ``iterations`` bound the evaluations of the two stages (6 and 36 under
    `digital` power, 5 and 38 under `radiated`).  The ``candidates`` serve nested sets of users (by
    default as many as there are sets worth trying); each makes the first stage and a third of the
    second, and the best ``finalists`` of them the rest.  ``zf_iterations=0`` keeps to the start.
    ``sweeps`` is the WMMSE sweeps an evaluation, ``tolerance`` the rate that a step must promise,
    in bit/s/Hz of a user with the largest weight.
    """
    first, second = _stages(problem, zf_iterations, iterations)
    return run_loop(
        "variable_projection",
        problem,
        start,
        zf_iterations=first,
        iterations=second,
        candidates=max(problem.users, 1) if candidates is None else candidates,
        finalists=finalists,
        sweeps=sweeps,
        tolerance=tolerance,
    )


def zf(
    problem: Problem, start: np.ndarray, *, iterations: int = 60, tolerance: float = 1e-9
) -> Found:
    """The best zero forcing with water-filled powers over the amplitudes."""
    problem.require_zero_forcing()
    return joint(problem, start, zf_iterations=iterations, iterations=0, tolerance=tolerance)


def zero_forcing_stage(
    problem: Problem,
    start: np.ndarray,
    *,
    zf_iterations: int | None = None,
    iterations: int | None = None,
    **options: Any,
) -> Found:
    """`joint` with all of its iterations in the first stage."""
    budget = sum(_stages(problem, zf_iterations, iterations))
    return joint(problem, start, zf_iterations=budget, iterations=0, **options)


def _stages(problem: Problem, zf_iterations: int | None, iterations: int | None) -> tuple[int, int]:
    first, second = _STAGES[problem.radiated]
    return (
        first if zf_iterations is None else zf_iterations,
        second if iterations is None else iterations,
    )
