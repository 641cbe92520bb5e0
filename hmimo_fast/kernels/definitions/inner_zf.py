"""Zero forcing with water-filled powers (csrc/inner_zf.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import SINGULAR, pseudo_invert
from .objective import MIN_POWER, leaves_out
from .problem import LN2
from .rates import rate_of

#: Factor on an SINR that puts it out of reach.
OUT_OF_REACH = 1e30
#: Squared residual, over its gain, of a user who is a copy of others.
COPY = 64.0 * np.finfo(np.float64).eps


def fill(cost, power, noise_power, weights, floor):
    """Received powers over the floors f_k, and mu, or minus the factor by which they exceed it."""
    spent = np.where(floor > 0.0, floor * cost, 0.0)
    needed = np.sum(spent)
    if not needed <= power:
        return floor * (power / needed), -needed / power
    breakpoint_ = np.full_like(cost, np.inf)
    for k in range(len(cost)):
        if weights[k] > 0.0:
            breakpoint_[k] = (floor[k] + noise_power) * cost[k] / weights[k]
    order = np.argsort(breakpoint_)
    received = floor.copy()
    budget, slope = power - needed, 0.0
    for i in range(len(cost)):
        k = order[i]
        if not (breakpoint_[k] * slope < budget and breakpoint_[k] < np.inf):
            break
        budget += spent[k] + noise_power * cost[k]
        slope += weights[k]
    level = budget / slope if slope > 0.0 else 0.0
    for k in range(len(cost)):
        if slope > 0.0 and breakpoint_[k] * slope < budget:
            received[k] = max(received[k], weights[k] * level / cost[k] - noise_power)
    return received, level


def restrict_gram(gram, served):
    """X with a unit in place of every user that is not served."""
    both = served.reshape(-1, 1) * served
    return gram * both + np.diag(1.0 - served)


def zf_terms(gram, limits, noise_power, served):
    """ZF rate with water-filled powers; Gamma, Lambda of its gradient; Psi; whether it has floors.

    A singular X has no such gradient and gives -inf.  Where the minimum rates do not fit the
    power, the first is -log2 of the factor by which they exceed it, so that ascent makes them fit.
    """
    power, weights, min_rate = limits.power, limits.weights * served, limits.min_rate
    gram = restrict_gram(gram, served)
    inverse, rank = pseudo_invert(gram, SINGULAR)
    if rank < len(gram):
        return -np.inf, gram, gram, gram * 0.0, False
    cost = np.diag(inverse).real.copy()
    target = np.expm1(LN2 * min_rate)
    if not leaves_out(limits):  # far too high, so that the SINR of all are balanced
        if limits.objective != MIN_POWER:
            target = np.ones_like(target)
        target = OUT_OF_REACH * served * target
    received, level = fill(cost, power, noise_power, weights, target * noise_power)
    fits = level >= 0.0
    rate = rate_of(received / noise_power, weights) if fits else -np.log2(-level)
    gamma = inverse * 0.0
    if level != 0.0:
        gamma = (2.0 / LN2 / (level if fits else power)) * (inverse * received) @ inverse
    return rate, gamma, gamma, inverse * np.sqrt(received), fits


def places_of(gram, weights):
    """The place of every user in semi-orthogonal order, and what is left of its gain there.

    Copies of others have places from K on, and nothing left.

    The largest weighted gain after projecting out those before: pivoted Cholesky of X.
    """
    gram, gain = gram.copy(), np.diag(gram).real.copy()
    place = np.full(len(gain), -1)
    for turn in range(len(gain)):
        left = np.where(place < 0, np.maximum(np.diag(gram).real, 0.0) * weights, -1.0)
        first = np.argmax(left)
        pivot = gram[first, first].real
        if not pivot > COPY * gain[first]:
            place[first], gain[first] = len(gain) + turn, 0.0
            continue
        place[first], gain[first] = turn, pivot
        row = gram[first].copy()
        gram -= row.conj().reshape(-1, 1) * row / pivot
    return place, gain
