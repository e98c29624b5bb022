"""Compiled loops of the resampling kernel, for one band.

A pixel is always computed by the same operations in the same order, whichever window it is part of, so
that the result never depends on how an array was cut: where taps are missing, their values enter the same
sums as zeros, and only then is the sum divided by the weight that is left.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numpy as np

from coregstack.kernels.compiling import compiled

BLOCK = 128
_TILE = 512
_LEAST_WEIGHT = 0.4


@compiled
def find_usable(values, valid, nodata, usable, full) -> None:
    """Fill `usable` (y, x), and `full` (y, blocks): True where all pixels of a row's block are usable.

    `valid` is (y, x), or (0, 0) if all are; `nodata` (1,), or (0,) if there is none.
    """
    for i in range(values.shape[0]):
        row, target = values[i], usable[i]
        for j in range(row.size):
            target[j] = np.isfinite(row[j])
        if nodata.size:
            for j in range(row.size):
                target[j] &= row[j] != nodata[0]
        if valid.size:
            for j in range(row.size):
                target[j] &= valid[i, j]
        for k in range(full.shape[1]):
            block, pixels = target[k * BLOCK : (k + 1) * BLOCK], 0
            for j in range(block.size):
                pixels += block[j]
            full[i, k] = pixels == block.size


@compiled
def copy_usable(values, valid, nodata, corner, background, out) -> None:
    """Fill `out` (y, x) with usable pixels from row and column `corner` on, else with ``background[0]``.

    `valid` and `nodata` are as for `find_usable`.
    """
    height, width = values.shape
    low = min(max(0, -corner[1]), out.shape[1])
    high = max(min(out.shape[1], width - corner[1]), low)
    for i in range(out.shape[0]):
        row, target = i + corner[0], out[i]
        if row < 0 or row >= height:
            target[:] = background[0]
            continue
        target[:low] = background[0]
        target[high:] = background[0]
        source = values[row, low + corner[1] : high + corner[1]]
        part = target[low:high]
        for j in range(part.size):
            part[j] = source[j] if np.isfinite(source[j]) else background[0]
        if nodata.size:
            for j in range(part.size):
                part[j] = part[j] if source[j] != nodata[0] else background[0]
        if valid.size:
            use = valid[row, low + corner[1] : high + corner[1]]
            for j in range(part.size):
                part[j] = part[j] if use[j] else background[0]


@compiled
def interpolate(values, usable, full, first, nearest, weights_y, weights_x, marks, nodata, out) -> None:
    """Fill `out` (y, x) with separable sums over taps.

    Output pixel (i, j) takes source rows ``first[0] + i + t`` and columns ``first[1] + j + t``; its nearest
    source pixel is ``(nearest[0] + i, nearest[1] + j)``. `marks` (3,) are the smallest and the largest
    value, and what an invalid pixel becomes. `nodata` is (0,), or (3,): the value and its neighbours below
    and above.
    """
    height, width = values.shape
    taps_y, taps_x = weights_y.size, weights_x.size
    columns = min(_TILE, out.shape[1])
    line = np.empty(columns + taps_x - 1, weights_y.dtype)
    cover = np.empty(columns + taps_x - 1, weights_y.dtype)
    missing = np.empty(columns + taps_x - 1, np.bool_)
    sums = np.empty(columns, weights_y.dtype)
    share = np.empty(columns, weights_y.dtype)
    edges = _tiles(out.shape[1], first[1], width, taps_x)
    for k in range(len(edges) - 1):
        tile, n = edges[k], edges[k + 1] - edges[k]
        span = n + taps_x - 1
        left = first[1] + tile
        low = min(max(0, -left), span)
        high = max(min(span, width - left), low)
        blocks = slice((left + low) // BLOCK, (left + high + BLOCK - 1) // BLOCK)
        for i in range(out.shape[0]):
            row, near = first[0] + i, nearest[0] + i
            target = out[i, tile : tile + n]
            if near < 0 or near >= height or low == high:
                target[:] = marks[2]
                continue
            top, bottom = max(0, -row), min(taps_y, height - row)
            rows = slice(row + top, row + bottom)
            whole = bottom - top == taps_y and high - low == span and full[rows, blocks].all()
            if whole:
                _weigh_rows(values[rows], left, weights_y, line[:span])
                _weigh_columns(line, weights_x, sums[:n])
                store(sums, marks, nodata, target)
                continue
            line[:span], cover[:span], missing[:span] = 0, 0, True
            part = slice(low, high)
            missing[part] = bottom - top < taps_y
            weights = weights_y[top:bottom]
            _weigh_usable_rows(
                values[rows], usable[rows], left + low, weights, line[part], cover[part], missing[part]
            )
            _weigh_columns(line, weights_x, sums[:n])
            _weigh_columns(cover, weights_x, share[:n])
            _divide(sums[:n], share, missing, taps_x, values[near], nearest[1] + tile)
            store(sums, marks, nodata, target)
            _blank(usable[near], nearest[1] + tile, marks[2], target)


@compiled
def _tiles(columns, first, width, taps):
    """Where tiles of the output begin and end: those with all their taps inside are apart from the edges."""
    low = min(max(0, -first), columns)
    high = max(min(width - taps + 1 - first, columns), low)
    edges = [0]
    for stop in (low, high, columns):
        while edges[-1] < stop:
            edges.append(min(edges[-1] + _TILE, stop))
    return edges


@compiled
def _weigh_rows(values, left, weights, line) -> None:
    real = line.dtype.type
    cols = slice(left, left + line.size)
    line[:] = 0
    whole = weights.size // 4 * 4
    for t in range(0, whole, 4):
        # Four taps a pass, in the order of one at a time, spare the line most of its way to memory.
        a, b, c, d = values[t, cols], values[t + 1, cols], values[t + 2, cols], values[t + 3, cols]
        u, v, w, x = weights[t], weights[t + 1], weights[t + 2], weights[t + 3]
        for j in range(line.size):
            line[j] = line[j] + u * real(a[j]) + v * real(b[j]) + w * real(c[j]) + x * real(d[j])
    for t in range(whole, weights.size):
        weight, source = weights[t], values[t, cols]
        for j in range(line.size):
            line[j] += weight * real(source[j])


@compiled
def _weigh_usable_rows(values, usable, left, weights, line, cover, missing) -> None:
    real = line.dtype.type
    cols = slice(left, left + line.size)
    for t in range(weights.size):
        weight, source, use = weights[t], values[t, cols], usable[t, cols]
        for j in range(line.size):
            line[j] += weight * real(source[j]) if use[j] else real(0)
            cover[j] += weight if use[j] else real(0)
            missing[j] |= not use[j]


@compiled
def _weigh_columns(line, weights, sums) -> None:
    sums[:] = 0
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
        if missing[j : j + taps].any() and 0 <= left + j < nearest.size:
            sums[j] = completed(sums[j], share[j], nearest[left + j])


@compiled
def completed(total, share, nearest):
    """A sum of which taps are missing: divided by the weight that is left, else the nearest pixel as it is."""
    return total / share if share >= _LEAST_WEIGHT else type(total)(nearest)


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
        for j in range(target.size):
            if target[j] == nodata[0]:
                target[j] = nodata[1] if sums[j] < nodata[0] else nodata[2]


@compiled
def _blank(usable, left, fill, target) -> None:
    for j in range(target.size):
        if not 0 <= left + j < usable.size or not usable[left + j]:
            target[j] = fill
