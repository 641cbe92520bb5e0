"""A batch of channels in natural units, and what the networks ask of it in each layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...kernels.backends import BatchFunction, batch_function, get_backend
from .. import definitions, ops
from ..library import OPERATIONS
from .values import Values, array, cast, library, like

_ONE = np.ones(1)


@dataclass(frozen=True)
class Link:
    """Channels over one surface, scaled to unit mean power, to be served at power 1.

    Rates are those of the original: what the scaling takes from the channel it takes from the
    noise, so that path gains of -170 dB are numbers near 1 in single precision.  All are tensors,
    or all arrays, contiguous and in range, for which the kernels are called without the checks of
    the edge, which take longer than a layer's kernels.
    """

    channel: Any  # (B, K, N) complex
    phase: Any  # (N, L) complex
    noise_power: Any  # (B,) real
    constraint: str  # "radiated" or "digital"

    @property
    def radiated(self) -> bool:
        """Whether the power is that of diag(m) Phi V, or of V."""
        return self.constraint == "radiated"

    @classmethod
    def scaled(
        cls, channel: Values, phase: Values, power: Values, noise_power: Values, constraint: str
    ) -> Link:
        """The link of channels, phase and (B,) powers in any unit."""
        gain = _mean_power(channel)
        spread = _mean_power(phase)
        noise = noise_power / power / gain[:, 0, 0]
        # Radiated power fixes W = diag(m) Phi V, whatever the scale of Phi.
        return cls(
            channel / gain**0.5,
            phase / spread**0.5,
            noise if constraint == "radiated" else noise / spread[0, 0],
            constraint,
        )

    def to(self, name: str) -> Link:
        """The link in another complex dtype."""
        dtype = getattr(library(self.channel), name)
        channel, phase = cast(self.channel, dtype), cast(self.phase, dtype)
        return Link(channel, phase, like(self.noise_power, channel.real), self.constraint)

    def arrays(self, items: slice = slice(None)) -> Link:
        """Some items as arrays."""
        channel, phase, noise_power = (
            np.ascontiguousarray(array(x))
            for x in (self.channel[items], self.phase, self.noise_power[items])
        )
        return Link(channel, phase, noise_power, self.constraint)

    def repeated(self, count: int) -> Link:
        """Every item some times in a row."""
        items = library(self.channel).arange(len(self.channel) * count) // count
        return Link(self.channel[items], self.phase, self.noise_power[items], self.constraint)

    @property  # the lock of a cached one, before Python 3.12, breaks graphs of torch.compile
    def snr(self) -> Any:
        """Decimal logarithm of the power over the noise's, (B,)."""
        return -library(self.noise_power).log10(self.noise_power)

    def ascent(
        self, amplitudes: Any, digital: Any, sweeps: int, weights: Any = None
    ) -> tuple[Any, Any, Any]:
        """Weighted rate, V after some WMMSE sweeps at power 1, and dR/dm there.

        The derivative (docs/mathematics.md) is differentiable in m and in the weights.  The
        kernels give no second derivatives, but the Jacobian of a gradient is symmetric: its
        product with a vector from the left is the derivative of the gradient along that vector,
        one difference of two calls; and since dR/dweight is a user's rate, the product with the
        derivative in the weights is the difference of the users' rates.  The beams count as
        constant, which is right to first order where the rate is stationary in them (envelope
        theorem).
        """
        if isinstance(amplitudes, np.ndarray):
            return self._kernel_ascent(amplitudes, digital, sweeps, weights)

        def ascent(m: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return ops.wmmse_gradient(
                self.channel, m, self.phase, digital, 1.0, self.noise_power, weights,
                self.constraint, sweeps,
            )  # fmt: skip

        def nearby(m: Tensor) -> tuple[Tensor, Tensor]:
            _, beams, gradient = ascent(m)
            return gradient, self.rates(m, beams)

        rate, beams, gradient = ascent(amplitudes)
        if differentiated(amplitudes, weights):
            gradient = _Gradient.apply(amplitudes, weights, gradient, nearby)
        return rate, beams, gradient

    def rates(self, amplitudes: Any, digital: Any) -> Any:
        """Rate of each user, (B, K); no gradient flows through it."""
        if isinstance(amplitudes, np.ndarray):
            sinr = np.empty(self.channel.shape[:2], amplitudes.dtype)
            inputs = [self.channel, amplitudes, self.phase[None], digital, self._noise]
            self._kernels["sinr"](inputs, (), [sinr], len(sinr))
            return np.log1p(sinr) / definitions.LN2
        with torch.no_grad():
            sinr = OPERATIONS["sinr"](
                self.channel, amplitudes, self.phase, digital, self.noise_power
            )
            return definitions.rates(sinr)

    def project(self, amplitudes: Tensor, precoder: Tensor) -> Tensor:
        """V = (diag(m) Phi)^+ W at power 1, (B, L, K) (paper A, eq. 6-7)."""
        return ops.project(amplitudes, self.phase, precoder, 1.0, self.constraint)

    def sweep(self, amplitudes: Tensor, digital: Tensor) -> Tensor:
        """V after a WMMSE sweep at power 1."""
        surface = amplitudes[..., None] * self.phase
        gram = surface.mH @ surface if self.radiated else None
        return ops.wmmse_sweep(self.channel @ surface, digital, 1.0, self.noise_power, gram=gram)

    def _kernel_ascent(
        self,
        amplitudes: np.ndarray,
        digital: np.ndarray,
        sweeps: int,
        weights: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        shares = self._equal if weights is None else weights.astype(np.float64)
        inputs = [self.channel, amplitudes, self.phase[None], digital, _ONE, self._noise, shares]
        results = np.empty(len(digital)), np.empty_like(digital), np.empty_like(amplitudes)
        self._kernels["wmmse_gradient"](inputs, (self.radiated, sweeps), [*results], len(digital))
        return results

    def spectral_ascent(
        self,
        point: tuple[np.ndarray, ...],
        sweeps: int,
        steps: int,
        weights: np.ndarray | None = None,
    ) -> list[np.ndarray]:
        """The results of the kernel from amplitudes, beams, change and slope."""
        amplitudes, digital, change, slope = point
        shares = self._equal if weights is None else weights.astype(np.float64)
        inputs = [self.channel, amplitudes, self.phase[None], digital, _ONE, self._noise, shares,
                  change, slope]  # fmt: skip
        items = len(digital)
        results = [np.empty(items), np.empty_like(digital)]
        results += [*np.empty((6, *amplitudes.shape), amplitudes.dtype), np.empty(items)]
        self._kernels["spectral_ascent"](inputs, (self.radiated, sweeps, steps), results, items)
        return results

    @cached_property
    def _noise(self) -> np.ndarray:
        return self.noise_power.astype(np.float64)

    @cached_property
    def _equal(self) -> np.ndarray:
        return np.ones((1, self.channel.shape[1]))

    @cached_property
    def _kernels(self) -> dict[str, BatchFunction]:
        single = self.channel.dtype == np.complex64
        return _kernels(get_backend(), single, *self.channel.shape[1:], self.phase.shape[1])


@lru_cache(maxsize=256)
def _kernels(
    backend: str, single: bool, users: int, elements: int, feeds: int
) -> dict[str, BatchFunction]:
    sizes = {"K": users, "N": elements, "L": feeds, "I": 0}
    names = ("sinr", "spectral_ascent", "wmmse_gradient")
    return {name: batch_function(backend, name, single, sizes) for name in names}


#: Of the differences that stand for the second derivatives.
_STEP = 1e-3


class _Gradient(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        amplitudes: Tensor,
        weights: Tensor | None,
        value: Tensor,
        nearby: Callable[[Tensor], tuple[Tensor, Tensor]],
    ) -> Tensor:
        ctx.nearby = nearby
        ctx.save_for_backward(amplitudes)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, vector: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (amplitudes,) = ctx.saved_tensors
        size = vector.abs().amax(-1, keepdim=True).clamp_min(torch.finfo(vector.dtype).tiny)
        offset = vector * (_STEP / size)
        # Both points in the box, but for rounding.
        centre = amplitudes.clamp(_STEP, 1.0 - _STEP)
        ahead, behind = (
            ctx.nearby((centre + sign * offset).clamp(0.0, 1.0)) for sign in (1.0, -1.0)
        )
        scale = 0.5 * size / _STEP
        along = [(a - b) * scale for a, b in zip(ahead, behind, strict=True)]
        return along[0], along[1] if ctx.needs_input_grad[1] else None, None, None


def differentiated(*values: Tensor | None) -> bool:
    """Whether a gradient will be asked for in any of the values."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in values)


def _mean_power(matrix: Any) -> Any:
    """Mean power of each matrix's entries, (..., 1, 1); 1 where it is zero or not finite."""
    power = (matrix.real**2 + matrix.imag**2).sum((-2, -1), keepdims=True)
    mean = power / math.prod(matrix.shape[-2:])
    return library(mean).where((mean > 0.0) & (mean < math.inf), mean, 1.0)
