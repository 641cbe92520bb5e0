"""Jobs of a batch system: wait for each, and cancel those left."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

#: Seconds between looks at the results on the disk, and at Slurm's queue.
_POLL, _LOOK = 2.0, 10.0
#: Seconds after which a job that is in no queue, and has no result on the disk, is lost.
_GRACE = 30.0


@contextmanager
def signals_held() -> Iterator[None]:
    """Signals that Python handles are handled at the end.

    Jobs that have begun by then are known to who cancels them.
    """
    came: list[int] = []
    handlers: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))
        handlers = {each: signal.getsignal(each) for each in numbers}
        handlers = {each: handler for each, handler in handlers.items() if callable(handler)}
    for each in handlers:
        signal.signal(each, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def stderr_closed() -> Iterator[None]:
    """Processes that start meanwhile have no stderr for the tracebacks of their cancellation."""
    try:
        kept = os.dup(2)
    except OSError:  # there is none
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def ended(jobs: Sequence[Any]) -> Iterator[tuple[int, str]]:
    """Wait for jobs of submitit's.

    Without Slurm's accounting submitit never notices that a job was killed;
    here it ends when it has been out of the queue for a while without a result.

    Parameters
    ----------
    jobs : sequence of submitit.Job
        Of one array.

    Yields
    ------
    (int, str)
        The number of a job as it ends, and why it is given up, if it is.
    """
    left = dict(enumerate(jobs))
    seen = dict.fromkeys(left, time.monotonic())
    looked = time.monotonic()
    while left:
        for number in [number for number, job in left.items() if job.done()]:
            del left[number]
            yield number, ""
        now = time.monotonic()
        if now - looked > _LOOK:
            queue, looked = _queue(jobs), now
            seen |= {number: now for number, job in left.items() if _is_held(job, queue)}
        for number in [number for number in left if now - seen[number] > _GRACE]:
            del left[number]
            yield number, "it left the queue without a result"
        if left:
            time.sleep(_POLL)


def cancel(jobs: Sequence[Any]) -> None:
    """Cancel those that have not ended; of Slurm's the whole array at once."""
    left = [job for job in jobs if not job.done()]
    if left and _is_slurm(left[0]):
        array = _array(left)
        try:
            subprocess.run(["scancel", array], check=True, capture_output=True, timeout=10)
        except (OSError, subprocess.SubprocessError) as error:
            warnings.warn(f"Slurm job {array} goes on: {error}", stacklevel=2)
        return
    for job in left:
        job.cancel()


def _is_slurm(job: Any) -> bool:
    return type(job).__name__ == "SlurmJob"


def _array(jobs: Sequence[Any]) -> str:
    return str(jobs[0].job_id).partition("_")[0]


def _queue(jobs: Sequence[Any]) -> set[str] | None:
    """Jobs that Slurm has not ended; None where it does not tell."""
    if not _is_slurm(jobs[0]):
        return None
    command = ["squeue", "--noheader", "--array", "--format=%i", "--jobs", _array(jobs)]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    # squeue fails for an array that has left the queue.
    if told.returncode and "Invalid job id" not in told.stderr:
        return None
    return set(told.stdout.split())


def _is_held(job: Any, queue: set[str] | None) -> bool:
    return job.state != "UNKNOWN" if queue is None else job.job_id in queue
