"""``hmimo-fast info``: what is installed here, and what computes."""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import PackageNotFoundError, version

from ..kernels import get_backend
from ..kernels.backends import missing_kernels
from ..kernels.threads import default_threads
from ..streams import say
from .arguments import Commands

#: Packages that some part of hmimo_fast uses, in the order of `info`.
PACKAGES = (
    *("numpy", "scipy", "numba", "Cython", "torch", "safetensors"),
    *("matplotlib", "rich", "h5py", "joblib", "dask", "distributed", "submitit"),
)


def add(commands: Commands) -> None:
    """Add the command."""
    said = "what is installed here, and what computes"
    command = commands.add_parser("info", help=said, description=f"Say {said}.")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print it."""
    lines = {
        "hmimo_fast": version_of("hmimo_fast"),
        "backend": backend(),
        "threads": f"{default_threads()} of {os.cpu_count()} CPUs",
        "platform": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        **{package: version_of(package) for package in PACKAGES},
    }
    say("\n".join(f"{name:12}{text}" for name, text in lines.items()))


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
