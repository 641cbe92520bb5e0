"""General beams under minimum rates, by the dual uplink (csrc/inner_floors.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import EPSILON, dagger
from .feeds import find_spent
from .inner_general import power_by
from .inner_zf import fill
from .objective import GEOMETRIC_MEAN, MIN_POWER, find_slopes
from .problem import LN2
from .rates import find_links, rate_of

#: Least share of a user in the dual uplink, from which it can recover; sweeps to convergence.
LEAST_SHARE, SETTLING = 1e-6, 20
#: Up to here SINR / (1 + SINR) is summed; above it is computed as 1 - 1 / (1 + SINR).
SUMMED = 1e-3
#: By how much at least the diagonal of the system of beta is above the rest of its column.
DOMINANT = 1.0 + 512.0 * EPSILON


def find_dual(gram, share, ridge):
    """Beams and SINR of the dual uplink, in which user k sends the share lambda_k of the power.

    With half = diag(lambda)^{1/2} and T = (half X half + ridge)^{-1}, ridge = sigma^2 / P, its
    MMSE receivers have 1 + SINR_k = 1 / (ridge T_kk).  The same beams reach the same SINR in the
    downlink, with Psi = half T diag(beta_k / T_kk)^{1/2}, where beta are the weights whose
    weighted sum rate is stationary at lambda (derived here from uplink-downlink duality).
    Returns half T, its T_kk, SINR, beta and the system that beta solves.
    """
    half = np.sqrt(share)
    signals = gram * half.reshape(-1, 1) * half
    ridge = max(ridge, 4.0 * EPSILON * np.max(np.diag(signals).real))
    inverse = np.linalg.inv(signals + ridge * np.eye(len(gram)))
    diagonal = np.diag(inverse).real.copy()
    system = (inverse.real**2 + inverse.imag**2) * (-ridge / diagonal)
    ratio = np.zeros_like(share)
    for k in range(len(half)):
        part = np.sum((signals[k] * inverse[:, k]).real)  # SINR / (1 + SINR)
        if 1.0 - ridge * diagonal[k] > SUMMED:
            part = 1.0 - ridge * diagonal[k]
        ratio[k] = part / (ridge * diagonal[k])
        # more than the rest of its column, which rounding hides where noise is all but nothing, so
        # that beta is positive; regular with a zero channel too
        rest = np.sum(system[:k, k]) + np.sum(system[k + 1 :, k])
        system[k, k] = max(part, -DOMINANT * rest, 1e-30)
    beta = np.linalg.solve(system, share)
    return half.reshape(-1, 1) * inverse, diagonal, ratio, beta, system


def least_shares(share, ratio, target):
    """The least share with which each user meets its target (Yates' standard function)."""
    least = np.zeros_like(share)
    for k in range(len(share)):
        if target[k] > 0.0:
            least[k] = target[k] * share[k] / ratio[k]
    return least


def leave_uplink(directions, diagonal, beta):
    """Psi that reach the uplink's SINR in the downlink, at the same power (duality)."""
    return directions * np.sqrt(beta / diagonal)


def floored_terms(gram, share, others, limits, noise_power, sweeps):
    """As `zf_terms`, for general V, after ``sweeps`` of a fixed point over the dual shares.

    lambda_k <- max(mu alpha_k lambda_k / beta_k, least_k), sum lambda_k = 1: a WMMSE update in
    the dual uplink where the first is larger, a user held at its minimum rate where the second
    is.  Where the sum of least_k is above 1, lambda <- least / sum, which balances SINR over
    target.  A fixed point meets the minimum rates and is stationary (derived here).  alpha are the
    slopes of the objective in the rates, in which users have ``others`` in other channels.
    """
    target = np.expm1(LN2 * limits.min_rate)
    ones = np.ones_like(share)
    filled = share
    for _ in range(max(sweeps, 1)):
        share = np.maximum(filled, LEAST_SHARE)
        share = share / np.sum(share)
        directions, diagonal, ratio, beta, _ = find_dual(gram, share, noise_power / limits.power)
        least = least_shares(share, ratio, target)
        rates = np.log1p(ratio) / LN2
        slopes = find_slopes(limits, rates + others)
        filled, level = fill(ones, 1.0, 0.0, slopes * share / beta, least)
        if level == -np.inf:  # a zero channel
            break
    pull = slopes
    rate = 0.0 if limits.objective == GEOMETRIC_MEAN else np.sum(slopes * rates)
    if level > 0.0:  # users at their minimum pull with their multipliers
        pull = beta * filled / (share * level)
        rate += np.sum((pull - slopes) * (rates - limits.min_rate))
    elif level < 0.0:
        pull = beta / np.sum(beta * ratio / (1.0 + ratio))
        rate = -np.log2(-level)
    return rate, pull_beams(directions, diagonal, pull), share, rates, level >= 0.0


def pull_beams(directions, diagonal, pull):
    """Psi with Psi Psi^H = Gamma = Lambda of the gradient of sum_k pull_k R_k at these shares."""
    return directions * np.sqrt((2.0 / LN2) * pull / diagonal)


def find_reach(gram, carrier, surface, psi, limits):
    """What beams Y Psi take of the power as the multipliers weigh it, and of the first limit."""
    counted = power_by(gram, psi)[1] / limits.power
    if len(limits.feed_power) == 0:
        return counted, counted
    return counted, np.max(find_spent(carrier @ psi, surface, limits))


def meet_floors(gram, received, carrier, surface, share, louder, noise_power, part, limits):
    """Psi of the shares, powers to be given to it that meet the minimum rates exactly, its rate.

    The least powers that do, scaled up to a limit, still do; a mixture of them with the powers of
    the shares has SINR constraints linear in the mixture, so that the smallest that meets them all
    is known.  Where the least powers exceed a limit, the first is log2 of the worst SINR over
    target.  The noise, and that of the uplink, ``louder``, is over the part of the power, which
    grows where the least powers need more of it, and is theirs if the least power is asked for.
    ``received`` is G^H.  Also returns whether minimum rates fit, and the part.
    """
    target = np.expm1(LN2 * limits.min_rate)
    directions, diagonal, ratio, beta, _ = find_dual(gram, share, louder / limits.power)
    psi = leave_uplink(directions, diagonal, beta)
    counted, first = find_reach(gram, carrier, surface, psi, limits)
    if not counted > 0.0:
        return psi, np.ones(len(share)), -np.inf, False, part
    psi = psi / np.sqrt(max(counted, part * first))
    links = dagger(received) @ (carrier @ psi)
    gains = links.real**2 + links.imag**2
    own = np.diag(gains).copy()
    system = -target.reshape(-1, 1) * gains
    for k in range(len(own)):
        system[k, k] = max(own[k], 1e-300)
    least = np.linalg.solve(system, target * noise_power)
    first = np.inf
    if np.min(least) >= 0.0:
        counted, first = find_reach(gram, carrier, surface, psi * np.sqrt(least), limits)
    if part * first <= 1.0:
        if limits.objective == MIN_POWER or counted > 1.0:
            part, noise_power = part * counted, noise_power / counted
            powers = least / counted
        else:
            mixture, full = 0.0, least / max(counted, part * first)
            for k in range(len(own)):
                margin = np.sum(system[k]) - target[k] * noise_power
                if margin < 0.0:
                    better = np.sum(system[k] * full) - target[k] * noise_power
                    mixture = max(mixture, margin / (margin - better))
            powers = (1.0 - mixture) + mixture * full
        rate = rate_of(find_links(links * np.sqrt(powers), noise_power)[2], limits.weights)
        return psi, powers, rate, True, part
    worst = 0.0
    for k in range(len(own)):
        if target[k] > 0.0:
            worst = min(worst, np.log2(ratio[k] / target[k]))
    return psi, np.ones(len(own)), worst, False, part
