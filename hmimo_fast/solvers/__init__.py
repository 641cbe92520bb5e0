"""From a channel to amplitudes and beams: `solve`, one module an algorithm.

Each solver runs from given starting amplitudes; `solve` draws the starts, keeps the best,
rates it and marks what is feasible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..kernels import sinr
from ..kernels.edge import as_array
from .alternating import alternating, random
from .floors import UNREACHABLE, under_floors
from .fully_digital import fully_digital
from .hbf import wmmse_hbf, zf_hbf
from .levels import as_levels, quantized
from .network import mbdnn
from .problem import SLACK, Found, Problem, Solution, meets, quiet
from .rounding import rounded
from .variable_projection import joint, zf

__all__ = ["METHODS", "SLACK", "Solution", "solve"]

#: Solvers by name, and whether their first start is random (all elements on otherwise).
METHODS: dict[str, tuple[Callable[..., Found], bool]] = {
    "random": (random, True),
    "alternating": (alternating, True),
    "zf": (zf, False),
    "joint": (joint, False),
    "zf_hbf": (zf_hbf, True),
    "wmmse_hbf": (wmmse_hbf, True),
    "fully_digital": (fully_digital, False),
    "mbdnn": (mbdnn, False),
}

#: Least amplitude of random starts where the first start is all on.
_DIMMEST = 0.5


@quiet
def solve(
    channel: ArrayLike,
    phase: ArrayLike,
    power: ArrayLike = 1.0,
    noise_power: ArrayLike = 0.1,
    method: str = "joint",
    constraint: str = "radiated",
    weights: ArrayLike | None = None,
    min_rate: ArrayLike | None = None,
    starts: int = 1,
    start: ArrayLike | None = None,
    seed: int = 0,
    threads: int | None = None,
    *,
    user_noise: ArrayLike | None = None,
    levels: int | ArrayLike | None = None,
    callback: Callable[[int, int, Solution], Any] | None = None,
    shared: bool = False,
    check_finite: bool = False,
    **options: Any,
) -> Solution:
    """Choose amplitudes and digital beams for the highest weighted sum rate.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channels as they act, one row a user.  With ``shared`` or a phase of three dimensions,
        (..., F, K, N): one amplitude vector for F channels, whose rates add up and each of
        which has the power to itself.
    phase : (N, L) or (F, N, L) complex
        Reference wave of each feed at each element, finite.
    power, noise_power : (...) real
        Transmit and noise power, linear, in the same unit; each value is a problem's own, so that
        (K,) with the channel of one problem makes K problems.
    method : str
        ``"joint"`` (variable projection, ours, the default), ``"zf"`` (its first stage alone),
        ``"alternating"`` (paper B, Algorithm 1), ``"random"`` (paper B's benchmark),
        ``"wmmse_hbf"`` and ``"zf_hbf"`` (paper A's baselines),
        ``"mbdnn"`` (paper A's network, with PyTorch), or
        ``"fully_digital"`` (N RF chains, the yardstick above all).
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10); results under the
        two are not comparable.
    weights : (..., K) real, optional
        Weights of the users' rates, 1 by default.  A common factor changes nothing but
        ``sum_rate`` and ``history``; weights that are all zero are solved as equal ones, and have
        a ``sum_rate`` of 0.
    min_rate : scalar or (..., K) real, optional
        Minimum rate of each user in bit/s/Hz, unweighted, in each channel.  An item that misses
        one is solved again under them: by ``joint`` and ``zf`` over the amplitudes too, by the
        other methods at the amplitudes they found.  Where that meets no more, it comes back as
        without minimum rates, with ``feasible`` False and ``common_rate`` for what can be asked
        of all users.
    starts : int
        Runs from this many starts, the best of which is kept; all but the first are random,
        uniform on [0, 1], or on [0.5, 1] for ``zf`` and ``joint``.
    start : (..., N) real, optional
        The first start, for example the amplitudes of the channel a moment ago; by default all
        elements on, or random for the published methods.  Nothing is received from elements that
        are all off, nor any derivative: such a start is taken as all on.  ``zf`` and ``joint``
        fit it to the channel first, but for ``joint`` with ``zf_iterations=0``, which keeps to it.
    seed : int
        Seed of the random starts; an item's depends on its index in the batch alone.
    threads : int, optional
        Most threads to use.
    user_noise : (..., K) real, optional
        Noise power of each user, as of receivers with noise figures of their own, in place of
        ``noise_power``.
    levels : int or (levels,) real, optional
        Amplitudes the hardware can take: a number of bits b for 2^b even levels from 0 to 1
        (1 is on or off), or the levels themselves.  Each run's amplitudes are scaled, rounded
        and refined element by element, with beams as ``joint`` has them, whatever the method.
        ``history``, ``iterations`` and ``converged`` tell of the continuous run.
    callback : callable, optional
        Called as ``callback(done, starts, best_so_far)`` after every start.  Within a start
        the loops do not return to Python: see ``history`` for the rates of its iterates.
    shared : bool
        Whether the channel has a dimension F.
    check_finite : bool
        Raise if a channel holds a NaN or an infinity; by default such items are marked
        (NaN rate, ``feasible`` and ``converged`` False).
    **options
        Of the method: ``iterations`` and ``tolerance`` (all but random and mbdnn),
        ``zf_iterations``, ``candidates``, ``finalists``, ``sweeps`` (joint), ``step``,
        ``backtracking``, ``inner`` (alternating), ``polish``, ``model`` (mbdnn).

    Returns
    -------
    Solution
        Amplitudes, beams, SINR, rates and marks of every item, in the channel's precision.

    Raises
    ------
    ValueError
        If shapes do not fit, a parameter is out of range, a method or constraint is unknown, a
        zero-forcing method has more users than feeds, or ``fully_digital`` is given levels.
    TypeError
        If an argument does not hold numbers or an option is not the method's.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(6, 6), feeds=4)
    >>> channel = hf.channels.sparse_mmwave(surface, users=4, size=10, seed=1)
    >>> ours = hf.solve(channel, surface.phase, power=1.0, noise_power=0.1)
    >>> theirs = hf.solve(channel, surface.phase, 1.0, 0.1, method="alternating")
    >>> bool(ours.sum_rate.mean() > theirs.sum_rate.mean())
    True
    """
    random_first = _method(method, options)[1]
    starts, seed = _count("starts", starts, 1), _count("seed", seed, 0)
    several = shared or np.ndim(phase) == 3
    problem = _problem(
        channel, phase, power, noise_power, user_noise, weights, constraint, several, threads,
        check_finite,
    )  # fmt: skip
    if min_rate is not None:
        problem = replace(problem, min_rate=_min_rate(problem, min_rate))
    states = None if levels is None else _levels(levels, method)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback: expected a callable, got {callback!r}")
    if start is not None:
        first = _given_start(problem, start)
    elif random_first:
        first = _random_start(problem, seed, 0)
    else:
        first = np.ones(problem.channel.shape[-1])

    best = attempt(problem, method, first, options, states)
    fair = None if min_rate is None else _fair(problem, best, first, options, states)
    lowest = 0.0 if random_first else _DIMMEST
    for done in range(1, starts + 1):
        if done > 1:
            start = _random_start(problem, seed, done - 1, lowest)
            best = _better(best, attempt(problem, method, start, options, states))
        solution = best if fair is None else _with_common_rate(best, fair)
        solution = solution if several else _one_channel(solution)
        if callback is not None:
            callback(done, starts, solution)
    return solution


def attempt(
    problem: Problem,
    method: str,
    start: np.ndarray,
    options: dict[str, Any],
    states: np.ndarray | None = None,
) -> Solution:
    """One run from one start, and where it misses a minimum rate of the problem, one under them."""
    run, free = METHODS[method][0], replace(problem, min_rate=None)
    best = _rated(problem, _moved(free, run(free, start, **options), states), method)
    rows = np.flatnonzero(~best.feasible & np.isfinite(best.sum_rate))
    if problem.min_rate is None or not len(rows):
        return best
    part, starts = problem.flattened().items(rows), _rows(problem, start, rows)
    missed = _items(problem, best, rows)
    better = missed
    for found in under_floors(run, part, starts, _found(missed), options):
        other = _rated(part, _moved(part, found, states), method)
        higher = ~better.feasible | (other.sum_rate > better.sum_rate)
        better = _chosen(other.feasible & higher, other, better)
    return _replaced(problem, best, rows, better)


#: Fields of a solution that are arrays over the batch.
_ARRAYS = tuple(field.name for field in fields(Solution))[:-3]


def _one_channel(solution: Solution) -> Solution:
    """Without the dimension F."""
    return replace(
        solution,
        digital=solution.digital[..., 0, :, :],
        sinr=solution.sinr[..., 0, :],
        rates=solution.rates[..., 0, :],
    )


def _levels(levels: int | ArrayLike, method: str) -> np.ndarray:
    if method == "fully_digital":
        raise ValueError("levels: expected a method with amplitudes, got 'fully_digital'")
    return as_levels(levels)


def _method(name: str, options: dict[str, Any]) -> tuple[Callable[..., Found], bool]:
    if name not in METHODS:
        raise ValueError(f"method: expected one of {', '.join(map(repr, METHODS))}, got {name!r}")
    known = METHODS[name][0].__kwdefaults__ or {}
    for option in options:
        if option not in known:
            expected = ", ".join(known) or "none"
            raise TypeError(f"{option}: expected an option of method {name!r} ({expected})")
    return METHODS[name]


def _count(argument: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument}: expected an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected at least {least}, got {value!r}")
    return int(value)


def _problem(
    channel: ArrayLike,
    phase: ArrayLike,
    power: ArrayLike,
    noise_power: ArrayLike,
    user_noise: ArrayLike | None,
    weights: ArrayLike | None,
    constraint: str,
    several: bool,
    threads: int | None,
    check_finite: bool,
) -> Problem:
    if constraint not in ("radiated", "digital"):
        raise ValueError(f"constraint: expected 'radiated' or 'digital', got {constraint!r}")
    h, waves = _numbers("channel", channel), _numbers("phase", phase)
    if waves.ndim not in (2, 3):
        raise ValueError(f"phase: expected (N, L) or (F, N, L), got {waves.shape}")
    _require_sizes("channel", h, "FKN" if several else "KN")
    _require_sizes("phase", waves, "NL")
    _require_finite("phase", waves)
    if check_finite:
        _require_finite("channel", h)
    h = h if several else h[..., None, :, :]
    waves = waves if waves.ndim == 3 else waves[None]
    if h.shape[-1] != waves.shape[-2] or len(waves) not in (1, h.shape[-3]):
        fits = f"N = {waves.shape[-2]}" + (f" and F = {len(waves)}" if len(waves) > 1 else "")
        raise ValueError(
            f"channel: expected (..., K, N) with {fits} to match phase, got {np.shape(channel)}"
        )
    power, noise_power = _positive("power", power), _positive("noise_power", noise_power)
    if weights is not None:
        weights = _weights(weights, h.shape[-2])
    if user_noise is not None:
        h, noise_power = _equal_noise(h, user_noise)
    leading = {
        "channel": h.shape[:-3],
        "power": np.shape(power),
        "noise_power": np.shape(noise_power),
        "weights": np.shape(weights)[:-1] if weights is not None else (),
    }
    batch: tuple[int, ...] = ()
    for argument, shape in leading.items():
        batch = _broadcast(argument, batch, shape)
    return Problem(h, waves, power, noise_power, weights, constraint == "radiated", batch, threads)


def _weights(value: ArrayLike, users: int) -> np.ndarray:
    weights = _reals("weights", value)
    if not weights.ndim or weights.shape[-1] != users:
        raise ValueError(
            f"weights: expected (..., K) with K = {users} to match channel, got {weights.shape}"
        )
    if not ((weights >= 0.0) & (weights < np.inf)).all():
        raise ValueError(f"weights: expected values finite and at least 0, got {value!r}")
    return weights


def _equal_noise(channel: np.ndarray, user_noise: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Channels (..., F, K, N) in which all users have the least noise of all, and that (...)."""
    noise, users = _positive("user_noise", user_noise), channel.shape[-2]
    if not noise.ndim or noise.shape[-1] != users:
        raise ValueError(f"user_noise: expected (..., K) with K = {users}, got {noise.shape}")
    _broadcast("user_noise", channel.shape[:-3], noise.shape[:-1])
    least = noise.min(axis=-1)
    single = channel.dtype.newbyteorder("=") == np.complex64
    scale = np.sqrt(least[..., None] / noise).astype(np.float32 if single else float)
    return channel * scale[..., None, :, None], least


def _broadcast(argument: str, batch: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
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


def _require_finite(argument: str, array: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(f"{argument}: expected finite values, got {array[where]} at index {where}")


def _min_rate(problem: Problem, value: ArrayLike) -> np.ndarray:
    """Minimum rates (..., K) of every item."""
    floor = _reals("min_rate", value)
    if not ((floor >= 0.0) & (floor < np.inf)).all():
        raise ValueError(f"min_rate: expected values finite and at least 0, got {value!r}")
    if floor.ndim and floor.shape[-1] != problem.users:
        raise ValueError(
            f"min_rate: expected a scalar or (..., K) with K = {problem.users}, got {floor.shape}"
        )
    if floor.ndim:
        _broadcast("min_rate", problem.batch, floor.shape[:-1])
    return np.broadcast_to(floor, (*problem.batch, problem.users))


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


def _positive(argument: str, value: ArrayLike) -> np.ndarray:
    array = _reals(argument, value)
    if not ((array > 0.0) & (array < np.inf)).all():
        raise ValueError(f"{argument}: expected values positive and finite, got {value!r}")
    return array


def _given_start(problem: Problem, start: ArrayLike) -> np.ndarray:
    amplitudes = _reals("start", start)
    elements = problem.channel.shape[-1]
    if not amplitudes.ndim or amplitudes.shape[-1] != elements:
        raise ValueError(f"start: expected (..., N) with N = {elements}, got {amplitudes.shape}")
    bad = np.argwhere(~((amplitudes >= 0.0) & (amplitudes <= 1.0)))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(
            f"start: expected values in [0, 1], got {amplitudes[where]} at index {where}"
        )
    _broadcast("start", problem.batch, amplitudes.shape[:-1])
    off = ~amplitudes.astype(np.float32).any(axis=-1, keepdims=True)  # in either precision
    return np.where(off, 1.0, amplitudes)


def _random_start(problem: Problem, seed: int, index: int, lowest: float = 0.0) -> np.ndarray:
    """Uniform amplitudes; row i of the stream is item i's, whatever the batch."""
    shape = (*problem.batch, problem.channel.shape[-1])
    return np.random.default_rng([seed, index]).uniform(lowest, 1.0, shape)


def _moved(problem: Problem, found: Found, states: np.ndarray | None) -> Found:
    """What was found, at the amplitudes that the hardware can take."""
    return found if states is None else quantized(problem, found, states)


def _rated(problem: Problem, found: Found, method: str) -> Solution:
    """What was found, at its power and with its rates."""
    found = rounded(problem, found)
    ratio, rates = _rates(problem, found)
    feasible = np.isfinite(ratio).all(axis=(-2, -1))
    if problem.min_rate is not None:
        feasible &= meets(rates, problem.min_rate[..., None, :]).all(axis=(-2, -1))
    weights = 1.0 if problem.weights is None else np.asarray(problem.weights)[..., None, :]
    return Solution(
        amplitudes=found.amplitudes,
        digital=found.digital,
        sinr=ratio,
        rates=rates,
        sum_rate=np.asarray(np.sum(weights * rates, axis=(-2, -1), dtype=float)),
        feasible=np.asarray(feasible),
        iterations=np.asarray(found.iterations),
        converged=np.asarray(found.converged) & np.isfinite(ratio).all(axis=(-2, -1)),
        history=found.history,
        method=method,
        constraint="radiated" if problem.radiated else "digital",
    )


def _rates(problem: Problem, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """SINR and rates (..., F, K) of the beams as they are returned, computed in double."""
    p, digital = problem, found.digital.astype(complex)
    channel, amplitudes, phase = p.channel.astype(complex), found.amplitudes[..., None, :], p.phase
    if found.fully_digital:  # H W is its own effective channel
        channel = channel @ digital
        amplitudes, phase = np.ones(p.users), np.eye(p.users)
        digital = phase
    noise_power = np.asarray(p.noise_power)[..., None]
    ratio = sinr(channel, amplitudes, phase, digital, noise_power, threads=p.threads)
    ratio = ratio.astype(found.digital.real.dtype)
    return ratio, np.log1p(ratio) / np.log(2.0).astype(ratio.dtype)


def _fair(
    problem: Problem,
    best: Solution,
    start: np.ndarray,
    options: dict[str, Any],
    states: np.ndarray | None,
) -> Solution:
    """The solution whose lowest rate is highest, feasible where that meets the minimum rates."""
    run = METHODS[best.method][0]
    asked = np.full((*problem.batch, problem.users), UNREACHABLE)
    equal = replace(problem, min_rate=asked, weights=None)
    found = next(under_floors(run, equal, start, _found(best), options))
    return _rated(problem, _moved(equal, found, states), best.method)


def _with_common_rate(best: Solution, fair: Solution) -> Solution:
    """The better of the two, with the highest of their lowest rates."""
    best = _chosen(fair.feasible & ~best.feasible, fair, best)
    lowest = [np.min(each.rates, axis=(-2, -1)).astype(float) for each in (best, fair)]
    return replace(best, common_rate=np.asarray(np.maximum(*lowest)))


def _better(one: Solution, other: Solution) -> Solution:
    """The better of two solutions, item by item: feasible first, then the higher rate."""
    wins = np.where(one.feasible == other.feasible, other.sum_rate > one.sum_rate, other.feasible)
    return _chosen(wins, other, one)


def _chosen(which: np.ndarray, one: Solution, other: Solution) -> Solution:
    """Items of one solution where ``which`` is true, of the other elsewhere."""
    chosen: dict[str, Any] = {}
    for name in _ARRAYS:
        a, b = _alike(getattr(one, name), getattr(other, name), name)
        chosen[name] = np.where(which[(..., *[None] * (a.ndim - which.ndim))], a, b)
    return _joined(one, chosen)


def _rows(problem: Problem, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Some rows of an array over the flattened batch."""
    core = array.shape[len(problem.batch) :] if array.ndim > 1 else array.shape[-1:]
    return np.broadcast_to(array, (*problem.batch, *core)).reshape(-1, *core)[rows]


def _items(problem: Problem, solution: Solution, rows: np.ndarray) -> Solution:
    """Some items of the flattened batch."""
    fields_ = {name: getattr(solution, name) for name in _ARRAYS}
    flat = {n: a.reshape(-1, *a.shape[len(problem.batch) :])[rows] for n, a in fields_.items()}
    return replace(solution, **flat)


def _replaced(problem: Problem, whole: Solution, rows: np.ndarray, part: Solution) -> Solution:
    """The whole with some items of the flattened batch replaced."""
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        array = getattr(whole, name)
        flat = array.reshape(-1, *array.shape[len(problem.batch) :])
        flat, new = _alike(flat, getattr(part, name), name)
        flat = flat.copy()
        flat[rows] = new
        arrays[name] = flat.reshape((*problem.batch, *flat.shape[1:]))
    return _joined(whole, arrays)


def _joined(like: Solution, arrays: dict[str, Any]) -> Solution:
    """A solution of these arrays, whose history ends with the longest run that is among them."""
    longest = int(np.max(arrays["iterations"], initial=0)) + 1
    arrays["history"] = arrays["history"][..., :longest]
    return replace(like, **arrays)


def _alike(one: np.ndarray, other: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of solutions; histories with NaN until they are of one length."""
    if name != "history":
        return one, other
    longest = max(one.shape[-1], other.shape[-1])
    one, other = (
        np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, longest - array.shape[-1])],
               constant_values=np.nan)
        for array in (one, other)
    )  # fmt: skip
    return one, other


def _found(solution: Solution) -> Found:
    s = solution
    every_element = s.method == "fully_digital"
    return Found(s.amplitudes, s.digital, s.iterations, s.converged, s.history, every_element)
