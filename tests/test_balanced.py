"""The dual uplink at fixed amplitudes: `max_min` and `min_power`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmimo_fast import kernels

SIZES = [(1, 1), (1, 3), (3, 4), (6, 6), (5, 3), (2, 1)]


def draw(users: int, feeds: int, *seed: int, items: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Channels whose users differ by up to 40 dB, and weights."""
    rng = np.random.default_rng([users, feeds, *seed])
    channel = rng.normal(size=(items, users, feeds, 2)).view(complex)[..., 0]
    return channel * 10.0 ** rng.uniform(-1, 1, (items, users, 1)), rng.uniform(
        0.3, 3.0, (items, users)
    )


def rates_of(channel: np.ndarray, precoder: np.ndarray, noise: Any) -> np.ndarray:
    gains = np.abs(channel @ precoder) ** 2
    own = np.diagonal(gains, axis1=-2, axis2=-1)
    return np.log1p(own / (noise + gains.sum(-1) - own)) / np.log(2)


def power_of(precoder: np.ndarray) -> np.ndarray:
    return np.sum(np.abs(precoder) ** 2, axis=(-2, -1))


def least_power(channel: np.ndarray, noise: float, rates: np.ndarray) -> float:
    """By a second-order cone program; infinite where it has no solution."""
    cp = pytest.importorskip("cvxpy")
    users, feeds = channel.shape
    size = np.sqrt(noise) / np.abs(channel).max()
    beams = cp.Variable((feeds, users), complex=True)
    received = channel / np.abs(channel).max() @ beams
    cones = [
        cp.SOC(
            cp.real(received[k, k]) / np.sqrt(np.expm1(np.log(2) * rates[k])),
            cp.hstack([*(received[k, j] for j in range(users) if j != k), 1.0]),
        )
        for k in range(users)
    ]
    problem = cp.Problem(cp.Minimize(cp.norm(beams, "fro")), cones)
    try:
        problem.solve(
            solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11,
            tol_ktratio=1e-11,
        )  # fmt: skip
    except cp.SolverError:
        return np.inf
    return float(problem.value) ** 2 * size**2 if problem.value is not None else np.inf


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize(
    ("users", "feeds", "noise"),
    # with more users than feeds the power at high rates is too steep for the program's tolerance
    [(3, 4, 1.0), (3, 4, 1e-3), (4, 4, 1.0), (4, 4, 1e-3), (5, 3, 1.0)],
)
def test_a_cone_program_agrees(backend: str, users: int, feeds: int, noise: float) -> None:
    """The cone program needs all of the power for the rates of `max_min`."""
    channel, weights = draw(users, feeds, 1, items=3)
    _, common = kernels.max_min(channel, 2.0, noise, weights)
    for item in range(3):
        expected = least_power(channel[item], noise, weights[item] * common[item])
        assert expected == pytest.approx(2.0, rel=1e-6)
    asked = 0.4 * weights
    _, power, feasible = kernels.min_power(channel, noise, asked)
    for item in range(3):
        expected = least_power(channel[item], noise, asked[item])
        assert power[item] == pytest.approx(expected, rel=1e-6)
        assert feasible[item]


@pytest.mark.parametrize(("users", "feeds"), SIZES)
@pytest.mark.parametrize("noise", [10.0, 0.1, 1e-4])
def test_max_min_gives_rates_in_the_ratio_of_the_weights(
    backend: str, users: int, feeds: int, noise: float
) -> None:
    channel, weights = draw(users, feeds, 2)
    precoder, common = kernels.max_min(channel, 3.0, noise, weights)
    shares = rates_of(channel, precoder, noise) / weights
    rounding = 1e-9 if users <= feeds else 1e-6
    np.testing.assert_allclose(shares, np.broadcast_to(common[:, None], shares.shape), rounding)
    np.testing.assert_allclose(power_of(precoder), 3.0, rtol=1e-12)


@pytest.mark.parametrize(("users", "feeds"), [(3, 2), (4, 4), (4, 6), (5, 3)])
@pytest.mark.parametrize("noise", [1e-2, 1e-3])
def test_copies_have_balanced_rates_too(backend: str, users: int, feeds: int, noise: float) -> None:
    """Newton's method alone ran in circles where a copy's rate hardly grows with the power."""
    channel, weights = draw(users, feeds, 8)
    channel[:, 1] = (0.5 + 1j) * channel[:, 0]
    precoder, common = kernels.max_min(channel, 3.0, noise, weights)
    shares = rates_of(channel, precoder, noise) / weights
    # As far as rounding tells: all of the power raises a copy's rate by a thousandth.
    np.testing.assert_allclose(shares, np.broadcast_to(common[:, None], shares.shape), 1e-4)
    more = kernels.max_min(channel, 30.0, noise, weights)[1]
    assert (more > (1.0 - 1e-9) * common).all()
    power, feasible = kernels.min_power(channel, noise, 0.9 * weights * common[:, None])[1:]
    assert feasible.all()
    assert (power < 3.0).all()


@pytest.mark.parametrize(("users", "feeds"), [(2, 1), (3, 2), (4, 4), (5, 3)])
@pytest.mark.parametrize("noise", [1e-7, 1e-9, 1e-13])
def test_beams_are_numbers_where_noise_is_all_but_nothing(
    backend: str, users: int, feeds: int, noise: float
) -> None:
    """With more users than feeds, or copies, rounding hides what power is worth."""
    channel, weights = draw(users, feeds, 9, items=5)
    if users == feeds:
        channel[:, 1] = (0.5 + 1j) * channel[:, 0]
    precoder, common = kernels.max_min(channel, 1.0, noise, weights)
    np.testing.assert_allclose(power_of(precoder), 1.0, rtol=1e-12)
    assert (common > 0.0).all()
    if noise == 1e-7:
        lowest = np.min(rates_of(channel, precoder, noise) / weights, axis=-1)
        np.testing.assert_allclose(lowest, common, rtol=1e-4)
        assert (lowest > 0.999 * kernels.max_min(channel, 1.0, 1e-4, weights)[1]).all()


@pytest.mark.parametrize(("users", "feeds"), SIZES)
@pytest.mark.parametrize("noise", [10.0, 1e-4])
def test_the_least_power_for_the_rates_of_max_min_is_its_power(
    backend: str, users: int, feeds: int, noise: float
) -> None:
    channel, weights = draw(users, feeds, 3)
    _, common = kernels.max_min(channel, 3.0, noise, weights)
    asked = 0.999 * weights * common[:, None]
    precoder, power, feasible = kernels.min_power(channel, noise, asked)
    assert feasible.all()
    assert (power < 3.0).all()
    np.testing.assert_allclose(power_of(precoder), power, rtol=1e-12)
    np.testing.assert_allclose(rates_of(channel, precoder, noise), asked, rtol=1e-6)
    one = kernels.min_power(channel, noise, asked / 0.999)[1]
    if users <= feeds:
        np.testing.assert_allclose(one, 3.0, rtol=1e-6)


def test_single_precision_is_of_double_rounded(backend: str) -> None:
    channel, weights = (array.astype(np.complex64) for array in draw(4, 4, 4))
    weights = weights.real.astype(float)
    for name, given_ in (("max_min", (2.0, 0.1, weights)), ("min_power", (0.1, weights))):
        single = getattr(kernels, name)(channel, *given_)
        double = getattr(kernels, name)(channel.astype(complex), *given_)
        assert single[0].dtype == np.complex64
        np.testing.assert_allclose(single[0], double[0], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(single[1], double[1], rtol=1e-9)


def test_a_user_without_weight_or_minimum_rate_has_no_beam(backend: str) -> None:
    channel, weights = draw(4, 3, 5)
    weights[:, 2] = 0.0
    rest = [0, 1, 3]
    for whole, part in (
        (kernels.max_min(channel, 1.0, 0.1, weights),
         kernels.max_min(channel[:, rest], 1.0, 0.1, weights[:, rest])),
        (kernels.min_power(channel, 0.1, 0.3 * weights),
         kernels.min_power(channel[:, rest], 0.1, 0.3 * weights[:, rest])),
    ):  # fmt: skip
        np.testing.assert_array_equal(whole[0][..., 2], 0.0)
        np.testing.assert_allclose(whole[0][..., rest], part[0], atol=1e-9)
        np.testing.assert_allclose(whole[1], part[1], rtol=1e-9)


def test_nothing_asked_takes_nothing(backend: str) -> None:
    channel, weights = draw(3, 3, 6)
    precoder, common = kernels.max_min(channel, 1.0, 0.1, 0.0 * weights)
    assert not precoder.any()
    assert np.isposinf(common).all()
    precoder, power, feasible = kernels.min_power(channel, 0.1, 0.0 * weights)
    assert not precoder.any()
    assert not power.any()
    assert feasible.all()


@pytest.mark.parametrize("noise", [1.0, 1e-9])
def test_what_no_power_reaches_is_said(backend: str, noise: float) -> None:
    """Two users with parallel channels cannot both have an SINR over 1, but both can have 0.99."""
    channel = np.array([[1.0, 1j], [2.0, 2j]])
    precoder, power, feasible = kernels.min_power(channel, noise, [1.0, 1.001])
    assert np.isnan(precoder).all()
    assert np.isposinf(power)
    assert not feasible
    asked = np.full(2, np.log2(1.99))
    precoder, power, feasible = kernels.min_power(channel, noise, asked)
    assert feasible
    np.testing.assert_allclose(rates_of(channel, precoder, noise), asked, rtol=1e-6)


def test_a_user_who_hears_nothing(backend: str) -> None:
    channel = np.array([[1.0, 1.0], [0.0, 0.0]], dtype=complex)
    precoder, common = kernels.max_min(channel, 1.0, 0.1)
    assert common == 0.0
    assert np.isfinite(precoder).all()
    assert not kernels.min_power(channel, 0.1, [1.0, 1.0])[2]
    assert kernels.min_power(channel, 0.1, [1.0, 0.0])[2]


def test_a_channel_that_is_no_number(backend: str) -> None:
    channel, weights = draw(3, 3, 7, items=3)
    channel[1, 0, 0] = np.nan
    precoder, common = kernels.max_min(channel, 1.0, 0.1, weights)
    assert np.isnan(common[1])
    assert np.isnan(precoder[1]).all()
    precoder, power, feasible = kernels.min_power(channel, 0.1, weights)
    assert np.isnan(power[1])
    assert np.isnan(precoder[1]).all()
    assert not feasible[1]
    assert feasible[[0, 2]].all()


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 6), st.integers(1, 6), st.floats(-5, 3), st.floats(-8, 8), st.integers(0, 999)
)
def test_units_change_nothing(users: int, feeds: int, noise: float, unit: float, seed: int) -> None:
    """A channel in other units with noise in theirs gives the same rates."""
    channel, weights = draw(users, feeds, seed, items=2)
    noise, unit = 10.0**noise, 10.0**unit
    common = kernels.max_min(channel, 1.0, noise, weights)[1]
    scaled = kernels.max_min(unit * channel, 1.0, noise * unit**2, 2.0 * weights)[1]
    np.testing.assert_allclose(2.0 * scaled, common, rtol=1e-9 if users <= feeds else 1e-5)
