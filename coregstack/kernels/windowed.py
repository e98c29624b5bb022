"""The shift by an estimator of one's own: windows are placed for it, and what it says of each is brought together.

It is asked first for the whole overlap, reduced, then for windows at full resolution that lie where that has put them.
Windows that disagree lose their weight, bands are joined as coregstack's own are, and what windows and bands do not
agree on is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels._blocks import BLOCK
from coregstack.kernels.agreement import Fit, between, join
from coregstack.kernels.blank import is_flat, why_blank
from coregstack.kernels.coarse import Refusal
from coregstack.kernels.lines import drop_dead_lines, level_lines
from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.pulled import held_back
from coregstack.kernels.refine import prepare_full
from coregstack.kernels.shift import (
    check_limit,
    check_sigma,
    common_area,
    shift_limit,
    stacked,
    tie_points,
    widened,
)
from coregstack.kernels.unheld import blocky
from coregstack.kernels.windows import Box, Lag, cells, centre, overlap, read_pair, spread
from coregstack.model import NO_TIES, PixelSource, Shift, ShiftEstimate, TiePoints, Window, WindowEstimator

_OVERVIEW = 512
"""Longest side of the reduced images that are asked for first, px."""
_SIDES = (256, 128, 64, 32)
"""Sides of windows, px: the largest of which several lie along the overlap's shorter side."""
_ALONG = 3
"""Windows along the overlap's shorter side, at least."""
_WINDOWS = 25
"""Windows of a band, at most."""
_BANDS = 3
"""Bands that are asked for at full resolution, at most."""
_USABLE = 0.2
"""Part of a window that has to be usable on both sides for the estimator to be asked."""
_LEAST = 3
"""Windows that have to agree, at least."""
_MAJORITY = 0.5
"""Part of the windows that have an answer that has to agree."""
_APART = 2.0
"""Windows further than this from the common shift do not agree, px."""
_OUTLYING = 4.0
"""Windows this many of their standard deviations away count nothing."""
_TURNS = 5
"""Times that weights and spread are found anew."""
_FINEST = 0.002
"""Least sigma that a single window is given, px: a claim of none would leave it to decide alone."""
_COMMON = 0.005
"""What an estimator gets wrong in all windows alike when all is well, px: measured of phase correlation."""
_NORMAL = 1.4826
"""Standard deviations of a normal distribution in a median absolute deviation."""
_AGAIN = 0.5
"""Windows that were read further than this from where they are found to match are read once more, px."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Asked:
    """An estimator and what it is called."""

    estimator: WindowEstimator
    name: str

    def __call__(self, anchor: Window, item: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]] | str:
        """Shift and sigma (NaN where not known) of a pair of windows, or why there is none.

        Raises
        ------
        Refusal
            If the estimator fails, or returns something else.
        """
        try:
            answer = self.estimator(anchor, item)
        except Exception as error:
            raise Refusal(f"the estimator {self.name} failed with {type(error).__name__}: {error}") from error
        wrong = f"the estimator {self.name} returned"
        if not isinstance(answer, tuple) or len(answer) != 3:
            raise Refusal(
                f"{wrong} {_told(answer)}, where a WindowShift of shift, sigma and reason was expected"
            )
        shift, sigma, reason = answer
        if shift is None:
            return str(reason) or "it gave no reason"
        step = _pair(shift)
        if step is None or not np.isfinite(step).all():
            raise Refusal(
                f"{wrong} the shift {_told(shift)}, where two finite numbers (y, x) or None were expected"
            )
        if (np.abs(step) >= anchor.values.shape).any():
            return "a shift beyond the window was found"
        if sigma is None:
            return step, np.full(2, np.nan)
        known = _pair(sigma)
        if known is None or not np.isfinite(known).all() or known.min() < 0:
            raise Refusal(
                f"{wrong} the sigma {_told(sigma)}, where two finite numbers (y, x), not negative, or "
                "None were expected"
            )
        return step, known


def _pair(value: object) -> NDArray[np.float64] | None:
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.shape == (2,) else None


def _told(value: object) -> str:
    """A value in a few words."""
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"a {type(value).__name__}"


def estimate_by_windows(
    anchor: PreparedAnchor,
    item: PixelSource,
    estimator: WindowEstimator,
    *,
    name: str,
    max_shift: float | None = None,
) -> ShiftEstimate:
    """Estimate by how much an item must be shifted to match the anchor, by an estimator of windows.

    Parameters
    ----------
    anchor
        What `prepare_anchor` returned.
    item
        Match bands of the item, in the anchor's order.
    estimator
        Says of two windows by how much they are shifted.
    name
        What it is called in what is told.
    max_shift
        As of `estimate_shift`.

    Returns
    -------
    ShiftEstimate
        As of `estimate_shift`; where the estimator fails, `reason` says so.

    Examples
    --------
    >>> from coregstack.kernels.phase import phase
    >>> from coregstack.kernels.shift import prepare_anchor
    >>> from coregstack.kernels.sources import ArraySource
    >>> scene = np.random.default_rng(1).normal(size=(120, 120)).cumsum(0).cumsum(1)
    >>> clear = np.ones((100, 100), bool)
    >>> anchor = prepare_anchor(ArraySource(values=scene[None, 10:110, 10:110], usable=clear))
    >>> item = ArraySource(values=scene[None, 13:113, 8:108], usable=clear)
    >>> shift = estimate_by_windows(anchor, item, phase, name="phase").shift
    >>> round(float(shift.y), 1), round(float(shift.x), 1)
    (3.0, -2.0)
    """
    ties = NO_TIES
    asked = _Asked(estimator=estimator, name=name)
    try:
        area = common_area(anchor.source, item)
        fits, ties = _fit_bands(anchor, item, asked, area)
        joint = join(fits, {band: band for band in fits})
        joint = replace(joint, sigma=np.hypot(joint.sigma, _COMMON))
        shift = Shift(joint.lag[0] - item.origin.y, joint.lag[1] - item.origin.x)
        check_sigma(joint)
        check_limit(shift, shift_limit(area, max_shift))
        square = float(np.mean([2 * one.spread for one in fits.values()]))
        return ShiftEstimate(
            shift=shift,
            sigma=Shift(*joint.sigma),
            reason=joint.remark,
            ties=ties,
            spread=float(np.sqrt(square)),
            patterned=joint.patterned,
        )
    except Refusal as refusal:
        return ShiftEstimate(shift=None, sigma=None, reason=str(refusal), ties=ties)


def _fit_bands(
    anchor: PreparedAnchor, item: PixelSource, asked: _Asked, area: Box
) -> tuple[dict[int, Fit], TiePoints]:
    """What the windows of each band agree on, of those in which they do."""
    bands = range(min(anchor.source.bands, item.bands))
    alive = [band for band in bands if not is_flat(anchor.source, band) and not is_flat(item, band)]
    if not alive:
        blank, side = (anchor.source, "anchor") if is_flat(anchor.source, 0) else (item, "item")
        raise Refusal(why_blank(blank, side))
    fits: dict[int, Fit] = {}
    ties = []
    reasons = []
    for band in alive:
        if len(fits) == _BANDS:
            break
        try:
            centres, fits[band] = _fit_band(anchor, item, band, asked, area)
        except _Disagreement as refusal:
            reasons.append(str(refusal))
            continue
        ties.append(tie_points(centres, fits[band], band, item.origin))
    if not fits:
        raise Refusal(reasons[0])
    return fits, stacked(ties)


class _Disagreement(Refusal):
    """The windows of a band do not tell a shift; another band may."""


def _fit_band(
    anchor: PreparedAnchor, item: PixelSource, band: int, asked: _Asked, area: Box
) -> tuple[NDArray[np.float64], Fit]:
    """Centres of a band's windows, and what these agree on, where the reduced images put them or none has moved."""
    nominal = np.array(item.origin, np.float64)
    start = _coarse(anchor.source, item, band, asked, area)
    starts = [nominal] if start is None else [start]
    if start is not None and np.abs(start - nominal).max() > _APART:
        starts.append(nominal)
    refusals = []
    for lag in starts:
        try:
            return _fit_from(anchor, item, band, asked, lag)
        except _Disagreement as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _coarse(
    anchor: PixelSource, item: PixelSource, band: int, asked: _Asked, area: Box
) -> NDArray[np.float64] | None:
    """Lag (y, x) that the estimator finds between reduced images of the whole overlap; None where it finds none."""
    factor = max(1, -(-max(area.height, area.width) // _OVERVIEW))
    views = [_reduced(source, band, factor) for source in (anchor, item)]
    whole = Lag.of(item.origin.y / factor, item.origin.x / factor)
    box = overlap(views[0].values.shape, views[1].values.shape, (whole.whole_y, whole.whole_x))
    rows, cols = slice(box.top, box.bottom), slice(box.left, box.right)
    there = (
        slice(box.top - whole.whole_y, box.bottom - whole.whole_y),
        slice(box.left - whole.whole_x, box.right - whole.whole_x),
    )
    if not (views[0].usable[rows, cols].any() and views[1].usable[there].any()):
        return None
    found = asked(_part(views[0], (rows, cols)), _part(views[1], there))
    if isinstance(found, str):
        return None
    lag: NDArray[np.float64] = factor * (found[0] + (whole.whole_y, whole.whole_x))
    return lag


def _reduced(source: PixelSource, band: int, factor: int) -> Window:
    if factor == 1:
        return Window(*source.read(band, slice(0, source.shape[0]), slice(0, source.shape[1])))
    values, share = source.overview(band, factor)
    return Window(values, share >= 0.5)


def _part(window: Window, where: tuple[slice, slice]) -> Window:
    return Window(np.ascontiguousarray(window.values[where]), np.ascontiguousarray(window.usable[where]))


def _fit_from(
    anchor: PreparedAnchor, item: PixelSource, band: int, asked: _Asked, lag: NDArray[np.float64]
) -> tuple[NDArray[np.float64], Fit]:
    """What windows agree on that are read at whole pixels on both sides of where they match.

    Windows end where they are read, and what ends there pulls most estimators towards no shift.
    """
    near = np.rint(lag)
    lined = _is_lined(anchor, item, band, near)
    centres, first = _fit_at(anchor, item, band, asked, near, lined=lined)
    if np.abs(first.lag - near).max() > _AGAIN:
        near = np.rint(first.lag)
        centres, first = _fit_at(anchor, item, band, asked, near, lined=lined)
    far = near + np.where(first.lag < near, -1.0, 1.0)
    _, second = _fit_at(anchor, item, band, asked, far, lined=lined)
    return centres, between(first, second, near, far)


def _is_lined(anchor: PreparedAnchor, item: PixelSource, band: int, read: NDArray[np.float64]) -> bool:
    """Whether images are striped, or hold lines that are dead, as a few windows that are read at a lag tell."""
    lag = Lag.of(*read)
    boxes = cells(overlap(anchor.source.shape, item.shape, (lag.whole_y, lag.whole_x)), _SIDES[-2])
    some = prepare_full(anchor, item, band, boxes[:: -(-len(boxes) // _WINDOWS) or 1], lag)
    return some is not None and some.lined


def _fit_at(
    anchor: PreparedAnchor,
    item: PixelSource,
    band: int,
    asked: _Asked,
    read: NDArray[np.float64],
    *,
    lined: bool,
) -> tuple[NDArray[np.float64], Fit]:
    """Centres of windows that are read at a lag, and what they agree on."""
    boxes, steps, sigmas = _ask(anchor.source, item, band, asked, read, lined=lined)
    found = _agreed(steps, sigmas, len(boxes))
    at = read + found.lag
    held, patterned = np.zeros(2), False
    some = prepare_full(anchor, item, band, boxes[::2], Lag.of(*read))
    if some is not None:
        compressed = blocky(some.anchor, some.item)
        held, _ = held_back(some, read, at, item.origin, compressed=compressed)
        patterned = compressed or lined or bool(held.any())
        found = widened(found, some)
    centres = np.array([centre(box) for box in boxes], np.float64)
    return centres, replace(found, lag=at, local=found.local + read, pull=held, patterned=patterned)


def _ask(
    anchor: PixelSource,
    item: PixelSource,
    band: int,
    asked: _Asked,
    read: NDArray[np.float64],
    *,
    lined: bool,
) -> tuple[list[Box], NDArray[np.float64], NDArray[np.float64]]:
    """Windows read at a lag that the estimator has an answer to, its steps and their sigmas, shape (n, 2)."""
    lag = Lag.of(*read)
    area = overlap(anchor.shape, item.shape, (lag.whole_y, lag.whole_x))
    shortest = min(area.height, area.width)
    side = next((size for size in _SIDES if shortest >= _ALONG * size), _SIDES[-1])
    boxes, answers, reasons = [], [], Counter[str]()
    for box, *pair in _windows(anchor, item, band, cells(area, side), lag):
        first, second = (_levelled(window) if lined else window for window in pair)
        found = asked(first, second)
        if isinstance(found, str):
            reasons[found] += 1
            continue
        boxes.append(box)
        answers.append(found)
    if len(boxes) < _LEAST:
        count = len(boxes) + sum(reasons.values())
        often = f"; mostly: {reasons.most_common(1)[0][0]}" if reasons else ""
        raise _Disagreement(
            f"too few windows: the estimator {asked.name} has a shift for {len(boxes)} of {count}, "
            f"{_LEAST} are needed{often}"
        )
    steps, sigmas = (np.stack(part) for part in zip(*answers, strict=True))
    return boxes, steps, sigmas


def _levelled(window: Window) -> Window:
    """A window without what its rows and its columns have in common, and without lines that are dead."""
    usable = window.usable[None].copy()
    drop_dead_lines(window.values[None], usable)
    seen = usable.any()
    level = window.values[usable[0]].mean() if seen else np.float32(0)
    values = np.where(usable, window.values - level, np.float32(0))
    level_lines(values, usable, True, True)
    return Window(values[0], usable[0])


def _windows(
    anchor: PixelSource, item: PixelSource, band: int, boxes: Sequence[Box], lag: Lag
) -> Iterator[tuple[Box, Window, Window]]:
    """Pairs of windows that are usable enough, spread over the overlap."""
    merit = np.zeros(len(boxes))
    for k, box in enumerate(boxes):
        _, usable, _, also = read_pair(anchor, item, band, box, lag)
        share = min(usable.mean(), also.mean())
        merit[k] = share if share >= _USABLE else 0.0
    for box in spread(list(boxes), merit, _WINDOWS):
        first, usable, second, also = read_pair(anchor, item, band, box, lag)
        yield box, Window(first, usable), Window(second, also)


def _agreed(steps: NDArray[np.float64], sigmas: NDArray[np.float64], asked: int) -> Fit:
    """What windows agree on, as a fit about the whole pixels that they were read at.

    A random-effects model: each window errs by its own sigma and by a spread that all have. Where sigmas are not
    known, the spread is all there is.
    """
    own = np.square(np.maximum(np.nan_to_num(sigmas, nan=0.0), _FINEST))
    lag = np.median(steps, axis=0)
    trust, spread2 = np.ones(len(steps)), np.zeros(2)
    for _ in range(_TURNS):
        away = steps - lag
        excess = np.square(_NORMAL * np.median(np.abs(away), axis=0)) - np.median(own, axis=0)
        spread2 = np.maximum(excess, 0.0)
        variance = own + spread2
        distance = (np.square(away) / variance).sum(axis=1) / (2 * _OUTLYING**2)
        trust = np.square(1 - np.minimum(distance, 1))
        weight = trust[:, None] / variance
        lag = (weight * steps).sum(axis=0) / weight.sum(axis=0)
    near = (trust > 0) & (np.hypot(*(steps - lag).T) < _APART)
    agreeing = float(near.mean())
    if near.sum() < _LEAST or agreeing < _MAJORITY:
        raise _Disagreement(
            f"the windows disagree: only {near.sum()} of {len(steps)} support one shift within {_APART:g} px"
        )
    misfit = (weight * np.square(steps - lag)).sum(axis=0) / max(float(trust.sum()) - 1, 1.0)
    known = np.isfinite(sigmas).all()
    return Fit(
        lag=lag,
        covariance=np.diag(np.maximum(misfit, 1.0) / weight.sum(axis=0)),
        apart=np.zeros(2),
        chance=0.0,
        spread=float(spread2.mean()) if known else float(spread2.mean()) / BLOCK,
        pull=np.zeros(2),
        freed=np.zeros(2),
        opposed=0.0,
        minor=0.0,
        local=steps,
        weight=trust,
        blocks=asked,
        agreeing=agreeing,
        lead=np.inf,
        shared=(0.0, 0.0),
        even=np.zeros(2),
        reached=np.zeros(2),
    )
