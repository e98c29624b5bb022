"""Shifts of all items from the shifts of their pairs, by robust least squares, with realistic sigmas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from coregstack.errors import InvalidRequest
from coregstack.kernels.selected_inverse import factorise, selected_inverse
from coregstack.model import ShiftEstimate
from coregstack.network.components import bias_share, item_variance, unlike_sigma
from coregstack.network.consensus import PRIOR, Network, find_consensus
from coregstack.network.trust import Trust, judge

SMALLEST_SIGMA = 1e-3
"""Smallest sigma of a shift, px."""
UNKNOWN_SIGMA = 0.1
"""Sigma of a shift that came without one, px, where no other pair gives one."""
UNCHECKED_WIDENING = 2.0
"""Factor on the sigma of a pair that no closed loop checks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetworkSolution:
    """What the network knows about every one of its `n` items, and about its `m` pairs."""

    shift: NDArray[np.float64]
    """Shape (n, 2), px (y, x): shift of each item onto the anchor; NaN where it is not reached."""
    sigma: NDArray[np.float64]
    """Shape (n, 2), px (y, x): 1 sigma of `shift`; 0 for the anchor, NaN where it is not reached."""
    reached: NDArray[np.bool_]
    """Shape (n,): the item's shift is known."""
    checked: NDArray[np.bool_]
    """Shape (n,): closed loops lead from the item to the anchor, so that it does not depend on a single
    pair."""
    hanging: NDArray[np.bool_]
    """Shape (n,): the item is reached by a pair that no closed loop checks."""
    redundancy: NDArray[np.float64]
    """Shape (n,): the item's share of the redundancy, in pairs beyond the one that is needed.

    An inner pair's redundancy number is divided between its two items, so that the sum over all items is
    the number of accepted pairs minus the number of items that they reach.
    """
    closure: NDArray[np.float64]
    """Shape (n,), px: rms length of the closures of loops through the item; NaN where there is none."""
    path: tuple[tuple[int, ...], ...]
    """For each item the most trusted way to the anchor, both included; empty where it is not reached."""
    reason: tuple[str, ...]
    """For each item, in words, how it was reached or why not."""
    accepted: NDArray[np.bool_]
    """Shape (m,): the pair agrees with the rest and was used."""
    residual: NDArray[np.float64]
    """Shape (m, 2), px (y, x): shift of the pair minus that of the solution; NaN where one is unknown."""
    variance_factor: float
    """Square of the factor by which residuals are longer than the sigmas of the pairs allow.

    Above 1, all sigmas were raised by it. Below 1, pairs agree better than independent errors allow: the
    missing part is attributed to errors that all pairs of an item share."""
    bias_share: float
    """Share of the bias of unlike pairs (`components.UNLIKE_SIGMA`) that their loops allow, 0 to 1."""


def observations(
    estimates: Sequence[ShiftEstimate | None],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Put estimates into the arrays that `adjust` takes.

    Parameters
    ----------
    estimates : sequence of ShiftEstimate or None
        One for each pair; None, or an estimate without a shift, where the pair could not be matched.

    Returns
    -------
    shifts, sigmas : NDArray
        Shape (m, 2), float64, px (y, x); NaN where unknown.
    """
    unknown = (np.nan, np.nan)
    shifts = [unknown if e is None or e.shift is None else e.shift for e in estimates]
    sigmas = [unknown if e is None or e.sigma is None else e.sigma for e in estimates]
    return np.array(shifts, np.float64).reshape(-1, 2), np.array(sigmas, np.float64).reshape(-1, 2)


def adjust(
    pairs: ArrayLike,
    shifts: ArrayLike,
    sigmas: ArrayLike | None,
    *,
    count: int,
    anchor: int,
    likeness: ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> NetworkSolution:
    """Find the shifts of all items onto the anchor from the shifts between pairs of them.

    The shift of a pair ``(i, j)`` is that of `j` as the item onto `i` as the anchor. With
    ``item_i(y - s_i) = anchor(y)`` and ``item_j(y - s_ij) = item_i(y)``, item `j` at ``y - s_ij - s_i`` shows
    what the anchor shows at `y`, so ``s_ij = s_j - s_i``: exact for translations, whatever their size.

    Pairs that contradict the others are rejected first (`coregstack.network.consensus`), then those whose
    loop over the most trusted pairs does not close. What is left is adjusted by weighted least squares, each
    axis by its own sigmas. Sigmas are the square roots of the covariance's diagonal, raised by the a
    posteriori variance factor where residuals are longer than stated. Where they are shorter, sigmas are not
    lowered, since errors that all pairs of an item share leave no residual: the missing part of the
    variance is added to the items as such errors (`coregstack.network.components`).

    Parameters
    ----------
    pairs : array_like
        Shape (m, 2), integer: items ``(i, j)`` of each pair; each pair once, in either direction.
    shifts : array_like
        Shape (m, 2), px (y, x): shift of `j` onto `i`; NaN where the pair could not be matched.
    sigmas : array_like or None
        Shape (m, 2), px (y, x): 1 sigma of `shifts`; NaN (or None for all) where unknown, which counts as the
        90th percentile of the known ones. Values under 0.001 px count as 0.001 px.
    count, anchor : int
        Number of items `n`, and the position of the one whose shift is 0.
    likeness : array_like, optional
        Shape (m,), -1 to 1, NaN where unknown: how alike the two items of a pair look, as
        `coregstack.kernels.descriptor.similarity` of their reduced images. What changed between two scenes
        moves their match in a way that neither the sigma of the pair nor closures with pairs of the same two
        seasons show: `components.UNLIKE_SIGMA` is added to the pair's sigmas, or as much of it as loops with
        more precise pairs allow.
    names : sequence of str, optional
        Shape (n,): what to call the items in `reason`; their positions by default.

    Returns
    -------
    NetworkSolution
        The same whatever the order and direction of the pairs.

    Raises
    ------
    InvalidRequest
        If the arrays do not fit one another, or a pair is repeated or names no item or one item twice.

    Examples
    --------
    The pair of items 0 and 3 contradicts what all others say:

    >>> pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    >>> shifts = [(1, 0), (2, 0), (9, 9), (1, 0), (2, 0), (1, 0)]
    >>> sigmas = [(sigma, sigma) for sigma in (0.02, 0.03, 0.02, 0.02, 0.02, 0.02)]
    >>> solution = adjust(pairs, shifts, sigmas, count=4, anchor=0)
    >>> solution.shift.round(3)[3], solution.accepted.tolist()
    (array([3., 0.]), [True, True, False, True, True, True])
    >>> solution.reason[3]
    'Placed through item 1; 2 of its 3 matched pairs agree.'
    """
    ends, observed, spread = _checked_input(pairs, shifts, sigmas, count, anchor)
    network, origin = _connected(ends, observed, spread, count, anchor)
    doubt = np.zeros(len(origin)) if likeness is None else _bias(likeness, len(ends))[origin]
    doubted = _widened(network, doubt)
    trust = judge(doubted, find_consensus(doubted))
    share = bias_share(doubted, trust, doubt)
    if share < 1:
        doubted = _widened(network, share * doubt)
        trust = judge(doubted, find_consensus(doubted))
    solved = _solve(network, doubted, trust)
    reached = trust.reached
    shift = np.where(reached[:, None], solved.shift, np.nan)
    accepted = np.zeros(len(ends), bool)
    accepted[origin] = trust.used & reached[network.pairs].all(axis=1)
    path = tuple(trust.tree.way(k) if reached[k] else () for k in range(count))
    first, second = ends.T
    return NetworkSolution(
        shift=shift,
        sigma=np.where(reached[:, None], solved.sigma, np.nan),
        reached=reached,
        checked=trust.checked,
        hanging=trust.hanging,
        redundancy=np.where(reached, solved.redundancy, 0.0),
        closure=np.where(reached, trust.closure, np.nan),
        path=path,
        reason=_reasons(network, trust, path, names),
        accepted=accepted,
        residual=observed - (shift[second] - shift[first]),
        variance_factor=solved.variance_factor,
        bias_share=share,
    )


def _checked_input(
    pairs: ArrayLike, shifts: ArrayLike, sigmas: ArrayLike | None, count: int, anchor: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    ends = np.asarray(pairs, np.int64).reshape(-1, 2)
    observed = np.asarray(shifts, np.float64).reshape(-1, 2)
    spread = (
        np.full(observed.shape, np.nan) if sigmas is None else np.asarray(sigmas, np.float64).reshape(-1, 2)
    )
    if not len(ends) == len(observed) == len(spread):
        raise InvalidRequest(
            f"One shift and one sigma is needed for each pair, but there are {len(ends)} pairs, "
            f"{len(observed)} shifts and {len(spread)} sigmas."
        )
    if not 0 <= anchor < count:
        raise InvalidRequest(f"The anchor has to be one of the {count} items, counted from 0, not {anchor}.")
    if ((ends < 0) | (ends >= count)).any() or (ends[:, 0] == ends[:, 1]).any():
        raise InvalidRequest(f"Each pair has to name two different items from 0 to {count - 1}.")
    if len(np.unique(np.sort(ends, axis=1), axis=0)) < len(ends):
        raise InvalidRequest(
            "Each pair may be given once only, in one direction: leave out the repeated ones."
        )
    return ends, observed, spread


def _bias(likeness: ArrayLike, count: int) -> NDArray[np.float64]:
    """Sigma of what each pair may be off, px, beyond its own sigma."""
    known = np.asarray(likeness, np.float64)
    if known.shape != (count,):
        raise InvalidRequest(f"likeness needs one entry for each of the {count} pairs, not {known.shape}.")
    return unlike_sigma(known)


def _widened(network: Network, bias: NDArray[np.float64]) -> Network:
    return replace(network, sigmas=np.hypot(network.sigmas, bias[:, None]))


def _connected(
    ends: NDArray[np.int64], shifts: NDArray[np.float64], sigmas: NDArray[np.float64], count: int, anchor: int
) -> tuple[Network, NDArray[np.int64]]:
    """The part of the network that is connected with the anchor, and the origin of its pairs."""
    known = np.flatnonzero(np.isfinite(shifts).all(axis=1))
    turned = np.where(ends[:, :1] < ends[:, 1:], 1.0, -1.0)
    usual = np.isfinite(sigmas) & (sigmas >= 0)
    fallback = float(np.quantile(sigmas[usual], 0.9)) if usual.any() else UNKNOWN_SIGMA
    spread = np.maximum(np.where(usual, sigmas, fallback), SMALLEST_SIGMA)
    low_high = np.sort(ends, axis=1)
    graph = sp.coo_matrix((np.ones(known.size), low_high[known].T), shape=(count, count))
    _, part = connected_components(graph, directed=False)
    known = known[part[low_high[known, 0]] == part[anchor]]
    known = known[np.lexsort(low_high[known].T[::-1])]
    network = Network(
        pairs=low_high[known],
        shifts=(turned * shifts)[known],
        sigmas=spread[known],
        count=count,
        anchor=anchor,
    )
    return network, known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Solved:
    """Least squares over the accepted pairs; arrays of items, NaN where nothing leads to them."""

    shift: NDArray[np.float64]
    sigma: NDArray[np.float64]
    redundancy: NDArray[np.float64]
    variance_factor: float


def _solve(plain: Network, network: Network, trust: Trust) -> _Solved:
    """Adjust the used pairs, each axis by its own sigmas, with the covariance of the result.

    The sigmas of `plain` are those within the pairs, those of `network` include the bias of unlike ones.
    """
    tree, used = trust.tree, trust.used
    pairs, shifts = network.pairs[used], network.shifts[used]
    child = np.where(tree.parent[pairs[:, 0]] == pairs[:, 1], *pairs.T)
    hanging = tree.member[used] & trust.bridge[child]
    sigmas = network.sigmas[used] * np.where(hanging, UNCHECKED_WIDENING, 1.0)[:, None]
    kept = replace(network, pairs=pairs, shifts=shifts, sigmas=sigmas)
    items = np.sort(tree.order[1:])
    inner = (pairs != network.anchor).all(axis=1)
    rows, cols = np.searchsorted(items, pairs[inner]).T
    shift = np.full((network.count, 2), np.nan)
    variance = np.full((network.count, 2), np.nan)
    shift[network.anchor], variance[network.anchor] = 0.0, 0.0
    spare = np.zeros(len(pairs))
    for axis in range(2 if items.size else 0):
        weights = sigmas[:, axis] ** -2
        matrix = kept.normal_matrix(weights, items)
        shift[items, axis] = factorise(matrix).solve(kept.right_side(weights, items, axis))
        variance[items, axis], shared = selected_inverse(matrix, rows, cols)
        between = variance[pairs, axis].sum(axis=1)
        between[inner] -= 2 * shared
        spare += (1 - weights * between) / 2
    freedom = len(pairs) - items.size
    squares = float((kept.misfit(shift) ** 2).sum())
    factor = (PRIOR + squares) / (PRIOR + 2 * freedom)
    own = item_variance(replace(plain, pairs=pairs, sigmas=plain.sigmas[used]))
    common = max(0.0, 1 - factor) * (own + own[network.anchor])
    common[network.anchor] = 0.0
    redundancy = np.zeros(network.count)
    for end in pairs.T:
        np.add.at(redundancy, end, np.where(inner, 0.5, 1.0) * spare)
    redundancy[network.anchor] = 0.0
    return _Solved(
        shift=shift,
        sigma=np.sqrt(variance * max(1.0, factor) + common),
        redundancy=np.maximum(redundancy, 0.0),
        variance_factor=factor,
    )


def _reasons(
    network: Network, trust: Trust, path: tuple[tuple[int, ...], ...], names: Sequence[str] | None
) -> tuple[str, ...]:
    """How each item was reached, or why it was not."""
    labels = [f"item {k}" for k in range(network.count)] if names is None else names
    matched = np.bincount(network.pairs.ravel(), minlength=network.count)
    agreeing = np.bincount(network.pairs[trust.used].ravel(), minlength=network.count)
    return tuple(
        "This item is the anchor."
        if k == network.anchor
        else _reached_words(trust, k, [labels[i] for i in path[k][1:-1]], int(agreeing[k]), int(matched[k]))
        if trust.reached[k]
        else _lost_words(int(matched[k]))
        for k in range(network.count)
    )


def _reached_words(trust: Trust, item: int, between: list[str], agreeing: int, matched: int) -> str:
    how = "Placed by its match with the anchor"
    if between:
        how = f"Placed through {', then '.join(between)}"
    agree = f"{agreeing} of its {matched} matched pairs agree"
    if trust.checked[item]:
        return f"{how}; {agree}."
    if trust.hanging[item]:
        return f"{how}, which no closed loop checks: its sigma is widened."
    return f"{how}; {agree}, but as many contradict it or its way to the anchor: unchecked."


def _lost_words(matched: int) -> str:
    if matched:
        return f"Its {matched} matched pairs, or those on its way to the anchor, contradict one another."
    return "No matched pair leads from it to the anchor, not even through other items."
