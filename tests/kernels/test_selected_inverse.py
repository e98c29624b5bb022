"""Entries of a sparse inverse are those of the dense one."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from coregstack.kernels.selected_inverse import selected_inverse


@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 10_000))
def test_agrees_with_the_dense_inverse(size, density, seed):
    rng = np.random.default_rng(seed)
    weight = np.triu(rng.uniform(0.01, 100, (size, size)) * (rng.random((size, size)) < density), 1)
    weight += weight.T
    matrix = np.diag(weight.sum(axis=1) + rng.uniform(0.01, 1, size)) - weight
    rows, cols = np.nonzero(matrix)
    diagonal, entries = selected_inverse(sp.csc_matrix(matrix), rows, cols)
    dense = np.linalg.inv(matrix)
    np.testing.assert_allclose(diagonal, np.diag(dense), rtol=1e-8)
    np.testing.assert_allclose(entries, dense[rows, cols], rtol=1e-8)


def test_singular_matrix_is_refused():
    with pytest.raises(RuntimeError, match="singular"):
        selected_inverse(sp.csc_matrix([[1.0, -1.0], [-1.0, 1.0]]), np.array([0]), np.array([1]))
