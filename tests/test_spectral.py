"""The operator `spectral_ascent`: its steps written out here, backends, weights, hard cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import BACKENDS
from test_wmmse_gradient import Step, agree, draw
from test_wmmse_gradient import run as follow

import hmimo_fast as hf
from hmimo_fast import kernels
from hmimo_fast.kernels import edge

conventions = pytest.mark.parametrize("radiated", [False, True], ids=["digital", "radiated"])
quick = pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "numba"])
shapes = pytest.mark.parametrize("shape", [(2, 1, 1), (9, 4, 3), (9, 2, 5), (33, 6, 6)], ids=str)


def run(step: Step, radiated: bool, change: Any = None, slope: Any = None, **how: Any) -> Any:
    options = {"radiated": radiated, "sweeps": how.pop("sweeps", 2), "steps": how.pop("steps", 0)}
    return edge.call("spectral_ascent", (*step, change, slope), options, **how)


def next_step(
    step: Step, amplitudes: Any, beams: Any, change: Any, slope: Any, gradient: Any, radiated: bool
) -> tuple[Any, ...]:
    """Curvature, step and length as docs/mathematics.md has them, element by element."""
    bend = np.ones(len(amplitudes))
    if radiated:
        bend = np.array([np.sum(np.abs(row @ beams) ** 2) for row in step.phase])
        bend = bend / bend.mean() + 0.05
    unit = 0.3 if radiated else 1.0
    scaled = [g / b for g, b in zip(gradient, bend, strict=True)]
    steepest = max(map(abs, scaled)) or 1.0
    length = 0.5 * unit
    if np.any(change):
        pairs = zip(change, slope, gradient, amplitudes, strict=True)
        product = sum(s * (old - new) for s, old, new, m in pairs if m > 0.0 or new > 0.0)
        inverse = product / sum(s**2 * b for s, b in zip(change, bend, strict=True)) / steepest
        length = 1.0 / np.clip(inverse, 1.0 / (5.0 * unit), 1.0 / (0.02 * unit))
    return bend, np.array(scaled) * length / steepest, length


@quick
@shapes
@conventions
def test_steps_are_those_written_out(
    backend: str, shape: tuple[int, int, int], radiated: bool
) -> None:
    with kernels.backend(backend):
        check_steps(shape, radiated)


def check_steps(shape: tuple[int, int, int], radiated: bool) -> None:
    given = draw(shape)
    amplitudes, beams = given.amplitudes, given.digital
    change = slope = np.zeros(len(amplitudes))
    for steps in range(4):
        here = given._replace(amplitudes=amplitudes, digital=beams)
        rate, beams, gradient = follow(here, radiated)
        bend, step, length = next_step(given, amplitudes, beams, change, slope, gradient, radiated)
        found = run(given, radiated, steps=steps)
        expected = (rate, beams, amplitudes, change, slope, gradient, bend, step, length)
        for actual, wanted in zip(found, expected, strict=True):
            size = max(np.max(np.abs(wanted)), 1e-3)
            np.testing.assert_allclose(actual, wanted, rtol=0.0, atol=1e-7 * size)
        ahead = np.clip(amplitudes + step, 0.0, 1.0)
        if not ahead.any():
            ahead = amplitudes
        change, slope, amplitudes = ahead - amplitudes, gradient, ahead


@pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")
@shapes
@conventions
def test_backends_agree(shape: tuple[int, int, int], radiated: bool) -> None:
    given = draw(shape, (6,))
    given.channel[1] = 0.0
    given.channel[2, 0, 0] = given.digital[3, 0, 0] = given.amplitudes[4, 0] = np.nan
    rng = np.random.default_rng(5)
    change, slope = 0.1 * rng.normal(size=(2, *given.amplitudes.shape))
    slope[5, 0] = np.nan
    results = {}
    for name in ("numpy", "native"):
        with kernels.backend(name):
            results[name] = run(given, radiated, change, slope, steps=2)
    agree(results["native"], results["numpy"], 1e-7)
    for result in results["native"]:
        bad = np.isnan(result).reshape(6, -1)
        assert bad.any(1).tolist() == bad.all(1).tolist() == [False, False, True, True, True, True]


@quick
@conventions
def test_the_unit_of_the_weights_is_that_of_the_slopes(backend: str, radiated: bool) -> None:
    given = draw((9, 4, 3))
    with kernels.backend(backend):
        rate, *plain, length = run(given, radiated, steps=2)
        heavy = run(given._replace(weights=8.0 * given.weights), radiated, steps=2)
        again = run(given, radiated, plain[2], plain[3], steps=1)
        heavier = run(
            given._replace(weights=8.0 * given.weights), radiated, plain[2], 8.0 * plain[3], steps=1
        )
    by = [1.0, 1.0, 1.0, 8.0, 8.0, 1.0, 1.0]
    agree(heavy, [8.0 * rate, *(b * x for b, x in zip(by, plain, strict=True)), length], 1e-9)
    agree(heavier[1:], [b * x for b, x in zip([*by, 1.0], again[1:], strict=True)], 1e-9)


@quick
@conventions
def test_single_precision(backend: str, radiated: bool) -> None:
    given = draw((33, 6, 6), (5,))
    single = Step(*(np.asarray(x) for x in given))._replace(
        channel=given.channel.astype(np.complex64), phase=given.phase.astype(np.complex64),
        digital=given.digital.astype(np.complex64), amplitudes=given.amplitudes.astype(np.float32),
    )  # fmt: skip
    with kernels.backend(backend):
        found, expected = (run(x, radiated, steps=1) for x in (single, given))
    assert [x.dtype for x in found[1:8]] == [np.complex64, *[np.float32] * 6]
    agree(found, expected, 2e-4)


@pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")
@conventions
def test_nothing_is_lost_far_above_the_noise(radiated: bool) -> None:
    surface = hf.Surface((8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=6000, seed=20261122)
    start = np.full((len(channel), 64), 0.3 if radiated else 1.0, np.float32)
    beams = (channel @ surface.phase).conj().swapaxes(1, 2).astype(np.complex64)
    phase = surface.phase.astype(np.complex64)
    given = Step(channel.astype(np.complex64), start, phase, beams, 1.0, 1e-4, None)
    for result in run(given, radiated, steps=24):
        assert np.isfinite(result).all()
