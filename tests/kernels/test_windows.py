"""Windows are read and judged the same, alone or together, whole or in quarters."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.refine import decoys, prepare_full
from coregstack.kernels.settled import settled
from coregstack.kernels.shift import prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.windows import Box, Lag, cells, parts_of, read_stack

LAG = Lag(whole_y=2, whole_x=-3, rest_y=0.3, rest_x=-0.2)
NOISE = np.array([1e-3, 1e-3])


def source(corner: tuple[int, int], *, gap: bool = False) -> ArraySource:
    """140 x 140 px of one ground from a corner on."""
    ground = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(160, 160)), 1.5)
    rows, cols = (slice(start, start + 140) for start in corner)
    usable = np.ones((140, 140), bool)
    if gap:
        usable[50:70, 60:90] = False
    return ArraySource(values=100 * ground[None, rows, cols], usable=usable)


@pytest.fixture
def pair() -> tuple[PreparedAnchor, ArraySource]:
    return prepare_anchor(source((10, 10))), source((12, 7), gap=True)


def test_windows_that_are_read_at_once_are_those_read_one_by_one() -> None:
    image = source((0, 0), gap=True)
    near = [Box(y, x, y + 40, x + 40) for y in (-20, 15, 50, 120) for x in (-8, 30, 110, 139)]
    far = [Box(0, 0, 8, 8), Box(130, 130, 138, 138), Box(200, 0, 208, 8), Box(-30, -30, -22, -22)]
    for boxes in (near, far):
        values, usable = read_stack(image, 0, boxes)
        for k, box in enumerate(boxes):
            alone, seen = read_stack(image, 0, [box])
            np.testing.assert_array_equal(values[k], alone[0])
            np.testing.assert_array_equal(usable[k], seen[0])


def test_quarters_of_a_few_windows_say_what_they_would_say_as_windows(
    pair: tuple[PreparedAnchor, ArraySource],
) -> None:
    boxes = cells(Box(2, 0, 135, 134), 64)
    windows = prepare_full(*pair, 0, boxes, LAG)
    assert windows is not None
    assert (len(boxes), windows.parts) == (4, 2)
    quarters = windows.apart()
    assert (len(quarters.anchor), quarters.parts) == (16, 1)
    lag = np.array([LAG.rest_y, LAG.rest_x])
    together = settled(windows, lag, NOISE).sums
    assert np.count_nonzero(together[..., 0]) > 100
    np.testing.assert_array_equal(together, settled(quarters, lag, NOISE).sums)
    np.testing.assert_array_equal(decoys(windows, lag, NOISE), decoys(quarters, lag, NOISE))
    middles = [
        ((b.top + b.bottom - 1) / 2, (b.left + b.right - 1) / 2) for w in boxes for b in parts_of(w, 2)
    ]
    np.testing.assert_array_equal(quarters.centres, middles)


def test_quarters_that_are_not_worth_a_fit_say_nothing(pair: tuple[PreparedAnchor, ArraySource]) -> None:
    boxes = cells(Box(2, 0, 135, 134), 64)
    deaf = parts_of(boxes[1], 2)[2]
    lag = np.array([LAG.rest_y, LAG.rest_x])
    every, some = (prepare_full(*pair, 0, boxes, LAG, left_out) for left_out in ((), {deaf}))
    assert every is not None
    assert some is not None
    kept = np.arange(16) != 6
    sums = settled(some, lag, NOISE).sums
    assert not sums[6].any()
    np.testing.assert_array_equal(sums[kept], settled(every, lag, NOISE).sums[kept])
    np.testing.assert_array_equal(some.apart().anchor, every.apart().anchor[kept])


@pytest.mark.parametrize(
    ("side", "expected"), [(64, 1), (71, 1), (72, 4), (80, 4), (192, 9), (199, 9), (200, 16), (264, 16)]
)
def test_slivers_count_by_what_is_judged(side: int, expected: int) -> None:
    # an eighth of a window while they are few and judged in quarters, a quarter of one from ten on
    assert len(cells(Box(0, 0, side, side), 64)) == expected


def test_many_windows_are_not_quartered(pair: tuple[PreparedAnchor, ArraySource]) -> None:
    windows = prepare_full(*pair, 0, cells(Box(2, 0, 140, 137), 32), LAG)
    assert windows is not None
    assert windows.parts == 1
    assert windows.apart() is windows
