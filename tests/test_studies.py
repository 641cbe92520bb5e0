"""Studies: the content of a chunk, the same bits on every engine and after a kill, figures."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.stats
from xarray import Dataset

import hmimo_fast as hf
from hmimo_fast import studies
from hmimo_fast.cli import main
from hmimo_fast.files import Arrays
from hmimo_fast.studies import STUDIES, Claim, Method, Panel, Setting, Study, Verdict
from hmimo_fast.studies.chunks import ITERATES, Chunk, compute
from hmimo_fast.studies.claims import above, falls_or_stays, gap_along, rises
from hmimo_fast.studies.dataset import select
from hmimo_fast.studies.engines import outcomes
from hmimo_fast.studies.figures import draw
from hmimo_fast.studies.summaries import distribution, lines, mean, median
from hmimo_fast.studies.tables import tabulate, tabulate_samples, tabulate_training
from hmimo_fast.studies.trained import COMMITTED

OURS = Method("ours", "joint", "greedy")
BENCHMARK = Method("benchmark", "random", "greedy")
BOUND = Method("bound", "fully_digital")
SMALL = Study(
    id="small",
    title="a study for the tests",
    source="nowhere",
    measure="rates",
    variables=("sum_rate", "served"),
    methods=(OURS, BENCHMARK),
    base=Setting(users=2, constraint="digital", gain_ratio=1.2, min_rate=1.0),
    grids=({"elements": (9, 16), "snr_db": (0.0, 10.0)}, {"elements": (4,), "snr_db": (10.0,)}),
    panels=(
        Panel("rates", "sum_rate", x="snr_db", lines=("method", "elements"),
              where={"elements": (9, 16)}),
        Panel("users", "served", x="elements", lines=("user",),
              where={"snr_db": 10.0, "method": "ours"}),
        Panel("all", "sum_rate", x="", where={"elements": 9, "snr_db": 0.0}),
    ),
    says="Nothing.",
    claims=(Claim("ours is above", above("ours", "benchmark")),),
    chunk=10,
)  # fmt: skip
CHUNK = Chunk(
    "rates", replace(SMALL.base, elements=16, snr_db=10.0), OURS, 3, 1, 8, hf.get_backend()
)


def equal(one: Dataset, other: Dataset) -> bool:
    """Whether two datasets are the same to the bit."""
    return one.identical(other) and all(
        one[name].values.tobytes() == other[name].values.tobytes() for name in one
    )


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Of an undisturbed run on one process."""
    return studies.run(SMALL, tmp_path_factory.mktemp("serial"), 30, 5, "serial")


class Counting:
    """`compute`, counting the chunks."""

    def __init__(self) -> None:
        self.chunks: list[Chunk] = []

    def __call__(self, chunk: Chunk) -> Arrays:
        self.chunks.append(chunk)
        return compute(chunk)


def once(folder: Path, name: str) -> bool:
    """Whether this is the first call with that name, in any process."""
    try:
        (folder / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class Dying:
    """`compute` in a worker that is killed in the middle of one chunk, the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, chunk: Chunk) -> Arrays:
        if chunk.index == 1 and once(self.folder, "died"):
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(chunk)


def deadly(chunk: Chunk) -> Arrays:
    """`compute` but for one chunk, which kills its worker."""
    if chunk.setting.elements == 9 and chunk.method == OURS and chunk.index == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return compute(chunk)


class Slow:
    """`compute`, long enough to be killed in between."""

    def __call__(self, chunk: Chunk) -> Arrays:
        time.sleep(0.05)
        return compute(chunk)


def test_chunk_is_what_schedule_finds() -> None:
    rng = np.random.default_rng([3, 1])
    surface = hf.Surface(shape=(4, 4), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, 2, 8, rng, gain_ratio=1.2)
    seed = int(rng.integers(2**31))
    found = hf.schedule(channel, surface.phase, 1.0, 0.1, 1.0, constraint="digital", seed=seed)
    arrays = compute(CHUNK)
    np.testing.assert_array_equal(arrays["sum_rate"], found.sum_rate)
    np.testing.assert_array_equal(arrays["rates"], found.rates)
    np.testing.assert_array_equal(arrays["served"], found.served)


def test_yardstick_radiates_what_ours_does() -> None:
    rng = np.random.default_rng([3, 1])
    surface = hf.Surface(shape=(4, 4), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, 2, 8, rng, gain_ratio=1.2)
    ours = hf.solve(channel, surface.phase, 1.0, 0.1, constraint="digital")
    bound = compute(replace(CHUNK, method=BOUND))["sum_rate"]
    for item in range(8):
        field = np.diag(ours.amplitudes[item]) @ surface.phase @ ours.digital[item]
        power = np.trace(field @ field.conj().T).real
        alone = hf.solve(channel[item], surface.phase, power, 0.1, method="fully_digital")
        assert bound[item] == pytest.approx(alone.sum_rate, rel=1e-9)
    assert (bound > ours.sum_rate).all()


def test_runs_keep_histories() -> None:
    chunk = replace(CHUNK, measure="runs", method=Method("published", "alternating"), size=3)
    arrays = compute(chunk)
    rng = np.random.default_rng([3, 1])
    surface = hf.Surface(shape=(4, 4), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, 2, 3, rng, gain_ratio=1.2)
    seed = int(rng.integers(2**31))
    for item in range(3):
        found = hf.solve(
            channel[item], surface.phase, method="alternating", constraint="digital", seed=seed
        )
        history = found.history[~np.isnan(found.history)]
        for kept, iterate in zip(arrays["history"][item], ITERATES, strict=True):
            assert kept == history[min(iterate, len(history) - 1)]
        steps = [after - before for before, after in pairwise(history)]
        assert arrays["largest_fall"][item] == max(0.0, -min(steps))
        assert arrays["sum_rate"][item] == found.sum_rate
    assert (arrays["microseconds"] > 0).all()


def test_name_tells_everything_but_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = {
        "measure": "runs",
        "setting": replace(CHUNK.setting, snr_db=10.5),
        "method": replace(OURS, search="local"),
        "seed": 4,
        "index": 2,
        "size": 9,
        "backend": "numba",
    }
    assert set(changed) == {field.name for field in fields(Chunk)}
    names = {replace(CHUNK, **{name: value}).name for name, value in changed.items()}
    names |= {replace(CHUNK, method=replace(OURS, options={"sweeps": 2})).name, CHUNK.name}
    assert len(names) == len(changed) + 2
    assert replace(CHUNK, method=replace(OURS, label="another")).name == CHUNK.name
    monkeypatch.setattr("hmimo_fast.studies.chunks._files_digest", lambda: "edited")
    assert CHUNK.name not in names


def test_points_are_a_union(expected: Dataset) -> None:
    assert expected["served"].dims == (
        "elements", "snr_db", "method", "realization", "user"
    )  # fmt: skip
    assert select(expected, "sum_rate").shape == (3, 2, 2, 30)
    assert np.isnan(select(expected, "sum_rate", elements=4, snr_db=0.0)).all()
    missing = np.isnan(select(expected, "sum_rate")).sum()
    assert missing == 2 * 30
    with pytest.raises(KeyError, match="snr_db"):
        select(expected, "sum_rate", snr_db=5)


def test_goes_on_and_grows(tmp_path: Path, expected: Dataset) -> None:
    first, second, third, other = (Counting() for _ in range(4))
    studies.run(SMALL, tmp_path, 10, 5, "serial", compute=first)
    grown = studies.run(SMALL, tmp_path, 30, 5, "serial", compute=second)
    assert equal(grown, expected)
    assert len(first.chunks) == 10
    assert {chunk.index for chunk in second.chunks} == {1, 2}
    studies.run(replace(SMALL, title="new"), tmp_path, 25, 5, "serial", compute=third)
    assert third.chunks == []
    harder = replace(SMALL, base=replace(SMALL.base, min_rate=2.0))
    changed = studies.run(harder, tmp_path, 30, 5, "serial", compute=other)
    assert len(other.chunks) == 30
    assert not np.array_equal(select(changed, "served"), select(expected, "served"), equal_nan=True)


def test_damaged_chunks_are_computed_again(tmp_path: Path, expected: Dataset) -> None:
    studies.run(SMALL, tmp_path, 30, 5, "serial")
    files = sorted((tmp_path / "chunks").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:100])
    files[1].write_bytes(b"")
    again = Counting()
    assert equal(studies.run(SMALL, tmp_path, 30, 5, "serial", compute=again), expected)
    assert len(again.chunks) == 2


def test_chunks_that_lack_something_are_computed_again(tmp_path: Path) -> None:
    whole = studies.run(SMALL, tmp_path, 10, 5, "serial")
    first, second, third, *_ = sorted((tmp_path / "chunks").iterdir())
    np.savez(first, sum_rate=np.zeros(10))
    np.savez(second, sum_rate=np.zeros(3), served=np.zeros((3, 2)))
    np.savez(third, sum_rate=np.zeros(10), served=np.array([["a", "b"]] * 10))
    again = Counting()
    assert equal(studies.run(SMALL, tmp_path, 10, 5, "serial", compute=again), whole)
    assert len(again.chunks) == 3


def test_failures_are_retried_and_spoil_nothing(tmp_path: Path, expected: Dataset) -> None:
    def shaky(chunk: Chunk) -> Arrays:
        if chunk.index == 2 and once(tmp_path, chunk.name):
            raise RuntimeError("out of luck")
        return compute(chunk)

    told: list[str] = []
    found = studies.run(SMALL, tmp_path / "a", 30, 5, "serial", report=told.append, compute=shaky)
    assert equal(found, expected)
    assert len(told) == 10
    assert all("out of luck" in line for line in told)

    def broken(chunk: Chunk) -> Arrays:
        if chunk.index == 1 and chunk.method is OURS and chunk.setting.elements == 4:
            raise MemoryError
        return compute(chunk)

    told.clear()
    found = studies.run(SMALL, tmp_path / "b", 30, 5, "serial", report=told.append, compute=broken)
    assert found.attrs["failed"] == 1
    assert "1 of 30 chunks failed 3 times" in told[-1]
    kept, whole = select(found, "sum_rate"), select(expected, "sum_rate").copy()
    whole[0, 1, 0, 10:20] = np.nan
    np.testing.assert_array_equal(kept, whole)
    for panel in SMALL.panels:
        assert len(tabulate(found, panel)[1]) > 2


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_bits(tmp_path: Path, expected: Dataset) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from pathlib import Path\n"
        "from hmimo_fast import studies\n"
        "from test_studies import SMALL, Slow\n"
        f"studies.run(SMALL, Path({str(tmp_path)!r}), 30, 5, 'serial', compute=Slow())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    chunks = tmp_path / "chunks"
    deadline = time.monotonic() + 60
    while len(list(chunks.glob("[!.]*.npz"))) < 5 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(chunks.glob("[!.]*.npz")))
    assert 5 <= done < 30
    rest = Counting()
    found = studies.run(SMALL, tmp_path, 30, 5, "serial", compute=rest)
    assert len(rest.chunks) == 30 - done
    assert equal(found, expected)
    for name, dataset in (("one.h5", found), ("other.h5", expected)):
        studies.save(dataset, tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "other.h5").read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # joblib tells of the worker that was killed
def test_processes_lose_a_worker(tmp_path: Path, expected: Dataset) -> None:
    told: list[str] = []
    found = studies.run(
        SMALL, tmp_path, 30, 5, "processes:2", report=told.append, compute=Dying(tmp_path)
    )
    assert equal(found, expected)
    assert "the engine stopped" in told[0]


@pytest.fixture(params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster of two workers on this machine, as an engine."""
    if request.param == "ray":
        head = pytest.importorskip("ray.cluster_utils").Cluster(
            initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
        )
        yield f"ray:{head.address}"
        head.shutdown()
        return
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as workers,
    ):
        yield f"dask:{workers.scheduler_address}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the libraries' own, on a worker that was killed
def test_a_cluster_loses_workers(cluster: str, tmp_path: Path, expected: Dataset) -> None:
    """One worker once, and every worker that takes a certain chunk."""
    found = studies.run(SMALL, tmp_path / "once", 30, 5, cluster, compute=Dying(tmp_path))
    assert (tmp_path / "died").exists()
    assert equal(found, expected)
    few = replace(SMALL, grids=({"elements": (9, 16)},))
    lines: list[str] = []
    found = studies.run(few, tmp_path, 30, 5, cluster, report=lines.append, compute=deadly)
    assert 1 <= found.attrs["failed"] <= 4  # of 12; dask blames what waits on the worker too
    assert "lost: " in lines[-1]


@pytest.mark.slow
def test_jobs_of_a_batch_system(tmp_path: Path, expected: Dataset) -> None:
    pytest.importorskip("submitit")
    assert equal(studies.run(SMALL, tmp_path, 30, 5, "local"), expected)


@pytest.mark.parametrize(
    ("engine", "package"), [("ray:auto", "ray"), ("dask:tcp://nowhere:1", "distributed"),
                            ("processes", "joblib"), ("slurm", "submitit")],
)  # fmt: skip
def test_missing_engine_is_named(
    engine: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"needs {package}: pip install"):
        list(outcomes(engine, compute, [(0, CHUNK)], tmp_path))


def test_unknown_engine(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="engine: expected one of serial, processes"):
        studies.run(SMALL, tmp_path, 10, engine="cloud")


def test_networks_are_left_out_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hmimo_fast.studies.runner.find_spec", lambda name: None)
    told: list[str] = []
    study = replace(SMALL, methods=(OURS, Method("network", "mbdnn")))
    found = studies.run(study, tmp_path, 10, engine="serial", report=told.append)
    assert found["method"].values.tolist() == ["ours"]
    assert told == ["small: network is left out: it needs torch: pip install 'hmimo_fast[nn]'"]
    assert found.attrs["failed"] == 0


# -- networks that are not shipped ---------------------------------------------------------

GNN2D = Method("2DGNN", "mbdnn", options={"model": "gnn2d"})
FNN = Method("FNN", "mbdnn", options={"model": "fnn"})
NETWORKS = Study(
    id="networks",
    title="networks for the tests",
    source="nowhere",
    measure="rates",
    variables=("sum_rate",),
    methods=(Method("wmmse", "wmmse_hbf"), GNN2D, FNN),
    base=Setting(users=2),
    grids=({"elements": (9, 16)},),
    panels=(
        Panel("rates", "sum_rate", x="elements"),
        Panel("relative", "sum_rate", x="elements", relative_to="wmmse"),
    ),
    says="Nothing.",
    chunk=4,
)  # fmt: skip


@pytest.fixture
def small_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes of a second, and the folder that stands for what is committed."""
    pytest.importorskip("torch")
    from hmimo_fast.nn.training import Recipe, Training

    few = Training(((4, 4),), 2, 2, batch=4, steps=3, check_every=1)
    recipes = {
        "gnn2d_radiated": Recipe("GNN2D", {"widths": [4, 8]}, few),
        "fnn_radiated": Recipe(
            "FNN", {"users": 2, "elements": 16, "width": 8, "layers": 1}, replace(few, steps=5)
        ),
    }
    monkeypatch.setattr("hmimo_fast.nn.training.load_recipe", recipes.__getitem__)
    committed = tmp_path / "committed"
    committed.mkdir()
    monkeypatch.setattr("hmimo_fast.studies.trained.COMMITTED", committed)
    return committed


def train_networks(folder: Path, compute: Callable[[Chunk], Arrays] = compute) -> None:
    def measure(study: Study, label: str) -> Dataset:
        return studies.run(study, folder, 6, 5, "serial", compute=compute)

    studies.train(NETWORKS, folder, lambda label: lambda done, total: None, measure)


def test_networks_are_trained_and_measured(tmp_path: Path, small_recipes: Path) -> None:
    import torch

    from hmimo_fast import nn

    told: list[str] = []
    without = studies.run(NETWORKS, tmp_path, 6, 5, "serial", report=told.append)
    assert without["method"].values.tolist() == ["wmmse"]
    assert [line.partition(" is ")[0] for line in told] == ["networks: 2DGNN", "networks: FNN"]
    train_networks(tmp_path)
    told.clear()
    found = studies.run(NETWORKS, tmp_path, 6, 5, "serial", report=told.append)
    assert told == []
    assert found["method"].values.tolist() == ["wmmse", "2DGNN", "FNN"]
    for label, model, sides in (("2DGNN", "gnn2d", (3, 4)), ("FNN", "fnn", (4,))):
        network = nn.load(tmp_path / "networks" / f"{model}_radiated" / "model.safetensors")
        for side in sides:
            surface = hf.Surface((side, side), feeds=2)
            draws = [
                hf.channels.sparse_mmwave(surface, 2, 4, np.random.default_rng([5, index]))
                for index in (0, 1)
            ]
            channel = np.concatenate(draws)[:6]
            with torch.no_grad():
                amplitudes, digital = network(
                    torch.tensor(channel), torch.tensor(surface.phase), 1.0, 0.1
                )
            gain = np.abs(channel * amplitudes.numpy()[:, None] @ surface.phase @ digital.numpy())
            signal = np.einsum("rkk->rk", gain**2)
            rate = np.log2(1 + signal / ((gain**2).sum(-1) - signal + 0.1)).sum(-1)
            np.testing.assert_allclose(
                select(found, "sum_rate", method=label, elements=side**2), rate, rtol=1e-5
            )
    assert np.isnan(select(found, "sum_rate", method="FNN", elements=9)).all()
    training = found.attrs["training"]["FNN"]
    surface = hf.Surface((4, 4), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, 2, 256, np.random.default_rng([0, 0, 3]))
    goal = hf.solve(channel, surface.phase, 1.0, 0.1, "wmmse_hbf", "radiated").sum_rate.mean()
    assert training["goal"] == pytest.approx(goal, rel=1e-12)
    assert training["parameters"] == (1 + 2 * 32) * 8 + 8 + 8 * 80 + 80
    assert [row[0] for row in training["log"]] == [1, 2, 3, 4, 5]
    row = tabulate_training(found)[-1]
    assert row[:4] == ("FNN", f"{training['parameters'] / 1e3:.2f} k", "-", "20")
    assert float(row[6]) == pytest.approx(100 * training["log"][-1][1] / goal, abs=0.1)
    names = [row[0] for row in tabulate(found, NETWORKS.panels[1])[1]]
    assert names[-1].startswith("FNN (0.02 k channels, ")
    assert "realizations" not in names[-1]
    assert str(tmp_path) not in json.dumps(found.attrs)


def test_training_goes_on(tmp_path: Path, small_recipes: Path) -> None:
    train_networks(tmp_path)
    kept = {file: file.read_bytes() for file in tmp_path.glob("networks_*.h5")}
    assert len(kept) == 2
    again = Counting()
    train_networks(tmp_path, again)
    assert again.chunks == []
    assert all(file.read_bytes() == content for file, content in kept.items())


def test_committed_rates_are_drawn(tmp_path: Path, small_recipes: Path) -> None:
    train_networks(tmp_path)
    own = studies.run(NETWORKS, tmp_path, 6, 5, "serial")
    for file in tmp_path.glob("networks_*.h5"):
        file.rename(small_recipes / file.name)
    elsewhere = tmp_path / "elsewhere"
    assert equal(studies.run(NETWORKS, elsewhere, 6, 5, "serial"), own)
    fewer = studies.run(NETWORKS, elsewhere, 3, 5, "serial")
    np.testing.assert_array_equal(select(fewer, "sum_rate"), select(own, "sum_rate")[..., :3])
    assert "seed" not in fewer.attrs["notes"]["2DGNN"]
    more = studies.run(NETWORKS, elsewhere, 10, 5, "serial")
    assert more.attrs["notes"]["2DGNN"].endswith("; 6 realizations, seed 5")
    assert np.isfinite(select(more, "sum_rate", method="2DGNN")).sum() == 2 * 6
    ratio = {line.labels["method"]: line.centre for line in lines(more, NETWORKS.panels[1])}
    theirs, wmmse = (select(own, "sum_rate", method=name) for name in ("2DGNN", "wmmse"))
    np.testing.assert_allclose(ratio["2DGNN"], theirs.mean(-1) / wmmse.mean(-1), rtol=1e-12)
    other = studies.run(NETWORKS, elsewhere, 6, 4, "serial")
    assert other.attrs["notes"]["FNN"].endswith("; 6 realizations, seed 5")
    draw(tmp_path / "figure.png", NETWORKS, more)


def test_weights_in_a_file_are_known_by_their_content(tmp_path: Path) -> None:
    names = []
    for name, content in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(content)
        method = Method("network", "mbdnn", options={"model": str(file)})
        names.append(replace(CHUNK, method=method).name)
    assert names[0] == names[1] != names[2]


def test_solve_takes_weights_from_a_file() -> None:
    pytest.importorskip("torch")
    surface = hf.Surface((4, 4), feeds=2)
    channel = hf.channels.sparse_mmwave(surface, 2, 3, 0)
    shipped = Path(hf.__file__).parent / "nn" / "weights" / "unrolled_radiated.safetensors"
    found = hf.solve(channel, surface.phase, method="mbdnn", model=str(shipped))
    named = hf.solve(channel, surface.phase, method="mbdnn", model="unrolled")
    np.testing.assert_array_equal(found.sum_rate, named.sum_rate)
    with pytest.raises(ValueError, match="model: expected a network for 'digital' power, got one"):
        hf.solve(channel, surface.phase, method="mbdnn", constraint="digital", model=str(shipped))


@pytest.mark.parametrize("model", ["gnn2d", "fnn"])
@pytest.mark.parametrize("name", ["A-3", "A-4", "A-T1"])
def test_committed_rates_are_of_the_study(name: str, model: str) -> None:
    pytest.importorskip("torch")
    from hmimo_fast.nn.training import load_recipe

    file = COMMITTED / f"{name}_{model}.h5"
    found, study = studies.load(file), STUDIES[name]
    assert file.stat().st_size < 500_000
    label = next(m.label for m in study.methods if m.options.get("model") == model)
    assert found["method"].values.tolist() == [label]
    assert found.attrs["setting"] == asdict(study.base)
    assert found.attrs["failed"] == 0
    (axis,) = study.axes()
    known = study.axes()[axis]
    assert found[axis].values.tolist() == ([64] if (model, axis) == ("fnn", "elements") else known)
    assert all(np.isfinite(variable).all() for variable in found.data_vars.values())
    recipe, training = load_recipe(f"{model}_radiated"), found.attrs["training"]
    assert training["config"] == recipe.config
    assert training["training"] == json.loads(json.dumps(asdict(recipe.training)))
    assert training["log"][-1][0] == recipe.training.steps


def test_training_of_the_shipped_network_is_known() -> None:
    pytest.importorskip("torch")
    from hmimo_fast.nn.training import load_recipe

    training = json.loads((COMMITTED / "mbdnn_radiated.json").read_text(encoding="utf-8"))
    recipe = load_recipe("mbdnn_radiated")
    assert training["training"] == json.loads(json.dumps(asdict(recipe.training)))


def test_dataset_is_labelled_and_comes_back(tmp_path: Path, expected: Dataset) -> None:
    path = tmp_path / "small.h5"
    studies.save(expected, path)
    assert equal(studies.load(path), expected)
    with h5py.File(path) as file:
        served = file["served"]
        assert [axis[0].name for axis in served.dims] == [
            "/elements", "/snr_db", "/method", "/realization", "/user"
        ]  # fmt: skip
        assert file["snr_db"].attrs["units"] == "dB"
        assert file["sum_rate"].attrs["units"] == "bit/s/Hz"
        about = json.loads(file.attrs["attributes"])
    assert about["seed"] == 5
    assert about["setting"]["min_rate"] == 1.0
    assert about["versions"]["hmimo_fast"] == hf.__version__


def test_summaries() -> None:
    values = np.random.default_rng(0).exponential(size=400)
    centre, low, high = mean(values)
    interval = scipy.stats.norm.interval(0.95, values.mean(), scipy.stats.sem(values))
    np.testing.assert_allclose((centre, low, high), (values.mean(), *interval), rtol=1e-4)
    middle, low, high = median(np.append(values, np.nan))
    assert middle == np.median(values)
    bounds = scipy.stats.binom.ppf([0.025, 0.975], len(values), 0.5).astype(int)
    np.testing.assert_allclose((low, high), np.sort(values)[bounds], rtol=0.02)
    x, share, low, high = distribution(values)
    for at in (0, 100, 399):
        assert share[at] == np.mean(values <= x[at])
    assert (high - low).max() == pytest.approx(2 * 0.0679, abs=1e-3)


def test_ratios_are_paired() -> None:
    rng = np.random.default_rng(0)
    reference = rng.exponential(size=500)
    ours = 1.5 * reference + rng.normal(0.0, 0.01, 500)
    dataset = Dataset(
        {"sum_rate": (("snr_db", "method", "realization"), np.stack([ours, reference])[None])},
        {"snr_db": np.zeros(1), "method": np.array(["a", "b"]), "realization": np.arange(500)},
    )
    panel = Panel("", "sum_rate", x="snr_db", where={"method": ("a",)}, relative_to="b")
    [line] = lines(dataset, panel)
    assert line.centre[0] == pytest.approx(ours.mean() / reference.mean(), rel=1e-12)
    resampled = [
        ours[draw].mean() / reference[draw].mean() for draw in rng.integers(500, size=(2000, 500))
    ]
    band = line.high[0] - line.low[0]
    assert band == pytest.approx(2 * 1.96 * np.std(resampled), rel=0.1)


def synthetic(rates: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Dataset:
    """Sum rates of two methods, 0 and 1, by SNR and N, with noise that pairs take away."""
    snr, elements = np.array([0.0, 10.0, 20.0]), np.array([36, 64])
    axes = np.meshgrid(snr, elements, [0, 1], indexing="ij")
    noise = np.random.default_rng(0).normal(0.0, 50.0, 40)
    return Dataset(
        {"sum_rate": (("snr_db", "elements", "method", "realization"),
                      rates(*axes)[..., None] + noise)},
        {"snr_db": snr, "elements": elements, "method": np.array(["other", "one"]),
         "realization": np.arange(40)},
    )  # fmt: skip


PAIR = ({"method": "one"}, {"method": "other"})


@pytest.mark.parametrize(
    ("check", "rates", "holds"),
    [
        (above("one", "other"), lambda s, n, m: m, True),
        (above("one", "other"), lambda s, n, m: m * (s < 20), False),
        (above("one", "other", snr_db=(0.0, 10.0)), lambda s, n, m: m * (s < 20), True),
        (above("one", "third"), lambda s, n, m: m, None),
        (rises("snr_db"), lambda s, n, m: s + n, True),
        (rises("snr_db"), lambda s, n, m: -abs(s - 10), False),
        (rises("elements", snr_db=0.0), lambda s, n, m: n * (s == 0), True),
        (falls_or_stays("snr_db", "sum_rate"), lambda s, n, m: -(s // 20) + m, True),
        (falls_or_stays("snr_db", "sum_rate"), lambda s, n, m: (s // 20) + m, False),
        (falls_or_stays("snr_db", "sum_rate"), lambda s, n, m: 1e-12 * s, True),
        (gap_along("snr_db", 1, *PAIR), lambda s, n, m: m * s, True),
        (gap_along("snr_db", -1, *PAIR), lambda s, n, m: m * s, False),
        (gap_along("elements", -1, *PAIR, snr_db=20.0), lambda s, n, m: m / n, True),
    ],
)
def test_claims(
    check: Callable[[Dataset], Verdict],
    rates: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    holds: bool | None,
) -> None:
    assert check(synthetic(rates)).holds is holds


def test_claim_tells_where() -> None:
    verdict = above("one", "other")(synthetic(lambda s, n, m: m * (s - 5) * n / 36))
    assert verdict.figures.startswith("by -8.89 ± ")
    assert "(0 dB, N = 64) to 26.7" in verdict.figures
    assert verdict.figures.endswith("not at 2 of 6 points")


SAMPLES = STUDIES["A-T1s"]


def test_trainings_end_where_they_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MB-DNN with ten plain steps needs no channels; an FNN of six is told as far as it came."""
    pytest.importorskip("torch")
    from hmimo_fast.nn.training import Recipe, Training

    few = Training(((4, 4),), 2, 2, (10.0, 10.0), batch=50, steps=6, check_every=2)
    config = {"users": 2, "elements": 16, "width": 8, "layers": 1}
    recipes = {
        "mbdnn_4": Recipe("MBDNN", {"first_layers": 10}, few),
        "gnn2d_4": Recipe("GNN2D", {"widths": [4, 8]}, few),
        "fnn_4": Recipe("FNN", config, few),
    }
    monkeypatch.setattr("hmimo_fast.nn.training.load_recipe", recipes.__getitem__)
    found = studies.run(SAMPLES, tmp_path, 2, engine="serial")
    assert found.attrs["failed"] == 0
    assert found["realization"].size == 2
    free, fnn = (found.sel({"method": label, "users": 2}) for label in ("MB-DNN", "FNN"))
    assert (free["samples"] == 0).all()
    assert (free["seen"] == 0).all()
    assert (free["course"] == free["share"]).all()
    assert (free["share"] >= 1).all()
    assert np.isnan(fnn["samples"]).all()
    assert (fnn["seen"] == 300).all()
    assert (fnn["parameters"] == (1 + 2 * 32) * 8 + 8 + 8 * 80 + 80).all()
    # Told after 0, 100, 200 and 300 channels, and never after the last.
    course = fnn["course"].values
    assert np.isfinite(course[:, :3]).all()
    assert np.isnan(course[:, 3:]).all()
    assert (course[0] != course[1])[:3].all()
    # Four of each weight, and the hidden layer of 50 channels twice (its input, and the mask).
    assert (fnn["megabytes"] * 1e6 > 16 * fnn["parameters"]).all()
    rows = tabulate_samples(found)
    assert [row[0] for row in rows[2:]] == ["MB-DNN", "2DGNN", "FNN"]
    assert rows[2][5] == rows[2][7] == "0, 0"
    assert rows[4][5::2] == ("300, 300", "-, -")
    verdicts = [claim.check(found).holds for claim in SAMPLES.claims[:2]]
    assert verdicts == [True, None]
    draw(tmp_path / "figure.pdf", SAMPLES, found)


def test_the_committed_samples_are_of_the_recipes() -> None:
    pytest.importorskip("torch")
    from hmimo_fast.nn.training import load_recipe

    found = studies.load(COMMITTED / "A-T1s.h5", SAMPLES)
    assert found["realization"].size == 3
    for method in SAMPLES.methods:
        training = load_recipe(method.options["recipe"]).training
        runs = found.sel({"method": method.label, "users": 2})
        for seen, samples in zip(runs["seen"].values, runs["samples"].values, strict=True):
            assert seen == (training.steps * training.batch if np.isnan(samples) else samples)


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_descriptions_pickle(study: Study) -> None:
    again = pickle.loads(pickle.dumps(study))
    assert replace(again, claims=()) == replace(study, claims=())
    assert [claim.text for claim in again.claims] == [claim.text for claim in study.claims]


@pytest.mark.slow
@pytest.mark.parametrize(
    "study", [x for x in STUDIES.values() if x is not SAMPLES], ids=lambda study: study.id
)
def test_every_study(study: Study, tmp_path: Path) -> None:
    """Two realizations of each: everything is drawn and tabulated, and claims are checked."""
    axes = study.axes()
    known = {*axes, "method", "user", "iterate", *study.variables}
    for panel in study.panels:
        assert panel.variable in study.variables
        assert {panel.x, *panel.lines, *panel.where} <= known | {""}
        for name in set(panel.where) & set(axes):
            kept = panel.where[name]
            assert set(kept if isinstance(kept, tuple) else (kept,)) <= set(axes[name])
    labels = [method.label for method in study.methods]
    assert len(set(labels)) == len(labels)
    assert any(method.solver == "fully_digital" for method in study.methods)
    cheap = tuple(method for method in study.methods if method.solver != "mbdnn")
    few = replace(study, methods=cheap, chunk=2)
    dataset = studies.run(few, tmp_path, 2, engine="serial")
    assert dataset.attrs["failed"] == 0
    for panel in study.panels:
        drawn = list(lines(dataset, panel))
        if panel.where.get("method") in (None, *(method.label for method in cheap)):
            assert drawn
        if panel.x not in study.variables and drawn:
            rows = tabulate(dataset, panel)[1]
            assert len(rows) == 2 + len(drawn)
    for claim in study.claims:
        assert claim.check(dataset).figures
    draw(tmp_path / "figure.pdf", few, dataset)
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_lines_are_told_apart_without_colour(
    tmp_path: Path, expected: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    figures: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k))
    )
    draw(tmp_path / "small.png", SMALL, expected)
    draw(tmp_path / "again.png", SMALL, expected)
    assert (tmp_path / "small.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    for axes in figures[0].axes:
        looks = [(line.get_marker(), line.get_linestyle(), line.get_fillstyle())
                 for line in axes.lines]  # fmt: skip
        assert len(looks) == len(set(looks)) > 0
        assert axes.get_xlabel()
        assert len(axes.collections) == len(axes.lines)


def test_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(studies.STUDIES, "small", SMALL)
    options = ["--output", str(tmp_path / "out"), "--engine", "serial", "--seed", "5"]
    assert main(["reproduce", "small", "--realizations", "30", *options]) == 0
    text = capsys.readouterr().out
    assert "yes  ours is above" in text
    assert "N = 16" in text
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"chunks", "small.h5", "small.pdf", "small.png", "small.txt"}
    assert (tmp_path / "out" / "small.txt").read_text(encoding="utf-8").rstrip() in text
    assert main(["reproduce", "trends", "--output", str(tmp_path / "out")]) == 0
    assert "yes  ours is above" in capsys.readouterr().out
    assert main(["reproduce", "list"]) == 0
    assert "B-7   average sum rate" in capsys.readouterr().out


def test_command_trains(
    tmp_path: Path,
    small_recipes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(studies.STUDIES, "networks", NETWORKS)
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "4"]
    assert main(["reproduce", "networks", "--train", *options]) == 0
    text = capsys.readouterr().out
    assert "2DGNN (0.012 k channels, " in text
    assert "training; the goal is WMMSE-HBF" in text
    trained = {file.name for file in tmp_path.glob("networks/*/*")}
    assert trained == {"checkpoint.safetensors", "log.csv", "model.safetensors", "training.json"}
    assert (tmp_path / "networks_fnn.h5").exists()


def test_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "B-8"]) == 2
    assert "STUDY: expected one of B-3, B-4" in capsys.readouterr().err
    assert main(["reproduce", "trends", "--output", str(tmp_path)]) == 2
    assert "no results in" in capsys.readouterr().err


def test_command_tells_of_missing_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = replace(SMALL, methods=(OURS, Method("wrong", "joint", options={"sweeps": -1})))
    monkeypatch.setitem(studies.STUDIES, "small", wrong)
    options = ["--output", str(tmp_path), "--engine", "serial", "--realizations", "10"]
    with pytest.raises(SystemExit) as left:
        main(["reproduce", "small", *options])
    assert left.value.code == 1
    captured = capsys.readouterr()
    assert "5 of 10 chunks failed 3 times" in captured.err
    assert "-    ours is above" in captured.out
