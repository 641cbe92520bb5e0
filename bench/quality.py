"""How close `joint` comes to the best known rate, in every cell of a grid.

Five kinds of channel, five sizes, both conventions of power, six SNRs.  The best known rate of an
item is the largest of: `joint` with its defaults and with ``starts=4``, every nested candidate run
to its end, twenty random starts of 50 + 150 iterations, `wmmse_hbf` to convergence, and one user
alone.  A share is the mean over the draws of an item's rate over the best known one.

    python bench/quality.py                      # 30 draws per cell: hours
    python bench/quality.py --draws 8 --kinds sparse near --snr -10 10

Prints a line per cell and the tables in Markdown: mean and worst cell at each SNR, the cells below
`wmmse_hbf`, and the items below one of their users alone.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import hmimo_fast as hf

SIZES = ((16, 4, 4), (36, 4, 8), (64, 6, 6), (64, 6, 3), (256, 8, 8))  # N, L, K
SNRS = (-20, -10, 0, 10, 20, 30)  # dB
TO_THE_END: dict[str, Any] = {"zf_iterations": 10, "iterations": 150}
STARTS = 20


def near(surface: hf.Surface, users: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Users within a metre and a half of the surface, of a mean gain of one."""
    low, high = (-0.5, -0.5, 0.1), (0.5, 0.5, 1.5)
    places = rng.uniform(low, high, (draws, users, 3))
    channel = np.stack([hf.channels.near_field(surface, place) for place in places])
    return channel / np.sqrt(np.mean(np.abs(channel) ** 2, axis=(1, 2), keepdims=True))


def channels(kind: str, surface: hf.Surface, users: int, draws: int, seed: int) -> np.ndarray:
    """Channels (draws, K, N) of a kind."""
    if kind == "near":
        return near(surface, users, draws, np.random.default_rng(seed))
    if kind == "common":  # a strong component that all users share
        shared = hf.channels.rayleigh(surface, users=1, size=draws, seed=seed)
        return shared + 0.3 * hf.channels.rayleigh(surface, users=users, size=draws, seed=seed + 1)
    drawn: dict[str, Callable[..., np.ndarray]] = {
        "sparse": hf.channels.sparse_mmwave,
        "rician": hf.channels.rician,
        "rayleigh": hf.channels.rayleigh,
    }
    return drawn[kind](surface, users=users, size=draws, seed=seed)


KINDS = ("sparse", "rician", "rayleigh", "near", "common")


class Cell(NamedTuple):
    kind: str
    size: tuple[int, int, int]
    constraint: str
    snr: int
    default: np.ndarray  # rates of the draws
    four: np.ndarray
    hbf: np.ndarray
    alone: np.ndarray
    best: np.ndarray

    def share(self, rates: np.ndarray) -> float:
        return float(np.mean(rates / self.best))


def seed_of(kind: str, elements: int, users: int) -> int:
    """The seed of a cell's channels and starts."""
    return 1000 * KINDS.index(kind) + elements + users


def measured(kind: str, size: tuple[int, int, int], constraint: str, snr: int, draws: int) -> Cell:
    """Rates of every method in one cell."""
    elements, feeds, users = size
    side = round(elements**0.5)
    surface = hf.Surface(shape=(side, side), feeds=feeds)
    seed = seed_of(kind, elements, users)
    channel = channels(kind, surface, users, draws, seed)

    def rates(these: np.ndarray = channel, **options: Any) -> np.ndarray:
        return hf.solve(
            these,
            surface.phase,
            1.0,
            10 ** (-snr / 10),
            constraint=constraint,
            seed=seed,
            **options,
        ).sum_rate

    default, four = rates(), rates(starts=4)
    hbf = rates(method="wmmse_hbf", iterations=10_000)
    alone = np.max([rates(channel[:, k : k + 1]) for k in range(users)], axis=0)
    nested = rates(finalists=users, **TO_THE_END)
    starts = rates(starts=STARTS, candidates=1, zf_iterations=50, iterations=150)
    best = np.max([default, four, hbf, alone, nested, starts], axis=0)
    return Cell(kind, size, constraint, snr, default, four, hbf, alone, best)


def table(cells: list[Cell], constraint: str) -> str:
    """Mean and worst share at every SNR."""
    lines = [
        f"| {constraint}: SNR, dB | default: mean | worst cell | starts=4: mean | worst cell |",
        "|---|---|---|---|---|",
    ]
    for snr in sorted({cell.snr for cell in cells}):
        here = [cell for cell in cells if cell.snr == snr and cell.constraint == constraint]
        default = [cell.share(cell.default) for cell in here]
        four = [cell.share(cell.four) for cell in here]
        lines.append(
            f"| {snr} | {np.mean(default):.4f} | {min(default):.4f} | {np.mean(four):.4f} "
            f"| {min(four):.4f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=30)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--snr", nargs="+", type=int, default=SNRS)
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {asked.draws} draws per cell\n")
    cells = []
    for kind in asked.kinds:
        for size in SIZES:
            for constraint in ("radiated", "digital"):
                for snr in asked.snr:
                    began = time.perf_counter()
                    cell = measured(kind, size, constraint, snr, asked.draws)
                    cells.append(cell)
                    print(
                        f"{kind} {size} {constraint} {snr} dB: {cell.share(cell.default):.4f}, "
                        f"starts=4 {cell.share(cell.four):.4f}, over wmmse_hbf "
                        f"{np.mean(cell.default / cell.hbf):.4f}, least over alone "
                        f"{np.min(cell.default / cell.alone):.4f} "
                        f"({time.perf_counter() - began:.0f} s)",
                        flush=True,
                    )
    for constraint in ("radiated", "digital"):
        print(f"\n{table(cells, constraint)}")
    below = sum(np.mean(cell.default / cell.hbf) < 0.998 for cell in cells)
    items = sum(int(np.sum(cell.default < 0.999 * cell.alone)) for cell in cells)
    print(f"\nbelow 0.998 of wmmse_hbf: {below} of {len(cells)} cells")
    print(f"below 0.999 of one user alone: {items} of {len(cells) * asked.draws} items")


if __name__ == "__main__":
    main()
