"""Whether a cube is still what was written: members, objects, chunks, coordinates and quality."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from coregstack.cube.claim import is_lock
from coregstack.cube.journal import Journal, is_timed, objects_of_dates, read_journal, same_values, stored
from coregstack.cube.mark import (
    DATE,
    ITEM,
    METADATA,
    RECORD,
    Mark,
    check_free,
    form_of,
    intact,
    is_group,
    open_array,
    read_mark,
)
from coregstack.cube.place import DamagedCube, Place, names_in, place_of, read
from coregstack.cube.template import JOURNAL, dated
from coregstack.cube.write import cube_of, misplaced
from coregstack.errors import CoregError, MissingFile
from coregstack.model import Status

_THREADS = 4
_NAMED = 5
"""So many objects of a date are named; the rest is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CubeProblem:
    """Something that is wrong with one part of a cube."""

    path: str
    """The part, relative to the cube."""
    message: str
    """What was expected, what came, what to do."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def is_cube(store: Any) -> bool:
    """Whether a path or URL is that of a Zarr store, and not of an output folder of a run."""
    place = place_of(store)
    if place.local is None:
        return True
    return bool({METADATA, JOURNAL} & set(names_in(place)))


def verify_cube(store: Any, storage_options: dict[str, Any] | None = None) -> tuple[CubeProblem, ...]:
    """Compare a cube with its journal; nothing is changed.

    Checked are the metadata of every array, that each date is finished and has the objects that were written,
    that all chunks can be decoded (each carries a checksum), that the coordinates are those of the grid and the
    dates, and that the quality is what was found.

    Parameters
    ----------
    store : path, URL, mapping or zarr Store
        Where the cube lies.
    storage_options : dict, optional
        Options of the fsspec file system, for URLs.

    Returns
    -------
    tuple of CubeProblem
        What is wrong; empty if the cube is whole.

    Raises
    ------
    MissingFile
        If there is nothing.
    OutputConflict
        If there is something else.
    UnreadableFile
        If the store cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import align, to_zarr
    >>> from coregstack.testing import sample_stack
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     to_zarr(align(sample_stack(3, shape=(256, 256)), anchor=0), f"{folder}/cube.zarr")
    ...     verify_cube(f"{folder}/cube.zarr")
    ()
    """
    place = place_of(store, storage_options)
    try:
        mark = read_mark(place)
        if mark is None:
            check_free(place)
            raise MissingFile(f"There is no cube in {place.name}. Check the name.")
    except DamagedCube as error:
        return (CubeProblem(path=f"{JOURNAL}/{METADATA}", message=str(error)),)
    if not mark.ready:
        message = "The cube was begun and not written. Run the command that writes it again."
        return (CubeProblem(path=f"{JOURNAL}/{METADATA}", message=message),)
    arrays, problems = _members(place, mark)
    problems += _others(place, mark)
    journal = read_journal(place)
    problems += _dates(place, mark, journal, arrays)
    problems += _quality(place, journal, arrays)
    if not problems:
        problems += _coordinates(place, mark, journal)
    return tuple(problems)


def _members(place: Place, mark: Mark) -> tuple[dict[str, Any], list[CubeProblem]]:
    arrays, problems = {}, []
    for name, form in mark.members.items():
        path = f"{name}/{METADATA}"
        try:
            if form_of(place, name) != form:
                raise DamagedCube("It is not what was written. Write the cube anew with --overwrite.")
            arrays[name] = open_array(place, name, mode="r")
        except DamagedCube as error:
            problems.append(CubeProblem(path=path, message=str(error)))
    return arrays, problems + _gathered(place, mark)


def _gathered(place: Place, mark: Mark) -> list[CubeProblem]:
    """What is wrong with the metadata of all arrays as the group holds them, which most readers go by."""
    words = "Run the command that wrote the cube again, which gathers the metadata anew."
    sound = is_group(place)
    try:
        gathered = json.loads(read(place, place.key(METADATA)) or b"").get("consolidated_metadata")
        for name in mark.members if gathered is not None else ():
            own = json.loads(read(place, place.key(name, METADATA)) or b"null")
            sound = sound and own is not None and gathered["metadata"][name] == own
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    return [] if sound else [CubeProblem(path=METADATA, message=f"It is not what was written. {words}")]


def _others(place: Place, mark: Mark) -> list[CubeProblem]:
    """Files in the cube that do not belong to it."""
    foreign = set(names_in(place)) - {METADATA, JOURNAL, *mark.members}
    found = [CubeProblem(path=name, message="It does not belong to the cube.") for name in sorted(foreign)]
    for name in names_in(place, JOURNAL):
        path = f"{JOURNAL}/{name}"
        if name == RECORD:
            found.append(CubeProblem(path=path, message="A run was interrupted. Run the same command again."))
        elif is_lock(name) and place.local is None:
            found.append(CubeProblem(path=path, message="A run has claimed the cube, or was killed."))
        elif name not in (METADATA, ITEM, DATE) and not is_lock(name):
            found.append(CubeProblem(path=path, message="It does not belong to the cube."))
    return found


def _dates(place: Place, mark: Mark, journal: Journal, arrays: dict[str, Any]) -> list[CubeProblem]:
    """Dates that are not finished, or whose objects or chunks are not what was written."""
    count = len(journal.items)
    problems = [
        CubeProblem(path=name, message=f"It holds {array.shape[0]} dates, its journal {count}.")
        for name, array in arrays.items()
        if is_timed(array) and array.shape[0] != count
    ]
    names = dated(mark.layout.get("variable"), arrays)
    there = objects_of_dates(place, names)
    problems += [
        CubeProblem(path=key, message="It belongs to no date of the cube.")
        for slot in sorted(there)
        if slot >= count
        for key in there[slot]
    ]
    whole = []
    for slot, (item, done) in enumerate(zip(journal.items, journal.done, strict=True)):
        if done is None:
            words = "The date is not finished. Run the command that wrote it again."
            problems.append(CubeProblem(path=item or f"position {slot}", message=words))
        elif (objects := there.get(slot, {})) != done.sizes:
            wrong = sorted(key for key in {*objects, *done.sizes} if objects.get(key) != done.sizes.get(key))
            more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
            words = f"Missing, cut or foreign: {', '.join(wrong[:_NAMED])}{more}. Run the command that wrote it again."
            problems.append(CubeProblem(path=item, message=words))
        else:
            whole += [(name, slot) for name in names if slot < arrays[name].shape[0]]
    with ThreadPoolExecutor(_THREADS) as pool:
        decoded = pool.map(lambda one: _undecodable(place, one[0], arrays[one[0]], one[1]), whole)
        for (name, slot), error in zip(whole, decoded, strict=True):
            if error:
                problems.append(CubeProblem(path=f"{name}, {journal.items[slot]}", message=error))
    return problems


def _undecodable(place: Place, name: str, array: Any, slot: int) -> str:
    """Why a date's chunks cannot be decoded, or nothing."""
    try:
        for box in _objects(array):
            with intact(place, name):
                array[(slice(slot, slot + 1), *box)]
    except DamagedCube as error:
        return str(error)
    return ""


def _objects(array: Any) -> Iterator[tuple[slice, ...]]:
    """The parts of a date that each object of the store holds."""
    sides = (array.shards or array.chunks)[1:]
    ranges = (range(0, size, side) for size, side in zip(array.shape[1:], sides, strict=True))
    for starts in itertools.product(*ranges):
        yield tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))


def _quality(place: Place, journal: Journal, arrays: dict[str, Any]) -> list[CubeProblem]:
    """Coordinates on time that are not what was found of the finished dates."""
    problems = []
    names = sorted({name for done in journal.done if done is not None for name in done.values})
    for name in names:
        if name not in arrays or arrays[name].shape != (len(journal.items),):
            continue
        values = stored(place, name, arrays[name])
        wanted = values.copy()
        for slot, done in enumerate(journal.done):
            if done is not None and name in done.values:
                value = done.values[name]
                wanted[slot] = "" if value is None else value
        wrong = [k for k in range(len(values)) if not same_values(values[k : k + 1], wanted[k : k + 1])]
        if wrong:
            words = (
                f"It is {values[wrong[0]]} at {journal.items[wrong[0]]!r}, {wanted[wrong[0]]} was written."
            )
            problems.append(
                CubeProblem(path=name, message=f"{words} Run the command that wrote the cube again.")
            )
        elif name == "status" and (unknown := sorted(set(map(str, wanted)) - {*map(str, Status)})):
            problems.append(CubeProblem(path=name, message=f"No such status is known: {', '.join(unknown)}."))
    return problems


def _coordinates(place: Place, mark: Mark, journal: Journal) -> list[CubeProblem]:
    """Whether the cube opens, on the grid and with the dates that were written."""
    options: Any = {"decode_coords": "all", "mask_and_scale": False, "chunks": {}}
    try:
        with intact(place, "the cube"):
            dataset = xr.open_zarr(place.store, group=place.path or None, **options)
            cube = cube_of(dataset[mark.layout["variable"]].chunk({"time": 1}), "keep")
    except CoregError as error:
        return [CubeProblem(path=place.name, message=str(error))]
    wrong = [key for key, told in mark.layout.items() if cube.layout.get(key) != told]
    if cube.items != journal.items:
        wrong.append("id or time")
    wrong += misplaced(cube, dataset)
    if len(set(cube.items)) < len(cube.items):
        wrong.append("a date that appears twice")
    if (cube.array.coords["x"].ndim, cube.array.coords["y"].ndim) == (1, 1):
        steps = [np.diff(cube.array.coords[name].values) for name in ("x", "y")]
        wrong += ["x or y"] if not all(np.isfinite(step).all() and step.all() for step in steps) else []
    words = (
        "Not what was written: {}. Run the command that wrote the cube again, which repairs the coordinates."
    )
    return [CubeProblem(path="coordinates", message=words.format(", ".join(wrong)))] if wrong else []
