"""Spectral steps over the amplitudes, which WMMSE sweeps follow (csrc/spectral.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import double
from .ascent import find_scale
from .joint import wmmse_gradient

#: First step, and range of the others, relative to the amplitudes that count as large.
FIRST_STEP, LEAST_STEP, MOST_STEP = 0.5, 0.02, 5.0
#: Amplitudes that count as large under `radiated` power, where their scale is free.
LARGE = 0.3


def find_spectral_step(amplitudes, change, slope, gradient, curvature, unit):
    """The step of Barzilai and Borwein in the metric of the curvature, (N,), and its length.

    The length is that of its largest part.
    """
    step = gradient / curvature
    steepest = np.max(np.abs(step))
    if not steepest > 0.0:
        steepest = 1.0
    length = FIRST_STEP * unit
    moved = np.sum(change**2 * curvature)
    if moved > 0.0:
        lost = (slope - gradient) * ((amplitudes > 0.0) | (gradient > 0.0))
        inverse = np.sum(change * lost) / (moved * steepest)
        length = 1.0 / min(max(inverse, 1.0 / (MOST_STEP * unit)), 1.0 / (LEAST_STEP * unit))
    return length / steepest * step, length


def follow(channel, amplitudes, phase, digital, power, noise_power, weights, radiated, sweeps):
    """Rate, beams after some sweeps, gradient, and the curvature of the radiated power, (N,)."""
    rate, beams, gradient = wmmse_gradient(
        channel, amplitudes, phase, digital, power, noise_power, weights, radiated, sweeps
    )
    curvature = np.ones(len(amplitudes))
    if radiated:
        fields = double(phase) @ beams
        sent = np.sum(fields.real**2 + fields.imag**2, axis=1)
        curvature = 1.0 / find_scale(sent if rate > 0.0 else 0.0 * sent)
    return rate, beams, gradient, curvature


def spectral_ascent(
    channel, start, phase, digital, power, noise_power, weights, change, slope, radiated, sweeps,
    steps,
):  # fmt: skip
    """Some spectral steps from amplitudes and beams, and the next one, not taken.

    ``change`` is the one that led to the start, with the gradient ``slope`` before it; all of it
    zero where there is none.  At every point ``sweeps`` WMMSE sweeps of the beams come first.  One
    step that would turn all elements off is not made.

    Returns the rate and the beams, the amplitudes where the steps led, the last change and the
    gradient before it; the gradient there, the curvature of the radiated power over its mean, the
    next step before the box cuts it off, and its length.
    """
    amplitudes, change, slope = 1.0 * start, 1.0 * change, 1.0 * slope
    unit = LARGE if radiated else 1.0
    given = np.sum(change * slope)
    rate, beams, gradient, curvature = follow(
        channel, amplitudes, phase, digital, power, noise_power, weights, radiated, sweeps
    )
    step, length = find_spectral_step(amplitudes, change, slope, gradient, curvature, unit)
    for _ in range(steps):
        ahead = np.minimum(np.maximum(amplitudes + step, 0.0), 1.0)
        if not np.sum(ahead) > 0.0:
            ahead = amplitudes
        change, slope, amplitudes = ahead - amplitudes, gradient, ahead
        rate, beams, gradient, curvature = follow(
            channel, amplitudes, phase, beams, power, noise_power, weights, radiated, sweeps
        )
        step, length = find_spectral_step(amplitudes, change, slope, gradient, curvature, unit)
    if not np.isfinite(rate + given):
        none = np.full(len(amplitudes), np.nan)
        return np.nan, beams + np.nan, none, none, none, none, none, none, np.nan
    return rate, beams, amplitudes, change, slope, gradient, curvature, step, length
