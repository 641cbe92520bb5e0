"""How minimum and balanced rates, sums over channels with one amplitude vector, are split.

Each channel gets its part of the minimum rates, or of the weights of balanced rates, as its own.
At the best split a bit costs a user the same power in every channel that it uses
(docs/mathematics.md, "Several channels").
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ..kernels import max_min
from ..kernels.definitions.problem import LN2
from ..problem import Problem
from .found import Found, Run

#: Updates of the split at given amplitudes, and further ones of `max_min` that equalise the sums.
_CHANGES, _LEVELLING = 24, 12
#: WMMSE or Newton sweeps for the beams of a split.
_SWEEPS = 20
#: Least part of a user's rate in a channel, from which it can recover.
_LEAST_PART = 1e-7
#: Largest logarithm of an update.
_LARGEST_CHANGE = 1.0
#: Change of the parts at which they have converged.
_STILL = 1e-4
#: Logarithm of the ratio of sums that count as equal.
_LEVEL = 1e-9
#: Margin above minimum rates that are only approached; far more than any rate.
_MARGIN, _MISSED = 1e-6, 1e9
#: Singular values of diag(m) Phi, over the largest, that count as zero.
_NOTHING = 1e-9
#: What disturbance is more than interference, at least: noise under its rounding errors is lost.
_REGULAR = 1e-13
#: Rate and SINR that count as zero.
_LEAST_RATE, _LEAST_SINR = 1e-12, 1e-12


def is_split(problem: Problem) -> bool:
    """Whether rates are demanded of several channels together."""
    asked = problem.min_rate is not None or problem.objective == "max_min"
    return bool(asked and problem.channel.shape[1] > 1)


def is_moved(problem: Problem) -> bool:
    """Whether the parts of `max_min` have moved as the amplitudes did (kernels, `splits`)."""
    alone = problem.objective == "max_min" and problem.min_rate is None
    free = problem.radiated and problem.feed_power is None
    return alone and free and problem.users <= problem.feeds


def in_channels(problem: Problem) -> Problem:
    """The problem that is split first: of `max_min` without minimum rates, as it splits weights."""
    weighted = is_split(problem) and problem.objective == "max_min"
    return replace(problem, min_rate=None) if weighted else problem


def shared_out(problem: Problem, posed: Problem, run: Run) -> tuple[Found, Problem]:
    """The best beams found at the amplitudes of a run, and the split problem that they solve."""
    if problem.objective == "max_min":
        return _balanced(problem, posed, run)
    shares = _Shares(problem, run)
    shares.move()
    return shares.best, replace(posed, split=shares.best_parts)


class _Shares:
    """The search for the best parts of minimum rates: the latest beams, and the best."""

    def __init__(self, problem: Problem, run: Run) -> None:
        self.problem, self.run, self.best_parts = problem, run, problem.parts
        self.found = self.best = Found.of(problem, run)
        self.going = np.ones(len(run.amplitudes), bool)

    def take(self, parts: np.ndarray) -> None:
        """Find the beams for parts (B, F, K) of the users' rates, and keep the better ones."""
        digital, _ = replace(self.problem, split=parts).beams(self.run.amplitudes, _SWEEPS)
        self.found = Found.of(self.problem, self.run._replace(digital=digital))
        better = self.found.beats(self.best) | ~self.best.feasible  # these come nearer
        better &= self.going
        self.best = self.best.better(self.found, better)
        self.best_parts = np.where(better[:, None, None], parts, self.best_parts)

    def move(self) -> None:
        """Smaller parts in the channels where a bit costs a user more, until they converge."""
        before = np.full_like(self.found.rates, np.inf, dtype=float)
        for _ in range(_CHANGES):
            parts = _cheaper(self.problem, _rates(self.found), _prices_at(self.problem, self.found))
            self.going &= (np.abs(parts - before) > _STILL).any(axis=(-2, -1))
            if not self.going.any():
                break
            self.take(parts)
            before = parts


class _Balance(NamedTuple):
    """Rates of every channel in the ratio of weights times parts, as high as its power allows."""

    parts: np.ndarray  # (B, F, K)
    weights: np.ndarray  # (B, K)
    beams: np.ndarray  # (B, F, L, K), of the whitened channel, or V under limits of the feeds
    rates: np.ndarray  # (B, F, K)
    prices: np.ndarray  # (B, F, K)
    lowest: np.ndarray  # (B,), the lowest rate over its weight; less where a minimum is missed

    @classmethod
    def of(
        cls,
        problem: Problem,
        amplitudes: np.ndarray,
        channel: np.ndarray,
        parts: np.ndarray,
        weights: np.ndarray,
    ) -> _Balance:
        power, noise = problem.power[:, None], problem.noise_power[:, None]
        asked = weights[:, None] * parts
        if problem.feed_power is None:
            beams, level = max_min(channel, power, noise, asked, threads=problem.threads)
        else:
            posed = replace(problem, min_rate=None, split=parts, weights=weights)
            beams = posed.beams(amplitudes, _SWEEPS)[0].astype(complex)
        received, sent = np.abs(channel @ beams) ** 2, np.sum(np.abs(beams) ** 2, axis=-2)
        if problem.feed_power is not None:
            own = np.diagonal(received, axis1=-2, axis2=-1)
            rates = np.log1p(own / (received.sum(axis=-1) - own + noise[..., None])) / LN2
            level = _over(rates, asked).min(axis=-1)
        rates = np.maximum(asked * level[..., None], _LEAST_RATE)
        total = rates.sum(axis=1)
        lowest = _over(total, problem.weights).min(axis=-1)
        met = _over(total, problem.floors).min(axis=-1)
        lowest = np.where(met < 1.0, met - _MISSED, lowest)
        return cls(parts, weights, beams, rates, _prices(received, sent, noise), lowest)

    def put(self, other: _Balance, where: np.ndarray) -> _Balance:
        """The other one ``where`` that is true."""
        pairs = zip(self, other, strict=True)
        return _Balance(*(np.where(_each(where, x), y, x) for x, y in pairs))

    def common(self) -> np.ndarray:
        """Rates over their weights, (B, K), one where there is no weight."""
        return np.divide(
            self.rates.sum(axis=1), self.weights, np.ones_like(self.weights), where=self.weights > 0
        )

    def levelled(self) -> np.ndarray:
        """Parts of which the sums over the channels are equal to first order (Newton's method).

        Where log parts change by d, the level of channel f changes by -w_f d, with w_fk the share
        of its power that a bit more of all rates takes for user k.
        """
        gap = np.log(self.common())
        used = self.weights > 0.0
        gap = np.where(used, gap - np.mean(gap, axis=-1, keepdims=True, where=used), 0.0)
        share = self.rates * self.prices
        share /= share.sum(axis=-1, keepdims=True)
        of_user = self.rates / self.rates.sum(axis=1, keepdims=True)
        users = gap.shape[-1]
        system = np.eye(users) + 1.0 / users - of_user.swapaxes(-1, -2) @ share
        step = np.linalg.solve(system, -gap[..., None])[..., 0]
        step = np.clip(step, -_LARGEST_CHANGE, _LARGEST_CHANGE)
        return self.rates * np.exp(step)[:, None]


def _each(where: np.ndarray, like: np.ndarray) -> np.ndarray:
    return where.reshape(-1, *[1] * (like.ndim - 1))


def _over(total: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Sums of rates over what is asked for, infinite where that is nothing."""
    return np.where(asked > 0.0, total / np.where(asked > 0.0, asked, 1.0), np.inf)


def _balanced(problem: Problem, posed: Problem, run: Run) -> tuple[Found, Problem]:
    """`max_min` at given amplitudes: parts follow the prices, then the sums are made equal."""
    channel, carrier = _whitened(problem, run.amplitudes)
    first = Found.of(problem, run)
    weights = np.broadcast_to(problem.weights, first.rates[:, 0].shape).copy()
    given = problem, run.amplitudes, channel
    now = best = _Balance.of(*given, _normalized(_rates(first)), weights)
    for changes in (_CHANGES, _LEVELLING)[is_moved(problem) :]:
        going = np.isfinite(best.lowest)
        for _ in range(changes):
            if changes == _LEVELLING:
                parts = now.parts * (now.levelled() / now.rates)
                still = np.ptp(np.log(now.common()), axis=-1) < _LEVEL
            else:
                parts = _cheaper(problem, now.rates, now.prices)
                still = (np.abs(parts - now.parts) < _STILL).all(axis=(-2, -1))
            going &= ~still
            if not going.any():
                break
            parts = np.where(_each(going, parts), parts, now.parts)  # finite in every item
            weights = np.where(_each(going, weights), _with_floors(problem, now), now.weights)
            now = now.put(_Balance.of(*given, parts, weights), going)
            best = best.put(now, now.lowest > best.lowest)
        now = best
    digital = (carrier @ best.beams).astype(run.digital.dtype)
    found = first.better(Found.of(problem, run._replace(digital=digital)))
    return found, _posed(problem, posed, best)


def _with_floors(problem: Problem, now: _Balance) -> np.ndarray:
    """Weights with those of users at their minimum rates, which they need to get there."""
    if problem.min_rate is None:
        return now.weights
    common = np.maximum(now.common().max(axis=-1, keepdims=True), _LEAST_RATE)
    return np.maximum(problem.weights, (1.0 + _MARGIN) * problem.floors / common)


def _whitened(problem: Problem, amplitudes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """G C (B, F, K, L) and C, where V = C V' has the power of V'; C = I where V is wanted."""
    surface = amplitudes[:, None, :, None].astype(complex) * problem.phase
    surface[~problem.finite] = 0.0  # of items without a solution
    effective = problem.channel.astype(complex) @ surface
    if not problem.radiated or problem.feed_power is not None:
        return effective, np.eye(problem.feeds, dtype=complex)
    _, sizes, adjoint = np.linalg.svd(np.linalg.qr(surface, "r"), full_matrices=False)
    kept = sizes > _NOTHING * sizes[..., :1]
    by = np.divide(1.0, sizes, out=np.zeros_like(sizes), where=kept)
    carrier = adjoint.conj().swapaxes(-1, -2) * by[..., None, :]
    return effective @ carrier, carrier


def _rates(found: Found) -> np.ndarray:
    return np.maximum(found.rates.astype(float), _LEAST_RATE)


def _normalized(rates: np.ndarray) -> np.ndarray:
    """The parts of the channels in rates (B, F, K), even where there are no numbers."""
    parts = np.maximum(rates / rates.sum(axis=1, keepdims=True), _LEAST_PART)
    return np.where(np.isfinite(parts), parts, 1.0 / rates.shape[1])


def _cheaper(problem: Problem, rates: np.ndarray, prices: np.ndarray) -> np.ndarray:
    """Parts of the rates, smaller in the channels where a bit costs a user more."""
    prices = prices * _worth(problem, prices, rates)[..., None]
    mean = (rates * prices).sum(axis=1, keepdims=True) / rates.sum(axis=1, keepdims=True)
    change = np.log(mean / prices) / (1.0 + LN2 * rates)
    return _normalized(rates * np.exp(np.clip(change, -_LARGEST_CHANGE, _LARGEST_CHANGE)))


def _posed(problem: Problem, posed: Problem, best: _Balance) -> Problem:
    """The problem of its parts, equal to that of the sums of rates to first order."""
    parts = _normalized(best.rates)
    prices = best.prices * _worth(problem, best.prices, best.rates)[..., None]
    mean = (best.rates * prices).sum(axis=1) / best.rates.sum(axis=1)
    worth = (mean * best.weights)[:, None] * parts
    share = worth.sum(axis=-1, keepdims=True) / worth.sum(axis=(-2, -1), keepdims=True)
    return replace(posed, weights=best.weights, split=parts / share)


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


def _prices_at(problem: Problem, found: Found) -> np.ndarray:
    """`_prices` of the beams that were found."""
    digital = found.digital.astype(complex)
    beams = (found.amplitudes[:, None, :, None] * problem.phase) @ digital
    sent = np.sum(np.abs(beams if problem.radiated else digital) ** 2, axis=-2)
    return _prices(np.abs(problem.channel @ beams) ** 2, sent, problem.noise_power[:, None])


def _prices(received: np.ndarray, sent: np.ndarray, noise_power: np.ndarray) -> np.ndarray:
    """Marginal power per bit of each user at fixed beam directions, (B, F, K).

    The powers x_k of the beams, over those that they have, solve M x = sigma^2 with
    M = diag(|A_kk|^2 / SINR_k) - |A_kj|^2, j != k; they sum to y^T sigma^2 where M^T y = p.
    ``received`` is |A|^2, ``sent`` p.
    """
    own = np.diagonal(received, axis1=-2, axis2=-1)
    disturbance = noise_power[..., None] + (received.sum(axis=-1) - own)
    ratio = np.maximum(own / disturbance, _LEAST_SINR)
    users = np.arange(sent.shape[-1])
    system = -received
    system[..., users, users] = (1.0 + _REGULAR) * disturbance
    y = np.linalg.solve(system.swapaxes(-1, -2), sent[..., None])[..., 0]
    return np.maximum(LN2 * y * disturbance * (1.0 + ratio) / ratio, np.finfo(float).tiny)
