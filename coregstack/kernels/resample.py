"""Resampling by a translation: every output pixel is interpolated once, at one sub-pixel phase.

Whole-pixel moves are exact copies. Otherwise the work is a separable sum over the taps of one kernel,
whose weights add up to 1 and have their centre of mass at the wanted position, so that the shift
asked for is the shift made.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels._interpolate import copy_usable, finish, interpolate, room, tiles
from coregstack.kernels._rules import Rules, bands_of, checked, inside
from coregstack.kernels._taps import Taps, taps_at
from coregstack.model import Shift

_STRIP = 64
"""Rows whose sums are held before they are written, so few that they are still in the cache."""


def translate(
    values: NDArray[np.generic],
    *,
    start: Shift,
    shape: tuple[int, int],
    kernel: str = "cubic",
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
    fill: float | None = None,
    out: NDArray[np.generic] | None = None,
) -> NDArray[np.generic]:
    """Interpolate an image at positions one pixel apart, from a real-valued start on.

    Output pixel ``(i, j)`` is `values` at source position ``(i + start.y, j + start.x)``. It is valid if
    the source pixel nearest to that position (halves up) lies inside and is valid; taps that are not
    valid get no weight, so they never bleed into their neighbours. A piece of the output, computed from its
    `source_window`, is bit for bit the same piece of the whole.

    Parameters
    ----------
    values : ndarray, shape (y, x) or (band, y, x)
        Any integer or floating dtype, or bool with the kernel "nearest". Pixels that are not finite are
        invalid.
    start : Shift
        Source position (row, column) of the first output pixel, in source pixels, rounded to 2**-20. It
        may lie outside.
    shape : tuple of int
        Rows and columns of the output.
    kernel : {"nearest", "bilinear", "cubic", "lanczos", "allpass"}
        "cubic" is Keys' with a = -1/2, "lanczos" has six taps, and "allpass" keeps the power at all
        frequencies, so that it neither smooths nor sharpens noise: it is there for scores, not for pictures.
    valid : ndarray of bool, shape (y, x) or (band, y, x), optional
        False where a source pixel is invalid.
    nodata : float, optional
        Source pixels of this value are invalid, and no valid output pixel gets it: one that would is
        moved to the next value on the side of its unrounded value. A value that the dtype cannot hold
        marks nothing.
    fill : float, optional
        What invalid output pixels become: by default `nodata`, else NaN for floats and 0 for others.
    out : ndarray, optional
        Contiguous array of the result's shape and dtype to write to; a new one by default.

    Returns
    -------
    ndarray, shape `shape` or (band,) + `shape`
        Of the dtype of `values`; integers are rounded to nearest (halves to even) and saturate.

    Raises
    ------
    InvalidRequest
        If the kernel, the dtype, the start or the fill value cannot be used.

    Notes
    -----
    Integers of up to 16 bits and float32 are computed in float32, wider types in float64. Where the valid
    taps of a pixel hold less than 0.4 of the weight, its nearest pixel is taken as it is.

    Examples
    --------
    >>> ramp = np.arange(0, 80, 10, dtype=np.uint8) * np.ones((5, 1), np.uint8)
    >>> translate(ramp, start=Shift(0.0, 2.25), shape=(1, 7), nodata=255)
    array([[ 22,  32,  42,  52,  63,  71, 255]], dtype=uint8)
    """
    values, valid = checked(values, valid, kernel)
    rules = Rules.of(values.dtype, nodata, fill)
    rows, cols = taps_at(kernel, start.y), taps_at(kernel, start.x)
    target = np.empty((*values.shape[:-2], *shape), values.dtype) if out is None else out
    whole = rows.weights.size == cols.weights.size == 1
    for band, mask, here in bands_of(values, valid, target):
        if whole:
            usable = rules.usable(band, mask)[0]
            copy_usable(band, usable, (rows.nearest, cols.nearest), rules.background, here)
        else:
            _interpolate(band, mask, rows, cols, rules, here)
    return target


def translate_mask(valid: NDArray[np.bool_], *, start: Shift, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Move a mask by nearest neighbour, the rule by which `translate` calls its output valid.

    Parameters
    ----------
    valid : ndarray of bool, shape (y, x) or (band, y, x)
        True where a source pixel is valid.
    start : Shift
        Source position of the first output pixel, in source pixels.
    shape : tuple of int
        Rows and columns of the output.

    Returns
    -------
    ndarray of bool, shape `shape` or (band,) + `shape`
        False where nothing valid is nearest.

    Examples
    --------
    >>> translate_mask(np.array([[True, False, True]]), start=Shift(0.0, 1.5), shape=(1, 2))
    array([[ True, False]])
    """
    return translate(valid, start=start, shape=shape, kernel="nearest").astype(bool, copy=False)


def source_window(
    start: Shift, shape: tuple[int, int], source_shape: tuple[int, int], kernel: str
) -> tuple[slice, slice]:
    """Rows and columns of the source that `translate` needs for an output window.

    Parameters
    ----------
    start : Shift
        Source position of the window's first output pixel, in source pixels.
    shape : tuple of int
        Rows and columns of the output window.
    source_shape : tuple of int
        Rows and columns of the whole source.
    kernel : str
        As for `translate`.

    Returns
    -------
    tuple of slice
        Rows and columns, inside the source; empty where the output holds no valid pixel. After reading them,
        the start in what was read is ``Shift(start.y - rows.start, start.x - cols.start)``.

    Raises
    ------
    InvalidRequest
        If the kernel is unknown or the start is not finite.

    Examples
    --------
    >>> source_window(Shift(9.5, -3.0), (4, 4), (20, 20), "cubic")
    (slice(8, 15, None), slice(0, 1, None))
    """
    rows = _needed(taps_at(kernel, start.y), shape[0], source_shape[0])
    cols = _needed(taps_at(kernel, start.x), shape[1], source_shape[1])
    return rows, cols


def _needed(taps: Taps, count: int, size: int) -> slice:
    return inside(taps.first, taps.first + taps.weights.size - 1 + count, size)


def _interpolate(
    band: NDArray[np.generic],
    mask: NDArray[np.bool_],
    rows: Taps,
    cols: Taps,
    rules: Rules,
    out: NDArray[np.generic],
) -> None:
    weights = rows.weights.astype(rules.real), cols.weights.astype(rules.real)
    edges = tiles(out.shape[1], cols.first, band.shape[1], cols.weights.size)
    lines, missing = room(out.shape[1], cols.weights.size, rules.real)
    sums = np.zeros((min(_STRIP, out.shape[0]), out.shape[1]), rules.real)
    for top in range(0, out.shape[0], _STRIP):
        part = out[top : top + _STRIP]
        some = sums[: len(part)]
        needed = inside(rows.first + top, rows.first + top + rows.weights.size - 1 + len(part), len(band))
        usable, full = rules.usable(band[needed], mask[needed])
        # exact: float32 holds all numbers of 16 bits; a strip is copied while it is in the cache
        values = np.ascontiguousarray(band[needed], rules.real)
        # loops would be compiled once more for pixels that may not be written to
        values = values if values.flags.writeable else values.copy()
        above = top - needed.start
        first, nearest = (rows.first + above, cols.first), (rows.nearest + above, cols.nearest)
        interpolate(values, usable, full, first, nearest, *weights, edges, lines, missing, some)
        finish(some, usable, nearest, rules.marks, rules.guard, part)
