"""The only room that builds dask graphs of items, each apart from the others: blocks in, blocks out, no arithmetic.

Layers are named by what they hold. That is also how a stack is known to be just a selection of what was opened
from files, so that its pixels may be taken from the files again in one interpolation.
"""

from coregstack.graph.blocks import boxed, object_array, scene_array
from coregstack.graph.matched import (
    array_records,
    array_reference,
    field,
    match_pixels,
    scene_records,
    scene_reference,
)
from coregstack.graph.moved import move_arrays, move_clear, move_scenes, moves
from coregstack.graph.opened import open_clear, open_pixels, origin_scenes
from coregstack.graph.written import DELIVERY, deliveries, records_of, scene_deliveries, slab_deliveries

__all__ = [
    "DELIVERY",
    "array_records",
    "array_reference",
    "boxed",
    "deliveries",
    "field",
    "match_pixels",
    "move_arrays",
    "move_clear",
    "move_scenes",
    "moves",
    "object_array",
    "open_clear",
    "open_pixels",
    "origin_scenes",
    "records_of",
    "scene_array",
    "scene_deliveries",
    "scene_records",
    "scene_reference",
    "slab_deliveries",
]
