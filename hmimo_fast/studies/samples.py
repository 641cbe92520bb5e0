"""How many channels a network sees until it matches WMMSE-HBF: a training for each realization."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import Arrays
from ..solvers import solve

if TYPE_CHECKING:
    import torch
    from torch import nn

    from .chunks import Chunk

#: Channels seen at which the rate of a training is recorded.
SEEN = np.array([0, *(100 * 2 ** np.arange(15))])


def samples(chunk: Chunk) -> Arrays:
    """Trainings by the recipe that the method names, of seeds that follow from the chunk's.

    Each ends as soon as the validation rate is what WMMSE-HBF reaches in 300 sweeps over the same
    channels, or with the recipe.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runs = [
            _training(chunk, 1000 * chunk.seed + chunk.index * chunk.size + i)
            for i in range(chunk.size)
        ]
    finally:
        torch.set_num_threads(threads)
    return {name: np.array([run[name] for run in runs], float) for name in runs[0]}


class _Matched(Exception):
    """The network is where it should come."""


def _training(chunk: Chunk, seed: int) -> dict[str, Any]:
    import torch

    from ..nn.training import load_recipe, rates, train, validation

    recipe = load_recipe(chunk.method.options["recipe"])
    recipe = replace(recipe, training=replace(recipe.training, seed=seed))
    training, model = recipe.training, recipe.build()
    surface, channel, snr = validation(training)
    noise_power = 10 ** (-snr / 10)
    goal = solve(
        channel, surface.phase, 1.0, noise_power, "wmmse_hbf", model.constraint, tolerance=0.0
    ).sum_rate.mean()
    with torch.no_grad():
        course = {0: rates(model, surface, channel, snr).mean().item() / goal}
    began = time.thread_time()

    def report(done: int, steps: int, rate: float) -> None:
        if done % training.check_every == 0 or done == steps:
            course[done * training.batch] = rate / goal
            if rate >= goal:
                raise _Matched

    if course[0] < 1.0:
        try:
            train(model, report=report, **vars(training))
        except _Matched:
            pass

    def step() -> torch.Tensor:
        return rates(model.train(), surface, channel[: training.batch], snr)

    seen, shares = np.array([*course]), np.array([*course.values()])
    last = shares[np.searchsorted(seen, SEEN, "right") - 1]
    return {
        "course": np.where((SEEN <= seen[-1]) | (shares[-1] >= 1.0), last, np.nan),
        "share": shares[-1],
        "samples": seen[-1] if shares[-1] >= 1.0 else np.nan,
        "seen": seen[-1],
        "seconds": time.thread_time() - began,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "megabytes": _bytes(model, step) / 1e6,
    }


def _bytes(model: nn.Module, step: Callable[[], torch.Tensor]) -> int:
    """What a step holds: weights, their gradients, Adam's two moments, and what is kept to go back.

    Of the last, every tensor once.
    """
    from torch.autograd.graph import saved_tensors_hooks

    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    held = [*kept.values(), *4 * [*model.parameters()]]
    return sum(tensor.numel() * tensor.element_size() for tensor in held)
