"""The shift between an item and the anchor, its uncertainty, or the reason why none can be known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.agreement import Fit, Joint, away, between, fit, join
from coregstack.kernels.blank import why_gaps
from coregstack.kernels.coarse import Found, Refusal, Search
from coregstack.kernels.kept import Kept
from coregstack.kernels.overview import PreparedAnchor, factor_for
from coregstack.kernels.pulled import CHANCE, UNSURE, among_gaps, freed, held_back, hidden, leaning
from coregstack.kernels.refine import Windows, prepare, prepare_full, prepare_plain
from coregstack.kernels.spread import beyond_noise
from coregstack.kernels.standin import chosen_bands
from coregstack.kernels.symmetric import in_sigmas
from coregstack.kernels.unheld import blocky
from coregstack.kernels.windows import Box, Lag, overlap
from coregstack.model import NO_TIES, PixelSource, Shift, ShiftEstimate, TiePoints

__all__ = ["PreparedAnchor", "estimate_shift", "prepare_anchor"]

_LEAST = 24
"""Overlaps narrower than this many pixels say too little."""
_BUDGET = 36 * 128 * 128
"""Pixels fitted at full resolution, so that the cost hardly grows with the scene."""
_ASTRAY = 2.0
"""A fit that ends further than this from where the search put it has not found what it started from, px."""
_CHOSEN = 3.0
"""By how much more than windows chosen by chance those that agree best with a lag differ from all, squared."""
_SHORT = 1.5
"""By how much further than blocks say, whose steps noise shortens, their mean may lie from the lag."""
_SETTLED = 0.025
"""Sigma below which one band settles the shift, px: bands of a sensor lie on each other hardly better than that."""
_ASKED = 3 * 128 * 128
"""Pixels of the windows in which other bands are asked whether they say the same."""
_ALIKE = 0.01
"""Bands nearer to each other than this say the same, px."""
_KEPT = 1 << 26
"""Bytes of what items ask of the anchor that are kept."""
_DRAWN = 0.3
"""Largest pull of what stays on the pixel grid, px, with which it does."""
_LEAD = 4.0
"""Standard deviations by which a match must be better than a few pixels away from it."""
_INTERLEAVED = 0.02
"""What is left of the pull of dead lines that lie close together, once they are taken out and filled in, px."""
_REPEATED = (0.0, 0.012, 0.05)
"""How far scenes were found off of which none, one or both have lines that repeat, as nearest neighbour leaves them,
px, 1 sigma."""
_LEAST_BLOCKS = 10
_SAMPLE = 2
"""One window in so many is asked for what stays on the pixel grid."""
_MAJORITY = 0.4
"""Part of the windows' weight that has to agree."""
_TORN = 0.04
"""Most that the square of the rarer contrast's weight, times its distance from the other, may be, px.

Of pairs of real dates, those matched wrongly reach 0.05 and more, those matched rightly 0.03 at most.
"""


def prepare_anchor(anchor: PixelSource) -> PreparedAnchor:
    """Make an anchor ready for `estimate_shift`.

    Parameters
    ----------
    anchor
        Match bands of the anchor; its first pixel is the origin of the frame.

    Returns
    -------
    PreparedAnchor
        Holds the source, from which windows are read when they are needed, and keeps what items ask of it.
    """
    return PreparedAnchor(source=anchor, factor=factor_for(max(anchor.shape)), kept=Kept(_KEPT))


def estimate_shift(
    anchor: PreparedAnchor, item: PixelSource, *, max_shift: float | None = None
) -> ShiftEstimate:
    """Estimate by how much an item must be shifted to match the anchor.

    Parameters
    ----------
    anchor
        What `prepare_anchor` returned.
    item
        Match bands of the item, in the anchor's order.
    max_shift
        Largest shift along either axis that is believed, px; None is a quarter of the overlap.

    Returns
    -------
    ShiftEstimate
        ``item(y - shift.y, x - shift.x) = anchor(y, x)`` in the frame; `shift` is None, and `reason`
        says why, where it cannot be known.

    Examples
    --------
    >>> from coregstack.kernels.sources import ArraySource
    >>> scene = np.random.default_rng(1).normal(size=(120, 120)).cumsum(0).cumsum(1)
    >>> clear = np.ones((100, 100), bool)
    >>> anchor = prepare_anchor(ArraySource(values=scene[None, 10:110, 10:110], usable=clear))
    >>> item = ArraySource(values=scene[None, 13:113, 8:108], usable=clear)
    >>> shift = estimate_shift(anchor, item).shift
    >>> round(float(shift.y), 2), round(float(shift.x), 2)
    (3.0, -2.0)
    """
    ties = NO_TIES
    try:
        area = common_area(anchor.source, item)
        quarter = area.height / 4, area.width / 4
        limit = shift_limit(area, max_shift)
        reach = max(quarter[0], limit[0]), max(quarter[1], limit[1])
        searched = Search(anchor=anchor, item=item, area=area, reach=reach, budget=_BUDGET)
        bands = chosen_bands(anchor.source, item)
        known = _all_over(searched, bands, _first_alone(searched, bands) or _matched(searched, bands))
        joint, ties = known.joint, known.ties
        shift = Shift(joint.lag[0] - item.origin.y, joint.lag[1] - item.origin.x)
        check_limit(shift, limit)
        return ShiftEstimate(
            shift=shift,
            sigma=Shift(*np.hypot(joint.sigma, known.sampling)),
            reason=joint.remark,
            ties=ties,
            spread=known.spread,
            patterned=joint.patterned,
        )
    except Refusal as refusal:
        return ShiftEstimate(shift=None, sigma=None, reason=str(refusal), ties=ties)


def common_area(anchor: PixelSource, item: PixelSource) -> Box:
    """The nominal overlap of anchor and item, large enough to be matched.

    Raises
    ------
    Refusal
        If it is smaller.
    """
    area = overlap(anchor.shape, item.shape, item.origin)
    if min(area.height, area.width) < _LEAST:
        raise Refusal(
            f"the item covers {area.height} x {area.width} px of the anchor: "
            f"at least {_LEAST} x {_LEAST} px of overlap are needed"
        )
    return area


def shift_limit(area: Box, max_shift: float | None) -> tuple[float, float]:
    """Largest shift along each axis that is believed, px: by default a quarter of the overlap."""
    return (area.height / 4, area.width / 4) if max_shift is None else (max_shift, max_shift)


def check_limit(shift: Shift, limit: tuple[float, float]) -> None:
    """Refuse a shift beyond a limit.

    Raises
    ------
    Refusal
        If it is.
    """
    if abs(shift.y) > limit[0] + 0.5 or abs(shift.x) > limit[1] + 0.5:
        raise Refusal(
            f"the shift found, x {shift.x:+.1f}, y {shift.y:+.1f} px, is larger than allowed, "
            f"x {limit[1]:g}, y {limit[0]:g} px: raise max_shift if it is right"
        )


def check_sigma(joint: Joint) -> None:
    """Refuse a shift that is hardly known.

    Raises
    ------
    Refusal
        If its sigma is too large.
    """
    if not max(joint.sigma) < UNSURE or not joint.held < _DRAWN:
        raise Refusal(
            f"the shift is too uncertain: sigma x {joint.sigma[1]:.2f}, y {joint.sigma[0]:.2f} px"
            + (f"; {joint.remark}" if joint.remark else "")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """What bands say of the lag, and what was fitted for it."""

    found: tuple[Found, ...]
    fits: Mapping[int, Fit]
    joint: Joint
    ties: TiePoints

    @property
    def spread(self) -> float:
        """Rms length by which parts of the scene are displaced about its mean, px; 0 where it may be noise."""
        square, error = self._apart
        return beyond_noise(square - float(self._even @ self._even), error)

    @property
    def torn(self) -> float:
        """The same about the lag; 0 where it may be change, but not where it may be noise."""
        square, error = self._apart
        return math.sqrt(square) if square > error else 0.0

    @property
    def _apart(self) -> tuple[float, float]:
        """Mean square of the displacement about the lag, px^2, and its standard error."""
        squares, errors = zip(*(one.shared for one in self.fits.values()), strict=True)
        return sum(squares) / len(squares), sum(errors) / len(errors)

    @property
    def _even(self) -> NDArray[np.float64]:
        """Where the mean over the scene lies from the lag (y, x), px, as blocks say."""
        even: NDArray[np.float64] = np.mean([one.even for one in self.fits.values()], axis=0)
        return even

    @property
    def _furthest(self) -> NDArray[np.float64]:
        """The same, or as half resolution says where that is more: blocks that lie further off tell nothing in full."""
        reached = np.mean([one.reached for one in self.fits.values()], axis=0)
        return np.maximum(np.abs(self._even), np.abs(reached))

    @property
    def left_out(self) -> float:
        """Variance of the mean of the windows that were fitted about that of all that match, in those of one."""
        return max(one.left_out / len(one.windows) for one in self.found if one.band in self.fits)

    @property
    def sampling(self) -> NDArray[np.float64]:
        """By how much the lag (y, x) may differ from the mean over the scene, where parts of it lie apart, px.

        Not all windows are fitted, and what looks most alike in both scenes counts most.
        """
        torn = self.torn
        if not torn:
            return np.zeros(2)
        sampling: NDArray[np.float64] = np.hypot(
            torn * np.sqrt(_CHOSEN * self.left_out / 2), _SHORT * self._furthest
        )
        return sampling


def _matched(searched: Search, bands: Sequence[int]) -> _Match:
    """Search some bands, fit those that are worth it, and check what they say."""
    found = searched.of(bands)
    fits: dict[int, Fit] = {}
    ties = []
    for one in found:
        fitted = searched.once(("fit", one.band, one.lag, one.windows), partial(_fit_band, searched, one))
        if fitted is not None:
            windows, fits[one.band] = fitted
            ties.append(tie_points(windows.centres, fits[one.band], one.band, searched.item.origin))
    if not fits:
        raise Refusal("too few windows: where the overviews match, the pixels are not usable in both")
    joint = join(fits, {one.band: one.kin for one in found})
    _check(searched, found, fits, joint)
    return _Match(found=tuple(found), fits=fits, joint=joint, ties=stacked(ties))


def _all_over(searched: Search, bands: Sequence[int], known: _Match) -> _Match:
    """A match by as many windows of each band as of one alone, where parts of the scene lie apart.

    The windows that are fitted are those that agree best with one lag, and where parts lie apart these are not a fair
    sample of the scene.
    """
    if not known.torn or len(known.found) == 1 or not known.left_out:
        return known
    try:
        return _matched(replace(searched, budget=len(known.found) * searched.budget), bands)
    except Refusal:
        return known


def _first_alone(searched: Search, bands: Sequence[int]) -> _Match | None:
    """What the first band says, if it is so sure that others could bring nothing and none of them contradicts."""
    if len(bands) == 1:
        return None
    try:
        match = _matched(searched, bands[:1])
    except Refusal:
        return None
    sure = max(match.joint.sigma) < _SETTLED and not match.joint.remark
    return match if sure and _agree(searched, match, bands[1:]) else None


def _agree(searched: Search, match: _Match, bands: Sequence[int]) -> bool:
    """Whether each of some bands says the same in a few windows, or nothing."""
    (first,) = match.found
    lag = Lag.of(*match.joint.lag)
    enough = -(-_ASKED // (first.windows[0].height * first.windows[0].width))
    few = first.windows[:: -(-len(first.windows) // enough)]
    anchor, item = searched.anchor, searched.item
    for band, plain in zip(bands, prepare_plain(anchor, item, bands, few, lag), strict=True):
        if plain is None or not _says_same(plain, match, lag):
            windows = prepare_full(anchor, item, band, few, lag, first.deaf)
            if windows is not None and not _says_same(windows, match, lag):
                return False
    return True


def _says_same(windows: Windows, match: _Match, lag: Lag) -> bool:
    """Whether windows read at a lag differ from a match by less than what matters, or by chance."""
    apart, covariance = away(windows, np.array([lag.rest_y, lag.rest_x]))
    length = math.hypot(*apart)
    if _ALIKE <= length < _SETTLED:
        return in_sigmas(apart, covariance + np.diag(np.square(match.joint.sigma))) < CHANCE
    return length < _ALIKE


def _fit_band(searched: Search, found: Found) -> tuple[Windows, Fit] | None:
    """Windows of a band and what they say; read on both sides of the lag where gaps hold the fit back."""
    near = Lag.of(*found.lag)
    first = _fit_at(searched.anchor, searched.item, found, near)
    if first is None:
        return None
    if not first[0].bridged:
        return first[0], widened(first[1], first[0])
    lag = first[1].lag
    read = np.array([near.whole_y, near.whole_x], np.float64)
    beyond = read + np.copysign(1.0, lag - read)
    far = Lag(
        whole_y=int(beyond[0]),
        whole_x=int(beyond[1]),
        rest_y=float(lag[0] - beyond[0]),
        rest_x=float(lag[1] - beyond[1]),
    )
    second = _fit_at(searched.anchor, searched.item, found, far)
    fitted = first[1] if second is None else between(first[1], second[1], read, beyond)
    if first[0].crossed:
        fitted = replace(fitted, covariance=fitted.covariance + _INTERLEAVED**2 * np.eye(2))
    return first[0], widened(fitted, first[0])


def widened(fitted: Fit, windows: Windows) -> Fit:
    """A fit less sure by what lines that repeat leave unknown."""
    unknown = np.square([_REPEATED[count] for count in windows.repeated])
    return replace(fitted, covariance=fitted.covariance + np.diag(unknown)) if unknown.any() else fitted


def _fit_at(anchor: PreparedAnchor, item: PixelSource, one: Found, lag: Lag) -> tuple[Windows, Fit] | None:
    """Windows of a band, read at a lag's whole pixels, and what they say."""
    windows = prepare(anchor, item, one.band, one.windows, lag, one.deaf)
    if windows is None:
        return None
    whole = np.array([lag.whole_y, lag.whole_x], np.float64)
    rest = fit(*windows, np.array([lag.rest_y, lag.rest_x]))
    found = rest.lag + whole
    parts = windows[0].apart()
    sample = parts.every(_SAMPLE)
    compressed = blocky(sample.anchor, sample.item)
    held, place = held_back(sample, whole, found, item.origin, compressed=compressed)
    drawn = np.maximum(held, leaning(rest, found, item.origin))
    patterned = rest.patterned or compressed or bool(drawn.any())
    fitted = replace(rest, lag=found, local=rest.local + whole, pull=drawn, patterned=patterned)
    if windows[0].bridged:
        return windows[0], among_gaps(fitted, item.origin, compressed=compressed)
    at = np.array(place, np.float64) if place is not None else None
    if at is None:
        at = hidden(parts, whole, fitted, item.origin, compressed=compressed)
    if at is None:
        return windows[0], fitted
    return windows[0], freed(anchor, item, one, replace(fitted, patterned=True), at)


def tie_points(centres: NDArray[np.float64], one: Fit, band: int, origin: Shift) -> TiePoints:
    """Windows of a band with these centres, shape (n, 2), and what each says by itself."""
    return TiePoints(
        y=centres[:, 0],
        x=centres[:, 1],
        shift_y=one.local[:, 0] - origin.y,
        shift_x=one.local[:, 1] - origin.x,
        weight=one.weight,
        inlier=one.weight > 0,
        band=np.full(len(centres), band, np.int64),
    )


def stacked(parts: Sequence[TiePoints]) -> TiePoints:
    """Windows of all bands."""
    if len(parts) == 1:
        return parts[0]
    names = TiePoints.__slots__
    return TiePoints(**{name: np.concatenate([getattr(p, name) for p in parts]) for name in names})


def _check(searched: Search, found: Sequence[Found], fits: Mapping[int, Fit], joint: Joint) -> None:
    """Refuse a shift that the evidence does not carry."""
    band, best = max(fits.items(), key=lambda one: one[1].blocks)
    agree = np.count_nonzero(best.weight)
    if best.blocks < _LEAST_BLOCKS or agree < 2:
        why = [
            why_gaps(source, band, name)
            for name, source in (("anchor", searched.anchor.source), ("item", searched.item))
        ]
        raise Refusal(
            f"too few windows: {agree} with {best.blocks} textured patches match, 2 and 10 are needed"
            + "".join(f"; {words}" for words in why if words)
        )
    if best.lead < _LEAD:
        raise Refusal(
            "no common texture: at full resolution the match is hardly better than a few pixels away"
        )
    if best.agreeing < _MAJORITY:
        raise Refusal(f"the windows disagree: only {best.agreeing:.0%} of their weight supports one shift")
    if best.minor**2 * best.opposed > _TORN:
        raise Refusal(
            "the windows disagree: areas that kept their contrast and areas that reversed it differ in shift by "
            f"{best.opposed:.1f} px, as in a texture that changed with light or season"
        )
    # the search may have been led to a pattern that the fit was freed from
    led = {f.band: fits[f.band].lag - fits[f.band].freed for f in found if f.band in fits}
    away = max(float(np.hypot(*(led[f.band] - f.lag))) for f in found if f.band in led)
    if not away < _ASTRAY:
        raise Refusal(f"the windows disagree: search and fit differ by {away:.1f} px")
    check_sigma(joint)
