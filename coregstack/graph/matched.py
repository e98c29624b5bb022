"""One task an item: its pixels in, its `ItemQuality` out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dask
import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.delayed import Delayed
from numpy.typing import NDArray

from coregstack.errors import CoregError
from coregstack.graph.blocks import boxed, flags, scene_array
from coregstack.kernels.sources import ArraySource
from coregstack.matching.assess import Reference, anchor_quality, assess, prepare
from coregstack.matching.decision import ANCHOR_QUALITY, failure
from coregstack.matching.options import MatchOptions
from coregstack.matching.quality import BY_NAME, Field, column
from coregstack.model import NO_SHIFT, ItemQuality, Shift
from coregstack.pixels.raster import valid_values
from coregstack.pixels.scene import MatchPixels, PlacedScene, band_mean, load_match

log = logging.getLogger(__name__)

FIELD = "coregstack-field-"


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
        _assess_scene, scene_array(items), flags(len(items), anchor), reference=reference, options=options,
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
        _assess_array, "t", flags(values.shape[0], anchor), "t", *planes,
        reference=reference, options=options, nodata=nodata, origin=origin, concatenate=True,
        align_arrays=False, dtype=object, meta=np.empty(0, object),
    )  # fmt: skip


def field(records: da.Array, told: Field) -> da.Array:
    """One quality variable out of the records."""
    return da.map_blocks(
        _values, records, told=told.name, dtype=told.dtype, meta=np.empty(0, told.dtype),
        name=f"{FIELD}{told.name}-{tokenize(records.name, told.name)}",
    )  # fmt: skip


def _values(records: NDArray[np.object_], told: str) -> NDArray[Any]:
    one = BY_NAME[told]
    return column(one, np.array([one.get(record) for record in records], object))


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
        return boxed(reference_quality(reference))
    if isinstance(reference, ItemQuality):
        return boxed(reference)
    try:
        pixels = load_match(scenes[0], options.bands, mean=options.mean, reach=options.max_shift)
        return boxed(assess(reference, pixels, options))
    except Exception as error:
        return boxed(unmatched(scenes[0], error))


def reference_quality(reference: Reference | ItemQuality) -> ItemQuality:
    """What is said of the anchor itself, which may have become unreadable."""
    if isinstance(reference, ItemQuality):
        return replace(ANCHOR_QUALITY, details=reference.details, unreadable=True)
    return anchor_quality(reference)


def unmatched(scene: PlacedScene, error: Exception) -> ItemQuality:
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
