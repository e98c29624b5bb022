"""The mark in a cube's journal. Without it nothing of a store is replaced or removed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import zarr

from coregstack.cube.claim import is_lock
from coregstack.cube.place import (
    LEFT,
    STORE_ERRORS,
    DamagedCube,
    Place,
    check_writable,
    linked_folders,
    names_in,
    reaching,
    read,
    remove,
    remove_empty_folders,
    sizes,
    write,
)
from coregstack.cube.template import JOURNAL
from coregstack.errors import CoregError, MissingFile, OutputConflict

METADATA = "zarr.json"
ITEM, DATE, RECORD = "item", "date", "record"
"""Arrays of the journal: all dates, the finished ones, and those that the present run has finished."""
_OBJECT = re.compile(r"(zarr\.json|c(/\d+)*)|(zarr|c(/\d+)*)\.[0-9a-f]{32}\.partial")
"""Objects that Zarr writes for an array, below its folder."""
_FORM = (
    "zarr_format", "node_type", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs",
    "dimension_names", "storage_transformers",
)  # fmt: skip
_ANEW = "Write the cube anew with overwrite=True (--overwrite), or choose another store."


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The mark of a cube, kept with its journal; plain JSON."""

    ready: bool = False
    """Whether all metadata are written, so that dates may be."""
    clearing: bool = False
    """Whether it was begun to remove the cube for another one."""
    members: dict[str, str] = field(default_factory=dict)
    """Arrays of the cube, and a digest of the form of each; empty until it is written."""
    layout: dict[str, Any] = field(default_factory=dict)
    """What dates have to agree with."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Dates that were left out: fingerprint and item."""
    run: str = ""
    """The run that may write; an earlier one that is still at work finds another here and stops."""
    version: str = ""
    """Of the package that wrote last."""


_KINDS = {"ready": bool, "clearing": bool, "members": dict, "layout": dict, "dropped": dict, "run": str,
          "version": str}  # fmt: skip


def read_mark(place: Place) -> Mark | None:
    """The mark of a cube, or None where there is none.

    Raises
    ------
    DamagedCube
        If it is there, but not as it was written.
    """
    data = read(place, place.key(JOURNAL, METADATA))
    if data is None:
        return None
    try:
        told = json.loads(data)["attributes"]
        known = {name: told[name] for name in _KINDS if name in told}
        sound = all(isinstance(value, _KINDS[name]) for name, value in known.items())
        sound = sound and "members" in known and all(map(_is_member, known["members"].items()))
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        raise DamagedCube(
            f"The journal of the cube in {place.name} is damaged or of another kind ({JOURNAL}/{METADATA}), so "
            "what "
            "is there may not be replaced. Choose another store, or remove this one by hand."
        )
    return Mark(**known)


def _is_member(entry: tuple[Any, Any]) -> bool:
    name, form = entry
    return (
        isinstance(form, str)
        and name != JOURNAL
        and re.fullmatch(r"[^/\\]+", name) is not None
        and name[0] != "."
    )


def write_mark(place: Place, mark: Mark) -> None:
    """Write the mark whole."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": asdict(mark)}
    write(place, place.key(JOURNAL, METADATA), json.dumps(document).encode())


def find_cube(place: Place, *, overwrite: bool) -> Mark | None:
    """The mark of the cube that is in a place, or None where one may be made; nothing is written.

    A cube that is not ready was begun, and holds no date yet: it may be replaced.

    Raises
    ------
    OutputConflict
        If the place holds anything else.
    DamagedCube
        If it holds a cube whose journal does not say what of it is ours, or, unless `overwrite`, has lost that
        it is ready.
    """
    check_writable(place)
    mark = read_mark(place)
    if mark is None:
        check_free(place)
        return None
    _check_links(place, mark.members)
    written = set(names_in(place, JOURNAL)) & {ITEM, DATE, RECORD}
    if not (mark.ready or mark.clearing or overwrite) and written:
        raise DamagedCube(
            f"The journal of the cube in {place.name} is damaged: it holds dates, but not the mark that the "
            "cube is "
            f"ready. {_ANEW}"
        )
    return mark


def find_finished(place: Place) -> Mark:
    """The mark of the cube that has to be in a place, with its dates.

    Raises
    ------
    MissingFile
        If there is none.
    OutputConflict, DamagedCube
        As `find_cube`.
    """
    mark = find_cube(place, overwrite=False)
    if mark is None or not mark.ready:
        raise MissingFile(
            f"There is no cube in {place.name}. Write it first, with to_zarr or run_scenes(zarr=...)."
        )
    return mark


def check_free(place: Place) -> None:
    """Check that nothing lies in a place but what a run leaves that was killed before it wrote anything else.

    Raises
    ------
    OutputConflict, DamagedCube
    """
    names = [name for name in names_in(place) if name != JOURNAL]
    inside = names_in(place, JOURNAL)
    if not names and all(is_lock(name) or LEFT.search(name) for name in inside):
        return
    if ITEM in inside or DATE in inside:
        raise DamagedCube(
            f"The cube in {place.name} has lost its journal ({JOURNAL}/{METADATA}), so what is there may not "
            "be "
            "replaced. Choose another store, or remove this one by hand."
        )
    if {METADATA, ".zgroup", ".zarray"} & set(names):
        raise OutputConflict(
            f"{place.name} already holds other Zarr data, not a cube of coregstack. Choose another store."
        )
    # overwrite= replaces cubes only: it must never empty a folder that was named by mistake
    raise OutputConflict(
        f"{place.name} exists and is not empty, but is no Zarr store. Choose a path that is free."
    )


def _check_links(place: Place, members: Collection[str]) -> None:
    names = [JOURNAL, *members]
    links = [name for name in names if place.local is not None and (place.local / name).is_symlink()]
    links += [link for name in names if name not in links for link in linked_folders(place, name)]
    if links:
        raise OutputConflict(
            f"The cube in {place.name} has a link in place of its folder {links[0]!r}; what is written through it may "
            "lie anywhere. Put a folder there, or choose another store."
        )


def check_names(place: Place, new: Collection[str], mark: Mark | None) -> None:
    """Refuse names of arrays under which something lies that is not the cube's.

    Raises
    ------
    OutputConflict
    """
    known = {} if mark is None else mark.members
    there = set(names_in(place))
    taken = sorted(name for name in new if name not in known and name in there)
    if taken:
        raise OutputConflict(
            f"{place.name} holds something else named {taken[0]!r}, which the cube needs. Remove it, or choose "
            "another store."
        )


def begin_cube(place: Place, mark: Mark | None, members: Collection[str]) -> None:
    """Leave nothing of an earlier cube in a place, and mark it as one that is begun.

    Only objects that an array of ours may have are removed, one by one; what else lies there is left alone.
    """
    check_names(place, members, mark)
    if mark is not None:
        write_mark(place, replace(mark, ready=False, clearing=True, run=""))
        for name in mark.members:
            remove_array(place, name)
        for name in (ITEM, DATE, RECORD):
            remove_array(place, JOURNAL, name)
        root = [name for name in names_in(place) if name == METADATA or _OBJECT.fullmatch(name)]
        remove(place, [place.key(name) for name in root])
    write_mark(place, Mark(members=dict.fromkeys(members, "")))


def remove_array(place: Place, *under: str) -> None:
    """Remove the objects of an array, one by one, and the folders that are empty then."""
    prefix = place.key(*under, "x")[:-1]
    remove(place, [key for key in sizes(place, *under) if _OBJECT.fullmatch(key.removeprefix(prefix))])
    remove_empty_folders(place, *under)


def sweep(place: Place, mark: Mark) -> None:
    """Remove what a killed run left half-written in the folder of a cube."""
    if place.local is None:
        return
    left = [place.key(name) for name in names_in(place) if _is_left(name)]
    left += [place.key(JOURNAL, name) for name in names_in(place, JOURNAL) if _is_left(name)]
    for under in ((JOURNAL, ITEM), (JOURNAL, DATE), (JOURNAL, RECORD), *((name,) for name in mark.members)):
        prefix = place.key(*under, "x")[:-1]
        left += [key for key in sizes(place, *under) if _is_left(key.removeprefix(prefix))]
    remove(place, left)


def _is_left(name: str) -> bool:
    return LEFT.search(name) is not None and _OBJECT.fullmatch(name) is not None


def form_of(place: Place, name: str) -> str:
    """Digest of the metadata that describe an array's chunks, without its length along time and its
    attributes.

    Raises
    ------
    DamagedCube
        If there are none, or they cannot be read.
    """
    data = read(place, place.key(name, METADATA))
    if data is None:
        raise DamagedCube(f"The cube in {place.name} lacks {name}/{METADATA}. {_ANEW}")
    try:
        told = json.loads(data)
        form: Any = {key: told.get(key) for key in _FORM}
        timed = (told.get("dimension_names") or [None])[0] == "time"
        form["shape"] = told["shape"][1:] if timed else told["shape"]
        return hashlib.sha256(json.dumps(form, sort_keys=True).encode()).hexdigest()
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise DamagedCube(
            f"The metadata {name}/{METADATA} of the cube in {place.name} are damaged ({error}). {_ANEW}"
        ) from error


def open_members(place: Place, mark: Mark) -> dict[str, Any]:
    """The arrays of a cube by name, each of the form that was written.

    Raises
    ------
    DamagedCube
        If one is missing, or of another form.
    """
    arrays = {}
    for name, form in mark.members.items():
        if form_of(place, name) != form:
            raise DamagedCube(
                f"The metadata {name}/{METADATA} of the cube in {place.name} are not those that were written. {_ANEW}"
            )
        arrays[name] = open_array(place, name)
    return arrays


def open_array(place: Place, name: str, mode: Any = "r+") -> Any:
    """An array of a cube by its path in it."""
    with intact(place, name):
        return zarr.open_array(place.store, path=place.key(name), mode=mode, zarr_format=3)


def open_root(place: Place, mode: Any) -> zarr.Group:
    """The group of a cube; with mode "a" it is made where there is none."""
    with intact(place, METADATA):
        return zarr.open_group(place.store, path=place.path, mode=mode, zarr_format=3, use_consolidated=False)


def is_group(place: Place) -> bool:
    """Whether the metadata of the group of a cube are there and can be read."""
    try:
        told = json.loads(read(place, place.key(METADATA)) or b"")
        return (
            told["zarr_format"] == 3 and told["node_type"] == "group" and isinstance(told["attributes"], dict)
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def write_group(place: Place, attributes: dict[str, Any]) -> None:
    """Write the metadata of the group of a cube anew."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    write(place, place.key(METADATA), json.dumps(document).encode())


@contextmanager
def intact(place: Place, what: str) -> Iterator[None]:
    """Turn any error of damage, while a cube's metadata or chunks are read, into one with a plain message."""
    with reaching(place):
        try:
            yield
        except FileNotFoundError as error:
            if isinstance(error, CoregError):
                raise
            raise DamagedCube(f"The cube in {place.name} lacks {what}. {_ANEW}") from error
        except CoregError:
            raise
        except STORE_ERRORS:
            raise
        except Exception as error:
            raise DamagedCube(
                f"{what} of the cube in {place.name} is damaged ({type(error).__name__}: {error}). {_ANEW}"
            ) from error
