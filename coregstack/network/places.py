"""Where the network of all pairs puts each item.

The shift of each item follows from all pairs together, adjusted by least squares (`coregstack.network.adjust`). An item
that shares too little with the anchor is reached through others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.descriptor import similarity
from coregstack.kernels.displacement import rescaled
from coregstack.kernels.lattice import Lattice
from coregstack.matching.options import MatchOptions
from coregstack.model import (
    AFFINE,
    FIELD,
    NO_SHIFT,
    NO_TIES,
    SHIFT,
    Displacement,
    Shift,
    TiePoints,
)
from coregstack.network.adjust import UNCHECKED_WIDENING, UNKNOWN_SIGMA, NetworkSolution, adjust
from coregstack.network.components import unlike_field_sigma
from coregstack.network.fields import (
    FieldSolution,
    PairField,
    adjust_fields,
    between,
    mean_sigma,
    pair_field,
)
from coregstack.network.sketch import Sketch

if TYPE_CHECKING:
    from coregstack.network.matches import PairMatch

ALIKE = 0.5
"""Likeness of item and anchor below which a score would measure the change of the ground, not the shift."""
UNSURE = 0.5
"""Largest sigma, px, with which a shift counts as known."""
_UNKNOWN = Shift(UNKNOWN_SIGMA, UNKNOWN_SIGMA)
_LEAST_APART = 0.1
"""Part of its spread by which the mean of a field may differ between pairs that share all ground."""


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
    view: Shift | None = None
    """Rms displacement by the first pattern that the item follows, px; None where it follows none onto the anchor."""
    pattern_dates: int | None = None
    """Dates that the patterns were found from."""
    turned: bool = False
    """Whether the item was the one that was taken as the anchor of that pair."""
    alone: bool = False
    """Whether it was never matched with the item, or the anchor, that it is scored against."""
    patterned: bool = False
    """Whether something that stays on the pixel grid was found in that match."""


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
    doubts = solution.bias_share * unlike_field_sigma(likeness)
    used = {
        frozenset((match.first, match.second)): match
        for match, accepted in zip(matches, solution.accepted, strict=True)
        if accepted
    }
    ways = [_way(item, anchor, used, path) for item, path in enumerate(solution.path)]
    found: Mapping[int, Displacement] = {}
    if lattice is not None:
        adjusted = adjust_fields(_fields(matches, doubts, solution), solution.shift, anchor, lattice)
        found = adjusted.displacement
        solution = _along_ways(solution, ways, adjusted)
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
    places = _with_fields(places, found, ways)
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


def _fields(
    matches: Sequence[PairMatch], doubts: NDArray[np.float64], solution: NetworkSolution
) -> list[PairField]:
    """The fields of the pairs that a solution accepts; `doubts` are sigmas beyond those of the pairs, px."""
    return [
        pair_field(
            m.first, m.second, m.corner, m.displacement, m.shift, m.sigma or _UNKNOWN, m.spread, float(doubt)
        )
        for m, doubt, accepted in zip(matches, doubts, solution.accepted, strict=True)
        if accepted and m.shift is not None
    ]


def _of_mean(match: PairMatch) -> Shift | None:
    """Sigma of the shift of a pair, in a loop with others.

    Each pair has its own overlap, and the mean of what varies over a part of the ground differs from that over all.
    """
    if match.sigma is None or match.model == SHIFT or match.spread is None:
        return match.sigma
    differs = match.spread * max(_LEAST_APART, 1 - match.shared)
    return Shift(*np.hypot(match.sigma, differs).tolist())


def _along_ways(
    solution: NetworkSolution, ways: Sequence[Sequence[PairMatch]], adjusted: FieldSolution
) -> NetworkSolution:
    """A solution whose sigmas of items that do not move as one are those along their ways to the anchor.

    Those of the adjustment hold for means over differing overlaps. Sigmas of pairs hold for what pairs do not share;
    what they do, their fields tell.
    """
    sigma = solution.sigma.copy()
    for item, way in enumerate(ways):
        if _model(way) != SHIFT:
            wider = max(adjusted.mean_factor, UNCHECKED_WIDENING if solution.hanging[item] else 1.0)
            along = np.square([match.sigma or _UNKNOWN for match in way]).sum(axis=0)
            sigma[item] = np.hypot(wider * np.sqrt(along), mean_sigma(adjusted.displacement[item]))
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
    place = replace(place, ties=match.ties, spread=match.spread, patterned=match.patterned)
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
        patterned=match.patterned,
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
        return f"The shift is too uncertain: sigma x {sigma[1]:.2f}, y {sigma[0]:.2f} px."
    if options.max_shift is not None and max(abs(y), abs(x)) > options.max_shift + 0.5:
        return (
            f"The shift found, x {x:+.1f}, y {y:+.1f} px, is larger than allowed, "
            f"{options.max_shift:g} px: raise max_shift if it is right."
        )
    return ""
