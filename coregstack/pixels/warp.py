"""A raster on the anchor's lattice, in a single interpolation.

Where the raster differs from the lattice by a translation only, the package's own separable kernel
moves it; where CRS, pixel size or orientation differ, GDAL warps it. A shift is part of that one step. A
displacement that varies over the scene is part of it as well: then every output pixel has a position in the raster
of its own, whatever lies between the two, and the package's own kernel interpolates there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.io import DatasetReader

from coregstack.geometry.lattice import footprint, offset, pixel_scale, same_pixels, turn
from coregstack.kernels.displaced import bounds_of, resample_at, resample_mask_at, window_at
from coregstack.kernels.resample import source_window, translate, translate_mask
from coregstack.model import NO_SHIFT, Displacement, Move, Shift
from coregstack.pixels import raster
from coregstack.pixels.header import RasterHeader
from coregstack.pixels.places import Places, places

if TYPE_CHECKING:
    from coregstack.pixels.bandcache import BandCache

Window = tuple[int, int, int, int]
"""Row, column, height and width."""

_MOST_READ = 1 << 23
"""Pixels of a band that are read at once where a raster is finer than the lattice."""
_STRIP = 128
"""Rows whose positions are in memory at a time."""


def placed(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    *,
    bands: Sequence[int],
    move: Move = NO_SHIFT,
    resampling: str = "cubic",
    nodata: float | None = None,
    fill: Sequence[float],
    nearest: Collection[int] = (),
    cache: BandCache | None = None,
) -> NDArray[Any]:
    """Pixels of a raster in a window of a lattice, moved.

    Parameters
    ----------
    dataset : DatasetReader
        The open raster.
    header : RasterHeader
        Its header.
    lattice : GeoBox
        Where the pixels are wanted.
    window : tuple of int
        Row, column, height and width in the frame of `lattice`.
    bands : sequence of int
        Bands to read, counted from 0.
    move : Shift or Displacement
        What is applied to the content, in pixels and in the frame of `lattice`.
    resampling : str
        One of `coregstack.matching.choices.RESAMPLING`.
    nodata : float, optional
        Value of the source that marks pixels without data.
    fill : sequence of float
        For each band, the value of pixels that the source does not cover.
    nearest : collection of int
        Bands, counted from 0, that hold classes: they are moved by nearest neighbour whatever the resampling.
    cache : BandCache, optional
        The part of the raster that is in memory already.

    Returns
    -------
    ndarray
        Shape (band, y, x), dtype of the raster.
    """
    kernels = ["nearest" if band == header.alpha or band in nearest else resampling for band in bands]
    if isinstance(move, Displacement):
        return _displaced(dataset, header, lattice, window, bands, move, kernels, nodata, fill, cache)
    if same_pixels(header.box, lattice):
        return _translated(dataset, header, lattice, window, bands, move, kernels, nodata, fill, cache)
    out = np.empty((len(bands), *window[2:]), header.dtype)
    for kernel in dict.fromkeys(kernels):
        places = [k for k, own in enumerate(kernels) if own == kernel]
        some, empty = [bands[k] for k in places], [fill[k] for k in places]
        out[places] = _warped(dataset, header, lattice, window, some, move, kernel, nodata, empty)
    return out


def placed_valid(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    move: Move = NO_SHIFT,
) -> NDArray[np.bool_]:
    """Where a raster's own alpha band or internal mask says that there is data, by nearest neighbour.

    Parameters are those of `placed`; the result has shape (y, x).
    """
    row, col, height, width = window
    if isinstance(move, Displacement):
        return _displaced_valid(dataset, header, lattice, window, move)
    shift = move
    if not same_pixels(header.box, lattice):
        under, part, place = _seen(header.box, lattice, window, shift)
        out = np.zeros((height, width), bool)
        if 0 not in part[2:]:
            with raster.warped(dataset, under, "nearest", scale=pixel_scale(header.box, lattice)) as view:
                out[_slices(place)] = raster.read_valid(view, part[0], part[1], (part[2], part[3]))
        return out
    origin = offset(header.box, lattice)
    start = Shift(row - shift.y - origin.y, col - shift.x - origin.x)
    rows, cols = source_window(start, (height, width), dataset.shape, "nearest")
    if rows.stop <= rows.start or cols.stop <= cols.start:
        return np.zeros((height, width), bool)
    valid = raster.read_valid(
        dataset, rows.start, cols.start, (rows.stop - rows.start, cols.stop - cols.start)
    )
    local = Shift(start.y - rows.start, start.x - cols.start)
    return translate_mask(valid, start=local, shape=(height, width))


def _widest(kernels: Sequence[str]) -> str:
    """Of some kernels the one that takes most of its surroundings; those of a raster are one and nearest neighbour."""
    return next((kernel for kernel in kernels if kernel != "nearest"), "nearest")


def _seen(box: GeoBox, lattice: GeoBox, window: Window, shift: Shift) -> tuple[GeoBox, Window, Window]:
    """Through which box GDAL sees a raster, which part of that lies in a window, and where in the window.

    The box holds the whole raster whatever the window is, so that a pixel does not depend on how an image
    is cut. To read the content under a box that is moved back is the same as to move the content.
    """
    whole = footprint(box, lattice, shift)
    top, left = (int(edge) for edge in offset(whole, lattice))
    row, end_row = max(window[0], top), min(window[0] + window[2], top + whole.shape[0])
    col, end_col = max(window[1], left), min(window[1] + window[3], left + whole.shape[1])
    height, width = max(end_row - row, 0), max(end_col - col, 0)
    # GDAL knows nothing of longitudes that are a turn apart
    affine = (
        Affine.translation(-turn(box, lattice), 0) * whole.affine * Affine.translation(-shift.x, -shift.y)
    )
    under = GeoBox(whole.shape, affine, lattice.crs)
    return under, (row - top, col - left, height, width), (row - window[0], col - window[1], height, width)


def _translated(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    bands: Sequence[int],
    shift: Shift,
    kernels: Sequence[str],
    nodata: float | None,
    fill: Sequence[float],
    cache: BandCache | None,
) -> NDArray[Any]:
    row, col, *shape = window
    origin = offset(header.box, lattice)
    start = Shift(row - shift.y - origin.y, col - shift.x - origin.x)
    height, width = shape
    rows, cols = source_window(start, (height, width), dataset.shape, _widest(kernels))
    out = np.empty((len(bands), height, width), header.dtype)
    if rows.stop <= rows.start or cols.stop <= cols.start:
        out[:] = np.asarray(fill, header.dtype)[:, None, None]
        return out
    values, valid = _read(dataset, header, bands, rows, cols, cache)
    local = Shift(start.y - rows.start, start.x - cols.start)
    for k, band in enumerate(bands):
        opacity = band == header.alpha
        translate(
            values[k],
            start=local,
            shape=(height, width),
            kernel=kernels[k],
            valid=None if opacity else valid,
            nodata=None if opacity else nodata,
            fill=fill[k],
            out=out[k],
        )
    return out


def _read(
    dataset: DatasetReader,
    header: RasterHeader,
    bands: Sequence[int],
    rows: slice,
    cols: slice,
    cache: BandCache | None,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Bands of a raster in a window, and where its alpha band or mask says that there is data, if it has one."""
    inside = rows.start, cols.start, (rows.stop - rows.start, cols.stop - cols.start)
    wanted = list(bands)
    values = raster.read_window(dataset, wanted, *inside) if cache is None else cache.read(wanted, *inside)
    masked = header.alpha is not None or header.internal_mask
    return values, raster.read_valid(dataset, *inside) if masked else None


def _displaced(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    bands: Sequence[int],
    displacement: Displacement,
    kernels: Sequence[str],
    nodata: float | None,
    fill: Sequence[float],
    cache: BandCache | None,
) -> NDArray[Any]:
    where = places(header.box, lattice, displacement)
    out = np.empty((len(bands), *window[2:]), header.dtype)
    out[:] = np.asarray(fill, header.dtype)[:, None, None]
    kernel = _widest(kernels)
    # bands of one way share the weights of their taps
    ways = list(zip(kernels, [band == header.alpha for band in bands], fill, strict=True))
    for part, rows, cols in _reads(where, window, dataset.shape, kernel):
        values, valid = _read(dataset, header, bands, rows, cols, cache)
        for target, needed, y, x in _strips(where, window, part, rows, cols, kernel):
            if 0 in values[0][needed].shape:
                continue
            mask = None if valid is None else valid[needed]
            for way in dict.fromkeys(ways):
                own, opacity, empty = way
                alike = [k for k, other in enumerate(ways) if other == way]
                out[alike, *target] = resample_at(
                    values[alike, *needed],
                    y,
                    x,
                    kernel=own,
                    scale=where.scale,
                    valid=None if opacity else mask,
                    nodata=None if opacity else nodata,
                    fill=empty,
                )
    return out


def _displaced_valid(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    displacement: Displacement,
) -> NDArray[np.bool_]:
    where = places(header.box, lattice, displacement)
    out = np.zeros(window[2:], bool)
    for part, rows, cols in _reads(where, window, dataset.shape, "nearest"):
        size = rows.stop - rows.start, cols.stop - cols.start
        valid = raster.read_valid(dataset, rows.start, cols.start, size)
        for target, needed, y, x in _strips(where, window, part, rows, cols, "nearest"):
            if 0 not in valid[needed].shape:
                out[target] = resample_mask_at(valid[needed], y, x)
    return out


def _reads(
    where: Places, window: Window, shape: tuple[int, int], kernel: str
) -> Iterator[tuple[Window, slice, slice]]:
    """Parts of a window, none of which takes more of the source than may be in memory, and what each takes."""
    row, col, height, width = window
    rows, cols = window_at(where.bounds(window), shape, kernel, where.scale)
    size = (rows.stop - rows.start) * (cols.stop - cols.start)
    if size == 0:
        return
    if size <= max(_MOST_READ, 4 * height * width) or height * width == 1:
        yield window, rows, cols
    elif height >= width:
        half = height // 2
        yield from _reads(where, (row, col, half, width), shape, kernel)
        yield from _reads(where, (row + half, col, height - half, width), shape, kernel)
    else:
        half = width // 2
        yield from _reads(where, (row, col, height, half), shape, kernel)
        yield from _reads(where, (row, col + half, height, width - half), shape, kernel)


def _strips(
    where: Places, window: Window, part: Window, rows: slice, cols: slice, kernel: str
) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]]:
    """Pieces of a part of a window, and for each what it takes of the rows and columns that were read.

    For each piece where it lies in the window, what it takes, and positions in that.
    """
    row, col, height, width = part
    shape = rows.stop - rows.start, cols.stop - cols.start
    for top in range(row, row + height, _STRIP):
        piece = top, col, min(_STRIP, row + height - top), width
        y, x = where.positions(piece)
        y -= rows.start
        x -= cols.start
        needed = window_at(bounds_of(y, x), shape, kernel, where.scale)
        y -= needed[0].start
        x -= needed[1].start
        yield _slices((top - window[0], col - window[1], *piece[2:])), needed, y, x


def _warped(
    dataset: DatasetReader,
    header: RasterHeader,
    lattice: GeoBox,
    window: Window,
    bands: Sequence[int],
    shift: Shift,
    resampling: str,
    nodata: float | None,
    fill: Sequence[float],
) -> NDArray[Any]:
    under, part, place = _seen(header.box, lattice, window, shift)
    out = np.empty((len(bands), *window[2:]), header.dtype)
    out[:] = np.asarray(fill, header.dtype)[:, None, None]
    row, col, *shape = part
    if 0 in shape:
        return out
    size = shape[0], shape[1]
    scale = pixel_scale(header.box, lattice)
    with raster.warped(dataset, under, resampling, nodata, scale=scale) as view:
        values = raster.read_window(view, list(bands), row, col, size)
        valid = raster.read_valid(view, row, col, size) if nodata is None else None
    for k in range(len(bands)):
        covered = raster.valid_values(values[k], nodata) if valid is None else valid
        np.copyto(out[k][_slices(place)], values[k], where=covered)
    return out


def _slices(window: Window) -> tuple[slice, slice]:
    row, col, height, width = window
    return slice(row, row + height), slice(col, col + width)
