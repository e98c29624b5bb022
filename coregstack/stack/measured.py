"""On which lattice a quality was measured, and what it says in pixels of another one."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.crs import CRS
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidStack
from coregstack.graph.displaced import displacements, in_frame, known_planes
from coregstack.graph.origin import applied_moves
from coregstack.kernels.displacement import rescaled
from coregstack.kernels.lattice import Lattice
from coregstack.matching.quality import Field, fields_in
from coregstack.model import Displacement, Shift
from coregstack.stack.nodes import DISPLACEMENT, nodes_of

_PLANES = ("time", "lattice_y", "lattice_x")
_SHIFTS = ("model", "shift_y", "shift_x", "shift_sigma_y", "shift_sigma_x")
"""What a quality tells of an item that is displaced as one."""
FRAME = "coregstack_frame"
"""Attribute of an aligned stack: the lattice that it was moved on, in whose pixels its quality is told."""
LATTICE = "coregstack_lattice"
"""Attribute of an aligned stack: whether it has taken the pixel size of its "anchor", or kept that of its "items"."""
_CRS, _TRANSFORM = "lattice_crs", "lattice_geotransform"
_SAME = 1e-6
"""Pixel sizes that differ by less than this part are equal."""
_DIGITS = 6
"""Decimals of places in a frame: what is lost where they are told in map coordinates is less."""


def with_lattice(quality: xr.Dataset, box: GeoBox) -> xr.Dataset:
    """A quality that says which lattice its pixels are those of.

    Parameters
    ----------
    quality : Dataset
        Of items that were matched on the lattice of `box`.
    box : GeoBox
        The lattice.

    Returns
    -------
    Dataset
        With the attributes `lattice_crs` (empty without a CRS) and `lattice_geotransform`, six numbers in GDAL's order.
    """
    crs = "" if box.crs is None else str(box.crs)
    return quality.assign_attrs({_CRS: crs, _TRANSFORM: geotransform(box)})


def geotransform(box: GeoBox) -> str:
    """Six numbers in GDAL's order, as text.

    Examples
    --------
    >>> geotransform(GeoBox((9, 9), Affine(10, 0, 0, 0, -10, 90), "EPSG:32633"))
    '0.0 10.0 0.0 90.0 0.0 -10.0'
    """
    return " ".join(repr(float(value)) for value in box.affine.to_gdal())


def frame_of(attrs: Mapping[Hashable, Any], box: GeoBox) -> GeoBox:
    """The lattice that an aligned stack was moved on, which it may have been selected from since, as a box.

    Parameters
    ----------
    attrs : mapping
        Of the aligned stack; `FRAME` among them holds what `geotransform` gave.
    box : GeoBox
        Lattice and extent of the stack, taken where its attributes tell nothing that can be read.
    """
    try:
        numbers = [float(number) for number in str(attrs.get(FRAME, "")).split()]
        return GeoBox((1, 1), Affine.from_gdal(*numbers), box.crs)
    except (TypeError, ValueError):
        return box


def on_lattice(quality: xr.Dataset, box: GeoBox) -> xr.Dataset:
    """A quality in pixels of another lattice: of another pixel size, or with rows or columns that run the other way.

    Parameters
    ----------
    quality : Dataset
        As `coregstack.estimate` returns it. One that does not say on which lattice it was measured is taken as it is.
    box : GeoBox
        The lattice that it is wanted on.

    Raises
    ------
    InvalidStack
        If the two lattices have not the same CRS, or their axes are not parallel.

    Examples
    --------
    >>> quality = xr.Dataset({"shift_y": ("time", [1.0]), "shift_sigma_y": ("time", [0.1])})
    >>> fine, coarse = (GeoBox((9, 9), Affine(size, 0, 0, 0, -size, 90), "EPSG:32633") for size in (10, 20))
    >>> on_lattice(with_lattice(quality, fine), coarse).shift_y.values
    array([0.5])
    """
    measured = _lattice(quality)
    if measured is None:
        return quality
    crs, affine = measured
    down, along = _pixel_ratio(crs, affine, box)
    if math.isclose(down, 1, rel_tol=_SAME) and math.isclose(along, 1, rel_tol=_SAME):
        return with_lattice(quality, box)
    variables = {}
    for field in fields_in(quality.variables):
        if field.units == "px":
            variables[field.name] = quality[field.name] * _factor(field, down, along)
            variables[field.name].attrs = quality[field.name].attrs
    return with_lattice(quality.drop_vars([*DISPLACEMENT], errors="ignore").assign(variables), box)


def measured_on(quality: xr.Dataset) -> GeoBox | None:
    """The lattice that a quality was measured on, as a box of its first pixel; None where it does not say.

    Raises
    ------
    InvalidStack
        If what it says is no lattice.
    """
    told = _lattice(quality)
    return None if told is None else GeoBox((1, 1), told[1], told[0])


def with_displacement(quality: xr.Dataset, planes: da.Array, frame: GeoBox, lattice: Lattice) -> xr.Dataset:
    """A quality with the displacement of each item on the control lattice of the anchor.

    Parameters
    ----------
    quality : Dataset
    planes : dask Array
        Dims (time, 3, y, x), as `coregstack.graph.matched.displacement_planes` gives it.
    frame : GeoBox
        The anchor's box.
    lattice : Lattice
        The control lattice, in its frame.

    Returns
    -------
    Dataset
        With `displacement_y`, `displacement_x` and `displacement_sigma` (time, lattice_y, lattice_x), px of the frame;
        the coordinates of the lattice are those of the map, at its nodes.
    """
    rows, cols = lattice.nodes
    coords = {
        "lattice_y": frame.affine.f + frame.affine.e * (rows + 0.5),
        "lattice_x": frame.affine.c + frame.affine.a * (cols + 0.5),
    }
    return quality.assign(_variables(planes).data_vars).assign_coords(coords)


def displacements_on(quality: xr.Dataset, box: GeoBox) -> da.Array | None:
    """The displacement of each item in the frame of a stack, None in the array where an item is displaced as one.

    Parameters
    ----------
    quality : Dataset
        As `coregstack.estimate` returned it, of the stack's items.
    box : GeoBox
        The stack's box.

    Returns
    -------
    dask Array or None
        None where the quality holds no displacement.

    Raises
    ------
    InvalidStack
        If it says that items are displaced by a field and lacks it, or cannot be brought to the stack's lattice.
    """
    if any(name not in quality for name in DISPLACEMENT):
        return None
    origin, step, scale, first = _geometry(quality, box)
    return displacements(
        quality["model"].data,
        [quality[name].transpose(*_PLANES).data for name in DISPLACEMENT],
        origin=origin,
        step=step,
        scale=scale,
        first=first,
    )


def _geometry(quality: xr.Dataset, box: GeoBox) -> tuple[Shift, float, Shift, Shift]:
    """First node of a displacement and distance between nodes, in the frame measured in; where `box` lies in it."""
    measured = _lattice(quality)
    if measured is None:
        raise InvalidStack(
            f"The quality holds a displacement, but lacks the attribute {_TRANSFORM!r} that says on which lattice. "
            "Pass what estimate returned, with its attributes."
        )
    affine = measured[1]
    y, x = (np.asarray(quality[name].values, np.float64) for name in ("lattice_y", "lattice_x"))
    origin = _rounded((y[0] - affine.f) / affine.e - 0.5, (x[0] - affine.c) / affine.a - 0.5)
    return origin, round(abs(float((x[1] - x[0]) / affine.a)), _DIGITS), *_placed(*measured, box)


def nodes_on(quality: xr.Dataset, box: GeoBox) -> str:
    """Where the nodes of what `displacements_on` gives lie, in map coordinates.

    Returns
    -------
    str
        Rows, columns, y and x of the first node, and the steps along both, as text.
    """
    origin, step, scale, first = _geometry(quality, box)
    unknown = np.zeros((quality.sizes["lattice_y"], quality.sizes["lattice_x"]), np.float32)
    told = rescaled(Displacement(origin=origin, step=step, y=unknown, x=unknown, sigma=unknown), scale, first)
    own = box.affine
    place = (own.f + own.e * (told.origin.y + 0.5), own.c + own.a * (told.origin.x + 0.5))
    numbers = (*place, own.e * told.step, own.a * told.step)
    return " ".join([*map(str, told.y.shape), *(repr(float(number)) for number in numbers)])


def displacement_of(aligned: xr.DataArray, ids: Sequence[str], box: GeoBox) -> xr.Dataset | None:
    """The displacement of the items of an aligned stack, as a quality tells it.

    Parameters
    ----------
    aligned : DataArray
        As `coregstack.apply` gives it, or loaded from where it was written.
    ids : sequence of str
        Of its items.
    box : GeoBox
        Its box.

    Returns
    -------
    Dataset or None
        `displacement_y`, `displacement_x` and `displacement_sigma`, lazy, with the lattice that its shifts are told on
        as attributes. An item that is displaced as one has its shift at every node; NaN where a displacement
        is not known, as once the pixels were computed. None where one shift moved all items.
    """
    nodes = nodes_of(aligned.attrs)
    if nodes is None:
        return None
    frame = frame_of(aligned.attrs, box)
    rows = (nodes["lattice_y"] - frame.affine.f) / frame.affine.e - 0.5
    cols = (nodes["lattice_x"] - frame.affine.c) / frame.affine.a - 0.5
    unknown = np.full(len(ids), np.nan)
    told = [aligned.coords[name].data if name in aligned.coords else unknown for name in _SHIFTS]
    found = applied_moves(aligned.data, ids, found=True)
    planes = known_planes(told, found, (rows, cols))
    coords = {name: (name, values) for name, values in nodes.items()}
    return with_lattice(_variables(planes).assign_coords(coords), frame)


def _variables(planes: da.Array) -> xr.Dataset:
    """Planes of dims (time, 3, y, x) as variables."""
    return xr.Dataset(
        {
            name: (_PLANES, planes[:, k], {"units": "px", "long_name": text})
            for k, (name, text) in enumerate(DISPLACEMENT.items())
        }
    )


def applied_in(aligned: xr.DataArray, ids: Sequence[str], frame: GeoBox, box: GeoBox) -> da.Array | None:
    """What each item of an aligned stack was moved by, an object of `Move` each, in the frame of a box.

    Parameters
    ----------
    aligned : DataArray
        Backed by dask.
    ids : sequence of str
        Of its items.
    frame : GeoBox
        What `frame_of` says of it.
    box : GeoBox
        Whose frame is wanted.

    Returns
    -------
    dask Array or None
        None where the stack does not tell, as once its pixels were computed, or where one shift moved all items.
    """
    applied = applied_moves(aligned.data, ids)
    return None if applied is None else in_frame(applied, *_placed(frame.crs, frame.affine, box))


def _placed(crs: CRS | None, affine: Affine, box: GeoBox) -> tuple[Shift, Shift]:
    """Size of a pixel of `box`, and the place of its first one, in the frame of a lattice."""
    down, along = _pixel_ratio(crs, affine, box)
    own = box.affine
    return Shift(1 / down, 1 / along), _rounded(
        (own.f + own.e / 2 - affine.f) / affine.e - 0.5, (own.c + own.a / 2 - affine.c) / affine.a - 0.5
    )


def _rounded(y: float, x: float) -> Shift:
    return Shift(round(float(y), _DIGITS), round(float(x), _DIGITS))


def _lattice(quality: xr.Dataset) -> tuple[CRS | None, Affine] | None:
    told = quality.attrs.get(_TRANSFORM)
    if told is None:
        return None
    try:
        numbers = [float(part) for part in str(told).split()]
        affine = Affine.from_gdal(*numbers)
        name = str(quality.attrs.get(_CRS, ""))
        return CRS(name) if name else None, affine
    except (TypeError, ValueError) as error:
        raise InvalidStack(
            f"The quality's attribute {_TRANSFORM!r} has to hold six numbers, but it holds {told!r}. Take the "
            "attributes from what estimate returned, or remove it if the shifts are in pixels of this stack."
        ) from error


def _pixel_ratio(crs: CRS | None, affine: Affine, box: GeoBox) -> tuple[float, float]:
    """Pixels of `box` that one pixel of the lattice is, down the rows and along the columns."""
    own = box.affine
    if crs is not None and box.crs is not None and crs != box.crs:
        raise InvalidStack(
            f"The quality was measured in {crs}, but the stack lies in {box.crs}. Bring the stack onto the lattice "
            "that was measured, for example with rio.reproject, or estimate it separately."
        )
    tilted = [value for one in (affine, own) for value in (one.b, one.d)]
    turned = any(tilted) and affine[:6] != own[:6]
    if turned or (crs is None) != (box.crs is None):
        what = "a rotated geotransform" if turned else "no CRS where the other has one"
        if crs is None and box.crs is not None and affine == Affine.identity():
            what = "no coordinates and no CRS"
        raise InvalidStack(
            f"The quality's lattice and the stack's cannot be compared: one of them has {what}. Write the CRS that "
            "belongs to the stack, or estimate it separately."
        )
    return affine.e / own.e, affine.a / own.a


def _factor(field: Field, down: float, along: float) -> float:
    if field.axis:
        ratio = down if field.axis == "y" else along
        return ratio if field.signed else abs(ratio)
    return math.sqrt(abs(down * along))
