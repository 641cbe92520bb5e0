"""The public edge of the kernels: accepted and refused arguments, backends and threads."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hmimo_fast import kernels
from hmimo_fast.kernels import backends, edge
from hmimo_fast.kernels.operators import ARGUMENTS, OPERATORS
from hmimo_fast.kernels.threads import PACK, run_slices

KERNELS = {name: list(op.inputs) for name, op in OPERATORS.items() if hasattr(kernels, name)}
CORES = {name: core for kernel in KERNELS for name, core in OPERATORS[kernel].inputs.items()}
COMPLEX = {name for name, argument in ARGUMENTS.items() if argument.kind == "c"}
LIMITS = {
    "amplitudes": ([-0.1, 1.1, -np.inf, np.inf], "in [0, 1]"),
    "power": ([-1.0, 0.0, np.nan, np.inf], "positive and finite"),
    "noise_power": ([-1.0, 0.0, np.nan, np.inf], "positive and finite"),
    "weights": ([-1.0, np.nan, np.inf], "finite and at least 0"),
    "min_rate": ([-1.0, np.nan, np.inf], "finite and at least 0"),
    "cost": ([-1.0, -np.inf], "at least 0"),
}
SIZES = {"K": 3, "N": 7, "L": 4, "M": 5}
INPUTS = [(name, argument) for name, arguments in KERNELS.items() for argument in arguments]

each_argument = pytest.mark.parametrize(("name", "argument"), INPUTS)


@pytest.fixture
def always_split(monkeypatch):
    monkeypatch.setattr(edge, "_SLICE", 1e-9)


def core(argument):
    return tuple(SIZES[letter] for letter in CORES[argument])


def draw(argument, lead=(), seed=0):
    rng = np.random.default_rng([seed, *map(ord, argument)])
    shape = lead + core(argument)
    if argument in COMPLEX:
        return rng.normal(size=shape) + 1j * rng.normal(size=shape)
    return rng.uniform(0.1, 0.9, shape)


def arguments_of(name, lead=()):
    return {argument: draw(argument, lead) for argument in KERNELS[name]}


def run(name, arguments, **options):
    """Results as a list, with every result of the operator."""
    if name == "zero_forcing":
        options.setdefault("return_rank", True)
    results = getattr(kernels, name)(**arguments, **options)
    return list(results) if isinstance(results, tuple) else [results]


def assert_same_bits(results, expected):
    assert len(results) == len(expected)
    for result, other in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, other, strict=True)


def assert_close(result, expected, rtol=1e-9):
    scale = np.max(np.abs(expected), initial=1e-300)
    np.testing.assert_allclose(result, expected, rtol=0, atol=rtol * scale)


# ------------------------------------------------------------------ results


# ------------------------------------------------------------------ what is accepted


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.bool_, np.clongdouble])
def test_other_numbers_compute_in_double(backend, kind):
    channel = np.eye(3, 7).astype(kind)
    arguments = arguments_of("sum_rate") | {"channel": channel}
    expected = run("sum_rate", arguments | {"channel": channel.astype(complex)})
    assert_same_bits(run("sum_rate", arguments), expected)


@pytest.mark.parametrize("number", [1, 1.0, True, np.float32(1), np.int8(1), np.ones(())])
def test_any_number_is_a_power(backend, number):
    effective = draw("effective_channel")
    expected = kernels.zero_forcing(effective, np.ones(()))
    assert_same_bits([kernels.zero_forcing(effective, number)], [expected])


# ------------------------------------------------------------------ what is refused


def refused(name, argument, value, error, match, **others):
    arguments = arguments_of(name) | others | {argument: value}
    with kernels.backend("numpy"), pytest.raises(error, match=f"^{argument}: expected .*{match}"):
        run(name, arguments)


@each_argument
def test_what_is_no_array_of_numbers(name, argument):
    refused(name, argument, "text", TypeError, "numbers, got dtype <U4")
    refused(name, argument, [[1.0], [1.0, 2.0]], ValueError, "numbers")
    refused(name, argument, np.full(core(argument), None), TypeError, "numbers, got dtype object")
    if argument not in ("weights", "min_rate"):
        refused(name, argument, None, TypeError, "numbers, got dtype object")
    if ARGUMENTS[argument].kind not in "cq":
        value = draw(argument) + 0j
        refused(name, argument, value, TypeError, "real numbers, got dtype complex128")


@each_argument
def test_too_few_dimensions(name, argument):
    if CORES[argument]:
        value = draw(argument)[0]
        refused(name, argument, value, ValueError, rf"\(\.\.\., .*got \({str(value.shape)[1:-1]}")


@each_argument
def test_core_dimensions_must_match(name, argument):
    """The argument named is never the first one with the dimension, which defines it."""
    for axis, letter in enumerate(CORES[argument]):
        owners = [a for a in KERNELS[name] if letter in CORES[a]]
        if len(owners) == 1:
            continue
        shape = list(core(argument))
        shape[axis] += 1
        arguments = arguments_of(name) | {argument: np.full(shape, 0.5)}
        named, other = (owners[1], argument) if argument == owners[0] else (argument, owners[0])
        size = shape[axis] if argument == owners[0] else SIZES[letter]
        with pytest.raises(ValueError, match=f"^{named}: .* {letter} = {size} to match {other}"):
            run(name, arguments)


@each_argument
def test_core_dimensions_must_not_vanish(name, argument):
    for axis, letter in enumerate(CORES[argument]):
        shape = list(core(argument))
        shape[axis] = 0
        refused(name, argument, np.zeros(shape), ValueError, "at least 1|to match")
        if argument == KERNELS[name][0]:
            refused(name, argument, np.zeros(shape), ValueError, f"{letter} at least 1")


@each_argument
def test_leading_dimensions_must_broadcast(name, argument):
    first = KERNELS[name][0]
    if argument != first:
        value = np.full((2, *core(argument)), 0.5)
        others = {first: draw(first, (3,))}
        refused(name, argument, value, ValueError, r"broadcast with \(3,\), got \(2", **others)


def exactly(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize(("name", "argument"), [pair for pair in INPUTS if pair[1] in LIMITS])
def test_values_out_of_range_are_named_with_their_place(name, argument):
    values, expected = LIMITS[argument]
    for value in values:
        array = draw(argument, (2,))
        where = (1, *(0 for _ in core(argument)))
        array[where] = value
        message = f"{argument}: expected values {expected}, got {value} at index {where}"
        with pytest.raises(ValueError, match=exactly(message)):
            run(name, arguments_of(name) | {argument: array})
        if argument.endswith("power"):
            message = f"{argument}: expected a value {expected}, got {value}"
            with pytest.raises(ValueError, match=exactly(message)):
                run(name, arguments_of(name) | {argument: value})


def test_an_integer_beyond_floats_is_no_power():
    refused("zero_forcing", "power", 10**400, ValueError, "positive and finite")


def test_limits_are_allowed(backend):
    arguments = arguments_of("sum_rate")
    arguments["amplitudes"][:2] = 0.0, 1.0
    assert kernels.sum_rate(**arguments | {"weights": np.zeros(3)}) == 0.0
    arguments["amplitudes"][0] = np.nan
    assert np.isnan(kernels.sum_rate(**arguments))


def test_zero_forcing_needs_no_more_users_than_feeds():
    match = r"^effective_channel: expected .* K <= M .*, got \(5, 3\)"
    with pytest.raises(ValueError, match=match):
        kernels.zero_forcing(np.ones((5, 3)), 1.0)


@pytest.mark.parametrize("constraint", ["total", None, 1, True])
def test_unknown_constraint(constraint):
    with pytest.raises(ValueError, match=r"^constraint: expected 'radiated' or 'digital', got"):
        kernels.project(**arguments_of("project"), constraint=constraint)


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (2**31, ValueError), (1.0, TypeError), ("1", TypeError)]
)
@pytest.mark.parametrize("argument", ["iterations", "threads"])
def test_counts_are_integers_in_range(argument, value, error):
    with pytest.raises(error, match=f"^{argument}: expected an integer"):
        kernels.wmmse(**arguments_of("wmmse"), **{argument: value})


def test_a_call_needs_a_thread():
    with pytest.raises(ValueError, match=r"^threads: expected an integer from 1"):
        kernels.wmmse(**arguments_of("wmmse"), threads=0)


def test_solvers_take_one_phase_or_one_a_channel():
    channel, phase = draw("channel", (2,)), draw("phase", (3,))
    with pytest.raises(ValueError, match=r"^phase: .* G = 2 to match channel, got"):
        edge.call(
            "alternating",
            (channel, draw("amplitudes"), phase, 1.0, 0.1, None),
            {"iterations": 2},
        )


@pytest.mark.parametrize("phases", [1, 2])
def test_solvers_record_a_history(phases):
    inputs = (draw("channel", (5, 2)), draw("amplitudes"), draw("phase", (phases,)), 1.0, 0.1, None)
    with kernels.backend("numpy"):
        stepped = edge.call("alternating", inputs, {"tolerance": 0.0, "iterations": 2})
        stages = {"zf_iterations": 2, "iterations": 3, "tolerance": 0.0}
        projected = edge.call("variable_projection", (*inputs, None), stages)
    for results, recorded in ((stepped, 3), (projected, 6)):
        shapes = [(5, 7), (5, 2, 4, 3), (5,), (5,), (5,), (5, recorded)]
        assert [result.shape for result in results] == shapes


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"step": -0.1}, ValueError, "^step: expected a value finite and at least 0"),
        ({"step": "a"}, TypeError, "^step: expected a real number"),
        ({"tolerance": np.nan}, ValueError, "^tolerance: expected a value finite"),
        ({"inner": -1}, ValueError, "^inner: expected an integer from 0"),
        ({"iterations": 2.0}, TypeError, "^iterations: expected an integer"),
        ({"iterations": 10**20}, ValueError, "^iterations: expected an integer from 0 to 2147"),
        ({"sweeps": 3}, TypeError, "^sweeps: expected an option of alternating .radiated, "),
    ],
)
def test_options_of_solvers(options, error, match):
    inputs = (draw("channel", (2,)), draw("amplitudes"), draw("phase", (1,)), 1.0, 0.1, None)
    with pytest.raises(error, match=match):
        edge.call("alternating", inputs, options)


# ------------------------------------------------------------------ out


def test_some_of_the_results_may_be_given(backend):
    arguments = arguments_of("sum_rate_gradient", (3,))
    expected = kernels.sum_rate_gradient(**arguments)
    given = np.empty((3, 7))
    results = kernels.sum_rate_gradient(**arguments, out=(None, given, None))
    assert results[1] is given
    assert_same_bits(results, expected)


def test_out_may_overlap_an_input(backend):
    """Each result lies where the next item is read."""
    buffer = np.concatenate([draw("channel", (40,))[..., :3], np.zeros((1, 3, 3))])
    expected = kernels.zero_forcing(buffer[:-1].copy(), 1.0)
    assert_same_bits([kernels.zero_forcing(buffer[:-1], 1.0, out=buffer[1:])], [expected])


@pytest.mark.parametrize(
    ("out", "error"),
    [
        (np.empty((2, 3)), ValueError),
        (np.empty((3, 3)), ValueError),
        (np.empty((2, 3), np.complex64), ValueError),
        (np.empty((2, 3), ">c16"), ValueError),
        (np.empty((3, 2), complex).T, ValueError),
        (read_only(np.empty((2, 3), complex)), ValueError),
        ([[0j] * 3] * 2, TypeError),
        ((np.empty((2, 3), complex),) * 2, TypeError),
    ],
)
def test_out_of_another_kind(out, error):
    with pytest.raises(error, match=r"^out: expected"):
        kernels.effective_channel(np.ones((2, 7)), np.ones(7), np.ones((7, 3)), out=out)


# ------------------------------------------------------------------ backends


def test_a_backend_is_chosen_for_a_block_or_for_the_process():
    before = kernels.get_backend()
    with kernels.backend("numpy"):
        assert kernels.get_backend() == "numpy"
        with kernels.backend("numba"):
            assert kernels.get_backend() == "numba"
        assert kernels.get_backend() == "numpy"
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(kernels.get_backend).result() == before
    assert kernels.get_backend() == before
    try:
        kernels.set_backend("numpy")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(kernels.get_backend).result() == "numpy"
    finally:
        kernels.set_backend(before)


def test_each_thread_has_its_own_block():
    meet = threading.Barrier(2, timeout=10)

    def inside(name):
        with kernels.backend(name):
            meet.wait()
            return kernels.get_backend()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(inside, ["numpy", "numba"])) == ["numpy", "numba"]


def test_the_chosen_backend_does_the_work(monkeypatch):
    used = []
    original = backends._interpreted

    def spy(reference, op):
        used.append(op.name)
        return original(reference, op)

    monkeypatch.setattr(backends, "_interpreted", spy)
    edge._plan.cache_clear()
    with kernels.backend("numba"):
        kernels.sinr(**arguments_of("sinr"))
    assert used == []
    with kernels.backend("numpy"):
        kernels.sinr(**arguments_of("sinr"))
    assert used == ["sinr"]


def test_unknown_backend():
    for choose in (kernels.set_backend, lambda name: kernels.backend(name).__enter__()):
        with pytest.raises(ValueError, match=r"^name: expected one of 'native', .* got 'cuda'"):
            choose("cuda")


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_environment_picks_the_first_backend():
    code = "from hmimo_fast import kernels; print(kernels.get_backend())"
    assert python(code, HMIMO_BACKEND="numpy").stdout == "numpy\n"
    assert "HMIMO_BACKEND: expected one of" in python(code, HMIMO_BACKEND="cuda").stderr


@pytest.mark.slow
def test_environment_sets_the_threads():
    code = "from hmimo_fast.kernels import threads; print(threads.default_threads())"
    assert python(code, HMIMO_NUM_THREADS="3").stdout == "3\n"
    assert int(python(code, OMP_NUM_THREADS="").stdout) == len(os.sched_getaffinity(0))
    for text in ("0", "-1", "many", ""):
        stderr = python(code, HMIMO_NUM_THREADS=text).stderr
        assert f"HMIMO_NUM_THREADS: expected a positive integer, got {text!r}" in stderr


# ------------------------------------------------------------------ threads


def test_calls_from_many_threads(backend, always_split):
    cases = [arguments_of("sum_rate_gradient", (size,)) for size in range(17, 65, 6)]
    expected = [run("sum_rate_gradient", case, threads=1) for case in cases]

    def hammer(index):
        with kernels.backend(backend):
            return index % 8, run("sum_rate_gradient", cases[index % 8], threads=3)

    with ThreadPoolExecutor(8) as pool:
        for index, results in pool.map(hammer, range(200)):
            assert_same_bits(results, expected[index])


def test_slices_cover_the_range_once():
    """Slices begin where a pack of lanes may."""
    counts = np.zeros(165, int)
    starts = []

    def count(start, stop):
        starts.append(start)
        counts[start:stop] += 1

    for slices, threads in itertools.product((1, 2, 5, 11, 99), (1, 2, 3, 16)):
        counts[:] = 0
        starts.clear()
        run_slices(count, 165, slices, threads)
        assert np.all(counts == 1)
        assert len(starts) == min(slices, 11)
        assert all(start % PACK == 0 for start in starts)


def test_slices_within_slices_do_not_wait_for_ever():
    done = []

    def inner(start, stop):
        done.extend(range(start, stop))

    run_slices(lambda start, stop: run_slices(inner, 64, 4, 4), 1024, 64, 4)
    assert sorted(done) == sorted([*range(64)] * 64)


@pytest.mark.parametrize("bad", [0, 1, 5])
def test_an_error_in_a_slice_is_raised_once_all_begun_have_ended(bad):
    begun, ended = [], []

    def fail(start, stop):
        begun.append(start)
        if start == PACK * bad:
            raise RuntimeError("bad slice")
        time.sleep(0.01)
        ended.append(start)

    with pytest.raises(RuntimeError, match="bad slice"):
        run_slices(fail, 40 * PACK, 40, 4)
    assert sorted(begun) == sorted([*ended, PACK * bad])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_the_pool_survives_a_fork(backend, always_split):
    arguments = arguments_of("sinr", (40,))
    expected = run("sinr", arguments, threads=2)

    def child(queue):
        with kernels.backend(backend):
            queue.put(run("sinr", arguments, threads=2))

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    try:
        assert_same_bits(queue.get(timeout=30), expected)
    finally:
        process.join(10)
        process.kill()
    assert_same_bits(run("sinr", arguments, threads=2), expected)


# ------------------------------------------------------------------ Numba


@pytest.mark.slow
def test_numba_compiles_once_for_all_processes(tmp_path):
    code = """
import numpy as np
from hmimo_fast import kernels
from hmimo_fast.kernels import jit
with kernels.backend("numba"):
    kernels.effective_channel(np.ones((1, 1)), [1.0], np.ones((1, 1)))
print(*(sum(jit._BATCHES["effective_channel"].stats.cache_hits.values()),))
"""
    assert [python(code, NUMBA_CACHE_DIR=str(tmp_path)).stdout for _ in range(2)] == ["0\n", "1\n"]


UNCACHED = """
import sys, warnings
import numpy as np
import numba.core.caching as caching

if sys.argv[1:] == ["read-only"]:
    def refuse(self):
        raise OSError(30, "Read-only file system")
    caching._CacheLocator.ensure_cache_path = refuse
if sys.argv[1:] == ["full"]:
    def refuse(self, path):
        raise OSError(28, "No space left on device")
    caching.IndexDataCacheFile._open_for_write = refuse
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from hmimo_fast import kernels
    from hmimo_fast.cli import main
    from hmimo_fast.kernels import jit
    for kind in (np.complex64, np.complex128):
        print(kernels.effective_channel(np.full((1, 1), 2, kind), [1.0], np.ones((1, 1))).item())
print(len(caught), sum(jit._BATCHES["effective_channel"].stats.cache_hits.values()))
assert all("NUMBA_CACHE_DIR" in str(warning.message) for warning in caught)
main(["info"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["read-only", "full", "cut", "empty"])
def test_numba_goes_on_without_its_cache(tmp_path, fault):
    """With one warning; a truncated cache is written again."""

    def outcome(*arguments):
        environment = {"NUMBA_CACHE_DIR": str(tmp_path), "HMIMO_BACKEND": "numba"}
        said = subprocess.run(
            [sys.executable, "-c", UNCACHED, *arguments],
            env=os.environ | environment, capture_output=True, text=True, timeout=120, check=True,
        ).stdout.splitlines()  # fmt: skip
        assert said[:2] == ["(2+0j)", "(2+0j)"]
        assert "backend     numba" in said
        return said[2]

    if fault in ("read-only", "full"):
        assert [outcome(fault) for _ in range(2)] == ["1 0", "1 0"]
        return
    assert outcome() == "0 0"
    for file in tmp_path.rglob("*.nb[ic]"):
        os.truncate(file, file.stat().st_size // 2 if fault == "cut" else 0)
    assert [outcome() for _ in range(2)] == ["1 0", "0 2"]


@pytest.mark.slow  # Numba compiles parallel code, which it does not keep
def test_numba_functions_run_inside_others():
    import numba

    from hmimo_fast.kernels import jit

    @numba.njit(parallel=True)
    def rates(channels, amplitudes, phase, digital, noise_power, weights):
        result = np.empty(len(channels))
        for i in numba.prange(len(channels)):
            result[i] = jit.sum_rate(channels[i], amplitudes, phase, digital, noise_power, weights)
        return result

    arguments = arguments_of("sum_rate") | {"channel": draw("channel", (6,)), "noise_power": 0.3}
    assert_close(rates(*arguments.values()), kernels.sum_rate(**arguments))
