"""Scenes behind files: what a scene is, and its pixels on the anchor's lattice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader

from coregstack.geometry.lattice import footprint, frame_bounds, offset, same_pixels
from coregstack.geometry.validarea import looked_at, looks, valid_area
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.standin import MATCH_BANDS
from coregstack.model import NO_SHIFT, Move, Shift, ValidArea, Viewing
from coregstack.pixels import raster
from coregstack.pixels.bandcache import CACHE_BYTES, BandCache, cache_bands, file_of
from coregstack.pixels.bounds import check_read, check_size
from coregstack.pixels.filesource import FileBands, FileSource
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.masks import Mask
from coregstack.pixels.warp import placed, placed_valid


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
    classes: tuple[str, ...] = ()
    """For each band what tells that it holds classes, or nothing for measurements; empty where none does."""
    masks: tuple[Mask, ...] = ()
    """Mask files; a pixel is usable if all of them say so."""
    viewing: Viewing | None = None
    """From where it was seen; None where metadata do not tell it."""

    @property
    def positions(self) -> tuple[int, ...]:
        """For each band, which one of the file it is, counted from 0."""
        return tuple(k for k in range(self.image.count) if k != self.image.alpha)

    @property
    def paths(self) -> tuple[str, ...]:
        """Files that are read: images and masks."""
        return (*(file.path for file in self.image.files), *(mask.header.path for mask in self.masks))

    @property
    def nodata(self) -> float | None:
        """Value of pixels without data; 0 for integer images that mark it in no way."""
        image = self.image
        silent = image.nodata is None and image.alpha is None and not image.internal_mask
        return 0 if silent and np.dtype(image.dtype).kind in "iu" else image.nodata

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of the scene: its files and their properties."""
        masks = [(m.header.__dask_tokenize__(), m.rule) for m in self.masks]
        files = [self.image.__dask_tokenize__(), *masks]
        return ("coregstack-scene", self.id, str(self.time), self.bands, self.classes, tuple(files))


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
    classes: tuple[str, ...] = ()
    """For each band of the stack what tells that it holds classes; empty where none does."""

    @property
    def nearest(self) -> tuple[int, ...]:
        """Bands of the stack that are moved by nearest neighbour, for they hold classes."""
        return tuple(k for k, why in enumerate(self.classes) if why)

    def only(self, bands: Sequence[int]) -> PlacedScene:
        """The same scene with some of the bands, in another order or more than once."""
        return replace(
            self,
            bands=tuple(self.bands[k] for k in bands),
            indexes=tuple(self.indexes[k] for k in bands),
            classes=tuple(self.classes[k] for k in bands) if self.classes else (),
        )

    def on(self, lattice: GeoBox) -> PlacedScene:
        """The same scene in the frame of another box."""
        return replace(self, lattice=lattice)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Identity of what is read."""
        where = str(self.lattice.crs), tuple(self.lattice.affine[:6]), tuple(self.lattice.shape)
        cache = self.bands, self.indexes, self.classes
        return (self.scene.__dask_tokenize__(), where, *cache, self.dtype, repr(self.fill))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchPixels:
    """Match bands of one item."""

    source: ArraySource
    """Values, and where they are valid and clear."""
    valid: NDArray[np.bool_]
    """Where values of the scored band are valid, clear or not; shape (y, x), or that of the source's values."""
    whole: tuple[NDArray[np.bool_], GeoBox] | None = None
    """Where the whole raster is valid, as `looked_at` picks it, and its place; None where a part was read."""

    @property
    def area(self) -> ValidArea | None:
        """Outline of where the whole raster is valid; None where that is not known."""
        return None if self.whole is None else valid_area(*self.whole)


def read_block(
    item: PlacedScene,
    window: tuple[int, int, int, int],
    move: Move = NO_SHIFT,
    resampling: str = "cubic",
) -> NDArray[Any]:
    """Pixels of a scene in a window of the stack, moved, in one interpolation.

    Parameters
    ----------
    item : PlacedScene
        The scene and its place.
    window : tuple of int
        Row, column, height and width in the frame of the stack's lattice.
    move : Shift or Displacement
        What is applied to the content, px of the stack's lattice.
    resampling : str
        One of `coregstack.pixels.warp.RESAMPLING`.

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
    own_fill = _own_fill(item)
    with raster.reading(scene.image) as dataset:
        values = placed(
            dataset,
            scene.image,
            item.lattice,
            window,
            bands=item.indexes,
            move=move,
            resampling=resampling,
            nodata=scene.nodata,
            fill=[own_fill] * len(item.indexes),
            nearest=[item.indexes[k] for k in item.nearest],
        )
    if values.dtype == target and own_fill == item.fill:
        return values
    valid = raster.valid_values(values, own_fill)
    out = values.astype(target)
    # valid pixels of the scene stay valid in the stack, whose nodata value differs
    hidden = valid & (out == item.fill)
    hidden[list(item.nearest)] = False  # another class would be another thing
    out[hidden] = _beside(item.fill, target)
    out[~valid] = item.fill
    return out


def _own_fill(item: PlacedScene) -> float:
    """Value that marks empty pixels in the scene's own dtype."""
    dtype = item.scene.image.dtype
    if item.scene.nodata is not None:
        return item.scene.nodata
    if np.dtype(dtype).kind == "f":
        return np.nan
    return item.fill if _holds(dtype, item.fill) else 0


def _beside(value: float, dtype: np.dtype[Any]) -> float:
    """The number next to a value in a dtype; the value itself where it is no number."""
    if dtype.kind == "f":
        return float(np.nextafter(np.asarray(value, dtype), np.asarray(np.inf, dtype)))
    return value - 1 if value >= np.iinfo(dtype).max else value + 1


def read_clear(item: PlacedScene, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Where a scene is valid and clear in a window of the stack, shape (y, x)."""
    scene = item.scene
    measured = [index for k, index in enumerate(item.indexes) if k not in item.nearest] or list(item.indexes)
    with raster.reading(scene.image) as dataset:
        fill = [scene.nodata or 0] * len(measured)
        values = placed(
            dataset, scene.image, item.lattice, window,
            bands=measured, resampling="nearest", nodata=scene.nodata, fill=fill,
        )  # fmt: skip
        clear = np.asarray(raster.valid_values(values, scene.nodata).any(axis=0))
        if scene.image.alpha is not None or scene.image.internal_mask:
            clear &= placed_valid(dataset, scene.image, item.lattice, window)
    for mask in scene.masks:
        clear &= usable_in(mask, item.lattice, window)
    return clear


def usable_in(mask: Mask, lattice: GeoBox, window: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Where a mask file says that pixels may be used, in a window of `lattice`, by nearest neighbour.

    Bands that the file does not have are not looked at; where the file does not reach, no pixel may be used.
    """
    rules = [rule for rule in mask.rule.bands if rule.band < mask.header.count]
    with raster.opened(mask.header.path) as dataset:
        values = placed(
            dataset,
            mask.header,
            lattice,
            window,
            bands=[rule.band for rule in rules],
            resampling="nearest",
            fill=[rule.outside(mask.header.dtype) for rule in rules],
        )
    found = np.ones(window[2:], np.bool_)
    for rule, band in zip(rules, values, strict=True):
        found &= rule.usable(band)
    return found


@contextmanager
def cached_image(item: PlacedScene, bands: tuple[int, ...]) -> Iterator[BandCache]:
    """The open image of a scene, with all its bands in memory if they fit, else the first of `bands`.

    For a task that matches a scene and then writes it, so that it is decoded once.

    Raises
    ------
    UnreadableFile, MissingFile
        If the file is damaged, gone or was changed.
    """
    image = item.scene.image
    first = item.indexes[bands[0]]
    with raster.reading(image) as dataset:
        rest = [k for k in range(image.count) if k != first]
        yield cache_bands(dataset, image, [first, *rest], (0, 0, *image.box.shape))


def load_match(
    item: PlacedScene,
    bands: tuple[int, ...],
    *,
    mean: bool,
    reach: float | None,
    cache: BandCache | None = None,
    alone: bool = False,
) -> MatchPixels:
    """Read what the estimator and the score need of one scene.

    A scene that differs from the anchor's lattice by a translation is read as it is, without
    interpolation, and its phase is carried by the source's origin; any other is warped onto the
    lattice. Only the part that can overlap the anchor is read. Of a scene whose match bands do not fit
    in memory, the first one is kept and windows of the others are read when they are needed.

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
    cache : BandCache, optional
        The image, as far as it is open and in memory already.
    alone : bool
        Whether all else waits for this scene, so that it may be decoded with all cores.

    Raises
    ------
    UnreadableFile, MissingFile
        If a file is damaged, gone or was changed.
    """
    scene, lattice = item.scene, item.lattice
    native = same_pixels(scene.image.box, lattice)
    box = scene.image.box if native else footprint(scene.image.box, lattice)
    origin = offset(box, lattice)
    window = _region(box, lattice, origin, reach)
    complete = window == (0, 0, *box.shape)
    if not native:
        window = int(origin.y) + window[0], int(origin.x) + window[1], *window[2:]
    check_size(scene.image.path, window[2:])
    check_read(scene.image.path, window[2] * window[3] * np.dtype(scene.image.dtype).itemsize)
    with file_of(scene.image, cache, alone=alone) as dataset:
        if native:
            # what only stands in for other bands is read where it is asked for
            at_once = [item.indexes[b] for b in (bands if mean else bands[:MATCH_BANDS])]
            kept = cache or cache_bands(dataset, scene.image, at_once, window).closed()
            values, valid, empty = _native_bands(item, dataset, kept, bands, window)
        else:
            values, valid, empty = _warped_bands(item, dataset, bands, window)
        glance = looked_at(valid) if complete else _glance(scene, dataset, cache, item.indexes[bands[0]])
    whole = None if glance is None else (glance, box if complete else scene.image.box)
    usable = valid
    for mask in scene.masks:
        usable = usable & usable_in(mask, scene.image.box if native else lattice, window)
    if mean:
        values, clear = _mean_band(values, empty)
        valid, usable, empty = valid & clear, usable & clear, None
    first = Shift(window[0] + origin.y, window[1] + origin.x) if native else Shift(*map(float, window[:2]))
    source = FileSource(values=values, usable=usable, origin=first, nodata=empty)
    return MatchPixels(source=source, valid=valid, whole=whole)


def _glance(
    scene: Scene, dataset: DatasetReader, cache: BandCache | None, band: int
) -> NDArray[np.bool_] | None:
    """Where the whole of a scene is valid, as `looked_at` picks it; None where that would cost a decoding of it."""
    image, (height, width) = scene.image, scene.image.box.shape
    needed = [band] if image.alpha is None else [band, image.alpha]
    if image.internal_mask:
        return None
    if cache is not None and cache.holds(needed):
        values, *alpha = (looked_at(plane) for plane in cache.read(needed, 0, 0, (height, width)))
        valid = raster.valid_values(values, scene.nodata)
        return valid & (alpha[0] > 0) if alpha else valid
    reduced = None if image.alpha is not None else raster.read_reduced(dataset, band, looks((height, width)))
    return None if reduced is None else raster.valid_values(reduced, scene.nodata)


def _native_bands(
    item: PlacedScene,
    dataset: DatasetReader,
    cache: BandCache,
    bands: tuple[int, ...],
    window: tuple[int, int, int, int],
) -> tuple[Any, NDArray[np.bool_], float | None]:
    """Match bands as they lie in the file, where the first that holds anything is valid, and their nodata value."""
    scene, (row, col, *shape) = item.scene, window
    indexes = tuple(item.indexes[b] for b in bands)
    values = FileBands(raster=cache, indexes=indexes, window=window)
    valid = _valid_somewhere(values, scene.nodata)
    if scene.image.alpha is not None or scene.image.internal_mask:
        valid &= raster.read_valid(dataset, row, col, (shape[0], shape[1]))
    return values, valid, scene.nodata


def _warped_bands(
    item: PlacedScene,
    dataset: DatasetReader,
    bands: tuple[int, ...],
    window: tuple[int, int, int, int],
) -> tuple[Any, NDArray[np.bool_], float | None]:
    """As `_native_bands`, warped onto the lattice; as many bands as fit in memory."""
    image, nodata = item.scene.image, item.scene.nodata
    size = window[2] * window[3] * np.dtype(image.dtype).itemsize
    indexes = [item.indexes[b] for b in bands][: max(1, CACHE_BYTES // size)]
    empty = np.nan if np.dtype(image.dtype).kind == "f" else nodata or 0
    values = placed(
        dataset, image, item.lattice, window, bands=indexes, nodata=nodata, fill=[empty] * len(indexes)
    )
    return values, _valid_somewhere(values, empty), empty


def _valid_somewhere(values: Any, nodata: float | None) -> NDArray[np.bool_]:
    """Where the first match band is valid, or the next one if that holds nothing: it does not hide the others."""
    for k in range(len(values)):
        valid: NDArray[np.bool_] = raster.valid_values(values[k, :, :], nodata)
        if valid.any():
            break
    return valid


def band_mean(
    values: NDArray[Any], valid: NDArray[np.bool_], usable: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Mean of the bands as one match band; valid and usable where every band is."""
    total = np.zeros(values.shape[1:], np.float32)
    for band in values:
        total += band.astype(np.float32)
    mean = total / np.float32(len(values))
    return mean[None], np.asarray(valid.all(axis=0))[None], np.asarray(usable.all(axis=0))[None]


def _mean_band(values: Any, nodata: float | None) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean of all bands as one match band, band by band, and where all are valid."""
    total: NDArray[np.float32] = np.zeros(values.shape[1:], np.float32)
    clear: NDArray[np.bool_] = np.ones(values.shape[1:], np.bool_)
    for k in range(len(values)):
        band = values[k, :, :]
        total += band.astype(np.float32)
        clear &= raster.valid_values(band, nodata)
    total /= np.float32(len(values))
    return total[None], clear


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


def _holds(dtype: str, value: float) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    return bool(np.isfinite(value)) and np.iinfo(kind).min <= value <= np.iinfo(kind).max


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
        raster.reading(scene.image) as dataset,
        raster.warped(dataset, box, "average", scene.nodata) as view,
    ):
        values = raster.read_window(view, [item.indexes[band]], 0, 0, shape)[0]
        valid = raster.valid_values(values, scene.nodata) & raster.read_valid(view, 0, 0, shape)
    usable = valid.copy()
    for mask in scene.masks:
        usable &= usable_in(mask, box, (0, 0, *shape))
    return np.where(valid, values, 0).astype(np.float32), usable, valid
