"""New dates written into a cube that is there, beside those that it holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
import zarr

from coregstack._version import __version__
from coregstack.cube.dates import Target, write_dates
from coregstack.cube.memory import Memory, grow, open_cube, read_memory, start_run, sweep
from coregstack.cube.template import CLEAR, MEMORY, Cube, consolidate
from coregstack.cube.write import cube_of
from coregstack.errors import InvalidRequest, MissingFile, OutputConflict
from coregstack.untrusted.names import shown


def open_grown(store: Any, storage_options: dict[str, Any] | None) -> tuple[xr.DataArray, dict[str, bool]]:
    """A cube as a lazy stack of stored values, and for each id that it knows whether the date is finished.

    Raises
    ------
    MissingFile
        If there is no cube.
    OutputConflict
        If the store holds something else.
    """
    root = open_cube(store, storage_options, overwrite=False)
    if root is None:
        raise MissingFile(
            f"There is no cube in {shown(store)}. Write it first, with to_zarr or run_scenes(zarr=...)."
        )
    memory = read_memory(root)
    options: Any = {} if storage_options is None else {"storage_options": storage_options}
    dataset = xr.open_zarr(
        store, decode_coords="all", mask_and_scale=False, consolidated=False, chunks={}, **options
    )
    layout: Any = root[MEMORY].attrs["layout"]
    array = dataset[layout["variable"]]
    finished = {
        str(item).rsplit(" ", 1)[0]: bool(text)
        for item, text in zip(memory.items, memory.fingerprints, strict=True)
    }
    return array.chunk({"time": 1}), finished


def write_behind(
    aligned: xr.DataArray, store: Any, storage_options: dict[str, Any] | None = None
) -> list[int]:
    """Write dates into a cube: into their own slots if an interrupted run left such, else behind the last.

    Nothing that is finished is read or touched. A run that is killed leaves dates that the cube knows to be
    unfinished, all of whose pixels are nodata or their own; the same call then finishes them.

    Parameters
    ----------
    aligned : DataArray
        The new dates, on the cube's grid; their coordinates on time but pixels and mask are known.
    store : path, URL, mapping or zarr Store
        Of the cube.
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    list of int
        Positions along time that were written.

    Raises
    ------
    OutputConflict
        If the dates do not fit the cube.
    """
    root = open_cube(store, storage_options, overwrite=False)
    if root is None:
        raise MissingFile(f"There is no cube in {shown(store)}.")
    memory = read_memory(root)
    there: Any = root[MEMORY].attrs["layout"]
    cube = cube_of(_like(aligned, root, there["coordinates on time"]).rename(there["variable"]), "keep")
    changed = [key for key in there if there[key] != cube.layout.get(key)]
    if changed:
        words = "; ".join(f"{key}: {there[key]} there, {cube.layout.get(key)} now" for key in changed)
        raise OutputConflict(f"The dates do not fit the cube ({words}).")
    slots, state = _slots(cube, memory)
    sweep(root)
    grow(root, len(state.items))
    _write_series(cube, root, slots)
    record = start_run(root, state, slots, there, __version__)
    consolidate(root)
    clear = root[CLEAR] if CLEAR in cube.array.coords else None
    target = Target(root=root, pixels=root[cube.name], clear=clear, record=record)
    write_dates(cube, target, slots, mask=False).compute()
    return slots


def _slots(cube: Cube, memory: Memory) -> tuple[list[int], Memory]:
    items, fingerprints = list(memory.items), list(memory.fingerprints)
    slots = []
    for item, text in zip(cube.items, cube.fingerprints, strict=True):
        if item in items:
            slots.append(items.index(item))
            fingerprints[slots[-1]] = text
        else:
            slots.append(len(items))
            items.append(item)
            fingerprints.append(text)
    return slots, Memory(items=items, fingerprints=fingerprints, dropped=memory.dropped)


def _like(aligned: xr.DataArray, root: zarr.Group, names: list[str]) -> xr.DataArray:
    """The dates with just the coordinates on time that the cube has; what they lack is unknown."""
    extra = [name for name, coord in aligned.coords.items() if "time" in coord.dims and name not in names]
    aligned = aligned.drop_vars([name for name in extra if name != "time"])
    count = aligned.sizes["time"]
    for name in names:
        if name in aligned.coords:
            continue
        array: Any = root[name]
        if array.ndim != 1:
            raise InvalidRequest(
                f"The cube holds {name!r} for every pixel of its dates, the new dates do not."
            )
        text = array.dtype.kind not in "fiub"
        unknown = (
            np.full(count, "", object) if text else np.full(count, np.nan if array.dtype.kind == "f" else 0)
        )
        aligned = aligned.assign_coords({name: ("time", unknown if text else unknown.astype(array.dtype))})
    return aligned


def _write_series(cube: Cube, root: zarr.Group, slots: list[int]) -> None:
    """Write the coordinates on time of the new dates alone."""
    for name, coord in cube.array.coords.items():
        if coord.dims != ("time",) or name in cube.lazy:
            continue
        array: Any = root[str(name)]
        units = {key: array.attrs[key] for key in ("units", "calendar") if key in array.attrs}
        plain = xr.Variable(("time",), coord.values, encoding=units | {"dtype": array.dtype})
        timed = bool(units) and coord.dtype.kind == "M"
        values = xr.conventions.encode_cf_variable(plain).values if timed else coord.values
        for k, slot in enumerate(slots):
            # a slice: with numpy 1, Zarr takes a single text for an array of its own
            array[slot : slot + 1] = values[k : k + 1]
