"""A tile index of descriptions: one file by which GDAL opens all of them as a mosaic, and a GIS their outlines."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from odc.geo.geobox import GeoBox

from coregstack.export.files import inside, staged
from coregstack.export.geopackage import write_layer
from coregstack.export.plan import ItemReport
from coregstack.export.vrt import ENDING, described_box
from coregstack.geometry.lattice import crs_of, same_crs
from coregstack.model import Status

INDEX = "index.gti.gpkg"
"""Its name in an output folder, by whose ending GDAL knows it."""

_ALIGNED = (Status.ANCHOR, Status.ALREADY_ALIGNED, Status.COREGISTERED)
_FIELDS = {"location": "TEXT", "item": "TEXT", "time": "TEXT", "status": "TEXT"}


def write_index(
    output: Path, reports: Iterable[ItemReport], anchor: GeoBox, time_of: Callable[[str], str]
) -> None:
    """Write the tile index of a run: the first description of every item that is aligned.

    What could not be put into the anchor's CRS is left out. Later times lie above earlier ones.

    Parameters
    ----------
    output : Path
        Output folder of the run.
    reports : iterable of ItemReport
        What was written.
    anchor : GeoBox
        The anchor's box.
    time_of : callable
        Time of an item as text, by its id; empty where it is not known.

    Raises
    ------
    WriteError, UnreadableFile
        If it cannot be written, or a description cannot be read.
    """
    rows, boxes = [], []
    for report in sorted(reports, key=lambda report: time_of(report.id)):
        name = next((file.path for file in report.files if file.path.endswith(ENDING)), None)
        if name is None or report.quality.status not in _ALIGNED:
            continue
        box = described_box(inside(output, name))
        if same_crs(box, anchor):
            boxes.append(box)
            rows.append((_outline(box), [name, report.id, time_of(report.id), str(report.quality.status)]))
    sides = [box.extent.boundingbox for box in boxes]
    bounds = [min(s.left for s in sides), min(s.bottom for s in sides),
              max(s.right for s in sides), max(s.top for s in sides)] if sides else [None] * 4  # fmt: skip
    with staged(output / INDEX) as temporary:
        write_layer(
            temporary,
            crs_of(anchor),
            name="tiles",
            geometry="POLYGON",
            fields=_FIELDS,
            rows=rows,
            bounds=bounds,
        )


def _outline(box: GeoBox) -> bytes:
    """The edges of a box as little-endian WKB."""
    height, width = box.shape
    corners = [box.affine * corner for corner in ((0, 0), (0, height), (width, height), (width, 0), (0, 0))]
    points = b"".join(struct.pack("<dd", x, y) for x, y in corners)
    return struct.pack("<BIII", 1, 3, 1, len(corners)) + points
