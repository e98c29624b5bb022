"""What all blocks of a scene say of a displacement that varies over it: normal equations, tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from coregstack.kernels._blocks import BLOCK
from coregstack.kernels._displaced import SUMS, displaced_sums
from coregstack.kernels.gaps import eroded
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.refine import halved, least_variance
from coregstack.kernels.smoothing import smooth_taps
from coregstack.kernels.symmetric import inverse, product, squared
from coregstack.kernels.windows import Box, Lag, grown, read_pair
from coregstack.model import PixelSource

TILE = 256
"""Side of what is read at once, px."""
_MARGIN = 18
"""Pixels round a tile: 11 for the filters, the rest for displacements that vary in it."""
_SAMPLES = 9
"""Tiles that tell the typical variance."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Blocks that tile the anchor's frame from its first pixel."""

    pitch: int
    """Side of a block, px."""
    rows: NDArray[np.float64]
    """Frame rows of the blocks' centres."""
    cols: NDArray[np.float64]
    """Frame columns of the blocks' centres."""

    @classmethod
    def of(cls, shape: tuple[int, int], pitch: int) -> Grid:
        """Blocks that cover a frame."""
        rows, cols = ((np.arange(-(-n // pitch), dtype=np.float64) + 0.5) * pitch - 0.5 for n in shape)
        return cls(pitch=pitch, rows=rows, cols=cols)

    @property
    def shape(self) -> tuple[int, int]:
        """Blocks down and across."""
        return self.rows.size, self.cols.size


@dataclass(frozen=True, kw_only=True, eq=False)
class Equations:
    """Normal equations of each block about a present displacement: ``matrix @ step = vector``."""

    grid: Grid
    matrix: NDArray[np.float64]
    """Information on the displacement: (yy, yx, xx) of each block, 1 / px^2 up to a factor, shape (down, across, 3)."""
    vector: NDArray[np.float64]
    """Pull away from the present displacement (y, x), shape (down, across, 2)."""
    here: NDArray[np.float64]
    """Present displacement (y, x), px, shape (down, across, 2)."""
    usable: NDArray[np.float64]
    """Part of each block that is usable in both scenes, 0 to 1, shape (down, across)."""
    shared: NDArray[np.float64]
    """Part of each block's information that stems from what both scenes show, 0 to 1, shape (down, across).

    The slopes of noise make `matrix` larger and `vector` not, so that a step is too short by this factor.
    """

    @cached_property
    def steps(self) -> NDArray[np.float64]:
        """Step that each block would take alone, px, shape (down, across, 2)."""
        return product(inverse(self.matrix), self.vector)

    @cached_property
    def target(self) -> NDArray[np.float64]:
        """Right-hand side for the whole displacement: ``matrix @ displacement = target``."""
        return self.vector + product(self.matrix, self.here)

    @cached_property
    def heard(self) -> NDArray[np.bool_]:
        """Blocks that say something."""
        return self.matrix[..., 0] + self.matrix[..., 2] > 0

    def misfit(self, displacement: NDArray[np.float64]) -> NDArray[np.float64]:
        """Squared distance of each block's own step from a displacement, in units of its own noise."""
        return squared(self.matrix, self.steps - (displacement - self.here))

    def without_noise(self) -> Equations:
        """The same with steps that the slopes of noise do not shorten, and the information that is left for these."""
        return replace(
            self,
            matrix=self.matrix * np.square(self.shared)[..., None],
            vector=self.vector * self.shared[..., None],
        )

    def blurred(self, variance: float) -> Equations:
        """The same where each block is off by more than its own noise: by a variance along an axis, px^2."""
        yy, yx, xx = (self.matrix[..., k] for k in range(3))
        det = yy * xx - yx * yx
        more = 1 + variance * (yy + xx) + variance**2 * det
        matrix = self.matrix + variance * det[..., None] * (1.0, 0.0, 1.0)
        vector = self.vector + variance * product(self.matrix[..., ::-1] * (1.0, -1.0, 1.0), self.vector)
        return replace(self, matrix=matrix / more[..., None], vector=vector / more[..., None])

    def weighted(self, trust: NDArray[np.float64]) -> Equations:
        """The same with a factor for each block."""
        return replace(self, matrix=self.matrix * trust[..., None], vector=self.vector * trust[..., None])


def gather(
    anchor: PixelSource,
    item: PixelSource,
    bands: Sequence[int],
    grid: Grid,
    here: NDArray[np.float64],
    stable: NDArray[np.bool_] | None = None,
) -> Equations:
    """Equations of all blocks about a displacement; blocks of 16 px are looked at in half resolution.

    Bands see the same ground, so that they do not make each other surer: their equations are averaged.

    Parameters
    ----------
    anchor, item
        The scenes; the anchor's first pixel is the frame's origin.
    bands
        Match bands that are used.
    grid
        Blocks of 8 or 16 px.
    here
        Displacement (y, x) at the blocks' centres, px, shape (down, across, 2).
    stable
        Ground that may drive the displacement, in the anchor's frame; None for all.
    """
    sums = np.zeros((*grid.shape, SUMS))
    for band in bands:
        tiles = list(_tiles(grid, item, here))
        noise = _flatness(anchor, item, band, tiles, grid.pitch // BLOCK)
        if noise is None:
            continue
        for tile in tiles:
            sums[tile.blocks] += _tile_sums(anchor, item, band, tile, grid.pitch, noise, stable)
    factor = grid.pitch // BLOCK
    each = 1 / max(1, len(bands))
    return Equations(
        grid=grid,
        matrix=sums[..., 1:4] * (each / factor**2),
        vector=sums[..., 4:6] * (each / factor),
        here=np.array(here, np.float64),
        usable=sums[..., 6] * (each / BLOCK**2),
        shared=sums[..., 7] / np.maximum(sums[..., 1] + sums[..., 3], 1e-12),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Tile:
    """A piece of the frame that is read at once."""

    box: Box
    blocks: tuple[slice, slice]
    lag: Lag
    """Mean lag in it; the whole pixels are those it is read at."""
    rest: NDArray[np.float64]
    """Lag of each block beyond the whole pixels, px, shape (2, down, across)."""
    slope: NDArray[np.float64]
    """Change of the displacement down and along, px per px, shape (2, 2, down, across)."""


def _tiles(grid: Grid, item: PixelSource, here: NDArray[np.float64]) -> Iterator[_Tile]:
    """Tiles in which anchor and item may overlap."""
    count = TILE // grid.pitch
    lags = np.moveaxis(here, -1, 0) + np.array(item.origin)[:, None, None]
    slopes = np.stack([_gradient(lag, grid.pitch) for lag in lags])
    for i in range(0, grid.shape[0], count):
        for j in range(0, grid.shape[1], count):
            blocks = slice(i, min(i + count, grid.shape[0])), slice(j, min(j + count, grid.shape[1]))
            part = lags[:, *blocks]
            lag = Lag.of(*part.mean(axis=(1, 2)))
            top, left = i * grid.pitch, j * grid.pitch
            box = Box(top, left, blocks[0].stop * grid.pitch, blocks[1].stop * grid.pitch)
            whole = np.array([lag.whole_y, lag.whole_x], float)[:, None, None]
            if _meet(grown(box, _MARGIN), lag, item.shape):
                # whether a tile is a part or the whole is no other kind of array to what is compiled
                rest, slope = np.ascontiguousarray(part - whole), np.ascontiguousarray(slopes[:, :, *blocks])
                yield _Tile(box=box, blocks=blocks, lag=lag, rest=rest, slope=slope)


def _gradient(values: NDArray[np.float64], pitch: int) -> NDArray[np.float64]:
    """Slopes down and along of the spline through values, 0 along an axis of one block."""
    slopes = []
    for axis in (0, 1):
        count = values.shape[axis]
        if count == 1:
            slopes.append(np.zeros_like(values))
        else:
            slopes.append(
                CubicSpline(pitch * np.arange(count), values, axis=axis)(pitch * np.arange(count), 1)
            )
    return np.stack(slopes)


def _meet(box: Box, lag: Lag, shape: tuple[int, int]) -> bool:
    top, left = box.top - lag.whole_y, box.left - lag.whole_x
    return bool(top < shape[0] and left < shape[1] and top + box.height > 0 and left + box.width > 0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """Both scenes in a tile, band-passed."""

    anchor: NDArray[np.float32]
    item: NDArray[np.float32]
    usable: NDArray[np.bool_]
    """In both."""


def _read(anchor: PixelSource, item: PixelSource, band: int, box: Box, lag: Lag, factor: int) -> _Pair | None:
    """Read a box with its margin at full (`factor` 1) or half resolution (2); None where nothing is usable."""
    first, usable, second, usable_item = read_pair(anchor, item, band, grown(box, factor * _MARGIN), lag)
    usable &= usable_item
    if np.count_nonzero(usable) < BLOCK * BLOCK:
        return None
    images = first[None], second[None], usable[None]
    if factor == 2:
        images = halved(*images)
    return _Pair(
        anchor=high_pass(images[0], images[2])[0],
        item=high_pass(images[1], images[2])[0],
        usable=eroded(images[2])[0],
    )


def _tile_sums(
    anchor: PixelSource,
    item: PixelSource,
    band: int,
    tile: _Tile,
    pitch: int,
    noise: NDArray[np.float64],
    stable: NDArray[np.bool_] | None,
) -> NDArray[np.float64]:
    factor = pitch // BLOCK
    out = np.zeros((*tile.rest.shape[1:], SUMS))
    pair = _read(anchor, item, band, tile.box, tile.lag, factor)
    if pair is not None:
        usable = pair.usable if stable is None else pair.usable & _stable(stable, tile.box, factor)
        displaced_sums(
            pair.anchor, pair.item, usable, _MARGIN, tile.rest / factor, tile.slope, smooth_taps(), noise, out
        )  # fmt: skip
    return out


def _stable(stable: NDArray[np.bool_], box: Box, factor: int) -> NDArray[np.bool_]:
    """The mask of a tile with its margin, of every pixel or every second one; the margin holds True."""
    mask = np.ones((box.height + 2 * factor * _MARGIN, box.width + 2 * factor * _MARGIN), np.bool_)
    rows, cols = min(box.bottom, stable.shape[0]) - box.top, min(box.right, stable.shape[1]) - box.left
    inside = (
        slice(factor * _MARGIN, factor * _MARGIN + rows),
        slice(factor * _MARGIN, factor * _MARGIN + cols),
    )
    mask[inside] = stable[box.top : box.top + rows, box.left : box.left + cols]
    return mask[::factor, ::factor]


def _flatness(
    anchor: PixelSource, item: PixelSource, band: int, tiles: Sequence[_Tile], factor: int
) -> NDArray[np.float64] | None:
    """Variance, of anchor and item, below which a block counts as flat; None where nothing is usable."""
    typical = []
    for k in np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), _SAMPLES)).round().astype(int)):
        box = tiles[k].box
        half = min(box.height, box.width, TILE // 2) // 2
        y, x = (box.top + box.bottom) // 2, (box.left + box.right) // 2
        pair = _read(anchor, item, band, Box(y - half, x - half, y + half, x + half), tiles[k].lag, factor)
        if pair is not None and pair.usable.any():
            typical.append(
                [np.square(image[pair.usable]).mean(dtype=np.float64) for image in (pair.anchor, pair.item)]
            )
    if not typical:
        return None
    return least_variance(np.median(typical, axis=0))
