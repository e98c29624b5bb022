"""What notebooks show of a run and of a quality: a summary and a table, in HTML that needs no script."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from coregstack.matching.preview import CHIP
from coregstack.matching.quality import fields_in
from coregstack.model import Evidence, Status
from coregstack.run.colours import COLOURS

_SHOWN = 20


def table_html(table: pd.DataFrame, heading: str, notes: Sequence[str] = ()) -> str:
    """A table of items as HTML.

    Parameters
    ----------
    table : DataFrame
        One row an item, as `RunResult.to_dataframe` gives it.
    heading : str
        What it is a table of.
    notes : sequence of str
        Lines below the heading.

    Returns
    -------
    str
        The first 20 items that need a look come first: failed ones, then those without improvement.

    Examples
    --------
    >>> from coregstack.testing import sample_stack
    >>> from coregstack import estimate
    >>> from coregstack.show.report.content import quality_table
    >>> quality = estimate(sample_stack(2, shape=(256, 256)), anchor=0)
    >>> "coregistered" in table_html(quality_table(quality), "Quality")
    True
    """
    counts = table["status"].value_counts()
    summary = " &nbsp; ".join(f"{_dot(s)} {counts[s]} {s.replace('_', ' ')}" for s in Status if s in counts)
    urgent = {Status.FAILED: 0, Status.NO_IMPROVEMENT: 1}
    order = sorted(range(len(table)), key=lambda k: urgent.get(Status(table["status"].iloc[k]), 2))
    records = table.reset_index().to_dict("records")
    columns = _columns(table)
    headings = ("item", "status", *(heading for _, heading, _ in columns), "details")
    head = "".join(f"<th>{name}</th>" for name in headings)
    body = "".join(f"<tr>{_cells(records[k], columns)}</tr>" for k in order[:_SHOWN])
    left = len(table) - _SHOWN
    more = f"<p>and {left} more: see <code>.to_dataframe()</code> or the report.</p>" if left > 0 else ""
    lines = "".join(f"<div>{escape(note)}</div>" for note in notes)
    return (
        f"<div><strong>{escape(heading)}</strong> &nbsp; {summary}</div>{lines}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
    )


def pair_html(evidence: Evidence, words: str) -> str:
    """The anchor and an item before and after, side by side, as HTML.

    Parameters
    ----------
    evidence : Evidence
        What is kept of the item, with chips.
    words : str
        What is written below.
    """
    picture = base64.b64encode(evidence.picture).decode("ascii")
    # the chips lie in the first row of the picture, which holds more than is shown
    style = (
        f"width:{3 * CHIP}px;height:{CHIP}px;object-fit:none;object-position:0 0;max-width:none;zoom:2;"
        "image-rendering:pixelated;margin:0"
    )
    alt = "The anchor, the item before, and the item after"
    return (
        f'<figure style="margin:0.5em 0"><img style="{style}" alt="{alt}" src="data:image/jpeg;base64,{picture}">'
        f"<figcaption>{escape(words)}</figcaption></figure>"
    )


def _columns(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Name, heading and number format of each column of numbers."""
    return [(field.name, *field.column) for field in fields_in(table.columns) if field.column]


def _cells(record: Mapping[str, Any], columns: Sequence[tuple[str, str, str]]) -> str:
    status = Status(record["status"])
    cells = [f"<td>{escape(str(record['item']))}</td>", f"<td>{_dot(status)} {status.replace('_', ' ')}</td>"]
    for name, _, form in columns:
        value = record[name]
        known = value is not None and math.isfinite(value)
        cells.append(f'<td style="text-align:right">{format(value, form) if known else ""}</td>')
    cells.append(f'<td style="text-align:left">{escape(str(record["details"]))}</td>')
    return "".join(cells)


def _dot(status: str) -> str:
    return f'<span style="color:{COLOURS[Status(status)]}">&#9679;</span>'
