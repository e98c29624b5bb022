"""A reduced image of a scene, cheap enough to be made of every scene of a stack."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.pixels import raster
from coregstack.pixels.scene import PlacedScene, usable_in


def load_overview(
    item: PlacedScene, band: int, box: GeoBox
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """A reduced image of one band of a scene.

    Parameters
    ----------
    item : PlacedScene
        The scene.
    band : int
        Counted among the stack's bands.
    box : GeoBox
        Where the pixels of the reduced image lie.

    Returns
    -------
    values : ndarray
        Shape of `box`, float32: means over the pixels of the scene; 0 where there are none.
    usable, valid : ndarray
        Shape of `box`, bool: valid and clear, and valid.
    """
    scene = item.scene
    shape = box.shape[0], box.shape[1]
    with (
        raster.opened(scene.image.path) as dataset,
        raster.warped(dataset, box, "average", scene.nodata) as view,
    ):
        values = raster.read_window(view, [item.indexes[band]], 0, 0, shape)[0]
        valid = raster.valid_values(values, scene.nodata) & raster.read_valid(view, 0, 0, shape)
    usable = valid.copy()
    for mask in scene.masks:
        usable &= usable_in(mask, box, (0, 0, *shape))
    return np.where(valid, values, 0).astype(np.float32), usable, valid
