"""The objectives, with their slopes in the rates (csrc/objective.inc.h).

Rates are summed over the channels.  All objectives are at least 0 where minimum rates are met: the
weighted sum of the rates; their weighted geometric mean; the lowest rate over its weight; log2 of
the power over the least that minimum rates take; the weighted sum over the power used and what else
is consumed (docs/mathematics.md, "Objectives").
"""

from __future__ import annotations

import numpy as np

from .problem import LN2

SUM_RATE, GEOMETRIC_MEAN, MAX_MIN, MIN_POWER, ENERGY_EFFICIENCY = 0, 1, 2, 3, 4

#: Least rate in the mean of logarithms, so that its slope is finite; least part of the power.
LEAST_RATE, LEAST_PART = 1e-6, 1e-9


def balances(limits):
    """Whether rates are balanced towards goals."""
    return limits.objective == MAX_MIN or limits.objective == MIN_POWER


def leaves_out(limits):
    """Whether users may be left out."""
    return limits.objective == SUM_RATE or limits.objective == ENERGY_EFFICIENCY


def find_slopes(limits, rates):
    """The slopes of the objective in the rates, up to a factor common to all channels."""
    if limits.objective == GEOMETRIC_MEAN:
        return limits.weights / np.maximum(rates, LEAST_RATE)
    return limits.weights


def finish_value(limits, total, used, rates, channels):
    """The objective where ``total`` is what its channels gave together, and that factor.

    ``used``: parts of the power, over the channels; ``rates`` (K,) likewise.
    """
    if limits.objective == GEOMETRIC_MEAN:
        weight = np.sum(limits.weights)
        mean = np.exp(np.sum(limits.weights * np.log(np.maximum(rates, LEAST_RATE))) / weight)
        return mean + mean / weight * total, mean / weight
    if limits.objective == MIN_POWER:
        return -np.log2(total / channels), 1.0 / (LN2 * total)
    if limits.objective == ENERGY_EFFICIENCY:
        factor = (1.0 + limits.overhead) / (used + limits.overhead)
        return factor * total, factor
    return total, 1.0


def useful_part(slope, worth):
    """The part of the power whose marginal rate equals its marginal cost.

    By Dinkelbach dR / d log part is the part times the efficiency so far.
    """
    if not worth > 0.0:
        return 1.0
    return max(min(slope / worth, 1.0), LEAST_PART)
