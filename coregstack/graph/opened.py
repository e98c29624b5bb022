"""Lazy pixels of scenes, and whether an array still holds just these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from coregstack.graph.blocks import CLEAR, PIXELS, scene_array, window
from coregstack.pixels.scene import PlacedScene, read_block, read_clear

_INDEX = "coregstack-index-"


def open_pixels(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> da.Array:
    """Lazy pixels of scenes, dims (time, band, y, x), one time and all bands in a block."""
    first = items[0]
    scenes, rows, cols = _inputs(items, chunks)
    pixels: da.Array = da.blockwise(
        _read_pixels, "tbyx", scenes, "t", rows, "y", cols, "x",
        new_axes={"b": len(first.bands)}, dtype=np.dtype(first.dtype), align_arrays=False,
        meta=np.empty((0, 0, 0, 0), first.dtype), name=PIXELS + tokenize(items, chunks),
    )  # fmt: skip
    return pixels


def open_clear(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> da.Array:
    """Lazy mask of usable pixels of scenes, dims (time, y, x)."""
    scenes, rows, cols = _inputs(items, chunks)
    clear: da.Array = da.blockwise(
        _read_clear, "tyx", scenes, "t", rows, "y", cols, "x",
        dtype=bool, align_arrays=False, meta=np.empty((0, 0, 0), bool), name=CLEAR + tokenize(items, chunks),
    )  # fmt: skip
    return clear


def _inputs(items: Sequence[PlacedScene], chunks: tuple[int, int]) -> tuple[da.Array, da.Array, da.Array]:
    height, width = items[0].lattice.shape
    return scene_array(items), _indexes(height, chunks[0]), _indexes(width, chunks[1])


def _indexes(size: int, chunk: int) -> da.Array:
    """0 to size - 1 in blocks: the rows or columns of each task."""
    starts = range(0, size, chunk)
    name = _INDEX + tokenize(size, chunk)
    blocks: dict[Any, Any] = {
        (name, i): np.arange(start, min(start + chunk, size)) for i, start in enumerate(starts)
    }
    sizes = tuple(min(chunk, size - start) for start in starts)
    return da.Array(HighLevelGraph.from_collections(name, blocks), name, (sizes,), dtype=np.int64)


def _read_pixels(scenes: NDArray[np.object_], rows: Any, cols: Any) -> NDArray[Any]:
    return read_block(scenes[0], window(rows, cols))[None]


def _read_clear(scenes: NDArray[np.object_], rows: Any, cols: Any) -> NDArray[np.bool_]:
    return read_clear(scenes[0], window(rows, cols))[None]
