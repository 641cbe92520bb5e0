"""General beams by WMMSE sweeps (csrc/inner_general.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import dagger
from .inner_zf import places_of, zf_terms
from .problem import LN2
from .rates import find_links, rate_adjoint

#: SINR under which a user is dropped, before its beam becomes denormal.
FAINT = 1e-60
#: Rate over the others' that zero forcing of a part of the users must have, which it drops early.
CROWDED = 2.0
#: Least ridge of a WMMSE update relative to the largest signal: the level of rounding.
REGULAR = 4.0 * np.finfo(np.float64).eps


def match(gram, served):
    """Psi of the matched beams g_k^H / ||g_k|| of those served, (K, K); none for zero channels."""
    psi = np.zeros_like(gram)
    for k in range(len(gram)):
        if gram[k, k].real > 0.0:
            psi[k, k] = served[k] / np.sqrt(gram[k, k].real)
    return psi


def power_by(gram, psi):
    """A = X Psi and the power of V' = G'^H Psi."""
    received = gram @ psi
    return received, np.sum(psi.real * received.real + psi.imag * received.imag)


def wmmse_sweep(gram, psi, ratio, weights):
    """One block-coordinate WMMSE sweep on V' = G'^H Psi; ratio = sigma^2 / P."""
    received, power = power_by(gram, psi)
    return wmmse_update(gram, psi, received, power, ratio, weights)


def wmmse_update(gram, psi, received, power, ratio, weights):
    """The Psi of a WMMSE update, for the receivers u and error weights w at the present beams.

    Psi = (diag(a) X + c I)^{-1} diag(alpha w u), c = ratio sum(a), made Hermitian by
    diag(a)^{1/2} on both sides.  The noise is written as ratio * (power of V), so V
    needs no rescaling (docs/mathematics.md, "WMMSE").
    """
    if not power > 0.0:  # by rounding, where users are parallel
        return psi * power if np.isnan(power) else psi
    amplitude, disturbance, sinr_ = find_links(received, ratio * power)
    total = disturbance * (1.0 + sinr_)
    magnitude = np.where(sinr_ > FAINT, np.abs(amplitude), 0.0)
    root = np.sqrt(weights * (1.0 + sinr_))
    half = np.where(magnitude > 0.0, root * magnitude / total, 0.0)
    ridge = ratio * np.sum(half**2)
    if not ridge > 0.0:
        return psi
    system = gram * half.reshape(-1, 1) * half
    ridge = max(ridge, REGULAR * np.max(np.diag(system).real))
    target = np.zeros_like(gram)
    for k in range(len(half)):
        system[k, k] += ridge
        if magnitude[k] > 0.0:
            target[k, k] = root[k] * amplitude[k] / magnitude[k]
    return half.reshape(-1, 1) * np.linalg.solve(system, target)


def general_terms(gram, psi, power, noise_power, weights, sweeps):
    """Rate at V*(m) by warm-started WMMSE sweeps; Gamma, Lambda of its gradient; Psi."""
    ratio = noise_power / power
    for _ in range(sweeps):
        psi = wmmse_sweep(gram, psi, ratio, weights)
    received = gram @ psi
    spent = np.sum(psi.real * received.real + psi.imag * received.imag)
    if not spent > 0.0:
        return 0.0 * spent, gram * 0.0, gram * 0.0, psi
    rate, adjoint, d_noise = rate_adjoint(received, ratio * spent, weights)
    return (
        rate,
        (2.0 / LN2) * adjoint @ dagger(psi),
        (2.0 / LN2 * ratio * d_noise) * psi @ dagger(psi),
        psi,
    )


def force_first(gram, limits, noise_power, served, feeds):
    """Psi of zero forcing of as many of the users served as it can serve.

    The first in semi-orthogonal order.
    """
    first = places_of(gram, limits.weights * served)[0] < min(len(gram), feeds)
    return zf_terms(gram, limits, noise_power, served * first)[3]


def initialize_general(gram, psi, limits, noise_power, served, feeds):
    """The start of the general stage: the best of Psi as given, matched beams and zero forcing.

    WMMSE cannot revive a beam of zero power, keeps a weak user for long, and nulls interference
    slowly: which start is right depends on the SNR, and two sweeps tell (found here).
    """
    best_rate, best = -1.0, psi
    forced = force_first(gram, limits, noise_power, served, feeds)
    for turn, candidate in enumerate((psi, match(gram, served), forced)):
        rate, _, _, refined = general_terms(
            gram, candidate, limits.power, noise_power, limits.weights, 2
        )
        asked = CROWDED if turn == 2 and np.sum(served) > feeds else 1.0
        if rate > asked * best_rate:
            best_rate, best = rate, refined
    return best
