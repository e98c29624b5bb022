"""Loops of the resampling kernel, for one band.

A pixel is always computed by the same operations in the same order, whichever window it is part of, so
that the result never depends on how an array was cut: where taps are missing, their values enter the same
sums as zeros, and only then is the sum divided by the weight that is left.

What is compiled is compiled for few kinds of arrays: sums are float32 or float64 whatever the pixels are, numpy makes
room for them, and it does what only compares and copies.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

BLOCK = 128
_TILE = 512
_LEAST_WEIGHT = 0.4


def usable_pixels(
    values: NDArray[np.generic], valid: NDArray[np.bool_], nodata: NDArray[np.generic]
) -> NDArray[np.bool_]:
    """Where pixels are valid, finite and not `nodata`.

    `valid` is (y, x), or (0, 0) if all are; `nodata` (1,), or (0,) if there is none.
    """
    seen = [values != nodata[0]] if nodata.size else []
    if values.dtype.kind == "f":
        seen.append(np.isfinite(values))
    if valid.size:
        seen.append(valid)
    usable: NDArray[np.bool_] = reduce(np.logical_and, seen) if seen else np.ones(values.shape, bool)
    # loops would be compiled once more for a mask that may not be written to
    return usable if usable.flags.writeable else usable.copy()


def full_blocks(usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether all pixels of a row's block of `BLOCK` are usable, shape (y, blocks)."""
    height, width = usable.shape
    full: NDArray[np.bool_] = np.ones((height, -(-width // BLOCK)), bool)
    if not usable.all():
        whole = width // BLOCK
        full[:, :whole] = usable[:, : whole * BLOCK].reshape(height, whole, BLOCK).all(axis=2)
        full[:, whole:] = usable[:, whole * BLOCK :].all(axis=1, keepdims=True)
    return full


def copy_usable(
    values: NDArray[np.generic],
    usable: NDArray[np.bool_],
    corner: tuple[int, int],
    background: NDArray[np.generic],
    out: NDArray[np.generic],
) -> None:
    """Fill `out` (y, x) with usable pixels from row and column `corner` on, else with ``background[0]``."""
    spans = [
        (min(max(0, -start), size), max(min(size, length - start), min(max(0, -start), size)))
        for start, size, length in zip(corner, out.shape, values.shape, strict=True)
    ]
    (top, bottom), (left, right) = spans
    source = slice(top + corner[0], bottom + corner[0]), slice(left + corner[1], right + corner[1])
    inside = out[top:bottom, left:right]
    out[:top], out[bottom:] = background[0], background[0]
    out[top:bottom, :left], out[top:bottom, right:] = background[0], background[0]
    np.copyto(inside, values[source])
    if not usable[source].all():
        np.copyto(inside, background[0], where=~usable[source])


def tiles(columns: int, first: int, width: int, taps: int) -> NDArray[np.int64]:
    """Where tiles of the output begin and end: those with all their taps inside are apart from the edges."""
    low = min(max(0, -first), columns)
    high = max(min(width - taps + 1 - first, columns), low)
    edges = [0]
    for stop in (low, high, columns):
        while edges[-1] < stop:
            edges.append(min(edges[-1] + _TILE, stop))
    return np.array(edges, np.int64)


def room(columns: int, taps: int, real: type) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    """Scratch for `interpolate`: three lines of a tile with its taps, and one of bool."""
    length = min(_TILE, columns) + taps - 1
    return np.empty((3, length), real), np.empty(length, bool)


@compiled
def interpolate(
    values, usable, full, first, nearest, weights_y, weights_x, edges, lines, missing, out
) -> None:
    """Fill `out` (y, x) with separable sums over taps; all numbers are of one floating type.

    Output pixel (i, j) takes source rows ``first[0] + i + t`` and columns ``first[1] + j + t``; its nearest
    source pixel is ``(nearest[0] + i, nearest[1] + j)``, and where that is not usable, nothing is promised.
    `full` is of `full_blocks`, `edges` of `tiles`, `lines` and `missing` of `room`.
    """
    height, width = values.shape
    taps_y, taps_x = weights_y.size, weights_x.size
    line, cover, share = lines[0], lines[1], lines[2]
    for k in range(edges.size - 1):
        tile, n = edges[k], edges[k + 1] - edges[k]
        span = n + taps_x - 1
        left = first[1] + tile
        low = min(max(0, -left), span)
        high = max(min(span, width - left), low)
        for i in range(out.shape[0]):
            row, near = first[0] + i, nearest[0] + i
            if near < 0 or near >= height or low == high:
                continue
            target = out[i, tile : tile + n]
            top, bottom = max(0, -row), min(taps_y, height - row)
            if bottom - top == taps_y and high - low == span and _all_full(full, row, taps_y, left, span):
                _weigh_rows(values, row, left, weights_y, line[:span])
                _weigh_columns(line, weights_x, target)
                continue
            _clear(lines, missing, low, high, bottom - top < taps_y)
            part = slice(low, high)
            _weigh_usable_rows(
                values,
                usable,
                row,
                top,
                bottom,
                left + low,
                weights_y,
                line[part],
                cover[part],
                missing[part],
            )
            _weigh_columns(line, weights_x, target)
            _weigh_columns(cover, weights_x, share[:n])
            _divide(target, share, missing, taps_x, values[near], nearest[1] + tile)


@compiled
def _all_full(full, row, rows, left, span) -> bool:
    """Whether all blocks that a row of output reads are full."""
    for i in range(row, row + rows):
        for k in range(left // BLOCK, (left + span + BLOCK - 1) // BLOCK):
            if not full[i, k]:
                return False
    return True


@compiled
def _clear(lines, missing, low, high, gap) -> None:
    """Forget the last row: nothing is known outside `low` to `high`, and of what is inside rows may be missing."""
    for j in range(missing.size):
        lines[0, j], lines[1, j] = 0, 0
        missing[j] = gap or j < low or j >= high


@compiled
def _weigh_rows(values, row, left, weights, line) -> None:
    stop = left + line.size
    for j in range(line.size):
        line[j] = 0
    whole = weights.size // 4 * 4
    for t in range(0, whole, 4):
        # Four taps a pass, in the order of one at a time, spare the line most of its way to memory.
        a, b = values[row + t, left:stop], values[row + t + 1, left:stop]
        c, d = values[row + t + 2, left:stop], values[row + t + 3, left:stop]
        u, v, w, x = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for j in range(line.size):
            line[j] = line[j] + u * a[j] + v * b[j] + w * c[j] + x * d[j]
    for t in range(whole, weights.size):
        weight, source = weights[t], values[row + t, left:stop]
        for j in range(line.size):
            line[j] += weight * source[j]


@compiled
def _weigh_usable_rows(values, usable, row, top, bottom, left, weights, line, cover, missing) -> None:
    stop = left + line.size
    for t in range(top, bottom):
        weight, source, use = weights[t], values[row + t, left:stop], usable[row + t, left:stop]
        nothing = 0 * weight
        for j in range(line.size):
            line[j] += weight * source[j] if use[j] else nothing
            cover[j] += weight if use[j] else nothing
            missing[j] |= not use[j]


@compiled
def _weigh_columns(line, weights, sums) -> None:
    for j in range(sums.size):
        sums[j] = 0
    whole = weights.size // 4 * 4
    for t in range(0, whole, 4):
        a, b, c, d = line[t:], line[t + 1 :], line[t + 2 :], line[t + 3 :]
        u, v, w, x = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for j in range(sums.size):
            sums[j] = sums[j] + u * a[j] + v * b[j] + w * c[j] + x * d[j]
    for t in range(whole, weights.size):
        weight, source = weights[t], line[t:]
        for j in range(sums.size):
            sums[j] += weight * source[j]


@compiled
def _divide(sums, share, missing, taps, nearest, left) -> None:
    """Where a tap is missing, divide by the weight that is left, else take the nearest pixel."""
    for j in range(sums.size):
        gap = False
        for t in range(taps):
            gap |= missing[j + t]
        if gap and 0 <= left + j < nearest.size:
            sums[j] = completed(sums[j], share[j], nearest[left + j])


@compiled
def completed(total, share, nearest) -> float:
    """A sum of which taps are missing: divided by the weight that is left, else the nearest pixel as it is."""
    return total / share if share >= _LEAST_WEIGHT else type(total)(nearest)


@compiled
def finish(sums, usable, nearest, marks, nodata, out) -> None:
    """Fill `out` (y, x) with sums: rounded, saturated, kept off the nodata value, blank where not usable.

    `nearest` is as for `interpolate`. `marks` (3,) are the smallest and the largest value, and what an invalid pixel
    becomes. `nodata` is (0,), or (3,): the value and its neighbours below and above. Both are of the type of `out`.
    """
    columns = out.shape[1]
    left = min(max(0, -nearest[1]), columns)
    right = max(min(columns, usable.shape[1] - nearest[1]), left)
    for i in range(out.shape[0]):
        row, target = nearest[0] + i, out[i]
        if row < 0 or row >= usable.shape[0]:
            for j in range(columns):
                target[j] = marks[2]
            continue
        for j in range(left):
            target[j] = marks[2]
        for j in range(right, columns):
            target[j] = marks[2]
        use = usable[row, left + nearest[1] : right + nearest[1]]
        part = target[left:right]
        store(sums[i, left:right], marks, nodata, part)
        gaps = 0
        for j in range(part.size):
            gaps += not use[j]
        if gaps:
            blank = marks[2]
            for j in range(part.size):
                part[j] = part[j] if use[j] else blank


@compiled
def store(sums, marks, nodata, target) -> None:
    """Round, saturate, keep off the nodata value and write."""
    lowest, highest = marks[0], marks[1]
    low, high = sums.dtype.type(lowest), sums.dtype.type(highest)
    integer = target.dtype.type(0.5) == 0
    for j in range(target.size):
        value = np.rint(sums[j]) if integer else sums[j]
        inside = target.dtype.type(min(max(value, low), high))
        target[j] = lowest if value <= low else (highest if value >= high else inside)
    if nodata.size:
        # to look first whether there is any takes a third of the time, for there hardly ever is
        empty, below, above = nodata[0], nodata[1], nodata[2]
        hidden = 0
        for j in range(target.size):
            hidden += target[j] == empty
        if hidden:
            for j in range(target.size):
                if target[j] == empty:
                    target[j] = below if sums[j] < empty else above
