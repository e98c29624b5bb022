"""Names that come from outside and become paths: ids, relative paths, extensions."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

from coregstack.errors import UnsafePath
from coregstack.untrusted.limits import DEPTH

MAX_ID_BYTES = 200
"""Longest item id in UTF-8: with the longest suffix it still fits a file name of 255 bytes."""

_MAX_PART_BYTES = 255
_EXTENSION = re.compile(
    r"(?:\.[A-Za-z][A-Za-z0-9]{0,6}\.(?:aux\.xml|msk\.ovr|ovr|msk|gz|bz2|xz|zst)|\.[A-Za-z][A-Za-z0-9]{0,6})$"
)

_ADDRESS = re.compile(
    r"(?:file|local|memory|https?|s3a?|gc?s|abfss?|adl|az|ftp|sftp|ssh|hdfs|zip|data|github|simplecache|filecache):(?!//)",
    re.IGNORECASE,
)
"""Beginnings of addresses; a path of such a name is one that lacks its slashes."""


def check_item_id(item_id: object) -> str:
    """Return an item id that is safe as the first part of a file name.

    A leading dash, spaces inside and any script are allowed: an id never reaches a shell and is
    always joined to a folder.

    Parameters
    ----------
    item_id : object
        What a payload, manifest, stack or caller gave.

    Returns
    -------
    str
        The same id.

    Raises
    ------
    UnsafePath
        If it is no string, is empty or blank, is longer than 200 bytes, is ``.`` or ``..``, or holds a
        path separator, a drive, or a control or unprintable format character.

    Examples
    --------
    >>> check_item_id("20200630_164149_0e3a")
    '20200630_164149_0e3a'
    >>> check_item_id("../up")
    Traceback (most recent call last):
    coregstack.errors.UnsafePath: An item id has to be a plain file name, but '../up' holds a path separator.
    """
    if not isinstance(item_id, str):
        raise UnsafePath(f"An item id has to be a string, but {type(item_id).__name__} was given.")
    fault = _fault(item_id, MAX_ID_BYTES)
    if fault:
        raise UnsafePath(f"An item id has to be a plain file name, but {_short(item_id)} {fault}.")
    return item_id


def safe_relative(path: object) -> PurePosixPath:
    """Return a relative POSIX path that stays inside the folder it is joined to.

    Links on disk are not looked at: whoever opens the path checks that it resolves inside the folder.

    Parameters
    ----------
    path : object
        A path as a manifest or an archive gives it, with ``/`` between its parts.

    Raises
    ------
    UnsafePath
        If it is no string, is empty or absolute, holds ``..``, a backslash, a drive or a control
        character, a part longer than 255 bytes, or more parts than ``COREGSTACK_MAX_DEPTH`` allows.

    Examples
    --------
    >>> safe_relative("PSScene/a.tif")
    PurePosixPath('PSScene/a.tif')
    """
    if not isinstance(path, str):
        raise UnsafePath(f"A path has to be a string, but {type(path).__name__} was given.")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    faults = ["is absolute"] if path.startswith("/") else []
    faults += [fault for part in parts if (fault := _fault(part, _MAX_PART_BYTES))]
    if not parts:
        faults.append("names no file")
    if len(parts) > DEPTH():
        faults.append(f"leads through more than {DEPTH()} folders")
    if faults:
        raise UnsafePath(f"A path has to stay inside its folder, but {_short(path)} {faults[0]}.")
    return PurePosixPath(*parts)


def torn_address(value: str | os.PathLike[str]) -> bool:
    """Whether a path is an address that has lost its slashes, as `Path` takes them: it would be a folder named ``s3:``.

    Examples
    --------
    >>> torn_address("file:/folder"), torn_address("./file:/folder"), torn_address("s3://bucket")
    (True, False, False)
    """
    return _ADDRESS.match(os.fspath(value)) is not None


def split_extension(name: str) -> tuple[str, str]:
    """Split a file name into stem and extension; the two joined are the name.

    An extension starts with a letter and has at most 7 characters, so that a version number is not
    taken for one; companions and compressed files keep both parts (``.tif.aux.xml``, ``.tar.gz``).

    Examples
    --------
    >>> split_extension("scene_v1.2.tif"), split_extension("scene_v1.2"), split_extension("a.tif.aux.xml")
    (('scene_v1.2', '.tif'), ('scene_v1.2', ''), ('a', '.tif.aux.xml'))
    """
    found = _EXTENSION.search(name, pos=1)
    return (name[: found.start()], found.group()) if found else (name, "")


def _fault(part: str, limit: int) -> str:
    """Say what makes one part of a path unsafe; nothing if it is safe."""
    if not part.strip():
        return "is empty"
    if "/" in part or "\\" in part:
        return "holds a path separator"
    if part in (".", ".."):
        return "leads to another folder"
    if not part.isprintable() and any(unicodedata.category(char) in ("Cc", "Cf", "Cs") for char in part):
        return "holds a control or unprintable character"
    if ":" in part and PureWindowsPath(part).drive:
        return "holds a drive"
    if len(part.encode()) > limit:
        return f"is longer than {limit} bytes"
    return ""


def _short(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
