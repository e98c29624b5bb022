"""Resampling at positions that differ from pixel to pixel, in one interpolation.

The rules for what is valid and what is written are those of `coregstack.kernels.resample.translate`; where all
positions are one pixel apart, so is the result.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.kernels._resample_at import TILE, copy_usable_at, interpolate_at
from coregstack.kernels._rules import Rules, bands_of, checked, inside
from coregstack.kernels._taps import tap_table
from coregstack.kernels.displacement import Area, Bounds, Spline
from coregstack.model import NO_SHIFT, Shift

SAME_SCALE = Shift(1.0, 1.0)
"""Output pixels as large as those of the source."""


def resample_at(
    values: NDArray[np.generic],
    rows: NDArray[np.float64],
    cols: NDArray[np.float64],
    *,
    kernel: str = "cubic",
    scale: Shift = SAME_SCALE,
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
    fill: float | None = None,
    out: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Interpolate an image at any source positions, one for each output pixel.

    What is valid, rounded, saturated, kept off nodata and filled is so by the rules of
    `coregstack.kernels.resample.translate`. A piece of the output, computed from its `window_at`, is bit for bit the
    same piece of the whole.

    Parameters
    ----------
    values : ndarray, shape (y, x) or (band, y, x)
        As for `translate`.
    rows, cols : ndarray of float64, shape (y, x) of the output
        Source positions, px, rounded to 2**-20. They may lie outside; where they are not finite, the output is empty.
    kernel : {"nearest", "bilinear", "cubic", "lanczos", "allpass"}
        As for `translate`.
    scale : Shift
        Source pixels along one output pixel, by rows and by columns. Above 1 the kernel is made wider by it, so that
        detail finer than the output's pixels is averaged, not sampled; "nearest" and "allpass" are not.
    valid, nodata, fill, out
        As for `translate`.

    Returns
    -------
    ndarray, shape of `rows`, or (band,) + that
        Of the dtype of `values`.

    Raises
    ------
    InvalidRequest
        If the kernel, the dtype, a shape or the fill value cannot be used.

    Notes
    -----
    "nearest", "bilinear" and "cubic" give the bits of `translate` at the same positions. The weights of the other
    kernels are interpolated between 1024 phases of a pixel, and lie within 4e-6 of those of `translate`.

    Examples
    --------
    >>> ramp = np.arange(0, 80, 10, dtype=np.uint8) * np.ones((5, 1), np.uint8)
    >>> resample_at(ramp, np.full((1, 3), 2.0), np.array([[2.25, 4.0, 8.5]]), nodata=255)
    array([[ 22,  40, 255]], dtype=uint8)
    """
    values, valid = checked(values, valid, kernel)
    # loops over contiguous rows are several times as fast
    values = np.ascontiguousarray(values)
    rows, cols = (np.ascontiguousarray(places, float) for places in (rows, cols))
    if rows.ndim != 2 or rows.shape != cols.shape:
        raise InvalidRequest(
            f"Positions have to be two arrays of one shape (y, x), not {rows.shape} and {cols.shape}."
        )
    rules = Rules.of(values.dtype, nodata, fill)
    target = np.empty((*values.shape[:-2], *rows.shape), values.dtype) if out is None else out
    if kernel == "nearest":
        for band, mask, here in bands_of(values, valid, target):
            copy_usable_at(band, rules.usable(band, mask)[0], rows, cols, rules.background, here)
        return target
    down, along = (tap_table(kernel, float(size)) for size in scale)
    taps = (0,) * down.weights.shape[1] if max(scale) <= 1 else ()
    weights = tuple(np.empty((axis.weights.shape[1], TILE), rules.real) for axis in (down, along))
    some = [rules.usable(band, mask) for band, mask, _ in bands_of(values, valid, target)]
    usable, full = (np.stack(each) for each in zip(*some, strict=True))
    bands, whole = (image.reshape(-1, *image.shape[-2:]) for image in (values, target))
    axes = tuple(down), tuple(along), weights, taps
    interpolate_at(bands, usable, full, rows, cols, *axes, rules.marks, rules.guard, whole)
    return target


def resample_mask_at(
    valid: NDArray[np.bool_], rows: NDArray[np.float64], cols: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Take a mask at source positions by nearest neighbour, the rule by which `resample_at` calls its output valid.

    Parameters
    ----------
    valid : ndarray of bool, shape (y, x) or (band, y, x)
        True where a source pixel is valid.
    rows, cols : ndarray of float64, shape (y, x) of the output
        Source positions, px.

    Returns
    -------
    ndarray of bool, shape of `rows`, or (band,) + that
        False where nothing valid is nearest.

    Examples
    --------
    >>> resample_mask_at(np.array([[True, False]]), np.zeros((1, 3)), np.array([[0.4, 0.5, -0.6]]))
    array([[ True, False, False]])
    """
    return resample_at(valid, rows, cols, kernel="nearest").astype(bool, copy=False)


def window_at(
    bounds: Bounds, source_shape: tuple[int, int], kernel: str, scale: Shift = SAME_SCALE
) -> tuple[slice, slice]:
    """Rows and columns of the source that `resample_at` needs for positions that lie within bounds.

    Parameters
    ----------
    bounds : Bounds
        Between which source positions all lie, px.
    source_shape : tuple of int
        Rows and columns of the whole source.
    kernel, scale
        As for `resample_at`.

    Returns
    -------
    tuple of slice
        Rows and columns, inside the source; empty where the output holds no valid pixel. After reading them,
        positions in what was read are those in the whole less ``rows.start`` and ``cols.start``.

    Examples
    --------
    >>> window_at(Bounds(Shift(9.5, -3.0), Shift(12.5, 0.0)), (20, 20), "cubic")
    (slice(8, 16, None), slice(0, 4, None))
    """
    rows, cols = (
        _needed(low, high, size, kernel, stretch)
        for low, high, size, stretch in zip(*bounds, source_shape, scale, strict=True)
    )
    return rows, cols


def bounds_of(rows: NDArray[np.float64], cols: NDArray[np.float64]) -> Bounds:
    """Between what positions lie, NaN where there are none; those that are not finite do not count."""
    finite = np.isfinite(rows) & np.isfinite(cols)
    if not finite.all():
        rows, cols = rows[finite], cols[finite]
    if rows.size == 0:
        return Bounds(Shift(math.nan, math.nan), Shift(math.nan, math.nan))
    least, greatest = Shift(float(rows.min()), float(cols.min())), Shift(float(rows.max()), float(cols.max()))
    return Bounds(least, greatest)


def displaced_positions(
    displacement: Spline, area: Area, origin: Shift, first: Shift = NO_SHIFT
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in an item lies what a displacement brings to each pixel of a part of the frame.

    Parameters
    ----------
    displacement : Spline
        What is applied to the item's content.
    area : tuple of int
        First row, first column, rows and columns of the output in the frame.
    origin : Shift
        Frame position of the centre of the item's first pixel.
    first : Shift
        Frame position of the output's row 0 and column 0, where it is not itself counted in the frame.

    Returns
    -------
    rows, cols : ndarray of float64, shape (rows, columns)
        Source positions in pixels of the item: ``p - d(p) - origin`` for each frame position ``p``.

    Examples
    --------
    >>> from coregstack.kernels.displacement import constant
    >>> displaced_positions(Spline.of(constant(Shift(0.5, -2.0))), (0, 4, 1, 2), Shift(0.0, 1.0))
    (array([[-0.5, -0.5]]), array([[5., 6.]]))
    """
    row, col, height, width = area
    rows = np.arange(row, row + height, dtype=float) + first.y
    cols = np.arange(col, col + width, dtype=float) + first.x
    dy, dx = displacement.at(rows, cols)
    np.subtract(rows[:, None], dy, out=dy)
    np.subtract(cols[None, :], dx, out=dx)
    dy -= origin.y
    dx -= origin.x
    return dy, dx


def displaced_bounds(displacement: Spline, area: Area, origin: Shift, first: Shift = NO_SHIFT) -> Bounds:
    """Between what the `displaced_positions` of a part of the frame lie, without computing them."""
    row, col, height, width = area
    ends = row + first.y, row + height - 1 + first.y, col + first.x, col + width - 1 + first.x
    least, greatest = displacement.bounds(*ends)
    return Bounds(
        Shift(ends[0] - greatest.y - origin.y, ends[2] - greatest.x - origin.x),
        Shift(ends[1] - least.y - origin.y, ends[3] - least.x - origin.x),
    )


def _needed(low: float, high: float, size: int, kernel: str, scale: float) -> slice:
    if not low <= high:
        return slice(0, 0)
    before, after = 0, 1
    if kernel != "nearest":
        table = tap_table(kernel, float(scale))
        before, after = table.first, table.first + table.weights.shape[1]
    # by one wider where the nearest pixel counts, which may be the next one
    start, stop = (min(max(place, -1e9), 1e9) for place in (low, high))
    return inside(math.floor(start) + min(before, 0), math.floor(stop) + max(after, 1) + 1, size)
