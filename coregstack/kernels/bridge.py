"""What of windows may be compared: pixels away from gaps, or, where gaps leave too few, bridges over these."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.gaps import eroded, fill, pixels_in
from coregstack.kernels.smoothing import REACH, smooth_into, smooth_taps

_ENOUGH = 0.6
"""Part of the usable pixels that may be left without rims; where fewer are, gaps are bridged."""
_KEPT = 0.5
"""Part of the usable pixels among gaps that are compared: those with most support."""
_SUPPORT = (0.45, 0.97)
"""Least and most support that is asked of a pixel among gaps: the part of its smoothed value that was seen."""


def bridge(
    first: NDArray[np.float32], second: NDArray[np.float32], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], bool]:
    """Fill gaps of both images in place where they would leave too little, and say what may be compared.

    Both images are filled by one mask, so that what is filled in differs as the images do.

    Parameters
    ----------
    first, second, usable
        Images, and where both are usable, shape (n, y, x).

    Returns
    -------
    solid, clear
        Where something stands in the images, and which pixels may be compared, shape (n, y, x).
    bridged
        Whether anything was filled in.
    """
    clear = eroded(usable)
    inner = slice(None), slice(REACH, -REACH), slice(REACH, -REACH)
    seen, left = (pixels_in(mask[inner]) for mask in (usable, clear))
    few = left.sum() < _ENOUGH * seen.sum()
    narrow = np.flatnonzero((left < _ENOUGH * seen) & few)
    solid = usable
    if len(narrow):
        solid, mask = usable.copy(), usable[narrow]
        support = _support(mask)
        asked = float(np.quantile(support[inner][mask[inner]], 1 - _KEPT)) if mask[inner].any() else 1.0
        for image in (first, second):
            filled = image[narrow]
            solid[narrow] = fill(filled, mask)
            image[narrow] = filled
        clear[narrow] = mask & (support >= np.clip(asked, *_SUPPORT)) & eroded(solid[narrow])
    return solid, clear, len(narrow) > 0


def _support(usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Part of each pixel's smoothed value that comes from usable pixels."""
    taps = smooth_taps()
    result = np.empty(usable.shape, np.float32)
    for n in range(len(usable)):
        smooth_into(usable[n].astype(np.float32), taps, taps, result[n])
    return result
