"""Scenes that do not move as one, through the public functions: told, moved in one interpolation, carried, written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rioxarray
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack import align, apply, estimate, open_scenes, run_scenes, to_geotiffs, to_zarr
from coregstack.errors import InvalidRequest
from coregstack.testing import sample_stack

SIZE = 320
INNER = slice(40, -40)


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """Displacement (2, y, x): ``item(y - dy, x - dx) = anchor(y, x)``."""
    rng = np.random.default_rng(3)
    field = np.stack([gaussian_filter(rng.normal(size=(SIZE, SIZE)), 30) for _ in "yx"])
    field *= 0.6 / field.std(axis=(1, 2), keepdims=True)
    return field + np.array([0.8, -0.6])[:, None, None]


@pytest.fixture(scope="module")
def stack(truth: NDArray[np.float64]) -> xr.DataArray:
    """Two times: the second is the first, displaced."""
    first = sample_stack(2, shape=(SIZE, SIZE), seed=7).compute().drop_vars("clear")
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    back = np.zeros_like(truth)
    for _ in range(40):
        back = np.stack(
            [map_coordinates(d, [y + back[0], x + back[1]], order=3, mode="nearest") for d in truth]
        )
    anchor = first.values[0].astype(float)
    item = [map_coordinates(band, [y + back[0], x + back[1]], order=5, mode="nearest") for band in anchor]
    values = np.stack([anchor, np.stack(item)]).clip(1, 60000).round().astype(np.uint16)
    return first.copy(data=values)


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0, model="auto", threshold=1.0).compute()


def left(aligned: xr.DataArray, stack: xr.DataArray) -> float:
    """Rms difference from the anchor, away from the edges."""
    difference = aligned.values[1].astype(float) - stack.values[0]
    return float(difference[:, INNER, INNER].std())


def test_one_shift_tells_that_parts_lie_apart(stack: xr.DataArray, truth: NDArray[np.float64]) -> None:
    found = estimate(stack, anchor=0, threshold=1.0).compute().isel(time=1)
    away = truth - truth.mean(axis=(1, 2), keepdims=True)
    spread = float(np.hypot(*away).std() + np.hypot(*away).mean()) / 2
    assert found.model == "shift"
    assert 0.4 * spread < found.spread < 2.5 * spread
    assert found.residual >= found.spread * 0.99
    assert "model='field' follows them" in str(found.details.values)


def test_the_simplest_model_that_fits_is_a_field_and_follows(
    stack: xr.DataArray, quality: xr.Dataset, truth: NDArray[np.float64]
) -> None:
    one = quality.isel(time=1)
    assert one.model == "field"
    assert one.residual < 0.1
    assert (one.shift_y, one.shift_x) == pytest.approx(truth.mean(axis=(1, 2)), abs=0.1)
    shift = align(stack, anchor=0, threshold=1.0)
    field = apply(stack, quality)
    assert left(field, stack) < 0.35 * left(shift, stack)
    rows = (quality.lattice_y - stack.y[0]) / (stack.y[1] - stack.y[0])
    cols = (quality.lattice_x - stack.x[0]) / (stack.x[1] - stack.x[0])
    inside = [(v > 40) & (v < SIZE - 40) for v in (rows.values, cols.values)]
    at = np.meshgrid(rows.values[inside[0]], cols.values[inside[1]], indexing="ij")
    for name, true in zip(("displacement_y", "displacement_x"), truth, strict=True):
        found = one[name].values[np.ix_(*inside)]
        assert np.sqrt(np.mean((found - map_coordinates(true, at, order=3)) ** 2)) < 0.08


def test_a_true_shift_is_a_shift() -> None:
    found = estimate(sample_stack(3, shape=(256, 256)), anchor=0, model="auto").compute()
    assert found.model.values.tolist() == ["", "shift", "shift"]
    assert (found.spread[1:] < 0.1).all()


def test_an_item_that_is_its_anchor_pixel_by_pixel_has_no_displacement() -> None:
    part = sample_stack(2, shape=(200, 200), seed=7).compute().drop_vars("clear").isel(band=[0])
    twins = part.copy(data=part.values[[0, 0]])
    found = estimate(twins, anchor=0, model="field", threshold=1.0).isel(time=1).compute()
    assert found.status == "already_aligned"
    assert float(abs(found.displacement_y).max()) < 1e-3


def test_a_saved_quality_moves_other_pixel_sizes_by_the_same_field(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    quality.to_zarr(tmp_path / "quality.zarr", consolidated=False)
    quality = xr.open_zarr(tmp_path / "quality.zarr", consolidated=False)
    coarse = stack.coarsen(y=2, x=2).mean().round().astype(np.uint16)
    coarse = coarse.rio.write_crs(stack.rio.crs).rio.write_transform()
    plain = float((coarse.values[1].astype(float) - coarse.values[0])[:, 20:-20, 20:-20].std())
    moved = apply(coarse, quality)
    after = float((moved.values[1].astype(float) - coarse.values[0])[:, 20:-20, 20:-20].std())
    assert after < 0.45 * plain


def test_a_field_cannot_be_a_geotransform(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(InvalidRequest, match="varies over it"):
        apply(stack, quality, resampling="none")


def test_files_of_a_run_move_by_the_field_and_name_it(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    paths = []
    for k, name in enumerate("ab"):
        paths.append(tmp_path / f"{name}.tif")
        stack.isel(time=k).drop_vars("id").rio.to_raster(paths[-1])
    result = run_scenes(
        paths, anchor="a", output=tmp_path / "out", model="auto", threshold=1.0, zarr=tmp_path / "cube.zarr"
    )
    assert not result.problems
    sidecar = json.loads((tmp_path / "out/b_coreg_qa_metadata.json").read_text())
    assert sidecar["model"] == "field"
    assert sidecar["displacement"] == "b_coreg_displacement.tif"
    assert sidecar["expected_residual"] == pytest.approx(float(quality.residual[1]), rel=0.2)
    with rasterio.open(tmp_path / "out/b_coreg_displacement.tif") as file:
        assert file.descriptions == ("dy", "dx", "sigma")
        assert file.crs == stack.rio.crs
        np.testing.assert_allclose(file.read(1), quality.displacement_y[1], atol=1e-4)
        x, y = file.transform * (0.5, 0.5)
    assert (y, x) == pytest.approx((float(quality.lattice_y[0]), float(quality.lattice_x[0])))
    expected = apply(stack, quality).values[1]
    written = rioxarray.open_rasterio(tmp_path / "out/b_coreg.tif")
    box = written.sel(x=stack.x, y=stack.y, method="nearest").values
    assert np.abs(box[:, INNER, INNER].astype(int) - expected[:, INNER, INNER]).max() <= 1
    cube = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all", mask_and_scale=False)
    (name,) = (name for name, variable in cube.data_vars.items() if "y" in variable.dims)
    assert np.abs(cube[name].values[1].astype(int) - expected).max() <= 1
    again = run_scenes(paths, anchor="a", output=tmp_path / "out", model="auto", threshold=1.0)
    assert all(report.resumed for report in again.reports)


@pytest.fixture(scope="module")
def opened(stack: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> xr.DataArray:
    """The two times as files."""
    paths = []
    for k, name in enumerate("ab"):
        paths.append(tmp_path_factory.mktemp("files") / f"{name}.tif")
        stack.isel(time=k).drop_vars("id").rio.to_raster(paths[-1])
    return open_scenes(paths, anchor="a")


def test_a_field_that_was_computed_saved_and_loaded_is_written_as_if_it_were_lazy(
    opened: xr.DataArray, tmp_path: Path
) -> None:
    lazy = estimate(opened, anchor="a", model="field", threshold=1.0)
    assert not to_geotiffs(apply(opened, lazy), tmp_path / "lazy").problems
    assert (tmp_path / "lazy/b_coreg_displacement.tif").is_file()
    lazy.compute().to_netcdf(tmp_path / "quality.nc")
    loaded = xr.load_dataset(tmp_path / "quality.nc")
    # whatever was selected from the stack, its files are written whole
    part = apply(opened, loaded).isel(time=[1, 0], y=slice(40, 200))
    assert not to_geotiffs(part, tmp_path / "loaded").problems
    for name in ("b_coreg.tif", "b_coreg_displacement.tif", "b_coreg_qa_metadata.json", "a_anchor.tif"):
        assert (tmp_path / "loaded" / name).read_bytes() == (tmp_path / "lazy" / name).read_bytes(), name


def test_a_field_of_which_only_the_mean_is_left_is_neither_applied_nor_written(
    opened: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    mean = quality.drop_dims(("lattice_y", "lattice_x")).assign_coords(id=("time", ["a", "b"]))
    with pytest.raises(InvalidRequest, match="only its mean"):
        apply(opened, mean)
    shift = mean.assign(model=("time", ["", "shift"]))
    assert not to_geotiffs(apply(opened, shift), tmp_path).problems


def test_the_field_of_an_aligned_stack_is_shown_without_matching_again(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    item = str(stack["id"].values[1])
    aligned = apply(stack, quality)
    for one in (aligned, aligned.isel(time=[1, 0]), aligned.isel(y=slice(40, None))):
        found = one.coreg.plot.field(item)
        whole = quality.coreg.plot.field(item)
        np.testing.assert_allclose(found[1].images[0].get_array(), whole[1].images[0].get_array(), atol=1e-4)
    to_zarr(aligned, tmp_path / "cube.zarr")
    with pytest.raises(InvalidRequest, match="or the cube that was written"):
        aligned.compute().coreg.plot.field(item)
    found = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all").coreg.plot.field(item)
    np.testing.assert_allclose(found[1].images[0].get_array(), whole[1].images[0].get_array(), atol=1e-4)


def test_a_stack_without_files_is_written_with_its_displacement(stack: xr.DataArray, tmp_path: Path) -> None:
    lazy = align(stack, anchor=0, model="field", threshold=1.0).isel(y=slice(40, None), x=slice(24, None))
    result = to_geotiffs(lazy, tmp_path)
    assert not result.problems
    name = str(lazy["id"].values[1])
    sidecar = json.loads((tmp_path / f"{name}_coreg_qa_metadata.json").read_text())
    assert sidecar["displacement"] == f"{name}_coreg_displacement.tif"
    with rasterio.open(tmp_path / sidecar["displacement"]) as file:
        nodes = file.read(1)
        x, y = file.transform * (0.5, 0.5)
    quality = estimate(stack, anchor=0, model="field", threshold=1.0).isel(time=1)
    np.testing.assert_allclose(nodes, quality.displacement_y, atol=1e-4)
    # nodes keep their place on the map, whatever part of the stack is written
    assert (y, x) == pytest.approx((float(quality.lattice_y[0]), float(quality.lattice_x[0])))


def test_ground_that_is_stable_drives_alone(stack: xr.DataArray) -> None:
    ground = xr.DataArray(np.ones((SIZE, SIZE), bool), dims=("y", "x"))
    ground[:, : SIZE // 2] = False
    found = estimate(stack, anchor=0, model="field", threshold=1.0, stable=ground).compute().isel(time=1)
    unseen = found.displacement_sigma.isel(lattice_x=slice(0, 5)).mean()
    seen = found.displacement_sigma.isel(lattice_x=slice(-9, -4)).mean()
    assert unseen > 2 * seen
    with pytest.raises(InvalidRequest, match="stable has to be"):
        estimate(stack, anchor=0, model="field", stable=ground.astype(int))
