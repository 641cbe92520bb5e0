"""How long the kernels take compared with the same work in NumPy, PyTorch or JAX.

``python -m hmimo_fast.benchmark SECONDS`` measures for the table of ``hmimo-fast bench``, on one
core, and prints JSON.  A peer is a builder: it takes a workload, converts and compiles what it
needs, and returns a task without arguments, which is what the clock sees.  Data, conversion and
compilation are not timed; a task allocates its own results.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .channels import sparse_mmwave
from .kernels import backend, sum_rate_gradient, wmmse, zero_forcing
from .solvers import solve
from .streams import tell
from .surface import Surface

Task = Callable[[], Any]
Peers = dict[str, Callable[[Any], Task]]

OURS = "hmimo_fast"
#: One thread in every library; they read this when they are loaded.
ONE_THREAD = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB", "NUMBA")},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
_LN2 = float(np.log(2.0))
#: Seconds of a task's turn, at least one call.
_TURN = 5e-3
_FEWEST = 5


class Link(NamedTuple):
    """A batch of links over one surface, or a single one without the dimension B."""

    channel: np.ndarray  # (B, K, N)
    amplitudes: np.ndarray  # (B, N)
    phase: np.ndarray  # (N, L)
    digital: np.ndarray  # (B, L, K)
    noise_power: float


class Precoding(NamedTuple):
    """Channels (B, K, M) to precode for, at power 1."""

    channel: np.ndarray
    noise_power: float = 0.1
    iterations: int = 100


@dataclass(frozen=True)
class Row:
    """One workload: seconds per item of each task, the shortest of every round."""

    workload: str
    rounds: dict[str, list[float]]

    def seconds(self, name: str = OURS) -> float:
        """Shortest time of one item."""
        return min(self.rounds[name])

    def ratio(self, name: str) -> float:
        """A peer's shortest time over ours."""
        return self.seconds(name) / self.seconds()

    def median_ratio(self, name: str) -> float:
        """The same in a typical round."""
        return float(np.median(np.divide(self.rounds[name], self.rounds[OURS])))

    def best(self) -> str | None:
        """The quickest peer."""
        return min((name for name in self.rounds if name != OURS), key=self.seconds, default=None)


def measure(
    tasks: dict[str, Task], seconds: float, items: dict[str, int] | None = None
) -> dict[str, list[float]]:
    """Time tasks in turns, so that other load on the machine affects all of them alike.

    Parameters
    ----------
    tasks : dict of callables
        Each is called once before, untimed.
    seconds : float
        When to stop, after five rounds at least.
    items : dict of int, optional
        Items in a call of each task, 1 by default.

    Returns
    -------
    dict of list of float
        Seconds per item, of the shortest call in each round, by task.

    Examples
    --------
    >>> rounds = measure({"nothing": lambda: None}, seconds=0.0)
    >>> len(rounds["nothing"])
    5
    """
    for task in tasks.values():
        task()
    rounds: dict[str, list[float]] = {name: [] for name in tasks}
    deadline, made = time.perf_counter() + seconds, 0
    gc.collect()
    gc.disable()
    try:
        while made < _FEWEST or time.perf_counter() < deadline:
            for name, task in tasks.items():
                rounds[name].append(_shortest(task) / (items or {}).get(name, 1))
            made += 1
    finally:
        gc.enable()
    return rounds


def _shortest(task: Task) -> float:
    shortest, ended = float("inf"), time.perf_counter()
    until = ended + _TURN
    while ended < until:
        started = time.perf_counter()
        task()
        ended = time.perf_counter()
        shortest = min(shortest, ended - started)
    return shortest


def compare(
    workload: str,
    items: int,
    ours: Task,
    peers: dict[str, Task],
    tolerance: float,
    seconds: float,
) -> Row:
    """Check that all tasks agree with ours, then time them.

    Parameters
    ----------
    workload : str
        Name of the row.
    items : int
        Items per call.
    ours : callable
        Returns an array or several.
    peers : dict of callables
        The same from others; complex conjugates of a result are told apart.
    tolerance : float
        Largest difference, relative to the largest magnitude of each array.
    seconds : float
        As for `measure`.

    Returns
    -------
    Row
        The times.

    Raises
    ------
    ArithmeticError
        If a result differs.
    """
    expected = _arrays(ours())
    for name, task in peers.items():
        results = _arrays(task())
        for index, (result, right) in enumerate(zip(results, expected, strict=True)):
            agree(f"{workload}, result {index}", name, result, right, tolerance)
    tasks = {OURS: ours, **peers}
    return _timed(workload, tasks, seconds, dict.fromkeys(tasks, items))


def _timed(workload: str, tasks: dict[str, Task], seconds: float, items: dict[str, int]) -> Row:
    tell(f"{workload} ...")
    return Row(workload, measure(tasks, seconds, items))


def agree(workload: str, name: str, result: Any, expected: Any, tolerance: float) -> None:
    """Raise ArithmeticError where arrays differ, relative to the largest magnitude."""
    error = np.max(np.abs(result - expected)) / np.max(np.abs(expected))
    if not error <= tolerance:
        raise ArithmeticError(
            f"{workload}: {name} differs by {error:.1e}, expected at most {tolerance:.0e}"
        )


def _arrays(results: Any) -> list[np.ndarray]:
    return [np.asarray(r) for r in (results if isinstance(results, tuple) else (results,))]


def available(peers: Peers) -> Peers:
    """The peers whose library is installed, by the first word of their name."""
    return {name: peer for name, peer in peers.items() if find_spec(name.split()[0].lower())}


def random_link(
    elements: int, users: int, batch: int | None, dtype: type = np.complex128, seed: int = 0
) -> Link:
    """A random workload with K = L; without a batch, one link."""
    rng = np.random.default_rng(seed)
    lead = () if batch is None else (batch,)
    real = np.float32 if dtype is np.complex64 else np.float64

    def gaussian(*shape: int) -> np.ndarray:
        return rng.standard_normal((*shape, 2)).view(complex)[..., 0].astype(dtype)

    return Link(
        gaussian(*lead, users, elements),
        rng.random((*lead, elements)).astype(real),
        np.exp(2j * np.pi * rng.random((elements, users))).astype(dtype),
        gaussian(*lead, users, users),
        0.1 * elements,
    )


def our_gradient(link: Link) -> Task:
    """`hmimo_fast.sum_rate_gradient` on one thread."""
    return lambda: sum_rate_gradient(*link, threads=1)


def numpy_gradient(link: Link, piece: int | None = None) -> Task:
    """Rate and gradients in NumPy, with the products over the elements as one, ``piece`` items
    at a time."""
    channel, amplitudes, phase, digital, noise_power = link
    adjoint_phase = phase.conj().T.copy()
    users, elements = channel.shape[-2:]

    def part(channel: np.ndarray, amplitudes: np.ndarray, digital: np.ndarray) -> Any:
        lead = digital.shape[:-2]
        effective = (channel * amplitudes[..., None, :]).reshape(-1, elements) @ phase
        effective = effective.reshape(digital.mT.shape)
        received = effective @ digital
        power = received.real**2 + received.imag**2
        diagonal = power.reshape(*lead, -1)[..., :: users + 1]
        signal = diagonal.copy()
        diagonal[...] = 0.0
        disturbance = power.sum(-1)
        disturbance += noise_power
        ratio = signal / disturbance
        scale = (2.0 / _LN2) / (disturbance + signal)
        adjoint = received * (-ratio * scale)[..., None]
        adjoint.reshape(*lead, -1)[..., :: users + 1] = (
            received.reshape(*lead, -1)[..., :: users + 1] * scale
        )
        waves = (adjoint @ digital.conj().mT).reshape(-1, phase.shape[1]) @ adjoint_phase
        waves = waves.reshape(channel.shape)
        product = channel.real * waves.real
        product += channel.imag * waves.imag
        rate = np.log1p(ratio).sum(-1) / _LN2
        return rate, product.sum(-2), effective.conj().mT @ adjoint

    if piece is None:
        return lambda: part(channel, amplitudes, digital)
    slices = [slice(begin, begin + piece) for begin in range(0, len(channel), piece)]

    def run() -> Any:
        outcome = (
            np.empty(len(channel), amplitudes.dtype),
            np.empty_like(amplitudes),
            np.empty_like(digital),
        )
        for now in slices:
            results = part(channel[now], amplitudes[now], digital[now])
            for whole, result in zip(outcome, results, strict=True):
                whole[now] = result
        return outcome

    return run


def numpy_gradient_in_pieces(link: Link) -> Task:
    """The same, in pieces of the batch that stay in the cache."""
    return numpy_gradient(link, max(1, 2**14 // link.channel[0].size))


def torch_gradient(link: Link) -> Task:
    """Rate and gradients by PyTorch's autograd, eager, over the whole batch."""
    torch = importlib.import_module("torch")
    channel, amplitudes, phase, digital = (torch.from_numpy(array) for array in link[:4])
    users, elements = channel.shape[-2:]
    amplitudes.requires_grad_()
    digital.requires_grad_()
    others = 1.0 - torch.eye(users, dtype=amplitudes.dtype)

    def run() -> Any:
        effective = (channel * amplitudes[..., None, :]).reshape(-1, elements) @ phase
        received = effective.reshape(digital.mT.shape) @ digital
        power = received.real**2 + received.imag**2
        signal = torch.diagonal(power, dim1=-2, dim2=-1)
        ratio = signal / ((power * others).sum(-1) + link.noise_power)
        rate = torch.log1p(ratio).sum(-1) / _LN2
        gradients = torch.autograd.grad(rate.sum(), (amplitudes, digital))
        return rate.detach(), *gradients

    return run


def jax_gradient(link: Link) -> Task:
    """Rate and gradients by jit(vmap(value_and_grad)) of JAX, data already on the device.

    JAX's gradient in a complex variable is the conjugate of ours; conjugating V turns it, inside
    what is compiled.
    """
    jax = importlib.import_module("jax")
    jnp = importlib.import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)
    channel, amplitudes, phase, digital = (jnp.asarray(array) for array in link[:4])
    others = 1.0 - jnp.eye(phase.shape[1], dtype=amplitudes.dtype)

    def rate(m: Any, conjugate: Any, h: Any) -> Any:
        received = (h * m) @ phase @ conjugate.conj()
        power = received.real**2 + received.imag**2
        disturbance = (power * others).sum(-1) + link.noise_power
        return jnp.log1p(jnp.diagonal(power) / disturbance).sum() / _LN2

    both = jax.value_and_grad(rate, argnums=(0, 1))
    compiled = jax.jit(both if channel.ndim == 2 else jax.vmap(both))

    def run() -> Any:
        value, gradients = jax.block_until_ready(compiled(amplitudes, digital.conj(), channel))
        return value, *gradients

    return run


GRADIENTS: Peers = {
    "NumPy": numpy_gradient,
    "NumPy in pieces": numpy_gradient_in_pieces,
    "torch": torch_gradient,
    "JAX": jax_gradient,
}


def numpy_zero_forcing(problem: Precoding) -> Task:
    """Zero forcing by NumPy's inverse of the Gram matrix, whose trace is the power."""

    def run() -> np.ndarray:
        adjoint = problem.channel.conj().mT
        inverse = np.linalg.inv(problem.channel @ adjoint)
        scale = 1.0 / np.sqrt(np.trace(inverse, axis1=-2, axis2=-1).real)
        return adjoint @ (inverse * scale[:, None, None])

    return run


def numpy_wmmse(problem: Precoding) -> Task:
    """WMMSE over a batch in K x K matrices, V = G^H Psi, so that M enters only twice."""
    channel, noise_power, iterations = problem

    def run() -> np.ndarray:
        adjoint = channel.conj().mT
        gram = channel @ adjoint
        batch, users = gram.shape[:2]
        own = slice(None, None, users + 1)
        psi = np.zeros_like(gram)
        psi.reshape(batch, -1)[:, own] = gram.reshape(batch, -1)[:, own] ** -0.5
        for _ in range(iterations):
            received = gram @ psi
            spent = np.einsum("bij,bij->b", psi.conj(), received).real
            power = received.real**2 + received.imag**2
            signal = power.reshape(batch, -1)[:, own].copy()
            power.reshape(batch, -1)[:, own] = 0.0
            disturbance = power.sum(-1) + (noise_power * spent)[:, None]
            ratio = signal / disturbance
            root, magnitude = np.sqrt(1.0 + ratio), np.sqrt(signal)
            half = root * magnitude / (disturbance + signal)
            system = gram * (half[:, :, None] * half[:, None, :])
            system.reshape(batch, -1)[:, own] += noise_power * (half**2).sum(-1)[:, None]
            target = root * received.reshape(batch, -1)[:, own] / magnitude
            psi = half[:, :, None] * np.linalg.inv(system) * target[:, None, :]
        spent = np.einsum("bij,bij->b", psi.conj(), gram @ psi).real
        return adjoint @ (psi / np.sqrt(spent)[:, None, None])

    return run


ZERO_FORCING: Peers = {"NumPy": numpy_zero_forcing}


def random_channels(users: int, elements: int, batch: int, dtype: type) -> np.ndarray:
    """Independent complex Gaussian channels (B, K, M)."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((batch, users, elements, 2)).view(complex)[..., 0].astype(dtype)


def joint_problem(size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sparse mmWave channels (B, 6, 64) of an 8 x 8 surface, and its phase (64, 6)."""
    surface = Surface(shape=(8, 8), feeds=6)
    return sparse_mmwave(surface, users=6, size=size, seed=seed), surface.phase


def gradient_row(
    elements: int,
    users: int,
    batch: int | None,
    dtype: type,
    seconds: float,
    peers: Peers = GRADIENTS,
) -> Row:
    """Rate and both gradients, K = L, against the peers that are installed."""
    link = random_link(elements, users, batch, dtype)
    single = dtype is np.complex64
    name = (
        f"rate + gradients, N = {elements}, K = L = {users}, "
        f"{'one item' if batch is None else f'batch {batch}'}, {'single' if single else 'double'}"
    )
    tasks = {
        peer: build(link)
        for peer, build in available(peers).items()
        if batch is not None or not peer.endswith("pieces")
    }
    return compare(name, batch or 1, our_gradient(link), tasks, 1e-3 if single else 1e-9, seconds)


def zero_forcing_row(seconds: float, peers: Peers = ZERO_FORCING) -> Row:
    """4096 channels 6 x 64 in single precision."""
    problem = Precoding(random_channels(6, 64, 4096, np.complex64))
    return compare(
        "zero_forcing, 6 × 64, batch 4096, single",
        len(problem.channel),
        lambda: zero_forcing(problem.channel, 1.0, threads=1),
        {name: build(problem) for name, build in available(peers).items()},
        1e-3,
        seconds,
    )


def wmmse_row(seconds: float) -> Row:
    """100 iterations on 20 channels 6 x 64."""
    problem = Precoding(random_channels(6, 64, 20, np.complex128))
    return compare(
        "wmmse, 6 × 64, 100 iterations, batch 20, double",
        len(problem.channel),
        lambda: wmmse(problem.channel, 1.0, problem.noise_power, threads=1),
        {"NumPy": numpy_wmmse(problem)},
        1e-9,
        seconds,
    )


def joint_rows(constraint: str, seconds: float, size: int = 1000) -> list[Row]:
    """`solve` in one batch and one by one, beside its definition in NumPy on a few channels.

    A whole solve is a chaotic function of its input, so what must agree is the mean rate.
    """
    channel, phase = joint_problem(size)
    few, some = channel[:4], channel[:100]
    label = f"solve joint, N = 64, K = L = 6, {constraint}"

    def run(channel: np.ndarray) -> np.ndarray:
        return solve(channel, phase, 1.0, 0.1, constraint=constraint, threads=1).sum_rate

    def define(channel: np.ndarray) -> np.ndarray:
        with backend("numpy"):
            return run(channel)

    agree(label, "NumPy", define(some[:32]).mean(), run(some[:32]).mean(), 1e-2)
    peers = {"NumPy": lambda: define(few)}
    together = {OURS: lambda: run(channel), **peers}
    alone = {OURS: lambda: [run(item) for item in some], **peers}
    items = {"NumPy": len(few)}
    return [
        _timed(f"{label}, batch {size}", together, seconds, {OURS: size, **items}),
        _timed(f"{label}, one at a time", alone, seconds, {OURS: len(some), **items}),
    ]


def short_rows(seconds: float) -> Iterator[Row]:
    """The rows of ``hmimo-fast bench``."""
    yield gradient_row(64, 6, 2048, np.complex128, seconds)
    yield gradient_row(64, 6, 2048, np.complex64, seconds)
    yield gradient_row(64, 6, None, np.complex128, seconds)
    yield gradient_row(1024, 8, 256, np.complex128, seconds)
    yield zero_forcing_row(seconds)
    yield wmmse_row(seconds)
    yield from joint_rows("digital", seconds)
    yield from joint_rows("radiated", seconds)


def pin() -> int:
    """Keep this process, and the threads it starts from now on, on one core; its number."""
    if not hasattr(os, "sched_setaffinity"):
        return 0
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def processor() -> str:
    """Name of the processor, with family and model where the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in text.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in lines}
    name = fields.get("model name", platform.machine())
    if "cpu family" not in fields:
        return name
    return f"{name} (family {fields['cpu family']}, model {fields['model']})"


def main() -> int:
    """Measure the short table on one core and print {workload: {name: seconds per item}}."""
    try:
        pin()
        rows = list(short_rows(float(sys.argv[1])))
    except KeyboardInterrupt:
        return 130
    print(
        json.dumps({row.workload: {name: row.seconds(name) for name in row.rounds} for row in rows})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
