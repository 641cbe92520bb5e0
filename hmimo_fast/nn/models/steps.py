"""Where the iterative networks begin, and the step along a gradient that their layers learn from.

Both are closed forms: nested sets of users, each with a start fitted to its channels, and spectral
steps in the box, scaled by the curvature of the radiated power (docs/mathematics.md).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .link import Link
from .values import double, library, like

#: Amplitudes begin this far below 1 under radiated power, where their scale is free.
_HEADROOM = 0.3
#: Sets of users that are tried, at most.
_MOST_SETS = 8
#: Bonus of the set with all users over none, relative to its rate, under digital power: later
#: sweeps may still give a user up, but none comes back.
_MORE_USERS = 0.2
#: How far the fit moves the start from all elements alike.
_FITTED = 0.8
#: Least residual of a user's channel over its gain: below, it is a copy of others.
_COPY = 1e-6
#: Of the first step, in units of the amplitudes; the range of the length of the others.
_FIRST, _SHORTEST, _LONGEST = 0.5, 0.02, 5.0
#: Of the mean curvature, added to an element's own.
_LEAST_BEND = 0.05
#: Features of an element in `seen`.
SEEN = 7
#: Keeps a quotient from 0 / 0.
_TINY = torch.finfo(torch.float32).tiny


class Point(NamedTuple):
    """Where an ascent is, and what the next step has to know of the last one."""

    amplitudes: Any  # (B, N)
    digital: Any  # (B, L, K)
    change: Any  # (B, N) step that led here
    last: Any  # (B, N) gradient before it, None at first


def begin(link: Link, layers: int, sweeps: int) -> Point:
    """The most promising of nested sets of users after some spectral steps with each."""
    with torch.no_grad():
        amplitudes, digital = nested(link)
        items, sets = amplitudes.shape[:2]
        link = link.repeated(sets)
        amplitudes, digital = (x.reshape(items * sets, *x.shape[2:]) for x in (amplitudes, digital))
        point = Point(amplitudes, digital, 0.0 * amplitudes, None)
        for _ in range(layers):
            point = _stepped(link, point, sweeps)
        rate, digital, _ = link.ascent(point.amplitudes, point.digital, sweeps)
        served = (abs(digital).sum(1) > 0.0).sum(1) / digital.shape[2]
        merit = rate if link.radiated else rate * (1.0 + _MORE_USERS * served)
        best = merit.reshape(items, sets).argmax(1)
        chosen = sets * library(best).arange(items) + best
        return Point(*(x[chosen] for x in point))


def _stepped(link: Link, point: Point, sweeps: int) -> Point:
    amplitudes, digital, change, last = point
    _, digital, gradient = link.ascent(amplitudes, digital, sweeps)
    step = spectral_step(
        amplitudes, change, last, gradient, curvature(link, waves(link, digital)), unit(link)
    )
    ahead = within(amplitudes, step.move())
    return Point(ahead, digital, ahead - amplitudes, gradient)


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
    guard = _COPY * abs(gram).max() * lib.eye(len(gram))
    inverse = like(lib.linalg.inv(gram + guard), link.phase) @ link.phase.conj().T
    feeds = _by_matrix(reached.conj(), inverse.T)
    field = _by_matrix(feeds, link.phase.T)
    size = (field.real**2 + field.imag**2).cumsum(1)
    fit = (((reached * field).real.cumsum(1)) / (size + _TINY)).clip(0.0, None)
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
    left = channel @ channel.conj().swapaxes(1, 2)
    items, users, _ = left.shape
    item, own = lib.arange(items), lib.arange(users)
    gain = left[:, own, own].real
    combined = 0.0 * left + lib.eye(users)
    free = gain * 0.0 + 1.0
    rows = []
    for _ in range(users):
        residual = left[:, own, own].real
        user = lib.where(free > 0.0, residual, -1.0).argmax(1)
        pivot = (residual / (gain + _TINY)).clip(_COPY, None)[item, user] * gain[item, user] + _TINY
        row, mine = left[item, user], combined[item, user]
        rows.append(mine / pivot[:, None] ** 0.5)
        part = (row.conj() / pivot[:, None])[:, :, None]
        left = left - part * row[:, None]
        combined = combined - part * mine[:, None]
        free = free * (own != user[:, None])
    return like(lib.stack(rows, 1), link.channel)


def unit(link: Link) -> float:
    """Amplitudes that count as large."""
    return _HEADROOM if link.radiated else 1.0


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
    return bend.shape[1] * bend / (bend.sum(-1, keepdims=True) + _TINY) + _LEAST_BEND


class Step(NamedTuple):
    """A step before the box cuts it off: length times direction."""

    direction: Any  # (B, N), of largest magnitude 1
    length: Any  # (B, 1)

    def move(self, stretch: Any = 0.0, shift: Any = 0.0) -> Any:
        """What is added to the amplitudes, stretched and shifted in units of the length."""
        return self.length * (self.direction * (1.0 + stretch) + shift)


def spectral_step(
    amplitudes: Any, change: Any, last: Any, gradient: Any, bend: Any, unit: float
) -> Step:
    """Step of Barzilai and Borwein's length s.s / s.y, as `hf.solve` begins from.

    Parameters
    ----------
    amplitudes, change : (B, N) real
        Where we are, and the step s that led here.
    last : (B, N) real or None
        Gradient before that step; y is what it lost.
    gradient : (B, N) real
        Gradient here.
    bend : (B, N) or (B, 1) real
        Curvature of each element, the metric of the step.
    unit : float
        Amplitude that lengths are relative to.
    """
    lib = library(gradient)
    slope = gradient / bend
    steepest = lib.amax(abs(slope), -1, keepdims=True)
    steepest = steepest + (steepest == 0.0)
    direction = slope / steepest
    length = _FIRST * unit * (steepest / steepest)
    if last is not None:
        # Elements at 0 that the gradient pushes against have no part.
        lost = (last - gradient) * ((amplitudes > 0.0) | (gradient > 0.0))
        product = (change * lost).sum(-1, keepdims=True)
        size = (change * change * bend).sum(-1, keepdims=True) * steepest
        # Inverted, so that no change, or none for the worse, needs no case of its own.
        inverse = (product / (size + _TINY)).clip(1.0 / (_LONGEST * unit), 1.0 / (_SHORTEST * unit))
        length = 1.0 / inverse
    return Step(direction, length)


def within(amplitudes: Any, move: Any) -> Any:
    """Amplitudes after a move in the box; one that turns everything off is not made.

    On the way back every item's gradient gets the batch's median size: close to a singular channel
    second derivatives are huge, and a handful of items would decide every step of a training.
    """
    ahead = (amplitudes + move).clip(0.0, 1.0)
    if isinstance(ahead, Tensor) and ahead.requires_grad:
        ahead.register_hook(_of_one_size)
    on = ahead.sum(-1)[:, None] > 0.0
    return ahead * on + amplitudes * ~on


def _of_one_size(gradient: Tensor) -> Tensor:
    size = gradient.norm(dim=-1, keepdim=True)
    return gradient * torch.where(size > 0.0, size.nanmedian() / size, 1.0)


def seen(link: Link, amplitudes: Any, change: Any, step: Step, bend: Any) -> list[Any]:
    """What a learned rule is told of each element, (1, B, N) or (1, B, 1) each."""
    of_one = 1.0 / unit(link)
    move = (amplitudes + step.move()).clip(0.0, 1.0) - amplitudes
    rows = [
        *(of_one * each for each in (amplitudes, move, change, step.length)),
        step.direction,
        bend,
        link.snr[:, None],
    ]
    return [row[None] for row in rows]


def still(layer: nn.Linear) -> nn.Linear:
    """A layer whose first two outputs, what is done to a step, begin at zero."""
    with torch.no_grad():
        layer.weight[:2] = 0.0
        layer.bias[:2] = 0.0
    return layer
