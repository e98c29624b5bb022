"""A whole order: every item decided on, every file named, moved or copied as the tool's rules say."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject, transform
from rasterio.warp import transform as to_crs
from scipy import ndimage

from coregstack import open_order, run_order
from coregstack.errors import AnchorNotFound, InvalidRequest, MissingFile, OutputConflict, UnreadableFile
from coregstack.model import Status
from coregstack.orders.payload import PayloadError
from coregstack.run.result import RunResult
from coregstack.testing import SampleOrder, write_sample_order

NEIGHBOUR = "20220610_101442_44_2427"
ALIGNED = "20220613_094246_72_24a1"
OVERCAST = "20220616_095015_39_2447"
MOVED = "20220604_094733_61_247a"
SIDECAR_KEYS = [
    "coreg_method",
    "coreg_method_version",
    "estimator",
    "anchor_item",
    "target_item",
    "projection_epsg_before",
    "projection_epsg_after",
    "pixel_shift",
    "output_item",
    "status",
    "matching_score_before",
    "matching_score_after",
    "matching_score_improvement",
    "model",
    "pixel_shift_spread",
    "expected_residual",
    "details",
    "pixel_shift_estimated",
    "pixel_shift_sigma",
    "matching_score_version",
]


class Delivered:
    """An order, where it was delivered to, and what the run said."""

    def __init__(self, order: SampleOrder, output: Path) -> None:
        self.order, self.output = order, output
        self.progress: list[tuple[int, int]] = []
        self.result = run_order(
            order.payload,
            input=order.folder,
            output=output,
            progress=lambda *told: self.progress.append(told),
        )

    def sidecar(self, item: str) -> dict[str, Any]:
        return json.loads((self.output / "PSScene" / f"{item}_coreg_qa_metadata.json").read_text())

    def pair(self, item: str, asset: str, suffix: str = "_coreg") -> tuple[Path, Path]:
        """Source and output of an asset."""
        folder = "PSScene"
        return (
            self.order.folder / folder / f"{item}_3B_{asset}_clip.tif",
            self.output / folder / f"{item}_3B_{asset}{suffix}_clip.tif",
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Delivered:
    """The sample order, run once for all tests that only look at the result."""
    folder = tmp_path_factory.mktemp("delivered")
    # of a size at which the item under clouds is seen well enough to be decided right
    return Delivered(write_sample_order(folder / "order", size=480), folder / "out")


def visible(folder: Path) -> dict[str, bytes]:
    """Files of an output that a user sees, with their content."""
    paths = (p for p in folder.rglob("*") if p.is_file() and ".coregstack" not in p.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


# --- the sample order


def test_every_item_is_decided_as_its_truth_says(run: Delivered) -> None:
    status = {report.id: report.quality.status for report in run.result.reports}
    expected = dict.fromkeys(run.order.truth, Status.COREGISTERED) | {
        run.order.anchor_item: Status.ANCHOR,
        ALIGNED: Status.ALREADY_ALIGNED,
        OVERCAST: Status.FAILED,
    }
    assert status == expected
    for report in run.result.reports:
        truth, shift = run.order.truth[report.id], report.quality.shift
        if truth is not None and report.id != run.order.anchor_item:
            assert shift is not None
            assert np.hypot(shift.y - truth.y, shift.x - truth.x) < 0.1
    assert run.result.problems == ()
    assert run.progress[0] == (0, 8)
    assert run.progress[-1] == (8, 8)


def test_all_names_are_the_tools_names(run: Delivered) -> None:
    suffix = {report.id: {"failed": "", "anchor": "_anchor"}.get(report.quality.status, "_coreg")
              for report in run.result.reports}  # fmt: skip
    expected = {"manifest.json", "coregistration.csv", "payload.json"}
    for item, end in suffix.items():
        expected |= {
            f"PSScene/{item}_3B_AnalyticMS_SR_8b{end}_clip.tif",
            f"PSScene/{item}_3B_udm2{end}_clip.tif",
            f"PSScene/{item}_3B_AnalyticMS_8b_metadata_clip.xml",
            f"PSScene/{item}_metadata.json",
        }
        if item in (MOVED, run.order.anchor_item):
            expected.add(f"PSScene/{item}_3B_Visual{end}_clip.tif")
        if end != "_anchor":
            expected.add(f"PSScene/{item}_coreg_qa_metadata.json")
    assert set(visible(run.output)) == expected


def test_what_is_not_transformed_is_copied_byte_for_byte(run: Delivered) -> None:
    copied = {run.order.anchor_item: "_anchor", ALIGNED: "_coreg", OVERCAST: ""}
    for item, suffix in copied.items():
        for asset in ("AnalyticMS_SR_8b", "udm2"):
            source, target = run.pair(item, asset, suffix)
            assert target.read_bytes() == source.read_bytes()
    for item in run.order.truth:
        for ending in ("_3B_AnalyticMS_8b_metadata_clip.xml", "_metadata.json"):
            name = f"PSScene/{item}{ending}"
            assert (run.output / name).read_bytes() == (run.order.folder / name).read_bytes()
    assert (run.output / "payload.json").read_bytes() == run.order.payload.read_bytes()


def test_transformed_files_lie_on_the_anchors_lattice_and_hold_all(run: Delivered) -> None:
    anchor, _ = run.pair(run.order.anchor_item, "AnalyticMS_SR_8b")
    with rasterio.open(anchor) as file:
        lattice, crs = file.transform, file.crs
    moved = [r.id for r in run.result.reports if r.quality.status is Status.COREGISTERED]
    assert len(moved) == 5
    for item in moved:
        shapes = set()
        for asset in ("AnalyticMS_SR_8b", "udm2"):
            source, target = run.pair(item, asset)
            with rasterio.open(source) as before, rasterio.open(target) as after:
                col, row = ~lattice * (after.transform.c, after.transform.f)
                assert max(abs(col - round(col)), abs(row - round(row))) < 1e-9
                assert (after.transform.a, after.transform.e) == (3, -3)
                assert after.crs == crs
                assert after.dtypes == before.dtypes
                assert after.nodata == before.nodata
                assert after.descriptions == before.descriptions
                assert after.tags() == before.tags()
                assert after.compression == before.compression
                shapes.add(after.shape)
                if asset != "udm2":
                    valid = (after.read(1) > 0).sum() / (before.read(1) > 0).sum()
                    assert 0.985 < valid < 1.015
        assert len(shapes) == 1


def test_a_moved_image_is_one_warp_of_its_source(run: Delivered) -> None:
    for item in (MOVED, NEIGHBOUR):
        source, target = run.pair(item, "AnalyticMS_SR_8b")
        x, y = run.sidecar(item)["pixel_shift"]
        with rasterio.open(source) as before, rasterio.open(target) as after:
            got, red = after.read(6), before.read(6)
            expected = np.zeros(after.shape, "uint16")
            # in pieces, in each of which GDAL's approximated transformation is as good as exact
            for row in range(0, after.height, 96):
                for col in range(0, after.width, 96):
                    reproject(
                        red,
                        piece := np.zeros_like(expected[row : row + 96, col : col + 96]),
                        src_transform=before.transform,
                        src_crs=before.crs,
                        dst_transform=after.transform * Affine.translation(col - x, row - y),
                        dst_crs=after.crs,
                        src_nodata=0,
                        dst_nodata=0,
                        resampling=Resampling.cubic,
                        XSCALE=1,
                        YSCALE=1,
                    )
                    expected[row : row + 96, col : col + 96] = piece
        inner = ndimage.binary_erosion(expected > 0, iterations=3)
        assert inner.sum() > 100_000
        assert np.abs(got.astype(int) - expected)[inner].max() <= 1


def test_masks_move_with_their_image(run: Delivered) -> None:
    for item in (MOVED, NEIGHBOUR):
        _, image = run.pair(item, "AnalyticMS_SR_8b")
        source, mask = run.pair(item, "udm2")
        with rasterio.open(image) as file, rasterio.open(mask) as udm2, rasterio.open(source) as before:
            valid, bands, original = file.read(1) > 0, udm2.read(), before.read()
        # outside the footprint nothing is clear and all is blackfill
        outside = bands[7] & 1 == 1
        assert (bands[:7, outside] == 0).all()
        assert np.mean(valid == outside) < 0.01
        for band in range(8):
            assert set(np.unique(bands[band])) <= set(np.unique(original[band])) | {0}
        # a pixel is of exactly one class
        assert (bands[:6, ~outside].sum(axis=0) == 1).all()


def test_sidecars_tell_what_was_done(run: Delivered) -> None:
    for report in run.result.reports:
        if report.quality.status is Status.ANCHOR:
            continue
        sidecar = run.sidecar(report.id)
        assert list(sidecar) == SIDECAR_KEYS
        assert sidecar["status"] == report.quality.status
        assert (sidecar["anchor_item"], sidecar["target_item"]) == (run.order.anchor_item, report.id)
        assert sidecar["details"] == report.quality.details
        assert sidecar["projection_epsg_before"] == (32632 if report.id == NEIGHBOUR else 32633)
        assert sidecar["projection_epsg_after"] == (32633 if report.id == NEIGHBOUR else None)
        names = {Path(file.path).name for file in report.files}
        assert set(sidecar["output_item"]) == {name for name in names if name.endswith(".tif")}
        assert "AnalyticMS_SR_8b" in sidecar["output_item"][0]
    moved, aligned, failed = (run.sidecar(item) for item in (MOVED, ALIGNED, OVERCAST))
    assert moved["pixel_shift"] == moved["pixel_shift_estimated"]
    assert moved["pixel_shift"] == pytest.approx([-2.2, 1.4], abs=0.05)
    assert moved["matching_score_improvement"] > 0.001
    assert aligned["pixel_shift"] == [0, 0]
    assert aligned["pixel_shift_estimated"] == pytest.approx([0, 0], abs=0.02)
    assert aligned["matching_score_after"] is None
    assert failed["pixel_shift"] is None
    assert failed["pixel_shift_sigma"] is None
    assert "cloud" in failed["details"].lower() or len(failed["details"]) > 20


def test_the_manifest_lists_every_file_with_its_digests(run: Delivered) -> None:
    manifest = json.loads((run.output / "manifest.json").read_text())
    assert manifest["name"] == "sample_order"
    files = visible(run.output)
    assert {entry["path"] for entry in manifest["files"]} == set(files) - {"manifest.json"}
    for entry in manifest["files"]:
        content = files[entry["path"]]
        assert entry["size"] == len(content)
        assert entry["digests"]["md5"] == hashlib.md5(content).hexdigest()
        assert entry["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
    by_path = {entry["path"]: entry for entry in manifest["files"]}
    image = by_path[f"PSScene/{MOVED}_3B_AnalyticMS_SR_8b_coreg_clip.tif"]
    assert image["media_type"] == "image/tiff"
    assert image["annotations"] == {
        "planet/asset_type": "ortho_analytic_8b_sr",
        "planet/bundle_type": "analytic_8b_sr_udm2",
        "planet/item_id": MOVED,
        "planet/item_type": "PSScene",
    }
    sidecar = by_path[f"PSScene/{MOVED}_coreg_qa_metadata.json"]
    assert sidecar["annotations"] == {"planet/item_id": MOVED, "planet/item_type": "PSScene"}


def test_the_table_holds_every_item(run: Delivered) -> None:
    with open(run.output / "coregistration.csv", newline="") as file:
        rows = {row["item"]: row for row in csv.DictReader(file)}
    assert list(rows) == [report.id for report in run.result.reports]
    assert rows[MOVED]["status"] == "coregistered"
    assert float(rows[MOVED]["shift_y"]) == run.sidecar(MOVED)["pixel_shift"][1]
    assert rows[OVERCAST]["shift_y"] == ""
    table = run.result.to_dataframe()
    assert table.loc[MOVED, "shift_x"] == run.sidecar(MOVED)["pixel_shift"][0]


def test_a_second_run_does_nothing(run: Delivered) -> None:
    stamps = {path: path.stat().st_mtime_ns for path in (run.output / "PSScene").iterdir()}
    again = run_order(run.order.payload, input=run.order.folder, output=run.output)
    assert all(report.resumed for report in again.reports)
    assert [r.quality for r in again.reports] == [r.quality for r in run.result.reports]
    assert {path: path.stat().st_mtime_ns for path in (run.output / "PSScene").iterdir()} == stamps


def test_an_opened_order_aligns_as_the_run_did(run: Delivered) -> None:
    stack = open_order(run.order.folder, anchor=run.order.anchor_item, bands=["red"])
    aligned = stack.sel(time=stack.id.isin([MOVED, run.order.anchor_item])).coreg.align(run.order.anchor_item)
    one = aligned.sel(time=aligned.id == MOVED)[0, 0].compute()
    _, target = run.pair(MOVED, "AnalyticMS_SR_8b")
    with rasterio.open(target) as file:
        values, place = file.read(6), file.transform
    row, col = round((stack.rio.transform().f - place.f) / 3), round((place.c - stack.rio.transform().c) / 3)
    piece = one.values[max(row, 0) : row + file.height, max(col, 0) : col + file.width]
    there = values[max(-row, 0) :, max(-col, 0) :][: piece.shape[0], : piece.shape[1]]
    # one band is matched here and four there, which differ by hundredths of a pixel
    assert np.abs(piece.astype(int) - there)[piece > 0].mean() < 5


# --- orders made of real scenes


REAL = {
    "20200630_164149_0e3a": {},
    "20200701_164150_1_0f1a": {"content": (3, -2)},
    "20200702_164151_10_247a": {"zone": "EPSG:32621", "content": (0, 0)},
    "20200703_164152_11_2416": {"content": (0, 0)},
}
REAL_ANCHOR = "20200630_164149_0e3a"


def _raster(
    path: Path, values: NDArray[Any], place: Affine, crs: str, names: tuple[str, ...] = (), **options: Any
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": crs,
        "transform": place,
        "compress": "lzw",
    }
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values)
        if names:
            file.descriptions = names


@pytest.fixture(scope="module")
def real_order(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Landsat scene as four PSScene items of eight bands: moved, in another zone, and aligned already."""
    root = tmp_path_factory.mktemp("real") / "order"
    layers = []
    for band in (2, 2, 3, 3, 3, 4, 5, 5):
        with rasterio.open(data_dir / "l8_greenland_30m" / f"LC80030172015001LGN00_B{band}.tif") as file:
            layers.append(file.read(1))
            crs, place = file.crs.to_string(), file.transform
    whole = np.stack(layers)
    names = ("coastal_blue", "blue", "green_i", "green", "yellow", "red", "rededge", "nir")
    top, left, size = 420, 520, 360
    for item, plan in REAL.items():
        down, right = plan.get("content", (0, 0))
        values = whole[:, top + down : top + down + size, left + right : left + right + size].copy()
        there, item_crs = place * Affine.translation(left, top), crs
        if zone := plan.get("zone"):
            (x,), (y,) = to_crs(crs, zone, [there.c], [there.f])
            target = Affine(30, 0, 30 * round(x / 30) - 300, 0, -30, 30 * round(y / 30) + 300)
            warped = np.zeros((8, size + 60, size + 60), "uint16")
            reproject(
                values, warped, src_transform=there, src_crs=crs, dst_transform=target, dst_crs=zone,
                src_nodata=0, dst_nodata=0, resampling=Resampling.cubic,
            )  # fmt: skip
            values, there, item_crs = warped, target, zone
        folder = root / "files" / "PSScene" / item
        stem = f"{item}_3B"
        _raster(folder / "analytic_8b_sr_udm2" / f"{stem}_AnalyticMS_SR_8b_harmonized_clip.tif", values, there,
                item_crs, names, nodata=0)  # fmt: skip
        udm2 = np.zeros((8, *values.shape[1:]), "uint8")
        udm2[0], udm2[7] = values[0] > 0, values[0] == 0
        _raster(folder / "analytic_8b_sr_udm2" / f"{stem}_udm2_clip.tif", udm2, there, item_crs)
        visual = np.clip(values[[5, 3, 1]] // 40, 1, 255).astype("uint8")
        alpha = np.where(values[:1] > 0, 255, 0).astype("uint8")
        _raster(folder / "visual" / f"{stem}_Visual_clip.tif", np.concatenate([visual, alpha]), there, item_crs,
                photometric="rgb", alpha="yes")  # fmt: skip
        (folder / "analytic_8b_sr_udm2" / f"{stem}_AnalyticMS_8b_metadata_clip.xml").write_text("<xml/>")
        (folder / f"{item}_metadata.json").write_text(json.dumps({"id": item, "properties": {}}))
    return root


def real_payload(**tools: Any) -> dict[str, Any]:
    product = {"item_ids": list(REAL), "item_type": "PSScene"}
    return {
        "name": "real",
        "products": [
            product | {"product_bundle": "analytic_8b_sr_udm2"},
            product | {"product_bundle": "visual"},
        ],
        "tools": [{"coregister": {"anchor_item": REAL_ANCHOR}}, *({k: v} for k, v in tools.items())],
    }


@pytest.fixture(scope="module")
def real_run(real_order: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    output = tmp_path_factory.mktemp("real_out") / "out"
    return output, run_order(real_payload(), input=real_order, output=output)


def test_an_order_of_real_scenes_is_named_and_decided_right(
    real_order: Path, real_run: tuple[Path, RunResult]
) -> None:
    output, result = real_run
    assert result.problems == ()
    status = {report.id: str(report.quality.status) for report in result.reports}
    assert status == {
        "20200630_164149_0e3a": "anchor",
        "20200701_164150_1_0f1a": "coregistered",
        "20200702_164151_10_247a": "already_aligned",
        "20200703_164152_11_2416": "already_aligned",
    }
    moved = next(report for report in result.reports if report.id == "20200701_164150_1_0f1a")
    assert moved.quality.shift == pytest.approx((3, -2), abs=0.02)
    got = set(visible(output))
    for item, kind in status.items():
        end = "_anchor" if kind == "anchor" else "_coreg"
        folder = f"files/PSScene/{item}"
        assert {
            f"{folder}/analytic_8b_sr_udm2/{item}_3B_AnalyticMS_SR_8b_harmonized{end}_clip.tif",
            f"{folder}/analytic_8b_sr_udm2/{item}_3B_udm2{end}_clip.tif",
            f"{folder}/analytic_8b_sr_udm2/{item}_3B_AnalyticMS_8b_metadata_clip.xml",
            f"{folder}/visual/{item}_3B_Visual{end}_clip.tif",
            f"{folder}/{item}_metadata.json",
        } <= got
        sidecars = [name for name in got if name.endswith(f"{item}_coreg_qa_metadata.json")]
        assert len(sidecars) == (kind != "anchor")
    assert len(got) == 4 * 5 + 3 + 2


def test_an_aligned_item_of_another_zone_is_only_reprojected(
    real_order: Path, real_run: tuple[Path, RunResult]
) -> None:
    output, _ = real_run
    item = "20200702_164151_10_247a"
    folder = f"files/PSScene/{item}/analytic_8b_sr_udm2"
    sidecar = json.loads((output / folder / f"{item}_coreg_qa_metadata.json").read_text())
    assert (sidecar["projection_epsg_before"], sidecar["projection_epsg_after"]) == (32621, 32622)
    assert sidecar["pixel_shift"] == [0, 0]
    with rasterio.open(output / folder / f"{item}_3B_AnalyticMS_SR_8b_harmonized_coreg_clip.tif") as file:
        assert file.crs == "EPSG:32622"
        values, place = file.read(), file.transform
    anchor = real_order / f"files/PSScene/{REAL_ANCHOR}/analytic_8b_sr_udm2"
    with rasterio.open(anchor / f"{REAL_ANCHOR}_3B_AnalyticMS_SR_8b_harmonized_clip.tif") as file:
        truth, lattice = file.read(), file.transform
    col, row = ~lattice * (place.c, place.f)
    assert max(abs(col - round(col)), abs(row - round(row))) < 1e-9
    # there and back again is the same ground, smoothed twice
    back = values[:, -round(row) :, -round(col) :][:, : truth.shape[1], : truth.shape[2]]
    inner = slice(20, -20)
    one, two = back[5, inner, inner].astype(float), truth[5, inner, inner].astype(float)
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.98
    with rasterio.open(output / folder / f"{item}_3B_udm2_coreg_clip.tif") as file:
        udm2 = file.read()
    assert (udm2[7][values[0] == 0].mean()) > 0.98
    assert (udm2[0][values[0] > 0].mean()) > 0.98


def test_a_zip_archive_gives_the_same_files(
    real_order: Path, real_run: tuple[Path, RunResult], tmp_path: Path
) -> None:
    archive = shutil.make_archive(str(tmp_path / "order"), "zip", real_order)
    run_order(real_payload(), input=archive, output=tmp_path / "out")
    zipped, plain = visible(tmp_path / "out"), visible(real_run[0])
    assert set(zipped) == set(plain)
    for name, content in plain.items():
        assert zipped[name] == content, name


def test_a_flat_layout_and_cogs(real_order: Path, tmp_path: Path) -> None:
    from rio_cogeo.cogeo import cog_validate

    flat = tmp_path / "order"
    flat.mkdir()
    for path in real_order.rglob("*_SR_8b_*.tif"):
        shutil.copyfile(path, flat / path.name)
    result = run_order(real_payload(file_format={"format": "COG"}), input=flat, output=tmp_path / "out")
    assert result.problems == ()
    item = "20200701_164150_1_0f1a"
    target = tmp_path / "out" / f"{item}_3B_AnalyticMS_SR_8b_harmonized_coreg_clip.tif"
    assert cog_validate(target, strict=True)[0]


# --- what goes wrong


Change = Callable[[Path], None]


@pytest.fixture
def small(tmp_path: Path) -> SampleOrder:
    """An order of its own, to be damaged."""
    return write_sample_order(tmp_path / "order", size=224, seed=4)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def test_bad_items_are_delivered_untouched_and_named(small: SampleOrder, tmp_path: Path) -> None:
    """One file cut off, one that is no raster, one item without files, one elsewhere: the others go on."""
    folder = small.folder / "PSScene"
    (small.folder / "manifest.json").unlink()
    cut, junk, gone, far = sorted(set(small.truth) - {small.anchor_item})[:4]
    _truncate(folder / f"{cut}_3B_AnalyticMS_SR_8b_clip.tif")
    (folder / f"{junk}_3B_AnalyticMS_SR_8b_clip.tif").write_text("no raster")
    for path in folder.glob(f"{gone}*"):
        path.unlink()
    with rasterio.open(folder / f"{far}_3B_AnalyticMS_SR_8b_clip.tif", "r+") as file:
        file.transform = Affine.translation(1e5, 0) * file.transform
    result = run_order(small.payload, input=small.folder, output=tmp_path / "out")
    reports = {report.id: report for report in result.reports}
    assert set(reports) == set(small.truth)
    assert {reports[item].quality.status for item in (cut, junk, gone, far)} == {Status.FAILED}
    for item in (cut, junk):
        assert any(item in problem for problem in result.problems)
        name = f"{item}_3B_AnalyticMS_SR_8b_clip.tif"
        assert (tmp_path / "out" / "PSScene" / name).read_bytes() == (folder / name).read_bytes()
        sidecar = json.loads((tmp_path / "out" / "PSScene" / f"{item}_coreg_qa_metadata.json").read_text())
        assert sidecar["status"] == "failed"
        assert f"{item}_3B_udm2_clip.tif" in sidecar["output_item"]
    assert any(gone in problem for problem in result.problems)
    assert not any(far in problem for problem in result.problems)
    assert "does not overlap" in reports[far].quality.details
    assert any(r.quality.status is Status.COREGISTERED for r in result.reports)
    # what had a problem is tried again
    again = run_order(small.payload, input=small.folder, output=tmp_path / "out")
    assert {r.id for r in again.reports if not r.resumed} == {cut, junk, gone}


def test_a_damaged_mask_keeps_the_whole_item_as_it_is(small: SampleOrder, tmp_path: Path) -> None:
    (small.folder / "manifest.json").unlink()
    mask = small.folder / "PSScene" / f"{MOVED}_3B_udm2_clip.tif"
    _truncate(mask)
    result = run_order(small.payload, input=small.folder, output=tmp_path / "out")
    report = next(r for r in result.reports if r.id == MOVED)
    assert report.quality.status is Status.FAILED
    assert report.problems
    names = {path.name for path in (tmp_path / "out" / "PSScene").glob(f"{MOVED}*.tif")}
    assert names == {f"{MOVED}_3B_{a}_clip.tif" for a in ("AnalyticMS_SR_8b", "udm2", "Visual")}


def test_a_changed_input_is_done_again_and_nothing_else(small: SampleOrder, tmp_path: Path) -> None:
    (small.folder / "manifest.json").unlink()
    run_order(small.payload, input=small.folder, output=tmp_path / "out")
    image = small.folder / "PSScene" / f"{MOVED}_3B_AnalyticMS_SR_8b_clip.tif"
    with rasterio.open(image, "r+") as file:
        file.update_tags(new="1")
    (tmp_path / "out" / "PSScene" / f"{ALIGNED}_3B_udm2_coreg_clip.tif").unlink(missing_ok=True)
    again = run_order(small.payload, input=small.folder, output=tmp_path / "out")
    redone = {r.id for r in again.reports if not r.resumed}
    assert MOVED in redone
    assert redone <= {MOVED, ALIGNED}
    other = run_order(small.payload, input=small.folder, output=tmp_path / "out", threshold=0.1)
    assert not any(r.resumed for r in other.reports)
    anew = run_order(
        small.payload, input=small.folder, output=tmp_path / "out", threshold=0.1, overwrite=True
    )
    assert not any(r.resumed for r in anew.reports)
    # what an earlier run wrote under another name is gone
    assert not list((tmp_path / "out" / "PSScene").glob(f"{MOVED}_3B_AnalyticMS_SR_8b_clip.tif"))


def test_an_order_that_cannot_be_run_writes_nothing(small: SampleOrder, tmp_path: Path) -> None:
    output = tmp_path / "out"
    payload = json.loads(small.payload.read_text())

    def attempt(error: type[Exception], words: str, *, into: Path = output, **arguments: Any) -> None:
        given = {"payload": payload, "input": small.folder, "output": into} | arguments
        with pytest.raises(error, match=words):
            run_order(given.pop("payload"), **given)
        assert not output.exists() or not any(output.iterdir())

    missing = payload | {"tools": [{"coregister": {"anchor_item": "20220612_094512_27_ffff"}}]}
    attempt(PayloadError, "anchor", payload=missing)
    attempt(MissingFile, "nothing at this path", input=tmp_path / "nowhere")
    attempt(InvalidRequest, "resampling is one of", resampling="best")
    attempt(InvalidRequest, "threshold has to lie", threshold=2)
    attempt(InvalidRequest, "max_shift has to be", max_shift=-1)
    attempt(InvalidRequest, "no band 'swir'", band="swir")
    attempt(OutputConflict, "overlap", into=small.folder)
    attempt(OutputConflict, "overlap", into=small.folder / "out")
    attempt(OutputConflict, "overlap", into=tmp_path)
    for path in (small.folder / "PSScene").glob(f"{small.anchor_item}*"):
        path.unlink()
    attempt(AnchorNotFound, "No file of the anchor")


def test_an_anchor_that_cannot_be_read_is_named(small: SampleOrder, tmp_path: Path) -> None:
    image = small.folder / "PSScene" / f"{small.anchor_item}_3B_AnalyticMS_SR_8b_clip.tif"
    (small.folder / "manifest.json").unlink()
    _truncate(image)
    with pytest.raises(UnreadableFile, match=small.anchor_item):
        run_order(small.payload, input=small.folder, output=tmp_path / "out")
    image.write_text("no raster")
    with pytest.raises(UnreadableFile, match="cannot be used"):
        run_order(small.payload, input=small.folder, output=tmp_path / "out")


def test_only_the_geotransform_moves_if_nothing_is_to_be_resampled(
    small: SampleOrder, tmp_path: Path
) -> None:
    result = run_order(small.payload, input=small.folder, output=tmp_path / "out", resampling="none")
    for report in result.reports:
        if report.quality.status is not Status.COREGISTERED:
            continue
        name = f"{report.id}_3B_AnalyticMS_SR_8b"
        with (
            rasterio.open(small.folder / "PSScene" / f"{name}_clip.tif") as before,
            rasterio.open(tmp_path / "out" / "PSScene" / f"{name}_coreg_clip.tif") as after,
        ):
            np.testing.assert_array_equal(after.read(), before.read())
            assert after.crs == before.crs
            middle = [t * (100, 100) for t in (before.transform, after.transform)]
            xs, ys = transform(before.crs, "EPSG:32633", *zip(*middle, strict=True))
        assert report.quality.shift is not None
        assert (xs[1] - xs[0]) / 3 == pytest.approx(report.quality.shift.x, abs=1e-3)
        assert (ys[0] - ys[1]) / 3 == pytest.approx(report.quality.shift.y, abs=1e-3)
        sidecar = json.loads(
            (tmp_path / "out" / "PSScene" / f"{report.id}_coreg_qa_metadata.json").read_text()
        )
        assert sidecar["projection_epsg_after"] is None
