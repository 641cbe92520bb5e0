"""The arithmetic of holographic MIMO: one signature an operation, three backends.

Symbols: channel H (K, N), amplitudes m (N,), phase Phi (N, L), digital V (L, K); users receive
y = H diag(m) Phi V s + n.  Every function broadcasts over leading dimensions, accepts arrays of
any layout, byte order or library that converts on the CPU, and returns new C-contiguous arrays.
The first complex argument decides the precision: complex64 gives single, all else double.
A NaN or an infinity in an item gives NaN in that item only.

All functions take ``out`` (an array, or a tuple of arrays or None where there are several results,
C-contiguous and of the exact shape and dtype) and ``threads`` (the most threads to use, by default
``HMIMO_NUM_THREADS`` or the CPUs of the process; no bit of a result depends on it).  They raise
ValueError for a wrong shape or value and TypeError for a wrong type, naming the argument.

Formulas: paper A is arXiv 2504.19522, paper B arXiv 2502.17408.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arguments import is_radiated
from .backends import backend, get_backend, link_item, set_backend
from .edge import call

__all__ = [
    "backend",
    "effective_channel",
    "get_backend",
    "max_min",
    "min_power",
    "project",
    "set_backend",
    "sinr",
    "sum_rate",
    "sum_rate_gradient",
    "water_filling",
    "wmmse",
    "zero_forcing",
]


def effective_channel(
    channel: ArrayLike,
    amplitudes: ArrayLike,
    phase: ArrayLike,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Channel from the feeds to the users, G = H diag(m) Phi (paper B, section II).

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1], or complex weight q in the unit disc.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    (..., K, L) complex
        Effective channel G, in the precision of the channel.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1] or the unit disc, or ``out`` is of
        another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> hf.effective_channel(np.array([[1, 2j]]), [1.0, 0.5], np.array([[1.0], [1.0]]))
    array([[1.+1.j]])
    """
    return call("effective_channel", (channel, amplitudes, phase), out=out, threads=threads)


def sinr(
    channel: ArrayLike,
    amplitudes: ArrayLike,
    phase: ArrayLike,
    digital: ArrayLike,
    noise_power: ArrayLike,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Signal to interference and noise of each user (paper B, section II; paper A, eq. 3).

    With A = H diag(m) Phi V, SINR_k = abs(A_kk)^2 / (sigma^2 + sum over j != k of abs(A_kj)^2).

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1], or complex weight q in the unit disc.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    digital : (..., L, K) complex
        Digital beamformer V; column k serves user k.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    (..., K) real
        SINR, linear, in the precision of the channel.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1] or the unit disc, the noise power is
        not positive and finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> one = np.ones((1, 1), dtype=complex)
    >>> hf.sinr(one, [0.5], one, 2.0 * one, 0.25)
    array([4.])
    """
    return call(
        "sinr", (channel, amplitudes, phase, digital, noise_power), out=out, threads=threads
    )


def sum_rate(
    channel: ArrayLike,
    amplitudes: ArrayLike,
    phase: ArrayLike,
    digital: ArrayLike,
    noise_power: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> Any:
    """Weighted sum rate, sum over k of alpha_k log2(1 + SINR_k) (paper B, eq. 9; paper A, eq. 4).

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1], or complex weight q in the unit disc.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    digital : (..., L, K) complex
        Digital beamformer V; column k serves user k.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    (...) real
        Sum rate in bit/s/Hz, in the precision of the channel.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1] or the unit disc, the noise power is
        not positive and finite, a weight is negative or not finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> one = np.ones((1, 1), dtype=complex)
    >>> print(hf.sum_rate(one, [1.0], one, one, noise_power=1 / 3))
    2.0
    """
    if out is None:
        item = link_item(False, channel, amplitudes, phase, digital, noise_power, weights)
        if item is not None:
            return item
    return call(
        "sum_rate",
        (channel, amplitudes, phase, digital, noise_power, weights),
        out=out,
        threads=threads,
    )


def sum_rate_gradient(
    channel: ArrayLike,
    amplitudes: ArrayLike,
    phase: ArrayLike,
    digital: ArrayLike,
    noise_power: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
    threads: int | None = None,
) -> tuple[Any, np.ndarray, np.ndarray]:
    """Weighted sum rate with its derivatives in the amplitudes and the digital beamformer.

    A gradient g in x means dR = Re sum conj(g) dx.  With A = H diag(m) Phi V, G = H diag(m) Phi,
    T_k the whole received power of user k, C_kj = -alpha_k A_kj SINR_k / T_k for j != k and
    C_kk = alpha_k A_kk / T_k: dR/dV = (2 / ln 2) G^H C and
    dR/dm_n = (2 / ln 2) Re sum over k of conj(H_kn) (C V^H Phi^H)_kn.  The derivative of paper B,
    eq. 15-21, with its inner products shared (derived here): O(N K L) for all of it.

    Parameters
    ----------
    channel : (..., K, N) complex
        Channel H as it acts, one row per user.
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1], or complex weight q in the unit disc.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    digital : (..., L, K) complex
        Digital beamformer V; column k serves user k.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    rate : (...) real
        Sum rate in bit/s/Hz.
    d_amplitudes : (..., N) real, or complex as the amplitudes are
        dR/dm, or the gradient in q, with dR = Re sum of conj(dR/dq) dq.
    d_digital : (..., L, K) complex
        dR/dV.  All three in the precision of the channel.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1] or the unit disc, the noise power is
        not positive and finite, a weight is negative or not finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> one = np.ones((1, 1), dtype=complex)
    >>> rate, d_amplitudes, d_digital = hf.sum_rate_gradient(one, [1.0], one, one, 1.0)
    >>> print(rate, d_amplitudes * np.log(2), d_digital * np.log(2))
    1.0 [1.] [[1.+0.j]]
    """
    if out is None:
        item = link_item(True, channel, amplitudes, phase, digital, noise_power, weights)
        if item is not None:
            return item
    return call(
        "sum_rate_gradient",
        (channel, amplitudes, phase, digital, noise_power, weights),
        out=out,
        threads=threads,
    )


def zero_forcing(
    effective_channel: ArrayLike,
    power: ArrayLike,
    return_rank: bool = False,
    *,
    out: Any = None,
    threads: int | None = None,
) -> Any:
    """Zero-forcing precoder with equal scaling, V = G^+ times a factor, at ``digital`` power.

    Every user gets the same SINR and no interference (paper B, section III-A).  Where G is
    rank-deficient, V is the scaled minimum-norm pseudoinverse.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel G that the precoder sees, K <= L.
    power : (...) real
        Power of the precoder, norm(V)^2, linear, positive.
    return_rank : bool
        Return the rank of G as well.
    out, threads
        See `hmimo_fast.kernels`; ``out`` is a tuple of two with ``return_rank``.

    Returns
    -------
    precoder : (..., L, K) complex
        V, in the precision of G.
    rank : (...) int64
        Number of singular values of G above max(K, L) eps times the largest; only with
        ``return_rank``.

    Raises
    ------
    ValueError
        If K > L, shapes do not fit, the power is not positive and finite, or ``out`` is of
        another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> np.round(hf.zero_forcing(np.diag([1.0, 2.0]), power=5.0), 6)
    array([[2.+0.j, 0.+0.j],
           [0.+0.j, 1.+0.j]])
    """
    precoder, rank = call(
        "zero_forcing",
        (effective_channel, power),
        out=out if return_rank or out is None else (out, None),
        threads=threads,
    )
    return (precoder, rank) if return_rank else precoder


def wmmse(
    effective_channel: ArrayLike,
    power: ArrayLike,
    noise_power: ArrayLike,
    weights: ArrayLike | None = None,
    iterations: int = 100,
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Precoder of the weighted minimum mean square error algorithm, at ``digital`` power.

    Block-coordinate descent from matched beams (paper A's baseline, there over hybrid beamformers):
    receivers, error weights and precoder in turn; the weighted sum rate rises in each iteration.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel that the precoder sees, of any multi-user MISO downlink; K > L is allowed.
    power : (...) real
        Power of the precoder, norm(V)^2, linear, positive.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.
    iterations : int
        Number of iterations; 0 gives scaled matched beams.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    (..., L, K) complex
        Precoder V, in the precision of the channel.

    Raises
    ------
    ValueError
        If shapes do not fit, a power is not positive and finite, a weight is negative or not
        finite, the number of iterations is negative, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers, or ``iterations`` is no integer.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> precoder = hf.wmmse(np.diag([1.0, 2.0]), power=4.0, noise_power=0.01)
    >>> print(round(np.linalg.norm(precoder) ** 2, 6))
    4.0
    """
    return call(
        "wmmse",
        (effective_channel, power, noise_power, weights),
        {"iterations": iterations},
        out=out,
        threads=threads,
    )


def max_min(
    effective_channel: ArrayLike,
    power: ArrayLike,
    noise_power: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, Any]:
    """Precoder whose lowest rate over its weight is the highest there is, at ``digital`` power.

    All users with a weight then have rates in the ratio of the weights.  The powers of the dual
    uplink, in which MMSE receivers are the beams' directions, come from Newton's method (uplink
    and downlink: Schubert and Boche, IEEE Trans. Veh. Technol. 53, 2004; the steps derived here).

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel that the precoder sees, of any multi-user MISO downlink; K > L is allowed.
    power : (...) real
        Power of the precoder, norm(V)^2, linear, positive.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        What each user's rate is divided by, 1 by default.  A user of weight 0 is left out, with no
        beam.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    precoder : (..., L, K) complex
        V, in the precision of the channel.
    common_rate : (...) float64
        The lowest rate over its weight in bit/s/Hz: 0 if a user who has a weight hears nothing,
        infinite if nobody has one.

    Raises
    ------
    ValueError
        If shapes do not fit, a power is not positive and finite, a weight is negative or not
        finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> precoder, rate = hf.max_min(np.diag([1.0, 2.0]), power=5.0, noise_power=1.0)
    >>> print(np.round(np.abs(np.diag(precoder)) ** 2, 6), round(rate, 6))
    [4. 1.] 2.321928
    """
    return call(
        "max_min", (effective_channel, power, noise_power, weights), out=out, threads=threads
    )


def min_power(
    effective_channel: ArrayLike,
    noise_power: ArrayLike,
    min_rate: ArrayLike,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, Any, Any]:
    """Precoder of the least power that meets minimum rates.

    By the dual uplink, as `max_min`.

    Parameters
    ----------
    effective_channel : (..., K, L) complex
        Channel that the precoder sees, of any multi-user MISO downlink; K > L is allowed.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    min_rate : (..., K) real
        Lowest rate of each user in bit/s/Hz.  A user who asks for 0 gets no beam.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    precoder : (..., L, K) complex
        V, in the precision of the channel; NaN where there is none.
    power : (...) float64
        norm(V)^2, linear; infinite where no power meets the minimum rates.
    feasible : (...) bool
        Whether one does, up to 10^12 times what the users would need one by one.

    Raises
    ------
    ValueError
        If shapes do not fit, the noise power is not positive and finite, a minimum rate is
        negative or not finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> precoder, power, feasible = hf.min_power(np.diag([1.0, 2.0]), 1.0, min_rate=[1.0, 2.0])
    >>> print(np.round(np.abs(np.diag(precoder)) ** 2, 6), round(power, 6), feasible)
    [1.   0.75] 1.75 True
    """
    return call("min_power", (effective_channel, noise_power, min_rate), out=out, threads=threads)


def water_filling(
    cost: ArrayLike,
    power: ArrayLike,
    noise_power: ArrayLike,
    weights: ArrayLike | None = None,
    min_rate: ArrayLike | None = None,
    *,
    out: tuple[np.ndarray | None, ...] | None = None,
    threads: int | None = None,
) -> tuple[np.ndarray, Any]:
    """Received powers of zero-forced users that maximise the weighted sum rate over floors.

    Maximises sum over k of alpha_k log2(1 + q_k / sigma^2) under sum q_k cost_k <= P and
    q_k >= f_k = (2^min_rate_k - 1) sigma^2: q_k = max(f_k, alpha_k mu / cost_k - sigma^2, 0)
    (derived here).  The precoder is then G^+ diag(sqrt(q)).

    Parameters
    ----------
    cost : (..., K) real
        Transmit power for unit received power, the diagonal of (G G^H)^-1; at least 0.
    power : (...) real
        Transmit power P, linear, positive.
    noise_power : (...) real
        Noise power sigma^2, linear, positive.
    weights : (..., K) real, optional
        Weights alpha of the users' rates, 1 by default.
    min_rate : (..., K) real, optional
        Lowest (unweighted) rate of each user in bit/s/Hz, 0 by default.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    received : (..., K) float64
        Received power q of each user.  Floors beyond the power are scaled down to fit it.
    feasible : (...) bool
        Whether the power reaches the floors.

    Raises
    ------
    ValueError
        If shapes do not fit, a power is not positive and finite, a cost is negative, a weight or
        minimum rate is negative or not finite, or ``out`` is of another shape.
    TypeError
        If an argument does not hold real numbers.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> received, feasible = hf.water_filling([1.0, 4.0], power=7.0, noise_power=1.0)
    >>> print(received, feasible)
    [5.  0.5] True
    """
    return call(
        "water_filling",
        (cost, power, noise_power, weights, min_rate),
        out=out,
        threads=threads,
    )


def project(
    amplitudes: ArrayLike,
    phase: ArrayLike,
    precoder: ArrayLike,
    power: ArrayLike,
    constraint: str = "radiated",
    *,
    out: np.ndarray | None = None,
    threads: int | None = None,
) -> np.ndarray:
    """Digital beamformer that comes nearest to a precoder over the elements (paper A, eq. 6-7).

    V = (diag(m) Phi)^+ W minimises norm(diag(m) Phi V - W) and is then scaled to the power.

    Parameters
    ----------
    amplitudes : (..., N) real or complex
        Radiation amplitude m of each element, in [0, 1], or complex weight q in the unit disc.
    phase : (..., N, L) complex
        Reference wave Phi of each feed at each element.
    precoder : (..., N, K) complex
        Precoder W that is wanted on the elements.
    power : (...) real
        Power P, linear, positive.
    constraint : {"radiated", "digital"}
        What has the power P: norm(diag(m) Phi V)^2, or norm(V)^2.
    out, threads
        See `hmimo_fast.kernels`.

    Returns
    -------
    (..., L, K) complex
        V, in the precision of the phase.

    Raises
    ------
    ValueError
        If shapes do not fit, an amplitude is outside [0, 1] or the unit disc, the power is not
        positive and finite, the constraint is unknown, or ``out`` is of another shape.
    TypeError
        If an argument does not hold numbers.

    Notes
    -----
    In single precision the power is within 1e-6, relatively, except where diag(m) Phi is nearly
    singular: parts of V that cancel are then far larger than what they radiate, and rounding them
    to eps = 1.2e-7 changes the radiated power by up to eps norm(diag(m) Phi) norm(V) / sqrt(P) of
    itself, to first order (1e-4 in the worst of 4000 draws with N = L = 6; less than 6e-7 in those
    with N = 8 to 64). Where that matters, pass the phase in complex128.

    Examples
    --------
    >>> import numpy as np, hmimo_fast as hf
    >>> np.round(hf.project([1.0, 0.5], np.eye(2), np.array([[3.0], [4.0]]), power=25.0), 6)
    array([[3.+0.j],
           [8.+0.j]])
    """
    return call(
        "project",
        (amplitudes, phase, precoder, power),
        {"radiated": is_radiated(constraint)},
        out=out,
        threads=threads,
    )
