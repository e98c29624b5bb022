"""Arguments of public functions that may be of another kind than they have to be."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from coregstack.errors import InvalidRequest
from coregstack.untrusted.addresses import shown
from coregstack.untrusted.names import torn_address


def short(value: object) -> str:
    """What was given, as a message may show it: arrays and long things by their kind alone.

    Examples
    --------
    >>> short([0]), short(None)
    ('[0]', 'None')
    """
    plain = value is None or isinstance(value, str | bytes | int | float | list | tuple | dict | set | slice)
    return reprlib.repr(value) if plain or len(repr(value)) < 60 else f"a {type(value).__name__}"


def given_path(value: Any, name: str) -> Path:
    """A path that was given.

    Raises
    ------
    InvalidRequest
        If it is something else, or an empty text.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise InvalidRequest(f"{name} has to be a path, not {short(value)}.")
    if not os.fspath(value):
        # as an unset variable leaves it: it would be the current folder
        raise InvalidRequest(f"{name} has to be a path, but it is empty. The current folder is '.'.")
    return Path(value)


def given_place(value: Any, name: str) -> Path:
    """A path of this machine that was given, to read or to write at.

    Raises
    ------
    InvalidRequest
        If it is something else, an address for example: it would become a folder named ``s3:``.
    """
    path = given_path(value, name)
    if "://" in os.fspath(value) or torn_address(value):
        raise InvalidRequest(
            f"{name} has to be a path of this machine, but an address was given, {shown(value)}. If it is a path, "
            "give the whole of it, from / on."
        )
    return path


def given_list(value: Any, name: str) -> list[Any]:
    """A list, tuple, array or other sequence that was given, as a list.

    Raises
    ------
    InvalidRequest
        If it is something else, a text for example.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidRequest(f"{name} has to be a list, not {short(value)}.")
    return list(value)
