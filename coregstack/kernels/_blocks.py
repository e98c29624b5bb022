"""Compiled sums of the fit: what every block of 8 x 8 pixels says of the shift.

Nowhere may the compiler change the order of sums (`fastmath`): it would not choose the same order in every
process, and workers would not agree to the bit.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import numba
import numpy as np

from coregstack.kernels.match_image import smooth_into

BLOCK = 8
"""Side of a block, px."""
_PIXELS = BLOCK * BLOCK
_LEAST = _PIXELS // 3
"""Blocks with fewer usable pixels say nothing."""
_CHANCE = 0.05
"""Squared correlation that blocks of unlike texture reach by chance."""
_FLOOR = 0.3
"""Added to 1 - rho^2, so that a few blocks that match perfectly do not decide alone."""
_CUT = 4.0
"""Residuals beyond this many standard deviations of their block count nothing (Tukey's biweight)."""
_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def block_sums(anchor, item, usable, margin, taps, noise, out) -> None:
    """Fill `out` (n, block, 6) with the weighted normal equations of every block of every window.

    `anchor`, `item` and `usable` are (n, y, x), of which `margin` pixels on every side only serve the filters;
    `taps` (4, k) smooth the anchor down and along, then the item, each moved by half the shift;
    `noise` holds the variance of anchor and item. A row of `out` is (weight, m_yy, m_yx, m_xx, r_y, r_x): `m` and `r`
    give the step of the shift, ``m @ step = r``. The weight is negative where the contrast is reversed; blocks that
    say nothing hold 0.
    """
    first, second = np.empty_like(anchor[0]), np.empty_like(item[0])
    scratch = np.empty((8, _PIXELS), np.float32)
    across = (anchor.shape[2] - 2 * margin) // BLOCK
    for n in range(anchor.shape[0]):
        smooth_into(anchor[n], taps[0], taps[1], first)
        smooth_into(item[n], taps[2], taps[3], second)
        for k in range(out.shape[1]):
            top, left = margin + k // across * BLOCK, margin + k % across * BLOCK
            count = _gather(first, second, usable[n], top, left, 0, 0, scratch)
            weight, rho, power_a, power_b = _weigh(scratch, count, noise)
            if weight > 0:
                _equations(first, second, top, left, scratch, count, weight, rho, power_a, power_b, out[n, k])


@_compiled
def block_weights(anchor, item, usable, margin, taps, noise, offsets, out) -> None:
    """Fill `out` (n, block) with each block's mean weight where the item lies `offsets` (k, 2) away, in whole px.

    The other arguments are those of `block_sums`.
    """
    first, second = np.empty_like(anchor[0]), np.empty_like(item[0])
    scratch = np.empty((8, _PIXELS), np.float32)
    across = (anchor.shape[2] - 2 * margin) // BLOCK
    out[:] = 0
    for n in range(anchor.shape[0]):
        smooth_into(anchor[n], taps[0], taps[1], first)
        smooth_into(item[n], taps[2], taps[3], second)
        for k in range(out.shape[1]):
            top, left = margin + k // across * BLOCK, margin + k % across * BLOCK
            for m in range(offsets.shape[0]):
                count = _gather(first, second, usable[n], top, left, offsets[m, 0], offsets[m, 1], scratch)
                out[n, k] += _weigh(scratch, count, noise)[0] / offsets.shape[0]


@_compiled
def _gather(first, second, usable, top, left, down, along, scratch) -> int:
    """Fill the rows of `scratch` with rows, columns and mask of a block, then anchor and item; returns the pixels."""
    count = 0
    for i in range(BLOCK):
        for j in range(BLOCK):
            here = usable[top + i, left + j] & usable[top + i - down, left + j - along]
            keep = np.float32(here)
            count += here
            k = i * BLOCK + j
            scratch[0, k] = keep * np.float32(i)
            scratch[1, k] = keep * np.float32(j)
            scratch[2, k] = keep
            scratch[3, k] = keep * first[top + i, left + j]
            scratch[4, k] = keep * second[top + i - down, left + j - along]
    return count


@_compiled
def _weigh(scratch, count, noise):
    """Detrend anchor and item in `scratch`: weight, correlation, power of both; weight 0 where they say nothing."""
    if count < _LEAST or not _centre(scratch, count):
        return 0.0, 0.0, 0.0, 0.0
    _detrend(scratch, count, scratch[3])
    _detrend(scratch, count, scratch[4])
    a, b = scratch[3], scratch[4]
    aa = bb = ab = np.float32(0)
    for k in range(_PIXELS):
        aa += a[k] * a[k]
        bb += b[k] * b[k]
        ab += a[k] * b[k]
    power_a, power_b = np.float64(aa) + count * noise[0], np.float64(bb) + count * noise[1]
    rho = ab / np.sqrt(power_a * power_b)
    square = min(1.0, rho * rho)
    if square <= _CHANCE:
        return 0.0, 0.0, 0.0, 0.0
    return count * (square - _CHANCE) / (1 - square + _FLOOR), rho, power_a, power_b


@_compiled
def _centre(scratch, count) -> bool:
    """Count rows and columns of the usable pixels from their mean; False where the pixels span no plane."""
    r, c, keep = scratch[0], scratch[1], scratch[2]
    mean_r = mean_c = np.float32(0)
    for k in range(_PIXELS):
        mean_r += r[k]
        mean_c += c[k]
    mean_r /= np.float32(count)
    mean_c /= np.float32(count)
    rr = rc = cc = np.float32(0)
    for k in range(_PIXELS):
        r[k] -= keep[k] * mean_r
        c[k] -= keep[k] * mean_c
        rr += r[k] * r[k]
        rc += r[k] * c[k]
        cc += c[k] * c[k]
    det = rr * cc - rc * rc
    if det < 1:
        return False
    # What is left of the row holds the inverse, for all planes that are taken off.
    scratch[7, 0], scratch[7, 1], scratch[7, 2] = cc / det, -rc / det, rr / det
    return True


@_compiled
def _detrend(scratch, count, values) -> None:
    """Take the best plane off the usable pixels of `values`, which stay 0 elsewhere."""
    r, c, keep = scratch[0], scratch[1], scratch[2]
    total = by_r = by_c = np.float32(0)
    for k in range(_PIXELS):
        total += values[k]
        by_r += r[k] * values[k]
        by_c += c[k] * values[k]
    mean = total / np.float32(count)
    slope_r = scratch[7, 0] * by_r + scratch[7, 1] * by_c
    slope_c = scratch[7, 1] * by_r + scratch[7, 2] * by_c
    for k in range(_PIXELS):
        values[k] -= keep[k] * mean + slope_r * r[k] + slope_c * c[k]


@_compiled
def _equations(first, second, top, left, scratch, count, weight, rho, power_a, power_b, out) -> None:
    """Weighted normal equations of one block, whose detrended pixels are in `scratch`."""
    scale_a = np.float32(1 / np.sqrt(power_a))
    scale_b = np.float32((1 if rho > 0 else -1) / np.sqrt(power_b))
    keep, a, b, down, along = scratch[2], scratch[3], scratch[4], scratch[5], scratch[6]
    half_a, half_b = np.float32(0.25) * scale_a, np.float32(0.25) * scale_b
    for i in range(BLOCK):
        y = top + i
        for j in range(BLOCK):
            x, k = left + j, i * BLOCK + j
            down[k] = keep[k] * (
                half_a * (first[y + 1, x] - first[y - 1, x]) + half_b * (second[y + 1, x] - second[y - 1, x])
            )
            along[k] = keep[k] * (
                half_a * (first[y, x + 1] - first[y, x - 1]) + half_b * (second[y, x + 1] - second[y, x - 1])
            )
    _detrend(scratch, count, down)
    _detrend(scratch, count, along)
    square = min(1.0, rho * rho)
    cut = _CUT * np.sqrt(2 * (1 - np.sqrt(square)) / count) + 1e-9
    steep = np.float32(1 / (cut * cut))
    yy = yx = xx = ry = rx = np.float32(0)
    for k in range(_PIXELS):
        e = scale_b * b[k] - scale_a * a[k]
        near = max(np.float32(0), np.float32(1) - e * e * steep)
        w = near * near
        gy, gx = w * down[k], w * along[k]
        yy += gy * down[k]
        yx += gy * along[k]
        xx += gx * along[k]
        ry += gy * e
        rx += gx * e
    out[0] = weight if rho > 0 else -weight
    out[1], out[2], out[3] = weight * yy, weight * yx, weight * xx
    out[4], out[5] = weight * ry, weight * rx
