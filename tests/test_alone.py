"""A user alone: beam and amplitudes in turns, and the bound on what such a user can have."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.problem import Problem
from hmimo_fast.solvers.found import highest_alone
from tests.naive import used_power

CONSTRAINTS = ("radiated", "digital")


def gains(channel: np.ndarray, phase: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """|h diag(m) Phi|^2 of every mask."""
    return np.sum(np.abs((masks * channel) @ phase) ** 2, axis=-1)


def test_digital_power_reaches_the_best_of_all_subsets_of_elements() -> None:
    """The gain is convex in m, so some subset of the elements is best."""
    surface = hf.Surface(shape=(3, 4), feeds=2)
    masks = np.array(list(product((0.0, 1.0), repeat=12)))
    channel = hf.channels.rayleigh(surface, users=1, size=20, seed=3)
    found = hf.solve(channel, surface.phase, 2.0, 0.5, constraint="digital")
    best = np.array([gains(h[0], surface.phase, masks).max() for h in channel])
    expected = np.log2(1.0 + 4.0 * best)
    assert (found.sum_rate <= expected * (1 + 1e-12)).all()
    assert np.mean(found.sum_rate > expected * (1 - 1e-9)) > 0.9
    assert np.isin(found.amplitudes, (0.0, 1.0)).all()
    assert found.converged.all()


def test_radiated_power_is_near_the_best_of_many_random_beams() -> None:
    """For a beam v the best gain is sum max(Re h_n x_n / |x_n|, 0)^2 with x = Phi v."""
    surface = hf.Surface(shape=(2, 3), feeds=2)
    channel = hf.channels.rayleigh(surface, users=1, size=10, seed=5)
    rng = np.random.default_rng(0)
    beams = rng.standard_normal((200_000, 2)) + 1j * rng.standard_normal((200_000, 2))
    fields = beams @ surface.phase.T
    fields /= np.abs(fields)
    found = hf.solve(channel, surface.phase, 1.0, 1.0)
    best = np.array([(np.maximum((h[0] * fields).real, 0.0) ** 2).sum(-1).max() for h in channel])
    share = (2.0**found.sum_rate - 1.0) / best
    assert share.mean() > 0.99
    assert share.max() > 0.9999  # nor is the formula above a bound that is out of reach


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_no_better_amplitudes_for_the_beam_that_is_returned(
    constraint: str, dtype: type[np.complexfloating]
) -> None:
    surface = hf.Surface(shape=(6, 6), feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=1, size=30, seed=8).astype(dtype)
    options = {} if constraint == "digital" else {"iterations": 600}
    found = hf.solve(channel, surface.phase, 1.0, 0.1, constraint=constraint, **options)
    power = [
        used_power(v, *((m, surface.phase) if constraint == "radiated" else ()))
        for m, v in zip(found.amplitudes, found.digital, strict=True)
    ]
    np.testing.assert_allclose(power, 1.0, rtol=1e-9 if dtype == np.complex128 else 1e-6)
    fields = (found.digital.swapaxes(-1, -2) @ surface.phase.T)[:, 0]
    heard = channel[:, 0] * fields
    reached = np.abs(np.sum(found.amplitudes * heard, axis=-1)) ** 2
    turn = np.conj(np.sum(found.amplitudes * heard, axis=-1, keepdims=True))
    helps = np.maximum((heard * turn).real / np.abs(turn), 0.0)
    if constraint == "digital":
        best = np.sum(helps, axis=-1) ** 2
    else:
        best = np.sum((helps / np.abs(fields)) ** 2, axis=-1)
    assert (best <= reached * 1.002).all()


@pytest.mark.parametrize("stuck", [False, True])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_backends_agree(constraint: str, stuck: bool, compiled: str) -> None:
    surface = hf.Surface(shape=(4, 5), feeds=3)
    channel = hf.channels.rayleigh(surface, users=1, size=5, seed=1)
    broken = np.full(20, np.nan)
    broken[[2, 7]] = 0.25, 1.0
    results = []
    for name in ("numpy", compiled):
        with hf.backend(name):
            results.append(
                hf.solve(
                    channel,
                    surface.phase,
                    1.0,
                    0.1,
                    constraint=constraint,
                    broken=broken if stuck else None,
                    mixed=False,
                    candidates=3,
                    zf_iterations=5,
                    iterations=18,
                )
            )
    expected, found = results
    np.testing.assert_allclose(found.sum_rate, expected.sum_rate, rtol=1e-9)
    np.testing.assert_allclose(found.amplitudes, expected.amplitudes, atol=1e-9)
    np.testing.assert_allclose(found.history, expected.history, rtol=1e-9)
    np.testing.assert_array_equal(found.iterations, expected.iterations)
    if stuck:
        assert (found.amplitudes[:, [2, 7]] == broken[[2, 7]]).all()
        assert (found.amplitudes >= 0.0).all()
        assert (found.amplitudes <= 1.0).all()


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_a_channel_of_zeros_has_no_rate(constraint: str) -> None:
    surface = hf.Surface(shape=(3, 3), feeds=2)
    channel = hf.channels.rayleigh(surface, users=1, size=3, seed=1)
    channel[1] = 0.0
    found = hf.solve(channel, surface.phase, 1.0, 0.1, constraint=constraint)
    assert found.sum_rate[1] == 0.0
    assert (found.sum_rate[[0, 2]] > 0.0).all()
    alone = hf.solve(channel[0], surface.phase, 1.0, 0.1, constraint=constraint)
    np.testing.assert_allclose(found.sum_rate[0], alone.sum_rate, rtol=1e-9)


@pytest.mark.parametrize("kind", ["amplitude", "lorentzian", "phase"])
@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_no_weights_give_a_user_more_than_its_bound(
    constraint: str, broken: bool, kind: str
) -> None:
    surface = hf.Surface(shape=(4, 4), feeds=3)
    channel = hf.channels.rician(surface, users=2, size=8, seed=2)
    stuck = np.where(np.arange(16) < 4, 1.0, np.nan) if broken else None
    if broken and kind != "amplitude":
        stuck = np.where(np.arange(16) < 4, 1j if kind == "lorentzian" else 1.0, np.nan + 0j)
    given = {"constraint": constraint, "elements": kind, "broken": stuck}
    bound = highest_alone(Problem.of(channel, surface.phase, 3.0, 0.2, **given))
    if constraint == "digital" and kind == "amplitude" and not broken:
        loose = np.linalg.norm(surface.phase, 2) ** 2 * np.sum(np.abs(channel) ** 2, axis=-1)
        assert (bound < np.log2(1.0 + 15.0 * loose) - 0.5).all()
    for k in range(2):
        found = hf.solve(channel[:, [k]], surface.phase, 3.0, 0.2, starts=3, **given)
        assert (found.sum_rate <= bound[:, k]).all()
