"""The passes over the N elements (csrc/passes.inc.h)."""

from __future__ import annotations

import numpy as np

from .algebra import dagger, double


def effective_channel(channel, amplitudes, phase):
    """G = H diag(q) Phi, (K, L)."""
    return (channel * amplitudes).astype(channel.dtype) @ phase


def pull_back(channel, phase, omega):
    """sum_k conj(H_kn) sum_l Omega_kl conj(Phi_nl), (N,) complex."""
    waves = omega @ dagger(double(phase))
    return np.sum(double(channel).conj() * waves, axis=0)


def find_channel_gram(channel):
    """H H^H, (K, K)."""
    return channel @ dagger(channel)
