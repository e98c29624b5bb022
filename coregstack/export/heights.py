"""The error of a height model, and the model without it, as a small GeoTIFF on the control lattice of a stack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.export.files import WriteError, staged
from coregstack.geometry.lattice import crs_of
from coregstack.pixels import raster

HEIGHT_ERROR = "height_error.tif"
"""Name of the file, at the root of the output."""
_BANDS = {
    "error": "height of the ground less that of the model, but for a plane",
    "sigma": "1 sigma of the error",
    "height": "height of the model with the error added",
}


def write_height_error(
    path: Path, error: NDArray[np.float32], sigma: NDArray[np.float32], dem: str, nodes: GeoBox
) -> None:
    """Write the error of a height model; the file appears only complete.

    Parameters
    ----------
    path : Path
        GeoTIFF of three float32 bands in metres: the error, its sigma, and the model's heights with the error
        added, NaN where the model has none.
    error, sigma : ndarray, shape of `nodes`
        m.
    dem : str
        The height model, of any CRS and pixel size.
    nodes : GeoBox
        Pixels centred on the nodes.

    Raises
    ------
    WriteError
        If it cannot be written.
    UnreadableFile, MissingFile
        If the model cannot be read.
    """
    heights = _heights(dem, nodes)
    profile = {
        "driver": "GTiff",
        "count": len(_BANDS),
        "height": nodes.shape[0],
        "width": nodes.shape[1],
        "dtype": "float32",
        "nodata": np.nan,
        "crs": crs_of(nodes).to_wkt(),
        "transform": nodes.affine,
        "compress": "DEFLATE",
        "predictor": 3,
    }
    try:
        with staged(path) as temporary, raster.gdal(), rasterio.open(temporary, "w", **profile) as out:
            out.write(np.stack([error, sigma, heights + error]).astype(np.float32))
            out.descriptions = tuple(_BANDS)
            out.units = ("m",) * len(_BANDS)
            out.update_tags(MEANING="; ".join(f"{name}: {text}" for name, text in _BANDS.items()))
    except raster.GDAL_ERRORS as failure:
        raise WriteError(f"{str(path)!r} cannot be written ({failure}).") from failure


def _heights(dem: str, nodes: GeoBox) -> NDArray[np.float32]:
    """Heights of a model at the nodes, NaN where it has none."""
    nodata = raster.read_header(dem).nodata
    shape = nodes.shape[0], nodes.shape[1]
    with raster.opened(dem) as dataset, raster.warped(dataset, nodes, "bilinear", nodata) as view:
        values = raster.read_window(view, [0], 0, 0, shape)[0].astype(np.float32)
        valid = raster.read_valid(view, 0, 0, shape)
    heights: NDArray[np.float32] = np.where(valid, values, np.float32(np.nan))
    return heights
