"""Bytes of files, on disk or behind addresses: copies and digests."""

from __future__ import annotations

import hashlib
import os
from io import BufferedIOBase
from pathlib import Path

from coregstack.errors import CoregError, UnreadableFile
from coregstack.export.files import staged
from coregstack.pixels.inputs import opened_bytes
from coregstack.untrusted.addresses import Address

_CHUNK = 2**20
_SAMPLES, _SAMPLE = 16, 2**16
"""How many pieces of a file stand for all of it, and how many bytes each has."""


def copy_file(source: str, target: Path) -> None:
    """Copy a file, on disk or behind an address, byte for byte.

    Raises
    ------
    MissingFile, UnreadableFile
        If the source is not there, or cannot be read.
    WriteError
        If the target cannot be written.
    """
    with opened_bytes(source) as before, staged(target) as temporary, temporary.open("xb") as after:
        while block := _read(before, source):
            after.write(block)


def digests(path: Path) -> dict[str, str]:
    """MD5 and SHA-256 of a file, as hexadecimal text.

    Raises
    ------
    UnreadableFile
        If it cannot be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with opened_bytes(str(path)) as file:
        while block := _read(file, str(path)):
            md5.update(block)
            sha256.update(block)
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}


def file_digest(path: str, algorithm: str) -> str:
    """One digest of a file, on disk or behind an address, as hexadecimal text.

    Raises
    ------
    MissingFile, UnreadableFile
        If there is no such file, or it cannot be read.
    """
    found = hashlib.new(algorithm, usedforsecurity=False)
    with opened_bytes(path) as file:
        while block := _read(file, path):
            found.update(block)
    return found.hexdigest()


def sample_digest(path: str) -> str:
    """SHA-256 of pieces that are spread evenly over a file, of all of it up to 1 MiB; empty if it cannot be read.

    It detects another file of the same size and time at little cost, but not single changed bytes of a large
    file. Of an address it is empty: what its server tells of the version stands for the content.
    """
    found = hashlib.sha256()
    if isinstance(path, Address):
        return ""
    try:
        with opened_bytes(path) as file:
            size = file.seek(0, os.SEEK_END)
            whole = size <= _SAMPLES * _SAMPLE
            length = size if whole else _SAMPLE
            last = size - length
            for start in sorted({last * k // (_SAMPLES - 1) for k in range(_SAMPLES)}):
                file.seek(start)
                found.update(file.read(length))
    except OSError:
        return ""
    return found.hexdigest()


def _read(file: BufferedIOBase, path: str) -> bytes:
    try:
        return file.read(_CHUNK)
    except CoregError:
        raise
    except OSError as error:
        raise UnreadableFile(f"{path!r} cannot be read ({error.strerror}).") from error
