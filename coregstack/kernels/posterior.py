"""Displacement from the equations of blocks: least squares with a shift, a linear map or splines as the basis.

The linear part is free, and the splines' coefficients are held to 0 by a `Prior` in units of the blocks' noise. Small
scenes are solved as they are, which also gives the evidence for a prior; large ones by conjugate gradients in the
cosine transform of the coefficients, where the prior is diagonal and blocks of mean texture are so nearly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from coregstack.kernels._separable import along_both, back_along_both, there_and_back
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.prior import response

DENSE = 500
"""Nodes up to which the sigma of a field is computed exactly."""
_TOLERANCE = 1e-4
_ROUGHLY = 1e-2
"""Part of the right-hand side that is left over where a spread is told."""
_TURNS = 150
_LINEAR = 3
"""Functions of the linear part of each axis."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solution:
    """A displacement: a linear map and splines."""

    linear: NDArray[np.float64]
    """Coefficients of 1, y, x for (y, x), shape (2, 3)."""
    nodes: NDArray[np.float64]
    """Coefficients of the splines, shape (2, down, across); 0 for a shift or a linear map."""

    def at(
        self, lattice: Lattice, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The displacement (y, x) on a grid of frame positions, shape (rows, cols, 2)."""
        return Basis(lattice, rows, cols).blocks(self.linear, self.nodes)


class Basis:
    """What takes coefficients to blocks and back, for one grid of blocks and one lattice."""

    def __init__(
        self, lattice: Lattice, rows: NDArray[np.float64], cols: NDArray[np.float64], side: int = 1
    ) -> None:
        """`side` of the blocks, px, over which the displacement is averaged; 1 for the displacement at places."""
        self.lattice = lattice
        self.linear = lattice.linear(rows, cols)
        self.down, self.along = lattice.rows(rows, side), lattice.cols(cols, side)

    def blocks(self, linear: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacement of each block, shape (down, across, 2)."""
        bent = np.empty((self.down.first.size, self.along.first.size, 2))
        along_both(nodes, self.down.first, self.down.weights, self.along.first, self.along.weights, bent)
        return bent + self.linear @ linear.T

    def adjoint(self, values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Transpose of `blocks`: what (down, across, 2) gives to the linear part (2, 3) and to the nodes."""
        linear = values.reshape(-1, 2).T @ self.linear.reshape(-1, _LINEAR)
        nodes = np.empty((2, *self.lattice.shape))
        down, along = self.down, self.along
        back_along_both(values, down.first, down.weights, along.first, along.weights, nodes)
        return linear, nodes

    def weighted(
        self, linear: NDArray[np.float64], nodes: NDArray[np.float64], matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`adjoint` of `matrix` (down, across, 3) times `blocks`, in one go."""
        flat, out = np.empty((2, _LINEAR)), np.empty((2, *self.lattice.shape))
        down, along = self.down, self.along
        taps = down.first, down.weights, along.first, along.weights
        rows, cols = self.linear[:, 0, 1].copy(), self.linear[0, :, 2].copy()
        there_and_back(nodes, linear, *taps, rows, cols, matrix, out, flat)
        return flat, out

    def dense(self) -> NDArray[np.float64]:
        """All functions at all blocks, shape (blocks, 3 + nodes - 1): linear ones, then cosines of coefficients."""
        m, n = self.lattice.shape
        down = self.down.dense() @ idctn(np.eye(m), axes=[0], norm="ortho")
        along = self.along.dense() @ idctn(np.eye(n), axes=[0], norm="ortho")
        bent = np.einsum("ia,jb->ijab", down, along).reshape(down.shape[0] * along.shape[0], m * n)
        return np.concatenate([self.linear.reshape(len(bent), _LINEAR), bent[:, 1:]], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Normal:
    """Normal equations of all functions of a `Basis`, the axes one after the other."""

    matrix: NDArray[np.float64]
    vector: NDArray[np.float64]

    def __sub__(self, other: Normal) -> Normal:
        return Normal(matrix=self.matrix - other.matrix, vector=self.vector - other.vector)

    def __add__(self, other: Normal) -> Normal:
        return Normal(matrix=self.matrix + other.matrix, vector=self.vector + other.vector)

    @classmethod
    def of(
        cls, functions: NDArray[np.float64], matrix: NDArray[np.float64], target: NDArray[np.float64]
    ) -> Normal:
        """Sums over blocks; shapes (blocks, functions), (blocks, 3) and (blocks, 2)."""
        yy, yx, xx = ((functions.T * matrix[:, k]) @ functions for k in range(3))
        return cls(
            matrix=np.block([[yy, yx], [yx, xx]]),
            vector=np.concatenate([functions.T @ target[:, 0], functions.T @ target[:, 1]]),
        )

    def posterior(self, scale: NDArray[np.float64]) -> Posterior:
        """Solve with functions of prior deviation `scale` each, shape (functions,); infinite is free, 0 leaves out."""
        both = np.concatenate([scale, scale])
        free = np.isinf(both)
        kept = both > 0
        factor = np.where(free, 1.0, both)[kept]
        matrix = self.matrix.copy() if kept.all() else self.matrix[np.ix_(kept, kept)]
        matrix *= factor[:, None]
        matrix *= factor
        size = np.trace(matrix) / len(matrix)
        matrix[np.diag_indices_from(matrix)] += np.where(free[kept], 1e-12 * size, 1.0)
        # symmetric, and so the same the other way round, which is how LAPACK takes it without a copy
        cholesky, _ = la.cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
        right = self.vector[kept] * factor
        whitened = la.solve_triangular(cholesky, right, lower=True, check_finite=False)
        return Posterior(cholesky=cholesky, whitened=whitened, factor=factor, kept=kept)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posterior:
    """What the equations say of the functions that take part."""

    cholesky: NDArray[np.float64]
    """Lower triangle; what lies above the diagonal is left to chance."""
    whitened: NDArray[np.float64]
    factor: NDArray[np.float64]
    kept: NDArray[np.bool_]

    @property
    def explained(self) -> float:
        """Part of the equations' total that is explained."""
        return float(self.whitened @ self.whitened)

    @property
    def log_det(self) -> float:
        """Logarithm of the posterior precision's determinant over the prior's."""
        return float(2 * np.log(np.diag(self.cholesky)).sum())

    @property
    def mean(self) -> NDArray[np.float64]:
        """Coefficients of all functions, shape (2, functions)."""
        out = np.zeros(self.kept.size)
        out[self.kept] = self.factor * la.solve_triangular(
            self.cholesky, self.whitened, lower=True, trans=1, check_finite=False
        )
        return out.reshape(2, -1)

    def variance(self, functions: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance, in units of the noise, of each axis at places (places, functions); shape (places, 2)."""
        out = []
        for k in range(2):
            wide = np.zeros((self.kept.size, len(functions)))
            wide[k * functions.shape[1] : (k + 1) * functions.shape[1]] = functions.T
            some = wide[self.kept] * self.factor[:, None]
            out.append(
                np.square(la.solve_triangular(self.cholesky, some, lower=True, check_finite=False)).sum(
                    axis=0
                )
            )
        return np.stack(out, axis=-1)


class Large:
    """Equations of all blocks with a prior, solved by conjugate gradients."""

    def __init__(self, basis: Basis, matrix: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        """`matrix` (down, across, 3) is the blocks' information, `scale` the prior deviation of each cosine."""
        self.basis, self.matrix, self.scale = basis, matrix, scale
        shape = basis.lattice.shape
        each = (matrix[..., 0].sum() + matrix[..., 2].sum()) / 2 / np.prod(shape)
        seen = response(shape[0])[:, None] * response(shape[1])[None]
        self.easy = 1 / (1 + each * seen * np.square(scale))
        linear = basis.linear.reshape(-1, _LINEAR)
        yy, yx, xx = ((linear.T * matrix[..., k].ravel()) @ linear for k in range(3))
        normal = np.block([[yy, yx], [yx, xx]])
        self.flat = la.cho_factor(normal + 1e-12 * np.trace(normal) * np.eye(2 * _LINEAR))

    def _nodes(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        nodes: NDArray[np.float64] = idctn(z * self.scale, axes=(1, 2), norm="ortho")
        return nodes

    def _pull(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._joined(*self.basis.adjoint(values))

    def _joined(self, linear: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([linear.ravel(), (dctn(nodes, axes=(1, 2), norm="ortho") * self.scale).ravel()])

    def _split(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return x[: 2 * _LINEAR].reshape(2, _LINEAR), x[2 * _LINEAR :].reshape(2, *self.scale.shape)

    def _apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        linear, z = self._split(x)
        out = self._joined(*self.basis.weighted(linear, self._nodes(z), self.matrix))
        out[2 * _LINEAR :] += self._held(z).ravel()
        return out

    def _held(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """How the prior holds cosines, in terms of their deviation each."""
        return z

    def _ease(self, r: NDArray[np.float64]) -> NDArray[np.float64]:
        linear, z = self._split(r)
        return np.concatenate([la.cho_solve(self.flat, linear.ravel()), (z * self.easy).ravel()])

    def _conjugate(
        self, right: NDArray[np.float64], start: NDArray[np.float64] | None = None, within: float = _TOLERANCE
    ) -> NDArray[np.float64]:
        x = np.zeros_like(right) if start is None else start.copy()
        rest = right.copy()
        goal = float(rest @ self._ease(rest)) * within**2
        if start is not None:
            rest -= self._apply(x)
        eased = self._ease(rest)
        way, power = eased, float(rest @ eased)
        for _ in range(_TURNS):
            if power <= goal:
                break
            image = self._apply(way)
            length = power / float(way @ image)
            x += length * way
            rest -= length * image
            eased = self._ease(rest)
            power, last = float(rest @ eased), power
            way = eased + (power / last) * way
        return x

    def solve(
        self, target: NDArray[np.float64], start: Solution | None = None, within: float = _TOLERANCE
    ) -> Solution:
        """The displacement.

        Parameters
        ----------
        target
            The blocks' right-hand side, shape (down, across, 2).
        start
            A displacement that is near to it.
        within
            Part of the right-hand side that may be left over.
        """
        first = None
        if start is not None:
            z = dctn(start.nodes, axes=(1, 2), norm="ortho") / np.where(self.scale > 0, self.scale, np.inf)
            first = np.concatenate([start.linear.ravel(), z.ravel()])
        return self._solution(self._conjugate(self._pull(target), first, within))

    def _solution(self, x: NDArray[np.float64]) -> Solution:
        linear, z = self._split(x)
        return Solution(linear=linear, nodes=self._nodes(z))

    def sample(self, rng: np.random.Generator) -> Solution:
        """A displacement by chance with the covariance of what is found, in units of the noise."""
        yy, yx, xx = (self.matrix[..., k] for k in range(3))
        root = np.sqrt(np.maximum(yy, 0))
        low = np.where(root > 0, yx / np.where(root > 0, root, 1), 0)
        last = np.sqrt(np.maximum(xx - low * low, 0))
        one, two = rng.standard_normal((2, *yy.shape))
        right = self._pull(np.stack([root * one, low * one + last * two], axis=-1))
        right[2 * _LINEAR :] += rng.standard_normal(right.size - 2 * _LINEAR)
        return self._solution(self._conjugate(right, None, _ROUGHLY))

    def variance_of_mean(self, weight: NDArray[np.float64]) -> NDArray[np.float64]:
        """Variance of the mean displacement (y, x) over blocks of some weight, in units of the noise, shape (2,)."""
        out = []
        for k in range(2):
            values = np.zeros((*weight.shape, 2))
            values[..., k] = weight / weight.sum()
            right = self._pull(values)
            out.append(float(right @ self._conjugate(right, None, _ROUGHLY)))
        return np.array(out)
