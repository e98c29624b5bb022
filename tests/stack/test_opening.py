"""Opening reads headers alone, and brings scenes of every kind onto the anchor's lattice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import reproject

import coregstack
from coregstack import open_scenes
from coregstack.errors import AnchorNotFound, InvalidRequest, InvalidStack, MissingFile, UnreadableFile
from coregstack.geometry.lattice import offset
from coregstack.pixels import raster
from coregstack.stack.conform import conform

WEST, NORTH = 300_000.0, 5_300_100.0


def write(
    path: Path,
    values: Any = None,
    *,
    west: float = WEST,
    north: float = NORTH,
    pixel: float = 3.0,
    crs: str | None = "EPSG:32633",
    names: tuple[str, ...] = (),
    tags: dict[str, str] | None = None,
    **options: Any,
) -> Path:
    """A small GeoTIFF with a smooth image."""
    if values is None:
        rows, cols = np.mgrid[:60, :80]
        x, y = west + pixel * cols, north - pixel * rows
        wave = 2000 + 700 * np.sin(x / 29) * np.cos(y / 37)
        values = np.stack([wave, wave / 2]).astype("uint16")
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": crs,
        "transform": Affine(pixel, 0, west, 0, -pixel, north),
        "nodata": 0,
    }
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values)
        if names:
            file.descriptions = names
        file.update_tags(**tags or {})
    return path


@pytest.fixture
def no_pixels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Reading any pixel raises."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a pixel was read")

    monkeypatch.setattr(raster, "read_window", refuse)
    monkeypatch.setattr(raster, "read_valid", refuse)
    monkeypatch.setattr(rasterio.io.DatasetReader, "read", refuse)
    monkeypatch.setattr(rasterio.vrt.WarpedVRT, "read", refuse)
    return


# --- laziness


@pytest.mark.usefixtures("no_pixels")
def test_nothing_but_headers_is_read_before_compute(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.tif", west=WEST + k, crs=f"EPSG:{32633 - k // 2}") for k in range(3)]
    stack = open_scenes(paths, anchor="0")
    quality = coregstack.estimate(stack, anchor="0")
    aligned = coregstack.apply(stack, quality)
    assert aligned.dims == ("time", "band", "y", "x")
    assert coregstack.align(stack, anchor=1).shape == stack.shape
    part = coregstack.align(stack.sel(band="1").isel(x=slice(0, 20)), anchor=0)
    with pytest.raises(AssertionError, match="a pixel was read"):
        part.compute(scheduler="synchronous")
    with pytest.raises(AssertionError, match="a pixel was read"):
        quality.status.compute(scheduler="synchronous")


@pytest.mark.usefixtures("no_pixels")
def test_an_order_is_opened_without_its_pixels(sample_order: Any) -> None:
    stack = coregstack.open_order(sample_order.folder, anchor=sample_order.anchor_item)
    assert stack.sizes["time"] == 8
    assert stack.band.values.tolist()[-1] == "nir"
    assert stack.id.values.tolist() == sorted(sample_order.truth)
    assert not np.isnat(stack.time.values).any()


@pytest.mark.usefixtures("no_pixels")
def test_a_thousand_scenes_open_with_one_look_at_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(tmp_path / "s0000.tif", np.ones((1, 16, 16), "uint8")).read_bytes()
    paths = [tmp_path / f"s{k:04d}.tif" for k in range(1000)]
    for path in paths:
        path.write_bytes(first)
    looks: Counter[str] = Counter()
    plain = raster.DatasetReader

    def counted(place: Any, *arguments: Any, **options: Any) -> Any:
        looks[Path(str(place)).name] += 1
        return plain(place, *arguments, **options)

    monkeypatch.setattr(raster, "DatasetReader", counted)
    stack = open_scenes(paths, anchor="s0500", times=np.arange(1000).astype("datetime64[s]"))
    aligned = coregstack.align(stack, anchor="s0500")
    assert aligned.sizes["time"] == 1000
    assert len(looks) == 1000
    assert set(looks.values()) == {1}


# --- what is opened


def test_coordinates_say_what_and_where(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "20200630_164149_0e3a_3B_AnalyticMS.tif", names=("blue", "red")),
        write(
            tmp_path / "second.tif", names=("blue", "red"), tags={"TIFFTAG_DATETIME": "2021:02:03 04:05:06"}
        ),
        write(tmp_path / "third.tif", names=("blue", "red")),
    ]
    stack = open_scenes(paths, anchor=0, chunks=(32, 48))
    assert stack.id.values.tolist() == [path.stem for path in paths]
    assert stack.source.values.tolist() == [str(path) for path in paths]
    assert stack.band.values.tolist() == ["blue", "red"]
    assert stack.time.values[0] == np.datetime64("2020-06-30T16:41:49")
    assert stack.time.values[1] == np.datetime64("2021-02-03T04:05:06")
    assert np.isnat(stack.time.values[2])
    assert stack.chunks == ((1, 1, 1), (2,), (32, 28), (48, 32))
    assert stack.rio.crs == "EPSG:32633"
    assert stack.rio.transform() == Affine(3, 0, WEST, 0, -3, NORTH)
    assert stack.rio.nodata == 0
    assert stack.spatial_ref.attrs["grid_mapping_name"] == "transverse_mercator"
    assert (stack.x.values[0], stack.y.values[0]) == (WEST + 1.5, NORTH - 1.5)
    assert stack.clear.dims == ("time", "y", "x")
    assert stack.clear.dtype == bool


def test_ids_and_times_may_be_given(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.tif") for k in "ab"]
    stack = open_scenes(paths, anchor="first", ids=["first", "second"], times=["2020-01-02T03:04Z", None])
    assert stack.id.values.tolist() == ["first", "second"]
    assert stack.time.values[0] == np.datetime64("2020-01-02T03:04")
    assert np.isnat(stack.time.values[1])


def test_the_anchor_may_be_named_by_file_time_and_day(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"s_{day}T101112.tif") for day in ("20200101", "20200102")]
    for anchor in (paths[1], str(paths[1]), paths[1].name, paths[1].stem, 1, -1):
        assert open_scenes(paths, anchor=anchor).sizes["time"] == 2
    for moment in ("2020-01-02T10:11:12", np.datetime64("2020-01-02T10:11:12"), "2020-01-02", "20200102"):
        assert open_scenes(paths, anchor=moment).sizes["time"] == 2


def test_bands_are_picked_by_name_or_position(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.tif", names=("blue", "red")) for k in "ab"]
    both = open_scenes(paths, anchor=0).values
    for bands in (["red"], [1], [-1], "red"):
        picked = open_scenes(paths, anchor=0, bands=bands)
        assert picked.band.values.tolist() == ["red"]
        np.testing.assert_array_equal(picked.values, both[:, 1:])


# --- scenes that differ


def scaled(path: Path, scales: tuple[float, ...], offsets: tuple[float, ...]) -> Path:
    with rasterio.open(write(path), "r+") as file:
        file.scales, file.offsets = scales, offsets
    return path


def test_scale_and_offset_are_told_where_all_bands_of_all_scenes_have_the_same(tmp_path: Path) -> None:
    alike = [scaled(tmp_path / f"{name}.tif", (1e-4, 1e-4), (-0.1, -0.1)) for name in "ab"]
    told = {"scale_factor": 1e-4, "add_offset": -0.1}
    assert open_scenes(alike, anchor="a").attrs.items() >= told.items()
    older = scaled(tmp_path / "older.tif", (1e-4, 1e-4), (0.0, 0.0))
    assert not {"scale_factor", "add_offset"} & set(open_scenes([*alike, older], anchor="a").attrs)
    classes = scaled(tmp_path / "classes.tif", (1e-4, 1.0), (-0.1, 0.0))
    assert "scale_factor" not in open_scenes([*alike, classes], anchor="a").attrs
    assert open_scenes([*alike, classes], anchor="a", bands=["1"]).attrs.items() >= told.items()
    plain = open_scenes([write(tmp_path / "plain.tif")], anchor="plain")
    assert not {"scale_factor", "add_offset"} & set(plain.attrs)


def test_extents_are_joined_and_filled_with_nodata(tmp_path: Path) -> None:
    near = write(tmp_path / "near.tif")
    far = write(tmp_path / "far.tif", west=WEST - 30, north=NORTH + 60)
    stack = open_scenes([near, far], anchor="near")
    assert stack.shape == (2, 2, 80, 90)
    assert stack.rio.transform() == Affine(3, 0, WEST - 30, 0, -3, NORTH + 60)
    with rasterio.open(near) as file:
        np.testing.assert_array_equal(stack.sel(time=stack.id == "near").values[0, :, 20:, 10:], file.read())
    assert (stack.values[0, :, :20] == 0).all()
    assert not stack.clear.values[0, :20].any()
    assert stack.clear.values[0, 20:, 10:].all()


def test_another_phase_is_interpolated_once_and_the_anchor_not_at_all(tmp_path: Path) -> None:
    anchor = write(tmp_path / "anchor.tif")
    other = write(tmp_path / "other.tif", west=WEST + 1.2, north=NORTH - 0.6)
    stack = open_scenes([anchor, other], anchor="anchor")
    with rasterio.open(anchor) as file:
        np.testing.assert_array_equal(stack.values[0, :, :60, :80], file.read())
    # both files sample one smooth function of the ground
    inner = slice(4, -5)
    moved = stack.values.astype(int)[:, :, inner, inner]
    assert np.abs(moved[0] - moved[1]).max() <= 8
    assert offset(conform(stack).box, conform(open_scenes([anchor], anchor=0)).box) == (0, 0)


@pytest.mark.parametrize(
    ("crs", "pixel"), [("EPSG:32633", 6.0), ("EPSG:32633", 1.5), ("EPSG:32632", 3.0), ("EPSG:4326", 3e-5)]
)
def test_another_crs_or_pixel_size_equals_one_warp_by_gdal(tmp_path: Path, crs: str, pixel: float) -> None:
    anchor = write(tmp_path / "anchor.tif")
    west, north = WEST, NORTH
    if crs != "EPSG:32633":
        (west,), (north,) = rasterio.warp.transform("EPSG:32633", crs, [WEST], [NORTH])
    rows, cols = np.mgrid[:150, :150]
    values = (2000 + 700 * np.sin(rows / 7) * np.cos(cols / 9))[None].astype("uint16")
    values[:, 40:60, 50:55] = 0
    other = write(tmp_path / "other.tif", values, west=west, north=north, pixel=pixel, crs=crs)
    stack = open_scenes([anchor, other], anchor="anchor", bands=[0])
    expected = np.zeros(stack.shape[2:], "uint16")
    with rasterio.open(other) as file:
        reproject(
            rasterio.band(file, 1),
            expected,
            dst_transform=stack.rio.transform(),
            dst_crs="EPSG:32633",
            dst_nodata=0,
            resampling=Resampling.cubic,
            tolerance=0,
        )
    got = stack.values[1, 0].astype(int)
    both = (got > 0) & (expected > 0)
    assert both.sum() > 1000
    assert np.mean((got > 0) != (expected > 0)) < 0.02
    assert np.abs(got - expected)[both].max() <= 2


def test_dtypes_are_widened_and_bands_matched_by_name(tmp_path: Path) -> None:
    red = np.full((1, 60, 80), 7, "uint8")
    four = np.stack([np.full((60, 80), k, "uint16") for k in (100, 200, 300, 400)])
    paths = [
        write(tmp_path / "four.tif", four, names=("blue", "green", "red", "nir")),
        write(tmp_path / "one.tif", red, names=("red",)),
    ]
    stack = open_scenes(paths, anchor="four")
    assert stack.dtype == np.uint16
    assert stack.band.values.tolist() == ["red"]
    assert np.unique(stack.values[0]).tolist() == [300]
    assert np.unique(stack.values[1]).tolist() == [7]


def test_a_valid_pixel_stays_valid_where_nodata_values_differ(tmp_path: Path) -> None:
    anchor = np.full((1, 60, 80), 9, "uint8")
    other = np.full((1, 60, 80), 255, "uint16")
    other[0, :10] = 0
    paths = [
        write(tmp_path / "anchor.tif", anchor, nodata=255),
        write(tmp_path / "other.tif", other, nodata=0),
        write(tmp_path / "phase.tif", other, nodata=0, west=WEST + 1),
    ]
    stack = open_scenes(paths, anchor="anchor")
    assert stack.rio.nodata == 255
    assert (stack.values[1, 0, :10, :80] == 255).all()
    assert np.abs(stack.values[1, 0, 10:60, :80].astype(int) - 255).max() == 1
    assert (stack.values[1, 0, 10:60, :80] != 255).all()
    assert (stack.values[2, 0, 12:58, 4:78] != 255).all()
    assert (stack.values[2, 0, :9, 4:78] == 255).all()


def test_an_alpha_band_masks_and_is_no_image_band(tmp_path: Path) -> None:
    picture = np.full((4, 60, 80), 120, "uint8")
    picture[3] = 255
    picture[3, :, :15] = 0
    path = write(tmp_path / "visual.tif", picture, photometric="rgb", alpha="yes", nodata=None)
    stack = open_scenes([path], anchor=0)
    assert stack.sizes["band"] == 3
    assert not stack.clear.values[0, :, :15].any()
    assert stack.clear.values[0, :, 15:].all()


def test_udm2_makes_the_clear_mask(sample_order: Any) -> None:
    stack = coregstack.open_order(sample_order.folder, anchor=sample_order.anchor_item, chunks=200)
    item = "20220622_095128_83_2416"
    one = stack.sel(time=stack.id == item)[0]
    name = sample_order.folder / "PSScene" / f"{item}_3B_udm2_clip.tif"
    with rasterio.open(name) as file:
        udm2, transform = file.read(), file.transform
    col = round((transform.c - stack.rio.transform().c) / 3)
    row = round((stack.rio.transform().f - transform.f) / 3)
    inside = one.clear.values[row : row + udm2.shape[1], col : col + udm2.shape[2]]
    np.testing.assert_array_equal(inside, (udm2[0] == 1) & (udm2[7] == 0))
    assert one.clear.values.sum() == inside.sum()


@pytest.mark.parametrize("kind", ["zone", "phase", "size"])
def test_pixels_are_the_same_for_any_chunks(tmp_path: Path, kind: str) -> None:
    anchor = write(tmp_path / "anchor.tif", west=WEST - 20, north=NORTH + 20)
    place = {"phase": {"west": WEST + 1.1}, "size": {"pixel": 2.0}, "zone": {"crs": "EPSG:32632"}}[kind]
    if kind == "zone":
        (west,), (north,) = rasterio.warp.transform("EPSG:32633", "EPSG:32632", [WEST], [NORTH])
        place |= {"west": west, "north": north}
    rng = np.random.default_rng(2)
    other = write(tmp_path / "other.tif", rng.integers(1, 4000, (2, 70, 70)).astype("uint16"), **place)
    whole = open_scenes([anchor, other], anchor="anchor").compute()
    for chunks in (17, (64, 5)):
        pieces = open_scenes([anchor, other], anchor="anchor", chunks=chunks).compute()
        np.testing.assert_array_equal(pieces.values, whole.values)
        np.testing.assert_array_equal(pieces.clear.values, whole.clear.values)


# --- what cannot be opened


def test_requests_that_cannot_be_honoured_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{k}.tif", names=("blue", "red")) for k in "ab"]
    cases: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (InvalidRequest, "No scene was given", {"paths": []}),
        (MissingFile, r"No file matches '.*/\*.png'", {"paths": f"{tmp_path}/*.png"}),
        (InvalidRequest, r"repeat: \['a'\]. By default they are file names", {"paths": [*paths, paths[0]]}),
        (InvalidRequest, "2 ids were expected, one for each item, not 1", {"ids": ["a"]}),
        (InvalidRequest, "2 times were expected, one for each item, not 3", {"times": [None] * 3}),
        (InvalidRequest, r"have to be unique, but these repeat: \['a'\]", {"ids": ["a", "a"]}),
        (InvalidRequest, "'yesterday week' is not a time", {"times": ["yesterday week", None]}),
        (InvalidRequest, "no band 'nir' in all scenes; they share blue, red", {"bands": ["nir"]}),
        (InvalidRequest, "no band 2 in all scenes", {"bands": [2]}),
        (InvalidRequest, "chunks has to be a positive number", {"chunks": 0}),
        (InvalidRequest, "chunks has to be a positive number", {"chunks": (1, 2, 3)}),
        (AnchorNotFound, "No item has the id or time 'c'. ", {"anchor": "c"}),
        (AnchorNotFound, "There are 2 items, so there is no item at position 2", {"anchor": 2}),
        (AnchorNotFound, "2 items have the time", {"times": ["2020-01-01"] * 2, "anchor": "2020-01-01"}),
    ]
    for error, words, change in cases:
        arguments = {"paths": paths, "anchor": "a"} | change
        with pytest.raises(error, match=words):
            open_scenes(arguments.pop("paths"), **arguments)


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    good = write(tmp_path / "good.tif")
    (tmp_path / "text.tif").write_text("no raster")
    (tmp_path / "cut.tif").write_bytes(good.read_bytes()[:60])
    write(tmp_path / "bare.tif", crs=None)
    complex_ = write(tmp_path / "complex.tif", np.ones((1, 8, 8), "complex64"), nodata=None)
    paths = [
        good,
        tmp_path / "text.tif",
        tmp_path / "cut.tif",
        tmp_path / "bare.tif",
        complex_,
        tmp_path / "none.tif",
    ]
    with pytest.raises(UnreadableFile) as error:
        open_scenes(paths, anchor="good")
    text = str(error.value)
    assert text.startswith("5 scenes cannot be opened")
    for words in (
        "neither GeoTIFF nor JPEG 2000",
        "cut.tif",
        "no usable georeference",
        "one integer or float type",
        "There is no file",
    ):
        assert words in text


def test_a_file_that_goes_away_or_breaks_off_is_named_when_it_is_read(tmp_path: Path) -> None:
    big = np.random.default_rng(1).integers(1, 4000, (1, 300, 300)).astype("uint16")
    paths = [write(tmp_path / f"{k}.tif", big, compress="deflate") for k in "ab"]
    stack = open_scenes(paths, anchor="a")
    paths[1].write_bytes(paths[1].read_bytes()[: 300 * 300])
    with pytest.raises(UnreadableFile, match=r"b\.tif"):
        stack[1].compute()
    paths[1].unlink()
    with pytest.raises(MissingFile, match=r"There is no file .*b\.tif"):
        stack[1].compute()


def test_scenes_without_a_common_band_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.tif", np.ones((1, 9, 9), "uint8"), names=("pan",))
    two = write(tmp_path / "two.tif", np.ones((2, 9, 9), "uint8"), names=("blue", "red"))
    with pytest.raises(InvalidStack, match=r"no band name in common: .* pan, .* blue, red\. bands=\[0\]"):
        open_scenes([one, two], anchor=0)


def test_a_rotated_anchor_is_refused(tmp_path: Path) -> None:
    turned = Affine(3, 0, WEST, 0, -3, NORTH) * Affine.rotation(5)
    path = write(tmp_path / "turned.tif", transform=turned)
    with pytest.raises(InvalidStack, match="'turned' has a rotated geotransform"):
        open_scenes([path], anchor=0)


def test_an_order_folder_has_to_hold_an_order(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="has to be a folder"):
        coregstack.open_order(tmp_path / "nowhere", anchor=0)
    with pytest.raises(MissingFile, match="holds no item of an order"):
        coregstack.open_order(tmp_path, anchor=0)
    with pytest.raises(InvalidRequest, match="is a file; a folder was expected"):
        coregstack.open_order(write(tmp_path / "a.tif"), anchor=0)
