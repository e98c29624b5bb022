"""What a cube remembers of its dates, so that a second run writes only what is missing or changed."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from coregstack.cube.template import MEMORY
from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.untrusted.names import shown

_CHUNK = 4096
_OVERWRITE = "Choose another store, or pass overwrite=True to replace what is there."


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The dates of a cube as a run finds them."""

    items: list[str]
    """Id and time of the date in each slot along time."""
    fingerprints: list[str]
    """What the date in each slot was made from; empty where the date is not finished."""
    dropped: dict[str, str]
    """Dates that were left out: fingerprint and item."""


def open_cube(store: Any, storage_options: dict[str, Any] | None, *, overwrite: bool) -> zarr.Group | None:
    """The cube that is in a store, or None where one may be made.

    Raises
    ------
    OutputConflict
        If the store holds something that may not be replaced.
    InvalidRequest
        If it names a kind of store that cannot be reached from here.
    """
    options: dict[str, Any] = {"storage_options": storage_options}
    try:
        root = zarr.open(store, mode="r", **options)
    except FileNotFoundError:
        _check_free(store)
        return None
    except (ImportError, TypeError, ValueError) as error:
        # fsspec misses the package for a kind of URL, or knows no such kind
        raise InvalidRequest(f"{shown(store)} cannot be opened as a Zarr store: {error}.") from error
    if isinstance(root, zarr.Group):
        root = zarr.open_group(store, mode="r+", use_consolidated=False, **options)
        names = list(root.keys())
        if not names or overwrite:
            return None
        if MEMORY in names:
            return root if root[MEMORY].attrs.get("ready") else None
    elif overwrite:
        return None
    raise OutputConflict(
        f"{shown(store)} already holds other Zarr data, not a cube of coregstack. {_OVERWRITE}"
    )


def _check_free(store: Any) -> None:
    if not isinstance(store, str | os.PathLike) or "://" in str(store):
        return
    path = Path(store)
    others = path.exists() and (not path.is_dir() or any(p.suffix != ".partial" for p in path.iterdir()))
    if others:
        # overwrite= replaces cubes only: it must never empty a folder that was named by mistake
        raise OutputConflict(f"{path} exists, but is no Zarr store. Choose a path that is free.")


def new_root(store: Any, storage_options: dict[str, Any] | None) -> zarr.Group:
    """An empty group in a store that `open_cube` found to be free."""
    return zarr.open_group(store, mode="w", zarr_format=3, storage_options=storage_options)


def read_memory(root: zarr.Group) -> Memory:
    """What the cube remembers, with what an interrupted run had finished."""
    collect_records(root)
    memory: Any = root[MEMORY]
    return Memory(
        items=[str(item) for item in memory["item"][:]],
        fingerprints=[str(text) for text in memory["fingerprint"][:]],
        dropped=dict(memory.attrs["dropped"]),
    )


def start_run(
    root: zarr.Group, memory: Memory, slots: list[int], layout: dict[str, Any], version: str
) -> zarr.Array:
    """Mark dates as not finished before any of them is touched; return the array for their records."""
    group: Any = root[MEMORY]
    open_slots = set(slots)
    kept = ["" if k in open_slots else text for k, text in enumerate(memory.fingerprints)]
    _write_texts(group, "fingerprint", kept)
    _write_texts(group, "item", memory.items)
    group.attrs.update(
        {"ready": True, "version": version, "layout": layout, "dropped": memory.dropped},
    )
    return group.create_array(
        "record", shape=(len(kept),), chunks=(1,), dtype=str, fill_value="", overwrite=True
    )


def _write_texts(group: Any, name: str, texts: list[str]) -> None:
    if name not in group:
        group.create_array(name, shape=(len(texts),), chunks=(_CHUNK,), dtype=str, fill_value="")
    array = group[name]
    if array.shape != (len(texts),):
        array.resize((len(texts),))
    array[:] = np.array(texts, object)


def check_same(root: zarr.Group, layout: dict[str, Any], memory: Memory, items: list[str]) -> None:
    """Check that dates may be written into a cube beside those that are in it.

    Raises
    ------
    OutputConflict
        If the cube is of another grid, kind or order of dates; the text names the differences.
    """
    there: Any = root[MEMORY].attrs["layout"]
    changed = [
        f"{key}: {there.get(key)} there, {layout[key]} now" for key in layout if there.get(key) != layout[key]
    ]
    if changed:
        raise OutputConflict(f"The store holds another cube ({'; '.join(changed)}). {_OVERWRITE}")
    for slot, (item, done) in enumerate(zip(memory.items, memory.fingerprints, strict=True)):
        now = items[slot] if slot < len(items) else "nothing"
        if done and item != now:
            raise OutputConflict(
                f"Position {slot} along time holds {item!r} in the store, but {now!r} in the stack. New "
                f"dates have to come after those that are there. {_OVERWRITE}"
            )


def grow(root: zarr.Group, count: int) -> None:
    """Give all arrays on time room for `count` dates."""
    for _, array in root.arrays():
        metadata: Any = array.metadata
        dims = metadata.dimension_names
        if dims and dims[0] == "time" and array.shape[0] != count:
            array.resize((count, *array.shape[1:]))


def record_date(
    record: zarr.Array, slot: int, fingerprint: str, names: list[str], values: list[np.ndarray]
) -> None:
    """Note that a date is finished, with the values that became known with it."""
    known = {name: np.asarray(value).reshape(-1)[0] for name, value in zip(names, values, strict=True)}
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in known.items()}
    # a slice: with numpy 1, Zarr takes a single text for an array of its own
    text = json.dumps({"fingerprint": fingerprint, "values": plain})
    record[slot : slot + 1] = np.array([text], object)


def collect_records(root: zarr.Group) -> None:
    """Move the records of finished dates into the arrays that readers see.

    The order matters: a date counts as finished only after its values are in place, and records
    go last, so that an interruption anywhere loses nothing.
    """
    memory: Any = root[MEMORY]
    if "record" not in memory:
        return
    texts = memory["record"][:]
    records = {slot: json.loads(str(text)) for slot, text in enumerate(texts) if text}
    names = sorted({name for record in records.values() for name in record["values"]})
    for name in names:
        _update(root[name], {slot: record["values"][name] for slot, record in records.items()})
    _update(memory["fingerprint"], {slot: record["fingerprint"] for slot, record in records.items()})
    del memory["record"]


def _update(array: Any, values: dict[int, Any]) -> None:
    current = np.array(array[:], dtype=object)
    for slot, value in values.items():
        current[slot] = value
    if current.dtype == object and array.dtype.kind not in "OUT":
        current = current.astype(array.dtype)
    else:
        current = np.array(["" if value is None else str(value) for value in current], object)
    array[:] = current


def sweep(root: zarr.Group) -> None:
    """Remove what a killed run left under temporary names."""
    if isinstance(root.store, LocalStore):
        for path in Path(root.store.root).rglob("*.partial"):
            path.unlink(missing_ok=True)
