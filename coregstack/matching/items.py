"""Items to match: described before, their pixels are read inside the task that needs them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.kernels.sources import ArraySource, block_means
from coregstack.matching.options import MatchOptions
from coregstack.model import NO_SHIFT, Shift
from coregstack.pixels.raster import valid_values
from coregstack.pixels.scene import MatchPixels, PlacedScene, band_mean, load_match, load_overview


class Reduced(NamedTuple):
    """A reduced image of an item over the area of its stack; all of shape (y, x)."""

    values: NDArray[np.float32]
    """Means over blocks of pixels."""
    usable: NDArray[Any]
    """Which part of each block is valid and clear, 0 to 1."""
    valid: NDArray[Any]
    """Which part of each block is valid, 0 to 1."""


class MatchItem(Protocol):
    """One item of a stack. Scenes behind files and times of an array are matched in one way through this."""

    @property
    def id(self) -> str:
        """Item id."""

    def load(self, options: MatchOptions) -> MatchPixels:
        """The match pixels, in the frame that counts from the anchor's first pixel.

        Raises
        ------
        CoregError
            If the item's files cannot be read.
        """

    def load_anchor(self, options: MatchOptions) -> MatchPixels:
        """The same, of the anchor itself, which all other items wait for."""

    def reduced(self, options: MatchOptions, side: int, area: GeoBox | None) -> Reduced:
        """A reduced image, `side` px at most, of the first match band.

        Raises
        ------
        CoregError
            If the item's files cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneItem:
    """An item behind files."""

    scene: PlacedScene
    """The scene on a box of the anchor's lattice."""
    corner: Shift = NO_SHIFT
    """Position of the anchor's first pixel in that box (row, column)."""

    @property
    def id(self) -> str:
        """Item id."""
        return self.scene.scene.id

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the item."""
        return self.scene.__dask_tokenize__(), self.corner

    def load(self, options: MatchOptions) -> MatchPixels:
        """Read the part that can overlap the anchor."""
        return self._read(options, options.max_shift, alone=False)

    def load_anchor(self, options: MatchOptions) -> MatchPixels:
        """Read the whole scene with all cores."""
        return self._read(options, 0, alone=True)

    def reduced(self, options: MatchOptions, side: int, area: GeoBox | None) -> Reduced:
        """Read a reduced image of `area`."""
        box = self.scene.lattice if area is None else area
        factor = max(1, -(-max(box.shape) // side))
        shape = -(-box.shape[0] // factor), -(-box.shape[1] // factor)
        grid = GeoBox(shape, box.affine * Affine.scale(factor), box.crs)
        return Reduced(*load_overview(self.scene, options.bands[0], grid))

    def _read(self, options: MatchOptions, reach: float | None, *, alone: bool) -> MatchPixels:
        pixels = load_match(self.scene, options.bands, mean=options.mean, reach=reach, alone=alone)
        y, x = (own - first for own, first in zip(pixels.source.origin, self.corner, strict=True))
        return replace(pixels, source=replace(pixels.source, origin=Shift(y, x)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ArrayItem:
    """An item in memory: one time of an array."""

    id: str
    """Item id."""
    values: NDArray[Any]
    """Its match bands, in the order of the options' bands, dims (band, y, x)."""
    clear: NDArray[np.bool_] | None
    """True where a pixel may be used, dims (y, x); None where all valid ones may."""
    nodata: float | None
    """Value of pixels without data."""
    origin: Shift
    """Position of its first pixel in the frame that counts from the anchor's first pixel."""

    def load(self, options: MatchOptions) -> MatchPixels:
        """Find which of its values are valid and usable."""
        values = self.values
        valid = valid_values(values, self.nodata)
        usable = valid if self.clear is None else valid & self.clear
        if options.mean:
            values, valid, usable = band_mean(values, valid, usable)
        return MatchPixels(source=ArraySource(values=values, usable=usable, origin=self.origin), valid=valid)

    def load_anchor(self, options: MatchOptions) -> MatchPixels:
        """The same as `load`, with its first pixel as the origin of the frame."""
        return replace(self, origin=NO_SHIFT).load(options)

    def reduced(self, options: MatchOptions, side: int, area: GeoBox | None) -> Reduced:
        """Reduce the whole array; `area` is that of the array."""
        pixels = self.load(options) if options.mean else replace(self, values=self.values[:1]).load(options)
        return reduced_pixels(pixels, side)


def reduced_pixels(pixels: MatchPixels, side: int) -> Reduced:
    """A reduced image, `side` px at most, of the first match band of an item that is in memory."""
    source = pixels.source
    factor = max(1, -(-max(source.shape) // side))
    values, share = source.overview(0, factor)
    valid = pixels.valid if pixels.valid.ndim == 2 else pixels.valid[0]
    covered = block_means(valid.astype(np.uint8), valid, np.empty(0, np.uint8), factor)[1]
    return Reduced(values, share, covered)
