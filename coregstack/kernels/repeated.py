"""Lines that repeat their neighbours, as resampling by nearest neighbour leaves them.

It moves each pixel by up to half a pixel of the finer grid, the same in all scenes that were resampled so, and no
filter brings them back: what a fit makes of it is not known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    turned = images.transpose(0, 2, 1), usable.transpose(0, 2, 1)
    return np.array([_rows_repeat(images, usable), _rows_repeat(*turned)])


def _rows_repeat(images: NDArray[np.float32], usable: NDArray[np.bool_]) -> bool:
    here, beside = images[:, :, :-1:_EVERY], images[:, :, 1::_EVERY]
    width = beside.shape[2]
    here = here[:, :, :width]
    seen = usable[:, :, :-1:_EVERY][:, :, :width]
    tells = (here != beside)[:, :-1] & seen[:, :-1] & seen[:, 1:]
    same = tells & (here[:, 1:] == here[:, :-1])
    pixels, alike = tells.sum(axis=2), same.sum(axis=2)
    judged = pixels >= _LEAST
    return bool(np.count_nonzero(judged & (alike > _ALIKE * pixels)) > _SHARE * np.count_nonzero(judged))
