"""Run a study: plan its chunks, compute those that are missing, and put them together."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import Arrays, read_arrays, write_arrays
from ..kernels import get_backend
from ..writing import try_out
from .chunks import ITERATES, Chunk, code, compute, weights
from .dataset import meaning
from .description import Method, Study
from .engines import Compute, outcomes
from .samples import SEEN
from .trained import joined, measured, trainings

if TYPE_CHECKING:
    from xarray import Dataset

#: Attempts at a chunk that fails.
ATTEMPTS = 3


class ChunksFailedError(RuntimeError):
    """No chunk of a study could be computed: there is no result."""


Progress = Callable[[int, int], object]
Report = Callable[[str], object]


def run(
    study: Study,
    folder: Path,
    realizations: int = 1000,
    seed: int = 0,
    engine: str = "processes",
    progress: Progress = lambda done, total: None,
    report: Report = lambda text: None,
    compute: Compute = compute,
) -> Dataset:
    """Measure a study, going on where an earlier run in the same folder ended.

    Every chunk is written as it is finished, under a name that tells all that determines it.
    Killed at any moment and started again, the run computes what is missing, and the result is
    the same to the bit; a changed setting has other names.

    Parameters
    ----------
    study : Study
        What to measure; methods that cannot run here are left out, and reported.  Of networks that
        are not shipped the dataset has what was measured when they were trained.
    folder : Path
        For the chunks, made if need be.
    realizations : int
        Of each point, up to the study's most; whole chunks are computed.
    seed : int
        Of all draws.
    engine : str
        Where, see `engines.outcomes`.
    progress : callable
        Called as ``progress(done, total)`` with numbers of chunks.
    report : callable
        Called with a line for what is left out, fails, or is tried again.
    compute : callable
        Chunk -> arrays.

    Returns
    -------
    Dataset
        Chunks that failed every time are NaN in it and counted in ``attrs["failed"]``.

    Raises
    ------
    ValueError
        If there is no such engine.
    ImportError
        If its library or xarray is not installed.
    ChunksFailedError
        If all chunks failed.
    """
    others = measured(study, folder)
    rest = tuple(method for method in study.methods if method.label not in others)
    study = replace(study, methods=_runnable(replace(study, methods=rest), report))
    realizations = min(realizations, study.most or realizations)
    chunks = _plan(study, realizations, seed)
    dataset = _blank(study, realizations, seed)
    folder = folder / "chunks"
    folder.mkdir(parents=True, exist_ok=True)
    try_out(folder / "chunk.npz")
    found: dict[_Place, Arrays] = {}
    error = ""
    missing = dict(chunks)
    for _ in range(ATTEMPTS):
        found |= (kept := _kept(study, missing, folder))
        for place in kept:
            del missing[place]
        if not missing:
            break
        progress(len(found), len(chunks))
        places, tasks = list(missing), list(enumerate(missing.values()))
        try:
            for index, outcome in outcomes(engine, compute, tasks, folder):
                chunk = chunks[places[index]]
                if isinstance(outcome, str):
                    error = outcome
                    report(f"{study.id}: {_failure(chunk, error)}")
                    continue
                write_arrays(folder / chunk.name, outcome)
                found[places[index]] = outcome
                missing.pop(places[index], None)
                progress(len(found), len(chunks))
        except (ImportError, ValueError, OSError):
            raise
        except Exception as lost:  # of a library that lost its workers; saved chunks stay
            error = f"{type(lost).__name__}: {lost}"
            report(f"{study.id}: the engine stopped: {error}")
    failed = len(chunks) - len(found)
    if chunks and not found:
        raise ChunksFailedError(f"{study.id}: all {failed} chunks failed {ATTEMPTS} times\n{error}")
    if failed:
        report(f"{study.id}: {failed} of {len(chunks)} chunks failed {ATTEMPTS} times\n{error}")
    progress(len(chunks), len(chunks))
    _fill(dataset, study, found)
    dataset.attrs["failed"] = failed
    dataset.attrs["training"] = trainings(study, others)
    for other in others.values():
        dataset = joined(dataset, other)
    return dataset


def _runnable(study: Study, report: Report) -> tuple[Method, ...]:
    lacks = {method.label: lacking(method, study.base.constraint) for method in study.methods}
    for label, reason in lacks.items():
        if reason:
            report(f"{study.id}: {label} is left out: {reason}")
    return tuple(method for method in study.methods if not lacks[method.label])


def _failure(chunk: Chunk, error: str) -> str:
    where = f"chunk {chunk.index} of {chunk.method.label} at {chunk.setting}"
    return f"{where} failed: {error.strip().splitlines()[-1]}"


def lacking(method: Method, constraint: str) -> str:
    """What a method needs and is missing here; empty if it can run."""
    file = weights(method, constraint)
    if file is None:
        return ""
    if find_spec("torch") is None:
        return "it needs torch: pip install 'hmimo_fast[nn]'"
    return "" if file.exists() else f"its weights {file.name} are not shipped, see --train"


#: Dimensions of a variable beyond the realizations.
_INNER = {"rates": ("user",), "served": ("user",), "history": ("iterate",),
          "course": ("channels_seen",)}  # fmt: skip
#: Position along the axes, number of the method, number of the chunk.
_Place = tuple[tuple[int, ...], int, int]


def _plan(study: Study, realizations: int, seed: int) -> dict[_Place, Chunk]:
    return {
        (place, number, index): Chunk(
            study.measure, setting, method, seed, index, study.chunk, get_backend()
        )
        for index in range(-(-realizations // study.chunk))
        for place, setting in study.points()
        for number, method in enumerate(study.methods)
    }


def _kept(study: Study, chunks: dict[_Place, Chunk], folder: Path) -> dict[_Place, Arrays]:
    """Chunks that lie in the folder, from an earlier run or a job, but for damaged ones."""
    kept = {}
    for place, chunk in chunks.items():
        file = folder / chunk.name
        if not file.exists():
            continue
        try:
            arrays = read_arrays(file)
        except ValueError:
            continue
        if _is_whole(study, chunk, arrays):
            kept[place] = arrays
    return kept


def _is_whole(study: Study, chunk: Chunk, arrays: Arrays) -> bool:
    """Whether the study finds all that it needs."""
    labels = _inner_labels(study)
    shapes = {
        name: (chunk.size, *(len(labels[inner]) for inner in _INNER.get(name, ())))
        for name in study.variables
    }
    return all(
        name in arrays and arrays[name].shape == shape and arrays[name].dtype.kind in "biuf"
        for name, shape in shapes.items()
    )


def _inner_labels(study: Study) -> dict[str, np.ndarray]:
    return {
        "user": np.arange(1, study.base.users + 1),
        "iterate": ITERATES,
        "channels_seen": SEEN,
    }


def _blank(study: Study, realizations: int, seed: int) -> Dataset:
    """The dataset with all numbers NaN."""
    from xarray import Dataset

    axes: dict[str, Any] = {name: np.array(values) for name, values in study.axes().items()}
    axes["method"] = np.array([method.label for method in study.methods])
    axes["realization"] = np.arange(realizations)
    labels = _inner_labels(study)
    dimensions = {name: (*axes, *_INNER.get(name, ())) for name in study.variables}
    coordinates = axes | {
        name: labels[name] for dims in dimensions.values() for name in dims if name in labels
    }
    sizes = {name: len(labels) for name, labels in coordinates.items()}
    variables = {
        name: (dims, np.full([sizes[dimension] for dimension in dims], np.nan), meaning(name))
        for name, dims in dimensions.items()
    }
    attributes = {
        "study": study.id,
        "title": study.title,
        "source": study.source,
        "seed": seed,
        "realizations": realizations,
        "chunk": study.chunk,
        "setting": asdict(study.base),
        "methods": [asdict(method) for method in study.methods],
        "versions": code(get_backend()) | {"python": platform.python_version()},
        "backend": get_backend(),
    }
    labelled = {name: (name, labels, meaning(name)) for name, labels in coordinates.items()}
    return Dataset(variables, labelled, attributes)


def _fill(dataset: Dataset, study: Study, found: dict[_Place, Arrays]) -> None:
    for (place, number, index), arrays in found.items():
        first = index * study.chunk
        count = min(study.chunk, dataset.sizes["realization"] - first)
        where = (*place, number, slice(first, first + count))
        for name in study.variables:
            dataset[name].values[where] = arrays[name][:count]
