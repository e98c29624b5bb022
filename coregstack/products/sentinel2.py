"""Sentinel-2 L1C and L2A: SAFE folders as they are delivered, and band files that were taken out of them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from coregstack.export.plan import Content
from coregstack.products.item import ProductFile, ProductItem, beside, image, is_raster
from coregstack.untrusted.times import time_from_name

_PRODUCT = re.compile(
    r"S2[A-D]_(?:MSIL(?:1C|2A)_\d{8}T\d{6}_N\d{4}_R\d{3}_T\d{2}[A-Z]{3}_\d{8}T\d{6}"
    r"|(?:OPER|USER)_PRD_MSIL(?:1C|2A)_\w+?)(?:\.SAFE)?",
    re.IGNORECASE | re.ASCII,
)
_TILE = re.compile(r"(?:L2A_)?(?P<id>T\d{2}[A-Z]{3}_\d{8}T\d{6})_.+", re.IGNORECASE | re.ASCII)
_BAND = re.compile(
    r"(?P<band>MSK_[A-Z]+(?:_B(?:\d\dA?|8A))?|(?:.*_)?(?P<last>B(?:0[1-9]|1[0-2]|8A)|TCI|AOT|WVP|SCL|CLD|SNW|PVI))"
    r"(?:_(?P<size>[126]0)m)?(?:_(?:coreg|anchor))?",
    re.IGNORECASE | re.ASCII,
)
_SIZES = {
    "B02": 10,
    "B03": 10,
    "B04": 10,
    "B08": 10,
    "B01": 60,
    "B09": 60,
    "B10": 60,
    "TCI": 10,
    "AOT": 60,
    "WVP": 10,
}
_FOLDERS = re.compile(r"R[126]0m|IMG_DATA|QI_DATA", re.IGNORECASE)
_PREVIEW = "PVI"


def read(paths: Sequence[PurePosixPath]) -> Iterator[ProductItem]:
    """Items of Sentinel-2.

    Below a folder that is named as a product everything belongs to one item, or, of products before December
    2016, to one item a granule. Elsewhere files whose names begin with one tile and time do. Bands of 10 m are
    matched in first; bands, true colour, aerosol and water vapour, and the masks in ``QI_DATA`` are moved at their
    own pixel sizes. The mask is the scene classification, or of L1C the cloud mask in JPEG 2000. The
    preview and all that is no raster are passed through.
    """
    found: dict[tuple[PurePosixPath, str], list[PurePosixPath]] = defaultdict(list)
    products: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for path in paths:
        if root := _root(path):
            products[root].append(path)
        elif (tile := _TILE.fullmatch(path.stem)) and is_raster(path):
            found[_above(path.parent), tile["id"]].append(path)
    for root, files in products.items():
        granules = sorted({_granule(path, root) for path in files} - {""})
        for k, granule in enumerate(granules or [""]):
            own = [
                path for path in files if _granule(path, root) in ((granule, "") if k == 0 else (granule,))
            ]
            item_id = _stem(root.name) if len(granules) < 2 else granule
            yield _item(item_id, own)
    for (_, item_id), files in found.items():
        yield _item(item_id, files)


def _item(item_id: str, paths: Sequence[PurePosixPath]) -> ProductItem:
    files = [_file(path) for path in paths]
    classified = any(file.mask == "scl" for file in files)
    return ProductItem(
        id=item_id,
        time=next(
            (time for p in paths if _is_band(p) and (time := time_from_name(p.name))), time_from_name(item_id)
        ),
        files=tuple(replace(f, mask="") if classified and f.mask == "msk_classi" else f for f in files),
    )


def _file(path: PurePosixPath) -> ProductFile:
    told = _BAND.fullmatch(path.stem) if is_raster(path) else None
    band = "" if told is None else (told["last"] or told["band"]).upper()
    if told is None or band == _PREVIEW:
        return ProductFile(path=path)
    size = float(told["size"] or _SIZES.get(band, 20))
    if band.startswith("MSK_"):
        # one for each band, or one for all; they hold classes, flags or per cent
        mask = "msk_classi" if band.startswith("MSK_CLASSI") else ""
        return ProductFile(path=path, content=Content.CLASSES, mask=mask, pixel_size=size, name=band)
    if band in ("SCL", "CLD", "SNW"):
        return replace(beside(path, band), content=Content.CLASSES, pixel_size=size)
    if band == "TCI":
        return ProductFile(path=path, content=Content.IMAGE, pixel_size=size, nodata=0, name=band)
    if band in ("AOT", "WVP"):
        return replace(beside(path, band, nodata=0), pixel_size=size)
    return image(path, band, pixel_size=size, nodata=0)


def _is_band(path: PurePosixPath) -> bool:
    return is_raster(path) and "IMG_DATA" in (part.upper() for part in path.parts)


def _root(path: PurePosixPath) -> PurePosixPath | None:
    """The outermost folder of a path that is named as a product."""
    folders = [folder for folder in path.parents if _PRODUCT.fullmatch(folder.name)]
    return folders[-1] if folders else None


def _granule(path: PurePosixPath, root: PurePosixPath) -> str:
    parts = path.relative_to(root).parts
    return parts[1] if len(parts) > 2 and parts[0].upper() == "GRANULE" else ""


def _above(folder: PurePosixPath) -> PurePosixPath:
    """A folder without the ones that part the files of one product."""
    while _FOLDERS.fullmatch(folder.name):
        folder = folder.parent
    return folder


def _stem(name: str) -> str:
    return name[:-5] if name.upper().endswith(".SAFE") else name
