"""Read JSON that others wrote without trusting it, and write it so that it appears only whole."""

from __future__ import annotations

import gc
import json
import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coregstack.errors import MissingFile, UnreadableFile
from coregstack.untrusted.limits import JSON_BYTES, JSON_VALUES, SMALL_JSON_BYTES, SMALL_JSON_VALUES, Limit


def parse_json(
    text: str, *, values: Limit = JSON_VALUES, on_duplicate: Callable[[str], None] | None = None
) -> Any:
    """Parse JSON as RFC 8259 has it: without NaN and Infinity.

    Parameters
    ----------
    text : str
        The document.
    values : Limit
        How many values it may hold, also those within others.
    on_duplicate : callable, optional
        Called with every key that appears twice in one object; the last value counts.

    Raises
    ------
    ValueError
        If the text is not JSON, nests too deeply, holds a number too long to read, or more values than the limit.
    """

    # each value but the first stands behind one of these; within strings they count as well
    if sum(map(text.count, ",[{")) > values():
        raise ValueError(f"it holds more than {values()} values; if you trust it, raise {values.variable}")

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if on_duplicate:
            for key, count in Counter(key for key, _ in found).items():
                if count > 1:
                    on_duplicate(key)
        return dict(found)

    try:
        with _no_collection():
            return json.loads(text, object_pairs_hook=pairs, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its objects and lists nest too deeply") from None


def read_text(path: Path, *, limit: Limit = JSON_BYTES) -> str:
    """Read a UTF-8 file of bounded size; a byte order mark is skipped.

    Raises
    ------
    MissingFile
        If there is no such file.
    UnreadableFile
        If it is no regular file, is too large, cannot be opened, or is not UTF-8.
    """
    try:
        if not path.exists():
            raise MissingFile(f"{path} has to be a file, but there is nothing at this path.")
        if not path.is_file():
            raise UnreadableFile(f"{path} has to be a file, but it is not a regular one.")
        with path.open("rb") as file:
            data = file.read(limit() + 1)
    except (MissingFile, UnreadableFile):
        raise
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{str(path)!a} cannot be read: {error}.") from error
    if len(data) > limit():
        raise UnreadableFile(
            f"{path} is larger than the {limit()} bytes that are read of such a file. If it is to be trusted, raise "
            f"{limit.variable}."
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path} has to be UTF-8 text, but it is not: {error}.") from error


def read_json(path: Path, *, limit: Limit = JSON_BYTES, values: Limit = JSON_VALUES) -> Any:
    """Read a JSON file of bounded size, that holds a bounded number of values.

    Raises
    ------
    MissingFile, UnreadableFile
        As `read_text`; also if the text is not JSON.
    """
    text = read_text(path, limit=limit)
    try:
        return parse_json(text, values=values)
    except ValueError as error:
        raise UnreadableFile(f"{path} has to be JSON, but it is not: {error}.") from error


def read_small_json(path: Path) -> Any:
    """Read a JSON file about one item, whose limits are narrower.

    Raises
    ------
    MissingFile, UnreadableFile
        As `read_json`.
    """
    return read_json(path, limit=SMALL_JSON_BYTES, values=SMALL_JSON_VALUES)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; its name appears only when it is complete.

    The same value gives the same bytes.

    Raises
    ------
    ValueError
        If the value holds NaN or Infinity; nothing is written then.
    UnreadableFile
        If the file cannot be written; nothing is left then.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    named = False
    try:
        with temporary.open("xb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        named = True
    except (OSError, UnicodeError) as error:
        raise UnreadableFile(
            f"{str(path)!a} cannot be written ({error}). Check the folder's free space and permissions."
        ) from error
    finally:
        if not named:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Spare the search for cycles: what is parsed holds none, and of many values it takes most of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
