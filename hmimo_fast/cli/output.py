"""Where `solve` and `schedule` write: one result file and one figure."""

from __future__ import annotations

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from ..channels import Scene
from ..files import WRITTEN
from ..streams import say, tell
from ..writing import MARK, try_out
from .display import INSTALL

#: Bytes at either end of a file.
_END = 1 << 16


def add_output(command: argparse.ArgumentParser, verb: str) -> None:
    """Add the group of files; ``verb`` begins their names by default."""
    add = command.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="FILE",
        help=f"result, .npz or .h5 (default: {verb}_SCENE.npz here)")  # fmt: skip
    add("--figure", type=Path, metavar="FILE",
        help="picture: .png, .pdf or .svg (default: the result's name with .png)")  # fmt: skip
    add("--no-figure", action="store_true", help="draw nothing")
    add_force(command)


def add_force(command: argparse.ArgumentParser) -> None:
    """Add the permission to replace files that are not ours."""
    command.add_argument("--force", action="store_true",
        help="replace files of these names, whoever wrote them "
             "(default: only those of hmimo-fast)")  # fmt: skip


def check(option: str, path: Path, force: bool, mark: str = MARK) -> None:
    """Refuse what could not be written, or is not ours to replace, before anything is computed.

    Parameters
    ----------
    option : str
        That the path comes from, for the error.
    path : Path
        Of a file that will be written.
    force : bool
        Replace whatever is there.
    mark : str
        What near its beginning or end tells that a file is one of ours.
    """
    try:
        try_out(path)
        ours = force or not path.exists() or mark.encode() in _ends(path)
    except OSError as error:
        raise ValueError(f"{option}: cannot write {path}: {error.strerror}") from None
    if not ours:
        raise ValueError(f"{option}: {path} is not of hmimo-fast; --force replaces it")


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        first = file.read(_END)
        file.seek(max(0, path.stat().st_size - _END))
        return first + file.read()


def destinations(options: argparse.Namespace, scene: Scene, verb: str) -> tuple[Path, Path | None]:
    """The result and the figure, checked before anything is computed."""
    output: Path = options.output or Path(f"{verb}_{scene.name}.npz")
    if output.suffix not in WRITTEN:
        raise ValueError(f"--output: expected a name ending in {', '.join(WRITTEN)}, got {output}")
    if output.suffix != ".npz" and find_spec("h5py") is None:
        raise ImportError("--output: HDF5 needs h5py: pip install 'hmimo_fast[io]'")
    figure: Path | None = None
    drawn = scene.channel.ndim == 2
    if options.figure is not None and not drawn:
        raise ValueError(
            f"--figure: expected one channel (users, elements) to draw, got {scene.channel.shape}"
        )
    if drawn and not options.no_figure:
        figure = options.figure or output.with_suffix(".png")
        if figure.suffix not in (".png", ".pdf", ".svg"):
            raise ValueError(f"--figure: expected a name ending in .png, .pdf, .svg, got {figure}")
    if figure is not None and find_spec("matplotlib") is None:
        if options.figure is not None:
            raise ImportError(f"--figure: drawing needs matplotlib: {INSTALL}")
        tell(f"hmimo-fast: no figure without matplotlib: {INSTALL}")
        figure = None
    for option, path in (("--output", output), ("--figure", figure)):
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.absolute().parent}")
        if all(map(os.path.exists, (path, options.scene))) and path.samefile(options.scene):
            raise ValueError(f"{option}: would overwrite the channels in {path}")
        check(option, path, options.force)
    return output, figure


def say_written(output: Path, figure: Path | None) -> None:
    """Print where they are."""
    say(f"result: {output}")
    if figure is not None:
        say(f"figure: {figure}")
