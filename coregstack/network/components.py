"""Components of the pairs' variance that do not show in single pairs, from the residuals of all together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from coregstack.network.consensus import Network
from coregstack.network.trust import Trust

UNLIKE_SIGMA = 0.03
"""Sigma of the bias, px, of a pair whose likeness is 0.6; e times that for every 1/9 less, to at most 3 px.

Measured against a road that does not change, the matches of one seasonal series were off, along the rows, by
0.1 px at a
likeness of 0.65, 0.3 at 0.45, and by more than 1 px under 0.3, where their own sigmas still said 0.25 px;
along the columns by a third of that. The law lies between the two: part of the difference is the error of the
road's position.
"""
HIDDEN = 3.0
"""How much larger the bias of unlike pairs may be than loops show.

Light and shadow of a season move all matches with it alike, and such loops close. In the seasonal series that
the law of the bias comes from, what loops show differs by such factors with the anchor.
"""
_SURER = 4.0
"""A loop shows a pair's bias if the variance of its other pairs is smaller than the bias squared by this
factor."""
_CONFIDENCE = 0.95


def unlike_sigma(likeness: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sigma of the bias of pairs, px, by how alike their items look (`UNLIKE_SIGMA`); 0 where it is NaN."""
    unlike = np.where(np.isnan(likeness), np.inf, likeness)
    return np.minimum(UNLIKE_SIGMA * np.exp(9 * (0.6 - unlike)), 3.0)


def unlike_field_sigma(likeness: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sigma of what the field of each pair may be off anywhere, px, by how alike its items look; 0 where it is NaN.

    The sigma of a field tells part of what changed, and what is left grows half as fast as `unlike_sigma`: so in made
    dates that show two real grounds in shares of their own, of three pairs of grounds.
    """
    return np.sqrt(UNLIKE_SIGMA * unlike_sigma(likeness))


def bias_share(network: Network, trust: Trust, bias: NDArray[np.float64]) -> float:
    """Share of the possible bias of unlike pairs that the loops allow.

    A pair counts if its bias would exceed all other errors: its own sigmas, and the variance of the most
    trusted way around its loop. Where only unlike pairs connect two seasons, these pairs show nothing about
    the bias, however well they close among each other.

    Parameters
    ----------
    network : Network
        The pairs, their sigmas including the bias.
    trust : Trust
        Results of the loops.
    bias : NDArray
        Shape (m,), px: sigma of each pair's bias, at most `sigmas`.

    Returns
    -------
    float
        Factor on `bias`, 0 to 1: upper limit, of 95 % confidence, of what loops show along the worse axis,
        times `HIDDEN`. 1 if no pair counts.
    """
    tree = trust.tree
    judged = np.flatnonzero(np.isfinite(tree.position[network.pairs]).all(axis=(1, 2)) & ~tree.member)
    closure, way = tree.closure(network.pairs[judged], network.shifts[judged])
    sigmas, squared = network.sigmas[judged], bias[judged] ** 2
    telling = (squared > sigmas.max(axis=1) ** 2 / 2) & (way.max(axis=1) < squared / _SURER)
    if not telling.any():
        return 1.0
    # The larger a bias, the better its loop shows it.
    weight = bias[judged][telling]
    shown = np.average((closure**2 / (sigmas**2 + way))[telling], axis=0, weights=weight).max()
    count = weight.sum() ** 2 / (weight**2).sum()
    return min(1.0, HIDDEN * float(np.sqrt(shown * count / chdtri(count, _CONFIDENCE))))


def item_variance(network: Network) -> NDArray[np.float64]:
    """Variance of each item's own part in the errors of its pairs.

    Noise, unmasked clouds and sampling of one item move all its matches. If pairs had no other errors, each
    pair's variance would be the sum of those of its items.

    Parameters
    ----------
    network : Network
        The pairs that are used, their sigmas those within the pairs.

    Returns
    -------
    NDArray
        Shape (n, 2), px²: half the harmonic mean of the variances of the item's pairs; 0 where it has none.
    """
    count, weight = np.zeros(network.count), np.zeros((network.count, 2))
    for end in network.pairs.T:
        np.add.at(count, end, 0.5)
        np.add.at(weight, end, network.sigmas**-2)
    return np.divide(count[:, None], weight, out=np.zeros_like(weight), where=weight > 0)
