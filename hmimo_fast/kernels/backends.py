"""Which backend computes: a default for the process, a choice for a block of code.

A backend is asked for the batch function of an operator in one precision and of certain sizes.
It has the signature ``function(inputs, options, outputs, whole, told=None) -> None``; inputs are
C-contiguous with a leading dimension of 1 (shared by the batch) or of the batch, options a tuple,
outputs are filled in place, and ``whole`` is the size of the batch that this one is a slice of.
Once the int ``told`` is not 0 the C kernels end early, whatever the outputs then hold.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .operators import ARGUMENTS, OPERATORS, Operator, dtypes_of

try:
    from . import native as native
except ImportError as _error:
    native, _failure = None, str(_error)

BatchFunction = Callable[..., Any]

_PLACES = {name: place for place, name in enumerate(OPERATORS)}

_MODULES = {"native": ".native", "numba": ".jit", "numpy": ".definitions"}

_default: str | None = None
_chosen: ContextVar[str | None] = ContextVar("hmimo_fast_backend", default=None)


def get_backend() -> str:
    """Name of the backend that calls from here use.

    Returns
    -------
    str
        ``"native"``, ``"numba"`` or ``"numpy"``: the innermost `backend` block, else what
        `set_backend` set, else the environment variable ``HMIMO_BACKEND``, else ``"native"``
        where the package was built with its C kernels and ``"numba"`` where it was not.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> with hf.backend("numpy"):
    ...     hf.get_backend()
    'numpy'
    """
    return _chosen.get() or _default or _initial()


def set_backend(name: str) -> None:
    """Set the backend of the whole process, all threads included.

    Parameters
    ----------
    name : {"native", "numba", "numpy"}
        C kernels, Numba, or the plain NumPy definitions (slow).

    Raises
    ------
    ValueError
        If the name is unknown.
    ImportError
        If the backend is not installed.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> hf.set_backend(hf.get_backend())
    """
    global _default
    _default = _checked(name)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Use a backend inside a ``with`` block, in this thread or task only.

    Parameters
    ----------
    name : {"native", "numba", "numpy"}
        As for `set_backend`.

    Raises
    ------
    ValueError
        If the name is unknown.
    ImportError
        If the backend is not installed.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> with hf.backend("numpy"):
    ...     hf.water_filling([1.0, 1.0], power=2.0, noise_power=0.5)
    (array([1., 1.]), np.True_)
    """
    token = _chosen.set(_checked(name))
    try:
        yield
    finally:
        _chosen.reset(token)


def batch_function(
    backend_name: str,
    operator: str,
    single: bool,
    sizes: Mapping[str, int],
    turned: bool = False,
) -> BatchFunction:
    """The batch function of an operator in a backend; ``turned``: of complex amplitudes."""
    module = _module(backend_name)
    op = OPERATORS[operator]
    if backend_name == "native":
        dtypes = dtypes_of(single, turned)
        inputs, outputs = (
            [(dtypes[ARGUMENTS[x].kind], prod(sizes[i] for i in core)) for x, core in side.items()]
            for side in (op.inputs, op.outputs)
        )
        place, count = _PLACES[operator], len(op.options)
        return module.Kernel(place, single, turned, op.shape(sizes), inputs, count, outputs).run
    if backend_name == "numba":
        loop = module.batch_function(operator, single, turned)
        return lambda inputs, options, outputs, whole, told=None: loop(*inputs, *options, *outputs)
    return _interpreted(module, op)


def link_item(gradient: bool, *operands: Any) -> Any:
    """The sum rate of one item, or with its gradients, by the shortest way there is, or None.

    Simulators call these for one channel millions of times; None sends a call to the edge.
    """
    if get_backend() != "native":
        return None
    return native.link_item(gradient, *operands)


def _interpreted(definitions: ModuleType, op: Operator) -> BatchFunction:
    """The loop over a batch, item by item, of the plain NumPy definition."""
    function = getattr(definitions, op.name)

    def batch(
        inputs: Sequence[np.ndarray],
        options: tuple[Any, ...],
        outputs: Sequence[np.ndarray],
        whole: int,
        told: np.ndarray | None = None,
    ) -> None:
        with np.errstate(all="ignore"):
            for i in range(len(outputs[0])):
                results = function(*(array[i % len(array)] for array in inputs), *options)
                results = results if len(outputs) > 1 else [results]
                for output, result in zip(outputs, results, strict=True):
                    output[i] = result

    return batch


def missing_kernels() -> str | None:
    """Why there are no C kernels: how their build or their import failed; None where they are."""
    if native is not None:
        return None
    try:  # written by setup.py
        return Path(__file__).with_name("native_missing.txt").read_text().strip()
    except OSError:
        return _failure


def _initial() -> str:
    name = os.environ.get("HMIMO_BACKEND")
    if name:
        _checked(name, "HMIMO_BACKEND")
    elif not _installed("native"):
        name = "numba"
        why = missing_kernels()
        warnings.warn(
            f"hmimo_fast runs on Numba, and slowly, for want of its C kernels: {why}. "
            "Install it again where there is GCC or Clang; HMIMO_BACKEND=numba says that Numba is "
            "meant, without this warning",
            stacklevel=3,
        )
    set_backend(name or "native")
    return get_backend()


def _checked(name: str, argument: str = "name") -> str:
    if name not in _MODULES:
        expected = ", ".join(map(repr, _MODULES))
        raise ValueError(f"{argument}: expected one of {expected}, got {name!r}")
    if not _installed(name):
        raise ImportError(f"{argument}: the {name} backend is not installed")
    return name


def _module(name: str) -> ModuleType:
    return importlib.import_module(_MODULES[name], __package__)


@cache
def _installed(name: str) -> bool:
    try:
        module = _module(name)
    except ImportError:
        return False
    asked = os.environ.get("HMIMO_FAST_ISA")
    if name == "native" and asked and module.level() != asked:
        raise ValueError(
            "HMIMO_FAST_ISA: expected an instruction-set level that was compiled and runs here, "
            f"of 'baseline', 'v3' and 'v4', got {asked!r}"
        )
    return True
