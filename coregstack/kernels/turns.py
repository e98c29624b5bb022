"""Of processes that want the same file made, one makes it and the others wait for it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # no POSIX system: everyone makes it
    fcntl = None  # type: ignore[assignment]

_PATIENCE = 180.0
"""Seconds after which a process no longer waits for another, which may be stopped or on a machine that is gone."""
_PAUSE = 0.02, 0.2
"""Seconds between two looks, at first and at most."""
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


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
            fcntl.flock(self._handle, fcntl.LOCK_UN)
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
    lock = path.with_name(f"{path.name}.lock")
    handle = _opened(lock)
    if handle is None:
        return Turn(None, lock)
    end, pause = time.monotonic() + patience, _PAUSE[0]
    while not _held(handle):
        if time.monotonic() > end:
            os.close(handle)
            return Turn(None, lock)
        time.sleep(pause)
        pause = min(2 * pause, _PAUSE[1])
    turn = Turn(handle, lock)
    if made():
        turn.end()
        return None
    return turn


def _opened(lock: Path) -> int | None:
    if fcntl is None:
        return None
    with suppress(OSError):
        lock.parent.mkdir(parents=True, exist_ok=True)
        return os.open(lock, _FLAGS, 0o600)
    return None


def _held(handle: int) -> bool:
    """Whether this process has the lock now; where there are none, it has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
