"""Precoders from a given channel, and the projection onto a surface (csrc/precode.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import double, norm2, pseudo_invert, rank_tolerance, scale_to_power
from .inner_general import match, wmmse_sweep
from .inner_zf import fill
from .problem import LN2

#: Least amplitude of the noise beside a signal of one, and inverse the largest.
LEAST = 1e-140


def _with_unit_size(matrix):
    """The matrix over its largest entry, and that; products of its entries are then numbers."""
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
    adjoint = np.ascontiguousarray(matrix.conj().T)
    if not np.isfinite(norm2(matrix)):
        return np.full_like(adjoint, np.nan)
    gram = matrix @ adjoint
    psi = match(gram, np.ones_like(weights))
    ratio = min(max(np.sqrt(noise_power / power) / size, LEAST), 1.0 / LEAST) ** 2
    for _ in range(iterations):
        psi = wmmse_sweep(gram, psi, ratio, weights)
    precoder = adjoint @ psi
    return scale_to_power(precoder, norm2(precoder), power)


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
    """V = (diag(m) Phi)^+ W scaled to the power, (L, K)  ([A] eq. 6-7)."""
    surface = double(amplitudes.reshape(-1, 1) * phase)
    target = double(precoder)
    if not np.isfinite(norm2(surface) + norm2(target)):
        return np.full((phase.shape[1], precoder.shape[1]), np.nan + 0j)
    digital = pseudo_invert(surface, rank_tolerance(phase))[0] @ target
    return scale_to_power(digital, norm2(surface @ digital) if radiated else norm2(digital), power)
