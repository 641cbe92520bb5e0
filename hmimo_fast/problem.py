"""A problem, checked and flattened once: what solvers, minimum rates, levels and schedules take.

Here ends what a caller may do wrong: from here on arrays fit each other and hold what they may.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .arguments import (
    LIMIT,
    NOT_NEGATIVE,
    POSITIVE,
    as_numbers,
    as_values,
    bad_value,
    common_batch,
    integer,
    is_radiated,
    one_of,
)
from .elements import Elements, elements_of, start_of
from .kernels.edge import run
from .kernels.operators import OPERATORS
from .objective import OBJECTIVES, Objective, consumption

#: Fields of a problem that begin with the dimension of its items.
_OF_ITEMS = (
    *("channel", "power", "noise_power", "weights", "heaviest"),
    *("min_rate", "start", "stuck", "idle", "split", "feed_power"),
)
#: Added to the power of each feed, over that of all, where it is divided by.
_GUARD = 1e-13
#: Those that are one for each item, also where there is but one.
_OF_EACH = ("power", "noise_power", "idle")
#: What is found for each channel of an item, with a dimension F.
_OF_CHANNELS = ("digital", "sinr", "rates", "power_used")
#: Options of operators that follow from the problem.
OWN_OPTIONS = ("radiated", "element", "objective")
_AMPLITUDES = Elements()
#: Least amplitude of random starts where the first start is all on.
DIMMEST = 0.5


@dataclass(frozen=True)
class Problem:
    """B items, each F channels that share one amplitude vector, and what limits the beams.

    Arrays are C-contiguous, with a leading dimension of B, or of 1 for what all items share.
    """

    channel: np.ndarray  # (1 or B, F, K, N), complex64 or complex128: the precision of the results
    phase: np.ndarray  # (1 or F, N, L), complex128, or one of each item
    power: np.ndarray  # (B,)
    noise_power: np.ndarray  # (B,)
    weights: np.ndarray  # (1 or B, K), the largest of an item one
    heaviest: np.ndarray  # (1 or B,), the largest as given, 0 where all are
    constraint: str  # "radiated" or "digital"
    radiated: bool  # the same: whether the power is that of diag(m) Phi V, or of V
    batch: tuple[int, ...]  # B as the caller has it
    several: bool  # whether the caller has a dimension F
    min_rate: np.ndarray | None = None  # (1 or B, K)
    start: np.ndarray | None = None  # (1 or B, N), amplitudes that were given, stuck ones in place
    hardware: Elements = _AMPLITUDES  # what the elements can do
    stuck: np.ndarray | None = None  # (1 or B, N), amplitudes that stay, NaN for those that move
    ends: int = 0  # of the N elements the last, which are those of a direct channel
    objective: str = "sum_rate"  # what is maximised
    idle: np.ndarray | None = None  # (B,), power consumed besides the beams', over the power
    efficiency: float = 1.0  # of the amplifiers
    split: np.ndarray | None = None  # (1 or B, F, K), parts of a user's rate in the channels
    feed_power: np.ndarray | None = None  # (1 or B, L), limits of the feeds
    effort: int = 1  # times the iterations that `joint` makes by default
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
        one_of("objective", objective, OBJECTIVES)
        waves = _phase(phase)
        several = shared or waves.ndim == 3
        h = as_numbers("channel", channel, "FKN" if several else "KN")
        _check_fit(h.shape, waves.shape)
        if check_finite and not (good := np.isfinite(h)).all():
            raise bad_value("channel", h, good, "finite values")
        single = h.dtype.newbyteorder("=") == np.complex64
        h = np.require(h, np.complex64 if single else np.complex128, ["A"])
        h = h if several else h[..., None, :, :]
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
        power = as_values("power", power, POSITIVE)
        noise = as_values("noise_power", noise_power, POSITIVE)
        if user_noise is not None:
            h, noise = _equal_noise(h, user_noise)
        arrays: dict[str, tuple[np.ndarray, int]]  # with its number of core dimensions
        arrays = {"channel": (h, 3), "power": (power, 0), "noise_power": (noise, 0)}
        if weights is not None:
            arrays["weights"] = _per_user("weights", weights, users), 1
        if min_rate is not None:
            arrays["min_rate"] = _per_user("min_rate", min_rate, users, scalar=True), 1
        if start is not None:
            first = start_of(start, size - ends, hardware)
            arrays["start"] = _padded(first, ends, 1.0) if ends else first, 1
        if broken is not None or ends:
            moving = np.full(size - ends, np.nan) if broken is None else broken
            stuck = _stuck(moving, size - ends, hardware.turned)
            arrays["stuck"] = _padded(stuck, ends, 1.0), 1
        if feed_power is not None:
            limits = _feed_limits(feed_power, waves.shape[-1])
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
            if array.ndim > core:
                batch = common_batch(argument, batch, array.shape[: array.ndim - core])
        flat = {}
        for argument, (array, core) in arrays.items():
            lead, own = array.shape[: array.ndim - core], array.shape[array.ndim - core :]
            if lead != batch and not (core and prod(lead) == 1):
                array = np.broadcast_to(array, batch + own)
            flat[argument] = np.ascontiguousarray(array).reshape(-1, *own)
        if "start" in flat and "stuck" in flat:
            flat["start"] = np.where(np.isnan(flat["stuck"]), flat["start"], flat["stuck"])
        weighted = flat.pop("weights", None)
        unit, largest = _equal(users) if weighted is None else _unit(weighted)
        return cls(
            **flat,
            phase=np.ascontiguousarray(waves if waves.ndim == 3 else waves[None], complex),
            weights=unit,
            heaviest=largest,
            constraint=constraint,
            radiated=radiated,
            batch=batch,
            several=several,
            hardware=hardware,
            ends=ends,
            objective=objective,
            idle=idle / flat["power"] if idle else None,
            efficiency=efficiency,
            effort=1,
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
        return int(self.weights.shape[-1])

    @property
    def feeds(self) -> int:
        """L."""
        return int(self.phase.shape[-1])

    @property
    def elements(self) -> int:
        """N."""
        return int(self.phase.shape[-2])

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

    @cached_property
    def operands(self) -> dict[str, Any]:
        """Inputs of the operators, and options, that follow from the problem."""
        dtype, real = self.channel.dtype, self.channel.real.dtype
        return {
            "channel": self.channel,
            "phase": self.phase.astype(dtype, copy=False).reshape(-1, *self.phase.shape[-3:]),
            "power": self.power,
            "noise_power": self.noise_power,
            "weights": self.weights,
            "min_rate": self.min_rate,
            "split": self.parts if self.channel.shape[1] > 1 else None,
            "movable": None if self.stuck is None else np.isnan(self.stuck).astype(real),
            "overhead": self.idle,
            "feed_power": self.feed_power,
            "states": self._states,
            "radiated": self.radiated,
            "element": self.hardware.kind,
            "objective": self.aim.code,
        }

    @property
    def _states(self) -> np.ndarray | None:
        """States of the elements (1, S) in the precision of the channel, if they are few."""
        states, dtype = self.hardware.states, self.channel.dtype
        if states is None:
            return None
        return states[None].astype(dtype if self.hardware.turned else self.channel.real.dtype)

    def run(self, operator: str, amplitudes: np.ndarray, **options: Any) -> Any:
        """An operator of the table at amplitudes (1 or B, N), or from there."""
        op, own = OPERATORS[operator], self.operands
        for option in OWN_OPTIONS:
            if option in op.options:
                options.setdefault(option, own[option])
        h = self.channel
        dtype = h.dtype if amplitudes.dtype.kind == "c" else h.real.dtype
        own = own | {"amplitudes": np.ascontiguousarray(amplitudes, dtype)}
        return run(operator, list(map(own.get, op.inputs)), options, threads=self.threads)

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

    def in_single(self) -> Problem:
        """The same problem in single precision; entries of the channel are at most about one."""
        largest = np.abs(self.channel).max(axis=(-3, -2, -1))
        scale = np.where((largest > 0.0) & (largest < np.inf), np.exp2(-np.frexp(largest)[1]), 1.0)
        channel = (scale[:, None, None, None] * self.channel).astype(np.complex64)
        return replace(self, channel=channel, noise_power=scale**2 * self.noise_power)

    def take(self, rows: np.ndarray) -> Problem:
        """Some of the items."""
        own: dict[str, Any] = {}
        for name in _OF_ITEMS:
            array = getattr(self, name)
            if array is not None and (len(array) > 1 or name in _OF_EACH):
                own[name] = array[rows]
        if self.phase.ndim == 4:
            own["phase"] = self.phase[rows]
        return replace(self, **own, batch=(len(rows),))

    def gathered(self, amplitudes: np.ndarray, some: np.ndarray) -> tuple[Problem, np.ndarray]:
        """The problem of some elements, with L more that stay at 1 for what the others give.

        With amplitudes (B, N) the others give G_0 and radiate V^H S_0 V; with S_0 = R^H R these are
        the channel G_0 R^{-1} and the phase R of L elements, R = I under `digital` power.  Returns
        that, with a phase (B, F, N, L) of each item, and its amplitudes.
        """
        rest = amplitudes.copy()
        rest[:, some] = 0.0
        surface = rest[:, None, :, None] * self.phase
        received, root = self.channel @ surface, np.eye(self.feeds, dtype=complex)
        if self.radiated:
            spent = surface.conj().swapaxes(-1, -2) @ surface
            guard = _GUARD * np.einsum("...ll->...", spent).real + np.finfo(float).tiny
            factor = np.linalg.cholesky(spent + guard[..., None, None] * root)
            root = factor.conj().swapaxes(-1, -2)
            received = np.linalg.solve(factor.conj(), received.swapaxes(-1, -2)).swapaxes(-1, -2)
        own = np.broadcast_to(self.channel[..., some], (*received.shape[:-1], len(some)))
        waves = np.broadcast_to(self.phase[:, some], (*surface.shape[:2], len(some), self.feeds))
        root = np.broadcast_to(root, (*surface.shape[:2], self.feeds, self.feeds))
        stuck = None if self.stuck is None else _padded(self.stuck[:, some], self.feeds, 1.0)
        few = replace(
            self,
            channel=np.concatenate([own, received], axis=-1).astype(self.channel.dtype, "C"),
            phase=np.ascontiguousarray(np.concatenate([waves, root], axis=-2)),
            stuck=stuck,
            start=None,
        )
        return few, _padded(amplitudes[:, some], self.feeds, 1.0)

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

    def same_start(self, seed: int, index: int) -> np.ndarray:
        """Bright amplitudes or angles (1 or B, N), the same of every item."""
        draws = np.random.default_rng([seed, index]).random((1, self.elements))
        return self.placed(self.hardware.random(draws, DIMMEST))

    def some_angles(self) -> np.ndarray:
        """Weights (1 or B, N) at random angles, the same in every problem."""
        return self.same_start(0, 0)

    def shaped(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays (B, ...) of what was found, by name, for the batch and elements of the caller."""
        shaped = {}
        for name, array in arrays.items():
            if name == "history":
                array = array[:, : int(arrays["iterations"].max(initial=0)) + 1]
            elif name == "amplitudes" and self.ends:
                array = array[:, : -self.ends]
            elif name in _OF_CHANNELS and not self.several:
                array = array[:, 0]
            shaped[name] = np.ascontiguousarray(array).reshape(self.batch + array.shape[1:])
        return shaped


def _padded(array: np.ndarray, count: int, value: float) -> np.ndarray:
    """With ``count`` more values at the end of the last dimension."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, count)], constant_values=value)


def taken(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array (1 or B, ...), or what all items share."""
    return array if len(array) == 1 else array[rows]


def _unit(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights with a largest of one, all one where all are zero, and that largest."""
    heaviest = np.max(weights, axis=-1, keepdims=True)
    unit = np.divide(weights, heaviest, out=np.ones_like(weights), where=heaviest > 0.0)
    return unit, heaviest[..., 0]


@lru_cache(maxsize=64)
def _equal(users: int) -> tuple[np.ndarray, np.ndarray]:
    """The weights of users who have none, and their largest; read-only."""
    weights, heaviest = np.ones((1, users)), np.ones(1)
    weights.flags.writeable = heaviest.flags.writeable = False
    return weights, heaviest


def _phase(value: ArrayLike) -> np.ndarray:
    waves = as_numbers("phase", value)
    if waves.ndim not in (2, 3):
        raise ValueError(f"phase: expected (N, L) or (F, N, L), got {waves.shape}")
    as_numbers("phase", waves, "NL")
    if not (good := np.isfinite(waves)).all():
        raise bad_value("phase", waves, good, "finite values")
    return waves


def _check_fit(channel: tuple[int, ...], waves: tuple[int, ...]) -> None:
    """Raise if channels of a shape are not those of as many elements, or channels, as the phase."""
    each = len(waves) == 3 and waves[0] > 1
    if channel[-1] != waves[-2] or (each and waves[0] != channel[-3]):
        fits = f"N = {waves[-2]}" + (f" and F = {waves[0]}" if each else "")
        raise ValueError(f"channel: expected (..., K, N) with {fits} to match phase, got {channel}")


def _per_user(argument: str, value: ArrayLike, users: int, scalar: bool = False) -> np.ndarray:
    """Values (..., K); one for all users where that is allowed."""
    array = as_values(argument, value, NOT_NEGATIVE)
    if not (scalar or array.ndim) or (array.ndim and array.shape[-1] != users):
        expected = f"{argument}: expected {'a scalar or ' * scalar}(..., K) with K = {users}"
        raise ValueError(f"{expected} to match channel, got {array.shape}")
    return array if array.ndim else np.full(users, array)


def _equal_noise(channel: np.ndarray, user_noise: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Channels (..., F, K, N) in which all users have the least noise of all, and that (...)."""
    noise, users = as_values("user_noise", user_noise, POSITIVE), channel.shape[-2]
    if not noise.ndim or noise.shape[-1] != users:
        raise ValueError(f"user_noise: expected (..., K) with K = {users}, got {noise.shape}")
    common_batch("user_noise", channel.shape[:-3], noise.shape[:-1])
    least = noise.min(axis=-1)
    scale = np.sqrt(least[..., None] / noise).astype(channel.real.dtype)
    return channel * scale[..., None, :, None], least


def _with_direct(
    channel: np.ndarray, waves: np.ndarray, direct: ArrayLike, several: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Channel and phase of a surface with L more elements, each the end of a feed, all on.

    G = H diag(q) Phi + D is that of the channel [H D] and the phase [Phi; I].
    """
    d = as_numbers("direct", direct)
    feeds, core = waves.shape[-1], 3 if several else 2
    wanted = (*channel.shape[-3 if several else -2 : -1], feeds)
    if d.ndim < core or d.shape[d.ndim - core :] != wanted:
        letters = "F, K, L" if several else "K, L"
        raise ValueError(f"direct: expected (..., {letters}) with {wanted}, got {d.shape}")
    d = d if several else d[..., None, :, :]
    lead = common_batch("direct", channel.shape[:-3], d.shape[:-3])
    parts = [np.broadcast_to(x, lead + x.shape[-3:]) for x in (channel, d)]
    ends = np.broadcast_to(np.eye(feeds), (*waves.shape[:-2], feeds, feeds))
    extended = np.concatenate(parts, axis=-1).astype(channel.dtype)
    return extended, np.concatenate([waves, ends], axis=-2)


def _stuck(value: ArrayLike, size: int, turned: bool) -> np.ndarray:
    """Weights (..., N) of stuck elements, NaN for those that move."""
    weights = as_numbers("broken", value, kinds="biufc" if turned else "biuf")
    weights = weights.astype(complex if turned else float)
    if not weights.ndim or weights.shape[-1] != size:
        raise ValueError(f"broken: expected (..., N) with N = {size}, got {weights.shape}")
    good = np.isnan(weights) | (np.abs(weights) <= 1.0 + 1e-6 * turned)
    if not turned:
        good &= ~(weights < 0.0)
    if not good.all():
        expected = f"NaN or values in {'the unit disc' if turned else '[0, 1]'}"
        raise bad_value("broken", weights, good, expected)
    return weights


def _feed_limits(value: ArrayLike, feeds: int) -> np.ndarray:
    """Limits (..., L) of the feeds' power; infinity for none."""
    limits = as_values("feed_power", value, LIMIT)
    if limits.ndim and limits.shape[-1] != feeds:
        raise ValueError(
            f"feed_power: expected a scalar or (..., L) with L = {feeds}, got {limits.shape}"
        )
    return limits if limits.ndim else np.full(feeds, limits)
