"""A chunk: some realizations of one setting under one method.  Pure functions of its description.

The same chunk has the same bits on every engine, in every order and with any number of threads;
a chunk does not know the study it is computed for, so that studies share those they have in
common.  Only measured times differ from run to run.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..channels import sparse_mmwave
from ..elements import even_states
from ..files import Arrays
from ..kernels import backend
from ..scheduling import schedule
from ..solvers import METHODS, solve
from ..solvers.network import TORCH_THREADS
from ..surface import Surface
from .description import Method, Setting
from .samples import samples

#: Iterates at which histories are kept, dense where they bend.
ITERATES = np.unique(np.geomspace(1, 3001, 60).astype(int)) - 1
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Chunk:
    """What determines a chunk's arrays, apart from the code.

    Attributes
    ----------
    measure : str
        A key of ``MEASURES``.
    setting : Setting
        Conditions.
    method : Method
        Solver.
    seed, index, size : int
        Channels come from generator(seed, index), ``size`` of them.
    backend : str
        Of the kernels.
    """

    measure: str
    setting: Setting
    method: Method
    seed: int
    index: int
    size: int
    backend: str

    @property
    def name(self) -> str:
        """File name: a hash of all that determines the arrays, labels aside."""
        fields = asdict(self) | {"code": code(self.backend, self.method.solver)}
        del fields["method"]["label"]
        file = weights(self.method, self.setting.constraint)
        if file is not None and _PACKAGE not in file.parents:
            fields["method"]["options"]["model"] = _digest(file, file.stat().st_mtime_ns)
        text = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40] + ".npz"


def code(name: str, solver: str = "") -> dict[str, str]:
    """What computes on a backend: versions, the package's files, and the instructions in use.

    The bits of a result depend on all of it: NumPy's sine too differs between processors.
    """
    told = {
        "hmimo_fast": __version__,
        "files": _files_digest(),
        "numpy": np.__version__,
        "simd": _simd(),
        "products": _products(),
    }
    if name == "native":
        import hmimo_fast.kernels.native as native

        told |= {"kernels": native.source(), "instructions": native.level()}
    if name == "numba":
        told["numba"] = _version("numba")
    if solver and METHODS[solver].is_network:
        told |= {"torch": _version("torch"), "torch's products": _products_of_torch()}
    return told


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


@cache
def _simd() -> str:
    known = np.show_config(mode="dicts").get("SIMD Extensions", {})
    return " ".join(known.get("found", ()))


@cache
def _products() -> str:
    """The BLAS, identified by a result: it chooses its instructions itself without reporting them.

    The product is small enough for one thread of any BLAS.
    """
    real, imag = np.random.default_rng(0).normal(size=(2, 6, 64))
    wave = real + 1j * imag
    gram = wave @ wave.conj().T
    return _bits(gram, np.linalg.inv(gram), gram.astype(np.complex64) @ wave.astype(np.complex64))


@cache
def _products_of_torch() -> str:
    import torch

    numbers = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 16, 64)))
    with TORCH_THREADS.at_most(1):
        products = [torch.matmul(*part).numpy() for part in (
            (numbers[0], numbers[1].T), (numbers[0].float(), numbers[1].T.float())
        )]  # fmt: skip
    return _bits(*products)


def _bits(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:8]


@cache
def _files_digest() -> str:
    """A digest of sources and weights, since a version number stays while the code changes.

    A compiled module reports its sources itself, since no two builds have the same bytes.
    """
    digest = hashlib.sha256()
    for file in sorted(_PACKAGE.rglob("*")):
        if file.suffix in (".py", ".safetensors"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _digest(file: Path, modified: int) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def weights(method: Method, constraint: str) -> Path | None:
    """Where the weights of a method lie, if it is a network; a shipped file may be missing."""
    if not METHODS[method.solver].is_network:
        return None
    name = method.options.get("model", METHODS[method.solver].options["model"].default)
    if name.endswith(".safetensors"):
        return Path(name)
    return _PACKAGE / "nn" / "weights" / f"{name}_{constraint}.safetensors"


def compute(chunk: Chunk) -> Arrays:
    """Measure a chunk.

    Parameters
    ----------
    chunk : Chunk
        R realizations.

    Returns
    -------
    dict of str to ndarray
        The measure's variables, each (R, ...).
    """
    with backend(chunk.backend):
        return MEASURES[chunk.measure](chunk)


@dataclass(frozen=True)
class _Draw:
    """Channels (R, K, N) of a chunk, and the arguments of `solve` or `schedule`."""

    channel: np.ndarray
    phase: np.ndarray
    arguments: dict[str, Any]


def _draw(chunk: Chunk) -> _Draw:
    """Draw the channels; the fully digital reference is given the power that the surface radiates.

    Under `digital` power that may be more than the power, and is found, channel by channel, with
    our amplitudes and beams.
    """
    setting, method = chunk.setting, chunk.method
    side = math.isqrt(setting.elements)
    if side**2 != setting.elements:
        raise ValueError(f"elements: expected a square number, got {setting.elements}")
    surface = Surface(shape=(side, side), feeds=setting.users)
    # All settings see the same draws, so that differences vary less than means.
    rng = np.random.default_rng([chunk.seed, chunk.index])
    channel = sparse_mmwave(surface, setting.users, chunk.size, rng, gain_ratio=setting.gain_ratio)
    arguments: dict[str, Any] = {
        "power": 1.0,
        "noise_power": 10 ** (-setting.snr_db / 10),
        "constraint": setting.constraint,
        "seed": int(rng.integers(2**31)),
    }
    if METHODS[method.solver].fully_digital and setting.constraint == "digital":
        ours = solve(channel, surface.phase, **arguments)
        field = (ours.amplitudes[..., None] * surface.phase) @ ours.digital
        arguments["power"] = np.linalg.norm(field, axis=(-2, -1)) ** 2
    arguments |= {"method": method.solver} | dict(method.options)
    if "bits" in arguments:  # as states: a description holds plain numbers only
        arguments["elements"] = even_states(arguments["elements"], arguments.pop("bits"))
    return _Draw(channel, surface.phase, arguments)


def rates(chunk: Chunk) -> Arrays:
    """Rates of all users, and who is served: in a solve, who has the minimum rate."""
    draw, method, min_rate = _draw(chunk), chunk.method, chunk.setting.min_rate
    if method.search:
        found = schedule(
            draw.channel, draw.phase, min_rate=min_rate, search=method.search, **draw.arguments
        )
        return {"sum_rate": found.sum_rate, "rates": found.rates, "served": found.served}
    solution = solve(draw.channel, draw.phase, **draw.arguments)
    served = solution.rates >= min_rate
    return {"sum_rate": solution.sum_rate, "rates": solution.rates, "served": served}


def runs(chunk: Chunk) -> Arrays:
    """One solve at a time on one thread: the CPU time of each, and the rates of its iterates.

    An iterate that was not reached has the rate of the last one; ``largest_fall`` is the most
    that the rate falls from one iterate to the next.
    """
    draw = _draw(chunk)
    power = np.broadcast_to(draw.arguments["power"], chunk.size)
    found: list[dict[str, Any]] = []
    for channel, each in zip(draw.channel, power, strict=True):
        run = partial(solve, channel, draw.phase, threads=1, **draw.arguments | {"power": each})
        if not found:
            run()  # compiles, loads weights
        # CPU time of the process, since long loops run in a worker thread.
        started = time.process_time()
        solution = run()
        microseconds = 1e6 * (time.process_time() - started)
        history = solution.history[np.isfinite(solution.history)]
        if not history.size:
            history = solution.sum_rate[None]
        steps = max(int(solution.iterations), 1)
        found.append(
            {
                "sum_rate": solution.sum_rate,
                "iterations": steps,
                "microseconds": microseconds,
                "microseconds_an_iteration": microseconds / steps,
                "history": history[np.minimum(ITERATES, history.size - 1)],
                "largest_fall": -np.diff(history).min(initial=0.0),
            }
        )
    return {name: np.array([each[name] for each in found], float) for name in found[0]}


MEASURES: dict[str, Callable[[Chunk], Arrays]] = {"rates": rates, "runs": runs, "samples": samples}
