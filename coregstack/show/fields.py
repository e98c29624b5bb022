"""Displacements that vary over a scene, found in output folders and in qualities, and made small enough to be shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import CoregError, InvalidRequest
from coregstack.export.displacement import read_displacement
from coregstack.export.files import inside
from coregstack.export.sidecar import displacement_name
from coregstack.kernels.displacement import Spline
from coregstack.matching.assess import anchor_quality
from coregstack.model import Displacement, Evidence, Shift
from coregstack.pixels.raster import read_header
from coregstack.show.rematch import SHIFT, Rematch, qualities
from coregstack.stack.measured import applied_in, displacements_on, frame_of, measured_on

LONGEST = 40
"""Nodes at most along a side of what a page shows."""
_MOST_NODES = 1 << 20
_STEPS = 32767


def field_in_folder(
    folder: Path, files: Iterable[str], item_id: str, anchor: GeoBox | None
) -> Displacement | None:
    """The displacement that an item of an output folder was moved by.

    Parameters
    ----------
    folder : Path
        The output folder.
    files : iterable of str
        Files of the item, relative to the folder.
    item_id : str
        Item.
    anchor : GeoBox or None
        The anchor's box, in whose frame it is wanted.

    Returns
    -------
    Displacement or None
        None where it was moved as one, or where its file is not there or cannot be used.
    """
    if anchor is None:
        return None
    try:
        name = displacement_name(item_id)
        path = next((inside(folder, file) for file in files if PurePosixPath(file).name == name), None)
        if path is None or path.is_symlink() or np.prod(read_header(path).box.shape) > _MOST_NODES:
            return None
        found = read_displacement(path, anchor)
        Spline.of(found)
    except CoregError:
        return None
    return found


def field_in_quality(quality: xr.Dataset, k: int) -> Displacement | None:
    """The displacement of an item of a quality Dataset, in the frame that it was measured in; it is computed.

    Parameters
    ----------
    quality : Dataset
        As `coregstack.estimate` returns it.
    k : int
        Position of the item along time.

    Returns
    -------
    Displacement or None
        None where the item is displaced as one, or the quality tells no displacement.

    Raises
    ------
    InvalidStack
        If its attributes do not say on which lattice it was measured.
    """
    box = measured_on(quality)
    found: Any = None if box is None else displacements_on(quality.isel(time=[k]), box)
    one: Displacement | None = None if found is None else found.compute()[0]
    return one


def shown_field(quality: xr.Dataset, item_id: str) -> tuple[Displacement, Shift]:
    """The displacement of an item of a quality Dataset, and its mean.

    Raises
    ------
    InvalidRequest
        If there is no such item, or it has no displacement that varies.
    """
    ids = [str(i) for i in quality["id"].values] if "id" in quality.coords else []
    if item_id not in ids:
        raise InvalidRequest(f"No item is called {item_id!r}; the first are {', '.join(ids[:3])}.")
    k = ids.index(item_id)
    found = field_in_quality(quality, k)
    if found is None:
        raise InvalidRequest(
            f"This quality tells no displacement of {item_id} that varies over it: estimate it with model='field', "
            "'affine' or 'auto'."
        )
    y, x = (float(quality[name][k]) for name in ("shift_y", "shift_x"))
    return found, Shift(y, x)


def field_in_stack(again: Rematch, item_id: str) -> tuple[Displacement, Shift | None, Evidence | None]:
    """The displacement of an item of a stack, its mean, and a picture to show it over.

    It is what the item was moved by, where no model is asked for and the stack still tells it; else the item is matched
    once more, by default by a field.

    Raises
    ------
    InvalidRequest
        If there is no such item, nothing that varies is found, or its pixels do not show it any more.
    """
    if again.options.model == SHIFT and again.models is not None and item_id in again.stack.ids:
        k = again.stack.ids.index(item_id)
        frame = frame_of(again.stack.array.attrs, again.stack.box)
        moves = applied_in(again.stack.array, again.stack.ids, frame, again.box)
        move = None if moves is None else moves[k].compute()
        if isinstance(move, Displacement):
            return move, again.applied[k], anchor_quality(again.reference()).evidence
    if item_id in again.stack.ids and again.moved_by_field(again.stack.ids.index(item_id)):
        raise InvalidRequest(
            f"The pixels of {item_id} were moved by what varies over them, and no files tell how they were before. "
            f"Show the quality that moved them, quality.coreg.plot.field({item_id!r}), or the cube that was written "
            f"before: xarray.open_zarr(path, decode_coords='all').coreg.plot.field({item_id!r})."
        )
    _, quality = next(qualities(again, [item_id], model="field"))
    if quality.displacement is None:
        raise InvalidRequest(f"{item_id} has no displacement that varies over it to show. {quality.details}")
    return quality.displacement, quality.shift, quality.evidence


def field_json(displacement: Displacement, mean: Shift | None, evidence: Evidence | None) -> str:
    """A displacement as the page takes it: about its mean, on at most `LONGEST` nodes along a side.

    Parameters
    ----------
    displacement : Displacement
        In the anchor's frame.
    mean : Shift or None
        Mean displacement, px; None for that of the nodes.
    evidence : Evidence or None
        Of the item: nodes away from it are left out.

    Returns
    -------
    str
        JSON: frame position (row, column) of the first node and the distance between nodes, px; rows and columns;
        `mean`; and `y`, `x` and `sigma` of the nodes as base64 of little-endian int16, in units of `unit` px.
    """
    rows, cols = _nodes(displacement, evidence)
    planes = [
        values[rows, cols].astype(float) for values in (displacement.y, displacement.x, displacement.sigma)
    ]
    centre = mean or Shift(float(planes[0].mean()), float(planes[1].mean()))
    planes[0] -= centre.y
    planes[1] -= centre.x
    unit = max(float(np.abs(planes).max()), 1e-6) / _STEPS
    value = {
        "origin": [
            displacement.origin.y + rows.start * displacement.step,
            displacement.origin.x + cols.start * displacement.step,
        ],
        "step": displacement.step * rows.step,
        "shape": planes[0].shape,
        "mean": centre,
        "unit": unit,
    } | {name: _packed(values / unit) for name, values in zip(("y", "x", "sigma"), planes, strict=True)}
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _packed(values: NDArray[np.float64]) -> str:
    return base64.b64encode(np.rint(values).astype("<i2").tobytes()).decode("ascii")


def _nodes(displacement: Displacement, evidence: Evidence | None) -> tuple[slice, slice]:
    """Rows and columns of nodes that lie on the item, or beside it by less than a step."""
    ends = [(0, count) for count in displacement.y.shape]
    if evidence is not None:
        ends = [
            _around(first, size * evidence.factor, start, displacement.step, count)
            for first, size, start, count in zip(
                evidence.origin, evidence.overview, displacement.origin, displacement.y.shape, strict=True
            )
        ]
    every = max(1, -(-max(stop - start for start, stop in ends) // LONGEST))
    rows, cols = (slice(start + (stop - start - 1) % every // 2, stop, every) for start, stop in ends)
    return rows, cols


def _around(first: float, length: float, origin: float, step: float, count: int) -> tuple[int, int]:
    """The nodes of an axis around a piece of it; all of them where none is."""
    start = max(0, int(np.floor((first - origin) / step)))
    stop = min(count, int(np.ceil((first + length - origin) / step)) + 1)
    return (start, stop) if start < stop else (0, count)
