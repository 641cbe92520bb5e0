"""Overhead per chunk, and the speed-up of two workers.

Run by hand on an idle machine: ``python bench/scale.py``.
"""

from __future__ import annotations

import argparse
import os

os.environ["HMIMO_NUM_THREADS"] = "1"  # before the kernels read it: workers are what is compared

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hmimo_fast import studies
from hmimo_fast.files import Arrays
from hmimo_fast.studies.chunks import Chunk, compute

_B7 = studies.STUDIES["B-7"]
STUDY = replace(_B7, methods=_B7.methods[2:3], grids=({"elements": (36,), "snr_db": (10.0,)},))
ENGINES = ("serial", "processes:1", "processes:2")


def nothing(chunk: Chunk) -> Arrays:
    """Arrays like those of ``compute``, at once."""
    return {
        "sum_rate": np.zeros(chunk.size),
        "rates": np.zeros((chunk.size, 6)),
        "served": np.zeros((chunk.size, 6), bool),
    }


def seconds(engine: str, chunks: int, work: Callable[[Chunk], Arrays]) -> float:
    """Wall-clock time of a study of so many chunks, from an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        studies.run(STUDY, Path(folder), chunks * STUDY.chunk, 0, engine, compute=work)
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    best = {(engine, work): np.inf for engine in ENGINES for work in (nothing, compute)}
    for engine in ENGINES:
        seconds(engine, 4, nothing)  # starts the workers, which then stay
    for _ in range(options.rounds):
        for engine, work in best:
            best[engine, work] = min(best[engine, work], seconds(engine, options.chunks, work))
    alone = best["serial", compute]
    print(
        f"{options.chunks} chunks of {STUDY.chunk} realizations, {STUDY.methods[0].label}, N = 36"
    )
    for engine in ENGINES:
        workers = int(engine.partition(":")[2] or 1)
        empty, full = best[engine, nothing] / options.chunks, best[engine, compute]
        print(
            f"{engine:12} {1e3 * empty:6.2f} ms of overhead per chunk, {full:6.2f} s in "
            f"all, efficiency {alone / workers / full:.2f}"
        )


if __name__ == "__main__":
    main()
