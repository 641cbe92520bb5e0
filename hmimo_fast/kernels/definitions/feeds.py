"""Limits on the power of each feed, besides the total (csrc/feeds.inc.h).

The best beams under several limits are those under a single one, on the weighted sum
sum_i theta_i spent_i, with the multipliers theta of the limits (docs/mathematics.md, "Feed
limits").  What is spent is relative to its limit, the first of which is the total, so that theta
sums to one.  Without limits of the feeds there are no multipliers.
"""

from __future__ import annotations

import numpy as np

from .algebra import SINGULAR, dagger

#: Least multiplier, from which it can recover; exponent of its multiplicative update, and in the
#: dual uplink.
LEAST_MULTIPLIER, REBALANCE, REBALANCE_DUAL = 1e-6, 0.375, 0.75
#: Part of the limits that stays free where minimum rates are to be met at the least power, exactly.
MARGIN = 1e-3
#: Sweeps until the multipliers have converged: warm-started, and from equal ones.
REBALANCINGS, ANEW = 15, 60


def start_multipliers(feeds):
    """Equal ones, (L + 1,)."""
    return np.full(feeds + 1, 1.0 / (feeds + 1))


def whiten_by(received, gram):
    """Y' = C^{-1} G^H and Y = C^{-H} Y', (L, K) each, where the power of V is ||C^H V||^2.

    ``received`` is G^H, ``gram`` C C^H; without any power both are zero.
    """
    guard = SINGULAR * np.sum(np.diag(gram).real) / len(gram)
    if not guard > 0.0:
        return received * 0.0, received * 0.0
    factor = np.linalg.cholesky(gram + guard * np.eye(len(gram)))
    whitened = np.ascontiguousarray(np.linalg.solve(factor, received))
    beams = np.linalg.solve(dagger(factor), whitened)
    return whitened, np.ascontiguousarray(beams)


def whiten_under(received, gram, theta, limits):
    """Y' and Y in the metric weighted by the multipliers, with S of the total power.

    Without limits of the feeds that is S.  Under `digital` power it is diagonal.
    """
    if len(limits.feed_power) == 0:
        return whiten_by(received, gram) if limits.radiated else (received, received)
    costs = theta[1:] * (limits.power / limits.feed_power)
    if limits.radiated:
        return whiten_by(received, theta[0] * gram + np.diag(costs))
    root = np.sqrt(theta[0] + costs).reshape(-1, 1)
    return received / root, received / root**2


def find_spent(beams, gram, limits):
    """What V takes of the power and of the limit of each feed, (L + 1,)."""
    spent = np.empty(len(limits.feed_power) + 1)
    radiating = gram @ beams
    total = np.sum(radiating.real * beams.real + radiating.imag * beams.imag)
    spent[0] = total / limits.power
    spent[1:] = np.sum(beams.real**2 + beams.imag**2, axis=1) / limits.feed_power
    return spent


def at_part(theta, spent, part):
    """The same of beams scaled to a part of the power that the multipliers weigh."""
    counted = np.sum(theta * spent)
    return spent * (part / counted) if counted > 0.0 else np.full_like(spent, part)


def find_excess(spent):
    """The factor by which beams exceed a limit."""
    return max(np.max(spent), 1.0)


def rebalance(theta, spent, power):
    """Multipliers after one multiplicative update: larger where the limit is exceeded."""
    largest = np.max(spent)
    moved = theta * (spent / largest) ** power if largest > 0.0 else 0.0 * theta
    total = np.sum(moved)
    moved = np.maximum(moved / total if total > 0.0 else moved, LEAST_MULTIPLIER)
    return moved / np.sum(moved)
