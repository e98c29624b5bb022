"""Outlines on the globe: cut at the antimeridian, their bounds, and which of them lie together.

In longitude and latitude a raster that crosses the antimeridian falls apart, as RFC 7946 lays down in sections
3.1.9 and 5.2: into one part on either side, in a bounding box whose western edge is greater than its eastern.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import antimeridian
import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Geod
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from coregstack.errors import InvalidStack
from coregstack.geometry.lattice import transformer
from coregstack.geometry.validarea import in_crs, outline
from coregstack.model import Shift, ValidArea

DEGREES = CRS("EPSG:4326")
"""Longitude and latitude, as GeoJSON counts them."""

_GLOBE = Geod(ellps="WGS84")

DIGITS = 7  # a centimetre on the ground
"""Decimals of longitude and latitude."""

_PIECES = 4  # of an edge, of which none may be as long as half the globe

Ring = tuple[tuple[float, float], ...]
"""Corners in order; the last is joined with the first."""


def on_globe(area: ValidArea) -> ValidArea | None:
    """A valid area in longitude and latitude, corner by corner, cut where it crosses the antimeridian.

    Parameters
    ----------
    area : ValidArea
        In any CRS. What crosses the antimeridian, or holds a pole, is given more corners than it has.

    Returns
    -------
    ValidArea or None
        Longitudes from -180 to 180; None where a corner has no place on the globe.

    Raises
    ------
    InvalidStack
        If there is no transformation from the CRS.

    Examples
    --------
    >>> area = ValidArea(parts=(((179.0, 1.0), (181.0, 1.0), (181.0, 2.0), (179.0, 2.0)),), crs="EPSG:4326")
    >>> [min(part)[0] for part in on_globe(area).parts], [max(part)[0] for part in on_globe(area).parts]
    ([179.0, -180.0], [180.0, -179.0])
    """
    turned = replace(area, parts=tuple(map(_counterclockwise, area.parts)))
    found = in_crs(_finer(turned), DEGREES)
    if found is None:
        return None
    parts: list[Ring] = []
    for ring in map(_rounded, found.parts):
        parts += _cut(ring) if _crosses(ring) else [ring[::_PIECES]]
    return ValidArea(parts=tuple(parts), crs=str(DEGREES))


def ground_size(box: GeoBox) -> Shift | None:
    """Height and width of a pixel on the ground, in the middle of a box.

    Parameters
    ----------
    box : GeoBox
        In any CRS.

    Returns
    -------
    Shift or None
        Metres; None where the box has no CRS, or no place on the globe.

    Examples
    --------
    >>> from affine import Affine
    >>> box = GeoBox((10, 10), Affine(0.001, 0, 15, 0, -0.001, 60), "EPSG:4326")
    >>> y, x = ground_size(box)
    >>> round(y, 1), round(x, 1)
    (111.4, 55.8)
    """
    if box.crs is None:
        return None
    row, col = box.shape[0] / 2, box.shape[1] / 2
    corners = [box.affine * (col + across, row + down) for down, across in ((0, 0), (0, 1), (1, 0))]
    lon, lat = transformer(box.crs, DEGREES).transform(*np.transpose(corners))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return None
    _, _, (width, height) = _GLOBE.inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    return Shift(float(height), float(width))


def unbroken(area: ValidArea, crs: CRS, near: float) -> ValidArea | None:
    """A valid area in another CRS, corner by corner, in one piece also where that CRS is cut by a meridian.

    Parameters
    ----------
    area : ValidArea
        In any CRS.
    crs : CRS
        Of the result. In degrees, longitudes go on beyond 180 where the area does.
    near : float
        In degrees: the longitude that the result lies near to, of all that differ by whole turns.

    Returns
    -------
    ValidArea or None
        None where a corner has no place in the CRS, or the area would be torn apart there.

    Raises
    ------
    InvalidStack
        If there is no transformation between the two.

    Examples
    --------
    >>> area = ValidArea(parts=(((179.0, 1.0), (181.0, 1.0), (181.0, 2.0), (179.0, 2.0)),), crs="EPSG:4326")
    >>> [x for x, y in unbroken(area, CRS("EPSG:4326"), -179.0).parts[0]]
    [-181.0, -179.0, -179.0, -181.0]
    """
    found = in_crs(_finer(area), crs)
    if found is None:
        return None
    parts = []
    for part in found.parts:
        ring = np.array(part)
        if crs.geographic:
            ring[:, 0] = np.unwrap(ring[:, 0], period=360)
            ring[:, 0] += 360 * np.round((near - ring[:, 0].mean()) / 360)
        if _goes_round(ring) if crs.geographic else _torn(ring):
            return None
        parts.append(tuple(map(tuple, ring[::_PIECES].tolist())))
    return ValidArea(parts=tuple(parts), crs=found.crs)


def wrapped(longitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Longitudes from -180 to 180; those that are so already are left as they are.

    Examples
    --------
    >>> wrapped(np.array([-190.0, 13.4, 180.0, 181.0])).tolist()
    [170.0, 13.4, 180.0, -179.0]
    """
    return np.where(np.abs(longitudes) > 180, (longitudes + 180) % 360 - 180, longitudes)


def bounds(boxes: ArrayLike) -> tuple[float, float, float, float]:
    """The smallest box of longitude and latitude that holds all boxes, each west, south, east and north.

    West is greater than east where a box crosses the antimeridian, in what is given and in what is returned.

    Examples
    --------
    >>> bounds([(170, 50, 180, 60), (-180, 50, -175, 61)])
    (170.0, 50.0, -175.0, 61.0)
    >>> bounds([(5, 50, 8, 60), (-10, 50, -7, 61)])
    (-10.0, 50.0, 8.0, 61.0)
    """
    west, south, east, north = np.array(boxes, np.float64).T
    over = west > east
    starts = np.concatenate([west, np.full(over.sum(), -180.0)])
    ends = np.concatenate([np.where(over, 180.0, east), east[over]])
    order = np.argsort(starts)
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    left, right = float(starts[0]), float(ends[-1])
    gaps = starts[1:] - ends[:-1]
    # the widest stretch of longitudes without a box stays outside; mostly it is the one that holds the antimeridian
    if gaps.size and gaps.max() > max(left + 360 - right, 0):
        widest = int(gaps.argmax())
        left, right = float(starts[widest + 1]), float(ends[widest])
    return left, float(south.min()), right, float(north.max())


def together(boxes: Sequence[GeoBox]) -> NDArray[np.int64]:
    """Which rasters lie together: those that overlap or touch, directly or through others, have the same number.

    Parameters
    ----------
    boxes : sequence of GeoBox
        In any CRSs. Those in a CRS that has no place on the globe lie together with others in that CRS alone.

    Returns
    -------
    ndarray of int
        One number a raster, from 0.

    Raises
    ------
    InvalidStack
        If one has no CRS.

    Examples
    --------
    >>> from affine import Affine
    >>> lefts = (300000, 300900, 400000, 301800)
    >>> [int(k) for k in together([GeoBox((100, 100), Affine(10, 0, x, 0, -10, 0), "EPSG:32633") for x in lefts])]
    [0, 0, 1, 0]
    """
    planes = defaultdict(list)
    for k, box in enumerate(boxes):
        area = _placed(box)
        shape = shapely.MultiPolygon([shapely.Polygon(part) for part in area.parts])
        planes[area.crs].append((k, shapely.make_valid(shape)))
    numbers = np.zeros(len(boxes), np.int64)
    first = 0
    for placed in planes.values():
        positions, shapes = zip(*placed, strict=True)
        # parts that meet only across the antimeridian are joined by the raster that holds both
        islands = shapely.get_parts(shapely.union_all(shapes))
        own, island = shapely.STRtree(islands).query(np.array(shapes), predicate="intersects")
        size = len(shapes) + len(islands)
        links = coo_array((np.ones(len(own)), (own, island + len(shapes))), shape=(size, size))
        count, labels = connected_components(links, directed=False)
        numbers[list(positions)] = labels[: len(shapes)] + first
        first += count
    return numbers


def _placed(box: GeoBox) -> ValidArea:
    whole = outline(box)
    try:
        return on_globe(whole) or whole
    except InvalidStack:
        return whole


def _counterclockwise(ring: Ring) -> Ring:
    """A ring with its inside on the left; so a ring around a pole shows which pole it encloses."""
    x, y = np.transpose(ring)
    return ring if np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0 else ring[::-1]


def _finer(area: ValidArea) -> ValidArea:
    """The same area with more corners along its edges."""
    parts = []
    for part in area.parts:
        ring = np.array(part)
        steps = (np.roll(ring, -1, axis=0) - ring)[:, None] * (np.arange(_PIECES) / _PIECES)[:, None]
        parts.append(tuple(map(tuple, (ring[:, None] + steps).reshape(-1, 2).tolist())))
    return replace(area, parts=tuple(parts))


def _rounded(ring: Iterable[Sequence[float]]) -> Ring:
    return tuple((round(x, DIGITS), round(y, DIGITS)) for x, y in ring)


def _crosses(ring: Ring) -> bool:
    longitudes = np.array(ring)[:, 0]
    jumps = np.abs(longitudes - np.roll(longitudes, 1))
    return bool(jumps.max() > 180 or np.abs(longitudes).max() > 180)


def _goes_round(ring: NDArray[np.float64]) -> bool:
    """Whether longitudes that go on beyond 180 do not come back to where they began, but round a pole."""
    return abs(float(ring[0, 0] - ring[-1, 0])) > 180


def _torn(ring: NDArray[np.float64]) -> bool:
    """Whether the middle of an edge, as `_finer` put it there, lies far from the line between its ends."""
    start, middle = ring[::_PIECES], ring[_PIECES // 2 :: _PIECES]
    end = np.roll(start, -1, axis=0)
    aside = np.hypot(*(middle - (start + end) / 2).T)
    return bool((aside > np.hypot(*(end - start).T) / 4).any())


def _cut(ring: Ring) -> list[Ring]:
    """The parts of a ring on either side of the antimeridian; those that end at 180 degrees come first."""
    whole = shapely.MultiPolygon([shapely.Polygon(ring)])
    try:
        fixed = antimeridian.fix_multi_polygon(whole, fix_winding=True, great_circle=False)
    except (ValueError, RecursionError):
        # of no width, or crossing over and over, as no raster is
        return [ring]
    parts = (_rounded(part.exterior.coords[:-1]) for part in fixed.geoms)
    # what only touches the antimeridian leaves a part without an area there
    wide = [part for part in parts if shapely.Polygon(part).area > 0]
    return sorted(wide, key=lambda part: min(part)[0] == -180) or [ring]
