"""What stays on an image's rows and columns: stripes of detectors, and lines that are dead.

A stripe is one number along a whole row or column of a window: both of its ends lie on the same side of the mean.
Where most lines are so, the means of rows or columns, which hold all of a stripe and next to nothing of a scene, are
taken off. A line that does not follow its neighbours is no image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_PASSES = 3
"""Times that rows and columns are levelled in turn: with gaps, levelling one tilts the other."""
_COHERENT = 0.06
"""Lines whose ends agree in sign, less those that do not, may be this part of all in a scene: roads run along lines."""
_BY_CHANCE = 4.0
"""Standard deviations of that part, if lines were independent, that are added: they come in bundles."""
_NEAR = 6
"""Lines on either side that a line is compared with."""
_STILL = 0.02
"""A line whose texture is weaker than this part of that on either side is dead."""
_WILD = 25.0
"""A line that departs from its two neighbours by this many times what those on either side do is noise."""
_EVERY = 3
"""One pixel in so many along a line is looked at to judge it."""
_TILTED = 0.35
"""Columns in which this much more of the slopes, as a part, go up than down, or down than up, are straightened."""
_LEAST = 8
"""Lines of fewer pixels to look at are not judged."""


def striped(images: NDArray[np.float32], usable: NDArray[np.bool_]) -> tuple[bool, bool]:
    """Whether band-passed images are striped along their rows, and along their columns.

    Parameters
    ----------
    images, usable
        Images and masks, shape (n, y, x); pixels that are not usable hold 0.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(4, 90, 90)).astype(np.float32)
    >>> stripes = noise + noise[:, :1]
    >>> usable = np.ones(noise.shape, bool)
    >>> striped(noise, usable), striped(stripes, usable)
    ((False, False), (False, True))
    """
    rows, columns = _ends_alike(images, usable)
    return _is_coherent(*rows), _is_coherent(*columns)


def _is_coherent(more: int, count: int) -> bool:
    """Whether so many more of `count` lines than not have both ends on one side of the mean, too many for a scene."""
    return bool(more > _COHERENT * count + _BY_CHANCE * np.sqrt(count))


@compiled
def _ends_alike(images: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many more rows than not have both ends on one side of the mean, of how many; then the same of columns."""
    found = np.zeros((2, 2), np.int64)
    count, height, width = images.shape
    rows, columns = np.empty((2, 2, height), np.float32), np.empty((2, 2, width), np.float32)
    high, wide = 2 * height // 5, 2 * width // 5
    for n in range(count):
        for end in range(2):
            top, left = end * (height - high), end * (width - wide)
            _add_rows(images[n], usable[n], left, left + wide, rows[end])
            _add_columns(images[n], usable[n], top, top + high, columns[end])
        _compare_ends(rows, wide, found[0])
        _compare_ends(columns, high, found[1])
    return found


@compiled
def _add_rows(
    image: NDArray[np.float32], usable: NDArray[np.bool_], left: int, right: int, sums: NDArray[np.float32]
) -> None:
    """Fill `sums` (2, y) with the sum of each row between two columns, and of its usable pixels."""
    lanes, seen = np.empty(16, np.float32), np.empty(16, np.float32)
    # indexes that may be negative would keep the compiler from doing many at once
    first, last, count = np.uint64(left), np.uint64(right), np.uint64(16)
    whole = first + (last - first) // count * count
    for y in range(len(image)):
        lanes[:] = 0
        seen[:] = 0
        for x in range(first, whole, count):
            for k in range(count):
                lanes[k] += image[y, x + k]
            for k in range(count):
                seen[k] += np.float32(usable[y, x + k])
        for x in range(whole, last):
            lanes[x - whole] += image[y, x]
            seen[x - whole] += np.float32(usable[y, x])
        sums[0, y], sums[1, y] = lanes.sum(), seen.sum()


@compiled
def _add_columns(
    image: NDArray[np.float32], usable: NDArray[np.bool_], top: int, bottom: int, sums: NDArray[np.float32]
) -> None:
    """Fill `sums` (2, x) with the sum of each column between two rows, and of its usable pixels."""
    sums[:] = 0
    for y in range(top, bottom):
        for x in range(image.shape[1]):
            sums[0, x] += image[y, x]
        for x in range(image.shape[1]):
            sums[1, x] += np.float32(usable[y, x])


@compiled
def _compare_ends(sums: NDArray[np.float32], pixels: int, found: NDArray[np.int64]) -> None:
    """Add to `found` what the sums of both ends of lines say, of `pixels` each, where more than half is usable."""
    for k in range(sums.shape[2]):
        if min(sums[0, 1, k], sums[1, 1, k]) * 2 > pixels:
            found[0] += np.int64(np.sign(sums[0, 0, k]) * np.sign(sums[1, 0, k]))
            found[1] += 1


@compiled
def level_lines(images: NDArray[np.float32], usable: NDArray[np.bool_], rows: bool, columns: bool) -> None:
    """Take the mean of usable pixels off every row, and every column, in place.

    Parameters
    ----------
    images, usable
        Images and masks, shape (n, y, x); pixels that are not usable hold 0 and keep it.
    rows, columns
        Which are levelled.

    Examples
    --------
    >>> stripes = np.tile(np.arange(5, dtype=np.float32), (1, 4, 1))
    >>> level_lines(stripes, np.ones(stripes.shape, np.bool_), False, True)
    >>> bool(np.abs(stripes).max() < 1e-6)
    True
    """
    for n in range(len(images)):
        for _ in range(1 if usable[n].all() else _PASSES):
            if columns:
                _level_columns(images[n], usable[n])
            if rows:
                _level_rows(images[n], usable[n])


@compiled
def _level_columns(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
    height, width = image.shape
    mean, count = np.zeros(width, np.float32), np.zeros(width, np.float32)
    for y in range(height):
        for x in range(width):
            mean[x] += image[y, x]
            count[x] += np.float32(usable[y, x])
    for x in range(width):
        mean[x] /= max(count[x], np.float32(1))
    for y in range(height):
        for x in range(width):
            image[y, x] -= mean[x] * np.float32(usable[y, x])


@compiled
def _level_rows(image: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
    height, width = image.shape
    lanes = np.empty((2, 16), np.float32)
    for y in range(height):
        lanes[:] = 0
        whole = width // 16 * 16
        for x in range(0, whole, 16):
            for k in range(16):
                lanes[0, k] += image[y, x + k]
                lanes[1, k] += np.float32(usable[y, x + k])
        for x in range(whole, width):
            lanes[0, x - whole] += image[y, x]
            lanes[1, x - whole] += np.float32(usable[y, x])
        mean = lanes[0].sum() / max(lanes[1].sum(), np.float32(1))
        for x in range(width):
            image[y, x] -= mean * np.float32(usable[y, x])


@compiled
def straighten(slopes: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
    """Take the median off the slopes across each column that mostly have one sign, in place.

    Parameters
    ----------
    slopes, known
        Differences across columns, 0 where not known, and where they are, shape (y, x).

    Examples
    --------
    >>> slopes = np.array([[2, 0], [3, 0], [4, 0]], np.float32).repeat(8, axis=0)
    >>> straighten(slopes, np.ones(slopes.shape, np.bool_))
    >>> np.unique(slopes).tolist()
    [-1.0, 0.0, 1.0]
    """
    height, width = slopes.shape
    sign, count = np.zeros(width, np.int64), np.zeros(width, np.int64)
    for y in range(height):
        for x in range(width):
            sign[x] += np.int64(slopes[y, x] > 0) - np.int64(slopes[y, x] < 0)
            count[x] += known[y, x]
    line = np.empty(height, np.float32)
    for x in range(width):
        if count[x] < _LEAST or abs(sign[x]) < _TILTED * count[x]:
            continue
        size = 0
        for y in range(height):
            if known[y, x]:
                line[size] = slopes[y, x]
                size += 1
        middle = _median(line, size)
        for y in range(height):
            if known[y, x]:
                slopes[y, x] -= middle


@compiled
def _median(values: NDArray[np.float32], size: int) -> float:
    """Median of the first `size` values, which are put in another order (Hoare's selection).

    It takes numba three times as long to compile its own.
    """
    half = size // 2
    low, high = 0, size - 1
    while low < high:
        pivot = values[(low + high) // 2]
        up, down = low, high
        while up <= down:
            while values[up] < pivot:
                up += 1
            while values[down] > pivot:
                down -= 1
            if up <= down:
                values[up], values[down] = values[down], values[up]
                up += 1
                down -= 1
        if half <= down:
            high = down
        elif half >= up:
            low = up
        else:
            break
    if size % 2:
        return np.float64(values[half])
    below = values[0]
    for k in range(1, half):
        below = max(below, values[k])
    return np.float64(below + values[half]) / 2


@compiled
def drop_dead_lines(images: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
    """Mark rows and columns that hold no image as not usable, in place.

    Dead are lines that hardly vary along themselves, as detectors that are stuck do, and lines that depart
    from both neighbours far more than lines round them do, as noise does. Whole flat regions are no dead lines.

    Parameters
    ----------
    images, usable
        Images and masks, shape (n, y, x).

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32)
    >>> image[0, :, 7] = 3
    >>> usable = np.ones(image.shape, np.bool_)
    >>> drop_dead_lines(image, usable)
    >>> np.flatnonzero(~usable[0].any(axis=0)).tolist(), bool(usable[0, :, 8].all())
    ([7], True)
    """
    for n in range(len(images)):
        columns = _dead(*_traits(images[n], usable[n]))
        rows = _dead(*_traits(images[n].T, usable[n].T))
        for y in range(usable.shape[1]):
            for x in range(usable.shape[2]):
                usable[n, y, x] &= not (rows[y] or columns[x])


@compiled
def _traits(
    image: NDArray[np.float32], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """How much each column varies along itself and from its neighbours, and how many pixels tell that."""
    height, width = image.shape
    still, wild = np.zeros(width, np.float32), np.zeros(width, np.float32)
    count, mean = np.zeros(width, np.float32), np.zeros(width, np.float32)
    half = np.float32(0.5)
    for y in range(0, height - 1, _EVERY):
        for x in range(1, width - 1):
            seen = np.float32(usable[y, x] & usable[y + 1, x] & usable[y, x - 1] & usable[y, x + 1])
            step = seen * (image[y + 1, x] - image[y, x])
            away = seen * (image[y, x] - half * (image[y, x - 1] + image[y, x + 1]))
            still[x] += step * step
            wild[x] += away * away
            mean[x] += away
            count[x] += seen
    for x in range(width):
        pixels = max(count[x], np.float32(1))
        still[x] /= pixels
        wild[x] = max(np.float32(0), wild[x] / pixels - (mean[x] / pixels) * (mean[x] / pixels))
    return still, wild, count


@compiled
def _dead(
    still: NDArray[np.float32], wild: NDArray[np.float32], count: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Which lines are dead, by what `_traits` found."""
    size = len(still)
    result = np.zeros(size, np.bool_)
    floor = np.float32(1e-6) * wild.max() + np.float32(1e-30)
    level = np.log(wild + floor)
    for x in range(size):
        if count[x] < _LEAST:
            continue
        texture, unrest = np.float32(np.inf), np.float32(-np.inf)
        for low, high in ((max(1, x - _NEAR), x), (x + 1, min(size - 1, x + 1 + _NEAR))):
            total, usual, lines = np.float32(0), np.float32(0), 0
            for k in range(low, high):
                if count[k] >= _LEAST:
                    total += still[k]
                    usual += level[k]
                    lines += 1
            if lines:
                texture = min(texture, total / np.float32(lines))
                unrest = max(unrest, usual / np.float32(lines))
        result[x] = still[x] < _STILL * texture < np.inf or (
            unrest > -np.inf and wild[x] > _WILD * np.exp(unrest)
        )
    return result
