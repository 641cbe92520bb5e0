"""The kinds of elements (csrc/element.inc.h; docs/mathematics.md, "Elements").

An element has a weight q and one real state: an amplitude is its own weight, the others turn on a
circle q = c + rho e^{j state}.  Given weights have no state.  A new element on a circle is its line
here and in ``csrc/element.inc.h``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

AMPLITUDE, LORENTZIAN, PHASE_SHIFT, GIVEN = 0, 1, 2, 3
#: Kinds by their public names.
KINDS = {"amplitude": AMPLITUDE, "lorentzian": LORENTZIAN, "phase": PHASE_SHIFT}
#: c and rho of every kind.
CENTRES, RADII = (0j, 0.5j, 0j, 0j), (0.0, 0.5, 1.0, 0.0)


class Elements(NamedTuple):
    """The kind of the elements, their weights as given, and 1 for those that move, 0 if stuck."""

    kind: int
    given: np.ndarray
    movable: np.ndarray


def state_of(kind, weights):
    """The states at which weights, or those nearest to them on the circle, are reached."""
    if kind == AMPLITUDE:
        return weights.real.astype(np.float64)
    if kind == GIVEN:
        return np.zeros(len(weights))
    return np.angle(weights - CENTRES[kind])


def weigh(elements, state):
    """q at the states and its derivative, (N,) complex each."""
    kind, given, movable = elements
    if kind == AMPLITUDE:
        return state + 0j, movable + 0j
    if kind == GIVEN:
        return given, 0.0 * given
    turn = np.exp(1j * state)
    weights = np.where(movable > 0.0, CENTRES[kind] + RADII[kind] * turn, given)
    return weights, 1j * RADII[kind] * turn * movable


def least_weight(kind, size, pull, stay):
    """The weight on a circle at which size |q|^2 - 2 Re(conj(pull) q) is least.

    ``stay`` where it is the same everywhere.
    """
    direction = pull - size * CENTRES[kind]
    length = np.abs(direction)
    unit = direction / np.where(length > 0.0, length, 1.0)
    return np.where(length > 0.0, CENTRES[kind] + RADII[kind] * unit, stay)


def matched(weights, amplitudes):
    """Complex weights, or their real part where the amplitudes are real."""
    return weights if np.iscomplexobj(amplitudes) else weights.real
