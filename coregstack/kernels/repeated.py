"""Lines that repeat their neighbours, as resampling by nearest neighbour leaves them.

It moves each pixel by up to half a pixel of the finer grid, the same in all scenes that were resampled so, and no
filter brings them back: what a fit makes of it is not known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_SHARE = 0.02
"""Part of the lines from which on they are repeated."""
_ALIKE = 0.95
"""Part of the pixels of a line that have to be as those beside them."""
_EVERY = 4
"""One pixel in so many along a line is looked at."""
_LEAST = 8
"""Lines of which fewer pixels tell are not judged."""


def repeated(images: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether some rows, and some columns, are the same as those beside them.

    Pixels that equal their neighbour along the line as well, as in water of one value, tell nothing.

    Parameters
    ----------
    images, usable
        Images and masks, shape (n, y, x).

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(1, 60, 60)).astype(np.float32)
    >>> nearest = noise[:, np.arange(60) * 9 // 10]
    >>> usable = np.ones(noise.shape, bool)
    >>> repeated(noise, usable).tolist(), repeated(nearest, usable).tolist()
    ([False, False], [True, False])
    """
    pairs = np.zeros((2, 2), np.int64)
    _count_repeats(images, usable, pairs)
    return np.asarray(pairs[:, 0] > _SHARE * pairs[:, 1])


@compiled
def _count_repeats(images: NDArray[np.float32], usable: NDArray[np.bool_], found: NDArray[np.int64]) -> None:
    """Add up pairs of rows, and of columns, that are the same, and those that are judged."""
    height, width = images.shape[1] - 1, images.shape[2] - 1
    tells, alike = np.empty(width, np.int32), np.empty(width, np.int32)
    for n in range(len(images)):
        for y in range(height):
            told_of_row, alike_in_row = 0, 0
            for x in range(0, width, _EVERY):
                here = images[n, y, x]
                told = (here != images[n, y, x + 1]) & usable[n, y, x] & usable[n, y + 1, x]
                told_of_row += told
                alike_in_row += told & (images[n, y + 1, x] == here)
            if told_of_row >= _LEAST:
                found[0, 0] += alike_in_row > _ALIKE * told_of_row
                found[0, 1] += 1
        for x in range(width):
            tells[x], alike[x] = 0, 0
        for y in range(0, height, _EVERY):
            row, below = np.uint64(y), np.uint64(y + 1)
            for x in range(np.uint64(width)):
                here, beside = images[n, row, x], x + np.uint64(1)
                told = (here != images[n, below, x]) & usable[n, row, x] & usable[n, row, beside]
                tells[x] += told
                alike[x] += told & (images[n, row, beside] == here)
        for x in range(width):
            if tells[x] >= _LEAST:
                found[1, 0] += alike[x] > _ALIKE * tells[x]
                found[1, 1] += 1
