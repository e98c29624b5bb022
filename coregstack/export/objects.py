"""Objects below an address of an object store: listed, fetched, put and removed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from coregstack.errors import CoregError
from coregstack.export.files import WriteError
from coregstack.pixels.remote import asked, store_of
from coregstack.untrusted.addresses import Address
from coregstack.untrusted.names import safe_relative


def check_reachable(root: Address) -> None:
    """Make sure that what lies below an address can be listed.

    Raises
    ------
    UnreadableFile, MissingFile, InvalidRequest
        If not.
    """
    import obstore

    asked(root, lambda: next(iter(obstore.list(store_of(root), prefix=root.key.strip("/") or None)), None))


def sizes_below(root: Address) -> dict[str, int]:
    """Bytes of every object below an address, by its path below it; what no file can be called is left out.

    Raises
    ------
    UnreadableFile, MissingFile, InvalidRequest
        If the store cannot be listed.
    """
    import obstore

    prefix = root.key.strip("/")

    def ask() -> list[tuple[str, int]]:
        store = store_of(root)
        return [
            (one["path"], one["size"]) for some in obstore.list(store, prefix=prefix or None) for one in some
        ]

    found = {}
    for key, size in asked(root, ask):
        path = key.removeprefix(f"{prefix}/") if prefix else key
        try:
            found[safe_relative(path).as_posix()] = size
        except CoregError:
            continue
    return found


def fetch(root: Address, path: str) -> bytes:
    """The bytes of an object below an address.

    Raises
    ------
    UnreadableFile, MissingFile, InvalidRequest
        If it cannot be read.
    """
    import obstore

    return asked(root, lambda: bytes(obstore.get(store_of(root), _key(root, path)).bytes()))


def put(root: Address, path: str, file: Path) -> None:
    """Put a file as one object below an address; it is there whole, or as it was before.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    import obstore

    _written(root, path, lambda: obstore.put(store_of(root), _key(root, path), file))


def remove(root: Address, paths: Sequence[str]) -> None:
    """Remove objects below an address; one that is not there is no error.

    Raises
    ------
    WriteError
        If that fails.
    """
    import obstore

    keys = [_key(root, path) for path in paths]
    _written(root, ", ".join(paths), lambda: obstore.delete(store_of(root), keys))


def _key(root: Address, path: str) -> str:
    return "/".join(part for part in (root.key.strip("/"), path) if part)


def _written(root: Address, path: str, write: Callable[[], object]) -> None:
    try:
        asked(root, write)
    except CoregError as error:
        raise WriteError(f"{path} cannot be written. {error}") from error
