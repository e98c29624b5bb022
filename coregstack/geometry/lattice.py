"""Lattices, boxes on them and footprints.

A *lattice* is the endless grid that a raster's CRS, pixel size, orientation and phase span. It is
carried by an `odc.geo.geobox.GeoBox`; the *frame* of an anchor counts its lattice in pixels from
the anchor's first pixel, so that pixel ``(0, 0)`` of the anchor has its centre at frame position
``(0, 0)``.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from pyproj.exceptions import ProjError

from coregstack.errors import InvalidStack, printable
from coregstack.model import NO_SHIFT, Shift

T = TypeVar("T", float, NDArray[np.float64])

LATTICE_DRIFT = 1e-3
"""Two rasters share pixel size if, across the larger one, they drift apart by less than this, px."""

WHOLE_PIXEL = 1e-6
"""An offset this near to a whole number of pixels is that whole number."""

_EDGE_POINTS = 21
_SAME_SIZE = 0.02
_LONGEST_CODE = 40
_LARGEST_SCALE = 1e9


def same_crs(a: GeoBox, b: GeoBox) -> bool:
    """Whether two boxes have the same coordinate reference system."""
    return a.crs is not None and b.crs is not None and a.crs == b.crs


def same_pixels(box: GeoBox, anchor: GeoBox) -> bool:
    """Whether `box` differs from the anchor's lattice by a translation only."""
    if not same_crs(box, anchor):
        return False
    back, own = ~anchor.affine, box.affine
    apart = (
        back.a * own.a + back.b * own.d - 1, back.a * own.b + back.b * own.e,
        back.d * own.a + back.e * own.d, back.d * own.b + back.e * own.e - 1,
    )  # fmt: skip
    reach = max(*box.shape, *anchor.shape, 1)
    return bool(max(map(abs, apart)) * reach < LATTICE_DRIFT)


def turn(box: GeoBox, anchor: GeoBox) -> float:
    """Whole turns, in degrees, that bring longitudes of a box next to the anchor's.

    For one that counts 0 to 360 beside one that counts -180 to 180. 0 unless both have one geographic CRS in degrees.

    Examples
    --------
    >>> from affine import Affine
    >>> from odc.geo.geobox import GeoBox
    >>> west, east = (GeoBox((4, 4), Affine(0.1, 0, x, 0, -0.1, 10), "EPSG:4326") for x in (-60, 300))
    >>> turn(east, west), turn(west, west)
    (-360.0, 0.0)
    """
    if not same_crs(box, anchor) or not crs_of(box).geographic:
        return 0.0
    own, other = (mapped(one.affine, one.shape[1] / 2, one.shape[0] / 2)[0] for one in (box, anchor))
    turns: int = round((other - own) / 360)
    if turns == 0 or not str(crs_of(box).units[1]).startswith("degree"):
        return 0.0
    return 360.0 * turns


def offset(box: GeoBox, anchor: GeoBox) -> Shift:
    """Frame position of the centre of the first pixel of `box`, which shares the anchor's pixel size.

    Examples
    --------
    >>> from affine import Affine
    >>> from odc.geo.geobox import GeoBox
    >>> anchor = GeoBox((4, 4), Affine(3, 0, 300, 0, -3, 900), "EPSG:32633")
    >>> offset(GeoBox((4, 4), Affine(3, 0, 304.5, 0, -3, 897), "EPSG:32633"), anchor)
    Shift(y=1.0, x=1.5)
    """
    col, row = mapped(~anchor.affine, box.affine.c + turn(box, anchor), box.affine.f)
    return Shift(_whole(row), _whole(col))


def frame_box(anchor: GeoBox, row: int, col: int, shape: tuple[int, int]) -> GeoBox:
    """Box of `shape` on the anchor's lattice whose first pixel is frame pixel ``(row, col)``."""
    return GeoBox(shape, anchor.affine * Affine.translation(col, row), anchor.crs)


def frame_bounds(box: GeoBox, anchor: GeoBox) -> tuple[float, float, float, float]:
    """Extent of `box` in the anchor's frame: top, bottom, left, right edges in pixels.

    The edges of frame pixel 0 are 0 and 1. Where the CRSs differ, edges are followed point by point.

    Raises
    ------
    InvalidStack
        If the box cannot be expressed in the anchor's CRS.
    """
    height, width = box.shape
    if same_crs(box, anchor):
        # arrays as short as this take longer to make than to work on
        places = (mapped(box.affine, col, row) for row in (0.0, height) for col in (0.0, width))
        by, back = turn(box, anchor), ~anchor.affine
        cols, rows = zip(*(mapped(back, x + by, y) for x, y in places), strict=True)
    else:
        cols, rows = _followed(box, anchor)
    if not all(map(math.isfinite, (*rows, *cols))):
        raise InvalidStack("A geotransform holds numbers too large or too small to compute with: check it.")
    return _whole(min(rows)), _whole(max(rows)), _whole(min(cols)), _whole(max(cols))


def _followed(box: GeoBox, anchor: GeoBox) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Columns and rows, in the anchor's frame, of points along the edges of a box of another CRS."""
    height, width = box.shape
    along = np.linspace(0, 1, _EDGE_POINTS)
    rows = np.concatenate([along * 0, along * height, along * 0 + height, along * height])
    cols = np.concatenate([along * width, along * 0, along * width, along * 0 + width])
    x, y = transformer(crs_of(box), crs_of(anchor)).transform(*mapped(box.affine, cols, rows))
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InvalidStack(
            f"A raster in {crs_name(box)} has no place in the anchor's CRS {crs_name(anchor)}: "
            "check that both CRSs are right and cover the same part of the world."
        )
    if crs_of(anchor).geographic:
        # longitudes jump at the antimeridian, pixels do not
        middle, _ = mapped(anchor.affine, anchor.shape[1] / 2, anchor.shape[0] / 2)
        x = x + 360 * np.round((middle - x) / 360)
    cols, rows = mapped(~anchor.affine, np.asarray(x), np.asarray(y))
    return tuple(cols.tolist()), tuple(rows.tolist())


def footprint(box: GeoBox, anchor: GeoBox, shift: Shift = NO_SHIFT) -> GeoBox:
    """The smallest box on the anchor's lattice that holds `box`, moved by `shift` (anchor pixels).

    Examples
    --------
    >>> from affine import Affine
    >>> from odc.geo.geobox import GeoBox
    >>> anchor = GeoBox((4, 4), Affine(3, 0, 300, 0, -3, 900), "EPSG:32633")
    >>> footprint(anchor, anchor, Shift(0.25, -1.0)).shape
    Shape2d(x=4, y=5)
    """
    top, bottom, left, right = frame_bounds(box, anchor)
    row, col = math.floor(_whole(top + shift.y)), math.floor(_whole(left + shift.x))
    end_row, end_col = math.ceil(_whole(bottom + shift.y)), math.ceil(_whole(right + shift.x))
    return frame_box(anchor, row, col, (max(end_row - row, 1), max(end_col - col, 1)))


def union(boxes: list[GeoBox], anchor: GeoBox) -> GeoBox:
    """The smallest box on the anchor's lattice that holds all `boxes`."""
    bounds = np.array([frame_bounds(footprint(box, anchor), anchor) for box in boxes])
    row, col = int(bounds[:, 0].min()), int(bounds[:, 2].min())
    shape = int(bounds[:, 1].max()) - row, int(bounds[:, 3].max()) - col
    return frame_box(anchor, row, col, shape)


def overlaps(box: GeoBox, anchor: GeoBox) -> bool:
    """Whether a box shares at least one whole pixel with the anchor's extent."""
    return meets(frame_bounds(box, anchor), anchor)


def meets(bounds: tuple[float, float, float, float], anchor: GeoBox) -> bool:
    """`overlaps` of a box whose `frame_bounds` are known."""
    top, bottom, left, right = bounds
    height, width = anchor.shape
    return min(bottom, height) - max(top, 0) >= 1 and min(right, width) - max(left, 0) >= 1


def same_place(a: GeoBox, b: GeoBox) -> bool:
    """Whether two boxes have one shape, and corners that lie on each other to a millionth of a pixel."""
    if a.shape != b.shape:
        return False
    corners = (0.0, 0.0), (float(a.shape[1]), float(a.shape[0]))
    found = [mapped(~a.affine, *mapped(b.affine, *corner)) for corner in corners]
    return all(
        abs(x - corner_x) < WHOLE_PIXEL and abs(y - corner_y) < WHOLE_PIXEL
        for (x, y), (corner_x, corner_y) in zip(found, corners, strict=True)
    )


def lattice_like(box: GeoBox, anchor: GeoBox) -> GeoBox:
    """A box with the anchor's origin and CRS and the pixel size of `box`.

    The pixel size is the anchor's own where the two are the same; where the CRSs have different
    units, the size of `box` is measured in the anchor's units at the middle of `box`.
    """
    if same_pixels(box, anchor):
        return anchor
    scale_y, scale_x = pixel_scale(box, anchor)
    shape = max(1, round(anchor.shape[0] / scale_y)), max(1, round(anchor.shape[1] / scale_x))
    return GeoBox(shape, anchor.affine * Affine.scale(scale_x, scale_y), anchor.crs)


def pixel_scale(box: GeoBox, anchor: GeoBox) -> tuple[float, float]:
    """Height and width of a pixel of `box` in pixels of the anchor.

    Raises
    ------
    InvalidStack
        If the two have nothing in common: one is more than a billion times as large as the other.
    """
    rows, cols = _pixel_size(box, anchor)
    scale_y, scale_x = rows / abs(anchor.affine.e), cols / abs(anchor.affine.a)
    if not (min(scale_y, scale_x) > 1 / _LARGEST_SCALE and max(scale_y, scale_x) < _LARGEST_SCALE):
        raise InvalidStack(
            f"A pixel is {scale_y:.3g} x {scale_x:.3g} times as large as the anchor's: check both geotransforms."
        )
    if not same_crs(box, anchor):
        # the same nominal pixel size comes out a little different in another projection
        scale_y = 1.0 if abs(scale_y - 1) < _SAME_SIZE else scale_y
        scale_x = 1.0 if abs(scale_x - 1) < _SAME_SIZE else scale_x
    return scale_y, scale_x


def scaled_shift(shift: Shift, anchor: GeoBox, lattice: GeoBox) -> Shift:
    """A shift in pixels of the anchor, expressed in pixels of `lattice` (same CRS and origin)."""
    return Shift(shift.y * anchor.affine.e / lattice.affine.e, shift.x * anchor.affine.a / lattice.affine.a)


def moved(box: GeoBox, anchor: GeoBox, shift: Shift) -> GeoBox:
    """`box` with only its geotransform changed, so that its content moves by `shift` anchor pixels."""
    x0, y0 = mapped(anchor.affine, 0.0, 0.0)
    x1, y1 = mapped(anchor.affine, shift.x, shift.y)
    if same_crs(box, anchor):
        return GeoBox(box.shape, Affine.translation(x1 - x0, y1 - y0) * box.affine, box.crs)
    middle = mapped(box.affine, box.shape[1] / 2, box.shape[0] / 2)
    x, y = transformer(crs_of(box), crs_of(anchor)).transform(*middle)
    to_x, to_y = transformer(crs_of(anchor), crs_of(box)).transform(x + x1 - x0, y + y1 - y0)
    return GeoBox(box.shape, Affine.translation(to_x - middle[0], to_y - middle[1]) * box.affine, box.crs)


def crs_of(box: GeoBox) -> CRS:
    """The CRS of a box that has one.

    Raises
    ------
    InvalidStack
        If it has none.
    """
    if box.crs is None:
        raise InvalidStack(
            "A CRS was expected, but there is none, or neither x and y nor a geotransform tell where in it pixels lie. "
            "Write what is missing first, for example with rio.write_crs and rio.write_transform."
        )
    return box.crs


def crs_name(box: GeoBox) -> str:
    """Short name of a box's CRS for messages, such as ``EPSG:32633``."""
    if box.crs is None:
        return "no CRS"
    text = str(box.crs)
    return printable(text if len(text) <= _LONGEST_CODE else box.crs.proj.name)


def epsg_code(box: GeoBox) -> int | None:
    """EPSG code of a box's CRS, or None where it has none."""
    return None if box.crs is None else box.crs.to_epsg()


def transformer(source: CRS, target: CRS) -> Transformer:
    """Coordinate transformation in (x, y) order.

    Raises
    ------
    InvalidStack
        If there is none between the two.
    """
    try:
        return Transformer.from_crs(source.proj, target.proj, always_xy=True)
    except ProjError as error:
        raise InvalidStack(f"There is no transformation from {source} to {target} ({error}).") from error


def _pixel_size(box: GeoBox, anchor: GeoBox) -> tuple[float, float]:
    """Pixel height and width of `box` in the anchor's units."""
    if same_crs(box, anchor) or crs_of(box).units == crs_of(anchor).units:
        rows, cols = math.hypot(box.affine.b, box.affine.e), math.hypot(box.affine.a, box.affine.d)
        return rows, cols
    row, col = box.shape[0] / 2, box.shape[1] / 2
    x, y = mapped(box.affine, np.array([col, col + 1, col]), np.array([row, row, row + 1]))
    x, y = transformer(crs_of(box), crs_of(anchor)).transform(x, y)
    return math.hypot(x[2] - x[0], y[2] - y[0]), math.hypot(x[1] - x[0], y[1] - y[0])


def mapped(affine: Affine, cols: T, rows: T) -> tuple[T, T]:
    """Where columns and rows lie, numbers or arrays of them.

    A product with an affine map of the library takes many times as long, the more so as its newest one warns.
    """
    return affine.a * cols + affine.b * rows + affine.c, affine.d * cols + affine.e * rows + affine.f


def _whole(value: float) -> float:
    nearest = round(value)
    return float(nearest) if abs(value - nearest) < WHOLE_PIXEL else float(value)
