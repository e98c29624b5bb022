"""Files that appear under their final name only when they are complete."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from coregstack.errors import CoregError, OutputConflict, UnreadableFile, UnsafePath

STATE = ".coregstack"
"""Folder in an output folder that remembers what was done with each item, and from what."""

PART = ".part"
"""Ending of files that are being written; what a killed run leaves of them is removed by the next."""

UNPACKED = "unpacked-by-coregstack"
"""File that marks a folder of unpacked archives, which is removed when its run has ended."""

_HIDDEN = re.compile(r"\.[0-9a-f]{16}\.part")


class WriteError(UnreadableFile):
    """A file that cannot be written."""


class RunEnded(CoregError, RuntimeError):
    """Work for a run that has ended, or whose place another has taken: its files get no names."""


_held: ContextVar[Callable[[], bool]] = ContextVar("_held", default=lambda: True)
"""Whether the run for which this thread works is still the one that may write."""


@contextmanager
def while_held(holds: Callable[[], bool]) -> Iterator[None]:
    """Files that this thread writes get their names only while `holds()` is true."""
    before = _held.set(holds)
    try:
        yield
    finally:
        _held.reset(before)


def check_held() -> None:
    """Make sure that this thread may still write.

    Raises
    ------
    RunEnded
        If the run for which it works has ended.
    """
    if not _held.get()():
        raise RunEnded(
            "It was not written: the run that asked for it has ended, or another run has taken over."
        )


def resolved(path: Path) -> Path:
    """A path as absolute and without links.

    Raises
    ------
    WriteError
        If no file can have it: it is too long, goes round in links, or holds NUL.

    Examples
    --------
    >>> resolved(Path("/usr/../output")).as_posix()
    '/output'
    """
    try:
        # not by Path.resolve, which looks for links that go round itself, and so at the path once more
        found = Path(os.path.realpath(path))
        with suppress(FileNotFoundError, NotADirectoryError):
            found.stat()  # tells of names that are too long, and of links that go round
    except (OSError, RuntimeError, ValueError) as error:
        raise WriteError(f"{str(path)!a} cannot be a folder or file ({error}). Choose another.") from error
    return found


def inside(root: str | os.PathLike[str], *parts: str) -> Path:
    """Place of a file in an output folder, whose own folder lies there after all links.

    A link in the place of the file itself is not followed: who writes a file replaces it.

    Parameters
    ----------
    root : path-like
        The output folder; it may be a link itself.
    *parts : str
        Path below it.

    Raises
    ------
    UnsafePath
        If a link leads the folder out of `root`.
    WriteError
        If no file can have the path.

    Examples
    --------
    >>> inside("out", "a", "b.tif").as_posix()
    'out/a/b.tif'
    """
    path = Path(root, *parts)
    if _may_leave(os.path.dirname(path), os.fspath(root)):
        folder = resolved(path.parent)
        if not folder.is_relative_to(resolved(Path(root))):
            raise UnsafePath(
                f"{str(path)!r} would be written to {str(folder)!r}, where a link in the output folder leads. Remove "
                "the link, or choose another output folder."
            )
    return path


def _may_leave(folder: str, top: str) -> bool:
    """Whether a folder may lie elsewhere than at or below `top`, as its path seems to say.

    Only folders below `top` are looked at: to follow all links anew costs more than to write a small file.
    """
    below = folder[len(top) :]
    # Windows has more kinds of links
    if (
        os.name == "nt"
        or top + below != folder
        or below[:1] not in ("", os.sep)
        or os.pardir in below.split(os.sep)
    ):
        return True
    while len(folder) > len(top):
        if os.path.islink(folder):
            return True
        folder = os.path.dirname(folder)
    return False


def check_lasting(path: Path) -> None:
    """Refuse a place in a folder of unpacked archives: the end of its run, or the next run, removes all of it.

    Raises
    ------
    OutputConflict

    Examples
    --------
    >>> check_lasting(Path("out"))
    """
    path = resolved(path)
    for folder in (path, *path.parents):
        if os.path.lexists(folder / UNPACKED):
            raise OutputConflict(
                f"{str(path)!r} lies in {str(folder)!r}, where a run has unpacked archives and which is removed with "
                "all that it holds. Choose a place elsewhere."
            )


@contextmanager
def staged(path: Path, *, checked: bool = False) -> Iterator[Path]:
    """A place to write a file that becomes `path` in one step when all went well.

    Parameters
    ----------
    path : Path
        Final name; its folder is made.
    checked : bool, optional
        Whether who reads the file notices if a loss of power has cut it off, and does without it: it is not waited for
        until it has reached the disk then.

    Yields
    ------
    Path
        Hidden name in the same folder.

    Raises
    ------
    WriteError
        If the folder or file cannot be written; nothing is left then.
    RunEnded
        If the run for which it is written has ended meanwhile; nothing is left then.
    """
    temporary = path.with_name(f".{secrets.token_hex(8)}{PART}")
    named = False
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if not checked:
            flush(temporary)
        check_held()
        os.replace(temporary, path)
        named = True
    except CoregError as error:
        # the next run clears away what this one was writing: no fault of the disk
        check_held()
        # the error names the final file, not the hidden one
        if temporary.name in str(error):
            raise WriteError(str(error).replace(temporary.name, path.name)) from error
        raise
    except OSError as error:
        check_held()
        raise WriteError(
            f"{str(path)!r} cannot be written ({error.strerror or error}). Check the folder's free space and rights."
        ) from error
    finally:
        if not named:
            with suppress(OSError):
                temporary.unlink()


def is_half_written(path: Path) -> bool:
    """Whether a file is one that `staged` hides, or one that GDAL has put beside such.

    Examples
    --------
    >>> is_half_written(Path("out/.0123456789abcdef.part.ovr.tmp")), is_half_written(Path("out/.mine.part"))
    (True, False)
    """
    return _HIDDEN.match(path.name) is not None


def flush(path: Path) -> None:
    """Make sure that what was written has reached the disk: only then does a full or failing disk raise an
    error."""
    with path.open("rb+", buffering=0) as file:
        os.fsync(file.fileno())
