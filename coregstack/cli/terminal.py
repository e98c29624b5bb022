"""The only module that writes to a terminal: no text can move the cursor or begin a new line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from typing import IO, Any, NoReturn, TextIO

from coregstack.errors import one_line, printable


def say(*lines: str) -> None:
    r"""Write lines to standard output; what cannot be seen in a line is written as an escape.

    Parameters
    ----------
    *lines : str
        Each becomes one line, whatever it holds; none at all an empty one.

    Examples
    --------
    >>> say("a name with \x1b[31m", "and one with\na line")
    a name with \x1b[31m
    and one with\na line
    """
    _put(sys.stdout, "".join(f"{one_line(line)}\n" for line in lines or ("",)))


def say_json(value: Any) -> None:
    """Write a value to standard output as JSON on one line of ASCII."""
    # JSON leaves the one control character above the ASCII letters as it is
    _put(sys.stdout, json.dumps(value).replace("\x7f", "\\u007f") + "\n")


def complain(*lines: str) -> None:
    """Write lines to standard error, as `say` does to standard output."""
    _put(sys.stderr, "".join(f"{one_line(line)}\n" for line in lines))


def tell(stream: TextIO, line: str) -> None:
    """Write a line to a stream at once."""
    _put(stream, f"{one_line(line)}\n")
    stream.flush()


def redraw(stream: TextIO, text: str, *, last: bool = False) -> None:
    """Write a text over the line that the cursor is in; after the last one the cursor goes on to the next line."""
    _put(stream, f"\r{one_line(text)}" + ("\n" if last else ""))
    stream.flush()


def _put(stream: IO[str], text: str) -> None:
    stream.write(text)


class LogFormat(logging.Formatter):
    """Records as lines: a message is one line, and only a traceback has more."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, info: Any) -> str:
        """The traceback of a record."""
        return printable(super().formatException(info))


class Parser(argparse.ArgumentParser):
    """Arguments of a command line, whose errors and help go the way of everything else."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        super().error(one_line(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            _put(file or sys.stderr, printable(message))
