"""Every public kernel on every backend against plain loops, properties and hard cases."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hmimo_fast import kernels
from hmimo_fast.kernels import edge


class Precision(NamedTuple):
    complex: type
    real: type
    tolerance: float


DOUBLE = Precision(np.complex128, np.float64, 1e-10)
SINGLE = Precision(np.complex64, np.float32, 1e-4)

ELEMENTS = (1, 5, 36, 64)
PAIRS = [(users, feeds) for users in (1, 2, 3, 6, 8) for feeds in (1, 2, 4, 5, 7, 8)]
POWER = 1.7


class Link(NamedTuple):
    """The arguments of ``sum_rate``, in its order."""

    channel: np.ndarray
    amplitudes: np.ndarray
    phase: np.ndarray
    digital: np.ndarray
    noise_power: Any
    weights: np.ndarray


@pytest.fixture(params=[DOUBLE, SINGLE], ids=["double", "single"])
def precision(request: pytest.FixtureRequest) -> Precision:
    return request.param


def generator(*key: Any) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(key).encode()))


def gaussian(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / math.sqrt(2)


def draw(key: Any, elements: int, feeds: int, users: int, batch: tuple[int, ...] = ()) -> Link:
    rng = generator(key, elements, feeds, users, batch)
    return Link(
        gaussian(rng, *batch, users, elements) / math.sqrt(elements),
        rng.uniform(0.05, 1.0, (*batch, elements)),
        np.exp(2j * np.pi * rng.uniform(size=(elements, feeds))),
        gaussian(rng, *batch, feeds, users) / math.sqrt(feeds * users),
        rng.uniform(0.05, 0.5, batch) if batch else float(rng.uniform(0.05, 0.5)),
        rng.uniform(0.2, 2.0, (*batch, users)),
    )


def cast(link: Link, precision: Precision) -> Link:
    return Link(
        link.channel.astype(precision.complex),
        link.amplitudes.astype(precision.real),
        link.phase.astype(precision.complex),
        link.digital.astype(precision.complex),
        link.noise_power,
        link.weights,
    )


def conditioned(rng: np.random.Generator, users: int, feeds: int) -> np.ndarray:
    """A K x L matrix with singular values between 0.2 and 1."""
    left = np.linalg.qr(gaussian(rng, users, users))[0]
    right = np.linalg.qr(gaussian(rng, feeds, feeds))[0]
    rank = min(users, feeds)
    return left[:, :rank] * rng.uniform(0.2, 1.0, rank) @ right[:rank]


def agree(actual: Any, expected: Any, precision: Precision, condition: float = 1.0) -> None:
    """Equality relative to the largest magnitude, times the condition number squared.

    Double-precision Gram matrices leave single-precision results good to 1e-3 however bad
    the condition, so the allowance stops there.
    """
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    allowance = min(precision.tolerance * condition**2, 1e-3)
    error = np.max(np.abs(actual - expected), initial=0.0)
    assert error <= allowance * np.max(np.abs(expected), initial=0.0)


def same_bits(actual: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    for left, right in zip(actual, expected, strict=True):
        assert np.asarray(left).dtype == np.asarray(right).dtype
        assert np.shape(left) == np.shape(right)
        assert np.asarray(left).tobytes() == np.asarray(right).tobytes()


# -- every operation behind one interface ------------------------------------------------

CALLS: dict[str, Callable[..., Any]] = {
    "effective_channel": kernels.effective_channel,
    "sinr": kernels.sinr,
    "sum_rate": kernels.sum_rate,
    "sum_rate_gradient": kernels.sum_rate_gradient,
    "zero_forcing": partial(kernels.zero_forcing, return_rank=True),
    "wmmse": partial(kernels.wmmse, iterations=4),
    "max_min": kernels.max_min,
    "min_power": kernels.min_power,
    "water_filling": kernels.water_filling,
    "project": partial(kernels.project, constraint="radiated"),
    "project_digital": partial(kernels.project, constraint="digital"),
}


def arguments(name: str, link: Link) -> tuple[Any, ...]:
    """Array arguments of one operation, made from a link with K <= L."""
    rng = generator("arguments", link.channel.shape)
    batch, users = link.channel.shape[:-2], link.channel.shape[-2]
    effective = (link.channel * link.amplitudes[..., None, :]) @ link.phase
    surface = (link.channel.shape[-1], users)
    precoder = gaussian(rng, *batch, *surface).astype(link.channel.dtype)
    return {
        "effective_channel": link[:3],
        "sinr": link[:5],
        "sum_rate": link,
        "sum_rate_gradient": link,
        "zero_forcing": (effective, POWER),
        "wmmse": (effective, POWER, link.noise_power, link.weights),
        "max_min": (effective, POWER, link.noise_power, link.weights),
        "min_power": (effective, link.noise_power, rng.uniform(0.1, 2.0, (*batch, users))),
        "water_filling": (
            rng.uniform(0.1, 4.0, (*batch, users)),
            POWER,
            link.noise_power,
            link.weights,
            rng.uniform(0.0, 0.3, (*batch, users)),
        ),
        "project": (link.amplitudes, link.phase, precoder, POWER),
        "project_digital": (link.amplitudes, link.phase, precoder, POWER),
    }[name]


def call(name: str, given_arguments: tuple[Any, ...], **options: Any) -> tuple[Any, ...]:
    result = CALLS[name](*given_arguments, **options)
    return tuple(result) if isinstance(result, tuple) else (result,)


# -- against the oracle ------------------------------------------------------------------


@pytest.mark.parametrize("elements", ELEMENTS)
def test_effective_channel(backend: str, precision: Precision, elements: int) -> None:
    for users, feeds in PAIRS:
        link = cast(draw("link", elements, feeds, users), precision)
        actual = kernels.effective_channel(*link[:3])
        assert actual.dtype == precision.complex
        agree(actual, naive.effective_channel(*link[:3]), precision)


@pytest.mark.parametrize("elements", ELEMENTS)
def test_sinr_and_sum_rate(backend: str, precision: Precision, elements: int) -> None:
    for users, feeds in PAIRS:
        link = cast(draw("link", elements, feeds, users), precision)
        ratios = naive.sinr(*link[:5])
        actual = kernels.sinr(*link[:5])
        assert actual.dtype == precision.real
        agree(actual, ratios, precision)
        agree(kernels.sum_rate(*link), naive.weighted_rate(ratios, link.weights), precision)
        agree(kernels.sum_rate(*link[:5]), naive.weighted_rate(ratios), precision)


@pytest.mark.parametrize("elements", ELEMENTS)
def test_link_budget(backend: str, precision: Precision, elements: int) -> None:
    for users, feeds in PAIRS:
        link = cast(draw("link", elements, feeds, users, (5,)), precision)
        for radiated in (True, False):
            ratios, powers = edge.call("link_budget", link[:5], {"radiated": radiated})
            for item in range(5):
                one = [x if x is link.phase else x[item] for x in link[:5]]
                surface = one[1:3] if radiated else ()
                agree(ratios[item], naive.sinr(*one), precision)
                agree(powers[item], naive.used_power(one[3], *surface), precision)


@pytest.mark.parametrize("elements", ELEMENTS)
def test_zero_forcing_of_links(backend: str, precision: Precision, elements: int) -> None:
    for users, feeds in PAIRS:
        if users > min(feeds, elements):
            continue
        link = draw("link", elements, feeds, users)
        effective = (link.channel * link.amplitudes @ link.phase).astype(precision.complex)
        actual, rank = kernels.zero_forcing(effective, POWER, return_rank=True)
        assert actual.dtype == precision.complex
        assert rank == users
        condition = np.linalg.cond(effective)
        agree(actual, naive.zero_forcing(effective, POWER), precision, condition)
        agree(kernels.zero_forcing(effective, POWER), actual, precision)


def test_wmmse(backend: str, precision: Precision) -> None:
    for users, feeds in PAIRS:
        rng = generator("wmmse", users, feeds)
        effective = gaussian(rng, users, feeds).astype(precision.complex)
        weights = rng.uniform(0.2, 2.0, users)
        condition = np.linalg.cond(effective)
        for iterations in (0, 1, 5):
            expected = naive.wmmse(effective, POWER, 0.1, weights, iterations)
            actual = kernels.wmmse(effective, POWER, 0.1, weights, iterations=iterations)
            assert actual.dtype == precision.complex
            agree(actual, expected, precision, condition)
        unweighted = kernels.wmmse(effective, POWER, 0.1, iterations=3)
        agree(unweighted, naive.wmmse(effective, POWER, 0.1, None, 3), precision, condition)


def test_wmmse_runs_a_hundred_iterations_unless_told(backend: str) -> None:
    effective = conditioned(generator("default"), 3, 4)
    same_bits(
        (kernels.wmmse(effective, POWER, 0.1),),
        (kernels.wmmse(effective, POWER, 0.1, iterations=100),),
    )
    agree(
        kernels.wmmse(effective, POWER, 0.1),
        naive.wmmse(effective, POWER, 0.1, None, 100),
        DOUBLE,
        np.linalg.cond(effective),
    )


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("elements", ELEMENTS)
def test_project(backend: str, precision: Precision, elements: int, constraint: str) -> None:
    radiated = constraint == "radiated"
    for users, feeds in PAIRS:
        link = cast(draw("link", elements, feeds, users), precision)
        precoder = gaussian(generator(users, feeds), elements, users).astype(precision.complex)
        actual = kernels.project(
            link.amplitudes, link.phase, precoder, POWER, constraint=constraint
        )
        assert actual.dtype == precision.complex
        surface = np.asarray(naive.radiating(link.amplitudes, link.phase))
        if feeds <= elements:
            expected = naive.project(link.amplitudes, link.phase, precoder, POWER, radiated)
        else:
            v = np.linalg.pinv(surface, rcond=1e-6) @ precoder
            used = naive.used_power(v, link.amplitudes, link.phase if radiated else None)
            expected = v * math.sqrt(POWER / used)
        agree(actual, expected, precision, np.linalg.cond(surface))


def test_project_is_radiated_unless_told(backend: str) -> None:
    name, link = "project", draw("default", 16, 3, 2)
    amplitudes, phase, precoder, power = arguments(name, link)
    same_bits(
        (kernels.project(amplitudes, phase, precoder, power),),
        (kernels.project(amplitudes, phase, precoder, power, constraint="radiated"),),
    )


@pytest.mark.parametrize("users", range(1, 9))
def test_water_filling(backend: str, users: int) -> None:
    rng = generator("water", users)
    for trial in range(20):
        cost = 10.0 ** rng.uniform(-2, 2, users)
        noise = 10.0 ** rng.uniform(-2, 1)
        weights = rng.uniform(0.0, 2.0, users)
        floors = None if trial % 4 == 0 else rng.uniform(0.0, 0.2 * (trial % 4), users)
        expected, feasible = naive.water_filling(cost, POWER, noise, weights, floors)
        received, fits = kernels.water_filling(cost, POWER, noise, weights, floors)
        assert received.dtype == np.float64
        assert bool(fits) is feasible
        agree(received, expected, DOUBLE)


@pytest.mark.parametrize("part", [0.1, 1 - 1e-9, 1 + 1e-9, 5.0])
def test_water_filling_knows_what_the_power_reaches(backend: str, part: float) -> None:
    """Equal floors that need a given part of the power."""
    cost = np.array([0.5, 2.0, 1.0])
    rates = np.full(3, math.log2(1.0 + part * POWER / np.sum(cost)))
    received, feasible = kernels.water_filling(cost, POWER, 1.0, None, rates)
    assert feasible == (part < 1)
    agree(received, naive.water_filling(cost, POWER, 1.0, None, rates)[0], DOUBLE)


# -- properties --------------------------------------------------------------------------

seeds = st.integers(0, 2**32 - 1)
few = st.integers(1, 6)
links = st.builds(draw, seeds, st.sampled_from([1, 2, 5, 16]), few, few)


@given(link=links, seed=seeds)
def test_users_elements_and_feeds_can_be_permuted(backend: str, link: Link, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (users, elements), feeds = link.channel.shape, link.phase.shape[1]
    k, n, i = rng.permutation(users), rng.permutation(elements), rng.permutation(feeds)
    moved = Link(
        link.channel[k][:, n],
        link.amplitudes[n],
        link.phase[n][:, i],
        link.digital[i][:, k],
        link.noise_power,
        link.weights[k],
    )
    agree(
        kernels.effective_channel(*moved[:3]), kernels.effective_channel(*link[:3])[k][:, i], DOUBLE
    )
    agree(kernels.sinr(*moved[:5]), kernels.sinr(*link[:5])[k], DOUBLE)
    rate, d_amplitudes, d_digital = kernels.sum_rate_gradient(*link)
    agree(kernels.sum_rate_gradient(*moved)[0], rate, DOUBLE)
    agree(kernels.sum_rate_gradient(*moved)[1], d_amplitudes[n], DOUBLE)
    agree(kernels.sum_rate_gradient(*moved)[2], d_digital[i][:, k], DOUBLE)


@given(seed=seeds, users=few, extra=st.integers(0, 3))
def test_precoders_follow_permutations(backend: str, seed: int, users: int, extra: int) -> None:
    rng = np.random.default_rng(seed)
    effective = conditioned(rng, users, users + extra)
    weights, cost = rng.uniform(0.2, 2.0, users), rng.uniform(0.1, 4.0, users)
    floors = rng.uniform(0.0, 0.5, users)
    k, i = rng.permutation(users), rng.permutation(users + extra)
    moved = effective[k][:, i]
    agree(
        kernels.zero_forcing(moved, POWER),
        kernels.zero_forcing(effective, POWER)[i][:, k],
        DOUBLE,
        5.0,
    )
    agree(
        kernels.wmmse(moved, POWER, 0.1, weights[k], iterations=4),
        kernels.wmmse(effective, POWER, 0.1, weights, iterations=4)[i][:, k],
        DOUBLE,
        5.0,
    )
    received, fits = kernels.water_filling(cost, POWER, 0.3, weights, floors)
    turned, still_fits = kernels.water_filling(cost[k], POWER, 0.3, weights[k], floors[k])
    agree(turned, received[k], DOUBLE)
    assert fits == still_fits


@given(seed=seeds, users=few, feeds=few)
def test_projection_follows_permutations(backend: str, seed: int, users: int, feeds: int) -> None:
    link = draw(seed, 16, feeds, users)
    amplitudes, phase, precoder, power = arguments("project", link)
    rng = np.random.default_rng(seed)
    n, i, k = rng.permutation(16), rng.permutation(feeds), rng.permutation(users)
    agree(
        kernels.project(amplitudes[n], phase[n][:, i], precoder[n][:, k], power),
        kernels.project(amplitudes, phase, precoder, power)[i][:, k],
        DOUBLE,
        np.linalg.cond(amplitudes[:, None] * phase),
    )


@given(link=links, factor=st.floats(1e-3, 1.0))
def test_radiated_sum_rate_ignores_the_scale_of_the_amplitudes(
    backend: str, link: Link, factor: float
) -> None:
    def rate(amplitudes: np.ndarray) -> Any:
        used = naive.used_power(link.digital, amplitudes, link.phase)
        beams = link.digital * math.sqrt(POWER / used)
        return kernels.sum_rate(link.channel, amplitudes, link.phase, beams, *link[4:])

    agree(rate(factor * link.amplitudes), rate(link.amplitudes), DOUBLE)


@given(link=links, factor=st.floats(1e-3, 1e3))
def test_sinr_ignores_a_common_scale_of_power_and_noise(
    backend: str, link: Link, factor: float
) -> None:
    louder = kernels.sinr(*link[:3], factor * link.digital, factor**2 * link.noise_power)
    agree(louder, kernels.sinr(*link[:5]), DOUBLE)


@given(link=links, seed=seeds)
def test_a_users_carrier_phase_changes_nothing(backend: str, link: Link, seed: int) -> None:
    turn = np.exp(2j * np.pi * np.random.default_rng(seed).uniform(size=len(link.channel)))
    turned = link._replace(channel=link.channel * turn[:, None])
    agree(kernels.sinr(*turned[:5]), kernels.sinr(*link[:5]), DOUBLE)
    agree(kernels.sum_rate_gradient(*turned)[1], kernels.sum_rate_gradient(*link)[1], DOUBLE)


@given(seed=seeds, users=few, extra=st.integers(0, 3))
def test_precoders_undo_a_users_carrier_phase(
    backend: str, seed: int, users: int, extra: int
) -> None:
    rng = np.random.default_rng(seed)
    effective = conditioned(rng, users, users + extra)
    turn = np.exp(2j * np.pi * rng.uniform(size=users))
    turned = effective * turn[:, None]
    for precoder in (
        partial(kernels.zero_forcing, power=POWER),
        partial(kernels.wmmse, power=POWER, noise_power=0.1, iterations=4),
    ):
        agree(precoder(turned), precoder(effective) / turn, DOUBLE, 5.0)


@given(link=links, factor=st.floats(1.01, 100.0))
def test_more_noise_means_less_sinr(backend: str, link: Link, factor: float) -> None:
    quiet = kernels.sinr(*link[:5])
    noisy = kernels.sinr(*link[:4], factor * link.noise_power)
    assert np.all(noisy < quiet)
    assert kernels.sum_rate(*link[:4], factor * link.noise_power) < kernels.sum_rate(*link[:5])


@given(seed=seeds, users=few, extra=st.integers(0, 3), power=st.floats(1e-6, 1e6))
def test_zero_forcing_leaves_no_interference_and_uses_the_power(
    backend: str, seed: int, users: int, extra: int, power: float
) -> None:
    effective = conditioned(np.random.default_rng(seed), users, users + extra)
    precoder = kernels.zero_forcing(effective, power)
    assert np.sum(np.abs(precoder) ** 2) == pytest.approx(power, rel=1e-12)
    received = effective @ precoder
    agree(received, received[0, 0].real * np.eye(users), DOUBLE)
    assert received[0, 0].real > 0


@given(seed=seeds, users=few, extra=st.integers(0, 3), radiated=st.booleans())
def test_zero_forcing_serves_the_rate_of_its_closed_form(
    backend: str, seed: int, users: int, extra: int, radiated: bool
) -> None:
    """Under radiated power the precoder sees G S^(-1/2), S = Phi^H diag(m)^2 Phi."""
    link = draw(seed, 16, users + extra, users)
    surface = link.amplitudes[:, None] * link.phase
    root = np.linalg.cholesky(surface.conj().T @ surface) if radiated else np.eye(users + extra)
    whiten = np.linalg.inv(root).conj().T
    effective = kernels.effective_channel(*link[:3]) @ whiten
    digital = whiten @ kernels.zero_forcing(effective, POWER)
    agree(
        kernels.sum_rate(*link[:3], digital, link.noise_power),
        naive.equal_zero_forcing_rate(*link[:3], POWER, link.noise_power, radiated),
        DOUBLE,
        np.linalg.cond(effective),
    )
    inverse = np.linalg.inv(effective @ effective.conj().T)
    floors = np.full(users, 0.1)
    cost = np.diag(inverse).real
    received, _ = kernels.water_filling(cost, POWER, link.noise_power, link.weights, floors)
    beams = whiten @ effective.conj().T @ inverse * np.sqrt(received)
    agree(
        kernels.sum_rate(*link[:3], beams, *link[4:]),
        naive.zero_forcing_rate(*link[:3], POWER, link.noise_power, link.weights, floors, radiated),
        DOUBLE,
        np.linalg.cond(effective),
    )


@given(seed=seeds, users=few, feeds=few, noise=st.floats(1e-4, 10.0))
def test_wmmse_never_loses_rate_and_uses_the_power(
    backend: str, seed: int, users: int, feeds: int, noise: float
) -> None:
    rng = np.random.default_rng(seed)
    effective, weights = conditioned(rng, users, feeds), rng.uniform(0.2, 2.0, users)
    before = -math.inf
    for iterations in range(12):
        precoder = kernels.wmmse(effective, POWER, noise, weights, iterations=iterations)
        assert np.sum(np.abs(precoder) ** 2) == pytest.approx(POWER, rel=1e-12)
        ratios = naive.received_sinr(effective, precoder, noise)
        rate = naive.weighted_rate(ratios, weights)
        assert rate >= before - 1e-9 * abs(rate)
        before = rate


@given(seed=seeds, users=few, noise=st.floats(1e-3, 1e2), ask=st.floats(0.0, 2.0))
def test_water_filling_meets_the_optimality_conditions(
    backend: str, seed: int, users: int, noise: float, ask: float
) -> None:
    rng = np.random.default_rng(seed)
    cost = 10.0 ** rng.uniform(-2, 2, users)
    weights, floors = rng.uniform(0.2, 2.0, users), rng.uniform(0.0, ask, users)
    least = (2.0**floors - 1.0) * noise
    received, feasible = kernels.water_filling(cost, POWER, noise, weights, floors)
    assert feasible == (least @ cost <= POWER)
    assert received @ cost == pytest.approx(POWER, rel=1e-12)
    if not feasible:
        agree(received / received[0], least / least[0], DOUBLE)
        return
    assert np.all(received >= least * (1 - 1e-12))
    level = (received + noise) * cost / weights
    raised = received > least + 1e-9 * POWER / cost
    assert np.any(raised) or least @ cost == pytest.approx(POWER, rel=1e-6)
    if np.any(raised):
        agree(level[raised], np.full(raised.sum(), level[raised][0]), DOUBLE)
        assert np.all(level[~raised] >= level[raised][0] * (1 - 1e-6))


# -- hard cases --------------------------------------------------------------------------


def test_one_user(backend: str, precision: Precision) -> None:
    for feeds in range(1, 9):
        row = gaussian(generator("one", feeds), 1, feeds).astype(precision.complex)
        matched = row.conj().T / np.linalg.norm(row) * math.sqrt(POWER)
        agree(kernels.zero_forcing(row, POWER), matched, precision)
        for iterations in (0, 1, 7):
            beam = kernels.wmmse(row, POWER, 0.1, iterations=iterations)
            agree(beam, matched, precision)
        received, feasible = kernels.water_filling(np.array([0.3]), POWER, 0.1)
        assert feasible
        agree(received, [POWER / 0.3], DOUBLE)


def test_as_many_users_as_feeds(backend: str, precision: Precision) -> None:
    for count in range(1, 9):
        square = conditioned(generator("square", count), count, count)
        inverse = np.linalg.inv(square)
        expected = inverse * math.sqrt(POWER) / np.linalg.norm(inverse)
        agree(kernels.zero_forcing(square.astype(precision.complex), POWER), expected, precision, 5)


def test_more_users_than_feeds(backend: str, precision: Precision) -> None:
    wide = gaussian(generator("wide"), 5, 3).astype(precision.complex)
    with pytest.raises(ValueError, match=r"effective_channel.*5.*3|K > L"):
        kernels.zero_forcing(wide, POWER)
    with pytest.raises(ValueError, match="effective_channel"):
        kernels.zero_forcing(np.stack([wide, wide]), POWER)
    precoder = kernels.wmmse(wide, POWER, 0.1, iterations=20)
    agree(np.sum(np.abs(precoder) ** 2), POWER, precision)


def deficient(kind: str, users: int, feeds: int) -> np.ndarray:
    rng = generator("deficient", kind, users, feeds)
    matrix = conditioned(rng, users, feeds)
    if kind == "duplicate rows":
        matrix[1] = matrix[0]
    elif kind == "scaled rows":
        matrix[-1] = -0.5j * matrix[0]
    elif kind == "zero row":
        matrix[users // 2] = 0.0
    elif kind == "two zero rows":
        matrix[[0, users - 1]] = 0.0
    elif kind == "rank one":
        matrix = gaussian(rng, users, 1) @ gaussian(rng, 1, feeds)
    elif kind == "zero":
        matrix[:] = 0.0
    return matrix


KINDS = ("duplicate rows", "scaled rows", "zero row", "two zero rows", "rank one", "zero", "full")


@pytest.mark.parametrize("scale", [1.0, 3e-9])
@pytest.mark.parametrize("kind", KINDS)
def test_rank_deficient(backend: str, precision: Precision, kind: str, scale: float) -> None:
    for users, feeds in ((2, 2), (3, 4), (4, 4), (6, 6), (5, 8), (8, 8)):
        matrix = (scale * deficient(kind, users, feeds)).astype(precision.complex)
        inverse = np.linalg.pinv(matrix.astype(np.complex128), rcond=1e-5)
        norm = np.linalg.norm(inverse)
        expected = inverse * (math.sqrt(POWER) / norm if norm > 0 else 0.0)
        actual, rank = kernels.zero_forcing(matrix, POWER, return_rank=True)
        assert rank == np.linalg.matrix_rank(matrix)
        kept = np.linalg.svd(matrix, compute_uv=False)[: int(rank)]
        condition = kept[0] / kept[-1] if rank else 1.0
        agree(actual, expected, precision, condition)


NEARLY_DEPENDENT = [
    *((DOUBLE, gap, 3) for gap in (1e-3, 1e-6, 1e-9, 1e-13)),
    (DOUBLE, 1e-17, 2),
    *((SINGLE, gap, 3) for gap in (1e-3, 1e-5)),
    (SINGLE, 1e-8, 2),
]


@pytest.mark.parametrize(("kind", "gap", "rank"), NEARLY_DEPENDENT)
def test_nearly_dependent_users(backend: str, kind: Precision, gap: float, rank: int) -> None:
    """The rank is NumPy's in the precision of the channel."""
    rng = generator("near", gap)
    matrix = conditioned(rng, 3, 4)
    matrix[1] = matrix[0] + gap * gaussian(rng, 4)
    matrix = matrix.astype(kind.complex)
    assert np.linalg.matrix_rank(matrix) == rank
    assert kernels.zero_forcing(matrix, POWER, return_rank=True)[1] == rank


def test_near_and_far_users(backend: str, precision: Precision) -> None:
    """Gains 78 dB apart; powers of two keep single precision exact."""
    effective = conditioned(generator("far"), 4, 5).astype(precision.complex)
    gains = 2.0 ** np.array([-5, 0, -13, -9]).astype(precision.real)
    expected = naive.zero_forcing(effective, POWER) / gains
    expected *= math.sqrt(POWER) / np.linalg.norm(expected)
    far = effective * gains[:, None]
    precoder, rank = kernels.zero_forcing(far, POWER, return_rank=True)
    assert rank == 4
    agree(precoder, expected, precision, 5.0)
    agree(
        kernels.wmmse(far, POWER, 1e-8, iterations=5),
        naive.wmmse(far, POWER, 1e-8, None, 5),
        precision,
        5.0,
    )


@pytest.mark.parametrize("zeros", [(0,), (1, 2), (0, 1, 2)], ids=["one", "two", "all"])
def test_zero_channels(backend: str, precision: Precision, zeros: tuple[int, ...]) -> None:
    link = cast(draw("zero", 16, 4, 3), precision)
    link.channel[list(zeros)] = 0.0
    ratios = kernels.sinr(*link[:5])
    agree(ratios, naive.sinr(*link[:5]), precision)
    assert np.all(ratios[list(zeros)] == 0.0)
    agree(kernels.sum_rate(*link), naive.sum_rate(*link), precision)
    for array in kernels.sum_rate_gradient(*link):
        assert np.all(np.isfinite(array))
    effective = kernels.effective_channel(*link[:3])
    precoder = kernels.wmmse(effective, POWER, 0.1, link.weights, iterations=10)
    assert np.all(precoder[:, list(zeros)] == 0.0)
    agree(np.sum(np.abs(precoder) ** 2), POWER if len(zeros) < 3 else 0.0, precision)


def test_all_elements_off(backend: str, precision: Precision) -> None:
    link = cast(draw("off", 16, 4, 3), precision)
    link.amplitudes[:] = 0.0
    assert np.all(kernels.sinr(*link[:5]) == 0.0)
    rate, d_amplitudes, d_digital = kernels.sum_rate_gradient(*link)
    assert rate == 0.0
    assert np.all(d_amplitudes == 0.0)
    assert np.all(d_digital == 0.0)
    for constraint in ("radiated", "digital"):
        precoder = arguments("project", link)[2]
        projected = kernels.project(
            link.amplitudes, link.phase, precoder, POWER, constraint=constraint
        )
        assert np.all(projected == 0.0)


@pytest.mark.parametrize("noise", [2e-12, 1e-16, 1e-20])
def test_path_gain_of_minus_170_db(backend: str, precision: Precision, noise: float) -> None:
    base = draw("faint", 64, 6, 6)
    faint = base._replace(channel=3e-9 * base.channel, noise_power=noise)
    link = cast(faint, precision)
    agree(kernels.effective_channel(*link[:3]), naive.effective_channel(*link[:3]), precision)
    agree(kernels.sinr(*link[:5]), naive.sinr(*link[:5]), precision)
    expected = naive.sum_rate(*link)
    agree(kernels.sum_rate(*link), expected, precision)
    rate, d_amplitudes, d_digital = kernels.sum_rate_gradient(*link)
    agree(rate, expected, precision)
    rng = generator("faint direction")
    for _ in range(3):
        dm, dv = rng.standard_normal(64) / 64, gaussian(rng, 6, 6) / 36
        slope = float(dm @ d_amplitudes + np.vdot(d_digital, dv).real)
        expected_slope = naive.rate_slope(*link, dm, dv)
        size = np.linalg.norm(d_amplitudes) / 64 + np.linalg.norm(d_digital) / 36
        assert abs(slope - expected_slope) <= max(precision.tolerance, 1e-9) * size
    effective = conditioned(rng, 6, 6) * 3e-9
    effective = effective.astype(precision.complex)
    agree(
        kernels.zero_forcing(effective, POWER), naive.zero_forcing(effective, POWER), precision, 5
    )
    agree(
        kernels.wmmse(effective, POWER, noise, iterations=3),
        naive.wmmse(effective, POWER, noise, None, 3),
        precision,
        5,
    )
    cost = rng.uniform(0.5, 2.0, 6) / 9e-18
    received, _ = kernels.water_filling(cost, POWER, noise)
    agree(received, naive.water_filling(cost, POWER, noise)[0], DOUBLE)


def test_one_element(backend: str, precision: Precision) -> None:
    link = cast(draw("element", 1, 3, 2), precision)
    agree(kernels.sinr(*link[:5]), naive.sinr(*link[:5]), precision)
    effective = kernels.effective_channel(*link[:3])
    precoder, rank = kernels.zero_forcing(effective, POWER, return_rank=True)
    assert rank == 1
    inverse = np.linalg.pinv(effective.astype(np.complex128), rcond=1e-5)
    agree(precoder, inverse * math.sqrt(POWER) / np.linalg.norm(inverse), precision)


def test_4096_elements(backend: str, precision: Precision) -> None:
    link = cast(draw("large", 4096, 4, 3), precision)
    agree(kernels.effective_channel(*link[:3]), naive.effective_channel(*link[:3]), precision)
    agree(kernels.sinr(*link[:5]), naive.sinr(*link[:5]), precision)
    rate, d_amplitudes, d_digital = kernels.sum_rate_gradient(*link)
    agree(rate, naive.sum_rate(*link), precision)
    rng = generator("large direction")
    dm, dv = rng.standard_normal(4096) / 64, gaussian(rng, 4, 3)
    slope = float(dm @ d_amplitudes + np.vdot(d_digital, dv).real)
    size = np.linalg.norm(d_amplitudes) + np.linalg.norm(d_digital)
    assert abs(slope - naive.rate_slope(*link, dm, dv)) <= max(precision.tolerance, 1e-9) * size
    amplitudes, phase, precoder, power = arguments("project", link)
    agree(
        kernels.project(amplitudes, phase, precoder, power),
        naive.project(amplitudes, phase, precoder, power),
        precision,
        2.0,
    )


def test_every_snr_keeps_its_digits(backend: str, precision: Precision) -> None:
    """Orthogonal users have closed forms, from -80 to +140 dB."""
    rng = generator("digits")
    for exponent in range(-8, 15):
        channel = np.diag(gaussian(rng, 4)).astype(precision.complex)
        amplitudes = rng.uniform(0.5, 1.0, 4).astype(precision.real)
        digital = np.diag(gaussian(rng, 4)).astype(precision.complex)
        phase = np.eye(4, dtype=precision.complex)
        noise = 10.0**-exponent
        gain = np.abs(np.diag(channel).astype(complex) * amplitudes * np.diag(digital)) ** 2
        ratio = gain / noise
        link = Link(channel, amplitudes, phase, digital, noise, np.ones(4))
        actual = kernels.sinr(*link[:5])
        np.testing.assert_allclose(actual, ratio, rtol=precision.tolerance)
        rate = np.sum(np.log1p(ratio)) / math.log(2)
        slope = 2 / math.log(2) * ratio / (1 + ratio)
        value, d_amplitudes, d_digital = kernels.sum_rate_gradient(*link)
        for result in (value, kernels.sum_rate(*link)):
            np.testing.assert_allclose(result, rate, rtol=precision.tolerance)
        np.testing.assert_allclose(d_amplitudes, slope / amplitudes, rtol=precision.tolerance)
        np.testing.assert_allclose(
            np.diag(d_digital),
            slope * np.diag(digital) / np.abs(np.diag(digital)) ** 2,
            rtol=precision.tolerance,
        )


def test_zero_weights_ask_for_nothing(backend: str) -> None:
    link = draw("weights", 16, 4, 3)._replace(weights=np.array([1.0, 0.0, 2.0]))
    agree(kernels.sum_rate(*link), naive.sum_rate(*link), DOUBLE)
    effective = kernels.effective_channel(*link[:3])
    precoder = kernels.wmmse(effective, POWER, 0.1, link.weights, iterations=30)
    assert np.all(precoder[:, 1] == 0.0)
    received, feasible = kernels.water_filling(np.ones(3), POWER, 0.1, link.weights, np.ones(3))
    assert feasible
    agree(
        received, naive.water_filling(np.ones(3), POWER, 0.1, link.weights, np.ones(3))[0], DOUBLE
    )


# -- batches, layouts, threads -----------------------------------------------------------


def test_concurrent_calls(
    backend: str, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmimo_fast.kernels.edge._SLICE", 1)
    jobs = [
        (name, arguments(name, cast(draw(("concurrent", i), 16 + i, 4, 3, (7,)), precision)))
        for i in range(4)
        for name in CALLS
    ]
    expected = [call(*job) for job in jobs]

    def work(index: int) -> tuple[Any, ...]:
        with kernels.backend(backend):
            return call(*jobs[index], threads=2)

    with ThreadPoolExecutor(8) as pool:
        for index, result in enumerate(pool.map(work, [*range(len(jobs))] * 3)):
            same_bits(result, expected[index % len(jobs)])
