"""A trained network's amplitudes and beams, and `joint` from there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from ..kernels import sum_rate
from ..kernels.threads import default_threads
from .problem import Found, Problem
from .variable_projection import joint

if TYPE_CHECKING:
    from torch import nn

#: Items the network sees at a time, which bounds the memory of its layers.
_BATCH = 256


def mbdnn(problem: Problem, start: np.ndarray, *, model: str = "mbdnn", polish: int = 0) -> Found:
    """Shipped weights of paper A's network, or of ours with ``model="unrolled"``.

    ``model`` may also be the file .safetensors that `hmimo_fast.nn.save` wrote of another one.
    The network takes no start, and weighs all users alike.  ``polish`` iterations of the second
    stage of `joint` follow from its amplitudes, with the weights of the problem; where they do
    not raise the rate, what the network gave stays.
    """
    p = problem
    if p.channel.shape[-3] > 1:
        raise ValueError(
            f"channel: expected one channel an item for a network, got F = {p.channel.shape[-3]}"
        )
    found = _infer(p, _network(model, "radiated" if p.radiated else "digital"))
    if polish == 0:
        return found
    polished = joint(p, found.amplitudes, zf_iterations=0, iterations=polish)
    worse = ~(_rate(p, polished) >= _rate(p, found))
    return replace(
        polished,
        amplitudes=np.where(worse[..., None], found.amplitudes, polished.amplitudes),
        digital=np.where(worse[..., None, None, None], found.digital, polished.digital),
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


def _infer(problem: Problem, network: nn.Module) -> Found:
    """What the network gives for every item; the kernels find those that are not finite."""
    import torch

    p, core = problem, problem.channel.shape[-2:]
    items = int(np.prod(p.batch))
    channel = np.broadcast_to(p.channel[..., 0, :, :], (*p.batch, *core)).reshape(items, *core)
    finite = np.isfinite(channel).all(axis=(-2, -1))
    channel = np.where(finite[:, None, None], channel, 0.0).astype(channel.dtype)
    power, noise_power = (
        np.broadcast_to(np.asarray(value, float), p.batch).reshape(items)
        for value in (p.power, p.noise_power)
    )
    amplitudes = np.empty((items, core[1]), channel.real.dtype)
    digital = np.empty((items, p.feeds, p.users), channel.dtype)
    phase = torch.from_numpy(np.array(p.phase[0], channel.dtype))
    with _TORCH_THREADS.at_most(p.threads or default_threads()), torch.no_grad():
        for at in (slice(begin, begin + _BATCH) for begin in range(0, items, _BATCH)):
            m, v = network(
                torch.from_numpy(channel[at]), phase,
                torch.tensor(power[at]), torch.tensor(noise_power[at]),
            )  # fmt: skip
            amplitudes[at], digital[at] = m.numpy(), v.numpy()
    digital[~finite] = np.nan
    none = np.zeros(p.batch, np.int64)
    return Found(
        amplitudes.reshape(*p.batch, core[1]),
        digital.reshape(*p.batch, 1, p.feeds, p.users),
        iterations=none,
        converged=none.astype(bool),
        history=np.full((*p.batch, 1), np.nan),
    )


def _rate(problem: Problem, found: Found) -> np.ndarray:
    p = problem
    return sum_rate(
        p.channel[..., 0, :, :], found.amplitudes, p.phase[0], found.digital[..., 0, :, :],
        p.noise_power, p.weights, threads=p.threads,
    )  # fmt: skip


class _TorchThreads:
    """The number of torch's threads, changed for a while by several threads of Python at once.

    A new thread starts from the number that any other set last.  So the first to come notes the
    number before, and each goes back to that.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = self._before = 0

    @contextmanager
    def at_most(self, threads: int) -> Iterator[None]:
        import torch

        with self._lock:
            if self._inside == 0:
                self._before = torch.get_num_threads()
            self._inside += 1
            torch.set_num_threads(threads)
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                torch.set_num_threads(self._before)


_TORCH_THREADS = _TorchThreads()
