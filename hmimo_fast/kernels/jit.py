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
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import register_jitable

from . import reference
from .backends import OPTIONS
from .operators import KINDS, OPERATORS, Operator

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
