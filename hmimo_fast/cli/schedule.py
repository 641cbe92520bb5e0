"""``hmimo-fast schedule``: who is served, by the published methods and by ours."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

import numpy as np

from ..channels import Scene
from ..files import write_arrays
from ..objective import OBJECTIVES
from ..scheduling import schedule
from ..scheduling.searches import SEARCHES
from ..solvers import METHODS, solve
from ..streams import say
from ..surface import Surface
from . import conditions
from .arguments import Commands, names
from .comparison import CHOICES, YARDSTICK, Comparison, Run
from .display import Begin, display, duration, gains, table
from .output import add_output, destinations, say_written
from .timing import timed

_DESCRIPTION = """\
Choose who is served, the element amplitudes and the digital beams, for the
channels of many users; by the published methods and by ours, under the same
conditions.

Three methods schedule the same users:
  random       random amplitudes, zero forcing (the benchmark of paper B)
  alternating  gradient steps on the amplitudes and zero forcing in turn,
               as published (paper B, Algorithm 1)
  joint        amplitudes with the optimal beams following (ours)
The others are those of `hmimo-fast solve --help`. Paper B is arXiv 2502.17408.

As a reference, the users that joint (the last method) serves are also solved for
a fully digital array: as many RF chains as elements, at the same power.
"""

_EPILOG = """\
what is written:
  One result file, .npz or .h5, which numpy.load (no pickle in it) or h5py
  opens, and one figure. Both are written completely or not at all. With M methods, K
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
  DeepMIMO's four dimensions with one subcarrier, or any with --axes; y = H x,
  element n = ix * Ny + iy of a grid Nx x Ny; `hmimo-fast inspect FILE` shows how
  a file is read. user_positions (K, 3), surface_position
  (3,), surface_rotation (3, 3), line_of_sight (K,) and frequency (Hz) are used
  where the file has them. Without positions the beam pattern is drawn over
  direction cosines.

exit status:
  0 done; 2 a bad argument or file; 130 interrupted; 143 terminated

examples:
  hmimo-fast schedule munich
  hmimo-fast schedule munich --shape 32x32 --feeds 8 --seed 3
  hmimo-fast schedule munich --methods alternating,joint --output night.h5
  hmimo-fast schedule channels.mat --key H --frequency 28 --power 33 --min-rate 2
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "schedule",
        help="choose users, amplitudes and beams; compare with the published methods",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    conditions.add_scene(command, users="24, or all there are")
    conditions.add_power(command, min_rate=1.0, whose="each served user")
    group = command.add_argument_group("methods")
    group.add_argument("--methods", type=names(CHOICES), metavar="LIST",
        default=("random", "alternating", "joint"),
        help=f"of {', '.join(CHOICES)}, with commas; the last one is drawn "
             "(default: random,alternating,joint)")  # fmt: skip
    group.add_argument("--search", choices=tuple(SEARCHES), default="greedy",
        help="how the users to serve are searched; exhaustive is for few users "
             "(default: greedy)")  # fmt: skip
    group.add_argument("--accept", choices=("qos", "rate"), default="qos",
        help="keep a user when all served have the minimum rate, or only when the sum rate "
             "rises too (default: qos, as published)")  # fmt: skip
    conditions.add_elements(group)
    conditions.add_objective(group, tuple(name for name in OBJECTIVES if name != "min_power"))
    conditions.add_feed_power(group)
    conditions.add_threads(group)
    add_output(command, "schedule")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Schedule, write the files and print the table."""
    scene = conditions.load(options)
    if scene.channel.ndim != 2:
        raise ValueError(
            f"{options.scene}: expected one channel (users, elements), "
            f"got {scene.channel.shape}; save the one you want by itself"
        )
    output, figure = destinations(options, scene, "schedule")
    surface = conditions.surface_of(options, scene)
    users = conditions.draw_users(options, scene, 24)
    with display() as begin:
        comparison = _compare(options, conditions.only(scene, users), users, surface, begin)
    write_arrays(output, comparison.arrays())
    if figure is not None:
        from .figure import draw

        draw(figure, comparison)
    _print_comparison(comparison, len(scene.channel))
    say_written(output, figure)


def _compare(
    options: argparse.Namespace, scene: Scene, users: np.ndarray, surface: Surface, begin: Begin
) -> Comparison:
    common = conditions.limits(options)
    searching = {"search": options.search, "accept": options.accept}
    elements = {"elements": options.elements, "objective": options.objective}
    elements |= conditions.feed_power(options)
    runs = []
    for method in options.methods:
        label = (
            f"{method} + {options.search}" + " (as published)" * METHODS[method].published_schedule
        )
        progress = begin(label)
        task = partial(
            schedule, phase=surface.phase, method=method, **searching, **common, **elements
        )
        # On Numba the first call compiles; nobody reaches this rate, so that every branch runs.
        task(channel=scene.channel[:2], min_rate=1e3)
        found, seconds = timed(partial(task, channel=scene.channel, progress=progress))
        progress(len(users), len(users))
        _, solve_seconds = _solve_served(scene, surface, found.served, method, common | elements)
        runs.append(Run(method, label, found, seconds, solve_seconds))
    yardstick, yardstick_seconds = _solve_served(
        scene, surface, runs[-1].schedule.served, YARDSTICK, common
    )
    settings = conditions.settings(options, scene, surface) | searching
    return Comparison(scene, users, surface, settings, runs, yardstick, yardstick_seconds)


def _solve_served(
    scene: Scene, surface: Surface, served: np.ndarray, method: str, common: dict[str, Any]
) -> tuple[np.ndarray, float]:
    """Rates of all users when these are solved for by themselves, and the time of it."""
    rates = np.zeros(len(served))
    if not served.any():
        return rates, math.nan
    task = partial(solve, scene.channel[served], surface.phase, method=method, **common)
    task()  # compiles, on Numba
    solution, seconds = timed(task)
    rates[served] = solution.rates
    return rates, seconds


def _print_comparison(comparison: Comparison, there: int) -> None:
    settings = comparison.settings
    users = f"{len(comparison.users)} of {there} users"
    say(conditions.heading(settings, comparison.scene, users, comparison.surface))
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
    say(table(("", "sum rate", "users", "minimum", "lowest", "time,", "time,"),
              ("method", "bit/s/Hz", "served", "met", "bit/s/Hz", "schedule", "one solve"),
              *rows))  # fmt: skip
    if settings["constraint"] == "digital":
        say(conditions.DIGITAL_NOTE)
    say(gains([(run.label, float(run.schedule.sum_rate), run.seconds) for run in comparison.runs]))


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
        duration(seconds),
        duration(solve_seconds),
    )  # fmt: skip
