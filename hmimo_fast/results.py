"""What `hmimo-fast` found: kept together, and written to one file."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .channels import Scene
from .files import Arrays
from .scheduling import Schedule
from .surface import Surface
from .writing import MARK, write

#: Suffixes of the files that `save` writes.
SUFFIXES = (".npz", ".h5", ".hdf5")


@dataclass(frozen=True)
class Run:
    """One method's schedule and what it cost.

    Attributes
    ----------
    method, label : str
        The solver, and how a reader knows it.
    schedule : Schedule
        Of the users of the comparison.
    seconds : float
        Wall-clock time of the whole schedule.
    solve_seconds : float
        Of one solve for the users it serves; NaN if there are none.
    """

    method: str
    label: str
    schedule: Schedule
    seconds: float
    solve_seconds: float


@dataclass(frozen=True)
class Comparison:
    """Several methods on the same users, under the same conditions.

    Attributes
    ----------
    scene : Scene
        Of these users alone, K of them.
    users : (K,) int
        Their rows in the file.
    surface : Surface
        N elements, L feeds.
    settings : dict
        Plain numbers and strings; the unit is in the name.
    runs : list of Run
        The last one is the choice: the one drawn, and held against the yardstick.
    fully_digital_rates : (K,) float
        bit/s/Hz with N RF chains, for the users of the choice; 0 for others.
    fully_digital_seconds : float
        Wall-clock time of that solve; NaN if there are no users.
    """

    scene: Scene
    users: np.ndarray
    surface: Surface
    settings: dict[str, Any]
    runs: list[Run]
    fully_digital_rates: np.ndarray
    fully_digital_seconds: float

    @property
    def choice(self) -> Run:
        """The run that is drawn."""
        return self.runs[-1]

    def arrays(self) -> Arrays:
        """All of it as plain arrays, M methods stacked.

        Returns
        -------
        dict of str to ndarray
            ``methods`` (M,), ``served`` (M, K), ``amplitudes`` (M, N), ``digital`` (M, L, K),
            ``rates`` (M, K), ``sum_rate``, ``feasible``, ``schedule_seconds``,
            ``solve_seconds`` (M,), the channel, the surface, what the scene knows, and every
            setting.
        """
        schedules = [run.schedule for run in self.runs]
        found: dict[str, Any] = {
            "methods": [run.method for run in self.runs],
            "users": self.users,
            "schedule_seconds": [run.seconds for run in self.runs],
            "solve_seconds": [run.solve_seconds for run in self.runs],
            "fully_digital_rates": self.fully_digital_rates,
            "fully_digital_seconds": self.fully_digital_seconds,
        }
        for name in ("served", "amplitudes", "digital", "rates", "sum_rate", "feasible"):
            found[name] = np.stack([getattr(schedule, name) for schedule in schedules])
        return plain(found) | conditions(self.scene, self.surface, self.settings)


def conditions(scene: Scene, surface: Surface, settings: dict[str, Any]) -> Arrays:
    """What was solved: the channel, the surface, what the scene knows, and every setting."""
    known: dict[str, Any] = {
        "channel": scene.channel,
        "phase": surface.phase,
        "element_positions": surface.positions,
        "feed_positions": surface.feed_positions,
    }
    for name in ("user_positions", "surface_position", "surface_rotation", "line_of_sight"):
        if getattr(scene, name) is not None:
            known[name] = getattr(scene, name)
    return plain(known | settings)


def plain(values: dict[str, Any]) -> Arrays:
    """Each as an array."""
    return {name: np.asarray(value) for name, value in values.items()}


def save(path: Path, arrays: Arrays) -> None:
    """Write arrays to one .npz or HDF5 file, or leave what was there.

    Parameters
    ----------
    path : Path
        Ending in one of ``SUFFIXES``.
    arrays : dict of str to ndarray
        Numbers, booleans and strings.

    Raises
    ------
    ImportError
        If the file is HDF5 and h5py is not installed.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "result.npz"
    ...     save(file, {"rates": np.array([1.0, 2.0])})
    ...     with np.load(file) as saved:
    ...         saved["rates"]
    array([1., 2.])
    """
    write(path, _npz(arrays) if path.suffix == ".npz" else _hdf5(arrays))


def _npz(arrays: Arrays) -> bytes:
    content = io.BytesIO()
    # NumPy's types take any array by keyword for its flag allow_pickle.
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = MARK.encode()
    return content.getvalue()


def _hdf5(arrays: Arrays) -> bytes:
    import h5py

    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.attrs["creator"] = np.bytes_(MARK)
        for name, array in arrays.items():
            # HDF5 has no fixed-width Unicode strings.
            is_text = array.dtype.kind == "U"
            file[name] = array.astype(h5py.string_dtype()) if is_text else array
    return content.getvalue()
