"""What every solver takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..kernels.edge import as_array, call
from ..kernels.operators import OPERATORS

Given = ParamSpec("Given")
Returned = TypeVar("Returned")


def quiet(function: Callable[Given, Returned]) -> Callable[Given, Returned]:
    """The same under NumPy's own handling of rounding: a caller's `errstate` is for his numbers."""

    @wraps(function)
    def inner(*args: Given.args, **kwargs: Given.kwargs) -> Returned:
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    return inner


@dataclass(frozen=True)
class Problem:
    """Channels that share one amplitude vector, and what limits the beams over them."""

    channel: np.ndarray  # (..., F, K, N)
    phase: np.ndarray  # (1 or F, N, L)
    power: Any  # (...)
    noise_power: Any  # (...)
    weights: Any  # (..., K) or None
    radiated: bool  # whether the power is that of diag(m) Phi V, or of V
    batch: tuple[int, ...]
    threads: int | None
    min_rate: np.ndarray | None = None  # (..., K), for what solves under minimum rates

    @property
    def users(self) -> int:
        """K."""
        return int(self.channel.shape[-2])

    @property
    def feeds(self) -> int:
        """L."""
        return int(self.phase.shape[-1])

    def require_zero_forcing(self) -> None:
        """Raise if there are more users than feeds."""
        if self.users > self.feeds:
            raise ValueError(
                f"channel: expected at most L = {self.feeds} users for zero forcing, "
                f"got K = {self.users}"
            )

    def unit_weights(self) -> tuple[Any, np.ndarray]:
        """Weights with a largest of one, all one where all are zero, and that largest (...)."""
        if self.weights is None:
            return None, np.ones(())
        heaviest = np.max(self.weights, axis=-1, keepdims=True)
        some = heaviest > 0.0
        unit = np.divide(self.weights, heaviest, out=np.ones_like(self.weights), where=some)
        return unit, heaviest[..., 0]

    def flattened(self) -> Problem:
        """The problem with one dimension of batch."""
        size = int(np.prod(self.batch))

        def flat(value: Any, core: int) -> np.ndarray:
            array = as_array("problem", value)
            own = array.shape[array.ndim - core :]
            return np.broadcast_to(array, self.batch + own).reshape(size, *own)

        return replace(
            self,
            channel=flat(self.channel, 3),
            power=flat(self.power, 0),
            noise_power=flat(self.noise_power, 0),
            weights=None if self.weights is None else flat(self.weights, 1),
            min_rate=None if self.min_rate is None else flat(self.min_rate, 1),
            batch=(size,),
        )

    def items(self, which: np.ndarray) -> Problem:
        """Some items of a flattened problem."""
        return replace(
            self,
            channel=self.channel[which],
            power=self.power[which],
            noise_power=self.noise_power[which],
            weights=None if self.weights is None else self.weights[which],
            min_rate=None if self.min_rate is None else self.min_rate[which],
            batch=(len(which),),
        )


@dataclass(frozen=True)
class Found:
    """Amplitudes and beams of one run from one start, batch first."""

    amplitudes: np.ndarray  # (..., N)
    digital: np.ndarray  # (..., F, L, K)
    iterations: np.ndarray  # (...)
    converged: np.ndarray  # (...)
    history: np.ndarray  # (..., I)
    fully_digital: bool = False  # digital is (..., F, N, K), without a surface


def run_loop(operator: str, problem: Problem, start: np.ndarray, **options: Any) -> Found:
    """A fused loop of the table of operators from one start, with its own options."""
    amplitudes, digital, _, made, converged, history = run(operator, problem, start, **options)
    heaviest = problem.unit_weights()[1][..., None]
    history = np.where(history > 0.0, heaviest * history, history)  # below, rates that are missing
    return Found(amplitudes, digital, made, converged, history)


def best_beams(
    problem: Problem, amplitudes: np.ndarray, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Beams (..., F, L, K) at amplitudes that stay, and their rate (...) at unit weights."""
    digital, rate = run("best_beams", problem, amplitudes, **options)
    return digital, rate


def run(operator: str, problem: Problem, amplitudes: np.ndarray, **options: Any) -> Any:
    """An operator on a problem at unit weights, with minimum rates where it knows them."""
    p = problem
    given = [p.channel, amplitudes, p.phase, p.power, p.noise_power, p.unit_weights()[0]]
    if "min_rate" in OPERATORS[operator].inputs:
        given.append(p.min_rate)
    return call(operator, given, {"radiated": p.radiated, **options}, threads=p.threads)


@dataclass(frozen=True)
class Solution:
    """Amplitudes, beams and what they reach; arrays with the batch's leading dimensions.

    With one m for F channels, ``digital``, ``sinr`` and ``rates`` have a dimension F before
    their last two or one, and ``sum_rate`` is the sum over the channels too.

    Attributes
    ----------
    amplitudes : (..., N) real
        Radiation amplitudes m in [0, 1].
    digital : (..., L, K) complex
        Digital beamformer V at the power; (..., N, K) for ``fully_digital``.
    sinr, rates : (..., K) real
        SINR (linear) and unweighted rate in bit/s/Hz of every user.
    sum_rate : (...) real
        Weighted sum rate in bit/s/Hz; NaN where the channel is not finite.
    feasible : (...) bool
        Whether every user has its minimum rate; False where the channel is not finite.
    iterations : (...) int
        Iterations (gradients for ``alternating``) made from the winning start.
    converged : (...) bool
        Whether the last stage stopped by its own rule before its budget ran out.
    history : (..., I) real
        Rate after each iteration, as far as the item that made most and at most 4096; NaN where
        there was none and for those that ``joint`` makes at a higher noise.
    method, constraint : str
        As asked for.
    common_rate : (...) float64, or None without ``min_rate``
        Largest minimum rate in bit/s/Hz found that all users can have at once, in every channel:
        one that is asked of all is feasible up to here.  A lower bound on what is possible, since
        the search over the amplitudes is local.
    """

    amplitudes: np.ndarray
    digital: np.ndarray
    sinr: np.ndarray
    rates: np.ndarray
    sum_rate: np.ndarray
    feasible: np.ndarray
    iterations: np.ndarray
    converged: np.ndarray
    history: np.ndarray
    method: str
    constraint: str
    common_rate: np.ndarray | None = None


#: A minimum rate counts as met within this, in bit/s/Hz, by the precision of the rates.
SLACK = {"f": 1e-5, "d": 1e-9}


def meets(rates: np.ndarray, min_rate: np.ndarray) -> np.ndarray:
    """Whether rates reach their minimum, within what their precision can tell."""
    return np.asarray(rates >= min_rate - SLACK[rates.dtype.char])
