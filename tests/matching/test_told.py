"""What a match says is the same on the ground, whatever pixels it is told in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack.kernels.displacement import Spline
from coregstack.kernels.lattice import Lattice
from coregstack.matching.options import MatchSettings
from coregstack.matching.told import Frames, told_estimate, told_evidence, told_length, told_remark
from coregstack.model import Displacement, DisplacementEstimate, Evidence, Shift, TiePoints

ANCHOR = GeoBox((120, 150), Affine(10, 0, 300, 0, -10, 9000), "EPSG:32633")
ITEM = GeoBox((390, 480), Affine(3, 0, 301, 0, -3, 8999), "EPSG:32633")


def estimate() -> DisplacementEstimate:
    """A shear and a shift, with two windows."""
    lattice = Lattice.of((120, 150))
    rows, cols = lattice.nodes
    y = np.float32(0.5 + 0.01 * cols[None, :] + 0 * rows[:, None])
    x = np.float32(-1.0 + 0.02 * rows[:, None] + 0 * cols[None, :])
    ties = TiePoints(
        y=np.array([0.0, 60.0]), x=np.array([10.0, -0.5]), shift_y=np.array([0.3, 0.4]), shift_x=np.array([0.1, 0.2]),
        weight=np.ones(2), inlier=np.ones(2, bool), band=np.zeros(2, int),
    )  # fmt: skip
    return DisplacementEstimate(
        model="affine", shift=Shift(1.2, 0.2), sigma=Shift(0.01, 0.02),
        displacement=Displacement(origin=lattice.origin, step=lattice.step, y=y, x=x, sigma=0 * y + np.float32(0.03)),
        spread=0.6, residual=0.3, details="0.10 px", ties=ties, residual_y=np.array([0.1, 0.0]),
        residual_x=np.array([0.0, 0.2]),
    )  # fmt: skip


def test_a_displacement_is_the_same_on_the_ground() -> None:
    output = GeoBox((400, 500), Affine(3, 0, 300, 0, -3, 9000), "EPSG:32633")
    told = Frames.of(ANCHOR, output, ITEM).ratio
    assert told is not None
    found, same = estimate(), told_estimate(estimate(), told)
    assert found.displacement is not None
    assert same.displacement is not None
    assert same.displacement.y.shape == Lattice.of((400, 500)).shape
    # a place on the ground, in pixels of either frame
    rows, cols = np.array([12.0, 55.5, 100.25]), np.array([3.0, 70.0, 133.0])
    size = 10 / 3
    coarse = Spline.of(found.displacement).at(rows, cols)
    fine = Spline.of(same.displacement).at((rows + 0.5) * size - 0.5, (cols + 0.5) * size - 0.5)
    for one, other in zip(coarse, fine, strict=True):
        np.testing.assert_allclose(other, one * size, atol=1e-4)
    np.testing.assert_allclose(same.displacement.sigma, 0.1, rtol=1e-5)
    np.testing.assert_allclose(same.shift, np.multiply(found.shift, size))
    np.testing.assert_allclose(same.sigma, np.multiply(found.sigma, size))
    np.testing.assert_allclose([same.spread, same.residual], [0.6 * size, 0.3 * size])
    np.testing.assert_allclose(same.ties.x, [10.5 * size - 0.5, -0.5])
    np.testing.assert_allclose(same.ties.shift_y, found.ties.shift_y * size)
    np.testing.assert_allclose(same.residual_x, found.residual_x * size)
    assert same.details == "0.10 px (in pixels 3.33 times as large)"


def test_evidence_lies_where_it_lay() -> None:
    told = Frames.of(ANCHOR, GeoBox((400, 500), Affine(3, 0, 300, 0, -3, 9000), "EPSG:32633"), ITEM).ratio
    found = Evidence(
        ties=estimate().ties,
        picture=b"",
        chips=Shift(9.5, 19.5),
        overview=(60, 75),
        origin=Shift(-0.5, -0.5),
        factor=2,
    )
    same = told_evidence(found, told)
    assert same.origin == Shift(-0.5, -0.5)
    np.testing.assert_allclose(same.chips, [10 * 10 / 3 - 0.5, 20 * 10 / 3 - 0.5])
    assert same.factor == pytest.approx(20 / 3)
    assert told_length(0.3, told) == pytest.approx(1.0)


def test_nothing_changes_where_pixels_are_the_same() -> None:
    assert Frames.of(ANCHOR, ANCHOR, replace_size(ANCHOR)).ratio is None
    found = estimate()
    assert told_estimate(found, None) is found
    assert told_remark("0.1 px", None) == "0.1 px"
    assert told_length(None, None) is None


def replace_size(box: GeoBox) -> GeoBox:
    """The same pixels, elsewhere and in another number."""
    return GeoBox((40, 40), box.affine * Affine.translation(3.3, -7.7), box.crs)


def test_the_largest_shift_is_asked_for_in_pixels_of_the_output() -> None:
    told = Frames.of(ANCHOR, GeoBox((400, 500), Affine(3, 0, 300, 0, -3, 9000), "EPSG:32633"), ITEM).ratio
    asked = MatchSettings(max_shift=10).bound(["red"])
    assert asked.told_in(told).max_shift == pytest.approx(3.0)
    assert replace(asked, max_shift=None).told_in(told).max_shift is None
    assert asked.told_in(None) is asked
