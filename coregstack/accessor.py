"""`da.coreg`: the package's functions as methods of a DataArray."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import xarray as xr

from coregstack import api


@xr.register_dataarray_accessor("coreg")
class CoregAccessor:
    """Align a stack in place of calling the functions of `coregstack` with it.

    Examples
    --------
    >>> import coregstack
    >>> from coregstack.testing import sample_stack
    >>> stack = sample_stack(3, shape=(256, 256))
    >>> stack.coreg.align(anchor=0).dims == stack.dims
    True
    """

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def estimate(self, anchor: Hashable | xr.DataArray, **options: Any) -> xr.Dataset:
        """Estimate shifts and scores of this stack; see `coregstack.estimate`."""
        return api.estimate(self._array, anchor, **options)

    def apply(self, quality: xr.Dataset, *, resampling: str = "cubic") -> xr.DataArray:
        """Shift the items of this stack; see `coregstack.apply`."""
        return api.apply(self._array, quality, resampling=resampling)

    def align(self, anchor: Hashable | xr.DataArray, **options: Any) -> xr.DataArray:
        """Align this stack; see `coregstack.align`."""
        return api.align(self._array, anchor, **options)
