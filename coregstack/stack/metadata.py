"""Times of acquisition and source files of items."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from coregstack.pixels.scene import Scene
from coregstack.stack.conform import Stack


def scene_metadata(scenes: Iterable[Scene]) -> dict[str, Any]:
    """Times, sources and views of scenes, as `coregstack.run.result.RunResult` takes them."""
    read = list(scenes)
    return {
        "times": {scene.id: scene.time for scene in read if not np.isnat(scene.time)},
        "sources": {scene.id: scene.image.path for scene in read},
        "viewings": {scene.id: scene.viewing for scene in read if scene.viewing is not None},
    }


def stack_metadata(stack: Stack) -> dict[str, Any]:
    """Times and sources of a stack's items, where they are known."""
    coords = stack.array.coords
    metadata: dict[str, Any] = {"times": {}, "sources": {}}
    if "time" in coords and coords["time"].dtype.kind == "M":
        times = coords["time"].values.astype("datetime64[ns]")
        known = zip(stack.ids, times, strict=True)
        metadata["times"] = {item: time for item, time in known if not np.isnat(time)}
    if "source" in coords and coords["source"].dims == ("time",):
        named = zip(stack.ids, coords["source"].values, strict=True)
        metadata["sources"] = {item: str(where) for item, where in named if where}
    return metadata
