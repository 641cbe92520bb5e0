"""Surface: geometry, reference waves and beam patterns against plain loops."""

from __future__ import annotations

import cmath
import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmimo_fast.surface import Surface, direction

LIGHT = 299_792_458.0
counts = st.integers(1, 6)


def distances(surface):
    return [
        [math.dist(element, feed) for feed in surface.feed_positions.tolist()]
        for element in surface.positions.tolist()
    ]


def wave(surface, permittivity=3.0, attenuation=0.0, spreading=False):
    """Phase matrix by the formula, efficiency 1, one entry at a time."""
    wavenumber = math.sqrt(permittivity) * 2 * math.pi * surface.frequency / LIGHT
    return np.array(
        [
            [
                math.exp(-attenuation * r)
                * cmath.exp(-1j * wavenumber * r)
                / (math.sqrt(r) if spreading else 1)
                for r in row
            ]
            for row in distances(surface)
        ]
    )


@given(counts, counts, st.floats(1e-4, 1e-1))
def test_elements_are_a_centred_grid_numbered_along_y_first(nx, ny, spacing):
    surface = Surface(shape=(nx, ny), spacing=spacing, feeds=1)
    assert surface.elements == nx * ny == len(surface.positions)
    for ix in range(nx):
        for iy in range(ny):
            expected = [(ix - (nx - 1) / 2) * spacing, (iy - (ny - 1) / 2) * spacing, 0]
            np.testing.assert_allclose(surface.positions[ix * ny + iy], expected, atol=1e-15)


def test_frequency_gives_wavelength_and_wavenumber():
    surface = Surface(frequency=30e9)
    assert surface.wavelength == pytest.approx(9.993081933e-3, rel=1e-9)
    assert surface.wavenumber == pytest.approx(628.7535, rel=1e-6)


@given(counts, counts, st.integers(1, 17))
def test_default_feeds_are_cell_centres_row_by_row(nx, ny, feeds):
    spacing = 0.01
    surface = Surface(shape=(nx, ny), spacing=spacing, feeds=feeds)
    rows = max(r for r in range(1, feeds + 1) if r * r <= feeds)
    columns = math.ceil(feeds / rows)
    expected = []
    for row in range(rows):
        for column in range(columns):
            x = -nx * spacing / 2 + (column + 0.5) * nx * spacing / columns
            y = -ny * spacing / 2 + (row + 0.5) * ny * spacing / rows
            expected.append([x, y, 0.0])
    assert surface.feed_count == feeds
    np.testing.assert_allclose(surface.feed_positions, expected[:feeds], atol=1e-15)


def test_six_feeds_make_two_rows_of_three():
    feeds = Surface(shape=(8, 8), spacing=2.5e-3, feeds=6).feed_positions
    np.testing.assert_allclose(feeds[:, 0] * 1e3, [-20 / 3, 0, 20 / 3] * 2, atol=1e-12)
    np.testing.assert_allclose(feeds[:, 1] * 1e3, [-5] * 3 + [5] * 3, atol=1e-12)


def test_edge_feeds_lie_on_a_line_beside_the_elements():
    surface = Surface(shape=(4, 8), spacing=1.0, feeds="edge:4")
    expected = [[-2.5, -3, 0], [-2.5, -1, 0], [-2.5, 1, 0], [-2.5, 3, 0]]
    np.testing.assert_allclose(surface.feed_positions, expected)
    assert surface.positions[:, 0].min() == -1.5


def test_feeds_by_coordinates():
    flat = [[0.001, 0.002], [-0.003, 0.004], [0.0, -0.01]]
    np.testing.assert_array_equal(Surface(feeds=flat).feed_positions, [[*p, 0.0] for p in flat])
    solid = np.array([[0.001, 0.002, -0.005]])
    np.testing.assert_array_equal(Surface(feeds=solid).feed_positions, solid)


@given(
    counts,
    counts,
    st.integers(1, 7),
    st.floats(1.0, 10.0),
    st.floats(0.0, 50.0),
    st.floats(0.1, 4.0),
)
@settings(max_examples=50)
def test_phase_is_the_formula(nx, ny, feeds, permittivity, attenuation, efficiency):
    surface = Surface(
        (nx, ny),
        feeds=feeds,
        permittivity=permittivity,
        attenuation=attenuation,
        efficiency=efficiency,
    )
    expected = math.sqrt(efficiency) * wave(surface, permittivity, attenuation)
    assert surface.phase.shape == (nx * ny, feeds)
    assert surface.phase.dtype == np.complex128
    np.testing.assert_allclose(surface.phase, expected, rtol=1e-11)


def test_default_phase_has_unit_modulus():
    np.testing.assert_allclose(np.abs(Surface().phase), 1, rtol=1e-14)


def test_spreading_divides_by_the_root_of_the_distance():
    surface = Surface((3, 4), feeds="edge:2", spreading=True, attenuation=3.0)
    np.testing.assert_allclose(surface.phase, wave(surface, 3.0, 3.0, spreading=True), rtol=1e-12)


def test_spreading_refuses_a_feed_on_an_element():
    with pytest.raises(ValueError, match=r"^spreading: .* feed 0 lies on element 4"):
        Surface((3, 3), feeds=1, spreading=True)


def test_unit_energy_shares_one_unit_among_the_elements():
    energy = (np.abs(Surface((5, 7), feeds=3, efficiency="unit-energy").phase) ** 2).sum(axis=0)
    np.testing.assert_allclose(energy, 1, rtol=1e-13)


@pytest.mark.parametrize("spreading", [False, True])
def test_a_passive_surface_never_amplifies(spreading):
    surface = Surface((6, 5), feeds=4, efficiency="passive", spreading=spreading, attenuation=20.0)
    gains = np.linalg.eigvalsh(surface.phase.conj().T @ surface.phase)
    assert gains.max() == pytest.approx(1, rel=1e-12)
    assert gains.min() < 0.99
    shape = wave(surface, 3.0, 20.0, spreading)
    ratio = surface.phase / shape
    np.testing.assert_allclose(ratio, ratio[0, 0].real, rtol=1e-11)


def test_phase_handed_in_is_copied_and_used_as_it_is():
    given_phase = np.arange(12.0).reshape(4, 3) * 1j
    surface = Surface((2, 2), feeds=3, phase=given_phase)
    given_phase[:] = 0
    np.testing.assert_array_equal(surface.phase, np.arange(12.0).reshape(4, 3) * 1j)


COPIES = {
    "built": lambda surface: surface,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{
        f"pickle {protocol}": lambda surface, protocol=protocol: pickle.loads(
            pickle.dumps(surface, protocol)
        )
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("duplicate", COPIES.values(), ids=COPIES)
def test_a_surface_and_its_copies_are_frozen(duplicate):
    surface = Surface((3, 2), feeds="edge:2", attenuation=1.0)
    again = duplicate(surface)
    assert repr(again) == repr(surface)
    for name in ("phase", "positions", "feed_positions"):
        np.testing.assert_array_equal(getattr(again, name), getattr(surface, name))
        with pytest.raises(ValueError, match="read-only"):
            getattr(again, name)[0] = 0
    with pytest.raises(AttributeError, match="spacing: a Surface is frozen"):
        again.spacing = 1.0
    with pytest.raises(AttributeError, match="phase: a Surface is frozen"):
        del again.phase


def test_direction_is_spherical_coordinates():
    np.testing.assert_allclose(direction(math.pi / 2, 0.0), [1, 0, 0], atol=1e-15)
    np.testing.assert_allclose(direction(math.pi / 2, math.pi / 2), [0, 1, 0], atol=1e-15)
    theta, phi = np.linspace(-1.5, 1.5, 5)[:, None], np.linspace(-3, 3, 4)
    units = direction(theta, phi)
    assert units.shape == (5, 4, 3)
    for i in range(5):
        for j in range(4):
            t, p = float(theta[i, 0]), float(phi[j])
            expected = [math.sin(t) * math.cos(p), math.sin(t) * math.sin(p), math.cos(t)]
            np.testing.assert_allclose(units[i, j], expected, rtol=1e-14)


@given(counts, counts, st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))
def test_steering_is_the_phase_of_a_plane_wave(nx, ny, theta, phi):
    surface = Surface((nx, ny), feeds=1)
    unit = direction(theta, phi)
    wavenumber = 2 * math.pi * 30e9 / LIGHT
    expected = [
        cmath.exp(1j * wavenumber * sum(a * b for a, b in zip(unit, position, strict=True)))
        for position in surface.positions.tolist()
    ]
    np.testing.assert_allclose(surface.steering(unit), expected, rtol=1e-12)


def test_pattern_is_the_power_of_the_radiated_field():
    rng = np.random.default_rng(3)
    surface = Surface((3, 5), feeds=2, attenuation=5.0)
    amplitudes = rng.random(15)
    digital = rng.normal(size=(2, 4)) + 1j * rng.normal(size=(2, 4))
    units = direction(rng.uniform(-1.5, 1.5, (2, 3)), rng.uniform(-3, 3, (2, 3)))
    wavenumber = 2 * math.pi * 30e9 / LIGHT
    expected = np.zeros((2, 3, 4))
    for i in range(2):
        for j in range(3):
            for k in range(4):
                field = 0j
                for n in range(15):
                    excited = sum(surface.phase[n, feed] * digital[feed, k] for feed in range(2))
                    turn = cmath.exp(1j * wavenumber * float(units[i, j] @ surface.positions[n]))
                    field += turn * amplitudes[n] * excited
                expected[i, j, k] = abs(field) ** 2
    users = surface.pattern(amplitudes, digital, units, per_user=True)
    np.testing.assert_allclose(users, expected, rtol=1e-11)
    total = surface.pattern(amplitudes, digital, units)
    np.testing.assert_allclose(total, expected.sum(axis=-1), rtol=1e-11)
    assert surface.pattern(amplitudes, digital, units[0, 0]).shape == ()


def test_pattern_over_the_sphere_is_largest_where_the_elements_add_up():
    aim = direction(0.5, -0.9)
    # A feed 10 m behind the surface excites all elements alike.
    surface = Surface((24, 24), feeds=[[0.0, 0.0, -10.0]])
    aligned = 0.5 + 0.5 * np.cos(np.angle(surface.steering(aim) * surface.phase[:, 0]))
    theta, phi = np.meshgrid(np.linspace(0, 1.5, 61), np.linspace(-np.pi, np.pi, 121))
    power = surface.pattern(aligned, np.ones((1, 1)), direction(theta, phi))
    off_axis = np.where(theta > 0.25, power, 0)  # the carrier itself leaks to broadside
    best = np.unravel_index(off_axis.argmax(), power.shape)
    peak = direction(theta[best], phi[best])
    mirrored = peak * [-1, -1, 1]  # a real hologram radiates a conjugate beam as well
    assert max(peak @ aim, mirrored @ aim) > 0.99


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"shape": (0, 8)}, ValueError, "shape: expected a positive integer, got 0"),
        ({"shape": (2.5, 8)}, TypeError, "shape: expected a positive integer, got 2.5"),
        ({"shape": 8}, ValueError, r"shape: expected \(Nx, Ny\), got 8"),
        ({"spacing": 0.0}, ValueError, "spacing: expected a number > 0"),
        ({"spacing": "wide"}, TypeError, "spacing: expected a real number"),
        ({"frequency": math.nan}, ValueError, "frequency: expected a finite number"),
        ({"permittivity": -3.0}, ValueError, "permittivity: "),
        ({"attenuation": -1.0}, ValueError, "attenuation: expected a finite number >= 0"),
        ({"efficiency": 0.0}, ValueError, "efficiency: "),
        ({"efficiency": "unity"}, ValueError, "efficiency: .*'unity'"),
        ({"feeds": 0}, ValueError, "feeds: expected a positive integer, got 0"),
        ({"feeds": 2.0}, TypeError, "feeds: expected a positive integer, got 2.0"),
        ({"feeds": "edge:none"}, ValueError, "feeds: expected a count"),
        ({"feeds": "ring:4"}, ValueError, "feeds: expected a count"),
        ({"feeds": [[0.0], [1.0]]}, ValueError, r"feeds: expected coordinates .* got \(2, 1\)"),
        ({"feeds": [0.0, 1.0]}, ValueError, r"feeds: expected coordinates .* got \(2,\)"),
        ({"feeds": [[0.0, 1j]]}, TypeError, "feeds: expected real numbers, got complex ones"),
        ({"feeds": [[0.0, math.inf]]}, ValueError, "feeds: expected finite values"),
        ({"phase": np.ones((64, 4))}, ValueError, r"phase: expected \(64, 6\) .* got \(64, 4\)"),
        ({"phase": np.full((64, 6), np.nan)}, ValueError, "phase: expected finite values"),
        ({"phase": "reference"}, TypeError, "phase: expected complex numbers"),
        (
            {"phase": np.ones((64, 6)), "efficiency": "passive"},
            ValueError,
            "phase: a matrix handed in is used as it is",
        ),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=r"^" + message):
        Surface(**arguments)


@pytest.mark.parametrize(
    ("amplitudes", "digital", "directions", "message"),
    [
        (np.ones(3), np.ones((1, 1)), [0, 0, 1], r"amplitudes: expected \(4,\)"),
        (np.full(4, 1.5), np.ones((1, 1)), [0, 0, 1], r"amplitudes: expected values in \[0, 1\]"),
        (np.ones(4), np.ones((2, 1)), [0, 0, 1], "digital: .*1 feeds"),
        (np.ones(4), np.ones(1), [0, 0, 1], "digital: "),
        (np.ones(4), np.ones((1, 1)), [0, 1], r"directions: expected \(\.\.\., 3\), got \(2,\)"),
        (np.ones(4), np.ones((1, 1)), [0, 1, 1], "directions: expected vectors of unit length"),
    ],
)
def test_wrong_arguments_of_pattern_are_named(amplitudes, digital, directions, message):
    with pytest.raises(ValueError, match=r"^" + message):
        Surface((2, 2), feeds=1).pattern(amplitudes, digital, directions)
