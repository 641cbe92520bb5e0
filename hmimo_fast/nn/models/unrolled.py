"""An unrolled solver: a few gradient steps over the amplitudes whose rule is learned (ours)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from .arrays import ArrayLink, Values
from .link import Link
from .network import Network, perceptron
from .spectral import spectral_step, tamed


class UnrolledNet(Network):
    """Learned spectral projected gradient over the amplitudes, one step a layer.

    The beams follow the amplitudes as in the second stage of `hmimo_fast.solve`'s ``joint``: a
    layer finds V for its m by WMMSE sweeps, and the closed-form derivative of the rate in m.
    Where ``joint`` searches along the gradient, a layer takes the spectral (Barzilai-Borwein) step
    and what a small network adds to it, the same at every element, that sees the gradient, the
    last step and a memory of the element's own.  With the weights of a new network that addition
    is zero.  Permuting users, or elements together with the rows of Phi, permutes the outputs;
    K, N and L may differ from those of the training.

    Parameters
    ----------
    layers : int
        Steps.
    width, hidden : int
        Neurons and memory of each element.
    sweeps, last_sweeps : int
        WMMSE sweeps of each layer, and for the beams at the end.
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V or of V.

    Examples
    --------
    >>> import torch
    >>> import hmimo_fast as hf
    >>> from hmimo_fast import nn
    >>> surface = hf.Surface(shape=(6, 6), feeds=4)
    >>> channel = hf.channels.sparse_mmwave(surface, users=4, size=10, seed=1)
    >>> net = nn.UnrolledNet(constraint="digital")
    >>> with torch.no_grad():
    ...     amplitudes, digital = net(torch.tensor(channel), torch.tensor(surface.phase), 1.0, 0.1)
    >>> amplitudes.shape, digital.shape
    (torch.Size([10, 36]), torch.Size([10, 4, 4]))
    """

    PART = 64

    def __init__(
        self,
        layers: int = 12,
        width: int = 64,
        hidden: int = 16,
        sweeps: int = 2,
        last_sweeps: int = 4,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(
            constraint,
            layers=layers,
            width=width,
            hidden=hidden,
            sweeps=sweeps,
            last_sweeps=last_sweeps,
        )
        self.sweeps, self.last_sweeps = sweeps, last_sweeps
        memories = [0, *[hidden] * (layers - 1), 0]
        self.rules = nn.ModuleList(
            _Rule(before, width, after) for before, after in pairwise(memories)
        )

    def design(self, link: Link | ArrayLink) -> tuple[Values, Values]:
        """Amplitudes, and the WMMSE beams at them."""
        amplitudes, digital = link.begin()
        memory = amplitudes[None][:0]
        change, last = 0.0 * amplitudes, None
        snr = link.snr[:, None]
        for rule in self.rules:
            digital, gradient = link.ascent(amplitudes, digital, self.sweeps)
            step, direction, length = spectral_step(amplitudes, change, last, gradient)
            seen = [amplitudes, step, direction, change, length, snr]
            added, memory = rule(seen, memory)
            ahead = tamed((amplitudes + step + added).clip(0.0, 1.0))
            on = ahead.sum(-1)[:, None] > 0.0  # a step that turns everything off is not made
            ahead = ahead * on + amplitudes * ~on
            amplitudes, change, last = ahead, ahead - amplitudes, gradient
        # The rate is stationary in these beams: nothing of theirs to differentiate.
        with torch.no_grad():
            digital = link.wmmse(amplitudes, digital, self.last_sweeps)
        return amplitudes, digital


class _Rule(nn.Module):
    """What a layer adds to each element's step, and the memory it keeps there."""

    SEEN = 6

    def __init__(self, before: int, width: int, after: int) -> None:
        super().__init__()
        self.enter = nn.Linear(self.SEEN + before, width)
        self.leave = nn.Linear(width, 1 + after)
        with torch.no_grad():
            self.leave.weight[0] = 0.0
            self.leave.bias[0] = 0.0

    def forward(self, seen: list[Values], memory: Values) -> tuple[Values, Values]:
        """What is seen, (B, N) or (B, 1) each, and (memory, B, N) -> (B, N) and (memory, B, N)."""
        left = perceptron(self.enter, self.leave, [*(row[None] for row in seen), memory])
        return left[0], left[1:]
