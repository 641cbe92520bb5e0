"""Arguments that are counts, lengths or arrays of a known shape, or errors that name them."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_count(name: str, value: Any) -> int:
    """Return ``value`` as an int of at least 1, or raise an error that names the argument."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a positive integer, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name}: expected a positive integer, got {count}")
    return count


def as_shape(name: str, value: Any) -> tuple[int, int]:
    """Return ``value`` as two positive ints, or raise an error that names the argument."""
    try:
        nx, ny = value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected (Nx, Ny), got {value!r}") from None
    return as_count(name, nx), as_count(name, ny)


def as_nonnegative(name: str, value: Any) -> float:
    """Return ``value`` as a finite float >= 0, or raise an error that names the argument."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a real number, got {value!r}") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}: expected a finite number >= 0, got {number}")
    return number


def as_positive(name: str, value: Any) -> float:
    """Return ``value`` as a finite float > 0, or raise an error that names the argument."""
    number = as_nonnegative(name, value)
    if number == 0:
        raise ValueError(f"{name}: expected a number > 0, got {number}")
    return number


def as_array(
    name: str, value: Any, shape: tuple[int, ...], meaning: str, kind: type
) -> NDArray[Any]:
    """Return a new, finite array of that shape, or raise an error that names the argument."""
    if kind is float and np.iscomplexobj(value):
        raise TypeError(f"{name}: expected real numbers, got complex ones")
    try:
        array: NDArray[Any] = np.array(value, dtype=kind, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected {kind.__name__} numbers: {error}") from None
    if array.shape != shape:
        raise ValueError(f"{name}: expected {shape} = {meaning}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values")
    return array
