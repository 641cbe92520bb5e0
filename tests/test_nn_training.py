"""Training, weights as files, the shipped weights, and the method of `solve` over them."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.cli import main

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from hmimo_fast import nn  # noqa: E402
from hmimo_fast.nn.training import Training, load_recipe, validation  # noqa: E402

NAMES = ("mbdnn", "unrolled")
CONSTRAINTS = ("digital", "radiated")
networks = pytest.mark.parametrize("name", NAMES)
conventions = pytest.mark.parametrize("constraint", CONSTRAINTS)

#: Small ones of every model, by the name of its class.
SMALL: dict[str, Any] = {
    "MBDNN": lambda constraint: nn.MBDNN(layers=2, constraint=constraint),
    "GNN2D": lambda constraint: nn.GNN2D(widths=[4, 8], constraint=constraint),
    "FNN": lambda constraint: nn.FNN(width=16, constraint=constraint),
    "UnrolledNet": lambda constraint: nn.UnrolledNet(layers=2, constraint=constraint),
}
#: Least rate of the shipped weights over that of wmmse_hbf at 300 sweeps.
REACHES = {
    ("mbdnn", "digital"): 1.05,
    ("mbdnn", "radiated"): 1.0,
    ("unrolled", "digital"): 1.07,
    ("unrolled", "radiated"): 1.01,
}
SHORT: dict[str, Any] = {"shapes": [(4, 4), (3, 3)], "users": 2, "feeds": 2, "batch": 8}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads cost more than they save on problems of this size."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Tiny(torch.nn.Module):
    """Amplitudes from a single layer, with noise, and matched beams; it keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.3, -0.2]]))
            self.layer.bias.fill_(0.1)
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def forward(self, channel: Any, phase: Any, power: Any, noise_power: Any) -> tuple[Any, Any]:
        if self.training:
            self.seen.append((channel.numpy(), noise_power.numpy()))
        mean = channel.mean(1)
        features = torch.stack([mean.real, mean.imag], -1)
        noise = 0.1 * torch.rand(len(channel), 1)
        amplitudes = torch.sigmoid(self.layer(features)[..., 0] + noise)
        matched = (channel * amplitudes[:, None]).matmul(phase).mH
        return amplitudes, matched / matched.abs().square().sum((1, 2), keepdim=True).sqrt()


def state(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(state(one).items(), state(other).items(), strict=True)
    return all(a == b and np.array_equal(x, y) for (a, x), (b, y) in pairs)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# -- training ----------------------------------------------------------------------------


def test_training_raises_the_validation_rate(tmp_path: Path) -> None:
    """Two users of one feed: amplitudes are all there is to learn, so the rate must rise."""
    settings = SHORT | {"snr": (10.0, 10.0), "batch": 64, "steps": 60, "learning_rate": 0.1}
    nn.train(Tiny(), folder=tmp_path, check_every=10, **settings)
    rates = [float(row["rate"]) for row in rows(tmp_path)]
    assert len(rates) == 6
    assert rates[-1] > rates[0] + 0.05


def test_the_validation_rate_is_the_mean_sum_rate() -> None:
    """Of a network that hardly changes, within the error of 400 other draws."""
    heard: list[float] = []
    nn.train(
        Tiny(), report=lambda done, steps, rate: heard.append(rate), steps=1, learning_rate=1e-12,
        snr=(4.0, 16.0),
    )  # fmt: skip
    surface = hf.Surface(shape=(8, 8), feeds=6)
    phase = surface.phase.astype(np.complex64)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=400, seed=123).astype(np.complex64)
    with torch.no_grad():
        found = Tiny().eval()(torch.tensor(channel), torch.tensor(phase), 1.0, 0.1)
    amplitudes, digital = (tensor.numpy() for tensor in found)
    rates = [
        naive.weighted_rate(naive.sinr(h, m, phase, v, 0.1))
        for h, m, v in zip(channel, amplitudes, digital, strict=True)
    ]
    error = np.std(rates) * math.sqrt(1 / 400 + 1 / 256)
    assert abs(heard[0] - np.mean(rates)) < 4 * error


def test_batches_alternate_surfaces_and_mix_signal_to_noise_ratios() -> None:
    model = Tiny()
    nn.train(model, steps=6, snr=(5.0, 15.0), **SHORT)
    assert [channel.shape for channel, _ in model.seen] == [(8, 2, 16), (8, 2, 9)] * 3
    snr = -10.0 * np.log10([noise for _, noise in model.seen])
    assert ((snr > 5.0 - 1e-4) & (snr < 15.0 + 1e-4)).all()
    assert (snr.max(axis=1) - snr.min(axis=1) > 2.0).all()
    drawn = {channel.tobytes() for batch, _ in model.seen for channel in batch}
    assert len(drawn) == 6 * 8


def test_every_surface_has_each_pair_of_users_and_feeds_in_turn() -> None:
    model = Tiny()
    nn.train(model, steps=7, **SHORT | {"users": [2, 3], "feeds": (4, 3)})
    sizes = [channel.shape[1:] for channel, _ in model.seen]
    assert sizes == [(2, 16), (2, 9), (3, 16), (3, 9), (2, 16), (2, 9), (3, 16)]
    surface, channel, _ = validation(Training(**SHORT | {"users": [2, 3], "feeds": (4, 3)}))
    assert (surface.phase.shape, channel.shape) == ((16, 4), (256, 2, 16))


def test_samples_bound_what_is_seen() -> None:
    """Three channels per surface, drawn again and again."""
    model = Tiny()
    nn.train(model, steps=20, samples=3, **SHORT)
    drawn = {channel.tobytes() for batch, _ in model.seen for channel in batch}
    assert len(drawn) == 2 * 3


def test_the_seed_decides_every_bit() -> None:
    models = [Tiny(), Tiny(), Tiny()]
    before = torch.get_rng_state()
    one, again, other = (
        nn.train(model, steps=5, seed=seed, **SHORT)
        for model, seed in zip(models, (7, 7, 8), strict=True)
    )
    assert same(one, again)
    assert not same(one, other)
    assert torch.equal(before, torch.get_rng_state())
    assert not one.training


KILLED = """
import os, signal, sys
from pathlib import Path
from test_nn_training import SHORT, Tiny
from hmimo_fast import nn

def kill(done, steps, rate):
    if done == 12:
        os.kill(os.getpid(), signal.SIGKILL)

nn.train(Tiny(), folder=Path(sys.argv[1]), report=kill, steps=20, check_every=5, **SHORT)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    settings = SHORT | {"steps": 20, "check_every": 5}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10"]
    steps: list[int] = []
    resumed = nn.train(
        Tiny(), folder=tmp_path, report=lambda done, *rest: steps.append(done), **settings
    )
    assert steps == list(range(11, 21))
    assert same(resumed, nn.train(Tiny(), **settings))
    assert [row["step"] for row in rows(tmp_path)] == ["5", "10", "15", "20"]
    seconds = [float(row["seconds"]) for row in rows(tmp_path)]
    assert seconds == sorted(seconds)
    assert same(resumed, nn.train(Tiny(), folder=tmp_path, **settings))  # nothing left to do


def test_a_folder_holds_one_training(tmp_path: Path) -> None:
    nn.train(Tiny(), folder=tmp_path, steps=2, **SHORT)
    with pytest.raises(ValueError, match=r"^folder: expected .* it is of another training"):
        nn.train(Tiny(), folder=tmp_path, steps=3, **SHORT)
    checkpoint = tmp_path / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"^path: .*checkpoint.* is damaged"):
        nn.train(Tiny(), folder=tmp_path, steps=2, **SHORT)


def test_a_checkpoint_that_lacks_something_is_refused(tmp_path: Path) -> None:
    """It would resume with other bits."""
    settings = SHORT | {"steps": 2, "check_every": 1}
    nn.train(Tiny(), folder=tmp_path, **settings)
    file = tmp_path / "checkpoint.safetensors"
    whole = safetensors.load(file.read_bytes())
    with safetensors.safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["hmimo_fast"])

    def refused(tensors: dict[str, Any], about: Any, owner: str = "folder") -> None:
        file.write_bytes(safetensors.save(tensors, {"hmimo_fast": json.dumps(about)}))
        with pytest.raises(ValueError, match=rf"^{owner}: .*checkpoint\.safetensors"):
            nn.train(Tiny(), folder=tmp_path, **settings)

    refused({name: x for name, x in whole.items() if name.startswith("model.")}, about)
    for name, tensor in whole.items():
        refused({other: x for other, x in whole.items() if other != name}, about)
        refused(whole | {name: tensor.half()}, about)
        refused(whole | {name: torch.zeros(7)}, about)
    for key in about:
        refused(whole, {other: x for other, x in about.items() if other != key})
    refused(whole, about | {"log": []})
    refused(whole, about | {"log": [{}]})
    refused(whole, [about])
    file.write_bytes(safetensors.save(whole, {"hmimo_fast": json.dumps(about)}))
    nn.train(Tiny(), folder=tmp_path, **settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("batch", 2.5),
        ("users", True),
        ("users", (2, 0)),
        ("users", ()),
        ("users, feeds", {"users": (2, 3)}),
        ("samples", -1),
        ("seed", -1),
        ("snr", (20.0, 0.0)),
        ("snr", (0.0, math.nan)),
        ("shapes", []),
        ("learning_rate", 0.0),
        ("device", "abacus"),
    ],
)
def test_bad_settings_are_named(name: str, value: Any) -> None:
    settings = value if isinstance(value, dict) else {name: value}
    with pytest.raises(ValueError, match=rf"^{name}.*: expected "):
        nn.train(Tiny(), **settings)


def test_unknown_settings_are_named() -> None:
    with pytest.raises(TypeError, match="momentum"):
        nn.train(Tiny(), momentum=0.9)


def test_a_gradient_that_is_not_finite_stops_the_training() -> None:
    model = Tiny()
    with torch.no_grad():
        model.layer.bias.fill_(math.nan)
    with pytest.raises(FloatingPointError, match=r"^step 0: "):
        nn.train(model, **SHORT)


# -- weights as files --------------------------------------------------------------------


def small(name: str, constraint: str = "digital") -> torch.nn.Module:
    torch.manual_seed(3)
    return SMALL[name](constraint)


def outputs(model: torch.nn.Module, constraint: str = "digital") -> list[np.ndarray]:
    surface = hf.Surface(shape=(8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=3, seed=1).astype(np.complex64)
    phase = surface.phase.astype(np.complex64)
    with torch.no_grad():
        found = model.eval()(torch.tensor(channel), torch.tensor(phase), 2.0, 0.1)
    return [tensor.numpy() for tensor in found]


every_model = pytest.mark.parametrize("name", list(SMALL))


@every_model
@conventions
def test_a_model_comes_back_as_it_was_saved(name: str, constraint: str, tmp_path: Path) -> None:
    model = small(name, constraint)
    file = tmp_path / "model.safetensors"
    nn.save(model, file, {"steps": 3})
    loaded = nn.load(file)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert not loaded.training
    assert same(loaded, model)
    for ours, theirs in zip(outputs(loaded), outputs(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with safetensors.safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["hmimo_fast"])
    assert about == {"model": name, "config": model.config, "training": {"steps": 3}}
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


def test_only_our_models_are_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"^model: expected one of MBDNN, .*, got Tiny"):
        nn.save(Tiny(), tmp_path / "model.safetensors")
    with pytest.raises(TypeError, match=r"^model: expected all of float32 .*, got torch.float16"):
        nn.save(small("MBDNN").half(), tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def spoiled(whole: bytes, tensors: dict[str, Any], config: dict[str, Any]) -> dict[str, bytes]:
    """Files that are not valid models, by their defect."""

    def file(about: Any, tensors: dict[str, Any] = tensors) -> bytes:
        return safetensors.save(tensors, about and {"hmimo_fast": about})

    def model(name: Any, config: Any) -> str:
        return json.dumps({"model": name, "config": config, "training": None})

    def all_as(dtype: torch.dtype) -> dict[str, Any]:
        return {name: tensor.to(dtype) for name, tensor in tensors.items()}

    def first_as(dtype: torch.dtype) -> dict[str, Any]:
        return dict(list(all_as(dtype).items())[:1])

    rest = dict(list(tensors.items())[1:])
    return {
        "empty": b"",
        "cut": whole[:-7],
        "header cut": whole[:20],
        "noise": bytes(range(256)) * 8,
        "pickle": b"\x80\x04\x95" + whole,
        "no metadata": file(None),
        "no JSON": file("{"),
        "deep JSON": file("[" * 100_000),
        "a number of too many digits": file("1" * 10_000),
        "a list": file("[1]"),
        "unknown model": file(model("Transformer", config)),
        "unknown keyword": file(model("MBDNN", config | {"heads": 8})),
        "bad keyword": file(model("MBDNN", config | {"constraint": "sound"})),
        "another model": file(model("FNN", {})),
        "a list for its configuration": file(model("MBDNN", [])),
        "a list for its name": file(model([], config)),
        "too many layers": file(model("MBDNN", config | {"layers": 200_000})),
        "too many widths": file(model("GNN2D", {"widths": [1] * 200_000})),
        "layers beyond any integer": file(model("UnrolledNet", {"layers": 10**30})),
        "a width beyond any integer": file(model("UnrolledNet", {"width": 10**30})),
        "more layers than could end": file(model("MBDNN", config | {"first_layers": 10**9})),
        "a list for a number": file(model("MBDNN", config | {"first_layers": [4, 4]})),
        "no layers": file(model("MBDNN", config | {"layers": 0})),
        "layers by half": file(model("MBDNN", config | {"layers": 1.5})),
        "layers in words": file(model("MBDNN", config | {"layers": "two"})),
        "no widths": file(model("GNN2D", {"widths": []})),
        "a width of nothing": file(model("GNN2D", {"widths": [4, 0]})),
        "a width in words": file(model("GNN2D", {"widths": "four"})),
        "no tensors": file(model("MBDNN", config), {}),
        "mixed dtypes": file(model("MBDNN", config), rest | first_as(torch.float64)),
        "half precision": file(model("MBDNN", config), all_as(torch.float16)),
        "integers": file(model("MBDNN", config), all_as(torch.int64)),
        "tensor missing": file(model("MBDNN", config), rest),
        "tensors of one number": file(
            model("MBDNN", config), {name: torch.zeros(1) for name in tensors}
        ),
    }  # fmt: skip


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="no such file"):
        nn.load(file)
    model = small("MBDNN")
    nn.save(model, file)
    for wrong, content in spoiled(file.read_bytes(), model.state_dict(), model.config).items():
        file.write_bytes(content)
        began = time.perf_counter()
        with pytest.raises(ValueError, match=r"^path: .*model\.safetensors"):
            pytest.fail(f"{wrong}: {nn.load(file)}")
        assert time.perf_counter() - began < 2.0, wrong


# -- recipes and shipped weights ---------------------------------------------------------


@networks
@conventions
def test_shipped_weights_are_of_the_shipped_recipe(name: str, constraint: str) -> None:
    recipe = load_recipe(f"{name}_{constraint}")
    file = Path(nn.__file__).parent / "weights" / f"{name}_{constraint}.safetensors"
    with safetensors.safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["hmimo_fast"])
    assert about["model"] == recipe.model
    assert about["config"] == recipe.build().config
    assert about["training"] == json.loads(json.dumps(asdict(recipe.training)))
    assert recipe.config["constraint"] == constraint
    assert file.stat().st_size < 500_000


def test_a_recipe_starts_from_the_same_weights() -> None:
    recipe = load_recipe("mbdnn_digital")
    assert same(recipe.build(), recipe.build())
    other = replace(recipe, training=replace(recipe.training, seed=99))
    assert not same(recipe.build(), other.build())


@conventions
def test_the_untrained_network_is_what_the_training_begins_from(constraint: str) -> None:
    first = load_recipe(f"mbdnn_{constraint}").build()
    assert same(nn.load_pretrained("untrained", constraint), first)


def test_unknown_recipes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^recipe: expected one of fnn_4, fnn_radiated, .*'perceptron'"
    ):
        nn.train("perceptron")
    with pytest.raises(FileNotFoundError, match="no such file"):
        nn.train(tmp_path / "mine.json")
    file = tmp_path / "mine.json"
    for text in (
        b"{",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"model": "MBDNN", "config": {}, "training": {"pace": 3}}',
        b'{"model": "\xff"}',
    ):
        file.write_bytes(text)
        with pytest.raises(ValueError, match=r"^recipe: .*mine\.json"):
            nn.train(file)
    file.write_text('{"model": "Perceptron", "config": {}, "training": {}}')
    with pytest.raises(ValueError, match=r"^model: expected one of MBDNN, .*'Perceptron'"):
        nn.train(file)


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected one of mbdnn_digital, .*got gnn2d_radiated"):
        nn.load_pretrained("gnn2d")
    with pytest.raises(ValueError, match=r"expected one of mbdnn_digital, .*got mbdnn_sound"):
        nn.load_pretrained("mbdnn", "sound")


@pytest.fixture(scope="module")
def fresh() -> np.ndarray:
    """50 channels that no training saw, N = 64, K = L = 6."""
    return hf.channels.sparse_mmwave(hf.Surface((8, 8), feeds=6), users=6, size=50, seed=4242)


@networks
@conventions
def test_shipped_weights_reach_their_rate(name: str, constraint: str, fresh: np.ndarray) -> None:
    """Against the published baseline, by the module itself and rated by plain loops."""
    surface = hf.Surface((8, 8), feeds=6)
    model = nn.load_pretrained(name, constraint)
    with torch.no_grad():
        found = model(torch.tensor(fresh), torch.tensor(surface.phase), 1.0, 0.1)
    amplitudes, digital = (tensor.numpy() for tensor in found)
    rates = [
        naive.weighted_rate(naive.sinr(h, m, surface.phase, v, 0.1))
        for h, m, v in zip(fresh, amplitudes, digital, strict=True)
    ]
    baseline = hf.solve(fresh, surface.phase, method="wmmse_hbf", constraint=constraint)
    assert np.mean(rates) > REACHES[name, constraint] * baseline.sum_rate.mean()


@conventions
def test_training_counts(constraint: str, fresh: np.ndarray) -> None:
    """Training adds more than 1 % to the rate of the shipped network."""
    surface = hf.Surface((8, 8), feeds=6)
    trained, untrained = (
        hf.solve(fresh, surface.phase, method="mbdnn", constraint=constraint, model=model)
        for model in ("mbdnn", "untrained")
    )
    assert trained.sum_rate.mean() > 1.01 * untrained.sum_rate.mean()


# -- the method of `solve` ---------------------------------------------------------------


def check(solution: hf.Solution, channel: np.ndarray, phase: np.ndarray, noise: float) -> None:
    """Box, power and rates of every item by plain loops."""
    for at, h in enumerate(channel):
        m, v = solution.amplitudes[at], solution.digital[at]
        assert ((m >= 0.0) & (m <= 1.0)).all()
        used = naive.used_power(v, *((m, phase) if solution.constraint == "radiated" else ()))
        assert used == pytest.approx(2.0, rel=1e-5)
        rate = naive.weighted_rate(naive.sinr(h, m, phase, v, noise))
        assert solution.sum_rate[at] == pytest.approx(rate, rel=1e-6)


def network(channel: np.ndarray, phase: np.ndarray, **options: Any) -> hf.Solution:
    defaults: dict[str, Any] = {
        "power": 2.0, "noise_power": 0.2, "method": "mbdnn", "threads": 1
    }  # fmt: skip
    return hf.solve(channel, phase, **(defaults | options))


@networks
@conventions
@pytest.mark.parametrize(
    ("shape", "users", "feeds"),
    [((8, 8), 6, 6), ((8, 8), 4, 4), ((10, 10), 6, 6), ((4, 4), 1, 3), ((5, 5), 2, 1)],
    ids=str,
)
def test_solve_at_any_size(
    name: str, constraint: str, shape: tuple[int, int], users: int, feeds: int
) -> None:
    surface = hf.Surface(shape, feeds=feeds)
    channel = hf.channels.sparse_mmwave(surface, users, 3, seed=9)
    for dtype in (np.complex64, np.complex128):
        given = channel.astype(dtype)
        solution = network(given, surface.phase, model=name, constraint=constraint)
        assert solution.digital.dtype == dtype
        check(solution, given, surface.phase, 0.2)
        polished = network(given, surface.phase, model=name, constraint=constraint, polish=5)
        check(polished, given, surface.phase, 0.2)
        assert (polished.sum_rate >= solution.sum_rate * (1.0 - 1e-6)).all()


@networks
@conventions
def test_polish_never_lowers_the_weighted_rate(
    name: str, constraint: str, fresh: np.ndarray
) -> None:
    """And raises the mean; one iteration may fall behind the network's own beams."""
    phase = hf.Surface((8, 8), feeds=6).phase
    options = {"model": name, "constraint": constraint, "weights": [1.0, 2.0, 0.5, 1.0, 0.0, 3.0]}
    rates = [network(fresh, phase, polish=n, **options).sum_rate for n in (0, 1, 10)]
    for fewer, more in itertools.pairwise(rates):
        assert (more >= fewer - 1e-9).all()
    assert rates[2].mean() > rates[0].mean() + 0.1


def test_batches_of_any_shape(fresh: np.ndarray) -> None:
    phase = hf.Surface((8, 8), feeds=6).phase
    whole = network(fresh[:6], phase, power=[2.0, 1.0, 2.0, 1.0, 2.0, 1.0])
    folded = network(fresh[:6].reshape(3, 2, 6, 64), phase, power=[2.0, 1.0])
    np.testing.assert_allclose(folded.sum_rate.ravel(), whole.sum_rate, rtol=1e-4)
    assert folded.digital.shape == (3, 2, 6, 6)
    alone = network(fresh[0], phase)
    assert alone.sum_rate.shape == ()
    assert alone.sum_rate == pytest.approx(whole.sum_rate[0], rel=1e-4)
    assert network(fresh[:0], phase).sum_rate.shape == (0,)
    again = network(fresh[:6], phase, power=[2.0, 1.0, 2.0, 1.0, 2.0, 1.0], threads=2)
    np.testing.assert_array_equal(again.digital, whole.digital)


@networks
@conventions
@pytest.mark.parametrize("polish", [0, 2])
def test_a_bad_item_is_marked(name: str, constraint: str, polish: int, fresh: np.ndarray) -> None:
    phase = hf.Surface((8, 8), feeds=6).phase
    options = {"model": name, "constraint": constraint, "polish": polish}
    clean = network(fresh[:4], phase, **options)
    channel = fresh[:4].copy()
    channel[1, 2, 3] = np.nan
    channel[2] = 0.0
    solution = network(channel, phase, **options)
    assert np.isnan(solution.sum_rate[1])
    assert not solution.feasible[1]
    assert solution.sum_rate[2] == 0.0
    np.testing.assert_array_equal(solution.digital[[0, 3]], clean.digital[[0, 3]])


@networks
@conventions
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_a_channel_of_minus_170_db(
    name: str, constraint: str, dtype: Any, fresh: np.ndarray
) -> None:
    """The same problem in other units: the same rate, within what single precision can tell."""
    phase = hf.Surface((8, 8), feeds=6).phase
    options = {"model": name, "constraint": constraint}
    near = network(fresh[:8].astype(dtype), phase, **options)
    far = (fresh[:8] * 10.0 ** (-170 / 20)).astype(dtype)
    solution = network(far, phase, noise_power=0.2e-17, **options)
    np.testing.assert_allclose(solution.sum_rate, near.sum_rate, rtol=1e-2)
    assert solution.sum_rate.mean() == pytest.approx(near.sum_rate.mean(), rel=1e-3)


@networks
def test_any_number_of_threads_gives_the_same_bits(name: str) -> None:
    surface = hf.Surface((8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=70, seed=4)
    one, *others = (
        network(channel, surface.phase, model=name, threads=threads) for threads in (1, 2, 5)
    )
    for other in others:
        np.testing.assert_array_equal(other.digital, one.digital)


def test_threads_of_python_leave_those_of_torch_alone(fresh: np.ndarray) -> None:
    """However calls overlap, and in threads that come later."""
    phase = hf.Surface((8, 8), feeds=6).phase
    expected = network(fresh[:8], phase)
    torch.set_num_threads(3)

    def calls(threads: int) -> int:
        for _ in range(3):
            solution = network(fresh[:8], phase, threads=threads)
            np.testing.assert_allclose(solution.sum_rate, expected.sum_rate, rtol=1e-4)
        return torch.get_num_threads()

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(calls, [1, 2] * 8)) == {3}
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 3


def test_bad_options_are_named(fresh: np.ndarray) -> None:
    phase = hf.Surface((8, 8), feeds=6).phase
    with pytest.raises(ValueError, match="got gnn2d_radiated"):
        network(fresh[:1], phase, model="gnn2d")
    with pytest.raises(ValueError, match=r"^channel: expected one channel .* got F = 2"):
        network(fresh[:2], phase, shared=True)
    with pytest.raises(TypeError, match=r"^layers: expected an option of method 'mbdnn'"):
        network(fresh[:1], phase, layers=3)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import numpy as np
import hmimo_fast as hf
channel = np.ones((2, 4), complex)
assert hf.solve(channel, np.ones((4, 2), complex)).sum_rate >= 0.0
try:
    hf.solve(channel, np.ones((4, 2), complex), method="mbdnn")
except ImportError as error:
    print(error)
"""


@pytest.mark.slow
def test_without_torch_the_method_says_what_to_install() -> None:
    said = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "pip install 'hmimo_fast[nn]'" in said.stdout


# -- the command -------------------------------------------------------------------------


def test_the_command_trains_and_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "unrolled_digital", "--steps", "3", "--batch", "4"]
    assert main(command) == 0
    written = tmp_path / "train_unrolled_digital"
    assert {each.name for each in written.iterdir()} == {
        "checkpoint.safetensors", "log.csv", "model.safetensors"
    }  # fmt: skip
    said = capfd.readouterr()
    assert "model.safetensors" in said.out
    assert "step 3: " in said.err
    model = nn.load(written / "model.safetensors")
    assert model.config["constraint"] == "digital"
    first = (written / "model.safetensors").read_bytes()
    assert main(command) == 0  # from the checkpoint, with nothing left to do
    assert (written / "model.safetensors").read_bytes() == first
    assert main([*command, "--seed", "5"]) == 2
    assert "another training" in capfd.readouterr().err
    assert main(["train", "perceptron"]) == 2
    assert "recipe: expected one of" in capfd.readouterr().err
