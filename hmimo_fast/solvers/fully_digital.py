"""The yardstick: an RF chain behind every element, no amplitudes."""

from __future__ import annotations

import numpy as np

from ..kernels import edge
from ..problem import Problem
from .found import Run

#: Share of the sweeps that every candidate makes, inverse; candidates that make the rest; and
#: sweeps between two looks at the rate.
_PRELUDE, _FINALISTS, _BLOCK = 10, 2, 10
#: Loading of regularised zero forcing, at least and at most, where the largest entry of H is 1.
_LOADING = 1e-12, 1e200


def fully_digital(
    problem: Problem, start: np.ndarray, *, iterations: int = 300, tolerance: float = 1e-4
) -> Run:
    """WMMSE on the channel itself, N RF chains; both power conventions are then one.

    From regularised zero forcing with equal powers for the first 1, 2, ... users in
    semi-orthogonal order.  Each of these candidates makes a tenth of the ``iterations``, which are
    sweeps, and the best two the rest.  Converged means that the last ten sweeps raised the rate by
    less than ``tolerance``, in bit/s/Hz of a user with the largest weight.
    """
    p, (channels, *core) = problem, problem.channel.shape[1:]
    # Without a surface the F channels of an item have nothing in common: M = B F problems.
    channel = np.broadcast_to(p.channel, (p.size, channels, *core)).reshape(-1, *core)
    finite = np.isfinite(channel).all(axis=(-2, -1))
    channel = np.where(finite[:, None, None], channel, 0.0).astype(complex)
    # The best beams lie in the span of the conjugate channels: H^H = basis reduced^H.
    basis, reduced = np.linalg.qr(np.ascontiguousarray(channel.conj().swapaxes(-1, -2)))
    reduced = np.ascontiguousarray(reduced.conj().swapaxes(-1, -2))
    weights = np.broadcast_to(p.weights, (p.size, p.users))
    power, noise_power, weights = (
        np.repeat(array, channels, axis=0) for array in (p.power, p.noise_power, weights)
    )

    def swept(beams: np.ndarray, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
        """Rates (M, C) and beams (M, C, L, K) after some sweeps."""
        candidates, chains = beams.shape[1:3]
        every = [np.repeat(x, candidates, axis=0) for x in (reduced, power, noise_power, weights)]
        rate, moved, _ = edge.run(
            "wmmse_gradient",
            (
                every[0], np.ones((1, chains)), np.eye(chains, dtype=complex)[None],
                beams.reshape(-1, *beams.shape[2:]), *every[1:],
            ),
            {"radiated": False, "sweeps": sweeps},
            threads=p.threads,
        )  # fmt: skip
        return rate.reshape(-1, candidates), moved.reshape(beams.shape)

    beams = _candidates(reduced, power, noise_power, weights)
    prelude = iterations // _PRELUDE
    rates, beams = swept(beams, prelude)
    best = np.argsort(-_numbers(rates), axis=-1, kind="stable")[:, :_FINALISTS]
    rates, beams = _taken(best, rates, beams)
    made, converged = np.full(len(channel), prelude), np.zeros(len(channel), bool)
    while not converged.all() and (left := iterations - made.max(initial=prelude)):
        sweeps = min(_BLOCK, left)
        after, moved = swept(beams, sweeps)
        made[~converged] += sweeps
        beams = np.where(converged[:, None, None, None], beams, moved)
        settled = (after - rates < tolerance).all(axis=-1)
        rates = np.where(converged[:, None], rates, after)
        converged |= settled & (sweeps == _BLOCK)
    rates, beams = _taken(_numbers(rates).argmax(axis=-1)[:, None], rates, beams)
    beams = beams[:, 0]
    dark = np.flatnonzero(~beams.any(axis=(-2, -1)))  # nobody with a weight has a channel
    gains = np.linalg.norm(reduced[dark], axis=-1)
    strongest, most = gains.argmax(axis=-1), gains.max(axis=-1)
    scale = np.sqrt(power[dark]) / np.where(most > 0.0, most, 1.0)
    beams[dark, :, strongest] = scale[:, None] * reduced[dark, strongest].conj()
    digital = basis @ beams
    digital[~finite] = np.nan
    digital = digital.astype(p.channel.dtype).reshape(p.size, channels, *digital.shape[1:])
    return Run(
        np.ones((p.size, p.elements), digital.real.dtype),
        digital,
        made.reshape(p.size, channels).max(axis=-1),
        np.asarray(converged.reshape(p.size, channels).all(axis=-1)),
        np.full((p.size, 1), np.nan),
        fully_digital=True,
    )


def _numbers(rates: np.ndarray) -> np.ndarray:
    return np.nan_to_num(rates, nan=-np.inf)


def _taken(
    which: np.ndarray, rates: np.ndarray, beams: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Some of the candidates, which are the last dimension of the rates."""
    return (
        np.take_along_axis(rates, which, -1),
        np.take_along_axis(beams, which[..., None, None], -3),
    )


def _candidates(
    channel: np.ndarray, power: np.ndarray, noise_power: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Beams (..., C, L, K) for the first s users in semi-orthogonal order.

    Directions of regularised zero forcing, equal powers.
    """
    users = channel.shape[-2]
    size = np.max(np.abs(channel), axis=(-2, -1), keepdims=True)
    size = np.where(size > 0.0, size, 1.0)
    unit = channel / size
    adjoint = unit.conj().swapaxes(-1, -2)
    gram = unit @ adjoint
    counts = 1 + np.arange(min(channel.shape[-2:]))
    served = _places(gram, weights)[..., None, :] < counts[:, None]  # (..., C, K)
    both = served[..., :, None] & served[..., None, :]
    loading = (np.sqrt(noise_power / power) / size[..., 0, 0])[..., None] ** 2 * counts
    loading = np.clip(loading, *_LOADING)[..., None, None] * np.eye(users)
    system = np.where(both, gram[..., None, :, :], 0.0) + loading
    inverse = np.linalg.solve(system, served[..., :, None] * np.eye(users, dtype=complex))
    beams = adjoint[..., None, :, :] @ inverse
    norm = np.linalg.norm(beams, axis=-2, keepdims=True)
    return beams / np.where(norm > 0.0, norm, 1.0)


def _places(gram: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The place (..., K) of every user where the largest weighted gain that is left comes next.

    Gains are what the users before leave of them: pivoted Cholesky of H H^H.
    """
    gram, users = gram.copy(), gram.shape[-1]
    place = np.full(gram.shape[:-1], users)
    for turn in range(users):
        gains = np.maximum(np.diagonal(gram, axis1=-2, axis2=-1).real, 0.0)
        first = np.where(place > turn, gains * weights, -1.0).argmax(axis=-1)[..., None]
        np.put_along_axis(place, first, turn, -1)
        pivot = np.take_along_axis(gains, first, -1)
        row = np.take_along_axis(gram, first[..., None], -2)[..., 0, :]
        left = row / np.where(pivot > 0.0, pivot, np.inf)
        gram -= row.conj()[..., :, None] * left[..., None, :]
    return place
