"""The search: where in the item the anchor's content lies, to a fraction of a pixel.

Overviews of a fixed size are searched first, then, where they are coarser than the scene, windows
at full resolution, whose correlation surfaces are added up so that they vote together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.correlation import Peak, Surface, correlate, local_agreement
from coregstack.kernels.match_image import orientation
from coregstack.kernels.windows import Box, Lag, cells, grown, overlap, read_pair, spread, window_size
from coregstack.model import PixelSource

_OVERVIEW = 256
"""Longest side of the overviews that are searched, px, so that the search costs the same at any size."""
_SIGNIFICANT = 6.5
"""Peaks of the search that stand out less may be chance."""
_AMBIGUOUS = 0.8
"""A second peak this near in height to the first leaves both in doubt."""
_LEAST_PAIRS = 100
_HEARD = 1.5
"""Windows whose orientations agree by less than this many standard deviations are not worth a fit."""
_VOTERS = 9
"""Windows that find the lag at full resolution where the overviews are coarser."""

Looks = tuple[NDArray[np.complex64], ...]
"""Orientations of the overview, one array for each band."""


class Refusal(Exception):
    """No shift can be known; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreparedAnchor:
    """An anchor made ready once for all items: small, picklable, reusable."""

    source: PixelSource
    """Where windows are read from."""
    factor: int
    """Side of the overviews' blocks, px."""
    looks: Looks
    """Orientations of the overviews."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search knows."""

    lag: tuple[float, float]
    """Lag of the content, px at full resolution: the shift plus the item's origin."""
    windows: tuple[tuple[int, tuple[Box, ...]], ...]
    """Windows to fit, for each band that is worth it, the best band first."""


def factor_for(longest: int) -> int:
    """Side of the blocks that make an overview of at most `_OVERVIEW` px of a side of `longest` px."""
    return max(1, -(-longest // _OVERVIEW))


def look(source: PixelSource, factor: int) -> Looks:
    """Orientations of a source's overviews."""
    return tuple(_look(source, band, factor) for band in range(source.bands))


def _look(source: PixelSource, band: int, factor: int) -> NDArray[np.complex64]:
    if factor == 1:
        return orientation(*source.read(band, slice(0, source.shape[0]), slice(0, source.shape[1])))
    values, share = source.overview(band, factor)
    return orientation(values, share >= 0.5)


def search(
    anchor: PreparedAnchor, item: PixelSource, area: Box, reach: tuple[float, float], budget: int
) -> Found:
    """Find the lag of the item's content within `reach` of where its origin puts it.

    Parameters
    ----------
    anchor, item
        The scenes.
    area
        Their nominal overlap.
    reach
        Largest shift searched along each axis, px.
    budget
        Pixels that the windows to be fitted may hold, all bands together.

    Raises
    ------
    Refusal
        Where nothing, or more than one place, matches.
    """
    factor = anchor.factor
    if factor > 1 and max(area.height, area.width) < factor * _OVERVIEW // 2:
        factor = factor_for(max(area.height, area.width))
    here = anchor.looks if factor == anchor.factor else look(anchor.source, factor)
    there = look(item, factor)
    pairs = list(zip(here, there, strict=False))
    peak = _peak(pairs, tuple(o / factor for o in item.origin), tuple(r / factor for r in reach))
    lag = peak.y * factor, peak.x * factor
    area = overlap(anchor.source.shape, item.shape, lag)
    boxes = cells(area, window_size(area))
    merits = [_merits(a, b, peak, boxes, factor) for a, b in pairs]
    if factor > 1:
        best = int(np.argmax([m[m > 0].sum() for m in merits]))
        lag = _vote(anchor.source, item, best, spread(boxes, merits[best], _VOTERS), lag, factor)
    return Found(lag=lag, windows=_choose(boxes, merits, budget))


def _peak(
    pairs: Sequence[tuple[NDArray[np.complex64], NDArray[np.complex64]]],
    centre: tuple[float, ...],
    reach: tuple[float, ...],
) -> Peak:
    """The lag of the overviews, all bands together."""
    for k, name in enumerate(("anchor", "item")):
        if not any(np.any(p[k]) for p in pairs):
            raise Refusal(f"the {name} has no usable texture: it is clouded, nodata or flat throughout")
    middle = round(centre[0]), round(centre[1])
    steps = int(np.ceil(reach[0])) + 2, int(np.ceil(reach[1])) + 2
    total: Surface | None = None
    for a, b in pairs:
        surface = correlate(a, b, middle, steps)
        total = surface if total is None else total + surface
    if total is None or total.pairs.max() < _LEAST_PAIRS:
        raise Refusal(
            "anchor and item have no usable texture in common: what is clear in one is not in the other"
        )
    peak = total.peak(max(_LEAST_PAIRS, 0.1 * float(total.pairs.max())))
    if peak is None or peak.significance < _SIGNIFICANT:
        raise Refusal(
            "no common texture: nothing within the searched shifts matches better than chance "
            "(cloud, water, another place, or a shift beyond a quarter of the overlap)"
        )
    if peak.rival > _AMBIGUOUS:
        raise Refusal("more than one place matches as well as the best: the texture repeats itself")
    return peak


def _merits(
    anchor: NDArray[np.complex64], item: NDArray[np.complex64], peak: Peak, boxes: Sequence[Box], factor: int
) -> NDArray[np.float64]:
    """How well each window agrees in the overviews, in standard deviations above `_HEARD`."""
    corners = np.array(boxes, np.int64).reshape(-1, 4) // factor
    return local_agreement(anchor, item, round(peak.y), round(peak.x), corners) - _HEARD


def _choose(
    boxes: list[Box], merits: list[NDArray[np.float64]], budget: int
) -> tuple[tuple[int, tuple[Box, ...]], ...]:
    """Windows of the bands that carry at least half the evidence of the best, three bands at most."""
    if not boxes:
        raise Refusal("too few windows: the overlap at the best match is too narrow")
    evidence = np.array([m[m > 0].sum() for m in merits])
    order = [int(k) for k in np.argsort(-evidence, kind="stable")[:3] if evidence[k] > evidence.max() / 2]
    count = max(1, budget // (boxes[0].height * boxes[0].width * max(1, len(order))))
    return tuple((band, tuple(spread(boxes, merits[band], count))) for band in order)


def _vote(
    anchor: PixelSource, item: PixelSource, band: int, boxes: list[Box], lag: tuple[float, float], factor: int
) -> tuple[float, float]:
    """The lag that windows at full resolution agree on, near the one of the overviews."""
    start, reach = Lag.of(*lag), max(16, factor + 4)
    total: Surface | None = None
    for box in boxes:
        first, usable, second, usable_item = read_pair(anchor, item, band, grown(box, reach // 2), start)
        there = orientation(first, usable), orientation(second, usable_item)
        surface = correlate(*there, (0, 0), (reach, reach))
        total = surface if total is None else total + surface
    peak = total.peak(_LEAST_PAIRS) if total is not None else None
    # Straight lines (roads, furrows) agree with themselves over a whole window, so that even a perfect peak
    # stands out little from the surface round it: what tells is that no other place comes near to it.
    if peak is None or peak.rival > _AMBIGUOUS:
        raise Refusal("the overviews match, but at full resolution no window does")
    return start.whole_y + peak.y, start.whole_x + peak.x
