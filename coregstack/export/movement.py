"""Where a raster of an item is put, and what its pixels become there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest
from coregstack.export.plan import Content
from coregstack.geometry.lattice import lattice_like
from coregstack.model import Displacement, Move
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.places import footprint, scaled_move


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """Where a raster is put and how.

    Raises
    ------
    InvalidRequest
        If a displacement that varies over the scene is to be applied by changing the geotransform only.
    """

    anchor: GeoBox
    """The anchor's box, whose lattice is taken."""
    move: Move
    """What is applied to the content, px of the anchor."""
    resampling: str
    """A kernel of `coregstack.pixels.warp.RESAMPLING`, or "none": only the geotransform is changed."""
    cog: bool = False
    """Whether the output is written as cloud-optimised GeoTIFF with overviews."""
    like_anchor: bool = False
    """Whether the output takes the anchor's pixel size in place of its own."""
    nearest: tuple[str | int, ...] = ()
    """Names or positions of bands of images that hold classes, beside those that tell so."""

    def __post_init__(self) -> None:
        if self.resampling == "none" and isinstance(self.move, Displacement):
            raise InvalidRequest(
                "resampling='none' leaves pixels as they are and changes the geotransform, which can only express one "
                "shift for the whole image, not a displacement that varies over it. Use another resampling, such as "
                "'cubic' or 'nearest', or model='shift'."
            )


def output_box(header: RasterHeader, movement: Movement) -> tuple[GeoBox, GeoBox, Move]:
    """The lattice of an asset, the box on it that its moved footprint fills, and the move in its pixels."""
    lattice = movement.anchor if movement.like_anchor else lattice_like(header.box, movement.anchor)
    move = scaled_move(movement.move, movement.anchor, lattice)
    return lattice, footprint(header.box, lattice, move), move


def fill_values(header: RasterHeader, content: Content) -> list[float]:
    """For each band, what pixels become that the source does not cover."""
    if content is Content.UDM:
        return [1.0] * header.count
    if content is Content.UDM2:
        return [0.0] * (header.count - 1) + [1.0] if header.count == 8 else [0.0] * header.count
    empty = header.nodata
    if empty is None:
        marked = header.alpha is not None or header.internal_mask
        # NaN is no data in floats, also where nothing says so
        empty = 0.0 if marked or np.dtype(header.dtype).kind != "f" else np.nan
    return [0.0 if k == header.alpha else empty for k in range(header.count)]
