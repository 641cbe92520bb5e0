"""Further alternatives to compare with, beyond the peers of `hmimo_fast.benchmark`."""

from __future__ import annotations

import os
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_limits

import hmimo_fast as hf
from hmimo_fast import benchmark
from hmimo_fast.benchmark import Link, Precoding, Task

#: Ours as well, so no alternative to it.
NUMBA_BACKEND = "hmimo_fast on Numba"


def one_core() -> int:
    """One thread in every library, loaded or not, on one core; its number."""
    os.environ |= benchmark.ONE_THREAD
    threadpool_limits(1)
    return benchmark.pin()


@numba.njit(fastmath=True)
def _gradient_loops(channel, amplitudes, phase, digital, noise_power, rate, d_m, d_v):
    batch, users, elements = channel.shape
    feeds = phase.shape[1]
    effective = np.empty((users, feeds), channel.dtype)
    received = np.empty((users, users), channel.dtype)
    omega = np.empty((users, feeds), channel.dtype)
    two = amplitudes.dtype.type(2.0 / np.log(2.0))
    for b in range(batch):
        effective[:] = 0.0
        for n in range(elements):
            for k in range(users):
                sent = channel[b, k, n] * amplitudes[b, n]
                for l in range(feeds):
                    effective[k, l] += sent * phase[n, l]
        received[:] = 0.0
        for k in range(users):
            for l in range(feeds):
                for j in range(users):
                    received[k, j] += effective[k, l] * digital[b, l, j]
        total_rate = 0.0
        for k in range(users):
            disturbance = noise_power
            for j in range(users):
                if j != k:
                    disturbance += received[k, j].real ** 2 + received[k, j].imag ** 2
            signal = received[k, k].real ** 2 + received[k, k].imag ** 2
            total_rate += np.log1p(signal / disturbance)
            scale = two / (disturbance + signal)
            ratio = signal / disturbance
            for j in range(users):
                received[k, j] *= scale if j == k else -scale * ratio
        rate[b] = total_rate / np.log(2.0)
        omega[:] = 0.0
        d_v[b] = 0.0
        for k in range(users):
            for l in range(feeds):
                for j in range(users):
                    omega[k, l] += received[k, j] * np.conj(digital[b, l, j])
                    d_v[b, l, j] += np.conj(effective[k, l]) * received[k, j]
        for n in range(elements):
            slope = amplitudes.dtype.type(0.0)
            for k in range(users):
                wave = omega[k, 0] * np.conj(phase[n, 0])
                for l in range(1, feeds):
                    wave += omega[k, l] * np.conj(phase[n, l])
                slope += channel[b, k, n].real * wave.real + channel[b, k, n].imag * wave.imag
            d_m[b, n] = slope


def numba_gradient(link: Link) -> Task:
    """The plain loops that one writes for Numba, with fastmath."""
    lead = link.channel.shape[:-2]
    channel, amplitudes, digital = link.channel, link.amplitudes, link.digital
    if not lead:
        channel, amplitudes, digital = channel[None], amplitudes[None], digital[None]
    noise_power = amplitudes.dtype.type(link.noise_power)

    def run() -> Any:
        rate = np.empty(len(channel), amplitudes.dtype)
        d_m, d_v = np.empty_like(amplitudes), np.empty_like(digital)
        _gradient_loops(channel, amplitudes, link.phase, digital, noise_power, rate, d_m, d_v)
        return (rate, d_m, d_v) if lead else (rate[0], d_m[0], d_v[0])

    return run


def on_numba(link: Link) -> Task:
    """Our kernels on their Numba backend."""

    def run() -> Any:
        with hf.backend("numba"):
            return hf.sum_rate_gradient(*link, threads=1)

    return run


def numpy_pinv(problem: Precoding) -> Task:
    """Zero forcing by NumPy's pseudoinverse, an SVD per item."""

    def run() -> np.ndarray:
        inverse = np.linalg.pinv(problem.channel)
        norms = np.linalg.norm(inverse, axis=(-2, -1), keepdims=True)
        return inverse / norms

    return run


def torch_zero_forcing(problem: Precoding) -> Task:
    """Zero forcing by PyTorch's solver on the Gram matrix."""
    import torch

    channel = torch.from_numpy(problem.channel)

    def run() -> Any:
        precoder = torch.linalg.solve(channel @ channel.mH, channel).mH
        return precoder / torch.linalg.matrix_norm(precoder, keepdim=True)

    return run


def torch_rzf(problem: Precoding) -> Task:
    """The algebra of Sionna's regularised zero forcing, without the regulariser, in PyTorch.

    A Cholesky solve of the Gram matrix; one norm for the whole precoder in place of Sionna's one
    a column, so that results compare.
    """
    import torch

    channel = torch.from_numpy(problem.channel)

    def run() -> Any:
        factor = torch.linalg.cholesky(channel @ channel.mH)
        precoder = torch.cholesky_solve(channel, factor).mH
        return precoder / torch.linalg.matrix_norm(precoder, keepdim=True)

    return run


GRADIENTS: benchmark.Peers = {
    **benchmark.GRADIENTS,
    "Numba loops": numba_gradient,
}
ZERO_FORCING: benchmark.Peers = {
    "NumPy inv": benchmark.numpy_zero_forcing,
    "NumPy pinv": numpy_pinv,
    "torch solve": torch_zero_forcing,
    "torch Cholesky": torch_rzf,
}
