"""Questionable arguments, which `solve` and `schedule` treat alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive
import numpy as np
import pytest

import hmimo_fast as hf

SURFACE = hf.Surface(shape=(5, 5), feeds=4)
PHASE = SURFACE.phase
ELEMENTS, FEEDS = PHASE.shape
USERS = 3
METHODS = [name for name, method in hf.solvers.METHODS.items() if not method.is_network]

Call = Callable[..., Any]
both = pytest.mark.parametrize("call", [hf.solve, hf.schedule], ids=["solve", "schedule"])
methods = pytest.mark.parametrize("method", METHODS)
constraints = pytest.mark.parametrize("constraint", ["digital", "radiated"])


def channels(size: int | None = 4, users: int = USERS, seed: int = 3) -> np.ndarray:
    return hf.channels.sparse_mmwave(SURFACE, users=users, size=size, seed=seed)


def with_a_bad_value(array: np.ndarray, value: complex) -> np.ndarray:
    array = array.copy()
    array[3, 1] = value
    return array


def masked(shape: tuple[int, ...]) -> np.ma.MaskedArray:
    array = np.ma.array(np.full(shape, 0.5), mask=False)
    array[(0,) * len(shape)] = np.ma.masked
    return array


# -- what is refused ---------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "NaN in the phase": (
        {"phase": with_a_bad_value(PHASE, np.nan)},
        r"^phase: expected finite values, got .*nan.* at index \(3, 1\)$",
    ),
    "infinite phase": (
        {"phase": with_a_bad_value(PHASE, np.inf)},
        r"^phase: expected finite values, got .*inf.* at index \(3, 1\)$",
    ),
    "NaN in the start": (
        {"start": with_a_bad_value(np.ones((4, ELEMENTS)), np.nan)},
        r"^start: expected values in \[0, 1\], got nan at index \(3, 1\)$",
    ),
    "no users": (
        {"channel": np.ones((0, ELEMENTS))},
        r"^channel: expected \(\.\.\., K, N\) with K at least 1, got \(0, 25\)$",
    ),
    "no users of several channels": (
        {"channel": np.ones((2, 0, ELEMENTS)), "shared": True},
        r"^channel: expected \(\.\.\., F, K, N\) with K at least 1, got \(2, 0, 25\)$",
    ),
    "no feeds": (
        {"phase": np.ones((ELEMENTS, 0))},
        r"^phase: expected \(\.\.\., N, L\) with L at least 1, got \(25, 0\)$",
    ),
    "user_noise of another number of users": (
        {"user_noise": [1.0, 1.0]},
        r"^user_noise: expected \(\.\.\., K\) with K = 3, got \(2,\)$",
    ),
    "user_noise for no user": ({"user_noise": 0.1}, r"^user_noise: expected \(\.\.\., K\) with "),
    "user_noise of another batch": (
        {"user_noise": np.ones((3, USERS))},
        r"^user_noise: expected leading dimensions that broadcast with \(4,\), got \(3,\)$",
    ),
    "no noise": (
        {"user_noise": [1.0, 0.0, 1.0]},
        r"^user_noise: expected values positive and finite, got ",
    ),
    "NaN in the noise": (
        {"user_noise": [1.0, np.nan, 1.0]},
        r"^user_noise: expected values positive and finite, got ",
    ),
} | {
    f"masked {argument}": (
        {argument: masked(shape)},
        f"^{argument}: expected no masked values, got a masked array$",
    )
    for argument, shape in {
        "channel": (USERS, ELEMENTS),
        "phase": (ELEMENTS, FEEDS),
        "power": (4,),
        "noise_power": (4,),
        "user_noise": (USERS,),
        "weights": (USERS,),
        "min_rate": (USERS,),
        "start": (ELEMENTS,),
    }.items()
}


@both
@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_meant_is_refused(
    call: Call, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(**({"channel": channels(), "phase": PHASE} | arguments))


@both
def test_a_mask_that_hides_nothing_is_none(call: Call) -> None:
    channel = channels()
    found = call(np.ma.array(channel), PHASE)
    np.testing.assert_array_equal(found.rates, call(channel, PHASE).rates)


@both
def test_a_bad_channel_is_told_where_it_is(call: Call) -> None:
    channel = channels()
    channel[1, 2, 3] = np.nan
    message = r"^channel: expected finite values, got .*nan.* at index \(1, 2, 3\)$"
    with pytest.raises(ValueError, match=message):
        call(channel, PHASE, check_finite=True)


# -- starts ------------------------------------------------------------------------------


@both
@constraints
@methods
def test_all_off_starts_as_all_on(call: Call, method: str, constraint: str) -> None:
    """In the items that are off; 1e-60 is no number of single precision."""
    channel, start = channels(), np.random.default_rng(0).uniform(0.1, 1.0, (4, ELEMENTS))
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    start[1:3] = 1.0
    expected = call(channel, PHASE, **options, start=start)
    start[1], start[2] = 0.0, 1e-60
    found = call(channel, PHASE, **options, start=start)
    np.testing.assert_array_equal(found.amplitudes, expected.amplitudes)
    np.testing.assert_array_equal(found.rates, expected.rates)
    assert (found.rates[1:3].sum(axis=-1) > 1.0).all()


@constraints
@methods
def test_a_slot_that_serves_nobody_stops_no_later_one(method: str, constraint: str) -> None:
    good, start = channels(), None
    served = []
    for channel in (good, 1e-9 * good, good, np.full_like(good, np.nan), good):
        slot = hf.schedule(
            channel, PHASE, min_rate=0.1, method=method, constraint=constraint, start=start
        )
        start = slot.amplitudes
        served.append(slot.served.any(axis=-1).all())
    assert served == [True, False, True, False, True]


# -- noise of each user ------------------------------------------------------------------


def rates_by_loops(
    channel: np.ndarray, amplitudes: np.ndarray, digital: np.ndarray, noise: np.ndarray
) -> list[float]:
    """Rates with a noise power for each user, from plain loops."""
    ratios = [
        naive.sinr(channel, amplitudes, PHASE, digital, float(noise[k]))[k]
        for k in range(len(noise))
    ]
    return [float(np.log2(1.0 + ratio)) for ratio in ratios]


@both
@constraints
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_noise_of_each_user(call: Call, constraint: str, dtype: Any) -> None:
    channel = channels().astype(dtype)
    noise = 10.0 ** np.random.default_rng(1).uniform(-9.0, -8.0, (4, USERS))
    found = call(channel, PHASE, 1e-7, user_noise=noise, constraint=constraint, min_rate=0.0)
    assert found.rates.dtype == np.zeros(0, dtype).real.dtype
    tolerance = 1e-9 if dtype == np.complex128 else 1e-4
    for i in range(4):
        expected = rates_by_loops(channel[i], found.amplitudes[i], found.digital[i], noise[i])
        np.testing.assert_allclose(found.rates[i], expected, rtol=tolerance, atol=tolerance)


@both
def test_equal_noise_of_each_user_is_the_noise_power(call: Call) -> None:
    found = call(channels(), PHASE, user_noise=np.full(USERS, 0.3))
    expected = call(channels(), PHASE, noise_power=0.3)
    np.testing.assert_array_equal(found.rates, expected.rates)
    np.testing.assert_array_equal(found.digital, expected.digital)


@both
def test_noise_of_each_user_broadcasts_and_counts(call: Call) -> None:
    """A quieter receiver gets more, in its own item of the batch."""
    noise = np.full((5, 1, USERS), 0.3)
    noise[:, 0, 1] = [0.3, 0.1, 0.03, 0.01, 0.003]
    found = call(channels(20), PHASE, user_noise=noise, min_rate=0.0)
    assert found.rates.shape == (5, 20, USERS)
    assert (np.diff(found.rates[..., 1].mean(axis=-1)) > 0.5).all()


@both
def test_a_noise_power_is_a_problems_own(call: Call) -> None:
    found = call(channels(None), PHASE, noise_power=[0.1, 0.2, 0.3])
    assert found.rates.shape == (3, USERS)
    expected = call(np.stack([channels(None)] * 3), PHASE, noise_power=[0.1, 0.2, 0.3])
    np.testing.assert_array_equal(found.rates, expected.rates)


@both
def test_noise_of_each_user_over_several_channels(call: Call) -> None:
    channel = channels(6).reshape(2, 3, USERS, ELEMENTS)
    noise = np.array([0.05, 0.5, 0.2])
    found = call(channel, PHASE, user_noise=noise, shared=True, min_rate=0.0)
    for i, f in np.ndindex(2, 3):
        expected = rates_by_loops(channel[i, f], found.amplitudes[i], found.digital[i, f], noise)
        np.testing.assert_allclose(found.rates[i, f], expected, rtol=1e-9, atol=1e-12)


# -- weights -----------------------------------------------------------------------------


@both
@constraints
@methods
@pytest.mark.parametrize(
    ("dtype", "factor"), [(np.complex64, 2.0**-600), (np.complex128, 2.0**600)]
)
def test_a_common_factor_of_the_weights_changes_nothing(
    call: Call, method: str, constraint: str, dtype: Any, factor: float
) -> None:
    channel, weights = channels().astype(dtype), np.array([1.0, 0.5, 2.0])
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    one = call(channel, PHASE, **options, weights=weights)
    other = call(channel, PHASE, **options, weights=factor * weights)
    np.testing.assert_array_equal(other.amplitudes, one.amplitudes)
    np.testing.assert_array_equal(other.rates, one.rates)
    np.testing.assert_array_equal(other.sum_rate, factor * one.sum_rate)
    if call is hf.solve:
        np.testing.assert_array_equal(other.converged, one.converged)
        np.testing.assert_array_equal(other.history, factor * one.history)


@both
@constraints
@methods
def test_weights_of_zero_are_equal_weights(call: Call, method: str, constraint: str) -> None:
    """In the item that has them, where otherwise no rate would count."""
    channel, weights = channels(), np.ones((4, USERS))
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    equal = call(channel, PHASE, **options, weights=weights)
    weights[1] = 0.0
    found = call(channel, PHASE, **options, weights=weights)
    np.testing.assert_array_equal(found.rates, equal.rates)
    np.testing.assert_array_equal(found.sum_rate, weights[:, 0] * equal.sum_rate)
    if call is hf.solve and np.isfinite(found.history[1, 0]):
        assert np.nanmax(found.history[1]) == 0.0


@constraints
@methods
def test_the_power_is_held_where_nobody_with_a_weight_has_a_channel(
    method: str, constraint: str, backend: str
) -> None:
    if backend == "numba":
        pytest.skip("compiles the definition that NumPy runs")
    channel = channels()
    channel[:, 0] = 0.0
    weights = np.zeros(USERS)
    weights[0] = 1.0
    found = hf.solve(channel, PHASE, 2.0, method=method, constraint=constraint, weights=weights)
    radiated = constraint == "radiated" and method != "fully_digital"
    for amplitudes, digital in zip(found.amplitudes, found.digital, strict=True):
        surface = (amplitudes, PHASE) if radiated else ()
        assert naive.used_power(digital, *surface) == pytest.approx(2.0, rel=1e-9)
    assert (found.sum_rate == 0.0).all()


# -- the yardstick -----------------------------------------------------------------------


def correlated(kind: str) -> np.ndarray:
    common = hf.channels.rayleigh(SURFACE, users=1, size=20, seed=3)
    own = hf.channels.rayleigh(SURFACE, users=4, size=20, seed=4)
    return {
        "rayleigh": own,
        "a common part": common + 0.5 * own,
        "nearly one": common + 0.1 * own,
        "sparse": channels(20, users=4),
        "more users than feeds": channels(20, users=8),
    }[kind]


@pytest.mark.parametrize("snr", [-10.0, 10.0, 30.0])
@pytest.mark.parametrize(
    "kind", ["rayleigh", "a common part", "nearly one", "sparse", "more users than feeds"]
)
def test_no_surface_and_no_user_alone_is_above_fully_digital(kind: str, snr: float) -> None:
    channel, noise_power = correlated(kind), 10.0 ** (-snr / 10.0)
    above = hf.solve(channel, PHASE, 1.0, noise_power, method="fully_digital").sum_rate
    slightly = 1.0 + 1e-6
    for method in ("joint", "wmmse_hbf"):
        surface = hf.solve(channel, PHASE, 1.0, noise_power, method=method).sum_rate
        assert (above * slightly >= surface).all()
    gains = (np.abs(channel) ** 2).sum(axis=-1).max(axis=-1)
    assert (above * slightly >= np.log2(1.0 + gains / noise_power)).all()


def test_fully_digital_is_converged_where_it_says_so() -> None:
    channel = correlated("a common part")
    options: dict[str, Any] = {"noise_power": 0.01, "method": "fully_digital"}
    found = hf.solve(channel, PHASE, **options)
    assert found.converged.mean() > 0.8
    assert (found.iterations <= 300).all()
    assert (found.iterations[found.converged] < 300).all()
    longer = hf.solve(channel, PHASE, **options, iterations=3000, tolerance=1e-9)
    assert (longer.sum_rate >= found.sum_rate - 1e-9).all()
    np.testing.assert_allclose(
        found.sum_rate[found.converged], longer.sum_rate[found.converged], rtol=1e-3
    )
    assert not hf.solve(channel, PHASE, **options, iterations=9).converged.any()
    loose, tight = (
        hf.solve(channel, PHASE, **options, tolerance=t).iterations for t in (1e-1, 1e-6)
    )
    assert (loose <= found.iterations).all()
    assert (tight >= found.iterations).all()
    assert loose.mean() < tight.mean()


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [("tolerance", -1.0, ValueError), ("tolerance", "tight", TypeError),
     ("iterations", -1, ValueError), ("iterations", 0.5, TypeError)],
)  # fmt: skip
def test_options_of_fully_digital(option: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"^{option}: expected"):
        hf.solve(channels(), PHASE, method="fully_digital", **{option: value})


# -- users whose channels are multiples of one another -------------------------------------


def multiples(groups: list[int], spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Users (4, K, N) of the groups, and the strongest of each (4, groups, N)."""
    rng = np.random.default_rng(seed)
    own = channels(users=max(groups) + 1, seed=seed)
    gains = 10.0 ** rng.uniform(-spread, spread, (4, len(groups)))
    turned = gains * np.exp(2j * np.pi * rng.random(gains.shape)) if spread else gains
    channel = own[:, groups] * turned[..., None]
    member = np.array(groups) == np.arange(max(groups) + 1)[:, None]
    strongest = np.where(member, gains[:, None], -1.0).argmax(axis=-1)
    return channel, np.take_along_axis(channel, strongest[..., None], 1)


@both
@constraints
@pytest.mark.parametrize("method", ["joint", "zf", "wmmse_hbf", "fully_digital"])
@pytest.mark.parametrize("groups", [[0, 0, 0, 0], [0, 1, 2, 1], [0, 0, 1, 1, 2, 2]])
@pytest.mark.parametrize("noise_power", [1.0, 1e-12])
def test_multiples_cost_nothing(
    call: Call, method: str, constraint: str, groups: list[int], noise_power: float
) -> None:
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    if call is hf.schedule:
        options |= {"min_rate": 0.0}
    elif method == "zf" and len(groups) > FEEDS:
        return  # refused
    for dtype, spread in ((np.complex128, 0.0), (np.complex128, 1.0), (np.complex64, 0.5)):
        channel, strongest = (x.astype(dtype) for x in multiples(groups, spread, seed=7))
        found = call(channel, PHASE, 1.0, noise_power, **options)
        expected = call(strongest, PHASE, 1.0, noise_power, **options)
        assert (found.sum_rate >= 0.98 * expected.sum_rate).all()
        assert found.feasible.all()


def test_of_multiples_the_one_with_most_to_gain_is_served() -> None:
    """By weight and gain together, in every item, and only where they are multiples throughout."""
    own = channels(None, users=1)
    channel = np.concatenate([own, 2.0 * own])
    weights = np.array([[1.0, 1.0], [3.0, 1.0]])
    rates = hf.solve(channel, PHASE, 1.0, 0.01, "wmmse_hbf", weights=weights).rates
    np.testing.assert_array_equal(rates > 0.0, [[False, True], [True, False]])
    several = np.stack([channel, np.concatenate([own, own[:, ::-1]])])
    rates = hf.solve(several, PHASE, 1.0, 0.01, "wmmse_hbf", shared=True).rates
    assert (rates.sum(axis=0) > 0.1).all()


# -- precoders ---------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [-300, -160, -100, 77, 160, 300])
def test_precoders_of_any_magnitude(backend: str, exponent: int) -> None:
    rng, scale = np.random.default_rng(0), 10.0**exponent
    effective = rng.standard_normal((4, 3, 5)) + 1j * rng.standard_normal((4, 3, 5))
    precoder, rank = hf.zero_forcing(scale * effective, 2.0, return_rank=True)
    np.testing.assert_array_equal(rank, 3)
    for i in range(4):
        np.testing.assert_allclose(precoder[i], naive.zero_forcing(effective[i], 2.0), rtol=1e-9)
    precoder = hf.wmmse(scale * effective, 2.0, noise_power=0.1)
    np.testing.assert_allclose((np.abs(precoder) ** 2).sum(axis=(-2, -1)), 2.0, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("seed", range(3))
def test_precoders_of_multiples_have_the_power(backend: str, dtype: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    effective = rng.standard_normal((4, 1, 5)) + 1j * rng.standard_normal((4, 1, 5))
    effective = (10.0 ** rng.uniform(-3.0, 3.0, (4, 4, 1)) * effective).astype(dtype)
    for noise_power in (1.0, 1e-6, 1e-12):
        for precoder in (hf.zero_forcing(effective, 2.0), hf.wmmse(effective, 2.0, noise_power)):
            used = (np.abs(precoder.astype(complex)) ** 2).sum(axis=(-2, -1))
            np.testing.assert_allclose(used, 2.0, rtol=1e-9 if dtype == np.complex128 else 1e-6)


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("ratio", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("items", [1, 20])
def test_projections_on_feeds_that_are_multiples_keep_the_power(
    items: int, ratio: float, kind: type
) -> None:
    """Rounding errors of what one feed leaves of another are no direction of their own."""
    rng = np.random.default_rng(8)
    wave = np.exp(2j * np.pi * rng.uniform(size=(items, 12, 1)))
    phase = (wave * [ratio, 1.0]).astype(kind)
    amplitudes = rng.uniform(0.1, 1.0, (items, 12)).astype(phase.real.dtype)
    wanted = rng.standard_normal((items, 12, 3, 2)).view(complex)[..., 0].astype(kind)
    beams = hf.project(amplitudes, phase, wanted, 1.7).astype(complex)
    surface = amplitudes.astype(float)[..., None] * phase
    power = np.sum(np.abs(surface @ beams) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(power, 1.7, rtol=1e-6 if kind is np.complex64 else 1e-9)
    least = np.linalg.pinv(surface, 1e-5) @ wanted
    size = np.linalg.norm(surface @ least, axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(beams, np.sqrt(1.7) * least / size, rtol=1e-3, atol=1e-6 / ratio)


@pytest.mark.parametrize("elements", [6, 8, 64])
def test_power_of_projections_in_single_is_off_by_the_rounding_of_beams(elements: int) -> None:
    """Off by half of eps, V changes the power by eps |diag(m) Phi| |V| / sqrt(P) at most."""
    rng = np.random.default_rng(3)
    phase = np.exp(2j * np.pi * rng.uniform(size=(elements, 6))).astype(np.complex64)
    amplitudes = rng.uniform(size=(500, elements)).astype(np.float32)
    wanted = rng.standard_normal((500, elements, 6, 2)).view(complex)[..., 0].astype(np.complex64)
    beams = hf.project(amplitudes, phase, wanted, 1.7).astype(complex)
    surface = amplitudes.astype(float)[..., None] * phase
    power = np.sum(np.abs(surface @ beams) ** 2, axis=(-2, -1)) / 1.7
    sizes = [np.linalg.norm(factor, axis=(-2, -1)) for factor in (surface, beams)]
    bound = np.finfo(np.float32).eps * sizes[0] * sizes[1] / np.sqrt(1.7)
    assert (np.abs(power - 1.0) <= np.maximum(bound, 1e-6)).all()


@pytest.mark.parametrize("kind", [np.complex64, np.complex128])
@pytest.mark.parametrize("items", [1, 20])
def test_zero_forcing_of_a_far_stronger_multiple_keeps_the_power(items: int, kind: type) -> None:
    rng = np.random.default_rng(9)
    channel = rng.standard_normal((items, 3, 8, 2)).view(complex)[..., 0]
    channel[:, 2] = 1e5 * channel[:, 0]
    beams = hf.zero_forcing(channel.astype(kind), 2.0).astype(complex)
    power = np.sum(np.abs(beams) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(power, 2.0, rtol=1e-6 if kind is np.complex64 else 1e-9)
    expected = np.linalg.pinv(channel.astype(kind).astype(complex), 1e-6)
    expected *= np.sqrt(2.0) / np.linalg.norm(expected, axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(beams, expected, atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2, 4])
def test_no_channel_of_several_is_left_without_beams(seed: int) -> None:
    """Users of very different gains: those who are served may get nothing in one channel."""
    rng = np.random.default_rng(seed)
    channel = rng.standard_normal((200, 5, 4, 9, 2)).view(complex)[..., 0]
    channel *= 10.0 ** rng.uniform(-2.5, 2.5, (200, 5, 4, 1))
    phase = np.exp(2j * np.pi * rng.uniform(size=(9, 1)))
    found = hf.solve(channel, phase, 1.0, 1e-4, constraint="digital", shared=True)
    power = np.sum(np.abs(found.digital) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(power, 1.0, rtol=1e-9)
    assert (found.rates.sum(axis=-1) > 0.0).all()


@pytest.mark.parametrize("users", [1, 2])
def test_single_precision_keeps_radiated_power_where_feeds_nearly_coincide(users: int) -> None:
    """Two numbers of V are moved at once where none alone brings the power closer, or all turn."""
    rng = np.random.default_rng(0)
    for draw in range(200):
        angles = rng.uniform(0.0, 2.0 * np.pi, (2, 2))
        if draw % 2:
            angles = angles[:, :1] + 10.0 ** rng.uniform(-4.0, 0.0) * angles
        phase = np.exp(1j * angles).astype(np.complex64)
        channel = rng.standard_normal((6, users, 2, 2)).view(complex)[..., 0].astype(np.complex64)
        found = hf.solve(channel, phase, 3.0, 0.003, method="random")
        waves = phase.astype(complex)
        beams = found.amplitudes[..., None].astype(float) * (waves @ found.digital.astype(complex))
        power = np.sum(np.abs(beams) ** 2, axis=(-2, -1))
        np.testing.assert_allclose(power, 3.0, rtol=1e-6)


LONE_CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "two starts": {"starts": 2},
    "weights": {"weights": [1.0, 0.5, 2.0, 1.0]},
    "noise of each user": {"user_noise": [1.0, 3.0, 0.5, 2.0]},
    "states": {"levels": 1},
    "phases": {"elements": "phase"},
    "broken": {"broken": [0.0, 1.0, 0.3] + 22 * [np.nan]},
    "limits of the feeds": {"feed_power": 0.4},
}


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("case", LONE_CASES)
@pytest.mark.parametrize("snr", [-20, -10, 0])
@pytest.mark.parametrize("method", ["joint", "zf"])
@constraints
def test_no_item_has_less_than_one_user_alone(
    constraint: str, method: str, snr: int, case: str, dtype: type
) -> None:
    if method == "zf" and case == "limits of the feeds":
        return  # refused
    channel = hf.channels.sparse_mmwave(SURFACE, users=4, size=20, seed=3).astype(dtype)
    noise, changes = 10.0 ** (-snr / 10.0), dict(LONE_CASES[case])
    if "user_noise" in changes:
        changes["user_noise"] = noise * np.array(changes["user_noise"])
    else:
        changes["noise_power"] = noise
    options = {"constraint": constraint, "method": method, **changes}
    found = hf.solve(channel, SURFACE.phase, 1.0, **options)
    for k in range(4):
        own = {
            name: np.asarray(value)[[k]] if name in ("weights", "user_noise") else value
            for name, value in options.items()
        }
        alone = hf.solve(channel[:, [k]], SURFACE.phase, 1.0, **own)
        assert (found.sum_rate >= 0.999 * alone.sum_rate).all()


@pytest.mark.parametrize("method", ["joint", "zf"])
def test_no_item_of_several_channels_has_less_than_one_user_alone(method: str) -> None:
    options = {"shared": True, "method": method}
    channel = hf.channels.rayleigh(SURFACE, users=3, size=20, seed=3).reshape(10, 2, 3, -1)
    found = hf.solve(channel, SURFACE.phase, 1.0, 100.0, **options)
    for k in range(3):
        alone = hf.solve(channel[:, :, [k]], SURFACE.phase, 1.0, 100.0, **options)
        assert (found.sum_rate >= 0.999 * alone.sum_rate).all()


def test_more_feeds_than_elements_have_the_power() -> None:
    """What of V radiates nothing is taken out: its rounding errors would count."""
    rng = np.random.default_rng(11)
    phase = np.exp(1j * rng.uniform(0.0, 2.0 * np.pi, (5, 6)))
    left, right = rng.standard_normal((2, 200, 6, 6, 2)).view(complex)[..., 0]
    channel = left[:, :5, :2] @ right[:, :2, :5]
    noise_power = 1e-11 * np.mean(np.abs(channel) ** 2)
    found = hf.solve(channel, phase, 1.0, noise_power, "wmmse_hbf")
    fields = found.amplitudes[..., None] * (phase @ found.digital)
    np.testing.assert_allclose(np.sum(np.abs(fields) ** 2, axis=(-2, -1)), 1.0, rtol=2e-10)


def test_feeds_that_are_copies_have_the_power() -> None:
    """What cancels in them would count by its rounding errors at a high SNR."""
    rng = np.random.default_rng(3)
    phase = np.exp(1j * rng.uniform(0.0, 2.0 * np.pi, (9, 4))) / 3.0
    phase[:, 2] = phase[:, 0]
    channel = rng.standard_normal((300, 6, 9, 2)).view(complex)[..., 0]
    found = hf.solve(channel, phase, 1.0, 1e-12, "wmmse_hbf")
    fields = found.amplitudes[..., None] * (phase @ found.digital)
    np.testing.assert_allclose(np.sum(np.abs(fields) ** 2, axis=(-2, -1)), 1.0, rtol=2e-10)


def test_power_where_all_but_a_few_elements_fade() -> None:
    """Paper B's steps leave amplitudes of 1e-8 and less, through which large beams cancel."""
    rng = np.random.default_rng(3)
    for _ in range(32):
        side, feeds = int(rng.choice([2, 3])), int(rng.integers(2, 5))
        surface = hf.Surface((side, side), feeds=feeds)
        channel = rng.standard_normal((17, 2, side**2, 2)).view(complex)[..., 0]
        power, noise = 10 ** rng.uniform(-2, 2), 10 ** rng.uniform(-8, 0)
        found = hf.solve(channel, surface.phase, power, noise, "alternating")
        sent = (found.amplitudes[..., None] * surface.phase) @ found.digital
        spent = np.sum(np.abs(sent) ** 2, axis=(-2, -1))
        np.testing.assert_allclose(spent, power, rtol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"min_rate": 0.5},
        {"objective": "max_min"},
        {"objective": "max_min", "min_rate": 0.1},
        {"objective": "min_power", "min_rate": 0.1},
    ],
    ids=str,
)
@constraints
def test_a_channel_without_numbers_spoils_no_other_of_several(
    constraint: str, options: dict[str, Any]
) -> None:
    channel = hf.channels.rayleigh(SURFACE, users=3, size=8, seed=3).reshape(4, 2, 3, -1)
    channel[2, 0, 0, 0] = np.nan
    found = hf.solve(channel, PHASE, constraint=constraint, shared=True, **options)
    np.testing.assert_array_equal(np.isnan(found.sum_rate), [False, False, True, False])
    np.testing.assert_array_equal(found.feasible, [True, True, False, True])
    rest = [0, 1, 3]
    alone = hf.solve(channel[rest], PHASE, constraint=constraint, shared=True, **options)
    np.testing.assert_allclose(found.value[rest], alone.value, rtol=0.03)


def test_minimum_rates_of_several_channels_where_noise_is_all_but_nothing() -> None:
    """The noise does not get lost in the difference of large powers, which has no solution."""
    rng = np.random.default_rng(0)
    channel = rng.standard_normal((20, 3, 6, 9, 2)).view(complex)[..., 0]
    channel *= 10.0 ** rng.uniform(-3.0, 3.0, (6, 1))
    phase = np.exp(2j * np.pi * (rng.uniform(size=(9, 1)) + 0.01 * rng.uniform(size=(9, 3))))
    found = hf.solve(channel, phase, 6.0, 1e-11, min_rate=0.3, shared=True)
    assert (found.rates.sum(axis=1).min(axis=-1) >= 0.3 - 1e-9)[found.feasible].all()
    assert np.isfinite(found.sum_rate).all()


@constraints
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_more_users_than_the_surface_has_dimensions_are_served_at_any_noise(
    constraint: str, dtype: type
) -> None:
    """The waves of three feeds are two on these four elements: WMMSE alone loses all beams."""
    surface = hf.Surface((2, 2), feeds=3)
    assert np.linalg.matrix_rank(surface.phase) == 2
    rng = np.random.default_rng(0)
    channel = rng.standard_normal((100, 3, 4, 2)).view(complex)[..., 0].astype(dtype)
    options: dict[str, Any] = {"method": "wmmse_hbf", "constraint": constraint}
    found = hf.solve(channel, surface.phase, 1.0, 1e-11, **options)
    for k in range(3):
        alone = hf.solve(channel[:, k : k + 1], surface.phase, 1.0, 1e-11, **options)
        assert (found.sum_rate > 0.8 * alone.sum_rate).all()


@constraints
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("sizes", [(2, 2, 5), (3, 6, 2), (4, 2, 6)], ids=str)
def test_few_states_serve_somebody_at_any_noise(
    sizes: tuple[int, int, int], constraint: str, dtype: type
) -> None:
    """More users than feeds, or feeds than elements, of which none may be switched off."""
    elements, feeds, users = sizes
    rng = np.random.default_rng(5)
    phase = np.exp(2j * np.pi * rng.uniform(size=(elements, feeds)))
    channel = rng.standard_normal((60, users, elements, 2)).view(complex)[..., 0].astype(dtype)
    noise_power = 10.0 ** rng.uniform(-12.0, 0.0, 60)
    found = hf.solve(channel, phase, 1.0, noise_power, constraint=constraint, levels=1)
    every = np.array(list(np.ndindex((2,) * elements))[1:], dtype=float)[:, None]
    lit = hf.solve(channel, phase, 1.0, noise_power, constraint=constraint, broken=every)
    share = found.sum_rate / lit.sum_rate.max(axis=0)
    assert share.min() > 0.4
    assert share.mean() > 0.97


@constraints
def test_weak_users_beside_copies_are_served_in_single_precision(constraint: str) -> None:
    """Where users are copies a batch in single precision is too coarse for the others."""
    rng = np.random.default_rng(0)
    surface = hf.Surface((4, 4), feeds=4)
    own = rng.standard_normal((64, 2, 16, 2)).view(complex)[..., 0]
    own[:, 1] *= 10.0 ** rng.uniform(-4.0, -2.0, (64, 1))
    copies = 10.0 ** rng.uniform(-6.0, 0.0, (64, 2, 1)) * own
    channel = np.concatenate([own, copies], axis=1).astype(np.complex64)
    found = hf.solve(channel, surface.phase, 1.0, 1e-11, constraint=constraint)
    strong = hf.solve(channel[:, :2], surface.phase, 1.0, 1e-11, constraint=constraint)
    assert (found.sum_rate >= 0.98 * strong.sum_rate).all()
