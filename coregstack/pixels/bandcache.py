"""A raster with some bands in memory, so that matching and writing a scene decode it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader

from coregstack.errors import UnreadableFile
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.inputs import state_of
from coregstack.pixels.raster import read_window, reading

CACHE_BYTES = 256 * 2**20
"""Pixels of one scene that are in memory at once; always at least one band."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandCache:
    """A raster of which some bands are in memory, so that they are not decoded again."""

    header: RasterHeader
    dataset: DatasetReader | None
    """The open file; None where it is opened again for what is not in memory."""
    values: NDArray[Any]
    """Shape (band, y, x): part of the raster."""
    bands: tuple[int, ...]
    """Which bands these are, counted from 0, ascending."""
    corner: tuple[int, int]
    """Row and column of the raster where `values` begins."""

    def closed(self) -> BandCache:
        """The same without an open file, which other threads and processes may use."""
        return replace(self, dataset=None)

    def of_file(self, path: str) -> BandCache | None:
        """What is in memory of one of the raster's files; None if it is not among them."""
        if not self.header.parts:
            return self if self.header.path == path else None
        start = 0
        for part in self.header.parts:
            own = range(start, start + part.count)
            start = own.stop
            if part.path == path:
                held = [k for k, band in enumerate(self.bands) if band in own]
                bands = tuple(self.bands[k] - own.start for k in held)
                return replace(self, header=part, dataset=None, values=self.values[held], bands=bands)
        return None

    def holds(self, bands: list[int]) -> bool:
        """Whether the whole of some bands is in memory."""
        height, width = self.header.box.shape
        return self._part(bands, 0, 0, (height, width)) is not None

    def plane(self, band: int, window: tuple[int, int, int, int]) -> NDArray[Any] | None:
        """One band of a window (row, column, height, width) that is in memory, else None; not to be written to."""
        row, col, height, width = window
        top, left = row - self.corner[0], col - self.corner[1]
        bottom, right = top + height, left + width
        inside = top >= 0 and left >= 0 and bottom <= self.values.shape[1] and right <= self.values.shape[2]
        if not inside or band not in self.bands:
            return None
        return self.values[self.bands.index(band), top:bottom, left:right]

    def read(self, bands: list[int], row: int, col: int, shape: tuple[int, int]) -> NDArray[Any]:
        """Pixels of a window, shape (band, y, x), from memory or from the file; not to be written to."""
        part = self._part(bands, row, col, shape)
        if part is not None:
            return part
        with file_of(self.header, self) as file:
            return read_window(file, bands, row, col, shape)

    def _part(self, bands: list[int], row: int, col: int, shape: tuple[int, int]) -> NDArray[Any] | None:
        top, left = row - self.corner[0], col - self.corner[1]
        bottom, right = top + shape[0], left + shape[1]
        if min(top, left) < 0 or bottom > self.values.shape[1] or right > self.values.shape[2]:
            return None
        if not set(bands) <= set(self.bands):
            return None
        places = [self.bands.index(band) for band in bands]
        window = self.values[:, top:bottom, left:right]
        if places == list(range(places[0], places[0] + len(places))):
            return window[places[0] : places[0] + len(places)]
        return window[places]


def cache_bands(
    dataset: DatasetReader, header: RasterHeader, bands: Sequence[int], window: tuple[int, int, int, int]
) -> BandCache:
    """Read bands of a window (row, column, height, width) into memory, if all fit, else only the first.

    Parameters
    ----------
    dataset : DatasetReader
        The open file.
    header : RasterHeader
        What its header said when it was looked at first.
    bands : sequence of int
        Counted from 0, the most important first.
    window : tuple of int
        Inside the raster.

    Raises
    ------
    UnreadableFile
        If the file was changed since its header was read, or is damaged.
    """
    for file in header.files:
        if state_of(file.path) != (file.size, file.modified):
            raise UnreadableFile(f"{file.path!r} was changed while the run went on; run again to do it anew.")
    row, col, *shape = window
    fit = shape[0] * shape[1] * np.dtype(header.dtype).itemsize * len(bands) <= CACHE_BYTES
    kept = sorted(bands) if fit else [bands[0]]
    values = read_window(dataset, kept, row, col, (shape[0], shape[1]))
    return BandCache(header=header, dataset=dataset, values=values, bands=tuple(kept), corner=(row, col))


@contextmanager
def file_of(header: RasterHeader, cache: BandCache | None, *, alone: bool = False) -> Iterator[DatasetReader]:
    """The open file of a raster: the one that is open already, else opened for as long as it takes.

    `alone` is as for `coregstack.pixels.raster.gdal`.
    """
    if cache is not None and cache.dataset is not None:
        yield cache.dataset
        return
    with reading(header, alone=alone) as dataset:
        yield dataset
