"""``hmimo-fast inspect``: what is in a file of channels, and how it would be read."""

from __future__ import annotations

import argparse

from ..channels.reading import contents
from ..streams import say
from .arguments import Commands
from .display import table

_ROWS = 50
_DESCRIPTION = """\
Show the arrays of a file and how `solve` and `schedule` read each as channels.
"""

_EPILOG = """\
exit status:
  0 done; 2 a bad argument or file; 130 interrupted

examples:
  hmimo-fast inspect channels.mat
"""


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "inspect",
        help="show what is in a file of channels and how it is read",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    command.add_argument("file", metavar="FILE", help="of type .npz, .npy, .mat or .h5")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Print the table."""
    rows = contents(options.file)
    say(table(("", "", "", ""), ("array", "type", "shape", "read as"), *rows[:_ROWS]))
    if len(rows) > _ROWS:
        say(f"and {len(rows) - _ROWS} more")
