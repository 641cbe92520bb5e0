"""Every operator in plain PyTorch, over any leading dimensions, and its adjoint below it.

The definition is what runs on CUDA, the counterpart of `hmimo_fast.kernels.definitions` with the
signatures of the table of operators.  As there, K x K and K x L algebra runs in double precision
whatever the channel's, and an item with a NaN or an infinity gives NaN in that item alone.

An adjoint runs backward on any device.  It takes which inputs need a gradient, the inputs, the
outputs and the gradients of the outputs (None where nothing depends on them), and returns the
gradients of the inputs before what was broadcast is summed.  A gradient g in x means
df = Re sum conj(g) dx, here as in PyTorch.  All is made of PyTorch's operations on what was saved,
so that second derivatives are right, except those of `sum_rate`, whose gradient comes from the
kernel; they raise NotImplementedError.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

LN2 = math.log(2.0)

Needs: TypeAlias = Sequence[bool]
Saved: TypeAlias = Sequence[Any]
Gradients: TypeAlias = tuple[Tensor | None, ...]
#: Relative to the mean of its diagonal, what is added to a Gram matrix that may be singular.
_GUARD = 1e-12
#: Of the balanced rates, as in `hmimo_fast.kernels.definitions`: sweeps, the gap at which they end,
#: that from which Newton's method may fail and that at which a minimum rate is met, the longest
#: step of log lambda, and the power, of what users need alone, above which none is said to do.
_BALANCING, _BALANCED, _WIDE, _MET = 60, 1e-12, 0.5, 1e-6
_LONGEST_STEP, _MOST_POWER = 1.0, 1e12
#: By how much at least the diagonal of the system of beta is above the rest of its column.
_DOMINANT = 1.0 + 512.0 * torch.finfo(torch.float64).eps


def over_matrices(value: Tensor) -> Tensor:
    """A number per item, (...) -> (..., 1, 1)."""
    return value[..., None, None]


def double(matrix: Tensor) -> Tensor:
    """The matrix in double precision."""
    return matrix.to(torch.complex128)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """Re tr(A^H B), (...)."""
    return (a.conj() * b).real.sum((-2, -1))


def diagonal(matrix: Tensor) -> Tensor:
    """The diagonal, (..., K, K) -> (..., K)."""
    return matrix.diagonal(dim1=-2, dim2=-1)


def identity(like: Tensor) -> Tensor:
    """The identity matrix of the size, dtype and device of square matrices."""
    return torch.eye(like.shape[-1], dtype=like.dtype, device=like.device)


def scaled(matrix: Tensor, power: Tensor, target: Tensor) -> Tensor:
    """The matrix scaled from one power to another; zero stays zero."""
    return matrix * over_matrices(torch.sqrt(target / torch.where(power == 0.0, 1.0, power)))


def matched(gradient: Tensor, amplitudes: Tensor) -> Tensor:
    """A gradient in complex weights, or its real part where the amplitudes are real."""
    return gradient if amplitudes.is_complex() else gradient.real


def radiating(amplitudes: Tensor, phase: Tensor) -> Tensor:
    """diag(m) Phi, (..., N, L), in the precision of the phase."""
    return (amplitudes[..., :, None] * phase).to(phase.dtype)


def effective_channel(channel: Tensor, amplitudes: Tensor, phase: Tensor) -> Tensor:
    """G = H diag(m) Phi, (..., K, L), in the precision of the channel."""
    return (channel * amplitudes[..., None, :]).to(channel.dtype) @ phase.to(channel.dtype)


def effective_channel_adjoint(
    needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved
) -> Gradients:
    """G = H diag(m) Phi."""
    channel, amplitudes, phase = inputs
    return _surface(needs, channel, amplitudes, phase, gradients[0])


def _surface(
    needs: Needs,
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    d_effective: Tensor,
) -> Gradients:
    """dH = dG Phi^H diag(q)^*, dq = sum over k of conj(H) (dG Phi^H), dPhi = diag(q)^* H^H dG."""
    d_channel = d_amplitudes = d_phase = None
    if needs[0] or needs[1]:
        waves = d_effective @ phase.to(d_effective.dtype).mH
        d_channel = waves * amplitudes.conj()[..., None, :] if needs[0] else None
        d_amplitudes = matched((channel.conj() * waves).sum(-2), amplitudes) if needs[1] else None
    if needs[2]:
        d_phase = amplitudes.conj()[..., :, None] * (channel.to(d_effective.dtype).mH @ d_effective)
    return d_channel, d_amplitudes, d_phase


def links(received: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Interference plus noise D and SINR of A = G V, (..., K) each."""
    gain = received.real.square() + received.imag.square()
    disturbance = noise[..., None] + (gain * (1.0 - identity(gain))).sum(-1)
    return disturbance, diagonal(gain) / disturbance


def rates(sinr: Tensor) -> Tensor:
    """log2(1 + SINR)."""
    return torch.log1p(sinr) / LN2


def total(values: Tensor, weights: Tensor | None) -> Tensor:
    """Sum over the users, (..., K) -> (...)."""
    return (values if weights is None else weights * values).sum(-1)


def rate_adjoint(received: Tensor, noise: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """dR/dA, (..., K, K), and dR/dnoise, (...), of A = G V (docs/mathematics.md)."""
    disturbance, sinr = links(received, noise)
    scale = 1.0 / (disturbance * (1.0 + sinr))
    if weights is not None:
        scale = weights * scale
    unlike = scale * sinr
    own = identity(received).real.bool()
    factors = torch.where(own, scale[..., :, None], -unlike[..., :, None])
    return (2.0 / LN2) * factors * received, -unlike.sum(-1) / LN2


def sinr(
    channel: Tensor, amplitudes: Tensor, phase: Tensor, digital: Tensor, noise_power: Tensor
) -> Tensor:
    """SINR of every user, (..., K)."""
    received = double(effective_channel(channel, amplitudes, phase)) @ double(digital)
    return links(received, noise_power)[1].to(channel.real.dtype)


def sum_rate(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    noise_power: Tensor,
    weights: Tensor | None,
) -> Tensor:
    """R = sum_k alpha_k log2(1 + SINR_k), (...)."""
    received = double(effective_channel(channel, amplitudes, phase)) @ double(digital)
    return total(rates(links(received, noise_power)[1]), weights).to(channel.real.dtype)


def sum_rate_gradient(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    noise_power: Tensor,
    weights: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rate, dR/dm (..., N) and dR/dV (..., L, K)."""
    effective, beams = double(effective_channel(channel, amplitudes, phase)), double(digital)
    received = effective @ beams
    rate = total(rates(links(received, noise_power)[1]), weights)
    d_received, _ = rate_adjoint(received, noise_power, weights)
    waves = (d_received @ beams.mH) @ double(phase).mH
    d_amplitudes = matched((channel.conj() * waves).sum(-2), amplitudes)
    real = channel.real.dtype
    d_digital = (effective.mH @ d_received).to(channel.dtype)
    own = channel.dtype if amplitudes.is_complex() else real
    return rate.to(real), d_amplitudes.to(own), d_digital


def sum_rate_gradient_adjoint(
    needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved
) -> Gradients:
    """R alone: the kernel has dR/dm and dR/dV, the others follow from dR/dA."""
    d_rate, *second = gradients
    if not torch.compiler.is_compiling() and any(gradient is not None for gradient in second):
        raise NotImplementedError("sum_rate: second derivatives are not implemented")
    d_users, d_matrix = d_rate[..., None], over_matrices(d_rate)
    _, d_amplitudes, d_digital = outputs
    d_channel = d_phase = d_noise = d_weights = None
    if needs[0] or needs[2] or needs[4] or needs[5]:
        channel, amplitudes, phase, digital, noise_power, weights = inputs
        beams = double(digital)
        received = double(effective_channel(channel, amplitudes, phase)) @ beams
        d_received, d_noise = rate_adjoint(received, noise_power, weights)
        d_effective = d_matrix * (d_received @ beams.mH)
        only = (needs[0], False, needs[2])
        d_channel, _, d_phase = _surface(only, channel, amplitudes, phase, d_effective)
        d_noise = d_rate * d_noise
        if needs[5]:
            d_weights = d_users * rates(links(received, noise_power)[1])
    return d_channel, d_users * d_amplitudes, d_phase, d_matrix * d_digital, d_noise, d_weights


def zero_forcing(effective_channel: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """V = G^+ scaled to the power, (..., M, K), and the rank of G, (...)."""
    if effective_channel.shape[-2] > effective_channel.shape[-1]:
        raise ValueError(
            "effective_channel: expected (..., K, M) with K <= M for zero forcing, "
            f"got {tuple(effective_channel.shape)}"
        )
    inverse, rank = pseudoinverse(effective_channel)
    return scaled(inverse, inner(inverse, inverse), power).to(effective_channel.dtype), rank


def zero_forcing_adjoint(
    needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved
) -> Gradients:
    """V = s Y, Y = G^+ of constant rank (Golub and Pereyra, 1973, eq. 4.12): tr(G V) = s rank."""
    g, power = double(inputs[0]), inputs[1]
    v, rank = double(outputs[0]), outputs[1]
    d_v = double(gradients[0])
    trace = diagonal(g @ v).real.sum(-1)
    size = over_matrices(torch.where(rank == 0, 1.0, trace / rank.clamp_min(1)))
    along = inner(v, d_v) / power
    y, d_y = v / size, size * (d_v - over_matrices(along) * v)
    reached, kept = g @ y, y @ g
    d_g = (
        (identity(reached) - reached) @ d_y.mH @ y @ y.mH
        + y.mH @ y @ d_y.mH @ (identity(kept) - kept)
        - y.mH @ d_y @ y.mH
    )
    return d_g, 0.5 * along


def pseudoinverse(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Minimum-norm inverse in double precision, and the rank.

    Singular values up to max(shape) eps times the largest count as zero, eps that of the matrix's
    own precision; an item that is not finite gives NaN and rank 0.
    """
    wide = double(matrix)
    finite = torch.isfinite(inner(wide, wide))
    tolerance = max(matrix.shape[-2:]) * torch.finfo(matrix.dtype).eps
    left, values, right = torch.linalg.svd(
        torch.where(over_matrices(finite), wide, 0.0), full_matrices=False
    )
    counted = values > tolerance * values[..., :1]
    reciprocals = torch.where(counted, 1.0 / values, 0.0)
    inverse = (right.mH * reciprocals[..., None, :]) @ left.mH
    return torch.where(over_matrices(finite), inverse, math.nan), counted.sum(-1)


def _solved(system: Tensor, right: Tensor) -> Tensor:
    """Solutions, (..., K, n), without a check, which would wait for the device."""
    return torch.linalg.solve_ex(system, right)[0]


def _solved_one(system: Tensor, right: Tensor) -> Tensor:
    """The solution for one right-hand side, (..., K)."""
    return _solved(system, right[..., None])[..., 0]


def _over(value: Tensor, by: Tensor) -> Tensor:
    """A quotient where the divisor is positive, 0 elsewhere."""
    return torch.where(by > 0.0, value / torch.where(by > 0.0, by, 1.0), 0.0)


def _dual(gram: Tensor, share: Tensor, ridge: Tensor) -> tuple[Tensor, ...]:
    """half T, T_kk, SINR, beta and its system in the dual uplink (docs/mathematics.md)."""
    half = share.sqrt()
    signals = gram * half[..., :, None] * half[..., None, :]
    rounding = 4.0 * torch.finfo(share.dtype).eps * diagonal(signals).real.amax(-1)
    ridge = over_matrices(torch.maximum(ridge, rounding))
    inverse = torch.linalg.inv_ex(signals + ridge * identity(signals))[0]
    own = diagonal(inverse).real
    answered = ((signals * inverse.mT).real).sum(-1)  # SINR / (1 + SINR)
    missed = ridge[..., 0] * own
    answered = torch.where(1.0 - missed > 1e-3, 1.0 - missed, answered)
    sinr = answered / missed
    squares = inverse.real.square() + inverse.imag.square()
    system = squares * (-ridge / own[..., None, :])
    eye = identity(system).bool()
    least = torch.where(eye, 0.0, system).sum(-2) * -_DOMINANT
    answered = torch.maximum(answered, least).clamp_min(1e-30)
    system = torch.where(eye, answered[..., None], system)
    beta = _solved_one(system, share)
    return half[..., None] * inverse, own, sinr, beta, system


def _balanced(
    effective_channel: Tensor,
    power: Tensor,
    noise_power: Tensor,
    weights: Tensor,
    min_rate: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """V with rates in the ratio of the weights at the power, or minimum rates at the least power.

    By Newton's method in the dual uplink (docs/mathematics.md, "Balanced rates").  Returns V, the
    lowest rate over its weight, the power, and whether all minimum rates are met.  The sweeps are
    those of the kernels and end once all items are done.
    """
    g = double(effective_channel)
    finite = torch.isfinite(inner(g, g))
    g = torch.where(over_matrices(finite), g, 0.0)
    size = g.abs().amax((-2, -1))
    size = torch.where(size > 0.0, size, 1.0)
    g = g / over_matrices(size)
    ridge = ((noise_power / power).sqrt() / size).clamp(1e-140, 1e140).square()
    weights = weights.double()
    heaviest = weights.amax(-1, keepdim=True)
    heaviest = torch.where(heaviest > 0.0, heaviest, 1.0)
    unit = weights / heaviest
    gram = g @ g.mH
    shared = min_rate is None
    wanted = (unit > 0.0).double() if min_rate is None else torch.expm1(LN2 * min_rate)
    share = _over(wanted * ridge[..., None], diagonal(gram).real)
    alone = share.sum(-1, keepdim=True)
    if shared:
        share = _over(share, alone)
    most = torch.ones_like(alone) if shared else _MOST_POWER * alone
    last, slow = torch.full_like(alone, math.inf), torch.zeros_like(alone, dtype=torch.bool)
    for sweep in range(_BALANCING):
        directions, own, sinr, beta, system = _dual(gram, share, ridge)
        reached = rates(sinr)
        worth, heard = LN2 * beta, (share > 0.0).double()
        budget = most + (worth * reached - share).sum(-1, keepdim=True)
        if min_rate is None:
            pull = unit * heard
            weighed = pull.sum(-1, keepdim=True)
            hidden = (budget <= 0.0) & (weighed > 0.0)
            mean = _over(torch.where(unit > 0.0, reached, 0.0).sum(-1, keepdim=True), weighed)
            level = _over(budget, (pull * worth).sum(-1, keepdim=True))
            goals = pull * torch.where(hidden, mean, level)
            fits = torch.ones_like(budget, dtype=torch.bool)
        else:
            goals = min_rate * heard
            needed = (goals * worth).sum(-1, keepdim=True)
            fits = needed <= budget
            goals = torch.where(fits, goals, goals * _over(budget, needed))
            hidden = torch.zeros_like(fits)
        moved = (goals > 0.0) & (reached > 0.0) & (share > 0.0)
        answered = diagonal(system)
        safe = torch.where(moved, reached, 1.0)
        ratio = (torch.where(moved, goals, 1.0) / safe).log()
        gap = ratio + (goals - reached) * (LN2 / answered - 1.0 / safe)
        gap = torch.where(moved, gap, 0.0)
        widest = gap.abs().amax(-1, keepdim=True)
        going = widest > _BALANCED
        if sweep == _BALANCING - 1 or not going.any():
            break
        slow = hidden | ((widest > _WIDE) & (slow | (widest > last)))
        last = widest
        step = torch.where(slow, ratio, _solved_one(system.mT, answered * gap))
        total = share.sum(-1, keepdim=True)
        mean = _over((share * step).sum(-1, keepdim=True), total)
        stepped = share * _grown(mean) * _grown(step - mean)
        total = stepped.sum(-1, keepdim=True)
        full = (total > 0.0) & (shared | ~fits | (total > most))
        stepped = torch.where(full, stepped * _over(most, total), stepped)
        share = torch.where(going, stepped, share)
    precoder = g.mH @ (directions * (beta / own).sqrt()[..., None, :])
    spent = power * share.sum(-1)
    precoder = scaled(precoder, inner(precoder, precoder), spent)
    met = (fits & (widest < _MET)).squeeze(-1) & ((wanted == 0.0) | (share > 0.0)).all(-1)
    lowest = torch.where(unit > 0.0, torch.where(share > 0.0, reached, 0.0), math.inf)
    lowest = (lowest / torch.where(unit > 0.0, weights, 1.0)).amin(-1)
    fine = finite.expand(spent.shape)
    precoder = torch.where(over_matrices(fine), precoder, math.nan)
    lowest, spent = (torch.where(fine, value, math.nan) for value in (lowest, spent))
    return precoder.to(effective_channel.dtype), lowest, spent, met & fine


def _grown(step: Tensor) -> Tensor:
    """exp(step) to second order, the step clipped to the longest."""
    cut = step.clamp(-_LONGEST_STEP, _LONGEST_STEP)
    return (2.0 + cut) / (2.0 - cut)


def _balanced_adjoint(
    channel: Tensor,
    noise_power: Tensor,
    precoder: Tensor,
    d_precoder: Tensor | None,
    price: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of the V of least power p for its rates: gradients in G, noise, rates and p; the rates.

    V and lambda are stationary in norm(V)^2 - sum_k lambda_k h_k with the constraints
    h_k = sum_j S_kj abs(A_kj)^2 - sigma^2 = 0, A = G V, S_kk = 1 / SINR_k and S_kj = -1.  The
    adjoint (W, mu) solves the symmetric system of the derivatives of these conditions (derived
    here; docs/mathematics.md, "Balanced rates").  With C = I + G^H diag(lambda) G and the M-matrix
    N = S abs(A)^2, which also gives lambda, W is C^-1 R + V diag(tau).  A_kk > 0 fixes the phases.

    The gradient in p is ``price`` of the gradient in the rates through V alone and of dp/dR_k.
    Users without a beam, and items whose V is not finite, have no part in this.
    """
    fine = over_matrices(torch.isfinite(inner(precoder, precoder)))
    g, v = torch.where(fine, channel, 0.0), torch.where(fine, precoder, 0.0)
    received = g @ v
    own = diagonal(received).real
    served = own > 0.0
    disturbance, sinr = links(received, noise_power)
    ratio = torch.where(served, sinr, 1.0)
    eye = identity(received).real
    signs = torch.where(eye.bool(), 1.0 / ratio[..., None], -1.0) * served[..., None]
    system = signs * (received.real.square() + received.imag.square())
    system = system + torch.diag_embed((~served).to(system.dtype))
    d_v = torch.zeros_like(v) if d_precoder is None else d_precoder
    d_v = torch.where(fine & served[..., None, :], d_v, 0.0)
    along = (v.conj() * d_v).sum(-2)
    spent = (v.real.square() + v.imag.square()).sum(-2)
    dual, mu = _solved(system.mT, torch.stack((spent, -along.real), -1)).unbind(-1)
    turning = -1j * torch.diag_embed(along.imag / torch.where(served, own, 1.0))
    right = d_v + g.mH @ (turning + mu[..., None] * signs * received)
    regular = eye + (g @ g.mH) * dual[..., None, :]
    answered = _solved(regular, g @ right)
    tau = _solved_one(system, -(signs * (received.conj() * answered).real).sum(-1))
    w = right - g.mH @ (dual[..., None] * answered) + v * tau[..., None, :]
    answered = answered + received * tau[..., None, :]
    slope = LN2 * (1.0 + ratio) / ratio * disturbance
    worth, d_rates = slope * dual, -slope * (dual * tau + 0.5 * mu)
    d_power = price(d_rates, worth)
    d_rates = d_rates + worth * d_power[..., None]
    mu = mu - 2.0 * dual * d_power[..., None]
    d_received = turning + signs * (dual[..., None] * answered + mu[..., None] * received)
    d_g = d_received @ v.mH + (signs * dual[..., None] * received) @ w.mH
    return d_g, -0.5 * mu.sum(-1), d_rates, d_power, torch.where(served, rates(sinr), 0.0)


def max_min(
    effective_channel: Tensor, power: Tensor, noise_power: Tensor, weights: Tensor | None
) -> tuple[Tensor, Tensor]:
    """V whose lowest rate over its weight is highest, (..., L, K), and that."""
    if weights is None:
        weights = torch.ones_like(effective_channel[..., 0].real)
    return _balanced(effective_channel, power, noise_power, weights, None)[:2]


def max_min_adjoint(needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved) -> Gradients:
    """Of the V of least power for the rates alpha t, where p = P gives t.

    A gradient in t moves P by itself over sum_k alpha_k dp/dR_k, and all else that p depends on by
    minus that times p's derivative.
    """
    channel, _, noise_power, weights = inputs
    precoder, common = outputs
    d_precoder, d_common = gradients
    alpha = torch.ones_like(channel[..., 0].real) if weights is None else weights

    def price(d_rates: Tensor, worth: Tensor) -> Tensor:
        d_level = (alpha * d_rates).sum(-1)
        if d_common is not None:
            d_level = d_level + torch.where((common > 0.0) & (common < math.inf), d_common, 0.0)
        return -_over(d_level, (alpha * worth).sum(-1))

    d_g, d_noise, d_rates, d_power, reached = _balanced_adjoint(
        channel, noise_power, precoder, d_precoder, price
    )
    return d_g, -d_power, d_noise, d_rates * _over(reached, alpha)


def min_power(
    effective_channel: Tensor, noise_power: Tensor, min_rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """V of least power that meets minimum rates, (..., L, K), that power, and whether there is."""
    one = torch.ones_like(noise_power)
    precoder, _, spent, met = _balanced(effective_channel, one, noise_power, min_rate, min_rate)
    spent = torch.where(met | spent.isnan(), spent, math.inf)
    return torch.where(over_matrices(met), precoder, math.nan), spent, met


def min_power_adjoint(needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved) -> Gradients:
    """Of the power that of the Lagrangian (envelope theorem), of V as above."""
    channel, noise_power, _ = inputs
    precoder, power, feasible = outputs
    d_precoder, d_power, _ = gradients

    def price(d_rates: Tensor, worth: Tensor) -> Tensor:
        return torch.zeros_like(power) if d_power is None else torch.where(feasible, d_power, 0.0)

    return _balanced_adjoint(channel, noise_power, precoder, d_precoder, price)[:3]


def project(
    amplitudes: Tensor, phase: Tensor, precoder: Tensor, power: Tensor, radiated: bool
) -> Tensor:
    """V = (diag(m) Phi)^+ W scaled to the power, (..., L, K)  ([A] eq. 6-7)."""
    surface = radiating(amplitudes, phase)
    digital = pseudoinverse(surface)[0] @ double(precoder)
    sent = double(surface) @ digital if radiated else digital
    return scaled(digital, inner(sent, sent), power).to(phase.dtype)


def project_adjoint(needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved) -> Gradients:
    """V = s D, D = B^+ W, B = diag(m) Phi of full column rank: B^H (W - B D) = 0 gives D and s."""
    amplitudes, phase, precoder, power, radiated = inputs
    surface, w = double(radiating(amplitudes, phase)), double(precoder)
    v, d_v = double(outputs[0]), double(gradients[0])
    gram = surface.mH @ surface
    sent = surface @ v
    overlap = inner(w, sent)
    size = over_matrices(torch.where(overlap == 0.0, 1.0, inner(sent, sent) / overlap))
    along = inner(v, d_v) / power
    d_d = size * (d_v - over_matrices(along) * (gram @ v if radiated else v))
    z = torch.cholesky_solve(d_d, cholesky(gram))
    d_w = surface @ z
    d = v / size
    d_surface = (w - surface @ d) @ z.mH - d_w @ d.mH
    if radiated:
        d_surface = d_surface - over_matrices(along) * sent @ v.mH
    d_amplitudes = matched((phase.conj() * d_surface).sum(-1), amplitudes)
    return d_amplitudes, amplitudes.conj()[..., :, None] * d_surface, d_w, 0.5 * along, None


def wmmse_sweep(
    effective_channel: Tensor,
    digital: Tensor,
    power: Tensor,
    noise_power: Tensor,
    weights: Tensor | None,
    gram: Tensor | None,
) -> Tensor:
    """One WMMSE update of V, at the power in the norm of B, (..., L, K) (docs/mathematics.md).

    V = Y Psi, Y = B^-1 G^H, Psi = (diag(a) G Y + c I)^-1 diag(t), c = (sigma^2 / P) sum(a), with
    a_k = alpha_k abs(A_kk)^2 / (D_k T_k) and t_k = alpha_k A_kk / D_k.
    """
    g, v = double(effective_channel), double(digital)
    if gram is None:
        carrier, spent = g.mH, inner(v, v)
    else:
        norm = double(gram)
        carrier = torch.cholesky_solve(g.mH, cholesky(norm))
        spent = inner(v, norm @ v)
    ratio = noise_power / power
    received = g @ v
    disturbance, sinr = links(received, torch.where(spent == 0.0, 1.0, ratio * spent))
    answered = sinr / (disturbance * (1.0 + sinr))
    target = diagonal(received) / disturbance
    if weights is not None:
        answered, target = weights * answered, weights * target
    ridge = ratio * answered.sum(-1)
    idle = ridge == 0.0
    reached = g @ carrier
    system = answered[..., :, None] * reached
    system = system + over_matrices(torch.where(idle, 1.0, ridge)) * identity(system)
    psi = torch.linalg.inv_ex(system)[0] * target[..., None, :]
    precoder = torch.where(over_matrices(idle), v, carrier @ psi)
    spent = torch.where(idle, spent, inner(psi, reached @ psi))
    return scaled(precoder, spent, power).to(effective_channel.dtype)


def wmmse_gradient(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    power: Tensor,
    noise_power: Tensor,
    weights: Tensor | None,
    radiated: bool,
    sweeps: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Rate after some sweeps from V, the beams, and dR/dm, (..., N), at them (docs/mathematics.md).

    Under radiated power V shrinks as m grows; by the chain rule over the scaling dR/dm loses
    Re <dR/dV, V> m_n norm(Phi_n V)^2 / P.
    """
    real = channel.real.dtype
    turned = amplitudes.is_complex()
    channel, phase = double(channel), double(phase)
    amplitudes = double(amplitudes) if turned else amplitudes.double()
    effective = effective_channel(channel, amplitudes, phase)
    surface = radiating(amplitudes, phase)
    gram = surface.mH @ surface if radiated else None
    beams = scale(amplitudes, phase, double(digital), power, radiated)
    for _ in range(sweeps):
        beams = wmmse_sweep(effective, beams, power, noise_power, weights, gram)
    rate, gradient, d_digital = sum_rate_gradient(
        channel, amplitudes, phase, beams, noise_power, weights
    )
    if radiated:
        waves = phase @ beams
        loss = (waves.real.square() + waves.imag.square()).sum(-1)
        gradient = gradient - (inner(d_digital, beams) / power)[..., None] * amplitudes * loss
    return rate, beams.to(digital.dtype), gradient.to(digital.dtype if turned else real)


def scale(
    amplitudes: Tensor, phase: Tensor, digital: Tensor, power: Tensor, radiated: bool
) -> Tensor:
    """V scaled to the power, (..., L, K)."""
    sent = radiating(amplitudes, phase).to(digital.dtype) @ digital if radiated else digital
    return scaled(digital, inner(sent, sent), power).to(digital.dtype)


def cholesky(gram: Tensor) -> Tensor:
    """Factor of S + 1e-12 tr(S) / L I, since fewer than L elements leave S singular.

    The factor of I for a zero matrix.
    """
    guard = _GUARD * diagonal(gram).real.mean(-1)
    guard = torch.where(guard == 0.0, 1.0, guard)
    return torch.linalg.cholesky_ex(gram + over_matrices(guard) * identity(gram))[0]


def _no_adjoint(needs: Needs, inputs: Saved, outputs: Saved, gradients: Saved) -> Gradients:
    raise NotImplementedError("the operator has no adjoint")


class Formula(NamedTuple):
    """What PyTorch runs for an operator forward on CUDA, and backward everywhere."""

    definition: Callable[..., Any]
    adjoint: Callable[[Needs, Saved, Saved, Saved], Gradients] = _no_adjoint


#: Of every operator of the table that PyTorch has, by name.
FORMULAS = {
    formula.definition.__name__: formula
    for formula in (
        Formula(effective_channel, effective_channel_adjoint),
        Formula(sinr),
        Formula(sum_rate),
        Formula(sum_rate_gradient, sum_rate_gradient_adjoint),
        Formula(zero_forcing, zero_forcing_adjoint),
        Formula(project, project_adjoint),
        Formula(wmmse_gradient),
        Formula(max_min, max_min_adjoint),
        Formula(min_power, min_power_adjoint),
    )
}
