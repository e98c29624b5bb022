"""Products under their true names and folders, made of one image whose dates lie known shifts apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin
from scipy.ndimage import fourier_shift

FINE = ("blue", "green", "red", "nir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Date:
    """One acquisition: four bands on the finest pixels of a layout, and where it is cloudy."""

    when: datetime
    values: NDArray[np.uint16]
    cloud: NDArray[np.bool_]
    shift: tuple[float, float]
    """What has to be applied to it, rows and columns of the finest pixels."""
    west: float = 399_960.0
    north: float = 5_500_020.0
    epsg: int = 32633

    def coarse(self, factor: int) -> NDArray[np.uint16]:
        """Means over squares of pixels, shape (band, y, x)."""
        count, height, width = self.values.shape
        parts = self.values.reshape(count, height // factor, factor, width // factor, factor)
        return parts.mean((2, 4)).round().astype("uint16")

    def clouded(self, factor: int) -> NDArray[np.bool_]:
        """Squares of pixels that hold cloud."""
        height, width = self.cloud.shape
        return self.cloud.reshape(height // factor, factor, width // factor, factor).any((1, 3))


def dates(
    image: NDArray[Any], shifts: list[tuple[float, float]], *, side: int, clouds: float = 0.0, seed: int = 0
) -> Iterator[Date]:
    """Dates cut out of a four-band image, moved through its Fourier transform; every other has clouds."""
    rng = np.random.default_rng(seed)
    margin = 12
    for k, (down, right) in enumerate(shifts):
        moved = np.stack(
            [
                np.fft.ifftn(fourier_shift(np.fft.fftn(band.astype(float)), (-down, -right))).real
                for band in image
            ]
        )
        cut = moved[:, margin : margin + side, margin : margin + side]
        noisy = cut + rng.normal(0, 0.01 * cut.std(), cut.shape)
        cloud = np.zeros((side, side), bool)
        if k % 2 and clouds:
            rows, cols = np.mgrid[:side, :side]
            row, col = rng.integers(side // 4, 3 * side // 4, 2)
            cloud = (rows - row) ** 2 + (cols - col) ** 2 < clouds * side**2 / np.pi
            noisy[:, cloud] = noisy.max()
        yield Date(
            when=datetime(2020, 6, 1 + 5 * k, 10, 20, 31),
            values=noisy.round().clip(1, 65535).astype("uint16"),
            cloud=cloud,
            shift=(down, right),
        )


def write(
    path: Path,
    values: NDArray[Any],
    date: Date,
    pixel: float,
    *,
    nodata: float | None = None,
    tags: Mapping[str, str] | None = None,
    **options: Any,
) -> Path:
    """One raster of a product; JPEG 2000 by its name, lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = values if values.ndim == 3 else values[None]
    jp2 = path.suffix.lower() == ".jp2"
    own: dict[str, Any] = (
        {"QUALITY": "100", "REVERSIBLE": "YES"} if jp2 else {"tiled": True, "compress": "deflate"}
    )
    profile = {
        "driver": "JP2OpenJPEG" if jp2 else "GTiff",
        "count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype,
        "crs": f"EPSG:{date.epsg}", "transform": from_origin(date.west, date.north, pixel, pixel), "nodata": nodata,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile, **own, **options) as file:
        file.write(values)
        if tags:
            file.update_tags(**tags)
    return path


def sentinel2_l2a(root: Path, date: Date) -> str:
    """A SAFE folder of L2A: 10, 20 and 60 m, classes, true colour, metadata; the id of its item."""
    stamp = f"{date.when:%Y%m%dT%H%M%S}"
    name = f"S2A_MSIL2A_{stamp}_N0500_R065_T33UUU_20230101T000000"
    safe = root / f"{name}.SAFE"
    granule = safe / "GRANULE" / f"L2A_T33UUU_A008642_{stamp}"
    images, head = granule / "IMG_DATA", f"T33UUU_{stamp}"
    for band, values in zip(("B02", "B03", "B04", "B08"), date.values, strict=True):
        write(images / "R10m" / f"{head}_{band}_10m.jp2", values, date, 10)
    picture = (date.values[[2, 1, 0]] // 257).clip(1, 255).astype("uint8")
    write(images / "R10m" / f"{head}_TCI_10m.jp2", picture, date, 10)
    for factor, size, bands in ((2, 20, ("B05", "B8A", "B11")), (6, 60, ("B01", "B09"))):
        coarse = date.coarse(factor)
        for k, band in enumerate(bands):
            write(images / f"R{size}m" / f"{head}_{band}_{size}m.jp2", coarse[k], date, size)
        classes = np.where(date.clouded(factor), 9, 4 + coarse[2] % 2).astype("uint8")
        write(images / f"R{size}m" / f"{head}_SCL_{size}m.jp2", classes, date, size)
    (safe / "MTD_MSIL2A.xml").write_text("<n1:Level-2A_User_Product/>")
    (granule / "MTD_TL.xml").write_text("<n1:Level-2A_Tile_ID/>")
    return name


def sentinel2_l1c(root: Path, date: Date) -> str:
    """A SAFE folder of L1C, with a cloud mask in JPEG 2000."""
    stamp = f"{date.when:%Y%m%dT%H%M%S}"
    name = f"S2B_MSIL1C_{stamp}_N0400_R065_T33UUU_{stamp}"
    granule = root / f"{name}.SAFE" / "GRANULE" / f"L1C_T33UUU_A008642_{stamp}"
    for band, values in zip(("B02", "B03", "B04", "B08"), date.values, strict=True):
        write(granule / "IMG_DATA" / f"T33UUU_{stamp}_{band}.jp2", values, date, 10)
    for factor, size, band in ((2, 20, "B8A"), (6, 60, "B01")):
        write(granule / "IMG_DATA" / f"T33UUU_{stamp}_{band}.jp2", date.coarse(factor)[0], date, size)
    cloud = date.clouded(6).astype("uint8")
    write(granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", np.stack([cloud, 0 * cloud, 0 * cloud]), date, 60)
    (granule / "MTD_TL.xml").write_text("<n1:Level-1C_Tile_ID/>")
    return name


def landsat_l2(root: Path, date: Date, collection: str = "02") -> str:
    """Collection 2, Level 2: surface reflectance and temperature, quality bands, metadata."""
    name = f"LC08_L2SP_190027_{date.when:%Y%m%d}_20200823_{collection}_T1"
    scale = {"scales": (2.75e-05,), "offsets": (-0.2,)}
    for number, values in zip((2, 3, 4, 5), date.values, strict=True):
        _scaled(write(root / f"{name}_SR_B{number}.TIF", values, date, 30, nodata=0), **scale)
    write(root / f"{name}_ST_B10.TIF", date.values[3] // 2 + 20_000, date, 30, nodata=0)
    quality = np.where(date.cloud, 0b11000, 1 << 6).astype("uint16")
    write(root / f"{name}_QA_PIXEL.TIF", quality, date, 30, nodata=1)
    write(root / f"{name}_QA_RADSAT.TIF", 0 * quality, date, 30)
    (root / f"{name}_MTL.txt").write_text("GROUP = LANDSAT_METADATA_FILE\nEND\n")
    (root / f"{name}_thumb_small.jpeg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    return name


def landsat_l1(root: Path, date: Date) -> str:
    """Collection 1, Level 1: panchromatic at 15 m, the others at 30 m, no nodata value, lower case extensions."""
    name = f"LC08_L1TP_190027_{date.when:%Y%m%d}_20200707_01_T1"
    write(root / name / f"{name}_B8.tif", date.values[2], date, 15)
    for number, values in zip((2, 3, 4, 5), date.coarse(2), strict=True):
        write(root / name / f"{name}_B{number}.tif", values, date, 30)
    write(
        root / name / f"{name}_BQA.tif", np.where(date.clouded(2), 2720 | 16, 2720).astype("uint16"), date, 30
    )
    (root / name / f"{name}_MTL.txt").write_text("GROUP = L1_METADATA_FILE\nEND\n")
    return name


def hls(root: Path, date: Date, sensor: str = "S30") -> str:
    """HLS, with Fmask and angles; bands are int16 with a nodata value."""
    name = f"HLS.{sensor}.T33UUU.{date.when:%Y%jT%H%M%S}.v2.0"
    codes = ("B02", "B03", "B04", "B08") if sensor == "S30" else ("B02", "B03", "B04", "B05")
    for code, values in zip(codes, date.values, strict=True):
        write(root / f"{name}.{code}.tif", (values // 2).astype("int16"), date, 30, nodata=-9999)
    mask = np.where(date.cloud, 0b10, 0b1000000).astype("uint8")
    write(root / f"{name}.Fmask.tif", mask, date, 30, nodata=255)
    write(root / f"{name}.SZA.tif", np.full(mask.shape, 4200, "uint16"), date, 30, nodata=40000)
    (root / f"{name}.cmr.xml").write_text("<Granule/>")
    return name


def planet(root: Path, date: Date) -> str:
    """A PSScene with UDM2 and metadata."""
    name = f"{date.when:%Y%m%d_%H%M%S}_0e3a"
    write(root / f"{name}_3B_AnalyticMS_SR_clip.tif", date.values, date, 3, nodata=0)
    clear = (~date.cloud).astype("uint8")
    flags = np.stack([clear, *[0 * clear] * 4, 1 - clear, 0 * clear + 90, 0 * clear])
    write(root / f"{name}_3B_udm2_clip.tif", flags, date, 3)
    (root / f"{name}_metadata.json").write_text('{"properties": {}}')
    return name


def plain(root: Path, date: Date) -> str:
    """Files alike but for the band, with a mask beside them."""
    name = f"site_{date.when:%Y%m%d}"
    for band, values in zip(FINE, date.values, strict=True):
        write(root / f"{name}_{band}.tif", values, date, 5, nodata=0)
    write(root / f"{name}_clm.tif", date.cloud.astype("uint8"), date, 5)
    return name


def folders(root: Path, date: Date) -> str:
    """A folder for each date, whose files are named by bands alone."""
    name = f"{date.when:%Y%m%d}"
    for band, values in zip(("B02", "B03", "B04", "B08"), date.values, strict=True):
        write(root / name / f"{band}.TIF", values, date, 5, nodata=0)
    return name


LAYOUTS: Mapping[str, Callable[[Path, Date], str]] = {
    "Sentinel-2 L2A": sentinel2_l2a,
    "Sentinel-2 L1C": sentinel2_l1c,
    "Landsat C2 L2": landsat_l2,
    "Landsat C1 L1": landsat_l1,
    "HLS S30": hls,
    "Planet": planet,
    "{id}_{band}.tif": plain,
    "{id}/{band}.tif": folders,
}
"""Each writes one date of a product, and returns the id of its item."""


def _scaled(path: Path, *, scales: tuple[float, ...], offsets: tuple[float, ...]) -> None:
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = scales, offsets
