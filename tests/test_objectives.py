"""Objectives besides the sum rate, from the kernels to `solve` and `schedule`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.kernels import backend, definitions
from hmimo_fast.kernels.definitions import ascent, element, joint, objective, problem
from hmimo_fast.kernels.edge import call
from hmimo_fast.objective import OBJECTIVES

SURFACE = hf.Surface(shape=(6, 6), feeds=4)
CODES = {
    "sum_rate": objective.SUM_RATE,
    "geometric_mean": objective.GEOMETRIC_MEAN,
    "max_min": objective.MAX_MIN,
    "min_power": objective.MIN_POWER,
    "energy_efficiency": objective.ENERGY_EFFICIENCY,
}
OTHERS = [name for name in OBJECTIVES if name != "sum_rate"]
NOISE = 0.1


@cache
def draws(users: int = 4, items: int = 24, seed: int = 5) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=items, seed=seed)


def solve(name: str, channel: np.ndarray, phase: Any = SURFACE.phase, **options: Any) -> Any:
    if name == "min_power":
        options.setdefault("min_rate", 0.4)
    return hf.solve(channel, phase, 1.0, NOISE, objective=name, **options)


def value_of(name: str, solution: Any, weights: Any = 1.0) -> np.ndarray:
    """From its definition, of equal users unless weighted."""
    rates, used = solution.rates, solution.power_used
    if name == "sum_rate":
        return np.sum(weights * rates, axis=-1)
    if name == "max_min":
        return np.min(rates / weights, axis=-1)
    if name == "geometric_mean":
        return np.prod(rates, axis=-1) ** (1 / rates.shape[-1])
    if name == "energy_efficiency":
        return rates.sum(axis=-1) / (2.0 * used + 0.24 * 4 + 0.005 * 36)
    return used


# ------------------------------------------------------------------ the loops


@np.errstate(all="ignore")
@pytest.mark.parametrize("floor", [None, 0.3, 9.0])
@pytest.mark.parametrize("radiated", [False, True])
@pytest.mark.parametrize("name", CODES)
def test_the_gradient_is_that_of_the_value(name: str, radiated: bool, floor: float | None) -> None:
    """By differences, where beams have settled: met floors, floors out of reach, and none."""
    if name == "min_power" and floor is None:
        pytest.skip("nothing to ask for")
    rng = np.random.default_rng([CODES[name], radiated])
    users, feeds, elements = 3, 4, 8
    channel = rng.normal(size=(1, users, elements, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, elements, feeds)))
    floors = np.full(users, floor or 0.0)
    movable = element.Elements(0, np.ones(elements, complex), np.ones(elements))
    limits = problem.Limits(
        2.0, 0.2, np.array([1.0, 0.7, 0.4]), floors, floor is not None, radiated, 200, movable,
        CODES[name], 0.3, floor is not None or name not in ("sum_rate", "energy_efficiency"),
        np.array([[1.0, 0.9, 1.2]]), np.zeros(0),
    )  # fmt: skip
    served, m = np.ones(users), rng.uniform(0.3, 0.9, elements)
    psi = np.zeros((1, users + ascent.FOLLOWING, users), complex)
    psi[:, ascent.PART, 0] = 1.0
    gram = ascent.grams(channel, phase, m + 0j, psi, limits)[0]
    if limits.dual:
        psi[0, ascent.SHARE] = joint.initialize_dual(gram, limits, limits.noise_power)
    else:
        psi[0, :users] = joint.initialize_general(
            gram, psi[0, :users].copy(), limits, limits.noise_power, served, phase.shape[-1]
        )

    def evaluate(at: np.ndarray) -> Any:
        return ascent.evaluate(1, channel, phase, at, psi, limits, limits.noise_power, served)

    for _ in range(8):
        value, gradient, psi, _ = evaluate(m)
    assert (value >= 0.0) == (floor != 9.0)
    along, step = rng.normal(size=elements), 1e-4
    slope = (evaluate(m + step * along)[0] - evaluate(m - step * along)[0]) / (2 * step)
    assert slope == pytest.approx(gradient @ along, rel=2e-3, abs=1e-5)


@pytest.mark.skipif("native" not in __import__("conftest").BACKENDS, reason="no C kernels")
@pytest.mark.parametrize("floor", [None, 0.2, 3.0])
@pytest.mark.parametrize(("users", "feeds", "channels"), [(3, 4, 1), (4, 2, 1), (3, 3, 2)])
@pytest.mark.parametrize("name", OTHERS)
def test_the_c_kernels_follow_the_definitions(
    name: str, users: int, feeds: int, channels: int, floor: float | None
) -> None:
    if name == "min_power" and floor is None:
        pytest.skip("nothing to ask for")
    rng = np.random.default_rng([users, feeds, CODES[name]])
    channel = rng.normal(size=(5, channels, users, 12, 2)).view(complex)[..., 0]
    phase = np.exp(1j * rng.normal(size=(1, 12, feeds)))
    weights = rng.uniform(0.4, 1.3, (5, users))
    floors = None if floor is None else np.full((5, users), floor)
    split = rng.uniform(0.2, 0.8, (5, channels, users)) if channels > 1 else None
    overhead = 0.2 if name == "energy_efficiency" else None
    given = [channel, np.ones(12), phase, 2.0, 0.3, weights, floors, split, None, overhead]
    for radiated in (False, True):
        options = {"radiated": radiated, "zf_iterations": 2, "iterations": 4, "candidates": 2}
        found = {}
        for each in ("numpy", "native"):
            with backend(each):
                found[each] = call(
                    "variable_projection", given, options | {"objective": CODES[name]}
                )
        for left, right in zip(found["native"], found["numpy"], strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-6, atol=1e-6 * np.nanmax(abs(right)))


# ------------------------------------------------------------------ solve


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_each_objective_is_the_best_at_its_own(constraint: str) -> None:
    channel = draws()
    solutions = {name: solve(name, channel, constraint=constraint) for name in OBJECTIVES}
    for name in OBJECTIVES:
        values = {n: value_of(name, each) for n, each in solutions.items()}
        np.testing.assert_allclose(solutions[name].value, values[name], rtol=1e-9)
        assert solutions[name].objective == name
        means = {n: float(np.mean(each)) for n, each in values.items()}
        best = min(means, key=means.get) if name == "min_power" else max(means, key=means.get)
        assert best == name


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_history_is_of_the_objective(name: str, single: bool) -> None:
    channel = draws().astype(np.complex64 if single else complex)
    weights = np.array([2.0, 4.0, 2.0, 1.0])
    solution = solve(name, channel, weights=weights)
    best = np.nanmin if name == "min_power" else np.nanmax
    # Items that only the balanced rates make feasible have the history of those.
    items = np.flatnonzero(solution.feasible & (np.nanmax(solution.history, axis=-1) >= 0.0))
    assert len(items) > len(channel) // 2
    reached = best(solution.history[items], axis=-1)
    np.testing.assert_allclose(reached, solution.value[items], rtol=1e-3 if single else 1e-6)


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_max_min_gives_all_the_same(constraint: str) -> None:
    """Up to the weights, at all of the power, and at least what minimum rates find."""
    channel = draws()
    solution = solve("max_min", channel, constraint=constraint)
    assert (np.ptp(solution.rates, axis=-1) <= 1e-6 * solution.value).all()
    np.testing.assert_allclose(solution.power_used, 1.0)
    today = hf.solve(channel, SURFACE.phase, 1.0, NOISE, constraint=constraint, min_rate=0.01)
    assert solution.value.mean() >= today.common_rate.mean()
    weights = np.array([2.0, 1.0, 0.0, 4.0])
    solution = solve("max_min", channel, constraint=constraint, weights=weights)
    shares = solution.rates[:, weights > 0] / weights[weights > 0]
    np.testing.assert_allclose(shares, np.repeat(solution.value[:, None], 3, 1), rtol=1e-6)
    assert not solution.digital[..., 2].any()


@pytest.mark.parametrize("noise", [3.2, 0.32, 0.032])
@pytest.mark.parametrize("shape", [(6, 6), (4, 4)])
def test_max_min_is_at_least_the_common_rate_under_digital_power(
    shape: tuple[int, int], noise: float
) -> None:
    """Where one ascent was below it on the mean."""
    surface = hf.Surface(shape=shape, feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=4, size=100, seed=77)
    given = channel, surface.phase, 1.0, noise
    fair = hf.solve(*given, constraint="digital", objective="max_min")
    common = hf.solve(*given, constraint="digital", min_rate=0.01).common_rate
    assert fair.value.mean() >= common.mean()


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_energy_efficiency_beats_every_common_power(constraint: str) -> None:
    channel = draws()
    mine = solve("energy_efficiency", channel, constraint=constraint)
    assert ((mine.power_used > 0) & (mine.power_used <= 1.0 + 1e-9)).all()
    for power in np.logspace(-3, 0, 7):
        other = hf.solve(channel, SURFACE.phase, power, NOISE, constraint=constraint)
        consumed = 2.0 * power + 0.24 * 4 + 0.005 * 36
        assert mine.value.mean() >= np.mean(other.sum_rate / consumed)


@pytest.mark.parametrize(
    ("users", "constraint", "options"),
    [
        (1, "digital", {}), (1, "radiated", {}), (2, "digital", {}),
        (2, "radiated", {"elements": "phase"}), (4, "radiated", {"levels": 1}),
    ],
)  # fmt: skip
def test_fair_objectives_are_not_below_others(
    users: int, constraint: str, options: dict[str, Any]
) -> None:
    """Where the geometric mean was below that of the sum rate, or max-min below the common rate."""
    channel = draws(users, 60, seed=11)
    how = {"noise_power": 0.01, "constraint": constraint, **options}
    found = {
        name: hf.solve(channel, SURFACE.phase, objective=name, **how)
        for name in ("sum_rate", "max_min", "geometric_mean")
    }
    means = {name: value_of("geometric_mean", each).mean() for name, each in found.items()}
    # One user's are one problem, tried from starts that differ.
    least = 1.0 - (1e-4 if users == 1 else 1e-12)
    assert means["geometric_mean"] >= least * max(means.values())
    common = hf.solve(channel, SURFACE.phase, min_rate=0.01, **how).common_rate
    assert found["max_min"].value.mean() >= least * common.mean()


@pytest.mark.parametrize(
    ("name", "seed", "users", "channels", "options"),
    [
        ("max_min", 315, 1, 3, {"constraint": "digital", "feed_power": 0.2}),
        ("max_min", 95, 1, 3, {"levels": 2}),
        ("max_min", 159, 3, 2, {"constraint": "digital", "feed_power": 0.2}),
        ("geometric_mean", 333, 3, 3, {"constraint": "digital", "elements": "phase"}),
        ("geometric_mean", 50, 4, 3, {"levels": 1, "min_rate": 0.05}),
        ("energy_efficiency", 193, 6, 1, {"noise_power": 15.0, "power": 0.01}),
    ],
)
def test_no_item_is_below_the_highest_sum_rate_as_the_objective_values_it(
    name: str, seed: int, users: int, channels: int, options: dict[str, Any]
) -> None:
    """Over channels, under limits of the feeds, of one user, or where one alone is best."""
    surface = hf.Surface(shape=(4, 4), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=users, size=20 * channels, seed=seed)
    channel = channel.reshape(20, channels, users, 16)
    how = {"noise_power": 0.1, "shared": True} | options
    ours = hf.solve(channel, surface.phase, objective=name, **how)
    rate = hf.solve(channel, surface.phase, **how)
    total, used = rate.rates.sum(axis=1), rate.power_used.sum(axis=1)
    value = {
        "max_min": total.min(axis=-1),
        "geometric_mean": np.prod(total, axis=-1) ** (1 / users),
        "energy_efficiency": total.sum(axis=-1) / (2.0 * used + 0.24 * 4 + 0.005 * 16),
    }[name]
    assert (ours.feasible >= rate.feasible).all()
    assert (ours.value >= (1.0 - 1e-3) * value)[rate.feasible].all()


@pytest.mark.parametrize("circuit_power", [0.01, None])
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("users", [2, 8])
def test_energy_efficiency_of_few_and_many_users(
    users: int, constraint: str, circuit_power: float | None
) -> None:
    """Where it was below the best common power, by up to 2 %."""
    channel, surface, noise = draws(users, 40, seed=77), SURFACE, 10 ** (-1.5)
    how = {"noise_power": noise, "constraint": constraint}
    mine = hf.solve(
        channel, surface.phase, objective="energy_efficiency", circuit_power=circuit_power, **how
    )
    idle = (0.24 * 4 if circuit_power is None else circuit_power) + 0.005 * 36
    for power in np.logspace(-3, 0, 20):
        other = hf.solve(channel, surface.phase, power, **how)
        assert mine.value.mean() >= np.mean(other.sum_rate) / (2.0 * power + idle)


def test_the_power_settles_though_amplitudes_stay() -> None:
    """At amplitudes that an ascent leaves at once, with circuits that consume almost nothing."""
    channel = draws(users=2)
    start = hf.solve(channel, SURFACE.phase, noise_power=0.03, constraint="digital").amplitudes
    how = {"noise_power": 0.03, "constraint": "digital", "start": start, "zf_iterations": 0}
    how |= {"iterations": 1, "tolerance": 1e300, "sweeps": 20}
    mine = hf.solve(
        channel, SURFACE.phase, objective="energy_efficiency", circuit_power=0.01,
        element_power=0.0, **how,
    )  # fmt: skip
    best = np.zeros(len(channel))
    for power in np.logspace(-4, 0, 60):
        other = hf.solve(channel, SURFACE.phase, power, **how)
        best = np.maximum(best, other.sum_rate / (2.0 * power + 0.01))
    assert (mine.value >= 0.99 * best).all()


def test_energy_is_in_the_units_that_are_given() -> None:
    channel = draws()
    options = {"circuit_power": 0.3, "element_power": 0.0, "amplifier_efficiency": 0.5}
    one = solve("energy_efficiency", channel, **options)
    np.testing.assert_allclose(
        one.value, one.rates.sum(axis=-1) / (2.0 * one.power_used + 0.3), rtol=1e-9
    )
    free = solve("energy_efficiency", channel, circuit_power=100.0)
    np.testing.assert_allclose(free.power_used, 1.0, rtol=1e-9)  # where rates are all that counts


def test_single_precision_does_not_exceed_the_power() -> None:
    """As many feeds as elements, whose beams cancel; circuits make using all power best."""
    surface = hf.Surface(shape=(2, 2), feeds=4)
    channel = np.random.default_rng(0).normal(size=(300, 4, 4, 2)).view(complex)[..., 0]
    found = hf.solve(
        channel.astype(np.complex64), surface.phase, 1.0, NOISE, objective="energy_efficiency",
        circuit_power=1e3,
    )  # fmt: skip
    assert found.power_used.max() <= 1.0 + 1e-6
    assert found.power_used.min() >= 1.0 - 1e-3


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_min_power_meets_the_rates_and_no_more(constraint: str) -> None:
    channel = draws()
    asked = np.array([0.4, 0.0, 0.8, 0.2])
    solution = solve("min_power", channel, constraint=constraint, min_rate=asked)
    met = solution.feasible
    assert met.mean() > 0.9
    np.testing.assert_allclose(
        solution.rates[met], np.broadcast_to(asked, (met.sum(), 4)), atol=1e-6
    )
    surface = solution.amplitudes[..., None] * SURFACE.phase
    beams = surface @ solution.digital if constraint == "radiated" else solution.digital
    used = np.sum(np.abs(beams) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(solution.power_used, used, rtol=1e-9)
    assert (used <= 1.0 + 1e-9).all()
    every = solve("min_power", channel, constraint=constraint, min_rate=30.0)
    assert not every.feasible.any()
    np.testing.assert_allclose(every.power_used, 1.0, rtol=1e-9)


def test_what_another_objective_found_takes_no_more_than_the_least_power() -> None:
    """Minimum rates that can hardly be met; one item of 200 was left at full power."""
    channel = draws(items=200, seed=3)
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.3, objective="min_power", min_rate=2.0)
    assert found.feasible.sum() >= 84
    np.testing.assert_allclose(found.rates[found.feasible], 2.0, atol=1e-6)
    assert (found.power_used[found.feasible] < 1.0 - 1e-6).all()


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_minimum_rates_hold_under_every_objective(name: str, constraint: str) -> None:
    channel = draws()
    floors = np.array([0.7, 0.1, 0.0, 0.5])
    solution = solve(name, channel, constraint=constraint, min_rate=floors)
    met = (solution.rates >= floors - 1e-9).all(axis=-1)
    np.testing.assert_array_equal(met, solution.feasible)
    assert met.mean() >= 0.9
    assert solution.common_rate is not None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_more_users_than_feeds(name: str) -> None:
    channel = draws(users=6)
    solution = solve(name, channel, min_rate=0.05 if name == "min_power" else None)
    assert np.isfinite(solution.value).all()
    if name == "max_min":
        assert (np.ptp(solution.rates, axis=-1) <= 1e-5 * solution.value).all()
    if not OBJECTIVES[name].leaves_out:
        assert (solution.rates[solution.feasible] > 0.0).all()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_rates_are_summed_over_channels(name: str) -> None:
    channel = draws(items=16).reshape(8, 2, 4, 36)
    solution = solve(name, channel, shared=True)
    assert solution.rates.shape == (8, 2, 4)
    assert solution.power_used.shape == (8, 2)
    total = solution.rates.sum(axis=1)
    if name == "max_min":
        np.testing.assert_allclose(solution.value, total.min(axis=-1), rtol=1e-9)
    elif name == "geometric_mean":
        np.testing.assert_allclose(solution.value, np.prod(total, axis=-1) ** 0.25, rtol=1e-9)
        fair = solve("max_min", channel, shared=True)
        assert solution.value.mean() > np.prod(fair.rates.sum(axis=1), axis=-1).mean() ** 0.25
    elif name == "min_power":
        np.testing.assert_allclose(solution.value, solution.power_used.sum(axis=-1), rtol=1e-9)
        assert solution.feasible.all()
        np.testing.assert_allclose(total, 0.4, rtol=1e-4)


@pytest.mark.parametrize(("users", "seed"), [(4, 1), (6, 1), (4, 2)])
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_sums_over_channels_are_equal(constraint: str, users: int, seed: int) -> None:
    """Where some differed by 4e-5, and in one item by 8 %."""
    channel = draws(users, 60, seed).reshape(20, 3, users, 36)
    for noise in (1.0, 0.01):
        found = hf.solve(
            channel, SURFACE.phase, noise_power=noise, constraint=constraint, shared=True,
            objective="max_min",
        )  # fmt: skip
        total = found.rates.sum(axis=1)
        assert (np.ptp(total, axis=-1) <= 1e-7 * found.value).all()
        np.testing.assert_allclose(found.power_used, 1.0, rtol=1e-9)


def test_parts_that_move_with_the_amplitudes_end_higher_than_even_ones() -> None:
    """Where ascents with given parts, even at first, followed one another."""
    channel = draws(items=90, seed=3).reshape(30, 3, 4, 36)
    free = hf.solve(channel, SURFACE.phase, noise_power=0.1, shared=True, objective="max_min")
    # Limits of the feeds, here never in the way, keep to ascents one after another.
    given = hf.solve(
        channel, SURFACE.phase, noise_power=0.1, shared=True, objective="max_min", feed_power=1e6
    )
    assert free.value.mean() > 1.005 * given.value.mean()


@pytest.mark.parametrize("elements", [1, 2, 3])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_fewer_elements_than_feeds_over_channels(name: str, elements: int) -> None:
    channel = draws(items=16).reshape(8, 2, 4, 36)[..., :elements]
    found = solve(name, channel, SURFACE.phase[:elements], shared=True, min_rate=0.001)
    assert np.isfinite(found.value).all()
    assert (found.power_used <= 1.0 + 1e-9).all()


def two_channels(items: int = 3, users: int = 2) -> np.ndarray:
    return draws(users=users, items=2 * items, seed=8).reshape(items, 2, users, 36)


def split_evenly() -> np.ndarray:
    """Parts (S, 2, 2) that two users may have in the first channel, and the rest."""
    part = np.stack(np.meshgrid(*2 * [np.linspace(1e-6, 1 - 1e-6, 81)], indexing="ij"), axis=-1)
    part = part.reshape(-1, 1, 2)
    return np.concatenate([part, 1.0 - part], axis=1)


def test_no_other_split_over_channels_has_a_higher_lowest_rate() -> None:
    """On a grid of what each user may have in each channel, at the amplitudes found."""
    channel, weights, parts = two_channels(), np.array([1.0, 2.0]), split_evenly()
    found = solve("max_min", channel, shared=True, constraint="digital", weights=weights)
    total = found.rates.sum(axis=1)
    np.testing.assert_allclose(total / weights, np.repeat(found.value[:, None], 2, 1), rtol=1e-6)
    np.testing.assert_allclose(found.power_used, 1.0)
    for item in range(len(channel)):
        effective = (channel[item] * found.amplitudes[item]) @ SURFACE.phase
        level = hf.max_min(effective, 1.0, NOISE, weights * parts)[1]
        highest = np.max(np.sum(parts * level[..., None], axis=1).min(axis=-1))
        assert found.value[item] >= 0.9999 * highest


def test_no_other_split_over_channels_takes_less_power() -> None:
    channel, asked, parts = two_channels(), np.array([1.0, 2.5]), split_evenly()
    found = solve("min_power", channel, shared=True, constraint="digital", min_rate=asked)
    assert found.feasible.all()
    np.testing.assert_allclose(found.rates.sum(axis=1), np.tile(asked, (3, 1)), rtol=1e-6)
    for item in range(len(channel)):
        effective = (channel[item] * found.amplitudes[item]) @ SURFACE.phase
        power = hf.min_power(effective, NOISE, asked * parts)[1]
        assert found.value[item] <= 1.002 * np.min(power.sum(axis=-1))


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_minimum_rates_are_on_the_sum_over_channels(name: str, constraint: str) -> None:
    channel = two_channels(4, users=4)
    floors = np.array([3.0, 1.0, 0.0, 2.0])
    found = solve(name, channel, shared=True, constraint=constraint, min_rate=floors)
    total = found.rates.sum(axis=1)
    np.testing.assert_array_equal(found.feasible, (total >= floors - 1e-9).all(axis=-1))
    assert found.feasible.all()
    if constraint == "radiated":
        assert (found.rates < floors / 2 - 0.1).any()  # not by equal parts


def test_minimum_rates_over_channels_are_met_under_all_objectives_or_none() -> None:
    """High ones for one user, which some ascents alone would miss."""
    channel = draws(users=3, items=16, seed=5).reshape(8, 2, 3, 36)
    given = {"min_rate": np.array([2.0, 5.0, 14.0]), "constraint": "digital", "shared": True}
    found = {
        name: hf.solve(channel, SURFACE.phase, 3.0, 1.0, objective=name, **given)
        for name in OBJECTIVES
    }
    for each in found.values():
        np.testing.assert_array_equal(each.feasible, np.arange(8) != 1)


@pytest.mark.parametrize("name", OTHERS)
def test_with_everything_else(name: str) -> None:
    """Elements, levels, stuck elements, noise of each user, starts."""
    channel = draws(items=4)
    plain = solve(name, channel)
    better = np.less_equal if name == "min_power" else np.greater_equal
    for options in (
        {"elements": "phase"}, {"elements": "lorentzian"}, {"levels": 2}, {"starts": 3},
        {"broken": np.where(np.arange(36) < 3, 0.0, np.nan)},
        {"user_noise": np.full(4, NOISE)},
    ):  # fmt: skip
        solution = solve(name, channel, **options)
        assert np.isfinite(solution.value).all()
        np.testing.assert_allclose(solution.value, value_of(name, solution), rtol=1e-9)
        if "starts" in options:
            assert better(solution.value, plain.value).all()
        if "levels" in options:
            assert set(np.unique(solution.amplitudes)) <= set(np.linspace(0, 1, 4))
        if "broken" in options:
            assert not solution.amplitudes[:, :3].any()


@pytest.mark.parametrize("options", [{"levels": 1}, {"elements": [1, 1j, -1, -1j]}])
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_least_power_at_few_states_is_not_that_of_a_dark_surface(
    constraint: str, options: dict[str, Any]
) -> None:
    """All elements off take no power and serve nobody."""
    channel = draws()
    found = solve("min_power", channel, constraint=constraint, **options)
    assert found.feasible.all()
    assert found.amplitudes.any(axis=-1).all()
    free = solve("min_power", channel, constraint=constraint)
    assert found.value.mean() < 2.0 * free.value.mean()


# ------------------------------------------------------------------ schedule


@pytest.mark.parametrize("search", ["greedy", "local", "exhaustive"])
def test_a_schedule_scores_by_its_objective(search: str) -> None:
    channel = draws(users=5, items=6)
    given: dict[str, Any] = {"min_rate": 0.5, "search": search}
    rate = hf.schedule(channel, SURFACE.phase, 1.0, NOISE, **given)
    thrifty = hf.schedule(
        channel, SURFACE.phase, 1.0, NOISE, objective="energy_efficiency", **given
    )
    fair = hf.schedule(channel, SURFACE.phase, 1.0, NOISE, objective="max_min", **given)
    mean = hf.schedule(channel, SURFACE.phase, 1.0, NOISE, objective="geometric_mean", **given)
    np.testing.assert_allclose(rate.power_used, 1.0)
    assert (thrifty.power_used < 1.0).any()
    consumed = [2.0 * each.power_used + 0.24 * 4 + 0.005 * 36 for each in (thrifty, rate)]
    assert np.mean(thrifty.sum_rate / consumed[0]) > np.mean(rate.sum_rate / consumed[1])
    for each in (fair, mean):
        assert (each.served.sum(axis=-1) >= rate.served.sum(axis=-1)).all()
        assert (each.rates[each.served] >= 0.5 - 1e-9).all()
    assert fair.objective == "max_min"
    spread = np.ptp(np.where(fair.served, fair.rates, fair.rates.max(-1, keepdims=True)), axis=-1)
    assert (spread < 1e-5).all()


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "rate"}, "objective: expected one of 'sum_rate'"),
        ({"objective": "min_power"}, "min_rate: expected"),
        ({"objective": "min_power", "min_rate": 0.0}, "min_rate: expected"),
        ({"circuit_power": 1.0}, "circuit_power: expected objective 'energy_efficiency'"),
        ({"objective": "max_min", "element_power": 1.0}, "element_power: expected objective"),
        ({"amplifier_efficiency": 0.5}, "amplifier_efficiency: expected objective"),
        (
            {"objective": "energy_efficiency", "circuit_power": 0, "element_power": 0},
            "circuit_power: expected this or element_power above 0",
        ),
        ({"objective": "energy_efficiency", "circuit_power": -1.0}, "circuit_power: expected"),
        ({"objective": "energy_efficiency", "amplifier_efficiency": 0}, "amplifier_efficiency: "),
        ({"objective": "energy_efficiency", "amplifier_efficiency": 1.1}, "amplifier_efficiency: "),
        ({"objective": "max_min", "method": "zf"}, r"objective: .* which joint has"),
        ({"objective": "geometric_mean", "method": "wmmse_hbf"}, r"objective: .* which joint has"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hf.solve(draws(items=2), SURFACE.phase, **options)


def test_a_schedule_has_no_least_power() -> None:
    with pytest.raises(ValueError, match="objective: expected one that tells users apart"):
        hf.schedule(draws(items=2), SURFACE.phase, objective="min_power")


def test_the_table_names_the_codes_of_the_kernels() -> None:
    assert {name: record.code for name, record in OBJECTIVES.items()} == CODES
    assert definitions.variable_projection is not None
