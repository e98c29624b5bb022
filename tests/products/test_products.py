"""Folders of products as they come: one shift for all files of an acquisition, each under its own name."""

from __future__ import annotations

import json
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import layouts
import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.warp import Resampling, calculate_default_transform, reproject

import coregstack
from coregstack import open_scenes, run_scenes
from coregstack.cli import main
from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.products import readers
from coregstack.testing import sample_stack

SIDE = 240
RASTERS = ("image/tiff; application=geotiff", "image/jp2")
SHIFTS = [(0.0, 0.0), (1.25, -0.75), (0.0, 0.0)]


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Four bands of one clear date."""
    stack = sample_stack(1, (SIDE + 24, SIDE + 24), seed=8, cloud_cover=0)
    return np.asarray(stack[0, :4].values, float) + 300


@pytest.fixture
def dates(image: np.ndarray) -> list[layouts.Date]:
    """The anchor, a date that lies off it and is partly cloudy, and one that lies on it."""
    return list(layouts.dates(image, SHIFTS, side=SIDE, clouds=0.05))


def files(root: Path) -> set[str]:
    """All files of products, as paths below a folder."""
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not path.parts[0].startswith(".")} - {"coregistration.csv"}


@pytest.mark.parametrize("layout", list(layouts.LAYOUTS))
def test_every_file_of_a_product_is_delivered(layout: str, dates: list[layouts.Date], tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    ids = [layouts.LAYOUTS[layout](source, date) for date in dates]
    result = run_scenes(source, anchor=ids[0], output=out)
    assert [report.id for report in result.reports] == ids
    assert [report.quality.status for report in result.reports] == [
        Status.ANCHOR, Status.COREGISTERED, Status.ALREADY_ALIGNED,
    ]  # fmt: skip
    assert result.problems == ()
    shift = result.reports[1].quality.shift
    assert shift is not None
    np.testing.assert_allclose((shift.y, shift.x), SHIFTS[1], atol=0.02)

    # every file is there, under its own name and in its own folder
    expected = {}
    for name in files(source):
        path = Path(name)
        item = next(k for k, one in enumerate(ids) if _belongs(path, one, dates))
        suffix = ("_anchor", "_coreg", "_coreg")[item] if path.suffix.lower() in (".tif", ".jp2") else ""
        extension = ".tif" if item == 1 and path.suffix == ".jp2" else path.suffix
        marked = f"{path.stem}{suffix}{extension}"
        if layout == "Planet" and suffix:
            marked = path.name.replace("_clip", f"{suffix}_clip")
        expected[(path.parent / marked).as_posix()] = name, item
    written = files(out)
    sidecars = {name for name in written if name.endswith("_coreg_qa_metadata.json")}
    assert {Path(name).name for name in sidecars} == {f"{one}_coreg_qa_metadata.json" for one in ids[1:]}
    assert written - sidecars == set(expected)

    for name, (origin, item) in expected.items():
        if item != 1 or Path(name).suffix.lower() not in (".tif", ".jp2"):
            assert (out / name).read_bytes() == (source / origin).read_bytes(), name
    moved = {
        name: origin
        for name, (origin, item) in expected.items()
        if item == 1 and Path(name).suffix.lower() in (".tif", ".jp2")
    }
    record = json.loads(next(out / name for name in sidecars if ids[1] in name).read_text())
    assert sorted(record["output_item"]) == sorted(Path(name).name for name in moved)
    for name, origin in moved.items():
        with rasterio.open(source / origin) as before, rasterio.open(out / name) as after:
            assert (after.count, after.dtypes, after.nodata) == (before.count, before.dtypes, before.nodata)
            assert (after.scales, after.offsets) == (before.scales, before.offsets)
            assert after.res == before.res
            if _holds_classes(origin):
                assert set(np.unique(after.read())) <= {*np.unique(before.read()), 0, 1, 255}
    assert verify_output(out) == ()

    # what was done is not done again
    again = run_scenes(source, anchor=ids[0], output=out)
    assert all(report.resumed for report in again.reports)


def _belongs(path: Path, item: str, dates: list[layouts.Date]) -> bool:
    return any(part.startswith(item) for part in path.parts)


def _holds_classes(name: str) -> bool:
    return any(word in name for word in ("SCL", "QA_", "BQA", "Fmask", "udm2", "_clm", "MSK_"))


def test_all_pixel_sizes_move_by_one_shift_on_the_ground(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.sentinel2_l2a(tmp_path / "in", date) for date in dates[:2]]
    run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "out", resampling="none")
    for band, size in (("B04", 10), ("B8A", 20), ("B01", 60)):
        (moved,) = (tmp_path / "out").rglob(f"*{band}_{size}m_coreg.tif")
        (source,) = (tmp_path / "in" / f"{ids[1]}.SAFE").rglob(f"*{band}_{size}m.jp2")
        with rasterio.open(moved) as after, rasterio.open(source) as before:
            np.testing.assert_array_equal(after.read(), before.read())
            east, north = after.transform.c - before.transform.c, after.transform.f - before.transform.f
        # columns run east, rows south
        np.testing.assert_allclose((-north / 10, east / 10), SHIFTS[1], atol=0.02)


def test_bands_are_opened_as_one_item(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.sentinel2_l2a(tmp_path, date) for date in dates[:2]]
    stack = open_scenes(tmp_path, anchor=ids[0])
    assert stack.id.values.tolist() == ids
    assert stack.band.values.tolist() == ["B02", "B03", "B04", "B08"]
    assert stack.rio.resolution() == (10, -10)
    np.testing.assert_array_equal(stack.isel(time=1).values, dates[1].values)
    assert stack.chunk({"y": 50}).isel(time=1).values.tolist() == dates[1].values.tolist()
    coarse = open_scenes(tmp_path, anchor=ids[0], bands=["B8A", "B05"])
    assert coarse.rio.resolution() == (20, -20)
    np.testing.assert_array_equal(coarse[1, 0].values, dates[1].coarse(2)[1])
    # the classification is the mask
    clear = stack.clear.isel(time=1).values
    np.testing.assert_array_equal(clear, ~np.kron(dates[1].clouded(2), np.ones((2, 2), bool)))
    # B08 is near infrared too, but B8A is the one that is named
    result = run_scenes(tmp_path, anchor=ids[0], output=tmp_path.with_name("out"), band="B8A", dry_run=True)
    assert result.lattice is not None
    assert result.lattice.resolution.x == 20
    with pytest.raises(InvalidRequest, match="no band 'B05' in all scenes; they share B02"):
        open_scenes(tmp_path, anchor=ids[0], bands=["B05", "B04"])


def test_a_stack_of_products_is_written_from_its_files(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.plain(tmp_path / "in", date) for date in dates]
    stack = open_scenes(tmp_path / "in", anchor=ids[0])
    result = coregstack.to_geotiffs(coregstack.align(stack, anchor=ids[0]), tmp_path / "out")
    assert result.problems == ()
    source = (tmp_path / "in" / f"{ids[2]}_red.tif").read_bytes()
    assert (tmp_path / "out" / f"{ids[2]}_red_coreg.tif").read_bytes() == source
    direct = run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "direct")
    assert direct.reports[1].quality.shift == result.reports[1].quality.shift
    name = f"{ids[1]}_nir_coreg.tif"
    with rasterio.open(tmp_path / "out" / name) as a, rasterio.open(tmp_path / "direct" / name) as b:
        np.testing.assert_array_equal(a.read(), b.read())


def test_items_of_a_collection_name_their_files_alike(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.sentinel2_l2a(tmp_path / "in", date) for date in dates[:2]]
    collection = run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "out").to_stac()
    anchor, item = collection.get_items()
    rasters = [
        {
            key: asset.roles
            for key, asset in one.assets.items()
            if "projection" not in key and asset.media_type in RASTERS
        }
        for one in (anchor, item)
    ]
    assert rasters[0] == rasters[1]
    assert set(rasters[0]) == {
        *("B02", "B03", "B04", "B08", "B05", "B8A", "B11", "B01", "B09", "TCI"),
        *("SCL_20m", "SCL_60m"),
    }
    assert rasters[0]["SCL_20m"] == ["data-mask"]
    pytest.importorskip("odc.stac")
    stack = coregstack.open_stac(collection, anchor=ids[0], bands=["B8A"])
    # the item that was moved reaches further
    np.testing.assert_array_equal(stack[0, 0].values[:120, 1:], dates[0].coarse(2)[1])


def test_a_cube_takes_new_products_in_its_own_bands(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.sentinel2_l2a(tmp_path / "in", date) for date in dates[:2]]
    stack = open_scenes(tmp_path / "in", anchor=ids[0], bands=["B8A", "B05"])
    coregstack.to_zarr(coregstack.align(stack[:1], anchor=ids[0]), tmp_path / "cube.zarr")
    quality = coregstack.append(tmp_path / "in", tmp_path / "cube.zarr")
    assert quality.id.values.tolist() == ids[1:]
    # the cube has pixels of 20 m
    np.testing.assert_allclose((quality.shift_y[0], quality.shift_x[0]), np.array(SHIFTS[1]) / 2, atol=0.02)


def test_missing_bands_and_pixel_sizes_stop_no_item(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.sentinel2_l2a(tmp_path / "in", date) for date in dates]
    for k, bands in ((1, ("B04", "B02")), (2, ("B02", "B03", "B04", "B08", "TCI"))):
        for band in bands:
            next((tmp_path / "in" / f"{ids[k]}.SAFE").rglob(f"*{band}_10m.jp2")).unlink()
    result = run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "out", threshold=1.0)
    assert result.problems == ()
    for report, shift in zip(result.reports[1:], SHIFTS[1:], strict=True):
        found = report.quality.shift
        assert found is not None, report.quality.details
        # the last has nothing finer than 20 m, in bands of its own
        np.testing.assert_allclose((found.y, found.x), shift, atol=0.02 if report.id == ids[1] else 0.3)


def test_a_neighbouring_zone_goes_onto_the_anchors_lattice(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.hls(tmp_path / "in", date) for date in dates[:2]]
    for path in (tmp_path / "in").glob(f"{ids[1]}.*.tif"):
        _reprojected(path, "EPSG:32632")
    result = run_scenes(tmp_path / "in", anchor=ids[0], output=tmp_path / "out")
    assert result.problems == ()
    shift = result.reports[1].quality.shift
    assert shift is not None
    np.testing.assert_allclose((shift.y, shift.x), SHIFTS[1], atol=0.06)
    for path in (tmp_path / "out").glob(f"{ids[1]}.*_coreg.tif"):
        with rasterio.open(path) as file:
            assert file.crs.to_epsg() == 32633
    with rasterio.open(tmp_path / "out" / f"{ids[1]}.Fmask_coreg.tif") as file:
        assert set(np.unique(file.read())) <= {2, 64, 255}


def _reprojected(path: Path, crs: str) -> None:
    """Put a raster into another CRS, in place."""
    with rasterio.open(path) as file:
        values, profile = file.read(), file.profile
        transform, width, height = calculate_default_transform(
            file.crs, crs, file.width, file.height, *file.bounds, resolution=file.res
        )
    out = np.full((len(values), height, width), profile["nodata"], values.dtype)
    kernel = Resampling.nearest if values.dtype == np.uint8 else Resampling.lanczos
    reproject(
        values, out, src_transform=profile["transform"], src_crs=profile["crs"], dst_transform=transform, dst_crs=crs,
        src_nodata=profile["nodata"], dst_nodata=profile["nodata"], resampling=kernel,
    )  # fmt: skip
    with rasterio.open(
        path, "w", **profile | {"crs": crs, "transform": transform, "width": width, "height": height}
    ) as file:
        file.write(out)


def test_places_and_kinds_may_be_mixed_in_one_folder(dates: list[layouts.Date], tmp_path: Path) -> None:
    source = tmp_path / "in"
    anchor, item = (layouts.landsat_l2(source / "landsat", date) for date in dates[:2])
    far = layouts.Date(
        **{name: getattr(dates[2], name) for name in layouts.Date.__slots__} | {"west": 900_000.0}
    )
    layouts.landsat_l2(source / "elsewhere", far)
    (source / "landsat" / f"{item}_SR_B3.TIF").write_bytes(b"no raster")
    (source / "notes.txt").write_text("taken along")
    result = run_scenes(source, anchor=anchor, output=tmp_path / "out")
    by_id = {report.id: report for report in result.reports}
    assert "does not overlap" in by_id[f"LC08_L2SP_190027_{far.when:%Y%m%d}_20200823_02_T1"].quality.details
    # what is damaged is named, and all of its item is delivered as it came
    assert by_id[item].quality.status is Status.FAILED
    assert any("SR_B3.TIF" in problem for problem in result.problems)
    assert (tmp_path / "out" / "landsat" / f"{item}_SR_B3.TIF").read_bytes() == b"no raster"
    assert (tmp_path / "out" / "notes.txt").read_text() == "taken along"
    assert [file.path for file in result.others] == ["notes.txt"]
    with pytest.raises(UnreadableFile, match=r"SR_B3\.TIF"):
        open_scenes(source / "landsat", anchor=anchor)


# --- masks


@pytest.fixture
def scenes(dates: list[layouts.Date], tmp_path: Path) -> tuple[Path, list[str]]:
    """Two dates of HLS, and masks of other kinds beside them."""
    root = tmp_path / "in"
    ids = [layouts.hls(root, date) for date in dates[:2]]
    water = np.zeros((SIDE // 3, SIDE // 3), "uint8")
    water[:, :20] = 1
    layouts.write(tmp_path / "water.tif", water, dates[0], 90)
    cloud = np.zeros((SIDE, SIDE), "uint8")
    cloud[:10] = 7
    layouts.write(tmp_path / f"{ids[1]}-own.tif", cloud, dates[0], 30)
    return root, ids


def clear(root: Path, anchor: str, mask: Any = None) -> np.ndarray:
    return np.asarray(open_scenes(root, anchor=anchor, mask=mask).clear.values)


def test_masks_are_known_and_may_be_asked_for(
    scenes: tuple[Path, list[str]], dates: list[layouts.Date], tmp_path: Path
) -> None:
    root, ids = scenes
    own = clear(root, ids[0])
    assert own[0].all()
    np.testing.assert_array_equal(own[1], ~dates[1].cloud)
    assert clear(root, ids[0], False).all()
    assert clear(root, ids[0], "fmask:bit5").all()
    np.testing.assert_array_equal(clear(root, ids[0], "fmask:64")[1], dates[1].cloud)
    water = clear(root, ids[0], str(tmp_path / "water.tif"))
    assert not water[:, :, :60].any()
    np.testing.assert_array_equal(water[:, :, 60:], own[:, :, 60:])
    assert clear(root, ids[0], f"{tmp_path / 'water.tif'}:2").sum() == own.sum()
    both = clear(root, ids[0], ["fmask:bit5", f"{tmp_path}/{{id}}-own.tif:7"])
    assert both[0].all()
    assert not both[1, :10].any()
    assert both[1, 10:].all()
    with pytest.raises(InvalidRequest, match="no item has such a mask; they have fmask"):
        clear(root, ids[0], "scl:3")
    with pytest.raises(InvalidRequest, match="finds no file"):
        clear(root, ids[0], "{id}_none.tif")
    with pytest.raises(MissingFile, match=r"none\.tif"):
        clear(root, ids[0], "none.tif")


def test_a_mask_changes_what_is_matched(
    scenes: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, ids = scenes
    everything = tmp_path / "nothing.tif"
    with rasterio.open(tmp_path / "water.tif") as file:
        profile = file.profile
    with rasterio.open(everything, "w", **profile) as file:
        file.write(np.ones((1, SIDE // 3, SIDE // 3), "uint8"))
    common = [
        "align",
        str(root),
        "--anchor",
        ids[0],
        "--output",
        str(tmp_path / "out"),
        "--dry-run",
        "--json",
    ]
    assert main([*common, "--mask", "none"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][1]["status"] == "coregistered"
    assert main([*common, "--mask", str(everything)]) == 0
    assert json.loads(capsys.readouterr().out)["items"][1]["status"] == "failed"


def test_an_item_is_done_again_where_its_mask_is_another(
    scenes: tuple[Path, list[str]], tmp_path: Path
) -> None:
    root, ids = scenes

    def resumed(mask: Any) -> list[bool]:
        result = run_scenes(root, anchor=ids[0], output=tmp_path / "out", mask=mask)
        assert not any("Done again" in note and "masks" not in note for note in result.notes)
        return [report.resumed for report in result.reports]

    water = str(tmp_path / "water.tif")
    assert resumed(None) == [False, False]
    assert resumed(None) == [True, True]
    for mask in ("fmask:bit1", False, water):
        assert resumed(mask)[1] is False
        assert resumed(mask) == [True, True]
    with rasterio.open(water, "r+") as file:
        file.write(np.zeros((1, SIDE // 3, SIDE // 3), "uint8"))
    assert resumed(water)[1] is False


def test_masks_are_no_scenes_of_a_folder(dates: list[layouts.Date], tmp_path: Path) -> None:
    ids = [layouts.plain(tmp_path, date) for date in dates[:2]]
    layouts.planet(tmp_path, dates[2])
    table = coregstack.inspect_folder(tmp_path)
    assert set(table.index) == {*ids, f"{dates[2].when:%Y%m%d_%H%M%S}_0e3a"}
    assert table.loc[ids, "masks"].tolist() == ["clm", "clm"]
    assert table.loc[ids[0], "bands"] == "blue green red nir"


# --- many files as one raster


def test_bands_in_several_files_are_the_raster_that_they_would_be_in_one(
    dates: list[layouts.Date], tmp_path: Path
) -> None:
    item = layouts.plain(tmp_path / "many", dates[1])
    whole = layouts.write(tmp_path / "one" / f"{item}.tif", dates[1].values, dates[1], 5, nodata=0)
    assert whole.is_file()
    alone = open_scenes(tmp_path / "one", anchor=0)
    many = open_scenes(tmp_path / "many", anchor=0, mask=False)
    np.testing.assert_array_equal(many.values, alone.values)
    np.testing.assert_array_equal(many.clear.values, alone.clear.values)
    xr.testing.assert_allclose(
        many.drop_vars(["band", "id", "source", "time"]), alone.drop_vars(["band", "id", "source", "time"])
    )


# --- a layout of one's own


def test_a_reader_written_by_the_page_aligns_a_made_up_layout(
    dates: list[layouts.Date], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "products" / "readers.md"
    if not page.is_file():
        pytest.skip("the documentation is not part of this copy")
    (code,) = re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text("utf-8"))
    assert len(code.splitlines()) < 60
    names: dict[str, Any] = {}
    exec(compile(code, "readers.md", "exec"), names)
    monkeypatch.setattr(EntryPoint, "load", lambda _: names["read"])
    monkeypatch.setattr(
        readers, "entry_points", lambda group: [EntryPoint("nova", "my_package.nova:read", group)]
    )
    for date in dates[:2]:
        head = f"N1.{date.when:%Y%m%d-%H%M%S}"
        for band, values in (("green", date.values[1]), ("red", date.values[2])):
            layouts.write(tmp_path / "NOVA" / f"{head}.{band}.tif", values, date, 8)
        layouts.write(tmp_path / "NOVA" / f"{head}.swir.tif", date.coarse(3)[3], date, 24)
        layouts.write(tmp_path / "NOVA" / f"{head}.haze.tif", date.cloud.astype("uint8"), date, 8)
        (tmp_path / "NOVA" / f"{head}.txt").write_text("gain 3")
    result = run_scenes(tmp_path / "NOVA", anchor="N1.20200601-102031", output=tmp_path / "out")
    assert result.problems == ()
    shift = result.reports[1].quality.shift
    assert shift is not None
    np.testing.assert_allclose((shift.y, shift.x), SHIFTS[1], atol=0.02)
    item = "N1.20200606-102031"
    assert {path.name for path in (tmp_path / "out").glob(f"{item}*")} == {
        *(f"{item}.{band}_coreg.tif" for band in ("green", "red", "swir", "haze")),
        f"{item}.txt",
        f"{item}_coreg_qa_metadata.json",
    }
    with rasterio.open(tmp_path / "out" / f"{item}.haze_coreg.tif") as file:
        assert set(np.unique(file.read())) == {0, 1, 255}
