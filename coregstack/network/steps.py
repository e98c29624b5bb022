"""All items together: which pairs to match, where the network of pairs puts each item, and its decision.

Every item is matched with the anchor and with a few partners. The shift of each item follows from all pairs
together, adjusted by least squares (`coregstack.network`). An item that shares too little with the
anchor is reached through others, and then scored against the aligned item before it on that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coregstack.kernels.descriptor import similarity
from coregstack.kernels.displacement import Spline, mean_and_rms, rescaled, sigma_on
from coregstack.kernels.field import as_one_shift, estimate_displacement
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.selection import AFFINE, FIELD, SHIFT
from coregstack.kernels.shift import prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, remarks, scored_band, shift_between, value_range
from coregstack.matching.decision import decide
from coregstack.matching.options import MatchOptions
from coregstack.matching.preview import picture_alone, picture_item
from coregstack.matching.told import told_estimate, told_evidence, told_length, told_remark
from coregstack.model import (
    NO_SHIFT,
    NO_TIES,
    Displacement,
    DisplacementEstimate,
    ItemQuality,
    Shift,
    ShiftEstimate,
    TiePoints,
)
from coregstack.network.adjust import UNKNOWN_SIGMA, NetworkSolution, adjust
from coregstack.network.fields import adjust_fields, between, pair_field
from coregstack.network.pairs import choose_pairs
from coregstack.network.sketch import Sketch

if TYPE_CHECKING:
    from coregstack.pixels.scene import MatchPixels

NEIGHBOURS = 4
"""Partners beside the anchor that an item is matched with on average."""
ALIKE = 0.5
"""Likeness of item and anchor below which a score would measure the change of the ground, not the shift."""
UNSURE = 0.5
"""Largest sigma, px, with which a shift counts as known."""
_UNKNOWN = Shift(UNKNOWN_SIGMA, UNKNOWN_SIGMA)
_LEAST_APART = 0.1
"""Part of its spread by which the mean of a field may differ between pairs that share all ground."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairMatch:
    """The match of two items."""

    first: int
    """Position of the item that was taken as the anchor."""
    second: int
    """Position of the item that was matched with it."""
    shift: Shift | None
    """Shift of `second` onto `first`; None where they could not be matched."""
    sigma: Shift | None
    reason: str
    spread: float | None = None
    """Rms length of the displacement about its mean, px."""
    model: str = SHIFT
    """How `second` is displaced against `first`."""
    displacement: Displacement | None = field(default=None, compare=False, repr=False)
    """The displacement of an affine map or a field, in the frame that counts from the first pixel of `first`."""
    corner: Shift = NO_SHIFT
    """Where that pixel lies in the frame of the anchor."""
    shared: float = 1.0
    """Part of what is usable in either that is so in both."""
    ties: TiePoints = field(default=NO_TIES, compare=False, repr=False)
    """The windows that were matched, in the frame that counts from the first pixel of `first`."""
    settled: bool = False
    """Whether it was known before, from an adjustment of more pairs: it replaces any other pair of the two
    items."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """Which pairs are matched, and by whose task."""

    pairs: tuple[tuple[int, int], ...]
    """Pairs (i, j), those with the anchor included."""
    direct: frozenset[int]
    """Items that are matched with the anchor."""
    duties: tuple[tuple[int, ...], ...]
    """For each item, the partners that its task matches with it; the anchor is none of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the network puts one item."""

    shift: Shift | None
    sigma: Shift | None
    reason: str
    partner: int | None
    """Position of the item that it is scored against, None for the anchor."""
    partner_shift: Shift
    """The partner's own shift, 0 for the anchor."""
    redundancy: float | None
    closure: float | None
    against: str | None = None
    """Id of the partner, None for the anchor."""
    spread: float | None = None
    """Rms length of the displacement of item and partner about its mean, px; None where they were not matched."""
    ties: TiePoints = field(default=NO_TIES, compare=False, repr=False)
    """Windows that item and partner were matched in, as `PairMatch` holds them."""
    model: str = SHIFT
    """How the item is displaced."""
    displacement: Displacement | None = field(default=None, compare=False, repr=False)
    """The displacement of an affine map or a field, in the frame of the anchor."""
    against_partner: Displacement | None = field(default=None, compare=False, repr=False)
    """The same against what it is scored against, the partner being moved by its shift; in the frame of the anchor."""
    turned: bool = False
    """Whether the item was the one that was taken as the anchor of that pair."""
    alone: bool = False
    """Whether it was never matched with the item, or the anchor, that it is scored against."""


NOWHERE = Place(
    shift=None,
    sigma=None,
    reason="",
    partner=None,
    partner_shift=NO_SHIFT,
    redundancy=None,
    closure=None,
)
"""An item whose shift is not known."""


def plan_by_looks(
    sketches: Sequence[Sketch | None], times: ArrayLike, boxes: ArrayLike | None, anchor: int
) -> Plan:
    """Choose pairs by date, season and content; items without a sketch take no part."""
    known = [k for k, one in enumerate(sketches) if one is not None or k == anchor]
    some = [one for k in known if (one := sketches[k]) is not None]
    if len(some) < len(known):
        return _plan(len(sketches), [], anchor)
    chosen = choose_pairs(
        np.asarray(times, "datetime64[s]")[known],
        anchor=known.index(anchor),
        features=np.stack([one.descriptor.texture for one in some]),
        clear=[one.clear for one in some],
        boxes=None if boxes is None else np.asarray(boxes)[known],
        neighbours=NEIGHBOURS,
    )
    return _plan(len(sketches), [(known[i], known[j]) for i, j in chosen], anchor)


def plan_by_time(times: ArrayLike, anchor: int) -> Plan:
    """Choose pairs by date and season only, before any pixel is read."""
    stamps = np.asarray(times, "datetime64[s]")
    return _plan(len(stamps), choose_pairs(stamps, anchor=anchor, neighbours=NEIGHBOURS), anchor)


def _plan(count: int, pairs: Sequence[tuple[int, int]], anchor: int) -> Plan:
    """Share the pairs out, so that every task has about as many partners to read."""
    duties: list[list[int]] = [[] for _ in range(count)]
    direct = frozenset(i + j - anchor for i, j in pairs if anchor in (i, j))
    for i, j in pairs:
        if anchor not in (i, j):
            owner, other = (i, j) if len(duties[i]) <= len(duties[j]) else (j, i)
            duties[owner].append(other)
    return Plan(pairs=tuple(pairs), direct=direct, duties=tuple(tuple(own) for own in duties))


def match_with_anchor(
    reference: Reference, item: MatchPixels, positions: tuple[int, int], options: MatchOptions
) -> PairMatch:
    """Match an item with the anchor; `positions` are those of anchor and item."""
    source = _seen_from(reference.source, item.source)
    estimate = shift_between(reference.prepared, source, options.estimator, options.max_shift)
    found = estimate_displacement(
        reference.prepared, source, estimate, model=options.model, stable=reference.stable
    )
    return _matched(estimate, found, positions, reference.source, source)


def match_with_partners(
    item: MatchPixels,
    own: int,
    partners: Iterable[tuple[int, MatchPixels | str]],
    options: MatchOptions,
    stable: NDArray[np.bool_] | None = None,
) -> list[PairMatch]:
    """Match an item with others, itself being the anchor.

    A text in place of pixels says why there are none. `stable` is that of the anchor of all, in its frame.
    """
    # Both may be off by the largest shift, in opposite directions.
    limit = None if options.max_shift is None else 2 * options.max_shift
    found = []
    prepared = None
    ground = None if stable is None else _ground(stable, item.source)
    for other, pixels in partners:
        if isinstance(pixels, str):
            found.append(PairMatch(first=own, second=other, shift=None, sigma=None, reason=pixels))
            continue
        prepared = prepared or prepare_anchor(replace(item.source, origin=NO_SHIFT))
        source = _seen_from(item.source, pixels.source)
        estimate = shift_between(prepared, source, options.estimator, limit)
        varying = estimate_displacement(prepared, source, estimate, model=options.model, stable=ground)
        found.append(_matched(estimate, varying, (own, other), item.source, source))
    return found


def _matched(
    estimate: ShiftEstimate,
    found: DisplacementEstimate,
    positions: tuple[int, int],
    anchor: ArraySource,
    item: ArraySource,
) -> PairMatch:
    """What is told of a pair; `item` lies in the frame of `anchor`."""
    first, second = positions
    return PairMatch(
        first=first,
        second=second,
        shift=found.shift,
        sigma=found.sigma,
        reason=estimate.reason,
        spread=found.spread,
        model=found.model,
        displacement=found.displacement,
        corner=anchor.origin,
        shared=1.0 if found.displacement is None else _shared(anchor, item),
        ties=found.ties,
    )


def _shared(anchor: ArraySource, item: ArraySource) -> float:
    """Part of the pixels usable in either of two items that is so in both."""
    one, other = _usable(anchor), _usable(item)
    row, col = (round(start) for start in item.origin)
    top, left = max(0, row), max(0, col)
    here = one[top : max(0, row + other.shape[0]), left : max(0, col + other.shape[1])]
    there = other[top - row :, left - col :][: here.shape[0], : here.shape[1]]
    both = int(np.count_nonzero(here & there))
    either = int(np.count_nonzero(one)) + int(np.count_nonzero(other)) - both
    return both / max(1, either)


def _usable(source: ArraySource) -> NDArray[np.bool_]:
    """Pixels that are usable in any band."""
    return np.asarray(source.usable.reshape(-1, *source.shape).any(axis=0), np.bool_)


def _ground(stable: NDArray[np.bool_], item: ArraySource) -> NDArray[np.bool_]:
    """Where stable ground lies in an item that is not moved yet; beyond the anchor none is known."""
    ground = np.zeros(item.shape, bool)
    row, col = (round(start) for start in item.origin)
    top, left = max(0, row), max(0, col)
    seen = stable[top : max(top, row + item.shape[0]), left : max(left, col + item.shape[1])]
    ground[top - row : top - row + seen.shape[0], left - col : left - col + seen.shape[1]] = seen
    return ground


def _seen_from(anchor: ArraySource, item: ArraySource) -> ArraySource:
    """The item in the frame that counts from the anchor's first pixel."""
    y, x = (i - a for i, a in zip(item.origin, anchor.origin, strict=True))
    return replace(item, origin=Shift(y, x))


def solve(
    matches: Sequence[PairMatch],
    sketches: Sequence[Sketch | None],
    names: Sequence[str],
    anchor: int,
    options: MatchOptions,
    lattice: Lattice | None = None,
) -> list[Place]:
    """Find the place of every item from all pairs together.

    Parameters
    ----------
    matches : sequence of PairMatch
        All pairs, matched or not.
    sketches : sequence of Sketch or None
        One for each item, the anchor included.
    names : sequence of str
        Ids of the items.
    anchor : int
        Position of the anchor among them.
    options : MatchOptions
    lattice : Lattice, optional
        Where displacements are wanted; they are left out without one.

    Returns
    -------
    list of Place
        One for each item.
    """
    unknown = Shift(np.nan, np.nan)
    settled = {frozenset((match.first, match.second)) for match in matches if match.settled}
    matches = [m for m in matches if m.settled or frozenset((m.first, m.second)) not in settled]
    likeness = _likeness(matches, sketches)
    solution = adjust(
        [(m.first, m.second) for m in matches],
        [m.shift or unknown for m in matches],
        [_of_mean(m) or unknown for m in matches],
        count=len(names),
        anchor=anchor,
        likeness=likeness,
        names=names,
    )
    used = {
        frozenset((match.first, match.second)): match
        for match, accepted in zip(matches, solution.accepted, strict=True)
        if accepted
    }
    ways = [_way(item, anchor, used, path) for item, path in enumerate(solution.path)]
    solution = _surer(solution, ways)
    direct = [-1] * len(names)
    for k, match in enumerate(matches):
        if anchor in (match.first, match.second):
            direct[match.first + match.second - anchor] = k
    places = [
        NOWHERE
        if item == anchor
        else _place(
            solution,
            item,
            names,
            None if direct[item] < 0 else matches[direct[item]],
            direct[item] >= 0 and bool(solution.accepted[direct[item]]),
            float("nan") if direct[item] < 0 else float(likeness[direct[item]]),
            options,
        )
        for item in range(len(names))
    ]
    if lattice is not None:
        fields = [
            pair_field(m.first, m.second, m.corner, m.displacement, m.shift, m.sigma or _UNKNOWN, m.spread)
            for m in used.values()
            if m.shift is not None
        ]
        places = _with_fields(places, adjust_fields(fields, solution.shift, anchor, lattice), ways)
    pairs = {frozenset((match.first, match.second)): match for match in matches}
    return [
        _with_windows(
            place,
            pairs.get(frozenset((item, anchor if place.partner is None else place.partner))),
            item,
            names,
        )
        for item, place in enumerate(places)
    ]


def _of_mean(match: PairMatch) -> Shift | None:
    """Sigma of the shift of a pair, in a loop with others.

    Each pair has its own overlap, and the mean of what varies over a part of the ground differs from that over all.
    """
    if match.sigma is None or match.model == SHIFT or match.spread is None:
        return match.sigma
    differs = match.spread * max(_LEAST_APART, 1 - match.shared)
    return Shift(*np.hypot(match.sigma, differs).tolist())


def _surer(solution: NetworkSolution, ways: Sequence[Sequence[PairMatch]]) -> NetworkSolution:
    """A solution whose sigmas of items that do not move as one are those along their ways to the anchor.

    Those of the adjustment hold for means over differing overlaps.
    """
    sigma = solution.sigma.copy()
    for item, way in enumerate(ways):
        if _model(way) != SHIFT:
            sigma[item] = np.sqrt(np.square([match.sigma or _UNKNOWN for match in way]).sum(axis=0))
    return replace(solution, sigma=sigma)


def _with_fields(
    places: Sequence[Place], found: Mapping[int, Displacement], ways: Sequence[Sequence[PairMatch]]
) -> list[Place]:
    """Places with the displacement that follows from the fields of all pairs that agree."""
    placed = []
    for item, place in enumerate(places):
        own, model = found.get(item), _model(ways[item])
        if place.shift is not None and own is not None and model != SHIFT:
            other = found.get(-1 if place.partner is None else place.partner)
            against = own if other is None else between(own, other, place.partner_shift)
            place = replace(place, model=model, displacement=own, against_partner=against)
        placed.append(place)
    return placed


def _model(way: Sequence[PairMatch]) -> str:
    """How an item is displaced: as richly as any of the matches on its way to the anchor says."""
    models = {match.model for match in way}
    return next((model for model in (FIELD, AFFINE) if model in models), SHIFT)


def _way(
    item: int, anchor: int, used: Mapping[frozenset[int], PairMatch], path: Sequence[int]
) -> list[PairMatch]:
    """The match of an item with the anchor, else the matches on its way to it."""
    direct = used.get(frozenset((item, anchor)))
    steps = [direct] if direct is not None else [used.get(frozenset(step)) for step in pairwise(path)]
    return [match for match in steps if match is not None]


def placed_by(match: PairMatch, place: Place) -> Place:
    """A place whose item is displaced as its match with what it is scored against says."""
    place = replace(place, ties=match.ties, spread=match.spread)
    if match.displacement is None:
        return place
    y, x = place.partner_shift
    ahead = Shift(-match.corner.y - y, -match.corner.x - x)
    moved = rescaled(match.displacement, Shift(1.0, 1.0), ahead)
    whole = replace(moved, y=moved.y + np.float32(y), x=moved.x + np.float32(x))
    return replace(place, model=match.model, displacement=whole, against_partner=whole)


def _with_windows(place: Place, match: PairMatch | None, item: int, names: Sequence[str]) -> Place:
    """A place with the match of its item and the item that it is scored against."""
    if match is None:
        return replace(place, alone=True)
    return replace(
        place,
        against=None if place.partner is None else names[place.partner],
        spread=match.spread,
        ties=match.ties,
        turned=match.first == item,
    )


def _likeness(matches: Sequence[PairMatch], sketches: Sequence[Sketch | None]) -> NDArray[np.float64]:
    """How alike the two items of each pair look; NaN where it is not known, or does not count any more."""
    likeness = np.full(len(matches), np.nan)
    for k, match in enumerate(matches):
        first, second = sketches[match.first], sketches[match.second]
        if first is not None and second is not None and not match.settled:
            textures = first.descriptor.texture[None], second.descriptor.texture[None]
            likeness[k] = similarity(*textures)[0, 0]
    return likeness


def _place(
    solution: NetworkSolution,
    item: int,
    names: Sequence[str],
    direct: PairMatch | None,
    accepted: bool,
    likeness: float,
    options: MatchOptions,
) -> Place:
    """Place of one item, of its match with the anchor and how alike the two are."""
    alone = (
        ""
        if direct is None or direct.shift is not None
        else f"Direct match with the anchor: {direct.reason}."
    )
    path = solution.path[item]
    refusal = _refusal(solution, item, accepted, options)
    if refusal:
        return replace(NOWHERE, reason=f"{solution.reason[item]} {refusal} {alone}")
    partner, words = None, [solution.reason[item], alone]
    if direct is None:
        words.append("It does not overlap the anchor.")
    if len(path) > 2 and not (accepted and not likeness < ALIKE):
        partner = path[1]
        words.append(f"Scores are against {names[partner]}, aligned.")
    shift, sigma = Shift(*solution.shift[item].tolist()), Shift(*solution.sigma[item].tolist())
    if max(sigma) > UNSURE and direct is not None and direct.shift and direct.sigma:
        shift, sigma, partner = direct.shift, direct.sigma, None
        words = ["Its shift rests on its match with the anchor alone, and the two look unlike: unchecked."]
    closure = float(solution.closure[item])
    return Place(
        shift=shift,
        sigma=sigma,
        reason=" ".join(filter(None, words)),
        partner=partner,
        partner_shift=NO_SHIFT if partner is None else Shift(*solution.shift[partner].tolist()),
        redundancy=float(solution.redundancy[item]),
        closure=None if np.isnan(closure) else closure,
    )


def _refusal(solution: NetworkSolution, item: int, accepted: bool, options: MatchOptions) -> str:
    """Why an item gets no shift though the network may have one, empty where it gets it."""
    if not solution.reached[item]:
        return "It is left as it is."
    (y, x), sigma = solution.shift[item], solution.sigma[item]
    # A match with the anchor that no loop contradicts is as good here as in direct matching.
    if not accepted and not sigma.max() <= UNSURE:
        return f"The shift is too uncertain: sigma ({sigma[0]:.2f}, {sigma[1]:.2f}) px."
    if options.max_shift is not None and max(abs(y), abs(x)) > options.max_shift + 0.5:
        return (
            f"The shift found, ({y:.1f}, {x:.1f}) px, is larger than allowed, "
            f"{options.max_shift:g} px: raise max_shift if it is right."
        )
    return ""


def conclude(
    reference: Reference, partner: MatchPixels | None, item: MatchPixels, place: Place, options: MatchOptions
) -> ItemQuality:
    """Score an item where the network puts it, and decide.

    Parameters
    ----------
    reference : Reference
        The anchor, in the frame that counts from its first pixel.
    partner : MatchPixels or None
        The item, other than the anchor, that it is scored against; in the anchor's frame, not moved.
    item : MatchPixels
        In the anchor's frame.
    place : Place
        Where the network puts the item, and the partner.
    options : MatchOptions
    """
    against = reference.source if partner is None else partner.source
    # The partner is aligned by moving all else back: so both scores are those of the aligned partner.
    ahead = Shift(against.origin.y + place.partner_shift.y, against.origin.x + place.partner_shift.x)
    back = Shift(item.source.origin.y - ahead.y, item.source.origin.x - ahead.x)
    still, seen = replace(against, origin=NO_SHIFT), replace(item.source, origin=back)
    scale = reference.value_range if partner is None else value_range(partner)
    ties = _windows(place, back)
    found = _displaced(place, item, ties, ahead)
    band, dead = scored_band(still, seen, options.names, ties)
    scale = anchor_range(still, band) if band else scale
    scores = matching_scores(still, seen, found.displacement or place.shift, band=band, value_range=scale)
    shown = picture_alone(seen, item.valid) if place.alone else picture_item(still, seen, item.valid, found)
    corner, origin, windows = shown.chips, shown.origin, shown.ties
    evidence = replace(
        shown,
        ties=replace(windows, y=windows.y + ahead.y, x=windows.x + ahead.x),
        against=place.against,
        chips=None if corner is None else Shift(corner.y + ahead.y, corner.x + ahead.x),
        origin=Shift(origin.y + ahead.y, origin.x + ahead.x),
        area=item.area,
    )
    found = replace(found, displacement=place.displacement)
    told = options.told
    remark = dead if place.shift is None else remarks(dead, told_remark(place.reason, told))
    return replace(
        decide(told_estimate(found, told), scores, options, remark),
        redundancy=place.redundancy,
        closure=told_length(place.closure, told),
        against=place.against,
        evidence=told_evidence(evidence, told),
    )


def _displaced(place: Place, item: MatchPixels, ties: TiePoints, ahead: Shift) -> DisplacementEstimate:
    """What the network says of an item, in the frame of the aligned item that it is scored against.

    `ahead` is the position of that item's first pixel in the frame of the anchor.
    """
    known = as_one_shift(
        ShiftEstimate(
            shift=place.shift, sigma=place.sigma, reason=place.reason, ties=ties, spread=place.spread
        )
    )
    whole, against = place.displacement, place.against_partner
    if whole is None or against is None or place.sigma is None:
        return known
    source = item.source
    # a displacement moves whole scenes by a few pixels: where its item lies is where it is looked at
    area = (round(source.origin.y), round(source.origin.x), *source.shape)
    usable = _usable(source)
    mean, spread = mean_and_rms(whole, area, usable)
    if not spread >= 0:
        return known
    sigma = sigma_on(whole, area)[usable]
    against = rescaled(against, Shift(1.0, 1.0), ahead)
    dy, dx = Spline.of(against).at_points(ties.y, ties.x)
    return replace(
        known,
        model=place.model,
        shift=mean,
        displacement=against,
        spread=spread,
        residual=float(np.sqrt(2 * np.square(sigma).mean())),
        details="",
        residual_y=ties.shift_y - dy,
        residual_x=ties.shift_x - dx,
    )


def _windows(place: Place, back: Shift) -> TiePoints:
    """An item's windows in the frame of the aligned item that it is scored against.

    Each window's shift is the whole shift of the item to the anchor: the partner's own shift is added.

    Parameters
    ----------
    place : Place
        Of the item.
    back : Shift
        Position of the item's first pixel in that frame.
    """
    ties, more = place.ties, place.partner_shift
    if not place.turned:
        return replace(ties, shift_y=ties.shift_y + more.y, shift_x=ties.shift_x + more.x)
    # the pair was matched in the other direction
    own = place.shift or NO_SHIFT
    return replace(
        ties,
        y=ties.y + back.y + own.y,
        x=ties.x + back.x + own.x,
        shift_y=more.y - ties.shift_y,
        shift_x=more.x - ties.shift_x,
    )
