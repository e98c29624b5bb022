"""New raster files with the properties of another; a file is complete or does not exist."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp
from rasterio.io import DatasetReader, DatasetWriter

from coregstack.errors import UnreadableFile
from coregstack.geometry.lattice import crs_of
from coregstack.pixels.bounds import check_size
from coregstack.pixels.raster import GDAL_ERRORS, gdal, name_of, usable_nodata
from coregstack.pixels.tifftags import is_whole

LOSSLESS = frozenset({"DEFLATE", "LZW", "ZSTD", "PACKBITS", "LZMA"})
"""Codecs that a moved raster inherits from its source; any other source is written with deflate."""


@contextmanager
def created(path: str, source: DatasetReader, box: GeoBox) -> Iterator[DatasetWriter]:
    """A new GeoTIFF on `box` with everything else (dtype, nodata, tags, names, codec) as in `source`.

    Raises
    ------
    UnreadableFile
        If the file cannot be written, for example because the disk is full, or would have more than
        ``COREGSTACK_MAX_PIXELS`` pixels.
    """
    check_size(name_of(source), (box.shape[0], box.shape[1]))
    with gdal():
        try:
            with DatasetWriter(path, "w", **_profile(source, box)) as target:
                copy_metadata(source, target)
                yield target
        except (*GDAL_ERRORS, ValueError) as error:
            raise UnreadableFile(f"{path!r} cannot be written ({error.__cause__ or error}).") from error
    check_complete(path)


def check_complete(path: str) -> None:
    """Make sure that all blocks of a GeoTIFF that was written are on disk.

    GDAL raises no error when the disk is full, or fails, while a file is closed.

    Raises
    ------
    UnreadableFile
        If a block, of the image or of its mask, or a tag is missing or lies beyond the end of the file.
    """
    if not is_whole(path):
        raise UnreadableFile(f"{path!r} was not written whole. Check the disk's free space and health.")


def _profile(source: DatasetReader, box: GeoBox) -> dict[str, Any]:
    structure = {key.upper(): value for key, value in source.tags(ns="IMAGE_STRUCTURE").items()}
    codec = structure.get("COMPRESSION", "DEFLATE").upper()
    codec = codec if codec in LOSSLESS else "DEFLATE"
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": box.shape[0],
        "width": box.shape[1],
        "count": source.count,
        "dtype": source.dtypes[0],
        "nodata": usable_nodata(source),
        "crs": crs_of(box).to_wkt(),
        "transform": box.affine,
        "compress": codec,
        "interleave": structure.get("INTERLEAVE", "pixel").lower(),
        "bigtiff": "IF_SAFER",
        "num_threads": 1,
    }
    if codec in ("DEFLATE", "LZW", "ZSTD"):
        profile["predictor"] = structure.get("PREDICTOR", "1")
    profile |= tiling((box.shape[0], box.shape[1]), source)
    return profile


def tiling(shape: tuple[int, int], source: DatasetReader | None = None) -> dict[str, Any]:
    """Creation options for tiles: the source's if it has fit ones, else squares of 256 or 512 pixels.

    A raster that a shift has made larger gets larger tiles rather than another row or column of nearly empty ones,
    which would have to be encoded as well.
    """
    sides = (512, 512) if min(shape) >= 512 else (256, 256)
    if source is not None:
        height, width = source.block_shapes[0]
        fit = height % 16 == width % 16 == 0 and max(height, width) <= 2048
        if width != source.width and fit:
            sides = height, width
        sides = _grown(sides[0], source.height, shape[0]), _grown(sides[1], source.width, shape[1])
    return {"tiled": True, "blockysize": sides[0], "blockxsize": sides[1]}


def _grown(side: int, before: int, after: int) -> int:
    """Side of tiles of which no more are needed after a raster has grown than before, if it has grown by little.

    Examples
    --------
    >>> _grown(512, 512, 515), _grown(512, 500, 503), _grown(512, 1024, 1400)
    (528, 512, 512)
    """
    wanted = math.ceil(after / math.ceil(before / side) / 16) * 16
    return wanted if side < wanted <= side * 5 // 4 else side


def copy_metadata(source: DatasetReader, target: DatasetWriter) -> None:
    """Carry tags, names, colours, scales and units over from one raster to another."""
    target.update_tags(**source.tags())
    for namespace in source.tag_namespaces():
        if namespace not in ("IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "TIFF"):
            target.update_tags(ns=namespace, **source.tags(ns=namespace))
    for band in source.indexes:
        target.update_tags(band, **source.tags(band))
        if source.descriptions[band - 1]:
            target.set_band_description(band, source.descriptions[band - 1])
    target.scales, target.offsets = source.scales, source.offsets
    target.units = tuple(unit or "" for unit in source.units)
    target.colorinterp = source.colorinterp
    if ColorInterp.palette in source.colorinterp:
        target.write_colormap(1, source.colormap(1))
