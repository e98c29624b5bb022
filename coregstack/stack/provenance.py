"""Whether a stack still holds exactly the pixels of its files, and which files these are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import dask.array as da
import numpy as np

from coregstack.geometry.lattice import offset, same_pixels
from coregstack.graph.origin import origin_scenes
from coregstack.stack.conform import BAND_POSITION, Stack

if TYPE_CHECKING:
    from coregstack.pixels.scene import PlacedScene


def pristine_scenes(stack: Stack, *, moved: bool = False) -> list[PlacedScene] | None:
    """The scenes behind each time of a stack, placed on the stack's own box.

    Parameters
    ----------
    stack : Stack
        Any stack.
    moved : bool
        Whether an aligned stack counts, whose pixels are those of its files, but elsewhere.

    Returns
    -------
    list of PlacedScene or None
        None if the stack was not opened from files, or if anything but selecting, joining and rechunking
        was done with its pixels since.
    """
    return _scenes(stack, stack.array.data, moved=moved)


def pristine_clear(stack: Stack) -> bool:
    """Whether the usable mask of a stack is the one that belongs to its files."""
    return stack.clear is not None and _scenes(stack, stack.clear.data, moved=False) is not None


def sources_of(stack: Stack) -> tuple[str, ...]:
    """Paths of the files that the items of a stack were opened from; empty where they are not known."""
    told = stack.array.coords.get("source")
    return () if told is None else tuple(str(path) for path in np.atleast_1d(told.values))


def _scenes(stack: Stack, array: da.Array, *, moved: bool) -> list[PlacedScene] | None:
    found = origin_scenes(array, moved=moved)
    if found is None or stack.box.crs is None or not {"source", BAND_POSITION} <= set(stack.array.coords):
        return None
    by_item = {(scene.scene.id, scene.scene.image.path): scene for scene in found}
    sources = stack.array.coords["source"].values
    bands = [int(k) for k in np.atleast_1d(stack.array.coords[BAND_POSITION].values)]
    items = [by_item.get((i, str(source))) for i, source in zip(stack.ids, sources, strict=True)]
    placed = [item.on(stack.box) for item in items if item is not None and _holds(item, stack, bands)]
    if len(placed) < len(items):
        return None
    return [_with_bands(item, stack, bands) for item in placed]


def _holds(item: PlacedScene, stack: Stack, bands: list[int]) -> bool:
    """Whether the stack's box and bands are a cut-out of the placed scene's."""
    if not same_pixels(stack.box, item.lattice) or not set(bands) <= set(range(len(item.bands))):
        return False
    row, col = offset(stack.box, item.lattice)
    height, width = stack.box.shape
    inside = 0 <= row <= item.lattice.shape[0] - height and 0 <= col <= item.lattice.shape[1] - width
    return inside and row.is_integer() and col.is_integer()


def _with_bands(item: PlacedScene, stack: Stack, bands: list[int]) -> PlacedScene:
    """The scene with the bands that the stack holds, under its names, and with what is told there of classes."""
    classes = stack.classes if any(stack.classes) else ()
    return replace(item.only(bands), bands=stack.bands, classes=classes)
