"""What stays on the pixel grid while the scene moves: how much of it is left, and how far it pulls a shift.

A scene matches itself equally well on both sides of its lag: what the match is worth at twice the lag, it is worth
at none. Where it is worth more at none, something stays there: gains of detectors, noise of single pixels,
the blocks of a lossy compression.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_WIDTH2 = 3.0
"""Square of the width that a pattern has in a match after smoothing, px^2."""
_SURE = 4.0
"""Standard deviations beyond which an excess is no chance."""
_PART = 0.6
"""Part of the pull that a pattern of that width would have at most, that patterns were measured to have."""
_MOST = 0.5
"""Part of the way to where it stays that a pattern is taken to pull at most."""
_NEAR = 1.0
"""Nearer to the lag than this, a match is too sharp to be interpolated, and its two sides cannot be compared, px."""
_FAR = 5.0
"""Patterns further than this from the lag do not pull, px."""


def pull(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    read: NDArray[np.float64],
    lag: NDArray[np.float64],
    places: Iterable[tuple[float, float]],
) -> tuple[NDArray[np.float64], tuple[int, int] | None]:
    """How far what stays at one of some lags may pull the lag of the scene, and at which lag it stays.

    Parameters
    ----------
    anchor, item, usable
        Band-passed windows and where both may be compared, shape (n, y, x).
    margin
        Pixels on every side that are there to be reached into.
    read
        Lag (y, x) in whole pixels that the windows were read at.
    lag
        Lag (y, x) that was found.
    places
        Lags (y, x) at which patterns may stay.

    Returns
    -------
    pull : float64 array, shape (2,)
        Largest pull down and along, px, not negative; 0 where nothing is found to stay.
    place : tuple of int or None
        Where what pulls most stays.
    """
    worst, where = np.zeros(2), None
    for place in {(round(y), round(x)) for y, x in places}:
        away = lag - np.array(place, np.float64)
        there = np.array(place, np.int64) - read.astype(np.int64)
        mirrored = 2 * (lag - read) - there
        if (
            not _NEAR < math.hypot(*away) < _FAR
            or max(np.abs(there).max(), np.abs(mirrored).max()) > margin - 2
        ):
            continue
        excess = _excess(anchor, item, usable, margin, there, mirrored)
        if excess > 0:
            near = float(away @ away) / (2 * _WIDTH2)
            # what stays is worth something at twice the lag as well where this is near
            strength = _PART * excess / -np.expm1(-4 * near)
            here = min(strength * np.exp(-near), _MOST) * np.abs(away)
            if here.max() > worst.max():
                where = place
            worst = np.maximum(worst, here)
    return worst, where


def _excess(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    there: NDArray[np.int64],
    mirrored: NDArray[np.float64],
) -> float:
    """By how much the match is better at one offset than at another, in parts of its best; 0 if it may be chance."""
    sums = np.empty((len(anchor), 3))
    _match_at(anchor, item, usable, margin, there, mirrored, sums)
    best = float(sums[:, 0].sum())
    more = (sums[:, 1] - sums[:, 2]) * np.sign(best)
    chance = float(np.sqrt(np.square(more - more.mean()).sum()))
    total = float(more.sum())
    return total / abs(best) if best and total > _SURE * chance else 0.0


@compiled
def _match_at(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    there: NDArray[np.int64],
    mirrored: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Fill `sums` (n, 3) with how well windows match as they were read, and moved by two offsets."""
    by_row, by_col = np.empty(4), np.empty(4)
    first_y, first_x = _cubic(mirrored[0], by_row), _cubic(mirrored[1], by_col)
    still = np.int64(0)
    for n in range(len(anchor)):
        sums[n, 0] = _match(anchor[n], item[n], usable[n], margin, still, still)
        sums[n, 1] = _match(anchor[n], item[n], usable[n], margin, there[0], there[1])
        sums[n, 2] = 0.0
        for i in range(4):
            for j in range(4):
                share = by_row[i] * by_col[j]
                if share != 0:
                    sums[n, 2] += share * _match(
                        anchor[n], item[n], usable[n], margin, first_y + i, first_x + j
                    )


@compiled
def _cubic(at: float, weights: NDArray[np.float64]) -> int:
    """Fill Keys' cubic weights of the four whole numbers round a place, and return the first of these."""
    low = int(np.floor(at))
    t = at - low
    weights[0] = -t / 2 + t**2 - t**3 / 2
    weights[1] = 1 - 2.5 * t**2 + 1.5 * t**3
    weights[2] = t / 2 + 2 * t**2 - 1.5 * t**3
    weights[3] = -(t**2) / 2 + t**3 / 2
    return low - 1


@compiled
def _match(
    anchor: NDArray[np.float32],
    item: NDArray[np.float32],
    usable: NDArray[np.bool_],
    margin: int,
    down: int | np.int64,
    along: int | np.int64,
) -> float:
    """Mean product of two images where the second is moved by so many pixels."""
    width = anchor.shape[1] - 2 * margin
    product, pixels = np.zeros(width, np.float32), np.zeros(width, np.float32)
    left = margin - along
    for y in range(margin, anchor.shape[0] - margin):
        here, keep = anchor[y, margin : margin + width], usable[y, margin : margin + width]
        there, also = item[y - down, left : left + width], usable[y - down, left : left + width]
        for x in range(width):
            seen = np.float32(keep[x] & also[x])
            product[x] += seen * here[x] * there[x]
            pixels[x] += seen
    return np.float64(product.sum()) / max(np.float64(pixels.sum()), 1.0)
