"""Properties of every solution and schedule, for channels of every kind."""

from __future__ import annotations

from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import hmimo_fast as hf

METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]
GENERAL = ["joint", "wmmse_hbf", "fully_digital"]  # which take more users than feeds
KINDS = ["independent", "low rank", "one direction", "nearly one", "copies", "far gains"]
#: Relative error of the power, and of rates or their difference in bit/s/Hz.
PRECISION = {np.complex128: (1e-9, 1e-8), np.complex64: (3e-6, 1e-4)}
ITEMS = 4

methods = pytest.mark.parametrize("method", METHODS)
constraints = pytest.mark.parametrize("constraint", ["digital", "radiated"])
precisions = pytest.mark.parametrize("dtype", PRECISION)


class Draw(NamedTuple):
    channel: np.ndarray  # (ITEMS, K, N)
    phase: np.ndarray  # (N, L)
    power: float
    noise_power: float


def gaussian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.sqrt(2.0)


@st.composite
def draws(draw: st.DrawFn) -> Draw:
    elements, users = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    feeds = draw(st.integers(1, min(elements + 1, 5)))
    kind, snr = draw(st.sampled_from(KINDS)), draw(st.floats(-20.0, 60.0))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channel = gaussian(rng, ITEMS, users, elements)
    if kind == "low rank":
        rank = 1 + users // 2
        channel = gaussian(rng, ITEMS, users, rank) @ gaussian(rng, ITEMS, rank, elements)
    elif kind == "one direction":
        channel = gaussian(rng, ITEMS, users, 1) * channel[:, :1]
    elif kind == "nearly one":
        channel = channel[:, :1] + 10.0 ** rng.uniform(-12.0, -1.0) * channel
    elif kind == "copies":
        channel = channel[:, rng.integers(0, users, users)]
    elif kind == "far gains":
        channel = 10.0 ** rng.uniform(-2.0, 2.0, (ITEMS, users, 1)) * channel
    phase = np.exp(2j * np.pi * rng.random((elements, feeds)))
    power = 10.0 ** draw(st.integers(-9, 9))
    return Draw(channel, phase, power, power * 10.0 ** (-snr / 10.0))


def solvable(draw: Draw, method: str) -> str:
    """The method, or one that allows so many users."""
    return (
        "joint" if draw.channel.shape[1] > draw.phase.shape[1] and method not in GENERAL else method
    )


def run(draw: Draw, method: str, constraint: str, **changes: Any) -> hf.Solution:
    d = draw._replace(**changes)
    return hf.solve(*d, method=method, constraint=constraint)


def check_item(draw: Draw, found: Any, item: int, dtype: Any, power: float) -> None:
    """Box, power and rates of one item, by plain loops from what was returned."""
    amplitudes, digital = found.amplitudes[item].astype(float), found.digital[item].astype(complex)
    assert ((amplitudes >= 0.0) & (amplitudes <= 1.0)).all()
    channel = draw.channel[item].astype(dtype).astype(complex)
    if found.method == "fully_digital":
        used = naive.used_power(digital)
        ratios = naive.received_sinr(channel, digital, draw.noise_power)
    else:
        surface = (amplitudes, draw.phase) if found.constraint == "radiated" else ()
        used = naive.used_power(digital, *surface)
        ratios = naive.sinr(channel, amplitudes, draw.phase, digital, draw.noise_power)
    of_power, of_rates = PRECISION[dtype]
    assert used == pytest.approx(power, rel=of_power)
    rates = np.log2(1.0 + np.array(ratios))
    np.testing.assert_allclose(found.rates[item], rates, rtol=of_rates, atol=of_rates)
    assert found.sum_rate[item] == pytest.approx(rates.sum(), rel=of_rates, abs=of_rates)


@given(draws())
@constraints
@methods
@precisions
def test_power_box_and_rates(method: str, constraint: str, dtype: Any, draw: Draw) -> None:
    found = run(draw, solvable(draw, method), constraint, channel=draw.channel.astype(dtype))
    assert found.feasible.all()
    for item in range(ITEMS):
        check_item(draw, found, item, dtype, draw.power)


@given(draws())
@constraints
@methods
def test_power_box_and_rates_of_a_schedule(method: str, constraint: str, draw: Draw) -> None:
    for dtype in PRECISION:
        channel = draw.channel.astype(dtype)
        found = hf.schedule(*draw._replace(channel=channel), min_rate=0.1, method=method,
                            constraint=constraint)  # fmt: skip
        for item in range(ITEMS):
            check_item(draw, found, item, dtype, draw.power if found.feasible[item] else 0.0)
            assert (found.rates[item][found.served[item]] >= 0.1 - 1e-9).all()


@given(draws())
def test_fully_digital_is_no_worse_than_any_user_alone(draw: Draw) -> None:
    found = run(draw, "fully_digital", "radiated")
    gains = (np.abs(draw.channel) ** 2).sum(axis=-1).max(axis=-1)
    alone = np.log2(1.0 + gains * draw.power / draw.noise_power)
    assert (found.sum_rate >= alone * (1.0 - 1e-6)).all()


@constraints
@pytest.mark.parametrize("snr", [-10.0, 10.0, 30.0])
@pytest.mark.parametrize("own", [0.3, 1.0])
def test_joint_is_worth_its_best_user_alone(own: float, snr: float, constraint: str) -> None:
    """On the mean, with or without a part common to all users: the search is local."""
    surface, rng = hf.Surface(shape=(4, 4), feeds=4), np.random.default_rng(0)
    channel = own * gaussian(rng, 40, 4, 16) + (1.0 - own) * gaussian(rng, 40, 1, 16)
    options: dict[str, Any] = {"noise_power": 10.0 ** (-snr / 10.0), "constraint": constraint}
    found = hf.solve(channel, surface.phase, **options)
    each = [hf.solve(channel[:, [k]], surface.phase, **options).sum_rate for k in range(4)]
    alone = np.max(each, axis=0)
    assert found.sum_rate.mean() >= 0.97 * alone.mean()
    assert (found.sum_rate >= 0.8 * alone).all()


@given(draws())
@constraints
@methods
def test_users_without_gain_change_nothing(method: str, constraint: str, draw: Draw) -> None:
    silent = np.zeros_like(draw.channel[:, :1])
    more = draw._replace(channel=np.concatenate([draw.channel, silent], axis=1))
    method = solvable(more, method)
    rates = run(more, method, constraint).rates
    assert (rates[:, -1] == 0.0).all()
    expected = run(draw, method, constraint).rates
    assert rates.sum(axis=-1).mean() == pytest.approx(expected.sum(axis=-1).mean(), rel=0.03)


@given(draws())
@constraints
@methods
def test_users_may_stand_in_any_order(method: str, constraint: str, draw: Draw) -> None:
    """On the mean: a search follows its rounding."""
    method = solvable(draw, method)
    one = run(draw, method, constraint)
    other = run(draw, method, constraint, channel=draw.channel[:, ::-1])
    assert other.sum_rate.mean() == pytest.approx(one.sum_rate.mean(), rel=0.03)


@given(draws(), st.integers(-30, 30))
@constraints
@methods
def test_only_the_ratios_of_gains_power_and_noise_count(
    method: str, constraint: str, draw: Draw, exponent: int
) -> None:
    """Powers of two scale without rounding."""
    method, by = solvable(draw, method), 2.0**exponent
    one = run(draw, method, constraint)
    weaker = run(draw, method, constraint, channel=draw.channel * by,
                 noise_power=draw.noise_power * by**2)  # fmt: skip
    stronger = run(draw, method, constraint, power=draw.power * by**2,
                   noise_power=draw.noise_power * by**2)  # fmt: skip
    for other, size in ((weaker, 1.0), (stronger, by)):
        np.testing.assert_array_equal(other.amplitudes, one.amplitudes)
        np.testing.assert_array_equal(other.digital, size * one.digital)
        np.testing.assert_array_equal(other.rates, one.rates)
