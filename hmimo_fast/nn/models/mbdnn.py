"""MB-DNN: a graph network whose layers are built on the structure of the best precoder."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from .candidates import credited
from .link import Link, differentiated
from .network import Network
from .steps import SEEN, TOLD, Tried, follow, seen, still, tried, waves
from .values import Values, clip, library, perceptron


class MBDNN(Network):
    r"""The model-based network of paper A (eq. 10-14), over antennas n and edges (n, k).

    Its core is the structure of the best precoder of user k, an interference message over the
    other users that depends on the precoder itself,

    .. math:: w_k = b_k \tilde h_k - \sum_i a_i\, (h_i^H w_k)\, \tilde h_i,

    (paper A, eq. 10; the term i = k rescales :math:`b_k`), with :math:`\tilde h_k` what the surface
    can radiate of user k's channel. A layer iterates the fixed point twice, at one K x K solve
    each; the result lies in the span of what the surface can radiate, so a projection changes
    nothing. The attention :math:`a_i` is the closed form of WMMSE times a trained weight of the
    user. Along that precoder the layer reads the closed-form derivative of the weighted rate (as
    later versions of paper A do), updates edges and antennas by small networks that all of them
    share, and moves the amplitudes by a spectral step that those stretch and shift. It begins with
    one of nested sets of users, which a small network chooses from the results of a plain step with
    each.

    Permuting users, or elements together with the rows of Phi, permutes the outputs; K, N and L
    may differ from those of the training.

    Parameters
    ----------
    layers : int
        Depth.
    width, hidden : int
        Neurons and features of each antenna.
    edge_width, edge_hidden : int
        Neurons and features of each edge.
    first_layers : int
        Plain steps with each set of users.
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V or of V.

    Examples
    --------
    >>> from hmimo_fast import nn
    >>> sum(weight.numel() for weight in nn.MBDNN().parameters()) <= 73_160  # as in paper A
    True
    """

    PART = 64
    #: Closed-form updates of the precoder in a layer.
    SWEEPS = 2

    def __init__(
        self,
        layers: int = 6,
        width: int = 48,
        hidden: int = 16,
        edge_width: int = 8,
        edge_hidden: int = 4,
        first_layers: int = 1,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(
            constraint,
            layers=layers,
            width=width,
            hidden=hidden,
            edge_width=edge_width,
            edge_hidden=edge_hidden,
            first_layers=first_layers,
        )
        self.first_layers = first_layers
        edges, antennas = [0, *[edge_hidden] * layers], [0, *[hidden] * (layers - 1), 0]
        self.choice = _Choice(width)
        self.layers = nn.ModuleList(
            _Layer(*features, edge_width, width)
            for features in zip(pairwise(edges), pairwise(antennas), strict=True)
        )

    def design(self, link: Link) -> tuple[Values, Values]:
        """Amplitudes, and the beams of the structure at them."""
        sets = tried(link, self.first_layers, self.SWEEPS)
        scores = self.choice(sets)
        point = sets.chosen(scores)
        antennas, edges = point.amplitudes[None][:0], link.channel.real[None][:0]
        for layer in self.layers:
            weights = layer.weights(link, point.amplitudes, point.digital, edges)
            step = follow(link, point, self.SWEEPS, weights)
            parts = link.channel * (waves(link, step.digital) * point.amplitudes[:, None])
            features = seen(link, point, step)
            stretch, shift, antennas, edges = layer(parts, features, antennas, edges)
            point = point.moved(step, stretch, shift)
        with torch.no_grad():
            _, digital, _ = link.ascent(point.amplitudes, point.digital, self.SWEEPS)
        if not differentiated(scores):
            return point.amplitudes, digital
        later = sets.later(len(self.layers), self.SWEEPS)
        worth = (scores.softmax(1) * later).sum(1).mean()
        return credited(point.amplitudes, worth), digital


class _Choice(nn.Module):
    """Scores of the nested sets, from the results of a step with each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(TOLD, width)
        self.leave = still(nn.Linear(width, 1))

    def forward(self, sets: Tried) -> Any:
        """(B, S); untrained, the highest score is that of the highest rate."""
        told = sets.told()
        return _FIRM * (told[0] + perceptron(self.enter, self.leave, [told])[0])


#: Number of inputs for each user and edge besides their own features.
_USER, _EDGE = 2, 4


class _Layer(nn.Module):
    """Networks of one layer, shared by all users, antennas and edges."""

    def __init__(
        self, edge: tuple[int, int], antenna: tuple[int, int], edge_width: int, width: int
    ) -> None:
        super().__init__()
        self.attention = _network(_USER + edge[0], edge_width, 1)
        self.edge = _network(_EDGE + edge[0], edge_width, edge[1])
        self.antenna = _network(SEEN + antenna[0] + edge[1], width, 2 + antenna[1])
        still(self.antenna[1])
        still(self.attention[1])

    def weights(self, link: Link, amplitudes: Any, digital: Any, edges: Any) -> Any:
        """Weight of each user's attention, (B, K), positive and of mean 1."""
        rates = link.rates(amplitudes, digital)
        told = [rates[None] / 5.0, link.snr[None, :, None], edges.sum(3) / edges.shape[3]]
        lib = library(rates)
        scores = lib.exp(clip(_read(self.attention, told)[0], -_MOST, _MOST))
        shares = scores * (scores.shape[1] / scores.sum(1)[:, None])
        # The kernels reject weights that are not finite; a channel's NaN reaches the rate anyway.
        return lib.where(shares == shares, shares, 1.0)

    def forward(
        self, parts: Any, features: list[Any], antennas: Any, edges: Any
    ) -> tuple[Any, Any, Any, Any]:
        """How the step is stretched and shifted, and features of antennas and edges (eq. 13-14).

        ``parts`` is H_kn w_nk, which element n adds to user k's signal.
        """
        near = (row[:, :, None] for row in features[:2])
        edges = _read(self.edge, [parts.real[None], parts.imag[None], *near, edges])
        edges = clip(edges, 0.0, math.inf)
        left = _read(self.antenna, [*features, antennas, edges.sum(2) / edges.shape[2]])
        return left[0], left[1], left[2:], edges


#: Scale of the scores: in training a set with a rate 10 % lower is e^-3 times as probable.
_FIRM = 3.0
#: Largest score of a user's attention.
_MOST = 5.0


def _network(inputs: int, width: int, outputs: int) -> nn.ModuleList:
    return nn.ModuleList([nn.Linear(inputs, width), nn.Linear(width, outputs)])


def _read(network: nn.ModuleList, features: list[Any]) -> Any:
    enter, leave = network
    return perceptron(enter, leave, features)
