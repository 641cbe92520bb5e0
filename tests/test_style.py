"""The linter, the formatter and the type checker, so that one command covers them all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check", "mypy"])
def test_style(command: str) -> None:
    """Each tool passes with the settings in pyproject.toml."""
    outcome = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_ci_runs_the_line_of_the_readme() -> None:
    """A person who pastes the README's line runs what continuous integration runs."""
    line = (ROOT / ".ci" / "run").read_text().splitlines()[-1]
    assert "pytest" in line
    assert line in (ROOT / "README.md").read_text().splitlines()
