"""Paper A's two baselines: beams and coordinate descent on the amplitudes, in turn."""

from __future__ import annotations

import numpy as np

from .problem import Found, Problem, run_loop


def wmmse_hbf(
    problem: Problem, start: np.ndarray, *, iterations: int = 300, tolerance: float = 1e-5
) -> Found:
    """WMMSE over beams and amplitudes ([A], WMMSE-HBF; docs/mathematics.md); monotone.

    ``iterations`` is the sweeps, 300 as published; converged means up to 10 000.  Stops when the
    rate changes by less than ``tolerance``.
    """
    options = {"tolerance": tolerance, "iterations": iterations}
    return run_loop("coordinate_descent", problem, start, zero_forced=False, **options)


def zf_hbf(
    problem: Problem, start: np.ndarray, *, iterations: int = 300, tolerance: float = 1e-5
) -> Found:
    """Water-filled zero forcing and fractional programming ([A], ZF-HBF; docs/mathematics.md).

    Not monotone, since zero forcing is done again after each sweep: the best iterate is kept.
    """
    problem.require_zero_forcing()
    options = {"tolerance": tolerance, "iterations": iterations}
    return run_loop("coordinate_descent", problem, start, zero_forced=True, **options)
