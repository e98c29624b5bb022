"""Folders for what a run unpacks: removed at its end, and by the next run where it was killed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coregstack.errors import OutputConflict
from coregstack.export.files import UNPACKED, resolved
from coregstack.kernels.turns import lock
from coregstack.run.places import within

_PREFIX = "coregstack-"
_MAX_MARK_BYTES = 300
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_FOUND = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


@contextmanager
def scratch_folder(apart_from: Iterable[Path] = ()) -> Iterator[Path]:
    """A folder of this run alone in the system's temporary folder.

    A file in it, locked for as long as the folder is in use, names its run.

    Parameters
    ----------
    apart_from : iterable of Path
        Files and folders of the run, in which nothing may be unpacked.

    Yields
    ------
    Path
        Empty but for the mark.

    Raises
    ------
    OutputConflict
        If the system's temporary folder lies in one of them.
    """
    place = resolved(Path(tempfile.gettempdir()))
    for folder in apart_from:
        if within(place, resolved(folder)):
            raise OutputConflict(
                f"Archives are unpacked to {str(place)!r}, which lies in {str(folder)!r}, a place of this run. Set "
                "TMPDIR to a folder elsewhere, or unpack the archives yourself."
            )
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name:
        mark = os.open(Path(name, UNPACKED), _NEW, 0o600)
        try:
            # without the lock, the next run does not remove the folder
            if _locked(mark):
                os.write(mark, _words())
            yield Path(name)
        finally:
            os.close(mark)


def _words() -> bytes:
    return f"{UNPACKED} on {socket.gethostname()}\n".encode()


def _locked(descriptor: int) -> bool:
    try:
        lock(descriptor)
    except OSError:
        return False
    return True


def remove_dead() -> None:
    """Remove what dead runs have unpacked to the system's temporary folder.

    A folder is removed only if its mark says that it is one, of this user and this machine, and nobody holds the
    mark's lock.
    """
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(OSError):
                if _is_dead(folder):
                    shutil.rmtree(folder, ignore_errors=True)


def _user() -> int:
    # Windows numbers no users, and its temporary folder is one user's
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_dead(folder: Path) -> bool:
    """Whether a folder belongs to a run of this user on this machine that has ended."""
    if not stat.S_ISDIR(folder.lstat().st_mode):
        return False
    descriptor = os.open(folder / UNPACKED, _FOUND)
    try:
        found = os.fstat(descriptor)
        own = stat.S_ISREG(found.st_mode) and found.st_uid == _user()
        # the mark is written once it is locked: one that can be locked has lost its run
        return own and _locked(descriptor) and os.read(descriptor, _MAX_MARK_BYTES) == _words()
    finally:
        os.close(descriptor)
