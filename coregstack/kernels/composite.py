"""A robust mean over time of aligned images, with less noise and cloud than any one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_TUKEY = 4.685
_MAD_TO_SIGMA = 1.4826
_SMALLEST_SPREAD = 1e-6


def composite(
    blocks: NDArray[np.number], usable: NDArray[np.bool_], *, fewest: int = 3
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Combine aligned images of one place, pixel by pixel, over time.

    One step of Tukey's biweight from the median [1]_: cloud and shadow that the masks missed get no weight,
    and the rest is averaged, which has less noise than the median alone.

    Parameters
    ----------
    blocks : NDArray
        Shape (time, ..., y, x), real: images that were brought to one gain and offset.
    usable : NDArray
        Shape of `blocks`, or broadcast to it, bool: True where a pixel is valid and clear.
    fewest : int
        A pixel that is usable on fewer dates gets no value.

    Returns
    -------
    values : NDArray
        Shape (..., y, x), float32; 0 where there are too few dates.
    count : NDArray
        Shape (..., y, x), int64: dates that were usable; 0 where there are fewer than `fewest`.

    Notes
    -----
    The spread of each pixel is its own median absolute deviation, but at least half of that of the typical
    pixel of the block, so that a few dates which happen to agree do not shut out the others.

    References
    ----------
    .. [1] Mosteller, F., Tukey, J. W. (1977). Data Analysis and Regression. Addison-Wesley, chapter 10.

    Examples
    --------
    >>> blocks = np.array([[[1.0]], [[1.1]], [[0.9]], [[50.0]]])
    >>> values, count = composite(blocks, np.ones(blocks.shape, bool))
    >>> values.round(2), count
    (array([[1.]], dtype=float32), array([[4]]))
    """
    usable = np.broadcast_to(usable, blocks.shape) & np.isfinite(blocks)
    values = np.where(usable, blocks, np.inf).astype(np.float32)
    count = usable.sum(axis=0)
    enough = count >= max(fewest, 1)
    middle = np.where(enough, _median(values, count), 0)
    distance = np.where(usable, np.abs(values - middle), np.inf)
    spread = _MAD_TO_SIGMA * np.where(enough, _median(distance, count), 0)
    typical = float(np.median(spread[enough])) if enough.any() else 0.0
    smallest = _SMALLEST_SPREAD * np.maximum(np.abs(middle), 1)
    limit = _TUKEY * np.maximum(np.maximum(spread, typical / 2), smallest)
    weight = np.maximum(1 - (distance / limit) ** 2, 0) ** 2
    step = np.where(usable, values - middle, 0)
    mean = middle + (weight * step).sum(axis=0, dtype=np.float64) / np.maximum(weight.sum(axis=0), 1e-30)
    return np.where(enough, mean, 0).astype(np.float32), np.where(enough, count, 0)


def _median(values: NDArray[np.float32], count: NDArray[np.int64]) -> NDArray[np.float32]:
    """Median over the first axis of the `count` smallest values; infinite ones stand for no value."""
    ordered = np.sort(values, axis=0)
    low, high = np.maximum(count - 1, 0) // 2, count // 2
    high = np.minimum(high, len(values) - 1)
    first = np.take_along_axis(ordered, low[None], axis=0)[0]
    second = np.take_along_axis(ordered, high[None], axis=0)[0]
    some = count > 0
    return np.where(some, (np.where(some, first, 0) + np.where(some, second, 0)) / 2, 0)
