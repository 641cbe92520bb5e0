"""The lowest rate of an OFDM grid at its highest: one pass against two calls of `solve`.

48 subcarriers of 120 kHz share one amplitude vector; 20 draws of users with five paths each.  The
first of the two calls finds the common rate, the second the beams under it.

    python bench/max_min.py
"""

from __future__ import annotations

import time

import numpy as np

import hmimo_fast as hf
from hmimo_fast.sionna import _beams
from hmimo_fast.surface import direction

DRAWS, SUBCARRIERS, PATHS, REPEATS = 20, 48, 5, 3
SURFACE = hf.Surface(shape=(8, 8), spacing=2.5e-3, frequency=30e9, feeds=6)


def grids(users: int) -> np.ndarray:
    """Channels (draws, subcarriers, users, N) at 10 dB."""
    rng = np.random.default_rng(0)
    shape = (DRAWS, users, PATHS)
    towards = direction(rng.uniform(-1.0, 1.0, shape), rng.uniform(-np.pi, np.pi, shape))
    gains = rng.standard_normal((*shape, 2)) @ [1.0, 1.0j] * np.sqrt(10.0 / (2.0 * PATHS))
    turns = 120e3 * np.arange(SUBCARRIERS)[:, None, None] * rng.uniform(0.0, 1e-7, shape)[:, None]
    turned = gains[:, None] * np.exp(-2j * np.pi * turns)
    return np.einsum("dfkp,dkpn->dfkn", turned, SURFACE.steering(towards))


def two_calls(channel: np.ndarray, constraint: str) -> np.ndarray:
    """Lowest rate of each draw."""
    problem = {"noise_power": 1.0, "constraint": constraint, "shared": True, "threads": 1}
    common = hf.solve(channel, SURFACE.phase, min_rate=50.0, **problem).common_rate
    floor = np.repeat(common[:, None], channel.shape[-2], axis=1)
    return hf.solve(channel, SURFACE.phase, min_rate=floor, **problem).rates.min(axis=(1, 2))


def one_pass(channel: np.ndarray, constraint: str) -> np.ndarray:
    """Lowest rate of each draw."""
    _, beams = _beams(channel, SURFACE.phase, "max_min", constraint, {"threads": 1})
    power = abs(channel @ beams) ** 2
    wanted = np.diagonal(power, axis1=-2, axis2=-1)
    return np.log2(1.0 + wanted / (1.0 + power.sum(axis=-1) - wanted)).min(axis=(1, 2))


def main() -> None:
    print("users  power     ms a grid: two calls  one pass  ratio   lowest rate, bit/s/Hz")
    for users in (4, 6):
        channel = grids(users)
        for constraint in ("radiated", "digital"):
            best, lowest = {}, {}
            for _ in range(REPEATS):
                for run in (two_calls, one_pass):
                    start = time.perf_counter()
                    lowest[run] = run(channel, constraint).mean()
                    spent = (time.perf_counter() - start) / DRAWS * 1e3
                    best[run] = min(spent, best.get(run, np.inf))
            slow, quick = best[two_calls], best[one_pass]
            print(
                f"{users:5d}  {constraint:8s}{slow:22.1f}{quick:10.2f}{slow / quick:7.1f}"
                f"{lowest[two_calls]:12.3f}{lowest[one_pass]:8.3f}"
            )


if __name__ == "__main__":
    main()
