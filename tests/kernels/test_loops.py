"""Compiled loops against plain ones: what they do at once, they do as one at a time would."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from coregstack.kernels._blocks import block_sums, block_weights
from coregstack.kernels._steps import _weighted_median
from coregstack.kernels.correlation import Spectrum, Surface, local_agreement
from coregstack.kernels.gaps import RIM, eroded
from coregstack.kernels.lines import straighten
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.repeated import repeated
from coregstack.kernels.smoothing import halfway_taps, smooth_inside, smooth_into, smooth_taps
from coregstack.kernels.static import _match_at
from coregstack.kernels.unheld import _steps, _tapered

RNG = np.random.default_rng(4)
TAPS = np.stack([smooth_taps(at) for at in (0.2, -0.1, -0.2, 0.1)])


def windows(count: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Anchor, item and mask of some windows."""
    anchor = RNG.normal(size=(count, side, side)).cumsum(1).cumsum(2).astype(np.float32)
    item = anchor + RNG.normal(size=anchor.shape).astype(np.float32)
    return anchor, item, RNG.random(anchor.shape) < 0.95


@pytest.mark.parametrize("side", [36, 84, 148])
def test_what_a_window_says_does_not_depend_on_those_beside_it(side: int) -> None:
    anchor, item, usable = windows(5, side)
    blocks, noise = ((side - 20) // 8) ** 2, np.array([1e-3, 1e-3])
    offsets = np.array([(6, 6), (6, -6)])
    together, apart = np.full((5, blocks, 6), np.nan), np.full((5, blocks, 6), np.nan)
    weights, alone = np.full((5, blocks), np.nan), np.full((5, blocks), np.nan)
    block_sums(anchor, item, usable, 10, TAPS, noise, 1, together)
    block_weights(anchor, item, usable, 10, TAPS, noise, 1, offsets, weights)
    for k in range(5):
        one = slice(k, k + 1)
        block_sums(anchor[one], item[one], usable[one], 10, TAPS, noise, 1, apart[one])
        block_weights(anchor[one], item[one], usable[one], 10, TAPS, noise, 1, offsets, alone[one])
    assert together.any()
    np.testing.assert_array_equal(together, apart)
    np.testing.assert_array_equal(weights, alone)


def test_the_inside_of_an_image_is_smoothed_as_the_whole_is() -> None:
    image = windows(1, 40)[0][0]
    whole, inside = np.empty_like(image), np.empty((28, 28), np.float32)
    smooth_into(image, TAPS[0], TAPS[1], whole)
    smooth_inside(image, TAPS[0], TAPS[1], 6, inside.ravel(), 28)
    np.testing.assert_array_equal(inside, whole[6:-6, 6:-6])


def test_a_rectangle_is_passed_as_an_image_of_its_own() -> None:
    image = windows(1, 60)[0]
    usable = np.zeros(image.shape, np.bool_)
    usable[:, 7:50, 20:] = True
    alone = np.ascontiguousarray(image[:, 7:50, 20:])
    found = high_pass(image, usable)
    np.testing.assert_allclose(found[:, 7:50, 20:], high_pass(alone, alone == alone), rtol=0, atol=2e-3)
    assert not found[~usable].any()


def test_any_mask_is_passed_by_the_mean_of_what_is_usable() -> None:
    image, _, usable = windows(1, 50)
    flat = np.where(usable, np.float32(7), np.float32(0))
    assert np.abs(high_pass(flat, usable)).max() < 1e-4
    assert high_pass(image, usable)[usable].std() > 0.1


def test_rims_of_masks() -> None:
    usable = RNG.random((3, 40, 50)) < 0.999
    size = 2 * RIM + 1
    for mask, found in zip(usable, eroded(usable), strict=True):
        np.testing.assert_array_equal(found, binary_erosion(mask, np.ones((size, size), bool)))


@pytest.mark.parametrize("lag", [(0, 0), (3, -5), (-40, 2), (70, 0)])
def test_agreement_in_boxes(lag: tuple[int, int]) -> None:
    anchor, item = (np.exp(1j * RNG.uniform(0, 7, (60, 70))).astype(np.complex64) for _ in range(2))
    anchor[RNG.random(anchor.shape) < 0.1] = 0
    boxes = np.array([(0, 0, 20, 30), (40, 50, 90, 90), (-8, 10, 5, 20)])
    moved = np.zeros((200, 200), np.complex64)
    moved[70 + lag[0] : 130 + lag[0], 70 + lag[1] : 140 + lag[1]] = item
    product = np.zeros((200, 200), np.complex64)
    product[70:130, 70:140] = anchor
    product *= moved.conj()
    found = local_agreement(anchor, item, *lag, boxes)
    for (top, left, bottom, right), value in zip(boxes, found, strict=True):
        part = product[70 + top : 70 + bottom, 70 + left : 70 + right]
        pairs = np.count_nonzero(part)
        assert value == pytest.approx(part.real.sum() / np.sqrt(pairs / 2) if pairs else 0, abs=1e-3)


@pytest.mark.parametrize("height", [24, 25])
def test_tilted_columns_lose_their_median(height: int) -> None:
    slopes = (RNG.normal(size=(height, 6)).round(1) + 2).astype(np.float32)
    known = RNG.random(slopes.shape) < 0.8
    slopes[~known] = 0
    found = slopes.copy()
    straighten(found, known)
    for one, seen, left in zip(slopes.T, known.T, found.T, strict=True):
        np.testing.assert_allclose(left[seen], one[seen] - np.median(one[seen]), rtol=0, atol=1e-6)
        assert not left[~seen].any()


def test_the_middle_of_windows_is_that_of_their_weight() -> None:
    for count in (1, 2, 5, 8):
        values, weight = RNG.normal(size=count).round(1), RNG.random(count)
        order = np.argsort(values, kind="stable")
        half = np.searchsorted(weight[order].cumsum(), weight.sum() / 2)
        assert _weighted_median(values, weight) == values[order[half]]


def test_taps_move_both_images_halfway_towards_each_other() -> None:
    lag = np.array([0.4, -0.3])
    np.testing.assert_array_equal(halfway_taps(lag), [smooth_taps(at) for at in (0.2, -0.15, -0.2, 0.15)])


def test_the_peak_of_a_surface_and_what_lies_beside_it() -> None:
    pairs = RNG.integers(0, 5000, (21, 31)).astype(float)
    agreement = RNG.normal(size=pairs.shape) * np.sqrt(pairs / 2)
    pairs[12, 9] = 4000
    agreement[12, 9] = 4000
    agreement[:, 9] += pairs[:, 9] / 4
    peak = Surface(agreement=agreement, pairs=pairs, centre=(2, -3)).peak(100)
    height = np.where(pairs >= 100, agreement / np.sqrt(np.maximum(pairs, 1) / 2), 0)
    rest = height.copy()
    rest[8:17, 5:14] = 0
    assert peak is not None
    assert (round(peak.y), round(peak.x)) == (2 + 12 - 10, -3 + 9 - 15)
    assert peak.lead == pytest.approx(height[12, 9] - rest.max())
    assert peak.rival == pytest.approx(rest.max() / height[12, 9])
    scatter = np.sqrt((rest**2).sum() / np.count_nonzero(rest))
    assert peak.significance == pytest.approx(height[12, 9] / max(scatter, 1))
    below, top, above = height[11:14, 9]
    assert peak.y - round(peak.y) == pytest.approx(0.5 * (below - above) / (below - 2 * top + above))
    assert Surface(agreement=agreement, pairs=0 * pairs, centre=(0, 0)).peak(100) is None


def test_where_orientations_are_known() -> None:
    image = np.zeros((30, 40), np.complex64)
    image[4:20, 7:33] = 1j
    assert Spectrum.of(image, (40, 48)).within == ((4, 20), (7, 33))
    image[8:12, 10:20] = 0
    spectrum = Spectrum.of(image, (40, 48))
    assert spectrum.within is None
    np.testing.assert_array_equal(spectrum.mask, image != 0)


def test_windows_fade_towards_their_edge() -> None:
    image, _, usable = windows(2, 30)
    taper = np.outer(np.hanning(20), np.hanning(20)).astype(np.float32)
    faded, loud, seen = _tapered(image, usable, taper, 5)
    expected = image[:, 5:-5, 5:-5] * taper * usable[:, 5:-5, 5:-5]
    np.testing.assert_allclose(faded, expected, rtol=1e-6)
    np.testing.assert_allclose(loud, np.sqrt((expected.astype(float) ** 2).mean(axis=(1, 2))), rtol=1e-5)
    np.testing.assert_allclose(seen, usable[:, 5:-5, 5:-5].mean(axis=(1, 2)))


@pytest.mark.parametrize("axis", [1, 2])
def test_steps_by_their_place_in_blocks(axis: int) -> None:
    image = windows(2, 45)[0]
    steps = np.abs(np.diff(image, axis=axis)).sum(axis=(0, 3 - axis), dtype=float)[:40]
    expected = steps.reshape(-1, 8).sum(axis=0)
    np.testing.assert_allclose(_steps(image, axis), expected, rtol=1e-5)


def test_columns_are_counted_as_rows_are() -> None:
    image, _, usable = windows(3, 41)
    image[:, 1::2] = image[:, :-1:2]
    turned = np.ascontiguousarray(image.swapaxes(1, 2)), np.ascontiguousarray(usable.swapaxes(1, 2))
    assert repeated(image, usable).tolist() == [True, False]
    assert repeated(*turned).tolist() == [False, True]


def test_a_match_between_whole_pixels_is_interpolated() -> None:
    anchor, item, usable = windows(2, 40)
    sums, whole = np.empty((2, 3)), np.empty((2, 3))
    _match_at(anchor, item, usable, 8, np.array([2, -1]), np.array([3.0, -2.0]), sums)
    inner = slice(8, -8)
    for n in range(2):
        for k, (down, along) in enumerate(((0, 0), (2, -1), (3, -2))):
            there, seen = (np.roll(one[n], (down, along), (0, 1))[inner, inner] for one in (item, usable))
            both = usable[n, inner, inner] & seen
            assert sums[n, k] == pytest.approx((anchor[n, inner, inner] * there)[both].mean(), rel=1e-4)
    _match_at(anchor, item, usable, 8, np.array([2, -1]), np.array([3.5, -2.0]), sums)
    nodes = []
    for down in (2.0, 3.0, 4.0, 5.0):
        _match_at(anchor, item, usable, 8, np.array([2, -1]), np.array([down, -2.0]), whole)
        nodes.append(whole[:, 2].copy())
    np.testing.assert_allclose(sums[:, 2], np.array([-1, 9, 9, -1]) / 16 @ np.array(nodes), rtol=1e-9)
