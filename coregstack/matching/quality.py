"""Every field of a quality, once: its name, unit and meaning, how it is read from an item, and where it is
shown.

A new field is one row of `FIELDS` (and, where it is a new number, one field of `ItemQuality`). Datasets, coordinates
of aligned stacks, tables, notes, sidecars, STAC items, the report and notebooks all follow this table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coregstack.model import ItemQuality, Shift, Status

SCORE_VERSION = 1
"""Version of the definition of the matching score."""

Plain = float | str | None
"""A value of a field: a number, a text, or None where it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of the quality of an item."""

    name: str
    """Name in quality Datasets, in coordinates of aligned stacks, in tables and in notes."""
    units: str
    """Unit of a number, "px" or "1"; empty for a text."""
    meaning: str
    """One line that says what it is."""
    get: Callable[[ItemQuality], Plain]
    """Reads it from an item's quality."""
    axis: str = ""
    """Axis of the lattice that a length in px is measured along, "y" or "x"; empty for a length in any direction."""
    signed: bool = False
    """Whether it changes its sign where the axis runs the other way."""
    required: bool = True
    """Whether every quality holds it; one of an earlier version may lack what is not required."""
    only: Literal["", "network", "datum", "terrain"] = ""
    """What alone gives it: ``method="network"``, a datum that is known from outside, or ``model="terrain"``; empty for
    what all have."""
    sidecar: str = ""
    """Key in the sidecar; empty where the sidecar has it in another form, or not at all."""
    stac: str = ""
    """Key in the properties of a STAC item; empty as for `sidecar`."""
    page: str = ""
    """Key in the items of the report's page; empty where the report does not show it."""
    column: tuple[str, str] | None = None
    """Heading and number format of its column in a notebook; None where a notebook does not show it."""

    @property
    def is_number(self) -> bool:
        """Whether it is a number."""
        return bool(self.units)

    @property
    def dtype(self) -> Any:
        """dtype of its column."""
        return np.dtype(np.float64) if self.is_number else np.dtype(object)

    @property
    def attrs(self) -> dict[str, str]:
        """Attributes of its variable in a Dataset."""
        return {"long_name": self.meaning} | ({"units": self.units} if self.is_number else {})


def _part(of: str, axis: str) -> Callable[[ItemQuality], Plain]:
    def get(quality: ItemQuality) -> Plain:
        pair = getattr(quality, of)
        return None if pair is None else float(getattr(pair, axis))

    return get


FIELDS = (
    Field(
        name="status", units="", meaning="what is done with the item", get=lambda q: str(q.status),
        sidecar="status", stac="coreg:status", page="status",
    ),
    Field(
        name="shift_y", units="px", meaning="shift to apply, down the rows", get=_part("shift", "y"), axis="y",
        signed=True, page="y", column=("shift y [px]", "+.3f"),
    ),
    Field(
        name="shift_x", units="px", meaning="shift to apply, along the columns", get=_part("shift", "x"), axis="x",
        signed=True, page="x", column=("shift x [px]", "+.3f"),
    ),
    Field(
        name="shift_sigma_y", units="px", meaning="1 sigma of shift_y", get=_part("sigma", "y"), axis="y",
        page="sy", column=("sigma y [px]", ".3f"),
    ),
    Field(
        name="shift_sigma_x", units="px", meaning="1 sigma of shift_x", get=_part("sigma", "x"), axis="x",
        page="sx", column=("sigma x [px]", ".3f"),
    ),
    Field(
        name="matching_score_before", units="1", meaning="matching score of the item as it is",
        get=lambda q: q.before, sidecar="matching_score_before", stac="coreg:matching_score_before",
        page="before", column=("score before", ".3f"),
    ),
    Field(
        name="matching_score_after", units="1", meaning="matching score of the item when shifted",
        get=lambda q: q.after, sidecar="matching_score_after", stac="coreg:matching_score_after",
        page="after", column=("score after", ".3f"),
    ),
    Field(
        name="matching_score_improvement", units="1", meaning="score after minus score before",
        get=lambda q: q.improvement, sidecar="matching_score_improvement",
        stac="coreg:matching_score_improvement", page="gain",
    ),
    Field(
        name="model", units="", meaning="how it is displaced: shift, affine, field or terrain", get=lambda q: q.model,
        required=False, sidecar="model", stac="coreg:model", page="model",
    ),
    Field(
        name="spread", units="px", meaning="rms of the displacement about its mean", get=lambda q: q.spread,
        required=False, sidecar="pixel_shift_spread", stac="coreg:spread", page="spread",
        column=("spread [px]", ".3f"),
    ),
    Field(
        name="residual", units="px", meaning="rms misalignment to be expected after what is done",
        get=lambda q: q.residual, required=False, sidecar="expected_residual", stac="coreg:residual",
        page="residual", column=("residual [px]", ".3f"),
    ),
    Field(
        name="redundancy", units="1", meaning="pairs beyond the one that is needed", get=lambda q: q.redundancy,
        required=False, only="network", sidecar="redundancy", stac="coreg:redundancy", page="redundancy",
    ),
    Field(
        name="closure", units="px", meaning="rms length of the closures of loops through the item",
        get=lambda q: q.closure, required=False, only="network", sidecar="closure", stac="coreg:closure",
        page="closure",
    ),
    Field(
        name="against", units="", meaning="item that it was matched and scored against, empty for the anchor",
        get=lambda q: q.against, required=False, only="network", sidecar="against", stac="coreg:against",
    ),
    Field(
        name="datum_sigma_y", units="px", meaning="1 sigma of the datum down the rows, which all items share",
        get=_part("datum_sigma", "y"), axis="y", required=False, only="datum",
    ),
    Field(
        name="datum_sigma_x", units="px", meaning="1 sigma of the datum along the columns, which all items share",
        get=_part("datum_sigma", "x"), axis="x", required=False, only="datum",
    ),
    Field(
        name="view_y", units="px", meaning="rms displacement by the first pattern of the stack, down the rows",
        get=_part("view", "y"), axis="y", signed=True, required=False, only="terrain", sidecar="view_y",
        stac="coreg:view_y", page="view_y",
    ),
    Field(
        name="view_x", units="px", meaning="rms displacement by the first pattern of the stack, along the columns",
        get=_part("view", "x"), axis="x", signed=True, required=False, only="terrain", sidecar="view_x",
        stac="coreg:view_x", page="view_x",
    ),
    Field(
        name="pattern_dates", units="1", meaning="dates that the patterns which it follows were found from",
        get=lambda q: q.pattern_dates, required=False, only="terrain", sidecar="pattern_dates",
        stac="coreg:pattern_dates", page="pattern_dates",
    ),
    Field(
        name="details", units="", meaning="why", get=lambda q: q.details,
        sidecar="details", stac="processing:lineage", page="reason",
    ),
)  # fmt: skip
"""All fields, in the order in which tables and Datasets hold them."""

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}
"""The same by name."""

REQUIRED = tuple(field.name for field in FIELDS if field.required)
"""Names of what every quality holds."""


def fields_in(names: Iterable[Any]) -> tuple[Field, ...]:
    """The fields that are among some names, in the order of `FIELDS`.

    Parameters
    ----------
    names : iterable
        For example the variables of a Dataset, or the columns of a table.

    Examples
    --------
    >>> [field.name for field in fields_in(["closure", "id", "shift_y"])]
    ['shift_y', 'closure']
    """
    known = set(names)
    return tuple(field for field in FIELDS if field.name in known)


def missing_in(names: Iterable[Any]) -> list[str]:
    """What a quality has to hold, and these names lack."""
    known = set(names)
    return [name for name in REQUIRED if name not in known]


def plain_values(quality: ItemQuality) -> dict[str, Plain]:
    """An item's quality as plain values by name, without its evidence; None where a value is not known.

    Parameters
    ----------
    quality : ItemQuality

    Returns
    -------
    dict
        As `quality_of` takes it.

    Examples
    --------
    >>> quality = ItemQuality(shift=Shift(1.5, -0.25), sigma=None, before=0.5, after=0.9, improvement=0.4,
    ...                       status=Status.COREGISTERED, details="It is applied.")
    >>> values = plain_values(quality)
    >>> values["shift_y"], values["shift_sigma_y"], values["status"]
    (1.5, None, 'coregistered')
    >>> quality_of(values) == quality
    True
    """
    return {field.name: _plain(field.get(quality)) for field in FIELDS}


def quality_of(values: Mapping[str, Any]) -> ItemQuality:
    """An item's quality out of plain values by name.

    Parameters
    ----------
    values : mapping
        As `plain_values` gives it, or one entry of each variable of a quality Dataset. NaN, None and the empty text
        stand for what is not known; fields that not all qualities have may be missing.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError
        If it cannot be one.
    """

    def number(name: str) -> float | None:
        return None if values.get(name) is None else _number(values[name])

    def pair(name: str) -> Shift | None:
        y, x = (number(f"{name}_{axis}") for axis in "yx")
        return None if y is None or x is None else Shift(y, x)

    if missing := missing_in(values):
        raise KeyError(f"it lacks {', '.join(missing)}")
    return ItemQuality(
        shift=pair("shift"),
        sigma=pair("shift_sigma"),
        before=number("matching_score_before"),
        after=number("matching_score_after"),
        improvement=number("matching_score_improvement"),
        status=Status(str(values["status"])),
        details=str(values["details"]),
        redundancy=number("redundancy"),
        closure=number("closure"),
        against=str(values.get("against") or "") or None,
        model=str(values.get("model") or "") or None,
        spread=number("spread"),
        residual=number("residual"),
        datum_sigma=pair("datum_sigma"),
        view=pair("view"),
        pattern_dates=number("pattern_dates"),
    )


def column(field: Field, values: ArrayLike) -> NDArray[Any]:
    """A column of a quality: float64 with NaN, or texts with the empty text, where a value is not known.

    Parameters
    ----------
    field : Field
    values : array_like, shape (n,)
        Values of the field, of which some may be None.
    """
    given = np.asarray(values, object)
    if field.is_number:
        return np.array([np.nan if value is None else float(value) for value in given], np.float64)
    out = np.empty(len(given), object)
    out[:] = ["" if value is None or value != value else str(value) for value in given]
    return out


def variables(columns: Mapping[Any, ArrayLike]) -> dict[str, tuple[str, NDArray[Any], dict[str, str]]]:
    """Variables along time of a quality Dataset, of all fields that are among some columns.

    Parameters
    ----------
    columns : mapping
        Name to values, one for each item.

    Returns
    -------
    dict
        Name to dim, values and attributes, as `xarray.Dataset` takes them.
    """
    return {
        field.name: ("time", column(field, columns[field.name]), field.attrs) for field in fields_in(columns)
    }


def table_fields(qualities: Iterable[ItemQuality]) -> tuple[Field, ...]:
    """The fields that a table of these items needs: those of some qualities alone are left out if no item has them."""
    items = list(qualities)
    return tuple(f for f in FIELDS if not f.only or any(f.get(quality) is not None for quality in items))


def _plain(value: Plain) -> Plain:
    return float(value) if isinstance(value, float | int) else value


def _number(value: Any) -> float | None:
    """A finite number; None for NaN; texts are no numbers."""
    if isinstance(value, str | bytes | bool):
        raise ValueError(f"{value!r} is no number.")
    number = float(value)
    if math.isinf(number):
        raise ValueError(f"{value!r} is not finite.")
    return None if math.isnan(number) else number
