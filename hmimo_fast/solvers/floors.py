"""Minimum rates at given amplitudes: zero forcing with floored water-filling."""

from __future__ import annotations

import numpy as np

from ..kernels import effective_channel, water_filling, zero_forcing
from .problem import Found, Problem

_GUARD = 1e-12


def floored_zero_forcing(problem: Problem, found: Found, min_rate: np.ndarray) -> np.ndarray:
    """Beams (..., 1, L, K) that give every user its minimum rate where the power allows it.

    The received powers solve the floored water-filling of MATH section 2; a user's cost is the
    power of its pseudoinverse column over the whitened channel G C^{-H}, C C^H = S under
    `radiated` power and C = I under `digital`.
    """
    p = problem
    amplitudes = np.nan_to_num(found.amplitudes[..., None, :])
    channel = np.where(np.isfinite(p.channel), p.channel, 0.0)
    effective = effective_channel(channel, amplitudes, p.phase).astype(complex)
    feeds = np.eye(p.feeds, dtype=complex)
    factor = feeds
    if p.radiated:
        surface = amplitudes[..., :, None] * p.phase
        gram = surface.conj().swapaxes(-1, -2) @ surface
        guard = _GUARD * np.trace(gram, axis1=-2, axis2=-1).real / p.feeds
        factor = np.linalg.cholesky(gram + np.maximum(guard, 1e-300)[..., None, None] * feeds)
    whitened = np.linalg.solve(factor, effective.conj().swapaxes(-1, -2)).conj().swapaxes(-1, -2)
    beams = zero_forcing(whitened, 1.0)
    gain = np.abs(np.diagonal(whitened @ beams, axis1=-2, axis2=-1)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(gain > 0.0, np.sum(np.abs(beams) ** 2, axis=-2) / gain, np.inf)
    weights = None if p.weights is None else np.asarray(p.weights)[..., None, :]
    power, noise_power = (np.asarray(x)[..., None] for x in (p.power, p.noise_power))
    floor = np.broadcast_to(min_rate, (*p.batch, p.users))[..., None, :]
    received, _ = water_filling(cost, power, noise_power, weights, floor)
    scale = np.sqrt(np.divide(received, gain, out=np.zeros_like(gain), where=gain > 0.0))
    beams = np.linalg.solve(factor.conj().swapaxes(-1, -2), beams * scale[..., None, :])
    return beams.astype(found.digital.dtype)
