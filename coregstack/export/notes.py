"""Notes of what a run has done with an item; later runs use them only where a run can have written them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from coregstack.errors import CoregError, UnreadableFile
from coregstack.export.files import STATE, staged
from coregstack.matching.quality import plain_values, quality_of
from coregstack.untrusted.jsonfile import read_small_json
from coregstack.untrusted.names import safe_relative

_DELIVERED = "delivered"
"""Name of the file that lists the items of the last run, beside their notes."""


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write a note.

    Parameters
    ----------
    path : Path
        File; it appears only complete.
    note : mapping
        ``fingerprint`` and ``resampling`` (str), ``parts`` and ``sources`` (mappings of str), ``quality`` as
        `plain_values` gives it, and ``files``, a list of what is known of each: ``path``, ``size``, ``md5``,
        ``sha256``, ``annotations``.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with staged(path, checked=True) as temporary:
        temporary.write_bytes(json.dumps({**note, "check": _digest(note)}).encode())


def read_note(path: Path) -> dict[str, Any]:
    """What a run has noted of an item.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no note, or it is not what a run writes.
    """
    note = read_small_json(path)
    try:
        sound = note.pop("check") == _digest(note)
        # the digest detects damage, not forgery
        sound = sound and [_file(entry) for entry in note["files"]] == note["files"]
        sound = sound and plain_values(quality_of(note["quality"])) == note["quality"]
        # no text of a note may be one that UTF-8 cannot hold
        json.dumps(note, ensure_ascii=False).encode()
        sound = sound and {type(note[key]) for key in ("fingerprint", "resampling")} == {str}
        sound = sound and all(_texts(note[key]) == note[key] for key in ("parts", "sources"))
    except (CoregError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        sound = False
    if not sound:
        raise UnreadableFile(f"{str(path)!r} is damaged.")
    return dict(note)


def read_notes(output: Path) -> dict[str, dict[str, Any]]:
    """What runs have recorded of the items of an output folder, by id; damaged notes are ignored."""
    found = {}
    for path in sorted((output / STATE).glob("*.json")):
        with suppress(CoregError):
            found[path.stem] = read_note(path)
    return found


def note_delivered(output: Path, items: Iterable[str]) -> None:
    """Note which items a run was asked for; what is noted of others is no longer part of the output.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with staged(output / STATE / _DELIVERED) as temporary:
        temporary.write_bytes(json.dumps(list(items)).encode())


def delivered(output: Path) -> frozenset[str] | None:
    """Items that the last run over an output folder was asked for; None where that is not known."""
    try:
        found = read_small_json(output / STATE / _DELIVERED)
        return frozenset(_text(item) for item in found)
    except (CoregError, AttributeError, TypeError, ValueError):
        return None


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": _text(str(safe_relative(entry["path"]))),
        "size": int(_number(entry["size"])),
        "md5": _text(entry["md5"]),
        "sha256": _text(entry["sha256"]),
        "annotations": _texts(entry["annotations"]),
    }


def _texts(values: Mapping[str, str]) -> dict[str, str]:
    return {_text(key): _text(value) for key, value in values.items()}


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, str) or not math.isfinite(number):
        raise ValueError(f"{value!r} is no number.")
    return number


def _text(value: str) -> str:
    """Text that UTF-8 can hold."""
    return value.encode().decode()


def _digest(note: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(note, sort_keys=True).encode()).hexdigest()
