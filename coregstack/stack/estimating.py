"""Estimation for a stack: which pixels are matched with which anchor, and the quality of each item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.geometry.lattice import footprint
from coregstack.graph.datum import in_datum_records
from coregstack.graph.displaced import displacement_planes
from coregstack.graph.matched import array_items, field_values, records, reference, scene_items
from coregstack.graph.network import Items, array_network, scene_network
from coregstack.graph.sketches import network_frame, network_lattice, network_place
from coregstack.graph.terrain import terrain_records
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.matching.bands import BandPairs, pair_bands
from coregstack.matching.choices import ANCHOR_DATUM, OutputLattice
from coregstack.matching.estimators import estimator_name
from coregstack.matching.items import MatchItem, SceneItem
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.quality import FIELDS, SCORE_VERSION
from coregstack.matching.told import Frames
from coregstack.model import NO_SHIFT, Shift
from coregstack.network.dates import KnownTerrain
from coregstack.network.matches import PairMatch
from coregstack.pixels.scene import PlacedScene
from coregstack.stack.anchor import AUTO, best_item
from coregstack.stack.conform import Stack, conform, item_times
from coregstack.stack.heights import ANGLES
from coregstack.stack.lookup import find_anchor
from coregstack.stack.masks import Mask, stable_ground, usable_pixels
from coregstack.stack.measured import with_displacement, with_lattice
from coregstack.stack.outside import Outside, datum_references, frames, outside_anchor, stack_items
from coregstack.stack.provenance import pristine_clear, pristine_scenes, sources_of


def estimate_beside(
    stack: xr.DataArray,
    anchor: str,
    placed: Mapping[str, tuple[Shift, Shift]],
    settings: MatchSettings,
    terrain: KnownTerrain | None = None,
) -> xr.Dataset:
    """As `estimate`, where the places of some items are known already, from more than this stack.

    Parameters
    ----------
    stack : DataArray
        With ids.
    anchor : str
        Id of the anchor.
    placed : mapping
        Id to the shift that is left to be applied, and its sigma, px. The direct method does not need them.
    settings : MatchSettings
        How items are matched.
    terrain : KnownTerrain, optional
        Patterns that items follow, of ``model="terrain"``.

    Returns
    -------
    Dataset
        Lazy quality of all items.
    """
    known = conform(stack)
    first = find_anchor(known, anchor)
    settled = tuple(
        PairMatch(
            first=first, second=known.ids.index(item), shift=shift, sigma=sigma, reason="", settled=True
        )
        for item, (shift, sigma) in placed.items()
    )
    return estimate_stack(known, anchor, None, settings, settled, terrain=terrain)


def estimate_stack(
    known: Stack,
    anchor: Any,
    mask: Mask | None,
    settings: MatchSettings,
    settled: tuple[PairMatch, ...] = (),
    stable: xr.DataArray | None = None,
    lattice: OutputLattice = "items",
    terrain: KnownTerrain | None = None,
) -> xr.Dataset:
    """Lazy quality of a stack in its known form.

    Parameters
    ----------
    known : Stack
    anchor, mask, stable, lattice
        As `coregstack.estimate` takes them.
    settings : MatchSettings
        How items are matched.
    settled : tuple of PairMatch
        Pairs with the anchor that are known already.
    terrain : KnownTerrain, optional
        Patterns that are known already.
    """
    facts = {}
    if is_auto(anchor):
        anchor, facts["anchor_why"] = best_item(known)
    outside = outside_anchor(anchor, known.ids, item_times(known), sources_of(known))
    first = find_anchor(known, anchor) if outside is None else outside
    pairs = pair_bands(settings, known.held if outside is None else outside.held, known.held)
    references = datum_references(settings.holders, known.ids, item_times(known), sources_of(known))
    if isinstance(first, Outside):
        met = frames(first, known, lattice)
        pairs = replace(pairs, options=pairs.options.told_in(met.ratio))
        found, frame, nodes = _outside_records(known, first, met, mask, pairs, stable)
    else:
        found, frame, nodes = _records(known, first, mask, pairs, settled, stable, terrain)
    if settings.datum != ANCHOR_DATUM:
        alike = settings.with_reference
        against = {
            name: _reference_records(known, one, frame, mask, alike) for name, one in references.items()
        }
        position = first if isinstance(first, int) else None
        found = in_datum_records(found, known.ids, position, settings, against)
    quality = _quality(known, found, pairs.options).assign_attrs(facts, band=_scored(known, outside, pairs))
    if settings.model != "shift":
        quality = with_displacement(quality, displacement_planes(found, nodes.shape), frame, nodes)
    name = known.ids[first] if isinstance(first, int) else first.name
    return with_lattice(quality, frame).assign_attrs(anchor=name)


def is_auto(anchor: Any) -> bool:
    """Whether the anchor is still to be chosen."""
    return isinstance(anchor, str) and anchor == AUTO


def _scored(stack: Stack, outside: Outside | None, pairs: BandPairs) -> str:
    """What the scored band is called; two names where that of the anchor has another."""
    if pairs.options.mean:
        return "mean"
    bands = stack.bands if outside is None else outside.held.names
    own, other = bands[pairs.anchor[0]], stack.bands[pairs.item[0]]
    return other if own == other else f"{own},{other}"


def _records(
    stack: Stack,
    anchor: int,
    mask: Mask | None,
    pairs: BandPairs,
    settled: tuple[PairMatch, ...],
    stable: xr.DataArray | None,
    terrain: KnownTerrain | None,
) -> tuple[da.Array, GeoBox, Lattice]:
    """An `ItemQuality` for each item; the anchor's box, in whose frame items are matched; and its control lattice."""
    options = pairs.options
    known = Items(names=stack.ids, times=item_times(stack), anchor=anchor, settled=settled)
    together = options.method == "network"
    scenes = None if mask is not None else _match_scenes(stack, anchor, pairs)
    frame = stack.box if scenes is None else scenes[anchor].scene.image.box
    area = stack.box if scenes is None else network_frame(scenes, anchor)
    lattice = network_lattice(area if together else frame, frame, options.model)
    if options.model != "shift":
        known = replace(known, lattice=lattice)
    ground = None if stable is None else stable_ground(stack, stable, frame)
    if scenes is not None:
        placed, corner = network_place(scenes, anchor) if together else (scenes, NO_SHIFT)
        items = scene_items(placed, corner)
        first: MatchItem | da.Array = SceneItem(scene=placed[anchor], corner=corner)
        if together:
            prepared = reference(first, options, ground)
            return scene_network(items, placed, known, prepared, options), frame, lattice
    else:
        items, first = _array_items(stack, anchor, usable_pixels(stack, mask), pairs.held(stack.room))
    prepared = reference(first, options, ground)
    if together:
        return (
            array_network(items, known, prepared, options, in_memory=stack.given.chunks is None),
            frame,
            lattice,
        )
    if options.model == "terrain":
        shape, reread = (frame.shape[0], frame.shape[1]), scenes is None
        told = terrain_records(items, anchor, prepared, options, shape, reread=reread, known=terrain)
        return told, frame, pattern_lattice(shape)
    return records(items, anchor, prepared, options), frame, lattice


def _outside_records(
    stack: Stack,
    anchor: Outside,
    met: Frames,
    mask: Mask | None,
    pairs: BandPairs,
    stable: xr.DataArray | None,
) -> tuple[da.Array, GeoBox, Lattice]:
    """As `_records`, matched with an anchor that is no item; frame and control lattice are those that are told."""
    pairs.options.check_told()
    together = pairs.options.method == "network"
    told, matched = (_nodes(stack, frame, pairs.options) for frame in (met.told, met.matched))
    options, frame = pairs.options.told_over(told), met.matched
    ground = None if stable is None else stable_ground(stack, stable, frame)
    prepared = reference(anchor.item(pairs.anchor, frame), options, ground)
    scenes = pristine_scenes(stack) if mask is None and pristine_clear(stack) else None
    if scenes is not None:
        items = scene_items([scene.on(frame).only(pairs.item) for scene in scenes])
    else:
        held = pairs.held(stack.room)
        items = stack_items(stack, held.item, usable_pixels(stack, mask), frame)
    if options.model == "terrain" and not together:
        shape = frame.shape[0], frame.shape[1]
        found = terrain_records(items, None, prepared, options, shape, reread=scenes is None)
        return found, met.told, pattern_lattice(shape)
    if not together:
        return records(items, None, prepared, options), met.told, told
    # the anchor comes behind the items
    times = np.append(item_times(stack), np.datetime64("NaT", "ns"))
    known = Items(
        names=(*stack.ids, anchor.name),
        times=times,
        anchor=len(stack.ids),
        lattice=None if options.model == "shift" else matched,
    )
    return array_network(items, known, prepared, options, in_memory=False), met.told, told


def _reference_records(
    stack: Stack, image: Outside, frame: GeoBox, mask: Mask | None, settings: MatchSettings
) -> da.Array:
    """Records against an image that tells the datum, told in pixels of the anchor, whose box is `frame`."""
    met = frames(image, stack, "items", frame)
    pairs = pair_bands(settings, image.held, stack.held)
    pairs = replace(pairs, options=pairs.options.told_in(met.ratio))
    return _outside_records(stack, image, met, mask, pairs, None)[0]


def _nodes(stack: Stack, frame: GeoBox, options: MatchOptions) -> Lattice:
    """The control lattice of the frame of an anchor from outside, over the stack as well where it is a network."""
    apart = options.method == "network" and stack.box.crs is not None
    return network_lattice(footprint(stack.box, frame) if apart else frame, frame, options.model)


def _array_items(
    stack: Stack, anchor: int, clear: da.Array | None, pairs: BandPairs
) -> tuple[da.Array, da.Array]:
    """The items of an array, and the anchor among them."""
    items = array_items(stack.array.data[:, list(pairs.item)], clear, stack.ids, nodata=stack.empty)
    here = slice(anchor, anchor + 1)
    if pairs.anchor == pairs.item:
        return items, items[here]
    usable = None if clear is None else clear[here]
    own = array_items(stack.array.data[here, list(pairs.anchor)], usable, stack.ids[here], nodata=stack.empty)
    return da.concatenate([items[:anchor], own, items[anchor + 1 :]]), own


def _match_scenes(stack: Stack, anchor: int, pairs: BandPairs) -> list[PlacedScene] | None:
    """The scenes to match from their files, in the anchor's own frame; None if the stack was computed upon.

    They hold the match bands alone.
    """
    scenes = pristine_scenes(stack)
    if scenes is None or not pristine_clear(stack):
        return None
    box: GeoBox = scenes[anchor].scene.image.box
    return [scene.on(box).only(pairs.anchor if k == anchor else pairs.item) for k, scene in enumerate(scenes)]


def _quality(stack: Stack, found: da.Array, options: MatchOptions) -> xr.Dataset:
    wanted = {
        "",
        "network" if options.method == "network" else "",
        "datum" if options.known else "",
        "terrain" if options.model == "terrain" else "",
    }
    variables = {
        field.name: ("time", field_values(found, field), field.attrs)
        for field in FIELDS
        if field.only in wanted
    }
    coords: dict[str, Any] = {"id": ("time", np.array(stack.ids, object))}
    for name in ("time", "source", *ANGLES):
        if name in stack.array.coords:
            coords[name] = stack.array.coords[name].variable
    facts = {
        "threshold": options.threshold,
        "min_improvement": options.min_improvement,
        "matching_score_version": SCORE_VERSION,
        "method": options.method,
        "datum": options.datum_name,
        "estimator": estimator_name(options.estimator),
    }
    return xr.Dataset(variables, coords=coords, attrs=facts)
