"""How far each item of a network can be trusted: confirmed by loops, dependent on one pair, or in dispute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.network.consensus import Consensus, Network
from coregstack.network.loops import Tree, trusted_tree

_CRITICAL_LOOP = 4.8
"""Length of a loop's closure in sigmas that is exceeded once in 100 000: loops are many, and share pairs."""
_TELLING_SIGMA = 0.2
"""A pair that is known no better than this, px, agrees with nearly everything, and so confirms nothing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trust:
    """How far pairs, shape (m,), and items, shape (n,), can be trusted."""

    tree: Tree
    """The most trusted ways to the anchor."""
    used: NDArray[np.bool_]
    """Shape (m,): pairs that agree with the others and lead to the anchor."""
    reached: NDArray[np.bool_]
    """Used pairs lead to the item, and fewer pairs contradict its place than support it."""
    checked: NDArray[np.bool_]
    """Reached by loops that close; more pairs agree than contradict, at the item and all along its way."""
    hanging: NDArray[np.bool_]
    """No closing loop leads to the item: its own pair to its parent, or one further up, is a bridge."""
    bridge: NDArray[np.bool_]
    """The pair to the item's parent in the tree is part of no loop that closes."""
    closure: NDArray[np.float64]
    """Rms length of the closures of loops through the item, px; NaN where there is none."""


def judge(network: Network, consensus: Consensus) -> Trust:
    """Test the loops that accepted pairs close, and what depends on them.

    Every accepted pair that is no part of the most trusted tree closes one loop over it. A pair whose loop
    does not close is dropped. A tree's pair in no closing loop is a bridge: all items behind it rest on it
    alone, and are in dispute if a rejected pair crosses to them.

    Parameters
    ----------
    network : Network
        The pairs that were matched.
    consensus : Consensus
        Which of them agree.

    Returns
    -------
    Trust
    """
    variances = (network.sigmas * consensus.scale) ** 2
    tree = trusted_tree(
        network.pairs,
        network.shifts,
        variances,
        consensus.accepted,
        count=network.count,
        anchor=network.anchor,
    )
    linked = np.zeros(network.count, bool)
    linked[tree.order] = True
    closure, used = _close(network, consensus, tree, linked)
    telling = used & (network.sigmas.max(axis=1) <= _TELLING_SIGMA)
    closing = telling & ~tree.member
    against = ~used & linked[network.pairs].all(axis=1)
    confirming = _crossing(tree, network.pairs[closing])
    contradicting = _crossing(tree, network.pairs[against])
    bridge = linked & (confirming < 0.5)
    bridge[network.anchor] = False
    agreeing = np.bincount(network.pairs[telling].ravel(), minlength=network.count)
    opposing = np.bincount(network.pairs[against].ravel(), minlength=network.count)
    outnumbered = (consensus.rivals >= 2) & (consensus.rivals >= agreeing)
    contested = outnumbered | _behind(tree, bridge & (contradicting > 0.5))
    reached = linked & ~contested
    reached[network.anchor] = True
    hanging = _behind(tree, bridge)
    # All items behind a pair of the tree are placed by the pairs that cross there, right or wrong.
    doubted = _behind(tree, contradicting > confirming + 0.5)
    checked = reached & ~hanging & ~doubted & (agreeing > opposing)
    checked[network.anchor] = True
    return Trust(
        tree=tree,
        used=used,
        reached=reached,
        checked=checked,
        hanging=hanging,
        bridge=bridge,
        closure=_rms_closure(tree, network.pairs[closing], closure[closing]),
    )


def _close(
    network: Network, consensus: Consensus, tree: Tree, linked: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Closure of each pair's loop over the tree, px, shape (m, 2), and whether the pair can be used."""
    offered = consensus.accepted & linked[network.pairs].all(axis=1)
    closure = np.zeros(network.shifts.shape)
    closure[offered], way = tree.closure(network.pairs[offered], network.shifts[offered])
    variance = (network.sigmas[offered] * consensus.scale) ** 2 + way
    used = offered.copy()
    used[offered] = (closure[offered] ** 2 / variance).sum(axis=1) <= _CRITICAL_LOOP**2
    return closure, used | tree.member


def _crossing(tree: Tree, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many of `pairs` close a loop that uses the way from the item to its parent, shape (n,)."""
    return tree.over_edges(pairs, np.ones(len(pairs)))


def _behind(tree: Tree, marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Items that are marked or have a marked item on their way to the anchor, shape (n,)."""
    behind = marked.copy()
    for item in tree.order[1:]:
        behind[item] |= behind[tree.parent[item]]
    return behind


def _rms_closure(tree: Tree, pairs: NDArray[np.int64], closure: NDArray[np.float64]) -> NDArray[np.float64]:
    passing = tree.over_items(pairs, np.ones(len(pairs)))
    squares = tree.over_items(pairs, (closure**2).sum(axis=1))
    rms = np.sqrt(np.maximum(squares, 0.0) / np.maximum(passing, 1.0))
    return np.where(passing > 0.5, rms, np.nan)
