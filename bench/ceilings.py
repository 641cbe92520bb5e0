"""What this core can do: fused multiply-adds in registers, and the BLAS of NumPy."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

_CHAINS, _STEPS = 24, 1_000_000
#: Independent chains of vectors that stay in registers, so that only the units limit.
_SOURCE = f"""
#define PEAK(name, real) \\
typedef real name##_vector __attribute__((vector_size(64))); \\
double name(void) {{ \\
    name##_vector chain[{_CHAINS}], scale, shift; \\
    for (int j = 0; j < 64 / (int)sizeof(real); j++) {{ \\
        scale[j] = 0.999; shift[j] = 1e-3; \\
        for (int i = 0; i < {_CHAINS}; i++) chain[i][j] = i + j; \\
    }} \\
    for (long k = 0; k < {_STEPS}; k++) \\
        _Pragma("GCC unroll {_CHAINS}") \\
        for (int i = 0; i < {_CHAINS}; i++) chain[i] = chain[i] * scale + shift; \\
    for (int i = 1; i < {_CHAINS}; i++) chain[0] += chain[i]; \\
    return chain[0][0]; \\
}}
PEAK(double_peak, double)
PEAK(single_peak, float)
"""


def _shortest(task: Callable[[], object], repeats: int = 20) -> float:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        task()
        times.append(time.perf_counter() - began)
    return min(times)


def blas(dtype: type, size: int = 768) -> float:
    """GFLOP/s of a square real product."""
    one = np.ones((size, size), dtype)
    out = np.empty_like(one)
    return 2e-9 * size**3 / _shortest(lambda: np.matmul(one, one, out=out))


def fused() -> tuple[float, float] | None:
    """Peak GFLOP/s of fused multiply-adds, double and single; None without GCC."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", "-x", "c", "-", "-o"]
        subprocess.run([*command, library], input=_SOURCE.encode(), check=True)
        loaded = ctypes.CDLL(str(library))
        flops = 2e-9 * _CHAINS * _STEPS
        return (
            8 * flops / _shortest(loaded.double_peak),
            16 * flops / _shortest(loaded.single_peak),
        )
