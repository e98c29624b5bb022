"""What a report shows of an item, kept beside the output: its windows, its picture, its place."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.export.files import STATE, inside, staged
from coregstack.model import Evidence, Shift, TiePoints, ValidArea
from coregstack.untrusted.crstext import crs_fault
from coregstack.untrusted.jsonfile import read_small_json

_LONGEST = 2**31
"""No raster has more rows or columns."""
_RESIDUALS = ("residual_y", "residual_x")
_WHOLE = {"inlier": bool, "band": np.int64}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptEvidence:
    """What is kept of an item."""

    box: GeoBox | None
    """Place of its image; None where it could not be read."""
    evidence: Evidence | None
    """Windows and picture; None where the run had none."""
    area: ValidArea | None = None
    """Where its image is valid, as it was written if it was; None where that is not known."""


def evidence_path(output: Path, item_id: str) -> Path:
    """Where the evidence of an item is kept."""
    return inside(output, STATE, f"{item_id}.evidence")


def keep_evidence(
    output: Path,
    item_id: str,
    evidence: Evidence | None,
    box: GeoBox | None,
    area: ValidArea | None = None,
) -> None:
    """Write what is known of an item beside its files, in place of what an earlier run has left.

    Parameters
    ----------
    output : Path
        Root of the output folder.
    item_id : str
        Item.
    evidence : Evidence or None
        What to keep.
    box : GeoBox or None
        Place of the item's image.
    area : ValidArea, optional
        Where the image, as it was written, is valid.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    path = evidence_path(output, item_id)
    value = {
        "box": None if box is None else _box_as_json(box),
        "area": None if area is None else {"crs": area.crs, "parts": area.parts},
    } | ({} if evidence is None else _evidence_as_json(evidence))
    with staged(path, checked=True) as temporary:
        temporary.write_bytes(json.dumps(value).encode())


def kept_evidence(output: Path, item_id: str) -> KeptEvidence | None:
    """Read what was kept of an item; None where there is nothing, or nothing that can be trusted."""
    try:
        value = read_small_json(evidence_path(output, item_id))
        return KeptEvidence(
            box=None if value["box"] is None else _box_from_json(value["box"]),
            area=None if value.get("area") is None else _area_from_json(value["area"]),
            evidence=_evidence_from_json(value) if "picture" in value else None,
        )
    except (
        CoregError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
    ):  # fmt: skip
        return None


def _evidence_as_json(evidence: Evidence) -> dict[str, Any]:
    return {
        "picture": base64.b64encode(evidence.picture).decode("ascii"),
        "chips": evidence.chips,
        "overview": [int(size) for size in evidence.overview],
        "origin": evidence.origin,
        "factor": evidence.factor,
        "against": evidence.against,
        "ties": {name: getattr(evidence.ties, name).tolist() for name in TiePoints.__slots__},
        **{name: found.tolist() for name in _RESIDUALS if (found := getattr(evidence, name)) is not None},
    }


def _evidence_from_json(value: dict[str, Any]) -> Evidence:
    ties = {name: np.array(value["ties"][name], _WHOLE.get(name, float)) for name in TiePoints.__slots__}
    residuals: dict[str, Any] = {name: np.array(value[name], float) for name in _RESIDUALS if name in value}
    columns = [*ties.values(), *residuals.values()]
    if len({column.shape for column in columns}) != 1 or ties["band"].ndim != 1:
        raise ValueError("windows have as many values of one kind as of another")
    return Evidence(
        ties=TiePoints(**ties),
        picture=base64.b64decode(value["picture"], validate=True),
        chips=None if value["chips"] is None else _pair(value["chips"]),
        overview=tuple(int(size) for size in value["overview"]),
        origin=_pair(value["origin"]),
        factor=_finite(value["factor"]),
        against=None if value["against"] is None else str(value["against"]),
        **residuals,
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not 0 < number < np.inf:
        raise ValueError(f"{value} is no size")
    return number


def _pair(values: Any) -> Shift:
    y, x = values
    return Shift(float(y), float(x))


def _area_from_json(value: dict[str, Any]) -> ValidArea:
    parts = tuple(tuple((float(x), float(y)) for x, y in part) for part in value["parts"])
    if not parts or min(map(len, parts)) < 3 or not np.isfinite(np.concatenate(parts)).all():
        raise ValueError("an area has parts of three corners or more")
    return ValidArea(parts=parts, crs=str(CRS(_crs_text(value["crs"]))))


def _box_as_json(box: GeoBox) -> dict[str, Any]:
    return {
        "shape": [int(size) for size in box.shape],
        "transform": list(box.affine[:6]),
        "crs": None if box.crs is None else str(box.crs),
    }


def _box_from_json(value: dict[str, Any]) -> GeoBox:
    height, width = (int(size) for size in value["shape"])
    affine = Affine(*map(float, value["transform"]))
    if not 0 < height <= _LONGEST or not 0 < width <= _LONGEST or not np.isfinite(affine[:6]).all():
        raise ValueError("No raster is so large, or lies there.")
    return GeoBox((height, width), affine, None if value["crs"] is None else _crs_text(value["crs"]))


def _crs_text(value: str) -> str:
    if fault := crs_fault(value):
        raise ValueError(f"the CRS {fault}")
    return value
