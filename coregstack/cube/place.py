"""Where a cube lies: a store and a path in it, found and listed without opening, making or emptying anything."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import collect_aiterator, sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, StorePath

from coregstack.errors import CoregError, InvalidRequest, OutputConflict, UnreadableFile
from coregstack.export.files import WriteError, check_lasting, resolved
from coregstack.untrusted.addresses import shown, without_secrets
from coregstack.untrusted.names import torn_address

LEFT = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""Ending of what Zarr is writing to a folder; a process that is killed leaves it."""


class _NotSupported(Exception):
    """Stands in for the error of obstore where it is not installed; no store raises it."""


STORE_ERRORS: tuple[type[Exception], ...] = (OSError,)
"""Errors of stores, beside those of damaged data; that of obstore is not a built-in."""
with suppress(ImportError):
    from obstore.exceptions import BaseError
    from obstore.exceptions import NotSupportedError as _NotSupported  # type: ignore[assignment]

    STORE_ERRORS = (OSError, BaseError)


class DamagedCube(UnreadableFile):
    """A cube whose metadata, journal or chunks are not what was written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where a cube lies, or may be made; it can be sent to another process."""

    store: Store
    """Store that the cube's keys belong to, or lie in below `path`."""
    path: str
    """Path of the cube in the store; empty for the whole store."""
    local: Path | None
    """Folder of this machine that holds the cube, absolute and without links; None for any other store."""
    name: str
    """The place in words, without credentials."""

    def key(self, *parts: str) -> str:
        """Key in the store of something in the cube."""
        return "/".join(part for part in (self.path, *parts) if part)


def place_of(store: Any, storage_options: dict[str, Any] | None = None) -> Place:
    """The place that a path, URL, mapping or store means now; nothing is made there.

    Raises
    ------
    InvalidRequest
        If it names a kind of store that cannot be reached, or not written to, from here.
    WriteError
        If it is a path that no folder can have.
    """
    if isinstance(store, Place):
        return store
    path = ""
    if isinstance(store, StorePath):
        store, path = store.store, store.path
    found = _store_of(store, storage_options)
    if missing := [
        word for word in ("writes", "deletes", "listing") if not getattr(found, f"supports_{word}")
    ]:
        raise InvalidRequest(
            f"A cube needs a store with {', '.join(missing)}, which {type(found).__name__} has not. Choose a folder "
            "or an object store."
        )
    local = _folder_of(_inner(found))
    if local is not None:
        local = resolved(local / path)
    name = shown(store) if isinstance(store, str | os.PathLike) else f"{found}"
    if isinstance(found, LocalStore | FsspecStore | ObjectStore) and local is not None:
        return Place(store=LocalStore(local), path="", local=local, name=name)
    if isinstance(found, FsspecStore):
        # what another process has written meanwhile may be missing from a listing that is kept
        with suppress(Exception):
            found.fs.invalidate_cache()
    return Place(store=found, path=path, local=local, name=name)


def _store_of(store: Any, options: dict[str, Any] | None) -> Store:
    text = os.fspath(store) if isinstance(store, os.PathLike) else store
    if isinstance(text, str) and not _is_url(text):
        if options is not None:
            raise InvalidRequest(
                f"storage_options are those of a URL, but {text!r} is a path. Leave them out."
            )
        if not text or torn_address(text):
            raise InvalidRequest(
                f"A cube goes to a folder or an address, but {shown(text)!r} was given. Write the slashes of an "
                "address, for example file:///folder/cube.zarr, or the whole of a path."
            )
        return LocalStore(Path(text))
    if isinstance(text, str):
        _check_whole(text)
        try:
            found = FsspecStore.from_url(text, storage_options=options)
        except Exception as error:
            # fsspec lacks the package for a kind of URL, or does not know it; each package has errors of its own
            plain = isinstance(error, ImportError | ValueError)
            words = without_secrets(str(error)) if plain else _words(error)
            raise InvalidRequest(f"{shown(text)} cannot be opened as a Zarr store: {words}.") from error
        folder = _folder_of(found)
        return found if folder is None else LocalStore(folder)
    if isinstance(store, Store):
        return store
    if isinstance(store, dict):
        return MemoryStore(store)
    if type(store).__module__.startswith("obstore"):
        return ObjectStore(store)
    with suppress(ImportError):
        from fsspec.mapping import FSMap

        if isinstance(store, FSMap):
            return FsspecStore.from_mapper(store)
    raise InvalidRequest(
        f"A cube goes to a path, URL, mapping or Zarr store, but {type(store).__name__} was given."
    )


def _check_whole(text: str) -> None:
    """Refuse an address without a path, or with a machine: fsspec takes both as folders of the current one."""
    scheme, _, rest = text.rpartition("://")
    if scheme.endswith(("file", "local")) and (not rest or rest.startswith("localhost/")):
        raise InvalidRequest(
            f"{shown(text)} has to go on with the path of a folder, for example file:///folder/cube.zarr."
        )


def _is_url(text: str) -> bool:
    return "://" in text or "::" in text


def _inner(store: Store) -> Store:
    """The store that others are wrapped around."""
    while isinstance(inner := getattr(store, "_store", None), Store):
        store = inner
    return store


def _folder_of(store: Store) -> Path | None:
    """The folder of this machine that a store stands for, by any kind of address."""
    if isinstance(store, LocalStore):
        return Path(store.root)
    if isinstance(store, FsspecStore):
        return _folder_in(store.fs, store.path)
    if isinstance(store, ObjectStore) and type(store.store).__name__ == "LocalStore":
        folder = Path(store.store.prefix or "/")
        if not folder.is_absolute():
            # obstore keeps the folder that it was when the store was made, but not its name
            raise InvalidRequest(f"{store.store} names no whole path. Make it of one: LocalStore('/folder').")
        return folder
    return None


def _folder_in(fs: Any, path: str) -> Path | None:
    """The folder of this machine that a path in a file system of fsspec is, also in one that is put before another."""
    fs = getattr(fs, "sync_fs", fs)
    if "file" in _protocols(fs):
        return Path(path)
    inner = getattr(fs, "fs", None)
    if inner is None:
        return None
    return _folder_in(inner, f"{fs.path}/{path}" if "dir" in _protocols(fs) else path)


def _protocols(fs: Any) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def create(place: Place, key: str, data: bytes) -> bool | None:
    """Make an object only if there is none of its key; None where the store does not know how."""
    store: Any = _inner(place.store)
    with reaching(place), suppress(FileExistsError):
        try:
            if isinstance(store, FsspecStore):
                sync(store.fs._pipe_file(_path(store, key), data, mode="create"))
                return True
            if type(store).set_if_not_exists is Store.set_if_not_exists:
                return None
            sync(store.set_if_not_exists(key, default_buffer_prototype().buffer.from_bytes(data)))
        except (NotImplementedError, TypeError, _NotSupported):
            return None
        return read(place, key) == data
    return False


def _path(store: FsspecStore, key: str) -> str:
    return f"{store.path.rstrip('/')}/{key}"


def read(place: Place, key: str) -> bytes | None:
    """The bytes of an object of the store, or None where there is none."""
    with reaching(place):
        if place.local is not None:
            # a store that is open for writing makes its folder even to read
            try:
                return _file(place, key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None
        found = sync(place.store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def write(place: Place, key: str, data: bytes) -> None:
    """Write one object whole."""
    with writing(place):
        sync(place.store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def remove(place: Place, keys: Sequence[str]) -> None:
    """Remove objects by their keys, nothing else."""
    with writing(place):
        for key in keys:
            if place.local is None:
                sync(place.store.delete(key))
            elif not _file(place, key).is_dir():
                _file(place, key).unlink(missing_ok=True)


def names_in(place: Place, *under: str) -> list[str]:
    """What lies directly in a folder of the place, objects and folders."""
    if place.local is not None:
        folder = place.local.joinpath(*under)
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unreachable(place, error) from error
    with reaching(place):
        found = collect_aiterator(_all(lambda: place.store.list_dir(place.key(*under))))
    return sorted({name.strip("/") for name in found} - {""})


async def _all(names: Callable[[], AsyncIterator[str]]) -> AsyncIterator[str]:
    # that of obstore has to be asked from within the event loop
    async for name in names():
        yield name


def sizes(place: Place, *under: str) -> dict[str, int]:
    """Key and bytes of every object below a folder of the place; links are not followed."""
    prefix = place.key(*under, "x")[:-1]
    if place.local is not None:
        return dict(_local_sizes(place, place.local.joinpath(*under), prefix))
    store: Any = _inner(place.store)
    with reaching(place):
        if isinstance(store, FsspecStore):
            return sync(_fsspec_sizes(store, prefix))
        if isinstance(store, ObjectStore):
            return sync(_object_sizes(store, prefix))
        keys = collect_aiterator(_all(lambda: place.store.list_prefix(prefix)))
        return {key: sync(place.store.getsize(key)) for key in keys}


def _local_sizes(place: Place, folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unreachable(place, error) from error
    for entry in entries:
        if entry.is_symlink():
            continue
        if entry.is_dir():
            yield from _local_sizes(place, Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.stat().st_size


async def _fsspec_sizes(store: FsspecStore, prefix: str) -> dict[str, int]:
    root = _path(store, "")
    with suppress(FileNotFoundError):
        # fsspec calls its asynchronous methods by names with an underscore
        found = await store.fs._find(_path(store, prefix), detail=True)
        return {
            path.removeprefix(root): int(info["size"])
            for path, info in found.items()
            if path.startswith(_path(store, prefix))
        }
    return {}


async def _object_sizes(store: Any, prefix: str) -> dict[str, int]:
    # `list` of Zarr's obstore store gives keys without sizes; `_list`, from which it takes them, gives both
    return {found["path"]: found["size"] async for found in store._list(prefix=prefix)}


def _file(place: Place, key: str) -> Path:
    """The file of a key of a local place."""
    assert place.local is not None
    return place.local / key.removeprefix(f"{place.path}/" if place.path else "")


def linked_folders(place: Place, *under: str) -> list[str]:
    """Folders below a folder of a local place that are links: what is written through one may be anywhere."""
    if place.local is None:
        return []
    found = []
    for folder, names, _ in os.walk(place.local.joinpath(*under), followlinks=False):
        found += [os.path.join(folder, name) for name in names if os.path.islink(os.path.join(folder, name))]
    return sorted(os.path.relpath(name, place.local) for name in found)


def remove_empty_folders(place: Place, *under: str) -> None:
    """Remove a folder of a local place and those below, as far as nothing lies in them."""
    if place.local is None:
        return
    top = place.local.joinpath(*under)
    if top.is_symlink():
        return
    for folder, _, _ in os.walk(top, topdown=False, followlinks=False):
        with suppress(OSError):
            os.rmdir(folder)


def check_writable(place: Place) -> None:
    """Refuse a place that can never hold a cube.

    Raises
    ------
    InvalidRequest, OutputConflict
    """
    if place.store.read_only:
        raise InvalidRequest(f"{place.name} is open for reading alone. Pass a store that can be written to.")
    if place.local is not None and place.local.exists() and not place.local.is_dir():
        raise OutputConflict(f"{place.local} exists, but is no Zarr store. Choose a path that is free.")
    if place.local is not None:
        check_lasting(place.local)


@contextmanager
def reaching(place: Place) -> Iterator[None]:
    """Turn any error of a store that cannot be reached into one with a plain message."""
    try:
        yield
    except CoregError:
        raise
    except STORE_ERRORS as error:
        raise _unreachable(place, error) from error


@contextmanager
def writing(place: Place) -> Iterator[None]:
    """Turn any error of a store that cannot be written to into one with a plain message."""
    try:
        yield
    except CoregError:
        raise
    except STORE_ERRORS as error:
        raise WriteError(
            f"The cube in {place.name} cannot be written ({_words(error)}). What was written stays: run again once "
            "there is room, or choose another place."
        ) from error


def _unreachable(place: Place, error: Exception) -> UnreadableFile:
    return UnreadableFile(
        f"{place.name} cannot be read ({_words(error)}). Check its address and your permissions."
    )


def _words(error: Exception) -> str:
    told = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
    return without_secrets(told)
