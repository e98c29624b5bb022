"""What an open raster claims, checked before a pixel of it is read, and how much of it is held in memory.

What is checked before GDAL opens a file is in `coregstack.pixels.claims`.
"""

from __future__ import annotations

import math

import numpy as np
from rasterio.enums import Interleaving
from rasterio.io import DatasetReader

from coregstack.errors import UnreadableFile
from coregstack.pixels import hints
from coregstack.untrusted.limits import BANDS, BLOCK_BYTES, PIXELS, RASTER_RATIO, READ_BYTES

_REDIRECTS = (("OVERVIEWS", "OVERVIEW_FILE"), ("GEOLOCATION", "X_DATASET"), ("GEOLOCATION", "Y_DATASET"))
"""Metadata that name other files: of overviews, and of places of pixels."""
_FARTHEST = 1e12
"""No coordinate of a map is larger, whatever its unit."""
_FREE_BYTES = 2**28
"""Pixels of a raster that are taken however small its file is: to move them takes a few seconds."""
_TILE = 256
"""Side of the smallest tiles that a raster is written in."""


def check_redirects(path: str, dataset: DatasetReader) -> None:
    """Refuse metadata by which GDAL takes pixels from elsewhere, by any driver and over the network."""
    for domain, key in _REDIRECTS:
        if place := dataset.get_tag_item(key, domain):
            raise UnreadableFile(
                f"{path!r} names another place for part of its content, {place!a}. A raster is only read from its own "
                f"file: remove the item {key} from its metadata {domain}."
            )


def check_dataset(path: str, dataset: DatasetReader, size: int) -> None:
    """Refuse more pixels than the limits allow, bands of no or mixed numbers, and what has no place on the ground."""
    pixels, bands = PIXELS(), BANDS()
    if dataset.width * dataset.height > pixels or dataset.count > bands:
        raise UnreadableFile(
            f"{path!r} claims {dataset.width} x {dataset.height} pixels in {dataset.count} bands; at most "
            f"{pixels} pixels and {bands} bands are allowed. If the file is sound, raise "
            "COREGSTACK_MAX_PIXELS or COREGSTACK_MAX_BANDS."
        )
    if dataset.count == 0 or len(set(dataset.dtypes)) != 1 or np.dtype(dataset.dtypes[0]).kind not in "iuf":
        raise UnreadableFile(
            f"{path!r} holds bands of type {sorted(set(dataset.dtypes))}; one integer or float type "
            "for all bands was expected. Convert it with gdal_translate -ot."
        )
    whole = _in_tiles(dataset) * dataset.count * np.dtype(dataset.dtypes[0]).itemsize
    ratio = RASTER_RATIO()
    if whole > max(_FREE_BYTES, size * ratio):
        # time goes with pixels, also with those that the file does not hold
        raise UnreadableFile(
            f"{path!r} claims {whole} bytes of pixels in whole tiles, in a file of {size}; at most {ratio} for each "
            f"byte are allowed. If the file is sound, cut it to what it holds, or raise {RASTER_RATIO.variable}."
        )
    largest = BLOCK_BYTES()
    bands_in_block = dataset.count if dataset.interleaving is Interleaving.pixel else 1
    block = math.prod(dataset.block_shapes[0]) * np.dtype(dataset.dtypes[0]).itemsize * bands_in_block
    if block > largest:
        raise UnreadableFile(
            f"{path!r} claims blocks of {block} bytes that can only be read whole; at most {largest} bytes are "
            "allowed. Tile it, for example with gdal_translate -of COG, or raise COREGSTACK_MAX_BLOCK_BYTES."
        )
    if dataset.crs is None or dataset.transform.is_identity:
        hint = "only ground control points or RPCs" if dataset.gcps[0] or dataset.rpcs else "none"
        raise UnreadableFile(
            f"{path!r} has no usable georeference ({hint}): a CRS and a geotransform were expected. "
            f"{hints.of_place(path, crs=dataset.crs is not None)}"
        )
    numbers = np.abs(dataset.transform[:6])
    if dataset.transform.is_degenerate or not (numbers < _FARTHEST).all():
        raise UnreadableFile(
            f"{path!r} has a geotransform that cannot be inverted, or of numbers beyond {_FARTHEST:g} that no map "
            f"has: {dataset.transform!r}. Set it, for example with gdal_edit.py."
        )


def _in_tiles(dataset: DatasetReader) -> int:
    """Pixels of a band in whole tiles, as they are read and written: of a narrow raster many more than it has."""
    sides = (max(side, _TILE) for side in dataset.block_shapes[0])
    return math.prod(-(-size // side) * side for size, side in zip(dataset.shape, sides, strict=True))


def check_size(path: str, shape: tuple[int, int]) -> None:
    """Refuse to make more pixels of a file on the anchor's lattice than a file may claim.

    Raises
    ------
    UnreadableFile
        If there would be more than ``COREGSTACK_MAX_PIXELS``.
    """
    if math.prod(shape) > PIXELS():
        raise UnreadableFile(
            f"On the lattice of the anchor {path!r} would have {shape[0]} x {shape[1]} pixels. Check its pixel size "
            f"and CRS, or raise {PIXELS.variable}."
        )


def check_read(path: str, size: int) -> None:
    """Refuse to hold more bytes of a file's pixels in memory than the limit, whatever the file claims.

    Raises
    ------
    UnreadableFile
        If there would be more than ``COREGSTACK_MAX_READ_BYTES``.
    """
    if size > READ_BYTES():
        raise UnreadableFile(
            f"{size} bytes of {path!r} would be in memory at once; at most {READ_BYTES()} are read. Cut it to what is "
            f"needed, for example with gdal_translate -projwin, or raise {READ_BYTES.variable}."
        )
