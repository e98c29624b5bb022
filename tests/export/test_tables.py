"""A quality survives being written and read, in every format, and is refused where it is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import coregstack
from coregstack.errors import InvalidRequest, InvalidStack, MissingFile, UnreadableFile
from coregstack.testing import SampleOrder

FORMATS = ["csv", "json", "parquet"]


@pytest.fixture(scope="module")
def quality(small_stack: xr.DataArray) -> xr.Dataset:
    return coregstack.estimate(small_stack, anchor=0).compute()


@pytest.fixture(params=FORMATS)
def ending(request: pytest.FixtureRequest) -> str:
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


def test_a_quality_comes_back_exactly(quality: xr.Dataset, tmp_path: Path, ending: str) -> None:
    again = coregstack.read_quality(coregstack.write_quality(quality, tmp_path / f"quality.{ending}"))
    for name in quality.variables:
        np.testing.assert_array_equal(again[name].values, quality[name].values, err_msg=str(name))
    if ending != "csv":
        assert again.attrs == quality.attrs


def test_what_only_a_network_knows_comes_back_too(
    small_stack: xr.DataArray, tmp_path: Path, ending: str
) -> None:
    quality = coregstack.estimate(small_stack, anchor=0, method="network").compute()
    quality["against"][2] = "007"
    again = coregstack.read_quality(coregstack.write_quality(quality, tmp_path / f"quality.{ending}"))
    assert {"redundancy", "closure", "against"} <= set(again.data_vars)
    for name in quality.variables:
        np.testing.assert_array_equal(again[name].values, quality[name].values, err_msg=str(name))


def test_what_was_read_can_be_applied(
    quality: xr.Dataset, small_stack: xr.DataArray, tmp_path: Path, ending: str
) -> None:
    again = coregstack.read_quality(coregstack.write_quality(quality, tmp_path / f"quality.{ending}"))
    expected = coregstack.apply(small_stack, quality)
    np.testing.assert_array_equal(coregstack.apply(small_stack, again).values, expected.values)


def test_a_lazy_quality_is_computed(small_stack: xr.DataArray, tmp_path: Path) -> None:
    path = coregstack.write_quality(coregstack.estimate(small_stack, anchor=0), tmp_path / "q.csv")
    assert pd.read_csv(path)["status"].iloc[0] == "anchor"


def test_the_table_of_a_run_is_read(sample_order: SampleOrder, tmp_path: Path) -> None:
    result = coregstack.run_order(sample_order.payload, input=sample_order.folder, output=tmp_path / "out")
    again = coregstack.read_quality(tmp_path / "out" / "coregistration.csv")
    xr.testing.assert_allclose(again.drop_attrs(), result.to_quality().drop_attrs(), rtol=1e-15)


def test_csv_is_what_a_spreadsheet_reads(quality: xr.Dataset, tmp_path: Path) -> None:
    lines = coregstack.write_quality(quality, tmp_path / "q.csv").read_text().splitlines()
    assert lines[0].split(",")[:4] == ["id", "time", "status", "shift_y"]
    assert lines[1].startswith("20220526_094512_10_2465,2022-05-26T09:45:12")
    assert len(lines) == 1 + quality.sizes["time"]


def test_json_has_null_and_never_nan(quality: xr.Dataset, tmp_path: Path) -> None:
    text = coregstack.write_quality(quality, tmp_path / "q.json").read_text()
    assert "NaN" not in text
    assert json.loads(text)["items"][0]["shift_x"] is None


def test_unknown_endings_are_refused(quality: xr.Dataset, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="parquet"):
        coregstack.write_quality(quality, tmp_path / "q.xlsx")
    with pytest.raises(InvalidRequest, match="parquet"):
        coregstack.read_quality(tmp_path / "q.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_quality_is_refused(small_stack: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(InvalidStack):
        coregstack.write_quality(small_stack.to_dataset(), tmp_path / "q.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,time\na,2020-01-01\n"),
        ("b.csv", ""),
        ("c.json", "[]"),
        ("d.json", '{"items": [{"status": "fine"}], "attributes": {}}'),
        ("e.parquet", "no parquet"),
    ],
)
def test_broken_tables_are_refused(tmp_path: Path, name: str, content: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(UnreadableFile):
        coregstack.read_quality(path)


def test_an_unknown_status_is_named(quality: xr.Dataset, tmp_path: Path) -> None:
    path = coregstack.write_quality(quality, tmp_path / "q.csv")
    path.write_text(path.read_text().replace("anchor", "ancor", 1))
    with pytest.raises(UnreadableFile, match="ancor"):
        coregstack.read_quality(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, ending: str) -> None:
    with pytest.raises(MissingFile):
        coregstack.read_quality(tmp_path / f"none.{ending}")
