"""``hmimo-fast bench``: our times beside those of other libraries."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

from .. import benchmark
from ..streams import say
from .arguments import Commands, nonnegative
from .display import table
from .info import backend

_DESCRIPTION = """\
Time the kernels and the solver on one core of this machine, beside the same
work in NumPy, and in PyTorch and JAX where they are installed.
"""

_EPILOG = """\
what is measured:
  The time of one item, in microseconds: the shortest found. All take turns, so
  that other load affects all of them alike, and results are compared
  before the clock starts. Data, imports and compilation are not timed; results
  are allocated in the time.
  rate + gradients  sum rate with its derivatives in amplitudes and beams; in
                    NumPy over the whole batch, and in pieces that fit in the
                    cache; torch by autograd; JAX by jit(vmap(value_and_grad))
  zero_forcing      NumPy: inverse of the Gram matrix
  wmmse             NumPy: over the batch, in K x K matrices
  solve joint       NumPy: the same algorithm, interpreted; 10 dB
  The last column is the best of the other times over that of hmimo_fast.

exit status:
  0 done; 2 a bad argument; 130 interrupted

examples:
  hmimo-fast bench
  hmimo-fast bench --seconds 5
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "bench",
        help="time the kernels beside NumPy, PyTorch and JAX",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    command.add_argument("--seconds", type=nonnegative, default=2.0, metavar="S",
        help="to spend on a row of the table, s; five rounds at least (default: 2)")  # fmt: skip
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure, and print the table."""
    # First, so that nobody waits for a table that cannot be printed.
    say(
        f"backend: {backend()}\nprocessor: {benchmark.processor()}, one core\n"
        "time of one item, µs, the shortest found\n"
    )
    # A process of its own: libraries read how many threads to use when they are loaded.
    done = subprocess.run(
        [sys.executable, "-m", benchmark.__name__, str(options.seconds)],
        env=os.environ | benchmark.ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.returncode)
    rows: dict[str, dict[str, float]] = json.loads(done.stdout)
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    say(table(("", *names, "best other"), ("workload", *["µs"] * len(names), "/ ours"),
              *(_row(name, row, names) for name, row in rows.items())))  # fmt: skip


def _row(workload: str, seconds: dict[str, float], names: list[str]) -> tuple[str, ...]:
    ours = seconds[benchmark.OURS]
    best = min(time for name, time in seconds.items() if name != benchmark.OURS)
    times = [_microseconds(seconds[name]) if name in seconds else "-" for name in names]
    return (workload, *times, f"{best / ours:.1f}")


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.{2 if seconds < 1e-5 else 1 if seconds < 1e-4 else 0}f}"
