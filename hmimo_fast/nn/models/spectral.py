"""The step along a gradient in the box that the networks start from, and its derivative."""

from __future__ import annotations

import torch
from torch import Tensor

from .arrays import Values, through

#: Range of how far a step may carry the element of the steepest slope.
_SHORTEST, _LONGEST = 0.02, 20.0
#: Keeps a quotient from 0 / 0.
_TINY = torch.finfo(torch.float32).tiny


def spectral_step(
    amplitudes: Values, change: Values, last: Values | None, gradient: Values
) -> tuple[Values, Values, Values]:
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
    steepest = through(_largest, gradient)
    steepest = steepest + (steepest == 0.0)
    direction = gradient / steepest
    length = steepest / steepest
    if last is not None:
        bend = (change * (last - gradient)).sum(-1, keepdims=True)
        size = (change * change).sum(-1, keepdims=True) * steepest
        # Inverted, so that no change, or none for the worse, needs no case of its own.
        length = 1.0 / (bend / (size + _TINY)).clip(1.0 / _LONGEST, 1.0 / _SHORTEST)
    return (amplitudes + length * direction).clip(0.0, 1.0) - amplitudes, direction, length


def _largest(gradient: Tensor) -> Tensor:
    return gradient.abs().amax(-1, keepdim=True)


def tamed(amplitudes: Values) -> Values:
    """The same, with every item's gradient of the batch's median size on the way back.

    Close to a singular channel second derivatives are huge, and a handful of items would decide
    every step of a training.
    """
    if isinstance(amplitudes, Tensor) and amplitudes.requires_grad:
        amplitudes.register_hook(_of_one_size)
    return amplitudes


def _of_one_size(gradient: Tensor) -> Tensor:
    size = gradient.norm(dim=-1, keepdim=True)
    return gradient * torch.where(size > 0.0, size.nanmedian() / size, 1.0)
