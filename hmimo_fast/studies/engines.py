"""Where chunks are computed: here, in processes, or on a cluster that already exists.

An engine maps a function over tasks and yields what comes back, in any order.  Distribution is
the libraries' own: joblib, dask, ray and submitit.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..files import Arrays
from .chunks import Chunk

#: A chunk's place among the tasks.
Task = tuple[int, Chunk]
#: Its arrays, or what went wrong, as text.
Outcome = tuple[int, Arrays | str]
Compute = Callable[[Chunk], Arrays]
Attempt = Callable[[Task], Outcome]

#: Chunks of one job of a batch system, which takes seconds to start.
_JOB = 64
#: Seconds between looks at a batch system's queue.
_POLL = 2.0


def outcomes(
    engine: str, compute: Compute, tasks: Sequence[Task], folder: Path
) -> Iterator[Outcome]:
    """Compute chunks on an engine.

    Parameters
    ----------
    engine : str
        "serial"; "processes", as many as there are CPUs, or "processes:2"; "dask:ADDRESS" of a
        scheduler; "ray:ADDRESS"; "slurm", an array of jobs, which Slurm's own variables
        (SBATCH_PARTITION, SBATCH_TIMELIMIT) direct; "local", the same jobs on this machine.
    compute : callable
        Chunk -> arrays; importable where it runs.
    tasks : sequence of (int, Chunk)
        What to compute.
    folder : Path
        For the logs of a batch system, on a disk that its nodes share.

    Yields
    ------
    (int, dict or str)
        A task's number with its arrays, or with the traceback of its failure, as they end.

    Raises
    ------
    ValueError
        If there is no such engine.
    ImportError
        If its library is not installed.
    """
    name, _, where = engine.partition(":")
    if name not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    run, package, extra = ENGINES[name]
    try:
        yield from run(partial(attempt, compute), tasks, where, folder)
    except ModuleNotFoundError as error:
        if error.name and error.name.partition(".")[0] == package:
            raise ImportError(f"engine {name!r} needs {package}: pip install {extra}") from error
        raise


def attempt(compute: Compute, task: Task) -> Outcome:
    """Compute one chunk; a failure comes back as text, so that no engine stops for it."""
    index, chunk = task
    try:
        return index, compute(chunk)
    except Exception:
        return index, traceback.format_exc()


def _serial(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Outcome]:
    return map(run, tasks)


def _processes(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Outcome]:
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=int(where or -1), return_as="generator_unordered")
    yield from workers(delayed(run)(task) for task in tasks)


def _dask(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Outcome]:
    from distributed import Client, as_completed

    with Client(where) as client:
        futures = client.map(run, tasks, pure=False)
        for future in as_completed(futures):
            if future.status == "finished":
                yield future.result()


def _ray(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Outcome]:
    from ray.util.multiprocessing import Pool

    with Pool(ray_address=where) as pool:
        yield from pool.imap_unordered(run, tasks)


def _jobs(
    cluster: str, run: Attempt, tasks: Sequence[Task], where: str, folder: Path
) -> Iterator[Outcome]:
    from submitit import AutoExecutor
    from submitit.helpers import as_completed

    executor = AutoExecutor(folder / "jobs", cluster=cluster)
    executor.update_parameters(name="hmimo_fast")
    parts = [tasks[first : first + _JOB] for first in range(0, len(tasks), _JOB)]
    jobs = executor.map_array(partial(_several, run), parts)
    for job in as_completed(jobs, poll_frequency=_POLL):
        if job.exception() is None:
            yield from job.result()


def _several(run: Attempt, tasks: Sequence[Task]) -> list[Outcome]:
    return [run(task) for task in tasks]


#: Engines by name, with the package each needs and what to install for it.
ENGINES: dict[str, tuple[Callable[..., Iterator[Outcome]], str, str]] = {
    "serial": (_serial, "", ""),
    "processes": (_processes, "joblib", "'hmimo_fast[distributed]'"),
    "dask": (_dask, "distributed", "'hmimo_fast[distributed]'"),
    "ray": (_ray, "ray", "ray"),
    "slurm": (partial(_jobs, "slurm"), "submitit", "'hmimo_fast[distributed]'"),
    "local": (partial(_jobs, "local"), "submitit", "'hmimo_fast[distributed]'"),
}
