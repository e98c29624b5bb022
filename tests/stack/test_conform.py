"""Whatever a loader made, it is one stack: same grid, same ids, same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rioxarray
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_zeros

from coregstack import apply, estimate
from coregstack.errors import AnchorNotFound, InvalidStack
from coregstack.stack.conform import conform, like_given
from coregstack.stack.lookup import find_anchor
from coregstack.testing import sample_stack

SHAPE = 176, 192
BOX = GeoBox(SHAPE, Affine(3, 0, 500_001, 0, -3, 5_300_001), "EPSG:32633")


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """Three clear items on `BOX`, nodata 0."""
    return sample_stack(3, SHAPE, seed=4, max_shift=2.5, cloud_cover=0)


@pytest.fixture(scope="module")
def known(stack: xr.DataArray) -> xr.Dataset:
    """Quality of the plain stack, to which every other loader's has to be equal."""
    return estimate(stack, anchor=0, mask=False).compute()


def same_shifts(quality: xr.Dataset, known: xr.Dataset, tolerance: float = 0.0) -> None:
    assert quality.status.values.tolist() == known.status.values.tolist()
    for name in ("shift_y", "shift_x", "matching_score_before", "matching_score_after"):
        np.testing.assert_allclose(quality[name].values, known[name].values, rtol=0, atol=tolerance)


@dataclass
class RasterSpec:
    """What stackstac leaves in ``attrs["spec"]``."""

    epsg: int
    bounds: tuple[float, float, float, float]
    resolutions_xy: tuple[float, float]


def as_odc(stack: xr.DataArray) -> xr.Dataset:
    """What odc.stac.load returns: a Dataset of one variable a band, nodata in attrs."""
    bands = {}
    for name in stack.band.values:
        empty = xr_zeros(BOX, "uint16", time=stack.time.values, chunks=(1, 64, 64))
        values = stack.sel(band=name).drop_vars([c for c in stack.coords if c not in ("time", "y", "x")])
        bands[str(name)] = empty.copy(data=values.chunk({"y": 64, "x": 64}).data).assign_attrs(nodata=0)
    return xr.Dataset(bands)


def as_stackstac(stack: xr.DataArray, *, centre: bool = False) -> xr.DataArray:
    """What stackstac.stack returns: float64 with NaN, upper left corners, everything else in attrs."""
    half = 0.5 if centre else 0.0
    transform = BOX.affine
    values = stack.where(stack != 0).astype("float64").chunk({"time": 1, "band": 1, "y": 50, "x": 50})
    return xr.DataArray(
        values.data,
        dims=("time", "band", "y", "x"),
        coords={
            "time": stack.time.values,
            "id": ("time", stack.id.values),
            "band": stack.band.values,
            "x": transform.c + 3 * (np.arange(SHAPE[1]) + half),
            "y": transform.f - 3 * (np.arange(SHAPE[0]) + half),
            "epsg": 32633,
            "proj:shape": np.array({SHAPE[0], SHAPE[1]}, object),
            "title": ("band", [f"Band {name}" for name in stack.band.values]),
            "eo:cloud_cover": ("time", [0.0, 1.0, 2.0]),
        },
        attrs={
            "spec": RasterSpec(32633, tuple(BOX.boundingbox), (3.0, 3.0)),
            "crs": "epsg:32633",
            "transform": Affine(3.0, 0.0, transform.c, 0.0, -3.0, transform.f),
            "resolution": 3.0,
        },
        name="stackstac-0123",
    )


# --- loaders


def test_the_plain_stack_is_known(stack: xr.DataArray) -> None:
    found = conform(stack)
    assert found.array.dims == ("time", "band", "y", "x")
    assert found.array.chunks is not None
    assert found.box == BOX
    assert found.nodata == 0
    assert found.bands == ("blue", "green", "red", "nir")
    assert found.ids == tuple(stack.id.values)
    assert found.clear is not None
    assert found.clear.dims == ("time", "y", "x")


def test_odc_datasets_are_stacks(stack: xr.DataArray, known: xr.Dataset) -> None:
    dataset = as_odc(stack)
    found = conform(dataset)
    assert found.box == BOX
    assert found.nodata == 0
    assert found.bands == ("blue", "green", "red", "nir")
    same_shifts(estimate(dataset, anchor=0), known)


def test_odc_geographic_dims_come_back_as_they_were() -> None:
    box = GeoBox(SHAPE, Affine(3e-5, 0, 12.1, 0, -3e-5, 47.2), "EPSG:4326")
    source = sample_stack(3, SHAPE, seed=4, max_shift=2.5, cloud_cover=0)
    empty = xr_zeros(box, "uint16", time=source.time.values, chunks=(1, 64, 64))
    assert empty.dims == ("time", "latitude", "longitude")
    geographic = empty.copy(data=source.sel(band="red").data).assign_attrs(nodata=0)
    found = conform(geographic)
    assert found.array.dims == ("time", "band", "y", "x")
    assert found.box.crs == box.crs
    assert np.allclose(found.box.affine, box.affine, rtol=0, atol=1e-15)
    aligned = geographic.coreg.align(anchor=0)
    assert aligned.dims == geographic.dims
    for name in ("latitude", "longitude"):
        np.testing.assert_array_equal(aligned[name], geographic[name])
    moved = aligned.compute()
    assert moved.status.values.tolist() == ["anchor", "coregistered", "coregistered"]
    assert not np.array_equal(moved[1], geographic[1])


@pytest.mark.parametrize("centre", [False, True])
def test_stackstac_labels_corners_or_centres(stack: xr.DataArray, known: xr.Dataset, *, centre: bool) -> None:
    loaded = as_stackstac(stack, centre=centre)
    found = conform(loaded)
    assert found.box == BOX
    assert found.nodata is not None
    assert np.isnan(found.nodata)
    same_shifts(estimate(loaded, anchor=stack.id.values[0]), known, tolerance=1e-9)
    aligned = apply(loaded, known)
    np.testing.assert_array_equal(aligned.x, loaded.x)
    np.testing.assert_array_equal(aligned.y, loaded.y)


@pytest.mark.parametrize("centre", [False, True])
def test_a_piece_of_a_stackstac_stack_lies_where_it_did(stack: xr.DataArray, *, centre: bool) -> None:
    piece = as_stackstac(stack, centre=centre).isel(y=slice(10, 50), x=slice(7, 60))
    assert conform(piece).box == BOX[10:50, 7:60]


def test_rioxarray_files_joined_by_concat(stack: xr.DataArray, known: xr.Dataset, tmp_path: Path) -> None:
    scenes = []
    for scene in stack:
        path = tmp_path / f"{scene.id.item()}.tif"
        scene.drop_vars("clear").rio.to_raster(path)
        scenes.append(rioxarray.open_rasterio(path, chunks={"x": 50, "y": 40}))
    joined = xr.concat(scenes, pd.DatetimeIndex(stack.time.values, name="time"))
    found = conform(joined)
    assert found.box == BOX
    assert found.nodata == 0
    assert found.ids[0] == pd.Timestamp(stack.time.values[0]).strftime("%Y%m%dT%H%M%S")
    same_shifts(estimate(joined, anchor=0), known)


def test_rioxarray_masked_holds_nan_and_its_encoded_nodata(stack: xr.DataArray, tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    stack[0].drop_vars("clear").rio.to_raster(path)
    masked = rioxarray.open_rasterio(path, masked=True)
    found = conform(masked.expand_dims(time=[np.datetime64("2022-01-01", "ns")]))
    assert found.array.dtype.kind == "f"
    assert found.nodata is not None
    assert np.isnan(found.nodata)


def test_a_zarr_round_trip_changes_nothing(stack: xr.DataArray, known: xr.Dataset, tmp_path: Path) -> None:
    stored = stack.drop_vars(["clear", "id"]).chunk({"time": 2, "y": 40, "x": 112})
    names = {c: (stack[c].dims, stack[c].values.astype(object)) for c in ("id", "band")}
    stored = stored.assign_coords(names).to_dataset(name="pixels")
    stored.to_zarr(tmp_path / "cube.zarr", zarr_format=3, consolidated=False)
    opened = xr.open_zarr(
        tmp_path / "cube.zarr", consolidated=False, decode_coords="all", mask_and_scale=False
    )
    found = conform(opened.pixels)
    assert found.box == BOX
    assert found.nodata == 0
    assert found.ids == tuple(stack.id.values)
    same_shifts(estimate(opened.pixels, anchor=0), known)


def test_plain_numpy_without_coordinates(stack: xr.DataArray, known: xr.Dataset) -> None:
    bare = xr.DataArray(stack.values, dims=stack.dims)
    found = conform(bare)
    assert found.ids == ("item_0000", "item_0001", "item_0002")
    assert found.bands == ("1", "2", "3", "4")
    assert found.box.crs is None
    assert found.nodata is None
    quality = estimate(bare, anchor=0, band=2).compute()
    same_shifts(quality, known, tolerance=0.01)
    aligned = apply(bare, quality)
    assert aligned.dims == bare.dims
    assert aligned.dtype == bare.dtype


def test_one_band_without_a_band_dimension(stack: xr.DataArray) -> None:
    red = stack.sel(band="red")
    found = conform(red)
    assert found.array.sizes == {"time": 3, "band": 1, "y": SHAPE[0], "x": SHAPE[1]}
    back = like_given(found, found.array)
    assert back.dims == ("time", "y", "x")
    assert back.band.item() == "red"
    np.testing.assert_array_equal(back.values, red.values)


@pytest.mark.parametrize("dims", [("x", "y", "band", "time"), ("band", "y", "time", "x")])
def test_transposed_dims_are_understood_and_given_back(
    stack: xr.DataArray, known: xr.Dataset, dims: tuple[str, ...]
) -> None:
    turned = stack.transpose(*dims)
    same_shifts(estimate(turned, anchor=0, mask=False), known)
    aligned = apply(turned, known)
    assert aligned.dims == dims
    np.testing.assert_array_equal(aligned.transpose(*stack.dims).values, apply(stack, known).values)


@pytest.mark.parametrize(
    "chunks", [{"time": 3}, {"band": 1}, {"y": 37, "x": 61}, {"time": 2, "band": 3, "y": 176, "x": 7}, {}]
)
def test_chunks_do_not_matter(stack: xr.DataArray, known: xr.Dataset, chunks: dict[str, int]) -> None:
    chunked = stack.chunk(chunks)
    same_shifts(estimate(chunked, anchor=0, mask=False), known)
    np.testing.assert_array_equal(apply(chunked, known).values, apply(stack, known).values)


def test_northward_rows_are_understood(stack: xr.DataArray, known: xr.Dataset) -> None:
    upside = stack.isel(y=slice(None, None, -1))
    assert conform(upside).box.affine.e == 3
    quality = estimate(upside, anchor=0, mask=False).compute()
    np.testing.assert_allclose(quality.shift_y, -known.shift_y, atol=0.02)
    np.testing.assert_allclose(quality.shift_x, known.shift_x, atol=0.02)


# --- pixels without data


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_is_no_data(stack: xr.DataArray, dtype: str) -> None:
    holed = stack.astype(dtype)
    holed = holed.copy(data=holed.values)
    holed.attrs.pop("_FillValue", None)
    holed.values[1:, :, 20:50, 30:70] = np.nan
    found = conform(holed)
    assert found.nodata is not None
    quality = estimate(holed, anchor=0, mask=False).compute()
    assert quality.status.values.tolist() == ["anchor", "coregistered", "coregistered"]
    truth = stack.true_shift_y.values, stack.true_shift_x.values
    np.testing.assert_allclose(quality.shift_y[1:], truth[0][1:], atol=0.1)
    np.testing.assert_allclose(quality.shift_x[1:], truth[1][1:], atol=0.1)
    aligned = apply(holed, quality).compute()
    assert np.isnan(aligned.values[1]).any()
    # the hole moves, it does not grow by more than the pixels that have no nearest neighbour left
    assert abs(int(np.isnan(aligned.values[1, 0, 5:-5, 5:-5]).sum()) - 30 * 40) <= 71


@pytest.mark.parametrize("dtype", [">u2", ">f4"])
def test_numbers_of_another_byte_order_are_numbers(
    stack: xr.DataArray, known: xr.Dataset, dtype: str
) -> None:
    swapped = stack.astype(dtype)
    for given in (swapped, swapped.chunk(100)):
        aligned = apply(given, estimate(given, anchor=0, mask=False))
        same_shifts(aligned.reset_coords()[list(known)], known)
        np.testing.assert_array_equal(aligned.values, apply(stack.astype(dtype[1:]), known).values)


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("int16", -32768), ("uint8", 255)])
def test_integers_name_their_nodata(stack: xr.DataArray, dtype: str, nodata: int) -> None:
    values = np.clip(stack.values // 10, 40, 240).astype(dtype)
    values[1:, :, 20:50, 30:70] = nodata
    holed = stack.copy(data=values).drop_vars("clear").rio.write_nodata(nodata)
    assert conform(holed).nodata == nodata
    quality = estimate(holed, anchor=0).compute()
    np.testing.assert_allclose(quality.shift_x[1:], stack.true_shift_x.values[1:], atol=0.1)
    aligned = apply(holed, quality, resampling="bilinear").compute()
    assert aligned.dtype == dtype
    inner = aligned.values[1, :, 5:-5, 5:-5]
    assert abs(int((inner == nodata).sum()) - 4 * 30 * 40) <= 4 * 71
    # a mean of neighbours cannot leave their range, unless the hole's value is among them
    assert inner[inner != nodata].min() >= 40
    assert inner[inner != nodata].max() <= 240


@pytest.mark.parametrize(
    ("key", "value"), [("_FillValue", np.nan), ("nodata", -9999), ("_FillValue", "none")]
)
@pytest.mark.parametrize("as_dataset", [False, True])
def test_a_nodata_value_that_pixels_cannot_hold_is_refused(
    stack: xr.DataArray, key: str, value: Any, as_dataset: bool
) -> None:
    wrong = stack.astype("uint16").drop_attrs().assign_attrs({key: value})
    images = {str(name): wrong.sel(band=name, drop=True) for name in wrong.band.values}
    given = xr.Dataset(images) if as_dataset else wrong
    with pytest.raises(InvalidStack, match="uint16 cannot hold the nodata value"):
        conform(given)
    assert conform(wrong.rio.write_nodata(0)).nodata == 0


# --- times and ids


def test_times_may_repeat_and_need_no_order(stack: xr.DataArray, known: xr.Dataset) -> None:
    times = stack.time.values[[2, 0, 0]]
    mixed = stack.assign_coords(time=times)
    same_shifts(estimate(mixed, anchor=0, mask=False), known)
    np.testing.assert_array_equal(apply(mixed, known).time.values, times)
    nameless = mixed.drop_vars("id")
    stamps = [pd.Timestamp(t).strftime("%Y%m%dT%H%M%S") for t in times]
    assert conform(nameless).ids == (stamps[0], stamps[1], f"{stamps[1]}_2")


def test_ids_may_be_passed(stack: xr.DataArray, known: xr.Dataset) -> None:
    nameless = stack.drop_vars("id")
    quality = estimate(nameless, anchor="b", ids=["a", "b", "c"])
    assert quality.id.values.tolist() == ["a", "b", "c"]
    assert quality.status.values[1] == "anchor"
    assert apply(nameless, quality).id.values.tolist() == ["a", "b", "c"]


def test_made_ids_are_unique_even_against_the_times_own_numbers() -> None:
    labels = xr.DataArray(
        np.zeros((3, 1, 4, 4), "uint8"), dims=("time", "band", "y", "x"), coords={"time": ["a", "a", "a_2"]}
    )
    ids = conform(labels).ids
    assert len(set(ids)) == 3


# --- the anchor


@pytest.mark.parametrize("anchor", [1, -2, np.int64(1), "by id", "by time", "by day", "stamp", "numpy"])
def test_an_anchor_is_named_in_many_ways(stack: xr.DataArray, anchor: object) -> None:
    when = stack.time.values[1]
    named = {
        "by id": stack.id.values[1],
        "by time": str(when),
        "by day": str(when)[:10],
        "stamp": pd.Timestamp(when),
        "numpy": when,
    }
    wanted = named[anchor] if isinstance(anchor, str) else anchor
    assert find_anchor(conform(stack), wanted) == 1


def test_a_time_with_a_zone_is_compared_in_utc(stack: xr.DataArray) -> None:
    when = pd.Timestamp(stack.time.values[1]).tz_localize("UTC").tz_convert("Asia/Tokyo")
    assert find_anchor(conform(stack), when) == 1


@pytest.mark.parametrize(
    ("anchor", "words"),
    [
        ("20220526_094512_10_2466", "No item has the id or time .*The ids are: 20220526_094512_10_2465, "),
        (3, "There are 3 items, so there is no item at position 3"),
        (-4, "no item at position -4"),
        (None, "named by id, time or position, but None"),
        (True, "named by id, time or position, but True"),
        ("1999-01-01", "No item has the id or time"),
    ],
)
def test_an_anchor_that_is_not_there_is_refused(stack: xr.DataArray, anchor: object, words: str) -> None:
    with pytest.raises(AnchorNotFound, match=words) as error:
        find_anchor(conform(stack), anchor)
    assert isinstance(error.value, LookupError)


@pytest.mark.parametrize(
    ("anchor", "words"), [("scene_11", "Similar ids: .*scene_1"), ("?", "first ids are: scene_0, ")]
)
def test_of_many_ids_those_are_named_that_may_be_meant(anchor: str, words: str) -> None:
    many = xr.DataArray(
        np.zeros((9, 4, 4)),
        dims=("time", "y", "x"),
        coords={"id": ("time", [f"scene_{k}" for k in range(9)])},
    )
    with pytest.raises(AnchorNotFound, match=words):
        find_anchor(conform(many), anchor)


def test_a_time_that_several_items_share_is_no_anchor(stack: xr.DataArray) -> None:
    repeated = stack.assign_coords(time=stack.time.values[[0, 0, 1]])
    with pytest.raises(AnchorNotFound, match=r"2 items have the time .*Name the anchor by its id"):
        find_anchor(conform(repeated), str(stack.time.values[0]))


def test_a_date_names_the_item_of_its_day(stack: xr.DataArray) -> None:
    moment = pd.Timestamp(stack.time.values[1])
    assert find_anchor(conform(stack), moment.date()) == 1
    assert find_anchor(conform(stack), moment.to_pydatetime()) == 1
    with pytest.raises(AnchorNotFound):
        find_anchor(conform(stack), moment.to_pydatetime() + pd.Timedelta("1h"))


# --- what is no stack


def test_what_is_no_stack_is_refused(stack: xr.DataArray) -> None:
    cases = {
        r"an xarray.DataArray, but a ndarray was given. .* xr.DataArray\(array": stack.values,
        r"dims \(time, band, y, x\) or \(time, y, x\)": stack.rename(time="date"),
        "but its dtype is bool": stack > 0,
        r"but its dtype is float16. Convert it, .*astype\('float32'\)": stack.astype("float16"),
        "'clear' has to be bool .* but it is uint8": stack.assign_coords(
            clear=(("time", "y", "x"), np.ones_like(stack.isel(band=0), "uint8"))
        ),
        r"'clear' has to be bool .* with dims \('y', 'x'\)": stack.assign_coords(
            clear=(("y", "x"), np.ones(stack.shape[-2:], bool))
        ),
        "The stack is empty": stack[:0],
        "3 ids were expected, one for each time, but 2": None,
        r"have to be unique, but these repeat: \['a'\]": None,
        "coordinate 'x' is not evenly spaced": stack.isel(x=[0, 1, 3, 4]),
        "coordinate 'y' is not evenly spaced": stack.isel(y=[0, 0, 0]),
        "No variable of the Dataset has the dims": xr.Dataset({"a": ("x", [1.0])}),
        r"Pass the variable that is a stack: dataset\['values'\]": stack.to_dataset(name="values"),
    }
    ids = {"3 ids": ["a", "b"], "have to": ["a", "a", "b"]}
    for words, value in cases.items():
        given = next((names for start, names in ids.items() if words.startswith(start)), None)
        with pytest.raises(InvalidStack, match=words):
            conform(stack if value is None else value, given)


def test_a_single_row_takes_its_step_from_the_pixel_size(stack: xr.DataArray) -> None:
    assert conform(stack.isel(y=slice(4, 5))).box == BOX[4:5, :]
