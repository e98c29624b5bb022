"""Which pairs of a network of shifts agree with one another, and where that puts the items.

Robust stage of the adjustment. Redescending weights, lowered in scale step by step from a start that trusts
pairs in loops which close (graduated non-convexity [1]_), find what most of the network agrees on; then each
item takes another place, if more of its own pairs agree on it.

References
----------
.. [1] Yang, H., Antonante, P., Tzoumas, V., Carlone, L. (2020). Graduated non-convexity for robust spatial
   perception. IEEE Robotics and Automation Letters 5(2), doi:10.1109/LRA.2020.2965893.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import cg

from coregstack.kernels.selected_inverse import factorise
from coregstack.network.loops import triple_closures

CRITICAL = 3.72
"""Length of a two-dimensional normal residual, in sigmas, that is exceeded once in a thousand."""
MAX_SCALE = 4.0
"""Largest factor by which sigmas may be too small: pairs with larger residuals are wrong."""
PRIOR = 20.0
"""Weight of the stated sigmas, in degrees of freedom, against the residuals."""
_SCALES = CRITICAL * 2.0 ** np.arange(4, -1, -1)
_ROUNDS = 6
_UNTESTED, _OPEN = 1e-2, 1e-4
_MEDIAN_RAYLEIGH = 1.1774


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """Pairs of items and the shifts between them; every item in it is connected with the anchor."""

    pairs: NDArray[np.int64]
    """Shape (m, 2): items (i, j) with i < j, sorted, each pair once."""
    shifts: NDArray[np.float64]
    """Shape (m, 2), px (y, x): ``s_j - s_i``."""
    sigmas: NDArray[np.float64]
    """Shape (m, 2), px (y, x): above 0."""
    count: int
    """Number of items."""
    anchor: int
    """The item whose shift is 0."""

    def misfit(self, position: NDArray[np.float64]) -> NDArray[np.float64]:
        """Length of each pair's residual in sigmas, shape (m,), for items at `position`, shape (n, 2)."""
        first, second = self.pairs.T
        residual = self.shifts - (position[second] - position[first])
        across, along = (residual / self.sigmas).T
        length: NDArray[np.float64] = np.hypot(across, along)
        return length

    def normal_matrix(self, weights: NDArray[np.float64], items: NDArray[np.int64]) -> sp.csc_matrix:
        """Normal matrix of the shifts of `items` for one weight a pair; the anchor is no unknown."""
        column = np.full(self.count, -1)
        column[items] = np.arange(items.size)
        ends = column[self.pairs]
        inner = (ends >= 0).all(axis=1)
        first, second = ends[inner].T
        diagonal = np.zeros(items.size)
        for end in ends.T:
            np.add.at(diagonal, end[end >= 0], weights[end >= 0])
        off = sp.coo_matrix((-weights[inner], (first, second)), shape=(items.size, items.size))
        return sp.csc_matrix(off + off.T + sp.diags(diagonal))

    def right_side(
        self, weights: NDArray[np.float64], items: NDArray[np.int64], axis: int
    ) -> NDArray[np.float64]:
        """Right side of the normal equations of one axis, for one weight a pair."""
        weighted = weights * self.shifts[:, axis]
        first, second = self.pairs.T
        total = np.zeros(self.count)
        np.add.at(total, second, weighted)
        np.add.at(total, first, -weighted)
        return total[items]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Consensus:
    """The pairs that most of a network agrees on."""

    accepted: NDArray[np.bool_]
    """Shape (m,): pairs that agree."""
    position: NDArray[np.float64]
    """Shape (n, 2), px: approximate shifts of the items."""
    scale: float
    """Factor by which residuals are longer than the stated sigmas, 1 to `MAX_SCALE`."""
    rivals: NDArray[np.int64]
    """Shape (n,): largest number of an item's rejected pairs that agree on another place for it."""


def find_consensus(network: Network) -> Consensus:
    """Find the pairs that agree.

    Parameters
    ----------
    network : Network
        The pairs that were matched.

    Returns
    -------
    Consensus
        The same whatever the order of the pairs.

    Examples
    --------
    >>> pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])
    >>> shifts = np.array([[1.0, 0], [2, 0], [9, 9], [1, 0], [2, 0], [1, 0]])
    >>> network = Network(pairs=pairs, shifts=shifts, sigmas=np.full((6, 2), 0.01), count=4, anchor=0)
    >>> find_consensus(network).accepted.tolist()
    [True, True, False, True, True, True]
    """
    weights, position = _trust_by_loops(network), np.zeros((network.count, 2))
    position = _weighted(network, weights, position)
    for limit in np.repeat(_SCALES, 2):
        position = _weighted(network, _descending(network, position, limit), position)
    scale, rivals = 1.0, np.zeros(network.count, np.int64)
    for _ in range(_ROUNDS):
        scale = _residual_scale(network, position)
        for _ in range(3):
            position = _weighted(network, _descending(network, position, CRITICAL * scale), position)
        accepted = network.misfit(position) <= CRITICAL * scale
        rivals, elsewhere = _rivals(network, position, accepted, scale)
        support = np.bincount(network.pairs[accepted].ravel(), minlength=network.count)
        moves = rivals > support
        if not moves.any():
            break
        position[moves] = elsewhere[moves]
    return Consensus(accepted=accepted, position=position, scale=scale, rivals=rivals)


def _trust_by_loops(network: Network) -> NDArray[np.float64]:
    """Starting weights: a wrong pair closes a loop only by chance, a right one closes its best loop."""
    triples = triple_closures(network.pairs, network.shifts)
    variance = (network.sigmas**2)[triples.pairs].sum(axis=1)
    open_by = np.sqrt((triples.closure**2 / variance).sum(axis=1))
    best = np.full(len(network.pairs), np.inf)
    tested = np.zeros(len(network.pairs), bool)
    for member in triples.pairs.T:
        np.minimum.at(best, member, open_by)
        tested[member] = True
    trust = np.maximum(1 / (1 + (best / (CRITICAL * MAX_SCALE)) ** 2) ** 2, _OPEN)
    return np.where(tested, trust, _UNTESTED)


def _descending(network: Network, position: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    """Weights of Geman and McClure; never exactly 0, so that the network stays connected."""
    return np.maximum(1 / (1 + (network.misfit(position) / limit) ** 2) ** 2, 1e-9)


def _weighted(
    network: Network, weights: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Shifts of weighted least squares, by conjugate gradients where they converge soon."""
    items = np.flatnonzero(np.arange(network.count) != network.anchor)
    items = items[np.isin(items, network.pairs)]
    position = start.copy()
    for axis in range(2 if items.size else 0):
        total = weights / network.sigmas[:, axis] ** 2
        matrix = network.normal_matrix(total, items)
        right = network.right_side(total, items, axis)
        position[items, axis], failed = cg(
            matrix, right, x0=start[items, axis], rtol=1e-9, maxiter=300, M=sp.diags(1 / matrix.diagonal())
        )
        if failed:
            position[items, axis] = factorise(matrix).solve(right)
    return position


def _residual_scale(network: Network, position: NDArray[np.float64]) -> float:
    """How much longer residuals are than their sigmas; 1 where there are too few."""
    misfit = network.misfit(position)
    near = misfit[misfit <= CRITICAL * MAX_SCALE]
    freedom = near.size - np.unique(network.pairs).size + 1
    if freedom <= 0 or not near.size:
        return 1.0
    seen = (np.median(near) / _MEDIAN_RAYLEIGH) ** 2 * near.size / freedom
    believed = (PRIOR + 2 * freedom * min(seen, MAX_SCALE**2)) / (PRIOR + 2 * freedom)
    return float(np.sqrt(max(believed, 1.0)))


def _rivals(
    network: Network, position: NDArray[np.float64], accepted: NDArray[np.bool_], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every item the largest group of rejected pairs that agree on one place, and that place."""
    first, second = network.pairs[~accepted].T
    shifts, sigmas = network.shifts[~accepted], network.sigmas[~accepted]
    item = np.concatenate([second, first])
    place = np.concatenate([position[first] + shifts, position[second] - shifts])
    sigma = np.concatenate([sigmas, sigmas])
    keep = item != network.anchor
    item, place, sigma = item[keep], place[keep], sigma[keep]
    order = np.lexsort((*place.T, item))
    item, place, sigma = item[order], place[order], sigma[order]
    size, elsewhere = np.zeros(network.count, np.int64), position.copy()
    starts = np.flatnonzero(np.diff(item, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], item.size], strict=False):
        here, spread = place[start:stop], sigma[start:stop] ** 2
        apart = (here[:, None] - here) ** 2 / (spread[:, None] + spread)
        agree = apart.sum(axis=2) <= (CRITICAL * scale) ** 2
        best = int(agree.sum(axis=1).argmax())
        size[item[start]] = agree[best].sum()
        elsewhere[item[start]] = np.average(here[agree[best]], axis=0, weights=1 / spread[agree[best]])
    return size, elsewhere
