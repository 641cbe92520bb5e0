"""From whatever arrays a caller has to a backend's batch: checks, conversion, allocation, slices.

What follows from shapes and dtypes alone is worked out once a signature and kept (`_plan`); a call
then only converts what needs it, checks values, allocates and dispatches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import starmap
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy import empty, ndarray

from ..arguments import Values, as_array, bad_value, common_batch, integer
from .backends import BatchFunction, batch_function, get_backend, native
from .operators import (
    ARGUMENTS,
    IN_DISC,
    IN_UNIT,
    MOST_RECORDED,
    OPERATORS,
    Operator,
    dtypes_of,
)
from .threads import default_threads, run_slices

_INPUTS = {name: tuple(op.inputs) for name, op in OPERATORS.items()}
_NUMBER = (float, int)
_SCALARS = ("power", "noise_power")
_NO_OPTIONS: dict[str, Any] = {}

#: How much longer a backend takes than the C kernels; the plain definitions use no threads.
_SLOWNESS = {"native": 1, "numba": 30, "numpy": 0}
#: Work that a slice must hold to be worth a thread: about 100 microseconds of the C kernels.
_SLICE = 125_000
#: Slices per thread, at most where they are short: a thread that is late leaves some to the others.
_SLICES = 4
#: Work that may take so long, about 20 milliseconds, that a signal should be able to end it; no
#: slice of a batch holds much more.
_LONG = 200 * _SLICE


class _Step(NamedTuple):
    """What is done to one input array: convert, broadcast, flatten the batch, check.

    Shape () adds a leading 1, quicker than a reshape.
    """

    position: int
    ready: bool
    dtype: np.dtype
    broadcast: tuple[int, ...] | None
    shape: tuple[int, ...] | None
    is_bad: Callable[[ndarray], bool] | None


class _Plan(NamedTuple):
    """What the shapes and dtypes of a call determine."""

    function: BatchFunction
    turned: bool
    steps: list[_Step]
    defaults: list[tuple[int, ndarray]]
    outputs: list[tuple[tuple[int, ...], np.dtype]]
    batch: tuple[int, ...]
    size: int
    work: int
    history: int | None  # place among the outputs, if there is one
    iterations: int


def call(
    name: str,
    inputs: Sequence[Any],
    options: Mapping[str, Any] = _NO_OPTIONS,
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Check, convert and run an operator of the table over broadcast leading dimensions.

    Parameters
    ----------
    name : str
        Operator.
    inputs : sequence
        In the order of the table; None for what has a default there and is left out, and nothing
        for the last ones of these.
    options : mapping, optional
        By name; the table has the default of what is left out.
    out : ndarray or tuple of (ndarray or None), optional
        Where to write the result or results; C-contiguous, of the exact shape and dtype.
    threads : int, optional
        Most threads to use; by default ``HMIMO_NUM_THREADS`` or the CPUs of this process.

    Returns
    -------
    ndarray or tuple of ndarray
        In the order of the table; NumPy scalars where the shape is ().  A history has as many
        rates as the item with most iterations, NaN after each item's own.
    """
    names = _INPUTS[name]
    operands = list(inputs)
    operands += [None] * (len(names) - len(operands))
    signature: list[Any] = []
    for position, argument in enumerate(names):
        value = operands[position]
        if type(value) is not ndarray:
            if isinstance(value, _NUMBER) and argument in _SCALARS:
                operands[position] = _scalar(argument, value)
                signature.append("scalar")
                continue
            if value is None and ARGUMENTS[argument].default is not None:
                signature.append("absent")
                continue
            operands[position] = value = as_array(argument, value)
        signature.append((value.shape, value.dtype))
    op = OPERATORS[name]
    numbers: tuple[Any, ...] = ()
    if op.options or options:
        checked = _options(op, options)
        numbers = tuple(checked.values())
    budget, most = _loops(name, numbers)
    plan = _plan(get_backend(), name, min(budget + 1, MOST_RECORDED), *signature)
    if threads is not None:
        threads = integer("threads", threads, 1)
    if "element" in op.options and plan.turned != (checked["element"] > 0):
        expected = "complex" if checked["element"] else "real"
        raise TypeError(f"amplitudes: expected {expected} numbers for element {checked['element']}")

    for position, ready, dtype, broadcast, shape, is_bad in plan.steps:
        array = operands[position]
        if not (ready and array.flags.carray):
            array = _converted(array, dtype)
        if broadcast is not None:
            array = np.ascontiguousarray(np.broadcast_to(array, broadcast))
        if shape is not None:
            array = array.reshape(shape) if shape else array[None]
        if is_bad is not None and is_bad(array):
            raise _bad_value(name, position, inputs[position])
        operands[position] = array
    for position, array in plan.defaults:
        operands[position] = array

    if out is None:
        results = [empty(shape, dtype) for shape, dtype in plan.outputs]
    else:
        given = _given(name, plan, out)
        results = [
            empty(shape, dtype) if array is None else array.reshape(shape)
            for array, (shape, dtype) in zip(given, plan.outputs, strict=True)
        ]
        operands = [_apart(array, results) for array in operands]

    _execute(plan, operands, numbers, results, budget, most, threads)
    if plan.history is not None:
        made, whole = results[plan.iterations], out is not None and given[plan.history] is not None
        results[plan.history] = _trimmed(results[plan.history], made, whole)

    if not plan.batch:
        results = [array[0] for array in results]
    elif len(plan.batch) > 1:
        results = [array.reshape(plan.batch + array.shape[1:]) for array in results]
    if out is not None:
        results = [r if g is None else g for r, g in zip(results, given, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def run(
    name: str,
    operands: Sequence[ndarray | None],
    options: dict[str, Any] = _NO_OPTIONS,
    *,
    threads: int | None = None,
) -> Any:
    """Run an operator of the table on what is ready for it, without a check of any value.

    Operands are C-contiguous, in the element types of the call and with a leading dimension of 1 or
    of the batch, or None for a default; options are as their own check returns them.  Results are
    those of `call`, with the leading dimension of the batch.
    """
    numbers = tuple((OPERATORS[name].defaults | options).values())
    budget, most = _loops(name, numbers)
    signature: list[Any] = []
    for array in operands:
        signature.append("absent" if array is None else (array.shape, array.dtype))
    plan = _plan(get_backend(), name, min(budget + 1, MOST_RECORDED), *signature)
    ready: list[Any] = list(operands)
    for position, array in plan.defaults:
        ready[position] = array
    results = list(starmap(empty, plan.outputs))
    _execute(plan, ready, numbers, results, budget, most, threads)
    if plan.history is not None:
        results[plan.history] = _trimmed(results[plan.history], results[plan.iterations])
    return results[0] if len(results) == 1 else tuple(results)


@lru_cache(maxsize=1024)
def _scalar(argument: str, value: float) -> ndarray:
    """A checked, read-only array (1,) of a Python number."""
    values = ARGUMENTS[argument].values
    if values is not None and not values.allow(value):
        raise ValueError(f"{argument}: expected a value {values.expected}, got {value}")
    return _constant((1,), value)


def _constant(shape: tuple[int, ...], value: float, dtype: Any = np.float64) -> ndarray:
    array = np.full(shape, value, dtype)
    array.flags.writeable = False
    return array


def _converted(array: ndarray, dtype: np.dtype) -> ndarray:
    with np.errstate(all="ignore"):
        return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"])


def _options(op: Operator, options: Mapping[str, Any]) -> dict[str, Any]:
    """All options in the order and the types of the table."""
    for name in options:
        if name not in op.options:
            expected = ", ".join(op.options) or "none"
            raise TypeError(f"{name}: expected an option of {op.name} ({expected})")
    return {
        name: option.checked(options.get(name, option.default))
        for name, option in op.options.items()
    }


@lru_cache(maxsize=1024, typed=True)
def _loops(name: str, numbers: tuple[Any, ...]) -> tuple[int, int]:
    """The iterations that options allow, and the product of all counts, which bounds the work."""
    op = OPERATORS[name]
    budget = sum(number for n, number in zip(op.options, numbers, strict=True) if n in op.budgets)
    return budget, prod(max(1, number) for number in numbers if type(number) is int)


def _trimmed(history: ndarray, made: ndarray, whole: bool = False) -> ndarray:
    """NaN after the iterations that each item made; as long as the longest, or the ``whole``."""
    if not whole:
        history = history[:, : made.max(initial=0) + 1].copy()
    if len(made) > 1:
        history[np.arange(history.shape[1]) > made[:, None]] = np.nan
    return history


def _bad_value(name: str, position: int, value: Any) -> ValueError:
    """The error for the first value of an argument that is not allowed."""
    argument = _INPUTS[name][position]
    array = as_array(argument, value)
    values = _values(argument, array.dtype.kind == "c")
    assert values is not None
    array = array.astype(np.float64 if array.dtype.kind != "c" else np.complex128)
    return bad_value(argument, array, values.allow(array), f"values {values.expected}")


def _given(name: str, plan: _Plan, out: Any) -> Sequence[ndarray | None]:
    """The arrays of ``out``, one a result, checked."""
    names = list(OPERATORS[name].outputs)
    given = (out,) if len(names) == 1 and not isinstance(out, tuple) else out
    if not isinstance(given, tuple) or len(given) != len(names):
        raise TypeError(f"out: expected a tuple of {len(names)} arrays, got {type(out).__name__}")
    for result, array, (shape, dtype) in zip(names, given, plan.outputs, strict=True):
        if array is None:
            continue
        if not isinstance(array, ndarray):
            raise TypeError(f"out: expected an ndarray for {result}, got {type(array).__name__}")
        expected = plan.batch + shape[1:]
        if array.shape != expected or array.dtype != dtype or not array.flags.carray:
            kind = "" if array.flags.carray else ", not C-contiguous and writeable"
            raise ValueError(
                f"out: expected a C-contiguous writeable {dtype} array of shape {expected} for "
                f"{result}, got {array.dtype} of shape {array.shape}{kind}"
            )
    return given


def _apart(array: ndarray, results: list[ndarray]) -> ndarray:
    """The array, copied if a result is written into its memory."""
    return array.copy() if any(np.may_share_memory(array, r) for r in results) else array


def _slices(work: int, threads: int) -> int:
    """In how many slices a batch is done: enough for the threads, and none of them long."""
    wanted = _SLICES * threads if threads > 1 else 1
    return int(max(min(wanted, work // _SLICE), work // _LONG))


def _execute(
    plan: _Plan,
    operands: list[ndarray],
    numbers: tuple[Any, ...],
    results: list[ndarray],
    budget: int,
    most: int,
    threads: int | None,
) -> None:
    """Fill the results: at once, or slice by slice where that takes threads or may take long."""
    work = plan.size * plan.work * (budget + 1)
    slices = 1 if work < 2 * _SLICE else _slices(work, threads or default_threads())
    told = np.zeros(1, np.intc) if plan.size * plan.work * most > _LONG else None
    if slices == 1 and told is None:
        if plan.size:
            plan.function(operands, numbers, results, plan.size)
        return

    def task(start: int, stop: int) -> None:
        plan.function(
            [array if len(array) == 1 else array[start:stop] for array in operands],
            numbers,
            [array[start:stop] for array in results],
            plan.size,
            told,
        )

    run_slices(task, plan.size, slices, threads or default_threads(), told)


@lru_cache(maxsize=1024)
def _plan(backend: str, name: str, recorded: int, *signature: Any) -> _Plan:
    """Check shapes and dtypes and work out what a call of this signature does.

    ``signature`` holds (shape, dtype) of each input, or "scalar", or "absent".
    """
    op = OPERATORS[name]
    given = dict(zip(op.inputs, signature, strict=True))
    arrays = {argument: entry for argument, entry in given.items() if not isinstance(entry, str)}
    shapes = {argument: shape for argument, (shape, _) in arrays.items()}
    single = op.carrier is not None and arrays[op.carrier][1].newbyteorder("=") == np.complex64
    turned = "amplitudes" in arrays and arrays["amplitudes"][1].kind == "c"
    dtypes = dtypes_of(single, turned)
    for argument, (_, dtype) in arrays.items():
        if dtype.kind not in ("biufc" if ARGUMENTS[argument].kind in "cq" else "biuf"):
            expected = "numbers" if ARGUMENTS[argument].kind in "cq" else "real numbers"
            raise TypeError(f"{argument}: expected {expected}, got dtype {dtype}")
    sizes = _core_sizes(op, shapes)
    sizes["I"] = recorded
    batch: tuple[int, ...] = ()
    for argument, shape in shapes.items():
        batch = common_batch(argument, batch, shape[: len(shape) - len(op.inputs[argument])])
    size = prod(batch)

    steps, defaults = [], []
    for position, (argument, core) in enumerate(op.inputs.items()):
        own = tuple(sizes[letter] for letter in core)
        if given[argument] == "absent":
            default = ARGUMENTS[argument].default
            assert default is not None
            dtype = dtypes[ARGUMENTS[argument].kind]
            defaults.append((position, _constant((1, *own), default, dtype)))
        elif argument in arrays:
            shape, dtype = arrays[argument]
            target = dtypes[ARGUMENTS[argument].kind]
            length = prod(shape[: len(shape) - len(core)])
            broadcast = length not in (1, size)
            flat = (size if broadcast else length, *own)
            steps.append(
                _Step(
                    position,
                    dtype == target,
                    target,
                    batch + own if broadcast else None,
                    None if flat == shape else () if flat == (1, *shape) else flat,
                    _check(backend, argument, turned),
                )
            )
    outputs = [
        ((size, *(sizes[letter] for letter in core)), dtypes[ARGUMENTS[result].kind])
        for result, core in op.outputs.items()
    ]
    work = _SLOWNESS[backend] * prod(sizes[letter] for letter in op.work)
    function = batch_function(backend, name, single, sizes, turned)
    places = {result: place for place, result in enumerate(op.outputs)}
    history, iterations = places.get("history"), places.get("iterations", 0)
    return _Plan(function, turned, steps, defaults, outputs, batch, size, work, history, iterations)


def _core_sizes(op: Operator, shapes: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """Size of each core dimension; the first argument that has one sets it for the others."""
    sizes: dict[str, int] = {}
    setter: dict[str, str] = {}
    for argument, shape in shapes.items():
        core = op.inputs[argument]
        expected = f"{argument}: expected (..., {', '.join(core)})"
        if len(shape) < len(core):
            raise ValueError(f"{expected}, got {shape}")
        for letter, length in zip(core, shape[len(shape) - len(core) :], strict=True):
            if length < 1:
                raise ValueError(f"{expected} with {letter} at least 1, got {shape}")
            if letter == "G" and length == 1:
                sizes["G"] = 1
                continue
            bound = "F" if letter == "G" else letter
            if sizes.setdefault(bound, length) != length:
                wanted = f"{letter} = {sizes[bound]} to match {setter[bound]}"
                raise ValueError(f"{expected} with {wanted}, got {shape}")
            setter.setdefault(bound, argument)
            sizes[letter] = length
    if op.at_most and sizes[op.at_most[0]] > sizes[op.at_most[1]]:
        argument = setter[op.at_most[1]]
        raise ValueError(
            f"{argument}: expected (..., {', '.join(op.inputs[argument])}) with "
            f"{' <= '.join(op.at_most)} for {op.name}, got {shapes[argument]}"
        )
    return sizes


def _check(backend: str, argument: str, turned: bool) -> Callable[..., Any] | None:
    """What tells whether a flattened array holds a value not allowed; None if all are."""
    values = _values(argument, turned)
    if values is None:
        return None
    if backend == "native" and values is IN_UNIT:
        return native.outside_unit
    return lambda array: not values.allow(array).all()


def _values(argument: str, turned: bool) -> Values | None:
    """Which values an argument may have, of real or complex amplitudes."""
    return IN_DISC if turned and argument == "amplitudes" else ARGUMENTS[argument].values
