"""A user alone: its best amplitudes and its best beam, in turns (csrc/alone.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import double, norm2
from .ascent import record, whiten
from .element import AMPLITUDE, weigh
from .objective import SUM_RATE
from .problem import LN2

#: Step under `radiated` power, as a multiple of that to the best amplitudes.
OVERSHOOT = 1.8
#: Regularisation of these: at first for so many elements and more, and with the square of their
#: number for fewer; from one iteration to the next, and at least.
FIRST_RIDGE, MANY, COOLING, LEAST_RIDGE = 0.1, 128, np.log(0.83), 1e-5


def is_alone(channel, limits):
    """Whether the best amplitudes for a beam, and the best beam for them, are in closed form."""
    free = len(limits.feed_power) == 0 and not limits.dual and limits.objective == SUM_RATE
    amplitudes = limits.elements.kind == AMPLITUDE
    return channel.shape[0] == 1 and channel.shape[1] == 1 and amplitudes and free


def answer_beam(channel, phase, state, beam, limits, ridge):
    """The amplitudes that serve a user best with a beam, (N,), and the gain that they promise.

    The amplitudes have a ridge on the power of each element, relative to the mean; the promise has
    none.  Under `digital` power, which has no ridge, all elements are on that help.
    """
    fields = (double(phase) @ beam)[:, 0]
    heard = (double(channel) * fields).real
    moves = limits.elements.movable > 0.0
    if not limits.radiated:
        best = np.where(moves, (heard > 0.0) * 1.0, state)
        return best, np.sum(heard * best) ** 2 / norm2(beam)
    spent = fields.real**2 + fields.imag**2
    helps = heard > 0.0
    best = np.where(moves, np.where(helps, heard / np.where(helps, spent, 1.0), 0.0), state)
    promised = np.sum(heard * best) ** 2 / np.sum(spent * best**2)
    extra = ridge * np.mean(spent)
    own = np.where(moves, np.where(helps, heard / np.where(helps, spent + extra, 1.0), 0.0), state)
    size = np.sum(heard * own) / np.sum(spent * own**2)
    return np.where(moves, size * own, own), promised


def ascend_alone(channel, phase, state, psi, limits, noise_power, budget, tolerance, history, made):
    """`ascend` for a user alone, which has ``made`` so many iterations before.

    The best beam for the amplitudes and the best amplitudes for the beam in turns; under `radiated`
    power further than these, and with a ridge that falls with the iterations.
    """
    psi = psi.copy()
    psi[0, 0, 0] = 1.0
    stuck = np.min(limits.elements.movable) == 0.0
    first_ridge = FIRST_RIDGE * (min(len(state), MANY) / MANY) ** 2
    best_state, best_rate, iterations = state, -np.inf, 0
    while True:
        weights = weigh(limits.elements, state)[0]
        whitened, carrier = whiten(channel[0], weights, phase[0], limits.radiated)
        gain = norm2(whitened)
        noise = noise_power / limits.power
        rate = limits.weights[0] * np.log1p(gain / noise) / LN2
        record(history, iterations, rate)
        if rate > best_rate:
            best_state, best_rate = state, rate
        if not np.isfinite(rate) or iterations >= budget:
            return best_state, psi, best_rate, iterations, False
        if not gain > 0.0:
            return best_state, psi, best_rate, iterations, True
        ridge = first_ridge * np.exp(COOLING * (made + iterations)) + LEAST_RIDGE
        best, promised = answer_beam(channel[0, 0], phase[0], state, carrier, limits, ridge)
        if not limits.weights[0] * np.log1p(promised / noise) / LN2 - rate > tolerance:
            return best_state, psi, best_rate, iterations, True
        iterations += 1
        state = state + (OVERSHOOT if limits.radiated else 1.0) * (best - state)
        state = np.maximum(state, 0.0)
        if stuck:
            state = np.minimum(state, 1.0)
