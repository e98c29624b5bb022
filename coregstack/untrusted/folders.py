"""Listing of a folder that is not trusted: links are not followed, and depth and number are limited."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from coregstack.errors import UnreadableFile
from coregstack.untrusted.limits import DEPTH, FILES


def walked(
    root: str | os.PathLike[str],
    *,
    amiss: Callable[[str, str], None] | None = None,
    enter: Callable[[str], bool] | None = None,
) -> Iterator[os.DirEntry[str]]:
    """Everything in a folder and its subfolders, each folder before what is in it, links as they are.

    Parameters
    ----------
    root : path-like
        The folder; it may be a link itself.
    amiss : callable, optional
        Called with the path, and with the reason in words, for each subfolder that cannot be read or lies too
        deep. Without
        it such subfolders are passed over.
    enter : callable, optional
        Whether a subfolder of this name is looked into; by default all are.

    Yields
    ------
    os.DirEntry
        Its path begins with `root`.

    Raises
    ------
    UnreadableFile
        If there is more in it than ``COREGSTACK_MAX_FILES`` allows.

    Examples
    --------
    >>> from pathlib import Path
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "a").mkdir()
    ...     Path(folder, "a", "b.tif").touch()
    ...     [entry.name for entry in walked(folder)]
    ['a', 'b.tif']
    """
    deepest, most = DEPTH(), FILES()
    waiting: list[tuple[str, int]] = [(os.fspath(root), 0)]
    count = 0
    while waiting:
        folder, depth = waiting.pop()
        found, words = _listed(folder)
        if words and amiss is not None:
            amiss(folder, words)
        count += len(found)
        if count > most:
            raise UnreadableFile(
                f"{os.fspath(root)!r} holds more than {most} files and folders. Give a folder of fewer, or raise "
                f"{FILES.variable}."
            )
        for entry in found:
            yield entry
            if not entry.is_dir(follow_symlinks=False) or (enter is not None and not enter(entry.name)):
                continue
            if depth + 1 < deepest:
                waiting.append((entry.path, depth + 1))
            elif amiss is not None:
                words = f"It lies more than {deepest} folders deep: it is left out, with all that is in it."
                amiss(entry.path, words)


def _listed(folder: str) -> tuple[list[os.DirEntry[str]], str]:
    """What lies in a folder, sorted by name, and why not all of it could be listed."""
    found: list[os.DirEntry[str]] = []
    try:
        with os.scandir(folder) as entries:
            found.extend(entries)
    except OSError as error:
        return found, f"The folder cannot be read: {error.strerror}."
    return sorted(found, key=lambda entry: entry.name), ""
