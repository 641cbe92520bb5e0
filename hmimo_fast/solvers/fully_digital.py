"""The yardstick: an RF chain behind every element, no amplitudes."""

from __future__ import annotations

import numpy as np

from ..kernels import wmmse
from .problem import Found, Problem


def fully_digital(problem: Problem, start: np.ndarray, *, iterations: int = 300) -> Found:
    """WMMSE on the channel itself, N RF chains; both power conventions are then one."""
    p = problem
    weights = None if p.weights is None else np.asarray(p.weights)[..., None, :]
    power, noise_power = (np.asarray(x)[..., None] for x in (p.power, p.noise_power))
    digital = wmmse(
        p.channel, power, noise_power, weights, iterations=iterations, threads=p.threads
    )
    return Found(
        np.ones((*p.batch, p.channel.shape[-1]), digital.real.dtype),
        np.broadcast_to(digital, p.batch + digital.shape[-3:]).copy(),
        np.full(p.batch, iterations),
        np.zeros(p.batch, bool),
        np.full((*p.batch, 1), np.nan),
        fully_digital=True,
    )
