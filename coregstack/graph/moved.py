"""Pixels and masks moved by the shift, or the displacement, of their item."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.graph.blocks import (
    ALIGNED,
    IDS,
    MOVED,
    MOVES,
    boxed,
    by_time,
    object_array,
    scene_array,
    window,
)
from coregstack.kernels.moving import move_image, move_mask
from coregstack.model import NO_SHIFT, Shift, Status
from coregstack.pixels.regrid import regridded, regridded_mask
from coregstack.pixels.scene import PlacedScene, read_block

Place = tuple[GeoBox, GeoBox]
"""Where an array lies, and the box of another lattice that it is brought to."""


def moves(
    ids: Sequence[str],
    status: da.Array,
    shift_y: da.Array,
    shift_x: da.Array,
    displacement: da.Array | None = None,
) -> da.Array:
    """What is applied to each item, an object of `Move` each: no shift unless it is coregistered.

    `displacement` holds a `Displacement` for each time, or None where the shift is the same everywhere. It is found
    again by `coregstack.graph.origin.applied_moves`.
    """
    given = [by_time(values) for values in (status, shift_y, shift_x)]
    name = "coregstack-shifts-"
    if displacement is not None:
        given += [by_time(displacement), object_array(IDS, ids)]
        name = MOVES
    applied: da.Array = da.blockwise(
        _moves, "t", *(part for values in given for part in (values, "t")),
        dtype=object, meta=np.empty(0, object), name=name + tokenize(*(values.name for values in given)),
    )  # fmt: skip
    return applied


def move_scenes(
    items: Sequence[PlacedScene], move: da.Array, chunks: tuple[tuple[int, ...], ...], resampling: str
) -> da.Array:
    """Pixels of scenes, each moved, read from its file in one interpolation."""
    rows, cols = _chunked_indexes(chunks[2]), _chunked_indexes(chunks[3])
    first = items[0]
    pixels: da.Array = da.blockwise(
        _read_moved, "tbyx", scene_array(items), "t", move, "t", rows, "y", cols, "x",
        resampling=resampling, new_axes={"b": len(first.bands)}, concatenate=True, align_arrays=False,
        dtype=np.dtype(first.dtype), meta=np.empty((0, 0, 0, 0), first.dtype),
        name=ALIGNED + tokenize(items, move.name, chunks, resampling),
    )  # fmt: skip
    return pixels


def move_arrays(
    values: da.Array,
    move: da.Array,
    resampling: str,
    nodata: float | None,
    nearest: Collection[int] = (),
    place: Place | None = None,
) -> da.Array:
    """Pixels of an array of dims (time, band, y, x), moved plane by plane; chunks as before, or of that size.

    Bands of positions in `nearest` are moved by nearest neighbour. With a `place`, all come onto another lattice in the
    same interpolation, and moves count its pixels.
    """
    planes = values.rechunk((1, 1, -1, -1))
    kernels = ["nearest" if k in nearest else resampling for k in range(values.shape[1])]
    out = da.blockwise(
        _move_planes, "tbyx", planes, "tbyx", move, "t", da.from_array(np.array(kernels, object), chunks=1), "b",
        nodata=nodata, place=place, adjust_chunks=_sizes(place), concatenate=True, align_arrays=False,
        dtype=values.dtype, meta=np.empty((0, 0, 0, 0), values.dtype),
        name=MOVED + tokenize(planes.name, move.name, kernels, nodata, place),
    )  # fmt: skip
    moved: da.Array = out.rechunk(chunks_like(values.chunks, out.shape[2:]))
    return moved


def move_clear(clear: da.Array, move: da.Array, place: Place | None = None) -> da.Array:
    """A mask of dims (time, y, x), moved by nearest neighbour, `place` as in `move_arrays`."""
    out: da.Array = da.blockwise(
        _move_mask, "tyx", clear.rechunk((1, -1, -1)), "tyx", move, "t", place=place,
        adjust_chunks=_sizes(place), concatenate=True, align_arrays=False, dtype=bool, meta=np.empty((0, 0, 0), bool),
    )  # fmt: skip
    moved: da.Array = out.rechunk(chunks_like(clear.chunks, out.shape[1:]))
    return moved


def chunks_like(chunks: tuple[tuple[int, ...], ...], shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Chunks of an array whose rows and columns are `shape` instead: as large as they were."""
    sizes = (
        old
        if sum(old) == size
        else (max(old),) * (size // max(old)) + (size % max(old),) * (size % max(old) > 0)
        for old, size in zip(chunks[-2:], shape, strict=True)
    )
    return (*chunks[:-2], *sizes)


def _sizes(place: Place | None) -> dict[str, int] | None:
    return None if place is None else dict(zip("yx", place[1].shape, strict=True))


def _chunked_indexes(sizes: Iterable[int]) -> da.Array:
    sizes = tuple(sizes)
    indexes: da.Array = da.arange(sum(sizes), chunks=(sizes,))
    return indexes


def _moves(
    status: NDArray[Any],
    shift_y: NDArray[Any],
    shift_x: NDArray[Any],
    displacement: NDArray[np.object_] | None = None,
    _: NDArray[np.object_] | None = None,
) -> NDArray[np.object_]:
    if status[0] != Status.COREGISTERED:
        return boxed(NO_SHIFT)
    if displacement is not None and displacement[0] is not None:
        return boxed(displacement[0])
    return boxed(Shift(float(shift_y[0]), float(shift_x[0])))


def _read_moved(
    scenes: NDArray[np.object_], move: NDArray[np.object_], rows: Any, cols: Any, resampling: str
) -> NDArray[Any]:
    return read_block(scenes[0], window(rows, cols), move[0], resampling)[None]


def _move_planes(
    values: NDArray[Any],
    move: NDArray[np.object_],
    kernels: NDArray[np.object_],
    nodata: float | None,
    place: Place | None,
) -> NDArray[Any]:
    if place is not None:
        fill = 0 if nodata is None else nodata
        return regridded(values[0], *place, move=move[0], kernel=kernels[0], nodata=nodata, fill=fill)[None]
    if move[0] == NO_SHIFT:
        return values
    return move_image(values[0], move[0], kernels[0], nodata)[None]


def _move_mask(clear: NDArray[np.bool_], move: NDArray[np.object_], place: Place | None) -> NDArray[np.bool_]:
    if place is not None:
        return regridded_mask(clear[0], *place, move=move[0])[None]
    return move_mask(clear[0], move[0])[None]
