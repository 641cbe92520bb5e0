"""Networks from channels to amplitudes and beams: paper A's three, and an unrolled solver.

Paper A is arXiv 2504.19522.  All share the signature and the promises of `Network.forward`.
"""

from .fnn import FNN
from .gnn2d import GNN2D
from .mbdnn import MBDNN
from .unrolled import UnrolledNet

__all__ = ["FNN", "GNN2D", "MBDNN", "UnrolledNet"]
