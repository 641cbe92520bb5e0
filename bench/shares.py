"""Rate and both gradients as a share of the core's multiply-add peak, size by size.

    python bench/shares.py
    HMIMO_FAST_ISA=v3 python bench/shares.py   # AVX2 only: the peak is half that of 512 bits

Processor time of one thread, for batches whose channels take about half a megabyte; operations by
their shortest count, which the passes undercut (docs/mathematics.md, "Passes").
"""

from __future__ import annotations

import os
import time

import ceilings
import numpy as np

import hmimo_fast as hf

SIZES, ELEMENTS, BYTES = (4, 6, 8, 12, 16), (36, 64, 256, 1024, 4096), 1 << 19


def flops(elements: int, size: int) -> int:
    return 16 * elements * size**2 + 6 * elements * size + 24 * size**3


def seconds(elements: int, size: int, kind: type) -> float:
    """The least processor time of an item."""
    rng = np.random.default_rng(0)
    batch = max(1, BYTES // (elements * size * np.dtype(kind).itemsize))
    phase = np.exp(1j * rng.uniform(0, 6, (elements, size))).astype(kind)
    channel = rng.standard_normal((batch, size, elements, 2)).view(complex)[..., 0].astype(kind)
    amplitudes = rng.uniform(size=(batch, elements)).astype(channel.real.dtype)
    digital = 0.1 * channel[:, :, :size].copy()
    best, end = np.inf, time.perf_counter() + 0.3
    while time.perf_counter() < end:
        start = time.process_time()
        hf.sum_rate_gradient(channel, amplitudes, phase, digital, 0.1)
        best = min(best, time.process_time() - start)
    return best / batch


def main() -> None:
    """Print the table."""
    peaks = ceilings.fused()
    assert peaks
    half = 2 if os.environ.get("HMIMO_FAST_ISA") == "v3" else 1
    print("| K = L | " + " | ".join(f"N = {n}" for n in ELEMENTS) + " |")
    print("|---|" + "--:|" * len(ELEMENTS))
    for size in SIZES:
        shares = [
            " / ".join(
                f"{100e-9 * flops(n, size) / seconds(n, size, kind) / peak * half:.0f}"
                for kind, peak in zip((np.complex128, np.complex64), peaks, strict=True)
            )
            for n in ELEMENTS
        ]
        print(f"| {size} | " + " | ".join(shares) + " |", flush=True)


if __name__ == "__main__":
    main()
