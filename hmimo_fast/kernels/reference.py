"""The definition of every operator, one item at a time, in plain NumPy.

Numba compiles these very functions (see `jit`), and the C kernels are held to
them, so a formula stands here once.  K x K and K x L algebra runs in double
precision whatever the channel's; only the passes over the N elements follow
the channel.  An item with a NaN or an infinity gives NaN.

The two power conventions are one: with S = Phi^H diag(m)^2 Phi = C C^H, the
radiated power ||diag(m) Phi V||^2 is ||C^H V||^2, so V' = C^H V has plain power
over the whitened channel G' = G C^{-H}; under `digital` power C = I.  The loops
write every beamformer as V' = G'^H Psi, so that all rates follow from the K x K
matrices Psi and X = G' G'^H.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .operators import MOST_RECORDED

LN2 = np.log(2.0)
_EPSILON = np.finfo(np.float64).eps
_TINY = 1e-12
#: Gradient steps between two zero forcings where the paper's rule does not stop them sooner.
_MOST_STEPS = 100
#: Rates of an ascent, the least of which a step must exceed; steps whose curvature it remembers.
_RECENT, _MEMORY = 5, 3
#: The first move of an ascent, of the element with the largest gradient.
_FIRST_MOVE = 0.2
#: Upper bound of m during an ascent under `radiated` power, where its scale is free.
_HEADROOM = 10.0
#: Share of the general stage that every candidate makes, inverse, and times the noise there, under
#: `digital` and `radiated` power: with less to gain from nulls, users are not given up early.
_PRELUDE, _PRELUDE_NOISE = 3, (4.0, 1.5)
#: Shortest step of a line search.
_SHORTEST = 1e-6
#: Rounds of the fit to the channel from which every candidate begins.
_FITTINGS = 3
#: Of a user's gain, added to it: keeps apart users whose channels depend on each other.
_ALIKE = 1e-8
#: Squared residual, over its gain, of a user who is a copy of others.
_COPY = 64.0 * np.finfo(np.float64).eps
#: SINR of a user who is given up, before its beam ends in denormal numbers.
_FAINT = 1e-60
#: Least share of a user in the dual uplink, from which it can come back; sweeps until it settles.
_LEAST, _SETTLING = 1e-6, 20


class Limits(NamedTuple):
    """What limits the beams; weights have a largest of one."""

    power: float
    noise_power: float
    weights: np.ndarray
    min_rate: np.ndarray
    floored: bool
    radiated: bool
    sweeps: int


def effective_channel(channel, amplitudes, phase):
    """G = H diag(m) Phi, (K, L)."""
    return (channel * amplitudes).astype(channel.dtype) @ phase


def _double(matrix):
    return np.ascontiguousarray(matrix).astype(np.complex128)


def _links(received, noise):
    """Signal amplitudes, interference plus noise D and SINR of A = G V, (K,) each."""
    power = received.real**2 + received.imag**2
    signal = np.diag(power).copy()
    for k in range(len(signal)):
        power[k, k] = 0.0
    disturbance = noise + power.sum(axis=1)
    return np.diag(received).copy(), disturbance, signal / disturbance


def _rate(sinr, weights):
    return np.sum(weights * np.log1p(sinr)) / LN2


def _unit_weights(weights):
    """Weights with a largest of one, and that largest: a common factor changes no solution."""
    heaviest = np.max(weights)
    if not heaviest > 0.0:
        heaviest = 1.0
    return weights / heaviest, heaviest


def _rate_adjoint(received, noise, weights):
    """Rate, C with dR = (2/ln 2) Re tr(C^H dA), and -dR/d(noise) ln 2."""
    amplitude, disturbance, ratio = _links(received, noise)
    total = disturbance * (1.0 + ratio)
    scale = weights / total
    adjoint = -received * (scale * ratio).reshape(-1, 1)
    for k in range(len(ratio)):
        adjoint[k, k] = scale[k] * amplitude[k]
    return _rate(ratio, weights), adjoint, np.sum(scale * ratio)


def sinr(channel, amplitudes, phase, digital, noise_power):
    """SINR_k = |A_kk|^2 / (sigma^2 + sum_{j != k} |A_kj|^2), A = H diag(m) Phi V."""
    received = _double(effective_channel(channel, amplitudes, phase)) @ _double(digital)
    return _links(received, noise_power)[2]


def sum_rate(channel, amplitudes, phase, digital, noise_power, weights):
    """R = sum_k alpha_k log2(1 + SINR_k)."""
    return _rate(sinr(channel, amplitudes, phase, digital, noise_power), weights)


def sum_rate_gradient(channel, amplitudes, phase, digital, noise_power, weights):
    """Rate, dR/dm (N,) and dR/dV (L, K)."""
    effective = _double(effective_channel(channel, amplitudes, phase))
    beams = _double(digital)
    rate, adjoint, _ = _rate_adjoint(effective @ beams, noise_power, weights)
    omega = (2.0 / LN2) * adjoint @ np.ascontiguousarray(beams.conj().T)
    d_digital = (2.0 / LN2) * np.ascontiguousarray(effective.conj().T) @ adjoint
    return rate, _pull_back(channel, phase, omega), d_digital


def _pull_back(channel, phase, omega):
    """Re sum_k conj(H_kn) sum_l Omega_kl conj(Phi_nl), (N,)."""
    rows = _double(channel)
    waves = omega @ np.ascontiguousarray(_double(phase).conj().T)
    return np.sum(rows.real * waves.real + rows.imag * waves.imag, axis=0)


def _rank_tolerance(matrix):
    """Relative size under which a singular value counts as zero, as in numpy.linalg.matrix_rank."""
    return max(matrix.shape) * np.finfo(matrix.real.dtype).eps


def _pseudoinverse(matrix, tolerance):
    """Minimum-norm inverse and rank; zeros for a zero matrix."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = np.sum(values > tolerance * values[0])
    inverse = np.zeros_like(values)
    inverse[:rank] = 1.0 / values[:rank]
    columns = np.ascontiguousarray(right.conj().T) * inverse
    return columns @ np.ascontiguousarray(left.conj().T), rank


def _norm2(matrix):
    return np.sum(matrix.real**2 + matrix.imag**2)


def _scaled(matrix, power, target):
    """The matrix scaled from one power to another; zero stays zero."""
    return matrix * np.sqrt(target / power) if power > 0.0 else matrix


def zero_forcing(effective_channel, power):
    """V = G^+ scaled to the power, (M, K), and the rank of G."""
    matrix = _double(effective_channel)
    if not np.isfinite(_norm2(matrix)):
        return np.full_like(matrix.T, np.nan), 0
    inverse, rank = _pseudoinverse(matrix, _rank_tolerance(effective_channel))
    return _scaled(inverse, _norm2(inverse), power), rank


def project(amplitudes, phase, precoder, power, radiated):
    """V = (diag(m) Phi)^+ W scaled to the power, (L, K)  ([A] eq. 6-7)."""
    surface = _double(amplitudes.reshape(-1, 1) * phase)
    target = _double(precoder)
    if not np.isfinite(_norm2(surface) + _norm2(target)):
        return np.full((phase.shape[1], precoder.shape[1]), np.nan + 0j)
    digital = _pseudoinverse(surface, _rank_tolerance(phase))[0] @ target
    return _scaled(digital, _norm2(surface @ digital) if radiated else _norm2(digital), power)


def water_filling(cost, power, noise_power, weights, min_rate):
    """Received powers q_k = max(f_k, alpha_k mu / cost_k - sigma^2, 0), sum q_k cost_k = P.

    Infeasible floors are scaled down together until they fit the power.
    """
    if np.isnan(np.sum(cost)):
        return np.full_like(cost, np.nan), False
    floor = np.expm1(LN2 * min_rate) * noise_power
    received, level = _fill(cost, power, noise_power, weights, floor)
    return received, level >= 0.0


def _fill(cost, power, noise_power, weights, floor):
    """Received powers over the floors f_k, and mu; minus how often they exceed the power."""
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


def _matched(gram, served):
    """Psi of the matched beams g_k^H / ||g_k|| of those served, (K, K); none for zero channels."""
    psi = np.zeros_like(gram)
    for k in range(len(gram)):
        if gram[k, k].real > 0.0:
            psi[k, k] = served[k] / np.sqrt(gram[k, k].real)
    return psi


def _restricted(gram, served):
    """X with a unit in place of every user that is not served."""
    both = served.reshape(-1, 1) * served
    return gram * both + np.diag(1.0 - served)


def _spent_by(gram, psi):
    """A = X Psi and the power of V' = G'^H Psi."""
    received = gram @ psi
    return received, np.sum(psi.real * received.real + psi.imag * received.imag)


def _wmmse_sweep(gram, psi, ratio, weights):
    """One block-coordinate WMMSE sweep on V' = G'^H Psi; ratio = sigma^2 / P."""
    received, power = _spent_by(gram, psi)
    return _wmmse_update(gram, psi, received, power, ratio, weights)


def _wmmse_update(gram, psi, received, power, ratio, weights):
    """The Psi that answers u and w of the received A and the power of the beams so far.

    Psi = (diag(a) X + c I)^{-1} diag(alpha w u), c = ratio sum(a), made Hermitian by
    diag(a)^{1/2} on both sides.  The noise is written as ratio * (power of V), so V
    needs no rescaling (docs/mathematics.md, "WMMSE").
    """
    if not power > 0.0:
        return psi * power
    amplitude, disturbance, sinr_ = _links(received, ratio * power)
    total = disturbance * (1.0 + sinr_)
    magnitude = np.where(sinr_ > _FAINT, np.abs(amplitude), 0.0)
    root = np.sqrt(weights * (1.0 + sinr_))
    half = np.where(magnitude > 0.0, root * magnitude / total, 0.0)
    ridge = ratio * np.sum(half**2)
    if not ridge > 0.0:
        return psi
    system = gram * half.reshape(-1, 1) * half
    target = np.zeros_like(gram)
    for k in range(len(half)):
        system[k, k] += ridge
        if magnitude[k] > 0.0:
            target[k, k] = root[k] * amplitude[k] / magnitude[k]
    return half.reshape(-1, 1) * np.linalg.solve(system, target)


def wmmse(effective_channel, power, noise_power, weights, iterations):
    """WMMSE precoder from matched beams, (M, K), scaled to the power."""
    matrix = _double(effective_channel)
    adjoint = np.ascontiguousarray(matrix.conj().T)
    if not np.isfinite(_norm2(matrix)):
        return np.full_like(adjoint, np.nan)
    gram = matrix @ adjoint
    psi = _matched(gram, np.ones_like(weights))
    for _ in range(iterations):
        psi = _wmmse_sweep(gram, psi, noise_power / power, weights)
    precoder = adjoint @ psi
    return _scaled(precoder, _norm2(precoder), power)


# ---------------------------------------------------------------- fused loops


def _whiten(channel, amplitudes, phase, radiated):
    """Y' = G'^H and Y with V = Y Psi: (L, K) each, Y = C^{-H} Y'."""
    surface = (amplitudes.reshape(-1, 1) * phase).astype(phase.dtype)
    whitened = np.ascontiguousarray(_double(channel @ surface).conj().T)
    if not radiated:
        return whitened, whitened
    surface = _double(surface)
    gram = np.ascontiguousarray(surface.conj().T) @ surface
    guard = _TINY * np.sum(np.diag(gram).real) / len(gram)
    for i in range(len(gram)):
        gram[i, i] += guard
    if not guard > 0.0:
        return whitened * 0.0, whitened * 0.0
    factor = np.linalg.cholesky(gram)
    whitened = np.ascontiguousarray(np.linalg.solve(factor, whitened))
    beams = np.linalg.solve(np.ascontiguousarray(factor.conj().T), whitened)
    return whitened, np.ascontiguousarray(beams)


def _zf_terms(gram, limits, noise_power, served):
    """ZF rate with water-filled powers; Gamma, Lambda of its gradient; Psi; whether it has floors.

    A singular X has no such gradient and gives -inf.  Where the minimum rates do not fit the
    power, the first is -log2 of how often they exceed it: to raise it is to make them fit.
    """
    power, weights, min_rate = limits.power, limits.weights * served, limits.min_rate
    gram = _restricted(gram, served)
    inverse, rank = _pseudoinverse(gram, _TINY)
    if rank < len(gram):
        return -np.inf, gram, gram, gram * 0.0, False
    cost = np.diag(inverse).real.copy()
    floor = np.expm1(LN2 * min_rate) * noise_power
    received, level = _fill(cost, power, noise_power, weights, floor)
    fits = level >= 0.0
    rate = _rate(received / noise_power, weights) if fits else -np.log2(-level)
    gamma = inverse * 0.0
    if level != 0.0:
        gamma = (2.0 / LN2 / (level if fits else power)) * (inverse * received) @ inverse
    return rate, gamma, gamma, inverse * np.sqrt(received), fits


def _general_terms(gram, psi, power, noise_power, weights, sweeps):
    """Rate at V*(m) by warm-started WMMSE sweeps; Gamma, Lambda of its gradient; Psi."""
    ratio = noise_power / power
    for _ in range(sweeps):
        psi = _wmmse_sweep(gram, psi, ratio, weights)
    received = gram @ psi
    spent = np.sum(psi.real * received.real + psi.imag * received.imag)
    if not spent > 0.0:
        return 0.0 * spent, gram * 0.0, gram * 0.0, psi
    rate, adjoint, d_noise = _rate_adjoint(received, ratio * spent, weights)
    dagger = np.ascontiguousarray(psi.conj().T)
    return (
        rate,
        (2.0 / LN2) * adjoint @ dagger,
        (2.0 / LN2 * ratio * d_noise) * psi @ dagger,
        psi,
    )


def _dual(gram, share, ridge, target):
    """Beams and SINR of the dual uplink, in which user k sends the share lambda_k of the power.

    With half = diag(lambda)^{1/2} and T = (half X half + ridge)^{-1}, ridge = sigma^2 / P, its
    MMSE receivers have 1 + SINR_k = 1 / (ridge T_kk).  The same beams reach the same SINR in the
    downlink, with Psi = half T diag(beta_k / T_kk)^{1/2}, where beta are the weights whose
    weighted sum rate is stationary at lambda (derived here from uplink-downlink duality).
    Returns half T, its T_kk, SINR, beta, and the share that alone would bring each user to its
    ``target`` (Yates' standard interference function).
    """
    half = np.sqrt(share)
    signals = gram * half.reshape(-1, 1) * half
    inverse = np.linalg.inv(signals + ridge * np.eye(len(gram)))
    diagonal = np.diag(inverse).real.copy()
    system = (inverse.real**2 + inverse.imag**2) * (-ridge / diagonal)
    ratio = np.zeros_like(share)
    for k in range(len(half)):
        part = np.sum((signals[k] * inverse[:, k]).real)  # SINR / (1 + SINR)
        ratio[k] = part / (ridge * diagonal[k])
        system[k, k] = max(part, 1e-30)  # regular with a zero channel too
    beta = np.linalg.solve(system, share)
    least = np.zeros_like(share)
    for k in range(len(half)):
        if target[k] > 0.0:
            least[k] = target[k] * share[k] / ratio[k]
    return half.reshape(-1, 1) * inverse, diagonal, ratio, beta, least


def _floored_terms(gram, share, power, noise_power, weights, min_rate, sweeps):
    """As `_zf_terms`, for general V, after ``sweeps`` of a fixed point over the dual shares.

    lambda_k <- max(mu alpha_k lambda_k / beta_k, least_k), sum lambda_k = 1: a WMMSE update in
    the dual uplink where the first is larger, a user held at its minimum rate where the second
    is.  Where the sum of least_k is above 1, lambda <- least / sum, which balances SINR over
    target.  A fixed point meets the minimum rates and is stationary (derived here).
    """
    target = np.expm1(LN2 * min_rate)
    ones = np.ones_like(share)
    filled = share
    for _ in range(max(sweeps, 1)):
        share = np.maximum(filled, _LEAST)
        share = share / np.sum(share)
        directions, diagonal, ratio, beta, least = _dual(gram, share, noise_power / power, target)
        filled, level = _fill(ones, 1.0, 0.0, weights * share / beta, least)
        if level == -np.inf:  # a zero channel
            break
    rates = np.log1p(ratio) / LN2
    pull = weights
    rate = np.sum(weights * rates)
    if level > 0.0:  # users at their minimum pull with their multipliers
        pull = beta * filled / (share * level)
        rate += np.sum((pull - weights) * (rates - min_rate))
    elif level < 0.0:
        pull = beta / np.sum(beta * ratio / (1.0 + ratio))
        rate = -np.log2(-level)
    psi = directions * np.sqrt(pull / diagonal)
    gamma = (2.0 / LN2) * psi @ np.ascontiguousarray(psi.conj().T)
    return rate, gamma, gamma, share, level >= 0.0


def _settled(gram, power, noise_power, weights, min_rate):
    """Shares after sweeps that suffice, from equal ones."""
    share = np.full(len(gram), 1.0 / len(gram))
    return _floored_terms(gram, share, power, noise_power, weights, min_rate, _SETTLING)[3]


def _restored_item(gram, share, power, noise_power, weights, min_rate):
    """Psi of the shares with powers that meet the minimum rates exactly, and its rate.

    The least powers that do, scaled up to P, still do; a mixture of them with the powers of the
    shares has SINR constraints linear in the mixture, so that the smallest that meets them all is
    known.  Where the least powers exceed P, the first is log2 of the worst SINR over target.
    """
    target = np.expm1(LN2 * min_rate)
    directions, diagonal, ratio, beta, _ = _dual(gram, share, noise_power / power, target)
    psi = directions * np.sqrt(beta / diagonal)
    received, spent = _spent_by(gram, psi)
    if not spent > 0.0:
        return psi, -np.inf, False
    psi, received = psi * np.sqrt(power / spent), received * np.sqrt(power / spent)
    gains = received.real**2 + received.imag**2
    own = np.diag(gains).copy()
    system = -target.reshape(-1, 1) * gains
    for k in range(len(own)):
        system[k, k] = max(own[k], 1e-300)
    least = np.linalg.solve(system, target * noise_power)
    needed = np.sum(least * np.sum((psi.conj() * received).real, axis=0))
    if np.min(least) >= 0.0 and needed <= power:
        mixture = 0.0
        full = least * (power / needed)
        for k in range(len(own)):
            margin = np.sum(system[k]) - target[k] * noise_power
            if margin < 0.0:
                better = np.sum(system[k] * full) - target[k] * noise_power
                mixture = max(mixture, margin / (margin - better))
        powers = np.sqrt((1.0 - mixture) + mixture * full)
        return psi * powers, _rate(_links(received * powers, noise_power)[2], weights), True
    worst = 0.0
    for k in range(len(own)):
        if target[k] > 0.0:
            worst = min(worst, np.log2(ratio[k] / target[k]))
    return psi, worst, False


def _restored(gram, shares, power, noise_power, weights, min_rate):
    """`_restored_item` in every channel, from the first rows of ``shares``; the rate in all."""
    psi = np.empty_like(shares)
    total, fit = 0.0, True
    for f in range(len(gram)):
        share = _floored_terms(
            gram[f],
            shares[f, 0].real.copy(),
            power,
            noise_power,
            weights,
            min_rate,
            _SETTLING,
        )[3]
        psi[f], rate, fits = _restored_item(gram[f], share, power, noise_power, weights, min_rate)
        if fit and not fits:
            total, fit = 0.0, False
        if fit or not fits:
            total += rate
    return psi, total


def _evaluate(stage, channel, phase, amplitudes, psi, limits, noise_power, served):
    """Rate over all F channels, its gradient in m, and the Psi that reach it (F, K, K).

    dR = Re sum_k conj(H_kn) [Gamma Y^H]_kl conj(Phi_nl) - m_n Phi_n [Y Lambda Y^H] Phi_n^H,
    by the envelope theorem, for zero forcing (stage 0) and general V (stage 1) alike
    (docs/mathematics.md).  With minimum rates, stage 1 has the shares of
    the dual uplink in the first row of each Psi; as long as they do not fit in every channel, the
    rate is the sum over those where they do not.
    """
    total, fit = 0.0, True
    gradient = np.zeros(channel.shape[2])
    best = np.zeros_like(psi)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        whitened, beams = _whiten(channel[f], amplitudes, waves, limits.radiated)
        adjoint = np.ascontiguousarray(whitened.conj().T)
        gram = adjoint @ whitened
        fits = True
        if stage == 0:
            rate, gamma, lambda_, best[f], fits = _zf_terms(gram, limits, noise_power, served)
        elif limits.floored:
            rate, gamma, lambda_, best[f, 0], fits = _floored_terms(
                gram, psi[f, 0].real.copy(), limits.power, noise_power, limits.weights,
                limits.min_rate, limits.sweeps,
            )  # fmt: skip
        else:
            rate, gamma, lambda_, best[f] = _general_terms(
                gram, psi[f], limits.power, noise_power, limits.weights, limits.sweeps
            )
        if fit and not fits:
            total, fit = 0.0, False
            gradient[:] = 0.0
        if fits and not fit:
            continue
        total += rate
        dagger = np.ascontiguousarray(beams.conj().T)
        gradient += _pull_back(channel[f], waves, gamma @ dagger)
        if limits.radiated:
            loss = _double(waves) @ (beams @ lambda_ @ dagger)
            fields = _double(waves)
            gradient -= amplitudes * np.sum(
                loss.real * fields.real + loss.imag * fields.imag, axis=1
            )
    return total, gradient, best


def _clip(amplitudes, upper):
    return np.minimum(np.maximum(amplitudes, 0.0), upper)


def _curved(gradient, free, moves, bends, latest, step):
    """The gradient times the inverse curvature that the last moves of m showed (L-BFGS).

    ``moves`` and ``bends`` (memory, N) are rings of changes of m and of -gradient, ``latest``
    the row filled last.  Only the free elements take part: those at a bound that the gradient
    pushes against stay where they are.
    """
    direction = gradient * free
    memory = len(moves)
    bent, share = np.zeros(memory), np.zeros(memory)
    for i in range(memory):
        row = (latest - i) % memory
        bent[row] = np.sum(moves[row] * bends[row] * free)
        if bent[row] > 0.0:
            share[row] = np.sum(moves[row] * direction) / bent[row]
            direction = direction - share[row] * bends[row] * free
    if bent[latest] > 0.0:
        step = bent[latest] / np.sum(bends[latest] ** 2 * free)
    direction = step * direction
    for i in range(memory):
        row = (latest + 1 + i) % memory
        if bent[row] > 0.0:
            back = np.sum(bends[row] * direction) / bent[row]
            direction = direction + (share[row] - back) * moves[row] * free
    return direction


def _room(budget):
    """A history of NaN for the rates of the iterates, as far as they are recorded."""
    return np.full(min(budget + 1, MOST_RECORDED), np.nan)


def _record(history, iterate, rate):
    if iterate < len(history):
        history[iterate] = rate


def _shorter(length, slope, rate, reached):
    """The length at which the parabola through the rate, its slope and the rate reached is highest.

    Within a tenth and a half of ``length``.
    """
    best = length * (length * slope / (2.0 * (rate + length * slope - reached)))
    return max(0.1 * length, best if best < 0.5 * length else 0.5 * length)


def _ascend(
    stage, channel, phase, amplitudes, psi, limits, noise_power, served, budget, tolerance, history
):
    """Nonmonotone projected ascent over m (docs/mathematics.md).

    Under `digital` power, where nearly all of m ends at a bound, the steps are spectral.  Under
    `radiated` power the rate does not change with the scale of m, which may grow, and the general
    stage takes quasi-Newton steps.  The budget counts evaluations, accepted or not.

    Returns the best m, its Psi and rate, the evaluations made, and whether it stopped by itself.
    """
    upper = _HEADROOM if limits.radiated else 1.0
    quasi = limits.radiated and stage == 1
    rate, gradient, psi = _evaluate(
        stage, channel, phase, amplitudes, psi, limits, noise_power, served
    )
    best_rate, best_amplitudes, best_psi = rate, amplitudes, psi
    _record(history, 0, rate)
    if not np.isfinite(rate):
        return best_amplitudes, best_psi, rate, 0, False
    recent = np.full(_RECENT, np.inf)
    recent[0] = rate
    moves = np.zeros((_MEMORY, len(amplitudes)))
    bends = np.zeros((_MEMORY, len(amplitudes)))
    largest = np.max(np.abs(gradient))
    step = _FIRST_MOVE / largest if largest > 0.0 else 1.0
    made, moved = 0, 0
    while made < budget:
        direction = _clip(amplitudes + step * gradient, upper) - amplitudes
        slope = np.sum(gradient * direction)
        if not slope > tolerance:
            return best_amplitudes, best_psi, best_rate, made, True
        if quasi and moved > 0:
            free = ((amplitudes > 0.0) | (gradient > 0.0)).astype(np.float64)
            bent = _curved(gradient, free, moves, bends, (moved - 1) % _MEMORY, step)
            bent = _clip(amplitudes + bent, upper) - amplitudes
            if np.sum(gradient * bent) > tolerance:
                direction, slope = bent, np.sum(gradient * bent)
        length, accepted = 1.0, False
        while made < budget and not accepted:
            trial = amplitudes + length * direction
            trial_rate, trial_gradient, trial_psi = _evaluate(
                stage, channel, phase, trial, psi, limits, noise_power, served
            )
            made += 1
            worst = np.min(recent)
            asked = worst + 1e-4 * length * slope - 4.0 * _EPSILON * worst
            accepted = trial_rate >= asked
            if accepted:
                break
            _record(history, made, rate)
            length = _shorter(length, slope, rate, trial_rate)
            if length < _SHORTEST:
                return best_amplitudes, best_psi, best_rate, made, True
        if not accepted:
            break
        move, bend = trial - amplitudes, gradient - trial_gradient
        curvature = np.sum(move * bend)
        step = 100.0
        if curvature > 0.0:
            step = min(max(np.sum(move**2) / curvature, 1e-8), 1e4)
        moves[moved % _MEMORY], bends[moved % _MEMORY] = move, bend
        moved += 1
        amplitudes, gradient, psi, rate = trial, trial_gradient, trial_psi, trial_rate
        recent[1:] = recent[:-1].copy()
        recent[0] = rate
        _record(history, made, rate)
        if rate > best_rate:
            best_rate, best_amplitudes, best_psi = rate, amplitudes, psi
    return best_amplitudes, best_psi, best_rate, made, False


def _beams(channel, phase, amplitudes, psi, limits):
    """V = Y Psi in every channel, (F, L, K), scaled to the power that it radiates, and its rate."""
    digital = np.empty((len(channel), phase.shape[2], channel.shape[1]), np.complex128)
    total = 0.0
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        beams = _whiten(channel[f], amplitudes, waves, limits.radiated)[1] @ psi[f]
        spent = _spent(waves, amplitudes, beams, limits.radiated)
        digital[f] = _scaled(beams, spent, limits.power)
        received = effective_channel(channel[f], amplitudes, waves) @ digital[f]
        total += _rate(_links(received, limits.noise_power)[2], limits.weights)
    return digital, total


def _spent(phase, amplitudes, digital, radiated):
    """Power of V in the convention asked for."""
    if not radiated:
        return _norm2(digital)
    return _norm2(_double(amplitudes.reshape(-1, 1) * phase) @ digital)


def _grams(channel, phase, amplitudes, radiated):
    """X = G' G'^H of every channel, (F, K, K)."""
    users = channel.shape[1]
    gram = np.empty((len(channel), users, users), np.complex128)
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        whitened = _whiten(channel[f], amplitudes, waves, radiated)[0]
        gram[f] = np.ascontiguousarray(whitened.conj().T) @ whitened
    return gram


def _finite(channel, phase, amplitudes):
    total = np.sum(amplitudes)
    for f in range(len(channel)):
        total += _norm2(channel[f])
    for g in range(len(phase)):
        total += _norm2(phase[g])
    return np.isfinite(total)


def _unsolved(channel, phase, amplitudes, history):
    digital = np.full((len(channel), phase.shape[2], channel.shape[1]), np.nan + 0j)
    return np.full(len(amplitudes), np.nan), digital, np.nan, 0, False, history


def _initial_beams(gram, psi, limits, noise_power, served):
    """The start of the general stage: the better of Psi as given and matched beams.

    WMMSE cannot revive a beam of zero power, and keeps a weak user for long: which
    start is right depends on the SNR, and two sweeps tell (found here).
    """
    best_rate, best = -1.0, psi
    for candidate in (psi, _matched(gram, served)):
        rate, _, _, refined = _general_terms(
            gram, candidate, limits.power, noise_power, limits.weights, 2
        )
        if rate > best_rate:
            best_rate, best = rate, refined
    return best


def _channel_gram(channel):
    """H H^H, (K, K)."""
    return channel @ np.ascontiguousarray(channel.conj().T)


def _metrics(channel, served):
    """(H H^H)^{-1} of the users served in every channel, (F, K, K), zero for the others."""
    metrics = np.empty((len(channel), channel.shape[1], channel.shape[1]), np.complex128)
    for f in range(len(channel)):
        whole = _restricted(_channel_gram(channel[f]), served)
        for k in range(len(whole)):
            gain = whole[k, k].real
            whole[k, k] = gain * (1.0 + _ALIKE) if gain > 0.0 else 1.0
        metrics[f] = np.linalg.inv(whole) * (served.reshape(-1, 1) * served)
    return metrics


def _places(channel, weights):
    """The place of every user in semi-orthogonal order; copies of others at places from K on.

    The largest weighted gain after projecting out those before: pivoted Cholesky of H H^H, summed
    over the channels.
    """
    gram = np.zeros((channel.shape[1], channel.shape[1]), np.complex128)
    for f in range(len(channel)):
        gram += _channel_gram(channel[f])
    gain = np.diag(gram).real.copy()
    place = np.full(len(gain), -1)
    for turn in range(len(gain)):
        left = np.where(place < 0, np.maximum(np.diag(gram).real, 0.0) * weights, -1.0)
        first = np.argmax(left)
        pivot = gram[first, first].real
        if not pivot > _COPY * gain[first]:
            place[first] = len(gain) + turn
            continue
        place[first] = turn
        row = gram[first].copy()
        gram -= row.conj().reshape(-1, 1) * row / pivot
    return place


def _fitted(channel, phase, amplitudes, metrics):
    """Halfway from a start m to amplitudes whose beams span what the users receive from.

    Alternating least squares of H^H - diag(m) Phi C over C and m >= 0, in the metric (H H^H)^{-1}
    in which all users count alike (found here: all-on starts end lower).  m stays where nobody
    receives.
    """
    found = amplitudes
    for _ in range(_FITTINGS):
        share, size = np.zeros(len(found)), np.zeros(len(found))
        for f in range(len(channel)):
            waves = phase[min(f, len(phase) - 1)]
            beams = _whiten(channel[f], found, waves, True)[1]
            weighted = beams @ metrics[f]
            dagger = np.ascontiguousarray(weighted.conj().T)
            share += _pull_back(channel[f], waves, dagger)
            fields = waves @ beams
            loads = waves @ weighted
            size += np.sum(fields.real * loads.real + fields.imag * loads.imag, axis=1)
        found = np.zeros(len(amplitudes))
        for n in range(len(found)):
            if size[n] > 0.0 and share[n] > 0.0:
                found[n] = share[n] / size[n]
        if not np.max(found) > 0.0:
            return amplitudes
        found = found / np.max(found)
    return 0.5 * amplitudes + 0.5 * found


def _general_stage(
    channel, phase, amplitudes, psi, limits, noise_power, served, budget, tolerance, history
):
    """`_ascend` with general V, entered from what is the better start of its beams."""
    gram = _grams(channel, phase, amplitudes, limits.radiated)
    start = np.zeros_like(psi)
    for f in range(len(channel)):
        if limits.floored:
            start[f, 0] = _settled(
                gram[f], limits.power, noise_power, limits.weights, limits.min_rate
            )
        else:
            start[f] = _initial_beams(gram[f], psi[f], limits, noise_power, served)
    return _ascend(
        1, channel, phase, amplitudes, start, limits, noise_power, served, budget, tolerance,
        history,
    )  # fmt: skip


def _candidate(channel, phase, start, limits, served, zf_iterations, prelude, tolerance):
    """A candidate: the fit, the zero-forcing stage and its share of the general one.

    Returns m, Psi, rate and evaluations where each of the two stages ended, whether the last
    stopped by itself, and the rates of the first.  The share is made at a higher noise; its rate is
    that at the problem's.
    """
    history = _room(zf_iterations)
    m, psi = start, np.zeros((len(channel), channel.shape[1], channel.shape[1]), np.complex128)
    if zf_iterations > 0:
        m = _fitted(channel, phase, start, _metrics(channel, served))
    rate, made, converged = -np.inf, 0, False
    if np.sum(served) <= phase.shape[2]:
        m, forced, rate, made, converged = _ascend(
            0, channel, phase, m, psi, limits, limits.noise_power, served, zf_iterations, tolerance,
            history,
        )  # fmt: skip
        if rate > -np.inf:
            psi = forced
    if prelude == 0:
        return m, psi, rate, m, psi, rate, made, converged, history
    louder = _PRELUDE_NOISE[int(limits.radiated)] * limits.noise_power
    later, swept, _, more, converged = _general_stage(
        channel, phase, m, psi, limits, louder, served, prelude, tolerance, _room(0)
    )
    reached, _, swept = _evaluate(
        1, channel, phase, later, swept, limits, limits.noise_power, served
    )
    return m, psi, rate, later, swept, reached, made + more, converged, history


def variable_projection(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    min_rate,
    radiated,
    zf_iterations,
    iterations,
    candidates,
    finalists,
    sweeps,
    tolerance,
):
    """ZF variable projection, then general variable projection, from a start m.

    The sum rate's best amplitudes often leave users out, and an ascent that begins with all of
    them seldom finds that.  So the candidates serve nested sets of users: all, all but the last in
    semi-orthogonal order, and so on, from twice the feeds where there are more.  Each is fitted to
    its channels, makes the ZF stage and a third of the general one at a higher noise; the
    ``finalists`` with the highest rates then make the rest (docs/mathematics.md, "Starts").  Copies
    of other users are never served.  Without ZF iterations the start is kept to; that and minimum
    rates leave one candidate and no such noise, and minimum rates serve everybody.

    Returns m, V (F, L, K), the rate, evaluations made, whether the last stage stopped by itself,
    and the rates after each evaluation (NaN at the higher noise).  Beams meet the minimum rates;
    where none were found that do, the rate is log2 of the worst SINR over what it should be,
    summed over the channels that fall short, and the beams balance the two.
    """
    history = _room(zf_iterations + iterations)
    if not _finite(channel, phase, amplitudes):
        return _unsolved(channel, phase, amplitudes, history)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    start = amplitudes.astype(np.float64)
    unit, heaviest = _unit_weights(weights)
    floored = bool(np.any(min_rate > 0.0))
    limits = Limits(power, noise_power, unit, min_rate, floored, radiated, sweeps)
    users = channel.shape[1]
    most = min(users, 2 * phase.shape[2] + 1)  # of the candidates: one for all, then one user less
    counts = [users] + [most - c for c in range(1, most)]
    places = np.zeros(users, np.int64) if floored else _places(wide, unit)
    prelude = 0 if floored or zf_iterations == 0 else iterations // _PRELUDE
    count = min(candidates, most) if prelude > 0 else 1
    ends = [
        _candidate(
            wide, waves, start, limits, (places < counts[c]).astype(np.float64), zf_iterations,
            prelude, tolerance,
        )
        for c in range(count)
    ]  # fmt: skip
    rates = np.array([end[5] for end in ends])
    best, best_psi, best_rate, made, converged = start, ends[0][1], -np.inf, 0, False
    for turn in range(min(finalists, count)):
        c = 0
        for other in range(1, count):
            if rates[other] > rates[c] or np.isnan(rates[c]):
                c = other
        rates[c] = -np.inf
        forced, forced_psi, forced_rate, m, psi, rate, steps, stopped, forced_history = ends[c]
        history[:] = np.nan
        history[: min(len(forced_history), len(history))] = forced_history[: len(history)]
        if iterations > 0 or forced_rate == -np.inf:
            m, psi, rate, more, stopped = _general_stage(
                wide, waves, m, psi, limits, noise_power, (places < counts[c]).astype(np.float64),
                iterations - prelude, tolerance, history[steps:],
            )  # fmt: skip
            steps += more
            if floored:
                gram = _grams(wide, waves, m, radiated)
                psi, rate = _restored(gram, psi, power, noise_power, unit, min_rate)
            if forced_rate > rate:
                m, psi, rate = forced, forced_psi, forced_rate
        if turn == 0 or rate > best_rate:
            best, best_psi, best_rate, made, converged = m, psi, rate, steps, stopped
    best = best / max(np.max(best), 1.0)
    digital, rate = _beams(wide, waves, best, best_psi, limits)
    if floored and best_rate < 0.0:
        rate = best_rate
    history = np.where(history > 0.0, heaviest * history, history)
    return best, digital, heaviest * rate if rate > 0.0 else rate, made, converged, history


def best_beams(
    channel, amplitudes, phase, power, noise_power, weights, min_rate, radiated, general, sweeps
):
    """Beams at given amplitudes, (F, L, K), and their rate.

    Zero forcing with water-filled powers or, if ``general``, the better of that and of ``sweeps``
    WMMSE sweeps; these too where there is no zero forcing.  Minimum rates as in
    `variable_projection`.
    """
    _, digital, rate, _, _, _ = variable_projection(
        channel, amplitudes, phase, power, noise_power, weights, min_rate, radiated, 0,
        int(general), 1, 1, sweeps, np.inf,
    )  # fmt: skip
    return digital, rate


def _zf_beams(channel, phase, amplitudes, power, radiated):
    """Equal-SINR zero forcing in every channel, (F, L, K)."""
    psi = _grams(channel, phase, amplitudes, radiated)
    digital = np.empty((len(channel), phase.shape[2], channel.shape[1]), np.complex128)
    for f in range(len(psi)):
        waves = phase[min(f, len(phase) - 1)]
        beams = _whiten(channel[f], amplitudes, waves, radiated)[1]
        digital[f] = beams @ _pseudoinverse(psi[f], _TINY)[0]
        spent = _spent(waves, amplitudes, digital[f], radiated)
        digital[f] = _scaled(digital[f], spent, power)
    return digital


def _fixed_beams(channel, phase, amplitudes, digital, power, noise_power, weights, radiated):
    """Rate at fixed V (scaled to the power) over all channels, and its gradient in m."""
    total, gradient = 0.0, np.zeros(len(amplitudes))
    for f in range(len(channel)):
        waves = phase[min(f, len(phase) - 1)]
        spent = _spent(waves, amplitudes, digital[f], radiated)
        if not spent > 0.0:
            total += 0.0 * spent
            continue
        received = _double(effective_channel(channel[f], amplitudes, waves)) @ digital[f]
        rate, adjoint, d_noise = _rate_adjoint(received, noise_power * spent / power, weights)
        dagger = np.ascontiguousarray(digital[f].conj().T)
        total += rate
        gradient += _pull_back(channel[f], waves, (2.0 / LN2) * adjoint @ dagger)
        if radiated:
            fields = _double(waves) @ digital[f]
            loss = np.sum(fields.real**2 + fields.imag**2, axis=1)
            gradient -= (2.0 / LN2 * noise_power / power * d_noise) * amplitudes * loss
    return total, gradient


def _backtracked(
    channel,
    phase,
    amplitudes,
    digital,
    power,
    noise_power,
    weights,
    radiated,
    rate,
    gradient,
    length,
):
    """One step at fixed V that raises its rate (Armijo, halving), from twice the last length.

    Returns m, its rate and gradient, and the length; all as they were where no step does.
    """
    trial_length = min(2.0 * length, 1e4)
    while trial_length > 1e-12:
        trial = _clip(amplitudes + trial_length * gradient, 1.0)
        trial_rate, trial_gradient = _fixed_beams(
            channel, phase, trial, digital, power, noise_power, weights, radiated
        )
        if trial_rate >= rate + 1e-4 * np.sum(gradient * (trial - amplitudes)):
            return trial, trial_rate, trial_gradient, trial_length
        trial_length *= 0.5
    return amplitudes, rate, gradient, length


def alternating(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    radiated,
    backtracking,
    step,
    inner,
    tolerance,
    iterations,
):
    """[B] Algorithm 1: ZF, `inner` gradient steps on m, ZF again.

    With ``inner`` 0 the steps run until |dR| < tolerance, but at most a hundred, since at a
    fixed step they may go back and forth for ever.  With ``backtracking`` a step is as long as
    the rate at its beams allows, ``step`` only the first guess.

    Not monotone, so the best iterate is kept.  Returns as `variable_projection`;
    ``iterations`` bounds the gradients and ``history`` holds the rate after each ZF.
    """
    history = _room(iterations)
    if not _finite(channel, phase, amplitudes):
        return _unsolved(channel, phase, amplitudes, history)
    unit, heaviest = _unit_weights(weights)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    current = amplitudes.astype(np.float64)
    digital = _zf_beams(wide, waves, current, power, radiated)
    rate, gradient = _fixed_beams(wide, waves, current, digital, power, noise_power, unit, radiated)
    history[0] = rate
    best, best_digital, best_rate = current, digital, rate
    made, converged = 0, False
    while made < iterations and not converged:
        served, steps = rate, 0
        while made < iterations:
            previous = rate
            if backtracking:
                current, rate, gradient, step = _backtracked(
                    wide,
                    waves,
                    current,
                    digital,
                    power,
                    noise_power,
                    unit,
                    radiated,
                    rate,
                    gradient,
                    step,
                )
            else:
                current = _clip(current + step * gradient, 1.0)
            made += 1
            steps += 1
            if steps == inner:
                break
            if not backtracking:
                rate, gradient = _fixed_beams(
                    wide, waves, current, digital, power, noise_power, unit, radiated
                )
            if inner == 0 and (abs(rate - previous) < tolerance or steps == _MOST_STEPS):
                break
        digital = _zf_beams(wide, waves, current, power, radiated)
        rate, gradient = _fixed_beams(
            wide, waves, current, digital, power, noise_power, unit, radiated
        )
        _record(history, made, rate)
        if rate > best_rate:
            best, best_digital, best_rate = current, digital, rate
        converged = abs(rate - served) < tolerance
    return best, best_digital, heaviest * best_rate, made, converged, heaviest * history


def _quadratic(received, noise, weights):
    """a and c of the quadratic sum_k a_k (D_k + |A_kk|^2) - 2 Re sum_k c_k A_kk to minimise.

    a = alpha w |u|^2 and c = alpha w conj(u) of WMMSE are a = alpha |y|^2 and
    c = alpha (1 + SINR)^{1/2} conj(y) of fractional programming (docs/mathematics.md).
    """
    amplitude, disturbance, ratio = _links(received, noise)
    total = disturbance * (1.0 + ratio)
    gain = weights * (1.0 + ratio)
    return gain * np.abs(amplitude / total) ** 2, gain * amplitude.conj() / total


def _descend(channel, fields, amplitudes, received, curvature, target, ridge):
    """One sweep of exact coordinate descent on m in the box, A updated in place.

    With Z = Phi V, dA_kj = H_kn Z_nj dm_n, so that each m_n has the quadratic of
    `_quadratic` with slope and curvature below; ``ridge`` is sigma^2 / P sum(a) under
    `radiated` power, whose noise grows with sum_n m_n^2 |Z_n|^2, and 0 under `digital`.
    """
    for n in range(len(amplitudes)):
        slope, bend = 0.0, 0.0
        for f in range(len(channel)):
            row, field = channel[f, :, n], fields[f, n]
            size = np.sum(field.real**2 + field.imag**2)
            mixed = received[f] @ field.conj()
            pull = curvature[f] * (row.real * mixed.real + row.imag * mixed.imag)
            slope += np.sum(pull) - np.sum((target[f] * row * field).real)
            slope += ridge[f] * size * amplitudes[n]
            bend += size * (np.sum(curvature[f] * (row.real**2 + row.imag**2)) + ridge[f])
        if not bend > 0.0:
            continue
        moved = min(max(amplitudes[n] - slope / bend, 0.0), 1.0)
        change = moved - amplitudes[n]
        amplitudes[n] = moved
        for f in range(len(channel)):
            row, field = channel[f, :, n], fields[f, n]
            for k in range(len(row)):
                received[f, k] += change * row[k] * field


def coordinate_descent(
    channel,
    amplitudes,
    phase,
    power,
    noise_power,
    weights,
    radiated,
    zero_forced,
    tolerance,
    iterations,
):
    """Beams, then one sweep of coordinate descent on m, in turn: [A]'s two baselines.

    Beams by a WMMSE update, from matched ones ([A] WMMSE-HBF; monotone), or by
    water-filled zero forcing (ZF-HBF; not monotone, so the best iterate is kept).  Stops
    when the rate changes by less than ``tolerance``.  Returns as `variable_projection`;
    ``history`` holds the rate after each update of the beams.
    """
    history = _room(iterations)
    if not _finite(channel, phase, amplitudes):
        return _unsolved(channel, phase, amplitudes, history)
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    current = amplitudes.astype(np.float64)
    unit, heaviest = _unit_weights(weights)
    everybody = np.ones_like(unit)
    limits = Limits(power, noise_power, unit, 0.0 * unit, False, radiated, 0)
    ratio = noise_power / power
    psi = _grams(wide, waves, current, radiated)
    received, spent = np.zeros_like(psi), np.zeros(len(psi))
    curvature, target = np.zeros(psi.shape[:2]), np.zeros(psi.shape[:2], np.complex128)
    ridge = np.zeros(len(psi))
    fields = np.zeros((len(psi), len(current), channel.shape[1]), np.complex128)
    for f in range(len(psi)):
        gram = psi[f].copy()
        psi[f] = _matched(gram, everybody)
        received[f], spent[f] = _spent_by(gram, psi[f])
    best, best_psi, best_rate = current.copy(), psi.copy(), -np.inf
    made, converged, previous = 0, False, 0.0
    for i in range(iterations + 1):
        rate = 0.0
        for f in range(len(psi)):
            wave = waves[min(f, len(waves) - 1)]
            whitened, beams = _whiten(wide[f], current, wave, radiated)
            gram = np.ascontiguousarray(whitened.conj().T) @ whitened
            if zero_forced:
                zf_rate, _, _, psi[f], _ = _zf_terms(gram, limits, noise_power, everybody)
                if zf_rate == -np.inf:
                    psi[f] = _pseudoinverse(gram, _TINY)[0]
            else:
                psi[f] = _wmmse_update(gram, psi[f], received[f], spent[f], ratio, unit)
            received[f], spent[f] = _spent_by(gram, psi[f])
            fields[f] = wave @ (beams @ psi[f])
            if spent[f] > 0.0:
                rate += _rate(_links(received[f], ratio * spent[f])[2], unit)
        _record(history, i, rate)
        made = i
        if rate > best_rate:
            best, best_psi, best_rate = current.copy(), psi.copy(), rate
        converged = i > 0 and abs(rate - previous) < tolerance
        if converged or i == iterations:
            break
        previous = rate
        for f in range(len(psi)):
            if spent[f] > 0.0:
                noise = ratio * spent[f]
                curvature[f], target[f] = _quadratic(received[f], noise, unit)
                ridge[f] = ratio * np.sum(curvature[f]) if radiated else 0.0
        _descend(wide, fields, current, received, curvature, target, ridge)
        if radiated:
            for f in range(len(psi)):
                size = fields[f].real ** 2 + fields[f].imag ** 2
                spent[f] = np.sum(current**2 * np.sum(size, axis=1))
    digital, rate = _beams(wide, waves, best, best_psi, limits)
    return best, digital, heaviest * rate, made, converged, heaviest * history


def wmmse_gradient(
    channel, amplitudes, phase, digital, power, noise_power, weights, radiated, sweeps
):
    """Rate after some WMMSE sweeps from V, the beams, and the rate's gradient in m at them.

    At the best V that is the gradient of the best rate at m (envelope theorem).
    Beams that reach nobody stay as they are, scaled to the power.
    """
    wide, waves = channel.astype(np.complex128), phase.astype(np.complex128)
    beams, current = _double(digital), amplitudes.astype(np.float64)
    if not np.isfinite(_norm2(wide) + _norm2(waves) + _norm2(beams) + np.sum(current)):
        return np.nan, np.full_like(beams, np.nan), np.full_like(current, np.nan)
    ratio = noise_power / power
    beams = _scaled(beams, _spent(waves, current, beams, radiated), power)
    if sweeps > 0:
        whitened, carrier = _whiten(wide, current, waves, radiated)
        gram = np.ascontiguousarray(whitened.conj().T) @ whitened
        received = effective_channel(wide, current, waves) @ beams
        psi = _wmmse_update(gram, np.zeros_like(gram), received, power, ratio, weights)
        for _ in range(sweeps - 1):
            psi = _wmmse_sweep(gram, psi, ratio, weights)
        if _norm2(psi) > 0.0:
            beams = _scaled(carrier @ psi, _spent_by(gram, psi)[1], power)
    rate, gradient = _fixed_beams(
        wide.reshape((1, *wide.shape)),
        waves.reshape((1, *waves.shape)),
        current,
        beams.reshape((1, *beams.shape)),
        power,
        noise_power,
        weights,
        radiated,
    )
    return rate, beams, gradient
