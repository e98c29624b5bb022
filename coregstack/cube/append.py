"""New dates written into a cube that is there, beside those that it holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from coregstack._version import __version__
from coregstack.cube.dates import Target, write_dates
from coregstack.cube.journal import (
    Done,
    Journal,
    grow,
    publish,
    read_journal,
    remove_unfinished,
    start_run,
    without_lost,
)
from coregstack.cube.mark import (
    METADATA,
    Mark,
    find_finished,
    intact,
    is_group,
    open_members,
    open_root,
    sweep,
)
from coregstack.cube.place import DamagedCube, Place, writing
from coregstack.cube.running import compute_dates
from coregstack.cube.template import Cube, consolidate, dated, encoded
from coregstack.cube.write import cube_of, misplaced
from coregstack.errors import CoregError, InvalidRequest, OutputConflict
from coregstack.stack.nodes import NODES

_MEND = (
    "Run the command that wrote the cube again, which repairs the coordinates; "
    "if that fails, write the cube anew with overwrite=True."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grown:
    """A cube that new dates are to be written into, whole and open."""

    place: Place
    """Where it lies."""
    mark: Mark
    """Its mark."""
    journal: Journal
    """Its dates."""
    arrays: dict[str, Any]
    """Its arrays by name."""
    dataset: xr.Dataset
    """All of it, lazy, in stored values."""
    stack: xr.DataArray
    """Its dates as a stack of these."""

    @property
    def finished(self) -> dict[str, bool]:
        """For each id that the cube knows, whether the date is finished."""
        pairs = zip(self.journal.items, self.journal.done, strict=True)
        return {item.rsplit(" ", 1)[0]: done is not None for item, done in pairs}

    @property
    def pixels(self) -> str:
        """Its array of pixels."""
        return str(self.mark.layout["variable"])


def open_grown(place: Place) -> Grown:
    """Open a cube that is claimed; coordinates that differ from its journal are repaired.

    Raises
    ------
    MissingFile
        If there is no cube.
    OutputConflict
        If the store holds something else.
    DamagedCube
        If finished dates, or what places them, are not there as they were written.
    """
    mark = find_finished(place)
    arrays = open_members(place, mark)
    if not is_group(place):
        raise DamagedCube(
            f"The metadata {METADATA} of the cube in {place.name} are damaged. Run the command that wrote the cube "
            "again, which repairs them."
        )
    told = read_journal(place)
    journal = without_lost(place, told, dated(mark.layout.get("variable"), arrays))
    lost = [told.items[k] for k, done in enumerate(told.done) if done is not None and journal.done[k] is None]
    if lost or "" in journal.items:
        raise DamagedCube(
            f"The cube in {place.name} has lost {', '.join(lost) or 'the names of dates'}: its objects are not those "
            "that were written. Run the command that wrote the cube again before new dates are appended."
        )
    sweep(place, mark)
    grow(place, arrays, len(journal.items))
    publish(place, arrays, journal)
    with intact(place, "metadata"):
        options: Any = {"decode_coords": "all", "mask_and_scale": False, "consolidated": False, "chunks": {}}
        dataset = xr.open_zarr(place.store, group=place.path or None, **options)
        stack = dataset[mark.layout["variable"]].chunk({"time": 1})
    grown = Grown(place=place, mark=mark, journal=journal, arrays=arrays, dataset=dataset, stack=stack)
    _check_whole(grown)
    return grown


def _check_whole(grown: Grown) -> None:
    """Check that what places the dates of a cube is what was written."""
    try:
        with intact(grown.place, "a coordinate"):
            cube = cube_of(grown.stack, "keep")
    except CoregError as error:
        raise DamagedCube(f"The cube in {grown.place.name} is damaged: {error} {_MEND}") from error
    layout = grown.mark.layout
    wrong = [key for key in layout if cube.layout.get(key) != layout[key]]
    wrong += ["id or time"] if cube.items != grown.journal.items else []
    wrong += misplaced(cube, grown.dataset)
    if wrong:
        words = f"{', '.join(wrong)} is not what was written."
        raise DamagedCube(f"The cube in {grown.place.name} is damaged: {words} {_MEND}")


def write_behind(aligned: xr.DataArray, grown: Grown) -> list[int]:
    """Write dates into a cube: into their own slots if an interrupted run left such, else behind the last.

    Nothing that is finished is read or touched. A run that is killed leaves dates that the cube knows to be
    unfinished, all of whose pixels are nodata or their own; the same call then finishes them.

    Parameters
    ----------
    aligned : DataArray
        The new dates, on the cube's grid; their coordinates on time but pixels and mask are known.
    grown : Grown
        The cube, claimed since it was opened.

    Returns
    -------
    list of int
        Positions along time that were written.

    Raises
    ------
    OutputConflict
        If the dates do not fit the cube.
    """
    place, there = grown.place, grown.mark.layout
    cube = cube_of(_like(aligned, grown).rename(there["variable"]), "keep")
    changed = [key for key in there if there[key] != cube.layout.get(key)]
    if changed:
        words = "; ".join(f"{key}: {there[key]} there, {cube.layout.get(key)} now" for key in changed)
        raise OutputConflict(f"The dates do not fit the cube ({words}).")
    slots, journal = _slots(cube, grown.journal)
    remove_unfinished(place, journal, dated(cube.name, grown.arrays))
    grow(place, grown.arrays, len(journal.items))
    with writing(place):
        _write_series(cube, grown.arrays, slots)
    mark, record = start_run(place, journal, slots, replace(grown.mark, version=__version__))
    with writing(place):
        consolidate(open_root(place, "r+"))
    target = Target(place=place, name=cube.name, arrays=grown.arrays, record=record, run=mark.run)
    compute_dates(write_dates(cube, target, slots, mask=False), place, cube.items)
    return slots


def _slots(cube: Cube, journal: Journal) -> tuple[list[int], Journal]:
    items, done = list(journal.items), list[Done | None](journal.done)
    slots = []
    for item in cube.items:
        if item not in items:
            items.append(item)
            done.append(None)
        slots.append(items.index(item))
    return slots, Journal(items=items, done=done)


def _like(aligned: xr.DataArray, grown: Grown) -> xr.DataArray:
    """The dates with just the coordinates on time and the nodes that the cube has; what they lack is unknown."""
    aligned = aligned.assign_attrs({NODES: grown.stack.attrs.get(NODES, "")})
    if not aligned.attrs[NODES]:
        del aligned.attrs[NODES]
    names = grown.mark.layout["coordinates on time"]
    extra = [name for name, coord in aligned.coords.items() if "time" in coord.dims and name not in names]
    aligned = aligned.drop_vars([name for name in extra if name != "time"])
    count = aligned.sizes["time"]
    for name in names:
        if name in aligned.coords:
            continue
        array = grown.arrays[name]
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


def _write_series(cube: Cube, arrays: dict[str, Any], slots: list[int]) -> None:
    """Write the coordinates on time of the new dates alone."""
    for name, coord in cube.array.coords.items():
        if coord.dims != ("time",) or name in cube.lazy:
            continue
        array = arrays[str(name)]
        values = encoded(array, coord.values, coord.dims)
        for k, slot in enumerate(slots):
            # a slice: with numpy 1, Zarr takes a single text for an array of its own
            array[slot : slot + 1] = values[k : k + 1]
