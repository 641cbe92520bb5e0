"""Printing, where stdout or stderr may be closed, full or of a limited encoding."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


def settle() -> None:
    """Let stdout and stderr accept every character, and replace them where they are closed."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream: Any = getattr(sys, name)
        if stream is None:
            # Child processes inherit it, and no file may get this number.
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "w", closefd=False))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def say(text: str) -> None:
    """Print on stdout; a closed pipe is no failure, a full device is one."""
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
        # Later output, and the flush at exit, must not fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
