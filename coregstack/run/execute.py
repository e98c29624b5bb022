"""A whole run: every item matched, decided on and written, whatever becomes of the others."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize

from coregstack.errors import InvalidRequest, InvalidStack, OutputConflict
from coregstack.export.deliver import (
    Asset,
    DeliverySettings,
    ItemPlan,
    ItemReport,
    deliver_item,
    finished,
    log_report,
)
from coregstack.export.files import WriteError, is_half_written, resolved
from coregstack.export.geotiff import Content
from coregstack.export.lock import locked
from coregstack.graph.blocks import object_array
from coregstack.graph.matched import reference
from coregstack.graph.network import Items, scene_network
from coregstack.graph.written import deliveries, scene_deliveries
from coregstack.matching.decision import ANCHOR_QUALITY, failure
from coregstack.matching.items import SceneItem
from coregstack.matching.options import MatchOptions
from coregstack.model import ItemQuality
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.run.computing import Progress, Undone, compute_items
from coregstack.stack.opening import Unusable
from coregstack.stack.placing import band_indexes, common_bands, unplaceable

log = logging.getLogger(__name__)


def run_items(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    unusable: Sequence[Unusable],
    settings: DeliverySettings,
    options: Callable[[Sequence[str]], MatchOptions],
    *,
    network: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> tuple[ItemReport, ...]:
    """Match and deliver items to an output folder.

    Parameters
    ----------
    plans : sequence of ItemPlan
        All items, the anchor among them.
    scenes : mapping
        Item id to scene, for items whose header could be read.
    unusable : sequence of Unusable
        The other items, and why; their files are copied where they can be.
    settings : DeliverySettings
        What holds for the whole run.
    options : callable
        Makes the match options from the names of the bands that all scenes share.
    network : bool
        Whether their method is "network": then items that are done take part in it all the same.
    overwrite : bool
        Whether items that an earlier run has done are done again.
    progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    tuple of ItemReport
        In the order of `plans`.
    """
    check_targets(plans)
    anchor = scenes[settings.anchor_id]
    options(anchor.bands)
    done = {} if overwrite else {p.id: r for p in plans if (r := finished(p, settings)) is not None}
    known = {u.id: failure(u.reason, unreadable=u.unreadable) for u in unusable}
    for plan in plans:
        if plan.id in scenes and plan.id != settings.anchor_id:
            reason = unplaceable(scenes[plan.id], anchor, apart=network)
            if reason is not None:
                known[plan.id] = failure(reason)
    groups, refused = _by_bands([p for p in plans if p.id not in known], scenes, anchor, options)
    known |= refused
    parts, order = [], []
    for names, group in groups.items():
        matched = [p for p in group if p.id not in done]
        order += [p.id for p in matched]
        if matched and network:
            able = [scenes[p.id] for p in group]
            records = _network(able, anchor, names, options(names))[[group.index(p) for p in matched]]
            parts.append(deliveries(matched, records, settings))
        elif matched:
            parts.append(_matched(matched, scenes, anchor, names, options(names), settings))
    if left := [p for p in plans if p.id in known and p.id not in done]:
        records = object_array("coregstack-known-", [known[p.id] for p in left])
        parts.append(deliveries(left, records, settings))
        order += [p.id for p in left]
    log.info(
        "%d items to anchor %s, %d of them done by an earlier run; output %s",
        len(plans), settings.anchor_id, len(done), settings.output,
    )  # fmt: skip
    for report in done.values():
        log_report(report)
    reports = dict(done)
    undone = _undone(plans, settings)
    for report in compute_items(
        parts, progress, total=len(plans), before=len(done), ids=order, undone=undone
    ):
        reports[report.id] = report
    return tuple(reports[plan.id] for plan in plans)


def deliver_records(
    plans: Sequence[ItemPlan],
    records: da.Array,
    settings: DeliverySettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[ItemReport]:
    """Deliver items whose quality is known, or lazily so; what an earlier run has done is not done again.

    Parameters
    ----------
    plans : sequence of ItemPlan
        Items.
    records : dask Array
        An `ItemQuality` for each item.
    settings, overwrite, progress
        As in `run_items`.
    """
    done = [None if overwrite else finished(plan, settings) for plan in plans]
    left = [k for k, report in enumerate(done) if report is None]
    reports = [report for report in done if report is not None]
    if left:
        tasks = deliveries([plans[k] for k in left], records[left], settings)
        ids, undone = [plans[k].id for k in left], _undone(plans, settings)
        reports += compute_items(
            [tasks], progress, total=len(plans), before=len(reports), ids=ids, undone=undone
        )
    return reports


def _undone(plans: Sequence[ItemPlan], settings: DeliverySettings) -> Undone:
    """Delivers an item as it came, here and with the reason, that a cluster could not do."""
    by_id = {plan.id: plan for plan in plans}

    def deliver(item: str, reason: str) -> ItemReport:
        quality = failure(reason, unreadable=True)
        if item == settings.anchor_id:
            quality = replace(ANCHOR_QUALITY, details=reason, unreadable=True)
        return deliver_item(by_id[item], quality, settings)

    return deliver


def scene_plans(scenes: Sequence[Scene]) -> list[ItemPlan]:
    """Plans of scenes that are no order: every item has one image, named by its id."""
    return [file_plan(scene.id, scene.image.path) for scene in scenes]


def file_plan(item_id: str, path: str) -> ItemPlan:
    """Plan of an item that has one image file, named by the item's id."""
    extension = Path(path).suffix
    moved = extension if extension.lower() in (".tif", ".tiff") else ".tif"
    asset = Asset(
        source=str(Path(path).absolute()),
        folder="",
        name=f"{item_id}{extension}",
        coreg_name=f"{item_id}_coreg{moved}",
        anchor_name=f"{item_id}_anchor{extension}",
        content=Content.IMAGE,
    )
    return ItemPlan(id=item_id, assets=(asset,))


def check_targets(plans: Sequence[ItemPlan]) -> None:
    """Refuse items whose files may be written under one name.

    Raises
    ------
    InvalidRequest
        If there are such, for example where a run's own output is among its inputs.
    """
    owners: dict[tuple[str, str], Asset] = {}
    for plan in plans:
        for asset in plan.assets:
            for name in {asset.name, asset.coreg_name, asset.anchor_name}:
                other = owners.setdefault((asset.folder, name), asset)
                if other is not asset:
                    raise InvalidRequest(
                        f"{other.source!r} and {asset.source!r} may both be written as {name!r}. Leave one out, or "
                        "give them other ids."
                    )


def _by_bands(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    options: Callable[[Sequence[str]], MatchOptions],
) -> tuple[dict[tuple[str, ...], list[ItemPlan]], dict[str, ItemQuality]]:
    """Items by the bands that each shares with the anchor, and the failure of those that share none.

    No item is so matched in fewer bands because another has fewer; the anchor goes with most of them.
    """
    groups: dict[tuple[str, ...], list[ItemPlan]] = defaultdict(list)
    refused = {}
    for plan in plans:
        if plan.id == anchor.id:
            continue
        try:
            names = common_bands([anchor, scenes[plan.id]], anchor)
            options(names)
        except (InvalidRequest, InvalidStack) as error:
            refused[plan.id] = failure(str(error))
            continue
        groups[names].append(plan)
    largest = max(groups, key=lambda names: len(groups[names]), default=anchor.bands)
    groups[largest] += [plan for plan in plans if plan.id == anchor.id]
    return {names: group for names, group in groups.items() if group}, refused


def _matched(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    names: tuple[str, ...],
    match: MatchOptions,
    settings: DeliverySettings,
) -> da.Array:
    items = [scenes[plan.id] for plan in plans]
    placed = [_on_anchor(scene, anchor, names) for scene in items]
    first = reference(SceneItem(scene=_on_anchor(anchor, anchor, names)), match)
    position = next((k for k, scene in enumerate(items) if scene.id == anchor.id), None)
    return scene_deliveries(plans, placed, position, first, match, settings)


def _network(scenes: Sequence[Scene], anchor: Scene, names: tuple[str, ...], match: MatchOptions) -> da.Array:
    scenes = [*scenes, *(() if anchor in scenes else (anchor,))]
    items = Items(
        names=tuple(scene.id for scene in scenes),
        times=np.array([scene.time for scene in scenes], "datetime64[ns]"),
        anchor=scenes.index(anchor),
    )
    return scene_network([_on_anchor(scene, anchor, names) for scene in scenes], items, match)


def run_fingerprint(anchor: Scene, scenes: Sequence[Scene], options: Mapping[str, Any]) -> str:
    """What all items of a run depend on, as one text; in a network each depends on all others."""
    others = list(scenes) if options.get("method") == "network" else []
    return str(tokenize(anchor, sorted(options.items()), *others))


def _on_anchor(scene: Scene, anchor: Scene, names: tuple[str, ...]) -> PlacedScene:
    return PlacedScene(
        scene=scene,
        lattice=anchor.image.box,
        bands=names,
        indexes=band_indexes(scene, names),
        dtype=scene.image.dtype,
        fill=scene.nodata or 0,
    )


def check_apart(output: Path, inputs: Iterable[Path]) -> None:
    """Refuse an output that is or holds an input, or lies in an input folder.

    Raises
    ------
    OutputConflict
    """
    output = resolved(output)
    for path in inputs:
        where = resolved(path)
        folder = where if where.is_dir() else where.parent
        if (
            output == folder
            or where.is_relative_to(output)
            or (where.is_dir() and output.is_relative_to(where))
        ):
            raise OutputConflict(
                f"The output {str(output)!r} and the input {str(where)!r} overlap; inputs are never written to. "
                "Choose an output folder beside the input."
            )


@contextmanager
def output_folder(output: Path, inputs: Iterable[Path]) -> Iterator[None]:
    """An output folder for one run alone: made, and cleared of what a killed run left half-written.

    Raises
    ------
    OutputConflict
        If the output is or holds an input, lies in an input folder, is a file, or is written by another run.
    WriteError
        If it cannot be made or locked.
    """
    check_apart(output, inputs)
    output = resolved(output)
    if output.exists() and not output.is_dir():
        raise OutputConflict(f"The output {str(output)!r} is a file; a folder was expected.")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"{str(output)!r} cannot be made ({error.strerror}). Choose another folder."
        ) from error
    with locked(output):
        _clear(output)
        try:
            yield
        finally:
            # a lost worker leaves what it was writing
            _clear(output)


def _clear(output: Path) -> None:
    # what cannot be removed harms no file of the run; the check of the output tells of it
    with suppress(OSError):
        for left in output.rglob(".*"):
            if is_half_written(left):
                with suppress(OSError):
                    left.unlink()
