"""One item delivered: all its files moved or copied, its sidecar last, and a note of what was done."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from odc.geo.geobox import GeoBox

from coregstack._version import __version__
from coregstack.errors import CoregError
from coregstack.export.evidence import STATE, keep_evidence
from coregstack.export.files import copy_file, digests, staged
from coregstack.export.geotiff import Content, Movement, write_moved
from coregstack.export.sidecar import quality_record, write_sidecar
from coregstack.grid import epsg_code, same_crs
from coregstack.model import ItemQuality, Shift, Status
from coregstack.policy import Treatment, treat
from coregstack.raster import read_header

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

    def named(self, suffix: str) -> str:
        """File name in the output for a suffix of `coregstack.policy.Treatment`."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenFile:
    """A file of the output."""

    path: str
    """Relative to the output's root, with ``/``."""
    size: int
    md5: str
    sha256: str
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


def deliver_item(plan: ItemPlan, quality: ItemQuality, settings: DeliverySettings) -> ItemReport:
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

    Returns
    -------
    ItemReport
        Problems are named in it; nothing is raised for a damaged file or a full disk.
    """
    problems: list[str] = []
    before = _fingerprint(plan, settings)
    try:
        treatment = treat(quality, same_crs=_has_crs(plan, settings.anchor))
        files = [_write(asset, treatment, settings) for asset in plan.assets]
    except CoregError as error:
        log.warning("item %s is delivered as it is: %s", plan.id, error)
        problems.append(str(error))
        if quality.status is not Status.ANCHOR:
            quality = replace(
                quality,
                status=Status.FAILED,
                after=None,
                improvement=None,
                details=f"{error} {quality.details}",
            )
        treatment = treat(quality, same_crs=True)
        files = []
        for asset in plan.assets:
            _forget(asset, settings)
            try:
                files.append(_write(asset, treatment, settings))
            except CoregError as copy_error:
                problems.append(str(copy_error))
    try:
        if quality.status is not Status.ANCHOR:
            files.append(_write_sidecar(plan, quality, treatment, files, settings))
    except CoregError as error:
        problems.append(str(error))
    if _fingerprint(plan, settings) != before:
        problems.append(f"Files of {plan.id} changed while they were read; run again to do the item anew.")
    try:
        keep_evidence(Path(settings.output), plan.id, quality.evidence, _box_of(plan))
    except CoregError as error:
        problems.append(str(error))
    # the evidence stays on disk, so that what comes back does not grow with the number of items
    report = ItemReport(
        id=plan.id,
        quality=replace(quality, evidence=None),
        files=tuple(files),
        problems=tuple(dict.fromkeys(problems)),
    )
    if not problems:
        _remember(plan, report, before, settings)
    return report


def finished(plan: ItemPlan, settings: DeliverySettings) -> ItemReport | None:
    """What an earlier run made of an item, if nothing has changed since and its files are still there."""
    path = _state_path(plan, settings)
    try:
        state = json.loads(path.read_text("utf-8"))
        if state["fingerprint"] != _fingerprint(plan, settings):
            return None
        files = tuple(WrittenFile(**entry) for entry in state["files"])
        if any((Path(settings.output) / f.path).stat().st_size != f.size for f in files):
            return None
        return ItemReport(id=plan.id, quality=_quality(state["quality"]), files=files, resumed=True)
    except (OSError, ValueError, KeyError, TypeError):
        # no note, or one that cannot be trusted: the item is done again
        return None


def quality_as_json(quality: ItemQuality) -> dict[str, Any]:
    """A quality as plain values for JSON, without its evidence."""
    return {name: getattr(quality, name) for name in ("before", "after", "improvement", "details")} | {
        "shift": None if quality.shift is None else list(quality.shift),
        "sigma": None if quality.sigma is None else list(quality.sigma),
        "status": str(quality.status),
    }


def quality_from(
    shift_y: float,
    shift_x: float,
    sigma_y: float,
    sigma_x: float,
    before: float,
    after: float,
    improvement: float,
    status: str,
    details: str,
) -> ItemQuality:
    """An item's entry of a quality Dataset as a value; NaN stands for None."""

    def known(value: float) -> float | None:
        return None if np.isnan(value) else float(value)

    shift = None if np.isnan([shift_y, shift_x]).any() else Shift(float(shift_y), float(shift_x))
    sigma = None if np.isnan([sigma_y, sigma_x]).any() else Shift(float(sigma_y), float(sigma_x))
    return ItemQuality(
        shift=shift,
        sigma=sigma,
        before=known(before),
        after=known(after),
        improvement=known(improvement),
        status=Status(str(status)),
        details=str(details),
    )


def _quality(value: Mapping[str, Any]) -> ItemQuality:
    return ItemQuality(
        **{
            **value,
            "shift": None if value["shift"] is None else Shift(*value["shift"]),
            "sigma": None if value["sigma"] is None else Shift(*value["sigma"]),
            "status": Status(value["status"]),
        }
    )


def _has_crs(plan: ItemPlan, anchor: GeoBox) -> bool:
    return same_crs(read_header(plan.assets[0].source).box, anchor)


def _write(asset: Asset, treatment: Treatment, settings: DeliverySettings) -> WrittenFile:
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
        write_moved(asset.source, target, asset.content, movement)
    return written(target, settings.output, dict(asset.annotations))


def written(path: Path, root: str, annotations: dict[str, str] | None = None) -> WrittenFile:
    """Size and digests of a file that was written below `root`."""
    return WrittenFile(
        path=path.relative_to(root).as_posix(),
        size=path.stat().st_size,
        annotations=annotations or {},
        **digests(path),
    )


def _forget(asset: Asset, settings: DeliverySettings) -> None:
    """Remove what was written of an asset before its item turned out to be not movable."""
    folder = Path(settings.output, asset.folder)
    for name in {asset.coreg_name, asset.anchor_name, asset.name}:
        (folder / name).unlink(missing_ok=True)


def _write_sidecar(
    plan: ItemPlan,
    quality: ItemQuality,
    treatment: Treatment,
    files: list[WrittenFile],
    settings: DeliverySettings,
) -> WrittenFile:
    rasters = [a.named(treatment.suffix) for a in plan.assets if a.content is not None]
    there = {Path(f.path).name for f in files}
    box = _box_of(plan)
    record = quality_record(
        quality,
        anchor_item=settings.anchor_id,
        target_item=plan.id,
        epsg_before=None if box is None else epsg_code(box),
        epsg_after=_epsg_after(box, treatment, settings),
        output_files=[name for name in rasters if name in there],
    )
    path = write_sidecar(Path(settings.output, plan.folder), record)
    kept = {key: value for key, value in plan.assets[0].annotations if key in _ITEM_KEYS}
    return written(path, settings.output, kept)


def _box_of(plan: ItemPlan) -> GeoBox | None:
    try:
        return read_header(plan.assets[0].source).box
    except CoregError:
        return None


def _epsg_after(box: GeoBox | None, treatment: Treatment, settings: DeliverySettings) -> int | None:
    if box is None or not treatment.placed or same_crs(box, settings.anchor):
        return None
    return epsg_code(settings.anchor)


def _fingerprint(plan: ItemPlan, settings: DeliverySettings) -> str:
    parts: list[Any] = [__version__, settings.fingerprint, settings.resampling, settings.cog, plan.id]
    parts += [[a.source, a.folder, a.name, *_stamp(a.source)] for a in plan.assets]
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
    state = {
        "fingerprint": fingerprint,
        "quality": quality_as_json(report.quality),
        "files": [asdict(f) for f in report.files],
    }
    with staged(_state_path(plan, settings)) as temporary:
        temporary.write_text(json.dumps(state), "utf-8")
