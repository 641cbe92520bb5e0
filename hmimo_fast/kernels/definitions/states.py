"""Elements with few states: coordinate ascent, which the beams follow (csrc/states.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import SINGULAR, dagger
from .ascent import gather_feeds
from .element import AMPLITUDE, Elements
from .inner_general import FAINT, initialize_general, power_by, wmmse_sweep, wmmse_update
from .objective import SUM_RATE
from .problem import LN2, Limits, is_finite, unit_weights
from .rates import find_links, rate_of

#: Sweeps of the beams at the first states; elements of which the one that promises most moves.
FIRST_SWEEPS, TOGETHER = 8, 8
#: Part of the determinant of S, or less, at which rounding hides what a state promises.
LEAST = 1e-3


def factor_feeds(channel, weights, phase, radiated):
    """C of S = C C^H, (L, L), Y' = C^{-1} G^H, (L, K), and X = Y'^H Y', (K, K)."""
    received, gram = gather_feeds(channel, weights, phase, radiated)
    guard = SINGULAR * np.sum(np.diag(gram).real) / len(gram)
    factor = np.eye(len(gram)) + 0j
    if not guard > 0.0:
        received = received * 0.0
    elif radiated:
        factor = np.linalg.cholesky(gram + guard * factor)
        received = np.ascontiguousarray(np.linalg.solve(factor, received))
    return factor, received, dagger(received) @ received


def links_of(gram, psi, ratio, weights):
    """SINR of Psi, diag(a)^{1/2}, c = ratio sum(a), and (diag(a)^{1/2} X diag(a)^{1/2} + c I)^{-1}.

    Without anything to receive c is 0, and the inverse counts for nothing.
    """
    received, power = power_by(gram, psi)
    if not power > 0.0:
        return np.zeros_like(weights), np.zeros_like(weights), 0.0, gram * 0.0
    _, disturbance, sinr_ = find_links(received, ratio * power)
    heard = (sinr_ > FAINT) & (weights > 0.0)
    half = np.where(heard, np.sqrt(weights * sinr_ / (disturbance * (1.0 + sinr_))), 0.0)
    ridge = ratio * np.sum(half**2)
    if not ridge > 0.0:
        return sinr_, half, 0.0, gram * 0.0
    system = gram * half.reshape(-1, 1) * half + ridge * np.eye(len(half))
    return sinr_, half, ridge, np.linalg.inv(system)


def promise(row, wave, factor, whitened, inverse, half, gain, states, weight, radiated):
    """What each state of an element promises over c / ln 2, (S,), from h, (K,), and Phi_n, (L,).

    Receivers u and weights w of the errors stay, the beams suit the new state: the weighted sum of
    the errors is then c tr(diag(alpha w) E) with the inverse E, in which X changes by a matrix of
    rank two (docs/mathematics.md, "States").
    """
    root_wave = np.linalg.solve(factor, wave.conj())
    size = np.sum(root_wave.real**2 + root_wave.imag**2)  # Phi_n S^{-1} Phi_n^H
    a = half * row
    b = half * (dagger(whitened) @ root_wave)
    to_a, to_b = inverse @ a, inverse @ b
    p11, p22, p21 = (
        np.sum(a.conj() * to_a).real,
        np.sum(b.conj() * to_b).real,
        np.sum(b.conj() * to_a),
    )
    w11 = np.sum(gain * (to_a.real**2 + to_a.imag**2))
    w22 = np.sum(gain * (to_b.real**2 + to_b.imag**2))
    w21 = np.sum(gain * to_b.conj() * to_a)
    det = p11 * p22 - np.abs(p21) ** 2
    bend = size * w11 - (p22 * w11 + p11 * w22 - 2.0 * (p21.conjugate() * w21).real)
    by = states - weight
    moved = by.real**2 + by.imag**2
    more = np.abs(states) ** 2 - np.abs(weight) ** 2 if radiated else 0.0 * moved
    won = moved * bend + 2.0 * (by * w21).real - more * w22
    over = 1.0 + moved * (size * p11 - det) + 2.0 * (by * p21).real + more * (size - p22)
    return np.where(over > LEAST, won / over, 0.0)


def state_ascent(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    movable,
    states,
    radiated,
    tolerance,
    iterations,
    mixed,
):
    """Coordinate ascent over the states of the elements, from those nearest to the amplitudes.

    Of a few elements at a time the one that promises most takes that state, if it promises more
    than ``tolerance`` times the rate, and a WMMSE update of the beams follows.  Ends after
    ``iterations`` passes, or one without a move.  Returns the weighted sum rate that the beams have
    then, and the states' indices, (N,).
    """
    chosen = np.zeros(len(amplitudes), np.int64)
    finite = np.isfinite(np.sum(states.real) + np.sum(states.imag))
    if not finite or not is_finite(channel, phase, amplitudes):
        return np.nan, chosen
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    options, current = states.astype(np.complex128), amplitudes.astype(np.complex128)
    unit, heaviest = unit_weights(weights)
    channels, users, feeds = len(channel), channel.shape[1], phase.shape[2]
    for n in range(len(current)):
        by = options - current[n]
        chosen[n] = np.argmin(by.real**2 + by.imag**2)
        if movable[n] > 0.0:
            current[n] = options[chosen[n]]
    limits = Limits(
        power, noise_power, unit, 0.0 * unit, False, radiated, FIRST_SWEEPS,
        Elements(AMPLITUDE, current, movable.astype(np.float64)), SUM_RATE, 0.0, False,
        np.ones((channels, users)), np.zeros(0),
    )  # fmt: skip
    ratio, total = noise_power / power, 0.0
    factor = np.empty((channels, feeds, feeds), np.complex128)
    whitened = np.empty((channels, feeds, users), np.complex128)
    gram = np.empty((channels, users, users), np.complex128)
    psi, inverse = np.zeros_like(gram), np.zeros_like(gram)
    sinr_, half, ridge = (
        np.zeros((channels, users)),
        np.zeros((channels, users)),
        np.zeros(channels),
    )
    for f in range(channels):
        wave = waves[min(f, len(waves) - 1)]
        factor[f], whitened[f], gram[f] = factor_feeds(wide[f], current, wave, radiated)
        psi[f] = initialize_general(gram[f], psi[f], limits, noise_power, np.ones_like(unit), feeds)
        for _ in range(FIRST_SWEEPS):
            psi[f] = wmmse_sweep(gram[f], psi[f], ratio, unit)
        sinr_[f], half[f], ridge[f], inverse[f] = links_of(gram[f], psi[f], ratio, unit)
        total += rate_of(sinr_[f], unit)
    for _ in range(iterations):
        moved = False
        for at in range(0, len(current), TOGETHER):
            most, element, state = tolerance * total, -1, 0
            for n in range(at, min(at + TOGETHER, len(current))):
                promised = np.zeros(len(options))
                for f in range(channels):
                    promised += ridge[f] / LN2 * promise(
                        wide[f, :, n], waves[min(f, len(waves) - 1), n], factor[f], whitened[f],
                        inverse[f], half[f], unit * (1.0 + sinr_[f]), options, current[n], radiated,
                    )  # fmt: skip
                best = int(np.argmax(promised))
                if movable[n] > 0.0 and promised[best] > most:
                    most, element, state = promised[best], n, best
            if element < 0:
                continue
            chosen[element], current[element], moved, total = state, options[state], True, 0.0
            for f in range(channels):
                wave = waves[min(f, len(waves) - 1)]
                received, spent = power_by(gram[f], psi[f])
                factor[f], whitened[f], gram[f] = factor_feeds(wide[f], current, wave, radiated)
                psi[f] = wmmse_update(gram[f], psi[f], received, spent, ratio, unit)
                sinr_[f], half[f], ridge[f], inverse[f] = links_of(gram[f], psi[f], ratio, unit)
                total += rate_of(sinr_[f], unit)
        if not moved:
            break
    return heaviest * total, chosen
