"""Which item an id, a time or a position names."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from coregstack.errors import AnchorNotFound
from coregstack.pixels.scene import Scene
from coregstack.stack.conform import Stack, item_times
from coregstack.stack.coordinates import in_any_calendar
from coregstack.untrusted.addresses import shown
from coregstack.untrusted.given import short

_FEW = 6
"""So many ids are all named where the one that was given is not among them."""


def find_anchor(stack: Stack, anchor: Any) -> int:
    """Position along time of the item of a stack that is named by id, time or position.

    Raises
    ------
    AnchorNotFound
        If no item, or more than one, is meant.
    """
    return _find(stack.ids, item_times(stack), anchor)


def find_scene(scenes: Sequence[Scene], anchor: Any) -> Scene:
    """The scene that is named by id, file name, path, time or position.

    Raises
    ------
    AnchorNotFound
        If no scene, or more than one, is meant.
    """
    if isinstance(anchor, str | os.PathLike):
        name = anchor = shown(os.fspath(anchor))
        named = [s for s in scenes if name in (s.id, s.image.path, os.path.basename(s.image.path))]
        named = named or [s for s in scenes if os.path.abspath(name) in (f.path for f in s.image.files)]
        named = named or [s for s in scenes if _short_name(name) in (s.id, s.image.stem)]
        # one of the files that are the bands of a scene
        named = named or [
            s for s in scenes if _short_name(name) in (_short_name(f.path) for f in s.image.files)
        ]
        if len(named) == 1:
            return named[0]
    times = np.array([scene.time for scene in scenes], "datetime64[ns]")
    return scenes[_find([scene.id for scene in scenes], times, anchor)]


def _short_name(name: str) -> str:
    """Name of a file or of a product's folder without its extension."""
    return os.path.splitext(os.path.basename(name.rstrip("/")))[0]


def _find(ids: Sequence[str], times: NDArray[np.datetime64], anchor: Any) -> int:
    if isinstance(anchor, bool | None):
        raise AnchorNotFound(
            f"An anchor has to be named by id, time or position, but {short(anchor)} was given."
        )
    if isinstance(anchor, int | np.integer):
        if -len(ids) <= anchor < len(ids):
            return int(anchor) % len(ids)
        raise AnchorNotFound(f"There are {len(ids)} items, so there is no item at position {anchor}.")
    if isinstance(anchor, str) and anchor in ids:
        return list(ids).index(anchor)
    hits = positions_of_time(times, anchor)
    if len(hits) == 1:
        return hits[0]
    if hits:
        names = ", ".join(ids[k] for k in hits[:5])
        raise AnchorNotFound(
            f"{len(hits)} items have the time {anchor!r}: {names}. Name the anchor by its id."
        )
    if hasattr(anchor, "shape"):
        hint = "An array is an anchor for estimate and align alone, as an xarray.DataArray with its CRS."
    else:
        hint = _named(ids, str(anchor))
    raise AnchorNotFound(f"No item has the id or time {short(anchor)}. {hint}")


def _named(ids: Sequence[str], wanted: str) -> str:
    """Which ids there are: all where they are few, else those most like the one that was meant."""
    if len(ids) <= _FEW:
        return f"The ids are: {', '.join(ids)}."
    near = difflib.get_close_matches(wanted, ids, n=3, cutoff=0.4)
    return f"Similar ids: {', '.join(near)}." if near else f"The first ids are: {', '.join(ids[:3])}."


def names_item(anchor: str, ids: Sequence[str], times: NDArray[np.datetime64]) -> bool:
    """Whether a text is the id or the time of an item."""
    return anchor in ids or bool(positions_of_time(times, anchor))


def positions_of_time(times: NDArray[np.datetime64], wanted: Any) -> list[int]:
    """Where times equal a time that is wanted, or lie on its day; none where it is no time.

    Parameters
    ----------
    times : ndarray of datetime64
        Times in UTC.
    wanted : object
        Anything that pandas takes for a time; a date, or a string of at most ten characters, means the whole
        day.

    Examples
    --------
    >>> positions_of_time(np.array(["2020-06-30T16:41:49", "2020-07-01"], "datetime64[ns]"), "2020-06-30")
    [0]
    """
    try:
        moment = pd.Timestamp(in_any_calendar(wanted))
    except (ValueError, TypeError):
        return []
    if moment.tzinfo is not None:
        moment = moment.tz_convert("UTC").tz_localize(None)
    is_date = isinstance(wanted, date) and not isinstance(wanted, datetime)
    whole_day = is_date or (isinstance(wanted, str) and len(wanted) <= 10)
    values = pd.DatetimeIndex(times)
    return [int(k) for k in np.flatnonzero((values.normalize() if whole_day else values) == moment)]
