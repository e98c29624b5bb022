"""One task an item: its pixels in, its `ItemQuality` out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.export.displacement import read_displacement
from coregstack.graph.blocks import boxed, flags, object_array
from coregstack.kernels.lattice import Lattice
from coregstack.matching.assess import Reference, anchor_quality, assess, prepare
from coregstack.matching.decision import ANCHOR_QUALITY, failure
from coregstack.matching.items import ArrayItem, MatchItem, SceneItem
from coregstack.matching.options import MatchOptions
from coregstack.matching.quality import BY_NAME, Field, column
from coregstack.model import NO_SHIFT, ItemQuality, Shift
from coregstack.pixels.scene import PlacedScene

log = logging.getLogger(__name__)

FIELD = "coregstack-field-"


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
    """
    planes = [values.rechunk((1, -1, -1, -1)), "tbyx"]
    planes += [] if clear is None else [clear.rechunk((1, -1, -1)), "tyx"]
    items: da.Array = da.blockwise(
        _array_item, "t", object_array("coregstack-ids-", list(ids)), "t", *planes,
        nodata=nodata, origin=origin, concatenate=True, align_arrays=False, dtype=object, meta=np.empty(0, object),
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


def displacement_planes(found: da.Array, nodes: tuple[int, int]) -> da.Array:
    """Displacement of each record at the nodes of the control lattice: dims (time, 3, y, x) of dy, dx and sigma, px.

    An item that is displaced as one has its shift at every node, one whose shift is not known NaN.
    """
    planes: da.Array = da.blockwise(
        _planes, "tcyx", found, "t", nodes=nodes, new_axes={"c": 3, "y": nodes[0], "x": nodes[1]},
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32),
    )  # fmt: skip
    return planes


def displacement_files(
    paths: Sequence[str | None], qualities: Sequence[ItemQuality], anchor: GeoBox
) -> da.Array:
    """The same as `displacement_planes`, of items whose displacement lies in a file; each is read by its own task.

    Parameters
    ----------
    paths : sequence of str or None
        The file of each item, None where it was moved as one.
    qualities : sequence of ItemQuality
        What is known of each item.
    anchor : GeoBox
        The anchor's box.
    """
    nodes = Lattice.of((anchor.shape[0], anchor.shape[1])).shape
    planes: da.Array = da.blockwise(
        _file_planes, "tcyx", object_array("coregstack-displaced-", list(zip(paths, qualities, strict=True))), "t",
        anchor=anchor, nodes=nodes, new_axes={"c": 3, "y": nodes[0], "x": nodes[1]},
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32),
    )  # fmt: skip
    return planes


def _file_planes(known: NDArray[np.object_], anchor: GeoBox, nodes: tuple[int, int]) -> NDArray[np.float32]:
    path, quality = known[0]
    found = None if path is None else read_displacement(Path(path), anchor)
    return _planes(boxed(replace(quality, displacement=found)), nodes)


def _planes(found: NDArray[np.object_], nodes: tuple[int, int]) -> NDArray[np.float32]:
    record: ItemQuality = found[0]
    if record.displacement is not None:
        one = record.displacement
        return np.stack([one.y, one.x, one.sigma])[None].astype(np.float32)
    y, x = record.shift or (np.nan, np.nan)
    sigma = np.nan if record.sigma is None else max(record.sigma)
    planes = np.array([y, x, sigma], np.float32)[None, :, None, None]
    return np.broadcast_to(planes, (1, 3, *nodes)).copy()


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
) -> NDArray[np.object_]:
    usable = None if clear is None else clear[0]
    return boxed(ArrayItem(id=ids[0], values=values[0], clear=usable, nodata=nodata, origin=origin))


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
    if is_anchor[0]:
        return boxed(reference_quality(reference))
    if isinstance(reference, ItemQuality):
        return boxed(reference)
    item: MatchItem = items[0]
    try:
        return boxed(assess(reference, item.load(options), options))
    except Exception as error:
        return boxed(unmatched(item.id, error))


def reference_quality(reference: Reference | ItemQuality) -> ItemQuality:
    """The quality of the anchor itself, which may have become unreadable."""
    if isinstance(reference, ItemQuality):
        return replace(ANCHOR_QUALITY, details=reference.details, unreadable=True)
    return anchor_quality(reference)


def unmatched(item: str, error: Exception) -> ItemQuality:
    """What becomes of an item whose matching was stopped, so that it stops no other."""
    if isinstance(error, CoregError):
        return failure(str(error), unreadable=True)
    log.error("item %s: not matched", item, exc_info=error, extra={"item": item})
    words = f"An unexpected error stopped its matching ({type(error).__name__}: {error}); please report it."
    return failure(words, unreadable=True)
