"""The table of objectives, and the value of each for a solution.

An objective is its record here, its slopes in the rates (``kernels/definitions/objective.py``) and
their twin in C (``csrc/objective.inc.h``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels.definitions import objective as codes

if TYPE_CHECKING:
    from .problem import Problem

#: Powers in watts, as published simulations have them.  Of a feed's RF chain: github.com/nvdeshpa/
#: ParasiticReconfigArray, main_parasitic_array.m, from Mendez-Rial et al., IEEE Access 4, 2016.
#: Of an element and the amplifiers' efficiency: github.com/emilbjornson/IRS-relaying,
#: simulateFigure5.m, of Bjornson, Ozdogan and Larsson, IEEE Wireless Commun. Lett. 9, 2020.
FEED_POWER, ELEMENT_POWER, AMPLIFIER_EFFICIENCY = 0.24, 5e-3, 0.5


@dataclass(frozen=True)
class Objective:
    """One thing to maximise.

    ``value`` is of a problem, the rates (B, K), summed over the channels, and the power used (B,);
    of ``scheduled`` ones it tells which users to serve, and of others who are served as many.
    """

    code: int
    value: Callable[[Problem, np.ndarray, np.ndarray], np.ndarray]
    unit: str
    leaves_out: bool = False  # whether users may be left out
    saves: bool = False  # whether it may leave power unused
    lowest: bool = False  # the lower the better


def weighted_sum(problem: Problem, rates: np.ndarray) -> np.ndarray:
    """The weighted sum (B,) of rates (B, K)."""
    return problem.heaviest * (problem.weights * rates).sum(axis=-1)


def _sum_rate(problem: Problem, rates: np.ndarray, power: np.ndarray) -> np.ndarray:
    return weighted_sum(problem, rates)


def _geometric_mean(problem: Problem, rates: np.ndarray, power: np.ndarray) -> np.ndarray:
    logs = np.where(problem.weights > 0.0, problem.weights * np.log(rates), 0.0)
    return np.exp(logs.sum(axis=-1) / problem.weights.sum(axis=-1))


def _max_min(problem: Problem, rates: np.ndarray, power: np.ndarray) -> np.ndarray:
    heaviest = np.where(problem.heaviest > 0.0, problem.heaviest, 1.0)
    weights = heaviest[:, None] * problem.weights
    return np.min(np.where(weights > 0.0, rates / weights, np.inf), axis=-1)


def _energy_efficiency(problem: Problem, rates: np.ndarray, power: np.ndarray) -> np.ndarray:
    consumed = power + problem.idle * problem.power
    return problem.efficiency * weighted_sum(problem, rates) / consumed


def _min_power(problem: Problem, rates: np.ndarray, power: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(rates).all(axis=-1), power, np.nan)


OBJECTIVES = {
    "sum_rate": Objective(codes.SUM_RATE, _sum_rate, "bit/s/Hz", leaves_out=True),
    "max_min": Objective(codes.MAX_MIN, _max_min, "bit/s/Hz"),
    "geometric_mean": Objective(codes.GEOMETRIC_MEAN, _geometric_mean, "bit/s/Hz"),
    "energy_efficiency": Objective(
        codes.ENERGY_EFFICIENCY, _energy_efficiency, "bit/J/Hz", leaves_out=True, saves=True
    ),
    "min_power": Objective(codes.MIN_POWER, _min_power, "W", saves=True, lowest=True),
}


def consumption(
    objective: str,
    feeds: int,
    elements: int,
    circuit_power: Any,
    element_power: Any,
    amplifier_efficiency: Any,
) -> tuple[float, float]:
    """Power of circuits and elements as amplifiers would need it for beams, and their efficiency.

    The energy efficiency R / (p / xi + P_c + N P_e) is xi R / (p + xi (P_c + N P_e)).
    """
    given = {
        "circuit_power": circuit_power,
        "element_power": element_power,
        "amplifier_efficiency": amplifier_efficiency,
    }
    if objective != "energy_efficiency":
        for argument, value in given.items():
            if value is not None:
                raise ValueError(
                    f"{argument}: expected objective 'energy_efficiency', got {objective!r}"
                )
        return 0.0, 1.0
    defaults = FEED_POWER * feeds, ELEMENT_POWER, AMPLIFIER_EFFICIENCY
    numbers = {
        argument: default if value is None else value
        for (argument, value), default in zip(given.items(), defaults, strict=True)
    }
    for argument, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{argument}: expected a real number, got {value!r}")
        if not 0.0 <= value < np.inf:
            raise ValueError(f"{argument}: expected a value finite and at least 0, got {value!r}")
    circuits, element, efficiency = (float(value) for value in numbers.values())
    if not 0.0 < efficiency <= 1.0:
        raise ValueError(f"amplifier_efficiency: expected a value in (0, 1], got {efficiency!r}")
    idle = circuits + elements * element
    if not idle > 0.0:
        raise ValueError(
            "circuit_power: expected this or element_power above 0, since without either the least "
            "power is the most efficient"
        )
    return efficiency * idle, efficiency
