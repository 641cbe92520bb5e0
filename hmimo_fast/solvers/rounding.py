"""Beams at exactly the required power, where parts of V cancel in what is radiated."""

from __future__ import annotations

import numpy as np

from ..problem import Problem

#: Relative error of the power that is tolerated in single precision, and what is aimed at; in
#: double, the bound of it beyond which beams are taken for rounding errors.
_TOLERATED, _AIMED, _CANCELLED = 5e-7, 1e-7, 1e-10
#: Most moves of one number, and their lengths in units in the last place.
_MOST = 30
_STEPS = np.outer([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128], [1.0, -1.0]).ravel()
#: Numbers of V of which two are moved at once.
_PAIRED = 24
#: Most turns of all beams together, and their angle: by the golden ratio, never the same twice.
_TURNS, _ANGLE = 64, np.pi * (np.sqrt(5.0) - 1.0)
#: Beamformers per block.
_ROWS = 512
#: Relative singular values of diag(m) Phi that count as zero: through smaller ones the rounding
#: errors of beams are more than their power may be off.
_NOTHING = 1e-6


def rounded(
    problem: Problem, amplitudes: np.ndarray, digital: np.ndarray, spent: np.ndarray
) -> np.ndarray | None:
    """Beams (B, F, L, K), moved where their rounding errors change the power ``spent`` (B, F).

    Where columns of diag(m) Phi nearly depend on each other, as with about as many feeds as
    elements, parts of V that cancel are far larger than what they leave, and so are their rounding
    errors.  What radiates nothing is taken out.  In single precision V has no nearby multiple of
    the right power, so that numbers in it are moved to their neighbours until it is right, and all
    beams turned for another try (derived here).  None where all beams may stay.
    """
    asked = problem.power[:, None]
    if problem.aim.saves:  # the power is an upper bound
        asked = np.minimum(asked, spent)
    if digital.dtype == np.complex64:
        off = np.abs(spent - asked) > _TOLERATED * asked
    else:  # where parts cancel, every order of their sum has an error of its own
        off = _cancelling(problem, amplitudes, digital)
    if not off.any():
        return None
    amplitudes = amplitudes.astype(complex if amplitudes.dtype.kind == "c" else float, copy=False)
    digital = digital.copy()
    asked = np.broadcast_to(asked, spent.shape)
    items, channels = np.nonzero(off)
    for first in range(0, len(items), _ROWS):
        item, channel = (index[first : first + _ROWS] for index in (items, channels))
        surface = amplitudes[item][:, :, None] * problem.phase[channel % len(problem.phase)]
        digital[item, channel] = _with_power(surface, digital[item, channel], asked[item, channel])
    return digital


def _cancelling(problem: Problem, amplitudes: np.ndarray, digital: np.ndarray) -> np.ndarray:
    """Where parts of beams in double cancel so far (B, F) that the power may be wrong."""
    bound = np.finfo(float).eps ** 2 / problem.power[:, None]
    every = sum(np.einsum("bflk,bflk->", x, x) for x in (digital.real, digital.imag))
    every = every * np.vdot(problem.phase, problem.phase).real
    if (bound * every <= _CANCELLED**2).all():  # so of all beams together, with all elements on
        return np.zeros(digital.shape[:2], bool)
    sizes = (np.abs(amplitudes[:, None]) ** 2 * norm2(problem.phase, -1)).sum(axis=-1)
    return np.asarray(bound * norm2(digital, (-2, -1)) * sizes > _CANCELLED**2)


def norm2(array: np.ndarray, axis: int | tuple[int, int]) -> np.ndarray:
    """Sums of |x|^2, in double."""
    x = array.astype(complex, copy=False)
    return np.asarray((x.real**2 + x.imag**2).sum(axis=axis))


def _with_power(surface: np.ndarray, digital: np.ndarray, power: np.ndarray) -> np.ndarray:
    """V (R, L, K) scaled, in single also moved, until ||diag(m) Phi V||^2 is the power."""
    kind = digital.dtype
    digital = np.linalg.pinv(surface, _NOTHING) @ (surface @ digital)
    spent = norm2(surface @ digital, (-2, -1))
    some = spent > 0.0
    scale = np.sqrt(np.divide(power, spent, out=np.ones_like(power), where=some))
    digital = np.ascontiguousarray(digital * scale[:, None, None])
    if kind == np.complex128:
        return digital
    best, least = digital.astype(kind), np.full(len(power), np.inf)
    for turn in range(_TURNS):
        rows = np.flatnonzero(some & (least > _TOLERATED * power))
        if not len(rows):
            break
        turned = (np.exp(1j * _ANGLE * turn) * digital[rows]).astype(kind)
        missing = _moved(surface[rows], turned, power[rows])
        better = missing < least[rows]
        best[rows[better]], least[rows[better]] = turned[better], missing[better]
    return best


def _moved(surface: np.ndarray, digital: np.ndarray, power: np.ndarray) -> np.ndarray:
    """Move numbers of V in single, in place, to the power; returns what is missing, (R,)."""
    numbers = digital.view(np.float32).reshape(len(digital), -1)
    lengths = np.repeat(norm2(surface, -2), 2 * digital.shape[-1], axis=-1)  # of each number
    some = np.ones(len(power), bool)
    for _ in range(_MOST):
        fields = surface @ digital
        missing = power - norm2(fields, (-2, -1))
        rows = np.flatnonzero(some & (np.abs(missing) > _AIMED * power))
        if not len(rows):
            break
        slopes = surface[rows].conj().swapaxes(-1, -2) @ fields[rows]
        slopes = 2.0 * np.ascontiguousarray(slopes).view(float).reshape(len(rows), -1)
        steps = _STEPS[:, None] * np.spacing(numbers[rows]).astype(float)[:, None]
        change = (slopes[:, None] + lengths[rows][:, None] * steps) * steps
        left = np.abs(missing[rows, None, None] - change).reshape(len(rows), -1)
        best = np.maximum(left, _AIMED * power[rows, None]).argmin(axis=-1)  # smallest step first
        better = left[np.arange(len(rows)), best] < np.abs(missing[rows])
        for row in rows[~better]:  # no number alone
            some[row] = _move_two(surface[row], numbers[row], digital.shape[-1], missing[row])
        step, place = np.divmod(best[better], numbers.shape[1])
        numbers[rows[better], place] += steps[better, step, place]
    return np.abs(power - norm2(surface @ digital, (-2, -1)))


def _move_two(surface: np.ndarray, numbers: np.ndarray, users: int, missing: float) -> bool:
    """Move the two of the first numbers of V that bring its power closest, if any do."""
    columns = np.kron(surface, np.array([1.0, 1j]))  # fields of real and imaginary parts of a user
    of_user = np.arange(len(numbers)).reshape(-1, users, 2).swapaxes(0, 1).reshape(users, -1)
    fields = numbers[of_user].astype(float) @ columns.T
    products = (columns.conj().T @ columns).real
    few = of_user[:, : max(_PAIRED // users, 2)]
    steps = _STEPS[:, None, None] * np.spacing(np.abs(numbers[few])).astype(float)
    slopes = 2.0 * (fields @ columns.conj()).real[:, : few.shape[1]]
    change = ((slopes + np.diag(products)[: few.shape[1]] * steps) * steps).ravel()
    number = np.broadcast_to(np.arange(few.size), (len(_STEPS), few.size)).ravel()
    user, part = np.divmod(number, few.shape[1])
    both = change[:, None] + change
    own = user[:, None] == user
    both += 2.0 * own * products[part[:, None], part] * steps.reshape(-1, 1) * steps.ravel()
    both[number[:, None] == number] = 0.0
    left = np.abs(missing - both)
    pair = np.unravel_index(left.argmin(), left.shape)
    if not left[pair] < abs(missing):
        return False
    for move in pair:
        numbers[few.ravel()[number[move]]] += steps.ravel()[move]
    return True
