"""Elements other than amplitudes: gradients, loops, states, stuck elements and direct channels.

The oracles are plain NumPy, finite differences and brute force; `tests/test_kernels.py` and
`tests/test_reach.py` compare the backends over the whole table.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hmimo_fast as hf
from hmimo_fast.kernels.edge import call
from hmimo_fast.problem import Problem
from hmimo_fast.solvers import levels

CIRCLES = {"lorentzian": (0.5j, 0.5), "phase": (0.0, 1.0)}
METHODS = ("joint", "zf", "wmmse_hbf", "zf_hbf", "alternating", "random")
SURFACE = hf.Surface(shape=(5, 4), feeds=4)
BITS = {bits: np.exp(2j * np.pi * np.arange(2**bits) / 2**bits) for bits in (1, 2, 3)}


def drawn(users=3, size=3, seed=0, surface=SURFACE):
    return hf.channels.sparse_mmwave(surface, users=users, size=size, seed=seed)


def weights_of(name, seed=0, shape=(3, SURFACE.elements)):
    centre, radius = CIRCLES[name]
    turns = np.exp(2j * np.pi * np.random.default_rng(seed).random(shape))
    return centre + radius * turns


def beams_of(users=3, size=3, seed=0):
    rng = np.random.default_rng(seed)
    shape = size, SURFACE.feed_count, users
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def plain_rate(effective, digital, noise_power):
    """Sum rate of beams over an effective channel, by the definition."""
    power = np.abs(effective @ digital) ** 2
    signal = np.diagonal(power, axis1=-2, axis2=-1)
    return np.log2(1.0 + signal / (noise_power + power.sum(axis=-1) - signal)).sum(axis=-1)


def radiated_power(weights, phase, digital):
    return np.sum(np.abs((weights[..., None] * phase) @ digital) ** 2, axis=(-2, -1))


def on_circle(name, weights, within):
    centre, radius = CIRCLES[name]
    return np.abs(np.abs(weights - centre) - radius).max() <= within


# ------------------------------------------------------------------ kernels at complex weights


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("single", [False, True])
def test_the_rate_is_that_of_the_definition(backend, single):
    channel, weights, beams = drawn(), weights_of("phase"), beams_of()
    effective = (channel * weights[:, None]) @ SURFACE.phase
    if single:
        channel = channel.astype(np.complex64)
    with hf.backend(backend):
        assert hf.effective_channel(channel, weights, SURFACE.phase).dtype == channel.dtype
        rate = hf.sum_rate(channel, weights, SURFACE.phase, beams, 0.3)
    np.testing.assert_allclose(
        rate, plain_rate(effective, beams, 0.3), rtol=1e-4 if single else 1e-12
    )


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("operator", ["sum_rate", "best"])
@pytest.mark.parametrize("radiated", [False, True])
def test_the_gradient_is_that_of_finite_differences(backend, operator, radiated):
    """dR = Re conj(g) dq, along the real and the imaginary axis of single elements."""
    channel, beams = drawn(), beams_of()
    weights = 0.8 * weights_of("phase")

    def rate_and_gradient(q):
        if operator == "sum_rate":
            return call("sum_rate_gradient", (channel, q, SURFACE.phase, beams, 0.3, None))[:2]
        given_ = channel, q, SURFACE.phase, beams, 1.0, 0.3, None
        rate, _, gradient = call("wmmse_gradient", given_, {"radiated": radiated, "sweeps": 0})
        return rate, gradient

    with hf.backend(backend):
        gradient = rate_and_gradient(weights)[1]
        assert gradient.dtype == np.complex128
        for element, along in product((0, 7), (1e-6, 1e-6j)):
            step = np.zeros(SURFACE.elements, complex)
            step[element] = along
            ahead, behind = (rate_and_gradient(weights + s)[0] for s in (step, -step))
            slope = (np.conj(gradient[:, element]) * along).real
            np.testing.assert_allclose(0.5 * (ahead - behind), slope, atol=1e-8 * 1e-6 + 1e-14)


def test_real_weights_are_complex_ones_off_the_imaginary_axis():
    """Amplitudes as complex numbers give the same rate, and the gradient's real part."""
    channel, beams = drawn(), beams_of()
    amplitudes = np.random.default_rng(1).random((3, SURFACE.elements))
    rest = SURFACE.phase, beams, 0.3, None
    real = call("sum_rate_gradient", (channel, amplitudes, *rest))
    complex_ = call("sum_rate_gradient", (channel, amplitudes + 0j, *rest))
    assert real[1].dtype == np.float64
    np.testing.assert_allclose(complex_[0], real[0], rtol=1e-12)
    np.testing.assert_allclose(complex_[1].real, real[1], rtol=1e-9, atol=1e-12)


def test_weights_outside_the_disc_are_refused():
    with pytest.raises(
        ValueError, match=r"amplitudes: expected values in the unit disc, got .1\.5"
    ):
        hf.effective_channel(drawn(), np.full(SURFACE.elements, 1.5 + 0j), SURFACE.phase)


# ------------------------------------------------------------------ solving


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("name", CIRCLES)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_returned_is_true(method, name, constraint, single):
    channel = drawn().astype(np.complex64 if single else complex)
    found = hf.solve(channel, SURFACE.phase, 2.0, 0.1, method, constraint, elements=name)
    tolerance = 1e-5 if single else 1e-9
    assert found.amplitudes.dtype == channel.dtype
    assert on_circle(name, found.amplitudes, tolerance)
    spent = radiated_power(
        found.amplitudes.astype(complex), SURFACE.phase, found.digital.astype(complex)
    )
    if constraint == "digital":
        spent = np.sum(np.abs(found.digital.astype(complex)) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(spent, 2.0, rtol=tolerance)
    np.testing.assert_allclose(found.power_used, spent, rtol=1e-12)
    effective = (channel * found.amplitudes[:, None]) @ SURFACE.phase
    np.testing.assert_allclose(
        found.sum_rate, plain_rate(effective, found.digital, 0.1), rtol=1e-4 if single else 1e-9
    )


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("name", CIRCLES)
def test_single_precision_finds_the_same_rates(name, constraint):
    channel = drawn(size=20)
    how = {"constraint": constraint, "elements": name, "noise_power": 0.1}
    double = hf.solve(channel, SURFACE.phase, **how)
    single = hf.solve(channel.astype(np.complex64), SURFACE.phase, **how)
    np.testing.assert_allclose(single.sum_rate.mean(), double.sum_rate.mean(), rtol=1e-3)


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_more_freedom_reaches_more(constraint):
    """Means over draws: amplitudes below Lorentzian elements below phases."""
    channel = drawn(size=40)
    rates = [
        hf.solve(
            channel, SURFACE.phase, 1.0, 0.1, constraint=constraint, elements=name
        ).sum_rate.mean()
        for name in ("amplitude", "lorentzian", "phase")
    ]
    assert rates[0] < rates[1] < rates[2]


@pytest.mark.parametrize("name", CIRCLES)
def test_one_user_of_one_feed_is_solved_in_closed_form(name):
    """Under digital power the best weights add in phase, at the best common phase of a grid."""
    surface = hf.Surface(shape=(3, 3), feeds=1)
    channel = hf.channels.rayleigh(surface, users=1, size=5, seed=2)
    found = hf.solve(channel, surface.phase, 1.0, 0.1, constraint="digital", elements=name)
    paths = channel[:, 0] * surface.phase[:, 0]
    centre, radius = CIRCLES[name]
    turns = np.exp(1j * np.linspace(0, 2 * np.pi, 20_001))[:, None, None]
    # At a common phase t the best weight of each path is c + rho exp(j (t - arg path)).
    reached = np.abs(np.sum(paths * centre + radius * np.abs(paths) * turns, axis=-1)).max(axis=0)
    best = np.log2(1.0 + reached**2 / 0.1)
    np.testing.assert_allclose(found.sum_rate, best, rtol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(list(CIRCLES)), radiated=st.booleans())
def test_wmmse_hbf_never_falls(seed, name, radiated):
    channel = drawn(size=2, seed=seed)
    constraint = "radiated" if radiated else "digital"
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, "wmmse_hbf", constraint, elements=name)
    steps = np.diff(found.history, axis=-1)
    assert (steps[np.isfinite(steps)] >= -1e-9).all()


def test_a_rotation_of_the_phases_changes_nothing():
    """q exp(j t) with V exp(-j t) is the same link, so a rotated start reaches the same."""
    channel = drawn(size=8)
    start = weights_of("phase", shape=(8, SURFACE.elements))
    how = {"elements": "phase", "zf_iterations": 0, "iterations": 40}
    one = hf.solve(channel, SURFACE.phase, 1.0, 0.1, start=start, **how)
    other = hf.solve(channel, SURFACE.phase, 1.0, 0.1, start=1j * start, **how)
    np.testing.assert_allclose(one.sum_rate, other.sum_rate, rtol=1e-5)


@pytest.mark.parametrize("name", CIRCLES)
def test_more_users_than_feeds_and_minimum_rates(name):
    channel = drawn(users=6, size=5)
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.01, elements=name)
    assert np.isfinite(found.sum_rate).all()
    floored = hf.solve(drawn(), SURFACE.phase, 1.0, 0.01, min_rate=1.0, elements=name)
    assert floored.feasible.all()
    assert (floored.rates >= 1.0 - 1e-9).all()
    assert (floored.common_rate >= 1.0).all()


def test_one_weight_vector_for_several_channels():
    channel = drawn(size=4)
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements="phase", shared=True)
    assert found.amplitudes.shape == (SURFACE.elements,)
    effective = (channel * found.amplitudes) @ SURFACE.phase
    np.testing.assert_allclose(
        found.sum_rate, plain_rate(effective, found.digital, 0.1).sum(), rtol=1e-9
    )


def test_threads_change_no_bit():
    channel = drawn(size=70)
    one, two = (
        hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements="lorentzian", threads=n) for n in (1, 2)
    )
    assert one.amplitudes.tobytes() == two.amplitudes.tobytes()


@pytest.mark.parametrize("starts", [1, 3])
def test_starts_are_random_angles(starts):
    """More starts reach no less, and the same seed the same bits."""
    channel, rates = drawn(size=6), []
    for count in (starts, starts, starts + 2):
        found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements="phase", starts=count, seed=4)
        rates.append(found.sum_rate)
    assert rates[0].tobytes() == rates[1].tobytes()
    assert (rates[2] >= rates[0]).all()


def test_a_start_off_the_circle_is_refused():
    start = np.full(SURFACE.elements, 0.5 + 0j)
    with pytest.raises(ValueError, match="start: expected values on the circle around 0"):
        hf.solve(drawn(), SURFACE.phase, elements="phase", start=start)
    with pytest.raises(TypeError, match="start: expected real numbers, got dtype complex128"):
        hf.solve(drawn(), SURFACE.phase, start=start)


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ({"elements": "switch"}, "elements: expected one of 'amplitude', 'lorentzian', 'phase'"),
        ({"elements": [1.5]}, "elements: expected states in the unit disc"),
        ({"elements": [0.0]}, "elements: expected states in the unit disc, not all 0"),
        ({"elements": [[1.0]]}, r"elements: expected a name or states \(S,\)"),
        ({"elements": "phase", "levels": 2}, "levels: expected elements 'amplitude'"),
        ({"elements": [1.0, -1.0], "levels": 2}, "levels: expected elements 'amplitude'"),
        ({"elements": "phase", "method": "mbdnn"}, "elements: expected 'amplitude'"),
        ({"elements": "phase", "method": "fully_digital"}, "elements: expected 'amplitude'"),
        ({"broken": np.full(3, np.nan)}, r"broken: expected \(\.\.\., N\) with N = 20"),
        ({"broken": np.full(20, 1.5)}, r"broken: expected NaN or values in \[0, 1\], got 1\.5"),
        ({"broken": np.full(20, np.nan), "method": "fully_digital"}, "broken: expected a method"),
        ({"direct": np.ones((3, 4))}, "direct: expected constraint 'digital'"),
        (
            {"direct": np.ones((2, 4)), "constraint": "digital"},
            r"direct: expected \(\.\.\., K, L\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(how, match):
    with pytest.raises(ValueError, match=match):
        hf.solve(drawn(), SURFACE.phase, **how)


# ------------------------------------------------------------------ states


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("states", [BITS[1], BITS[2], [0.0, 1.0], [0.1, 0.9j, -0.4 + 0.2j]])
def test_states_are_kept_to(states, constraint):
    found = hf.solve(drawn(), SURFACE.phase, 1.0, 0.1, constraint=constraint, elements=states)
    distance = np.abs(found.amplitudes[..., None] - np.asarray(states))
    assert distance.min(axis=-1).max() < 1e-12
    effective = (drawn() * found.amplitudes[:, None]) @ SURFACE.phase
    np.testing.assert_allclose(found.sum_rate, plain_rate(effective, found.digital, 0.1), rtol=1e-9)


def test_real_states_are_levels():
    channel = drawn()
    levels = hf.solve(channel, SURFACE.phase, 1.0, 0.1, levels=2)
    states = hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements=np.linspace(0, 1, 4))
    assert levels.amplitudes.tobytes() == states.amplitudes.tobytes()


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_states_come_close_to_the_best_of_all(constraint):
    """Brute force over every setting of eight elements of two phases, beams by the kernels."""
    surface = hf.Surface(shape=(4, 2), feeds=2)
    channel = hf.channels.rayleigh(surface, users=2, size=6, seed=5)
    found = hf.solve(channel, surface.phase, 1.0, 0.1, constraint=constraint, elements=BITS[1])
    best = np.full(6, -np.inf)
    for signs in product((1.0 + 0j, -1.0 + 0j), repeat=7):  # the first is free
        setting = np.array([1.0, *signs])[None]
        given_ = channel[:, None], setting, surface.phase[None], 1.0, 0.1, None, None
        options = {"radiated": constraint == "radiated", "sweeps": 100}
        best = np.maximum(best, call("best_beams", given_, options)[1])
    assert (found.sum_rate <= best * (1 + 1e-6)).all()
    assert found.sum_rate.mean() >= 0.97 * best.mean()


def test_more_bits_reach_more():
    channel = drawn(size=30)
    rates = [
        hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements=states).sum_rate.mean()
        for states in (BITS[1], BITS[2], BITS[3], "phase")
    ]
    assert rates == sorted(rates)
    assert rates[2] > 0.97 * rates[3]


# ------------------------------------------------------------------ stuck elements and direct paths


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("elements", ["amplitude", "phase", BITS[2]])
def test_broken_elements_stay(elements, method, constraint):
    broken = np.full(SURFACE.elements, np.nan)
    broken[[2, 11]] = 0.0, 0.6
    found = hf.solve(
        drawn(), SURFACE.phase, 1.0, 0.1, method, constraint, elements=elements, broken=broken
    )
    assert (found.amplitudes[:, [2, 11]] == [0.0, 0.6]).all()
    effective = (drawn() * found.amplitudes[:, None]) @ SURFACE.phase
    np.testing.assert_allclose(found.sum_rate, plain_rate(effective, found.digital, 0.1), rtol=1e-9)


def test_working_elements_are_refined_beside_broken_ones():
    """No other state of a single working element reaches more."""
    channel, broken = drawn(), np.full(SURFACE.elements, np.nan)
    broken[[2, 11]] = 0.0, 0.6
    found = hf.solve(channel, SURFACE.phase, 1.0, 0.1, elements=BITS[1], broken=broken)
    for element in np.flatnonzero(np.isnan(broken)):
        other = found.amplitudes.copy()
        other[:, element] *= -1.0
        given_ = channel[:, None], other, SURFACE.phase[None], 1.0, 0.1, None, None
        rate = call("best_beams", given_, {"sweeps": 10})[1]
        assert (rate <= (1.0 + 1e-5) * found.sum_rate).all()


def test_no_broken_elements_change_no_bit():
    """Under digital power, where the bounds stay the same; under radiated power a broken
    element bounds them by one, so that only no argument at all is the same."""
    channel, working = drawn(), np.full(SURFACE.elements, np.nan)
    how = {"constraint": "digital", "noise_power": 0.1}
    one = hf.solve(channel, SURFACE.phase, **how)
    other = hf.solve(channel, SURFACE.phase, broken=working, **how)
    assert one.digital.tobytes() == other.digital.tobytes()


@pytest.mark.parametrize("elements", ["amplitude", "lorentzian", "phase", BITS[2]])
@pytest.mark.parametrize("method", METHODS)
def test_a_direct_channel_adds_to_the_surface(method, elements):
    channel = drawn()
    rng = np.random.default_rng(3)
    direct = rng.normal(size=(3, 3, 4)) + 1j * rng.normal(size=(3, 3, 4))
    found = hf.solve(
        channel, SURFACE.phase, 1.0, 0.1, method, "digital", elements=elements, direct=direct
    )
    assert found.amplitudes.shape == (3, SURFACE.elements)
    effective = (channel * found.amplitudes[:, None]) @ SURFACE.phase + direct
    np.testing.assert_allclose(found.sum_rate, plain_rate(effective, found.digital, 0.1), rtol=1e-9)
    if method == "joint":
        alone = hf.solve(channel, SURFACE.phase, 1.0, 0.1, method, "digital", elements=elements)
        assert found.sum_rate.mean() > alone.sum_rate.mean()


def test_a_dark_surface_leaves_the_direct_channel():
    """With a zero channel over the surface the rate is that of WMMSE on D alone."""
    rng = np.random.default_rng(3)
    direct = rng.normal(size=(4, 3, 4)) + 1j * rng.normal(size=(4, 3, 4))
    channel = np.zeros((4, 3, SURFACE.elements), complex)
    found = hf.solve(
        channel, SURFACE.phase, 1.0, 0.1, constraint="digital", elements="phase", direct=direct
    )
    beams = hf.wmmse(direct, 1.0, 0.1, iterations=500)
    assert (found.sum_rate >= 0.98 * plain_rate(direct, beams, 0.1)).all()


# ------------------------------------------------------------------ schedules


@pytest.mark.parametrize("search", ["greedy", "local", "exhaustive"])
@pytest.mark.parametrize("elements", ["lorentzian", "phase", BITS[1]])
def test_schedules_of_other_elements(search, elements):
    found = hf.schedule(drawn(users=5), SURFACE.phase, 1.0, 0.05, 0.5, search, elements=elements)
    assert found.amplitudes.dtype == np.complex128
    assert (found.rates[found.served] >= 0.5 - 1e-9).all()
    effective = (drawn(users=5) * found.amplitudes[:, None]) @ SURFACE.phase
    np.testing.assert_allclose(
        found.sum_rate, plain_rate(effective, found.digital, 0.05), rtol=1e-9
    )


def test_a_schedule_with_a_direct_channel():
    rng = np.random.default_rng(3)
    direct = rng.normal(size=(3, 5, 4)) + 1j * rng.normal(size=(3, 5, 4))
    found = hf.schedule(
        drawn(users=5), SURFACE.phase, 1.0, 0.1, 0.5, constraint="digital", direct=direct
    )
    effective = (drawn(users=5) * found.amplitudes[:, None]) @ SURFACE.phase + direct
    np.testing.assert_allclose(found.sum_rate, plain_rate(effective, found.digital, 0.1), rtol=1e-9)


def test_patterns_of_complex_weights():
    weights = weights_of("phase")[0]
    digital = beams_of()[0]
    power = SURFACE.pattern(weights, digital, [[0.0, 0.0, 1.0]])
    fields = (weights[:, None] * SURFACE.phase) @ digital
    np.testing.assert_allclose(power, np.sum(np.abs(fields.sum(axis=0)) ** 2), rtol=1e-9)


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_few_states_are_rounded_from_two_solutions(constraint, monkeypatch):
    """The second is from random angles; without it the mean is lower."""
    channel = drawn(size=60, seed=4)

    def rates():
        return hf.solve(
            channel, SURFACE.phase, 1.0, 0.3, constraint=constraint, elements=[1.0, -1.0]
        ).sum_rate

    two = rates()
    monkeypatch.setattr(Problem, "some_angles", Problem.all_on)
    one = rates()
    assert two.mean() > one.mean()


def test_with_a_direct_channel_all_rotations_are_tried():
    """It does not rotate with the elements, so rotations by a whole step differ too."""
    channel, direct, states = drawn(), np.ones((3, 3, 4)), np.array([1.0, -1.0])
    plain = Problem.of(channel, SURFACE.phase, 1.0, 0.1, constraint="digital", elements=states)
    past = Problem.of(
        channel, SURFACE.phase, 1.0, 0.1, constraint="digital", elements=states, direct=direct
    )
    assert np.angle(levels._rotations(plain, states)).max() < np.pi
    assert np.ptp(np.angle(levels._rotations(past, states))) > 1.9 * np.pi


@pytest.mark.parametrize("name", ["lorentzian", "phase"])
@pytest.mark.parametrize(("shape", "users"), [((2, 2), 1), ((2, 2), 3), ((4, 4), 3)])
def test_batches_in_single_precision_are_at_the_power(
    shape: tuple[int, int], users: int, name: str
) -> None:
    """Beams were scaled for the weights of another item, where these gave nearly the same rate."""
    surface = hf.Surface(shape=shape, feeds=4)
    channel = hf.channels.sparse_mmwave(surface, users=users, size=64, seed=5)
    single = channel.astype(np.complex64)
    broken = np.where(np.arange(surface.phase.shape[0]) == 3, 0.5, np.nan)
    for stuck in (None, broken):
        found = hf.solve(single, surface.phase, elements=name, broken=stuck)
        fields = found.amplitudes[..., None] * (surface.phase @ found.digital)
        power = np.sum(np.abs(fields) ** 2, axis=(-2, -1))
        np.testing.assert_allclose(power, 1.0, rtol=2e-6)
        double = hf.solve(channel, surface.phase, elements=name, broken=stuck)
        assert found.sum_rate.mean() == pytest.approx(double.sum_rate.mean(), rel=2e-3)
