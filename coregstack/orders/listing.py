"""What lies in a folder, without leaving it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from coregstack.errors import MissingFile, UnsafePath
from coregstack.orders.manifest import FileProblem
from coregstack.untrusted.names import safe_relative

_NOT_DATA = "__MACOSX"


def list_files(root: Path) -> tuple[dict[PurePosixPath, Path], tuple[FileProblem, ...]]:
    """List the regular files of a folder and of all its subfolders.

    Links that lead out of the folder, or to nothing, are not followed but named. What begins with a dot
    is left out.

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
    """
    if not os.path.isdir(root):
        raise MissingFile(f"{root} has to be a folder, but there is none at this path.")
    base = Path(os.path.realpath(root))
    files: dict[PurePosixPath, Path] = {}
    problems: list[FileProblem] = []

    def unreadable(error: OSError) -> None:
        relative = os.path.relpath(error.filename, base)
        problems.append(FileProblem(path=relative, message=f"The folder cannot be read: {error.strerror}."))

    for folder, subfolders, names in os.walk(base, onerror=unreadable):
        linked = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != _NOT_DATA]
        for name in (*linked, *names):
            path = Path(folder, name)
            if name.startswith(".") or (name in linked and _within(path, base)):
                continue
            relative = path.relative_to(base).as_posix()
            try:
                files[safe_relative(relative)] = _regular(path, base)
            except (UnsafePath, MissingFile) as error:
                problems.append(
                    FileProblem(path=relative.encode(errors="replace").decode(), message=str(error))
                )
    return dict(sorted(files.items())), tuple(sorted(problems, key=str))


def _within(path: Path, base: Path) -> bool:
    """Whether a path lies in a folder after all links; one that goes round in links does not stop this."""
    return Path(os.path.realpath(path)).is_relative_to(base)


def _regular(path: Path, base: Path) -> Path:
    if path.is_symlink() and not _within(path, base):
        raise UnsafePath("A link leads out of the folder: it is not followed.")
    if not path.is_file():
        raise MissingFile("It is no regular file, or a link to nothing: it is left out.")
    return path
