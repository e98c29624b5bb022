"""All items together: which pairs to match, where the network of pairs puts each item, and its decision.

Every item is matched with the anchor and with a few partners. The shift of each item follows from all pairs
together, adjusted by least squares (`coregstack.network`). An item that shares too little with the
anchor is reached through others, and then scored against the aligned item before it on that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coregstack.kernels.descriptor import similarity
from coregstack.kernels.field import as_one_shift, estimate_displacement
from coregstack.kernels.score import anchor_range, matching_scores
from coregstack.kernels.shift import prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, remarks, scored_band, shift_between, value_range
from coregstack.matching.decision import decide
from coregstack.matching.options import MatchOptions
from coregstack.matching.preview import picture_alone, picture_item
from coregstack.model import (
    NO_SHIFT,
    NO_TIES,
    DisplacementEstimate,
    ItemQuality,
    Shift,
    ShiftEstimate,
    TiePoints,
)
from coregstack.network.adjust import NetworkSolution, adjust
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
    return _matched(
        shift_between(reference.prepared, source, options.estimator, options.max_shift), positions
    )


def match_with_partners(
    item: MatchPixels, own: int, partners: Iterable[tuple[int, MatchPixels | str]], options: MatchOptions
) -> list[PairMatch]:
    """Match an item with others, itself being the anchor; a text in place of pixels says why there are none."""
    # Both may be off by the largest shift, in opposite directions.
    limit = None if options.max_shift is None else 2 * options.max_shift
    found = []
    prepared = None
    for other, pixels in partners:
        if isinstance(pixels, str):
            found.append(PairMatch(first=own, second=other, shift=None, sigma=None, reason=pixels))
            continue
        prepared = prepared or prepare_anchor(replace(item.source, origin=NO_SHIFT))
        estimate = shift_between(prepared, _seen_from(item.source, pixels.source), options.estimator, limit)
        found.append(_matched(estimate, (own, other)))
    return found


def _matched(estimate: ShiftEstimate, positions: tuple[int, int]) -> PairMatch:
    first, second = positions
    return PairMatch(
        first=first,
        second=second,
        shift=estimate.shift,
        sigma=estimate.sigma,
        reason=estimate.reason,
        spread=estimate.spread,
        ties=estimate.ties,
    )


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
        [m.sigma or unknown for m in matches],
        count=len(names),
        anchor=anchor,
        likeness=likeness,
        names=names,
    )
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
    known = ShiftEstimate(
        shift=place.shift, sigma=place.sigma, reason=place.reason, ties=ties, spread=place.spread
    )
    found = _displacement(reference, item, known, place, options)
    band, dead = scored_band(still, seen, options.names)
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
    return replace(
        decide(found, scores, options, dead if place.shift is None else remarks(dead, place.reason)),
        redundancy=place.redundancy, closure=place.closure, against=place.against, evidence=evidence,
    )  # fmt: skip


def _displacement(
    reference: Reference, item: MatchPixels, known: ShiftEstimate, place: Place, options: MatchOptions
) -> DisplacementEstimate:
    """The displacement of an item that the network has put somewhere.

    Only against the anchor can a displacement that varies be measured here: what is reached through a partner, whose
    own displacement another task measures, is moved as one.
    """
    if options.model == "shift" or place.shift is None or place.against is not None or place.alone:
        return as_one_shift(known)
    seen = _seen_from(reference.source, item.source)
    return estimate_displacement(
        reference.prepared, seen, known, model=options.model, stable=reference.stable
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
