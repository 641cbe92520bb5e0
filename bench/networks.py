"""The networks against the solvers, on draws that no training saw.

Sparse mmWave channels with K = L = 6 and power 1 unless said otherwise; one core and one thread
for everything.  Prints Markdown tables of

- the mean sum rate with its standard error, network alone and polished by `joint`, at 10 dB,
- networks trained at N = 64 and 36, K = L = 6, run at other sizes (paper A's Table II),
- the time of an inference, its FLOPs and the share of SGEMM,

and draws the mean rate against the time a channel takes.

    python bench/networks.py --draws 1000 --figure docs/images/networks.png

With ``--training`` instead: how many channels and seconds, and how much memory, the networks of
paper A take by their recipes to reach `wmmse_hbf` at its published budget, or how far they come
(its Table I); an hour.

    python bench/networks.py --training
"""

from __future__ import annotations

import argparse
import math
import resource
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from importlib import resources
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import ceilings
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import hmimo_fast as hf
from hmimo_fast import nn
from hmimo_fast.nn.training import load_recipe, validation

#: No training draws from it: theirs are seeded by three numbers.
SEED = 20261122
CONSTRAINTS = ("digital", "radiated")
NETWORKS = {"mbdnn": "MB-DNN", "unrolled": "UnrolledNet"}
#: Of the networks of paper A, as files of recipes begin.
RECIPES = {"mbdnn": "MB-DNN", "gnn2d": "2DGNN", "fnn": "FNN"}
CONVERGED = {"method": "wmmse_hbf", "iterations": 10_000, "tolerance": 1e-5}
PUBLISHED = {"method": "wmmse_hbf", "iterations": 300, "tolerance": 0.0}
POLISH = (5, 10, 20)


class Rates(NamedTuple):
    rates: np.ndarray
    seconds: float  # per channel

    @property
    def mean(self) -> float:
        return float(self.rates.mean())

    def cell(self) -> str:
        return f"{self.mean:.3f} ± {self.rates.std(ddof=1) / math.sqrt(len(self.rates)):.3f}"

    def against(self, other: Rates) -> str:
        """Ratio of the means over the same draws, with its standard error."""
        ratio = self.mean / other.mean
        error = (self.rates - ratio * other.rates).std(ddof=1) / math.sqrt(len(self.rates))
        return f"{100 * ratio:.1f} ± {100 * error / other.mean:.1f}"


def solved(
    channel: np.ndarray, surface: hf.Surface, constraint: str, snr: float = 10.0, **options: Any
) -> Rates:
    """`hmimo_fast.solve` on one thread, after a call that warms it."""
    common = {"noise_power": 10.0 ** (-snr / 10.0), "constraint": constraint, "threads": 1}
    hf.solve(channel[:1], surface.phase, **common, **options)
    began = time.perf_counter()
    rates = hf.solve(channel, surface.phase, **common, **options).sum_rate
    return Rates(rates, (time.perf_counter() - began) / len(channel))


def draws(surface: hf.Surface, users: int, size: int) -> np.ndarray:
    return hf.channels.sparse_mmwave(surface, users, size, SEED).astype(np.complex64)


def table(*rows: Iterable[str]) -> None:
    first, *others = ["| " + " | ".join(row) + " |" for row in rows]
    print(first, "|" + " --- |" * (first.count("|") - 1), *others, "", sep="\n", flush=True)


def methods() -> dict[str, dict[str, Any]]:
    """Rows of the quality table."""
    rows: dict[str, dict[str, Any]] = {
        "zf_hbf, 300 sweeps": {"method": "zf_hbf"},
        "wmmse_hbf, 300 sweeps": PUBLISHED,
        "wmmse_hbf, converged": CONVERGED,
        "joint": {"method": "joint"},
        "joint, thorough (30 + 80)": {"method": "joint", "zf_iterations": 30, "iterations": 80},
    }
    for model, name in NETWORKS.items():
        rows[name] = {"method": "mbdnn", "model": model}
        for polish in POLISH:
            rows[f"{name} + {polish}"] = rows[name] | {"polish": polish}
    return rows


def quality(surface: hf.Surface, channel: np.ndarray, constraint: str, snr: float) -> None:
    print(f"### {constraint} power, N = {surface.elements}, {snr:g} dB\n")
    found = {
        name: solved(channel, surface, constraint, snr, **row) for name, row in methods().items()
    }
    others = [found[name] for name in ("wmmse_hbf, 300 sweeps", "wmmse_hbf, converged", "joint")]
    table(
        ("", "bit/s/Hz", "% of wmmse_hbf 300", "% of converged", "% of joint", "ms/channel"),
        *(
            (name, each.cell(), *map(each.against, others), f"{1e3 * each.seconds:.3f}")
            for name, each in found.items()
        ),
    )


def sizes(draws_each: int, constraint: str) -> None:
    """Table II of paper A: L = K at N = 64, then other surfaces at K = L = 6."""
    print(f"### Other sizes without training again, {constraint} power, 10 dB\n")
    rows = []
    shapes = [((8, 8), users) for users in range(2, 9)]
    shapes += [((side, side), 6) for side in (6, 8, 10, 12, 14, 16)]
    for shape, users in shapes:
        surface = hf.Surface(shape, feeds=users)
        channel = draws(surface, users, draws_each)
        baseline = solved(channel, surface, constraint, **PUBLISHED)
        ours = [
            solved(channel, surface, constraint, method="mbdnn", model=model) for model in NETWORKS
        ]
        rows.append((
            str(surface.elements), str(users), baseline.cell(),
            *(each.against(baseline) for each in ours),
        ))  # fmt: skip
    names = [f"{name}, % of it" for name in NETWORKS.values()]
    table(("N", "K = L", "wmmse_hbf, 300 sweeps", *names), *rows)


def times(surface: hf.Surface, channel: np.ndarray) -> None:
    """Inference by `solve` and by the module alone: shortest, and median in parentheses."""
    ceiling = ceilings.blas(np.float32)
    print(f"### Inference, N = 64, K = L = 6, one core, SGEMM {ceiling:.0f} GFLOP/s\n")
    phase = torch.from_numpy(surface.phase.astype(np.complex64))
    rows = []
    for model, name in NETWORKS.items():
        network = nn.load_pretrained(model, "digital")
        parameters = sum(each.numel() for each in network.parameters())
        for batch in (1, 16, len(channel)):
            inputs = (torch.from_numpy(channel[:batch]), phase, 1.0, 0.1)
            problem = (channel[:batch], surface.phase, 1.0, 0.1, "mbdnn", "digital")
            with torch.no_grad():
                with FlopCounterMode(display=False) as counter:
                    network(*inputs)
                alone = seconds(partial(network, *inputs)) / batch
            end = seconds(partial(hf.solve, *problem, threads=1, model=model)) / batch
            flops = counter.get_total_flops() / batch
            rows.append(
                (name, f"{parameters / 1e3:.1f} k", str(batch), milliseconds(end),
                 milliseconds(alone), f"{flops / 1e6:.1f}",
                 f"{100 * flops / alone.min() / ceiling / 1e9:.0f} %")
            )  # fmt: skip
    table(("", "parameters", "batch", "solve, ms/channel", "module, ms/channel",
           "MFLOP of its matrix products", "of SGEMM"), *rows)  # fmt: skip


def seconds(task: Callable[[], object], length: float = 3.0) -> np.ndarray:
    """Of every call in this length of time."""
    task()
    found = []
    deadline = time.perf_counter() + length
    while time.perf_counter() < deadline or len(found) < 5:
        began = time.perf_counter()
        task()
        found.append(time.perf_counter() - began)
    return np.array(found)


def milliseconds(found: np.ndarray) -> str:
    return f"{1e3 * found.min():.3f} ({1e3 * np.median(found):.3f})"


#: Curves of the figure: budgets from short to long.
CURVES: dict[str, list[dict[str, Any]]] = {
    "joint, from all on": [
        {"method": "joint", "zf_iterations": first, "iterations": second}
        for first, second in ((0, 1), (1, 1), (2, 2), (3, 5), (5, 10), (10, 25), (30, 80))
    ],
    "joint, general stage from random": [
        {"method": "joint", "zf_iterations": 0, "iterations": budget, "start": "random"}
        for budget in (1, 2, 5, 10, 20, 40, 80)
    ],
    "wmmse_hbf": [
        {"method": "wmmse_hbf", "iterations": budget, "tolerance": 0.0}
        for budget in (3, 10, 30, 100, 300, 1000, 3000)
    ],
    **{
        f"{name} + polish": [
            {"method": "mbdnn", "model": model, "polish": polish}
            for polish in (0, 1, 2, 5, 10, 20, 40)
        ]
        for model, name in NETWORKS.items()
    },
}
LOOKS = (("#000000", "o", "-"), ("#9AA0A6", "v", ":"), ("#0072B2", "s", "--"),
         ("#009E73", "D", "-."), ("#D55E00", "^", "-"))  # fmt: skip


def curve(
    surface: hf.Surface, channel: np.ndarray, constraint: str, budgets: list[dict[str, Any]]
) -> list[Rates]:
    start = np.random.default_rng(SEED).random(channel.shape[::2])
    return [
        solved(
            channel, surface, constraint, **(each | ({"start": start} if "start" in each else {}))
        )
        for each in budgets
    ]


def draw(path: Path, surface: hf.Surface, channel: np.ndarray) -> None:
    """Mean rate against the time of a channel in a batch, a panel a power convention."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False,
             "legend.frameon": False, "savefig.dpi": 150}  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10.5, 5.0))
        for axes, constraint in zip(figure.subplots(1, 2), CONSTRAINTS, strict=True):
            print(f"### Rate against time, {constraint} power, N = {surface.elements}, 10 dB\n")
            rows = []
            for (name, budgets), (colour, marker, line) in zip(CURVES.items(), LOOKS, strict=True):
                points = curve(surface, channel, constraint, budgets)
                axes.semilogx(
                    [1e3 * each.seconds for each in points], [each.mean for each in points],
                    color=colour, marker=marker, linestyle=line, label=name,
                )  # fmt: skip
                rows.append((name, *(f"{x.mean:.2f} in {1e3 * x.seconds:.3f}" for x in points)))
            table(("bit/s/Hz in ms", *["budget"] * 7), *rows)
            axes.set_xlabel("time of one channel, ms (one core, in a batch)")
            axes.set_title(f"{constraint} power", loc="left", fontweight="bold", fontsize=11.5)
            axes.set_ylabel("mean sum rate, bit/s/Hz")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=3)
        figure.subplots_adjust(left=0.08, right=0.98, top=0.92, bottom=0.25, wspace=0.2)
        figure.savefig(path)


def trainings() -> None:
    """What the networks of paper A take to reach `wmmse_hbf` at its published budget (Table I)."""
    print("### Training until wmmse_hbf, 300 sweeps, N = 64, K = L = 6, 10 dB\n")
    head = ("", "power", "parameters", "untrained, % of it", "channels seen", "s", "MB",
            "trained, % of it", "100 % at, channels", "100 % at, s")  # fmt: skip
    tasks = [(name, constraint) for name in RECIPES for constraint in CONSTRAINTS]
    # A process each: the largest memory is a process's.
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as pool:
        table(head, *pool.map(trained, *zip(*tasks, strict=True)))


def trained(name: str, constraint: str) -> list[str]:
    """A row of `trainings`; without a recipe for the power, by that for ``radiated`` power."""
    torch.set_num_threads(1)
    exact = resources.files(nn).joinpath("recipes", f"{name}_{constraint}.json").is_file()
    recipe = load_recipe(f"{name}_{constraint if exact else 'radiated'}")
    recipe = replace(recipe, config=recipe.config | {"constraint": constraint})
    model, settings = recipe.build(), recipe.training
    surface, channel, snr = validation(settings)
    baseline = solved(channel, surface, constraint, snr, **PUBLISHED).mean
    noise_power = 10.0 ** (-snr / 10.0)
    with torch.no_grad():
        amplitudes, digital = model(
            torch.tensor(channel, dtype=torch.complex64),
            torch.tensor(surface.phase, dtype=torch.complex64), 1.0, noise_power,
        )  # fmt: skip
    untrained = hf.sum_rate(channel, amplitudes, surface.phase, digital, noise_power).mean()
    log = [(0, 0.0, untrained / baseline)]
    began = time.perf_counter()

    def report(done: int, steps: int, rate: float) -> None:
        log.append((done * settings.batch, time.perf_counter() - began, rate / baseline))

    nn.train(model, report=report, **asdict(settings))
    seen, seconds, share = log[-1]
    parameters = sum(each.numel() for each in model.parameters())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    passed = next((row for row in log if row[2] >= 1.0), None)
    return [
        RECIPES[name], constraint, f"{parameters / 1e3:.1f} k", f"{100 * log[0][2]:.1f}",
        str(seen), f"{seconds:.0f}", f"{memory / 1e3:.0f}", f"{100 * share:.1f}",
        *(("not reached", "-") if passed is None else (str(passed[0]), f"{passed[1]:.0f}")),
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--training", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.training:
        trainings()
        return
    surface = hf.Surface((8, 8), feeds=6)
    channel = draws(surface, 6, chosen.draws)
    print(
        f"{chosen.draws} draws (seed {SEED}), K = L = 6, single precision, one core; mean ± "
        f"standard error.\nhmimo_fast {hf.__version__} ({hf.get_backend()}), "
        f"torch {torch.__version__}\n"
    )
    for constraint in CONSTRAINTS:
        for snr in (0.0, 10.0, 20.0):
            quality(surface, channel, constraint, snr)
        small = hf.Surface((6, 6), feeds=6)
        quality(small, draws(small, 6, chosen.draws), constraint, 10.0)
    for constraint in CONSTRAINTS:
        sizes(max(2, chosen.draws // 4), constraint)
    times(surface, channel)
    if chosen.figure:
        draw(chosen.figure, surface, channel)


if __name__ == "__main__":
    main()
