"""A small picture of an item beside the anchor, made while its pixels are in memory."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from coregstack.kernels.displaced import bounds_of, displaced_positions, resample_at, window_at
from coregstack.kernels.displacement import Spline
from coregstack.kernels.resample import source_window, translate
from coregstack.kernels.sources import ArraySource
from coregstack.model import NO_SHIFT, NO_TIES, Displacement, DisplacementEstimate, Evidence, Move, Shift

CHIP = 96
"""Side of a chip at full resolution, px; a multiple of the codec's blocks."""

OVERVIEW = 160
"""Longest side of an item's overview, px."""

_OVERVIEW_ALONE = 3 * CHIP
_QUALITY = 65
_PLACES = 5
_CHOICE = 256
"""Places for the chips that are rated at most."""
_SPARSE = 4
"""Step, px, between the pixels that are sampled to rate a place for the chips."""


def picture_item(
    anchor: ArraySource, item: ArraySource, valid: NDArray[np.bool_], estimate: DisplacementEstimate
) -> Evidence:
    """Show an item as it is and as it is when moved, beside the anchor, and keep its windows.

    Parameters
    ----------
    anchor, item : ArraySource
        Match bands; the first is shown.
    valid : ndarray of bool
        Where the item holds data, clear or not; shape of its values.
    estimate : DisplacementEstimate
        Its shift or displacement, and windows.

    Returns
    -------
    Evidence
        Its picture holds chips of `CHIP` px in a row, and below them the item's overview. The chips are the anchor,
        the item as it is, and the item moved, black where there is no shift. Where the item is displaced by an affine
        map or a field, a fourth is the item moved by the mean shift alone, and all lie where that leaves most.
    """
    place = _place(anchor, item, estimate)
    reference = _chip(anchor, anchor.usable, place)
    chips = [_chip(item, valid, place)]
    moves = [move for move in (estimate.displacement, estimate.shift) if move is not None]
    chips += [_chip(item, valid, place, move) for move in moves]
    # contrast is that of the ground, where any of it is seen
    ground = chips[min(1, len(chips) - 1)]
    if item.usable is not valid:
        ground = _chip(item, item.usable, place, moves[0] if moves else NO_SHIFT)
    limits = _limits(ground if np.isfinite(ground).any() else chips[0])
    factor, small, clear = _overview(item, valid, OVERVIEW)
    picture = np.zeros((CHIP + small.shape[0], max(3, 1 + len(chips)) * CHIP), np.uint8)
    for k, chip in enumerate((reference, *chips)):
        picture[:CHIP, k * CHIP : (k + 1) * CHIP] = _bytes(chip, _limits(chip) if k == 0 else limits)
    picture[CHIP:, : small.shape[1]] = _bytes(small, _limits(small[clear] if clear.any() else small))
    return Evidence(
        ties=estimate.ties,
        picture=_jpeg(picture),
        chips=place,
        overview=small.shape,
        origin=Shift(item.origin.y - 0.5, item.origin.x - 0.5),
        factor=factor,
        residual_y=estimate.residual_y,
        residual_x=estimate.residual_x,
    )


def picture_alone(item: ArraySource, valid: NDArray[np.bool_]) -> Evidence:
    """Show an item without a partner, such as the anchor: its overview alone, larger.

    Parameters
    ----------
    item : ArraySource
        Match bands; the first is shown.
    valid : ndarray of bool
        Where the item holds data, clear or not; shape of its values.
    """
    factor, small, clear = _overview(item, valid, _OVERVIEW_ALONE)
    return Evidence(
        ties=NO_TIES,
        picture=_jpeg(_bytes(small, _limits(small[clear] if clear.any() else small))),
        chips=None,
        overview=small.shape,
        origin=Shift(item.origin.y - 0.5, item.origin.x - 0.5),
        factor=factor,
    )


def _place(anchor: ArraySource, item: ArraySource, estimate: DisplacementEstimate) -> Shift:
    """First pixel, in the frame, of the chip that shows most: usable in both, rich in contrast, and displaced most."""
    ties = estimate.ties
    if ties.inlier.any():
        middles = np.stack([ties.y, ties.x], axis=1)[ties.inlier]
    else:
        low = np.maximum(0, item.origin)
        high = np.minimum(anchor.shape, np.add(item.origin, item.shape))
        steps = (np.arange(_PLACES) + 0.5) / _PLACES
        grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        middles = low + grid * (high - low)
    corners = np.clip(np.rint(middles - CHIP / 2), 0, np.maximum(np.array(anchor.shape) - CHIP, 0))
    # in a small scene many windows have one chip; numpy takes ten times as long to find that
    corners = np.array(sorted(set(map(tuple, corners.tolist()))))
    corners = corners[:: -(-len(corners) // _CHOICE)]
    moved = np.subtract(estimate.shift or (0.0, 0.0), (0.0, 0.0)) + item.origin
    merit = np.array([_merit(anchor, item, corner, moved) for corner in corners.astype(int)])
    if estimate.displacement is not None and estimate.shift is not None:
        merit *= _away(estimate.displacement, estimate.shift, corners + CHIP / 2)
    best = int(np.argmax(merit)) if merit.any() else len(corners) // 2
    return Shift(*(float(v) for v in corners[best]))


def _merit(
    anchor: ArraySource, item: ArraySource, corner: NDArray[np.int_], moved: NDArray[np.float64]
) -> float:
    row, col = corner.tolist()
    contrast = anchor.once(("contrast", row, col), partial(_contrast, anchor, row, col))
    row, col = (max(round(v), 0) for v in (corner - moved).tolist())
    clear = np.count_nonzero(_plane(item.usable)[row : row + CHIP : _SPARSE, col : col + CHIP : _SPARSE])
    # a place that is only partly clear needs much more contrast to be chosen
    return contrast * (clear / (CHIP // _SPARSE) ** 2) ** 2


def _contrast(anchor: ArraySource, row: int, col: int) -> float:
    """Standard deviation of the anchor in a chip; 0 where most of it is not usable."""
    values = anchor.values[0, row : row + CHIP : _SPARSE, col : col + CHIP : _SPARSE]
    seen = _plane(anchor.usable)[row : row + CHIP : _SPARSE, col : col + CHIP : _SPARSE]
    return float(values[seen].astype(np.float64).std()) if seen.sum() > seen.size / 2 else 0.0


def _away(displacement: Displacement, mean: Shift, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a displacement lies from its mean at some places (row, column), px."""
    dy, dx = Spline.of(displacement).at_points(places[:, 0], places[:, 1])
    return np.asarray(np.hypot(dy - mean.y, dx - mean.x))


def _chip(
    source: ArraySource, valid: NDArray[np.bool_], place: Shift, move: Move = NO_SHIFT
) -> NDArray[np.float32]:
    """Pixels of a chip whose first pixel lies at a place of the frame, of a moved source; NaN where there are none."""
    if isinstance(move, Displacement):
        return _displaced_chip(source, valid, place, move)
    start = Shift(*(at - by - begin for at, by, begin in zip(place, move, source.origin, strict=True)))
    rows, cols = source_window(start, (CHIP, CHIP), source.shape, "cubic")
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return np.full((CHIP, CHIP), np.nan, np.float32)
    values = source.values[0, rows, cols].astype(np.float32)
    values[~_plane(valid)[rows, cols]] = np.nan
    local = Shift(start.y - rows.start, start.x - cols.start)
    return translate(values, start=local, shape=(CHIP, CHIP), fill=np.nan).astype(np.float32, copy=False)


def _displaced_chip(
    source: ArraySource, valid: NDArray[np.bool_], place: Shift, displacement: Displacement
) -> NDArray[np.float32]:
    spline = Spline.of(displacement)
    y, x = displaced_positions(spline, (0, 0, CHIP, CHIP), source.origin, first=place)
    rows, cols = window_at(bounds_of(y, x), source.shape, "cubic")
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return np.full((CHIP, CHIP), np.nan, np.float32)
    values = source.values[0, rows, cols].astype(np.float32)
    values[~_plane(valid)[rows, cols]] = np.nan
    return resample_at(values, y - rows.start, x - cols.start, fill=np.nan).astype(np.float32, copy=False)


def _overview(
    source: ArraySource, valid: NDArray[np.bool_], longest: int
) -> tuple[int, NDArray[np.float32], NDArray[np.bool_]]:
    """By how much an image is reduced, the reduced image, and where it is clear.

    Four pixels of each block are read, so that the cost is that of the result's own size.
    """
    factor = max(1, -(-max(source.shape) // longest))
    height, width = max(source.shape[0] // factor, 1), max(source.shape[1] // factor, 1)
    total, count = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    clear = np.ones((height, width), bool)
    steps = sorted({factor // 4, 3 * factor // 4})
    for row in sorted({min(step, source.shape[0] - 1) for step in steps}):
        for col in sorted({min(step, source.shape[1] - 1) for step in steps}):
            values = source.values[0, row::factor, col::factor][:height, :width].astype(np.float32)
            there = _plane(valid)[row::factor, col::factor][:height, :width] & np.isfinite(values)
            total += np.where(there, values, 0)
            count += there
            clear &= there & _plane(source.usable)[row::factor, col::factor][:height, :width]
    image = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return factor, image, clear


def _plane(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask if mask.ndim == 2 else mask[0]


def _limits(values: NDArray[np.float32]) -> tuple[float, float]:
    """1st and 99th percentile of every fourth value, to the nearest of them."""
    some = values.ravel()[::4]
    there = some[np.isfinite(some)]
    if there.size == 0:
        return 0.0, 1.0
    first = round(0.01 * (there.size - 1))
    there.partition((first, there.size - 1 - first))
    return float(there[first]), float(there[-1 - first])


def _bytes(image: NDArray[np.float32], limits: tuple[float, float]) -> NDArray[np.uint8]:
    """Grey values from 1 on; 0 where there is nothing."""
    low, high = limits
    # flat ground is as dark as can be, however large or small its value
    span = np.float32(high - low) or np.float32(np.inf)
    grey = np.clip((image - low) / span * 254 + 1, 1, 255)
    return np.where(np.isnan(grey), 0, grey).astype(np.uint8)


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    # GDAL would copy it twice, and open it again when it is written: ten times the work of the codec itself
    memory = BytesIO()
    Image.fromarray(image).save(memory, "JPEG", quality=_QUALITY)
    return memory.getvalue()
