"""Channel models: statistics, reproducibility, loops; loaders: formats, the shipped set, damage."""

from __future__ import annotations

import builtins
import cmath
import importlib.resources
import math
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.stats

from hmimo_fast import channels
from hmimo_fast.channels import Scene, load, near_field, rayleigh, rician, sparse_mmwave
from hmimo_fast.files import read_arrays
from hmimo_fast.surface import Surface

DATA = Path(__file__).parent / "data"
LIGHT = 299_792_458.0
SURFACE = Surface((4, 3), feeds=2)
MODELS = [sparse_mmwave, rician, rayleigh]

models = pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)


# --- the random models -------------------------------------------------------------------------


@models
def test_shapes_and_types(model):
    single, batch = model(SURFACE, 5, seed=0), model(SURFACE, 5, 7, seed=0)
    assert single.shape == (5, 12)
    assert batch.shape == (7, 5, 12)
    assert model(SURFACE, 5, 0, seed=0).shape == (0, 5, 12)
    for channel in (single, batch):
        assert channel.dtype == np.complex128
        assert channel.flags.c_contiguous


@models
@pytest.mark.parametrize("users", [1, 3])
@pytest.mark.parametrize("surface", [SURFACE, Surface((1, 1), feeds=1)], ids=["12", "1"])
def test_an_item_does_not_depend_on_the_size_of_its_batch(model, users, surface):
    whole = model(surface, users, 41, seed=11)
    for size in (1, 2, 7, 40):
        np.testing.assert_array_equal(model(surface, users, size, seed=11), whole[:size])
    np.testing.assert_array_equal(model(surface, users, seed=11), whole[0])


@models
def test_an_item_does_not_depend_on_the_blocks_it_is_drawn_in(model, monkeypatch):
    whole = model(SURFACE, 3, 40, seed=11)
    monkeypatch.setattr(channels.models, "_BLOCK", 100)  # two items at a time
    np.testing.assert_array_equal(model(SURFACE, 3, 40, seed=11), whole)


@models
def test_seeds(model):
    first = model(SURFACE, 3, 4, seed=1)
    np.testing.assert_array_equal(model(SURFACE, 3, 4, seed=1), first)
    assert not np.isclose(model(SURFACE, 3, 4, seed=2), first).any()
    assert not np.isclose(model(SURFACE, 3, 4), model(SURFACE, 3, 4)).any()
    rng = np.random.default_rng(1)
    parts = [model(SURFACE, 3, 1, seed=rng), model(SURFACE, 3, 3, seed=rng)]
    np.testing.assert_array_equal(np.concatenate(parts), first)


@models
def test_items_and_users_are_independent(model):
    channel = model(SURFACE, 2, 20_000, seed=5)
    standard = channel / np.sqrt((np.abs(channel) ** 2).mean(axis=0))
    across_users = (standard[:, 0] * standard[:, 1].conj()).mean(axis=0)
    across_items = (standard[1:, 0] * standard[:-1, 0].conj()).mean(axis=0)
    assert np.abs(across_users).max() < 0.04
    assert np.abs(across_items).max() < 0.04


def test_one_path_is_a_plane_wave_with_the_stated_distributions():
    channel = sparse_mmwave(SURFACE, 1, 5000, seed=3, paths=1)[:, 0].reshape(-1, 4, 3)
    np.testing.assert_allclose(np.abs(channel), np.abs(channel[:, :1, :1]) * np.ones((4, 3)))
    # Between neighbours lambda/4 apart the phase cannot wrap: it reads the direction.
    step = SURFACE.wavenumber * SURFACE.spacing
    x_step, y_step = channel[:, 1:] / channel[:, :-1], channel[:, :, 1:] / channel[:, :, :-1]
    x, y = np.angle(x_step) / step, np.angle(y_step) / step
    np.testing.assert_allclose(x, x[:, :1, :1] * np.ones((3, 3)), atol=1e-12)
    np.testing.assert_allclose(y, y[:, :1, :1] * np.ones((4, 2)), atol=1e-12)
    x, y = x[:, 0, 0], y[:, 0, 0]
    theta, phi = np.arcsin(np.hypot(x, y)), np.arctan2(y, x)
    gain = channel.mean(axis=(1, 2)) / (channel / channel[:, :1, :1]).mean(axis=(1, 2))
    gain *= np.exp(-1j * step * (-1.5 * x - 1.0 * y))  # back from element 0 to the centre
    for sample, law in (
        (theta / (math.pi / 2), "uniform"),
        ((phi + math.pi) / (2 * math.pi), "uniform"),
        ((np.angle(gain) + math.pi) / (2 * math.pi), "uniform"),
        (np.abs(gain) ** 2, "expon"),
    ):
        assert scipy.stats.kstest(sample, law).pvalue > 1e-3
    assert abs(scipy.stats.spearmanr(theta, np.abs(gain)).statistic) < 0.05
    assert abs(scipy.stats.spearmanr(theta, phi).statistic) < 0.05


def test_a_sparse_channel_has_the_rank_of_its_paths():
    # On the grid of elements, each plane wave is an outer product.
    for paths in (1, 2, 3):
        channel = sparse_mmwave(Surface((6, 6)), 1, seed=8, paths=paths)
        values = np.linalg.svd(channel.reshape(6, 6), compute_uv=False)
        assert values[paths - 1] > 1e-4 * values[0]
        assert values[paths] < 1e-12 * values[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1.1, 1.1, 1.1]),
        ({"paths": 1}, [1.0, 1.0, 1.0]),
        ({"paths": 4, "scatter": 0.5}, [2.5, 2.5, 2.5]),
        ({"gain_ratio": 1.2}, [1.1, 1.1 / 1.44, 1.1 / 1.44**2]),
    ],
)
def test_mean_power_of_sparse_channels(options, expected):
    channel = sparse_mmwave(SURFACE, 3, 30_000, seed=2, **options)
    power = (np.abs(channel) ** 2).mean(axis=(0, 2))
    np.testing.assert_allclose(power, expected, rtol=0.03)


@pytest.mark.parametrize("factor", [0.0, 1.0, 10.0])
def test_moments_of_rician_channels(factor):
    power = np.abs(rician(SURFACE, 2, 20_000, seed=4, factor=factor)) ** 2
    assert power.mean() == pytest.approx(1, rel=0.01)
    fourth = (factor**2 + 4 * factor + 2) / (factor + 1) ** 2
    assert (power**2).mean() == pytest.approx(fourth, rel=0.02)


def test_a_rician_channel_tends_to_a_plane_wave():
    channel = rician(Surface((6, 6)), 1, 20, seed=4, factor=1e12)
    values = np.linalg.svd(channel.reshape(-1, 6, 6), compute_uv=False)
    assert (values[:, 1] < 1e-4 * values[:, 0]).all()
    np.testing.assert_allclose(np.abs(channel), 1, atol=1e-5)


def test_rayleigh_entries_are_independent_and_normal():
    channel = rayleigh(SURFACE, 1, 20_000, seed=6)[:, 0]
    covariance = channel.conj().T @ channel / len(channel)
    np.testing.assert_allclose(covariance, np.eye(12), atol=0.04)
    for part in (channel[:, 0].real, channel[:, 7].imag):
        assert scipy.stats.kstest(part * math.sqrt(2), "norm").pvalue > 1e-3
    assert abs((channel**2).mean()) < 0.01


@models
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"users": 0}, ValueError, "users: expected a positive integer, got 0"),
        ({"users": 2.0}, TypeError, "users: expected a positive integer, got 2.0"),
        ({"users": 2, "size": -1}, ValueError, "size: "),
        ({"users": 2, "size": 1.5}, TypeError, "size: "),
        ({"users": 2, "seed": -1}, ValueError, "seed: "),
        ({"users": 2, "seed": "zero"}, (TypeError, ValueError), "seed: "),
    ],
)
def test_wrong_arguments_are_named(model, arguments, error, message):
    with pytest.raises(error, match=r"^" + message):
        model(SURFACE, **arguments)


@pytest.mark.parametrize(
    ("model", "option"),
    [
        (sparse_mmwave, {"paths": 0}),
        (sparse_mmwave, {"scatter": -0.1}),
        (sparse_mmwave, {"gain_ratio": 0.0}),
        (rician, {"factor": -1.0}),
        (rician, {"factor": math.inf}),
    ],
)
def test_wrong_options_are_named(model, option):
    with pytest.raises(ValueError, match=f"^{next(iter(option))}: expected"):
        model(SURFACE, 2, **option)


# --- near field --------------------------------------------------------------------------------


def test_near_field_is_a_spherical_wave():
    rng = np.random.default_rng(0)
    users = rng.uniform(0.1, 1, (2, 3, 3))
    channel = near_field(SURFACE, users)
    assert channel.shape == (2, 3, 12)
    assert channel.dtype == np.complex128
    wavelength = LIGHT / 30e9
    for item in range(2):
        for k in range(3):
            for n in range(12):
                r = math.dist(users[item, k], SURFACE.positions[n])
                wave = cmath.exp(-2j * math.pi * r / wavelength) * wavelength / (4 * math.pi * r)
                assert channel[item, k, n] == pytest.approx(wave, rel=1e-10)


def test_near_field_tends_to_a_plane_wave():
    unit = np.array([0.48, -0.6, 0.64])
    channel = near_field(SURFACE, 1e4 * unit[None])[0]
    ratio = channel / SURFACE.steering(unit)
    np.testing.assert_allclose(ratio / ratio[0], 1, atol=1e-4)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros(3), r"expected \(\.\.\., K, 3\), got \(3,\)"),
        (np.zeros((4, 2)), r"expected \(\.\.\., K, 3\), got \(4, 2\)"),
        ([[0, math.nan, 1]], "expected finite values"),
        (SURFACE.positions[5:6], "a user stands on an element"),
    ],
)
def test_near_field_names_wrong_positions(positions, message):
    with pytest.raises(ValueError, match=r"^user_positions: " + message):
        near_field(SURFACE, positions)


# --- the shipped set ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def traced():
    source = importlib.resources.files("hmimo_fast") / "data" / "munich_30ghz.npz"
    with importlib.resources.as_file(source) as path, np.load(path, allow_pickle=False) as archive:
        return dict(archive)


def in_the_world(theta, phi):
    theta, phi = theta.astype(float), phi.astype(float)
    return np.stack(
        [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1
    )


@pytest.mark.parametrize("side", [8, 32])
def test_munich_is_numbered_as_the_surface_is(side, traced):
    """Rebuild H from the traced paths at the surface's own elements, turned into the world."""
    surface = Surface((side, side), spacing=2.5e-3, frequency=30e9)
    scene = load("munich", shape=(side, side))
    assert scene.channel.dtype == np.complex64
    assert scene.channel.shape == (88, side**2)
    elements = surface.positions @ scene.surface_rotation.T
    leaving = in_the_world(traced["theta_t"], traced["phi_t"])
    for user in range(88):
        valid = traced["path_valid"][user]
        delay = traced["path_tau"][user, valid]
        arriving = traced["path_gain"][user, valid] * np.exp(
            -2j * np.pi * traced["frequency"] * (delay - delay.min())
        )
        turns = 2 * np.pi / traced["wavelength"] * leaving[user, valid] @ elements.T
        rebuilt = arriving @ np.exp(1j * turns)
        traced_row = scene.channel[user].astype(complex)
        agreement = abs(np.vdot(rebuilt, traced_row))
        agreement /= np.linalg.norm(rebuilt) * np.linalg.norm(traced_row)
        assert agreement > 0.999


def test_munich_users_are_where_the_line_of_sight_leaves_to(traced):
    scene = load("munich")
    assert scene.name == "munich"
    assert scene.frequency == 30e9
    np.testing.assert_array_equal(scene.user_positions, traced["ue_position"])
    np.testing.assert_array_equal(scene.line_of_sight, traced["is_los"])
    assert int(scene.line_of_sight.sum()) == 64
    directions = scene.directions(scene.user_positions)
    distances = np.linalg.norm(scene.to_surface(scene.user_positions), axis=-1)
    leaving = in_the_world(traced["theta_t"], traced["phi_t"]) @ scene.surface_rotation
    found = 0
    for user in np.flatnonzero(scene.line_of_sight):
        direct = np.flatnonzero(
            traced["path_valid"][user] & (traced["path_first_interaction"][user] == 0)
        )
        np.testing.assert_allclose(leaving[user, direct[0]], directions[user], atol=1e-5)
        flight = traced["path_tau"][user, direct[0]] * LIGHT
        assert flight == pytest.approx(distances[user], rel=1e-5)
        found += 1
    assert found == 64


def test_the_munich_surface_stands_upright_and_looks_at_the_users():
    scene = load("munich")
    x_axis, y_axis, normal = scene.surface_rotation.T
    np.testing.assert_allclose(np.cross(x_axis, y_axis), normal, atol=1e-6)
    aim = np.array([45, 90, 1.5]) - [8.5, 21, 27]
    np.testing.assert_allclose(normal, aim / np.linalg.norm(aim), atol=1e-6)
    assert x_axis[2] == pytest.approx(0, abs=1e-6)  # level
    assert y_axis[2] > 0.9  # upwards


def test_munich_calls_are_independent():
    load("munich").channel[:] = 0
    assert np.abs(load("munich").channel).min() > 0


@pytest.mark.parametrize("arguments", [{"shape": (16, 16)}, {"shape": 8}, {"key": "H_8x8"}])
def test_munich_names_wrong_arguments(arguments):
    with pytest.raises(ValueError, match=f"^{next(iter(arguments))}: "):
        load("munich", **arguments)


# --- Scene -------------------------------------------------------------------------------------


def test_scene_frames():
    turned = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # own x, y, z: world y, z, x
    scene = Scene(np.ones((1, 4), complex), surface_position=[1, 2, 3], surface_rotation=turned)
    np.testing.assert_allclose(scene.to_surface([[11, 2, 3], [1, 7, 3]]), [[0, 0, 10], [5, 0, 0]])
    np.testing.assert_allclose(scene.directions([1, 5, 7]), [0.6, 0.8, 0])
    with pytest.raises(ValueError, match=r"^points: expected points apart"):
        scene.directions([1, 2, 3])
    with pytest.raises(ValueError, match=r"^points: expected \(\.\.\., 3\), got \(2,\)"):
        scene.to_surface([1, 2])


def test_scene_without_a_place_says_so():
    with pytest.raises(ValueError, match="'here' has no surface_position"):
        Scene(np.ones((1, 4), complex), name="here").directions([0, 0, 1])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_positions", np.zeros((3, 3))),
        ("surface_position", np.zeros(2)),
        ("surface_rotation", np.ones((3, 3))),
        ("line_of_sight", np.ones(3, bool)),
    ],
)
def test_scene_names_fields_that_do_not_fit(field, value):
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        Scene(np.ones((2, 4), complex), **{field: value})
    with pytest.raises(ValueError, match=r"^channel: "):
        Scene(np.ones(4, complex))


# --- files -------------------------------------------------------------------------------------


def channel_of(shape, dtype=np.complex128):
    rng = np.random.default_rng(len(shape))
    return (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(dtype)


def write_npy(path, arrays):
    np.save(path, next(iter(arrays.values())))


def write_npz(path, arrays):
    np.savez_compressed(path, **arrays)


def write_mat(path, arrays):
    scipy.io.savemat(path, {name: np.asfortranarray(array) for name, array in arrays.items()})


def write_mat7(path, arrays):
    scipy.io.savemat(path, arrays, do_compression=True)


def write_mat73(path, arrays):
    """As MATLAB writes -v7.3: a user block, dimensions reversed, compound complex numbers."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            stored = np.atleast_2d(array).T
            if stored.dtype.kind == "c":
                part = stored.real.dtype
                compound = np.empty(stored.shape, [("real", part), ("imag", part)])
                compound["real"], compound["imag"] = stored.real, stored.imag
                stored = compound
            file[name] = stored
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_h5(path, arrays):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


WRITERS = {
    "npy": (write_npy, "file.npy"),
    "npz": (write_npz, "file.npz"),
    "mat": (write_mat, "file.mat"),
    "mat7": (write_mat7, "file.mat"),
    "mat73": (write_mat73, "file.mat"),
    "h5": (write_h5, "file.h5"),
    "hdf5": (write_h5, "FILE.HDF5"),
}
formats = pytest.mark.parametrize("kind", WRITERS)
containers = pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "npy"])


def save(folder, kind, **arrays):
    writer, name = WRITERS[kind]
    writer(folder / name, arrays)
    return folder / name


@formats
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_every_format_gives_users_by_elements(kind, dtype, tmp_path):
    channel = channel_of((5, 12), dtype)
    path = save(tmp_path, kind, H=channel)
    for scene in (load(path), load(str(path), shape=(4, 3))):
        np.testing.assert_array_equal(scene.channel, channel)
        assert scene.channel.dtype == dtype
        assert scene.channel.flags.c_contiguous
        assert scene.name == path.stem
        assert scene.user_positions is None
        assert scene.surface_position is None
        assert scene.frequency is None


@formats
def test_every_format_gives_batches(kind, tmp_path):
    channel = channel_of((4, 5, 12))
    np.testing.assert_array_equal(load(save(tmp_path, kind, H=channel), (4, 3)).channel, channel)


@formats
def test_every_format_gives_deepmimo_subcarriers(kind, tmp_path):
    channel = channel_of((5, 1, 12, 3))
    loaded = load(save(tmp_path, kind, H=channel)).channel
    assert loaded.shape == (3, 5, 12)
    assert loaded.flags.c_contiguous
    for subcarrier in range(3):
        np.testing.assert_array_equal(loaded[subcarrier], channel[:, 0, :, subcarrier])


@formats
def test_every_format_gives_deepmimo_at_one_frequency(kind, tmp_path):
    channel = channel_of((5, 1, 12, 1))
    np.testing.assert_array_equal(
        load(save(tmp_path, kind, H=channel)).channel, channel[:, 0, :, 0]
    )


@pytest.mark.parametrize("kind", ["mat", "mat7", "mat73"])
def test_matlab_drops_the_last_dimension_of_one(kind, tmp_path):
    channel = channel_of((5, 1, 12))
    np.testing.assert_array_equal(load(save(tmp_path, kind, H=channel)).channel, channel[:, 0])


@containers
def test_every_container_gives_the_places(kind, tmp_path):
    users = np.arange(15.0).reshape(5, 3)
    turned = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    scene = load(
        save(
            tmp_path,
            kind,
            H=channel_of((5, 12)),
            user_positions=users,
            surface_position=np.array([1.0, 2, 3]),
            surface_rotation=turned,
            line_of_sight=np.array([1.0, 0, 1, 1, -1]),
            frequency=np.array(28e9),
            note=np.zeros((2, 2)),
        )
    )
    np.testing.assert_array_equal(scene.user_positions, users)
    np.testing.assert_array_equal(scene.surface_position, [1, 2, 3])
    np.testing.assert_array_equal(scene.surface_rotation, turned)
    np.testing.assert_array_equal(scene.line_of_sight, [True, False, True, True, False])
    assert scene.frequency == 28e9


def test_places_that_do_not_fit_are_left_out(tmp_path):
    path = save(
        tmp_path, "npz", H=channel_of((5, 12)), user_positions=np.ones((4, 3)), frequency=np.ones(8)
    )
    scene = load(path)
    assert scene.user_positions is None
    assert scene.frequency is None


@containers
def test_key_chooses_among_several(kind, tmp_path):
    first, second = channel_of((5, 12)), channel_of((2, 5, 12))
    path = save(tmp_path, kind, uplink=first, downlink=second, frequency=np.array(1e9))
    np.testing.assert_array_equal(load(path, key="uplink").channel, first)
    scene = load(path, (4, 3), key="downlink")
    np.testing.assert_array_equal(scene.channel, second)
    assert scene.frequency == 1e9
    with pytest.raises(ValueError, match=r"^key: .* found 2; .*downlink complex128 \(2, 5, 12\)"):
        load(path)
    with pytest.raises(ValueError, match=r"^key: no array of numbers 'sidelink'"):
        load(path, key="sidelink")


def test_key_reaches_into_hdf5_groups(tmp_path):
    h5py = pytest.importorskip("h5py")
    channel = channel_of((5, 12))
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["cell/1/H"] = channel
        file["cell/2/H"] = 2 * channel
    np.testing.assert_array_equal(load(tmp_path / "run.h5", key="cell/2/H").channel, 2 * channel)


@containers
def test_a_file_without_channels_lists_what_it_holds(kind, tmp_path):
    path = save(tmp_path, kind, gains=np.ones((5, 12)), note=np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"^key: .* found 0; .*gains float64 \(5, 12\)"):
        load(path)
    with pytest.raises(ValueError, match=r"^key: 'gains' is real"):
        load(path, key="gains")


def test_vectors_and_foreign_byte_order(tmp_path):
    with pytest.raises(ValueError, match=r"^key: .* complex128 \(12,\)"):
        load(save(tmp_path, "npy", H=channel_of((12,))))
    with pytest.raises(ValueError, match=r"^axes: cannot tell"):
        load(save(tmp_path, "npz", H=channel_of((12,))), key="H")
    channel = channel_of((5, 12), np.complex64)
    swapped = save(tmp_path, "npy", H=np.asfortranarray(channel.astype(">c8")))
    loaded = load(swapped).channel
    np.testing.assert_array_equal(loaded, channel)
    assert loaded.dtype.isnative


def test_several_receive_antennas_are_refused(tmp_path):
    path = save(tmp_path, "npz", H=channel_of((5, 2, 12, 1)))
    with pytest.raises(ValueError, match=r"^axes: cannot tell .*\(5, 2, 12, 1\)"):
        load(path)


def test_shape_is_checked(tmp_path):
    path = save(tmp_path, "npz", H=channel_of((5, 12)))
    with pytest.raises(ValueError, match=r"^shape: .* has 12 elements, expected 64"):
        load(path, shape=(8, 8))


def test_deepmimo_file():
    path = DATA / "deepmimo_munich_8x8_channel.npz"
    scene = load(path, shape=(8, 8))
    with np.load(path, allow_pickle=False) as archive:
        np.testing.assert_array_equal(scene.channel, archive["channel"].reshape(88, 64))
        np.testing.assert_allclose(scene.user_positions, archive["rx_pos"])
        np.testing.assert_allclose(scene.surface_position, archive["tx_pos"][0])
        np.testing.assert_array_equal(scene.line_of_sight, archive["los"] == 1)
    assert scene.channel.dtype == np.complex64
    assert scene.surface_rotation is None


# --- damage ------------------------------------------------------------------------------------


def test_pickles_are_refused(tmp_path):
    trap = Trap()
    np.save(tmp_path / "trap.npy", np.array([trap], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "trap.npz", H=np.array([trap], dtype=object))
    for name in ("trap.npy", "trap.npz"):
        with pytest.raises(ValueError, match=r"^path: cannot read .*[Oo]bject arrays"):
            load(tmp_path / name)
    assert not Trap.sprung
    np.load(tmp_path / "trap.npy", allow_pickle=True)
    assert Trap.sprung  # so the file did hold what must not run


class Trap:
    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


def test_pickles_beside_the_channel_do_no_harm(tmp_path):
    channel = channel_of((5, 12))
    np.savez(tmp_path / "mixed.npz", H=channel, notes=np.array([None], dtype=object))
    np.testing.assert_array_equal(load(tmp_path / "mixed.npz", key="H").channel, channel)


@formats
@pytest.mark.parametrize("keep", [0, 7, 0.3, 0.7])
def test_truncated_files_are_named(kind, keep, tmp_path):
    path = save(tmp_path, kind, H=channel_of((30, 120)))
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    with pytest.raises(ValueError, match=r"^path: cannot read .*" + path.name):
        load(path)


@pytest.mark.parametrize("kind", ["npy", "npz", "mat", "mat7"])
def test_damaged_files_are_value_errors_or_read(kind, tmp_path):
    rng = np.random.default_rng(1)
    path = save(tmp_path, kind, H=channel_of((30, 12)))
    content = path.read_bytes()
    refused = 0
    for _ in range(200):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 700), 4):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except ValueError:
            refused += 1
    assert refused > 0


def test_only_plain_numbers_are_read_from_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    channel = channel_of((5, 12))
    wide = h5py.h5t.IEEE_F64LE.copy()
    wide.set_size(16)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["H"] = channel
        file["note"] = "text"
        file["names"] = np.array([b"one", b"two"])
        space = h5py.h5s.create_simple((2, 3))
        h5py.h5d.create(file.id, b"wide", wide, space)
    np.testing.assert_array_equal(load(tmp_path / "odd.h5").channel, channel)
    for key in ("note", "names", "wide"):
        with pytest.raises(ValueError, match=r"^key: "):
            load(tmp_path / "odd.h5", key=key)


@pytest.mark.parametrize("order", ["<", ">"])
def test_matlab_files_of_either_byte_order_and_of_small_types(order, tmp_path):
    """MATLAB stores whole numbers in the smallest type, and four bytes or fewer in the tag."""

    def element(kind, data):
        return struct.pack(order + "II", kind, len(data)) + data + b"\0" * (-len(data) % 8)

    def small(kind, data):
        word = struct.pack(order + "I", len(data) << 16 | kind)
        return word + data + b"\0" * (4 - len(data))

    def matrix(name, flags, shape, *parts):
        return element(
            14,
            element(6, struct.pack(order + "II", flags, 0))
            + element(5, struct.pack(order + "ii", *shape))
            + small(1, name)
            + b"".join(parts),
        )

    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(order + "HH", 0x0100, 0x4D49)
    halves = struct.pack(order + "6f", 0.5, 1.5, 2.5, 3.5, 4.5, 5.5)
    whole = struct.pack(order + "6h", -1, -2, -3, -4, -5, -6)
    double_complex, single_complex, double = 0x0806, 0x0807, 0x0006
    path = tmp_path / "either.mat"
    squeezed = zlib.compress(matrix(b"s", double, (1, 2), small(2, b"\x07\x09")))
    path.write_bytes(
        header
        + struct.pack(order + "II", 15, len(squeezed))  # compressed elements are not padded
        + squeezed
        + matrix(b"H", double_complex, (2, 3), element(7, halves), element(3, whole))
        + matrix(b"G", single_complex, (2, 2), small(2, b"\1\2\3\4"), small(1, b"\xff\0\0\0"))
    )
    H = load(path, key="H").channel
    np.testing.assert_array_equal(
        H, [[0.5 - 1j, 2.5 - 3j, 4.5 - 5j], [1.5 - 2j, 3.5 - 4j, 5.5 - 6j]]
    )
    assert H.dtype == np.complex128
    G = load(path, key="G", axes="users,elements").channel
    np.testing.assert_array_equal(G, [[1 - 1j, 3], [2, 4]])
    assert G.dtype == np.complex64
    np.testing.assert_array_equal(read_arrays(path)["s"], [[7, 9]])


@pytest.mark.parametrize("suffix", ["npz", "npy", "mat", "h5"])
def test_text_in_disguise_is_named(suffix, tmp_path):
    path = tmp_path / f"notes.{suffix}"
    path.write_text("users, elements\n" * 100)
    with pytest.raises(ValueError, match=r"^path: cannot read"):
        load(path)


def test_missing_files_and_unknown_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^path: no such file: .*absent.npz"):
        load(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match=r'^path: expected "munich" or a file .*got .munchen.'):
        load("munchen")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(FileNotFoundError, match=r"^path: no such file"):
        load(tmp_path / "folder.npz")


def test_hdf5_asks_for_h5py_where_it_is_missing(tmp_path, monkeypatch):
    path = save(tmp_path, "mat73", H=channel_of((5, 12)))
    shutil.copy(path, tmp_path / "file.h5")
    plain = builtins.__import__

    def without_h5py(name, *rest, **options):
        if name == "h5py":
            raise ImportError(name)
        return plain(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_h5py)
    for file in (path, tmp_path / "file.h5"):
        with pytest.raises(ImportError, match=r"needs h5py: pip install hmimo_fast\[io\]"):
            load(file)
