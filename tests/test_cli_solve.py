"""`hmimo-fast solve`: what it prints, what it writes, and how it refuses."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast import cli
from hmimo_fast.cli import main

NOISE = 1e-3 * 10**-8.7  # W, the default
METHODS = ["random", "alternating", "wmmse_hbf", "joint"]


def load(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file without any pickle."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def rates_of(
    channel: np.ndarray, amplitudes: np.ndarray, phase: np.ndarray, digital: np.ndarray
) -> np.ndarray:
    """Rates of one channel's users, one number at a time."""
    field = amplitudes[:, None] * phase @ digital
    rates = np.zeros(len(channel))
    for k, h in enumerate(channel):
        received = [abs(np.dot(h, beam)) ** 2 for beam in field.T]
        rates[k] = np.log2(1 + received[k] / (NOISE + sum(received) - received[k]))
    return rates


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def munich(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Four methods on one channel: what was printed, and where the files are."""
    output = tmp_path_factory.mktemp("munich") / "result.npz"
    options = ["--methods", ",".join(METHODS), "--min-rate", "0.5", "--output", str(output)]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(["solve", "munich", *options]) == 0
    return printed.getvalue(), output


@pytest.fixture
def batch(here: Path) -> np.ndarray:
    """Ten channels of five users in ``batch.npy``."""
    surface = hf.Surface(shape=(6, 6))
    channel = 1e-5 * hf.channels.sparse_mmwave(surface, users=5, size=10, seed=0)
    np.save("batch.npy", channel)
    return channel


def test_table_shows_what_the_file_holds(munich: tuple[str, Path]) -> None:
    lines, found = munich[0].splitlines(), load(munich[1])
    assert lines[0] == "munich: 6 of 88 users (seed 0)"
    assert "8 x 8 elements at 2.5 mm, 6 feeds, 30 GHz" in lines[1]
    assert lines[2] == "power: 30 dBm (radiated), noise -87 dBm, minimum rate 0.5 bit/s/Hz"
    table = lines[7:]
    for index, method in enumerate(METHODS):
        label, sum_rate, lowest, met, _, unit = table[index].split()
        assert label == method
        assert sum_rate == f"{found['sum_rate'][index]:.2f}"
        assert lowest == f"{found['rates'][index].min():.2f}"
        assert met == ("yes" if found["feasible"][index] else "no")
        assert unit == "ms"
    assert table[4].startswith("fully digital ")
    assert f" {found['fully_digital_rates'].sum():.2f} " in table[4]
    gain = found["sum_rate"][3] / found["sum_rate"][2]
    assert f"joint: {gain:.2f} times the sum rate of wmmse_hbf" in munich[0]


def test_file_is_consistent(munich: tuple[str, Path]) -> None:
    found = load(munich[1])
    scene = hf.channels.load("munich")
    assert found["methods"].tolist() == METHODS
    assert len(found["users"]) == 6
    np.testing.assert_array_equal(found["channel"], scene.channel[found["users"]])
    np.testing.assert_array_equal(found["user_positions"], scene.user_positions[found["users"]])
    assert (found["constraint"], found["starts"], found["levels_bits"]) == ("radiated", 1, 0)
    for index in range(len(METHODS)):
        amplitudes, digital = found["amplitudes"][index], found["digital"][index]
        rates = rates_of(found["channel"], amplitudes, found["phase"], digital)
        np.testing.assert_allclose(rates, found["rates"][index], rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found["sum_rate"][index], rates.sum())
        assert found["feasible"][index] == (rates.min() >= 0.5 - 1e-9)
        radiated = amplitudes[:, None] * found["phase"] @ digital
        np.testing.assert_allclose(np.linalg.norm(radiated) ** 2, 1.0, rtol=1e-9)
    assert (found["solve_seconds"] > 0).all()


def test_figure_of_one_channel(munich: tuple[str, Path]) -> None:
    assert f"figure: {munich[1].with_suffix('.png')}" in munich[0]
    assert munich[1].with_suffix(".png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_batch(batch: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """The batch as `solve` has it; means with their standard errors in the table."""
    options = ["--shape", "6x6", "--users", "3", "--feeds", "3"]
    options += ["--methods", "zf,joint", "--constraint", "digital"]
    assert main(["solve", "batch.npy", *options, "--min-rate", "3"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == ["zf ...", "joint ...", "fully_digital ..."]
    found = load(Path("solve_batch.npz"))
    assert found["amplitudes"].shape == (2, 10, 36)
    assert found["digital"].shape == (2, 10, 3, 3)
    np.testing.assert_array_equal(found["channel"], batch[:, found["users"]])
    solution = hf.solve(
        found["channel"], found["phase"], 1.0, NOISE, constraint="digital", min_rate=3.0
    )
    np.testing.assert_array_equal(found["rates"][1], solution.rates)
    np.testing.assert_array_equal(found["digital"][1], solution.digital)
    lines = said.out.splitlines()
    assert lines[1] == "batch: 3 of 5 users, each of 10 channels (seed 0)"
    (row,) = (line for line in lines if line.startswith("joint "))
    rates = found["sum_rate"][1]
    expected = f"{np.mean(rates):.2f} ± {np.std(rates, ddof=1) / np.sqrt(10):.2f}"
    assert expected in row
    assert f" {found['feasible'][1].mean():.0%} " in row
    assert "The surface may radiate more" in said.out
    assert [path.name for path in Path().glob("*.png")] == []


def test_levels_and_starts(here: Path) -> None:
    options = ["--method", "joint", "--no-figure", "--output", "result.npz", "--users", "3"]
    rates = {}
    for starts in ("1", "4"):
        assert main(["solve", "munich", *options, "--levels", "2", "--starts", starts]) == 0
        found = load(Path("result.npz"))
        assert set(np.unique(found["amplitudes"] * 3)) <= {0.0, 1.0, 2.0, 3.0}
        assert (found["levels_bits"], found["starts"]) == (2, int(starts))
        rates[starts] = found["sum_rate"][0]
    assert rates["4"] >= rates["1"]


def test_no_minimum(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "munich", "--users", "2", "--no-figure"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith(", no minimum")
    assert lines[7].split()[3] == "-"


def test_more_users_than_feeds(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["solve", "munich", "--users", "7", "--no-figure", "--method"]
    assert main([*options, "wmmse_hbf,joint"]) == 0
    assert load(here / "solve_munich.npz")["rates"].shape == (2, 7)
    assert main([*options, "zf"]) == 2
    assert "at most L = 6 users" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ("munich --method fast", "--method"),
        ("munich --method fully_digital", "--method"),
        ("munich --method joint,joint", "--method"),
        ("munich --levels 0", "--levels"),
        ("munich --starts 0", "--starts"),
        ("munich --users 89", "--users"),
        ("munich --search greedy", "--search"),
        ("munich --output result.txt", "--output"),
        ("batch.npy --figure picture.png --shape 6x6", "--figure"),
        ("batch.npy --output batch.npy --shape 6x6", "--output"),
        ("nan.npy --shape 6x6", "nan.npy"),
        ("empty.npy --shape 6x6", "empty.npy"),
        ("", "SCENE"),
    ],
)
def test_refuses_in_one_line(
    options: str,
    word: str,
    batch: np.ndarray,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save("nan.npy", batch * np.nan)
    np.save("empty.npy", batch[:0])
    before = sorted(here.iterdir())
    assert main(["solve", *options.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hmimo-fast: error: ")
    assert said.err.count("\n") == 1
    assert word in said.err
    assert sorted(here.iterdir()) == before


def test_help_names_every_method_and_its_examples_parse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["solve", "--help"])
    assert stop.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for method in hf.solvers.METHODS.keys() - {"fully_digital"}:
        assert any(line.startswith(f"  {method} ") for line in lines)
    seen: list[Any] = []
    monkeypatch.setattr(cli.solve, "run", seen.append)
    examples = [line.split()[1:] for line in lines if line.startswith("  hmimo-fast ")]
    assert [main(example) for example in examples] == [0, 0, 0, 0, 0]
    assert seen[1].methods == ("wmmse_hbf", "joint")
    assert (seen[2].levels, seen[2].starts, str(seen[2].output)) == (2, 4, "two_bits.h5")
    assert (seen[3].elements, seen[3].levels) == ("phase", 3)
    assert (seen[4].users, seen[4].min_rate) == (4, 1.0)


@pytest.mark.parametrize("command", ["solve", "schedule"])
def test_feeds_keep_to_their_limit(here: Path, batch: np.ndarray, command: str) -> None:
    np.save("one.npy", batch[0])
    options = ["--shape", "6x6", "--feeds", "4", "--output", "result.npz", "--threads", "1"]
    options += ["--methods", "wmmse_hbf,joint", "--constraint", "digital", "--feed-power", "20"]
    assert main([command, "one.npy", *options]) == 0
    found = load(here / "result.npz")
    assert found["feed_power_dbm"] == 20.0
    assert found["digital"].shape[0] == 2
    most = np.sum(np.abs(found["digital"]) ** 2, axis=-1).max(axis=-1)
    np.testing.assert_allclose(most, 0.1, rtol=1e-9)


def test_a_feed_limit_holds_under_minimum_rates(here: Path, batch: np.ndarray) -> None:
    options = "--shape 6x6 --feeds 4 --feed-power 20 --min-rate 1 --constraint digital".split()
    options += ["--methods", "joint", "--output", "result.npz", "--objective", "max_min"]
    assert main(["solve", "batch.npy", *options]) == 0
    found = load(here / "result.npz")
    assert np.all(np.sum(np.abs(found["digital"]) ** 2, axis=-1) <= 0.1 * (1.0 + 1e-9))
