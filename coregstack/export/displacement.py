"""The displacement of an item as a small GeoTIFF on its control lattice, with map coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError
from coregstack.export.files import WriteError, staged
from coregstack.geometry.lattice import crs_of
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.model import Displacement, Shift
from coregstack.pixels import raster

BANDS = ("dy", "dx", "sigma")
"""Bands of the file: down the rows, along the columns, and 1 sigma of either."""


def write_displacement(path: Path, displacement: Displacement, anchor: GeoBox) -> None:
    """Write a displacement; its file appears only complete.

    Parameters
    ----------
    path : Path
        GeoTIFF of three float32 bands, `BANDS`, px of the anchor; a pixel of the file is centred on a node.
    displacement : Displacement
        In the frame of the anchor.
    anchor : GeoBox
        The anchor's box.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    step, origin = displacement.step, displacement.origin
    corner = Affine.translation(origin.x + 0.5 - step / 2, origin.y + 0.5 - step / 2)
    rows, cols = displacement.y.shape
    profile = {
        "driver": "GTiff",
        "count": len(BANDS),
        "height": rows,
        "width": cols,
        "dtype": "float32",
        "crs": crs_of(anchor).to_wkt(),
        "transform": anchor.affine * corner * Affine.scale(step),
        "compress": "DEFLATE",
        "predictor": 3,
    }
    try:
        with staged(path) as temporary, raster.gdal(), rasterio.open(temporary, "w", **profile) as out:
            out.write(np.stack([displacement.y, displacement.x, displacement.sigma]))
            out.descriptions = BANDS
            out.units = ("px",) * len(BANDS)
            out.update_tags(
                MEANING="shift to apply at each place of the anchor, pixels of the anchor: dy down the rows, dx along "
                "the columns; sigma is 1 sigma of either"
            )
    except raster.GDAL_ERRORS as error:
        raise WriteError(f"{str(path)!r} cannot be written ({error}).") from error


def common_lattice(paths: Iterable[Path], anchor: GeoBox) -> Lattice:
    """The control lattice of the anchor's frame that files lie on, with as many more nodes as they hold.

    Parameters
    ----------
    paths : iterable of Path
        Files that `write_displacement` wrote; those that cannot be read are passed over.
    anchor : GeoBox
        The anchor's box.
    """
    height, width = anchor.shape
    lattice = Lattice.of((height, width))
    boxes = []
    for path in paths:
        with suppress(CoregError):
            boxes.append(raster.read_header(path).box)
    # patterns of a stack are known on a finer one
    if any((~anchor.affine * box.affine).a < lattice.step - 0.5 for box in boxes):
        lattice = pattern_lattice((height, width))
    for box in boxes:
        x, y = ~anchor.affine * box.affine * (0.5, 0.5)
        rows, cols = (round((n - 1) * lattice.step) for n in box.shape)
        lattice = lattice.over(round(y), round(x), rows, cols)
    return lattice


def read_displacement(path: Path, anchor: GeoBox) -> Displacement:
    """Read what `write_displacement` wrote.

    Parameters
    ----------
    path : Path
        The file.
    anchor : GeoBox
        The box in whose frame the displacement is wanted: that of the anchor.

    Raises
    ------
    MissingFile, UnreadableFile
        If it is not such a file.
    """
    with raster.opened(str(path)) as dataset:
        values = raster.read_window(dataset, [0, 1, 2], 0, 0, dataset.shape)
        affine = ~anchor.affine * dataset.transform
    x, y = affine * (0.5, 0.5)
    return Displacement(
        origin=Shift(y - 0.5, x - 0.5), step=affine.a, y=values[0], x=values[1], sigma=values[2]
    )
