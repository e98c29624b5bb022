"""Compiled sums of the matching score: kept row by row, so that they do not depend on strips."""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

WINDOW = 7
_TILE = 512
_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def join(anchor, usable, images) -> None:
    """Make `usable` (y, x) the joint mask, and 0 what lies outside it.

    `anchor` is (y, x); `images` (k, y, x) are NaN where they are not usable.
    """
    for i in range(usable.shape[0]):
        for k in range(images.shape[0]):
            for j in range(usable.shape[1]):
                usable[i, j] &= not np.isnan(images[k, i, j])
        for j in range(usable.shape[1]):
            anchor[i, j] = anchor[i, j] if usable[i, j] else np.float32(0)
        for k in range(images.shape[0]):
            for j in range(usable.shape[1]):
                images[k, i, j] = images[k, i, j] if usable[i, j] else np.float32(0)


@_compiled
def add_moments(image, total, square) -> None:
    """Fill `total` and `square` (y,) with the sum and the sum of squares of each row of `image` (y, x)."""
    values = np.empty(image.shape[1])
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            values[j] = np.float64(image[i, j])
        total[i] = _fold(values)
        for j in range(image.shape[1]):
            values[j] = np.float64(image[i, j]) ** 2
        square[i] = _fold(values)


@_compiled
def add_errors(anchor, image, usable, gain, offset, error) -> None:
    """Fill `error` (y,) with each row's sum of ``(anchor - gain * image - offset)**2`` over usable pixels."""
    square = np.empty(usable.shape[1])
    for i in range(error.size):
        for j in range(usable.shape[1]):
            miss = anchor[i, j] - gain * image[i, j] - offset
            square[j] = miss * miss if usable[i, j] else 0.0
        error[i] = _fold(square)


@_compiled
def _fold(values) -> float:
    """Sum of `values`, which are overwritten: halves are added until one number is left.

    The compiler turns this into vector instructions without leave to change the order of the sum, so that
    every process gets the same bits.
    """
    n = values.size
    while n > 1:
        half = (n + 1) // 2
        left, right = values[:half], values[half:n]
        for j in range(right.size):
            left[j] += right[j]
        n = half
    return values[0] if values.size else 0.0


@_compiled
def add_similarity(anchor, images, usable, gains, offsets, c1, c2, windows, similarity) -> None:
    """Sum the local similarity of all 7 x 7 windows that are wholly usable.

    `anchor` and `usable` are (y, x), `images` (k, y, x), of which ``gains * images + offsets`` is compared.
    Adds to `windows` (y - 6,) and `similarity` (k, y - 6) for the windows whose first row is that row.
    """
    count = images.shape[0]
    columns = min(_TILE + WINDOW - 1, usable.shape[1])
    # whole, x, xx of the anchor, then y, yy, xy of each image
    sums = np.empty((3 + 3 * count, columns))
    boxes = np.empty((3 + 3 * count, columns))
    local = np.empty(columns)
    for tile in range(0, usable.shape[1] - WINDOW + 1, _TILE):
        n = min(_TILE, usable.shape[1] - WINDOW + 1 - tile)
        span = slice(tile, tile + n + WINDOW - 1)
        sums[:] = 0
        for i in range(usable.shape[0]):
            old = i - WINDOW
            _add_row(anchor[i, span], usable[i, span], 1.0, sums)
            if old >= 0:
                _add_row(anchor[old, span], usable[old, span], -1.0, sums)
            for k in range(count):
                own = sums[3 + 3 * k : 6 + 3 * k]
                _add_image_row(anchor[i, span], images[k, i, span], 1.0, own)
                if old >= 0:
                    _add_image_row(anchor[old, span], images[k, old, span], -1.0, own)
            top = i - WINDOW + 1
            if top >= 0:
                _box(sums, n, boxes)
                windows[top] += _count(boxes[0], n)
                for k in range(count):
                    y, yy, xy = boxes[3 + 3 * k], boxes[4 + 3 * k], boxes[5 + 3 * k]
                    _compare(boxes[0], boxes[1], boxes[2], y, yy, xy, n, gains[k], offsets[k], c1, c2, local)
                    similarity[k, top] += _fold(local[:n])


# Loops of few arrays each, all of them contiguous to the compiler: else it works on one number at a time.


@_compiled
def _add_row(anchor, usable, sign, sums) -> None:
    whole, first, second = sums[0], sums[1], sums[2]
    for j in range(usable.size):
        whole[j] += sign * np.float64(usable[j])
    for j in range(anchor.size):
        first[j] += sign * np.float64(anchor[j])
    for j in range(anchor.size):
        second[j] += sign * (np.float64(anchor[j]) * np.float64(anchor[j]))


@_compiled
def _add_image_row(anchor, image, sign, sums) -> None:
    first, second, mixed = sums[0], sums[1], sums[2]
    for j in range(image.size):
        first[j] += sign * np.float64(image[j])
    for j in range(image.size):
        second[j] += sign * (np.float64(image[j]) * np.float64(image[j]))
    for j in range(image.size):
        mixed[j] += sign * (np.float64(anchor[j]) * np.float64(image[j]))


@_compiled
def _box(sums, n, boxes) -> None:
    """Fill the first `n` columns of `boxes` with the sums of seven neighbours along the rows of `sums`."""
    for m in range(sums.shape[0]):
        s, target = sums[m], boxes[m]
        for j in range(n):
            target[j] = ((s[j] + s[j + 1]) + (s[j + 2] + s[j + 3])) + ((s[j + 4] + s[j + 5]) + s[j + 6])


@_compiled
def _count(whole, n) -> int:
    windows = 0
    for j in range(n):
        windows += whole[j] == WINDOW**2
    return windows


@_compiled
def _compare(whole, x, xx, y, yy, xy, n, gain, offset, c1, c2, local) -> None:
    pixels = WINDOW**2
    mean, sample = 1 / pixels, 1 / (pixels - 1)
    for j in range(n):
        mean_x, mean_y = x[j] * mean, y[j] * mean
        var_x = (xx[j] - x[j] * mean_x) * sample
        var_y = (yy[j] - y[j] * mean_y) * (sample * gain * gain)
        cov = (xy[j] - x[j] * mean_y) * (sample * gain)
        mean_y = gain * mean_y + offset
        alike = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        most = (mean_x * mean_x + mean_y * mean_y + c1) * (var_x + var_y + c2)
        local[j] = alike / most if whole[j] == pixels else 0.0


@_compiled
def count_high(values, usable, counts) -> None:
    """Add to `counts` (65536,) how many usable float32 `values` share their upper sixteen ordered bits."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            counts[_ordered(values[i, j]) >> 16] += usable[i, j]


@_compiled
def count_low(values, usable, high, counts) -> None:
    """Add to `counts` (n, 65536) how many values, of the upper bits ``high[n]``, share their lower bits."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            key = _ordered(values[i, j])
            for k in range(high.size):
                if key >> 16 == high[k]:
                    counts[k, key & 0xFFFF] += usable[i, j]


@_compiled
def _ordered(bits):
    """Turn the bits of a float32 into an integer of the same order."""
    return ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)
