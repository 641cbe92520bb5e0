"""The solvers against the published ones and against L-BFGS-B, on the same channels.

Sparse mmWave channels on an 8 x 8 surface with 6 feeds and 6 users, transmit power 1, SNR =
power / noise power.  Under `digital` power: the mean sum rate of `random`, of `alternating`
in both readings and three step sizes, of `joint`, and of 500 iterations of L-BFGS-B over
(m, V) from the start of `joint`, m = 1, with zero-forcing or matched beams.  Under `radiated`
power at 10 dB: `joint` against the best zero forcing, with equal SINRs and with water-filled
powers.  Each ratio is one of means over the same draws; it ends with PASS or FAIL against
what is asked of `joint`, and so does the exit status.

    python bench/compare_solvers.py --draws 100 --seed 0

A time is per channel on one thread; that of L-BFGS-B is mostly SciPy's and Python's.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

import hmimo_fast as hf

USERS = FEEDS = 6
STEPS = (0.01, 0.03, 0.1)
THOROUGH = {"zf_iterations": 30, "iterations": 80}
ASKED = {0: 1.30, 10: 1.12, 20: 1.06}  # of joint over the best alternating, by SNR in dB
ASKED_OF_LBFGSB = 0.99
ASKED_OF_ZF = 1.10


class Result(NamedTuple):
    rates: np.ndarray
    seconds: float  # per channel


def timed(run: Callable[[], np.ndarray]) -> Result:
    began = time.perf_counter()
    rates = run()
    return Result(rates, (time.perf_counter() - began) / len(rates))


def solved(channel: np.ndarray, phase: np.ndarray, noise_power: float, **options: Any) -> Result:
    """`hmimo_fast.solve` on one thread, after a call that warms it."""

    def run(part: slice) -> np.ndarray:
        return hf.solve(channel[part], phase, 1.0, noise_power, threads=1, **options).sum_rate

    run(slice(1))
    return timed(lambda: run(slice(None)))


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
        rate = USERS * np.log2(1.0 + 1.0 / (noise_power * t))
        return rate, -USERS / np.log(2.0) / (t * (1.0 + noise_power * t)) * d_t

    return climb(value_and_gradient, np.ones(channel.shape[-1]), channel.shape[-1], iterations)


def row(name: str, result: Result) -> None:
    error = result.rates.std(ddof=1) / np.sqrt(len(result.rates))
    print(f"  {name:46s} {result.rates.mean():7.3f} ± {error:5.3f}   {result.seconds * 1e3:9.3f}")


def meets(text: str, ours: Result, theirs: Result, asked: float | None) -> bool:
    """Print a ratio of means over the same draws, with its standard error."""
    a, b = ours.rates, theirs.rates
    ratio = a.mean() / b.mean()
    error = (a - ratio * b).std(ddof=1) / np.sqrt(len(a)) / b.mean()
    line = f"  {text:46s} {ratio:7.3f} ± {error:5.3f}"
    if asked is None:
        print(line)
        return True
    print(f"{line}   asked {asked:.2f}: {'PASS' if ratio >= asked else 'FAIL'}")
    return bool(ratio >= asked)


def head(title: str) -> None:
    print(f"\n{title}\n  {'':46s} {'bit/s/Hz':>15s}   {'ms/channel':>9s}")


def digital_power(channel: np.ndarray, phase: np.ndarray, snr: int) -> bool:
    noise_power = 10.0 ** (-snr / 10.0)
    head(f"digital power, {snr} dB")
    readings = {"ZF after every step": 1, "inner loop to its end": 0}
    settings: dict[str, dict[str, Any]] = {"random": {"method": "random"}}
    for reading, inner in readings.items():
        for step in STEPS:
            options = {"method": "alternating", "inner": inner, "step": step}
            settings[f"alternating, {reading}, mu = {step}"] = options
    settings |= {"joint": {}, "joint, thorough (30 + 80)": THOROUGH}
    results = {}
    for name, options in settings.items():
        results[name] = solved(channel, phase, noise_power, constraint="digital", **options)
        row(name, results[name])
    for beams in ("zf", "matched"):
        name = f"L-BFGS-B over (m, V), 500, m = 1 and {beams}"
        results[name] = timed(
            lambda b=beams: np.array([joint_lbfgsb(h, phase, noise_power, b) for h in channel])
        )
        row(name, results[name])

    def best(start: str) -> str:
        names = [name for name in results if name.startswith(start)]
        return max(names, key=lambda name: results[name].rates.mean())

    ours, published, generic = results["joint"], best("alternating"), best("L-BFGS-B")
    passed = meets("joint / the best alternating", ours, results[published], ASKED.get(snr))
    return passed & meets("joint / the better L-BFGS-B", ours, results[generic], ASKED_OF_LBFGSB)


def radiated_power(channel: np.ndarray, phase: np.ndarray, snr: int) -> bool:
    noise_power = 10.0 ** (-snr / 10.0)
    head(f"radiated power, {snr} dB")
    equal = timed(lambda: np.array([zf_lbfgsb(h, phase, noise_power) for h in channel]))
    row("ZF, equal SINRs, L-BFGS-B, 200", equal)
    filled = solved(channel, phase, noise_power, method="zf", iterations=200)
    row("zf (water-filled), 200 iterations", filled)
    ours = solved(channel, phase, noise_power)
    row("joint", ours)
    row("joint, thorough (30 + 80)", solved(channel, phase, noise_power, **THOROUGH))
    row("fully digital (yardstick)", solved(channel, phase, noise_power, method="fully_digital"))
    passed = meets("joint / ZF, equal SINRs", ours, equal, ASKED_OF_ZF)
    meets("joint / zf (water-filled)", ours, filled, None)
    return passed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    surface = hf.Surface(shape=(8, 8), feeds=FEEDS)
    channel = hf.channels.sparse_mmwave(surface, users=USERS, size=chosen.draws, seed=chosen.seed)
    print(
        f"{chosen.draws} sparse mmWave draws (seed {chosen.seed}), N = {surface.elements}, "
        f"K = L = {USERS}; mean ± standard error\n"
        f"hmimo_fast {hf.__version__} ({hf.get_backend()}), NumPy {np.__version__}, SciPy "
        f"{scipy.__version__}, Python {platform.python_version()}, {platform.machine()}"
    )
    with threadpool_limits(1):
        passed = [digital_power(channel, surface.phase, snr) for snr in ASKED]
        passed.append(radiated_power(channel, surface.phase, 10))
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
