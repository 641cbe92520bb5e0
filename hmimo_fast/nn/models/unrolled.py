"""An unrolled solver: a few gradient steps over the amplitudes whose rule is learned (ours)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn

from .link import Link
from .network import Network
from .steps import SEEN, follow, seen, still, tried
from .values import Values, perceptron


class UnrolledNet(Network):
    """Learned spectral projected gradient over the amplitudes, one step per layer.

    Version 3 of paper A feeds gradients to a graph network; here closed forms replace it as far as
    possible: the beams follow the amplitudes by WMMSE sweeps, the closed-form
    derivative of the rate in m gives the spectral (Barzilai-Borwein) step in the metric of the
    radiated power's curvature, and a small network, the same at every element, that sees the
    gradient, the last step and a memory of the element, stretches and shifts it.  An untrained
    network does neither.  The digital beams are recovered at the end.  It
    begins with the most promising of nested sets of users, after some plain steps with each.
    Permuting users, or elements together with the rows of Phi, permutes the outputs; K, N and L may
    differ from those of the training.

    Parameters
    ----------
    layers : int
        Steps.
    width, hidden : int
        Neurons and memory of each element.
    first_layers : int
        Plain steps with each set of users.
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

    PART = 128

    def __init__(
        self,
        layers: int = 4,
        width: int = 32,
        hidden: int = 8,
        first_layers: int = 12,
        sweeps: int = 2,
        last_sweeps: int = 4,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(
            constraint,
            layers=layers,
            width=width,
            hidden=hidden,
            first_layers=first_layers,
            sweeps=sweeps,
            last_sweeps=last_sweeps,
        )
        self.first_layers, self.sweeps, self.last_sweeps = first_layers, sweeps, last_sweeps
        memories = [0, *[hidden] * (layers - 1), 0]
        self.rules = nn.ModuleList(
            _Rule(before, width, after) for before, after in pairwise(memories)
        )

    def design(self, link: Link) -> tuple[Values, Values]:
        """Amplitudes, and the WMMSE beams at them."""
        sets = tried(link, self.first_layers, self.sweeps)
        point = sets.chosen(sets.worth)
        memory = point.amplitudes[None][:0]
        for rule in self.rules:
            step = follow(link, point, self.sweeps)
            stretch, shift, memory = rule(seen(link, point, step), memory)
            point = point.moved(step, stretch, shift)
        # The rate is stationary in these beams: nothing of theirs to differentiate.
        with torch.no_grad():
            _, digital, _ = link.ascent(point.amplitudes, point.digital, self.last_sweeps)
        return point.amplitudes, digital


class _Rule(nn.Module):
    """Stretch and shift of each element's step, and the memory of the element."""

    def __init__(self, before: int, width: int, after: int) -> None:
        super().__init__()
        self.enter = nn.Linear(SEEN + before, width)
        self.leave = still(nn.Linear(width, 2 + after))

    def forward(self, features: list[Any], memory: Any) -> tuple[Any, Any, Any]:
        """Features, (B, N) or (B, 1) each, and (memory, B, N) -> two (B, N) and the memory."""
        left = perceptron(self.enter, self.leave, [*features, memory])
        return left[0], left[1], left[2:]
