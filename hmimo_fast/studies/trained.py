"""Networks that are too large to ship: trained on request, or their rates as they were measured.

A study has one dataset for each, beside its own in the folder of a run with ``--train``, else
committed in ``studies/data``; either holds the training too: its channels, time and memory.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..solvers import METHODS, solve
from ..writing import write
from .chunks import weights
from .dataset import load, save
from .description import Method, Study

if TYPE_CHECKING:
    from xarray import Dataset

#: Of the trainings behind this package's figures.
COMMITTED = Path(__file__).parent / "data"
_MODEL = "model.safetensors"

Begin = Callable[[str], Callable[[int, int], object]]
Measure = Callable[[Study, str], "Dataset"]


def train(study: Study, folder: Path, begin: Begin, measure: Measure) -> None:
    """Train the networks of a study that are not shipped, and write a dataset for each.

    A training goes on where an earlier one in the same folder ended, and so does what follows.

    Parameters
    ----------
    study : Study
        Networks are those of its methods; its points those at which they are measured.
    folder : Path
        Trainings go to ``networks`` there, datasets to ``STUDY_NETWORK.h5``.
    begin : callable
        Label -> progress(done, total) in steps.
    measure : callable
        Study of one method, and what to call it -> dataset, as `run` does it.

    Raises
    ------
    ImportError
        If torch, xarray or h5netcdf is not installed.
    ValueError
        If a network has no recipe, or the folder holds the training of another one.
    """
    for method in filter(lambda method: _absent(method, study), study.methods):
        name = _recipe(method, study)
        where = folder / "networks" / name
        training = learn(name, where, begin(f"{study.id}: training {method.label}"))
        mine = replace(method, options={**method.options, "model": str(where / _MODEL)})
        grids = tuple(_of_size(grid, training["config"]) for grid in study.grids)
        dataset = measure(
            replace(study, methods=(mine,), grids=grids), f"{study.id}: {method.label}"
        )
        dataset.attrs.update(methods=[asdict(method)], training=training)
        save(dataset, folder / _file(method, study))


def learn(name: str, folder: Path, progress: Callable[[int, int], object]) -> dict[str, Any]:
    """Train by a recipe in a folder, or read what a finished training there took.

    Returns
    -------
    dict
        The recipe's ``model``, ``config`` and fields, ``parameters``, ``log`` (steps done,
        validation rate in bit/s/Hz, seconds), ``goal``, what WMMSE-HBF reaches in 300 sweeps on
        the same channels, ``bytes``, the most memory of the process, and ``versions``.
    """
    import torch

    from .. import __version__, nn
    from ..nn.training import load_recipe, validation

    recipe = load_recipe(name)
    model = nn.train(name, folder=folder, report=lambda done, steps, rate: progress(done, steps))
    nn.save(model, folder / _MODEL, asdict(recipe.training))
    file = folder / "training.json"
    if not file.exists():
        surface, channel, snr = validation(recipe.training)
        goal = solve(
            channel, surface.phase, 1.0, 10 ** (-snr / 10), "wmmse_hbf", model.constraint
        ).sum_rate.mean()
        log = folder / "log.csv"
        try:
            rows = np.loadtxt(log, delimiter=",", skiprows=1, ndmin=2)
        except ValueError as error:
            raise ValueError(f"{log}: expected the log of a training: {error}") from None
        about = {
            "model": recipe.model,
            "config": recipe.config,
            "training": asdict(recipe.training),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "log": rows.tolist(),
            "goal": float(goal),
            "bytes": _most_memory(),
            "threads": torch.get_num_threads(),
            "versions": {"hmimo_fast": __version__, "torch": torch.__version__},
        }
        write(file, f"{json.dumps(about, indent=1)}\n".encode())
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["training"] != json.loads(json.dumps(asdict(recipe.training))):
            raise ValueError("it is of another training")
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: expected what a training of {name} took: {error!r}") from None
    return known


def measured(study: Study, folder: Path) -> dict[str, Dataset]:
    """Datasets of the networks that are not shipped, by label: this folder's, else committed."""
    if find_spec("h5netcdf") is None:
        return {}
    found = {}
    for method in filter(lambda method: _absent(method, study), study.methods):
        files = (place / _file(method, study) for place in (folder, COMMITTED))
        file = next(filter(Path.exists, files), None)
        if file is not None:
            found[method.label] = load(file, study)
    return found


def trainings(study: Study, others: Mapping[str, Dataset]) -> dict[str, Any]:
    """What is known of the training of each of a study's networks, by label."""
    files = {
        method.label: COMMITTED / f"{_recipe(method, study)}.json"
        for method in study.methods
        if METHODS[method.solver].is_network and study.measure != "samples"
    }
    shipped = {
        label: json.loads(file.read_text(encoding="utf-8"))
        for label, file in files.items()
        if file.exists() and label not in others
    }
    return shipped | {label: other.attrs["training"] for label, other in others.items()}


def joined(dataset: Dataset, other: Dataset) -> Dataset:
    """A dataset with one more method, NaN where the other has nothing, and a note of its budget.

    Parameters
    ----------
    dataset : Dataset
        Of a study.
    other : Dataset
        Of the same study, with one method.

    Returns
    -------
    Dataset
    """
    from xarray import concat

    (label,) = other["method"].values.tolist()
    rest = {name: index for name, index in dataset.indexes.items() if name != "method"}
    whole = concat(
        [dataset, other[list(dataset.data_vars)].reindex(rest)], "method", combine_attrs="override"
    )
    return whole.assign_attrs(
        methods=dataset.attrs["methods"] + other.attrs["methods"],
        notes=dataset.attrs.get("notes", {}) | {label: _note(dataset, other)},
    )


def _recipe(method: Method, study: Study) -> str:
    """Of the recipe by which the network of a method is trained."""
    return f"{method.options.get('model', 'mbdnn')}_{study.base.constraint}"


def _absent(method: Method, study: Study) -> bool:
    file = weights(method, study.base.constraint)
    return file is not None and not file.exists()


def _file(method: Method, study: Study) -> str:
    return f"{study.id}_{method.options['model']}.h5"


def _of_size(grid: Mapping[str, tuple[Any, ...]], config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a grid at which a network can run that is of one size."""
    return {
        name: tuple(value for value in values if config.get(name, value) == value)
        for name, values in grid.items()
    }


def _note(dataset: Dataset, other: Dataset) -> str:
    """The budget of a training, and the realizations where they are others than the dataset's."""
    about, its = dataset.attrs, other.attrs
    steps, _, seconds = its["training"]["log"][-1]
    channels = steps * its["training"]["training"]["batch"]
    note = f"{channels / 1e3:.3g} k channels, {seconds / 60:.2g} min"
    if its["seed"] == about["seed"] and its["realizations"] >= about["realizations"]:
        return note
    return f"{note}; {its['realizations']} realizations, seed {its['seed']}"


def _most_memory() -> int | None:
    """Largest resident memory of this process so far, bytes; None where that is not told."""
    if find_spec("resource") is None:
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
