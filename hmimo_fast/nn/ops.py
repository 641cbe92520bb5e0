"""Differentiable operators in PyTorch over the kernels, for any leading dimensions.

Symbols and shapes as in `hmimo_fast.kernels`.  On the CPU `effective_channel`, `sum_rate`,
`zero_forcing`, `project`, `max_min` and `min_power` run the kernels, on as many threads as PyTorch
has, and on CUDA PyTorch's operations; their adjoints are written by hand
(`hmimo_fast.nn.definitions`).  `wmmse_sweep` and `scale` are made of PyTorch's operations on both.
All work under ``torch.func.grad``, ``vmap`` and ``torch.compile(fullgraph=True)``.  Second
derivatives are right, except those of `sum_rate`, which raise NotImplementedError.  Forward-mode
differentiation works for `wmmse_sweep` and `scale` and raises for the others.

The first complex tensor decides the precision: complex64 gives single, complex128 double.
Gradients follow PyTorch's convention, df = Re sum conj(g) dx.  Powers are numbers or real tensors.
The kernels check values (amplitudes in [0, 1], positive powers); on CUDA, where a check would
wait for the device, only shapes and numbers are checked.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..arguments import is_radiated
from ..kernels.operators import OPERATORS, Operator
from . import definitions
from .library import OPERATIONS, differentiable, shapes

__all__ = [
    "effective_channel",
    "max_min",
    "min_power",
    "project",
    "scale",
    "sum_rate",
    "sum_rate_gradient",
    "wmmse_gradient",
    "wmmse_sweep",
    "zero_forcing",
]

_SWEEP = Operator(
    "wmmse_sweep",
    {
        "effective_channel": "KL",
        "digital": "LK",
        "power": "",
        "noise_power": "",
        "weights": "K",
        "gram": "LL",
    },
    {"digital": "LK"},
)
_SCALE = Operator(
    "scale", {"amplitudes": "N", "phase": "NL", "digital": "LK", "power": ""}, {"digital": "LK"}
)
_OPTIONAL = ("weights", "gram")
_POWERS = ("power", "noise_power")


def _tensors(op: Operator, *values: Any) -> list[Any]:
    """The arguments, numbers among the powers as tensors on the device of the first argument."""
    tensors = list(values)
    for i, (argument, value) in enumerate(zip(op.inputs, values, strict=True)):
        if isinstance(value, Tensor) or (value is None and argument in _OPTIONAL):
            continue
        if not (argument in _POWERS and isinstance(value, (int, float))):
            raise TypeError(f"{argument}: expected a torch.Tensor, got {type(value).__name__}")
        if not 0.0 < value < math.inf:
            raise ValueError(f"{argument}: expected a value positive and finite, got {value}")
        tensors[i] = torch.tensor(value, dtype=torch.float64, device=values[0].device)
    return tensors


def effective_channel(channel: Tensor, amplitudes: Tensor, phase: Tensor) -> Tensor:
    """Channel from the feeds to the users, G = H diag(m) Phi (paper B, section II).

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1].
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.

    Returns
    -------
    (..., K, L) complex
        Effective channel G.

    Raises
    ------
    ValueError
        If shapes do not fit or an amplitude is outside [0, 1].
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> one = torch.ones(1, 1, dtype=torch.complex64)
    >>> ops.effective_channel(2j * one, torch.tensor([0.5]), one)
    tensor([[0.+1.j]])
    """
    inputs = _tensors(OPERATORS["effective_channel"], channel, amplitudes, phase)
    return differentiable("effective_channel", *inputs)[0]


def sum_rate(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    noise_power: Tensor | float,
    weights: Tensor | None = None,
) -> Tensor:
    """Weighted sum rate, sum over k of alpha_k log2(1 + SINR_k) (paper B, eq. 9; paper A, eq. 4).

    The gradients in the amplitudes and the digital beamformer are the kernel's, found along with
    the rate wherever one will be asked for; see `hmimo_fast.sum_rate_gradient`.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1].
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    digital : (..., L, K) complex
        Digital beamformer V; column k serves user k.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.

    Returns
    -------
    (...) real
        Sum rate in bit/s/Hz.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1], the noise power is not positive and
        finite, or a weight is negative or not finite.
    TypeError
        If an argument is no tensor.
    NotImplementedError
        If second derivatives are asked for.

    Examples
    --------
    >>> import math, torch
    >>> from hmimo_fast.nn import ops
    >>> one = torch.ones(1, 1, dtype=torch.complex128)
    >>> amplitudes = torch.ones(1, dtype=torch.float64, requires_grad=True)
    >>> rate = ops.sum_rate(one, amplitudes, one, one, noise_power=1.0)
    >>> rate.backward()
    >>> print(rate.item(), amplitudes.grad * math.log(2))
    1.0 tensor([1.], dtype=torch.float64)
    """
    inputs = _tensors(
        OPERATORS["sum_rate"], channel, amplitudes, phase, digital, noise_power, weights
    )
    differentiated = torch.is_grad_enabled() and any(
        value is not None and value.requires_grad for value in inputs
    )
    name = "sum_rate_gradient" if differentiated else "sum_rate"
    return differentiable(name, *inputs)[0]


def sum_rate_gradient(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    noise_power: Tensor | float,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted sum rate with its derivatives, for networks that take them as inputs.

    What `hmimo_fast.sum_rate_gradient` computes (paper B, eq. 15-21), detached: no gradient
    flows through any of the three.

    Parameters
    ----------
    channel, amplitudes, phase, digital, noise_power, weights
        As for `sum_rate`.

    Returns
    -------
    rate : (...) real
        Sum rate in bit/s/Hz.
    d_amplitudes : (..., N) real, or complex as the amplitudes are
        dR/dm.
    d_digital : (..., L, K) complex
        dR/dV.

    Raises
    ------
    ValueError, TypeError
        As `sum_rate`.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> one = torch.ones(1, 1, dtype=torch.complex64)
    >>> ops.sum_rate_gradient(one, torch.ones(1), one, one, noise_power=1.0)[0]
    tensor(1.)
    """
    inputs = _tensors(
        OPERATORS["sum_rate_gradient"], channel, amplitudes, phase, digital, noise_power, weights
    )
    detached = [None if value is None else value.detach() for value in inputs]
    return OPERATIONS["sum_rate_gradient"](*detached)


def wmmse_gradient(
    channel: Tensor,
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    power: Tensor | float,
    noise_power: Tensor | float,
    weights: Tensor | None = None,
    constraint: str = "radiated",
    sweeps: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Beams after some WMMSE sweeps, their rate and its gradient in the amplitudes, in one pass.

    A layer of an unrolled solver: sweeps as `wmmse_sweep` makes them, then the derivative of the
    rate in m at these beams, scaled to the power.  Where they are the best at m that is the
    derivative of the best rate (envelope theorem).  Detached: no gradient flows through any of
    the three.

    Parameters
    ----------
    channel, amplitudes, phase, digital, noise_power, weights
        As for `sum_rate`; ``digital`` of any power.
    power : (...) real
        Power P of the beams, linear, positive.
    constraint : {"radiated", "digital"}
        What has the power P: norm(diag(m) Phi V)^2, or norm(V)^2.
    sweeps : int
        Sweeps, at least 0.

    Returns
    -------
    rate : (...) real
        Sum rate in bit/s/Hz, in double precision.
    digital : (..., L, K) complex
        V after the sweeps, at the power.
    d_amplitudes : (..., N) real, or complex as the amplitudes are
        dR/dm; under ``radiated`` power including the scaling of V, which shrinks as m grows.

    Raises
    ------
    ValueError
        As `sum_rate`, or if the power is not positive and finite, or the constraint is unknown.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> one = torch.ones(1, 1, dtype=torch.complex64)
    >>> half = torch.tensor([0.5])
    >>> rate, digital, slope = ops.wmmse_gradient(one, half, one, one, 3.0, 1.0)
    >>> print(f"{rate:.3f} {digital.real.item():.3f} {abs(slope.item()):.3f}")
    2.000 3.464 0.000
    """
    inputs = _tensors(
        OPERATORS["wmmse_gradient"],
        channel,
        amplitudes,
        phase,
        digital,
        power,
        noise_power,
        weights,
    )
    detached = [None if value is None else value.detach() for value in inputs]
    return OPERATIONS["wmmse_gradient"](*detached, is_radiated(constraint), sweeps)


def zero_forcing(effective_channel: Tensor, power: Tensor | float) -> Tensor:
    """Zero-forcing precoder with equal scaling, V = G^+ times a factor, at ``digital`` power.

    As `hmimo_fast.zero_forcing`, scaled minimum-norm pseudoinverse of a rank-deficient G included;
    the gradient is that for a constant rank (Golub and Pereyra, 1973, eq. 4.12).

    Parameters
    ----------
    effective_channel : (..., K, M) complex
        Channel G that the precoder sees, K <= M.
    power : (...) real
        Power of the precoder, norm(V)^2, linear, positive.

    Returns
    -------
    (..., M, K) complex
        Precoder V.

    Raises
    ------
    ValueError
        If K > M, shapes do not fit, or the power is not positive and finite.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> channel = torch.diag(torch.tensor([1.0 + 0j, 2.0]))
    >>> ops.zero_forcing(channel, power=5.0).real
    tensor([[2., 0.],
            [0., 1.]])
    """
    inputs = _tensors(OPERATORS["zero_forcing"], effective_channel, power)
    return differentiable("zero_forcing", *inputs)[0]


def max_min(
    effective_channel: Tensor,
    power: Tensor | float,
    noise_power: Tensor | float,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Precoder whose lowest rate over its weight is the highest there is, and that rate.

    As `hmimo_fast.max_min`; minus the rate is a loss for networks that treat all users alike.  The
    gradients of both are exact: they come from the conditions of the optimum and cost two
    systems of K equations, however many steps led there.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel G that the precoder sees; K > L is allowed.
    power : (...) real
        Power of the precoder, norm(V)^2, linear, positive.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        What each user's rate is divided by, 1 by default.  A user of weight 0 is left out, with
        no beam, and gets no gradient.

    Returns
    -------
    precoder : (..., L, K) complex
        V, with g_k v_k > 0.
    common_rate : (...) float64
        The lowest rate over its weight in bit/s/Hz.  Where a user who has a weight hears nothing
        it is 0, with gradient 0; where nobody has a weight it is infinite, with gradient 0.

    Raises
    ------
    ValueError
        If shapes do not fit, a power is not positive and finite, or a weight is negative or not
        finite.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> channel = torch.diag(torch.tensor([1.0 + 0j, 2.0])).requires_grad_()
    >>> precoder, rate = ops.max_min(channel, power=5.0, noise_power=1.0)
    >>> rate.backward()
    >>> print(f"{rate:.4f}", channel.grad.real)
    2.3219 tensor([[1.8466, 0.0000],
            [0.0000, 0.2308]])
    """
    inputs = _tensors(OPERATORS["max_min"], effective_channel, power, noise_power, weights)
    return _in_double("max_min", inputs)


def min_power(
    effective_channel: Tensor, noise_power: Tensor | float, min_rate: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Precoder of the least power that meets minimum rates, that power, and whether there is one.

    As `hmimo_fast.min_power`, with exact gradients of precoder and power, as for `max_min`.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel G that the precoder sees; K > L is allowed.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    min_rate : (..., K) real
        Lowest rate of each user in bit/s/Hz.  A user who asks for 0 gets no beam and no gradient.

    Returns
    -------
    precoder : (..., L, K) complex
        V, with g_k v_k > 0; NaN where there is none.
    power : (...) float64
        norm(V)^2, linear; infinite where no power meets the minimum rates.
    feasible : (...) bool
        Whether one does.  No gradient flows through an item in which none does.

    Raises
    ------
    ValueError
        If shapes do not fit, the noise power is not positive and finite, or a minimum rate is
        negative or not finite.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> channel = torch.diag(torch.tensor([1.0 + 0j, 2.0])).requires_grad_()
    >>> _, power, feasible = ops.min_power(channel, 1.0, min_rate=torch.tensor([1.0, 2.0]))
    >>> power.backward()
    >>> print(f"{power:.4f}", feasible.item(), channel.grad.real)
    1.7500 True tensor([[-2.0000,  0.0000],
            [ 0.0000, -0.7500]])
    """
    inputs = _tensors(OPERATORS["min_power"], effective_channel, noise_power, min_rate)
    return _in_double("min_power", inputs)


def _in_double(name: str, inputs: list[Any]) -> Any:
    """The operator on the channel in double precision, its precoder in the channel's.

    Backward needs what users hear of each other's beams, which rounded beams do not tell.
    """
    channel, *others = inputs
    precoder, *results = differentiable(name, definitions.double(channel), *others)
    return precoder.to(channel.dtype), *results


def project(
    amplitudes: Tensor,
    phase: Tensor,
    precoder: Tensor,
    power: Tensor | float,
    constraint: str = "radiated",
) -> Tensor:
    """Digital beamformer whose field is nearest to a precoder over the elements (paper A, eq. 6-7).

    V = (diag(m) Phi)^+ W minimises norm(diag(m) Phi V - W) and is then scaled to the power.  The
    gradient is that for a constant rank, L; with fewer elements on than feeds it is meaningless.

    Parameters
    ----------
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1].
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    precoder : (..., N, K) complex
        Precoder W that is wanted on the elements.
    power : (...) real
        Power P, linear, positive.
    constraint : {"radiated", "digital"}
        What has the power P: norm(diag(m) Phi V)^2, or norm(V)^2.

    Returns
    -------
    (..., L, K) complex
        V, in the precision of the phase.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1], the power is not positive and finite,
        or the constraint is unknown.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> phase, precoder = torch.eye(2, dtype=torch.complex64), torch.tensor([[3.0 + 0j], [4.0]])
    >>> ops.project(torch.tensor([1.0, 0.5]), phase, precoder, power=25.0).real
    tensor([[3.],
            [8.]])
    """
    inputs = _tensors(OPERATORS["project"], amplitudes, phase, precoder, power)
    return differentiable("project", *inputs, is_radiated(constraint))[0]


def wmmse_sweep(
    effective_channel: Tensor,
    digital: Tensor,
    power: Tensor | float,
    noise_power: Tensor | float,
    weights: Tensor | None = None,
    gram: Tensor | None = None,
) -> Tensor:
    """One sweep of the weighted minimum mean square error algorithm on the beams.

    The best receivers and error weights for V, then the best precoder for those, with the
    noise written as (sigma^2 / P) norm(V)_B^2, so that V may have any power (paper A's baseline;
    `hmimo_fast.wmmse` makes such sweeps from matched beams).  The weighted sum rate never falls.
    Beams that reach no user come back as they are, scaled.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel G that the precoder sees; K > L is allowed.
    digital : (..., L, K) complex
        Beams V to start from.
    power : (...) real
        Power P of the result, linear, positive.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.
    gram : (..., L, L) complex, optional
        Hermitian B of the norm, norm(V)_B^2 = tr(V^H B V): S = Phi^H diag(m)^2 Phi for
        ``radiated`` power, the identity (``digital`` power) by default.

    Returns
    -------
    (..., L, K) complex
        V after the sweep, norm(V)_B^2 = P.

    Raises
    ------
    ValueError
        If shapes do not fit, or a number among the powers is not positive and finite.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> channel = torch.diag(torch.tensor([1.0 + 0j, 2.0]))
    >>> beams = ops.wmmse_sweep(channel, channel.mH, power=4.0, noise_power=0.01)
    >>> print(f"{torch.linalg.norm(beams) ** 2:.4f}")
    4.0000
    """
    inputs = _tensors(_SWEEP, effective_channel, digital, power, noise_power, weights, gram)
    shapes(_SWEEP, inputs)
    return definitions.wmmse_sweep(*inputs)


def scale(
    amplitudes: Tensor,
    phase: Tensor,
    digital: Tensor,
    power: Tensor | float,
    constraint: str = "radiated",
) -> Tensor:
    """Digital beamformer scaled to the power (paper A, eq. 4d; paper B, eq. 10).

    Parameters
    ----------
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    digital : (..., L, K) complex
        Digital beamformer V.
    power : (...) real
        Power P, linear, positive.
    constraint : {"radiated", "digital"}
        What has the power P: norm(diag(m) Phi V)^2, or norm(V)^2.

    Returns
    -------
    (..., L, K) complex
        V times a positive number; zero stays zero.

    Raises
    ------
    ValueError
        If shapes do not fit, a power given as a number is not positive and finite, or the
        constraint is unknown.
    TypeError
        If an argument is no tensor.

    Examples
    --------
    >>> import torch
    >>> from hmimo_fast.nn import ops
    >>> one = torch.ones(1, 1, dtype=torch.complex64)
    >>> ops.scale(torch.tensor([0.5]), one, one, power=4.0)
    tensor([[4.+0.j]])
    """
    inputs = _tensors(_SCALE, amplitudes, phase, digital, power)
    shapes(_SCALE, inputs)
    return definitions.scale(amplitudes, phase, digital, inputs[-1], is_radiated(constraint))
