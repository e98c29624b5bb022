"""How each bad input is made: small scenes that are sound, and all the ways to break them.

A recipe is a function that is given a path and writes the file there. Every byte is made here, from
fixed seeds, so that no bad file has to be kept.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from odc.geo.crs import CRS as CRSOf
from rasterio.control import GroundControlPoint
from rasterio.rpc import RPC

from coregstack.geometry.lattice import transformer
from coregstack.model import Shift
from coregstack.testing import scene_at, shifted_scene

SIZE = 192
PIXEL = 3.0
WEST, NORTH = 600_000.0, 5_400_000.0
CRS = "EPSG:32633"
TRUTH = (1.3, -0.7)
TRANSFORM = Affine(PIXEL, 0, WEST, 0, -PIXEL, NORTH)


class Outcome(StrEnum):
    """What is promised of a bad input."""

    NAMED = "named as unreadable, delivered as it came"
    FAILED = "failed with its reason, delivered as it came"
    USED = "used as it is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One bad raster and what has to become of it."""

    name: str
    make: Callable[[Path], None]
    outcome: Outcome


@cache
def pixels(shift: tuple[float, float] = TRUTH, bands: int = 4) -> NDArray[np.uint16]:
    """A scene's pixels, shape (band, y, x); read-only because all tests share them."""
    values = shifted_scene((SIZE, SIZE), shift, seed=5, bands=bands).values
    values.setflags(write=False)
    return values


@cache
def seen(transform: Affine, shape: tuple[int, int], crs: str = CRS) -> NDArray[np.uint16]:
    """The scene as a raster on another grid shows it, shape (band, y, x)."""
    rows, cols = np.mgrid[0.5 : shape[0], 0.5 : shape[1]]
    x = transform.a * cols + transform.b * rows + transform.c
    y = transform.d * cols + transform.e * rows + transform.f
    if crs != CRS:
        x, y = transformer(CRSOf(crs), CRSOf(CRS)).transform(x, y)
    values = scene_at(
        (NORTH - y) / PIXEL - 0.5, (x - WEST) / PIXEL - 0.5, shift=Shift(*TRUTH), seed=5, bands=4
    )
    values.values.setflags(write=False)
    return values.values


def write_tiff(path: Path, values: NDArray[Any] | None = None, **profile: Any) -> None:
    """Write a GeoTIFF of a scene; `profile` changes whatever it names."""
    values = pixels() if values is None else values
    settings = {
        "driver": "GTiff", "count": len(values), "height": values.shape[1], "width": values.shape[2],
        "dtype": values.dtype.name, "crs": CRS, "transform": TRANSFORM, "nodata": 0,
        "tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate",
    } | profile  # fmt: skip
    with rasterio.open(path, "w", **{k: v for k, v in settings.items() if v is not None}) as out:
        out.write(values)


def write_jp2(path: Path, values: NDArray[Any] | None = None, **profile: Any) -> None:
    """Write a lossless JPEG 2000 of a scene; `profile` adds to its options."""
    values = pixels() if values is None else values
    with rasterio.open(
        path, "w", driver="JP2OpenJPEG", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype.name, crs=CRS, transform=TRANSFORM, QUALITY="100", REVERSIBLE="YES", **profile,
    ) as out:  # fmt: skip
        out.write(values)


def write_redirected(path: Path, domain: str, key: str, place: str) -> None:
    """Write a scene whose metadata tell GDAL that part of it is elsewhere."""
    if path.suffix == ".jp2":
        with rasterio.open(
            path, "w", driver="JP2OpenJPEG", count=4, height=SIZE, width=SIZE, dtype="uint16", crs=CRS,
            transform=TRANSFORM, WRITE_METADATA="YES",
        ) as out:  # fmt: skip
            out.write(pixels())
            out.update_tags(ns=domain, **{key: place})
        return
    write_tiff(path)
    with rasterio.open(path, "r+") as out:
        out.update_tags(ns=domain, **{key: place})


def write_gml(path: Path, crs: str) -> None:
    """Write a JPEG 2000 whose only georeference is GML, in which the CRS goes by a name of at most 27 bytes."""
    write_jp2(path, GeoJP2="NO", GMLJP2="YES")
    data, known = path.read_bytes(), b"urn:ogc:def:crs:EPSG::32633"
    assert known in data
    assert len(crs) <= len(known)
    path.write_bytes(data.replace(known, crs.encode().ljust(len(known), b"/")))


@cache
def tiff_bytes(codec: str = "deflate") -> bytes:
    """A sound GeoTIFF."""
    with rasterio.MemoryFile() as memory:
        write_tiff(Path(memory.name), compress=None if codec == "none" else codec)
        return bytes(memory.getbuffer())


@cache
def jp2_bytes() -> bytes:
    """A sound JPEG 2000 file."""
    with rasterio.MemoryFile(ext=".jp2") as memory:
        write_jp2(Path(memory.name))
        return bytes(memory.getbuffer())


@cache
def mask_bytes() -> bytes:
    """A sound eight-band usable data mask."""
    values = np.zeros((8, SIZE, SIZE), np.uint8)
    values[0, :, 20:] = 1
    values[5, :, :20] = 1
    values[6] = 90
    with rasterio.MemoryFile() as memory:
        write_tiff(Path(memory.name), values, nodata=None)
        return bytes(memory.getbuffer())


def flipped(data: bytes, seed: int, count: int, start: float = 0.0, end: float = 1.0) -> bytes:
    """`count` bytes of a file changed, at places between two shares of its length."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for at in rng.integers(int(start * len(out)), max(int(end * len(out)), 1), count):
        out[at] ^= int(rng.integers(1, 256))
    return bytes(out)


def claiming(width: int, height: int, bands: int, *, tile: int = 0) -> bytes:
    """A BigTIFF of a few hundred bytes that claims a size and holds no pixels.

    With `tile` it claims tiles of that side, else one strip that holds the whole raster.
    """
    entries: list[tuple[int, int, int, int]] = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, bands),
        (284, 3, 1, 1), (339, 3, 1, 1),
    ]  # fmt: skip
    if tile:
        entries += [(322, 4, 1, tile), (323, 4, 1, tile), (324, 16, 1, 0), (325, 16, 1, 0)]
    else:
        entries += [(273, 16, 1, 0), (278, 4, 1, height), (279, 16, 1, 0)]
    doubles = {33550: (PIXEL, PIXEL, 0.0), 33922: (0.0, 0.0, 0.0, WEST, NORTH, 0.0)}
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    at = 16 + 8 + 20 * (len(entries) + 3) + 8
    extra = b""
    for tag, values in doubles.items():
        entries.append((tag, 12, len(values), at + len(extra)))
        extra += struct.pack(f"<{len(values)}d", *values)
    entries.append((34735, 3, len(keys), at + len(extra)))
    extra += struct.pack(f"<{len(keys)}H", *keys)
    body = struct.pack("<Q", len(entries))
    for tag, kind, count, value in sorted(entries):
        body += struct.pack("<HHQ", tag, kind, count)
        body += struct.pack("<HHHH", value, 0, 0, 0) if (kind, count) == (3, 1) else struct.pack("<Q", value)
    return struct.pack("<2sHHHQ", b"II", 43, 8, 0, 16) + body + struct.pack("<Q", 0) + extra


def _raw(data: Callable[[], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data()) and None  # type: ignore[func-returns-value]


def _tiff(values: Callable[[], NDArray[Any]] | None = None, **profile: Any) -> Callable[[Path], None]:
    return lambda path: write_tiff(path, None if values is None else values(), **profile)


def _constant(value: float, dtype: str = "uint16") -> Callable[[], NDArray[Any]]:
    return lambda: np.full((4, SIZE, SIZE), value, dtype)


def _with_infinities() -> NDArray[np.float32]:
    values = pixels().astype(np.float32)
    values[:, 40:60, 40:60] = np.nan
    values[:, 100:110, 30:50] = np.inf
    values[:, 120:130, 30:50] = -np.inf
    return values


def _gcps(path: Path) -> None:
    corners = ((0, 0), (0, SIZE), (SIZE, 0), (SIZE, SIZE))
    points = [
        GroundControlPoint(row=r, col=c, x=WEST + PIXEL * c, y=NORTH - PIXEL * r, z=0) for r, c in corners
    ]
    with rasterio.open(path, "w", driver="GTiff", count=4, height=SIZE, width=SIZE, dtype="uint16") as out:
        out.gcps = points, rasterio.CRS.from_string(CRS)
        out.write(pixels())


def _rpcs(path: Path) -> None:
    one = [1.0] + [0.0] * 19
    with rasterio.open(path, "w", driver="GTiff", count=4, height=SIZE, width=SIZE, dtype="uint16") as out:
        out.rpcs = RPC(
            err_bias=0, err_rand=0, height_off=0, height_scale=1, lat_off=48, lat_scale=1, line_den_coeff=one,
            line_num_coeff=one, line_off=0, line_scale=1, long_off=16, long_scale=1, samp_den_coeff=one,
            samp_num_coeff=one, samp_off=0, samp_scale=1,
        )  # fmt: skip
        out.write(pixels())


def _redirected(domain: str, key: str) -> Callable[[Path], None]:
    return lambda path: write_redirected(path, domain, key, str(path.with_name("other.tif")))


def _vrt(path: Path) -> None:
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>{CRS}</SRS><GeoTransform>{WEST},3,0,{NORTH},0,-3'
        '</GeoTransform><VRTRasterBand dataType="Byte" band="1" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionType>f</PixelFunctionType><PixelFunctionLanguage>Python</PixelFunctionLanguage>"
        "<PixelFunctionCode><![CDATA[\nimport pathlib\ndef f(*a, **k):\n    pathlib.Path('owned').touch()\n]]>"
        "</PixelFunctionCode></VRTRasterBand></VRTDataset>"
    )


def _on(transform: Affine, shape: tuple[int, int] = (SIZE, SIZE), crs: str = CRS) -> Callable[[Path], None]:
    return lambda path: write_tiff(path, seen(transform, shape, crs), transform=transform, crs=crs)


DEGREE = Affine(4.1e-5, 0, 16.3555, 0, -2.7e-5, 48.7435)
"""A geographic grid over the scene."""


def named_crs(path: Path, name: bytes) -> None:
    """A scene far away in a CRS that nobody knows, under any name of at most 24 bytes."""
    known, place = "a name of 24 characters.", Affine.translation(9e5, 9e5) * TRANSFORM
    wkt = (
        f'PROJCS["{known}",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM'
        '["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],PARAMETER'
        '["latitude_of_origin",0],PARAMETER["central_meridian",15],PARAMETER["scale_factor",0.9996],PARAMETER'
        '["false_easting",500001],PARAMETER["false_northing",0],UNIT["metre",1]]'
    )
    write_tiff(path, crs=wkt, transform=place)
    data = path.read_bytes()
    assert data.count(known.encode()) == 1
    path.write_bytes(data.replace(known.encode(), name.ljust(len(known))))


def nodata_out_of_range(path: Path) -> None:
    """A uint16 scene whose nodata tag reads -9999, as many tools write it."""
    write_tiff(path, nodata=11_111)
    data = path.read_bytes()
    assert data.count(b"11111\0") == 1
    path.write_bytes(data.replace(b"11111\0", b"-9999\0"))


N, F, U = Outcome.NAMED, Outcome.FAILED, Outcome.USED

RASTERS: tuple[Recipe, ...] = tuple(
    Recipe(name=name, make=make, outcome=outcome)
    for name, make, outcome in (
        ("empty file", _raw(bytes), N),
        ("text", _raw(lambda: b"not a raster\n" * 100), N),
        ("eight bytes of TIFF", _raw(lambda: tiff_bytes()[:8]), N),
        ("TIFF cut in its header", _raw(lambda: tiff_bytes()[:300]), N),
        ("TIFF cut in its pixels", _raw(lambda: tiff_bytes()[: len(tiff_bytes()) * 2 // 3]), N),
        ("TIFF without its last byte", _raw(lambda: tiff_bytes()[:-1]), N),
        ("TIFF with damaged tiles", _raw(lambda: flipped(tiff_bytes(), 1, 400, 0.2)), N),
        ("TIFF with a damaged header", _raw(lambda: flipped(tiff_bytes(), 2, 60, 0.0, 0.003)), N),
        ("JPEG 2000 cut in its header", _raw(lambda: jp2_bytes()[:60]), N),
        ("JPEG 2000 cut in its pixels", _raw(lambda: jp2_bytes()[: len(jp2_bytes()) // 2]), N),
        ("JPEG 2000 with a few bytes after its end", _raw(lambda: jp2_bytes() + b"\xff\xd9\0\1\2\3"), N),
        ("JPEG 2000 that lost bytes in its middle", _raw(lambda: jp2_bytes()[:90] + jp2_bytes()[113:]), N),
        ("JPEG 2000 with damaged pixels", _raw(lambda: flipped(jp2_bytes(), 4, 4000, 0.1)), F),
        ("TIFF that claims 1e6 x 1e6 pixels", _raw(lambda: claiming(10**6, 10**6, 1, tile=512)), N),
        ("TIFF that claims 1e6 x 1e6 pixels in a strip", _raw(lambda: claiming(10**6, 10**6, 1)), N),
        ("TIFF that claims 10,000 bands", _raw(lambda: claiming(64, 64, 10_000)), N),
        ("TIFF that claims tiles of 1.6 GB", _raw(lambda: claiming(60_000, 60_000, 1, tile=40_000)), N),
        ("VRT with a function in Python, named .tif", _vrt, N),
        ("GDAL connection string as content", _raw(lambda: b"/vsicurl/http://127.0.0.1:9/a.tif"), N),
        ("overviews in another file", _redirected("OVERVIEWS", "OVERVIEW_FILE"), N),
        ("JPEG 2000 with overviews in another file", _redirected("OVERVIEWS", "OVERVIEW_FILE"), N),
        ("places of pixels in another file", _redirected("GEOLOCATION", "X_DATASET"), N),
        ("no CRS", _tiff(crs=None), N),
        ("no geotransform", _tiff(transform=None), N),
        ("ground control points only", _gcps, N),
        ("RPCs only", _rpcs, N),
        ("geotransform of numbers that no map has", _tiff(transform=Affine(3, 0, 1e300, 0, -3, NORTH)), N),
        ("geotransform that cannot be inverted", _tiff(transform=Affine(3, 0, WEST, 3, 0, NORTH)), N),
        ("geotransform with NaN", _tiff(transform=Affine(np.nan, 0, WEST, 0, -3, NORTH)), N),
        ("complex pixels", _tiff(lambda: pixels().astype("complex64")), N),
        ("all nodata", _tiff(_constant(0)), F),
        ("all NaN", _tiff(_constant(np.nan, "float32"), nodata=None), F),
        ("constant", _tiff(_constant(700)), F),
        ("far away", _tiff(transform=Affine.translation(9e5, 9e5) * TRANSFORM), F),
        ("in a CRS that is nowhere near", _tiff(crs="EPSG:32733", transform=TRANSFORM), F),
        ("on the other side of the world", _tiff(crs="EPSG:32610"), F),
        ("pixels of 3,000 km", _tiff(transform=Affine(3e6, 0, WEST - 3e8, 0, -3e6, NORTH + 3e8)), F),
        ("pixels of a nanometre", _tiff(transform=Affine(1e-9, 0, WEST + 90, 0, -1e-9, NORTH - 90)), F),
        ("one pixel", _tiff(lambda: pixels()[:, 90:91, 90:91].copy()), F),
        ("one row", _tiff(lambda: pixels()[:, 90:91].copy()), F),
        ("one band only, without name", _tiff(lambda: pixels()[:1].copy()), U),
        ("twelve bands", _tiff(lambda: np.tile(pixels(), (3, 1, 1))), U),
        ("rotated by 20 degrees", _on(TRANSFORM * Affine.translation(40, 0) * Affine.rotation(20)), U),
        ("sheared", _on(TRANSFORM * Affine.shear(10, 0)), U),
        ("geographic", _on(DEGREE, (192, 192), "EPSG:4326"), U),
        ("south-up", _tiff(lambda: pixels()[:, ::-1].copy(),
                           transform=Affine(PIXEL, 0, WEST, 0, PIXEL, NORTH - PIXEL * SIZE)), U),
        ("pixels that are not square", _on(Affine(PIXEL, 0, WEST, 0, -1.5 * PIXEL, NORTH), (128, 192)), U),
        ("pixels of another size", _on(Affine(3.3, 0, WEST, 0, -3.3, NORTH)), U),
        ("NaN and infinities", _tiff(_with_infinities, nodata=None), U),
        ("nodata that no pixel can have", nodata_out_of_range, U),
        ("no nodata", _tiff(nodata=None), U),
        ("wrong nodata", _tiff(nodata=65_535), U),
        ("uint8", _tiff(lambda: (pixels() // 64).astype("uint8"), photometric="MINISBLACK", alpha="NO"), U),
        ("nodata beside an alpha band", _tiff(lambda: (pixels() // 64).astype("uint8"), alpha="YES"), U),
        ("int8", _tiff(lambda: (pixels() // 128).astype("int8")), U),
        ("int16", _tiff(lambda: pixels().astype("int16"), nodata=-32_768), U),
        ("int64", _tiff(lambda: pixels().astype("int64")), U),
        ("float64", _tiff(lambda: pixels().astype("float64"), nodata=np.nan), U),
        ("JPEG 2000", write_jp2, U),
    )
)  # fmt: skip


JSON_TEXTS: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"{name: order}",
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "a number": b"7",
    "a list": b"[]",
    "null": b"null",
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "not a number": b'{"name": NaN}',
    "an endless number": b'{"name": ' + b"9" * 10_000 + b"}",
    "repeated keys": b'{"name": "a", "name": "b"}',
    "a NUL": b'{"name": "a\\u0000b"}',
    "half a surrogate": b'{"name": "\\ud800"}',
}
"""Texts that are no payload, no manifest and no metadata."""


def zip_bytes(members: dict[str, bytes]) -> bytes:
    """A zip archive, compressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, compress_type=zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def payload(ids: list[str], anchor: str, **more: Any) -> dict[str, Any]:
    """A payload as it is sent to the service."""
    return {
        "name": "hostile",
        "products": [{"item_ids": ids, "item_type": "PSScene", "product_bundle": "analytic_udm2"}],
        "tools": [{"coregister": {"anchor_item": anchor}}],
        **more,
    }


def as_text(value: Any) -> bytes:
    """JSON bytes of a value."""
    return json.dumps(value).encode()
