"""What the methods found for the same users, as it is drawn and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..channels import Scene
from ..files import Arrays
from ..scheduling import Schedule
from ..solvers import METHODS
from ..surface import Surface

#: The reference of all methods, and all others.
(YARDSTICK,) = (name for name, method in METHODS.items() if method.fully_digital)
CHOICES = tuple(name for name in METHODS if name != YARDSTICK)


@dataclass(frozen=True)
class Run:
    """One method's schedule and what it cost.

    Attributes
    ----------
    method, label : str
        The solver, and how a reader knows it.
    schedule : Schedule
        Of the users of the comparison.
    seconds : float
        Wall-clock time of the whole schedule.
    solve_seconds : float
        Of one solve for the users it serves; NaN if there are none.
    """

    method: str
    label: str
    schedule: Schedule
    seconds: float
    solve_seconds: float


@dataclass(frozen=True)
class Comparison:
    """Several methods on the same users, under the same conditions.

    Attributes
    ----------
    scene : Scene
        Of these users alone, K of them.
    users : (K,) int
        Their rows in the file.
    surface : Surface
        N elements, L feeds.
    settings : dict
        Plain numbers and strings; the unit is in the name.
    runs : list of Run
        The last one is the choice: the one drawn, and held against the yardstick.
    fully_digital_rates : (K,) float
        bit/s/Hz with N RF chains, for the users of the choice; 0 for others.
    fully_digital_seconds : float
        Wall-clock time of that solve; NaN if there are no users.
    """

    scene: Scene
    users: np.ndarray
    surface: Surface
    settings: dict[str, Any]
    runs: list[Run]
    fully_digital_rates: np.ndarray
    fully_digital_seconds: float

    @property
    def choice(self) -> Run:
        """The run that is drawn."""
        return self.runs[-1]

    def arrays(self) -> Arrays:
        """All of it as plain arrays, M methods stacked.

        Returns
        -------
        dict of str to ndarray
            ``methods`` (M,), ``served`` (M, K), ``amplitudes`` (M, N), ``digital`` (M, L, K),
            ``rates`` (M, K), ``sum_rate``, ``feasible``, ``schedule_seconds``,
            ``solve_seconds`` (M,), the channel, the surface, what the scene knows, and every
            setting.
        """
        schedules = [run.schedule for run in self.runs]
        found: dict[str, Any] = {
            "methods": [run.method for run in self.runs],
            "users": self.users,
            "schedule_seconds": [run.seconds for run in self.runs],
            "solve_seconds": [run.solve_seconds for run in self.runs],
            "fully_digital_rates": self.fully_digital_rates,
            "fully_digital_seconds": self.fully_digital_seconds,
        }
        for name in ("served", "amplitudes", "digital", "rates", "sum_rate", "feasible"):
            found[name] = np.stack([getattr(schedule, name) for schedule in schedules])
        return plain(found) | problem_arrays(self.scene, self.surface, self.settings)


def problem_arrays(scene: Scene, surface: Surface, settings: dict[str, Any]) -> Arrays:
    """What was solved: the channel, the surface, what the scene knows, and every setting."""
    known: dict[str, Any] = {
        "channel": scene.channel,
        "phase": surface.phase,
        "element_positions": surface.positions,
        "feed_positions": surface.feed_positions,
    }
    for name in ("user_positions", "surface_position", "surface_rotation", "line_of_sight"):
        if getattr(scene, name) is not None:
            known[name] = getattr(scene, name)
    return plain(known | settings)


def plain(values: dict[str, Any]) -> Arrays:
    """Each as an array."""
    return {name: np.asarray(value) for name, value in values.items()}
