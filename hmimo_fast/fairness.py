"""Fair shares over time slots: weights for `schedule` from the rates served so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ProportionalFair"]

#: Least average rate in a weight, relative to the mean user's, so that a user who was never served,
#: or cannot be, does not outweigh all others.
_LEAST = 1e-3


class ProportionalFair:
    """Weights of a proportionally fair schedule, one over each user's average rate.

    A schedule of the highest weighted sum rate in each slot then raises the sum of the logarithms
    of the average rates (Viswanath, Tse and Laroia, IEEE Trans. Inf. Theory 48, 2002):
    users get about equal shares of the slots, each the better of its own.

    Parameters
    ----------
    users : int or tuple of int
        Number of users K, or (..., K) for a batch.
    slots : float
        Time constant of the average in slots, at least 1.  The first so many slots are averaged
        evenly, so that the start is forgotten no more slowly than the rest.

    Attributes
    ----------
    average : (..., K) float64
        Average rate of every user in bit/s/Hz, 0 before the first slot.

    Raises
    ------
    ValueError
        If a number of users or ``slots`` is below 1.

    Examples
    --------
    >>> import hmimo_fast as hf
    >>> surface = hf.Surface(shape=(6, 6), feeds=2)
    >>> channel = hf.channels.sparse_mmwave(surface, users=4, seed=1)
    >>> fair = hf.ProportionalFair(users=4, slots=20)
    >>> for slot in range(20):
    ...     served = hf.schedule(channel, surface.phase, weights=fair.weights, search="local")
    ...     fair.update(served.rates)
    >>> bool((fair.average > 0.0).all())
    True
    """

    def __init__(self, users: int | tuple[int, ...], slots: float = 100.0) -> None:
        shape = users if isinstance(users, tuple) else (users,)
        if min(shape) < 1:
            raise ValueError(f"users: expected at least 1, got {users!r}")
        if not 1.0 <= slots < np.inf:
            raise ValueError(f"slots: expected at least 1 and finite, got {slots!r}")
        self.average = np.zeros(shape)
        self._slots = slots
        self._passed = 0

    @property
    def weights(self) -> np.ndarray:
        """Weights (..., K) of the next slot, 1 on the mean of the users.

        Before the first slot all are 1; none is above a thousand times that of a user of the
        mean average rate.
        """
        mean = self.average.mean(axis=-1, keepdims=True)
        weights = 1.0 / np.maximum(self.average, np.maximum(_LEAST * mean, 1e-200))
        return np.asarray(weights / weights.mean(axis=-1, keepdims=True))

    def update(self, rates: ArrayLike) -> None:
        """Add a slot's rates to the average.

        Parameters
        ----------
        rates : (..., K) real
            Rate of every user in bit/s/Hz, 0 where not served; NaN, as of a channel that is not
            finite, counts as 0.

        Raises
        ------
        ValueError
            If the shape is not that of ``average``, or a rate is negative or infinite.
        """
        served = np.nan_to_num(np.asarray(rates, float), posinf=-1.0)
        if served.shape != self.average.shape:
            raise ValueError(f"rates: expected {self.average.shape}, got {served.shape}")
        if (served < 0.0).any():
            raise ValueError(f"rates: expected values finite and at least 0, got {rates!r}")
        self._passed += 1
        self.average += (served - self.average) / min(self._passed, self._slots)
