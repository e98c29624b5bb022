"""One raster file moved onto the anchor's lattice, streamed block by block, and nothing else changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import rasterio
from rasterio.io import DatasetWriter
from rasterio.shutil import copy as gdal_copy
from rasterio.windows import Window

from coregstack.errors import UnreadableFile
from coregstack.export.contents import copy_file
from coregstack.export.files import staged
from coregstack.export.movement import Movement, fill_values, output_box
from coregstack.export.plan import Content
from coregstack.geometry.lattice import frame_bounds, moved, same_place
from coregstack.matching.bands import class_bands
from coregstack.model import Displacement
from coregstack.pixels import newraster, raster
from coregstack.pixels.bandcache import BandCache, file_of
from coregstack.pixels.georeference import translate_georeference
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.warp import placed, placed_valid

BLOCK = 2048, 2048
"""Rows and columns that are moved at once, whole tiles of the output; large, so that few tiles are decoded twice."""


def write_moved(
    source: str,
    target: Path,
    content: Content,
    movement: Movement,
    cache: BandCache | None = None,
    *,
    nodata: float | None = None,
) -> None:
    """Write a raster onto the anchor's lattice, moved, in one interpolation.

    The output lies in the smallest box of the lattice that holds the whole moved footprint. An asset of
    another pixel size keeps it, unless the anchor's is asked for, on the lattice with the anchor's origin and CRS.
    Dtype, nodata, tags, descriptions, colours, scales, codec and internal mask are the source's.

    Parameters
    ----------
    source : str
        Path of a GeoTIFF or JPEG 2000 file.
    target : Path
        GeoTIFF to write; it appears only complete.
    content : Content
        What the raster holds.
    movement : Movement
        Where it goes.
    cache : BandCache, optional
        The open source, of which pixels are in memory already.
    nodata : float, optional
        Value of pixels without data, for a source that names none itself; none is written either.

    Raises
    ------
    UnreadableFile, MissingFile
        If the source cannot be read, or the target cannot be written.
    """
    header = raster.read_header(source) if cache is None else cache.header
    silent = header.nodata is None and header.alpha is None and not header.internal_mask
    header = replace(header, nodata=nodata) if silent else header
    with staged(target) as temporary:
        if movement.resampling == "none":
            _write_georeference(header, temporary, movement)
        else:
            _write_pixels(header, temporary, content, movement, cache)
        if movement.cog:
            averaged = content is Content.IMAGE and not class_bands(header, movement.nearest)
            make_cloud_optimised(temporary, averaged=averaged)


def output_name(path: Path) -> str:
    """File name of a moved raster: GeoTIFF whatever the source was."""
    return path.name if path.suffix.lower() in (".tif", ".tiff") else f"{path.stem}.tif"


def _write_pixels(
    header: RasterHeader, path: Path, content: Content, movement: Movement, cache: BandCache | None
) -> None:
    lattice, box, move = output_box(header, movement)
    image = content is Content.IMAGE
    classes = class_bands(header, movement.nearest) if image else ()
    top, _, left, _ = frame_bounds(box, lattice)
    with file_of(header, cache) as dataset, newraster.created(str(path), dataset, box) as out:
        for row, col, height, width in _blocks((box.shape[0], box.shape[1]), out):
            window = int(top) + row, int(left) + col, height, width
            values = placed(
                dataset,
                header,
                lattice,
                window,
                bands=range(header.count),
                move=move,
                resampling=movement.resampling if image else "nearest",
                nodata=header.nodata if image else None,
                fill=fill_values(header, content),
                nearest=classes,
                cache=cache,
            )
            inside = Window(col, row, width, height)
            out.write(values, window=inside)
            if header.internal_mask:
                out.write_mask(placed_valid(dataset, header, lattice, window, move), window=inside)


def _blocks(shape: tuple[int, int], out: DatasetWriter) -> Iterator[tuple[int, int, int, int]]:
    tile_rows, tile_cols = out.block_shapes[0]
    rows = max(tile_rows, BLOCK[0] // tile_rows * tile_rows)
    cols = max(tile_cols, BLOCK[1] // tile_cols * tile_cols)
    for row in range(0, shape[0], rows):
        for col in range(0, shape[1], cols):
            yield row, col, min(rows, shape[0] - row), min(cols, shape[1] - col)


def _write_georeference(header: RasterHeader, path: Path, movement: Movement) -> None:
    if isinstance(movement.move, Displacement):
        raise TypeError("a Movement has refused this")
    box = moved(header.box, movement.anchor, movement.move)
    if header.driver == "GTiff":
        copy_file(header.path, path)
        translate_georeference(path, box.affine.c - header.box.affine.c, box.affine.f - header.box.affine.f)
        if not same_place(raster.read_header(path).box, box):
            raise UnreadableFile(f"The geotransform of {header.path!r} could not be changed as it should be.")
        return
    with raster.opened(header.path) as dataset, newraster.created(str(path), dataset, box) as out:
        for row, col, height, width in _blocks((box.shape[0], box.shape[1]), out):
            values = raster.read_window(dataset, list(range(header.count)), row, col, (height, width))
            out.write(values, window=Window(col, row, width, height))


def make_cloud_optimised(path: Path, *, averaged: bool) -> None:
    """Turn a GeoTIFF that was written into a cloud-optimised one with overviews, in place.

    Parameters
    ----------
    path : Path
        GeoTIFF.
    averaged : bool
        Whether pixels of overviews are means; else, as for classes, one of the pixels is picked.

    Raises
    ------
    UnreadableFile
        If it cannot be written.
    """
    plain = path.with_name(path.name + ".plain.part")
    path.rename(plain)
    try:
        with raster.gdal(), rasterio.open(str(plain), driver="GTiff") as dataset:
            codec = str(dataset.profile.get("compress", "deflate")).upper()
            gdal_copy(
                dataset,
                str(path),
                driver="COG",
                compress=codec if codec in newraster.LOSSLESS - {"PACKBITS"} else "DEFLATE",
                predictor="YES",
                overview_resampling="AVERAGE" if averaged else "NEAREST",
                bigtiff="IF_SAFER",
                num_threads="1",
            )
    except raster.GDAL_ERRORS as error:
        raise UnreadableFile(f"{str(path)!r} cannot be written as COG ({error}).") from error
    finally:
        plain.unlink(missing_ok=True)
