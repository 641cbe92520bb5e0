"""Checks of arguments: arrays, numbers and names, or errors that name the argument."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Values(NamedTuple):
    """Which values an argument may have.

    ``allow`` is true for them, numbers or arrays.  A NaN may stand for a bad item, which gives NaN
    there, and not for a wrong argument.
    """

    allow: Callable[[Any], Any]
    expected: str


#: The largest number in double precision.
LARGEST = sys.float_info.max
POSITIVE = Values(lambda x: (x > 0.0) & (x <= LARGEST), "positive and finite")
NOT_NEGATIVE = Values(lambda x: (x >= 0.0) & (x <= LARGEST), "finite and at least 0")
LIMIT = Values(lambda x: x > 0.0, "positive")


def one_of(name: str, value: Any, names: Iterable[str]) -> None:
    """Raise if ``value`` is none of the names."""
    if value not in names:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, names))}, got {value!r}")


def is_radiated(constraint: str) -> bool:
    """Whether the power that is limited is that of diag(m) Phi V, or of V."""
    if constraint not in ("radiated", "digital"):
        raise ValueError(f"constraint: expected 'radiated' or 'digital', got {constraint!r}")
    return constraint == "radiated"


def integer(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
    """An integer from ``least`` to ``most``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected an integer, got {value!r}") from None
    if not least <= number <= most:
        raise ValueError(f"{name}: expected an integer from {least} to {most}, got {value!r}")
    return number


def as_seed(value: Any) -> int:
    """A seed of random numbers, of any size."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"seed: expected an integer, got {value!r}")
    if value < 0:
        raise ValueError(f"seed: expected at least 0, got {value!r}")
    return int(value)


def as_count(name: str, value: Any) -> int:
    """An integer from 1 on."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}: expected a positive integer, got {value!r}") from None
    if count < 1:
        raise ValueError(f"{name}: expected a positive integer, got {count}")
    return count


def as_shape(name: str, value: Any) -> tuple[int, int]:
    """Two integers from 1 on."""
    try:
        nx, ny = value
    except (TypeError, ValueError):
        raise ValueError(f"{name}: expected (Nx, Ny), got {value!r}") from None
    return as_count(name, nx), as_count(name, ny)


def as_nonnegative(name: str, value: Any) -> float:
    """A finite number from 0 on."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a real number, got {value!r}") from None
    if not 0 <= number < math.inf:
        raise ValueError(f"{name}: expected a finite number >= 0, got {number}")
    return number


def as_positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    number = as_nonnegative(name, value)
    if number == 0:
        raise ValueError(f"{name}: expected a number > 0, got {number}")
    return number


def as_array(name: str, value: Any) -> Array:
    """Anything array-like as an ndarray; PyTorch tensors without importing PyTorch."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise ValueError(f"{name}: expected no masked values, got a masked array")
    try:
        if hasattr(value, "resolve_conj"):
            value = value.detach().resolve_conj().resolve_neg().numpy()
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: expected an array of numbers: {error}") from error


def as_numbers(name: str, value: Any, core: str = "", kinds: str = "biufc") -> Array:
    """Numbers of some kinds, real or complex; (..., *core), with no empty core dimension."""
    array = value if type(value) is np.ndarray else as_array(name, value)
    if array.dtype.kind not in kinds:
        expected = "numbers" if "c" in kinds else "real numbers"
        raise TypeError(f"{name}: expected {expected}, got dtype {array.dtype}")
    if array.ndim < len(core):
        raise ValueError(f"{name}: expected (..., {', '.join(core)}), got {array.shape}")
    if core and 0 in (sizes := array.shape[-len(core) :]):
        letter = core[sizes.index(0)]
        expected = f"(..., {', '.join(core)}) with {letter} at least 1"
        raise ValueError(f"{name}: expected {expected}, got {array.shape}")
    return array


def as_values(name: str, value: Any, values: Values) -> Array:
    """Real numbers in double precision, all of which the values allow."""
    if type(value) is float and values.allow(value):
        return np.asarray(value)
    array = as_numbers(name, value, kinds="biuf").astype(float, copy=False)
    good = values.allow(array)
    if not good.all():
        raise bad_value(name, array, good, f"values {values.expected}")
    return array


def bad_value(name: str, array: Array, good: Any, expected: str) -> ValueError:
    """The error for the first value that is not good."""
    where = tuple(np.argwhere(~good)[0].tolist())
    return ValueError(f"{name}: expected {expected}, got {array[where]} at index {where}")


def common_batch(name: str, batch: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The leading dimensions of a batch with those of another array."""
    try:
        return np.broadcast_shapes(batch, shape)
    except ValueError:
        raise ValueError(
            f"{name}: expected leading dimensions that broadcast with {batch}, got {shape}"
        ) from None


def as_finite(name: str, value: Any, shape: tuple[int, ...], meaning: str, kind: type) -> Array:
    """A new array of finite numbers of that shape."""
    if kind is float and np.iscomplexobj(value):
        raise TypeError(f"{name}: expected real numbers, got complex ones")
    try:
        array: Array = np.array(value, dtype=kind, order="C")
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: expected {kind.__name__} numbers: {error}") from None
    if array.shape != shape:
        raise ValueError(f"{name}: expected {shape} = {meaning}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite values")
    return array
