"""Backends and hypothesis profiles of the test suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits

# Before Numba is imported: most of its tests' time is LLVM's. What it compiles is kept apart.
os.environ.setdefault("NUMBA_OPT", "0")
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "numba"))

from hmimo_fast import kernels


def pytest_configure(config: pytest.Config) -> None:
    """Settings of the whole run."""
    os.environ.setdefault("MPLBACKEND", "agg")  # pictures, and no windows
    threadpool_limits(1, "blas")  # the oracles' matrices are small: more threads only wait
    # Where a property fails, Hypothesis imports libcst, whose dependency warns.
    config.addinivalue_line(
        "filterwarnings", "ignore:mypy_extensions.TypedDict is deprecated:DeprecationWarning"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on Numba, which compiles for minutes, are of the slow part."""
    for item in items:
        if "numba" in item.name.partition("[")[2].rstrip("]").split("-"):
            item.add_marker(pytest.mark.slow)


def _available() -> list[str]:
    """Backends that import here; only ``native`` may be missing (it needs a compiler)."""
    names = ["numpy", "numba"]
    try:
        with kernels.backend("native"):
            names.append("native")
    except ImportError:
        pass
    return names


BACKENDS = _available()
kernels.set_backend(BACKENDS[-1])  # which warns by itself where it is not "native"

# The backend fixture is function-scoped on purpose: it is the same for all examples.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
settings.register_profile("ci", derandomize=True, max_examples=15, **_COMMON)
settings.register_profile("thorough", max_examples=300, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once on every backend; its value is the backend's name."""
    with kernels.backend(request.param):
        yield request.param


@pytest.fixture(params=[name for name in BACKENDS if name != "numpy"])
def compiled(request: pytest.FixtureRequest) -> str:
    """Name of a backend to compare with NumPy's."""
    return request.param
