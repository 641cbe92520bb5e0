"""The operator `wmmse_gradient`: sweeps, rate and slope by the oracle; backends; hard cases."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from conftest import BACKENDS

from hmimo_fast import kernels
from hmimo_fast.kernels import edge

SHAPES = [(1, 1, 1), (9, 4, 3), (17, 9, 8), (9, 2, 5), (64, 6, 6)]  # N, L, K

shapes = pytest.mark.parametrize("shape", SHAPES, ids=str)
conventions = pytest.mark.parametrize("radiated", [False, True], ids=["digital", "radiated"])
quick = pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "numba"])


class Step(NamedTuple):
    channel: np.ndarray
    amplitudes: np.ndarray
    phase: np.ndarray
    digital: np.ndarray
    power: Any
    noise_power: Any
    weights: Any


def draw(shape: tuple[int, int, int], batch: tuple[int, ...] = ()) -> Step:
    elements, feeds, users = shape
    rng = np.random.default_rng([*shape, *batch])

    def gaussian(*size: int) -> np.ndarray:
        return (rng.normal(size=size) + 1j * rng.normal(size=size)) / math.sqrt(2.0)

    return Step(
        gaussian(*batch, users, elements) / math.sqrt(elements),
        rng.uniform(0.1, 1.0, (*batch, elements)),
        np.exp(2j * np.pi * rng.uniform(size=(elements, feeds))),
        gaussian(*batch, feeds, users),
        rng.uniform(0.5, 2.0, batch) if batch else 1.7,
        rng.uniform(0.02, 0.2, batch) if batch else 0.05,
        rng.uniform(0.5, 2.0, (*batch, users)),
    )


def run(step: Step, radiated: bool, sweeps: int = 2, **how: Any) -> tuple[Any, ...]:
    return edge.call("wmmse_gradient", step, {"radiated": radiated, "sweeps": sweeps}, **how)


def agree(actual: Any, expected: Any, tolerance: float) -> None:
    """Equal relative to the largest magnitude, NaN at the same places."""
    for left, right in zip(actual, expected, strict=True):
        scale = np.max(np.abs(np.nan_to_num(right)), initial=0.1)
        np.testing.assert_allclose(left, right, rtol=0.0, atol=tolerance * scale)


def same_bits(actual: Any, expected: Any) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


def matched_in_the_norm(step: Step, radiated: bool) -> tuple[np.ndarray, np.ndarray]:
    """R with V = R V' of plain power norm(V'), and the matched V'."""
    surface = step.amplitudes[:, None] * step.phase
    root = np.eye(step.phase.shape[1])
    if radiated:
        root = np.linalg.inv(np.linalg.cholesky(surface.conj().T @ surface).conj().T)
    return root, np.array(naive.matched(step.channel @ surface @ root, step.power))


@quick
@shapes
@conventions
@pytest.mark.parametrize("sweeps", [0, 1, 3])
def test_sweeps_are_those_of_the_oracle(
    backend: str, shape: tuple[int, int, int], radiated: bool, sweeps: int
) -> None:
    step = draw(shape)
    root, start = matched_in_the_norm(step, radiated)
    effective = step.channel @ (step.amplitudes[:, None] * step.phase) @ root
    expected = root @ naive.wmmse(
        effective, step.power, step.noise_power, step.weights, iterations=sweeps
    )
    with kernels.backend(backend):
        rate, digital, _ = run(step._replace(digital=3.0 * root @ start), radiated, sweeps)
    agree([digital], [expected], 1e-8)
    link = step.channel, step.amplitudes, step.phase, digital
    assert rate == pytest.approx(naive.sum_rate(*link, step.noise_power, step.weights), rel=1e-9)


@quick
@shapes
@conventions
@pytest.mark.parametrize("sweeps", [0, 2])
def test_the_slope_is_that_of_the_rate_at_its_beams(
    backend: str, shape: tuple[int, int, int], radiated: bool, sweeps: int
) -> None:
    step = draw(shape)
    with kernels.backend(backend):
        _, digital, slope = run(step, radiated, sweeps)

    def rate(amplitudes: np.ndarray) -> float:
        surface = (amplitudes, step.phase) if radiated else ()
        served = math.sqrt(step.power / naive.used_power(digital, *surface)) * digital
        link = step.channel, amplitudes, step.phase, served
        return naive.sum_rate(*link, step.noise_power, step.weights)

    for n in range(min(shape[0], 9)):
        unit = np.eye(shape[0])[n]
        difference = naive.slope(lambda t, u=unit: rate(step.amplitudes + t * u), 1e-3)
        assert slope[n] == pytest.approx(difference, rel=1e-6, abs=1e-6)


@pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")
@shapes
@conventions
def test_backends_agree(shape: tuple[int, int, int], radiated: bool) -> None:
    step = draw(shape, (4,))
    step.channel[1] = 0.0
    step.channel[2, 0, 0] = np.nan
    results = {}
    for name in ("numpy", "native"):
        with kernels.backend(name):
            results[name] = [run(step, radiated, sweeps) for sweeps in (0, 1, 4)]
    for actual, expected in zip(results["native"], results["numpy"], strict=True):
        agree(actual, expected, 1e-9)


@pytest.mark.slow  # which it compiles for long
def test_numba_runs_the_definition() -> None:
    step = draw((9, 4, 3), (3,))
    results = []
    for name in ("numba", "numpy"):
        with kernels.backend(name):
            results.append(run(step, True))
    agree(*results, 1e-10)


@quick
@conventions
def test_single_precision(backend: str, radiated: bool) -> None:
    """Rounded inputs and results, double precision between."""
    step = draw((64, 6, 6), (5,))
    single = step._replace(
        **{name: getattr(step, name).astype(np.complex64) for name in ("channel", "digital")}
    )
    with kernels.backend(backend):
        expected, actual = run(step, radiated), run(single, radiated)
    assert [array.dtype for array in actual] == [np.float64, np.complex64, np.float32]
    agree(actual, expected, 1e-4)


@quick
@conventions
@pytest.mark.parametrize("nothing", ["channel", "amplitudes", "phase", "weights"])
def test_beams_that_reach_nobody_stay(backend: str, radiated: bool, nothing: str) -> None:
    step = draw((9, 4, 3))
    step = step._replace(**{nothing: 0.0 * getattr(step, nothing)})
    with kernels.backend(backend):
        rate, digital, slope = run(step, radiated)
    assert rate == 0.0
    np.testing.assert_array_equal(slope, 0.0)
    ratio = digital / step.digital
    np.testing.assert_allclose(ratio, ratio[0, 0].real, rtol=1e-12)
    if not radiated or nothing in ("channel", "weights"):
        surface = (step.amplitudes, step.phase) if radiated else ()
        assert naive.used_power(digital, *surface) == pytest.approx(step.power)


@quick
def test_beams_of_no_power_stay(backend: str) -> None:
    step = draw((9, 4, 3))
    with kernels.backend(backend):
        rate, digital, slope = run(step._replace(digital=0.0 * step.digital), True)
    assert rate == 0.0
    np.testing.assert_array_equal(digital, 0.0)
    np.testing.assert_array_equal(slope, 0.0)
