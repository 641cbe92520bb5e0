"""Elements with few states, amplitudes or complex: rounding, then coordinate refinement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import numpy as np

from ..problem import Problem
from .found import Run

#: A state is changed for a rate higher by this fraction, so that the passes end.
_GAIN = 1e-5
#: Scalings before rounding: of amplitudes relative to a largest of 1, and of complex weights.
_SCALES, _COMPLEX_SCALES = 2.0 ** np.linspace(-1.0, 3.0, 25), (1.0, 0.5, 0.7, 1.4, 2.0)
#: Rotations of all weights before rounding, which the beams make up for: over the circle, or over a
#: step of even phases, since those by whole steps are then the same.
_ROTATIONS, _EVEN_ROTATIONS = 48, 24
#: Where ascents follow: one rotation or scaling in so many is tried, and so many ascents go on
#: after the first passes over the states.
_COARSER, _COARSER_SCALES, _FINALISTS = 6, 4, 2
_PASSES, _LAST_PASSES = 1, 12
#: Items from which on ascents fill the lanes without others beside them.
_PACK = 16
#: Elements that are tried before the rest of the surface is gathered anew.
_BLOCK = 8
#: WMMSE sweeps behind the rate of a candidate, and for the beams that are returned.
_SWEEPS, _LAST_SWEEPS = 10, 100


def quantized(problem: Problem, run: Run, *others: Run) -> Run:
    """A run with every element moved to one of the states that the problem allows, if it does.

    Of several runs the one whose states are best.

    A grid of scalings and, for complex states, rotations before rounding (the rate does not depend
    on a rotation of q, nor under `radiated` power on its scale) gives states from which coordinate
    ascents begin: for the sum rate those of `state_ascent`, of which the best go on, with rounding
    amplitudes alone beside them; and else one from the best of all, with the beams following
    (derived here).
    """
    states = problem.hardware.states
    if states is None:
        return run
    found = [one.amplitudes for one in (run, *others)]
    within = problem.min_rate is not None or problem.feed_power is not None
    if within or problem.objective != "sum_rate":
        chosen = _refined(problem, states, _rounded(problem, states, found))
    else:
        chosen = _ascended(problem.in_single(), states, found)
    amplitudes = problem.placed(states[chosen])
    digital, rate = problem.beams(amplitudes, _LAST_SWEEPS)
    amplitudes = np.where(np.isnan(rate)[:, None], np.nan, amplitudes)
    return run._replace(amplitudes=amplitudes.astype(run.amplitudes.dtype), digital=digital)


def _ascended(problem: Problem, states: np.ndarray, found: list[np.ndarray]) -> np.ndarray:
    """Indices (B, N) of the best states: of ends of ascents, and nearest to first amplitudes."""
    turned, items = states.dtype.kind == "c", np.arange(problem.size)
    starts = list(_moved(problem, states, found, _COARSER if turned else _COARSER_SCALES))
    rates, chosen = _ascents(problem, starts, _PASSES)
    best = np.argsort(-rates, axis=0, kind="stable")[:_FINALISTS]  # NaN is last
    rates, ends = _ascents(problem, [states[chosen[b, items]] for b in best], _LAST_PASSES)
    best_end = ends[_highest(rates), items]
    if turned:
        return best_end
    # Zero forcing may favour the rounded amplitudes, which the ascents, by WMMSE, do not see.
    ends = np.stack([_nearest(states, starts[0]), best_end])
    return ends[_highest(_rates(problem, states, ends)), items]


def _highest(rates: np.ndarray) -> np.ndarray:
    return np.argmax(np.where(np.isnan(rates), -np.inf, rates), axis=0)


def _tiled(problem: Problem, times: int) -> Problem:
    return problem.take(np.tile(np.arange(problem.size), times))


def _rates(problem: Problem, states: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Rates (T, B) of states (T, B, N)."""
    if problem.size >= _PACK:
        return np.array([_rate(problem, states, chosen) for chosen in ends])
    together = ends.reshape(-1, problem.elements)
    return _rate(_tiled(problem, len(ends)), states, together).reshape(ends.shape[:2])


def _ascents(
    problem: Problem, starts: list[np.ndarray], passes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rates (T, B) and indices of states (T, B, N) of ascents from weights, (B, N) each."""
    many, shape = problem, (len(starts), problem.size)
    if problem.size < _PACK:
        many = _tiled(problem, len(starts))
        starts = [np.concatenate(starts)]
    ends = [many.run("state_ascent", many.placed(start), iterations=passes) for start in starts]
    rates, chosen = (np.concatenate(parts) for parts in zip(*ends, strict=True))
    return rates.reshape(shape), chosen.reshape(*shape, problem.elements)


def _moved(
    problem: Problem, states: np.ndarray, found: list[np.ndarray], every: int = 1
) -> Iterator[np.ndarray]:
    """Weights (B, N) as they were found, scaled and rotated, one of ``every`` so many."""
    for amplitudes in found:
        yield from _copies(problem, states, amplitudes, every)


def _copies(
    problem: Problem, states: np.ndarray, amplitudes: np.ndarray, every: int
) -> Iterator[np.ndarray]:
    if states.dtype.kind != "c":
        largest = np.max(amplitudes, axis=-1, keepdims=True, initial=np.finfo(float).tiny)
        yield amplitudes
        for scale in _SCALES[every // 2 :: every]:
            yield scale * (amplitudes / largest)
        return
    same_size = np.ptp(np.abs(states)) < 1e-6  # the nearest is then that of the nearest angle
    for scale in _COMPLEX_SCALES[: 1 if same_size else None]:
        for rotation in _rotations(problem, states)[::every]:
            yield scale * rotation * amplitudes


def _nearest(states: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Indices (B, N) of the states nearest to weights."""
    if states.dtype.kind != "c":
        return np.searchsorted(0.5 * (states[1:] + states[:-1]), weights)
    return np.argmin(np.abs(weights[..., None] - states), axis=-1)


def _rotations(problem: Problem, states: np.ndarray) -> np.ndarray:
    step = 2.0 * np.pi / len(states)
    turned = states * np.exp(1j * step)
    even = (np.abs(turned[:, None] - states).min(axis=-1) < 1e-6).all()
    if even and problem.stuck is None:
        return np.exp(1j * step * np.arange(_EVEN_ROTATIONS) / _EVEN_ROTATIONS)
    return np.exp(2j * np.pi * np.arange(_ROTATIONS) / _ROTATIONS)


def _rate(problem: Problem, states: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    return problem.beams(problem.placed(states[chosen]), _SWEEPS)[1]


def _rounded(problem: Problem, states: np.ndarray, found: list[np.ndarray]) -> np.ndarray:
    """Indices (B, N) of the states after the best scaling and rotation."""
    moved = _moved(problem, states, found)
    trials = (_nearest(states, weights) for weights in moved)
    best = next(trials)
    highest = _rate(problem, states, best)
    for trial in trials:
        rate = _rate(problem, states, trial)
        better = rate > highest
        best[better], highest[better] = trial[better], rate[better]
    return best


def _refined(problem: Problem, states: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Coordinate ascent over the states (B, N); an item leaves when no element moves any more.

    A few elements at a time, of which the rest of the surface is a part that stays.
    """
    neighbours = problem.hardware.neighbours()
    moves = np.True_ if problem.stuck is None else np.isnan(problem.stuck).any(axis=0)
    elements = np.flatnonzero(np.broadcast_to(moves, chosen.shape[1]))
    chosen, highest = chosen.copy(), _rate(problem, states, chosen)
    moving = np.isfinite(highest) & bool(neighbours.size)
    still = np.where(moving, 0, len(elements))  # how many elements were tried since one moved
    for block in cycle(np.split(elements, range(_BLOCK, len(elements), _BLOCK))):
        active = np.flatnonzero(still < len(elements))
        if not len(active):
            return chosen
        own = chosen[active], highest[active], still[active]
        _refine_block(problem.take(active), states, neighbours, block, *own)
        chosen[active], highest[active], still[active] = own
    return chosen


def _refine_block(
    problem: Problem,
    states: np.ndarray,
    neighbours: np.ndarray,
    block: np.ndarray,
    chosen: np.ndarray,
    highest: np.ndarray,
    still: np.ndarray,
) -> None:
    """Best states of each element of a block in turn, in place, and the rates with them."""
    items, tried = np.arange(len(chosen)), neighbours.shape[1]
    few, weights = problem.gathered(problem.placed(states[chosen]), block)
    few, weights = few.take(np.repeat(items, tried)), np.repeat(weights, tried, axis=0)
    for place, element in enumerate(block):
        options = neighbours[chosen[:, element]]
        trial = weights.copy()
        trial[:, place] = states[options].ravel()
        rates = few.beams(few.placed(trial), _SWEEPS)[1].reshape(len(items), tried)
        first = np.argmax(np.where(np.isnan(rates), -np.inf, rates), axis=-1)
        rate = rates[items, first]
        better = rate > highest + _GAIN * np.abs(highest)
        still[:] = np.where(better, 0, still + 1)
        chosen[better, element] = options[better, first[better]]
        highest[better] = rate[better]
        weights[np.repeat(better, tried), place] = np.repeat(states[chosen[better, element]], tried)
