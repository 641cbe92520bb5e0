"""Gradient over the amplitudes alone, with the optimal beams following: `joint` and `zf`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Found, Problem, run_loop

#: Iterations of the two stages: within half a per cent of 30 + 80 at two fifths of their time.
_STAGES = (12, 30)


def joint(
    problem: Problem,
    start: np.ndarray,
    *,
    zf_iterations: int = _STAGES[0],
    iterations: int = _STAGES[1],
    sweeps: int = 3,
    tolerance: float = 1e-9,
) -> Found:
    """ZF variable projection, then general beams by warm WMMSE sweeps (MATH section 4).

    ``zf_iterations`` and ``iterations`` bound the two stages, ``sweeps`` is the WMMSE sweeps
    an evaluation, ``tolerance`` the rate in bit/s/Hz that a step must promise.
    """
    stages = (zf_iterations, iterations, sweeps, tolerance)
    return run_loop("variable_projection", problem, start, *stages)


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
    zf_iterations: int = _STAGES[0],
    iterations: int = _STAGES[1],
    **options: Any,
) -> Found:
    """`joint` with all of its iterations in the first stage."""
    return joint(problem, start, zf_iterations=zf_iterations + iterations, iterations=0, **options)
