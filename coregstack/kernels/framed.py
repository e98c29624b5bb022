"""A source as one of another extent, by whole pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.sources import block_means
from coregstack.kernels.windows import Box, read_padded
from coregstack.model import NO_SHIFT, PixelSource, Shift

_STRIP = 512
"""Rows that an overview is made from at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramedSource:
    """The pixels of a source in a frame that begins and ends elsewhere; beyond the source nothing is usable.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> source = ArraySource(values=np.ones((1, 2, 2)), usable=np.ones((2, 2), bool))
    >>> FramedSource(source=source, shape=(3, 4), row=1, col=-1).read(0, slice(0, 3), slice(0, 4))[1].astype(int)
    array([[0, 0, 0, 0],
           [1, 0, 0, 0],
           [1, 0, 0, 0]])
    """

    source: PixelSource
    shape: tuple[int, int]
    """Rows and columns of the frame."""
    row: int
    """Row of the frame that the first row of the source is."""
    col: int
    """Column of the frame that its first column is."""

    @property
    def origin(self) -> Shift:
        """Position of the first pixel in the frame that it is."""
        return NO_SHIFT

    @property
    def bands(self) -> int:
        """Number of match bands."""
        return self.source.bands

    def read(self, band: int, rows: slice, cols: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Pixels and usable-mask of a window; pixels that are not usable hold 0."""
        box = Box(rows.start - self.row, cols.start - self.col, rows.stop - self.row, cols.stop - self.col)
        return read_padded(self.source, band, box)

    def overview(self, band: int, factor: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Block means over usable pixels and the usable share of each block."""
        height, width = self.shape[0] // factor, self.shape[1] // factor
        means, share = np.empty((height, width), np.float32), np.empty((height, width), np.float32)
        step = max(1, _STRIP // factor)
        for top in range(0, height, step):
            part = slice(top, min(top + step, height))
            pixels, usable = self.read(
                band, slice(part.start * factor, part.stop * factor), slice(0, width * factor)
            )
            means[part], share[part] = block_means(pixels, usable, pixels[0, :0], factor)
        return means, share
