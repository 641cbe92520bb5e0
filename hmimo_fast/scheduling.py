"""Who is served: greedy, local and exhaustive search over user sets, with any solver inside.

A search proposes user sets, `_tried` solves them in batches, `_adopt` keeps the better ones.
Users of a set are always in ascending order and an item's starting amplitudes are always the
same, so that a set's outcome is the same in every search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .kernels import effective_channel, sinr, water_filling
from .kernels.edge import as_array
from .solvers import (
    METHODS,
    SLACK,
    _broadcast,
    _given_start,
    _levels,
    _method,
    _problem,
    _random_start,
    _reals,
    attempt,
)
from .solvers.problem import Problem, quiet

__all__ = ["Schedule", "schedule"]

Progress = Callable[[int, int], object]

#: Methods whose user sets are tried with floored water-filling too, unless told otherwise.
_RESCUED = ("joint", "zf")
#: A minimum rate counts as met within this, in bit/s/Hz, in either precision.
_SLACK = 1e-9
#: Most users of an exhaustive search: 4095 sets.
_MOST = 12
#: Most channel values and most sets of one batched solve, and most items of a block of sets.
_VALUES, _SETS, _ITEMS = 2**20, 4096, 1024
#: Most rounds of moves in a local search, where a handful is what they take, and most moves that
#: are solved in a round: all there are up to K = 8.
_ROUNDS, _MOVES = 100, 32
#: What amplitudes leave of the gain of an array with a phase shifter an element, roughly.
_GAIN = 0.1
#: Most sets of an exhaustive search that are all solved without asking which can win.
_UNPRUNED = 256
#: By how much a computed rate may seem to use more than the power.
_ROUNDING = 1.001
#: Keeps parallel channels apart, in units of their length.
_GUARD = 1e-9


@dataclass(frozen=True)
class Schedule:
    """Users served, amplitudes and beams; arrays with the batch's leading dimensions.

    With one m for F channels, ``digital`` and ``rates`` have a dimension F before their last two
    or one, and ``sum_rate`` is the sum over the channels too.

    Where no user set meets its minimum rates nobody is served and all is zero, which the next
    slot takes as all on if it is handed the amplitudes as its ``start``; where the channel is not
    finite, ``rates`` and ``sum_rate`` are NaN.

    Attributes
    ----------
    served : (..., K) bool
        Users served, at most L.
    amplitudes : (..., N) real
        Radiation amplitudes m in [0, 1].
    digital : (..., L, K) complex
        Digital beamformer V at the power, zero columns for users not served; (..., N, K) for
        ``fully_digital``.
    rates : (..., K) real
        Unweighted rate of every user in bit/s/Hz, at least its minimum (on the mean of F
        channels), 0 where not served.
    sum_rate : (...) float64
        Weighted sum rate in bit/s/Hz.
    feasible : (...) bool
        Whether somebody is served, and so every one of them at least at its minimum rate.
    search, method, accept, constraint : str
        As asked for.
    """

    served: np.ndarray
    amplitudes: np.ndarray
    digital: np.ndarray
    rates: np.ndarray
    sum_rate: np.ndarray
    feasible: np.ndarray
    search: str
    method: str
    accept: str
    constraint: str


@dataclass(frozen=True)
class _Task:
    """B items and how a user set of theirs is solved."""

    channel: np.ndarray  # (B, F, K, N)
    phase: np.ndarray  # (1 or F, N, L)
    power: np.ndarray  # (B,)
    noise_power: np.ndarray  # (B,)
    weights: np.ndarray  # (B, K), the largest one
    heaviest: np.ndarray  # (B,), the largest as given
    min_rate: np.ndarray  # (B, K)
    first: np.ndarray  # (B, N), amplitudes of greedy's order
    given: bool  # whether the solves start there too
    finite: np.ndarray  # (B,)
    batch: tuple[int, ...]  # B unflattened
    rescue: bool
    method: str
    radiated: bool
    threads: int | None
    states: np.ndarray | None  # amplitudes that the hardware can take
    options: dict[str, Any]  # of the method

    @property
    def most(self) -> int:
        """Most users that can be served."""
        return min(self.channel.shape[-2], self.phase.shape[-1])


@dataclass(frozen=True)
class _Choice:
    """A user set for each of T items and what it reaches."""

    served: np.ndarray  # (T, K)
    amplitudes: np.ndarray  # (T, N)
    digital: np.ndarray  # (T, F, L, K)
    rates: np.ndarray  # (T, F, K)
    score: np.ndarray  # (T,) weighted sum rate, -inf where a minimum rate is missed


@quiet
def schedule(
    channel: ArrayLike,
    phase: ArrayLike,
    power: ArrayLike = 1.0,
    noise_power: ArrayLike = 0.1,
    min_rate: ArrayLike = 1.0,
    search: str = "greedy",
    method: str = "joint",
    accept: str = "qos",
    constraint: str = "radiated",
    weights: ArrayLike | None = None,
    seed: int = 0,
    threads: int | None = None,
    *,
    user_noise: ArrayLike | None = None,
    start: ArrayLike | None = None,
    levels: int | ArrayLike | None = None,
    shared: bool = False,
    rescue: bool | None = None,
    progress: Progress | None = None,
    check_finite: bool = False,
    **options: Any,
) -> Schedule:
    """Choose who is served, with amplitudes and beams, under a minimum rate for each served user.

    ``search="greedy"`` is paper B, Algorithm 2 (arXiv 2502.17408): users are sorted by the rate
    they have at starting amplitudes with matched beams g_k^H / ||g_k|| at power P / K each, in
    descending order, ties by index.  One after the other is added tentatively, amplitudes and
    beams are solved anew, and the user stays if every served user has its own minimum rate.

    ``search="local"`` then drops, adds or swaps one user, whichever raises the sum rate most,
    until no such move raises it; where there are more than 32 moves, the 32 are solved that have
    the highest sum rate by zero forcing on the channels themselves.  ``search="exhaustive"``
    solves every user set that may have the highest sum rate and takes the one that has (ties:
    more users, then the first).  Both are derived here.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channels as they act, one row a user; complex64 is solved in single precision.  With
        ``shared`` or a phase of three dimensions, (..., F, K, N): one amplitude vector and one
        user set for F channels, as in `solve`.
    phase : (N, L) or (F, N, L) complex
        Reference wave of each feed at each element, finite; at most L users are served.
    power, noise_power : (...) real
        Transmit and noise power, linear, in the same unit; each value is a problem's own, so that
        (K,) with the channel of one problem makes K problems.
    min_rate : scalar or (..., K) real
        Minimum rate of each user in bit/s/Hz, unweighted, if it is served; on the mean of its
        rates where there are F channels.
    search : {"greedy", "local", "exhaustive"}
        How user sets are searched; ``exhaustive`` for K <= 12 (63 solves for 6 users, up to
        4095 for 12, with as many feeds).
    method : str
        Solver of a user set, as in `solve`.
    accept : {"qos", "rate"}
        When ``greedy``, and with it the start of ``local``, keeps a user: if all minimum rates
        are met (paper B), or only if the sum rate rises as well.  Moves of ``local`` and
        ``exhaustive`` go by the sum rate under either.
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10); results under the
        two are not comparable.
    weights : (..., K) real, optional
        Weights of the users' rates in the sum rate and in the order of ``greedy``, 1 by default.
        As in `solve`, a common factor changes only ``sum_rate``, and weights that are all zero
        are equal ones, but for a ``sum_rate`` of 0.
    seed : int
        Seed of the random starting amplitudes; an item's depend on its index alone.
    threads : int, optional
        Most threads to use.
    user_noise : (..., K) real, optional
        Noise power of each user, as of receivers with noise figures of their own, in place of
        ``noise_power``.
    start : (..., N) real, optional
        Starting amplitudes, for the order of ``greedy`` and for every solve; all off is taken as
        all on.  By default they are uniform in [0, 1], the same for all solves of an item, as
        published; ``joint`` and ``zf`` take them for the order alone and solve from all elements
        on.
    levels : int or (levels,) real, optional
        Amplitudes the hardware can take, as in `solve`; every user set is solved at them, so that
        the minimum rates hold there.
    shared : bool
        Whether the channel has a dimension F.
    rescue : bool, optional
        Whether a user set that misses a minimum rate is solved again under the minimum rates, as
        in `solve`, before it is turned down.  By default for ``joint`` and ``zf``, whose sum-rate
        solutions starve users, and not for methods that run as published: their zero forcing
        gives all users one rate, so that it would change something only where minimum rates
        differ or the channel is rank-deficient.  Never with a dimension F, where minimum rates
        are on the mean.
    progress : callable, optional
        Called as ``progress(done, total)`` between batched steps; the unit is the search's own.
    check_finite : bool
        Raise if a channel holds a NaN or an infinity; by default such items are marked.
    **options
        Of the method, as in `solve`.

    Returns
    -------
    Schedule
        Users served, amplitudes, beams and rates of every item, in the channel's precision.

    Raises
    ------
    ValueError
        If shapes do not fit, a parameter is out of range, a search, method, accept rule or
        constraint is unknown, an exhaustive search has more than 12 users, or
        ``fully_digital`` is given levels.
    TypeError
        If an argument does not hold numbers or an option is not the method's.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(6, 6), feeds=4)
    >>> channel = hf.channels.sparse_mmwave(surface, users=8, size=10, seed=1)
    >>> ours = hf.schedule(channel, surface.phase, min_rate=1.0, search="local")
    >>> theirs = hf.schedule(channel, surface.phase, min_rate=1.0, method="alternating")
    >>> bool(ours.served.sum(axis=-1).max() <= 4)
    True
    >>> bool((ours.rates[ours.served] >= 1.0 - 1e-9).all())
    True
    >>> bool(ours.sum_rate.mean() > theirs.sum_rate.mean())
    True
    """
    _one_of("search", search, ("greedy", "local", "exhaustive"))
    _one_of("accept", accept, ("qos", "rate"))
    _method(method, options)
    several = shared or np.ndim(phase) == 3
    problem = _problem(
        channel, phase, power, noise_power, user_noise, weights, constraint, several, threads,
        check_finite,
    )  # fmt: skip
    rescue = not several and (method in _RESCUED if rescue is None else rescue)
    states = None if levels is None else _levels(levels, method)
    task = _task(problem, min_rate, start, seed, rescue, method, states, options)
    best = _searched(task, search, accept == "rate", progress or _silent)
    feasible = best.score > -np.inf
    score = np.where(feasible, best.score, 0.0)
    nan = best.rates.dtype.type(np.nan)
    rates = np.where(task.finite[:, None, None], best.rates, nan)

    def shaped(array: np.ndarray) -> np.ndarray:
        return array.reshape((*task.batch, *array.shape[1:]))

    return Schedule(
        served=shaped(best.served),
        amplitudes=shaped(best.amplitudes),
        digital=shaped(best.digital if several else best.digital[:, 0]),
        rates=shaped(rates if several else rates[:, 0]),
        sum_rate=shaped(np.where(task.finite, task.heaviest * score, np.nan)),
        feasible=shaped(feasible),
        search=search,
        method=method,
        accept=accept,
        constraint=constraint,
    )


def _one_of(argument: str, value: Any, names: tuple[str, ...]) -> None:
    if value not in names:
        raise ValueError(
            f"{argument}: expected one of {', '.join(map(repr, names))}, got {value!r}"
        )


def _silent(done: int, total: int) -> None:
    pass


def _task(
    problem: Problem,
    min_rate: ArrayLike,
    start: ArrayLike | None,
    seed: int,
    rescue: bool,
    method: str,
    states: np.ndarray | None,
    options: dict[str, Any],
) -> _Task:
    """Check the arguments and spread them over a flat batch."""
    h, phase = problem.channel, problem.phase
    floor = as_array("min_rate", min_rate)
    batch = _broadcast("min_rate", problem.batch, floor.shape[:-1])
    if start is None:
        first = _random_start(replace(problem, batch=batch), seed, 0)
    else:
        first = _given_start(problem, start)
        batch = _broadcast("start", batch, first.shape[:-1])
    users, elements = h.shape[-2:]
    kind = np.complex64 if h.dtype.newbyteorder("=") == np.complex64 else np.complex128
    h = np.broadcast_to(h, (*batch, *h.shape[-3:])).reshape(-1, *h.shape[-3:])
    finite = np.isfinite(h).all(axis=(-3, -2, -1))
    weights, heaviest = problem.unit_weights()
    return _Task(
        channel=np.where(finite[:, None, None, None], h, 0).astype(kind),
        phase=phase,
        power=np.broadcast_to(problem.power, batch).reshape(-1),
        noise_power=np.broadcast_to(problem.noise_power, batch).reshape(-1),
        weights=np.broadcast_to(1.0 if weights is None else weights, (*batch, users)).reshape(
            -1, users
        ),
        heaviest=np.broadcast_to(heaviest, batch).reshape(-1),
        min_rate=_per_user("min_rate", floor, batch, users),
        first=np.broadcast_to(first, (*batch, elements)).reshape(-1, elements),
        given=start is not None or METHODS[method][1],
        finite=finite,
        batch=batch,
        rescue=rescue,
        method=method,
        radiated=problem.radiated,
        threads=problem.threads,
        states=states,
        options=options,
    )


def _per_user(argument: str, value: ArrayLike, batch: tuple[int, ...], users: int) -> np.ndarray:
    """Values over the users of the flat batch (B, K)."""
    array = _reals(argument, value)
    if not ((array >= 0.0) & (array < np.inf)).all():
        raise ValueError(f"{argument}: expected values finite and at least 0, got {value!r}")
    if array.ndim and array.shape[-1] != users:
        raise ValueError(
            f"{argument}: expected (..., K) with K = {users} to match channel, got {array.shape}"
        )
    return np.broadcast_to(array, (*batch, users)).reshape(-1, users)


def _searched(task: _Task, search: str, rising: bool, report: Progress) -> _Choice:
    """The best user set that the search finds for each item."""
    best = _nobody(task)
    items, _, users, _ = task.channel.shape
    if search == "exhaustive":
        _exhaustive(task, best, report)
    elif search == "local":
        _greedy(task, best, rising, report, users + items)
        _local(task, best, report, users + items)
    else:
        _greedy(task, best, rising, report, users)
    return best


def _nobody(task: _Task) -> _Choice:
    """No user served in any item."""
    items, channels, users, elements = task.channel.shape
    chains = elements if task.method == "fully_digital" else task.phase.shape[-1]
    real = task.channel.real.dtype
    return _Choice(
        served=np.zeros((items, users), bool),
        amplitudes=np.zeros((items, elements), real),
        digital=np.zeros((items, channels, chains, users), task.channel.dtype),
        rates=np.zeros((items, channels, users), real),
        score=np.full(items, -np.inf),
    )


def _order(task: _Task) -> np.ndarray:
    """Users (B, K) by their weighted rate with matched beams at the first m, descending.

    In double precision throughout, so that the order is the same in both.
    """
    channel, start = task.channel.astype(complex), task.first[:, None, :]
    beams = effective_channel(channel, start, task.phase).conj().swapaxes(-1, -2)
    carrier = (start[..., None] * task.phase) @ beams if task.radiated else beams
    norm = np.linalg.norm(carrier, axis=-2)
    share = np.sqrt(task.power / channel.shape[-2])[:, None, None]
    scale = np.divide(share, norm, out=np.zeros_like(norm), where=norm > 0.0)
    noise_power = task.noise_power[:, None]
    ratio = sinr(channel, start, task.phase, beams * scale[..., None, :], noise_power)
    rates = np.log1p(ratio).sum(axis=-2)
    return np.argsort(-task.weights * rates, axis=-1, kind="stable")


def _greedy(task: _Task, best: _Choice, rising: bool, report: Progress, total: int) -> None:
    """Add users in descending order, each for good or not at all ([B] Algorithm 2)."""
    order = _order(task)
    for step in range(order.shape[1]):
        items = np.flatnonzero(task.finite & (best.served.sum(axis=-1) < task.most))
        served = best.served[items]
        served[np.arange(len(items)), order[items, step]] = True
        for part, choice in _tried(task, items, served):
            _adopt(best, part, choice, rising)
        report(step + 1, total)


def _exhaustive(task: _Task, best: _Choice, report: Progress) -> None:
    """Try every set of at most L users that may be the best."""
    users = task.channel.shape[-2]
    if users > _MOST:
        raise ValueError(
            f"channel: expected at most K = {_MOST} users for an exhaustive search, got K = {users}"
        )
    sets = np.array(list(product((True, False), repeat=users)))
    size = sets.sum(axis=-1)
    sets = sets[(size > 0) & (size <= task.most)]
    items = np.flatnonzero(task.finite)
    for first in range(0, len(items), _ITEMS):
        block = items[first : first + _ITEMS]
        unbeaten = _unbeaten(task, block, sets)
        repeated = np.repeat(block, [len(each) for each in unbeaten])
        done = (first + len(block)) * len(sets) - len(repeated)
        for part, choice in _tried(task, repeated, np.concatenate(unbeaten)):
            _adopt(best, part, choice, rising=True)
            done += len(part)
            report(done, len(items) * len(sets))


def _unbeaten(task: _Task, items: np.ndarray, sets: np.ndarray) -> list[np.ndarray]:
    """The sets of each item that are not bounded below the best of the most promising few.

    Of 2509 sets (K = 12, L = 6) it saves 2 to 30 % of the time on 64 elements, and on all of
    Munich's 1024 half of it or more; of a few hundred it saves nothing.
    """
    if len(sets) <= _UNPRUNED:
        return [sets] * len(items)
    few = [_promising(task, item, sets) for item in items]
    reached = np.full(len(task.channel), -np.inf)
    for part, choice in _tried(task, np.repeat(items, len(few[0])), np.concatenate(few)):
        np.maximum.at(reached, part, choice.score)
    return [sets[_bound(task, item, sets) >= reached[item]] for item in items]


def _bound(task: _Task, item: int, sets: np.ndarray) -> np.ndarray:
    """Weighted sum rates that no amplitudes and beams exceed, one for each set of an item.

    User k's beam arrives with at most norm(h_k)^2 p_k, p_k = norm(diag(m) Phi v_k)^2
    (Cauchy-Schwarz), and interference only takes from its rate, so that it stays below
    log2(1 + norm(h_k)^2 p_k / sigma^2).  The p_k add up to at most P under `radiated` power, and
    under `digital` power to sigma_max(Phi)^2 P, as no m is above 1.  Water-filling is the
    maximum over them.
    """
    power = _ROUNDING * task.power[item] * np.ones((len(task.phase), 1))
    if not task.radiated and task.method != "fully_digital":
        power *= np.linalg.norm(task.phase, 2, axis=(-2, -1))[:, None] ** 2
    with np.errstate(divide="ignore"):
        cost = 1.0 / np.linalg.norm(task.channel[item].astype(complex), axis=-1) ** 2
    cost = np.where(sets, cost[:, None, :], np.inf)  # (F, sets, K)
    weights, noise_power = np.where(sets, task.weights[item], 0.0), task.noise_power[item]
    received, _ = water_filling(cost, power, noise_power, weights)
    return np.asarray(np.sum(weights * np.log2(1.0 + received / noise_power), axis=(0, -1)))


def _local(task: _Task, best: _Choice, report: Progress, total: int) -> None:
    """Make the best move of each item until none raises its sum rate."""
    users = task.channel.shape[-2]
    one = np.eye(users, dtype=bool)
    i, j = np.triu_indices(users, 1)
    flips = np.concatenate([one, one[i] ^ one[j]])
    items = np.flatnonzero(task.finite)
    for _ in range(_ROUNDS):
        before = best.score[items]
        for first in range(0, len(items), _ITEMS):
            block = items[first : first + _ITEMS]
            moves = [
                _promising(task, item, _moves(best.served[item], flips, task.most))
                for item in block
            ]
            repeated = np.repeat(block, [len(m) for m in moves])
            for part, choice in _tried(task, repeated, np.concatenate(moves)):
                _adopt(best, part, choice, rising=True)
        items = items[best.score[items] > before]
        report(total - len(items), total)
        if not len(items):
            return


def _moves(served: np.ndarray, flips: np.ndarray, most: int) -> np.ndarray:
    """Sets one drop, add or swap away: one flip, or two that leave the size as it is."""
    moved = served ^ flips
    size = moved.sum(axis=-1)
    swap_or_single = (flips.sum(axis=-1) == 1) | (size == served.sum())
    return moved[swap_or_single & (size > 0) & (size <= most)]


def _promising(task: _Task, item: int, sets: np.ndarray) -> np.ndarray:
    """The sets of one item that promise most, at most `_MOVES`, the best first.

    A set promises the sum rate of water-filled zero forcing from every element, which needs only
    the inner products of the channels.  Amplitudes are shaped to whom they serve, so that rates
    at those of another set say little: over the 640 swaps of eight users in Munich the promise
    correlates with the solved rate by 0.6, WMMSE at the present amplitudes by 0.0.
    """
    if len(sets) <= _MOVES:
        return sets
    channel = task.channel[item].astype(complex)
    length = np.linalg.norm(channel, axis=-1)
    unit = channel / np.where(length > 0.0, length, 1.0)[..., None]
    everywhere = np.ones(unit.shape[-1])
    cosines = effective_channel(unit, everywhere, unit.conj().swapaxes(-1, -2))
    cosines += _GUARD * np.eye(unit.shape[-2])
    power = _GAIN * task.power[item]
    if not task.radiated:
        power *= np.linalg.norm(task.phase) ** 2 / (len(task.phase) * task.phase.shape[-1])
    promise = np.empty(len(sets))
    size = sets.sum(axis=-1)
    for count in np.unique(size):
        rows = np.flatnonzero(size == count)
        users = np.nonzero(sets[rows])[1].reshape(-1, count)
        inverse = np.linalg.inv(cosines[:, users[:, :, None], users[:, None, :]])
        with np.errstate(divide="ignore"):
            cost = np.diagonal(inverse, axis1=-2, axis2=-1).real / length[:, users] ** 2
        noise_power, weights = task.noise_power[item], task.weights[item, users]
        received, _ = water_filling(cost, power, noise_power, weights, task.min_rate[item, users])
        promise[rows] = np.sum(weights * np.log1p(received / noise_power), axis=(0, -1))
    return sets[np.argsort(-promise, kind="stable")[:_MOVES]]


def _tried(
    task: _Task, items: np.ndarray, served: np.ndarray
) -> Iterator[tuple[np.ndarray, _Choice]]:
    """Solve user sets (T, K) of items (T,), those of equal size together, the larger first."""
    size = served.sum(axis=-1)
    for users in np.unique(size)[::-1]:
        rows = np.flatnonzero(size == users)
        length = max(1, min(_SETS, _VALUES // (users * task.channel[0, :, 0].size)))
        for first in range(0, len(rows), length):
            part = rows[first : first + length]
            yield items[part], _solved(task, items[part], served[part])


def _solved(task: _Task, items: np.ndarray, served: np.ndarray) -> _Choice:
    """Amplitudes and beams for user sets of equal size."""
    users = np.nonzero(served)[1].reshape(len(items), -1)
    rows = items[:, None]
    floor = task.min_rate[rows, users]
    # `solve` may stay below a minimum by its slack, who is served may not.
    slack = SLACK[task.channel.real.dtype.char]
    problem = Problem(
        channel=task.channel.swapaxes(1, 2)[rows, users].swapaxes(1, 2),
        phase=task.phase,
        power=task.power[items],
        noise_power=task.noise_power[items],
        weights=task.weights[rows, users],
        radiated=task.radiated,
        batch=(len(items),),
        threads=task.threads,
        min_rate=floor + slack if task.rescue else None,
    )
    start = task.first[items] if task.given else np.ones(task.first.shape[-1])
    solution = attempt(problem, task.method, start, task.options, task.states)
    reached = solution.rates.mean(axis=-2)
    met = np.isfinite(solution.sum_rate) & (reached >= floor - _SLACK).all(axis=-1)
    digital = np.zeros((*solution.digital.shape[:-1], served.shape[-1]), solution.digital.dtype)
    np.put_along_axis(digital, users[:, None, None, :], solution.digital, axis=-1)
    rates = np.zeros((*solution.rates.shape[:-1], served.shape[-1]), solution.rates.dtype)
    np.put_along_axis(rates, users[:, None, :], solution.rates, axis=-1)
    score = np.where(met, solution.sum_rate, -np.inf)
    return _Choice(served, solution.amplitudes, digital, rates, score)


def _adopt(best: _Choice, items: np.ndarray, choice: _Choice, rising: bool) -> None:
    """Write each item's best set over what it has, if that is feasible and, maybe, higher."""
    order = np.lexsort((-choice.score, items))  # stable: the first of equals wins
    winners, first = np.unique(items[order], return_index=True)
    rows = order[first]
    wins = choice.score[rows] > (best.score[winners] if rising else -np.inf)
    for field in fields(_Choice):
        getattr(best, field.name)[winners[wins]] = getattr(choice, field.name)[rows[wins]]
