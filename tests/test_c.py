"""The C kernels under sanitizers at every level, under other compilers and for other processors."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent.parent / ".ci/check_c.py"
CHECK: dict[str, Any] = runpy.run_path(str(SCRIPT))
CC = os.environ.get("CC", "cc").split()
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a program, with what it said on either stream."""
    return subprocess.run(
        command,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # counted by the program itself
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
    )


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program check.c over the kernels of every level, with sanitizers."""
    if not shutil.which(CC[0]):
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("c")
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    if (
        run(*CC, *SANITIZERS, probe, "-o", folder / "probe").returncode
        or run(folder / "probe").returncode
    ):
        pytest.skip(f"{CC[0]} has no sanitizers that run here")
    program: Path = CHECK["build"](CC, folder, *SANITIZERS)
    return program


@pytest.mark.parametrize("level", CHECK["levels_of"](CC) if shutil.which(CC[0]) else ["baseline"])
def test_kernels_are_clean_and_right(check: Path, level: str) -> None:
    """No bad access, no undefined behaviour, no leak and no wrong result at any odd size."""
    outcome = run(check, level)
    if outcome.returncode == CHECK["NOT_HERE"]:
        pytest.skip(outcome.stdout)
    assert outcome.returncode == 0, outcome.stdout
    assert outcome.stdout.startswith(f"{level}: ")


@pytest.mark.parametrize(
    "arguments",
    [["gcc-11"], ["clang"], ["clang-14"], ["aarch64-linux-gnu-gcc -static", "qemu-aarch64"]],
    ids=" ".join,
)
def test_other_compilers_and_processors(arguments: list[str]) -> None:
    """Where they are installed: no warning, no wrong result."""
    if not all(shutil.which(argument.split()[0]) for argument in arguments):
        pytest.skip(f"no {' or '.join(arguments)}")
    outcome = run(sys.executable, SCRIPT, *arguments)
    assert outcome.returncode == 0, outcome.stdout
    assert "baseline: " in outcome.stdout
