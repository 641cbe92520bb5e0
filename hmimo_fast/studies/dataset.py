"""What a study measured: labelled arrays, which are xarray's, and the file they are kept in."""

from __future__ import annotations

import io
import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..writing import MARK, write

if TYPE_CHECKING:
    from xarray import Dataset

    from .description import Study

#: What is measured, and the unit; of dimensions and of variables.
MEANINGS = {
    "elements": ("elements N", "1"),
    "users": ("users K, feeds L = K", "1"),
    "snr_db": ("SNR", "dB"),
    "constraint": ("power", ""),
    "method": ("method", ""),
    "realization": ("realization", "1"),
    "user": ("user", "1"),
    "iterate": ("iterate", "1"),
    "sum_rate": ("sum rate", "bit/s/Hz"),
    "rates": ("rate of a user", "bit/s/Hz"),
    "served": ("frequency of being served", "1"),
    "iterations": ("iterations", "1"),
    "microseconds": ("CPU time of one channel", "µs"),
    "microseconds_an_iteration": ("CPU time of one iteration", "µs"),
    "history": ("rate of the iterate", "bit/s/Hz"),
    "samples": ("channels until it matches WMMSE-HBF", "1"),
    "seen": ("channels seen", "1"),
    "course": ("mean rate / that of WMMSE-HBF", "1"),
    "share": ("mean rate / that of WMMSE-HBF", "1"),
    "seconds": ("CPU time of the training", "s"),
    "parameters": ("parameters", "1"),
    "megabytes": ("memory of a step", "MB"),
    "channels_seen": ("channels seen", "1"),
    "largest_fall": ("largest fall of the rate", "bit/s/Hz"),
}


#: How a label of a dimension is written where it stands alone.
_LABELS = {"elements": "N = {:g}", "users": "K = {:g}", "snr_db": "{:g} dB", "user": "user {}"}


def axis_label(name: str) -> str:
    """Meaning and unit of a dimension or variable."""
    meaning, unit = MEANINGS[name]
    return meaning if unit in ("", "1") else f"{meaning}, {unit}"


def meaning(name: str) -> dict[str, str]:
    """The same as attributes of netCDF."""
    return dict(zip(("long_name", "units"), MEANINGS[name], strict=True))


def describe(dimension: str, label: Any) -> str:
    """A label of a dimension, to be read by itself.

    Parameters
    ----------
    dimension : str
        Its name.
    label : number or str
        One of its coordinates.

    Returns
    -------
    str

    Examples
    --------
    >>> describe("snr_db", 10.0)
    '10 dB'
    """
    return _LABELS.get(dimension, "{}").format(label)


def told(dataset: Dataset, dimension: str, label: Any) -> str:
    """As `describe`, with what ``attrs["notes"]`` says of that label."""
    note = dataset.attrs.get("notes", {}).get(label)
    return describe(dimension, label) + (f" ({note})" if note else "")


def select(dataset: Dataset, variable: str, **labels: Any) -> np.ndarray:
    """A variable at these labels, without the dimensions that are named.

    Parameters
    ----------
    dataset : Dataset
        A study's.
    variable : str
        Its name.
    **labels
        A label for each dimension to leave out; other names than those of its dimensions are
        ignored.

    Returns
    -------
    ndarray
        In the order of the other dimensions.

    Raises
    ------
    KeyError
        If a label is not among the coordinates.
    """
    array = dataset[variable]
    known = {name: label for name, label in labels.items() if name in array.dims}
    return np.asarray(array.sel(known).values)


def _seal(content: bytes) -> bytes:
    """The checksum behind a dataset in its file, where HDF5 does not read.

    HDF5 aborts, hangs or returns other numbers where single bytes are damaged, so damaged files
    must not reach it.
    """
    return f"\n{MARK}, sha256 {sha256(content).hexdigest()}\n".encode()


def save(dataset: Dataset, path: Path) -> None:
    """Write netCDF-4, which is HDF5 that xarray, netCDF tools and MATLAB read by name.

    Parameters
    ----------
    dataset : Dataset
        A study's; its ``attrs`` hold plain numbers, strings, lists and dicts, kept as JSON.
    path : Path
        Ending in .h5.  The same data give the same bytes.

    Raises
    ------
    ImportError
        If xarray or h5netcdf is not installed.
    """
    plain = dataset.drop_attrs(deep=False).assign_attrs(
        attributes=json.dumps(dataset.attrs, sort_keys=True)
    )
    packed = {name: {"zlib": True, "shuffle": True} for name in plain.data_vars}
    content = bytes(plain.to_netcdf(engine="h5netcdf", encoding=packed))
    write(path, content + _seal(content))


def load(path: Path, study: Study | None = None) -> Dataset:
    """Read what `save` wrote.

    Parameters
    ----------
    path : Path
        The file.
    study : Study, optional
        The study that it must be of.

    Returns
    -------
    Dataset

    Raises
    ------
    ImportError
        If xarray or h5netcdf is not installed.
    ValueError
        If the file is not, to the bit, as `save` wrote it, or is another study's.
    """
    from xarray import load_dataset

    sealed = path.read_bytes()
    content = sealed[: -len(_seal(b""))]
    if sealed != content + _seal(content):
        raise ValueError(f"{path}: expected a dataset as hmimo-fast wrote it: it is damaged, "
                         "was changed, or is of somebody else")  # fmt: skip
    dataset = load_dataset(io.BytesIO(content), engine="h5netcdf")
    dataset.attrs = json.loads(dataset.attrs["attributes"])
    if study is not None:
        found, names = dataset.attrs.get("study"), [str(name) for name in dataset.data_vars]
        if found != study.id or not set(study.variables) <= set(names):
            raise ValueError(f"{path}: expected {study.id} with {', '.join(study.variables)}, "
                             f"got {found} with {', '.join(names)}")  # fmt: skip
    return dataset
