"""The quality sidecar: one JSON file that says what was done with an item, and how well."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coregstack._version import __version__
from coregstack.errors import InvalidRequest, UnreadableFile
from coregstack.matching.quality import FIELDS, SCORE_VERSION, Plain
from coregstack.model import ItemQuality, Shift, Status
from coregstack.untrusted.jsonfile import read_small_json, write_json
from coregstack.untrusted.names import check_item_id

_NUMBERS = frozenset(field.sidecar for field in FIELDS if field.is_number)
"""Keys whose values are numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityRecord:
    """Content of a sidecar. Its JSON keys are the names of its fields.

    Sidecars of the hosted tool are read too: fields that they lack are None.
    """

    coreg_method: str | None
    """How the shift was found."""
    coreg_method_version: str | None
    """Version of the program that found it."""
    estimator: str | None
    """Name of the estimator that told shifts of pairs."""
    anchor_item: str | None
    """Id of the anchor."""
    target_item: str | None
    """Id of this item."""
    projection_epsg_before: int | None
    """EPSG code of the input; None if it has none."""
    projection_epsg_after: int | None
    """EPSG code of the output; None if it was not reprojected."""
    pixel_shift: Shift | None
    """The shift that was applied, px of the anchor's lattice; zero where pixels were left as they
    were, None if none could be known. In JSON ``[x, y]``."""
    output_item: tuple[str, ...]
    """Names of the item's output files, imagery first."""
    displacement: str | None
    """Name of the GeoTIFF of the displacement that was applied; None where one shift was."""
    told: Mapping[str, Plain]
    """All that `coregstack.matching.quality.FIELDS` gives a key in the sidecar: scores, status, details and so on."""
    pixel_shift_estimated: Shift | None
    """The shift that was found, applied or not. In JSON ``[x, y]``."""
    pixel_shift_sigma: Shift | None
    """1 sigma of it along each axis, px. In JSON ``[x, y]``."""
    datum_sigma: Shift | None
    """1 sigma of a datum that is known from outside, px; None where there is none. In JSON ``[x, y]``."""
    matching_score_version: int | None
    """Version of the score's definition."""

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values: numbers are finite or null, shifts are ``[x, y]``."""
        return {
            "coreg_method": self.coreg_method,
            "coreg_method_version": self.coreg_method_version,
            "estimator": self.estimator,
            "anchor_item": self.anchor_item,
            "target_item": self.target_item,
            "projection_epsg_before": _integer(self.projection_epsg_before),
            "projection_epsg_after": _integer(self.projection_epsg_after),
            "pixel_shift": _pair(self.pixel_shift),
            "output_item": list(self.output_item),
            **({} if self.displacement is None else {"displacement": self.displacement}),
            **{name: _number(value) if name in _NUMBERS else value for name, value in self.told.items()},
            "pixel_shift_estimated": _pair(self.pixel_shift_estimated),
            "pixel_shift_sigma": _pair(self.pixel_shift_sigma),
            **({} if self.datum_sigma is None else {"datum_sigma": _pair(self.datum_sigma)}),
            "matching_score_version": _integer(self.matching_score_version),
        }


def sidecar_name(item_id: str) -> str:
    """File name of an item's sidecar.

    Raises
    ------
    UnsafePath
        If the id is not safe as a file name.

    Examples
    --------
    >>> sidecar_name("20200720_194019_0f4c")
    '20200720_194019_0f4c_coreg_qa_metadata.json'
    """
    return f"{check_item_id(item_id)}_coreg_qa_metadata.json"


def displacement_name(item_id: str) -> str:
    """File name of an item's displacement.

    Raises
    ------
    UnsafePath
        If the id is not safe as a file name.

    Examples
    --------
    >>> displacement_name("20200720_194019_0f4c")
    '20200720_194019_0f4c_coreg_displacement.tif'
    """
    return f"{check_item_id(item_id)}_coreg_displacement.tif"


def quality_record(
    quality: ItemQuality,
    *,
    anchor_item: str,
    target_item: str,
    epsg_before: int | None,
    epsg_after: int | None,
    output_files: Sequence[str],
    method: str = "direct",
    estimator: str = "coregstack",
    displacement: str | None = None,
) -> QualityRecord:
    """Make the record of an item that is not the anchor.

    Parameters
    ----------
    quality : ItemQuality
        What is known and decided; its status tells whether the shift was applied.
    anchor_item, target_item : str
        Ids of the anchor and of this item.
    epsg_before : int or None
        EPSG code of the input, None if its CRS has none.
    epsg_after : int or None
        EPSG code of the output, None if it was not reprojected.
    output_files : sequence of str
        Names of the files written, imagery first.
    method : str, optional
        How the shift was found.
    estimator : str, optional
        Name of the estimator of pairs.
    displacement : str, optional
        Name of the file of the displacement that was applied.

    Raises
    ------
    InvalidRequest
        If the item is the anchor, which has no sidecar.

    Examples
    --------
    >>> quality = ItemQuality(shift=Shift(1.5, -0.25), sigma=Shift(0.01, 0.02), before=0.5, after=0.9,
    ...                       improvement=0.4, status=Status.COREGISTERED, details="It is applied.")
    >>> record = quality_record(quality, anchor_item="a", target_item="b", epsg_before=32610,
    ...                         epsg_after=None, output_files=["b_coreg.tif"])
    >>> record.as_json()["pixel_shift"], record.as_json()["projection_epsg_after"]
    ([-0.25, 1.5], None)
    """
    if quality.status is Status.ANCHOR:
        raise InvalidRequest(f"The anchor has no quality sidecar, but one was asked for {target_item!r}.")
    unmoved = None if quality.status is Status.FAILED else Shift(0.0, 0.0)
    return QualityRecord(
        coreg_method=method,
        coreg_method_version=__version__,
        estimator=estimator,
        anchor_item=anchor_item,
        target_item=target_item,
        projection_epsg_before=epsg_before,
        projection_epsg_after=epsg_after,
        pixel_shift=quality.shift if quality.status is Status.COREGISTERED else unmoved,
        output_item=tuple(output_files),
        displacement=displacement,
        told={
            field.sidecar: field.get(quality)
            for field in FIELDS
            if field.sidecar
            and not (field.only == "network" and method == "direct")
            and not (field.only == "terrain" and quality.model != "terrain")
        },
        pixel_shift_estimated=quality.shift,
        pixel_shift_sigma=quality.sigma,
        datum_sigma=quality.datum_sigma,
        matching_score_version=SCORE_VERSION,
    )


def write_sidecar(folder: Path, record: QualityRecord) -> Path:
    """Write a record beside its item's files; its name appears only when it is complete.

    Returns
    -------
    Path
        The sidecar.
    """
    path = folder / sidecar_name(record.target_item or "")
    write_json(path, record.as_json())
    return path


def read_sidecar(path: Path) -> QualityRecord:
    """Read a sidecar of coregstack, or of the hosted tool as far as it is known.

    Raises
    ------
    MissingFile
        If there is no file at the path.
    UnreadableFile
        If it is no JSON object that names a target item.
    """
    value = read_small_json(path)
    if not isinstance(value, dict) or not isinstance(value.get("target_item"), str):
        raise UnreadableFile(f"{path} has to be a quality sidecar with a 'target_item', but it is not.")
    return QualityRecord(
        coreg_method=_text(value.get("coreg_method")),
        coreg_method_version=_text(value.get("coreg_method_version")),
        estimator=_text(value.get("estimator")),
        anchor_item=_text(value.get("anchor_item")),
        target_item=value["target_item"],
        projection_epsg_before=_integer(value.get("projection_epsg_before")),
        projection_epsg_after=_integer(value.get("projection_epsg_after")),
        pixel_shift=_shift(value.get("pixel_shift")),
        output_item=_files(value.get("output_item")),
        displacement=_text(value.get("displacement")),
        told={
            field.sidecar: _number(value[field.sidecar]) if field.is_number else _text(value[field.sidecar])
            for field in FIELDS
            if field.sidecar in value
        },
        pixel_shift_estimated=_shift(value.get("pixel_shift_estimated")),
        pixel_shift_sigma=_shift(value.get("pixel_shift_sigma")),
        datum_sigma=_shift(value.get("datum_sigma")),
        matching_score_version=_integer(value.get("matching_score_version")),
    )


def _number(value: Any) -> float | None:
    """A finite float; numpy's numbers too; None for all else."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    # Adding zero turns -0.0 into 0.0: a shift of nothing has no sign.
    return number + 0.0 if math.isfinite(number) else None


def _integer(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _pair(shift: Shift | None) -> list[float] | None:
    """``[x, y]``, or None unless both are numbers."""
    if shift is None:
        return None
    x, y = _number(shift.x), _number(shift.y)
    return None if x is None or y is None else [x, y]


def _shift(pair: Any) -> Shift | None:
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    x, y = _number(pair[0]), _number(pair[1])
    return None if x is None or y is None else Shift(y, x)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _files(value: Any) -> tuple[str, ...]:
    """File names in a list, or in an object that separates scene and mask."""
    names = list(value.values()) if isinstance(value, Mapping) else value
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
