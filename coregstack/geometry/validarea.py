"""Where a raster holds valid pixels, as a few corners: scenes are often turned in a box of nodata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry, multipolygon
from scipy import ndimage

from coregstack.geometry.lattice import crs_of, mapped, transformer
from coregstack.model import NO_SHIFT, Shift, ValidArea

SIDE = 512
"""A mask is looked at in at most so many places along each axis."""

MAX_CORNERS = 40
"""A valid area has at most so many corners."""

_MAX_PARTS = 8
_SMALL = 0.01
_FINEST = 2.0  # what joins the steps of a slanting edge
_COARSEST = 16.0


def looks(shape: tuple[int, int]) -> tuple[int, int]:
    """How many pixels of a raster are looked at down its rows and along its columns.

    Examples
    --------
    >>> looks((300, 5000))
    (300, 500)
    """
    (height, width), (down, along) = shape, _steps(shape)
    return -(-(height - down // 2) // down), -(-(width - along // 2) // along)


def looked_at(plane: NDArray[Any]) -> NDArray[Any]:
    """The pixels of a plane, shape (y, x), from which its valid area is found: a view of at most `SIDE` by
    `SIDE`.

    Examples
    --------
    >>> looked_at(np.zeros((300, 4096))).shape
    (300, 512)
    """
    down, along = _steps(plane.shape)
    return plane[down // 2 :: down, along // 2 :: along]


def valid_area(valid: NDArray[np.bool_], box: GeoBox) -> ValidArea | None:
    """Outline where a raster is valid.

    Holes, such as clouds that are nodata, count as valid; parts that are less than a hundredth of the largest are
    left out, and so are all but the eight largest. One pixel is looked at in each block of `step` pixels along
    either axis, where `step` is the raster's height or width over `SIDE`, rounded up: edges lie within two steps
    of the true ones (two pixels, for rasters of up to `SIDE`), but for tips that are narrower than that; within
    three, where the pixels were picked from an overview of the file. An outline
    that would have more than `MAX_CORNERS` corners is drawn coarser, as its convex hull in the end.

    Parameters
    ----------
    valid : ndarray of bool
        Where the raster is valid, as `looked_at` picks it from the whole of the raster.
    box : GeoBox
        The raster's shape, geotransform and CRS.

    Returns
    -------
    ValidArea or None
        In the raster's CRS; None where no pixel is valid.

    Raises
    ------
    InvalidStack
        If the box has no CRS.

    Examples
    --------
    >>> from affine import Affine
    >>> valid = np.zeros((60, 80), bool)
    >>> valid[10:30, 20:] = True
    >>> area = valid_area(looked_at(valid), GeoBox(valid.shape, Affine(3, 0, 300, 0, -3, 900), "EPSG:32633"))
    >>> sorted(area.parts[0])
    [(360.0, 810.0), (360.0, 870.0), (540.0, 810.0), (540.0, 870.0)]
    """
    crs = str(crs_of(box))
    parts = tuple(_corners(ring, valid.shape, box) for ring in _rings(valid))
    return ValidArea(parts=parts, crs=crs) if parts else None


def outline(box: GeoBox) -> ValidArea:
    """The whole of a raster, valid or not.

    Raises
    ------
    InvalidStack
        If the box has no CRS.
    """
    height, width = box.shape
    corners = (0.0, 0.0), (0.0, height), (width, height), (width, 0.0)
    ring = tuple(mapped(box.affine, *corner) for corner in corners)
    return ValidArea(parts=(ring,), crs=str(crs_of(box)))


def placed_area(
    area: ValidArea, target: GeoBox, anchor: GeoBox | None = None, shift: Shift = NO_SHIFT
) -> ValidArea | None:
    """A valid area moved by a shift and expressed in the CRS of a raster, corner by corner.

    Parameters
    ----------
    area : ValidArea
        What is moved.
    target : GeoBox
        Its CRS is that of the result.
    anchor : GeoBox, optional
        The lattice whose pixels the shift is counted in.
    shift : Shift
        What is applied.

    Returns
    -------
    ValidArea or None
        None where a corner has no place in the CRS.

    Raises
    ------
    InvalidStack
        If there is no transformation between the two.
    """
    if anchor is None or shift == NO_SHIFT:
        return in_crs(area, crs_of(target))
    found = in_crs(area, crs_of(anchor))
    if found is None:
        return None
    (x0, y0), (x1, y1) = mapped(anchor.affine, 0.0, 0.0), mapped(anchor.affine, shift.x, shift.y)
    parts = tuple(tuple((x + x1 - x0, y + y1 - y0) for x, y in part) for part in found.parts)
    return in_crs(ValidArea(parts=parts, crs=found.crs), crs_of(target))


def in_crs(area: ValidArea, crs: CRS) -> ValidArea | None:
    """A valid area in another CRS, corner by corner; None where a corner has no place there.

    Raises
    ------
    InvalidStack
        If there is no transformation between the two.
    """
    own = CRS(area.crs)
    if own == crs:
        return area
    parts = []
    for part in area.parts:
        x, y = transformer(own, crs).transform(*np.transpose(part))
        if not np.isfinite([x, y]).all():
            return None
        parts.append(tuple(zip(x.tolist(), y.tolist(), strict=True)))
    return ValidArea(parts=tuple(parts), crs=str(crs))


def _steps(shape: Iterable[int]) -> tuple[int, int]:
    """Every so many rows and columns are looked at."""
    down, along = (max(1, -(-size // SIDE)) for size in shape)
    return down, along


def _corners(
    ring: NDArray[np.float64], looks: tuple[int, ...], box: GeoBox
) -> tuple[tuple[float, float], ...]:
    """Corners of a ring, (column, row) in blocks, in the CRS; the last block ends where the raster ends."""
    (down, along), (height, width) = _steps(box.shape), box.shape
    cols = np.where(ring[:, 0] >= looks[1], width, ring[:, 0] * along)
    rows = np.where(ring[:, 1] >= looks[0], height, ring[:, 1] * down)
    return tuple(mapped(box.affine, float(col), float(row)) for col, row in zip(cols, rows, strict=True))


def _rings(valid: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """The outer rings of the parts of a mask, (column, row), with few corners."""
    if valid.all():
        height, width = valid.shape
        return [np.array([(0, 0), (0, height), (width, height), (width, 0)], np.float64)]
    parts = _parts(valid)
    if not parts.any():
        return []
    whole = multipolygon([[_from_a_corner(ring)] for ring in _edges(parts)], crs=None)
    tolerance = _FINEST
    few = whole.simplify(tolerance)
    while _count(few) > MAX_CORNERS and tolerance < _COARSEST:
        tolerance *= 2
        few = whole.simplify(tolerance)
    if _count(few) > MAX_CORNERS or not few.is_valid:
        few = whole.convex_hull.simplify(_FINEST)
    return [np.array(part.exterior.coords[:-1], np.float64) for part in _polygons(few)]


def _edges(mask: NDArray[np.bool_]) -> list[list[tuple[float, float]]]:
    """The outer rings of the parts of a mask along the edges of its pixels, closed, (column, row)."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    whole = shapely.union_all(shapely.box(starts, rows, ends, rows + 1))
    return [list(part.exterior.coords) for part in shapely.get_parts(whole)]


def _parts(valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The parts of a mask that count, without holes."""
    outside, _ = ndimage.label(~np.pad(valid, 1), np.ones((3, 3)))
    labels, count = ndimage.label((outside != outside[0, 0])[1:-1, 1:-1])
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    largest = np.argsort(sizes, kind="stable")[::-1][:_MAX_PARTS]
    kept = np.zeros(count + 1, bool)
    kept[largest] = sizes[largest] >= max(1, _SMALL * sizes.max())
    return np.asarray(kept[labels])


def _from_a_corner(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A closed ring that begins where it reaches farthest out: its first point is kept, whatever it is."""
    points = np.array(ring[:-1])
    first = int(np.argmax(((points - points.mean(axis=0)) ** 2).sum(axis=1)))
    turned = [*ring[first:-1], *ring[:first]]
    return [*turned, turned[0]]


def _polygons(shape: Geometry) -> list[Geometry]:
    return list(shape.geoms) if shape.is_multi else [shape]


def _count(shape: Geometry) -> int:
    return sum(len(part.exterior.coords) - 1 for part in _polygons(shape))
