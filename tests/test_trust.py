"""What `solve` and `schedule` make of the same questionable arguments."""

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
METHODS = ["random", "alternating", "zf_hbf", "wmmse_hbf", "zf", "joint", "fully_digital"]

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
@pytest.mark.parametrize("faint", [0.0, 1e-60])
def test_all_off_starts_as_all_on(call: Call, method: str, constraint: str, faint: float) -> None:
    """In the items that are off; 1e-60 is no number of single precision."""
    channel, start = channels(), np.random.default_rng(0).uniform(0.1, 1.0, (4, ELEMENTS))
    options: dict[str, Any] = {"method": method, "constraint": constraint}
    start[1:3] = 1.0
    expected = call(channel, PHASE, **options, start=start)
    start[1:3] = faint
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
