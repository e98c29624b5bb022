"""What a folder holds is told from headers alone, and what would be refused is named before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from webserver import WebServer

import coregstack
from coregstack.cli import main
from coregstack.errors import AnchorNotFound, MissingFile, UnreadableFile
from coregstack.run.result import RunResult
from coregstack.show.inspection import summarise
from coregstack.testing import SampleOrder


@pytest.fixture
def folder(small_stack: xr.DataArray, tmp_path: Path) -> Path:
    """Five scenes: one in a subfolder, one elsewhere on earth, one damaged, one in other pixels."""
    root = tmp_path / "scenes"
    (root / "deep").mkdir(parents=True)
    scenes = [small_stack.isel(time=k).drop_vars("clear") for k in range(5)]
    scenes[1].rio.to_raster(root / "deep" / "20220531.tif")
    scenes[0].rio.to_raster(root / "20220526.tif")
    scenes[2].assign_coords(x=scenes[2].x + 50_000).rio.write_transform().rio.to_raster(root / "20220605.tif")
    (root / "20220610.tif").write_bytes(b"no raster at all")
    scenes[4].rio.reproject(scenes[4].rio.crs, resolution=6).rio.to_raster(root / "unnamed.tif")
    return root


def test_items_and_their_grids_are_told(folder: Path, small_stack: xr.DataArray) -> None:
    table = coregstack.inspect_folder(folder, anchor="20220526")
    assert set(table.index) == {"20220526", "20220531", "20220605", "20220610", "unnamed"}
    row = table.loc["20220531"]
    assert (row["rows"], row["cols"]) == (small_stack.sizes["y"], small_stack.sizes["x"])
    assert (row["pixel_x"], row["pixel_y"], row["crs"]) == (3.0, 3.0, "EPSG:32633")
    assert row["time"] == pd.Timestamp("2022-05-31")
    assert row["overlap"] == 1.0
    assert row["refused"] == ""


def test_what_would_be_refused_is_named_with_the_reason(folder: Path) -> None:
    table = coregstack.inspect_folder(folder, anchor="20220526")
    assert "overlap" in table.loc["20220605", "refused"]
    assert table.loc["20220605", "overlap"] == 0
    assert "20220610.tif" in table.loc["20220610", "refused"]
    assert set(table.index[table["refused"] == ""]) == {"20220526", "20220531", "unnamed"}


def test_it_agrees_with_what_a_run_then_does(folder: Path, tmp_path: Path) -> None:
    table = coregstack.inspect_folder(folder, anchor="20220526")
    result = coregstack.run_scenes(
        sorted(folder.rglob("*.tif")), anchor="20220526", output=tmp_path / "out"
    ).to_dataframe()
    refused = set(table.index[table["refused"] != ""])
    assert refused == {"20220605", "20220610"}
    assert set(result.loc[list(refused), "status"]) == {"failed"}


def test_what_differs_from_the_anchor_is_noted(folder: Path) -> None:
    notes = coregstack.inspect_folder(folder, anchor="20220526")["notes"]
    assert notes["20220526"] == "the anchor"
    assert "pixel size" in notes["unnamed"]
    assert "no time" in notes["unnamed"]
    assert notes["20220531"] == ""


def test_an_order_is_told_by_its_items_and_masks(sample_order: SampleOrder) -> None:
    table = coregstack.inspect_folder(sample_order.folder, anchor=sample_order.anchor_item)
    assert set(table.index) == set(sample_order.truth)
    assert set(table["masks"]) == {"udm2"}
    assert "other CRS" in table.loc["20220610_101442_44_2427", "notes"]
    assert table["time"].is_monotonic_increasing


def test_without_an_anchor_the_best_overlap_is_taken(folder: Path) -> None:
    assert coregstack.inspect_folder(folder).attrs["anchor"] != "20220605"


def test_files_of_one_name_in_two_folders_stay_apart(folder: Path) -> None:
    (folder / "deep" / "20220526.tif").write_bytes((folder / "20220526.tif").read_bytes())
    table = coregstack.inspect_folder(folder)
    assert "deep_20220526" in table.index


def test_nothing_is_written(folder: Path) -> None:
    before = sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    coregstack.inspect_folder(folder)
    assert sorted((p, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


def test_summary_counts(folder: Path) -> None:
    lines = summarise(coregstack.inspect_folder(folder, anchor="20220526"))
    assert lines[0] == "5 items, 2022-05-26 to 2022-05-31; 2 would be refused"
    assert "CRS: EPSG:32633 (3)" in lines


@pytest.mark.parametrize("what", ["missing", "empty", "file"])
def test_folders_without_scenes_are_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / what
    if what == "empty":
        path.mkdir()
    elif what == "file":
        path.write_text("x")
    with pytest.raises((MissingFile, UnreadableFile)):
        coregstack.inspect_folder(path)


def test_files_patterns_and_addresses_are_inspected_as_well(server: WebServer, hosted: Path) -> None:
    for given in (f"{hosted}/[ag]*.tif", [server.url("anchor.tif"), hosted / "good.tif"]):
        table = coregstack.inspect_folder(given)
        assert sorted(table.index) == ["anchor", "good"]
        assert not table["refused"].any()


def test_an_unknown_anchor_is_refused(folder: Path) -> None:
    with pytest.raises(AnchorNotFound):
        coregstack.inspect_folder(folder, anchor="nobody")


def test_the_command_prints_a_table(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder), "--anchor", "20220526"]) == 0
    out = capsys.readouterr().out
    assert "would be refused" in out
    assert "224 x 256" in out
    assert main(["inspect", str(folder / "none")]) == 2


def test_dry_run_decides_as_a_run_does_and_writes_nothing(
    sample_order: SampleOrder, result: RunResult, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    dry = coregstack.run_order(sample_order.payload, input=sample_order.folder, output=output, dry_run=True)
    assert not output.exists()
    assert dry.dry_run
    assert dry.to_dataframe()["status"].to_dict() == result.to_dataframe()["status"].to_dict()
    np.testing.assert_array_equal(dry.to_quality().shift_x, result.to_quality().shift_x)


def test_dry_run_of_scenes_writes_nothing(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    paths = [str(path) for path in sorted(folder.rglob("*.tif"))]
    assert main(["align", *paths, "--anchor", "20220526", "--output", str(output), "--dry-run"]) in (0, 3)
    assert not output.exists()
