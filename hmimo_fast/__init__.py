"""Fast beamforming kernels, solvers and scheduling for reconfigurable holographic surfaces."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import channels
from .fairness import ProportionalFair
from .kernels import (
    backend,
    effective_channel,
    get_backend,
    max_min,
    min_power,
    project,
    set_backend,
    sinr,
    sum_rate,
    sum_rate_gradient,
    water_filling,
    wmmse,
    zero_forcing,
)
from .scheduling import Schedule, schedule
from .solvers import Solution, solve
from .surface import Surface

try:
    __version__ = version("hmimo_fast")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"


def get_include() -> str:
    """Folder of ``hmimo_fast.h``, for C and Cython code that calls the kernels.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> hf.get_include().endswith("include")
    True
    """
    return str(Path(__file__).parent / "include")


def __getattr__(name: str) -> Any:
    """Load what only some programs need when it is first named."""
    if name == "plot":
        return import_module(".plot", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ProportionalFair",
    "Schedule",
    "Solution",
    "Surface",
    "backend",
    "channels",
    "effective_channel",
    "get_backend",
    "get_include",
    "max_min",
    "min_power",
    "plot",
    "project",
    "schedule",
    "set_backend",
    "sinr",
    "solve",
    "sum_rate",
    "sum_rate_gradient",
    "water_filling",
    "wmmse",
    "zero_forcing",
]
