"""The cube of a run: written anew from shifts that are known, or appended to one that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coregstack.api import apply
from coregstack.cube.mark import find_cube
from coregstack.cube.place import place_of
from coregstack.cube.write import to_zarr
from coregstack.matching.choices import Resampling
from coregstack.matching.options import MatchSettings
from coregstack.model import Status
from coregstack.pixels.scene import Scene
from coregstack.run.new_dates import append_scenes
from coregstack.run.result import RunResult
from coregstack.stack.opening import stack_scenes
from coregstack.stack.placing import unplaceable


def write_cube(
    store: Any, scenes: Sequence[Scene], anchor: Scene, result: RunResult, *, overwrite: bool
) -> None:
    """Write the cube of a run whose shifts are known; scenes that cannot be read or placed are left out."""
    reached = {report.id for report in result.reports if report.quality.shift is not None}
    placeable = [
        scene
        for scene in _readable(scenes, result)
        if unplaceable(scene, anchor, apart=scene.id in reached) is None
    ]
    to_zarr(apply(stack_scenes(placeable, anchor), result.to_quality()), store, overwrite=overwrite)


def grow_cube(
    store: Any,
    scenes: Sequence[Scene],
    anchor: Scene,
    result: RunResult,
    settings: MatchSettings,
    *,
    resampling: Resampling,
) -> None:
    """Append the scenes of a run to a cube, or write it where there is none yet.

    Parameters
    ----------
    store : path, URL, mapping or zarr Store
        Of the cube.
    scenes : sequence of Scene
        Those that cannot be read, or have no place on the anchor's lattice, are left out.
    anchor : Scene
        Of the run; the cube keeps its own.
    result : RunResult
        What the run found, for a cube that is new.
    settings : MatchSettings
        How scenes are matched with the dates of the cube.
    resampling : str
        How pixels are moved, as in `coregstack.append`.
    """
    place = place_of(store)
    mark = find_cube(place, overwrite=False)
    if mark is None or not mark.ready:
        write_cube(place, scenes, anchor, result, overwrite=False)
        return
    able = [s for s in _readable(scenes, result) if unplaceable(s, anchor, apart=True) is None]
    append_scenes(able, place, settings, resampling=resampling)


def _readable(scenes: Sequence[Scene], result: RunResult) -> list[Scene]:
    """Scenes of a run without those whose files were named as damaged; their pixels are not asked for again."""
    broken = {r.id for r in result.reports if r.problems and r.quality.status is Status.FAILED}
    return [scene for scene in scenes if scene.id not in broken]
