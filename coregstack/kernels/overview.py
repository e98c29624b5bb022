"""Reduced images of a scene, or of the part of it that matters, as the search sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.kept import Kept
from coregstack.kernels.match_image import orientation
from coregstack.kernels.sources import block_means
from coregstack.kernels.windows import Box
from coregstack.model import PixelSource

OVERVIEW = 256
"""Longest side of the overviews that are searched, px, so that the search costs the same at any size."""
_STRIP = 1 << 22
"""Pixels read at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Gradient orientations of one band of an overview."""

    values: NDArray[np.complex64]
    """Doubled orientations, 0 where unusable, shape (y, x)."""
    top: int
    """Row of the whole scene's overview that the first row is."""
    left: int
    """Column of the whole scene's overview that the first column is."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.values.nbytes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedAnchor:
    """An anchor made ready once for all items; what they ask of it is made when the first asks, and kept."""

    source: PixelSource
    """Where windows are read from."""
    factor: int
    """Side of the overviews' blocks, px."""
    kept: Kept
    """What items have asked of it before; each process makes its own."""

    def look(self, band: int, factor: int | None = None, area: Box | None = None) -> Look:
        """The overview of a band; by default that of the whole anchor."""
        by = factor or self.factor
        return self.kept.of(("look", band, by, area), lambda: look(self.source, band, by, area))


def factor_for(longest: int) -> int:
    """Side of the blocks that make an overview of at most `OVERVIEW` px of a side of `longest` px."""
    return max(1, -(-longest // OVERVIEW))


def look(source: PixelSource, band: int, factor: int, area: Box | None = None) -> Look:
    """The overview of a band, of the whole source or of an area of it.

    Parameters
    ----------
    source
        Where pixels come from.
    band
        Match band.
    factor
        Side of the blocks that are averaged, px.
    area
        Box of the source, px; what lies beyond the source is left out.
    """
    height, width = (n // factor for n in source.shape)
    top, left, bottom, right = 0, 0, height, width
    if area is not None:
        top, left = max(0, area.top // factor), max(0, area.left // factor)
        bottom, right = min(height, -(-area.bottom // factor)), min(width, -(-area.right // factor))
    box = Box(top, left, max(top, bottom), max(left, right))
    return Look(values=_orientations(source, band, factor, box), top=top, left=left)


def _orientations(source: PixelSource, band: int, factor: int, box: Box) -> NDArray[np.complex64]:
    """Orientations of a box of the overview."""
    rows, cols = slice(box.top, box.bottom), slice(box.left, box.right)
    if factor == 1:
        return orientation(*source.read(band, rows, cols))
    if 2 * box.height * box.width * factor**2 > source.shape[0] * source.shape[1]:
        values, share = source.overview(band, factor)
        return orientation(values[rows, cols], share[rows, cols] >= 0.5)
    # A small part of a large scene: read that part only, a strip at a time.
    means, shares = [np.zeros((0, box.width), np.float32)], [np.zeros((0, box.width), np.float32)]
    step = max(1, _STRIP // max(1, box.width * factor**2))
    for top in range(box.top, box.bottom, step):
        strip = slice(top * factor, min(top + step, box.bottom) * factor)
        pixels, usable = source.read(band, strip, slice(box.left * factor, box.right * factor))
        mean, share = block_means(pixels, usable, pixels[0, :0], factor)
        means.append(mean)
        shares.append(share)
    return orientation(np.concatenate(means), np.concatenate(shares) >= 0.5)
