"""Graphs of the network method: sketches, pairs, their adjustment, and what follows for every item.

Items behind files carry no pixels, so that every task can read whichever it needs, and the pairs can follow from
what the items look like. Items of any other stack come as blocks, whose way through the graph has to be known when
it is built: there the pairs follow from the times alone, and the blocks are computed once for the pairs and once
for the scores, instead of being held for as long as the network takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from dask.graph_manipulation import bind
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from coregstack.errors import CoregError
from coregstack.geometry.lattice import frame_bounds
from coregstack.graph.blocks import boxed, object_array
from coregstack.graph.sketches import item_sketches, network_frame
from coregstack.kernels.lattice import Lattice
from coregstack.kernels.patterns import Told
from coregstack.matching.assess import Reference, reference_quality
from coregstack.matching.decision import failure
from coregstack.matching.items import MatchItem
from coregstack.matching.options import MatchOptions
from coregstack.model import TERRAIN, ItemQuality
from coregstack.network.concluding import conclude
from coregstack.network.matches import PairMatch, match_with_anchor, match_with_partners
from coregstack.network.places import Place, solve
from coregstack.network.planning import Plan, plan_by_looks, plan_by_time
from coregstack.network.relief import (
    Followed,
    PatternPlace,
    follow_item,
    join,
    left_alone,
    place_in_better_patterns,
    place_in_patterns,
    tell_item,
    tell_item_again,
)
from coregstack.network.sketch import Sketch
from coregstack.network.terrain import learners
from coregstack.pixels.scene import MatchPixels, PlacedScene

_SEED = "coregstack-network"
_NO_OBJECTS = np.empty(0, object)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """Properties of all items that the tasks of a network need."""

    names: tuple[str, ...]
    """Ids; that of an anchor from outside the stack comes last."""
    times: NDArray[np.datetime64]
    """Times of acquisition, NaT where not known."""
    anchor: int
    """Position of the anchor."""
    settled: tuple[PairMatch, ...] = ()
    """Pairs with the anchor that are known already."""
    lattice: Lattice | None = None
    """Control lattice that covers all items, in the frame of the anchor; None where each is displaced as one."""

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the items."""
        known = [(match.second, match.shift, match.sigma) for match in self.settled]
        nodes = self.lattice and (self.lattice.origin, self.lattice.step, self.lattice.shape)
        return self.names, self.times.tolist(), self.anchor, known, nodes


def scene_network(
    items: da.Array,
    scenes: Sequence[PlacedScene],
    known: Items,
    reference: Delayed,
    options: MatchOptions,
) -> da.Array:
    """An `ItemQuality` for each scene, from all of them together.

    Parameters
    ----------
    items : dask Array
        A `SceneItem` for each scene.
    scenes : sequence of PlacedScene
        The same scenes, the anchor among them, placed by `network_place`.
    known : Items
        What they are called, and when they were taken.
    reference : Delayed
        The anchor, prepared.
    options : MatchOptions
    """
    bounds = [frame_bounds(scene.scene.image.box, scene.lattice) for scene in scenes]
    # bounds are rounded to whole pixels, of which a very small scene has none
    corners = [
        (top, left, max(bottom, np.nextafter(top, np.inf)), max(right, np.nextafter(left, np.inf)))
        for top, bottom, left, right in bounds
    ]
    # what lies far away would leave hardly a pixel of a sketch to the others
    sketches = item_sketches(items, options, network_frame(scenes, known.anchor)).rechunk(-1)
    plan = da.map_blocks(
        _plan, sketches, known=known, boxes=corners, chunks=(1,), dtype=object, meta=_NO_OBJECTS
    )
    everyone = items.rechunk(-1)
    matches = _by_item(_match, plan, "p", everyone, reference, known, options)
    places = _places(matches, sketches, known, options)

    def each(_: str, function: Any, told: da.Array) -> da.Array:
        return _by_item(function, told.rechunk(1), "t", everyone, reference, known, options)

    return each("", _conclude, _in_patterns(each, places, known, options))


def array_network(
    items: da.Array, known: Items, reference: Delayed, options: MatchOptions, *, in_memory: bool
) -> da.Array:
    """An `ItemQuality` for each item of an array, from all of them together.

    Parameters
    ----------
    items : dask Array
        Of `MatchItem` that hold their pixels.
    known : Items
        What they are called, and when they were taken. The anchor may lie behind the last of them.
    reference : Delayed
        The anchor, prepared.
    options : MatchOptions
    in_memory : bool
        Whether the pixels are in memory anyhow: then they are looked at here and now, so that the pairs can follow
        from what they look like.
    """
    count = items.shape[0]
    sketches = item_sketches(items, options)
    if in_memory and known.anchor < count:
        looks = list(sketches.compute())
        sketches = object_array("coregstack-sketches-", looks)
        plan = plan_by_looks(looks, known.times, None, known.anchor)
    else:
        plan = plan_by_time(known.times, known.anchor)
    facts = {"known": known, "options": options}
    matches = _with_partners("coregstack-pairs-", _match, items, plan.duties[:count], plan, reference, facts)
    places = _places(matches, sketches.rechunk(-1), known, options)
    partners = _partners(plan, known.anchor)[:count]

    def each(prefix: str, function: Any, told: da.Array) -> da.Array:
        # a seed of each own, or what was read once would be held until the end
        again = bind(items, told, seed=(_SEED, told.name))
        return _with_partners(prefix, function, again, partners, told.rechunk(1), reference, facts)

    return each("coregstack-network-", _conclude, _in_patterns(each, places, known, options))


_Each: TypeAlias = Callable[[str, Any, da.Array], da.Array]
"""Makes one task for each item by a function, which takes its pixels, those of its partners and what is told of it."""


def _in_patterns(each: _Each, places: da.Array, known: Items, options: MatchOptions) -> da.Array:
    """Places with what follows from patterns of all items, where these are asked for."""
    if options.model != TERRAIN:
        return places
    lattice = _patterned(known)

    def together(name: str, function: Any, told: da.Array) -> da.Array:
        found: da.Array = da.map_blocks(
            _together, told.rechunk(-1), function=function, dtype=object, meta=_NO_OBJECTS,
            name=f"coregstack-network-{name}-{told.name}",
        )  # fmt: skip
        return found

    told = each("coregstack-network-told-", _tell, places)
    placed = together("patterns", partial(place_in_patterns, lattice=lattice), told)
    nearer = each("coregstack-network-told-again-", _tell_again, placed)
    better = together("better-patterns", place_in_better_patterns, nearer)
    followed = each("coregstack-network-followed-", _follow, better)
    return together("joined", partial(join, lattice=lattice), followed)


def _by_item(
    function: Any,
    told: da.Array,
    index: str,
    everyone: da.Array,
    reference: Delayed,
    known: Items,
    options: MatchOptions,
) -> da.Array:
    """One task for each item, which takes the values of the item (index "t") or of all items (index "p")."""
    results: da.Array = da.blockwise(
        _with_everyone, "t", da.arange(len(known.names), chunks=1), "t", told, index, everyone, "s",
        function=function, reference=reference, known=known, options=options,
        concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip
    return results


def _with_everyone(
    index: NDArray[np.int64],
    told: NDArray[np.object_],
    everyone: NDArray[np.object_],
    function: Any,
    **facts: Any,
) -> NDArray[np.object_]:
    return boxed(function(int(index[0]), dict(enumerate(everyone)), told[0], **facts))


def _with_partners(
    prefix: str,
    function: Any,
    items: da.Array,
    partners: Sequence[Sequence[int]],
    told: Any,
    reference: Delayed,
    facts: Mapping[str, Any],
) -> da.Array:
    """One task for each item, which takes the blocks of the item and of its partners."""
    work = partial(_with_blocks, partial(function, **facts))
    parts: list[Any] = [items, reference]
    if isinstance(told, da.Array):
        parts.append(told)
    tasks = [
        (
            k,
            [(items.name, other) for other in (k, *own)],
            (k, *own),
            (told.name, k) if isinstance(told, da.Array) else boxed(told),
            reference.key,
        )
        for k, own in enumerate(partners)
    ]
    name = prefix + tokenize(work, tasks)
    blocks: dict[Any, Any] = {(name, k): (work, *arguments) for k, arguments in enumerate(tasks)}
    graph = HighLevelGraph.from_collections(name, blocks, dependencies=parts)
    return da.Array(graph, name, ((1,) * len(tasks),), meta=_NO_OBJECTS)


def _with_blocks(
    function: Any,
    own: int,
    blocks: Sequence[NDArray[np.object_]],
    positions: Sequence[int],
    told: NDArray[np.object_],
    reference: Reference | ItemQuality,
) -> NDArray[np.object_]:
    items = {position: block[0] for position, block in zip(positions, blocks, strict=True)}
    return boxed(function(own, items, told[0], reference))


def _partners(plan: Plan, anchor: int) -> list[list[int]]:
    """For each item all others but the anchor that it is matched with."""
    count = len(plan.duties)
    out: list[list[int]] = [[] for _ in range(count)]
    for i, j in plan.pairs:
        if anchor not in (i, j):
            out[i].append(j)
            out[j].append(i)
    return out


def _places(matches: da.Array, sketches: da.Array, known: Items, options: MatchOptions) -> da.Array:
    """A `Place` for each item but an anchor from outside, all computed in one task."""
    count = sketches.shape[0]
    places: da.Array = da.blockwise(
        _solve, "t", matches.rechunk(-1), "m", sketches, "t", known=known, options=options,
        adjust_chunks={"t": (count,)}, concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip
    return places


def _plan(
    sketches: NDArray[np.object_], known: Items, boxes: Sequence[tuple[float, ...]]
) -> NDArray[np.object_]:
    return boxed(plan_by_looks(list(sketches), known.times, boxes, known.anchor))


def _match(
    own: int,
    items: Mapping[int, MatchItem],
    plan: Plan,
    reference: Reference | ItemQuality,
    known: Items,
    options: MatchOptions,
) -> list[PairMatch]:
    """Match an item with the anchor and with its partners."""
    if own == known.anchor or isinstance(reference, ItemQuality):
        return []
    if own not in plan.direct and not plan.duties[own]:
        return []
    pixels = _attempt(items[own], options)
    if isinstance(pixels, str):
        return [PairMatch(first=known.anchor, second=own, shift=None, sigma=None, reason=pixels)]
    found = []
    if own in plan.direct:
        found.append(match_with_anchor(reference, pixels, (known.anchor, own), options))
    partners = ((other, _attempt(items[other], options)) for other in plan.duties[own])
    return found + match_with_partners(pixels, own, partners, options, reference.stable)


def _attempt(item: MatchItem, options: MatchOptions) -> MatchPixels | str:
    """All match pixels of an item, or why they cannot be had."""
    try:
        return item.load(options)
    except CoregError as error:
        return str(error)


def _solve(
    matches: NDArray[np.object_], sketches: NDArray[np.object_], known: Items, options: MatchOptions
) -> NDArray[np.object_]:
    every = [*known.settled, *(match for some in matches for match in some)]
    looks: list[Sketch | None] = [*sketches, *[None] * (len(known.names) - len(sketches))]
    places = np.empty(len(sketches), object)
    places[:] = solve(every, looks, known.names, known.anchor, options, known.lattice)[: len(sketches)]
    return places


def _tell(
    own: int,
    items: Mapping[int, MatchItem],
    place: Place,
    reference: Reference | ItemQuality,
    known: Items,
    options: MatchOptions,
) -> tuple[Place, Told | None]:
    """What an item tells of the patterns of all."""
    lattice = _patterned(known)
    asked = learners(len(known.names), lattice.frame)[own]
    pixels = _pixels(own, items, place, options) if asked and own != known.anchor else None
    if pixels is None or isinstance(reference, ItemQuality):
        return place, None
    return place, tell_item(reference, *pixels, place, lattice)


def _tell_again(
    own: int,
    items: Mapping[int, MatchItem],
    place: PatternPlace,
    reference: Reference | ItemQuality,
    known: Items,
    options: MatchOptions,
) -> tuple[PatternPlace, Told | None]:
    """What an item tells about the displacement by the patterns that were found."""
    asked = place.patterns is not None and place.numbers is not None
    pixels = _pixels(own, items, place.place, options) if asked else None
    if pixels is None or isinstance(reference, ItemQuality):
        return place, None
    return place, tell_item_again(reference, *pixels, place, _patterned(known))


def _follow(
    own: int,
    items: Mapping[int, MatchItem],
    place: PatternPlace,
    reference: Reference | ItemQuality,
    known: Items,
    options: MatchOptions,
) -> Followed:
    """The displacement of an item by the patterns of all."""
    pixels = None if own == known.anchor else _pixels(own, items, place.place, options)
    if pixels is None or isinstance(reference, ItemQuality):
        return left_alone(place.place, _patterned(known))
    return follow_item(reference, *pixels, place, _patterned(known))


def _together(told: NDArray[np.object_], function: Callable[[list[Any]], list[Any]]) -> NDArray[np.object_]:
    """One value for each item, from what is told of all."""
    out = np.empty(len(told), object)
    out[:] = function(list(told))
    return out


def _patterned(known: Items) -> Lattice:
    if known.lattice is None:
        raise TypeError("patterns need a control lattice")
    return known.lattice


def _pixels(
    own: int, items: Mapping[int, MatchItem], place: Place, options: MatchOptions
) -> tuple[MatchPixels | None, MatchPixels] | None:
    """Match pixels of what an item is scored against, None for the anchor, and its own; None where one is lost."""
    partner = None if place.partner is None else _attempt(items[place.partner], options)
    pixels = _attempt(items[own], options)
    return None if isinstance(partner, str) or isinstance(pixels, str) else (partner, pixels)


def _conclude(
    own: int,
    items: Mapping[int, MatchItem],
    place: Place,
    reference: Reference | ItemQuality,
    known: Items,
    options: MatchOptions,
) -> ItemQuality:
    """Score an item where the network puts it."""
    if own == known.anchor:
        return reference_quality(reference)
    if isinstance(reference, ItemQuality):
        return reference
    try:
        pixels = items[own].load(options)
        partner = None if place.partner is None else items[place.partner].load(options)
    except CoregError as error:
        return failure(str(error), unreadable=True)
    return conclude(reference, partner, pixels, place, options)
