"""Amplitudes that hardware with few states can take: rounding, then coordinate refinement."""

from __future__ import annotations

import numpy as np

from ..problem import Problem
from .found import Run

#: A state is changed for a rate higher by this fraction, so that the passes end.
_GAIN = 1e-5
#: Scalings before rounding, relative to a largest amplitude of 1.
_SCALES = 2.0 ** np.linspace(-1.0, 3.0, 25)
#: WMMSE sweeps behind the rate of a candidate, and for the beams that are returned.
_SWEEPS, _LAST_SWEEPS = 10, 100


def quantized(problem: Problem, run: Run) -> Run:
    """A run with every amplitude moved to one of the states that the problem allows, if it does.

    Of a grid of scalings before rounding the one that leaves the highest rate is kept (under
    `radiated` power the rate does not depend on the scale of m).  Then each element in turn
    tries the states next to its own (the ends are neighbours too) with the beams following,
    keeps what is better, and the passes end when no element moves (derived here).
    """
    states = problem.states
    if states is None:
        return run
    chosen = _refined(problem, states, _rounded(problem, states, run.amplitudes))
    digital, rate = problem.run("best_beams", states[chosen], sweeps=_LAST_SWEEPS)
    amplitudes = np.where(np.isnan(rate)[:, None], np.nan, states[chosen])
    return run._replace(amplitudes=amplitudes.astype(run.amplitudes.dtype), digital=digital)


def _rounded(problem: Problem, states: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Indices (B, N) of the states after the best scaling, or none, and rounding."""
    between = 0.5 * (states[1:] + states[:-1])
    largest = np.max(amplitudes, axis=-1, keepdims=True, initial=np.finfo(float).tiny)
    chosen = np.searchsorted(between, amplitudes)
    highest = problem.run("best_beams", states[chosen], sweeps=_SWEEPS)[1]
    for scale in _SCALES:
        trial = np.searchsorted(between, scale * (amplitudes / largest))
        rate = problem.run("best_beams", states[trial], sweeps=_SWEEPS)[1]
        better = rate > highest
        chosen[better], highest[better] = trial[better], rate[better]
    return chosen


def _refined(problem: Problem, states: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Coordinate ascent over the states; an item leaves when a pass changes nothing in it."""
    chosen = chosen.copy()
    highest = problem.run("best_beams", states[chosen], sweeps=_SWEEPS)[1]
    steps = (1, -1)[: len(states) - 1]
    active = np.flatnonzero(np.isfinite(highest))
    while len(active):
        part = problem.take(active)
        current, best = chosen[active], highest[active]
        before = best.copy()
        for element in range(chosen.shape[1]):
            own = current[:, element].copy()
            for step in steps:
                trial = current.copy()
                trial[:, element] = (own + step) % len(states)
                rate = part.run("best_beams", states[trial], sweeps=_SWEEPS)[1]
                better = rate > best + _GAIN * np.abs(best)
                current[better], best[better] = trial[better], rate[better]
        chosen[active], highest[active] = current, best
        active = active[best > before]
    return chosen
