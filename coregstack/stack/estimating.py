"""What estimating a stack means: which pixels are matched with which anchor, and what is told of each item."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack import graph
from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.geometry.lattice import crs_name, offset, overlaps, same_pixels
from coregstack.graph.network import Items, array_network, scene_network
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.quality import FIELDS, SCORE_VERSION
from coregstack.model import NO_SHIFT, Shift
from coregstack.network.steps import PairMatch
from coregstack.pixels.scene import PlacedScene
from coregstack.stack.anchor import AUTO, best_item
from coregstack.stack.conform import Stack, conform, find_anchor, item_times, with_known_dims
from coregstack.stack.provenance import pristine_clear, pristine_scenes

OUTSIDE = "outside"
"""What is named as the anchor where it is not an item of the stack."""


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
    mask: xr.DataArray | bool | None,
    options: MatchOptions,
    settled: tuple[PairMatch, ...] = (),
) -> xr.Dataset:
    """Lazy quality of a stack in its known form; `settled` are pairs with the anchor that are known already."""
    facts = {}
    if is_auto(anchor):
        anchor, facts["anchor_why"] = best_item(known)
    records = _records(known, anchor, mask, options, settled)
    quality = _quality(known, records, options).assign_attrs(facts)
    name = OUTSIDE if isinstance(anchor, xr.DataArray) else known.ids[find_anchor(known, anchor)]
    return quality.assign_attrs(anchor=name)


def is_auto(anchor: Any) -> bool:
    """Whether the anchor is still to be chosen."""
    return isinstance(anchor, str) and anchor == AUTO


def _records(
    stack: Stack,
    anchor: Hashable | xr.DataArray,
    mask: xr.DataArray | bool | None,
    options: MatchOptions,
    settled: tuple[PairMatch, ...],
) -> Any:
    inside = None if isinstance(anchor, xr.DataArray) else find_anchor(stack, anchor)
    if mask is None and inside is not None and (scenes := _match_scenes(stack, inside)) is not None:
        if options.method == "network":
            return scene_network(scenes, _items(stack, inside, settled), options)
        reference = graph.scene_reference(scenes[inside], options)
        return graph.scene_records(scenes, inside, reference, options)
    clear = _clear(stack, mask)
    data = stack.array.data[:, list(options.bands)]
    inner = replace(options, bands=tuple(range(len(options.bands))))
    if inside is not None:
        usable = None if clear is None else clear[inside : inside + 1]
        reference = graph.array_reference(data[inside : inside + 1], usable, stack.nodata, inner)
        origin = NO_SHIFT
    else:
        reference, origin = _outside(stack, anchor, options, inner)
    facts: dict[str, Any] = {"nodata": stack.nodata, "origin": origin}
    if options.method == "network":
        facts["in_memory"] = stack.given.chunks is None
        return array_network(data, clear, _items(stack, inside, settled), reference, inner, **facts)
    return graph.array_records(data, clear, inside, reference, inner, **facts)


def _items(stack: Stack, anchor: int | None, settled: tuple[PairMatch, ...]) -> Items:
    """What a network knows of the stack's items; an anchor from outside comes last."""
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


def _clear(stack: Stack, mask: xr.DataArray | bool | None) -> Any:
    if mask is None or mask is True:
        return None if stack.clear is None else stack.clear.data
    if mask is False:
        return None
    if isinstance(mask, xr.DataArray):
        mask = with_known_dims(mask)
    if not isinstance(mask, xr.DataArray) or set(mask.dims) != {"time", "y", "x"} or mask.dtype != bool:
        given = type(mask).__name__
        if isinstance(mask, xr.DataArray):
            given = f"{mask.dtype} with dims {mask.dims}"
        raise InvalidRequest(
            "mask has to be a bool DataArray with dims (time, y, x), True where a pixel may be used, or False "
            f"for none; {given} was given."
        )
    sizes = {dim: stack.array.sizes[dim] for dim in ("time", "y", "x")}
    if dict(mask.sizes) != sizes:
        raise InvalidRequest(f"The mask's sizes {dict(mask.sizes)} are not the stack's, {sizes}.")
    for dim in sizes:
        _check_labels(dim, mask, stack)
    mask = mask.transpose("time", "y", "x")
    return (mask if mask.chunks is not None else mask.chunk({"time": 1})).data


def _check_labels(dim: str, mask: xr.DataArray, stack: Stack) -> None:
    """Refuse a mask whose coordinate says that it lies elsewhere; without one, positions count."""
    if dim not in mask.coords or dim not in stack.array.coords:
        return
    labels, wanted = mask.coords[dim].values, stack.array.coords[dim].values
    if dim == "time":
        same = labels.dtype.kind == wanted.dtype.kind and bool(
            np.all((labels == wanted) | (pd.isna(labels) & pd.isna(wanted)))
        )
        hint = "mask.sel(time=stack.time) brings it into the stack's order"
    else:
        pixel = abs(stack.box.affine.a if dim == "x" else stack.box.affine.e)
        same = np.allclose(labels, wanted, rtol=0, atol=pixel / 2)
        hint = "mask.rio.reproject_match brings it onto the stack's grid, and sortby turns an axis round"
    if not same:
        raise InvalidRequest(
            f"The mask's coordinate {dim!r} is not the stack's: {hint}. If only the labels are wrong, "
            f"mask.drop_vars({dim!r}) makes the positions count."
        )


def _outside(stack: Stack, anchor: Any, options: MatchOptions, inner: MatchOptions) -> tuple[Any, Shift]:
    scene = anchor if "time" in anchor.dims else anchor.expand_dims(time=1)
    if "clear" in scene.coords and "time" not in scene.coords["clear"].dims:
        scene = scene.assign_coords(clear=scene.coords["clear"].expand_dims(time=1))
    other = conform(scene.drop_vars("id", errors="ignore"), [str(k) for k in range(scene.sizes["time"])])
    if len(other.ids) != 1 or len(other.bands) != len(stack.bands):
        raise InvalidStack(
            f"An anchor from outside is one scene with the stack's {len(stack.bands)} bands; it has "
            f"{len(other.ids)} times and {len(other.bands)} bands."
        )
    if (stack.box.crs is not None or other.box.crs is not None) and not same_pixels(other.box, stack.box):
        raise InvalidStack(
            f"The anchor ({crs_name(other.box)}, pixel {other.box.affine.a:g} x {other.box.affine.e:g}) has not the "
            f"stack's CRS and pixel size ({crs_name(stack.box)}, {stack.box.affine.a:g} x {stack.box.affine.e:g}). "
            "Bring one onto the other's grid first, for example with rio.reproject_match."
        )
    origin = NO_SHIFT if stack.box.crs is None else offset(stack.box, other.box)
    if stack.box.crs is not None and not overlaps(stack.box, other.box):
        raise InvalidStack("The anchor and the stack do not overlap.")
    clear = None if other.clear is None else other.clear.data
    data = other.array.data[:, list(options.bands)]
    return graph.array_reference(data, clear, other.nodata, inner), origin


def _quality(stack: Stack, records: Any, options: MatchOptions) -> xr.Dataset:
    variables = {
        field.name: ("time", graph.field(records, field), field.attrs)
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
