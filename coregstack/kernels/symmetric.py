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
    # of rank one, a matrix is its own inverse but for the square of its only eigenvalue
    divisor = np.where(regular, det, np.where(trace > 0, trace * trace, np.inf))
    result = np.empty(matrix.shape)
    result[..., 0] = np.where(regular, xx, yy) / divisor
    result[..., 1] = np.where(regular, -yx, yx) / divisor
    result[..., 2] = np.where(regular, yy, xx) / divisor
    return result


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
    pulled = product(matrix, vector)
    # a sum over an axis of two costs numpy several times as much
    lengths: NDArray[np.float64] = pulled[..., 0] * vector[..., 0] + pulled[..., 1] * vector[..., 1]
    return lengths


def in_sigmas(vector: NDArray[np.float64], covariance: NDArray[np.float64]) -> float:
    """Squared length of one vector (y, x) in standard deviations, by the pseudo-inverse of its covariance.

    Parameters
    ----------
    vector
        Shape (2,).
    covariance
        Positive semidefinite, shape (2, 2).

    Examples
    --------
    >>> round(in_sigmas(np.array([0.2, 0.3]), np.diag([0.01, 0.09])), 6)
    5.0
    """
    (yy, yx), (_, xx) = covariance.tolist()
    y, x = vector.tolist()
    det, trace = yy * xx - yx * yx, yy + xx
    if det > _SINGULAR * trace * trace:
        return float((xx * y * y - 2 * yx * y * x + yy * x * x) / det)
    return float((yy * y * y + 2 * yx * y * x + xx * x * x) / (trace * trace)) if trace > 0 else 0.0
