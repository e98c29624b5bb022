"""How accurately items lie, in metres: against lattices whose pixels are known on the ground."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack.export.accuracy import accuracy
from coregstack.geometry.globe import ground_size
from coregstack.matching.decision import ANCHOR_QUALITY, failure
from coregstack.model import ItemQuality, Shift, Status

UTM = GeoBox((1000, 1000), Affine(3, 0, 500_000, 0, -3, 5_000_000), "EPSG:32633")
SCALE = 0.9996
"""Of UTM at its central meridian: metres of the map to one on the ground."""


def quality(status: Status, residual: float, datum: Shift | None = None) -> ItemQuality:
    return ItemQuality(
        shift=Shift(2.0, -1.0), sigma=Shift(0.1, 0.2), before=0.5, after=0.9, improvement=0.4, status=status,
        details="", residual=residual, datum_sigma=datum,
    )  # fmt: skip


def told(found: dict[str, float]) -> list[float]:
    names = ("x_bias", "y_bias", "x_stddev", "y_stddev", "rmse")
    assert set(found) == {f"accuracy:geometric_{name}" for name in names}
    return [found[f"accuracy:geometric_{name}"] for name in names]


@pytest.mark.parametrize(
    ("box", "height", "width"),
    [
        (UTM, 3 / SCALE, 3 / SCALE),
        # an arc of the meridian and of the parallel at 60 degrees north, of the ellipsoid of WGS 84
        (GeoBox((2, 2), Affine(0.01, 0, 15, 0, -0.01, 60.01), "EPSG:4326"), 1114.12, 558.00),
        # Mercator's metres are half as large there
        (GeoBox((2, 2), Affine(10, 0, 0, 0, -10, 8_399_748), "EPSG:3857"), 5.0, 5.0),
        (
            GeoBox(
                (9, 9), Affine(10, 0, 300_000, 0, -10, 4e6), "+proj=utm +zone=33 +datum=WGS84 +units=us-ft"
            ),
            3.05,
            3.05,
        ),
    ],
)
def test_pixels_are_measured_on_the_ground(box: GeoBox, height: float, width: float) -> None:
    np.testing.assert_allclose(ground_size(box), (height, width), rtol=0.004)


def test_no_place_on_the_globe_is_no_accuracy() -> None:
    nowhere = GeoBox((9, 9), Affine(1, 0, 0, 0, -1, 0), None)
    beyond = GeoBox((9, 9), Affine(1e9, 0, 1e12, 0, -1e9, 1e12), "EPSG:32633")
    assert ground_size(nowhere) is None
    assert accuracy(quality(Status.COREGISTERED, 0.0), nowhere) == {}
    assert accuracy(quality(Status.COREGISTERED, 0.0), beyond) == {}


def test_what_was_moved_has_no_bias_and_what_was_left_lies_beside_its_place() -> None:
    size = 3 / SCALE
    moved = accuracy(quality(Status.COREGISTERED, math.hypot(0.1, 0.2)), UTM)
    np.testing.assert_allclose(
        told(moved), np.array([0, 0, 0.2, 0.1, math.hypot(0.1, 0.2)]) * size, rtol=1e-3
    )
    # it has to go down and left: its content lies up, which is north, and right
    left = accuracy(quality(Status.NO_IMPROVEMENT, math.hypot(2, 1)), UTM)
    np.testing.assert_allclose(told(left)[:2], np.array([1, 2]) * size, rtol=1e-3)
    assert told(left)[4] == pytest.approx(math.hypot(2, 1, 0.1, 0.2) * size, rel=1e-3)


def test_what_varies_and_the_datum_count_too() -> None:
    size = 3 / SCALE
    found = told(accuracy(quality(Status.COREGISTERED, 0.5, datum=Shift(0.3, 0.4)), UTM))
    assert found[4] == pytest.approx(math.hypot(0.5, 0.3, 0.4) * size, rel=1e-3)
    assert found[2] > found[3] > 0.3 * size


def test_an_anchor_and_what_is_not_known_say_nothing() -> None:
    assert accuracy(ANCHOR_QUALITY, UTM) == {}
    assert accuracy(failure("no"), UTM) == {}
