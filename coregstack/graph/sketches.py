"""Reduced images of all items, by which they are compared with each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.geometry.globe import together
from coregstack.geometry.lattice import offset, union
from coregstack.graph.blocks import boxed
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.matching.choices import Model
from coregstack.matching.options import MatchOptions
from coregstack.model import TERRAIN, Shift
from coregstack.network.sketch import SKETCH_SIDE, sketch
from coregstack.pixels.scene import PlacedScene

_NO_OBJECTS = np.empty(0, object)


def network_frame(items: Sequence[PlacedScene], anchor: int, lattice: GeoBox | None = None) -> GeoBox:
    """The smallest box on the anchor's lattice that holds the anchor and all scenes that lead to it by overlaps.

    `lattice` is taken in place of the anchor's own.
    """
    boxes = [item.scene.image.box for item in items]
    numbers = together(boxes)
    linked = [box for box, number in zip(boxes, numbers, strict=True) if number == numbers[anchor]]
    return union(linked, boxes[anchor] if lattice is None else lattice)


def network_place(scenes: Sequence[PlacedScene], anchor: int) -> tuple[list[PlacedScene], Shift]:
    """Scenes on the box of their lattice that holds them all, and the first pixel of their frame in that box.

    They come in one frame, that of the anchor.
    """
    own = scenes[anchor].lattice
    frame = union([scene.scene.image.box for scene in scenes], own)
    return [scene.on(frame) for scene in scenes], offset(own, frame)


def network_lattice(area: GeoBox, anchor: GeoBox, model: Model) -> Lattice:
    """The control lattice of the anchor's frame, with more nodes where items lie beyond it in an area.

    Patterns have one of the whole area.
    """
    row, col = offset(area, anchor)
    height, width = anchor.shape
    if model == TERRAIN:
        lattice = pattern_lattice((area.shape[0], area.shape[1]))
        first = lattice.origin
        return replace(lattice, origin=Shift(first.y + np.floor(row), first.x + np.floor(col)))
    return Lattice.of((height, width)).over(int(np.floor(row)), int(np.floor(col)), *area.shape)


def item_sketches(items: da.Array, options: MatchOptions, area: GeoBox | None = None) -> da.Array:
    """A `Sketch` of each item, or None where it cannot be read; one task each.

    Parameters
    ----------
    items : dask Array
        Of `MatchItem`.
    options : MatchOptions
        Its first band is the one that is looked at.
    area : GeoBox, optional
        What the reduced images of scenes behind files cover.
    """
    place = None if area is None else (area.shape, tuple(area.affine), str(area.crs))
    sketches: da.Array = da.map_blocks(
        _sketch, items, options=options, area=area, dtype=object, meta=_NO_OBJECTS,
        name="coregstack-sketch-" + tokenize(items.name, options, place),
    )  # fmt: skip
    return sketches


def _sketch(items: NDArray[np.object_], options: MatchOptions, area: GeoBox | None) -> NDArray[np.object_]:
    try:
        return boxed(sketch(*items[0].reduced(options, SKETCH_SIDE, area)))
    except CoregError:
        return boxed(None)
