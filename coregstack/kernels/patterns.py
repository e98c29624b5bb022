"""Patterns in which the dates of a stack are displaced, and the few numbers of a date against them.

A height error displaces every date along its own view, in one pattern: ``d(x) = a + v h(x)``, with the pattern `h`
common to the stack, the view `v` of the date, and a linear map `a` of its own. `coregstack.network.terrain` finds the
patterns from what all dates tell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.equations import Equations, Grid
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.posterior import Basis, Normal
from coregstack.kernels.symmetric import product

PITCH = 8
"""Side of the blocks, px."""
LINEAR = 3
"""Functions that each date has of its own: 1, y and x."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """What the blocks of one date tell: normal equations in units of their noise."""

    grid: Grid
    matrix: NDArray[np.float32]
    """Information on the displacement (yy, yx, xx), 1 / px^2, shape (down, across, 3)."""
    target: NDArray[np.float32]
    """``matrix @ displacement`` (y, x), 1 / px, shape (down, across, 2)."""
    own: NDArray[np.float32]
    """Displacement that they are told about (y, x), as by a field of the date's own, px, shape (down, across, 2)."""

    usable: NDArray[np.float32]
    """Part of each block that is usable, 0 to 1, shape (down, across)."""

    BYTES: ClassVar[int] = 32
    """Memory that one block takes."""

    def equations(self) -> Equations:
        """The same as equations of blocks."""
        matrix, here = self.matrix.astype(np.float64), self.own.astype(np.float64)
        usable = self.usable.astype(np.float64)
        return Equations(
            grid=self.grid,
            matrix=matrix,
            vector=self.target - product(matrix, here),
            here=here,
            usable=usable,
            shared=np.ones(usable.shape),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patterns:
    """Patterns that the displacements of a stack have in common; each has mean 0 and rms 1 over the ground seen."""

    lattice: Lattice
    linear: NDArray[np.float64]
    """Linear part of each, coefficients of 1, y, x, shape (patterns, 3)."""
    nodes: NDArray[np.float64]
    """Coefficients of the splines of each, shape (patterns, down, across)."""
    variance: NDArray[np.float64]
    """Variance of each at the nodes, shape (patterns, down, across)."""
    precision: NDArray[np.float64]
    """Prior precision, 1 / px^2, of the numbers of a date along either axis: of 1, y, x and of each pattern."""
    dates: int
    """Dates that they were found from."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.linear)

    def functions(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64], side: int = 1
    ) -> NDArray[np.float64]:
        """1, y, x and the patterns at places, or their means over blocks, shape (rows, cols, 3 + patterns)."""
        basis = Basis(self.lattice, rows, cols, side)
        flat, still = np.zeros(LINEAR), np.zeros(self.lattice.shape)
        values = [
            basis.blocks(np.stack([linear, flat]), np.stack([nodes, still]))[..., 0]
            for linear, nodes in zip(self.linear, self.nodes, strict=True)
        ]
        return np.concatenate([basis.linear, *(one[..., None] for one in values)], axis=-1)

    def displacement(self, numbers: NDArray[np.float64], grid: Grid) -> NDArray[np.float64]:
        """Mean displacement (y, x) of the blocks of a date by its numbers, shape (down, across, 2)."""
        return self.functions(grid.rows, grid.cols, grid.pitch) @ numbers.T


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Numbers:
    """The few numbers of a date, by least squares."""

    values: NDArray[np.float64]
    """Coefficients of 1, y, x and of each pattern for (y, x), px, shape (2, n)."""
    covariance: NDArray[np.float64]
    """Of all of them, the axes one after the other, px^2, shape (2 n, 2 n)."""


def fitted(normal: Normal, precision: NDArray[np.float64]) -> Numbers:
    """Numbers of a date from its normal equations, held to 0 by a prior of some precision, shape (n,)."""
    matrix = normal.matrix + np.diag(np.concatenate([precision, precision]))
    # what nothing is known of stays 0
    matrix[np.diag_indices_from(matrix)] += 1e-12 * max(float(np.trace(matrix)), 1e-12)
    covariance = np.asarray(np.linalg.inv(matrix), np.float64)
    return Numbers(values=(covariance @ normal.vector).reshape(2, -1), covariance=covariance)


def normal_of(
    functions: NDArray[np.float64], matrix: NDArray[np.floating], target: NDArray[np.floating]
) -> Normal:
    """Normal equations of functions (down, across, n) from those of blocks, (down, across, 3) and (..., 2)."""
    return Normal.of(
        functions.reshape(-1, functions.shape[-1]),
        matrix.reshape(-1, 3).astype(np.float64),
        target.reshape(-1, 2).astype(np.float64),
    )
