"""Graphs of the network method: sketches, pairs, their adjustment, and what follows for every item.

Scenes behind files are read again in every task that needs them, so that the pairs can follow from what the
scenes look like, and no pixels wait for others. Items of any other stack come as blocks, whose way through
the graph has to be known when it is built: there the pairs follow from the times alone, and the blocks are
computed once for the pairs and once for the scores, instead of being held for as long as the network takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
from affine import Affine
from dask.base import tokenize
from dask.delayed import Delayed
from dask.graph_manipulation import bind
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.geometry.globe import together
from coregstack.geometry.lattice import frame_bounds, offset, union
from coregstack.graph import boxed, match_pixels, object_array, scene_array
from coregstack.matching.assess import Reference, anchor_quality, prepare
from coregstack.matching.decision import failure
from coregstack.matching.options import MatchOptions
from coregstack.model import NO_SHIFT, Shift
from coregstack.network.steps import (
    SKETCH_SIDE,
    PairMatch,
    Place,
    Plan,
    Sketch,
    conclude,
    match_with_anchor,
    match_with_partners,
    plan_by_looks,
    plan_by_time,
    sketch,
    sketch_pixels,
    solve,
)
from coregstack.pixels.overview import load_overview
from coregstack.pixels.scene import MatchPixels, PlacedScene, load_match

_SEED = "coregstack-network"
_NO_OBJECTS = np.empty(0, object)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """What the tasks of a network know of all items."""

    names: tuple[str, ...]
    """Ids; that of an anchor from outside the stack comes last."""
    times: NDArray[np.datetime64]
    """Times of acquisition, NaT where not known."""
    anchor: int
    """Position of the anchor."""
    settled: tuple[PairMatch, ...] = ()
    """Pairs with the anchor that are known already."""

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the items."""
        known = [(match.second, match.shift, match.sigma) for match in self.settled]
        return self.names, self.times.tolist(), self.anchor, known


def network_frame(items: Sequence[PlacedScene], anchor: int) -> GeoBox:
    """The smallest box on the anchor's lattice that holds the anchor and all scenes that lead to it by overlaps."""
    boxes = [item.scene.image.box for item in items]
    numbers = together(boxes)
    linked = [box for box, number in zip(boxes, numbers, strict=True) if number == numbers[anchor]]
    return union(linked, boxes[anchor])


def scene_sketches(items: Sequence[PlacedScene], frame: GeoBox, band: int) -> da.Array:
    """A `Sketch` of each scene, or None where it cannot be read; one task each."""
    factor = max(1, -(-max(frame.shape) // SKETCH_SIDE))
    shape = -(-frame.shape[0] // factor), -(-frame.shape[1] // factor)
    grid = GeoBox(shape, frame.affine * Affine.scale(factor), frame.crs)
    return da.map_blocks(
        _sketch_scene, scene_array(items), band=band, grid=grid, dtype=object, meta=_NO_OBJECTS,
        name="coregstack-sketch-" + tokenize(items, band, grid.shape, tuple(grid.affine), str(grid.crs)),
    )  # fmt: skip


def array_sketches(values: da.Array, clear: da.Array | None, *, nodata: float | None) -> da.Array:
    """A `Sketch` of each time of an array of dims (time, 1, y, x), one task each."""
    options = MatchOptions(bands=(0,))
    pixels = _loaded(values, clear, nodata, NO_SHIFT, options)
    return da.map_blocks(_sketch_array, pixels, dtype=object, meta=_NO_OBJECTS)


def scene_network(scenes: Sequence[PlacedScene], items: Items, options: MatchOptions) -> da.Array:
    """An `ItemQuality` for each scene, from all of them together.

    Parameters
    ----------
    scenes : sequence of PlacedScene
        The anchor among them; on whatever box of the anchor's lattice.
    items : Items
        What they are called, and when they were taken.
    options : MatchOptions
    """
    frame = union([scene.scene.image.box for scene in scenes], scenes[items.anchor].scene.image.box)
    placed = [scene.on(frame) for scene in scenes]
    corner = offset(scenes[items.anchor].scene.image.box, frame)
    boxes = [frame_bounds(scene.scene.image.box, frame) for scene in placed]
    # bounds are rounded to whole pixels, of which a very small scene has none
    corners = [
        (top, left, max(bottom, np.nextafter(top, np.inf)), max(right, np.nextafter(left, np.inf)))
        for top, bottom, left, right in boxes
    ]
    stack = _SceneStack(scenes=tuple(placed), items=items, corner=corner, options=options)
    everyone = object_array("coregstack-everyone-", [stack])
    reference = dask.delayed(_prepare_scene, pure=True)(everyone.to_delayed()[0])
    # what lies far away would leave hardly a pixel of a sketch to the others
    near = network_frame(scenes, items.anchor)
    all_sketches = scene_sketches(placed, near, options.bands[0]).rechunk(-1)
    plan = da.map_blocks(
        _plan_scenes, all_sketches, items=items, boxes=corners, chunks=(1,), dtype=object, meta=_NO_OBJECTS
    )
    matches = _by_scene(_match_scene, plan, "p", everyone, reference, len(placed))
    places = _places(matches, all_sketches, items, options)
    return _by_scene(_conclude_scene, places.rechunk(1), "t", everyone, reference, len(placed))


def array_network(
    values: da.Array,
    clear: da.Array | None,
    items: Items,
    reference: Delayed,
    options: MatchOptions,
    *,
    nodata: float | None,
    origin: Shift,
    in_memory: bool,
) -> da.Array:
    """An `ItemQuality` for each time of an array of dims (time, band, y, x), from all of them together.

    Parameters are those of `coregstack.graph.array_records`. The anchor of `items` may lie behind the last
    time. What is `in_memory` anyhow is looked at here and now, so that the pairs can follow from it.
    """
    count = values.shape[0]
    pixels = _loaded(values, clear, nodata, origin, options)
    index = da.arange(count, chunks=1)
    sketches = da.map_blocks(_sketch_array, pixels, dtype=object, meta=_NO_OBJECTS)
    direct = da.map_blocks(
        _match_array, pixels, index, reference=reference, items=items, options=options,
        dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip
    if in_memory and items.anchor < count:
        looks = sketches.compute()
        sketches = object_array("coregstack-sketches-", list(looks))
        plan = plan_by_looks(list(looks), items.times, None, items.anchor)
    else:
        plan = plan_by_time(items.times, items.anchor)
    work = partial(_match_partner_arrays, options=options)
    owners = [k for k, duties in enumerate(plan.duties) if duties]
    blocks = [
        (k, (pixels.name, k), [(pixels.name, p) for p in plan.duties[k]], plan.duties[k]) for k in owners
    ]
    matches = [direct, _layer("coregstack-pairs-", work, blocks, [pixels])] if owners else [direct]
    places = _places(da.concatenate(matches), sketches.rechunk(-1), items, options)
    again = bind(pixels, places, seed=_SEED)
    apart = places.rechunk(1)
    partners = _partners(plan, items.anchor)[:count]
    finish = partial(_conclude_array, items=items, options=options)
    tasks = [
        (k, (again.name, k), [(again.name, p) for p in own], own, (apart.name, k), reference.key)
        for k, own in enumerate(partners)
    ]
    return _layer("coregstack-network-", finish, tasks, [again, apart, reference])


def _by_scene(
    function: Any, known: da.Array, index: str, everyone: da.Array, reference: Delayed, count: int
) -> da.Array:
    """One task for each scene, which takes what is `known` of it (index "t") or of all (index "p")."""
    return da.blockwise(
        function, "t", da.arange(count, chunks=1), "t", known, index, everyone, "s", reference=reference,
        concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip


def _loaded(
    values: da.Array, clear: da.Array | None, nodata: float | None, origin: Shift, options: MatchOptions
) -> da.Array:
    """The `MatchPixels` of each time."""
    planes = [values.rechunk((1, -1, -1, -1)), "tbyx"]
    planes += [] if clear is None else [clear.rechunk((1, -1, -1)), "tyx"]
    return da.blockwise(
        _load_array, "t", *planes, options=options, nodata=nodata, origin=origin,
        concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip


def _layer(prefix: str, function: Any, tasks: Sequence[tuple[Any, ...]], parts: Sequence[Any]) -> da.Array:
    """An array of objects, one in each block, whose tasks take a varying number of other blocks."""
    name = prefix + tokenize(function, tasks)
    blocks: dict[Any, Any] = {(name, k): (function, *arguments) for k, arguments in enumerate(tasks)}
    graph = HighLevelGraph.from_collections(name, blocks, dependencies=parts)
    return da.Array(graph, name, ((1,) * len(tasks),), meta=_NO_OBJECTS)


def _partners(plan: Plan, anchor: int) -> list[list[int]]:
    """For each item all others but the anchor that it is matched with."""
    count = len(plan.duties)
    out: list[list[int]] = [[] for _ in range(count)]
    for i, j in plan.pairs:
        if anchor not in (i, j):
            out[i].append(j)
            out[j].append(i)
    return out


def _places(matches: da.Array, sketches: da.Array, items: Items, options: MatchOptions) -> da.Array:
    """A `Place` for each item but an anchor from outside, all computed in one task."""
    count = sketches.shape[0]
    return da.blockwise(
        _solve, "t", matches.rechunk(-1), "m", sketches, "t", items=items, options=options,
        adjust_chunks={"t": (count,)}, concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _SceneStack:
    """All scenes of a network, as each of its tasks knows them."""

    scenes: tuple[PlacedScene, ...]
    items: Items
    corner: Shift
    """The anchor's first pixel."""
    options: MatchOptions

    def load(self, item: int) -> MatchPixels:
        """All match pixels of a scene."""
        return load_scene(self.scenes[item], corner=self.corner, options=self.options)

    def attempt(self, item: int) -> MatchPixels | str:
        """The same, or why they cannot be had."""
        try:
            return self.load(item)
        except CoregError as error:
            return str(error)


def load_scene(scene: PlacedScene, *, corner: Shift, options: MatchOptions) -> MatchPixels:
    """All match pixels of a scene, in the frame that counts from the anchor's first pixel."""
    pixels = load_match(scene, options.bands, mean=options.mean, reach=None)
    y, x = (own - first for own, first in zip(pixels.source.origin, corner, strict=True))
    return replace(pixels, source=replace(pixels.source, origin=Shift(y, x)))


def _prepare_scene(everyone: NDArray[np.object_]) -> Reference:
    stack: _SceneStack = everyone[0]
    return prepare(stack.load(stack.items.anchor))


def _sketch_scene(scenes: NDArray[np.object_], band: int, grid: GeoBox) -> NDArray[np.object_]:
    try:
        return boxed(sketch(*load_overview(scenes[0], band, grid)))
    except CoregError:
        return boxed(None)


def _plan_scenes(
    sketches: NDArray[np.object_], items: Items, boxes: Sequence[tuple[float, ...]]
) -> NDArray[np.object_]:
    return boxed(plan_by_looks(list(sketches), items.times, boxes, items.anchor))


def _match_scene(
    index: NDArray[np.int64],
    plans: NDArray[np.object_],
    everyone: NDArray[np.object_],
    reference: Reference,
) -> NDArray[np.object_]:
    own, plan, found = int(index[0]), plans[0], []
    stack: _SceneStack = everyone[0]
    anchor, options = stack.items.anchor, stack.options
    if own == anchor or (own not in plan.direct and not plan.duties[own]):
        return boxed([])
    pixels = stack.attempt(own)
    if isinstance(pixels, str):
        return boxed([PairMatch(first=anchor, second=own, shift=None, sigma=None, reason=pixels)])
    if own in plan.direct:
        found.append(match_with_anchor(reference, pixels, (anchor, own), options))
    partners = ((other, stack.attempt(other)) for other in plan.duties[own])
    return boxed(found + match_with_partners(pixels, own, partners, options))


def _solve(
    matches: NDArray[np.object_], sketches: NDArray[np.object_], items: Items, options: MatchOptions
) -> NDArray[np.object_]:
    every = [*items.settled, *(match for some in matches for match in some)]
    known: list[Sketch | None] = [*sketches, *[None] * (len(items.names) - len(sketches))]
    places = np.empty(len(sketches), object)
    places[:] = solve(every, known, items.names, items.anchor, options)[: len(sketches)]
    return places


def _conclude_scene(
    index: NDArray[np.int64],
    places: NDArray[np.object_],
    everyone: NDArray[np.object_],
    reference: Reference,
) -> NDArray[np.object_]:
    own, place, stack = int(index[0]), places[0], everyone[0]
    if own == stack.items.anchor:
        return boxed(anchor_quality(reference))
    try:
        pixels = stack.load(own)
        partner = None if place.partner is None else stack.load(place.partner)
    except CoregError as error:
        return boxed(failure(str(error), unreadable=True))
    return boxed(conclude(reference, partner, pixels, place, stack.options))


def _load_array(
    values: NDArray[Any],
    clear: NDArray[np.bool_] | None = None,
    *,
    nodata: float | None,
    origin: Shift,
    options: MatchOptions,
) -> NDArray[np.object_]:
    return boxed(match_pixels(values[0], None if clear is None else clear[0], nodata, origin, options))


def _sketch_array(pixels: NDArray[np.object_]) -> NDArray[np.object_]:
    return boxed(sketch_pixels(pixels[0]))


def _match_array(
    pixels: NDArray[np.object_],
    index: NDArray[np.int64],
    reference: Reference,
    items: Items,
    options: MatchOptions,
) -> NDArray[np.object_]:
    own = int(index[0])
    if own == items.anchor:
        return boxed([])
    return boxed([match_with_anchor(reference, pixels[0], (items.anchor, own), options)])


def _match_partner_arrays(
    own: int,
    pixels: NDArray[np.object_],
    others: Sequence[NDArray[np.object_]],
    positions: Sequence[int],
    *,
    options: MatchOptions,
) -> NDArray[np.object_]:
    partners = zip(positions, (other[0] for other in others), strict=True)
    return boxed(match_with_partners(pixels[0], own, partners, options))


def _conclude_array(
    own: int,
    pixels: NDArray[np.object_],
    others: Sequence[NDArray[np.object_]],
    positions: Sequence[int],
    places: NDArray[np.object_],
    reference: Reference,
    *,
    items: Items,
    options: MatchOptions,
) -> NDArray[np.object_]:
    place: Place = places[0]
    if own == items.anchor:
        return boxed(anchor_quality(reference))
    partner = None if place.partner is None else others[positions.index(place.partner)][0]
    return boxed(conclude(reference, partner, pixels[0], place, options))
