"""One run, of scenes or of an order: what is asked for is checked, then items, table and cube are delivered."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from coregstack.cube.mark import find_cube
from coregstack.cube.place import Place
from coregstack.errors import CoregError, InvalidRequest, InvalidStack
from coregstack.export.files import resolved
from coregstack.export.heights import HEIGHT_ERROR
from coregstack.export.index import INDEX
from coregstack.export.plan import DeliverySettings, ItemPlan, ItemReport
from coregstack.export.vrt import ONE_SHIFT, described
from coregstack.geometry.unlike import output_lattice
from coregstack.matching.bands import anchor_bands
from coregstack.matching.choices import OutputLattice, Resampling
from coregstack.matching.estimators import estimator_name
from coregstack.matching.options import MatchSettings, checked_lattice
from coregstack.pixels.scene import Scene
from coregstack.run.cube import readable, write_cube
from coregstack.run.execute import run_items
from coregstack.run.heights import check_dem, with_heights
from coregstack.run.identity import reference_digests, run_fingerprint
from coregstack.run.places import cube_place, local_paths, output_folder
from coregstack.run.result import RunResult, with_index, with_table
from coregstack.run.scheduler import Progress
from coregstack.stack.applying import check_resampling
from coregstack.stack.metadata import scene_metadata
from coregstack.stack.opening import Unusable
from coregstack.stack.outside import datum_references
from coregstack.stack.placing import check_anchor, check_nearest, scene_bands, unplaceable


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What a run is asked for, whatever its items come from.

    Raises
    ------
    InvalidRequest
        If an option is not known, or a cube is to be appended to that is not named.
    """

    match: MatchSettings
    """How items are matched."""
    output: Path
    """Folder to write to."""
    zarr: Any = None
    """Where to write the aligned cube as well: a path or store; None for nowhere."""
    sharding: bool = True
    """Whether the chunks of a date of the cube are put together into one object."""
    dem: str | os.PathLike[str] | None = None
    """Height model that orthorectified the items, whose error is told; None for none."""
    append: bool = False
    """Whether the items are appended to the cube that is there."""
    resampling: Resampling = "cubic"
    """How pixels are moved."""
    lattice: OutputLattice = "items"
    """Whether moved rasters keep their pixel size, or take the anchor's."""
    cog: bool = False
    """Whether shifted files are written as cloud-optimised GeoTIFF."""
    vrt: bool = False
    """Whether rasters are described where they lie, and neither copied nor moved."""
    overwrite: bool = False
    """Whether items that an earlier run has done are done again."""
    check: bool = False
    """Whether items count as done only if all digests that were noted hold."""
    dry_run: bool = False
    """Whether items are only matched and decided upon; nothing is written then."""
    progress: Progress | None = None
    """Called with the number of items done, and of all items."""

    def __post_init__(self) -> None:
        check_resampling(self.resampling)
        if checked_lattice(self.lattice) == "anchor" and self.resampling == "none":
            raise InvalidRequest("resampling='none' leaves pixels as they are: use lattice='items' with it.")
        if self.vrt and self.cog:
            raise InvalidRequest(
                "A VRT holds no pixels, and so is no cloud-optimised GeoTIFF: ask for one of the two."
            )
        if self.vrt and self.match.model != "shift":
            raise InvalidRequest(f"model={self.match.model!r} cannot be written as VRT. {ONE_SHIFT}")
        if self.vrt and self.lattice == "anchor":
            raise InvalidRequest("A VRT leaves pixels as large as they are: use lattice='items' with it.")
        if self.append and self.zarr is None:
            raise InvalidRequest("append=True needs to know which cube to append to: name it with zarr=...")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunItems:
    """The items of a run."""

    scenes: tuple[Scene, ...]
    """Those whose image can be opened, the anchor among them unless it is from outside."""
    unusable: tuple[Unusable, ...]
    """The others, and why."""
    plans: tuple[ItemPlan, ...]
    """All items with a file to deliver, in the order of the request."""
    anchor: Scene
    """The anchor."""
    inputs: tuple[Path, ...]
    """Files and folders that are read; they are never written to."""
    missing: tuple[ItemReport, ...] = ()
    """Items that were asked for and have no file."""
    notes: tuple[str, ...] = ()
    """What a user should know of the run as a whole."""
    also: tuple[str, ...] = ()
    """Paths of other files that the run writes, relative to the output."""
    references: Mapping[str, Scene] = field(default_factory=dict)
    """Images that the datum names."""

    @property
    def outside(self) -> bool:
        """Whether the anchor is no item."""
        return all(scene.id != self.anchor.id for scene in self.scenes)

    def output_lattice(self, lattice: OutputLattice) -> GeoBox:
        """Lattice of the output, in whose pixels shifts are told, as a box that covers the anchor."""
        if not self.outside:
            return self.anchor.image.box
        boxes = [scene.image.box for scene in self.scenes]
        return output_lattice(self.anchor.image.box, boxes, like_anchor=lattice == "anchor")


def carry_out(
    request: RunRequest,
    items: RunItems,
    *,
    kind: type[RunResult] = RunResult,
    digests: bool = False,
    finish: Callable[[RunResult], RunResult] | None = None,
) -> RunResult:
    """Match and deliver the items of a run, then write the table and the cube.

    Parameters
    ----------
    request : RunRequest
        What is asked for.
    items : RunItems
        The items.
    kind : type
        `RunResult` or a class derived from it.
    digests : bool
        Whether reports hold the digests of written files.
    finish : callable, optional
        Writes the files of the whole run except the cube, and adds failures to the result; by default
        the table is written.

    Returns
    -------
    RunResult
        What was done with every item, and the problems.

    Raises
    ------
    InvalidRequest, OutputConflict
        If the request cannot be honoured; nothing was written then.
    """
    anchor = items.anchor
    items = _with_references(request, items)
    anchor_bands(request.match, scene_bands(anchor))
    check_nearest(request.match.nearest, items.scenes)
    place = _place_of_cube(request, items)
    dem = None if request.dem is None else check_dem(request.dem, request.match.model, items.scenes, anchor)
    box = items.output_lattice(request.lattice)
    settings = DeliverySettings(
        output=str(resolved(request.output)),
        anchor_id=anchor.id,
        anchor=box,
        resampling=request.resampling,
        like_anchor=request.lattice == "anchor",
        cog=request.cog,
        vrt=request.vrt,
        fingerprint=run_fingerprint(
            anchor, items.scenes, request.match, box if items.outside else None, items.references
        ),
        method=request.match.method,
        estimator=estimator_name(request.match.estimator),
        digests=digests or request.check,
        dry_run=request.dry_run,
        check=request.check,
        nearest=tuple(request.match.nearest),
        references=reference_digests([anchor, *items.references.values()], items.scenes, request.match)
        if request.check
        else (),
    )
    plans = [described(plan) for plan in items.plans] if request.vrt else items.plans
    with nullcontext() if request.dry_run else output_folder(request.output, items.inputs) as claim:
        done = run_items(
            plans,
            {scene.id: scene for scene in items.scenes},
            anchor,
            items.unusable,
            replace(settings, claim=claim or ""),
            request.match,
            references=items.references,
            overwrite=request.overwrite,
            progress=request.progress,
            also=(*items.also, *((INDEX,) if request.vrt else ()), *((HEIGHT_ERROR,) if dem else ())),
        )
        result = kind(
            output=str(request.output),
            anchor=anchor.id,
            reports=(*done.reports, *items.missing),
            lattice=box,
            dry_run=request.dry_run,
            notes=(*items.notes, *done.notes),
            **scene_metadata(items.scenes),
        )
        if request.match.model == "terrain":
            result = with_heights(result, None if request.dry_run else dem)
        if request.dry_run:
            return result
        result = (finish or with_table)(result)
        return _with_cube(with_index(result) if request.vrt else result, request, items, place)


def _with_references(request: RunRequest, items: RunItems) -> RunItems:
    """The items, and the images that the datum names."""
    ids = [*(scene.id for scene in items.scenes), *(unusable.id for unusable in items.unusable)]
    times = np.array([scene.time for scene in items.scenes], "datetime64[ns]")
    found = datum_references(request.match.holders, ids, times, [s.image.path for s in items.scenes])
    images = {name: image.scene for name, image in found.items() if image.scene is not None}
    for image in images.values():
        check_anchor(image)
        reasons = [unplaceable(scene, image) for scene in items.scenes]
        if all(reasons):
            raise InvalidStack(f"No scene can be matched with the reference {image.id!r}: {reasons[0]}")
    paths = local_paths(path for image in images.values() for path in image.paths)
    return replace(items, references=images, inputs=(*items.inputs, *paths))


def _place_of_cube(request: RunRequest, items: RunItems) -> Place | None:
    """Where the cube that was asked for goes; refused where it may not be written."""
    known = {scene.id for scene in items.scenes} | {unusable.id for unusable in items.unusable}
    return cube_place(
        request.zarr,
        output=request.output,
        inputs=items.inputs,
        overwrite=request.overwrite and not request.append,
        append=request.append,
        anchor=items.anchor.id,
        ids=known | {report.id for report in items.missing},
    )


def _with_cube(result: RunResult, request: RunRequest, items: RunItems, place: Place | None) -> RunResult:
    """Write the cube that was asked for; a failure here does not undo the delivered items."""
    try:
        if place is None:
            return result
        mark = find_cube(place, overwrite=False) if request.append else None
        if mark is None or not mark.ready:
            overwrite = request.overwrite and not request.append
            write_cube(
                place, items.scenes, items.anchor, result, request.match,
                overwrite=overwrite, sharding=request.sharding,
            )  # fmt: skip
            return result
        # what is needed to append is loaded only where it is asked for
        from coregstack.run.new_dates import append_scenes

        known = readable(items.scenes, result)
        able = [s for s in known if unplaceable(s, items.anchor, apart=True, lattice=result.lattice) is None]
        append_scenes(able, place, request.match, resampling=request.resampling)
    except (CoregError, OSError) as error:
        return replace(result, faults=(*result.faults, f"cube: {error}"))
    return result
