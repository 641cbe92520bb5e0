"""The examples run quickly, without a warning, and show what they claim."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"


def rows(name: str) -> list[str]:
    """The rows of an example's table."""
    outcome = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), "--quick"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    assert not outcome.stderr
    return [line for line in outcome.stdout.splitlines() if line.rstrip().endswith("%")]


def numbers(row: str) -> list[float]:
    return [float(text) for text in re.findall(r"[-+]?\d+\.\d+", row)]


def test_every_example_has_a_test() -> None:
    tested = set(re.findall(r'rows\("(\w+\.py)"\)', Path(__file__).read_text()))
    assert tested == {path.name for path in EXAMPLES.glob("*.py")}


def test_ofdm_beam_squint() -> None:
    table = rows("ofdm_beam_squint.py")
    assert len(table) == 4
    for row in table:
        alone, of_centre, of_band, _, gain = numbers(row)
        assert of_centre < of_band < alone * 1.05
        assert gain == pytest.approx(100.0 * (of_band / of_centre - 1.0), abs=0.1)


def test_uncertain_csi() -> None:
    table = rows("uncertain_csi.py")
    assert len(table) == 8
    for row in table:
        _, of_estimate, of_samples, gain, _ = numbers(row)
        assert of_estimate < of_samples
        assert gain > 0.0


def test_tracking() -> None:
    table = rows("tracking.py")
    assert [row.split()[1] for row in table] == ["cold", "warm,", "warm,", "warm,", "kept,"] * 2
    for row in table:
        rate, of_cold, milliseconds = numbers(row)[:3]
        assert rate > 0.0
        assert milliseconds > 0.0
        if " warm" in row:
            assert of_cold > 90.0


@pytest.mark.skipif(not find_spec("sionna"), reason="Sionna is not installed")
def test_sionna_bler() -> None:
    table = rows("sionna_bler.py")
    errors = {row.split("  ")[0]: numbers(row)[-1] for row in table}
    assert len(table) == len(errors) == 5
    assert errors["max_min"] <= errors["sum_rate"] < errors["random + zero forcing"]
