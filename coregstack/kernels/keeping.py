"""Where compiled code is kept for the next process, and which files of it are trusted.

It is code. So it lies where no other user can write, in a place that no file of the current folder chooses,
and is loaded only if it is unchanged.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from numba.core import config

VARIABLE = "NUMBA_CACHE_DIR"
"""Environment variable that names another folder."""

_MAGIC = b"coregstack kernel 2\n"
_DIGEST = hashlib.sha256().digest_size
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def ignore_current_folder() -> None:
    """Make numba ignore ``.numba_config.yaml`` in the current folder, by which a file could change how it
    compiles.

    What is set by environment variables stays.
    """
    # numba has no switch for it; this name is read each time that it looks
    config._config_fname = ""
    config.reload_config()


def kept_in(source: Path) -> Path | None:
    """Folder for what is compiled of a source file; None where none is safe.

    It is the one that ``NUMBA_CACHE_DIR`` names, else ``__pycache__`` beside the source, else one in the user's cache
    folder: the first that can be written, that belongs to the user, and that nobody else can write to.

    Parameters
    ----------
    source : Path
        File of Python code.

    Returns
    -------
    Path or None
        It exists.
    """
    for folder in _candidates(source):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # who may write to it is asked by writing: file systems can be mounted for reading alone
            with tempfile.TemporaryFile(dir=folder):
                pass
            if is_private(folder):
                return folder
    return None


def is_private(folder: Path) -> bool:
    """Whether only the user, or the administrator, can change what lies in a folder, or put another in its place."""
    if os.name != "posix":
        return True
    whole = Path(os.path.realpath(folder))
    own = os.stat(whole)
    if not _is_ours(own) or own.st_mode & _OTHERS:
        return False
    return all(_keeps(os.stat(parent)) for parent in whole.parents)


def read_kept(path: Path) -> bytes:
    """Content of a file that `sealed` has made.

    Raises
    ------
    OSError
        If there is none.
    ValueError
        If it is not whole, was not written under this name, or others could have written it.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path} is no file")
        if os.name == "posix" and (not _is_ours(found) or found.st_mode & _OTHERS):
            raise ValueError(f"{path} may be another's")
        return _unsealed(path, file.read())


def read_packaged(path: Path) -> bytes:
    """As `read_kept`, of a file of the package: whoever may write to it may write to the package as well."""
    return _unsealed(path, path.read_bytes())


def _unsealed(path: Path, data: bytes) -> bytes:
    head, content = data[: len(_MAGIC) + _DIGEST], data[len(_MAGIC) + _DIGEST :]
    if head != _seal(path.name, content):
        raise ValueError(f"{path} is damaged")
    return content


def sealed(name: str, content: bytes) -> bytes:
    """What is written to a file of a name, so that it is known again."""
    return _seal(name, content) + content


def _seal(name: str, content: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(name.encode() + b"\0" + content).digest()


def _candidates(source: Path) -> Iterator[Path]:
    own = f"{source.parent.name}-{hashlib.sha256(os.fsencode(source.parent)).hexdigest()[:16]}"
    if named := os.environ.get(VARIABLE):
        yield Path(named).absolute() / own
    yield source.parent / "__pycache__"
    with suppress(RuntimeError):
        home = os.environ.get("XDG_CACHE_HOME") or ""
        # a relative one would be in the current folder
        yield (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "coregstack" / own


def _is_ours(found: os.stat_result) -> bool:
    return found.st_uid in (os.geteuid(), 0)


def _keeps(parent: os.stat_result) -> bool:
    """Whether others cannot put another folder in the place of one in this one."""
    if parent.st_mode & stat.S_ISVTX:
        return True
    # the user's own group is often that of nobody else, and homes are written to by it
    others = stat.S_IWOTH | (stat.S_IWGRP if parent.st_gid not in (os.getegid(), 0) else 0)
    return _is_ours(parent) and not parent.st_mode & others
