"""Arrays with named dimensions, and the one file they are kept in."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..writing import MARK, write

if TYPE_CHECKING:
    from .description import Study

#: What is measured, and the unit; of dimensions and of variables.
MEANINGS = {
    "elements": ("elements N", "1"),
    "users": ("users K, feeds L = K", "1"),
    "snr_db": ("SNR", "dB"),
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
    "largest_fall": ("largest fall of the rate", "bit/s/Hz"),
}


#: How a label of a dimension is written where it stands alone.
_LABELS = {"elements": "N = {:g}", "users": "K = {:g}", "snr_db": "{:g} dB", "user": "user {}"}


def axis_label(name: str) -> str:
    """Meaning and unit of a dimension or variable."""
    meaning, unit = MEANINGS[name]
    return meaning if unit in ("", "1") else f"{meaning}, {unit}"


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


def _seal(content: bytes) -> bytes:
    """What follows a dataset in its file, where HDF5 reads no more.

    HDF5 aborts, hangs or returns other numbers where single bytes are damaged, so that it is given
    none that are.
    """
    return f"\n{MARK}, sha256 {sha256(content).hexdigest()}\n".encode()


@dataclass(frozen=True)
class Dataset:
    """What a study measured.

    Attributes
    ----------
    coordinates : dict of str to (n,) ndarray
        Dimensions and their labels.
    variables : dict of str to ndarray
        NaN where nothing was measured.
    dimensions : dict of str to tuple of str
        Of each variable, by name, in order.
    attributes : dict
        Plain numbers, strings, lists and dicts: title, settings, seed, versions.

    Examples
    --------
    >>> dataset = Dataset(
    ...     {"snr_db": np.array([0.0, 10.0]), "realization": np.arange(3)},
    ...     {"sum_rate": np.arange(6.0).reshape(2, 3)},
    ...     {"sum_rate": ("snr_db", "realization")},
    ...     {"seed": 0},
    ... )
    >>> dataset.select("sum_rate", snr_db=10.0)
    array([3., 4., 5.])
    """

    coordinates: dict[str, np.ndarray]
    variables: dict[str, np.ndarray]
    dimensions: dict[str, tuple[str, ...]]
    attributes: dict[str, Any]

    def told(self, dimension: str, label: Any) -> str:
        """As `describe`, with what ``attributes["notes"]`` says of that label.

        Parameters
        ----------
        dimension : str
            Its name.
        label : number or str
            One of its coordinates.

        Returns
        -------
        str
        """
        note = self.attributes.get("notes", {}).get(label)
        return describe(dimension, label) + (f" ({note})" if note else "")

    def select(self, variable: str, **labels: Any) -> np.ndarray:
        """A variable at these labels; the dimensions that are named go.

        Parameters
        ----------
        variable : str
            Its name.
        **labels
            A label for each dimension to leave; names of dimensions that it does not have are
            passed over.

        Returns
        -------
        ndarray
            In the order of the other dimensions.

        Raises
        ------
        ValueError
            If a label is not among the coordinates.
        """
        places: list[Any] = []
        for name in self.dimensions[variable]:
            places.append(self._place(name, labels[name]) if name in labels else slice(None))
        return np.asarray(self.variables[variable][tuple(places)])

    def _place(self, name: str, label: Any) -> int:
        found = np.flatnonzero(self.coordinates[name] == label)
        if not len(found):
            known = ", ".join(map(str, self.coordinates[name]))
            raise ValueError(f"{name}: expected one of {known}, got {label!r}")
        return int(found[0])

    def save(self, path: Path) -> None:
        """Write HDF5 with dimension scales, which xarray, netCDF tools and MATLAB read by name.

        Parameters
        ----------
        path : Path
            Ending in .h5.  The same data give the same bytes.

        Raises
        ------
        ImportError
            If h5py is not installed.
        """
        import h5py

        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            file.attrs["attributes"] = json.dumps(self.attributes, sort_keys=True)
            for name, labels in self.coordinates.items():
                is_text = labels.dtype.kind == "U"
                file[name] = labels.astype(h5py.string_dtype()) if is_text else labels
                file[name].make_scale(name)
            for name, array in self.variables.items():
                file.create_dataset(name, data=array, compression="gzip", shuffle=True)
                for axis, dimension in enumerate(self.dimensions[name]):
                    file[name].dims[axis].attach_scale(file[dimension])
            for name in file:
                file[name].attrs["long_name"], file[name].attrs["units"] = MEANINGS[name]
        write(path, content.getvalue() + _seal(content.getvalue()))

    def of(self, study: Study, path: Path) -> Dataset:
        """The same, if it is the study's; ValueError naming the file if it is not."""
        lacks = [name for name in study.variables if name not in self.variables]
        if lacks or self.attributes.get("study") != study.id:
            found = self.attributes.get("study")
            raise ValueError(f"{path}: expected {study.id} with {', '.join(study.variables)}, "
                             f"got {found} with {', '.join(self.variables)}")  # fmt: skip
        return self

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read what `save` wrote.

        Parameters
        ----------
        path : Path
            The file.

        Returns
        -------
        Dataset

        Raises
        ------
        ImportError
            If h5py is not installed.
        ValueError
            If the file is not, to the bit, as `save` wrote it.
        """
        import h5py

        sealed = path.read_bytes()
        content = sealed[: -len(_seal(b""))]
        if sealed != content + _seal(content):
            raise ValueError(f"{path}: expected a dataset as hmimo-fast wrote it: it is damaged, "
                             "was changed, or is of somebody else")  # fmt: skip
        with h5py.File(io.BytesIO(content), "r") as file:
            scales = {name: item for name, item in file.items() if item.is_scale}
            rest = {name: item for name, item in file.items() if name not in scales}
            return cls(
                {
                    name: np.asarray(item.asstr()[()]) if item.dtype.kind == "O" else item[()]
                    for name, item in scales.items()
                },
                {name: item[()] for name, item in rest.items()},
                {
                    name: tuple(axis[0].name[1:] for axis in item.dims)
                    for name, item in rest.items()
                },
                json.loads(file.attrs["attributes"]),
            )
