"""What a person sees: progress on stderr, tables on stdout."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..streams import tell

INSTALL = "pip install 'hmimo_fast[cli]'"

Begin = Callable[[str], Callable[[int, int], None]]


@contextmanager
def display() -> Iterator[Begin]:
    """Bars on a terminal, a line per task elsewhere; on stderr, so that a table can be piped."""
    if not (sys.stdout.isatty() and sys.stderr.isatty()):
        yield _begin_line
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeElapsedColumn as Elapsed
        from rich.progress import TimeRemainingColumn as Remaining
    except ImportError:
        tell(f"hmimo-fast: no progress bars without rich: {INSTALL}")
        yield _begin_line
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
        Remaining(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:

        def begin(label: str) -> Callable[[int, int], None]:
            task = bars.add_task(label, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield begin


def _begin_line(label: str) -> Callable[[int, int], None]:
    tell(f"{label} ...")
    return lambda done, total: None


def duration(seconds: float) -> str:
    """With its unit; a dash for NaN."""
    if math.isnan(seconds):
        return "-"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def table(*rows: Sequence[str]) -> str:
    """Columns under two rows of headings, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        ).rstrip()
        for row in rows
    ]
    lines.insert(2, "-" * max(map(len, lines)))
    return "\n".join(lines)


def gains(runs: Sequence[tuple[str, float, float]]) -> str:
    """How the last of (label, sum rate, seconds) does against each of the others."""
    *others, (ours, our_rate, our_seconds) = runs
    lines = [
        f"{ours}: {our_rate / rate:.2f} times the sum rate of {label}, "
        f"{seconds / our_seconds:.2g} times as fast"
        for label, rate, seconds in others
        if rate > 0
    ]
    return "\n".join(["", *lines])
