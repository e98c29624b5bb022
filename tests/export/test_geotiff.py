"""A moved file is one warp of its source on the anchor's lattice, and in all else the source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp, Resampling
from rasterio.env import getenv
from rasterio.transform import Affine
from rasterio.warp import reproject, transform
from rio_cogeo.cogeo import cog_info, cog_validate
from scipy import ndimage

from coregstack.errors import UnreadableFile
from coregstack.export.geotiff import write_moved
from coregstack.export.movement import Movement
from coregstack.export.plan import Content
from coregstack.model import Shift
from coregstack.pixels.raster import GDAL_OPTIONS, opened

WEST, NORTH = 300_000.0, 5_300_100.0
ANCHOR = GeoBox((300, 320), Affine(3, 0, WEST, 0, -3, NORTH), "EPSG:32633")
KERNELS = {"cubic": Resampling.cubic, "bilinear": Resampling.bilinear, "lanczos": Resampling.lanczos}
# bands, band 2 of which is brighter; smooth enough that rounding is all that may differ
SHAPE = 140, 150


def picture(shape: tuple[int, int] = SHAPE, bands: int = 3, dtype: str = "uint16") -> NDArray[Any]:
    """Texture of a few pixels' width, 200 to 4000, or 10 to 240 where that does not fit."""
    rng = np.random.default_rng(7)
    made = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), 1.5) for _ in range(bands)])
    made = (made - made.min()) / np.ptp(made)
    low, high = (10, 240) if np.dtype(dtype).itemsize == 1 else (200, 4000)
    return (low + (high - low) * made).astype(dtype)


def write(path: Path, values: NDArray[Any], box: GeoBox | None = None, **options: Any) -> Path:
    box = box or GeoBox(values.shape[1:], Affine(3, 0, WEST + 30, 0, -3, NORTH - 60), "EPSG:32633")
    profile = {
        "driver": "GTiff",
        "count": len(values),
        "height": values.shape[1],
        "width": values.shape[2],
        "dtype": values.dtype,
        "crs": str(box.crs),
        "transform": box.affine,
        "nodata": 0,
    }
    with rasterio.open(path, "w", **profile | options) as file:
        file.write(values)
    return path


def move(
    source: Path,
    shift: tuple[float, float],
    *,
    content: Content = Content.IMAGE,
    resampling: str = "cubic",
    cog: bool = False,
    anchor: GeoBox = ANCHOR,
) -> Path:
    target = source.with_name(f"{source.stem}_coreg.tif")
    write_moved(
        str(source),
        target,
        content,
        Movement(anchor=anchor, move=Shift(*shift), resampling=resampling, cog=cog),
    )
    return target


def one_warp(
    source: Path, like: Path, shift: tuple[float, float], resampling: Resampling, nodata: float | None = 0
) -> NDArray[Any]:
    """The oracle: a single reprojection by rasterio, the content moved by moving what is asked for."""
    with rasterio.open(source) as file, rasterio.open(like) as out:
        values = np.zeros(out.shape if file.count == 1 else (file.count, *out.shape), file.dtypes[0])
        asked = out.transform * Affine.translation(-shift[1], -shift[0])
        reproject(
            file.read() if file.count > 1 else file.read(1),
            values,
            src_transform=file.transform,
            src_crs=file.crs,
            dst_transform=asked,
            dst_crs=out.crs,
            src_nodata=nodata,
            dst_nodata=nodata,
            resampling=resampling,
            tolerance=1e-6,
            XSCALE=1,
            YSCALE=1,
        )
    return values.reshape(-1, *values.shape[-2:])


def place(path: Path, anchor: GeoBox = ANCHOR) -> tuple[float, float]:
    """Row and column of a file's first pixel in the anchor's lattice."""
    with rasterio.open(path) as file:
        col, row = ~anchor.affine * (file.transform.c, file.transform.f)
        return row, col


def other_zone(shape: tuple[int, int]) -> GeoBox:
    (west,), (north,) = transform("EPSG:32633", "EPSG:32632", [WEST + 100], [NORTH - 90])
    return GeoBox(shape, Affine(3, 0, 3 * round(west / 3), 0, -3, 3 * round(north / 3)), "EPSG:32632")


# --- pixels and place


@pytest.mark.parametrize("resampling", KERNELS)
@pytest.mark.parametrize("kind", ["same lattice", "other phase", "other zone"])
@pytest.mark.parametrize("shift", [(0.4, -1.7), (3.0, 0.25)])
def test_a_moved_file_is_one_warp_of_its_source(
    tmp_path: Path, kind: str, resampling: str, shift: tuple[float, float]
) -> None:
    box = {
        "same lattice": None,
        "other phase": GeoBox(SHAPE, Affine(3, 0, WEST + 31.4, 0, -3, NORTH - 59.2), "EPSG:32633"),
        "other zone": other_zone(SHAPE),
    }[kind]
    source = write(tmp_path / "scene.tif", picture(), box)
    target = move(source, shift, resampling=resampling)
    with rasterio.open(target) as file:
        got = file.read().astype(int)
        assert file.crs == "EPSG:32633"
        assert (file.transform.a, file.transform.e) == (3, -3)
    expected = one_warp(source, target, shift, KERNELS[resampling]).astype(int)
    inner = ndimage.binary_erosion((expected > 0).all(axis=0), iterations=4)
    assert inner.sum() > 0.85 * SHAPE[0] * SHAPE[1]
    # the package's Lanczos is exact on ramps, which GDAL's is not: 0.5 % of the contrast
    tolerance = 19 if resampling == "lanczos" and kind != "other zone" else 1
    assert np.abs(got - expected)[:, inner].max() <= tolerance
    row, col = place(target)
    assert abs(row - round(row)) < 1e-9
    assert abs(col - round(col)) < 1e-9


@pytest.mark.parametrize("shift", [(0.4, -1.7), (-12.5, 30.0)])
@pytest.mark.parametrize("kind", ["same lattice", "other phase", "other zone"])
def test_nothing_is_cropped_away(tmp_path: Path, kind: str, shift: tuple[float, float]) -> None:
    box = {
        "same lattice": None,
        "other phase": GeoBox(SHAPE, Affine(3, 0, WEST + 31.4, 0, -3, NORTH - 59.2), "EPSG:32633"),
        "other zone": other_zone(SHAPE),
    }[kind]
    values = picture()
    source = write(tmp_path / "scene.tif", values, box)
    with rasterio.open(move(source, shift, resampling="nearest")) as file:
        got = file.read()
    # every corner of the source is there, so is about every pixel
    assert abs(int((got[0] > 0).sum()) / values[0].size - 1) < 0.02
    rows, cols = np.nonzero(got[0])
    assert (rows.max() - rows.min() + 1, cols.max() - cols.min() + 1) >= SHAPE


def test_a_whole_shift_keeps_every_value(tmp_path: Path) -> None:
    values = picture()
    for resampling in (*KERNELS, "nearest"):
        target = move(write(tmp_path / f"{resampling}.tif", values), (2, -5), resampling=resampling)
        with rasterio.open(target) as file:
            np.testing.assert_array_equal(file.read(), values)
        assert place(target) == (20 + 2, 10 - 5)


def test_large_files_are_moved_block_by_block_without_seams(tmp_path: Path) -> None:
    values = picture((1100, 620), bands=1)
    source = write(tmp_path / "scene.tif", values, tiled=True, blockxsize=128, blockysize=128)
    target = move(source, (0.31, 0.77))
    expected = one_warp(source, target, (0.31, 0.77), Resampling.cubic)
    with rasterio.open(target) as file:
        got = file.read()
        assert file.block_shapes == [(128, 128)]
    inner = slice(4, -4)
    assert np.abs(got.astype(int) - expected)[:, inner, inner].max() <= 1


def test_a_shift_asks_for_no_further_tiles_that_are_nearly_empty(tmp_path: Path) -> None:
    values = picture((256, 300), bands=1)
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    near, far = (
        move(write(tmp_path / f"{name}.tif", values, **tiles), shift)
        for name, shift in (("near", (1.3, 2.2)), ("far", (-2.7, -1.1)))
    )
    for target in (near, far):
        with rasterio.open(target) as file:
            assert file.shape == (257, 301)
            # one row of tiles as before, and two columns, which had room
            assert file.block_shapes == [(272, 256)]


# --- data and no data


@pytest.mark.parametrize("kind", ["same lattice", "other zone"])
@pytest.mark.parametrize("nodata", [0, 255])
def test_valid_pixels_stay_valid_and_nodata_does_not_bleed(tmp_path: Path, kind: str, nodata: int) -> None:
    # values next to nodata, and contrasts that make a kernel overshoot it
    rng = np.random.default_rng(5)
    values = rng.choice([1, 2, 120, 253, 254], (2, *SHAPE)).astype("uint8")
    hole = np.zeros(SHAPE, bool)
    hole[50:80, 60:90] = True
    values[:, hole] = nodata
    box = other_zone(SHAPE) if kind == "other zone" else None
    source = write(tmp_path / "scene.tif", values, box, nodata=nodata)
    with rasterio.open(move(source, (0.5, 0.5))) as file:
        got = file.read()
        assert file.nodata == nodata
    with rasterio.open(move(source, (0.5, 0.5), resampling="nearest")) as file:
        empty = file.read(1) == nodata
    inner = ndimage.binary_erosion(~empty | ndimage.binary_fill_holes(~empty), iterations=3)
    # away from the hole's rim, holes are holes and data are data
    rim = ndimage.binary_dilation(empty, iterations=2) & ndimage.binary_dilation(~empty, iterations=2)
    assert not (got[:, inner & ~empty & ~rim] == nodata).any()
    assert (got[:, inner & empty & ~rim] == nodata).all()
    assert abs(int((got[0][inner] == nodata).sum()) - 30 * 30) < 70


def test_a_hole_leaves_its_neighbours_in_their_range(tmp_path: Path) -> None:
    values = np.full((1, *SHAPE), 1000, "uint16")
    values[0, 40:70, 40:70] = 0
    for box in (None, other_zone(SHAPE)):
        with rasterio.open(move(write(tmp_path / "scene.tif", values, box), (0.37, -0.61))) as file:
            assert set(np.unique(file.read())) <= {0, 999, 1000, 1001}


@pytest.mark.parametrize("box", [None, other_zone(SHAPE)], ids=["same lattice", "other zone"])
def test_bands_have_nodata_of_their_own(tmp_path: Path, box: GeoBox | None) -> None:
    values = np.full((2, *SHAPE), 1000, "uint16")
    values[1, 40:70, 40:70] = 0
    with rasterio.open(move(write(tmp_path / "scene.tif", values, box), (0.37, -0.61))) as file:
        got = file.read()
    inner = ndimage.binary_erosion(ndimage.binary_fill_holes(got[1] > 0), iterations=3)
    assert got[0][inner].min() >= 999
    assert set(np.unique(got[1])) <= {0, 999, 1000, 1001}
    assert 800 < (got[1][inner] == 0).sum() < 1000


@pytest.mark.parametrize("nodata", [np.nan, None])
def test_floats_keep_nan(tmp_path: Path, nodata: float | None) -> None:
    values = picture(dtype="float32")
    values[:, 30:60, 30:60] = np.nan
    source = write(tmp_path / "scene.tif", values, nodata=nodata)
    with rasterio.open(move(source, (0.5, 0.5))) as file:
        got = file.read()
        assert file.nodata is nodata or np.isnan(file.nodata)
        assert file.dtypes[0] == "float32"
    assert 800 < np.isnan(got[0, 5:-5, 5:-5]).sum() < 1000
    assert np.nanmin(got) > 0


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float64"])
def test_the_dtype_is_kept_and_integers_saturate(tmp_path: Path, dtype: str) -> None:
    limits = np.iinfo(dtype) if np.dtype(dtype).kind in "iu" else None
    values = picture(dtype=dtype)
    if limits is not None:
        values[:, ::2, ::2] = limits.max
    source = write(tmp_path / "scene.tif", values, nodata=None)
    with rasterio.open(move(source, (0.5, 0.5))) as file:
        assert file.dtypes == (dtype,) * 3
        assert file.nodata is None
        got = file.read()
    # wrapping round would make small numbers of large ones
    assert got[:, 3:-3, 3:-3].min() >= 0


def test_an_internal_mask_moves_along(tmp_path: Path) -> None:
    values = picture()
    path = tmp_path / "scene.tif"
    mask = np.ones(SHAPE, bool)
    mask[30:60, 40:80] = False
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        write(path, values, nodata=None)
        with rasterio.open(path, "r+") as file:
            file.write_mask(mask)
    for box_shift in ((1.0, -2.0), (0.3, 0.4)):
        target = move(path, box_shift)
        with rasterio.open(target) as file:
            assert file.mask_flag_enums[0] == [rasterio.enums.MaskFlags.per_dataset]
            moved = file.dataset_mask() > 0
            got = file.read()
        assert not list(target.parent.glob("*.msk"))
        hole = ~moved[5:-5, 5:-5]
        assert hole.sum() == 30 * 40
        # what was masked out was mixed into nothing that is valid
        valid = got[:, moved][0]
        assert valid.min() >= values[0].min() - 60
    with rasterio.open(move(path, (1.0, -2.0))) as file:
        np.testing.assert_array_equal(file.dataset_mask() > 0, mask)


@pytest.mark.parametrize("box", [None, other_zone(SHAPE)], ids=["same lattice", "other zone"])
def test_an_alpha_band_stays_one(tmp_path: Path, box: GeoBox | None) -> None:
    values = np.concatenate([picture(dtype="uint8"), np.full((1, *SHAPE), 255, "uint8")])
    values[3, :, :40] = 0
    source = write(tmp_path / "visual.tif", values, box, photometric="rgb", alpha="yes", nodata=None)
    with rasterio.open(move(source, (0.4, 0.6))) as file:
        got = file.read()
        assert file.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    assert set(np.unique(got[3])) == {0, 255}
    opaque = (got[3] == 255).sum() / (SHAPE[0] * (SHAPE[1] - 40))
    assert 0.97 < opaque < 1.03
    inner = ndimage.binary_erosion(got[3] == 255, iterations=3)
    expected = one_warp(source, move(source, (0.4, 0.6)), (0.4, 0.6), Resampling.cubic, nodata=None)
    assert np.abs(got[:3].astype(int) - expected[:3])[:, inner].max() <= 1


# --- masks


@pytest.mark.parametrize("box", [None, other_zone(SHAPE)], ids=["same lattice", "other zone"])
def test_udm2_moves_by_nearest_neighbour_with_its_own_fill(tmp_path: Path, box: GeoBox | None) -> None:
    rng = np.random.default_rng(1)
    values = np.zeros((8, *SHAPE), "uint8")
    values[0] = ndimage.uniform_filter(rng.normal(size=SHAPE), 9) > 0
    values[5] = 1 - values[0]
    values[6] = np.where(values[0], 91, 64)
    values[7, :9, :] = 2
    source = write(tmp_path / "udm2.tif", values, box, nodata=None)
    target = move(source, (5.4, -7.6), content=Content.UDM2)
    with rasterio.open(target) as file:
        got = file.read()
        assert file.nodata is None
    outside = got[0] + got[5] == 0
    assert 0 < outside.sum() < 0.2 * outside.size
    assert (got[:7, outside] == 0).all()
    assert (got[7, outside] == 1).all()
    for band in range(8):
        assert set(np.unique(got[band, ~outside])) <= set(np.unique(values[band]))
    if box is None:
        np.testing.assert_array_equal(got[:, ~outside].reshape(values.shape), values)
        # 5.4 down and 7.6 left of row 20, column 10, to the nearest pixel
        rows, cols = np.nonzero(~outside)
        row, col = place(target)
        assert (row + rows.min(), col + cols.min()) == (25, 2)


def test_udm_is_filled_with_blackfill(tmp_path: Path) -> None:
    values = np.full((1, *SHAPE), 0, "uint8")
    values[0, 20:30, 20:30] = 2 + 64
    with rasterio.open(
        move(write(tmp_path / "udm.tif", values, nodata=None), (0.5, 3.2), content=Content.UDM)
    ) as file:
        got = file.read(1)
    assert set(np.unique(got)) == {0, 1, 66}
    assert (got == 66).sum() == 100
    assert (got == 0).sum() == SHAPE[0] * SHAPE[1] - 100


def test_a_coarse_mask_keeps_its_pixels_and_moves_by_the_same_metres(tmp_path: Path) -> None:
    """As RapidEye has it: images of 5 m, masks of 50 m."""
    anchor = GeoBox((500, 500), Affine(5, 0, WEST, 0, -5, NORTH), "EPSG:32633")
    fine = GeoBox((400, 400), Affine(5, 0, WEST + 100, 0, -5, NORTH - 100), "EPSG:32633")
    coarse = GeoBox((40, 40), Affine(50, 0, WEST + 100, 0, -50, NORTH - 100), "EPSG:32633")
    image = np.full((1, 400, 400), 500, "uint16")
    image[0, 100:200, 150:300] = 3000
    udm = np.zeros((1, 40, 40), "uint8")
    udm[0, 10:20, 15:30] = 2
    shift = (31.0, -12.0)
    moved_image = move(write(tmp_path / "image.tif", image, fine), shift, anchor=anchor)
    moved_udm = move(
        write(tmp_path / "udm.tif", udm, coarse, nodata=None), shift, content=Content.UDM, anchor=anchor
    )
    with rasterio.open(moved_image) as file, rasterio.open(moved_udm) as mask:
        assert mask.res == (50, 50)
        x, y = (mask.transform.c - WEST) / 50, (NORTH - mask.transform.f) / 50
        assert (x, y) == (round(x), round(y))
        assert mask.bounds.left <= file.bounds.left
        assert mask.bounds.bottom <= file.bounds.bottom
        bright = np.argwhere(file.read(1) > 2000).mean(axis=0) + 0.5
        cloudy = np.argwhere(mask.read(1) == 2).mean(axis=0) + 0.5
        there = np.array(file.transform * bright[::-1])
        assert np.abs(there - np.array(mask.transform * cloudy[::-1])).max() <= 25
        np.testing.assert_allclose(there, (WEST + 100 + 225 * 5 - 60, NORTH - 100 - 150 * 5 - 155))


# --- all else


def test_everything_else_is_the_sources(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scene.tif", picture(), compress="lzw", predictor=2, tiled=True, blockxsize=64, blockysize=32,
        interleave="band",
    )  # fmt: skip
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("blue", None, "red")
        file.update_tags(
            TIFFTAG_IMAGEDESCRIPTION='{"sun": 61.3}', TIFFTAG_DATETIME="2020:06:30 16:41:49", own="1"
        )
        file.update_tags(ns="planet", item="x")
        file.update_tags(2, wavelength="560")
        file.scales, file.offsets = (1e-4, 1e-4, 2e-4), (0.0, -0.1, 0.0)
        file.units = ("reflectance", "reflectance", "")
    target = move(path, (0.4, 0.2))
    with rasterio.open(path) as before, rasterio.open(target) as after:
        for name in ("count", "dtypes", "nodata", "descriptions", "scales", "offsets", "units", "colorinterp",
                     "block_shapes", "interleaving", "compression"):  # fmt: skip
            assert getattr(after, name) == getattr(before, name), name
        assert after.tags() == before.tags()
        assert after.tags(ns="planet") == {"item": "x"}
        assert after.tags(2) == before.tags(2)
        assert after.tags(ns="IMAGE_STRUCTURE") == before.tags(ns="IMAGE_STRUCTURE")


def test_a_palette_is_kept(tmp_path: Path) -> None:
    classes = (np.arange(SHAPE[0] * SHAPE[1]).reshape(1, *SHAPE) // 900 % 5 + 1).astype("uint8")
    path = write(tmp_path / "classes.tif", classes)
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {k: (40 * k, 250 - 40 * k, 7, 255) for k in range(6)})
    with rasterio.open(path) as before, rasterio.open(move(path, (1, 1), resampling="nearest")) as after:
        assert after.colorinterp == (ColorInterp.palette,)
        assert after.colormap(1) == before.colormap(1)


def test_a_lossy_codec_becomes_deflate(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scene.tif", picture(dtype="uint8"), compress="jpeg", photometric="ycbcr", nodata=None
    )
    with rasterio.open(move(path, (0.5, 0.5))) as file:
        assert file.compression is rasterio.enums.Compression.deflate
        assert file.colorinterp == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)


def test_jpeg_2000_becomes_geotiff(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scene.jp2", picture(), driver="JP2OpenJPEG", nodata=None, quality="100", reversible="yes"
    )
    target = move(path, (0.4, -0.2))
    expected = one_warp(path, target, (0.4, -0.2), Resampling.cubic, nodata=None).astype(int)
    with rasterio.open(target) as file:
        assert file.driver == "GTiff"
        assert file.compression is rasterio.enums.Compression.deflate
        inner = slice(4, -4)
        assert np.abs(file.read().astype(int) - expected)[:, inner, inner].max() <= 1


@pytest.mark.parametrize("content", [Content.IMAGE, Content.UDM2])
def test_cogs_are_valid_with_overviews(tmp_path: Path, content: Content) -> None:
    values = picture((1200, 900), bands=8 if content is Content.UDM2 else 2, dtype="uint8")
    source = write(
        tmp_path / "scene.tif", values, nodata=None if content is Content.UDM2 else 0, compress="lzw"
    )
    with rasterio.open(source, "r+") as file:
        file.update_tags(own="1")
        file.descriptions = tuple(f"band {k}" for k in file.indexes)
    target = move(source, (0.4, 1.3), cog=True, content=content)
    valid, errors, warnings = cog_validate(target, strict=True)
    assert valid, (errors, warnings)
    info = cog_info(target)
    assert info.IFD[0].Blocksize == (512, 512)
    assert len(info.IFD) >= 2
    plain = source.with_name("plain.tif")
    write_moved(
        str(source), plain, content, Movement(anchor=ANCHOR, move=Shift(0.4, 1.3), resampling="cubic")
    )
    with rasterio.open(plain) as file, rasterio.open(target) as cog:
        np.testing.assert_array_equal(cog.read(), file.read())
        assert cog.compression is rasterio.enums.Compression.lzw
        assert cog.descriptions == file.descriptions
        assert cog.tags()["own"] == "1"
        if content is Content.UDM2:
            small = cog.read(1, out_shape=(cog.height // 2, cog.width // 2))
            assert set(np.unique(small)) <= set(np.unique(values[0])) | {0}


# --- only the geotransform


@pytest.mark.parametrize("kind", ["same", "zone", "jp2", "cog"])
def test_resampling_none_moves_only_the_geotransform(tmp_path: Path, kind: str) -> None:
    options: dict[str, Any] = {"compress": "deflate"}
    name = "scene.tif"
    if kind == "jp2":
        options, name = (
            {"driver": "JP2OpenJPEG", "quality": "100", "reversible": "yes", "nodata": None},
            "scene.jp2",
        )
    if kind == "cog":
        options = {"driver": "COG", "compress": "deflate"}
    source = write(tmp_path / name, picture(), other_zone(SHAPE) if kind == "zone" else None, **options)
    target = move(source, (1.25, -0.5), resampling="none")
    with rasterio.open(source) as before, rasterio.open(target) as after:
        np.testing.assert_array_equal(after.read(), before.read())
        assert after.crs == before.crs
        assert after.nodata == before.nodata
        moved = after.transform.c - before.transform.c, after.transform.f - before.transform.f
        if kind == "zone":
            middles = [t * (75, 70) for t in (before.transform, after.transform)]
            points = transform(before.crs, "EPSG:32633", *zip(*middles, strict=True))
            moved = points[0][1] - points[0][0], points[1][1] - points[1][0]
        assert moved == pytest.approx((-1.5, -3.75), abs=1e-6 if kind != "zone" else 1e-3)
        assert after.transform[:2] == before.transform[:2]


# --- failures leave nothing


def test_a_source_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    source = write(tmp_path / "scene.tif", picture((600, 600)), compress="deflate")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(UnreadableFile, match=r"scene\.tif"):
        move(source, (0.5, 0.5))
    assert [path.name for path in tmp_path.iterdir()] == ["scene.tif"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    source = write(tmp_path / "scene.tif", picture())
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UnreadableFile, match=r"cannot be written"):
        write_moved(
            str(source),
            tmp_path / "file" / "x.tif",
            Content.IMAGE,
            Movement(anchor=ANCHOR, move=Shift(0.5, 0.5), resampling="cubic"),
        )


def test_settings_of_others_do_not_hold_and_ours_are_made_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "scene.tif", picture())
    made = []
    enter = rasterio.Env.__enter__

    def counted(self: rasterio.Env) -> rasterio.Env:
        made.append(self)
        return enter(self)

    with rasterio.Env(GDAL_NUM_THREADS=3, GDAL_PAM_ENABLED=True):
        monkeypatch.setattr(rasterio.Env, "__enter__", counted)
        with opened(str(source)), opened(str(source)):
            assert GDAL_OPTIONS.items() <= getenv().items()
            move(source, (0.3, -0.4))
        assert getenv()["GDAL_NUM_THREADS"] == 3
    assert len(made) == 1
    with opened(str(source), alone=True):
        assert getenv()["GDAL_NUM_THREADS"] == "ALL_CPUS"
        with opened(str(source)):
            assert getenv()["GDAL_NUM_THREADS"] == "1"
