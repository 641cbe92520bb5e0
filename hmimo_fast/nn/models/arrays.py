"""Networks on NumPy's arrays, where no gradient is asked for on the CPU.

For one channel a layer is some eighty operations on few numbers, of which PyTorch's calls and its
dispatch of the kernels take most of the time, NumPy's half as much.  So a network is written in
what tensors and arrays have in common; what is left is in its link and in the functions here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ...kernels.backends import batch_function, get_backend
from ...kernels.edge import call
from ..definitions import LN2
from .link import Link

#: Tensors or arrays, which one design does not mix.
Values: TypeAlias = Tensor | np.ndarray

_ONE = np.ones(1)


class ArrayLink:
    """Some items of a `Link` as arrays, with the methods that an iterative network calls.

    Only `begin` goes through the checks of the edge, which take longer than a layer's kernels;
    what the others pass on is checked there, or contiguous and in range as it was made.
    """

    def __init__(self, link: Link, items: slice) -> None:
        self.channel, self.phase = (
            np.ascontiguousarray(x) for x in (link.channel.numpy()[items], link.phase.numpy())
        )
        self.radiated = link.radiated
        noise_power = link.noise_power.numpy()[items]
        self.snr = -np.log10(noise_power)
        self._noise_power = np.ascontiguousarray(noise_power, np.float64)
        self._equal = np.ones((1, self.channel.shape[1]))
        single = self.channel.dtype == np.complex64
        users, elements = self.channel.shape[1:]
        sizes = {"K": users, "N": elements, "L": self.phase.shape[1], "I": 0}
        self._sinr, self._ascent = (
            batch_function(get_backend(), name, single, sizes)
            for name in ("sinr", "wmmse_gradient")
        )

    def begin(self) -> tuple[np.ndarray, np.ndarray]:
        """All elements on, (B, N), and the matched beams, (B, L, K)."""
        items, _, elements = self.channel.shape
        amplitudes = np.ones((items, elements), self.channel.real.dtype)
        matched = (self.channel @ self.phase).conj().swapaxes(-1, -2)
        inputs = (self.channel, amplitudes, self.phase, matched, 1.0, self._noise_power, None)
        options = {"radiated": self.radiated, "sweeps": 0}
        return amplitudes, call("wmmse_gradient", inputs, options, threads=1)[1]

    def rates(self, amplitudes: np.ndarray, digital: np.ndarray) -> np.ndarray:
        """Rate of each user, (B, K)."""
        sinr = np.empty(self.channel.shape[:2], amplitudes.dtype)
        inputs = [self.channel, amplitudes, self.phase[None], digital, self._noise_power]
        self._sinr(inputs, (), [sinr], len(sinr))
        return np.log1p(sinr) / LN2

    def wmmse(
        self,
        amplitudes: np.ndarray,
        digital: np.ndarray,
        sweeps: int,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """V after some WMMSE sweeps, at power 1, (B, L, K)."""
        return self.ascent(amplitudes, digital, sweeps, weights)[0]

    def ascent(
        self,
        amplitudes: np.ndarray,
        digital: np.ndarray,
        sweeps: int,
        weights: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """V after some WMMSE sweeps, and dR/dm there."""
        shares = self._equal if weights is None else weights.astype(np.float64)
        beams, gradient = np.empty_like(digital), np.empty_like(amplitudes)
        link = [self.channel, amplitudes, self.phase[None], digital]
        self._ascent(
            [*link, _ONE, self._noise_power, shares],
            (self.radiated, sweeps),
            [np.empty(len(digital)), beams, gradient],
            len(digital),
        )
        return beams, gradient


def through(function: Callable[[Tensor], Tensor], values: Values) -> Values:
    """A function of PyTorch, over an array too."""
    if isinstance(values, Tensor):
        return function(values)
    return function(torch.from_numpy(values)).numpy()


def detached(values: Values) -> Values:
    """Without what would be differentiated; an array has none."""
    return values.detach() if isinstance(values, Tensor) else values


def together(features: list[Any]) -> Tensor:
    """Features as rows, (features, columns), each broadcast to the dimensions of the last."""
    shape = features[-1].shape[1:]
    if isinstance(features[-1], Tensor):
        return torch.cat([rows.expand(-1, *shape) for rows in features]).flatten(1)
    table = np.empty((sum(map(len, features)), *shape), features[-1].dtype)
    end = 0
    for rows in features:
        begin, end = end, end + len(rows)
        table[begin:end] = rows
    return torch.from_numpy(table.reshape(end, -1))
