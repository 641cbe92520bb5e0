"""The speed of the kernels against the targets, written to RESULTS.md.

One core except where two are named; every row checks that results agree, then times all in
turns.  The part of RESULTS.md from its section "Solvers" on is kept as it is.

    python bench/table.py                 # some four minutes
    python bench/table.py --seconds 0.3   # rough
"""

from __future__ import annotations

import argparse
import os
import platform
import tracemalloc
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import ceilings
import numpy as np
import peers
from threadpoolctl import threadpool_info

import hmimo_fast as hf
from hmimo_fast import benchmark as bm
from hmimo_fast.benchmark import OURS, Row
from hmimo_fast.writing import try_out, write

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
FIGURE = HERE.parent / "docs" / "images" / "speed.png"
KEPT = "## Solvers"
THOROUGH = {"zf_iterations": 30, "iterations": 80}
#: Elements and batch of the sweep; K = L = 6, and 8 from 1024 elements on.
SWEEP = {36: 2048, 64: 2048, 256: 2048, 1024: 256, 4096: 64}
#: Time over flops may grow by this much to count as linear: the caches are finite.
SLACK = 1.25
TWO_THREADS = 1.85
#: A batch of one runs the same code whatever the number of threads; the rest is noise.
NOISE = 1.05


class Line(NamedTuple):
    """One line of the table of targets."""

    workload: str
    ours: str
    others: str
    ratio: str
    asked: str
    met: bool


def flops(elements: int, users: int, feeds: int) -> int:
    """Rate and both gradients by their shortest count."""
    return 16 * elements * users * feeds + 6 * elements * users + 24 * users**2 * feeds


def time_of(seconds: float) -> str:
    unit, scale = ("ms", 1e3) if seconds >= 1e-3 else ("µs", 1e6)
    value = seconds * scale
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"


def others_of(row: Row, scale: float = 1.0) -> str:
    names = sorted((name for name in row.rounds if name != OURS), key=row.seconds)
    return ", ".join(f"{name} {time_of(scale * row.seconds(name))}" for name in names)


def ratio_of(row: Row, name: str) -> str:
    return f"{row.ratio(name):.3g} ({row.median_ratio(name):.3g}) × {name}"


def markdown(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def against_best(row: Row, times: float, scale: float = 1.0) -> Line:
    best = row.best()
    assert best is not None
    return Line(
        row.workload,
        time_of(scale * row.seconds()),
        others_of(row, scale),
        ratio_of(row, best),
        f"≤ 1/{times:g} of the best",
        row.ratio(best) >= times,
    )


def gradient_lines(seconds: float, dgemm: float) -> list[Line]:
    double = bm.gradient_row(64, 6, 2048, np.complex128, seconds, peers.GRADIENTS)
    single = bm.gradient_row(64, 6, 2048, np.complex64, seconds, peers.GRADIENTS)
    large = bm.gradient_row(1024, 8, 256, np.complex128, 2 * seconds, peers.GRADIENTS)
    one = bm.gradient_row(64, 6, None, np.complex128, seconds, peers.GRADIENTS)
    share = single.seconds() / double.seconds()
    first = against_best(double, 4)
    done = flops(64, 6, 6) / double.seconds() * 1e-9 / dgemm
    lines = [
        first._replace(ratio=f"{first.ratio}; {100 * done:.0f} % of DGEMM"),
        Line(
            single.workload,
            time_of(single.seconds()),
            others_of(single),
            f"{share:.2f} × double; {ratio_of(single, single.best() or OURS)}",
            "≤ 0.6 × double",
            share <= 0.6,
        ),
        against_best(large, 3.5),
    ]
    for name, times in (("NumPy", 8), ("torch", 50)):
        if name in one.rounds:
            lines.append(
                Line(
                    one.workload,
                    time_of(one.seconds()),
                    others_of(one),
                    ratio_of(one, name),
                    f"≤ 1/{times} of {name}",
                    one.ratio(name) >= times,
                )
            )
    return lines


def absolute(row: Row, limit: float, scale: float = 1.0) -> Line:
    """A line whose target is a time."""
    best = row.best()
    assert best is not None
    return Line(
        row.workload,
        time_of(scale * row.seconds()),
        others_of(row, scale),
        ratio_of(row, best),
        f"≤ {limit * 1e3:g} ms" + (" in all" if scale > 1 else ""),
        scale * row.seconds() <= limit,
    )


def joint_lines(seconds: float) -> list[Line]:
    lines = []
    for constraint, factor in (("digital", 1.0), ("radiated", 1.3)):
        together, alone = bm.joint_rows(constraint, seconds)
        with hf.backend("numba"):
            jit = bm.joint_rows(constraint, seconds / 4, 100)[0]
        together.rounds[peers.NUMBA_BACKEND] = jit.rounds[OURS]
        for row, limit in ((together, 1e-4), (alone, 2e-4)):
            lines.append(
                Line(
                    row.workload,
                    time_of(row.seconds()),
                    others_of(row),
                    f"{row.ratio('NumPy'):.0f} × NumPy",
                    f"≤ {factor * limit * 1e3:g} ms",
                    row.seconds() <= factor * limit,
                )
            )
        channel, phase = bm.joint_problem(1000)
        usual, thorough = (
            hf.solve(channel, phase, 1.0, 0.1, constraint=constraint, **options).sum_rate.mean()
            for options in ({}, THOROUGH)
        )
        lines.append(
            Line(
                f"mean rate of these 1000, {constraint}",
                f"{usual:.3f} bit/s/Hz",
                f"30 + 80 iterations {thorough:.3f} bit/s/Hz",
                f"{usual / thorough:.4f}",
                "≥ 0.99",
                usual >= 0.99 * thorough,
            )
        )
    return lines


def sweep(seconds: float) -> tuple[list[Row], list[Row]]:
    """Rate and gradients over N, in batches and one at a time, in all libraries."""

    def row(elements: int, batch: int | None) -> Row:
        users = 8 if elements >= 1024 else 6
        return bm.gradient_row(elements, users, batch, np.complex128, seconds, peers.GRADIENTS)

    return [row(n, batch) for n, batch in SWEEP.items()], [row(n, None) for n in SWEEP]


def sweep_table(batches: list[Row], single: list[Row]) -> str:
    rows = [
        (row.workload.removeprefix("rate + gradients, "), time_of(row.seconds()), others_of(row),
         ratio_of(row, row.best() or OURS))
        for row in [*batches, *single]
    ]  # fmt: skip
    return markdown(("rate + gradients", "hmimo_fast", "others", "ratio"), rows)


def growth(seconds: float, dgemm: float) -> tuple[str, list[Line]]:
    """Time over flops along N at K = L = 8, and along K = L at N = 64."""
    along_n = [(n, 8) for n in (64, 128, 256, 512, 1024, 2048, 4096)]
    along_k = [(64, k) for k in (2, 4, 6, 8, 12, 16, 24, 32)]
    tasks, items = {}, {}
    for elements, users in dict.fromkeys(along_n + along_k):
        name = f"{elements} {users}"
        items[name] = max(8, 2**18 // (elements * users))
        tasks[name] = bm.our_gradient(bm.random_link(elements, users, items[name]))
    found = bm.measure(tasks, 4 * seconds, items)
    times = {tuple(map(int, name.split())): min(each) for name, each in found.items()}
    speed = {(n, k): flops(n, k, k) / time * 1e-9 for (n, k), time in times.items()}
    rows = [
        (str(n), str(k), time_of(times[n, k]), f"{flops(n, k, k):,}".replace(",", " "),
         f"{speed[n, k]:.1f}", f"{100 * speed[n, k] / dgemm:.0f} %")
        for n, k in times
    ]  # fmt: skip
    header = ("N", "K = L", "time per item", "flops", "GFLOP/s", "of DGEMM")
    lines = []
    for what, points, base, span in (
        ("N", along_n, (1024, 8), "from 1024 to 4096, K = L = 8"),
        ("K L", along_k, (64, 6), "from K = L = 6 to 32, N = 64"),
    ):
        worst = max(speed[base] / speed[point] for point in points if point >= base)
        lines.append(
            Line(
                f"growth {span}",
                f"{speed[base]:.1f} GFLOP/s to {speed[points[-1]]:.1f}",
                "",
                f"time / flops at most {worst:.2f} × the first",
                f"linear in {what} (≤ {SLACK:g})",
                worst <= SLACK,
            )
        )
    return markdown(header, rows), lines


def large_batch() -> Line:
    """What a batch of 10^5 allocates beyond its results."""
    link = bm.random_link(64, 6, 1000, np.complex64)
    many = link._replace(
        channel=np.tile(link.channel, (100, 1, 1)),
        amplitudes=np.tile(link.amplitudes, (100, 1)),
        digital=np.tile(link.digital, (100, 1, 1)),
    )
    run = bm.our_gradient(many)
    seconds = min(bm.measure({OURS: run}, 0.0, {OURS: 100_000})[OURS])
    tracemalloc.start()
    results = run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    beyond = peak - sum(result.nbytes for result in results)
    return Line(
        "batch of 10⁵ links, N = 64, K = L = 6, single",
        time_of(seconds),
        f"channels {many.channel.nbytes / 1e6:.0f} MB",
        f"{beyond / 1e6:.3f} MB allocated beyond the results",
        "no copy of the batch",
        beyond < 1e6,
    )


def thread_lines(seconds: float) -> list[Line]:
    """Two threads against one, in turns; needs two cores."""
    link = bm.random_link(64, 6, 2048)
    item = bm.random_link(64, 6, None)
    coarse = bm.random_channels(6, 64, 4096, np.complex64)
    fine = bm.random_channels(6, 64, 2000, np.complex128)
    channel, phase = bm.joint_problem(1000)
    workloads: dict[str, tuple[Callable[[int], object], bool]] = {
        "rate + gradients, N = 64, batch 2048": (
            lambda threads: hf.sum_rate_gradient(*link, threads=threads),
            True,
        ),
        "zero_forcing, 6 × 64, batch 4096, single": (
            lambda threads: hf.zero_forcing(coarse, 1.0, threads=threads),
            True,
        ),
        "wmmse, 6 × 64, batch 2000": (
            lambda threads: hf.wmmse(fine, 1.0, 0.1, threads=threads),
            True,
        ),
        "solve joint, radiated, batch 1000": (
            lambda threads: hf.solve(channel, phase, 1.0, 0.1, threads=threads),
            True,
        ),
        "rate + gradients, N = 64, one item": (
            lambda threads: hf.sum_rate_gradient(*item, threads=threads),
            False,
        ),
        "solve joint, radiated, one item": (
            lambda threads: hf.solve(channel[0], phase, 1.0, 0.1, threads=threads),
            False,
        ),
    }
    lines = []
    for name, (run, gains) in workloads.items():
        tasks = {OURS: lambda run=run: run(2), "one thread": lambda run=run: run(1)}
        row = Row(name, bm.measure(tasks, 2 * seconds))
        ratio = row.ratio("one thread")
        lines.append(
            Line(
                f"two threads: {name}",
                time_of(row.seconds()),
                others_of(row),
                ratio_of(row, "one thread"),
                f"≥ {TWO_THREADS} ×" if gains else "never slower",
                ratio >= TWO_THREADS if gains else ratio >= 1 / NOISE,
            )
        )
    return lines


def versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for package in ("numpy", "numba", "torch", "jax"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"{package} not installed")
    return ", ".join(found)


def blas_name() -> str:
    """The BLAS that NumPy loaded, and the cores that its kernels are written for."""
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            return f"{library['internal_api']} {library['version']}, {library.get('architecture')}"
    return "its BLAS"


def preamble(dgemm: float, sgemm: float, peak: tuple[float, float] | None, cores: int) -> str:
    level = ""
    if hf.get_backend() == "native":
        import hmimo_fast.kernels.native as native

        level = f", {native.level()} instructions"
    fused = "not measured" if peak is None else f"{peak[0]:.0f} double, {peak[1]:.0f} single"
    return f"""\
# Results of the benchmarks

Written by `python bench/table.py` on {date.today():%-d %B %Y}; the section "Solvers" is pasted.

- Machine: {bm.processor()}, {cores} cores, {platform.system()} {platform.machine()}
- hmimo_fast {hf.__version__}, backend {hf.get_backend()}{level}; {versions()}
- One core, GFLOP/s: fused multiply-adds {fused}; DGEMM {dgemm:.1f}, SGEMM {sgemm:.1f} \
(NumPy with {blas_name()}; 768 × 768, the same run)

How it is measured: one core and one thread for everything, except where two threads are named.
Before the clock starts, results must agree: to 1e-9 of the largest magnitude in double, 1e-3 in
single, and mean rates to 1e-2 over 32 draws for a whole solve. All libraries then take turns of
5 ms or one call, whichever is longer; a time is the shortest over all rounds, a ratio that of the
shortest times, and in parentheses the median over the rounds. Included: the Python call, checks,
allocation of results. Excluded: imports, compilation by JAX and Numba, making the data, and its
conversion to a library's arrays. Times are of one item unless said otherwise. Peers, where
installed: NumPy batched, over the whole batch and in pieces that fit in the cache; PyTorch
autograd, eager; JAX jit(vmap(value_and_grad)); plain loops compiled by Numba with fastmath;
for zero forcing NumPy's `inv` of the Gram matrix and `pinv`, `torch.linalg.solve` of the Gram
matrix, and the algebra of Sionna's RZF (Cholesky factor and solve) in PyTorch; for `wmmse` NumPy
in K × K matrices over the batch; for `solve` the same algorithm interpreted by NumPy.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="a row (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="(%(default)s)")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="(%(default)s)")
    chosen = parser.parse_args()
    seconds = chosen.seconds

    for path in (chosen.output, chosen.figure):
        try_out(path)
    cores = os.sched_getaffinity(0)
    peers.one_core()
    dgemm, sgemm, peak = ceilings.blas(np.float64), ceilings.blas(np.float32), ceilings.fused()
    lines = gradient_lines(seconds, dgemm)
    lines.append(absolute(bm.zero_forcing_row(seconds, peers.ZERO_FORCING), 4e-3, 4096))
    lines.append(absolute(bm.wmmse_row(seconds), 5e-5))
    lines += joint_lines(seconds)
    growth_table, growth_lines = growth(seconds, dgemm)
    lines += growth_lines
    lines.append(large_batch())
    batches, single = sweep(seconds)
    if len(cores) > 1:
        os.sched_setaffinity(0, cores)
        lines += thread_lines(seconds)

    asked = markdown(
        ("workload", "hmimo_fast", "others", "ratio", "asked", "met"),
        [(*line[:-1], "yes" if line.met else "NO") for line in lines],
    )
    text = "\n".join(
        [
            preamble(dgemm, sgemm, peak, len(cores)),
            f"## What was asked\n\n{asked}\n",
            f"## Against N\n\n{sweep_table(batches, single)}\n",
            "## Growth\n\nDouble precision; flops by the count 16 N K L + 6 N K + 24 K² L.\n\n"
            f"{growth_table}\n",
        ]
    )
    print(text)
    old = chosen.output.read_text() if chosen.output.exists() else f"{KEPT}\n"
    write(chosen.output, f"{text}\n{old[old.index(KEPT) :]}".encode())

    from figure import draw

    below = f"{bm.processor()}; {versions()}; NumPy: the better of whole batch and pieces"
    draw(chosen.figure, list(SWEEP), batches, single, below)


if __name__ == "__main__":
    main()
