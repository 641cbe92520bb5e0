"""Small matrices in double precision (csrc/algebra.inc.h)."""

from __future__ import annotations

import numpy as np

EPSILON = np.finfo(np.float64).eps


SINGULAR = 1e-12


def double(matrix):
    return np.ascontiguousarray(matrix).astype(np.complex128)


def dagger(matrix):
    """The conjugate transpose."""
    return np.ascontiguousarray(matrix.conj().T)


def norm2(matrix):
    return np.sum(matrix.real**2 + matrix.imag**2)


def scale_to_power(matrix, power, target):
    """The matrix scaled from one power to another; zero stays zero."""
    return matrix * np.sqrt(target / power) if power > 0.0 else matrix


def rank_tolerance(matrix):
    """Relative size under which a singular value counts as zero, as in numpy.linalg.matrix_rank."""
    return max(matrix.shape) * np.finfo(matrix.real.dtype).eps


def pseudo_invert(matrix, tolerance):
    """Minimum-norm inverse and rank; zeros for a zero matrix."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    rank = np.sum(values > tolerance * values[0])
    inverse = np.zeros_like(values)
    inverse[:rank] = 1.0 / values[:rank]
    columns = dagger(right) * inverse
    return columns @ dagger(left), rank
