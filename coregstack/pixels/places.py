"""Positions in a raster of pixels of a lattice, with any CRS, pixel size and displacement between the two."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.geometry.lattice import (
    crs_of,
    frame_bounds,
    frame_box,
    offset,
    pixel_scale,
    same_crs,
    same_pixels,
    scaled_shift,
    transformer,
    turn,
)
from coregstack.geometry.lattice import footprint as shifted_footprint
from coregstack.kernels.displaced import SAME_SCALE, displaced_bounds, displaced_positions
from coregstack.kernels.displacement import Area, Bounds, Spline, constant, moved_extent, rescaled
from coregstack.model import Displacement, Move, Shift

TOLERANCE = 0.002
"""How far, in pixels of the raster, an approximated position may lie from the exact one."""

_CELLS = (128, 64, 32, 16, 8, 4, 2, 1)
"""Distances, px, between places whose transformation is computed, the largest that keeps to the tolerance is used."""
_LOOKS = 9
"""Cells along each axis in which the approximation is compared with the exact position."""


class Places(Protocol):
    """Positions in a raster of all pixels of a lattice."""

    @property
    def scale(self) -> Shift:
        """Pixels of the raster along one pixel of the lattice, by the raster's rows and columns."""

    def positions(self, area: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rows and columns of the raster, each of the shape of a part of the lattice's frame."""

    def bounds(self, area: Area) -> Bounds:
        """Between what they lie."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplacedPlaces:
    """Positions in a raster that shares the lattice's pixels."""

    displacement: Spline
    origin: Shift
    """Frame position of the centre of the raster's first pixel."""
    scale: Shift = SAME_SCALE

    def positions(self, area: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `Places.positions`; exact."""
        return displaced_positions(self.displacement, area, self.origin)

    def bounds(self, area: Area) -> Bounds:
        """As `Places.bounds`."""
        return displaced_bounds(self.displacement, area, self.origin)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformedPlaces:
    """Positions in a raster of another CRS, pixel size or orientation.

    The coordinate transformation is computed at the nodes of a lattice of cells and linear between them; what is
    displaced is looked up where it was before.
    """

    displacement: Spline
    raster: GeoBox
    lattice: GeoBox
    cell: int
    """Distance between nodes, px of the lattice."""
    scale: Shift

    def positions(self, area: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `Places.positions`, within `TOLERANCE`."""
        y, x = displaced_positions(self.displacement, area, Shift(0.0, 0.0))
        first, (rows, cols) = self._nodes(self.displacement, area)
        down, along = y / self.cell - first[0], x / self.cell - first[1]
        i = np.clip(np.floor(down).astype(np.int64), 0, rows.shape[0] - 2)
        j = np.clip(np.floor(along).astype(np.int64), 0, rows.shape[1] - 2)
        down -= i
        along -= j
        return _bilinear(rows, i, j, down, along), _bilinear(cols, i, j, down, along)

    def bounds(self, area: Area) -> Bounds:
        """As `Places.bounds`; places that have none in the raster's CRS do not count."""
        _, nodes = self._nodes(self.displacement, area)
        finite = np.isfinite(nodes[0]) & np.isfinite(nodes[1])
        if not finite.any():
            return Bounds(Shift(np.nan, np.nan), Shift(np.nan, np.nan))
        low, high = ([float(pick(axis[finite])) for axis in nodes] for pick in (np.min, np.max))
        return Bounds(Shift(*low), Shift(*high))

    def _nodes(
        self, displacement: Spline, area: Area
    ) -> tuple[tuple[int, int], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """First cell around the displaced pixels of an area, and where its nodes and those after it lie."""
        least, greatest = displaced_bounds(displacement, area, Shift(0.0, 0.0))
        first = int(np.floor(least.y / self.cell)), int(np.floor(least.x / self.cell))
        last = int(np.floor(greatest.y / self.cell)) + 1, int(np.floor(greatest.x / self.cell)) + 1
        y, x = (
            np.arange(low, high + 1, dtype=float) * self.cell for low, high in zip(first, last, strict=True)
        )
        return first, transformed(self.raster, self.lattice, *np.meshgrid(y, x, indexing="ij"))


def places(raster: GeoBox, lattice: GeoBox, displacement: Displacement) -> Places:
    """Positions in a raster of what a displacement, in pixels of a lattice, brings to its pixels.

    Raises
    ------
    InvalidStack
        If the raster has no place in the lattice's CRS.
    """
    spline = Spline.of(displacement)
    if same_pixels(raster, lattice):
        return DisplacedPlaces(displacement=spline, origin=offset(raster, lattice))
    cell, scale = _cell(raster, lattice)
    return TransformedPlaces(displacement=spline, raster=raster, lattice=lattice, cell=cell, scale=scale)


def transformed(
    raster: GeoBox, lattice: GeoBox, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rows and columns of a raster, pixel centres at whole numbers, of frame positions of a lattice.

    Infinite where a place has none in the raster's CRS.
    """
    east, north = _at(lattice.affine, x + 0.5, y + 0.5)
    if not same_crs(raster, lattice):
        east, north = transformer(crs_of(lattice), crs_of(raster)).transform(east, north)
        if crs_of(raster).geographic:
            # longitudes jump at the antimeridian, pixels do not
            middle, _ = raster.affine * (raster.shape[1] / 2, raster.shape[0] / 2)
            with np.errstate(invalid="ignore"):
                east = east + 360 * np.round((middle - east) / 360)
    else:
        east = east + turn(lattice, raster)
    cols, rows = _at(~raster.affine, np.asarray(east), np.asarray(north))
    return rows - 0.5, cols - 0.5


def scaled_move(move: Move, anchor: GeoBox, lattice: GeoBox) -> Move:
    """A move in pixels of the anchor, expressed in those of a lattice of the same CRS and orientation."""
    if isinstance(move, Shift):
        return scaled_shift(move, anchor, lattice)
    relative = ~anchor.affine * lattice.affine
    col, row = relative * (0.5, 0.5)
    return rescaled(move, Shift(relative.e, relative.a), Shift(row - 0.5, col - 0.5))


def footprint(box: GeoBox, lattice: GeoBox, move: Move) -> GeoBox:
    """The smallest box on a lattice that surely holds all of `box`, moved; with a shift it is the smallest of all."""
    if isinstance(move, Shift):
        return shifted_footprint(box, lattice, move)
    # edges of pixels are counted from the first edge, positions from the first centre
    edges = [edge - 0.5 for edge in frame_bounds(box, lattice)]
    top, bottom, left, right = (edge + 0.5 for edge in moved_extent(move, *edges))
    row, col, end_row, end_col = np.floor(top), np.floor(left), np.ceil(bottom), np.ceil(right)
    return frame_box(lattice, int(row), int(col), (int(end_row - row), int(end_col - col)))


def displacement_of(move: Move) -> Displacement:
    """A move as a displacement."""
    return constant(move) if isinstance(move, Shift) else move


def _at(
    affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(invalid="ignore"):
        return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _bilinear(
    nodes: NDArray[np.float64],
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    down: NDArray[np.float64],
    along: NDArray[np.float64],
) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        top = nodes[i, j] + along * (nodes[i, j + 1] - nodes[i, j])
        bottom = nodes[i + 1, j] + along * (nodes[i + 1, j + 1] - nodes[i + 1, j])
        return np.asarray(top + down * (bottom - top))


@lru_cache(maxsize=64)
def _cell(raster: GeoBox, lattice: GeoBox) -> tuple[int, Shift]:
    """Largest cell that keeps to the tolerance all over a raster, and the raster's pixels along a lattice's."""
    box = shifted_footprint(raster, lattice)
    top, bottom, left, right = frame_bounds(box, lattice)
    for cell in _CELLS[:-1]:
        starts = (
            np.linspace(low, max(low, high - cell), _LOOKS) for low, high in ((top, bottom), (left, right))
        )
        y, x = np.meshgrid(*starts, indexing="ij")
        corners = [transformed(raster, lattice, y + dy, x + dx) for dy in (0, cell) for dx in (0, cell)]
        middle = transformed(raster, lattice, y + cell / 2, x + cell / 2)
        with np.errstate(invalid="ignore"):
            gaps = [np.abs(sum(near) / 4 - exact) for *near, exact in zip(*corners, middle, strict=True)]
        # the error of linear interpolation is largest in the middle between nodes
        if np.nanmax(np.where(np.isfinite(gaps), gaps, 0)) <= TOLERANCE:
            break
    else:
        cell = 1
    height, width = pixel_scale(raster, lattice)
    return cell, Shift(1 / height, 1 / width)
