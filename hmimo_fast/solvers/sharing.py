"""How minimum and balanced rates, sums over channels with one amplitude vector, are split.

Each channel gets its part of the minimum rates, or of the weights of balanced rates, as its own.
At the best split a bit costs a user the same power in every channel that it uses
(docs/mathematics.md, "Several channels").
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..kernels.definitions.problem import LN2
from ..problem import Problem
from .found import Found, Run

#: Updates of the split at given amplitudes, and further ones of `max_min` that equalise the sums.
_CHANGES, _LEVELLING = 24, 60
#: WMMSE or Newton sweeps for the beams of a split.
_SWEEPS = 20
#: Least part of a user's rate in a channel, from which it can recover.
_LEAST_PART = 1e-7
#: Largest logarithm of an update; largest exponent of the ratio of rates.
_LARGEST_CHANGE, _MOST = 1.0, 50.0
#: Change of the parts at which they have converged.
_STILL = 1e-4
#: Logarithm of the ratio of sums that count as equal.
_LEVEL = 1e-9
#: Margin above minimum rates that are only approached.
_MARGIN = 1e-6
#: Rate and SINR that count as zero.
_LEAST_RATE, _LEAST_SINR = 1e-12, 1e-12


def is_split(problem: Problem) -> bool:
    """Whether rates are demanded of several channels together."""
    asked = problem.min_rate is not None or problem.objective == "max_min"
    return bool(asked and problem.channel.shape[1] > 1)


def in_channels(problem: Problem) -> Problem:
    """The problem that is split first: of `max_min` without minimum rates, as it splits weights."""
    weighted = is_split(problem) and problem.objective == "max_min"
    return replace(problem, min_rate=None) if weighted else problem


def shared_out(problem: Problem, posed: Problem, run: Run) -> tuple[Found, Problem]:
    """The best beams found at the amplitudes of a run, and the split problem that they solve."""
    shares = _Shares(problem, run, posed)
    shares.move()
    if problem.objective == "max_min":
        shares.level()
    return shares.best, shares.best_posed


class _Shares:
    """The search for the best parts: the latest beams, and the best."""

    def __init__(self, problem: Problem, run: Run, posed: Problem) -> None:
        self.problem, self.run = problem, run
        self.posed = self.best_posed = posed
        self.found = self.best = Found.of(problem, run)
        self.going = np.ones(len(run.amplitudes), bool)

    def take(self, parts: np.ndarray) -> None:
        """Find the beams for parts (B, F, K) of the users' rates, and keep the better ones."""
        self.posed = _posed(self.problem, self.posed, self.found, parts)
        digital, _ = self.posed.beams(self.run.amplitudes, _SWEEPS)
        self.found = Found.of(self.problem, self.run._replace(digital=digital))
        better = self.found.beats(self.best) | ~self.best.feasible  # these come nearer
        better &= self.going
        self.best = self.best.better(self.found, better)
        self.best_posed = _mixed(self.best_posed, self.posed, better)

    def move(self) -> None:
        """Smaller parts in the channels where a bit costs a user more, until they converge."""
        before = np.full_like(self.found.rates, np.inf, dtype=float)
        for _ in range(_CHANGES):
            parts = _cheaper(self.problem, self.found)
            self.going &= (np.abs(parts - before) > _STILL).any(axis=(-2, -1))
            if not self.going.any():
                break
            self.take(parts)
            before = parts

    def level(self) -> None:
        """From the best, parts at which all channels reach the same multiple of theirs.

        Each part is multiplied by a power of the multiple; its exponent would have closed the last
        gap (a secant step).
        """
        self.found, self.posed = self.best, self.best_posed
        self.going[:] = True
        power, gap = np.ones((len(self.run.amplitudes), 1)), 0.0
        parts = _normalized(_rates(self.found))
        for _ in range(_LEVELLING):
            self.take(parts)
            rates = _rates(self.found)
            given = rates.sum(axis=-1) / (self.posed.weights[:, None] * parts).sum(axis=-1)
            before, gap = gap, np.log(given / given.mean(axis=-1, keepdims=True))
            self.going &= (np.abs(gap) > _LEVEL).any(axis=-1)
            if not self.going.any():
                break
            closed = np.sum(before * (before - gap), axis=-1) / np.sum(before * before, axis=-1)
            power = np.clip(power / np.where(closed > 0.0, closed, 1.0)[:, None], 1.0, _MOST)
            parts = _normalized(rates * np.exp((power - 1.0) * gap)[..., None])


def _mixed(one: Problem, other: Problem, where: np.ndarray) -> Problem:
    """One problem, and the other ``where`` that is true, (B,)."""
    split = np.where(where[:, None, None], other.parts, one.parts)
    weights = np.where(where[:, None], other.weights, one.weights)
    heaviest = np.where(where, other.heaviest, one.heaviest)
    return replace(one, split=split, weights=weights, heaviest=heaviest)


def _rates(found: Found) -> np.ndarray:
    return np.maximum(found.rates.astype(float), _LEAST_RATE)


def _normalized(rates: np.ndarray) -> np.ndarray:
    """The parts of the channels in rates (B, F, K), even where there are no numbers."""
    parts = np.maximum(rates / rates.sum(axis=1, keepdims=True), _LEAST_PART)
    return np.where(np.isfinite(parts), parts, 1.0 / rates.shape[1])


def _cheaper(problem: Problem, found: Found) -> np.ndarray:
    """Parts of the rates, smaller in the channels where a bit costs a user more."""
    rates, prices = _rates(found), _prices(problem, found)
    prices = prices * _worth(problem, prices, rates)[..., None]
    mean = (rates * prices).sum(axis=1, keepdims=True) / rates.sum(axis=1, keepdims=True)
    change = np.log(mean / prices) / (1.0 + LN2 * rates)
    return _normalized(rates * np.exp(np.clip(change, -_LARGEST_CHANGE, _LARGEST_CHANGE)))


def _posed(problem: Problem, posed: Problem, found: Found, parts: np.ndarray) -> Problem:
    """The problem with these parts, equal to that of the sums of rates to first order."""
    if problem.objective != "max_min":
        return replace(posed, split=parts)
    # A user at its minimum rate gets the weight that brings it there.
    common = found.value * np.where(problem.heaviest > 0.0, problem.heaviest, 1.0)
    floors = (1.0 + _MARGIN) * problem.floors
    weights = np.maximum(problem.weights, floors / np.maximum(common, _LEAST_RATE)[:, None])
    rates, prices = _rates(found), _prices(problem, found)
    prices = prices * _worth(problem, prices, rates)[..., None]
    mean = (rates * prices).sum(axis=1) / rates.sum(axis=1)
    worth = (mean * weights)[:, None] * parts
    share = worth.sum(axis=-1, keepdims=True) / worth.sum(axis=(-2, -1), keepdims=True)
    return replace(posed, weights=weights, split=parts / share)


def _worth(problem: Problem, prices: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The value of power in each channel, (B, F), up to a common factor."""
    if problem.objective == "min_power":
        return np.ones(prices.shape[:2])
    if problem.objective == "max_min":  # a bit of a user is worth the same in all channels
        power = np.ones(prices.shape[:2])
        for _ in range(3):
            of_user = (rates * power[..., None] * prices).sum(axis=1) / rates.sum(axis=1)
            power = (rates * of_user[:, None]).sum(axis=-1) / (rates * prices).sum(axis=-1)
        return power
    slopes = problem.weights
    if problem.objective == "geometric_mean":
        slopes = slopes / rates.sum(axis=1)
    return np.max(slopes[:, None] / prices, axis=-1)  # of a user above its minimum


def _prices(problem: Problem, found: Found) -> np.ndarray:
    """Marginal power per bit of each user at fixed beam directions, (B, F, K).

    The powers x_k of the beams, over those that they have, solve M x = sigma^2 with
    M = diag(|A_kk|^2 / SINR_k) - |A_kj|^2, j != k; they sum to y^T sigma^2 where M^T y = p.
    """
    digital = found.digital.astype(complex)
    beams = (found.amplitudes[:, None, :, None] * problem.phase) @ digital
    received = np.abs(problem.channel @ beams) ** 2
    sent = np.sum(np.abs(beams if problem.radiated else digital) ** 2, axis=-2)
    own = np.diagonal(received, axis1=-2, axis2=-1)
    disturbance = problem.noise_power[:, None, None] + received.sum(axis=-1) - own
    ratio = np.maximum(own / disturbance, _LEAST_SINR)
    users = np.arange(problem.users)
    system = -received
    system[..., users, users] = disturbance
    y = np.linalg.solve(system.swapaxes(-1, -2), sent[..., None])[..., 0]
    return np.maximum(LN2 * y * disturbance * (1.0 + ratio) / ratio, np.finfo(float).tiny)
