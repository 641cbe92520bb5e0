"""The base of the networks: inputs in any unit, outputs at the power."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...arguments import integer, is_radiated
from .link import Link
from .values import Values, array, library, like, plain

#: Largest size of any kind: a damaged file may ask for more than fits into memory.
_MOST = 10_000


#: A table, because dtype.to_complex() breaks the graph of torch.compile.
_WIDE = {torch.float32: "complex64", torch.float64: "complex128"}


class Network(nn.Module):
    """Base of the networks: checks and scales the inputs, and holds the outputs to the power.

    Parameters
    ----------
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10).
    **sizes
        The other keywords of the network's constructor: a count, or a sequence of some.

    Attributes
    ----------
    config : dict
        Keywords that construct the network again, as JSON values.

    Raises
    ------
    ValueError, TypeError
        If the constraint is unknown or a size is no integer from 1 to 10 000.
    """

    #: Items per part of the batch where no gradient is asked for, on arrays: their features stay
    #: in the cache.  None for a design on tensors, of all items at once.
    PART: int | None = None

    def __init__(self, constraint: str, **sizes: Any) -> None:
        super().__init__()
        is_radiated(constraint)  # or it raises
        self.constraint = constraint
        counts = {name: _counts(name, value) for name, value in sizes.items()}
        self.config: dict[str, Any] = {**counts, "constraint": constraint}

    def forward(
        self,
        channel: Tensor,
        phase: Tensor,
        power: Tensor | float = 1.0,
        noise_power: Tensor | float = 0.1,
    ) -> tuple[Tensor, Tensor]:
        """Amplitudes and digital beams for a batch of channels.

        Parameters
        ----------
        channel : (B, K, N) complex
            Channels as they act, one row per user.
        phase : (N, L) complex
            Reference wave of each feed at each element.
        power, noise_power : scalar or (B,) real
            Transmit and noise power, linear, positive, in the same unit.

        Returns
        -------
        amplitudes : (B, N) real
            Radiation amplitudes m in [0, 1].
        digital : (B, L, K) complex
            Digital beamformer V at the power.  Both in the channel's precision, whatever the
            network's own.

        Raises
        ------
        ValueError
            If shapes do not fit.
        TypeError
            If the channel or the phase is not complex64 or complex128, or the weights are in
            half precision.
        """
        _check(channel, phase)
        wide = _WIDE[precision("weights", next(self.parameters()))]
        power, noise_power = (
            _per_item(name, value, channel)
            for name, value in (("power", power), ("noise_power", noise_power))
        )
        phase = phase.to(channel.dtype)
        if self.PART and plain(channel) and not torch.is_grad_enabled():
            return self._on_arrays(self.PART, wide, channel, phase, power, noise_power)
        link = Link.scaled(channel, phase, power, noise_power, self.constraint)
        return _at_power(self.design(link.to(wide)), channel, phase, power, link.radiated)

    def _on_arrays(self, part: int, wide: str, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The outputs by parts of the batch on arrays, which is quicker."""
        channel, phase, power, noise_power = map(array, inputs)
        with torch.inference_mode(), np.errstate(all="ignore"):
            link = Link.scaled(channel, phase, power, noise_power, self.constraint)
            whole = link.to(wide)
            starts = range(0, len(channel), part) or (0,)
            designs = [self.design(whole.arrays(slice(start, start + part))) for start in starts]
            design = map(np.concatenate, zip(*designs, strict=True))
            amplitudes, digital = _at_power(design, channel, phase, power, link.radiated)
        return torch.from_numpy(amplitudes), torch.from_numpy(digital)

    def design(self, link: Any) -> tuple[Values, Values]:
        """Amplitudes (B, N) in [0, 1] and beams (B, L, K) of any scale."""
        raise NotImplementedError


def _at_power(
    design: Iterable[Any], channel: Any, phase: Any, power: Any, radiated: bool
) -> tuple[Any, Any]:
    """Amplitudes and beams of a design in the channel's precision, and at the power."""
    amplitudes, digital = design
    amplitudes, digital = like(amplitudes, channel.real), like(digital, channel)
    sent = (amplitudes[:, :, None] * phase) @ digital if radiated else digital
    used = (sent.real**2 + sent.imag**2).sum((-2, -1))
    factor = (power / library(used).where(used == 0.0, 1.0, used)) ** 0.5
    return amplitudes, digital * factor[:, None, None]


def precision(name: str, *weights: Tensor) -> torch.dtype:
    """The one dtype of all weights, single or double; TypeError where it is another or differs."""
    dtypes = {weight.dtype for weight in weights}
    if dtypes not in ({torch.float32}, {torch.float64}):
        got = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"{name}: expected all of float32 or all of float64, got {got}")
    return dtypes.pop()


def count(name: str, value: Any) -> int:
    """An integer from 1 to 10 000."""
    return integer(name, value, 1, _MOST)


def _counts(name: str, value: Any) -> int | list[int]:
    if name != "widths":
        return count(name, value)
    if not value:
        raise ValueError("widths: expected one size at least, got none")
    return [count(name, size) for size in value]


def _check(channel: Tensor, phase: Tensor) -> None:
    for name, value, shape in (("channel", channel, "(B, K, N)"), ("phase", phase, "(N, L)")):
        if value.dtype not in (torch.complex64, torch.complex128):
            raise TypeError(f"{name}: expected complex64 or complex128, got {value.dtype}")
        if value.ndim != shape.count(",") + 1:
            raise ValueError(f"{name}: expected {shape}, got {tuple(value.shape)}")
    if channel.shape[-1] != phase.shape[0]:
        raise ValueError(
            f"channel: expected (B, K, N) with N = {phase.shape[0]} to match phase, "
            f"got {tuple(channel.shape)}"
        )


def _per_item(name: str, value: Tensor | float, channel: Tensor) -> Tensor:
    items = torch.as_tensor(value, dtype=channel.real.dtype, device=channel.device)
    if items.ndim > 1 or items.numel() not in (1, len(channel)):
        raise ValueError(
            f"{name}: expected a scalar or (B,) with B = {len(channel)}, got {tuple(items.shape)}"
        )
    return items.expand(len(channel))
