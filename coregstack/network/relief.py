"""Items of a network that are displaced in patterns: each tells and follows them against its anchor or its neighbour.

An item is displaced against any other as against the anchor: by a map of the two and by the patterns of the stack,
times the difference of their views. So an item that the network reaches through others tells of the patterns against
the item before it on that way, follows them against it, and is displaced by both together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.displacement import Spline, constant, sigma_at
from coregstack.kernels.equations import Grid
from coregstack.kernels.following import follow, tell
from coregstack.kernels.framed import FramedSource
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.kernels.overview import PreparedAnchor
from coregstack.kernels.patterns import PITCH, Patterns, Told
from coregstack.kernels.shift import prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, remarks, usable_pixels
from coregstack.model import FIELD, NO_SHIFT, TERRAIN, Displacement, Shift, ShiftEstimate
from coregstack.network.places import Place
from coregstack.network.terrain import better_terrain, find_terrain

if TYPE_CHECKING:
    from coregstack.pixels.scene import MatchPixels


_IN_COMMON = 0.6
"""Part of a pattern's error that is the same against any item: each pair of items also sees other ground of it."""
_SHARED = 0.5
"""Part of the blocks that items show against the anchor of which another one has to show as much."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatternPlace:
    """Where all items together put one of them, and the patterns that it follows from there."""

    place: Place
    patterns: Patterns | None
    numbers: NDArray[np.float64] | None
    """The item's numbers against what it is scored against, as `coregstack.network.terrain.Terrain` holds them."""
    reason: str
    """Why there are as many patterns as there are."""
    told: Told | None = None
    """What the item tells about the displacement by its numbers, or one that is near."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """A place, and the displacement by patterns against what it is scored against; None where it follows none."""

    place: Place
    displacement: Displacement | None
    """In the frame of the anchor, against what it is scored against, moved by its own shift."""
    details: str
    view: Shift | None = None
    """Rms displacement by the first pattern against what it is scored against, px."""
    variance: NDArray[np.float64] | None = None
    """Variance of that pattern at the nodes of the displacement."""
    pattern_dates: int | None = None
    """Dates that the patterns were found from."""
    seen: NDArray[np.bool_]
    """Nodes where the item is usable."""


def _heard(told: Told) -> NDArray[np.bool_]:
    """Blocks that tell something."""
    heard: NDArray[np.bool_] = told.matrix[..., 0] + told.matrix[..., 2] > 0
    return heard


def corner_of(lattice: Lattice) -> Shift:
    """Frame position of the first pixel of the area whose patterns a lattice covers; see `network_patterns`."""
    first = pattern_lattice(lattice.frame).origin
    return Shift(round(lattice.origin.y - first.y), round(lattice.origin.x - first.x))


def tell_item(
    reference: Reference, partner: MatchPixels | None, item: MatchPixels, place: Place, lattice: Lattice
) -> Told | None:
    """What an item tells of the patterns, against the anchor or the partner that it is scored against."""
    if place.shift is None:
        return None
    pair = _Pair.of(reference, partner, item, place, lattice)
    return tell(pair.anchor, pair.item, pair.found, stable=pair.stable)


def place_in_patterns(told: Sequence[tuple[Place, Told | None]], lattice: Lattice) -> list[PatternPlace]:
    """Find the patterns of a stack from the places of all items, and what each tells."""
    terrain = find_terrain(_learnt(told), lattice.frame, pattern_lattice(lattice.frame))
    return [
        PatternPlace(place=place, patterns=terrain.patterns, numbers=numbers, reason=terrain.reason)
        for (place, _), numbers in zip(told, terrain.numbers, strict=True)
    ]


def tell_item_again(
    reference: Reference,
    partner: MatchPixels | None,
    item: MatchPixels,
    known: PatternPlace,
    lattice: Lattice,
) -> Told | None:
    """What an item tells about the displacement by the patterns that were found."""
    if known.patterns is None or known.numbers is None:
        return None
    pair = _Pair.of(reference, partner, item, known.place, lattice)
    grid = Grid.of(lattice.frame, PITCH)
    here = known.patterns.displacement(known.numbers, grid)
    return tell(pair.anchor, pair.item, pair.found, here=here, stable=pair.stable)


def place_in_better_patterns(told: Sequence[tuple[PatternPlace, Told | None]]) -> list[PatternPlace]:
    """Find the patterns again, from what each item tells about the displacement by those that were found."""
    patterns = told[0][0].patterns
    if patterns is None or all(one is None for _, one in told):
        return [place for place, _ in told]
    terrain = better_terrain([one for _, one in told], patterns)
    return [
        replace(place, patterns=terrain.patterns, numbers=numbers, reason=terrain.reason, told=own)
        for (place, own), numbers in zip(told, terrain.numbers, strict=True)
    ]


def _learnt(told: Sequence[tuple[Place, Told | None]]) -> list[Told | None]:
    """What patterns are found from: of items that do not tell against the anchor only what sees the same ground.

    Ground that the others do not see has no scale in common with theirs.
    """
    direct = [_heard(one) for place, one in told if one is not None and place.partner is None]
    if not direct:
        return [one for _, one in told]
    seen = np.any(direct, axis=0)
    least = _SHARED * np.count_nonzero(seen)
    return [
        one if one is None or place.partner is None or np.count_nonzero(_heard(one) & seen) >= least else None
        for place, one in told
    ]


def follow_item(
    reference: Reference,
    partner: MatchPixels | None,
    item: MatchPixels,
    known: PatternPlace,
    lattice: Lattice,
) -> Followed:
    """Follow the patterns, against the anchor or the partner that an item is scored against."""
    place = known.place
    seen = _seen(item.source, lattice)
    if known.patterns is None or place.shift is None or not seen.any():
        words = f"no pattern: {known.reason}" if known.patterns is None else ""
        return Followed(place=place, displacement=None, details=words, seen=seen)
    pair = _Pair.of(reference, partner, item, place, lattice)
    found = follow(
        pair.anchor,
        pair.item,
        pair.found,
        known.patterns,
        start=known.numbers,
        told=known.told,
        stable=pair.stable,
    )
    if found is None or found.displacement is None:
        return Followed(place=place, displacement=None, details="", seen=seen)
    of_area, words = found.displacement, found.details
    corner, rest = corner_of(lattice), _rest(pair.first, place.partner_shift)
    origin = Shift(of_area.origin.y + corner.y + rest.y, of_area.origin.x + corner.x + rest.x)
    return Followed(
        place=place,
        displacement=replace(of_area, origin=origin),
        view=found.view,
        variance=known.patterns.variance[0],
        pattern_dates=found.pattern_dates,
        details=words if place.against is None else f"{words} beyond those of {place.against}",
        seen=seen,
    )


def left_alone(place: Place, lattice: Lattice) -> Followed:
    """What is not asked to follow any pattern, as the anchor and what cannot be read."""
    return Followed(place=place, displacement=None, details="", seen=np.zeros(lattice.shape, bool))


def _seen(source: ArraySource, lattice: Lattice) -> NDArray[np.bool_]:
    """Nodes where a source that is not moved is usable."""
    rows, cols = (
        np.round(nodes - start).astype(int) for nodes, start in zip(lattice.nodes, source.origin, strict=True)
    )
    inside = [(at >= 0) & (at < n) for at, n in zip((rows, cols), source.shape, strict=True)]
    seen = np.zeros(lattice.shape, bool)
    seen[np.ix_(*inside)] = usable_pixels(source)[np.ix_(rows[inside[0]], cols[inside[1]])]
    return seen


def join(followed: Sequence[Followed], lattice: Lattice) -> list[Place]:
    """Places with their displacement onto the anchor: what each follows, on top of what its partner does.

    An item follows patterns unless the field that its pairs say is known better. (A shift or an affine map says nothing
    of how it is displaced where it was not seen.)
    """
    joined: dict[int, Place] = {}

    def of(item: int) -> Place:
        if item not in joined:
            one = followed[item]
            partner = None if one.place.partner is None else of(one.place.partner)
            joined[item] = _joined(one, partner, lattice)
        return joined[item]

    return [of(item) for item in range(len(followed))]


def _joined(one: Followed, partner: Place | None, lattice: Lattice) -> Place:
    place, own = one.place, one.displacement
    if own is None:
        return place if place.shift is None else replace(place, reason=remarks(one.details, place.reason))
    whole = own if partner is None else _sum(_whole(partner), own, place.partner_shift, lattice)
    if partner is not None and partner.view is not None and one.view is not None and one.variance is not None:
        # both are wrong by the same pattern
        both = _IN_COMMON * (partner.view.y * one.view.y + partner.view.x * one.view.x)
        sigma = np.sqrt(np.maximum(np.square(whole.sigma, dtype=float) + both * one.variance, 0.0))
        whole = replace(whole, sigma=sigma.astype(np.float32))
    if place.model == FIELD and _rms(whole, one.seen) >= _rms(_whole(place), one.seen):
        return place
    y, x = (np.float32(value) for value in place.partner_shift)
    # a neighbour that follows no pattern is displaced by more than patterns say
    before = NO_SHIFT if partner is None else partner.view
    view = None
    if before is not None and one.view is not None:
        view = Shift(before.y + one.view.y, before.x + one.view.x)
    return replace(
        place,
        view=view,
        pattern_dates=None if view is None else one.pattern_dates,
        model=TERRAIN,
        displacement=whole,
        against_partner=replace(own, y=own.y + y, x=own.x + x),
        reason=remarks(one.details, place.reason),
    )


def _whole(place: Place) -> Displacement:
    """The displacement of an item; of one that is moved as one, as uncertain as its parts lie apart."""
    if place.displacement is not None:
        return place.displacement
    sigma = float(np.hypot(max(place.sigma or NO_SHIFT), (place.spread or 0.0) / np.sqrt(2)))
    return constant(place.shift or NO_SHIFT, sigma)


def _rms(displacement: Displacement, seen: NDArray[np.bool_]) -> float:
    """Rms sigma at some nodes, px."""
    return float(np.sqrt(np.square(displacement.sigma[seen], dtype=float).mean()))


def _sum(partner: Displacement, own: Displacement, mean: Shift, lattice: Lattice) -> Displacement:
    """The displacement of an item onto the anchor, where `own` is that against a partner that was moved by its mean."""
    y, x = np.meshgrid(*lattice.nodes, indexing="ij")
    dy, dx = Spline.of(partner).at_points(y, x)
    # where the moved partner shows what the anchor shows at the nodes
    at_y, at_x = y - dy + mean.y, x - dx + mean.x
    more_y, more_x = Spline.of(own).at_points(at_y, at_x)
    return Displacement(
        origin=lattice.origin,
        step=lattice.step,
        y=(dy + more_y).astype(np.float32),
        x=(dx + more_x).astype(np.float32),
        sigma=np.hypot(sigma_at(partner, y, x), sigma_at(own, at_y, at_x)).astype(np.float32),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Pair:
    """An item and what it is scored against, in the frame that counts from the first pixel of the patterns' area."""

    first: ArraySource
    """What it is scored against, in the frame of the anchor and not moved."""
    anchor: PreparedAnchor
    """The same as large as the area, moved by whole pixels to where it lies."""
    item: ArraySource
    found: ShiftEstimate
    stable: NDArray[np.bool_] | None

    @classmethod
    def of(
        cls,
        reference: Reference,
        partner: MatchPixels | None,
        item: MatchPixels,
        place: Place,
        lattice: Lattice,
    ) -> _Pair:
        first = reference.source if partner is None else partner.source
        corner, more, shift = corner_of(lattice), place.partner_shift, place.shift or NO_SHIFT
        row, col = (round(o + s - c) for o, s, c in zip(first.origin, more, corner, strict=True))
        y, x = (o - f for o, f in zip(item.source.origin, first.origin, strict=True))
        stable = reference.stable
        source = reference.source
        at = round(source.origin.y - corner.y), round(source.origin.x - corner.x)
        same = partner is None and (row, col) == (0, 0) and source.shape == lattice.frame
        return cls(
            first=first,
            anchor=reference.prepared if same else prepare_anchor(
                FramedSource(source=first, shape=lattice.frame, row=row, col=col)
            ),
            item=replace(item.source, origin=Shift(y + row, x + col)),
            found=ShiftEstimate(
                shift=Shift(shift.y - more.y, shift.x - more.x), sigma=place.sigma, reason="",
                ties=place.ties, spread=place.spread,
            ),
            stable=None if stable is None else _framed(stable, lattice.frame, *at),
        )  # fmt: skip


def _rest(source: ArraySource, shift: Shift) -> Shift:
    """How far a source that is moved by its shift lies from the whole pixels that it is moved to."""
    y, x = (o + s - round(o + s) for o, s in zip(source.origin, shift, strict=True))
    return Shift(y, x)


def _framed(ground: NDArray[np.bool_], shape: tuple[int, int], row: int, col: int) -> NDArray[np.bool_]:
    """Ground whose first pixel lies at one of an area, in all of that area."""
    out = np.zeros(shape, bool)
    top, left = max(0, row), max(0, col)
    part = ground[top - row : max(0, shape[0] - row), left - col : max(0, shape[1] - col)]
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out
