"""What `solve` and `schedule` work on: a scene, its users, a surface and the power.

The options for them are defined here once, with what they mean.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from typing import Any

import numpy as np

from .. import channels
from ..channels import Scene
from ..elements import NAMES
from ..kernels import get_backend
from ..surface import SPEED_OF_LIGHT, Surface
from .arguments import count, decibels, feeds, nonnegative, positive, ratio, seed, shape
from .info import version_of

MUNICH_SPACING = 2.5e-3  # m
DIGITAL_NOTE = """
The surface may radiate more than the power of the digital beams; the fully digital array \
radiates that power."""


def add_scene(command: argparse.ArgumentParser, users: str) -> None:
    """Add the scene, and the group of its users and the surface; ``users`` is the default."""
    command.add_argument(
        "scene",
        metavar="SCENE",
        help='"munich", 88 ray-traced users at 30 GHz, or a file of channels (see below)',
    )
    add = command.add_argument_group("channels and surface").add_argument
    add("--users", type=count, metavar="K", help=f"users to draw (default: {users})")
    add("--seed", type=seed, default=0, metavar="INT",
        help="of the drawn users and of random starts (default: 0)")  # fmt: skip
    add("--shape", type=shape, metavar="NXxNY",
        help="elements along x and y; munich has 8x8 and 32x32 "
             "(default: 8x8; for a file the square with its number of elements)")  # fmt: skip
    add("--feeds", type=feeds, default=6, metavar="L",
        help="feeds, one RF chain each, spread over the surface; edge:L beside it "
             "(default: 6)")  # fmt: skip
    add("--frequency", type=positive, metavar="GHZ",
        help="carrier frequency, GHz (default: the file's, else 30)")  # fmt: skip
    add("--spacing", type=positive, metavar="MM",
        help="distance between elements, mm (default: a quarter of the wavelength; "
             "munich: 2.5, fixed)")  # fmt: skip
    add("--key", metavar="NAME",
        help="name of the channel's array in the file (default: the only complex one)")  # fmt: skip
    add("--axes", metavar="LIST",
        help="what the array's axes are: users, elements, draws, subcarriers, parts (real, "
             "imaginary), 1; with commas (default: inferred from their lengths)")  # fmt: skip
    add("--conjugate", action="store_true",
        help="conjugate the channels of a file that acts as y = H^* x")  # fmt: skip


def add_power(command: argparse.ArgumentParser, min_rate: float, whose: str) -> None:
    """Add the group of power and rates; ``min_rate`` is the default, ``whose`` has it."""
    add = command.add_argument_group("power and rates").add_argument
    add("--power", type=decibels, default=30.0, metavar="DBM",
        help="transmit power, dBm (default: 30)")  # fmt: skip
    add("--noise", type=decibels, default=-87.0, metavar="DBM",
        help="noise power at each user, dBm; -87 is 100 MHz at a noise figure of 7 dB "
             "(default: -87)")  # fmt: skip
    add("--snr", type=ratio, metavar="DB",
        help="power times the mean gain from an element to a user, over the noise, dB: sets the "
             "noise for channels without a physical gain")  # fmt: skip
    add("--constraint", choices=("radiated", "digital"), default="radiated",
        help="the power is what the surface radiates, or what the digital beams hold, as in "
             "paper B: the surface may then radiate far more (default: radiated)")  # fmt: skip
    add("--min-rate", type=nonnegative, default=min_rate, metavar="RATE",
        help=f"that {whose} must have, bit/s/Hz (default: {min_rate:g})")  # fmt: skip


def add_threads(group: argparse._ArgumentGroup) -> None:
    """Add the number of threads."""
    group.add_argument("--threads", type=count, metavar="T",
        help="most threads to use (default: HMIMO_NUM_THREADS, else all CPUs)")  # fmt: skip


def load(options: argparse.Namespace) -> Scene:
    """The scene, with finite channels in double precision."""
    try:
        scene = channels.load(
            options.scene,
            options.shape,
            options.key,
            options.axes,
            conjugate=options.conjugate,
            frequency=None if options.frequency is None else options.frequency * 1e9,
        )
    except ValueError as error:
        # The messages of `load` name its arguments, which are options of the same names here.
        named = str(error).partition(":")[0] in ("key", "axes", "conjugate", "frequency", "shape")
        raise ValueError(f"--{error}" if named else str(error)) from None
    if not scene.channel.size:
        raise ValueError(f"{options.scene}: expected channels, got none: {scene.channel.shape}")
    if not np.isfinite(scene.channel).all():
        raise ValueError(f"{options.scene}: expected finite channels, got NaN or infinity")
    if options.snr is not None:
        gain = np.mean(np.abs(scene.channel.astype(np.complex128)) ** 2)
        if gain == 0.0:
            raise ValueError(f"--snr: all channels of {options.scene} are zero")
        options.noise = options.power - options.snr + 10 * math.log10(gain)
    # Single precision would save no noticeable time here.
    return replace(scene, channel=scene.channel.astype(np.complex128))


def surface_of(options: argparse.Namespace, scene: Scene) -> Surface:
    """The surface that the channels are for."""
    elements = scene.channel.shape[-1]
    shape = options.shape or (math.isqrt(elements), math.isqrt(elements))
    if math.prod(shape) != elements:
        raise ValueError(f"--shape: {options.scene} has {elements} elements, which form no square")
    wanted = int(str(options.feeds).removeprefix("edge:"))
    if wanted > elements:
        raise ValueError(
            f"--feeds: {wanted} feeds exceed the {elements} elements of {options.scene}; "
            "are --axes right?"
        )
    frequency = 30e9 if scene.frequency is None else scene.frequency
    spacing = SPEED_OF_LIGHT / frequency / 4
    if options.scene == "munich":
        spacing = MUNICH_SPACING
        if options.spacing is not None and not math.isclose(options.spacing * 1e-3, spacing):
            raise ValueError(f"--spacing: munich was traced at 2.5 mm, got {options.spacing:g}")
    elif options.spacing is not None:
        spacing = options.spacing * 1e-3
    return Surface(shape, spacing, frequency, options.feeds)


def draw_users(options: argparse.Namespace, scene: Scene, default: int) -> np.ndarray:
    """Rows of the users drawn, in ascending order; ``default`` of them, or all there are."""
    there = scene.channel.shape[-2]
    users = min(default, there) if options.users is None else options.users
    if users > there:
        raise ValueError(f"--users: {options.scene} has {there}, got {users}")
    return np.sort(np.random.default_rng(options.seed).choice(there, users, replace=False))


def only(scene: Scene, users: np.ndarray) -> Scene:
    """The scene with these users alone."""
    per_user = ("user_positions", "line_of_sight")
    fields = {name: getattr(scene, name) for name in per_user}
    return replace(
        scene,
        channel=scene.channel[..., users, :],
        **{name: field[users] for name, field in fields.items() if field is not None},
    )


def limits(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments that `hmimo_fast.solve` and `hmimo_fast.schedule` share."""
    return {
        "power": 1e-3 * 10 ** (options.power / 10),
        "noise_power": 1e-3 * 10 ** (options.noise / 10),
        "min_rate": options.min_rate,
        "constraint": options.constraint,
        "seed": options.seed,
        "threads": options.threads,
    }


def add_elements(group: Any) -> None:
    """What an element can do."""
    group.add_argument("--elements", choices=NAMES, default="amplitude",
        help="what an element does to its wave: scales it, by (j + exp(j theta)) / 2 "
             "(lorentzian), or turns it (default: amplitude)")  # fmt: skip


def add_objective(group: Any, names: tuple[str, ...]) -> None:
    """What is maximised."""
    group.add_argument("--objective", choices=names, default="sum_rate",
        help="what is maximised, by a method that has it; others than sum_rate are joint's "
             "(default: sum_rate)")  # fmt: skip


def add_feed_power(group: Any) -> None:
    """What each feed can send."""
    group.add_argument("--feed-power", type=decibels, metavar="DBM",
        help="most power of each feed besides that of all, for joint and wmmse_hbf "
             "(default: no limit)")  # fmt: skip


def feed_power(options: argparse.Namespace) -> dict[str, Any]:
    """The argument of `hmimo_fast.solve` for it, if there is one."""
    if options.feed_power is None:
        return {}
    return {"feed_power": 1e-3 * 10 ** (options.feed_power / 10)}


def settings(options: argparse.Namespace, scene: Scene, surface: Surface) -> dict[str, Any]:
    """What a result was computed under: plain numbers and strings."""
    return {
        # Without the undecodable bytes that a file's name may have, which HDF5 and fonts refuse.
        "scene": scene.name.encode(errors="replace").decode(),
        "frequency_hz": surface.frequency,
        "shape": list(surface.shape),
        "spacing_m": surface.spacing,
        "feeds": str(options.feeds),
        "power_dbm": options.power,
        "noise_dbm": options.noise,
        "constraint": options.constraint,
        "min_rate": options.min_rate,
        "seed": options.seed,
        "elements": options.elements,
        "objective": options.objective,
        "feed_power_dbm": math.inf if options.feed_power is None else options.feed_power,
        "backend": get_backend(),
        "version": version_of("hmimo_fast"),
    }


def heading(chosen: dict[str, Any], scene: Scene, users: str, surface: Surface) -> str:
    """How the file was read, and three lines that say what the settings are."""
    floor = f"minimum rate {chosen['min_rate']:g} bit/s/Hz" if chosen["min_rate"] else "no minimum"
    return (f"{scene.reading}\n" if scene.reading else "") + (
        f"{chosen['scene']}: {users} (seed {chosen['seed']})\n"
        f"surface: {surface.shape[0]} x {surface.shape[1]} elements at "
        f"{surface.spacing * 1e3:.4g} mm, {surface.feed_count} feeds, "
        f"{surface.frequency / 1e9:g} GHz\n"
        f"power: {chosen['power_dbm']:g} dBm ({chosen['constraint']}), "
        f"noise {chosen['noise_dbm']:.4g} dBm, {floor}\n"
    )
