"""What a run shows on a terminal: a progress bar, a table, notes; plain text, no colours."""

from __future__ import annotations

import logging
import shutil
import textwrap
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Self, TextIO

import pandas as pd

from coregstack.cli.terminal import complain, redraw, say, tell
from coregstack.errors import one_line
from coregstack.export.plan import TABLE, ItemReport
from coregstack.model import Status
from coregstack.run.result import RunResult

_BAR = 24
_LINE = 79
_REDRAWN, _TOLD = 1.0, 60.0
"""Seconds after which the bar is drawn again on a terminal, and after which a line is written elsewhere."""
_NARROW, _MOST_LINES, _MOST_ITEMS = 44, 2, 60
_COMPILING = "Compiling kernels: half a minute or so, in the first run only."

_log = logging.getLogger(__name__)


class ProgressBar:
    """Items done and time left: on one line of a terminal; elsewhere, as in the log of a batch job, a line a minute.

    As a context it is drawn again as time goes by, also while no item is done.

    Examples
    --------
    >>> import sys
    >>> bar = ProgressBar(sys.stdout)
    >>> bar(1, 2)
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = stream.isatty()
        self._began = time.monotonic()
        self._total = self._done = 0
        self._first: tuple[int, float] | None = None
        self._compiling = False
        self._drawing = threading.RLock()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        """Begin to draw it again and again."""
        threading.Thread(target=self._go_on, name="coregstack progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Draw it no more."""
        self._ended.set()

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` items are done."""
        with self._drawing:
            # what earlier runs have done, and what waited for kernels to be compiled, tells nothing of the time left
            if self._first is None and self._total and done > self._done:
                self._first = done, time.monotonic()
            self._done, self._total = done, total
            if self._terminal and total:
                self._draw()

    def note_compiling(self) -> None:
        """Say once why the first run takes longer: on a line of a terminal, else in the log."""
        with self._drawing:
            # an item that needed no kernel, as the anchor, may be done by now
            self._first = None
            if self._compiling:
                return
            self._compiling = True
            if not self._terminal:
                _log.info(_COMPILING)
                return
            # a kernel must not fail because a terminal was closed
            with suppress(OSError):
                redraw(self._stream, _COMPILING.ljust(_LINE), last=True)

    def text(self) -> str:
        """What is shown, without the bar."""
        now = time.monotonic()
        left = ""
        if self._first is not None and self._first[0] < self._done < self._total:
            done, since = self._first
            left = f", {_duration((now - since) / (self._done - done) * (self._total - self._done))} left"
        elif self._compiling and self._done < self._total and self._first is None:
            left = ", compiling once"
        return f"{self._done}/{self._total} items, {_duration(now - self._began)}{left}"

    def _draw(self) -> None:
        full = _BAR * self._done // self._total
        bar = "#" * full + "." * (_BAR - full)
        redraw(self._stream, f"[{bar}] {self.text()}".ljust(_LINE), last=self._done == self._total)

    def _go_on(self) -> None:
        while not self._ended.wait(_REDRAWN if self._terminal else _TOLD):
            with self._drawing:
                if self._ended.is_set() or self._done >= self._total:
                    continue
                # a run must not fail because its terminal or log was closed
                with suppress(OSError, ValueError):
                    if self._terminal:
                        self._draw()
                    else:
                        tell(self._stream, self.text())


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def terminal_width() -> int:
    """Characters in a line of the terminal."""
    return max(shutil.get_terminal_size((110, 24)).columns, 80)


def result_table(result: RunResult, width: int | None = None) -> list[str]:
    """One line an item: status, shift with 1 sigma, scores, and the reason.

    Where the result was written, long reasons are shortened and of many items those that need a look are shown: the
    table among the files has all.
    """
    reports = result.reports
    if not result.dry_run and len(reports) > _MOST_ITEMS:
        urgent = {Status.FAILED: 0, Status.NO_IMPROVEMENT: 1}
        order = sorted(reports, key=lambda r: -1 if r.problems else urgent.get(r.quality.status, 2))
        shown = set(map(id, order[:_MOST_ITEMS]))
        reports = tuple(report for report in reports if id(report) in shown)
    lines: list[tuple[str, ...]] = [("item", "status", "shift x, y [px]", "sigma", "before", "after", "why")]
    lines += [_cells(report) for report in reports]
    table = format_table(lines, width or terminal_width(), most=None if result.dry_run else _MOST_LINES)
    left = len(result.reports) - len(reports)
    return [*table, f"and {counted(left, 'item')} more: {TABLE} has all"] if left else table


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


def format_table(lines: Sequence[Sequence[str]], width: int, *, most: int | None = None) -> list[str]:
    r"""Lay rows out in columns that fit a width.

    The last column is wrapped to what is left of it; where that is little, what does not fit goes below its row. Where
    the others leave no room, the first one has a line of its own: names are never shortened. What cannot be seen in a
    cell, line ends among it, is shown as an escape.

    Parameters
    ----------
    lines : sequence of sequence of str
        Rows of cells; the first is the heading.
    width : int
        Characters in a line.
    most : int, optional
        Lines that the last cell of a row may have; the rest becomes an ellipsis.

    Examples
    --------
    >>> format_table([("item", "why"), ("a", "it is the anchor")], 20)
    ['item  why', 'a', '    it is the anchor']
    >>> format_table([("item", "why"), ("a", "it is the anchor of all")], 20, most=1)
    ['item  why', 'a', '    it is the...']
    """
    lines = [[one_line(cell) for cell in line] for line in lines]
    count = len(lines[0])
    sizes = [max(len(line[k]) for line in lines) for k in range(count - 1)]
    apart = sum(sizes) + 2 * len(sizes) > width and count > 2
    if apart:
        sizes = [0, *sizes[1:]]
    indent = sum(sizes) + 2 * len(sizes)
    below = width - indent < _NARROW
    out = []
    for number, line in enumerate(lines):
        cells = ["", *line[1:-1]] if apart else line[:-1]
        head = "  ".join(cell.ljust(size) for cell, size in zip(cells, sizes, strict=True))
        if apart:
            out.append(line[0])
        if number == 0 or len(line[-1]) <= width - indent:
            out.append(f"{head}  {line[-1]}".rstrip())
            continue
        start = 4 if below else indent
        wrapped = textwrap.wrap(line[-1], max(width - start, 12), max_lines=most, placeholder="...")
        out.append(head.rstrip() if below else f"{head}  {wrapped.pop(0)}")
        out += [" " * start + part for part in wrapped]
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
    return format_table(lines, terminal_width())


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
