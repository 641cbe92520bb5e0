"""The rate operator of `hmimo_fast.nn`, forward and backward, beside PyTorch's own autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hmimo_fast import benchmark as bm

torch = pytest.importorskip("torch")
from hmimo_fast.nn import ops  # noqa: E402

TOLERANCE = {np.complex128: 1e-9, np.complex64: 1e-3}


def our_gradient(link: bm.Link) -> bm.Task:
    """`ops.sum_rate` and its backward pass."""
    channel, amplitudes, phase, digital = (torch.from_numpy(array) for array in link[:4])
    amplitudes.requires_grad_()
    digital.requires_grad_()

    def run() -> Any:
        rate = ops.sum_rate(channel, amplitudes, phase, digital, link.noise_power)
        gradients = torch.autograd.grad(rate.sum(), (amplitudes, digital))
        return rate.detach(), *gradients

    return run


TASKS = {bm.OURS: our_gradient, "torch autograd": bm.torch_gradient}


@pytest.mark.parametrize("library", TASKS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("batch", [1, 256])
def test_sum_rate_forward_and_backward(
    benchmark: Any, library: str, batch: int, dtype: type
) -> None:
    torch.set_num_threads(1)
    link = bm.random_link(64, 6, batch, dtype)
    task = TASKS[library](link)
    expected = bm.our_gradient(link)()
    for result, right in zip(task(), expected, strict=True):
        bm.agree("sum_rate", library, result.numpy(), right, TOLERANCE[dtype])
    benchmark.group = f"nn.ops.sum_rate N=64 batch={batch} {np.dtype(dtype).name}"
    benchmark.extra_info["items"] = batch
    benchmark(task)
