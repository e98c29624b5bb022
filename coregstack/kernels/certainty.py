"""How well a displacement and its mean are known: from the equations, and far from where anything was seen.

References
----------
.. [1] Cook, R. D. and Weisberg, S. (1982). Residuals and Influence in Regression. Chapman and Hall, chapter 2.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from coregstack.kernels.finer import TAIL
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.posterior import DENSE, Basis, Large, Normal
from coregstack.kernels.state import State, noise_of
from coregstack.model import FIELD, SHIFT

if TYPE_CHECKING:
    from coregstack.kernels.equations import Grid

_SAMPLES = 8
"""Displacements by chance that tell the sigma of a field."""
_FORGOTTEN = 0.6
"""Lengths, over which a displacement changes by itself, from seen ground, where little of what that says is left."""
METHOD = 0.0015
"""What the method itself gets wrong along an axis when all is well, as by aliasing, px."""


def uncertainty(
    state: State, usable: NDArray[np.float64]
) -> tuple[State, NDArray[np.float64], NDArray[np.float64]]:
    """The state with the noise of its blocks told anew, variance along an axis at each node, sigma of the mean (y, x).

    A field bends to each block as far as its prior lets it, so that blocks lie nearer to it than to the truth: by the
    part that the block itself has in what is found there, its leverage [1]_.
    """
    basis, prior = state.weighed.basis, state.prior
    rows, cols = basis.lattice.nodes
    linear = basis.lattice.linear(rows, cols).reshape(-1, 3)
    mean = np.einsum("ij,ijk->k", usable, basis.linear) / usable.sum()
    if state.model != FIELD or prior is None:
        count = 1 if state.model == SHIFT else 3
        some = basis.linear.reshape(-1, 3)[:, :count]
        equations = state.weighed.equations
        posterior = Normal.of(
            some, equations.matrix.reshape(-1, 3), equations.target.reshape(-1, 2)
        ).posterior(np.full(count, np.inf))
        variance = posterior.variance(linear[:, :count]).mean(axis=1).reshape(basis.lattice.shape)
        of_mean = posterior.variance(mean[None, :count])[0]
    else:
        large = Large(basis, state.weighed.equations.matrix, state.weighed.scale(prior))
        of_mean = large.variance_of_mean(usable)
        matrix = state.weighed.equations.matrix
        variance, of_blocks = field_variance(basis, matrix, large)
        leverage = (matrix[..., 0] + matrix[..., 2]) / 2 * of_blocks
        state = replace(state, noise=noise_of(state.plain.misfit(state.now), state.plain.heard, leverage))
        variance += TAIL * prior.beyond(basis.lattice.step) / state.weighed.texture
    return state, variance * state.noise + METHOD**2, np.sqrt(of_mean * state.noise + METHOD**2)


def field_variance(
    basis: Basis, matrix: NDArray[np.float64], large: Large
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of a field along an axis at each node and at each block, in units of the noise.

    Exact in small scenes, and from chance displacements in large ones.
    """
    lattice = basis.lattice
    places = Basis(lattice, *lattice.nodes), basis
    if large.scale.size <= DENSE:
        functions = [at.dense() for at in places]
        normal = Normal.of(functions[1], matrix.reshape(-1, 3), np.zeros((matrix[..., 0].size, 2)))
        posterior = normal.posterior(np.concatenate([np.full(3, np.inf), large.scale.ravel()[1:]]))
        at_nodes, at_blocks = (posterior.variance(some).mean(axis=1) for some in functions)
        return at_nodes.reshape(lattice.shape), at_blocks.reshape(matrix.shape[:2])
    rng = np.random.default_rng(0)
    squares = [np.zeros(lattice.shape), np.zeros(matrix.shape[:2])]
    for _ in range(_SAMPLES):
        sample = large.sample(rng)
        for total, at in zip(squares, places, strict=True):
            total += np.square(at.blocks(sample.linear, sample.nodes)).mean(axis=-1) / _SAMPLES
    smoothed = [gaussian_filter(total, 1.0, mode="nearest") for total in squares]
    return smoothed[0], smoothed[1]


def unseen_sigma(state: State, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sigma at each node by how far it lies from ground that tells its displacement, px; 0 on such ground."""
    if state.model != FIELD:
        return np.zeros(state.weighed.basis.lattice.shape)
    bent, matrix = state.now - mean, state.weighed.equations.matrix
    square = float(np.square(bent[state.plain.heard]).mean())
    told = (matrix[..., 0] + matrix[..., 2]) / 2 * square > state.noise
    return forgotten(state.weighed.basis.lattice, state.plain.grid, bent, state.plain.heard, told)


def forgotten(
    lattice: Lattice,
    grid: Grid,
    bent: NDArray[np.float64],
    heard: NDArray[np.bool_],
    told: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Sigma at each node by how far it lies from blocks that tell a displacement; 0 where they do.

    The prior of most evidence is that of the ground that is seen, and of long waves it knows little. Over more than
    the distance in which the displacement itself changes, nothing is known but how far it lies about its mean.

    Parameters
    ----------
    lattice, grid
        Nodes and blocks.
    bent
        Displacement of the blocks about its mean, shape (down, across, n).
    heard, told
        Blocks that say something, and those that say more than nothing of the displacement, shape (down, across).
    """
    square = float(np.square(bent[heard]).sum(axis=-1).mean()) / bent.shape[-1]
    if square == 0 or not told.any():
        return np.zeros(lattice.shape)
    slope = np.mean([np.square(np.diff(bent, axis=k)).mean() for k in (0, 1)]) / grid.pitch**2
    length = np.sqrt(square / max(float(slope), 1e-12))
    distance = np.asarray(distance_transform_edt(~told)) * grid.pitch
    away = np.maximum(near_nodes(lattice, grid, distance) - grid.pitch, 0.0)
    unknown: NDArray[np.float64] = np.sqrt(square * -np.expm1(-np.square(away / (_FORGOTTEN * length))))
    return unknown


def near_nodes(lattice: Lattice, grid: Grid, blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the blocks nearest to the nodes."""
    index = [
        np.clip(np.rint((nodes - places[0]) / grid.pitch).astype(int), 0, places.size - 1)
        for nodes, places in zip(lattice.nodes, (grid.rows, grid.cols), strict=True)
    ]
    return blocks[np.ix_(*index)]


def at_blocks(state: State, nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of the nodes at the blocks, each from the nearest node."""
    lattice, grid = state.weighed.basis.lattice, state.plain.grid
    index = [
        np.clip(np.rint((places - start) / lattice.step).astype(int), 0, n - 1)
        for places, start, n in zip((grid.rows, grid.cols), lattice.origin, lattice.shape, strict=True)
    ]
    return nodes[np.ix_(*index)]
