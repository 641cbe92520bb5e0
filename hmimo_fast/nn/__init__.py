"""Networks and differentiable operators in PyTorch, over the same kernels."""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("hmimo_fast.nn needs PyTorch: pip install 'hmimo_fast[nn]'") from error

from . import ops
from .models import FNN, GNN2D, MBDNN, UnrolledNet
from .training import train
from .weights import load, load_pretrained, save

__all__ = [
    "FNN",
    "GNN2D",
    "MBDNN",
    "UnrolledNet",
    "load",
    "load_pretrained",
    "ops",
    "save",
    "train",
]
