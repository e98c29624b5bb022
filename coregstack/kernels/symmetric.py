"""Symmetric 2 x 2 matrices in bulk, each held as (yy, yx, xx) along the last axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SINGULAR = 1e-6
"""Eigenvalues smaller than the larger one by this factor count as 0."""


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pseudo-inverses: a direction that a matrix knows nothing of stays unknown.

    Parameters
    ----------
    matrix
        Positive semidefinite, shape (..., 3).

    Examples
    --------
    >>> inverse(np.array([2.0, 1.0, 1.0])).tolist(), inverse(np.array([2.0, 0.0, 0.0])).tolist()
    ([1.0, -1.0, 2.0], [0.5, 0.0, 0.0])
    """
    yy, yx, xx = (matrix[..., k] for k in range(3))
    det, trace = yy * xx - yx * yx, yy + xx
    regular = det > _SINGULAR * trace * trace
    adjugate = matrix[..., ::-1] * (1.0, -1.0, 1.0) / np.where(regular, det, 1.0)[..., None]
    # of rank one, a matrix is its own inverse but for the square of its only eigenvalue
    square = np.where(trace > 0, trace * trace, np.inf)[..., None]
    return np.where(regular[..., None], adjugate, matrix / square)


def product(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrices times vectors, shapes (..., 3) and (..., 2), broadcast.

    Examples
    --------
    >>> product(np.array([2.0, 1.0, 4.0]), np.array([1.0, 1.0])).tolist()
    [3.0, 5.0]
    """
    yy, yx, xx = (matrix[..., k] for k in range(3))
    y, x = vector[..., 0], vector[..., 1]
    first = yy * y + yx * x
    result = np.empty((*first.shape, 2))
    result[..., 0], result[..., 1] = first, yx * y + xx * x
    return result


def squared(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """``v @ M @ v`` of vectors of shape (..., 2).

    Examples
    --------
    >>> float(squared(np.array([2.0, 1.0, 4.0]), np.array([1.0, 1.0])))
    8.0
    """
    lengths: NDArray[np.float64] = (product(matrix, vector) * vector).sum(axis=-1)
    return lengths
