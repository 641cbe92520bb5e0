"""What was found: a run from one start, the one record kept of it, and what a caller sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..kernels import edge
from ..kernels.definitions.element import CENTRES
from ..objective import weighted_sum
from ..problem import Problem
from .rounding import norm2, rounded

#: A minimum rate counts as met within this, in bit/s/Hz, by the precision of the rates.
SLACK = {"f": 1e-5, "d": 1e-9}

Kept = TypeVar("Kept", bound="Found")


class Run(NamedTuple):
    """Amplitudes and beams of one run from one start."""

    amplitudes: np.ndarray  # (B, N)
    digital: np.ndarray  # (B, F, L, K)
    iterations: np.ndarray  # (B,)
    converged: np.ndarray  # (B,)
    history: np.ndarray  # (B, I)
    fully_digital: bool = False  # digital is (B, F, N, K), without a surface


def run_loop(operator: str, problem: Problem, start: np.ndarray, **options: Any) -> Run:
    """A fused loop of the table of operators from one start, with its own options."""
    amplitudes, digital, _, made, converged, history = problem.run(operator, start, **options)
    history = _in_units(problem, history)
    return Run(amplitudes, digital, made, converged, history)


def _in_units(problem: Problem, history: np.ndarray) -> np.ndarray:
    """Objectives of unit weights, and of a power of one, as the caller has them."""
    by = problem.heaviest[:, None]
    if problem.objective == "sum_rate" and problem.min_rate is None:
        return by * history
    if problem.objective == "max_min":
        by = 1.0 / np.where(by > 0.0, by, 1.0)
    elif problem.idle is not None:
        by = by * problem.efficiency / (problem.power * (1.0 + problem.idle))[:, None]
    elif problem.objective != "sum_rate":
        by = np.ones_like(by)
    history = np.where(history > 0.0, by * history, history)  # below, rates that are missing
    if problem.objective == "min_power":
        history = np.where(history >= 0.0, problem.power[:, None] * 2.0**-history, np.nan)
    return history


@dataclass
class Found:
    """A run of every item with what it reaches; all arrays are over the flat batch."""

    amplitudes: np.ndarray  # (B, N)
    digital: np.ndarray  # (B, F, L, K), at the power or at a limit of the feeds
    sinr: np.ndarray  # (B, F, K)
    rates: np.ndarray  # (B, F, K), unweighted
    sum_rate: np.ndarray  # (B,), weighted
    power_used: np.ndarray  # (B, F)
    value: np.ndarray  # (B,), of the objective
    score: np.ndarray  # (B,), the same, the higher the better
    feasible: np.ndarray  # (B,), whether all users have the minimum rates of the problem
    iterations: np.ndarray  # (B,)
    converged: np.ndarray  # (B,)
    history: np.ndarray  # (B, I), NaN after an item's own

    @classmethod
    def of(cls, problem: Problem, run: Run) -> Found:
        """A run at its power and with its rates."""
        digital = run.digital
        at_power = problem.radiated and not run.fully_digital and problem.feed_power is None
        ratio, power_used = link_budget(problem, run.amplitudes, digital, run.fully_digital)
        exact = rounded(problem, run.amplitudes, digital, power_used) if at_power else None
        if exact is not None:
            digital = exact
            ratio, power_used = link_budget(problem, run.amplitudes, digital)
        ratio = ratio.astype(digital.real.dtype, copy=False)
        rates = np.log1p(ratio) / log(2.0)
        total = rates.sum(axis=-2, dtype=float)
        sum_rate = value = weighted_sum(problem, total)
        finite = feasible = np.isfinite(sum_rate)
        if problem.min_rate is not None:
            enough = total >= problem.min_rate - SLACK[rates.dtype.char]
            feasible = finite & enough.all(axis=-1)
        if problem.objective != "sum_rate":
            value = problem.aim.value(problem, total, power_used.sum(axis=-1))
        return cls(
            amplitudes=run.amplitudes,
            digital=digital,
            sinr=ratio,
            rates=rates,
            sum_rate=sum_rate,
            power_used=power_used,
            value=value,
            score=-value if problem.aim.lowest else value,
            feasible=feasible,
            iterations=run.iterations,
            converged=run.converged & finite,
            history=run.history,
        )

    def take(self: Kept, rows: np.ndarray) -> Kept:
        """Some of the items."""
        return replace(self, **{name: array[rows] for name, array in vars(self).items()})

    def put(self: Kept, rows: np.ndarray, other: Kept) -> None:
        """Write what was found for some of the items over what they have."""
        width = max(self.history.shape[1], other.history.shape[1])
        self.history = _widened(self.history, width)
        other = replace(other, history=_widened(other.history, width))
        for name, array in vars(self).items():
            array[rows] = getattr(other, name)

    def beats(self, other: Found) -> np.ndarray:
        """Where this is better (B,): feasible first, then of the higher score."""
        higher = self.score > other.score
        return np.where(self.feasible == other.feasible, higher, self.feasible)

    def better(self: Kept, other: Kept, where: np.ndarray | None = None) -> Kept:
        """The better of the two, item by item, or the other one ``where`` that is true."""
        where = other.beats(self) if where is None else where
        best = self.take(np.arange(len(where)))
        best.put(where, other.take(where))
        return best


def _widened(history: np.ndarray, width: int) -> np.ndarray:
    missing = width - history.shape[1]
    return np.pad(history, ((0, 0), (0, missing)), constant_values=np.nan) if missing else history


def link_budget(
    problem: Problem, amplitudes: np.ndarray, digital: np.ndarray, fully_digital: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """SINR (B, F, K) and power (B, F) of beams at amplitudes (1 or B, N), computed in double."""
    p, each = problem, digital.shape[:2]
    link = p.channel, amplitudes[:, None], p.phase[None], digital
    if fully_digital:  # H W is its own effective channel
        received, one = p.channel.astype(complex) @ digital.astype(complex), np.eye(p.users) + 0j
        link = received, np.ones((1, 1, p.users)), one[None, None], one[None, None]
    operands = []
    for array in link:  # of B F problems
        if each[1] > 1 and array.shape[:2] != (1, 1):
            array = np.broadcast_to(array, each + array.shape[2:])
        kind = complex if array.dtype.kind == "c" else float
        operands.append(np.ascontiguousarray(array.reshape(-1, *array.shape[2:]), kind))
    operands.append(np.repeat(p.noise_power, each[1]) if each[1] > 1 else p.noise_power)
    how = {"radiated": p.radiated and not fully_digital}
    ratio, power = edge.run("link_budget", operands, how, threads=p.threads)
    power = norm2(digital, (-2, -1)) if fully_digital else power.reshape(each)
    return ratio.reshape(*each, p.users), power


def none_alone(problem: Problem, sum_rate: np.ndarray) -> bool:
    """Whether no `highest_alone` can exceed a rate (B,) of its item, in a third of its time."""
    p = problem
    parts = p.channel.view(p.channel.real.dtype)
    lost = np.finfo(parts.dtype).tiny * parts[:1].size  # at most, where squares underflow
    gain = np.einsum("bfkn,bfkn->b", parts, parts) + lost  # of all users together
    if not p.radiated:
        gain = gain * np.vdot(p.phase, p.phase).real
    rate = p.channel.shape[1] / log(2.0) * np.log1p(p.power / p.noise_power * gain)
    return bool((p.heaviest * rate <= sum_rate).all())


def highest_alone(problem: Problem) -> np.ndarray:
    """Upper bound (B, K) of each user's weighted rate if no other is served.

    Whatever its weights q, a surface radiates the power P, so a user receives at most P ||h||^2.
    Under `digital` power that is P ||h diag(q) Phi||^2: weights in a disc of centre c and radius
    rho have ||h diag(q) Phi|| <= |c| ||h Phi|| + rho s ||h||, with s the largest singular value of
    Phi (derived here).  Stuck elements may be anywhere in the unit disc.
    """
    p = problem
    parts = p.channel.view(p.channel.real.dtype)
    size = np.sqrt(np.einsum("...n,...n->...", parts, parts, dtype=float))
    if not p.radiated:
        centre = abs(CENTRES[p.hardware.kind]) if p.hardware.turned else 0.5
        centre = centre if p.stuck is None else 0.0
        reach = np.linalg.svd(p.phase, compute_uv=False)[..., 0]
        received = np.sqrt(norm2(p.channel @ p.phase, -1))
        size = centre * received + (1.0 - centre) * reach[:, None] * size
    snr = (p.power / p.noise_power)[:, None, None] * size**2
    rates = np.log1p(snr).sum(axis=-2) / log(2.0)
    return p.heaviest[:, None] * p.weights * rates


@dataclass(frozen=True)
class Solution:
    """Amplitudes, beams and what they reach; arrays with the batch's leading dimensions.

    With one m for F channels, ``digital``, ``sinr`` and ``rates`` have a dimension F before
    their last two or one, and ``sum_rate`` is the sum over the channels too.

    Attributes
    ----------
    amplitudes : (..., N) real or complex
        Radiation amplitudes m in [0, 1]; complex weights q of other elements.
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
    objective : str
        As asked for.
    value : (...) float64
        The objective's value: bit/s/Hz, bit per joule and hertz (``energy_efficiency``), or the
        power (``min_power``).
    power_used : (...) float64
        Power of the beams, linear; (..., F) with one m for F channels.
    common_rate : (...) float64, or None without ``min_rate``
        Largest minimum rate in bit/s/Hz found that all users can have at once: one that is asked of
        all is feasible up to here.  A lower bound on what is possible, since the search over the
        amplitudes is local.
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
    objective: str
    value: np.ndarray
    power_used: np.ndarray
    common_rate: np.ndarray | None = None
