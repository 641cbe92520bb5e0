"""Reference curves: the committed table is what the package computes, on every compiled backend.

The first columns are also tested against the NumPy code of its page, docs/curves.md.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import hmimo_fast as hf
from hmimo_fast.cli import main
from hmimo_fast.studies import curves


def test_the_table_is_reproduced(compiled: str) -> None:
    with hf.backend(compiled):
        assert curves.difference(curves.compute(), curves.committed()) <= curves.TOLERANCE


def test_rounding_does_not_sway_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels that differ in their last digits have the same rates within the tolerance."""
    exact = hf.channels.sparse_mmwave

    def rounded(*arguments: object) -> np.ndarray:
        channel = exact(*arguments)
        return channel * (1 + 1e-14 * np.random.default_rng(1).standard_normal(channel.shape))

    monkeypatch.setattr(hf.channels, "sparse_mmwave", rounded)
    found = curves.difference(curves.compute(), curves.committed())
    assert 0 < found <= 0.1 * curves.TOLERANCE


def test_command_computes_and_compares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "curves", "--output", str(tmp_path / "out")]
    assert main(command) == 0
    written = (tmp_path / "out" / "curves.csv").read_text()
    assert written.splitlines()[0].split(",") == list(curves.HEADING)
    assert len(written.splitlines()) == 19
    known = curves.committed()
    wrong = known[3]._replace(rates=(known[3].rates[0] * (1 + 2e-6), *known[3].rates[1:]))
    monkeypatch.setattr(curves, "committed", lambda: [*known[:3], wrong, *known[4:]])
    with pytest.raises(SystemExit) as caught:
        main(command)
    assert caught.value.code == 1
    assert "largest relative difference to the package's: 2.0e-06" in capsys.readouterr().out


def test_tables_of_other_settings_or_without_a_number_differ() -> None:
    known = curves.committed()
    assert curves.difference(known[1:], known) == math.inf
    spoilt = known[0]._replace(rates=(math.nan, *known[0].rates[1:]))
    assert not curves.difference([spoilt, *known[1:]], known) <= curves.TOLERANCE
