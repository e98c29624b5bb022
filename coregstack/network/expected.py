"""How well a network round each item would know the others, before any pair is matched."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from coregstack.kernels.descriptor import similarity
from coregstack.kernels.selected_inverse import selected_inverse
from coregstack.network.components import unlike_sigma
from coregstack.network.consensus import Network
from coregstack.network.pairs import choose_pairs

_OWN_SIGMA = 0.02
"""Sigma of a pair of two clear items that look alike, px; only what unlike ones are beside it matters."""
_BIAS_SHARE = 0.5
"""Share of the bias of unlike pairs that is expected, between none and all of it."""
_KNOWN = 0.5
"""An item whose shift is expected to have a larger sigma, px, stays unknown."""
_LEAST_CLEAR = 0.01


def expected_precision(
    textures: NDArray[np.number], times: ArrayLike, clear: ArrayLike
) -> NDArray[np.float64]:
    """Expect how precise all shifts would be if each item in turn were the anchor of a network.

    The pairs are those that would be matched. The less is clear in both items of a pair, and the less they
    look alike, the larger is the sigma that is expected of it. An item amid all seasons, to which ways of
    like pairs lead from everywhere, so is a better anchor than one that many resemble and others not at all.
    The cost is that of one adjustment for each item.

    Parameters
    ----------
    textures : NDArray
        Shape (n, k), real or complex, 0 where unknown: the `texture` of
        `coregstack.kernels.descriptor.describe`.
    times : array_like
        Shape (n,), datetime64; may be NaT.
    clear : array_like
        Shape (n,), 0 to 1: usable share of each item.

    Returns
    -------
    NDArray
        Shape (n,), px⁻¹: share of the others that would be known, over the mean of their sigmas. For comparing
        items of one stack only.

    Examples
    --------
    Three seasons, each half like the next:

    >>> summer, winter = np.eye(2).repeat(100, axis=1)
    >>> textures = np.stack([summer, summer + winter, winter]) + 0.01
    >>> times = np.array(["2020-07-01", "2020-10-01", "2021-01-01"], "datetime64[D]")
    >>> int(expected_precision(textures, times, [1, 1, 1]).argmax())
    1
    """
    share = np.clip(np.nan_to_num(np.asarray(clear, np.float64)), _LEAST_CLEAR, 1)
    count = share.size
    likeness = np.nan_to_num(similarity(textures), nan=-1.0)
    variance = _OWN_SIGMA**2 / (share[:, None] * share) + (_BIAS_SHARE * unlike_sigma(likeness)) ** 2
    # Of its own neighbours' pairs none is left out, as those items are then matched with others instead.
    pairs = _neighbours(textures, np.asarray(times, "datetime64[s]"), share)
    sigmas = np.sqrt(variance[tuple(pairs.T)])[:, None].repeat(2, axis=1)
    network = Network(pairs=pairs, shifts=np.zeros(pairs.shape), sigmas=sigmas, count=count, anchor=0)
    between = network.normal_matrix(sigmas[:, 0] ** -2, np.arange(count))
    none = np.empty(0, int)
    precision = np.ones(count)
    for item in range(count if count > 1 else 0):
        others = np.delete(np.arange(count), item)
        matrix = between[others][:, others] + sp.diags(1 / variance[item, others])
        sigma = np.sqrt(selected_inverse(sp.csc_matrix(matrix), none, none)[0])
        known = sigma < _KNOWN
        precision[item] = known.mean() / sigma[known].mean() if known.any() else 0.0
    return precision


def _neighbours(
    textures: NDArray[np.number], times: NDArray[np.datetime64], clear: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Pairs beside those with the anchor, as they are chosen for an anchor that is none of the items."""
    count = clear.size
    pairs = choose_pairs(
        np.append(times, np.datetime64("NaT", "s")),
        anchor=count,
        features=np.vstack([textures, np.zeros_like(textures[:1])]),
        clear=np.append(clear, 0),
    )
    return np.array([pair for pair in pairs if count not in pair], np.int64).reshape(-1, 2)
