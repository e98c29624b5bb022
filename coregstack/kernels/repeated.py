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
    _count_repeats(images, usable, pairs[0])
    _count_repeats(images.transpose(0, 2, 1), usable.transpose(0, 2, 1), pairs[1])
    return np.asarray(pairs[:, 0] > _SHARE * pairs[:, 1])


@compiled
def _count_repeats(images: NDArray[np.float32], usable: NDArray[np.bool_], found: NDArray[np.int64]) -> None:
    """Add up pairs of rows that are the same, and those that are judged."""
    for n in range(len(images)):
        for y in range(images.shape[1] - 1):
            tells, alike = 0, 0
            for x in range(0, images.shape[2] - 1, _EVERY):
                here = images[n, y, x]
                told = (here != images[n, y, x + 1]) & usable[n, y, x] & usable[n, y + 1, x]
                tells += told
                alike += told & (images[n, y + 1, x] == here)
            if tells >= _LEAST:
                found[0] += alike > _ALIKE * tells
                found[1] += 1
