"""General beams of the dual uplink, whatever the objective (csrc/ascent.inc.h, joint.inc.h)."""

from __future__ import annotations

import numpy as np

from .inner_balanced import balanced_terms, initialize_balanced
from .inner_floors import SETTLING, find_dual, floored_terms, leave_uplink, meet_floors
from .objective import MIN_POWER, balances


def dual_terms(gram, share, others, limits, noise_power, sweeps):
    """`balanced_terms` or `floored_terms`, as the objective has it."""
    if balances(limits):
        return balanced_terms(gram, share, limits, noise_power, sweeps)
    return floored_terms(gram, share, others, limits, noise_power, sweeps)


def initialize_dual(gram, limits, noise_power):
    """Settled shares of a start."""
    if balances(limits):
        return initialize_balanced(gram, limits, noise_power)
    share = np.full(len(gram), 1.0 / len(gram))
    none = np.zeros_like(share)
    return floored_terms(gram, share, none, limits, noise_power, SETTLING)[2]


def leave_dual(gram, share, others, limits, noise_power):
    """Psi of settled shares, the rate or the goal, whether minimum rates fit, and the power used.

    Minimum rates are met exactly; the power is the part of P.
    """
    sweeps = 2 * SETTLING if balances(limits) else SETTLING
    rate, _, share, _, fits = dual_terms(gram, share, others, limits, noise_power, sweeps)
    if limits.floored and not balances(limits):
        psi, rate, fits = meet_floors(
            gram, share, limits.power, noise_power, limits.weights, limits.min_rate
        )
        return psi, rate, fits, 1.0
    directions, diagonal, _, beta, _ = find_dual(gram, share, noise_power / limits.power)
    part = np.sum(share) if limits.objective == MIN_POWER else 1.0
    return leave_uplink(directions, diagonal, beta), rate, fits, part
