"""One task an item: its pixels in, its `ItemQuality` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.graph.blocks import FIELD, boxed, flags, object_array
from coregstack.graph.memory import keep_memory
from coregstack.graph.settling import settled
from coregstack.matching.assess import (
    Reference,
    assess,
    prepare,
)
from coregstack.matching.decision import failure
from coregstack.matching.items import ArrayItem, MatchItem, SceneItem
from coregstack.matching.options import MatchOptions
from coregstack.matching.quality import BY_NAME, Field, column
from coregstack.model import NO_SHIFT, ItemQuality, Shift
from coregstack.pixels.raster import valid_values
from coregstack.pixels.regrid import match_planes
from coregstack.pixels.scene import PlacedScene


def scene_items(scenes: Sequence[PlacedScene], corner: Shift = NO_SHIFT) -> da.Array:
    """A `SceneItem` for each scene; no pixel is read before a task asks for it.

    Parameters
    ----------
    scenes : sequence of PlacedScene
        All on one box of the anchor's lattice.
    corner : Shift
        Position of the anchor's first pixel in that box.
    """
    return object_array("coregstack-items-", [SceneItem(scene=scene, corner=corner) for scene in scenes])


def array_items(
    values: da.Array,
    clear: da.Array | None,
    ids: Sequence[str],
    *,
    nodata: float | None,
    origin: Shift = NO_SHIFT,
    place: tuple[GeoBox, GeoBox] | None = None,
) -> da.Array:
    """An `ArrayItem` for each time of an array of match bands, dims (time, band, y, x).

    Parameters
    ----------
    values, clear : dask Array
        Match bands, and the usable mask of dims (time, y, x) where there is one.
    ids : sequence of str
        Item ids.
    nodata : float, optional
        Value of pixels without data.
    origin : Shift
        Position of the array's first pixel in the frame that counts from the anchor's.
    place : tuple of GeoBox, optional
        Where the array lies, and the box that its items are brought to, whose first pixel is the one at `origin`; by
        default they stay on the array's own lattice.
    """
    planes = [values.rechunk((1, -1, -1, -1)), "tbyx"]
    planes += [] if clear is None else [clear.rechunk((1, -1, -1)), "tyx"]
    items: da.Array = da.blockwise(
        _array_item, "t", object_array("coregstack-ids-", list(ids)), "t", *planes,
        nodata=nodata, origin=origin, place=place,
        concatenate=True, align_arrays=False, dtype=object, meta=np.empty(0, object),
    )  # fmt: skip
    return items


def reference(
    item: MatchItem | da.Array, options: MatchOptions, stable: NDArray[np.bool_] | None = None
) -> Delayed:
    """The anchor, prepared in one task; `item` is the anchor, or an array of it alone; `stable` as in `prepare`."""
    known = item.to_delayed().item() if isinstance(item, da.Array) else item
    prepared: Delayed = delayed(_prepare, pure=True)(known, options, stable)
    return prepared


def records(items: da.Array, anchor: int | None, reference: Delayed, options: MatchOptions) -> da.Array:
    """An `ItemQuality` for each item, one task each; `anchor` is its position, None where it is none of them."""
    assessed: da.Array = da.map_blocks(
        _assess, items, flags(items.shape[0], anchor), reference=reference, options=options,
        dtype=object, meta=np.empty(0, object),
        name="coregstack-quality-" + tokenize(items.name, anchor, reference.key),
    )  # fmt: skip
    return assessed


def field_values(records: da.Array, told: Field) -> da.Array:
    """One quality variable out of the records."""
    values: da.Array = da.map_blocks(
        _values, records, told=told.name, dtype=told.dtype, meta=np.empty(0, told.dtype),
        name=f"{FIELD}{told.name}-{tokenize(records.name, told.name)}",
    )  # fmt: skip
    return values


def _values(records: NDArray[np.object_], told: str) -> NDArray[Any]:
    one = BY_NAME[told]
    return column(one, np.array([one.get(record) for record in records], object))


def _array_item(
    ids: NDArray[np.object_],
    values: NDArray[Any],
    clear: NDArray[np.bool_] | None = None,
    *,
    nodata: float | None,
    origin: Shift,
    place: tuple[GeoBox, GeoBox] | None,
) -> NDArray[np.object_]:
    usable, planes = None if clear is None else clear[0], values[0]
    if place is not None:
        valid = valid_values(planes, nodata)
        planes = match_planes(planes, valid if usable is None else valid & usable, *place)
        usable, nodata = None, np.nan
    return boxed(ArrayItem(id=ids[0], values=planes, clear=usable, nodata=nodata, origin=origin))


def _prepare(
    item: MatchItem | NDArray[np.object_], options: MatchOptions, stable: NDArray[np.bool_] | None
) -> Reference | ItemQuality:
    """The anchor, or what becomes of every other item where it cannot be read any more."""
    known: MatchItem = item.item() if isinstance(item, np.ndarray) else item
    try:
        return prepare(known.load_anchor(options), stable)
    except CoregError as error:
        return failure(f"The anchor cannot be read: {error}", unreadable=True)


def _assess(
    items: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
) -> NDArray[np.object_]:
    keep_memory()
    item: MatchItem = items[0]
    return settled(
        reference,
        item,
        lambda known: assess(known, item.load(options), options),
        is_anchor=bool(is_anchor[0]),
    )
