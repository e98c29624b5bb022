"""Gaussian smoothing that may move an image by part of a pixel at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

SMOOTH = 1.0
"""Standard deviation of the smoothing, px: low enough in high frequencies to be shifted exactly."""
SMOOTH_RADIUS = 4
"""Taps on either side of the middle one of that smoothing."""
TREND_RADIUS = 6
"""The same of the local mean that is taken off an image."""
REACH = TREND_RADIUS + SMOOTH_RADIUS
"""Pixels round a window that its band-passed values depend on."""


def convolver(radius: int) -> Callable[..., Any]:
    """A compiled separable correlation with taps of one radius; zero beyond the edge.

    With the number of taps known, the compiler keeps the sums in registers: ten times as fast.
    """
    count = 2 * radius + 1

    @compiled
    def convolve(
        image: NDArray[np.float32],
        down: NDArray[np.float32],
        along: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> None:
        height, width = image.shape
        row = np.zeros(width + 2 * radius, np.float32)
        for y in range(height):
            if radius <= y < height - radius:
                for x in range(width):
                    total = np.float32(0)
                    for k in range(count):
                        total += down[k] * image[y - radius + k, x]
                    row[radius + x] = total
            else:
                row[:] = 0
                for k in range(max(-radius, -y), min(radius, height - 1 - y) + 1):
                    for x in range(width):
                        row[radius + x] += down[k + radius] * image[y + k, x]
            for x in range(width):
                total = np.float32(0)
                for k in range(count):
                    total += along[k] * row[x + k]
                out[y, x] = total

    return convolve


smooth_into = convolver(SMOOTH_RADIUS)
"""Fill an image (its last argument) with another one, smoothed down and along by `smooth_taps`."""


@compiled
def smooth_inside(
    image: NDArray[np.float32],
    down: NDArray[np.float32],
    along: NDArray[np.float32],
    edge: int,
    out: NDArray[np.float32],
    pitch: int,
) -> None:
    """Fill rows, each `pitch` after the last, with what `smooth_into` makes of an image, less `edge` pixels all round.

    The edge is at least as wide as the taps reach.
    """
    # indexes that may be negative would keep the compiler from doing many at once
    reach, wide = np.uint64(edge - SMOOTH_RADIUS), np.uint64(image.shape[1] - 2 * edge)
    row = np.empty(image.shape[1], np.float32)
    for y in range(np.uint64(image.shape[0] - 2 * edge)):
        for x in range(np.uint64(row.size)):
            total = np.float32(0)
            for k in range(np.uint64(2 * SMOOTH_RADIUS + 1)):
                total += down[k] * image[y + reach + k, x]
            row[x] = total
        start = y * np.uint64(pitch)
        for x in range(wide):
            total = np.float32(0)
            for k in range(np.uint64(2 * SMOOTH_RADIUS + 1)):
                total += along[k] * row[reach + x + k]
            out[start + x] = total


def gauss(sigma: float, radius: int, at: float = 0.0) -> NDArray[np.float32]:
    """Gaussian taps round position `at`, which sum to 1."""
    taps = np.empty(2 * radius + 1, np.float32)
    _gauss_into(sigma, at, taps)
    return taps


@compiled
def _gauss_into(sigma: float, at: float, taps: NDArray[np.float32]) -> None:
    weights, total = np.empty(taps.size), 0.0
    for k in range(taps.size):
        away = (k - taps.size // 2 - at) / sigma
        weights[k] = np.exp(-0.5 * (away * away))
        total += weights[k]
    for k in range(taps.size):
        taps[k] = np.float32(weights[k] / total)


def smooth_taps(at: float = 0.0) -> NDArray[np.float32]:
    """Taps that smooth by a Gaussian of `SMOOTH` px and read the image `at` pixels further on.

    Smoothing and moving are one step: taps of a Gaussian that sits between pixels. An interpolating
    kernel of few taps moves high frequencies by too little or too much (a cubic one makes 0.04 px of
    0.33); a Gaussian of 1 px has next to nothing left there that could be moved wrongly.

    Examples
    --------
    >>> ramp = np.tile(np.arange(30, dtype=np.float32), (30, 1))
    >>> out = np.empty_like(ramp)
    >>> smooth_into(ramp, smooth_taps(), smooth_taps(0.25), out)
    >>> round(float(out[15, 15]), 3)
    15.25
    """
    return gauss(SMOOTH, SMOOTH_RADIUS, at)


@compiled
def halfway_taps(lag: NDArray[np.float64]) -> NDArray[np.float32]:
    """`smooth_taps` that move an anchor and its item by half a lag (y, x) each, towards each other, shape (4, k)."""
    taps = np.empty((4, 2 * SMOOTH_RADIUS + 1), np.float32)
    for k in range(4):
        _gauss_into(SMOOTH, lag[k % 2] / 2 if k < 2 else -lag[k % 2] / 2, taps[k])
    return taps
