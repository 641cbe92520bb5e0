"""The adjoint of every operator, written by hand, over any leading dimensions and on any device.

Each takes which inputs need a gradient, the inputs, the outputs and the gradients of the outputs
(None where nothing depends on them), and returns the gradients of the inputs before what was
broadcast is summed.  A gradient g in x means df = Re sum conj(g) dx, here as in PyTorch.  All is
made of PyTorch's operations on what was saved, so that second derivatives are right, save those
of `sum_rate`, whose gradient comes out of the kernel and which refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from . import definitions
from .definitions import double, identity, inner, over_matrices, radiating

Gradients = tuple[Tensor | None, ...]
Adjoint = Callable[[Sequence[bool], Sequence[Any], Sequence[Tensor], Sequence[Any]], Gradients]


def effective_channel(
    needs: Sequence[bool],
    inputs: Sequence[Any],
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
) -> Gradients:
    """G = H diag(m) Phi."""
    channel, amplitudes, phase = inputs
    return _surface(needs, channel, amplitudes, phase, gradients[0])


def _surface(
    needs: Sequence[bool],
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    d_effective: Tensor,
) -> Gradients:
    """dH = dG Phi^H diag(m), dm = Re sum over k of conj(H) (dG Phi^H), dPhi = diag(m) H^H dG."""
    d_channel = d_amplitudes = d_phase = None
    if needs[0] or needs[1]:
        waves = d_effective @ phase.to(d_effective.dtype).mH
        d_channel = waves * amplitudes[..., None, :] if needs[0] else None
        d_amplitudes = (channel.conj() * waves).real.sum(-2) if needs[1] else None
    if needs[2]:
        d_phase = amplitudes[..., :, None] * (channel.to(d_effective.dtype).mH @ d_effective)
    return d_channel, d_amplitudes, d_phase


def sum_rate_gradient(
    needs: Sequence[bool],
    inputs: Sequence[Any],
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
) -> Gradients:
    """R alone: the kernel has dR/dm and dR/dV, the others follow from dR/dA."""
    d_rate, *second = gradients
    if not torch.compiler.is_compiling() and any(gradient is not None for gradient in second):
        raise NotImplementedError("sum_rate: second derivatives are not implemented")
    d_users, d_matrix = d_rate[..., None], over_matrices(d_rate)
    _, d_amplitudes, d_digital = outputs
    d_channel = d_phase = d_noise = d_weights = None
    if needs[0] or needs[2] or needs[4] or needs[5]:
        channel, amplitudes, phase, digital, noise_power, weights = inputs
        beams = double(digital)
        received = double(definitions.effective_channel(channel, amplitudes, phase)) @ beams
        d_received, d_noise = definitions.rate_adjoint(received, noise_power, weights)
        d_effective = d_matrix * (d_received @ beams.mH)
        only = (needs[0], False, needs[2])
        d_channel, _, d_phase = _surface(only, channel, amplitudes, phase, d_effective)
        d_noise = d_rate * d_noise
        if needs[5]:
            d_weights = d_users * definitions.rates(definitions.links(received, noise_power)[1])
    return d_channel, d_users * d_amplitudes, d_phase, d_matrix * d_digital, d_noise, d_weights


def zero_forcing(
    needs: Sequence[bool],
    inputs: Sequence[Any],
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
) -> Gradients:
    """V = s Y, Y = G^+ of constant rank (Golub and Pereyra, 1973, eq. 4.12): tr(G V) = s rank."""
    g, power = double(inputs[0]), inputs[1]
    v, rank = double(outputs[0]), outputs[1]
    d_v = double(gradients[0])
    trace = definitions.diagonal(g @ v).real.sum(-1)
    size = over_matrices(torch.where(rank == 0, 1.0, trace / rank.clamp_min(1)))
    along = inner(v, d_v) / power
    y, d_y = v / size, size * (d_v - over_matrices(along) * v)
    reached, kept = g @ y, y @ g
    d_g = (
        (identity(reached) - reached) @ d_y.mH @ y @ y.mH
        + y.mH @ y @ d_y.mH @ (identity(kept) - kept)
        - y.mH @ d_y @ y.mH
    )
    return d_g, 0.5 * along


def project(
    needs: Sequence[bool],
    inputs: Sequence[Any],
    outputs: Sequence[Tensor],
    gradients: Sequence[Any],
) -> Gradients:
    """V = s D, D = B^+ W, B = diag(m) Phi of full column rank: B^H (W - B D) = 0 gives D and s."""
    amplitudes, phase, precoder, power, radiated = inputs
    surface, w = double(radiating(amplitudes, phase)), double(precoder)
    v, d_v = double(outputs[0]), double(gradients[0])
    gram = surface.mH @ surface
    sent = surface @ v
    overlap = inner(w, sent)
    size = over_matrices(torch.where(overlap == 0.0, 1.0, inner(sent, sent) / overlap))
    along = inner(v, d_v) / power
    d_d = size * (d_v - over_matrices(along) * (gram @ v if radiated else v))
    z = torch.cholesky_solve(d_d, definitions.cholesky(gram))
    d_w = surface @ z
    d = v / size
    d_surface = (w - surface @ d) @ z.mH - d_w @ d.mH
    if radiated:
        d_surface = d_surface - over_matrices(along) * sent @ v.mH
    d_amplitudes = (phase.conj() * d_surface).real.sum(-1)
    return d_amplitudes, amplitudes[..., :, None] * d_surface, d_w, 0.5 * along, None


ADJOINTS: dict[str, Adjoint] = {
    adjoint.__name__: adjoint
    for adjoint in (effective_channel, sum_rate_gradient, zero_forcing, project)
}
