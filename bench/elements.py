"""Which element is worth what: rates of every kind of element, beside Adam on the same problems.

Sparse mmWave channels on an 8 x 8 surface with 6 feeds and 6 users.  Adam climbs the sum rate over
(theta, V), or (m, V) clipped to the box, from random starts, with the gradients of
`sum_rate_gradient` and a step that falls to zero along half a cosine; the best start counts.
With few states it is followed by the rounding and refinement that `joint` makes.  A time is per
channel on one thread, over that of amplitudes in the same run.

    python bench/elements.py                             # 200 draws, some half an hour
    python bench/elements.py --draws 20 --steps 300 --figure docs/images/elements.png
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import numpy as np

import hmimo_fast as hf
from hmimo_fast.elements import even_states
from hmimo_fast.problem import Problem
from hmimo_fast.solvers.found import Found, Run
from hmimo_fast.solvers.levels import quantized

CIRCLES = {"lorentzian": (0.5j, 0.5), "phase": (0j, 1.0)}
CONTINUOUS = ("amplitude", "lorentzian", "phase")
SNRS = (0, 10, 20)  # dB
MOST_BITS = 3
STEP = 0.3  # of Adam: the best of 0.02, 0.05, 0.1 and 0.3 in all cells

Rates = dict[tuple[str, str, int], np.ndarray]


def weigh(name: str, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """q of the states and dq/dstate."""
    if name == "amplitude":
        return state, np.ones_like(state)
    centre, radius = CIRCLES[name]
    turn = radius * np.exp(1j * state)
    return centre + turn, 1j * turn


def adam(
    channel: np.ndarray,
    phase: np.ndarray,
    noise_power: float,
    name: str,
    constraint: str,
    steps: int,
    starts: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Best rates (B,) and their weights (B, N) of Adam from random starts, at a power of one."""
    rng, (draws, users, elements) = np.random.default_rng(0), channel.shape
    best = np.full(draws, -np.inf)
    weights = np.empty((draws, elements), complex if name in CIRCLES else float)
    shape = draws, phase.shape[1], users
    for _ in range(starts):
        state = rng.random((draws, elements)) * (2 * np.pi if name in CIRCLES else 1.0)
        beams = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        moments = [np.zeros_like(x) for x in (state, beams)]
        squares = [np.zeros(x.shape) for x in (state, beams)]
        for t in range(1, steps + 1):
            q, slope = weigh(name, state)
            sent = q[..., None] * (phase @ beams) if constraint == "radiated" else beams
            beams = beams / np.linalg.norm(sent, axis=(-2, -1), keepdims=True)
            rate, d_q, d_beams = hf.sum_rate_gradient(
                channel, q, phase, beams, noise_power, threads=1
            )
            better = rate > best
            best[better], weights[better] = rate[better], q[better]
            # At a power of one, what changes it changes the scale of the beams.
            along = np.sum((beams.conj() * d_beams).real, axis=(-2, -1), keepdims=True)
            if constraint == "radiated":
                waves = phase @ beams
                size = np.sum(np.abs(waves) ** 2, axis=-1)
                loaded = phase.conj().T @ (np.abs(q[..., None]) ** 2 * waves)
                d_beams, d_q = d_beams - along * loaded, d_q - along[..., 0] * q * size
            else:
                d_beams = d_beams - along * beams
            step = STEP * 0.5 * (1.0 + np.cos(np.pi * t / steps))
            unit = np.sqrt(np.mean(np.abs(beams) ** 2, axis=(-2, -1), keepdims=True))
            moved = []
            for i, gradient in enumerate(((d_q.conj() * slope).real, d_beams)):
                moments[i] = 0.9 * moments[i] + 0.1 * gradient
                squares[i] = 0.999 * squares[i] + 0.001 * np.abs(gradient) ** 2
                size = np.sqrt(squares[i] / (1.0 - 0.999**t)) + 1e-12
                moved.append(step * moments[i] / (1.0 - 0.9**t) / size)
            state, beams = state + moved[0], beams + unit * moved[1]
            if name == "amplitude":
                state = np.clip(state, 0.0, 1.0)
    return best, weights


def rounded(
    channel: np.ndarray,
    phase: np.ndarray,
    noise_power: float,
    constraint: str,
    weights: np.ndarray,
    states: np.ndarray,
) -> np.ndarray:
    """Rates (B,) of weights rounded to states and refined, as `solve` does it."""
    problem = Problem.of(
        channel, phase, 1.0, noise_power, constraint=constraint, elements=states, threads=1
    )
    nothing = np.zeros(len(channel), int)
    run = Run(weights, np.empty(0), nothing, nothing.astype(bool), np.empty((len(channel), 0)))
    return np.asarray(Found.of(problem, quantized(problem, run)).sum_rate)


def measure(draws: int, steps: int, starts: int) -> tuple[Rates, Rates, dict[str, float]]:
    """Rates of `joint` and of Adam in every cell, and the times of `joint` over amplitudes'."""
    surface = hf.Surface(shape=(8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=draws, seed=2026)
    bits = {f"phase, {b} bit": even_states("phase", b) for b in range(1, MOST_BITS + 1)}
    ours: Rates = {}
    theirs: Rates = {}
    seconds: dict[str, list[float]] = {name: [] for name in CONTINUOUS}
    for constraint in ("radiated", "digital"):
        for snr in SNRS:
            noise_power = 10.0 ** (-snr / 10.0)
            how = {"constraint": constraint, "noise_power": noise_power, "threads": 1}
            for name in CONTINUOUS:
                best = np.inf
                for _ in range(5):
                    began = time.process_time()
                    found = hf.solve(channel, surface.phase, elements=name, **how)
                    best = min(best, time.process_time() - began)
                seconds[name].append(best / draws)
                ours[name, constraint, snr] = found.sum_rate
                cell = channel, surface.phase, noise_power, name, constraint
                theirs[name, constraint, snr], weights = adam(*cell, steps, starts)
                print_cell(name, constraint, snr, ours, theirs)
            for name, states in bits.items():
                found = hf.solve(channel, surface.phase, elements=states, **how)
                ours[name, constraint, snr] = found.sum_rate
                theirs[name, constraint, snr] = rounded(
                    channel, surface.phase, noise_power, constraint, weights, states
                )
                print_cell(name, constraint, snr, ours, theirs)
            ceiling = hf.solve(channel, surface.phase, method="fully_digital", **how)
            ours["fully digital", constraint, snr] = ceiling.sum_rate
    ratios = np.array(list(seconds.values())) / seconds["amplitude"]
    return ours, theirs, dict(zip(CONTINUOUS, ratios.max(axis=1), strict=True))


def print_cell(name: str, constraint: str, snr: int, ours: Rates, theirs: Rates) -> None:
    key = name, constraint, snr
    mine, adams = ours[key].mean(), theirs[key].mean()
    print(
        f"{constraint:9}{name:14}{snr:4} dB  joint {mine:7.3f}  Adam {adams:7.3f}  "
        f"ratio {mine / adams:.4f}",
        flush=True,
    )


def table(ours: Rates, theirs: Rates) -> str:
    """Mean rates in Markdown."""
    names = list(dict.fromkeys(name for name, _, _ in theirs))
    columns = [(constraint, snr) for constraint in ("radiated", "digital") for snr in SNRS]
    head = " | ".join(f"{constraint}, {snr} dB" for constraint, snr in columns)
    lines = [f"| element | | {head} |", "|---|---|" + "---|" * len(columns)]
    for name in names:
        for label, rates in (("`joint`", ours), ("Adam", theirs)):
            cells = " | ".join(f"{rates[(name, *column)].mean():.2f}" for column in columns)
            lines.append(f"| {name} | {label} | {cells} |")
    cells = " | ".join(f"{ours[('fully digital', *column)].mean():.2f}" for column in columns)
    lines.append(f"| fully digital array | | {cells} |")
    return "\n".join(lines)


def draw(ours: Rates, file: Path) -> None:
    """Rate against bits of a phase at 10 dB, with the other elements and the array as lines."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for axes, constraint in zip(panels, ("radiated", "digital"), strict=True):
        bits = np.arange(1, MOST_BITS + 1)
        rates = [ours[f"phase, {b} bit", constraint, 10].mean() for b in bits]
        axes.plot(bits, rates, "o-", color="#1f4e79", label="b-bit phases")
        styles = ("amplitude", "--"), ("lorentzian", "-."), ("phase", ":"), ("fully digital", "-")
        for name, style in styles:
            rate = ours[name, constraint, 10].mean()
            axes.axhline(rate, color="#444444", linestyle=style, label=f"{name}, {rate:.1f}")
        axes.set(title=f"{constraint} power, 10 dB", xlabel="bits of a phase", xticks=bits)
        axes.legend(loc="lower right", frameon=True)
    panels[0].set_ylabel("mean sum rate, bit/s/Hz")
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1500, help="of Adam")
    parser.add_argument("--starts", type=int, default=3, help="of Adam")
    parser.add_argument("--figure", type=Path, help="where to draw the rates against bits")
    options = parser.parse_args()
    print(platform.processor() or platform.machine(), f"hmimo_fast {hf.__version__}")
    ours, theirs, times = measure(options.draws, options.steps, options.starts)
    print()
    print(table(ours, theirs))
    print()
    for name, ratio in times.items():
        print(f"{name}: at most {ratio:.2f} times as long as amplitudes")
    if options.figure:
        draw(ours, options.figure)


if __name__ == "__main__":
    main()
