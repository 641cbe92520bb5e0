"""The operators compiled by Numba, also for use inside your own ``@njit`` functions.

The functions named like the operators take one item (no batch dimensions) and the arguments of
`hmimo_fast.kernels.reference`, all of them given: ``sum_rate(channel, amplitudes, phase, digital,
noise_power, weights)``.

Examples
--------
>>> import numba, numpy as np
>>> from hmimo_fast.kernels import jit
>>> @numba.njit
... def mean_rate(channels, amplitudes, phase, digital, noise_power, weights):
...     total = 0.0
...     for i in range(len(channels)):
...         total += jit.sum_rate(channels[i], amplitudes, phase, digital, noise_power, weights)
...     return total / len(channels)
>>> one = np.ones((2, 1, 1), dtype=complex)
>>> mean_rate(one, np.ones(1), one[0], one[0], 1.0, np.ones(1))
1.0

``native_sum_rate`` and so on, one for each operator, call the C kernel instead, which is quicker.
They take the same arguments: the first complex array in complex64 or complex128, the others are
converted to its precision.  They raise ValueError for shapes that do not fit, and RuntimeError
where the package was built without its C kernels.
"""

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from numba import types
from numba.core import errors, typing
from numba.extending import overload, register_jitable

from . import reference
from .backends import OPTIONS
from .operators import KINDS, OPERATORS, Operator

try:
    from .native import address
except ImportError:  # built without a compiler
    address = None

_SEMANTICS = {"error_model": "numpy", "fastmath": False}
_njit = numba.njit(cache=True, nogil=True, **_SEMANTICS)

for _function in vars(reference).copy().values():
    if inspect.isfunction(_function):
        register_jitable(**_SEMANTICS)(_function)

effective_channel = _njit(reference.effective_channel)
sinr = _njit(reference.sinr)
sum_rate = _njit(reference.sum_rate)
sum_rate_gradient = _njit(reference.sum_rate_gradient)
zero_forcing = _njit(reference.zero_forcing)
wmmse = _njit(reference.wmmse)
water_filling = _njit(reference.water_filling)
project = _njit(reference.project)
alternating = _njit(reference.alternating)
variable_projection = _njit(reference.variable_projection)
coordinate_descent = _njit(reference.coordinate_descent)
wmmse_gradient = _njit(reference.wmmse_gradient)


@_njit
def outside_unit(values: np.ndarray) -> bool:
    """Whether any value lies outside [0, 1]; NaN does not."""
    for value in values.flat:
        if value < 0.0 or value > 1.0:
            return True
    return False


def _batch(op: Operator) -> Any:
    """The loop over a batch: ``loop(*inputs, *options, *outputs)``.

    Numba stamps its cache with the file that a function names as its own: reference.py, so that
    an edited formula is compiled anew.
    """
    inputs = [f"input_{name}" for name in op.inputs]
    outputs = [f"output_{name}" for name in op.outputs]
    items = [f"{name}[i % len({name})]" for name in inputs]
    source = (
        f"def {op.name}_batch({', '.join([*inputs, *op.options, *outputs])}):\n"
        f"    for i in range(len({outputs[0]})):\n"
        f"        {', '.join(f'{name}[i]' for name in outputs)} = "
        f"item({', '.join([*items, *op.options])})\n"
    )
    namespace = {"__name__": reference.__name__, "item": getattr(reference, op.name)}
    exec(compile(source, reference.__file__, "exec"), namespace)
    return _njit(namespace[f"{op.name}_batch"])


_BATCHES = {op.name: _batch(op) for op in OPERATORS.values()}


@cache
def batch_function(operator: str, single: bool) -> Callable[..., Any]:
    """The compiled loop of an operator (or `outside_unit`) in one precision, without dispatch.

    Inputs are typed read-only, which fits writeable arrays as well.
    """
    scalars = {
        "c": types.complex64 if single else types.complex128,
        "r": types.float32 if single else types.float64,
        "d": types.float64,
        "i": types.int64,
        "b": types.boolean,
    }

    def array(name: str, core: str, readonly: bool) -> types.Array:
        return types.Array(scalars[KINDS[name]], 1 + len(core), "C", readonly=readonly)

    if operator == "outside_unit":
        return outside_unit.compile((array("amplitudes", "N", True),))
    op = OPERATORS[operator]
    return _BATCHES[operator].compile(
        (
            *(array(name, core, True) for name, core in op.inputs.items()),
            *(numba.typeof(OPTIONS[name]()) for name in op.options),
            *(array(name, core, False) for name, core in op.outputs.items()),
        )
    )


# ------------------------------------------------------------------ the C kernels on one item

#: Numba caches machine code that knows a kernel by its symbol, and loading such code crashes where
#: the symbol is unknown.  So every symbol is registered on import, and carries a number that must
#: change with the arguments of any kernel; what an old number named is then `_MISSING`.
_SYMBOL = "hmimo_fast_2_{}"

#: A C function that may be called with anything and says 1, which is the status of no memory.
_MISSING = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value

#: The sizes that hf_item_kernel takes, as letters of the table.
_SIZES = ("K", "NM", "L", "F", "G")


def _entry(op: Operator) -> types.ExternalFunction:
    """The C kernel of an operator, callable from compiled code."""
    symbol = _SYMBOL.format(op.name)
    llvmlite.binding.add_symbol(symbol, (address and address(op.name)) or _MISSING)
    arguments = [
        *[types.int64] * (1 + len(_SIZES)),
        *(types.voidptr if core else types.float64 for core in op.inputs.values()),
        *(types.float64 if OPTIONS[name] is float else types.int64 for name in op.options),
        *[types.voidptr] * len(op.outputs),
    ]
    return types.ExternalFunction(symbol, typing.signature(types.int32, *arguments))


def _is_single(carrier: np.ndarray) -> int:
    """1 for complex64, 0 for complex128, nothing else: for compiled code."""
    raise NotImplementedError


@overload(_is_single, strict=False)
def _compile_is_single(carrier: types.Array) -> Callable[..., Any]:
    if carrier.dtype not in (types.complex64, types.complex128):
        raise errors.TypingError(f"expected complex64 or complex128, got {carrier.dtype}")
    single = int(carrier.dtype == types.complex64)
    return lambda carrier: single


def _ready(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array, or a copy that is C-contiguous and of this dtype: for compiled code."""
    raise NotImplementedError


@overload(_ready, strict=False)
def _compile_ready(array: types.Array, dtype: types.DType) -> Callable[..., Any]:
    if array.dtype == dtype.dtype and array.aligned:
        return lambda array, dtype: np.ascontiguousarray(array)
    return lambda array, dtype: np.ascontiguousarray(array).astype(dtype)


def _unless(holds: str, name: str, expected: str) -> list[str]:
    return [f"if not ({holds}):", f"    raise ValueError('{name}: expected {expected}')"]


def _native(op: Operator) -> Any:
    """One item by the C kernel: ``native_<operator>(*inputs, *options)``."""
    carrier = next((name for name in op.inputs if KINDS[name] == "c"), None)
    dtypes = {"d": "np.float64", "i": "np.int64", "b": "np.bool_"}
    dtypes |= {"c": f"{carrier}.dtype", "r": f"{carrier}.real.dtype"}
    body = [f"single = is_single({carrier})" if carrier else "single = 0"]

    known: set[str] = set()
    for name, core in op.inputs.items():
        if not core:
            continue
        shape = f"({', '.join(core)},)"
        for axis, letter in enumerate(core):
            if letter not in known:
                known.add(letter)
                body += [f"{letter} = {name}.shape[{axis}]"]
                body += _unless(f"{letter} > 0", name, f"{letter} at least 1")
        body += _unless(f"{name}.shape == {shape}", name, f"shape {shape} to fit the others")
        body += [f"in_{name} = ready({name}, {dtypes[KINDS[name]]})"]
    if "G" in known:
        body += _unless("G == 1 or G == F", "phase", "G = 1 or F")

    counts = [name for name in op.options if OPTIONS[name] is int]
    for name in counts:
        body += _unless(f"{name} >= 0", name, "an integer at least 0")
    recorded = [f"{name} + 1" for name in counts if name.endswith("iterations")]
    body += [f"I = {' + '.join(recorded) or 0}"]
    for name, core in op.outputs.items():
        shape = f"({', '.join(core)},)" if core else "1"
        body += [f"out_{name} = np.empty({shape}, {dtypes[KINDS[name]]})"]

    sizes = [next((letter for letter in size if letter in known), "1") for size in _SIZES]
    inputs = [f"in_{name}.ctypes" if core else f"float({name})" for name, core in op.inputs.items()]
    outputs = [f"out_{name}.ctypes" for name in op.outputs]
    body += [f"status = kernel({', '.join(['single', *sizes, *inputs, *op.options, *outputs])})"]
    body += ["if status == 2:", "    raise ValueError('expected sizes that fit in memory')"]
    body += ["if status:", "    raise RuntimeError('the C kernel was not built, or has no memory')"]
    results = [f"out_{name}" if core else f"out_{name}[0]" for name, core in op.outputs.items()]
    body += [f"return {', '.join(results)}"]

    head = f"def native_{op.name}({', '.join([*op.inputs, *op.options])}):\n"
    namespace = {"__name__": __name__, "np": np, "kernel": _entry(op)}
    namespace |= {"is_single": _is_single, "ready": _ready}
    exec(compile(head + "".join(f"    {line}\n" for line in body), __file__, "exec"), namespace)
    return _njit(namespace[f"native_{op.name}"])


native_effective_channel = _native(OPERATORS["effective_channel"])
native_sinr = _native(OPERATORS["sinr"])
native_sum_rate = _native(OPERATORS["sum_rate"])
native_sum_rate_gradient = _native(OPERATORS["sum_rate_gradient"])
native_zero_forcing = _native(OPERATORS["zero_forcing"])
native_wmmse = _native(OPERATORS["wmmse"])
native_water_filling = _native(OPERATORS["water_filling"])
native_project = _native(OPERATORS["project"])
native_alternating = _native(OPERATORS["alternating"])
native_variable_projection = _native(OPERATORS["variable_projection"])
native_coordinate_descent = _native(OPERATORS["coordinate_descent"])
native_wmmse_gradient = _native(OPERATORS["wmmse_gradient"])
