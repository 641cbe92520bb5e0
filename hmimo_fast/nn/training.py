"""Training without labels: the loss is minus the mean sum rate of freshly drawn channels."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..channels import sparse_mmwave
from ..surface import Surface
from ..writing import try_out
from ..writing import write as write_bytes
from . import ops
from .weights import MODELS, read, write

#: Told after every step: steps done, steps in all, the last validation rate (NaN before it).
Report = Callable[[int, int, float], Any]

# Last entries of the seed sequences: all streams differ, and from that of a plain integer.
_TRAINING, _SAMPLES, _VALIDATION = 1, 2, 3
_VALIDATED = 256  # draws
_WARM_UP = 0.02  # of the steps
_CHECKPOINT = "checkpoint.safetensors"
_LARGEST_GRADIENT = 1.0  # norm; a batch can hold a channel close to singular


@dataclass(frozen=True)
class Training:
    """Settings of a training: everything that determines its bits besides the model.

    Attributes
    ----------
    shapes : sequence of (int, int)
        Surfaces (Nx, Ny), one batch after the other; validation is on the first.
    users, feeds : int or sequence of int
        K and L; two sequences are taken in pairs, each with every surface in turn.
    snr : (float, float)
        Range in dB of power / noise power, drawn uniformly for each channel.
    batch, steps : int
        Channels per step, and steps.
    learning_rate : float
        Adam's, after a short rise; it falls to zero by a cosine.
    samples : int, optional
        Train on this many fixed channels per surface, used again and again; by default every step
        draws new ones.
    check_every : int
        Steps between two validations, each of which is followed by a checkpoint.
    seed : int
        Of the channels; step i draws the same channels whether or not the run was resumed.
    """

    shapes: tuple[tuple[int, int], ...] = ((8, 8),)
    users: int | tuple[int, ...] = 6
    feeds: int | tuple[int, ...] = 6
    snr: tuple[float, float] = (0.0, 20.0)
    batch: int = 64
    steps: int = 1000
    learning_rate: float = 1e-3
    samples: int | None = None
    check_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        # JSON has lists for tuples.
        object.__setattr__(self, "shapes", tuple((int(x), int(y)) for x, y in self.shapes))
        object.__setattr__(self, "snr", tuple(map(float, self.snr)))
        for name in ("users", "feeds"):
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.shapes:
            raise ValueError("shapes: expected one surface (Nx, Ny) at least, got none")
        if len(self.snr) != 2 or not -math.inf < self.snr[0] <= self.snr[1] < math.inf:
            raise ValueError(f"snr: expected two finite values, low and high, got {self.snr}")
        if not 0.0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate: expected a value > 0, got {self.learning_rate}")
        for name in ("users", "feeds", "batch", "steps", "samples", "check_every"):
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (given,):
                if (name, value) != ("samples", None) and (type(value) is not int or value < 1):
                    raise ValueError(f"{name}: expected an integer of at least 1, got {value!r}")
        if _length(self.users) != _length(self.feeds) or not _length(self.users):
            raise ValueError(
                f"users, feeds: expected two integers or as many of each, got {self.users} and "
                f"{self.feeds}"
            )
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed: expected an integer of at least 0, got {self.seed!r}")

    def size(self, step: int) -> tuple[tuple[int, int], int, int]:
        """Surface, users and feeds of a step."""
        turn, at = divmod(step, len(self.shapes))
        users, feeds = (
            each[turn % len(each)] if isinstance(each, tuple) else each
            for each in (self.users, self.feeds)
        )
        return self.shapes[at], users, feeds


def _length(counts: int | tuple[int, ...]) -> int:
    return len(counts) if isinstance(counts, tuple) else 1


@dataclass(frozen=True)
class Recipe:
    """A model and its training, as read from a JSON file.

    Attributes
    ----------
    model : str
        Name of the class.
    config : dict
        Keywords of its constructor.
    training : Training
        Its seed is also that of the initial weights.
    """

    model: str
    config: dict[str, Any]
    training: Training

    def build(self) -> nn.Module:
        """The model with its initial weights."""
        if self.model not in MODELS:
            raise ValueError(f"model: expected one of {', '.join(MODELS)}, got {self.model!r}")
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(self.training.seed)
            return MODELS[self.model](**self.config)


def load_recipe(name: str | PathLike[str]) -> Recipe:
    """A shipped recipe by name, or one of your own by the path of its JSON file.

    Raises
    ------
    ValueError
        If there is no such recipe, or the file is none.

    Examples
    --------
    >>> load_recipe("unrolled_digital").model
    'UnrolledNet'
    """
    shipped = resources.files(__package__).joinpath("recipes")
    if str(name).endswith(".json"):
        file = Path(name)
        if not file.is_file():
            raise FileNotFoundError(f"recipe: no such file: {str(file)!r}")
        text = file.read_bytes()
    else:
        names = sorted(Path(file.name).stem for file in shipped.iterdir())
        if name not in names:
            raise ValueError(
                f"recipe: expected one of {', '.join(names)} or a file .json, got {str(name)!r}"
            )
        text = shipped.joinpath(f"{name}.json").read_bytes()
    try:
        fields = json.loads(text)
        return Recipe(fields["model"], fields["config"], Training(**fields["training"]))
    except (json.JSONDecodeError, UnicodeError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"recipe: {str(name)!r} is none: {error!r}") from None


def train(
    model: nn.Module | str | PathLike[str],
    *,
    folder: str | PathLike[str] | None = None,
    device: str = "cpu",
    report: Report | None = None,
    **settings: Any,
) -> nn.Module:
    """Train a network on the sum rate it reaches, without labels.

    Parameters
    ----------
    model : Module, str or path
        A model, trained in place under its own power constraint; or the name of a shipped
        recipe, or a JSON file like them, for a new one.
    folder : str or path, optional
        Where ``checkpoint.safetensors`` and ``log.csv`` are written at every validation.  An
        interrupted run resumes from the checkpoint there and reaches the same bits.
    device : str
        Where torch computes, for example ``"cuda"``.
    report : callable, optional
        Called as ``report(done, steps, rate)`` after every step, with the validation rate in
        bit/s/Hz: the mean over 256 draws on the first surface at the middle of the SNR range.
    **settings
        The fields of `Training`; those of a recipe where they are not given.

    Returns
    -------
    Module
        The model, in evaluation mode.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of range or unknown, there is no such recipe, or the folder holds
        the checkpoint of another training.
    FloatingPointError
        If a gradient is not finite.

    Notes
    -----
    Unsupervised training as in paper A (arXiv 2504.19522), with Adam.

    Examples
    --------
    >>> from hmimo_fast import nn
    >>> model = nn.MBDNN(constraint="digital")
    >>> model = nn.train(model, shapes=[(4, 4)], users=2, feeds=2, batch=8, steps=3)
    """
    if isinstance(model, nn.Module):
        training = Training(**settings)
    else:
        recipe = load_recipe(model)
        recipe = replace(recipe, training=replace(recipe.training, **settings))
        training, model = recipe.training, recipe.build()
    place = _device(device)
    run = _Run(model.to(place).train(), training, place)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        try_out(Path(folder) / _CHECKPOINT)
        run.resume(Path(folder))
    with torch.random.fork_rng(devices=()):
        while run.done < training.steps:
            run.step()
            if run.done % training.check_every == 0 or run.done == training.steps:
                run.validate()
                if folder is not None:
                    run.keep(Path(folder))
            if report is not None:
                report(run.done, training.steps, run.log[-1]["rate"] if run.log else math.nan)
    return model.eval()


class _Run:
    """The state of a training: its attributes are what a checkpoint holds."""

    def __init__(self, model: nn.Module, training: Training, device: torch.device) -> None:
        self.model, self.training, self.device = model, training, device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        self.done = 0
        self.log: list[dict[str, float]] = []
        self.began = time.perf_counter()
        self.samples: dict[tuple[int, int], np.ndarray] = {}

    def _samples(self, surface: Surface, users: int, samples: int) -> np.ndarray:
        """The fixed channels of a size."""
        size = surface.elements, users
        if size not in self.samples:
            rng = np.random.default_rng([self.training.seed, surface.elements, _SAMPLES])
            drawn = sparse_mmwave(surface, users, samples, rng)
            self.samples[size] = drawn.astype(np.complex64)
        return self.samples[size]

    def step(self) -> None:
        """One batch; its channels, SNRs and everything random follow from seed and step."""
        t = self.training
        shape, users, feeds = t.size(self.done)
        rng = np.random.default_rng([t.seed, self.done, _TRAINING])
        torch.manual_seed(int(rng.integers(2**63)))
        surface = Surface(shape, feeds=feeds)
        if t.samples is None:
            channel = sparse_mmwave(surface, users, t.batch, rng)
        else:
            samples = self._samples(surface, users, t.samples)
            channel = samples[rng.integers(t.samples, size=t.batch)]
        snr = rng.uniform(*t.snr, t.batch)
        loss = -rates(self.model, surface, channel, snr, self.device).mean()
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), _LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"step {self.done}: the gradient is not finite")
        for group in self.optimizer.param_groups:
            group["lr"] = t.learning_rate * _schedule((self.done + 0.5) / t.steps)
        self.optimizer.step()
        self.done += 1

    def validate(self) -> None:
        """The mean rate over the same draws every time, in a new row of the log."""
        surface, channel, snr = validation(self.training)
        with torch.no_grad():
            self.model.eval()
            rate = rates(self.model, surface, channel, snr, self.device).mean().item()
            self.model.train()
        now = time.perf_counter()
        seconds = now - self.began + (self.log[-1]["seconds"] if self.log else 0.0)
        self.began = now
        self.log.append({"step": self.done, "rate": rate, "seconds": round(seconds, 3)})

    def keep(self, folder: Path) -> None:
        """Checkpoint and log, each complete."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        about = {"training": self._about(), "log": self.log, "tensors": _forms(tensors)}
        write(folder / _CHECKPOINT, tensors, about)
        text = io.StringIO()
        rows = csv.DictWriter(text, self.log[0])
        rows.writeheader()
        rows.writerows(self.log)
        write_bytes(folder / "log.csv", text.getvalue().encode())

    def resume(self, folder: Path) -> None:
        """Resume from the checkpoint in the folder, if there is one."""
        file = folder / _CHECKPOINT
        if not file.exists():
            return
        tensors, about = read(file)
        try:
            if about["training"] != self._about():
                raise ValueError("it is of another training")
            # A run that resumes without the optimizer's state would have other bits.
            if about["tensors"] != _forms(tensors):
                raise ValueError("its tensors are not those that were written")
            self._take(tensors)
            self.log = about["log"]
            self.done = int(self.log[-1]["step"])
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"folder: expected a checkpoint of this training, got {str(file)!r}: {error}"
            ) from None

    def _take(self, tensors: dict[str, torch.Tensor]) -> None:
        """Model and optimizer as `keep` wrote them."""
        state: dict[int, dict[str, torch.Tensor]] = {}
        weights = {}
        for key, tensor in tensors.items():
            owner, _, name = key.partition(".")
            if owner == "model":
                weights[name] = tensor
            else:
                index, _, name = name.partition(".")
                state.setdefault(int(index), {})[name] = tensor
        self.model.load_state_dict(weights)
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})

    def _about(self) -> dict[str, Any]:
        """What must be unchanged for a run to resume, as JSON has it."""
        kind = type(self.model).__name__
        config = getattr(self.model, "config", None)
        return json.loads(json.dumps({"model": kind, "config": config, **asdict(self.training)}))


def _forms(tensors: dict[str, torch.Tensor]) -> dict[str, list[Any]]:
    """Dtype and shape of each, as JSON has them."""
    return {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}


def rates(
    model: nn.Module,
    surface: Surface,
    channel: np.ndarray,
    snr: np.ndarray | float,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Sum rates that a model reaches at power 1 over channels (B, K, N), (B,); SNRs in dB."""
    h = torch.from_numpy(channel).to(device, torch.complex64)
    phase = torch.tensor(surface.phase, dtype=torch.complex64, device=device)
    noise = np.broadcast_to(10.0 ** (-np.asarray(snr) / 10.0), len(h))
    noise_power = torch.tensor(noise, dtype=torch.float32, device=device)
    amplitudes, digital = model(h, phase, 1.0, noise_power)
    return ops.sum_rate(h, amplitudes, phase, digital, noise_power)


def validation(training: Training) -> tuple[Surface, np.ndarray, float]:
    """Surface, channels (256, K, N) and SNR in dB that the validation rate is the mean over."""
    shape, users, feeds = training.size(0)
    surface = Surface(shape, feeds=feeds)
    rng = np.random.default_rng([training.seed, 0, _VALIDATION])
    channel = sparse_mmwave(surface, users, _VALIDATED, rng)
    return surface, channel, sum(training.snr) / 2


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: expected one that torch finds, got {name!r}: {error}") from None


def _schedule(done: float) -> float:
    """Share of the learning rate after this share of the steps: a short rise, then a cosine."""
    return min(1.0, done / _WARM_UP) * 0.5 * (1.0 + math.cos(math.pi * done))
