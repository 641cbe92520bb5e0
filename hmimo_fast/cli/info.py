"""``hmimo-fast info``: what is installed here, and what computes."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from ..kernels import get_backend
from ..kernels.backends import missing_kernels
from ..kernels.threads import default_threads
from ..streams import say
from .arguments import Commands
from .ending import in_a_line

#: Packages that some part of hmimo_fast uses, in the order of `info`.
PACKAGES = (
    *("numpy", "scipy", "numba", "Cython", "torch", "safetensors"),
    *("matplotlib", "rich", "h5py", "h5netcdf", "xarray"),
    *("joblib", "dask", "distributed", "submitit"),
)


def add(commands: Commands) -> None:
    """Add the command."""
    said = "what is installed here, and what computes"
    command = commands.add_parser("info", help=said, description=f"Say {said}.")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print it."""
    lines: dict[str, Callable[[], str]] = {
        "hmimo_fast": partial(version_of, "hmimo_fast"),
        "backend": backend,
        "threads": lambda: f"{default_threads()} of {os.cpu_count()} CPUs",
        "platform": lambda: f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version,
        **{package: partial(version_of, package) for package in PACKAGES},
    }
    say("\n".join(f"{name:12}{_told(line)}" for name, line in lines.items()))


def _told(line: Callable[[], str]) -> str:
    """Its answer, or its error: broken installations are what this command is for."""
    try:
        return line()
    except Exception as error:
        return f"none: {in_a_line(error)}"


def backend() -> str:
    """The backend, and its instructions where it is C."""
    name, missing = get_backend(), missing_kernels()
    if name == "native":
        import hmimo_fast.kernels.native as native

        name += f" (C kernels, {native.level()} instructions)"
    elif missing:
        name += f" (no C kernels: {missing})"
    return name


def version_of(package: str) -> str:
    """Its version, or that it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
