"""How much faster than an older commit, workload by workload, in one run.

    git worktree add ../old 0c34ff5 && (cd ../old && python setup.py build_ext --inplace)
    python bench/before.py ../old [words of the workloads wanted]

Both versions run in processes of their own, one thread each, and take turns; of each the least
processor time counts, since other processes may run beside.  Loops have the settings that the old
commit has by default.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

TURNS = 7


def workloads() -> dict[str, Callable[[], Any]]:
    """What is timed; the calls that fit both versions."""
    import hmimo_fast as hf

    surface = hf.Surface(shape=(8, 8), feeds=6)
    sparse = hf.channels.sparse_mmwave(surface, users=6, size=512, seed=0)
    alike = hf.channels.rician(surface, users=6, size=512, seed=0)
    rng = np.random.default_rng(0)
    found: dict[str, Callable[[], Any]] = {}

    def gaussian(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, 2)).view(complex)[..., 0]

    def gradient(elements: int, batch: tuple[int, ...], kind: type, size: int = 6) -> Any:
        phase = np.exp(1j * rng.uniform(0, 6, (elements, size))).astype(kind)
        channel = gaussian(*batch, size, elements).astype(kind)
        amplitudes = rng.uniform(size=(*batch, elements)).astype(channel.real.dtype)
        digital = (0.1 * gaussian(*batch, size, size)).astype(kind)
        return lambda: hf.sum_rate_gradient(channel, amplitudes, phase, digital, 0.1)

    for elements in (36, 64, 256):
        found[f"gradients, N = {elements}, 2048 items, double"] = gradient(
            elements, (2048,), np.complex128
        )
    found["gradients, N = 64, 96 items, double"] = gradient(64, (96,), np.complex128)
    found["gradients, N = 64, 2048 items, single"] = gradient(64, (2048,), np.complex64)
    found["gradients, N = 1024, K = L = 8, 64 items"] = gradient(1024, (64,), np.complex128, 8)
    found["gradients, N = 1024, K = L = 8, one item"] = gradient(1024, (), np.complex128, 8)
    found["gradients, N = 64, one item"] = gradient(64, (), np.complex128)

    for constraint, stages in (("digital", (6, 30)), ("radiated", (5, 35))):
        same = {"zf_iterations": stages[0], "iterations": stages[1], "candidates": 2}
        for kind in (np.complex128, np.complex64):
            for label, options in (("same settings", same), ("default", {})):

                def solve(
                    kind: Any = kind, options: Any = options, constraint: str = constraint
                ) -> Any:
                    return hf.solve(
                        sparse.astype(kind), surface.phase, constraint=constraint, **options
                    ).sum_rate.mean()

                found[f"joint, {constraint}, {label}, {np.dtype(kind).name}"] = solve
        found[f"joint, {constraint}, default, one item"] = lambda constraint=constraint: (
            hf.solve(sparse[0], surface.phase, constraint=constraint).sum_rate
        )
        for snr in (-20, -10, 10, 30):
            for users, channel in (("sparse", sparse), ("rician", alike)):
                found[f"joint, {constraint}, default, {users}, {snr} dB"] = (
                    lambda channel=channel, snr=snr, constraint=constraint: hf.solve(
                        channel[:256], surface.phase, 1.0, 10 ** (-snr / 10), constraint=constraint
                    ).sum_rate.mean()
                )
        for method in ("wmmse_hbf", "zf_hbf"):
            found[f"{method}, 300 sweeps, {constraint}"] = (
                lambda method=method, constraint=constraint: hf.solve(
                    sparse[:128], surface.phase, method=method, constraint=constraint, tolerance=0.0
                ).sum_rate.mean()
            )
        found[f"alternating, {constraint}"] = lambda constraint=constraint: hf.solve(
            sparse[:64], surface.phase, method="alternating", constraint=constraint
        ).sum_rate.mean()
    several = gaussian(48, 6, 64)
    found["joint, F = 48, same settings"] = lambda: hf.solve(
        several, surface.phase, shared=True, constraint="digital",
        zf_iterations=6, iterations=30, candidates=2,
    ).sum_rate  # fmt: skip
    wide, narrow = gaussian(4096, 6, 64).astype(np.complex64), gaussian(256, 6, 6)
    found["zero_forcing, 4096 x 6 x 64, single"] = lambda: hf.zero_forcing(wide, 1.0)
    found["wmmse, 100 sweeps, double"] = lambda: hf.wmmse(narrow, 1.0, 0.1)
    single = narrow.astype(np.complex64)
    found["wmmse, 100 sweeps, single"] = lambda: hf.wmmse(single, 1.0, 0.1)

    return found


def serve() -> None:
    """Times what it is asked for, a line each."""
    todo = workloads()
    print(json.dumps(list(todo)), flush=True)
    for line in sys.stdin:
        call = todo[json.loads(line)]
        value = call()
        best, begun = float("inf"), time.perf_counter()
        call()
        now = time.perf_counter()
        calls, end = int(0.002 / (now - begun)) + 1, now + 0.15  # processor time may go in steps
        while best == float("inf") or time.perf_counter() < end:
            start = time.process_time()
            for _ in range(calls):
                call()
            best = min(best, (time.process_time() - start) / calls)
        rate = None if isinstance(value, (tuple, np.ndarray)) else float(value)
        print(json.dumps((best, rate)), flush=True)


def worker(root: Path) -> subprocess.Popen[str]:
    """A process that imports the package from a checkout."""
    return subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--serve"],
        env={**os.environ, "PYTHONPATH": str(root), "HMIMO_NUM_THREADS": "1"},
        cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def asked(process: subprocess.Popen[str], name: str) -> tuple[float, float | None]:
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(name) + "\n")
    process.stdin.flush()
    seconds, rate = json.loads(process.stdout.readline())
    return seconds, rate


def main() -> None:
    """Print the table."""
    new, old = worker(Path(__file__).resolve().parents[1]), worker(Path(sys.argv[1]).resolve())
    assert new.stdout
    assert old.stdout
    names, _ = json.loads(new.stdout.readline()), old.stdout.readline()
    print("| workload | before, ms | now, ms | times as fast | rate before | rate now |")
    print("|---|---|---|---|---|---|")
    words = sys.argv[2:]
    for name in (n for n in names if not words or any(word in n for word in words)):
        times = [(asked(new, name), asked(old, name)) for _ in range(TURNS)]
        now, before = min(t[0] for t, _ in times), min(t[0] for _, t in times)
        rates = [f"{t[1]:.3f}" if t[1] is not None else "" for t in reversed(times[0])]
        print(f"| {name} | {before * 1e3:.3f} | {now * 1e3:.3f} | {before / now:.2f} | "
              f"{rates[0]} | {rates[1]} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else main()
