"""Estimate, apply and align: lazy, repeatable, and the same wherever they run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import rasterio
import xarray as xr

import coregstack
from coregstack import align, apply, estimate, open_scenes, to_geotiffs
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack
from coregstack.kernels.resample import translate
from coregstack.model import Shift
from coregstack.pixels import raster
from coregstack.testing import sample_stack

SHAPE = 176, 192
NUMBERS = (
    "shift_y",
    "shift_x",
    "shift_sigma_y",
    "shift_sigma_x",
    "matching_score_before",
    "matching_score_after",
    "matching_score_improvement",
)


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """An anchor and two shifted items in memory, in chunks of dask."""
    return sample_stack(3, SHAPE, seed=4, max_shift=2.5, cloud_cover=0.05, chunks={"time": 1})


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0).compute()


@pytest.fixture(scope="module")
def files(stack: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The stack as files; the second in another phase of the lattice, the third cropped."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for k, scene in enumerate(stack.compute().drop_vars("clear")):
        path = folder / f"{scene.id.item()}.tif"
        if k == 1:
            scene = scene.assign_coords(x=scene.x + 1.05, y=scene.y + 0.6).rio.write_transform()
        if k == 2:
            scene = scene[:, 8:, :-11].rio.write_transform()
        scene.rio.to_raster(path, compress="deflate", tiled=True, blockxsize=64, blockysize=64)
        paths.append(path)
    return paths


def same(one: xr.Dataset | xr.DataArray, other: xr.Dataset | xr.DataArray) -> None:
    """Bit for bit, NaN included."""
    xr.testing.assert_identical(one.compute(), other.compute())


# --- what estimate tells


def test_quality_holds_the_documented_variables(stack: xr.DataArray, quality: xr.Dataset) -> None:
    lazy = estimate(stack, anchor=0)
    assert set(lazy.data_vars) == {*NUMBERS, "status", "details", "model", "spread", "residual"}
    assert all(lazy[name].dims == ("time",) and lazy[name].chunks is not None for name in lazy.data_vars)
    assert all(lazy[name].dtype == np.float64 for name in NUMBERS)
    assert lazy.shift_x.attrs["units"] == "px"
    assert quality.attrs["anchor"] == stack.id.values[0]
    assert quality.attrs["band"] == "red"
    assert (quality.attrs["threshold"], quality.attrs["min_improvement"]) == (0.8, 0.001)
    assert quality.status.values.tolist() == ["anchor", "coregistered", "coregistered"]
    assert all(np.isnan(quality[name].values[0]) for name in NUMBERS)


def test_the_shift_is_what_must_be_applied(stack: xr.DataArray, quality: xr.Dataset) -> None:
    np.testing.assert_allclose(quality.shift_y[1:], stack.true_shift_y[1:], atol=0.05)
    np.testing.assert_allclose(quality.shift_x[1:], stack.true_shift_x[1:], atol=0.05)
    assert (quality.shift_sigma_y[1:] > 0).all()
    gain = quality.matching_score_after - quality.matching_score_before
    np.testing.assert_array_equal(quality.matching_score_improvement, gain)


def test_an_aligned_item_is_estimated_and_left(stack: xr.DataArray) -> None:
    twin = stack.isel(time=[0, 0]).assign_coords(id=("time", ["a", "b"]))
    found = estimate(twin, anchor="a").compute()
    assert found.status.values.tolist() == ["anchor", "already_aligned"]
    assert abs(found.shift_x.values[1]) < 1e-3
    assert found.matching_score_before.values[1] > 0.99
    assert np.isnan(found.matching_score_after.values[1])
    np.testing.assert_array_equal(apply(twin, found).values, twin.values)


@pytest.mark.parametrize("name", ["id", "time", "day", "position", "negative", "stamp"])
def test_the_anchor_is_named_in_any_way(stack: xr.DataArray, quality: xr.Dataset, name: str) -> None:
    when = stack.time.values[0]
    anchor = {
        "id": stack.id.values[0],
        "time": str(when),
        "day": str(when)[:10],
        "position": 0,
        "negative": -3,
        "stamp": when,
    }[name]
    same(estimate(stack, anchor=anchor), quality)


def test_an_outside_anchor_of_another_extent_gives_the_same_shifts(
    stack: xr.DataArray, quality: xr.Dataset
) -> None:
    outside = stack[0, :, 10:, 6:].drop_vars(["clear", "time", "id"])
    found = estimate(stack[1:], anchor=outside).compute()
    assert found.attrs["anchor"] == "outside"
    assert found.status.values.tolist() == ["coregistered", "coregistered"]
    np.testing.assert_allclose(found.shift_y, stack.true_shift_y[1:], atol=0.05)
    np.testing.assert_allclose(found.shift_x, stack.true_shift_x[1:], atol=0.05)
    moved = apply(stack[1:], found)
    assert moved.attrs["coregstack_anchor"] == "outside"


def test_an_outside_anchor_may_have_another_phase(stack: xr.DataArray) -> None:
    other = stack[0].drop_vars("clear").assign_coords(x=stack.x + 1.5, y=stack.y - 0.75)
    found = estimate(stack[1:], anchor=other).compute()
    # the anchor's content is said to lie half a pixel right and a quarter down of where it is
    np.testing.assert_allclose(found.shift_x, stack.true_shift_x[1:] + 0.5, atol=0.05)
    np.testing.assert_allclose(found.shift_y, stack.true_shift_y[1:] + 0.25, atol=0.05)


def test_an_outside_anchor_has_to_fit(stack: xr.DataArray) -> None:
    scene = stack[0].drop_vars(["clear", "time"])
    far = scene.assign_coords(x=scene.x + 1e5)
    for anchor, words in (
        (stack[:2], "one scene"),
        (scene.rio.write_crs("EPSG:32632"), r"do not overlap.*in EPSG:32632.*in EPSG:32633"),
        (scene.drop_vars("spatial_ref"), "The anchor has no CRS"),
        (far, "The anchor and the stack do not overlap"),
    ):
        with pytest.raises(InvalidStack, match=words):
            estimate(stack, anchor=anchor)


# --- options


def test_the_mask_says_what_is_matched(stack: xr.DataArray) -> None:
    spoiled = stack.compute()
    rng = np.random.default_rng(3)
    # what lies in the masked part matches perfectly, but elsewhere
    rows, cols = slice(0, 176), slice(0, 90)
    noise = rng.integers(1, 5000, (4, 176, 90)).astype("uint16")
    spoiled.values[0, :, rows, cols] = noise
    spoiled.values[1, :, rows, cols] = np.roll(noise, (3, -4), (1, 2))
    clear = xr.ones_like(spoiled.clear)
    clear[:, rows, cols] = False
    bare = spoiled.drop_vars("clear")
    masked = estimate(bare, anchor=0, mask=clear).compute()
    assert abs(masked.shift_x.values[1] - stack.true_shift_x.values[1]) < 0.1
    assert abs(masked.shift_y.values[1] - stack.true_shift_y.values[1]) < 0.1
    names = {"y": "latitude", "x": "lon"}
    same(estimate(bare.rename(names), anchor=0, mask=clear.rename(names)), masked)
    # the coordinate is the default, any order of dims and chunks will do, and False ignores it
    same(estimate(bare.assign_coords(clear=clear), anchor=0), masked)
    same(estimate(bare, anchor=0, mask=clear.transpose("x", "time", "y").chunk(50)), masked)
    without = estimate(bare.assign_coords(clear=clear), anchor=0, mask=False).compute()
    same(without, estimate(bare, anchor=0))
    assert not without.equals(masked)


def test_a_mask_whose_labels_are_of_another_place_or_time_is_refused(stack: xr.DataArray) -> None:
    clear = stack.clear
    cases = {
        r"coordinate 'time' is not the stack's: mask.sel\(time=stack.time\)": clear[::-1],
        "coordinate 'y' is not the stack's: .*sortby": clear[:, ::-1],
        "coordinate 'x' is not the stack's": clear.assign_coords(x=clear.x + 3.0),
    }
    for words, mask in cases.items():
        with pytest.raises(InvalidRequest, match=words):
            estimate(stack, anchor=0, mask=mask)
    # labels that differ by rounding alone are the same, and without labels positions count
    near = clear.assign_coords(x=clear.x + 1e-6, time=clear.time.astype("datetime64[us]"))
    for mask in (near, clear.drop_vars(["time", "y", "x"]), clear[::-1].drop_vars("time")):
        estimate(stack, anchor=0, mask=mask)
    unknown = np.full(stack.sizes["time"], np.datetime64("NaT", "ns"))
    estimate(stack.assign_coords(time=unknown), anchor=0, mask=clear.assign_coords(time=unknown))


def test_a_mask_computed_from_a_band_stays_bool_in_a_cube(stack: xr.DataArray, tmp_path: Path) -> None:
    with xr.set_options(keep_attrs=True):
        clear = stack.isel(band=0, drop=True) > 200
    assert "_FillValue" in clear.attrs
    aligned = align(stack.assign_coords(clear=clear), anchor=0)
    coregstack.to_zarr(aligned, tmp_path / "cube.zarr")
    cube = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all")
    assert cube.clear.dtype == bool
    np.testing.assert_array_equal(cube.clear.values, aligned.clear.values)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"band": "swir"}, "There is no band 'swir' .*blue, green, red, nir"),
        ({"band": 4}, r"There is no band 4 .* \(positions 0 to 3\)"),
        ({"max_shift": 0}, "max_shift has to be a positive number of pixels, not 0"),
        ({"max_shift": float("nan")}, "max_shift has to be a positive number"),
        ({"threshold": 1.5}, "threshold has to lie between 0 and 1"),
        ({"min_improvement": -1}, "min_improvement has to lie between 0 and 1"),
        ({"method": "magic"}, "method is one of .*direct.* not 'magic'"),
        ({"mask": "clear"}, "mask has to be a bool DataArray .*given: 'clear'"),
        ({"mask": np.ones((3, 2, 2), bool)}, "mask has to be a bool DataArray .*given: ndarray"),
        ({"mask": xr.DataArray(np.ones((3, 2, 2), bool), dims=("time", "y", "x"))}, "The mask's sizes"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(
    stack: xr.DataArray, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        estimate(stack, anchor=0, **options)


def test_the_resampling_is_checked_before_anything_else(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(
        InvalidRequest, match="resampling is one of cubic, bilinear, lanczos, nearest, none, not 'x'"
    ):
        apply(stack, quality, resampling="x")
    with pytest.raises(InvalidRequest, match="resampling is one of"):
        align(stack, anchor="nobody", resampling="x")
    with pytest.raises(AnchorNotFound):
        align(stack, anchor="nobody")


def test_an_edited_quality_that_moves_an_item_nowhere_is_refused(
    stack: xr.DataArray, quality: xr.Dataset
) -> None:
    edited = quality.assign(shift_x=quality.shift_x.where(quality.id != quality.id[2]))
    with pytest.raises(
        InvalidRequest,
        match=f"status of \\['{quality.id.item(2)}'\\] is coregistered, but the quality holds no shift",
    ):
        apply(stack, edited)
    mistyped = quality.assign(status=quality.status.astype(object).str.replace("coregistered", "coregistred"))
    with pytest.raises(InvalidRequest, match="failed, not coregistred"):
        apply(stack, mistyped)
    left = edited.assign(status=edited.status.where(edited.shift_x.notnull(), "failed"))
    np.testing.assert_array_equal(apply(stack, left).values[2], stack.values[2])


def test_thresholds_decide(stack: xr.DataArray) -> None:
    low = estimate(stack, anchor=0, threshold=0.0).compute()
    assert set(low.status.values[1:]) == {"already_aligned"}
    high = estimate(stack, anchor=0, min_improvement=1.0).compute()
    assert set(high.status.values[1:]) == {"no_improvement"}
    np.testing.assert_array_equal(apply(stack, high).values, stack.values)


def test_the_band_is_scored_that_was_asked_for(stack: xr.DataArray) -> None:
    by_name = estimate(stack, anchor=0, band="nir").compute()
    same(by_name, estimate(stack, anchor=0, band=-1))
    mean = estimate(stack, anchor=0, band="mean").compute()
    assert (by_name.attrs["band"], mean.attrs["band"]) == ("nir", "mean")
    assert by_name.matching_score_before.values[1] != mean.matching_score_before.values[1]


# --- what apply does


def test_align_is_apply_of_estimate(stack: xr.DataArray, quality: xr.Dataset) -> None:
    aligned = align(stack, anchor=0)
    same(aligned, apply(stack, estimate(stack, anchor=0)))
    same(aligned, apply(stack, quality))
    same(aligned, stack.coreg.align(anchor=0))
    same(aligned, stack.coreg.apply(stack.coreg.estimate(anchor=0)))
    assert aligned.dims == stack.dims
    assert aligned.dtype == stack.dtype
    assert aligned.chunks == stack.chunks
    assert all(name in aligned.coords for name in (*NUMBERS, "status", "details", "id", "true_shift_x"))
    assert aligned.rio.crs == stack.rio.crs
    assert aligned.rio.nodata == 0


@pytest.mark.parametrize("resampling", ["cubic", "bilinear", "lanczos", "nearest"])
def test_pixels_move_by_the_shift(stack: xr.DataArray, quality: xr.Dataset, resampling: str) -> None:
    aligned = apply(stack, quality, resampling=resampling).compute()
    np.testing.assert_array_equal(aligned[0], stack[0])
    shift = Shift(float(quality.shift_y[1]), float(quality.shift_x[1]))
    whole = translate(
        stack.values[1], start=Shift(-shift.y, -shift.x), shape=SHAPE, kernel=resampling, nodata=0, fill=0
    )
    np.testing.assert_array_equal(aligned[1], whole)
    rows, cols = round(shift.y), round(shift.x)
    clear = np.roll(stack.clear.values[1], (rows, cols), (0, 1))
    inner = slice(5, -5)
    np.testing.assert_array_equal(aligned.clear.values[1, inner, inner], clear[inner, inner])
    if resampling == "nearest":
        np.testing.assert_array_equal(
            aligned.values[1, :, inner, inner],
            np.roll(stack.values[1], (rows, cols), (1, 2))[:, inner, inner],
        )


def test_aligned_items_are_nearer_to_the_anchor(stack: xr.DataArray, quality: xr.Dataset) -> None:
    again = estimate(apply(stack, quality), anchor=0).compute()
    assert (np.abs(again.shift_y[1:]) < 0.05).all()
    assert (np.abs(again.shift_x[1:]) < 0.05).all()
    assert (again.matching_score_before[1:] > quality.matching_score_before[1:]).all()


def test_what_is_aligned_stays_aligned(files: list[Path]) -> None:
    aligned = align(open_scenes(files, anchor=0), anchor=0)
    again = estimate(aligned, anchor=0).compute()
    assert (np.abs(again.shift_x[1:]) < 0.05).all()
    assert set(again.status.values[1:]) <= {"already_aligned", "no_improvement"}
    np.testing.assert_array_equal(apply(aligned, again).values, aligned.values)


def test_resampling_none_leaves_the_pixels(stack: xr.DataArray, quality: xr.Dataset) -> None:
    left = apply(stack, quality, resampling="none")
    np.testing.assert_array_equal(left.values, stack.values)
    assert left.attrs["coregstack_resampling"] == "none"
    assert left.status.values.tolist() == quality.status.values.tolist()


# --- a quality that was computed before


def _netcdf(quality: xr.Dataset, folder: Path) -> xr.Dataset:
    quality.to_netcdf(folder / "quality.nc")
    with xr.open_dataset(folder / "quality.nc") as opened:
        return opened.load()


def _zarr(quality: xr.Dataset, folder: Path) -> xr.Dataset:
    quality.to_zarr(folder / "quality.zarr", consolidated=False)
    return xr.open_zarr(folder / "quality.zarr", consolidated=False)


def _json(quality: xr.Dataset, folder: Path) -> xr.Dataset:
    plain = quality.drop_vars("time").to_dict()
    (folder / "quality.json").write_text(json.dumps(plain))
    return xr.Dataset.from_dict(json.loads((folder / "quality.json").read_text()))


def _csv(quality: xr.Dataset, folder: Path) -> xr.Dataset:
    import pandas as pd

    quality.to_dataframe().to_csv(folder / "quality.csv")
    table = pd.read_csv(folder / "quality.csv")
    return xr.Dataset(
        {name: ("time", table[name].to_numpy()) for name in table.drop(columns="time")}
    ).set_coords("id")


@pytest.mark.parametrize("travel", [_netcdf, _zarr, _json, _csv])
def test_a_saved_quality_is_reused_and_not_estimated_anew(
    stack: xr.DataArray,
    quality: xr.Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    travel: Callable[[xr.Dataset, Path], xr.Dataset],
) -> None:
    aligned = apply(stack, quality).compute()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was estimated anew")

    monkeypatch.setattr("coregstack.graph.matched.assess", refuse)
    monkeypatch.setattr("coregstack.graph.matched.prepare", refuse)
    loaded = travel(quality, tmp_path)
    again = apply(stack, loaded).compute(scheduler="synchronous")
    np.testing.assert_array_equal(again.values, aligned.values)
    assert again.status.values.tolist() == aligned.status.values.tolist()
    written = to_geotiffs(again, tmp_path / "out")
    assert [r.quality.status for r in written.reports] == ["anchor", "coregistered", "coregistered"]


def test_an_edited_quality_is_obeyed(stack: xr.DataArray, quality: xr.Dataset) -> None:
    edited = quality.copy(deep=True)
    edited["shift_x"].values[1] = 4.0
    edited["shift_y"].values[1] = -2.0
    edited["status"].values[2] = "failed"
    moved = apply(stack, edited).compute()
    np.testing.assert_array_equal(moved.values[1, :, :-2, 4:], stack.values[1, :, 2:, :-4])
    np.testing.assert_array_equal(moved.values[2], stack.values[2])


def test_a_quality_fits_other_stacks_of_the_same_items(stack: xr.DataArray, quality: xr.Dataset) -> None:
    aligned = apply(stack, quality).compute()
    # another order and other bands: items find their shift by id
    other = stack.isel(time=[2, 0, 1], band=[3])
    moved = apply(other, quality).compute()
    np.testing.assert_array_equal(moved.values, aligned.values[[2, 0, 1]][:, [3]])
    assert moved.status.values.tolist() == ["coregistered", "anchor", "coregistered"]
    one = apply(stack[2:], quality).compute()
    np.testing.assert_array_equal(one.values[0], aligned.values[2])


def test_a_quality_of_other_items_is_refused(stack: xr.DataArray, quality: xr.Dataset) -> None:
    with pytest.raises(InvalidStack, match=r"lacks the items \['.*_2416'\]|lacks the items"):
        apply(stack, quality[{"time": [0, 1]}])
    with pytest.raises(InvalidStack, match="not told of the times of the stack"):
        apply(stack.drop_vars("id"), quality[{"time": [0, 1]}].drop_vars("id"))
    with pytest.raises(InvalidStack, match=r"The quality lacks \['status'\]; pass what estimate returned"):
        apply(stack, quality.drop_vars("status"))


# --- the same everywhere


@pytest.mark.parametrize("chunks", [{"time": 3}, {"time": 1, "band": 1, "y": 37, "x": 71}, {"y": 100}])
def test_chunks_do_not_change_a_bit(stack: xr.DataArray, quality: xr.Dataset, chunks: dict[str, int]) -> None:
    cut = stack.chunk(chunks)
    same(estimate(cut, anchor=0), quality)
    same(align(cut, anchor=0), align(stack, anchor=0))


@pytest.mark.parametrize("chunks", [50, (176, 64)])
def test_chunks_of_files_do_not_change_a_bit(files: list[Path], chunks: Any) -> None:
    whole = align(open_scenes(files, anchor=0), anchor=0).compute()
    assert whole.status.values.tolist() == ["anchor", "coregistered", "coregistered"]
    cut = align(open_scenes(files, anchor=0, chunks=chunks), anchor=0)
    same(cut, whole)
    same(align(open_scenes(files, anchor=0).chunk({"y": 31}), anchor=0), whole)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=":0") as made:
        yield made


@pytest.mark.parametrize("source", ["files", "array"])
def test_schedulers_do_not_change_a_bit(
    source: str, stack: xr.DataArray, files: list[Path], cluster: Any
) -> None:
    from distributed import Client

    given = stack if source == "array" else open_scenes(files, anchor=0)
    aligned = align(given, anchor=0)
    # starting processes takes seconds, so the pool is tried once; the cluster's worker is a process too
    schedulers = ("synchronous", "threads") + (("processes",) if source == "files" else ())
    results = {name: aligned.compute(scheduler=name) for name in schedulers}
    results["again"] = align(given, anchor=0).compute(scheduler="threads")
    with Client(cluster):
        results["distributed"] = aligned.compute()
    for result in results.values():
        xr.testing.assert_identical(result, results["synchronous"])


def test_the_same_stack_makes_the_same_graph(files: list[Path]) -> None:
    first, second = (align(open_scenes(files, anchor=0), anchor=0) for _ in range(2))
    assert dask.base.tokenize(first.data) == dask.base.tokenize(second.data)
    assert first.data.name == second.data.name


# --- provenance


def test_a_stack_from_files_is_interpolated_once(files: list[Path], stack: xr.DataArray) -> None:
    opened = open_scenes(files, anchor=0)
    quality = estimate(opened, anchor=0).compute()
    # files are matched in their own phase: their shift holds the phase error that was written
    np.testing.assert_allclose(quality.shift_x[1], stack.true_shift_x[1] - 0.35, atol=0.05)
    np.testing.assert_allclose(quality.shift_y[1], stack.true_shift_y[1] + 0.2, atol=0.05)
    aligned = apply(opened, quality).compute()
    with rasterio.open(files[1]) as file:
        values = file.read()
    col = (opened.x.values[0] - 1.5 - file.transform.c) / 3 - float(quality.shift_x[1])
    row = (file.transform.f - opened.y.values[0] - 1.5) / 3 - float(quality.shift_y[1])
    once = translate(values, start=Shift(row, col), shape=aligned.shape[2:], kernel="cubic", nodata=0, fill=0)
    np.testing.assert_array_equal(aligned.values[1], once)


def test_a_stack_that_was_computed_upon_is_not_read_from_its_files(files: list[Path]) -> None:
    opened = open_scenes(files, anchor=0)
    quality = estimate(opened, anchor=0).compute()
    doubled = (opened * 2).assign_attrs(opened.attrs)
    plain = apply(opened.compute(), quality).compute()
    moved = apply(doubled, quality).compute()
    assert np.abs(moved.values.astype(int) - 2 * plain.values.astype(int)).max() <= 2
    assert moved.values.max() > 1.5 * plain.values.max()


def test_selections_are_still_read_from_their_files(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_scenes(files, anchor=0, chunks=64)
    quality = estimate(opened, anchor=0).compute()
    whole = apply(opened, quality).compute()
    piece = {"time": [2, 1], "band": [3, 0], "y": slice(20, 90), "x": slice(33, 140)}
    part = apply(opened.isel(piece), quality).compute()
    np.testing.assert_array_equal(part.values, whole.isel(piece).values)
    rebuilt = xr.concat([opened[:1], opened[1:]], "time").chunk({"x": 40})
    np.testing.assert_array_equal(apply(rebuilt, quality).values, whole.values)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("it was read from its file")

    loaded = opened.compute()
    monkeypatch.setattr(raster, "read_window", refuse)
    with pytest.raises(AssertionError, match="it was read from its file"):
        apply(opened.isel(piece), quality).compute(scheduler="synchronous")
    # what is in memory is not read again
    apply(loaded, quality).compute(scheduler="synchronous")


def test_bands_that_were_renamed_stay_with_their_pixels(files: list[Path]) -> None:
    opened = open_scenes(files, anchor=0)
    quality = estimate(opened, anchor=0).compute()
    whole = apply(opened, quality).compute()
    renamed = opened.assign_coords(band=opened.band.values[::-1].copy())
    np.testing.assert_array_equal(apply(renamed, quality).values, whole.values)
    picked = opened.isel(band=[2, 1]).assign_coords(band=["a", "b"])
    np.testing.assert_array_equal(apply(picked, quality).values, whole.values[:, [2, 1]])
    # one band, without its dimension, is read from the files as well
    np.testing.assert_array_equal(apply(opened.sel(band="4"), quality).values, whole.values[:, 3])


def test_the_package_offers_what_is_documented() -> None:
    for name in (
        "open_scenes",
        "open_order",
        "estimate",
        "apply",
        "align",
        "to_geotiffs",
        "to_zarr",
        "run_order",
    ):
        assert callable(getattr(coregstack, name))
        assert getattr(coregstack, name).__doc__
