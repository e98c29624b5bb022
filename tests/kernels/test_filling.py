"""One value that fills the same region of both scenes holds no shift, whatever it is; what moves with a scene stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from coregstack.kernels.filling import shared_filling
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.filled import without_filling
from coregstack.model import Shift
from coregstack.testing import sample_stack

SIDE = 200


@pytest.fixture(scope="module")
def scene() -> NDArray[np.float32]:
    return sample_stack(1, shape=(SIDE + 20, SIDE + 20)).compute().values[0, 0].astype(np.float32)


def source(image: NDArray[np.float32]) -> ArraySource:
    return ArraySource(values=image[None], usable=np.ones(image.shape, bool))


Y, X = np.mgrid[:SIDE, :SIDE]
FORMS = {
    "disc": (Y - 100) ** 2 + (X - 90) ** 2 < 80**2,
    "frame": (Y > 6) & (Y < 190) & (X > 8) & (X < 195),
    "askew": (Y + 0.6 * X > 80) & (Y - 0.4 * X < 130),
    "holes": ((Y - 100) ** 2 + (X - 110) ** 2 > 20**2) & ((Y - 40) ** 2 + (X - 60) ** 2 > 16**2),
}


def moved(scene: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The scene, and the scene whose shift is (2, -3)."""
    return [scene[10 : 10 + SIDE, 10 : 10 + SIDE], scene[12 : 12 + SIDE, 7 : 7 + SIDE]]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [0, -9999])
def test_what_fills_both_alike_holds_no_shift(scene: NDArray[np.float32], form: str, value: float) -> None:
    pair = without_filling(*(source(np.where(FORMS[form], part, value)) for part in moved(scene)))
    assert f"hold {value} in the anchor and the item alike" in pair.remark
    assert not pair.item.usable[~FORMS[form]].any()
    found = estimate_shift(prepare_anchor(pair.anchor), pair.item)
    assert found.shift is not None
    assert np.hypot(found.shift.y - 2, found.shift.x + 3) < 0.02


def test_water_of_one_value_that_moved_with_its_scene_is_left_alone(scene: NDArray[np.float32]) -> None:
    level = np.quantile(scene, 0.4)
    assert shared_filling(*(source(np.maximum(part, level)) for part in moved(scene))) is None


def test_another_value_or_another_place_is_no_filling_of_both(scene: NDArray[np.float32]) -> None:
    first, second = moved(scene)
    one = source(np.where(FORMS["disc"], first, 0))
    assert shared_filling(one, source(np.where(FORMS["disc"], second, -1))) is None
    assert shared_filling(one, source(np.where(np.roll(FORMS["disc"], 9, axis=0), second, 0))) is None
    assert shared_filling(one, source(second)) is None


def test_items_on_another_part_of_the_frame_are_met_where_they_lie(scene: NDArray[np.float32]) -> None:
    first, second = (np.where(FORMS["disc"], part, 0).astype(np.float32) for part in moved(scene))
    part = replace(source(second[20:, 30:]), origin=Shift(20, 30))
    found = shared_filling(source(first), part)
    assert found is not None
    np.testing.assert_array_equal(found.item, found.anchor[20:, 30:])


def test_a_scene_of_one_value_is_no_filling() -> None:
    flat = source(np.zeros((SIDE, SIDE), np.float32))
    assert shared_filling(flat, flat) is None
