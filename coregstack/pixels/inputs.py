"""An input file, on disk or behind an address that a user typed: whether it is there, its state, its bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import BufferedIOBase
from pathlib import Path

from coregstack.errors import MissingFile, UnreadableFile
from coregstack.pixels.remote import RemoteFile, version_of
from coregstack.untrusted.addresses import Address


def state_of(path: str) -> tuple[int, int]:
    """Bytes of a file, and a number that is another when it has changed.

    The number is the time of change, nanoseconds since 1970; of an address it stands for what its server says.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no such file, or it cannot be reached.
    """
    if isinstance(path, Address):
        size, version = version_of(path)
        return size, stands_for(version)
    try:
        stat = os.stat(path)
    except OSError as error:
        raise MissingFile.at(path) from error
    return stat.st_size, stat.st_mtime_ns


def stands_for(version: str) -> int:
    """A number for a version of a file behind an address."""
    return int.from_bytes(hashlib.sha256(version.encode()).digest()[:7])


@contextmanager
def opened_bytes(path: str) -> Iterator[BufferedIOBase]:
    """The bytes of a file, to read and to seek in.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no such file, or it cannot be opened or reached.
    """
    if isinstance(path, Address):
        with closing(RemoteFile(path)) as remote:
            yield remote.reader()
        return
    if not os.path.isfile(path):
        raise MissingFile.at(path)
    try:
        file = Path(path).open("rb")  # noqa: SIM115 (only an error of opening is told in these words)
    except OSError as error:
        raise UnreadableFile(f"{path!r} cannot be opened ({error.strerror}).") from error
    with file:
        yield file
