"""Folders for what a run unpacks: removed at its end, and by the next run where it was killed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no POSIX system: folders of killed runs and those in use cannot be distinguished
    fcntl = None  # type: ignore[assignment]

_PREFIX = "coregstack-"
_MARK = "unpacked-by-coregstack"
"""File in such a folder that names its run, locked for as long as the folder is in use."""

_MAX_MARK_BYTES = 300
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FOUND = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of this run alone in the system's temporary folder; those of dead runs are removed.

    A folder of another run is removed only if its mark says that it is one, of this user and this machine, and
    nobody holds the mark's lock.

    Yields
    ------
    Path
        Empty but for the mark.
    """
    _remove_dead(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        mark = os.open(Path(name, _MARK), _NEW, 0o600)
        try:
            # without the lock, the next run does not remove the folder
            if _locked(mark):
                os.write(mark, _words())
            yield Path(name)
        finally:
            os.close(mark)


def _words() -> bytes:
    return f"{_MARK} on {socket.gethostname()}\n".encode()


def _locked(descriptor: int) -> bool:
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_dead(place: Path) -> None:
    if fcntl is None:
        return
    with suppress(OSError):
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if _is_dead(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_dead(folder: Path) -> bool:
    """Whether a folder belongs to a run of this user on this machine that has ended."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return False
    descriptor = os.open(folder / _MARK, _FOUND)
    try:
        found = os.fstat(descriptor)
        own = stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()
        # the mark is written once it is locked: one that can be locked has lost its run
        return own and _locked(descriptor) and os.read(descriptor, _MAX_MARK_BYTES) == _words()
    finally:
        os.close(descriptor)
