"""Paper B's Algorithm 1, and its benchmark of random amplitudes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..problem import Problem
from .found import Run, run_loop


def alternating(problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """Zero forcing, then gradient steps on m at fixed beams, in turn ([B] Algorithm 1).

    ``inner`` steps between two zero forcings; 0 reads the paper as running them until the
    rate changes by less than ``tolerance``, at most a hundred: at a fixed step they may swing
    for ever.  ``iterations`` bounds the steps.  With ``backtracking`` (ours) a step starts from
    twice the length of the last, at first twice ``step``, and is halved until the rate at fixed
    beams rises (Armijo).
    """
    return run_loop("alternating", problem, start, **options)


def random(problem: Problem, start: np.ndarray) -> Run:
    """Zero forcing at the random start ([B] section IV, benchmark)."""
    return alternating(problem, start, iterations=0)
