"""`solve`: its contract for every method and constraint, and the quality of each method."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hmimo_fast as hf

METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]
ZERO_FORCING = ["random", "alternating", "zf_hbf", "zf"]
SURFACE = hf.Surface(shape=(5, 5), feeds=4)
PHASE = SURFACE.phase
ELEMENTS, FEEDS = PHASE.shape
USERS = 3
#: Options that keep the slow methods short where quality does not matter.
SHORT: dict[str, dict[str, Any]] = {
    "alternating": {"iterations": 20},
    "fully_digital": {"iterations": 20},
}

PUBLISHED = [name for name in METHODS if hf.solvers.METHODS[name].random_start]
SEARCHING = [name for name in METHODS if not hf.solvers.METHODS[name].fully_digital]
methods = pytest.mark.parametrize("method", METHODS)
searches = pytest.mark.parametrize("method", SEARCHING)  # with amplitudes
conventions = pytest.mark.parametrize("constraint", ["digital", "radiated"])
precisions = pytest.mark.parametrize("dtype", [np.complex64, np.complex128])


def channels(size: int | None = 4, users: int = USERS, seed: int = 3) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def solve(channel: Any, phase: Any = PHASE, **options: Any) -> hf.Solution:
    defaults: dict[str, Any] = {"power": 2.0, "noise_power": 0.3}
    defaults |= SHORT.get(options.get("method", "joint"), {})
    return hf.solve(channel, phase, **(defaults | options))


ARRAYS = (
    "amplitudes", "digital", "sinr", "rates", "sum_rate",
    "feasible", "iterations", "converged", "history",
)  # fmt: skip


def same_bits(actual: hf.Solution, expected: hf.Solution, at: Any = ...) -> None:
    """Equal in every bit to the items ``at`` of the expected solution."""
    for name in ARRAYS:
        one, other = np.asarray(getattr(actual, name)), np.asarray(getattr(expected, name))[at]
        if name == "history":  # as long as the longest of its items
            both = min(one.shape[-1], other.shape[-1])
            assert np.isnan(one[..., both:]).all()
            assert np.isnan(other[..., both:]).all()
            one, other = one[..., :both], other[..., :both]
        assert one.shape == other.shape, name
        assert one.dtype == other.dtype, name
        np.testing.assert_array_equal(one, other, err_msg=name)


def check_item(
    channel: np.ndarray, phase: np.ndarray, solution: hf.Solution, at: Any,
    power: float, noise_power: float, weights: Any = None, unused: float = 1e-6,
) -> None:  # fmt: skip
    """Box, power, SINR, rates and sum of one item by the loops of `naive`.

    Where Phi^H diag(m)^2 Phi is nearly singular its guard takes some of the power: ``unused``.
    """
    amplitudes, digital = solution.amplitudes[at], solution.digital[at]
    assert ((amplitudes >= 0.0) & (amplitudes <= 1.0)).all()
    if solution.method == "fully_digital":
        np.testing.assert_array_equal(amplitudes, 1.0)
        used = naive.used_power(digital)
        ratios = naive.received_sinr(channel[at], digital, noise_power)
    else:
        surface = (amplitudes, phase) if solution.constraint == "radiated" else ()
        used = naive.used_power(digital, *surface)
        ratios = naive.sinr(channel[at], amplitudes, phase, digital, noise_power)
    assert 1.0 - unused < used / power < 1.0 + 1e-6
    np.testing.assert_allclose(solution.sinr[at], ratios, rtol=1e-6, atol=1e-12)
    rates = [math.log2(1.0 + ratio) for ratio in ratios]
    np.testing.assert_allclose(solution.rates[at], rates, rtol=1e-6, atol=1e-12)
    expected = naive.weighted_rate(ratios, weights)
    assert solution.sum_rate[at] == pytest.approx(expected, rel=1e-6)


# -- the contract ------------------------------------------------------------------------


@precisions
@conventions
@methods
def test_shapes_and_dtypes(method: str, constraint: str, dtype: Any) -> None:
    for batch in ((), (2, 3), (0,), (2, 0)):
        check_shapes(batch, method, constraint, dtype)


def check_shapes(batch: tuple[int, ...], method: str, constraint: str, dtype: Any) -> None:
    channel = channels(6)[: math.prod(batch)].reshape(*batch, USERS, ELEMENTS).astype(dtype)
    solution = solve(channel, method=method, constraint=constraint, starts=2, min_rate=0.1)
    real = np.float32 if dtype == np.complex64 else np.float64
    outputs = ELEMENTS if method == "fully_digital" else FEEDS
    expected = {
        "amplitudes": ((*batch, ELEMENTS), real),
        "digital": ((*batch, outputs, USERS), dtype),
        "sinr": ((*batch, USERS), real),
        "rates": ((*batch, USERS), real),
        "sum_rate": (batch, np.float64),
        "feasible": (batch, np.bool_),
        "iterations": (batch, np.int64),
        "converged": (batch, np.bool_),
        "history": ((*batch, solution.history.shape[-1]), np.float64),
    }
    for name, (shape, kind) in expected.items():
        value = np.asarray(getattr(solution, name))
        assert value.shape == shape, name
        assert value.dtype == kind, name
        assert value.flags.c_contiguous, name
        assert not np.may_share_memory(value, channel), name
    assert (solution.method, solution.constraint) == (method, constraint)


@conventions
@methods
def test_every_item_is_what_it_claims(method: str, constraint: str) -> None:
    channel = channels(4)
    weights = np.random.default_rng(0).uniform(0.5, 2.0, (4, USERS))
    solution = solve(channel, method=method, constraint=constraint, weights=weights, starts=2)
    for i in range(4):
        check_item(channel, PHASE, solution, i, 2.0, 0.3, weights[i])
    assert solution.feasible.all()


@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from(METHODS),
    st.sampled_from(["digital", "radiated"]),
    st.floats(-20.0, 40.0),
    st.integers(0, 2**32),
)
def test_any_problem(
    elements: int, feeds: int, users: int, method: str, constraint: str, snr: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    channel = rng.standard_normal((users, elements)) + 1j * rng.standard_normal((users, elements))
    phase = np.exp(2j * np.pi * rng.uniform(size=(elements, feeds)))
    noise_power = 10.0 ** (-snr / 10.0)
    if users > min(feeds, elements) and method != "fully_digital":
        method = "joint"
    solution = solve(
        channel, phase, power=1.0, noise_power=noise_power, method=method, constraint=constraint
    )
    check_item(channel, phase, solution, ..., 1.0, noise_power, unused=1e-2)


@methods
def test_power_and_noise_broadcast_over_the_batch(method: str) -> None:
    channel = channels(3)
    power, noise_power = np.array([1.0, 2.0, 5.0]), np.array([[0.1], [0.7]])
    solution = solve(channel, method=method, power=power, noise_power=noise_power)
    assert solution.rates.shape == (2, 3, USERS)
    assert solution.amplitudes.shape == (2, 3, ELEMENTS)
    if method in PUBLISHED:  # random starts are items' own
        for at in np.ndindex(2, 3):
            check_item(channel[None, at[1]], PHASE, _at(solution, at), 0, power[at[1]],
                       noise_power[at[0], 0])  # fmt: skip
        return
    for i, j in np.ndindex(2, 3):
        again = np.stack([channel[j]] * 6)  # as many items: the same kind of number
        one = solve(again, method=method, power=power[j], noise_power=noise_power[i, 0])
        # Those who are served alone are solved with as many as there are of them.
        np.testing.assert_allclose(one.rates[0], solution.rates[i, j], rtol=1e-7)
        np.testing.assert_allclose(one.power_used[0], solution.power_used[i, j], rtol=1e-9)


def _at(solution: hf.Solution, at: tuple[int, ...]) -> hf.Solution:
    arrays = {name: np.asarray(getattr(solution, name))[at][None] for name in ARRAYS}
    return replace(solution, **arrays)


@methods
def test_one_channel_at_many_powers(method: str) -> None:
    power = np.array([0.1, 1.0, 10.0, 100.0])
    solution = solve(channels(None), method=method, power=power, start=np.ones(ELEMENTS))
    assert solution.digital.shape[0] == 4
    assert (np.diff(solution.sum_rate) > 0.0).all()


@methods
def test_leading_dimensions_are_one_batch(method: str) -> None:
    channel = channels(6)
    flat = solve(channel, method=method, starts=2)
    deep = solve(channel.reshape(2, 3, USERS, ELEMENTS), method=method, starts=2)
    for name in ARRAYS:
        one, other = getattr(deep, name), getattr(flat, name)
        np.testing.assert_array_equal(one.reshape(other.shape), other)


LAYOUTS = {
    "Fortran order": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "list": lambda a: a.tolist(),
    "tensor": lambda a: pytest.importorskip("torch").tensor(a),
    "conjugate tensor": lambda a: pytest.importorskip("torch").tensor(a.conj()).conj(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout(layout: str) -> None:
    channel, change = channels(3), LAYOUTS[layout]
    same_bits(solve(change(channel), change(PHASE)), solve(channel))


def test_arguments_are_left_alone() -> None:
    channel, start = channels(3), np.full((3, ELEMENTS), 0.5)
    before, began = channel.copy(), start.copy()
    solution = solve(channel, start=start, zf_iterations=0, iterations=0)
    assert not np.may_share_memory(solution.amplitudes, start)
    np.testing.assert_array_equal(channel, before)
    np.testing.assert_array_equal(start, began)


# -- starts and seeds --------------------------------------------------------------------


@conventions
@searches
def test_more_starts_are_never_worse(method: str, constraint: str) -> None:
    channel = channels(20)
    one = solve(channel, method=method, constraint=constraint)
    four = solve(channel, method=method, constraint=constraint, starts=4)
    assert (four.sum_rate >= one.sum_rate).all()
    assert four.sum_rate.mean() > one.sum_rate.mean()


@searches
def test_the_best_start_is_returned_whole(method: str) -> None:
    channel = channels(6)
    solution = solve(channel, method=method, starts=4)
    for i in range(6):
        check_item(channel, PHASE, solution, i, 2.0, 0.3)
    history = np.nanmax(solution.history, axis=-1)
    # the guard of a nearly singular S counts as power in the one and not in the other
    np.testing.assert_allclose(history, solution.sum_rate, rtol=1e-5)


@searches
def test_the_seed_decides(method: str) -> None:
    channel = channels(5)
    first, again, other = (solve(channel, method=method, starts=3, seed=s) for s in (1, 1, 2))
    same_bits(again, first)
    assert (other.amplitudes != first.amplitudes).any()


@searches
def test_a_random_start_does_not_depend_on_the_batch(method: str) -> None:
    channel = channels(8)
    whole = solve(channel, method=method, starts=3)
    same_bits(solve(channel[:5], method=method, starts=3), whole, slice(5))
    changed = channel.copy()
    changed[0] *= 3.0
    same_bits(
        solve(changed[1:6], method=method, starts=1, start=np.ones(ELEMENTS)),
        solve(changed, method=method, starts=1, start=np.ones(ELEMENTS)),
        slice(1, 6),
    )


def test_random_amplitudes_are_uniform() -> None:
    amplitudes = solve(channels(400), method="random").amplitudes
    np.testing.assert_allclose(np.quantile(amplitudes, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75],
                               atol=0.02)  # fmt: skip
    assert len(np.unique(amplitudes)) == amplitudes.size


@searches
@pytest.mark.parametrize("shape", [(ELEMENTS,), (3, ELEMENTS)], ids=["shared", "each"])
def test_a_given_start_is_where_it_begins(method: str, shape: tuple[int, ...]) -> None:
    start = np.random.default_rng(1).uniform(0.1, 0.9, shape)
    still = {"random": {}, "joint": {"zf_iterations": 0}}.get(method, {})
    if method != "random":
        still = still | {"iterations": 0}
    solution = solve(channels(3), method=method, start=start, **still)
    np.testing.assert_array_equal(solution.amplitudes, np.broadcast_to(start, (3, ELEMENTS)))


@conventions
@pytest.mark.parametrize("method", ["zf", "joint", "alternating"])
def test_a_start_is_improved(method: str, constraint: str) -> None:
    channel = channels(10)
    before = solve(channel, method="random", constraint=constraint)
    after = solve(channel, method=method, constraint=constraint, start=before.amplitudes)
    assert (after.sum_rate >= before.sum_rate - 1e-9).all()
    assert after.sum_rate.mean() > before.sum_rate.mean() + 0.5


# -- weights and minimum rates -----------------------------------------------------------


@conventions
@pytest.mark.parametrize("method", ["zf", "joint", "fully_digital"])
def test_a_heavier_user_gets_more(method: str, constraint: str) -> None:
    channel, options = channels(100), {"method": method, "constraint": constraint}
    even = solve(channel, **options)
    favoured = solve(channel, weights=[4.0, 1.0, 1.0], **options)
    gain = favoured.rates - even.rates
    assert gain[:, 0].mean() > 0.1
    assert gain[:, 1:].mean() < 0.0
    weighted = (favoured.rates * [4.0, 1.0, 1.0]).sum(-1)
    np.testing.assert_allclose(favoured.sum_rate, weighted, rtol=1e-12)


@conventions
@methods
def test_a_user_of_no_weight(method: str, constraint: str) -> None:
    channel = channels(3)
    weights = np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    solution = solve(channel, method=method, constraint=constraint, weights=weights)
    assert np.isfinite(solution.rates).all()
    assert solution.sum_rate[2] == 0.0
    for i in range(2):
        check_item(channel, PHASE, solution, i, 2.0, 0.3, weights[i])


@methods
def test_weights_broadcast(method: str) -> None:
    weights = np.array([[1.0, 2.0, 0.5], [2.0, 1.0, 1.0]])[:, None]
    solution = solve(channels(3), method=method, weights=weights)
    assert solution.rates.shape == (2, 3, USERS)
    np.testing.assert_allclose(solution.sum_rate, (weights * solution.rates).sum(-1), rtol=1e-12)


@precisions
@conventions
@searches
@pytest.mark.parametrize("floor", [1.0, [0.5, 1.5, 1.0]], ids=["scalar", "each"])
def test_minimum_rates(method: str, constraint: str, floor: Any, dtype: Any) -> None:
    """Feasible means met; the rescue changes only items that missed."""
    channel = channels(60).astype(dtype)
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    options |= {"power": 1.0, "noise_power": 0.3 if constraint == "radiated" else 4.0}
    free, held = solve(channel, **options), solve(channel, min_rate=floor, **options)
    slack = 1e-9 if dtype == np.complex128 else 1e-5
    met = (free.rates >= np.asarray(floor) - slack).all(-1)
    assert 0 < met.sum() < len(met)
    assert held.feasible[met].all()
    assert (held.rates[held.feasible] >= np.asarray(floor) - slack).all()
    same_bits(_at(held, (met,)), _at(free, (met,)))
    if method not in ("zf", "joint"):  # which change their amplitudes too
        np.testing.assert_array_equal(held.amplitudes, free.amplitudes)
    left = ~held.feasible
    np.testing.assert_allclose(held.rates[left], free.rates[left], rtol=slack**0.5, atol=slack)
    if method in ("zf", "joint"):
        assert (held.feasible & ~met).any()
    for i in np.flatnonzero(held.feasible & ~met)[:4]:
        if dtype == np.complex128:
            check_item(channel, PHASE, held, i, 1.0, options["noise_power"])


@conventions
@pytest.mark.parametrize("method", ["zf", "random"])
def test_single_precision_meets_the_same_minimum_rates(method: str, constraint: str) -> None:
    """At the start, so that both precisions stand at the same amplitudes."""
    channel, still = channels(200), {"random": {}, "zf": {"iterations": 0}}[method]
    noise_power = 0.3 if constraint == "radiated" else 4.0
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    options |= {"noise_power": noise_power}
    double = solve(channel, min_rate=0.7, **options, **still)
    single = solve(channel.astype(np.complex64), min_rate=0.7, **options, **still)
    assert 20 < double.feasible.sum() < 190
    assert (single.feasible == double.feasible).sum() >= 199


@methods
def test_what_cannot_be_met_is_marked(method: str) -> None:
    channel = channels(3)
    free, held = solve(channel, method=method), solve(channel, method=method, min_rate=40.0)
    assert not held.feasible.any()
    np.testing.assert_array_equal(held.rates, free.rates)
    mixed = solve(channel, method=method, min_rate=np.array([[0.0] * 3, [40.0, 0, 0], [0.0] * 3]))
    np.testing.assert_array_equal(mixed.feasible, [True, False, True])


def test_a_feasible_start_is_preferred() -> None:
    """Of several starts one that meets the minimum rates wins over a higher rate without."""
    channel, options = channels(100), {"method": "random", "constraint": "digital"}
    one = solve(channel, min_rate=0.8, **options)
    many = solve(channel, min_rate=0.8, starts=5, **options)
    assert (many.feasible >= one.feasible).all()
    assert many.feasible.sum() > one.feasible.sum()
    kept = many.feasible == one.feasible
    assert (many.sum_rate >= one.sum_rate)[kept].all()


def test_minimum_rates_need_no_zero_forcing() -> None:
    channel = channels(20, users=6)
    free, solution = solve(channel), solve(channel, min_rate=0.2)
    np.testing.assert_array_equal(solution.feasible, (solution.rates >= 0.2 - 1e-9).all(-1))
    assert solution.feasible.sum() > (free.rates >= 0.2).all(-1).sum()


# -- more users than feeds, several channels ---------------------------------------------


@conventions
@pytest.mark.parametrize("method", ZERO_FORCING)
def test_too_many_users_for_zero_forcing(method: str, constraint: str) -> None:
    message = r"^channel: expected at most L = 4 users for zero forcing, got K = 6$"
    with pytest.raises(ValueError, match=message):
        solve(channels(users=6), method=method, constraint=constraint)


@conventions
@pytest.mark.parametrize("method", ["joint", "fully_digital"])
def test_more_users_than_feeds(method: str, constraint: str) -> None:
    channel = channels(5, users=6)
    solution = solve(channel, method=method, constraint=constraint)
    for i in range(5):
        check_item(channel, PHASE, solution, i, 2.0, 0.3)
    before = solve(
        channel, constraint=constraint, zf_iterations=0, iterations=0, start=np.ones(ELEMENTS)
    )
    assert solution.sum_rate.mean() > before.sum_rate.mean() + 0.5


@methods
@pytest.mark.parametrize("own_phase", [False, True], ids=["one phase", "a phase each"])
def test_several_channels_share_the_amplitudes(method: str, own_phase: bool) -> None:
    channel = channels(6).reshape(2, 3, USERS, ELEMENTS)
    phase = np.stack([PHASE, PHASE.conj(), PHASE**2]) if own_phase else PHASE
    given = {} if own_phase else {"shared": True}
    solution = solve(channel, phase, method=method, starts=2, **given)
    outputs = ELEMENTS if method == "fully_digital" else FEEDS
    assert solution.amplitudes.shape == (2, ELEMENTS)
    assert solution.digital.shape == (2, 3, outputs, USERS)
    assert solution.sinr.shape == solution.rates.shape == (2, 3, USERS)
    assert solution.sum_rate.shape == solution.feasible.shape == (2,)
    np.testing.assert_allclose(solution.sum_rate, solution.rates.sum((-1, -2)), rtol=1e-12)
    for i, f in np.ndindex(2, 3):
        ratios = (
            naive.received_sinr(channel[i, f], solution.digital[i, f], 0.3)
            if method == "fully_digital"
            else naive.sinr(
                channel[i, f],
                solution.amplitudes[i],
                phase[f] if own_phase else phase,
                solution.digital[i, f],
                0.3,
            )
        )
        np.testing.assert_allclose(solution.sinr[i, f], ratios, rtol=1e-8)


def test_a_phase_for_each_equal_channel_changes_nothing() -> None:
    channel = channels(3)
    same_bits(solve(channel, np.stack([PHASE] * 3)), solve(channel, PHASE, shared=True))


@methods
def test_one_shared_channel_is_a_channel(method: str) -> None:
    channel = channels(3)
    plain = solve(channel, method=method)
    shared = solve(channel[:, None], method=method, shared=True)
    np.testing.assert_array_equal(shared.digital[:, 0], plain.digital)
    np.testing.assert_array_equal(shared.rates[:, 0], plain.rates)
    np.testing.assert_array_equal(shared.sum_rate, plain.sum_rate)


def test_sharing_costs_rate() -> None:
    channel = channels(40).reshape(20, 2, USERS, ELEMENTS)
    own = solve(channel).sum_rate.sum(-1)
    shared = solve(channel, shared=True).sum_rate
    fixed = solve(channel, zf_iterations=0, iterations=0).sum_rate.sum(-1)
    assert fixed.mean() < shared.mean() < own.mean()


def test_minimum_rates_of_several_channels_are_marked() -> None:
    channel = channels(20).reshape(10, 2, USERS, ELEMENTS)
    solution = solve(channel, shared=True, min_rate=[1.0, 0.5, 2.0], power=0.1)
    met = (solution.rates.sum(axis=-2) >= np.array([1.0, 0.5, 2.0]) - 1e-9).all(axis=-1)
    np.testing.assert_array_equal(solution.feasible, met)
    assert 0 < met.sum() < 10


# -- bad, degenerate and extreme channels ------------------------------------------------


@conventions
@methods
def test_bad_items_are_marked(method: str, constraint: str) -> None:
    channel = channels(6)
    options = {"method": method, "constraint": constraint, "starts": 3, "min_rate": 0.2}
    clean = solve(channel, **options)
    bad, others = [1, 2, 4], [0, 3, 5]
    channel[bad, 2, 3] = np.nan, np.inf, complex(0.0, -np.inf)
    solution = solve(channel, **options)
    same_bits(_at(solution, (others,)), _at(clean, (others,)))
    assert np.isnan(solution.sum_rate[bad]).all()
    assert np.isnan(solution.rates[bad]).all()
    assert not solution.feasible[bad].any()
    assert not solution.converged[bad].any()


@methods
def test_check_finite_raises(method: str) -> None:
    channel = channels(4)
    same_bits(solve(channel, method=method, check_finite=True), solve(channel, method=method))
    channel[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"^channel: expected finite values, got .*\(1, .*2, 3\)"):
        solve(channel, method=method, check_finite=True)


@precisions
@conventions
@methods
@pytest.mark.parametrize("options", [{}, {"starts": 3, "min_rate": 0.2}], ids=["plain", "full"])
def test_degenerate_items_are_solved(
    method: str, constraint: str, dtype: Any, options: dict[str, Any]
) -> None:
    channel = channels(5).astype(dtype)
    options = options | {"method": method, "constraint": constraint}
    clean = solve(channel, **options)
    channel[1] = 0.0
    channel[2, 2] = 0.0
    channel[3, 2] = channel[3, 0]
    solution = solve(channel, **options)
    if "min_rate" in options:  # solved again beside others, which rounds otherwise
        np.testing.assert_allclose(solution.sum_rate[[0, 4]], clean.sum_rate[[0, 4]], rtol=1e-3)
    else:
        same_bits(_at(solution, ([0, 4],)), _at(clean, ([0, 4],)))
    assert np.isfinite(solution.rates).all()
    assert np.isfinite(solution.digital).all()
    np.testing.assert_array_equal(solution.rates[1], 0.0)
    assert solution.rates[2, 2] == 0.0
    assert (solution.rates[2:4].sum(axis=-1) > 0.3).all()
    assert (solution.feasible[1:3] == ("min_rate" not in options)).all()


@precisions
@conventions
@methods
def test_the_scale_of_the_gains_does_not_matter(method: str, constraint: str, dtype: Any) -> None:
    """Gains of -169 dB with noise to match: powers of two scale without rounding."""
    channel, scale = channels(4).astype(dtype), 2.0**-28
    options = {"method": method, "constraint": constraint, "min_rate": 0.3}
    near = solve(channel, noise_power=0.3, **options)
    far = solve((channel * scale).astype(dtype), noise_power=0.3 * scale**2, **options)
    tolerance = 1e-12 if dtype == np.complex128 else 1e-5
    np.testing.assert_allclose(far.amplitudes, near.amplitudes, atol=tolerance)
    np.testing.assert_allclose(far.rates, near.rates, rtol=tolerance)
    np.testing.assert_array_equal(far.feasible, near.feasible)


@conventions
@methods
@pytest.mark.parametrize("snr", [-60.0, 80.0])
def test_far_ends_of_the_snr(method: str, constraint: str, snr: float) -> None:
    channel = channels(4)
    noise_power = 10.0 ** (-snr / 10.0)
    solution = solve(
        channel, method=method, constraint=constraint, power=1.0, noise_power=noise_power
    )
    for i in range(4):
        check_item(channel, PHASE, solution, i, 1.0, noise_power)


# -- one user: the optimum is known ------------------------------------------------------


def best_single(gains: np.ndarray, constraint: str) -> float:
    """Max over m in [0, 1]^N of |c m|^2 (`digital`) or |c m|^2 / |m|^2 (`radiated`).

    At the optimum's angle t, m maximises Re(e^{-jt} c) m: ones where that is positive, or its
    positive part itself.
    """
    angles = np.linspace(0.0, 2.0 * np.pi, 20001)[:, None]
    along = np.maximum((np.exp(-1j * angles) * gains).real, 0.0)
    values = along.sum(-1) ** 2 if constraint == "digital" else (along**2).sum(-1)
    return float(values.max())


@conventions
def test_one_user_on_one_feed_is_served_as_well_as_can_be(constraint: str) -> None:
    phase = hf.Surface(shape=(4, 4), feeds=1).phase
    rng = np.random.default_rng(5)
    channel = rng.standard_normal((10, 1, 16)) + 1j * rng.standard_normal((10, 1, 16))
    best = np.array([best_single(row[0] * phase[:, 0], constraint) for row in channel])
    best = np.log2(1.0 + best * 2.0 / 0.3)
    found = solve(channel, phase, constraint=constraint, starts=10).sum_rate
    assert (found <= best * (1.0 + 1e-6)).all()
    assert (found >= best * (1.0 - 1e-3)).sum() >= 9
    once = solve(channel, phase, constraint=constraint).sum_rate
    assert once.mean() >= 0.9 * best.mean()


def test_one_user_fully_digital_is_matched() -> None:
    channel = channels(5, users=1)
    expected = np.log2(1.0 + np.sum(np.abs(channel[:, 0]) ** 2, axis=-1) * 2.0 / 0.3)
    np.testing.assert_allclose(solve(channel, method="fully_digital").sum_rate, expected)


def test_fully_digital_is_one_number_under_both_constraints() -> None:
    digital, radiated = (
        solve(channels(3), method="fully_digital", constraint=c) for c in ("digital", "radiated")
    )
    same_bits(digital, radiated)


# -- what the methods are worth ----------------------------------------------------------


@pytest.fixture(scope="module")
def contest() -> dict[tuple[str, str], np.ndarray]:
    """Sum rates of 40 draws, N = 36, K = L = 4, 10 dB."""
    surface = hf.Surface(shape=(6, 6), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=4, size=40, seed=2)
    return {
        (method, constraint): hf.solve(
            channel, surface.phase, 1.0, 0.1, method=method, constraint=constraint
        ).sum_rate
        for method in METHODS
        for constraint in ("digital", "radiated")
    }


@conventions
def test_the_order_of_the_methods(
    contest: dict[tuple[str, str], np.ndarray], constraint: str
) -> None:
    mean = {method: contest[method, constraint].mean() for method in METHODS}
    assert mean["random"] < mean["alternating"] < mean["zf"] < mean["joint"]
    assert mean["joint"] > 1.05 * mean["alternating"]


def test_fully_digital_is_above_all(contest: dict[tuple[str, str], np.ndarray]) -> None:
    """Item by item, up to the local optima of WMMSE."""
    above = contest["fully_digital", "radiated"]
    for method in SEARCHING:
        assert (above > contest[method, "radiated"]).mean() >= 0.95


@searches
def test_the_order_of_the_users_does_not_matter(method: str) -> None:
    channel, start = channels(300), np.ones(ELEMENTS)
    order = [2, 0, 1]
    one = solve(channel, method=method, start=start)
    other = solve(channel[:, order], method=method, start=start)
    assert other.sum_rate.mean() == pytest.approx(one.sum_rate.mean(), rel=1e-3)
    few = {"random": {}, "joint": {"zf_iterations": 2, "iterations": 2}}.get(
        method, {"iterations": 3}
    )
    one = solve(channel, method=method, start=start, **few)
    other = solve(channel[:, order], method=method, start=start, **few)
    np.testing.assert_allclose(
        np.sort(np.abs(one.rates[:, order] - other.rates).max(-1))[:270], 0.0, atol=1e-6
    )


def test_alternating_in_both_readings() -> None:
    channel = channels(20)
    each = hf.solve(channel, PHASE, 2.0, 0.3, method="alternating")
    whole = hf.solve(channel, PHASE, 2.0, 0.3, method="alternating", inner=0)
    random = hf.solve(channel, PHASE, 2.0, 0.3, method="random")
    assert (each.sum_rate >= random.sum_rate).all()
    assert (whole.sum_rate >= random.sum_rate).all()
    assert each.sum_rate.mean() == pytest.approx(whole.sum_rate.mean(), rel=0.05)
    np.testing.assert_array_equal(each.history[:, 0], random.history[:, 0])
    assert each.converged.mean() > 0.8
    assert (each.iterations <= 3000).all()


def test_the_budget_is_kept() -> None:
    solution = solve(channels(20), zf_iterations=3, iterations=4)
    assert solution.history.shape == (20, 8)
    assert (solution.iterations <= 7).all()
    longer = solve(channels(20), zf_iterations=30, iterations=80)
    assert longer.sum_rate.mean() > solution.sum_rate.mean()
    assert solve(channels(20), tolerance=1e6).iterations.max() == 0


# -- backends ----------------------------------------------------------------------------


@conventions
@methods
def test_numpy_agrees_with_the_default(method: str, constraint: str) -> None:
    channel = channels(2)
    few = {"random": {}, "joint": {"zf_iterations": 4, "iterations": 4, "mixed": False}}
    options = few.get(method, {"iterations": 4})
    options = options | {"method": method, "constraint": constraint, "starts": 2, "min_rate": 1.0}
    expected = solve(channel, **options)
    with hf.backend("numpy"):
        solution = solve(channel, **options)
    np.testing.assert_allclose(solution.amplitudes, expected.amplitudes, atol=1e-8)
    np.testing.assert_allclose(solution.rates, expected.rates, rtol=1e-8)
    np.testing.assert_array_equal(solution.feasible, expected.feasible)
    np.testing.assert_array_equal(solution.iterations, expected.iterations)


@pytest.mark.slow  # Numba compiles the loops for minutes
@pytest.mark.parametrize("method", ["joint", "alternating"])
def test_numba_agrees_with_the_default(method: str) -> None:
    options = {"method": method, "iterations": 4}
    if method == "joint":  # whose candidates the C kernels compare in single precision
        options["mixed"] = False
    expected = solve(channels(2), **options)
    with hf.backend("numba"):
        solution = solve(channels(2), **options)
    np.testing.assert_allclose(solution.amplitudes, expected.amplitudes, atol=1e-6)
    np.testing.assert_allclose(solution.sum_rate, expected.sum_rate, rtol=1e-6)


# -- what is refused ---------------------------------------------------------------------

BAD: list[tuple[str, Any, type[Exception]]] = [
    ("channel", np.ones(ELEMENTS), ValueError),
    ("channel", np.ones((0, ELEMENTS)), ValueError),
    ("channel", np.full((USERS, ELEMENTS), "a"), TypeError),
    ("channel", [[1.0, 2.0], [3.0]], ValueError),
    ("phase", np.ones(ELEMENTS), ValueError),
    ("phase", np.ones((ELEMENTS, 0)), ValueError),
    ("phase", np.ones((1, 1, ELEMENTS, FEEDS)), ValueError),
    ("phase", np.full((ELEMENTS, FEEDS), "a"), TypeError),
    ("power", -1.0, ValueError),
    ("power", 0.0, ValueError),
    ("power", np.nan, ValueError),
    ("power", np.inf, ValueError),
    ("power", np.array([1.0, -1.0]), ValueError),
    ("power", np.ones(3), ValueError),
    ("power", "1 W", TypeError),
    ("power", 1j, TypeError),
    ("noise_power", 0.0, ValueError),
    ("noise_power", -0.1, ValueError),
    ("noise_power", np.ones(3), ValueError),
    ("noise_power", None, TypeError),
    ("method", "magic", ValueError),
    ("method", None, ValueError),
    ("constraint", "total", ValueError),
    ("weights", [1.0, -1.0, 1.0], ValueError),
    ("weights", np.ones(USERS + 1), ValueError),
    ("weights", np.ones((3, USERS)), ValueError),
    ("weights", [1.0, np.nan, 1.0], ValueError),
    ("weights", "heavy", TypeError),
    ("min_rate", -1.0, ValueError),
    ("min_rate", np.nan, ValueError),
    ("min_rate", np.inf, ValueError),
    ("min_rate", [1.0, 1.0], ValueError),
    ("min_rate", np.ones((3, USERS)), ValueError),
    ("min_rate", "high", TypeError),
    ("min_rate", 1j, TypeError),
    ("starts", 0, ValueError),
    ("starts", -2, ValueError),
    ("starts", 1.5, TypeError),
    ("starts", None, TypeError),
    ("starts", 10**20, ValueError),
    ("start", np.ones(ELEMENTS + 1), ValueError),
    ("start", np.full(ELEMENTS, 1.5), ValueError),
    ("start", np.full(ELEMENTS, -0.1), ValueError),
    ("start", 0.5, ValueError),
    ("start", np.ones((3, ELEMENTS)), ValueError),
    ("start", np.full(ELEMENTS, 0.5j), TypeError),
    ("start", np.full(ELEMENTS, "a"), TypeError),
    ("seed", -1, ValueError),
    ("seed", 0.5, TypeError),
    ("seed", "now", TypeError),
    ("threads", 0, ValueError),
    ("threads", 1.5, TypeError),
    ("iterations", -1, ValueError),
    ("iterations", 2.5, TypeError),
    ("sweeps", -1, ValueError),
    ("candidates", 0, ValueError),
    ("candidates", 1.5, TypeError),
    ("tolerance", -1.0, ValueError),
    ("tolerance", "tight", TypeError),
    ("step", 0.1, TypeError),
    ("budget", 3, TypeError),
]


@pytest.mark.parametrize(
    ("argument", "value", "error"), BAD, ids=[f"{a}-{i}" for i, (a, _, _) in enumerate(BAD)]
)
def test_the_error_names_the_argument(argument: str, value: Any, error: type[Exception]) -> None:
    good = {"channel": channels(2), "phase": PHASE, "starts": 2}
    with pytest.raises(error, match=rf"^{argument}: expected"):
        solve(**(good | {argument: value}))


@pytest.mark.parametrize("method", ["random", "alternating", "zf", "fully_digital"])
@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("phase", np.ones(ELEMENTS), ValueError),
        ("power", 0.0, ValueError),
        ("noise_power", np.nan, ValueError),
        ("weights", [1.0, -1.0, 1.0], ValueError),
        ("weights", np.ones(USERS + 1), ValueError),
        ("start", np.full(ELEMENTS, 1.5), ValueError),
        ("threads", 0, ValueError),
        ("sweeps", 2, TypeError),
    ],
)
def test_every_method_names_the_argument(
    method: str, argument: str, value: Any, error: type[Exception]
) -> None:
    good = {"channel": channels(2), "phase": PHASE, "method": method}
    with pytest.raises(error, match=rf"^{argument}: expected"):
        solve(**(good | {argument: value}))


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [("step", -0.1, ValueError), ("step", "small", TypeError), ("inner", -1, ValueError)],
)
def test_options_of_alternating(argument: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^{argument}: expected"):
        solve(channels(2), method="alternating", **{argument: value})


@methods
def test_channel_and_phase_must_fit(method: str) -> None:
    message = r"^channel: expected \(\.\.\., K, N\) with N = 25 to match phase, got \(3, 26\)$"
    with pytest.raises(ValueError, match=message):
        solve(np.ones((USERS, ELEMENTS + 1)), method=method)


@methods
def test_several_channels_must_fit(method: str) -> None:
    with pytest.raises(ValueError, match=r"^channel: expected \(\.\.\., F, K, N\), got "):
        solve(channels(None), shared=True, method=method)
    with pytest.raises(ValueError, match=r"^channel: expected .* F = 2 to match phase, got "):
        solve(channels(3), np.stack([PHASE, PHASE]), method=method)


def test_the_reference_names_every_method_and_option() -> None:
    page = hf.solve.__doc__ or ""
    for name, method in hf.solvers.METHODS.items():
        assert f'``"{name}"``' in page
        assert all(f"``{option}``" in page for option in method.options)
