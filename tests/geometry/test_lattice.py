"""Places on a lattice are exact: offsets, boxes and shifts to a billionth of a pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import assume, given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from coregstack.errors import InvalidStack
from coregstack.geometry.lattice import (
    crs_name,
    crs_of,
    epsg_code,
    footprint,
    frame_bounds,
    frame_box,
    lattice_like,
    moved,
    offset,
    overlaps,
    same_pixels,
    scaled_shift,
    union,
)
from coregstack.model import Shift

EXACT = 1e-9
sizes = st.integers(1, 3000)
whole = st.integers(-5000, 5000)
parts = st.floats(0.001, 0.999)
pixels = st.sampled_from([0.5, 0.8, 3.0, 3.125, 5.0, 10.0])
shifts = st.builds(Shift, st.floats(-40, 40), st.floats(-40, 40))


def box(
    west: float,
    north: float,
    pixel: float = 3.0,
    shape: tuple[int, int] = (100, 120),
    crs: str | None = "EPSG:32633",
) -> GeoBox:
    return GeoBox(shape, Affine(pixel, 0, west, 0, -pixel, north), crs)


ANCHOR = box(300_000, 5_300_100)


@given(whole, whole, pixels)
def test_offset_counts_whole_pixels_exactly(row: int, col: int, pixel: float) -> None:
    anchor = box(300_000, 5_300_100, pixel)
    there = box(300_000 + col * pixel, 5_300_100 - row * pixel, pixel)
    assert offset(there, anchor) == Shift(row, col)
    assert same_pixels(there, anchor)


@given(whole, parts, whole, parts)
def test_offset_holds_the_phase_of_the_lattice(row: int, down: float, col: int, right: float) -> None:
    there = box(300_000 + (col + right) * 3, 5_300_100 - (row + down) * 3)
    assert offset(there, ANCHOR) == pytest.approx((row + down, col + right), abs=EXACT * 10)


@given(whole, whole, sizes, sizes)
def test_a_frame_box_lies_on_the_lattice(row: int, col: int, height: int, width: int) -> None:
    made = frame_box(ANCHOR, row, col, (height, width))
    assert made.shape == (height, width)
    assert offset(made, ANCHOR) == Shift(row, col)
    assert frame_bounds(made, ANCHOR) == (row, row + height, col, col + width)


@given(whole, parts, whole, parts, sizes, sizes, shifts)
def test_a_footprint_holds_the_shifted_extent_and_no_more(
    row: int, down: float, col: int, right: float, height: int, width: int, shift: Shift
) -> None:
    there = box(300_000 + (col + right) * 3, 5_300_100 - (row + down) * 3, shape=(height, width))
    held = footprint(there, ANCHOR, shift)
    top, bottom, left, right_edge = frame_bounds(held, ANCHOR)
    assert all(edge == int(edge) for edge in (top, bottom, left, right_edge))
    edges = np.add(frame_bounds(there, ANCHOR), (shift.y, shift.y, shift.x, shift.x))
    slack = np.array([edges[0] - top, bottom - edges[1], edges[2] - left, right_edge - edges[3]])
    assert (slack > -2e-6).all()
    assert (slack < 1 + 2e-6).all()


@given(whole, whole, sizes, sizes)
def test_a_footprint_on_the_lattice_is_the_box_itself(row: int, col: int, height: int, width: int) -> None:
    there = frame_box(ANCHOR, row, col, (height, width))
    held = footprint(there, ANCHOR)
    assert held.shape == (height, width)
    assert offset(held, ANCHOR) == (row, col)


@given(shifts)
def test_moving_a_box_moves_its_offset(shift: Shift) -> None:
    there = box(300_031.3, 5_300_007.7)
    before, after = offset(there, ANCHOR), offset(moved(there, ANCHOR, shift), ANCHOR)
    assert (after.y - before.y, after.x - before.x) == pytest.approx(shift, abs=1e-6)
    assert moved(there, ANCHOR, shift).shape == there.shape


@given(shifts)
def test_moving_a_box_of_another_zone_moves_its_ground(shift: Shift) -> None:
    to_anchor = Transformer.from_crs(32632, 32633, always_xy=True)
    there = box(
        *Transformer.from_crs(32633, 32632, always_xy=True).transform(300_000, 5_300_100), crs="EPSG:32632"
    )
    after = moved(there, ANCHOR, shift)
    assert after.crs == there.crs
    middle = there.shape[1] / 2, there.shape[0] / 2
    was = np.array(to_anchor.transform(*(there.affine * middle)))
    now = np.array(to_anchor.transform(*(after.affine * middle)))
    assert now - was == pytest.approx((shift.x * 3, -shift.y * 3), abs=1e-4)


@given(pixels, pixels)
def test_another_pixel_size_is_kept_on_the_anchors_origin(pixel: float, own: float) -> None:
    anchor = box(300_001.5, 5_300_100.25, pixel)
    lattice = lattice_like(box(300_333, 5_300_012, own, (700, 400)), anchor)
    assert (lattice.affine.c, lattice.affine.f) == (anchor.affine.c, anchor.affine.f)
    assert (lattice.affine.a, -lattice.affine.e) == pytest.approx((own, own), rel=1e-12)
    assert lattice.crs == anchor.crs
    metres = scaled_shift(Shift(2.5, -1.25), anchor, lattice)
    assert (metres.y * own, metres.x * own) == pytest.approx((2.5 * pixel, -1.25 * pixel), rel=1e-12)


def test_the_same_nominal_pixel_in_another_zone_is_the_anchors() -> None:
    assert lattice_like(box(700_000, 5_300_100, crs="EPSG:32632"), ANCHOR).affine == ANCHOR.affine


def test_a_geographic_box_is_measured_in_the_anchors_units() -> None:
    degrees = GeoBox((200, 200), Affine(2e-4, 0, 12.3, 0, -2e-4, 47.8), "EPSG:4326")
    lattice = lattice_like(degrees, ANCHOR)
    latitude = 47.78
    assert -lattice.affine.e == pytest.approx(2e-4 * 111_180, rel=0.01)
    assert lattice.affine.a == pytest.approx(2e-4 * 111_320 * math.cos(math.radians(latitude)), rel=0.01)
    assert lattice.crs == ANCHOR.crs


@given(st.lists(st.tuples(whole, whole, sizes, sizes), min_size=1, max_size=6))
def test_a_union_is_the_smallest_box_that_holds_all(places: list[tuple[int, int, int, int]]) -> None:
    boxes = [frame_box(ANCHOR, row, col, (height, width)) for row, col, height, width in places]
    top, bottom, left, right = frame_bounds(union(boxes, ANCHOR), ANCHOR)
    assert top == min(p[0] for p in places)
    assert left == min(p[1] for p in places)
    assert bottom == max(p[0] + p[2] for p in places)
    assert right == max(p[1] + p[3] for p in places)


@given(st.integers(-150, 150), st.integers(-150, 150))
def test_boxes_overlap_where_they_share_a_pixel(row: int, col: int) -> None:
    height, width = ANCHOR.shape
    shared = abs(row) <= height - 1 and abs(col) <= width - 1
    assert overlaps(frame_box(ANCHOR, row, col, (height, width)), ANCHOR) is shared


@given(pixels, pixels)
def test_pixels_are_the_same_only_where_nothing_but_a_translation_differs(a: float, b: float) -> None:
    assume(a != b)
    assert not same_pixels(box(300_000, 5_300_100, a), box(300_000, 5_300_100, b))


def test_a_lattice_that_drifts_or_turns_is_another() -> None:
    assert not same_pixels(box(300_000, 5_300_100, crs="EPSG:32632"), ANCHOR)
    assert not same_pixels(box(300_000, 5_300_100, 3.0001), ANCHOR)
    turned = GeoBox(ANCHOR.shape, ANCHOR.affine * Affine.rotation(1), ANCHOR.crs)
    assert not same_pixels(turned, ANCHOR)
    # rounding of a geotransform is no other pixel size
    assert same_pixels(box(300_000, 5_300_100, 3 * (1 + 1e-9)), ANCHOR)


def test_a_box_that_has_no_place_in_the_anchors_crs_is_refused() -> None:
    nowhere = GeoBox((10, 10), Affine(1, 0, 12, 0, -1, 120), "EPSG:4326")
    with pytest.raises(InvalidStack, match="has no place in the anchor's CRS EPSG:32633"):
        frame_bounds(nowhere, ANCHOR)


def test_a_box_without_crs_says_how_to_write_one() -> None:
    bare = box(0, 0, crs=None)
    assert crs_name(bare) == "no CRS"
    assert epsg_code(bare) is None
    assert epsg_code(ANCHOR) == 32633
    with pytest.raises(InvalidStack, match=r"rio\.write_crs"):
        crs_of(bare)


def test_in_degrees_a_box_across_the_antimeridian_is_no_wider_than_it_is() -> None:
    anchor = GeoBox((100, 100), Affine(1e-3, 0, 179.95, 0, -1e-3, 1), "EPSG:4326")
    zone = GeoBox((100, 100), Affine(100, 0, 161000, 0, -100, 105000), "EPSG:32601")
    top, bottom, left, right = frame_bounds(zone, anchor)
    lon, lat = Transformer.from_crs(32601, 4326, always_xy=True).transform(
        [161000, 171000, 171000, 161000], [105000, 105000, 95000, 95000]
    )
    lon = np.array(lon) % 360
    np.testing.assert_allclose(
        [left, right, top, bottom],
        [(lon.min() - 179.95) * 1e3, (lon.max() - 179.95) * 1e3, (1 - max(lat)) * 1e3, (1 - min(lat)) * 1e3],
        atol=1e-3,
    )
    other = GeoBox((100, 100), Affine(1e-3, 0, -180.05, 0, -1e-3, 1), "EPSG:4326")
    np.testing.assert_allclose(frame_bounds(zone, other), [top, bottom, left, right], atol=1e-6)
