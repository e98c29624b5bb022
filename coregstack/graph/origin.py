"""Which scenes an array still holds unchanged, and what they were moved by, as the names of its layers say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph

from coregstack.graph.blocks import (
    ALIGNED,
    CLEAR,
    DISPLACED,
    IDS,
    MOVED,
    MOVES,
    PIXELS,
    SCENES,
    SELECTIONS,
    literal,
)

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


def applied_moves(array: da.Array, ids: Sequence[str], *, found: bool = False) -> da.Array | None:
    """What the pixels of each item of an aligned array were moved by, an object of `Move` each.

    With `found`, the displacement that was found of each, applied or not; None where it is displaced as one.
    None where its graph does not tell that a displacement was given for all of them: that is lost once it was computed.
    """
    graph = array.__dask_graph__()
    if not isinstance(graph, HighLevelGraph):
        return None
    known: dict[str, tuple[str, int]] = {}
    for name in _moves_behind(graph, array.name):
        (named,) = (other for other in graph.dependencies[name] if other.startswith(IDS))
        layer = graph.layers[named]
        told = (
            next(other for other in graph.dependencies[name] if other.startswith(DISPLACED))
            if found
            else name
        )
        known |= {literal(layer[named, k])[0]: (told, k) for k in range(len(layer))}
    keys = [known.get(item) for item in ids]
    if None in keys:
        return None
    name = "coregstack-applied-" + tokenize(keys)
    sources: list[Any] = [da.Array(graph, key[0], ((1,),), dtype=object) for key in keys if key is not None]
    picked = HighLevelGraph.from_collections(name, {(name, k): key for k, key in enumerate(keys)}, sources)
    return da.Array(picked, name, ((1,) * len(keys),), meta=np.empty(0, object))


def _moves_behind(graph: HighLevelGraph, name: str) -> list[str]:
    """Layers that tell what pixels were moved by last."""
    found, queue, seen = [], [name], set()
    while queue:
        one = queue.pop()
        if one in seen:
            continue
        seen.add(one)
        if one.startswith((ALIGNED, MOVED)):
            found += [other for other in graph.dependencies[one] if other.startswith(MOVES)]
        else:
            queue += graph.dependencies[one]
    return found
