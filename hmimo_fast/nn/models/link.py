"""A batch of channels in natural units, and what the networks ask of it in each layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .. import definitions, ops
from ..library import OPERATIONS


@dataclass(frozen=True)
class Link:
    """Channels over one surface, scaled to unit mean power, to be served at power 1.

    Rates are those of the original: what the scaling takes from the channel it takes from the
    noise, so that path gains of -170 dB are numbers near 1 in single precision.
    """

    channel: Tensor  # (B, K, N) complex
    phase: Tensor  # (N, L) complex
    noise_power: Tensor  # (B,) real
    radiated: bool

    @classmethod
    def scaled(
        cls, channel: Tensor, phase: Tensor, power: Tensor, noise_power: Tensor, radiated: bool
    ) -> Link:
        """The link of channels, phase and (B,) powers in any unit."""
        gain = _mean_power(channel)
        spread = _mean_power(phase)
        noise = noise_power / power / gain[:, 0, 0]
        # Radiated power fixes W = diag(m) Phi V, whatever the scale of Phi.
        return cls(
            channel / gain.sqrt(),
            phase / spread.sqrt(),
            noise if radiated else noise / spread[0, 0],
            radiated,
        )

    def to(self, dtype: torch.dtype) -> Link:
        """The link in another complex dtype."""
        return Link(
            self.channel.to(dtype),
            self.phase.to(dtype),
            self.noise_power.to(dtype.to_real()),
            self.radiated,
        )

    @cached_property
    def snr(self) -> Tensor:
        """Decimal logarithm of the power over the noise's, (B,)."""
        return -torch.log10(self.noise_power)

    def surface(self, amplitudes: Tensor) -> Tensor:
        """diag(m) Phi, (B, N, L)."""
        return amplitudes[..., None] * self.phase

    def gram(self, amplitudes: Tensor) -> Tensor:
        """S = Phi^H diag(m)^2 Phi, whose norm is the radiated power of V, (B, L, L)."""
        surface = self.surface(amplitudes).to(torch.complex128)
        return surface.mH @ surface

    def begin(self) -> tuple[Tensor, Tensor]:
        """All elements on, (B, N), and the matched beams, (B, L, K)."""
        items, _, elements = self.channel.shape
        amplitudes = self.channel.real.new_ones(items, elements)
        return amplitudes, self.matched(amplitudes)

    def matched(self, amplitudes: Tensor) -> Tensor:
        """Beams V = G^H at power 1, (B, L, K)."""
        return self.scale(amplitudes, self._effective(amplitudes).mH)

    def wmmse(
        self, amplitudes: Tensor, digital: Tensor, sweeps: int, weights: Tensor | None = None
    ) -> Tensor:
        """V after some WMMSE sweeps, at power 1, (B, L, K)."""
        if not _differentiated(amplitudes, digital, weights):
            return self._ascent(amplitudes, digital, sweeps, weights)[0]
        effective = self._effective(amplitudes)
        gram = self.gram(amplitudes) if self.radiated else None
        for _ in range(sweeps):
            digital = ops.wmmse_sweep(effective, digital, 1.0, self.noise_power, weights, gram)
        return digital

    def rates(self, amplitudes: Tensor, digital: Tensor) -> Tensor:
        """Rate of each user, (B, K)."""
        if not _differentiated(amplitudes, digital):
            return definitions.rates(
                OPERATIONS["sinr"](self.channel, amplitudes, self.phase, digital, self.noise_power)
            )
        received = self._effective(amplitudes) @ digital
        return definitions.rates(definitions.links(received, self.noise_power)[1])

    def project(self, amplitudes: Tensor, precoder: Tensor) -> Tensor:
        """V = (diag(m) Phi)^+ W at power 1, (B, L, K) (paper A, eq. 6-7)."""
        return ops.project(amplitudes, self.phase, precoder, 1.0, _name(self.radiated))

    def scale(self, amplitudes: Tensor, digital: Tensor) -> Tensor:
        """V at power 1."""
        return ops.scale(amplitudes, self.phase, digital, 1.0, _name(self.radiated))

    def ascent(
        self, amplitudes: Tensor, digital: Tensor, sweeps: int, weights: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """V after some WMMSE sweeps, and dR/dm there (docs/mathematics.md), differentiable in m.

        The kernels give no second derivatives, but the Jacobian of a gradient is symmetric: its
        product with a vector from the left is the derivative of the gradient along that vector,
        one difference of two calls.  The beams count as constant, which is right to first order
        where the rate is stationary in them (envelope theorem).
        """
        beams, gradient = self._ascent(amplitudes, digital, sweeps, weights)
        if _differentiated(amplitudes):
            gradient = _Gradient.apply(
                amplitudes, gradient, lambda m: self._ascent(m, digital, sweeps, weights)[1]
            )
        return beams, gradient

    def _ascent(
        self, amplitudes: Tensor, digital: Tensor, sweeps: int, weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        _, beams, gradient = ops.wmmse_gradient(
            self.channel,
            amplitudes,
            self.phase,
            digital,
            1.0,
            self.noise_power,
            weights,
            _name(self.radiated),
            sweeps,
        )
        return beams, gradient

    def _effective(self, amplitudes: Tensor) -> Tensor:
        return ops.effective_channel(self.channel, amplitudes, self.phase)


class _Gradient(torch.autograd.Function):
    STEP = 1e-3

    @staticmethod
    def forward(
        ctx: Any, amplitudes: Tensor, value: Tensor, gradient: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.gradient = gradient
        ctx.save_for_backward(amplitudes)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor, None, None]:
        (amplitudes,) = ctx.saved_tensors
        size = vector.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(vector.dtype).tiny)
        offset = vector * (_Gradient.STEP / size)
        # Both points in the box, but for rounding.
        centre = amplitudes.clamp(_Gradient.STEP, 1.0 - _Gradient.STEP)
        ahead = ctx.gradient((centre + offset).clamp(0.0, 1.0))
        behind = ctx.gradient((centre - offset).clamp(0.0, 1.0))
        return (ahead - behind) * (0.5 * size / _Gradient.STEP), None, None


def _differentiated(*values: Tensor | None) -> bool:
    """Whether a gradient will be asked for in any of the values."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in values)


def _mean_power(matrix: Tensor) -> Tensor:
    """Mean power of each matrix's entries, (..., 1, 1); 1 where it is zero or not finite."""
    mean = matrix.abs().square().mean((-2, -1), keepdim=True)
    return torch.where(mean > 0.0, mean, 1.0).nan_to_num(posinf=1.0)


def _name(radiated: bool) -> str:
    return "radiated" if radiated else "digital"
