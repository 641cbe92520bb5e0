"""Paper B's alternating zero forcing and gradient ascent (csrc/alternating.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import SINGULAR, dagger, pseudo_invert, scale_to_power
from .ascent import confine, record, whiten
from .element import AMPLITUDE, GIVEN, Elements, matched, state_of, weigh
from .joint import fixed_terms
from .problem import is_finite, room, unit_weights, unsolved
from .rates import power_of

#: Gradient steps between two zero forcings where the paper's rule does not stop them sooner.
MOST_STEPS = 100


def force(channel, phase, amplitudes, power, radiated):
    """Equal-SINR zero forcing in every channel, (F, L, K)."""
    digital = np.empty((len(channel), phase.shape[2], channel.shape[1]), np.complex128)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        whitened, beams = whiten(channel[f], amplitudes, waves, radiated)
        gram = dagger(whitened) @ whitened
        digital[f] = beams @ pseudo_invert(gram, SINGULAR)[0]
        spent = power_of(waves, amplitudes, digital[f], radiated)
        digital[f] = scale_to_power(digital[f], spent, power)
    return digital


def state_terms(
    channel, phase, elements, state, digital, power, noise_power, weights, radiated
):  # fmt: skip
    """`fixed_terms` at the states, with the gradient in them."""
    found, slopes = weigh(elements, state)
    rate, gradient = fixed_terms(
        channel, phase, found, digital, power, noise_power, weights, radiated
    )
    return rate, (slopes.conj() * gradient).real


def backtrack(
    channel, phase, elements, state, digital, power, noise_power, weights, radiated, rate, gradient,
    length,
):  # fmt: skip
    """One step at fixed V that raises its rate (Armijo, halving), from twice the last length.

    Returns the states, their rate and gradient, and the length; all as before where no step does.
    """
    trial_length = min(2.0 * length, 1e4)
    while trial_length > 1e-12:
        trial = confine(elements.kind, state + trial_length * gradient, 1.0)
        trial_rate, trial_gradient = state_terms(
            channel, phase, elements, trial, digital, power, noise_power, weights, radiated
        )
        if trial_rate >= rate + 1e-4 * np.sum(gradient * (trial - state)):
            return trial, trial_rate, trial_gradient, trial_length
        trial_length *= 0.5
    return state, rate, gradient, length


def alternating(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    movable,
    radiated,
    backtracking,
    step,
    inner,
    tolerance,
    iterations,
    element,
):
    """[B] Algorithm 1: ZF, `inner` gradient steps on m, ZF again.

    With ``inner`` 0 the steps run until |dR| < tolerance, but at most a hundred, since at a
    fixed step they may go back and forth for ever.  With ``backtracking`` a step is as long as
    the rate at its beams allows, ``step`` only the first guess.

    Not monotone, so the best iterate is kept.  Returns as `variable_projection`;
    ``iterations`` bounds the gradients and ``history`` holds the rate after each ZF.
    """
    history = room(iterations)
    if not is_finite(channel, phase, amplitudes):
        return unsolved(channel, phase, amplitudes, history)
    unit, heaviest = unit_weights(weights)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    kind = GIVEN if element == AMPLITUDE and np.iscomplexobj(amplitudes) else element
    elements = Elements(kind, amplitudes.astype(np.complex128), movable.astype(np.float64))
    current = state_of(kind, amplitudes)
    digital = force(wide, waves, weigh(elements, current)[0], power, radiated)
    rate, gradient = state_terms(
        wide, waves, elements, current, digital, power, noise_power, unit, radiated
    )
    history[0] = rate
    best, best_digital, best_rate = current, digital, rate
    made, converged = 0, False
    while made < iterations and not converged:
        served, steps = rate, 0
        while made < iterations:
            previous = rate
            if backtracking:
                current, rate, gradient, step = backtrack(
                    wide, waves, elements, current, digital, power, noise_power, unit, radiated,
                    rate, gradient, step,
                )  # fmt: skip
            else:
                current = confine(kind, current + step * gradient, 1.0)
            made += 1
            steps += 1
            if steps == inner:
                break
            if not backtracking:
                rate, gradient = state_terms(
                    wide, waves, elements, current, digital, power, noise_power, unit, radiated
                )
            if inner == 0 and (abs(rate - previous) < tolerance or steps == MOST_STEPS):
                break
        digital = force(wide, waves, weigh(elements, current)[0], power, radiated)
        rate, gradient = state_terms(
            wide, waves, elements, current, digital, power, noise_power, unit, radiated
        )
        record(history, made, rate)
        if rate > best_rate:
            best, best_digital, best_rate = current, digital, rate
        converged = abs(rate - served) < tolerance
    found = matched(weigh(elements, best)[0], amplitudes)
    return found, best_digital, heaviest * best_rate, made, converged, heaviest * history
