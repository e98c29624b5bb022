"""What a translation of pixels promises: the shift that was asked for, and no pixel made of nothing."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject
from scipy import ndimage

from coregstack.errors import InvalidRequest
from coregstack.kernels.resample import source_window, translate, translate_mask
from coregstack.model import Shift

INTERPOLATING = ["bilinear", "cubic", "lanczos", "allpass"]
TOLERANCE = {"bilinear": 0.004, "cubic": 0.004, "lanczos": 0.004, "allpass": 0.002}
KERNELS = ["nearest", *INTERPOLATING]
DTYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]


def texture(shape: tuple[int, int] = (160, 160), finest: float = 0.25) -> np.ndarray:
    """Periodic noise without frequencies above `finest` cycles a pixel, mean 0, standard deviation 1."""
    noise = np.fft.fft2(np.random.default_rng(4).normal(size=shape))
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(shape[0]), np.fft.fftfreq(shape[1]), indexing="ij"))
    image = np.fft.ifft2(np.where((radius > 0) & (radius < finest), noise, 0)).real
    return image / image.std()


def fourier_moved(image: np.ndarray, start: Shift) -> np.ndarray:
    """The oracle: a periodic image read from `start` on."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(image), (-start.y, -start.x))).real


def displacement(image: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """By how much periodic `moved` starts later than `image`: the slope of the phase of their spectra."""
    before, after = np.fft.fft2(image), np.fft.fft2(moved)
    axes = (2 * np.pi * np.fft.fftfreq(size) for size in image.shape)
    y, x = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    weight = np.abs(before).ravel()
    phase = np.angle(after * before.conj()).ravel()
    return np.linalg.lstsq(np.stack([y, x], axis=1) * weight[:, None], phase * weight, rcond=None)[0]


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("y", [-3.7, 0.1, 0.5, 0.9])
def test_a_ramp_is_moved_by_exactly_the_shift(kernel: str, y: float) -> None:
    rows, cols = np.mgrid[:60, :50].astype(float)
    moved = translate(3 * rows - 2 * cols, start=Shift(y, 0.3), shape=(60, 50), kernel=kernel)
    expected = 3 * (rows + y) - 2 * (cols + 0.3)
    inner = slice(12, -12)
    np.testing.assert_allclose(moved[inner, inner], expected[inner, inner], atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "finest", "tolerance"),
    [("bilinear", 0.05, 0.03), ("cubic", 0.1, 0.02), ("lanczos", 0.2, 0.06), ("allpass", 0.25, 0.01)],
)
@pytest.mark.parametrize("start", [Shift(0.1, 0.25), Shift(0.5, 0.75), Shift(2.9, -4.4)])
def test_band_limited_texture_agrees_with_the_fourier_shift(
    kernel: str, finest: float, tolerance: float, start: Shift
) -> None:
    image = texture(finest=finest)
    moved = translate(image, start=start, shape=image.shape, kernel=kernel)
    miss = (moved - fourier_moved(image, start))[16:-16, 16:-16]
    assert np.abs(miss).max() < tolerance * 4


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("asked", [0.05, 0.10, 0.125, 0.3, 0.5])
def test_texture_is_moved_by_the_shift_that_was_asked(kernel: str, asked: float) -> None:
    image = texture(finest=0.1)
    around = np.pad(image, 16, mode="wrap")
    moved = translate(around, start=Shift(16 + asked, 16 - asked), shape=image.shape, kernel=kernel)
    np.testing.assert_allclose(displacement(image, moved), (asked, -asked), atol=TOLERANCE[kernel])


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5, 0.75])
def test_allpass_keeps_the_power_of_noise_and_cubic_does_not(fraction: float) -> None:
    noise = np.random.default_rng(1).normal(size=(800, 800))
    power = {
        kernel: translate(noise, start=Shift(fraction, fraction), shape=(800, 800), kernel=kernel)[
            9:-9, 9:-9
        ].var()
        for kernel in ("allpass", "cubic")
    }
    whole = noise[9:-9, 9:-9].var()
    assert power["allpass"] == pytest.approx(whole, rel=2e-3)
    assert power["cubic"] < 0.93 * whole


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_pixels_are_copied(kernel: str, dtype: str) -> None:
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    values = np.random.default_rng(0).integers(0, 100, (2, 9, 11)).astype(dtype)
    values[0, 4, 5], values[1, 4, 5] = info.min, info.max
    moved = translate(values, start=Shift(2.0, -3.0), shape=(7, 14), kernel=kernel)
    assert moved.dtype == values.dtype
    np.testing.assert_array_equal(moved[:, :, 3:], values[:, 2:])
    np.testing.assert_array_equal(np.nan_to_num(moved[:, :, :3]), 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_rounded_and_saturates(dtype: str) -> None:
    info = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else np.finfo(dtype)
    step = np.repeat(np.array([[info.min] * 6 + [info.max] * 6], dtype), 6, axis=0)
    moved = translate(step, start=Shift(0.0, 0.3), shape=step.shape)
    assert moved.dtype == step.dtype
    assert np.isfinite(moved).all()
    if np.dtype(dtype).kind in "iu":
        assert (moved[:, 4] == info.min).all(), "the undershoot saturates"
        assert (moved[:, 6] == info.max).all(), "the overshoot saturates"
    small = translate(np.array([[0, 10, 20, 30, 40, 50]], dtype), start=Shift(0.0, 2.26), shape=(1, 1))
    assert small[0, 0] == pytest.approx(22.6 if np.dtype(dtype).kind == "f" else 23, abs=1e-5)


@pytest.mark.parametrize(
    ("nodata", "palette"),
    [(0.0, [1, 900]), (65535.0, [64000, 65534]), (7.0, [5, 6, 8, 9]), (7.0, [0, 6, 8, 40])],
)
@pytest.mark.parametrize("kernel", ["cubic", "lanczos", "allpass"])
def test_a_valid_pixel_never_becomes_nodata(nodata: float, palette: list[int], kernel: str) -> None:
    values = np.random.default_rng(2).choice(np.array(palette, np.uint16), (80, 80))
    start, shape = Shift(0.4, 0.6), (79, 79)
    kept = translate(values, start=start, shape=shape, kernel=kernel, nodata=nodata)
    free = translate(values, start=start, shape=shape, kernel=kernel)
    assert (kept != nodata).all()
    assert (free == nodata).any()
    assert (np.abs(kept.astype(int) - free)[free == nodata] == 1).all()
    np.testing.assert_array_equal(kept[free != nodata], free[free != nodata])


@pytest.mark.parametrize(("x", "expected"), [(0.4, 6), (0.5, 8), (0.6, 8)])
def test_a_pixel_that_would_be_nodata_moves_towards_its_unrounded_value(x: float, expected: int) -> None:
    values = np.array([[6, 8]], np.uint8)
    moved = translate(values, start=Shift(0.0, x), shape=(1, 1), kernel="bilinear", nodata=7)
    assert moved[0, 0] == expected


def test_a_float_that_would_be_nodata_moves_by_its_smallest_step() -> None:
    values = np.array([[-1.0, 1.0]], np.float32)
    moved = translate(values, start=Shift(0.0, 0.5), shape=(1, 1), kernel="bilinear", nodata=0)
    assert moved[0, 0] == np.nextafter(np.float32(0), np.float32(1))


@pytest.mark.parametrize("kernel", INTERPOLATING)
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_nodata_never_bleeds(kernel: str, dtype: str) -> None:
    values = np.full((60, 60), 1000, dtype)
    valid = np.ones(values.shape, bool)
    values[:, :20] = 9
    values[30, 40] = 9
    valid[45:, 45:] = False
    values[45:, 45:] = 50000
    if dtype == "float32":
        values[10:14, 30:50], values[20, 25] = np.nan, np.inf
    start = Shift(0.3, -0.4)
    moved = translate(values, start=start, shape=values.shape, kernel=kernel, valid=valid, nodata=9, fill=3)
    usable = translate_mask(valid & (values != 9) & np.isfinite(values), start=start, shape=values.shape)
    np.testing.assert_array_equal(moved == 3, ~usable)
    np.testing.assert_allclose(moved[usable], 1000, rtol=1e-6)


def test_nan_is_a_nodata_like_any_other() -> None:
    values = np.ones((20, 20), np.float32)
    values[5, 5] = np.nan
    moved = translate(values, start=Shift(0.25, 0.25), shape=(19, 19), nodata=np.nan)
    assert np.isnan(moved[5, 5])
    assert np.isnan(moved).sum() == 1


def test_an_output_far_outside_is_empty() -> None:
    values = np.ones((8, 8), np.int16)
    for start in (Shift(1e6, 0.5), Shift(-1e6, 0.5), Shift(0.5, 1e6), Shift(0.0, -1e6)):
        assert (translate(values, start=start, shape=(5, 6), nodata=-1) == -1).all()


def test_masks_move_by_nearest_with_halves_up() -> None:
    valid = np.zeros((5, 5), bool)
    valid[2, 2] = True
    assert np.argwhere(translate_mask(valid, start=Shift(0.5, -0.5), shape=(5, 5))).tolist() == [[1, 2]]
    assert np.argwhere(translate_mask(valid, start=Shift(0.49, -0.51), shape=(5, 5))).tolist() == [[2, 3]]
    classes = np.array([[1, 2, 3, 4]], np.uint8)
    assert translate(classes, start=Shift(0, 0.5), shape=(1, 4), kernel="nearest").tolist() == [[2, 3, 4, 0]]


@pytest.mark.parametrize(
    ("kernel", "method"), [("cubic", Resampling.cubic), ("bilinear", Resampling.bilinear)]
)
@pytest.mark.parametrize("start", [Shift(0.1, 0.37), Shift(-1.5, 2.75)])
def test_agrees_with_gdal(kernel: str, method: Resampling, start: Shift) -> None:
    values = (texture(finest=0.4) * 800 + 5000).astype(np.uint16)
    source, target = from_origin(5e5, 5e6, 3, 3), from_origin(5e5 + 3 * start.x, 5e6 - 3 * start.y, 3, 3)
    warped = np.zeros_like(values)
    with rasterio.Env():
        reproject(
            values,
            warped,
            src_transform=source,
            dst_transform=target,
            src_crs="EPSG:32633",
            dst_crs="EPSG:32633",
            resampling=method,
        )
    moved = translate(values, start=start, shape=values.shape, kernel=kernel)
    inner = slice(6, -6)
    assert np.abs(moved[inner, inner].astype(int) - warped[inner, inner]).max() <= 1


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    start=st.tuples(st.floats(-15, 45), st.floats(-15, 45)),
    kernel=st.sampled_from(KERNELS),
    dtype=st.sampled_from(["uint16", "float32"]),
    cut=st.tuples(*[st.floats(0, 1)] * 4),
    holes=st.sampled_from([0.0, 0.02, 0.4]),
    seed=st.integers(0, 9),
)
def test_a_piece_is_bit_for_bit_the_same_piece_of_the_whole(
    size: tuple[int, int],
    shape: tuple[int, int],
    start: tuple[float, float],
    kernel: str,
    dtype: str,
    cut: tuple[float, float, float, float],
    holes: float,
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    values = random.integers(0, 3000, size).astype(dtype)
    valid = random.random(size) >= holes
    options = {"kernel": kernel, "nodata": 5.0}
    whole = translate(values, start=Shift(*start), shape=shape, valid=valid, **options)

    top, left = int(cut[0] * (shape[0] - 1)), int(cut[1] * (shape[1] - 1))
    piece = 1 + int(cut[2] * (shape[0] - top - 1)), 1 + int(cut[3] * (shape[1] - left - 1))
    here = Shift(start[0] + top, start[1] + left)
    rows, cols = source_window(here, piece, size, kernel)
    near = Shift(here.y - rows.start, here.x - cols.start)
    part = translate(values[rows, cols], start=near, shape=piece, valid=valid[rows, cols], **options)

    np.testing.assert_array_equal(part, whole[top : top + piece[0], left : left + piece[1]])
    usable = translate_mask(valid & (values != 5), start=Shift(*start), shape=shape)
    np.testing.assert_array_equal(whole != 5, usable)


def test_wide_images_are_the_same_in_pieces() -> None:
    random = np.random.default_rng(3)
    values = random.normal(size=(40, 1500)).astype(np.float32)
    valid = random.random(values.shape) < 0.999
    start = Shift(0.3, -2.7)
    whole = translate(values, start=start, shape=(40, 1500), valid=valid, kernel="lanczos")
    for left in range(0, 1500, 250):
        here = Shift(start.y, start.x + left)
        rows, cols = source_window(here, (40, 250), values.shape, "lanczos")
        near = Shift(here.y - rows.start, here.x - cols.start)
        part = translate(
            values[rows, cols], start=near, shape=(40, 250), valid=valid[rows, cols], kernel="lanczos"
        )
        np.testing.assert_array_equal(part, whole[:, left : left + 250])


def test_each_band_has_its_own_mask() -> None:
    values = np.full((2, 10, 10), 4, np.uint16)
    valid = np.ones(values.shape, bool)
    valid[1, :, :5] = False
    moved = translate(values, start=Shift(0.2, 0.2), shape=(9, 9), valid=valid)
    assert (moved[0] == 4).all()
    assert (moved[1, :, :5] == 0).all()
    assert (moved[1, :, 5:] == 4).all()


def test_any_memory_layout_and_byte_order_will_do() -> None:
    values = np.random.default_rng(0).integers(0, 999, (30, 30)).astype(np.uint16)
    expected = translate(values, start=Shift(0.2, 0.7), shape=(29, 29))
    frozen = values.copy()
    frozen.flags.writeable = False
    for other in (values.astype(">u2"), np.asfortranarray(values), frozen):
        np.testing.assert_array_equal(translate(other, start=Shift(0.2, 0.7), shape=(29, 29)), expected)


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (np.ones((3, 3), np.uint8), {"kernel": "spline"}, "kernel"),
        (np.ones((3, 3), bool), {"kernel": "cubic"}, "nearest"),
        (np.ones((3, 3), complex), {}, "complex128"),
        (np.ones(3, np.uint8), {}, "shape"),
        (np.ones((3, 3), np.uint8), {"fill": 300}, "uint8"),
        (np.ones((3, 3), np.uint8), {"fill": np.nan}, "fill"),
        (np.ones((3, 3), np.uint8), {"valid": np.ones((2, 3), bool)}, "mask"),
        (np.ones((3, 3), np.uint8), {"start": Shift(np.nan, 0.0)}, "finite"),
    ],
)
def test_what_cannot_be_done_is_said(values: np.ndarray, options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        translate(values, **{"start": Shift(0.5, 0.5), "shape": (3, 3), **options})
