"""From where the scene of an item was seen: as metadata tell it, else as rasters of angles beside its images do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.model import Viewing
from coregstack.pixels import raster
from coregstack.products.item import ProductFile, ProductItem
from coregstack.products.viewing import mean_viewing, viewing_of
from coregstack.stack.inputs import Place
from coregstack.untrusted.addresses import Address

_ZENITH, _AZIMUTH = "vza", "vaa"
_UNIT = 0.01
_HORIZON, _CIRCLE = 90.0, 360.0
_SIDE = 64
"""Angles change slowly: they are looked at in at most so many places along each axis."""


def seen_from(item: ProductItem, places: Mapping[PurePosixPath, Place]) -> Viewing | None:
    """From where the scene of an item was seen.

    Metadata come first (`coregstack.products.viewing.viewing_of`). Landsat Collection 2 Level 1 and HLS have rasters of
    it instead, ``VZA`` and ``VAA``: zenith and azimuth of the satellite as seen from each pixel, hundredths of a
    degree. The view of an item is the mean over the pixels that these hold.

    Parameters
    ----------
    item : ProductItem
        The item.
    places : mapping
        Where its files lie; only those on this machine are read.

    Returns
    -------
    Viewing or None
        None where no file tells it, those that do are damaged, or the view is not one.
    """
    seen = viewing_of(path for _, path in _here(item, places, rasters=False))
    return _of_rasters(dict(_here(item, places, rasters=True))) if seen is None else seen


def _here(
    item: ProductItem, places: Mapping[PurePosixPath, Place], *, rasters: bool
) -> Iterator[tuple[str, Path]]:
    """Names and paths of files on this machine that are not matched in: rasters, or what goes along as it is."""
    for file in item.files:
        source = places[file.path].source
        if (file.content is not None) == rasters and not file.matched and not isinstance(source, Address):
            yield _name(file), Path(source)


def _name(file: ProductFile) -> str:
    return file.bands[0].lower() if isinstance(file.bands, tuple) and len(file.bands) == 1 else ""


def _of_rasters(paths: Mapping[str, Path]) -> Viewing | None:
    if _ZENITH not in paths or _AZIMUTH not in paths:
        return None
    try:
        box = raster.read_header(paths[_ZENITH]).box
        box = box.zoom_to((min(box.shape[0], _SIDE), min(box.shape[1], _SIDE)))
        zenith, azimuth = (_angles(paths[name], box) for name in (_ZENITH, _AZIMUTH))
    except CoregError:
        return None
    # 0 is what lies around a scene where no nodata is named; the few pixels straight below do not change a mean
    told = (zenith > 0) & (zenith < _HORIZON) & (np.abs(azimuth) <= _CIRCLE)
    return mean_viewing(zenith[told], azimuth[told])


def _angles(path: Path, box: GeoBox) -> NDArray[np.float64]:
    """Angles in the places of a box, degrees, NaN where there are none."""
    header, shape = raster.read_header(path), (box.shape[0], box.shape[1])
    # means of azimuths would be wrong where these go round
    with raster.reading(header) as dataset, raster.warped(dataset, box, "nearest", header.nodata) as view:
        values = raster.read_window(view, [0], 0, 0, shape)[0]
        valid = raster.valid_values(values, header.nodata) & raster.read_valid(view, 0, 0, shape)
    return np.where(valid, values * _UNIT, np.nan)
