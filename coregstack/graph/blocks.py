"""Values and scenes as dask arrays of objects, one in each block, and what else all graphs share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

if TYPE_CHECKING:
    from coregstack.pixels.scene import PlacedScene


SCENES = "coregstack-scenes-"
ALIGNED = "coregstack-aligned-"
MOVED = "coregstack-moved-"
MOVES = "coregstack-moves-"
IDS = "coregstack-ids-"
DISPLACED = "coregstack-displaced-by-"
FIELD = "coregstack-field-"
DELIVERY = "coregstack-delivery-"
PIXELS = "coregstack-pixels-"
CLEAR = "coregstack-clear-"
SELECTIONS = ("getitem-", "rechunk-merge-", "rechunk-split-", "concatenate-", "transpose-")


def object_array(prefix: str, values: Sequence[Any]) -> da.Array:
    """Values as a dask array of objects, one in each block, in a layer whose name begins with `prefix`."""
    name = prefix + tokenize(values)
    blocks: dict[Any, Any] = {(name, i): boxed(value) for i, value in enumerate(values)}
    layer = HighLevelGraph.from_collections(name, blocks)
    return da.Array(layer, name, ((1,) * len(values),), meta=np.empty(0, object))


def scene_array(items: Sequence[PlacedScene]) -> da.Array:
    """Scenes as a dask array of objects, one in each block."""
    return object_array(SCENES, items)


def boxed(value: object) -> NDArray[np.object_]:
    """One value as an array of objects, the only one in its block."""
    out = np.empty(1, object)
    out[0] = value
    return out


def literal(task: Any) -> Any:
    """The value of a graph node that is one, whichever way this version of dask wraps it."""
    return getattr(task, "value", task)


def by_time(values: Any) -> da.Array:
    """A variable along time, lazy or not, in blocks of one."""
    known = isinstance(values, da.Array)
    blocks: da.Array = values.rechunk(1) if known else da.from_array(np.asarray(values), chunks=1)
    return blocks


def without_classes(values: da.Array, classes: Sequence[int], clear: da.Array | None) -> da.Array:
    """Where the values of a band of classes are none of some classes, and `clear` where that is given."""
    usable: da.Array = ~da.isin(values, np.asarray(classes))
    both: da.Array = usable if clear is None else usable & clear
    return both


def flags(count: int, anchor: int | None) -> da.Array:
    """Whether each of `count` items is the anchor, one in each block."""
    chosen: da.Array = da.from_array(np.arange(count) == (-1 if anchor is None else anchor), chunks=1)
    return chosen


def window(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> tuple[int, int, int, int]:
    """First row, first column, rows and columns of the block that a task is to fill."""
    return int(rows[0]), int(cols[0]), len(rows), len(cols)
