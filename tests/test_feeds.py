"""Limits of each feed's power, besides the total."""

from __future__ import annotations

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.kernels.definitions import ascent, element, feeds, joint, problem
from hmimo_fast.kernels.edge import call

SURFACE = hf.Surface(shape=(6, 6), feeds=4)
POWERS = ("radiated", "digital")
METHODS = ("joint", "wmmse_hbf")


def drawn(size: int = 8, users: int = 4, seed: int = 3) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def limits(constraint: str) -> np.ndarray:
    """Limits that some of the feeds reach."""
    return (0.02 if constraint == "radiated" else 0.2) * np.array([0.3, 1.0, 2.0, np.inf])


def of_feeds(digital: np.ndarray) -> np.ndarray:
    return np.sum(np.abs(digital.astype(complex)) ** 2, axis=-1)


def total(solution: hf.Solution, phase: np.ndarray, constraint: str) -> np.ndarray:
    digital = solution.digital.astype(complex)
    if constraint == "radiated":
        m = (
            solution.amplitudes[..., None]
            if digital.ndim == 3
            else solution.amplitudes[:, None, :, None]
        )
        digital = (m * phase) @ digital
    return np.sum(np.abs(digital) ** 2, axis=(-2, -1))


def rates(
    channel: np.ndarray, solution: hf.Solution, phase: np.ndarray, noise: float
) -> np.ndarray:
    q = solution.amplitudes[:, None, :]
    received = np.abs((channel * q) @ phase @ solution.digital) ** 2
    own = np.diagonal(received, axis1=-2, axis2=-1)
    return np.log2(1.0 + own / (received.sum(axis=-1) - own + noise))


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("users", [1, 3, 4, 6])
def test_limits_and_power_are_held(method, constraint, users):
    channel, most = drawn(users=users), limits(constraint)
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, method, constraint, feed_power=most)
    assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))
    spent = total(found, SURFACE.phase, constraint)
    assert np.all(spent <= 1.0 + 1e-9)
    np.testing.assert_allclose(found.power_used, spent, rtol=1e-9)
    np.testing.assert_allclose(found.rates, rates(channel, found, SURFACE.phase, 0.1), atol=1e-8)
    reached = np.maximum(spent, np.max(of_feeds(found.digital) / most, axis=-1))
    np.testing.assert_allclose(reached, 1.0, rtol=1e-9)  # what could be more is scaled up


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize(
    "options",
    [
        {"elements": "phase"},
        {"elements": "lorentzian", "method": "wmmse_hbf"},
        {"levels": 1},
        {"broken": np.where(np.arange(36) < 5, 0.5, np.nan)},
        {"starts": 3},
    ],
    ids=["phase", "lorentzian", "levels", "broken", "starts"],
)
def test_limits_are_held_by_every_surface(constraint, options):
    most = limits(constraint)
    how = {"method": "joint"} | options
    found = hf.solve(
        drawn(3), SURFACE.phase, 1.0, 0.1, constraint=constraint, feed_power=most, **how
    )
    assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))
    assert np.all(found.power_used <= 1.0 + 1e-9)
    assert np.all(found.sum_rate > 0.0)


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_channel_of_an_item_has_the_limits(method, constraint):
    channel = drawn(6).reshape(3, 2, 4, 36)
    most = limits(constraint)
    found = hf.solve(
        channel, SURFACE.phase, 1.0, 0.1, method, constraint, feed_power=most, shared=True
    )
    assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))
    assert np.all(total(found, SURFACE.phase, constraint) <= 1.0 + 1e-9)


def test_a_direct_channel_has_them_too():
    rng = np.random.default_rng(0)
    direct = 0.1 * rng.standard_normal((4, 4, 2)).view(complex)[..., 0]
    most = limits("digital")
    found = hf.solve(
        drawn(), SURFACE.phase, 1.0, 0.1, constraint="digital", elements="phase", direct=direct,
        feed_power=most,
    )  # fmt: skip
    assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))


@pytest.mark.parametrize("method", METHODS)
def test_the_limit_of_an_only_feed_is_a_power(method):
    surface = hf.Surface(shape=(6, 6), feeds=1)
    channel = hf.channels.sparse_mmwave(surface, users=3, size=6, seed=2)
    how = {"method": method, "constraint": "digital"}
    limited = hf.solve(channel, surface.phase, 1.0, 0.1, feed_power=0.3, **how)
    other = hf.solve(channel, surface.phase, 0.3, 0.1, **how)
    np.testing.assert_allclose(limited.power_used, 0.3, rtol=1e-9)
    np.testing.assert_allclose(limited.sum_rate.mean(), other.sum_rate.mean(), rtol=5e-3)


@pytest.mark.parametrize("most", [[0.1, 0.4, 0.05, 1.0], [0.02, 0.02, 0.02, 0.02]])
def test_the_beam_of_an_only_user_is_the_best(most):
    """|v_l| = min(p_l^{1/2}, mu |g_l|) in phase with the channel, with the power's mu."""
    rng = np.random.default_rng(1)
    channel = rng.standard_normal((5, 1, 1, 36, 2)).view(complex)[..., 0]
    m = rng.random((5, 36))
    gains = np.abs((channel[:, 0, 0] * m) @ SURFACE.phase)
    low, high = np.zeros((5, 1)), np.full((5, 1), 1e6)
    for _ in range(200):
        mu = 0.5 * (low + high)
        over = np.sum(np.minimum(np.sqrt(most), mu * gains) ** 2, axis=-1, keepdims=True) > 1.0
        low, high = np.where(over, low, mu), np.where(over, mu, high)
    best = np.log2(1.0 + np.sum(gains * np.minimum(np.sqrt(most), low * gains), axis=-1) ** 2 / 0.1)
    given = [channel, m, SURFACE.phase[None], 1.0, 0.1, None, None, None, most]
    _, found = call("best_beams", given, {"radiated": False})
    assert np.all(found <= best + 1e-9)
    np.testing.assert_allclose(found, best, rtol=2e-4)


@pytest.mark.parametrize("radiated", [True, False], ids=POWERS)
def test_the_gradient_is_that_of_the_value(radiated):
    """By differences, where beams and multipliers have settled."""
    rng = np.random.default_rng(4)
    channel = rng.normal(size=(2, 3, 8, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, 8, 4)))
    elements = element.Elements(0, np.ones(8, complex), np.ones(8))
    limits = problem.Limits(
        1.0, 0.2, np.array([1.0, 0.7, 0.4]), np.zeros(3), False, radiated, 300, elements, 0, 0.0,
        False, np.ones((2, 3)), np.array([0.02, 0.1, 0.05, 0.3]),
    )  # fmt: skip
    psi = np.zeros((2, 3 + ascent.FOLLOWING, 5), complex)
    psi[:, :3, :3], psi[:, ascent.PART, 0] = np.eye(3), 1.0
    psi[:, ascent.MULTIPLIERS, :5] = feeds.start_multipliers(4)

    def evaluate(m: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        return ascent.evaluate(1, channel, phase, m, psi, limits, limits.noise_power, np.ones(3))

    m = rng.uniform(0.3, 0.9, 8)
    for _ in range(5):
        _, gradient, psi, _ = evaluate(m)
    theta = psi[:, ascent.MULTIPLIERS, :5].real
    assert np.all(theta.max(axis=-1) < 0.95)
    assert np.any(theta[:, 1:] > 0.1)
    along, step = rng.normal(size=8), 1e-4
    slope = (evaluate(m + step * along)[0] - evaluate(m - step * along)[0]) / (2 * step)
    assert slope == pytest.approx(gradient @ along, rel=5e-3, abs=1e-4)


@pytest.mark.parametrize("constraint", POWERS)
def test_better_than_the_beams_without_limits_scaled_down(constraint):
    channel, most = drawn(24), limits(constraint)
    free = hf.solve(channel, SURFACE.phase, 1.0, 0.1, constraint=constraint)
    over = np.maximum(np.max(of_feeds(free.digital) / most, axis=-1), 1.0)
    scaled = rates(channel, free, SURFACE.phase, 0.1 * over[:, None]).sum(axis=-1)
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, constraint=constraint, feed_power=most)
    assert found.sum_rate.mean() > 1.02 * scaled.mean()
    assert np.all(found.sum_rate > 0.98 * scaled)


@pytest.mark.parametrize("constraint", POWERS)
def test_looser_limits_give_more(constraint):
    channel, means = drawn(24), []
    for factor in (0.1, 0.5, 2.0, 1e6):
        most = factor * limits(constraint)[:3].mean()
        found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, constraint=constraint, feed_power=most)
        means.append(found.sum_rate.mean())
    assert np.all(np.diff(means) > -2e-3 * means[-1])
    free = hf.solve(channel, SURFACE.phase, 1.0, 0.1, constraint=constraint)
    assert means[-1] > 0.99 * free.sum_rate.mean()


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("method", METHODS)
def test_single_precision(method, constraint):
    channel, most = drawn(16), limits(constraint)
    how = {"method": method, "constraint": constraint, "feed_power": most}
    double = hf.solve(channel, SURFACE.phase, 1.0, 0.1, **how)
    single = hf.solve(channel.astype(np.complex64), SURFACE.phase, 1.0, 0.1, **how)
    assert single.digital.dtype == np.complex64
    assert np.all(of_feeds(single.digital) <= most * (1.0 + 1e-6))
    assert np.all(total(single, SURFACE.phase, constraint) <= 1.0 + 1e-6)
    np.testing.assert_allclose(single.sum_rate.mean(), double.sum_rate.mean(), rtol=1e-3)


def test_forms_of_the_argument():
    channel = drawn(4)
    how = {"constraint": "digital", "threads": 1}
    one = hf.solve(channel, SURFACE.phase, feed_power=0.2, **how)
    all_ = hf.solve(channel, SURFACE.phase, feed_power=np.full((4, 4), 0.2), **how)
    np.testing.assert_array_equal(one.digital, all_.digital)
    none = hf.solve(channel, SURFACE.phase, feed_power=np.inf, **how)
    np.testing.assert_array_equal(none.digital, hf.solve(channel, SURFACE.phase, **how).digital)
    several = hf.solve(
        channel, SURFACE.phase, feed_power=[[0.1], [0.2], [0.3], [0.4]] * np.ones(4), **how
    )
    assert np.all(np.diff(of_feeds(several.digital).max(axis=-1)) > 0.0)
    many = hf.solve(channel, SURFACE.phase, feed_power=0.2, constraint="digital", threads=3)
    np.testing.assert_array_equal(one.digital, many.digital)


@pytest.mark.parametrize("options", [{"objective": 2}, {}], ids=["max_min", "min_rate"])
def test_kernels_give_nothing_for_what_has_no_limits(options):
    floors = None if options else np.ones(4)
    given = [drawn(3)[:, None], np.ones(36), SURFACE.phase[None], 1.0, 0.1, None, floors]
    found = call("variable_projection", [*given, None, None, None, 0.2 * np.ones(4)], options)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).all()


@pytest.mark.parametrize("most", [np.inf, 0.05])
def test_channels_in_lanes_follow_the_definition(most):
    """Including the choice of users to leave out, which all channels share."""
    surface = hf.Surface(shape=(4, 4), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=5, seed=3)
    limit, how = np.full(4, most), {"zf_iterations": 3, "iterations": 6, "candidates": 3}
    given = [np.ones(16), surface.phase[None], 1.0, 0.1]
    found = call("variable_projection", [channel, *given, *[None] * 5, limit], how)
    expected = joint.variable_projection(
        channel, *given, np.ones(6), np.zeros(6), np.ones((5, 6)), np.ones(16), 0.0, limit, True, 3,
        6, 3, 1, 3, 1e-9, 0, 0, False,
    )  # fmt: skip
    np.testing.assert_allclose(found[0], expected[0], atol=1e-6)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-8)


@pytest.mark.parametrize("radiated", [True, False], ids=["radiated", "digital"])
def test_coordinate_descent_follows_the_definition(radiated):
    limit, how = 0.05 * np.ones(4), {"radiated": radiated, "iterations": 5, "tolerance": 0.0}
    given = [drawn(4)[:, None], 0.5 * np.ones(36), SURFACE.phase[None], 1.0, 0.1, None, None, limit]
    found = call("coordinate_descent", given, how)
    with hf.backend("numpy"):
        expected = call("coordinate_descent", given, how)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-8)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
def test_items_without_limits_among_others(method, single):
    channel = drawn(6).astype(np.complex64 if single else complex)
    most = np.where(np.arange(6) % 2, 0.02, np.inf)[:, None] * np.ones(4)
    mixed = hf.solve(channel, SURFACE.phase, method=method, feed_power=most)
    limited = hf.solve(channel, SURFACE.phase, method=method, feed_power=0.02)
    free = hf.solve(channel, SURFACE.phase, method=method)
    for threads in (1, 3):
        again = hf.solve(channel, SURFACE.phase, method=method, feed_power=most, threads=threads)
        np.testing.assert_array_equal(again.digital, mixed.digital)
    if method == "joint":
        np.testing.assert_allclose(mixed.sum_rate[1::2], limited.sum_rate[1::2], rtol=1e-4)
        np.testing.assert_allclose(mixed.sum_rate[::2], free.sum_rate[::2], rtol=2e-2)
    assert np.all(of_feeds(mixed.digital) <= most * (1.0 + 1e-6))


def test_feeds_in_another_order():
    channel, most, order = drawn(24), limits("digital"), np.array([2, 0, 3, 1])
    how = {"constraint": "digital", "iterations": 100}
    found = hf.solve(channel, SURFACE.phase, feed_power=most, **how)
    other = hf.solve(channel, SURFACE.phase[:, order], feed_power=most[order], **how)
    np.testing.assert_allclose(found.sum_rate.mean(), other.sum_rate.mean(), rtol=5e-3)


def test_silent_and_damaged_items():
    channel = drawn(3)
    channel[1], channel[2, 0, 0] = 0.0, np.nan
    for method in METHODS:
        found = hf.solve(channel, SURFACE.phase, method=method, feed_power=0.05)
        assert found.sum_rate[0] > 0.0
        assert found.sum_rate[1] == 0.0
        assert np.isnan(found.sum_rate[2])
        assert not found.feasible[2]


def test_schedules_hold_them():
    channel, most = drawn(3, users=7), limits("digital")
    for search in ("greedy", "local"):
        found = hf.schedule(
            channel, SURFACE.phase, search=search, constraint="digital", feed_power=most
        )
        assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))
        assert np.all(found.rates[found.served] >= 1.0 - 1e-9)
        assert found.served.any(axis=-1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feed_power": [1.0, 2.0]}, r"feed_power: expected a scalar or \(\.\.\., L\) with L = 4"),
        ({"feed_power": 0.0}, "feed_power: expected values positive, got 0"),
        ({"feed_power": [1.0, -1.0, 1.0, 1.0]}, "feed_power: expected values positive, got -1"),
        ({"feed_power": np.nan}, "feed_power: expected values positive, got nan"),
        ({"feed_power": 1.0, "method": "zf"}, r"feed_power: .* \(joint, wmmse_hbf\)"),
        ({"feed_power": 1.0, "objective": "max_min"}, "objective: expected 'sum_rate' with feed_p"),
        ({"feed_power": 1.0, "min_rate": 1.0}, "min_rate: expected none with feed_power"),
        ({"feed_power": np.ones((5, 4))}, "feed_power: expected leading dimensions"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        hf.solve(drawn(2), SURFACE.phase, **options)
    with pytest.raises(TypeError, match="feed_power: expected real numbers"):
        hf.solve(drawn(2), SURFACE.phase, feed_power=1.0 + 1.0j)
