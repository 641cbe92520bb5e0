"""One amplitude pattern for an uncertain channel, against the pattern of its estimate.

The amplitudes change slowly and the digital beams fast: when the pattern is chosen, the directions
of the paths are known to a few degrees, and their phases, which turn within a wavelength of
movement, not at all.  The beams then follow each channel.  The pattern chosen for the estimated
channel is compared with the pattern chosen for samples of the possible channels, on fresh
samples, both with the best beams for each.

    python examples/uncertain_csi.py --quick
"""

from __future__ import annotations

import argparse

import numpy as np

import hmimo_fast as hf
from hmimo_fast.surface import direction

USERS = FEEDS = 6
POWER, NOISE_POWER = 1.0, 0.1
#: The best beams at given amplitudes: no step can promise so much, so the start is kept.
BEAMS_ONLY = {"zf_iterations": 0, "iterations": 1, "sweeps": 100, "tolerance": 1e300}


class Paths:
    """Two paths per user in every draw: estimated gains and angles, and what they may be."""

    def __init__(self, surface: hf.Surface, draws: int) -> None:
        rng = np.random.default_rng(0)
        shape = (draws, 1, USERS, 2)
        self.surface = surface
        self.gains = rng.standard_normal((*shape, 2)) @ [1.0, 1.0j] * np.sqrt([0.5, 0.05])
        self.angles = rng.uniform(-0.5, 0.5, shape) * np.pi, rng.uniform(-1.0, 1.0, shape) * np.pi

    def estimate(self) -> np.ndarray:
        """(draws, K, N)."""
        return self._channel(self.gains, *self.angles)[:, 0]

    def samples(self, degrees: float, count: int, seed: int) -> np.ndarray:
        """(draws, count, K, N): normal errors in both angles, any phase of each path."""
        rng = np.random.default_rng(seed)
        shape = (len(self.gains), count, USERS, 2)
        moved = (a + np.deg2rad(degrees) * rng.standard_normal(shape) for a in self.angles)
        return self._channel(self.gains * np.exp(2j * np.pi * rng.random(shape)), *moved)

    def _channel(self, gains: np.ndarray, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
        waves = self.surface.steering(direction(theta, phi))
        return np.einsum("dskp,dskpn->dskn", gains, waves)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few draws and samples")
    draws, count, fresh = (4, 32, 16) if parser.parse_args().quick else (50, 32, 64)
    surface = hf.Surface(shape=(8, 8), feeds=FEEDS)
    paths = Paths(surface, draws)
    print(f"N = {surface.elements}, K = L = {USERS}, {10 * np.log10(POWER / NOISE_POWER):.0f} dB, "
          f"{count} samples to choose by, {fresh} fresh ones to judge by; bit/s/Hz")  # fmt: skip
    print(f"{'power':9s}{'angles':>9s}{'promised by':>14s}{'pattern of':>14s}{'pattern of':>14s}"
          f"{'gain':>16s}")  # fmt: skip
    print(f"{'':9s}{'':>9s}{'the estimate':>14s}{'the estimate':>14s}{'the samples':>14s}")
    for constraint in ("radiated", "digital"):
        problem = {"power": POWER, "noise_power": NOISE_POWER, "constraint": constraint}
        once = hf.solve(paths.estimate(), surface.phase, **problem)
        # A second run, so that both patterns had as many iterations.
        certain = hf.solve(paths.estimate(), surface.phase, **problem, start=once.amplitudes)
        for degrees in (0, 2, 5, 10):
            known = paths.samples(degrees, count, seed=1)
            unseen = paths.samples(degrees, fresh, seed=2)
            several = problem | {"shared": True}
            robust = hf.solve(known, surface.phase, **several, start=certain.amplitudes)
            of_estimate, of_samples = (
                hf.solve(unseen, surface.phase, **several, start=each.amplitudes, **BEAMS_ONLY)
                .sum_rate / fresh
                for each in (certain, robust)
            )  # fmt: skip
            gain, base = of_samples - of_estimate, of_estimate.mean()
            error = gain.std(ddof=1) / np.sqrt(draws) / base
            print(
                f"{constraint:9s}{f'± {degrees}°':>9s}{certain.sum_rate.mean():14.2f}{base:14.2f}"
                f"{of_samples.mean():14.2f}{100 * gain.mean() / base:+9.1f} ± {100 * error:.1f} %"
            )


if __name__ == "__main__":
    main()
