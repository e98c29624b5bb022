"""Compiled interpolation at displaced positions by one pass down the columns and one along the rows.

Where positions vary smoothly, an output row takes its pixels from a curve in the source. Interpolated first down every
source column that it crosses, then along itself, a pixel costs two lines of taps instead of a square of them. Nothing
is approximated but how the curve runs between its pixels, which is taken as straight.

Weights are polynomials of what a position lies beyond its nearest pixel, which costs less than to look them up. Those
of two taps as far before and behind differ in the sign of odd powers only, so that taps are summed up in pairs. Taps
that are not usable enter the sums as zeros, and the sum is then divided by the weight that is left. A pixel is computed
by the same operations in the same order, whichever rows are computed together with it.
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

    `values` and `usable` are the source with as many pixels more on every side as taps reach, which are 0 and not
    usable. `values` is 0 wherever it is not `usable`, which `whole` says is nowhere in the source. `powers` is what
    `allpass_powers` returns. Columns have to ascend along every row.
    """
    n, reach = out.shape[1], powers.shape[0] - 1
    height, width = values.shape[0] - 2 * reach, values.shape[1] - 2 * reach
    size = max(width, n)
    place, share = np.empty(size), np.empty(size, powers.dtype)
    near, near_row = np.empty(size, np.int64), np.empty(n, np.int64)
    line, there = np.zeros(values.shape[1], values.dtype), np.zeros(values.shape[1], np.bool_)
    sums, cover, lacks = np.empty(size, powers.dtype), np.empty(size, powers.dtype), np.empty(size, np.bool_)
    for i in range(out.shape[0]):
        low = min(max(int(np.floor(cols[i, 0])) - 2 * reach, 0), width)
        high = max(min(int(np.ceil(cols[i, n - 1])) + 2 * reach, width), low)
        m, first = high - low, low + reach
        _curve(rows[i], cols[i], low, place[:m])
        _split(place[:m], near, share)
        gaps = _down(values, usable, whole, first, near[:m], share, powers, sums, cover, lacks)
        line[:], there[:] = 0, False
        line[first : first + m], there[first : first + m] = sums[:m], True
        every = m == width and not gaps
        if gaps:
            for k in range(m):
                row = near[k] + reach
                if lacks[k]:
                    there[first + k] = 0 <= near[k] < height and usable[row, first + k]
                    line[first + k] = (
                        completed(sums[k], cover[k], values[row, first + k]) if there[first + k] else 0
                    )
        _split(rows[i], near, share)
        near_row[:] = near[:n]
        _split(cols[i], near, share)
        _along(line, there, every, near[:n], share, powers, sums, cover, lacks)
        for j in range(n):
            if not (
                0 <= near_row[j] < height
                and 0 <= near[j] < width
                and usable[near_row[j] + reach, near[j] + reach]
                and there[near[j] + reach]
            ):
                out[i, j] = np.nan
            elif lacks[j]:
                out[i, j] = completed(sums[j], cover[j], line[near[j] + reach])
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
def _down(values, usable, whole, first, near, share, powers, sums, cover, lacks) -> bool:
    """Sums down the columns from `first` on, the weight of the taps that are usable, and where some are not.

    Whether that is so anywhere.
    """
    reach, gaps = powers.shape[0] - 1, False
    height = values.shape[0] - 2 * reach
    sums[: near.size], cover[: near.size], lacks[: near.size] = 0, 0, False
    start = 0
    while start < near.size:
        stop = start + 1
        while stop < near.size and near[stop] == near[start]:
            stop += 1
        row = near[start]
        if 0 <= row < height:
            for t in range(reach + 1):
                before, behind = values[row + reach - t], values[row + reach + t]
                _add(powers, t, share, start, stop, before, first + start, behind, first + start, sums)
            if not whole or row < reach or row >= height - reach:
                gaps = True
                for t in range(reach + 1):
                    here, there = usable[row + reach - t], usable[row + reach + t]
                    _count(
                        powers, t, share, start, stop, here, first + start, there, first + start, cover, lacks
                    )
        else:
            gaps = True
            lacks[start:stop] = True
        start = stop
    return gaps


@compiled
def _along(line, there, every, near, share, powers, sums, cover, lacks) -> None:
    """The same along a line, of which `there` says what is there, and `every` that all of the source is."""
    reach = powers.shape[0] - 1
    width = line.size - 2 * reach
    sums[: near.size], cover[: near.size], lacks[: near.size] = 0, 0, False
    start = 0
    while start < near.size:
        place, stop = near[start], start + 1
        inner = reach <= place < width - reach
        while (
            stop < near.size
            and near[stop] == place + stop - start
            and inner == (reach <= near[stop] < width - reach)
        ):
            stop += 1
        # what lies off the source on either side is in a run with what lies near its edge
        low = min(max(start, start - place), stop)
        high = max(min(stop, start - place + width), low)
        lacks[start:low], lacks[high:stop] = True, True
        middle = reach + place + low - start
        for t in range(reach + 1):
            _add(powers, t, share, low, high, line, middle - t, line, middle + t, sums)
        if not (every and inner):
            for t in range(reach + 1):
                _count(powers, t, share, low, high, there, middle - t, there, middle + t, cover, lacks)
        start = stop


@compiled
def _add(powers, t, share, start, stop, before, left, behind, right, sums) -> None:
    """Add a pair of taps to `sums` from `start` to `stop`; the values they take begin at `left` and `right`.

    Indexes without a sign spare the compiler a look at whether they count from the end.
    """
    a, b, c, d, e = powers[t, 0, 0], powers[t, 0, 1], powers[t, 0, 2], powers[t, 0, 3], powers[t, 0, 4]
    f, g, h, k, m = powers[t, 1, 0], powers[t, 1, 1], powers[t, 1, 2], powers[t, 1, 3], powers[t, 1, 4]
    begin, left, right = np.uint64(start), np.uint64(left), np.uint64(right)
    for j in range(np.uint64(max(stop - start, 0))):
        x, y, z = share[begin + j], before[left + j], behind[right + j]
        square = x * x
        level = (((a * square + b) * square + c) * square + d) * square + e
        tilt = ((((f * square + g) * square + h) * square + k) * square + m) * x
        sums[begin + j] += level * (y + z) + tilt * (z - y)


@compiled
def _count(powers, t, share, start, stop, before, left, behind, right, cover, lacks) -> None:
    """Add the weights of a pair of taps to `cover` where these are usable, as `_add` does; say where one is not."""
    a, b, c, d, e = powers[t, 0, 0], powers[t, 0, 1], powers[t, 0, 2], powers[t, 0, 3], powers[t, 0, 4]
    f, g, h, k, m = powers[t, 1, 0], powers[t, 1, 1], powers[t, 1, 2], powers[t, 1, 3], powers[t, 1, 4]
    begin, left, right = np.uint64(start), np.uint64(left), np.uint64(right)
    for j in range(np.uint64(max(stop - start, 0))):
        x, y, z = share[begin + j], before[left + j], behind[right + j]
        square = x * x
        level = (((a * square + b) * square + c) * square + d) * square + e
        tilt = ((((f * square + g) * square + h) * square + k) * square + m) * x
        cover[begin + j] += (level - tilt if y else 0) + (level + tilt if z else 0)
        lacks[begin + j] |= not (y and z)
