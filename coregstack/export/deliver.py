"""Delivery of one item: all its files are moved or copied, its sidecar last, and a note records what was
done."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, MissingDisplacement, UnreadableFile
from coregstack.export import claim
from coregstack.export.contents import copy_file, file_digest
from coregstack.export.displacement import write_displacement
from coregstack.export.earlier import made_from, own_files, remember, states
from coregstack.export.evidence import keep_evidence
from coregstack.export.files import RunEnded, check_held, inside
from coregstack.export.geotiff import write_moved
from coregstack.export.movement import Movement
from coregstack.export.plan import Asset, DeliverySettings, ItemPlan, ItemReport, WrittenFile, written
from coregstack.export.sidecar import displacement_name, quality_record, sidecar_name, write_sidecar
from coregstack.export.vrt import write_vrt
from coregstack.geometry.lattice import epsg_code, same_crs, same_pixels
from coregstack.geometry.validarea import placed_area
from coregstack.matching.decision import Treatment, failure, lacks_displacement, treat
from coregstack.model import NO_SHIFT, Displacement, ItemQuality, Shift, Status, ValidArea
from coregstack.pixels.bandcache import BandCache
from coregstack.pixels.raster import read_header
from coregstack.untrusted.names import safe_relative

T = TypeVar("T")

_ITEM_KEYS = ("planet/item_id", "planet/item_type")

log = logging.getLogger(__name__)


def deliver_item(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, cache: BandCache | None = None
) -> ItemReport:
    """Write all files of an item.

    If a file cannot be moved, the whole item is delivered as it is, since its files belong together.

    Parameters
    ----------
    plan : ItemPlan
        The item's files.
    quality : ItemQuality
        What was decided for it.
    settings : DeliverySettings
        What holds for the whole run.
    cache : BandCache, optional
        The item's image, if it is open and in memory already.

    Returns
    -------
    ItemReport
        Problems are named in it; nothing is raised for a damaged file or a full disk.
    """
    try:
        report = _dry(plan, quality) if settings.dry_run else _delivered(plan, quality, settings, cache)
    except RunEnded as error:
        # the run that asked for it has ended; one that still waits gets this report
        log.info("item %s: %s", plan.id, error, extra={"item": plan.id})
        return _undelivered(plan, quality, str(error))
    log_report(report)
    return report


def log_report(report: ItemReport) -> None:
    """Log what became of an item; the record's attribute `item` is its id."""
    words = "; ".join(dict.fromkeys((report.quality.details, *report.problems))).replace("\n", " ")
    log.log(
        logging.WARNING if report.problems else logging.INFO,
        "item %s: %s%s; %s", report.id, report.quality.status, " by an earlier run" if report.resumed else "", words,
        extra={"item": report.id},
    )  # fmt: skip


def _bare(quality: ItemQuality) -> ItemQuality:
    """A quality without what grows with the scene: it stays on disk, so that what comes back from tasks is small."""
    return replace(quality, evidence=None, displacement=None)


def _dry(plan: ItemPlan, quality: ItemQuality) -> ItemReport:
    problems = (quality.details,) if quality.unreadable else ()
    return ItemReport(id=plan.id, quality=_bare(quality), files=(), problems=problems)


def _delivered(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, cache: BandCache | None
) -> ItemReport:
    try:
        with claim.under(Path(settings.output), settings.claim):
            return _deliver(plan, quality, settings, cache)
    except RunEnded:
        raise
    except Exception as error:
        # no error of one item may stop the others
        log.exception("item %s: not delivered", plan.id, extra={"item": plan.id})
        words = f"An unexpected error stopped it ({type(error).__name__}: {error}); please report it."
        return _undelivered(plan, quality, words)


def _undelivered(plan: ItemPlan, quality: ItemQuality, words: str) -> ItemReport:
    quality = quality if quality.status is Status.ANCHOR else failure(words)
    return ItemReport(id=plan.id, quality=_bare(quality), files=(), problems=(words,))


def _deliver(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, cache: BandCache | None
) -> ItemReport:
    problems = [quality.details] if quality.unreadable else []
    superseded = own_files(plan, settings)
    stood, before = states(plan), made_from(plan, settings)
    sources = dict(settings.references)
    files: list[WrittenFile] = []
    box = cache.header.box if cache is not None else _box_of(plan)
    try:
        for asset in plan.assets:
            if digest := check_source(asset, digest=settings.check):
                sources[asset.source] = digest
        if lacks_displacement(quality):
            raise MissingDisplacement(
                f"The {quality.model} of {plan.id} is not known here, only its mean: write what align or apply "
                "returned before its pixels are computed, or use run_scenes with the same model."
            )
        treatment = treat(quality, same_crs=_fits(plan, box, quality, settings))
        for asset in plan.assets:
            files.append(_write(asset, treatment, settings, cache))  # noqa: PERF401 (what was written has to be known)
        if isinstance(treatment.move, Displacement):
            files.append(_write_displacement(plan, treatment.move, settings))
    except RunEnded:
        raise
    except CoregError as error:
        problems.append(str(error))
        if quality.status is not Status.ANCHOR:
            quality = _failed(quality, error)
        treatment = treat(quality, same_crs=True)
        superseded |= {file.path for file in files}
        files = _copied(plan, treatment, settings, problems)
    if quality.status is not Status.ANCHOR:
        sidecar = _tried(problems, lambda: _write_sidecar(plan, box, quality, treatment, files, settings))
        files += [] if sidecar is None else [sidecar]
    _remove(superseded - {file.path for file in files}, settings)
    if states(plan) != stood and made_from(plan, settings) != before:
        problems.append(f"Files of {plan.id} changed while they were read; run again to do the item anew.")
    area = _tried(problems, lambda: _written_area(quality, box, treatment, settings))
    _tried(problems, lambda: keep_evidence(Path(settings.output), plan.id, quality.evidence, box, area))
    report = ItemReport(
        id=plan.id,
        quality=_bare(quality),
        files=tuple(files),
        problems=tuple(dict.fromkeys(problems)),
    )
    # an item with problems is noted for what was written, and done again by the next run
    _tried(problems, lambda: remember(plan, report, {} if report.problems else before, sources, settings))
    return replace(report, problems=tuple(dict.fromkeys(problems)))


def _copied(
    plan: ItemPlan, treatment: Treatment, settings: DeliverySettings, problems: list[str]
) -> list[WrittenFile]:
    """All files of an item as they came, as far as they can be read and written."""
    tried = (_tried(problems, partial(_write, asset, treatment, settings)) for asset in plan.assets)
    return [file for file in tried if file is not None]


def _tried(problems: list[str], work: Callable[[], T]) -> T | None:
    """What a step gives; None where it fails, with its error among the problems."""
    try:
        return work()
    except RunEnded:
        raise
    except CoregError as error:
        problems.append(str(error))
        return None


def _failed(quality: ItemQuality, error: CoregError) -> ItemQuality:
    details = str(error) if quality.unreadable else f"{error} {quality.details}"
    return replace(quality, status=Status.FAILED, after=None, improvement=None, details=details)


def check_source(asset: Asset, *, digest: bool = False) -> str:
    """Make sure that a source is the file that its manifest describes.

    Parameters
    ----------
    asset : Asset
        The file.
    digest : bool
        Whether its digest is wanted although no manifest asks for it.

    Returns
    -------
    str
        Its SHA-256 as hexadecimal text; empty where it was not needed.

    Raises
    ------
    MissingFile, UnreadableFile
        If it has another digest, is not there, or cannot be read.
    """
    source, known = asset.source, dict(asset.expected)
    sha256 = file_digest(source, "sha256") if digest or "sha256" in known else ""
    if known:
        # one is enough, and of md5 and sha256 the one that sorts last is the stronger
        algorithm = max(known)
        found = sha256 if algorithm == "sha256" else file_digest(source, algorithm)
        if found != known[algorithm]:
            raise UnreadableFile(
                f"{asset.source!r} is not the file that the manifest describes: its {algorithm} is another. "
                "Fetch it again, or take it as it is by not verifying."
            )
    return sha256


def _fits(plan: ItemPlan, box: GeoBox | None, quality: ItemQuality, settings: DeliverySettings) -> bool:
    """Whether the item has the CRS of the output, and the pixel size that is asked for; not looked at if it stays."""
    if quality.status not in (Status.ALREADY_ALIGNED, Status.COREGISTERED):
        return True
    own = box or _readable_box(plan)
    fits = same_pixels if settings.like_anchor else same_crs
    return fits(own, settings.anchor)


def _write(
    asset: Asset, treatment: Treatment, settings: DeliverySettings, cache: BandCache | None = None
) -> WrittenFile:
    suffix = "" if asset.content is None else treatment.suffix
    target = inside(settings.output, asset.folder, asset.named(suffix, copied=not treatment.placed))
    if asset.content is None or not (treatment.placed or settings.vrt):
        copy_file(asset.source, target)
        return written(target, settings.output, dict(asset.annotations), digested=settings.digests)
    movement = None
    if treatment.placed:
        movement = Movement(
            anchor=settings.anchor,
            move=treatment.move,
            resampling=settings.resampling,
            cog=settings.cog,
            like_anchor=settings.like_anchor,
            nearest=settings.nearest,
        )
    own = None if cache is None else cache.of_file(asset.source)
    if movement is None or settings.vrt:
        write_vrt(asset.source, target, asset.content, movement, own)
    else:
        write_moved(asset.source, target, asset.content, movement, own, nodata=asset.nodata)
    return written(target, settings.output, dict(asset.annotations), digested=settings.digests)


def _write_displacement(
    plan: ItemPlan, displacement: Displacement, settings: DeliverySettings
) -> WrittenFile:
    path = inside(settings.output, plan.displacement)
    write_displacement(path, displacement, settings.anchor)
    return written(path, settings.output, digested=settings.digests)


def _mean(quality: ItemQuality, treatment: Treatment) -> Shift:
    """The mean of what is applied, px of the anchor."""
    return treatment.move if isinstance(treatment.move, Shift) else quality.shift or NO_SHIFT


def _remove(paths: set[str], settings: DeliverySettings) -> None:
    """Remove files of an item that this run, or an earlier one, has written under another name."""
    check_held()
    for path in paths:
        with suppress(OSError):
            inside(settings.output, str(safe_relative(path))).unlink(missing_ok=True)


def _write_sidecar(
    plan: ItemPlan,
    box: GeoBox | None,
    quality: ItemQuality,
    treatment: Treatment,
    files: list[WrittenFile],
    settings: DeliverySettings,
) -> WrittenFile:
    copied = not treatment.placed
    rasters = [a.named(treatment.suffix, copied=copied) for a in plan.assets if a.content is not None]
    there = {Path(f.path).name for f in files}
    record = quality_record(
        quality,
        anchor_item=settings.anchor_id,
        target_item=plan.id,
        epsg_before=None if box is None else epsg_code(box),
        epsg_after=_epsg_after(box, treatment, settings),
        output_files=[name for name in rasters if name in there],
        method=settings.method,
        estimator=settings.estimator,
        displacement=displacement_name(plan.id) if isinstance(treatment.move, Displacement) else None,
    )
    check_held()
    name = sidecar_name(plan.id)
    path = write_sidecar(inside(settings.output, plan.folder, name).parent, record)
    kept = {key: value for key, value in plan.assets[0].annotations if key in _ITEM_KEYS}
    return written(path, settings.output, kept, digested=settings.digests)


def _readable_box(plan: ItemPlan) -> GeoBox:
    return read_header(plan.assets[0].source).box


def _box_of(plan: ItemPlan) -> GeoBox | None:
    try:
        return _readable_box(plan)
    except CoregError:
        return None


def _epsg_after(box: GeoBox | None, treatment: Treatment, settings: DeliverySettings) -> int | None:
    stays = not treatment.placed or settings.keeps_crs
    if box is None or stays or same_crs(box, settings.anchor):
        return None
    return epsg_code(settings.anchor)


def _written_area(
    quality: ItemQuality, box: GeoBox | None, treatment: Treatment, settings: DeliverySettings
) -> ValidArea | None:
    """Where the image, as it was written, is valid; None where that is not known."""
    found = None if quality.evidence is None else quality.evidence.area
    if found is None or box is None:
        return None
    stays = not treatment.placed or settings.keeps_crs
    return placed_area(found, box if stays else settings.anchor, settings.anchor, _mean(quality, treatment))
