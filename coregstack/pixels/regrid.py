"""An image in memory on another lattice, in one interpolation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.kernels.displaced import bounds_of, resample_at, resample_mask_at, window_at
from coregstack.model import NO_SHIFT, Move
from coregstack.pixels.places import Places, displacement_of, places

_STRIP = 128
"""Rows whose positions are in memory at a time."""
_CLEAR_SHARE = 0.5
"""Part of what a larger pixel sees that has to be clear."""


def regridded(
    values: NDArray[Any],
    box: GeoBox,
    lattice: GeoBox,
    *,
    move: Move = NO_SHIFT,
    kernel: str = "cubic",
    valid: NDArray[np.bool_] | None = None,
    nodata: float | None = None,
    fill: float = 0.0,
) -> NDArray[Any]:
    """An image on another lattice, moved.

    Where pixels of the lattice are larger than those of the image, what they see is averaged: the kernel is as much
    wider, so that detail that they cannot hold does not come back as false texture.

    Parameters
    ----------
    values : ndarray, shape (y, x) or (band, y, x)
        The image.
    box : GeoBox
        Where its pixels lie.
    lattice : GeoBox
        Where they are wanted, in any CRS.
    move : Shift or Displacement
        What is applied to the content, px of `lattice`, in its frame.
    kernel, valid, nodata, fill
        As for `coregstack.kernels.displaced.resample_at`.

    Returns
    -------
    ndarray, shape of `lattice`, or (band,) + that
        Of the dtype of `values`.

    Examples
    --------
    >>> from affine import Affine
    >>> fine, coarse = (GeoBox((n, n), Affine(s, 0, 0, 0, -s, 24), "EPSG:32633") for n, s in ((8, 3), (4, 6)))
    >>> regridded(np.full((8, 8), 7), fine, coarse).tolist()[0]
    [7, 7, 7, 7]
    """
    where = places(box, lattice, displacement_of(move))
    height, width = lattice.shape
    out: NDArray[Any] = np.full((*values.shape[:-2], height, width), fill, values.dtype.newbyteorder("="))
    shape = values.shape[-2], values.shape[-1]
    for rows, needed, y, x in _strips(where, (height, width), shape, kernel):
        if 0 in values[..., *needed].shape:
            continue
        out[..., rows, :] = resample_at(
            values[..., *needed],
            y,
            x,
            kernel=kernel,
            scale=where.scale,
            valid=None if valid is None else valid[..., *needed],
            nodata=nodata,
            fill=fill,
        )
    return out


def regridded_mask(
    mask: NDArray[np.bool_], box: GeoBox, lattice: GeoBox, *, move: Move = NO_SHIFT
) -> NDArray[np.bool_]:
    """A mask of shape (y, x) on another lattice, moved, by nearest neighbour; False beyond its edge."""
    where = places(box, lattice, displacement_of(move))
    height, width = lattice.shape
    out = np.zeros((height, width), bool)
    for rows, needed, y, x in _strips(where, (height, width), (mask.shape[0], mask.shape[1]), "nearest"):
        if 0 not in mask[needed].shape:
            out[rows] = resample_mask_at(mask[needed], y, x)
    return out


def match_planes(
    values: NDArray[Any], usable: NDArray[np.bool_], box: GeoBox, lattice: GeoBox
) -> NDArray[np.float32]:
    """Match bands on the lattice that they are matched on.

    Parameters
    ----------
    values : ndarray, shape (band, y, x)
        Match bands.
    usable : ndarray of bool, shape (y, x) or (band, y, x)
        True where a pixel is valid and clear; the others have no part in what a larger pixel holds.
    box, lattice : GeoBox
        As for `regridded`.

    Returns
    -------
    ndarray of float32, shape (band,) + that of `lattice`
        NaN where less than half of what the pixel sees is usable.
    """
    planes = np.empty((len(values), *lattice.shape), np.float32)
    for k, (band, mask) in enumerate(zip(values, np.broadcast_to(usable, values.shape), strict=True)):
        planes[k] = regridded(band.astype(np.float32), box, lattice, valid=mask, fill=np.nan)
        if not mask.all():
            share = regridded(mask.astype(np.float32), box, lattice, kernel="bilinear")
            planes[k][share < _CLEAR_SHARE] = np.nan
    return planes


def _strips(
    where: Places, shape: tuple[int, int], source: tuple[int, int], kernel: str
) -> Iterator[tuple[slice, tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]]:
    """Rows of the output, a few at a time, what of the image they take, and the positions of their pixels in that."""
    for top in range(0, shape[0], _STRIP):
        rows = slice(top, min(top + _STRIP, shape[0]))
        y, x = where.positions((top, 0, rows.stop - top, shape[1]))
        needed = window_at(bounds_of(y, x), source, kernel, where.scale)
        yield rows, needed, y - needed[0].start, x - needed[1].start
