"""`schedule`: greedy and exhaustive search against plain loops, and properties of all schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hmimo_fast as hf
from hmimo_fast.problem import Problem
from hmimo_fast.scheduling import searches as sets
from hmimo_fast.scheduling.bounds import bound
from hmimo_fast.solvers.found import Found

SURFACE = hf.Surface(shape=(4, 4), feeds=3)
PHASE = SURFACE.phase
ELEMENTS, FEEDS = PHASE.shape
USERS = 5
POWER, NOISE = 2.0, 0.3
FLOORS = np.array([1.0, 0.5, 2.0, 1.0, 1.5])
#: Few iterations: quick, and too few for rounding to grow.
SHORT: dict[str, dict[str, Any]] = {
    "joint": {"zf_iterations": 3, "iterations": 3},
    "zf": {"iterations": 5},
    "alternating": {"iterations": 10},
    "random": {},
}
PUBLISHED = ["alternating", "random"]

methods = pytest.mark.parametrize("method", SHORT)
constraints = pytest.mark.parametrize("constraint", ["digital", "radiated"])
accepts = pytest.mark.parametrize("accept", ["qos", "rate"])
searches = pytest.mark.parametrize("search", ["greedy", "local", "exhaustive"])


def channels(size: int | None = 6, users: int = USERS, seed: int = 5) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def schedule(channel: Any, phase: Any = PHASE, **options: Any) -> hf.Schedule:
    """Without the second start of the sets chosen, which plain loops of `solve` do not have."""
    defaults: dict[str, Any] = {"power": POWER, "noise_power": NOISE, "starts": 1}
    defaults |= SHORT.get(options.get("method", "joint"), {})
    return hf.schedule(channel, phase, **(defaults | options))


def outcome(
    channel: np.ndarray,
    users: tuple[int, ...],
    floors: np.ndarray,
    start: np.ndarray,
    method: str,
    constraint: str,
    rescue: bool | None = None,
) -> tuple[float, np.ndarray]:
    """Sum rate (-inf where a minimum is missed) and rates of one user set, by `solve` alone."""
    rows, floor = list(users), floors[list(users)]
    solution = hf.solve(
        channel[rows],
        PHASE,
        POWER,
        NOISE,
        method=method,
        constraint=constraint,
        min_rate=floor if method not in PUBLISHED else None,
        start=start if method in PUBLISHED else None,
        **SHORT[method],
    )
    met = all(rate >= least - 1e-9 for rate, least in zip(solution.rates, floor, strict=True))
    return (float(solution.sum_rate) if met else -math.inf), solution.rates


def matched_ratios(
    channel: np.ndarray, start: np.ndarray, constraint: str, phase: Any = PHASE
) -> list[float]:
    """SINR with matched beams at power P / K each, in plain loops."""
    effective = naive.effective_channel(channel, start, phase)
    surface = naive.radiating(start, phase)
    beams: list[list[complex]] = [[] for _ in range(FEEDS)]
    for row in effective:
        beam = [[complex(x).conjugate()] for x in row]
        carrier = naive.multiply(surface, beam) if constraint == "radiated" else beam
        beam = naive.scaled(beam, POWER / len(effective), carrier)
        for feed in range(FEEDS):
            beams[feed].append(beam[feed][0])
    return naive.received_sinr(effective, beams, NOISE)


def published_order(channel: np.ndarray, start: np.ndarray, constraint: str) -> list[int]:
    """Users by their rate with matched beams."""
    ratios = matched_ratios(channel, start, constraint)
    return sorted(range(len(ratios)), key=lambda k: (-ratios[k], k))


def starts(size: int) -> np.ndarray:
    """Random starting amplitudes of the items, as promised for seed 0."""
    return np.random.default_rng([0, 0]).random((size, ELEMENTS))


def subsets(users: int) -> list[tuple[int, ...]]:
    sizes = range(min(users, FEEDS), 0, -1)
    return [chosen for size in sizes for chosen in combinations(range(users), size)]


def check(channel: np.ndarray, found: hf.Schedule, floors: Any, **options: Any) -> None:
    """Everything a schedule promises, item by item, with rates from plain loops."""
    radiated = options.get("constraint", "radiated") == "radiated"
    floors = np.broadcast_to(floors, channel.shape[:-1])
    for item in np.ndindex(channel.shape[:-2]):
        served = np.flatnonzero(found.served[item])
        amplitudes, digital = found.amplitudes[item], found.digital[item]
        unserved = np.flatnonzero(~found.served[item])
        assert len(served) <= FEEDS
        assert found.feasible[item] == (len(served) > 0)
        assert not digital[:, unserved].any()
        assert not found.rates[item][unserved].any()
        if not len(served):
            assert not amplitudes.any()
            assert found.sum_rate[item] == 0.0
            continue
        assert ((amplitudes >= 0.0) & (amplitudes <= 1.0)).all()
        surface = (amplitudes, PHASE) if radiated else ()
        power = options.get("power", POWER)
        assert naive.used_power(digital[:, served], *surface) == pytest.approx(power, rel=1e-6)
        ratios = naive.sinr(channel[item][served], amplitudes, PHASE, digital[:, served], NOISE)
        rates = np.log2(1.0 + np.array(ratios))
        np.testing.assert_allclose(found.rates[item][served], rates, rtol=1e-9, atol=1e-12)
        assert (found.rates[item][served] >= floors[item][served] - 1e-9).all()
        weights = np.broadcast_to(options.get("weights", 1.0), channel.shape[:-1])[item]
        expected = float(weights[served] @ rates)
        assert found.sum_rate[item] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@methods
@constraints
@accepts
def test_greedy_is_the_published_loop(method: str, constraint: str, accept: str) -> None:
    channel = channels()
    found = schedule(channel, min_rate=FLOORS, method=method, constraint=constraint, accept=accept)
    check(channel, found, FLOORS, constraint=constraint)
    for item, start in enumerate(starts(len(channel))):
        served: tuple[int, ...] = ()
        reached, rates = -math.inf, np.array([])
        for user in published_order(channel[item], start, constraint):
            if len(served) == FEEDS:
                break
            trial = tuple(sorted((*served, user)))
            args = (channel[item], trial, FLOORS, start, method, constraint)
            tried, trial_rates = outcome(*args)
            if tried > (reached if accept == "rate" else -math.inf):
                served, reached, rates = trial, tried, trial_rates
        assert tuple(np.flatnonzero(found.served[item])) == served
        # where the sum is flat each rate alone is known to fewer digits
        np.testing.assert_allclose(found.rates[item][list(served)], rates, rtol=1e-5)
        np.testing.assert_allclose(found.rates[item].sum(), np.sum(rates), rtol=1e-6)


@searches
@constraints
@pytest.mark.parametrize("method", ["joint", "alternating"])
def test_the_set_that_is_chosen_is_solved_from_more_starts(
    search: str, constraint: str, method: str
) -> None:
    channel = channels(size=8)
    how = {"min_rate": FLOORS, "search": search, "constraint": constraint, "method": method}
    once = schedule(channel, **how)
    found = schedule(channel, **how, starts=None)
    check(channel, found, FLOORS, constraint=constraint)
    if method == "alternating":  # as published
        np.testing.assert_array_equal(found.digital, once.digital)
        return
    assert (found.sum_rate >= once.sum_rate).all()
    assert found.sum_rate.mean() > once.sum_rate.mean()
    more = schedule(channel, **how, starts=5)
    assert (more.sum_rate >= found.sum_rate).all()
    if search == "exhaustive":  # the further starts are those of every item
        last = schedule(channel[5:], **how, starts=None)
        np.testing.assert_allclose(last.sum_rate, found.sum_rate[5:], rtol=1e-6)


def test_starts_are_counted() -> None:
    with pytest.raises(ValueError, match="starts: expected"):
        schedule(channels(), starts=0)


def test_a_published_order_matters() -> None:
    """The order is neither by index nor the same for all items, so that the test above can fail."""
    channel = channels()
    orders = {
        tuple(published_order(channel[item], start, "radiated"))
        for item, start in enumerate(starts(len(channel)))
    }
    assert len(orders) > 3


@methods
@constraints
def test_exhaustive_is_the_best_of_all_sets(method: str, constraint: str) -> None:
    channel = channels(size=4)
    found = schedule(
        channel, min_rate=FLOORS, method=method, constraint=constraint, search="exhaustive"
    )
    check(channel, found, FLOORS, constraint=constraint)
    for item, start in enumerate(starts(len(channel))):
        reached = {
            users: outcome(channel[item], users, FLOORS, start, method, constraint)[0]
            for users in subsets(USERS)
        }
        best = max(reached, key=reached.__getitem__)
        assert reached[best] > -math.inf
        assert tuple(np.flatnonzero(found.served[item])) == best
        assert found.sum_rate[item] == pytest.approx(reached[best], rel=1e-6)


@methods
@constraints
def test_pruned_sets_do_not_win(
    method: str, constraint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer solves, the same schedule, ties and weights of zero included."""
    channel = channels(size=6, users=7)
    channel[0, 3:] = channel[0, 3]
    weights = np.array([0.0, 1.0, 1.0, 3.0, 1.0, 0.5, 1.0])
    options = {"method": method, "constraint": constraint, "power": 30.0, "weights": weights}
    solved: list[int] = []
    original = sets._solved

    def counted(task: Any, items: np.ndarray, served: np.ndarray) -> Any:
        solved.append(len(items))
        return original(task, items, served)

    monkeypatch.setattr(sets, "_solved", counted)
    every = schedule(channel, search="exhaustive", **options)
    assert sum(solved) == 6 * 63
    solved.clear()
    monkeypatch.setattr(sets, "_UNPRUNED", 0)
    monkeypatch.setattr(sets, "_MOVES", 6)
    pruned = schedule(channel, search="exhaustive", **options)
    assert sum(solved) < 0.9 * 6 * 63
    np.testing.assert_array_equal(pruned.served, every.served)
    np.testing.assert_allclose(pruned.sum_rate, every.sum_rate, rtol=1e-6)


@constraints
@pytest.mark.parametrize("method", ["joint", "fully_digital"])
@pytest.mark.parametrize("gain", [0.01, 1.0, 10.0])
def test_no_set_exceeds_its_bound(
    constraint: str, method: str, gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the power, the weights and the waves; a user alone reaches it, fully digital."""
    weights = np.array([1.0, 0.2, 3.0, 0.0, 1.0])
    pairs: list[tuple[float, float]] = []
    original = sets._solved

    def compared(task: Any, items: np.ndarray, served: np.ndarray) -> Any:
        choice = original(task, items, served)
        for item, row, score in zip(items, served, choice.sum_rate, strict=True):
            problem = task.problem.take(np.array([item]))
            pairs.append((score, float(bound(problem, row[None], method == "fully_digital")[0])))
            alone = row.sum() == 1 and weights[row][0] > 0.0
            if alone and method == "fully_digital":
                assert score == pytest.approx(pairs[-1][1], rel=2e-3)
        return choice

    monkeypatch.setattr(sets, "_solved", compared)
    schedule(
        channels(size=3),
        gain * PHASE,
        search="exhaustive",
        power=20.0 * gain,
        min_rate=0.0,
        weights=weights,
        method=method,
        constraint=constraint,
    )
    scores, bounds = np.array(pairs).T
    assert len(scores) == 3 * 25
    assert (scores <= bounds).all()


@methods
@accepts
def test_no_move_improves_local(method: str, accept: str) -> None:
    channel = channels(size=4)
    found = schedule(channel, min_rate=FLOORS, method=method, search="local", accept=accept)
    check(channel, found, FLOORS)
    for item, start in enumerate(starts(len(channel))):
        served = set(np.flatnonzero(found.served[item]).tolist())
        for users in subsets(USERS):
            added, dropped = set(users) - served, served - set(users)
            if len(added) <= 1 and len(dropped) <= 1:
                args = (channel[item], users, FLOORS, start, method, "radiated")
                assert outcome(*args)[0] <= found.sum_rate[item] + 1e-6


@constraints
@pytest.mark.parametrize("power", [0.3, 30.0])
def test_screened_moves_are_the_ones_that_count(
    constraint: str, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local search that solves 8 of up to 68 moves per round ends about as high as with all."""
    options = {"constraint": constraint, "power": power, "min_rate": 0.5}
    channel = channels(size=8, users=20)
    greedy = schedule(channel, **options).sum_rate
    solved: list[int] = []
    original = sets._solved

    def counted(task: Any, items: np.ndarray, served: np.ndarray) -> Any:
        solved.append(len(items))
        return original(task, items, served)

    monkeypatch.setattr(sets, "_solved", counted)
    found = {}
    for most in (8, 1000):
        monkeypatch.setattr(sets, "_MOVES", most)
        solved.clear()
        found[most] = schedule(channel, search="local", **options)
        found[most, "solved"] = sum(solved)
        check(channel, found[most], 0.5, constraint=constraint, power=power)
        assert (found[most].sum_rate >= greedy).all()
    assert found[8, "solved"] < 0.4 * found[1000, "solved"]
    assert found[8].sum_rate.mean() > 1.1 * greedy.mean()
    assert found[8].sum_rate.mean() > 0.98 * found[1000].sum_rate.mean()


@constraints
def test_a_screened_item_does_not_depend_on_its_batch(constraint: str) -> None:
    channel = channels(size=4, users=20)
    options, start = {"constraint": constraint, "search": "local"}, starts(4)
    whole = schedule(channel, start=start, threads=2, **options)
    for item in range(4):
        one = schedule(channel[item], start=start[item], threads=1, **options)
        np.testing.assert_array_equal(one.served, whole.served[item])
        np.testing.assert_allclose(one.sum_rate, whole.sum_rate[item], rtol=1e-6)


def test_screening_takes_any_channel() -> None:
    """Zero and parallel users, at -170 dB."""
    channel = channels(size=3, users=20)
    channel[0] = 0.0
    channel[1, 1:] = 0.0
    channel[2, 4:] = channel[2, 3]
    found = schedule(1e-8 * channel, noise_power=NOISE * 1e-16, search="local", min_rate=0.1)
    check(1e8 * (1e-8 * channel), found, 0.1)
    np.testing.assert_array_equal(found.served.sum(axis=-1)[:2], [0, 1])
    assert found.served[2, 4:].sum() <= 1


@methods
@constraints
@accepts
def test_a_wider_search_is_never_worse(method: str, constraint: str, accept: str) -> None:
    options = {"min_rate": FLOORS, "method": method, "constraint": constraint, "accept": accept}
    channel = channels(size=12, seed=8)
    greedy, local, exhaustive = (
        schedule(channel, search=search, **options).sum_rate
        for search in ("greedy", "local", "exhaustive")
    )
    rounding = 1e-12 * greedy  # the searches rate their subsets in batches of other sizes
    assert (local >= greedy - rounding).all()
    assert (exhaustive >= local - rounding).all()
    assert (exhaustive > greedy + rounding).any()


def test_accepting_by_rate_pays_on_the_mean() -> None:
    channel = channels(size=50, seed=2)
    qos, rate = (schedule(channel, accept=accept) for accept in ("qos", "rate"))
    assert rate.sum_rate.mean() > qos.sum_rate.mean()
    assert rate.served.sum() < qos.served.sum()


@searches
@accepts
@methods
@given(data=st.data())
def test_served_users_have_their_minimum(
    search: str, accept: str, method: str, data: st.DataObject
) -> None:
    users = data.draw(st.integers(1, 5), "users")
    size = data.draw(st.integers(1, 3), "size")
    constraint = data.draw(st.sampled_from(["digital", "radiated"]), "constraint")
    floors = np.array(
        data.draw(st.lists(st.floats(0.0, 6.0), min_size=users, max_size=users), "floors")
    )
    channel = channels(size, users, seed=data.draw(st.integers(0, 99), "seed"))
    channel = channel * 10.0 ** data.draw(st.floats(-1.0, 1.0), "gain")
    options = {"constraint": constraint, "min_rate": floors}
    found = schedule(channel, search=search, accept=accept, method=method, **options)
    check(channel, found, floors, constraint=constraint)


@searches
def test_permuted_users_are_served_alike(search: str) -> None:
    """With amplitudes that do not follow the users, nothing else depends on their order."""
    channel, order = channels(), np.array([3, 0, 4, 1, 2])
    plain = schedule(channel, min_rate=FLOORS, method="random", search=search)
    turned = schedule(channel[:, order], min_rate=FLOORS[order], method="random", search=search)
    np.testing.assert_array_equal(turned.served, plain.served[:, order])
    np.testing.assert_allclose(turned.rates, plain.rates[:, order], rtol=1e-9)


@searches
@methods
def test_an_item_does_not_depend_on_its_batch(search: str, method: str) -> None:
    channel, options = channels(), {"min_rate": FLOORS, "search": search, "method": method}
    start = starts(len(channel)) if method in PUBLISHED else None
    whole = schedule(channel, **options)
    head = schedule(channel[:2], **options)
    np.testing.assert_array_equal(head.served, whole.served[:2])
    np.testing.assert_allclose(head.sum_rate, whole.sum_rate[:2], rtol=1e-6)
    if start is not None:
        tail = schedule(channel[2:], start=start[2:], **options)
        np.testing.assert_array_equal(tail.served, whole.served[2:])
        np.testing.assert_allclose(tail.sum_rate, whole.sum_rate[2:], rtol=1e-6)


@searches
def test_chunks_change_nothing(search: str, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = channels()
    whole = schedule(channel, min_rate=FLOORS, search=search)
    monkeypatch.setattr(sets, "_SETS", 3)
    monkeypatch.setattr(sets, "_ITEMS", 4)
    parts = schedule(channel, min_rate=FLOORS, search=search)
    np.testing.assert_array_equal(parts.served, whole.served)
    # Sets alone and side by side have their candidates compared to single precision.
    np.testing.assert_allclose(parts.sum_rate, whole.sum_rate, rtol=2e-3)


@searches
def test_threads_change_no_bit(search: str) -> None:
    one, two = (schedule(channels(), search=search, threads=count) for count in (1, 2))
    for name in ("served", "amplitudes", "digital", "rates", "sum_rate", "feasible"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@searches
def test_equal_rates_go_to_more_users_then_the_first(
    search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every set is worth the same, exhaustive takes (0, 1, 2); the others keep theirs."""

    def level(problem: Problem, *_: Any) -> Found:
        items, _, users, elements = problem.channel.shape
        rates = np.full((items, 1, users), 6.0 / users)
        return Found(
            amplitudes=np.ones((items, elements)),
            digital=np.ones((items, 1, problem.feeds, users), complex),
            sinr=rates,
            rates=rates,
            sum_rate=np.full(items, 6.0),
            power_used=np.ones((items, 1)),
            value=np.full(items, 6.0),
            score=np.full(items, 6.0),
            feasible=np.ones(items, bool),
            iterations=np.ones(items),
            converged=np.ones(items, bool),
            history=np.ones((items, 1)),
        )

    monkeypatch.setattr(sets, "attempt", level)
    served = schedule(channels(), search=search, accept="rate").served
    if search == "exhaustive":
        np.testing.assert_array_equal(served, [[True, True, True, False, False]] * len(served))
    else:
        np.testing.assert_array_equal(served.sum(axis=-1), 1)


@searches
@methods
def test_an_infeasible_item_is_marked(search: str, method: str) -> None:
    channel = channels(size=3)
    floors = np.where(np.arange(3)[:, None] == 1, 60.0, 0.2) * np.ones(USERS)
    found = schedule(channel, min_rate=floors, search=search, method=method)
    np.testing.assert_array_equal(found.feasible, [True, False, True])
    check(channel, found, floors)


@searches
@methods
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_channel_that_is_not_finite_is_marked(search: str, method: str, bad: float) -> None:
    channel = channels(size=3)
    spoilt = channel.copy()
    spoilt[1, 2, 4] = bad
    whole = schedule(channel, search=search, method=method)
    found = schedule(spoilt, search=search, method=method)
    assert not found.served[1].any()
    assert not found.digital[1].any()
    assert not found.feasible[1]
    assert np.isnan(found.sum_rate[1])
    assert np.isnan(found.rates[1]).all()
    np.testing.assert_array_equal(found.served[[0, 2]], whole.served[[0, 2]])
    np.testing.assert_allclose(found.rates[[0, 2]], whole.rates[[0, 2]], rtol=1e-6)
    with pytest.raises(ValueError, match=r"channel: expected finite values, got .* at index"):
        schedule(spoilt, check_finite=True)


@searches
@methods
@constraints
def test_zero_and_repeated_channels(search: str, method: str, constraint: str) -> None:
    channel = channels(size=3)
    channel[0] = 0.0
    channel[1, 1:] = 0.0
    channel[2] = channel[2, :1]
    options = {"search": search, "method": method, "constraint": constraint}
    found = schedule(channel, min_rate=0.1, **options)
    check(channel, found, 0.1, constraint=constraint)
    np.testing.assert_array_equal(found.served.sum(axis=-1)[:2], [0, 1])
    assert found.served[1, 0]


@searches
def test_shapes_broadcast(search: str) -> None:
    channel, noise = channels(size=None), np.array([0.1, 1.0])
    floors = np.array([0.5, 1.0, 4.0])[:, None, None] * np.ones(USERS)
    options = {"search": search, "start": np.linspace(0.1, 1.0, ELEMENTS)}
    found = schedule(channel, noise_power=noise, min_rate=floors, **options)
    assert found.served.shape == found.rates.shape == (3, 2, USERS)
    assert found.amplitudes.shape == (3, 2, ELEMENTS)
    assert found.digital.shape == (3, 2, FEEDS, USERS)
    assert found.sum_rate.shape == found.feasible.shape == (3, 2)
    for row, column in np.ndindex(3, 2):
        floor = floors[row, 0, 0]
        one = schedule(channel, noise_power=noise[column], min_rate=floor, **options)
        assert one.sum_rate.shape == ()
        np.testing.assert_array_equal(one.served, found.served[row, column])
        np.testing.assert_allclose(one.sum_rate, found.sum_rate[row, column], rtol=2e-3)


@searches
@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_empty_batches(search: str, batch: tuple[int, ...]) -> None:
    found = schedule(np.zeros((*batch, USERS, ELEMENTS), complex), search=search)
    assert found.served.shape == (*batch, USERS)
    assert found.digital.shape == (*batch, FEEDS, USERS)
    assert found.sum_rate.shape == batch


@searches
@methods
def test_single_precision(search: str, method: str) -> None:
    channel = channels(size=20)
    double = schedule(channel, search=search, method=method)
    single = schedule(channel.astype(np.complex64), search=search, method=method)
    assert single.amplitudes.dtype == single.rates.dtype == np.float32
    assert single.digital.dtype == np.complex64
    assert single.sum_rate.dtype == np.float64
    assert (single.rates[single.served] >= 1.0 - 1e-9).all()
    assert (single.served == double.served).all(axis=-1).mean() >= 0.8
    assert single.sum_rate.mean() == pytest.approx(double.sum_rate.mean(), rel=0.02)


@searches
def test_weights(search: str) -> None:
    channel, weights = channels(), np.array([0.1, 5.0, 1.0, 0.1, 1.0])
    found = schedule(channel, min_rate=0.5, weights=weights, search=search, accept="rate")
    check(channel, found, 0.5, weights=weights)
    plain = schedule(channel, min_rate=0.5, search=search, accept="rate")
    assert found.served[:, 1].sum() >= plain.served[:, 1].sum()
    assert (found.served != plain.served).any()


def test_weights_enter_the_order() -> None:
    """A user of overwhelming weight is tried first, whatever its channel."""
    channel = channels()
    for user in range(USERS):
        weights = np.where(np.arange(USERS) == user, 1e6, 1.0)
        assert schedule(channel, min_rate=0.0, weights=weights).served[:, user].all()


@pytest.mark.parametrize("method", PUBLISHED)
@constraints
def test_a_rescue_adds_nothing_to_published_methods(method: str, constraint: str) -> None:
    """Zero forcing with equal rates meets a common minimum whenever water-filling does."""
    options = {"method": method, "constraint": constraint, "noise_power": 5.0}
    channel = channels(size=20)
    plain = schedule(channel, **options)
    rescued = schedule(channel, rescue=True, **options)
    assert plain.served.sum() < FEEDS * len(channel)
    np.testing.assert_array_equal(plain.served, rescued.served)
    np.testing.assert_array_equal(plain.digital, rescued.digital)
    own = schedule(channel, rescue=True, min_rate=FLOORS, **options)
    assert own.served.sum() > schedule(channel, min_rate=FLOORS, **options).served.sum()


@pytest.mark.parametrize("method", ["joint", "zf"])
def test_a_rescue_serves_more_with_ours(method: str) -> None:
    channel = channels(size=60)
    found, plain = schedule(channel, method=method), schedule(channel, method=method, rescue=False)
    check(channel, plain, 1.0)
    assert found.served.sum() > plain.served.sum()


@methods
def test_nobody_is_rescued_to_nothing(method: str) -> None:
    """Without minimum rates a user may starve for the sum rate."""
    channel, options = channels(size=20), {"min_rate": 0.0, "noise_power": 5.0, "method": method}
    one, other = (schedule(channel, rescue=rescue, **options) for rescue in (True, False))
    np.testing.assert_array_equal(one.digital, other.digital)
    assert (one.rates[one.served] > 0.0).all()
    assert (one.rates[~one.served] == 0.0).all()


@pytest.mark.parametrize("method", ["joint", "zf"])
def test_a_rescue_holds_in_single_precision(method: str) -> None:
    """Users brought to exactly their minimum are not lost to rounding (at 1.0 none is)."""
    channel = channels(size=100).astype(np.complex64)
    single = schedule(channel, min_rate=1.3, method=method)
    double = schedule(channel.astype(complex), min_rate=1.3, method=method)
    at_minimum = single.served & (single.rates < 1.3 + 1e-4)
    assert at_minimum.sum() > 10
    assert (single.rates[at_minimum] >= 1.3 - 1e-9).all()
    np.testing.assert_allclose(single.served.sum(), double.served.sum(), rtol=0.005)


def test_the_fully_digital_yardstick() -> None:
    channel = channels()
    found = schedule(channel, method="fully_digital", search="exhaustive", iterations=30)
    assert found.digital.shape == (len(channel), ELEMENTS, USERS)
    assert (found.served.sum(axis=-1) <= FEEDS).all()
    assert (found.sum_rate > schedule(channel, search="exhaustive").sum_rate).all()


def subcarriers() -> tuple[np.ndarray, np.ndarray]:
    """Channels (4, 2, K, N) with something in common, and waves (2, N, L)."""
    channel = np.stack([channels(size=4), channels(size=4) + 0.5 * channels(4, seed=9)], axis=1)
    return channel, np.stack([PHASE, PHASE * np.exp(0.3j * np.arange(ELEMENTS))[:, None]])


@searches
@constraints
@pytest.mark.parametrize("method", ["joint", "random", "fully_digital"])
def test_one_surface_for_several_channels(search: str, constraint: str, method: str) -> None:
    channel, phase = subcarriers()
    options: dict[str, Any] = {"search": search, "constraint": constraint, "method": method}
    found = schedule(channel, phase, min_rate=FLOORS, **options)
    assert found.rates.shape == (4, 2, USERS)
    assert found.digital.shape == (4, 2, ELEMENTS if method == "fully_digital" else FEEDS, USERS)
    assert found.amplitudes.shape == (4, ELEMENTS)
    assert found.sum_rate.shape == (4,)
    assert found.feasible.all()
    assert found.served.any(axis=-1).all()
    assert (found.served.sum(axis=-1) <= FEEDS).all()
    total = found.rates.sum(axis=1)
    assert (total >= FLOORS - 1e-9)[found.served].all()
    assert not total[~found.served].any()
    np.testing.assert_allclose(found.sum_rate, found.rates.sum(axis=(1, 2)), rtol=1e-12)
    if method == "fully_digital":
        return
    for item, f in np.ndindex(4, 2):
        served, m = found.served[item], found.amplitudes[item]
        beams = found.digital[item, f][:, served]
        ratios = naive.sinr(channel[item, f][served], m, phase[f], beams, NOISE)
        rates = np.log2(1.0 + np.array(ratios))
        np.testing.assert_allclose(found.rates[item, f][served], rates, rtol=1e-9, atol=1e-12)
        surface = (m, phase[f]) if constraint == "radiated" else ()
        assert naive.used_power(beams, *surface) == pytest.approx(POWER, rel=1e-6)


@constraints
@pytest.mark.parametrize("method", ["joint", "random"])
def test_exhaustive_over_several_channels_is_the_best_of_all_sets(
    constraint: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, phase = subcarriers()
    options = {"constraint": constraint, "method": method, **SHORT[method]}
    monkeypatch.setattr(sets, "_UNPRUNED", 0)
    monkeypatch.setattr(sets, "_MOVES", 3)
    found = hf.schedule(
        channel, phase, POWER, NOISE, min_rate=FLOORS, search="exhaustive", rescue=False, starts=1,
        **options,
    )  # fmt: skip
    for item, start in enumerate(starts(len(channel))):
        best, chosen = -math.inf, ()
        for users in subsets(USERS):
            first = start if method == "random" else None
            solution = hf.solve(
                channel[item][:, users], phase, POWER, NOISE, start=first, **options
            )
            met = (solution.rates.sum(axis=0) >= FLOORS[list(users)] - 1e-9).all()
            if met and solution.sum_rate > best:
                best, chosen = float(solution.sum_rate), users
        assert tuple(np.flatnonzero(found.served[item])) == chosen
        assert found.sum_rate[item] == pytest.approx(best, rel=1e-6)


@searches
@constraints
def test_channels_of_one_kind_are_one(search: str, constraint: str) -> None:
    """A dimension F of 1 is none, and copies of a channel are served like it."""
    channel, options = channels(), {"search": search, "constraint": constraint}
    one = schedule(channel, **options)
    same = schedule(channel[:, None], shared=True, **options)
    np.testing.assert_array_equal(same.served, one.served)
    np.testing.assert_array_equal(same.rates[:, 0], one.rates)
    np.testing.assert_array_equal(same.digital[:, 0], one.digital)
    copies = np.repeat(channel[:, None], 3, axis=1)
    start = np.full(ELEMENTS, 0.5)
    options |= {"method": "random", "start": start}
    one = schedule(channel, min_rate=1.0, **options)
    same = schedule(copies, shared=True, min_rate=3.0, **options)
    np.testing.assert_array_equal(same.served, one.served)
    np.testing.assert_allclose(same.rates, np.repeat(one.rates[:, None], 3, axis=1), rtol=1e-9)
    np.testing.assert_allclose(same.sum_rate, 3.0 * one.sum_rate, rtol=1e-9)


@constraints
def test_all_channels_enter_the_order(constraint: str) -> None:
    """At rates that all users have the first in order are served; it goes by the rates' sum."""
    channel, phase = subcarriers()
    found = schedule(channel, phase, min_rate=1e-6, constraint=constraint, method="random")
    for item, start in enumerate(starts(len(channel))):
        ratios = [matched_ratios(channel[item, f], start, constraint, phase[f]) for f in (0, 1)]
        rates = [
            math.log(1.0 + one) + math.log(1.0 + two) for one, two in zip(*ratios, strict=True)
        ]
        first = sorted(range(USERS), key=lambda k: -rates[k])[:FEEDS]
        assert sorted(first) == np.flatnonzero(found.served[item]).tolist()


def test_several_channels_are_screened_together(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = channels(size=8, users=20).reshape(4, 2, 20, ELEMENTS)
    options = {"shared": True, "min_rate": 0.2, "accept": "rate"}
    greedy = schedule(channel, **options).sum_rate
    rates = []
    for most in (8, 1000):
        monkeypatch.setattr(sets, "_MOVES", most)
        rates.append(schedule(channel, search="local", **options).sum_rate)
        assert (rates[-1] >= greedy).all()
    assert rates[0].mean() > 0.97 * rates[1].mean()
    assert rates[0].mean() > 1.05 * greedy.mean()


@searches
def test_one_bad_channel_of_several_is_marked(search: str) -> None:
    channel, phase = subcarriers()
    channel[1, 1, 0, 0] = np.nan
    found = schedule(channel, phase, search=search)
    np.testing.assert_array_equal(found.feasible, [True, False, True, True])
    assert np.isnan(found.rates[1]).all()
    assert np.isnan(found.sum_rate[1])
    with pytest.raises(ValueError, match=r"channel: expected finite values, .*\(1, 1, 0, 0\)"):
        schedule(channel, phase, check_finite=True)


@searches
def test_a_given_start_is_used(search: str) -> None:
    channel, start = channels(), starts(6)[::-1]
    found = schedule(channel, method="random", start=start, search=search)
    chosen = found.feasible
    np.testing.assert_array_equal(found.amplitudes[chosen], start[chosen])
    assert chosen.any()


@searches
def test_progress_rises_to_its_total(search: str) -> None:
    calls: list[tuple[int, int]] = []
    schedule(channels(), search=search, progress=lambda done, total: calls.append((done, total)))
    done, totals = zip(*calls, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == totals[0]
    assert len(done) > 1


def test_names_are_kept() -> None:
    found = schedule(channels(), search="local", method="zf", accept="rate", constraint="digital")
    assert (found.search, found.method, found.accept) == ("local", "zf", "rate")
    assert found.constraint == "digital"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"search": "best"}, ValueError, "search: expected one of 'greedy', .* got 'best'"),
        ({"accept": "all"}, ValueError, "accept: expected one of 'qos', 'rate', got 'all'"),
        ({"method": "magic"}, ValueError, "method: expected one of .* got 'magic'"),
        ({"constraint": "none"}, ValueError, "constraint: expected 'radiated' or 'digital'"),
        ({"polish": 2}, TypeError, "polish: expected an option of method 'joint'"),
        ({"power": 0.0}, ValueError, "power: expected values positive and finite, got 0.0"),
        ({"noise_power": -1.0}, ValueError, "noise_power: expected values positive and finite"),
        ({"noise_power": "loud"}, TypeError, "noise_power: expected real numbers"),
        ({"noise_power": np.ones(5)}, ValueError, "noise_power: expected leading dimensions"),
        ({"min_rate": -1.0}, ValueError, "min_rate: expected values finite and at least 0"),
        ({"min_rate": np.ones(4)}, ValueError, r"min_rate: expected a scalar or \(..., K\)"),
        ({"min_rate": np.ones((4, 5))}, ValueError, "min_rate: expected leading dimensions"),
        ({"min_rate": 1j}, TypeError, "min_rate: expected real numbers, got dtype complex128"),
        ({"weights": np.ones(4)}, ValueError, r"weights: expected \(..., K\) with K = 5"),
        ({"weights": np.full(5, np.nan)}, ValueError, "weights: expected values finite"),
        ({"start": np.ones(4)}, ValueError, r"start: expected \(..., N\) with N = 16"),
        ({"start": np.full(16, 2.0)}, ValueError, r"start: expected values in \[0, 1\]"),
        ({"phase": np.ones((2, 16, 3))}, ValueError, "channel: expected .* with N = 16 and F = 2"),
        ({"phase": np.ones(16)}, ValueError, r"phase: expected \(N, L\) or \(F, N, L\), got"),
        (
            {"channel": np.ones((5, 16)), "shared": True},
            ValueError,
            r"channel: expected \(..., F, K, N\), got \(5, 16\)",
        ),
        ({"phase": np.ones((9, 3))}, ValueError, "channel: expected .* with N = 9 to match phase"),
        ({"channel": np.ones(16)}, ValueError, r"channel: expected \(..., K, N\), got \(16,\)"),
        ({"channel": [["a"] * 16]}, TypeError, "channel: expected numbers"),
    ],
)
def test_errors_name_the_argument(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        schedule(**({"channel": channels()} | options))


def test_exhaustive_search_has_a_limit() -> None:
    with pytest.raises(ValueError, match=r"channel: expected at most K = 12 .* got K = 13"):
        schedule(channels(size=1, users=13), search="exhaustive")
    found = schedule(channels(size=1, users=12), search="exhaustive", method="random")
    assert found.feasible.all()


def test_fair_weights_follow_the_average() -> None:
    fair = hf.ProportionalFair(3, slots=4)
    np.testing.assert_array_equal(fair.weights, np.ones(3))
    averages = np.zeros(3)
    for slot, rates in enumerate(np.random.default_rng(1).random((12, 3)), start=1):
        fair.update(rates)
        kept = 1.0 - 1.0 / min(slot, 4)
        averages = kept * averages + (1.0 - kept) * rates
        np.testing.assert_allclose(fair.average, averages, rtol=1e-12)
        expected = 3.0 / averages / sum(1.0 / averages)
        np.testing.assert_allclose(fair.weights, expected, rtol=1e-12)


def test_fair_averages_converge_to_equal_time() -> None:
    """One user per slot at fixed rates: each is served 1/K of the time, whatever its rate."""
    rates = np.array([8.0, 4.0, 1.0, 0.1])
    fair = hf.ProportionalFair(4, slots=200)
    turns = np.zeros(4)
    for slot in range(2000):
        chosen = np.arange(4) == np.argmax(fair.weights * rates)
        fair.update(np.where(chosen, rates, 0.0))
        turns += chosen if slot >= 400 else 0
    np.testing.assert_allclose(turns / 1600, 0.25, atol=0.01)
    np.testing.assert_allclose(fair.average, rates / 4, rtol=0.05)


def test_fair_shares_of_equal_users_are_equal() -> None:
    """Users of one distribution, more than feeds, drawn anew in each slot."""
    slots, size = 40, 12
    channel = channels(size=slots * size).reshape(slots, size, USERS, ELEMENTS)
    fair = hf.ProportionalFair((size, USERS), slots=20)
    options = {"min_rate": 0.5, "search": "local"}
    turns, total = np.zeros(USERS), np.zeros(USERS)
    for each in channel:
        found = schedule(each, weights=fair.weights, **options)
        fair.update(found.rates)
        turns += found.served.mean(axis=0) / slots
        total += found.rates.mean(axis=0) / slots
    np.testing.assert_allclose(turns, turns.mean(), rtol=0.08)  # two standard deviations
    np.testing.assert_allclose(total, total.mean(), rtol=0.1)
    np.testing.assert_allclose(fair.average.mean(axis=0), total, rtol=0.1)
    highest = schedule(channel, **options).rates.sum(axis=-1).mean()
    assert 0.85 * highest < total.sum() < highest


@pytest.mark.parametrize("search", ["greedy", "local"])
def test_fair_weights_starve_nobody(search: str) -> None:
    """A user 20 dB below the others, whom equal weights never serve, has its turns."""
    channel = channels(size=None)
    channel[2] *= 0.1
    options = {"min_rate": 0.01, "search": search, "accept": "rate", "power": 20.0}
    assert not schedule(channel, **options).served[2]
    fair, turns = hf.ProportionalFair(USERS, slots=30), np.zeros(USERS)
    for _ in range(60):
        found = schedule(channel, weights=fair.weights, **options)
        fair.update(found.rates)
        turns += found.served
    assert turns.min() >= 60 / USERS / 2
    unfair = np.maximum(schedule(channel, **options).rates, 1e-3)
    assert np.log(fair.average).sum() > np.log(unfair).sum()


def test_fair_batches_are_separate() -> None:
    rates = np.random.default_rng(2).random((5, 2, 3))
    both = hf.ProportionalFair((2, 3), slots=3)
    for slot in rates:
        both.update(slot)
    for item in range(2):
        one = hf.ProportionalFair(3, slots=3)
        for slot in rates:
            one.update(slot[item])
        np.testing.assert_array_equal(both.weights[item], one.weights)


def test_fair_weights_stay_finite() -> None:
    """Nobody served, somebody never served, and a slot that is not finite."""
    fair = hf.ProportionalFair(3)
    fair.update([0.0, 0.0, 0.0])
    np.testing.assert_array_equal(fair.weights, np.ones(3))
    fair.update([2.0, 1.0, 0.0])
    assert fair.weights[2] == pytest.approx(1000.0 * fair.weights[1])
    before = fair.weights
    fair.update([np.nan] * 3)
    np.testing.assert_allclose(fair.weights, before, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hf.ProportionalFair(0), "users: expected at least 1, got 0"),
        (lambda: hf.ProportionalFair(3, slots=0.5), "slots: expected at least 1 .* got 0.5"),
        (lambda: hf.ProportionalFair(3, slots=np.nan), "slots: expected at least 1"),
        (lambda: hf.ProportionalFair(3).update([1.0]), r"rates: expected \(3,\), got \(1,\)"),
        (lambda: hf.ProportionalFair(1).update([-1.0]), "rates: expected values finite and at"),
        (lambda: hf.ProportionalFair(1).update([np.inf]), "rates: expected values finite and at"),
    ],
)
def test_fair_errors_name_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("constraint", ["digital", "radiated"])
@pytest.mark.parametrize("method", ["joint", "zf", "wmmse_hbf", "alternating"])
def test_copies_of_users_do_not_change_who_is_served(method: str, constraint: str) -> None:
    """Neither the power of each user in the order of greedy nor the interference there."""
    rng = np.random.default_rng(3)
    surface = hf.Surface(shape=(4, 4), feeds=4)
    channel = rng.standard_normal((30, 8, 16, 2)).view(complex)[..., 0]
    weaker = 10.0 ** rng.uniform(-1.0, 0.0, (30, 3, 1)) * channel[:, :3]
    both = np.concatenate([weaker, channel], axis=1)
    options = {"min_rate": 0.0, "method": method, "constraint": constraint}
    found = hf.schedule(both, surface.phase, 1.0, 0.1, **options)
    expected = hf.schedule(channel, surface.phase, 1.0, 0.1, **options)
    served = found.served[:, 3:].copy()
    served[:, :3] |= found.served[:, :3]
    np.testing.assert_array_equal(served, expected.served)
    np.testing.assert_allclose(found.sum_rate, expected.sum_rate, rtol=1e-6)
