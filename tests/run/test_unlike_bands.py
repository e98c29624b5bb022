"""Runs over files of unlike bands, of classes, and over what is no scene at all."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy as gdal_copy

import coregstack
from coregstack.errors import CoregError, InvalidRequest, MissingFile, UnreadableFile
from coregstack.run.result import RunResult
from coregstack.testing import sample_stack

BGRN = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def stack() -> xr.DataArray:
    return (
        sample_stack(2, shape=(200, 220), seed=5, max_shift=2.5, cloud_cover=0).drop_vars("clear").compute()
    )


def write(
    path: Path,
    values: np.ndarray,
    like: xr.DataArray,
    names: tuple[str, ...] = (),
    west: float = 0,
    **options: object,
) -> Path:
    place = like.rio.transform()
    place = rasterio.Affine(place.a, 0, place.c + west, 0, place.e, place.f)
    profile = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype, "crs": str(like.rio.crs), "transform": place, "nodata": 0,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values)
        if names:
            file.descriptions = names
    return path


def away(result: RunResult, stack: xr.DataArray) -> float:
    """Distance of the last item's shift from the truth, px."""
    shift = result.reports[-1].quality.shift
    assert shift is not None, result.reports[-1].quality.details
    return float(np.hypot(shift.y - stack.true_shift_y[1], shift.x - stack.true_shift_x[1]))


def test_a_panchromatic_anchor_aligns_multispectral_scenes(tmp_path: Path, stack: xr.DataArray) -> None:
    pan = write(tmp_path / "pan.tif", stack[0, 1:2].values, stack, ("pan",))
    other = write(tmp_path / "ms.tif", stack[1].values, stack, BGRN)
    for number, band in enumerate((None, ("pan", "green"), (0, 1))):
        out = tmp_path / f"out{number}"
        result = coregstack.run_scenes([pan, other], anchor=0, output=out, threshold=1.0, band=band)
        assert away(result, stack) < 0.05
    with rasterio.open(out / "ms_coreg.tif") as file:
        assert file.descriptions == BGRN
    with pytest.raises(InvalidRequest, match="no band 'thermal' in the anchor"):
        coregstack.run_scenes([pan, other], anchor=0, output=tmp_path / "no", band=("thermal", "red"))


def test_a_pair_of_bands_that_an_item_lacks_fails_that_item_alone(
    tmp_path: Path, stack: xr.DataArray
) -> None:
    anchor = write(tmp_path / "a.tif", stack[0].values, stack, BGRN)
    lacking = write(tmp_path / "b.tif", stack[1, :2].values, stack, BGRN[:2])
    whole = write(tmp_path / "c.tif", stack[1].values, stack, BGRN)
    result = coregstack.run_scenes(
        [anchor, lacking, whole], anchor=0, output=tmp_path / "out", threshold=1.0, band=("green", "red")
    )
    assert [str(report.quality.status) for report in result.reports][:2] == ["anchor", "failed"]
    assert "'red'" in result.reports[1].quality.details
    assert away(result, stack) < 0.05


def test_unlike_bands_in_a_network(tmp_path: Path, stack: xr.DataArray) -> None:
    pan = write(tmp_path / "pan.tif", stack[0, 1:2].values, stack, ("pan",))
    others = [write(tmp_path / f"{k}.tif", stack[1].values, stack, BGRN) for k in "bc"]
    result = coregstack.run_scenes(
        [pan, *others], anchor=0, output=tmp_path / "out", threshold=1.0, method="network"
    )
    assert away(result, stack) < 0.05


def test_classes_of_files_are_picked_not_mixed(tmp_path: Path, stack: xr.DataArray) -> None:
    rng = np.random.default_rng(3)
    paths = []
    for k in range(2):
        classes = rng.choice([4, 5, 9], (1, *stack.shape[2:])).astype("uint16")
        values = np.concatenate([stack[k].values, classes])
        paths.append(write(tmp_path / f"s{k}.tif", values, stack, (*BGRN, "cover")))
    for cog in (False, True):
        out = tmp_path / f"out{cog}"
        result = coregstack.run_scenes(
            paths,
            anchor=0,
            output=out,
            threshold=1.0,
            nearest=["cover"],
            cog=cog,
            zarr=tmp_path / f"cube{cog}.zarr",
        )
        assert result.problems == ()
        with rasterio.open(out / "s1_coreg.tif") as file:
            assert set(np.unique(file.read(5))) == {0, 4, 5, 9}
        cube = xr.open_zarr(tmp_path / f"cube{cog}.zarr", mask_and_scale=False).pixels
        assert set(np.unique(cube.isel(band=4))) == {0, 4, 5, 9}
    with pytest.raises(InvalidRequest, match="nearest names the band 'scl', which no scene has"):
        coregstack.run_scenes(paths, anchor=0, output=tmp_path / "no", nearest=["scl"])


def test_an_image_with_a_table_of_colours_keeps_its_values(tmp_path: Path, stack: xr.DataArray) -> None:
    paths = []
    for k in range(2):
        values = (
            np.digitize(stack[k, 2:3].values, np.quantile(stack[0, 2], [0.2, 0.5, 0.8])) * 60 + 10
        ).astype("uint8")
        paths.append(write(tmp_path / f"p{k}.tif", values, stack, nodata=255))
        with rasterio.open(paths[-1], "r+") as file:
            file.write_colormap(1, {value: (value, 0, 0, 255) for value in (10, 70, 130, 190)})
    result = coregstack.run_scenes(paths, anchor=0, output=tmp_path / "out", threshold=1.0)
    assert away(result, stack) < 0.3
    with rasterio.open(tmp_path / "out" / "p1_coreg.tif") as file:
        assert set(np.unique(file.read(1))) == {10, 70, 130, 190, 255}
        assert file.colormap(1)[70][0] == 70


def test_a_file_of_flags_alone_is_not_matched(tmp_path: Path, stack: xr.DataArray) -> None:
    anchor = write(tmp_path / "a.tif", stack[0].values, stack, BGRN)
    flags = write(tmp_path / "20200102_SCL_20m.tif", stack[1, :1].values % 11, stack)
    result = coregstack.run_scenes([anchor, flags], anchor=0, output=tmp_path / "out")
    assert "never matched" in result.reports[1].quality.details
    with pytest.raises(InvalidRequest, match="never matched"):
        coregstack.run_scenes([anchor, flags], anchor=1, output=tmp_path / "no")


def test_files_that_are_bands_of_scenes_are_one_item_or_are_told_of(
    tmp_path: Path, stack: xr.DataArray
) -> None:
    paths = [
        write(tmp_path / f"T33_{day}_{name}.tif", stack[k, b : b + 1].values, stack)
        for k, day in enumerate(("20200101", "20200111"))
        for b, name in enumerate(("B02", "B03"))
    ]
    result = coregstack.run_scenes(paths, anchor=0, output=tmp_path / "out", dry_run=True)
    assert [report.id for report in result.reports] == ["T33_20200101", "T33_20200111"]
    assert result.notes == ()
    named = coregstack.run_scenes(paths, anchor="T33_20200111_B03", output=tmp_path / "out", dry_run=True)
    assert [report.quality.status for report in named.reports].index("anchor") == 1
    result = coregstack.run_scenes(paths, anchor=0, output=tmp_path / "out", dry_run=True, assets="{id}.tif")
    (note,) = result.notes
    assert "4 files look like the bands of 2 scenes" in note
    assert "T33_20200101_B02.tif" in note
    assert coregstack.run_scenes(paths[::2], anchor=0, output=tmp_path / "out", dry_run=True).notes == ()


def test_longitudes_of_either_range_are_one_place(tmp_path: Path, stack: xr.DataArray) -> None:
    crs = {"crs": "EPSG:4326"}
    here = rasterio.Affine(1e-4, 0, -70, 0, -1e-4, 10)
    there = rasterio.Affine(1e-4, 0, 290, 0, -1e-4, 10)
    first = write(tmp_path / "a.tif", stack[0].values, stack, BGRN, transform=here, **crs)
    second = write(tmp_path / "b.tif", stack[1].values, stack, BGRN, transform=there, **crs)
    coarse = rasterio.Affine(2e-4, 0, 290, 0, -2e-4, 10)
    third = write(tmp_path / "c.tif", stack[0].values[:, ::2, ::2], stack, BGRN, transform=coarse, **crs)
    result = coregstack.run_scenes([first, third, second], anchor=0, output=tmp_path / "out", threshold=1.0)
    assert away(result, stack) < 0.03
    with rasterio.open(tmp_path / "out" / "b_coreg.tif") as file:
        assert -70.01 < file.transform.c < -69.99
    opened = coregstack.open_scenes([first, third], anchor=0).compute()
    assert opened.sizes["x"] < 400
    assert (opened[1] > 0).mean() > 0.9


def test_cloud_optimised_files_of_a_stack_in_memory_are_valid(tmp_path: Path, stack: xr.DataArray) -> None:
    cogeo = pytest.importorskip("rio_cogeo.cogeo")
    large = stack.pad(x=(0, 500), y=(0, 500), mode="wrap")
    large = large.assign_coords(
        x=stack.x.values[0] + 3 * np.arange(large.sizes["x"]),
        y=stack.y.values[0] - 3 * np.arange(large.sizes["y"]),
    )
    aligned = coregstack.align(large, anchor=0, threshold=1.0)
    result = coregstack.to_geotiffs(aligned, tmp_path / "out", cog=True)
    assert result.problems == ()
    (path,) = (tmp_path / "out").glob("*_coreg.tif")
    valid, errors, _ = cogeo.cog_validate(path)
    assert valid, errors
    with rasterio.open(path) as file:
        assert file.overviews(1)
        np.testing.assert_array_equal(file.read(), aligned[1].compute())
        assert file.descriptions == tuple(BGRN)


# --- what is no scene


def test_names_of_gdal_are_told_what_to_pass(tmp_path: Path, stack: xr.DataArray) -> None:
    good = write(tmp_path / "a.tif", stack[0].values, stack)
    for address in ("/vsicurl/https://me:secret@example.org/b.tif", "/vsis3/bucket/b.tif"):
        with pytest.raises(CoregError) as refused:
            coregstack.open_scenes([good, address], anchor=0)
        assert "secret" not in str(refused.value)
        assert str(tmp_path) not in str(refused.value)


def test_other_formats_and_folders_get_the_hint_that_helps(tmp_path: Path, stack: xr.DataArray) -> None:
    good = write(tmp_path / "a.tif", stack[0].values, stack)
    vrt = tmp_path / "mosaic.vrt"
    gdal_copy(good, vrt, driver="VRT")
    (tmp_path / "m.xml").write_text("<?xml version='1.0'?><a/>")
    (tmp_path / "n.nc").write_bytes(b"CDF\x01" + bytes(40))
    (tmp_path / "z.tif").write_bytes(b"PK\x03\x04" + bytes(40))
    hints = {
        vrt: "VRT",
        tmp_path / "m.xml": "metadata",
        tmp_path / "n.nc": "xarray",
        tmp_path / "z.tif": "unpack",
    }
    for path, hint in hints.items():
        with pytest.raises(UnreadableFile, match=hint):
            coregstack.open_scenes([good, path], anchor=0)
    for name, hint in (("S2B_empty.SAFE", "Unpack archives"), ("cube.zarr", "open_zarr")):
        (tmp_path / name).mkdir()
        with pytest.raises(MissingFile, match=hint):
            coregstack.open_scenes([good, tmp_path / name], anchor=0)


@pytest.mark.parametrize("suffix", [".tfw", ".TFW", ".wld"])
def test_a_world_file_is_named_as_not_read(tmp_path: Path, stack: xr.DataArray, suffix: str) -> None:
    path = tmp_path / "w.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8") as file:
            file.write(np.ones((1, 9, 9), "uint8"))
    path.with_suffix(suffix).write_text("3\n0\n0\n-3\n500000\n5000000\n")
    with pytest.raises(UnreadableFile, match=rf"world file w\{suffix} .*not read.*gdal_translate -a_srs"):
        coregstack.open_scenes([path, path], anchor=0, ids=["a", "b"])
