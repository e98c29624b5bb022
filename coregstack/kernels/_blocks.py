"""Compiled sums of the fit: what every block of 8 x 8 pixels says of the shift.

A row of blocks is worked on at once, in strips of 8 rows whose columns lie side by side: every loop runs over
neighbours in memory, so that the compiler can do many at a time. Nowhere may it change the order of sums
(`fastmath`): it would not choose the same order in every process, and workers would not agree to the bit.
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled
from coregstack.kernels.smoothing import smooth_into

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


@compiled
def block_sums(anchor, item, usable, margin, taps, noise, out) -> None:
    """Fill `out` (n, block, 6) with the weighted normal equations of every block of every window.

    `anchor`, `item` and `usable` are (n, y, x), of which `margin` pixels on every side only serve the filters;
    `taps` (4, k) smooth the anchor down and along, then the item, each moved by half the shift;
    `noise` holds the variance of anchor and item. A row of `out` is (weight, m_yy, m_yx, m_xx, r_y, r_x): `m` and `r`
    give the step of the shift, ``m @ step = r``. The weight is negative where the contrast is reversed; blocks that
    say nothing hold 0.
    """
    first, second = np.empty_like(anchor[0]), np.empty_like(item[0])
    across = (anchor.shape[2] - 2 * margin) // BLOCK
    strips, planes, facts = scratch_for(across)
    for n in range(anchor.shape[0]):
        smooth_into(anchor[n], taps[0], taps[1], first)
        smooth_into(item[n], taps[2], taps[3], second)
        for k in range(out.shape[1] // across):
            top = margin + k * BLOCK
            _gather(first, second, usable[n], top, margin, 0, 0, strips)
            weigh(strips, planes, noise, facts)
            if facts[0].any():
                _equations(
                    first, second, top, margin, strips, planes, facts, out[n, k * across : (k + 1) * across]
                )


@compiled
def block_weights(anchor, item, usable, margin, taps, noise, offsets, out) -> None:
    """Fill `out` (n, block) with each block's mean weight where the item lies `offsets` (k, 2) away, in whole px.

    The other arguments are those of `block_sums`.
    """
    first, second = np.empty_like(anchor[0]), np.empty_like(item[0])
    across = (anchor.shape[2] - 2 * margin) // BLOCK
    strips, planes, facts = scratch_for(across)
    out[:] = 0
    for n in range(anchor.shape[0]):
        smooth_into(anchor[n], taps[0], taps[1], first)
        smooth_into(item[n], taps[2], taps[3], second)
        for k in range(out.shape[1] // across):
            target = out[n, k * across : (k + 1) * across]
            for m in range(offsets.shape[0]):
                _gather(
                    first, second, usable[n], margin + k * BLOCK, margin, offsets[m, 0], offsets[m, 1], strips
                )
                weigh(strips, planes, noise, facts)
                for j in range(across):
                    target[j] += facts[0, j] / offsets.shape[0]


@compiled
def scratch_for(across) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Room for a row of blocks: strips (8, 8 rows x columns), planes (9, block) and facts (5, block).

    The strips are mask, anchor, item, their slope down and along, scratch, and a pixel's row and column in its
    block.
    """
    columns = across * BLOCK
    strips = np.empty((8, BLOCK * columns), np.float32)
    for i in range(BLOCK):
        for x in range(columns):
            strips[6, i * columns + x] = i
            strips[7, i * columns + x] = x % BLOCK
    return strips, np.empty((9, across)), np.empty((5, across))


@compiled
def _gather(first, second, usable, top, left, down, along, strips) -> None:
    """Fill the strips of mask, anchor and item of a row of blocks; what is not usable is 0."""
    columns = strips.shape[1] // BLOCK
    near, far = slice(left, left + columns), slice(left - along, left - along + columns)
    for i in range(BLOCK):
        part = slice(i * columns, (i + 1) * columns)
        keep, a, b = strips[0, part], strips[1, part], strips[2, part]
        here, there = usable[top + i, near], usable[top + i - down, far]
        anchor, item = first[top + i, near], second[top + i - down, far]
        for x in range(columns):
            keep[x] = np.float32(here[x] & there[x])
        for x in range(columns):
            a[x] = keep[x] * anchor[x]
        for x in range(columns):
            b[x] = keep[x] * item[x]


@compiled
def _add_up(values, sums) -> None:
    """Fill `sums` (block,) with the sum of each block of a strip, which is overwritten."""
    rows, columns = BLOCK, values.size // BLOCK
    while rows > 1:
        rows //= 2
        upper, lower = values[: rows * columns], values[rows * columns : 2 * rows * columns]
        for k in range(upper.size):
            upper[k] += lower[k]
    for j in range(sums.size):
        k = j * BLOCK
        left = (values[k] + values[k + 1]) + (values[k + 2] + values[k + 3])
        sums[j] = left + ((values[k + 4] + values[k + 5]) + (values[k + 6] + values[k + 7]))


@compiled
def _add_up_products(first, second, scratch, sums) -> None:
    """Fill `sums` (block,) with the sum of the products of two strips in each block."""
    for k in range(scratch.size):
        scratch[k] = first[k] * second[k]
    _add_up(scratch, sums)


@compiled
def _spread(sums, line) -> None:
    """Fill `line` (columns,) with a number of each block."""
    for j in range(sums.size):
        line[j * BLOCK : (j + 1) * BLOCK] = sums[j]


@compiled
def weigh(strips, planes, noise, facts) -> None:
    """Detrend anchor and item: `facts` become weight, correlation, power of both, and the usable pixels.

    The weight is 0 where a block says nothing.
    """
    a, b, scratch = strips[1], strips[2], strips[5]
    _span_planes(strips, planes, facts[4])
    _detrend(a, strips, planes, facts[4])
    _detrend(b, strips, planes, facts[4])
    _add_up_products(a, a, scratch, facts[2])
    _add_up_products(b, b, scratch, facts[3])
    _add_up_products(a, b, scratch, facts[1])
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
def _span_planes(strips, planes, count) -> None:
    """Count the usable pixels of each block, and prepare planes over them.

    `planes` become the mean row and column, the inverse of their second moments (rr, rc, cc), and whether the
    pixels span a plane; the other three are left for the planes that are taken off.
    """
    keep, scratch, row, column = strips[0], strips[5], strips[6], strips[7]
    scratch[:] = keep
    _add_up(scratch, count)
    for k in range(2):
        _add_up_products(keep, strips[6 + k], scratch, planes[k])
    for k in range(scratch.size):
        scratch[k] = keep[k] * row[k] * row[k]
    _add_up(scratch, planes[2])
    for k in range(scratch.size):
        scratch[k] = keep[k] * row[k] * column[k]
    _add_up(scratch, planes[3])
    for k in range(scratch.size):
        scratch[k] = keep[k] * column[k] * column[k]
    _add_up(scratch, planes[4])
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
def _detrend(values, strips, planes, count) -> None:
    """Take the best plane off the usable pixels of each block of a strip, which stays 0 elsewhere."""
    keep, scratch, row, column = strips[0], strips[5], strips[6], strips[7]
    columns = values.size // BLOCK
    total, by_r, by_c = planes[8], planes[6], planes[7]
    _add_up_products(values, row, scratch, by_r)
    _add_up_products(values, column, scratch, by_c)
    scratch[:] = values
    _add_up(scratch, total)
    for j in range(total.size):
        r, c = by_r[j] - planes[0, j] * total[j], by_c[j] - planes[1, j] * total[j]
        by_r[j] = planes[2, j] * r + planes[3, j] * c
        by_c[j] = planes[3, j] * r + planes[4, j] * c
        total[j] = total[j] / max(count[j], 1.0) - by_r[j] * planes[0, j] - by_c[j] * planes[1, j]
    level, steepness = scratch[:columns], scratch[columns : 2 * columns]
    _spread(by_c, level)
    for x in range(columns):
        level[x] *= column[x]
    _spread(total, steepness)
    for x in range(columns):
        level[x] += steepness[x]
    _spread(by_r, steepness)
    for i in range(BLOCK):
        part = slice(i * columns, (i + 1) * columns)
        here, use, down = values[part], keep[part], np.float32(i)
        for x in range(columns):
            here[x] -= use[x] * (level[x] + down * steepness[x])


@compiled
def _equations(first, second, top, left, strips, planes, facts, out) -> None:
    """Fill `out` (block, 6) with the weighted normal equations of a row of blocks, detrended in `strips`."""
    columns = strips.shape[1] // BLOCK
    lines = np.empty((3, columns), np.float32)
    scale_blocks(facts, lines)
    scale_a, scale_b = lines[0], lines[1]
    keep, down, along = strips[0], strips[3], strips[4]
    quarter = np.float32(0.25)
    for i in range(BLOCK):
        y, part = top + i, slice(i * columns, (i + 1) * columns)
        near, before, after = (
            slice(left, left + columns), slice(left - 1, left - 1 + columns), slice(left + 1, left + 1 + columns),
        )  # fmt: skip
        _slope(keep[part], scale_a, scale_b, first[y + 1, near], first[y - 1, near],
               second[y + 1, near], second[y - 1, near], quarter, down[part])  # fmt: skip
        _slope(keep[part], scale_a, scale_b, first[y, after], first[y, before],
               second[y, after], second[y, before], quarter, along[part])  # fmt: skip
    add_up_equations(strips, planes, facts, lines, out)


@compiled
def scale_blocks(facts, lines) -> None:
    """Fill `lines` (3, columns) with what brings anchor and item to one scale, and with 1 over the cut's square."""
    scale_a, scale_b, steep = lines[0], lines[1], lines[2]
    for j in range(facts.shape[1]):
        part = slice(j * BLOCK, (j + 1) * BLOCK)
        heard, rho = facts[0, j] > 0, facts[1, j]
        scale_a[part] = np.float32(1 / np.sqrt(facts[2, j])) if heard else np.float32(0)
        scale_b[part] = np.float32((1 if rho > 0 else -1) / np.sqrt(facts[3, j])) if heard else np.float32(0)
        cut = _CUT * np.sqrt(2 * (1 - min(1.0, abs(rho))) / max(facts[4, j], 1.0)) + 1e-9
        steep[part] = np.float32(1 / (cut * cut))


@compiled
def add_up_equations(strips, planes, facts, lines, out) -> None:
    """Fill `out` (block, 6) from strips of detrended anchor and item and of their mean slope, not yet detrended."""
    columns, across = strips.shape[1] // BLOCK, facts.shape[1]
    scale_a, scale_b, steep = lines[0], lines[1], lines[2]
    keep, a, b, down, along, scratch = strips[0], strips[1], strips[2], strips[3], strips[4], strips[5]
    one = np.float32(1)
    _detrend(down, strips, planes, facts[4])
    _detrend(along, strips, planes, facts[4])
    for i in range(BLOCK):
        part = slice(i * columns, (i + 1) * columns)
        weight, miss = a[part], b[part]
        for x in range(columns):
            miss[x] = scale_b[x] * miss[x] - scale_a[x] * weight[x]
        for x in range(columns):
            weight[x] = max(np.float32(0), one - miss[x] * miss[x] * steep[x])
    pull_y, pull_x = keep, a
    for k in range(scratch.size):
        scratch[k] = a[k] * a[k]
    for k in range(scratch.size):
        pull_y[k] = scratch[k] * down[k]
    for k in range(scratch.size):
        pull_x[k] = scratch[k] * along[k]
    _add_up_products(pull_y, down, scratch, planes[0])
    _add_up_products(pull_y, along, scratch, planes[1])
    _add_up_products(pull_x, along, scratch, planes[2])
    _add_up_products(pull_y, b, scratch, planes[3])
    _add_up_products(pull_x, b, scratch, planes[4])
    for j in range(across):
        weight = facts[0, j]
        out[j, 0] = weight if facts[1, j] > 0 else -weight
        for k in range(5):
            out[j, k + 1] = weight * planes[k, j]


@compiled
def _slope(keep, scale_a, scale_b, after_a, before_a, after_b, before_b, quarter, out) -> None:
    """Half the mean slope of both images, brought to one scale, along a row."""
    for x in range(out.size):
        out[x] = keep[x] * (
            quarter * scale_a[x] * (after_a[x] - before_a[x])
            + quarter * scale_b[x] * (after_b[x] - before_b[x])
        )
