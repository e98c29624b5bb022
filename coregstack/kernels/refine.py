"""The fit: robust least squares at full resolution, within windows of a few thousand pixels.

Both images are moved by half the shift towards each other, so that both are smoothed alike and
what is left of it cancels. Every block of `BLOCK` pixels has its own gain, of either sign, and its own
noise, and weighs as much as its correlation deserves: the sum over blocks of log(1 - rho^2) is what the
fit brings down, the likelihood of blocks that each follow the other up to gain and noise. So clouds,
waves and changed fields weigh nothing, and no mask is needed to be rid of most of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from coregstack.kernels.match_image import REACH, high_pass, smooth_at
from coregstack.kernels.windows import Box, Lag, centre, grown, read_pair
from coregstack.model import PixelSource, Shift

BLOCK = 8
"""Side of a block, px."""
_CHANCE = 0.05
"""Squared correlation that blocks of unlike texture reach by chance."""
_FLOOR = 0.3
"""Added to 1 - rho^2, so that a few blocks that match perfectly do not decide alone."""
_CUT = 4.0
"""Residuals beyond this many standard deviations of their block count nothing (Tukey's biweight)."""
FLAT = 0.001
_DECOY = 6
"""Offset, px, at which a match must be worse than where it is."""
_RIM = 4
"""Pixels this near to an unusable one are left out: the smoothing mixes them with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One window of one band, band-passed and ready to be fitted again and again."""

    band: int
    centre: Shift
    anchor: NDArray[np.float32]
    item: NDArray[np.float32]
    usable: NDArray[np.bool_]
    margin: int
    """Pixels on every side that only serve the filters."""


def prepare(
    anchor: PixelSource, item: PixelSource, band: int, box: Box, lag: Lag
) -> tuple[Prepared, Prepared] | None:
    """Read a window with its margin and band-pass it, at full and at half resolution.

    None where too little of it is usable.
    """
    first, usable, second, usable_item = read_pair(anchor, item, band, grown(box, REACH), lag)
    usable &= usable_item
    if np.count_nonzero(usable) < BLOCK * BLOCK:
        return None
    halves = _halved(first), _halved(second), _halved(usable.astype(np.float32)) == 1
    full, half = (
        Prepared(
            band=band,
            centre=centre(box),
            anchor=high_pass(one, mask),
            item=high_pass(two, mask),
            usable=_eroded(mask),
            margin=margin,
        )
        for one, two, mask, margin in ((first, second, usable, REACH), (*halves, REACH // 2))
    )
    return full, half


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 2 x 2 pixels."""
    even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / np.float32(4)


def _eroded(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without a rim of `_RIM` pixels round what is not usable."""
    if usable.all():
        return usable
    result = usable
    for axis in (0, 1):
        size = result.shape[axis]
        padded = np.zeros([n + 2 * _RIM * (k == axis) for k, n in enumerate(result.shape)], np.bool_)
        padded[
            tuple(slice(_RIM, _RIM + n) if k == axis else slice(None) for k, n in enumerate(result.shape))
        ] = result
        result = np.logical_and.reduce(
            [padded.take(range(k, k + size), axis=axis) for k in range(2 * _RIM + 1)]
        )
    return result


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _gather(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    usable: NDArray[np.bool_],
    top: int,
    left: int,
    block: NDArray[np.float64],
) -> int:
    """Fill `block` with (row, column, anchor, item, the four derivatives) of a block's usable pixels.

    Returns their number. The derivatives are down and along, of the anchor, then of the item.
    """
    count = 0
    for y in range(top, top + BLOCK):
        for x in range(left, left + BLOCK):
            if usable[y, x]:
                block[0, count] = y - top
                block[1, count] = x - left
                block[2, count] = first[y, x]
                block[3, count] = second[y, x]
                block[4, count] = 0.5 * (first[y + 1, x] - first[y - 1, x])
                block[5, count] = 0.5 * (first[y, x + 1] - first[y, x - 1])
                block[6, count] = 0.5 * (second[y + 1, x] - second[y - 1, x])
                block[7, count] = 0.5 * (second[y, x + 1] - second[y, x - 1])
                count += 1
    return count


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _detrend(block: NDArray[np.float64], count: int) -> bool:
    """Take the best plane off every quantity of a block; False where the pixels span no plane."""
    for k in range(8):
        mean = block[k, :count].sum() / count
        for j in range(count):
            block[k, j] -= mean
    yy = yx = xx = 0.0
    for j in range(count):
        yy += block[0, j] * block[0, j]
        yx += block[0, j] * block[1, j]
        xx += block[1, j] * block[1, j]
    det = yy * xx - yx * yx
    if det < 1:
        return False
    for k in range(2, 8):
        by = bx = 0.0
        for j in range(count):
            by += block[0, j] * block[k, j]
            bx += block[1, j] * block[k, j]
        slope_y, slope_x = (xx * by - yx * bx) / det, (yy * bx - yx * by) / det
        for j in range(count):
            block[k, j] -= slope_y * block[0, j] + slope_x * block[1, j]
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _equations(
    block: NDArray[np.float64], count: int, noise_a: float, noise_b: float, out: NDArray[np.float64]
) -> None:
    """Weighted normal equations of one detrended block, written to `out`, which stays 0 where it says nothing."""
    aa, bb, ab = count * noise_a, count * noise_b, 0.0
    for j in range(count):
        aa += block[2, j] * block[2, j]
        bb += block[3, j] * block[3, j]
        ab += block[2, j] * block[3, j]
    rho = ab / np.sqrt(aa * bb)
    square = min(1.0, rho * rho)
    if square <= _CHANCE:
        return
    weight = count * (square - _CHANCE) / (1 - square + _FLOOR)
    scale_a = 1 / np.sqrt(aa)
    scale_b = (1 if rho > 0 else -1) / np.sqrt(bb)
    cut = _CUT * np.sqrt(2 * (1 - np.sqrt(square)) / count) + 1e-9
    out[0] = weight
    for j in range(count):
        e = scale_b * block[3, j] - scale_a * block[2, j]
        far = (e / cut) ** 2
        if far < 1:
            w = weight * (1 - far) ** 2
            gy = 0.5 * (scale_a * block[4, j] + scale_b * block[6, j])
            gx = 0.5 * (scale_a * block[5, j] + scale_b * block[7, j])
            out[1] += w * gy * gy
            out[2] += w * gy * gx
            out[3] += w * gx * gx
            out[4] += w * gy * e
            out[5] += w * gx * e


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _block_sums(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    noise_a: float,
    noise_b: float,
) -> NDArray[np.float64]:
    """Normal equations of every block: rows (weight, m_yy, m_yx, m_xx, r_y, r_x), already weighted.

    `m` and `r` give the step of the shift, ``m @ step = r``; blocks that say nothing hold 0.
    """
    down, across = (first.shape[0] - 2 * margin) // BLOCK, (first.shape[1] - 2 * margin) // BLOCK
    result = np.zeros((down * across, 6))
    block = np.zeros((8, BLOCK * BLOCK))
    for n in range(down * across):
        top, left = margin + n // across * BLOCK, margin + n % across * BLOCK
        count = _gather(first, second, usable, top, left, block)
        if count >= BLOCK * BLOCK // 3 and _detrend(block, count):
            _equations(block, count, noise_a, noise_b, result[n])
    return result


def flatness(windows: Sequence[Prepared]) -> tuple[float, float]:
    """Variance, in anchor and item, that every block is taken to have as noise.

    A thousandth of the windows' typical variance: without it, blocks of calm water or of one saturated
    value would match to perfection.
    """
    power = [[float(np.mean(np.square(image))) for image in (w.anchor, w.item)] for w in windows]
    first, second = FLAT * np.median(np.array(power), axis=0) + 1e-12
    return float(first), float(second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal equations of one window at the current shift."""

    matrix: NDArray[np.float64]
    """Information on the shift, shape (2, 2)."""
    vector: NDArray[np.float64]
    """Pull away from the current shift, shape (2,)."""
    scatter: NDArray[np.float64]
    """Sum of the outer products of the blocks' own pulls, shape (2, 2)."""
    blocks: int
    """Blocks that say something."""


def normal(window: Prepared, y: float, x: float, noise: tuple[float, float]) -> Normal:
    """Normal equations of a window for a shift of `y`, `x` px beyond the whole pixels it was read at.

    `noise` is the variance, in anchor and item, below which a block counts as flat.
    """
    first = smooth_at(window.anchor, y / 2, x / 2)
    second = smooth_at(window.item, -y / 2, -x / 2)
    sums = _block_sums(first, second, window.usable, window.margin, *noise)
    total = sums.sum(axis=0)
    matrix = np.array([[total[1], total[2]], [total[2], total[3]]])
    step = solve(matrix, total[4:])
    pull_y = sums[:, 4] - sums[:, 1] * step[0] - sums[:, 2] * step[1]
    pull_x = sums[:, 5] - sums[:, 2] * step[0] - sums[:, 3] * step[1]
    pulls = np.stack([pull_y, pull_x])
    return Normal(
        matrix=matrix, vector=total[4:], scatter=pulls @ pulls.T, blocks=int(np.count_nonzero(sums[:, 0]))
    )


def lead(window: Prepared, y: float, x: float, noise: tuple[float, float]) -> NDArray[np.float64]:
    """By how much each block's weight at a shift exceeds that a few pixels away from it.

    Blocks of unlike texture correlate too, by chance, but nowhere in particular.
    """
    first = smooth_at(window.anchor, y / 2, x / 2)
    second = smooth_at(window.item, -y / 2, -x / 2)
    here = _block_sums(first, second, window.usable, window.margin, *noise)[:, 0]
    for away in ((_DECOY, _DECOY), (_DECOY, -_DECOY)):
        moved = np.roll(second, away, (0, 1))
        usable = window.usable & np.roll(window.usable, away, (0, 1))
        here -= _block_sums(first, moved, usable, window.margin, *noise)[:, 0] / 2
    return here


def solve(matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solution of 2 x 2 normal equations, 0 along a direction that nothing is known about."""
    return np.linalg.pinv(matrix, rcond=1e-6, hermitian=True) @ vector
