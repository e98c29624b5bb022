"""What a cube whose dates follow patterns tells about new ones: the patterns, and when to find them anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from coregstack.errors import InvalidRequest
from coregstack.kernels.lattice import pattern_lattice
from coregstack.model import Displacement, Shift, Status
from coregstack.network.dates import KnownTerrain, on_nodes
from coregstack.network.known import known_patterns
from coregstack.stack.measured import displacements_on

GROWTH = 2
"""Patterns are found anew once there are so many times as many dates as they were found from."""
_SPANNING = 16
"""Dates whose displacements tell the patterns: those of the largest views."""
_NEEDED = ("view_y", "view_x", "pattern_dates", "model", "status", "displacement_y")


def cube_terrain(dataset: xr.Dataset, box: GeoBox, finished: Sequence[bool], new: int) -> KnownTerrain:
    """What a cube tells about so many new dates.

    The patterns are those that its dates follow, and of several those that were found from most dates. Once dates that
    follow them and new ones are together `GROWTH` times as many as that, they are to be found anew from all of them; so
    that all dates that a cube ever gets are read for it but a few times each.

    Parameters
    ----------
    dataset : Dataset
        The cube, in stored values.
    box : GeoBox
        Its box.
    finished : sequence of bool
        Which of its dates are whole.
    new : int
        How many dates are new.

    Returns
    -------
    KnownTerrain
        `moved` holds one entry for each date of the cube where patterns are to be found anew.

    Raises
    ------
    InvalidRequest
        If the cube does not say what its dates follow.
    """
    if missing := [name for name in _NEEDED if name not in dataset]:
        raise InvalidRequest(
            f"model='terrain' takes the patterns that the dates of the cube follow, but it lacks {missing[0]!r}: it "
            "was not aligned with this model, or by an earlier version. Append with another model, or align all dates "
            "anew."
        )
    told = {name: dataset[name].values for name in _NEEDED[:-1]}
    dates = np.where(np.isfinite(told["view_y"] + told["view_x"]), told["pattern_dates"], np.nan)
    terrain = [str(model) == "terrain" for model in told["model"]]
    follow = np.array(finished) & np.array(terrain) & (dates > 0)
    if not follow.any():
        return KnownTerrain(patterns=None)
    count = int(dates[follow].max())
    newest = np.flatnonzero(follow & (dates == count))
    length = np.hypot(told["view_y"], told["view_x"])
    spanning = newest[np.argsort(-length[newest], kind="stable")[:_SPANNING]]
    lattice = pattern_lattice((box.shape[0], box.shape[1]))
    moved = _displacements(dataset, box, spanning)
    views = [Shift(float(told["view_y"][k]), float(told["view_x"][k])) for k in spanning]
    patterns = known_patterns([on_nodes(one, lattice) for one in moved], views, lattice, count)
    if np.count_nonzero(follow) + new < GROWTH * count:
        return KnownTerrain(patterns=patterns)
    applied = [k for k in np.flatnonzero(follow).tolist() if str(told["status"][k]) == Status.COREGISTERED]
    known = dict(zip(applied, _displacements(dataset, box, applied), strict=True))
    return KnownTerrain(patterns=patterns, moved=tuple(known.get(k) for k in range(len(follow))))


def _displacements(
    dataset: xr.Dataset, box: GeoBox, dates: Sequence[int] | NDArray[np.int64]
) -> list[Displacement]:
    """What dates of a cube were moved by, in the frame of its box."""
    found = displacements_on(dataset.isel(time=list(dates)), box)
    if found is None:
        return []
    return list(found.compute())
