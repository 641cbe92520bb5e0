"""`solve(levels=)` and `solve(callback=)`: quantised amplitudes, and progress over the starts."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from typing import Any

import naive
import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.kernels import edge
from hmimo_fast.kernels.definitions import states as definition

SURFACE = hf.Surface(shape=(4, 4), feeds=4)
PHASE = SURFACE.phase
METHODS = [name for name, m in hf.solvers.METHODS.items() if not (m.is_network or m.fully_digital)]
conventions = pytest.mark.parametrize("constraint", ["digital", "radiated"])


def channels(size: int | None = 4, users: int = 3, seed: int = 3) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def solve(channel: Any, phase: Any = PHASE, **options: Any) -> hf.Solution:
    return hf.solve(channel, phase, **({"power": 2.0, "noise_power": 0.3} | options))


def lone_rate(
    channel: np.ndarray, amplitudes: np.ndarray, phase: np.ndarray, constraint: str
) -> float:
    """Rate of a single user with matched beams at power 2 and noise 0.3, in closed form."""
    surface = amplitudes[:, None] * phase
    g = channel[0] @ surface
    if constraint == "radiated":
        gain = np.vdot(g, np.linalg.pinv(surface.T @ surface.conj()) @ g).real
    else:
        gain = np.vdot(g, g).real
    return math.log2(1.0 + 2.0 * gain / 0.3)


@conventions
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("levels", "allowed"),
    [(1, [0.0, 1.0]), (2, [0.0, 1 / 3, 2 / 3, 1.0]), ([0.2, 0.9, 0.5], [0.2, 0.5, 0.9])],
)
def test_only_the_levels_and_what_it_claims(
    levels: Any, allowed: list[float], method: str, constraint: str
) -> None:
    channel, weights = channels(), [1.0, 2.0, 0.5]
    found = solve(channel, method=method, constraint=constraint, levels=levels, weights=weights)
    assert np.isin(found.amplitudes, allowed).all()
    for i in range(len(channel)):
        amplitudes, digital = found.amplitudes[i], found.digital[i]
        surface = (amplitudes, PHASE) if constraint == "radiated" else ()
        assert naive.used_power(digital, *surface) == pytest.approx(2.0, rel=1e-6)
        ratios = naive.sinr(channel[i], amplitudes, PHASE, digital, 0.3)
        np.testing.assert_allclose(found.sinr[i], ratios, rtol=1e-6)
        assert found.sum_rate[i] == pytest.approx(naive.weighted_rate(ratios, weights), rel=1e-6)


@conventions
def test_no_neighbouring_level_of_any_element_is_better(constraint: str) -> None:
    states = np.linspace(0.0, 1.0, 4)
    channel = channels(6, users=1)
    found = solve(channel, constraint=constraint, levels=2)
    for h, amplitudes, rate in zip(channel, found.amplitudes, found.sum_rate, strict=True):
        assert rate == pytest.approx(lone_rate(h, amplitudes, PHASE, constraint), rel=1e-6)
        index = np.searchsorted(states, amplitudes)
        for element, step in itertools.product(range(16), (-1, 1)):
            moved = index.copy()
            moved[element] = (moved[element] + step) % 4
            # gains are those at fixed receivers: in one of these items one step is worth 0.07 %
            assert lone_rate(h, states[moved], PHASE, constraint) < rate * (1.0 + 1e-3)


@conventions
def test_close_to_the_best_of_all_patterns(constraint: str) -> None:
    surface = hf.Surface(shape=(3, 3), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, users=1, size=10, seed=5)
    found = solve(channel, surface.phase, constraint=constraint, levels=1, starts=4)
    patterns = [np.array(p) for p in itertools.product([0.0, 1.0], repeat=9) if any(p)]
    best = [max(lone_rate(h, p, surface.phase, constraint) for p in patterns) for h in channel]
    assert (found.sum_rate <= np.array(best) * (1.0 + 1e-6)).all()
    assert found.sum_rate.mean() > 0.98 * np.mean(best)


@conventions
@pytest.mark.parametrize("states", [[0.0, 1.0], [1.0, -1.0]])
def test_close_to_the_best_of_all_states_for_several_users(
    constraint: str, states: list[float]
) -> None:
    surface = hf.Surface(shape=(2, 3), feeds=3)
    channel = hf.channels.sparse_mmwave(surface, users=3, size=12, seed=8)
    where = {"power": 1.0, "noise_power": 0.1, "constraint": constraint}
    found = hf.solve(channel, surface.phase, **where, elements=states, starts=4)
    best = np.zeros(len(channel))
    for pattern in itertools.product(states, repeat=6):
        if any(pattern):
            start = np.broadcast_to(pattern, (12, 6))
            stay = {"zf_iterations": 0, "iterations": 1, "sweeps": 100, "tolerance": 1e300}
            kind = "phase" if -1.0 in states else "amplitude"
            plain = hf.solve(channel, surface.phase, **where, elements=kind, start=start, **stay)
            best = np.maximum(best, plain.sum_rate)
    assert found.sum_rate.mean() > 0.97 * best.mean()


def ascend(backend: str, constraint: str, turned: bool, **how: Any) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    channel = rng.normal(size=(7, 2, 3, 10, 2)).view(complex)[..., 0]
    phase = rng.normal(size=(2, 10, 4, 2)).view(complex)[..., 0]
    weights, moves = rng.uniform(0.2, 1.0, (7, 3)), np.round(rng.uniform(0.2, 1.0, (7, 10)))
    if turned:
        amplitudes, states = np.exp(2j * np.pi * rng.random((7, 10))), 1j ** np.arange(4)
    else:
        amplitudes, states = rng.random((7, 10)), np.arange(3) / 2.0
    with hf.backend(backend):
        operands = channel, amplitudes, phase, 1.0, 0.05, weights, moves, states
        return edge.call("state_ascent", operands, {"radiated": constraint == "radiated"} | how)


@conventions
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("mixed", [False, True])
def test_ascents_over_states_are_as_defined(
    backend: str, constraint: str, turned: bool, mixed: bool
) -> None:
    rates, chosen = ascend(backend, constraint, turned, mixed=mixed)
    expected, same = ascend("numpy", constraint, turned)
    np.testing.assert_allclose(rates, expected, rtol=1e-3 if mixed else 1e-9)
    np.testing.assert_array_equal(chosen, same)
    before, _ = ascend(backend, constraint, turned, iterations=0)
    assert (rates >= before * (1.0 - 1e-6)).all()
    assert (rates > before * 1.01).any()


MEMORY_OF_BEFORE = """
import numpy as np
import hmimo_fast as hf

surface = hf.Surface((4, 4), feeds=3)
channel = hf.channels.sparse_mmwave(surface, 3, 20, 0).astype(np.complex64)
for method in ("alternating", "zf_hbf", "wmmse_hbf"):
    for constraint in ("radiated", "digital"):
        rates = []
        for value in (0.0, np.nan, 0.0, np.nan):
            memory = [np.full(2000, value, np.float32) for _ in range(200)]
            above = np.full(2000, value)  # keeps the allocator from giving it back
            del memory
            found = hf.solve(channel, surface.phase, 1.0, 0.1, method, constraint, levels=2)
            rates.append(found.rates)
        for other in rates[1:]:
            np.testing.assert_array_equal(other, rates[0])
"""


@pytest.mark.slow
def test_memory_of_before_changes_no_bit() -> None:
    """Of lanes in which nothing moves; in a process of its own, whose heap is known."""
    subprocess.run([sys.executable, "-c", MEMORY_OF_BEFORE], check=True)


@conventions
def test_what_a_state_promises(constraint: str) -> None:
    """The fall of the weighted errors at fixed receivers and weights, at the beams that suit."""
    rng = np.random.default_rng(5)
    users, feeds, elements, ratio = 3, 4, 6, 0.07
    channel, phase, beams = (
        rng.normal(size=(*shape, 2)).view(complex)[..., 0]
        for shape in ((users, elements), (elements, feeds), (feeds, users))
    )
    states = np.exp(0.5j * np.pi * np.arange(4)) * (0.4, 1.0, 0.7, 0.9)
    weight = states[rng.integers(0, 4, elements)]
    radiated = constraint == "radiated"

    def least(q: np.ndarray, u: np.ndarray, w: np.ndarray) -> float:
        g = channel * q @ phase
        s = phase.conj().T @ (np.abs(q[:, None]) ** 2 * phase) if radiated else np.eye(feeds)
        a = w * np.abs(u) ** 2
        m = g.conj().T @ (a[:, None] * g) + ratio * a.sum() * s
        b = g.conj().T @ np.diag(w * u.conj())
        return float(w.sum() - np.trace(b.conj().T @ np.linalg.solve(m, b)).real)

    factor, whitened, gram = definition.factor_feeds(channel, weight, phase, radiated)
    psi = np.linalg.inv(gram) + 0.1 * beams[:users]
    sinr, half, ridge, inverse = definition.links_of(gram, psi, ratio, np.ones(users))
    received = gram @ psi
    power = ratio * np.trace(psi.conj().T @ received).real
    total = power + np.sum(np.abs(received) ** 2, axis=1)
    u, w = np.diag(received).conj() / total, 1.0 + sinr
    for n in range(elements):
        promised = ridge * definition.promise(
            channel[:, n], phase[n], factor, whitened, inverse, half, w, states, weight[n], radiated
        )
        for state, gain in zip(states, promised, strict=True):
            moved = weight.copy()
            moved[n] = state
            assert gain == pytest.approx(least(weight, u, w) - least(moved, u, w), abs=1e-9)


def test_what_quantisation_costs() -> None:
    """At N = 64, K = L = 6, 10 dB, radiated power: the losses asked for, and below rounding's."""
    surface = hf.Surface(shape=(8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=64, seed=0)
    problem = {"power": 1.0, "noise_power": 0.1}
    free = hf.solve(channel, surface.phase, **problem)
    for bits, most in ((1, 0.10), (2, 0.05), (3, 0.011)):
        steps = 2**bits - 1
        rounded = np.round(free.amplitudes * steps) / steps
        plain = hf.solve(
            channel, surface.phase, **problem, start=rounded,
            zf_iterations=0, iterations=1, sweeps=100, tolerance=1e300,
        )  # fmt: skip
        np.testing.assert_array_equal(plain.amplitudes, rounded)
        ours = hf.solve(channel, surface.phase, **problem, levels=bits)
        assert (ours.sum_rate >= plain.sum_rate * (1.0 - 1e-9)).all()
        assert ours.sum_rate.mean() > plain.sum_rate.mean()
        assert ours.sum_rate.mean() > (1.0 - most) * free.sum_rate.mean()


def test_more_levels_serve_more() -> None:
    channel = channels(30)
    rates = [solve(channel, levels=b).sum_rate.mean() for b in (1, 2, 4)]
    assert rates[0] < rates[1] < rates[2]


def test_the_scale_of_the_amplitudes_does_not_matter() -> None:
    """Under radiated power a third of a pattern is as good: its elements must not all go off."""
    pattern = np.random.default_rng(0).uniform(0.0, 1.0, 16)
    pattern[3] = 1.0
    stay = {"zf_iterations": 0, "iterations": 0, "levels": [0.0, 1.0]}
    whole, third = (solve(channels(6), start=c * pattern, **stay) for c in (1.0, 1 / 3))
    np.testing.assert_array_equal(third.amplitudes, whole.amplitudes)


def test_on_and_off_is_enough_under_digital_power() -> None:
    """Elements at full amplitude radiate the most power there: hardly any end in between."""
    channel = channels(30)
    free, switched = (solve(channel, constraint="digital", levels=b) for b in (None, 1))
    assert switched.sum_rate.mean() > 0.99 * free.sum_rate.mean()


def test_more_users_than_feeds_and_one_level() -> None:
    channel = channels(3, users=6)
    found = solve(channel, levels=1)
    assert found.feasible.all()
    assert (found.sum_rate > 0.0).all()
    fixed = solve(channels(), levels=[1.0])
    np.testing.assert_array_equal(fixed.amplitudes, 1.0)
    assert (fixed.sum_rate > 0.0).all()


@pytest.mark.parametrize("batch", [(), (0,), (2, 3)], ids=str)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_several_channels_under_one_pattern(batch: tuple[int, ...], dtype: Any) -> None:
    count = math.prod(batch)
    channel = channels(12)[: 2 * count].reshape(*batch, 2, 3, 16).astype(dtype)
    found = solve(channel, shared=True, levels=1, noise_power=np.full(batch, 0.3))
    assert found.amplitudes.shape == (*batch, 16)
    assert found.digital.shape == (*batch, 2, 4, 3)
    assert found.digital.dtype == dtype
    assert np.isin(found.amplitudes, [0.0, 1.0]).all()
    for at in np.ndindex(batch):
        total = 0.0
        for f in range(2):
            where = (*at, f)
            total += naive.sum_rate(
                channel[where], found.amplitudes[at], PHASE, found.digital[where], 0.3
            )
        assert found.sum_rate[at] == pytest.approx(total, rel=1e-4)


def test_an_item_depends_on_nothing_else() -> None:
    channel = channels(5)
    channel[1] = np.nan
    channel[2] = 0.0
    whole = solve(channel, levels=2, starts=2, threads=2)
    assert np.isnan(whole.sum_rate[1])
    assert not whole.feasible[1]
    assert whole.sum_rate[2] == 0.0
    for _ in range(2):
        part = solve(channel[:4], levels=2, starts=2, threads=1)
        for name in ("amplitudes", "digital", "rates", "sum_rate", "feasible"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:4])


def test_every_backend_keeps_the_levels(backend: str) -> None:
    found = solve(channels(2), levels=1)
    assert np.isin(found.amplitudes, [0.0, 1.0]).all()
    with hf.backend("numpy"):
        expected = solve(channels(2), levels=1)
    np.testing.assert_allclose(found.sum_rate, expected.sum_rate, rtol=0.05)


def test_powers_of_one_channel() -> None:
    power, weights = np.array([[1.0], [10.0]]), np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]])
    found = solve(channels(None), power=power, weights=weights, levels=2, mixed=False)
    for i, j in np.ndindex(2, 2):
        one = solve(channels(None), power=power[i, 0], weights=weights[j], levels=2, mixed=False)
        assert found.sum_rate[i, j] == pytest.approx(one.sum_rate, rel=2e-2)


def test_minimum_rates_are_tried_at_the_levels() -> None:
    channel = channels(40)
    free = solve(channel, levels=2)
    held = solve(channel, levels=2, min_rate=1.0)
    assert np.isin(held.amplitudes, np.linspace(0.0, 1.0, 4)).all()
    assert (held.rates[held.feasible] >= 1.0 - 1e-9).all()
    assert held.feasible.sum() > (free.rates >= 1.0).all(-1).sum()


@pytest.mark.parametrize(
    ("levels", "error", "text"),
    [
        (0, ValueError, "levels: expected from 1 to 16 bits, got 0"),
        (17, ValueError, "levels: expected from 1 to 16 bits, got 17"),
        (2.0, TypeError, "levels: expected an integer or real numbers, got 2.0"),
        (True, TypeError, "levels: expected an integer or real numbers, got True"),
        ("on/off", TypeError, "levels: expected an integer or real numbers, got 'on/off'"),
        ([0.0, 1.5], ValueError, "levels: expected values in [0, 1], not all 0, got"),
        ([0.0, np.nan], ValueError, "levels: expected values in [0, 1], not all 0, got"),
        ([0.0], ValueError, "levels: expected values in [0, 1], not all 0, got"),
        ([], ValueError, "levels: expected a number of bits or (levels,), got (0,)"),
        ([[0.0, 1.0]], ValueError, "levels: expected a number of bits or (levels,), got (1, 2)"),
    ],
)
def test_levels_that_are_none(levels: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as raised:
        solve(channels(), levels=levels)
    assert str(raised.value).startswith(text)


def test_no_levels_without_amplitudes() -> None:
    with pytest.raises(ValueError, match="levels: expected a method with amplitudes"):
        solve(channels(), method="fully_digital", levels=1)


@pytest.mark.parametrize("shared", [False, True])
def test_progress_over_the_starts(shared: bool) -> None:
    channel = channels(6).reshape(2, 3, 3, 16) if shared else channels(6)
    calls: list[tuple[int, int, hf.Solution]] = []
    found = solve(channel, starts=3, shared=shared, callback=lambda *state: calls.append(state))
    assert [(done, total) for done, total, _ in calls] == [(1, 3), (2, 3), (3, 3)]
    for i in range(3):
        expected = solve(channel, starts=i + 1, shared=shared)
        for name in ("amplitudes", "digital", "sinr", "rates", "sum_rate", "history"):
            np.testing.assert_array_equal(getattr(calls[i][2], name), getattr(expected, name))
    assert calls[-1][2] is found


def test_a_callback_that_raises_stops_the_search() -> None:
    def stop(done: int, total: int, best: hf.Solution) -> None:
        raise StopIteration(done)

    with pytest.raises(StopIteration, match="1"):
        solve(channels(), starts=5, callback=stop)


def test_a_callback_is_called() -> None:
    with pytest.raises(TypeError, match="callback: expected a callable, got 3"):
        solve(channels(), callback=3)


@conventions
@pytest.mark.parametrize("how", [{"levels": 1}, {"elements": 1j ** np.arange(4)}])
@pytest.mark.parametrize("scale", [1e-60, 1e40])
def test_few_states_of_channels_that_single_precision_cannot_hold(
    constraint: str, how: dict[str, Any], scale: float
) -> None:
    surface = hf.Surface(shape=(3, 4), feeds=3)
    channel = hf.channels.sparse_mmwave(surface, users=3, size=6, seed=4)
    plain = hf.solve(channel, surface.phase, 1.0, 0.1, constraint=constraint, **how)
    noise = 0.1 * scale**2
    scaled = hf.solve(scale * channel, surface.phase, 1.0, noise, constraint=constraint, **how)
    assert scaled.amplitudes.dtype == plain.amplitudes.dtype
    assert scaled.history.dtype == scaled.sum_rate.dtype == np.float64
    np.testing.assert_allclose(scaled.sum_rate.mean(), plain.sum_rate.mean(), rtol=2e-2)
