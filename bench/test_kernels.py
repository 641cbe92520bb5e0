"""Rate with both gradients, and zero forcing, in every library and size."""

from __future__ import annotations

from typing import Any

import numpy as np
import peers
import pytest

import hmimo_fast as hf
from hmimo_fast import benchmark as bm

TOLERANCE = {np.complex128: 1e-9, np.complex64: 1e-3}
BATCHES = {36: 2048, 64: 2048, 256: 2048, 1024: 256, 4096: 64}
GRADIENTS = bm.available(
    {
        bm.OURS: bm.our_gradient,
        **peers.GRADIENTS,
    }
) | {peers.NUMBA_BACKEND: peers.on_numba}


@pytest.mark.parametrize("library", GRADIENTS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("size", ["one", "batch"])
@pytest.mark.parametrize("elements", BATCHES)
def test_gradient(benchmark: Any, library: str, elements: int, size: str, dtype: type) -> None:
    if size == "one" and library.endswith("pieces"):
        pytest.skip("one item is one piece")
    batch = BATCHES[elements] if size == "batch" else None
    users = 8 if elements >= 1024 else 6
    link = bm.random_link(elements, users, batch, dtype)
    task = GRADIENTS[library](link)
    expected = hf.sum_rate_gradient(*link, threads=1)
    for result, right in zip(task(), expected, strict=True):
        bm.agree("sum_rate_gradient", library, np.asarray(result), right, TOLERANCE[dtype])
    benchmark.group = f"gradient N={elements} batch={batch or 1} {np.dtype(dtype).name}"
    benchmark.extra_info["items"] = batch or 1
    benchmark(task)


@pytest.mark.parametrize("library", [bm.OURS, *bm.available(peers.ZERO_FORCING)])
def test_zero_forcing(benchmark: Any, library: str) -> None:
    problem = bm.Precoding(bm.random_channels(6, 64, 4096, np.complex64))
    expected = hf.zero_forcing(problem.channel, 1.0, threads=1)
    task = (
        peers.ZERO_FORCING[library](problem)
        if library != bm.OURS
        else lambda: hf.zero_forcing(problem.channel, 1.0, threads=1)
    )
    bm.agree("zero_forcing", library, np.asarray(task()), expected, 1e-3)
    benchmark.group = "zero_forcing 4096 of 6 x 64 complex64"
    benchmark(task)


@pytest.mark.parametrize("library", [bm.OURS, "NumPy"])
def test_wmmse(benchmark: Any, library: str) -> None:
    problem = bm.Precoding(bm.random_channels(6, 64, 20, np.complex128))
    expected = hf.wmmse(problem.channel, 1.0, problem.noise_power, threads=1)
    task = (
        bm.numpy_wmmse(problem)
        if library != bm.OURS
        else lambda: hf.wmmse(problem.channel, 1.0, problem.noise_power, threads=1)
    )
    bm.agree("wmmse", library, task(), expected, 1e-9)
    benchmark.group = "wmmse 20 of 6 x 64, 100 iterations"
    benchmark(task)
