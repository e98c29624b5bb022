"""Harmonized Landsat and Sentinel-2 (HLS) L30 and S30: a Cloud-Optimised GeoTIFF for each band."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from coregstack.products.item import ProductFile, ProductItem, beside, image, is_raster
from coregstack.untrusted.times import time_from_name

_NAME = re.compile(
    r"(?P<id>HLS(?:-VI)?\.(?P<sensor>[LS]30)\.T\d{2}[A-Z]{3}\.\d{7}T\d{6}\.v\d+\.\d+)[._](?P<rest>.+)",
    re.IGNORECASE | re.ASCII,
)
_BAND = re.compile(r"(?P<band>[A-Za-z0-9]+?)(?:_coreg|_anchor)?\.tiff?", re.IGNORECASE)
_COMMON = {
    "L30": {
        "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "nir08", "B06": "swir16",
        "B07": "swir22", "B09": "cirrus", "B10": "lwir11", "B11": "lwir12",
    },
    "S30": {
        "B01": "coastal", "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075",
        "B07": "rededge078", "B08": "nir", "B8A": "nir08", "B09": "nir09", "B10": "cirrus", "B11": "swir16",
        "B12": "swir22",
    },
}  # fmt: skip
_ANGLES = frozenset({"SAA", "SZA", "VAA", "VZA"})
_FMASK_FILL = 255
_PIXEL = 30.0


def read(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
    """Items of HLS: all files of a folder whose names begin with one granule id.

    Bands go by their common names, since ``B05`` is near infrared of L30 and red edge of S30. Fmask is the
    mask; angles are moved, but not matched in.
    """
    found: dict[tuple[PurePosixPath, str], list[tuple[PurePosixPath, re.Match[str]]]] = defaultdict(list)
    for path in paths:
        if known := _NAME.fullmatch(path.name):
            found[path.parent, known["id"].upper()].append((path, known))
    for files in found.values():
        if any(is_raster(path) for path, _ in files):
            item_id = files[0][1]["id"]
            yield ProductItem(
                id=item_id,
                time=time_from_name(item_id),
                files=tuple(_file(path, name["sensor"].upper(), name["rest"]) for path, name in files),
            )


def _file(path: PurePosixPath, sensor: str, rest: str) -> ProductFile:
    told = _BAND.fullmatch(rest)
    if told is None:
        return ProductFile(path=path)
    band = told["band"].upper()
    if band == "FMASK":
        return beside(path, "fmask", nodata=_FMASK_FILL)
    if band in _ANGLES:
        return beside(path, band.lower())
    return image(path, _COMMON[sensor].get(band, band.lower()), pixel_size=_PIXEL)
