"""Tie points lie where the windows lie, and other software reads them there."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack import align, tie_points, to_geotiffs, write_ties
from coregstack.errors import AnchorNotFound, InvalidRequest, MissingFile
from coregstack.export.evidence import evidence_path, keep_evidence, kept_evidence
from coregstack.export.ties import COLUMNS, tie_table
from coregstack.model import Evidence, Shift, TiePoints
from coregstack.testing import sample_stack

BOX = GeoBox((100, 120), Affine(3, 0, 278_001, 0, -3, 5_331_000), "EPSG:32633")


@pytest.fixture
def ties() -> TiePoints:
    rng = np.random.default_rng(2)
    return TiePoints(
        y=rng.uniform(0, 99, 12), x=rng.uniform(0, 119, 12),
        shift_y=rng.normal(1, 0.1, 12), shift_x=rng.normal(-2, 0.1, 12),
        weight=rng.uniform(0, 1, 12), inlier=rng.random(12) > 0.3, band=rng.integers(0, 3, 12),
    )  # fmt: skip


@pytest.fixture
def table(ties: TiePoints) -> pd.DataFrame:
    own = Evidence(
        ties=ties, picture=b"", chips=Shift(0.0, 0.0), overview=(1, 1), origin=Shift(0.0, 0.0), factor=1
    )
    items = {"20240601_a": own, 'odd "id", <b>': replace(own, against="20240601_a")}
    return tie_table(items, BOX, "20240501_a")


def test_points_lie_at_the_windows_middles(table: pd.DataFrame, ties: TiePoints) -> None:
    assert tuple(table.columns) == COLUMNS
    x, y = rasterio.transform.xy(BOX.affine, ties.y, ties.x)  # pixel centres, as rasterio places them
    np.testing.assert_allclose(table.x[:12], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(table.y[:12], y, rtol=0, atol=1e-6)
    assert table.against.tolist() == ["20240501_a"] * 12 + ["20240601_a"] * 12


@pytest.mark.parametrize("name", ["ties.gpkg", "ties.geojson"])
def test_gdal_reads_them_in_the_right_place(table: pd.DataFrame, name: str, tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="no pyogrio to read vectors with")
    path = write_ties(table, tmp_path / name)
    meta, _, shapes, fields = pyogrio.raw.read(path)
    # GDAL's own point in WKB: byte order, type, x, y
    points = np.array([np.frombuffer(shape[5:21], "<f8") for shape in shapes])
    x, y = rasterio.warp.transform(meta["crs"], "EPSG:32633", *points.T)
    np.testing.assert_allclose(x, table.x, rtol=0, atol=1e-3)
    np.testing.assert_allclose(y, table.y, rtol=0, atol=1e-3)
    read = dict(zip(meta["fields"], fields, strict=True))
    assert read["item"].tolist() == table["item"].tolist()
    assert read["inlier"].astype(bool).tolist() == table["inlier"].tolist()
    np.testing.assert_array_equal(read["shift_x"], table["shift_x"])


def test_geopackage_is_a_sound_database_that_says_what_it_is(table: pd.DataFrame, tmp_path: Path) -> None:
    path = write_ties(table, tmp_path / "ties.gpkg")
    base = sqlite3.connect(path)
    assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert base.execute("PRAGMA foreign_key_check").fetchall() == []
    assert base.execute("PRAGMA application_id").fetchone()[0].to_bytes(4) == b"GPKG"
    bounds = base.execute("SELECT min_x, min_y, max_x, max_y FROM gpkg_contents").fetchone()
    assert bounds == (table.x.min(), table.y.min(), table.x.max(), table.y.max())
    base.close()


def test_crs_without_epsg_code_and_no_points_are_written_too(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio", reason="no pyogrio to read vectors with")
    own = "+proj=laea +lat_0=47 +lon_0=11 +datum=WGS84 +units=m"
    none = tie_table({}, GeoBox((4, 4), Affine(3, 0, 0, 0, -3, 0), own), "anchor")
    info = pyogrio.read_info(write_ties(none, tmp_path / "none.gpkg"))
    assert info["features"] == 0
    assert "Lambert" in info["crs"]
    assert json.loads(write_ties(none, tmp_path / "none.geojson").read_text())["features"] == []


def test_other_endings_and_points_without_place_are_refused(table: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"geojson or \.gpkg"):
        write_ties(table, tmp_path / "ties.shp")
    table.attrs.clear()
    with pytest.raises(InvalidRequest, match="no CRS"):
        write_ties(table, tmp_path / "ties.gpkg")
    assert not list(tmp_path.iterdir())


def test_evidence_survives_being_kept(ties: TiePoints, tmp_path: Path) -> None:
    evidence = Evidence(
        ties=ties,
        picture=b"\xff\xd8",
        chips=Shift(3.0, 4.0),
        overview=(20, 24),
        origin=Shift(-1.5, 2.25),
        factor=5,
        against="other",
    )
    keep_evidence(tmp_path, "item", evidence, BOX)
    kept = kept_evidence(tmp_path, "item")
    assert kept is not None
    assert kept.box == BOX
    for name in TiePoints.__slots__:
        np.testing.assert_array_equal(getattr(kept.evidence.ties, name), getattr(ties, name))
    names = ("picture", "chips", "overview", "origin", "factor", "against")
    assert all(getattr(kept.evidence, name) == getattr(evidence, name) for name in names)
    keep_evidence(tmp_path, "item", None, BOX)
    kept = kept_evidence(tmp_path, "item")
    assert kept is not None
    assert (kept.box, kept.evidence) == (BOX, None)


@pytest.mark.parametrize(
    "damage",
    ['{"box": null, "area": {"crs": "EPSG:0", "parts": [[[0, 0], [0, 1], [1, 0]]]}}',
     '{"box": null, "area": {"crs": "EPSG:32633", "parts": [[[0, 0], [0, 1e999], [1, 0]]]}}',
     '{"box": null, "area": {"crs": "EPSG:32633", "parts": [[[0, 0], [0, 1]]]}}',
     '{"box": null, "area": {"crs": "EPSG:32633", "parts": []}}',
     '{"box": {"shape": [3, 4], "transform": [1, 0, 0, 0, 1, 0], "crs": "nonsense"}}',
     '{"box": null, "picture": "AAAA"}', "[]", "3"],
)  # fmt: skip
def test_damaged_evidence_is_none(damage: str, tmp_path: Path) -> None:
    evidence_path(tmp_path, "item").parent.mkdir()
    evidence_path(tmp_path, "item").write_text(damage)
    assert kept_evidence(tmp_path, "item") is None


def test_windows_of_a_stack_tell_its_true_shifts_aligned_or_not() -> None:
    stack = sample_stack(3, (224, 224), seed=8, max_shift=2.0)
    before = tie_points(stack, anchor=0)
    after = tie_points(align(stack, anchor=0))
    for found in (before, after):
        inliers = found[found.inlier].groupby("item")[["shift_y", "shift_x"]].median()
        for k in (1, 2):
            truth = stack.isel(time=k)
            np.testing.assert_allclose(
                inliers.loc[str(truth.id.item())],
                [truth.true_shift_y.item(), truth.true_shift_x.item()],
                atol=0.1,
            )


def test_windows_of_a_network_stack_are_those_of_the_pairs_it_was_scored_by(chain: xr.DataArray) -> None:
    ties = tie_points(chain)
    first, second, third, fourth = (str(item) for item in chain.id.values)
    against = ties.groupby("item").against.unique().map(list).to_dict()
    assert against == {second: [first], third: [second], fourth: [third]}
    assert chain.against.values.tolist() == ["", "", second, third]
    for k, left in ((1, 60), (2, 180), (3, 300)):
        own = ties[(ties["item"] == str(chain.id.values[k])) & ties.inlier]
        truth = chain.true_shift_y.values[k], chain.true_shift_x.values[k]
        # what a window says of the way to the anchor, and where it lies, whomever it was seen with
        np.testing.assert_allclose(own[["shift_y", "shift_x"]].median(), truth, atol=0.1)
        # at most half a window hangs over the edge
        assert own.col.between(left - 32, left + 232).all()


def test_pair_of_a_network_stack_gives_way_to_an_anchor_that_is_asked_for(chain: xr.DataArray) -> None:
    _, second, third, fourth = (str(item) for item in chain.id.values)
    ties = tie_points(chain, anchor=third)
    assert set(ties.against) == {third}
    assert set(ties[ties.inlier]["item"]) == {second, fourth}


def test_item_whose_partner_has_left_the_stack_is_matched_with_the_anchor(chain: xr.DataArray) -> None:
    first, _, third, _ = (str(item) for item in chain.id.values)
    ties = tie_points(chain.isel(time=[0, 2, 3]))
    assert set(ties[ties["item"] == third].against) <= {first}
    assert not ties[ties["item"] == third].inlier.any()


def test_source_that_keeps_none_is_refused(tmp_path: Path) -> None:
    stack = sample_stack(2, (96, 96))
    with pytest.raises(MissingFile, match="keeps no tie points"):
        tie_points(tmp_path)
    with pytest.raises(AnchorNotFound, match="anchor="):
        tie_points(stack)
    with pytest.raises(InvalidRequest, match="for stacks"):
        tie_points(to_geotiffs(align(stack, anchor=0), tmp_path), anchor="a")
