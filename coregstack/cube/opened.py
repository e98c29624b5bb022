"""A cube opened as the stack that it was written from."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from coregstack.cube.mark import find_finished, intact
from coregstack.cube.place import place_of
from coregstack.stack.dataset import VARIABLES, unstacked


def open_zarr(store: Any, *, storage_options: dict[str, Any] | None = None) -> xr.DataArray | xr.Dataset:
    """Open a cube that `to_zarr` wrote as the stack that it was.

    Values, nodata, dtypes and attributes are those of the stack; pixels are read when they are needed, and everything
    that takes an aligned stack takes it. It has no files behind it any more.

    Parameters
    ----------
    store : path, URL, mapping or zarr Store
        As for `to_zarr`.
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    DataArray or Dataset
        Lazy. A Dataset if the cube was written from one: its images as they were, each with its dtype, nodata value and
        attributes; what else it held is not in the cube.

    Raises
    ------
    MissingFile
        If there is no cube.
    OutputConflict
        If the store holds something else.
    UnreadableFile
        If the cube is damaged.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import align, to_zarr
    >>> from coregstack.testing import sample_stack
    >>> aligned = align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_zarr(aligned, f"{folder}/cube.zarr")
    ...     open_zarr(f"{folder}/cube.zarr").dims == aligned.dims
    True
    """
    place = place_of(store, storage_options)
    mark = find_finished(place)
    with intact(place, "metadata"):
        options: Any = {"decode_coords": "all", "mask_and_scale": False, "chunks": {}}
        dataset = xr.open_zarr(place.store, group=place.path or None, **options)
        array = _as_written(dataset[mark.layout["variable"]]).drop_encoding()
        return unstacked(array) if VARIABLES in array.attrs else array


def _as_written(array: xr.DataArray) -> xr.DataArray:
    """The same with coordinates as a stack has them.

    Texts are Python's own, which every library takes, instead of a dtype of numpy 2; they are read. Numbers name no
    value for what is missing, which NaN says.
    """
    coords = {}
    for name, coord in array.coords.items():
        if coord.dtype.kind == "T":
            coords[name] = (coord.dims, np.asarray(coord.values, object), coord.attrs)
        elif "_FillValue" in coord.attrs:
            kept = {key: value for key, value in coord.attrs.items() if key != "_FillValue"}
            coords[name] = (coord.dims, coord.data, kept)
    return array.assign_coords(coords)
