"""Compiled loops of resampling at positions that differ from pixel to pixel.

As in `_interpolate`, a pixel is always computed by the same operations in the same order, and by those of
`_interpolate` where its position is the same. Positions mostly advance by one source pixel from one output pixel to
the next, so that whole runs of output pixels share the offset of their taps; such a run is summed up side by side
along contiguous rows, what is left pixel by pixel. All three ways add in the same order.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np

from coregstack.kernels._interpolate import BLOCK, completed, store
from coregstack.kernels._taps import CUBIC, LINEAR, QUANTUM
from coregstack.kernels.compiling import compiled

TILE = 256
_PIECE = 16
_CHUNK = 16
_LONG_RUN = 64
_FAR = 2.0**30
_PER_PIXEL = 1 / QUANTUM


@compiled
def copy_usable_at(values, usable, rows, cols, background, out) -> None:
    """Fill `out` (y, x) with the usable pixels nearest to source positions, else with ``background[0]``."""
    share, first = np.empty(out.shape[1]), np.empty(out.shape[1], np.int64)
    row, col = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    for i in range(out.shape[0]):
        _split(rows[i], 0.0, share, first, row)
        _split(cols[i], 0.0, share, first, col)
        for j in range(row.size):
            out[i, j] = values[row[j], col[j]] if _holds(usable, row[j], col[j]) else background[0]


@compiled
def interpolate_at(values, usable, full, rows, cols, down, along, weights, taps, marks, nodata, out) -> None:
    """Fill `out` (band, y, x) with separable sums over taps around the source positions `rows`, `cols` (y, x).

    `down` and `along` are the `TapTable` of each axis, and `weights` space for the weights of `TILE` pixels along
    both: (taps, `TILE`). `taps` is a tuple as long as there are taps along either axis, by which the compiler knows
    their number, or empty. `values`, `usable` and `full` are those of every band, else as for `interpolate`, as
    `marks` and `nodata` are.
    """
    share, sums = np.empty(TILE), np.empty(TILE, weights[0].dtype)
    line = np.empty(TILE, weights[0].dtype)
    row, col = np.empty(TILE, np.int64), np.empty(TILE, np.int64)
    near_row, near_col = np.empty(TILE, np.int64), np.empty(TILE, np.int64)
    parts = np.empty((TILE // _PIECE, 4), np.int64)
    for i in range(out.shape[1]):
        for left in range(0, out.shape[2], TILE):
            n = min(TILE, out.shape[2] - left)
            tile = slice(left, left + n)
            _split(rows[i, tile], down[2], share, row, near_row)
            _weigh(down, share[:n], weights[0])
            _split(cols[i, tile], along[2], share, col, near_col)
            _weigh(along, share[:n], weights[1])
            for j in range(n):
                row[j] += down[1]
                col[j] += along[1]
            whole = _reach(row[:n], col[:n], weights, parts)
            for band in range(out.shape[0]):
                here, use, throughout, target = values[band], usable[band], full[band], out[band, i, tile]
                done, gaps = 0, False
                if not _all_full(use, throughout, whole):
                    for start in range(0, n, _PIECE):
                        part = parts[start // _PIECE]
                        if not _all_usable(use, throughout, (part[0], part[1], part[2], part[3])):
                            _sum_runs(here, row, col, weights, taps, slice(done, start), line, sums)
                            done, gaps = min(start + _PIECE, n), True
                            piece = slice(start, done)
                            _sum_usable(here, use, row, col, near_row, near_col, weights, piece, sums)
                _sum_runs(here, row, col, weights, taps, slice(done, n), line, sums)
                store(sums, marks, nodata, target)
                if gaps:
                    for j in range(n):
                        if not _holds(use, near_row[j], near_col[j]):
                            target[j] = marks[2]


@compiled
def _split(positions, begin, share, first, nearest) -> None:
    """Split positions into the pixel they are counted from, and what they lie beyond its `begin`: 0 to 1."""
    for j in range(positions.size):
        place = positions[j]
        place = np.rint(place * _PER_PIXEL) * QUANTUM if abs(place) < _FAR else -_FAR
        floor = np.floor(place)
        near = floor + 1 if place - floor >= 0.5 else floor
        base = floor if begin == 0 else near
        first[j], nearest[j], share[j] = np.int64(base), np.int64(near), place - base - begin


@compiled
def _weigh(axis, share, weights) -> None:
    """Fill `weights` (taps, pixels) with those for each share of a pixel, as `taps_at` has them."""
    kind, _, _, table = axis
    real = weights.dtype.type
    if kind == LINEAR:
        for j in range(share.size):
            weights[0, j], weights[1, j] = real(1 - share[j]), real(share[j])
    elif kind == CUBIC:
        # a loop each, for the compiler to do many pixels at once
        for j in range(share.size):
            weights[0, j] = real(share[j] * (-1 + share[j] * (2 - share[j])) / 2)
        for j in range(share.size):
            weights[1, j] = real((2 + share[j] * share[j] * (3 * share[j] - 5)) / 2)
        for j in range(share.size):
            weights[2, j] = real(share[j] * (1 + share[j] * (4 - 3 * share[j])) / 2)
        for j in range(share.size):
            weights[3, j] = real(share[j] * share[j] * (share[j] - 1) / 2)
    else:
        phases = table.shape[0] - 1
        for j in range(share.size):
            k = min(int(share[j] * phases), phases - 1)
            here, there, way = table[k], table[k + 1], share[j] * phases - k
            for t in range(here.size):
                weights[t, j] = real(here[t] + way * (there[t] - here[t]))


@compiled
def _reach(row, col, weights, parts) -> tuple[int, int, int, int]:
    """Rows and columns that the taps of some pixels take, as first ones and those behind the last ones.

    `parts` is filled with those of each piece of `_PIECE` pixels.
    """
    taps = weights[0].shape[0], weights[1].shape[0]
    top, bottom, left, right = row[0], row[0], col[0], col[0]
    for start in range(0, row.size, _PIECE):
        low, high, first, last = row[start], row[start], col[start], col[start]
        for j in range(start, min(start + _PIECE, row.size)):
            low, high = min(low, row[j]), max(high, row[j])
            first, last = min(first, col[j]), max(last, col[j])
        part = parts[start // _PIECE]
        part[0], part[1], part[2], part[3] = low, high + taps[0], first, last + taps[1]
        top, bottom, left, right = min(top, low), max(bottom, high), min(left, first), max(right, last)
    return top, bottom + taps[0], left, right + taps[1]


@compiled
def _all_full(usable, full, part) -> bool:
    """Whether all of a part of the source is there, and the blocks that it touches are full."""
    top, bottom, left, right = part
    if top < 0 or left < 0 or bottom > usable.shape[0] or right > usable.shape[1]:
        return False
    for i in range(top, bottom):
        for k in range(left // BLOCK, (right + BLOCK - 1) // BLOCK):
            if not full[i, k]:
                return False
    return True


@compiled
def _all_usable(usable, full, part) -> bool:
    """Whether all of a part of the source is there and usable."""
    top, bottom, left, right = part
    if top < 0 or left < 0 or bottom > usable.shape[0] or right > usable.shape[1]:
        return False
    return _all_full(usable, full, part) or usable[top:bottom, left:right].all()


@compiled
def _holds(usable, row, col) -> bool:
    """Whether a source pixel is there and usable."""
    return 0 <= row < usable.shape[0] and 0 <= col < usable.shape[1] and usable[row, col]


@compiled
def _sum_runs(values, row, col, weights, taps, piece, line, sums) -> None:
    """Sums of pixels whose taps are all usable."""
    start = piece.start
    while start < piece.stop:
        stop = start + 1
        while stop < piece.stop and row[stop] == row[start] and col[stop] - stop == col[start] - start:
            stop += 1
        if 0 < len(taps) <= 4 and stop - start >= _CHUNK:
            for j in range(start, stop, _CHUNK):
                first = min(j, stop - _CHUNK)
                _sum_chunk(values, row[first], col[first], weights, taps, first, sums)
        elif stop - start >= _LONG_RUN:
            _sum_run(values, row[start], col[start], weights, slice(start, stop), line, sums[start:stop])
        else:
            for j in range(start, stop):
                sums[j] = _sum_pixel(values, row[j], col[j], weights, taps, j)
        start = stop


@compiled
def _sum_chunk(values, row, col, weights, taps, first, sums) -> None:
    """Sums of `_CHUNK` pixels of a run, few taps, all at once.

    Indexes without a sign spare the compiler a look at whether they count from the end.
    """
    down, along = weights
    real = sums.dtype.type
    top, left, begin = np.uint64(row), np.uint64(col), np.uint64(first)
    for k in range(np.uint64(_CHUNK)):
        total = real(0)
        for u in range(len(taps)):
            tally = real(0)
            for t in range(len(taps)):
                value = values[top + np.uint64(t), left + np.uint64(u) + k]
                tally += down[np.uint64(t), begin + k] * real(value)
            total += along[np.uint64(u), begin + k] * tally
        sums[begin + k] = total


@compiled
def _sum_run(values, row, col, weights, run, line, sums) -> None:
    """Sums of a run of any length, tap by tap."""
    down, along = weights
    real, n = sums.dtype.type, sums.size
    sums[:] = 0
    whole = down.shape[0] // 4 * 4
    for u in range(along.shape[0]):
        cols = slice(col + u, col + u + n)
        line[:n] = 0
        for t in range(0, whole, 4):
            # four taps a pass, in the order of one at a time, spare the line most of its way to memory
            a, b = values[row + t, cols], values[row + t + 1, cols]
            c, d = values[row + t + 2, cols], values[row + t + 3, cols]
            e, f, g, h = down[t, run], down[t + 1, run], down[t + 2, run], down[t + 3, run]
            for j in range(n):
                tally = line[j] + e[j] * real(a[j]) + f[j] * real(b[j])
                line[j] = tally + g[j] * real(c[j]) + h[j] * real(d[j])
        for t in range(whole, down.shape[0]):
            a, e = values[row + t, cols], down[t, run]
            for j in range(n):
                line[j] += e[j] * real(a[j])
        e = along[u, run]
        for j in range(n):
            sums[j] += e[j] * line[j]


@compiled
def _sum_pixel(values, row, col, weights, taps, j) -> float:
    """Sum of one pixel."""
    down, along = weights
    real = down.dtype.type
    top, left = np.uint64(row), np.uint64(col)
    total = real(0)
    for u in range(len(taps) if len(taps) else along.shape[0]):
        tally = real(0)
        for t in range(len(taps) if len(taps) else down.shape[0]):
            tally += down[t, j] * real(values[top + np.uint64(t), left + np.uint64(u)])
        total += along[u, j] * tally
    return total


@compiled
def _sum_usable(values, usable, row, col, near_row, near_col, weights, piece, sums) -> None:
    """Sums of pixels of which some taps may be missing."""
    for j in range(piece.start, piece.stop):
        if not _holds(usable, near_row[j], near_col[j]):
            sums[j] = 0
            continue
        total, share, missing = _sum_some(values, usable, row[j], col[j], weights, j)
        if missing:
            total = completed(total, share, values[near_row[j], near_col[j]])
        sums[j] = total


@compiled
def _sum_some(values, usable, row, col, weights, j) -> tuple[float, float, bool]:
    """Sum over the usable taps of a pixel, their share of the weight, and whether any is missing."""
    down, along = weights
    real = down.dtype.type
    total, share, missing = real(0), real(0), False
    for u in range(along.shape[0]):
        tally, cover = real(0), real(0)
        for t in range(down.shape[0]):
            if _holds(usable, row + t, col + u):
                tally += down[t, j] * real(values[row + t, col + u])
                cover += down[t, j]
            else:
                missing = True
        total += along[u, j] * tally
        share += along[u, j] * cover
    return total, share, missing
