"""Correlation of gradient orientations: how well two images agree at every lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_PEAK = 4
"""Half width of a correlation peak, px: what lies further off is another peak."""
_NEARLY = 0.99
"""Part of the orientations within a rectangle that are known where it counts as known throughout."""

Extent = tuple[int, int]
"""First row or column, and the one after the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The best lag of a correlation surface, and how far it stands out."""

    y: float
    """Lag down the rows, px of the images that were correlated."""
    x: float
    """Lag along the columns."""
    significance: float
    """Height over the surface's own scatter; noise alone gives 3 to 6."""
    rival: float
    """Height of the next peak over that of the best; 1 says that one is as good as the other."""
    lead: float
    """By how much it is higher than the next, in standard deviations of what unlike images give at one lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Sums over all pixel pairs of each lag, on a square of lags round `centre`."""

    agreement: NDArray[np.float64]
    """Sum of the cosine between the orientations."""
    pairs: NDArray[np.float64]
    """Number of pixel pairs."""
    centre: tuple[int, int]
    """Lag of the middle of the arrays."""

    def __add__(self, other: Surface) -> Surface:
        return Surface(
            agreement=self.agreement + other.agreement, pairs=self.pairs + other.pairs, centre=self.centre
        )

    def peak(self, least_pairs: float) -> Peak | None:
        """The best lag with at least `least_pairs` pixel pairs, to a fraction of a pixel."""
        (y, x), (dy, dx), top, scatter, rival = _highest(self.agreement, self.pairs, least_pairs)
        if top <= 0:
            return None
        height, width = self.agreement.shape
        return Peak(
            y=self.centre[0] + y - height // 2 + dy,
            x=self.centre[1] + x - width // 2 + dx,
            significance=top / max(scatter, 1.0),
            rival=rival / top,
            lead=top - rival,
        )


@compiled
def _highest(
    agreement: NDArray[np.float64], pairs: NDArray[np.float64], least_pairs: float
) -> tuple[tuple[int, int], tuple[float, float], float, float, float]:
    """Row and column of a surface's peak, what it lies beyond, its height, and the scatter and rival away from it."""
    # orientations that have nothing to do with each other give a sum of variance pairs / 2
    height = np.zeros(agreement.shape)
    rows, cols = agreement.shape
    top, at_y, at_x = 0.0, 0, 0
    for y in range(rows):
        for x in range(cols):
            if pairs[y, x] >= least_pairs:
                height[y, x] = agreement[y, x] / np.sqrt(max(pairs[y, x], 1.0) / 2)
                if height[y, x] > top:
                    top, at_y, at_x = height[y, x], y, x
    squares, count, rival = 0.0, 0, 0.0
    for y in range(rows):
        for x in range(cols):
            if abs(y - at_y) > _PEAK or abs(x - at_x) > _PEAK:
                squares += height[y, x] * height[y, x]
                count += height[y, x] != 0
                rival = max(rival, height[y, x])
    dy = _vertex(height[at_y - 1, at_x], top, height[at_y + 1, at_x]) if 0 < at_y < rows - 1 else 0.0
    dx = _vertex(height[at_y, at_x - 1], top, height[at_y, at_x + 1]) if 0 < at_x < cols - 1 else 0.0
    return (at_y, at_x), (dy, dx), top, np.sqrt(squares / max(1, count)), rival


@compiled
def _vertex(below: float, top: float, above: float) -> float:
    """Offset of a parabola's top from its middle sample, within half a pixel."""
    bend = below - 2 * top + above
    return min(max(0.5 * (below - above) / bend, -0.5), 0.5) if bend < 0 else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Spectrum:
    """Orientations of an image, transformed: what a scene that is matched again and again need not make anew."""

    values: NDArray[np.complex64]
    """Their transform."""
    mask: NDArray[np.bool_]
    """Where they are known, shape (y, x) of the image."""
    within: tuple[Extent, Extent] | None
    """Rows and columns between which nearly all are known, and beyond which none is; None where gaps are larger."""
    span: tuple[int, int]
    """Rows and columns that were transformed."""

    @classmethod
    def of(cls, image: NDArray[np.complex64], span: tuple[int, int]) -> Spectrum:
        """Transform orientations, 0 where unusable."""
        mask, edges, count = _known(image)
        top, bottom, left, right = edges
        nearly = count > 0 and count >= _NEARLY * (bottom - top) * (right - left)
        within = ((top, bottom), (left, right)) if nearly else None
        return cls(values=scipy.fft.fft2(image, span), mask=mask, within=within, span=span)

    @cached_property
    def seen(self) -> NDArray[np.complex64]:
        """Transform of the mask."""
        transform: NDArray[np.complex64] = scipy.fft.rfft2(self.mask.astype(np.float32), self.span)
        return transform

    @property
    def nbytes(self) -> int:
        """Bytes, those of the mask's transform included."""
        return self.values.nbytes * 3 // 2 + self.mask.nbytes


@compiled
def _known(image: NDArray[np.complex64]) -> tuple[NDArray[np.bool_], tuple[int, int, int, int], int]:
    """Where orientations are known, between which rows and columns that is, and of how many pixels."""
    height, width = image.shape
    mask = np.empty(image.shape, np.bool_)
    columns = np.zeros(width, np.int64)
    top, bottom, total = height, 0, 0
    for y in range(height):
        count = 0
        for x in range(width):
            mask[y, x] = (image[y, x].real != 0) | (image[y, x].imag != 0)
            count += mask[y, x]
            columns[x] += mask[y, x]
        if count:
            top, bottom = min(top, y), y + 1
        total += count
    left, right = width, 0
    for x in range(width):
        if columns[x]:
            left, right = min(left, x), x + 1
    return mask, (top, bottom, left, right), total


def span_for(
    shape: tuple[int, int], item_shape: tuple[int, int], centre: tuple[int, int], reach: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns to transform of images of two shapes; the other arguments are those of `correlate`."""
    # Lags outside those asked for may wrap onto each other, so the transform needs no room for them.
    down, along = (
        int(scipy.fft.next_fast_len(max(a + r + max(0, -c), b + r + max(0, c))))
        for a, b, c, r in zip(shape, item_shape, centre, reach, strict=True)
    )
    return down, along


def correlate(anchor: Spectrum, item: Spectrum, centre: tuple[int, int], reach: tuple[int, int]) -> Surface:
    """Agreement of two orientation images at all lags within `reach` of `centre`.

    Parameters
    ----------
    anchor, item
        Orientations, transformed over what `span_for` says.
    centre, reach
        Lags searched, per axis: ``centre - reach`` to ``centre + reach``; ``anchor[p] = item[p - lag]``.
    """
    lags = [np.arange(c - r, c + r + 1) for c, r in zip(centre, reach, strict=True)]
    places = lags[0][:, None] % anchor.span[0], lags[1] % anchor.span[1]
    agreement = scipy.fft.ifft2(anchor.values * np.conj(item.values), overwrite_x=True).real[places]
    if anchor.within and item.within:
        rows, cols = (
            np.clip(np.minimum(a[1], b[1] + lag) - np.maximum(a[0], b[0] + lag), 0, None)
            for a, b, lag in zip(anchor.within, item.within, lags, strict=True)
        )
        pairs = rows[:, None] * cols[None]
    else:
        both = scipy.fft.irfft2(anchor.seen * np.conj(item.seen), anchor.span)
        pairs = np.maximum(both[places], 0)
    return Surface(agreement=agreement.astype(np.float64), pairs=pairs.astype(np.float64), centre=centre)


def correlate_all(
    anchors: Sequence[NDArray[np.complex64]],
    items: Sequence[NDArray[np.complex64]],
    centre: tuple[int, int],
    reach: tuple[int, int],
) -> list[Surface]:
    """`correlate` of pairs of orientation images, 0 where unusable; all anchors have one shape, and all items."""
    surfaces = []
    for first, second in zip(anchors, items, strict=True):
        shapes = (first.shape[0], first.shape[1]), (second.shape[0], second.shape[1])
        span = span_for(*shapes, centre, reach)
        surfaces.append(correlate(Spectrum.of(first, span), Spectrum.of(second, span), centre, reach))
    return surfaces


@compiled
def local_agreement(
    anchor: NDArray[np.complex64],
    item: NDArray[np.complex64],
    lag_y: int,
    lag_x: int,
    boxes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Mean cosine between orientations in each box of the anchor, times the root of the pairs.

    `boxes` holds rows (top, left, bottom, right). The result, shape (n,), is about normal with unit
    variance where the images have nothing in common.
    """
    result = np.zeros(len(boxes))
    cosines, known = np.empty(anchor.shape[1]), np.empty(anchor.shape[1], np.int64)
    for n in range(len(boxes)):
        left = max(boxes[n, 1], lag_x, 0)
        right = max(left, min(boxes[n, 3], item.shape[1] + lag_x, anchor.shape[1]))
        # indexes that may be negative would keep the compiler from doing many at once
        here, there, width = np.uint64(left), np.uint64(left - lag_x), np.uint64(right - left)
        cosines[:] = 0
        known[:] = 0
        for y in range(max(boxes[n, 0], lag_y, 0), min(boxes[n, 2], item.shape[0] + lag_y, anchor.shape[0])):
            for x in range(width):
                a, b = anchor[y, here + x], item[y - lag_y, there + x]
                cosines[x] += a.real * b.real + a.imag * b.imag
                known[x] += ((a.real != 0) | (a.imag != 0)) & ((b.real != 0) | (b.imag != 0))
        pairs = known.sum()
        if pairs:
            result[n] = cosines.sum() / np.sqrt(pairs / 2)
    return result
