"""The air: channel models, channels read from files, and channels of simulators."""

from .models import Seed, near_field, rayleigh, rician, sparse_mmwave
from .reading import load
from .scene import Scene
from .simulators import from_deepmimo, from_sionna

__all__ = [
    "Scene",
    "Seed",
    "from_deepmimo",
    "from_sionna",
    "load",
    "near_field",
    "rayleigh",
    "rician",
    "sparse_mmwave",
]
