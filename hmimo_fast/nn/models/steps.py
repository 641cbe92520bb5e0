"""Where the iterative networks begin, and the step along a gradient that their layers learn from.

Both are closed forms: nested sets of users, each with a start fitted to its channels, and spectral
steps in the box, scaled by the curvature of the radiated power (docs/mathematics.md).
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...kernels.definitions.ascent import LEAST_BEND
from ...kernels.definitions.spectral import FIRST_STEP, LARGE, LEAST_STEP, MOST_STEP
from .link import Link
from .values import akin, clip, double, library, like, plain

#: Sets of users that are tried, at most.
_MOST_SETS = 8
#: Bonus of the set with all users over none, relative to its rate, under digital power: later
#: sweeps may still drop a user, but none comes back.
_MORE_USERS = 0.2
#: How far the fit moves the start from all elements alike.
_FITTED = 0.8
#: Least residual of a user's channel over its gain: below, it is a copy of others.
_COPY = 1e-6
#: Features of an element in `seen`, and of a set in `Tried`.
SEEN, TOLD = 7, 7
#: Keeps a quotient from 0 / 0.
_TINY = torch.finfo(torch.float32).tiny


class Point(NamedTuple):
    """The state of an ascent: a point, and the last step for the next one."""

    amplitudes: Any  # (B, N)
    digital: Any  # (B, L, K)
    change: Any  # (B, N) step that led here, zero at first
    last: Any  # (B, N) gradient before it

    def moved(self, step: Step, stretch: Any = 0.0, shift: Any = 0.0) -> Point:
        """The point after a step that is stretched, and shifted in units of its length."""
        move = step.step * (1.0 + stretch) + step.length * shift
        ahead = within(self.amplitudes, move)
        return Point(ahead, step.digital, ahead - self.amplitudes, step.gradient)


class Step(NamedTuple):
    """The results of an evaluation at a point."""

    rate: Any  # (B,)
    digital: Any  # (B, L, K) beams after some sweeps
    gradient: Any  # (B, N)
    bend: Any  # (B, N) or (B, 1) curvature of the radiated power, over its mean
    step: Any  # (B, N) the next step before the box cuts it off
    length: Any  # (B, 1) its largest part


class Tried(NamedTuple):
    """Every item with each of its nested sets of users, after some plain steps."""

    channel: Any  # of the items, tensor or array, as what is taken from here will be
    link: Link  # of (B S) items, arrays where tensors can be read as some
    point: Point  # of (B S) items
    step: Step
    worth: Any  # (B, S)

    def chosen(self, scores: Any) -> Point:
        """The point of the set with the highest score, (B, S), of each item."""
        best = akin(scores.argmax(1), self.worth)
        chosen = scores.shape[1] * library(best).arange(len(best)) + best
        return Point(*(akin(x[chosen], self.channel) for x in self.point))

    def told(self) -> Any:
        """Features of each set for the choice, (TOLD, B, S); rates are over the best one."""
        with torch.no_grad(), _quiet(self.worth):
            return akin(self._told(), self.channel)

    def _told(self) -> Any:
        amplitudes, step = self.point.amplitudes, self.step
        lib, users = library(amplitudes), self.point.digital.shape[2]
        best = lib.amax(self.worth, -1, keepdims=True) + _TINY
        rates = self.link.rates(amplitudes, self.point.digital)
        spread = users * ((rates - rates.mean(1)[:, None]) ** 2).mean(1) ** 0.5
        move = clip(amplitudes + step.step, 0.0, 1.0) - amplitudes
        of_sets = [
            (move * step.gradient).sum(1), spread, served(self.point), step.rate / users,
            amplitudes.mean(1), self.link.snr,
        ]  # fmt: skip
        gain, spread, share, level, filled, snr = (x.reshape(self.worth.shape) for x in of_sets)
        rows = [
            10.0 * (self.worth / best - 1.0), clip(gain / best, 0.0, 3.0), spread / best, share,
            lib.log(level + 0.01), filled, snr,
        ]  # fmt: skip
        return like(lib.stack(rows), amplitudes)

    def later(self, steps: int, sweeps: int) -> Any:
        """Rate of each set after some more plain steps, (B, S)."""
        with torch.no_grad(), _quiet(self.worth):
            step, _ = _plain_steps(self.link, self.point, steps, sweeps)
            rate = like(step.rate, self.point.amplitudes)
            return akin(rate.reshape(self.worth.shape), self.channel)


def _quiet(values: Any) -> Any:
    """NumPy without warnings, for arrays; the compiler knows no such context."""
    return nullcontext() if isinstance(values, Tensor) else np.errstate(all="ignore")


def tried(link: Link, steps: int, sweeps: int) -> Tried:
    """The nested sets after some spectral steps with each.

    No gradient flows through it, so that tensors may be read as arrays.
    """
    with torch.no_grad():
        if not plain(link.channel):
            return _tried(link, link.channel, steps, sweeps)
        with np.errstate(all="ignore"):
            return _tried(link.arrays(), link.channel, steps, sweeps)


def _tried(link: Link, channel: Any, steps: int, sweeps: int) -> Tried:
    amplitudes, digital = nested(link)
    shape = amplitudes.shape[:2]
    link = link.repeated(shape[1])
    amplitudes, digital = (x.reshape(-1, *x.shape[2:]) for x in (amplitudes, digital))
    none = 0.0 * amplitudes
    step, point = _plain_steps(link, Point(amplitudes, digital, none, none), steps, sweeps)
    more = 0.0 if link.radiated else _MORE_USERS * served(point)
    return Tried(channel, link, point, step, (step.rate * (1.0 + more)).reshape(shape))


def served(point: Point) -> Any:
    """Share of the users that have a beam, (B,)."""
    return (point.digital != 0.0).any(1).sum(1) / point.digital.shape[2]


def _plain_steps(link: Link, point: Point, steps: int, sweeps: int) -> tuple[Step, Point]:
    """The point after some steps, and the results there; one call of the kernel makes them all."""
    if isinstance(point.amplitudes, np.ndarray):
        rate, digital, amplitudes, change, last, *found = link.spectral_ascent(point, sweeps, steps)
        return _step(rate, digital, *found), Point(amplitudes, digital, change, last)
    for _ in range(steps):
        point = point.moved(follow(link, point, sweeps))
    step = follow(link, point, sweeps)
    return step, point._replace(digital=step.digital)


def follow(link: Link, point: Point, sweeps: int, weights: Any = None) -> Step:
    """Sweeps of the beams, the gradient of their weighted rate, and the spectral step along it."""
    amplitudes, digital, change, last = point
    if isinstance(amplitudes, np.ndarray):
        rate, digital, _, _, _, *found = link.spectral_ascent(point, sweeps, 0, weights)
        return _step(rate, digital, *found)
    rate, digital, gradient = link.ascent(amplitudes, digital, sweeps, weights)
    bend = curvature(link, waves(link, digital))
    step, length = spectral_step(amplitudes, change, last, gradient, bend, unit(link))
    return Step(rate, digital, gradient, bend, step, length)


def _step(rate: Any, digital: Any, gradient: Any, bend: Any, step: Any, length: Any) -> Step:
    """The kernel's results."""
    return Step(rate, digital, gradient, bend, step, length[:, None].astype(step.dtype))


def spectral_step(
    amplitudes: Tensor, change: Tensor, last: Tensor, gradient: Tensor, bend: Tensor, unit: float
) -> tuple[Tensor, Tensor]:
    """The step of Barzilai and Borwein, s.s / s.y, in the metric of the curvature, and its length.

    Parameters
    ----------
    amplitudes, change : (B, N) real
        Current amplitudes, and the step s that led to them; zero at first.
    last : (B, N) real
        Gradient before that step; y is this less the gradient here.
    gradient : (B, N) real
        Gradient here.
    bend : (B, N) or (B, 1) real
        Curvature of each element, the metric of the step.
    unit : float
        Amplitude that step lengths are relative to.

    Returns
    -------
    step : (B, N) real
        Before the box cuts it off.
    length : (B, 1) real
        Its largest part.
    """
    slope = gradient / bend
    steepest = slope.abs().amax(-1, keepdim=True)
    steepest = steepest + (steepest == 0.0)
    # Elements at 0 that the gradient pushes against have no part.
    lost = (last - gradient) * ((amplitudes > 0.0) | (gradient > 0.0))
    product = (change * lost).sum(-1, keepdim=True)
    moved = (change * change * bend).sum(-1, keepdim=True)
    inverse = product / (moved * steepest + _TINY)
    length = 1.0 / inverse.clip(1.0 / (MOST_STEP * unit), 1.0 / (LEAST_STEP * unit))
    length = torch.where(moved > 0.0, length, FIRST_STEP * unit)
    return slope * (length / steepest), length


def nested(link: Link) -> tuple[Any, Any]:
    """Amplitudes (B, S, N) and beams (B, S, L, K) that serve nested sets, all users first.

    The users are orthonormalised in semi-orthogonal order, which always takes the largest
    residual.  Of the first s the fields q_i that reach each alone are brought onto the feeds (paper
    A, eq. 6), and element n is fitted to them: sum q_in conj(field_in) over sum |field_in|^2.  The
    beams are the zero-forcing precoder over the elements, brought onto the feeds, at equal powers.
    """
    lib = library(link.channel)
    users = link.channel.shape[1]
    rows = _orthonormal(link)
    reached = rows @ link.channel
    gram = double(link.phase.conj().T @ link.phase)
    guard = _COPY * gram.diagonal().real.max() * lib.eye(len(gram))
    inverse = like(lib.linalg.inv(gram + guard), link.phase) @ link.phase.conj().T
    feeds = _by_matrix(reached.conj(), inverse.T)
    field = _by_matrix(feeds, link.phase.T)
    size = (field.real**2 + field.imag**2).cumsum(1)
    fit = clip((reached * field).real.cumsum(1) / (size + _TINY), 0.0, math.inf)
    fit = fit / (lib.amax(fit, -1, keepdims=True) + _TINY)
    beams = (feeds[..., None] * rows[:, :, None]).cumsum(1)
    power = (beams.real**2 + beams.imag**2).sum(2, keepdims=True)
    beams = beams / (power + _TINY) ** 0.5
    count = min(users, _MOST_SETS)
    sets = [users - 1 - i * users // count for i in range(count)]
    amplitudes = unit(link) * (1.0 - _FITTED + _FITTED * fit[:, sets])
    return amplitudes, beams[:, sets]


def _orthonormal(link: Link) -> Any:
    """Coefficients (B, K, K) of orthonormal combinations of the users' channels.

    By a pivoted Cholesky factorisation: row i combines the first i + 1 users in the order.
    """
    lib, channel = library(link.channel), double(link.channel)
    gram = channel @ channel.conj().swapaxes(1, 2)
    items, users, _ = gram.shape
    item = lib.arange(items)
    # Residuals of the users' channels, and their coefficients.
    table = lib.concatenate([gram, 0.0 * gram + lib.eye(users)], -1)
    residual = table.diagonal(0, 1, 2).real
    least = _COPY * (residual + _TINY)
    rows = []
    for _ in range(users):
        user = residual.argmax(1)
        pivot = lib.maximum(residual[item, user], least[item, user])
        row = table[item, user] / pivot[:, None] ** 0.5
        rows.append(row[:, users:])
        table -= row[:, :users, None].conj() * row[:, None]
        table[item, user, user] = -math.inf  # taken
    return like(lib.stack(rows, 1), link.channel)


def unit(link: Link) -> float:
    """Amplitudes that count as large."""
    return LARGE if link.radiated else 1.0


def waves(link: Link, digital: Any) -> Any:
    """What a radiating element sends to each user, (B, K, N)."""
    return _by_matrix(digital.swapaxes(1, 2), link.phase.T)


def _by_matrix(rows: Any, matrix: Any) -> Any:
    """(B, K, L) @ (L, N) as one product, on as many threads as PyTorch has."""
    items, users, feeds = rows.shape
    flat = rows.reshape(items * users, feeds)
    if isinstance(flat, Tensor):
        product = flat @ matrix
    else:
        product = (torch.from_numpy(flat) @ torch.from_numpy(matrix)).numpy()
    return product.reshape(items, users, matrix.shape[1])


def curvature(link: Link, sent: Any) -> Any:
    """Of the radiated power in each element, (B, N), over its mean; (B, 1), 1 under digital power.

    It differs widely: the reference waves add up in some elements and cancel in others.
    """
    if not link.radiated:
        return 1.0 + 0.0 * link.noise_power[:, None]
    bend = (sent.real**2 + sent.imag**2).sum(1)
    return bend.shape[1] * bend / (bend.sum(-1, keepdims=True) + _TINY) + LEAST_BEND


def within(amplitudes: Any, move: Any) -> Any:
    """Amplitudes after a move in the box; one that turns everything off is not taken.

    On the way back every item's gradient gets the batch's median size: close to a singular channel
    second derivatives are huge, and a few items would dominate every training step.
    """
    ahead = clip(amplitudes + move, 0.0, 1.0)
    if isinstance(ahead, Tensor) and ahead.requires_grad:
        ahead.register_hook(_of_one_size)
    return library(ahead).where(ahead.sum(-1)[:, None] > 0.0, ahead, amplitudes)


def _of_one_size(gradient: Tensor) -> Tensor:
    size = gradient.norm(dim=-1, keepdim=True)
    return gradient * torch.where(size > 0.0, size.nanmedian() / size, 1.0)


def seen(link: Link, point: Point, step: Step) -> list[Any]:
    """Features of each element for a learned rule, (1, B, N) or (1, B, 1) each."""
    of_one = 1.0 / unit(link)
    move = clip(point.amplitudes + step.step, 0.0, 1.0) - point.amplitudes
    rows = [
        *(of_one * each for each in (point.amplitudes, move, point.change, step.length)),
        step.step / step.length,
        step.bend,
        link.snr[:, None],
    ]
    return [row[None] for row in rows]


def still(layer: nn.Linear) -> nn.Linear:
    """A layer whose first two outputs, stretch and shift of a step, begin at zero."""
    with torch.no_grad():
        layer.weight[:2] = 0.0
        layer.bias[:2] = 0.0
    return layer
