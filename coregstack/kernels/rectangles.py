"""Rectangles of images: windows that are cut out, and masks that are rectangles, as those of whole scenes are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled


@compiled
def rectangles(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """First row, the one after the last, and the same of columns, of all that masks hold.

    Parameters
    ----------
    masks
        Shape (n, y, x).

    Returns
    -------
    int64 array, shape (n, 4)
        Zeros for a mask that holds nothing, or something else than a rectangle.

    Examples
    --------
    >>> masks = np.zeros((2, 5, 6), bool)
    >>> masks[:, 1:4, 2:6] = True
    >>> masks[1, 2, 3] = False
    >>> rectangles(masks).tolist()
    [[1, 4, 2, 6], [0, 0, 0, 0]]
    """
    found = np.zeros((len(masks), 4), np.int64)
    columns = np.empty(masks.shape[2], np.int64)
    for n in range(len(masks)):
        columns[:] = 0
        top, bottom = masks.shape[1], 0
        for y in range(masks.shape[1]):
            line = masks[n, y]
            count = 0
            for x in range(line.size):
                count += line[x]
            if count:
                top, bottom = min(top, y), y + 1
            for x in range(line.size):
                columns[x] += line[x]
        left, right, total = columns.size, 0, 0
        for x in range(columns.size):
            total += columns[x]
            if columns[x]:
                left, right = min(left, x), x + 1
        if total and total == (bottom - top) * (right - left):
            found[n, 0], found[n, 1], found[n, 2], found[n, 3] = top, bottom, left, right
    return found


@compiled
def cut(
    values: NDArray[np.float32],
    usable: NDArray[np.bool_],
    corners: NDArray[np.int64],
    height: int,
    width: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Windows of an image and its mask; what lies beyond the image is 0 and not usable.

    Parameters
    ----------
    values, usable
        Shape (y, x).
    corners
        First row and column of each window, shape (n, 2).
    height, width
        Of every window.

    Examples
    --------
    >>> image = np.arange(6, dtype=np.float32).reshape(2, 3)
    >>> windows, seen = cut(image, image > 0, np.array([[0, 1], [1, 2]]), 1, 2)
    >>> windows.tolist(), seen.tolist()
    ([[[1.0, 2.0]], [[5.0, 0.0]]], [[[True, True]], [[True, False]]])
    """
    shape = len(corners), height, width
    out, mask = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    for n in range(len(corners)):
        top, left = corners[n]
        first, last = max(0, -left), min(width, values.shape[1] - left)
        # indexes that may be negative would keep the compiler from copying many at once
        skip, source, count = np.uint64(first), np.uint64(first + left), np.uint64(max(0, last - first))
        for y in range(max(0, -top), min(height, values.shape[0] - top)):
            for x in range(count):
                out[n, y, skip + x] = values[top + y, source + x]
            for x in range(count):
                mask[n, y, skip + x] = usable[top + y, source + x]
    return out, mask
