"""The small picture of an item shows what it says: the anchor, the item, the item moved, the whole scene."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from coregstack.kernels.sources import ArraySource
from coregstack.kernels.told import as_one_shift
from coregstack.matching.preview import CHIP, OVERVIEW, picture_alone, picture_item
from coregstack.model import NO_TIES, Shift, ShiftEstimate
from coregstack.show.plot import _decoded
from coregstack.testing import shifted_scene

SHIFT = Shift(3.0, -2.0)
FOUND = as_one_shift(ShiftEstimate(shift=SHIFT, sigma=Shift(0.01, 0.01), reason="", ties=NO_TIES))
LOST = as_one_shift(ShiftEstimate(shift=None, sigma=None, reason="clouds", ties=NO_TIES))


@pytest.fixture(scope="module")
def ground() -> NDArray[np.float32]:
    rng = np.random.default_rng(6)
    return np.kron(rng.uniform(200, 3000, (60, 60)), np.ones((7, 7))).astype(np.float32)


def source(values: NDArray[np.float32], usable: NDArray[np.bool_] | None = None) -> ArraySource:
    clear = np.ones(values.shape, bool) if usable is None else usable
    return ArraySource(values=values[None], usable=clear)


def chips(picture: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    return [picture[:CHIP, k * CHIP : (k + 1) * CHIP].astype(float) for k in range(3)]


def test_moved_chip_is_the_anchors_and_the_other_is_off_by_the_shift(ground: NDArray[np.float32]) -> None:
    anchor, item = source(ground[10:400, 10:400]), source(ground[13:403, 8:398])
    first, before, after = chips(_decoded(picture_item(anchor, item, item.usable, FOUND)))
    assert np.abs(first - after).mean() < 6  # what the codec loses
    assert np.abs(first - before).mean() > 20
    # undoing the shift by whole pixels brings the item as it came onto the anchor
    undone = np.roll(before, (3, -2), axis=(0, 1))
    assert np.abs((undone - first)[8:-8, 8:-8]).mean() < 8


def test_chip_lies_where_it_says(ground: NDArray[np.float32]) -> None:
    anchor, item = source(ground[10:400, 10:400]), source(ground[13:403, 8:398])
    evidence = picture_item(anchor, item, item.usable, FOUND)
    assert evidence.chips is not None
    row, col = int(evidence.chips.y), int(evidence.chips.x)
    truth = anchor.values[0, row : row + CHIP, col : col + CHIP]
    shown = chips(_decoded(evidence))[0]
    assert np.corrcoef(truth.ravel(), shown.ravel())[0, 1] > 0.99


def test_item_without_shift_has_no_moved_chip(ground: NDArray[np.float32]) -> None:
    item = source(ground[13:403, 8:398], np.zeros((390, 390), bool))
    valid = np.ones((390, 390), bool)
    _, before, after = chips(_decoded(picture_item(source(ground[10:400, 10:400]), item, valid, LOST)))
    assert before.mean() > 20
    assert after.max() < 20


def test_clear_place_is_chosen_and_ground_keeps_its_contrast_beside_cloud(
    ground: NDArray[np.float32],
) -> None:
    cloudy = ground[13:403, 8:398].copy()
    cloud = np.zeros(cloudy.shape, bool)
    cloud[:, :220] = True
    cloudy[cloud] = 20_000
    item = source(cloudy, ~cloud)
    evidence = picture_item(source(ground[10:400, 10:400]), item, np.ones_like(cloud), FOUND)
    assert evidence.chips is not None
    assert evidence.chips.x > 215
    rows, cols = evidence.overview
    overview = _decoded(evidence)[CHIP : CHIP + rows, :cols].astype(float)
    assert overview[:, cols * 2 // 3 :].std() > 40


@pytest.mark.parametrize("shape", [(30, 40), (97, 2000), (1, 1)])
def test_any_shape_is_shown_within_its_bounds(shape: tuple[int, int]) -> None:
    values = np.full(shape, np.nan, np.float32)
    values[0, 0] = 5
    own = source(values, np.isfinite(values))
    evidence = picture_item(own, own, own.usable, LOST)
    assert max(evidence.overview) <= OVERVIEW
    assert _decoded(evidence).shape == (CHIP + evidence.overview[0], 3 * CHIP)
    assert picture_alone(own, own.usable).chips is None


@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_values_changes_no_picture(ground: NDArray[np.float32], unit: float) -> None:
    own, other = (source((scale * ground[:390, :390]).astype(np.float32)) for scale in (1.0, unit))
    first, second = (_decoded(picture_item(one, one, one.usable, FOUND)) for one in (own, other))
    assert np.abs(first.astype(int) - second).max() <= 4
    flat = source(np.full((390, 390), unit, np.float32))
    assert _decoded(picture_item(flat, flat, flat.usable, LOST)).max() < 20


def test_pictures_stay_small() -> None:
    scene = shifted_scene((480, 480), Shift(0.0, 0.0))
    own = source(scene.values[0].astype(np.float32))
    assert len(picture_item(own, own, own.usable, FOUND).picture) < 13_000
