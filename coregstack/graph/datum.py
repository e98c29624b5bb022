"""Graphs that put the qualities of all items into another datum than the anchor: one small task beside one an item."""

from __future__ import annotations

from collections.abc import Sequence

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from coregstack.graph.blocks import boxed
from coregstack.kernels.displacement import about
from coregstack.matching.decision import in_datum
from coregstack.matching.options import MatchSettings
from coregstack.model import NO_SHIFT, ItemQuality, Shift, Status
from coregstack.network.datum import Datum, find_datum

_NO_OBJECTS = np.empty(0, object)
_UNKNOWN = np.full((2, 2), np.nan)


def in_datum_records(
    records: da.Array, names: Sequence[str], anchor: int | None, settings: MatchSettings
) -> da.Array:
    """Qualities in the datum that is asked for.

    Parameters
    ----------
    records : dask Array
        An `ItemQuality` for each item, relative to the anchor.
    names : sequence of str
        Ids of the items.
    anchor : int, optional
        Position of the anchor, None where it is none of them.
    settings : MatchSettings
        Its `datum`, and by what is decided.
    """
    holds = np.array([settings.datum == "mean" or name in settings.datum for name in names])
    name = tokenize(records.name, anchor, settings.datum, names)
    told = da.map_blocks(
        _numbers, records, dtype=object, meta=_NO_OBJECTS, name="coregstack-placed-" + name
    ).rechunk(-1)
    datum = da.map_blocks(
        _datum, told, holds=holds, anchor=anchor, chunks=(1,), dtype=object, meta=_NO_OBJECTS,
        name="coregstack-datum-" + name,
    )  # fmt: skip
    relative: da.Array = da.blockwise(
        _relative, "t", records.rechunk(1), "t", da.arange(len(names), chunks=1), "t", datum, "d",
        what="the weighted mean of {}" if settings.datum == "mean" else "the mean of {} that are trusted",
        settings=settings, concatenate=True, align_arrays=False, dtype=object, meta=_NO_OBJECTS,
    )  # fmt: skip
    return relative


def _numbers(records: NDArray[np.object_]) -> NDArray[np.object_]:
    """Shift and sigma of an item, shape (2, 2)."""
    one: ItemQuality = records[0]
    if one.status is Status.ANCHOR:
        return boxed(np.zeros((2, 2)))
    known = one.shift is not None and one.sigma is not None
    return boxed(np.array([one.shift, one.sigma]) if known else _UNKNOWN)


def _datum(told: NDArray[np.object_], holds: NDArray[np.bool_], anchor: int | None) -> NDArray[np.object_]:
    numbers = np.stack(list(told))
    return boxed(find_datum(numbers[:, 0], numbers[:, 1], holds, anchor))


def _relative(
    records: NDArray[np.object_],
    position: NDArray[np.int64],
    found: NDArray[np.object_],
    what: str,
    settings: MatchSettings,
) -> NDArray[np.object_]:
    one: ItemQuality = records[0]
    datum: Datum = found[0]
    own = NO_SHIFT if one.status is Status.ANCHOR else one.shift
    if own is None or one.unreadable or not datum.count:
        return boxed(one)
    mean, sigma = Shift(*datum.shift.tolist()), Shift(*datum.sigma[int(position[0])].tolist())
    if not np.isfinite(sigma).all():
        return boxed(one)
    items = "1 item" if datum.count == 1 else f"{datum.count} items"
    where = f"{what.format(items)}, ({mean.y:+.3f}, {mean.x:+.3f}) px from the anchor"
    shift = Shift(own.y - mean.y, own.x - mean.x)
    displacement = None if one.displacement is None else about(one.displacement, mean)
    return boxed(in_datum(one, shift, sigma, displacement, where, settings))
