"""Arrays of any shape, layout, type and value through the public edge, against plain loops."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmimo_fast import kernels

POWER, NOISE = 2.0, 0.25

#: These are quick: ten times as many examples as the profile asks for.
MANY = settings(max_examples=10 * settings().max_examples)

#: How an array may lie in memory.
LAYOUTS = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, -1)[..., ::2],
    "backward": lambda a: np.flip(np.flip(a).copy()),
    "crossed": lambda a: np.swapaxes(np.swapaxes(a, 0, -1).copy(), 0, -1),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": lambda a: read_only(a),
}
#: Element types; complex values are first converted to a real or integer type.
COMPLEX = ["c16", "c8", "f8", "f4", "f2", "i8", "i2", "u1", "?", "g", "G"]
REAL = ["f8", "f4", "f2", "i8", "u1", "?", "g"]
#: Values that are not of the size of one.
EXTREME = [0.0, -0.0, 5e-324, 1e-310, 1e-150, 1e150, 1e300, np.inf, np.nan]


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def as_type(array: np.ndarray, dtype: str) -> np.ndarray:
    """The array in this type, as far as it holds it."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return array.real > 0.3
    if kind in "iu":
        return np.round(abs(array) if kind == "u" else array.real).astype(dtype)
    return array.astype(dtype) if kind == "c" else array.real.astype(dtype)


@st.composite
def array(draw: Any, *shape: int, kind: str = "c", extreme: bool = False) -> np.ndarray:
    """Random values in a random type and layout; in item 1 a few extreme ones if wanted."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.uniform(0, 1, shape)
    if kind == "c":
        values = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    types = ["c16"] if extreme else COMPLEX
    dtype = draw(st.sampled_from(types if kind == "c" else REAL))
    values = as_type(values, dtype)
    if extreme:
        places = st.tuples(*(st.integers(0, n - 1) for n in shape[1:]))
        for place in draw(st.lists(places, min_size=1, max_size=4)):
            value = draw(st.sampled_from(EXTREME)) * rng.uniform(0.5, 1)
            values[(1, *place)] = complex(value, value) if draw(st.booleans()) else value
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](values)


@st.composite
def sizes(draw: Any, *letters: str, most: int = 5) -> list[int]:
    return [draw(st.integers(1, most)) for _ in letters]


def tolerance(first: np.ndarray) -> float:
    return 3e-4 if first.dtype.newbyteorder("=") == np.complex64 else 1e-8


def wide(value: np.ndarray) -> np.ndarray:
    """The values that the kernel sees, in double precision."""
    double = np.complex128 if np.iscomplexobj(value) else np.float64
    return np.asarray(value).astype(double)


def agree(actual: Any, expected: Any, relative: float, scale: float = 0.0) -> None:
    expected = np.asarray(expected)
    size = max(scale, np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=relative * size + 1e-300)


def oracle(function: Any, *given: Any) -> Any:
    """The result of the plain loops, or None where they overflow."""
    try:
        return function(*given)
    except (OverflowError, ZeroDivisionError):
        return None


def finite(value: Any) -> bool:
    return value is not None and bool(np.all(np.isfinite(np.asarray(value))))


@pytest.fixture(autouse=True)
def on_c_kernels() -> Any:
    try:
        with kernels.backend("native"):
            yield
    except ImportError:
        pytest.skip("built without a compiler")


@MANY
@given(st.data(), sizes("K", "N", "L"), st.booleans())
def test_links(data: Any, size: list[int], extreme: bool) -> None:
    """Rate of any arrays, and its slope along any direction; NaN where and only where due."""
    users, elements, feeds = size
    channel = data.draw(array(3, users, elements, extreme=extreme))
    amplitudes = data.draw(array(3, elements, kind="r"))
    phase, digital = data.draw(array(elements, feeds)), data.draw(array(3, feeds, users))
    weights = data.draw(array(users, kind="r"))
    rate, d_amplitudes, d_digital = kernels.sum_rate_gradient(
        channel, amplitudes, phase, digital, NOISE, weights
    )
    assert np.array_equal(
        rate, kernels.sum_rate(channel, amplitudes, phase, digital, NOISE, weights), equal_nan=True
    )
    close = tolerance(channel)
    rng = np.random.default_rng(0)
    for b in range(3):
        given = [wide(channel)[b], wide(amplitudes)[b], wide(phase), wide(digital)[b]]
        if np.isnan(given[0]).any():
            assert np.isnan(rate[b])
            continue
        expected = oracle(naive.sum_rate, *given, NOISE, wide(weights))
        if not finite(expected):
            continue
        size = 1 + expected
        agree(rate[b], expected, close, size)
        if np.max(abs(given[0])) < 1e3:
            moves = (
                rng.normal(size=elements),
                rng.normal(size=(feeds, users, 2)).view(complex)[..., 0],
            )
            slope = naive.rate_slope(*given, NOISE, wide(weights), *moves, step=1e-4)
            steepness = np.sum(abs(d_amplitudes[b])) + np.sum(abs(d_digital[b]))
            along = d_amplitudes[b] @ moves[0] + np.vdot(d_digital[b], moves[1]).real
            agree(along, slope, max(close, 1e-6), 1 + steepness)


@MANY
@given(st.data(), sizes("K"), st.integers(0, 3), st.booleans())
def test_precoders(data: Any, size: list[int], more: int, extreme: bool) -> None:
    """Zero forcing and WMMSE: as the loops where those are stable; else the power, zero or NaN."""
    users, feeds = size[0], size[0] + more
    effective = data.draw(array(3, users, feeds, extreme=extreme))
    weights = data.draw(array(users, kind="r"))
    forced, rank = kernels.zero_forcing(effective, POWER, return_rank=True)
    swept = kernels.wmmse(effective, POWER, NOISE, weights, iterations=3)
    close = tolerance(effective)
    for b in range(3):
        g = wide(effective)[b]
        if np.isnan(g).any():
            assert np.isnan(forced[b]).all()
            assert np.isnan(swept[b]).all()
            assert rank[b] == 0
            continue
        with np.errstate(all="ignore"):
            tame = np.max(abs(g)) < 1e100 and np.min(abs(g[g != 0]), initial=1) > 1e-100
        if not tame:
            continue
        for precoder in (forced[b], swept[b]):
            spent = naive.frobenius(precoder.astype(complex).tolist())
            assert spent == pytest.approx(POWER, rel=1e-4) or spent == 0
        if np.linalg.cond(g) < 1e3:
            assert rank[b] == users
            agree(forced[b], naive.zero_forcing(g, POWER), 1e2 * close)
            if np.all(wide(weights) > 0):
                agree(swept[b], naive.wmmse(g, POWER, NOISE, wide(weights), 3), 1e2 * close)


@MANY
@given(st.data(), sizes("N", "L", "K"), st.sampled_from(["radiated", "digital"]))
def test_projections(data: Any, size: list[int], constraint: str) -> None:
    """Least squares as the loops solve it, where the columns are independent."""
    elements, feeds, users = size
    amplitudes = data.draw(array(3, elements, kind="r"))
    phase = data.draw(array(3, elements, feeds))
    precoder = data.draw(array(3, elements, users, extreme=data.draw(st.booleans())))
    digital = kernels.project(amplitudes, phase, precoder, POWER, constraint)
    close = tolerance(phase)
    for b in range(3):
        given = [wide(value)[b] for value in (amplitudes, phase, precoder)]
        single = np.complex64 if close > 1e-6 else np.complex128
        with np.errstate(all="ignore"):
            wanted = given[2].astype(single)
        if np.isnan(wanted).any():
            assert np.isnan(digital[b]).all()
            continue
        tame = finite(wanted) and np.max(abs(wanted)) < 1e15
        surface = given[0][:, None] * given[1]
        if tame and np.linalg.matrix_rank(surface) == feeds and np.linalg.cond(surface) < 1e3:
            expected = naive.project(*given[:2], wanted, POWER, constraint == "radiated")
            if np.max(abs(np.linalg.pinv(surface) @ wanted)) > 1e-6 * np.max(abs(wanted)):
                agree(digital[b], expected, 1e3 * close)


@MANY
@given(st.data(), sizes("K"))
def test_water_filling(data: Any, size: list[int]) -> None:
    """As bisection finds the level; never over the power, never under a floor that fits."""
    users = size[0]
    cost, floor, weights = (data.draw(array(3, users, kind="r")) for _ in range(3))
    cost = np.array(cost, dtype=float) + 0.1
    bad = data.draw(st.sampled_from([0.1, *(value for value in EXTREME if value >= 0), np.nan]))
    cost[1, data.draw(st.integers(0, users - 1))] = bad
    power = data.draw(st.sampled_from([1e-6, 0.5, 100.0]))
    received, feasible = kernels.water_filling(cost, power, NOISE, weights, floor)
    for b in range(3):
        if np.isnan(cost[b]).any():
            assert np.isnan(received[b]).all()
            assert not feasible[b]
            continue
        measurable = finite(cost[b]) and np.min(cost[b]) > 1e-300  # so that powers are
        if not (measurable and np.any(wide(weights)[b] > 0)):
            continue
        given = cost[b], power, NOISE, wide(weights)[b], wide(floor)[b]
        expected = oracle(naive.water_filling, *given)
        if expected is None or not finite(expected[0]):
            continue
        assert feasible[b] == expected[1]
        assert np.sum(received[b] * cost[b]) <= power * (1 + 1e-9)
        agree(received[b] * cost[b], np.array(expected[0]) * cost[b], 1e-8, power)
