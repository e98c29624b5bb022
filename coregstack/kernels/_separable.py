"""Compiled products with splines along both axes: four neighbouring coefficients tell each block."""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np

from coregstack.kernels.compiling import compiled


@compiled
def along_both(nodes, first_down, down, first_along, along, out) -> None:
    """Fill `out` (down, across, 2) with splines of coefficients `nodes` (2, m, n).

    Block row i takes coefficients ``first_down[i]`` and the three after it with weights ``down[i]``; columns alike.
    """
    line = np.empty(nodes.shape[2])
    for i in range(out.shape[0]):
        for k in range(2):
            line[:] = 0.0
            for t in range(4):
                weight, source = down[i, t], nodes[k, first_down[i] + t]
                for j in range(line.size):
                    line[j] += weight * source[j]
            for j in range(out.shape[1]):
                start = first_along[j]
                out[i, j, k] = (along[j, 0] * line[start] + along[j, 1] * line[start + 1]) + (
                    along[j, 2] * line[start + 2] + along[j, 3] * line[start + 3]
                )


@compiled
def back_along_both(values, first_down, down, first_along, along, out) -> None:
    """Transpose of `along_both`: add `values` (down, across, 2) up into `out` (2, m, n), which is overwritten."""
    out[:] = 0.0
    line = np.empty(out.shape[2])
    for i in range(values.shape[0]):
        for k in range(2):
            line[:] = 0.0
            for j in range(values.shape[1]):
                start, value = first_along[j], values[i, j, k]
                for t in range(4):
                    line[start + t] += along[j, t] * value
            for t in range(4):
                weight, target = down[i, t], out[k, first_down[i] + t]
                for j in range(line.size):
                    target[j] += weight * line[j]
