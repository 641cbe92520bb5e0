"""What the networks have in common: inputs in any unit, outputs within the limits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .. import ops
from .link import Link


class Network(nn.Module):
    """Base of the networks: checks and scales the inputs, and holds the outputs to the power.

    Parameters
    ----------
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V (paper A, eq. 4d) or of V (paper B, eq. 10).
    **config
        The other keywords of the network's constructor.

    Attributes
    ----------
    config : dict
        Keywords that construct the network again; made of what JSON has.
    """

    #: Items that a processor designs at once where no gradient is asked for: their features stay
    #: in its cache.  None for all.
    PART: int | None = None

    def __init__(self, constraint: str, **config: Any) -> None:
        super().__init__()
        if constraint not in ("radiated", "digital"):
            raise ValueError(f"constraint: expected 'radiated' or 'digital', got {constraint!r}")
        self.constraint = constraint
        self.config: dict[str, Any] = {**config, "constraint": constraint}

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
            Channels as they act, one row a user.
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
            If the channel or the phase is not complex.
        """
        _check(channel, phase)
        weight = next(self.parameters())
        wide = torch.complex128 if weight.dtype == torch.float64 else torch.complex64
        power, noise_power = (
            _per_item(name, value, channel)
            for name, value in (("power", power), ("noise_power", noise_power))
        )
        phase = phase.to(channel.dtype)
        link = Link.scaled(channel, phase, power, noise_power, self.constraint == "radiated")
        amplitudes, digital = self._designed(link.to(wide))
        amplitudes, digital = amplitudes.to(channel.real.dtype), digital.to(channel.dtype)
        return amplitudes, ops.scale(amplitudes, phase, digital, power, self.constraint)

    def _designed(self, link: Link) -> tuple[Tensor, Tensor]:
        """`design`, in parts of the batch."""
        whole = torch.is_grad_enabled() or link.channel.is_cuda
        if whole or self.PART is None or len(link.channel) <= self.PART:
            return self.design(link)
        designs = [self.design(part) for part in link.split(self.PART)]
        amplitudes, digital = zip(*designs, strict=True)
        return torch.cat(amplitudes), torch.cat(digital)

    def design(self, link: Link) -> tuple[Tensor, Tensor]:
        """Amplitudes (B, N) in [0, 1] and beams (B, L, K) of any scale."""
        raise NotImplementedError


def perceptron(enter: nn.Linear, leave: nn.Linear, features: list[Tensor]) -> Tensor:
    """Two layers over the first dimension, (features, ...) -> (outputs, ...).

    With features first, those put together and taken apart are whole rows, and all items of the
    batch are columns of one matrix product.
    """
    columns = torch.cat(features)
    hidden = _affine(enter, columns.flatten(1)).relu_()
    return _affine(leave, hidden).view(leave.out_features, *columns.shape[1:])


def _affine(layer: nn.Linear, columns: Tensor) -> Tensor:
    if layer.bias is None:
        return layer.weight @ columns
    return torch.addmm(layer.bias[:, None], layer.weight, columns)


def _check(channel: Tensor, phase: Tensor) -> None:
    for name, value, shape in (("channel", channel, "(B, K, N)"), ("phase", phase, "(N, L)")):
        if not value.is_complex():
            raise TypeError(f"{name}: expected complex numbers, got {value.dtype}")
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
