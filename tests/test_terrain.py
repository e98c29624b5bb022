"""Stacks that are displaced in patterns, through the public functions."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.array as da
import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack import align, append, apply, estimate, height_error, open_zarr, run_scenes, to_zarr
from coregstack.errors import InvalidRequest
from coregstack.model import Viewing
from coregstack.testing import sample_stack

SIZE = 200
DATES = 6


@pytest.fixture(scope="module")
def relief() -> NDArray[np.float64]:
    hills = gaussian_filter(np.random.default_rng(3).normal(size=(SIZE, SIZE)), 12, mode="nearest")
    return (hills - hills.mean()) / hills.std()


@pytest.fixture(scope="module")
def views() -> NDArray[np.float64]:
    """View of each date (y, x), px."""
    return np.random.default_rng(8).normal(0, 0.5, (DATES, 2))


@pytest.fixture(scope="module")
def truth(relief: NDArray[np.float64], views: NDArray[np.float64]) -> NDArray[np.float64]:
    """Displacement of each date, shape (time, 2, y, x): its shift, and one relief under its view."""
    shifts = np.random.default_rng(9).uniform(-2, 2, (DATES, 2, 1, 1))
    return shifts + views[..., None, None] * relief


@pytest.fixture(scope="module")
def stack(truth: NDArray[np.float64]) -> xr.DataArray:
    """The anchor and six dates, one band."""
    first = sample_stack(DATES + 1, shape=(SIZE, SIZE), seed=7).compute().drop_vars("clear").isel(band=[2])
    rng = np.random.default_rng(4)
    anchor = first.values[0, 0].astype(float)
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    scenes = [anchor]
    for true in truth:
        back = np.zeros_like(true)
        for _ in range(12):
            back = np.stack(
                [map_coordinates(d, [y + back[0], x + back[1]], order=3, mode="nearest") for d in true]
            )
        item = map_coordinates(anchor, [y + back[0], x + back[1]], order=5, mode="nearest")
        scenes.append(item + rng.normal(0, 0.05 * anchor.std(), item.shape))
    return first.copy(data=np.stack(scenes)[:, None].clip(1, 60000).round().astype(np.uint16))


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0, model="terrain", threshold=1.0).compute()


def left(
    quality: xr.Dataset, stack: xr.DataArray, truth: NDArray[np.float64], *, anchored: bool = True
) -> NDArray[np.float64]:
    """What is left of the displacement (time, 2, y, x) at the nodes away from the edges, px; the anchor comes first."""
    rows = ((quality.lattice_y - stack.y[0]) / (stack.y[1] - stack.y[0])).values
    cols = ((quality.lattice_x - stack.x[0]) / (stack.x[1] - stack.x[0])).values
    inside = [(v > 20) & (v < SIZE - 20) for v in (rows, cols)]
    at = np.meshgrid(rows[inside[0]], cols[inside[1]], indexing="ij")
    found = np.stack(
        [quality[f"displacement_{axis}"].values[int(anchored) :][:, *np.ix_(*inside)] for axis in "yx"],
        axis=1,
    )
    return found - np.array([[map_coordinates(d, at, order=3) for d in both] for both in truth])


def rms(rest: NDArray[np.float64]) -> float:
    """Rms length of what is left, px."""
    return float(np.sqrt(np.square(rest).sum(axis=1).mean()))


METRES = 8.0
"""Height that one unit of the relief is, m."""


def viewings(views: NDArray[np.float64], stack: xr.DataArray) -> list[Viewing]:
    """From where the anchor, from above, and dates were seen whose relief is an error of height."""
    size = abs(float(stack.x[1] - stack.x[0]))
    found = [Viewing(incidence=0.0, azimuth=0.0)]
    for y, x in views:
        slope = np.hypot(y, x) * size / METRES
        found.append(
            Viewing(
                incidence=float(np.degrees(np.arctan(slope))),
                azimuth=float(np.degrees(np.arctan2(x, -y)) % 360),
            )
        )
    return found


def with_angles(quality: xr.Dataset, seen: list[Viewing]) -> xr.Dataset:
    told = np.array(seen)
    return quality.assign_coords(view_incidence=("time", told[:, 0]), view_azimuth=("time", told[:, 1]))


def test_heights_follow_from_views_and_angles(
    stack: xr.DataArray, quality: xr.Dataset, relief: NDArray[np.float64], views: NDArray[np.float64]
) -> None:
    seen = with_angles(quality, viewings(views, stack))
    found = height_error(seen)
    assert found.correlation > 0.99
    rows = ((found.lattice_y - stack.y[0]) / (stack.y[1] - stack.y[0])).values
    cols = ((found.lattice_x - stack.x[0]) / (stack.x[1] - stack.x[0])).values
    inside = np.ix_((rows > 20) & (rows < SIZE - 20), (cols > 20) & (cols < SIZE - 20))
    at = np.meshgrid(rows[inside[0].ravel()], cols[inside[1].ravel()], indexing="ij")
    true = METRES * map_coordinates(relief, at, order=3)
    rest = flat(found.height_error.values[inside] - true)
    assert np.sqrt(np.square(rest).mean()) < 0.1 * METRES
    ratio = np.sqrt(np.square(rest / found.height_error_sigma.values[inside]).mean())
    assert 0.3 < ratio < 1.7
    # angles that have nothing to do with the dates tell no heights
    with pytest.raises(InvalidRequest, match="may be chance"):
        height_error(seen.assign_coords(view_azimuth=seen.view_azimuth + 90))
    unknown = np.where(np.arange(DATES + 1) == 0, np.nan, seen.view_incidence)
    with pytest.raises(InvalidRequest, match="not of the anchor"):
        height_error(seen.assign_coords(view_incidence=("time", unknown)))


def oblique(
    ground: NDArray[np.float64],
    heights: NDArray[np.float64],
    model: NDArray[np.float64],
    seen: Viewing,
    size: float,
) -> NDArray[np.float64]:
    """A view of the ground, put onto the map by a model of its heights: ray by ray, by nothing but geometry.

    At each pixel of the map stands what the ray shows that comes from the satellite through the place of the model.
    """
    away, turn = np.tan(np.radians(seen.incidence)) / size, np.radians(seen.azimuth)
    down, along = -np.cos(turn) * away, np.sin(turn) * away
    y, x = np.mgrid[: heights.shape[0], : heights.shape[1]].astype(float)
    # how far above the model each ray meets the true surface, m
    low, high = np.full(heights.shape, -200.0), np.full(heights.shape, 200.0)
    for _ in range(40):
        rise = (low + high) / 2
        surface = map_coordinates(heights, [y + rise * down, x + rise * along], order=3, mode="nearest")
        below = model + rise < surface
        low, high = np.where(below, rise, low), np.where(below, high, rise)
    return map_coordinates(ground, [y + low * down, x + low * along], order=5, mode="nearest")


def test_heights_have_the_sign_and_the_size_that_rays_of_a_camera_give_them(stack: xr.DataArray) -> None:
    rng = np.random.default_rng(12)
    size = abs(float(stack.x[1] - stack.x[0]))
    ground = stack.values[0, 0].astype(float)
    hills = [gaussian_filter(rng.normal(size=ground.shape), s, mode="nearest") for s in (25, 10)]
    model, error = 60 * hills[0] / hills[0].std(), 6 * hills[1] / hills[1].std()
    seen = [Viewing(incidence=0.0, azimuth=0.0)]
    seen += [
        Viewing(incidence=float(i), azimuth=float(a))
        for i, a in zip(rng.uniform(5, 20, 6), (20, 100, 110, 200, 280, 300), strict=True)
    ]
    views = [oblique(ground, model + error, model, one, size) for one in seen]
    noisy = [view + rng.normal(0, 0.03 * ground.std(), view.shape) for view in views]
    scenes = stack.copy(data=np.stack(noisy)[:, None].clip(1, 60000).round().astype(np.uint16))
    found = height_error(
        with_angles(estimate(scenes, anchor=0, model="terrain", threshold=1.0).compute(), seen)
    )
    assert found.correlation > 0.98
    rows = ((found.lattice_y - stack.y[0]) / (stack.y[1] - stack.y[0])).values
    cols = ((found.lattice_x - stack.x[0]) / (stack.x[1] - stack.x[0])).values
    inside = np.ix_((rows > 20) & (rows < SIZE - 20), (cols > 20) & (cols < SIZE - 20))
    at = np.meshgrid(rows[inside[0].ravel()], cols[inside[1].ravel()], indexing="ij")
    true, told = (
        flat(one) for one in (map_coordinates(error, at, order=3), found.height_error.values[inside])
    )
    assert (told * true).sum() / np.square(true).sum() == pytest.approx(1, abs=0.05)
    assert np.sqrt(np.square(told - true).mean()) < 1.0


def flat(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values without their plane."""
    y, x = (places.ravel() for places in np.indices(values.shape))
    plane = np.stack([np.ones(y.size), y, x], axis=1)
    return values - (plane @ np.linalg.lstsq(plane, values.ravel(), rcond=None)[0]).reshape(values.shape)


def test_dates_follow_the_relief_that_they_have_in_common(
    stack: xr.DataArray, quality: xr.Dataset, truth: NDArray[np.float64]
) -> None:
    assert quality.model.values.tolist() == ["", *["terrain"] * DATES]
    assert all("one pattern that the dates have in common" in text for text in quality.details.values[1:])
    rest = rms(left(quality, stack, truth))
    field = estimate(stack[:3], anchor=0, model="field", threshold=1.0).compute()
    own = rms(left(field, stack, truth[:2]))
    assert rest < 0.08
    assert rest < 0.8 * own
    assert float(quality.residual[1:].max()) < 0.15


def test_it_is_lazy_and_does_not_depend_on_chunks(stack: xr.DataArray, quality: xr.Dataset) -> None:
    def fail(*_: object, **__: object) -> object:
        raise AssertionError("computed")

    chunked = stack.copy(data=da.from_array(stack.values, chunks=(2, 1, 64, 128)))
    with dask.config.set(scheduler=fail):
        lazy = estimate(chunked, anchor=0, model="terrain", threshold=1.0)
    found = lazy.compute()
    xr.testing.assert_identical(found.drop_vars("details"), quality.drop_vars("details"))
    assert found.details.values.tolist() == quality.details.values.tolist()


def test_a_stack_without_relief_is_displaced_by_shifts() -> None:
    found = estimate(sample_stack(5, shape=(200, 200)), anchor=0, model="terrain", threshold=1.0).compute()
    assert found.model.values.tolist() == ["", *["shift"] * 4]
    assert all("No pattern: " in text for text in found.details.values[1:])


def test_files_of_a_run_move_by_the_patterns(
    stack: xr.DataArray, quality: xr.Dataset, views: NDArray[np.float64], tmp_path: Path
) -> None:
    names = [f"2020010{k}_000000_000{k}" for k in range(DATES + 1)]
    for k, (name, seen) in enumerate(zip(names, viewings(views, stack), strict=True)):
        image = stack.isel(time=k).drop_vars("id")
        image.rio.to_raster(tmp_path / f"{name}_3B_Visual.tif")
        (tmp_path / f"{name}_3B_Visual_metadata.xml").write_text(
            f'<a><eop:incidenceAngle uom="deg">{seen.incidence}</eop:incidenceAngle>'
            f'<ps:azimuthAngle uom="deg">{seen.azimuth}</ps:azimuthAngle></a>'
        )
    flat = xr.full_like(image[0].astype(np.float32), 300.0).rio.write_nodata(-1)
    flat.rio.to_raster(tmp_path / "model.tif")
    paths = sorted(tmp_path.glob("2020*"))
    result = run_scenes(
        paths,
        anchor=names[0],
        output=tmp_path / "out",
        model="terrain",
        threshold=1.0,
        dem=tmp_path / "model.tif",
    )
    assert any("correlation of 1.00 with the angles" in note for note in result.notes)
    with rasterio.open(tmp_path / "out" / "height_error.tif") as file:
        error, _, height = file.read()
        assert file.descriptions == ("error", "sigma", "height")
    inside = np.isfinite(height)
    assert inside.mean() > 0.9
    np.testing.assert_allclose((height - error)[inside], 300.0, atol=1e-3)
    told = result.to_quality()
    assert told.model.values.tolist() == quality.model.values.tolist()
    np.testing.assert_allclose(told.displacement_y[1:], quality.displacement_y[1:], atol=1e-4)
    aligned = apply(stack, quality).values[3, 0].astype(float)
    with rasterio.open(tmp_path / "out" / f"{names[3]}_3B_Visual_coreg.tif") as file:
        written = file.read(1, boundless=True, window=rasterio.windows.from_bounds(
            *stack.rio.bounds(), transform=file.transform
        )).astype(float)  # fmt: skip
    inner = slice(10, -10)
    assert np.abs(written - aligned)[inner, inner].max() <= 1


def test_a_cube_tells_new_dates_its_relief(
    stack: xr.DataArray, quality: xr.Dataset, truth: NDArray[np.float64], tmp_path: Path
) -> None:
    cube, first = tmp_path / "cube.zarr", 5
    to_zarr(align(stack[:first], anchor=0, model="terrain", threshold=1.0), cube)
    before = open_zarr(cube).compute()
    found = append(stack[first : first + 1], cube, model="terrain", threshold=1.0)
    assert found.model.values.tolist() == ["terrain"]
    assert found.pattern_dates.values.tolist() == [first - 1]
    assert "one pattern that the dates have in common" in found.details.item()
    assert rms(left(found, stack, truth[first - 1 : first], anchored=False)) < 0.12
    # a view that is told in terms of the same pattern as those of the dates that were there
    sign = np.sign((open_zarr(cube).view_x[1:first].values * quality.view_x[1:first].values).sum())
    views = [[one[f"view_{axis}"][k].item() for axis in "yx"] for one, k in ((found, 0), (quality, first))]
    np.testing.assert_allclose(views[0], sign * np.array(views[1]), atol=0.08)

    # of twice as many dates the patterns are found anew
    more = xr.concat([stack[first + 1 :]] * 3, "time").assign_coords(id=("time", ["u", "v", "w"]))
    again = append(more, cube, model="terrain", threshold=1.0)
    assert again.pattern_dates.values.tolist() == [2 * (first - 1)] * 3
    assert rms(left(again, stack, np.concatenate([truth[first:]] * 3), anchored=False)) < 0.09
    last = append(
        stack[first : first + 1].assign_coords(id=("time", ["z"])), cube, model="terrain", threshold=1.0
    )
    assert last.pattern_dates.values.tolist() == [2 * (first - 1)]
    after = open_zarr(cube).compute()
    xr.testing.assert_identical(after.isel(time=slice(first)), before)
    np.testing.assert_allclose(xr.open_zarr(cube).displacement_y[-1], last.displacement_y[0], atol=1e-3)


def test_a_cube_of_another_model_has_no_patterns_to_follow(stack: xr.DataArray, tmp_path: Path) -> None:
    to_zarr(align(stack[:2], anchor=0, threshold=1.0), tmp_path / "cube.zarr")
    with pytest.raises(InvalidRequest, match="takes the patterns that the dates of the cube follow"):
        append(stack[2:3], tmp_path / "cube.zarr", model="terrain")


def test_heights_are_refused_before_work_where_angles_are_not_known(
    stack: xr.DataArray, tmp_path: Path
) -> None:
    for k in range(2):
        stack.isel(time=k).drop_vars("id").rio.to_raster(tmp_path / f"date{k}.tif")
    where = {"anchor": "date0", "output": tmp_path / "out", "dem": tmp_path / "date0.tif"}
    with pytest.raises(InvalidRequest, match="known of 0 of 2 items, and not of the anchor"):
        run_scenes(sorted(tmp_path.glob("*.tif")), model="terrain", **where)
    with pytest.raises(InvalidRequest, match="the relief that model='terrain' finds"):
        run_scenes(sorted(tmp_path.glob("*.tif")), **where)
    assert not (tmp_path / "out").exists()
