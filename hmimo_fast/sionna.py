"""Holographic precoding as blocks of Sionna PHY 2, beside its RZF precoder.

The module can be imported without Sionna; the blocks need it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .arguments import as_count, is_radiated
from .channels.simulators import panel_order
from .problem import Problem
from .solvers import METHODS, solve
from .solvers.methods import chosen
from .solvers.variable_projection import balancing
from .surface import Surface

try:
    import torch
    from sionna.phy.ofdm import PrecodedChannel
    from sionna.phy.utils import expand_to_rank
except ImportError as error:
    _missing: ImportError | None = error
    PrecodedChannel = object
else:
    _missing = None

#: Those under which a grid gets the power that its streams have.
_OBJECTIVES = ("sum_rate", "max_min", "geometric_mean")

__all__ = ["HolographicPrecodedChannel", "HolographicPrecoder"]


class _SurfaceBlock(PrecodedChannel):
    """What the two blocks share: a surface, an objective, and beams for a grid."""

    def __init__(
        self,
        resource_grid: Any,
        stream_management: Any,
        surface: Surface,
        objective: str = "sum_rate",
        constraint: str = "radiated",
        block: tuple[int | None, int] = (None, 1),
        precision: str | None = None,
        device: str | None = None,
        **options: Any,
    ) -> None:
        if _missing is not None:
            raise ImportError(
                "hmimo_fast.sionna: needs Sionna 2 (pip install sionna-no-rt, or sionna)"
            ) from _missing
        super().__init__(resource_grid, stream_management, precision=precision, device=device)
        if not isinstance(surface, Surface):
            raise TypeError(f"surface: expected a Surface, got {surface!r}")
        if objective not in _OBJECTIVES:
            expected = ", ".join(map(repr, _OBJECTIVES))
            raise ValueError(f"objective: expected one of {expected}, got {objective!r}")
        if "direct" in options:
            raise ValueError(
                "direct: expected none, since the channel of a block is that of the elements"
            )
        is_radiated(constraint)
        known = {*METHODS["joint"].options, "threads"}
        if objective == "max_min" and not known >= set(options):
            name = min(set(options) - known)
            raise TypeError(f"{name}: expected an option of 'max_min' ({', '.join(sorted(known))})")
        symbols, subcarriers = block
        self._block = (
            resource_grid.num_ofdm_symbols if symbols is None else as_count("block", symbols),
            as_count("block", subcarriers),
        )
        self._surface, self._objective = surface, objective
        self._constraint, self._options = constraint, options

    def design(
        self, h: torch.Tensor, no: torch.Tensor | float, tx_power: torch.Tensor | float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Amplitudes of the surfaces and the precoding matrices.

        Parameters
        ----------
        h : Tensor
            (batch, rx, rx antennas, tx, elements, OFDM symbols, subcarriers).
        no : float or Tensor
            Noise power, (batch, rx, rx antennas) or its first dimensions.
        tx_power : float or Tensor
            Power of each stream, (batch, tx, streams, OFDM symbols, subcarriers) or its first
            dimensions; their sum is what the streams of a resource element share.

        Returns
        -------
        amplitudes : Tensor
            (batch, tx, N) in the order of ``Surface``; complex for other elements than amplitudes.
        g : Tensor
            (batch, tx, OFDM symbols, subcarriers, N, streams), zero at nulled subcarriers; the
            elements in the order of ``PanelArray``.

        Raises
        ------
        ValueError
            If the transmitters have not as many antennas as the surface has elements.
        """
        surface, elements = self._surface, h.shape[4]
        if elements != surface.elements:
            raise ValueError(
                f"h: expected {surface.elements} antennas per transmitter, one per element of the "
                f"surface, got {elements}"
            )
        wanted = self.get_desired_channels(h)  # (batch, tx, symbols, subcarriers, streams, N)
        batch, transmitters, symbols, subcarriers, streams, _ = wanted.shape
        noise = self._broadcast(no, tuple(h.shape[:3]))[:, self._precoding_ind_tensor].flatten(2)
        grids = (batch, transmitters, streams, symbols, subcarriers)
        root = self._broadcast(tx_power, grids).sum(dim=2)[..., None, None].sqrt()
        # With every power and noise in the channel, the solver's own are 1.
        scaled = wanted * root / noise[:, :, None, None, :, None].sqrt()
        used = self._resource_grid.effective_subcarrier_ind
        means = block_means(scaled[:, :, :, used].detach().cpu().numpy(), self._block)

        order = panel_order(surface.shape)
        amplitudes, beams = _beams(
            means.reshape(batch, transmitters, -1, streams, elements),
            surface.phase[order],
            self._objective,
            self._constraint,
            self._options,
        )
        beams = beams.reshape(*means.shape[:4], elements, streams)
        beams = torch.as_tensor(beams, dtype=self.cdtype, device=self.device)
        of_symbol = np.arange(symbols) // self._block[0]
        of_subcarrier = np.arange(len(used)) // self._block[1]
        g = beams.new_zeros(batch, transmitters, symbols, subcarriers, elements, streams)
        g[:, :, :, used] = beams[:, :, of_symbol][:, :, :, of_subcarrier]
        kind = self.cdtype if np.iscomplexobj(amplitudes) else self.dtype
        amplitudes = torch.as_tensor(amplitudes[..., order], dtype=kind, device=self.device)
        return amplitudes, g * root

    def _broadcast(self, value: Any, shape: tuple[int, ...]) -> torch.Tensor:
        """A value or a tensor of the first dimensions, over all of them."""
        tensor = torch.as_tensor(value, dtype=self.dtype, device=self.device)
        return expand_to_rank(tensor, len(shape), axis=-1).broadcast_to(shape)


class HolographicPrecoder(_SurfaceBlock):
    """Precoding by a holographic surface, in the place of Sionna's ``RZFPrecoder``.

    One amplitude vector for a whole resource grid and transmitter; beams for each subcarrier or
    each block of them.

    Parameters
    ----------
    resource_grid : ResourceGrid
    stream_management : StreamManagement
    surface : Surface
        The transmitters' antennas: a ``PanelArray`` of one panel with single polarization, with
        Ny rows, Nx columns and the surface's spacing.
    objective : {"sum_rate", "max_min", "geometric_mean"}
        Sum of the rates over streams and blocks; the lowest of them; or the geometric mean of the
        streams' sums over blocks.
    constraint : {"radiated", "digital"}
        Which power is limited, that of G (as with RZF) or that of the digital beams.
    block : (int or None, int)
        OFDM symbols and subcarriers that share a beam, found for their mean channel; None stands
        for all symbols of the grid.  The default is a beam per subcarrier.
    return_effective_channel : bool
        Whether to return ``h_eff`` too.
    **kwargs
        ``precision`` and ``device`` as in Sionna's blocks, and options of `hmimo_fast.solve`
        (``method``, ``levels``, ``starts``, ``threads`` and others), or with ``max_min`` those of
        the method ``joint``.

    Notes
    -----
    Called as ``precoder(x, h, no)``:

    - ``x`` (batch, tx, streams, OFDM symbols, subcarriers), symbols of unit power.
    - ``h`` (batch, rx, rx antennas, tx, elements, OFDM symbols, subcarriers), what the transmitter
      knows of the channel.
    - ``no``, noise power: (batch, rx, rx antennas) or its first dimensions.
    - ``x_precoded`` (batch, tx, elements, OFDM symbols, subcarriers): a resource element has as
      much power as it has streams, which is what RZF radiates too.
    - ``h_eff`` (batch, rx, rx antennas, tx, streams, OFDM symbols, effective subcarriers).

    In a block's mean channel every stream arrives with a phase of zero, so that a receiver can
    interpolate between pilots.  Gradients flow to x and h, but not through the design.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sionna.phy.mimo import StreamManagement
    >>> from sionna.phy.ofdm import ResourceGrid
    >>> import hmimo_fast as hf
    >>> grid = ResourceGrid(
    ...     num_ofdm_symbols=2, fft_size=12, subcarrier_spacing=120e3, num_streams_per_tx=3
    ... )
    >>> streams = StreamManagement(np.ones((3, 1)), num_streams_per_tx=3)
    >>> surface = hf.Surface(shape=(4, 4), feeds=3)
    >>> precoder = HolographicPrecoder(grid, streams, surface, objective="max_min")
    >>> x = torch.ones(5, 1, 3, 2, 12, dtype=torch.complex64)
    >>> h = torch.randn(5, 3, 1, 1, 16, 2, 12, dtype=torch.complex64)
    >>> precoder(x, h, no=0.1).shape
    torch.Size([5, 1, 16, 2, 12])
    """

    def __init__(
        self,
        resource_grid: Any,
        stream_management: Any,
        surface: Surface,
        objective: str = "sum_rate",
        constraint: str = "radiated",
        block: tuple[int | None, int] = (None, 1),
        return_effective_channel: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            resource_grid, stream_management, surface, objective, constraint, block, **kwargs
        )
        self._return_effective_channel = return_effective_channel

    def call(self, x: torch.Tensor, h: torch.Tensor, no: torch.Tensor | float) -> Any:
        """Precode the resource grids."""
        _, g = self.design(h, no)
        precoded = torch.einsum("btofys,btsof->btyof", g, x.to(self.cdtype))
        if self._return_effective_channel:
            return precoded, self.compute_effective_channel(h, g)
        return precoded


class HolographicPrecodedChannel(_SurfaceBlock):
    """The channel behind a holographic surface, in the place of Sionna's ``RZFPrecodedChannel``.

    Parameters
    ----------
    resource_grid, stream_management, surface, objective, constraint, block, precision, device
        As in `HolographicPrecoder`.
    **options
        As there.

    Notes
    -----
    Called as ``channel(h, tx_power, no, h_hat=None)``:

    - ``h`` (batch, rx, rx antennas, tx, elements, OFDM symbols, subcarriers), the channel.
    - ``tx_power``, power of each stream: (batch, tx, streams, OFDM symbols, subcarriers) or its
      first dimensions.  The streams of a resource element share their sum as the objective wants.
    - ``no``, noise power: (batch, rx, rx antennas) or its first dimensions.
    - ``h_hat``, what the transmitter knows of the channel; by default the channel itself.
    - ``h_eff`` (batch, rx, rx antennas, tx, streams, OFDM symbols, effective subcarriers), for
      Sionna's ``PostEqualizationSINR`` and equalizers.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from sionna.phy.mimo import StreamManagement
    >>> from sionna.phy.ofdm import ResourceGrid
    >>> import hmimo_fast as hf
    >>> grid = ResourceGrid(
    ...     num_ofdm_symbols=2, fft_size=12, subcarrier_spacing=120e3, num_streams_per_tx=3
    ... )
    >>> streams = StreamManagement(np.ones((3, 1)), num_streams_per_tx=3)
    >>> channel = HolographicPrecodedChannel(grid, streams, hf.Surface(shape=(4, 4), feeds=3))
    >>> h = torch.randn(5, 3, 1, 1, 16, 2, 12, dtype=torch.complex64)
    >>> channel(h, tx_power=torch.ones(5, 1, 3), no=0.1).shape
    torch.Size([5, 3, 1, 1, 3, 2, 12])
    """

    def call(
        self,
        h: torch.Tensor,
        tx_power: torch.Tensor,
        no: torch.Tensor | float,
        h_hat: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute the effective channel."""
        _, g = self.design(h if h_hat is None else h_hat, no, tx_power)
        return self.compute_effective_channel(h, g)


def block_means(channel: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """Mean channels of blocks: (..., S, F, K, N) to (..., blocks of S, blocks of F, K, N)."""
    for axis, size in zip((-4, -3), block, strict=True):
        starts = np.arange(0, channel.shape[axis], size)
        counts = np.diff(starts, append=channel.shape[axis]).reshape(-1, *[1] * (-1 - axis))
        total = np.add.reduceat(channel, starts, axis=axis)
        channel = total / counts.astype(channel.real.dtype)
    return channel


def _beams(
    channel: np.ndarray,
    phase: np.ndarray,
    objective: str,
    constraint: str,
    options: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes (..., N) and matrices (..., F, N, K) for channels (..., F, K, N) in unit noise."""
    if objective == "max_min":
        own = {name: value for name, value in options.items() if name != "threads"}
        joint, own = chosen("joint", own)
        threads = options.get("threads")
        problem = Problem.of(
            channel, phase, 1.0, 1.0, constraint=constraint, shared=True, threads=threads
        )
        run = joint.run(balancing(problem), np.ones((1, len(phase))), **own)
        arrays = problem.shaped(amplitudes=run.amplitudes, digital=run.digital)
        amplitudes, digital = arrays["amplitudes"], arrays["digital"]
    else:
        found = solve(
            channel, phase, 1.0, 1.0, constraint=constraint, shared=True, objective=objective,
            **options,
        )  # fmt: skip
        amplitudes, digital = found.amplitudes, found.digital
    if METHODS[options.get("method", "joint")].fully_digital:
        beams = digital
    else:
        beams = (amplitudes[..., :, None] * phase)[..., None, :, :] @ digital
    arriving = np.einsum("...kn,...nk->...k", channel, beams)
    return amplitudes, beams * np.exp(-1j * np.angle(arriving))[..., None, :]
