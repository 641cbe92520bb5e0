"""The operators compiled by Numba, also for use inside your own ``@njit`` functions.

The functions named like the operators take one item (no batch dimensions) and the arguments of
`hmimo_fast.kernels.definitions`, all of them given: ``sum_rate(channel, amplitudes, phase, digital,
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
converted to its precision.  They raise RuntimeError where the package was built without its C
kernels.  All of these functions raise ValueError for shapes that do not fit.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, errors
from numba.core.caching import FunctionCache
from numba.extending import intrinsic, overload, register_jitable

from . import definitions
from .operators import ARGUMENTS, MOST_RECORDED, OPERATORS, SIZES, Operator, dtypes_of

try:
    from .native import address
except ImportError:  # built without a compiler
    address = None

_SEMANTICS = {"error_model": "numpy", "fastmath": False}


@cache
def _warn_uncached() -> None:
    warnings.warn(
        "Numba's cache of compiled functions cannot be used here, so that each process compiles "
        "anew; set NUMBA_CACHE_DIR to a folder that can be written",
        stacklevel=2,
    )


class _Cache(FunctionCache):
    """Numba's cache of a function, which is bypassed where its files cannot be used."""

    def load_overload(self, *key: Any) -> Any:
        try:
            return super().load_overload(*key)
        except Exception:  # a truncated file may raise anything
            _warn_uncached()
            with suppress(OSError):
                self.flush()  # so that the next process has it again

    def save_overload(self, *entry: Any) -> None:
        try:
            super().save_overload(*entry)
        except OSError:
            _warn_uncached()


def _njit(function: Any) -> Any:
    """The function compiled, from the cache if there is one."""
    compiled = numba.njit(nogil=True, **_SEMANTICS)(function)
    try:
        compiled._cache = _Cache(function)
    except (RuntimeError, OSError):  # no folder for it
        _warn_uncached()
    return compiled


_FILES = sorted(Path(definitions.__file__).parent.glob("*.py"))

for _file in _FILES:
    _module = import_module(f"{definitions.__name__}.{_file.stem}")
    for _function in vars(_module).copy().values():
        own = inspect.isfunction(_function) and _function.__module__ == _module.__name__
        if (
            own and _function is not definitions.element.matched
        ):  # its type follows from its arguments
            register_jitable(**_SEMANTICS)(_function)

#: Numba's cache knows a function by its name and its own file.  What the definitions call stands in
#: other files, so the names carry a digest of all of them.
_DIGEST = hashlib.sha256(b"".join(file.read_bytes() for file in _FILES)).hexdigest()[:12]


def _cached(function: FunctionType) -> Any:
    """The function compiled, and compiled again once any definition is edited."""
    named = FunctionType(function.__code__, function.__globals__, function.__name__)
    named.__qualname__ = f"{function.__name__}_{_DIGEST}"
    named.__doc__ = function.__doc__
    return _njit(named)


def _assembled(name: str, parameters: Iterable[str], body: list[str], **namespace: Any) -> Any:
    """A function of these parameters, with lines of Python as its body."""
    lines = [f"def {name}({', '.join(parameters)}):", *(f"    {line}" for line in body)]
    namespace |= {"__name__": __name__, "np": np}
    exec(compile("\n".join(lines), __file__, "exec"), namespace)
    return namespace[name]


def _batch(op: Operator) -> Any:
    """The loop over a batch: ``loop(*inputs, *options, *outputs)``."""
    inputs = [f"input_{name}" for name in op.inputs]
    outputs = [f"output_{name}" for name in op.outputs]
    items = [f"{name}[i % len({name})]" for name in inputs]
    results = ", ".join(f"{name}[i]" for name in outputs)
    body = [
        f"for i in range(len({outputs[0]})):",
        f"    {results} = item({', '.join([*items, *op.options])})",
    ]
    parameters, item = [*inputs, *op.options, *outputs], getattr(definitions, op.name)
    return _cached(_assembled(f"{op.name}_batch", parameters, body, item=item))


_BATCHES = {op.name: _batch(op) for op in OPERATORS.values()}


@cache
def batch_function(operator: str, single: bool, turned: bool) -> Callable[..., Any]:
    """The compiled loop of an operator, without dispatch.

    In one precision, with real or complex amplitudes (``turned``).

    Inputs are typed read-only, which fits writeable arrays as well.
    """
    dtypes = {kind: numba.from_dtype(dtype) for kind, dtype in dtypes_of(single, turned).items()}

    def array(name: str, core: str, readonly: bool) -> types.Array:
        return types.Array(dtypes[ARGUMENTS[name].kind], 1 + len(core), "C", readonly=readonly)

    op = OPERATORS[operator]
    return _BATCHES[operator].compile(
        (
            *(array(name, core, True) for name, core in op.inputs.items()),
            *(numba.typeof(option.type()) for option in op.options.values()),
            *(array(name, core, False) for name, core in op.outputs.items()),
        )
    )


# ------------------------------------------------------------------ the C kernels on one item

#: Numba caches machine code that knows a kernel by its symbol, and loading such code crashes where
#: the symbol is unknown.  So every symbol is registered on import, and carries the number of the C
#: interface; what an old number named is `_MISSING`.
_ABI = 6
_SYMBOL = "hmimo_fast_{}_{}"

#: A C function that may be called with anything and says 1, which is the status of no memory.
_MISSING = ctypes.cast(ctypes.pythonapi.Py_IsInitialized, ctypes.c_void_p).value


def _kernel(place: int, op: Operator) -> Callable[..., Any]:
    """The C kernel at a place of the table, for compiled code.

    ``kernel(single, turned, sizes, inputs, options, outputs)`` returns the status.  Sizes are a
    tuple of integers in the order of hf_shape, inputs of arrays and numbers, options of numbers,
    outputs of arrays.
    """
    for abi in range(1, _ABI):
        llvmlite.binding.add_symbol(_SYMBOL.format(abi, op.name), _MISSING)
    symbol = _SYMBOL.format(_ABI, op.name)
    llvmlite.binding.add_symbol(symbol, (address and address(place)) or _MISSING)

    @intrinsic
    def kernel(
        typingctx: Any,
        single: Any,
        turned: Any,
        sizes: Any,
        inputs: Any,
        options: Any,
        outputs: Any,
    ) -> Any:
        signature = types.int32(single, turned, sizes, inputs, options, outputs)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            single, turned, sizes, inputs, options, outputs = arguments
            _, _, sizes_type, inputs_type, options_type, outputs_type = signature.args
            number, integer = ir.DoubleType(), ir.IntType(64)
            pointer, int_ = ir.IntType(8).as_pointer(), ir.IntType(32)

            def stored(kind: Any, values: Sequence[Any]) -> Any:
                place = cgutils.alloca_once(builder, ir.ArrayType(kind, max(1, len(values))))
                start = builder.bitcast(place, kind.as_pointer())
                for i, value in enumerate(values):
                    builder.store(value, builder.gep(start, [int_(i)]))
                return builder.bitcast(start, pointer)

            def cast(values: Any, from_: Any, to: Any) -> list[Any]:
                parts = cgutils.unpack_tuple(builder, values, len(from_))
                return [
                    context.cast(builder, part, kind, to)
                    for part, kind in zip(parts, from_, strict=True)
                ]

            def data(value: Any, kind: Any) -> Any:
                if isinstance(kind, types.Array):
                    array = context.make_array(kind)(context, builder, value)
                    return builder.bitcast(array.data, pointer)
                return stored(number, [context.cast(builder, value, kind, types.float64)])

            def addresses(values: Any, kinds: Any) -> list[Any]:
                parts = cgutils.unpack_tuple(builder, values, len(kinds))
                return [data(part, kind) for part, kind in zip(parts, kinds, strict=True)]

            one = integer(1)
            whole = [one, one, *cast(sizes, sizes_type, types.int64)]
            flags = [
                context.cast(builder, flag, kind, types.int64)
                for flag, kind in zip((single, turned), signature.args[:2], strict=True)
            ]
            # The first two members are ints, the first in the low half of a word; the last is
            # `stop`.
            flags = builder.or_(flags[0], builder.shl(flags[1], integer(32)))
            shape = stored(integer, [flags, *whole, integer(0)])
            operands = [
                word
                for address in addresses(inputs, inputs_type)
                for word in (builder.ptrtoint(address, integer), integer(0))
            ]
            kind = ir.FunctionType(int_, [pointer] * 4)
            function = cgutils.get_or_insert_function(builder.module, kind, symbol)
            return builder.call(
                function,
                [
                    shape,
                    stored(integer, operands),
                    stored(number, cast(options, options_type, types.float64)),
                    stored(pointer, addresses(outputs, outputs_type)),
                ],
            )

        return signature, generate

    return kernel


def _is_single(carrier: np.ndarray) -> int:
    """1 for complex64, 0 for complex128, nothing else: for compiled code."""
    raise NotImplementedError


@overload(_is_single, strict=False)
def _compile_is_single(carrier: types.Array) -> Callable[..., Any]:
    dtype = getattr(carrier, "dtype", carrier)
    if dtype not in (types.complex64, types.complex128):
        raise errors.TypingError(f"expected complex64 or complex128, got {dtype}")
    single = int(dtype == types.complex64)
    return lambda carrier: single


def _ready(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array, or a copy that is C-contiguous and of this dtype: for compiled code."""
    raise NotImplementedError


@overload(_ready, strict=False)
def _compile_ready(array: types.Array, dtype: types.DType) -> Callable[..., Any]:
    if not isinstance(array, types.Array):
        raise errors.TypingError(f"expected an array, got {array}")
    if array.dtype == dtype.dtype and array.aligned:
        return lambda array, dtype: np.ascontiguousarray(array)
    return lambda array, dtype: np.ascontiguousarray(array).astype(dtype)


def _ready_amplitudes(amplitudes: np.ndarray, carrier: np.ndarray) -> np.ndarray:
    """Amplitudes, real or complex, in the precision of the carrier: for compiled code."""
    raise NotImplementedError


@overload(_ready_amplitudes, strict=False)
def _compile_ready_amplitudes(amplitudes: types.Array, carrier: types.Array) -> Callable[..., Any]:
    if isinstance(getattr(amplitudes, "dtype", None), types.Complex):
        return lambda amplitudes, carrier: _ready(amplitudes, carrier.dtype)
    return lambda amplitudes, carrier: _ready(amplitudes, carrier.real.dtype)


@overload(definitions.element.matched, strict=False)
def _compile_matched(weights: types.Array, amplitudes: types.Array) -> Callable[..., Any]:
    if isinstance(amplitudes.dtype, types.Complex):
        return lambda weights, amplitudes: weights
    return lambda weights, amplitudes: weights.real


def _unless(holds: str, name: str, expected: str) -> list[str]:
    return [f"if not ({holds}):", f"    raise ValueError('{name}: expected {expected}')"]


def _checks(op: Operator) -> tuple[list[str], set[str]]:
    """The lines that check every shape and count of an item, and the sizes that they name."""
    body: list[str] = []
    known: set[str] = set()
    for name, core in op.inputs.items():
        if not core:
            continue
        for axis, letter in enumerate(core):
            if letter not in known:
                known.add(letter)
                body += [f"{letter} = {name}.shape[{axis}]"]
                body += _unless(f"{letter} > 0", name, f"{letter} at least 1")
        shape = f"({', '.join(core)},)"
        body += _unless(f"{name}.shape == {shape}", name, f"shape {shape} to fit the others")
    if "G" in known:
        body += _unless("G == 1 or G == F", "phase", "G = 1 or F")
    if op.at_most and op.carrier:
        body += _unless(" <= ".join(op.at_most), op.carrier, " <= ".join(op.at_most))
    for option in op.options.values():
        if option.type is int:
            least, most = option.least, option.most
            body += _unless(
                f"{least} <= {option.name} <= {most}",
                option.name,
                f"an integer from {least} to {most}",
            )
    return body, known


def _defined(op: Operator) -> Any:
    """One item by the definition, its shapes checked: ``<operator>(*inputs, *options)``."""
    item = getattr(definitions, op.name)
    body, _ = _checks(op)
    inputs = [name if core else f"float({name})" for name, core in op.inputs.items()]
    body += [f"return item({', '.join([*inputs, *op.options])})"]
    function = _assembled(op.name, [*op.inputs, *op.options], body, item=item)
    function.__doc__ = item.__doc__
    return _cached(function)


def _native(place: int, op: Operator) -> Any:
    """One item by the C kernel: ``native_<operator>(*inputs, *options)``."""
    carrier = op.carrier
    dtypes = {"d": "np.float64", "i": "np.int64", "b": "np.bool_"}
    dtypes |= {"c": f"{carrier}.dtype", "r": f"{carrier}.real.dtype", "q": "in_amplitudes.dtype"}
    body, known = _checks(op)
    body += [f"single = is_single({carrier})" if carrier else "single = 0"]
    for name, core in op.inputs.items():
        if ARGUMENTS[name].kind == "q":
            body += [f"in_{name} = ready_amplitudes({name}, {carrier})"]
        elif core:
            body += [f"in_{name} = ready({name}, {dtypes[ARGUMENTS[name].kind]})"]
    body += [f"I = min({' + '.join([*op.budgets, '1'])}, {MOST_RECORDED})"]
    for name, core in op.outputs.items():
        shape = f"({', '.join(core)},)" if core else "1"
        body += [f"out_{name} = np.empty({shape}, {dtypes[ARGUMENTS[name].kind]})"]

    sizes = [next((x for x in letters if x in known or x == "I"), "1") for letters in SIZES]
    inputs = [f"in_{name}" if core else f"float({name})" for name, core in op.inputs.items()]
    outputs = [f"out_{name}" for name in op.outputs]
    tuples = ", ".join(
        f"({''.join(f'{part}, ' for part in parts)})"
        for parts in (sizes, inputs, op.options, outputs)
    )
    turned = "np.iscomplexobj(in_amplitudes)" if "amplitudes" in op.inputs else "False"
    body += [f"status = kernel(single, {turned}, {tuples})"]
    body += ["if status == 2:", "    raise ValueError('expected sizes that fit in memory')"]
    body += ["if status:", "    raise RuntimeError('the C kernel was not built, or has no memory')"]
    if "history" in op.outputs:
        body += ["out_history = out_history[: out_iterations[0] + 1].copy()"]
    results = [f"out_{name}" if core else f"out_{name}[0]" for name, core in op.outputs.items()]
    body += [f"return {', '.join(results)}"]

    helpers = {
        "kernel": _kernel(place, op),
        "is_single": _is_single,
        "ready": _ready,
        "ready_amplitudes": _ready_amplitudes,
    }
    parameters = [*op.inputs, *op.options]
    return _njit(_assembled(f"native_{op.name}", parameters, body, **helpers))


for _place, _op in enumerate(OPERATORS.values()):
    globals()[_op.name] = _defined(_op)
    globals()[f"native_{_op.name}"] = _native(_place, _op)
