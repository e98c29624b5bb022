"""Dates appended to a cube: aligned to its anchor, without touching what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import coregstack
from coregstack.cube import append as writing
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack, MissingFile
from coregstack.run.new_dates import append
from coregstack.testing import sample_stack, write_sample_order


@pytest.fixture(scope="module")
def dates() -> xr.DataArray:
    """Seven dates with true shifts."""
    return sample_stack(7, (200, 220), seed=8, max_shift=2, cloud_cover=0.05)


@pytest.fixture
def cube(dates: xr.DataArray, tmp_path: Path) -> Path:
    """A cube of the first four dates."""
    coregstack.to_zarr(coregstack.align(dates[:4], anchor=0), tmp_path / "cube.zarr")
    return tmp_path / "cube.zarr"


def opened(path: Path) -> xr.DataArray:
    return xr.open_zarr(path, decode_coords="all", mask_and_scale=False).reflectance


def stored(path: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of all objects that hold pixels of the first four dates."""
    files = sorted((path / "reflectance" / "c").glob("[0-3]/**/*"))
    return {str(f): (f.read_bytes(), f.stat().st_mtime_ns) for f in files if f.is_file()}


def times_of(cube: Path) -> dict[str, int]:
    """When each file was changed; the lock is touched by everybody who looks."""
    return {str(f): f.stat().st_mtime_ns for f in cube.rglob("*") if f.is_file() and f.name != "lock"}


def test_new_dates_are_aligned_and_written_behind_the_old_ones(dates: xr.DataArray, cube: Path) -> None:
    before = stored(cube)
    quality = append(dates[4:], cube)
    assert stored(cube) == before, "dates that are there may not be touched"
    whole = opened(cube)
    assert whole.id.values.tolist() == dates.id.values.tolist()
    assert (whole.time.values == dates.time.values).all()
    away = np.hypot(
        quality.shift_y - dates.true_shift_y[4:].values, quality.shift_x - dates.true_shift_x[4:].values
    )
    assert float(away.max()) < 0.03
    assert whole.status.values.tolist()[4:] == quality.status.values.tolist()
    assert whole.shift_y.values[4:] == pytest.approx(quality.shift_y.values)
    expected = coregstack.apply(dates[4:], quality).compute()
    assert (whole[4:].values == expected.values).all()
    assert (whole.clear[4:].values == expected.clear.values).all()


def test_a_date_that_only_dates_far_from_the_anchor_see_is_placed_by_them(tmp_path: Path) -> None:
    """Each date sees a strip further on; those near the new one do not lead back to the anchor by themselves."""
    stack = (
        sample_stack(6, (192, 740), seed=3, max_shift=2.0, cloud_cover=0)[:, :2].drop_vars("clear").compute()
    )
    for k, left in enumerate((0, 60, 180, 300, 420, 540)):
        stack[k, :, :, :left] = 0
        stack[k, :, :, left + 200 :] = 0
    coregstack.to_zarr(coregstack.align(stack[:5], anchor=0, method="network"), tmp_path / "cube.zarr")
    old = opened(tmp_path / "cube.zarr")
    assert set(old.status.values[1:]) <= {"coregistered", "already_aligned"}
    quality = append(stack[5:], tmp_path / "cube.zarr")
    assert quality.status.values.tolist() == ["coregistered"]
    error = np.array([quality.shift_y[0] - stack.true_shift_y[5], quality.shift_x[0] - stack.true_shift_x[5]])
    sigma = np.array([quality.shift_sigma_y[0], quality.shift_sigma_x[0]])
    assert np.abs(error).max() < 0.1
    assert (np.abs(error) < 4 * sigma).all()
    surest = [float(old.shift_sigma_y[3:5].min()), float(old.shift_sigma_x[3:5].min())]
    assert (sigma >= surest).all(), "it cannot be surer than what places it"


def test_times_may_be_out_of_order_and_repeating_does_nothing(dates: xr.DataArray, cube: Path) -> None:
    append(dates[[6]], cube)
    append(dates[[4, 6]], cube)
    assert opened(cube).id.values.tolist() == dates.id.values[[0, 1, 2, 3, 6, 4]].tolist()
    changed = times_of(cube)
    assert append(dates[[4, 6]], cube).sizes["time"] == 0
    assert times_of(cube) == changed


def test_a_killed_call_is_finished_by_the_next(
    dates: xr.DataArray, cube: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = stored(cube)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "write_dates", killed)
        with pytest.raises(KeyboardInterrupt):
            append(dates[4:6], cube)
    assert stored(cube) == before
    append(dates[4:6], cube)
    whole = opened(cube)
    assert whole.id.values.tolist() == dates.id.values[:6].tolist()
    assert (whole[4:].values != 0).any(axis=(1, 2, 3)).all()


def test_files_on_another_grid_are_placed_on_the_cube(
    dates: xr.DataArray, cube: Path, tmp_path: Path
) -> None:
    scene = dates[5].drop_vars("clear")
    part = scene.isel(x=slice(20, 200), y=slice(10, 190)).assign_coords(
        x=scene.x.values[20:200] + 0.75, y=scene.y.values[10:190] - 1.2
    )
    part.rio.to_raster(tmp_path / "late.tif")
    quality = append([tmp_path / "late.tif"], cube, times=["2023-01-02"])
    # The file says that it lies by (0.4, 0.25) px elsewhere than it does: its shift has to take that back.
    assert float(quality.shift_y[0]) == pytest.approx(float(dates.true_shift_y[5]) - 0.4, abs=0.06)
    assert float(quality.shift_x[0]) == pytest.approx(float(dates.true_shift_x[5]) - 0.25, abs=0.06)
    assert opened(cube).sizes["time"] == 5


def test_what_does_not_fit_is_refused_before_anything_is_written(
    dates: xr.DataArray, cube: Path, tmp_path: Path
) -> None:
    changed = times_of(cube)
    with pytest.raises(MissingFile, match="no cube"):
        append(dates[4:], tmp_path / "other.zarr")
    with pytest.raises(InvalidRequest, match="none"):
        append(dates[4:], cube, resampling="none")
    dates[5, :2].drop_vars("clear").rio.to_raster(tmp_path / "two_bands.tif")
    with pytest.raises(InvalidStack, match="bands"):
        append([tmp_path / "two_bands.tif"], cube)
    # as reflectance beside counts: all would become 0
    for dtype in ("float32", "int32"):
        values = dates[5].drop_vars("clear").astype(dtype).rio.write_nodata(0, encoded=False)
        values.rio.to_raster(tmp_path / f"{dtype}.tif")
        with pytest.raises(InvalidStack, match=f"{dtype}, of which uint16 cannot hold every value"):
            append([tmp_path / f"{dtype}.tif"], cube)
    assert times_of(cube) == changed
    coregstack.to_zarr(coregstack.align(dates[1:3], anchor=dates[0]), tmp_path / "outside.zarr")
    with pytest.raises(AnchorNotFound, match="does not hold its anchor"):
        append(dates[4:], tmp_path / "outside.zarr")


def test_numbers_of_another_scale_are_refused(dates: xr.DataArray, tmp_path: Path) -> None:
    scale = {"scale_factor": 1e-4, "add_offset": -0.1}
    aligned = coregstack.align(dates[:3].assign_attrs(scale), anchor=0)
    coregstack.to_zarr(aligned, tmp_path / "cube.zarr")
    before = times_of(tmp_path / "cube.zarr")
    for other in ({}, scale | {"add_offset": 0.0}):
        with pytest.raises(InvalidStack, match=r"scale_factor 0.0001 and the add_offset -0.1"):
            append(dates[3:4].assign_attrs(other), tmp_path / "cube.zarr")
    for odd in ("some", 0, np.nan):
        with pytest.raises(InvalidStack, match="have to be finite numbers"):
            append(dates[3:4].assign_attrs(scale_factor=odd), tmp_path / "cube.zarr")
    dates[4].drop_vars("clear").rio.to_raster(tmp_path / "late.tif")
    with pytest.raises(InvalidStack, match=r"new dates have 1 and 0"):
        append([tmp_path / "late.tif"], tmp_path / "cube.zarr", times=["2023-01-02"])
    assert times_of(tmp_path / "cube.zarr") == before
    append(dates[3:4].assign_attrs(scale), tmp_path / "cube.zarr")
    assert opened(tmp_path / "cube.zarr").sizes["time"] == 4


def test_an_order_grows_the_cube_of_another(tmp_path: Path) -> None:
    order = write_sample_order(tmp_path / "order", size=200)
    cube = tmp_path / "cube.zarr"
    with pytest.raises(InvalidRequest, match="zarr="):
        coregstack.run_order(order.payload, input=order.folder, output=tmp_path / "out", append=True)
    first = coregstack.run_order(
        order.payload, input=order.folder, output=tmp_path / "out", zarr=cube, append=True
    )
    count = xr.open_zarr(cube).sizes["time"]
    again = coregstack.run_order(
        order.payload, input=order.folder, output=tmp_path / "again", zarr=cube, append=True
    )
    assert not first.faults
    assert not again.faults
    assert xr.open_zarr(cube).sizes["time"] == count <= len(first.reports)
