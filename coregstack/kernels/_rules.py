"""What every resampling kernel promises of pixels: which are valid, and what is written for them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coregstack.errors import InvalidRequest
from coregstack.kernels._interpolate import full_blocks, usable_pixels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rules:
    """How pixels of one dtype are marked, computed and written."""

    nodata: NDArray[np.generic]
    """The value that marks invalid pixels, shape (1,), or (0,) if there is none that a finite pixel can equal."""
    background: NDArray[np.generic]
    """What invalid output pixels become, shape (1,)."""
    marks: NDArray[np.generic]
    """Smallest and largest value, and the background, shape (3,)."""
    guard: NDArray[np.generic]
    """The nodata value and its neighbours below and above, shape (3,), or (0,) if there is none."""
    real: type[np.floating[Any]]
    """What sums are computed in."""

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, dtype: np.dtype[Any], nodata: float | None, fill: float | None) -> Rules:
        """Rules for a dtype, known for all bands and scenes alike.

        Raises
        ------
        InvalidRequest
            If the fill value does not fit in the dtype.
        """
        empty = _representable(nodata, dtype)
        background = _fill_value(fill, empty, dtype)
        marks, guard = empty[:0], empty
        if dtype.kind != "b":
            limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
            marks = np.array([limits.min, limits.max, background[0]], dtype)
            guard = _guard(empty, limits)
        real = np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64
        return cls(nodata=empty, background=background, marks=marks, guard=guard, real=real)

    def usable(
        self, band: NDArray[np.generic], mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where pixels of a band may be used, shape (y, x), and which parts of its rows are so throughout.

        `mask` is (y, x), or (0, 0) where all are valid.
        """
        usable = usable_pixels(band, mask, self.nodata)
        return usable, full_blocks(usable)


def checked(
    values: NDArray[np.generic], valid: NDArray[np.bool_] | None, kernel: str
) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """An image of native byte order, and its mask.

    Raises
    ------
    InvalidRequest
        If the dtype or a shape cannot be used.
    """
    native = values.dtype.newbyteorder("=")
    if native.kind not in "biuf" or native.itemsize > 8 or native == np.float16:
        raise InvalidRequest(
            f"Pixels to resample have to be integers, float32, float64 or bool, not {values.dtype}."
        )
    if native.kind == "b" and kernel != "nearest":
        raise InvalidRequest(f'A bool image can be resampled by kernel "nearest" only, not by {kernel!r}.')
    if values.ndim not in (2, 3):
        raise InvalidRequest(f"An image has to have shape (y, x) or (band, y, x), not {values.shape}.")
    if valid is not None and valid.shape not in (values.shape, values.shape[-2:]):
        raise InvalidRequest(
            f"The valid-mask of an image of shape {values.shape} has to have that shape or its last two "
            f"dimensions, not {valid.shape}."
        )
    return values.astype(native, copy=False), valid


def bands_of(
    values: NDArray[np.generic], valid: NDArray[np.bool_] | None, out: NDArray[np.generic]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.bool_], NDArray[np.generic]]]:
    """Each band of a checked image with its mask, (0, 0) where all are valid, and its part of `out`."""
    bands = values[None] if values.ndim == 2 else values
    masks = None if valid is None else np.broadcast_to(valid, bands.shape)
    targets = out.reshape(-1, *out.shape[-2:])
    for k, band in enumerate(bands):
        yield band, np.ones((0, 0), bool) if masks is None else np.ascontiguousarray(masks[k]), targets[k]


def inside(start: int, stop: int, size: int) -> slice:
    """From `start` to `stop`, cut to what lies in an axis of `size` pixels; empty where nothing does."""
    low = min(max(start, 0), size)
    return slice(low, max(low, min(stop, size)))


def _representable(value: float | None, dtype: np.dtype[Any]) -> NDArray[np.generic]:
    """The value as an array of shape (1,), or (0,) if there is none that a finite pixel can equal."""
    if value is None or not math.isfinite(value) or dtype.kind == "b":
        return np.empty(0, dtype)
    if dtype.kind == "f":
        fits = abs(value) <= np.finfo(dtype).max
    else:
        fits = value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max
    return np.array([value] if fits else [], dtype)


def _fill_value(fill: float | None, nodata: NDArray[np.generic], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    if fill is None:
        return nodata if nodata.size else np.array([np.nan if dtype.kind == "f" else 0], dtype)
    if dtype.kind == "f" and not math.isfinite(fill):
        return np.array([fill], dtype)
    value = np.array([fill]).astype(bool) if dtype.kind == "b" else _representable(fill, dtype)
    if not value.size:
        raise InvalidRequest(f"The fill value {fill!r} does not fit in {dtype}: give one that does.")
    return value


def _guard(nodata: NDArray[np.generic], limits: Any) -> NDArray[np.generic]:
    """A nodata value and its neighbours, both the same where there is only one."""
    if not nodata.size:
        return nodata
    value, dtype = nodata[0], nodata.dtype
    if dtype.kind == "f":
        below, above = np.nextafter(value, limits.min), np.nextafter(value, limits.max)
    else:
        below, above = max(int(value) - 1, limits.min), min(int(value) + 1, limits.max)
    below, above = (above if below == value else below), (below if above == value else above)
    return np.array([value, below, above], dtype)
