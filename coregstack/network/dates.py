"""Dates of a stack that is displaced in patterns: what each tells, where all together put it, and its quality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.displacement import Spline, sampled
from coregstack.kernels.equations import Grid
from coregstack.kernels.field import estimate_displacement
from coregstack.kernels.following import follow, tell
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.kernels.patterns import PITCH, Patterns, Told
from coregstack.kernels.symmetric import product
from coregstack.matching.assess import Reference, apart_from_filling, judge, remarks, shift_between
from coregstack.matching.choices import SIMPLER
from coregstack.matching.options import MatchOptions
from coregstack.model import Displacement, DisplacementEstimate, ItemQuality, ShiftEstimate
from coregstack.network.terrain import better_terrain, find_terrain

if TYPE_CHECKING:
    from coregstack.pixels.scene import MatchPixels

_NONE_BEFORE = "the dates that are there follow none"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DateMatch:
    """What a date and the anchor tell."""

    found: ShiftEstimate
    told: Told | None
    """What it tells of the patterns; None where it tells nothing, or is not asked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DatePlace:
    """Where all dates together put one of them."""

    found: ShiftEstimate
    patterns: Patterns | None
    """Patterns of the stack; None where it has none."""
    numbers: NDArray[np.float64] | None
    """The date's numbers, as `coregstack.network.terrain.Terrain` holds them; None where it told nothing."""
    reason: str
    """Why there are no patterns, in words."""
    told: Told | None = None
    """What the date tells about the displacement that it is placed by, or one that is near."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownTerrain:
    """What a stack that was aligned before tells about dates that come later."""

    patterns: Patterns | None
    """Patterns that its dates follow; None where they follow none."""
    moved: tuple[Displacement | None, ...] | None = None
    """What each item of the stack was moved by already; None in it for one that lies as it came. None where the
    patterns stay as they are, and the items of the stack are not asked."""


def match_date(
    reference: Reference,
    item: MatchPixels,
    options: MatchOptions,
    *,
    learn: bool,
    moved: Displacement | None = None,
) -> DateMatch:
    """Match a date with the anchor.

    Parameters
    ----------
    reference : Reference
        The anchor.
    item : MatchPixels
        The date's match bands.
    options : MatchOptions
    learn : bool
        Whether it is asked what it tells of the patterns.
    moved : Displacement, optional
        What its pixels were moved by already: it tells of the displacement before that.
    """
    reference, item, _ = apart_from_filling(reference, item)
    found = shift_between(reference.prepared, item.source, options.estimator, options.max_shift)
    told = tell(reference.prepared, item.source, found, stable=reference.stable) if learn else None
    if told is not None and moved is not None:
        told = _before(told, moved)
    return DateMatch(found=found, told=told)


def _before(told: Told, moved: Displacement) -> Told:
    """What a date tells of the displacement before that which its pixels were moved by."""
    before = np.stack(Spline.of(moved).at(told.grid.rows, told.grid.cols), axis=-1)
    target = told.target + product(told.matrix.astype(np.float64), before)
    return replace(told, target=target.astype(np.float32), own=(told.own + before).astype(np.float32))


def match_again(
    reference: Reference, item: MatchPixels, place: DatePlace, moved: Displacement | None = None
) -> DateMatch:
    """Match a date with the anchor about the displacement by the patterns that were found.

    Parameters
    ----------
    reference : Reference
        The anchor.
    item : MatchPixels
        The date's match bands.
    place : DatePlace
        What `place_dates` said of it.
    moved : Displacement, optional
        As in `match_date`.
    """
    told = None
    if place.patterns is not None and place.numbers is not None:
        reference, item, _ = apart_from_filling(reference, item)
        grid = Grid.of(reference.source.shape, PITCH)
        here = place.patterns.displacement(place.numbers, grid)
        if moved is not None:
            here -= np.stack(Spline.of(moved).at(grid.rows, grid.cols), axis=-1)
        told = tell(reference.prepared, item.source, place.found, here=here, stable=reference.stable)
        told = told if told is None or moved is None else _before(told, moved)
    return DateMatch(found=place.found, told=told)


def place_again(
    places: Sequence[DatePlace | None], matches: Sequence[DateMatch | None]
) -> list[DatePlace | None]:
    """Find the patterns of a stack again, from what `match_again` returned for the dates that were placed."""
    told = [None if match is None else match.told for match in matches]
    patterns = next((place.patterns for place in places if place is not None), None)
    if patterns is None or all(one is None for one in told):
        return [*places]
    terrain = better_terrain(told, patterns)
    return [
        None
        if place is None
        else replace(place, patterns=terrain.patterns, numbers=numbers, reason=terrain.reason, told=own)
        for place, numbers, own in zip(places, terrain.numbers, told, strict=True)
    ]


def follow_date(
    reference: Reference, item: MatchPixels, terrain: KnownTerrain, options: MatchOptions
) -> ItemQuality:
    """Match a date with the anchor, displace it by patterns that are known, score it and decide."""
    found = match_date(reference, item, options, learn=False).found
    place = DatePlace(found=found, patterns=terrain.patterns, numbers=None, reason=_NONE_BEFORE)
    return conclude_date(reference, item, place, options)


def place_dates(
    matches: Sequence[DateMatch | None], frame: tuple[int, int], known: Patterns | None = None
) -> list[DatePlace | None]:
    """Find the patterns of a stack, and the numbers of its dates.

    Parameters
    ----------
    matches
        One for each date; None for the anchor and for what cannot be read.
    frame
        Rows and columns of the anchor.
    known : Patterns, optional
        What is followed where no patterns can be found.
    """
    told = [None if match is None else match.told for match in matches]
    terrain = find_terrain(told, frame, pattern_lattice(frame))
    patterns = terrain.patterns or known
    return [
        None
        if match is None
        else DatePlace(found=match.found, patterns=patterns, numbers=numbers, reason=terrain.reason)
        for match, numbers in zip(matches, terrain.numbers, strict=True)
    ]


def conclude_date(
    reference: Reference, item: MatchPixels, place: DatePlace, options: MatchOptions
) -> ItemQuality:
    """Displace a date by the patterns of its stack, score it and decide.

    Parameters
    ----------
    reference : Reference
        The anchor.
    item : MatchPixels
        The date's match bands.
    place : DatePlace
        What `place_dates` said of it.
    options : MatchOptions
    """
    reference, item, left_out = apart_from_filling(reference, item)
    return judge(reference, item, place.found, _displacement(reference, item, place), options, left_out)


def _displacement(reference: Reference, item: MatchPixels, place: DatePlace) -> DisplacementEstimate:
    known = None
    if place.patterns is not None and place.found.shift is not None:
        known = follow(
            reference.prepared,
            item.source,
            place.found,
            place.patterns,
            start=place.numbers,
            told=place.told,
            stable=reference.stable,
        )
    if known is not None:
        return known
    simpler = estimate_displacement(
        reference.prepared, item.source, place.found, model=SIMPLER, stable=reference.stable
    )
    if simpler.displacement is not None:
        nodes = pattern_lattice(reference.source.shape)
        simpler = replace(simpler, displacement=on_nodes(simpler.displacement, nodes))
    if place.patterns is not None or simpler.shift is None:
        return simpler
    return replace(simpler, details=remarks(f"no pattern: {place.reason}", simpler.details))


def on_nodes(displacement: Displacement, lattice: Lattice) -> Displacement:
    """A displacement on the lattice that all items of the stack have."""
    y, x, sigma = (plane.astype(np.float32) for plane in sampled(displacement, *lattice.nodes))
    return Displacement(origin=lattice.origin, step=lattice.step, y=y, x=x, sigma=sigma)
