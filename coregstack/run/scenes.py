"""Files in, files out: whole runs over scenes, and aligned stacks written as GeoTIFF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from coregstack.api import apply, check_resampling
from coregstack.cube.memory import open_cube
from coregstack.cube.write import to_zarr
from coregstack.errors import CoregError, InvalidStack, UnreadableFile
from coregstack.export.deliver import DeliverySettings
from coregstack.export.files import resolved
from coregstack.export.slabs import SlabWriter
from coregstack.geometry.lattice import crs_of
from coregstack.graph.written import records_of, slab_deliveries
from coregstack.matching.options import match_options
from coregstack.matching.quality import fields_in, missing_in
from coregstack.model import OUTSIDE, Status
from coregstack.pixels.scene import Scene
from coregstack.run.execute import (
    Progress,
    check_apart,
    compute_items,
    deliver_records,
    file_plan,
    output_folder,
    run_fingerprint,
    run_items,
    scene_plans,
)
from coregstack.run.result import RunResult, write_table
from coregstack.stack.anchor import AUTO, best_scene
from coregstack.stack.conform import conform, scaling
from coregstack.stack.facts import scene_facts, stack_facts
from coregstack.stack.lookup import find_scene
from coregstack.stack.opening import scenes_of, stack_scenes, unreadable_files
from coregstack.stack.placing import check_anchor, unplaceable
from coregstack.stack.provenance import pristine_scenes
from coregstack.untrusted.names import check_item_id


def to_geotiffs(
    aligned: xr.DataArray,
    output: str | os.PathLike[str],
    *,
    cog: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Write one GeoTIFF and one JSON sidecar for each item of an aligned stack.

    A stack that was opened from files, and only selected from since, is written from these files: the anchor
    and items that are not shifted byte for byte, shifted items on the anchor's lattice with their whole
    footprint, interpolated once. Any other stack is written as its pixels are.

    Where the quality is still lazy, windows and small pictures are kept beside the items, so that
    `coregstack.report` and `coregstack.tie_points` of the folder show them; a quality that was computed first
    carries none.

    Parameters
    ----------
    aligned : DataArray
        What `align` or `apply` returned.
    output : path-like
        Folder to write to; it is made.
    cog : bool
        Whether shifted files are written as cloud-optimised GeoTIFF.
    overwrite : bool
        Whether items that an earlier run has written are written again.
    progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    RunResult
        What was written for each item, and the problems.

    Raises
    ------
    InvalidStack
        If the stack carries no quality, or no CRS.
    OutputConflict
        If the output overlaps the input.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack.testing import sample_stack
    >>> from coregstack import align
    >>> aligned = align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = to_geotiffs(aligned, folder)
    >>> [report.files[0].path.endswith("_coreg.tif") for report in result.reports]
    [False, True, True]
    """
    known = conform(aligned)
    missing = missing_in(aligned.coords)
    if missing:
        raise InvalidStack(f"The stack carries no {missing[0]!r}; pass what align or apply returned.")
    crs_of(known.box)
    for item in known.ids:
        check_item_id(item)
    folder = Path(output)
    anchor = str(aligned.attrs.get("coregstack_anchor", OUTSIDE))
    method = str(aligned.attrs.get("coregstack_method", "direct"))
    records = records_of({field.name: aligned.coords[field.name].data for field in fields_in(aligned.coords)})
    scenes = pristine_scenes(known, moved=True)
    with output_folder(folder, [Path(s.scene.image.path) for s in scenes or ()]):
        if scenes is None:
            writer = SlabWriter(
                output=str(resolved(folder)),
                anchor_id=anchor,
                box=known.box,
                nodata=known.nodata,
                bands=known.bands,
                scaling=scaling(known.array),
                method=method,
            )
            reports = compute_items(
                [slab_deliveries(known.array.data, records, known.ids, writer)],
                progress,
                total=len(known.ids),
            )
        else:
            boxes = {s.scene.id: s.scene.image.box for s in scenes}
            settings = DeliverySettings(
                output=str(resolved(folder)),
                anchor_id=anchor,
                anchor=boxes.get(anchor, known.box),
                resampling=aligned.attrs.get("coregstack_resampling", "cubic"),
                cog=cog,
                fingerprint=records.name,
                method=method,
            )
            plans = scene_plans([s.scene for s in scenes])
            reports = deliver_records(plans, records, settings, overwrite=overwrite, progress=progress)
    by_id = {report.id: report for report in reports}
    result = RunResult(
        output=str(folder),
        anchor=anchor,
        reports=tuple(by_id[i] for i in known.ids),
        **stack_facts(known),
    )
    write_table(result)
    return result


def run_scenes(
    paths: Sequence[str | os.PathLike[str]],
    *,
    anchor: Any,
    output: str | os.PathLike[str],
    zarr: Any = None,
    ids: Sequence[str] | None = None,
    times: Sequence[Any] | None = None,
    resampling: str = "cubic",
    cog: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> RunResult:
    """Align scenes and write them, one file and one sidecar an item; one bad scene does not stop the others.

    Parameters
    ----------
    paths : sequence of path-like
        GeoTIFF or JPEG 2000 files.
    anchor : str, int or time
        The anchor's id, file name, time or position; "auto" for the one that `rank_anchors` puts first, among
        the largest group of scenes that overlap; the notes of the result name the scenes that were left out.
    output : path-like
        Folder to write to; it is made.
    zarr : path or store, optional
        Where to write the aligned cube as well; see `coregstack.to_zarr`. If that fails after the items were
        written, it is named among the problems.
    ids, times : sequence, optional
        As in `coregstack.open_scenes`.
    resampling : str
        "cubic", "bilinear", "lanczos", "nearest", or "none": only geotransforms are moved.
    cog, overwrite, progress
        As in `to_geotiffs`.
    dry_run : bool
        Whether items are only matched and decided upon; nothing is written then.
    **options
        `band`, `max_shift`, `threshold`, `min_improvement`, `method` of `coregstack.estimate`.

    Returns
    -------
    RunResult
        What was done with every item, and the problems.

    Raises
    ------
    AnchorNotFound
        If no scene, or more than one, is the anchor.
    UnreadableFile
        If the anchor cannot be read.
    InvalidRequest, OutputConflict
        If the request cannot be honoured; nothing was written then.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack.testing import sample_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [f"{folder}/{name}.tif" for name in "abc"]
    ...     for path, scene in zip(paths, sample_stack(3, shape=(256, 256)), strict=True):
    ...         scene.drop_vars("clear").rio.to_raster(path)
    ...     result = run_scenes(paths, anchor="a", output=f"{folder}/out")
    >>> result.to_dataframe().status.to_dict()
    {'a': 'anchor', 'b': 'coregistered', 'c': 'coregistered'}
    """
    check_resampling(resampling)
    match_options(("1",), **{key: value for key, value in options.items() if key != "band"})
    scenes, unusable = scenes_of(paths, ids=ids, times=times)
    if not scenes:
        raise unreadable_files(unusable)
    reference, notes = _anchor(scenes, anchor, [u.id for u in unusable])
    match_options(reference.bands, **options)
    folder = Path(output)
    if isinstance(zarr, str | os.PathLike):
        check_apart(Path(zarr), map(Path, paths))
    if zarr is not None:
        open_cube(zarr, None, overwrite=overwrite)
    asked = {
        name: k for k, name in enumerate(ids if ids is not None else (Path(path).stem for path in paths))
    }
    with nullcontext() if dry_run else output_folder(folder, [Path(path) for path in paths]):
        plans = scene_plans(scenes) + [file_plan(u.id, u.path) for u in unusable]
        plans.sort(key=lambda plan: asked[plan.id])
        settings = DeliverySettings(
            output=str(resolved(folder)),
            anchor_id=reference.id,
            anchor=reference.image.box,
            resampling=resampling,
            cog=cog,
            fingerprint=run_fingerprint(reference, scenes, options),
            method=str(options.get("method", "direct")),
            dry_run=dry_run,
        )
        reports = run_items(
            plans,
            {scene.id: scene for scene in scenes},
            unusable,
            settings,
            partial(match_options, **options),
            network=options.get("method") == "network",
            overwrite=overwrite,
            progress=progress,
        )
        result = RunResult(
            output=str(folder),
            anchor=reference.id,
            reports=reports,
            dry_run=dry_run,
            notes=notes,
            **scene_facts(scenes),
        )
        if dry_run:
            return result
        write_table(result)
        if zarr is not None:
            try:
                write_cube(zarr, scenes, reference, result, overwrite=overwrite)
            except (CoregError, OSError) as error:
                # the items are delivered whatever fails here
                result = replace(result, faults=(*result.faults, f"cube: {error}"))
        return result


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


def _anchor(scenes: Sequence[Scene], anchor: Any, unreadable: Sequence[str]) -> tuple[Scene, tuple[str, ...]]:
    """The anchor, named or chosen, and what is to be said of the choice."""
    if isinstance(anchor, str) and anchor == AUTO:
        found, why, left_out = best_scene(scenes)
        check_anchor(found)
        apart = (
            f"Left out of the choice of the anchor: {item}. {reason}" for item, reason in left_out.items()
        )
        return found, (f"Chosen as the anchor: {why}", *apart)
    if isinstance(anchor, str) and Path(anchor).stem in unreadable:
        raise UnreadableFile(f"The anchor {anchor!r} cannot be read; choose another one or mend its file.")
    found = find_scene(scenes, anchor)
    check_anchor(found)
    return found, ()
