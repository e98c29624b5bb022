"""Compiled sums of the fit of a displacement that varies: what each block of 8 x 8 pixels says, moved on its own.

As in the fit of one shift, the item is moved by taps of a Gaussian that sits between pixels; here each block is
moved by a displacement of its own. What the displacement varies by inside a block is taken off the item along its
slope, to first order. A row of blocks is worked on at once, laid side by side, each with the rim that its taps
need. Nowhere may the compiler change the order of sums (`fastmath`).
"""
# numba finds the types of what it compiles
# mypy: disable-error-code="no-untyped-def, no-any-return"

from __future__ import annotations

import numpy as np

from coregstack.kernels._blocks import (
    BLOCK,
    FLOOR,
    add_up_equations,
    any_heard,
    scaled_blocks,
    scratch_for,
    weigh,
)
from coregstack.kernels.compiling import compiled
from coregstack.kernels.smoothing import smooth_into

_RADIUS = 4
_TAPS = 2 * _RADIUS + 1
_PATCH = BLOCK + 2
"""A block and one pixel on every side, for slopes."""
_WIDE = _PATCH + 2 * _RADIUS
"""And the rim that the taps need."""
_SURER = 0.02
"""What takes the place of `FLOOR`: a block decides about its own place only, and may know it well."""
SUMS = 8
"""Numbers of a block: weight, m_yy, m_yx, m_xx, r_y, r_x, usable pixels, and the trace of m that both scenes show."""


@compiled
def displaced_sums(anchor, item, usable, margin, rest, slope, taps, noise, out) -> None:
    """Fill `out` (down, across, 8) with the weighted normal equations of every block of a tile.

    `anchor`, `item` and `usable` are (y, x), band-passed and read at whole pixels; `margin` pixels on every side
    only serve the filters. `rest` (2, down, across) is the displacement of each block beyond those whole pixels, and
    `slope` (2, 2, down, across) by how much it changes down and along, px per px. `taps` (9,) smooth in place;
    `noise` holds the variance of anchor and item. A row of `out` is (weight, m_yy, m_yx, m_xx, r_y, r_x, usable
    pixels, shared): ``m @ step = r``; the weight is negative where the contrast is reversed. Shared is how much of the
    trace of m stems from slopes that both scenes show; the rest is noise, which makes m larger and r not. Blocks that
    are moved further than the margin lets them say nothing.
    """
    first, across = np.empty_like(anchor), out.shape[1]
    smooth_into(anchor, taps, taps, first)
    strips, planes, facts, places = scratch_for(across * BLOCK, np.int64(0), np.int64(1), across)
    steep = np.empty((4, strips.shape[1]), np.float32)
    sums, shared = np.empty((across, SUMS - 2)), np.empty((2, across))
    room = np.empty((_WIDE, across * _WIDE), np.float32)
    weights, patches = (
        np.empty((2, _TAPS, across * _WIDE), np.float32),
        np.empty((_PATCH, across * _WIDE), np.float32),
    )
    whole, fits = np.empty((2, across), np.int64), np.empty(across, np.bool_)
    for i in range(out.shape[0]):
        top = margin + i * BLOCK
        _split(rest[:, i], margin - _RADIUS - 1, whole, fits, weights)
        _lay(item, top, margin, whole, room)
        _smooth(room, weights, patches)
        _fill(first, patches, usable, top, margin, whole, fits, slope[:, :, i], strips, steep)
        weigh(strips, places, planes, noise, facts)
        for j in range(across):
            apart = 1 - min(1.0, facts[1, j] * facts[1, j])
            facts[0, j] *= (apart + FLOOR) / (apart + _SURER)
        for j in range(across):
            out[i, j] = 0.0
            out[i, j, 6] = facts[4, j]
        if any_heard(facts[0]):
            lines = scaled_blocks(facts, places, across * BLOCK)
            _mean_slopes(strips, steep, lines, shared)
            add_up_equations(strips, places, planes, facts, lines, sums)
            for j in range(across):
                for k in range(6):
                    out[i, j, k] = sums[j, k]
                if shared[1, j] > 0:
                    part = min(1.0, max(0.0, shared[0, j] / shared[1, j]))
                    out[i, j, 7] = part * (sums[j, 1] + sums[j, 3])


@compiled
def _split(rest, room, whole, fits, weights) -> None:
    """Split displacements into whole pixels and taps for what is left of each; `fits` where there is room."""
    line = np.empty(_TAPS)
    for j in range(whole.shape[1]):
        fits[j] = True
        for k in range(2):
            nearest = np.rint(rest[k, j])
            fits[j] &= abs(nearest) <= room
            whole[k, j] = int(nearest) if abs(nearest) <= room else 0
            at, total = whole[k, j] - rest[k, j] if fits[j] else 0.0, 0.0
            for t in range(_TAPS):
                line[t] = np.exp(-0.5 * (t - _RADIUS - at) ** 2)
                total += line[t]
            for t in range(_TAPS):
                weights[k, t, j * _WIDE : (j + 1) * _WIDE] = np.float32(line[t] / total)


@compiled
def _lay(item, top, left, whole, room) -> None:
    """Lay the blocks of a row side by side, each moved by whole pixels and with its rim."""
    rim = _RADIUS + 1
    for j in range(whole.shape[1]):
        y, x = top - rim - whole[0, j], left - rim - whole[1, j] + j * BLOCK
        for i in range(_WIDE):
            target, source = room[i, j * _WIDE : (j + 1) * _WIDE], item[y + i, x : x + _WIDE]
            for k in range(_WIDE):
                target[k] = source[k]


@compiled
def _smooth(room, weights, patches) -> None:
    """Fill `patches` with smoothed blocks and a rim of one pixel; each block's last columns are left to chance."""
    width = room.shape[1]
    line = np.zeros(width + _TAPS, np.float32)
    for i in range(_PATCH):
        line[:] = 0
        for t in range(_TAPS):
            weight, source = weights[0, t], room[i + t]
            for x in range(width):
                line[x] += weight[x] * source[x]
        row = patches[i]
        row[:] = 0
        for t in range(_TAPS):
            weight, source = weights[1, t], line[t:]
            for x in range(width):
                row[x] += weight[x] * source[x]


@compiled
def _fill(first, patches, usable, top, left, whole, fits, slope, strips, steep) -> None:
    """Fill the strips of mask, anchor and item, and `steep` with the slopes of both, of a row of blocks."""
    columns = strips.shape[1] // BLOCK
    half, middle = np.float32(0.5), np.float32((BLOCK - 1) / 2)
    for i in range(BLOCK):
        y, base = top + i, i * columns
        for x in range(columns):
            k = base + x
            strips[1, k] = first[y, left + x]
            steep[0, k] = first[y + 1, left + x] - first[y - 1, left + x]
            steep[1, k] = first[y, left + x + 1] - first[y, left + x - 1]
        down = np.float32(i) - middle
        for j in range(fits.size):
            k, p, x = base + j * BLOCK, j * _WIDE + 1, left + j * BLOCK
            here, there = (
                usable[y, x : x + BLOCK],
                usable[y - whole[0, j], x - whole[1, j] : x - whole[1, j] + BLOCK],
            )
            for c in range(BLOCK):
                strips[0, k + c] = np.float32(here[c] & there[c] & fits[j])
            along_y = half * (np.float32(slope[0, 0, j]) * down - np.float32(slope[0, 1, j]) * middle)
            along_x = half * (np.float32(slope[1, 0, j]) * down - np.float32(slope[1, 1, j]) * middle)
            more_y, more_x = half * np.float32(slope[0, 1, j]), half * np.float32(slope[1, 1, j])
            for c in range(BLOCK):
                by = patches[i + 2, p + c] - patches[i, p + c]
                bx = patches[i + 1, p + c + 1] - patches[i + 1, p + c - 1]
                steep[2, k + c], steep[3, k + c] = by, bx
                strips[2, k + c] = (
                    patches[i + 1, p + c]
                    - by * (along_y + np.float32(c) * more_y)
                    - bx * (along_x + np.float32(c) * more_x)
                )
    for k in range(strips.shape[1]):
        strips[1, k] *= strips[0, k]
        strips[2, k] *= strips[0, k]


@compiled
def _mean_slopes(strips, steep, lines, shared) -> None:
    """Fill the strips of slopes with half the mean slope of anchor and item, brought to one scale.

    `shared` (2, block) becomes the mean product of both slopes in each block, and the power of their mean.
    """
    columns = lines.shape[1]
    quarter = np.float32(0.25)
    shared[:] = 0.0
    both, power = np.empty(columns, np.float32), np.empty(columns, np.float32)
    both[:] = 0
    power[:] = 0
    for i in range(BLOCK):
        part = slice(i * columns, (i + 1) * columns)
        for k in range(2):
            keep, target, a, b = strips[0, part], strips[3 + k, part], steep[k, part], steep[2 + k, part]
            for x in range(columns):
                one, other = quarter * lines[0, x] * a[x], quarter * lines[1, x] * b[x]
                target[x] = keep[x] * (one + other)
                both[x] += keep[x] * (4 * one * other)
                power[x] += target[x] * target[x]
    for j in range(shared.shape[1]):
        for x in range(j * BLOCK, (j + 1) * BLOCK):
            shared[0, j] += both[x]
            shared[1, j] += power[x]
