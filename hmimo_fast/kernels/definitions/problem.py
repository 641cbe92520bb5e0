"""The limits of a problem, and the result of one that cannot be solved (csrc/problem.inc.h)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..operators import MOST_RECORDED
from .algebra import norm2
from .element import Elements, matched

LN2 = np.log(2.0)


class Limits(NamedTuple):
    """What limits the beams and the elements; user weights have a largest of one."""

    power: float
    noise_power: float
    weights: np.ndarray
    min_rate: np.ndarray
    floored: bool
    radiated: bool
    sweeps: int
    elements: Elements
    objective: int
    overhead: float  # power consumed besides the beams', over the power
    dual: bool  # whether general beams are those of the dual uplink
    split: np.ndarray  # (F, K), parts of minimum rates and of balanced ones that a channel has
    feed_power: np.ndarray  # limits of the feeds, (L,), or none, (0,)


def with_split(limits, split, min_rate):
    """The limits with other parts of some channels, (F, K), and minimum rates."""
    return Limits(
        limits.power, limits.noise_power, limits.weights, min_rate, limits.floored,
        limits.radiated, limits.sweeps, limits.elements, limits.objective, limits.overhead,
        limits.dual, split, limits.feed_power,
    )  # fmt: skip


def in_channel(limits, f):
    """The limits in channel f alone."""
    return with_split(limits, limits.split[f : f + 1], limits.min_rate * limits.split[f])


def unit_weights(weights):
    """Weights with a largest of one, and that largest: a common factor changes no solution."""
    heaviest = np.max(weights)
    if not heaviest > 0.0:
        heaviest = 1.0
    return weights / heaviest, heaviest


def is_finite(channel, phase, amplitudes):
    total = np.sum(amplitudes.real) + np.sum(amplitudes.imag)
    for f in range(len(channel)):
        total += norm2(channel[f])
    for g in range(len(phase)):
        total += norm2(phase[g])
    return np.isfinite(total)


def unsolved(channel, phase, amplitudes, history):
    digital = np.full((len(channel), phase.shape[2], channel.shape[1]), np.nan + 0j)
    weights = np.full(len(amplitudes), complex(np.nan, np.nan))
    return matched(weights, amplitudes), digital, np.nan, 0, False, history


def room(budget):
    """A history of NaN for the rates of the iterates, as far as they are recorded."""
    return np.full(min(budget + 1, MOST_RECORDED), np.nan)
