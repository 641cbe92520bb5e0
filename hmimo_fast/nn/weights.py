"""Weights as files: safetensors with the model's configuration beside them, never pickle."""

from __future__ import annotations

import json
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import nn

from ..writing import write as write_bytes
from .models import FNN, GNN2D, MBDNN, UnrolledNet
from .models.network import precision

#: Models that a file may hold, by the name in its metadata.
MODELS = {model.__name__: model for model in (MBDNN, GNN2D, FNN, UnrolledNet)}
#: The key of our metadata, one JSON text.
_KEY = "hmimo_fast"


def save(
    model: nn.Module, path: str | PathLike[str], training: dict[str, Any] | None = None
) -> None:
    """Write a model's weights and configuration to one safetensors file.

    The file appears complete or not at all.

    Parameters
    ----------
    model : MBDNN, GNN2D, FNN or UnrolledNet
        On any device.
    path : str or path
        Where to; an existing file is replaced.
    training : dict, optional
        What the weights were trained with, kept in the file's metadata.

    Raises
    ------
    TypeError
        If it is no model of this package, or in half precision.

    Examples
    --------
    >>> import tempfile
    >>> import hmimo_fast as hf
    >>> from hmimo_fast import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "mine.safetensors"
    ...     nn.save(nn.MBDNN(constraint="digital"), file)
    ...     nn.load(file).config["constraint"]
    'digital'
    """
    name = type(model).__name__
    if MODELS.get(name) is not type(model):
        raise TypeError(f"model: expected one of {', '.join(MODELS)}, got {name}")
    precision("model", *model.parameters())
    about = {"model": name, "config": model.config, "training": training}
    write(Path(path), model.state_dict(), about)


def load(path: str | PathLike[str]) -> nn.Module:
    """Read a model that `save` wrote, ready for inference on the CPU.

    Parameters
    ----------
    path : str or path
        A safetensors file.

    Returns
    -------
    MBDNN, GNN2D, FNN or UnrolledNet
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is not one of `save`, or its weights do not fit its model.
    """
    file = Path(path)
    tensors, about = read(file)
    try:
        return _built(about["model"], about["config"], tensors).eval()
    except (
        AttributeError,
        LookupError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"path: expected a model of hmimo_fast in {str(file)!r}: {error}"
        ) from None


def _built(name: str, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> nn.Module:
    precision("tensors", *tensors.values())
    depth = config["layers"] if "layers" in config else len(config.get("widths", ()))
    if depth > len(tensors):
        # Before they are built: each layer takes a millisecond and some memory, with no weights.
        raise ValueError(f"layers: expected at most one for each tensor, got {depth}")
    with torch.device("meta"):  # no memory before the shapes are known to fit
        model = MODELS[name](**config)
    model.load_state_dict(tensors, assign=True)
    return model


def load_pretrained(name: str = "mbdnn", constraint: str = "radiated") -> nn.Module:
    """A shipped model, trained over 16 to 144 elements, 2 to 8 users and -10 to 20 dB.

    Parameters
    ----------
    name : {"mbdnn", "unrolled", "untrained"}
        `MBDNN`, `UnrolledNet`, or `MBDNN` before its training.
    constraint : {"radiated", "digital"}
        The power convention it was trained under.

    Returns
    -------
    MBDNN or UnrolledNet
        In evaluation mode, on the CPU.

    Raises
    ------
    ValueError
        If there are no such weights.

    Examples
    --------
    >>> import torch
    >>> import hmimo_fast as hf
    >>> from hmimo_fast import nn
    >>> surface = hf.Surface(shape=(8, 8), feeds=6)
    >>> channel = hf.channels.sparse_mmwave(surface, users=6, size=4, seed=0)
    >>> with torch.no_grad():
    ...     amplitudes, digital = nn.load_pretrained("unrolled")(
    ...         torch.tensor(channel), torch.tensor(surface.phase), 1.0, 0.1
    ...     )
    >>> amplitudes.shape, digital.shape
    (torch.Size([4, 64]), torch.Size([4, 6, 6]))
    """
    shipped = resources.files(__package__).joinpath("weights")
    names = sorted(Path(file.name).stem for file in shipped.iterdir())
    if f"{name}_{constraint}" not in names:
        raise ValueError(
            f"name, constraint: expected one of {', '.join(names)}, got {name}_{constraint}"
        )
    with resources.as_file(shipped.joinpath(f"{name}_{constraint}.safetensors")) as file:
        return load(file)


def write(path: Path, tensors: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
    """Tensors with JSON metadata, in one file that appears complete or not at all."""
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, serialized(held, {_KEY: json.dumps(about)}))


def read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `write` wrote; ValueError if something else did, or the file is damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"path: no such file: {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            # Copies, since the bits of a product depend on how its factors lie in memory.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, about
    except KeyError:
        raise ValueError(f"path: {str(path)!r} was not written by hmimo_fast") from None
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(f"path: {str(path)!r} is damaged: {error}") from None
