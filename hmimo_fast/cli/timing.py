"""How long a task takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

#: Seconds up to which a measurement is repeated, to reduce the noise.
_PATIENCE = 0.25


def timed(task: Callable[[], Result]) -> tuple[Result, float]:
    """Its result, and the shortest of up to ten runs, fewer for long ones."""
    shortest, deadline = math.inf, time.perf_counter() + _PATIENCE
    for _ in range(10):
        started = time.perf_counter()
        result = task()
        ended = time.perf_counter()
        shortest = min(shortest, ended - started)
        if ended > deadline:
            break
    return result, shortest
