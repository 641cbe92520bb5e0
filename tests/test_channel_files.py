"""Files as people have them: every layout in every container is read back equal, or refused."""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hmimo_fast as hf
from hmimo_fast.channels import load
from hmimo_fast.cli import main

h5py = pytest.importorskip("h5py")
LETTERS = {"users": "k", "elements": "n", "draws": "d", "subcarriers": "f"}


def channel_of(*shape):
    rng = np.random.default_rng(shape)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def write(folder, suffix, **arrays):
    path = folder / f"file{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".mat":
        scipy.io.savemat(path, arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    return path


SUFFIXES = (".npz", ".mat", ".h5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    suffix=st.sampled_from(SUFFIXES),
    more=st.sets(st.sampled_from(["draws", "subcarriers"])),
    data=st.data(),
    sizes=st.tuples(*[st.integers(2, 5)] * 4),
    conjugate=st.booleans(),
)
def test_named_axes_in_any_order_are_read_back(folder, suffix, more, data, sizes, conjugate):
    length = dict(zip(LETTERS, sizes, strict=True))
    there = [*sorted(more), "users", "elements"]
    truth = channel_of(*(length[axis] for axis in there))
    order = data.draw(st.permutations(there))
    letters = ["".join(LETTERS[axis] for axis in axes) for axes in (there, order)]
    stored = np.einsum(f"{letters[0]}->{letters[1]}", truth)
    path = write(folder, suffix, H=stored)
    scene = load(path, axes=",".join(order), conjugate=conjugate)
    np.testing.assert_array_equal(scene.channel, truth.conj() if conjugate else truth)
    for axis in there:
        assert f"{length[axis]} {axis}" in scene.reading


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    suffix=st.sampled_from(SUFFIXES),
    sizes=st.tuples(*[st.integers(2, 9)] * 3),
    order=st.sampled_from(
        list(itertools.permutations("kn1")) + list(itertools.permutations("knd"))
    ),
)
def test_a_guess_is_right_or_refused(folder, suffix, sizes, order):
    """With fewer users than elements, as the surface needs, no layout is read as another."""
    users, elements = sorted(sizes[:2])
    truth = channel_of(users, elements)
    draws = np.ones(sizes[2] if "d" in order else 1)
    stored = np.einsum(f"kn,d->{''.join(order).replace('1', 'd')}", truth, draws)
    path = write(folder, suffix, H=stored)
    refusal = ""
    try:
        found = load(path).channel
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert refusal.startswith("axes: ")
        assert len(refusal) <= 500
    else:
        np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "shape", [(8, 8), (9, 4), (4, 16, 100), (1, 16, 4), (3, 4, 5, 6), (2, 2, 3, 4, 5)]
)
def test_layouts_that_cannot_be_told_are_refused(tmp_path, suffix, shape):
    with pytest.raises(ValueError, match=r"^axes: .* name each"):
        load(write(tmp_path, suffix, H=channel_of(*shape)))


@pytest.mark.parametrize("axes", ["users", "users,elements,draws", "users,users", "users,rays"])
def test_axes_that_do_not_fit_are_named(tmp_path, axes):
    with pytest.raises(ValueError, match=r"^axes: "):
        load(write(tmp_path, ".npz", H=channel_of(3, 5)), axes=axes)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "names",
    [("H_real", "H_imag"), ("real", "imag"), ("H_re", "H_im"), ("H_r", "H_i"), ("Hreal", "Himag")],
)
def test_parts_stored_apart_are_joined(tmp_path, suffix, names):
    truth = channel_of(3, 5)
    path = write(tmp_path, suffix, **dict(zip(names, (truth.real, truth.imag), strict=True)))
    np.testing.assert_array_equal(load(path).channel, truth)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("at", "axes"), [(0, "parts,users,elements"), (2, "users,elements,parts")])
def test_an_axis_of_parts_is_refused_or_named(tmp_path, suffix, at, axes):
    truth = channel_of(3, 5)
    path = write(tmp_path, suffix, H=np.stack([truth.real, truth.imag], axis=at))
    for key in (None, "H"):
        with pytest.raises(ValueError, match=r"^key: "):
            load(path, key=key)
    np.testing.assert_array_equal(load(path, axes=axes, key="H").channel, truth)


@pytest.mark.parametrize("fields", [("real", "imag"), ("r", "i"), ("re", "im")])
@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_compounds_are_joined(tmp_path, suffix, fields):
    truth = channel_of(3, 5)
    stored = np.empty((3, 5), [(field, float) for field in fields])
    stored[fields[0]], stored[fields[1]] = truth.real, truth.imag
    np.testing.assert_array_equal(load(write(tmp_path, suffix, H=stored)).channel, truth)


@pytest.mark.parametrize("entry", [(1, 7), (7, 1)])
def test_matlab_cells_of_users(tmp_path, entry):
    truth = channel_of(4, 7)
    cell = np.empty((1, 4), object)
    for user in range(4):
        cell[0, user] = truth[user].reshape(entry)
    np.testing.assert_array_equal(load(write(tmp_path, ".mat", H=cell)).channel, truth)
    path = tmp_path / "cells73.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = [file.create_dataset(f"#refs#/{user}", data=cell[0, user].T) for user in range(4)]
        references = np.array([[item.ref] for item in cells], dtype=h5py.ref_dtype)
        file.create_dataset("H", data=references, dtype=h5py.ref_dtype)
    np.testing.assert_array_equal(load(path).channel, truth)


@pytest.mark.parametrize("key", [None, "H", "data.H"])
def test_matlab_structs(tmp_path, key):
    truth = channel_of(4, 7)
    path = write(tmp_path, ".mat", data={"H": truth, "fc": 28e9, "note": "text"})
    np.testing.assert_array_equal(load(path, key=key).channel, truth)


def test_deepmimo_of_matlab(tmp_path):
    """A cell of base stations, each with a cell of users, each a struct."""
    truth = channel_of(4, 7)
    users, stations = np.empty((1, 4), object), np.empty((1, 1), object)
    for user in range(4):
        users[0, user] = {"channel": truth[user][None], "loc": np.ones((1, 3))}
    stations[0, 0] = {"user": users}
    path = write(tmp_path, ".mat", DeepMIMO_dataset=stations)
    scene = load(path)
    np.testing.assert_array_equal(scene.channel, truth)
    assert scene.reading == "DeepMIMO_dataset.user.channel: 4 users × 7 elements"


def test_deepmimo_of_matlab_in_hdf5(tmp_path):
    """The same in version 7.3, where cells refer to structs, and structs are groups."""
    truth = channel_of(4, 7)
    path = tmp_path / "deepmimo.mat"
    with h5py.File(path, "w", userblock_size=512) as file:

        def cell(name, entries):
            references = np.array([[entry.ref] for entry in entries], dtype=h5py.ref_dtype)
            return file.create_dataset(name, data=references, dtype=h5py.ref_dtype)

        users = [file.create_group(f"#refs#/{user}") for user in range(4)]
        for user, entry in enumerate(users):
            entry["channel"] = truth[user][:, None]
            entry["loc"] = np.ones((3, 1))
        station = file.create_group("#refs#/station")
        cell("#refs#/station/user", users)
        again = cell("DeepMIMO_dataset", [station])
        cell("#refs#/station/loop", [again, again, station])
    scene = load(path)
    np.testing.assert_array_equal(scene.channel, truth)
    assert scene.reading == "DeepMIMO_dataset.user.channel: 4 users × 7 elements"


def test_what_cannot_be_read_blocks_nothing(tmp_path):
    truth = channel_of(4, 7)
    np.savez(tmp_path / "a.npz", H=truth, notes=np.array([None], dtype=object))
    np.testing.assert_array_equal(load(tmp_path / "a.npz").channel, truth)


def test_a_name_in_another_encoding_blocks_nothing(tmp_path):
    """As Latin-1, which h5py hands on as bytes."""
    truth = channel_of(4, 7)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["gr\xfc\xdfe/H".encode("latin-1")] = truth
        file["note\xe9".encode("latin-1")] = np.arange(3.0)
    scene = load(tmp_path / "a.h5")
    np.testing.assert_array_equal(scene.channel, truth)
    assert scene.reading == "gr\ufffd\ufffde/H: 4 users × 7 elements"


def test_objects_of_matlab_block_nothing(tmp_path):
    """An opaque object (a string or a table) has its name where others have dimensions."""

    def element(kind, data):
        return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)

    truth = channel_of(4, 7)
    path = write(tmp_path, ".mat", H=truth)
    texts = [element(1, text) for text in (b"table", b"MCOS", b"string")]
    opaque = element(14, element(6, struct.pack("<II", 17, 0)) + b"".join(texts))
    content = path.read_bytes()
    path.write_bytes(content[:128] + opaque + content[128:])
    np.testing.assert_array_equal(load(path).channel, truth)


def test_scipy_crashes_on_one_damaged_byte_of_matlab(tmp_path):
    """Why the format is read here: once this fails, `scipy.io.loadmat` can do it."""
    path = write(tmp_path, ".mat", H=np.ones((2, 3), complex))
    content = bytearray(path.read_bytes())
    content[content.index(struct.pack("=II", 9, 48))] = 15  # the type of the real parts
    path.write_bytes(content)
    code = f"import scipy.io; scipy.io.loadmat({str(path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode not in (0, 1)
    with pytest.raises(ValueError, match=r"^path: cannot read"):
        load(path)


def test_messages_are_bounded(tmp_path):
    path = write(tmp_path, ".h5", **{f"{'name' * 30}{i}": channel_of(2, 3) for i in range(300)})
    for key in (None, "absent" * 100):
        with pytest.raises(ValueError, match=r"^key: .* and 295 more") as caught:
            load(path, key=key)
        assert len(str(caught.value)) <= 520


@pytest.mark.parametrize("value", [28.0, 0.0, -28e9, np.nan, np.inf, 3500.0])
def test_a_frequency_that_is_none_is_refused_and_can_be_overridden(tmp_path, value):
    path = write(tmp_path, ".npz", H=channel_of(4, 9), frequency=value)
    with pytest.raises(ValueError, match=r"^frequency: expected Hz"):
        load(path)
    assert load(path, frequency=28e9).frequency == 28e9


def test_the_command_reads_by_axes_and_snr(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("h.npy", channel_of(4, 9).T)
    assert main(["solve", "h.npy"]) == 2
    assert "--axes: " in capsys.readouterr().err
    options = ["--axes", "elements,users", "--feeds", "4", "--snr", "10", "--no-figure"]
    assert main(["solve", "h.npy", *options]) == 0
    assert capsys.readouterr().out.startswith("h: 4 users × 9 elements\n")
    with np.load("solve_h.npz") as found:
        gain = (abs(found["channel"]) ** 2).mean()
        np.testing.assert_allclose(10 ** ((30 - found["noise_dbm"]) / 10) * gain, 10.0)
    assert main(["solve", "h.npy", *options, "--feeds", "10"]) == 2
    assert "--feeds: 10 feeds exceed the 9 elements" in capsys.readouterr().err


def test_inspect_shows_what_there_is_and_how_it_is_read(tmp_path, capsys):
    path = write(tmp_path, ".npz", H=channel_of(4, 9), square=channel_of(5, 5), gain=np.ones(3))
    assert main(["inspect", str(path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert any("H" in row and "4 × 9" in row and "4 users × 9 elements" in row for row in rows)
    assert any("square" in row and row.endswith("name its axes") for row in rows)
    assert any("gain" in row and row.endswith("-") for row in rows)


def test_subcarriers_share_the_amplitudes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    channel = channel_of(4, 1, 9, 3)
    np.save("h.npy", channel)
    options = ["solve", "h.npy", "--feeds", "4", "--snr", "10", "--no-figure"]
    assert main([*options, "--shared"]) == 0
    with np.load("solve_h.npz") as found:
        assert found["amplitudes"].shape == (1, 9)
        assert found["rates"].shape == (1, 3, 4)
        noise = 1e-3 * 10 ** (found["noise_dbm"] / 10)
        expected = hf.solve(found["channel"], found["phase"], 1.0, noise, shared=True)
        np.testing.assert_allclose(found["rates"][0], expected.rates)
    np.save("h.npy", channel[:, 0, :, 0])
    assert main([*options, "--shared"]) == 2
    assert "--shared: h.npy has a single subcarrier" in capsys.readouterr().err


# --- simulators --------------------------------------------------------------------------------


SURFACE = hf.Surface(shape=(4, 3), feeds=2)


def plane_wave(positions, towards):
    """A plane wave's phase at panel positions (y to the left, z up), element by element."""
    k = 2 * np.pi / SURFACE.wavelength
    return np.array([np.exp(1j * k * np.dot(at, towards)) for at in positions])


def places(order):
    """Of panel elements in the y-z plane, in metres."""
    y = (np.arange(4) - 1.5) * SURFACE.spacing
    z = (np.arange(3) - 1.0) * SURFACE.spacing
    if order == "sionna":  # column by column from the top left
        return [(0.0, a, b) for a in y for b in z[::-1]]
    return [(0.0, a, b) for b in z for a in y]  # along y first


@pytest.mark.parametrize("frequencies", [1, 3])
@pytest.mark.parametrize("order", ["sionna", "deepmimo"])
def test_plane_waves_have_the_order_and_sign_of_the_surface(order, frequencies):
    towards = np.array([[0.8, 0.36, 0.48], [0.6, -0.64, 0.48]])
    waves = np.stack([plane_wave(places(order), u) for u in towards])
    waves = waves[..., None] * np.arange(1, frequencies + 1)
    expected = SURFACE.steering(towards[:, [1, 2, 0]])
    if order == "sionna":
        found = hf.channels.from_sionna(waves[:, None, None, :, None], shape=(4, 3))
    else:
        found = hf.channels.from_deepmimo(waves[:, None], shape=(4, 3))
    wanted = expected if frequencies == 1 else np.arange(1, 4)[:, None, None] * expected
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_recorded_response_of_sionna_equals_the_shipped_set():
    source = resources.files("hmimo_fast") / "data" / "munich_30ghz.npz"
    with source.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        recorded = archive["H_8x8"]
    found = hf.channels.from_sionna(recorded[:, None, None, :, None, None])
    np.testing.assert_array_equal(found, load("munich").channel)


def test_simulators_refuse_other_shapes():
    for read in (hf.channels.from_sionna, hf.channels.from_deepmimo):
        with pytest.raises(ValueError, match=r"expected complex"):
            read(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"^shape: "):
        hf.channels.from_deepmimo(channel_of(2, 1, 12, 1))
