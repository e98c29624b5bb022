"""Tie points: the windows that were matched, as points on the ground for a GIS."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest
from coregstack.export.files import staged
from coregstack.export.geopackage import write_layer
from coregstack.geometry.globe import DEGREES, wrapped
from coregstack.geometry.lattice import crs_of, transformer
from coregstack.model import Evidence

COLUMNS = (
    "item", "x", "y", "row", "col", "shift_x", "shift_y", "residual_x", "residual_y", "weight", "inlier",
    "band", "against",
)  # fmt: skip
"""Columns of a table of tie points."""

_DEGREE_DIGITS = 9
_SQL_TYPES = {"item": "TEXT", "against": "TEXT", "inlier": "BOOLEAN", "band": "INTEGER"}


def tie_table(items: Mapping[str, Evidence], anchor: GeoBox, anchor_id: str) -> pd.DataFrame:
    """Put the tie points of items into one table.

    Parameters
    ----------
    items : mapping
        Item id to its evidence.
    anchor : GeoBox
        The anchor's box: the frame that the points are counted in.
    anchor_id : str
        What the anchor is called.

    Returns
    -------
    DataFrame
        One row a window: `item`; `x`, `y` of the window's middle in the anchor's CRS; its `row` and `col` in
        the anchor, px; its own `shift_x` and `shift_y`, px; `residual_x` and `residual_y`, what of that lies beyond
        the shift, affine map or field that was found, px (NaN where an earlier version has kept it); its `weight`,
        0 to 1, in the agreement; `inlier`, whether it agrees with what was found; `band`, counted among the match
        bands; `against`, the item that it was matched with. The CRS is in ``attrs["crs"]``, where the anchor has one.
    """
    parts = []
    for item, evidence in items.items():
        found = evidence.ties
        col, row, place = found.x + 0.5, found.y + 0.5, anchor.affine
        x, y = place.a * col + place.b * row + place.c, place.d * col + place.e * row + place.f
        values: dict[str, Any] = {"x": x, "y": y, "row": found.y, "col": found.x}
        values |= {"shift_x": found.shift_x, "shift_y": found.shift_y}
        values |= {name: _or_nan(getattr(evidence, name), col) for name in ("residual_x", "residual_y")}
        values |= {"weight": found.weight, "inlier": found.inlier, "band": found.band}
        values["against"] = evidence.against or anchor_id
        parts.append(pd.DataFrame({"item": [item] * len(found.y), **values}))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    if anchor.crs is not None:
        table.attrs["crs"] = str(crs_of(anchor))
    return table


def _or_nan(values: NDArray[np.float64] | None, like: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(like.shape, np.nan) if values is None else values


def write_ties(table: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write tie points for a GIS.

    Parameters
    ----------
    table : DataFrame
        What `coregstack.tie_points` returned.
    path : path-like
        A ``.geojson`` file (RFC 7946: longitude and latitude) or a ``.gpkg`` file (GeoPackage 1.3, in the
        anchor's CRS).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidRequest
        If the ending is another one, or the table has no CRS.
    WriteError
        If the file cannot be written.

    Examples
    --------
    >>> write_ties(tie_points("aligned"), "ties.gpkg")  # doctest: +SKIP
    """
    target = Path(path)
    writers = {".geojson": _write_geojson, ".json": _write_geojson, ".gpkg": _write_geopackage}
    write = writers.get(target.suffix.lower())
    if write is None:
        raise InvalidRequest(f"Tie points are written as .geojson or .gpkg, not as {target.name!r}.")
    if "crs" not in table.attrs:
        raise InvalidRequest(
            "The tie points name no CRS, so they have no place on the ground: write_crs first."
        )
    with staged(target) as temporary:
        write(table, CRS(table.attrs["crs"]), temporary)
    return target


def _write_geojson(table: pd.DataFrame, crs: CRS, path: Path) -> None:
    lon, lat = transformer(crs, DEGREES).transform(table["x"].to_numpy(), table["y"].to_numpy())
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for k, (values, *place) in enumerate(zip(_records(table), wrapped(lon), lat, strict=True)):
            feature = {
                "type": "Feature",
                "geometry": {
                    "type": "Point",
                    "coordinates": [round(float(v), _DEGREE_DIGITS) for v in place],
                },
                "properties": values,
            }
            file.write(("," if k else "") + "\n" + json.dumps(feature, allow_nan=False))
        file.write("\n]}\n")


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows as plain values; what is no number is None."""
    for row in table.to_dict("records"):
        yield {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in row.items()}


def _write_geopackage(table: pd.DataFrame, crs: CRS, path: Path) -> None:
    columns = [name for name in table if name not in ("x", "y")]
    write_layer(
        path,
        crs,
        name="tie_points",
        geometry="POINT",
        fields={name: _SQL_TYPES.get(name, "REAL") for name in columns},
        rows=(
            (_point(values["x"], values["y"]), [values[name] for name in columns])
            for values in _records(table)
        ),
        bounds=_bounds(table),
    )


def _bounds(table: pd.DataFrame) -> list[float | None]:
    if table.empty:
        return [None] * 4
    return [float(v) for v in (table.x.min(), table.y.min(), table.x.max(), table.y.max())]


def _point(x: float, y: float) -> bytes:
    """A point as little-endian WKB."""
    return struct.pack("<BIdd", 1, 1, x, y)
