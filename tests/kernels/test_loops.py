"""Compiled loops against plain ones: what they do at once, they do as one at a time would."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from coregstack.kernels._blocks import block_sums, block_weights
from coregstack.kernels._steps import _weighted_median
from coregstack.kernels.correlation import local_agreement
from coregstack.kernels.gaps import RIM, eroded
from coregstack.kernels.lines import straighten
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.smoothing import smooth_inside, smooth_into, smooth_taps

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
