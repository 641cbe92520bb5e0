"""Minimum rates inside the solvers, the largest common rate, and what schedules gain by them."""

from __future__ import annotations

from itertools import product
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import hmimo_fast as hf
from hmimo_fast import kernels
from hmimo_fast.kernels import edge
from hmimo_fast.kernels.definitions.ascent import FOLLOWING, PART, SHARE, evaluate
from hmimo_fast.kernels.definitions.element import AMPLITUDE, Elements
from hmimo_fast.kernels.definitions.problem import Limits

SURFACE = hf.Surface(shape=(5, 5), feeds=4)
PHASE = SURFACE.phase
USERS = 3
METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]

conventions = pytest.mark.parametrize("constraint", ["digital", "radiated"])
powers = pytest.mark.parametrize("radiated", [False, True], ids=["digital", "radiated"])
methods = pytest.mark.parametrize("method", METHODS)
BACKENDS = [
    name for name in ("native", "numba") if name == "numba" or name == kernels.get_backend()
]


def channels(size: int | None = 20, users: int = USERS, seed: int = 3) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def solve(channel: Any, phase: Any = PHASE, **options: Any) -> hf.Solution:
    defaults: dict[str, Any] = {"power": 1.0}
    defaults["noise_power"] = 4.0 if options.get("constraint") == "digital" else 0.3
    if options.get("method") in ("alternating", "fully_digital"):
        defaults["iterations"] = 30
    return hf.solve(channel, phase, **(defaults | options))


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([seed, *shape])
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def project(
    channel: np.ndarray, phase: np.ndarray, min_rate: Any, radiated: bool, *,
    amplitudes: Any = None, weights: Any = None, noise: Any = 0.1, first: int = 2,
    second: int = 3, sweeps: int = 2, tolerance: float = 1e-9, threads: int | None = None,
) -> Any:  # fmt: skip
    """The operator: m, V, rate, iterations, converged, history."""
    start = np.ones(channel.shape[-1]) if amplitudes is None else amplitudes
    inputs = (channel, start, phase, 1.0, noise, weights, min_rate)
    options = {
        "radiated": radiated, "zf_iterations": first, "iterations": second, "candidates": 1,
        "sweeps": sweeps, "tolerance": tolerance,
    }  # fmt: skip
    return edge.call("variable_projection", inputs, options, threads=threads)


def beams_at(
    channel: np.ndarray, phase: np.ndarray, min_rate: Any, radiated: bool, *,
    amplitudes: Any = None, weights: Any = None, noise: Any = 0.1, general: bool = True,
    sweeps: int = 2,
) -> Any:  # fmt: skip
    """The operator at amplitudes that stay: these, V, rate."""
    m = np.ones(channel.shape[-1]) if amplitudes is None else amplitudes
    options = {"radiated": radiated, "general": general, "sweeps": sweeps}
    inputs = (channel, m, phase, 1.0, noise, weights, min_rate)
    return np.broadcast_to(m, (len(channel), len(m))), *edge.call("best_beams", inputs, options)


def user_rates(channel: np.ndarray, phase: np.ndarray, found: Any, noise: float) -> np.ndarray:
    """Rates (..., F, K) by the formula in NumPy."""
    received = channel @ (found[0][..., None, :, None] * phase) @ found[1]
    gain = np.abs(received) ** 2
    own = np.diagonal(gain, axis1=-2, axis2=-1)
    return np.log2(1.0 + own / (noise + gain.sum(-1) - own))


def used_power(phase: np.ndarray, found: Any, radiated: bool) -> np.ndarray:
    beams = (found[0][..., None, :, None] * phase) @ found[1] if radiated else found[1]
    return np.sum(np.abs(beams) ** 2, axis=(-2, -1))


# -- the operator ------------------------------------------------------------------------

SHAPES = [(1, 3, 9, 4, 1), (2, 3, 9, 4, 2), (1, 5, 12, 3, 1), (2, 4, 8, 2, 1), (1, 1, 5, 2, 1)]
FLOORS = {"feasible": 0.2, "infeasible": 30.0, "mixed": None}


@pytest.mark.parametrize("kind", FLOORS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.skipif("native" not in BACKENDS, reason="built without a compiler")
@powers
def test_native_does_as_defined(radiated: bool, shape: tuple[int, ...], kind: str) -> None:
    size, users, elements, feeds, phases = shape
    channel = drawn((3, size, users, elements))
    channel[1, 0, 0, 0] = np.nan
    phase = np.exp(1j * drawn((phases, elements, feeds)).real)
    floors = FLOORS[kind] or np.linspace(0.0, 2.0, 3 * users).reshape(3, users)
    options = {"min_rate": np.broadcast_to(floors, (3, users)), "radiated": radiated}
    with kernels.backend("numpy"):
        expected = project(channel, phase, **options)
    with kernels.backend("native"):
        actual = project(channel, phase, **options)
    for one, other in zip(actual, expected, strict=True):
        scale = np.max(np.abs(other), initial=1e-300, where=np.isfinite(other))
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-7 * scale)
    assert np.isnan(actual[1][1]).all()


@powers
def test_no_floors_are_no_floors(radiated: bool) -> None:
    channel, phase = drawn((3, 1, 3, 9)), np.exp(1j * drawn((1, 9, 4)).real)
    for one, other in zip(
        project(channel, phase, None, radiated), project(channel, phase, np.zeros(3), radiated),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@powers
def test_floored_zero_forcing_at_given_amplitudes(radiated: bool, scale: float) -> None:
    """Without iterations: water-filling with floors, its level by bisection."""
    channel, phase = scale * drawn((12, 1, 3, 9)), np.exp(1j * drawn((1, 9, 4)).real)
    rng = np.random.default_rng(4)
    amplitudes, weights = rng.uniform(size=(12, 9)), rng.uniform(0.3, 2.0, (12, 3))
    floors, noise = rng.uniform(0.0, 4.0, (12, 3)), 0.4 * scale**2
    found = project(
        channel, phase, floors, radiated, amplitudes=amplitudes, weights=weights, noise=noise,
        first=0, second=0,
    )  # fmt: skip
    held = 0
    for i in range(12):
        link = (channel[i, 0], amplitudes[i], phase[0])
        cost = [row[k].real for k, row in enumerate(naive.zero_forcing_cost(*link, radiated))]
        _, fits = naive.water_filling(cost, 1.0, noise, weights[i], floors[i])
        needed = sum((2.0**r - 1.0) * noise * c for r, c in zip(floors[i], cost, strict=True))
        expected = naive.zero_forcing_rate(*link, 1.0, noise, weights[i], floors[i], radiated)
        assert found[2][i] == pytest.approx(expected if fits else -np.log2(needed), rel=1e-9)
        held += fits
    assert 1 < held < 11


def best_beams(
    channel: np.ndarray, noise: float, floors: np.ndarray, weights: np.ndarray, trials: int = 3
) -> float:
    """Highest weighted sum rate over V of power 1 under minimum rates, by SLSQP."""
    users, feeds = channel.shape

    def rates(x: np.ndarray) -> np.ndarray:
        beams = (x[: users * feeds] + 1j * x[users * feeds :]).reshape(feeds, users)
        gain = np.abs(channel @ beams) ** 2
        own = np.diagonal(gain)
        return np.log2(1.0 + own / (noise + gain.sum(1) - own))

    limits = [
        {"type": "ineq", "fun": lambda x: rates(x) - floors},
        {"type": "ineq", "fun": lambda x: 1.0 - x @ x},
    ]
    best = -np.inf
    inverse = np.linalg.pinv(channel).ravel()
    for trial in range(trials):
        x = np.random.default_rng(trial).normal(size=2 * users * feeds)
        x = np.concatenate([inverse.real, inverse.imag]) if trial == 0 else x
        found = minimize(
            lambda x: -weights @ rates(x), x / np.linalg.norm(x), method="SLSQP",
            constraints=limits, options={"maxiter": 100},
        )  # fmt: skip
        if (rates(found.x) >= floors - 1e-6).all() and found.x @ found.x <= 1.0 + 1e-6:
            best = max(best, -found.fun)
    return best


@pytest.mark.parametrize("users", [2, 3])
def test_general_beams_under_floors_are_optimal(users: int) -> None:
    """As good as SLSQP at the same amplitudes, and feasible where SLSQP finds a feasible point."""
    worth = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        channel, phase = drawn((1, 1, users, 6), seed), np.exp(1j * drawn((1, 6, users), seed).real)
        weights, floors = rng.uniform(0.5, 1.5, users), rng.uniform(0.5, 2.0, users)
        noise = 2.0 * float(np.mean(np.abs(channel[0, 0] @ phase[0]) ** 2)) / 10.0
        found = beams_at(
            channel, phase, floors, False, weights=weights, noise=noise, sweeps=3
        )  # fmt: skip
        expected = best_beams(channel[0, 0] @ phase[0], noise, floors, weights)
        rates = user_rates(channel, phase, found, noise)[0, 0]
        assert used_power(phase, found, False)[0, 0] == pytest.approx(1.0)
        if expected > -np.inf:
            assert (rates >= floors - 1e-9).all()
            assert weights @ rates == pytest.approx(found[2][0], rel=1e-9)
            worth.append(weights @ rates / expected)
        else:
            assert not (rates >= floors - 1e-9).all()
    assert len(worth) >= 3
    assert min(worth) > 0.97  # SLSQP finds the better of two optima now and then
    assert np.median(worth) > 0.9999


@powers
@pytest.mark.parametrize("floor", [0.6, 30.0], ids=["fitting", "not fitting"])
@pytest.mark.parametrize("stage", [0, 1])
def test_gradients_under_floors(stage: int, floor: float, radiated: bool) -> None:
    """dR/dm of both stages by finite differences, where the floors fit and where they do not."""
    channel, phase = drawn((2, 3, 5)), np.exp(1j * drawn((1, 5, 4)).real)
    rng = np.random.default_rng(1)
    amplitudes, weights = rng.uniform(0.3, 0.9, 5), rng.uniform(0.5, 1.5, 3)
    floors = floor * np.array([1.0, 0.0, 1.5])
    psi = np.zeros((2, 3 + FOLLOWING, 3), complex)
    psi[:, SHARE], psi[:, PART] = 1.0 / 3.0, 1.0
    noise = 20.0 if floor > 1.0 else 0.05

    def evaluated(m: np.ndarray) -> Any:
        elements = Elements(AMPLITUDE, m.astype(complex), np.ones(5))
        limits = Limits(
            1.0, noise, weights, floors, True, radiated, 400, elements, 0, 0.0, True,
            np.ones((2, 3)), np.zeros(0),
        )  # fmt: skip
        return evaluate(stage, channel, phase, m, psi, limits, noise, np.ones(3))

    value, gradient, *_ = evaluated(amplitudes)
    assert (value < 0.0) == (floor > 1.0)
    for n in range(5):
        step = 1e-5 * np.eye(5)[n]
        slope = (evaluated(amplitudes + step)[0] - evaluated(amplitudes - step)[0]) / 2e-5
        assert gradient[n] == pytest.approx(slope, rel=1e-4, abs=1e-5 * np.abs(gradient).max())


@powers
def test_what_does_not_fit_is_balanced(radiated: bool) -> None:
    """Infeasible minimum rates end with SINR in proportion to the targets, at full power."""
    channel, phase = drawn((4, 2, 3, 9)), np.exp(1j * drawn((1, 9, 4)).real)
    floors = np.array([18.0, 20.0, 19.0])
    found = project(channel, phase, floors, radiated, first=5, second=5)
    ratio = (2.0 ** user_rates(channel, phase, found, 0.1) - 1.0) / (2.0**floors - 1.0)
    np.testing.assert_allclose(ratio, ratio[..., :1] * np.ones(3), rtol=1e-4)
    np.testing.assert_allclose(np.log2(ratio[..., 0]).sum(-1), found[2], rtol=1e-4)
    np.testing.assert_allclose(used_power(phase, found, radiated), 1.0, rtol=1e-6)


def test_balanced_beams_reach_what_slsqp_does() -> None:
    """The largest common rate at given amplitudes, for K <= L and K > L."""
    for seed, (users, feeds) in enumerate([(2, 2), (3, 3), (3, 2), (2, 4)]):
        channel, phase = drawn((1, 1, users, 6), seed), np.exp(1j * drawn((1, 6, feeds), seed).real)
        effective, noise = channel[0, 0] @ phase[0], 1.0
        found = beams_at(channel, phase, np.full(users, 100.0), False, noise=noise)
        reached = user_rates(channel, phase, found, noise).min()

        def rates(x: np.ndarray, g: np.ndarray = effective, noise: float = noise) -> np.ndarray:
            beams = (x[: g.size] + 1j * x[g.size : 2 * g.size]).reshape(g.shape[::-1])
            gain = np.abs(g @ beams) ** 2
            own = np.diagonal(gain)
            return np.log2(1.0 + own / (noise + gain.sum(1) - own))

        best = 0.0
        for trial in range(6):
            x = np.random.default_rng(trial).normal(size=2 * effective.size)
            x = np.append(x / np.linalg.norm(x), 0.0)
            result = minimize(
                lambda x: -x[-1], x, method="SLSQP", options={"maxiter": 300},
                constraints=[
                    {"type": "ineq", "fun": lambda x: rates(x) - x[-1]},
                    {"type": "ineq", "fun": lambda x: 1.0 - x[:-1] @ x[:-1]},
                ],
            )  # fmt: skip
            if 1.0 + 1e-6 >= result.x[:-1] @ result.x[:-1]:
                best = max(best, rates(result.x).min())
        assert reached >= best - 1e-4
        assert reached <= best + 1e-2


# -- solve -------------------------------------------------------------------------------


@conventions
@methods
@pytest.mark.parametrize("floor", [0.8, [0.4, 1.5, 0.0]], ids=["common", "each"])
def test_feasible_means_met(method: str, constraint: str, floor: Any) -> None:
    """Rates by plain loops; an infeasible item comes back as without minimum rates."""
    channel = channels(30)
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    free, held = solve(channel, **options), solve(channel, min_rate=floor, **options)
    met = (held.rates >= np.asarray(floor) - 1e-9).all(-1)
    np.testing.assert_array_equal(held.feasible, met)
    already = (free.rates >= np.asarray(floor) - 1e-9).all(-1)
    both = min(held.history.shape[-1], free.history.shape[-1])
    for array in ("amplitudes", "digital", "rates"):
        np.testing.assert_array_equal(getattr(held, array)[already], getattr(free, array)[already])
    np.testing.assert_array_equal(held.history[already, :both], free.history[already, :both])
    assert np.isnan(held.history[already, both:]).all()
    left = ~held.feasible  # up to rounding: users served alone are solved in other batches
    np.testing.assert_allclose(held.rates[left], free.rates[left], rtol=1e-6, atol=1e-9)
    if method in ("zf", "joint", "wmmse_hbf", "fully_digital"):
        assert held.feasible.sum() > already.sum() or already.all()
    for i in np.flatnonzero(held.feasible & ~already)[:3]:
        amplitudes, digital = held.amplitudes[i], held.digital[i]
        surface, phase = (amplitudes, PHASE), PHASE
        if method == "fully_digital":
            phase = np.eye(25)
            surface = (np.ones(25), phase)
        noise = 4.0 if constraint == "digital" else 0.3
        ratio = naive.sinr(channel[i], surface[0], phase, digital, noise)
        assert (np.log2(1.0 + np.array(ratio)) >= np.asarray(floor) - 1e-9).all()
        spent = naive.used_power(digital, *(surface if constraint == "radiated" else ()))
        assert spent == pytest.approx(1.0, rel=1e-6)


@conventions
def test_no_less_than_floored_zero_forcing(constraint: str) -> None:
    """At the amplitudes without floors, powers by bisection: always; and well above on average."""
    channel, floors = channels(60), np.array([0.5, 1.5, 1.0])
    noise = 4.0 if constraint == "digital" else 0.3
    weights = np.array([1.0, 0.5, 2.0])
    options: dict[str, Any] = {"constraint": constraint, "weights": weights}
    free = solve(channel, **options)
    held = solve(channel, min_rate=floors, **options)
    gains = []
    for i in np.flatnonzero(~(free.rates >= floors).all(-1)):
        link = (channel[i], free.amplitudes[i], PHASE)
        cost = naive.zero_forcing_cost(*link, constraint == "radiated")
        spent = sum((2.0**r - 1.0) * noise * cost[k][k].real for k, r in enumerate(floors))
        if spent <= 1.0:
            forced = naive.zero_forcing_rate(
                *link, 1.0, noise, weights, floors, constraint == "radiated"
            )
            assert held.feasible[i]
            assert held.sum_rate[i] >= forced - 1e-9 * forced
            gains.append(held.sum_rate[i] / forced)
    assert len(gains) > 5
    assert np.mean(gains) > 1.02


def test_the_whole_problem_as_slsqp_solves_it() -> None:
    """Amplitudes and beams at once, two users on four elements: within 2 % of many SLSQP runs."""
    total, floors, noise = [], np.array([1.0, 1.5]), 1.0
    for seed in range(4):
        channel, phase = drawn((2, 4), seed), np.exp(1j * drawn((4, 2), seed).real)

        def rates(x: np.ndarray, h: np.ndarray = channel, p: np.ndarray = phase) -> np.ndarray:
            gain = np.abs((h * x[:4]) @ p @ (x[4:8] + 1j * x[8:]).reshape(2, 2)) ** 2
            own = np.diagonal(gain)
            return np.log2(1.0 + own / (noise + gain.sum(1) - own))

        best = 0.0
        for trial in range(12):
            rng = np.random.default_rng([seed, trial])
            x = np.concatenate([rng.uniform(size=4), 0.5 * rng.normal(size=8)])
            found = minimize(
                lambda x: -rates(x).sum(), x, method="SLSQP",
                bounds=[(0.0, 1.0)] * 4 + [(-1.0, 1.0)] * 8, options={"maxiter": 300},
                constraints=[
                    {"type": "ineq", "fun": lambda x: rates(x) - floors},
                    {"type": "ineq", "fun": lambda x: 1.0 - x[4:] @ x[4:]},
                ],
            )  # fmt: skip
            if (rates(found.x) >= floors - 1e-6).all() and found.x[4:] @ found.x[4:] < 1.0 + 1e-6:
                best = max(best, -found.fun)
        ours = solve(
            channel, phase, min_rate=floors, noise_power=noise, constraint="digital", starts=6
        )
        assert ours.feasible or best == 0.0
        total.append((float(ours.sum_rate), best))
    ours_, theirs = np.array(total).T
    assert (ours_ >= 0.98 * theirs).all()


@conventions
def test_more_users_than_feeds(constraint: str) -> None:
    """Without zero forcing too, minimum rates that leave room for all are met."""
    channel = channels(20, users=6)
    held = solve(channel, min_rate=0.2, constraint=constraint, noise_power=0.05)
    free = solve(channel, constraint=constraint, noise_power=0.05)
    assert held.feasible.mean() > 0.9
    assert (free.rates >= 0.2).all(-1).mean() < 0.5
    assert (held.rates[held.feasible] >= 0.2 - 1e-9).all()
    assert held.sum_rate[held.feasible].mean() > 0.8 * free.sum_rate[held.feasible].mean()


@conventions
@methods
def test_common_rate_tells_what_is_feasible(method: str, constraint: str) -> None:
    channel = channels(12)
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    first = solve(channel, min_rate=0.5, **options)
    common = first.common_rate
    assert common.shape == (12,)
    assert common.dtype == np.float64
    np.testing.assert_array_equal(first.feasible, common >= 0.5 - 1e-9)
    assert (common >= first.rates.min(-1)).all()
    below = solve(channel, min_rate=0.98 * common[:, None] * np.ones(USERS), **options)
    above = solve(channel, min_rate=1.05 * common[:, None] * np.ones(USERS), **options)
    assert below.feasible.all()
    floor = 1.05 * common
    np.testing.assert_array_equal(above.feasible, above.common_rate >= floor - 1e-9)
    assert above.feasible.sum() <= 1  # the largest found, not necessarily the largest possible
    np.testing.assert_allclose(above.common_rate, common, rtol=0.1)


def test_common_rate_of_a_grid() -> None:
    """Two users on three elements: no less than zero forcing at all amplitudes in tenths."""
    for seed in range(3):
        channel, phase = drawn((2, 3), seed), np.exp(1j * drawn((3, 2), seed).real)
        best = 0.0
        for m in product(np.linspace(0.1, 1.0, 10), repeat=3):
            cost = naive.zero_forcing_cost(channel, m, phase, False)
            best = max(best, np.log2(1.0 + 1.0 / (0.2 * (cost[0][0].real + cost[1][1].real))))
        found = solve(channel, phase, min_rate=0.1, constraint="digital", noise_power=0.2, starts=4)
        assert found.common_rate >= 0.98 * best


def test_no_common_rate_unless_asked() -> None:
    assert solve(channels(2)).common_rate is None


def test_common_rate_of_several_channels() -> None:
    channel = channels(12).reshape(6, 2, USERS, 25)
    found = solve(channel, shared=True, min_rate=[1.0, 0.5, 0.7])
    met = (found.rates.sum(axis=-2) >= np.array([1.0, 0.5, 0.7]) - 1e-9).all(axis=-1)
    np.testing.assert_array_equal(found.feasible, met)
    assert found.common_rate.shape == (6,)
    again = solve(channel, shared=True, min_rate=(0.98 * found.common_rate)[:, None] * np.ones(3))
    assert again.feasible.all()
    free = solve(channel, shared=True)
    lacking = (free.rates.sum(axis=-2) < np.array([1.0, 0.5, 0.7])).any(axis=-1)
    assert met.sum() > 6 - lacking.sum()


# -- degenerate and extreme --------------------------------------------------------------


@methods
def test_zero_floors_change_nothing(method: str) -> None:
    free, held = (solve(channels(3), method=method, min_rate=r) for r in (None, 0.0))
    for array in ("amplitudes", "digital", "rates", "sum_rate", "history", "feasible"):
        np.testing.assert_array_equal(getattr(held, array), getattr(free, array))


@conventions
@methods
def test_bad_items_spoil_no_others(method: str, constraint: str) -> None:
    """A NaN, a zero channel, a user without one, and two parallel users."""
    channel = channels(6)
    channel[1, 0, 0] = np.nan
    channel[2] = 0.0
    channel[3, 1] = 0.0
    channel[4, 1] = 2.0 * channel[4, 0]
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    options["start"] = None if method == "fully_digital" else np.ones(25)
    held = solve(channel, min_rate=0.3, **options)
    np.testing.assert_array_equal(np.isnan(held.common_rate), np.arange(6) == 1)
    np.testing.assert_array_equal(held.common_rate[2:4], 0.0)
    assert not held.feasible[1:4].any()
    alone = solve(channel[[0, 5]], min_rate=0.3, **options)
    close = 1e-2 if method == "joint" else 1e-6  # candidates are compared in single precision
    np.testing.assert_allclose(alone.rates, held.rates[[0, 5]], rtol=close)
    np.testing.assert_allclose(alone.common_rate, held.common_rate[[0, 5]], rtol=close)
    if method in ("joint", "wmmse_hbf"):  # no zero forcing of parallel users
        assert held.common_rate[4] > 0.1
    one = solve(channel[0], min_rate=0.3, **options)
    np.testing.assert_allclose(one.rates, held.rates[0], rtol=1e-6)
    assert one.common_rate.shape == one.feasible.shape == ()


@methods
def test_one_user(method: str) -> None:
    """Its only minimum rate is feasible up to its best rate."""
    channel = channels(5, users=1)
    free = solve(channel, method=method)
    held = solve(channel, method=method, min_rate=0.9 * free.rates)
    assert held.feasible.all()
    np.testing.assert_array_equal(held.rates, free.rates)
    # Both are local optima; `zf` has one start for the free one.
    np.testing.assert_allclose(held.common_rate, free.rates[:, 0], rtol=0.05)


@conventions
def test_weak_channels(constraint: str) -> None:
    """The same at -170 dB as at 0 dB: units do not matter, and rates near 0 keep their digits."""
    channel, gain = channels(10), 10.0**-8.5
    noise = 4.0 if constraint == "digital" else 0.3
    one = solve(channel, min_rate=0.8, constraint=constraint, noise_power=noise)
    far = solve(gain * channel, min_rate=0.8, constraint=constraint, noise_power=noise * gain**2)
    np.testing.assert_array_equal(one.feasible, far.feasible)
    np.testing.assert_allclose(one.common_rate, far.common_rate, rtol=1e-2)
    lost = solve(gain * channel, min_rate=1e-18, constraint=constraint, noise_power=noise)
    assert (lost.common_rate > 1e-20).all()
    assert (lost.common_rate < 1e-14).all()


@conventions
@methods
def test_single_precision(method: str, constraint: str) -> None:
    channel = channels(30)
    options: dict[str, Any] = {"method": method, "constraint": constraint, "min_rate": 0.8}
    double, single = solve(channel, **options), solve(channel.astype(np.complex64), **options)
    assert single.digital.dtype == np.complex64
    assert (single.rates[single.feasible] >= 0.8 - 1e-5).all()
    assert (single.feasible == double.feasible).mean() > 0.9
    np.testing.assert_allclose(single.common_rate.mean(), double.common_rate.mean(), rtol=0.02)


def test_weights_of_zero() -> None:
    """Users of weight zero still have their minimum rates."""
    channel = channels(10)
    for weights in ([1.0, 0.0, 1.0], [0.0, 0.0, 0.0]):
        held = solve(channel, min_rate=0.6, weights=weights)
        assert held.feasible.mean() >= 0.7
        assert (held.rates[held.feasible] >= 0.6 - 1e-9).all()
    one = solve(channel, min_rate=0.6, weights=[1.0, 0.0, 1.0])
    tight = np.abs(one.rates[one.feasible, 1] - 0.6) < 0.05
    assert tight.mean() > 0.8


@given(st.lists(st.floats(0.0, 4.0), min_size=3, max_size=3), st.sampled_from([0.05, 0.3, 2.0]))
def test_marks_are_true(floors: list[float], noise: float) -> None:
    held = solve(channels(3), min_rate=floors, noise_power=noise)
    met = (held.rates >= np.array(floors) - 1e-9).all(-1)
    np.testing.assert_array_equal(held.feasible, met)
    assert held.feasible[held.common_rate >= max(floors)].all()


def test_more_starts_are_no_worse() -> None:
    channel = channels(15)
    one, many = (solve(channel, min_rate=1.0, starts=starts) for starts in (1, 4))
    assert (many.feasible >= one.feasible).all()
    kept = one.feasible
    assert (many.sum_rate >= one.sum_rate)[kept].all()
    assert (many.common_rate >= one.common_rate).all()


def test_at_levels() -> None:
    """Hardware states meet the minimum rates and have a common rate of their own."""
    channel, states = channels(12), np.linspace(0.0, 1.0, 4)
    free, held = solve(channel, levels=2), solve(channel, levels=2, min_rate=0.8)
    assert np.isin(held.amplitudes, states).all()
    assert (held.rates[held.feasible] >= 0.8 - 1e-9).all()
    assert held.feasible.sum() > (free.rates >= 0.8).all(-1).sum()
    smooth = solve(channel, min_rate=0.8)
    assert 0.8 * smooth.common_rate.mean() < held.common_rate.mean()
    assert held.common_rate.mean() < 1.02 * smooth.common_rate.mean()


# -- schedules ---------------------------------------------------------------------------


@conventions
def test_minimum_rates_cost_a_schedule_little(constraint: str) -> None:
    """More users served than with their rates only checked; as many at a higher sum rate."""
    channel, noise = channels(25, users=5), 2.0 if constraint == "digital" else 0.2
    options: dict[str, Any] = {"noise_power": noise, "constraint": constraint, "min_rate": 1.0}
    found = hf.schedule(channel, PHASE, **options)
    checked = hf.schedule(channel, PHASE, rescue=False, **options)
    assert (found.rates[found.served] >= 1.0 - 1e-9).all()
    assert found.served.sum() > checked.served.sum()
    options["min_rate"] = 0.3
    found = hf.schedule(channel, PHASE, accept="rate", **options)
    checked = hf.schedule(channel, PHASE, accept="rate", rescue=False, **options)
    assert found.sum_rate.mean() >= checked.sum_rate.mean()


@conventions
@pytest.mark.parametrize("method", ["joint", "zf", "alternating"])
def test_a_schedule_at_levels(method: str, constraint: str) -> None:
    channel = channels(4, users=4)
    options: dict[str, Any] = {"method": method, "constraint": constraint, "min_rate": 0.5}
    if method == "alternating":
        options["iterations"] = 10
    found = hf.schedule(channel, PHASE, levels=2, **options)
    assert np.isin(found.amplitudes, np.linspace(0.0, 1.0, 4)).all()
    assert (found.rates[found.served] >= 0.5 - 1e-9).all()
    assert found.feasible.any()
    for i in np.flatnonzero(found.feasible):
        served = found.served[i]
        ratio = naive.sinr(
            channel[i][served], found.amplitudes[i], PHASE, found.digital[i][:, served], 0.1
        )
        np.testing.assert_allclose(found.rates[i][served], np.log2(1.0 + np.array(ratio)))
    fine = hf.schedule(channel, PHASE, levels=6, **options)
    smooth = hf.schedule(channel, PHASE, **options)
    assert fine.sum_rate.mean() > 0.9 * smooth.sum_rate.mean()


def test_levels_of_a_schedule_are_checked() -> None:
    with pytest.raises(ValueError, match="levels: expected from 1 to 16 bits, got 0"):
        hf.schedule(channels(1), PHASE, levels=0)
    with pytest.raises(ValueError, match="levels: expected a method with amplitudes"):
        hf.schedule(channels(1), PHASE, levels=1, method="fully_digital")


def test_minimum_rates_and_starts_of_a_lone_channel_are_problems_of_their_own() -> None:
    floors, first = np.array([[0.5], [1.0]]) * np.ones(USERS), np.array([1.0, 0.5])[:, None, None]
    start = first * np.ones((1, PHASE.shape[0]))
    channel = channels(1)[0]
    both = hf.solve(channel, PHASE, min_rate=floors, start=start)
    assert both.sum_rate.shape == (2, 2)
    for i in range(2):
        for j in range(2):
            alone = hf.solve(channel, PHASE, min_rate=floors[j], start=start[i, 0])
            np.testing.assert_allclose(both.sum_rate[i, j], alone.sum_rate, rtol=1e-3)
