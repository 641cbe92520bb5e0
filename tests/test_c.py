"""The C kernels under AddressSanitizer and UndefinedBehaviorSanitizer, at every level."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CC = os.environ.get("CC", "cc").split()
FLAGS = ["-std=c11", "-O1", "-g", "-Wno-psabi", f"-I{ROOT}/csrc", f"-I{ROOT}/hmimo_fast/include"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
COUNTED = [f"-D{name}=check_{name}" for name in ("malloc", "calloc", "aligned_alloc", "free")]
LEVELS = {"baseline": []}
if platform.machine().lower() in ("x86_64", "amd64"):
    LEVELS |= {
        "v3": ["-march=x86-64-v3"],
        "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
KINDS = ("LONE", "DOUBLES", "FLOATS")
NOT_HERE = 77


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a program, with what it said on either stream."""
    return subprocess.run(
        command,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},  # counted by the program itself
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=400,
    )


def compile_to(target: Path, *arguments: str | Path) -> Path:
    """Compile with sanitizers, to success."""
    outcome = run(*CC, *FLAGS, *SANITIZERS, *arguments, "-o", target)
    assert outcome.returncode == 0, outcome.stdout
    return target


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program check.c over the kernels of every level."""
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
    units = [("choose.c", []), *(("kernels.c", [f"-DHF_{kind}"]) for kind in KINDS)]
    kernels = [
        (
            folder / f"{level}{number}.o",
            "-c",
            ROOT / "csrc" / source,
            f"-DHF_ISA={level}",
            *COUNTED,
            *kind,
            *flags,
        )
        for level, flags in LEVELS.items()
        for number, (source, kind) in enumerate(units)
    ]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda arguments: compile_to(*arguments), kernels))
    sources = [ROOT / "csrc/dispatch.c", ROOT / "tests/c/check.c"]
    levels = [f"-DHF_HAVE_{level.upper()}" for level in LEVELS]
    return compile_to(folder / "check", *levels, *sources, *objects, "-lm")


@pytest.mark.parametrize("level", LEVELS)
def test_kernels_are_clean_and_right(check: Path, level: str) -> None:
    """No bad access, no undefined behaviour, no leak and no wrong result at any odd size."""
    outcome = run(check, level)
    if outcome.returncode == NOT_HERE:
        pytest.skip(outcome.stdout)
    assert outcome.returncode == 0, outcome.stdout
    assert outcome.stdout.startswith(f"{level}: ")
