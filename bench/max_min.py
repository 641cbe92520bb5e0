"""Max-min rates of an OFDM grid: in one pass, and by the two calls needed at 0c34ff5.

48 subcarriers of 120 kHz share one amplitude vector; 20 draws of users with five paths each.
At 0c34ff5 it took two calls of `solve`: the first finds the common rate, the second the beams.
Both run on one core, in processes of their own and in turns.

    python bench/max_min.py BEFORE    # a built checkout of 0c34ff5
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import hmimo_fast as hf
from hmimo_fast.surface import direction

DRAWS, SUBCARRIERS, PATHS, REPEATS = 20, 48, 5, 3
CASES = [(users, power) for users in (4, 6) for power in ("radiated", "digital")]
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
    from hmimo_fast.sionna import _beams

    _, beams = _beams(channel, SURFACE.phase, "max_min", constraint, {"threads": 1})
    power = abs(channel @ beams) ** 2
    wanted = np.diagonal(power, axis1=-2, axis2=-1)
    return np.log2(1.0 + wanted / (1.0 + power.sum(axis=-1) - wanted)).min(axis=(1, 2))


def measured(name: str) -> list[tuple[float, float]]:
    """Milliseconds per grid, and the mean of the lowest rates, of each case."""
    run, found = {"two_calls": two_calls, "one_pass": one_pass}[name], []
    for users, constraint in CASES:
        channel = grids(users)
        run(channel[:1], constraint)  # loads
        start = time.perf_counter()
        lowest = float(run(channel, constraint).mean())
        found.append(((time.perf_counter() - start) / DRAWS * 1e3, lowest))
    return found


def main() -> None:
    here = Path(__file__).parents[1]
    folders = {"two_calls": Path(sys.argv[1]).resolve(), "one_pass": here}
    turns: dict[str, list[list[tuple[float, float]]]] = {name: [] for name in folders}
    for _ in range(REPEATS):
        for name, folder in folders.items():
            environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
            outcome = subprocess.run(
                [sys.executable, __file__, name], env=environment, capture_output=True, check=True
            )
            turns[name].append(json.loads(outcome.stdout))
    print("users  power     ms a grid: two calls  one pass  ratio   lowest rate, bit/s/Hz")
    for number, (users, constraint) in enumerate(CASES):
        slow, quick = (min(turn[number][0] for turn in turns[name]) for name in folders)
        before, now = (turns[name][0][number][1] for name in folders)
        print(
            f"{users:5d}  {constraint:8s}{slow:22.1f}{quick:10.2f}{slow / quick:7.1f}"
            f"{before:12.3f}{now:8.3f}"
        )


if __name__ == "__main__":
    if sys.argv[1] in ("two_calls", "one_pass"):
        print(json.dumps(measured(sys.argv[1])))
    else:
        main()
