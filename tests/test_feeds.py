"""Limits of each feed's power, besides the total."""

from __future__ import annotations

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.kernels.definitions import (
    ascent,
    element,
    feeds,
    inner_balanced,
    joint,
    objective,
    problem,
)
from hmimo_fast.kernels.edge import call
from hmimo_fast.objective import OBJECTIVES
from hmimo_fast.problem import Problem

SURFACE = hf.Surface(shape=(6, 6), feeds=4)
POWERS = ("radiated", "digital")
METHODS = ("joint", "wmmse_hbf")
#: Objectives with a minimum rate.
AIMS = (
    ("sum_rate", 0.0),
    ("sum_rate", 0.4),
    ("geometric_mean", 0.0),
    ("geometric_mean", 0.4),
    ("max_min", 0.0),
    ("max_min", 0.4),
    ("energy_efficiency", 0.0),
    ("energy_efficiency", 0.4),
    ("min_power", 0.4),
)


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


@pytest.mark.parametrize(("aim", "floor"), AIMS)
@pytest.mark.parametrize("radiated", [True, False], ids=POWERS)
def test_the_gradient_is_that_of_the_value(radiated, aim, floor):
    """By differences, where beams and multipliers have settled."""
    code = OBJECTIVES[aim].code
    rng = np.random.default_rng(5)
    channel = rng.normal(size=(2, 3, 8, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, 8, 4)))
    elements = element.Elements(0, np.ones(8, complex), np.ones(8))
    dual = floor > 0.0 or code not in (objective.SUM_RATE, objective.ENERGY_EFFICIENCY)
    tight, least = 1.0, code == objective.MIN_POWER
    if least:  # whose power is far below that of the others
        tight = 0.08 if radiated else 0.03
    limits = problem.Limits(
        1.0, 0.2, np.array([1.0, 0.7, 0.4]), np.full(3, floor), floor > 0.0, radiated, 300,
        elements, code, 3.0, dual, np.ones((2, 3)), tight * np.array([0.02, 0.1, 0.05, 0.3]),
    )  # fmt: skip
    psi = np.zeros((2, 3 + ascent.FOLLOWING, 5), complex)
    psi[:, :3, :3], psi[:, ascent.PART, 0] = np.eye(3), 1.0
    psi[:, ascent.MULTIPLIERS, :5] = feeds.start_multipliers(4)
    m = rng.uniform(0.3, 0.9, 8)
    for f, gram in enumerate(ascent.grams(channel, phase, m + 0j, psi, limits)):
        own = problem.in_channel(limits, f)
        with np.errstate(all="ignore"):
            shares = inner_balanced.initialize_dual(gram, own, 0.2)
        psi[f, ascent.SHARE, :3] = shares

    def evaluate(m, anew=False):
        with np.errstate(all="ignore"):
            return ascent.evaluate(1, channel, phase, m, psi, limits, 0.2, np.ones(3), anew)

    for turn in range(6):
        _, gradient, psi, _ = evaluate(m, turn < 2)
    theta = psi[:, ascent.MULTIPLIERS, :5].real
    assert np.all(theta[:, 1:].max(axis=-1) > (1e-4 if least else 0.02))
    along, step = rng.normal(size=8), 3e-4
    slope = (evaluate(m + step * along)[0] - evaluate(m - step * along)[0]) / (2 * step)
    assert slope == pytest.approx(gradient @ along, rel=1e-2, abs=1e-3)


def at_fixed(channel, m, constraint, aim, floor, most, noise=0.1):
    """Beams of all items at given amplitudes."""
    floors = floor or None
    posed = Problem.of(
        channel, SURFACE.phase, 1.0, noise, constraint=constraint, objective=aim, min_rate=floors,
        feed_power=most,
    )  # fmt: skip
    return posed.beams(m, 20)[0][:, 0]


def cone_program(effective, surface, most, targets, noise):
    """The least share of all limits (S of the total power) that gives SINR targets, if any does."""
    cp = pytest.importorskip("cvxpy")
    users, feed_count = effective.shape
    beams, share = cp.Variable((feed_count, users), complex=True), cp.Variable()
    received, root = effective @ beams, np.linalg.cholesky(surface).conj().T
    held = [cp.norm(root @ beams, "fro") <= share]
    held += [cp.norm(beams[l]) <= share * np.sqrt(most[l]) for l in np.flatnonzero(most < np.inf)]
    for k in range(users):
        heard = cp.hstack([*received[k], np.sqrt(noise)])
        held.append(cp.norm(heard) <= np.sqrt(1.0 + 1.0 / targets[k]) * cp.real(received[k, k]))
    return cp, held, beams, share, root


def fixed_case(constraint, users, seed):
    channel, m = drawn(1, users, seed)[0], np.random.default_rng(seed).random(36)
    fields = m[:, None] * SURFACE.phase
    surface = fields.conj().T @ fields if constraint == "radiated" else np.eye(4) + 0j
    return channel, m, channel @ fields, surface


def reached_by(effective, beams, noise=0.1):
    received = np.abs(effective @ beams) ** 2
    own = np.diagonal(received)
    return np.log2(1.0 + own / (received.sum(axis=-1) - own + noise))


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("users", [3, 4, 6])
def test_balanced_beams_are_those_of_a_cone_program(constraint, users):
    """No common rate is higher, by bisection over second-order cone programs (Clarabel)."""
    most = limits(constraint)
    channel, m, effective, surface = fixed_case(constraint, users, 1)
    beams = at_fixed(channel[None], m[None], constraint, "max_min", 0.0, most)[0]
    found = reached_by(effective, beams)
    np.testing.assert_allclose(found, found.min(), rtol=1e-6)
    assert np.all(of_feeds(beams) <= most * (1.0 + 1e-9))

    def fits(rate: float) -> bool:
        targets = np.full(users, 2.0**rate - 1.0)
        cp, held, _, share, _ = cone_program(effective, surface, most, targets, 0.1)
        asked = cp.Problem(cp.Minimize(share), held)
        asked.solve(solver=cp.CLARABEL)
        return asked.status == cp.OPTIMAL and bool(share.value <= 1.0)

    assert fits(found.min() * (1.0 - 1e-6))
    assert not fits(found.min() * 1.003)


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize(("users", "floor"), [(3, 0.8), (4, 0.5), (6, 0.6)])
def test_least_power_is_that_of_a_cone_program(constraint, users, floor):
    most = limits(constraint) * (1.0 if constraint == "radiated" else 0.05)
    channel, m, effective, surface = fixed_case(constraint, users, 2)
    beams = at_fixed(channel[None], m[None], constraint, "min_power", floor, most)[0]
    targets = np.full(users, 2.0**floor - 1.0)
    cp, held, of_cone, share, root = cone_program(effective, surface, most, targets, 0.1)
    asked = cp.Problem(cp.Minimize(cp.norm(root @ of_cone, "fro")), [*held, share == 1.0])
    asked.solve(solver=cp.CLARABEL)
    assert asked.status == cp.OPTIMAL
    assert np.max(of_feeds(of_cone.value) / most) > 0.5
    power = np.trace(beams.conj().T @ surface @ beams).real
    assert asked.value**2 * (1.0 - 1e-6) <= power <= asked.value**2 * (1.0 + 1e-3)
    np.testing.assert_allclose(reached_by(effective, beams), floor, atol=1e-9)
    assert np.all(of_feeds(beams) <= most * (1.0 + 1e-9))


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("aim", ["sum_rate", "geometric_mean", "energy_efficiency"])
@pytest.mark.parametrize("users", [3, 6])
def test_minimum_rates_that_just_fit_are_met(constraint, aim, users):
    """Those of the balanced beams less 1 %, where others are met with ease."""
    most = limits(constraint)
    channel, m, effective, _ = fixed_case(constraint, users, 4)
    given = channel[None], m[None], constraint
    highest = reached_by(effective, at_fixed(*given, "max_min", 0.0, most)[0]).min()
    for floor in (0.5 * highest, 0.99 * highest):
        beams = at_fixed(*given, aim, floor, most)[0]
        assert np.all(reached_by(effective, beams) >= floor - 1e-9)
        assert np.all(of_feeds(beams) <= most * (1.0 + 1e-9))
    free = at_fixed(*given, aim, 0.0, most)[0]
    if aim == "sum_rate":  # which is less under minimum rates
        assert reached_by(effective, beams).sum() <= reached_by(effective, free).sum() + 1e-6


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize("users", [3, 4, 6])
@pytest.mark.parametrize(("aim", "floor"), AIMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_objective_holds_them(channels, aim, floor, users, constraint):
    channel = drawn(8, users).reshape(-1, channels, users, 36)
    given = channel if channels > 1 else channel[:, 0]
    most = limits(constraint) * (0.1 if aim == "min_power" and constraint == "digital" else 1.0)
    how = {"objective": aim, "min_rate": floor or None, "shared": channels > 1}
    found = hf.solve(given, SURFACE.phase, 1.0, 0.1, constraint=constraint, feed_power=most, **how)
    assert np.all(of_feeds(found.digital) <= most * (1.0 + 1e-9))
    spent = total(found, SURFACE.phase, constraint)
    assert np.all(spent <= 1.0 + 1e-9)
    np.testing.assert_allclose(found.power_used, spent, rtol=1e-9)
    assert found.feasible.all()
    sums = found.rates.reshape(len(channel), channels, users).sum(axis=1)
    assert np.all(sums >= floor - 1e-9)
    if aim == "max_min":
        np.testing.assert_allclose(found.value, sums.min(axis=-1))
    if aim == "max_min" and channels == 1:
        np.testing.assert_allclose(
            sums, sums.min(axis=-1, keepdims=True) * np.ones(users), rtol=1e-6
        )
    free = hf.solve(given, SURFACE.phase, 1.0, 0.1, constraint=constraint, **how)
    ratio = found.value.mean() / free.value.mean()
    ratio = 1.0 / ratio if aim == "min_power" else ratio
    assert 0.6 < ratio < 1.05 or (aim == "min_power" and ratio < 1.2)  # optima are local
    assert (found.common_rate is None) == (floor == 0.0)


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize(("aim", "floor"), AIMS)
def test_objectives_under_limits_that_never_bind(constraint, aim, floor):
    channel = drawn(24)
    how = {"constraint": constraint, "objective": aim, "min_rate": floor or None}
    free = hf.solve(channel, SURFACE.phase, 1.0, 0.1, **how)
    same = hf.solve(channel, SURFACE.phase, 1.0, 0.1, feed_power=np.inf, **how)
    np.testing.assert_array_equal(free.digital, same.digital)
    loose = hf.solve(channel, SURFACE.phase, 1.0, 0.1, feed_power=1e6, **how)
    np.testing.assert_allclose(loose.value.mean(), free.value.mean(), rtol=2e-2)


@pytest.mark.parametrize("constraint", POWERS)
@pytest.mark.parametrize(("aim", "floor"), [aim for aim in AIMS if aim != ("sum_rate", 0.0)])
@pytest.mark.parametrize(
    "changes",
    [
        {"single": True},
        {"elements": "phase"},
        {"levels": 2},
        {"broken": np.where(np.arange(36) < 5, 0.5, np.nan)},
        {"copies": True},
        {"weights": [1.0, 2.0, 0.5, 1.5]},
    ],
    ids=["single", "phase", "levels", "broken", "copies", "weights"],
)
def test_objectives_of_every_surface(constraint, aim, floor, changes):
    channel, how = drawn(3), dict(changes)
    if how.pop("copies", False):
        channel[:, 3] = channel[:, 0]
    slack = 1e-9
    if how.pop("single", False):
        channel, slack = channel.astype(np.complex64), 1e-5
    most = limits(constraint)
    found = hf.solve(
        channel, SURFACE.phase, 1.0, 0.1, constraint=constraint, feed_power=most, objective=aim,
        min_rate=0.5 * floor or None, **how,
    )  # fmt: skip
    assert np.all(of_feeds(found.digital) <= most * (1.0 + slack))
    assert np.all(found.power_used <= 1.0 + slack)
    assert found.feasible.all()
    assert np.all(found.rates >= 0.5 * floor - slack)
    assert np.all(found.value > 0.0)


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


@pytest.mark.parametrize(("aim", "floor"), AIMS)
@pytest.mark.parametrize("radiated", [True, False], ids=POWERS)
@pytest.mark.parametrize("channels", [1, 2])
def test_c_follows_the_definition(channels, radiated, aim, floor):
    """In packs, alone, and on whichever backend is the default."""
    rng = np.random.default_rng(2)
    channel = rng.normal(size=(9, channels, 3, 12, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, 12, 4)))
    split, limit = rng.uniform(0.4, 0.6, (channels, 3)), np.array([0.01, 0.03, 0.02, np.inf])
    given = [channel, 0.5 * np.ones(12), phase, 1.0, 0.4, None, np.full(3, floor), split, None, 1.0]
    how = {"radiated": radiated, "zf_iterations": 2, "iterations": 3, "candidates": 1}
    how |= {"objective": OBJECTIVES[aim].code}
    found = call("variable_projection", [*given, (1.0 if radiated else 5.0) * limit], how)
    with hf.backend("numpy"):
        expected = call("variable_projection", [*given, (1.0 if radiated else 5.0) * limit], how)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-4)  # an ascent magnifies rounding
    np.testing.assert_allclose(found[5], expected[5], rtol=1e-5)
    assert np.isfinite(found[2]).all()


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


@pytest.mark.parametrize("constraint", POWERS)
def test_schedules_solve_again_under_minimum_rates(constraint):
    channel, most = drawn(6, users=5), limits(constraint)
    how = {"constraint": constraint, "feed_power": most, "min_rate": 1.0}
    found = hf.schedule(channel, SURFACE.phase, **how)
    without = hf.schedule(channel, SURFACE.phase, rescue=False, **how)
    assert found.served.sum() > without.served.sum()
    for aim in ("max_min", "energy_efficiency"):
        other = hf.schedule(channel, SURFACE.phase, objective=aim, **how)
        assert np.all(of_feeds(other.digital) <= most * (1.0 + 1e-9))
        assert np.all(other.rates[other.served] >= 1.0 - 1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"feed_power": [1.0, 2.0]}, r"feed_power: expected a scalar or \(\.\.\., L\) with L = 4"),
        ({"feed_power": 0.0}, "feed_power: expected values positive, got 0"),
        ({"feed_power": [1.0, -1.0, 1.0, 1.0]}, "feed_power: expected values positive, got -1"),
        ({"feed_power": np.nan}, "feed_power: expected values positive, got nan"),
        ({"feed_power": 1.0, "method": "zf"}, r"feed_power: .* \(joint, wmmse_hbf\)"),
        ({"feed_power": np.ones((5, 4))}, "feed_power: expected leading dimensions"),
    ],
)
def test_refusals(options, message):
    with pytest.raises(ValueError, match=message):
        hf.solve(drawn(2), SURFACE.phase, **options)
    with pytest.raises(TypeError, match="feed_power: expected real numbers"):
        hf.solve(drawn(2), SURFACE.phase, feed_power=1.0 + 1.0j)
