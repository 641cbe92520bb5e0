"""`solve` in a batch and alone, on every backend, under both power constraints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast import benchmark as bm

#: Channels a call: the plain NumPy definition takes some milliseconds each.
ITEMS = {"native": 1000, "numba": 200, "numpy": 8}


@pytest.mark.parametrize("constraint", ["digital", "radiated"])
@pytest.mark.parametrize("backend", ITEMS)
@pytest.mark.parametrize("size", ["one", "batch"])
def test_joint(benchmark: Any, size: str, backend: str, constraint: str) -> None:
    items = 1 if size == "one" else ITEMS[backend]
    channel, phase = bm.joint_problem(max(items, 32))

    def task(some: np.ndarray = channel[0] if size == "one" else channel[:items]) -> np.ndarray:
        return hf.solve(some, phase, 1.0, 0.1, constraint=constraint, threads=1).sum_rate

    expected = task(channel[:32]).mean()
    with hf.backend(backend):
        bm.agree("solve", backend, task(channel[:32]).mean(), expected, 1e-2)
        benchmark.group = f"joint {constraint} {size}"
        benchmark.extra_info["items"] = items
        benchmark(task)
