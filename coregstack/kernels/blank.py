"""Why an image has no texture to match: causes that look alike from afar, told apart."""

from __future__ import annotations

import numpy as np

from coregstack.kernels.overview import factor_for
from coregstack.model import PixelSource

_SCATTERED = 0.6
"""Less than this part of the neighbours of usable pixels is usable where pixels lie scattered."""
_FEW = 0.005


def why_blank(source: PixelSource, name: str) -> str:
    """Say why nothing of an image can be matched.

    Parameters
    ----------
    source
        Match bands.
    name
        What the image is called.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> flat = ArraySource(values=np.full((1, 40, 40), 7), usable=np.ones((40, 40), bool))
    >>> why_blank(flat, "item")
    'the item has no usable texture: it is flat, every usable pixel holds 7'
    """
    factor = factor_for(max(source.shape))
    looks = [source.overview(band, factor) for band in range(source.bands)]
    share = float(np.mean([shares.mean() for _, shares in looks]))
    start = f"the {name} has no usable texture: "
    if share == 0:
        return start + "not one pixel is usable, all are nodata, not a number, or masked"
    if share < _FEW:
        return (
            start
            + f"only {share:.2%} of its pixels are usable, the others are nodata, not a number, or masked"
        )
    levels = [np.unique(means[shares > 0]) for means, shares in looks]
    if all(len(level) == 1 for level in levels):
        values = " or ".join(f"{value:g}" for value in dict.fromkeys(float(level[0]) for level in levels))
        return start + f"it is flat, every usable pixel holds {values}"
    if _neighbours(source) < _SCATTERED:
        return start + (
            f"its usable pixels, {share:.0%} of all, lie apart from each other, as where scenes on grids that do not "
            "agree were joined: bring them onto one grid first"
        )
    return start + f"where it is usable, {share:.0%} of it, it is clouded or flat"


def _neighbours(source: PixelSource) -> float:
    """Part of the usable pixels in the middle of an image whose neighbours below and to the right are usable too."""
    rows, cols = (slice(max(0, size // 2 - 128), size // 2 + 128) for size in source.shape)
    usable = source.read(0, rows, cols)[1]
    if not usable[:-1, :-1].any():
        return 1.0
    both = usable[:-1, :-1] & usable[1:, :-1] & usable[:-1, 1:]
    return float(both.sum() / usable[:-1, :-1].sum())
