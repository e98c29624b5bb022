"""Displacements that are smooth but for a few places, as beside the seam of a mosaic or at the foot of a cliff.

A displacement of a known spectrum is what a filter makes of its innovations, one a node, which have nothing in common
and are of one size. If they are Gaussian, an edge is as smooth as everything else. If they follow Student's t, a few of
them may be large: the displacement is found by weighing each by its size in the solution before [1]_.

References
----------
.. [1] Unser, M. and Tafti, P. D. (2014). An Introduction to Sparse Stochastic Processes. Cambridge University Press,
   chapters 4 and 10.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn, idctn

from coregstack.kernels.posterior import Large, Solution

_SWEEPS = 4


def with_edges(
    large: Large, target: NDArray[np.float64], smooth: Solution, freedom: float, noise: float, within: float
) -> Solution:
    """The displacement whose innovations follow Student's t.

    Parameters
    ----------
    large
        The equations with their Gaussian prior.
    target
        The blocks' right-hand side, shape (down, across, 2).
    smooth
        The displacement under the Gaussian prior, from which the search begins.
    freedom
        Degrees of freedom of Student's t.
    noise
        Variance of the blocks, in terms of what their equations say.
    within
        Part of the right-hand side that may be left over.

    Examples
    --------
    A step of 1 px is followed more sharply than by a Gaussian prior:

    >>> from coregstack.kernels.lattice import Lattice
    >>> from coregstack.kernels.posterior import Basis
    >>> from coregstack.kernels.prior import Prior
    >>> lattice = Lattice.of((120, 120))
    >>> places = np.arange(4.0, 120.0, 8.0)
    >>> basis = Basis(lattice, places, places)
    >>> step = np.broadcast_to(np.where(places < 60, 0.0, 1.0)[:, None, None], (15, 15, 2))
    >>> sure = np.ones((15, 15, 3)) * [1.0, 0.0, 1.0]
    >>> large = Large(basis, sure, np.sqrt(Prior(power=1e-2, length=48.0, slope=4.0).spectrum(lattice.shape, 12.0)))
    >>> smooth = large.solve(step)
    >>> sharp = with_edges(large, step, smooth, 1.0, 1e-4, 1e-4)
    >>> [round(float(np.abs(basis.blocks(s.linear, s.nodes) - step).max()), 1) for s in (smooth, sharp)]
    [0.5, 0.3]
    """
    found = smooth
    for _ in range(_SWEEPS):
        size = np.square(_innovations(large, found)).sum(axis=0) / noise
        found = _Uneven(large, (freedom + 2) / (freedom + size)).solve(target, found, within)
    return found


def _innovations(large: Large, solution: Solution) -> NDArray[np.float64]:
    """What the filter of the prior makes the splines' coefficients of, shape (2, down, across)."""
    z = dctn(solution.nodes, axes=(1, 2), norm="ortho") / np.where(large.scale > 0, large.scale, np.inf)
    innovations: NDArray[np.float64] = idctn(z, axes=(1, 2), norm="ortho")
    return innovations


class _Uneven(Large):
    """Equations with a weight for each innovation."""

    def __init__(self, large: Large, weight: NDArray[np.float64]) -> None:
        super().__init__(large.basis, large.matrix, large.scale)
        self.weight = weight
        self.easy = 1 / (1 / self.easy - 1 + weight.mean())

    def _held(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        held: NDArray[np.float64] = dctn(
            self.weight * idctn(z, axes=(1, 2), norm="ortho"), axes=(1, 2), norm="ortho"
        )
        return held
