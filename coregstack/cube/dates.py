"""The graph that writes dates: blocks in, objects in the store out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
import zarr
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from coregstack.cube.memory import collect_records, record_date
from coregstack.cube.template import CLEAR, Cube
from coregstack.model import Status

UNALIGNED = frozenset({Status.FAILED, Status.NO_IMPROVEMENT})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Where the blocks of a cube go."""

    root: zarr.Group
    """The cube."""
    pixels: Any
    """Its array of pixels."""
    clear: Any
    """Its array of usable pixels, or None."""
    record: Any
    """Array of the records of finished dates."""


def write_dates(cube: Cube, target: Target, slots: list[int], *, mask: bool) -> Delayed:
    """Write all dates of a cube into given positions along time.

    Each date is one independent piece of the graph: its objects, then its record. Pixels, mask and
    quality share one graph, so nothing that they share is computed twice.

    Parameters
    ----------
    cube : Cube
        The dates to write, none else.
    target : Target
        Where to.
    slots : list of int
        Position along time of each date.
    mask : bool
        Whether dates that are not aligned get no pixels.

    Returns
    -------
    Delayed
        Computes to None once all dates are written and remembered.
    """
    sides = (target.pixels.shards or target.pixels.chunks)[-2:]
    pixels = cube.array.data.rechunk((1, *(-1,) * (cube.array.ndim - 3), *sides))
    clear = None
    if target.clear is not None:
        clear = cube.array.coords[CLEAR].data.rechunk((1, *sides))
    lazy = {name: values.rechunk(1) for name, values in cube.lazy.items()}
    arrays = [array for array in (pixels, clear, *lazy.values()) if array is not None]
    graph = _optimized([*arrays, cube.array.data])
    name = f"write-cube-{uuid4().hex}"
    ends = []
    for date, slot in enumerate(slots):
        status = _status(cube, lazy, date) if mask else ""
        written = _add_blocks(graph, (name, date), target, slot, pixels, clear, status)
        values = [(lazy[coord].name, date) for coord in lazy]
        fingerprint = cube.fingerprints[date]
        ends.append((f"{name}-date", date))
        graph[ends[-1]] = (_finish_date, target, slot, fingerprint, list(lazy), values, written)
    graph[name] = (_finish, target, ends)
    return Delayed(name, HighLevelGraph.from_collections(name, graph, dependencies=()))


def _optimized(arrays: list[da.Array]) -> dict[Any, Any]:
    """One graph of some arrays, in which nothing that they share is computed twice.

    The arrays are optimized together: one by one, each would swallow a copy of what they share.
    """
    graph = HighLevelGraph.merge(*(array.dask for array in arrays))
    return dict(da.optimize(graph, list(flatten([array.__dask_keys__() for array in arrays]))))


def _status(cube: Cube, lazy: dict[str, da.Array], date: int) -> Any:
    if "status" in lazy:
        return (lazy["status"].name, date)
    return str(cube.array.coords["status"].values[date])


def _add_blocks(
    graph: dict[Any, Any],
    prefix: tuple[str, int],
    target: Target,
    slot: int,
    pixels: da.Array,
    clear: da.Array | None,
    status: Any,
) -> list[Any]:
    name, date = prefix
    tops, lefts = (np.cumsum([0, *sizes[:-1]]).tolist() for sizes in pixels.chunks[-2:])
    keys = []
    for row, top in enumerate(tops):
        for col, left in enumerate(lefts):
            block = (pixels.name, date, *(0,) * (pixels.ndim - 3), row, col)
            usable = (clear.name, date, row, col) if clear is not None else None
            keys.append((f"{name}-block", date, row, col))
            graph[keys[-1]] = (_write_block, target, slot, top, left, block, usable, status)
    return keys


def _write_block(
    target: Target,
    slot: int,
    top: int,
    left: int,
    pixels: np.ndarray,
    clear: np.ndarray | None,
    status: Any,
) -> None:
    height, width = pixels.shape[-2:]
    box = (slice(top, top + height), slice(left, left + width))
    hidden = str(np.asarray(status).item()) in UNALIGNED
    target.pixels[(slice(slot, slot + 1), ..., *box)] = target.pixels.fill_value if hidden else pixels
    if target.clear is not None:
        target.clear[(slice(slot, slot + 1), *box)] = False if hidden else clear


def _finish_date(
    target: Target,
    slot: int,
    fingerprint: str,
    names: list[str],
    values: list[np.ndarray],
    written: list[None],
) -> None:
    record_date(target.record, slot, fingerprint, names, values)


def _finish(target: Target, dates: list[None]) -> None:
    collect_records(target.root)
