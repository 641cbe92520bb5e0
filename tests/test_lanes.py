"""Items that share a vector register do not affect each other: the content of a lane changes no bit
of the others, whether the register is full or not and whichever items leave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from conftest import BACKENDS

import hmimo_fast as hf
from hmimo_fast.kernels import edge

ITEMS, USERS = 37, 3  # no multiple of any number of lanes
SURFACE = hf.Surface(shape=(4, 4), feeds=4)
METHODS = ("joint", "zf", "alternating", "wmmse_hbf", "zf_hbf")
FIELDS = ("amplitudes", "digital", "sum_rate", "iterations", "converged")


@pytest.fixture(autouse=True)
def _native() -> Iterator[None]:
    if "native" not in BACKENDS:
        pytest.skip("no C kernels")
    with hf.backend("native"):
        yield


def channels(items: int, single: bool) -> np.ndarray:
    drawn = hf.channels.rayleigh(SURFACE, users=USERS, size=48, seed=7)[:items]
    return drawn.astype(np.complex64 if single else np.complex128)


def solve(channel: np.ndarray, method: str, constraint: str, **options: Any) -> hf.Solution:
    budget = {"joint": {}, "zf": {}}.get(method, {"iterations": 6})
    return hf.solve(
        channel, SURFACE.phase, 1.0, 0.1, method=method, constraint=constraint, **budget, **options
    )


def assert_same(one: hf.Solution, other: hf.Solution, items: Any) -> None:
    for field in FIELDS:
        left, right = getattr(one, field)[items], getattr(other, field)[items]
        np.testing.assert_array_equal(left, right, err_msg=field)


loops = pytest.mark.parametrize("method", METHODS)
conventions = pytest.mark.parametrize("constraint", ["radiated", "digital"])
precisions = pytest.mark.parametrize("single", [False, True], ids=["double", "single"])


@loops
@conventions
@precisions
def test_bad_neighbours_change_no_bit(method: str, constraint: str, single: bool) -> None:
    channel = channels(ITEMS, single)
    spoilt = channel.copy()
    spoilt[3, 1, 2] = np.nan
    spoilt[20, 0, 0] = np.inf
    spoilt[5] = 0.0
    spoilt[8, 1] = spoilt[8, 0]  # a copy: zero forcing leaves it to the lone problem
    spoilt[11] *= 10.0 ** (-170 / 20)
    good = np.setdiff1d(np.arange(ITEMS), [3, 5, 8, 11, 20])
    with np.errstate(all="ignore"):
        assert_same(solve(spoilt, method, constraint), solve(channel, method, constraint), good)


@loops
@conventions
@precisions
def test_a_partly_filled_pack_is_as_a_full_one(method: str, constraint: str, single: bool) -> None:
    few = solve(channels(ITEMS, single), method, constraint)
    assert_same(few, solve(channels(48, single), method, constraint), slice(ITEMS))


@conventions
@precisions
@pytest.mark.parametrize("method", ["alternating", "zf_hbf"])  # a copy is no channel for them
def test_an_item_that_leaves_its_pack_is_as_alone(
    method: str, constraint: str, single: bool
) -> None:
    channel = channels(ITEMS, single)
    channel[8, 1] = channel[8, 0]
    start = np.full(16, 0.5)
    together = solve(channel, method, constraint, start=start)
    alone = solve(channel[8:9], method, constraint, start=start)
    for field in ("amplitudes", "digital", "iterations", "converged"):
        np.testing.assert_array_equal(getattr(together, field)[8:9], getattr(alone, field), field)
    np.testing.assert_allclose(together.sum_rate[8:9], alone.sum_rate, rtol=1e-12)


@conventions
def test_items_with_minimum_rates_change_no_bit_of_others(constraint: str) -> None:
    channel = channels(ITEMS, single=False)
    floors = np.zeros((ITEMS, USERS))
    floors[::5] = 0.2
    free = np.arange(ITEMS) % 5 != 0
    with_floors = solve(channel, "joint", constraint, min_rate=floors)
    assert_same(with_floors, solve(channel, "joint", constraint), free)


@conventions
def test_minimum_rates_are_met_in_double_whatever_the_precision(constraint: str) -> None:
    channel = channels(ITEMS, single=True)[:, None]
    amplitudes = np.random.default_rng(3).uniform(0.2, 1.0, (ITEMS, 16)).astype(np.float32)
    phase = SURFACE.phase[None].astype(np.complex64)
    floors = np.zeros((ITEMS, USERS))
    floors[::2] = 0.3

    def rates(h: np.ndarray, m: np.ndarray, waves: np.ndarray) -> np.ndarray:
        options = {"radiated": constraint == "radiated"}
        return edge.call("best_beams", (h, m, waves, 1.0, 0.1, None, floors), options)[1]

    single = rates(channel, amplitudes, phase)
    double = rates(channel.astype(complex), amplitudes.astype(float), phase.astype(complex))
    np.testing.assert_allclose(single[::2], double[::2], rtol=1e-9)
    np.testing.assert_allclose(single[1::2], double[1::2], rtol=1e-3)


@conventions
@pytest.mark.parametrize("items", [1, ITEMS])
def test_candidates_in_single_precision_cost_no_rate(constraint: str, items: int) -> None:
    drawn = hf.channels.sparse_mmwave(SURFACE, users=4, size=ITEMS, seed=3)
    parts = [drawn] if items > 1 else drawn[:, None]
    means = [
        np.mean([solve(part, "joint", constraint, mixed=mixed).sum_rate for part in parts])
        for mixed in (False, True)
    ]
    assert means[1] == pytest.approx(means[0], rel=2e-3)
    assert means[1] != means[0]


@conventions
@pytest.mark.parametrize("what", ["tiny", "huge", "alike", "silent"])
def test_what_single_precision_cannot_hold_is_done_in_double(constraint: str, what: str) -> None:
    channel, noise = channels(6, False), 0.1
    if what in ("tiny", "huge"):
        size = {"tiny": 1e-60, "huge": 1e60}[what]
        channel, noise = size * channel, 0.1 * size**2
    elif what == "alike":
        channel[:, 1] = channel[:, 0] + 1e-5 * channel[:, 1]
    else:
        channel[:, 1] = 0.0
    one, other = (
        hf.solve(channel, SURFACE.phase, 1.0, noise, constraint=constraint, mixed=mixed)
        for mixed in (False, True)
    )
    assert_same(one, other, slice(6))


@conventions
def test_stuck_elements_stay_to_the_last_bit(constraint: str) -> None:
    broken = np.full(SURFACE.elements, np.nan)
    broken[[1, 7]] = 0.1, 0.7  # no floats
    found = solve(channels(ITEMS, False), "joint", constraint, broken=broken)
    np.testing.assert_array_equal(found.amplitudes[:, [1, 7]], np.tile([0.1, 0.7], (ITEMS, 1)))
