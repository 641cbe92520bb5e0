"""The definition of every operator, one item at a time, in plain NumPy.

Numba compiles these very functions (see `hmimo_fast.kernels.jit`), and the C kernels are held to
them, so a formula stands here once.  Each file has its twin in ``csrc``, of the same name and with
the same names inside; ``docs/mathematics.md`` has the derivations.  K x K and K x L algebra runs in
double precision whatever the channel's; only the passes over the N elements follow the channel.  An
item with a NaN or an infinity gives NaN.

The two power conventions are one: with S = Phi^H diag(m)^2 Phi = C C^H, the radiated power
||diag(m) Phi V||^2 is ||C^H V||^2, so V' = C^H V has plain power over the whitened channel
G' = G C^{-H}; under `digital` power C = I.  The loops write every beamformer as V' = G'^H Psi, so
that all rates follow from the K x K matrices Psi and X = G' G'^H.
"""

from __future__ import annotations

from .alternating import alternating
from .descent import coordinate_descent
from .joint import best_beams, variable_projection, wmmse_gradient
from .passes import effective_channel
from .precode import max_min, min_power, project, water_filling, wmmse, zero_forcing
from .rates import link_budget, sinr, sum_rate, sum_rate_gradient
from .spectral import spectral_ascent
from .states import state_ascent

__all__ = [
    "alternating",
    "best_beams",
    "coordinate_descent",
    "effective_channel",
    "link_budget",
    "max_min",
    "min_power",
    "project",
    "sinr",
    "spectral_ascent",
    "state_ascent",
    "sum_rate",
    "sum_rate_gradient",
    "variable_projection",
    "water_filling",
    "wmmse",
    "wmmse_gradient",
    "zero_forcing",
]
