"""Match bands of a file as a `PixelSource`: in memory as far as they fit, windows of the file for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.sources import ArraySource

if TYPE_CHECKING:
    from coregstack.pixels.bandcache import BandCache

_OVERVIEW_ROWS = 512
"""Rows that are read at a time where a band is not in memory."""

Look = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Block means and the usable share of each block."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileBands:
    """Match bands of a raster, sliced like an array of shape (band, y, x), read where they are not in memory."""

    raster: BandCache
    indexes: tuple[int, ...]
    """For each match band, the band of the file, counted from 0."""
    window: tuple[int, int, int, int]
    """Row, column, height and width of the raster that they cover."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Bands, rows and columns."""
        return len(self.indexes), self.window[2], self.window[3]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the file."""
        return self.raster.values.dtype

    def __len__(self) -> int:
        return len(self.indexes)

    def __getitem__(self, key: tuple[int, slice, slice]) -> NDArray[Any]:
        """One band of a window; a view that must not be written to."""
        band, rows, cols = key
        held = self.raster.plane(self.indexes[band], self.window)
        if held is not None:
            return held[rows, cols]
        top, bottom, down = rows.indices(self.window[2])
        left, right, along = cols.indices(self.window[3])
        values: NDArray[Any] = self.read([band], slice(top, bottom), slice(left, right))[0]
        return values if down == along == 1 else values[::down, ::along]

    def read(self, bands: Sequence[int], rows: slice, cols: slice) -> NDArray[Any]:
        """Some bands of a window, shape (band, y, x)."""
        shape = max(0, rows.stop - rows.start), max(0, cols.stop - cols.start)
        corner = self.window[0] + rows.start, self.window[1] + cols.start
        return self.raster.read([self.indexes[b] for b in bands], *corner, shape)

    def is_held(self, band: int) -> bool:
        """Whether a band is in memory."""
        return self.indexes[band] in self.raster.bands


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileSource(ArraySource):
    """Match bands of which some may be left in their file; their overviews are made in one pass over it."""

    looks: dict[int, list[Look]] = field(default_factory=dict)
    """Overviews of bands that are not in memory, by factor."""

    def overview(self, band: int, factor: int) -> Look:
        """Block means over usable pixels and the usable share of each block."""
        values: Any = self.values
        if not isinstance(values, FileBands) or values.is_held(band):
            return ArraySource.overview(self, band, factor)
        absent = [k for k in range(len(values)) if not values.is_held(k)]
        if factor not in self.looks:
            self.looks[factor] = self._overviews(values, absent, factor)
        return self.looks[factor][absent.index(band)]

    def without(self, region: NDArray[np.bool_]) -> Self:
        """The same where the pixels of a region, shape (y, x), are not usable."""
        return replace(self, usable=self.usable & ~region, looks={})

    def _overviews(self, values: FileBands, bands: list[int], factor: int) -> list[Look]:
        height, width = self.shape
        step = max(1, _OVERVIEW_ROWS // factor) * factor
        strips = []
        for top in range(0, height // factor * factor, step):
            rows, cols = slice(top, min(top + step, height)), slice(0, width)
            strip = ArraySource(
                values=values.read(bands, rows, cols), usable=self.usable[rows], nodata=self.nodata
            )
            strips.append([strip.overview(k, factor) for k in range(len(bands))])
        return [
            (np.concatenate([s[k][0] for s in strips]), np.concatenate([s[k][1] for s in strips]))
            for k in range(len(bands))
        ]
