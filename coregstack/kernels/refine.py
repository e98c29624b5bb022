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
from numpy.typing import NDArray

from coregstack.kernels._blocks import BLOCK, block_sums, block_weights
from coregstack.kernels.bridge import bridge
from coregstack.kernels.compiling import compiled
from coregstack.kernels.gaps import eroded
from coregstack.kernels.lines import drop_dead_lines, level_lines, striped
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.smoothing import REACH, smooth_taps
from coregstack.kernels.symmetric import inverse, product
from coregstack.kernels.windows import Box, Lag, centre, grown, read_pair
from coregstack.model import PixelSource

_FLAT = 0.001
_DECOY = 6
"""Offset, px, at which a match must be worse than where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Windows of one band, band-passed and ready to be fitted again and again."""

    centres: NDArray[np.float64]
    """Frame position (y, x) of each window's centre, shape (n, 2)."""
    anchor: NDArray[np.float32]
    """Shape (n, y, x)."""
    item: NDArray[np.float32]
    """Shape (n, y, x)."""
    usable: NDArray[np.bool_]
    """Shape (n, y, x)."""
    margin: int
    """Pixels on every side that only serve the filters."""
    bridged: bool = False
    """Whether narrow gaps were filled in, which holds the fit back towards the whole pixels read at."""

    def every(self, step: int) -> Windows:
        """One window in `step`, side by side in memory: kernels are compiled for one layout only."""
        return Windows(
            centres=self.centres[::step],
            anchor=np.ascontiguousarray(self.anchor[::step]),
            item=np.ascontiguousarray(self.item[::step]),
            usable=np.ascontiguousarray(self.usable[::step]),
            margin=self.margin,
            bridged=self.bridged,
        )

    @property
    def grid(self) -> tuple[int, int]:
        """Blocks down and across a window."""
        down, across = ((size - 2 * self.margin) // BLOCK for size in self.anchor.shape[1:])
        return down, across

    @property
    def blocks(self) -> tuple[int, int]:
        """Number of windows, and of blocks in each."""
        down, across = self.grid
        return len(self.anchor), down * across


def prepare(
    anchor: PixelSource, item: PixelSource, band: int, boxes: Sequence[Box], lag: Lag
) -> tuple[Windows, Windows] | None:
    """Read windows of one size with their margin and band-pass them, at full and at half resolution.

    Windows of which too little is usable are left out; None where no other is left.
    """
    read, centres = [], []
    for box in boxes:
        first, usable, second, usable_item = read_pair(anchor, item, band, grown(box, REACH), lag)
        usable &= usable_item
        if np.count_nonzero(usable) >= BLOCK * BLOCK:
            read.append((first, second, usable))
            centres.append(centre(box))
    if not read:
        return None
    first, second, usable = (np.stack(part) for part in zip(*read, strict=True))
    for image in (first, second):
        drop_dead_lines(image, usable)
    solid, clear, bridged = bridge(first, second, usable)
    half_first, half_second, half_solid = halved(first, second, solid)
    parts = (
        (first, second, solid, clear),
        (half_first, half_second, half_solid, _half_clear(clear, half_solid)),
    )
    passed = [(high_pass(one, filled), high_pass(two, filled)) for one, two, filled, _ in parts]
    stripes = np.any([striped(image, solid) for image in passed[0]], axis=0)
    if stripes.any():
        for images, (_, _, filled, _) in zip(passed, parts, strict=True):
            for image in images:
                level_lines(image, filled, *stripes)
    full, half = (
        Windows(
            centres=np.array(centres, np.float64),
            anchor=images[0],
            item=images[1],
            usable=part[3],
            margin=margin,
            bridged=bridged,
        )
        for images, part, margin in zip(passed, parts, (REACH, REACH // 2), strict=True)
    )
    return full, half


@compiled
def halved(
    first: NDArray[np.float32], second: NDArray[np.float32], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Means of 2 x 2 pixels of both images, and where all four are usable."""
    shape = len(first), first.shape[1] // 2, first.shape[2] // 2
    one, two, mask = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.bool_)
    for n in range(shape[0]):
        for i in range(shape[1]):
            y = 2 * i
            for j in range(shape[2]):
                x = 2 * j
                one[n, i, j] = np.float32(0.25) * (
                    (first[n, y, x] + first[n, y + 1, x]) + (first[n, y, x + 1] + first[n, y + 1, x + 1])
                )
                two[n, i, j] = np.float32(0.25) * (
                    (second[n, y, x] + second[n, y + 1, x]) + (second[n, y, x + 1] + second[n, y + 1, x + 1])
                )
                mask[n, i, j] = (usable[n, y, x] & usable[n, y + 1, x]) & (
                    usable[n, y, x + 1] & usable[n, y + 1, x + 1]
                )
    return one, two, mask


def _half_clear(clear: NDArray[np.bool_], solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which pixels of half resolution may be compared: those of which half is, away from where nothing stands."""
    rows, cols = 2 * solid.shape[1], 2 * solid.shape[2]
    part = clear[:, :rows, :cols].view(np.int8)
    count = part[:, ::2, ::2] + part[:, 1::2, ::2] + part[:, ::2, 1::2] + part[:, 1::2, 1::2]
    return eroded(solid) & (count >= 2)


def flatness(windows: Windows) -> NDArray[np.float64]:
    """Variance, of anchor and item, that every block is taken to have as noise; shape (2,).

    A thousandth of the windows' typical variance: without it, blocks of calm water or of one saturated
    value would match to perfection.
    """
    typical = [np.median(np.mean(np.square(image), axis=(1, 2))) for image in (windows.anchor, windows.item)]
    return _FLAT * np.array(typical, np.float64) + 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """Normal equations of windows at the current shift."""

    matrix: NDArray[np.float64]
    """Information on the shift: (yy, yx, xx) of each window, shape (n, 3)."""
    vector: NDArray[np.float64]
    """Pull away from the current shift (y, x), shape (n, 2)."""
    scatter: NDArray[np.float64]
    """Sum of the squares of the blocks' own pulls: (yy, yx, xx), shape (n, 3)."""
    weights: NDArray[np.float64]
    """Weight of each block, negative where its contrast is reversed, 0 where it says nothing, shape (n, blocks)."""
    blocks: NDArray[np.float64]
    """Each block's own (yy, yx, xx, y, x) of `matrix` and `vector`, shape (n, blocks, 5)."""


def normal(
    windows: Windows, lag: NDArray[np.float64], noise: NDArray[np.float64], *, sign: int = 0
) -> Normal:
    """Normal equations of windows for a lag (y, x) beyond the whole pixels that they were read at.

    `noise` is the variance, in anchor and item, below which a block counts as flat. Only blocks that keep
    their contrast are heard where `sign` is 1, only those that reverse it where it is -1.
    """
    sums = np.zeros((*windows.blocks, 6))
    block_sums(windows.anchor, windows.item, windows.usable, windows.margin, _taps(lag), noise, sums)
    if sign:
        sums[np.sign(sums[..., 0]) != sign] = 0
    total = sums.sum(axis=1)
    step = product(inverse(total[:, 1:4]), total[:, 4:])[:, None]
    pulls = sums[..., 4:] - product(sums[..., 1:4], step)
    y, x = pulls[..., 0], pulls[..., 1]
    scatter = np.stack([(y * y).sum(axis=1), (y * x).sum(axis=1), (x * x).sum(axis=1)], axis=-1)
    return Normal(
        matrix=total[:, 1:4], vector=total[:, 4:], scatter=scatter, weights=sums[..., 0], blocks=sums[..., 1:]
    )


def decoys(windows: Windows, lag: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of each block a few pixels away from a lag, shape (n, blocks).

    Blocks of unlike texture correlate too, by chance, but nowhere in particular.
    """
    weights = np.empty(windows.blocks)
    offsets = np.array([(_DECOY, _DECOY), (_DECOY, -_DECOY)])
    block_weights(
        windows.anchor, windows.item, windows.usable, windows.margin, _taps(lag), noise, offsets, weights
    )
    return weights


def _taps(lag: NDArray[np.float64]) -> NDArray[np.float32]:
    """Taps that move the anchor and the item by half a lag each, towards each other, shape (4, k)."""
    y, x = lag / 2
    return np.stack([smooth_taps(at) for at in (y, x, -y, -x)])
