"""The table of operators: what each takes and returns, one item at a time.

Everything that holds for all operators is derived from this table: the checks of the public edge,
the calls of the three backends, the functions for Numba, PyTorch's operators, the typed C and
Cython functions, and the lists of the tests.  Core dimensions are letters, one per dimension:

====== ==========================================
N      surface elements
L      feeds (RF chains)
K      users
M      transmit dimensions of a precoder (L or N)
F      channels that share one amplitude vector
G      1 or F (one phase matrix for all, or one each)
I      rates that are recorded
S      states of an element
====== ==========================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from ..arguments import LARGEST, LIMIT, NOT_NEGATIVE, POSITIVE, Values, integer

#: Rates of a history, at most.
MOST_RECORDED = 4096

_MOST = 2**31 - 1


_COST = Values(lambda x: (x >= 0.0) | (x != x), "at least 0")
_FLAG = Values(lambda x: (x == 0.0) | (x == 1.0), "0 or 1")
#: Of complex amplitudes, up to the rounding of single precision.
IN_DISC = Values(lambda x: ~(np.abs(x) > 1.0 + 1e-6), "in the unit disc")
IN_UNIT = Values(lambda x: ((x >= 0.0) & (x <= 1.0)) | (x != x), "in [0, 1]")


@dataclass(frozen=True)
class Argument:
    """An argument or a result.

    ``kind`` is its element type: "c" complex and "r" real in the precision of the call, "q" complex
    where the amplitudes are and else real, "d" always float64, "i" int64, "b" bool.
    ``default`` stands for an input that is left out.
    """

    kind: str
    values: Values | None = None
    default: float | None = None


ARGUMENTS = {
    "channel": Argument("c"),
    "effective_channel": Argument("c"),
    "phase": Argument("c"),
    "digital": Argument("c"),
    "precoder": Argument("c"),
    "d_digital": Argument("c"),
    "amplitudes": Argument("q", IN_UNIT),
    "d_amplitudes": Argument("q"),
    "states": Argument("q"),
    "start": Argument("r", IN_UNIT),
    "end": Argument("r"),
    "change": Argument("r", default=0.0),
    "slope": Argument("r", default=0.0),
    "gradient": Argument("r"),
    "curvature": Argument("r"),
    "step": Argument("r"),
    "length": Argument("d"),
    "movable": Argument("r", _FLAG, default=1.0),
    "sinr": Argument("r"),
    "rate": Argument("r"),
    "cost": Argument("d", _COST),
    "power": Argument("d", POSITIVE),
    "noise_power": Argument("d", POSITIVE),
    "weights": Argument("d", NOT_NEGATIVE, default=1.0),
    "min_rate": Argument("d", NOT_NEGATIVE, default=0.0),
    "overhead": Argument("d", NOT_NEGATIVE, default=0.0),
    "split": Argument("d", NOT_NEGATIVE, default=1.0),
    "feed_power": Argument("d", LIMIT, default=float("inf")),
    "received": Argument("d"),
    "common_rate": Argument("d"),
    "sum_rate": Argument("d"),
    "history": Argument("d"),
    "rank": Argument("i"),
    "iterations": Argument("i"),
    "chosen": Argument("i"),
    "feasible": Argument("b"),
    "converged": Argument("b"),
}

#: The sizes in ``hf_shape`` that follow the counts of items, as the letters that may give each.
SIZES = ("K", "NM", "L", "F", "G", "I", "S")


def dtypes_of(single: bool, turned: bool = False) -> dict[str, np.dtype]:
    """The element type of each kind in one precision, with real or complex amplitudes."""
    complex_ = np.dtype(np.complex64 if single else np.complex128)
    real = np.dtype(np.float32 if single else np.float64)
    return {
        "c": complex_,
        "r": real,
        "q": complex_ if turned else real,
        "d": np.dtype(np.float64),
        "i": np.dtype(np.int64),
        "b": np.dtype(np.bool_),
    }


@dataclass(frozen=True)
class Option:
    """A number that changes what an operator does.

    A bool, an int from ``least`` to ``most``, or a float that is finite and at least 0; of a method
    of `hmimo_fast.solve` also a text.  Those whose names end in "iterations" bound a loop.
    """

    name: str
    type: type
    default: Any
    least: int = 0
    most: int = _MOST

    def checked(self, value: Any) -> Any:
        """The value in the option's type; TypeError or ValueError if it is none."""
        if self.type is bool:
            return bool(value)
        if self.type is float:
            return _real(self.name, value)
        if self.type is str:
            return _text(self.name, value)
        return integer(self.name, value, self.least, self.most)


def _real(name: str, value: Any) -> float:
    if not isinstance(value, Real):
        raise TypeError(f"{name}: expected a real number, got {value!r}")
    number = float(value)
    if not 0.0 <= number <= LARGEST:
        raise ValueError(f"{name}: expected a value finite and at least 0, got {number}")
    return number


def _text(name: str, value: Any) -> str:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: expected a string, got {value!r}")
    return os.fspath(value)


@dataclass(frozen=True)
class Operator:
    """One operation of every backend: ``inputs`` and ``outputs`` map names to core dimensions.

    ``work`` names the sizes whose product is the complex multiply-adds of an item, or of one of
    its iterations, roughly.  The first size of ``at_most`` may not exceed the second.
    """

    name: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    options: Mapping[str, Option] = field(default_factory=dict)
    work: str = ""
    at_most: tuple[str, str] | None = None

    @cached_property
    def carrier(self) -> str | None:
        """The input whose element type decides the precision."""
        return next((name for name in self.inputs if ARGUMENTS[name].kind == "c"), None)

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The default of every option."""
        return {name: option.default for name, option in self.options.items()}

    @cached_property
    def budgets(self) -> tuple[str, ...]:
        """The options that bound its loops."""
        return tuple(name for name in self.options if name.endswith("iterations"))

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The sizes in the order of ``hf_shape``, 1 for those that the operator does not have."""
        return tuple(next((sizes[x] for x in letters if x in sizes), 1) for letters in SIZES)


def _operator(
    name: str,
    signature: str,
    work: str,
    *options: Option,
    at_most: tuple[str, str] | None = None,
) -> Operator:
    inputs, outputs = (
        dict(item.split(":") for item in side.split()) for side in signature.split("->")
    )
    return Operator(name, inputs, outputs, {o.name: o for o in options}, work, at_most)


_LINK = "channel:KN amplitudes:N phase:NL digital:LK"
_PROBLEM = "channel:FKN amplitudes:N phase:GNL power: noise_power: weights:K"
_SOLVED = "amplitudes:N digital:FLK sum_rate: iterations: converged: history:I"

_RADIATED = Option("radiated", bool, True)
_TOLERANCE = Option("tolerance", float, 1e-9)
#: Real amplitudes, or complex ones on a circle (kernels/definitions/element.py).
_ELEMENT = Option("element", int, 0, most=2)

#: What is maximised, by its number in kernels/definitions/objective.py.
_OBJECTIVE = Option("objective", int, 0, most=4)

#: Whether the C kernels may compare candidates in single precision.
_MIXED = Option("mixed", bool, False)

#: In the order of the functions in ``hf_table``.
OPERATORS = {
    op.name: op
    for op in (
        _operator(
            "effective_channel",
            "channel:KN amplitudes:N phase:NL -> effective_channel:KL",
            "KNL",
        ),
        _operator("sinr", f"{_LINK} noise_power: -> sinr:K", "KNL"),
        _operator("sum_rate", f"{_LINK} noise_power: weights:K -> rate:", "KNL"),
        _operator(
            "sum_rate_gradient",
            f"{_LINK} noise_power: weights:K -> rate: d_amplitudes:N d_digital:LK",
            "KNL",
        ),
        _operator(
            "zero_forcing",
            "effective_channel:KM power: -> precoder:MK rank:",
            "KKM",
            at_most=("K", "M"),
        ),
        _operator(
            "wmmse",
            "effective_channel:KM power: noise_power: weights:K -> precoder:MK",
            "KKM",
            Option("iterations", int, 100),
        ),
        _operator(
            "water_filling",
            "cost:K power: noise_power: weights:K min_rate:K -> received:K feasible:",
            "KK",
        ),
        _operator(
            "project",
            "amplitudes:N phase:NL precoder:NK power: -> digital:LK",
            "NLL",
            _RADIATED,
        ),
        _operator(
            "best_beams",
            f"{_PROBLEM} min_rate:K split:FK feed_power:L -> digital:FLK sum_rate:",
            "FKNL",
            _RADIATED,
            Option("general", bool, True),
            Option("sweeps", int, 3),
        ),
        _operator(
            "alternating",
            f"{_PROBLEM} movable:N -> {_SOLVED}",
            "FKNL",
            _RADIATED,
            Option("backtracking", bool, False),
            Option("step", float, 0.01),
            Option("inner", int, 1),
            Option("tolerance", float, 1e-4),
            Option("iterations", int, 3000),
            _ELEMENT,
        ),
        _operator(
            "variable_projection",
            f"{_PROBLEM} min_rate:K split:FK movable:N overhead: feed_power:L -> {_SOLVED}",
            "FKNL",
            _RADIATED,
            Option("zf_iterations", int, 5),
            Option("iterations", int, 35),
            Option("candidates", int, 2, least=1),
            Option("finalists", int, 1, least=1),
            Option("sweeps", int, 3),
            _TOLERANCE,
            _ELEMENT,
            _OBJECTIVE,
            _MIXED,
        ),
        _operator(
            "coordinate_descent",
            f"{_PROBLEM} movable:N feed_power:L -> {_SOLVED}",
            "FKNL",
            _RADIATED,
            Option("zero_forced", bool, False),
            Option("tolerance", float, 1e-5),
            Option("iterations", int, 300),
            _ELEMENT,
        ),
        _operator(
            "wmmse_gradient",
            f"{_LINK} power: noise_power: weights:K -> sum_rate: digital:LK d_amplitudes:N",
            "KNL",
            _RADIATED,
            Option("sweeps", int, 1),
        ),
        _operator(
            "max_min",
            "effective_channel:KM power: noise_power: weights:K -> precoder:MK common_rate:",
            "KKM",
        ),
        _operator(
            "min_power",
            "effective_channel:KM noise_power: min_rate:K -> precoder:MK power: feasible:",
            "KKM",
        ),
        _operator(
            "spectral_ascent",
            "channel:KN start:N phase:NL digital:LK power: noise_power: weights:K change:N slope:N "
            "-> sum_rate: digital:LK end:N change:N slope:N gradient:N curvature:N step:N length:",
            "KNL",
            _RADIATED,
            Option("sweeps", int, 2, least=1),
            Option("steps", int, 4),
        ),
        _operator(
            "state_ascent",
            f"{_PROBLEM} movable:N states:S -> sum_rate: chosen:N",
            "FKNL",
            _RADIATED,
            Option("tolerance", float, 1e-5),
            Option("iterations", int, 4),
            _MIXED,
        ),
        _operator(
            "link_budget",
            f"{_LINK} noise_power: -> sinr:K power:",
            "KNL",
            _RADIATED,
        ),
    )
}
