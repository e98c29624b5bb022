"""An item as it is seen from the anchor's pixels: as it lies, moved by a shift, or by a displacement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels._taps import allpass_powers
from coregstack.kernels._two_pass import two_passes
from coregstack.kernels.displaced import displaced_bounds, displaced_positions, window_at
from coregstack.kernels.displacement import Area, Spline
from coregstack.kernels.resample import source_window, translate
from coregstack.model import Move, PixelSource, Shift

KERNEL = "allpass"
"""It leaves the power at all frequencies as it is, so that no score rises by smoothed noise."""

Extent = tuple[int, int]
"""First pixel of an axis, and the one after the last."""


class View(Protocol):
    """An item seen from the anchor's pixels."""

    def extent(self, shape: tuple[int, int]) -> tuple[Extent, Extent]:
        """Rows and columns of the anchor that an item of some shape may reach."""

    def window(self, area: Area, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of an item of some shape that are needed for a part of the anchor."""

    def fill(
        self,
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
        corner: tuple[int, int],
        area: Area,
        out: NDArray[np.float32],
    ) -> None:
        """Interpolate a part of the anchor from what of the item begins at `corner`; NaN where nothing is valid."""


def view(anchor: PixelSource, item: PixelSource, move: Move) -> View:
    """How an item is seen after it was moved."""
    if isinstance(move, Shift):
        start = (a - i - s for a, i, s in zip(anchor.origin, item.origin, move, strict=True))
        return _Shifted(start=Shift(*start))
    return _Displaced(displacement=Spline.of(move), first=anchor.origin, origin=item.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shifted:
    start: Shift
    """Position in the item of the anchor's first pixel."""

    def extent(self, shape: tuple[int, int]) -> tuple[Extent, Extent]:
        rows, cols = (_reached(start, start, size) for start, size in zip(self.start, shape, strict=True))
        return rows, cols

    def window(self, area: Area, shape: tuple[int, int]) -> tuple[slice, slice]:
        return source_window(self._start(area), area[2:], shape, KERNEL)

    def fill(
        self,
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
        corner: tuple[int, int],
        area: Area,
        out: NDArray[np.float32],
    ) -> None:
        y, x = self._start(area)
        near = Shift(y - corner[0], x - corner[1])
        translate(values, start=near, shape=area[2:], kernel=KERNEL, valid=valid, fill=np.nan, out=out)

    def _start(self, area: Area) -> Shift:
        return Shift(self.start.y + area[0], self.start.x + area[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Displaced:
    displacement: Spline
    first: Shift
    """Frame position of the anchor's first pixel."""
    origin: Shift
    """Frame position of the item's first pixel."""

    def extent(self, shape: tuple[int, int]) -> tuple[Extent, Extent]:
        everywhere = -math.inf, math.inf
        least, greatest = self.displacement.bounds(*everywhere, *everywhere)
        apart = [a - i for a, i in zip(self.first, self.origin, strict=True)]
        ends = zip(apart, least, greatest, shape, strict=True)
        rows, cols = (_reached(gap - low, gap - high, size) for gap, low, high, size in ends)
        return rows, cols

    def window(self, area: Area, shape: tuple[int, int]) -> tuple[slice, slice]:
        return window_at(displaced_bounds(self.displacement, area, self.origin, self.first), shape, KERNEL)

    def fill(
        self,
        values: NDArray[np.float32],
        valid: NDArray[np.bool_],
        corner: tuple[int, int],
        area: Area,
        out: NDArray[np.float32],
    ) -> None:
        y, x = displaced_positions(self.displacement, area, self.origin, self.first)
        y -= corner[0]
        x -= corner[1]
        powers, usable = allpass_powers(), valid & np.isfinite(values)
        whole = bool(usable.all())
        known = values if whole else np.where(usable, values, 0)
        # with as much on every side as the taps reach, where nothing is
        reach = len(powers) - 1
        known, usable = np.pad(known.astype(np.float32, copy=False), reach), np.pad(usable, reach)
        two_passes(known, usable, whole, y, x, powers, out)


def _reached(latest: float, earliest: float, length: int) -> Extent:
    """Pixels of the anchor, the first of which lies in the item between two positions, that the item may reach."""
    return math.ceil(-latest - 0.5), math.floor(length - 0.5 - earliest) + 1
