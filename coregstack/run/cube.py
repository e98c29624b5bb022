"""The cube of a run, written anew from shifts that are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coregstack.cube.write import to_zarr
from coregstack.matching.bands import position_of
from coregstack.matching.estimators import estimator_name
from coregstack.matching.options import MatchSettings
from coregstack.model import Status
from coregstack.pixels.scene import Scene
from coregstack.stack.applying import apply
from coregstack.stack.conform import conform
from coregstack.stack.opening import stack_scenes
from coregstack.stack.placing import unplaceable

if TYPE_CHECKING:
    from coregstack.run.result import RunResult


def write_cube(
    store: Any,
    scenes: Sequence[Scene],
    anchor: Scene,
    result: RunResult,
    settings: MatchSettings,
    *,
    overwrite: bool,
    sharding: bool,
) -> None:
    """Write the cube of a run whose shifts are known; scenes that cannot be read or placed are left out."""
    reached = {report.id for report in result.reports if report.quality.shift is not None}
    placeable = [
        scene
        for scene in readable(scenes, result)
        if unplaceable(scene, anchor, apart=scene.id in reached, lattice=result.lattice) is None
    ]
    first = next((scene for scene in placeable if scene.id == anchor.id), placeable[0])
    stack = stack_scenes(placeable, first, lattice=result.lattice)
    told = [band for band in settings.nearest if position_of(conform(stack).bands, band) is not None]
    how = {"method": settings.method, "estimator": estimator_name(settings.estimator)}
    quality = result.to_quality().assign_attrs(how)
    to_zarr(apply(stack, quality, nearest=told), store, overwrite=overwrite, sharding=sharding)


def readable(scenes: Sequence[Scene], result: RunResult) -> list[Scene]:
    """Scenes of a run without those whose files were named as damaged; their pixels are not asked for again."""
    broken = {r.id for r in result.reports if r.problems and r.quality.status is Status.FAILED}
    return [scene for scene in scenes if scene.id not in broken]
