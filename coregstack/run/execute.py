"""A whole run: every item is matched, decided on and written, independently of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import dask.array as da
import numpy as np
from odc.geo.geobox import GeoBox

from coregstack.export.deliver import deliver_item, log_report
from coregstack.export.earlier import Earlier, all_earlier, left_behind, words_of_again, words_of_left
from coregstack.export.plan import DeliverySettings, ItemPlan, ItemReport
from coregstack.geometry.unlike import output_lattice
from coregstack.graph.blocks import object_array
from coregstack.graph.datum import in_datum_records
from coregstack.graph.matched import records, reference, scene_items
from coregstack.graph.network import Items, scene_network
from coregstack.graph.sketches import network_frame, network_lattice, network_place
from coregstack.graph.terrain import terrain_records
from coregstack.graph.written import deliveries, scene_deliveries
from coregstack.matching.bands import anchor_bands
from coregstack.matching.choices import ANCHOR_DATUM
from coregstack.matching.decision import ANCHOR_QUALITY, WORTH_TELLING, failure, stays_unapplied
from coregstack.matching.items import SceneItem
from coregstack.matching.options import MatchSettings
from coregstack.pixels.scene import PlacedScene, Scene
from coregstack.run.groups import Group, grouped
from coregstack.run.memory import scene_bytes
from coregstack.run.scheduler import Progress, Undone, compute_items
from coregstack.run.targets import begin, check_targets
from coregstack.stack.opening import Unusable
from coregstack.stack.placing import scene_bands, unplaceable, with_match_bands

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
    groups, refused = grouped([p for p in plans if p.id not in known], scenes, anchor, settings.anchor, match)
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


def _matched(
    group: Group, scenes: Mapping[str, Scene], anchor: Scene, settings: DeliverySettings
) -> da.Array:
    placed, own, position = _placed(group, scenes, anchor)
    first = reference(SceneItem(scene=own), group.options)
    return scene_deliveries(group.plans, placed, position, first, group.options, settings)


def _network(group: Group, scenes: Mapping[str, Scene], anchor: Scene, output: GeoBox) -> da.Array:
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
    groups: Sequence[Group],
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


def _alone(group: Group, scenes: Mapping[str, Scene], anchor: Scene) -> da.Array:
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
    groups, refused = grouped([p for p in plans if p.id not in unmatched], scenes, image, told, match)
    unmatched |= refused
    found = [_alone(group, scenes, image) for group in groups]
    order = [plan.id for group in groups for plan in group.plans] + list(unmatched)
    if unmatched:
        found.append(object_array("coregstack-unmatched-", list(unmatched.values())))
    ordered: da.Array = da.concatenate(found)[[order.index(plan.id) for plan in plans]].rechunk(1)
    return ordered


def _terrain(group: Group, scenes: Mapping[str, Scene], anchor: Scene) -> da.Array:
    """Records of the scenes of a group, from the patterns that they have in common."""
    group.options.check_told()
    items, first, position = _placed(group, scenes, anchor)
    prepared, (height, width) = reference(SceneItem(scene=first), group.options), group.frame.shape
    return terrain_records(
        scene_items(items), position, prepared, group.options, (height, width), reread=False
    )


def _placed(
    group: Group, scenes: Mapping[str, Scene], anchor: Scene
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
