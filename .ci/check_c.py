"""Compile the C kernels and tests/c/check.c without a warning and run it at every level.

    python .ci/check_c.py gcc-11
    python .ci/check_c.py clang
    python .ci/check_c.py "aarch64-linux-gnu-gcc -static" qemu-aarch64

The last needs Debian's gcc-aarch64-linux-gnu and qemu-user.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLAGS = ["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-psabi"]
FLAGS += [
    "-Wno-uninitialized"
]  # at -O1 GCC 11 warns of vectors that it splits; sanitizers know better
FLAGS += [f"-I{ROOT}/csrc", f"-I{ROOT}/hmimo_fast/include"]
COUNTED = [f"-D{name}=check_{name}" for name in ("malloc", "calloc", "aligned_alloc", "free")]
LEVELS = {
    "baseline": [],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
KINDS = ("LONE", "DOUBLES", "FLOATS")
NOT_HERE = 77  # what the program ends with at a level that this processor lacks


def levels_of(compiler: Sequence[str]) -> list[str]:
    """The instruction-set levels of the compiler's target."""
    target = subprocess.run([*compiler, "-dumpmachine"], capture_output=True, text=True).stdout
    return [*LEVELS] if target.startswith(("x86_64", "amd64")) else ["baseline"]


def build(compiler: Sequence[str], folder: Path, *flags: str) -> Path:
    """The program, compiled into a folder with some more flags."""

    def compile_to(target: Path, *arguments: str | Path) -> Path:
        command = [*compiler, *FLAGS, *flags, *arguments, "-o", target]
        outcome = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if outcome.returncode:
            raise RuntimeError(outcome.stdout.decode(errors="replace"))
        return target

    levels = levels_of(compiler)
    units = [("choose.c", []), *(("kernels.c", [f"-DHF_{kind}"]) for kind in KINDS)]
    kernels = [
        (
            folder / f"{level}{number}.o",
            *("-c", ROOT / "csrc" / source, f"-DHF_ISA={level}"),
            *(*COUNTED, *kind, *LEVELS[level]),
        )
        for level in levels
        for number, (source, kind) in enumerate(units)
    ]
    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(lambda arguments: compile_to(*arguments), kernels))
    sources = [ROOT / "csrc/dispatch.c", ROOT / "tests/c/check.c"]
    present = [f"-DHF_HAVE_{level.upper()}" for level in levels]
    return compile_to(folder / "check", *present, *sources, *objects, "-lm")


def main(compiler: str, runner: str = "") -> int:
    """Build and run; how many levels failed."""
    with tempfile.TemporaryDirectory() as folder:
        program = build(compiler.split(), Path(folder))
        statuses = [
            subprocess.run([*runner.split(), program, level]).returncode
            for level in levels_of(compiler.split())
        ]
    return sum(status not in (0, NOT_HERE) for status in statuses)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
