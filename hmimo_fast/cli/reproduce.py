"""``hmimo-fast reproduce``: the figures and tables of both papers, with our methods."""

from __future__ import annotations

import argparse
import textwrap
from importlib.util import find_spec
from pathlib import Path
from traceback import format_exc
from typing import TYPE_CHECKING

from .. import __version__
from ..streams import say, tell
from ..writing import MARK, write
from .arguments import Commands, integer, seed
from .display import display, table
from .ending import FAILURES, in_a_line
from .output import add_force, check

if TYPE_CHECKING:
    from xarray import Dataset

    from ..studies import Study

_DESCRIPTION = """\
Compute a figure or table of paper A (arXiv 2504.19522) or B (arXiv
2502.17408) with the paper's methods, ours and the fully digital array over the
same channels; print its table, and report for every trend that the paper states
whether it appears, with the figures.
"""

_EPILOG = """\
STUDY is one of
  list     what there is
  B-3, B-4, B-7, B-9, B-C, A-3, A-4, A-T1, A-T2, A-T1s, E-1
  all      all of these
  trends   what the papers state, against the results in the folder
  curves   mean rates to hold other code against: method, SNR, size and power,
           with fixed draws; computed, and compared with those of the package

what is written, in the folder:
  STUDY.h5    the dataset, with named dimensions, units, settings, versions and
              seed, which h5py, xarray and MATLAB open
  curves.csv  the reference curves
  STUDY.pdf, STUDY.png, STUDY.txt    the figure, the table and the trends
  chunks/     every 100 realizations of a setting under a method. A run that
              was ended at any moment goes on from them when the same command
              is given again, to the same bits; delete them when it is done.
  networks/, STUDY_NETWORK.h5    with --train: trainings, which go on likewise, and
              what they came to

engines:
  serial        this process, with threads inside the kernels
  processes     as many processes as there are CPUs; processes:2 for two
  dask:ADDRESS  workers of a dask scheduler, such as dask:tcp://node1:8786
  ray:ADDRESS   workers of a ray cluster; ray:auto for the one of this machine
  slurm         arrays of Slurm jobs through submitit; SBATCH_PARTITION,
                SBATCH_TIMELIMIT (5 minutes if unset) and the like direct them.
                The folder must be on a disk that the nodes share.
  local         the same jobs on this machine

exit status:
  0 done; 1 chunks failed again and again, and are missing in the results, or
  the reference curves differ from the package's; 2 a bad argument or file, or
  an error in a study, which does not end those that follow; 130 interrupted;
  143 terminated

examples:
  hmimo-fast reproduce all --quick
  hmimo-fast reproduce B-7 --realizations 10000 --output night
  hmimo-fast reproduce A-3 --engine dask:tcp://node1:8786
  hmimo-fast reproduce A-3 --train
"""

#: Realizations of a quick run: one chunk a point and method.
_QUICK = 100
_WIDTH, _INDENT = 96, " " * 5


def add(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "reproduce",
        help="compute the figures and tables of the papers",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    option = command.add_argument
    option("study", metavar="STUDY", help="an id, all, list, trends or curves (see below)")
    option("--realizations", type=integer(1, 1_000_000), default=1000, metavar="INT",
        help="of each setting (default: 1000)")  # fmt: skip
    option("--quick", dest="realizations", action="store_const", const=_QUICK,
        help=f"{_QUICK} of them")  # fmt: skip
    option("--seed", type=seed, default=0, metavar="INT", help="of all draws (default: 0)")
    option("--engine", default="processes", metavar="ENGINE",
        help="where to compute (see below; default: processes)")  # fmt: skip
    option("--train", action="store_true",
        help="train 2DGNN and FNN anew by their recipes, some minutes each, rather than draw what "
        "a training of the same budget came to")  # fmt: skip
    option("--output", type=Path, default=Path("studies"), metavar="DIR",
        help="folder for what is written (default: studies here)")  # fmt: skip
    add_force(command)
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Compute, write and print."""
    from .. import studies
    from ..studies import engines

    name, folder = options.study, options.output
    if name == "list":
        say("\n".join(f"{s.id:6}{s.title} ({s.source})" for s in studies.STUDIES.values()))
        return
    if name == "curves":
        _reproduce_curves(folder, options.force)
        return
    if name not in (*studies.STUDIES, "all", "trends"):
        known = ", ".join((*studies.STUDIES, "all", "list", "trends", "curves"))
        raise ValueError(f"STUDY: expected one of {known}, got {name!r}")
    for package, extra in (("h5netcdf", "io"), ("xarray", "io"), ("matplotlib", "cli")):
        if find_spec(package) is None:
            raise ImportError(f"reproduce needs {package}: pip install 'hmimo_fast[{extra}]'")
    if name == "trends":
        _known_trends(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    chosen = studies.STUDIES.values() if name == "all" else [studies.STUDIES[name]]
    try:
        engines.check(options.engine)
    except (ImportError, ValueError) as error:
        raise type(error)(f"--{error}") from None
    for study in chosen:
        for file in _files(study, folder):
            check("--output", file, options.force)
    status = max(_status(study, options) for study in chosen)
    if status:
        raise SystemExit(status)


def _status(study: Study, options: argparse.Namespace) -> int:
    """Reproduce a study; what goes wrong is told, and does not end those that follow."""
    from ..studies.runner import ChunksFailedError

    try:
        if _reproduce(study, options):
            return 0
        tell(f"hmimo-fast: chunks are missing in {study.id}")
    except ChunksFailedError as error:
        tell(f"hmimo-fast: {error}")
    except Exception as error:
        text = in_a_line(error) if isinstance(error, FAILURES) else format_exc()
        option = "--" if text.startswith("engine") else ""
        tell(f"hmimo-fast: error: {study.id}: {option}{text}")
        return 2
    return 1


def _reproduce(study: Study, options: argparse.Namespace) -> bool:
    """Compute, write and print one study; whether all of its chunks are there."""
    from .. import studies
    from ..studies.figures import draw

    with display() as begin:

        def measure(study: Study, label: str) -> Dataset:
            return studies.run(
                study,
                options.output,
                options.realizations,
                options.seed,
                options.engine,
                begin(label),
                lambda line: tell(f"hmimo-fast: {line}"),
            )

        if options.train:
            studies.train(study, options.output, begin, measure)
        dataset = measure(study, f"{study.id}: {study.title}")
    data, *pictures, told = _files(study, options.output)
    studies.save(dataset, data)
    for picture in pictures:
        draw(picture, study, dataset)
    text = f"{_tables(study, dataset)}\n\n{_trends(study, dataset)}\n\n{MARK} {__version__}"
    write(told, f"{text}\n".encode())
    say(f"{text}\n\nresult: {data}, .pdf, .png, .txt\n")
    return bool(dataset.attrs["failed"] == 0)


def _files(study: Study, folder: Path) -> list[Path]:
    """The dataset, the figure twice, and the text."""
    return [folder / f"{study.id}{suffix}" for suffix in (".h5", ".pdf", ".png", ".txt")]


def _tables(study: Study, dataset: Dataset) -> str:
    from ..studies.tables import tabulate, tabulate_samples, tabulate_training

    about = dataset.attrs
    parts = [
        f"{study.id}: {study.title}\n{about['realizations']} realizations, seed {about['seed']}, "
        f"{about['setting']['constraint']} power; ± is half the 95 % band"
    ]
    for panel in study.panels:
        if panel.x in dataset.data_vars:
            continue
        heading, rows = tabulate(dataset, panel)
        if len(rows) > 2:
            parts.append(f"{heading}\n{table(*rows)}")
    if study.measure == "samples":
        heading = "trainings, a number for each seed"
        parts.append(f"{heading}\n{table(*tabulate_samples(dataset))}")
    if about["training"]:
        heading = "training; the goal is WMMSE-HBF's 300 sweeps over the 256 channels of validation"
        parts.append(f"{heading}\n{table(*tabulate_training(dataset))}")
    return "\n\n".join(parts)


def _trends(study: Study, dataset: Dataset) -> str:
    """Each claim of the paper, whether it shows, and the figures."""
    lines = ["What the paper says, and whether it shows here"]
    for claim in study.claims:
        verdict = claim.check(dataset)
        word = {True: "yes", False: "NO", None: "-"}[verdict.holds]
        lines.append(f"{word:5}{claim.text}")
        remark = claim.remark if verdict.holds is False else ""
        for text in filter(None, (verdict.figures, remark)):
            lines += textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT)
    return "\n".join(lines)


def _reproduce_curves(folder: Path, force: bool) -> None:
    """Compute, write, print and compare the reference curves."""
    from ..studies import curves

    folder.mkdir(parents=True, exist_ok=True)
    check("--output", folder / curves.FILE, force, mark=",".join(curves.HEADING))
    rows = curves.compute()
    known = curves.committed()
    curves.save(folder / curves.FILE, rows)
    say(f"mean sum rate in bit/s/Hz of {curves.REALIZATIONS} draws, seed {curves.SEED}\n")
    units = ("", "N", "K = L", "dB", *["bit/s/Hz"] * len(curves.METHODS))
    cells = [(*map(str, row[:-1]), *(f"{rate:.6f}" for rate in row.rates)) for row in rows]
    say(table(curves.HEADING, units, *cells))
    largest = curves.difference(rows, known)
    say(
        f"\nlargest relative difference to the package's: {largest:.1e}\n"
        f"result: {folder / curves.FILE}"
    )
    if not largest <= curves.TOLERANCE:
        tell(f"hmimo-fast: the curves differ by more than {curves.TOLERANCE:g}")
        raise SystemExit(1)


def _known_trends(folder: Path) -> None:
    """Print the trends of every study in the folder; a file that is none is told by name."""
    from ..studies import STUDIES, load

    there = {name: folder / f"{name}.h5" for name in STUDIES if (folder / f"{name}.h5").exists()}
    if not there:
        raise ValueError(f"--output: no results in {folder}; first: hmimo-fast reproduce all")
    status = 0
    for name, file in there.items():
        study = STUDIES[name]
        try:
            text = _trends(study, load(file, study))
        except (LookupError, ValueError, OSError) as error:
            named = in_a_line(error) if str(file) in str(error) else f"{file}: {error!r}"
            tell(f"hmimo-fast: error: {named}")
            status = 2
        else:
            say(f"{name}: {study.title}\n{text}\n")
    if status:
        raise SystemExit(status)
