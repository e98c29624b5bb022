"""Descriptions of files that are moved without a copy, read as any program reads them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pyogrio
import pytest
import rasterio
import recipes
from rasterio.transform import Affine, from_origin
from scipy.ndimage import map_coordinates
from webserver import WebServer

from coregstack import align, apply, cli, estimate, open_scenes, run_scenes, to_geotiffs, to_vrt
from coregstack.errors import InvalidRequest, InvalidStack
from coregstack.export.movement import Movement
from coregstack.export.plan import Content
from coregstack.export.vrt import write_vrt
from coregstack.model import Shift
from coregstack.pixels.raster import read_header
from coregstack.testing import sample_stack

READ = """
import json, sys, rasterio
for path in sys.argv[1:]:
    with rasterio.open(path) as file:
        print(json.dumps([list(file.transform)[:6], file.crs.to_string(), file.shape, file.nodata,
            file.dtypes, file.descriptions, file.tags(), file.scales,
            [int(v.sum()) for v in file.read().astype("int64")], int(file.dataset_mask().sum()),
            file.read().tobytes().hex()]))
"""


def read_elsewhere(*paths: Path) -> list[Any]:
    """What a process that knows nothing of this package reads."""
    call = [sys.executable, "-P", "-c", READ, *map(str, paths)]
    done = subprocess.run(call, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("in & out") / "scenes"
    folder.mkdir()
    recipes.write_tiff(folder / "anchor.tif", recipes.pixels((0.0, 0.0)))
    recipes.write_tiff(folder / "good.tif")
    return folder


def test_what_is_read_is_what_resampling_none_writes(inputs: Path, tmp_path: Path) -> None:
    stack = open_scenes(inputs, anchor="anchor")
    described = to_vrt(align(stack, anchor="anchor"), tmp_path / "vrt")
    copied = to_geotiffs(align(stack, anchor="anchor", resampling="none"), tmp_path / "tif")
    assert not described.problems
    for one, other in zip(described.reports, copied.reports, strict=True):
        assert one.quality == other.quality
        names = [Path(report.files[0].path) for report in (one, other)]
        assert names[0].suffix == ".vrt"
        assert names[0].stem == names[1].stem
        assert (tmp_path / "vrt" / names[0]).stat().st_size < 20_000
        near, far = read_elsewhere(tmp_path / "vrt" / names[0], tmp_path / "tif" / names[1])
        np.testing.assert_allclose(near[0], far[0], rtol=1e-15)
        assert near[1:] == far[1:]
    sidecar = json.loads((tmp_path / "vrt" / "good_coreg_qa_metadata.json").read_text())
    assert "good_coreg.vrt" in str(sidecar)


def test_names_are_relative_so_that_all_may_be_moved_together(inputs: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(inputs, home / "scenes")
    run_scenes([home / "scenes"], anchor="anchor", output=home / "deep" / "out", vrt=True)
    before = read_elsewhere(home / "deep" / "out" / "good_coreg.vrt")
    home.rename(tmp_path / "new home")
    assert read_elsewhere(tmp_path / "new home" / "deep" / "out" / "good_coreg.vrt") == before


def test_a_second_run_writes_nothing_and_a_changed_input_is_described_anew(
    inputs: Path, tmp_path: Path
) -> None:
    call = [
        "align",
        str(inputs),
        "--anchor",
        "anchor",
        "--output",
        str(tmp_path / "out"),
        "--vrt",
        "--no-report",
    ]
    assert cli.main(call) == 0
    written = (tmp_path / "out" / "good_coreg.vrt").stat().st_mtime_ns
    assert cli.main(call) == 0
    assert (tmp_path / "out" / "good_coreg.vrt").stat().st_mtime_ns == written
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir() if path.suffix == ".tif") == []


def write(path: Path, values: np.ndarray, **profile: Any) -> Path:
    count, height, width = values.shape
    profile = {"crs": "EPSG:32633", "transform": from_origin(5e5, 5e6, 3, 3), "nodata": 0, **profile}
    with rasterio.open(
        path, "w", driver="GTiff", count=count, height=height, width=width, dtype=values.dtype, **profile
    ) as file:
        file.write(values)
    return path


def test_masks_nodata_and_bands_stay_what_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(1, 200, (3, 40, 50), "uint8")
    path = write(tmp_path / "a.tif", values, nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        mask = np.full((40, 50), 255, "uint8")
        mask[:7] = 0
        file.write_mask(mask)
        file.descriptions = ("red", "green & <blue>", "nir")
        file.update_tags(GeoTransform="<GeoTransform>1</GeoTransform>", name=r"back\1slash")
    header = read_header(path)
    movement = Movement(anchor=header.box, move=Shift(1.25, -0.5), resampling="cubic")
    (tmp_path / "o").mkdir()
    write_vrt(str(path), tmp_path / "o" / "a.vrt", Content.IMAGE, movement)
    own, seen = read_elsewhere(path, tmp_path / "o" / "a.vrt")
    assert seen[1:] == own[1:]
    assert seen[0] == list(Affine.translation(-1.5, -3.75) @ header.box.affine)[:6]


@pytest.mark.parametrize("content", [Content.IMAGE, Content.UDM])
def test_another_crs_is_warped_onto_the_lattice_and_moved_by_whoever_reads_it(
    content: Content, tmp_path: Path
) -> None:
    anchor = write(tmp_path / "anchor.tif", np.ones((1, 200, 200), "uint16"))
    (west,), (north,) = rasterio.warp.transform("EPSG:32633", "EPSG:32632", [5e5], [5e6])
    y, x = np.mgrid[:260, :260]
    smooth = (2000 + 500 * np.sin(x / 15) + 400 * np.cos(y / 11)).astype("uint16")[None]
    path = write(
        tmp_path / "a.tif", smooth, crs="EPSG:32632", transform=from_origin(west - 60, north + 60, 3, 3)
    )
    box = read_header(anchor).box
    (tmp_path / "o").mkdir()
    seen = []
    for name, shift in (("still", Shift(0.0, 0.0)), ("moved", Shift(2.5, -1.25))):
        target = tmp_path / "o" / f"{name}.vrt"
        write_vrt(str(path), target, content, Movement(anchor=box, move=shift, resampling="cubic"))
        with rasterio.open(target) as file:
            assert file.crs.to_epsg() == 32633
            assert file.count == 1
            assert file.nodata == 0
            offset = ~box.affine * (file.transform.c, file.transform.f)
            np.testing.assert_allclose(offset, np.round(offset), atol=1e-6)
            seen.append((file.read(1).astype(float), np.round(offset)))
    if content is Content.UDM:
        assert set(np.unique(seen[1][0])) - set(np.unique(smooth)) == {1.0}
        return
    still, (left, top) = seen[0]
    after, (new_left, new_top) = seen[1]
    # the same place, found by interpolating what was not moved
    rows, cols = np.mgrid[60:140, 60:140]
    place = rows + new_top - top - 2.5, cols + new_left - left + 1.25
    np.testing.assert_allclose(after[60:140, 60:140], map_coordinates(still, place, order=3), atol=4)


@pytest.mark.parametrize("nodata", [np.nan, None])
def test_floats_of_another_crs_keep_nan(nodata: float | None, tmp_path: Path) -> None:
    anchor = write(tmp_path / "anchor.tif", np.ones((1, 60, 60), "uint16"))
    (west,), (north,) = rasterio.warp.transform("EPSG:32633", "EPSG:32632", [5e5], [5e6])
    values = np.full((1, 60, 60), 5, "float32")
    values[:, 20:40, 20:40] = np.nan
    place = from_origin(west, north, 3, 3)
    path = write(tmp_path / "a.tif", values, crs="EPSG:32632", transform=place, nodata=nodata)
    movement = Movement(anchor=read_header(anchor).box, move=Shift(0.0, 0.0), resampling="cubic")
    write_vrt(str(path), tmp_path / "a.vrt", Content.IMAGE, movement)
    with rasterio.open(tmp_path / "a.vrt") as file:
        got = file.read(1)
    assert got[np.isfinite(got)] == pytest.approx(5.0)
    assert np.isfinite(got).sum() == pytest.approx(60 * 60 - 20 * 20, rel=0.02)


def test_the_index_opens_all_of_them_as_one(inputs: Path, tmp_path: Path) -> None:
    times = ["2021-06-30", "2020-06-30"]
    names = ["anchor.tif", "good.tif"]
    run_scenes(
        [inputs / name for name in names], anchor="anchor", output=tmp_path / "out", vrt=True, times=times
    )
    (tmp_path / "out").rename(inputs.parent / "moved")
    index = inputs.parent / "moved" / "index.gti.gpkg"
    table = pyogrio.raw.read(index)
    fields = dict(zip(table[0]["fields"], table[3], strict=True))
    assert list(fields["item"]) == ["good", "anchor"]
    assert list(fields["location"]) == ["good_coreg.vrt", "anchor_anchor.vrt"]
    assert table[0]["crs"] == "EPSG:32633"
    whole, first = read_elsewhere(index, inputs / "anchor.tif")
    assert whole[1] == first[1]
    assert whole[0][0] == first[0][0]


def test_what_one_shift_does_not_say_is_refused(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="one shift for a whole file"):
        run_scenes(inputs, anchor="anchor", output=tmp_path / "out", vrt=True, model="field")
    with pytest.raises(InvalidRequest, match="one of the two"):
        run_scenes(inputs, anchor="anchor", output=tmp_path / "out", vrt=True, cog=True)
    stack = open_scenes(inputs, anchor="anchor")
    bent = align(stack, anchor="anchor", model="affine")
    known = apply(stack, estimate(stack, anchor="anchor", model="affine").compute())
    with pytest.raises(InvalidRequest, match="good moved by more than one shift"):
        to_vrt(known, tmp_path / "out")
    with pytest.raises(InvalidStack, match="names the files"):
        to_vrt(align(stack * 1, anchor="anchor"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = to_vrt(bent, tmp_path / "out")
    assert "one shift for a whole file" in str(result.problems)
    assert (tmp_path / "out" / "good.vrt").is_file()


def test_addresses_are_named_as_gdal_reads_them_unless_they_hold_a_secret(
    server: WebServer, tmp_path: Path
) -> None:
    urls = [server.url("anchor.tif"), server.url("good.tif")]
    run_scenes(urls, anchor="anchor", output=tmp_path / "out", vrt=True)
    assert f">/vsicurl/{urls[1]}<" in (tmp_path / "out" / "good_coreg.vrt").read_text()
    for secret in (f"{urls[1]}?sig=hunter2", urls[1].replace("//", "//me:hunter2@")):
        with pytest.raises(InvalidRequest, match="reached by a secret") as found:
            run_scenes([urls[0], secret], anchor="anchor", output=tmp_path / "no", vrt=True)
        assert "hunter2" not in str(found.value)
    with pytest.raises(InvalidRequest, match="reached by a secret"):
        to_vrt(align(open_scenes([urls[0], secret], anchor=0), anchor=0), tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_every_band_of_a_product_is_described_in_its_own_folder(tmp_path: Path) -> None:
    image = np.asarray(sample_stack(1, (264, 264), seed=8, cloud_cover=0)[0, :4].values, float) + 300
    dates = list(layouts.dates(image, [(0.0, 0.0), (1.25, -0.75)], side=240))
    ids = [layouts.LAYOUTS["Landsat C1 L1"](tmp_path / "in", date) for date in dates]
    result = run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "out", vrt=True)
    assert not result.problems
    sources = sorted(path.relative_to(tmp_path / "in") for path in (tmp_path / "in").rglob("*.tif"))
    suffix = {ids[0]: "_anchor", ids[1]: "_coreg"}
    names = [
        path.with_name(
            f"{path.stem}{next(s for item, s in suffix.items() if path.stem.startswith(item))}.vrt"
        )
        for path in sources
    ]
    assert sorted(path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.vrt")) == sorted(
        names
    )
    befores = read_elsewhere(*(tmp_path / "in" / path for path in sources))
    afters = read_elsewhere(*(tmp_path / "out" / path for path in names))
    for before, after, name in zip(befores, afters, names, strict=True):
        shift = (after[0][2] - before[0][2], before[0][5] - after[0][5])
        np.testing.assert_allclose(shift, (0, 0) if "_anchor" in name.stem else (-11.25, 18.75), atol=0.4)
        assert after[1:] == before[1:]
