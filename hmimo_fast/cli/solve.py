"""``hmimo-fast solve``: amplitudes and beams for given users, by any method."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..channels import Scene
from ..elements import even_states
from ..files import Arrays, write_arrays
from ..objective import OBJECTIVES
from ..scheduling import Schedule
from ..solvers import METHODS, Solution, solve
from ..streams import say
from ..surface import Surface
from . import conditions
from .arguments import Commands, integer, names
from .comparison import CHOICES, YARDSTICK, Comparison, Run, plain, problem_arrays
from .display import Begin, display, duration, gains, table
from .output import add_output, destinations, say_written
from .timing import timed

#: Fields of the solutions that are written, the methods stacked.
_STACKED = (
    *("amplitudes", "digital", "rates", "sum_rate"),
    *("feasible", "converged", "iterations"),
)

_DESCRIPTION = """\
Choose the element amplitudes and the digital beams for users who are all
served, on one channel or on each of a batch; `hmimo-fast schedule` chooses the
users as well.
"""

_EPILOG = """\
methods:
{methods}
  A fully digital array follows as a reference: as many RF chains as elements,
  at the same power. With more users than feeds, only joint and
  wmmse_hbf have a solution.

what is printed:
  The sum rate, the lowest rate of a user, whether all have the minimum, and the
  time per channel. Over a batch: means, the sum rate's with
  its standard error, and the share of channels where all have the minimum.

what is written:
  One result file, .npz or .h5, which numpy.load (no pickle in it) or h5py
  opens, and for one channel a figure. Each is written completely or not at all. With
  M methods, K users, N elements, L feeds and "..." the dimensions of a batch,
  the file holds
    methods (M,)  users (K,): rows in SCENE  amplitudes (M, ..., N)
    digital (M, ..., L, K)  rates (M, ..., K), sum_rate (M, ...): bit/s/Hz
    feasible, converged, iterations (M, ...)  solve_seconds (M,): per channel
    fully_digital_rates (..., K)  fully_digital_seconds
    channel (..., K, N)  phase (N, L)  element_positions (N, 3)
    feed_positions (L, 3)  levels_bits: 0 is continuous
  the positions of users and surface where SCENE has them, and each setting.
  Digital beams are in the square root of a watt.

your own channels:
  As in `hmimo-fast schedule --help`; also with draws or subcarriers, each channel
  solved by itself, with the same users drawn from all.

exit status:
  0 done; 2 a bad argument or file; 130 interrupted; 143 terminated

examples:
  hmimo-fast solve munich
  hmimo-fast solve munich --method wmmse_hbf,joint --constraint digital --seed 3
  hmimo-fast solve munich --levels 2 --starts 4 --output two_bits.h5
  hmimo-fast solve munich --elements phase --levels 3
  hmimo-fast solve channels.mat --key H --users 4 --min-rate 1
"""


class Solved(NamedTuple):
    """What a method found, and the time of one channel."""

    method: str
    solution: Solution
    seconds: float


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "solve",
        help="choose amplitudes and beams for given users, by any method",
        description=_DESCRIPTION,
        epilog=_EPILOG.replace("{methods}", _methods()),
    )
    conditions.add_scene(command, users="as many as feeds, or all there are")
    conditions.add_power(command, min_rate=0.0, whose="each user")
    group = command.add_argument_group("methods")
    group.add_argument("--method", "--methods", type=names(CHOICES), metavar="LIST",
        dest="methods", default=("joint",),
        help=f"of {', '.join(CHOICES)}, with commas; the last one is drawn "
             "(default: joint)")  # fmt: skip
    group.add_argument("--levels", type=integer(1, 16), metavar="BITS",
        help="bits of an element, for even amplitudes (1 is on or off) or even angles "
             "(default: continuous)")  # fmt: skip
    conditions.add_elements(group)
    conditions.add_objective(group, tuple(OBJECTIVES))
    conditions.add_feed_power(group)
    group.add_argument("--starts", type=integer(1, 10_000), default=1, metavar="S",
        help="runs from so many starts, the best of which is kept (default: 1)")  # fmt: skip
    group.add_argument("--shared", action="store_true",
        help="one amplitude vector for all subcarriers, beams for each "
             "(default: each channel by itself)")  # fmt: skip
    conditions.add_threads(group)
    add_output(command, "solve")
    command.set_defaults(run=run)


def _methods() -> str:
    """A line of the help for each."""
    return "\n".join(
        f"  {name:<12} {METHODS[name].summary}".replace("\n", "\n" + 15 * " ") for name in CHOICES
    )


def run(options: argparse.Namespace) -> None:
    """Solve, write the files and print the table."""
    scene = conditions.load(options)
    output, figure = destinations(options, scene, "solve")
    surface = conditions.surface_of(options, scene)
    users = conditions.draw_users(options, scene, surface.feed_count)
    who = f"{len(users)} of {scene.channel.shape[-2]} users"
    if options.shared and scene.channel.ndim == 2:
        raise ValueError(f"--shared: {options.scene} has a single subcarrier")
    if scene.channel.ndim > 2:
        who += f", each of {len(scene.channel)} channels"
    scene = conditions.only(scene, users)
    # 0 bits stand for continuous amplitudes.
    settings = conditions.settings(options, scene, surface)
    settings |= {"starts": options.starts, "levels_bits": options.levels or 0}
    with display() as begin:
        *runs, yardstick = _solve_all(options, scene, surface, begin)
    write_arrays(output, _arrays(runs, yardstick, users) | problem_arrays(scene, surface, settings))
    if figure is not None:
        from .figure import draw

        draw(figure, _comparison(runs, yardstick, scene, users, surface, settings))
    say(conditions.heading(settings, scene, who, surface))
    say(table(("", "sum rate", "lowest", "minimum", "time"),
              ("method", "bit/s/Hz", "bit/s/Hz", "met", "a channel"),
              *(_row(run, options.min_rate) for run in (*runs, yardstick))))  # fmt: skip
    if options.constraint == "digital":
        say(conditions.DIGITAL_NOTE)
    say(gains([(run.method, float(run.solution.sum_rate.mean()), run.seconds) for run in runs]))
    say_written(output, figure)


def _solve_all(
    options: argparse.Namespace, scene: Scene, surface: Surface, begin: Begin
) -> list[Solved]:
    """Every method, and the yardstick last."""
    channel = scene.channel
    first = channel[(0,) * (channel.ndim - (3 if options.shared else 2))]
    elements: Any = options.elements
    if options.levels:
        elements = even_states(options.elements, options.levels)
    solved = []
    for method in (*options.methods, YARDSTICK):
        progress = begin(method)
        how: dict[str, Any] = (
            {}
            if method == YARDSTICK
            else {
                "starts": options.starts,
                "elements": elements,
                "objective": options.objective,
                **conditions.feed_power(options),
            }
        )
        how |= conditions.limits(options) | {"phase": surface.phase, "method": method}
        how["shared"] = options.shared
        solve(first, **how)  # compiles, on Numba
        how["callback"] = lambda done, starts, _, progress=progress: progress(done, starts)
        solution, seconds = timed(partial(solve, channel, **how))
        solved.append(Solved(method, solution, seconds / math.prod(channel.shape[:-2])))
    return solved


def _row(run: Solved, min_rate: float) -> tuple[str, ...]:
    rates, feasible = run.solution.sum_rate, run.solution.feasible
    sum_rate, met = f"{rates.mean():.2f}", "yes" if feasible.all() else "no"
    if rates.size > 1:
        sum_rate += f" ± {rates.std(ddof=1) / math.sqrt(rates.size):.2f}"
        met = f"{feasible.mean():.0%}"
    lowest = run.solution.rates.min(axis=-1).mean()
    label = "fully digital" if run.method == YARDSTICK else run.method
    return label, sum_rate, f"{lowest:.2f}", met if min_rate else "-", duration(run.seconds)


def _arrays(runs: list[Solved], yardstick: Solved, users: np.ndarray) -> Arrays:
    found: dict[str, Any] = {
        "methods": [run.method for run in runs],
        "users": users,
        "solve_seconds": [run.seconds for run in runs],
        "fully_digital_rates": yardstick.solution.rates,
        "fully_digital_seconds": yardstick.seconds,
    }
    for name in _STACKED:
        found[name] = np.stack([getattr(run.solution, name) for run in runs])
    return plain(found)


def _comparison(
    runs: list[Solved],
    yardstick: Solved,
    scene: Scene,
    users: np.ndarray,
    surface: Surface,
    settings: dict[str, Any],
) -> Comparison:
    """What was found on one channel as schedules that serve everyone, to be drawn."""
    everyone = np.ones(len(users), dtype=bool)
    drawn = []
    for run in runs:
        found = run.solution
        served = Schedule(
            everyone,
            found.amplitudes,
            found.digital,
            found.rates,
            found.sum_rate,
            found.feasible,
            found.power_used,
            search="",
            method=run.method,
            accept="",
            constraint=found.constraint,
            objective=found.objective,
        )
        drawn.append(Run(run.method, run.method, served, run.seconds, run.seconds))
    return Comparison(
        scene, users, surface, settings, drawn, yardstick.solution.rates, yardstick.seconds
    )
