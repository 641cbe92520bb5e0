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
from .floors import floored_zero_forcing
from .fully_digital import fully_digital
from .hbf import wmmse_hbf, zf_hbf
from .levels import as_levels, quantized
from .network import mbdnn
from .problem import SLACK, Found, Problem, Solution, meets
from .variable_projection import joint, zero_forcing_stage, zf

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

#: Least amplitude of random starts where the first start is all on: better than 0 by 0.5 %
#: in the best of four (64 elements, 10 dB).
_DIMMEST = 0.5


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
        Reference wave of each feed at each element.
    power, noise_power : (...) real
        Transmit and noise power, linear, in the same unit.
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
        Weights of the users' rates, 1 by default.
    min_rate : scalar or (..., K) real, optional
        Minimum rate of each user in bit/s/Hz, unweighted.  An item that misses one is given
        zero forcing with floored water-filling at the same amplitudes, or for ``joint`` at
        those of its zero-forcing stage, where the power allows it (K <= L, one channel);
        otherwise it comes back with ``feasible`` False.
    starts : int
        Runs from this many starts, the best of which is kept; all but the first are random,
        uniform on [0, 1], or on [0.5, 1] for ``zf`` and ``joint``.
    start : (..., N) real, optional
        The first start, for example the amplitudes of the channel a moment ago; by default all
        elements on, or random for the published methods.
    seed : int
        Seed of the random starts; an item's depends on its index in the batch alone.
    threads : int, optional
        Most threads to use.
    levels : int or (levels,) real, optional
        Amplitudes the hardware can take: a number of bits b for 2^b even levels from 0 to 1
        (1 is on or off), or the levels themselves.  Each run's amplitudes are scaled, rounded
        and refined element by element, with beams as ``joint`` has them, whatever the method.
        Minimum rates are tried at the outcome; ``history``, ``iterations`` and ``converged``
        tell of the continuous run.
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
        ``zf_iterations``, ``sweeps`` (joint), ``step``, ``inner`` (alternating), ``polish``,
        ``model`` (mbdnn).

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
    >>> bool((ours.sum_rate > theirs.sum_rate).all())
    True
    """
    run, random_first = _method(method, options)
    starts, seed = _count("starts", starts, 1), _count("seed", seed, 0)
    several = shared or np.ndim(phase) == 3
    problem = _problem(channel, phase, power, noise_power, weights, constraint, several, threads)
    if check_finite:
        _require_finite(problem.channel)
    floor = None if min_rate is None else _min_rate(problem, min_rate)
    states = None if levels is None else _levels(levels, method)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback: expected a callable, got {callback!r}")

    def rated(found: Found) -> Solution:
        if states is not None:
            found = quantized(problem, found, states)
        return _rated(problem, found, floor, method, constraint)

    def report(done: int, solution: Solution) -> Solution:
        solution = solution if several else _one_channel(solution)
        if callback is not None:
            callback(done, starts, solution)
        return solution

    if start is not None:
        first = _given_start(problem, start)
    elif random_first:
        first = _random_start(problem, seed, 0)
    else:
        first = np.ones(problem.channel.shape[-1])
    best = rated(run(problem, first, **options))
    if floor is not None and run is joint and not best.feasible.all():
        if problem.users <= problem.feeds:  # amplitudes that starve no one, for the floors
            saved = rated(zero_forcing_stage(problem, first, **options))
            best = _chosen(saved.feasible & ~best.feasible, saved, best)
    lowest = 0.0 if random_first else _DIMMEST
    solution = report(1, best)
    for index in range(1, starts):
        found = run(problem, _random_start(problem, seed, index, lowest), **options)
        best = _better(best, rated(found))
        solution = report(index + 1, best)
    return solution


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
    weights: ArrayLike | None,
    constraint: str,
    several: bool,
    threads: int | None,
) -> Problem:
    if constraint not in ("radiated", "digital"):
        raise ValueError(f"constraint: expected 'radiated' or 'digital', got {constraint!r}")
    h, waves = as_array("channel", channel), as_array("phase", phase)
    if waves.ndim not in (2, 3):
        raise ValueError(f"phase: expected (N, L) or (F, N, L), got {waves.shape}")
    if h.ndim < 2 + several:
        expected = "(..., F, K, N)" if several else "(..., K, N)"
        raise ValueError(f"channel: expected {expected}, got {h.shape}")
    h = h if several else h[..., None, :, :]
    waves = waves if waves.ndim == 3 else waves[None]
    if h.shape[-1] != waves.shape[-2] or len(waves) not in (1, h.shape[-3]):
        fits = f"N = {waves.shape[-2]}" + (f" and F = {len(waves)}" if len(waves) > 1 else "")
        raise ValueError(
            f"channel: expected (..., K, N) with {fits} to match phase, got {np.shape(channel)}"
        )
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


def _broadcast(argument: str, batch: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(batch, shape)
    except ValueError:
        raise ValueError(
            f"{argument}: expected leading dimensions that broadcast with {batch}, got {shape}"
        ) from None


def _require_finite(channel: np.ndarray) -> None:
    bad = np.argwhere(~np.isfinite(channel))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(f"channel: expected finite values, got {channel[where]} at index {where}")


def _min_rate(problem: Problem, value: ArrayLike) -> np.ndarray:
    floor = _reals("min_rate", value)
    if not ((floor >= 0.0) & (floor < np.inf)).all():
        raise ValueError(f"min_rate: expected values finite and at least 0, got {value!r}")
    if floor.ndim and floor.shape[-1] != problem.users:
        raise ValueError(
            f"min_rate: expected a scalar or (..., K) with K = {problem.users}, got {floor.shape}"
        )
    if floor.ndim:
        _broadcast("min_rate", problem.batch, floor.shape[:-1])
    return floor


def _reals(argument: str, value: ArrayLike) -> np.ndarray:
    array = as_array(argument, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{argument}: expected real numbers, got dtype {array.dtype}")
    return array.astype(float)


def _given_start(problem: Problem, start: ArrayLike) -> np.ndarray:
    amplitudes = _reals("start", start)
    elements = problem.channel.shape[-1]
    if not amplitudes.ndim or amplitudes.shape[-1] != elements:
        raise ValueError(f"start: expected (..., N) with N = {elements}, got {amplitudes.shape}")
    if ((amplitudes < 0.0) | (amplitudes > 1.0)).any():
        raise ValueError("start: expected values in [0, 1], got values outside")
    _broadcast("start", problem.batch, amplitudes.shape[:-1])
    return amplitudes


def _random_start(problem: Problem, seed: int, index: int, lowest: float = 0.0) -> np.ndarray:
    """Uniform amplitudes; row i of the stream is item i's, whatever the batch."""
    shape = (*problem.batch, problem.channel.shape[-1])
    return np.random.default_rng([seed, index]).uniform(lowest, 1.0, shape)


def _rated(
    problem: Problem, found: Found, floor: np.ndarray | None, method: str, constraint: str
) -> Solution:
    """What was found with its rates; minimum rates that were missed are tried by floored ZF."""
    ratio, rates, feasible = _rates(problem, found, floor)
    if floor is not None and _floors_apply(problem, found) and not feasible.all():
        digital = floored_zero_forcing(problem, found, floor)
        saved = replace(found, digital=digital)
        _, _, saved_feasible = _rates(problem, saved, floor)
        rescued = (saved_feasible & ~feasible)[..., None, None, None]
        found = replace(found, digital=np.where(rescued, digital, found.digital))
        ratio, rates, feasible = _rates(problem, found, floor)
    weights = 1.0 if problem.weights is None else np.asarray(problem.weights)[..., None, :]
    return Solution(
        amplitudes=found.amplitudes,
        digital=found.digital,
        sinr=ratio,
        rates=rates,
        sum_rate=np.asarray(np.sum(weights * rates, axis=(-2, -1), dtype=float)),
        feasible=feasible,
        iterations=np.asarray(found.iterations),
        converged=np.asarray(found.converged) & np.isfinite(ratio).all(axis=(-2, -1)),
        history=found.history,
        method=method,
        constraint=constraint,
    )


def _floors_apply(problem: Problem, found: Found) -> bool:
    one_channel = problem.channel.shape[-3] == 1
    return one_channel and problem.users <= problem.feeds and not found.fully_digital


def _rates(
    problem: Problem, found: Found, floor: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SINR and rates (..., F, K), and whether all are finite and at their minimum."""
    p, digital = problem, found.digital
    channel, amplitudes, phase = p.channel, found.amplitudes[..., None, :], p.phase
    if found.fully_digital:  # H W is its own effective channel
        channel = channel @ digital
        amplitudes, phase = np.ones(p.users), np.eye(p.users, dtype=channel.dtype)
        digital = phase
    noise_power = np.asarray(p.noise_power)[..., None]
    ratio = sinr(channel, amplitudes, phase, digital, noise_power, threads=p.threads)
    rates = np.log1p(ratio) / np.log(2.0).astype(ratio.dtype)
    feasible = np.isfinite(ratio).all(axis=(-2, -1))
    if floor is not None:
        floor = floor[..., None, :] if floor.ndim else floor
        feasible &= meets(rates, floor).all(axis=(-2, -1))
    return ratio, rates, np.asarray(feasible)


def _better(one: Solution, other: Solution) -> Solution:
    """The better of two solutions, item by item: feasible first, then the higher rate."""
    wins = np.where(one.feasible == other.feasible, other.sum_rate > one.sum_rate, other.feasible)
    return _chosen(wins, other, one)


def _chosen(which: np.ndarray, one: Solution, other: Solution) -> Solution:
    """Items of one solution where ``which`` is true, of the other elsewhere."""
    chosen = {}
    for field in fields(Solution)[:-2]:
        a, b = getattr(one, field.name), getattr(other, field.name)
        chosen[field.name] = np.where(which[(..., *[None] * (a.ndim - which.ndim))], a, b)
    return replace(one, **chosen)
