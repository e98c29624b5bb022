"""Displacements of items: as arrays at the nodes of the control lattice, and as values in the frame of a stack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.export.displacement import read_displacement
from coregstack.graph.blocks import DISPLACED, boxed, by_time, object_array, window
from coregstack.kernels.displacement import rescaled, sampled, sigma_on
from coregstack.kernels.lattice import Lattice
from coregstack.model import Displacement, ItemQuality, Shift

Nodes = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Rows and columns of the nodes of a control lattice, px of a frame."""
VARYING = ("affine", "field", "terrain")
"""Models whose displacement is not the same everywhere."""


def displacement_planes(found: da.Array, nodes: tuple[int, int]) -> da.Array:
    """Displacement of each record at the nodes of the control lattice: dims (time, 3, y, x) of dy, dx and sigma, px.

    An item that is displaced as one has its shift at every node, one whose shift is not known NaN.
    """
    lazy: da.Array = da.blockwise(
        _planes, "tcyx", found, "t", nodes=nodes, new_axes={"c": 3, "y": nodes[0], "x": nodes[1]},
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32),
    )  # fmt: skip
    return lazy


def displacement_files(
    paths: Sequence[str | None], qualities: Sequence[ItemQuality], anchor: GeoBox, lattice: Lattice
) -> da.Array:
    """The same as `displacement_planes`, of items whose displacement lies in a file; each is read by its own task.

    Parameters
    ----------
    paths : sequence of str or None
        The file of each item, None where it was moved as one.
    qualities : sequence of ItemQuality
        What is known of each item.
    anchor : GeoBox
        The anchor's box.
    lattice : Lattice
        The control lattice, in its frame.
    """
    lazy: da.Array = da.blockwise(
        _file_planes, "tcyx", object_array("coregstack-displaced-", list(zip(paths, qualities, strict=True))), "t",
        anchor=anchor, lattice=lattice, new_axes={"c": 3, "y": lattice.shape[0], "x": lattice.shape[1]},
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32),
    )  # fmt: skip
    return lazy


def _file_planes(known: NDArray[np.object_], anchor: GeoBox, lattice: Lattice) -> NDArray[np.float32]:
    path, quality = known[0]
    if path is None:
        return _planes(boxed(replace(quality, displacement=None)), lattice.shape)
    return np.stack(sampled(read_displacement(Path(path), anchor), *lattice.nodes))[None].astype(np.float32)


def known_planes(told: Sequence[Any], found: da.Array | None, nodes: Nodes) -> da.Array:
    """The same as `displacement_planes`, of what is told of items on time; NaN where a field is not known any more.

    Parameters
    ----------
    told : sequence of array, dims (time)
        Model, shift down and along, and the sigma of either, of each item.
    found : dask Array or None
        What `displacements` gave, in the frame of `nodes`; None where it is not known.
    nodes : tuple of array
        Rows and columns of the nodes in that frame, px.
    """
    given = [by_time(values) for values in told] + ([] if found is None else [found])
    lazy: da.Array = da.blockwise(
        _known_planes, "tcyx", *(part for values in given for part in (values, "t")), nodes=nodes,
        new_axes={"c": 3, "y": len(nodes[0]), "x": len(nodes[1])}, align_arrays=False,
        dtype=np.float32, meta=np.empty((0, 0, 0, 0), np.float32),
    )  # fmt: skip
    return lazy


def _known_planes(
    model: NDArray[Any],
    y: NDArray[Any],
    x: NDArray[Any],
    sigma_y: NDArray[Any],
    sigma_x: NDArray[Any],
    found: NDArray[np.object_] | None = None,
    *,
    nodes: Nodes,
) -> NDArray[np.float32]:
    one = None if found is None else found[0]
    if one is not None and np.isfinite([one.y, one.x, one.sigma]).all():
        return np.stack(sampled(one, *nodes))[None].astype(np.float32)
    known = np.array([y[0], x[0], np.maximum(sigma_y[0], sigma_x[0])], np.float32)
    if str(model[0]) in VARYING:
        known[:] = np.nan
    return np.broadcast_to(known[None, :, None, None], (1, 3, *map(len, nodes))).copy()


def _planes(found: NDArray[np.object_], nodes: tuple[int, int]) -> NDArray[np.float32]:
    record: ItemQuality = found[0]
    if record.displacement is not None:
        one = record.displacement
        return np.stack([one.y, one.x, one.sigma])[None].astype(np.float32)
    y, x = record.shift or (np.nan, np.nan)
    sigma = np.nan if record.sigma is None else max(record.sigma)
    planes = np.array([y, x, sigma], np.float32)[None, :, None, None]
    return np.broadcast_to(planes, (1, 3, *nodes)).copy()


def displacements(
    model: Any, planes: Sequence[Any], origin: Shift, step: float, scale: Shift, first: Shift
) -> da.Array:
    """A `Displacement` for each time, in the frame of a stack; None where an item is displaced as one.

    Parameters
    ----------
    model : array, dims (time)
        What `ItemQuality.model` says of each item.
    planes : sequence of array, dims (time, y, x)
        Displacement down, along, and its sigma at the nodes of the control lattice, px of the lattice measured on.
    origin, step
        Of the nodes, in the frame measured in.
    scale, first : Shift
        As `coregstack.kernels.displacement.rescaled` takes them.
    """
    parts: list[Any] = [by_time(model), "t"]
    for plane in planes:
        known = plane if isinstance(plane, da.Array) else da.from_array(np.asarray(plane))
        parts += [known.rechunk((1, -1, -1)), "tyx"]
    lazy: da.Array = da.blockwise(
        _displacement, "t", *parts, origin=origin, step=step, scale=scale, first=first,
        concatenate=True, align_arrays=False, dtype=object, meta=np.empty(0, object),
        name=DISPLACED + tokenize(*(part.name for part in parts[::2]), origin, step, scale, first),
    )  # fmt: skip
    return lazy


def in_frame(moves: da.Array, scale: Shift, first: Shift) -> da.Array:
    """Objects of `Move` of which those that vary are expressed in another frame, as `rescaled` does."""
    lazy: da.Array = da.map_blocks(
        _in_frame, moves, scale=scale, first=first, dtype=object, meta=np.empty(0, object)
    )
    return lazy


def _in_frame(moves: NDArray[np.object_], scale: Shift, first: Shift) -> NDArray[np.object_]:
    move = moves[0]
    return boxed(rescaled(move, scale, first) if isinstance(move, Displacement) else move)


def _displacement(
    model: NDArray[np.object_],
    y: NDArray[np.floating],
    x: NDArray[np.floating],
    sigma: NDArray[np.floating],
    origin: Shift,
    step: float,
    scale: Shift,
    first: Shift,
) -> NDArray[np.object_]:
    if str(model[0]) not in VARYING:
        return boxed(None)
    planes = (plane[0].astype(np.float32) for plane in (y, x, sigma))
    down, along, uncertain = planes
    known = Displacement(origin=origin, step=step, y=down, x=along, sigma=uncertain)
    return boxed(rescaled(known, scale, first))


def sigma_planes(displacements: da.Array, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """1 sigma of displacements at every pixel of a stack, px, dims (time, y, x); NaN where an item is displaced as one.

    Parameters
    ----------
    displacements : dask Array
        What `displacements` gives.
    chunks : tuple
        Of the stack's rows and columns.
    """
    rows, cols = (da.arange(sum(sizes), chunks=(sizes,)) for sizes in chunks)
    planes: da.Array = da.blockwise(
        _sigma_plane, "tyx", displacements, "t", rows, "y", cols, "x",
        align_arrays=False, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32),
    )  # fmt: skip
    return planes


def _sigma_plane(
    displacements: NDArray[np.object_], rows: NDArray[np.int64], cols: NDArray[np.int64]
) -> NDArray[np.float32]:
    one: Displacement | None = displacements[0]
    if one is None:
        return np.full((1, len(rows), len(cols)), np.nan, np.float32)
    return sigma_on(one, window(rows, cols))[None].astype(np.float32)
