"""What the comparisons of solvers share: the draws, and a solve with its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import hmimo_fast as hf

USERS = FEEDS = 6
#: Ratio of noise to transmit power in Munich: -87 dBm to 30 dBm.
MUNICH_NOISE = 10.0**-11.7
#: Seconds for which a measurement is repeated.
PATIENCE = 0.3


class Result(NamedTuple):
    rates: np.ndarray  # (draws,)
    seconds: float  # per channel

    @property
    def error(self) -> float:
        """Standard error of the mean rate."""
        return float(self.rates.std(ddof=1)) / math.sqrt(len(self.rates))


def sparse(elements: int, draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sparse mmWave channels for a square surface, and its phase matrix."""
    surface = hf.Surface(shape=(math.isqrt(elements),) * 2, feeds=FEEDS)
    channel = hf.channels.sparse_mmwave(surface, users=USERS, size=draws, seed=seed)
    return channel, surface.phase


def munich(draws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Channels of different users of the shipped scene, drawn anew each time."""
    scene = hf.channels.load("munich")
    rng = np.random.default_rng(seed)
    users = [rng.choice(len(scene.channel), USERS, replace=False) for _ in range(draws)]
    surface = hf.Surface(spacing=2.5e-3, frequency=scene.frequency, feeds=FEEDS)
    return scene.channel[np.array(users)].astype(complex), surface.phase


def timed(run: Callable[[], np.ndarray]) -> Result:
    """Rates of all channels, and the processor's time for one: the shortest of a few runs."""
    shortest, deadline = math.inf, time.perf_counter() + PATIENCE
    while True:
        began = time.process_time()
        rates = run()
        took = time.process_time() - began
        shortest = min(shortest, took)
        if time.perf_counter() > deadline:
            return Result(rates, shortest / len(rates))


def solved(channel: np.ndarray, phase: np.ndarray, noise_power: float, **options: Any) -> Result:
    """`hmimo_fast.solve` at transmit power 1 on one thread."""
    return timed(lambda: hf.solve(channel, phase, 1.0, noise_power, threads=1, **options).sum_rate)


def ratio(ours: Result, theirs: Result) -> tuple[float, float]:
    """Ratio of mean rates over the same draws, and its standard error."""
    a, b = ours.rates, theirs.rates
    value = float(a.mean() / b.mean())
    return value, float((a - value * b).std(ddof=1)) / math.sqrt(len(a)) / float(b.mean())
