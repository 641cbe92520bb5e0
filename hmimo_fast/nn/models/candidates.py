"""The best of several designs of a channel, and how a choice among them is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import ops
from .link import Link

#: In training a candidate with 1 bit/s/Hz less has e^-5 times the weight.
_FIRM = 5.0
#: Smallest amplitude of a candidate: nothing can be projected onto a surface that is off.
_LEAST = 1e-2


def best_of(
    link: Link, amplitudes: Tensor, precoders: Tensor, training: bool
) -> tuple[Tensor, Tensor]:
    """Amplitudes (B, N) and beams (B, L, K) of the best of (B, C, N) and (B, C, N, K).

    Precoders are projected onto what the surface radiates (paper A, eq. 6-7).  Where there are
    several, their beams take one WMMSE sweep, and the one with the highest rate is returned; in
    training all of them learn, weighted by a softmax of their rates.
    """
    items, count = amplitudes.shape[:2]
    if count == 1:
        return amplitudes[:, 0], link.project(amplitudes[:, 0], precoders[:, 0])
    link = link.repeated(count)
    amplitudes = amplitudes.flatten(0, 1).clamp_min(_LEAST)
    digital = link.sweep(amplitudes, link.project(amplitudes, precoders.flatten(0, 1)))
    rates = ops.sum_rate(link.channel, amplitudes, link.phase, digital, link.noise_power)
    rates = rates.unflatten(0, (items, count))
    best = rates.argmax(1)
    chosen = count * torch.arange(items, device=best.device) + best
    amplitudes, digital = amplitudes[chosen], digital[chosen]
    if not training or not torch.is_grad_enabled():
        return amplitudes, digital
    shares = torch.softmax(_FIRM * rates.detach(), 1)
    return credited(amplitudes.detach(), (shares * rates).sum(1).mean()), digital.detach()


def credited(amplitudes: Tensor, worth: Tensor) -> Tensor:
    """The amplitudes unchanged; backward, minus the worth, a number, is part of the loss.

    This trains the choice among designs, an index without a derivative.  The worth is the expected
    mean rate of the choice, in bit/s/Hz.
    """
    return _Credited.apply(amplitudes, worth)


class _Credited(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, amplitudes: Tensor, worth: Tensor) -> Tensor:
        ctx.save_for_backward(worth)
        return amplitudes.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        (worth,) = ctx.saved_tensors
        return gradient, -torch.ones_like(worth)
