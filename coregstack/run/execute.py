"""A whole run: every item is matched, decided on and written, independently of the others."""

from __future__ import annotations

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from pathlib import Path

import dask.array as da
import numpy as np
from dask.base import tokenize
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest, InvalidStack, OutputConflict
from coregstack.export import claim
from coregstack.export.contents import file_digest, sample_digest
from coregstack.export.deliver import deliver_item, log_report
from coregstack.export.earlier import Earlier, all_earlier, left_behind, words_of_again, words_of_left
from coregstack.export.files import (
    WriteError,
    check_lasting,
    is_half_written,
    resolved,
)
from coregstack.export.lock import locked
from coregstack.export.plan import Asset, Content, DeliverySettings, ItemPlan, ItemReport
from coregstack.geometry.unlike import output_lattice
from coregstack.graph.blocks import object_array
from coregstack.graph.datum import in_datum_records
from coregstack.graph.matched import records, reference, scene_items
from coregstack.graph.network import Items, scene_network
from coregstack.graph.sketches import network_frame, network_lattice, network_place
from coregstack.graph.terrain import terrain_records
from coregstack.graph.written import deliveries, scene_deliveries
from coregstack.matching.bands import anchor_bands, pair_bands
from coregstack.matching.choices import ANCHOR_DATUM
from coregstack.matching.decision import ANCHOR_QUALITY, WORTH_TELLING, failure, stays_unapplied
from coregstack.matching.estimators import OWN, estimator_identity
from coregstack.matching.items import SceneItem
from coregstack.matching.options import MatchOptions, MatchSettings
from coregstack.matching.told import Frames
from coregstack.model import ItemQuality
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.products.plans import planned
from coregstack.run.memory import scene_bytes
from coregstack.run.places import check_apart, check_no_store
from coregstack.run.scheduler import Progress, Undone, compute_items
from coregstack.run.targets import begin, check_targets
from coregstack.stack.opening import Unusable
from coregstack.stack.placing import scene_bands, unplaceable, with_match_bands
from coregstack.untrusted.addresses import Address
from coregstack.untrusted.folders import walked

_THREADS = 8

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Results of all items of a run."""

    reports: tuple[ItemReport, ...]
    """One for each item."""
    notes: tuple[str, ...]
    """Messages about earlier runs over the same folder."""


def run_items(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    unusable: Sequence[Unusable],
    settings: DeliverySettings,
    match: MatchSettings,
    *,
    references: Mapping[str, Scene],
    overwrite: bool = False,
    progress: Progress | None = None,
    also: Iterable[str] = (),
) -> Done:
    """Match and deliver items to an output folder.

    Parameters
    ----------
    plans : sequence of ItemPlan
        All items, the anchor among them unless it is from outside.
    scenes : mapping
        Item id to scene, for items whose header could be read.
    anchor : Scene
        The anchor.
    unusable : sequence of Unusable
        The other items, and why; their files are copied where they can be.
    settings : DeliverySettings
        What holds for the whole run.
    match : MatchSettings
        How items are matched; where all are adjusted together, items that are done take part all the same.
    references : mapping
        Images that the datum names.
    overwrite : bool
        Whether items that an earlier run has done are done again.
    progress : callable, optional
        Called with the number of items done, and of all items.
    also : iterable of str
        Paths of other files that the run writes, relative to the output.

    Returns
    -------
    Done
        With reports in the order of `plans`.
    """
    anchor_bands(match, scene_bands(anchor))
    network = match.method == "network"
    found, left_over = _looked_at(plans, settings, overwrite=overwrite, also=also)
    done = {item: one.report for item, one in found.items() if one.report is not None}
    known = {u.id: failure(u.reason, unreadable=u.unreadable) for u in unusable}
    for plan in plans:
        if plan.id in scenes and plan.id != settings.anchor_id:
            reason = unplaceable(scenes[plan.id], anchor, apart=network, lattice=settings.anchor)
            if reason is not None:
                known[plan.id] = failure(reason)
    groups, refused = _grouped(
        [p for p in plans if p.id not in known], scenes, anchor, settings.anchor, match
    )
    known |= refused
    parts, order = [], []
    joint = (
        _joint(groups, scenes, anchor, settings.anchor, match, references)
        if match.together and len(done) < len(plans)
        else []
    )
    for n, group in enumerate(groups):
        matched = [k for k, plan in enumerate(group.plans) if plan.id not in done]
        order += [group.plans[k].id for k in matched]
        if matched and match.together:
            parts.append(deliveries([group.plans[k] for k in matched], joint[n][matched], settings))
        elif matched:
            parts.append(_matched(group.only(matched), scenes, anchor, settings))
    if left := [p for p in plans if p.id in known and p.id not in done]:
        failed = object_array("coregstack-known-", [known[p.id] for p in left])
        parts.append(deliveries(left, failed, settings))
        order += [p.id for p in left]
    log.info(
        "%d items to anchor %s, %d of them done by an earlier run; output %s",
        len(plans), settings.anchor_id, len(done), settings.output,
    )  # fmt: skip
    for report in done.values():
        log_report(report)
    reports = dict(done)
    undone = _undone(plans, settings)
    bands = max((group.options.at_once for group in groups), default=1)
    need = scene_bytes(anchor, [scenes[i] for i in order if i in scenes], bands)
    for report in compute_items(
        parts, progress, total=len(plans), before=len(done), ids=order, undone=undone, need=need
    ):
        reports[report.id] = replace(report, again=found[report.id].again)
    told = _done([reports[plan.id] for plan in plans], left_over)
    return replace(told, notes=(*told.notes, *words_of_unapplied(told.reports, match.decide)))


def deliver_records(
    plans: Sequence[ItemPlan],
    records: da.Array,
    settings: DeliverySettings,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Deliver items whose quality is known, or lazily so; what an earlier run has done is not done again.

    Parameters
    ----------
    plans : sequence of ItemPlan
        Items.
    records : dask Array
        An `ItemQuality` for each item.
    settings, overwrite, progress
        As in `run_items`.

    Returns
    -------
    Done
        With reports in the order of `plans`.
    """
    found, left_over = _looked_at(plans, settings, overwrite=overwrite)
    reports = {item: one.report for item, one in found.items() if one.report is not None}
    left = [k for k, plan in enumerate(plans) if plan.id not in reports]
    if left:
        tasks = deliveries([plans[k] for k in left], records[left], settings)
        ids, undone = [plans[k].id for k in left], _undone(plans, settings)
        for report in compute_items(
            [tasks], progress, total=len(plans), before=len(reports), ids=ids, undone=undone
        ):
            reports[report.id] = replace(report, again=found[report.id].again)
    return _done([reports[plan.id] for plan in plans], left_over)


def _looked_at(
    plans: Sequence[ItemPlan], settings: DeliverySettings, *, overwrite: bool, also: Iterable[str] = ()
) -> tuple[dict[str, Earlier], tuple[str, ...]]:
    """What earlier runs have left of each item, and their files that do not belong to this run."""
    output = Path(settings.output)
    if settings.dry_run:
        check_targets(plans)
    else:
        begin(plans, output, overwrite=overwrite, also=also)
    found = {plan.id: Earlier() for plan in plans} if overwrite else all_earlier(plans, settings)
    return found, left_behind(plans, output)


def _done(reports: Sequence[ItemReport], left_over: Sequence[str]) -> Done:
    return Done(reports=tuple(reports), notes=(*words_of_again(reports), *words_of_left(left_over)))


def _undone(plans: Sequence[ItemPlan], settings: DeliverySettings) -> Undone:
    """Delivers an item that a cluster could not process: as it came, from this process, with the reason."""
    by_id = {plan.id: plan for plan in plans}

    def deliver(item: str, reason: str) -> ItemReport:
        quality = failure(reason, unreadable=True)
        if item == settings.anchor_id:
            quality = replace(ANCHOR_QUALITY, details=reason, unreadable=True)
        return deliver_item(by_id[item], quality, settings)

    return deliver


def scene_plans(scenes: Sequence[Scene]) -> list[ItemPlan]:
    """Plans of scenes by their images alone, named by ids; of bands in several files each by its own name."""
    names = Counter(Path(part.path).name for scene in scenes for part in scene.image.parts)
    plans = []
    for scene in scenes:
        if not scene.image.parts:
            plans.append(file_plan(scene.id, scene.image.path))
            continue
        assets = []
        for part in scene.image.parts:
            own = Path(part.path).name
            name = own if names[own] == 1 else f"{scene.id}_{own}"
            assets.append(planned(part.path, "", name, Content.IMAGE, nodata=scene.nodata))
        plans.append(ItemPlan(id=scene.id, assets=tuple(assets)))
    return plans


def file_plan(item_id: str, path: str) -> ItemPlan:
    """Plan of an item that has one image file, named by the item's id."""
    place = path if isinstance(path, Address) else os.path.abspath(path)
    extension = os.path.splitext(path)[1]
    moved = extension if extension.lower() in (".tif", ".tiff") else ".tif"
    asset = Asset(
        source=place,
        folder="",
        name=f"{item_id}{extension}",
        coreg_name=f"{item_id}_coreg{moved}",
        anchor_name=f"{item_id}_anchor{extension}",
        content=Content.IMAGE,
    )
    return ItemPlan(id=item_id, assets=(asset,))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Items that are matched with the anchor in the same of its bands, and in pixels of the same size."""

    plans: tuple[ItemPlan, ...]
    """The items."""
    bands: tuple[tuple[int, ...], ...]
    """Positions of each item's match bands among its bands."""
    anchor: tuple[int, ...]
    """Positions of the match bands among the anchor's bands."""
    options: MatchOptions
    """How they are matched; its bands are counted among these."""
    frame: GeoBox
    """Lattice on which they are matched, as a box that covers the anchor."""

    def only(self, places: Sequence[int]) -> _Group:
        """The same with some of the items."""
        return replace(
            self, plans=tuple(self.plans[k] for k in places), bands=tuple(self.bands[k] for k in places)
        )


_Way = tuple[tuple[int, ...], MatchOptions, GeoBox]
"""The anchor's match bands, how items are matched with them, and on which lattice."""


def _grouped(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    output: GeoBox,
    match: MatchSettings,
) -> tuple[list[_Group], dict[str, ItemQuality]]:
    """Items by the bands and the pixel size that each is matched in, and the failure of those that have no band.

    No item is so matched in fewer bands, or in larger pixels, because another has such; the anchor goes with most of
    those that are matched in the pixels of the output. In a network all are matched in these, or in larger ones of an
    anchor from outside.
    """
    found: dict[_Way, list[tuple[ItemPlan, tuple[int, ...]]]] = defaultdict(list)
    own = anchor.image.box
    refused = {}
    # scenes of one product have the same bands
    paired = cache(partial(pair_bands, match, scene_bands(anchor)))
    for plan in plans:
        if plan.id == anchor.id:
            continue
        try:
            pairs = paired(scene_bands(scenes[plan.id]))
        except (InvalidRequest, InvalidStack) as error:
            refused[plan.id] = failure(str(error))
            continue
        met = Frames.of(own, output, output if match.method == "network" else scenes[plan.id].image.box)
        found[pairs.anchor, pairs.options.told_in(met.ratio), met.matched].append((plan, pairs.item))
    if anchor.id in scenes:
        fitting = [way for way in found if way[2] == own]
        alone = anchor_bands(match, scene_bands(anchor))
        way = max(fitting, key=lambda way: len(found[way]), default=(alone.anchor, alone.options, own))
        found[way] += [(plan, way[0]) for plan in plans if plan.id == anchor.id]
    groups = [
        _Group(
            plans=tuple(plan for plan, _ in group),
            bands=tuple(item for _, item in group),
            anchor=bands,
            options=options,
            frame=frame,
        )
        for (bands, options, frame), group in found.items()
    ]
    return groups, refused


def _matched(
    group: _Group, scenes: Mapping[str, Scene], anchor: Scene, settings: DeliverySettings
) -> da.Array:
    placed, own, position = _placed(group, scenes, anchor)
    first = reference(SceneItem(scene=own), group.options)
    return scene_deliveries(group.plans, placed, position, first, group.options, settings)


def _network(group: _Group, scenes: Mapping[str, Scene], anchor: Scene, output: GeoBox) -> da.Array:
    """Records of the scenes of a group, from all of them together, the anchor among them or behind them."""
    able = [(scenes[plan.id], bands) for plan, bands in zip(group.plans, group.bands, strict=True)]
    if all(scene.id != anchor.id for scene, _ in able):
        able.append((anchor, group.anchor))
    items = Items(
        names=tuple(scene.id for scene, _ in able),
        times=np.array([scene.time for scene, _ in able], "datetime64[ns]"),
        anchor=next(k for k, (scene, _) in enumerate(able) if scene.id == anchor.id),
    )
    scenes_on = [with_match_bands(scene, bands, group.frame) for scene, bands in able]
    options = group.options
    if options.model != "shift":
        options.check_told()
        matched, told = (
            network_lattice(network_frame(scenes_on, items.anchor, frame), frame, options.model)
            for frame in (group.frame, output)
        )
        items = replace(items, lattice=matched)
        options = options.told_over(told)
    placed, corner = network_place(scenes_on, items.anchor)
    first = reference(SceneItem(scene=placed[items.anchor], corner=corner), options)
    return scene_network(scene_items(placed, corner), placed, items, first, options)


def _joint(
    groups: Sequence[_Group],
    scenes: Mapping[str, Scene],
    anchor: Scene,
    output: GeoBox,
    match: MatchSettings,
    references: Mapping[str, Scene],
) -> list[da.Array]:
    """Records of the scenes of each group, where they follow from all scenes together."""
    if match.method == "network":
        found = [_network(group, scenes, anchor, output) for group in groups]
    else:
        made = _terrain if match.model == "terrain" else _alone
        found = [made(group, scenes, anchor) for group in groups]
    if match.datum == ANCHOR_DATUM:
        return found
    plans = [plan for group in groups for plan in group.plans]
    names = [plan.id for plan in plans]
    # a network has an anchor that is in another group behind its scenes
    sizes = [len(group.plans) for group in groups]
    every = da.concatenate([one[:size] for one, size in zip(found, sizes, strict=True)])
    position = names.index(anchor.id) if anchor.id in names else None
    against = {
        name: _against(plans, scenes, image, output, match.with_reference)
        for name, image in references.items()
    }
    moved = in_datum_records(every, names, position, match, against)
    ends = np.cumsum(sizes)
    return [moved[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _alone(group: _Group, scenes: Mapping[str, Scene], anchor: Scene) -> da.Array:
    """Records of the scenes of a group, each matched with the anchor."""
    items, first, position = _placed(group, scenes, anchor)
    prepared = reference(SceneItem(scene=first), group.options)
    return records(scene_items(items), position, prepared, group.options)


def _against(
    plans: Sequence[ItemPlan],
    scenes: Mapping[str, Scene],
    image: Scene,
    output: GeoBox,
    match: MatchSettings,
) -> da.Array:
    """Records of scenes against an image that tells the datum, told in pixels of the output."""
    told = output_lattice(image.image.box, [output])
    reasons = {plan.id: unplaceable(scenes[plan.id], image, lattice=told) for plan in plans}
    unmatched = {name: failure(reason) for name, reason in reasons.items() if reason is not None}
    groups, refused = _grouped([p for p in plans if p.id not in unmatched], scenes, image, told, match)
    unmatched |= refused
    found = [_alone(group, scenes, image) for group in groups]
    order = [plan.id for group in groups for plan in group.plans] + list(unmatched)
    if unmatched:
        found.append(object_array("coregstack-unmatched-", list(unmatched.values())))
    ordered: da.Array = da.concatenate(found)[[order.index(plan.id) for plan in plans]].rechunk(1)
    return ordered


def _terrain(group: _Group, scenes: Mapping[str, Scene], anchor: Scene) -> da.Array:
    """Records of the scenes of a group, from the patterns that they have in common."""
    group.options.check_told()
    items, first, position = _placed(group, scenes, anchor)
    prepared, (height, width) = reference(SceneItem(scene=first), group.options), group.frame.shape
    return terrain_records(
        scene_items(items), position, prepared, group.options, (height, width), reread=False
    )


def _placed(
    group: _Group, scenes: Mapping[str, Scene], anchor: Scene
) -> tuple[list[PlacedScene], PlacedScene, int | None]:
    """The scenes of a group and the anchor in the frame of the match, and its position among them."""
    items = [scenes[plan.id] for plan in group.plans]
    placed = [
        with_match_bands(scene, bands, group.frame) for scene, bands in zip(items, group.bands, strict=True)
    ]
    position = next((k for k, scene in enumerate(items) if scene.id == anchor.id), None)
    return placed, with_match_bands(anchor, group.anchor, group.frame), position


def words_of_unapplied(reports: Sequence[ItemReport], decide: str) -> tuple[str, ...]:
    """One line on items that are not moved, by the rule, although a shift is known; empty if there are none."""
    count = sum(stays_unapplied(report.quality) for report in reports)
    if not count or decide != "score":
        return ()
    items = "1 item is" if count == 1 else f"{count} items are"
    return (
        f"{items} not moved because of the score, although a shift of more than {WORTH_TELLING:g} px was found: "
        "--decide evidence (decide='evidence' in Python) applies it.",
    )


def run_fingerprint(
    anchor: Scene,
    scenes: Sequence[Scene],
    match: MatchSettings,
    lattice: GeoBox | None = None,
    references: Mapping[str, Scene] | None = None,
) -> tuple[tuple[str, str], ...]:
    """What all items of a run depend on, by name; where they are adjusted together each depends on all others.

    `lattice` is that of the output, where it does not follow from the anchor alone; `references` are the images that
    the datum names.
    """
    options = {one.name: getattr(match, one.name) for one in fields(match) if one.name != "estimator"}
    found = [
        ("anchor", str(tokenize(anchor, _samples([anchor])))),
        ("options", str(tokenize(sorted(options.items())))),
    ]
    if lattice is not None:
        found.append(("lattice", str(tokenize(lattice))))
    if references:
        images = list(references.values())
        found.append(("datum", str(tokenize(images, _samples(images)))))
    if match.estimator != OWN:
        found.append(("estimator", str(tokenize(estimator_identity(match.estimator)))))
    if match.together:
        found.append(("scenes", str(tokenize(list(scenes), _samples(scenes)))))
    return tuple(found)


def reference_digests(
    outside: Sequence[Scene], scenes: Sequence[Scene], match: MatchSettings
) -> tuple[tuple[str, str], ...]:
    """Path and SHA-256 of the files that every item of a run depends on: anchor, images of the datum, all scenes."""
    all_of = {scene.id: scene for scene in (*outside, *(scenes if match.together else ()))}.values()
    return tuple((path, file_digest(path, "sha256")) for path in _files_of(list(all_of)))


def _samples(scenes: Sequence[Scene]) -> list[str]:
    """Digests that distinguish files of the same size and time."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(sample_digest, _files_of(scenes)))


def _files_of(scenes: Sequence[Scene]) -> list[str]:
    """Paths of the images and masks of scenes."""
    return [path for scene in scenes for path in scene.paths]


@contextmanager
def output_folder(output: Path, inputs: Iterable[Path]) -> Iterator[str]:
    """An output folder for one run alone: made, and cleared of what a killed run left half-written.

    Yields
    ------
    str
        The run's claim to the folder, which ends with it.

    Raises
    ------
    OutputConflict
        If the output is or holds an input, lies in an input folder, a Zarr store or a folder of unpacked archives,
        is a file, or is written by another run.
    WriteError
        If it cannot be made or locked.
    """
    check_apart(output, inputs)
    check_no_store(output)
    check_lasting(output)
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
        token = claim.claim(output)
        _clear(output)
        try:
            yield token
        finally:
            # a lost worker leaves what it was writing, and others may still be at work
            claim.release(output)
            _clear(output)


def _clear(output: Path) -> None:
    # what cannot be removed harms no file of the run; the check of the output reports it
    with suppress(OSError):
        for entry in walked(output):
            if is_half_written(Path(entry.path)):
                with suppress(OSError):
                    os.unlink(entry.path)
