"""Where two scenes overlap, and how windows of them are read side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.rectangles import cut
from coregstack.model import PixelSource, Shift

_MANY = 10
"""Fewer windows than this are judged in quarters."""


class Box(NamedTuple):
    """Rows ``top`` up to ``bottom`` and columns ``left`` up to ``right`` of the anchor."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """Rows, 0 where the box is empty."""
        return max(0, self.bottom - self.top)

    @property
    def width(self) -> int:
        """Columns, 0 where the box is empty."""
        return max(0, self.right - self.left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far apart equal content lies in the arrays of anchor and item: ``anchor[p] = item[p - lag]``.

    The lag is the shift plus the item's origin; it is split into whole pixels, by which windows
    are read, and a rest within half a pixel.
    """

    whole_y: int
    whole_x: int
    rest_y: float
    rest_x: float

    @classmethod
    def of(cls, y: float, x: float) -> Lag:
        """Split a lag of any size."""
        whole_y, whole_x = round(y), round(x)
        return cls(whole_y=whole_y, whole_x=whole_x, rest_y=y - whole_y, rest_x=x - whole_x)


def overlap(shape: tuple[int, int], item_shape: tuple[int, int], lag: tuple[float, float]) -> Box:
    """The part of the anchor that the item covers when it is moved by `lag`.

    Examples
    --------
    >>> overlap((100, 80), (100, 80), (30.0, -10.4))
    Box(top=30, left=0, bottom=100, right=70)
    """
    top, left = (max(0, round(v)) for v in lag)
    bottom, right = (min(n, round(v) + m) for n, m, v in zip(shape, item_shape, lag, strict=True))
    return Box(top, left, bottom, right)


def read_padded(source: PixelSource, band: int, box: Box) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels and mask of a box that may reach beyond the source, where nothing is usable."""
    values, usable = read_stack(source, band, [box])
    return values[0], usable[0]


def read_stack(
    source: PixelSource, band: int, boxes: Sequence[Box]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """`read_padded` of boxes of one size, shape (n, y, x)."""
    shape = len(boxes), boxes[0].height, boxes[0].width
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    top, left, bottom, right = _inside(Box(min(tops), min(lefts), max(bottoms), max(rights)), source.shape)
    # boxes that lie close together share most of their pixels
    if len(boxes) > 1 and (bottom - top) * (right - left) <= shape[0] * shape[1] * shape[2]:
        found = source.read(band, slice(top, bottom), slice(left, right))
        return cut(
            *found, np.array([(box.top - top, box.left - left) for box in boxes], np.int64), *shape[1:]
        )
    values, usable = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    for k, box in enumerate(boxes):
        top, left, bottom, right = _inside(box, source.shape)
        if bottom > top and right > left:
            place = k, slice(top - box.top, bottom - box.top), slice(left - box.left, right - box.left)
            values[place], usable[place] = source.read(band, slice(top, bottom), slice(left, right))
    return values, usable


def _inside(box: Box, shape: tuple[int, int]) -> Box:
    """The part of a box that lies in an image, empty at its edge where none does."""
    height, width = shape
    return Box(
        min(max(box.top, 0), height), min(max(box.left, 0), width),
        min(max(box.bottom, 0), height), min(max(box.right, 0), width),
    )  # fmt: skip


def read_pair(
    anchor: PixelSource, item: PixelSource, band: int, box: Box, lag: Lag
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels and mask of the anchor in a box, and of the item moved there by whole pixels."""
    return *read_padded(anchor, band, box), *read_padded(item, band, moved(box, lag))


def moved(box: Box, lag: Lag) -> Box:
    """The box of the item that holds what a box of the anchor holds, to whole pixels."""
    y, x = lag.whole_y, lag.whole_x
    return Box(box.top - y, box.left - x, box.bottom - y, box.right - x)


def grown(box: Box, margin: int) -> Box:
    """The box with a margin on every side."""
    return Box(box.top - margin, box.left - margin, box.bottom + margin, box.right + margin)


def window_size(area: Box) -> int:
    """Side of the windows, px: smaller in small overlaps, so that there are several of them."""
    return 128 if min(area.height, area.width) >= 448 else 64


def cells(area: Box, size: int) -> list[Box]:
    """Windows of one size that tile the overlap, on a grid fixed to the anchor's first pixel.

    The grid does not follow the overlap, so that the same ground is cut the same way whatever the
    item covers. Slivers of less than a quarter of a window at the overlap's edge are left out, and where
    windows are few, and so judged in quarters, those of less than a quarter of such a part.
    """

    def tiles(least: int) -> list[Box]:
        rows, cols = (
            [s for s in range(low // size * size, high, size) if min(s + size, high) - max(s, low) >= least]
            for low, high in ((area.top, area.bottom), (area.left, area.right))
        )
        return [Box(y, x, y + size, x + size) for y in rows for x in cols]

    found = tiles(size // 4)
    return found if len(found) >= _MANY else tiles(size // 8)


def parts_for(boxes: Sequence[Box]) -> int:
    """Parts down and across that each window is judged in: few windows could not outvote a part of themselves."""
    return 1 if len(boxes) >= _MANY else 2


@lru_cache(maxsize=4096)
def parts_of(box: Box, parts: int) -> tuple[Box, ...]:
    """The parts of a window, row by row."""
    down, across = box.height // parts, box.width // parts
    starts = [(box.top + k * down, box.left + m * across) for k in range(parts) for m in range(parts)]
    return tuple(Box(top, left, top + down, left + across) for top, left in starts)


def centre(box: Box) -> Shift:
    """Frame position of a box's centre."""
    return Shift((box.top + box.bottom - 1) / 2, (box.left + box.right - 1) / 2)


def spread(boxes: list[Box], merit: NDArray[np.float64], count: int) -> list[Box]:
    """At most `count` boxes of merit above 0, the best of every sector first.

    The boxes' extent is cut into about `count` sectors; each gives its best box, and what is then
    still wanted comes from the best of the rest.
    """
    keep = [k for k in range(len(boxes)) if merit[k] > 0]
    if len(keep) <= count:
        return [boxes[k] for k in keep]
    side = int(np.sqrt(count))
    tops, lefts = np.array([boxes[k].top for k in keep]), np.array([boxes[k].left for k in keep])
    rows = (tops - tops.min()) * side // (np.ptp(tops) + boxes[0].height)
    cols = (lefts - lefts.min()) * side // (np.ptp(lefts) + boxes[0].width)
    by_merit = sorted(range(len(keep)), key=lambda j: -merit[keep[j]])
    best: dict[tuple[int, int], int] = {}
    for j in by_merit:
        best.setdefault((int(rows[j]), int(cols[j])), j)
    first = set(best.values())
    chosen = [*first, *(j for j in by_merit if j not in first)][:count]
    return [boxes[keep[j]] for j in sorted(chosen)]
