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


@compiled
def there_and_back(
    nodes, linear, first_down, down, first_along, along, rows, cols, matrix, out, flat
) -> None:
    """Fill `out` (2, m, n) and `flat` (2, 3) with what the blocks' equations make of a displacement.

    The displacement is that of the splines of `nodes`, and of `linear` (2, 3) times 1, `rows` and `cols`; `matrix`
    (down, across, 3) is each block's (yy, yx, xx).
    """
    out[:] = 0.0
    flat[:] = 0.0
    lines, sums = np.empty((2, nodes.shape[2])), np.empty((2, nodes.shape[2]))
    for i in range(matrix.shape[0]):
        lines[:] = 0.0
        for k in range(2):
            for t in range(4):
                weight, source = down[i, t], nodes[k, first_down[i] + t]
                for j in range(source.size):
                    lines[k, j] += weight * source[j]
        sums[:] = 0.0
        begin_y, begin_x = linear[0, 0] + linear[0, 1] * rows[i], linear[1, 0] + linear[1, 1] * rows[i]
        total_y, total_x, first_y, first_x = 0.0, 0.0, 0.0, 0.0
        for j in range(matrix.shape[1]):
            a, b, c, d = along[j, 0], along[j, 1], along[j, 2], along[j, 3]
            s = first_along[j]
            y = begin_y + linear[0, 2] * cols[j]
            y += (a * lines[0, s] + b * lines[0, s + 1]) + (c * lines[0, s + 2] + d * lines[0, s + 3])
            x = begin_x + linear[1, 2] * cols[j]
            x += (a * lines[1, s] + b * lines[1, s + 1]) + (c * lines[1, s + 2] + d * lines[1, s + 3])
            pull_y = matrix[i, j, 0] * y + matrix[i, j, 1] * x
            pull_x = matrix[i, j, 1] * y + matrix[i, j, 2] * x
            total_y, total_x = total_y + pull_y, total_x + pull_x
            first_y, first_x = first_y + pull_y * cols[j], first_x + pull_x * cols[j]
            sums[0, s] += a * pull_y
            sums[0, s + 1] += b * pull_y
            sums[0, s + 2] += c * pull_y
            sums[0, s + 3] += d * pull_y
            sums[1, s] += a * pull_x
            sums[1, s + 1] += b * pull_x
            sums[1, s + 2] += c * pull_x
            sums[1, s + 3] += d * pull_x
        flat[0, 0] += total_y
        flat[0, 1] += total_y * rows[i]
        flat[0, 2] += first_y
        flat[1, 0] += total_x
        flat[1, 1] += total_x * rows[i]
        flat[1, 2] += first_x
        for k in range(2):
            for t in range(4):
                weight, target = down[i, t], out[k, first_down[i] + t]
                for j in range(target.size):
                    target[j] += weight * sums[k, j]
