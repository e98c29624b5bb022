"""When the items of a run were seen, and what they were read from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from coregstack.pixels.scene import Scene
from coregstack.stack.conform import Stack


def scene_facts(scenes: Iterable[Scene]) -> dict[str, Any]:
    """Times and sources of scenes, as `coregstack.run.result.RunResult` takes them."""
    read = list(scenes)
    return {
        "times": {scene.id: scene.time for scene in read if not np.isnat(scene.time)},
        "sources": {scene.id: scene.image.path for scene in read},
    }


def stack_facts(stack: Stack) -> dict[str, Any]:
    """Times and sources of a stack's items, of those that tell."""
    coords = stack.array.coords
    facts: dict[str, Any] = {"times": {}, "sources": {}}
    if "time" in coords and coords["time"].dtype.kind == "M":
        times = coords["time"].values.astype("datetime64[ns]")
        known = zip(stack.ids, times, strict=True)
        facts["times"] = {item: time for item, time in known if not np.isnat(time)}
    if "source" in coords and coords["source"].dims == ("time",):
        told = zip(stack.ids, coords["source"].values, strict=True)
        facts["sources"] = {item: str(where) for item, where in told if where}
    return facts
