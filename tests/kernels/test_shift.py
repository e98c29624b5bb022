"""The shift estimator keeps its promises: sign, accuracy, masks, sigma, and refusal."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift, gaussian_filter, map_coordinates

from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.model import NO_SHIFT, Shift, ShiftEstimate
from coregstack.testing import sample_stack

Image = NDArray[np.float32]


def fractal(shape: tuple[int, int], seed: int, slope: float = 2.4) -> Image:
    """Texture of power spectrum ``frequency**-slope`` that repeats at its edges, mean 0, deviation 1."""
    radius = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    radius[0, 0] = np.inf
    noise = np.random.default_rng(seed).standard_normal(shape)
    field = np.fft.irfft2(np.fft.rfft2(noise) * radius ** (-slope / 2), shape)
    return (field / field.std()).astype(np.float32)


def block_mean(image: Image, factor: int) -> Image:
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
    return blocks.mean(axis=(1, 3))


def known_pair(
    seed: int = 0, size: int = 200, offset: tuple[int, int] = (5, -7)
) -> tuple[Image, Image, Shift]:
    """Anchor, item and shift: block means of four times finer texture, cut at whole fine pixels."""
    fine = fractal((4 * size + 160, 4 * size + 160), seed)
    dy, dx = offset
    anchor = block_mean(fine[80 : 80 + 4 * size, 80 : 80 + 4 * size], 4)
    item = block_mean(fine[80 + dy : 80 + dy + 4 * size, 80 + dx : 80 + dx + 4 * size], 4)
    return anchor, item, Shift(dy / 4, dx / 4)


def source(
    image: NDArray[np.generic], usable: NDArray[np.bool_] | None = None, origin: Shift = NO_SHIFT
) -> ArraySource:
    values = image if image.ndim == 3 else image[None]
    return ArraySource(
        values=values, usable=np.ones(values.shape[1:], bool) if usable is None else usable, origin=origin
    )


def estimate(
    anchor: NDArray[np.generic],
    item: NDArray[np.generic],
    *,
    usable: NDArray[np.bool_] | None = None,
    anchor_usable: NDArray[np.bool_] | None = None,
    origin: Shift = NO_SHIFT,
    max_shift: float | None = None,
) -> ShiftEstimate:
    return estimate_shift(
        prepare_anchor(source(anchor, anchor_usable)), source(item, usable, origin), max_shift=max_shift
    )


def off(found: ShiftEstimate, truth: tuple[float, float]) -> float:
    """Length of the error, px."""
    assert found.shift is not None, found.reason
    return float(np.hypot(found.shift.y - truth[0], found.shift.x - truth[1]))


def cloudy(item: Image, share: float, seed: int) -> tuple[Image, NDArray[np.bool_]]:
    """The item under bright clouds of their own texture, and the clear-mask."""
    form = fractal(item.shape, seed, 3.4)
    clear = form < np.quantile(form, 1 - share)
    return np.where(clear, item, 6 + 0.8 * fractal(item.shape, seed + 1, 2.8)).astype(np.float32), clear


# ------------------------------------------------------------------ accuracy


@pytest.mark.parametrize("offset", [(0, 0), (1, 2), (5, -7), (-14, 3), (30, 22)])
def test_block_means_are_found_to_a_few_thousandths(offset: tuple[int, int]) -> None:
    anchor, item, truth = known_pair(seed=sum(offset) + 50, offset=offset)
    assert off(estimate(anchor, item), truth) < 0.008


@pytest.mark.parametrize("shift", [(0.3, -0.45), (-2.71, 1.13), (11.5, -9.5)])
def test_sign_and_size_against_a_fourier_shift(shift: tuple[float, float]) -> None:
    texture = gaussian_filter(fractal((160, 160), 3), 1, mode="wrap")
    moved = np.fft.ifftn(fourier_shift(np.fft.fftn(texture), [-s for s in shift])).real
    assert off(estimate(texture, moved.astype(np.float32)), shift) < 0.004


def test_sign_is_that_of_scikit_image() -> None:
    from skimage.registration import phase_cross_correlation

    anchor, item, _ = known_pair(offset=(24, -36))
    taper = np.outer(np.hanning(len(anchor)), np.hanning(len(anchor)))
    theirs, *_ = phase_cross_correlation(anchor * taper, item * taper, upsample_factor=20)
    assert off(estimate(anchor, item), tuple(theirs)) < 0.2


def test_swapping_anchor_and_item_negates_the_shift() -> None:
    anchor, item, _ = known_pair(offset=(9, -6))
    forth, back = estimate(anchor, item), estimate(item, anchor)
    assert forth.shift is not None
    assert off(back, (-forth.shift.y, -forth.shift.x)) < 0.004


@pytest.mark.parametrize(("gain", "level"), [(1.7, 300.0), (-0.8, 4000.0), (0.01, 0.0), (-250.0, 1e5)])
def test_gain_of_either_sign_and_offset_change_nothing(gain: float, level: float) -> None:
    anchor, item, truth = known_pair()
    plain = estimate(anchor, item).shift
    assert plain is not None
    assert off(estimate(anchor, gain * item + level), plain) < 2e-3
    assert off(estimate(anchor, gain * item + level), truth) < 0.006


def test_gain_that_differs_in_sign_from_field_to_field() -> None:
    anchor, item, truth = known_pair(size=256)
    gain = np.where(fractal(item.shape, 8, 4) > 0, 1.3, -0.9)
    assert off(estimate(anchor, (gain * item).astype(np.float32)), truth) < 0.02


@pytest.mark.parametrize(("noise", "limit"), [(0.05, 0.012), (0.2, 0.04)])
def test_noise(noise: float, limit: float) -> None:
    anchor, item, truth = known_pair()
    rng = np.random.default_rng(5)
    anchor, item = (i + noise * rng.standard_normal(i.shape).astype(np.float32) for i in (anchor, item))
    assert off(estimate(anchor, item), truth) < limit


def test_large_shift_is_found_from_overviews() -> None:
    anchor, item, truth = known_pair(size=420, offset=(60, -75))
    assert off(estimate(anchor, item), truth) < 0.006
    texture = fractal((900, 900), 4)
    assert off(estimate(texture[150:750, 150:750], texture[250:850, 40:640]), (100, -110)) < 0.002


def test_tiny_scene() -> None:
    anchor, item, truth = known_pair(size=64, offset=(6, -5))
    found = estimate(anchor, item)
    assert off(found, truth) < 0.05
    assert len(found.ties.y) > 1


# ------------------------------------------------------------------ masks and clouds


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
@pytest.mark.parametrize("masked", [True, False])
def test_clouds_with_and_without_their_mask(share: float, masked: bool) -> None:
    anchor, item, truth = known_pair(seed=7, size=256)
    item, clear = cloudy(item, share, seed=11)
    found = estimate(anchor, item, usable=clear if masked else None)
    assert off(found, truth) < (0.008 if masked else 0.03)


def test_what_is_masked_is_never_looked_at() -> None:
    anchor, item, _ = known_pair(size=256)
    usable = fractal(item.shape, 12, 3.4) < 0.5
    rng = np.random.default_rng(2)
    first = estimate(anchor, np.where(usable, item, 0), usable=usable)
    second = estimate(anchor, np.where(usable, item, 1e4 * rng.standard_normal(item.shape)), usable=usable)
    third = estimate(anchor, np.where(usable, item, np.nan), usable=np.ones_like(usable))
    assert first.shift is not None
    assert first.shift == second.shift == third.shift


def test_pixels_that_are_not_finite_are_not_usable() -> None:
    anchor, item, truth = known_pair()
    item = item.copy()
    item[40:90, 30:120] = np.nan
    item[::17] = np.inf
    assert off(estimate(anchor, item), truth) < 0.02


def test_static_edge_of_the_valid_area_does_not_pull_to_zero() -> None:
    anchor, item, truth = known_pair(size=256, offset=(14, 9))
    y, x = np.mgrid[0:256, 0:256]
    valid = (y + 0.4 * x > 80) & (y + 0.4 * x < 290)
    found = estimate(
        np.where(valid, anchor, -20), np.where(valid, item, -20), usable=valid, anchor_usable=valid
    )
    assert off(found, truth) < 0.01


def test_scan_line_gaps() -> None:
    anchor, item, truth = known_pair(size=256)
    y, x = np.mgrid[0:256, 0:256]
    valid = (y + 0.14 * x) % 15 >= 3
    assert off(estimate(anchor, np.where(valid, item, 0), usable=valid), truth) < 0.04


def test_fields_of_furrows_that_run_one_way() -> None:
    """The surface of lags is a ridge there, from which the peak stands out little."""
    stack = sample_stack(6, (256, 256), seed=16, max_shift=3, cloud_cover=0).compute()
    true = np.stack([stack.true_shift_y, stack.true_shift_x], axis=-1)
    anchor, *items = stack.values.astype(np.float32)
    for item, shift in zip(items, true[1:] - true[0], strict=True):
        found = estimate(anchor, item)
        assert found.shift is not None, found.reason
        np.testing.assert_allclose(found.shift, shift, atol=0.06)


def test_each_band_may_have_a_mask_of_its_own() -> None:
    anchor, item, truth = known_pair()
    usable = np.ones((2, *item.shape), bool)
    usable[0, :100] = False
    usable[1, :, :60] = False
    found = estimate(np.stack([anchor, -anchor]), np.stack([item, -item]), usable=usable)
    assert off(found, truth) < 0.01


# ------------------------------------------------------------------ frame


@settings(max_examples=15)
@given(
    dy=st.integers(-40, 40),
    dx=st.integers(-40, 40),
    top=st.integers(0, 40),
    left=st.integers(0, 40),
    height=st.integers(120, 200),
    width=st.integers(120, 200),
    phase=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)
def test_origin_extent_and_phase_are_not_part_of_the_shift(
    dy: int, dx: int, top: int, left: int, height: int, width: int, phase: tuple[float, float]
) -> None:
    ground = fractal((320, 320), 21)
    anchor = ground[60:240, 60:240]
    item = ground[60 + top : 60 + top + height, 60 + left : 60 + left + width]
    # Its true place is (top, left) in the frame; it claims to lie (dy, dx) further, and a phase.
    origin = Shift(top - dy / 4 + phase[0], left - dx / 4 + phase[1])
    found = estimate(anchor, item, origin=origin)
    assert off(found, (dy / 4 - phase[0], dx / 4 - phase[1])) < 0.003


def test_item_far_smaller_than_the_anchor() -> None:
    ground = fractal((1200, 1200), 22)
    found = estimate(ground, ground[700:860, 300:470], origin=Shift(697.5, 304.25))
    assert off(found, (2.5, -4.25)) < 0.003


def test_item_far_larger_than_the_anchor() -> None:
    ground = fractal((1200, 1200), 23)
    found = estimate(ground[700:860, 300:470], ground, origin=Shift(-702.5, -298.0))
    assert off(found, (2.5, -2.0)) < 0.003


def test_integer_pixels_and_read_only_arrays() -> None:
    anchor, item, truth = known_pair()
    scaled = [(2000 + 400 * image).astype(np.uint16) for image in (anchor, item)]
    for image in scaled:
        image.flags.writeable = False
    assert off(estimate(*scaled), truth) < 0.006


def test_same_input_gives_the_same_bits_and_a_pickled_anchor_too() -> None:
    anchor, item, _ = known_pair(size=300)
    prepared = prepare_anchor(source(anchor))
    first, second = (estimate_shift(prepared, source(item)) for _ in range(2))
    third = estimate_shift(pickle.loads(pickle.dumps(prepared)), source(item))
    assert first.shift == second.shift == third.shift
    assert first.sigma == second.sigma == third.sigma
    np.testing.assert_array_equal(first.ties.shift_y, third.ties.shift_y)


# ------------------------------------------------------------------ sigma, bands, ties


def test_errors_are_as_large_as_sigma_says() -> None:
    ratios = []
    for seed in range(16):
        anchor, item, truth = known_pair(seed=100 + seed, size=128, offset=(seed - 8, 3 * seed - 20))
        rng = np.random.default_rng(seed)
        level = 0.05 + 0.03 * (seed % 4)
        item = item + level * rng.standard_normal(item.shape).astype(np.float32)
        if seed % 2:
            item, _ = cloudy(item, 0.4, seed)
        found = estimate(anchor, item)
        assert found.shift is not None
        assert found.sigma is not None
        ratios.append([(found.shift.y - truth.y) / found.sigma.y, (found.shift.x - truth.x) / found.sigma.x])
    assert 0.6 < np.sqrt(np.mean(np.square(ratios))) < 1.6


def test_bands_that_disagree_widen_sigma_and_are_named() -> None:
    anchor, item, truth = known_pair(size=256)
    others = [known_pair(size=256, offset=offset)[1] for offset in ((7, -7), (9, -7))]
    agreed = estimate(np.stack([anchor] * 2), np.stack([item] * 2))
    apart, far = (estimate(np.stack([anchor] * 2), np.stack([item, other])) for other in others)
    assert off(agreed, truth) < 0.006
    assert agreed.reason == ""
    assert "shift of band 2 differs" in apart.reason
    assert apart.sigma is not None
    assert agreed.sigma is not None
    assert apart.sigma.y > 0.2 > 0.01 > agreed.sigma.y
    assert far.shift is None
    assert "too uncertain" in far.reason
    assert "shift of band 2 differs" in far.reason


def test_bands_of_one_texture_have_one_vote_together() -> None:
    anchor, item, _ = known_pair(size=256)
    other, moved, _ = known_pair(size=256, seed=9, offset=(6, -7))
    single = estimate(np.stack([anchor, other]), np.stack([item, moved]))
    double = estimate(np.stack([anchor, other, anchor]), np.stack([item, moved, item]))
    assert single.shift is not None
    assert double.shift is not None
    assert np.hypot(double.shift.y - single.shift.y, double.shift.x - single.shift.x) < 0.03


def test_a_band_without_texture_does_no_harm() -> None:
    anchor, item, truth = known_pair()
    rng = np.random.default_rng(0)
    noise = [rng.standard_normal(anchor.shape).astype(np.float32) for _ in range(2)]
    found = estimate(np.stack([noise[0], anchor]), np.stack([noise[1], item]))
    assert off(found, truth) < 0.006
    assert set(found.ties.band) == {1}


def test_ties_lie_in_the_anchor_and_carry_local_shifts() -> None:
    anchor, item, truth = known_pair(size=256)
    item, _ = cloudy(item, 0.4, 3)
    ties = estimate(anchor, item).ties
    assert ties.inlier.any()
    assert np.all((ties.y >= 0) & (ties.y < 256) & (ties.x >= 0) & (ties.x < 256))
    assert np.all((ties.weight >= 0) & (ties.weight <= 1))
    trusted = ties.weight > 0.5
    assert np.median(np.abs(ties.shift_y[trusted] - truth.y)) < 0.02
    assert len({len(getattr(ties, name)) for name in ties.__slots__}) == 1


# ------------------------------------------------------------------ refusal


def wedge() -> NDArray[np.bool_]:
    y, x = np.mgrid[0:200, 0:200]
    return (y + 0.4 * x > 60) & (y + 0.4 * x < 230)


def refusals() -> dict[str, tuple[ShiftEstimate, str]]:
    anchor, _, _ = known_pair()
    other = fractal(anchor.shape, 77)
    overcast = 8 + fractal(anchor.shape, 78, 2.8)
    y, x = np.mgrid[0:200, 0:200]
    periodic = [np.sin(2 * np.pi * (y + s) / 9) * np.sin(2 * np.pi * (x - s) / 9) for s in (0, 2)]
    nothing = np.zeros(anchor.shape, bool)
    half = x < 100
    waves = [0.01 * fractal(anchor.shape, seed, 1.5) for seed in (80, 81)]
    return {
        "full cloud, masked": (estimate(anchor, overcast, usable=nothing), "no usable texture"),
        "full cloud, no mask": (estimate(anchor, overcast), "no common texture"),
        "another place": (estimate(anchor, other), "no common texture"),
        "water only": (estimate(*waves), "no common texture"),
        "flat": (estimate(anchor, np.full_like(anchor, 3)), "no usable texture"),
        "nodata edge": (
            estimate(
                np.where(wedge(), anchor, -9),
                np.where(wedge(), overcast, -9),
                usable=wedge(),
                anchor_usable=wedge(),
            ),
            "no common texture",
        ),
        "repeats itself": (estimate(*periodic), ""),
        "clear in none": (estimate(anchor, anchor, usable=half, anchor_usable=~half), ""),
        "no overlap": (estimate(anchor, anchor, origin=Shift(500, 0)), "overlap"),
        "sliver": (estimate(anchor, anchor, origin=Shift(190, 0)), "overlap"),
    }


def test_what_cannot_be_known_is_refused_with_the_reason() -> None:
    for name, (found, words) in refusals().items():
        assert found.shift is None, name
        assert found.sigma is None, name
        assert found.reason, name
        assert words in found.reason, (name, found.reason)


def test_halves_that_moved_apart_are_refused_or_very_unsure() -> None:
    anchor, item, _ = known_pair(size=256)
    _, other, _ = known_pair(size=256, offset=(5, 5))
    torn = np.where(np.arange(256) < 128, item, other)
    found = estimate(anchor, torn)
    assert found.shift is None or (found.sigma is not None and found.sigma.x > 0.3)


@pytest.mark.parametrize("unit", [1e-12, 1e-7, 1e9])
def test_the_unit_of_the_values_changes_nothing(unit: float) -> None:
    anchor, item, shift = known_pair(size=128)
    found = estimate((unit * anchor).astype(np.float32), (unit * item).astype(np.float32))
    assert found.shift == pytest.approx(shift, abs=0.005)
    assert found.sigma == pytest.approx(estimate(anchor, item).sigma, rel=1e-3)


@pytest.mark.parametrize("contrast", [1.0, 0.3])
@pytest.mark.parametrize("offset", [(7, -7), (2, -7)])
def test_sigma_and_spread_are_those_of_the_mean_where_parts_lie_apart(
    offset: tuple[int, int], contrast: float
) -> None:
    anchor, item, shift = known_pair(size=160, offset=(5, -7))
    _, other, apart = known_pair(size=160, offset=offset)
    right = np.arange(160) >= 90
    gain = np.where(right, contrast, 1.0).astype(np.float32)
    found = estimate(gain * (anchor - anchor.mean()), gain * (np.where(right, other, item) - anchor.mean()))
    assert found.shift is not None, found.reason
    assert found.sigma is not None
    truth = shift.y + right.mean() * (apart.y - shift.y)
    assert abs(found.shift.y - truth) < 2 * found.sigma.y
    assert found.sigma.y < abs(apart.y - shift.y)
    # about the mean, not about the shift, which lies off it by nearly as much
    assert found.spread == pytest.approx(right.std() * abs(apart.y - shift.y), rel=0.12)


@pytest.mark.parametrize(("seed", "rms"), [(6, 1.3), (2, 2.0)])
def test_sigma_holds_the_mean_where_parts_lie_further_apart_than_a_step_reaches(
    seed: int, rms: float
) -> None:
    bent = gaussian_filter(np.random.default_rng(seed).normal(size=(160, 160)), 14)
    bent = rms * (bent - bent.mean()) / bent.std()
    at = (np.arange(640) + 0.5) / 4 - 0.5
    rows, cols = np.meshgrid(at, at, indexing="ij")
    rows = rows - map_coordinates(bent, [rows, cols], order=1, mode="nearest")
    fine = fractal((800, 800), seed)
    seen = map_coordinates(fine, [4 * rows + 81.5, 4 * cols + 81.5], order=3)
    found = estimate(block_mean(seen, 4), block_mean(fine[80:720, 80:720], 4))
    assert found.shift is not None, found.reason
    assert found.sigma is not None
    assert abs(found.shift.y) < 3 * found.sigma.y


def mixed(distance: tuple[int, int]) -> tuple[Image, Image, Shift]:
    """A pair in which half of the fields reverse their contrast and lie `distance` quarter pixels off the others."""
    anchor, item, truth = known_pair(seed=4, size=256)
    _, other, _ = known_pair(seed=4, size=256, offset=(5 + distance[0], -7 + distance[1]))
    field = np.arange(256) // 24
    return anchor, np.where((field[:, None] + field) % 2, item, -other).astype(np.float32), truth


def test_kept_and_reversed_contrast_have_to_mean_one_shift() -> None:
    anchor, item, truth = mixed((0, 0))
    assert off(estimate(anchor, item), truth) < 0.02
    anchor, item, _ = mixed((3, 0))
    found = estimate(anchor, item)
    assert found.shift is None
    assert "reversed" in found.reason


def test_shift_beyond_the_largest_believed_is_refused_by_name() -> None:
    anchor, item, truth = known_pair(offset=(30, 22))
    found = estimate(anchor, item, max_shift=5)
    assert found.shift is None
    assert "max_shift" in found.reason
    assert "x +5.5, y +7.5 px" in found.reason
    assert off(estimate(anchor, item, max_shift=8), truth) < 0.006


def test_larger_max_shift_than_a_quarter_is_searched() -> None:
    texture = fractal((420, 420), 31)
    anchor, item = texture[:256, :256], texture[100:356, 20:276]
    assert estimate(anchor, item).shift is None
    assert off(estimate(anchor, item, max_shift=110), (100, 20)) < 0.002


# ------------------------------------------------------------------ real scenes


def test_real_scene(data_dir: Path) -> None:
    import rasterio

    with rasterio.open(data_dir / "naip_nd_5m" / "naip_20160816.tif") as dataset:
        fine = dataset.read(1).astype(np.float32)
    anchor, item = block_mean(fine[6:690, 6:900], 3), block_mean(fine[10:694, 4:898], 3)
    assert off(estimate(anchor, item), (4 / 3, -2 / 3)) < 0.006


def test_years_apart_cut_at_whole_pixels(data_dir: Path) -> None:
    import rasterio

    scenes = []
    for date in ("20140720", "20180716"):
        with rasterio.open(data_dir / "naip_nd_5m" / f"naip_{date}.tif") as dataset:
            scenes.append(dataset.read(1))
    anchor = scenes[0][100:612, 100:612]
    first = estimate(anchor, scenes[1][100:612, 100:612])
    second = estimate(anchor, scenes[1][113:625, 88:600])
    assert first.shift is not None
    assert off(second, (first.shift.y + 13, first.shift.x - 12)) < 0.06


def test_forest_whose_shadows_moved_is_refused(data_dir: Path) -> None:
    """Against a leafless spring day, the crowns of two summers match their own gaps, a pixel beside the roads."""
    import rasterio

    folder = data_dir / "s2_ndvi_slovenia_10m"
    images, clear = {}, {}
    for date in ("20170401T100022", "20160814T100604", "20170824T100022", "20171013T100012"):
        with rasterio.open(folder / f"s2_{date}_ndvi.tif") as dataset:
            images[date] = dataset.read(1)
        with rasterio.open(folder / f"s2_{date}_clm.tif") as dataset:
            clear[date] = (dataset.read(1) != 1) & (images[date] != -32768)
    anchor, *summer, autumn = images
    for date in summer:
        found = estimate(images[anchor], images[date], usable=clear[date], anchor_usable=clear[anchor])
        assert found.shift is None
        assert "reversed" in found.reason
    found = estimate(images[anchor], images[autumn], usable=clear[autumn], anchor_usable=clear[anchor])
    assert off(found, (-0.87, 0.2)) < 0.25
