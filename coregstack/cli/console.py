"""What a run shows on a terminal: a progress bar, a table, notes; plain text, no colours."""

from __future__ import annotations

import logging
import shutil
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

import pandas as pd

from coregstack.cli.terminal import complain, redraw, say
from coregstack.errors import one_line
from coregstack.export.plan import ItemReport
from coregstack.model import Status
from coregstack.run.result import RunResult

_BAR = 24
_LINE = 79
_COMPILING = "Compiling kernels: half a minute or so, in the first run only."

_log = logging.getLogger(__name__)


class ProgressBar:
    """Items done and time left, on one line of a terminal; silent where the stream is none.

    Examples
    --------
    >>> import sys
    >>> bar = ProgressBar(sys.stdout)
    >>> bar(1, 2)
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._began = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` items are done."""
        if not self._shown or total == 0:
            return
        if self._first is None:
            self._first = done
        full = _BAR * done // total
        elapsed = time.monotonic() - self._began
        fresh = done - self._first
        left = f", {_duration(elapsed / fresh * (total - done))} left" if fresh and done < total else ""
        bar = "#" * full + "." * (_BAR - full)
        text = f"[{bar}] {done}/{total} items, {_duration(elapsed)}{left}   "
        redraw(self._stream, text, last=done == total)


class CompilingNote:
    """Says once why the first run has not started yet: on a line of a terminal, else in the log.

    Examples
    --------
    >>> import sys
    >>> note = CompilingNote(sys.stdout)
    >>> note()
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said = False

    def __call__(self) -> None:
        """Say it, if it was not said before."""
        if self._said:
            return
        self._said = True
        if not self._stream.isatty():
            _log.info(_COMPILING)
            return
        # a kernel must not fail because a terminal was closed
        with suppress(OSError):
            redraw(self._stream, _COMPILING.ljust(_LINE), last=True)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def result_table(result: RunResult, width: int | None = None) -> list[str]:
    """One line an item: status, shift with 1 sigma, scores, and the reason."""
    lines: list[tuple[str, ...]] = [("item", "status", "shift x, y [px]", "sigma", "before", "after", "why")]
    lines += [_cells(report) for report in result.reports]
    columns = shutil.get_terminal_size((110, 24)).columns
    return format_table(lines, width or max(columns, 80))


def _cells(report: ItemReport) -> tuple[str, ...]:
    quality = report.quality
    shift = "" if quality.shift is None else f"{quality.shift.x:+.3f}, {quality.shift.y:+.3f}"
    sigma = "" if quality.sigma is None else f"{max(quality.sigma):.3f}"
    return (
        report.id,
        str(quality.status),
        shift,
        sigma,
        _score(quality.before),
        _score(quality.after),
        " ".join(dict.fromkeys((*report.problems, quality.details))),
    )


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def format_table(lines: Sequence[Sequence[str]], width: int) -> list[str]:
    r"""Lay rows out in columns; the last column is wrapped to what is left of `width`.

    What cannot be seen in a cell, line ends among it, is shown as an escape.

    Parameters
    ----------
    lines : sequence of sequence of str
        Rows of cells; the first is the heading.
    width : int
        Characters in a line.

    Examples
    --------
    >>> format_table([("item", "why"), ("a", "it is the anchor")], 20)
    ['item  why', 'a     it is the', '      anchor']
    """
    lines = [[one_line(cell) for cell in line] for line in lines]
    count = len(lines[0])
    sizes = [max(len(line[k]) for line in lines) for k in range(count - 1)]
    indent = sum(sizes) + 2 * len(sizes)
    room = max(width - indent, 12)
    out = []
    for line in lines:
        head = "  ".join(cell.ljust(size) for cell, size in zip(line[:-1], sizes, strict=True))
        wrapped = textwrap.wrap(line[-1], room) or [""]
        out.append(f"{head}  {wrapped[0]}".rstrip())
        out += [" " * indent + part for part in wrapped[1:]]
    return out


def counted(number: int, noun: str) -> str:
    """How many there are, in words.

    Examples
    --------
    >>> counted(1, "item"), counted(2, "item")
    ('1 item', '2 items')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def inspection_table(table: pd.DataFrame) -> list[str]:
    """One line an item of what `coregstack.inspect_folder` found."""
    lines: list[tuple[str, ...]] = [("item", "time", "size", "pixel", "CRS", "masks", "overlap", "note")]
    for item, found in zip(table.index, table.to_dict("records"), strict=True):
        seen = found["rows"] is not None and found["rows"] == found["rows"]
        lines.append(
            (
                str(item),
                "" if pd.isna(found["time"]) else f"{found['time']:%Y-%m-%d %H:%M:%S}",
                f"{found['rows']:.0f} x {found['cols']:.0f}" if seen else "",
                f"{found['pixel_y']:g} x {found['pixel_x']:g}" if seen else "",
                found["crs"],
                found["masks"],
                f"{found['overlap']:.2f}" if seen else "",
                f"would be refused: {found['refused']}" if found["refused"] else found["notes"],
            )
        )
    return format_table(lines, max(shutil.get_terminal_size((110, 24)).columns, 100))


def summary(result: RunResult) -> str:
    """How many items have which status, and where the output lies."""
    counts = [f"{result.count(status)} {status}" for status in Status if result.count(status)]
    end = "Nothing was written" if result.dry_run else f"Written to {result.output}"
    return f"{counted(len(result.reports), 'item')}: {', '.join(counts)}. {end}"


def show(result: RunResult, *, table: bool = True) -> None:
    """Print a result: table, notes, problems, summary."""
    if table:
        say(*result_table(result), "")
    for note in result.notes:
        say(f"note: {note}")
    for problem in result.problems:
        complain(f"problem: {problem}")
    say(summary(result))
