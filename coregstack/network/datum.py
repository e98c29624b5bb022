"""What holds the position of a stack: its anchor, all items together, some that are trusted, or what is known outside.

Shifts between items say nothing of where all of them lie. Fixing the anchor at 0 puts the anchor's own error into every
other item; a free adjustment fixes the weighted mean of some or all items instead. Both are the same solution in
another datum, and one follows from the other by an S-transformation [1]_.

What is known from outside, items that lie right or a reference image that items are matched with, holds the position
with the sigma that it has: every such thing tells where the datum lies as the anchor sees it, and their weighted mean
counts. Scatter beyond the sigmas is added to them [3]_, and what contradicts most of the others has no say: the
displacement of the least median of squares tells which [2]_.

References
----------
.. [1] Baarda, W. (1981). S-transformations and criterion matrices. Netherlands Geodetic Commission, Publications on
   Geodesy 5, 1.
.. [2] Rousseeuw, P. J. (1984). Least median of squares regression. Journal of the American Statistical Association
   79, 871-880.
.. [3] DerSimonian, R., Laird, N. (1986). Meta-analysis in clinical trials. Controlled Clinical Trials 7, 177-188.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from coregstack.errors import printable
from coregstack.matching.options import MatchSettings
from coregstack.untrusted.addresses import shown

_LEAST = 1e-3
"""Smallest sigma of what tells a datum, px."""
_MEDIAN_CHI2, _MOST_CHI2 = 1.386, 13.8
"""Median and 99.9th percentile of chi squared of two degrees of freedom."""
_TORN = 1e-3
"""Chance at which those that are kept contradict each other."""
_NAMES = 4
"""How many names are told."""
_CENTRES = 256
"""Centres at most that are tried for the least median."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Datum:
    """A datum, as the anchor sees it."""

    shift: NDArray[np.float64]
    """Weighted mean of the shifts of the items that hold it onto the anchor (y, x), px; it is taken off all shifts."""
    sigma: NDArray[np.float64]
    """1 sigma of each item's shift relative to the datum, px, shape (n, 2); NaN where it has none."""
    count: int
    """How many items, or other things that are known, hold it."""
    known: NDArray[np.float64] | None = None
    """1 sigma of where it lies along each axis, px, which all items share; None where items alone hold it."""
    refused: tuple[int, ...] = ()
    """Which of the things that are known contradict the others, and hold it no more."""
    torn: bool = False
    """Whether those that are left contradict each other, and none is more likely than another."""


def datum_of(
    settings: MatchSettings,
    names: Sequence[str],
    anchor: int | None,
    own: NDArray[np.float64],
    references: Mapping[str, NDArray[np.float64]],
) -> Datum:
    """The datum that is asked for.

    Parameters
    ----------
    settings : MatchSettings
        Its `datum` is not the anchor.
    names : sequence of str
        Ids of the items.
    anchor : int or None
        As in `find_datum`.
    own : ndarray, shape (n, 2, 2)
        Shift and sigma of each item onto the anchor.
    references : mapping
        The same onto each image that the datum names.
    """
    shifts, sigmas = own[:, 0], own[:, 1]
    if not settings.known:
        holds = np.array([settings.datum == "mean" or name in settings.holders for name in names])
        return find_datum(shifts, sigmas, holds, anchor)
    ties = []
    for one in settings.known:
        right = np.where(np.array(names, object)[:, None, None] == one.name, np.zeros(own.shape), np.nan)
        these = references.get(one.name, right)
        ties.append(Tie(shifts=these[:, 0], sigmas=these[:, 1], sigma=one.sigma))
    return tie_datum(shifts, sigmas, ties, anchor)


def datum_words(datum: Datum, settings: MatchSettings) -> str:
    """What a datum is, where it lies, and what was found to be wrong, as the rest of a sentence.

    Examples
    --------
    >>> found = Datum(shift=np.array([0.1, -0.2]), sigma=np.zeros((3, 2)), count=3)
    >>> datum_words(found, MatchSettings(decide="evidence", datum="mean"))
    'the weighted mean of 3 items, x -0.200, y +0.100 px from the anchor'
    """
    items = "1 item" if datum.count == 1 else f"{datum.count} items"
    where = "x {1:+.3f}, y {0:+.3f} px from the anchor".format(*datum.shift)
    if datum.known is None:
        what = (
            f"the weighted mean of {items}"
            if settings.datum == "mean"
            else f"the mean of {items} that are trusted"
        )
        return f"{what}, {where}"
    names = [repr(printable(shown(one.name))) for one in settings.known]
    kept = [name for k, name in enumerate(names) if k not in datum.refused]
    words = "what is known of {0}, {1}, known to x {3:.3f}, y {2:.3f} px".format(
        _some(kept), where, *datum.known
    )
    if datum.refused:
        many = (
            "contradicts most of them and has"
            if len(datum.refused) == 1
            else "contradict most of them and have"
        )
        words += f". {_some([names[k] for k in datum.refused])} {many} no say"
    return words + (". They contradict each other by more than their sigmas say" if datum.torn else "")


def _some(names: Sequence[str]) -> str:
    """Names in words, the first ones of many."""
    shown = [*names[:_NAMES], *([f"{len(names) - _NAMES} more"] if len(names) > _NAMES else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def find_datum(
    shifts: NDArray[np.float64], sigmas: NDArray[np.float64], holds: NDArray[np.bool_], anchor: int | None
) -> Datum:
    """The weighted mean of some items.

    An item's weight is the inverse of the variance of its shift and of the scatter of all shifts together, so that
    items which are known well weigh nearly alike, whatever their sigmas.

    Parameters
    ----------
    shifts, sigmas : ndarray, shape (n, 2)
        Shift of each item onto the anchor (y, x), and its sigma, px; NaN where it is not known, 0 for the anchor.
    holds : ndarray of bool, shape (n,)
        Items that hold the datum; those without a shift do not.
    anchor : int or None
        Position of the anchor, None where it is none of the items.

    Returns
    -------
    Datum
        With a shift of 0 and the sigmas as they are where no item can hold it.

    Examples
    --------
    >>> shifts = np.array([[0.0, 0.0], [0.3, 0.0], [0.6, -0.3]])
    >>> sigmas = np.array([[0.0, 0.0], [0.01, 0.01], [0.01, 0.01]])
    >>> find_datum(shifts, sigmas, np.ones(3, bool), 0).shift.round(2).tolist()
    [0.3, -0.1]
    """
    known = np.asarray(np.isfinite(shifts).all(axis=1) & np.isfinite(sigmas).all(axis=1))
    held = holds & known
    if not held.any():
        return Datum(shift=np.zeros(2), sigma=sigmas, count=0)
    own, shared = _parts(sigmas, known, anchor)
    scatter = shifts[held].var(axis=0) if held.sum() > 1 else np.ones(2)
    weight = np.where(held[:, None], 1 / np.maximum(own + scatter, 1e-12), 0.0)
    weight /= weight.sum(axis=0)
    mean = (weight * np.where(held[:, None], shifts, 0.0)).sum(axis=0)
    sigma = _relative_sigma(own, shared, weight, known, anchor)
    return Datum(shift=mean, sigma=sigma, count=int(held.sum()))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tie:
    """What one thing outside says of where items lie: an item that lies right, or an image."""

    shifts: NDArray[np.float64]
    """Shift of each item onto it (y, x), px, shape (n, 2); NaN where it says nothing."""
    sigmas: NDArray[np.float64]
    """1 sigma of these shifts."""
    sigma: float
    """1 sigma of its own position, px."""


def tie_datum(
    shifts: NDArray[np.float64], sigmas: NDArray[np.float64], ties: Sequence[Tie], anchor: int | None
) -> Datum:
    """The datum that is known from outside.

    Parameters
    ----------
    shifts, sigmas, anchor
        As in `find_datum`.
    ties : sequence of Tie
        All that is known.

    Returns
    -------
    Datum
        With a shift of 0 and the sigmas as they are where nothing can hold it. Sigmas of items are relative to the
        datum where it was found; how well that is known is told apart, since it moves all items alike.

    Examples
    --------
    >>> shifts = np.array([[0.0, 0.0], [0.3, 0.0], [0.5, -0.1]])
    >>> sigmas = np.array([[0.0, 0.0], [0.01, 0.01], [0.01, 0.01]])
    >>> right = [Tie(shifts=np.where(np.arange(3)[:, None] == k, 0, np.nan), sigmas=np.zeros((3, 2)), sigma=0.2)
    ...          for k in (1, 2)]
    >>> found = tie_datum(shifts, sigmas, right, 0)
    >>> found.shift.round(2).tolist(), found.known.round(2).tolist()
    ([0.4, -0.05], [0.14, 0.14])
    """
    known = np.asarray(np.isfinite(shifts).all(axis=1) & np.isfinite(sigmas).all(axis=1))
    own, shared = _parts(sigmas, known, anchor)
    told, places, weights, outside = [], [], [], []
    for k, tie in enumerate(ties):
        at = known & np.isfinite(tie.shifts).all(axis=1) & np.isfinite(tie.sigmas).all(axis=1)
        if not at.any():
            continue
        theirs, common = _parts(tie.sigmas, at, None)
        mean = _pooled((shifts - tie.shifts)[at], (own + theirs)[at])
        weight = np.zeros(shifts.shape)
        weight[at] = mean.weight
        told.append(k)
        places.append(mean.value)
        weights.append(weight)
        outside.append((np.square(weight) * (theirs + mean.scatter)).sum(axis=0) + common + tie.sigma**2)
    if not told:
        return Datum(shift=np.zeros(2), sigma=sigmas, count=0)
    each = np.stack(weights)
    mean = _pooled(np.stack(places), np.stack(outside) + (np.square(each) * own).sum(axis=1))
    weight = (mean.weight[:, None] * each).sum(axis=0)
    uncertain = (np.square(mean.weight) * (np.stack(outside) + mean.scatter)).sum(axis=0)
    return Datum(
        shift=mean.value,
        sigma=_relative_sigma(own, shared, weight, known, anchor),
        count=int(mean.kept.sum()),
        known=np.sqrt(uncertain),
        refused=tuple(k for k, kept in zip(told, mean.kept, strict=True) if not kept),
        torn=mean.torn,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pooled:
    """The weighted mean of what several say."""

    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    """Shape (m, 2), of sum 1 along each axis."""
    scatter: NDArray[np.float64]
    """Variance (y, x) beyond what was given."""
    kept: NDArray[np.bool_]
    torn: bool


def _pooled(values: NDArray[np.float64], variance: NDArray[np.float64]) -> _Pooled:
    """Pool shifts (m, 2) of some variance, without those that contradict most of them."""
    variance = np.maximum(variance, _LEAST**2)
    centres = np.unique(np.linspace(0, len(values) - 1, min(len(values), _CENTRES)).round().astype(int))
    away = np.square(values[centres, None] - values) / (variance[centres, None] + variance)
    misfit = away.sum(axis=-1)
    middle = int(np.median(misfit, axis=1).argmin())
    scale = max(1.0, float(np.median(misfit[middle])) / _MEDIAN_CHI2)
    kept = misfit[middle] <= _MOST_CHI2 * scale
    plain = np.where(kept[:, None], 1 / variance, 0.0)
    total, freedom = plain.sum(axis=0), int(kept.sum()) - 1
    beside = np.square(values - (plain * values).sum(axis=0) / total)
    excess = (plain * beside).sum(axis=0) - freedom
    spread = total - np.square(plain).sum(axis=0) / total
    scatter = np.maximum(excess, 0.0) / np.where(spread > 0, spread, np.inf)
    weight = np.where(kept[:, None], 1 / (variance + scatter), 0.0)
    weight /= weight.sum(axis=0)
    return _Pooled(
        value=(weight * values).sum(axis=0),
        weight=weight,
        scatter=scatter,
        kept=kept,
        torn=bool(freedom and (excess + freedom > chdtri(freedom, _TORN)).any()),
    )


def _relative_sigma(
    own: NDArray[np.float64],
    shared: NDArray[np.float64],
    weight: NDArray[np.float64],
    known: NDArray[np.bool_],
    anchor: int | None,
) -> NDArray[np.float64]:
    """Sigma of each item relative to a weighted mean of all; weights (n, 2) of sum 1 along each axis."""
    # what the anchor's noise adds to all shifts alike is in their mean too, but for the anchor's own weight
    fixed = np.zeros(2) if anchor is None else weight[anchor]
    every = (np.square(weight) * own).sum(axis=0)
    variance = own * (1 - 2 * weight) + every + np.square(fixed) * shared
    if anchor is not None:
        variance[anchor] = every + np.square(1 - fixed) * shared
    sigma: NDArray[np.float64] = np.sqrt(np.where(known[:, None], variance, np.nan))
    return sigma


def _parts(
    sigmas: NDArray[np.float64], known: NDArray[np.bool_], anchor: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of each item alone, and that of the anchor, which all shifts share: half of the smallest at most."""
    others = known.copy()
    if anchor is not None:
        others[anchor] = False
    square = np.where(known[:, None], np.square(sigmas), 0.0)
    shared = square[others].min(axis=0) / 2 if others.any() else np.zeros(2)
    own = np.where(others[:, None], square - shared, 0.0)
    return own, shared
