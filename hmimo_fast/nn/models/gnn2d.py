"""The two-dimensional graph network of paper A, without the model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .candidates import best_of
from .link import Link
from .network import Network, count


class GNN2D(Network):
    """The 2DGNN of paper A (eq. 8-9): antennas n, users k and the edges between them.

    A layer combines an antenna's features with the mean of its edges', and an edge's features with
    its antenna's and with the means over the user's other antennas and over the antenna's other
    users; the amplitudes come from the antennas, the precoder from the edges, and the beams by
    projection (eq. 7).  Tanh at the antennas and sigmoid at the edges, as in the paper.  An
    edge starts from the channel h and, as a feature of Phi, from Phi Phi^H h, the matched beam with
    all elements on.  Permuting users, or elements together with the rows of Phi, permutes the
    outputs; K, N and L may differ from those of the training.

    Parameters
    ----------
    widths : sequence of int
        Features in each layer.  The paper's widths give its 4.10 M parameters in the five layers
        between them; maps from the channel and to the outputs come on top.
    feeds : int, optional
        L, if fixed: an edge then starts from the channel through each feed, H_kn Phi_nl, instead,
        and an antenna from Phi_n, each user's channel first turned so that feed 1 reaches it with
        phase 0 (ours).
    candidates : int
        Number of designs; of several the best is returned, see `best_of` (ours).
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V or of V.

    Examples
    --------
    >>> from hmimo_fast import nn
    >>> nn.GNN2D(widths=(8, 16, 8)).config
    {'widths': [8, 16, 8], 'candidates': 1, 'constraint': 'radiated', 'feeds': None}
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 512, 512, 512, 512, 32),
        feeds: int | None = None,
        candidates: int = 1,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(constraint, widths=widths, candidates=candidates)
        self.config["feeds"] = self.feeds = None if feeds is None else count("feeds", feeds)
        self.candidates = candidates
        self.antennas_in = nn.Linear(2 if feeds is None else 1 + 2 * feeds, widths[0])
        self.edges_in = nn.Linear(4 if feeds is None else 2 + 2 * feeds, widths[0])
        self.layers = nn.ModuleList(map(_Layer, widths[:-1], widths[1:]))
        self.antennas_out = nn.Linear(widths[-1], candidates)
        self.edges_out = nn.Linear(widths[-1], 2 * candidates)
        for layer in self.layers[1:]:
            _centre(layer.edge.bias, *layer.of_edges)
        _centre(self.edges_out.bias, self.edges_out)

    def design(self, link: Link) -> tuple[Tensor, Tensor]:
        """Amplitudes, and the projection of the precoder, of the best candidate."""
        antennas, edges = self._first(link)
        for layer in self.layers:
            antennas, edges = layer(antennas, edges)
        amplitudes = torch.sigmoid(self.antennas_out(antennas)).mT
        precoder = self.edges_out(edges).unflatten(-1, (self.candidates, 2))
        wanted = torch.view_as_complex(precoder).conj().movedim(-1, 1)
        return best_of(link, amplitudes, wanted.mT, self.training)

    def _first(self, link: Link) -> tuple[Tensor, Tensor]:
        """Features of antennas and edges before the first layer."""
        channel, phase = link.channel, link.phase
        items, _, elements = channel.shape
        snr = link.snr[:, None, None].expand(-1, elements, -1)
        if self.feeds is None:
            row = phase.abs().square().mean(-1, keepdim=True)
            matched = channel @ phase @ phase.mH / elements
            parts = [_parts(channel), _parts(matched)]
        else:
            if phase.shape[1] != self.feeds:
                raise ValueError(f"phase: expected {self.feeds} feeds, got {tuple(phase.shape)}")
            row = _parts(phase).flatten(-2)
            channel = channel * torch.sgn(channel @ phase[:, :1]).conj()
            parts = [_parts(channel), _parts(channel[..., None] * phase).flatten(-2)]
        antennas = self.antennas_in(torch.cat([snr, row.expand(items, -1, -1)], -1))
        return antennas, self.edges_in(torch.cat(parts, -1))


def _parts(values: Tensor) -> Tensor:
    return torch.view_as_real(values.resolve_conj())


class _Layer(nn.Module):
    """Eq. 8-9, with five matrices."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.antenna = nn.Linear(inputs, outputs)
        self.antenna_edges = nn.Linear(inputs, outputs, bias=False)
        self.edge = nn.Linear(inputs, outputs)
        self.other_antennas = nn.Linear(inputs, outputs, bias=False)
        self.other_users = nn.Linear(inputs, outputs, bias=False)
        self.of_edges = (self.edge, self.other_antennas, self.other_users)
        # The sigmoid's slope is 1/4: with smaller weights the channel fades over the layers.
        for matrix in self.of_edges:
            nn.init.normal_(matrix.weight, std=4.0 / inputs**0.5)

    def forward(self, antennas: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, inputs) and (B, K, N, inputs) to the same of outputs."""
        ahead = torch.tanh(self.antenna(antennas) + self.antenna_edges(edges.mean(1)))
        # W (sum - own) / (n - 1), rather than W on every edge for each of the two means.
        users, elements = edges.shape[1:3]
        per_user, per_element = 1.0 / max(users - 1, 1), 1.0 / max(elements - 1, 1)
        others = per_element * self.other_antennas.weight + per_user * self.other_users.weight
        message = linear(edges, self.edge.weight - others, self.edge.bias)
        message = message + per_element * self.other_antennas(edges.sum(2, keepdim=True))
        message = message + per_user * self.other_users(edges.sum(1, keepdim=True))
        return ahead, torch.sigmoid(message + ahead[:, None])


def _centre(bias: Tensor, *matrices: nn.Linear) -> None:
    """Let a bias cancel the output of matrices at 1/2, the mean of a sigmoid."""
    with torch.no_grad():
        bias.copy_(-0.5 * sum(matrix.weight.sum(1) for matrix in matrices))
