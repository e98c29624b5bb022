"""Which scenes an array still holds unchanged, as the names of its layers say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
from dask.highlevelgraph import HighLevelGraph

from coregstack.graph.blocks import ALIGNED, CLEAR, PIXELS, SCENES, SELECTIONS, literal

if TYPE_CHECKING:
    from coregstack.pixels.scene import PlacedScene


def origin_scenes(array: da.Array, *, moved: bool) -> list[PlacedScene] | None:
    """The scenes whose pixels an array holds unchanged, or None if it was computed upon.

    An array is unchanged if its graph does nothing but read scenes, select, join and rechunk; and, where
    `moved` says so, move them.
    """
    readers = (PIXELS, CLEAR, ALIGNED) if moved else (PIXELS, CLEAR)
    graph = array.__dask_graph__()
    if not isinstance(graph, HighLevelGraph):
        return None
    found: list[PlacedScene] = []
    queue, seen = [array.name], set()
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith(SCENES):
            layer = graph.layers[name]
            found += [literal(layer[key])[0] for key in sorted(layer)]
        elif name.startswith(readers):
            queue += [dep for dep in graph.dependencies[name] if dep.startswith(SCENES)]
        elif name.startswith(SELECTIONS):
            queue += graph.dependencies[name]
        else:
            return None
    return found or None
