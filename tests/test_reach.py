"""Kernels where their users work: Numba code, other levels, threads, forks and worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from conftest import BACKENDS
from numba.core.errors import TypingError

import hmimo_fast as hf
from hmimo_fast import kernels
from hmimo_fast.kernels import edge, jit
from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS

NEEDS_C = pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")
SIZES = {"K": 3, "N": 9, "M": 5, "L": 4, "F": 2, "G": 2, "S": 3}
LINK = ("channel", "amplitudes", "phase", "digital", "noise_power", "weights")


def draw(name: str, core: str, single: bool = False) -> Any:
    """A value of an argument in the table: scalars as floats."""
    rng = np.random.default_rng([len(core), *map(ord, name)])
    shape = tuple(SIZES[letter] for letter in core)
    if ARGUMENTS[name].kind == "c":
        value = rng.normal(size=shape) + 1j * rng.normal(size=shape)
        return value.astype(np.complex64 if single else np.complex128)
    value = rng.uniform(0.1, 0.9, shape)
    if not core:
        return float(value)
    if name == "movable":
        value = np.round(value)
    return value.astype(np.float32 if single and ARGUMENTS[name].kind in "rq" else np.float64)


def arguments_of(operator: str, single: bool = False) -> list[Any]:
    """One item's inputs, in the order of the table."""
    return [draw(name, core, single) for name, core in OPERATORS[operator].inputs.items()]


def options_of(operator: str) -> dict[str, Any]:
    """Its options: what they are by default, and few iterations."""
    few = {"zf_iterations": 2, "iterations": 4, "sweeps": 2}
    return {
        name: few.get(name, option.default) for name, option in OPERATORS[operator].options.items()
    }


def as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def same_bits(actual: Any, expected: Any) -> None:
    for one, other in zip(as_tuple(actual), as_tuple(expected), strict=True):
        np.testing.assert_array_equal(one, other)


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter, warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def printed(code: str, *arguments: str, **environment: str) -> str:
    """What code that must succeed prints."""
    outcome = python(code, *arguments, **environment)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout


# ------------------------------------------------------------------ C kernels from Numba


@pytest.mark.slow  # Numba compiles the call of each
@NEEDS_C
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("operator", OPERATORS)
def test_native_functions_of_numba_are_the_c_kernels(operator: str, single: bool) -> None:
    """The same bits and types as through the public edge."""
    inputs, options = arguments_of(operator, single), options_of(operator)
    with kernels.backend("native"):
        expected = as_tuple(edge.call(operator, inputs, options))
    actual = as_tuple(getattr(jit, f"native_{operator}")(*inputs, *options.values()))
    same_bits(actual, expected)
    for one, other in zip(actual, expected, strict=True):
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype


@pytest.mark.slow  # Numba compiles each of the conversions
@NEEDS_C
def test_native_functions_convert_what_they_are_given() -> None:
    """Strided, read-only, Fortran-ordered and integer arrays, in single precision and double."""
    channel, amplitudes, phase, digital, *_ = arguments_of("sum_rate")
    wide = np.zeros((6, 18), np.complex128)
    wide[::2, ::2] = channel
    fixed = phase.copy()
    fixed.flags.writeable = False
    given = (wide[::2, ::2], amplitudes.astype(np.float32), fixed, np.asfortranarray(digital))
    expected = jit.native_sum_rate(
        channel, amplitudes.astype(np.float32).astype(float), phase, digital, 0.5, np.ones(3)
    )
    assert jit.native_sum_rate(*given, 0.5, np.ones(3, np.int64)) == expected
    rounded = jit.native_sum_rate(
        channel.astype(np.complex64), amplitudes, phase, digital, 0.5, np.ones(3)
    )
    assert rounded != expected
    assert rounded == pytest.approx(expected, rel=1e-5)


@NEEDS_C
@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("change", ["longer", "empty", "deeper"])
def test_native_functions_refuse_shapes_that_do_not_fit(position: int, change: str) -> None:
    """They would read past the arrays."""
    given = arguments_of("sum_rate_gradient")
    shape = given[position].shape
    shape = {"longer": (*shape[:-1], 11), "empty": (*shape[:-1], 0), "deeper": (1, *shape)}[change]
    given[position] = np.full(shape, 0.5, given[position].dtype)
    with pytest.raises(ValueError, match=f"{'|'.join(LINK)}: expected"):
        jit.native_sum_rate_gradient(*given)


@NEEDS_C
def test_native_functions_refuse_counts_and_types() -> None:
    """A negative number of iterations, a real channel."""
    with pytest.raises(ValueError, match="iterations: expected an integer from 0 to"):
        jit.native_wmmse(*arguments_of("wmmse"), -1)
    real, *others = arguments_of("sum_rate")
    with pytest.raises(TypingError, match="expected complex64 or complex128, got float64"):
        jit.native_sum_rate(real.real.copy(), *others)


@pytest.mark.slow  # Numba compiles parallel code, which it does not keep
@NEEDS_C
def test_native_functions_run_in_parallel_loops() -> None:
    """Many threads of Numba inside the C kernels at once."""

    @numba.njit(parallel=True)
    def rates(channels, amplitudes, phase, digital, noise_power, weights):
        result = np.empty(len(channels))
        gradient = np.empty((len(channels), len(amplitudes)))
        for i in numba.prange(len(channels)):
            result[i], gradient[i], _ = jit.native_sum_rate_gradient(
                channels[i], amplitudes, phase, digital, noise_power, weights
            )
        return result, gradient

    channel, *others = arguments_of("sum_rate_gradient")
    channels = channel * np.linspace(0.5, 2, 300)[:, None, None]
    with kernels.backend("native"):
        expected = kernels.sum_rate_gradient(channels, *others)
    for _ in range(5):
        for actual, wanted in zip(rates(channels, *others), expected, strict=False):
            np.testing.assert_allclose(actual, wanted, rtol=1e-12, atol=1e-14)


USER = '''
"""A user's module."""
import numba
import numpy as np

from hmimo_fast.kernels import jit


@numba.njit(cache=True)
def best(channels, amplitudes, phase, digital):
    most = 0.0
    for i in range(len(channels)):
        effective = jit.effective_channel(channels[i], amplitudes, phase)
        most = max(most, np.abs(effective).sum())
    return most


@numba.njit(cache=True)
def best_native(channels, amplitudes, phase, digital):
    most = 0.0
    for i in range(len(channels)):
        rate, _, _ = jit.native_sum_rate_gradient(
            channels[i], amplitudes, phase, digital, 0.1, np.ones(2)
        )
        most = max(most, rate)
    return most
'''

CALL_USER = """
import sys
sys.path.insert(0, sys.argv[1])
if sys.argv[2] == "without":
    sys.modules["hmimo_fast.kernels.native"] = None
import numpy as np
import user
channels = np.ones((3, 2, 5)) * np.array([1, 1j])[:, None] + np.arange(5)
phase = np.exp(1j * np.arange(15.0).reshape(5, 3))
given = channels, np.linspace(0.1, 1, 5), phase, phase[:3, :2].copy()
for function in (user.best, user.best_native):
    try:
        print(function(*given), end=" ")
    except RuntimeError as error:
        print(error, end=" ")
    stats = function.stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.mark.slow
@NEEDS_C
def test_a_users_cached_functions_are_compiled_once_for_all_processes(tmp_path: Path) -> None:
    """Machine code that calls C kernels is found again, and is safe where there are none."""
    (tmp_path / "user.py").write_text(USER)
    first, second, without = (
        printed(CALL_USER, str(tmp_path), which, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
        for which in ("with", "with", "without")
    )
    found = [line.split() for line in first]
    assert [counts for _, *counts in found] == [["0", "1"]] * 2
    assert all(float(value) > 0 for value, *_ in found)
    assert second == [f"{value} 1 0" for value, *_ in found]
    assert without[0] == second[0]
    assert without[1] == "the C kernel was not built, or has no memory 1 0"


# ------------------------------------------------------------------ without C kernels

WITHOUT = """
import sys, warnings
sys.modules["hmimo_fast.kernels.native"] = None
import numpy as np
import hmimo_fast as hf
from hmimo_fast.cli import main

channel = np.array([[1, 2j, 1], [1, 1, -1j]])
phase = np.exp(1j * np.arange(6.0).reshape(3, 2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    rates = [hf.sum_rate(channel, np.full(3, 0.5), phase, np.eye(2), 0.1) for _ in range(2)]
print(len(caught), caught[0].message)
print(min(rates) > 0)
try:
    hf.set_backend("native")
except ImportError as error:
    print(error)
main(["info"])
"""


@pytest.mark.slow
def test_without_c_kernels_numba_computes_and_info_says_so() -> None:
    """The package is whole, only slower, which it says once, with the reason."""
    warned, computed, refused, *info = printed(WITHOUT, HMIMO_BACKEND="").splitlines()
    assert warned.startswith(
        "1 hmimo_fast runs on Numba, and slowly, for want of its C kernels: im"
    )
    assert "Install it again where there is GCC or Clang" in warned
    assert computed == "True"
    assert refused == "name: the native backend is not installed"
    reason = "import of hmimo_fast.kernels.native halted; None in sys.modules"
    assert f"backend     numba (no C kernels: {reason})" in info


# ------------------------------------------------------------------ instruction sets

COMPARE = """
import numpy as np
from hmimo_fast import kernels
from hmimo_fast.kernels import native

print(native.level())
rng = np.random.default_rng(0)
sizes = [(1, 1, 1), (2, 3, 2), (6, 36, 6), (5, 17, 9), (9, 65, 13), (8, 300, 8)]
for users, elements, feeds in sizes:
    shapes = [(4, users, elements), (elements, feeds), (4, feeds, users)]
    channel, phase, digital = (rng.normal(size=(*s, 2)).view(complex)[..., 0] for s in shapes)
    amplitudes = rng.uniform(size=(4, elements))
    for kind, tolerance in ((np.complex128, 1e-10), (np.complex64, 1e-3)):
        given = channel.astype(kind), amplitudes, phase, digital, 0.3
        results = []
        for backend in ("native", "numpy"):
            with kernels.backend(backend):
                forced = kernels.zero_forcing(channel[..., :users].astype(kind), 2.0)
                swept = kernels.wmmse(channel.astype(kind), 2.0, 0.3, iterations=5)
                results.append((*kernels.sum_rate_gradient(*given), swept, forced))
        for actual, expected in zip(*results):
            np.testing.assert_allclose(actual, expected, 0, tolerance * abs(expected).max())
"""


@pytest.mark.slow
@NEEDS_C
@pytest.mark.parametrize("level", ["baseline", "v3", "v4"])
def test_every_level_computes_the_same(level: str) -> None:
    """Each of the levels that were compiled and run here, against the definition."""
    outcome = python(COMPARE, HMIMO_FAST_ISA=level)
    if level != "baseline" and "HMIMO_FAST_ISA: expected" in outcome.stderr:
        pytest.skip(f"level {level} was not compiled or does not run here")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout == f"{level}\n"


GET_BACKEND = "from hmimo_fast import kernels; print(kernels.get_backend())"


@pytest.mark.slow
@NEEDS_C
@pytest.mark.parametrize("name", ["v5", "V3", "avx2", " v3"])
def test_an_unknown_level_is_refused(name: str) -> None:
    """It would otherwise run silently on another; other backends ignore it."""
    outcome = python(GET_BACKEND, HMIMO_FAST_ISA=name, HMIMO_BACKEND="")
    assert outcome.returncode == 1
    last = outcome.stderr.splitlines()[-1]
    assert last.startswith("ValueError: HMIMO_FAST_ISA: expected an instruction-set level")
    assert last.endswith(f"got {name!r}")
    assert printed(GET_BACKEND, HMIMO_FAST_ISA=name, HMIMO_BACKEND="numba") == "numba\n"


@pytest.mark.slow
@NEEDS_C
def test_an_empty_level_is_none() -> None:
    """As if the variable were not set."""
    assert printed(GET_BACKEND, HMIMO_FAST_ISA="", HMIMO_BACKEND="") == "native\n"


# ------------------------------------------------------------------ threads and processes

SURFACE = hf.Surface(shape=(3, 4), spacing=2.5e-3, frequency=30e9, feeds=3)
CHANNELS = np.random.default_rng(5).normal(size=(53, 4, 12, 2)).view(complex)[..., 0]


def solve(method: str = "joint", **options: Any) -> tuple[np.ndarray, ...]:
    channel = CHANNELS[:, :3]
    found = hf.solve(channel, SURFACE.phase, power=1.0, noise_power=0.1, method=method, **options)
    return found.amplitudes, found.digital, found.rates, found.sum_rate, found.iterations


def schedule(**options: Any) -> tuple[np.ndarray, ...]:
    found = hf.schedule(
        CHANNELS, SURFACE.phase, power=1.0, noise_power=0.1, min_rate=0.5, method="zf", **options
    )
    return found.served, found.amplitudes, found.digital, found.rates


@pytest.fixture
def always_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every thread a slice, however little work there is."""
    monkeypatch.setattr(edge, "_SLICE", 1e-9)


@pytest.mark.parametrize("method", ["joint", "alternating", "wmmse_hbf", "fully_digital"])
def test_any_number_of_threads_solves_to_the_same_bits(method: str, always_split: None) -> None:
    """More threads than this machine has, and numbers that do not divide the batch."""
    expected = solve(method, threads=1)
    for threads in (2, 3, 7):
        same_bits(solve(method, threads=threads), expected)


def test_any_number_of_threads_schedules_to_the_same_bits(always_split: None) -> None:
    """The search goes the same way."""
    expected = schedule(threads=1)
    for threads in (2, 3, 7):
        same_bits(schedule(threads=threads), expected)


def test_many_threads_solve_and_schedule_at_once(always_split: None) -> None:
    """Every caller gets the result of a caller alone."""
    jobs = [lambda: solve(threads=3), lambda: solve("alternating", threads=2), schedule]
    jobs += [lambda: hf.zero_forcing(CHANNELS, 2.0, True, threads=4)]
    expected = [job() for job in jobs]
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(jobs[i % len(jobs)]) for i in range(48)]
        for i, future in enumerate(futures):
            same_bits(future.result(timeout=60), expected[i % len(jobs)])


CHILD = """
import os, sys, warnings
import numpy as np
import hmimo_fast as hf
from hmimo_fast.kernels import edge

edge._SLICE = 1e-9
channel = np.random.default_rng(0).normal(size=(40, 3, 12, 2)).view(complex)[..., 0]
phase = np.exp(1j * np.arange(36.0).reshape(12, 3))

def rates(threads=3):
    return hf.solve(channel, phase, power=1.0, noise_power=0.1, threads=threads).sum_rate
"""

FORK = f"""{CHILD}
expected = rates()
warnings.simplefilter("ignore", DeprecationWarning)
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(rates(), expected) else 3)
    assert np.array_equal(rates(), expected)
    assert os.waitpid(child, 0)[1] == 0
print("same")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_after_threads_were_used() -> None:
    """The child starts threads of its own and does not wait for those it does not have."""
    assert printed(FORK) == "same\n"


POOLS = f"""{CHILD}
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from hmimo_fast.kernels.threads import default_threads

def report(_):
    return rates(None), default_threads()

if __name__ == "__main__":
    expected = rates()
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        for result, threads in pool.map(report, range(4)):
            assert np.array_equal(result, expected)
            assert threads == int(os.environ.get("HMIMO_NUM_THREADS", 1)), threads
    print("same")
"""


@pytest.mark.slow
@pytest.mark.parametrize("start", ["spawn", "forkserver"])
@pytest.mark.parametrize("threads", [{}, {"HMIMO_NUM_THREADS": "3"}])
def test_a_pool_of_processes(tmp_path: Path, start: str, threads: dict[str, str]) -> None:
    """One thread in each worker, unless the user wants more."""
    import multiprocessing

    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this platform")
    script = tmp_path / "script.py"
    script.write_text(POOLS)
    clean = {k: v for k, v in os.environ.items() if not k.endswith("NUM_THREADS")}
    outcome = subprocess.run(
        [sys.executable, script, start],
        env=clean | threads,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.stdout == "same\n", outcome.stderr


LOKY = """
import os, sys
import joblib
import numpy as np

import hmimo_fast as hf
from hmimo_fast.kernels.threads import default_threads

channel = np.random.default_rng(0).normal(size=(8, 3, 12, 2)).view(complex)[..., 0]
phase = np.exp(1j * np.arange(36.0).reshape(12, 3))


def rates(part):
    found = hf.solve(part, phase, power=1.0, noise_power=0.1)
    return found.sum_rate, default_threads()


workers = int(sys.argv[1])
with joblib.parallel_config("loky", n_jobs=workers, inner_max_num_threads=int(sys.argv[2])):
    parts = joblib.Parallel()(joblib.delayed(rates)(part) for part in np.split(channel, 4))
found = np.concatenate([rate for rate, _ in parts])
np.testing.assert_allclose(found, rates(channel)[0], rtol=1e-6)
print({threads for _, threads in parts})
"""


@pytest.mark.slow
def test_workers_of_joblib_take_the_threads_they_are_given() -> None:
    """No more threads than joblib allots to a worker, nor than there are CPUs; the user decides."""
    pytest.importorskip("joblib")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert printed(LOKY, "2", "1") == "{1}\n"
    assert printed(LOKY, "2", "64") == f"{{{cpus}}}\n"
    assert printed(LOKY, "2", "1", HMIMO_NUM_THREADS="3") == "{3}\n"


DEFAULT = "from hmimo_fast.kernels.threads import default_threads; print(default_threads())"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "expected"), [("1", 1), ("1,4", 1), ("999", None), ("", None), ("all", None)]
)
def test_the_share_of_openmp_is_respected(given: str, expected: int | None) -> None:
    """It bounds the threads, where it is a number."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment = {k: v for k, v in os.environ.items() if k != "HMIMO_NUM_THREADS"}
    outcome = subprocess.run(
        [sys.executable, "-c", DEFAULT],
        env={**environment, "OMP_NUM_THREADS": given},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert outcome.stdout == f"{expected or cpus}\n", outcome.stderr
