"""Amplitudes that hardware with few states can take: rounding, then coordinate refinement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..kernels.edge import as_array
from .problem import Found, Problem, best_beams

#: A state is changed for a rate higher by this fraction, so that the passes end.
_GAIN = 1e-5
#: Scalings before rounding, relative to a largest amplitude of 1.
_SCALES = 2.0 ** np.linspace(-1.0, 3.0, 25)
#: WMMSE sweeps behind the rate of a candidate, and for the beams that are returned.
_SWEEPS, _LAST_SWEEPS = 10, 100


def as_levels(value: Any) -> np.ndarray:
    """The allowed amplitudes, ascending, of a number of bits or a sequence of levels."""
    states = as_array("levels", value)
    if states.dtype.kind not in "iuf" or (not states.ndim and states.dtype.kind == "f"):
        raise TypeError(f"levels: expected an integer or real numbers, got {value!r}")
    if not states.ndim:
        if not 1 <= states <= 16:
            raise ValueError(f"levels: expected from 1 to 16 bits, got {value!r}")
        return np.linspace(0.0, 1.0, 2 ** int(states))
    states = np.unique(states.astype(float))
    if np.ndim(value) != 1 or not len(states):
        raise ValueError(f"levels: expected a number of bits or (levels,), got {np.shape(value)}")
    if not ((states >= 0.0) & (states <= 1.0)).all() or not states[-1] > 0.0:
        raise ValueError(f"levels: expected values in [0, 1], not all 0, got {value!r}")
    return states


def quantized(problem: Problem, found: Found, states: np.ndarray) -> Found:
    """What was found, with every amplitude moved to one of the ``states``.

    Of a grid of scalings before rounding the one that leaves the highest rate is kept (under
    `radiated` power the rate does not depend on the scale of m).  Then each element in turn
    tries the states next to its own (the ends are neighbours too) with the beams following,
    keeps what is better, and the passes end when no element moves (derived here).
    """
    flat, shape = problem.flattened(), found.amplitudes.shape
    amplitudes = found.amplitudes.reshape(-1, shape[-1])
    chosen = _refined(flat, states, _rounded(flat, states, amplitudes))
    digital, rate = best_beams(flat, states[chosen], sweeps=_LAST_SWEEPS)
    amplitudes = np.where(np.isnan(rate)[:, None], np.nan, states[chosen])
    return replace(
        found,
        amplitudes=amplitudes.reshape(shape).astype(found.amplitudes.dtype),
        digital=digital.reshape(found.digital.shape),
    )


def _rounded(problem: Problem, states: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """Indices (B, N) of the states after the best scaling, or none, and rounding."""
    between = 0.5 * (states[1:] + states[:-1])
    largest = np.max(amplitudes, axis=-1, keepdims=True, initial=np.finfo(float).tiny)
    chosen = np.searchsorted(between, amplitudes)
    highest = best_beams(problem, states[chosen], sweeps=_SWEEPS)[1]
    for scale in _SCALES:
        trial = np.searchsorted(between, scale * (amplitudes / largest))
        rate = best_beams(problem, states[trial], sweeps=_SWEEPS)[1]
        better = rate > highest
        chosen[better], highest[better] = trial[better], rate[better]
    return chosen


def _refined(problem: Problem, states: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Coordinate ascent over the states; an item leaves when a pass changes nothing in it."""
    chosen = chosen.copy()
    highest = best_beams(problem, states[chosen], sweeps=_SWEEPS)[1]
    steps = (1, -1)[: len(states) - 1]
    active = np.flatnonzero(np.isfinite(highest))
    while len(active):
        part = problem.items(active)
        current, best = chosen[active], highest[active]
        before = best.copy()
        for element in range(chosen.shape[1]):
            own = current[:, element].copy()
            for step in steps:
                trial = current.copy()
                trial[:, element] = (own + step) % len(states)
                rate = best_beams(part, states[trial], sweeps=_SWEEPS)[1]
                better = rate > best + _GAIN * np.abs(best)
                current[better], best[better] = trial[better], rate[better]
        chosen[active], highest[active] = current, best
        active = active[best > before]
    return chosen
