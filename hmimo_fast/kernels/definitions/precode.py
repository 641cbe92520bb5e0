"""Precoders from a given channel, and the projection onto a surface (csrc/precode.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import dagger, double, norm2, pseudo_invert, rank_tolerance, scale_to_power
from .inner_balanced import balance, start_shares
from .inner_floors import leave_uplink
from .inner_general import match, wmmse_sweep
from .inner_zf import fill
from .problem import LN2, unit_weights

#: Least amplitude of the noise relative to a signal of one; its inverse is the largest.
LEAST = 1e-140
#: Sweeps of Newton's method; power, of what users would need alone, before minimum rates count as
#: out of reach; gap of a minimum rate that counts as met.
BALANCING, MOST_POWER, MET = 60, 1e12, 1e-6


def _with_unit_size(matrix):
    """The matrix over its largest entry, and that entry, so that no product overflows."""
    size = np.max(np.abs(matrix))
    if not size > 0.0:
        size = 1.0
    return matrix / size, size


def zero_forcing(effective_channel, power):
    """V = G^+ scaled to the power, (M, K), and the rank of G."""
    matrix, _ = _with_unit_size(double(effective_channel))
    if not np.isfinite(norm2(matrix)):
        return np.full_like(matrix.T, np.nan), 0
    inverse, rank = pseudo_invert(matrix, rank_tolerance(effective_channel))
    return scale_to_power(inverse, norm2(inverse), power), rank


def wmmse(effective_channel, power, noise_power, weights, iterations):
    """WMMSE precoder from matched beams, (M, K), scaled to the power."""
    matrix, size = _with_unit_size(double(effective_channel))
    adjoint = dagger(matrix)
    if not np.isfinite(norm2(matrix)):
        return np.full_like(adjoint, np.nan)
    gram = matrix @ adjoint
    psi = match(gram, np.ones_like(weights))
    ratio = min(max(np.sqrt(noise_power / power) / size, LEAST), 1.0 / LEAST) ** 2
    for _ in range(iterations):
        psi = wmmse_sweep(gram, psi, ratio, weights)
    precoder = adjoint @ psi
    return scale_to_power(precoder, norm2(precoder), power)


def balanced_precoder(effective_channel, power, noise_power, weights, min_rate, shared):
    """V that gives rates at the power in the ratio of the weights, or minimum rates at the least.

    Returns V, (M, K), the lowest rate over its weight, the power, and whether all are served.
    """
    matrix, size = _with_unit_size(double(effective_channel))
    adjoint = dagger(matrix)
    if not np.isfinite(norm2(matrix)):
        return np.full_like(adjoint, np.nan), np.nan, np.nan, False
    gram = matrix @ adjoint
    ratio = min(max(np.sqrt(noise_power / power) / size, LEAST), 1.0 / LEAST) ** 2
    unit, heaviest = unit_weights(weights)
    target = np.expm1(LN2 * min_rate)
    share, alone = start_shares(gram, ratio, unit, target, shared)
    most = 1.0 if shared else MOST_POWER * alone
    share, directions, diagonal, beta, rates, _, level, gap = balance(
        gram, share, ratio, unit, min_rate, BALANCING, shared, most
    )
    met, lowest = level >= 0.0 and gap < MET, np.inf
    for k in range(len(share)):
        if unit[k] > 0.0:
            lowest = min(lowest, (rates[k] if share[k] > 0.0 else 0.0) / unit[k])
        if min_rate[k] > 0.0 and not share[k] > 0.0:
            met = False
    precoder = adjoint @ leave_uplink(directions, diagonal, beta)
    spent = power * np.sum(share)
    return scale_to_power(precoder, norm2(precoder), spent), lowest / heaviest, spent, met


def max_min(effective_channel, power, noise_power, weights):
    """V whose lowest rate over its weight is highest, (M, K), and that."""
    precoder, lowest, _, _ = balanced_precoder(
        effective_channel, power, noise_power, weights, np.zeros_like(weights), True
    )
    return precoder, lowest


def min_power(effective_channel, noise_power, min_rate):
    """V of least power that meets minimum rates, (M, K), that power, and whether there is one."""
    precoder, _, spent, met = balanced_precoder(
        effective_channel, 1.0, noise_power, min_rate, min_rate, False
    )
    if not met:
        return np.full_like(precoder, np.nan), np.inf + 0.0 * spent, False
    return precoder, spent, True


def water_filling(cost, power, noise_power, weights, min_rate):
    """Received powers q_k = max(f_k, alpha_k mu / cost_k - sigma^2, 0), sum q_k cost_k = P.

    Infeasible floors are scaled down together until they fit the power.
    """
    if np.isnan(np.sum(cost)):
        return np.full_like(cost, np.nan), False
    floor = np.expm1(LN2 * min_rate) * noise_power
    received, level = fill(cost, power, noise_power, weights, floor)
    return received, level >= 0.0


def project(amplitudes, phase, precoder, power, radiated):
    """V = (diag(q) Phi)^+ W scaled to the power, (L, K)  ([A] eq. 6-7)."""
    surface = double(amplitudes.reshape(-1, 1) * phase)
    target = double(precoder)
    if not np.isfinite(norm2(surface) + norm2(target)):
        return np.full((phase.shape[1], precoder.shape[1]), np.nan + 0j)
    digital = pseudo_invert(surface, rank_tolerance(phase))[0] @ target
    return scale_to_power(digital, norm2(surface @ digital) if radiated else norm2(digital), power)
