"""Balanced rates by Newton's method in the dual uplink (csrc/inner_balanced.inc.h)."""

from __future__ import annotations

import numpy as np

from .feeds import at_part, find_excess, find_spent
from .inner_floors import (
    SETTLING,
    find_dual,
    floored_terms,
    leave_uplink,
    meet_floors,
    pull_beams,
)
from .inner_zf import fill
from .objective import MAX_MIN, MIN_POWER, balances
from .problem import LN2

#: Relative gap at which rates count as balanced, and that from which Newton's method may fail;
#: longest step of log lambda.
BALANCED, WIDE, LONGEST_STEP = 1e-12, 0.5, 1.0
#: Noises that are tried until beams reach a limit just so; sweeps at each but the first.
LOUDER, RESETTLING = 8, 4
#: Bits of a user in a channel, and part, from which it can recover; least price of a bit; sweeps of
#: what power is worth in each channel.
LEAST_BITS, LEAST_SPLIT, LEAST_PRICE, FITS = 1e-12, 1e-7, 1e-30, 3


def start_shares(gram, noise_power, weights, target, shared):
    """What users would need alone for their targets, or parts of a power of one in that ratio.

    Users who hear nothing send nothing, nor do those without a target and, where rates are
    ``shared``, without a weight.  Returns the shares, and their sum before.
    """
    share = np.zeros_like(weights)
    for k in range(len(gram)):
        gain = gram[k, k].real
        wanted = target[k]
        if shared and not wanted > 0.0 and weights[k] > 0.0:
            wanted = 1.0
        if gain > 0.0:
            share[k] = wanted * noise_power / gain
    alone = np.sum(share)
    if shared and alone > 0.0:
        share = share / alone
    return share, alone


def find_goals(rates, share, beta, weights, floors, power, shared):
    """Goals max(alpha_k t, f_k) of the rates, with t that takes all of the power to first order.

    Without ``shared`` t is 0; floors f_k that alone take more are scaled down together.  Where
    rounding hides what power is worth t is that of the sum of the rates.  Returns the goals, t or
    minus the factor by which the floors exceed the power, and whether it was hidden.
    """
    worth = LN2 * beta  # power for a bit
    budget = power + np.sum(worth * rates) - np.sum(share)
    heard = (share > 0.0).astype(np.float64)
    pull = weights * worth * heard if shared else np.zeros_like(worth)
    goals, level = fill(worth, budget, 0.0, pull, floors * heard)
    weighed = np.sum(weights * heard)
    hidden = shared and level == 0.0 and weighed > 0.0
    if hidden:
        level = np.sum(rates[weights > 0.0]) / weighed
        goals = np.maximum(weights * level, floors) * heard
    return goals, level, hidden


def find_step(rates, goals, share, system):
    """The step of log lambda that brings all rates to their goals to first order; largest gap.

    J step = D gap, where J = d log(1 + SINR) / d log lambda is the transpose of the system of beta
    and D = SINR / (1 + SINR) its diagonal (derived here).  The gap is log(goal / rate) and what is
    linear beside it, which is log of the SINR's ratio to second order.
    """
    own, widest = np.diag(system).copy(), 0.0
    right = np.zeros_like(rates)
    for k in range(len(rates)):
        if goals[k] > 0.0 and rates[k] > 0.0 and share[k] > 0.0:
            linear = (goals[k] - rates[k]) * (LN2 / own[k] - 1.0 / rates[k])
            gap = np.log(goals[k] / rates[k]) + linear
            right[k] = own[k] * gap
            widest = max(widest, abs(gap))
    return np.linalg.solve(np.ascontiguousarray(system.T), right), widest


def find_slow_step(rates, goals, share):
    """log(goal / rate), which under a power that is kept always leads to the goals, but slowly.

    lambda_k / rate_k grows with all shares and is concave in them (Nuzman, IEEE J. Sel. Areas
    Commun. 25, 2007).
    """
    step = np.zeros_like(rates)
    for k in range(len(rates)):
        if goals[k] > 0.0 and rates[k] > 0.0 and share[k] > 0.0:
            step[k] = np.log(goals[k] / rates[k])
    return step


def grown(step):
    """exp(step) to second order, the step clipped to the longest."""
    cut = np.minimum(np.maximum(step, -LONGEST_STEP), LONGEST_STEP)
    return (2.0 + cut) / (2.0 - cut)


def take_step(share, step, spent, power):
    """Shares after a step, whose mean (the total power) and remainder are clipped separately.

    Where all of the power is ``spent`` they keep their sum.
    """
    total = np.sum(share)
    mean = np.sum(share * step) / total if total > 0.0 else 0.0
    share = share * grown(mean) * grown(step - mean)
    total = np.sum(share)
    return share * (power / total) if total > 0.0 and (spent or total > power) else share


def balance(gram, share, noise_power, weights, floors, sweeps, shared, power):
    """The dual uplink after sweeps of Newton's method over the shares.

    The rates go to max(alpha_k t, f_k) at this power if ``shared``, or to f_k at the least power up
    to it.  Slow steps follow where a wide gap has grown, as with copies of users at high SNR,
    until it is narrow.  Returns the shares, half T and T_kk as `find_dual`, beta, the rates, their
    goals, t (0, or minus the excess of the floors), and the largest gap that is left.
    """
    sweep, last, slow = 0, np.inf, False
    while True:
        directions, diagonal, ratio, beta, system = find_dual(gram, share, noise_power)
        rates = np.log1p(ratio) / LN2
        goals, level, hidden = find_goals(rates, share, beta, weights, floors, power, shared)
        step, gap = find_step(rates, goals, share, system)
        slow = hidden or (gap > WIDE and (slow or gap > last))
        if slow:
            step = find_slow_step(rates, goals, share)
        last = gap
        sweep += 1
        if sweep >= sweeps or not gap > BALANCED:
            return share, directions, diagonal, beta, rates, goals, level, gap
        share = take_step(share, step, shared or level < 0.0, power)


def balanced_terms(gram, share, limits, noise_power, sweeps):
    """As `floored_terms`, of the balanced rates: t, or the least power.

    The slope of either in a rate is its worth: what the dual uplink pays for a bit, returned last.
    """
    shared = limits.objective == MAX_MIN
    share, directions, diagonal, beta, rates, goals, level, _ = balance(
        gram,
        share,
        noise_power / limits.power,
        limits.weights * limits.split[0],
        limits.min_rate,
        sweeps,
        shared,
        1.0,
    )
    worth, fits = LN2 * beta, level >= 0.0
    if not fits:
        value, by = -np.log2(-level), 1.0 / (LN2 * np.sum(worth * rates))
    elif shared:
        above = goals > limits.min_rate
        value, by = level, 1.0 / np.sum(limits.weights * limits.split[0] * worth * above)
    else:
        value, by = np.sum(share) + np.sum(worth * (goals - rates)), 1.0
    return value, pull_beams(directions, diagonal, by * worth), share, rates, fits, worth


def initialize_balanced(gram, limits, noise_power):
    """Shares of balanced rates, from what users would need alone."""
    shared, ratio = limits.objective == MAX_MIN, noise_power / limits.power
    target = np.expm1(LN2 * limits.min_rate)
    share, _ = start_shares(gram, ratio, limits.weights, target, shared)
    if np.sum(share) > 1.0:
        share = share / np.sum(share)
    weights = limits.weights * limits.split[0]
    return balance(gram, share, ratio, weights, limits.min_rate, SETTLING, shared, 1.0)[0]


def dual_terms(gram, share, others, limits, noise_power, sweeps):
    """`balanced_terms` or `floored_terms`, which has no prices, as the objective has it."""
    if balances(limits):
        return balanced_terms(gram, share, limits, noise_power, sweeps)
    rate, gamma, share, rates, fits = floored_terms(
        gram, share, others, limits, noise_power, sweeps
    )
    return rate, gamma, share, rates, fits, np.zeros_like(rates)


def initialize_dual(gram, limits, noise_power):
    """Settled shares of a start."""
    if balances(limits):
        return initialize_balanced(gram, limits, noise_power)
    share = np.full(len(gram), 1.0 / len(gram))
    none = np.zeros_like(share)
    return floored_terms(gram, share, none, limits, noise_power, SETTLING)[2]


def move_parts(weights, rates, prices):
    """Smaller parts (F, K) in the channels where a bit costs a user more, and values (F,).

    ``prices`` are in the power of each channel, of a worth that makes them alike
    (docs/mathematics.md, "Several channels").  The values are of what the channels balance, in sum
    one.
    """
    rates, prices = np.maximum(rates, LEAST_BITS), np.maximum(prices, LEAST_PRICE)
    bits = np.sum(rates, axis=0)
    mean = np.sum(rates * prices, axis=0) / bits
    value = np.ones(len(rates))
    for _ in range(FITS):
        value = np.sum(rates * mean, axis=1) / np.sum(rates * prices, axis=1)
        mean = np.sum(value.reshape(-1, 1) * rates * prices, axis=0) / bits
    cheaper = np.log(mean / (value.reshape(-1, 1) * prices))
    split = rates * grown(cheaper / (1.0 + LN2 * rates))
    split = np.maximum(split / np.sum(split, axis=0), LEAST_SPLIT)
    value = value * np.sum(weights * split * prices, axis=1)
    return split, value / np.sum(value)


def leave_dual(gram, received, carrier, surface, theta, share, others, limits, noise_power, part):
    """Psi of settled shares, powers to be given to it so that it meets minimum rates exactly.

    Then the rate or the goal, whether minimum rates fit, and the power used; that is the part of P,
    by which the noise is divided.  Under
    limits of the feeds the shares settle at the noise that makes up for the first limit that their
    beams exceed.
    """
    limited, louder = len(limits.feed_power) > 0, noise_power
    for i in range(LOUDER if limited and limits.objective != MIN_POWER else 1):
        sweeps = SETTLING if i == 0 else RESETTLING
        if balances(limits):
            sweeps = 2 * SETTLING
        rate, _, share, _, fits, _ = dual_terms(gram, share, others, limits, louder, sweeps)
        directions, diagonal, _, beta, _ = find_dual(gram, share, louder / limits.power)
        psi = leave_uplink(directions, diagonal, beta)
        used = louder
        if limited:
            spent = at_part(theta, find_spent(carrier @ psi, surface, limits), part)
            louder = noise_power * find_excess(spent)
    if limits.floored and (limited or not balances(limits)):
        return meet_floors(gram, received, carrier, surface, share, used, noise_power, part, limits)
    part = np.sum(share) if limits.objective == MIN_POWER else part
    return psi, np.ones(len(share)), rate, fits, part
