"""Where files that a user names lie, below which folder they are looked at, and where they go in the output."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coregstack.errors import InvalidRequest, MissingFile
from coregstack.pixels.hints import of_folder
from coregstack.products.item import is_raster
from coregstack.stack.expanding import expanded
from coregstack.untrusted.addresses import Address, is_pattern
from coregstack.untrusted.given import given_list, given_path
from coregstack.untrusted.listing import list_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One file that may belong to an item."""

    source: str
    """Its absolute path, or its address."""
    folder: str
    """Its folder in the output; empty for the root."""
    named: bool
    """Whether the user named the file itself, and not a folder that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Files that may belong to items."""

    files: dict[PurePosixPath, Place]
    """For each file its path below the folder that holds them all."""
    roots: tuple[str, ...]
    """The files and folders that were named; they are never written to."""
    problems: tuple[str, ...]
    """What could not be used of a folder."""


def find_inputs(paths: object) -> Inputs:
    """Files that are named, those that patterns and addresses stand for, and those of folders that are named.

    Parameters
    ----------
    paths : path-like or sequence of path-like
        Files, folders, patterns and addresses. The output keeps the folders below one that is named alone; of several
        folders each keeps its own name, and so does a ``.SAFE`` folder.

    Raises
    ------
    InvalidRequest
        If there is nothing, or two folders of one name.
    MissingFile, UnreadableFile
        If a folder cannot be listed, or holds no raster, or a pattern stands for nothing.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else given_list(paths, "paths")
    named = [place for one in given for place in _named(one)]
    if not named:
        raise InvalidRequest("No scene was given; at least an anchor and one more are expected.")
    found: dict[PurePosixPath, Place] = {}
    problems: list[str] = []
    files = [path for path in named if isinstance(path, Address) or not os.path.isdir(path)]
    below = _common(files)
    flat = len({_relative(path, below).name for path in files}) == len(files)
    for path in named:
        if isinstance(path, Address) or not os.path.isdir(path):
            key = _relative(path, below)
            if key in found:
                # named once more: an item of its own
                key = PurePosixPath(str(len(found))) / key
            folder = "" if flat else _folder(key)
            source = path if isinstance(path, Address) else os.path.abspath(path)
            found[key] = Place(source=source, folder=folder, named=True)
            continue
        # a product is known by its own folder; several folders are told apart by theirs
        whole = len(named) == 1 and not os.path.realpath(path).lower().endswith(".safe")
        head = PurePosixPath() if whole else PurePosixPath(os.path.basename(os.path.abspath(path)))
        listed, faults = list_files(Path(path))
        if not any(is_raster(relative) for relative in listed):
            raise MissingFile(f"The folder {path!r} holds no GeoTIFF or JPEG 2000 file. {of_folder(path)}")
        problems += map(str, faults)
        for relative, listed_path in listed.items():
            if (key := head / relative) in found:
                raise InvalidRequest(
                    f"{found[key].source!r} and {str(listed_path)!r} would both be {key.as_posix()!r} in the output. "
                    "Give folders of different names, or the folder that holds both."
                )
            found[key] = Place(source=str(listed_path), folder=_folder(key), named=False)
    return Inputs(files=found, roots=tuple(named), problems=tuple(problems))


def _named(one: object) -> list[str]:
    """The files and folders that one name stands for."""
    if isinstance(one, Address):
        return expanded(one)
    name = os.fspath(given_path(one, "Every one of paths"))
    text = os.fspath(one) if isinstance(one, str) else name
    if "://" in text:
        return expanded(text)
    if os.path.isdir(name):
        return [name]
    if is_pattern(name) and not os.path.lexists(name):
        matches = sorted(glob.glob(name, recursive=True))
        if matches and all(map(os.path.isdir, matches)):
            # a pattern of product folders
            return matches
    return expanded(name)


def _common(files: Sequence[str]) -> str:
    """The folder that holds all files that are named."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in files if not isinstance(path, Address)}
    return os.path.commonpath(folders) if folders else ""


def _relative(path: str, below: str) -> PurePosixPath:
    if isinstance(path, Address):
        return PurePosixPath(path.bucket, *path.key.split("/")[:-1], path.name)
    return PurePosixPath(Path(os.path.relpath(os.path.abspath(path), below)).as_posix())


def _folder(key: PurePosixPath) -> str:
    return "" if key.parent == PurePosixPath() else key.parent.as_posix()
