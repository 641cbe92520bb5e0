"""A pool of threads for the slices of a batch.  Backends release the GIL; no OpenMP runtime."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

import numpy as np

#: Slices begin at multiples of this, the most items in a pack of lanes, so that packs stay whole.
PACK = 16

#: Seconds between two looks for signals, which do not wake a waiting thread on every system.
_PATIENCE = 0.1

_local = threading.local()


@cache
def default_threads() -> int:
    """Threads a call may use: ``HMIMO_NUM_THREADS``, else the CPUs this process may run on.

    But no more than ``OMP_NUM_THREADS``, by which joblib and dask give each of their worker
    processes its share, and one in the daemonic processes that PyTorch's loaders and the pools
    of multiprocessing have as workers.
    """
    text = os.environ.get("HMIMO_NUM_THREADS")
    if text is not None:
        if not (text.isdecimal() and int(text) > 0):
            raise ValueError(f"HMIMO_NUM_THREADS: expected a positive integer, got {text!r}")
        return int(text)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.current_process().daemon:
        return 1
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(cpus or 1, int(share)) if share.isdecimal() and int(share) > 0 else cpus or 1


def _mark_worker() -> None:
    _local.worker = True


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(default_threads(), "hmimo_fast", _mark_worker)


if hasattr(os, "register_at_fork"):  # a child inherits the pool but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)
    os.register_at_fork(after_in_child=default_threads.cache_clear)


def run_slices(
    task: Callable[[int, int], object],
    size: int,
    slices: int,
    threads: int,
    told: np.ndarray | None = None,
) -> None:
    """Call ``task(start, stop)`` over contiguous slices of ``range(size)`` on some threads.

    This thread and the workers take slice after slice, so that a worker that wakes late does
    less instead of being waited for.  Inside a worker everything runs here: a worker that
    waited for workers could wait for ever.  Returns, or raises, only when every slice has ended.

    With ``told`` (an int) the main thread lets the workers do all of it, as Python runs the
    handlers of signals there and between its own instructions only.  Where one of them raises,
    as that of Ctrl-C does, ``told`` becomes 1 and the slices left are dropped.
    """
    packs = -(-size // PACK)
    slices = min(slices, packs)
    starts = [PACK * (packs * i // slices) for i in range(slices)]
    left = deque(pairwise([*starts, size]))

    def work() -> None:
        while True:
            try:
                start, stop = left.popleft()
            except IndexError:
                return
            task(start, stop)

    waits = told is not None and threading.current_thread() is threading.main_thread()
    helpers = 0 if getattr(_local, "worker", False) else min(slices, threads) - (not waits)
    workers: list[Future[None]] = []
    try:
        try:
            for _ in range(helpers):
                workers.append(_pool().submit(work))
        except RuntimeError:  # the interpreter is ending, or no thread can start: fewer help
            pass
        if waits and workers:
            while wait(workers, _PATIENCE).not_done:
                pass
        work()
    except BaseException:
        if told is not None:
            told[0] = 1
        raise
    finally:
        left.clear()
        started = [worker for worker in workers if not worker.cancel()]
        wait(started)
    for worker in started:
        worker.result()
