"""Masks that a user gives: which pixels of a stack may be used for matching."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from coregstack.errors import InvalidRequest
from coregstack.stack.conform import Stack, with_known_dims


def usable_pixels(stack: Stack, mask: xr.DataArray | bool | None) -> da.Array | None:
    """Which pixels of a stack may be used for matching, dims (time, y, x); None if all valid ones may.

    Parameters
    ----------
    stack : Stack
    mask : DataArray, bool or None
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
    if isinstance(mask, xr.DataArray):
        mask = with_known_dims(mask)
    if not isinstance(mask, xr.DataArray) or set(mask.dims) != {"time", "y", "x"} or mask.dtype != bool:
        given = type(mask).__name__
        if isinstance(mask, xr.DataArray):
            given = f"{mask.dtype} with dims {mask.dims}"
        raise InvalidRequest(
            "mask has to be a bool DataArray with dims (time, y, x), True where a pixel may be used, or False "
            f"for none; {given} was given."
        )
    sizes = {dim: stack.array.sizes[dim] for dim in ("time", "y", "x")}
    if dict(mask.sizes) != sizes:
        raise InvalidRequest(f"The mask's sizes {dict(mask.sizes)} are not the stack's, {sizes}.")
    for dim in sizes:
        _check_labels(dim, mask, stack)
    mask = mask.transpose("time", "y", "x")
    return (mask if mask.chunks is not None else mask.chunk({"time": 1})).data


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
        same = np.allclose(labels, wanted, rtol=0, atol=pixel / 2)
        hint = "mask.rio.reproject_match brings it onto the stack's grid, and sortby turns an axis round"
    if not same:
        raise InvalidRequest(
            f"The mask's coordinate {dim!r} is not the stack's: {hint}. If only the labels are wrong, "
            f"mask.drop_vars({dim!r}) makes the positions count."
        )
