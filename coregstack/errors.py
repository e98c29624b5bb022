"""Every error that coregstack raises on purpose.

Each one is a `CoregError` and also the built-in exception that it is, so both
``except CoregError`` and ``except ValueError`` do what a reader expects. The text always
says what was expected, what came, and what to do.
"""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Text whose every character but line ends can be seen, so that no file writes to a terminal or a log.

    Examples
    --------
    >>> printable("a CRS named \x1b[31m")
    'a CRS named \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def one_line(text: str) -> str:
    r"""Text as one line: `printable`, with line ends as escapes too, so that no file forges a line.

    Examples
    --------
    >>> one_line("a.tif\nproblem: none")
    'a.tif\\nproblem: none'
    """
    return printable(text).replace("\n", "\\n")


class CoregError(Exception):
    """Base class of all errors raised by coregstack."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class InvalidRequest(CoregError, ValueError):
    """An argument, option or payload that cannot be honoured; nothing was written."""


class InvalidStack(CoregError, ValueError):
    """A DataArray that is not a stack: its dimensions, coordinates, CRS or grid do not fit."""


class AnchorNotFound(CoregError, LookupError):
    """The anchor that was asked for is not among the items."""


class MissingFile(CoregError, FileNotFoundError):
    """A file or folder is missing."""

    @classmethod
    def at(cls, path: object) -> MissingFile:
        """The error of a path where there is no file, in the same words everywhere."""
        return cls(f"There is no file {str(path)!r}. Check the path, or whether it was moved meanwhile.")


class UnreadableFile(CoregError, OSError):
    """A file cannot be read as the format that it should have."""


class UnreadableFiles(UnreadableFile):
    """Several files that cannot be read, one a line."""

    def __init__(self, heading: str, lines: tuple[str, ...] = ()) -> None:
        super().__init__(heading)
        self.heading, self.lines = heading, lines

    def __str__(self) -> str:
        return "\n".join(map(one_line, (self.heading, *self.lines)))

    def __reduce__(self) -> tuple[type[UnreadableFiles], tuple[str, tuple[str, ...]]]:
        return type(self), (self.heading, self.lines)


class UnsafePath(CoregError, PermissionError):
    """A name that would lead outside the folder it has to stay in."""


class SchedulerLost(CoregError, ConnectionError):
    """The dask scheduler of a run is gone: what was done stays, and the same run does the rest."""


class WorkersTooSmall(CoregError, MemoryError):
    """The workers of a cluster may use less memory than an item needs; nothing was written."""


class WorkersPaused(WorkersTooSmall):
    """All workers of a cluster have paused for lack of memory: what was done stays, and the same run does the rest."""


class OutputConflict(CoregError, FileExistsError):
    """The output already holds something that this run may not replace."""


class MissingDisplacement(CoregError, LookupError):
    """A displacement that varies over a scene is needed to write an item, and is not known."""
