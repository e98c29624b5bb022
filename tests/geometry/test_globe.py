"""Outlines on the globe, against a sphere that knows no antimeridian."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from coregstack.errors import InvalidStack
from coregstack.geometry.globe import bounds, on_globe, together, unbroken, wrapped
from coregstack.geometry.validarea import in_crs, outline
from coregstack.model import ValidArea

CROSSING = {
    "zone 1": GeoBox((300, 400), Affine(100, 0, 150000, 0, -100, 1_000_000), "EPSG:32601"),
    "zone 60": GeoBox((300, 400), Affine(100, 0, 810000, 0, -100, 1_000_000), "EPSG:32660"),
    "zone 1 in the south": GeoBox((300, 400), Affine(100, 0, 150000, 0, -100, 9_000_000), "EPSG:32701"),
    "Mercator of the Pacific": GeoBox((50, 60), Affine(1000, 0, 3_320_000, 0, -1000, 8e6), "EPSG:3832"),
    "turned": GeoBox((300, 300), Affine(100, 0, 166021, 0, -100, 2e6) * Affine.rotation(30), "EPSG:32601"),
    "mirrored": GeoBox((300, 300), Affine(-100, 0, 190000, 0, -100, 2e6), "EPSG:32601"),
    "degrees": GeoBox((100, 200), Affine(0.01, 0, 179, 0, -0.01, 10), "EPSG:4326"),
    "degrees from the other side": GeoBox((100, 200), Affine(0.01, 0, -181, 0, -0.01, 10), "EPSG:4326"),
    "polar": GeoBox((100, 100), Affine(1e4, 0, -5e5, 0, -1e4, 2.5e6), "EPSG:3995"),
}
POLES = {
    "north": (GeoBox((100, 100), Affine(1e4, 0, -4e5, 0, -1e4, 5e5), "EPSG:3995"), 90),
    "south": (GeoBox((100, 100), Affine(1e4, 0, -4e5, 0, -1e4, 5e5), "EPSG:3031"), -90),
}
ORDINARY = {
    "zone 33": GeoBox((300, 400), Affine(10, 0, 500000, 0, -10, 5_800_000), "EPSG:32633"),
    "up to the antimeridian": GeoBox((100, 100), Affine(0.01, 0, 179, 0, -0.01, 10), "EPSG:4326"),
    "from the antimeridian": GeoBox((100, 100), Affine(0.01, 0, -180, 0, -0.01, 10), "EPSG:4326"),
    "the world": GeoBox((180, 360), Affine(1, 0, -180, 0, -1, 90), "EPSG:4326"),
    "the world of web maps": GeoBox(
        (256, 256), Affine(156543.033928041, 0, -20037508.342789244, 0, -156543.033928041, 20037508.342789244),
        "EPSG:3857",
    ),
    "beside the pole": GeoBox((100, 100), Affine(1e4, 0, 1e5, 0, -1e4, -1e5), "EPSG:3995"),
    "beside New Zealand": GeoBox((100, 100), Affine(10, 0, 1_600_000, 0, -10, 5_400_000), "EPSG:2193"),
}  # fmt: skip


def polygons(area: ValidArea | None) -> list[shapely.Polygon]:
    assert area is not None
    return [shapely.Polygon(part) for part in area.parts]


def holds(area: ValidArea, lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    return shapely.contains_xy(shapely.union_all(polygons(area)), lon, lat)


def places(box: GeoBox, margin: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitudes and latitudes of places around a raster, and whether they lie in it."""
    rng = np.random.default_rng(3)
    height, width = box.shape
    row, col = rng.uniform(-0.5, 1.5, (2, 4000)) * np.array([[height], [width]])
    near = np.minimum.reduce([np.abs(row), np.abs(row - height), np.abs(col), np.abs(col - width)])
    row, col = row[near > margin * min(height, width)], col[near > margin * min(height, width)]
    inside = (row > 0) & (row < height) & (col > 0) & (col < width)
    lon, lat = Transformer.from_crs(str(box.crs), 4326, always_xy=True).transform(*(box.affine * (col, row)))
    known = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    return (lon[known] + 180) % 360 - 180, lat[known], inside[known]


@pytest.mark.parametrize("box", CROSSING.values(), ids=CROSSING)
def test_what_crosses_the_antimeridian_becomes_two_parts_that_hold_the_same_places(box: GeoBox) -> None:
    area = on_globe(outline(box))
    west, east = polygons(area)
    assert west.is_valid
    assert east.is_valid
    assert west.bounds[2] == 180
    assert east.bounds[0] == -180
    lon, lat, inside = places(box, 0.02)
    assert inside.sum() > 500
    assert (~inside).sum() > 500
    np.testing.assert_array_equal(holds(area, lon, lat), inside)


@pytest.mark.parametrize("box", CROSSING.values(), ids=CROSSING)
def test_its_bounds_go_over_the_antimeridian(box: GeoBox) -> None:
    parts = polygons(on_globe(outline(box)))
    west, south, east, north = bounds([part.bounds for part in parts])
    assert west > 90
    assert east < -90
    lon, lat, inside = places(box, 0)
    lon, lat = lon[inside], lat[inside]
    assert ((lon > west - 0.05) | (lon < east + 0.05)).all()
    assert south - 0.05 <= lat.min()
    assert lat.max() <= north + 0.05
    assert abs(south - lat.min()) < 0.5
    assert abs(north - lat.max()) < 0.5


@pytest.mark.parametrize(("box", "pole"), POLES.values(), ids=POLES)
def test_what_holds_a_pole_reaches_up_to_it_all_around(box: GeoBox, pole: int) -> None:
    area = on_globe(outline(box))
    (whole,) = polygons(area)
    west, south, east, north = bounds([whole.bounds])
    assert (west, east) == (-180, 180)
    assert pole in (south, north)
    lon, lat, inside = places(box, 0.05)
    np.testing.assert_array_equal(holds(area, lon, lat), inside)


@pytest.mark.parametrize("box", ORDINARY.values(), ids=ORDINARY)
def test_any_other_keeps_the_corners_that_a_transformation_gives(box: GeoBox) -> None:
    height, width = box.shape
    col, row = np.array([0, 0, width, width]), np.array([0, height, height, 0])
    x, y = box.affine * (col, row)
    if str(box.crs) != "EPSG:4326":
        x, y = Transformer.from_crs(str(box.crs), 4326, always_xy=True).transform(x, y)
    expected = tuple((round(a, 7), round(b, 7)) for a, b in zip(x.tolist(), y.tolist(), strict=True))
    assert on_globe(outline(box)).parts == (expected,)


def test_longitudes_beyond_180_are_brought_back() -> None:
    box = GeoBox((100, 100), Affine(0.01, 0, 200, 0, -0.01, 10), "EPSG:4326")
    assert [part.bounds for part in polygons(on_globe(outline(box)))] == [(-160, 9, -159, 10)]


@pytest.mark.parametrize(
    "ring", [[(180, 0), (-180, 0), (180, 0)], [(180, k % 7) if k % 2 else (-179, k) for k in range(2500)]]
)
def test_what_no_raster_is_does_no_harm(ring: list[tuple[float, float]]) -> None:
    assert on_globe(ValidArea(parts=(tuple(ring),), crs="EPSG:4326")).parts


def test_what_has_no_place_on_the_globe_is_none() -> None:
    box = GeoBox((10, 10), Affine(1e6, 0, 1e9, 0, -1e6, 1e9), "EPSG:3035")
    assert on_globe(outline(box)) is None


@given(st.lists(st.tuples(st.integers(-180, 179), st.integers(1, 300)), min_size=1, max_size=6))
def test_bounds_are_the_shortest_stretch_that_holds_all(stretches: list[tuple[int, int]]) -> None:
    # whole degrees that are covered, counted on a circle, against any stretch that could hold them
    covered = np.zeros(360, bool)
    boxes = []
    for start, length in stretches:
        covered[(np.arange(start, start + length) + 180) % 360] = True
        end = start + length
        boxes.append((start, 0, end if end <= 180 else end - 360, 1))
    west, _, east, _ = bounds(boxes)
    found = np.zeros(360, bool)
    length = int(east - west) if east > west else int(east - west + 360)
    found[(np.arange(west, west + length).astype(int) + 180) % 360] = True
    assert found[covered].all()
    empty, run = 0, 0
    for free in np.tile(~covered, 2):
        run = run + 1 if free else 0
        empty = max(empty, min(run, 360))
    assert length == 360 - empty


def test_bounds_of_ordinary_boxes_are_their_least_and_greatest() -> None:
    boxes = np.array([(13.1, 50.2, 13.4, 50.9), (12.7, 50.5, 13.2, 51.3)])
    assert bounds(boxes) == (12.7, 50.2, 13.4, 51.3)
    assert bounds([(-180, -90, 180, 90)]) == (-180, -90, 180, 90)


def test_both_sides_of_the_antimeridian_make_no_bounds_around_the_world() -> None:
    assert bounds([(178, 1, 179, 2), (-179, 1, -178, 2)]) == (178, 1, -178, 2)
    assert bounds([(179, 1, -179, 2), (-180, 0, -178, 2)]) == (179, 0, -178, 2)


@pytest.mark.parametrize("box", CROSSING.values(), ids=CROSSING)
@pytest.mark.parametrize("near", [179.0, -179.0])
def test_in_degrees_an_area_stays_in_one_piece(box: GeoBox, near: float) -> None:
    found = unbroken(outline(box), CRS("EPSG:4326"), near)
    (ring,) = (np.array(part) for part in found.parts)
    assert np.ptp(ring[:, 0]) < 45
    assert abs(ring[:, 0].mean() - near) < 45
    expected = np.array(in_crs(outline(box), CRS("EPSG:4326")).parts[0])
    np.testing.assert_allclose((ring[:, 0] - expected[:, 0] + 180) % 360, 180)
    np.testing.assert_array_equal(ring[:, 1], expected[:, 1])


def test_in_the_own_zone_it_is_as_it_is_and_in_a_map_that_is_torn_there_it_is_none() -> None:
    area = outline(CROSSING["zone 1"])
    assert unbroken(area, CRS("EPSG:32601"), 0) == area
    assert unbroken(area, CRS("EPSG:32660"), 0) is not None
    assert unbroken(area, CRS("EPSG:3857"), 0) is None


@pytest.mark.parametrize("name", ["zone 33", "beside New Zealand", "beside the pole"])
def test_ordinary_areas_are_those_of_a_plain_transformation(name: str) -> None:
    area = outline(ORDINARY[name])
    plain = in_crs(area, CRS("EPSG:4326"))
    assert unbroken(area, CRS("EPSG:4326"), plain.parts[0][0][0]) == plain


def test_wrapped_leaves_ordinary_longitudes_alone() -> None:
    given_ = np.array([0.1 + 0.2, -180, 180, 179.9999999999])
    np.testing.assert_array_equal(wrapped(given_), given_)


def test_rasters_lie_together_that_overlap_through_others_also_across_the_antimeridian() -> None:
    zone33 = [
        GeoBox((100, 100), Affine(10, 0, x, 0, -10, 5.8e6), "EPSG:32633") for x in (4e5, 400900, 401800)
    ]
    x, y = Transformer.from_crs(32633, 32632, always_xy=True).transform(4e5, 5.8e6)
    zone32 = GeoBox((100, 100), Affine(10, 0, x - 500, 0, -10, y + 500), "EPSG:32632")
    x, y = Transformer.from_crs(32701, 32760, always_xy=True).transform(181000, 7.998e6)
    fiji = [
        GeoBox((400, 400), Affine(10, 0, 178000, 0, -10, 8e6), "EPSG:32701"),
        GeoBox((100, 100), Affine(10, 0, x - 500, 0, -10, y + 500), "EPSG:32760"),
    ]
    far = GeoBox((100, 100), Affine(10, 0, 1_600_000, 0, -10, 5_400_000), "EPSG:2193")
    numbers = together([*zone33, far, *fiji, zone32]).tolist()
    assert numbers[0] == numbers[1] == numbers[2] == numbers[6]
    assert numbers[4] == numbers[5]
    assert len({numbers[0], numbers[3], numbers[4]}) == 3


def test_each_side_of_the_antimeridian_is_joined_by_what_lies_on_both() -> None:
    boxes = [
        GeoBox((10, 10), Affine(0.1, 0, x, 0, -0.1, 1), "EPSG:4326") for x in (178.9, -179.5, 179.6, -170)
    ]
    assert together(boxes).tolist() == [0, 0, 0, 1]
    assert len(set(together(boxes[:2]).tolist())) == 2


def test_a_crs_without_a_place_on_the_globe_is_a_plane_of_its_own() -> None:
    wkt = 'ENGCRS["a",EDATUM["b"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]'
    local = [GeoBox((10, 10), Affine(1, 0, x, 0, -1, 0), wkt) for x in (0, 5, 100)]
    numbers = together([*local, ORDINARY["zone 33"]]).tolist()
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3
    with pytest.raises(InvalidStack, match="CRS"):
        together([GeoBox((10, 10), Affine.identity(), None)])
