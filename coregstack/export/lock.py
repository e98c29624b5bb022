"""One run at a time writes to an output folder."""

from __future__ import annotations

import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coregstack.errors import OutputConflict
from coregstack.export.files import STATE, WriteError, inside
from coregstack.kernels.turns import lock

LOCK = "lock"
"""Name of the lock file in the folder where a run keeps its notes."""

_MAX_HOLDER_BYTES = 200
# a link is not followed, and a pipe without a reader is not waited for
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)

log = logging.getLogger(__name__)


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other runs from an output folder for as long as this one lasts.

    The operating system holds the lock and frees it when its process ends, however it ends: what a killed
    run leaves of it does not stand in the way. Where a file system knows no locks, or across machines
    whose file system keeps locks to each, runs are not kept apart.

    Parameters
    ----------
    output : Path
        Folder, which exists.

    Raises
    ------
    UnsafePath
        If a link leads the folder of notes out of the output.
    OutputConflict
        If another run holds it; the message names its host and process.
    WriteError
        If the lock cannot be made: the folder cannot be written, or something that is no file, such as a
        folder or a link, lies in its place.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder)):
    ...     (Path(folder) / STATE / LOCK).is_file()
    True
    """
    with locked_file(inside(output, STATE, LOCK), output):
        yield


@contextmanager
def locked_file(path: Path, target: Path) -> Iterator[None]:
    """Keep other runs from a target by a lock file, for as long as this one lasts.

    Parameters
    ----------
    path : Path
        The lock file; it is made, and its folder where that is the only one missing.
    target : Path
        What it guards, for messages.

    Raises
    ------
    OutputConflict, WriteError
        As `locked`.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, _FLAGS, 0o666)
    except OSError as error:
        raise _unusable(path, error.strerror) from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _unusable(path, "it is no file")
        _acquire(descriptor, target)
        # the name of the holder is only information for others: the lock holds on a full disk too
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def _unusable(path: Path, reason: str | None) -> WriteError:
    return WriteError(
        f"The lock {str(path)!r} cannot be written ({reason}). Check the folder's permissions, remove what lies in "
        "its place, or choose another folder."
    )


def _acquire(descriptor: int, target: Path) -> None:
    try:
        lock(descriptor)
    except BlockingIOError as error:
        raise OutputConflict(
            f"Another run ({_holder(descriptor)}) is writing to {str(target)!r}. Wait for its end, or choose "
            "another folder."
        ) from error
    except OSError as error:
        log.warning("no lock on %s: %s; do not start a second run on it", target, error)


def _holder(descriptor: int) -> str:
    """What the holder has written of itself, as far as it can be shown."""
    try:
        text = os.read(descriptor, _MAX_HOLDER_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return "unknown"
    return "".join(character for character in text if character.isprintable()) or "unknown"
