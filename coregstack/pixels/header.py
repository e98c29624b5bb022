"""What the header of a raster file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from coregstack.untrusted.addresses import stem_of

FLAGS = ("flag_values", "flag_masks", "flag_meanings", "flags_definition")
"""Attributes of CF by which a band says that it holds classes or bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterHeader:
    """What the header of one raster file says."""

    path: str
    """Absolute path, or an `Address`."""
    driver: str
    """GDAL driver that reads it, one of `pixels.raster.DRIVERS`."""
    box: GeoBox
    """Shape, geotransform and CRS."""
    count: int
    """Number of bands, an alpha band included."""
    dtype: str
    """Name of the numpy dtype of all bands."""
    nodata: float | None
    """Value of pixels that hold no data, if the file names one."""
    names: tuple[str | None, ...]
    """Band descriptions."""
    scaling: tuple[tuple[float, float], ...]
    """Scale and offset of each band: a stored number times the one plus the other is what was measured."""
    coloured: tuple[int, ...]
    """Bands, from 0, whose values are looked up in a table of colours."""
    flagged: tuple[int, ...]
    """Bands, from 0, whose tags say that they hold classes or bits, as CF does."""
    alpha: int | None
    """Index of the alpha band, from 0, if there is one."""
    internal_mask: bool
    """Whether the file holds a mask for all its bands."""
    tags: tuple[tuple[str, str], ...]
    """Tags of the file, sorted."""
    size: int
    """Bytes of the file."""
    modified: int
    """Time of the last change of the file, nanoseconds since 1970; of an address a number that stands for it."""
    parts: tuple[RasterHeader, ...] = ()
    """The files, where the bands lie in several on one lattice; empty for one file, which `path` names."""

    @property
    def files(self) -> tuple[RasterHeader, ...]:
        """The header of each file, in the order of the bands."""
        return self.parts or (self,)

    @property
    def stem(self) -> str:
        """File name without extension."""
        return stem_of(self.path)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the file's content: path, size and time of change."""
        parts = tuple(part.__dask_tokenize__() for part in self.parts)
        return ("coregstack-raster", str(self.path), self.size, self.modified, *parts)


def joined(headers: Sequence[RasterHeader]) -> RasterHeader:
    """The header of several files on one lattice, of one dtype and nodata value, as bands of one raster."""
    first = headers[0]
    if len(headers) == 1:
        return first
    starts = np.cumsum([0, *(header.count for header in headers)])
    return replace(
        first,
        count=int(starts[-1]),
        names=tuple(name for header in headers for name in header.names),
        scaling=tuple(pair for header in headers for pair in header.scaling),
        coloured=tuple(int(s) + k for s, h in zip(starts, headers, strict=False) for k in h.coloured),
        flagged=tuple(int(s) + k for s, h in zip(starts, headers, strict=False) for k in h.flagged),
        size=sum(header.size for header in headers),
        modified=max(header.modified for header in headers),
        parts=tuple(headers),
    )


def holds_flags(attributes: Mapping[Any, Any]) -> bool:
    """Whether attributes or tags of a band say that it holds classes or bits."""
    return any(name in attributes for name in FLAGS)
