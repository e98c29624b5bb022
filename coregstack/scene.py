"""Scenes behind files: what a scene is, and its pixels on the anchor's lattice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack import raster
from coregstack.grid import footprint, frame_bounds, offset, same_pixels
from coregstack.kernels.sources import ArraySource
from coregstack.model import NO_SHIFT, Shift
from coregstack.raster import RasterHeader
from coregstack.warp import placed, placed_valid

MATCH_BYTES = 256 * 2**20
"""Match bands of one scene that are held in memory at once; always at least one band."""


class MaskKind(StrEnum):
    """How the values of a mask file are to be read."""

    UDM2 = "udm2"
    """Planet's eight-band usable data mask: usable where band 1 (clear) is 1 and band 8 is 0."""
    UDM = "udm"
    """Planet's bit field: usable where it is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A file that tells which pixels of a scene are usable."""

    header: RasterHeader
    kind: MaskKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One item: an image file and the masks that belong to it."""

    id: str
    """Item id."""
    time: np.datetime64
    """Time of acquisition (UTC), or NaT where it is not known."""
    image: RasterHeader
    """Header of the image."""
    bands: tuple[str, ...]
    """Names of the image's bands in the file's order, without an alpha band."""
    masks: tuple[Mask, ...] = ()
    """Mask files; a pixel is usable if all of them say so."""

    @property
    def nodata(self) -> float | None:
        """Value of pixels without data; 0 for integer images that say nothing of it in any way."""
        image = self.image
        silent = image.nodata is None and image.alpha is None and not image.internal_mask
        return 0 if silent and np.dtype(image.dtype).kind in "iu" else image.nodata

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the scene: its files and what is said of them."""
        files = [self.image.__dask_tokenize__(), *(m.header.__dask_tokenize__() for m in self.masks)]
        return ("coregstack-scene", self.id, str(self.time), self.bands, tuple(files))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedScene:
    """A scene on a stack's lattice: what a task needs to read its pixels."""

    scene: Scene
    lattice: GeoBox
    """Box whose frame windows are counted in."""
    bands: tuple[str, ...]
    """Names of the stack's bands."""
    indexes: tuple[int, ...]
    """For each band of the stack, the band of the image file, counted from 0."""
    dtype: str
    """Data type of the stack."""
    fill: float
    """Value of the stack's pixels that hold no data."""

    def on(self, lattice: GeoBox) -> PlacedScene:
        """The same scene in the frame of another box."""
        return replace(self, lattice=lattice)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of what is read."""
        where = str(self.lattice.crs), tuple(self.lattice.affine[:6]), tuple(self.lattice.shape)
        return (self.scene.__dask_tokenize__(), where, self.bands, self.indexes, self.dtype, repr(self.fill))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchPixels:
    """Match bands of one item in memory."""

    source: ArraySource
    """Values, and where they are valid and clear."""
    valid: NDArray[np.bool_]
    """Shape of the source's values: where they are valid, clear or not."""


def read_block(
    item: PlacedScene,
    window: tuple[int, int, int, int],
    shift: Shift = NO_SHIFT,
    resampling: str = "cubic",
) -> NDArray[Any]:
    """Pixels of a scene in a window of the stack, moved by a shift, in one interpolation.

    Parameters
    ----------
    item : PlacedScene
        The scene and its place.
    window : tuple of int
        Row, column, height and width in the frame of the stack's lattice.
    shift : Shift
        What is applied to the content, px.
    resampling : str
        One of `coregstack.warp.RESAMPLING`.

    Returns
    -------
    ndarray
        Shape (band, y, x), dtype of the stack; pixels without data hold the stack's fill value.

    Raises
    ------
    UnreadableFile, MissingFile
        If the file is damaged or gone.
    """
    scene = item.scene
    target = np.dtype(item.dtype)
    own_fill = item.fill if _holds(scene.image.dtype, item.fill) else scene.nodata or 0
    with raster.opened(scene.image.path) as dataset:
        values = placed(
            dataset,
            scene.image,
            item.lattice,
            window,
            bands=item.indexes,
            shift=shift,
            resampling=resampling,
            nodata=scene.nodata,
            fill=[own_fill] * len(item.indexes),
        )
    if values.dtype == target and own_fill == item.fill:
        return values
    empty = ~raster.valid_values(values, own_fill)
    out = values.astype(target)
    out[empty] = item.fill
    return out


def read_clear(item: PlacedScene, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Where a scene is valid and clear in a window of the stack, shape (y, x)."""
    scene = item.scene
    with raster.opened(scene.image.path) as dataset:
        fill = [scene.nodata or 0] * len(item.indexes)
        values = placed(
            dataset, scene.image, item.lattice, window,
            bands=item.indexes, resampling="nearest", nodata=scene.nodata, fill=fill,
        )  # fmt: skip
        clear = np.asarray(raster.valid_values(values, scene.nodata).any(axis=0))
        if scene.image.alpha is not None or scene.image.internal_mask:
            clear &= placed_valid(dataset, scene.image, item.lattice, window)
    for mask in scene.masks:
        clear &= _usable(mask, item.lattice, window)
    return clear


def load_match(item: PlacedScene, bands: tuple[int, ...], *, mean: bool, reach: float | None) -> MatchPixels:
    """Read what the estimator and the score need of one scene.

    A scene that differs from the anchor's lattice by a translation is read as it is, without
    interpolation, and its phase is carried by the source's origin; any other is warped onto the
    lattice. Only the part that can overlap the anchor is read.

    Parameters
    ----------
    item : PlacedScene
        The scene; its lattice is the anchor's box.
    bands : tuple of int
        Match bands, counted among the stack's bands.
    mean : bool
        Whether the match image is the mean of the bands instead of each by itself.
    reach : float or None
        Largest shift that is looked for, px; None for a quarter of the overlap.
    """
    scene, lattice = item.scene, item.lattice
    indexes = [item.indexes[b] for b in bands]
    native = same_pixels(scene.image.box, lattice)
    box = scene.image.box if native else footprint(scene.image.box, lattice)
    origin = offset(box, lattice)
    row, col, height, width = _region(box, lattice, origin, reach)
    with raster.opened(scene.image.path) as dataset:
        if native:
            values = raster.read_window(dataset, indexes, row, col, (height, width))
            valid = raster.valid_values(values, scene.nodata)
            if scene.image.alpha is not None or scene.image.internal_mask:
                valid &= raster.read_valid(dataset, row, col, (height, width))
        else:
            window = int(origin.y) + row, int(origin.x) + col, height, width
            empty = np.nan if np.dtype(scene.image.dtype).kind == "f" else scene.nodata or 0
            values = placed(
                dataset, scene.image, lattice, window,
                bands=indexes, nodata=scene.nodata, fill=[empty] * len(indexes),
            )  # fmt: skip
            valid = raster.valid_values(values, empty)
    usable = valid.copy()
    for mask in scene.masks:
        if native:
            usable &= _usable(mask, scene.image.box, (row, col, height, width))
        else:
            usable &= _usable(mask, lattice, (int(origin.y) + row, int(origin.x) + col, height, width))
    if mean:
        values, valid, usable = band_mean(values, valid, usable)
    source = ArraySource(values=values, usable=usable, origin=Shift(origin.y + row, origin.x + col))
    return MatchPixels(source=source, valid=valid)


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
        Shape of `box`, float32: means over the pixels of the scene.
    usable, valid : ndarray
        Shape of `box`, bool: valid and clear, and valid.
    """
    scene = item.scene
    window = 0, 0, box.shape[0], box.shape[1]
    with (
        raster.opened(scene.image.path) as dataset,
        raster.warped(dataset, box, "average", scene.nodata) as view,
    ):
        values = raster.read_window(view, [item.indexes[band]], *window[:2], (window[2], window[3]))[0]
        valid = raster.valid_values(values, scene.nodata) & raster.read_valid(
            view, *window[:2], (window[2], window[3])
        )
    usable = valid.copy()
    for mask in scene.masks:
        usable &= _usable(mask, box, window)
    return np.where(valid, values, 0).astype(np.float32), usable, valid


def band_mean(
    values: NDArray[Any], valid: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Mean of the bands as one match band; valid and usable where every band is."""
    total = np.zeros(values.shape[1:], np.float32)
    for band in values:
        total += band.astype(np.float32)
    mean = total / np.float32(len(values))
    return mean[None], valid.all(axis=0, keepdims=True), usable.all(axis=0, keepdims=True)


def _region(box: GeoBox, lattice: GeoBox, origin: Shift, reach: float | None) -> tuple[int, int, int, int]:
    """Row, column, height and width within `box` of what can overlap the anchor; all if nothing does."""
    top, bottom, left, right = frame_bounds(box, lattice)
    height, width = lattice.shape
    margins = []
    for low, high, size in ((top, bottom, height), (left, right, width)):
        overlap = min(high, size) - max(low, 0)
        if overlap <= 0:
            return 0, 0, 1, 1
        margins.append(int(np.ceil(overlap / 4 if reach is None else reach)) + 16)
    row = max(int(np.floor(-origin.y)) - margins[0], 0)
    col = max(int(np.floor(-origin.x)) - margins[1], 0)
    end_row = min(int(np.ceil(height - origin.y)) + margins[0], box.shape[0])
    end_col = min(int(np.ceil(width - origin.x)) + margins[1], box.shape[1])
    return row, col, end_row - row, end_col - col


def _usable(mask: Mask, lattice: GeoBox, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Where a mask file says that pixels are usable, in a window of `lattice`, by nearest neighbour."""
    bands = [0, 7] if mask.kind is MaskKind.UDM2 and mask.header.count >= 8 else [0]
    empty = [0, 1] if mask.kind is MaskKind.UDM2 else [1]
    with raster.opened(mask.header.path) as dataset:
        values = placed(
            dataset, mask.header, lattice, window, bands=bands, resampling="nearest", fill=empty[: len(bands)]
        )
    if mask.kind is MaskKind.UDM:
        return values[0] == 0
    usable = values[0] == 1
    return usable & (values[1] == 0) if len(bands) == 2 else usable


def _holds(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    return bool(np.isfinite(value)) and np.iinfo(kind).min <= value <= np.iinfo(kind).max
