"""A `PixelSource` over arrays that are in memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled
from coregstack.kernels.kept import once
from coregstack.model import Shift

T = TypeVar("T")

_STRIP = 512
"""Rows that an overview is made from at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArraySource:
    """Match bands of one item as numpy arrays.

    Examples
    --------
    >>> source = ArraySource(values=np.arange(12.0).reshape(1, 3, 4), usable=np.ones((3, 4), bool))
    >>> source.shape, source.bands
    ((3, 4), 1)
    >>> source.read(0, slice(1, 2), slice(0, 2))[0]
    array([[4., 5.]], dtype=float32)
    """

    values: NDArray[np.generic]
    """Pixels, shape (band, y, x), any real dtype."""
    usable: NDArray[np.bool_]
    """Shape (y, x) or (band, y, x): True where a pixel is valid and clear."""
    origin: Shift = field(default=Shift(0.0, 0.0))
    """Frame position of the first pixel's centre."""
    nodata: float | None = None
    """Value that marks, besides `usable`, pixels that are not usable in their own band."""
    _found: dict[Hashable, Any] = field(init=False, repr=False, default_factory=dict)
    """What was found out of it before."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        _, height, width = self.values.shape
        return height, width

    @property
    def bands(self) -> int:
        """Number of match bands."""
        return int(self.values.shape[0])

    def read(self, band: int, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Pixels and usable-mask of a window; pixels that are not usable hold 0."""
        values = self.values[band, rows, cols]
        usable = self._usable(band, rows, cols)
        # loops over contiguous rows are several times as fast
        return take(
            np.ascontiguousarray(values), np.ascontiguousarray(usable), _mark(values.dtype, self.nodata)
        )

    def overview(self, band: int, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Block means over usable pixels and the usable share of each block."""
        height, width = self.shape[0] // factor, self.shape[1] // factor
        means = np.empty((height, width), np.float32)
        share = np.empty((height, width), np.float32)
        mark, step = _mark(self.values.dtype, self.nodata), max(1, _STRIP // factor)
        for top in range(0, height, step):
            part = slice(top, min(top + step, height))
            rows, cols = slice(part.start * factor, part.stop * factor), slice(0, width * factor)
            values, usable = self.values[band, rows, cols], self._usable(band, rows, cols)
            means[part], share[part] = block_means(
                np.ascontiguousarray(values), np.ascontiguousarray(usable), mark, factor
            )
        return means, share

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """What is found out of it when that is first asked for, and then known, as an anchor is asked by every item."""
        return once(self._found, key, find)

    def seen_from(self, other: ArraySource) -> Self:
        """The same in the frame that counts from the first pixel of another."""
        y, x = (own - first for own, first in zip(self.origin, other.origin, strict=True))
        return replace(self, origin=Shift(y, x))

    def without(self, region: NDArray[np.bool_]) -> Self:
        """The same where the pixels of a region, shape (y, x), are not usable."""
        return replace(self, usable=self.usable & ~region)

    def _usable(self, band: int, rows: slice, cols: slice) -> NDArray[np.bool_]:
        return self.usable[rows, cols] if self.usable.ndim == 2 else self.usable[band, rows, cols]


@lru_cache(maxsize=64)
def _mark(dtype: np.dtype[np.generic], nodata: float | None) -> NDArray[np.generic]:
    """The nodata value as an array of shape (1,), or (0,) where no pixel of a dtype can equal it."""
    if nodata is None or not np.isfinite(nodata):
        return np.empty(0, dtype)
    if dtype.kind in "iu" and not (float(nodata).is_integer() and _holds(dtype, nodata)):
        return np.empty(0, dtype)
    return np.array([nodata], dtype)


def _holds(dtype: np.dtype[Any], value: float) -> bool:
    return bool(np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


@compiled
def take(
    values: NDArray[np.generic], usable: NDArray[np.bool_], nodata: NDArray[np.generic]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Pixels as float32, 0 where not usable, and where they are: usable, finite and not nodata.

    Parameters
    ----------
    values
        Image, shape (y, x), any real dtype.
    usable
        Mask of the same shape.
    nodata
        Shape (1,), or (0,) where there is none.

    Examples
    --------
    >>> take(np.array([[1, 3, 0]]), np.array([[True, False, True]]), np.array([0]))[0].tolist()
    [[1.0, 0.0, 0.0]]
    """
    out = np.empty(values.shape, np.float32)
    mask = np.empty(values.shape, np.bool_)
    for y in range(values.shape[0]):
        source, here, target = values[y], mask[y], out[y]
        for x in range(source.size):
            here[x] = usable[y, x] & np.isfinite(source[x])
        if nodata.size:
            for x in range(source.size):
                here[x] &= source[x] != nodata[0]
        for x in range(source.size):
            target[x] = np.float32(source[x]) if here[x] else np.float32(0)
    return out, mask


@compiled
def block_means(
    values: NDArray[np.generic], usable: NDArray[np.bool_], nodata: NDArray[np.generic], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means over ``factor x factor`` blocks of usable and finite pixels, and their share of each block.

    Parameters
    ----------
    values, usable, nodata
        As for `take`.
    factor
        Side of a block; rows and columns left over at the end are dropped.

    Returns
    -------
    means, share
        float32, shape (y // factor, x // factor); means are 0 where nothing is usable.

    Examples
    --------
    >>> means, share = block_means(np.array([[1, 3], [5, 9]]), np.ones((2, 2), bool), np.array([9]), 2)
    >>> float(means[0, 0]), float(share[0, 0])
    (3.0, 0.75)
    """
    height, width = values.shape[0] // factor, values.shape[1] // factor
    means = np.zeros((height, width), np.float32)
    share = np.zeros((height, width), np.float32)
    # Whole numbers are summed as such, rows before columns, so that the compiler can do many at once.
    zero = np.zeros(1, values.dtype)[0] + 0
    total, count = np.full(width * factor, zero), np.zeros(width * factor, np.int32)
    good = np.empty(width * factor, np.bool_)
    for y in range(height):
        total[:] = zero
        count[:] = 0
        for row in range(y * factor, (y + 1) * factor):
            line = values[row]
            for x in range(good.size):
                good[x] = usable[row, x] & np.isfinite(line[x])
            if nodata.size:
                for x in range(good.size):
                    good[x] &= line[x] != nodata[0]
            for x in range(good.size):
                total[x] += line[x] if good[x] else zero
            for x in range(good.size):
                count[x] += good[x]
        for x in range(width):
            run, pixels = zero, 0
            for column in range(x * factor, (x + 1) * factor):
                run += total[column]
                pixels += count[column]
            if pixels:
                means[y, x] = run / pixels
                share[y, x] = pixels / factor**2
    return means, share
