"""A problem, checked and flattened once: what solvers, minimum rates, levels and schedules take.

Here ends what a caller may do wrong: from here on arrays fit each other and hold what they may.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from math import prod
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .elements import Elements, elements_of, start_of
from .kernels.edge import as_array, is_radiated, run
from .kernels.operators import ARGUMENTS, OPERATORS, integer
from .objective import OBJECTIVES, Objective, consumption

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def quiet(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """The same under NumPy's own handling of rounding: a caller's `errstate` is for his numbers."""

    @wraps(function)
    def inner(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return inner


#: Fields of a problem that begin with the dimension of its items.
_OF_ITEMS = (
    *("channel", "power", "noise_power", "weights", "heaviest"),
    *("min_rate", "start", "stuck", "idle", "split", "feed_power"),
)
_AMPLITUDES = Elements()


@dataclass(frozen=True)
class Problem:
    """B items, each F channels that share one amplitude vector, and what limits the beams.

    Arrays are C-contiguous, with a leading dimension of B, or of 1 for what all items share.
    """

    channel: np.ndarray  # (1 or B, F, K, N), complex64 or complex128: the precision of the results
    phase: np.ndarray  # (1 or F, N, L), complex128
    power: np.ndarray  # (B,)
    noise_power: np.ndarray  # (B,)
    weights: np.ndarray  # (1 or B, K), the largest of an item one
    heaviest: np.ndarray  # (1 or B,), the largest as given, 0 where all are
    constraint: str  # "radiated" or "digital"
    radiated: bool  # the same: whether the power is that of diag(m) Phi V, or of V
    batch: tuple[int, ...]  # B as the caller has it
    several: bool  # whether the caller has a dimension F
    min_rate: np.ndarray | None = None  # (1 or B, K)
    start: np.ndarray | None = None  # (1 or B, N), amplitudes that were given
    hardware: Elements = _AMPLITUDES  # what the elements can do
    stuck: np.ndarray | None = None  # (1 or B, N), amplitudes that stay, NaN for those that move
    ends: int = 0  # of the N elements the last, which are those of a direct channel
    objective: str = "sum_rate"  # what is maximised
    idle: np.ndarray | None = None  # (B,), power consumed besides the beams', over the power
    efficiency: float = 1.0  # of the amplifiers
    split: np.ndarray | None = None  # (1 or B, F, K), parts of a user's rate in the channels
    feed_power: np.ndarray | None = None  # (1 or B, L), limits of the feeds
    threads: int | None = None

    @classmethod
    def of(
        cls,
        channel: ArrayLike,
        phase: ArrayLike,
        power: ArrayLike,
        noise_power: ArrayLike,
        *,
        constraint: str = "radiated",
        weights: ArrayLike | None = None,
        min_rate: ArrayLike | None = None,
        start: ArrayLike | None = None,
        elements: str | ArrayLike = "amplitude",
        levels: int | ArrayLike | None = None,
        direct: ArrayLike | None = None,
        broken: ArrayLike | None = None,
        feed_power: ArrayLike | None = None,
        objective: str = "sum_rate",
        circuit_power: float | None = None,
        element_power: float | None = None,
        amplifier_efficiency: float | None = None,
        user_noise: ArrayLike | None = None,
        shared: bool = False,
        threads: int | None = None,
        check_finite: bool = False,
    ) -> Problem:
        """The problem of arguments as `hmimo_fast.solve` has them, all of them checked."""
        radiated = is_radiated(constraint)
        if objective not in OBJECTIVES:
            expected = ", ".join(map(repr, OBJECTIVES))
            raise ValueError(f"objective: expected one of {expected}, got {objective!r}")
        waves = _phase(phase)
        several = shared or waves.ndim == 3
        h = _channel(channel, waves, several, check_finite)
        hardware = elements_of(elements, levels)
        if direct is not None:
            if radiated:
                raise ValueError(
                    "direct: expected constraint 'digital', since under 'radiated' power a dark "
                    "surface would transmit for nothing"
                )
            h, waves = _with_direct(h, waves, direct, several)
        users, size = h.shape[-2:]
        ends = 0 if direct is None else waves.shape[-1]
        power, noise = _allowed("power", power), _allowed("noise_power", noise_power)
        if user_noise is not None:
            h, noise = _equal_noise(h, user_noise)
        arrays = {"channel": (h, 3), "power": (power, 0), "noise_power": (noise, 0)}
        if weights is not None:
            arrays["weights"] = _per_user("weights", weights, users), 1
        if min_rate is not None:
            arrays["min_rate"] = _per_user("min_rate", min_rate, users, scalar=True), 1
        if start is not None:
            arrays["start"] = _padded(start_of(start, size - ends, hardware), ends, 1.0), 1
        if broken is not None or ends:
            moving = np.full(size - ends, np.nan) if broken is None else broken
            stuck = _stuck(moving, size - ends, hardware.turned)
            arrays["stuck"] = _padded(stuck, ends, 1.0), 1
        if feed_power is not None:
            limits = _feed_limits(feed_power, waves.shape[-1], objective)
            if np.isfinite(limits).any():
                if h.dtype == np.complex64:  # all in double, so that slices change no bit
                    limits = np.minimum(limits, np.finfo(float).max)
                arrays["feed_power"] = limits, 1
        if (
            objective == "min_power"
            and not np.any(arrays.get("min_rate", (0.0,))[0], axis=-1).all()
        ):
            raise ValueError("min_rate: expected one above 0 of every item for 'min_power'")
        idle, efficiency = consumption(
            objective, waves.shape[-1], size - ends, circuit_power, element_power,
            amplifier_efficiency,
        )  # fmt: skip
        batch: tuple[int, ...] = ()
        for argument, (array, core) in arrays.items():
            batch = _broadcast(argument, batch, array.shape[: array.ndim - core])
        flat = {n: _flat(array, core, batch) for n, (array, core) in arrays.items() if core}
        weighted = flat.pop("weights", None)
        unit, largest = (np.ones((1, users)), np.ones(1)) if weighted is None else _unit(weighted)
        return cls(
            **flat,
            phase=np.ascontiguousarray(waves if waves.ndim == 3 else waves[None], complex),
            power=np.full(batch, power).reshape(-1),
            noise_power=np.full(batch, noise).reshape(-1),
            weights=unit,
            heaviest=largest,
            constraint=constraint,
            radiated=radiated,
            batch=batch,
            several=several,
            hardware=hardware,
            ends=ends,
            objective=objective,
            idle=np.full(batch, idle / power).reshape(-1) if idle else None,
            efficiency=efficiency,
            threads=None if threads is None else integer("threads", threads, 1),
        )

    @property
    def aim(self) -> Objective:
        """The objective's record."""
        return OBJECTIVES[self.objective]

    @property
    def size(self) -> int:
        """B."""
        return len(self.power)

    @property
    def users(self) -> int:
        """K."""
        return int(self.channel.shape[-2])

    @property
    def feeds(self) -> int:
        """L."""
        return int(self.phase.shape[-1])

    @property
    def elements(self) -> int:
        """N."""
        return int(self.channel.shape[-1])

    @property
    def floors(self) -> np.ndarray:
        """Minimum rates (1 or B, K), zero where none are asked for."""
        return np.zeros((1, self.users)) if self.min_rate is None else self.min_rate

    @property
    def parts(self) -> np.ndarray:
        """Parts (1 or B, F, K) of minimum rates that each channel has to meet; even by default.

        Of `max_min`, what weights are times in each channel.
        """
        if self.split is not None:
            return self.split
        channels = self.channel.shape[1]
        even = 1.0 if self.objective == "max_min" else 1.0 / channels
        return np.full((1, channels, self.users), even)

    @cached_property
    def finite(self) -> np.ndarray:
        """Whether the channels of an item are finite, (B,)."""
        finite = np.isfinite(self.channel).all(axis=(-3, -2, -1))
        return np.asarray(np.broadcast_to(finite, self.size))

    @property
    def waves(self) -> np.ndarray:
        """The phase in the precision of the channel."""
        return self.phase.astype(self.channel.dtype, copy=False)

    def run(self, operator: str, amplitudes: np.ndarray, **options: Any) -> Any:
        """An operator of the table at amplitudes (1 or B, N), or from there."""
        inputs = {
            "channel": self.channel,
            "amplitudes": np.ascontiguousarray(amplitudes, self.precision(amplitudes)),
            "phase": self.waves[None],
            "power": self.power,
            "noise_power": self.noise_power,
            "weights": self.weights,
            "min_rate": self.min_rate,
            "split": self.parts if self.channel.shape[1] > 1 else None,
            "movable": self.movable,
            "overhead": self.idle,
            "feed_power": self.feed_power,
        }
        if "element" in OPERATORS[operator].options:
            options = {"element": self.hardware.kind} | options
        if "objective" in OPERATORS[operator].options:
            options = {"objective": self.aim.code} | options
        operands = [inputs[name] for name in OPERATORS[operator].inputs]
        return run(operator, operands, {"radiated": self.radiated, **options}, threads=self.threads)

    def beams(self, amplitudes: np.ndarray, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
        """The best general beams (B, F, L, K) at amplitudes (1 or B, N), and a score of them (B,).

        The sum rate, or what the objective is inside the loops; the higher the better.
        """
        if self.objective == "sum_rate":
            return self.run("best_beams", amplitudes, sweeps=sweeps)
        stay = {"zf_iterations": 0, "iterations": 1, "tolerance": sys.float_info.max, "element": 0}
        _, digital, _, _, _, history = self.run(
            "variable_projection", amplitudes, sweeps=sweeps, **stay
        )
        score = history[:, 0]
        return digital, np.where(score < np.inf, score, -score)  # no power, from elements all off

    def take(self, rows: np.ndarray) -> Problem:
        """Some of the items."""
        arrays = {name: getattr(self, name) for name in _OF_ITEMS}
        own: dict[str, Any] = {n: taken(a, rows) for n, a in arrays.items() if a is not None}
        # One for each item, also where there is but one.
        own |= {n: arrays[n][rows] for n in ("power", "noise_power", "idle") if n in own}
        return replace(self, **own, batch=(len(rows),))

    def of_users(self, items: np.ndarray, users: np.ndarray) -> Problem:
        """A problem for T sets of S users: set t is ``users[t]`` of item ``items[t]``."""
        rows = items[:, None]

        def chosen(array: np.ndarray) -> np.ndarray:
            return array[rows % len(array), users]

        weights, heaviest = _unit(chosen(self.weights))
        rest = replace(self, channel=self.channel[:1], min_rate=None).take(items)  # no copy of all
        return replace(
            rest,
            channel=np.ascontiguousarray(chosen(self.channel.swapaxes(1, 2)).swapaxes(1, 2)),
            weights=weights,
            heaviest=heaviest,
            min_rate=None if self.min_rate is None else chosen(self.min_rate),
        )

    def precision(self, amplitudes: np.ndarray) -> np.dtype:
        """The element type of amplitudes, real or complex, in the precision of the channel."""
        return self.channel.dtype if amplitudes.dtype.kind == "c" else self.channel.real.dtype

    @property
    def movable(self) -> np.ndarray | None:
        """1 for elements that move, 0 for those that are stuck, (1 or B, N); None if all move."""
        if self.stuck is None:
            return None
        return np.isnan(self.stuck).astype(self.channel.real.dtype)

    def placed(self, amplitudes: np.ndarray) -> np.ndarray:
        """Amplitudes (1 or B, N) with those of stuck elements in place."""
        if self.stuck is None:
            return amplitudes
        return np.where(np.isnan(self.stuck), amplitudes, self.stuck)

    def all_on(self) -> np.ndarray:
        """Amplitudes (1 or B, N) of elements that are all on, or in their first state."""
        return self.placed(self.hardware.all_on(self.elements))

    def random_start(self, seed: int, index: int, lowest: float = 0.0) -> np.ndarray:
        """Uniform amplitudes or angles; row i of the stream is item i's, whatever the batch."""
        draws = np.random.default_rng([seed, index]).random((self.size, self.elements))
        return self.placed(self.hardware.random(draws, lowest))

    def some_angles(self) -> np.ndarray:
        """Weights (1 or B, N) at random angles, the same in every problem."""
        draws = np.random.default_rng(0).random((1, self.elements))
        return self.placed(self.hardware.random(draws, 0.0))

    def shaped(self, array: np.ndarray) -> np.ndarray:
        """An array (B, ...) as the caller has his."""
        return array.reshape(self.batch + array.shape[1:])

    def shaped_amplitudes(self, array: np.ndarray) -> np.ndarray:
        """Amplitudes (B, N) of the caller's own elements as he has them."""
        return self.shaped(np.ascontiguousarray(array[:, : self.elements - self.ends]))

    def shaped_channels(self, array: np.ndarray) -> np.ndarray:
        """An array (B, F, ...) as the caller has his."""
        return self.shaped(array if self.several else array[:, 0])


def _padded(array: np.ndarray, count: int, value: float) -> np.ndarray:
    """With ``count`` more values at the end of the last dimension."""
    widths = [(0, 0)] * (array.ndim - 1) + [(0, count)]
    return np.pad(array, widths, constant_values=value) if count else array


def taken(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array (1 or B, ...), or what all items share."""
    return array if len(array) == 1 else array[rows]


def count(argument: str, value: Any, least: int) -> int:
    """An integer from ``least`` on."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected at least {least}, got {value!r}")
    return int(value)


def _unit(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights with a largest of one, all one where all are zero, and that largest."""
    heaviest = np.max(weights, axis=-1, keepdims=True)
    unit = np.divide(weights, heaviest, out=np.ones_like(weights), where=heaviest > 0.0)
    return unit, heaviest[..., 0]


def _flat(array: np.ndarray, core: int, batch: tuple[int, ...]) -> np.ndarray:
    """With one dimension of batch, of length 1 where all items share what there is."""
    lead, own = array.shape[: array.ndim - core], array.shape[array.ndim - core :]
    if prod(lead) == 1:
        return np.ascontiguousarray(array).reshape(1, *own)
    return np.ascontiguousarray(np.broadcast_to(array, batch + own)).reshape(-1, *own)


def _phase(value: ArrayLike) -> np.ndarray:
    waves = _numbers("phase", value)
    if waves.ndim not in (2, 3):
        raise ValueError(f"phase: expected (N, L) or (F, N, L), got {waves.shape}")
    _require_sizes("phase", waves, "NL")
    _require("phase", waves, np.isfinite(waves), "finite values")
    return waves


def _channel(value: ArrayLike, waves: np.ndarray, several: bool, finite: bool) -> np.ndarray:
    """Channels (..., F, K, N) that fit the phase."""
    h = _numbers("channel", value)
    _require_sizes("channel", h, "FKN" if several else "KN")
    if finite:
        _require("channel", h, np.isfinite(h), "finite values")
    h = h if several else h[..., None, :, :]
    several_waves = waves.ndim == 3 and len(waves) > 1
    if h.shape[-1] != waves.shape[-2] or (several_waves and len(waves) != h.shape[-3]):
        fits = f"N = {waves.shape[-2]}" + (f" and F = {len(waves)}" if several_waves else "")
        raise ValueError(
            f"channel: expected (..., K, N) with {fits} to match phase, got {np.shape(value)}"
        )
    single = h.dtype.newbyteorder("=") == np.complex64
    return np.require(h, np.complex64 if single else np.complex128, ["A"])


def _per_user(argument: str, value: ArrayLike, users: int, scalar: bool = False) -> np.ndarray:
    """Values (..., K); one for all users where that is allowed."""
    array = _allowed(argument, value)
    if not (scalar or array.ndim) or (array.ndim and array.shape[-1] != users):
        expected = f"{argument}: expected {'a scalar or ' * scalar}(..., K) with K = {users}"
        raise ValueError(f"{expected} to match channel, got {array.shape}")
    return array if array.ndim else np.full(users, array)


def _equal_noise(channel: np.ndarray, user_noise: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Channels (..., F, K, N) in which all users have the least noise of all, and that (...)."""
    noise, users = _allowed("user_noise", user_noise, "noise_power"), channel.shape[-2]
    if not noise.ndim or noise.shape[-1] != users:
        raise ValueError(f"user_noise: expected (..., K) with K = {users}, got {noise.shape}")
    _broadcast("user_noise", channel.shape[:-3], noise.shape[:-1])
    least = noise.min(axis=-1)
    scale = np.sqrt(least[..., None] / noise).astype(channel.real.dtype)
    return channel * scale[..., None, :, None], least


def _with_direct(
    channel: np.ndarray, waves: np.ndarray, direct: ArrayLike, several: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Channel and phase of a surface with L more elements, each the end of a feed, all on.

    G = H diag(q) Phi + D is that of the channel [H D] and the phase [Phi; I].
    """
    d = _numbers("direct", direct)
    feeds, core = waves.shape[-1], 3 if several else 2
    wanted = (*channel.shape[-3 if several else -2 : -1], feeds)
    if d.ndim < core or d.shape[d.ndim - core :] != wanted:
        letters = "F, K, L" if several else "K, L"
        raise ValueError(f"direct: expected (..., {letters}) with {wanted}, got {d.shape}")
    d = d if several else d[..., None, :, :]
    lead = _broadcast("direct", channel.shape[:-3], d.shape[:-3])
    parts = [np.broadcast_to(x, lead + x.shape[-3:]) for x in (channel, d)]
    ends = np.broadcast_to(np.eye(feeds), (*waves.shape[:-2], feeds, feeds))
    extended = np.concatenate(parts, axis=-1).astype(channel.dtype)
    return extended, np.concatenate([waves, ends], axis=-2)


def _stuck(value: ArrayLike, size: int, turned: bool) -> np.ndarray:
    """Weights (..., N) of stuck elements, NaN for those that move."""
    weights = _numbers("broken", value) if turned else _reals("broken", value)
    weights = weights.astype(complex if turned else float)
    if not weights.ndim or weights.shape[-1] != size:
        raise ValueError(f"broken: expected (..., N) with N = {size}, got {weights.shape}")
    good = np.isnan(weights) | (np.abs(weights) <= 1.0 + 1e-6 * turned)
    if not turned:
        good &= ~(weights < 0.0)
    expected = f"NaN or values in {'the unit disc' if turned else '[0, 1]'}"
    _require("broken", weights, good, expected)
    return weights


def _feed_limits(value: ArrayLike, feeds: int, objective: str) -> np.ndarray:
    """Limits (..., L) of the feeds' power; infinity for none."""
    if objective != "sum_rate":
        raise ValueError(f"objective: expected 'sum_rate' with feed_power, got {objective!r}")
    limits = _allowed("feed_power", value)
    if limits.ndim and limits.shape[-1] != feeds:
        raise ValueError(
            f"feed_power: expected a scalar or (..., L) with L = {feeds}, got {limits.shape}"
        )
    return limits if limits.ndim else np.full(feeds, limits)


def _broadcast(argument: str, batch: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if not shape:
        return batch
    try:
        return np.broadcast_shapes(batch, shape)
    except ValueError:
        raise ValueError(
            f"{argument}: expected leading dimensions that broadcast with {batch}, got {shape}"
        ) from None


def _require_sizes(argument: str, array: np.ndarray, core: str) -> None:
    expected = f"{argument}: expected (..., {', '.join(core)})"
    if array.ndim < len(core):
        raise ValueError(f"{expected}, got {array.shape}")
    for letter, length in zip(core, array.shape[array.ndim - len(core) :], strict=True):
        if length < 1:
            raise ValueError(f"{expected} with {letter} at least 1, got {array.shape}")


def _require(argument: str, array: np.ndarray, allowed: np.ndarray, expected: str) -> None:
    """Raise for the first value that is not allowed."""
    if not allowed.all():
        where = tuple(np.argwhere(~allowed)[0].tolist())
        raise ValueError(f"{argument}: expected {expected}, got {array[where]} at index {where}")


def _numbers(argument: str, value: ArrayLike) -> np.ndarray:
    array = as_array(argument, value)
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{argument}: expected numbers, got dtype {array.dtype}")
    return array


def _reals(argument: str, value: ArrayLike) -> np.ndarray:
    array = as_array(argument, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{argument}: expected real numbers, got dtype {array.dtype}")
    return array.astype(float)


def _allowed(argument: str, value: ArrayLike, like: str | None = None) -> np.ndarray:
    """Real numbers in the range that the table of operators has for them."""
    values = ARGUMENTS[like or argument].values
    assert values is not None
    if type(value) is float and values.allow(value):
        return np.asarray(value)
    array = _reals(argument, value)
    _require(argument, array, np.asarray(values.allow(array)), f"values {values.expected}")
    return array
