"""A layer of features as GeoPackage: an SQLite file whose tables the OGC standard 12-128r17 lays down."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from odc.geo.crs import CRS
from pyproj.enums import WktVersion

_APPLICATION, _VERSION = 0x47504B47, 10300


def write_layer(
    path: Path,
    crs: CRS,
    *,
    name: str,
    geometry: str,
    fields: Mapping[str, str],
    rows: Iterable[tuple[bytes, Sequence[Any]]],
    bounds: Sequence[float | None],
) -> None:
    """Write a new GeoPackage of one layer.

    Parameters
    ----------
    path : Path
        File, which is made.
    crs : CRS
        Of the geometries; one without an EPSG code is written by its definition.
    name : str
        Of the layer.
    geometry : str
        Type of all geometries, as ``POINT``.
    fields : mapping
        SQL type of each field.
    rows : iterable of tuple
        Little-endian WKB and the values of each feature.
    bounds : sequence of float or None
        West, south, east and north of all, in the CRS.
    """
    epsg = crs.to_epsg()
    # codes from 100000 on are free for reference systems without an EPSG code
    code = epsg or 100_000
    with contextlib.closing(sqlite3.connect(path)) as base, base:
        base.execute(f"PRAGMA application_id = {_APPLICATION}")
        base.execute(f"PRAGMA user_version = {_VERSION}")
        base.executescript(_SCHEMA)
        wkt = WktVersion.WKT1_GDAL
        systems = [
            ("Undefined cartesian", -1, "NONE", -1, "undefined"),
            ("Undefined geographic", 0, "NONE", 0, "undefined"),
            ("WGS 84", 4326, "EPSG", 4326, CRS("EPSG:4326").to_wkt(version=wkt)),
            (str(crs)[:80], code, "EPSG" if epsg else "coregstack", code, crs.to_wkt(version=wkt)),
        ]
        base.executemany("INSERT OR IGNORE INTO gpkg_spatial_ref_sys VALUES (?,?,?,?,?,NULL)", systems)
        base.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, min_x, min_y, max_x, max_y, srs_id) "
            "VALUES (?, 'features', ?, ?, ?, ?, ?, ?)",
            (name, name, *bounds, code),
        )
        base.execute(
            "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", (name, geometry, code)
        )
        columns = ", ".join(f'"{field}" {kind}' for field, kind in fields.items())
        base.execute(
            f"CREATE TABLE {name} (fid INTEGER PRIMARY KEY AUTOINCREMENT, geom {geometry}, {columns})"
        )
        marks = ", ".join("?" * (len(fields) + 1))
        names = ", ".join(f'"{field}"' for field in fields)
        # a header of its own stands before each geometry
        header = struct.pack("<2sBBi", b"GP", 0, 1, code)
        base.executemany(
            f"INSERT INTO {name} (geom, {names}) VALUES ({marks})",
            ((header + wkb, *values) for wkb, values in rows),
        )


_SCHEMA = """
CREATE TABLE gpkg_spatial_ref_sys (
  srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY, organization TEXT NOT NULL,
  organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (
  table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (
  table_name TEXT NOT NULL, column_name TEXT NOT NULL, geometry_type_name TEXT NOT NULL,
  srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name),
  CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
"""
