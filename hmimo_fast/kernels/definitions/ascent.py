"""Projected ascent on the amplitudes, beams eliminated (csrc/ascent.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import EPSILON, dagger, double
from .element import AMPLITUDE, weigh
from .feeds import (
    MARGIN,
    REBALANCE,
    REBALANCE_DUAL,
    REBALANCINGS,
    at_part,
    find_excess,
    find_spent,
    rebalance,
    whiten_by,
    whiten_under,
)
from .inner_balanced import dual_terms, move_parts
from .inner_general import general_terms
from .inner_zf import zf_terms
from .objective import ENERGY_EFFICIENCY, MAX_MIN, MIN_POWER, finish_value, useful_part
from .passes import pull_back
from .problem import in_channel, with_split

#: Rates in the window of the nonmonotone line search; steps that the quasi-Newton memory holds.
RECENT, MEMORY = 5, 1
#: Regularisation: this part of the mean curvature is added to that of each element.
LEAST_BEND = 0.05
#: Length of the first step, in the element with the largest gradient.
FIRST_MOVE = 0.2
#: Upper bound of amplitudes during an ascent under `radiated` power, where its scale is free.
HEADROOM = 10.0
#: Shortest step of a line search.
SHORTEST = 1e-6
#: Sweeps until parts of the power, or of balanced rates, have converged.
PARTS = 8


#: Rows appended to every Psi, counted from the end, and their number.
WORTH, PART, RATES, SHARE, MULTIPLIERS, POWERS = -1, -2, -3, -4, -5, -6
SPLIT, VALUE, PRICES, FOLLOWING = -7, -8, -9, 9


def whiten(channel, weights, phase, radiated):
    """Y' = G'^H and Y with V = Y Psi: (L, K) each, Y = C^{-H} Y'."""
    received, gram = gather_feeds(channel, weights, phase, radiated)
    return whiten_by(received, gram) if radiated else (received, received)


def gather_feeds(channel, weights, phase, radiated):
    """G^H, (L, K), and S of the power ||V||^2 or ||diag(q) Phi V||^2, (L, L)."""
    surface = (weights.reshape(-1, 1) * phase).astype(phase.dtype)
    received = dagger(double(channel @ surface))
    if not radiated:
        return received, np.eye(phase.shape[1]) + 0j
    surface = double(surface)
    return received, dagger(surface) @ surface


def multipliers_of(psi, feeds):
    """The multipliers under the Psi of a channel, (L + 1,)."""
    return psi[MULTIPLIERS, : feeds + 1].real.copy()


def whiten_within(channel, weights, phase, theta, limits):
    """`whiten` under the limits of a problem, with their multipliers where feeds have some."""
    received, gram = gather_feeds(channel, weights, phase, limits.radiated)
    return whiten_under(received, gram, theta, limits)


def splits(limits, channels, feeds):
    """Whether the channels' parts of balanced rates move as the amplitudes do.

    With more users than feeds they decide who is served where, too early for that; so they do
    under `digital` power where weights differ much.
    """
    free = limits.radiated and len(limits.feed_power) == 0
    return free and channels > 1 and len(limits.weights) <= feeds and limits.objective == MAX_MIN


def as_split(limits, psi, feeds):
    """The limits with the parts that stand in Psi, where they move."""
    split = limits.split.copy()
    if splits(limits, len(psi), feeds):
        split[:] = psi[:, SPLIT, : len(limits.weights)].real
    return with_split(limits, split, limits.min_rate)


def grams(channel, phase, weights, psi, limits):
    """X = G' G'^H of every channel, (F, K, K)."""
    users = channel.shape[1]
    gram = np.empty((len(channel), users, users), np.complex128)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        whitened = whiten_within(
            channel[f], weights, waves, multipliers_of(psi[f], phase.shape[2]), limits
        )[0]
        gram[f] = dagger(whitened) @ whitened
    return gram


def evaluate(stage, channel, phase, state, psi, limits, noise_power, served, anew=False):
    """The objective over all F channels, its gradient, the inner variables, and the curvature.

    The gradient is in the states, the curvature that of the radiated power in each element, (N,).

    dR = Re conj(q'_n) (sum_k conj(H_kn) [Gamma Y^H]_kl conj(Phi_nl) - q_n Phi_n [Y Lambda Y^H]
    Phi_n^H),
    by the envelope theorem, for zero forcing (stage 0) and general V (stage 1) alike
    (docs/mathematics.md).  ``psi`` (F, K + FOLLOWING, K) holds the inner variables: Psi or, in rows
    of their own, the shares and the rates of the dual uplink, the part of the power that is used,
    and the bits that it gives.  The parts are iterated ``anew``, or warm-started.  As long as
    minimum rates do not fit in every channel, the value is the sum over those where they do not.
    """
    total, fit, used = 0.0, True, 0.0
    saves, limited = limits.objective == ENERGY_EFFICIENCY, len(limits.feed_power) > 0
    once = 2 if limits.dual else 1  # the dual uplink moves its shares between sweeps
    sweeps = 0 if saves else min(limits.sweeps, once) if limited else limits.sweeps
    rounds = 0
    if saves:
        rounds = PARTS if anew else limits.sweeps - limited
    elif limited and stage == 1:
        rounds = REBALANCINGS if anew and limits.dual else limits.sweeps - once
    weights, slopes = weigh(limits.elements, state)
    gradient, bend = np.zeros(channel.shape[2]), np.zeros(channel.shape[2])
    best, limits = psi.copy(), as_split(limits, psi, phase.shape[2])
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        received, surface = gather_feeds(channel[f], weights, waves, limits.radiated)
        settle(stage, received, surface, best, f, limits, noise_power, served, rounds, anew)
        whitened, beams = whiten_under(
            received, surface, multipliers_of(best[f], phase.shape[2]), limits
        )
        gram = dagger(whitened) @ whitened
        rate, gamma, lambda_, fits = channel_terms(
            stage, gram, best, f, limits, noise_power, served, sweeps
        )
        part = best[f, PART, 0].real
        if limited:
            rate, gamma, lambda_, fits, part = limited_terms(
                stage, gram, beams, surface, rate, fits, best, f, limits, noise_power,
                served,
            )  # fmt: skip
        if splits(limits, len(channel), phase.shape[2]):
            value = best[f, VALUE, 0].real
            rate, gamma, lambda_ = value * rate, value * gamma, value * lambda_
        if fit and not fits:
            total, fit = 0.0, False
            gradient[:] = 0.0
            bend[:] = 0.0
        used += part
        if fits and not fit:
            continue
        total += rate
        gradient += (slopes.conj() * pull_back(channel[f], waves, gamma @ dagger(beams))).real
        if limits.radiated:
            loss = double(waves) @ (beams @ lambda_ @ dagger(beams))
            fields = double(waves)
            own = np.sum(loss.real * fields.real + loss.imag * fields.imag, axis=1)
            gradient -= (slopes.conj() * weights).real * own
            bend += own
    if splits(limits, len(channel), phase.shape[2]) and stage == 1:
        own, prices = best[:, RATES, : channel.shape[1]], best[:, PRICES, : channel.shape[1]]
        split, values = move_parts(limits.weights, own.real, prices.real)
        best[:, SPLIT, : channel.shape[1]], best[:, VALUE, 0] = split, values
    rates = np.sum(best[:, RATES, : channel.shape[1]].real, axis=0)
    value, factor = finish_value(limits, total, used, rates, len(channel))
    best[0, WORTH, 0] = total / (used + limits.overhead)
    if not fit:
        return total, gradient, best, bend
    return value, factor * gradient, best, factor * bend


def channel_terms(stage, gram, psi, f, limits, noise_power, served, sweeps):
    """What channel f contributes to the objective; updates its inner variables in place.

    Returns it, Gamma and Lambda of its gradient, and whether its minimum rates fit.
    """
    users = len(gram)
    limits = in_channel(limits, f)
    noise = noise_power
    if limits.objective == ENERGY_EFFICIENCY:
        noise = noise_power / psi[f, PART, 0].real
    if stage == 0:
        rate, gamma, lambda_, found, fits = zf_terms(gram, limits, noise, served)
        psi[f, :users, :users] = found
        return rate, gamma, lambda_, fits
    if limits.dual:
        others = np.sum(psi[:, RATES, :users].real, axis=0) - psi[f, RATES, :users].real
        rate, pulled, share, rates, fits, prices = dual_terms(
            gram, psi[f, SHARE, :users].real.copy(), others, limits, noise, sweeps
        )
        psi[f, SHARE, :users], psi[f, RATES, :users] = share, rates
        psi[f, PRICES, :users] = prices
        psi[f, :users, :users] = pulled
        gamma = pulled @ dagger(pulled)
        return rate, gamma, gamma, fits
    rate, gamma, lambda_, found = general_terms(
        gram,
        np.ascontiguousarray(psi[f, :users, :users]),
        limits.power,
        noise,
        limits.weights,
        sweeps,
    )
    psi[f, :users, :users] = found
    return rate, gamma, lambda_, True


def settle(stage, received, surface, psi, f, limits, noise_power, served, sweeps, anew):
    """Sweeps of the beams of channel f, with G^H and S; what follows them moves after each.

    That is the part of the power that is useful, and the multipliers of the limits, in place.
    Found ``anew``, or in an only channel, power is worth what it is there.  Under minimum rates, at
    which the price of power jumps, the part moves half of the way, and to what they need.
    """
    saves, limited = limits.objective == ENERGY_EFFICIENCY, len(limits.feed_power) > 0
    theta, once = multipliers_of(psi[f], len(surface)), 2 if limits.dual else 1
    for _ in range(sweeps):
        whitened, beams = whiten_under(received, surface, theta, limits)
        gram = dagger(whitened) @ whitened
        rate, _, lambda_, fits = channel_terms(
            stage, gram, psi, f, limits, noise_power, served, once
        )
        slope, used = 0.5 * np.sum((gram * lambda_.T).real), psi[f, PART, 0].real
        if limited:
            spent = spent_by(beams, surface, theta, psi[f], rate, fits, limits)
            slope, used = theta[0] * slope, spent[0]
            theta = aim_multipliers(psi[f], theta, spent, fits, limits)
        if saves:
            if anew or len(psi) == 1:
                psi[0, WORTH, 0] = rate / (used + limits.overhead / len(psi))
            part, useful = psi[f, PART, 0].real, useful_part(slope, psi[0, WORTH, 0].real)
            if not fits:
                useful = min(part * 2.0**-rate, 1.0)
            psi[f, PART, 0] = np.sqrt(part * useful) if limits.floored else useful


def spent_by(beams, surface, theta, psi, rate, fits, limits):
    """`find_spent` of the beams Y Psi at the power that they have; the least itself is ``rate``."""
    users, part = beams.shape[1], psi[PART, 0].real
    if limits.objective == MIN_POWER and fits:
        part = rate
    digital = beams @ np.ascontiguousarray(psi[:users, :users])
    return at_part(theta, find_spent(digital, surface, limits), part)


def aim_multipliers(psi, theta, spent, fits, limits):
    """The multipliers that follow in a channel; power that may be saved always counts."""
    aim = spent.copy()
    if limits.objective == MIN_POWER:
        aim[1:] *= 1.0 + MARGIN
    if fits and (limits.objective == MIN_POWER or limits.objective == ENERGY_EFFICIENCY):
        aim[0] = max(aim[0], 1.0)
    moved = rebalance(theta, aim, REBALANCE_DUAL if limits.dual else REBALANCE)
    psi[MULTIPLIERS, : len(theta)] = moved
    return moved


def limited_terms(stage, gram, beams, surface, rate, fits, psi, f, limits, noise_power, served):
    """As `channel_terms`, under the limits of the feeds, after those; also the power used.

    Where the beams exceed a limit they count at as much more noise.  The least power itself has the
    slopes of what the multipliers weigh over that of the power.
    """
    theta = multipliers_of(psi[f], len(surface))
    spent = spent_by(beams, surface, theta, psi[f], rate, fits, limits)
    aim_multipliers(psi[f], theta, spent, fits, limits)
    excess, weighed, met = find_excess(spent), rate, fits
    rate, gamma, lambda_, fits = channel_terms(
        stage, gram, psi, f, limits, noise_power * excess, served, 0
    )
    price = theta[0]
    if limits.objective == MIN_POWER and met and fits:
        rate, gamma, price = rate * spent[0] / weighed, gamma / theta[0], 1.0
    return rate, gamma, price * lambda_, fits, spent[0] / excess


def find_scale(bend):
    """Preconditioner: one over each element's curvature of the radiated power, up to a factor.

    The curvature differs widely: the reference waves add up in some elements and cancel in others.
    """
    mean = max(np.mean(bend), 1e-300)
    return mean / (bend + LEAST_BEND * mean)


def confine(kind, state, upper):
    """The states projected onto the box [0, top] of amplitudes; circles have no box."""
    return np.minimum(np.maximum(state, 0.0), upper) if kind == AMPLITUDE else state


def quasi_newton(gradient, free, scale, moves, changes, latest, step):
    """The L-BFGS direction: the gradient times the inverse curvature along the last steps.

    It starts from the diagonal ``scale``.  ``moves`` and ``changes`` (memory, N) are
    rings of changes of the state and of -gradient, ``latest`` the row filled last.  Only the free
    elements take part: those at a bound that the gradient pushes against stay where they are.
    """
    direction = gradient * free
    memory = len(moves)
    bent, share = np.zeros(memory), np.zeros(memory)
    for i in range(memory):
        row = (latest - i) % memory
        bent[row] = np.sum(moves[row] * changes[row] * free)
        if bent[row] > 0.0:
            share[row] = np.sum(moves[row] * direction) / bent[row]
            direction = direction - share[row] * changes[row] * free
    if bent[latest] > 0.0:
        step = bent[latest] / np.sum(scale * changes[latest] ** 2 * free)
    direction = step * scale * direction
    for i in range(memory):
        row = (latest + 1 + i) % memory
        if bent[row] > 0.0:
            back = np.sum(changes[row] * direction) / bent[row]
            direction = direction + (share[row] - back) * moves[row] * free
    return direction


def record(history, iterate, rate):
    if iterate < len(history):
        history[iterate] = rate


def shorter(length, slope, rate, reached):
    """The maximiser of the parabola through the rate, its slope and the rate reached.

    Kept between a tenth and a half of ``length``.
    """
    best = length * (length * slope / (2.0 * (rate + length * slope - reached)))
    return max(0.1 * length, best if best < 0.5 * length else 0.5 * length)


def ascend(
    stage, channel, phase, state, psi, limits, noise_power, served, budget, tolerance, history
):
    """Nonmonotone projected ascent over the states of the elements (docs/mathematics.md).

    Under `digital` power, where nearly all amplitudes end at a bound, their steps are spectral.
    Under `radiated` power the rate does not change with the scale of m, which may grow unless an
    element is stuck, and the general stage takes quasi-Newton steps; on circles both stages do.
    Under limits of the feeds the scale of m counts.  The budget counts evaluations, whether they
    are accepted or not.

    Returns the best states, their Psi and rate, the evaluations made, and whether it stopped by
    itself.
    """
    kind, _, movable = limits.elements
    limited = len(limits.feed_power) > 0
    scale_free = limits.radiated and np.min(movable) > 0.0 and not limited
    upper = HEADROOM if scale_free else 1.0
    quasi = kind != AMPLITUDE or (limits.radiated and stage == 1)
    rate, gradient, psi, bend = evaluate(
        stage, channel, phase, state, psi, limits, noise_power, served, True
    )
    for _ in range(PARTS if splits(limits, len(channel), phase.shape[2]) and stage == 1 else 0):
        rate, gradient, psi, bend = evaluate(
            stage, channel, phase, state, psi, limits, noise_power, served
        )
    best_rate, best_state, best_psi = rate, state, psi
    record(history, 0, rate)
    if not np.isfinite(rate):
        return best_state, best_psi, rate, 0, False
    recent = np.full(RECENT, np.inf)
    recent[0] = rate
    moves = np.zeros((MEMORY, len(state)))
    changes = np.zeros((MEMORY, len(state)))
    largest = np.max(np.abs(gradient))
    step = FIRST_MOVE / largest if largest > 0.0 else 1.0
    made, moved = 0, 0
    while made < budget:
        direction = confine(kind, state + step * gradient, upper) - state
        slope = np.sum(gradient * direction)
        if not slope > tolerance:
            return best_state, best_psi, best_rate, made, True
        if quasi and moved > 0:
            free, scale = np.ones(len(state)), np.ones(len(state))
            if kind == AMPLITUDE:
                free = ((state > 0.0) | (gradient > 0.0)).astype(np.float64)
            if limits.radiated:
                scale = find_scale(bend)
            bent = quasi_newton(gradient, free, scale, moves, changes, (moved - 1) % MEMORY, step)
            bent = confine(kind, state + bent, upper) - state
            if np.sum(gradient * bent) > tolerance:
                direction, slope = bent, np.sum(gradient * bent)
        length, accepted = 1.0, False
        while made < budget and not accepted:
            trial = state + length * direction
            trial_rate, trial_gradient, trial_psi, bend = evaluate(
                stage, channel, phase, trial, psi, limits, noise_power, served
            )
            made += 1
            worst = np.min(recent)
            asked = worst + 1e-4 * length * slope - 4.0 * EPSILON * worst
            accepted = trial_rate >= asked
            if accepted:
                break
            record(history, made, rate)
            length = shorter(length, slope, rate, trial_rate)
            if length < SHORTEST:
                return best_state, best_psi, best_rate, made, True
        if not accepted:
            break
        move, change = trial - state, gradient - trial_gradient
        curvature = np.sum(move * change)
        step = 100.0
        if curvature > 0.0:
            step = min(max(np.sum(move**2) / curvature, 1e-8), 1e4)
        moves[moved % MEMORY], changes[moved % MEMORY] = move, change
        moved += 1
        state, gradient, psi, rate = trial, trial_gradient, trial_psi, trial_rate
        recent[1:] = recent[:-1].copy()
        recent[0] = rate
        record(history, made, rate)
        if rate > best_rate:
            best_rate, best_state, best_psi = rate, state, psi
    return best_state, best_psi, best_rate, made, False
