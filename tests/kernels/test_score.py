"""What the matching score promises: its formula, the same pixels, no reward for blur, no dependence on strips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.metrics import structural_similarity

from coregstack.kernels.displacement import Spline, constant
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.sources import ArraySource
from coregstack.model import Displacement, Scores, Shift

NOWHERE = Shift(0.0, 0.0)


def scene(size: int = 160, seed: int = 0, finest: float = 1.5) -> np.ndarray:
    """Made ground: fields, texture, uint16-like values."""
    random = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(random.normal(size=(size, size)), s) for s in (finest, 8))
    return 3000 + 400 * fine / fine.std() + 700 * coarse / coarse.std()


def source(values: np.ndarray, usable: np.ndarray | None = None, origin: Shift = NOWHERE) -> ArraySource:
    usable = np.ones(values.shape, bool) if usable is None else usable
    return ArraySource(values=values[None], usable=usable, origin=origin)


def brought_to(anchor: np.ndarray, item: np.ndarray, joint: np.ndarray) -> np.ndarray:
    a, b = anchor[joint], item[joint]
    return (item - b.mean()) / b.std() * a.std() + a.mean()


def reference(anchor: np.ndarray, item: np.ndarray, value_range: float, joint: np.ndarray) -> float:
    """The score by the words of its definition, on scikit-image's map of local similarities."""
    anchor, item = (image.astype(np.float32).astype(float) for image in (anchor, item))
    item = brought_to(anchor, item, joint)
    _, local = structural_similarity(anchor, item, win_size=7, data_range=value_range, full=True)
    whole = ndimage.minimum_filter(joint, 7, mode="constant", cval=False)
    nrmse = np.sqrt(np.mean((anchor - item)[joint] ** 2)) / value_range
    return (np.clip(local[whole].mean(), 0, 1) + 1 - min(nrmse, 1)) / 2


@pytest.mark.parametrize("item", ["noisy", "other", "reversed", "same"])
def test_unmasked_score_agrees_with_scikit_image(item: str) -> None:
    anchor = scene()
    noise = np.random.default_rng(5).normal(size=anchor.shape)
    values = {
        "noisy": 0.6 * anchor + 100 + 150 * noise,
        "other": scene(seed=9),
        "reversed": -anchor,
        "same": anchor.copy(),
    }[item]
    value_range = anchor_range(source(anchor))
    scores = matching_scores(source(anchor), source(values), None, value_range=value_range)
    joint = np.ones(anchor.shape, bool)
    assert scores.before == pytest.approx(reference(anchor, values, value_range, joint), abs=1e-6)
    assert scores.after is None


def test_skimage_s_own_mean_is_the_similarity() -> None:
    anchor, item = scene(), scene() + np.random.default_rng(5).normal(size=(160, 160)) * 200
    anchor, item = anchor.astype(np.float32).astype(float), item.astype(np.float32).astype(float)
    value_range = anchor_range(source(anchor))
    near = brought_to(anchor, item, np.ones(anchor.shape, bool))
    similarity = structural_similarity(anchor, near, win_size=7, data_range=value_range)
    expected = (similarity + 1 - np.sqrt(np.mean((anchor - near) ** 2)) / value_range) / 2
    scores = matching_scores(source(anchor), source(item), None, value_range=value_range)
    assert scores.before == pytest.approx(expected, abs=1e-6)


def test_masked_score_uses_joint_pixels_and_whole_windows_only() -> None:
    random = np.random.default_rng(1)
    anchor, item = scene(), scene() + random.normal(size=(160, 160)) * 200
    clear = np.ones(anchor.shape, bool), np.ones(anchor.shape, bool)
    clear[0][20:60, 30:90] = False
    clear[1][random.random(anchor.shape) < 0.002] = False
    clouded = np.where(clear[1], item, 60000)
    value_range = anchor_range(source(anchor, clear[0]))
    scores = matching_scores(
        source(anchor, clear[0]), source(clouded, clear[1]), None, value_range=value_range
    )
    expected = reference(anchor, item, value_range, clear[0] & clear[1])
    assert scores.before == pytest.approx(expected, abs=1e-6)


def test_before_and_after_are_taken_on_the_same_pixels() -> None:
    whole = scene(200)
    anchor, item = whole[20:180, 20:180], whole[27:187, 15:175].copy()
    shift = Shift(7.0, -5.0)
    clear = np.ones(anchor.shape, bool)
    clear[50:70, 90:120] = False
    item[~clear] = 0
    value_range = anchor_range(source(anchor))
    scores = matching_scores(source(anchor), source(item, clear), shift, value_range=value_range)

    moved, moved_clear = (ndimage.shift(image, shift, order=0, cval=0) for image in (item, clear))
    joint = clear & moved_clear
    assert scores.before == pytest.approx(reference(anchor, item, value_range, joint), abs=1e-6)
    assert scores.after == pytest.approx(reference(anchor, moved, value_range, joint), abs=1e-6)
    assert scores.after == pytest.approx(1, abs=1e-9)


def test_a_sub_pixel_shift_is_found_better_with_its_right_sign_only() -> None:
    fine = scene(400, finest=4)
    anchor = fine.reshape(100, 4, 100, 4).mean((1, 3))[:96, :96]
    item = fine[2:398, 1:397].reshape(99, 4, 99, 4).mean((1, 3))[:96, :96]
    value_range = anchor_range(source(anchor))
    right, wrong = (
        matching_scores(source(anchor), source(item), shift, value_range=value_range)
        for shift in (Shift(0.5, 0.25), Shift(-0.5, -0.25))
    )
    assert right.after > right.before + 0.02
    assert wrong.after < wrong.before


def test_origin_places_the_item() -> None:
    whole = scene(200)
    anchor = source(whole[20:180, 20:180])
    value_range = anchor_range(anchor)
    item = source(whole[27:187, 15:175], origin=Shift(7.0, -5.0))
    assert matching_scores(anchor, item, None, value_range=value_range).before == pytest.approx(1, abs=1e-9)
    late = source(whole[27:187, 15:175], origin=Shift(4.5, -5.0))
    moved = matching_scores(anchor, late, Shift(2.5, 0.0), value_range=value_range)
    assert moved.before < 0.9
    assert moved.after == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("phase", [Shift(0.5, 0.5), Shift(0.2, -0.4)])
@pytest.mark.parametrize("noise", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("masked", [False, True])
def test_blur_by_interpolation_is_no_improvement(phase: Shift, noise: float, masked: bool) -> None:
    ground = scene(256, finest=2.5)
    random = np.random.default_rng(int(100 * noise))
    clear = ndimage.gaussian_filter(random.normal(size=ground.shape), 5) < (0.03 if masked else 9)
    anchor, item = (
        source(ground + noise * ground.std() * random.normal(size=ground.shape), clear) for _ in range(2)
    )
    value_range = anchor_range(anchor)
    for part in (0.02, 0.1, 0.5, 1.0):
        shift = Shift(phase.y * part, phase.x * part)
        scores = matching_scores(anchor, item, shift, value_range=value_range)
        assert scores.after < scores.before + 0.001


def test_blur_is_no_improvement_on_real_scenes(data_dir: Path) -> None:
    with rasterio.open(data_dir / "l8_greenland_30m" / "LC80030172015001LGN00_B4.tif") as file:
        ground = file.read(1)[300:700, 300:700].astype(float)
    random = np.random.default_rng(0)
    anchor, item = (source(ground + 0.2 * ground.std() * random.normal(size=ground.shape)) for _ in range(2))
    value_range = anchor_range(anchor)
    for shift in (Shift(0.02, 0.02), Shift(0.25, 0.1), Shift(0.5, 0.5)):
        scores = matching_scores(anchor, item, shift, value_range=value_range)
        assert scores.after < scores.before + 0.001


@pytest.mark.parametrize("shift", [None, Shift(1.3, -2.6), Shift(-40.0, 17.5)])
def test_scores_do_not_depend_on_strips(shift: Shift | None) -> None:
    random = np.random.default_rng(3)
    clear = random.random((150, 120)) < 0.998
    anchor = source(scene(160)[:150, :120] / 1e4, clear)
    item = source((scene(160)[2:152, 5:125] + 100 * random.normal(size=(150, 120))) / 1e4, clear[::-1])
    value_range = anchor_range(anchor)
    whole = matching_scores(anchor, item, shift, value_range=value_range, strip=1000)
    for strip in (1, 5, 7, 64):
        scores = matching_scores(anchor, item, shift, value_range=value_range, strip=strip)
        assert scores.before == pytest.approx(whole.before, abs=1e-9)
        assert scores.after is None if shift is None else scores.after == pytest.approx(whole.after, abs=1e-9)


@given(
    rows=st.integers(1, 30),
    cols=st.integers(1, 30),
    shift=st.tuples(st.floats(-35, 35), st.floats(-35, 35)),
    share=st.sampled_from([0.0, 0.5, 0.98, 1.0]),
    values=st.sampled_from(["noise", "flat", "spike"]),
)
def test_scores_are_numbers_from_0_to_1_or_none(
    rows: int, cols: int, shift: tuple[float, float], share: float, values: str
) -> None:
    random = np.random.default_rng(rows + 31 * cols)
    images = {
        "noise": random.normal(size=(2, rows, cols)) * 1e3,
        "flat": np.full((2, rows, cols), 0.1),
        "spike": np.where(random.random((2, rows, cols)) < 0.01, 3e4, 7.0),
    }[values]
    anchor, item = (source(image, random.random((rows, cols)) < share) for image in images)
    scores = matching_scores(anchor, item, Shift(*shift), value_range=anchor_range(anchor))
    assert (scores.before is None) == (scores.after is None)
    if scores.before is not None and scores.after is not None:
        assert 0 <= scores.before <= 1
        assert 0 <= scores.after <= 1


def test_nothing_to_compare_is_no_score() -> None:
    ground = scene()
    nothing = Scores(before=None, after=None)
    clear, shift = source(ground), Shift(1.0, 1.0)
    covered = source(ground, np.zeros(ground.shape, bool))
    stripes = source(ground, np.broadcast_to(np.arange(160)[:, None] % 5 > 0, ground.shape))
    for item in (covered, stripes, source(ground, origin=Shift(0.0, 900.0))):
        assert matching_scores(clear, item, shift, value_range=100.0) == nothing
    assert matching_scores(clear, clear, Shift(400.0, 0.0), value_range=100.0) == nothing
    flat = source(np.full(ground.shape, 0.1))
    assert matching_scores(flat, clear, shift, value_range=anchor_range(flat)) == nothing


def test_a_constant_item_has_a_low_score() -> None:
    anchor = source(scene())
    scores = matching_scores(anchor, source(np.full((160, 160), 0.1)), None, value_range=anchor_range(anchor))
    assert scores.before is not None
    assert scores.before < 0.5


@pytest.mark.parametrize("size", [1, 2, 3, 49, 50, 51, 1000])
def test_range_is_numpy_s_percentiles(size: int) -> None:
    random = np.random.default_rng(size)
    values = np.concatenate([random.normal(size=size), -np.abs(random.normal(size=size)) * 1e-3]).astype(
        np.float32
    )
    usable = np.arange(values.size) < max(1, values.size - 3)
    expected = np.subtract(*np.percentile(values[usable].astype(float), [98, 2]))
    assert anchor_range(source(values[None], usable[None])) == pytest.approx(expected, rel=1e-12)


def test_range_of_many_rows_and_equal_values() -> None:
    values = np.random.default_rng(0).integers(0, 6, (1300, 40)).astype(np.float32)
    assert anchor_range(source(values)) == np.subtract(*np.percentile(values, [98, 2]))
    assert anchor_range(source(values, np.zeros(values.shape, bool))) == 0


def test_a_field_is_scored_as_a_shift_is() -> None:
    anchor = scene(finest=2.5)
    nodes = np.random.default_rng(3).normal(scale=0.8, size=(6, 6)).astype(np.float32)
    field = Displacement(origin=Shift(0.0, 0.0), step=32.0, y=nodes, x=-nodes.T, sigma=0 * nodes)
    # the item is the scene, displaced back by a few rounds of looking up what the field does where content came from
    rows, cols = np.mgrid[:160, :160].astype(float)
    y, x = rows.copy(), cols.copy()
    for _ in range(30):
        dy, dx = Spline.of(field).at_points(y, x)
        y, x = rows + dy, cols + dx
    item = ndimage.map_coordinates(anchor, [y, x], order=5, mode="nearest")
    a, b = source(anchor), source(item)
    value_range = anchor_range(a)
    by_field = matching_scores(a, b, field, value_range=value_range)
    by_shift = matching_scores(a, b, Shift(0.0, 0.0), value_range=value_range)
    assert by_field.before == pytest.approx(by_shift.before, abs=0.01)
    assert by_field.after > 0.99
    assert by_field.before < 0.97
    strips = matching_scores(a, b, field, value_range=value_range, strip=37)
    assert strips.before == pytest.approx(by_field.before, abs=1e-9)
    assert strips.after == pytest.approx(by_field.after, abs=1e-9)
    same = constant(Shift(0.25, -0.5))
    as_shift = matching_scores(a, b, Shift(0.25, -0.5), value_range=value_range)
    as_field = matching_scores(a, b, same, value_range=value_range)
    assert as_field.after == pytest.approx(as_shift.after, abs=1e-5)


def test_a_field_that_smooths_noise_gains_nothing() -> None:
    random = np.random.default_rng(8)
    anchor = scene() + random.normal(scale=150, size=(160, 160))
    item = scene() + random.normal(scale=150, size=(160, 160))
    nodes = random.normal(scale=0.02, size=(9, 9)).astype(np.float32)
    field = Displacement(origin=Shift(0.0, 0.0), step=20.0, y=nodes, x=nodes.T, sigma=0 * nodes)
    scores = matching_scores(source(anchor), source(item), field, value_range=anchor_range(source(anchor)))
    assert scores.after - scores.before < 0.001
