"""What beams reach: SINR, rate, its adjoint and gradients (csrc/rates.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import dagger, double, norm2
from .element import matched
from .passes import effective_channel, pull_back
from .problem import LN2


def find_links(received, noise):
    """Signal amplitudes, interference plus noise D and SINR of A = G V, (K,) each."""
    power = received.real**2 + received.imag**2
    signal = np.diag(power).copy()
    for k in range(len(signal)):
        power[k, k] = 0.0
    disturbance = noise + power.sum(axis=1)
    return np.diag(received).copy(), disturbance, signal / disturbance


def rate_of(sinr, weights):
    return np.sum(weights * np.log1p(sinr)) / LN2


def rate_adjoint(received, noise, weights):
    """Rate, C with dR = (2/ln 2) Re tr(C^H dA), and -dR/d(noise) ln 2."""
    amplitude, disturbance, ratio = find_links(received, noise)
    total = disturbance * (1.0 + ratio)
    scale = weights / total
    adjoint = -received * (scale * ratio).reshape(-1, 1)
    for k in range(len(ratio)):
        adjoint[k, k] = scale[k] * amplitude[k]
    return rate_of(ratio, weights), adjoint, np.sum(scale * ratio)


def power_of(phase, amplitudes, digital, radiated):
    """Power of V in the convention asked for."""
    if not radiated:
        return norm2(digital)
    return norm2(double(amplitudes.reshape(-1, 1) * phase) @ digital)


def sinr(channel, amplitudes, phase, digital, noise_power):
    """SINR_k = |A_kk|^2 / (sigma^2 + sum_{j != k} |A_kj|^2), A = H diag(m) Phi V."""
    received = double(effective_channel(channel, amplitudes, phase)) @ double(digital)
    return find_links(received, noise_power)[2]


def link_budget(channel, amplitudes, phase, digital, noise_power, radiated):
    """SINR, and the power of V in the convention asked for."""
    power = power_of(double(phase), amplitudes, double(digital), radiated)
    return sinr(channel, amplitudes, phase, digital, noise_power), power


def sum_rate(channel, amplitudes, phase, digital, noise_power, weights):
    """R = sum_k alpha_k log2(1 + SINR_k)."""
    return rate_of(sinr(channel, amplitudes, phase, digital, noise_power), weights)


def sum_rate_gradient(channel, amplitudes, phase, digital, noise_power, weights):
    """Rate, dR/dm (N,) and dR/dV (L, K); with dR = Re sum conj(dR/dq) dq for complex amplitudes."""
    effective = double(effective_channel(channel, amplitudes, phase))
    beams = double(digital)
    rate, adjoint, _ = rate_adjoint(effective @ beams, noise_power, weights)
    omega = (2.0 / LN2) * adjoint @ dagger(beams)
    d_digital = (2.0 / LN2) * dagger(effective) @ adjoint
    return rate, matched(pull_back(channel, phase, omega), amplitudes), d_digital
