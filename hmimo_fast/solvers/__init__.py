"""From a channel to amplitudes and beams: `solve`, one module per algorithm.

The path of a solve: `Problem.of` checks and flattens what was given, `attempt` runs a record of
`METHODS` from one start, `Found` rates it and keeps the better, and `Solution` is what is returned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import as_seed, integer
from ..problem import DIMMEST, Problem
from .found import SLACK, Found, Solution
from .methods import METHODS, attempt, chosen, common, lowered, serve_alone

__all__ = ["METHODS", "SLACK", "Solution", "solve"]


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
    elements: str | ArrayLike = "amplitude",
    levels: int | ArrayLike | None = None,
    direct: ArrayLike | None = None,
    broken: ArrayLike | None = None,
    feed_power: ArrayLike | None = None,
    objective: str = "sum_rate",
    circuit_power: float | None = None,
    element_power: float | None = None,
    amplifier_efficiency: float | None = None,
    callback: Callable[[int, int, Solution], Any] | None = None,
    shared: bool = False,
    check_finite: bool = False,
    **options: Any,
) -> Solution:
    """Choose amplitudes and digital beams for the highest sum rate, or another objective.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channels as they act, one row per user.  With ``shared`` or a phase of three dimensions,
        (..., F, K, N): one amplitude vector for F channels, whose rates add up and each of
        which has the power to itself.
    phase : (N, L) or (F, N, L) complex
        Reference wave of each feed at each element, finite.
    power, noise_power : (...) real
        Transmit and noise power, linear, in the same unit.  They broadcast with the batch: (K,)
        with the channel of one problem makes K problems.
    method : str
        ``"joint"`` (variable projection, ours, the default), ``"zf"`` (its first stage alone),
        ``"alternating"`` (paper B, Algorithm 1), ``"random"`` (paper B's benchmark),
        ``"wmmse_hbf"`` and ``"zf_hbf"`` (paper A's baselines),
        ``"mbdnn"`` (paper A's network, with PyTorch), or
        ``"fully_digital"`` (N RF chains, an upper reference).
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10); results under the
        two are not comparable.
    weights : (..., K) real, optional
        Weights of the users' rates, 1 by default.  A common factor changes nothing but
        ``sum_rate`` and ``history``; weights that are all zero are solved as equal ones, and have
        a ``sum_rate`` of 0.
    min_rate : scalar or (..., K) real, optional
        Minimum rate of each user in bit/s/Hz, unweighted, summed over F channels: ``joint`` seeks
        the best way to share them out, other methods ask for even parts.  An item that misses
        one is solved again under them: by ``joint`` and ``zf`` over the amplitudes too, by the
        other methods at the amplitudes they found.  If they cannot be met, the solution is the
        one without minimum rates, with ``feasible`` False and ``common_rate`` the highest rate
        found that all users can have.
    starts : int
        Runs from this many starts, the best of which is kept; all but the first are random,
        uniform on [0, 1], or on [0.5, 1] for ``zf`` and ``joint``, which makes twice the iterations
        from these; other elements than amplitudes at uniform angles.
    start : (..., N) real or complex, optional
        The first start, for example the amplitudes of the previous slot; by default all
        elements on, or random for the published methods.  With all elements off the gradient is
        zero, so such a start is replaced by all on.  ``zf`` and ``joint`` fit it to the channel
        first, except ``joint`` with ``zf_iterations=0``, which uses it as it is.
    seed : int
        Seed of the random starts; the start of an item depends only on its index in the batch.
    threads : int, optional
        Most threads to use.
    user_noise : (..., K) real, optional
        Noise power of each user, for receivers with different noise figures, in place of
        ``noise_power``.
    elements : {"amplitude", "lorentzian", "phase"} or (S,) complex, optional
        What an element can do to its reference wave: scale it by an amplitude in [0, 1], by
        (j + exp(j theta)) / 2 (a dynamic metasurface antenna), or turn it by exp(j theta); or the
        states in the unit disc that it can take, such as b-bit phases or a measured table, the
        same for all elements.  Other than amplitudes are searched over theta, and then rounded to
        the states and refined element by element as ``levels`` are.
    levels : int or (levels,) real, optional
        Amplitudes the hardware can take: a number of bits b for 2^b even levels from 0 to 1
        (1 is on or off), or the levels themselves.  Each run's amplitudes are scaled, rounded
        and refined element by element, with beams as ``joint`` has them, whatever the method.
        ``history``, ``iterations`` and ``converged`` describe the continuous run.
    direct : (..., K, L) complex, optional
        Channel D from the feeds to the users past the surface, under ``digital`` power only:
        G = H diag(q) Phi + D.  A reflecting surface is ``elements="phase"`` with the channel from
        the base station's antennas to its elements as ``phase``; (..., F, K, L) for F channels.
    broken : (..., N) real or complex, optional
        Amplitude, or complex weight, at which each element is stuck, NaN where it works.
    feed_power : scalar or (..., L) real, optional
        Most power ||V_l||^2 of each feed, in the unit of ``power`` and in each channel, besides
        the total, for amplifiers that saturate; infinity for none.  By ``joint`` and
        ``wmmse_hbf``, under every objective that they have.  The total may then stay below
        the power.
    objective : str
        What is maximised: ``"sum_rate"``; ``"max_min"``, the lowest rate over its weight, where a
        weight of 0 exempts a user; ``"geometric_mean"`` of the rates, proportional fairness;
        ``"energy_efficiency"``, bits for a joule, at up to the power; or ``"min_power"``, the least
        power, up to the power, under ``min_rate``.  Minimum rates hold under every objective.
        A user's rate is the sum over F channels.  Only ``sum_rate`` and ``energy_efficiency`` leave
        users out.
    circuit_power, element_power, amplifier_efficiency : float, optional
        Of ``energy_efficiency``, R / (p / efficiency + circuit_power + N element_power), in the
        unit of ``power``.  By default in watts: 0.24 per feed, the RF chain of Mendez-Rial et al.
        (IEEE Access 4, 2016) in the published simulation of Deshpande et al. (docs/objectives.md);
        0.005 per element and an efficiency of 0.5, from that of Bjornson, Ozdogan and Larsson (IEEE
        Wireless Commun. Lett. 9, 2020).  Give those of your own hardware.
    callback : callable, optional
        Called as ``callback(done, starts, best_so_far)`` after every start.  Within a start
        the loops do not return to Python; ``history`` has the rates of the iterates.
    shared : bool
        Whether the channel has a dimension F.
    check_finite : bool
        Raise if a channel holds a NaN or an infinity; by default such items are marked
        (NaN rate, ``feasible`` and ``converged`` False).
    **options
        Of the method: ``iterations`` and ``tolerance`` (all but random and mbdnn),
        ``zf_iterations``, ``candidates``, ``finalists``, ``sweeps``, ``mixed`` (joint), ``step``,
        ``backtracking``, ``inner`` (alternating), ``polish``, ``model`` (mbdnn).

    Returns
    -------
    Solution
        Amplitudes, beams, SINR, rates and marks of every item, in the channel's precision.

    Raises
    ------
    ValueError
        If shapes do not fit, a parameter is out of range, a method or constraint is unknown, a
        zero-forcing method has more users than feeds, a start lies off the circle of the elements,
        or a method has no levels, elements, direct channel or broken elements and is given some.
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
    how, options = chosen(method, options)
    starts, seed = integer("starts", starts, 1), as_seed(seed)
    if callback is not None and not callable(callback):
        raise TypeError(f"callback: expected a callable, got {callback!r}")
    with np.errstate(all="ignore"):  # that of a caller is for his own numbers
        problem = Problem.of(
            channel, phase, power, noise_power, constraint=constraint, weights=weights,
            min_rate=min_rate, start=start, elements=elements, levels=levels, direct=direct,
            broken=broken, feed_power=feed_power, objective=objective, circuit_power=circuit_power,
            element_power=element_power, amplifier_efficiency=amplifier_efficiency,
            user_noise=user_noise, shared=shared, threads=threads, check_finite=check_finite,
        )  # fmt: skip
        how.check(problem, problem.users)

        first = how.first_start(problem, seed) if problem.start is None else problem.start
        best = attempt(problem, how, first, options)
        instead = equal = None
        if min_rate is not None:
            fair = common(problem, how, best, first, options)
            instead = lowered(problem, how, fair, options)
            equal = np.maximum(_lowest(best), _lowest(fair))
        serve_alone(problem, how, first, best, options)
        lowest = 0.0 if how.random_start else DIMMEST
        for done in range(1, starts + 1):
            if done > 1:
                longer = replace(problem, effort=2)
                other = problem.random_start(seed, done - 1, lowest)
                more = attempt(longer, how, other, options)
                serve_alone(longer, how, other, more, options)
                best = best.better(more)
            arrays = dict(vars(best))
            if instead is not None and equal is not None:
                arrays = vars(best.better(instead, instead.feasible & ~best.feasible))
                arrays = arrays | {"common_rate": np.maximum(equal, _lowest(best))}
            del arrays["score"]  # which compares runs of the same problem
            result = Solution(
                **problem.shaped(**arrays),
                method=method,
                constraint=constraint,
                objective=objective,
            )
            if callback is not None:
                callback(done, starts, result)
    return result


def _lowest(found: Found) -> np.ndarray:
    """The lowest rate of each item (B,)."""
    return found.rates.sum(axis=-2, dtype=float).min(axis=-1)
