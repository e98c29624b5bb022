"""Of processes that want the same file made, one makes it and the others wait for it; and the locks by which they do.

The operating system frees a lock when the process that holds it ends, however it ends. The well-known packages for it
lock a file that they open themselves; here a lock lies on a file that was opened without following links.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    # Windows keeps others from reading what is locked, so a byte far behind the content is
    _PLACE = 1 << 30

    def _change(descriptor: int, mode: int) -> None:
        os.lseek(descriptor, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, mode, 1)
        except PermissionError as error:
            raise BlockingIOError(errno.EAGAIN, "another process holds the lock") from error
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)

    def _lock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_NBLCK)

    def _unlock(descriptor: int) -> None:
        _change(descriptor, msvcrt.LK_UNLCK)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


_PATIENCE = 180.0
"""Seconds after which a process no longer waits for another, which may be stopped or on a machine that is gone."""
_PAUSE = 0.02, 0.2
"""Seconds between two looks, at first and at most."""
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


def lock(descriptor: int) -> None:
    """Lock an open file for this process alone, until `unlock` or until it is closed.

    Parameters
    ----------
    descriptor : int
        Of a file that is open for writing.

    Raises
    ------
    BlockingIOError
        If another holds it; it is not waited for.
    OSError
        If the file system knows no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     lock(file.fileno())
    """
    _lock(descriptor)


def unlock(descriptor: int) -> None:
    """Free what `lock` has locked, also where another process came to share the open file.

    Parameters
    ----------
    descriptor : int
        Of the locked file.

    Raises
    ------
    OSError
        If the file system knows no locks.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     lock(file.fileno())
    ...     unlock(file.fileno())
    """
    _unlock(descriptor)


class Turn:
    """The right to make a file, held until `end` or until the process ends, however it ends."""

    def __init__(self, handle: int | None, path: Path) -> None:
        self._handle = handle
        self._path = path

    def end(self) -> None:
        """Let the others have it."""
        if self._handle is None:
            return
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):
            unlock(self._handle)
        with suppress(OSError):
            os.close(self._handle)
        self._handle = None


def take_turn(path: Path, made: Callable[[], bool], patience: float = _PATIENCE) -> Turn | None:
    """Wait until a file has been made by another process, or it is this one's turn to make it.

    Parameters
    ----------
    path : Path
        The file; the lock lies beside it.
    made : callable
        Whether the file is there.
    patience : float
        Seconds to wait at most.

    Returns
    -------
    Turn or None
        None where the file has been made. A turn, to be ended when the file is made, where it is not: this
        process holds the lock, or there is none to be had (no locks on the file system, a folder that
        cannot be written, another process that takes too long), and then it is made more than once.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "file"
    ...     turn = take_turn(path, path.exists)
    ...     _ = path.write_text("made")
    ...     turn.end()
    ...     take_turn(path, path.exists) is None
    True
    """
    beside = path.with_name(f"{path.name}.lock")
    handle = _opened(beside)
    if handle is None:
        return Turn(None, beside)
    end, pause = time.monotonic() + patience, _PAUSE[0]
    while not _held(handle):
        if time.monotonic() > end:
            os.close(handle)
            return Turn(None, beside)
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE[1])
    turn = Turn(handle, beside)
    if made():
        turn.end()
        return None
    return turn


def _opened(beside: Path) -> int | None:
    with suppress(OSError):
        beside.parent.mkdir(parents=True, exist_ok=True)
        return os.open(beside, _FLAGS, 0o600)
    return None


def _held(handle: int) -> bool:
    """Whether this process has the lock now; where there are none, it has."""
    try:
        lock(handle)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
