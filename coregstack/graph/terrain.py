"""Graphs of stacks that are displaced in patterns: a task a date tells, one solves, a task a date concludes."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from dask.graph_manipulation import bind
from numpy.typing import NDArray

from coregstack.graph.blocks import boxed, flags, object_array
from coregstack.graph.settling import settled
from coregstack.matching.assess import Reference, unmatched
from coregstack.matching.items import MatchItem
from coregstack.matching.options import MatchOptions
from coregstack.model import ItemQuality
from coregstack.network.dates import (
    DateMatch,
    DatePlace,
    KnownTerrain,
    conclude_date,
    follow_date,
    match_again,
    match_date,
    place_again,
    place_dates,
)
from coregstack.network.terrain import learners

_SEED = "coregstack-terrain"
_NO_OBJECTS = np.empty(0, object)


def terrain_records(
    items: da.Array,
    anchor: int | None,
    reference: Delayed,
    options: MatchOptions,
    frame: tuple[int, int],
    *,
    reread: bool,
    known: KnownTerrain | None = None,
) -> da.Array:
    """An `ItemQuality` for each item, from the patterns of all of them together.

    Parameters
    ----------
    items : dask Array
        Of `MatchItem`.
    anchor : int, optional
        Position of the anchor, None where it is none of them.
    reference : Delayed
        The anchor, prepared.
    options : MatchOptions
    frame : tuple of int
        Rows and columns of the anchor.
    reread : bool
        Whether the items hold their pixels: these are computed twice then, instead of being held for as long as the
        slowest item takes.
    known : KnownTerrain, optional
        What dates that were aligned before tell: items follow their patterns, which are found anew if it says what each
        item was moved by.
    """
    count = items.shape[0]
    is_anchor = flags(count, anchor)
    terrain = None if known is None else delayed(known)
    name = tokenize(items.name, anchor, reference.key, options, known)
    if known is not None and known.moved is None:
        followed: da.Array = da.map_blocks(
            _follow, items, is_anchor, reference=reference, terrain=terrain, options=options,
            dtype=object, meta=_NO_OBJECTS, name="coregstack-following-" + name,
        )  # fmt: skip
        return followed

    def again(told: da.Array) -> da.Array:
        # a seed of each own, or what was read once would be held until the end
        return bind(items, told, seed=(_SEED, told.name)) if reread else items

    asked = da.from_array(learners(count, frame), chunks=1)
    moved = object_array("coregstack-moved-before-", (known and known.moved) or [None] * count)
    matches = da.map_blocks(
        _match, items, is_anchor, asked, moved, reference=reference, options=options,
        dtype=object, meta=_NO_OBJECTS, name="coregstack-told-" + name,
    )  # fmt: skip
    places = da.map_blocks(
        _place,
        matches.rechunk(-1),
        frame=frame,
        terrain=terrain,
        dtype=object,
        meta=_NO_OBJECTS,
        name="coregstack-patterns-" + name,
    ).rechunk(1)
    nearer = da.map_blocks(
        _match_again, again(places), places, moved, reference=reference, options=options,
        dtype=object, meta=_NO_OBJECTS, name="coregstack-told-again-" + name,
    )  # fmt: skip
    better = da.map_blocks(
        _place_again, places.rechunk(-1), nearer.rechunk(-1), dtype=object, meta=_NO_OBJECTS,
        name="coregstack-better-patterns-" + name,
    ).rechunk(1)  # fmt: skip
    concluded: da.Array = da.map_blocks(
        _conclude, again(better), is_anchor, better, reference=reference, options=options,
        dtype=object, meta=_NO_OBJECTS, name="coregstack-terrain-" + name,
    )  # fmt: skip
    return concluded


def _match(
    items: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    asked: NDArray[np.bool_],
    moved: NDArray[np.object_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
) -> NDArray[np.object_]:
    """A `DateMatch`, what became of an item that cannot be matched, or None."""
    if is_anchor[0] or isinstance(reference, ItemQuality):
        return boxed(None)
    item: MatchItem = items[0]
    try:
        return boxed(match_date(reference, item.load(options), options, learn=bool(asked[0]), moved=moved[0]))
    except Exception as error:
        return boxed(unmatched(item.id, error))


def _place(
    matches: NDArray[np.object_], frame: tuple[int, int], terrain: KnownTerrain | None
) -> NDArray[np.object_]:
    """A `DatePlace` for each date that was matched; what else was said of an item is handed on."""
    out = matches.copy()
    known = [match if isinstance(match, DateMatch) else None for match in matches]
    for k, place in enumerate(place_dates(known, frame, None if terrain is None else terrain.patterns)):
        if place is not None:
            out[k] = place
    return out


def _match_again(
    items: NDArray[np.object_],
    places: NDArray[np.object_],
    moved: NDArray[np.object_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
) -> NDArray[np.object_]:
    """A `DateMatch` about what the patterns say; None where that is nothing."""
    place = places[0]
    if not isinstance(place, DatePlace) or isinstance(reference, ItemQuality) or place.numbers is None:
        return boxed(None)
    item: MatchItem = items[0]
    try:
        return boxed(match_again(reference, item.load(options), place, moved[0]))
    except Exception as error:
        return boxed(unmatched(item.id, error))


def _place_again(places: NDArray[np.object_], matches: NDArray[np.object_]) -> NDArray[np.object_]:
    """The places by better patterns; what else was said of an item is handed on."""
    out = places.copy()
    placed = [place if isinstance(place, DatePlace) else None for place in places]
    known = [match if isinstance(match, DateMatch) else None for match in matches]
    for k, (place, match) in enumerate(zip(place_again(placed, known), matches, strict=True)):
        if place is not None:
            out[k] = match if isinstance(match, ItemQuality) else place
    return out


def _follow(
    items: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    reference: Reference | ItemQuality,
    terrain: KnownTerrain,
    options: MatchOptions,
) -> NDArray[np.object_]:
    item: MatchItem = items[0]
    return settled(
        reference,
        item,
        lambda known: follow_date(known, item.load(options), terrain, options),
        is_anchor=bool(is_anchor[0]),
    )


def _conclude(
    items: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    places: NDArray[np.object_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
) -> NDArray[np.object_]:
    item: MatchItem = items[0]
    place: Any = places[0]

    def judged(known: Reference) -> ItemQuality:
        if isinstance(place, ItemQuality):
            return place
        return conclude_date(known, item.load(options), place, options)

    return settled(reference, item, judged, is_anchor=bool(is_anchor[0]))
