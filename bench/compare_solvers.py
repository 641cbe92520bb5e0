"""Every solver on the same channels: mean sum rate, and the time per channel on one thread.

Sparse mmWave channels on square surfaces of 36, 64 and 256 elements, and 6 users drawn from
Munich's 88 (30 dBm, noise -87 dBm), with 6 feeds, under both power conventions.  For 64 elements
also L-BFGS-B from SciPy: under `digital` power 500 iterations over (m, V) from all elements on
with zero-forcing or matched beams, under `radiated` power 200 iterations over m for zero forcing
with equal SINRs.  `alternating` shows the best of three step sizes in either reading.

Prints tables in Markdown: rates with their standard error, ratios of means over the same draws
with theirs, and `yes` or `NO` where a ratio is asked for; so does the exit status.  A ratio to
several rows is one to the best of them.

    python bench/compare_solvers.py
    python bench/compare_solvers.py --constraint digital --sets 64 munich --snr 10

A time is the shortest processor time of the runs of all channels that fit into 0.3 s, at least
one.  That of L-BFGS-B is mostly SciPy's and Python's.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
from lbfgsb import joint_lbfgsb, zf_lbfgsb
from solving import FEEDS, MUNICH_NOISE, USERS, Result, munich, ratio, solved, sparse, timed
from threadpoolctl import threadpool_limits

import hmimo_fast as hf

SETS = ("36", "64", "256", "munich")
SNRS = (0, 10, 20)
STEPS = (0.01, 0.03, 0.1)
READINGS = {"alternating, ZF every step": 1, "alternating, inner loop to its end": 0}
#: Rows of the tables by name, with the arguments of `solve`.  "converged": to 1e-5 bit/s/Hz.
METHODS: dict[str, dict[str, Any]] = {
    "zf_hbf, 300 sweeps": {"method": "zf_hbf"},
    "zf_hbf, converged": {"method": "zf_hbf", "iterations": 10_000},
    "wmmse_hbf, 300 sweeps": {"method": "wmmse_hbf"},
    "wmmse_hbf, converged": {"method": "wmmse_hbf", "iterations": 10_000},
    "zf": {"method": "zf"},
    "joint": {},
    "joint, starts=4": {"starts": 4},
    "joint, thorough (30 + 80)": {"zf_iterations": 30, "iterations": 80},
    "joint, 20 starts of 50 + 150": {
        "starts": 20,
        "candidates": 1,
        "zf_iterations": 50,
        "iterations": 150,
    },
    "fully digital": {"method": "fully_digital"},
}
Asked = dict[tuple[str, str], dict[str, float]]
#: Least ratio of mean rates at 64 elements, by constraint, the beginnings of two rows, and SNR.
ASKED: dict[str, Asked] = {
    "digital": {
        ("joint", "wmmse_hbf, 300 sweeps"): {"10 dB": 1.10},
        ("joint", "wmmse_hbf, converged"): {"10 dB": 1.03},
        ("joint", "alternating"): {"0 dB": 1.30, "10 dB": 1.12, "20 dB": 1.06},
        ("joint", "L-BFGS-B"): {"0 dB": 0.99, "10 dB": 0.99, "20 dB": 0.99},
        ("joint", "joint, 20 starts of 50 + 150"): {"10 dB": 0.985},
        ("joint, starts=4", "joint, 20 starts of 50 + 150"): {"10 dB": 0.993},
    },
    "radiated": {
        ("joint", "wmmse_hbf, 300 sweeps"): {"10 dB": 1.02},
        ("joint", "wmmse_hbf, converged"): {"10 dB": 1.00},
        ("joint", "alternating"): {},
        ("joint", "L-BFGS-B"): {"10 dB": 1.10},
        ("joint", "joint, 20 starts of 50 + 150"): {"10 dB": 0.985},
        ("joint, starts=4", "joint, 20 starts of 50 + 150"): {"10 dB": 0.993},
    },
}
MOST_MS = 1.0  # asked of every method at 64 elements

Results = dict[str, Result]


def results_of(
    channel: np.ndarray, phase: np.ndarray, noise_power: float, constraint: str, generic: bool
) -> Results:
    """Every row of a table at one noise power; L-BFGS-B where ``generic``."""

    def run(**options: Any) -> Result:
        return solved(channel, phase, noise_power, constraint=constraint, **options)

    def one_by_one(rate: Callable[[np.ndarray], float]) -> Result:
        return timed(lambda: np.array([rate(h) for h in channel]))

    results = {"random": run(method="random")}
    for reading, inner in READINGS.items():
        results[reading] = best(
            [run(method="alternating", inner=inner, step=step) for step in STEPS]
        )
    results |= {name: run(**options) for name, options in METHODS.items()}
    if generic and constraint == "digital":
        results |= {
            f"L-BFGS-B over (m, V), {beams} beams": one_by_one(
                lambda h, beams=beams: joint_lbfgsb(h, phase, noise_power, beams)
            )
            for beams in ("zf", "matched")
        }
    if generic and constraint == "radiated":
        results["L-BFGS-B over m, ZF with equal SINRs"] = one_by_one(
            lambda h: zf_lbfgsb(h, phase, noise_power)
        )
    return results


def best(results: Sequence[Result]) -> Result:
    """The one with the highest mean rate."""
    return max(results, key=lambda result: result.rates.mean())


def named(results: Results, name: str) -> Result:
    """A row by its name, or the best of the rows that begin with it."""
    return best([result for row, result in results.items() if row.startswith(name)])


def rate_table(columns: dict[str, Results]) -> str:
    """Mean rate and time: a row per method, two columns per noise power."""
    head = ["bit/s/Hz", *(f"{label} | ms" for label in columns)]
    lines = [" | ".join(head), " | ".join(["---"] + ["--:"] * 2 * len(columns))]
    for method in next(iter(columns.values())):
        cells = [method]
        for results in columns.values():
            rates, seconds = results[method]
            cells += [f"{rates.mean():.2f} ± {results[method].error:.2f}", f"{1e3 * seconds:.3g}"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def ratio_table(columns: dict[str, Results], asked: Asked, judged: bool) -> tuple[str, bool]:
    """Ratios of mean rates with what is asked of them, and whether all of that is met."""
    lines = [" | ".join(["ratio", *columns]), " | ".join(["---"] + ["--:"] * len(columns))]
    met = True
    for (ours, theirs), least in asked.items():
        cells = [f"{ours} / {theirs}"]
        for label, results in columns.items():
            if not any(name.startswith(theirs) for name in results):
                break
            value, error = ratio(results[ours], named(results, theirs))
            cell = f"{value:.3f} ± {error:.3f}"
            if judged and label in least:
                enough = value >= least[label]
                met &= enough
                cell += f" (≥ {least[label]:.4g}: {'yes' if enough else 'NO'})"
            cells.append(cell)
        else:
            lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines), met


def compare(constraint: str, name: str, draws: int, seed: int, snrs: Sequence[int]) -> bool:
    """Print the tables of one set of channels under one convention."""
    if name == "munich":
        channel, phase = munich(draws, seed)
        noise = {"30 dBm": MUNICH_NOISE}
    else:
        channel, phase = sparse(int(name), draws, seed)
        noise = {f"{snr} dB": 10.0 ** (-snr / 10.0) for snr in snrs}
    solved(channel[:1], phase, 0.1)  # compiles, on Numba
    judged = name == "64"
    columns = {}
    for label, noise_power in noise.items():
        began = time.perf_counter()
        columns[label] = results_of(channel, phase, noise_power, constraint, judged)
        spent = time.perf_counter() - began
        print(f"{constraint} power, {name}, {label}: {spent:.0f} s", file=sys.stderr, flush=True)
    title = "Munich, 6 of 88 users" if name == "munich" else f"N = {name}"
    ratios, met = ratio_table(columns, ASKED[constraint], judged)
    print(f"\n### {constraint} power, {title}\n\n{rate_table(columns)}\n\n{ratios}")
    if judged:
        longer = [
            each["joint, starts=4"].seconds / each["joint"].seconds for each in columns.values()
        ]
        print(
            f"\nOver {MOST_MS:g} ms per channel: {', '.join(slow(columns)) or 'none'}. joint with "
            f"starts=4 takes {max(longer):.1f} times as long as with one (asked: at most 4)."
        )
    return met


def slow(columns: dict[str, Results]) -> list[str]:
    """Single runs of methods that take longer than what is asked, with their longest time."""
    longest = {
        name: 1e3 * max(results[name].seconds for results in columns.values())
        for name in next(iter(columns.values()))
        if "starts" not in name and "L-BFGS-B" not in name
    }
    return [f"{name} ({ms:.1f})" for name, ms in longest.items() if ms > MOST_MS]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--constraint", nargs="+", choices=tuple(ASKED), default=tuple(ASKED))
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--snr", nargs="+", type=int, default=SNRS, metavar="DB")
    chosen = parser.parse_args()
    print(
        f"{chosen.draws} draws (seed {chosen.seed}), K = {USERS}, L = {FEEDS}; mean ± standard "
        f"error; ms per channel on one thread.  hmimo_fast {hf.__version__} ({hf.get_backend()}), "
        f"NumPy {np.__version__}, SciPy {scipy.__version__}, Python {platform.python_version()}, "
        f"{platform.machine()}"
    )
    with threadpool_limits(1):
        met = [
            compare(constraint, name, chosen.draws, chosen.seed, chosen.snr)
            for constraint in chosen.constraint
            for name in chosen.sets
        ]
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
