"""The hosted tool on a user's own files: an order's payload and folder in, a coregistered order out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import xarray as xr

from coregstack.api import check_resampling
from coregstack.cube.memory import open_cube
from coregstack.errors import AnchorNotFound, CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.export.deliver import DeliverySettings, ItemReport, WrittenFile, check_source, written
from coregstack.export.files import copy_file, resolved
from coregstack.export.lock import locked
from coregstack.export.stac import FOLDER
from coregstack.matching.decision import failure
from coregstack.matching.options import match_options
from coregstack.orders.archives import unpack
from coregstack.orders.manifest import MANIFEST_NAME, ManifestEntry, list_again, media_type, write_manifest
from coregstack.orders.payload import Order, read_payload
from coregstack.orders.scan import Delivery, scan_delivery
from coregstack.orders.scenes import OrderScenes, order_scenes, passed_through
from coregstack.orders.verification import verify_output
from coregstack.pixels.scene import Scene
from coregstack.run.appending import grow_cube
from coregstack.run.execute import Progress, check_apart, output_folder, run_fingerprint, run_items
from coregstack.run.result import REPORT, TABLE, RunResult, write_table
from coregstack.run.scenes import write_cube
from coregstack.stack.facts import scene_facts
from coregstack.stack.lookup import find_scene
from coregstack.stack.opening import stack_scenes, unreadable_files
from coregstack.stack.placing import check_anchor

if TYPE_CHECKING:
    import pystac


class OrderResult(RunResult):
    """What the run of an order has done; its manifest lists what is made of it later too."""

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

    Any layout that orders are delivered in is understood; items are told apart by manifest and file
    names. Every item is shown in the anchor's product where it has it, else in its own best one.

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
    root = Path(folder)
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
    append: bool = False,
    resampling: str = "cubic",
    overwrite: bool = False,
    verify: bool = True,
    dry_run: bool = False,
    progress: Progress | None = None,
    **options: Any,
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
    append : bool
        Whether the items are appended to the cube that `zarr` holds, aligned to its own anchor; see
        `coregstack.append`. Items that it holds already are left alone.
    resampling : str
        "cubic", "bilinear", "lanczos", "nearest", or "none": only geotransforms are moved.
    overwrite : bool
        Whether items that an earlier run has done are done again.
    verify : bool
        Whether inputs have to have the digests that their manifest gives, and the output is checked at the
        end. An item with a file of another digest is delivered as it came, and named.
    dry_run : bool
        Whether items are only matched and decided upon; nothing is written then.
    progress : callable, optional
        Told how many items are done, and of how many.
    **options
        `band`, `max_shift`, `threshold`, `min_improvement`, `method` of `coregstack.estimate`.

    Returns
    -------
    RunResult
        What was done with every item, the problems, and notes on what of the payload was not run here.

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
    order = read_payload(payload)
    check_resampling(resampling)
    if append and zarr is None:
        raise InvalidRequest("append=True needs to know which cube to append to: name it with zarr=...")
    match_options(("1",), **{key: value for key, value in options.items() if key != "band"})
    with _input_folders(Path(input)) as folders:
        delivery = scan_delivery(*folders, item_ids=order.item_ids)
        wanted = set(order.item_ids)
        items = [item for item in delivery.items if item.item_id in wanted]
        found = order_scenes(items, order.anchor_item, verify=verify)
        anchor = _anchor(order, found, Path(input))
        match_options(anchor.bands, **options)
        target = Path(output)
        if isinstance(zarr, str | os.PathLike):
            check_apart(Path(zarr), [Path(input)])
        if zarr is not None and not append:
            open_cube(zarr, None, overwrite=overwrite)
        settings = _settings(order, found, anchor, target, resampling, options, dry_run=dry_run)
        with nullcontext() if dry_run else output_folder(target, [Path(input)]):
            reports = _run(found, settings, options, overwrite, progress)
            if dry_run:
                return OrderResult(
                    output=str(target),
                    anchor=anchor.id,
                    reports=(*reports, *_missing(order, items)),
                    notes=(*order.notes, *_notes(delivery, order)),
                    dry_run=True,
                    **scene_facts(found.scenes),
                )
            taken = {file.path for report in reports for file in report.files}
            taken |= {TABLE, REPORT, MANIFEST_NAME}
            others, faults = _others(delivery, target, taken, verify=verify)
            result = OrderResult(
                output=str(target),
                anchor=anchor.id,
                reports=(*reports, *_missing(order, items)),
                others=tuple(others),
                faults=tuple(faults),
                notes=(*order.notes, *_notes(delivery, order)),
                **scene_facts(found.scenes),
            )
            write = partial(write_cube, overwrite=overwrite)
            if append:
                write = partial(grow_cube, options={**options, "resampling": resampling})
            return _conclude(result, order, zarr, found, anchor, write=write, verify=verify)


def _conclude(
    result: RunResult,
    order: Order,
    zarr: Any,
    found: OrderScenes,
    anchor: Scene,
    *,
    write: Callable[..., None],
    verify: bool,
) -> RunResult:
    """Write what concerns the whole run, and check the output; the items are delivered whatever fails here."""
    target, faults = Path(result.output), []
    try:
        write_table(result)
        _write_manifest(target, order, result)
        if verify:
            faults += [f"Output check: {problem}" for problem in verify_output(target, pixels=False)]
        if zarr is not None:
            write(zarr, found.scenes, anchor, result)
    except (CoregError, OSError) as error:
        faults.append(str(error))
    return replace(result, faults=(*result.faults, *faults))


@contextmanager
def _input_folders(source: Path) -> Iterator[tuple[Path, ...]]:
    """The folders to read; what comes in archives is unpacked for as long as the run lasts."""
    with tempfile.TemporaryDirectory(prefix="coregstack-") as scratch:
        yield unpack(source, Path(scratch) / "unpacked")


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


def _settings(
    order: Order,
    found: OrderScenes,
    anchor: Scene,
    target: Path,
    resampling: str,
    options: Mapping[str, Any],
    *,
    dry_run: bool,
) -> DeliverySettings:
    return DeliverySettings(
        output=str(resolved(target)),
        anchor_id=anchor.id,
        anchor=anchor.image.box,
        resampling=resampling,
        cog=order.cog,
        digests=True,
        fingerprint=run_fingerprint(anchor, found.scenes, options),
        method=str(options.get("method", "direct")),
        dry_run=dry_run,
    )


def _run(
    found: OrderScenes,
    settings: DeliverySettings,
    options: Mapping[str, Any],
    overwrite: bool,
    progress: Progress | None,
) -> tuple[ItemReport, ...]:
    return run_items(
        found.plans,
        {scene.id: scene for scene in found.scenes},
        found.unusable,
        settings,
        partial(match_options, **options),
        network=options.get("method") == "network",
        overwrite=overwrite,
        progress=progress,
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


def _others(
    delivery: Delivery, target: Path, taken: set[str], *, verify: bool
) -> tuple[list[WrittenFile], list[str]]:
    """Copy the files of no item as they came, unless a file of this run has their name."""
    files, faults = [], []
    for asset in passed_through(delivery.others):
        path = target / asset.folder / asset.name
        if path.relative_to(target).as_posix() in taken:
            continue
        try:
            copy_file(Path(asset.source), path)
            files.append(written(path, str(target), dict(asset.annotations)))
            if verify:
                check_source(asset)
        except CoregError as error:
            faults.append(str(error))
    return files, faults


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
