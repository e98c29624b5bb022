"""Files that are moved without a copy: descriptions (VRT) that name them, with another geotransform."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.shutil import copy as gdal_copy
from rasterio.vrt import WarpedVRT

from coregstack.errors import CoregError, InvalidRequest, UnreadableFile
from coregstack.export.files import staged
from coregstack.export.movement import Movement, fill_values, output_box
from coregstack.export.plan import Asset, Content, ItemPlan
from coregstack.geometry.lattice import crs_of, moved, pixel_scale, same_crs
from coregstack.matching.bands import class_bands
from coregstack.model import Displacement
from coregstack.pixels import raster
from coregstack.pixels.bandcache import BandCache, file_of
from coregstack.pixels.header import RasterHeader
from coregstack.untrusted.addresses import WEB, Address

ENDING = ".vrt"
"""Of every description."""
ONE_SHIFT = (
    "A VRT leaves pixels where they are and changes the geotransform, which can only express one shift for a whole "
    "file, not a displacement that varies over it. Write GeoTIFFs, or use model='shift'."
)
"""Why a displacement that varies cannot be described."""

_HEAD = 2**16
"""Bytes in which a description of our own has said where it lies."""
_SIZE = re.compile(r'rasterXSize="(\d+)" rasterYSize="(\d+)"')
_SYSTEM = re.compile(r"<SRS\b[^>]*>([^<]*)</SRS>")
_PLACE = re.compile(r"<GeoTransform>([^<]*)</GeoTransform>")
_FILE = re.compile(r"<(SourceFilename|SourceDataset)\b[^>]*>[^<]*</\1>")
_VIRTUAL = {"https": "/vsicurl/", "http": "/vsicurl/", "s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"}
"""What GDAL puts before names of files that it reads over the network, by kind of address."""


def described(plan: ItemPlan) -> ItemPlan:
    """The plan of an item of which descriptions are written in place of rasters.

    Raises
    ------
    InvalidRequest
        If a file is reached by a secret, which a description would show.
    """
    return replace(plan, assets=tuple(map(_described, plan.assets)))


def write_vrt(
    source: str, target: Path, content: Content, movement: Movement | None, cache: BandCache | None = None
) -> None:
    """Describe a raster as it lies elsewhere; its bands, masks, nodata and metadata stay what they are.

    In the anchor's CRS the geotransform is moved and no pixel is interpolated. A raster of another CRS is described
    as warped onto the anchor's lattice, moved, which whoever reads it interpolates once.

    Parameters
    ----------
    source : str
        Path or address of a GeoTIFF or JPEG 2000 file. The description names it, relative to its own folder.
    target : Path
        VRT to write; it appears only complete.
    content : Content
        What the raster holds.
    movement : Movement, optional
        Where it goes; without one it is described as it lies.
    cache : BandCache, optional
        The open source.

    Raises
    ------
    InvalidRequest
        If a displacement that varies is to be applied, or the source is reached by a secret.
    UnreadableFile, MissingFile
        If the source cannot be read, or the target cannot be written.
    """
    header = raster.read_header(source) if cache is None else cache.header
    if movement is not None and isinstance(movement.move, Displacement):
        raise InvalidRequest(ONE_SHIFT)
    name, relative = _named(source, target.parent)
    with (
        staged(target) as temporary,
        file_of(header, cache) as dataset,
        _seen(header, dataset, content, movement) as (view, box),
    ):
        try:
            gdal_copy(view, str(temporary.absolute()), driver="VRT")
        except raster.GDAL_ERRORS as error:
            raise UnreadableFile(f"{str(target)!r} cannot be written ({error}).") from error
        text = temporary.read_text(encoding="utf-8")
        numbers = ", ".join(map(repr, box.affine.to_gdal()))
        text = _PLACE.sub(f"<GeoTransform>{numbers}</GeoTransform>", text, count=1)
        text = _FILE.sub(rf'<\1 relativeToVRT="{int(relative)}">{_literal(escape(name))}</\1>', text)
        temporary.write_text(text, encoding="utf-8")


def described_box(path: Path) -> GeoBox:
    """Where a description of our own says that its pixels lie.

    Raises
    ------
    UnreadableFile
        If it does not say so.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_HEAD)
        size, system, place = (pattern.search(text) for pattern in (_SIZE, _SYSTEM, _PLACE))
        if size is None or system is None or place is None:
            raise ValueError("no size, CRS or geotransform")
        numbers = [float(number) for number in place[1].split(",")]
        return GeoBox((int(size[2]), int(size[1])), Affine.from_gdal(*numbers), unescape(system[1]))
    except CoregError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise UnreadableFile(f"{str(path)!r} does not say where it lies ({error}).") from error


@contextmanager
def _seen(
    header: RasterHeader, dataset: DatasetReader, content: Content, movement: Movement | None
) -> Iterator[tuple[DatasetReader | WarpedVRT, GeoBox]]:
    """What is described, and where it is said to lie."""
    if movement is None or isinstance(movement.move, Displacement):
        yield dataset, header.box
        return
    if same_crs(header.box, movement.anchor):
        yield dataset, moved(header.box, movement.anchor, movement.move)
        return
    lattice, box, move = output_box(header, movement)
    assert not isinstance(move, Displacement)
    # seen where it lies, and said to lie where it is moved to
    before = box.affine * Affine.translation(-move.x, -move.y)
    kept = content is not Content.IMAGE or bool(class_bands(header, movement.nearest))
    kernel = "nearest" if kept or movement.resampling == "none" else movement.resampling
    scale = pixel_scale(header.box, lattice)
    masked = header.internal_mask and header.alpha is None
    fill = fill_values(header, content)
    # GDAL takes a NaN that pixels are to begin with for 0, but not one that is their nodata value
    nodata = np.nan if any(np.isnan(fill)) else header.nodata
    begin = ["NO_DATA" if np.isnan(value) else f"{value:.17g}" for value in fill]
    try:
        view = WarpedVRT(
            dataset,
            crs=crs_of(box).to_wkt(),
            transform=before,
            height=box.shape[0],
            width=box.shape[1],
            resampling=Resampling[kernel],
            src_nodata=nodata if content is Content.IMAGE else None,
            nodata=nodata,
            add_alpha=masked,
            tolerance=raster.WARP_TOLERANCE,
            num_threads=1,
            init_dest_nodata=False,
            INIT_DEST=",".join(begin),
            UNIFIED_SRC_NODATA="NO",
            YSCALE=repr(scale[0]),
            XSCALE=repr(scale[1]),
        )
    except (*raster.GDAL_ERRORS, OverflowError) as error:
        raise UnreadableFile(
            f"{header.path!r} cannot be put onto the lattice of the anchor ({error})."
        ) from error
    with view:
        yield view, box


def _described(asset: Asset) -> Asset:
    if asset.content is None:
        return asset
    _check_open(asset.source)
    name, coreg, anchor = (
        PurePosixPath(name).with_suffix(ENDING).name
        for name in (asset.name, asset.coreg_name, asset.anchor_name)
    )
    return replace(asset, name=name, coreg_name=coreg, anchor_name=anchor)


def _named(source: str, folder: Path) -> tuple[str, bool]:
    """How a description in a folder names a file, and whether that is relative to the folder."""
    _check_open(source)
    if isinstance(source, Address):
        whole = source if source.scheme in WEB else f"{source.bucket}/{source.key}"
        return f"{_VIRTUAL[source.scheme]}{whole}", False
    try:
        return os.path.relpath(os.path.realpath(source), os.path.realpath(folder)), True
    except ValueError:
        # on another drive
        return os.path.realpath(source), False


def _check_open(source: str) -> None:
    if isinstance(source, Address) and source.secret:
        raise InvalidRequest(
            f"{source!r} is reached by a secret, which a VRT would show to everyone who reads it. Write GeoTIFFs, or "
            "use an address without one."
        )


def _literal(text: str) -> str:
    """Text as it stands, in place of what a pattern has found."""
    return text.replace("\\", r"\\")
