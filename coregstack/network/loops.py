"""Loops of a network of shifts: what closes, what is a bridge, and what lies on the way to the anchor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

NOBODY = -1
"""Parent of the anchor and of items that the tree does not reach."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Triples:
    """All loops of three pairs."""

    items: NDArray[np.int64]
    """Shape (t, 3): the items of each loop, ascending."""
    pairs: NDArray[np.int64]
    """Shape (t, 3): positions of the pairs first-second, second-third and first-third."""
    closure: NDArray[np.float64]
    """Shape (t, 2), px: shift first to second plus second to third minus first to third; 0 if all agree."""


def triple_closures(pairs: NDArray[np.integer], shifts: NDArray[np.float64]) -> Triples:
    """Sum the shifts around every loop of three pairs.

    Parameters
    ----------
    pairs : NDArray
        Shape (m, 2), integer: items ``(i, j)`` of each pair; no pair twice, in either direction.
    shifts : NDArray
        Shape (m, 2), float64, px (y, x): the shift of `j` onto `i`, that is ``s_j - s_i``.

    Returns
    -------
    Triples
        Sorted by their items. Finding them costs as much as there are pairs, if every item but a few has
        few partners.

    Examples
    --------
    >>> pairs = np.array([[0, 1], [2, 1], [0, 2]])
    >>> shifts = np.array([[1.0, 0.0], [-1.0, 0.5], [2.0, 0.0]])
    >>> triple_closures(pairs, shifts).closure
    array([[ 0. , -0.5]])
    """
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    count = int(pairs.max(initial=-1)) + 1
    degree = np.bincount(pairs.ravel(), minlength=count)
    # Pairs point from the item with fewer partners to the one with more: nothing then has many successors.
    rank = np.empty(count, np.int64)
    rank[np.lexsort((np.arange(count), degree))] = np.arange(count)
    ranked = np.sort(rank[pairs], axis=1)
    order = np.lexsort((ranked[:, 1], ranked[:, 0]))
    tail, head = ranked[order].T
    keys = tail * count + head
    group_end = np.searchsorted(tail, tail, side="right")
    later = group_end - np.arange(tail.size) - 1
    first = np.repeat(np.arange(tail.size), later)
    second = first + 1 + np.arange(first.size) - np.repeat(np.cumsum(later) - later, later)
    wanted = head[first] * count + head[second]
    third = np.minimum(np.searchsorted(keys, wanted), max(keys.size - 1, 0))
    found = keys[third] == wanted if keys.size else np.zeros(0, bool)
    found_pairs = order[np.stack([first[found], second[found], third[found]], axis=1)]
    return _closed(pairs, np.asarray(shifts, np.float64).reshape(-1, 2), found_pairs)


def _closed(pairs: NDArray[np.int64], shifts: NDArray[np.float64], members: NDArray[np.int64]) -> Triples:
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    ascending = np.where(pairs[:, :1] < pairs[:, 1:], shifts, -shifts)
    # By (low, high) the three pairs of a loop come as first-second, first-third, second-third.
    within = np.lexsort((high[members], low[members]), axis=1)
    members = np.take_along_axis(members, within, axis=1)[:, [0, 2, 1]]
    items = np.stack([low[members[:, 0]], high[members[:, 0]], high[members[:, 1]]], axis=1)
    order = np.lexsort(items.T[::-1])
    members, items = members[order], items[order]
    a, b, c = members.T
    return Triples(items=items, pairs=members, closure=ascending[a] + ascending[b] - ascending[c])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """The most trusted way from every item to the anchor; every other pair closes a loop over it."""

    parent: NDArray[np.int64]
    """Shape (n,): next item on the way to the anchor, or `NOBODY`."""
    order: NDArray[np.int64]
    """Items that are reached, the anchor first, every item after its parent."""
    depth: NDArray[np.int64]
    """Shape (n,): pairs between the item and the anchor."""
    position: NDArray[np.float64]
    """Shape (n, 2), px: shift of the item, summed along the way."""
    variance: NDArray[np.float64]
    """Shape (n, 2), px²: variance of `position`."""
    member: NDArray[np.bool_]
    """Shape (m,): pairs that are part of the tree."""

    def way(self, item: int) -> tuple[int, ...]:
        """Items from `item` to the anchor, both included."""
        way = [item]
        while (above := int(self.parent[way[-1]])) != NOBODY:
            way.append(above)
        return tuple(way)

    def meeting(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """Item at which the ways of two items to the anchor meet, for arrays of items."""
        first, second = first.copy(), second.copy()
        apart = np.flatnonzero(first != second)
        while apart.size:
            a, b = first[apart], second[apart]
            up = self.depth[a] >= self.depth[b]
            level = self.depth[a] == self.depth[b]
            first[apart] = np.where(up, self.parent[a], a)
            second[apart] = np.where(level | ~up, self.parent[b], b)
            apart = apart[first[apart] != second[apart]]
        return first

    def closure(
        self, pairs: NDArray[np.int64], shifts: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Closure of the loop of each pair over the tree, px, and the variance of the tree's part of it, px².

        Shapes (k, 2), (k, 2) to (k, 2), (k, 2).
        """
        first, second = pairs.T
        shared = self.variance[self.meeting(first, second)]
        around = self.position[second] - self.position[first]
        return shifts - around, self.variance[first] + self.variance[second] - 2 * shared

    def over_edges(self, pairs: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum `values` of the loops that `pairs` close, over those that use the way from item to parent.

        Shapes (k, 2), (k,) to (n,).
        """
        first, second = pairs.T
        total = np.zeros(self.parent.size)
        np.add.at(total, first, values)
        np.add.at(total, second, values)
        np.add.at(total, self.meeting(first, second), -2 * values)
        return self._accumulated(total)

    def over_items(self, pairs: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum `values` of the loops that `pairs` close, over those that pass through each item.

        Shapes (k, 2), (k,) to (n,).
        """
        first, second = pairs.T
        top = self.meeting(first, second)
        at_top = np.zeros(self.parent.size)
        np.add.at(at_top, top, values)
        return self.over_edges(pairs, values) + at_top

    def _accumulated(self, total: NDArray[np.float64]) -> NDArray[np.float64]:
        for item in self.order[:0:-1]:
            total[self.parent[item]] += total[item]
        return total


def trusted_tree(
    pairs: NDArray[np.int64],
    shifts: NDArray[np.float64],
    variances: NDArray[np.float64],
    usable: NDArray[np.bool_],
    *,
    count: int,
    anchor: int,
) -> Tree:
    """Grow the tree whose ways to the anchor have the smallest variance.

    Parameters
    ----------
    pairs : NDArray
        Shape (m, 2), integer: items ``(i, j)`` of each pair; no pair twice.
    shifts, variances : NDArray
        Shape (m, 2), float64, px and px² (y, x): the shift ``s_j - s_i`` and its variance, above 0.
    usable : NDArray
        Shape (m,), bool: pairs that the tree may use.
    count, anchor : int
        Number of items, and which one is the anchor.

    Returns
    -------
    Tree

    Examples
    --------
    >>> tree = trusted_tree(np.array([[0, 1], [1, 2], [0, 2]]), np.array([[1.0, 0], [1, 0], [2, 0]]),
    ...                     np.array([[0.1, 0.1], [0.1, 0.1], [0.9, 0.9]]), np.ones(3, bool),
    ...                     count=3, anchor=0)
    >>> tree.way(2), tree.member.tolist()
    ((2, 1, 0), [True, True, False])
    """
    first, second = pairs[usable].T
    graph = sp.csr_matrix((variances[usable].sum(axis=1), (first, second)), shape=(count, count))
    cost, before = dijkstra(graph, directed=False, indices=anchor, return_predecessors=True)
    reached = np.flatnonzero(np.isfinite(cost))
    order = reached[np.argsort(cost[reached], kind="stable")].astype(np.int64)
    parent = np.where(before < 0, NOBODY, before).astype(np.int64)
    inner = (parent[pairs] == pairs[:, ::-1]) & usable[:, None]
    member = inner.any(axis=1)
    by_child = np.full(count, -1)
    child = np.where(inner[member, 0], pairs[member, 0], pairs[member, 1])
    by_child[child] = np.flatnonzero(member)
    depth = np.zeros(count, np.int64)
    position, variance = np.full((count, 2), np.nan), np.full((count, 2), np.inf)
    position[anchor], variance[anchor] = 0.0, 0.0
    for item in order[1:]:
        above, pair = parent[item], by_child[item]
        depth[item] = depth[above] + 1
        sign = 1.0 if pairs[pair, 1] == item else -1.0
        position[item] = position[above] + sign * shifts[pair]
        variance[item] = variance[above] + variances[pair]
    return Tree(parent=parent, order=order, depth=depth, position=position, variance=variance, member=member)
