"""Which items hold the position of a stack: its anchor, all items together, or some that are trusted.

Shifts between items say nothing of where all of them lie. Fixing the anchor at 0 puts the anchor's own error into every
other item; a free adjustment fixes the weighted mean of some or all items instead. Both are the same solution in
another datum, and one follows from the other by an S-transformation [1]_.

References
----------
.. [1] Baarda, W. (1981). S-transformations and criterion matrices. Netherlands Geodetic Commission, Publications on
   Geodesy 5, 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Datum:
    """A datum, as the anchor sees it."""

    shift: NDArray[np.float64]
    """Weighted mean of the shifts of the items that hold it onto the anchor (y, x), px; it is taken off all shifts."""
    sigma: NDArray[np.float64]
    """1 sigma of each item's shift relative to the datum, px, shape (n, 2); NaN where it has none."""
    count: int
    """How many items hold it."""


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
    # what the anchor's noise adds to all shifts alike is in their mean too, but for the anchor's own weight
    fixed = np.zeros(2) if anchor is None else weight[anchor]
    every = (np.square(weight) * own).sum(axis=0)
    variance = own * (1 - 2 * weight) + every + np.square(fixed) * shared
    if anchor is not None:
        variance[anchor] = every + np.square(1 - fixed) * shared
    return Datum(shift=mean, sigma=np.sqrt(np.where(known[:, None], variance, np.nan)), count=int(held.sum()))


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
