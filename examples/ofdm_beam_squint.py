"""One amplitude pattern for a wide band, against the pattern of the centre frequency.

16 subcarriers over 1 GHz at 30 GHz.  A path of delay t has the phase factor exp(-j 2 pi f t), and
the waves in the air and under the surface have the wavenumber of each subcarrier: beams squint.
The amplitudes cannot follow, since the hardware has one pattern for all frequencies; the digital
beams can.  Amplitudes chosen for the whole band are compared with those chosen for the centre and
used everywhere, both with the best beams of each subcarrier.  As a bound, every subcarrier has a
pattern of its own, which no such hardware can do.

    python examples/ofdm_beam_squint.py --quick
"""

from __future__ import annotations

import argparse

import numpy as np

import hmimo_fast as hf
from hmimo_fast.surface import direction

CENTRE, BAND, SUBCARRIERS = 30e9, 1e9, 16
USERS = FEEDS = 6
POWER, NOISE_POWER = 1.0, 0.1  # of each subcarrier
LONGEST_DELAY = 20e-9  # seconds, after the first path
#: The best beams at given amplitudes: no step can promise so much, so the start is kept.
BEAMS_ONLY = {"zf_iterations": 0, "iterations": 1, "sweeps": 100, "tolerance": 1e300}


def wideband(surfaces: list[hf.Surface], size: int, seed: int) -> np.ndarray:
    """Sparse channels of two paths per user on every surface's frequency, (size, F, K, N)."""
    rng = np.random.default_rng(seed)
    shape = (size, USERS, 2)
    gains = rng.standard_normal((*shape, 2)) @ [1.0, 1.0j] * np.sqrt([0.5, 0.05])
    delays = rng.uniform(0.0, LONGEST_DELAY, shape) * [0.0, 1.0]
    where = direction(rng.uniform(-0.5, 0.5, shape) * np.pi, rng.uniform(-1.0, 1.0, shape) * np.pi)
    channels = []
    for surface in surfaces:
        turned = gains * np.exp(-2j * np.pi * surface.frequency * delays)
        channels.append(np.einsum("skp,skpn->skn", turned, surface.steering(where)))
    return np.stack(channels, axis=1)


def compare(shape: tuple[int, int], draws: int) -> None:
    """Print the mean rate of a subcarrier for both choices under both conventions."""
    frequencies = CENTRE + BAND * ((np.arange(SUBCARRIERS) + 0.5) / SUBCARRIERS - 0.5)
    surfaces = [hf.Surface(shape, frequency=f, feeds=FEEDS) for f in (CENTRE, *frequencies)]
    channel = wideband(surfaces, draws, seed=0)
    centre, band = channel[:, 0], np.ascontiguousarray(channel[:, 1:])
    phase = np.stack([surface.phase for surface in surfaces[1:]])
    for constraint in ("radiated", "digital"):
        problem = {"power": POWER, "noise_power": NOISE_POWER, "constraint": constraint}
        once = hf.solve(centre, surfaces[0].phase, **problem)
        # A second run, so that neither pattern had more iterations than the other.
        middle = hf.solve(centre, surfaces[0].phase, **problem, start=once.amplitudes)
        used = hf.solve(band, phase, **problem, start=middle.amplitudes, **BEAMS_ONLY).sum_rate
        starts = (np.ones(len(phase[0])), once.amplitudes)
        whole = np.max([hf.solve(band, phase, **problem, start=m).sum_rate for m in starts], axis=0)
        own = [hf.solve(band[:, f], phase[f], **problem).sum_rate for f in range(SUBCARRIERS)]
        rates = [each.mean() / SUBCARRIERS for each in (used, whole, np.sum(own, axis=0))]
        print(
            f"{shape[0]:4d} x {shape[1]:<4d} {constraint:9s}"
            + "".join(f"{rate:14.2f}" for rate in (middle.sum_rate.mean(), *rates))
            + f"{100 * (rates[1] / rates[0] - 1):+12.1f} %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few draws, small surfaces")
    quick = parser.parse_args().quick
    print(f"{SUBCARRIERS} subcarriers over {BAND / 1e9:g} GHz at {CENTRE / 1e9:g} GHz, "
          f"K = L = {USERS}, {10 * np.log10(POWER / NOISE_POWER):.0f} dB; bit/s/Hz")  # fmt: skip
    print(
        f"{'surface':11s} {'power':9s}{'centre alone':>14s}{'pattern of':>14s}{'one for the':>14s}"
        f"{'each its':>14s}{'gain of one':>14s}"
    )
    print(f"{'':35s}{'the centre':>14s}{'whole band':>14s}{'own':>14s}{'over centre':>14s}")
    for shape, draws in [((8, 8), 4), ((12, 12), 4)] if quick else [((8, 8), 100), ((32, 32), 20)]:
        compare(shape, draws)


if __name__ == "__main__":
    main()
