"""What resampling at displaced positions promises: the field that was asked for, under the rules of a translation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from coregstack.errors import InvalidRequest
from coregstack.kernels._views import view
from coregstack.kernels.displaced import (
    bounds_of,
    displaced_bounds,
    displaced_positions,
    resample_at,
    resample_mask_at,
    window_at,
)
from coregstack.kernels.displacement import Spline, constant
from coregstack.kernels.moving import move_image, move_mask
from coregstack.kernels.resample import translate, translate_mask
from coregstack.kernels.sources import ArraySource
from coregstack.model import NO_SHIFT, Displacement, Shift

KERNELS = ["nearest", "bilinear", "cubic", "lanczos", "allpass"]
TABLE = 4e-6


def wavy(size: float = 0.8, step: float = 16.0, nodes: int = 9, seed: int = 3) -> Displacement:
    random = np.random.default_rng(seed)
    y, x = (random.normal(scale=size, size=(nodes, nodes)).astype(np.float32) for _ in "yx")
    return Displacement(origin=Shift(-7.0, 3.5), step=step, y=y, x=x, sigma=np.zeros_like(y))


def scene(rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """An analytic image, smooth enough for a cubic kernel."""
    return 500 + 100 * np.sin(rows / 5.0 + 0.3) * np.cos(cols / 6.0) + 2 * rows - cols


@pytest.mark.parametrize(("kernel", "miss"), [("bilinear", 0.9), ("cubic", 0.05), ("lanczos", 0.05)])
def test_an_analytic_image_is_moved_by_the_field(kernel: str, miss: float) -> None:
    field = wavy()
    moved = move_image(scene(*np.mgrid[:140, :130].astype(float)), field, kernel)
    dy, dx = Spline.of(field).on((0, 0, 140, 130))
    rows, cols = np.mgrid[:140, :130]
    inner = slice(8, -8)
    np.testing.assert_allclose(moved[inner, inner], scene(rows - dy, cols - dx)[inner, inner], atol=miss)


@pytest.mark.parametrize("kernel", ["bilinear", "cubic", "lanczos", "allpass"])
def test_a_ramp_is_read_exactly_at_any_position(kernel: str) -> None:
    random = np.random.default_rng(1)
    rows, cols = random.uniform(12, 40, (2, 30, 300))
    ramp = np.add.outer(3.0 * np.arange(60), -2.0 * np.arange(60))
    read = resample_at(ramp, rows, cols, kernel=kernel)
    np.testing.assert_allclose(read, 3 * rows - 2 * cols, atol=1e-5)


@pytest.mark.parametrize("order", [0, 1])
def test_agrees_with_scipy(order: int) -> None:
    values = np.random.default_rng(2).normal(size=(80, 90))
    rows, cols = displaced_positions(Spline.of(wavy()), (2, 2, 70, 80), NO_SHIFT)
    kernel = ("nearest", "bilinear")[order]
    read = resample_at(values, rows, cols, kernel=kernel)
    expected = ndimage.map_coordinates(values, [rows, cols], order=order, cval=np.nan)
    # scipy drops whatever lies beyond the outermost centres
    known = np.isfinite(expected)
    assert known.mean() > 0.9
    np.testing.assert_allclose(read[known], expected[known], atol=2e-5)


@pytest.mark.parametrize(
    ("kernel", "dtype"),
    # each kernel is compiled for each type, which takes longer than all else
    [*product(KERNELS, ["uint16", "float32"]), *product(["cubic"], ["uint8", "int32", "float64"])],
)
@pytest.mark.parametrize("shift", [Shift(0.3, -0.7), Shift(-2.0, 0.25), Shift(5.0, -3.0)])
def test_a_constant_displacement_is_the_translation(kernel: str, dtype: str, shift: Shift) -> None:
    random = np.random.default_rng(0)
    values = random.integers(1, 250, (60, 330)).astype(dtype)
    values[random.random(values.shape) < 0.03] = 7
    values[:20, :40] = 7
    shift = Shift(*(float(np.float32(s)) for s in shift))
    still = translate(
        values, start=Shift(-shift.y, -shift.x), shape=values.shape, kernel=kernel, nodata=7, fill=7
    )
    moved = move_image(values, constant(shift), kernel, nodata=7)
    if kernel in ("nearest", "bilinear", "cubic"):
        np.testing.assert_array_equal(moved, still)
    else:
        np.testing.assert_array_equal(moved == 7, still == 7)
        rounded = 0 if np.dtype(dtype).kind == "f" else 1
        np.testing.assert_allclose(moved.astype(float), still.astype(float), atol=250 * TABLE * 10 + rounded)


def test_masks_and_bands_follow_the_same_field() -> None:
    random = np.random.default_rng(4)
    valid = random.random((70, 80)) > 0.2
    field = wavy()
    rows, cols = displaced_positions(Spline.of(field), (0, 0, 70, 80), NO_SHIFT)
    moved = move_mask(valid, field)
    near = np.floor(rows + 0.5).astype(int), np.floor(cols + 0.5).astype(int)
    inside = (near[0] >= 0) & (near[0] < 70) & (near[1] >= 0) & (near[1] < 80)
    expected = np.where(inside, valid[near[0].clip(0, 69), near[1].clip(0, 79)], False)
    np.testing.assert_array_equal(moved, expected)
    values = np.where(valid, np.array([[[100]], [[40]]]), 9).astype(np.uint16)
    image = move_image(values, field, nodata=9)
    np.testing.assert_array_equal(image, np.where(expected, np.array([[[100]], [[40]]]), 9))


def test_bands_with_gaps_of_their_own_are_moved_as_each_alone() -> None:
    random = np.random.default_rng(6)
    values = random.integers(0, 3000, (3, 70, 300)).astype(np.uint16)
    values[1, 20:40, 100:190] = 9
    values[2][random.random((70, 300)) < 0.1] = 9
    together = move_image(values, wavy(), nodata=9)
    for band, alone in zip(together, values, strict=True):
        np.testing.assert_array_equal(band, move_image(alone, wavy(), nodata=9))


def test_nodata_never_comes_of_rounding_and_integers_saturate() -> None:
    random = np.random.default_rng(5)
    values = random.choice(np.array([0, 6, 8, 40, 255], np.uint8), (90, 90))
    rows, cols = displaced_positions(Spline.of(wavy()), (6, 6, 70, 70), NO_SHIFT)
    kept = resample_at(values, rows, cols, nodata=7)
    free = resample_at(values, rows, cols)
    assert (kept != 7).all()
    assert (free == 7).any()
    assert (free == 255).any()
    np.testing.assert_array_equal(kept[free != 7], free[free != 7])
    assert (np.abs(kept.astype(int) - free)[free == 7] == 1).all()


def test_positions_that_are_nowhere_are_empty() -> None:
    values = np.ones((8, 8), np.float32)
    rows = np.array([[3.0, np.nan, np.inf, -1e30, 3.0, 1e12]])
    for kernel in KERNELS:
        read = resample_at(values, rows, np.full((1, 6), 4.0), kernel=kernel, fill=-1)
        np.testing.assert_allclose(read, [[1, -1, -1, -1, 1, -1]])


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 60), st.integers(1, 90)),
    area=st.tuples(st.integers(-9, 30), st.integers(-9, 30), st.integers(1, 50), st.integers(1, 90)),
    kernel=st.sampled_from(KERNELS),
    dtype=st.sampled_from(["uint16", "float32"]),
    scale=st.sampled_from([1.0, 2.3]),
    bend=st.sampled_from([0.0, 0.5, 4.0]),
    cut=st.tuples(*[st.floats(0, 1)] * 4),
    holes=st.sampled_from([0.0, 0.02, 0.4]),
    seed=st.integers(0, 9),
)
def test_a_piece_is_bit_for_bit_the_same_piece_of_the_whole(
    size: tuple[int, int],
    area: tuple[int, int, int, int],
    kernel: str,
    dtype: str,
    scale: float,
    bend: float,
    cut: tuple[float, float, float, float],
    holes: float,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 3000, size).astype(dtype)
    valid = random.random(size) >= holes
    spline, stretch = Spline.of(wavy(bend, seed=seed)), Shift(scale, scale)
    options = {"kernel": kernel, "nodata": 5.0, "scale": stretch}
    origin = Shift(0.25, -0.4)
    rows, cols = displaced_positions(spline, area, origin)
    whole = resample_at(values, rows, cols, valid=valid, **options)

    top, left = int(cut[0] * (area[2] - 1)), int(cut[1] * (area[3] - 1))
    piece = 1 + int(cut[2] * (area[2] - top - 1)), 1 + int(cut[3] * (area[3] - left - 1))
    part = area[0] + top, area[1] + left, *piece
    bounds = displaced_bounds(spline, part, origin)
    y, x = displaced_positions(spline, part, origin)
    for found in zip(*bounds_of(y, x), *bounds, strict=True):
        assert found[2] <= found[0] <= found[1] <= found[3]
    window = window_at(bounds, size, kernel, stretch)
    expected = whole[top : top + piece[0], left : left + piece[1]]
    if 0 in values[window].shape:
        assert (expected == 5).all()
        return
    y, x = y - window[0].start, x - window[1].start
    read = resample_at(values[window], y, x, valid=valid[window], **options)
    np.testing.assert_array_equal(read, expected)
    usable = resample_mask_at(valid & (values != 5), rows, cols)
    np.testing.assert_array_equal(whole != 5, usable)


@pytest.mark.parametrize("kernel", ["bilinear", "cubic", "lanczos"])
def test_finer_pixels_are_averaged_and_not_sampled(kernel: str) -> None:
    stripes = np.tile(np.array([0.0, 100.0], np.float32), (160, 80))
    rows, cols = np.mgrid[8:36, 8:36] * 4.0 + 1.5
    sampled = resample_at(stripes, rows, cols + 0.5, kernel=kernel)
    averaged = resample_at(stripes, rows, cols + 0.5, kernel=kernel, scale=Shift(4.0, 4.0))
    assert np.abs(sampled - 50).max() > 40
    assert np.abs(averaged - 50).max() < 4


def test_what_cannot_be_done_is_said() -> None:
    with pytest.raises(InvalidRequest, match="one shape"):
        resample_at(np.ones((3, 3)), np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(InvalidRequest, match="kernel"):
        resample_at(np.ones((3, 3)), np.zeros((2, 2)), np.zeros((2, 2)), kernel="spline")


def test_masks_of_a_shift_are_those_of_a_translation() -> None:
    valid = np.random.default_rng(0).random((30, 40)) > 0.5
    shift = Shift(0.5, -1.5)
    still = translate_mask(valid, start=Shift(-0.5, 1.5), shape=valid.shape)
    np.testing.assert_array_equal(move_mask(valid, shift), still)
    np.testing.assert_array_equal(move_mask(valid, constant(shift)), still)


def test_two_passes_give_what_a_square_of_taps_gives() -> None:
    rng = np.random.default_rng(5)
    image = ndimage.gaussian_filter(rng.normal(size=(90, 110)), 1.2).astype(np.float32)
    image /= image.std()
    clear = ndimage.gaussian_filter(rng.normal(size=image.shape), 4) < 0.08
    nodes = [ndimage.gaussian_filter(rng.normal(size=(9, 9)), 2).astype(np.float32) * 3 for _ in "yx"]
    field = Displacement(origin=Shift(0.0, 0.0), step=14.0, y=nodes[0], x=nodes[1], sigma=abs(nodes[0]))
    source = ArraySource(values=image[None], usable=clear)
    for usable, most in ((np.ones_like(clear), 1e-3), (clear, 8e-3)):
        rows, cols = displaced_positions(Spline.of(field), (0, 0, *image.shape), Shift(0.0, 0.0))
        square = resample_at(image, rows, cols, kernel="allpass", valid=usable, fill=np.nan)
        found = np.empty_like(image)
        view(source, source, field).fill(image, usable, (0, 0), (0, 0, *image.shape), found)
        assert np.count_nonzero(np.isnan(found) != np.isnan(square)) <= 2
        away = np.abs(found - square)[~(np.isnan(found) | np.isnan(square))]
        # near what is missing the taps that are left are shared out along one axis after the other
        assert np.quantile(away, 0.9) < most
        assert np.sqrt(np.square(away).mean()) < 4 * most
