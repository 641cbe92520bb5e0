"""Best mean sum rate that every method reaches within a time, and the picture of it.

Sparse mmWave channels, N = 64, K = L = 6, -10 to 30 dB, one thread.  Each method runs with growing
budgets: iterations, then starts for `joint`, draws for `random`, and for the networks in PyTorch
polishing by `joint`.  A curve is the highest mean rate
of those budgets that take no longer; a ring marks the method's default.  `alternating` is the
better reading with the best of three step sizes.

    python bench/rate_time.py --figure docs/images/rate_time.png

Times are the processor's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from solving import solved, sparse

SNR = (-10.0, 10.0, 20.0, 30.0)
YARDSTICK = "fully digital array"
SWEEPS = (1, 2, 3, 5, 8, 13, 20, 40, 80, 150, 300, 1000, 3000, 10_000)
#: Iterations of both stages and candidates.
JOINT = ((0, 1, 1), (1, 2, 1), (2, 5, 1), (3, 9, 1), (4, 15, 1), (5, 24, 1), (6, 30, 1),
         (10, 60, 2), (30, 80, 2), (50, 150, 2))  # fmt: skip


Options = dict[str, Any]


class Curve(NamedTuple):
    default: Options
    budgets: list[Options]
    colour: str
    marker: str
    line: str


class Measured(NamedTuple):
    seconds: np.ndarray  # per channel; the first one is of the default
    rates: np.ndarray  # mean over the draws

    def front(self) -> tuple[np.ndarray, np.ndarray]:
        """Budgets that reach more than all quicker ones."""
        order = np.lexsort((-self.rates, self.seconds))
        seconds, rates = self.seconds[order], self.rates[order]
        better = np.r_[True, rates[1:] > np.maximum.accumulate(rates)[:-1]]
        return seconds[better], rates[better]


def growing(option: str, values: tuple[int, ...], **fixed: Any) -> list[Options]:
    return [{**fixed, option: value} for value in values]


def stages(zf_iterations: int, iterations: int, candidates: int, starts: int = 1) -> Options:
    return {
        "zf_iterations": zf_iterations, "iterations": iterations, "candidates": candidates,
        "starts": starts,
    }  # fmt: skip


ALTERNATING = {"method": "alternating", "step": 0.1}
NETWORK = {"method": "mbdnn", "model": "unrolled"}
CURVES = {
    "joint": Curve(
        {}, [stages(*pair) for pair in JOINT] + growing("starts", (2, 4, 8, 16))
        + [stages(50, 150, 2, starts) for starts in (8, 20, 50)], "#D1490C", "o", "-"),
    "zf": Curve({"method": "zf"},
                growing("iterations", (1, 2, 3, 5, 8, 13, 20, 40, 120, 250), method="zf"),
                "#E69F00", "s", "-"),
    "wmmse_hbf": Curve({"method": "wmmse_hbf"}, growing("iterations", SWEEPS, method="wmmse_hbf"),
                       "#1B2230", "^", "-"),
    "zf_hbf": Curve({"method": "zf_hbf"}, growing("iterations", SWEEPS, method="zf_hbf"),
                    "#1B2230", "v", "--"),
    "alternating": Curve(
        ALTERNATING, growing("iterations", (1, 3, 10, 30, 100, 300, 1000), **ALTERNATING),
        "#0072B2", "D", "-."),
    "unrolled network": Curve(NETWORK, growing("polish", (2, 5, 12, 30, 80), **NETWORK),
                              "#009E73", "P", "--"),
    "MB-DNN": Curve({"method": "mbdnn"}, [], "#009E73", "*", ""),
    "random": Curve({"method": "random"},
                    growing("starts", (2, 4, 16, 64, 256), method="random"),
                    "#7A828C", "x", ":"),
}  # fmt: skip


def measure(constraint: str, snr: float, draws: int, seed: int) -> dict[str, Measured]:
    """Every budget of every method, and the fully digital array."""
    channel, phase = sparse(64, draws, seed)
    noise_power = 10.0 ** (-snr / 10.0)
    measured = {}
    for name, curve in CURVES.items():
        seconds, rates = [], []
        for options in (curve.default, *curve.budgets):
            solved(channel[:1], phase, noise_power, constraint=constraint, **options)
            result = solved(channel, phase, noise_power, constraint=constraint, **options)
            seconds.append(result.seconds)
            rates.append(result.rates.mean())
        measured[name] = Measured(np.array(seconds), np.array(rates))
        front = zip(*measured[name].front(), strict=True)
        points = "  ".join(f"{1e6 * each:.3g} µs {rate:.2f}" for each, rate in front)
        print(f"{constraint:9s}{snr:4g} dB  {name:17s}{points}", flush=True)
    digital = solved(channel, phase, noise_power, method="fully_digital")
    measured[YARDSTICK] = Measured(np.array([digital.seconds]), digital.rates.mean()[None])
    return measured


def draw(path: Path, panels: dict[str, dict[str, Measured]], draws: int) -> None:
    """Rate against time, one panel per power and SNR, each curve labelled at its end."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {"font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False,
             "savefig.dpi": 150, "svg.fonttype": "none"}  # fmt: skip
    last = max(each.seconds.max() for measured in panels.values() for each in measured.values())
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(24.0, 12.0))
        grid = figure.subplots(2, len(SNR))
        for axes, (title, measured) in zip(grid.flat, panels.items(), strict=True):
            draw_panel(axes, measured, 1.3 * last)
            axes.set_title(title, loc="left", fontweight="bold", fontsize=11.5)
            axes.set_xlabel("time of a channel on one core")
        for axes in grid[:, 0]:
            axes.set_ylabel(f"best mean sum rate of {draws} channels, bit/s/Hz")
        figure.subplots_adjust(left=0.03, right=0.93, bottom=0.05, top=0.97, wspace=0.5)
        figure.savefig(path)


def draw_panel(axes: Any, measured: dict[str, Measured], last: float) -> None:
    """The curves, each at its best rate until ``last`` seconds, and their names beside them."""
    ends = {YARDSTICK: (float(measured[YARDSTICK].rates[0]), "#555C66")}
    axes.axhline(ends[YARDSTICK][0], color="#7A828C", linewidth=1.0, linestyle=(0, (6, 4)))
    for name, curve in CURVES.items():
        seconds, rates = measured[name].front()
        ends[name] = float(rates[-1]), curve.colour
        axes.plot(seconds, rates, color=curve.colour, linestyle=curve.line or "none",
                  linewidth=1.7, marker=curve.marker, markersize=5 if curve.line else 9,
                  zorder=3 if name == "joint" else 2)  # fmt: skip
        axes.plot([seconds[-1], last], [rates[-1]] * 2, color=curve.colour, linewidth=0.6, zorder=1)
        axes.plot(measured[name].seconds[0], measured[name].rates[0], marker="o", markersize=12,
                  markerfacecolor="none", markeredgecolor=curve.colour, zorder=4)  # fmt: skip
    axes.set_xscale("log")
    ticks = (1e-5, 1e-4, 1e-3, 1e-2)
    axes.set_xticks(ticks, ["10 µs", "100 µs", "1 ms", "10 ms"])
    axes.set_xlim(1.5e-6, last)
    axes.set_ylim(0.0, 1.06 * max(height for height, _ in ends.values()))
    names = sorted(ends, key=lambda name: ends[name][0])
    heights = np.array([ends[name][0] for name in names])
    for name, height, beside in zip(
        names, heights, spread(heights, 0.043 * axes.get_ylim()[1]), strict=True
    ):
        axes.annotate(name, (last, height), xytext=(1.05, beside), color=ends[name][1],
                      textcoords=("axes fraction", "data"), va="center", annotation_clip=False,
                      fontweight="bold" if name == "joint" else "normal",
                      arrowprops={"arrowstyle": "-", "linewidth": 0.6, "shrinkA": 2, "shrinkB": 0,
                                  "relpos": (0, 0.5), "color": ends[name][1]})  # fmt: skip
    axes.grid(axis="y", color="#E3E6EA", linewidth=0.8)
    axes.set_axisbelow(True)


def spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Ascending heights moved apart to at least a gap."""
    moved = heights.copy()
    for _ in range(1000):
        short = np.maximum(gap - np.diff(moved), 0.0) / 2.0
        moved[1:] += short
        moved[:-1] -= short
    return moved


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", type=Path, default=Path("docs/images/rate_time.png"))
    chosen = parser.parse_args()
    panels = {
        f"{constraint} power, {snr:g} dB": measure(constraint, snr, chosen.draws, chosen.seed)
        for constraint in ("digital", "radiated")
        for snr in SNR
    }
    draw(chosen.figure, panels, chosen.draws)


if __name__ == "__main__":
    main()
