"""Arrays are read as carefully as files: place, times, band names, undeclared nodata."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr

from coregstack import align, estimate, to_geotiffs, to_zarr
from coregstack.errors import InvalidStack
from coregstack.stack.conform import conform
from coregstack.stack.lookup import find_anchor
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return sample_stack(2, shape=(256, 256)).compute()


def test_the_geotransform_tells_the_place_where_x_and_y_are_missing(
    stack: xr.DataArray, tmp_path: Path
) -> None:
    bare = stack.drop_vars(["x", "y"])
    assert conform(bare).box == conform(stack).box
    aligned = align(bare, anchor=0)
    to_geotiffs(aligned, tmp_path / "out")
    to_zarr(aligned, tmp_path / "cube.zarr")
    for path in (tmp_path / "out").glob("*.tif"):
        assert rioxarray.open_rasterio(path).rio.transform() == stack.rio.transform()
    cube = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all")
    assert cube.rio.transform() == stack.rio.transform()


def test_one_missing_axis_is_taken_from_the_geotransform(stack: xr.DataArray) -> None:
    assert conform(stack.drop_vars("y")).box == conform(stack).box


def test_coordinates_count_where_a_cut_left_the_geotransform_behind(stack: xr.DataArray) -> None:
    cut = stack.isel(x=slice(10, 200), y=slice(7, None))
    box = conform(cut).box
    assert (box.affine.c, box.affine.f) == pytest.approx(
        (float(cut.x[0]) - 1.5, float(cut.y[0]) + 1.5), abs=1e-6
    )


def test_float32_coordinates_are_accepted_within_their_rounding(stack: xr.DataArray) -> None:
    coarse = stack.assign_coords(
        x=stack.x.astype(np.float32), y=(stack.y + 3_700_000.0 - float(stack.y[0])).astype(np.float32)
    )
    coarse = coarse.drop_vars("spatial_ref").rio.write_crs(stack.rio.crs)
    box = conform(coarse).box
    assert box.affine.a == pytest.approx(3, rel=1e-3)
    exact = stack.assign_coords(x=stack.x.astype(np.float32), y=stack.y.astype(np.float32))
    assert conform(exact).box == conform(stack).box


def test_uneven_float32_coordinates_are_still_refused(stack: xr.DataArray) -> None:
    x = stack.x.values.astype(np.float32)
    x[50] += 2
    with pytest.raises(InvalidStack, match="not evenly spaced"):
        conform(stack.assign_coords(x=x))


def test_a_geotransform_that_is_not_understood_is_refused_where_it_is_needed(stack: xr.DataArray) -> None:
    known = stack.copy()
    known["spatial_ref"] = known.spatial_ref.assign_attrs(GeoTransform="500000 10 0")
    assert conform(known).box == conform(stack).box
    with pytest.raises(InvalidStack, match="not six numbers"):
        conform(known.drop_vars(["x", "y"]))


def test_a_coordinate_that_is_not_along_its_dim_is_refused(stack: xr.DataArray) -> None:
    with pytest.raises(InvalidStack, match="'x' has to have the dim 'x' alone"):
        conform(stack[:, 0].to_dataset(name="red").assign(x=(("time", "y", "x"), stack[:, 0].values)))


def test_a_rotated_geotransform_is_refused(stack: xr.DataArray) -> None:
    attrs = stack.spatial_ref.attrs | {"GeoTransform": "500000 3 0.4 7000000 0.4 -3"}
    bare = stack.drop_vars(["x", "y"]).assign_coords(spatial_ref=((), 0, attrs))
    with pytest.raises(InvalidStack, match="rotated geotransform"):
        estimate(bare, anchor=0)


def _zoned(times: pd.DatetimeIndex) -> pd.Index:
    return times.tz_localize("UTC").tz_convert("Asia/Tokyo")


@pytest.mark.parametrize(
    "make",
    [
        _zoned,
        lambda times: pd.Index([t.tz_localize("UTC") for t in times], dtype=object),
        lambda times: pd.Index([t.to_pydatetime() for t in times], dtype=object),
        lambda times: pd.Index([t.to_pydatetime().replace(tzinfo=dt.UTC) for t in times], dtype=object),
    ],
)
def test_times_of_other_kinds_are_times_in_utc(stack: xr.DataArray, make: object, tmp_path: Path) -> None:
    times = stack.indexes["time"]
    other = xr.concat(list(stack.drop_vars("time")), dim=pd.Index(make(times), name="time"))  # type: ignore[operator]
    known = conform(other)
    np.testing.assert_array_equal(known.array.time.values, times.values)
    assert find_anchor(known, str(times[1])) == 1
    aligned = align(other.drop_vars("id"), anchor=0)
    to_zarr(aligned, tmp_path / "cube.zarr")
    written = to_geotiffs(aligned, tmp_path / "out")
    assert all(" " not in report.id and ":" not in report.id for report in written.reports)


def test_dates_are_times(stack: xr.DataArray) -> None:
    days = [dt.date(2020, 6, 30), dt.date(2020, 7, 1)]
    other = stack.drop_vars("time").assign_coords(time=("time", np.array(days, object)))
    known = conform(other)
    assert find_anchor(known, dt.date(2020, 7, 1)) == find_anchor(known, "2020-07-01") == 1


def test_a_time_beyond_what_datetime64_holds_is_refused(stack: xr.DataArray) -> None:
    days = np.array([dt.datetime(9000, 1, 1), dt.datetime(9001, 1, 1)], object)
    with pytest.raises(InvalidStack, match="1678 to 2262"):
        conform(stack.drop_vars("time").assign_coords(time=("time", days)))


def test_long_name_holds_the_names_of_bands(stack: xr.DataArray) -> None:
    names = tuple(str(name) for name in stack.band.values)
    counted = stack.assign_coords(band=np.arange(1, len(names) + 1)).assign_attrs(long_name=names)
    quality = estimate(counted, anchor=0, band=names[0]).compute()
    assert quality.attrs["band"] == names[0]
    assert conform(counted.assign_attrs(long_name=names[:-1])).bands == tuple("1234"[: len(names)])
    assert conform(counted.assign_attrs(long_name=("a",) * len(names))).bands == tuple("1234"[: len(names)])


def test_zeros_round_a_static_area_are_no_texture() -> None:
    stack = sample_stack(2, shape=(256, 256), seed=5).compute().drop_vars("clear")
    stack.attrs.pop("_FillValue", None)
    stack = stack.rio.write_nodata(None) if stack.rio.nodata is not None else stack
    y, x = np.mgrid[:256, :256]
    inside = (y - 128) ** 2 + (x - 120) ** 2 < 100**2
    framed = stack.where(xr.DataArray(inside, dims=("y", "x")), 0).astype(stack.dtype)
    expected = estimate(stack, anchor=0).compute()
    found = estimate(framed, anchor=0).compute()
    for name in ("shift_y", "shift_x"):
        np.testing.assert_allclose(found[name][1], expected[name][1], atol=0.05)
    moved = align(framed, anchor=0, threshold=1.0).compute()
    values = moved.values[1][:, inside[None].repeat(moved.sizes["band"], 0)[0]]
    assert (values[values > 0] > 0.5 * framed.values[framed.values > 0].min()).all()


class _OtherCalendar:
    """As a time of cftime, which need not be installed."""

    calendar = "360_day"

    def __init__(self, text: str) -> None:
        self.text = text

    def isoformat(self) -> str:
        return self.text


@pytest.mark.parametrize(
    "labels",
    [
        ["2020-06-30", "2020-07-01"],
        ["20200630", "20200701T000000Z"],
        ["2020-06-30T00:00:00Z", "2020-07-01T02:00:00+02:00"],
        np.array([b"2020-06-30", b"2020-07-01"]),
        np.array([_OtherCalendar("2020-06-30T00:00:00"), _OtherCalendar("2020-07-01T00:00:00")], object),
    ],
)
def test_written_times_and_those_of_other_calendars_are_times(stack: xr.DataArray, labels: object) -> None:
    known = conform(stack.drop_vars(["time", "id"]).assign_coords(time=("time", labels)))
    assert known.ids == ("20200630T000000", "20200701T000000")
    assert find_anchor(known, "2020-07-01") == find_anchor(known, _OtherCalendar("2020-07-01T00:00:00")) == 1


def test_a_day_that_the_calendar_does_not_have_is_refused(stack: xr.DataArray) -> None:
    labels = np.array([_OtherCalendar("2020-02-30T00:00:00"), _OtherCalendar("2020-03-01T00:00:00")], object)
    with pytest.raises(InvalidStack, match="days that the calendar has"):
        conform(stack.drop_vars("time").assign_coords(time=("time", labels)))


def test_labels_that_are_no_times_stay_what_they_are(stack: xr.DataArray) -> None:
    known = conform(stack.drop_vars(["time", "id"]).assign_coords(time=("time", ["summer", "2020"])))
    assert known.ids == ("summer", "2020")


def test_an_item_without_a_time_has_an_id_all_the_same(stack: xr.DataArray) -> None:
    times = np.array(["2020-06-30", "NaT"], "datetime64[ns]")
    known = conform(stack.drop_vars(["time", "id"]).assign_coords(time=("time", times)))
    assert known.ids == ("20200630T000000", "undated")


@pytest.mark.parametrize("told", ["nan 1 0 0 0 1", "0 0 0 0 0 0", "0 1 1 0 1 1"])
def test_a_geotransform_that_spans_no_lattice_is_refused(stack: xr.DataArray, told: str) -> None:
    known = stack.copy()
    known["spatial_ref"] = known.spatial_ref.assign_attrs(GeoTransform=told)
    assert conform(known).box == conform(stack).box
    with pytest.raises(InvalidStack, match="span a lattice"):
        conform(known.drop_vars(["x", "y"]))


def test_without_a_place_nothing_is_written_to_one(stack: xr.DataArray, tmp_path: Path) -> None:
    nowhere = stack.drop_vars(["x", "y", "spatial_ref"]).rio.write_crs(stack.rio.crs)
    assert conform(nowhere).box.crs is None
    with pytest.raises(InvalidStack, match="x and y"):
        to_geotiffs(align(nowhere, anchor=0), tmp_path / "out")
