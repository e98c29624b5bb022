"""Masks that a user gives: which pixels of a stack may be used for matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling

from coregstack.errors import InvalidRequest
from coregstack.geometry.lattice import offset, same_pixels
from coregstack.graph.blocks import without_classes
from coregstack.pixels.regrid import regridded_mask
from coregstack.stack.conform import Stack, with_known_dims

Mask = xr.DataArray | bool | str | Mapping[str, Sequence[int]] | Callable[[xr.DataArray], xr.DataArray]
"""What names the pixels that may be used for matching, as `coregstack.estimate` takes it."""


def usable_pixels(stack: Stack, mask: Mask | None) -> da.Array | None:
    """Which pixels of a stack may be used for matching, dims (time, y, x); None if all valid ones may.

    Parameters
    ----------
    stack : Stack
    mask : DataArray, bool, str, mapping, callable or None
        As `coregstack.estimate` takes it.

    Raises
    ------
    InvalidRequest
        If the mask is of another kind, size or place.
    """
    if mask is None or mask is True:
        return None if stack.clear is None else stack.clear.data
    if mask is False:
        return None
    if callable(mask) and not isinstance(mask, xr.DataArray):
        mask = _called(mask, stack)
    if isinstance(mask, str | Mapping):
        return _without_classes(stack, *_classes(mask))
    if not isinstance(mask, xr.DataArray):
        raise InvalidRequest(_EXPECTED.format(type(mask).__name__))
    return _given(stack, with_known_dims(mask))


_EXPECTED = (
    "mask has to be a bool DataArray with dims (time, y, x) or (y, x), True where a pixel may be used; a band and its "
    "classes that may not be used, as 'scl:3,8,9,10' or {{'scl': [3, 8, 9, 10]}}; a function that makes such an array "
    "of the stack; or False for none. This was given: {}."
)


def _called(make: Callable[[xr.DataArray], Any], stack: Stack) -> xr.DataArray:
    try:
        found = make(stack.given)
    except Exception as error:
        raise InvalidRequest(
            f"The function given as mask failed with the stack ({type(error).__name__}: {error}). It is called with "
            f"the stack as it was given, of dims {stack.given.dims}."
        ) from error
    if not isinstance(found, xr.DataArray):
        raise InvalidRequest(
            f"A function given as mask has to return a bool DataArray, but it returned {type(found).__name__}."
        )
    return found


def _classes(mask: str | Mapping[str, Sequence[int]]) -> tuple[str, list[int]]:
    """Name of a band, and its classes that may not be used."""
    if isinstance(mask, str):
        name, _, text = mask.partition(":")
        numbers: Any = [part for part in text.split(",") if part.strip()]
    elif len(mask) == 1:
        ((name, numbers),) = mask.items()
    else:
        raise InvalidRequest(f"mask has to name one band with its classes, but {len(mask)} were given.")
    try:
        classes = [int(number) for number in numbers]
    except (TypeError, ValueError):
        classes = []
    if not name or not classes:
        raise InvalidRequest(_EXPECTED.format(repr(mask)))
    return str(name), classes


def _without_classes(stack: Stack, name: str, classes: Sequence[int]) -> da.Array:
    known = [band.lower() for band in stack.bands]
    if name.lower() not in known:
        raise InvalidRequest(
            f"mask names the band {name!r}, but the stack has {', '.join(stack.bands)}. Pass the classes of one of "
            "these, or a DataArray."
        )
    values = stack.array.data[:, known.index(name.lower())]
    return without_classes(values, classes, None if stack.clear is None else stack.clear.data)


def _given(stack: Stack, mask: xr.DataArray) -> da.Array:
    if mask.dtype != bool or set(mask.dims) not in ({"time", "y", "x"}, {"y", "x"}):
        raise InvalidRequest(_EXPECTED.format(f"a DataArray of {mask.dtype} with dims {mask.dims}"))
    sizes = {str(dim): stack.array.sizes[dim] for dim in mask.dims}
    if set(mask.dims) == {"y", "x"}:
        mask = _on_grid(mask, stack)
    if dict(mask.sizes) != sizes:
        raise InvalidRequest(f"The mask's sizes {dict(mask.sizes)} are not the stack's, {sizes}.")
    for dim in sizes:
        _check_labels(dim, mask, stack)
    if "time" not in mask.dims:
        # what lies still, such as land or water, holds for all items
        mask = mask.drop_vars("time", errors="ignore").expand_dims(time=stack.array.sizes["time"])
    mask = mask.transpose("time", "y", "x")
    lazy: da.Array = (mask if mask.chunks is not None else mask.chunk({"time": 1})).data
    return lazy


def _on_grid(mask: xr.DataArray, stack: Stack) -> xr.DataArray:
    """A mask with a CRS on the grid of a stack, by nearest neighbour; what it does not cover is not used."""
    if mask.rio.crs is None or stack.box.crs is None or not {"x", "y"} <= set(mask.coords):
        return mask
    rows, cols = stack.box.shape
    x, y = stack.array.coords.get("x"), stack.array.coords.get("y")
    if x is None or y is None or (mask.sizes["y"], mask.sizes["x"]) == (rows, cols):
        return mask
    there: xr.DataArray = mask.astype("uint8").rio.reproject(
        stack.box.crs.to_wkt(),
        transform=stack.box.affine,
        shape=(rows, cols),
        resampling=Resampling.nearest,
        nodata=0,
    )
    return (there == 1).assign_coords(x=x.values, y=y.values)


def _check_labels(dim: str, mask: xr.DataArray, stack: Stack) -> None:
    """Refuse a mask whose coordinate says that it lies elsewhere; without one, positions count."""
    if dim not in mask.coords or dim not in stack.array.coords:
        return
    labels, wanted = mask.coords[dim].values, stack.array.coords[dim].values
    if dim == "time":
        same = labels.dtype.kind == wanted.dtype.kind and bool(
            np.all((labels == wanted) | (pd.isna(labels) & pd.isna(wanted)))
        )
        hint = "mask.sel(time=stack.time) brings it into the stack's order"
    else:
        pixel = abs(stack.box.affine.a if dim == "x" else stack.box.affine.e)
        same = np.allclose(labels, wanted, rtol=0, atol=pixel / 2) or _turned_round(
            dim, stack, labels, wanted, pixel
        )
        hint = "mask.rio.reproject_match brings it onto the stack's grid, and sortby turns an axis round"
    if not same:
        raise InvalidRequest(
            f"The mask's coordinate {dim!r} is not the stack's: {hint}. If only the labels are wrong, "
            f"mask.drop_vars({dim!r}) makes the positions count."
        )


def _turned_round(dim: str, stack: Stack, labels: NDArray[Any], wanted: NDArray[Any], pixel: float) -> bool:
    """Whether longitudes differ by whole turns only: 0 to 360 degrees beside -180 to 180."""
    if dim != "x" or stack.box.crs is None or not stack.box.crs.geographic:
        return False
    turns = np.round((labels - wanted) / 360)
    return bool(np.ptp(turns) == 0 and np.allclose(labels, wanted + 360 * turns, rtol=0, atol=pixel / 2))


def stable_ground(stack: Stack, stable: xr.DataArray, frame: GeoBox) -> NDArray[np.bool_]:
    """Ground that may drive a displacement, in the frame of the anchor; it is computed.

    Parameters
    ----------
    stack : Stack
    stable : DataArray
        Dims (y, x), bool, on the grid of the stack.
    frame : GeoBox
        The anchor's box.

    Raises
    ------
    InvalidRequest
        If it is no such mask.
    """
    known = with_known_dims(stable) if isinstance(stable, xr.DataArray) else stable
    if not isinstance(known, xr.DataArray) or set(known.dims) != {"y", "x"} or known.dtype != bool:
        raise InvalidRequest(
            "stable has to be a bool DataArray with dims (y, x) on the grid of the stack, True on ground that stays "
            f"where it is; this was given: {getattr(known, 'dtype', type(known).__name__)} with dims "
            f"{getattr(known, 'dims', ())}."
        )
    whole = _given(stack, known)[0].compute()
    if stack.box.crs is not None and not same_pixels(frame, stack.box):
        # beyond the stack all ground counts
        covered = regridded_mask(np.ones_like(whole), stack.box, frame)
        return regridded_mask(whole, stack.box, frame) | ~covered
    row, col = (round(value) for value in (offset(frame, stack.box) if stack.box.crs is not None else (0, 0)))
    out = np.ones(frame.shape, bool)
    rows = slice(max(row, 0), min(row + frame.shape[0], whole.shape[0]))
    cols = slice(max(col, 0), min(col + frame.shape[1], whole.shape[1]))
    out[rows.start - row : rows.stop - row, cols.start - col : cols.stop - col] = whole[rows, cols]
    return out
