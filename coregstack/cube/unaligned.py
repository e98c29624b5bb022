"""Which dates are left out of a cube because they are not aligned."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
from dask.base import compute
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from numpy.typing import NDArray

from coregstack.cube.dates import UNALIGNED
from coregstack.cube.template import CLEAR, Cube


def drop_unaligned(
    cube: Cube, *, kept: Collection[str], dropped: Collection[str]
) -> tuple[Cube, dict[str, str]]:
    """Leave out the dates that are not aligned.

    A cube's length along time has to be known before its pixels, so status and the other
    coordinates on time are computed here, once: the pixels then start from these values.

    Parameters
    ----------
    cube : Cube
        All dates.
    kept, dropped : collection of str
        Fingerprints of dates for which it is known already whether they are left out.

    Returns
    -------
    cube : Cube
        The dates that stay.
    dropped : dict of str to str
        Fingerprint and item of the dates that are left out.
    """
    unknown = [k for k, text in enumerate(cube.fingerprints) if text not in kept and text not in dropped]
    out = {k for k, text in enumerate(cube.fingerprints) if text in dropped}
    if unknown:
        if "status" in cube.lazy:
            cube, status = _known(cube, unknown)
        else:
            status = cube.array.coords["status"].values[unknown]
        out |= {k for k, value in zip(unknown, status, strict=True) if str(value) in UNALIGNED}
    stay = [k for k in range(len(cube.items)) if k not in out]
    return cube.select(stay), {cube.fingerprints[k]: cube.items[k] for k in sorted(out)}


def _known(cube: Cube, dates: list[int]) -> tuple[Cube, NDArray[Any]]:
    """The cube with the lazy coordinates of some dates computed and put back into its graph, and their status.

    The status is handed on, not asked of that graph: a cluster that is asked for a key which it is just about
    to forget may fail.
    """
    blocks = {name: _blocks_of(values, dates) for name, values in cube.lazy.items()}
    keys = {name: [(cube.lazy[name].name, block) for block in blocks[name]] for name in blocks}
    parts = compute({name: [cube.lazy[name].blocks[b] for b in blocks[name]] for name in blocks})[0]
    known = {cube.lazy[name].name: dict(zip(keys[name], parts[name], strict=True)) for name in blocks}
    coords: dict[str, Any] = {}
    for name in (*cube.lazy, *({CLEAR} & set(cube.array.coords))):
        coord = cube.array.coords[name]
        coords[name] = (coord.dims, _with_values(coord.data, known), coord.attrs)
    array = cube.array.copy(data=_with_values(cube.array.data, known)).assign_coords(coords)
    ends = np.cumsum(cube.lazy["status"].chunks[0])
    places = [
        np.arange(ends[b] - len(p), ends[b]) for b, p in zip(blocks["status"], parts["status"], strict=True)
    ]
    status = np.concatenate(parts["status"])[np.searchsorted(np.concatenate(places), dates)]
    return replace(cube, array=array), status


def _blocks_of(values: da.Array, dates: list[int]) -> list[int]:
    ends = np.cumsum(values.chunks[0])
    return sorted(set(np.searchsorted(ends, dates, side="right").tolist()))


def _with_values(array: da.Array, known: dict[str, dict[Any, Any]]) -> da.Array:
    graph = array.dask
    layers = {
        name: MaterializedLayer({**layer, **known[name]}) if name in known else layer
        for name, layer in graph.layers.items()
    }
    needed = {
        name: set() if name in known and len(known[name]) == len(layers[name]) else set(others)
        for name, others in graph.dependencies.items()
    }
    culled = HighLevelGraph(layers, needed).cull_layers([array.name])
    # dask gives the kind of an array's blocks by no public name
    return da.Array(culled, array.name, array.chunks, meta=array._meta)
