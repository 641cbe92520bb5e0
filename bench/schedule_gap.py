"""How far greedy and local search are from the best user set, for both accept rules.

Sparse mmWave channels of 6 and of 8 users on an 8 x 8 surface with 6 feeds, transmit power 1,
SNR = power / noise power, minimum rate 1 bit/s/Hz.  `exhaustive` is over all 63 or 246 user sets;
it is the same under both rules, and the gap is to it, of means over the same draws and the worst.
A time is per channel on one thread, over the whole batch.

Then all 88 users of Munich on 32 x 32 elements with 8 feeds, 30 dBm against -87 dBm of noise:
the published greedy search around the published solver, and ours; the best time of three on all
threads.

    python bench/schedule_gap.py --draws 20 --seed 0
"""

from __future__ import annotations

import argparse
import time
from typing import NamedTuple

import numpy as np

import hmimo_fast as hf
from hmimo_fast.cli.display import table

USERS, FEEDS = (6, 8), 6
SEARCHES = [
    ("greedy", "qos"),
    ("greedy", "rate"),
    ("local", "qos"),
    ("local", "rate"),
    ("exhaustive", "qos"),
]
HEADER = (
    ("power", "SNR", "search", "accept", "rate", "gap", "worst", "users", "time"),
    ("", "dB", "", "", "bit/s/Hz", "%", "%", "served", "ms"),
)
MUNICH_HEADER = (
    ("power", "method", "search", "accept", "rate", "users", "time"),
    ("", "", "", "", "bit/s/Hz", "served", "ms"),
)
MUNICH = [
    ("alternating", "greedy", "qos"),
    ("joint", "greedy", "qos"),
    ("joint", "greedy", "rate"),
    ("joint", "local", "qos"),
]


class Result(NamedTuple):
    found: hf.Schedule
    milliseconds: float


def searched(channel: np.ndarray, phase: np.ndarray, snr: float, **options: str) -> Result:
    noise_power = 10.0 ** (-snr / 10.0)
    hf.schedule(channel[:1], phase, 1.0, noise_power, threads=1, **options)
    began = time.perf_counter()
    found = hf.schedule(channel, phase, 1.0, noise_power, threads=1, **options)
    return Result(found, (time.perf_counter() - began) / len(channel) * 1e3)


def rows(
    channel: np.ndarray, phase: np.ndarray, constraint: str, snr: float, method: str
) -> list[tuple[str, ...]]:
    results = {
        (search, accept): searched(
            channel, phase, snr, search=search, accept=accept, constraint=constraint, method=method
        )
        for search, accept in SEARCHES
    }
    best = results["exhaustive", "qos"].found.sum_rate
    found_rows = []
    for (search, accept), (found, milliseconds) in results.items():
        rate = found.sum_rate
        found_rows.append(
            (
                constraint,
                f"{snr:.0f}",
                search,
                "-" if search == "exhaustive" else accept,
                f"{rate.mean():.2f}",
                f"{abs(100.0 * (1.0 - rate.mean() / best.mean())):.1f}",
                f"{100.0 * (1.0 - rate / np.maximum(best, 1e-12)).max():.1f}",
                f"{found.served.sum(axis=-1).mean():.2f}",
                f"{milliseconds:.2f}",
            )
        )
    return found_rows


def munich(constraint: str) -> list[tuple[str, ...]]:
    scene = hf.channels.load("munich", shape=(32, 32))
    surface = hf.Surface(shape=(32, 32), spacing=2.5e-3, feeds=8)
    found_rows = []
    for method, search, accept in MUNICH:
        seconds = []
        for _ in range(3):
            began = time.perf_counter()
            found = hf.schedule(
                scene.channel,
                surface.phase,
                power=1.0,
                noise_power=10.0**-11.7,
                method=method,
                search=search,
                accept=accept,
                constraint=constraint,
            )
            seconds.append(time.perf_counter() - began)
        rate, users = f"{float(found.sum_rate):.2f}", f"{found.served.sum()}"
        milliseconds = f"{min(seconds) * 1e3:.0f}"
        found_rows.append((constraint, method, search, accept, rate, users, milliseconds))
    return found_rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=20, help="channels (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the channels (%(default)s)")
    parser.add_argument("--method", default="joint", help="solver inside (%(default)s)")
    arguments = parser.parse_args()

    surface = hf.Surface(shape=(8, 8), feeds=FEEDS)
    for users in USERS:
        channel = hf.channels.sparse_mmwave(
            surface, users=users, size=arguments.draws, seed=arguments.seed
        )
        found_rows = [
            row
            for constraint in ("digital", "radiated")
            for snr in (0.0, 10.0, 20.0)
            for row in rows(channel, surface.phase, constraint, snr, arguments.method)
        ]
        print(f"{arguments.method}, {users} users, mean of {arguments.draws} draws\n")
        print(table(*HEADER, *found_rows), end="\n\n")
    found_rows = [row for constraint in ("digital", "radiated") for row in munich(constraint)]
    print("Munich\n")
    print(table(*MUNICH_HEADER, *found_rows))


if __name__ == "__main__":
    main()
