"""The samples are what they say: their truth is true, and their files are as a provider writes them."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.warp import reproject
from skimage.registration import phase_cross_correlation

from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.model import Shift
from coregstack.testing import (
    Conditions,
    SampleOrder,
    landscape,
    reflectance,
    sample_stack,
    scene_at,
    shifted_scene,
    write_sample_order,
)

PSSCENE = re.compile(
    r"^(\d{8}_\d{6}_\d{2}_[0-9a-f]{4})_3B_(AnalyticMS_SR_8b|AnalyticMS_8b_metadata|Visual|udm2)_clip\.(tif|xml)$"
)
NEIGHBOUR = "20220610_101442_44_2427"
ALIGNED = "20220613_094246_72_24a1"
LATER = "20220911_094801_05_248e"
OVERCAST = "20220616_095015_39_2447"


def measured(anchor: NDArray[np.generic], item: NDArray[np.generic]) -> NDArray[np.float64]:
    """Shift that scikit-image finds, the frame's edges faded out."""
    fade = np.hanning(anchor.shape[0])[:, None] * np.hanning(anchor.shape[1])
    pair = [(image - image.mean(dtype=np.float64)) * fade for image in (anchor, item)]
    return np.asarray(phase_cross_correlation(*pair, upsample_factor=100)[0])


# --- landscape


def test_landscape_is_deterministic_and_seeded() -> None:
    first = landscape((50, 70), seed=4)
    assert first.shape == (4, 50, 70)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(first, landscape((50, 70), seed=4))
    assert np.abs(first - landscape((50, 70), seed=5)).mean() > 0.01


def test_four_bands_are_four_of_the_eight() -> None:
    np.testing.assert_array_equal(landscape((40, 40)), landscape((40, 40), bands=8)[[1, 3, 5, 7]])


def test_landscape_goes_on_in_every_direction() -> None:
    rows, cols = np.ogrid[-300:-200, -1000:-900]
    values = reflectance(rows, cols)
    assert np.isfinite(values).all()
    assert values.min() > 0
    assert values.std() > 0.02


def test_landscape_has_the_statistics_of_a_scene() -> None:
    """Real scenes have a power spectrum near 1/f^2 to 1/f^3, and a near infrared apart from red."""
    image = landscape((512, 512)).astype(np.float64)
    fade = np.hanning(512)[:, None] * np.hanning(512)
    y, x = np.indices((512, 512)) - 256
    radius = np.hypot(y, x).astype(int).ravel()
    for band in image:
        power = np.abs(np.fft.fftshift(np.fft.fft2((band - band.mean()) * fade))) ** 2
        mean = np.bincount(radius, power.ravel()) / np.bincount(radius)
        f = np.arange(6, 200)
        assert -3 < np.polyfit(np.log(f), np.log(mean[f]), 1)[0] < -2
    alike = np.corrcoef(image.reshape(4, -1))
    assert alike[0, 2] > 0.8
    assert alike[3, 2] < 0.5
    soil = image[2] > 0.06
    assert np.corrcoef(image[2][soil], image[3][soil])[0, 1] < alike[3, 2]


def test_season_changes_fields_and_reverses_some() -> None:
    spring, autumn = (landscape((300, 300), season=season)[3].ravel() for season in (0.4, 0.7))
    day_after = landscape((300, 300), season=0.403)[3].ravel()
    assert np.corrcoef(spring, day_after)[0, 1] > 0.97
    assert np.corrcoef(spring, autumn)[0, 1] < 0.8


def test_bands_that_have_no_names_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="bands"):
        landscape((8, 8), bands=5)


# --- scenes


@pytest.mark.parametrize("shift", [(1.3, -2.7), (0.5, 0.5), (-0.25, 0.0), (7.2, 3.1)])
def test_shift_has_the_sign_and_size_that_skimage_finds(shift: tuple[float, float]) -> None:
    anchor = shifted_scene((400, 400), (0, 0)).values
    item = shifted_scene((400, 400), shift, conditions=Conditions(seed=7)).values
    for band in (2, 3):
        np.testing.assert_allclose(measured(anchor[band], item[band]), shift, atol=0.15)


def test_whole_pixel_shift_moves_the_same_ground_exactly() -> None:
    rows, cols = np.ogrid[0:60, 0:60]
    anchor, item = reflectance(rows, cols), reflectance(rows + 4, cols - 6)
    np.testing.assert_array_equal(item[:, :-4, 6:], anchor[:, 4:, :-6])


def test_scenes_do_not_share_noise() -> None:
    """Noise that is common to two scenes would vote for shift 0."""
    flat = Conditions(noise=300.0)
    rows, cols = np.ogrid[0:128, 0:128]
    pair = [
        scene_at(rows, cols, shift=shift, conditions=flat).values for shift in (Shift(0, 0), Shift(0, 1e-6))
    ]
    rest = [values - 1e4 * reflectance(rows, cols) for values in pair]
    assert abs(np.corrcoef(rest[0][0].ravel(), rest[1][0].ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("cover", [0.1, 0.4, 1.0])
def test_clouds_cover_the_share_that_was_asked_for(cover: float) -> None:
    scene = shifted_scene((400, 400), (0, 0), conditions=Conditions(seed=2, cloud_cover=cover))
    assert scene.cloud.mean() == pytest.approx(cover, abs=0.1)
    assert scene.values[0][scene.cloud].mean() > 3 * landscape((400, 400))[0].mean() * 1e4
    assert scene.values[3][scene.cloud].std() > 50
    assert scene.clear.any() == (cover < 1)


def test_masks_exclude_each_other_and_clear_ground_is_untouched() -> None:
    how = Conditions(seed=2, cloud_cover=0.3, footprint=12, gain_spread=0, offset_spread=0, noise=0)
    scene = shifted_scene((400, 400), (0.4, -0.2), conditions=how)
    masks = np.stack([scene.clear, scene.cloud, scene.haze, scene.shadow, ~scene.valid])
    np.testing.assert_array_equal(masks.sum(axis=0), 1)
    assert masks.any(axis=(1, 2)).all()
    rows, cols = np.ogrid[0:400, 0:400]
    ground = 1e4 * reflectance(rows + 0.4, cols - 0.2)
    # Clear pixels may still lie under the last 5 % of a cloud's rim and of its shadow's.
    bound = 1 + np.maximum(0.07 * ground, 0.05 * (5000 - ground))
    assert (np.abs(scene.values - ground) <= bound)[:, scene.clear].all()


def test_footprint_touches_all_sides_and_leaves_triangles_of_nodata() -> None:
    scene = shifted_scene((300, 340), (0, 0), conditions=Conditions(footprint=-12))
    valid = scene.valid
    assert not valid[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    for side in (valid[:2], valid[-2:], valid[:, :2], valid[:, -2:]):
        assert side.any()
    np.testing.assert_array_equal(scene.values == 0, np.broadcast_to(~valid, scene.values.shape))


@pytest.mark.parametrize("wrong", [{"cloud_cover": 1.5}, {"season": -0.1}, {"footprint": 45.0}])
def test_conditions_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(wrong))):
        Conditions(**wrong)


# --- stack


def test_stack_has_the_contract_of_a_stack(small_stack: xr.DataArray) -> None:
    assert small_stack.dims == ("time", "band", "y", "x")
    assert small_stack.dtype == np.uint16
    assert small_stack.rio.nodata == 0
    assert small_stack.rio.crs == CRS.from_epsg(32633)
    assert small_stack.rio.resolution() == (3.0, -3.0)
    assert small_stack.rio.transform().c % 3 == small_stack.rio.transform().f % 3 == 0
    assert list(small_stack.band.values) == ["blue", "green", "red", "nir"]
    assert small_stack.clear.dims == ("time", "y", "x")
    assert small_stack.clear.dtype == bool
    assert small_stack.id.dims == ("time",)
    assert len(set(small_stack.id.values)) == small_stack.sizes["time"]
    assert small_stack.time.dtype.kind == "M"
    assert bool(small_stack.clear[0].all())
    assert (small_stack.true_shift_y[0], small_stack.true_shift_x[0]) == (0, 0)
    assert float(np.abs(small_stack.true_shift_x).max()) <= 2.5


def test_stack_is_lazy_only_where_chunks_are_given() -> None:
    plain, chunked = (sample_stack(2, (40, 50), chunks=chunks) for chunks in (None, {"time": 1}))
    assert plain.chunks is None
    assert chunked.chunks is not None
    xr.testing.assert_identical(plain, chunked.compute())


def test_stack_shows_its_true_shifts() -> None:
    stack = sample_stack(3, (320, 320), seed=1, cloud_cover=0)
    for item in stack[1:]:
        truth = float(item.true_shift_y), float(item.true_shift_x)
        np.testing.assert_allclose(measured(stack[0, 3].values, item[3].values), truth, atol=0.15)


def test_stack_without_items_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="n has to be"):
        sample_stack(0)


# --- order


def files_of(order: SampleOrder, ending: str) -> list[Path]:
    return sorted(order.folder.glob(f"PSScene/*{ending}"))


def test_order_holds_the_files_of_every_item(sample_order: SampleOrder) -> None:
    names = {path.name for path in files_of(sample_order, "")}
    assert len(sample_order.truth) == 8
    for item in sample_order.truth:
        for ending in (
            "_3B_AnalyticMS_SR_8b_clip.tif",
            "_3B_udm2_clip.tif",
            "_3B_AnalyticMS_8b_metadata_clip.xml",
            "_metadata.json",
        ):
            assert f"{item}{ending}" in names
    for name in names:
        found = PSSCENE.match(name)
        assert (found and found[1] in sample_order.truth) or name.endswith("_metadata.json")


def test_manifest_lists_every_file_with_right_digests(sample_order: SampleOrder) -> None:
    manifest = json.loads((sample_order.folder / "manifest.json").read_text())
    listed = {entry["path"]: entry for entry in manifest["files"]}
    assert set(listed) == {f"PSScene/{path.name}" for path in files_of(sample_order, "")}
    for path, entry in listed.items():
        content = (sample_order.folder / path).read_bytes()
        assert entry["size"] == len(content)
        assert entry["digests"]["md5"] == hashlib.md5(content, usedforsecurity=False).hexdigest()
        assert entry["digests"]["sha256"] == hashlib.sha256(content).hexdigest()
        notes = entry["annotations"]
        assert notes["planet/item_type"] == "PSScene"
        assert notes["planet/item_id"] in path
        assert ("planet/asset_type" in notes) == (not path.endswith("_metadata.json"))
    anchor = listed[f"PSScene/{sample_order.anchor_item}_3B_Visual_clip.tif"]
    assert anchor["annotations"]["planet/bundle_type"] == "visual"
    assert anchor["annotations"]["planet/asset_type"] == "ortho_visual"


def test_payload_asks_for_what_was_delivered(sample_order: SampleOrder) -> None:
    payload = json.loads(sample_order.payload.read_text())
    bundles = {product["product_bundle"]: product["item_ids"] for product in payload["products"]}
    assert set(bundles["analytic_8b_sr_udm2"]) == set(sample_order.truth)
    assert {path.name[:23] for path in files_of(sample_order, "Visual_clip.tif")} == set(bundles["visual"])
    assert payload["tools"] == [{"coregister": {"anchor_item": sample_order.anchor_item}}]


def test_images_are_as_the_provider_writes_them(sample_order: SampleOrder) -> None:
    extents, systems = set(), {}
    for path in files_of(sample_order, "SR_8b_clip.tif"):
        with rasterio.open(path) as image:
            assert image.dtypes == ("uint16",) * 8
            assert image.nodata == 0
            assert image.descriptions[0] == "coastal_blue"
            assert image.descriptions[5] == "red"
            assert image.descriptions[7] == "nir"
            assert image.profile["tiled"]
            assert image.compression.name == "deflate"
            assert image.res == (3.0, 3.0)
            assert image.transform.c % 3 == image.transform.f % 3 == 0
            assert "atmospheric_correction" in json.loads(image.tags()["TIFFTAG_IMAGEDESCRIPTION"])
            share = (image.read(1) > 0).mean()
            extents.add(image.bounds)
            systems[path.name[:23]] = image.crs.to_epsg()
        assert 0.5 < share < 0.95
    assert len(extents) > 5
    assert {item for item, code in systems.items() if code == 32632} == {NEIGHBOUR}
    assert set(systems.values()) == {32632, 32633}


def test_udm2_follows_its_specification(sample_order: SampleOrder) -> None:
    for path in files_of(sample_order, "udm2_clip.tif"):
        with (
            rasterio.open(path) as mask,
            rasterio.open(str(path).replace("udm2", "AnalyticMS_SR_8b")) as image,
        ):
            bands, outside = mask.read(), image.read(1) == 0
            assert (mask.transform, mask.crs, mask.shape) == (image.transform, image.crs, image.shape)
            assert mask.descriptions[0] == "clear"
            assert mask.descriptions[5:] == ("cloud", "confidence", "unusable")
        assert bands.dtype == np.uint8
        np.testing.assert_array_equal(bands[:6].sum(axis=0), ~outside)
        assert not bands[:7, outside].any()
        np.testing.assert_array_equal(bands[7] & 1, outside)
        assert bands[6].max() <= 100


def test_visual_has_alpha_and_another_extent(sample_order: SampleOrder) -> None:
    for path in files_of(sample_order, "Visual_clip.tif"):
        with (
            rasterio.open(path) as picture,
            rasterio.open(str(path).replace("Visual", "AnalyticMS_SR_8b")) as image,
        ):
            assert picture.dtypes == ("uint8",) * 4
            assert picture.colorinterp[3] == ColorInterp.alpha
            assert picture.nodata is None
            assert picture.bounds != image.bounds
            inside = image.window(*picture.bounds)
            np.testing.assert_array_equal(picture.read(4) > 0, image.read(1, window=inside) > 0)


def test_metadata_tells_time_and_place(sample_order: SampleOrder) -> None:
    for item in sample_order.truth:
        feature = json.loads((sample_order.folder / "PSScene" / f"{item}_metadata.json").read_text())
        assert feature["id"] == item
        assert feature["properties"]["acquired"].replace("-", "").startswith(f"{item[:8]}T")
        lon, lat = np.array(feature["geometry"]["coordinates"][0]).T
        assert 11.9 < lon.min() < lon.max() < 12.1
        assert 48.0 < lat.min() < lat.max() < 48.2
        sheet = sample_order.folder / "PSScene" / f"{item}_3B_AnalyticMS_8b_metadata_clip.xml"
        space = {"ps": "http://schemas.planet.com/ps/v1/planet_product_metadata_geocorrected_level"}
        root = ElementTree.parse(sheet).getroot()
        assert root.findtext(".//ps:acquisitionDateTime", namespaces=space)[:4] == "2022"
        assert len(root.findall(".//ps:reflectanceCoefficient", space)) == 8


def on_anchor_lattice(order: SampleOrder, item: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Near infrared of the middle of the anchor, and of an item that GDAL has warped onto it."""
    name = "{}_3B_AnalyticMS_SR_8b_clip.tif"
    with (
        rasterio.open(order.folder / "PSScene" / name.format(order.anchor_item)) as anchor,
        rasterio.open(order.folder / "PSScene" / name.format(item)) as source,
    ):
        reference = anchor.read(8).astype(np.float32)
        warped = np.zeros_like(reference)
        reproject(
            rasterio.band(source, 8),
            warped,
            dst_transform=anchor.transform,
            dst_crs=anchor.crs,
            dst_nodata=0,
            resampling=Resampling.cubic,
        )
    middle = slice(110, -110), slice(110, -110)
    assert (warped[middle] > 0).all()
    return reference[middle], warped[middle]


@pytest.mark.parametrize(
    ("item", "within"),
    # Phase correlation itself is less sure where three months have changed the fields.
    [("20220618_093957_18_24af", 0.15), (NEIGHBOUR, 0.15), (ALIGNED, 0.15), (LATER, 0.3)],
)
def test_items_are_off_by_their_true_shift(sample_order: SampleOrder, item: str, within: float) -> None:
    found = measured(*on_anchor_lattice(sample_order, item))
    np.testing.assert_allclose(found, sample_order.truth[item], atol=within)


def test_truth_is_none_only_where_no_ground_is_seen(sample_order: SampleOrder) -> None:
    assert [item for item, shift in sample_order.truth.items() if shift is None] == [OVERCAST]
    assert sample_order.truth[sample_order.anchor_item] == Shift(0, 0)
    with rasterio.open(sample_order.folder / "PSScene" / f"{OVERCAST}_3B_udm2_clip.tif") as mask:
        assert not mask.read(1).any()


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    orders = [write_sample_order(tmp_path / name, size=48) for name in "ab"]
    digests = [(order.folder / "manifest.json").read_text() for order in orders]
    assert digests[0] == digests[1]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputConflict, match="not empty"):
        write_sample_order(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_order_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="size"):
        write_sample_order(tmp_path / "order", size=8)
