"""What is printed, where stdout or stderr may be closed, full or short of characters."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def settle() -> None:
    """Make stdout and stderr take every character, and be there where the shell closed them."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: Any = getattr(sys, name)
        if stream is None:
            # For processes that are started here as well, and before a file gets this number.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """Print on stdout; a reader who has gone is no failure, a device that is full is one."""
    error = _print(text, sys.stdout)
    if error is not None and not isinstance(error, BrokenPipeError):
        raise OSError(error.errno, error.strerror, "stdout")


def tell(text: str) -> None:
    """Print on stderr, whether or not anybody can read it."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> OSError | None:
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        # Nor may what comes later, and the flush at exit, meet what is closed or full.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
