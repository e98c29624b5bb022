"""The evidence of a run tells where each written image is valid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.features
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.warp import Resampling, calculate_default_transform, reproject
from scipy import ndimage

import coregstack
from coregstack.export.evidence import kept_evidence
from coregstack.model import Status
from coregstack.testing import sample_stack

SIDE = 512


def turned(stack: xr.DataArray) -> xr.DataArray:
    """The stack, its items turned squares in a box of nodata."""
    side = stack.sizes["x"]
    y, x = np.indices((side, side)) - (side - 1) / 2
    inside = np.abs(0.9 * x + 0.3 * y) + np.abs(0.9 * y - 0.3 * x) < 0.45 * side
    return stack.where(inside, 0).astype(stack.dtype).rio.write_nodata(0)


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return turned(sample_stack(3, (SIDE, SIDE), seed=11).drop_vars("clear"))


@pytest.fixture(scope="module")
def scenes(stack: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three scenes; of the last the anchor covers only a part."""
    folder = tmp_path_factory.mktemp("areas")
    parts = (slice(0, 330), slice(0, SIDE), slice(60, SIDE))
    paths = [folder / f"{name}.tif" for name in "abc"]
    for k, (path, columns) in enumerate(zip(paths, parts, strict=True)):
        stack[k].isel(x=columns).rio.to_raster(path)
    return paths


def disagreement(output: Path, item: str, steps: int = 1) -> NDArray[np.bool_]:
    """Pixels farther than three steps from the outline in which area and image of an item differ."""
    kept = kept_evidence(output, item)
    assert kept is not None
    assert kept.area is not None
    (path,) = output.glob(f"{item}*.tif")
    with rasterio.open(path) as dataset:
        alpha = ColorInterp.alpha in dataset.colorinterp
        valid = (dataset.read(dataset.count) if alpha else dataset.dataset_mask()) > 0
        assert rasterio.CRS.from_user_input(kept.area.crs) == dataset.crs
        polygons = [{"type": "Polygon", "coordinates": [[*part, part[0]]]} for part in kept.area.parts]
        drawn = rasterio.features.rasterize(polygons, valid.shape, transform=dataset.transform) == 1
    near = ndimage.binary_dilation(valid, iterations=3 * steps)
    near &= ~ndimage.binary_erosion(valid, iterations=3 * steps)
    assert 0.2 < valid.mean() < 0.9
    return (drawn != valid) & ~near


@pytest.mark.parametrize("method", ["direct", "network"])
def test_a_run_of_scenes_knows_the_valid_area_of_each(
    scenes: list[Path], method: str, tmp_path: Path
) -> None:
    result = coregstack.run_scenes(scenes, anchor=0, output=tmp_path, method=method)
    assert result.count(Status.COREGISTERED) == 2
    for item in "abc":
        assert not disagreement(tmp_path, item).any()


@pytest.mark.parametrize("resampling", ["cubic", "none"])
@pytest.mark.parametrize("method", ["direct", "network"])
def test_scenes_of_another_zone_are_told_in_the_crs_of_their_files(
    scenes: list[Path], method: str, resampling: str, tmp_path: Path
) -> None:
    other = tmp_path / "b.tif"
    with rasterio.open(scenes[1]) as dataset:
        crs = rasterio.CRS.from_epsg(32632 if dataset.crs.to_epsg() != 32632 else 32633)
        transform, width, height = calculate_default_transform(
            dataset.crs, crs, dataset.width, dataset.height, *dataset.bounds, resolution=dataset.res
        )
        profile = dataset.profile | {"crs": crs, "transform": transform, "width": width, "height": height}
        with rasterio.open(other, "w", **profile) as out:
            reproject(
                rasterio.band(dataset, list(dataset.indexes)), rasterio.band(out, list(dataset.indexes)),
                resampling=Resampling.cubic,
            )  # fmt: skip
    output = tmp_path / "out"
    paths = [scenes[0], other]
    coregstack.run_scenes(paths, anchor=0, output=output, method=method, resampling=resampling)
    for item in "ab":
        assert not disagreement(output, item).any()


def test_a_lazy_stack_of_scenes_knows_those_that_it_read_whole(scenes: list[Path], tmp_path: Path) -> None:
    aligned = coregstack.align(coregstack.open_scenes(scenes, anchor=0), anchor=0, max_shift=8)
    coregstack.to_geotiffs(aligned, tmp_path)
    assert not disagreement(tmp_path, "a").any()
    kept = kept_evidence(tmp_path, "c")
    assert kept is not None
    assert kept.area is None


def test_overviews_tell_of_scenes_that_were_read_in_part(tmp_path: Path) -> None:
    # noise of some pixels' size, for a landscape of this size takes long to make
    fine = 2000 + 3000 * ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(1403, 1403)), 1.5)
    scenes = np.stack([fine[:1400, :1400], fine[2:1402, 3:1403]])[:, None].astype(np.uint16)
    places = 3.0 * np.arange(1400)
    stack = xr.DataArray(
        scenes, dims=("time", "band", "y", "x"), coords={"y": 5.8e6 - places, "x": 5e5 + places}
    )
    large = turned(stack.rio.write_crs("EPSG:32633"))
    paths = [tmp_path / name for name in ("a.tif", "c.tif")]
    for path, scene, columns in zip(paths, large, (slice(0, 800), slice(None)), strict=True):
        scene.isel(x=columns).rio.to_raster(path, driver="COG", blocksize=256)
    aligned = coregstack.align(coregstack.open_scenes(paths, anchor=0), anchor=0, max_shift=8)
    coregstack.to_geotiffs(aligned, tmp_path / "out")
    assert not disagreement(tmp_path / "out", "c", steps=3).any()


@pytest.mark.parametrize("computed", [False, True])
def test_a_stack_without_files_knows_what_it_writes(
    stack: xr.DataArray, computed: bool, tmp_path: Path
) -> None:
    quality = coregstack.estimate(stack, anchor=0)
    quality = quality.compute() if computed else quality
    coregstack.to_geotiffs(coregstack.apply(stack, quality), tmp_path)
    for item in stack.id.values:
        assert not disagreement(tmp_path, item).any()


@pytest.mark.parametrize("mask", ["alpha", "internal"])
def test_masks_of_the_file_count(mask: str, scenes: list[Path], tmp_path: Path) -> None:
    paths = []
    for path in scenes[:2]:
        with rasterio.open(path) as dataset:
            values, profile = dataset.read(), dataset.profile
        valid = (values != 0).any(axis=0)
        values[:, ~valid] = 77
        profile |= {"nodata": None, "count": len(values) + (mask == "alpha")}
        paths.append(tmp_path / path.name)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(paths[-1], "w", **profile) as out:
            if mask == "alpha":
                out.colorinterp = [*out.colorinterp[:-1], ColorInterp.alpha]
                out.write(np.concatenate([values, np.where(valid, 255, 0)[None].astype(values.dtype)]))
            else:
                out.write(values)
                out.write_mask(valid)
    coregstack.run_scenes(paths, anchor=1, output=tmp_path / "out")
    for item in "ab":
        assert not disagreement(tmp_path / "out", item).any()
