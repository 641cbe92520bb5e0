"""Searches over user sets: each proposes sets, solves them in batches and keeps the better ones.

Users of a set are always in ascending order and an item's starting amplitudes are always the
same, so that a set's outcome is the same in every search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from ..kernels.edge import run
from ..problem import Problem, taken
from ..solvers.found import SLACK, Found, link_budget
from ..solvers.methods import Method, attempt
from ..solvers.rounding import norm2
from .bounds import bound, promising

#: A minimum rate counts as met within this, in bit/s/Hz, in either precision.
_SLACK = 1e-9
#: Squared sine of the angle between the channels of users that count as multiples: twice the
#: rounding of single precision, squared, and more.
_ALIKE = 1e-12
#: Most users of an exhaustive search: 4095 sets.
_MOST = 12
#: Most channel values and most sets of one batched solve, and most items of a block of sets.
_VALUES, _SETS, _ITEMS = 2**20, 4096, 1024
#: Most rounds of moves in a local search, where a handful is what they take, and most moves that
#: are solved in a round: all there are up to K = 8.
_ROUNDS, _MOVES = 100, 32
#: What serving a user more is worth where nobody may be left out, far over any rate.
_SERVED = 1e6
#: Most sets of an exhaustive search that are all solved without asking which can win.
_UNPRUNED = 256


@dataclass(frozen=True)
class Task:
    """Items whose users are to be chosen, and how a user set of theirs is solved and kept."""

    problem: Problem  # with minimum rates
    method: Method
    options: dict[str, Any]
    first: np.ndarray  # (1 or B, N), amplitudes of greedy's order
    rescue: bool  # whether sets that miss a minimum rate are solved again under them
    rising: bool  # whether greedy keeps users with a minimum rate only where the sum rate rises
    report: Callable[[int, int], object]

    @property
    def most(self) -> int:
        """Most users that can be served."""
        return min(self.problem.users, self.problem.feeds)

    @property
    def start(self) -> np.ndarray:
        """Amplitudes (1 or B, N) from which every set is solved."""
        given = self.problem.start is not None or self.method.random_start
        return self.first if given else self.problem.all_on()


@dataclass
class Choice(Found):
    """A user set of every item and what it reaches, over all users: zero for the unserved.

    Feasible sets have every minimum rate on the sum over their channels, all others a ``score`` of
    -inf.
    """

    served: np.ndarray  # (B, K)


def _nobody(task: Task) -> Choice:
    """No user served in any item."""
    p = task.problem
    items, channels, users = p.size, p.channel.shape[1], p.users
    chains = p.elements if task.method.fully_digital else p.feeds
    real = p.channel.real.dtype
    return Choice(
        amplitudes=np.zeros((items, p.elements), p.channel.dtype if p.hardware.turned else real),
        digital=np.zeros((items, channels, chains, users), p.channel.dtype),
        sinr=np.zeros((items, channels, users), real),
        rates=np.zeros((items, channels, users), real),
        sum_rate=np.zeros(items),
        power_used=np.zeros((items, channels)),
        value=np.zeros(items),
        score=np.full(items, -np.inf),
        feasible=np.zeros(items, bool),
        iterations=np.zeros(items, int),
        converged=np.zeros(items, bool),
        history=np.empty((items, 0)),
        served=np.zeros((items, users), bool),
    )


def _order(task: Task) -> np.ndarray:
    """Users (B, K) by their weighted rate with matched beams at the first m, descending.

    In double precision throughout, so that the order is the same in both.  Multiples of other
    users come last, without a beam, so that the order of the others is as without them: each would
    take the place of one that is none.
    """
    p, first = task.problem, task.first
    each = p.size, *p.channel.shape[1:3]  # B, F, K
    channel, amplitudes = (
        np.ascontiguousarray(np.broadcast_to(x, (*lead, p.elements)))
        for x, lead in ((p.channel.astype(complex), each), (first[:, None], each[:2]))
    )
    phase = np.tile(p.phase, (p.size, 1, 1)) if len(p.phase) > 1 else p.phase
    operands = channel.reshape(-1, *channel.shape[2:]), amplitudes.reshape(-1, p.elements), phase
    effective = run("effective_channel", operands, threads=p.threads)
    effective = effective.reshape(*each, p.feeds)
    whole = effective.swapaxes(1, 2).reshape(p.size, p.users, each[1] * p.feeds)
    copies = _copies(p, whole)
    beams = effective.conj().swapaxes(-1, -2)
    sent = first[:, None, :, None] * (p.phase @ beams) if p.radiated else beams
    norm = np.sqrt(norm2(sent, -2))
    share = np.sqrt(p.power / (~copies).sum(axis=-1))[:, None, None]
    scale = np.where((norm > 0.0) & ~copies[:, None], share / norm, 0.0)
    ratio, _ = link_budget(p, first, beams * scale[..., None, :])
    rates = np.log1p(ratio).sum(axis=-2)
    order = np.argsort(-p.weights * rates, axis=-1, kind="stable")
    last = np.take_along_axis(copies, order, axis=-1)
    return np.take_along_axis(order, np.argsort(last, axis=-1, kind="stable"), axis=-1)


def _copies(problem: Problem, channel: np.ndarray) -> np.ndarray:
    """Whether a user's channel (B, K, M) is a multiple of that of one who is worth more alone."""
    norm = np.sqrt(norm2(channel, -1))[..., None]
    unit = np.divide(channel, norm, out=np.zeros_like(channel), where=norm > 0.0)
    alike = np.abs(unit @ unit.conj().swapaxes(-1, -2)) ** 2 > 1.0 - _ALIKE
    snr = norm[..., 0] ** 2 * (problem.power / problem.noise_power)[:, None]
    place = np.argsort(np.argsort(-problem.weights * np.log1p(snr), axis=-1, kind="stable"))
    return (alike & (place[:, None, :] < place[:, :, None])).any(axis=-1)


def _greedy(task: Task, rounds: int = 0) -> Choice:
    """Add users in descending order, each for good or not at all ([B] Algorithm 2).

    A user without a minimum rate, whom that rule would always take, must raise the sum rate.
    """
    best, order = _nobody(task), _order(task)
    rising = np.take_along_axis(task.rising | (task.problem.floors <= 0.0), order, axis=-1)
    for step in range(order.shape[1]):
        items = np.flatnonzero(task.problem.finite & (best.served.sum(axis=-1) < task.most))
        served = best.served[items]
        served[np.arange(len(items)), order[items, step]] = True
        for part, choice in _tried(task, items, served):
            _adopt(best, part, choice, rising[part, step])
        task.report(step + 1, order.shape[1] + rounds)
    return best


def _exhaustive(task: Task) -> Choice:
    """Try every set of at most L users that may be the best."""
    best, users = _nobody(task), task.problem.users
    if users > _MOST:
        raise ValueError(
            f"channel: expected at most K = {_MOST} users for an exhaustive search, got K = {users}"
        )
    sets = np.array(list(product((True, False), repeat=users)))
    size = sets.sum(axis=-1)
    sets = sets[(size > 0) & (size <= task.most)]
    items = np.flatnonzero(task.problem.finite)
    for first in range(0, len(items), _ITEMS):
        block = items[first : first + _ITEMS]
        unbeaten = _unbeaten(task, block, sets)
        repeated = np.repeat(block, [len(each) for each in unbeaten])
        done = (first + len(block)) * len(sets) - len(repeated)
        for part, choice in _tried(task, repeated, np.concatenate(unbeaten)):
            _adopt(best, part, choice, rising=True)
            done += len(part)
            task.report(done, len(items) * len(sets))
    return best


def _unbeaten(task: Task, items: np.ndarray, sets: np.ndarray) -> list[np.ndarray]:
    """The sets of each item that are not bounded below the best of the most promising few.

    Of 2509 sets (K = 12, L = 6) it saves 2 to 30 % of the time on 64 elements, and on all of
    Munich's 1024 half of it or more; of a few hundred it saves nothing.
    """
    if len(sets) <= _UNPRUNED or task.problem.objective != "sum_rate":
        return [sets] * len(items)
    alone = _alone(task, items)
    few = [promising(one, sets, _MOVES) for one in alone]
    reached = np.full(task.problem.size, -np.inf)
    for part, choice in _tried(task, np.repeat(items, len(few[0])), np.concatenate(few)):
        np.maximum.at(reached, part, choice.score)
    fully_digital = task.method.fully_digital
    bounds = [bound(one, sets, fully_digital) for one in alone]
    return [sets[most >= reached[item]] for item, most in zip(items, bounds, strict=True)]


def _alone(task: Task, items: np.ndarray) -> list[Problem]:
    """The problem of each item by itself."""
    return [task.problem.take(items[i : i + 1]) for i in range(len(items))]


def _local(task: Task) -> Choice:
    """From greedy's choice, make the best move of each item until none raises its sum rate."""
    problem, users = task.problem, task.problem.users
    best, total = _greedy(task, rounds=problem.size), users + problem.size
    one = np.eye(users, dtype=bool)
    i, j = np.triu_indices(users, 1)
    flips = np.concatenate([one, one[i] ^ one[j]])
    items = np.flatnonzero(problem.finite)
    for _ in range(_ROUNDS):
        before = best.score[items]
        for first in range(0, len(items), _ITEMS):
            block = items[first : first + _ITEMS]
            moves = [
                promising(one, _moves(served, flips, task.most), _MOVES)
                for one, served in zip(_alone(task, block), best.served[block], strict=True)
            ]
            repeated = np.repeat(block, [len(m) for m in moves])
            for part, choice in _tried(task, repeated, np.concatenate(moves)):
                _adopt(best, part, choice, rising=True)
        items = items[best.score[items] > before]
        task.report(total - len(items), total)
        if not len(items):
            break
    return best


def again(task: Task, best: Choice, start: np.ndarray) -> None:
    """Solve the sets that were chosen from a start (1, N) with twice the iterations, in place.

    What is better is kept.
    """
    problem = replace(task.problem, start=start, effort=2)
    other = replace(task, problem=problem, first=start)
    items = np.flatnonzero(best.served.any(axis=-1))
    for part, choice in _tried(other, items, best.served[items]):
        _adopt(best, part, choice, rising=True)


#: Searches by name.
SEARCHES: dict[str, Callable[[Task], Choice]] = {
    "greedy": _greedy,
    "local": _local,
    "exhaustive": _exhaustive,
}


def _moves(served: np.ndarray, flips: np.ndarray, most: int) -> np.ndarray:
    """Sets one drop, add or swap away: one flip, or two that leave the size as it is."""
    moved = served ^ flips
    size = moved.sum(axis=-1)
    swap_or_single = (flips.sum(axis=-1) == 1) | (size == served.sum())
    return moved[swap_or_single & (size > 0) & (size <= most)]


def _tried(
    task: Task, items: np.ndarray, served: np.ndarray
) -> Iterator[tuple[np.ndarray, Choice]]:
    """Solve user sets (T, K) of items (T,), those of equal size together, the larger first."""
    size = served.sum(axis=-1)
    for users in np.unique(size)[::-1]:
        rows = np.flatnonzero(size == users)
        length = max(1, min(_SETS, _VALUES // (users * task.problem.channel[0, :, 0].size)))
        for first in range(0, len(rows), length):
            part = rows[first : first + length]
            yield items[part], _solved(task, items[part], served[part])


def _solved(task: Task, items: np.ndarray, served: np.ndarray) -> Choice:
    """Amplitudes and beams for user sets of equal size."""
    users = np.nonzero(served)[1].reshape(len(items), -1)
    problem = task.problem.of_users(items, users)
    # `solve` may stay below a minimum by its slack, who is served may not.
    floor, slack = problem.floors, SLACK[problem.channel.real.dtype.char]
    asked = np.where(floor > 0.0, floor + slack, 0.0)
    problem = replace(problem, min_rate=asked if task.rescue and asked.any() else None)
    found = attempt(problem, task.method, taken(task.start, items), task.options)
    reached = found.rates.sum(axis=-2)
    met = np.isfinite(found.sum_rate) & (reached >= floor - _SLACK).all(axis=-1)

    def spread(array: np.ndarray) -> np.ndarray:
        """Over all users, who are the last dimension."""
        whole = np.zeros((*array.shape[:-1], served.shape[-1]), array.dtype)
        places = users.reshape(len(users), *[1] * (array.ndim - 2), -1)
        np.put_along_axis(whole, places, array, axis=-1)
        return whole

    arrays = dict(vars(found))
    for name in ("digital", "sinr", "rates"):
        arrays[name] = spread(arrays[name])
    if problem.aim.leaves_out:
        served_first = 0.0
        served = spread((reached > _SLACK) | (floor > 0.0))
    else:
        served_first = _SERVED * users.shape[1]
    arrays["score"] = np.where(met, found.score + served_first, -np.inf)
    arrays["history"] = found.history[:, :0]
    return Choice(**arrays | {"feasible": met, "served": served})


def _adopt(best: Choice, items: np.ndarray, choice: Choice, rising: bool | np.ndarray) -> None:
    """Write each item's best set over what it has, if it is feasible and, where told, higher."""
    score = choice.score
    order = np.lexsort((-score, items))  # stable: the first of equals wins
    winners, first = np.unique(items[order], return_index=True)
    rows = order[first]
    rising = np.broadcast_to(rising, items.shape)[rows]
    wins = score[rows] > np.where(rising, best.score[winners], -np.inf)
    best.put(winners[wins], choice.take(rows[wins]))
