"""A trained network's amplitudes and beams, and `joint` from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.threads import default_threads, run_slices
from ..problem import Problem
from .found import Found, Run
from .variable_projection import joint

if TYPE_CHECKING:
    from torch import nn

#: Items per call of the network, whatever the number of threads, since bits depend on the size of
#: the batch and on the number of torch's threads.  A multiple of what it designs at once.
_BATCH = 128


def mbdnn(problem: Problem, start: np.ndarray, *, model: str = "mbdnn", polish: int = 0) -> Run:
    """Shipped weights of paper A's network, or of ours with ``model="unrolled"``.

    ``"untrained"`` are those that the training of paper A's began from.  ``model`` may also be the
    file .safetensors that `hmimo_fast.nn.save` wrote of another one.
    The network takes no start, and weighs all users alike.  ``polish`` iterations of the second
    stage of `joint` follow from its amplitudes, with the weights of the problem; where they do
    not raise the rate, what the network gave stays.
    """
    p = problem
    if p.channel.shape[1] > 1:
        raise ValueError(
            f"channel: expected one channel an item for a network, got F = {p.channel.shape[1]}"
        )
    found = _infer(p, _network(model, p.constraint))
    if polish == 0:
        return found
    polished = joint(p, found.amplitudes, zf_iterations=0, iterations=polish)
    better = Found.of(p, polished).beats(Found.of(p, found))
    return polished._replace(
        amplitudes=np.where(better[:, None], polished.amplitudes, found.amplitudes),
        digital=np.where(better[:, None, None, None], polished.digital, found.digital),
    )


def _network(model: str, constraint: str) -> nn.Module:
    file = Path(model)
    if file.suffix != ".safetensors":
        return _pretrained(model, constraint)
    network = _loaded(file, file.stat().st_mtime_ns)
    if network.constraint != constraint:
        raise ValueError(
            f"model: expected a network for {constraint!r} power, got one for "
            f"{network.constraint!r} in {model!r}"
        )
    return network


@cache
def _loaded(file: Path, modified: int) -> nn.Module:
    from .. import nn as networks

    return networks.load(file)


@cache
def _pretrained(name: str, constraint: str) -> nn.Module:
    from .. import nn as networks  # torch is an extra

    return networks.load_pretrained(name, constraint)


def _infer(problem: Problem, network: nn.Module) -> Run:
    """What the network gives for every item; the kernels find those that are not finite."""
    import torch

    p, core = problem, problem.channel.shape[2:]
    channel = np.broadcast_to(p.channel[:, 0], (p.size, *core))
    channel = np.where(p.finite[:, None, None], channel, 0).astype(channel.dtype)
    amplitudes = np.empty((p.size, p.elements), channel.real.dtype)
    digital = np.empty((p.size, 1, p.feeds, p.users), channel.dtype)
    phase = torch.from_numpy(p.phase[0].astype(channel.dtype))

    def infer(start: int, stop: int) -> None:
        at = slice(start, stop)
        with TORCH_THREADS.at_most(1), torch.no_grad():
            m, v = network(
                torch.from_numpy(channel[at]), phase,
                torch.from_numpy(p.power[at]), torch.from_numpy(p.noise_power[at]),
            )  # fmt: skip
            amplitudes[at], digital[at, 0] = m.numpy(), v.numpy()

    run_slices(infer, p.size, -(-p.size // _BATCH), p.threads or default_threads())
    digital[~p.finite] = np.nan
    none = np.zeros(p.size, np.int64)
    return Run(amplitudes, digital, none, none.astype(bool), np.full((p.size, 1), np.nan))


class _TorchThreads:
    """The number of torch's threads, changed for a while by several threads of Python at once.

    A new thread starts from the number that any thread set last.  So the first to enter notes the
    number before, and all restore that.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = self._before = 0

    @contextmanager
    def at_most(self, threads: int) -> Iterator[None]:
        import torch

        with self._lock:
            # A thread that never asked would take the number of others when it first does.
            now = torch.get_num_threads()
            if self._inside == 0:
                self._before = now
            self._inside += 1
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                torch.set_num_threads(self._before)


TORCH_THREADS = _TorchThreads()
