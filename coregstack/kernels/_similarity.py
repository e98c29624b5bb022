"""Compiled sums of the matching score: kept row by row, so that they do not depend on strips."""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np

from coregstack.kernels.compiling import compiled

WINDOW = 7
_TILE = 512


@compiled
def join(anchor, usable, images, joint) -> None:
    """Fill `joint` (y, x) with where all are usable, and `images` (k, y, x) with 0 elsewhere.

    ``images[0]`` becomes `anchor` (y, x), of which `usable` (y, x) is the mask; the others are NaN where they are not
    usable.
    """
    for i in range(joint.shape[0]):
        here = joint[i]
        for j in range(here.size):
            here[j] = usable[i, j]
        for k in range(1, images.shape[0]):
            for j in range(here.size):
                here[j] &= not np.isnan(images[k, i, j])
        for j in range(here.size):
            images[0, i, j] = anchor[i, j] if here[j] else np.float32(0)
        for k in range(1, images.shape[0]):
            for j in range(here.size):
                images[k, i, j] = images[k, i, j] if here[j] else np.float32(0)


@compiled
def add_moments(image, total, square) -> None:
    """Fill `total` and `square` (y,) with the sum and the sum of squares of each row of `image` (y, x)."""
    half = (image.shape[1] + 1) // 2
    values, squares = np.empty(half), np.empty(half)
    for i in range(image.shape[0]):
        first, second = image[i, :half], image[i, half:]
        for j in range(half):
            values[j] = np.float64(first[j])
        for j in range(second.size):
            values[j] += np.float64(second[j])
        for j in range(half):
            squares[j] = np.float64(first[j]) ** 2
        for j in range(second.size):
            squares[j] += np.float64(second[j]) ** 2
        total[i], square[i] = _fold(values), _fold(squares)


@compiled
def add_errors(anchor, image, usable, gain, offset, error) -> None:
    """Fill `error` (y,) with each row's sum of ``(anchor - gain * image - offset)**2`` over usable pixels."""
    square = np.empty(usable.shape[1])
    for i in range(error.size):
        for j in range(usable.shape[1]):
            miss = anchor[i, j] - gain * image[i, j] - offset
            square[j] = miss * miss if usable[i, j] else 0.0
        error[i] = _fold(square)


@compiled
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


@compiled
def add_similarity(anchor, images, usable, gains, offsets, c1, c2, windows, similarity) -> None:
    """Sum the local similarity of all 7 x 7 windows that are wholly usable.

    `anchor` and `usable` are (y, x), `images` (k, y, x), of which ``gains * images + offsets`` is compared.
    Adds to `windows` (y - 6,) and `similarity` (k, y - 6) for the windows whose first row is that row.
    """
    count = images.shape[0]
    columns = min(_TILE + WINDOW - 1, usable.shape[1])
    # sums of x, then for each image of y, xx + (gain y)(gain y), xy
    sums = np.empty((1 + 3 * count, columns))
    boxes = np.empty((1 + 3 * count, columns))
    nothing = np.zeros(columns, np.float32)
    gaps = np.empty(usable.shape[0], np.int64)
    whole = np.empty(columns, np.bool_)
    local = np.empty(columns)
    for tile in range(0, usable.shape[1] - WINDOW + 1, _TILE):
        n = min(_TILE, usable.shape[1] - WINDOW + 1 - tile)
        span = slice(tile, tile + n + WINDOW - 1)
        none = nothing[: n + WINDOW - 1]
        sums[:] = 0
        missing = 0
        for i in range(usable.shape[0]):
            old, top = i - WINDOW, i - WINDOW + 1
            gaps[i] = _count_gaps(usable[i, span])
            missing += gaps[i] - (gaps[old] if old >= 0 else 0)
            x, x_old = anchor[i, span], anchor[old, span] if old >= 0 else none
            _slide(x, x_old, sums[0])
            for k in range(count):
                y, y_old = images[k, i, span], images[k, old, span] if old >= 0 else none
                _slide_image(x, x_old, y, y_old, gains[k] ** 2, sums[1 + 3 * k : 4 + 3 * k])
            if top < 0:
                continue
            if missing:
                _find_whole(usable[top : i + 1, span], whole[:n])
            else:
                whole[:n] = True
            windows[top] += n - _count_gaps(whole[:n])
            _box(sums, n, boxes)
            for k in range(count):
                own = boxes[1 + 3 * k : 4 + 3 * k]
                _compare(boxes[0], own[0], own[1], own[2], gains[k], offsets[k], c1, c2, local[:n])
                if missing:
                    _drop(whole, local[:n])
                similarity[k, top] += _fold(local[:n])


# Loops of few arrays each, all of them contiguous to the compiler: else it works on one number at a time.


@compiled
def _count_gaps(usable) -> int:
    gaps = 0
    for j in range(usable.size):
        gaps += not usable[j]
    return gaps


@compiled
def _find_whole(usable, whole) -> None:
    """Fill `whole` (x - 6,) with whether the window that begins there, of all rows of `usable`, is usable."""
    column = np.ones(usable.shape[1], np.bool_)
    for i in range(usable.shape[0]):
        for j in range(column.size):
            column[j] &= usable[i, j]
    whole[:] = True
    for first in range(WINDOW):
        near = column[first : first + whole.size]
        for j in range(whole.size):
            whole[j] &= near[j]


@compiled
def _drop(whole, local) -> None:
    for j in range(local.size):
        local[j] = local[j] if whole[j] else 0.0


@compiled
def _slide(x, x_old, total) -> None:
    """Let a row enter and another leave the sums along columns."""
    for j in range(x.size):
        total[j] += np.float64(x[j]) - np.float64(x_old[j])


@compiled
def _slide_image(x, x_old, y, y_old, square, sums) -> None:
    first, both, mixed = sums[0], sums[1], sums[2]
    for j in range(x.size):
        a, b, c, d = np.float64(x[j]), np.float64(y[j]), np.float64(x_old[j]), np.float64(y_old[j])
        first[j] += b - d
        both[j] += (a * a + square * (b * b)) - (c * c + square * (d * d))
        mixed[j] += a * b - c * d


@compiled
def _box(sums, n, boxes) -> None:
    """Fill the first `n` columns of `boxes` with the sums of seven neighbours along the rows of `sums`."""
    for m in range(sums.shape[0]):
        s, target = sums[m], boxes[m]
        for j in range(n):
            target[j] = ((s[j] + s[j + 1]) + (s[j + 2] + s[j + 3])) + ((s[j + 4] + s[j + 5]) + s[j + 6])


@compiled
def _compare(x, y, both, mixed, gain, offset, c1, c2, local) -> None:
    mean, sample = 1 / WINDOW**2, 1 / (WINDOW**2 - 1)
    for j in range(local.size):
        mean_x, mean_y = x[j] * mean, gain * y[j] * mean
        spread = (both[j] - (x[j] * mean_x + gain * y[j] * mean_y)) * sample
        cov = (gain * mixed[j] - x[j] * mean_y) * sample
        mean_y += offset
        alike = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        most = (mean_x * mean_x + mean_y * mean_y + c1) * (spread + c2)
        local[j] = alike / most


@compiled
def count_high(values, usable, counts) -> None:
    """Add to `counts` (65536,) how many usable float32 `values` share their upper sixteen ordered bits."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            counts[_ordered(values[i, j]) >> 16] += usable[i, j]


@compiled
def count_low(values, usable, high, counts) -> None:
    """Add to `counts` (n, 65536) how many values, of the upper bits ``high[n]``, share their lower bits."""
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            key = _ordered(values[i, j])
            for k in range(high.size):
                if key >> 16 == high[k]:
                    counts[k, key & 0xFFFF] += usable[i, j]


@compiled
def _ordered(bits) -> int:
    """Turn the bits of a float32 into an integer of the same order."""
    return ~bits if bits >> np.uint32(31) else bits | np.uint32(0x80000000)
