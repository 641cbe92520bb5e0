"""Build ``hmimo_fast.kernels.native``: Cython over C kernels compiled once per instruction set.

Everything else about the package stands in pyproject.toml.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError, CompileError
from setuptools.modified import newer_group

KERNELS = "csrc/kernels.c"
HEADERS = sorted(glob("csrc/*.h") + glob("hmimo_fast/include/*.h"))
FLAGS = [
    "-O3",
    "-std=c11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fvisibility=hidden",
    "-Wno-psabi",  # wide vectors pass between inlined functions only
]
LEVELS = {
    "baseline": [],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
FALLBACK = "hmimo_fast is installed without its C kernels and runs on its Numba backend"


class BuildExt(build_ext):
    """Add the kernels of every instruction-set level that the compiler offers to the extension."""

    def build_extension(self, ext: Extension) -> None:
        try:
            if self.compiler.compiler_type == "msvc":
                raise CompileError("the C kernels need GNU vector extensions, which MSVC lacks")
            levels = [level for level in LEVELS if self.offers(level)]
            with ThreadPoolExecutor() as pool:
                objects = pool.map(lambda level: self.compile_kernels(ext, level), levels)
            ext.extra_objects = [path for paths in objects for path in paths]
            ext.define_macros += [(f"HF_HAVE_{level.upper()}", "1") for level in levels]
            super().build_extension(ext)
        except (BaseError, CCompilerError) as error:
            raise CCompilerError(f"{error}\n{FALLBACK}") from error

    def offers(self, level: str) -> bool:
        """Whether the compiler takes the flags of a level, for every architecture it builds."""
        if level == "baseline":
            return True
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.c")
            probe.write_text("int main(void) { return 0; }\n")
            try:
                self.compiler.compile([str(probe)], folder, extra_postargs=LEVELS[level])
            except CompileError:
                self.warn(f"the compiler has no instruction-set level {level}: left out")
                return False
        return True

    def compile_kernels(self, ext: Extension, level: str) -> list[str]:
        """Compile the kernels at one level into a folder of its own, unless they are up to date."""
        folder = str(Path(self.build_temp, level))
        objects = self.compiler.object_filenames([KERNELS], output_dir=folder)
        if self.force or any(newer_group([KERNELS, *HEADERS], path, "newer") for path in objects):
            self.compiler.compile(
                [KERNELS],
                folder,
                macros=[("HF_ISA", level)],
                include_dirs=ext.include_dirs,
                extra_postargs=[*FLAGS, *LEVELS[level]],
            )
        return objects


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "hmimo_fast.kernels.native",
            sources=["hmimo_fast/kernels/native.pyx", "csrc/dispatch.c"],
            depends=[KERNELS, *HEADERS],
            include_dirs=["csrc", "hmimo_fast/include", numpy.get_include()],
            define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
            extra_compile_args=FLAGS,
            libraries=["m"],
            optional=True,
        )
    ],
)
