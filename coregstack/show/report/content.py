"""What a report tells, gathered from a run's result, from an output folder, or from a stack."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.export.evidence import KeptEvidence, kept_evidence
from coregstack.export.files import STATE
from coregstack.export.plan import TABLE
from coregstack.geometry.globe import unbroken
from coregstack.geometry.validarea import outline
from coregstack.matching.quality import Field, Plain, fields_in, missing_in
from coregstack.model import Displacement, Evidence, Status, TiePoints
from coregstack.run.result import RunResult, rows
from coregstack.show.fields import field_in_folder, field_in_quality
from coregstack.show.rematch import rematch
from coregstack.stack.heights import ToldViews, compare_views, fit_words
from coregstack.untrusted.jsonfile import parse_json, read_text
from coregstack.untrusted.limits import TABLE_BYTES
from coregstack.untrusted.times import time_from_name

Readers = tuple[Callable[[str], KeptEvidence | None], Callable[[str, GeoBox | None], Displacement | None]]
"""Read the evidence of an item, and how it is displaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """All that a report shows, but for the evidence, which is read item by item."""

    anchor: str
    """Id of the anchor."""
    items: tuple[dict[str, Any], ...]
    """Plain values of each item."""
    notes: tuple[str, ...]
    """What a reader should know of the run as a whole."""
    problems: tuple[str, ...]
    """Inputs that could not be read or written."""
    evidence: Callable[[str], KeptEvidence | None]
    """Reads what is kept of an item."""
    displacement: Callable[[str, GeoBox | None], Displacement | None]
    """Reads how an item is displaced, of an item whose evidence was read last, in the frame of the anchor's box."""
    views: ToldViews | None = None
    """Views that were found beside the angles that metadata tell, where both are known."""


def gather(source: Any) -> ReportContent:
    """Gather what a report shows.

    Parameters
    ----------
    source : RunResult, path-like, DataArray or Dataset
        As `coregstack.report` takes it.

    Raises
    ------
    InvalidRequest
        If the source is none of these, or a stack that carries no quality.
    MissingFile, UnreadableFile
        If a folder holds no run, or a damaged one.
    """
    if isinstance(source, RunResult):
        return _from_result(source)
    if isinstance(source, xr.DataArray | xr.Dataset):
        return _from_quality(source)
    try:
        folder = Path(source)
    except TypeError:
        raise InvalidRequest(
            "A report is made of what a run returned, of its output folder, of an aligned stack or of its "
            f"quality, but {type(source).__name__} was given."
        ) from None
    return _from_folder(folder)


def _from_result(result: RunResult) -> ReportContent:
    items = []
    for found, row in zip(result.reports, rows(result.reports), strict=True):
        values = row | {"time": result.time_text(found.id), "problems": found.problems}
        items.append(_item(values, [file.path for file in found.files]))
    return ReportContent(
        anchor=result.anchor,
        items=tuple(items),
        notes=result.notes,
        problems=result.problems,
        evidence=partial(kept_evidence, Path(result.output)),
        displacement=_in_folder(Path(result.output), items, result.lattice),
        views=_views(result.to_quality) if result.viewings else None,
    )


def _views(quality: Callable[[], xr.Dataset]) -> ToldViews | None:
    try:
        return compare_views(quality())
    except CoregError:
        # of files that are damaged meanwhile: it costs only the chart
        return None


def _from_folder(folder: Path) -> ReportContent:
    if not (folder / TABLE).is_file():
        raise MissingFile(
            f"{str(folder)!r} holds no {TABLE}: it is not the output folder of a finished run. Name the folder "
            "that was given as output."
        )
    lines = csv.DictReader(io.StringIO(read_text(folder / TABLE, limit=TABLE_BYTES), newline=""))
    try:
        items = tuple(_item(line, _files(folder, line["item"])) for line in lines)
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise UnreadableFile(
            f"{folder / TABLE} is not the table of a run ({error}); run again to have it written anew."
        ) from error
    return ReportContent(
        anchor=_anchor(items),
        items=items,
        notes=(),
        problems=tuple(f"{item['id']}: {item['problems']}" for item in items if item["problems"]),
        evidence=partial(kept_evidence, folder),
        displacement=_in_folder(folder, items),
    )


def _in_folder(
    folder: Path, items: Iterable[Mapping[str, Any]], lattice: GeoBox | None = None
) -> Callable[[str, GeoBox | None], Displacement | None]:
    """Reads displacements of an output folder; `lattice` is the anchor's box, where it is known."""
    files = {item["id"]: item["files"] for item in items}
    return lambda item_id, box: field_in_folder(folder, files[item_id], item_id, lattice or box)


def _from_quality(source: xr.DataArray | xr.Dataset) -> ReportContent:
    table = quality_table(source)
    told = table.drop(columns="time")
    source = source.assign_coords({name: ("time", told[name].to_numpy()) for name in told})
    items = tuple(_item(values, []) for values in table.reset_index().to_dict("records"))
    named = source.attrs.get("coregstack_anchor") or source.attrs.get("anchor")
    evidence, displacement = (
        _matched_again(source) if isinstance(source, xr.DataArray) else _alone(source, items)
    )
    return ReportContent(
        anchor=str(named or _anchor(items)),
        items=items,
        notes=(),
        problems=(),
        evidence=evidence,
        displacement=displacement,
        views=_views(lambda: source) if isinstance(source, xr.Dataset) and "id" in source.coords else None,
    )


def _alone(quality: xr.Dataset, items: Sequence[Mapping[str, Any]]) -> Readers:
    """Of a quality that has no pixels beside it."""
    ids = [item["id"] for item in items]
    return (lambda item_id: None), lambda item_id, box: field_in_quality(quality, ids.index(item_id))


def _matched_again(stack: xr.DataArray) -> Readers:
    """Of a stack's items, each matched once more when its evidence is asked for."""
    try:
        again = rematch(stack)
        reference = again.reference()
    except CoregError:
        return (lambda item_id: None), lambda item_id, box: None
    positions = {item: k for k, item in enumerate(again.stack.ids)}
    last: dict[str, Displacement | None] = {}

    def evidence(item_id: str) -> KeptEvidence | None:
        k = positions[item_id]
        box = again.box if again.scenes is None else again.scenes[k].scene.image.box
        try:
            quality = again.quality(reference, k)
        except CoregError:
            return None
        last.clear()
        last[item_id] = quality.displacement
        found = quality.evidence
        return None if found is None else KeptEvidence(box=box, evidence=found, area=found.area)

    return evidence, lambda item_id, box: last.get(item_id)


def quality_table(source: xr.DataArray | xr.Dataset) -> pd.DataFrame:
    """The quality that a stack carries, or a quality Dataset, as a table with one row an item; it is computed.

    Raises
    ------
    InvalidRequest
        If it carries none.
    """
    missing = missing_in(_names(source))
    if missing:
        raise InvalidRequest(f"There is no {missing[0]!r}; pass what align, apply or estimate returned.")
    names = [field.name for field in fields_in(_names(source))]
    variables = {name: source[name].variable for name in names}
    quality = xr.Dataset({name: ("time", value.data) for name, value in variables.items()}).compute()
    table = pd.DataFrame({name: quality[name].values for name in names})
    count = len(table)
    ids = source["id"].values if "id" in source.coords else [f"item {k + 1}" for k in range(count)]
    table.insert(0, "time", source["time"].values if "time" in source.coords else pd.NaT)
    return table.set_index(pd.Index([str(i) for i in ids], name="item"))


def _names(source: xr.DataArray | xr.Dataset) -> tuple[Hashable, ...]:
    return (*source.coords, *getattr(source, "data_vars", ()))


def _item(values: Mapping[str, Any], files: Iterable[str]) -> dict[str, Any]:
    """One item as the page takes it."""
    problems = values.get("problems") or ""
    words = problems if isinstance(problems, str) else " ".join(problems)
    return {
        "id": str(values["item"]),
        "time": _time(values),
        **{field.page: _plain(field, values[field.name]) for field in fields_in(values) if field.page},
        "problems": words,
        "files": list(files),
    }


def _plain(field: Field, value: Any) -> Plain:
    """A value of a quality as the page takes it."""
    if field.name == "status":
        return Status(str(value)).value
    if field.is_number:
        return _number(value)
    return "" if value is None or value != value else str(value)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _time(values: Mapping[str, Any]) -> str | None:
    """ISO 8601 in UTC: as given, else as the id tells it."""
    given = values.get("time")
    time = pd.NaT if given is None or given == "" else pd.to_datetime(given, utc=True, errors="coerce")
    if time is pd.NaT:
        told = time_from_name(str(values["item"]))
        return None if told is None else f"{told.isoformat(timespec='seconds')}Z"
    return str(time.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _files(folder: Path, item_id: str) -> list[str]:
    """Files of an item, as the run remembers them."""
    try:
        state = parse_json((folder / STATE / f"{item_id}.json").read_text("utf-8"))
        return [str(file["path"]) for file in state["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _anchor(items: Iterable[Mapping[str, Any]]) -> str:
    return next((str(i["id"]) for i in items if i["status"] == Status.ANCHOR), "an anchor from outside")


def area_on_map(kept: KeptEvidence, anchor: GeoBox) -> list[list[list[float]]] | None:
    """Where an item is valid, in the anchor's CRS: corners (x, y) of each part; None where it has no place there.

    The whole outline of its image stands for it where that is not known.
    """
    if kept.box is None or kept.box.crs is None or anchor.crs is None:
        return None
    middle, _ = anchor.affine * (anchor.shape[1] / 2, anchor.shape[0] / 2)
    area = unbroken(kept.area or outline(kept.box), anchor.crs, near=middle)
    if area is None:
        return None
    digits = 7 if anchor.crs.geographic else 2
    return [[[round(v, digits) for v in corner] for corner in part] for part in area.parts]


def views_json(told: ToldViews) -> dict[str, Any]:
    """Tilts that are told of the items, px / m down and along, and how views follow them, as the page takes it."""
    return {
        "words": fit_words(told.fit),
        "metres": told.fit.scale if told.fit.known else None,
        "tilts": [[None if math.isnan(v) else round(v, 9) for v in tilt] for tilt in told.tilts.tolist()],
    }


def evidence_json(evidence: Evidence) -> str:
    """An item's evidence as the page takes it; numbers no finer than they are read."""
    digits = {"y": 1, "x": 1, "shift_y": 4, "shift_x": 4, "weight": 2}
    ties = {}
    for name in TiePoints.__slots__:
        values = getattr(evidence.ties, name)
        ties[name] = (np.round(values, digits[name]) if name in digits else values.astype(int)).tolist()
    for name in ("residual_y", "residual_x"):
        if (values := getattr(evidence, name)) is not None and np.isfinite(values).all():
            ties[name] = np.round(values, 4).tolist()
    value = {
        "picture": base64.b64encode(evidence.picture).decode("ascii"),
        "chips": evidence.chips,
        "overview": evidence.overview,
        "origin": evidence.origin,
        "factor": evidence.factor,
        "against": evidence.against,
        "ties": ties,
    }
    return json.dumps(value, separators=(",", ":"))
