"""The graph that writes dates: blocks in, objects in the store out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.core import flatten
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from coregstack.cube.journal import Done, check_run, finish_run, plain_values, record_date
from coregstack.cube.place import Place, sizes, writing
from coregstack.cube.template import CLEAR, Cube, dated, known_coords
from coregstack.model import Status
from coregstack.stack.nodes import DISPLACEMENT

_BLOCK = 2048
"""Rows and columns of small objects that one task writes, more or less."""
UNALIGNED = frozenset({Status.FAILED, Status.NO_IMPROVEMENT})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """Where the blocks of a cube go."""

    place: Place
    """Where the cube lies."""
    name: str
    """Its array of pixels."""
    arrays: dict[str, Any]
    """Its arrays by name."""
    record: Any
    """Array of the records of finished dates."""
    run: str
    """The run that writes."""

    @property
    def clear(self) -> Any:
        """Its array of usable pixels, or None."""
        return self.arrays.get(CLEAR)


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
        Computes to None once all dates are written and noted in the journal.
    """
    array = target.arrays[target.name]
    sides = block_sides(array)
    pixels = cube.array.data.rechunk((1, *(-1,) * (cube.array.ndim - 3), *sides))
    clear = None
    if target.clear is not None:
        clear = cube.array.coords[CLEAR].data.rechunk((1, *sides))
    lazy = {name: values.rechunk(1) for name, values in cube.lazy.items()}
    found = cube.displacement
    planes = [] if found is None else [found[name].data.rechunk((1, -1, -1)) for name in DISPLACEMENT]
    arrays = [array for array in (pixels, clear, *planes, *lazy.values()) if array is not None]
    graph = _optimized([*arrays, cube.array.data])
    name = f"write-cube-{uuid4().hex}"
    ends = []
    for date, slot in enumerate(slots):
        status = _status(cube, lazy, date) if mask else ""
        written = _add_blocks(graph, (name, date), target, slot, pixels, clear, status)
        if planes:
            written.append((f"{name}-displacement", date))
            graph[written[-1]] = (_write_planes, target, slot, [(one.name, date, 0, 0) for one in planes])
        values = [(lazy[coord].name, date) for coord in lazy]
        known = Done(fingerprint=cube.fingerprints[date], values=_known(cube, date), sizes={})
        ends.append((f"{name}-date", date))
        graph[ends[-1]] = (_finish_date, target, slot, known, list(lazy), values, written)
    graph[name] = (_finish, target, ends)
    return Delayed(name, HighLevelGraph.from_collections(name, graph, dependencies=()))


def block_sides(array: Any) -> tuple[int, int]:
    """Rows and columns that a task writes at once: those of a whole object, or of some where objects are small."""
    rows, cols = (array.shards or array.chunks)[-2:]
    return max(1, _BLOCK // rows) * rows, max(1, _BLOCK // cols) * cols


def _optimized(arrays: list[da.Array]) -> dict[Any, Any]:
    """One graph of some arrays, in which nothing that they share is computed twice.

    The arrays are optimized together: one by one, each would contain a copy of what they share.
    """
    graph = HighLevelGraph.merge(*(array.dask for array in arrays))
    return dict(da.optimize(graph, list(flatten([array.__dask_keys__() for array in arrays]))))


def _status(cube: Cube, lazy: dict[str, da.Array], date: int) -> Any:
    if "status" in lazy:
        return (lazy["status"].name, date)
    return str(cube.array.coords["status"].values[date])


def _known(cube: Cube, date: int) -> dict[str, Any]:
    """Coordinates on time of a date that are known already, without the times, which the journal has with the id."""
    found = {
        name: coord.values[date]
        for name, coord in known_coords(cube).items()
        if coord.dims == ("time",) and coord.dtype.kind in "biufOUT"
    }
    return plain_values(list(found), list(found.values()))


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
    array = target.arrays[target.name]
    check_run(target.place, target.run)
    with writing(target.place):
        array[(slice(slot, slot + 1), ..., *box)] = array.fill_value if hidden else pixels
        if target.clear is not None:
            target.clear[(slice(slot, slot + 1), *box)] = False if hidden else clear


def _write_planes(target: Target, slot: int, planes: list[np.ndarray]) -> None:
    check_run(target.place, target.run)
    with writing(target.place):
        for name, values in zip(DISPLACEMENT, planes, strict=True):
            target.arrays[name][slot : slot + 1] = values


def _finish_date(
    target: Target, slot: int, known: Done, names: list[str], values: list[np.ndarray], written: list[None]
) -> None:
    check_run(target.place, target.run)
    found = {name: sizes(target.place, name, "c", str(slot)) for name in dated(target.name, target.arrays)}
    short = {
        key.removeprefix(target.place.key("x")[:-1]): size
        for one in found.values()
        for key, size in one.items()
    }
    done = replace(known, values=known.values | plain_values(names, values), sizes=short)
    with writing(target.place):
        record_date(target.record, slot, done)


def _finish(target: Target, dates: list[None]) -> None:
    finish_run(target.place, target.arrays, target.run)
