"""Cubes that other programs read, and that open back into the stack they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

import coregstack
from coregstack.cube.check import verify_cube
from coregstack.errors import CoregError, InvalidRequest, MissingFile, OutputConflict
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def aligned() -> xr.DataArray:
    """A small aligned stack, lazy."""
    return coregstack.align(sample_stack(3, (300, 320), seed=3, max_shift=2.5, cloud_cover=0.05)[:, :2], 0)


@pytest.fixture(scope="module")
def cube(aligned: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cubes") / "cube.zarr"
    coregstack.to_zarr(aligned, path)
    return path


def test_a_cube_opens_back_into_the_stack_it_was(aligned: xr.DataArray, cube: Path) -> None:
    found = coregstack.open_zarr(cube)
    assert isinstance(found, xr.DataArray)
    assert found.chunks is not None
    known = aligned.compute()
    xr.testing.assert_equal(found.compute(), known)
    assert found.attrs == known.attrs
    assert found.dtype == known.dtype
    assert {
        name: coord.attrs for name, coord in found.coords.items() if name not in ("x", "y", "spatial_ref")
    } == {name: coord.attrs for name, coord in known.coords.items() if name not in ("x", "y", "spatial_ref")}
    assert found.rio.crs == known.rio.crs
    result = coregstack.rank_anchors(found)
    assert len(result) == 3


def test_plain_readers_find_the_crs(aligned: xr.DataArray, cube: Path) -> None:
    plain = xr.open_zarr(cube)
    assert plain.rio.crs == plain[str(aligned.name)].rio.crs == aligned.rio.crs
    assert list(plain.data_vars) == [aligned.name]


def test_parts_are_written_again_without_more_ado(cube: Path, tmp_path: Path) -> None:
    part = coregstack.open_zarr(cube).isel(time=slice(1, 3), x=slice(10, 200))
    part.to_zarr(tmp_path / "part.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "part.zarr", consolidated=False, mask_and_scale=False) as again:
        np.testing.assert_array_equal(again[str(part.name)], part)
    part.to_netcdf(tmp_path / "part.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "part.nc", engine="scipy", mask_and_scale=False) as again:
        np.testing.assert_array_equal(again[str(part.name)], part)


@pytest.mark.parametrize(
    ("chunks", "expected"), [(None, (300, 320)), (128, (128, 128)), ((100, 64), (100, 64))]
)
def test_without_shards_each_chunk_is_an_object(
    aligned: xr.DataArray, tmp_path: Path, chunks: int | tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    path = tmp_path / "cube.zarr"
    coregstack.to_zarr(aligned, path, sharding=False, chunks=chunks)
    group = zarr.open_group(path, mode="r")
    for name in (str(aligned.name), "clear"):
        assert group[name].shards is None
        assert group[name].chunks[-2:] == expected
    xr.testing.assert_equal(coregstack.open_zarr(path).compute(), aligned.compute())
    # what xarray opened it writes again
    xr.open_zarr(path).isel(time=slice(0, 2)).to_zarr(tmp_path / "again.zarr", consolidated=False)
    pixels = path / str(aligned.name)
    before = {file: file.stat().st_mtime_ns for file in pixels.rglob("c/**/*")}
    coregstack.to_zarr(aligned, path)
    assert before == {file: file.stat().st_mtime_ns for file in pixels.rglob("c/**/*")}
    assert not verify_cube(path)


def test_a_part_that_was_lost_is_written_again_without_shards(aligned: xr.DataArray, tmp_path: Path) -> None:
    path = tmp_path / "cube.zarr"
    coregstack.to_zarr(aligned, path, sharding=False, chunks=128)
    lost = next(file for file in (path / str(aligned.name)).rglob("c/1/**/*") if file.is_file())
    lost.unlink()
    coregstack.to_zarr(aligned, path)
    assert lost.is_file()
    xr.testing.assert_equal(coregstack.open_zarr(path).compute(), aligned.compute())


def test_chunks_of_ones_own_in_shards(aligned: xr.DataArray, tmp_path: Path) -> None:
    coregstack.to_zarr(aligned, tmp_path / "cube.zarr", chunks=(64, 100))
    pixels = zarr.open_group(tmp_path / "cube.zarr", mode="r")[str(aligned.name)]
    assert (pixels.chunks[-2:], pixels.shards[-2:]) == ((64, 100), (320, 400))
    xr.testing.assert_equal(coregstack.open_zarr(tmp_path / "cube.zarr").compute(), aligned.compute())


def test_other_chunks_than_those_that_are_there_are_refused(aligned: xr.DataArray, cube: Path) -> None:
    with pytest.raises(OutputConflict, match="256 x 256 px in shards"):
        coregstack.to_zarr(aligned, cube, sharding=False)
    with pytest.raises(OutputConflict, match="256 x 256 px"):
        coregstack.to_zarr(aligned, cube, chunks=100)
    for chunks in (0, (1, 2, 3), 2.5, True):
        with pytest.raises(InvalidRequest, match="chunks has to be"):
            coregstack.to_zarr(aligned, cube, chunks=chunks)  # type: ignore[arg-type]


def test_what_is_no_cube_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no cube"):
        coregstack.open_zarr(tmp_path / "none.zarr")
    xr.Dataset({"a": ("x", [1, 2])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(CoregError):
        coregstack.open_zarr(tmp_path / "other.zarr")
