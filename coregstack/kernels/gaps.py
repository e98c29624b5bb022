"""Gaps in images: lines, lone pixels and the rims of clouds, filled from what lies round them.

Filters reach over a gap only where something stands in it. What is filled in is never compared itself: it serves
the pixels beside it, and of those only the ones whose filtered value comes mostly from pixels that were seen.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_DEPTH = 4
"""Pixels of a gap this far from what is usable are filled: smoothing reaches no further."""
_SWEEPS = 12
"""Sweeps by which what is filled in becomes smooth."""
RIM = 4
"""Pixels this near to an unusable one are left out: the smoothing mixes them with it."""


def pixels_in(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How many pixels of each of some masks (n, y, x) are set, shape (n,).

    Examples
    --------
    >>> pixels_in(np.ones((2, 3, 4), bool)).tolist()
    [12, 12]
    """
    # numpy counts a whole array by bytes, but along axes as numbers of 8 bytes
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)


@compiled
def fill(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the rim of every gap in place, smoothly, and return where pixels are usable or filled.

    The rim grows from what is usable, a pixel at a time; then thin plates are bent through it, the surface
    that bends least (the biharmonic equation).

    Parameters
    ----------
    values, usable
        Images and masks, shape (n, y, x).

    Returns
    -------
    bool array, shape (n, y, x)

    Examples
    --------
    >>> ramp = np.tile(np.arange(9, dtype=np.float32), (1, 9, 1))
    >>> usable = np.ones(ramp.shape, bool)
    >>> usable[0, 4, 4] = False
    >>> ramp[0, 4, 4] = 100
    >>> solid = fill(ramp, usable)
    >>> bool(solid.all()), round(float(ramp[0, 4, 4]), 3)
    (True, 4.0)
    """
    solid = usable.copy()
    for n in range(len(values)):
        _grow(values[n], solid[n])
        _bend(values[n], usable[n], solid[n])
    return solid


@compiled
def _grow(image: NDArray[np.float32], solid: NDArray[np.bool_]) -> None:
    """Give pixels beside solid ones the mean of these, `_DEPTH` times."""
    height, width = image.shape
    before = np.empty_like(solid)
    for _ in range(_DEPTH):
        for y in range(height):
            for x in range(width):
                before[y, x] = solid[y, x]
        for y in range(height):
            for x in range(width):
                if before[y, x]:
                    continue
                total, count = np.float32(0), 0
                for i in range(max(0, y - 1), min(height, y + 2)):
                    for j in range(max(0, x - 1), min(width, x + 2)):
                        if before[i, j]:
                            total += image[i, j]
                            count += 1
                if count:
                    image[y, x] = total / np.float32(count)
                    solid[y, x] = True


@compiled
def _bend(image: NDArray[np.float32], usable: NDArray[np.bool_], solid: NDArray[np.bool_]) -> None:
    """Bend thin plates through filled pixels whose surroundings are all solid."""
    height, width = image.shape
    places = np.empty((height * width, 2), np.int32)
    count = 0
    for y in range(2, height - 2):
        for x in range(2, width - 2):
            if (
                not usable[y, x]
                and solid[y, x]
                and solid[y - 2, x]
                and solid[y + 2, x]
                and solid[y, x - 2]
                and solid[y, x + 2]
                and solid[y - 1 : y + 2, x - 1 : x + 2].all()
            ):
                places[count, 0], places[count, 1] = y, x
                count += 1
    for _ in range(_SWEEPS):
        for k in range(count):
            y, x = places[k]
            near = (image[y - 1, x] + image[y + 1, x]) + (image[y, x - 1] + image[y, x + 1])
            askew = (image[y - 1, x - 1] + image[y + 1, x + 1]) + (image[y - 1, x + 1] + image[y + 1, x - 1])
            far = (image[y - 2, x] + image[y + 2, x]) + (image[y, x - 2] + image[y, x + 2])
            image[y, x] = np.float32(0.4) * near - np.float32(0.1) * askew - np.float32(0.05) * far


@compiled
def eroded(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The masks without a rim of `RIM` pixels round what is not usable; the edge counts as such."""
    count, height, width = usable.shape
    result = np.zeros(usable.shape, np.bool_)
    room, other = np.empty(height * width, np.bool_), np.empty(height * width, np.bool_)
    for n in range(count):
        for y in range(height):
            start = np.uint64(y * width)
            for x in range(np.uint64(width)):
                room[start + x] = usable[n, y, x]
        # pixels from which on a column is usable, then those from which on a row is, over the width of both rims
        for step in (width, 1):
            reached = 1
            while reached < 2 * RIM + 1:
                more = min(reached, 2 * RIM + 1 - reached)
                away = np.uint64(more * step)
                for k in range(np.uint64(room.size) - away):
                    other[k] = room[k] & room[k + away]
                room, other = other, room
                reached += more
        for y in range(RIM, height - RIM):
            start, inside = np.uint64((y - RIM) * width), np.uint64(RIM)
            for x in range(np.uint64(width - 2 * RIM)):
                result[n, y, inside + x] = room[start + x]
    return result
