"""The valid area of a raster has the corners that its pixels have, and no more than are needed."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from coregstack.geometry.validarea import (
    MAX_CORNERS,
    SIDE,
    in_crs,
    looked_at,
    looks,
    outline,
    placed_area,
    valid_area,
)
from coregstack.model import Shift, ValidArea

PIXEL = 3.0
CORNERS = np.array([(900.0, 30.0), (3900.0, 800.0), (3100.0, 3950.0), (100.0, 3180.0)])
"""Columns and rows of the corners of a turned scene in 4000 x 4000 px."""


def box_of(shape: tuple[int, ...]) -> GeoBox:
    return GeoBox(shape, Affine(PIXEL, 0, 600000, 0, -PIXEL, 5300000), "EPSG:32633")


def drawn(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask that is true where the centre of a pixel lies in a polygon of corners (column, row)."""
    polygon = {"type": "Polygon", "coordinates": [[*corners.tolist(), corners[0].tolist()]]}
    return rasterio.features.rasterize([polygon], shape) == 1


def found(valid: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Corners (column, row) of each part."""
    box = box_of(valid.shape)
    area = valid_area(looked_at(valid), box)
    assert area is not None
    assert area.crs == "EPSG:32633"
    return [np.array([~box.affine * corner for corner in part]) for part in area.parts]


def assert_corners(part: NDArray[np.float64], truth: NDArray[np.float64], tolerance: float) -> None:
    """Each has a corner of the other within the tolerance, and there are no others."""
    assert len(part) == len(truth)
    apart = np.linalg.norm(part[:, None] - truth[None], axis=2)
    assert apart.min(axis=0).max() <= tolerance
    assert apart.min(axis=1).max() <= tolerance


@pytest.mark.parametrize("size", [400, 500, 1600, 4000])
def test_a_turned_scene_has_its_four_corners(size: int) -> None:
    truth = CORNERS * size / 4000
    (part,) = found(drawn(truth, (size, size)))
    step = -(-size // SIDE)
    assert_corners(part, truth, 2 * step)


SHAPES = [(300, 200), (1, 1), (1, 5000), (3001, 1537), (513, 512)]


@pytest.mark.parametrize("shape", SHAPES)
def test_as_many_pixels_are_looked_at_as_are_told(shape: tuple[int, int]) -> None:
    assert looked_at(np.ones(shape, bool)).shape == looks(shape)
    assert max(looks(shape)) <= SIDE


@pytest.mark.parametrize("shape", SHAPES)
def test_a_full_raster_has_its_own_outline(shape: tuple[int, int]) -> None:
    area = valid_area(looked_at(np.ones(shape, bool)), box_of(shape))
    assert area is not None
    assert set(area.parts[0]) == set(outline(box_of(shape)).parts[0])


def test_a_raster_reaches_to_its_last_pixel() -> None:
    valid = np.ones((1501, 2203), bool)
    valid[:, :800] = False
    (part,) = found(valid)
    assert_corners(part, np.array([(800, 0), (2203, 0), (2203, 1501), (800, 1501)], float), 5)
    assert part.max(axis=0).tolist() == [2203, 1501]


def test_two_parts_are_two_polygons() -> None:
    valid = np.zeros((500, 500), bool)
    valid[20:180, 30:470] = valid[300:480, 250:470] = True
    parts = sorted(found(valid), key=lambda part: part[:, 1].min())
    assert_corners(parts[0], np.array([(30, 20), (470, 20), (470, 180), (30, 180)], float), 0)
    assert_corners(parts[1], np.array([(250, 300), (470, 300), (470, 480), (250, 480)], float), 0)


def test_an_empty_raster_has_none() -> None:
    assert valid_area(looked_at(np.zeros((700, 90), bool)), box_of((700, 90))) is None


def test_holes_and_specks_are_left_out() -> None:
    truth = CORNERS / 10
    valid = drawn(truth, (400, 400))
    valid[150:250, 150:250] = False
    valid[190:210, 190:210] = True
    valid[5:9, 370:374] = True
    (part,) = found(valid)
    assert_corners(part, truth, 2)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.6, 0.9])
def test_noise_is_drawn_with_few_corners(share: float) -> None:
    valid = np.random.default_rng(4).random((300, 300)) < share
    assert sum(map(len, found(valid))) <= MAX_CORNERS


def test_a_shift_moves_it_as_it_moves_pixels() -> None:
    box = box_of((100, 100))
    area = placed_area(outline(box), box, box, Shift(2.0, -1.5))
    assert area is not None
    moved = np.array(area.parts) - np.array(outline(box).parts)
    np.testing.assert_allclose(moved[0], [[-1.5 * PIXEL, -2.0 * PIXEL]] * 4, atol=1e-9)


def test_another_crs_takes_corner_by_corner() -> None:
    area = outline(box_of((100, 200)))
    degrees = in_crs(area, CRS("EPSG:4326"))
    assert degrees is not None
    truth = Transformer.from_crs(32633, 4326, always_xy=True).transform(*np.transpose(area.parts[0]))
    np.testing.assert_allclose(np.transpose(degrees.parts[0]), truth)
    back = in_crs(degrees, CRS("EPSG:32633"))
    assert back is not None
    np.testing.assert_allclose(back.parts, area.parts, atol=1e-3)


def test_what_has_no_place_in_a_crs_is_none() -> None:
    nowhere = ValidArea(parts=(((0.0, 0.0), (1e9, 0.0), (0.0, 1e9)),), crs="EPSG:32633")
    assert in_crs(nowhere, CRS("EPSG:4326")) is None
