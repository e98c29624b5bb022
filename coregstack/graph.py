"""The only module that builds dask graphs: blocks in, blocks out, no arithmetic.

Layers are named by what they hold (`LAYERS`). That is also how a stack is known to be just a selection of
what was opened from files, so that its pixels may be taken from the files again in one interpolation.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from coregstack.errors import CoregError
from coregstack.export.items import DeliverySettings, ItemPlan, ItemReport, deliver_item, quality_from
from coregstack.kernels.resample import translate, translate_mask
from coregstack.kernels.sources import ArraySource
from coregstack.matching import MatchOptions, Reference, anchor_quality, assess, prepare
from coregstack.model import NO_SHIFT, ItemQuality, Shift, Status
from coregstack.policy import ANCHOR_QUALITY, failure
from coregstack.raster import valid_values
from coregstack.scene import (
    MatchPixels,
    PlacedScene,
    band_mean,
    held_image,
    load_match,
    read_block,
    read_clear,
)

log = logging.getLogger(__name__)

SCENES = "coregstack-scenes-"
PIXELS = "coregstack-pixels-"
CLEAR = "coregstack-clear-"
ALIGNED = "coregstack-aligned-"
DELIVERY = "coregstack-delivery-"
FIELD = "coregstack-field-"
_INDEX = "coregstack-index-"
_SELECTIONS = ("getitem-", "rechunk-merge-", "rechunk-split-", "concatenate-", "transpose-")


# --- stacks behind files -------------------------------------------------------------------------


def open_pixels(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> da.Array:
    """Lazy pixels of scenes, dims (time, band, y, x), one time and all bands in a block."""
    first = items[0]
    scenes, rows, cols = _inputs(items, chunks)
    return da.blockwise(
        _read_pixels, "tbyx", scenes, "t", rows, "y", cols, "x",
        new_axes={"b": len(first.bands)}, dtype=np.dtype(first.dtype), align_arrays=False,
        meta=np.empty((0, 0, 0, 0), first.dtype), name=PIXELS + tokenize(items, chunks),
    )  # fmt: skip


def open_clear(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> da.Array:
    """Lazy mask of usable pixels of scenes, dims (time, y, x)."""
    scenes, rows, cols = _inputs(items, chunks)
    return da.blockwise(
        _read_clear, "tyx", scenes, "t", rows, "y", cols, "x",
        dtype=bool, align_arrays=False, meta=np.empty((0, 0, 0), bool), name=CLEAR + tokenize(items, chunks),
    )  # fmt: skip


def origin_scenes(array: da.Array, *, moved: bool) -> list[PlacedScene] | None:
    """The scenes whose pixels an array holds unchanged, or None if it was computed upon.

    An array is unchanged if its graph does nothing but read scenes, select, join and rechunk; and, where
    `moved` says so, move them.
    """
    readers = (PIXELS, CLEAR, ALIGNED) if moved else (PIXELS, CLEAR)
    graph = array.__dask_graph__()
    if not isinstance(graph, HighLevelGraph):
        return None
    found: list[PlacedScene] = []
    queue, seen = [array.name], set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith(SCENES):
            layer = graph.layers[name]
            found += [_literal(layer[key])[0] for key in sorted(layer)]
        elif name.startswith(readers):
            queue += [dep for dep in graph.dependencies[name] if dep.startswith(SCENES)]
        elif name.startswith(_SELECTIONS):
            queue += graph.dependencies[name]
        else:
            return None
    return found or None


def scene_array(items: Sequence[PlacedScene]) -> da.Array:
    """Scenes as a dask array of objects, one in each block."""
    return object_array(SCENES, items)


def object_array(prefix: str, values: Sequence[Any]) -> da.Array:
    """Values as a dask array of objects, one in each block, in a layer whose name begins with `prefix`."""
    name = prefix + tokenize(values)
    blocks: dict[Any, Any] = {(name, i): boxed(value) for i, value in enumerate(values)}
    layer = HighLevelGraph.from_collections(name, blocks)
    return da.Array(layer, name, ((1,) * len(values),), meta=np.empty(0, object))


def _inputs(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> tuple[da.Array, da.Array, da.Array]:
    height, width = items[0].lattice.shape
    return scene_array(items), _indexes(height, chunks[0]), _indexes(width, chunks[1])


def _indexes(size: int, chunk: int) -> da.Array:
    """0 to size - 1 in blocks: tells a task which rows or columns are its own."""
    starts = range(0, size, chunk)
    name = _INDEX + tokenize(size, chunk)
    blocks: dict[Any, Any] = {
        (name, i): np.arange(start, min(start + chunk, size)) for i, start in enumerate(starts)
    }
    sizes = tuple(min(chunk, size - start) for start in starts)
    return da.Array(HighLevelGraph.from_collections(name, blocks), name, (sizes,), dtype=np.int64)


def boxed(value: object) -> NDArray[np.object_]:
    """One value as an array of objects, the only one in its block."""
    out = np.empty(1, object)
    out[0] = value
    return out


def _literal(task: Any) -> Any:
    """The value of a graph node that is one, whichever way this version of dask wraps it."""
    return getattr(task, "value", task)


def _window(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[int, int, int, int]:
    return int(rows[0]), int(cols[0]), len(rows), len(cols)


def _read_pixels(scenes: NDArray[np.object_], rows: Any, cols: Any) -> NDArray[Any]:
    return read_block(scenes[0], _window(rows, cols))[None]


def _read_clear(scenes: NDArray[np.object_], rows: Any, cols: Any) -> NDArray[np.bool_]:
    return read_clear(scenes[0], _window(rows, cols))[None]


# --- quality -------------------------------------------------------------------------------------


def scene_reference(item: PlacedScene, options: MatchOptions) -> Delayed:
    """The anchor behind a file, prepared in one task."""
    return dask.delayed(_prepare_scene, pure=True)(item, options)


def array_reference(
    values: da.Array, clear: da.Array | None, nodata: float | None, options: MatchOptions
) -> Delayed:
    """The anchor in an array of dims (1, band, y, x), prepared in one task."""
    whole = values.rechunk(-1).to_delayed().item()
    usable = None if clear is None else clear.rechunk(-1).to_delayed().item()
    return dask.delayed(_prepare_array, pure=True)(whole, usable, nodata, options)


def scene_records(
    items: Sequence[PlacedScene], anchor: int | None, reference: Delayed, options: MatchOptions
) -> da.Array:
    """An `ItemQuality` for each scene, one task each."""
    return da.map_blocks(
        _assess_scene, scene_array(items), _flags(len(items), anchor), reference=reference, options=options,
        dtype=object, meta=np.empty(0, object),
        name="coregstack-quality-" + tokenize(items, anchor, reference.key),
    )  # fmt: skip


def array_records(
    values: da.Array,
    clear: da.Array | None,
    anchor: int | None,
    reference: Delayed,
    options: MatchOptions,
    *,
    nodata: float | None,
    origin: Shift,
) -> da.Array:
    """An `ItemQuality` for each time of an array of dims (time, band, y, x), one task each."""
    values = values.rechunk((1, -1, -1, -1))
    planes = [values, "tbyx"] + ([] if clear is None else [clear.rechunk((1, -1, -1)), "tyx"])
    return da.blockwise(
        _assess_array, "t", _flags(values.shape[0], anchor), "t", *planes,
        reference=reference, options=options, nodata=nodata, origin=origin, concatenate=True,
        align_arrays=False, dtype=object, meta=np.empty(0, object),
    )  # fmt: skip


def field(records: da.Array, name: str, get: Callable[[ItemQuality], Any], dtype: Any) -> da.Array:
    """One quality variable out of the records."""
    return da.map_blocks(
        _fields, records, get=get, out=dtype, dtype=dtype, meta=np.empty(0, dtype),
        name=f"{FIELD}{name}-{tokenize(records.name, name)}",
    )  # fmt: skip


def _flags(count: int, anchor: int | None) -> da.Array:
    return da.from_array(np.arange(count) == (-1 if anchor is None else anchor), chunks=1)


def _fields(records: NDArray[np.object_], get: Callable[[ItemQuality], Any], out: Any) -> NDArray[Any]:
    values = np.empty(len(records), out)
    for i, record in enumerate(records):
        values[i] = get(record)
    return values


def _prepare_scene(item: PlacedScene, options: MatchOptions) -> Reference | ItemQuality:
    """The anchor, or what becomes of every other item where it cannot be read any more."""
    try:
        return prepare(load_match(item, options.bands, mean=options.mean, reach=0, alone=True))
    except CoregError as error:
        return failure(f"The anchor cannot be read: {error}", unreadable=True)


def _prepare_array(
    values: NDArray[Any], clear: NDArray[np.bool_] | None, nodata: float | None, options: MatchOptions
) -> Reference:
    return prepare(match_pixels(values[0], None if clear is None else clear[0], nodata, NO_SHIFT, options))


def _assess_scene(
    scenes: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
) -> NDArray[np.object_]:
    if is_anchor[0]:
        return boxed(_anchor_quality(reference))
    if isinstance(reference, ItemQuality):
        return boxed(reference)
    try:
        pixels = load_match(scenes[0], options.bands, mean=options.mean, reach=options.max_shift)
        return boxed(assess(reference, pixels, options))
    except Exception as error:
        return boxed(_unmatched(scenes[0], error))


def _anchor_quality(reference: Reference | ItemQuality) -> ItemQuality:
    if isinstance(reference, ItemQuality):
        return replace(ANCHOR_QUALITY, details=reference.details, unreadable=True)
    return anchor_quality(reference)


def _unmatched(scene: PlacedScene, error: Exception) -> ItemQuality:
    """What becomes of a scene whose matching was stopped, so that it stops no other."""
    if isinstance(error, CoregError):
        return failure(str(error), unreadable=True)
    item = scene.scene.id
    log.error("item %s: not matched", item, exc_info=error, extra={"item": item})
    words = f"An unexpected error stopped its matching ({type(error).__name__}: {error}); please report it."
    return failure(words, unreadable=True)


def _assess_array(
    is_anchor: NDArray[np.bool_],
    values: NDArray[Any],
    clear: NDArray[np.bool_] | None = None,
    *,
    reference: Reference,
    options: MatchOptions,
    nodata: float | None,
    origin: Shift,
) -> NDArray[np.object_]:
    if is_anchor[0]:
        return boxed(anchor_quality(reference))
    item = match_pixels(values[0], None if clear is None else clear[0], nodata, origin, options)
    return boxed(assess(reference, item, options))


def match_pixels(
    values: NDArray[Any],
    clear: NDArray[np.bool_] | None,
    nodata: float | None,
    origin: Shift,
    options: MatchOptions,
) -> MatchPixels:
    """Match bands out of an item's pixels, dims (band, y, x)."""
    valid = valid_values(values, nodata)
    usable = valid if clear is None else valid & clear
    if options.mean:
        values, valid, usable = band_mean(values, valid, usable)
    return MatchPixels(source=ArraySource(values=values, usable=usable, origin=origin), valid=valid)


# --- delivery ------------------------------------------------------------------------------------


def records_of(*fields: Any) -> da.Array:
    """An `ItemQuality` for each time, put together from the variables of a quality Dataset.

    Where all variables are lazy and untouched, these are the very records that they were taken out of, whose
    evidence comes along.
    """
    arrays = [_by_time(f) for f in fields]
    records = _origin_records(arrays)
    if records is None:
        records = da.map_blocks(_join_fields, *arrays, dtype=object, meta=np.empty(0, object))
    return records


def _origin_records(fields: Sequence[da.Array]) -> da.Array | None:
    """The records behind variables, or None if anything but selecting was done with one of them."""
    found = {tuple(_record_key(f, k) for k in range(len(f))) for f in fields}
    keys = [key for key in next(iter(found)) if key is not None]
    if len(found) > 1 or len(keys) < len(fields[0]):
        return None
    names = {key[0] for key in keys}
    known: list[Any] = [da.Array(fields[0].dask, name, ((1,),), dtype=object) for name in names]
    name = "coregstack-records-" + tokenize(keys)
    graph = HighLevelGraph.from_collections(name, {(name, k): key for k, key in enumerate(keys)}, known)
    return da.Array(graph, name, ((1,) * len(keys),), meta=np.empty(0, object))


def _record_key(field: da.Array, position: int) -> tuple[str, int] | None:
    """The task that a variable's value for one time was taken out of."""
    key = (field.name, position)
    while key[0].startswith(_SELECTIONS):
        blocks = _needed_blocks(field, key)
        if len(blocks) != 1:
            return None
        (key,) = blocks
    return _needed_blocks(field, key)[0] if key[0].startswith(FIELD) else None


def _needed_blocks(array: da.Array, key: tuple[str, int]) -> list[tuple[str, int]]:
    """Blocks that a task of an array's graph takes; a selection may take its indexes from a task as well."""
    graph: Any = array.__dask_graph__()
    needed = graph.layers[key[0]].get_dependencies(key, graph.get_all_external_keys())
    return [block for block in needed if isinstance(block, tuple)]


def deliveries(plans: Sequence[ItemPlan], records: da.Array, settings: DeliverySettings) -> da.Array:
    """An `ItemReport` for each item, whose files one task writes."""
    boxes = object_array("coregstack-plans-", plans)
    return da.map_blocks(
        _deliver, boxes, records.rechunk(1), settings=settings,
        dtype=object, meta=np.empty(0, object), name=DELIVERY + tokenize(boxes.name, records.name, settings),
    )  # fmt: skip


def scene_deliveries(
    plans: Sequence[ItemPlan],
    items: Sequence[PlacedScene],
    anchor: int | None,
    reference: Delayed,
    options: MatchOptions,
    settings: DeliverySettings,
) -> da.Array:
    """An `ItemReport` for each scene, which one task matches and writes, so that it is decoded once."""
    boxes, scenes = object_array("coregstack-plans-", plans), scene_array(items)
    token = tokenize(boxes.name, scenes.name, anchor, reference.key, settings)
    return da.map_blocks(
        _match_and_deliver, boxes, scenes, _flags(len(items), anchor),
        reference=reference, options=options, settings=settings,
        dtype=object, meta=np.empty(0, object), name=DELIVERY + token,
    )  # fmt: skip


def slab_deliveries(
    values: da.Array, records: da.Array, ids: Sequence[str], write: Callable[..., ItemReport]
) -> da.Array:
    """An `ItemReport` for each time of an array of dims (time, band, y, x) that has no files behind it."""
    names = da.from_array(np.array(ids, object), chunks=1)
    return da.blockwise(
        _deliver_slab, "t", names, "t", records.rechunk(1), "t", values.rechunk((1, -1, -1, -1)), "tbyx",
        write=write, concatenate=True, align_arrays=False, dtype=object, meta=np.empty(0, object),
        name=DELIVERY + tokenize(values.name, records.name, ids),
    )  # fmt: skip


def _by_time(values: Any) -> da.Array:
    """A variable along time, lazy or not, in blocks of one."""
    return values.rechunk(1) if isinstance(values, da.Array) else da.from_array(np.asarray(values), chunks=1)


def _join_fields(*fields: NDArray[Any]) -> NDArray[np.object_]:
    return boxed(quality_from(*(field[0] for field in fields)))


def _deliver(
    plans: NDArray[np.object_], records: NDArray[np.object_], settings: DeliverySettings
) -> NDArray[np.object_]:
    return boxed(deliver_item(plans[0], records[0], settings))


def _match_and_deliver(
    plans: NDArray[np.object_],
    scenes: NDArray[np.object_],
    is_anchor: NDArray[np.bool_],
    reference: Reference | ItemQuality,
    options: MatchOptions,
    settings: DeliverySettings,
) -> NDArray[np.object_]:
    plan, scene = plans[0], scenes[0]
    if is_anchor[0]:
        return boxed(deliver_item(plan, _anchor_quality(reference), settings))
    if isinstance(reference, ItemQuality):
        return boxed(deliver_item(plan, reference, settings))
    try:
        with held_image(scene, options.bands) as held:
            # what is only matched with is let go before anything is written
            quality = assess(
                reference,
                load_match(scene, options.bands, mean=options.mean, reach=options.max_shift, held=held),
                options,
            )
            return boxed(deliver_item(plan, quality, settings, held))
    except Exception as error:
        return boxed(deliver_item(plan, _unmatched(scene, error), settings))


def _deliver_slab(
    ids: NDArray[np.object_],
    records: NDArray[np.object_],
    values: NDArray[Any],
    write: Callable[..., ItemReport],
) -> NDArray[np.object_]:
    return boxed(write(ids[0], records[0], values[0]))


# --- aligned pixels ------------------------------------------------------------------------------


def moves(status: da.Array, shift_y: da.Array, shift_x: da.Array) -> da.Array:
    """The shift that is applied at each time, shape (time, 2): zero unless it is coregistered."""
    arrays = [_by_time(a) for a in (status, shift_y, shift_x)]
    return da.blockwise(
        _moves, "ts", *(part for a in arrays for part in (a, "t")),
        new_axes={"s": 2}, dtype=np.float64, meta=np.empty((0, 0)),
    )  # fmt: skip


def move_scenes(
    items: Sequence[PlacedScene], move: da.Array, chunks: tuple[tuple[int, ...], ...], resampling: str
) -> da.Array:
    """Pixels of scenes, each moved, read from its file in one interpolation."""
    rows, cols = _chunked_indexes(chunks[2]), _chunked_indexes(chunks[3])
    first = items[0]
    return da.blockwise(
        _read_moved, "tbyx", scene_array(items), "t", move, "ts", rows, "y", cols, "x",
        resampling=resampling, new_axes={"b": len(first.bands)}, concatenate=True, align_arrays=False,
        dtype=np.dtype(first.dtype), meta=np.empty((0, 0, 0, 0), first.dtype),
        name=ALIGNED + tokenize(items, move.name, chunks, resampling),
    )  # fmt: skip


def move_arrays(values: da.Array, move: da.Array, resampling: str, nodata: float | None) -> da.Array:
    """Pixels of an array of dims (time, band, y, x), moved plane by plane; chunks as before."""
    planes = values.rechunk((1, 1, -1, -1))
    out = da.blockwise(
        _move_planes, "tbyx", planes, "tbyx", move, "ts",
        resampling=resampling, nodata=nodata, concatenate=True, align_arrays=False,
        dtype=values.dtype, meta=np.empty((0, 0, 0, 0), values.dtype),
    )  # fmt: skip
    return out.rechunk(values.chunks)


def move_clear(clear: da.Array, move: da.Array) -> da.Array:
    """A mask of dims (time, y, x), moved by nearest neighbour."""
    out = da.blockwise(
        _move_mask, "tyx", clear.rechunk((1, -1, -1)), "tyx", move, "ts",
        concatenate=True, align_arrays=False, dtype=bool, meta=np.empty((0, 0, 0), bool),
    )  # fmt: skip
    return out.rechunk(clear.chunks)


def _chunked_indexes(sizes: Iterable[int]) -> da.Array:
    sizes = tuple(sizes)
    return da.arange(sum(sizes), chunks=(sizes,))


def _moves(status: NDArray[Any], shift_y: NDArray[Any], shift_x: NDArray[Any]) -> NDArray[np.float64]:
    moved = status == Status.COREGISTERED
    shift = np.stack([shift_y, shift_x], axis=-1).astype(np.float64)
    return np.where(np.asarray(moved, bool)[:, None], shift, 0.0)


def _read_moved(
    scenes: NDArray[np.object_], move: NDArray[np.float64], rows: Any, cols: Any, resampling: str
) -> NDArray[Any]:
    return read_block(scenes[0], _window(rows, cols), Shift(*map(float, move[0])), resampling)[None]


def _move_planes(
    values: NDArray[Any], move: NDArray[np.float64], resampling: str, nodata: float | None
) -> NDArray[Any]:
    y, x = map(float, move[0])
    if (y, x) == NO_SHIFT:
        return values
    fill = 0 if nodata is None else nodata
    return translate(
        values[0], start=Shift(-y, -x), shape=values.shape[2:], kernel=resampling, nodata=nodata, fill=fill
    )[None]


def _move_mask(clear: NDArray[np.bool_], move: NDArray[np.float64]) -> NDArray[np.bool_]:
    y, x = map(float, move[0])
    return translate_mask(clear[0], start=Shift(-y, -x), shape=clear.shape[1:])[None]
