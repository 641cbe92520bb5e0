"""Block error rates behind a holographic surface, by Sionna's 5G link from coded bits to decoder.

LDPC code, QAM, OFDM grid, UMi channel at 30 GHz, precoder, LMMSE equalizer, decoder; four users of
one antenna each, all with QPSK at rate 1/2 and a code word over all subcarriers of a slot.  The
channel (TR 38.901) is without path loss and shadowing, so that all users are alike on average.
Eb is the energy radiated per information bit, the same for all methods.  The surface has six
RF chains for 64 elements, fully digital RZF has 64.

Needs Sionna 2 (pip install sionna-no-rt).

    python examples/sionna_bler.py --figure bler.png
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import numpy as np
import torch
from sionna.phy import config
from sionna.phy.channel import (
    ApplyOFDMChannel,
    cir_to_ofdm_channel,
    gen_single_sector_topology,
    subcarrier_frequencies,
)
from sionna.phy.channel.tr38901 import PanelArray, UMi
from sionna.phy.fec.ldpc import LDPC5GDecoder, LDPC5GEncoder
from sionna.phy.mapping import BinarySource, Demapper, Mapper
from sionna.phy.mimo import StreamManagement
from sionna.phy.ofdm import (
    LMMSEEqualizer,
    ResourceGrid,
    ResourceGridMapper,
    RZFPrecoder,
)
from sionna.phy.utils import ebnodb2no

import hmimo_fast as hf
from hmimo_fast.sionna import HolographicPrecoder

USERS, BITS, CODE_RATE = 4, 2, 0.5
SURFACE = hf.Surface(shape=(8, 8), spacing=2.5e-3, frequency=30e9, feeds=6)
GRID = ResourceGrid(
    num_ofdm_symbols=14,
    fft_size=48,
    subcarrier_spacing=120e3,
    num_streams_per_tx=USERS,
    pilot_pattern="kronecker",
    pilot_ofdm_symbol_indices=[2, 11],
)
STREAMS = StreamManagement(np.ones((USERS, 1)), USERS)
#: Options of the precoder; None is Sionna's fully digital RZF.
METHODS = {
    "random + zero forcing": {"method": "random"},
    "wmmse_hbf": {"method": "wmmse_hbf"},
    "sum_rate": {"objective": "sum_rate"},
    "max_min": {"objective": "max_min"},
    "fully digital RZF": None,
}
STYLES = ("v:", "s--", "^-.", "o-", "D:")
COLOURS = ("#999999", "#E69F00", "#56B4E9", "#D55E00", "#000000")


def umi_channels(size: int) -> torch.Tensor:
    """UMi channels of outdoor users dropped in a sector, (size, users, 1, 1, N, symbols, F)."""
    spacing = SURFACE.spacing / SURFACE.wavelength
    kind = {"polarization": "single", "polarization_type": "V", "antenna_pattern": "omni"}
    columns, rows = SURFACE.shape
    panel = PanelArray(
        num_rows_per_panel=rows,
        num_cols_per_panel=columns,
        element_vertical_spacing=spacing,
        element_horizontal_spacing=spacing,
        carrier_frequency=SURFACE.frequency,
        **kind,
    )
    antenna = PanelArray(1, 1, carrier_frequency=SURFACE.frequency, **kind)
    model = UMi(
        SURFACE.frequency,
        "low",
        antenna,
        panel,
        "downlink",
        enable_pathloss=False,
        enable_shadow_fading=False,
    )
    model.set_topology(*gen_single_sector_topology(size, USERS, "umi", indoor_probability=0.0))
    gains, delays = model(GRID.num_ofdm_symbols, 1.0 / GRID.ofdm_symbol_duration)
    frequencies = subcarrier_frequencies(GRID.fft_size, GRID.subcarrier_spacing)
    return cir_to_ofdm_channel(frequencies, gains, delays, normalize=True)


class Link:
    """Coded bits through a channel with given precoding to decoded bits."""

    def __init__(self) -> None:
        coded = int(GRID.num_data_symbols) * BITS
        self.encoder = LDPC5GEncoder(int(coded * CODE_RATE), coded)
        self.decoder = LDPC5GDecoder(self.encoder, cn_update="offset-minsum", num_iter=12)
        self.source, self.mapper = BinarySource(), Mapper("qam", BITS)
        self.to_grid = ResourceGridMapper(GRID)
        self.air = ApplyOFDMChannel()
        self.equalizer = LMMSEEqualizer(GRID, STREAMS)
        self.demapper = Demapper("app", "qam", BITS)

    def block_errors(self, h: torch.Tensor, no: torch.Tensor, options: dict | None) -> torch.Tensor:
        """Which of the blocks (size, users) are received with errors."""
        bits = self.source([len(h), 1, USERS, self.encoder.k])
        x = self.to_grid(self.mapper(self.encoder(bits)))
        if options is None:
            precoder = RZFPrecoder(GRID, STREAMS, return_effective_channel=True)
            precoded, effective = precoder(x, h, alpha=no)
        else:
            precoder = HolographicPrecoder(
                GRID, STREAMS, SURFACE, return_effective_channel=True, **options
            )
            precoded, effective = precoder(x, h, no)
        y = self.air(precoded, h, no)
        symbols, noise = self.equalizer(y, effective, 0.0, no)
        return (self.decoder(self.demapper(symbols, noise)) != bits).any(dim=-1)[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few slots")
    parser.add_argument("--figure", help="file to draw the curves in")
    arguments = parser.parse_args()
    slots, points = (4, [3]) if arguments.quick else (60, range(-15, 19, 3))
    config.seed = 0
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # the tensors are small: more threads only wait
    h, link = umi_channels(slots), Link()
    print(f"{'precoder':24s}{'Eb/N0':>8s}{'ms per slot':>12s}{'block error rate':>20s}")
    curves = {}
    for name, options in METHODS.items():
        curves[name] = []
        for ebno_db in points:
            # ebnodb2no divides a power of 1 over the streams; here each stream has 1.
            no = USERS * ebnodb2no(ebno_db, BITS, CODE_RATE, GRID)
            start = time.perf_counter()
            errors = link.block_errors(h, no, options).double().mean().item()
            spent = (time.perf_counter() - start) / slots * 1e3
            curves[name].append(errors)
            print(f"{name:24s}{ebno_db:5d} dB{spent:12.1f}{100 * errors:18.2f} %", flush=True)
            if errors == 0.0:
                break
    if arguments.figure:
        draw(arguments.figure, points, curves, blocks=slots * USERS)


def draw(file: str, points: Sequence[int], curves: dict[str, list[float]], blocks: int) -> None:
    """Draw the curves, each down to the last point with an error."""
    from matplotlib import pyplot

    _, ax = pyplot.subplots(figsize=(7.0, 4.5), layout="constrained")
    for (name, rates), style, colour in zip(curves.items(), STYLES, COLOURS, strict=True):
        seen = [rate for rate in rates if rate > 0.0]
        ax.semilogy(points[: len(seen)], seen, style, color=colour, label=name)
    ax.set(xlabel="Eb/N0, dB", ylabel="block error rate", ylim=(0.8 / blocks, 1.3))
    ax.grid(alpha=0.3)
    ax.legend()
    ax.figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
