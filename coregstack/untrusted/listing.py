"""What lies in a folder, without leaving it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from coregstack.errors import MissingFile, UnsafePath
from coregstack.untrusted.folders import walked
from coregstack.untrusted.limitedlist import LimitedList
from coregstack.untrusted.names import safe_relative

_NOT_DATA = "__MACOSX"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """Something that is wrong with one file; the others are not stopped by it."""

    path: str
    """The file, relative to its folder."""
    message: str
    """What was expected, what came, what is done."""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def more_problems(more: int) -> FileProblem:
    """One entry in place of the problems that are not listed."""
    return FileProblem(path="...", message=f"{more} more problems are not listed here.")


def list_files(root: Path) -> tuple[dict[PurePosixPath, Path], tuple[FileProblem, ...]]:
    """List the regular files of a folder and of all its subfolders.

    Links that lead out of the folder, or to nothing, are not followed but named, and so are folders that lie
    deeper than ``COREGSTACK_MAX_DEPTH`` within each other. What begins with a dot is left out.

    Parameters
    ----------
    root : Path
        The folder; it may be a link itself.

    Returns
    -------
    files : dict
        Path relative to the folder, and absolute path, sorted by the relative one.
    problems : tuple of FileProblem
        What could not be used.

    Raises
    ------
    MissingFile
        If there is no folder at the path.
    UnreadableFile
        If it holds more files than ``COREGSTACK_MAX_FILES`` allows.
    """
    if not os.path.isdir(root):
        raise MissingFile(f"{root} has to be a folder, but there is none at this path.")
    base = Path(os.path.realpath(root))
    files: dict[PurePosixPath, Path] = {}
    problems: LimitedList[FileProblem] = LimitedList()

    def amiss(path: str, words: str) -> None:
        problems.append(FileProblem(path=_shown(os.path.relpath(path, base)), message=words))

    for entry in walked(base, amiss=amiss, enter=_is_data):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False) or entry.name.startswith("."):
            continue
        if entry.is_symlink() and path.is_dir() and _within(path, base):
            continue
        relative = path.relative_to(base).as_posix()
        try:
            files[safe_relative(relative)] = _regular(path, base)
        except (UnsafePath, MissingFile) as error:
            problems.append(FileProblem(path=_shown(relative), message=str(error)))
    return dict(sorted(files.items())), tuple(sorted(problems.closed(more_problems), key=str))


def _is_data(name: str) -> bool:
    return not name.startswith(".") and name != _NOT_DATA


def _shown(path: str) -> str:
    """A path as text that UTF-8 can hold."""
    return path.encode(errors="replace").decode()


def _within(path: Path, base: Path) -> bool:
    """Whether a path lies in a folder after all links; one that goes round in links does not stop this."""
    return Path(os.path.realpath(path)).is_relative_to(base)


def _regular(path: Path, base: Path) -> Path:
    if path.is_symlink() and not _within(path, base):
        raise UnsafePath("A link leads out of the folder: it is not followed.")
    if not path.is_file():
        raise MissingFile("It is not a regular file, or it is a broken link: it is left out.")
    return path
