"""Standard streams that may be closed, full, missing or limited to ASCII: no run fails because of them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_STREAMS = ("stdin", "stdout", "stderr")


class SureStream:
    """A text stream that keeps its first failure, and ignores what is written from then on.

    Parameters
    ----------
    stream : TextIO
        Where the text goes. Characters that it cannot hold are written as ``\\x..`` or ``\\u....``.

    Attributes
    ----------
    failure : Exception or None
        Why some of the text was not written.

    Examples
    --------
    >>> closed = io.StringIO()
    >>> closed.close()
    >>> stream = SureStream(closed)
    >>> print("a line", file=stream, flush=True)
    >>> str(stream.failure)
    'I/O operation on closed file'
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: Exception | None = None
        if isinstance(stream, io.TextIOWrapper):
            with suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, or keep the error."""
        if self.failure is not None:
            return len(text)
        try:
            self._stream.write(text)
        except UnicodeError:
            return self.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        except (OSError, ValueError) as error:
            self._fail(error)
        return len(text)

    def flush(self) -> None:
        """Flush the buffer, or keep the error."""
        if self.failure is not None:
            return
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._fail(error)

    def isatty(self) -> bool:
        """Whether a person may be watching; not where the stream is closed."""
        try:
            return self._stream.isatty()
        except (OSError, ValueError):
            return False

    def _fail(self, error: Exception) -> None:
        self.failure = error
        # text that is still buffered would fail again when the process ends
        with suppress(OSError, ValueError, AttributeError):
            null = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(null, self._stream.fileno())
            finally:
                os.close(null)


@contextmanager
def sure_streams() -> Iterator[tuple[SureStream, SureStream]]:
    """Standard output and error that do not fail, for as long as a command runs.

    Yields
    ------
    tuple of SureStream
        Standard output and standard error.
    """
    _fill_missing()
    before = sys.stdout, sys.stderr
    out, err = SureStream(before[0]), SureStream(before[1])
    sys.stdout, sys.stderr = cast("TextIO", out), cast("TextIO", err)
    try:
        yield out, err
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def _fill_missing() -> None:
    """Put the null device where a standard stream is missing, so that no file that is opened takes its number.

    What a library prints would otherwise go into the first file of the output.
    """
    for number, name in enumerate(_STREAMS):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                # the lowest number that is free: this one
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
            file = open(os.devnull, "r" if number == 0 else "w", encoding="utf-8")  # noqa: SIM115 (stays open)
            setattr(sys, name, file)
