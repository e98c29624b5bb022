"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coregstack.errors import CoregError, UnreadableFile

PART = ".part"
"""Ending of files that are being written; what a killed run leaves of them is removed by the next."""


class WriteError(UnreadableFile):
    """A file that cannot be written."""


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A place to write a file that becomes `path` in one step when all went well.

    Parameters
    ----------
    path : Path
        Final name; its folder is made.

    Yields
    ------
    Path
        Hidden name in the same folder.

    Raises
    ------
    WriteError
        If the folder or file cannot be written; nothing is left then.
    """
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}{PART}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except CoregError:
        raise
    except OSError as error:
        raise WriteError(
            f"{str(path)!r} cannot be written ({error.strerror or error}). Check the folder's free space and rights."
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def copy_file(source: Path, target: Path) -> None:
    """Copy a file byte for byte.

    Raises
    ------
    UnreadableFile
        If the source cannot be read.
    WriteError
        If the target cannot be written.
    """
    if not source.is_file():
        raise UnreadableFile(f"{str(source)!r} is not there any more; it was found when the run began.")
    with staged(target) as temporary:
        shutil.copyfile(source, temporary)


def digests(path: Path) -> dict[str, str]:
    """MD5 and SHA-256 of a file, as hexadecimal text."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            md5.update(block)
            sha256.update(block)
    return {"md5": md5.hexdigest(), "sha256": sha256.hexdigest()}
