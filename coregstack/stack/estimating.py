"""Estimation for a stack: which pixels are matched with which anchor, and the quality of each item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidStack
from coregstack.geometry.lattice import crs_name, offset, overlaps, same_pixels
from coregstack.graph.datum import in_datum_records
from coregstack.graph.displaced import displacement_planes
from coregstack.graph.matched import array_items, field_values, records, reference, scene_items
from coregstack.graph.network import Items, array_network, scene_network
from coregstack.graph.sketches import network_frame, network_lattice, network_place
from coregstack.graph.terrain import terrain_records
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.matching.bands import BandPairs, pair_bands
from coregstack.matching.choices import ANCHOR_DATUM
from coregstack.matching.estimators import estimator_name
from coregstack.matching.items import MatchItem, SceneItem
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.quality import FIELDS, SCORE_VERSION
from coregstack.model import NO_SHIFT, OUTSIDE, Shift
from coregstack.network.steps import PairMatch
from coregstack.pixels.scene import PlacedScene
from coregstack.stack.anchor import AUTO, best_item
from coregstack.stack.conform import Stack, conform, item_times
from coregstack.stack.lookup import find_anchor
from coregstack.stack.masks import Mask, stable_ground, usable_pixels
from coregstack.stack.measured import with_displacement, with_lattice
from coregstack.stack.provenance import pristine_clear, pristine_scenes


def estimate_beside(
    stack: xr.DataArray, anchor: str, placed: Mapping[str, tuple[Shift, Shift]], settings: MatchSettings
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
    return estimate_stack(known, anchor, None, settings, settled)


def estimate_stack(
    known: Stack,
    anchor: Hashable | xr.DataArray,
    mask: Mask | None,
    settings: MatchSettings,
    settled: tuple[PairMatch, ...] = (),
    stable: xr.DataArray | None = None,
) -> xr.Dataset:
    """Lazy quality of a stack in its known form.

    Parameters
    ----------
    known : Stack
    anchor, mask, stable
        As `coregstack.estimate` takes them.
    settings : MatchSettings
        How items are matched.
    settled : tuple of PairMatch
        Pairs with the anchor that are known already.
    """
    facts = {}
    if is_auto(anchor):
        anchor, facts["anchor_why"] = best_item(known)
    outside = _outside(known, anchor) if isinstance(anchor, xr.DataArray | xr.Dataset) else None
    first = find_anchor(known, anchor) if outside is None else outside
    pairs = pair_bands(settings, known.held if outside is None else outside.stack.held, known.held)
    settings.check_datum(known.ids)
    found, frame, lattice = _records(known, first, mask, pairs, settled, stable)
    if settings.datum != ANCHOR_DATUM:
        found = in_datum_records(found, known.ids, first if isinstance(first, int) else None, settings)
    quality = _quality(known, found, pairs.options).assign_attrs(facts, band=_scored(known, outside, pairs))
    if settings.model != "shift":
        quality = with_displacement(quality, displacement_planes(found, lattice.shape), frame, lattice)
    name = known.ids[first] if isinstance(first, int) else OUTSIDE
    return with_lattice(quality, frame).assign_attrs(anchor=name)


def is_auto(anchor: Any) -> bool:
    """Whether the anchor is still to be chosen."""
    return isinstance(anchor, str) and anchor == AUTO


def _scored(stack: Stack, outside: _Outside | None, pairs: BandPairs) -> str:
    """What the scored band is called; two names where that of the anchor has another."""
    if pairs.options.mean:
        return "mean"
    bands = stack.bands if outside is None else outside.stack.bands
    own, other = bands[pairs.anchor[0]], stack.bands[pairs.item[0]]
    return other if own == other else f"{own},{other}"


def _records(
    stack: Stack,
    anchor: int | _Outside,
    mask: Mask | None,
    pairs: BandPairs,
    settled: tuple[PairMatch, ...],
    stable: xr.DataArray | None,
) -> tuple[da.Array, GeoBox, Lattice]:
    """An `ItemQuality` for each item; the anchor's box, in whose frame items are matched; and its control lattice."""
    options = pairs.options
    inside = anchor if isinstance(anchor, int) else None
    known = _items(stack, inside, settled)
    together = options.method == "network"
    scenes = None if mask is not None or inside is None else _match_scenes(stack, inside, pairs)
    if scenes is not None:
        frame = scenes[known.anchor].scene.image.box
        area = network_frame(scenes, known.anchor)
    else:
        frame = stack.box if isinstance(anchor, int) else anchor.stack.box
        area = stack.box
    lattice = network_lattice(area if together else frame, frame)
    if options.model != "shift":
        known = replace(known, lattice=lattice)
    ground = None if stable is None else stable_ground(stack, stable, frame)
    if scenes is not None:
        placed, corner = network_place(scenes, known.anchor) if together else (scenes, NO_SHIFT)
        items = scene_items(placed, corner)
        first: MatchItem | da.Array = SceneItem(scene=placed[known.anchor], corner=corner)
        if together:
            prepared = reference(first, options, ground)
            return scene_network(items, placed, known, prepared, options), frame, lattice
    else:
        items, first = _array_items(stack, inside, anchor, usable_pixels(stack, mask), pairs)
    prepared = reference(first, options, ground)
    if together:
        return (
            array_network(items, known, prepared, options, in_memory=stack.given.chunks is None),
            frame,
            lattice,
        )
    if options.model == "terrain":
        shape, reread = (frame.shape[0], frame.shape[1]), scenes is None
        told = terrain_records(items, inside, prepared, options, shape, reread=reread)
        return told, frame, pattern_lattice(shape)
    return records(items, inside, prepared, options), frame, lattice


def _array_items(
    stack: Stack, inside: int | None, anchor: Any, clear: da.Array | None, pairs: BandPairs
) -> tuple[da.Array, da.Array]:
    """The items of an array, and the anchor among them or from outside."""
    data = stack.array.data[:, list(pairs.item)]
    if inside is None:
        other = anchor.stack
        items = array_items(data, clear, stack.ids, nodata=stack.empty, origin=anchor.origin)
        usable = None if other.clear is None else other.clear.data
        first = other.array.data[:, list(pairs.anchor)]
        return items, array_items(first, usable, ("the anchor",), nodata=other.empty)
    items = array_items(data, clear, stack.ids, nodata=stack.empty)
    here = slice(inside, inside + 1)
    if pairs.anchor == pairs.item:
        return items, items[here]
    usable = None if clear is None else clear[here]
    own = array_items(stack.array.data[here, list(pairs.anchor)], usable, stack.ids[here], nodata=stack.empty)
    return da.concatenate([items[:inside], own, items[inside + 1 :]]), own


def _items(stack: Stack, anchor: int | None, settled: tuple[PairMatch, ...]) -> Items:
    """The items of a network: ids, times and anchor; an anchor from outside comes last."""
    if anchor is not None:
        return Items(names=stack.ids, times=item_times(stack), anchor=anchor, settled=settled)
    times = np.append(item_times(stack), np.datetime64("NaT", "ns"))
    return Items(names=(*stack.ids, "the anchor"), times=times, anchor=len(stack.ids))


def _match_scenes(stack: Stack, anchor: int, pairs: BandPairs) -> list[PlacedScene] | None:
    """The scenes to match from their files, in the anchor's own frame; None if the stack was computed upon.

    They hold the match bands alone.
    """
    scenes = pristine_scenes(stack)
    if scenes is None or not pristine_clear(stack):
        return None
    box: GeoBox = scenes[anchor].scene.image.box
    return [scene.on(box).only(pairs.anchor if k == anchor else pairs.item) for k, scene in enumerate(scenes)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Outside:
    """An anchor from outside."""

    stack: Stack
    """It alone, in its known form."""
    origin: Shift
    """Where the first pixel of the stack that is matched with it lies in its frame."""


def _outside(stack: Stack, anchor: xr.DataArray | xr.Dataset) -> _Outside:
    """An anchor from outside in its known form, and where the stack's first pixel lies in its frame."""
    other = conform(_one_time(anchor))
    if len(other.ids) != 1:
        raise InvalidStack(f"An anchor from outside is one scene, but this one has {len(other.ids)} times.")
    if (stack.box.crs is not None or other.box.crs is not None) and not same_pixels(other.box, stack.box):
        raise InvalidStack(
            f"The anchor ({crs_name(other.box)}, pixel {other.box.affine.a:g} x {other.box.affine.e:g}) does not have "
            f"the stack's CRS and pixel size ({crs_name(stack.box)}, {stack.box.affine.a:g} x {stack.box.affine.e:g}). "
            "Bring one onto the other's grid first, for example with rio.reproject_match."
        )
    if stack.box.crs is None:
        return _Outside(stack=other, origin=NO_SHIFT)
    if not overlaps(stack.box, other.box):
        bounds = (tuple(round(value, 6) for value in box.boundingbox.bbox) for box in (other.box, stack.box))
        raise InvalidStack(
            "The anchor and the stack do not overlap: in {2} their bounds (x, y, x, y) are {0} and {1}.".format(
                *bounds, crs_name(stack.box)
            )
        )
    return _Outside(stack=other, origin=offset(stack.box, other.box))


def _one_time(anchor: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """A scene from outside as a stack of one time."""
    scene = anchor if "time" in anchor.dims else anchor.expand_dims(time=1)
    if "clear" in scene.coords and "time" not in scene.coords["clear"].dims:
        scene = scene.assign_coords(clear=scene.coords["clear"].expand_dims(time=1))
    numbers = np.array([str(k) for k in range(scene.sizes["time"])], object)
    return scene.assign_coords(id=("time", numbers))


def _quality(stack: Stack, found: da.Array, options: MatchOptions) -> xr.Dataset:
    variables = {
        field.name: ("time", field_values(found, field), field.attrs)
        for field in FIELDS
        if not field.network or options.method == "network"
    }
    coords: dict[str, Any] = {"id": ("time", np.array(stack.ids, object))}
    for name in ("time", "source"):
        if name in stack.array.coords:
            coords[name] = stack.array.coords[name].variable
    facts = {
        "threshold": options.threshold,
        "min_improvement": options.min_improvement,
        "matching_score_version": SCORE_VERSION,
        "method": options.method,
        "datum": options.datum if isinstance(options.datum, str) else ", ".join(options.datum),
        "estimator": estimator_name(options.estimator),
    }
    return xr.Dataset(variables, coords=coords, attrs=facts)
