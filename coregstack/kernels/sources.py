"""A `PixelSource` over arrays that are in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coregstack.model import Shift


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

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[1], self.values.shape[2]

    @property
    def bands(self) -> int:
        """Number of match bands."""
        return self.values.shape[0]

    def read(self, band: int, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Pixels and usable-mask of a window; pixels that are not usable hold 0."""
        values = self.values[band, rows, cols].astype(np.float32)
        usable = self._usable(band)[rows, cols] & np.isfinite(values)
        return np.where(usable, values, np.float32(0)), usable

    def overview(self, band: int, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Block means over usable pixels and the usable share of each block."""
        height, width = self.shape[0] // factor, self.shape[1] // factor
        window = slice(0, height * factor), slice(0, width * factor)
        values, usable = self.read(band, *window)
        blocks = (height, factor, width, factor)
        count = usable.reshape(blocks).sum(axis=(1, 3), dtype=np.float32)
        total = values.reshape(blocks).sum(axis=(1, 3), dtype=np.float64)
        return (total / np.maximum(count, 1)).astype(np.float32), count / np.float32(factor**2)

    def _usable(self, band: int) -> NDArray[np.bool_]:
        return self.usable if self.usable.ndim == 2 else self.usable[band]
