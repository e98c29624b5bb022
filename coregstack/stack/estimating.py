"""Estimation for a stack: which pixels are matched with which anchor, and the quality of each item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidStack
from coregstack.geometry.lattice import crs_name, offset, overlaps, same_pixels
from coregstack.graph.matched import (
    array_items,
    displacement_planes,
    field_values,
    records,
    reference,
    scene_items,
)
from coregstack.graph.network import Items, array_network, scene_network
from coregstack.kernels.lattice import Lattice
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
    return estimate_stack(known, anchor, None, settings.bound(known.bands), settled)


def estimate_stack(
    known: Stack,
    anchor: Hashable | xr.DataArray,
    mask: Mask | None,
    options: MatchOptions,
    settled: tuple[PairMatch, ...] = (),
    stable: xr.DataArray | None = None,
) -> xr.Dataset:
    """Lazy quality of a stack in its known form.

    Parameters
    ----------
    known : Stack
    anchor, mask, stable
        As `coregstack.estimate` takes them.
    options : MatchOptions
    settled : tuple of PairMatch
        Pairs with the anchor that are known already.
    """
    facts = {}
    if is_auto(anchor):
        anchor, facts["anchor_why"] = best_item(known)
    found, frame = _records(known, anchor, mask, options, settled, stable)
    quality = _quality(known, found, options).assign_attrs(facts)
    if options.model != "shift":
        nodes = Lattice.of((frame.shape[0], frame.shape[1])).shape
        quality = with_displacement(quality, displacement_planes(found, nodes), frame)
    name = OUTSIDE if isinstance(anchor, xr.DataArray) else known.ids[find_anchor(known, anchor)]
    return with_lattice(quality, frame).assign_attrs(anchor=name)


def is_auto(anchor: Any) -> bool:
    """Whether the anchor is still to be chosen."""
    return isinstance(anchor, str) and anchor == AUTO


def _records(
    stack: Stack,
    anchor: Hashable | xr.DataArray,
    mask: Mask | None,
    options: MatchOptions,
    settled: tuple[PairMatch, ...],
    stable: xr.DataArray | None,
) -> tuple[da.Array, GeoBox]:
    """An `ItemQuality` for each item, and the anchor's box, in whose frame items are matched."""
    inside = None if isinstance(anchor, xr.DataArray) else find_anchor(stack, anchor)
    known = _items(stack, inside, settled)
    scenes = None if mask is not None or inside is None else _match_scenes(stack, inside)
    frame = _frame(stack, anchor) if scenes is None else scenes[known.anchor].scene.image.box
    ground = None if stable is None else stable_ground(stack, stable, frame)
    if scenes is not None and options.method == "network":
        return scene_network(scenes, known, options, ground), frame
    if scenes is not None:
        items = scene_items(scenes)
        first: MatchItem | da.Array = SceneItem(scene=scenes[known.anchor])
    else:
        items, first = _array_items(stack, inside, anchor, usable_pixels(stack, mask), options)
    prepared = reference(first, options, ground)
    if options.method == "network":
        return array_network(items, known, prepared, options, in_memory=stack.given.chunks is None), frame
    return records(items, inside, prepared, options), frame


def _array_items(
    stack: Stack, inside: int | None, anchor: Any, clear: da.Array | None, options: MatchOptions
) -> tuple[da.Array, da.Array]:
    """The items of an array, and the anchor among them or from outside."""
    data = stack.array.data[:, list(options.bands)]
    if inside is not None:
        items = array_items(data, clear, stack.ids, nodata=stack.empty)
        return items, items[inside : inside + 1]
    other, origin = _outside(stack, anchor)
    items = array_items(data, clear, stack.ids, nodata=stack.empty, origin=origin)
    usable = None if other.clear is None else other.clear.data
    first = other.array.data[:, list(options.bands)]
    return items, array_items(first, usable, ("the anchor",), nodata=other.empty)


def _frame(stack: Stack, anchor: Any) -> GeoBox:
    """The box of the anchor of an array: that of the stack, or its own where it is from outside."""
    return conform(_one_time(anchor)).box if isinstance(anchor, xr.DataArray) else stack.box


def _items(stack: Stack, anchor: int | None, settled: tuple[PairMatch, ...]) -> Items:
    """The items of a network: ids, times and anchor; an anchor from outside comes last."""
    if anchor is not None:
        return Items(names=stack.ids, times=item_times(stack), anchor=anchor, settled=settled)
    times = np.append(item_times(stack), np.datetime64("NaT", "ns"))
    return Items(names=(*stack.ids, "the anchor"), times=times, anchor=len(stack.ids))


def _match_scenes(stack: Stack, anchor: int) -> list[PlacedScene] | None:
    """The scenes to match from their files, in the anchor's own frame; None if the stack was computed upon."""
    scenes = pristine_scenes(stack)
    if scenes is None or not pristine_clear(stack):
        return None
    box: GeoBox = scenes[anchor].scene.image.box
    return [scene.on(box) for scene in scenes]


def _outside(stack: Stack, anchor: Any) -> tuple[Stack, Shift]:
    """An anchor from outside in its known form, and where the stack's first pixel lies in its frame."""
    other = conform(_one_time(anchor))
    if len(other.ids) != 1 or len(other.bands) != len(stack.bands):
        raise InvalidStack(
            f"An anchor from outside is one scene with the stack's {len(stack.bands)} bands; it has "
            f"{len(other.ids)} times and {len(other.bands)} bands."
        )
    if (stack.box.crs is not None or other.box.crs is not None) and not same_pixels(other.box, stack.box):
        raise InvalidStack(
            f"The anchor ({crs_name(other.box)}, pixel {other.box.affine.a:g} x {other.box.affine.e:g}) does not have "
            f"the stack's CRS and pixel size ({crs_name(stack.box)}, {stack.box.affine.a:g} x {stack.box.affine.e:g}). "
            "Bring one onto the other's grid first, for example with rio.reproject_match."
        )
    origin = NO_SHIFT if stack.box.crs is None else offset(stack.box, other.box)
    if stack.box.crs is not None and not overlaps(stack.box, other.box):
        raise InvalidStack("The anchor and the stack do not overlap.")
    return other, origin


def _one_time(anchor: xr.DataArray) -> xr.DataArray:
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
        "band": "mean" if options.mean else stack.bands[options.bands[0]],
    }
    return xr.Dataset(variables, coords=coords, attrs=facts)
