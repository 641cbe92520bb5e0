"""The command ``hmimo-fast``: one module a command, each of which adds its own parser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ..streams import settle, tell
from . import bench, info, inspect, reproduce, schedule, solve, train
from .arguments import Parser
from .ending import FAILURES, ended_by_signals, in_a_line

#: In the order of the help.  A module here imports what is slow, or an extra, only when it runs.
COMMANDS = (solve, schedule, inspect, reproduce, train, bench, info)

_DESCRIPTION = """\
Beamforming and user scheduling for holographic MIMO surfaces: which users a
surface serves, how strongly each of its elements radiates, and which digital
beams feed it.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the name of the program; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 2 a bad argument or file, 130 interrupted.

    Raises
    ------
    SystemExit
        With the status of a help text, of `reproduce` where chunks or a study failed, and of a
        signal.

    Examples
    --------
    >>> main(["schedule", "munich", "--users", "0"])
    2
    """
    settle()
    try:
        with ended_by_signals():
            options = _parser().parse_args(arguments)
            options.run(options)
    except FAILURES as error:
        tell(f"hmimo-fast: error: {in_a_line(error)}")
        return 2
    except KeyboardInterrupt:
        tell("hmimo-fast: interrupted")
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="hmimo-fast", description=_DESCRIPTION)
    parser.add_argument(
        "--version", action="version", version=f"hmimo-fast {info.version_of('hmimo_fast')}"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser
