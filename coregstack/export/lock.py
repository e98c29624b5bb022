"""One run at a time writes to an output folder."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coregstack.errors import OutputConflict
from coregstack.export.evidence import STATE
from coregstack.export.files import WriteError

try:
    import fcntl
except ImportError:  # no POSIX system: the runs are not kept apart
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"
"""Name of the lock file in the folder where a run keeps its notes."""

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
    OutputConflict
        If another run holds it; the message names its host and process.
    WriteError
        If the folder cannot be written.
    """
    path = output / STATE / LOCK
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        raise WriteError(
            f"{str(output)!r} cannot be written ({error.strerror}). Check its permissions, or choose another folder."
        ) from error
    with file:
        _acquire(file.fileno(), output, path)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _acquire(descriptor: int, output: Path, path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = path.read_text("utf-8", errors="replace")[:200] or "unknown"
        raise OutputConflict(
            f"Another run ({holder}) is writing to {str(output)!r}. Wait for its end, or choose another folder."
        ) from error
    except OSError as error:
        log.warning("no lock on %s: %s; do not start a second run on it", output, error)
