"""The hosted tool on a user's own files: an order's payload and folder in, a coregistered order out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import xarray as xr

from coregstack.cube.place import place_of
from coregstack.errors import AnchorNotFound, CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.export.deliver import check_source
from coregstack.export.files import check_lasting
from coregstack.export.lock import locked
from coregstack.export.plan import TABLE, Asset, ItemReport, written
from coregstack.export.stac import FOLDER
from coregstack.matching.choices import (
    MIN_IMPROVEMENT,
    SCORE_THRESHOLD,
    Band,
    Datum,
    Decide,
    Estimator,
    Method,
    Model,
    Resampling,
)
from coregstack.matching.decision import failure
from coregstack.matching.options import MatchSettings
from coregstack.model import WindowEstimator
from coregstack.orders.archives import archives_of, unpack
from coregstack.orders.manifest import MANIFEST_NAME, ManifestEntry, list_again, media_type, write_manifest
from coregstack.orders.payload import Order, read_payload
from coregstack.orders.scan import Delivery, scan_delivery
from coregstack.orders.scenes import OrderScenes, order_scenes, passed_through
from coregstack.orders.scratch import remove_dead, scratch_folder
from coregstack.orders.verification import verify_output
from coregstack.pixels.scene import Scene
from coregstack.run.others import copy_others
from coregstack.run.request import RunItems, RunRequest, carry_out
from coregstack.run.result import RunResult, with_table
from coregstack.run.scheduler import Progress
from coregstack.run.targets import needed_names
from coregstack.stack.lookup import find_scene
from coregstack.stack.opening import stack_scenes, unreadable_files
from coregstack.stack.placing import check_anchor
from coregstack.untrusted.given import given_place

if TYPE_CHECKING:
    import pystac


class OrderResult(RunResult):
    """Result of the run of an order; files made from it later are added to its manifest."""

    __slots__ = ()

    def to_stac(self, collection_id: str | None = None) -> pystac.Collection:
        """Describe the output as `RunResult.to_stac` does, and enter the files in ``manifest.json``.

        Parameters
        ----------
        collection_id : str, optional
            By default the name of the output folder.

        Returns
        -------
        pystac.Collection
            As `RunResult.to_stac` returns it.

        Raises
        ------
        InvalidRequest
            If pystac is not installed, or no item has a known time.
        OutputConflict
            If another run is writing to the folder.
        UnreadableFile
            If the manifest cannot be read.
        """
        root = Path(self.output)
        if not (root / MANIFEST_NAME).is_file():
            return super().to_stac(collection_id)
        # a run that ends meanwhile writes the manifest anew
        with locked(root):
            collection = super().to_stac(collection_id)
            names = ("collection", *(item.id for item in collection.get_items()))
            list_again(root, *(PurePosixPath(FOLDER, f"{name}.json") for name in names))
        return collection


def open_order(
    folder: str | os.PathLike[str],
    *,
    anchor: Any,
    bands: Sequence[str | int] | None = None,
    chunks: int | tuple[int, int] | None = None,
) -> xr.DataArray:
    """Open a delivered order as one lazy stack on the anchor's lattice.

    Any layout that orders are delivered in is understood; items are found by manifest and file names. Every
    item is shown in the anchor's product where it has it, else in its own best one.

    Parameters
    ----------
    folder : path-like
        Folder of the order.
    anchor : str, int or time
        Item whose lattice is taken: its id, time or position.
    bands : sequence of str or int, optional
        Bands to open, by name or position.
    chunks : int or tuple of int, optional
        Rows and columns of a block; by default 2048.

    Returns
    -------
    DataArray
        As from `coregstack.open_scenes`; `clear` holds what UDM2, UDM, alpha and nodata say.

    Raises
    ------
    MissingFile
        If the folder is not there or holds no item; zip archives have to be unpacked first.
    UnreadableFile
        If an item's files cannot be read; all are named.
    AnchorNotFound
        If no item, or more than one, is the anchor.

    Examples
    --------
    >>> stack = open_order("order_folder", anchor="20200630_164149_0e3a")  # doctest: +SKIP
    """
    root = given_place(folder, "folder")
    if os.path.isfile(root):
        raise InvalidRequest(f"{str(root)!r} is a file; a folder was expected. Unpack it, or use run_order.")
    delivery = scan_delivery(root)
    if not delivery.items:
        raise MissingFile(
            f"{str(root)!r} holds no item of an order that is known. Use open_scenes for other files."
        )
    found = order_scenes(delivery.items, str(anchor))
    if found.unusable:
        raise unreadable_files(found.unusable)
    return stack_scenes(found.scenes, find_scene(found.scenes, anchor), bands=bands, chunks=chunks)


def run_order(
    payload: Mapping[str, Any] | str | os.PathLike[str],
    *,
    input: str | os.PathLike[str],
    output: str | os.PathLike[str],
    zarr: Any = None,
    sharding: bool = True,
    append: bool = False,
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
    overwrite: bool = False,
    verify: bool = True,
    check: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Coregister a delivered order as its payload asks.

    Parameters
    ----------
    payload : mapping, str or path
        The order's payload, or the description of the finished order: a mapping, JSON text, or a JSON file.
    input : path-like
        Folder, or zip archive, of the delivered order.
    output : path-like
        Folder to write to; the input's folders are kept below it.
    zarr : path or store, optional
        Where to write the aligned cube as well; see `coregstack.to_zarr`.
    sharding : bool
        Of that cube, as in `coregstack.to_zarr`.
    append : bool
        Whether the items are appended to the cube that `zarr` holds, aligned to its own anchor; see
        `coregstack.append`. Items that it holds already are left alone.
    band, max_shift, threshold, min_improvement, method, nearest, model, decide, datum, estimator
        As in `coregstack.estimate`.
    resampling : str
        "cubic", "bilinear", "lanczos", "nearest", or "none": only geotransforms are moved.
    overwrite : bool
        Whether items that an earlier run has done are done again.
    verify : bool
        Whether inputs have to have the digests that their manifest gives, and the output is checked at the
        end. An item with a file of another digest is delivered as it came, and named.
    check : bool
        As in `coregstack.run_scenes`.
    dry_run : bool
        Whether items are only matched and decided upon; nothing is written then.
    progress : callable, optional
        Called with the number of items done, and of all items.

    Returns
    -------
    RunResult
        What was done with every item, the problems, and notes on parts of the payload that were not run here.

    Raises
    ------
    PayloadError
        If the payload cannot be run; it names every problem.
    MissingFile, AnchorNotFound, UnreadableFile, InvalidRequest, OutputConflict
        If the input, the anchor or an option does not fit; nothing was written then.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack.testing import write_sample_order
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     order = write_sample_order(f"{folder}/order", size=200)
    ...     result = run_order(order.payload, input=order.folder, output=f"{folder}/out")
    >>> len(result.reports)
    8
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
    order = read_payload(payload)
    source = given_place(input, "input")
    request = RunRequest(
        match=settings, output=given_place(output, "output"), zarr=zarr, sharding=sharding, append=append,
        resampling=resampling,
        cog=order.cog,
        overwrite=overwrite, check=check, dry_run=dry_run, progress=progress,
    )  # fmt: skip
    with _input_folders(request, source) as folders:
        delivery = scan_delivery(*folders, item_ids=order.item_ids)
        wanted = set(order.item_ids)
        there = [item for item in delivery.items if item.item_id in wanted]
        found = order_scenes(there, order.anchor_item, verify=verify)
        others = passed_through(delivery.others)
        items = RunItems(
            scenes=found.scenes,
            unusable=found.unusable,
            plans=found.plans,
            anchor=_anchor(order, found, source),
            inputs=(source,),
            missing=tuple(_missing(order, there)),
            notes=(*order.notes, *_notes(delivery, order)),
            also=(MANIFEST_NAME, *(target for asset in others for target in asset.targets)),
        )
        finish = partial(_finish, order=order, found=found, others=others, verify=verify)
        return carry_out(request, items, kind=OrderResult, digests=True, finish=finish)


def _finish(
    result: RunResult, *, order: Order, found: OrderScenes, others: Iterable[Asset], verify: bool
) -> RunResult:
    """Write the files of the whole order, and check the output; a failure here does not undo the delivered
    items."""
    target = Path(result.output)
    taken = {file.path for report in result.reports for file in report.files}
    copied, faults, left_out = copy_others(others, target, taken | needed_names(found.plans), verify=verify)
    result = replace(
        result, others=tuple(copied), faults=(*result.faults, *faults), notes=(*result.notes, *left_out)
    )
    result, faults = with_table(result), []

    def checked() -> None:
        faults.extend(f"Output check: {problem}" for problem in verify_output(target, pixels=False))

    steps: list[Callable[[], object]] = [lambda: _write_manifest(target, order, result)]
    for step in (*steps, checked) if verify else steps:
        try:
            step()
        except (CoregError, OSError) as error:
            # one that fails does not stop the next
            faults.append(str(error))
    return replace(result, faults=(*result.faults, *faults))


@contextmanager
def _input_folders(request: RunRequest, source: Path) -> Iterator[tuple[Path, ...]]:
    """The folders to read; what comes in archives is unpacked for as long as the run lasts."""
    cube = None if request.zarr is None else place_of(request.zarr).local
    places = [path for path in (source, request.output, cube) if path is not None]
    for path in places:
        check_lasting(path)
    remove_dead()
    if source.is_dir() and not archives_of(source):
        yield (source,)
        return
    with scratch_folder(places) as scratch:
        yield unpack(source, scratch / "unpacked")


def _anchor(order: Order, found: OrderScenes, source: Path) -> Scene:
    for scene in found.scenes:
        if scene.id == order.anchor_item:
            for plan in found.plans:
                if plan.id == scene.id:
                    for asset in plan.assets:
                        check_source(asset)
            check_anchor(scene)
            return scene
    for unusable in found.unusable:
        if unusable.id == order.anchor_item:
            raise UnreadableFile(f"The anchor {order.anchor_item!r} cannot be used: {unusable.reason}")
    raise AnchorNotFound(
        f"No file of the anchor {order.anchor_item!r} lies below {str(source)!r}. Check the input folder, or name "
        "another anchor_item in the payload."
    )


def _missing(order: Order, there: Sequence[Any]) -> list[ItemReport]:
    """A report for every item of the payload that has no file."""
    ids = {item.item_id for item in there}
    reason = "No file of it was found in the input."
    return [
        ItemReport(id=item, quality=failure(reason), files=(), problems=(reason,))
        for item in order.item_ids
        if item not in ids
    ]


def _notes(delivery: Delivery, order: Order) -> list[str]:
    wanted = set(order.item_ids)
    left_out = [item.item_id for item in delivery.items if item.item_id not in wanted]
    notes = [str(problem) for problem in delivery.problems]
    if left_out:
        names = ", ".join(left_out[:5]) + (" and others" if len(left_out) > 5 else "")
        notes.append(f"{len(left_out)} items of the input are not in the payload and were left out: {names}.")
    return notes


def _write_manifest(target: Path, order: Order, result: RunResult) -> None:
    files = [file for report in result.reports for file in report.files]
    files += [*result.others, written(target / TABLE, str(target))]
    entries = [
        ManifestEntry(
            path=PurePosixPath(file.path),
            media_type=media_type(file.path),
            size=file.size,
            md5=file.md5,
            sha256=file.sha256,
            annotations=file.annotations,
        )
        for file in files
    ]
    write_manifest(target, entries, name=order.name)
