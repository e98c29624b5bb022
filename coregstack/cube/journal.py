"""The journal of a cube: which dates are finished, so that a second run writes only dates that are missing,
damaged or changed."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import numpy as np
import zarr

from coregstack.cube.mark import (
    DATE,
    ITEM,
    RECORD,
    Mark,
    intact,
    open_array,
    read_mark,
    remove_array,
    write_mark,
)
from coregstack.cube.place import DamagedCube, Place, remove, sizes, writing
from coregstack.cube.template import JOURNAL
from coregstack.errors import OutputConflict

_CHUNK = 4096
_OVERWRITE = "Choose another store, or pass overwrite=True (--overwrite) to replace what is there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What is known of a date that is finished."""

    fingerprint: str
    """What it was made from."""
    values: dict[str, Any]
    """Its coordinates on time by name, as plain JSON."""
    sizes: dict[str, int]
    """Bytes of each of its objects, by their keys in the cube; what is all nodata has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The dates of a cube as a run finds them."""

    items: list[str]
    """Id and time of the date in each slot along time; empty where that is lost."""
    done: list[Done | None]
    """What is known of the date in each slot; None where it is not finished."""

    @property
    def fingerprints(self) -> list[str]:
        """Fingerprint of each date; empty where it is not finished."""
        return ["" if done is None else done.fingerprint for done in self.done]


def read_journal(place: Place) -> Journal:
    """The journal of a cube, with the dates that an interrupted run had finished; damaged parts count as
    missing."""
    items, dates, records = (_texts(place, name) for name in (ITEM, DATE, RECORD))
    count = max(len(items), len(dates), len(records))
    items, dates, records = (texts + [""] * (count - len(texts)) for texts in (items, dates, records))
    done = [_done(record) or _done(date) for date, record in zip(dates, records, strict=True)]
    return Journal(items=items, done=[d if item else None for d, item in zip(done, items, strict=True)])


def _texts(place: Place, name: str) -> list[str]:
    try:
        array = open_array(place, f"{JOURNAL}/{name}", mode="r")
    except DamagedCube:
        return []
    if array.ndim != 1:
        return []
    size = array.chunks[0]
    texts: list[str] = []
    for start in range(0, array.shape[0], size):
        try:
            with intact(place, f"{JOURNAL}/{name}"):
                texts += map(str, array[start : start + size])
        except DamagedCube:
            texts += [""] * min(size, array.shape[0] - start)
    return texts


def _done(text: str) -> Done | None:
    try:
        told = json.loads(text)
        found = Done(
            fingerprint=str(told["fingerprint"]), values=dict(told["values"]), sizes=dict(told["sizes"])
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    sound = all(type(size) is int for size in found.sizes.values())
    return found if sound and found.fingerprint else None


def without_lost(place: Place, journal: Journal, names: Collection[str]) -> Journal:
    """The journal without the dates whose objects are missing or have another size: they are written again.

    Parameters
    ----------
    place : Place
        Of the cube.
    journal : Journal
        The journal of the cube.
    names : collection of str
        Arrays that hold the dates.
    """
    there = objects_of_dates(place, names)
    lost = {k for k, done in enumerate(journal.done) if done is not None and done.sizes != there.get(k, {})}
    return replace(journal, done=[None if k in lost else done for k, done in enumerate(journal.done)])


def objects_of_dates(place: Place, names: Collection[str]) -> dict[int, dict[str, int]]:
    """Key in the cube and bytes of each object of each date, by the date's position along time."""
    found: dict[int, dict[str, int]] = {}
    for name in names:
        for key, size in sizes(place, name, "c").items():
            short = key.removeprefix(place.key("x")[:-1])
            slot = short.split("/")[2]
            if slot.isdecimal() and short.replace("/", "").removeprefix(f"{name}c").isdecimal():
                found.setdefault(int(slot), {})[short] = size
    return found


def remove_unfinished(place: Place, journal: Journal, names: Collection[str]) -> None:
    """Remove the objects of dates that are not finished: a damaged one could not be written over in part."""
    there = objects_of_dates(place, names)
    open_slots = [slot for slot in there if slot >= len(journal.done) or journal.done[slot] is None]
    remove(place, [place.key(key) for slot in open_slots for key in there[slot]])


def start_run(place: Place, journal: Journal, slots: list[int], mark: Mark) -> tuple[Mark, zarr.Array[Any]]:
    """Mark dates as not finished before any of them is touched; return the mark, and the array for their records.

    Parameters
    ----------
    place : Place
        Of the cube.
    journal : Journal
        All dates as they are to be, and what is known of those that stay.
    slots : list of int
        Positions of the dates that are written now.
    mark : Mark
        As it is to be; it gets a run of its own, so that any earlier one stops.
    """
    mark = replace(mark, ready=True, clearing=False, run=uuid4().hex)
    kept = [None if slot in set(slots) else done for slot, done in enumerate(journal.done)]
    with writing(place):
        _write_texts(place, DATE, ["" if done is None else _text(done) for done in kept])
        _write_texts(place, ITEM, journal.items)
        write_mark(place, mark)
        remove_array(place, JOURNAL, RECORD)
        record = zarr.create_array(
            place.store, name=place.key(JOURNAL, RECORD), shape=(len(kept),), chunks=(1,), dtype=str, fill_value="",
            zarr_format=3,
        )  # fmt: skip
    return mark, record


def _write_texts(place: Place, name: str, texts: list[str]) -> None:
    path = place.key(JOURNAL, name)
    try:
        with intact(place, path):
            array = open_array(place, f"{JOURNAL}/{name}")
            if array.shape != (len(texts),):
                array.resize((len(texts),))
            array[:] = np.array(texts, object)
    except DamagedCube:
        remove_array(place, JOURNAL, name)
        array = zarr.create_array(
            place.store,
            name=path,
            shape=(len(texts),),
            chunks=(_CHUNK,),
            dtype=str,
            fill_value="",
            zarr_format=3,
        )
        array[:] = np.array(texts, object)


def check_run(place: Place, run: str) -> None:
    """Stop a run that is no longer the one that may write.

    Raises
    ------
    OutputConflict
        If another has begun since.
    """
    mark = read_mark(place)
    if mark is None or mark.run != run:
        raise OutputConflict(
            f"Another run has begun to write to the cube in {place.name}; this one stops. Run again when it has ended."
        )


def check_same(
    place: Place, mark: Mark, layout: Mapping[str, Any], journal: Journal, items: list[str]
) -> None:
    """Check that dates may be written into a cube beside those that are in it.

    Raises
    ------
    OutputConflict
        If the cube is of another anchor, grid, kind, set or order of dates; the text names the differences.
    """
    changed = [
        f"{key}: {mark.layout.get(key)} there, {layout.get(key)} now"
        for key in {**layout, **mark.layout}
        if mark.layout.get(key) != layout.get(key)
    ]
    if changed:
        raise OutputConflict(f"{place.name} holds another cube ({'; '.join(changed)}). {_OVERWRITE}")
    for slot, item in enumerate(journal.items):
        now = items[slot] if slot < len(items) else "nothing"
        if item != now and (item or now == "nothing"):
            raise OutputConflict(
                f"Position {slot} along time holds {item or 'an unknown date'!r} in {place.name}, but {now!r} in the "
                f"stack. New dates have to come after those that are there. {_OVERWRITE}"
            )


def grow(place: Place, arrays: Mapping[str, Any], count: int) -> None:
    """Give all arrays on time room for `count` dates."""
    with writing(place):
        for array in arrays.values():
            if is_timed(array) and array.shape[0] != count:
                array.resize((count, *array.shape[1:]))


def is_timed(array: Any) -> bool:
    """Whether an array's first axis is time."""
    dims = array.metadata.dimension_names
    return bool(dims) and dims[0] == "time"


def record_date(record: zarr.Array[Any], slot: int, done: Done) -> None:
    """Note that a date is finished."""
    # a slice: with numpy 1, Zarr takes a single text for an array of its own
    record[slot : slot + 1] = np.array([_text(done)], object)


def plain_values(names: Collection[str], values: Collection[Any]) -> dict[str, Any]:
    """Values of one date by name, as JSON can hold them."""
    known = {name: np.asarray(value).reshape(-1)[0] for name, value in zip(names, values, strict=True)}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in known.items()}


def _text(done: Done) -> str:
    return json.dumps({"fingerprint": done.fingerprint, "values": done.values, "sizes": done.sizes})


def publish(place: Place, arrays: Mapping[str, Any], journal: Journal) -> None:
    """Update the coordinates that readers see from the records of the finished dates, where they differ."""
    names = sorted({name for done in journal.done if done is not None for name in done.values} & set(arrays))
    for name in names:
        known = {k: d.values[name] for k, d in enumerate(journal.done) if d is not None and name in d.values}
        array = arrays[name]
        current = stored(place, name, array)
        wanted = current.copy()
        for slot, value in known.items():
            wanted[slot] = "" if value is None else value
        if not same_values(current, wanted):
            with writing(place):
                array[:] = wanted


def stored(place: Place, name: str, array: Any) -> np.ndarray:
    """A coordinate as it is stored; unknown where that cannot be read."""
    try:
        with intact(place, name):
            values = np.asarray(array[...])
    except DamagedCube:
        kind = array.dtype.kind
        values = np.full(array.shape, np.nan if kind == "f" else "" if kind in "OUT" else 0)
    if array.dtype.kind in "OUT":
        return np.array([str(value) for value in values.ravel()], object).reshape(values.shape)
    return values.astype(array.dtype)


def same_values(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays hold the same values, NaN among them."""
    if one.shape != other.shape:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f" and other.dtype.kind == "f"))


def finish_run(place: Place, arrays: Mapping[str, Any], run: str) -> None:
    """Move the records of finished dates to where they are kept, and their values to where readers see them.

    The order matters: a date counts as finished only after its values are in place, and records
    go last, so that an interruption anywhere loses nothing.
    """
    check_run(place, run)
    journal = read_journal(place)
    publish(place, arrays, journal)
    with writing(place):
        _write_texts(place, DATE, ["" if done is None else _text(done) for done in journal.done])
        remove_array(place, JOURNAL, RECORD)
