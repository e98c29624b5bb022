"""One task an item: its files written, an `ItemReport` out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from coregstack.export.deliver import deliver_item
from coregstack.export.plan import DeliverySettings, ItemPlan, ItemReport
from coregstack.graph.blocks import (
    DELIVERY,
    FIELD,
    SELECTIONS,
    boxed,
    by_time,
    object_array,
)
from coregstack.graph.memory import keep_memory
from coregstack.matching.assess import Reference, assess, reference_quality, unmatched
from coregstack.matching.options import MatchOptions
from coregstack.matching.quality import quality_of
from coregstack.model import Displacement, ItemQuality
from coregstack.pixels.scene import PlacedScene, cached_image, load_match


def records_of(fields: Mapping[str, Any], applied: da.Array | None = None) -> da.Array:
    """An `ItemQuality` for each time, put together from the variables of a quality Dataset, by name.

    Where all variables are lazy and untouched, these are the very records that they were taken out of, whose
    evidence comes along. The displacement is that of `applied`, an object of `Move` each, where this is known.
    """
    arrays = [by_time(values) for values in fields.values()]
    records = _origin_records(arrays)
    if records is None:
        records = da.map_blocks(
            _join_fields, *arrays, names=tuple(fields), dtype=object, meta=np.empty(0, object)
        )
    if applied is not None:
        records = da.map_blocks(_with_displacement, records, applied, dtype=object, meta=np.empty(0, object))
    return records


def _with_displacement(records: NDArray[np.object_], applied: NDArray[np.object_]) -> NDArray[np.object_]:
    move = applied[0]
    return boxed(replace(records[0], displacement=move if isinstance(move, Displacement) else None))


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
    while key[0].startswith(SELECTIONS):
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
    reports: da.Array = da.map_blocks(
        _deliver, boxes, records.rechunk(1), settings=settings,
        dtype=object, meta=np.empty(0, object), name=DELIVERY + tokenize(boxes.name, records.name, settings),
    )  # fmt: skip
    return reports


def scene_deliveries(
    plans: Sequence[ItemPlan],
    items: Sequence[PlacedScene],
    anchor: int | None,
    reference: Delayed,
    options: MatchOptions,
    settings: DeliverySettings,
) -> da.Array:
    """An `ItemReport` for each scene, which one task matches and writes, so that it is decoded once."""
    jobs = [_Job(plan, scene, k == anchor) for k, (plan, scene) in enumerate(zip(plans, items, strict=True))]
    about = "\n".join(
        f"{plan.id}\0{scene.scene.image.path}\0{scene.indexes}"
        for plan, scene in zip(plans, items, strict=True)
    )
    name = DELIVERY + tokenize(about, anchor, reference.key, settings)
    work = partial(_match_and_deliver, options=options, settings=settings)
    # one task an item, which holds what it is about: graphs of very many items are built and sent in seconds
    tasks: dict[Any, Any] = {(name, k): (work, job, reference.key) for k, job in enumerate(jobs)}
    known: list[Any] = [reference]
    graph = HighLevelGraph.from_collections(name, tasks, known)
    return da.Array(graph, name, ((1,) * len(jobs),), meta=np.empty(0, object))


@dataclass(frozen=True, slots=True)
class _Job:
    """What a task matches and writes."""

    plan: ItemPlan
    scene: PlacedScene
    is_anchor: bool


def slab_deliveries(
    values: da.Array, records: da.Array, ids: Sequence[str], write: Callable[..., ItemReport]
) -> da.Array:
    """An `ItemReport` for each time of an array of dims (time, band, y, x) that has no files behind it."""
    names = da.from_array(np.array(ids, object), chunks=1)
    reports: da.Array = da.blockwise(
        _deliver_slab, "t", names, "t", records.rechunk(1), "t", values.rechunk((1, -1, -1, -1)), "tbyx",
        write=write, concatenate=True, align_arrays=False, dtype=object, meta=np.empty(0, object),
        name=DELIVERY + tokenize(values.name, records.name, ids, write),
    )  # fmt: skip
    return reports


def _join_fields(*fields: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.object_]:
    return boxed(quality_of({name: values[0] for name, values in zip(names, fields, strict=True)}))


def _deliver(
    plans: NDArray[np.object_], records: NDArray[np.object_], settings: DeliverySettings
) -> NDArray[np.object_]:
    return boxed(deliver_item(plans[0], records[0], settings))


def _match_and_deliver(
    job: _Job, reference: Reference | ItemQuality, *, options: MatchOptions, settings: DeliverySettings
) -> NDArray[np.object_]:
    keep_memory()
    plan, scene = job.plan, job.scene
    if job.is_anchor:
        return boxed(deliver_item(plan, reference_quality(reference), settings))
    if isinstance(reference, ItemQuality):
        return boxed(deliver_item(plan, reference, settings))
    try:
        with cached_image(scene, options.bands) as cache:
            # what is only matched with is let go before anything is written
            quality = assess(
                reference,
                load_match(scene, options.bands, mean=options.mean, reach=options.max_shift, cache=cache),
                options,
            )
            return boxed(deliver_item(plan, quality, settings, cache))
    except Exception as error:
        return boxed(deliver_item(plan, unmatched(plan.id, error), settings))


def _deliver_slab(
    ids: NDArray[np.object_],
    records: NDArray[np.object_],
    values: NDArray[Any],
    write: Callable[..., ItemReport],
) -> NDArray[np.object_]:
    return boxed(write(ids[0], records[0], values[0]))
