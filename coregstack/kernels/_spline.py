"""Natural cubic splines on a lattice of nodes: second derivatives at the nodes, and compiled evaluation."""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_banded

from coregstack.kernels.compiling import compiled


def second_derivatives(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Values at nodes and their second derivatives: none, by rows, by columns, by both; shape (4, y, x)."""
    nodes = values.astype(float)
    by_rows = _curvature(nodes)
    return np.stack([nodes, by_rows, _curvature(nodes.T).T, _curvature(by_rows.T).T])


def _curvature(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Second derivatives of the natural splines down the first axis, in nodes; 0 at both ends."""
    out = np.zeros_like(nodes)
    inner = nodes.shape[0] - 2
    if inner > 0:
        bands = np.ones((3, inner))
        bands[1] = 4
        out[1:-1] = solve_banded((1, 1), bands, 6 * (nodes[2:] - 2 * nodes[1:-1] + nodes[:-2]))
    return out


@compiled
def _place(position, nodes) -> tuple[int, float]:
    """Node before a place, and the share of the way to the next one; the nearest end outside."""
    clamped = min(max(position, 0.0), nodes - 1.0)
    first = max(min(int(clamped), nodes - 2), 0)
    return first, clamped - first


@compiled
def _powers(here, there, bend, further) -> tuple[float, float, float, float]:
    """Coefficients of the powers of the way between two nodes, from values and second derivatives at both."""
    return here, (there - here) - (2 * bend + further) / 6, bend / 2, (further - bend) / 6


@compiled
def _cubic(here, there, bend, further, share) -> float:
    a, b, c, d = _powers(here, there, bend, further)
    return a + share * (b + share * (c + share * d))


@compiled
def evaluate_crossings(table, rows, cols, out) -> None:
    """Fill `out` (y, x) with the spline at every crossing of `rows` and `cols`, counted in steps."""
    _, ny, nx = table.shape
    values, bends = np.empty(nx), np.empty(nx)
    firsts, shares = np.empty(cols.size, np.int64), np.empty(cols.size)
    for j in range(cols.size):
        firsts[j], shares[j] = _place(cols[j], nx)
    for i in range(rows.size):
        first, share = _place(rows[i], ny)
        after = min(first + 1, ny - 1)
        for line, k in ((values, 0), (bends, 2)):
            here, there = table[k, first], table[k, after]
            bend, further = table[k + 1, first], table[k + 1, after]
            for j in range(nx):
                line[j] = _cubic(here[j], there[j], bend[j], further[j], share)
        start = 0
        while start < cols.size:
            j = firsts[start]
            stop = start + 1
            while stop < cols.size and firsts[stop] == j:
                stop += 1
            k = min(j + 1, nx - 1)
            a, b, c, d = _powers(values[j], values[k], bends[j], bends[k])
            part, way = out[i, start:stop], shares[start:stop]
            for column in range(part.size):
                part[column] = a + way[column] * (b + way[column] * (c + way[column] * d))
            start = stop


@compiled
def evaluate_points(table, rows, cols, out) -> None:
    """Fill `out` (n,) with the spline at the points ``(rows[i], cols[i])``, counted in steps."""
    _, ny, nx = table.shape
    for i in range(out.size):
        y, down = _place(rows[i], ny)
        x, along = _place(cols[i], nx)
        below, right = min(y + 1, ny - 1), min(x + 1, nx - 1)
        left = _down(table, y, below, x, down)
        after = _down(table, y, below, right, down)
        out[i] = _cubic(left[0], after[0], left[1], after[1], along)


@compiled
def _down(table, first, after, column, share) -> tuple[float, float]:
    """Value, and second derivative along the columns, of the spline down one column of nodes."""
    value = _cubic(
        table[0, first, column],
        table[0, after, column],
        table[1, first, column],
        table[1, after, column],
        share,
    )
    bend = _cubic(
        table[2, first, column],
        table[2, after, column],
        table[3, first, column],
        table[3, after, column],
        share,
    )
    return value, bend
