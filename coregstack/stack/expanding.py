"""What a user typed as files to open, one by one: files, folders, patterns and addresses."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from coregstack.errors import InvalidRequest, MissingFile
from coregstack.pixels import hints
from coregstack.pixels.remote import objects_below, require_obstore
from coregstack.untrusted.addresses import WEB, Address, is_pattern, typed
from coregstack.untrusted.folders import walked
from coregstack.untrusted.given import given_list, given_path
from coregstack.untrusted.names import torn_address

_RASTERS = (".tif", ".tiff", ".jp2")
"""Endings of the files that a folder stands for."""
_PRODUCTS = (".safe", ".zarr")
"""Endings of folders that are one thing, and not read as many scenes."""


def expanded(given: Any) -> list[str]:
    """Every file that paths, folders, patterns and addresses stand for, in the order given.

    Parameters
    ----------
    given : path-like, or sequence of path-like
        A folder stands for all rasters in it and its subfolders, sorted by path, without hidden ones; links in it are
        not followed. A pattern has ``*``, ``?``, ``[...]`` and ``**`` for any folders, as in a shell, and stands for
        what matches, sorted. So does a key of an object store, and one that ends with a slash is a folder. A file that
        has such a name is that file.

    Returns
    -------
    list of str
        Paths, and an `Address` for each address.

    Raises
    ------
    InvalidRequest
        If something else was given, or an address that stands for no file.
    MissingFile
        If a folder or pattern stands for no file.
    """
    names = [given] if isinstance(given, str | os.PathLike) else given_list(given, "paths")
    found = [file for name in names for file in _files(name)]
    if not found:
        raise InvalidRequest("No scene was given; at least an anchor and one more are expected.")
    if any(isinstance(file, Address) for file in found):
        require_obstore()
    return found


def _files(given: Any) -> list[str]:
    if isinstance(given, Address):
        # it was found already, and its key may look like a pattern
        return [given]
    given_path(given, "Every one of paths")
    name = typed(given)
    if isinstance(name, Address):
        return _addresses(name)
    if torn_address(name) and not os.path.lexists(name):
        raise InvalidRequest(f"{name!r} is an address that lacks a slash, as Path takes it: give it as text.")
    if os.path.isdir(name):
        return _in_folder(name)
    if not is_pattern(name) or os.path.lexists(name):
        return [name]
    found = sorted(path for path in glob.glob(name, recursive=True) if not os.path.isdir(path))
    if not found:
        raise MissingFile(f"No file matches {name!r}. Check the pattern, and the folder that it begins in.")
    return found


def _in_folder(folder: str) -> list[str]:
    if folder.rstrip("/").lower().endswith(_PRODUCTS):
        # what it holds are parts of one scene
        return [folder]
    found = sorted(
        entry.path
        for entry in walked(folder, enter=lambda name: not name.startswith("."))
        if _is_raster(entry.name) and entry.is_file(follow_symlinks=False)
    )
    if not found:
        raise MissingFile(
            f"The folder {folder!r} holds no GeoTIFF or JPEG 2000 file. {hints.of_folder(folder)}"
        )
    return found


def _addresses(address: Address) -> list[str]:
    many = address.endswith("/") or is_pattern(address)
    if not many:
        return [address]
    if address.scheme in WEB:
        raise InvalidRequest(
            f"{str(address)!r} stands for more than one file, but a web server does not tell what it holds. Give the "
            "address of each file."
        )
    pattern = address.key + ("**" if address.endswith("/") else "")
    parts = pattern.split("/")
    plain = next(k for k, part in enumerate(parts) if is_pattern(part))
    keys = sorted(objects_below(address, "/".join(parts[:plain])))
    if address.key in keys:
        return [address]
    found = [key for key in keys if _matches(key.split("/"), parts) and _is_raster(key.rpartition("/")[2])]
    if not found:
        raise MissingFile(f"No GeoTIFF or JPEG 2000 file is found for {str(address)!r}. Check the address.")
    return [typed(f"{address.scheme}://{address.bucket}/{key}") for key in found]


def _matches(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether folders and name of a key are those of a pattern, as a shell matches them."""
    if not pattern or not names:
        return not names and all(part == "**" for part in pattern)
    if pattern[0] == "**":
        return _matches(names, pattern[1:]) or _matches(names[1:], pattern)
    return fnmatchcase(names[0], pattern[0]) and _matches(names[1:], pattern[1:])


def _is_raster(name: str) -> bool:
    return name.lower().endswith(_RASTERS) and not name.startswith(".")
