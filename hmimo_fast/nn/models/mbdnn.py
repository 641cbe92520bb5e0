"""MB-DNN: a graph network whose layers are built on the structure of the best precoder."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .arrays import ArrayLink, Values, detached, through
from .link import Link
from .network import Network, perceptron
from .spectral import spectral_step, tamed


class MBDNN(Network):
    r"""The model-based network of paper A (eq. 10-14), over antennas n and edges (n, k).

    Its core is the structure of the best precoder of user k, an interference message over the
    other users that depends on the precoder itself,

    .. math:: w_k = b_k \tilde h_k - \sum_i a_i\, (h_i^H w_k)\, \tilde h_i,

    (paper A, eq. 10; the term i = k rescales :math:`b_k`), with :math:`\tilde h_k` what the surface
    can radiate of user k's channel.  A layer takes the fixed point, which costs one K x K solve
    and leaves nothing for the projections to cut off.  The attention :math:`a_i` is the closed
    form of WMMSE times a trained weight of the user.  Along that precoder the layer reads the
    closed-form derivative of the rate (as later versions of paper A do), updates edges and
    antennas by small networks that all of them share, and moves the amplitudes.

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
    sweeps : int
        Times the structure is solved in a layer, its coefficients following the precoder.
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V or of V.

    Examples
    --------
    >>> from hmimo_fast import nn
    >>> sum(weight.numel() for weight in nn.MBDNN().parameters()) <= 73_160  # as in paper A
    True
    """

    PART = 64

    def __init__(
        self,
        layers: int = 12,
        width: int = 64,
        hidden: int = 16,
        edge_width: int = 32,
        edge_hidden: int = 16,
        sweeps: int = 2,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(
            constraint,
            layers=layers,
            width=width,
            hidden=hidden,
            edge_width=edge_width,
            edge_hidden=edge_hidden,
            sweeps=sweeps,
        )
        self.sweeps = sweeps
        edges, antennas = [0, *[edge_hidden] * layers], [0, *[hidden] * (layers - 1), 0]
        self.layers = nn.ModuleList(
            _Layer(*features, edge_width, width)
            for features in zip(pairwise(edges), pairwise(antennas), strict=True)
        )
        self.attention = _network(_USER + edges[-1], edge_width, 1, bias=False)

    def design(self, link: Link | ArrayLink) -> tuple[Values, Values]:
        """Amplitudes, and the beams of the structure at them."""
        amplitudes, digital = link.begin()
        antennas, edges = amplitudes[None][:0], link.channel.real[None][:0]
        change, last = 0.0 * amplitudes, None
        snr = link.snr[:, None]
        for layer in self.layers:
            weights = _weights(layer.attention, link, amplitudes, digital, edges)
            digital = link.wmmse(amplitudes, detached(digital), self.sweeps, weights)
            _, gradient = link.ascent(amplitudes, digital, 1, weights)
            step, direction, length = spectral_step(amplitudes, change, last, gradient)
            seen = [amplitudes, step, direction, change, length, snr]
            waves = digital.swapaxes(1, 2) @ link.phase.T
            parts = link.channel * (waves * amplitudes[:, None])
            edges, antennas, added = layer(parts, seen, edges, antennas)
            ahead = tamed((amplitudes + step + added).clip(0.0, 1.0))
            amplitudes, change, last = ahead, ahead - amplitudes, gradient
        digital = link.wmmse(amplitudes, detached(digital), self.sweeps)
        weights = _weights(self.attention, link, amplitudes, digital, edges)
        return amplitudes, link.wmmse(amplitudes, digital, 1, weights)


#: What the networks are told of each user, antenna and edge besides their own features.
_USER, _ANTENNA, _EDGE = 2, 6, 4


class _Layer(nn.Module):
    """Networks of one layer, shared by all users, antennas and edges."""

    def __init__(
        self, edge: tuple[int, int], antenna: tuple[int, int], edge_width: int, width: int
    ) -> None:
        super().__init__()
        self.attention = _network(_USER + edge[0], edge_width, 1, bias=False)
        self.edge = _network(_EDGE + edge[0], edge_width, edge[1])
        self.antenna = _network(_ANTENNA + antenna[0] + edge[1], width, 1 + antenna[1])
        with torch.no_grad():
            self.antenna[-1].weight[0] = 0.0
            self.antenna[-1].bias[0] = 0.0

    def forward(
        self, parts: Values, seen: list[Values], edges: Values, antennas: Values
    ) -> tuple[Values, Values, Values]:
        """Features of edges and antennas, and what is added to the amplitudes (eq. 13-14).

        ``parts`` is H_kn w_nk, which element n adds to user k's signal.
        """
        near = (row[None, :, None] for row in seen[:2])
        edges = _read(self.edge, [parts.real[None], parts.imag[None], *near, edges])
        edges = through(torch.relu_, edges)
        mean = edges.sum(2) / edges.shape[2]
        left = _read(self.antenna, [*(row[None] for row in seen), antennas, mean])
        return edges, left[1:], left[0]


def _network(inputs: int, width: int, outputs: int, bias: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(inplace=True), nn.Linear(width, outputs, bias=bias)
    )


def _read(network: nn.Sequential, features: list[Values]) -> Values:
    enter, _, leave = network
    return perceptron(enter, leave, features)


def _weights(
    network: nn.Sequential,
    link: Link | ArrayLink,
    amplitudes: Values,
    digital: Values,
    edges: Values,
) -> Values:
    """Weight of each user's attention, (B, K), positive and of mean 1."""
    rates = link.rates(amplitudes, digital)
    told = [rates[None] / 5.0, link.snr[None, :, None], edges.sum(3) / edges.shape[3]]
    return through(_shares, _read(network, told)[0])


def _shares(scores: Tensor) -> Tensor:
    # The kernels refuse a weight that is not finite; the channel's NaN goes on without it.
    return (scores.softmax(-1) * scores.shape[-1]).nan_to_num(1.0)
