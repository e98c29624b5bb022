"""Files in, files out: whole runs over scenes, and aligned stacks written as GeoTIFF."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack, UnreadableFile
from coregstack.export.earlier import words_of_left
from coregstack.export.files import resolved
from coregstack.export.plan import DeliverySettings, ItemReport
from coregstack.export.slabs import SlabWriter
from coregstack.export.vrt import ONE_SHIFT, described
from coregstack.geometry.lattice import crs_of
from coregstack.graph.written import records_of, slab_deliveries
from coregstack.matching.choices import (
    MIN_IMPROVEMENT,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Method,
    Model,
    OutputLattice,
    Resampling,
)
from coregstack.matching.options import MatchSettings
from coregstack.matching.quality import fields_in, missing_in
from coregstack.model import OUTSIDE, Status, WindowEstimator
from coregstack.pixels.scene import Scene
from coregstack.run.execute import deliver_records
from coregstack.run.others import copy_others
from coregstack.run.places import local_paths, output_folder
from coregstack.run.plans import file_plan, scene_plans
from coregstack.run.request import RunItems, RunRequest, carry_out
from coregstack.run.result import RunResult, with_index, with_table
from coregstack.run.scheduler import Progress, compute_items
from coregstack.run.stores import into_stores
from coregstack.run.targets import begin, needed_names
from coregstack.stack.anchor import best_scene
from coregstack.stack.conform import Stack, conform, scaling
from coregstack.stack.dataset import stacked
from coregstack.stack.estimating import is_auto
from coregstack.stack.finding import FoundScenes, find_scenes
from coregstack.stack.lookup import find_scene
from coregstack.stack.measured import LATTICE, applied_in, frame_of
from coregstack.stack.metadata import stack_metadata
from coregstack.stack.opening import unreadable_files
from coregstack.stack.outside import outside_of
from coregstack.stack.placing import check_anchor
from coregstack.stack.provenance import pristine_scenes
from coregstack.untrusted.addresses import shown
from coregstack.untrusted.given import given_place
from coregstack.untrusted.names import check_item_id


@into_stores
def to_geotiffs(
    aligned: xr.DataArray | xr.Dataset,
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
    aligned : DataArray or Dataset
        What `align` or `apply` returned. Images of a Dataset become bands of one file, of a dtype that holds the
        numbers of all of them.
    output : path-like
        Folder to write to; it is made. Or an address in an object store, ``s3://bucket/folder``, ``gs://`` or ``az://``.
    cog : bool
        Whether shifted files are written as cloud-optimised GeoTIFF.
    overwrite : bool
        Whether items that an earlier run has written are written again.
    progress : callable, optional
        Called with the number of items done, and of all items.

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
    return _to_files(aligned, output, cog=cog, overwrite=overwrite, progress=progress)


def to_vrt(
    aligned: xr.DataArray | xr.Dataset,
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Describe the files of an aligned stack as they lie when they are aligned; no pixel is copied.

    Each item gets a VRT that names its file, relative to its own folder, with the moved geotransform, and its
    sidecar. Bands, nodata, masks and metadata stay what they are, and no pixel is interpolated, as by
    ``resampling="none"``. A file of another CRS than the anchor's is described as warped onto the anchor's lattice.
    ``index.gti.gpkg`` is a tile index of all of them, which GDAL opens as one mosaic and QGIS as footprints.

    Parameters
    ----------
    aligned : DataArray or Dataset
        What `align` or `apply` returned, of a stack that was opened from files and only selected from since.
    output : path-like
        Folder to write to; it is made. It may be moved together with the files that it describes.
    overwrite, progress
        As in `to_geotiffs`.

    Returns
    -------
    RunResult
        What was written for each item, and the problems: an item that is moved by a displacement that varies is named,
        and described as it lies.

    Raises
    ------
    InvalidStack
        If the stack carries no quality, or is not what its files hold.
    InvalidRequest
        If the quality is known, and moves an item by a displacement that varies.
    OutputConflict
        If the output overlaps the input.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import align, open_scenes
    >>> from coregstack.testing import sample_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [f"{folder}/{name}.tif" for name in "abc"]
    ...     for path, scene in zip(paths, sample_stack(3, shape=(256, 256)), strict=True):
    ...         scene.drop_vars("clear").rio.to_raster(path)
    ...     result = to_vrt(align(open_scenes(paths, anchor="a"), anchor="a"), f"{folder}/out")
    >>> [report.files[0].path for report in result.reports]
    ['a_anchor.vrt', 'b_coreg.vrt', 'c_coreg.vrt']
    """
    aligned = stacked(aligned) if isinstance(aligned, xr.Dataset) else aligned
    if aligned.attrs.get(LATTICE) == "anchor":
        raise InvalidRequest("A VRT leaves pixels as large as they are: align with lattice='items'.")
    _check_one_shift(aligned)
    return _to_files(aligned, output, vrt=True, overwrite=overwrite, progress=progress)


def _to_files(
    aligned: xr.DataArray | xr.Dataset,
    output: str | os.PathLike[str],
    *,
    cog: bool = False,
    vrt: bool = False,
    overwrite: bool,
    progress: Progress | None,
) -> RunResult:
    """Write a stack by its files, or by its pixels where it is not what these hold."""
    aligned = stacked(aligned) if isinstance(aligned, xr.Dataset) else aligned
    known = conform(aligned)
    missing = missing_in(aligned.coords)
    if missing:
        raise InvalidStack(f"The stack carries no {missing[0]!r}; pass what align or apply returned.")
    crs_of(known.box)
    for item in known.ids:
        check_item_id(item)
    folder = given_place(output, "output")
    anchor = _anchor_id(aligned)
    scenes = pristine_scenes(known, moved=True)
    if vrt and scenes is None:
        raise InvalidStack(
            "A VRT names the files that a stack was opened from, but this stack is not, or no longer, what such files "
            "hold. Describe what align returned of a stack of open_scenes or open_order, or use to_geotiffs."
        )
    frame = place = frame_of(aligned.attrs, known.box)
    if scenes is not None:
        place = {s.scene.id: s.scene.image.box for s in scenes}.get(anchor, known.box)
    records = records_of(
        {field.name: aligned.coords[field.name].data for field in fields_in(aligned.coords)},
        applied_in(known.array, known.ids, frame, place),
    )
    plans = scene_plans([s.scene for s in scenes or ()])
    if vrt:
        plans = [described(plan) for plan in plans]
    with output_folder(folder, local_paths(s.scene.image.path for s in scenes or ())) as claim:
        notes: tuple[str, ...] = ()
        if scenes is None:
            plans = [file_plan(i, f"{i}.tif") for i in known.ids]
            begin(plans, folder, overwrite=overwrite)
            writer = _slab_writer(aligned, known, frame, folder, claim, cog=cog)
            reports: Sequence[ItemReport] = compute_items(
                [slab_deliveries(known.array.data, records, known.ids, writer)],
                progress,
                total=len(known.ids),
                need=known.array.nbytes // len(known.ids),
            )
            made = {file.path for report in reports for file in report.files}
            others = frozenset[str]().union(*(plan.targets for plan in plans)) - made
            notes = words_of_left(sorted(name for name in others if os.path.lexists(folder / name)))
        else:
            settings = _delivery_settings(aligned, place, records.name, folder, claim, cog=cog, vrt=vrt)
            done = deliver_records(plans, records, settings, overwrite=overwrite, progress=progress)
            reports, notes = done.reports, done.notes
    by_id = {report.id: report for report in reports}
    result = RunResult(
        output=str(folder),
        anchor=anchor,
        reports=tuple(by_id[i] for i in known.ids),
        notes=notes,
        lattice=known.box if scenes is None else place,
        **stack_metadata(known),
    )
    result = with_table(result)
    return with_index(result) if vrt else result


def _check_one_shift(aligned: xr.DataArray) -> None:
    """Refuse a quality that is known already and moves an item by more than one shift."""
    if not {"model", "status"} <= set(aligned.coords):
        return
    models, states = (aligned.coords[name].data for name in ("model", "status"))
    if not isinstance(models, np.ndarray) or not isinstance(states, np.ndarray):
        return
    bent = [
        str(item)
        for item, model, state in zip(conform(aligned).ids, models, states, strict=True)
        if state == Status.COREGISTERED and model not in (None, "", "shift")
    ]
    if bent:
        raise InvalidRequest(f"{', '.join(bent[:5])} moved by more than one shift. {ONE_SHIFT}")


def _anchor_id(aligned: xr.DataArray) -> str:
    return str(aligned.attrs.get("coregstack_anchor", OUTSIDE))


def _slab_writer(
    aligned: xr.DataArray, known: Stack, frame: GeoBox, folder: Path, claim: str, *, cog: bool
) -> SlabWriter:
    """What writes the pixels of a stack as they are; `frame` is that of its displacements."""
    return SlabWriter(
        output=str(resolved(folder)),
        claim=claim,
        anchor_id=_anchor_id(aligned),
        box=known.box,
        frame=frame,
        nodata=known.nodata,
        bands=known.bands,
        scaling=scaling(known.array),
        classes=known.classes,
        cog=cog,
        method=str(aligned.attrs.get("coregstack_method", "direct")),
        estimator=str(aligned.attrs.get("coregstack_estimator", "coregstack")),
    )


def _delivery_settings(
    aligned: xr.DataArray, anchor: GeoBox, quality: str, folder: Path, claim: str, *, cog: bool, vrt: bool
) -> DeliverySettings:
    """How a stack is written from its files; `anchor` is the anchor's box, `quality` the name of the records."""
    return DeliverySettings(
        output=str(resolved(folder)),
        anchor_id=_anchor_id(aligned),
        anchor=anchor,
        resampling=aligned.attrs.get("coregstack_resampling", "cubic"),
        like_anchor=aligned.attrs.get(LATTICE) == "anchor",
        cog=cog,
        vrt=vrt,
        fingerprint=(("quality", quality),),
        claim=claim,
        method=str(aligned.attrs.get("coregstack_method", "direct")),
        estimator=str(aligned.attrs.get("coregstack_estimator", "coregstack")),
    )


@into_stores
def run_scenes(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    anchor: Any,
    output: str | os.PathLike[str],
    zarr: Any = None,
    sharding: bool = True,
    ids: Sequence[str] | None = None,
    times: Sequence[Any] | None = None,
    assets: str | None = None,
    mask: str | Sequence[str] | bool | None = None,
    band: Band | None = None,
    max_shift: float | None = None,
    threshold: float = SCORE_THRESHOLD,
    min_improvement: float = MIN_IMPROVEMENT,
    method: Method = "direct",
    nearest: Sequence[str | int] = (),
    model: Model = "shift",
    decide: Decide = "score",
    datum: Datum = "anchor",
    estimator: Estimator | WindowEstimator = "coregstack",
    resampling: Resampling = "cubic",
    lattice: OutputLattice = "items",
    cog: bool = False,
    vrt: bool = False,
    dem: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    check: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Align scenes and write them, each with all its files and one sidecar; one bad scene does not stop the others.

    Files of one acquisition are one item: it is matched in its finest bands, and all of them move by its one shift,
    each at its own pixel size, under the names and in the folders of the product. Which products are recognised is
    told in `coregstack.open_scenes`.

    Parameters
    ----------
    paths : path-like, or sequence of path-like
        GeoTIFF or JPEG 2000 files, folders, patterns and addresses, as in `coregstack.open_scenes`. Of a folder all
        files go out: what belongs to no item is copied as it is.
    anchor : str, int, time or path
        The anchor's id, file name, time or position; or the path of a scene from outside, of any CRS, pixel size,
        bands and extent, which is read but not delivered. "auto" for the one that `rank_anchors` puts first, among
        the largest group of scenes that overlap; the notes of the result name the scenes that were left out.
    output : path-like
        Folder to write to; it is made. Or an address in an object store, as for `to_geotiffs`.
    zarr : path or store, optional
        Where to write the aligned cube as well; see `coregstack.to_zarr`. If that fails after the items were
        written, it is named among the problems.
    sharding : bool
        Of that cube, as in `coregstack.to_zarr`.
    ids, times : sequence, optional
        As in `coregstack.open_scenes`.
    assets, mask : optional
        As in `coregstack.open_scenes`.
    band, max_shift, threshold, min_improvement, method, nearest, model, decide, datum, estimator
        As in `coregstack.estimate`. Scenes may have other bands than the anchor.
    resampling : str
        "cubic", "bilinear", "lanczos", "nearest", or "none": only geotransforms are moved.
    lattice : str
        "items": moved files keep their pixel size, counted from the anchor's corner where the CRS is the same, and an
        anchor from outside of another CRS leaves them on the lattice of the finest item. "anchor": they take the
        anchor's CRS and pixel size. With an anchor from outside, shifts are told in pixels of this lattice.
    cog, overwrite, progress
        As in `to_geotiffs`.
    vrt : bool
        Whether rasters are described where they lie, as `to_vrt` does, and neither copied nor moved.
    dem : path-like, optional
        The height model that orthorectified the scenes, of any CRS and pixel size. With ``model="terrain"`` and angles
        of view that metadata tell, ``height_error.tif`` is written: by how much the ground lies higher than the model,
        but for a plane, its sigma, and the model with the error added, in metres; see `coregstack.height_error`.
    check : bool
        Whether items that an earlier run has done count as done only if all that they were made from, and all
        that was written, has the digests that were noted; what has none is done again. Else size, time and,
        of inputs, a digest of samples decide.
    dry_run : bool
        Whether items are only matched and decided upon; nothing is written then.

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
    settings = MatchSettings(
        band=band,
        max_shift=max_shift,
        threshold=threshold,
        min_improvement=min_improvement,
        method=method,
        nearest=nearest,
        model=model,
        decide=decide,
        datum=datum,
        estimator=estimator,
    )
    request = RunRequest(
        match=settings, output=given_place(output, "output"), zarr=zarr, resampling=resampling, lattice=lattice,
        cog=cog, vrt=vrt, dem=dem, overwrite=overwrite, check=check, dry_run=dry_run, progress=progress,
    )  # fmt: skip
    found = find_scenes(
        paths,
        ids=ids,
        times=times,
        assets=assets,
        mask=mask,
        anchor=None if is_auto(anchor) else anchor,
        bands=[settings.band[0] if isinstance(settings.band, tuple) else settings.band],
    )
    if not found.scenes:
        raise unreadable_files(found.unusable)
    reference, notes = _anchor(found.scenes, anchor, [u.id for u in found.unusable])
    items = RunItems(
        scenes=found.scenes,
        unusable=found.unusable,
        plans=found.plans,
        anchor=reference,
        inputs=local_paths([*found.roots, reference.image.path]),
        notes=(*notes, *found.notes),
        also=tuple(target for asset in found.others for target in asset.targets),
    )
    return carry_out(request, items, finish=partial(_finish, found=found))


def _finish(result: RunResult, *, found: FoundScenes) -> RunResult:
    """Copy the files of no item, and write the table; a failure here does not undo the delivered items."""
    taken = {file.path for report in result.reports for file in report.files}
    target = Path(result.output)
    copied, faults, left_out = copy_others(
        found.others, target, taken | needed_names(found.plans), verify=False
    )
    return with_table(
        replace(
            result,
            others=tuple(copied),
            faults=(*result.faults, *faults),
            notes=(*result.notes, *left_out, *_converted(result, found)),
        )
    )


def _converted(result: RunResult, found: FoundScenes) -> list[str]:
    """What is to be said of files of JPEG 2000 that were moved."""
    written = {file.path for report in result.reports for file in report.files}
    moved = [
        asset
        for plan in found.plans
        for asset in plan.assets
        if asset.content is not None
        and PurePosixPath(asset.name).suffix.lower() == ".jp2"
        and PurePosixPath(asset.folder, asset.coreg_name).as_posix() in written
    ]
    if not moved:
        return []
    count = "1 file of JPEG 2000 was" if len(moved) == 1 else f"{len(moved)} files of JPEG 2000 were"
    return [
        f"{count} written as GeoTIFF, as {moved[0].coreg_name}, since what is moved is not compressed with loss."
    ]


def _anchor(scenes: Sequence[Scene], anchor: Any, unreadable: Sequence[str]) -> tuple[Scene, tuple[str, ...]]:
    """The anchor, named or chosen, and what is to be said of the choice."""
    given, anchor = anchor, shown(anchor) if isinstance(anchor, str) else anchor
    if is_auto(anchor):
        found, why, left_out = best_scene(scenes)
        check_anchor(found)
        apart = (
            f"Left out of the choice of the anchor: {item}. {reason}" for item, reason in left_out.items()
        )
        return found, (f"Chosen as the anchor: {why}", *apart)
    if isinstance(anchor, str) and {anchor, Path(anchor).stem} & {*unreadable}:
        raise UnreadableFile(f"The anchor {anchor!r} cannot be read; choose another one or repair its file.")
    outside = outside_of(given, scenes, unreadable)
    if outside is not None and outside.scene is None:
        raise InvalidRequest(
            "A run reads its anchor from a file, so that it can be repeated: write the DataArray first, for example "
            "with rio.to_raster, and pass the path. align and estimate take it as it is."
        )
    found = find_scene(scenes, anchor) if outside is None or outside.scene is None else outside.scene
    check_anchor(found)
    return found, ()
