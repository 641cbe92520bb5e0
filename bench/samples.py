"""How many channels each network of paper A has to see before it matches `wmmse_hbf` (A-T1s).

Table I of the paper takes hours on a GPU.  Here the surface has 16 elements, two users and two
feeds, and 2DGNN and FNN are as much narrower: `radiated` power, 10 dB, channels drawn as the
training goes, none seen twice.  Each network is trained until the mean rate over 256 other draws
reaches that of `wmmse_hbf` after 300 sweeps, or for some seconds of processor time, with three
seeds.  Prints a Markdown table of the dataset, which ``--measure`` makes again.

    python bench/samples.py
    python bench/samples.py --measure
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from networks import PUBLISHED, solved, table

from hmimo_fast import nn
from hmimo_fast.nn.training import Recipe, Training, validation

DATA = Path(__file__).parent / "data" / "samples.json"
SEEDS = 3
#: By the name of the paper: class, keywords, learning rate, batch.
NETWORKS: dict[str, tuple[str, dict[str, Any], float, int]] = {
    "MB-DNN": ("MBDNN", {}, 5e-4, 64),
    "2DGNN": ("GNN2D", {"widths": [16, 64, 64, 16]}, 1e-3, 64),
    "FNN": ("FNN", {"users": 2, "elements": 16, "width": 256}, 1e-3, 256),
}


class Enough(Exception):
    """The network matches, or its time is up."""


def trained(name: str, seed: int, budget: float) -> dict[str, Any]:
    """The course of one training: channels seen, seconds of the processor, share of the rate."""
    torch.set_num_threads(1)
    model, config, rate, batch = NETWORKS[name]
    training = Training(
        shapes=((4, 4),), users=2, feeds=2, snr=(10.0, 10.0), batch=batch, steps=100_000,
        learning_rate=rate, check_every=50, seed=seed,
    )  # fmt: skip
    network = Recipe(model, config, training).build()
    surface, channel, snr = validation(training)
    goal = solved(channel, surface, "radiated", snr, **PUBLISHED).mean
    began = time.process_time()
    with torch.no_grad():
        phase = torch.tensor(surface.phase, dtype=torch.complex64)
        h = torch.tensor(channel, dtype=torch.complex64)
        first = nn.ops.sum_rate(h, *_link(network, h, phase, snr)).mean().item()
    course = [[0, 0.0, first / goal]]

    def report(done: int, steps: int, reached: float) -> None:
        seconds = time.process_time() - began
        if done % training.check_every == 0:
            course.append([done * batch, round(seconds, 1), reached / goal])
        if seconds > budget or reached >= goal:
            raise Enough

    if first < goal:
        try:
            nn.train(network, report=report, **vars(training))
        except Enough:
            pass
    return {
        "network": name,
        "seed": seed,
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
        "course": course,
    }


def _link(network: Any, h: Any, phase: Any, snr: float) -> tuple[Any, ...]:
    noise_power = 10.0 ** (-snr / 10.0)
    amplitudes, digital = network(h, phase, 1.0, noise_power)
    return amplitudes, phase, digital, noise_power


def show(runs: list[dict[str, Any]]) -> None:
    head = ("", "parameters", "MB", "untrained, % of wmmse_hbf", "at the end, %", "channels seen",
            "s of the processor", "100 % at, channels")  # fmt: skip
    rows = []
    for name in NETWORKS:
        mine = [run for run in runs if run["network"] == name]
        first, last = (np.array([run["course"][at] for run in mine]) for at in (0, -1))
        reached = [f"{run[0]:.0f}" if run[2] >= 1.0 else "not reached" for run in last]
        rows.append((
            name, f"{mine[0]['parameters'] / 1e3:.1f} k",
            f"{max(run['megabytes'] for run in mine):.0f}",
            *(", ".join(f"{100 * share:.1f}" for share in each[:, 2]) for each in (first, last)),
            ", ".join(f"{seen:.0f}" for seen in last[:, 0]),
            ", ".join(f"{seconds:.0f}" for seconds in last[:, 1]), ", ".join(reached),
        ))  # fmt: skip
    table(head, *rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--seconds", type=float, default=45.0)
    chosen = parser.parse_args()
    if chosen.measure:
        tasks = [(name, seed, chosen.seconds) for seed in range(SEEDS) for name in NETWORKS]
        # A process each: the largest memory is a process's.
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
            runs = list(pool.map(trained, *zip(*tasks, strict=True)))
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(runs, indent=None) + "\n")
    show(json.loads(DATA.read_text()))


if __name__ == "__main__":
    main()
