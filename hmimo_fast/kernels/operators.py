"""The table of operators: what each takes and returns, one item at a time.

This table drives the public edge (checks, conversion, output allocation), the
three backends, and the tests.  Core dimensions are letters, one a dimension:

====== ==========================================
N      surface elements
L      feeds (RF chains)
K      users
M      transmit dimensions of a precoder (L or N)
F      channels that share one amplitude vector
G      1 or F (one phase matrix for all, or one each)
I      rates recorded: ``iterations`` + 1, or both stages' iterations + 2
====== ==========================================
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Element type of every argument and result: "c" complex and "r" real in the
#: precision of the call, "d" always float64, "i" int64, "b" bool.
KINDS = {
    "channel": "c",
    "effective_channel": "c",
    "phase": "c",
    "digital": "c",
    "precoder": "c",
    "d_digital": "c",
    "amplitudes": "r",
    "d_amplitudes": "r",
    "sinr": "r",
    "rate": "r",
    "cost": "d",
    "power": "d",
    "noise_power": "d",
    "weights": "d",
    "min_rate": "d",
    "received": "d",
    "sum_rate": "d",
    "history": "d",
    "rank": "i",
    "iterations": "i",
    "feasible": "b",
    "converged": "b",
}


@dataclass(frozen=True)
class Operator:
    """One operation of every backend: ``inputs`` and ``outputs`` map names to core dimensions."""

    name: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    options: tuple[str, ...] = field(default=())


def _parse(name: str, signature: str, options: str = "") -> Operator:
    left, right = signature.split("->")

    def side(text: str) -> dict[str, str]:
        return dict(item.split(":") for item in text.split())

    return Operator(name, side(left), side(right), tuple(options.split()))


_LINK = "channel:KN amplitudes:N phase:NL digital:LK noise_power:"
_PROBLEM = "channel:FKN amplitudes:N phase:GNL power: noise_power: weights:K"
_SOLVED = "amplitudes:N digital:FLK sum_rate: iterations: converged: history:I"

OPERATORS = {
    op.name: op
    for op in (
        _parse("effective_channel", "channel:KN amplitudes:N phase:NL -> effective_channel:KL"),
        _parse("sinr", f"{_LINK} -> sinr:K"),
        _parse("sum_rate", f"{_LINK} weights:K -> rate:"),
        _parse(
            "sum_rate_gradient",
            f"{_LINK} weights:K -> rate: d_amplitudes:N d_digital:LK",
        ),
        _parse("zero_forcing", "effective_channel:KM power: -> precoder:MK rank:"),
        _parse(
            "wmmse",
            "effective_channel:KM power: noise_power: weights:K -> precoder:MK",
            "iterations",
        ),
        _parse(
            "water_filling",
            "cost:K power: noise_power: weights:K min_rate:K -> received:K feasible:",
        ),
        _parse(
            "project",
            "amplitudes:N phase:NL precoder:NK power: -> digital:LK",
            "radiated",
        ),
        _parse(
            "alternating",
            f"{_PROBLEM} -> {_SOLVED}",
            "radiated backtracking step inner tolerance iterations",
        ),
        _parse(
            "variable_projection",
            f"{_PROBLEM} min_rate:K -> {_SOLVED}",
            "radiated zf_iterations iterations candidates sweeps tolerance",
        ),
        _parse(
            "coordinate_descent",
            f"{_PROBLEM} -> {_SOLVED}",
            "radiated zero_forced tolerance iterations",
        ),
        _parse(
            "wmmse_gradient",
            "channel:KN amplitudes:N phase:NL digital:LK power: noise_power: weights:K"
            " -> sum_rate: digital:LK d_amplitudes:N",
            "radiated sweeps",
        ),
    )
}
