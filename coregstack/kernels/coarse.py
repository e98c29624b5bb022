"""The search: where in the item the anchor's content lies, to a fraction of a pixel.

Overviews of a fixed size are searched first, then windows at full resolution, whose correlation
surfaces are added up so that they vote together, and which must not contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.blank import why_blank
from coregstack.kernels.correlation import Peak, Surface, correlate, local_agreement
from coregstack.kernels.match_image import orientation
from coregstack.kernels.overview import OVERVIEW, Look, PreparedAnchor, factor_for, look
from coregstack.kernels.windows import Box, Lag, cells, grown, moved, overlap, read_pair, spread, window_size
from coregstack.model import PixelSource

LEAST_LEAD = 6.0
"""Peaks of the search that are higher than the next by less may be chance: wrong ones hardly
reach 3, right ones mostly exceed 12 (`benchmarks/peaks.py`)."""
_AMBIGUOUS = 0.8
"""A second peak this near in height to the first leaves both in doubt."""
_LEAST_PAIRS = 100
_HEARD = 1.5
"""Windows whose orientations agree by less than this many standard deviations are not worth a fit."""
_VOTERS = 16
"""Windows that vote on the lag at full resolution, all bands together."""
_BANDS = 3
"""Bands that are fitted at most."""
_SAME = 0.5
"""Bands of a scene whose orientations agree more err alike: visible bands reach 0.55 to 0.8 with each other, 0.2 to
0.45 with near infrared."""
_SURE = 8.0
"""A single window whose peak stands out more has a say of its own."""
_APART = 2.0
"""Windows further than this from the common lag have moved otherwise, px."""
_DISSENT = 0.3
"""Part of the sure windows that may have moved otherwise."""


class Refusal(Exception):
    """No shift can be known; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search knows of one band."""

    band: int
    kin: int
    """The band of most evidence among those whose texture is much like this one's."""
    lag: tuple[float, float]
    """Lag of the content, px at full resolution: the shift plus the item's origin."""
    windows: tuple[Box, ...]
    """Windows that are worth a fit."""


def search(
    anchor: PreparedAnchor, item: PixelSource, area: Box, reach: tuple[float, float], budget: int
) -> list[Found]:
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

    Returns
    -------
    list of Found
        For at most three bands: the one of most evidence first, and of those with at least half of that the ones
        whose texture is another first.

    Raises
    ------
    Refusal
        Where nothing, or more than one place, matches.
    """
    factor = anchor.factor
    around = _around(area, reach)
    here = anchor.looks
    if factor > 1 and max(area.height, area.width) < factor * OVERVIEW // 2:
        factor = factor_for(max(area.height, area.width))
        here = look(anchor.source, factor, around)
    there = look(item, factor, moved(around, Lag.of(*item.origin)))
    pairs = list(zip(here, there, strict=False))
    for name, looks, source in (("anchor", here, anchor.source), ("item", there, item)):
        if not any(np.any(one.values) for one in looks):
            raise Refusal(why_blank(source, name))
    peaks = _peaks(pairs, tuple(o / factor for o in item.origin), tuple(r / factor for r in reach))
    options = []
    for band, ((a, b), peak) in enumerate(zip(pairs, peaks, strict=True)):
        area = overlap(anchor.source.shape, item.shape, (peak.y * factor, peak.x * factor))
        boxes = cells(area, window_size(area))
        merit = _merits(a, b, peak, boxes, factor)
        options.append((float(merit[merit > 0].sum()), band, boxes, merit))
    options.sort(key=lambda option: -option[0])
    able = [option for option in options if option[0] > options[0][0] / 2]
    kin: dict[int, int] = {}
    for _, band, _, _ in able:
        leaders = [other for other in kin.values() if _alike(here[band], here[other]) > _SAME]
        kin[band] = leaders[0] if leaders else band
    # first one band of each texture
    able.sort(key=lambda option: kin[option[1]] != option[1])
    chosen = able[:_BANDS]
    if not chosen:
        raise Refusal("too few windows: the overviews match, but no window of them does")
    found = []
    for _, band, boxes, merit in chosen:
        start = peaks[band].y * factor, peaks[band].x * factor
        voters = spread(boxes, merit - merit.min() + 1, _VOTERS // len(chosen))
        heard = {box for box, m in zip(boxes, merit, strict=True) if m > 0}
        lag = _vote(anchor.source, item, band, voters, heard, start, factor)
        count = max(1, budget // (boxes[0].height * boxes[0].width * len(chosen)))
        windows = tuple(spread(boxes, merit, count))
        found.append(Found(band=band, kin=kin[band], lag=lag, windows=windows))
    return found


def _alike(first: Look, second: Look) -> float:
    """Mean cosine between the orientations of two bands of one scene; 1 where their textures are the same."""
    product = first.values * second.values.conj()
    return float(product.real.sum() / max(1, np.count_nonzero(product)))


def _around(area: Box, reach: tuple[float, float]) -> Box:
    """The overlap and all that a shift might bring into it."""
    y, x = (int(np.ceil(r)) + 2 for r in reach)
    return Box(area.top - y, area.left - x, area.bottom + y, area.right + x)


def _peaks(
    pairs: Sequence[tuple[Look, Look]],
    centre: tuple[float, ...],
    reach: tuple[float, ...],
) -> list[Peak]:
    """The lag of each band in the overviews: its own if that is plain, else the one of all together."""
    middle = round(centre[0]), round(centre[1])
    steps = int(np.ceil(reach[0])) + 2, int(np.ceil(reach[1])) + 2
    surfaces = _surfaces(pairs, middle, steps)
    own = [_unrivalled(surface) for surface in surfaces]
    plain = [peak for peak in own if isinstance(peak, Peak)]
    if len(plain) == len(own):
        return plain
    joint = _unrivalled(reduce(add, surfaces))
    if isinstance(joint, Refusal):
        if not plain:
            raise joint
        joint = max(plain, key=lambda peak: peak.significance)
    return [peak if isinstance(peak, Peak) else joint for peak in own]


def _surfaces(
    pairs: Sequence[tuple[Look, Look]], middle: tuple[int, int], steps: tuple[int, int]
) -> list[Surface]:
    """Agreement at lags of the whole scenes' overviews, of which the looks may be parts."""
    anchor, item = pairs[0]
    start = middle[0] - anchor.top + item.top, middle[1] - anchor.left + item.left
    first, second = (np.stack([pair[k].values for pair in pairs]) for k in (0, 1))
    return [replace(surface, centre=middle) for surface in correlate(first, second, start, steps)]


def _unrivalled(surface: Surface) -> Peak | Refusal:
    """The one significant peak of a surface, or why there is none."""
    most = float(surface.pairs.max())
    if most < _LEAST_PAIRS:
        return Refusal(
            "anchor and item have no usable texture in common: what is clear in one is not in the other"
        )
    peak = surface.peak(max(_LEAST_PAIRS, 0.1 * most))
    # Furrows that run one way over the whole scene agree along a ridge, and even a perfect peak stands out little from
    # a surface that holds one: what tells is that no other place comes near to it.
    if peak is None or peak.lead < LEAST_LEAD:
        return Refusal(
            "no common texture: nothing within the searched shifts matches better than chance "
            "(cloud, water, another place, or a larger shift)"
        )
    if peak.rival > _AMBIGUOUS:
        return Refusal("more than one place matches as well as the best: the texture repeats itself")
    return peak


def _merits(
    anchor: Look,
    item: Look,
    peak: Peak,
    boxes: Sequence[Box],
    factor: int,
) -> NDArray[np.float64]:
    """How well each window agrees in the overviews, in standard deviations above `_HEARD`."""
    start = np.array([anchor.top, anchor.left] * 2, np.int64)
    corners = np.array(boxes, np.int64).reshape(-1, 4) // factor - start
    lag = round(peak.y) - anchor.top + item.top, round(peak.x) - anchor.left + item.left
    return local_agreement(anchor.values, item.values, *lag, corners) - _HEARD


def _vote(
    anchor: PixelSource,
    item: PixelSource,
    band: int,
    boxes: list[Box],
    heard: set[Box],
    lag: tuple[float, float],
    factor: int,
) -> tuple[float, float]:
    """The lag that windows at full resolution agree on, near the one of the overviews.

    Windows that were `heard` in the overviews are added up; all are asked whether they contradict.
    """
    start, reach = Lag.of(*lag), max(16, factor + 4)
    read = [read_pair(anchor, item, band, grown(box, reach // 2), start) for box in boxes]
    first = np.stack([orientation(values, usable) for values, usable, _, _ in read])
    second = np.stack([orientation(values, usable) for _, _, values, usable in read])
    surfaces = correlate(first, second, (0, 0), (reach, reach))
    votes = [surface for surface, box in zip(surfaces, boxes, strict=True) if box in heard]
    peak = reduce(add, votes).peak(_LEAST_PAIRS) if votes else None
    # Straight lines (roads, furrows) agree with themselves over a whole window, so that even a perfect peak
    # stands out little from the surface round it: what tells is that no other place comes near to it.
    if peak is None or peak.rival > _AMBIGUOUS:
        raise Refusal("the overviews match, but at full resolution no window does")
    if max(abs(peak.y), abs(peak.x)) > factor + 1:
        raise Refusal("the overviews match, but windows at full resolution show another shift")
    own = [surface.peak(_LEAST_PAIRS) for surface in surfaces]
    sure = [p for p in own if p and p.significance > _SURE and p.rival < _AMBIGUOUS]
    apart = sum(np.hypot(p.y - peak.y, p.x - peak.x) > _APART for p in sure)
    if apart > _DISSENT * len(sure):
        raise Refusal(
            f"the windows disagree: {apart} of {len(sure)} differ by more than {_APART:g} px from the others"
        )
    return start.whole_y + peak.y, start.whole_x + peak.x
