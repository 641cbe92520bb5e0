"""Who is served: greedy, local and exhaustive search over user sets, with any solver inside.

The path of a schedule: `Problem.of` checks and flattens what was given, a search of `searches`
proposes user sets and keeps the better, each solved as `solve` does, and `bounds` tell which sets
need no solve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import as_seed, integer, one_of
from ..problem import Problem
from ..solvers.methods import chosen
from .searches import SEARCHES, Task, again

__all__ = ["Schedule", "schedule"]

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Schedule:
    """Users served, amplitudes and beams; arrays with the batch's leading dimensions.

    With one m for F channels, ``digital`` and ``rates`` have a dimension F before their last two
    or one, and ``sum_rate`` is the sum over the channels too.

    Where no user set meets its minimum rates nobody is served and all arrays are zero; passed
    as the next slot's ``start``, such amplitudes count as all on.  Where the channel is not
    finite, ``rates`` and ``sum_rate`` are NaN.

    Attributes
    ----------
    served : (..., K) bool
        Users served, at most L.
    amplitudes : (..., N) real or complex
        Radiation amplitudes m in [0, 1]; complex weights q of other elements.
    digital : (..., L, K) complex
        Digital beamformer V at the power, zero columns for users not served; (..., N, K) for
        ``fully_digital``.
    rates : (..., K) real
        Unweighted rate of every user in bit/s/Hz, at least its minimum (on the sum over F
        channels), 0 where not served.
    sum_rate : (...) float64
        Weighted sum rate in bit/s/Hz.
    feasible : (...) bool
        Whether somebody is served, and so every one of them at least at its minimum rate.
    power_used : (...) float64
        Power of the beams, linear; (..., F) with one m for F channels.
    search, method, accept, constraint, objective : str
        As asked for.
    """

    served: np.ndarray
    amplitudes: np.ndarray
    digital: np.ndarray
    rates: np.ndarray
    sum_rate: np.ndarray
    feasible: np.ndarray
    power_used: np.ndarray
    search: str
    method: str
    accept: str
    constraint: str
    objective: str


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
    elements: str | ArrayLike = "amplitude",
    levels: int | ArrayLike | None = None,
    direct: ArrayLike | None = None,
    broken: ArrayLike | None = None,
    feed_power: ArrayLike | None = None,
    objective: str = "sum_rate",
    circuit_power: float | None = None,
    element_power: float | None = None,
    amplifier_efficiency: float | None = None,
    shared: bool = False,
    rescue: bool | None = None,
    starts: int | None = None,
    progress: Progress | None = None,
    check_finite: bool = False,
    **options: Any,
) -> Schedule:
    """Choose who is served, with amplitudes and beams, under a minimum rate for each served user.

    ``search="greedy"`` is paper B, Algorithm 2 (arXiv 2502.17408): users are sorted by the rate
    they have at starting amplitudes with matched beams g_k^H / ||g_k|| at power P / K each, in
    descending order, ties by index.  Users are added one by one: amplitudes and beams are solved
    again, and the user stays if every served user has its minimum rate.  Users whose channels are
    multiples of that of another come last, and count for nothing in the order of the others.

    ``search="local"`` then drops, adds or swaps one user, whichever raises the sum rate most,
    until no such move raises it; of more than 32 moves, only the 32 with the highest sum rate by
    zero forcing on the channels themselves are solved.  ``search="exhaustive"``
    solves every user set that can have the highest sum rate and takes the best (ties: more users,
    then the first).  Both are ours.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channels as they act, one row per user; complex64 is solved in single precision.  With
        ``shared`` or a phase of three dimensions, (..., F, K, N): one amplitude vector and one
        user set for F channels, as in `solve`.
    phase : (N, L) or (F, N, L) complex
        Reference wave of each feed at each element, finite; at most L users are served.
    power, noise_power : (...) real
        Transmit and noise power, linear, in the same unit.  They broadcast with the batch: (K,)
        with the channel of one problem makes K problems.
    min_rate : scalar or (..., K) real
        Minimum rate of each user in bit/s/Hz, unweighted, if it is served; on the sum of its
        rates where there are F channels.
    search : {"greedy", "local", "exhaustive"}
        How user sets are searched; ``exhaustive`` for K <= 12 (63 solves for 6 users, up to
        4095 for 12, with as many feeds).
    method : str
        Solver of a user set, as in `solve`.
    accept : {"qos", "rate"}
        When ``greedy``, and with it the start of ``local``, keeps a user: if all minimum rates
        are met (paper B), or only if the sum rate rises as well.  A user whose minimum rate is
        zero must raise it in either case, and ``local``'s moves and ``exhaustive`` maximise it.
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10); results under the
        two are not comparable.
    weights : (..., K) real, optional
        Weights of the users' rates in the sum rate and in the order of ``greedy``, 1 by default.
        As in `solve`, a common factor changes only ``sum_rate``, and weights that are all zero
        count as equal, with a ``sum_rate`` of 0.
    seed : int
        Seed of the random starting amplitudes; those of an item depend only on its index.
    threads : int, optional
        Most threads to use.
    objective : str
        What tells which users to serve: ``"sum_rate"`` or ``"energy_efficiency"``.  Under
        ``"max_min"`` and ``"geometric_mean"`` as many as meet their minimum rates, and among as
        many the set that has the highest of it.
    circuit_power, element_power, amplifier_efficiency : float, optional
        Of ``energy_efficiency``, as in `solve`.
    user_noise : (..., K) real, optional
        Noise power of each user, for receivers with different noise figures, in place of
        ``noise_power``.
    start : (..., N) real, optional
        Starting amplitudes, for the order of ``greedy`` and for every solve; all off is taken as
        all on.  By default they are uniform in [0, 1], the same for all solves of an item, as
        published; ``joint`` and ``zf`` use them only for the order and solve from all elements
        on.
    elements : {"amplitude", "lorentzian", "phase"} or (S,) complex, optional
    levels : int or (levels,) real, optional
        What an element can do, as in `solve`; every user set is solved at its states, so that the
        minimum rates hold there.
    direct : (..., K, L) complex, optional
    broken : (..., N) real or complex, optional
        Channel past the surface, and amplitudes of stuck elements, as in `solve`.
    feed_power : scalar or (..., L) real, optional
        Most power of each feed, as in `solve`.
    shared : bool
        Whether the channel has a dimension F.
    rescue : bool, optional
        Whether a user set that misses a minimum rate is solved again under the minimum rates, as
        in `solve`, before it is rejected.  By default for ``joint`` and ``zf``, whose sum-rate
        solutions starve users, and not for methods that run as published: their zero forcing
        gives all users one rate, so that it would change something only where minimum rates
        differ or the channel is rank-deficient.
    starts : int, optional
        Runs of the user set that is chosen, of which the best is kept: from other starts after the
        first, with twice the iterations, the same for all items.  By default 3 for ``joint``, and 1
        for methods that run as published.
    progress : callable, optional
        Called as ``progress(done, total)`` between batched steps; the unit depends on the search.
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
    one_of("search", search, SEARCHES)
    one_of("accept", accept, ("qos", "rate"))
    how, options = chosen(method, options)
    seed = as_seed(seed)
    if starts is None:
        starts = 3 if how.anew and not how.zero_forces else 1
    starts = integer("starts", starts, 1)
    with np.errstate(all="ignore"):  # that of a caller is for his own numbers
        problem = Problem.of(
            channel, phase, power, noise_power, constraint=constraint, weights=weights,
            min_rate=min_rate, start=start, elements=elements, levels=levels, direct=direct,
            broken=broken, feed_power=feed_power, objective=objective, circuit_power=circuit_power,
            element_power=element_power, amplifier_efficiency=amplifier_efficiency,
            user_noise=user_noise, shared=shared, threads=threads, check_finite=check_finite,
        )  # fmt: skip
        if objective == "min_power":
            raise ValueError("objective: expected one that tells users apart, got 'min_power'")
        rescue = how.rescued if rescue is None else rescue
        task = Task(
            problem,
            how,
            options,
            first=problem.random_start(seed, 0) if problem.start is None else problem.start,
            rescue=rescue,
            rising=accept == "rate",
            report=progress or (lambda done, total: None),
        )
        how.check(problem, task.most)
        best = SEARCHES[search](task)
        for number in range(1, starts):
            again(task, best, problem.same_start(seed, number))
        feasible = best.score > -np.inf
        sum_rate = problem.heaviest * np.where(feasible, best.sum_rate, 0.0)
        nan = best.rates.dtype.type(np.nan)
        arrays = problem.shaped(
            served=best.served,
            amplitudes=best.amplitudes,
            digital=best.digital,
            rates=np.where(problem.finite[:, None, None], best.rates, nan),
            sum_rate=np.where(problem.finite, sum_rate, np.nan),
            feasible=feasible,
            power_used=np.where(feasible[:, None], best.power_used, 0.0),
        )
    return Schedule(
        **arrays,
        search=search,
        method=method,
        accept=accept,
        constraint=constraint,
        objective=objective,
    )
