"""What SciPy's L-BFGS-B reaches on the same problems, one channel at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize

import hmimo_fast as hf


def climb(value_and_gradient: Callable, start: np.ndarray, boxed: int, iterations: int) -> float:
    """Largest value that L-BFGS-B reaches with the first ``boxed`` variables in [0, 1]."""

    def loss(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = value_and_gradient(x)
        return -value, -gradient

    bounds = [(0.0, 1.0)] * boxed + [(None, None)] * (len(start) - boxed)
    options = {"maxiter": iterations, "maxfun": 20 * iterations, "ftol": 0.0, "gtol": 1e-9}
    return -minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).fun


def joint_lbfgsb(
    channel: np.ndarray, phase: np.ndarray, noise_power: float, beams: str, iterations: int = 500
) -> float:
    """Sum rate over (m, V) under `digital` power 1 from m = 1.

    V is free, the noise being sigma^2 ||V||^2.  R is unchanged when V and the noise amplitude
    grow together, so the chain rule through the noise takes from dR/dV its part along V.  The
    size of V then only scales the variables: entries about 1, as in m, serve L-BFGS-B best.
    """
    elements = channel.shape[-1]
    effective = channel @ phase
    if beams == "zf":
        digital = np.linalg.pinv(effective)
    else:
        digital = effective.conj().T / np.linalg.norm(effective, axis=1)
    digital *= np.sqrt(digital.size) / np.linalg.norm(digital)

    def value_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        v = x[elements:].view(complex).reshape(digital.shape)
        size = np.vdot(v, v).real
        rate, d_m, d_v = hf.sum_rate_gradient(
            channel, x[:elements], phase, v, noise_power * size, threads=1
        )
        d_v = d_v - np.vdot(v, d_v).real / size * v
        return float(rate), np.concatenate([d_m, d_v.ravel().view(float)])

    start = np.concatenate([np.ones(elements), digital.ravel().view(float)])
    return climb(value_and_gradient, start, elements, iterations)


def zf_lbfgsb(
    channel: np.ndarray, phase: np.ndarray, noise_power: float, iterations: int = 200
) -> float:
    """K log2(1 + 1 / (sigma^2 t(m))) under `radiated` power 1 from m = 1, t = tr (G S^-1 G^H)^-1.

    dt/dm_n = -2 Re sum_k H_kn [Phi Y M^2]_nk + 2 m_n Z_n M^2 Z_n^H with Y = S^-1 G^H,
    M = (G Y)^-1, Z = Phi Y.
    """

    users = len(channel)

    def value_and_gradient(m: np.ndarray) -> tuple[float, np.ndarray]:
        surface = m[:, None] * phase
        effective = channel @ surface
        waves = np.linalg.solve(surface.conj().T @ surface, effective.conj().T)
        inverse = np.linalg.inv(effective @ waves)
        t = np.trace(inverse).real
        fields = phase @ waves
        turned = fields @ (inverse @ inverse)
        d_t = -2.0 * np.einsum("kn,nk->n", channel, turned).real
        d_t += 2.0 * m * np.einsum("nk,nk->n", turned, fields.conj()).real
        rate = users * np.log2(1.0 + 1.0 / (noise_power * t))
        return rate, -users / np.log(2.0) / (t * (1.0 + noise_power * t)) * d_t

    return climb(value_and_gradient, np.ones(channel.shape[-1]), channel.shape[-1], iterations)
