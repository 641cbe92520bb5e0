"""Where `solve` and `schedule` write: one result file and one figure."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from .. import results
from ..channels import Scene
from .display import INSTALL


def add_output(command: argparse.ArgumentParser, verb: str) -> None:
    """Add the group of files; ``verb`` begins their names by default."""
    add = command.add_argument_group("output").add_argument
    add("--output", type=Path, metavar="FILE",
        help=f"result, .npz or .h5 (default: {verb}_SCENE.npz here)")  # fmt: skip
    add("--figure", type=Path, metavar="FILE",
        help="picture: .png, .pdf or .svg (default: the result's name with .png)")  # fmt: skip
    add("--no-figure", action="store_true", help="draw nothing")


def destinations(options: argparse.Namespace, scene: Scene, verb: str) -> tuple[Path, Path | None]:
    """The result and the figure, checked before anything is computed."""
    output: Path = options.output or Path(f"{verb}_{scene.name}.npz")
    if output.suffix not in results.SUFFIXES:
        raise ValueError(
            f"--output: expected a name ending in {', '.join(results.SUFFIXES)}, got {output}"
        )
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
        print(f"hmimo-fast: no figure without matplotlib: {INSTALL}", file=sys.stderr)
        figure = None
    for option, path in (("--output", output), ("--figure", figure)):
        if path is None:
            continue
        if not path.absolute().parent.is_dir():
            raise ValueError(f"{option}: no such folder: {path.absolute().parent}")
        if path.is_dir():
            raise ValueError(f"{option}: expected a file, got a folder: {path}")
        if path.exists() and Path(options.scene).exists() and path.samefile(options.scene):
            raise ValueError(f"{option}: would overwrite the channels in {path}")
    return output, figure
