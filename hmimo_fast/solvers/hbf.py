"""Paper A's two baselines: beams and coordinate descent on the amplitudes, in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..problem import Problem
from .found import Run, run_loop

#: Squared sine of the angle between the channels of two users, under which they are multiples: by
#: the precision of the channels, as far as rounding turns them.
_PARALLEL = {"f": 1e-13, "d": 64.0 * np.finfo(float).eps}


def wmmse_hbf(problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """WMMSE over beams and amplitudes ([A], WMMSE-HBF; docs/mathematics.md); monotone.

    ``iterations`` is the sweeps, 300 as published; converged means up to 10 000.  Stops when the
    rate changes by less than ``tolerance``.  Of users whose channels are multiples of one another
    the one with most to gain alone is served: together they have a point of rest at
    log2(K / (K - 1)) each, however high the SNR.
    """
    return run_loop("coordinate_descent", _without_multiples(problem), start, **options)


def zf_hbf(problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """Water-filled zero forcing and fractional programming ([A], ZF-HBF; docs/mathematics.md).

    Not monotone, since zero forcing is done again after each sweep: the best iterate is kept.
    """
    return run_loop("coordinate_descent", problem, start, zero_forced=True, **options)


def _without_multiples(problem: Problem) -> Problem:
    """The problem with a zero channel for all but one of users that are multiples in every one."""
    p = problem
    channel = p.channel.astype(complex)
    length = np.linalg.norm(channel, axis=-1, keepdims=True)
    unit = channel / np.where(length > 0.0, length, 1.0)
    cosines = np.abs(unit @ unit.conj().swapaxes(-1, -2))
    parallel = (cosines**2 >= 1.0 - _PARALLEL[p.channel.real.dtype.char]).all(axis=-3)
    snr = np.sqrt(p.power / p.noise_power)[:, None, None] * length[..., 0]
    alone = p.weights * np.log(np.hypot(1.0, snr)).sum(axis=-2)
    order = np.argsort(-alone, axis=-1, kind="stable")
    place = np.argsort(order, axis=-1)
    behind = np.asarray((parallel & (place[..., :, None] > place[..., None, :])).any(axis=-1))
    if not behind.any():
        return problem
    served = ~behind[:, None, :, None]
    return replace(p, channel=np.where(served, p.channel, 0).astype(p.channel.dtype))
