"""Landsat, Collection 1 and 2, Level 1 and 2, and scenes from before collections: a file for each band."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from coregstack.products.item import ProductFile, ProductItem, beside, image, is_raster
from coregstack.untrusted.times import time_from_name

_ID = (
    r"L[COTEM]0\d_(?:L\d[A-Z]{2}|CU|AK|HI)_\d{6}_\d{8}_\d{8}_\d{2}(?:_(?:T1|T2|RT|A1|A2))?"
    r"|L[COTEM]\d{14}[A-Z]{3}\d{2}"
)
_NAME = re.compile(rf"(?P<id>{_ID})(?:_(?P<rest>[^.]+))?(?:\..*)?", re.IGNORECASE | re.ASCII)
_BAND = re.compile(r"(?:(?:sr|toa|bt)_band|(?:sr_|st_)?b)(?P<number>\d{1,2}(?:_vcid_[12])?)", re.IGNORECASE)
_MOVED = re.compile(r"_(?:coreg|anchor)$", re.IGNORECASE)

_OLI = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16", "7": "swir22", "8": "pan",
    "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
_TM = {
    "1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir", "6_vcid_1": "lwir",
    "6_vcid_2": "lwir_high", "7": "swir22", "8": "pan",
}  # fmt: skip
_MSS_EARLY = {"4": "green", "5": "red", "6": "nir07", "7": "nir08"}
_MSS_LATE = {"1": "green", "2": "red", "3": "nir07", "4": "nir08"}
_FILL = 1
"""Of quality bands: the bit that says that a pixel is fill."""
_QUALITY = {"qa_pixel": _FILL, "bqa": _FILL, "pixel_qa": _FILL, "sr_qa_aerosol": _FILL}


def read(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
    """Items of Landsat: all files of a folder whose names begin with one product id.

    Bands go by their common names, since a number means another band to each sensor. The uncertainty and
    the parts of surface temperature, angles and aerosol are moved, but not matched in. The day is told by
    the name, the time of day is not.
    """
    found: dict[tuple[PurePosixPath, str], list[tuple[PurePosixPath, str]]] = defaultdict(list)
    for path in paths:
        if known := _NAME.fullmatch(path.name):
            found[path.parent, known["id"].upper()].append((path, _MOVED.sub("", known["rest"] or "")))
    for files in found.values():
        name = _NAME.fullmatch(files[0][0].name)
        assert name is not None  # it was read above
        if any(is_raster(path) for path, _ in files):
            names = _band_names(name["id"])
            yield ProductItem(
                id=name["id"],
                time=time_from_name(name["id"]),
                files=tuple(_file(path, rest, names) for path, rest in files),
            )


def _file(path: PurePosixPath, rest: str, names: Mapping[str, str]) -> ProductFile:
    if not is_raster(path):
        return ProductFile(path=path)
    band = _BAND.fullmatch(rest)
    if band is None:
        return beside(path, rest, nodata=_QUALITY.get(rest.lower()))
    number = band["number"].lower()
    # surface reflectance and temperature say their fill value themselves, Level 1 does not
    return image(path, names.get(number.lstrip("0"), f"b{number}"), nodata=0)


def _band_names(item_id: str) -> Mapping[str, str]:
    """What numbers of bands mean to the sensor that an id names."""
    sensor = item_id[1].upper()
    number = int(item_id[2:4] if item_id[4:5] == "_" else item_id[2:3])
    if sensor in "COT" and number >= 8:
        return _OLI
    if sensor == "M":
        return _MSS_EARLY if number <= 3 else _MSS_LATE
    return _TM
