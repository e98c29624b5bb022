"""The cube of a run, written anew from shifts that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coregstack.cube.write import to_zarr
from coregstack.model import Status
from coregstack.pixels.scene import Scene
from coregstack.run.result import RunResult
from coregstack.stack.applying import apply
from coregstack.stack.opening import stack_scenes
from coregstack.stack.placing import unplaceable


def write_cube(
    store: Any, scenes: Sequence[Scene], anchor: Scene, result: RunResult, *, overwrite: bool
) -> None:
    """Write the cube of a run whose shifts are known; scenes that cannot be read or placed are left out."""
    reached = {report.id for report in result.reports if report.quality.shift is not None}
    placeable = [
        scene
        for scene in readable(scenes, result)
        if unplaceable(scene, anchor, apart=scene.id in reached) is None
    ]
    to_zarr(apply(stack_scenes(placeable, anchor), result.to_quality()), store, overwrite=overwrite)


def readable(scenes: Sequence[Scene], result: RunResult) -> list[Scene]:
    """Scenes of a run without those whose files were named as damaged; their pixels are not asked for again."""
    broken = {r.id for r in result.reports if r.problems and r.quality.status is Status.FAILED}
    return [scene for scene in scenes if scene.id not in broken]
