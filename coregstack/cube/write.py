"""An aligned stack as one Zarr cube."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
import zarr
from dask.delayed import Delayed

from coregstack._version import __version__
from coregstack.cube.dates import Target, write_dates
from coregstack.cube.fingerprint import date_fingerprints
from coregstack.cube.memory import (
    Memory,
    check_same,
    grow,
    new_root,
    open_cube,
    read_memory,
    start_run,
    sweep,
)
from coregstack.cube.template import CLEAR, Cube, consolidate, write_series, write_template
from coregstack.cube.unaligned import drop_unaligned
from coregstack.errors import InvalidRequest
from coregstack.stack.conform import conform

Unaligned = Literal["keep", "drop", "mask"]


def to_zarr(
    aligned: xr.DataArray,
    store: Any,
    *,
    unaligned: Unaligned = "keep",
    overwrite: bool = False,
    compute: bool = True,
    storage_options: dict[str, Any] | None = None,
) -> Delayed | None:
    """Write an aligned stack as a Zarr 3 cube, or finish one that is there.

    All metadata and coordinates are written first, then each date on its own, as one object of the
    store (several where a date is larger than 128 MiB). A date's pixels, its mask and its quality
    are computed together. Memory holds a few dates a worker, however many there are.

    The cube opens with ``xarray.open_zarr(store, decode_coords="all")`` and carries its CRS as a CF
    grid mapping and as GeoZarr attributes. Values, nodata, scale and offset are kept as they are:
    with ``mask_and_scale=False`` the stored integers come back.

    Parameters
    ----------
    aligned : DataArray
        What `coregstack.align` returns: dims (time, band, y, x) or (time, y, x), with coordinates
        that may be lazy.
    store : path, URL, mapping or zarr Store
        What `xarray.Dataset.to_zarr` takes: a folder, an fsspec URL, a `zarr.storage` or obstore
        store, the store of an Icechunk session. A store in memory needs a scheduler of threads.
    unaligned : {"keep", "drop", "mask"}
        What becomes of dates whose status is "failed" or "no_improvement": they are written as
        they are, left out, or written with all pixels nodata. "drop" computes the quality of new
        dates at once, because the cube's length depends on it.
    overwrite : bool
        Start anew, whatever cube or other Zarr data is there. Otherwise only dates that are
        missing or changed are written: their inputs, options and the package version are
        compared. New dates may follow those that are there.
    compute : bool
        Write the pixels now. Otherwise only the template is written, and the rest is returned.
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    Delayed or None
        With ``compute=False``, what writes all dates when it is computed. A date that it was
        interrupted at is written again by the next call.

    Raises
    ------
    InvalidRequest
        If an option cannot be honoured.
    InvalidStack
        If `aligned` is not a stack.
    OutputConflict
        If the store holds something else.

    Examples
    --------
    >>> import numpy as np, xarray as xr, zarr
    >>> aligned = xr.DataArray(
    ...     np.arange(24, dtype="uint16").reshape(2, 3, 4),
    ...     dims=("time", "y", "x"),
    ...     coords={"time": np.array(["2024-05-01", "2024-05-08"], "datetime64[ns]"),
    ...             "y": [25.0, 15.0, 5.0], "x": [5.0, 15.0, 25.0, 35.0]},
    ...     name="red",
    ... ).rio.write_crs(32633).rio.write_nodata(0)
    >>> store = zarr.storage.MemoryStore()
    >>> to_zarr(aligned, store)
    >>> cube = xr.open_zarr(store, decode_coords="all", mask_and_scale=False)
    >>> cube.red.rio.crs.to_epsg(), int(cube.red[1, 2, 3]), int(cube.red.rio.nodata)
    (32633, 23, 0)
    """
    cube = cube_of(aligned, unaligned)
    root = open_cube(store, storage_options, overwrite=overwrite)
    memory = Memory(items=[], fingerprints=[], dropped={}) if root is None else read_memory(root)
    dropped: dict[str, str] = {}
    if unaligned == "drop":
        cube, dropped = drop_unaligned(
            cube, kept=set(filter(None, memory.fingerprints)), dropped=memory.dropped
        )
        if not cube.items:
            raise InvalidRequest('With unaligned="drop" no date is left to write. Use "keep" or "mask".')
    if root is None:
        root = new_root(store, storage_options)
        write_template(cube, root)
    else:
        check_same(root, cube.layout, memory, cube.items)
        sweep(root)
        grow(root, len(cube.items))
        write_series(cube, root)
    done = dict(enumerate(memory.fingerprints))
    slots = [slot for slot, text in enumerate(cube.fingerprints) if done.get(slot) != text]
    state = Memory(items=cube.items, fingerprints=cube.fingerprints, dropped=dropped)
    target = _target(cube, root, start_run(root, state, slots, cube.layout, __version__))
    consolidate(root)
    writing = write_dates(cube.select(slots), target, slots, mask=unaligned == "mask")
    if not compute:
        return writing
    writing.compute()
    return None


def cube_of(aligned: xr.DataArray, unaligned: Unaligned) -> Cube:
    if unaligned not in get_args(Unaligned):
        raise InvalidRequest(f'unaligned has to be "keep", "drop" or "mask", but {unaligned!r} was given.')
    stack = conform(aligned)
    array = stack.array if "band" in aligned.dims else stack.array.isel(band=0, drop=True)
    if stack.clear is not None:
        array = array.assign_coords({CLEAR: stack.clear})
    array = array.assign_coords(id=("time", np.array(stack.ids, object)))
    if unaligned != "keep" and "status" not in array.coords:
        raise InvalidRequest(
            f"unaligned={unaligned!r} needs the coordinate 'status' that coregstack.align gives; without it "
            'only "keep" is possible.'
        )
    if unaligned == "mask" and stack.nodata is None:
        raise InvalidRequest(
            'unaligned="mask" needs a nodata value, but the stack names none. Set one with rio.write_nodata.'
        )
    array = _storable(array)
    options = {"version": __version__, "unaligned": unaligned}
    return Cube(
        name=_name(aligned),
        array=array,
        box=stack.box,
        nodata=stack.nodata,
        items=_items(array),
        fingerprints=_fingerprints(array, options),
    )


def _name(aligned: xr.DataArray) -> str:
    name = str(aligned.name or "")
    # xarray names an array after its dask graph where nobody gave it a name
    usable = name and name not in aligned.coords and not re.search("-[0-9a-f]{32}$", name)
    return name if usable else "image"


def _storable(array: xr.DataArray) -> xr.DataArray:
    """Keep the coordinates that Zarr can hold; loaders leave python objects among them."""
    coords: dict[str, Any] = {}
    for name, coord in array.coords.items():
        if coord.chunks is not None or coord.dtype.kind not in "OUST":
            continue
        values = coord.values.ravel().tolist()
        if all(value is None or isinstance(value, str) for value in values):
            texts = np.array(["" if value is None else str(value) for value in values], object)
            coords[str(name)] = (coord.dims, texts.reshape(coord.shape), coord.attrs)
        else:
            array = array.drop_vars([name])
    return array.assign_coords(coords)


def _items(array: xr.DataArray) -> list[str]:
    times = array.coords["time"].values if "time" in array.coords else range(array.sizes["time"])
    return [f"{name} {time}" for name, time in zip(array.coords["id"].values, times, strict=True)]


def _fingerprints(array: xr.DataArray, options: dict[str, str]) -> list[str]:
    lazy, known = [array.data], []
    for name in sorted(map(str, array.coords)):
        coord = array.coords[name]
        if "time" in coord.dims and coord.chunks is not None:
            lazy.append(coord.data)
        elif coord.dims == ("time",):
            known.append(coord.values.tolist())
    return date_fingerprints(lazy, options, list(zip(*known, strict=True)))


def _target(cube: Cube, root: zarr.Group, record: zarr.Array) -> Target:
    clear = root[CLEAR] if CLEAR in cube.array.coords else None
    return Target(root=root, pixels=root[cube.name], clear=clear, record=record)
