"""Limits of each feed's power, beside Adam on the same problems.

Sparse mmWave channels on an 8 x 8 surface with 6 feeds and 6 users.  Every feed may have half of
the power that the mean feed has without limits.  Adam climbs the sum rate over (m, V) by PyTorch's
autograd, from random amplitudes and zero forcing, with V scaled to the first limit that it reaches;
the best start counts.  A time is that of `joint` on one thread over the same without limits, the
median of runs in turns.

    python bench/feeds.py                                # 200 draws, some ten minutes
    python bench/feeds.py --draws 20 --steps 300
"""

from __future__ import annotations

import argparse
import platform
import time

import numpy as np
import torch

import hmimo_fast as hf

SNRS = (0, 10, 20)  # dB
STEP = 0.02  # of Adam: the best of 0.005, 0.02 and 0.05
SHARP = 20.0, 220.0  # exponents of the smooth maximum over the limits, at first and at last


def adam(
    channel: np.ndarray,
    phase: np.ndarray,
    noise_power: float,
    limit: float,
    constraint: str,
    steps: int,
    starts: int,
) -> np.ndarray:
    """Best rates (B,) at a power of one."""
    rng = np.random.default_rng(0)
    h, waves = torch.as_tensor(channel.copy()), torch.as_tensor(phase.copy())
    best = torch.full((len(h),), -torch.inf, dtype=torch.float64)
    for _ in range(starts):
        m = torch.as_tensor(rng.random((len(h), h.shape[-1]))).requires_grad_()
        forced = torch.linalg.pinv((h * m.detach()[:, None]) @ waves)
        size = torch.linalg.matrix_norm(forced)[:, None, None]
        v = torch.view_as_real(2.0 * forced / size).clone().requires_grad_()
        optimizer = torch.optim.Adam([m, v])
        for t in range(steps):
            optimizer.param_groups[0]["lr"] = STEP * 0.5 * (1.0 + np.cos(np.pi * t / steps))
            beams = torch.view_as_complex(v)
            sent = m[..., None] * (waves @ beams) if constraint == "radiated" else beams
            spent = torch.cat(
                [
                    sent.abs().square().sum(dim=(1, 2))[:, None],
                    beams.abs().square().sum(dim=2) / limit,
                ],
                dim=1,
            )
            received = ((h * m[:, None]) @ waves @ beams).abs().square()
            own = torch.diagonal(received, dim1=1, dim2=2)
            rest = received.sum(dim=2) - own
            largest = spent.max(dim=1, keepdim=True).values
            sharp = SHARP[0] + (SHARP[1] - SHARP[0]) * t / steps
            smooth = largest * ((spent / largest) ** sharp).sum(dim=1, keepdim=True) ** (1 / sharp)
            reached = torch.log2(1.0 + own / (rest + noise_power * largest)).sum(dim=1).detach()
            best = torch.maximum(best, reached)
            loss = -torch.log2(1.0 + own / (rest + noise_power * smooth)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                m.clamp_(0.0, 1.0)
    return best.numpy()


def times(channel: np.ndarray, turns: int, *problems: dict[str, object]) -> list[float]:
    """Seconds of each problem, the median of runs in turns."""
    seconds = np.empty((turns, len(problems)))
    for turn in range(turns):
        for i, problem in enumerate(problems):
            before = time.perf_counter()
            hf.solve(channel, threads=1, **problem)  # type: ignore[arg-type]
            seconds[turn, i] = time.perf_counter() - before
    return list(np.median(seconds, axis=0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--starts", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    surface = hf.Surface(shape=(8, 8), feeds=6)
    channel = hf.channels.sparse_mmwave(surface, users=6, size=options.draws, seed=0)
    print(f"{options.draws} draws on {platform.processor() or platform.machine()}\n")
    print(
        "| power | SNR | no limits | scaled down | joint | Adam | wmmse_hbf | time | time alone |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for constraint in ("radiated", "digital"):
        for snr in SNRS:
            noise = 10.0 ** (-snr / 10.0)
            how = {"phase": surface.phase, "noise_power": noise, "constraint": constraint}
            free = hf.solve(channel, **how)
            of_feeds = np.sum(np.abs(free.digital) ** 2, axis=-1)
            limit = 0.5 * float(of_feeds.mean())
            over = np.sqrt(np.maximum(of_feeds.max(axis=-1) / limit, 1.0))[:, None, None]
            scaled = hf.sum_rate(
                channel, free.amplitudes, surface.phase, free.digital / over, noise
            )
            limited = how | {"feed_power": limit}
            ours, theirs = (
                hf.solve(channel, **limited),
                hf.solve(channel, **limited, method="wmmse_hbf"),
            )
            peer = adam(
                channel, surface.phase, noise, limit, constraint, options.steps, options.starts
            )
            batch, alone = times(channel, 7, how, limited), times(channel[0], 31, how, limited)
            rates = [
                x.mean() for x in (free.sum_rate, scaled, ours.sum_rate, peer, theirs.sum_rate)
            ]
            shown = " | ".join(f"{x:.2f}" for x in rates)
            ratios = f"{batch[1] / batch[0]:.2f} | {alone[1] / alone[0]:.2f}"
            print(f"| {constraint} | {snr} | {shown} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
