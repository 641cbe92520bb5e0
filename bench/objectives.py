"""Objectives at their own and at each other's: rates, time, powers, on seeded sparse draws.

``python bench/objectives.py`` prints the tables of docs/objectives.md within a minute;
``--figure FILE`` draws its figure instead.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

import hmimo_fast as hf

USERS = FEEDS = 6
SURFACE = hf.Surface(shape=(8, 8), feeds=FEEDS)
FAIR = ("sum_rate", "max_min", "geometric_mean")
POWERS = np.logspace(-3, 0, 20)
IDLE = 0.24 * FEEDS + 0.005 * 64
LOWEST = 0.5  # bit/s/Hz, of least power
BISECTIONS = 30


def timed(channel: np.ndarray, **options: Any) -> tuple[Any, float]:
    """A solution on one thread, and microseconds per item, the best of three."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        solution = hf.solve(channel, SURFACE.phase, threads=1, **options)
        seconds.append(time.perf_counter() - start)
    return solution, 1e6 * min(seconds) / len(channel)


def fairness(channel: np.ndarray, at: dict[str, Any]) -> str:
    """Sum, geometric mean and lowest of the rates under each, with today's common rate."""
    parts = []
    for objective in FAIR:
        found, took = timed(channel, objective=objective, **at)
        rates = found.rates
        mean = np.mean(np.prod(rates, axis=-1) ** (1 / USERS))
        parts.append(
            f"{rates.sum(-1).mean():6.2f} {mean:6.3f} {rates.min(-1).mean():6.3f} {took:4.0f}"
        )
        if objective == "max_min":
            spread = np.max(rates.max(-1) / rates.min(-1) - 1)
    common = hf.solve(channel, SURFACE.phase, threads=1, min_rate=0.01, **at).common_rate.mean()
    return " | ".join(parts) + f" | {common:.3f} {spread:.0e}"


def efficiency(channel: np.ndarray, at: dict[str, Any]) -> str:
    """Bits per joule and hertz of ours, and of `joint` at the best of common powers."""
    mine, took = timed(channel, objective="energy_efficiency", **at)
    _, once = timed(channel, **at)
    means = [
        np.mean(hf.solve(channel, SURFACE.phase, power, threads=1, **at).sum_rate)
        / (2.0 * power + IDLE)
        for power in POWERS
    ]
    best = int(np.argmax(means))
    return (
        f"{mine.value.mean():7.3f} at {mine.power_used.mean():.3f} W | "
        f"{means[best]:7.3f} at {POWERS[best]:.3f} W | {took / once:.2f}"
    )


def least_power(channel: np.ndarray, at: dict[str, Any]) -> str:
    """Least power against that of `zf` with optimised amplitudes, bisected to the same rates."""
    mine, took = timed(channel, objective="min_power", min_rate=LOWEST, power=100.0, **at)
    low, high = np.full(len(channel), -6.0), np.full(len(channel), 2.0)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        forced = hf.solve(
            channel, SURFACE.phase, 10.0**middle, method="zf", min_rate=LOWEST, threads=1, **at
        )
        met = (forced.rates >= LOWEST - 1e-9).all(axis=-1)
        low, high = np.where(met, low, middle), np.where(met, middle, high)
    saved = 1 - np.mean(mine.power_used) / np.mean(10.0**high)
    return f"{mine.power_used.mean():.4f} | {np.mean(10.0**high):.4f} | {saved:5.1%} | {took:4.0f}"


def draw(channel: np.ndarray, path: str) -> None:
    """Mean rates of the users of each draw, from the weakest."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(8.0, 3.2), sharex=True, layout="constrained")
    for axes, constraint in zip(panels, ("radiated", "digital"), strict=True):
        for objective in FAIR:
            found = hf.solve(
                channel, SURFACE.phase, 1.0, 0.1, constraint=constraint, objective=objective
            )
            rates = np.sort(found.rates, axis=-1).mean(axis=0)
            axes.plot(range(1, USERS + 1), rates, "o-", label=objective.replace("_", " "))
        axes.set(title=f"{constraint} power", xlabel="user, from the weakest")
        axes.set_ylim(0.0)
    panels[0].set_ylabel("rate, bit/s/Hz")
    panels[0].legend()
    figure.savefig(path, dpi=130)


def main() -> None:
    """Print the tables, or draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--figure", metavar="FILE")
    options = parser.parse_args()
    channel = hf.channels.sparse_mmwave(SURFACE, users=USERS, size=options.draws, seed=2026)
    if options.figure:
        draw(channel, options.figure)
        return
    cells = [(c, snr) for c in ("radiated", "digital") for snr in (0, 10, 20)]
    for title, measure in (
        ("sum, geometric mean, lowest, us: sum_rate | max_min | geometric_mean | common", fairness),
        ("energy_efficiency | joint at the best common power | times one solve", efficiency),
        ("min_power, W | zf bisected, W | saved | us", least_power),
    ):
        print(title)
        for constraint, snr in cells:
            at = {"constraint": constraint, "noise_power": 10 ** (-snr / 10)}
            print(f"{constraint:8} {snr:2} dB  {measure(channel, at)}", flush=True)


if __name__ == "__main__":
    main()
