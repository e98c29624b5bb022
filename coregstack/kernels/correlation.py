"""Correlation of gradient orientations: how well two images agree at every lag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from coregstack.kernels.compiling import compiled

_PEAK = 4
"""Half width of a correlation peak, px: what lies further off is another peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The best lag of a correlation surface, and how far it stands out."""

    y: float
    """Lag down the rows, px of the images that were correlated."""
    x: float
    """Lag along the columns."""
    significance: float
    """Height over the surface's own scatter; noise alone gives 3 to 6."""
    rival: float
    """Height of the next peak over that of the best; 1 says that one is as good as the other."""
    lead: float
    """By how much it is higher than the next, in standard deviations of what unlike images give at one lag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Sums over all pixel pairs of each lag, on a square of lags round `centre`."""

    agreement: NDArray[np.float64]
    """Sum of the cosine between the orientations."""
    pairs: NDArray[np.float64]
    """Number of pixel pairs."""
    centre: tuple[int, int]
    """Lag of the middle of the arrays."""

    def __add__(self, other: Surface) -> Surface:
        return Surface(
            agreement=self.agreement + other.agreement, pairs=self.pairs + other.pairs, centre=self.centre
        )

    def peak(self, least_pairs: float) -> Peak | None:
        """The best lag with at least `least_pairs` pixel pairs, to a fraction of a pixel."""
        # Orientations that have nothing to do with each other give a sum of variance pairs / 2.
        height = np.where(
            self.pairs >= least_pairs, self.agreement / np.sqrt(np.maximum(self.pairs, 1) / 2), 0.0
        )
        y, x = (int(k) for k in np.unravel_index(np.argmax(height), height.shape))
        top = float(height[y, x])
        if top <= 0:
            return None
        rest = height.copy()
        rest[max(0, y - _PEAK) : y + _PEAK + 1, max(0, x - _PEAK) : x + _PEAK + 1] = 0
        scatter = np.sqrt(np.square(rest).sum() / max(1, np.count_nonzero(rest)))
        return Peak(
            y=self.centre[0] + y - height.shape[0] // 2 + _vertex(height[:, x], y),
            x=self.centre[1] + x - height.shape[1] // 2 + _vertex(height[y], x),
            significance=top / max(float(scatter), 1.0),
            rival=float(rest.max()) / top,
            lead=top - float(rest.max()),
        )


def _vertex(line: NDArray[np.float64], k: int) -> float:
    """Offset of a parabola's top from sample `k`, within half a pixel."""
    if not 0 < k < len(line) - 1:
        return 0.0
    below, top, above = line[k - 1 : k + 2]
    bend = below - 2 * top + above
    return float(np.clip(0.5 * (below - above) / bend, -0.5, 0.5)) if bend < 0 else 0.0


def correlate(
    anchors: NDArray[np.complex64],
    items: NDArray[np.complex64],
    centre: tuple[int, int],
    reach: tuple[int, int],
) -> list[Surface]:
    """Agreement of pairs of orientation images at all lags within `reach` of `centre`.

    Parameters
    ----------
    anchors, items
        Orientations, 0 where unusable, shapes (n, y, x), whose rows and columns may differ.
    centre, reach
        Lags searched, per axis: ``centre - reach`` to ``centre + reach``; ``anchor[p] = item[p - lag]``.
    """
    # Lags outside those asked for may wrap onto each other, so the transform needs no room for them.
    span = [
        scipy.fft.next_fast_len(max(a + r + max(0, -c), b + r + max(0, c)))
        for a, b, c, r in zip(anchors.shape[1:], items.shape[1:], centre, reach, strict=True)
    ]
    rows, cols = (np.arange(c - r, c + r + 1) % n for c, r, n in zip(centre, reach, span, strict=True))
    product = scipy.fft.fft2(anchors, span) * np.conj(scipy.fft.fft2(items, span))
    agreement = scipy.fft.ifft2(product, overwrite_x=True).real[:, rows[:, None], cols]
    masks = anchors != 0, items != 0
    pairs: list[NDArray[np.float32]] = []
    for k, (here, there) in enumerate(zip(*masks, strict=True)):
        # bands of one scene mostly have one mask
        if k and np.array_equal(here, masks[0][k - 1]) and np.array_equal(there, masks[1][k - 1]):
            pairs.append(pairs[-1])
            continue
        first, second = (scipy.fft.rfft2(mask.astype(np.float32), span) for mask in (here, there))
        pairs.append(np.maximum(scipy.fft.irfft2(first * np.conj(second), span)[np.ix_(rows, cols)], 0))
    return [
        Surface(agreement=a.astype(np.float64), pairs=p.astype(np.float64), centre=centre)
        for a, p in zip(agreement, pairs, strict=True)
    ]


@compiled
def local_agreement(
    anchor: NDArray[np.complex64],
    item: NDArray[np.complex64],
    lag_y: int,
    lag_x: int,
    boxes: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Mean cosine between orientations in each box of the anchor, times the root of the pairs.

    `boxes` holds rows (top, left, bottom, right). The result, shape (n,), is about normal with unit
    variance where the images have nothing in common.
    """
    result = np.zeros(len(boxes))
    for n in range(len(boxes)):
        total, pairs = 0.0, 0
        for y in range(max(boxes[n, 0], lag_y, 0), min(boxes[n, 2], item.shape[0] + lag_y, anchor.shape[0])):
            for x in range(
                max(boxes[n, 1], lag_x, 0), min(boxes[n, 3], item.shape[1] + lag_x, anchor.shape[1])
            ):
                a, b = anchor[y, x], item[y - lag_y, x - lag_x]
                if a != 0 and b != 0:
                    total += a.real * b.real + a.imag * b.imag
                    pairs += 1
        if pairs:
            result[n] = total / np.sqrt(pairs / 2)
    return result
