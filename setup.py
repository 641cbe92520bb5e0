"""Build ``hmimo_fast.kernels.native``: Cython over C kernels.

csrc/kernels.c is compiled for every kind of number at every instruction-set level, csrc/choose.c
once per level.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from hashlib import sha256
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError
from setuptools.modified import newer_group

KERNELS, CHOICE = "csrc/kernels.c", "csrc/choose.c"
KINDS = ("HF_LONE", "HF_DOUBLES", "HF_FLOATS")
PYX = "hmimo_fast/kernels/native.pyx"
HEADERS = sorted(glob("csrc/*.h") + glob("hmimo_fast/include/*.h"))
#: What `native.source` tells: the same for every build of the same sources.
SOURCE = sha256(
    b"".join(Path(name).read_bytes() for name in sorted({*glob("csrc/*.[ch]"), *HEADERS, PYX}))
)
FLAGS = [
    "-O3",
    "-std=c11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fvisibility=hidden",
    "-Wno-psabi",  # wide vectors pass between inlined functions only
]
#: Flags of each level; the second choice is for compilers that do not know it by name.
LEVELS = {
    "baseline": [[]],
    "v3": [
        ["-march=x86-64-v3"],
        ["-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe", "-mpopcnt"],
    ],
    "v4": [
        ["-march=x86-64-v4", "-mprefer-vector-width=512"],
        [
            *("-mavx2", "-mfma", "-mbmi", "-mbmi2", "-mf16c", "-mlzcnt", "-mmovbe", "-mpopcnt"),
            *("-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512dq", "-mavx512vl"),
            "-mprefer-vector-width=512",
        ],
    ],
}
#: Where the reason stands for users who have no C kernels (kernels/backends.py reads it).
MISSING = "hmimo_fast/kernels/native_missing.txt"
FALLBACK = "hmimo_fast is installed without its C kernels and runs on its Numba backend"


class BuildExt(build_ext):
    """Add the kernels of every instruction-set level that the compiler offers to the extension."""

    failure = ""

    def run(self) -> None:
        super().run()
        for folder in (self.build_lib, "")[: 1 + bool(self.inplace)]:
            note = Path(folder, MISSING)
            note.unlink(missing_ok=True)
            if self.failure:
                note.parent.mkdir(parents=True, exist_ok=True)
                note.write_text(f"{self.failure}\n")

    def build_extension(self, ext: Extension) -> None:
        try:
            if self.compiler.compiler_type == "msvc":
                raise CompileError("the C kernels need GNU vector extensions, which MSVC lacks")
            flags = {level: self.flags_of(level) for level in LEVELS}
            levels = [level for level, found in flags.items() if found is not None]
            units = [(level, kind) for level in levels for kind in (*KINDS, None)]
            with ThreadPoolExecutor() as pool:
                objects = pool.map(
                    lambda unit: self.compile_kernels(ext, *unit, flags[unit[0]]), units
                )
            ext.extra_objects = [path for paths in objects for path in paths]
            ext.define_macros += [(f"HF_HAVE_{level.upper()}", "1") for level in levels]
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            self.failure = f"their build failed: {error}"
            raise CCompilerError(f"{error}\n{FALLBACK}") from error

    def flags_of(self, level: str) -> list[str] | None:
        """Flags of a level that the compiler takes, for every architecture it builds."""
        for flags in LEVELS[level]:
            if not flags:
                return flags
            with tempfile.TemporaryDirectory() as folder:
                probe = Path(folder, "probe.c")
                probe.write_text("int main(void) { return 0; }\n")
                try:
                    self.compiler.compile([str(probe)], folder, extra_postargs=flags)
                    return flags
                except CompileError:
                    continue
        self.warn(f"the compiler has no instruction-set level {level}: left out")
        return None

    def compile_kernels(
        self, ext: Extension, level: str, kind: str | None, flags: list[str]
    ) -> list[str]:
        """Compile one unit into a folder of its own, unless it is up to date."""
        source = KERNELS if kind else CHOICE
        folder = str(Path(self.build_temp, level, kind or ""))
        objects = self.compiler.object_filenames([source], output_dir=folder)
        if self.force or any(newer_group([source, *HEADERS], path, "newer") for path in objects):
            self.compiler.compile(
                [source],
                folder,
                macros=[("HF_ISA", level), *([(kind, None)] if kind else [])],
                include_dirs=ext.include_dirs,
                extra_postargs=[*FLAGS, *flags],
            )
        return objects


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "hmimo_fast.kernels.native",
            sources=[PYX, "csrc/dispatch.c"],
            depends=[KERNELS, CHOICE, *HEADERS],
            include_dirs=["csrc", "hmimo_fast/include", numpy.get_include()],
            define_macros=[
                ("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION"),
                ("HF_SOURCE", f"0x{SOURCE.hexdigest()[:16]}ULL"),
            ],
            extra_compile_args=FLAGS,
            libraries=["m"],
            optional=True,
        )
    ],
)
