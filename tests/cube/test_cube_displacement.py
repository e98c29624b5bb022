"""A cube keeps the displacement of its dates beside their pixels, and gives it back as a quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from scipy.ndimage import map_coordinates

from coregstack import align, append, apply, estimate, open_zarr, to_zarr
from coregstack.cube.check import verify_cube
from coregstack.errors import OutputConflict
from coregstack.testing import sample_stack

SIZE = 200
NAMES = ["displacement_y", "displacement_x", "displacement_sigma"]


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """Three times: the second is the first, torn smoothly, the third is the first with noise."""
    first = sample_stack(3, shape=(SIZE, SIZE), seed=7).compute().drop_vars("clear").isel(band=[0])
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    torn = map_coordinates(
        first.values[0, 0].astype(float), [y + np.sin(x / 40), x + np.cos(y / 40)], order=5, mode="nearest"
    )
    noise = np.random.default_rng(1).integers(-3, 4, (SIZE, SIZE))
    images = [first.values[0, 0], torn.clip(1, 60000).round(), (first.values[0, 0] + noise).clip(1, 60000)]
    return first.copy(data=np.stack(images)[:, None].astype(np.uint16))


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0, model="field", threshold=1.0).compute()


def opened(store: Path) -> xr.Dataset:
    return xr.open_zarr(store, decode_coords="all", mask_and_scale=False)


def same(cube: xr.Dataset, quality: xr.Dataset, times: list[int]) -> None:
    for name in NAMES:
        assert cube[name].dims == quality[name].dims
        assert cube[name].dtype == np.float32
        np.testing.assert_allclose(cube[name][times], quality[name][times], atol=1e-4)
    for name in ("lattice_y", "lattice_x"):
        np.testing.assert_allclose(cube[name], quality[name], rtol=1e-12)


def bytes_of(store: Path) -> dict[str, bytes]:
    """What lies in a cube, without its journal and what is gathered of its metadata."""
    return {str(path): path.read_bytes() for path in store.glob("[!_]*/**/*") if path.is_file()}


def test_the_displacement_lies_beside_the_pixels(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    assert quality.model.values[1] == "field"
    # what was found of a date that is not moved is told as well
    assert quality.status.values.tolist()[1:] == ["coregistered", "no_improvement"]
    store = tmp_path / "cube.zarr"
    aligned = apply(stack, quality)
    to_zarr(aligned, store)
    same(opened(store), quality, [0, 1, 2])
    assert verify_cube(store) == ()
    xr.testing.assert_equal(open_zarr(store).drop_vars("spatial_ref"), aligned.drop_vars("spatial_ref"))
    # nothing is written again where nothing has changed
    before = {path: path.stat().st_mtime_ns for path in store.glob("displacement_*/c/?/0/0")}
    assert len(before) == 6
    to_zarr(aligned, store)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_is_lazy_until_it_is_written_is_kept_as_well(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    bands = xr.Dataset({"red": stack.isel(band=0, drop=True)})
    aligned = align(bands, anchor=0, model="field", threshold=1.0)
    to_zarr(aligned, tmp_path / "cube.zarr", unaligned="drop")
    same(opened(tmp_path / "cube.zarr"), quality, [0, 1])
    assert verify_cube(tmp_path / "cube.zarr") == ()


def test_other_assets_are_moved_by_a_cube_as_by_its_quality(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    to_zarr(apply(stack, quality), tmp_path / "cube.zarr")
    kept = opened(tmp_path / "cube.zarr")
    fine = stack.coarsen(y=2, x=2).mean().astype(np.uint16)
    for asset in (stack, fine.assign_attrs(stack.attrs)):
        found, expected = (apply(asset, one).values.astype(int) for one in (kept, quality))
        assert np.abs(found - expected).max() <= 1
    assert apply(stack, kept).attrs["coregstack_anchor"] == quality.attrs["anchor"]
    item = str(stack["id"].values[1])
    images = [one.coreg.plot.field(item)[1].images[0].get_array() for one in (kept, quality)]
    np.testing.assert_allclose(*images, atol=1e-3)


def test_a_lost_or_changed_displacement_is_told_and_written_again(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    store = tmp_path / "cube.zarr"
    aligned = apply(stack, quality)
    to_zarr(aligned, store)
    whole = bytes_of(store)
    (store / "displacement_x/c/1/0/0").unlink()
    zarr.open_group(store, mode="r+")["lattice_y"][0] += 5
    assert [problem.path for problem in verify_cube(store)] == [
        f"{stack['id'].values[1]} {stack['time'].values[1]}"
    ]
    to_zarr(aligned, store)
    assert verify_cube(store) == ()
    assert bytes_of(store) == whole
    zarr.open_group(store, mode="r+")["lattice_y"][0] += 5
    assert ["lattice_y" in problem.message for problem in verify_cube(store)] == [True]
    to_zarr(aligned, store)
    assert verify_cube(store) == ()


@pytest.mark.parametrize("left", [0, 12])
def test_appended_dates_bring_theirs_on_the_same_nodes(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path, left: int
) -> None:
    store = tmp_path / "cube.zarr"
    part = {"x": slice(left, None)}
    to_zarr(apply(stack, quality).isel(time=[0, 2], **part), store)
    append(stack.isel(time=[1], **part), store, model="field", threshold=1.0)
    assert verify_cube(store) == ()
    cube = opened(store)
    error = cube.displacement_y[2].values - quality.displacement_y[1].values
    assert np.abs(error[2:-2, 3:-2]).max() < (0.05 if left else 0.01)
    assert float(cube.displacement_y[2].std()) > 0.3
    append(stack.isel(time=[1], **part).assign_coords(id=("time", ["more"])), store, threshold=1.0)
    shift = opened(store).isel(time=3).compute()
    assert shift.model.item() == "shift"
    np.testing.assert_allclose(shift.displacement_y, float(shift.shift_y), atol=1e-5)
    assert verify_cube(store) == ()


def test_what_is_not_known_any_more_is_not_a_number(
    stack: xr.DataArray, quality: xr.Dataset, tmp_path: Path
) -> None:
    store = tmp_path / "cube.zarr"
    to_zarr(apply(stack, quality).compute().chunk(time=1), store)
    cube = opened(store)
    assert np.isnan(cube.displacement_y[1]).all()
    assert verify_cube(store) == ()
    with pytest.raises(OutputConflict, match="there, None now"):
        to_zarr(align(stack, anchor=0, threshold=1.0), store)


def test_a_cube_of_shifts_has_no_displacement(stack: xr.DataArray, tmp_path: Path) -> None:
    store = tmp_path / "cube.zarr"
    shifts: xr.Dataset = estimate(stack, anchor=0, model="shift", threshold=1.0)
    to_zarr(apply(stack, shifts), store)
    assert not any("displacement" in name or "lattice_" in name for name in map(str, opened(store).variables))
    assert "lattice_geotransform" not in opened(store).attrs
    append(stack.isel(time=[1]).assign_coords(id=("time", ["more"])), store, model="field", threshold=1.0)
    assert verify_cube(store) == ()
    assert "displacement_y" not in opened(store)
    with pytest.raises(OutputConflict, match="lattice: None there"):
        to_zarr(align(stack, anchor=0, model="field", threshold=1.0), store)
