"""What of an image is compared: orientation for the search, band-passed values for the fit.

Both drop the level and the slow trends that haze, season and sensor put into an image. Pixels
that are not usable take no part in either.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

SMOOTH = 1.0
"""Standard deviation of the smoothing, px: low enough in high frequencies to be shifted exactly."""
TREND = 2.0
"""Standard deviation of the local mean that is subtracted, px."""
REACH = 6 + 4
"""Pixels round a window that its band-passed values depend on."""
_TREND_RADIUS = 6
_SMOOTH_RADIUS = 4


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def orientation(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """Unit vectors at twice the angle of the gradient.

    Doubling makes an edge and its reversal alike, so that fields which change from brighter to
    darker than their neighbours between dates still match (after Fitch et al. 2002, orientation
    correlation, doi:10.5244/C.16.11).

    Parameters
    ----------
    values, usable
        Image and mask, shape (y, x).

    Returns
    -------
    complex64 array, shape (y, x)
        Modulus 1, or 0 where the gradient is nil or touches an unusable pixel.

    Examples
    --------
    >>> ramp = np.arange(9, dtype=np.float32).reshape(3, 3)
    >>> bool(orientation(ramp, np.ones((3, 3), bool))[1, 1] == orientation(-ramp, np.ones((3, 3), bool))[1, 1])
    True
    """
    height, width = values.shape
    result = np.zeros((height, width), np.complex64)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            if (
                usable[y, x]
                and usable[y - 1, x]
                and usable[y + 1, x]
                and usable[y, x - 1]
                and usable[y, x + 1]
            ):
                gy = values[y + 1, x] - values[y - 1, x]
                gx = values[y, x + 1] - values[y, x - 1]
                norm = gx * gx + gy * gy
                if norm > 0:
                    result[y, x] = complex((gx * gx - gy * gy) / norm, 2 * gx * gy / norm)
    return result


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator]
def _convolve(
    image: NDArray[np.float32], down: NDArray[np.float32], along: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Separable correlation with odd kernels of one radius; zero beyond the edge."""
    height, width = image.shape
    radius = len(down) // 2
    columns = np.zeros((height, width), np.float32)
    for y in range(height):
        for k in range(max(-radius, -y), min(radius, height - 1 - y) + 1):
            weight = down[k + radius]
            for x in range(width):
                columns[y, x] += weight * image[y + k, x]
    result = np.zeros((height, width), np.float32)
    for y in range(height):
        for k in range(-radius, radius + 1):
            weight = along[k + radius]
            for x in range(max(0, -k), min(width, width - k)):
                result[y, x] += weight * columns[y, x + k]
    return result


def _gauss(sigma: float, radius: int, at: float = 0.0) -> NDArray[np.float32]:
    """Gaussian taps round position `at`, which sum to 1."""
    taps = np.exp(-0.5 * ((np.arange(-radius, radius + 1) - at) / sigma) ** 2)
    return (taps / taps.sum()).astype(np.float32)


_TREND_TAPS = _gauss(TREND, _TREND_RADIUS)


def high_pass(values: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values less their local mean over usable pixels; 0 where not usable.

    Two images that are compared must be passed with one joint mask: then what the mask does to
    the local mean, it does to both.

    Parameters
    ----------
    values
        Image, shape (y, x).
    usable
        Mask of the same shape.

    Examples
    --------
    >>> flat = np.full((20, 20), 7, np.float32)
    >>> bool(np.abs(high_pass(flat, flat > 0)).max() < 1e-6)
    True
    """
    count = np.count_nonzero(usable)
    if not count:
        return np.zeros(values.shape, np.float32)
    # Taking the mean off first keeps single precision from eating the texture of bright scenes.
    level = np.float32(values.sum(where=usable, dtype=np.float64) / count)
    centred = np.where(usable, values - level, np.float32(0))
    total = _convolve(centred, _TREND_TAPS, _TREND_TAPS)
    if count == usable.size:
        return centred - total / _share_of_all(usable.shape)
    share = _convolve(usable.astype(np.float32), _TREND_TAPS, _TREND_TAPS)
    return np.where(usable, centred - total / np.maximum(share, np.float32(1e-6)), np.float32(0))


@lru_cache(maxsize=16)
def _share_of_all(shape: tuple[int, int]) -> NDArray[np.float32]:
    """What the trend's taps find of an image that is usable throughout: less than 1 near the edge."""
    return _convolve(np.ones(shape, np.float32), _TREND_TAPS, _TREND_TAPS)


def smooth_at(image: NDArray[np.float32], y: float, x: float) -> NDArray[np.float32]:
    """The image smoothed by a Gaussian of `SMOOTH` px and read `y` rows and `x` columns further on.

    Smoothing and moving are one step: taps of a Gaussian that sits between pixels. An interpolating
    kernel of few taps moves high frequencies by too little or too much (a cubic one makes 0.04 px of
    0.33); a Gaussian of 1 px has next to nothing left there that could be moved wrongly.

    Examples
    --------
    >>> ramp = np.tile(np.arange(30, dtype=np.float32), (30, 1))
    >>> round(float(smooth_at(ramp, 0.0, 0.25)[15, 15]), 3)
    15.25
    """
    return _convolve(image, _gauss(SMOOTH, _SMOOTH_RADIUS, y), _gauss(SMOOTH, _SMOOTH_RADIUS, x))
