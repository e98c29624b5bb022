"""Notes of what a run has done with an item, which later runs believe only where a run can have written them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coregstack.errors import CoregError, UnreadableFile
from coregstack.export.files import staged
from coregstack.model import ItemQuality, Shift, Status
from coregstack.untrusted.jsonfile import read_json
from coregstack.untrusted.names import safe_relative

_MAX_BYTES = 16 * 2**20


def write_note(path: Path, note: Mapping[str, Any]) -> None:
    """Write a note.

    Parameters
    ----------
    path : Path
        File; it appears only complete.
    note : mapping
        ``fingerprint`` and ``resampling`` (str), ``quality`` as `quality_as_json` gives it, and ``files``,
        a list of what is known of each: ``path``, ``size``, ``md5``, ``sha256``, ``annotations``.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with staged(path) as temporary:
        temporary.write_text(json.dumps({**note, "check": _digest(note)}), "utf-8")


def read_note(path: Path) -> dict[str, Any]:
    """What a run has noted of an item.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no note, or it is not what a run writes.
    """
    note = read_json(path, max_bytes=_MAX_BYTES)
    try:
        sound = note.pop("check") == _digest(note)
        # whoever changes a note can sign it too
        sound = sound and [_file(entry) for entry in note["files"]] == note["files"]
        sound = sound and quality_as_json(quality_from_json(note["quality"])) == note["quality"]
        sound = sound and {type(note[key]) for key in ("fingerprint", "resampling")} == {str}
    except (CoregError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        sound = False
    if not sound:
        raise UnreadableFile(f"{str(path)!r} is damaged.")
    return dict(note)


def quality_as_json(quality: ItemQuality) -> dict[str, Any]:
    """A quality as plain values for JSON, without its evidence."""
    return {name: getattr(quality, name) for name in ("before", "after", "improvement", "details")} | {
        "shift": None if quality.shift is None else list(quality.shift),
        "sigma": None if quality.sigma is None else list(quality.sigma),
        "status": str(quality.status),
    }


def quality_from_json(value: Mapping[str, Any]) -> ItemQuality:
    """A quality out of a note.

    Raises
    ------
    KeyError, TypeError, ValueError, ArithmeticError
        If it cannot be one.
    """

    def number(name: str) -> float | None:
        return None if value[name] is None else _number(value[name])

    def pair(name: str) -> Shift | None:
        return None if value[name] is None else Shift(*map(_number, value[name]))

    return ItemQuality(
        shift=pair("shift"),
        sigma=pair("sigma"),
        before=number("before"),
        after=number("after"),
        improvement=number("improvement"),
        status=Status(value["status"]),
        details=_text(value["details"]),
    )


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "path": _text(str(safe_relative(entry["path"]))),
        "size": int(_number(entry["size"])),
        "md5": _text(entry["md5"]),
        "sha256": _text(entry["sha256"]),
        "annotations": {_text(key): _text(value) for key, value in entry["annotations"].items()},
    }


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
