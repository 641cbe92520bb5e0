"""Calls ended by a signal, and calls where no thread can be started."""

from __future__ import annotations

import _thread
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from hmimo_fast import kernels
from hmimo_fast.kernels import edge, threads

#: Seconds that a call may last after Ctrl-C.
SOON = 0.5

RNG = np.random.default_rng(5)


@pytest.fixture
def on_c_kernels() -> Iterator[None]:
    try:
        with kernels.backend("native"):
            yield
    except ImportError:
        pytest.skip("built without a compiler")


def complex_normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=(*shape, 2)).view(complex)[..., 0]


def problem(elements: int, channels: int = 1, lead: Sequence[int] = ()) -> tuple[Any, ...]:
    """Inputs of a loop: K = L = 6."""
    channel = complex_normal(*lead, channels, 6, elements)
    return channel, RNG.uniform(size=elements), complex_normal(1, elements, 6), 1.0, 0.1, None


def interrupted(call: Callable[[], Any], after: float = 0.3) -> float:
    """Seconds that a call lasts after the interruption that ends it."""
    sent = []

    def send() -> None:
        sent.append(time.perf_counter())
        _thread.interrupt_main()

    timer = threading.Timer(after, send)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call()
    timer.join()
    return time.perf_counter() - sent[0]


ENDLESS = {"tolerance": 0.0, "iterations": 2**31 - 1}

#: One item each, of which a budget makes a matter of minutes at least.
LONG_ITEMS: dict[str, Callable[[], Any]] = {
    "alternating": lambda: edge.call("alternating", problem(4096), ENDLESS),
    "backtracking": lambda: edge.call(
        "alternating", problem(4096, 64), ENDLESS | {"backtracking": True}
    ),
    "variable_projection": lambda: edge.call(
        "variable_projection", (*problem(4096, 96), None), ENDLESS
    ),
    "coordinate_descent": lambda: edge.call("coordinate_descent", problem(4096, 48), ENDLESS),
    "best_beams": lambda: edge.call(
        "best_beams", (*problem(64), None), {"sweeps": 2**31 - 1}
    ),
    "state_ascent": lambda: edge.call(
        "state_ascent", (*problem(4096, 48), None, np.linspace(0.0, 1.0, 64)), ENDLESS
    ),
    "wmmse": lambda: kernels.wmmse(complex_normal(6, 6), 1.0, 0.1, iterations=2**31 - 1),
    "wmmse_gradient": lambda: edge.call(
        "wmmse_gradient",
        (complex_normal(6, 64), RNG.uniform(size=64), complex_normal(64, 6), complex_normal(6, 6),
         1.0, 0.1, None),
        {"sweeps": 2**31 - 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LONG_ITEMS)
def test_ctrl_c_ends_one_long_item(on_c_kernels, name):
    assert interrupted(LONG_ITEMS[name]) < SOON


#: Half a minute of work for the C kernels, ten for Numba.
MANY_ITEMS = """
import time, numpy as np, hmimo_fast as hf
rng = np.random.default_rng(0)
channel = rng.normal(size=(200_000, 4, 16, 2)).view(complex)[..., 0]
phase = rng.normal(size=(16, 4, 2)).view(complex)[..., 0]
options = dict(power=1.0, noise_power=0.1, method="alternating", threads=1, inner=1, tolerance=0.0)
try:
    with hf.backend(BACKEND):
        hf.solve(channel[:1], phase, iterations=2, **options)
        print("ready", flush=True)
        hf.solve(channel, phase, iterations=100, **options)
except KeyboardInterrupt:
    print(time.monotonic(), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process on Windows")
@pytest.mark.parametrize("backend_name", ["native", "numba"])
def test_ctrl_c_ends_many_items_on_one_thread(backend_name):
    code = MANY_ITEMS.replace("BACKEND", repr(backend_name))
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                pytest.skip(f"no {backend_name} backend")
            time.sleep(0.3)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            said, _ = child.communicate(timeout=60)
            assert float(said) - sent < SOON
        finally:
            child.kill()


def wmmse_of_many(**options: Any) -> np.ndarray:
    effective = np.random.default_rng(1).normal(size=(2000, 4, 6, 2)).view(complex)[..., 0]
    return kernels.wmmse(effective, 1.0, 0.1, iterations=2000, **options)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
def test_a_handler_that_returns_runs_at_once_and_changes_nothing(compiled):
    seen = []

    def handler(number: int, frame: Any) -> None:
        seen.append(time.perf_counter())

    with kernels.backend(compiled):
        expected = wmmse_of_many(threads=1)
        started = time.perf_counter()
        wmmse_of_many(threads=1)
        took = time.perf_counter() - started
        before = signal.signal(signal.SIGALRM, handler)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1 * took)
            found = wmmse_of_many(threads=1)
            ended = time.perf_counter()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, before)
    np.testing.assert_array_equal(found, expected)
    assert len(seen) == 1
    assert seen[0] < ended - 0.5 * took


@pytest.mark.parametrize("size", [1, 2000])
def test_without_a_thread_to_be_had_the_caller_works(compiled, monkeypatch, size):
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(edge, "_SLICE", 1e-9)
    monkeypatch.setattr(edge, "_LONG", 1e-9)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads._pool.cache_clear()
    with kernels.backend(compiled):
        effective = np.random.default_rng(1).normal(size=(size, 4, 6, 2)).view(complex)[..., 0]
        found = kernels.wmmse(effective, 1.0, 0.1, iterations=20, threads=3)
        monkeypatch.undo()
        threads._pool.cache_clear()
        np.testing.assert_array_equal(found, kernels.wmmse(effective, 1.0, 0.1, iterations=20))


@pytest.mark.slow
@pytest.mark.parametrize(
    "when",
    [
        "import atexit; atexit.register(call)",
        "import threading; threading.Thread(target=late).start()",
        "call(); import atexit; atexit.register(call)",
    ],
)
def test_calls_at_the_end_of_the_interpreter(when):
    code = f"""
import time, threading, numpy as np
from hmimo_fast import kernels
from hmimo_fast.kernels import edge
def call():
    effective = np.random.default_rng(1).normal(size=(4000, 4, 6, 2)).view(complex)[..., 0]
    found = kernels.wmmse(effective, 1.0, 0.1, iterations=400, threads=2)
    print(bool(np.isfinite(found).all()), flush=True)
def late():
    threading.main_thread().join()
    time.sleep(0.1)
    call()
{when}
"""
    outcome = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert outcome.stderr == ""
    assert set(outcome.stdout.split()) == {"True"}
    assert outcome.returncode == 0


# ------------------------------------------------------------------ slices and bits
