"""Operations in which tensors and NumPy's arrays differ.

Where no gradient is asked for on the CPU the iterative networks run on arrays: a layer is some
sixty operations on few numbers, of which NumPy's calls take half the time of PyTorch's.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

#: Tensors or arrays, which one design does not mix.
Values: TypeAlias = Tensor | np.ndarray


def library(values: Values) -> ModuleType:
    """The module with functions for such values: torch or numpy."""
    return torch if isinstance(values, Tensor) else np


def plain(values: Any) -> bool:
    """Whether it is a tensor that can be read as an array: on the CPU, with nothing tracing it."""
    traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return type(values) is Tensor and values.device.type == "cpu" and not traced


def double(matrix: Any) -> Any:
    """A complex matrix in double precision."""
    return cast(matrix, library(matrix).complex128)


def like(values: Any, other: Any) -> Any:
    """Values in the dtype of others."""
    return cast(values, other.dtype)


def cast(values: Any, dtype: Any) -> Any:
    """Values in a dtype of their own library."""
    return values.to(dtype) if isinstance(values, Tensor) else values.astype(dtype)


def array(values: Values) -> np.ndarray:
    """Values as an array, without their gradient."""
    return values.numpy(force=True) if isinstance(values, Tensor) else values


def akin(values: Any, other: Any) -> Any:
    """Values as a tensor or an array, whichever the other is; they share memory."""
    if isinstance(values, Tensor) == isinstance(other, Tensor):
        return values
    return values.numpy() if isinstance(values, Tensor) else torch.from_numpy(values)


def clip(values: Any, low: float, high: float) -> Any:
    """Values within bounds; for arrays in a third of the time of their method."""
    if isinstance(values, Tensor):
        return values.clip(low, high)
    return np.minimum(np.maximum(values, low), high)


def perceptron(enter: nn.Module, leave: nn.Module, features: list[Any]) -> Any:
    """Two layers over the first dimension, (features, ...) -> (outputs, ...).

    Features are broadcast to the dimensions of the last.  With features first, joining and
    splitting them copies whole rows, and the batch is the columns of one matrix product.
    """
    left = _affine(leave, _affine(enter, _together(features)).relu_())
    last = features[-1]
    rows = left if isinstance(last, Tensor) else left.numpy()
    return rows.reshape(len(rows), *last.shape[1:])


def _affine(layer: Any, columns: Tensor) -> Tensor:
    return torch.addmm(layer.bias.unsqueeze(1), layer.weight, columns)


def _together(features: list[Any]) -> Tensor:
    """Features as rows, (features, columns), each broadcast to the dimensions of the last."""
    shape = features[-1].shape[1:]
    if isinstance(features[-1], Tensor):
        return torch.cat([rows.expand(-1, *shape) for rows in features]).flatten(1)
    table = np.empty((sum(map(len, features)), *shape), features[-1].dtype)
    end = 0
    for rows in features:
        begin, end = end, end + len(rows)
        table[begin:end] = rows
    return torch.from_numpy(table.reshape(end, -1))
