"""Matching score, version 1: how alike two scenes are, before and after a shift, on the same pixels.

The score is ``(SSIM + 1 - NRMSE) / 2``, of which SSIM is the structural similarity of [1]_, and NRMSE the
root mean square difference over the anchor's range of values. The moved item is interpolated by a kernel that
leaves the power at all frequencies as it is (`allpass`), so that a gain in score is never the gain of
smoothed noise.

References
----------
.. [1] Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, Image quality assessment: from error
   visibility to structural similarity, IEEE Trans. Image Processing 13, 2004, doi:10.1109/TIP.2003.819861.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels._similarity import (
    WINDOW,
    add_errors,
    add_moments,
    add_similarity,
    count_high,
    count_low,
    join,
)
from coregstack.kernels._views import View, view
from coregstack.kernels.displacement import Area
from coregstack.model import NO_SHIFT, Move, PixelSource, Scores, Shift

K1, K2 = 0.01, 0.03
PERCENTILES = (2, 98)
_KEPT = 1 << 28
"""Bytes of strips that are kept from the first pass for the second."""
_STRIP = 128  # rows; so few that what is made of them is still in the cache when it is summed
_FLAT = 1e-12
_COUNTED = 0.02
"""What scores on both sides of a match differ by without a pattern that stays on the pixel grid."""


def anchor_range(anchor: PixelSource, band: int = 0) -> float:
    """Range R of the score: 98th minus 2nd percentile of the anchor's usable pixels.

    Parameters
    ----------
    anchor : PixelSource
        Is read twice, strip by strip.
    band : int
        Match band.

    Returns
    -------
    float
        In units of the pixels; the difference of numpy's linear percentiles. 0 where no pixel is usable.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> values = np.arange(101.0).reshape(1, 1, 101)
    >>> anchor_range(ArraySource(values=values, usable=values[0] >= 0))
    96.0
    """
    counts = np.zeros(1 << 16, np.int64)
    for values, usable in _strips(anchor, band):
        count_high(values, usable, counts)
    total = int(counts.sum())
    if total == 0:
        return 0.0
    places = [(total - 1) * (percent / 100) for percent in PERCENTILES]
    ranks = sorted({rank for place in places for rank in (math.floor(place), math.ceil(place))})
    below = np.concatenate(([0], np.cumsum(counts)))
    high = np.searchsorted(below, ranks, side="right") - 1
    groups = np.unique(high).astype(np.uint32)
    detail = np.zeros((groups.size, 1 << 16), np.int64)
    for values, usable in _strips(anchor, band):
        count_low(values, usable, groups, detail)
    at = {}
    for rank, upper in zip(ranks, high, strict=True):
        within = np.cumsum(detail[np.searchsorted(groups, upper)])
        lower = int(np.searchsorted(within, rank - below[upper], side="right"))
        at[rank] = _float_of(int(upper) << 16 | lower)
    low, top = (_between(at[math.floor(place)], at[math.ceil(place)], place % 1) for place in places)
    return top - low


def _strips(source: PixelSource, band: int) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.bool_]]]:
    height, width = source.shape
    for top in range(0, height, _STRIP):
        values, usable = source.read(band, slice(top, min(top + _STRIP, height)), slice(0, width))
        yield np.ascontiguousarray(values, np.float32).view(np.uint32), np.ascontiguousarray(usable)


def _float_of(key: int) -> float:
    bits = key & 0x7FFFFFFF if key >> 31 else ~key & 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


def _between(low: float, high: float, share: float) -> float:
    step = (high - low) * share
    return low + step if share < 0.5 else high - (high - low) * (1 - share)


def matching_scores(
    anchor: PixelSource,
    item: PixelSource,
    move: Move | None,
    *,
    band: int = 0,
    value_range: float,
    beyond: Shift | None = None,
    strip: int = _STRIP,
) -> Scores:
    """Score an item as it is, and moved, against the anchor.

    Both scores are taken on the same pixels: those that are usable in the anchor, in the item as it
    lies and in the item as it is moved. Over these the item is brought to the anchor's mean and standard
    deviation. Where an item lies between the anchor's pixels, it is interpolated for `before` too, by the
    same kernel as for `after`.

    Parameters
    ----------
    anchor, item : PixelSource
        Each is read strip by strip where they overlap, once if that is small, else twice.
    move : Shift, Displacement or None
        What is applied to the item's content to match the anchor, in the frame that both are counted in. If None,
        only `before` is scored, on the pixels that are usable in the anchor and in the item as it lies.
    band : int
        Match band of both.
    value_range : float
        R, from `anchor_range`.
    beyond : Shift, optional
        What the function of this name gives, where something stays on the pixel grid. If the item scores less there
        than as it lies, that is what it scores before without the pattern.
    strip : int
        Rows that are in memory at a time; the scores do not depend on it.

    Returns
    -------
    Scores
        Each from 0 to 1, or None where there is nothing to compare: no 7 x 7 window of joint pixels, or a
        range of 0 (a constant anchor). An item that is constant is compared as the anchor's mean.

    Examples
    --------
    >>> from coregstack.model import Shift
    >>> from coregstack.kernels.sources import ArraySource
    >>> scene = np.random.default_rng(0).normal(size=(1, 40, 40))
    >>> anchor = ArraySource(values=scene[:, :32, :32], usable=np.ones((32, 32), bool))
    >>> item = ArraySource(values=scene[:, 3:35, 1:33], usable=np.ones((32, 32), bool))
    >>> scores = matching_scores(anchor, item, Shift(3.0, 1.0), value_range=anchor_range(anchor))
    >>> scores.before < 0.5, scores.after
    (True, 1.0)
    """
    moves = [NO_SHIFT] if move is None else [NO_SHIFT, move] if beyond is None else [NO_SHIFT, move, beyond]
    views = [view(anchor, item, each) for each in moves]
    extents = zip(*(each.extent(item.shape) for each in views), strict=True)
    rows, cols = (_overlap(size, ends) for size, ends in zip(anchor.shape, extents, strict=True))
    height, width = rows.stop - rows.start, cols.stop - cols.start
    if not value_range > 0 or min(height, width) < WINDOW:
        return Scores(before=None, after=None)
    pair = _Pair.of(anchor, item, views, band=band, rows=rows, cols=cols, height=strip)
    fit = _fit(pair, height, len(moves))
    scores = [None] * len(moves) if fit is None else _scores(pair, fit, height, value_range)
    before, after, there = scores[0], None if move is None else scores[1], scores[-1] if beyond else None
    if before is not None and there is not None and before - there > _COUNTED:
        return Scores(before=there, after=after, held=before)
    return Scores(before=before, after=after)


def beyond(shift: Shift | None, anchor: PixelSource) -> Shift | None:
    """The shift as far beyond the right one as the item as it lies is before it; None where little would be compared.

    A scene is about as unlike itself on both sides of where it matches. What stays on the pixel grid matches on one
    side only, where the item lies, and raises the score there.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> beyond(Shift(1.5, -1.0), ArraySource(values=np.zeros((1, 90, 90)), usable=np.ones((90, 90), bool)))
    Shift(y=3.0, x=-2.0)
    """
    if shift is None or any(abs(one) > size / 8 for one, size in zip(shift, anchor.shape, strict=True)):
        return None
    return Shift(2 * shift.y, 2 * shift.x)


class _Strip(NamedTuple):
    """Some rows of the overlap of an anchor and an item, followed by those that their windows reach into."""

    rows: slice
    """Rows of the overlap that belong to this strip."""
    images: NDArray[np.float32]
    """The anchor, and the item at each of its places, shape (1 + place, y, x), 0 outside the joint pixels."""
    joint: NDArray[np.bool_]
    """Shape (y, x): usable in all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """An anchor and an item at one or more places on it; iterates over strips of their overlap."""

    anchor: PixelSource
    item: PixelSource
    band: int
    views: Sequence[View]
    """The item at each of its places."""
    rows: slice
    """Rows of the anchor that the item may reach at all of its places."""
    cols: slice
    """Columns of the anchor that the item may reach at all of its places."""
    height: int
    """Rows of a strip."""
    images: NDArray[np.float32]
    """Room for strips that are kept, shape (strip, pixels)."""
    joint: NDArray[np.bool_]
    """Room for where their pixels are usable."""
    kept: list[_Strip] = field(default_factory=list)
    """The first strips, as many as there is room for: they are asked for twice."""

    @classmethod
    def of(
        cls,
        anchor: PixelSource,
        item: PixelSource,
        views: Sequence[View],
        *,
        band: int,
        rows: slice,
        cols: slice,
        height: int,
    ) -> _Pair:
        """The pair, with room in one piece: a system hands out many small ones page by page."""
        size = min(height + WINDOW - 1, rows.stop - rows.start) * (cols.stop - cols.start)
        depth = 1 + len(views)
        count = min(-(-(rows.stop - rows.start) // height), _KEPT // (size * (4 * depth + 1)))
        return cls(
            anchor=anchor, item=item, band=band, views=views, rows=rows, cols=cols, height=height,
            images=np.empty((count, depth * size), np.float32), joint=np.empty((count, size), bool),
        )  # fmt: skip

    def __iter__(self) -> Iterator[_Strip]:
        yield from self.kept
        tops = range(self.rows.start, self.rows.stop, self.height)
        for k in range(len(self.kept), len(tops)):
            strip = self._strip(k, tops[k])
            if k < len(self.images):
                self.kept.append(strip)
            yield strip

    def _strip(self, k: int, top: int) -> _Strip:
        rows, cols = self.rows, self.cols
        part = slice(top, min(top + self.height + WINDOW - 1, rows.stop))
        values, usable = self.anchor.read(self.band, part, cols)
        images, joint = self._room(k, values.shape)
        self._look((top, cols.start, *joint.shape), images[1:])
        join(np.ascontiguousarray(values), np.ascontiguousarray(usable), images, joint)
        return _Strip(slice(top - rows.start, min(top + self.height, rows.stop) - rows.start), images, joint)

    def _room(self, k: int, shape: tuple[int, ...]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where a strip goes: where it stays, or else memory of its own."""
        depth, size = 1 + len(self.views), math.prod(shape)
        stays = k < len(self.images)
        images = self.images[k, : depth * size] if stays else np.empty(depth * size, np.float32)
        joint = self.joint[k, :size] if stays else np.empty(size, bool)
        return images.reshape(depth, *shape), joint.reshape(shape)

    def _look(self, area: Area, images: NDArray[np.float32]) -> None:
        """Fill `images` with the item at each place, in a part of the anchor, NaN where it is not usable."""
        windows = [each.window(area, self.item.shape) for each in self.views]
        rows, cols = (_union(axis) for axis in zip(*windows, strict=True))
        values, valid = self.item.read(self.band, rows, cols)
        for image, each in zip(images, self.views, strict=True):
            each.fill(values, valid, (rows.start, cols.start), area, image)


def _overlap(size: int, extents: Sequence[tuple[int, int]]) -> slice:
    low = max(0, *(first for first, _ in extents))
    return slice(low, max(low, min(size, *(last for _, last in extents))))


def _union(slices: Sequence[slice]) -> slice:
    return slice(min(part.start for part in slices), max(part.stop for part in slices))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """What brings the item at each place to the anchor's mean and standard deviation."""

    gains: NDArray[np.float64]
    offsets: NDArray[np.float64]
    pixels: int


def _fit(strips: Iterable[_Strip], height: int, places: int) -> _Fit | None:
    """First pass: moments over the joint pixels; None where there are none."""
    totals = np.empty((2, 1 + places, height))
    pixels = 0
    for strip in strips:
        rows = strip.rows.stop - strip.rows.start
        pixels += int(np.count_nonzero(strip.joint[:rows]))
        for image, target in zip(strip.images, totals.swapaxes(0, 1), strict=True):
            add_moments(image[:rows], target[0, strip.rows], target[1, strip.rows])
    if pixels == 0:
        return None
    mean, square = (np.array([math.fsum(sums) for sums in kind]) / pixels for kind in totals)
    variance = np.maximum(square - mean**2, 0)
    variance[variance <= _FLAT * square] = 0
    deviation = np.sqrt(variance)
    gains = np.divide(deviation[0], deviation[1:], out=np.zeros(places), where=deviation[1:] > 0)
    return _Fit(gains=gains, offsets=mean[0] - gains * mean[1:], pixels=pixels)


def _scores(strips: Iterable[_Strip], fit: _Fit, height: int, value_range: float) -> list[float | None]:
    """Second pass: similarity and error at each place; None where no window is wholly usable."""
    places = fit.gains.size
    errors, similarity = np.zeros((places, height)), np.zeros((places, height))
    windows = np.zeros(height, np.int64)
    c1, c2 = (K1 * value_range) ** 2, (K2 * value_range) ** 2
    for rows, images, joint in strips:
        anchor, moved = images[0], images[1:]
        for image, gain, offset, error in zip(moved, fit.gains, fit.offsets, errors, strict=True):
            add_errors(anchor, image, joint, gain, offset, error[rows])
        alike = np.zeros((places, rows.stop - rows.start))
        add_similarity(anchor, moved, joint, fit.gains, fit.offsets, c1, c2, windows[rows], alike)
        similarity[:, rows] = alike
    seen = int(windows.sum())
    if seen == 0:
        return [None] * places
    return [
        _score(math.fsum(alike) / seen, math.fsum(error) / fit.pixels, value_range)
        for alike, error in zip(similarity, errors, strict=True)
    ]


def _score(similarity: float, square_error: float, value_range: float) -> float:
    nrmse = math.sqrt(square_error) / value_range
    return (min(max(similarity, 0.0), 1.0) + 1 - min(nrmse, 1.0)) / 2
