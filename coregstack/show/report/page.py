"""The page: template, style and script joined with what a run tells, written item by item."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any

from odc.geo.geobox import GeoBox

from coregstack._version import __version__
from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.export.files import check_lasting, staged
from coregstack.export.lock import locked
from coregstack.export.plan import REPORT, TABLE
from coregstack.geometry.lattice import crs_name
from coregstack.matching.decision import WORTH_TELLING
from coregstack.matching.preview import CHIP
from coregstack.model import Shift
from coregstack.orders.manifest import MANIFEST_NAME, list_again
from coregstack.run.colours import COLOURS, ON_DARK
from coregstack.run.places import check_no_store
from coregstack.run.result import RunResult
from coregstack.show.fields import field_json
from coregstack.show.report.content import ReportContent, area_on_map, evidence_json, gather, views_json

_GENERATOR = b'<meta name="generator" content="coregstack '
_HEAD = 4096
"""The generator is named in so many bytes of a report."""
_SCRIPTS = ("base.js", "charts.js", "table.js", "field.js", "viewer.js", "main.js")


def report(source: Any, path: str | os.PathLike[str] | None = None) -> Path:
    """Write a report: one HTML file that opens without network and shows every item.

    It holds a summary, a table that can be sorted and searched, shifts and scores over time, footprints, and
    for each item of a run that wrote files a view against the anchor, before and after, with the windows
    that were matched. The report of an order is entered in the order's ``manifest.json``.

    Parameters
    ----------
    source : RunResult, path-like, DataArray or Dataset
        What a run returned, its output folder, an aligned stack, or a quality. What is lazy of a quality is
        computed.
    path : path-like, optional
        File to write; by default ``report.html`` in the run's output folder.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidRequest
        If the source is none of these, or no path is given for one that has no folder.
    MissingFile, UnreadableFile
        If the folder holds no finished run, the file cannot be written, or the manifest cannot be read.
    OutputConflict
        If something that is no report has the path, or another run is writing to the order's folder.

    Examples
    --------
    >>> import tempfile
    >>> from coregstack import align
    >>> from coregstack.testing import sample_stack
    >>> aligned = align(sample_stack(3, shape=(256, 256)), anchor=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report(aligned, f"{folder}/report.html").name
    'report.html'
    """
    target = _target(source, path)
    _check_free(target)
    content = gather(source)
    listed = _is_listed(target)
    # a run that ends meanwhile writes the manifest anew
    with locked(target.parent) if listed else nullcontext():
        with staged(target) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
            for piece in _pieces(content):
                file.write(piece)
        if listed:
            list_again(target.parent, PurePosixPath(REPORT))
    return target


def _target(source: Any, path: str | os.PathLike[str] | None) -> Path:
    if path is not None:
        return Path(path)
    if isinstance(source, RunResult):
        return Path(source.output, REPORT)
    if isinstance(source, str | os.PathLike):
        return Path(source) / REPORT
    raise InvalidRequest("Say where the report goes: report(aligned, 'report.html').")


def _check_free(target: Path) -> None:
    """Refuse a path that holds anything but a report: it may be an input, or any other file that was meant to stay."""
    check_no_store(target.parent)
    check_lasting(target.parent)
    if not os.path.lexists(target):
        return
    try:
        with target.open("rb") as file:
            ours = target.is_file() and _GENERATOR in file.read(_HEAD)
    except OSError:
        ours = False
    if not ours:
        raise OutputConflict(
            f"{str(target)!r} exists, and is no report of coregstack. Remove it, or choose another path."
        )


def _is_listed(target: Path) -> bool:
    """Whether a report is that of an order: it lies where a run has left its table and a manifest."""
    return target.name == REPORT and all((target.parent / name).is_file() for name in (TABLE, MANIFEST_NAME))


def _pieces(content: ReportContent) -> Iterator[str]:
    """The page in order; evidence is read and handed on item by item, so that memory stays bounded."""
    assets = files("coregstack.show.report") / "assets"
    style = _colours() + (assets / "style.css").read_text("utf-8")
    script = "".join((assets / name).read_text("utf-8") for name in _SCRIPTS)
    head, rest = (assets / "page.html").read_text("utf-8").split("$evidence\n")
    yield Template(head).substitute(policy=_policy(style, script), version=__version__, style=style)
    own = anchor = _anchor_box(content)
    for k, item in enumerate(content.items):
        kept = content.evidence(item["id"])
        found = content.displacement(item["id"], anchor)
        item["area"] = None
        if kept is not None:
            own = own or kept.box
            item["area"] = None if own is None else area_on_map(kept, own)
        evidence = None if kept is None else kept.evidence
        if evidence is not None:
            yield _block(f"evidence-{k}", evidence_json(evidence))
        if found is not None:
            yield _block(f"field-{k}", field_json(found, _mean(item), evidence))
    data = json.dumps(_facts(content, own), separators=(",", ":"), allow_nan=False)
    yield Template(rest).substitute(data=_inert(data), script=script)


def _block(name: str, text: str) -> str:
    return f'<script type="application/json" id="{name}">{_inert(text)}</script>\n'


def _mean(item: Mapping[str, Any]) -> Shift | None:
    y, x = item.get("y"), item.get("x")
    return None if y is None or x is None else Shift(y, x)


def _colours() -> str:
    """Colours of the states as properties of the style."""
    light, dark = (
        "".join(f"--{status}: {colour}; " for status, colour in table.items()) for table in (COLOURS, ON_DARK)
    )
    return f":root {{{light}}}\n@media (prefers-color-scheme: dark) {{ :root {{{dark}}} }}\n"


def _anchor_box(content: ReportContent) -> GeoBox | None:
    if not any(item["id"] == content.anchor for item in content.items):
        return None
    kept = content.evidence(content.anchor)
    return None if kept is None else kept.box


def _facts(content: ReportContent, anchor: GeoBox | None) -> dict[str, Any]:
    metres = None if anchor is None else _metres(anchor)
    degrees = anchor is not None and anchor.crs is not None and anchor.crs.geographic
    grid = None
    if anchor is not None:
        size = abs(anchor.affine.a)
        unit = "°" if degrees else "m" if metres else "units"
        grid = f"{crs_name(anchor)} · pixels of {size:.6g} {unit}"
    return {
        "anchor": content.anchor,
        "views": None if content.views is None else views_json(content.views),
        "version": __version__,
        "created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "crs": None if anchor is None else crs_name(anchor),
        "grid": grid,
        "metres": metres,
        "degrees": bool(degrees),
        "chip": CHIP,
        "apart": WORTH_TELLING,
        "notes": content.notes,
        "problems": content.problems,
        "items": content.items,
    }


def _metres(box: GeoBox) -> float | None:
    """Side of a pixel in metres; None where the CRS counts in something else."""
    if box.crs is None or box.crs.proj.axis_info[0].unit_name not in ("metre", "meter"):
        return None
    return math.sqrt(abs(box.affine.determinant))


def _policy(style: str, script: str) -> str:
    """Nothing is loaded from anywhere, and no style or script runs but the page's own."""

    def digest(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest(style)}'; "
        f"script-src 'sha256-{digest(script)}'; base-uri 'none'; form-action 'none'"
    )


def _inert(text: str) -> str:
    """JSON that cannot end the script block it stands in, nor begin a comment there."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
