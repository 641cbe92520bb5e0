"""How a command ends with an error or by a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Errors of the user's: one line, without a traceback.
FAILURES = (ValueError, TypeError, ImportError, OSError, MemoryError, ArithmeticError)

#: Seconds for cleaning up, of which Slurm may take ten, in which further signals are ignored.
_PATIENCE = 15.0


def in_a_line(error: BaseException) -> str:
    """Its message, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """End on SIGTERM, and with the terminal, as on Ctrl-C: workers and unfinished files go too."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    # Handlers that are set, and signals that are ignored as by nohup, stay.
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    until, again = 0.0, None

    def leave(number: int, frame: Any) -> None:
        nonlocal until, again
        if time.monotonic() < until:  # `timeout` sends it twice
            return
        until = time.monotonic() + _PATIENCE
        # An exception that a destructor or a library swallows would be lost.
        again = threading.Timer(_PATIENCE, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        if again is not None:
            again.cancel()
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
