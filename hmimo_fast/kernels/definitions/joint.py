"""Variable projection: amplitudes and beams together (csrc/joint.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import double, norm2, scale_to_power
from .alone import ascend_alone, is_alone
from .ascent import (
    FOLLOWING,
    MULTIPLIERS,
    PART,
    PARTS,
    POWERS,
    RATES,
    SHARE,
    SPLIT,
    VALUE,
    WORTH,
    as_split,
    ascend,
    evaluate,
    gather_feeds,
    grams,
    multipliers_of,
    settle,
    splits,
    whiten,
)
from .element import AMPLITUDE, GIVEN, Elements, matched, state_of, weigh
from .feeds import ANEW, REBALANCINGS, at_part, find_spent, start_multipliers, whiten_under
from .inner_balanced import initialize_dual, leave_dual
from .inner_general import initialize_general, power_by, wmmse_sweep, wmmse_update
from .objective import (
    ENERGY_EFFICIENCY,
    GEOMETRIC_MEAN,
    MAX_MIN,
    MIN_POWER,
    SUM_RATE,
    finish_value,
)
from .passes import effective_channel, pull_back
from .problem import LN2, Limits, in_channel, is_finite, room, unit_weights, unsolved
from .rates import find_links, power_of, rate_adjoint, rate_of
from .start import FITTINGS, find_metrics, fit, order_users

#: Part of a user's residual gain that counts when sets of users are compared.
DELIVERED = 0.15
#: How many users more than the likeliest number the candidates serve, in turns; one serves all.
MORE = np.array([0.0, -1.0, 0.0, 1.0, np.inf, -1.0, 1.0, 2.0])
#: Inverse share of the general stage that candidates make, and inverse part of that share which all
#: make before the best of them go on.
PRELUDE, TRIAL, FURTHER = 3, 3, 4
#: Weight of users who have none, where nobody with a weight has a channel.
LEAST_WEIGHT = 1e-12
#: Relative difference of rates that single precision tells.
APART = 1e-5
GOLDEN_RATIO = 0.6180339887498949


def strongest(gram, weights):
    """Psi of one user, who receives most alone, for a channel in which no beams were found.

    Users without a weight come last.
    """
    psi = np.zeros_like(gram)
    worth = (weights + LEAST_WEIGHT) * np.diag(gram).real
    k = np.argmax(worth)
    if worth[k] > 0.0:
        psi[k, k] = 1.0 / np.sqrt(gram[k, k].real)
    return psi


def beams_at(channel, phase, weights, psi, limits):
    """V = Y Psi in every channel, (F, L, K), scaled to its part of the power, and its rate."""
    users, parts = channel.shape[1], psi[:, PART, 0].real.copy()
    beams = np.empty((len(channel), phase.shape[2], users), np.complex128)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        theta = multipliers_of(psi[f], phase.shape[2])
        own = np.ascontiguousarray(psi[f, :users, :users])
        received, surface = gather_feeds(channel[f], weights, waves, limits.radiated)
        whitened, carrier = whiten_under(received, surface, theta, limits)
        beams[f] = carrier @ own * np.sqrt(psi[f, POWERS, :users].real)
        if len(limits.feed_power) > 0:
            spent = at_part(theta, find_spent(beams[f], surface, limits), parts[f])
            parts[f] = min(np.max(spent), 1.0)
        sum_rate = limits.objective == SUM_RATE and len(limits.feed_power) == 0
        if sum_rate and not np.sum(np.abs(beams[f]) ** 2) > 0.0:
            gram = np.ascontiguousarray(whitened.conj().T) @ whitened
            beams[f] = carrier @ strongest(gram, limits.weights)
    return scale_beams(channel, phase, weights, beams, limits, parts)


def scale_beams(channel, phase, weights, beams, limits, parts):
    """V scaled to its part of the power in every channel, or within the feeds' limits; its rate."""
    digital, total = np.empty_like(beams), 0.0
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        spent = power_of(waves, weights, beams[f], limits.radiated)
        if len(limits.feed_power) > 0:
            surface = gather_feeds(channel[f], weights, waves, limits.radiated)[1]
            spent = limits.power * np.max(find_spent(beams[f], surface, limits))
        digital[f] = scale_to_power(beams[f], spent, limits.power * parts[f])
        received = effective_channel(channel[f], weights, waves) @ digital[f]
        total += rate_of(find_links(received, limits.noise_power)[2], limits.weights)
    return digital, total


def climb(
    stage, channel, phase, state, psi, limits, noise_power, served, budget, tolerance, history, made
):
    """The ascent of several users or, after so many iterations ``made`` before, of one alone."""
    if is_alone(channel, limits):
        return ascend_alone(
            channel, phase, state, psi, limits, noise_power, budget, tolerance, history, made
        )
    return ascend(
        stage, channel, phase, state, psi, limits, noise_power, served, budget, tolerance, history
    )


def general_stage(
    channel, phase, state, psi, limits, noise_power, served, budget, tolerance, history, made
):
    """`climb` with general V, from the better of two starts of its beams."""
    gram = grams(channel, phase, weigh(limits.elements, state)[0], psi, limits)
    start, users = psi.copy(), channel.shape[1]
    for f in range(len(channel)):
        noise = noise_power
        if limits.objective == ENERGY_EFFICIENCY:
            noise = noise_power / psi[f, PART, 0].real
        if limits.dual:
            split = in_channel(as_split(limits, psi, phase.shape[2]), f)
            start[f, SHARE, :users] = initialize_dual(gram[f], split, noise)
        else:
            own = np.ascontiguousarray(psi[f, :users, :users])
            start[f, :users, :users] = initialize_general(
                gram[f], own, limits, noise, served, phase.shape[2]
            )
    return climb(
        1, channel, phase, state, start, limits, noise_power, served, budget, tolerance,
        history, made,
    )  # fmt: skip


def leave_duals(channel, phase, weights, psi, limits, rebalancings):
    """`leave_dual` in every channel; what all give together, of those that fall short if any do."""
    total, fit, users = 0.0, True, channel.shape[1]
    left, everybody = psi.copy(), np.ones(users)
    limits = as_split(limits, psi, phase.shape[2])
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        received, surface = gather_feeds(channel[f], weights, waves, limits.radiated)
        if len(limits.feed_power) > 0:
            settle(
                1, received, surface, left, f, limits, limits.noise_power, everybody,
                rebalancings, False,
            )  # fmt: skip
        noise = limits.noise_power
        if limits.objective == ENERGY_EFFICIENCY:
            noise = noise / left[f, PART, 0].real
        theta = multipliers_of(left[f], phase.shape[2])
        whitened, carrier = whiten_under(received, surface, theta, limits)
        gram = np.ascontiguousarray(whitened.conj().T) @ whitened
        others = np.sum(left[:, RATES, :users].real, axis=0) - left[f, RATES, :users].real
        found, powers, rate, fits, part = leave_dual(
            gram, received, carrier, surface, theta, left[f, SHARE, :users].real.copy(), others,
            in_channel(limits, f), noise, left[f, PART, 0].real,
        )  # fmt: skip
        left[f, :users, :users] = found
        left[f, PART, 0], left[f, POWERS, :users] = part, powers
        if fit and not fits:
            total, fit = 0.0, False
        if fit or not fits:
            total += rate
    if fit and limits.objective == ENERGY_EFFICIENCY:
        used = np.sum(left[:, PART, 0].real)
        total, _ = finish_value(limits, total, used, left[0, RATES, :users].real, len(channel))
    return left, total


def served(chosen, limits):
    """1 for the users of a set who are wanted at all."""
    if limits.objective == MIN_POWER:
        chosen = chosen & (limits.min_rate > 0.0)
    elif limits.objective == MAX_MIN:
        chosen = chosen & ((limits.weights > 0.0) | (limits.min_rate > 0.0))
    return chosen.astype(np.float64)


def sets_of_users(places, gains, limits, feeds, channels, candidates):
    """Whom each candidate serves, (C, K), and which of the starts it has.

    The first users in the order, about as many as have the highest sum rate of an estimate in which
    each receives a part of its residual gain; one after the other where they serve one.
    """
    users, highest = len(places), -1.0
    likeliest = float(users)
    for count in range(1, min(users, feeds) + 1 if candidates > 1 else 0):
        share = DELIVERED * limits.power / (limits.noise_power * count * channels)
        rate = rate_of(np.where(places < count, share * gains, 0.0), limits.weights)
        if rate > highest:
            likeliest, highest = float(count), rate
    apart = np.sum(places < users)  # users who are no copies
    counts, turns = np.zeros(candidates), np.zeros(candidates)
    chosen = np.zeros((candidates, users), np.bool_)
    for c in range(candidates):
        counts[c] = max(min(likeliest + MORE[c % len(MORE)], float(apart)), 1.0)
        turns[c] = np.sum(counts[:c] == counts[c])
        first = turns[c] if counts[c] == 1.0 and turns[c] < apart else 0.0
        chosen[c] = (places >= first) & (places < first + counts[c])
    return chosen, turns


def start_of(elements, start, turn):
    """The start of a candidate: after the first of a set, the states are moved on.

    By multiples of the golden ratio, which are spread evenly over [0, 1), or the circle.
    """
    moves = turn * (np.arange(len(start)) + 1.0) * GOLDEN_RATIO
    moves = moves - np.floor(moves)
    if elements.kind == AMPLITUDE:
        moved = start + moves
        moved = np.where(moved < 1.0, moved, start + (moves - 1.0))
    else:
        moved = start + 2.0 * np.pi * moves
    return np.where((elements.movable > 0.0) & (turn > 0), moved, start)


def prelude_noise(limits, forced, served, channels):
    """Noise of the general stage's share: with less to gain from nulls, users stay for longer.

    Under `digital` power it is four times the true noise where zero forcing gives each user several
    bit/s/Hz, and falls to the true noise at low SNR, where leaving users out is right.
    """
    if limits.radiated or not np.isfinite(forced):
        return limits.noise_power
    each = forced / (max(np.sum(served), 1.0) * channels)
    return (1.0 + 3.0 * each**2 / (1.0 + each**2)) * limits.noise_power


def rates_together(limits, value, psi):
    """What users have together where an objective that leaves users out has a value."""
    if limits.objective != ENERGY_EFFICIENCY:
        return value
    return psi[0, WORTH, 0].real * (np.sum(psi[:, PART, 0].real) + limits.overhead)


def share_general(channel, phase, m, psi, limits, forced, served, iterations, tolerance, made):
    """Some of the general stage at the noise of its share.

    Returns m, Psi, the rate at the noise of the problem, evaluations, and whether it stopped.
    """
    alone = is_alone(channel, limits)
    louder = prelude_noise(limits, forced, served, len(channel))
    if alone:
        louder = limits.noise_power
    m, psi, rate, more, converged = general_stage(
        channel, phase, m, psi, limits, louder, served, iterations, tolerance, room(0), made
    )
    if not limits.radiated and not alone:
        rate, _, psi, _ = evaluate(
            1, channel, phase, m, psi, limits, limits.noise_power, served, True
        )
    return m, psi, rate, more, converged


def run_candidate(channel, phase, start, limits, served, zf_iterations, trial, tolerance):
    """A candidate: the fit, the zero-forcing stage and its first share of the general one.

    Returns m, Psi, rate and evaluations where each of the two stages ended, whether the last
    stopped by itself, and the rates of the first.  Under `digital` power the share is made at a
    higher noise; its rate is that at the problem's.
    """
    history = room(zf_iterations)
    users = channel.shape[1]
    feeds = phase.shape[2]
    columns = max(users, feeds + 1)
    m, psi = start, np.zeros((len(channel), users + FOLLOWING, columns), np.complex128)
    psi[:, POWERS] = 1.0
    psi[:, PART, 0], psi[:, MULTIPLIERS, : feeds + 1] = 1.0, start_multipliers(feeds)
    psi[:, SPLIT, :users], psi[:, VALUE, 0] = limits.split, 1.0
    if zf_iterations > 0 and not is_alone(channel, limits):
        metrics = find_metrics(channel, served)
        whole = limits.radiated or limits.dual or limits.elements.kind != AMPLITUDE
        m = fit(channel, phase, start, metrics, limits.elements, FITTINGS if whole else 1)
    rate, made, converged = -np.inf, 0, False
    if np.sum(served) <= phase.shape[2]:
        m, forced, rate, made, converged = climb(
            0, channel, phase, m, psi, limits, limits.noise_power, served, zf_iterations, tolerance,
            history, 0,
        )  # fmt: skip
        if rate > -np.inf:
            psi = forced
    if trial == 0:
        return m, psi, rate, m, psi, rate, made, converged, history
    later, swept, reached, more, converged = share_general(
        channel, phase, m, psi, limits, rates_together(limits, rate, psi), served, trial, tolerance,
        made,
    )  # fmt: skip
    return m, psi, rate, later, swept, reached, made + more, converged, history


def next_best(rates):
    """The index of the best of the rates that are left, the first of those that are alike.

    That rate is then -inf.
    """
    best = 0
    for other in range(1, len(rates)):
        challenge = rates[best] * (1.0 + APART) if rates[best] > 0.0 else rates[best]
        if rates[other] > challenge or np.isnan(rates[best]):
            best = other
    rates[best] = -np.inf
    return best


def variable_projection(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    min_rate,
    split,
    movable,
    overhead,
    feed_power,
    radiated,
    zf_iterations,
    iterations,
    candidates,
    finalists,
    sweeps,
    tolerance,
    element,
    objective,
    mixed,
):
    """ZF variable projection, then general variable projection, from a start m.

    The sum rate's best amplitudes often leave users out, and an ascent that begins with all of
    them seldom finds that.  So the candidates serve the first users in semi-orthogonal order: as
    many as an estimate of the sum rate says (`sets_of_users`), a few less or more, or all; those of
    the same number have starts of their own.  Each is fitted to its channels, makes the
    ZF stage and a ninth of the general one, under `digital` power at a higher noise; the best four
    go on to a third of it, and the ``finalists`` with the highest rates then make the rest
    (docs/mathematics.md, "Starts").  Copies of other users are never served.  Without ZF iterations
    the start is kept to; that and minimum rates leave one candidate and no such noise, and minimum
    rates serve everybody.

    Returns m, V (F, L, K), the rate, evaluations made, whether the last stage stopped by itself,
    and the rates after each evaluation (NaN at the higher noise).  Beams meet the minimum rates;
    where none were found that do, the rate is log2 of the worst SINR over what it should be,
    summed over the channels that fall short, and the beams balance the two.
    """
    history = room(zf_iterations + iterations)
    floored, limited = bool(np.any(min_rate > 0.0)), bool(np.any(feed_power < np.inf))
    if not is_finite(channel, phase, amplitudes):
        return unsolved(channel, phase, amplitudes, history)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    kind = GIVEN if element == AMPLITUDE and np.iscomplexobj(amplitudes) else element
    elements = Elements(kind, amplitudes.astype(np.complex128), movable.astype(np.float64))
    start = state_of(kind, amplitudes)
    unit, heaviest = unit_weights(weights)
    dual = floored or objective not in (SUM_RATE, ENERGY_EFFICIENCY)
    limits = Limits(
        power, noise_power, unit, min_rate, floored, radiated, sweeps, elements, objective,
        overhead, dual, split, feed_power[: len(feed_power) if limited else 0],
    )  # fmt: skip
    rebalancings = REBALANCINGS if iterations > 1 else ANEW
    users = channel.shape[1]
    places, gains = np.zeros(users, np.int64), np.zeros(users)
    if not dual:
        places, gains = order_users(wide, waves, unit, radiated, kind)
    prelude = 0 if dual or zf_iterations == 0 else iterations // PRELUDE
    trial = (prelude + TRIAL - 1) // TRIAL
    count = candidates if prelude > 0 else 1
    chosen, turns = sets_of_users(places, gains, limits, phase.shape[2], len(channel), count)
    ends = [
        run_candidate(
            wide, waves, start_of(elements, start, turns[c]), limits,
            served(chosen[c], limits), zf_iterations, trial, tolerance,
        )
        for c in range(count)
    ]  # fmt: skip
    rates = np.array([end[5] for end in ends])
    if prelude > trial:
        left, rates = rates, np.full(count, -np.inf)
        for _ in range(min(FURTHER if limits.radiated else FURTHER - 1, count)):
            c = next_best(left)
            forced, forced_psi, forced_rate, m, psi, rate, steps, stopped, forced_history = ends[c]
            together = rates_together(limits, forced_rate, forced_psi)
            m, psi, rate, more, stopped = share_general(
                wide, waves, m, psi, limits, together, served(chosen[c], limits),
                prelude - trial, tolerance, steps,
            )  # fmt: skip
            rates[c] = rate
            ends[c] = (
                forced, forced_psi, forced_rate, m, psi, rate, steps + more, stopped,
                forced_history,
            )  # fmt: skip
    best, best_psi, best_rate, made, converged = start, ends[0][1], -np.inf, 0, False
    for turn in range(min(finalists, count)):
        c = next_best(rates)
        forced, forced_psi, forced_rate, m, psi, rate, steps, stopped, forced_history = ends[c]
        history[:] = np.nan
        history[: min(len(forced_history), len(history))] = forced_history[: len(history)]
        if iterations > 0 or forced_rate == -np.inf or (dual and limited):
            m, psi, rate, more, stopped = general_stage(
                wide, waves, m, psi, limits, noise_power, served(chosen[c], limits),
                iterations - prelude, tolerance, history[steps:], steps,
            )  # fmt: skip
            steps += more
            for _ in range(PARTS if splits(limits, len(channel), phase.shape[2]) else 0):
                _, _, psi, _ = evaluate(
                    1, wide, waves, m, psi, limits, noise_power, served(chosen[c], limits)
                )
            if dual:
                now = weigh(elements, m)[0]
                psi, rate = leave_duals(wide, waves, now, psi, limits, rebalancings)
            if forced_rate > rate and not limited:
                m, psi, rate = forced, forced_psi, forced_rate
        if turn == 0 or rate > best_rate:
            best, best_psi, best_rate, made, converged = m, psi, rate, steps, stopped
    if kind == AMPLITUDE:
        best = best / max(np.max(best), 1.0)
    found = weigh(elements, best)[0]
    for f in range(len(channel) if limited and not dual else 0):
        received, surface = gather_feeds(
            wide[f], found, waves[min(f, len(waves) - 1)], limits.radiated
        )
        settle(1, received, surface, best_psi, f, limits, noise_power, unit, rebalancings, False)
    digital, rate = beams_at(wide, waves, found, best_psi, limits)
    if floored and best_rate < 0.0:
        rate = best_rate
    of_weights = heaviest
    if objective == MAX_MIN:
        of_weights = 1.0 / heaviest
    elif objective in (GEOMETRIC_MEAN, MIN_POWER):
        of_weights = 1.0
    history = np.where(history > 0.0, of_weights * history, history)
    rate = heaviest * rate if rate > 0.0 else rate
    return matched(found, amplitudes), digital, rate, made, converged, history


def best_beams(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    min_rate,
    split,
    feed_power,
    radiated,
    general,
    sweeps,
):
    """Beams at given amplitudes, (F, L, K), and their rate.

    Zero forcing with water-filled powers or, if ``general``, the better of that and of ``sweeps``
    WMMSE sweeps; these too where there is no zero forcing.  Minimum rates as in
    `variable_projection`.
    """
    _, digital, rate, _, _, _ = variable_projection(
        channel, amplitudes, phase, power, noise_power, weights, min_rate, split,
        np.ones(len(amplitudes)), 0.0, feed_power, radiated, 0, int(general), 1, 1, sweeps, np.inf,
        AMPLITUDE, SUM_RATE, False,
    )  # fmt: skip
    return digital, rate


def fixed_terms(channel, phase, amplitudes, digital, power, noise_power, weights, radiated):
    """Rate at fixed V (scaled to the power) over all channels, and its gradient in q, (N,)."""
    total, gradient = 0.0, np.zeros(len(amplitudes), np.complex128)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        spent = power_of(waves, amplitudes, digital[f], radiated)
        if not spent > 0.0:
            total += 0.0 * spent
            continue
        received = double(effective_channel(channel[f], amplitudes, waves)) @ digital[f]
        rate, adjoint, d_noise = rate_adjoint(received, noise_power * spent / power, weights)
        dagger = np.ascontiguousarray(digital[f].conj().T)
        total += rate
        gradient += pull_back(channel[f], waves, (2.0 / LN2) * adjoint @ dagger)
        if radiated:
            fields = double(waves) @ digital[f]
            loss = np.sum(fields.real**2 + fields.imag**2, axis=1)
            gradient -= (2.0 / LN2 * noise_power / power * d_noise) * amplitudes * loss
    return total, gradient


def wmmse_gradient(
    channel, amplitudes, phase, digital, power, noise_power, weights, radiated, sweeps
):
    """Rate after some WMMSE sweeps from V, the beams, and the rate's gradient in m at them.

    At the best V that is the gradient of the best rate at m (envelope theorem).
    Beams that reach nobody stay as they are, scaled to the power.
    """
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    beams, current = double(digital), amplitudes.astype(np.complex128)
    if not np.isfinite(norm2(wide) + norm2(waves) + norm2(beams) + norm2(current)):
        missing = np.full(len(current), complex(np.nan, np.nan))
        return np.nan, np.full_like(beams, np.nan), matched(missing, amplitudes)
    ratio = noise_power / power
    beams = scale_to_power(beams, power_of(waves, current, beams, radiated), power)
    if sweeps > 0:
        whitened, carrier = whiten(wide, current, waves, radiated)
        gram = np.ascontiguousarray(whitened.conj().T) @ whitened
        received = effective_channel(wide, current, waves) @ beams
        psi = wmmse_update(gram, np.zeros_like(gram), received, power, ratio, weights)
        for _ in range(sweeps - 1):
            psi = wmmse_sweep(gram, psi, ratio, weights)
        if norm2(psi) > 0.0:
            beams = scale_to_power(carrier @ psi, power_by(gram, psi)[1], power)
    rate, gradient = fixed_terms(
        wide.reshape((1, *wide.shape)),
        waves.reshape((1, *waves.shape)),
        current,
        beams.reshape((1, *beams.shape)),
        power,
        noise_power,
        weights,
        radiated,
    )
    return rate, beams, matched(gradient, amplitudes)
