"""Compiled sums of the fit: what every block of 8 x 8 pixels says of the shift.

A row of blocks is worked on at once, those of several windows side by side, in strips of 8 rows that follow each
other: every loop runs over neighbours in memory, so that the compiler can do many at a time. Indexes are unsigned,
since it would ask of signed ones whether they count from the end, and loops take no views of their own, since to make
one takes as long as a short loop. Nowhere may the order of sums change (`fastmath`): it would not be the same in every
process, and workers would not agree to the bit.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled
from coregstack.kernels.smoothing import smooth_inside

BLOCK = 8
"""Side of a block, px."""
_LEAST = BLOCK * BLOCK // 3
"""Blocks with fewer usable pixels say nothing."""
_CHANCE = 0.05
"""Squared correlation that blocks of unlike texture reach by chance."""
FLOOR = 0.3
"""Added to 1 - rho^2, so that a few blocks that match perfectly do not decide alone."""
_CUT = 4.0
"""Residuals beyond this many standard deviations of their block count nothing (Tukey's biweight)."""
_BESIDE = 32
"""Blocks that are worked on at once: short loops take longer to begin than to run."""
_U = np.uint64
_I = np.int64
"""Makes of a number in the code one of any other: functions are compiled once more for each number that is written."""
_SIDES = 1, 2
"""Strips of anchor and item."""
_SLOPES = 3, 4
"""Strips of their slope down and along."""
_PRODUCTS = (1, 1, 2), (2, 2, 3), (1, 2, 1)
"""Two strips, and the line of `facts` that the sums of their products go to."""
_PULLS = (0, 3, 0), (0, 4, 1), (1, 4, 2), (0, 2, 3), (1, 2, 4)
"""The same of the normal equations, whose sums (m_yy, m_yx, m_xx, r_y, r_x) go to a line of `planes`."""


@compiled
def block_sums(anchor, item, usable, margin, taps, noise, parts, out) -> None:
    """Fill `out` (n x parts x parts, block, 6) with the weighted normal equations of every block of parts of windows.

    `anchor`, `item` and `usable` are (n, y, x), of which `margin` pixels on every side only serve the filters;
    `taps` (4, k) smooth the anchor down and along, then the item, each moved by half the shift;
    `noise` holds the variance of anchor and item, and windows are cut into so many `parts` down and across. A row of
    `out` is (weight, m_yy, m_yx, m_xx, r_y, r_x): `m` and `r` give the step of the shift, ``m @ step = r``. The weight
    is negative where the contrast is reversed; blocks that say nothing hold 0.
    """
    down, across = (anchor.shape[1] - 2 * margin) // BLOCK, (anchor.shape[2] - 2 * margin) // BLOCK
    beside = max(1, _BESIDE // across)
    for start in range(0, len(anchor), beside):
        part = slice(start, min(start + beside, len(anchor)))
        count = part.stop - start
        # slopes reach a pixel further
        first, second, mask, columns = _laid(anchor[part], item[part], usable[part], margin - 1, taps)
        strips, planes, facts, places = scratch_for(columns, _I(1), count, across)
        sums = np.empty((count * across, 6))
        for k in range(down):
            base = (2 + k * BLOCK) * columns
            _gather(first, second, mask, base, _I(0), strips)
            weigh(strips, places, planes, noise, facts)
            if any_heard(facts[0]):
                _equations(first, second, base, strips, places, planes, facts, sums)
            else:
                sums[:] = 0
            for n in range(count):
                for j in range(across):
                    own, block = _place(start + n, k, j, down // parts, across // parts, parts)
                    for m in range(6):
                        out[own, block, m] = sums[n * across + j, m]


@compiled
def block_weights(anchor, item, usable, margin, taps, noise, parts, offsets, out) -> None:
    """Fill `out` with each block's mean weight where the item lies `offsets` (k, 2) away, in whole px.

    The shape of `out` is (n x parts x parts, block). The other arguments are those of `block_sums`.
    """
    down, across = (anchor.shape[1] - 2 * margin) // BLOCK, (anchor.shape[2] - 2 * margin) // BLOCK
    beside, reach = max(1, _BESIDE // across), _I(0)
    for m in range(len(offsets)):
        reach = max(reach, abs(offsets[m, 0]), abs(offsets[m, 1]))
    out[:] = 0
    for start in range(0, len(anchor), beside):
        part = slice(start, min(start + beside, len(anchor)))
        count = part.stop - start
        first, second, mask, columns = _laid(anchor[part], item[part], usable[part], margin - reach, taps)
        strips, planes, facts, places = scratch_for(columns, reach, count, across)
        for k in range(down):
            for m in range(len(offsets)):
                away = offsets[m, 0] * columns + offsets[m, 1]
                _gather(first, second, mask, (1 + reach + k * BLOCK) * columns, away, strips)
                weigh(strips, places, planes, noise, facts)
                for n in range(count):
                    for j in range(across):
                        own, block = _place(start + n, k, j, down // parts, across // parts, parts)
                        out[own, block] += facts[0, n * across + j] / len(offsets)


@compiled
def _place(window, row, column, down, across, parts) -> tuple[int, int]:
    """Which part of all windows a block of one of them lies in, and which block of that it is.

    Parts have so many blocks `down` and `across`.
    """
    own = (window * parts + row // down) * parts + column // across
    return own, row % down * across + column % across


@compiled
def _laid(anchor, item, usable, edge, taps) -> tuple[Any, Any, Any, int]:
    """Windows of anchor and item, each moved by its taps, and of the mask side by side, without `edge` pixels.

    All are flat, with a row more before and after, so that strips may begin beside a row; last comes their number of
    columns.
    """
    count, height, width = anchor.shape
    stride, tall = width - 2 * edge, height - 2 * edge
    size, columns = (tall + 2) * count * stride, count * stride
    first, second, mask = np.zeros(size, np.float32), np.zeros(size, np.float32), np.zeros(size, np.float32)
    for n in range(count):
        smooth_inside(anchor[n], taps[0], taps[1], edge, first[columns + n * stride :], columns)
        smooth_inside(item[n], taps[2], taps[3], edge, second[columns + n * stride :], columns)
        for y in range(tall):
            start, side, here = _U((1 + y) * columns + n * stride), _U(edge), usable[n, edge + y]
            for x in range(_U(stride)):
                mask[start + x] = np.float32(here[side + x])
    return first, second, mask, columns


@compiled
def scratch_for(columns, left, count, across) -> tuple[Any, Any, Any, Any]:
    """Room for a row of blocks: strips (6, 8 rows x columns), planes (9, block), facts (5, block) and places (block,).

    The strips are mask, anchor, item, their slope down and along, and scratch. `places` hold the first column of each
    block, where `count` windows of so many blocks each lie side by side, with `left` columns round each.
    """
    places = np.empty(count * across, np.int64)
    for k in range(places.size):
        places[k] = left + k // across * (columns // count) + k % across * BLOCK
    return (
        np.empty((6, BLOCK * columns), np.float32),
        np.empty((9, places.size)),
        np.empty((5, places.size)),
        places,
    )


@compiled
def _gather(first, second, mask, base, away, strips) -> None:
    """Fill the strips of mask, anchor and item from a place on, the item's from so many pixels before it.

    What is not usable is 0.
    """
    size = strips.shape[1]
    keep, a, b = strips[0], strips[1], strips[2]
    here, there = mask[base : base + size], mask[base - away : base - away + size]
    anchor, item = first[base : base + size], second[base - away : base - away + size]
    for k in range(there.size):
        keep[k] = here[k] * there[k]
    for k in range(size):
        a[k] = keep[k] * anchor[k]
    for k in range(item.size):
        b[k] = keep[k] * item[k]


@compiled
def _fold(line, places, sums) -> None:
    """Fill `sums` (block,) with the sum of each block of a line of columns."""
    for j in range(sums.size):
        k = places[j]
        left = (line[k] + line[k + 1]) + (line[k + 2] + line[k + 3])
        sums[j] = left + ((line[k + 4] + line[k + 5]) + (line[k + 6] + line[k + 7]))


@compiled
def _fold_along(line, places, power, sums) -> None:
    """The same of each value times a power of its column in the block."""
    weight = np.empty(BLOCK, np.float32)
    for c in range(BLOCK):
        weight[c] = c**power
    for j in range(sums.size):
        k = places[j]
        left = weight[1] * line[k + 1] + (weight[2] * line[k + 2] + weight[3] * line[k + 3])
        right = (weight[4] * line[k + 4] + weight[5] * line[k + 5]) + (
            weight[6] * line[k + 6] + weight[7] * line[k + 7]
        )
        sums[j] = left + right


@compiled
def _add_up(values, total, by_row) -> None:
    """Fill lines with the sum of each column of a strip, and with that of its values times their row."""
    columns = _U(total.size)
    for x in range(columns):
        total[x] = values[x]
    by_row[:] = 0
    for i in range(_U(1), _U(BLOCK)):
        start, row = i * columns, np.float32(i)
        for x in range(columns):
            total[x] += values[start + x]
            by_row[x] += row * values[start + x]


@compiled
def _add_up_products(first, second, places, total, sums) -> None:
    """Fill `sums` (block,) with the sum of the products of two strips in each block; `total` is a line of scratch."""
    columns = _U(total.size)
    total[:] = 0
    for i in range(_U(BLOCK)):
        start = i * columns
        for x in range(columns):
            total[x] += first[start + x] * second[start + x]
    _fold(total, places, sums)


@compiled
def _spread(sums, places, line) -> None:
    """Fill `line` (columns,) with a number of each block, where there is one."""
    for j in range(sums.size):
        line[places[j] : places[j] + BLOCK] = sums[j]


@compiled
def weigh(strips, places, planes, noise, facts) -> None:
    """Detrend anchor and item: `facts` become weight, correlation, power of both, and the usable pixels.

    The weight is 0 where a block says nothing.
    """
    line = strips[5, : strips.shape[1] // BLOCK]
    _span_planes(strips, places, planes, facts[4])
    # a call in a loop is compiled in one place
    for side in _SIDES:
        _detrend(strips[side], strips, places, planes, facts[4])
    for one, other, to in _PRODUCTS:
        _add_up_products(strips[one], strips[other], places, line, facts[to])
    for j in range(facts.shape[1]):
        count = facts[4, j]
        facts[0, j] = 0.0
        if count < _LEAST or planes[5, j] == 0:
            continue
        facts[2, j] += count * noise[0]
        facts[3, j] += count * noise[1]
        facts[1, j] /= np.sqrt(facts[2, j] * facts[3, j])
        square = min(1.0, facts[1, j] * facts[1, j])
        if square > _CHANCE:
            facts[0, j] = count * (square - _CHANCE) / (1 - square + FLOOR)


@compiled
def any_heard(weights) -> bool:
    """Whether any block says something."""
    found = False
    for j in range(weights.size):
        found |= weights[j] != 0
    return found


@compiled
def _span_planes(strips, places, planes, count) -> None:
    """Count the usable pixels of each block, and prepare planes over them.

    `planes` become the mean row and column, the inverse of their second moments (rr, rc, cc), and whether the
    pixels span a plane; the other three are left for the planes that are taken off.
    """
    keep, scratch, columns = strips[0], strips[5], strips.shape[1] // BLOCK
    total, by_row, square = (
        scratch[:columns],
        scratch[columns : 2 * columns],
        scratch[2 * columns : 3 * columns],
    )
    _add_up(keep, total, by_row)
    square[:] = 0
    for i in range(_U(1), _U(BLOCK)):
        start, weight = i * _U(columns), np.float32(i * i)
        for x in range(_U(columns)):
            square[x] += weight * keep[start + x]
    _fold(total, places, count)
    _fold(by_row, places, planes[0])
    _fold_along(total, places, _I(1), planes[1])
    _fold(square, places, planes[2])
    _fold_along(by_row, places, _I(1), planes[3])
    _fold_along(total, places, _I(2), planes[4])
    for j in range(count.size):
        pixels = max(count[j], 1.0)
        mean_r, mean_c = planes[0, j] / pixels, planes[1, j] / pixels
        rr = planes[2, j] - pixels * mean_r * mean_r
        rc = planes[3, j] - pixels * mean_r * mean_c
        cc = planes[4, j] - pixels * mean_c * mean_c
        det = rr * cc - rc * rc
        planes[0, j], planes[1, j], planes[5, j] = mean_r, mean_c, det >= 1
        det = max(det, 1.0)
        planes[2, j], planes[3, j], planes[4, j] = cc / det, -rc / det, rr / det


@compiled
def _detrend(values, strips, places, planes, count) -> None:
    """Take the best plane off the usable pixels of each block of a strip, which stays 0 elsewhere."""
    keep, scratch, columns = strips[0], strips[5], strips.shape[1] // BLOCK
    level, steepness = scratch[:columns], scratch[columns : 2 * columns]
    total, by_r, by_c = planes[8], planes[6], planes[7]
    _add_up(values, level, steepness)
    _fold(level, places, total)
    _fold(steepness, places, by_r)
    _fold_along(level, places, _I(1), by_c)
    for j in range(total.size):
        r, c = by_r[j] - planes[0, j] * total[j], by_c[j] - planes[1, j] * total[j]
        by_r[j] = planes[2, j] * r + planes[3, j] * c
        by_c[j] = planes[3, j] * r + planes[4, j] * c
        total[j] = total[j] / max(count[j], 1.0) - by_r[j] * planes[0, j] - by_c[j] * planes[1, j]
        for k in range(BLOCK):
            level[places[j] + k] = total[j] + k * by_c[j]
    _spread(by_r, places, steepness)
    for i in range(_U(BLOCK)):
        start, down = i * _U(columns), np.float32(i)
        for x in range(_U(columns)):
            values[start + x] -= keep[start + x] * (level[x] + down * steepness[x])


@compiled
def _equations(first, second, base, strips, places, planes, facts, out) -> None:
    """Fill `out` (block, 6) with the weighted normal equations of a row of blocks, detrended in `strips`."""
    columns = strips.shape[1] // BLOCK
    lines = scaled_blocks(facts, places, columns)
    _slope(first, second, base, columns, lines, strips[0], strips[3])
    _slope(first, second, base, _I(1), lines, strips[0], strips[4])
    add_up_equations(strips, places, planes, facts, lines, out)


@compiled
def scaled_blocks(facts, places, columns) -> NDArray[np.float32]:
    """Lines (3, columns) of what brings anchor and item to one scale, and of 1 over the square of the cut."""
    lines = np.zeros((3, columns), np.float32)
    for j in range(facts.shape[1]):
        part = slice(places[j], places[j] + BLOCK)
        heard, rho = facts[0, j] > 0, facts[1, j]
        lines[0, part] = np.float32(1 / np.sqrt(facts[2, j])) if heard else np.float32(0)
        lines[1, part] = np.float32((1 if rho > 0 else -1) / np.sqrt(facts[3, j])) if heard else np.float32(0)
        cut = _CUT * np.sqrt(2 * (1 - min(1.0, abs(rho))) / max(facts[4, j], 1.0)) + 1e-9
        lines[2, part] = np.float32(1 / (cut * cut))
    return lines


@compiled
def add_up_equations(strips, places, planes, facts, lines, out) -> None:
    """Fill `out` (block, 6) from strips of detrended anchor and item and of their mean slope, not yet detrended."""
    columns = lines.shape[1]
    scale_a, scale_b, steep = lines[0], lines[1], lines[2]
    keep, a, b, down, along, scratch = strips[0], strips[1], strips[2], strips[3], strips[4], strips[5]
    zero, one, line = np.float32(0), np.float32(1), strips[5, :columns]
    for slope in _SLOPES:
        _detrend(strips[slope], strips, places, planes, facts[4])
    for i in range(_U(BLOCK)):
        start = i * _U(columns)
        for x in range(_U(columns)):
            b[start + x] = scale_b[x] * b[start + x] - scale_a[x] * a[start + x]
        for x in range(_U(columns)):
            a[start + x] = max(zero, one - b[start + x] * b[start + x] * steep[x])
    pull_y, pull_x = keep, a
    for k in range(scratch.size):
        scratch[k] = a[k] * a[k]
    for k in range(scratch.size):
        pull_y[k] = scratch[k] * down[k]
    for k in range(scratch.size):
        pull_x[k] = scratch[k] * along[k]
    for left, right, to in _PULLS:
        _add_up_products(strips[left], strips[right], places, line, planes[to])
    for j in range(places.size):
        weight = facts[0, j]
        out[j, 0] = weight if facts[1, j] > 0 else -weight
        for k in range(5):
            out[j, k + 1] = weight * planes[k, j]


@compiled
def _slope(first, second, base, step, lines, keep, out) -> None:
    """Half the mean slope of both images, brought to one scale, over pixels on either side of each of a strip."""
    columns, scale_a, scale_b, quarter = _U(lines.shape[1]), lines[0], lines[1], np.float32(0.25)
    for i in range(_U(BLOCK)):
        start, before, after = i * columns, _U(base - step) + i * columns, _U(base + step) + i * columns
        # of many arrays in one loop the compiler would not know whether they overlap, and do one number at a time
        for x in range(columns):
            out[start + x] = scale_a[x] * (first[after + x] - first[before + x])
        for x in range(columns):
            out[start + x] += scale_b[x] * (second[after + x] - second[before + x])
    for k in range(out.size):
        out[k] *= quarter * keep[k]
