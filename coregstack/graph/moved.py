"""Pixels and masks moved by the shift of their item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from coregstack.graph.blocks import by_time, scene_array, window
from coregstack.graph.opened import ALIGNED
from coregstack.kernels.resample import translate, translate_mask
from coregstack.model import NO_SHIFT, Shift, Status
from coregstack.pixels.scene import PlacedScene, read_block


def moves(status: da.Array, shift_y: da.Array, shift_x: da.Array) -> da.Array:
    """The shift that is applied at each time, shape (time, 2): zero unless it is coregistered."""
    arrays = [by_time(a) for a in (status, shift_y, shift_x)]
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
    return read_block(scenes[0], window(rows, cols), Shift(*map(float, move[0])), resampling)[None]


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
