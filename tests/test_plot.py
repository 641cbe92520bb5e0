"""Pictures show the data passed in, as read back from matplotlib's own objects."""

from __future__ import annotations

import cmath
import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast import plot

pytest.importorskip("matplotlib")
from matplotlib import colors, pyplot

SURFACE = hf.Surface(shape=(5, 4), feeds=3)
#: Perceived colours: linear RGB, for full protanopia, deuteranopia and tritanopia.
#: G. M. Machado, M. M. Oliveira, L. A. F. Fernandes, IEEE TVCG 15(6), 2009.
SEEN = {
    "by most": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def beams(users=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=20), rng.normal(size=(3, users)) + 1j * rng.normal(size=(3, users))


def power(amplitudes, digital, unit):
    """Of each user's beam towards a direction, element by element."""
    wavenumber = 2 * math.pi * SURFACE.frequency / 299_792_458.0
    found = []
    for user in range(digital.shape[1]):
        field = 0j
        for n, position in enumerate(SURFACE.positions):
            lag = wavenumber * sum(float(a) * float(b) for a, b in zip(unit, position, strict=True))
            sent = sum(SURFACE.phase[n, feed] * digital[feed, user] for feed in range(3))
            field += amplitudes[n] * cmath.exp(1j * lag) * sent
        found.append(abs(field) ** 2)
    return found


def painted(axes, x, y):
    """Colour of the picture's point there."""
    (image,) = axes.images
    left, right, low, high = image.get_extent()
    pixels = np.asarray(image.get_array())
    column = round((x - left) / (right - left) * (pixels.shape[1] - 1))
    row = round((y - low) / (high - low) * (pixels.shape[0] - 1))
    exact = (
        left + column / (pixels.shape[1] - 1) * (right - left),
        low + row / (pixels.shape[0] - 1) * (high - low),
    )
    return pixels[row, column], exact


def texts(axes):
    return [text.get_text() for text in axes.texts]


def expected_colour(values, peak):
    """White mixed with the strongest one's colour, a fifth less for each 3 dB below the peak."""
    strongest = int(np.argmax(values))
    shade = max(1 - math.floor(-10 * math.log10(values[strongest] / peak) / 3) / 5, 0)
    return [1 - shade * (1 - part) for part in colors.to_rgb(plot.COLOURS[strongest])]


@pytest.mark.slow
def test_matplotlib_is_imported_only_where_it_draws():
    code = (
        "import sys, hmimo_fast as hf\n"
        "assert 'hmimo_fast.plot' not in sys.modules\n"
        "hf.plot.pattern\n"
        "assert 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'plots'"):
        _ = hf.plots


def test_directions_have_the_colour_of_the_strongest_beam():
    amplitudes, digital = beams()
    axes = plot.pattern(SURFACE, amplitudes, digital)
    line = np.linspace(-1, 1, 120)
    grid = np.array([(u, v) for u in line for v in line if u * u + v * v < 1])
    unit = np.column_stack([grid, np.sqrt(1 - (grid**2).sum(axis=1))])
    peak = SURFACE.pattern(amplitudes, digital, unit, per_user=True).max()
    matches = 0
    for u, v in [(0.0, 0.0), (0.5, 0.2), (-0.6, 0.3), (0.1, -0.8), (-0.3, -0.4), (0.7, -0.5)]:
        colour, (u, v) = painted(axes, u, v)
        values = power(amplitudes, digital, (u, v, math.sqrt(1 - u * u - v * v)))
        assert colour[3] == 1
        matches += np.allclose(colour[:3], expected_colour(values, peak), atol=1e-6)
    assert matches >= 5  # the sampled peak may put one point into the next shade
    assert painted(axes, 0.9, 0.9)[0][3] == 0
    assert sorted(texts(axes)) == ["0", "1", "2"]


def test_a_beam_is_numbered_at_its_peak():
    toward = hf.surface.direction(0.6, 0.8)
    phase = np.eye(20)
    surface = hf.Surface(shape=(5, 4), feeds=SURFACE.positions, phase=phase)
    axes = plot.pattern(surface, np.ones(20), surface.steering(toward).conj()[:, None], users=["a"])
    assert texts(axes) == ["a"]
    np.testing.assert_allclose(axes.texts[0].xy, toward[:2], atol=0.01)


def test_users_without_a_beam_are_left_out():
    amplitudes, digital = beams(users=4)
    digital[:, 1] = 0
    digital[:, 2] *= 1e-70
    axes = plot.pattern(SURFACE, amplitudes, digital, phi=0.3)
    assert [line.get_label() for line in axes.lines] == ["user 0", "user 3"]


def test_a_cut_is_in_decibels_of_its_peak():
    amplitudes, digital = beams()
    axes = plot.pattern(SURFACE, amplitudes, digital, phi=0.7)
    degrees = axes.lines[0].get_xdata()
    drawn = np.array([line.get_ydata() for line in axes.lines])
    assert drawn.max() == pytest.approx(0)
    shown = [0, 150, 360, 500]
    values = np.array(
        [
            power(amplitudes, digital, hf.surface.direction(math.radians(degrees[at]), 0.7))
            for at in shown
        ]
    ).T
    differences = drawn[:, shown] - 10 * np.log10(values)
    np.testing.assert_allclose(differences, differences[0, 0], atol=1e-9)


def test_the_ground_is_seen_from_the_surface():
    whole = hf.channels.load("munich")
    chosen = [3, 40, 41, 77, 5]
    scene = replace(
        whole,
        channel=whole.channel[chosen],
        user_positions=whole.user_positions[chosen],
        line_of_sight=whole.line_of_sight[chosen],
    )
    surface = hf.Surface()
    found = hf.schedule(scene.channel, surface.phase, power=1.0, noise_power=2e-12)
    axes = plot.pattern(surface, found.amplitudes, found.digital, scene, users=chosen)
    served = np.flatnonzero(found.served)
    assert sorted(texts(axes)) == sorted(str(chosen[user]) for user in served)
    for text in axes.texts:
        place = chosen.index(int(text.get_text()))
        np.testing.assert_allclose(text.xy, scene.user_positions[place, :2])
    rotation, height = scene.surface_rotation, np.median(scene.user_positions[:, 2])
    behind = scene.surface_position[:2] - 10 * rotation[:2, 2] / np.hypot(*rotation[:2, 2])
    assert painted(axes, *behind)[0][3] == 0
    for user in served:
        colour, (x, y) = painted(axes, *scene.user_positions[user, :2])
        unit = scene.directions([x, y, height])
        values = surface.pattern(found.amplitudes, found.digital[:, served], unit, per_user=True)
        hue = 1 - np.array(colors.to_rgb(plot.COLOURS[int(values.argmax())]))
        lost = 1 - np.array(colour[:3])
        np.testing.assert_allclose(lost / max(lost.max(), 1e-9), hue / hue.max(), atol=1e-6)


def test_rates_are_the_heights_of_bars():
    rng = np.random.default_rng(0)
    values = {"one": rng.uniform(size=(7, 2, 4)), "other": rng.uniform(size=4)}
    axes = plot.rates(values, users="abcd")
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(heights[0], [values["one"][..., k].mean() for k in range(4)])
    np.testing.assert_allclose(heights[1], values["other"])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list("abcd")
    for bars in axes.containers:
        middles = [bar.get_x() + bar.get_width() / 2 for bar in bars]
        assert np.round(middles).tolist() == [0, 1, 2, 3]
    assert axes.containers[1].get_label() == f"other: {values['other'].sum():.2f} bit/s/Hz"


def test_rates_of_one_solution_have_the_colours_of_its_beams():
    axes = plot.rates([1.0, 0.0, 2.0, 1e-60])
    first, _, third, _ = (colors.to_hex(bar.get_facecolor()).upper() for bar in axes.patches)
    assert (first, third) == plot.COLOURS[:2]


def test_amplitudes_lie_where_their_elements_do():
    amplitudes, _ = beams()
    axes = plot.amplitudes(SURFACE, amplitudes)
    (squares,) = axes.collections
    np.testing.assert_array_equal(squares.get_array(), amplitudes)
    middles = [path.get_extents().get_points().mean(axis=0) for path in squares.get_paths()]
    np.testing.assert_allclose(middles, 1e3 * SURFACE.positions[:, :2], atol=1e-9)
    (feeds,) = axes.lines
    np.testing.assert_allclose(feeds.get_xydata(), 1e3 * SURFACE.feed_positions[:, :2])


def test_show_draws_phase_and_strength_of_the_wave():
    surface = hf.Surface(shape=(5, 4), feeds="edge:3", attenuation=40.0)
    axes = surface.show(feed=2)
    (squares,) = axes.collections
    np.testing.assert_allclose(squares.get_array() * math.pi, np.angle(surface.phase[:, 2]))
    sides = np.array([path.get_extents().width for path in squares.get_paths()])
    strength = np.abs(surface.phase[:, 2])
    np.testing.assert_allclose(sides / sides.max(), strength / strength.max())
    np.testing.assert_allclose(axes.lines[1].get_xydata(), 1e3 * surface.feed_positions[2:, :2])


def test_convergence_holds_the_last_rate():
    none = np.nan
    history = np.array(
        [[1, 2, none, 4, none, none], [none, 5, 6, 7, 8, none], [none] * 6], dtype=float
    )
    axes = plot.convergence({"a": history, "b": history[0]})
    first, second = axes.lines
    assert first.get_xdata().tolist() == [1, 2, 3, 4, 5]
    continued = [[1, 2, 2, 4, 4], [5, 5, 6, 7, 8]]
    np.testing.assert_allclose(first.get_ydata(), np.median(continued, axis=0))
    np.testing.assert_allclose(second.get_ydata(), [1, 2, 4])
    assert first.get_linestyle() != second.get_linestyle()


@pytest.mark.parametrize(
    "call",
    [
        lambda ax: plot.pattern(SURFACE, *beams(), ax=ax),
        lambda ax: plot.pattern(SURFACE, *beams(), phi=0.0, ax=ax),
        lambda ax: plot.rates([1.0, 2.0], ax=ax),
        lambda ax: plot.amplitudes(SURFACE, np.ones(20), ax=ax),
        lambda ax: plot.convergence([1.0, 2.0], ax=ax),
        lambda ax: SURFACE.show(ax=ax),
    ],
)
def test_axes_are_those_handed_in_or_new(call):
    _, (left, _) = pyplot.subplots(1, 2)
    assert call(left) is left
    assert len(pyplot.get_fignums()) == 1
    assert call(None).figure.number == 2
    left.figure.canvas.draw()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, v: plot.pattern(SURFACE, m, v[0]), "digital: expected (feeds, users)"),
        (lambda m, v: plot.pattern(SURFACE, m, 0 * v), "digital: expected a beam"),
        (lambda m, v: plot.pattern(SURFACE, m, np.nan * v), "digital: expected a beam"),
        (lambda m, v: plot.pattern(SURFACE, m[:3], v), "amplitudes: expected (20,)"),
        (lambda m, v: plot.pattern(SURFACE, m, v, users=[1]), "users: expected 3 names"),
        (lambda m, v: plot.pattern(SURFACE, m, v, hf.channels.load("munich")), "scene: expected 3"),
        (
            lambda m, v: plot.pattern(SURFACE, m, v, hf.channels.Scene(np.ones((3, 20)))),
            "scene: '' has no positions",
        ),
        (
            lambda m, v: plot.pattern(SURFACE, m, v, hf.channels.load("munich"), phi=0.0),
            "phi: a cut has no ground",
        ),
        (lambda m, v: plot.rates({"a": [1.0], "b": [1.0, 2.0]}), "values: expected (..., users)"),
        (lambda m, v: plot.rates(1.0), "values: expected (..., users)"),
        (lambda m, v: plot.rates({}), "values: expected"),
        (lambda m, v: plot.amplitudes(SURFACE, v), "values: expected"),
        (lambda m, v: plot.convergence([np.nan]), "history: expected"),
        (lambda m, v: plot.convergence({}), "history: expected"),
        (lambda m, v: SURFACE.show(3), "feed: expected 0 to 2, got 3"),
    ],
)
def test_a_wrong_argument_is_named(call, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        call(*beams())
    assert str(caught.value).startswith(message)
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("sight", SEEN)
def test_colours_of_users_are_told_apart(sight):
    """Any two differ by several times what is just noticeable (CIE 1976), however they are seen."""
    encoded = np.array([colors.to_rgb(colour) for colour in plot.COLOURS])
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    seen = np.clip(linear @ np.transpose(SEEN[sight]), 0, 1) @ xyz.T / xyz.sum(axis=1)
    root = np.cbrt(seen)
    lab = np.column_stack([116 * root[:, 1] - 16, 500 * (root[:, 0] - root[:, 1]),
                           200 * (root[:, 1] - root[:, 2])])  # fmt: skip
    distances = [math.dist(one, other) for one, other in itertools.combinations(lab, 2)]
    assert min(distances) > 15
