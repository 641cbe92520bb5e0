"""The order of users, and amplitudes fitted to their channels (csrc/start.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import dagger
from .ascent import whiten
from .element import AMPLITUDE, GIVEN, Elements, least_weight, state_of, weigh
from .inner_zf import places_of, restrict_gram
from .passes import find_channel_gram, pull_back

#: Rounds of the least-squares fit from which every candidate begins; one is enough for amplitudes
#: of several candidates under `digital` power.
FITTINGS = 3


#: Rounds of alternating weights and matched beam of a user alone.
MATCHINGS = 2
#: Regularisation of the Gram matrix, relative to a user's gain, for dependent channels.
ALIKE = 1e-8


def find_metrics(channel, served):
    """(H H^H)^{-1} of the users served in every channel, (F, K, K), zero for the others."""
    metrics = np.empty((len(channel), channel.shape[1], channel.shape[1]), np.complex128)
    for f in range(len(channel)):
        whole = restrict_gram(find_channel_gram(channel[f]), served)
        for k in range(len(whole)):
            gain = whole[k, k].real
            whole[k, k] = gain * (1.0 + ALIKE) if gain > 0.0 else 1.0
        metrics[f] = np.linalg.inv(whole) * (served.reshape(-1, 1) * served)
    return metrics


def find_solo_gains(channel, phase, start, kind):
    """What each user alone would receive under `digital` power, over all channels, (K,).

    By alternating the best weights for a beam and the matched beam for them, from ``start``.
    """
    gain = np.zeros(channel.shape[1])
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        effective = (channel[f] * start) @ waves
        for _ in range(MATCHINGS):
            fields = effective.conj() @ np.ascontiguousarray(waves.T)
            own = channel[f] * fields
            helps = (own.real > 0.0) + 0j
            if kind != AMPLITUDE:
                helps = least_weight(kind, 0.0, own.conj(), helps)
            effective = (channel[f] * helps) @ waves
        gain += np.sum(effective.real**2 + effective.imag**2, axis=1)
    return gain


def order_users(channel, phase, weights, radiated, kind):
    """`places_of` H H^H, summed over the channels.

    Under `digital` power, where the gain over the air says little of what the
    surface can give, the users are scaled to what each would receive alone.
    """
    gram = np.zeros((channel.shape[1], channel.shape[1]), np.complex128)
    for f in range(len(channel)):
        gram += find_channel_gram(channel[f])
    if not radiated and kind != GIVEN:
        own = np.diag(gram).real
        ones = np.ones(channel.shape[2])
        start = ones + 0j if kind == AMPLITUDE else weigh(Elements(kind, ones + 0j, ones), ones)[0]
        solo = np.sqrt(find_solo_gains(channel, phase, start, kind) / np.where(own > 0.0, own, 1.0))
        gram = gram * (solo.reshape(-1, 1) * solo)
    return places_of(gram, weights)


def fit(channel, phase, state, metrics, elements, rounds):
    """Elements whose beams span the users' channels best, from a start.

    Amplitudes move half of the way there, states on circles all of it.

    Alternating least squares of H^H - diag(q) Phi C over C and q, in the metric (H H^H)^{-1}
    in which all users count alike (found here: all-on starts end lower).  The start is kept where
    all channels are zero.
    """
    found = state
    for _ in range(rounds):
        share, size = np.zeros(len(found), np.complex128), np.zeros(len(found))
        current = weigh(elements, found)[0]
        for f in range(len(channel)):
            waves = phase[min(f, len(phase) - 1)]
            beams = whiten(channel[f], current, waves, True)[1]
            weighted = beams @ metrics[f]
            share += pull_back(channel[f], waves, dagger(weighted))
            fields = waves @ beams
            loads = waves @ weighted
            size += np.sum(fields.real * loads.real + fields.imag * loads.imag, axis=1)
        if elements.kind != AMPLITUDE:
            if not np.max(size) > 0.0:
                return state
            found = state_of(elements.kind, least_weight(elements.kind, size, share, current))
            continue
        found = np.zeros(len(state))
        for n in range(len(found)):
            if size[n] > 0.0 and share[n].real > 0.0:
                found[n] = share[n].real / size[n]
        if not np.max(found) > 0.0:
            return state
        found = found / np.max(found)
    if elements.kind == AMPLITUDE:
        found = 0.5 * state + 0.5 * found
    return np.where(elements.movable > 0.0, found, state)
