"""Paper A's baselines: beams, then coordinate descent, in turn (csrc/descent.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import SINGULAR, dagger, pseudo_invert
from .ascent import gather_feeds, record, whiten_within
from .element import AMPLITUDE, Elements, least_weight, matched, state_of, weigh
from .feeds import REBALANCE, at_part, find_excess, find_spent, rebalance, start_multipliers
from .inner_general import force_first, match, power_by, wmmse_update
from .inner_zf import zf_terms
from .joint import scale_beams
from .objective import SUM_RATE
from .problem import Limits, is_finite, room, unit_weights, unsolved
from .rates import find_links, rate_of


def quadratic(received, noise, weights):
    """a and c of the quadratic sum_k a_k (D_k + |A_kk|^2) - 2 Re sum_k c_k A_kk to minimise.

    a = alpha w |u|^2 and c = alpha w conj(u) of WMMSE are a = alpha |y|^2 and
    c = alpha (1 + SINR)^{1/2} conj(y) of fractional programming (docs/mathematics.md).
    """
    amplitude, disturbance, ratio = find_links(received, noise)
    total = disturbance * (1.0 + ratio)
    gain = weights * (1.0 + ratio)
    return gain * np.abs(amplitude / total) ** 2, gain * amplitude.conj() / total


def descend(channel, fields, elements, weights, received, curvature, target, ridge):
    """One sweep of exact coordinate descent on q, in place, A updated in place.

    With Z = Phi V, dA_kj = H_kn Z_nj dq_n, so that each q_n has the quadratic of
    `quadratic` with slope and curvature below; ``ridge`` is sigma^2 / P sum(a) under
    `radiated` power, whose noise grows with sum_n |q_n|^2 |Z_n|^2, and 0 under `digital`.
    """
    kind, _, movable = elements
    for n in range(len(weights)):
        slope, bend = 0.0 + 0.0j, 0.0
        for f in range(len(channel)):
            row, field = channel[f, :, n], fields[f, n]
            size = np.sum(field.real**2 + field.imag**2)
            mixed = received[f] @ field.conj()
            slope += np.sum(curvature[f] * row.conj() * mixed)
            slope -= np.sum((target[f] * row * field).conj())
            slope += ridge[f] * size * weights[n]
            bend += size * (np.sum(curvature[f] * (row.real**2 + row.imag**2)) + ridge[f])
        if not bend > 0.0 or movable[n] == 0.0:
            continue
        if kind == AMPLITUDE:
            moved = min(max(weights[n].real - slope.real / bend, 0.0), 1.0) + 0j
        else:
            pull = bend * weights[n : n + 1] - slope
            moved = least_weight(kind, bend, pull, weights[n : n + 1])[0]
        change = moved - weights[n]
        weights[n] = moved
        for f in range(len(channel)):
            row, field = channel[f, :, n], fields[f, n]
            for k in range(len(row)):
                received[f, k] += change * row[k] * field


def coordinate_descent(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    movable,
    feed_power,
    radiated,
    zero_forced,
    tolerance,
    iterations,
    element,
):
    """Beams, then one sweep of coordinate descent on q, in turn: [A]'s two baselines.

    Beams by a WMMSE update, from matched ones ([A] WMMSE-HBF; monotone), or by
    water-filled zero forcing (ZF-HBF; not monotone, so the best iterate is kept).  Stops
    when the rate changes by less than ``tolerance``.  Returns as `variable_projection`;
    ``history`` holds the rate after each update of the beams.
    """
    history = room(iterations)
    if not is_finite(channel, phase, amplitudes):
        return unsolved(channel, phase, amplitudes, history)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    current = amplitudes.astype(np.complex128)
    elements = Elements(element, current, movable.astype(np.float64))
    if element != AMPLITUDE:
        current = weigh(elements, state_of(element, current))[0]
    unit, heaviest = unit_weights(weights)
    everybody = np.ones_like(unit)
    limited = bool(np.any(feed_power < np.inf))
    limits = Limits(
        power, noise_power, unit, 0.0 * unit, False, radiated, 0, elements, SUM_RATE, 0.0, False,
        np.ones((len(channel), len(unit))),
        feed_power[: len(feed_power) if limited else 0],
    )  # fmt: skip
    ratio = noise_power / power
    users, feeds, channels = channel.shape[1], phase.shape[2], len(channel)
    psi = np.zeros((channels, users, users), np.complex128)
    received, spent = np.zeros_like(psi), np.zeros(channels)
    curvature, target = np.zeros((channels, users)), np.zeros((channels, users), np.complex128)
    ridge = np.zeros(channels)
    fields = np.zeros((channels, len(current), users), np.complex128)
    beams = np.zeros((channels, feeds, users), np.complex128)
    theta = np.zeros((channels, feeds + 1))
    theta[:] = start_multipliers(feeds)
    for f in range(channels):
        wave = waves[min(f, len(waves) - 1)]
        whitened = whiten_within(wide[f], current, wave, theta[f], limits)[0]
        gram = dagger(whitened) @ whitened
        psi[f] = match(gram, everybody)
        received[f], spent[f] = power_by(gram, psi[f])
    best, best_beams, best_rate = current.copy(), beams.copy(), -np.inf
    made, converged, previous = 0, False, 0.0
    for i in range(iterations + 1):
        rate = 0.0
        for f in range(channels):
            wave, excess = waves[min(f, len(waves) - 1)], 1.0
            whitened, carrier = whiten_within(wide[f], current, wave, theta[f], limits)
            gram = dagger(whitened) @ whitened
            if zero_forced:
                heard = (np.diag(gram).real > 0.0).astype(np.float64)
                zf_rate, _, _, psi[f], _ = zf_terms(gram, limits, noise_power, heard)
                if not zf_rate > 0.0:
                    psi[f] = pseudo_invert(gram, SINGULAR)[0]
            else:
                psi[f] = wmmse_update(gram, psi[f], received[f], spent[f], ratio, unit)
            received[f], spent[f] = power_by(gram, psi[f])
            if not (zero_forced or spent[f] > 0.0):  # more users than G has dimensions
                psi[f] = force_first(gram, limits, noise_power, everybody, feeds)
                received[f], spent[f] = power_by(gram, psi[f])
            beams[f] = carrier @ psi[f]
            fields[f] = wave @ beams[f]
            if limited:
                parts = find_spent(
                    beams[f], gather_feeds(wide[f], current, wave, radiated)[1], limits
                )
                excess = find_excess(at_part(theta[f], parts, 1.0))
            if spent[f] > 0.0:
                rate += rate_of(find_links(received[f], ratio * excess * spent[f])[2], unit)
        record(history, i, rate)
        made = i
        if rate > best_rate:
            best, best_beams, best_rate = current.copy(), beams.copy(), rate
        converged = i > 0 and abs(rate - previous) < tolerance
        if converged or i == iterations:
            break
        previous = rate
        for f in range(channels):
            if spent[f] > 0.0:
                noise = ratio * spent[f]
                curvature[f], target[f] = quadratic(received[f], noise, unit)
                ridge[f] = ratio * np.sum(curvature[f]) if radiated else 0.0
                if limited:
                    ridge[f] *= theta[f, 0]
        descend(wide, fields, elements, current, received, curvature, target, ridge)
        for f in range(channels):
            if limited:
                wave = waves[min(f, len(waves) - 1)]
                parts = find_spent(
                    beams[f], gather_feeds(wide[f], current, wave, radiated)[1], limits
                )
                theta[f] = rebalance(theta[f], parts, REBALANCE)
                spent[f] = power * np.sum(theta[f] * parts)
            elif radiated:
                size = fields[f].real ** 2 + fields[f].imag ** 2
                spent[f] = np.sum(np.abs(current) ** 2 * np.sum(size, axis=1))
    digital, rate = scale_beams(wide, waves, best, best_beams, limits, np.ones(channels))
    return matched(best, amplitudes), digital, heaviest * rate, made, converged, heaviest * history
