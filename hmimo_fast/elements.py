"""What the elements of a surface can do: from ``elements=`` and ``levels=`` to weights.

The mathematics of a kind stands in `hmimo_fast.kernels.definitions.element` and its C twin.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arguments import as_array, as_numbers, bad_value
from .kernels.definitions.element import AMPLITUDE, CENTRES, KINDS, LORENTZIAN, PHASE_SHIFT, RADII

#: What `hmimo_fast.solve` knows by name.
NAMES = tuple(KINDS)
#: How far a weight may lie from its circle or outside the unit disc: rounding of complex64.
_TOLERANCE = 1e-6
#: Up to so many states an element tries all, of more so many of the nearest.
_TRIED, _TRIED_ON_CIRCLES = (8, 4), (4, 2)


class Elements(NamedTuple):
    """The kind of elements over which is searched, and the states they can take, if they are few.

    ``states`` (S,) is real and ascending for amplitudes, or complex.
    """

    kind: int = AMPLITUDE
    states: np.ndarray | None = None

    @property
    def turned(self) -> bool:
        """Whether weights are complex."""
        return self.kind != AMPLITUDE

    def all_on(self, size: int) -> np.ndarray:
        """Weights (1, N) of elements in their first state."""
        first = CENTRES[self.kind] + RADII[self.kind] if self.turned else 1.0
        return np.full((1, size), first)

    def random(self, draws: np.ndarray, lowest: float) -> np.ndarray:
        """Weights of uniform draws from [0, 1): amplitudes from ``lowest`` on, or any angle."""
        if not self.turned:
            return lowest + (1.0 - lowest) * draws
        return CENTRES[self.kind] + RADII[self.kind] * np.exp(2j * np.pi * draws)

    def neighbours(self) -> np.ndarray:
        """Indices (S, C) of the states that an element in each state tries.

        Amplitudes try the next ones, the ends being neighbours too; a few complex states all
        others, and of many the nearest: two on a circle, and else four.
        """
        assert self.states is not None
        count = len(self.states)
        if not self.turned:
            steps = np.array((1, -1)[: count - 1], int)
            return (np.arange(count)[:, None] + steps) % count
        distance = np.abs(self.states[:, None] - self.states)
        circle = np.ptp(np.abs(self.states - CENTRES[self.kind])) < _TOLERANCE
        most, near = _TRIED_ON_CIRCLES if circle else _TRIED
        tried = count - 1 if count <= most else near
        return np.argsort(distance, axis=-1, kind="stable")[:, 1 : 1 + tried]


def even_states(name: str, bits: int) -> np.ndarray:
    """The 2^bits states of a named element at even amplitudes or angles, (S,)."""
    kind, count = KINDS[name], 2**bits
    if kind == AMPLITUDE:
        return np.linspace(0.0, 1.0, count)
    return CENTRES[kind] + RADII[kind] * np.exp(2j * np.pi * np.arange(count) / count)


def elements_of(value: Any, levels: int | ArrayLike | None) -> Elements:
    """The elements of `hmimo_fast.solve`, checked."""
    if isinstance(value, str):
        if value not in KINDS:
            expected = ", ".join(map(repr, KINDS))
            raise ValueError(f"elements: expected one of {expected} or states, got {value!r}")
        kind = KINDS[value]
        if levels is None:
            return Elements(kind)
        if kind != AMPLITUDE:
            raise ValueError(f"levels: expected elements 'amplitude', got elements {value!r}")
        return Elements(kind, _levels(levels))
    if levels is not None:
        raise ValueError("levels: expected elements 'amplitude', got states of elements")
    return _of_states(value)


def start_of(value: ArrayLike, size: int, elements: Elements) -> np.ndarray:
    """Weights (..., N) to start from, checked; amplitudes that are all off become all on."""
    weights = as_numbers("start", value, kinds="biufc" if elements.turned else "biuf")
    weights = weights.astype(complex if elements.turned else float)
    if not weights.ndim or weights.shape[-1] != size:
        raise ValueError(f"start: expected (..., N) with N = {size}, got {weights.shape}")
    if not elements.turned:
        good, expected = (weights >= 0.0) & (weights <= 1.0), "values in [0, 1]"
    elif elements.states is not None:
        good, expected = np.abs(weights) <= 1.0 + _TOLERANCE, "values in the unit disc"
    else:
        good, expected = on_circle(elements.kind, weights), f"values on {_circle(elements.kind)}"
    if not good.all():
        raise bad_value("start", weights, good, expected)
    if elements.turned:
        return weights
    off = ~weights.astype(np.float32).any(axis=-1, keepdims=True)  # in either precision
    return np.where(off, 1.0, weights)


def on_circle(kind: int, weights: np.ndarray) -> np.ndarray:
    """Whether weights lie on the circle of a kind."""
    return np.asarray(np.abs(np.abs(weights - CENTRES[kind]) - RADII[kind]) <= _TOLERANCE)


def _circle(kind: int) -> str:
    centre, radius = CENTRES[kind], RADII[kind]
    return f"the circle around {centre:g} of radius {radius:g}"


def _levels(value: int | ArrayLike) -> np.ndarray:
    """The allowed amplitudes, ascending, of a number of bits or a sequence of levels."""
    states = as_array("levels", value)
    if states.dtype.kind not in "iuf" or (not states.ndim and states.dtype.kind == "f"):
        raise TypeError(f"levels: expected an integer or real numbers, got {value!r}")
    if not states.ndim:
        if not 1 <= states <= 16:
            raise ValueError(f"levels: expected from 1 to 16 bits, got {value!r}")
        return even_states("amplitude", int(states))
    states = np.unique(states.astype(float))
    if np.ndim(value) != 1 or not len(states):
        raise ValueError(f"levels: expected a number of bits or (levels,), got {np.shape(value)}")
    if not ((states >= 0.0) & (states <= 1.0)).all() or not states[-1] > 0.0:
        raise ValueError(f"levels: expected values in [0, 1], not all 0, got {value!r}")
    return states


def _of_states(value: ArrayLike) -> Elements:
    """Elements with a finite set of states (S,) in the unit disc.

    They are searched over as amplitudes if all states are, as Lorentzian elements if all lie on
    that circle, and else as phases, and then rounded.
    """
    states = as_array("elements", value)
    if states.dtype.kind not in "biufc":
        raise TypeError(f"elements: expected a name or numbers, got dtype {states.dtype}")
    if states.ndim != 1 or not len(states):
        raise ValueError(f"elements: expected a name or states (S,), got shape {states.shape}")
    states = np.unique(states.astype(complex))
    if not (np.abs(states) <= 1.0 + _TOLERANCE).all() or not states.any():
        raise ValueError(f"elements: expected states in the unit disc, not all 0, got {value!r}")
    if not states.imag.any() and (states.real >= 0.0).all():
        return Elements(AMPLITUDE, states.real)
    kind = LORENTZIAN if on_circle(LORENTZIAN, states).all() else PHASE_SHIFT
    return Elements(kind, states)
