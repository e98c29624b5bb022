"""Compiled interpolation at displaced positions by one pass down the columns and one along the rows.

Where positions vary smoothly, an output row takes its pixels from a curve in the source. Interpolated first down every
source column that it crosses, then along itself, a pixel costs two lines of taps instead of a square of them. Nothing
is approximated but how the curve runs between its pixels, which is taken as straight.

Weights are polynomials of what a position lies beyond its nearest pixel, which costs less than to look them up. Taps
that are not usable enter the sums as zeros, and the sum is then divided by the weight that is left. A pixel is
computed by the same operations in the same order, whichever rows are computed together with it.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np

from coregstack.kernels._interpolate import completed
from coregstack.kernels._taps import QUANTUM
from coregstack.kernels.compiling import compiled

_PER_PIXEL = 1 / QUANTUM
_FAR = 2.0**30


@compiled
def two_passes(values, usable, whole, rows, cols, powers, out) -> None:
    """Fill `out` (y, x) with the source at positions `rows`, `cols` (y, x), NaN where the nearest pixel is not usable.

    `values` is 0 wherever it is not `usable`, which `whole` says is nowhere. `powers` (taps, degree + 1) holds each
    weight's coefficients, the highest power first; half the taps lie before the nearest pixel. Columns have to ascend
    along every row.
    """
    n, width = out.shape[1], values.shape[1]
    taps, size = powers.shape[0], max(width, n)
    place, share, weights = np.empty(size), np.empty(size, powers.dtype), np.empty((taps, size), powers.dtype)
    near, near_row = np.empty(size, np.int64), np.empty(n, np.int64)
    line, there = np.zeros(width, values.dtype), np.zeros(width, np.bool_)
    sums, cover, lacks = np.empty(size, powers.dtype), np.empty(size, powers.dtype), np.empty(size, np.int32)
    for i in range(out.shape[0]):
        low = min(max(int(np.floor(cols[i, 0])) - taps, 0), width)
        high = max(min(int(np.ceil(cols[i, n - 1])) + taps, width), low)
        m = high - low
        _curve(rows[i], cols[i], low, place[:m])
        _split(place[:m], near, share)
        _weigh(powers, share[:m], weights)
        _down(values, usable, whole, low, near[:m], weights, sums[:m], cover[:m], lacks[:m])
        line[:low], line[high:] = 0, 0
        there[:low], there[low:high], there[high:] = False, True, False
        every = m == width
        for k in range(m):
            line[low + k] = sums[k]
            if lacks[k] > 0:
                if _holds(usable, near[k], low + k):
                    line[low + k] = completed(sums[k], cover[k], values[near[k], low + k])
                else:
                    line[low + k], there[low + k], every = 0, False, False
        _split(rows[i], near, share)
        near_row[:] = near[:n]
        _split(cols[i], near, share)
        _weigh(powers, share[:n], weights)
        _along(line, there, every, near[:n], weights, sums[:n], cover[:n], lacks[:n])
        for j in range(n):
            if not (_holds(usable, near_row[j], near[j]) and there[near[j]]):
                out[i, j] = np.nan
            elif lacks[j] > 0:
                out[i, j] = completed(sums[j], cover[j], line[near[j]])
            else:
                out[i, j] = sums[j]


@compiled
def _curve(rows, cols, low, place) -> None:
    """Fill `place` with the rows at which a curve crosses whole columns from `low` on; level beyond its ends."""
    j, last = 0, cols.size - 1
    for k in range(place.size):
        column = low + k
        while j < last and cols[j + 1] <= column:
            j += 1
        place[k] = rows[j]
        if column > cols[0] and j < last:
            place[k] += (column - cols[j]) / (cols[j + 1] - cols[j]) * (rows[j + 1] - rows[j])


@compiled
def _split(places, near, share) -> None:
    """Split places into the nearest pixel and what they lie beyond it, -0.5 to 0.5."""
    for j in range(places.size):
        place = np.rint(places[j] * _PER_PIXEL) * QUANTUM if abs(places[j]) < _FAR else -_FAR
        floor = np.floor(place)
        nearest = floor + 1 if place - floor >= 0.5 else floor
        near[j], share[j] = np.int64(nearest), place - nearest


@compiled
def _weigh(powers, share, weights) -> None:
    """Fill `weights` (taps, places)."""
    for t in range(powers.shape[0]):
        line = weights[t, : share.size]
        line[:] = powers[t, 0]
        for k in range(1, powers.shape[1]):
            more = powers[t, k]
            for j in range(share.size):
                line[j] = line[j] * share[j] + more


@compiled
def _holds(usable, row, col) -> bool:
    """Whether a source pixel is there and usable."""
    return 0 <= row < usable.shape[0] and 0 <= col < usable.shape[1] and usable[row, col]


@compiled
def _down(values, usable, whole, left, near, weights, sums, cover, lacks) -> None:
    """Sums down the columns from `left` on, the weight of the taps that are usable, and how many are not."""
    taps, height = weights.shape[0], values.shape[0]
    sums[:], cover[:], lacks[:] = 0, 0, 0
    start = 0
    while start < near.size:
        stop = start + 1
        while stop < near.size and near[stop] == near[start]:
            stop += 1
        run, cols, top = slice(start, stop), slice(left + start, left + stop), near[start] - taps // 2
        counted = not whole or top < 0 or top + taps > height
        fours = 0 if counted else taps // 4 * 4
        for t in range(0, fours, 4):
            a, b = values[top + t, cols], values[top + t + 1, cols]
            _add_four(
                weights[t : t + 4, run], a, b, values[top + t + 2, cols], values[top + t + 3, cols], sums[run]
            )
        for t in range(fours, taps):
            if 0 <= top + t < height:
                _add(weights[t, run], values[top + t, cols], sums[run])
                if counted:
                    _count(weights[t, run], usable[top + t, cols], cover[run], lacks[run])
            else:
                lacks[run] += 1
        start = stop


@compiled
def _along(line, there, every, near, weights, sums, cover, lacks) -> None:
    """The same along a line, of which `there` says what is there, and `every` that all is."""
    taps, width = weights.shape[0], line.size
    sums[:], cover[:], lacks[:] = 0, 0, 0
    start = 0
    while start < near.size:
        stop = start + 1
        while stop < near.size and near[stop] - stop == near[start] - start:
            stop += 1
        left = near[start] - taps // 2
        counted = not every or left < 0 or left + stop - start + taps > width
        fours = 0 if counted else taps // 4 * 4
        for t in range(0, fours, 4):
            a, b, c, d = line[left + t :], line[left + t + 1 :], line[left + t + 2 :], line[left + t + 3 :]
            _add_four(weights[t : t + 4, start:stop], a, b, c, d, sums[start:stop])
        for t in range(fours, taps):
            low = min(max(start, start - left - t), stop)
            high = max(min(stop, start + width - left - t), low)
            part, cols = slice(low, high), slice(low - start + left + t, high - start + left + t)
            _add(weights[t, part], line[cols], sums[part])
            if counted:
                _count(weights[t, part], there[cols], cover[part], lacks[part])
                lacks[start:low] += 1
                lacks[high:stop] += 1
        start = stop


@compiled
def _add(weights, values, sums) -> None:
    for j in range(sums.size):
        sums[j] += weights[j] * values[j]


@compiled
def _add_four(weights, first, second, third, fourth, sums) -> None:
    """Four taps a pass, in the order of one at a time."""
    for j in range(sums.size):
        total = sums[j] + weights[0, j] * first[j] + weights[1, j] * second[j]
        sums[j] = total + weights[2, j] * third[j] + weights[3, j] * fourth[j]


@compiled
def _count(weights, usable, cover, lacks) -> None:
    for j in range(cover.size):
        cover[j] += weights[j] if usable[j] else 0
        lacks[j] += 0 if usable[j] else 1
