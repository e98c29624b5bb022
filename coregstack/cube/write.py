"""An aligned stack as one Zarr cube."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
from dask.delayed import Delayed
from odc.geo.geobox import GeoBox

from coregstack._version import __version__
from coregstack.cube.claim import claimed
from coregstack.cube.dates import Target, write_dates
from coregstack.cube.fingerprint import date_fingerprints
from coregstack.cube.journal import (
    Journal,
    check_same,
    grow,
    publish,
    read_journal,
    remove_unfinished,
    same_values,
    start_run,
    stored,
    without_lost,
)
from coregstack.cube.mark import (
    Mark,
    begin_cube,
    find_cube,
    form_of,
    is_group,
    open_members,
    open_root,
    sweep,
    write_group,
)
from coregstack.cube.place import Place, place_of, writing
from coregstack.cube.running import compute_dates
from coregstack.cube.template import (
    CLEAR,
    Cube,
    consolidate,
    dated,
    encoded,
    known_coords,
    mended,
    template_of,
    true_attributes,
    write_template,
)
from coregstack.cube.unaligned import drop_unaligned
from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.stack.conform import conform
from coregstack.stack.dataset import stacked
from coregstack.stack.measured import displacement_of
from coregstack.stack.nodes import DISPLACEMENT, nodes_of

Unaligned = Literal["keep", "drop", "mask"]


def to_zarr(
    aligned: xr.DataArray | xr.Dataset,
    store: Any,
    *,
    unaligned: Unaligned = "keep",
    overwrite: bool = False,
    compute: bool = True,
    sharding: bool = True,
    chunks: int | tuple[int, int] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Delayed | None:
    """Write an aligned stack as a Zarr 3 cube, or finish one that is there.

    All metadata and coordinates are written first, then each date on its own, as one object of the
    store (several where a date is larger than 128 MiB). A date's pixels, its mask and its quality
    are computed together. Memory holds a few dates a worker, however many there are.

    The cube opens with ``xarray.open_zarr(store, decode_coords="all")`` and carries its CRS as a CF
    grid mapping and as GeoZarr attributes. Values, nodata, scale and offset are kept as they are:
    with ``mask_and_scale=False`` the stored integers come back.

    With any model but "shift" the displacement of each date lies beside the pixels, as `coregstack.estimate` tells it:
    the Dataset that ``xarray.open_zarr`` gives is a quality that `coregstack.apply` takes for other assets.

    Parameters
    ----------
    aligned : DataArray or Dataset
        What `coregstack.align` returns: dims (time, band, y, x) or (time, y, x), with coordinates
        that may be lazy. Images of a Dataset become bands of one variable, of a dtype that holds the
        numbers of all of them; `coregstack.open_zarr` makes them a Dataset again.
    store : path, URL, mapping or zarr Store
        A folder, an fsspec URL, a `zarr.storage` or obstore store, the store of an Icechunk session.
        A relative path means the folder in which it is said. A store in memory needs a scheduler of
        threads. What holds anything but a cube of coregstack is never written to.
    unaligned : {"keep", "drop", "mask"}
        What becomes of dates whose status is "failed" or "no_improvement": they are written as
        they are, left out, or written with all pixels nodata. "drop" computes the quality of new
        dates at once, because the cube's length depends on it.
    overwrite : bool
        Start anew where there is a cube, whatever it holds: files that its journal lists are removed, nothing
        else. Otherwise only dates that are missing, damaged or changed are written: their
        inputs, options and the package version are compared, and the sizes of their objects. New dates
        may follow those that are there; another anchor or other dates need this option.
    compute : bool
        Write the pixels now. Otherwise only the template is written, and the rest is returned.
    sharding : bool
        Whether the chunks of a date are put together into one object. Without it each is an object of its own, for
        readers that know no shards.
    chunks : int or tuple of int, optional
        Rows and columns of a chunk: what a reader decodes at once. By default 256, and 512 without sharding. A cube
        that is there keeps its own.
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    Delayed or None
        With ``compute=False``, what writes all dates when it is computed. A date that it was
        interrupted at is written again by the next call; once another call has begun to write to the
        cube, it stops.

    Raises
    ------
    InvalidRequest
        If an option cannot be honoured.
    InvalidStack
        If `aligned` is not a stack.
    OutputConflict
        If the store holds something else, another cube, or one that another run is writing to.
    UnreadableFile
        If the cube that is there is damaged in a way that writing dates does not repair, or cannot be
        written; the message says what to do.
    SchedulerLost
        If the cluster's scheduler is gone; what was written until then stays.

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
    cube = replace(cube_of(aligned, unaligned), sharding=bool(sharding), chunks=_checked_chunks(chunks))
    place = place_of(store, storage_options)
    mark = find_cube(place, overwrite=overwrite)
    dropped: dict[str, str] = {}
    if unaligned == "drop":
        cube, dropped = _without_unaligned(cube, place, None if overwrite else mark)
    with claimed(place):
        # another run may have ended meanwhile
        mark = find_cube(place, overwrite=overwrite)
        target, slots = _prepared(cube, place, mark, dropped, overwrite=overwrite)
        writing_all = write_dates(cube.select(slots), target, slots, mask=unaligned == "mask")
        if not compute:
            return writing_all
        compute_dates(writing_all, place, [cube.items[slot] for slot in slots])
    return None


def _without_unaligned(cube: Cube, place: Place, mark: Mark | None) -> tuple[Cube, dict[str, str]]:
    done = [] if mark is None or not mark.ready else read_journal(place).fingerprints
    known = {} if mark is None else mark.dropped
    cube, dropped = drop_unaligned(cube, kept=set(filter(None, done)), dropped=known)
    if not cube.items:
        raise InvalidRequest('With unaligned="drop" no date is left to write. Use "keep" or "mask".')
    # what is known by now is in the graph of the pixels
    return replace(cube, displacement=_displacement(cube.array, cube.box)), dropped


def _prepared(
    cube: Cube, place: Place, mark: Mark | None, dropped: dict[str, str], *, overwrite: bool
) -> tuple[Target, list[int]]:
    """All but the dates, written; where the dates go, and which are to be written."""
    template = template_of(cube)
    if mark is None or overwrite or not mark.ready:
        begin_cube(place, mark, [str(name) for name in template.variables])
        journal = Journal(items=[], done=[])
        with writing(place):
            write_template(cube, template, open_root(place, "a"))
        mark = Mark(members={str(name): form_of(place, str(name)) for name in template.variables})
        arrays = open_members(place, mark)
    else:
        journal = read_journal(place)
        check_same(place, mark, cube.layout, journal, cube.items)
        arrays = open_members(place, mark)
        _check_chunks(cube, place, arrays[cube.name])
        if not is_group(place):
            write_group(place, template.attrs)
        journal = without_lost(place, journal, dated(cube.name, arrays))
        sweep(place, mark)
        remove_unfinished(place, journal, dated(cube.name, arrays))
        grow(place, arrays, len(cube.items))
        publish(place, arrays, journal)
        _mend_attributes(cube, template, place, arrays)
        _write_known(cube, place, arrays)
    known = dict(enumerate(journal.fingerprints))
    slots = [slot for slot, text in enumerate(cube.fingerprints) if known.get(slot) != text]
    done = journal.done + [None] * (len(cube.items) - len(journal.done))
    mark = Mark(members=mark.members, layout=cube.layout, dropped=dropped, version=__version__)
    mark, record = start_run(place, Journal(items=cube.items, done=done), slots, mark)
    with writing(place):
        consolidate(open_root(place, "r+"))
    return Target(place=place, name=cube.name, arrays=arrays, record=record, run=mark.run), slots


def _checked_chunks(chunks: Any) -> tuple[int, int] | None:
    if chunks is None:
        return None
    sizes = (chunks, chunks) if isinstance(chunks, int | np.integer) else chunks
    whole = isinstance(sizes, tuple | list) and len(sizes) == 2
    if not whole or any(
        isinstance(one, bool) or not isinstance(one, int | np.integer) or one < 1 for one in sizes
    ):
        raise InvalidRequest(
            f"chunks has to be a positive number of pixels, or rows and columns, not {chunks!r}."
        )
    return int(sizes[0]), int(sizes[1])


def _check_chunks(cube: Cube, place: Place, array: Any) -> None:
    """Refuse chunks that are asked for where the cube that is there has others."""
    wanted = cube.chunks and tuple(min(a, b) for a, b in zip(cube.chunks, array.shape[-2:], strict=True))
    if (not cube.sharding and array.shards) or (wanted and wanted != array.chunks[-2:]):
        raise OutputConflict(
            f"The cube in {place.name} has chunks of {array.chunks[-2]} x {array.chunks[-1]} px"
            f"{' in shards' if array.shards else ''}. Leave out sharding and chunks to finish it as it is, or start "
            "anew with overwrite=True."
        )


def _mend_attributes(cube: Cube, template: xr.Dataset, place: Place, arrays: dict[str, Any]) -> None:
    """Write attributes that say what values mean anew, where others are in the store."""
    true = true_attributes(cube, template)
    for name, array in arrays.items():
        there = dict(array.attrs)
        if (attributes := mended(name, there, true.get(name, there))) != there:
            with writing(place):
                array.attrs.put(attributes)


def _write_known(cube: Cube, place: Place, arrays: dict[str, Any]) -> None:
    """Write the coordinates that are known now, where others are in the store."""
    for name, coord in known_coords(cube).items():
        if name not in arrays:
            continue
        values = encoded(arrays[name], coord.values, coord.dims)
        if not same_values(stored(place, name, arrays[name]), values):
            with writing(place):
                arrays[name][...] = values


def cube_of(aligned: xr.DataArray | xr.Dataset, unaligned: Unaligned) -> Cube:
    if unaligned not in get_args(Unaligned):
        raise InvalidRequest(f'unaligned has to be "keep", "drop" or "mask", but {unaligned!r} was given.')
    aligned = stacked(aligned) if isinstance(aligned, xr.Dataset) else aligned
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
        displacement=_displacement(array, stack.box),
    )


def _displacement(array: xr.DataArray, box: GeoBox) -> xr.Dataset | None:
    return displacement_of(array, [str(item) for item in array.coords["id"].values], box)


def misplaced(cube: Cube, dataset: xr.Dataset) -> list[str]:
    """Coordinates of the nodes of a displacement that are not those of a cube, in the Dataset that it was read from."""
    nodes = nodes_of(cube.array.attrs) if set(DISPLACEMENT) & set(dataset.data_vars) else None
    return [name for name, values in (nodes or {}).items() if not np.array_equal(dataset[name], values)]


def _name(aligned: xr.DataArray) -> str:
    name = str(aligned.name or "")
    # xarray names an array after its dask graph if it has no other name
    usable = name and name not in (*aligned.coords, *DISPLACEMENT) and not re.search("-[0-9a-f]{32}$", name)
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
