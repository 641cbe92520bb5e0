"""Users walking through the near field: each step solved from scratch, and from the step before.

Six users at 0.3 to 3 m from a surface of 32 x 32 elements, whose near field reaches 2.5 m, walk
at 1.5 m/s.  Every 5 ms amplitudes and beams are chosen again.  "Cold" starts with all elements
on, "warm" from the amplitudes of the step before, with a tenth of the iterations.  "Kept" keeps
the amplitudes of the first step and updates only the beams.  One thread; the rate is
the mean over the steps and the time the median.

    python examples/tracking.py --quick
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import hmimo_fast as hf
from hmimo_fast.surface import direction

USERS = FEEDS = 6
INTERVAL, SPEED = 5e-3, 1.5  # s, m/s
SNR = 20.0  # dB: power times the mean gain of an element at the first step, over the noise
#: The best beams at given amplitudes: no step can promise so much, so the start is kept.
BEAMS_ONLY = {"zf_iterations": 0, "iterations": 1, "sweeps": 30, "tolerance": 1e300}


def walk(steps: int, seed: int) -> np.ndarray:
    """Positions (steps, K, 3) in front of the surface, each user straight on."""
    rng = np.random.default_rng(seed)
    distance = rng.uniform(0.3, 3.0, USERS)
    theta, phi = rng.uniform(-1.0, 1.0, USERS), rng.uniform(-np.pi, np.pi, USERS)
    begin = distance[:, None] * direction(theta, phi)
    heading = rng.uniform(-np.pi, np.pi, USERS)
    velocity = SPEED * np.stack([np.cos(heading), np.sin(heading), 0.0 * heading], axis=-1)
    return begin + INTERVAL * np.arange(steps)[:, None, None] * velocity


def follow(
    channel: np.ndarray, solve: Callable[..., hf.Solution], warm: dict[str, Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Rates and seconds of every step; ``warm`` options start from the step before."""
    solution = solve(channel[0])
    rates, seconds = [], []
    for each in channel[1:]:
        options = {} if warm is None else {"start": solution.amplitudes, **warm}
        began = time.perf_counter()
        solution = solve(each, **options)
        seconds.append(time.perf_counter() - began)
        rates.append(float(solution.sum_rate))
    return np.array(rates), np.array(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a short walk, a small surface")
    quick = parser.parse_args().quick
    walks, steps, shape = (2, 10, (8, 8)) if quick else (4, 200, (32, 32))
    surface = hf.Surface(shape=shape, feeds=FEEDS)
    ways: dict[str, dict[str, Any] | None] = {
        "cold": None,
        "warm, 0 + 3 iterations": {"zf_iterations": 0, "iterations": 3},
        "warm, 0 + 12 iterations": {"zf_iterations": 0, "iterations": 12},
        "warm, all iterations": {},
        "kept, beams alone": BEAMS_ONLY,
    }
    print(f"{walks} walks of {steps} steps of {1e3 * INTERVAL:g} ms at {SPEED} m/s, "
          f"N = {surface.elements}, K = L = {USERS}")  # fmt: skip
    print(f"{'power':9s} {'way':24s}{'bit/s/Hz':>10s}{'of cold':>10s}{'ms per step':>11s}"
          f"{'of cold':>10s}")  # fmt: skip
    for constraint in ("radiated", "digital"):
        rates: dict[str, list[np.ndarray]] = {name: [] for name in ways}
        seconds: dict[str, list[np.ndarray]] = {name: [] for name in ways}
        for seed in range(walks):
            channel = hf.channels.near_field(surface, walk(steps, seed))
            noise = np.mean(np.abs(channel[0]) ** 2) / 10.0 ** (SNR / 10.0)
            solve = partial(
                hf.solve, phase=surface.phase, power=1.0, noise_power=noise,
                constraint=constraint, threads=1,
            )  # fmt: skip
            for name, warm in ways.items():
                reached, taken = follow(channel, solve, warm)
                rates[name].append(reached)
                seconds[name].append(taken)
        cold_rate, cold_time = np.mean(rates["cold"]), np.median(seconds["cold"])
        for name in ways:
            rate, spent = np.mean(rates[name]), np.median(seconds[name])
            print(
                f"{constraint:9s} {name:24s}{rate:10.2f}{100 * rate / cold_rate:8.1f} %"
                f"{1e3 * spent:11.2f}{100 * spent / cold_time:8.0f} %"
            )


if __name__ == "__main__":
    main()
