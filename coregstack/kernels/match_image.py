"""What of an image is compared: orientation for the search, band-passed values for the fit.

Both drop the level and the slow trends that haze, season and sensor put into an image. Pixels
that are not usable take no part in either.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled
from coregstack.kernels.gaps import fill
from coregstack.kernels.lines import straighten
from coregstack.kernels.rectangles import rectangles
from coregstack.kernels.smoothing import TREND_RADIUS, convolver, gauss

TREND = 2.0
"""Standard deviation of the local mean that is subtracted, px."""
_SPARSE = 0.6
"""Where fewer of the usable pixels than this have usable neighbours, gaps are filled in."""


def orientation(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """Unit vectors at twice the angle of the gradient.

    Doubling makes an edge and its reversal alike, so that fields which change from brighter to
    darker than their neighbours between dates still match (after Fitch et al. 2002, orientation
    correlation, doi:10.5244/C.16.11). What is common to the gradients along a whole row or column, as
    stripes are, is taken off first. Where gaps leave few pixels with neighbours, they are filled in for
    the gradients of the pixels beside them.

    Parameters
    ----------
    values, usable
        Image and mask, shape (y, x).

    Returns
    -------
    complex64 array, shape (y, x)
        Modulus 1, or 0 where the gradient is nil or not known.

    Examples
    --------
    >>> ramp = np.arange(9, dtype=np.float32).reshape(3, 3)
    >>> bool(orientation(ramp, np.ones((3, 3), bool))[1, 1] == orientation(-ramp, np.ones((3, 3), bool))[1, 1])
    True
    """
    down, along, known, seen = _gradients(values, usable, usable)
    if seen and np.count_nonzero(known) < _SPARSE * seen:
        filled = values[None].copy()
        solid = fill(filled, usable[None])
        down, along, known, _ = _gradients(filled[0], usable, solid[0])
    straighten(along, known)
    straighten(down.T, known.T)
    return _doubled(down, along)


@compiled
def _gradients(
    values: NDArray[np.float32], usable: NDArray[np.bool_], solid: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], int]:
    """Slopes down and along of usable pixels whose neighbours are solid, where they are known, and of how many."""
    height, width = values.shape
    down, along = np.zeros(values.shape, np.float32), np.zeros(values.shape, np.float32)
    known, seen = np.zeros(values.shape, np.bool_), 0
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            seen += usable[y, x]
            if usable[y, x] and solid[y - 1, x] and solid[y + 1, x] and solid[y, x - 1] and solid[y, x + 1]:
                down[y, x] = values[y + 1, x] - values[y - 1, x]
                along[y, x] = values[y, x + 1] - values[y, x - 1]
                known[y, x] = True
    return down, along, known, seen


@compiled
def _doubled(down: NDArray[np.float32], along: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Unit vectors at twice the angle of gradients."""
    result = np.zeros(down.shape, np.complex64)
    for y in range(down.shape[0]):
        for x in range(down.shape[1]):
            gy, gx = down[y, x], along[y, x]
            norm = gx * gx + gy * gy
            if norm > 0:
                result[y, x] = complex((gx * gx - gy * gy) / norm, 2 * gx * gy / norm)
    return result


_trend_into = convolver(TREND_RADIUS)


def high_pass(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values less their local mean over usable pixels; 0 where not usable.

    Two images that are compared must be passed with one joint mask: then what the mask does to
    the local mean, it does to both.

    Parameters
    ----------
    values
        Images, shape (n, y, x).
    usable
        Masks of the same shape.

    Examples
    --------
    >>> flat = np.full((1, 20, 20), 7, np.float32)
    >>> bool(np.abs(high_pass(flat, flat > 0)).max() < 1e-6)
    True
    """
    out = np.empty(values.shape, np.float32)
    _high_pass(values, usable, _trend_taps(), rectangles(usable), out)
    return out


@cache
def _trend_taps() -> NDArray[np.float32]:
    return gauss(TREND, TREND_RADIUS)


@compiled
def _high_pass(
    values: NDArray[np.float32],
    usable: NDArray[np.bool_],
    taps: NDArray[np.float32],
    inside: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    """Fill `out`; `inside` are the `rectangles` of the masks."""
    _, height, width = values.shape
    centred, trend, share = (
        np.empty((height, width), np.float32), np.empty((height, width), np.float32),
        np.empty((height, width), np.float32),
    )  # fmt: skip
    sums, down, along = np.empty(width), np.empty(height, np.float32), np.empty(width, np.float32)
    for n in range(len(values)):
        image, mask = values[n], usable[n]
        count = 0
        sums[:] = 0
        for y in range(height):
            for x in range(width):
                count += mask[y, x]
            for x in range(width):
                sums[x] += np.float64(image[y, x]) if mask[y, x] else 0.0
        # Taking the mean off first keeps single precision from eating the texture of bright scenes.
        level = np.float32(sums.sum() / max(count, 1))
        for y in range(height):
            for x in range(width):
                centred[y, x] = image[y, x] - level if mask[y, x] else np.float32(0)
        _trend_into(centred, taps, taps, trend)
        top, bottom, left, right = inside[n]
        if bottom:
            # what the taps find of a rectangle is a product
            _covered(taps, top, bottom, down)
            _covered(taps, left, right, along)
        else:
            _trend_into(mask.astype(np.float32), taps, taps, share)
        for y in range(height):
            if bottom:
                for x in range(width):
                    share[y, x] = down[y] * along[x]
            for x in range(width):
                mean = trend[y, x] / max(share[y, x], np.float32(1e-6))
                out[n, y, x] = centred[y, x] - mean if mask[y, x] else np.float32(0)


@compiled
def _covered(taps: NDArray[np.float32], start: int, stop: int, found: NDArray[np.float32]) -> None:
    """Fill `found` with the part of the taps round each pixel of a line that lies between two others."""
    for k in range(len(found)):
        found[k] = 0
        for i in range(len(taps)):
            if start <= k + i - len(taps) // 2 < stop:
                found[k] += taps[i]
