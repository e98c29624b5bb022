"""Scenes in, files out: moved in one step, or byte for byte as they came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from rasterio.transform import Affine

from coregstack import align, apply, estimate, open_scenes, run_scenes, tie_points, to_geotiffs
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack, OutputConflict, UnreadableFile
from coregstack.export.files import STATE
from coregstack.model import Status
from coregstack.run.result import RunResult
from coregstack.stack.conform import conform
from coregstack.stack.provenance import pristine_scenes
from coregstack.testing import sample_stack

SHAPE = 176, 192


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    """An anchor and two shifted items."""
    return sample_stack(3, SHAPE, seed=4, max_shift=2.5, cloud_cover=0)


@pytest.fixture(scope="module")
def scenes(stack: xr.DataArray, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The stack as files, and the anchor once more, cropped and with tags: it is aligned already."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = []
    for name, k in (("anchor", 0), ("first", 1), ("second", 2), ("twin", 0)):
        scene = stack[k].drop_vars("clear")
        if name == "twin":
            scene = scene[:, 3:-5, 4:-1].rio.write_transform()
        paths.append(folder / f"{name}.tif")
        scene.rio.to_raster(paths[-1], tags={"own": name}, compress="deflate")
    return paths


@pytest.fixture(scope="module")
def run(scenes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return run_scenes(scenes, anchor="anchor", output=tmp_path_factory.mktemp("run") / "out")


def names(folder: Path | str) -> set[str]:
    return {path.name for path in Path(folder).iterdir() if not path.name.startswith(".")}


def by_id(result: RunResult) -> dict[str, Any]:
    return {report.id: report for report in result.reports}


def test_names_and_sidecars_of_scenes_that_are_no_order(run: RunResult) -> None:
    assert names(run.output) == {
        "anchor_anchor.tif",
        "first_coreg.tif",
        "second_coreg.tif",
        "twin_coreg.tif",
        "first_coreg_qa_metadata.json",
        "second_coreg_qa_metadata.json",
        "twin_coreg_qa_metadata.json",
        "coregistration.csv",
    }
    assert [str(report.quality.status) for report in run.reports] == [
        "anchor",
        "coregistered",
        "coregistered",
        "already_aligned",
    ]
    assert run.problems == ()
    sidecar = json.loads((Path(run.output) / "first_coreg_qa_metadata.json").read_text())
    assert (sidecar["anchor_item"], sidecar["target_item"]) == ("anchor", "first")
    assert sidecar["output_item"] == ["first_coreg.tif"]
    shift = by_id(run)["first"].quality.shift
    assert sidecar["pixel_shift"] == [shift.x, shift.y]


def test_untouched_scenes_are_copied_byte_for_byte(run: RunResult, scenes: list[Path]) -> None:
    assert (Path(run.output) / "anchor_anchor.tif").read_bytes() == scenes[0].read_bytes()
    assert (Path(run.output) / "twin_coreg.tif").read_bytes() == scenes[3].read_bytes()


def test_a_run_and_a_stack_say_the_same(run: RunResult, scenes: list[Path]) -> None:
    opened = open_scenes(scenes, anchor="anchor")
    quality = estimate(opened, anchor="anchor").compute()
    for k, report in enumerate(run.reports):
        assert quality.status.values[k] == report.quality.status
        assert quality.details.values[k] == report.quality.details
        if report.quality.shift is not None:
            assert (quality.shift_y.values[k], quality.shift_x.values[k]) == report.quality.shift
    again = run.to_quality()
    assert again.attrs["anchor"] == "anchor"
    np.testing.assert_array_equal(again.shift_x, quality.shift_x)
    np.testing.assert_array_equal(apply(opened, again).values, apply(opened, quality).values)


def test_a_stack_from_files_is_written_from_these_files(
    run: RunResult, scenes: list[Path], tmp_path: Path
) -> None:
    opened = open_scenes(scenes, anchor="anchor", chunks=64)
    written = to_geotiffs(align(opened, anchor="anchor"), tmp_path / "out")
    assert written.problems == ()
    assert names(tmp_path / "out") == names(run.output)
    for name in names(run.output) - {"coregistration.csv"}:
        assert (tmp_path / "out" / name).read_bytes() == (Path(run.output) / name).read_bytes(), name
    # a piece of the stack is delivered as whole scenes too
    quality = estimate(opened, anchor="anchor").compute()
    piece = apply(opened.isel(time=[0, 1], x=slice(20, 90)), quality)
    to_geotiffs(piece, tmp_path / "piece")
    name = "first_coreg.tif"
    assert (tmp_path / "piece" / name).read_bytes() == (Path(run.output) / name).read_bytes()


@pytest.mark.parametrize("bands", [[2, 3], [3, 0], 3])
def test_bands_that_are_selected_before_files_are_moved_are_still_those_of_the_files(
    run: RunResult, scenes: list[Path], tmp_path: Path, bands: list[int] | int
) -> None:
    opened = open_scenes(scenes, anchor="anchor").isel(band=bands)
    aligned = apply(opened, run.to_quality())
    to_geotiffs(aligned, tmp_path)
    for name in ("anchor_anchor.tif", "first_coreg.tif"):
        assert (tmp_path / name).read_bytes() == (Path(run.output) / name).read_bytes()
    # and they can be selected from once more
    again = aligned.isel(time=slice(2)) if isinstance(bands, int) else aligned.isel(band=[1])
    found = pristine_scenes(conform(again), moved=True)
    assert found is not None
    assert {scene.indexes for scene in found} == {(0,) if bands == [3, 0] else (3,)}


def shown(folder: Path | str) -> dict[str, str]:
    """What is kept of each item for a report."""
    return {path.name: path.read_text("utf-8") for path in Path(folder, STATE).glob("*.evidence")}


def test_a_stack_from_files_keeps_what_a_run_keeps_for_its_report(
    run: RunResult, scenes: list[Path], tmp_path: Path
) -> None:
    opened = open_scenes(scenes, anchor="anchor")
    aligned = align(opened, anchor="anchor")
    to_geotiffs(aligned, tmp_path / "whole")
    assert shown(tmp_path / "whole") == shown(run.output) != {}
    to_geotiffs(aligned.isel(time=[3, 0, 1]), tmp_path / "some")
    assert shown(tmp_path / "some").items() <= shown(run.output).items()
    assert len(shown(tmp_path / "some")) == 3
    pd.testing.assert_frame_equal(tie_points(tmp_path / "whole"), tie_points(run))
    # what was computed or changed is not what was matched
    edited = apply(
        opened, estimate(opened, anchor="anchor").assign(shift_x=lambda quality: quality.shift_x + 1)
    )
    to_geotiffs(edited, tmp_path / "whole")
    kept = shown(tmp_path / "whole").values()
    assert [key for text in kept for key in json.loads(text) if key not in ("box", "area")] == []


def test_a_stack_without_files_keeps_what_was_matched(stack: xr.DataArray, tmp_path: Path) -> None:
    written = to_geotiffs(align(stack, anchor=0), tmp_path)
    assert len(shown(tmp_path)) == 3
    assert all(report.quality.evidence is None for report in written.reports)
    ties = tie_points(tmp_path)
    for report in written.reports[1:]:
        own = ties[(ties["item"] == report.id) & ties.inlier]
        np.testing.assert_allclose(own[["shift_y", "shift_x"]].median(), report.quality.shift, atol=0.1)


def test_a_second_writing_does_nothing(scenes: list[Path], tmp_path: Path) -> None:
    opened = open_scenes(scenes, anchor="anchor")
    quality = estimate(opened, anchor="anchor").compute()
    first = to_geotiffs(apply(opened, quality), tmp_path / "out")
    again = to_geotiffs(apply(opened, quality), tmp_path / "out")
    assert not any(report.resumed for report in first.reports)
    assert all(report.resumed for report in again.reports)
    assert [r.quality for r in again.reports] == [r.quality for r in first.reports]
    anew = to_geotiffs(apply(opened, quality), tmp_path / "out", overwrite=True)
    assert not any(report.resumed for report in anew.reports)
    edited = quality.copy(deep=True)
    edited["shift_x"].values[1] += 1
    other = to_geotiffs(apply(opened, edited), tmp_path / "out")
    assert not by_id(other)["first"].resumed


def test_a_stack_without_files_is_written_as_it_is(stack: xr.DataArray, tmp_path: Path) -> None:
    aligned = align(stack, anchor=0)
    written = to_geotiffs(aligned, tmp_path / "out")
    assert written.problems == ()
    ids = stack.id.values
    assert names(tmp_path / "out") == {
        f"{ids[0]}_anchor.tif",
        *(f"{i}_coreg.tif" for i in ids[1:]),
        *(f"{i}_coreg_qa_metadata.json" for i in ids[1:]),
        "coregistration.csv",
    }
    values = aligned.compute()
    for k, suffix in enumerate(("_anchor", "_coreg", "_coreg")):
        with rasterio.open(tmp_path / "out" / f"{ids[k]}{suffix}.tif") as file:
            np.testing.assert_array_equal(file.read(), values.values[k])
            assert file.crs == "EPSG:32633"
            assert file.transform == stack.rio.transform()
            assert file.nodata == 0
            assert file.descriptions == ("blue", "green", "red", "nir")


def test_scale_and_offset_reach_the_cube_and_new_files(stack: xr.DataArray, tmp_path: Path) -> None:
    paths = []
    for name, scene in zip(("anchor", "first"), stack.drop_vars("clear"), strict=False):
        paths.append(tmp_path / f"{name}.tif")
        scene.rio.to_raster(paths[-1])
        with rasterio.open(paths[-1], "r+") as file:
            file.scales, file.offsets = (1e-4,) * file.count, (-0.1,) * file.count
    run_scenes(paths, anchor="anchor", output=tmp_path / "out", zarr=tmp_path / "cube.zarr")
    raw = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all", mask_and_scale=False).pixels
    read = xr.open_zarr(tmp_path / "cube.zarr", decode_coords="all").pixels
    seen = raw.values != raw.rio.nodata
    assert seen.any()
    np.testing.assert_allclose(read.values[seen], raw.values[seen] * 1e-4 - 0.1, rtol=1e-5)
    # a stack that is no longer its files, but whose numbers mean the same
    loaded = align(open_scenes(paths, anchor="anchor").compute(), anchor="anchor")
    to_geotiffs(loaded, tmp_path / "loaded")
    for name in ("anchor_anchor.tif", "first_coreg.tif"):
        with rasterio.open(tmp_path / "loaded" / name) as file:
            assert (set(file.scales), set(file.offsets)) == ({1e-4}, {-0.1})


def test_what_was_computed_upon_is_written_as_computed(scenes: list[Path], tmp_path: Path) -> None:
    opened = open_scenes(scenes, anchor="anchor")
    aligned = align(opened, anchor="anchor")
    index = (aligned.sel(band="4") - aligned.sel(band="3")).astype("int32")
    index = index.assign_attrs(aligned.attrs).rio.write_nodata(-1)
    to_geotiffs(index, tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "first_coreg.tif") as file:
        assert file.count == 1
        np.testing.assert_array_equal(file.read(1), index.values[1])


def test_resampling_none_moves_only_the_geotransforms(scenes: list[Path], tmp_path: Path) -> None:
    opened = open_scenes(scenes, anchor="anchor")
    written = to_geotiffs(align(opened, anchor="anchor", resampling="none"), tmp_path / "out")
    shift = by_id(written)["first"].quality.shift
    with rasterio.open(scenes[1]) as before, rasterio.open(tmp_path / "out" / "first_coreg.tif") as after:
        np.testing.assert_array_equal(after.read(), before.read())
        assert after.transform.c - before.transform.c == pytest.approx(3 * shift.x, abs=1e-6)
        assert after.transform.f - before.transform.f == pytest.approx(-3 * shift.y, abs=1e-6)


def test_scenes_of_other_bands_crs_and_masks_do_not_stop_the_others(
    stack: xr.DataArray, scenes: list[Path], tmp_path: Path
) -> None:
    odd = tmp_path / "in"
    odd.mkdir()
    (odd / "text.tif").write_text("no raster")
    (odd / "cut.tif").write_bytes(scenes[1].read_bytes()[:-20_000])
    far = stack[1].drop_vars("clear").assign_coords(x=stack.x + 1e5).rio.write_transform()
    far.rio.to_raster(odd / "far.tif")
    blank = (stack[1].drop_vars("clear") * 0).assign_attrs(stack.attrs)
    blank.rio.to_raster(odd / "blank.tif")
    stack[1, :1].drop_vars("clear").rio.to_raster(odd / "one_band.tif")
    odd_ones = sorted(odd.iterdir())
    result = run_scenes([*scenes, *odd_ones], anchor="anchor", output=tmp_path / "out")
    reports = by_id(result)
    for path in odd_ones:
        if path.stem == "one_band":
            continue
        assert reports[path.stem].quality.status is Status.FAILED, path.stem
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()
    assert reports["first"].quality.status is Status.COREGISTERED
    assert "does not overlap the anchor" in reports["far"].quality.details
    named = " ".join(result.problems)
    assert "text" in named
    assert "cut" in named
    assert "far" not in named
    assert "blank" not in named


def test_a_file_that_is_not_there_is_named_once(scenes: list[Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing.tif"
    result = run_scenes([*scenes[:2], missing], anchor="anchor", output=tmp_path / "out")
    report = by_id(result)["missing"]
    assert report.quality.status is Status.FAILED
    assert report.problems == (report.quality.details,)
    assert str(missing) in report.quality.details
    assert by_id(result)["first"].quality.status is Status.COREGISTERED


def test_requests_that_cannot_be_honoured_write_nothing(scenes: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    bad = tmp_path / "bad.tif"
    bad.write_text("no raster")
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (AnchorNotFound, "No item has the id or time 'nobody'", {"anchor": "nobody"}),
        (InvalidRequest, "resampling is one of", {"resampling": "best"}),
        (InvalidRequest, "There is no band 'swir'", {"band": "swir"}),
        (InvalidRequest, "max_shift has to be", {"max_shift": -1}),
        (InvalidRequest, "ids were expected", {"ids": ["a"]}),
        (UnreadableFile, "1 scene cannot be opened", {"paths": [bad]}),
        (UnreadableFile, "The anchor 'bad' cannot be read", {"paths": [*scenes, bad], "anchor": "bad"}),
        (OutputConflict, "overlap", {"output": scenes[0].parent}),
        (OutputConflict, "is a file; a folder was expected", {"output": bad}),
    ]
    for error, words, change in cases:
        arguments = {"paths": scenes, "anchor": "anchor", "output": output} | change
        with pytest.raises(error, match=words):
            run_scenes(arguments.pop("paths"), **arguments)
        assert not output.exists() or not any(output.iterdir()), words


def test_a_stack_without_quality_or_crs_is_not_written(stack: xr.DataArray, tmp_path: Path) -> None:
    with pytest.raises(
        InvalidStack, match="The stack carries no 'status'; pass what align or apply returned"
    ):
        to_geotiffs(stack, tmp_path / "out")
    bare = align(stack, anchor=0).drop_vars("spatial_ref")
    with pytest.raises(InvalidStack, match="A CRS was expected"):
        to_geotiffs(bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_cube_of_a_run_holds_its_items(scenes: list[Path], tmp_path: Path) -> None:
    run_scenes(scenes, anchor="anchor", output=tmp_path / "out", zarr=tmp_path / "cube.zarr")
    cube = xr.open_zarr(tmp_path / "cube.zarr", consolidated=False)
    opened = align(open_scenes(scenes, anchor="anchor"), anchor="anchor")
    variable = next(cube[name] for name in cube.data_vars if cube[name].ndim == 4)
    assert variable.sizes == opened.sizes


# --- real scenes


def test_naip_dates_run_through(data_dir: Path, tmp_path: Path) -> None:
    paths = sorted((data_dir / "naip_nd_5m").glob("naip_*.tif"))
    assert len(paths) == 10
    result = run_scenes(paths, anchor="naip_20160816", output=tmp_path / "out", max_shift=8)
    assert result.problems == ()
    with rasterio.open(data_dir / "naip_nd_5m" / "naip_20160816.tif") as file:
        lattice, crs = file.transform, file.crs
    for path, report in zip(paths, result.reports, strict=True):
        quality = report.quality
        target = tmp_path / "out" / report.files[0].path
        with rasterio.open(path) as before, rasterio.open(target) as after:
            for fact in ("count", "dtypes", "nodata", "descriptions", "colorinterp", "scales", "offsets"):
                assert getattr(after, fact) == getattr(before, fact)
            assert after.tags() == before.tags()
            if quality.status is not Status.COREGISTERED:
                assert target.read_bytes() == path.read_bytes()
                continue
            assert after.crs == crs
            assert (after.transform.a, after.transform.e) == (lattice.a, lattice.e)
            col, row = ~lattice * (after.transform.c, after.transform.f)
            assert max(abs(col - round(col)), abs(row - round(row))) < 1e-9
            assert quality.improvement is not None
            assert quality.improvement >= 0.001
        if quality.shift is not None:
            assert max(np.abs(quality.shift)) < 1
    assert by_id(result)["naip_20160816"].quality.status is Status.ANCHOR


def test_naip_moved_on_purpose_is_found_and_put_back(data_dir: Path, tmp_path: Path) -> None:
    """One date, cut elsewhere than its geotransform says: in whole pixels, so the truth is exact."""
    source = data_dir / "naip_nd_5m" / "naip_20180716.tif"
    with rasterio.open(source) as file:
        profile, values = file.profile, file.read()
        colours = file.colorinterp
    piece = {"height": 500, "width": 600}
    for name, row, col in (("anchor", 60, 70), ("moved", 64, 63)):
        transform = profile["transform"] * Affine.translation(70, 60)
        options = profile | piece | {"transform": transform}
        for key in ("blockxsize", "blockysize", "tiled", "photometric"):
            options.pop(key, None)
        with rasterio.open(tmp_path / f"{name}.tif", "w", **options) as file:
            file.write(values[:, row : row + 500, col : col + 600])
            file.colorinterp = colours
    paths = [tmp_path / "anchor.tif", tmp_path / "moved.tif"]
    result = run_scenes(paths, anchor="anchor", output=tmp_path / "out", resampling="nearest")
    shift = by_id(result)["moved"].quality.shift
    assert shift == pytest.approx((4, -7), abs=0.01)
    with rasterio.open(tmp_path / "out" / "moved_coreg.tif") as file:
        got, place = file.read(), file.transform
    col, row = (round(v) for v in ~transform * (place.c, place.f))
    content = got[:, 4 - row :, -7 - col :][:, :500, :600]
    np.testing.assert_array_equal(content, values[:, 64:564, 63:663])
    # all else is empty
    assert int((got > 0).sum()) == int((content > 0).sum())
