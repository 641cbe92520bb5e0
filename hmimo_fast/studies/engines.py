"""Where chunks are computed: here, in processes, or on a cluster that already exists.

An engine maps a function over tasks and yields what comes back, in any order.  Distribution is
left to joblib, dask, ray and submitit.  joblib's backends for dask and ray are not
used: with the former a task that kills its workers never comes back, with the latter nothing comes
back before everything has.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

from ..files import Arrays, write_arrays
from ..kernels import backend
from .chunks import Chunk, code
from .jobs import cancel, ended, signals_held, stderr_closed

#: A chunk's place among the tasks.
Task = tuple[int, Chunk]
#: Its arrays, or the error as text.
Outcome = tuple[int, Arrays | str]
#: The same with the code that computed it, which older copies of this package leave out.
Attempted = tuple[Any, ...]
Compute = Callable[[Chunk], Arrays]
Attempt = Callable[[Task], Attempted]

_MOST_PROCESSES = 1024
#: Chunks per job of a batch system, where a job takes seconds to start.
_JOB = 64


def check(engine: str) -> None:
    """Refuse an engine that does not exist, or whose library is not installed.

    Parameters
    ----------
    engine : str
        As for `outcomes`.

    Raises
    ------
    ValueError
        If there is no such engine.
    ImportError
        If its library is not installed.
    """
    name, colon, where = engine.partition(":")
    if name not in ENGINES:
        raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {engine!r}")
    known = ENGINES[name]
    if known.where == "ADDRESS" and not where:
        raise ValueError(f"engine: expected {name}:ADDRESS, got {engine!r}")
    if not known.where and colon:
        raise ValueError(f"engine: expected {name} by itself, got {engine!r}")
    if known.where == "COUNT" and colon:
        decimal = where.isascii() and where.isdecimal() and len(where) < 10
        if not decimal or not 1 <= int(where) <= _MOST_PROCESSES:
            raise ValueError(
                f"engine: expected {name}:COUNT, from 1 to {_MOST_PROCESSES}, got {engine!r}"
            )
    if known.package and find_spec(known.package) is None:
        raise ImportError(f"engine {name!r} needs {known.package}: pip install {known.install}")
    if name == "slurm" and which("srun") is None:
        raise ValueError("engine: expected slurm where srun can be run, found none")


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
        For the chunks and the logs of a batch system, on a disk that its nodes share.

    Yields
    ------
    (int, dict or str)
        A task's number with its arrays, or with the traceback of its failure, as they end.
        Arrays that other code computed, or other instructions, are a failure.

    Raises
    ------
    ValueError
        If there is no such engine.
    ImportError
        If its library is not installed.
    OSError
        If it cannot be reached.
    """
    check(engine)
    name, _, where = engine.partition(":")
    chunks = dict(tasks)
    try:
        attempts = ENGINES[name].run(partial(attempt, compute), tasks, where, folder)
        for index, result, *theirs in attempts:
            if not isinstance(result, str):  # nor arrays that would have other bits here
                result = _refusal(chunks[index], *theirs) or result
            yield index, result
    except (ValueError, OSError) as error:
        raise OSError(f"engine: {engine}: {error}") from error


def attempt(compute: Compute, task: Task) -> Attempted:
    """Compute one chunk; a failure comes back as text, so that no engine stops for it."""
    index, chunk = task
    try:
        with backend(chunk.backend):
            return index, compute(chunk), code(chunk.backend, chunk.method.solver)
    except Exception:
        return index, traceback.format_exc(), {}


def _refusal(chunk: Chunk, theirs: dict[str, str] | None = None) -> str:
    """In what the code of a worker differs from the code here; empty if in nothing."""
    ours = code(chunk.backend, chunk.method.solver)
    if theirs == ours:
        return ""
    theirs = theirs or {"hmimo_fast": "unknown, an older copy"}
    differ = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
    sides = (
        ", ".join(f"{name} {side[name]}" for name in differ if name in side)
        for side in (theirs, ours)
    )
    return "refused: the worker has {}; here it is {}".format(*sides)


def _serial(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Attempted]:
    return map(run, tasks)


def _processes(
    run: Attempt, tasks: Sequence[Task], where: str, folder: Path
) -> Iterator[Attempted]:
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=int(where or -1), return_as="generator_unordered")
    yield from workers(delayed(run)(task) for task in tasks)


def _dask(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Attempted]:
    from distributed import Client, as_completed

    with Client(where) as client:
        futures = client.map(run, tasks, pure=False)
        numbers = dict(zip(futures, (number for number, _ in tasks), strict=True))
        for future in as_completed(futures):
            if future.status == "finished":
                yield future.result()
            else:
                yield numbers[future], f"lost: {future.exception()!r}"


def _ray(run: Attempt, tasks: Sequence[Task], where: str, folder: Path) -> Iterator[Attempted]:
    import ray

    with ray.init(where, ignore_reinit_error=True, log_to_driver=False):
        remote = ray.remote(max_retries=0)(lambda task: run(task))  # `studies.run` tries again
        waiting = {remote.remote(task): task[0] for task in tasks}
        while waiting:
            [future], _ = ray.wait(list(waiting))
            number = waiting.pop(future)
            try:
                yield ray.get(future)
            except ray.exceptions.RayError as error:
                yield number, f"lost: {error!r}"


def _jobs(
    cluster: str, run: Attempt, tasks: Sequence[Task], where: str, folder: Path
) -> Iterator[Attempted]:
    from submitit import AutoExecutor

    executor = AutoExecutor(folder / "jobs", cluster=cluster)
    executor.update_parameters(name="hmimo_fast")
    parts = [tasks[first : first + _JOB] for first in range(0, len(tasks), _JOB)]
    jobs: list[Any] = []
    try:
        with signals_held(), stderr_closed():
            jobs = executor.map_array(partial(_several, run, folder), parts)
        for number, lost in ended(jobs):
            job = jobs[number]
            error = lost or job.exception()
            if error is None:
                yield from job.result()
            else:
                yield from ((index, f"job {job.job_id}: {error}") for index, _ in parts[number])
    finally:
        cancel(jobs)


def _several(run: Attempt, folder: Path, tasks: Sequence[Task]) -> list[Attempted]:
    """Chunks one after the other, each saved at once, since a job may be killed at any time."""
    found = []
    for task in tasks:
        attempted = run(task)
        if not isinstance(attempted[1], str):
            # The name includes the code, so that no other copy's result is taken for ours.
            write_arrays(folder / task[1].name, attempted[1])
        found.append(attempted)
    return found


class Engine(NamedTuple):
    """How it runs, the package it needs, what to install, and what follows its name and a colon."""

    run: Callable[[Attempt, Sequence[Task], str, Path], Iterator[Attempted]]
    package: str = ""
    install: str = ""
    where: str = ""


_DISTRIBUTED = "'hmimo_fast[distributed]'"
ENGINES = {
    "serial": Engine(_serial),
    "processes": Engine(_processes, "joblib", _DISTRIBUTED, "COUNT"),
    "dask": Engine(_dask, "distributed", _DISTRIBUTED, "ADDRESS"),
    "ray": Engine(_ray, "ray", "ray", "ADDRESS"),
    "slurm": Engine(partial(_jobs, "slurm"), "submitit", _DISTRIBUTED),
    "local": Engine(partial(_jobs, "local"), "submitit", _DISTRIBUTED),
}
