"""Datasets of bands, as `odc.stac.load` gives them: they go in and come out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr

import coregstack
from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.stack.conform import conform
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """Three dates in memory with known shifts, two bands."""
    return (
        sample_stack(3, (170, 180), seed=4, max_shift=2.5, cloud_cover=0)[:, :2].drop_vars("clear").compute()
    )


@pytest.fixture(scope="module")
def dataset(stack: xr.DataArray) -> xr.Dataset:
    """Images of several dtypes, and other variables."""
    bands = {
        name: stack.sel(band=name, drop=True).drop_attrs(deep=False).assign_attrs(nodata=0, units="1")
        for name in stack.band.values
    }
    first = next(iter(bands.values()))
    ratio = (
        (first / 10_000).astype("float32").where(first != 0).drop_attrs(deep=False).assign_attrs(units="1")
    )
    cover = xr.where(first > 600, 8, 4).astype("uint8").assign_attrs(flag_values=[4, 8], nodata=0)
    return xr.Dataset(
        {
            **bands,
            "ratio": ratio,
            "cover": cover,
            "kept": first > 300,
            "terrain": (("y", "x"), np.ones(first.shape[1:], "float32")),
            "sun": ("time", np.arange(3.0)),
            "notes": ("note", ["a", "b"]),
        },
        attrs={"title": "three dates"},
    )


@pytest.mark.parametrize("chunks", [None, {"time": 1, "y": 60, "x": 70}])
def test_a_dataset_comes_out_as_it_went_in(
    stack: xr.DataArray, dataset: xr.Dataset, chunks: dict[str, int] | None
) -> None:
    given = dataset if chunks is None else dataset.chunk(chunks)
    aligned = coregstack.align(given, anchor=0)
    assert isinstance(aligned, xr.Dataset)
    images = [*stack.band.values, "ratio", "cover", "kept"]
    assert all(aligned[name].chunks is not None for name in images), "align has to be lazy"
    assert list(aligned.data_vars) == list(dataset.data_vars)
    assert set(dataset.coords) <= set(aligned.coords)
    assert aligned.attrs["title"] == "three dates"
    done = aligned.compute()
    for name in dataset.data_vars:
        assert done[name].dtype == dataset[name].dtype
        assert done[name].dims == dataset[name].dims
        assert done[name].attrs == dataset[name].attrs
    for name in ("terrain", "sun", "notes"):
        np.testing.assert_array_equal(done[name], dataset[name])
    whole = coregstack.align(stack, anchor=0, ids=done.id.values.tolist()).compute()
    np.testing.assert_array_equal(done.shift_y, whole.shift_y)
    for name in stack.band.values:
        np.testing.assert_array_equal(done[name], whole.sel(band=name))
    assert set(np.unique(done.cover)) <= {0, 4, 8}
    # what a shift leaves empty is nodata of each image
    empty = np.asarray(done[stack.band.values[0]] == 0) & (np.asarray(stack[:, 0]) != 0)
    assert empty.any()
    assert np.isnan(done.ratio.values[empty]).all()
    assert not done.kept.values[empty].any()


def test_estimate_and_apply_take_what_align_takes(dataset: xr.Dataset, stack: xr.DataArray) -> None:
    quality = coregstack.estimate(dataset, anchor=0, mask=lambda given: given.cover >= 4).compute()
    np.testing.assert_allclose(quality.shift_y[1:], stack.true_shift_y[1:], atol=0.05)
    classes = coregstack.estimate(dataset, anchor=0, mask="cover:0").compute()
    np.testing.assert_allclose(classes.shift_x[1:], stack.true_shift_x[1:], atol=0.05)
    moved = coregstack.apply(dataset, quality, nearest=["ratio"])
    known = set(np.unique(dataset.ratio)[: dataset.ratio.size])
    assert set(moved.ratio.values[np.isfinite(moved.ratio)]) <= known
    same = dataset.coreg.align(anchor=0)
    xr.testing.assert_identical(same.compute(), coregstack.align(dataset, anchor=0).compute())
    with pytest.raises(InvalidRequest, match="nearest names the band 'none'"):
        coregstack.apply(dataset, quality, nearest=["none"])
    with pytest.raises(InvalidStack, match="terrain"):
        coregstack.apply(dataset, on_larger_pixels(quality), lattice="anchor")
    coarse = coregstack.apply(dataset.drop_vars("terrain"), on_larger_pixels(quality), lattice="anchor")
    assert np.diff(coarse.x)[0] == 6
    assert coarse.cover.shape == (3, 85, 90)
    np.testing.assert_array_equal(coarse.sun, dataset.sun)


def on_larger_pixels(quality: xr.Dataset) -> xr.Dataset:
    """The same shifts, told on larger pixels."""
    origin = quality.attrs["lattice_geotransform"].split()
    return quality.assign_attrs(
        lattice_geotransform=" ".join([origin[0], "6.0", "0.0", origin[3], "0.0", "-6.0"])
    )


def test_a_dataset_may_be_the_anchor_from_outside(dataset: xr.Dataset, stack: xr.DataArray) -> None:
    anchor = (
        dataset.isel(time=0)
        .drop_vars(["time", "id", "sun", "notes"], errors="ignore")
        .reset_coords("spatial_ref")
    )
    found = coregstack.estimate(dataset.isel(time=slice(1, None)), anchor).compute()
    assert found.attrs["anchor"] == "outside"
    np.testing.assert_allclose(found.shift_y, stack.true_shift_y[1:], atol=0.05)


def test_images_in_degrees_keep_their_dims(dataset: xr.Dataset) -> None:
    named = dataset.drop_vars("spatial_ref").rename(x="longitude", y="latitude")
    named = named.assign_coords(
        longitude=10 + 1e-4 * np.arange(180), latitude=45 - 1e-4 * np.arange(170)
    ).rio.write_crs(4326)
    aligned = coregstack.align(named, anchor=0)
    assert aligned.cover.dims == ("time", "latitude", "longitude")
    assert aligned.rio.crs == "EPSG:4326"


def test_images_of_unlike_nodata_become_one_stack(dataset: xr.Dataset) -> None:
    first, second = list(dataset.data_vars)[:2]
    other = dataset[second].astype("int32")
    other = other.where(other != 0, -9999).assign_attrs(nodata=-9999)
    other[0, 0, :5] = 0
    mixed = dataset[[first]].assign({second: other})
    known = conform(mixed)
    assert known.nodata == 0
    values = known.array.sel(band=second)
    np.testing.assert_array_equal(values == 0, other == -9999)
    # a value that means no data elsewhere stays a value
    assert (values[0, 0, :5] == 1).all()


class TestFiles:
    def test_geotiffs_hold_all_images(self, dataset: xr.Dataset, tmp_path: Path) -> None:
        aligned = coregstack.align(dataset.chunk(time=1), anchor=0)
        result = coregstack.to_geotiffs(aligned, tmp_path / "out")
        assert not result.problems
        name = str(aligned.id.values[1])
        with rasterio.open(tmp_path / "out" / f"{name}_coreg.tif") as file:
            images = [image for image in dataset.data_vars if dataset[image].ndim == 3]
            assert list(file.descriptions) == images
            assert file.nodata == 0
            for k, image in enumerate(images, 1):
                wanted = aligned[image][1].compute()
                valid = np.isfinite(wanted.astype(float))
                np.testing.assert_array_equal(file.read(k)[valid], wanted.values[valid])

    def test_a_cube_opens_back_into_the_dataset(self, dataset: xr.Dataset, tmp_path: Path) -> None:
        aligned = coregstack.align(dataset.chunk(time=1), anchor=0)
        coregstack.to_zarr(aligned, tmp_path / "cube.zarr")
        found = coregstack.open_zarr(tmp_path / "cube.zarr")
        assert isinstance(found, xr.Dataset)
        known = aligned.compute()
        for name, image in found.data_vars.items():
            assert image.chunks is not None
            assert image.dtype == known[name].dtype
            assert image.attrs == known[name].attrs
            np.testing.assert_array_equal(image, known[name])
        assert set(found.data_vars) == {name for name in dataset.data_vars if dataset[name].ndim == 3}
        assert found.rio.crs == known.rio.crs
        np.testing.assert_array_equal(found.status, known.status)


def test_what_odc_loads_is_aligned(tmp_path: Path) -> None:
    load = pytest.importorskip("odc.stac").load
    pystac = pytest.importorskip("pystac")
    stack = sample_stack(3, (170, 180), seed=4, max_shift=2.5, cloud_cover=0)
    paths = []
    (tmp_path / "in").mkdir()
    for scene in stack.drop_vars("clear"):
        paths.append(tmp_path / "in" / f"{scene.id.item()}.tif")
        scene.rio.to_raster(paths[-1])
    # left as they are, but described
    run = coregstack.run_scenes(
        paths, anchor=0, output=tmp_path / "out", times=stack.time.values, min_improvement=1.0, threshold=1.0
    )
    run.to_stac("dates")
    items = list(pystac.Collection.from_file(str(tmp_path / "out" / "stac" / "collection.json")).get_items())
    loaded = load(items, chunks={}, groupby="id", resampling="cubic")
    ids = [item.id for item in items]
    aligned = coregstack.align(loaded, anchor=0, ids=ids)
    assert isinstance(aligned, xr.Dataset)
    found = aligned[["shift_y", "shift_x"]].compute()
    np.testing.assert_allclose(found.shift_y[1:], stack.true_shift_y[1:], atol=0.05)
    np.testing.assert_allclose(found.shift_x[1:], stack.true_shift_x[1:], atol=0.05)
    assert {str(name): image.dtype for name, image in aligned.data_vars.items()} == {
        str(name): image.dtype for name, image in loaded.data_vars.items()
    }


@pytest.mark.parametrize("dtype", ["complex64", "float16", "object"])
def test_images_that_cannot_be_moved_are_refused(dataset: xr.Dataset, dtype: str) -> None:
    odd = dataset.assign(odd=dataset[next(iter(dataset.data_vars))].astype(dtype))
    with pytest.raises(InvalidStack, match=rf"not as 'odd' \({dtype}\)"):
        coregstack.estimate(odd, anchor=0)
    left = odd.drop_vars("odd").assign(odd=odd.odd.isel(time=0, drop=True))
    assert coregstack.align(left, anchor=0).odd.identical(left.odd)
