"""The step along a gradient in the box that the networks start from, and its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

#: Range of how far a step may carry the element of the steepest slope.
_SHORTEST, _LONGEST = 0.02, 20.0


def spectral_step(
    amplitudes: Tensor, change: Tensor, last: Tensor | None, gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Projected step of Barzilai and Borwein's length s.s / s.y, as `hf.solve` begins from.

    Parameters
    ----------
    amplitudes, change : (B, N) real
        Where we are, and the step s that led here.
    last : (B, N) real or None
        Gradient before that step; y is what it lost.
    gradient : (B, N) real
        Gradient here.

    Returns
    -------
    step : (B, N) real
        clip(m + length * gradient) - m.
    direction : (B, N) real
        The gradient over its largest magnitude.
    length : (B, 1) real
        Length over that direction.
    """
    steepest = gradient.abs().amax(-1, keepdim=True)
    steepest = steepest.masked_fill(steepest == 0.0, 1.0)
    length = torch.ones_like(steepest)
    if last is not None:
        bend = (change * (last - gradient)).sum(-1, keepdim=True)
        straight = bend <= 0.0
        size = change.square().sum(-1, keepdim=True) * steepest
        length = (size / bend.masked_fill(straight, 1.0)).masked_fill(straight, _LONGEST)
        length = length.clamp(_SHORTEST, _LONGEST)
    direction = gradient / steepest
    return (amplitudes + length * direction).clamp(0.0, 1.0) - amplitudes, direction, length


def tamed(amplitudes: Tensor) -> Tensor:
    """The same, with every item's gradient of the batch's median size on the way back.

    Close to a singular channel second derivatives are huge, and a handful of items would decide
    every step of a training.
    """
    if amplitudes.requires_grad:
        amplitudes.register_hook(_of_one_size)
    return amplitudes


def _of_one_size(gradient: Tensor) -> Tensor:
    size = gradient.norm(dim=-1, keepdim=True)
    return gradient * torch.where(size > 0.0, size.nanmedian() / size, 1.0)
