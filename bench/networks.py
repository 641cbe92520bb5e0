"""The networks against the solvers, on draws that no training saw.

Sparse mmWave channels and power 1; one core and one thread for everything.  Prints Markdown tables
of

- the mean sum rate with its standard error at the SNRs and sizes of paper A's Fig. 3 and 4 and
  Table II, of the networks with their shipped weights and with those their training began from,
- the time of an inference, its FLOPs and the share of SGEMM, and the time and rate of MB-DNN at
  other depths, untrained and trained, in % of `wmmse_hbf` at its published budget,

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
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import ceilings
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import hmimo_fast as hf
from hmimo_fast import nn
from hmimo_fast.nn.training import load_recipe, validation

#: No training draws from this seed: theirs have three numbers.
SEED = 20261122
CONSTRAINTS = ("digital", "radiated")
NETWORKS = {"mbdnn": "MB-DNN", "unrolled": "UnrolledNet"}
#: Of the networks of paper A, as files of recipes begin.
RECIPES = {"mbdnn": "MB-DNN", "gnn2d": "2DGNN", "fnn": "FNN"}
CONVERGED = {"method": "wmmse_hbf", "iterations": 10_000, "tolerance": 1e-5}
PUBLISHED = {"method": "wmmse_hbf", "iterations": 300, "tolerance": 0.0}
#: wmmse_hbf takes long to converge: on the first of the draws.
FEWER = 200
#: SNR in dB, N and K = L, of paper A's Fig. 3 and 4 and Table II.
CELLS = [
    *((snr, 64, 6) for snr in (-10.0, -5.0, 0.0, 5.0, 10.0, 15.0, 20.0)),
    *((10.0, elements, 6) for elements in (16, 100, 144)),
    *((10.0, 36, users) for users in (2, 4, 6, 8)),
    *((10.0, 64, users) for users in (2, 4, 8)),
    *((10.0, 100, users) for users in (2, 4, 8)),
]


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
    """`hmimo_fast.solve` on one thread, after a call that warms it; time of the processor."""
    common = {"noise_power": 10.0 ** (-snr / 10.0), "constraint": constraint, "threads": 1}
    hf.solve(channel[:1], surface.phase, **common, **options)
    began = time.process_time()
    rates = hf.solve(channel, surface.phase, **common, **options).sum_rate
    return Rates(rates, (time.process_time() - began) / len(channel))


def draws(surface: hf.Surface, users: int, size: int) -> np.ndarray:
    return hf.channels.sparse_mmwave(surface, users, size, SEED).astype(np.complex64)


def table(*rows: Iterable[str]) -> None:
    first, *others = ["| " + " | ".join(row) + " |" for row in rows]
    print(first, "|" + " --- |" * (first.count("|") - 1), *others, "", sep="\n", flush=True)


def models(constraint: str, folder: Path) -> dict[str, str]:
    """What `solve` takes for each network, trained and not, by what it is called."""
    found = {}
    for model, name in NETWORKS.items():
        file = folder / f"{model}_{constraint}.safetensors"
        nn.save(load_recipe(f"{model}_{constraint}").build(), file)
        found |= {f"{name}, untrained": str(file), name: model}
    return found


def quality(draws_each: int, constraint: str) -> None:
    """Every cell, relative to `wmmse_hbf` at its published budget, over the same draws."""
    print(f"### {constraint} power\n")
    rows = []
    with TemporaryDirectory() as folder:
        networks = models(constraint, Path(folder))
        for snr, elements, users in CELLS:
            surface = hf.Surface((math.isqrt(elements),) * 2, feeds=users)
            channel = draws(surface, users, draws_each)
            solve = partial(solved, surface=surface, constraint=constraint, snr=snr)
            baseline, joint = solve(channel, **PUBLISHED), solve(channel, method="joint")
            converged = solve(channel[:FEWER], **CONVERGED)
            found = [solve(channel, method="mbdnn", model=model) for model in networks.values()]
            first = Rates(found[-1].rates[:FEWER], 0.0)
            rows.append((
                f"{snr:g}", str(elements), str(users), baseline.cell(),
                *(each.against(baseline) for each in found),
                first.against(converged), found[-1].against(joint),
            ))  # fmt: skip
    last = list(networks)[-1]
    table(
        ("SNR, dB", "N", "K = L", "wmmse_hbf, 300 sweeps, bit/s/Hz",
         *(f"{name}, % of it" for name in networks),
         f"{last}, % of wmmse_hbf converged ({FEWER} draws)", f"{last}, % of joint"), *rows,
    )  # fmt: skip


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


def depths(surface: hf.Surface, channel: np.ndarray) -> None:
    """MB-DNN of growing depth, trained by 1000 steps and not: rates, and time per channel."""
    with TemporaryDirectory() as folder:
        for constraint in CONSTRAINTS:
            print(f"### Depth of MB-DNN, {constraint} power\n")
            recipe = load_recipe(f"mbdnn_{constraint}")
            training = replace(recipe.training, steps=1000)
            solve = partial(solved, channel, surface, constraint)
            baselines = [solve(snr, **PUBLISHED) for snr in FIGURE_SNR]
            rows = []
            for layers in DEPTHS:
                network = replace(recipe, config=recipe.config | {"layers": layers}).build()
                found = []
                for steps in (0, training.steps):
                    if steps:
                        nn.train(network, **vars(training))
                    file = str(Path(folder) / "depth.safetensors")
                    nn.save(network, file)
                    found.append([solve(snr, method="mbdnn", model=file) for snr in FIGURE_SNR])
                shares = [
                    " to ".join(f"{100 * each.mean / baseline.mean:.1f}" for each in pair)
                    for *pair, baseline in zip(*found, baselines, strict=True)
                ]
                together = min(1e3 * each.seconds for each in found[1])
                lone = partial(hf.solve, channel[0], surface.phase, 1.0, 0.1, "mbdnn",
                               constraint, threads=1, model=file)  # fmt: skip
                alone = 1e3 * seconds(lone, 0.5).min()
                rows.append((str(layers), f"{together:.3f}", f"{alone:.2f}", *shares))
            rates = [f"%, {snr:g} dB" for snr in FIGURE_SNR]
            table(("layers", "ms in a batch", "ms alone", *rates), *rows)


def seconds(task: Callable[[], object], length: float = 3.0) -> np.ndarray:
    """Of every call in this length of time, of the processor."""
    task()
    found = []
    deadline = time.process_time() + length
    while time.process_time() < deadline or len(found) < 5:
        began = time.process_time()
        task()
        found.append(time.process_time() - began)
    return np.array(found)


def milliseconds(found: np.ndarray) -> str:
    return f"{1e3 * found.min():.3f} ({1e3 * np.median(found):.3f})"


FIGURE_SNR = (-10.0, 10.0, 20.0, 30.0)
#: Layers.
DEPTHS = (2, 3, 4, 6)
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
    surface: hf.Surface,
    channel: np.ndarray,
    constraint: str,
    snr: float,
    budgets: list[dict[str, Any]],
) -> list[Rates]:
    start = np.random.default_rng(SEED).random(channel.shape[::2])
    return [
        solved(
            channel,
            surface,
            constraint,
            snr,
            **(each | ({"start": start} if "start" in each else {})),
        )
        for each in budgets
    ]


def draw(path: Path, surface: hf.Surface, channel: np.ndarray) -> None:
    """Mean rate against the time per channel in a batch, one panel per power and SNR."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False,
             "legend.frameon": False, "savefig.dpi": 150}  # fmt: skip
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(16.0, 8.0))
        panels = [(constraint, snr) for constraint in CONSTRAINTS for snr in FIGURE_SNR]
        for axes, (constraint, snr) in zip(
            figure.subplots(2, len(FIGURE_SNR)).flat, panels, strict=True
        ):
            print(
                f"### Rate against time, {constraint} power, N = {surface.elements}, {snr:g} dB\n"
            )
            rows = []
            for (name, budgets), (colour, marker, line) in zip(CURVES.items(), LOOKS, strict=True):
                points = curve(surface, channel, constraint, snr, budgets)
                axes.semilogx(
                    [1e3 * each.seconds for each in points], [each.mean for each in points],
                    color=colour, marker=marker, linestyle=line, label=name,
                )  # fmt: skip
                rows.append((name, *(f"{x.mean:.2f} in {1e3 * x.seconds:.3f}" for x in points)))
            table(("bit/s/Hz in ms", *["budget"] * 7), *rows)
            axes.set_xlabel("time per channel, ms (one core, in a batch)")
            title = f"{constraint} power, {snr:g} dB"
            axes.set_title(title, loc="left", fontweight="bold", fontsize=11.5)
            axes.set_ylabel("mean sum rate, bit/s/Hz")
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=5)
        figure.subplots_adjust(
            left=0.06, right=0.98, top=0.95, bottom=0.13, wspace=0.25, hspace=0.35
        )
        figure.savefig(path)


def trainings() -> None:
    """Cost of training paper A's networks to reach `wmmse_hbf` as published (Table I)."""
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
    parser.add_argument("--depths", action="store_true", help="the table of depths alone")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.training:
        trainings()
        return
    surface = hf.Surface((8, 8), feeds=6)
    channel = draws(surface, 6, chosen.draws)
    if chosen.depths:
        depths(surface, channel[:FEWER])
        return
    print(
        f"{chosen.draws} draws (seed {SEED}), single precision, one core; mean ± "
        f"standard error.\nhmimo_fast {hf.__version__} ({hf.get_backend()}), "
        f"torch {torch.__version__}\n"
    )
    for constraint in CONSTRAINTS:
        quality(chosen.draws, constraint)
    times(surface, channel)
    depths(surface, channel[:FEWER])
    if chosen.figure:
        draw(chosen.figure, surface, channel[:FEWER])


if __name__ == "__main__":
    main()
