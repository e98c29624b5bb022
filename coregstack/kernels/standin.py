"""Bands beyond the few that are matched, which stand in for those that hold no image."""

from __future__ import annotations

from itertools import islice

from coregstack.kernels.blank import is_flat, is_noise
from coregstack.model import PixelSource

MATCH_BANDS = 4
"""At most so many bands are matched at once; what comes after them stands in for dead ones."""


def chosen_bands(anchor: PixelSource, item: PixelSource) -> list[int]:
    """The bands to match: the first few, and of more the first few that are neither dead nor noise on any side.

    Parameters
    ----------
    anchor, item
        Match bands of both, in the order of preference.

    Examples
    --------
    >>> import numpy as np
    >>> from coregstack.kernels.sources import ArraySource
    >>> image = np.random.default_rng(0).normal(size=(90, 90)).cumsum(axis=0).cumsum(axis=1)
    >>> source = ArraySource(values=np.stack([image * 0, *[image] * 5]), usable=np.ones((90, 90), bool))
    >>> chosen_bands(source, source)
    [1, 2, 3, 4]
    """
    bands = range(min(anchor.bands, item.bands))
    few = list(bands[:MATCH_BANDS])
    if len(bands) == len(few):
        return few
    sides = anchor, item
    alive = (k for k in bands if not any(is_flat(side, k) or is_noise(side, k) for side in sides))
    return list(islice(alive, MATCH_BANDS)) or few
