"""The search: where in the item the anchor's content lies, to a fraction of a pixel.

Overviews of a fixed size are searched first, then windows at full resolution, whose correlation
surfaces are added up so that they vote together, and which must not contradict each other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial, reduce
from operator import add
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.blank import why_blank
from coregstack.kernels.correlation import Peak, Spectrum, Surface, correlate, local_agreement, span_for
from coregstack.kernels.kept import once
from coregstack.kernels.match_image import orientation
from coregstack.kernels.overview import OVERVIEW, Look, PreparedAnchor, factor_for, look
from coregstack.kernels.windows import (
    Box,
    Lag,
    cells,
    grown,
    moved,
    overlap,
    parts_for,
    parts_of,
    read_padded,
    spread,
    window_size,
)
from coregstack.model import PixelSource

LEAST_LEAD = 6.0
"""Peaks of the search that are higher than the next by less may be chance: wrong ones hardly
reach 3, right ones mostly exceed 12 (`benchmarks/peaks.py`)."""
_PLAIN = 20.0
"""Peaks of windows that lead by more leave no doubt: where all that are asked first do, others would not move the start
of the fit by what matters."""
_AMBIGUOUS = 0.8
"""A second peak this near in height to the first leaves both in doubt."""
_LEAST_PAIRS = 100
_HEARD = 1.5
"""Windows whose orientations agree by less than this many standard deviations are not worth a fit."""
_VOTERS = 16
"""Windows that vote on the lag at full resolution, all bands together."""
_FIRST = 4
"""Windows that are asked first; where all of them are sure of one lag, no other is asked."""
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


T = TypeVar("T")


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
    deaf: frozenset[Box]
    """Parts of these that are not."""
    left_out: float
    """Part of all windows worth a fit that is left out, those that agree least in the overviews."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """The search for the lag of an item's content within `reach` of where its origin puts it."""

    anchor: PreparedAnchor
    item: PixelSource
    area: Box
    """Nominal overlap of the two."""
    reach: tuple[float, float]
    """Largest shift searched along each axis, px."""
    budget: int
    """Pixels that the windows to be fitted may hold, all bands together."""
    _made: dict[Hashable, Any] = field(default_factory=dict)
    """What was made before."""

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is made when it is first asked for, and then known."""
        return once(self._made, key, make)

    def of(self, bands: Sequence[int]) -> list[Found]:
        """What some bands say.

        Parameters
        ----------
        bands
            Match bands, none of which has to show anything.

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
        options = []
        for band, peak in zip(bands, self._peaks(bands), strict=True):
            area = self._area(peak)
            boxes = cells(area, window_size(area))
            merit = self._merits(band, peak, boxes)
            options.append(
                _Option(band=band, peak=peak, boxes=boxes, merit=merit, total=float(merit[merit > 0].sum()))
            )
        chosen, kin = self._best(options)
        return [self._found(option, kin[option.band], len(chosen)) for option in chosen]

    def _best(self, options: Sequence[_Option]) -> tuple[list[_Option], dict[int, int]]:
        """Bands that are worth a fit, and for each the one that stands for its texture."""
        most = max(option.total for option in options)
        able = sorted((o for o in options if o.total > most / 2), key=lambda option: -option.total)
        kin: dict[int, int] = {}
        for option in able:
            here, _ = self._looks(option.band)
            leaders = [other for other in kin.values() if _alike(here, self._looks(other)[0]) > _SAME]
            kin[option.band] = leaders[0] if leaders else option.band
        # first one band of each texture
        able.sort(key=lambda option: kin[option.band] != option.band)
        if not able:
            raise Refusal("too few windows: the overviews match, but no window of them does")
        return able[:_BANDS], kin

    def _found(self, option: _Option, kin: int, bands: int) -> Found:
        """Windows of a band that is one of so many, and the lag that they vote for."""
        lag = self._vote(option, _VOTERS // bands)
        count = max(1, self.budget // (option.boxes[0].height * option.boxes[0].width * bands))
        windows = spread(option.boxes, option.merit, count)
        parts = [part for box in windows for part in parts_of(box, parts_for(windows))]
        merit = self._merits(option.band, option.peak, parts)
        deaf = frozenset(part for part, own in zip(parts, merit, strict=True) if own <= 0)
        left_out = 1 - len(windows) / max(1, int(np.count_nonzero(option.merit > 0)))
        return Found(band=option.band, kin=kin, lag=lag, windows=tuple(windows), deaf=deaf, left_out=left_out)

    @cached_property
    def _factor(self) -> int:
        """By how much the overviews are reduced: by less where the overlap is a small part of the anchor."""
        longest = max(self.area.height, self.area.width)
        small = self.anchor.factor > 1 and longest < self.anchor.factor * OVERVIEW // 2
        return factor_for(longest) if small else self.anchor.factor

    @cached_property
    def _around(self) -> Box:
        """The overlap and all that a shift might bring into it."""
        y, x = (_ceil_wider(r) for r in self.reach)
        top, left, bottom, right = self.area
        return Box(top - y, left - x, bottom + y, right + x)

    def _looks(self, band: int) -> tuple[Look, Look]:
        """Overviews of anchor and item."""
        return self.once(("looks", band), partial(self._seen, band))

    def _seen(self, band: int) -> tuple[Look, Look]:
        factor, around = self._factor, self._around
        own = self.anchor.look(band, factor, None if factor == self.anchor.factor else around)
        return own, look(self.item, band, factor, moved(around, Lag.of(*self.item.origin)))

    def _area(self, peak: Peak) -> Box:
        """The part of the anchor that the item covers where a peak puts it."""
        lag = peak.y * self._factor, peak.x * self._factor
        return overlap(self.anchor.source.shape, self.item.shape, lag)

    def _merits(self, band: int, peak: Peak, boxes: Sequence[Box]) -> NDArray[np.float64]:
        """How well each window agrees in the overviews, in standard deviations above `_HEARD`."""
        anchor, item = self._looks(band)
        start = np.array([anchor.top, anchor.left] * 2, np.int64)
        corners = np.array(boxes, np.int64).reshape(-1, 4) // self._factor - start
        lag = round(peak.y) - anchor.top + item.top, round(peak.x) - anchor.left + item.left
        return local_agreement(anchor.values, item.values, *lag, corners) - _HEARD

    def _surface(self, band: int) -> Surface:
        """Agreement at lags of the whole scenes' overviews, of which the looks may be parts."""
        return self.once(("surface", band), partial(self._correlated, band))

    def _correlated(self, band: int) -> Surface:
        here, there = self._looks(band)
        factor = self._factor
        middle = round(self.item.origin.y / factor), round(self.item.origin.x / factor)
        steps = _ceil_wider(self.reach[0] / factor), _ceil_wider(self.reach[1] / factor)
        start = middle[0] - here.top + there.top, middle[1] - here.left + there.left
        span = span_for(here.shape, there.shape, start, steps)
        key = "spectrum", band, factor, here.top, here.left, here.shape, span
        first = self.anchor.kept.of(key, lambda: Spectrum.of(here.values, span))
        surface = correlate(first, Spectrum.of(there.values, span), start, steps)
        return replace(surface, centre=middle)

    def _peaks(self, bands: Sequence[int]) -> list[Peak]:
        """The lag of each band in the overviews: its own if that is plain, else the one of all together."""
        sides = zip(*(self._looks(band) for band in bands), strict=True)
        for (name, source), looks in zip(
            (("anchor", self.anchor.source), ("item", self.item)), sides, strict=True
        ):
            if not any(np.any(one.values) for one in looks):
                raise Refusal(why_blank(source, name))
        surfaces = [self._surface(band) for band in bands]
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

    def _vote(self, option: _Option, most: int) -> tuple[float, float]:
        """The lag that windows at full resolution agree on, near the one of the overviews.

        A few are asked first. Where they do not all say the same plainly, as many as may vote are. Where the overviews
        are of full resolution themselves, and so many windows surely agree with them that they would be elected, none
        is asked.
        """
        if self._factor == 1 and np.mean(option.merit + _HEARD > LEAST_LEAD) >= 1 - _DISSENT:
            return option.peak.y, option.peak.x
        start = Lag.of(option.peak.y * self._factor, option.peak.x * self._factor)
        votes = self._votes(option, start, min(_FIRST, most))
        if not _is_settled(votes):
            votes = self._votes(option, start, most)
        peak = _elected(votes, self._factor)
        sure = [own for own in map(_sure_peak, votes) if own is not None]
        apart = sum(_is_apart(own, peak) for own in sure)
        if apart > _DISSENT * len(sure):
            raise Refusal(
                f"the windows disagree: {apart} of {len(sure)} differ by more than {_APART:g} px from the others"
            )
        return start.whole_y + peak.y, start.whole_x + peak.x

    def _votes(self, option: _Option, start: Lag, count: int) -> list[_Vote]:
        """What windows at full resolution say, those first that agree most in the overviews."""
        voters, heard = spread(option.boxes, option.merit - option.merit.min() + 1, count), option.heard
        return [
            _Vote(
                surface=self.once(
                    ("vote", option.band, box, start), partial(self._window, option.band, box, start)
                ),
                heard=box in heard,
            )
            for box in voters
        ]

    def _window(self, band: int, box: Box, start: Lag) -> Surface:
        """Agreement in a window at full resolution, at lags near `start`."""
        reach = max(16, self._factor + 4)
        wide = grown(box, reach // 2)
        shape = wide.height, wide.width
        span = span_for(shape, shape, (0, 0), (reach, reach))

        def spectrum(source: PixelSource, box: Box) -> Spectrum:
            return Spectrum.of(orientation(*read_padded(source, band, box)), span)

        first = self.anchor.kept.of(("voter", band, wide, span), lambda: spectrum(self.anchor.source, wide))
        return correlate(first, spectrum(self.item, moved(wide, start)), (0, 0), (reach, reach))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Option:
    """What the overviews say of a band."""

    band: int
    peak: Peak
    boxes: list[Box]
    merit: NDArray[np.float64]
    """How well each window agrees, in standard deviations above `_HEARD`."""
    total: float
    """Sum of what agrees."""

    @property
    def heard(self) -> set[Box]:
        """Windows that agree."""
        return {box for box, merit in zip(self.boxes, self.merit, strict=True) if merit > 0}


class _Vote(NamedTuple):
    """What a window says at full resolution."""

    surface: Surface
    heard: bool
    """Whether it agrees in the overviews."""


def _alike(first: Look, second: Look) -> float:
    """Mean cosine between the orientations of two bands of one scene; 1 where their textures are the same."""
    product = first.values * second.values.conj()
    return float(product.real.sum() / max(1, np.count_nonzero(product)))


def _ceil_wider(value: float) -> int:
    return int(np.ceil(value)) + 2


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


def _joint_peak(votes: Sequence[_Vote]) -> Peak | None:
    """The lag that windows which were heard in the overviews agree on when they are added up."""
    heard = [vote.surface for vote in votes if vote.heard]
    return reduce(add, heard).peak(_LEAST_PAIRS) if heard else None


def _sure_peak(vote: _Vote) -> Peak | None:
    """The lag of a window whose say counts by itself."""
    peak = vote.surface.peak(_LEAST_PAIRS)
    return peak if peak and peak.significance > _SURE and peak.rival < _AMBIGUOUS else None


def _is_apart(own: Peak, peak: Peak) -> bool:
    return bool(np.hypot(own.y - peak.y, own.x - peak.x) > _APART)


def _is_settled(votes: Sequence[_Vote]) -> bool:
    """Whether windows leave no doubt: each has one place that leads by far, and it is that of all together."""
    joint = _joint_peak(votes)
    own = [vote.surface.peak(_LEAST_PAIRS) for vote in votes]
    return (
        joint is not None
        and all(vote.heard for vote in votes)
        and all(peak is not None and _is_plain(peak) and not _is_apart(peak, joint) for peak in (joint, *own))
    )


def _is_plain(peak: Peak) -> bool:
    return peak.lead > _PLAIN and peak.rival < _AMBIGUOUS


def _elected(votes: Sequence[_Vote], factor: int) -> Peak:
    """The lag that windows agree on."""
    peak = _joint_peak(votes)
    # Straight lines (roads, furrows) agree with themselves over a whole window, so that even a perfect peak
    # stands out little from the surface round it: what tells is that no other place comes near to it.
    if peak is None or peak.rival > _AMBIGUOUS:
        raise Refusal("the overviews match, but at full resolution no window does")
    if max(abs(peak.y), abs(peak.x)) > factor + 1:
        raise Refusal("the overviews match, but windows at full resolution show another shift")
    return peak
