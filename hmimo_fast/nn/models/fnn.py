"""The fully connected network of paper A."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .candidates import best_of
from .link import Link
from .network import Network


class FNN(Network):
    """Fully connected from the channel to amplitudes and precoder, for one size (paper A).

    The real and imaginary parts of the channel and the SNR go in, the precoder on the elements
    comes out and is projected onto what the surface radiates (eq. 7).  The defaults have the
    paper's 10.77 M parameters.

    Parameters
    ----------
    users, elements : int
        K and N.
    width, layers : int
        Neurons of the hidden layers, and how many there are.
    aligned : bool
        Whether each user's channel is first turned so that its entry at the first element is real:
        its phase changes no rate, so the network need not learn that (ours).
    candidates : int
        Number of designs; of several the best is returned, see `best_of` (ours).
    constraint : {"radiated", "digital"}
        Power of diag(m) Phi V or of V.

    Examples
    --------
    >>> from hmimo_fast import nn
    >>> print(f"{sum(weight.numel() for weight in nn.FNN().parameters()) / 1e6:.2f} M")
    10.77 M
    """

    def __init__(
        self,
        users: int = 6,
        elements: int = 64,
        width: int = 1646,
        layers: int = 4,
        aligned: bool = False,
        candidates: int = 1,
        constraint: str = "radiated",
    ) -> None:
        super().__init__(
            constraint,
            users=users,
            elements=elements,
            width=width,
            layers=layers,
            candidates=candidates,
        )
        self.config["aligned"] = self.aligned = bool(aligned)
        self.users, self.elements, self.candidates = users, elements, candidates
        edges = users * elements
        sizes = [1 + 2 * edges, *[width] * layers]
        self.body = nn.Sequential()
        for inputs, outputs in pairwise(sizes):
            self.body.extend([nn.Linear(inputs, outputs), nn.ReLU()])
        self.head = nn.Linear(sizes[-1], candidates * (elements + 2 * edges))

    def design(self, link: Link) -> tuple[Tensor, Tensor]:
        """Amplitudes, and the projection of the precoder, of the best candidate."""
        size = (self.users, self.elements)
        if link.channel.shape[1:] != size:
            raise ValueError(
                f"channel: expected (B, K, N) with K = {self.users} and N = {self.elements}, "
                f"got {tuple(link.channel.shape)}"
            )
        channel = link.channel
        if self.aligned:
            channel = channel * torch.sgn(channel[..., :1]).conj()
        parts = torch.view_as_real(channel.resolve_conj()).flatten(1)
        left = self.head(self.body(torch.cat([parts, link.snr[:, None]], -1)))
        left = left.unflatten(-1, (self.candidates, -1))
        amplitudes, precoder = left.split([self.elements, 2 * self.users * self.elements], -1)
        wanted = torch.view_as_complex(precoder.unflatten(-1, (*size, 2)).contiguous())
        return best_of(link, torch.sigmoid(amplitudes), wanted.mT, self.training)
