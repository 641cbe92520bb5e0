"""Sionna's blocks: their arithmetic without Sionna, their interface with it."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.channels.simulators import panel_order
from hmimo_fast.sionna import HolographicPrecodedChannel, HolographicPrecoder, _beams, block_means
from hmimo_fast.solvers import METHODS

if find_spec("sionna"):
    import torch
    from sionna.phy import config
    from sionna.phy.channel.tr38901 import PanelArray, UMi
    from sionna.phy.mimo import StreamManagement
    from sionna.phy.ofdm import ResourceGrid, RZFPrecodedChannel, RZFPrecoder

needs_sionna = pytest.mark.skipif(not find_spec("sionna"), reason="Sionna is not installed")

SURFACE = hf.Surface(shape=(5, 4), spacing=2.5e-3, frequency=30e9, feeds=4)
USERS, SYMBOLS, SUBCARRIERS = 3, 4, 16


def channels(*shape):
    return np.random.default_rng(7).normal(size=(*shape, 2)) @ [1.0, 1.0j]


def rates_of(channel, beams):
    """Rates of streams k behind channels (..., K, N) and matrices (..., N, K), in unit noise."""
    power = abs(channel @ beams) ** 2
    wanted = np.diagonal(power, axis1=-2, axis2=-1)
    return np.log2(1.0 + wanted / (1.0 + power.sum(axis=-1) - wanted))


def test_panel_order_counts_each_column_from_its_top():
    nx, ny = 3, 4
    expected = [ix * ny + iy for ix in range(nx) for iy in reversed(range(ny))]
    assert panel_order((nx, ny)).tolist() == expected


@pytest.mark.parametrize("block", [(1, 1), (4, 1), (3, 5), (9, 99)])
def test_blocks_have_the_mean_of_their_channels(block):
    channel = channels(2, 4, 7, 3, 5)
    found = block_means(channel, block)
    for s in range(found.shape[1]):
        for f in range(found.shape[2]):
            own = channel[:, s * block[0] : (s + 1) * block[0], f * block[1] : (f + 1) * block[1]]
            np.testing.assert_allclose(found[:, s, f], own.mean(axis=(1, 2)), atol=1e-14)
    assert found.shape[1:3] == (-(-4 // block[0]), -(-7 // block[1]))


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
@pytest.mark.parametrize("objective", ["sum_rate", "max_min", "geometric_mean"])
def test_beams_meet_the_power_and_arrive_in_phase(objective, constraint):
    channel = 3.0 * channels(2, 6, USERS, SURFACE.elements)
    amplitudes, beams = _beams(channel, SURFACE.phase, objective, constraint, {})
    assert amplitudes.shape == (2, SURFACE.elements)
    digital = np.linalg.pinv(amplitudes[:, None, :, None] * SURFACE.phase) @ beams
    np.testing.assert_allclose(
        amplitudes[:, None, :, None] * (SURFACE.phase @ digital), beams, atol=1e-9
    )
    limited = beams if constraint == "radiated" else digital
    np.testing.assert_allclose((abs(limited) ** 2).sum(axis=(-2, -1)), 1.0, rtol=1e-6)
    arriving = np.diagonal(channel @ beams, axis1=-2, axis2=-1)
    np.testing.assert_allclose(arriving, abs(arriving), atol=1e-9)


@pytest.mark.parametrize("constraint", ["radiated", "digital"])
def test_max_min_balances_all_rates(constraint):
    """In each channel, so that sums that are balanced alone are higher."""
    channel = 3.0 * channels(4, 6, USERS, SURFACE.elements)
    problem = {"noise_power": 1.0, "constraint": constraint, "shared": True}
    common = hf.solve(channel, SURFACE.phase, min_rate=50.0, **problem).common_rate
    _, balanced = _beams(channel, SURFACE.phase, "max_min", constraint, {})
    _, greedy = _beams(channel, SURFACE.phase, "sum_rate", constraint, {})
    lowest, others = (rates_of(channel, g).min(axis=(1, 2)) for g in (balanced, greedy))
    rates = rates_of(channel, balanced)
    np.testing.assert_allclose(rates.min(axis=2), rates.max(axis=2), rtol=1e-6)
    assert (channel.shape[1] * lowest < common).all()
    assert (lowest > others).all()
    assert (rates_of(channel, greedy).sum() > rates_of(channel, balanced).sum()).all()


@pytest.mark.skipif(bool(find_spec("sionna")), reason="Sionna is installed")
def test_the_blocks_say_what_is_missing():
    with pytest.raises(ImportError, match=r"pip install sionna-no-rt"):
        HolographicPrecoder(None, None, SURFACE)


@pytest.fixture
def grid():
    config.seed = 1
    return ResourceGrid(
        num_ofdm_symbols=SYMBOLS,
        fft_size=SUBCARRIERS,
        subcarrier_spacing=120e3,
        num_streams_per_tx=USERS,
        num_guard_carriers=(2, 1),
        dc_null=True,
    )


@pytest.fixture
def streams():
    return StreamManagement(np.ones((USERS, 1)), USERS)


def tensors(batch=2, users=USERS, transmitters=1):
    """Symbols and channels that change from resource element to resource element."""
    x = channels(batch, transmitters, USERS, SYMBOLS, SUBCARRIERS)
    h = channels(batch, users, 1, transmitters, SURFACE.elements, SYMBOLS, SUBCARRIERS)
    return (torch.as_tensor(array, dtype=torch.complex64) for array in (x, h))


def panel(shape, **options):
    rows = {"num_rows_per_panel": shape[1], "num_cols_per_panel": shape[0]}
    kind = {"polarization": "single", "polarization_type": "V", "antenna_pattern": "omni"}
    return PanelArray(**rows, **kind, carrier_frequency=SURFACE.frequency, **options)


def panel_of_the_surface():
    spacing = SURFACE.spacing / SURFACE.wavelength
    return panel(
        SURFACE.shape, element_vertical_spacing=spacing, element_horizontal_spacing=spacing
    )


@needs_sionna
def test_a_plane_wave_over_the_panel_is_the_steering_of_the_surface():
    towards = np.array([0.8, 0.36, 0.48])
    places = panel_of_the_surface().ant_pos.double().numpy()
    wave = np.array([np.exp(1j * SURFACE.wavenumber * np.dot(at, towards)) for at in places])
    expected = SURFACE.steering(towards[[1, 2, 0]])[panel_order(SURFACE.shape)]
    np.testing.assert_allclose(wave, expected, atol=1e-5)


@needs_sionna
def test_lines_of_sight_of_umi_have_the_sign_of_the_surface():
    """Each is a plane wave with weaker ones around it."""
    config.seed = 3
    channel = UMi(
        SURFACE.frequency,
        "low",
        panel((1, 1)),
        panel_of_the_surface(),
        "downlink",
        enable_pathloss=False,
        enable_shadow_fading=False,
    )
    users = 40
    angle = torch.linspace(-1.0, 1.0, users)
    heights = torch.linspace(1.5, 20.0, users)
    places = torch.stack([40 * torch.cos(angle), 40 * torch.sin(angle), heights], dim=-1)[None]
    still = torch.zeros(1, users, 3)
    base = torch.tensor([[[0.0, 0.0, 10.0]]])
    inside = torch.zeros(1, users, dtype=torch.bool)
    channel.set_topology(places, base, still, still[:, :1], still, inside, los=True)
    gains, _ = channel(1, 1.0)
    h = gains[0, :, 0, 0, :, :, 0].sum(dim=-1).numpy()
    towards = (places - base)[0].numpy()
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    steering = SURFACE.steering(towards[:, [1, 2, 0]])[:, panel_order(SURFACE.shape)]
    parallel, other = (
        (abs((wave.conj() * h).sum(axis=1)) ** 2 / (abs(h) ** 2).sum(axis=1)).mean()
        / SURFACE.elements
        for wave in (steering, steering.conj())
    )
    assert parallel > 0.75
    assert parallel > 1.5 * other


@needs_sionna
def test_the_precoder_takes_and_returns_what_rzf_does(grid, streams):
    x, h = tensors()
    ours = HolographicPrecoder(grid, streams, SURFACE, return_effective_channel=True)
    theirs = RZFPrecoder(grid, streams, return_effective_channel=True)
    precoded, effective = ours(x, h, 0.1)
    for found, expected in zip((precoded, effective), theirs(x, h), strict=True):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype
    used = grid.effective_subcarrier_ind
    received = torch.einsum("brxtyof,btyof->brof", h, precoded)[..., used]
    by_stream = torch.einsum("brxtsof,btsof->brof", effective, x[..., used])
    torch.testing.assert_close(received, by_stream, rtol=1e-4, atol=1e-3)
    assert not np.delete(precoded.numpy(), used, axis=-1).any()


@needs_sionna
@pytest.mark.parametrize("objective", ["sum_rate", "max_min"])
def test_one_amplitude_vector_a_grid_and_the_power_of_rzf(grid, streams, objective):
    _, h = tensors()
    precoder = HolographicPrecoder(
        grid, streams, SURFACE, objective, block=(1, 1), precision="double"
    )
    amplitudes, g = (tensor.numpy() for tensor in precoder.design(h, 0.1))
    assert amplitudes.shape == (2, 1, SURFACE.elements)
    g = g[:, 0][:, :, grid.effective_subcarrier_ind]
    np.testing.assert_allclose((abs(g) ** 2).sum(axis=(-2, -1)), USERS, rtol=1e-5)
    order = panel_order(SURFACE.shape)
    for item in range(2):
        waves = (amplitudes[item, 0, :, None] * SURFACE.phase)[order]
        columns = np.moveaxis(g[item], -2, 0).reshape(SURFACE.elements, -1)
        digital = np.linalg.lstsq(waves, columns)[0]
        np.testing.assert_allclose(waves @ digital, columns, atol=1e-6)


@needs_sionna
@pytest.mark.parametrize("options", [{"method": method} for method in METHODS] + [{"levels": 1}])
def test_every_method_precodes(grid, streams, options):
    if options.get("method") == "mbdnn":
        pytest.skip("its weights are of other sizes")
    _, h = tensors()
    _, g = HolographicPrecoder(grid, streams, SURFACE, **options).design(h, 0.1)
    power = (abs(g[:, 0][:, :, grid.effective_subcarrier_ind]) ** 2).sum(dim=(-2, -1))
    torch.testing.assert_close(power, torch.full_like(power, USERS), rtol=1e-4, atol=0.0)


@needs_sionna
def test_blocks_share_their_beams(grid, streams):
    _, h = tensors()
    _, g = HolographicPrecoder(grid, streams, SURFACE, block=(2, 5)).design(h, 0.1)
    g = g[:, 0][:, :, grid.effective_subcarrier_ind]
    expected = g[:, ::2][:, :, ::5].repeat_interleave(2, 1).repeat_interleave(5, 2)[:, :, :12]
    assert torch.equal(g, expected)
    assert not torch.equal(g[:, 0, 0], g[:, 0, 5])


@needs_sionna
def test_the_precoded_channel_is_what_the_precoder_sees(grid, streams):
    x, h = tensors()
    power = torch.ones(2, 1, USERS)
    channel = HolographicPrecodedChannel(grid, streams, SURFACE, "max_min")
    precoder = HolographicPrecoder(grid, streams, SURFACE, "max_min", return_effective_channel=True)
    found = channel(h, power, 0.1)
    assert found.shape == RZFPrecodedChannel(grid, streams)(h, power).shape
    torch.testing.assert_close(found, precoder(x, h, 0.1)[1])
    torch.testing.assert_close(channel(2.0 * h, power, 0.1, h_hat=h), 2.0 * found)


@needs_sionna
def test_power_and_noise_of_each_scale_as_they_should(grid, streams):
    """Twice the power in twice the noise, and twice a user's noise behind root two its channel."""
    _, h = tensors()
    channel = HolographicPrecodedChannel(grid, streams, SURFACE, "max_min", precision="double")
    once = channel(h, torch.ones(2, 1, USERS), 0.1)
    twice = channel(h, 2.0 * torch.ones(2, 1, USERS), 0.2)
    torch.testing.assert_close(twice, 2.0**0.5 * once)
    noise = torch.tensor([[0.1, 0.2, 0.1]] * 2)
    louder = h.to(torch.complex128)
    louder[:, 1] *= 2.0**0.5
    found = channel(louder, torch.ones(2, 1, USERS), noise)
    found[:, 1] /= 2.0**0.5
    torch.testing.assert_close(found, once)


@needs_sionna
def test_each_transmitter_serves_its_own_receivers():
    grid = ResourceGrid(
        num_ofdm_symbols=SYMBOLS,
        fft_size=SUBCARRIERS,
        subcarrier_spacing=120e3,
        num_tx=2,
        num_streams_per_tx=USERS,
    )
    association = np.repeat([[0, 1], [1, 0]], USERS, axis=0)
    both = StreamManagement(association, USERS)
    _, h = tensors(users=2 * USERS, transmitters=2)
    _, g = HolographicPrecoder(grid, both, SURFACE, precision="double").design(h, 0.1)
    one = ResourceGrid(SYMBOLS, SUBCARRIERS, 120e3, num_streams_per_tx=USERS)
    streams = StreamManagement(np.ones((USERS, 1)), USERS)
    alone = HolographicPrecoder(one, streams, SURFACE, precision="double")
    for transmitter, own in ((0, slice(USERS, None)), (1, slice(USERS))):
        _, expected = alone.design(h[:, own, :, transmitter : transmitter + 1], 0.1)
        # Alone an item is rounded otherwise, and its ascent ends elsewhere on the same plateau.
        torch.testing.assert_close(g[:, transmitter], expected[:, 0], rtol=0.0, atol=5e-3)


@needs_sionna
def test_arguments_that_do_not_fit_are_named(grid, streams):
    for wrong in (
        {"objective": "fair"},
        {"objective": "energy_efficiency"},
        {"direct": 1.0},
        {"constraint": "total"},
        {"block": (0, 1)},
        {"objective": "max_min", "method": "zf"},
        {"surface": 3},
    ):
        with pytest.raises((TypeError, ValueError), match=rf"^{list(wrong)[-1]}: expected"):
            HolographicPrecoder(grid, streams, **{"surface": SURFACE, **wrong})
    small = HolographicPrecoder(grid, streams, hf.Surface(shape=(2, 2), feeds=3))
    x, h = tensors()
    with pytest.raises(ValueError, match=r"^h: expected 4 antennas"):
        small(x, h, 0.1)
