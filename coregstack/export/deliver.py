"""One item delivered: all its files moved or copied, its sidecar last, and a note of what was done."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from odc.geo.geobox import GeoBox

from coregstack._version import __version__
from coregstack.errors import CoregError, UnreadableFile
from coregstack.export.evidence import STATE, keep_evidence
from coregstack.export.files import copy_file, digests, file_digest
from coregstack.export.geotiff import Content, Movement, write_moved
from coregstack.export.notes import read_note, write_note
from coregstack.export.sidecar import quality_record, write_sidecar
from coregstack.geometry.lattice import epsg_code, same_crs
from coregstack.geometry.validarea import placed_area
from coregstack.matching.decision import Treatment, failure, treat
from coregstack.matching.quality import plain_values, quality_of
from coregstack.model import ItemQuality, Status, ValidArea
from coregstack.pixels.held import Held
from coregstack.pixels.raster import read_header
from coregstack.untrusted.names import safe_relative

_ITEM_KEYS = ("planet/item_id", "planet/item_type")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file of an item and what it is called in the output."""

    source: str
    """Absolute path."""
    folder: str
    """Folder in the output, relative to its root, with ``/``; empty for the root."""
    name: str
    """Name where the file is left as it is."""
    coreg_name: str
    """Name where the item is aligned."""
    anchor_name: str
    """Name where the item is the anchor."""
    content: Content | None
    """What a raster holds; None for a file that is passed through under its own name."""
    annotations: tuple[tuple[str, str], ...] = ()
    """What the manifest says of the file."""
    expected: tuple[tuple[str, str], ...] = ()
    """Digests that the source has to have, by the name of the algorithm; empty if none are known."""

    def named(self, suffix: str) -> str:
        """File name in the output for a suffix of `coregstack.matching.decision.Treatment`."""
        return {"_coreg": self.coreg_name, "_anchor": self.anchor_name}.get(suffix, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPlan:
    """An item and all its files; the image that is matched comes first."""

    id: str
    assets: tuple[Asset, ...]

    @property
    def folder(self) -> str:
        """Where the sidecar lies: beside the image."""
        return self.assets[0].folder


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """What is the same for all items of a run."""

    output: str
    """Root of the output folder."""
    anchor_id: str
    """Item id of the anchor."""
    anchor: GeoBox
    """The anchor's box, whose lattice is taken."""
    resampling: str
    """How images are interpolated."""
    cog: bool
    """Whether moved rasters are written as COG."""
    fingerprint: str
    """What all items of the run depend on: the anchor, the options, the version."""
    method: str = "direct"
    """How the shifts were found: ``direct`` or ``network``."""
    digests: bool = False
    """Whether reports tell the digests of what was written."""
    dry_run: bool = False
    """Whether items are only reported on, and nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file of the output."""

    path: str
    """Relative to the output's root, with ``/``."""
    size: int
    md5: str = ""
    """Hexadecimal; empty where nobody asked for digests."""
    sha256: str = ""
    """Hexadecimal; empty where nobody asked for digests."""
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemReport:
    """What became of one item."""

    id: str
    quality: ItemQuality
    files: tuple[WrittenFile, ...]
    problems: tuple[str, ...] = ()
    """Files that could not be read or written, each with the reason."""
    resumed: bool = False
    """Whether an earlier run had done it already."""


def deliver_item(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, held: Held | None = None
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
    held : Held, optional
        The item's image, if it is open and in memory already.

    Returns
    -------
    ItemReport
        Problems are named in it; nothing is raised for a damaged file or a full disk.
    """
    report = _dry(plan, quality) if settings.dry_run else _delivered(plan, quality, settings, held)
    log_report(report)
    return report


def log_report(report: ItemReport) -> None:
    """Tell the log what became of an item; the record's attribute `item` is its id."""
    words = "; ".join(dict.fromkeys((report.quality.details, *report.problems))).replace("\n", " ")
    log.log(
        logging.WARNING if report.problems else logging.INFO,
        "item %s: %s%s; %s", report.id, report.quality.status, " by an earlier run" if report.resumed else "", words,
        extra={"item": report.id},
    )  # fmt: skip


def _dry(plan: ItemPlan, quality: ItemQuality) -> ItemReport:
    problems = (quality.details,) if quality.unreadable else ()
    return ItemReport(id=plan.id, quality=replace(quality, evidence=None), files=(), problems=problems)


def _delivered(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, held: Held | None
) -> ItemReport:
    try:
        return _deliver(plan, quality, settings, held)
    except Exception as error:
        # whatever it is, it must not stop the other items
        log.exception("item %s: not delivered", plan.id, extra={"item": plan.id})
        words = f"An unexpected error stopped it ({type(error).__name__}: {error}); please report it."
        quality = quality if quality.status is Status.ANCHOR else failure(words)
        return ItemReport(id=plan.id, quality=replace(quality, evidence=None), files=(), problems=(words,))


def _deliver(
    plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings, held: Held | None
) -> ItemReport:
    problems = [quality.details] if quality.unreadable else []
    superseded = _noted_files(plan, settings)
    before = _fingerprint(plan, settings)
    files: list[WrittenFile] = []
    box = held.header.box if held is not None else _box_of(plan)
    try:
        for asset in plan.assets:
            check_source(asset)
        treatment = treat(quality, same_crs=_has_crs(plan, box, quality, settings.anchor))
        for asset in plan.assets:
            files.append(_write(asset, treatment, settings, held))  # noqa: PERF401 (what was written has to be known)
    except CoregError as error:
        problems.append(str(error))
        if quality.status is not Status.ANCHOR:
            quality = _failed(quality, error)
        treatment = treat(quality, same_crs=True)
        superseded |= {file.path for file in files}
        files = []
        for asset in plan.assets:
            try:
                files.append(_write(asset, treatment, settings))
            except CoregError as copy_error:
                problems.append(str(copy_error))
    try:
        if quality.status is not Status.ANCHOR:
            files.append(_write_sidecar(plan, box, quality, treatment, files, settings))
    except CoregError as error:
        problems.append(str(error))
    _remove(superseded - {file.path for file in files}, settings)
    if _fingerprint(plan, settings) != before:
        problems.append(f"Files of {plan.id} changed while they were read; run again to do the item anew.")
    try:
        area = _written_area(quality, box, treatment, settings)
        keep_evidence(Path(settings.output), plan.id, quality.evidence, box, area)
    except CoregError as error:
        problems.append(str(error))
    # the evidence stays on disk, so that what comes back does not grow with the number of items
    report = ItemReport(
        id=plan.id,
        quality=replace(quality, evidence=None),
        files=tuple(files),
        problems=tuple(dict.fromkeys(problems)),
    )
    try:
        # an item with problems is noted for what was written, and done again by the next run
        _remember(plan, report, "" if problems else before, settings)
    except CoregError as error:
        return replace(report, problems=(*report.problems, str(error)))
    return report


def _failed(quality: ItemQuality, error: CoregError) -> ItemQuality:
    details = str(error) if quality.unreadable else f"{error} {quality.details}"
    return replace(quality, status=Status.FAILED, after=None, improvement=None, details=details)


def check_source(asset: Asset) -> None:
    """Make sure that a source is the file that its manifest describes.

    Raises
    ------
    UnreadableFile
        If it has another digest, or cannot be read.
    """
    if not asset.expected:
        return
    # one is enough, and of md5 and sha256 the one that sorts last is the stronger
    algorithm, digest = max(asset.expected)
    if file_digest(Path(asset.source), algorithm) != digest:
        raise UnreadableFile(
            f"{asset.source!r} is not the file that the manifest describes: its {algorithm} is another. "
            "Fetch it again, or take it as it is by not verifying."
        )


def finished(plan: ItemPlan, settings: DeliverySettings) -> ItemReport | None:
    """What an earlier run made of an item, if nothing has changed since and its files are still there."""
    path = _state_path(plan, settings)
    try:
        noted = path.stat().st_mtime_ns
        state = read_note(path)
        if state["fingerprint"] != _fingerprint(plan, settings):
            return None
        files = tuple(WrittenFile(**entry) for entry in state["files"])
        found = [(Path(settings.output) / f.path).stat() for f in files]
        sound = all(s.st_size == f.size and s.st_mtime_ns <= noted for s, f in zip(found, files, strict=True))
        if not sound:
            return None
        return ItemReport(id=plan.id, quality=quality_of(state["quality"]), files=files, resumed=True)
    except (OSError, ValueError):
        # no note, or one that cannot be trusted: the item is done again
        return None


def _noted_files(plan: ItemPlan, settings: DeliverySettings) -> set[str]:
    """Files that an earlier run has written of an item; none where no note can be trusted."""
    try:
        return {file["path"] for file in read_note(_state_path(plan, settings))["files"]}
    except CoregError:
        return set()


def _has_crs(plan: ItemPlan, box: GeoBox | None, quality: ItemQuality, anchor: GeoBox) -> bool:
    """Whether the item has the anchor's CRS; an image that will not be moved is not looked at."""
    if quality.status not in (Status.ALREADY_ALIGNED, Status.COREGISTERED):
        return True
    return same_crs(box or _readable_box(plan), anchor)


def _write(
    asset: Asset, treatment: Treatment, settings: DeliverySettings, held: Held | None = None
) -> WrittenFile:
    suffix = "" if asset.content is None else treatment.suffix
    target = Path(settings.output, asset.folder, asset.named(suffix))
    if asset.content is None or not treatment.placed:
        copy_file(Path(asset.source), target)
    else:
        movement = Movement(
            anchor=settings.anchor,
            shift=treatment.shift,
            resampling=settings.resampling,
            cog=settings.cog,
        )
        own = held if held is not None and held.header.path == asset.source else None
        write_moved(asset.source, target, asset.content, movement, own)
    return written(target, settings.output, dict(asset.annotations), digested=settings.digests)


def written(
    path: Path, root: str, annotations: dict[str, str] | None = None, *, digested: bool = True
) -> WrittenFile:
    """Size, and digests if they are wanted, of a file that was written below `root`.

    Raises
    ------
    UnreadableFile
        If it cannot be read.
    """
    found = digests(path) if digested else {}
    return WrittenFile(
        path=path.relative_to(root).as_posix(),
        size=path.stat().st_size,
        annotations=annotations or {},
        **found,
    )


def _remove(paths: set[str], settings: DeliverySettings) -> None:
    """Remove files of an item that this run, or an earlier one, has written under another name."""
    for path in paths:
        with suppress(OSError):
            Path(settings.output, safe_relative(path)).unlink(missing_ok=True)


def _write_sidecar(
    plan: ItemPlan,
    box: GeoBox | None,
    quality: ItemQuality,
    treatment: Treatment,
    files: list[WrittenFile],
    settings: DeliverySettings,
) -> WrittenFile:
    rasters = [a.named(treatment.suffix) for a in plan.assets if a.content is not None]
    there = {Path(f.path).name for f in files}
    record = quality_record(
        quality,
        anchor_item=settings.anchor_id,
        target_item=plan.id,
        epsg_before=None if box is None else epsg_code(box),
        epsg_after=_epsg_after(box, treatment, settings),
        output_files=[name for name in rasters if name in there],
        method=settings.method,
    )
    path = write_sidecar(Path(settings.output, plan.folder), record)
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
    stays = not treatment.placed or settings.resampling == "none"
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
    stays = not treatment.placed or settings.resampling == "none"
    return placed_area(found, box if stays else settings.anchor, settings.anchor, treatment.shift)


def _fingerprint(plan: ItemPlan, settings: DeliverySettings) -> str:
    parts: list[Any] = [__version__, settings.fingerprint, settings.resampling, settings.cog]
    parts += [settings.digests, plan.id]
    parts += [[a.source, a.folder, a.name, a.expected, *_stamp(a.source)] for a in plan.assets]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of change of a file; zeros where it is gone."""
    try:
        stat = Path(path).stat()
    except OSError:
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def _state_path(plan: ItemPlan, settings: DeliverySettings) -> Path:
    return Path(settings.output, STATE, f"{plan.id}.json")


def _remember(plan: ItemPlan, report: ItemReport, fingerprint: str, settings: DeliverySettings) -> None:
    note = {
        "fingerprint": fingerprint,
        "quality": plain_values(report.quality),
        "resampling": settings.resampling,
        "files": [asdict(f) for f in report.files],
    }
    write_note(_state_path(plan, settings), note)
