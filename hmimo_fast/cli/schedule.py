"""The command ``hmimo-fast``."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import benchmark, channels, results
from .channels import Scene
from .kernels import get_backend
from .kernels.threads import default_threads
from .results import Comparison, Run
from .scheduling import schedule
from .solvers import solve
from .surface import SPEED_OF_LIGHT, Surface

#: Methods that can schedule, and how the table calls them.
METHODS = {
    "random": "random + {search}",
    "alternating": "alternating + {search} (as published)",
    "zf": "zf + {search}",
    "joint": "joint + {search}",
}
SEARCHES = ("greedy", "exhaustive", "local")
#: Packages that some part of hmimo_fast uses, in the order of `info`.
PACKAGES = (
    *("numpy", "scipy", "numba", "Cython", "torch", "safetensors"),
    *("matplotlib", "rich", "h5py", "joblib", "submitit"),
)
MUNICH_SPACING = 2.5e-3  # m
#: Seconds up to which a measurement is repeated, which tells it from the noise.
_PATIENCE = 0.25
INSTALL = "pip install 'hmimo_fast[cli]'"

Begin = Callable[[str], Callable[[int, int], None]]

_DESCRIPTION = """\
Beamforming and user scheduling for holographic MIMO surfaces: which users a
surface serves, how strongly each of its elements radiates, and which digital
beams feed it.
"""

_SCHEDULE = """\
Choose who is served, the element amplitudes and the digital beams, for the
channels of many users; by the published methods and by ours, under the same
conditions.

Three methods schedule the same users:
  random       random amplitudes, zero forcing (the benchmark of paper B)
  alternating  gradient steps on the amplitudes and zero forcing in turn,
               as published (paper B, Algorithm 1)
  joint        amplitudes with the optimal beams following (ours)
A fourth, zf, is the zero-forcing stage of joint alone. Paper B is
arXiv 2502.17408.

As a yardstick, the users that joint (the last method) serves are also given a
fully digital array: as many RF chains as elements, at the same power.
"""

_SCHEDULE_MORE = """\
what is written:
  One result file, .npz or .h5, which numpy.load (no pickle in it) or h5py
  opens, and one figure. Both appear complete or not at all. With M methods, K
  users, N elements, L feeds, the file holds
    methods (M,)  users (K,): rows in SCENE  served (M, K)
    amplitudes (M, N)  digital (M, L, K): zero for the unserved
    rates (M, K), sum_rate (M,): bit/s/Hz  feasible (M,)
    schedule_seconds (M,)  solve_seconds (M,)  fully_digital_rates (K,)
    channel (K, N)  phase (N, L)  element_positions (N, 3)  feed_positions (L, 3)
  the positions of users and surface where SCENE has them, and each setting.
  Digital beams are in the square root of a watt.

your own channels:
  A file .npz, .npy, .mat or .h5 with one complex array (users, elements), or
  DeepMIMO's four dimensions with one subcarrier; y = H x, element
  n = ix * Ny + iy of a grid Nx x Ny. user_positions (K, 3), surface_position
  (3,), surface_rotation (3, 3), line_of_sight (K,) and frequency (Hz) are used
  where the file has them. Without positions the beam pattern is drawn over
  direction cosines.

exit status:
  0 done; 2 a bad argument or file; 130 interrupted

examples:
  hmimo-fast schedule munich
  hmimo-fast schedule munich --shape 32x32 --feeds 8 --seed 3
  hmimo-fast schedule munich --methods alternating,joint --output night.h5
  hmimo-fast schedule channels.mat --key H --frequency 28 --power 33 --min-rate 2
"""


_BENCH = """\
Time the kernels and the solver on one core of this machine, beside the same
work in NumPy, and in PyTorch and JAX where they are installed.
"""

_BENCH_MORE = """\
what is measured:
  The time of one item, in microseconds: the shortest found. All take turns, so
  that what else the machine does meets all of them, and results are compared
  before the clock runs. Data, imports and compilation are not timed; results
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the name of the program; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 2 a bad argument or file, 130 interrupted.

    Examples
    --------
    >>> main(["schedule", "munich", "--users", "0"])
    2
    """
    try:
        options = _parser().parse_args(arguments)
        options.run(options)
        sys.stdout.flush()
    except (ValueError, TypeError, ImportError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the table has gone; nor may the flush at exit meet the closed pipe.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"hmimo-fast: error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hmimo-fast: interrupted", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """Keeps the line breaks of the help, and says what is wrong in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hmimo-fast", description=_DESCRIPTION)
    parser.add_argument(
        "--version", action="version", version=f"hmimo-fast {_version('hmimo_fast')}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    said = "what is installed here, and what computes"
    info = commands.add_parser("info", help=said, description=f"Say {said}.")
    info.set_defaults(run=_info)

    command = commands.add_parser(
        "schedule",
        help="choose users, amplitudes and beams; compare with the published methods",
        description=_SCHEDULE,
        epilog=_SCHEDULE_MORE,
    )
    command.set_defaults(run=_schedule)
    _add_schedule_options(command)

    command = commands.add_parser(
        "bench",
        help="time the kernels beside NumPy, PyTorch and JAX",
        description=_BENCH,
        epilog=_BENCH_MORE,
    )
    command.add_argument("--seconds", type=_nonnegative, default=2.0, metavar="S",
        help="to spend on a row of the table, s; five rounds at least (default: 2)")  # fmt: skip
    command.set_defaults(run=_bench)
    return parser


def _add_schedule_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "scene",
        metavar="SCENE",
        help='"munich", 88 ray-traced users at 30 GHz, or a file of channels (see below)',
    )
    group = command.add_argument_group("channels and surface")
    add = group.add_argument
    add("--users", type=_count, metavar="K", help="users to draw (default: 24, or all there are)")
    add("--seed", type=_natural, default=0, metavar="INT",
        help="of the drawn users and of random starts (default: 0)")  # fmt: skip
    add("--shape", type=_shape, metavar="NXxNY",
        help="elements along x and y; munich has 8x8 and 32x32 "
             "(default: 8x8; for a file the square with its number of elements)")  # fmt: skip
    add("--feeds", type=_feeds, default=6, metavar="L",
        help="feeds, one RF chain each, spread over the surface; edge:L beside it "
             "(default: 6)")  # fmt: skip
    add("--frequency", type=_positive, metavar="GHZ",
        help="carrier frequency, GHz, where the file has none (default: 30)")  # fmt: skip
    add("--spacing", type=_positive, metavar="MM",
        help="distance between elements, mm (default: a quarter of the wavelength; "
             "munich: 2.5, fixed)")  # fmt: skip
    add("--key", metavar="NAME",
        help="name of the channel's array in the file (default: the only complex one)")  # fmt: skip

    add = command.add_argument_group("power and rates").add_argument
    add("--power", type=_decibels, default=30.0, metavar="DBM",
        help="transmit power, dBm (default: 30)")  # fmt: skip
    add("--noise", type=_decibels, default=-87.0, metavar="DBM",
        help="noise power at each user, dBm; -87 is 100 MHz at a noise figure of 7 dB "
             "(default: -87)")  # fmt: skip
    add("--constraint", choices=("radiated", "digital"), default="radiated",
        help="the power is what the surface radiates, or what the digital beams hold, as in "
             "paper B: the surface may then radiate far more (default: radiated)")  # fmt: skip
    add("--min-rate", type=_nonnegative, default=1.0, metavar="RATE",
        help="that each served user must have, bit/s/Hz (default: 1)")  # fmt: skip

    add = command.add_argument_group("methods").add_argument
    add("--methods", type=_methods, default=("random", "alternating", "joint"), metavar="LIST",
        help="of random, alternating, zf, joint, with commas; the last one is drawn "
             "(default: random,alternating,joint)")  # fmt: skip
    add("--search", choices=SEARCHES, default="greedy",
        help="how the users to serve are sought; exhaustive takes few users "
             "(default: greedy)")  # fmt: skip
    add("--accept", choices=("qos", "rate"), default="qos",
        help="keep a user when all served have the minimum rate, or only when the sum rate "
             "rises too (default: qos, as published)")  # fmt: skip
    add("--threads", type=_count, metavar="T",
        help="most threads to use (default: HMIMO_NUM_THREADS, else all CPUs)")  # fmt: skip

    add = command.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="FILE",
        help="result, .npz or .h5 (default: schedule_SCENE.npz here)")  # fmt: skip
    add("--figure", type=Path, metavar="FILE",
        help="picture: .png, .pdf or .svg (default: the result's name with .png)")  # fmt: skip
    add("--no-figure", action="store_true", help="draw nothing")


def _info(options: argparse.Namespace) -> None:
    lines = {
        "hmimo_fast": _version("hmimo_fast"),
        "backend": _backend(),
        "threads": f"{default_threads()} of {os.cpu_count()} CPUs",
        "platform": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }
    for name, text in lines.items():
        print(f"{name:12}{text}")


def _backend() -> str:
    backend = get_backend()
    if backend == "native":
        import hmimo_fast.kernels.native as native

        backend += f" (C kernels, {native.level()} instructions)"
    elif find_spec("hmimo_fast.kernels.native") is None:
        backend += " (the C kernels were not built)"
    return backend


def _bench(options: argparse.Namespace) -> None:
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
    print(
        f"backend: {_backend()}\nprocessor: {benchmark.processor()}, one core\n"
        "time of one item, µs, the shortest found\n"
    )
    print(_table(("", *names, "best other"), ("workload", *["µs"] * len(names), "/ ours"),
                 *(_bench_row(name, row, names) for name, row in rows.items())))  # fmt: skip


def _bench_row(workload: str, seconds: dict[str, float], names: list[str]) -> tuple[str, ...]:
    ours = seconds[benchmark.OURS]
    best = min(time for name, time in seconds.items() if name != benchmark.OURS)
    times = [_microseconds(seconds[name]) if name in seconds else "-" for name in names]
    return (workload, *times, f"{best / ours:.1f}")


def _microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.{2 if seconds < 1e-5 else 1 if seconds < 1e-4 else 0}f}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _schedule(options: argparse.Namespace) -> None:
    scene = _load(options)
    output, figure = _destinations(options, scene)
    surface = _surface(options, scene)
    users = _draw_users(options, scene)
    with _display() as begin:
        comparison = _compare(options, _only(scene, users), users, surface, begin)
    _print_comparison(comparison, len(scene.channel))
    results.save(output, comparison.arrays())
    print(f"result: {output}")
    if figure is not None:
        from .figures import draw

        draw(figure, comparison)
        print(f"figure: {figure}")


def _load(options: argparse.Namespace) -> Scene:
    scene = channels.load(options.scene, options.shape, options.key)
    if scene.channel.ndim != 2:
        raise ValueError(
            f"{options.scene}: expected one channel (users, elements), "
            f"got {scene.channel.shape}; save the one you want by itself"
        )
    if not np.isfinite(scene.channel).all():
        raise ValueError(f"{options.scene}: expected finite channels, got NaN or infinity")
    # Single precision saves no time here that a person would notice.
    return replace(scene, channel=scene.channel.astype(np.complex128))


def _destinations(options: argparse.Namespace, scene: Scene) -> tuple[Path, Path | None]:
    """The result and the figure, checked before anything is computed."""
    output: Path = options.output or Path(f"schedule_{scene.name}.npz")
    if output.suffix not in results.SUFFIXES:
        raise ValueError(
            f"--output: expected a name ending in {', '.join(results.SUFFIXES)}, got {output}"
        )
    if output.suffix != ".npz" and find_spec("h5py") is None:
        raise ImportError("--output: HDF5 needs h5py: pip install 'hmimo_fast[io]'")
    figure: Path | None = None
    if not options.no_figure:
        figure = options.figure or output.with_suffix(".png")
        if figure.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"--figure: expected a name ending in .png, .pdf, .svg, got {figure}")
    if figure is not None and find_spec("matplotlib") is None:
        if options.figure is not None:
            raise ImportError(f"--figure: drawing needs matplotlib: {INSTALL}")
        print(f"hmimo-fast: no figure without matplotlib: {INSTALL}", file=sys.stderr)
        figure = None
    for option, path in (("--output", output), ("--figure", figure)):
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.absolute().parent}")
        if path.is_dir():
            raise ValueError(f"{option}: expected a file, got a folder: {path}")
        if path.exists() and Path(options.scene).exists() and path.samefile(options.scene):
            raise ValueError(f"{option}: would overwrite the channels in {path}")
    return output, figure


def _surface(options: argparse.Namespace, scene: Scene) -> Surface:
    elements = scene.channel.shape[1]
    shape = options.shape or (math.isqrt(elements), math.isqrt(elements))
    if math.prod(shape) != elements:
        raise ValueError(f"--shape: {options.scene} has {elements} elements, which form no square")
    if scene.frequency is not None and options.frequency is not None:
        raise ValueError(f"--frequency: {options.scene} has its own, {scene.frequency / 1e9:g} GHz")
    frequency = scene.frequency or (options.frequency or 30.0) * 1e9
    spacing = SPEED_OF_LIGHT / frequency / 4
    if options.scene == "munich":
        spacing = MUNICH_SPACING
        if options.spacing is not None and not math.isclose(options.spacing * 1e-3, spacing):
            raise ValueError(f"--spacing: munich was traced at 2.5 mm, got {options.spacing:g}")
    elif options.spacing is not None:
        spacing = options.spacing * 1e-3
    return Surface(shape, spacing, frequency, options.feeds)


def _draw_users(options: argparse.Namespace, scene: Scene) -> np.ndarray:
    there = len(scene.channel)
    users = min(24, there) if options.users is None else options.users
    if users > there:
        raise ValueError(f"--users: {options.scene} has {there}, got {users}")
    return np.sort(np.random.default_rng(options.seed).choice(there, users, replace=False))


def _only(scene: Scene, users: np.ndarray) -> Scene:
    """The scene with these users alone."""
    per_user = ("channel", "user_positions", "line_of_sight")
    fields = {name: getattr(scene, name) for name in per_user}
    return replace(
        scene, **{name: field[users] for name, field in fields.items() if field is not None}
    )


def _compare(
    options: argparse.Namespace, scene: Scene, users: np.ndarray, surface: Surface, begin: Begin
) -> Comparison:
    common: dict[str, Any] = {
        "power": 1e-3 * 10 ** (options.power / 10),
        "noise_power": 1e-3 * 10 ** (options.noise / 10),
        "min_rate": options.min_rate,
        "constraint": options.constraint,
        "seed": options.seed,
        "threads": options.threads,
    }
    searching = {"search": options.search, "accept": options.accept}
    runs = []
    for method in options.methods:
        label = METHODS[method].format(search=options.search)
        progress = begin(label)
        run = partial(schedule, phase=surface.phase, method=method, **searching, **common)
        # On Numba the first call compiles; nobody reaches this rate, so that all is tried.
        run(channel=scene.channel[:2], min_rate=1e3)
        started = time.perf_counter()
        found = run(channel=scene.channel, progress=progress)
        seconds = time.perf_counter() - started
        if seconds < _PATIENCE:
            seconds = min(seconds, _seconds(partial(run, channel=scene.channel)))
        progress(len(users), len(users))
        _, solve_seconds = _solve_served(scene, surface, found.served, method, common)
        runs.append(Run(method, label, found, seconds, solve_seconds))
    yardstick, yardstick_seconds = _solve_served(
        scene, surface, runs[-1].schedule.served, "fully_digital", common
    )
    settings = {
        "scene": scene.name,
        "frequency_hz": surface.frequency,
        "shape": list(surface.shape),
        "spacing_m": surface.spacing,
        "feeds": str(options.feeds),
        "power_dbm": options.power,
        "noise_dbm": options.noise,
        "constraint": options.constraint,
        "min_rate": options.min_rate,
        "search": options.search,
        "accept": options.accept,
        "seed": options.seed,
        "backend": get_backend(),
        "version": _version("hmimo_fast"),
    }
    return Comparison(scene, users, surface, settings, runs, yardstick, yardstick_seconds)


def _solve_served(
    scene: Scene, surface: Surface, served: np.ndarray, method: str, common: dict[str, Any]
) -> tuple[np.ndarray, float]:
    """Rates of all users when these are solved for by themselves, and the time of it."""
    rates = np.zeros(len(served))
    if not served.any():
        return rates, math.nan
    task = partial(solve, scene.channel[served], surface.phase, method=method, **common)
    rates[served] = task().rates
    return rates, _seconds(task)


def _seconds(task: Callable[[], object]) -> float:
    """Shortest of up to ten runs, of fewer when they outlast our patience."""
    shortest, deadline = math.inf, time.perf_counter() + _PATIENCE
    for _ in range(10):
        started = time.perf_counter()
        task()
        ended = time.perf_counter()
        shortest = min(shortest, ended - started)
        if ended > deadline:
            break
    return shortest


@contextmanager
def _display() -> Iterator[Begin]:
    """Bars on a terminal, a line a task elsewhere; on stderr, so that a table can be piped."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _begin_line
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
    except ImportError:
        print(f"hmimo-fast: no progress bars without rich: {INSTALL}", file=sys.stderr)
        yield _begin_line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def begin(label: str) -> Callable[[int, int], None]:
            task = bars.add_task(label, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield begin


def _begin_line(label: str) -> Callable[[int, int], None]:
    print(f"{label} ...", file=sys.stderr, flush=True)
    return lambda done, total: None


def _print_comparison(comparison: Comparison, there: int) -> None:
    settings, surface = comparison.settings, comparison.surface
    print(
        f"{settings['scene']}: {len(comparison.users)} of {there} users (seed {settings['seed']})\n"
        f"surface: {surface.shape[0]} x {surface.shape[1]} elements at "
        f"{surface.spacing * 1e3:.4g} mm, {surface.feed_count} feeds, "
        f"{surface.frequency / 1e9:g} GHz\n"
        f"power: {settings['power_dbm']:g} dBm ({settings['constraint']}), "
        f"noise {settings['noise_dbm']:g} dBm, "
        f"minimum rate {settings['min_rate']:g} bit/s/Hz\n"
    )
    rows = [
        _row(comparison, run.label, run.schedule.rates, run.schedule.served, run.seconds,
             run.solve_seconds)
        for run in comparison.runs
    ]  # fmt: skip
    choice = comparison.choice
    rows.append(
        _row(comparison, f"fully digital, users of {choice.method}",
             comparison.fully_digital_rates, choice.schedule.served, math.nan,
             comparison.fully_digital_seconds)
    )  # fmt: skip
    print(_table(("", "sum rate", "users", "minimum", "lowest", "time,", "time,"),
                 ("method", "bit/s/Hz", "served", "met", "bit/s/Hz", "schedule", "one solve"),
                 *rows))  # fmt: skip
    if settings["constraint"] == "digital":
        print(
            "\nThe surface may radiate more than the power of the digital beams; "
            "the fully digital array radiates that power."
        )
    print()
    for run in comparison.runs[:-1]:
        if run.schedule.sum_rate > 0:
            gain = choice.schedule.sum_rate / run.schedule.sum_rate
            print(
                f"{choice.label}: {gain:.2f} times the sum rate of {run.label}, "
                f"{run.seconds / choice.seconds:.2g} times as fast"
            )


def _row(
    comparison: Comparison,
    label: str,
    rates: np.ndarray,
    served: np.ndarray,
    seconds: float,
    solve_seconds: float,
) -> tuple[str, ...]:
    lowest = rates[served].min() if served.any() else math.nan
    return (
        label,
        f"{rates.sum():.2f}",
        str(served.sum()),
        "-" if math.isnan(lowest) else
        "yes" if lowest >= comparison.settings["min_rate"] - 1e-9 else "no",
        "-" if math.isnan(lowest) else f"{lowest:.2f}",
        _duration(seconds),
        _duration(solve_seconds),
    )  # fmt: skip


def _duration(seconds: float) -> str:
    if math.isnan(seconds):
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def _table(*rows: Sequence[str]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    lines.insert(2, "-" * max(map(len, lines)))
    return "\n".join(lines)


def _number(text: str, low: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def _nonnegative(text: str) -> float:
    return _number(text, 0.0, "a number >= 0")


def _positive(text: str) -> float:
    return _number(text, math.nextafter(0.0, 1.0), "a number > 0")


def _decibels(text: str) -> float:
    value = _number(text, -300.0, "dBm between -300 and 300")
    if value > 300.0:
        raise argparse.ArgumentTypeError(f"expected dBm between -300 and 300, got {text!r}")
    return value


def _natural(text: str, low: int = 0) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < low:
        raise argparse.ArgumentTypeError(f"expected an integer of at least {low}, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    return _natural(text, 1)


def _shape(text: str) -> tuple[int, int]:
    nx, _, ny = text.lower().partition("x")
    try:
        return _count(nx), _count(ny)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected elements along x and y, such as 8x8, got {text!r}"
        ) from None


def _feeds(text: str) -> int | str:
    return text if text.startswith("edge:") else _count(text)


def _methods(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(METHODS) or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"expected different ones of {','.join(METHODS)}, got {text!r}"
        )
    return names
