"""`solve` in a batch and alone, on every backend, under both power constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast import benchmark as bm

BATCH = 32  # the plain NumPy definition takes some milliseconds for each


@pytest.mark.parametrize("constraint", ["digital", "radiated"])
@pytest.mark.parametrize("backend", ["native", "numba", "numpy"])
@pytest.mark.parametrize("size", ["one", "batch"])
def test_joint(benchmark: Any, size: str, backend: str, constraint: str) -> None:
    channel, phase = bm.joint_problem(BATCH)
    some = channel[0] if size == "one" else channel

    def task(channel: np.ndarray = some) -> np.ndarray:
        return hf.solve(channel, phase, 1.0, 0.1, constraint=constraint, threads=1).sum_rate

    expected = task(channel).mean()
    with hf.backend(backend):
        bm.agree("solve", backend, task(channel).mean(), expected, 1e-2)
        benchmark.group = f"joint {constraint} {size}"
        benchmark.extra_info["items"] = np.size(some) // channel[0].size
        benchmark(task)
