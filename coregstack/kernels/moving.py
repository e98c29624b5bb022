"""Images and masks moved in their own frame, by one shift or by a displacement."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coregstack.kernels.displaced import (
    bounds_of,
    displaced_positions,
    resample_at,
    resample_mask_at,
    window_at,
)
from coregstack.kernels.displacement import Spline
from coregstack.kernels.resample import translate, translate_mask
from coregstack.model import NO_SHIFT, Displacement, Move, Shift

_STRIP = 128
"""Rows whose positions are in memory at a time."""


def move_image(
    values: NDArray[np.generic], move: Move, kernel: str = "cubic", nodata: float | None = None
) -> NDArray[Any]:
    """Move the content of an image; its frame stays.

    Parameters
    ----------
    values : ndarray, shape (y, x) or (band, y, x)
        As for `coregstack.kernels.resample.translate`.
    move : Shift or Displacement
        What is applied to the content, px; a displacement in the frame whose first pixel is that of the image.
    kernel : str
        As for `coregstack.kernels.resample.translate`.
    nodata : float, optional
        As for `coregstack.kernels.resample.translate`.

    Returns
    -------
    ndarray, shape and dtype of `values`
        What the content leaves empty holds nodata, or 0 where there is none.

    Examples
    --------
    >>> move_image(np.array([[1, 2, 3]]), Shift(0.0, 1.0))
    array([[0, 1, 2]])
    """
    fill = 0 if nodata is None else nodata
    shape = values.shape[-2], values.shape[-1]
    if isinstance(move, Shift):
        start = Shift(-move.y, -move.x)
        return translate(values, start=start, shape=shape, kernel=kernel, nodata=nodata, fill=fill)
    out: NDArray[Any] = np.empty(values.shape, values.dtype.newbyteorder("="))
    for rows, needed, y, x in _strips(move, shape, kernel):
        out[..., rows, :] = resample_at(values[..., *needed], y, x, kernel=kernel, nodata=nodata, fill=fill)
    return out


def move_mask(valid: NDArray[np.bool_], move: Move) -> NDArray[np.bool_]:
    """Move a mask by nearest neighbour, the rule by which `move_image` calls its output valid.

    Parameters
    ----------
    valid : ndarray of bool, shape (y, x)
        True where a pixel is valid.
    move : Shift or Displacement
        As for `move_image`.

    Returns
    -------
    ndarray of bool, shape of `valid`
        False where nothing valid is nearest.

    Examples
    --------
    >>> move_mask(np.array([[True, True, True]]), Shift(0.0, -1.0))
    array([[ True,  True, False]])
    """
    shape = valid.shape[-2], valid.shape[-1]
    if isinstance(move, Shift):
        return translate_mask(valid, start=Shift(-move.y, -move.x), shape=shape)
    out = np.empty(valid.shape, bool)
    for rows, needed, y, x in _strips(move, shape, "nearest"):
        out[..., rows, :] = resample_mask_at(valid[..., *needed], y, x)
    return out


def _strips(
    displacement: Displacement, shape: tuple[int, int], kernel: str
) -> Iterator[tuple[slice, tuple[slice, slice], NDArray[np.float64], NDArray[np.float64]]]:
    """Rows of an image, a few at a time, what of the image they take, and the positions of their pixels in that."""
    spline = Spline.of(displacement)
    for top in range(0, shape[0], _STRIP):
        rows = slice(top, min(top + _STRIP, shape[0]))
        y, x = displaced_positions(spline, (top, 0, rows.stop - top, shape[1]), NO_SHIFT)
        needed = window_at(bounds_of(y, x), shape, kernel)
        yield rows, needed, y - needed[0].start, x - needed[1].start
