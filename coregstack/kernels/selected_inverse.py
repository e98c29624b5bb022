"""Entries of the inverse of a sparse matrix, without ever forming the inverse.

The covariance of a least-squares adjustment is the inverse of its normal matrix. Only its diagonal and
the entries of observed pairs are wanted, and all of those lie inside the pattern of the triangular
factor, where the recurrence of Takahashi gives them exactly [1]_.

References
----------
.. [1] Takahashi, K., Fagan, J., Chin, M.-S. (1973). Formation of a sparse bus impedance matrix and its
   application to short circuit study. 8th PICA Conference, 63-69.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from coregstack.kernels.compiling import compiled


def factorise(matrix: sp.csc_matrix) -> Any:
    """Sparse LU of a symmetric positive definite matrix, with symmetric pivots.

    Parameters
    ----------
    matrix : scipy.sparse.csc_matrix
        Shape (n, n), float64, symmetric positive definite.

    Returns
    -------
    scipy.sparse.linalg.SuperLU
        Its row and column permutations are the same.

    Raises
    ------
    RuntimeError
        If the matrix is singular.
    """
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def selected_inverse(
    matrix: sp.csc_matrix, rows: NDArray[np.integer], cols: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Diagonal and chosen entries of the inverse of a symmetric positive definite matrix.

    Parameters
    ----------
    matrix : scipy.sparse.csc_matrix
        Shape (n, n), float64, symmetric positive definite, with non-positive off-diagonal entries (so
        that nothing cancels in its factor).
    rows, cols : NDArray
        Shape (k,) each, integer: entries that are wanted. Each has to be a stored entry of `matrix`.

    Returns
    -------
    diagonal : NDArray
        Shape (n,), float64: diagonal of the inverse.
    entries : NDArray
        Shape (k,), float64: the inverse at ``(rows, cols)``.

    Examples
    --------
    >>> matrix = sp.csc_matrix([[2.0, -1.0], [-1.0, 2.0]])
    >>> diagonal, entries = selected_inverse(matrix, np.array([0]), np.array([1]))
    >>> diagonal.round(6).tolist(), entries.round(6).tolist()
    ([0.666667, 0.666667], [0.333333])
    """
    factor = factorise(matrix)
    pivots = factor.U.diagonal()
    lower = sp.tril(factor.L, k=-1, format="csc")
    lower.sort_indices()
    diagonal, below = _takahashi(lower.indptr, lower.indices, lower.data, pivots)
    order = factor.perm_c
    inverse = sp.csc_matrix((below, lower.indices, lower.indptr), shape=matrix.shape)
    first, second = order[rows], order[cols]
    below_at = inverse[np.maximum(first, second), np.minimum(first, second)]
    entries = np.asarray(below_at, np.float64).ravel() if first.size else np.empty(0)
    same = first == second
    entries[same] = diagonal[first[same]]
    return diagonal[order], entries


@compiled
def _takahashi(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    lower: NDArray[np.float64],
    pivots: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Inverse of ``L D L^T`` inside the pattern of the strictly lower, sorted, unit factor L."""
    n = pivots.size
    diagonal = np.empty(n)
    below = np.zeros(lower.size)
    total = np.zeros(n)
    factor = np.zeros(n)
    for j in range(n - 1, -1, -1):
        start, stop = indptr[j], indptr[j + 1]
        for a in range(start, stop):
            factor[indices[a]] = lower[a]
        for a in range(start, stop):
            k, scale = indices[a], lower[a]
            gathered = scale * diagonal[k]
            for b in range(indptr[k], indptr[k + 1]):
                i, value = indices[b], below[b]
                if factor[i] != 0.0:
                    gathered += factor[i] * value
                    total[i] += scale * value
            total[k] += gathered
        variance = 1.0 / pivots[j]
        for a in range(start, stop):
            i = indices[a]
            below[a] = -total[i]
            variance += lower[a] * total[i]
        diagonal[j] = variance
        for a in range(start, stop):
            factor[indices[a]] = 0.0
            total[indices[a]] = 0.0
    return diagonal, below
