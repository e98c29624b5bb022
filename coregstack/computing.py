"""Arrays of reports computed on whatever scheduler is active, one block an item, in any order."""

from __future__ import annotations

import sys
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dask
import dask.array as da
from dask.callbacks import Callback

from coregstack import graph
from coregstack.export.items import ItemReport
from coregstack.policy import failure

Progress = Callable[[int, int], None]
"""Told how many items are done, and of how many."""


def compute_items(
    parts: Sequence[da.Array],
    progress: Progress | None,
    *,
    total: int,
    before: int = 0,
    ids: Sequence[str] = (),
) -> list[ItemReport]:
    """Compute arrays of reports, one block an item.

    An active `distributed.Client` is used as it is; else dask's threads.

    Parameters
    ----------
    parts : sequence of dask Array
        An `ItemReport` for each item, in blocks of one.
    progress : callable, optional
        Told how many items are done, and of how many.
    total, before : int
        How many items there are in all, and how many of them were done before.
    ids : sequence of str
        Ids of the items, in the order of the blocks, to name those that the cluster could not do.

    Returns
    -------
    list of ItemReport
        In any order.
    """
    count = before
    tell = progress or (lambda done, of: None)
    tell(count, total)
    if not parts:
        return []
    client = _active_client()
    if client is not None:
        reports = []
        for report in _on_cluster(client, parts, ids):
            reports.append(report)
            tell(before + len(reports), total)
        return reports

    def counted(key: Any, *_: Any) -> None:
        nonlocal count
        if isinstance(key, tuple) and str(key[0]).startswith(graph.DELIVERY):
            count += 1
            tell(count, total)

    with Callback(posttask=counted):
        computed = dask.compute(*parts)
    return [report for part in computed for report in part]


def _on_cluster(client: Any, parts: Sequence[da.Array], ids: Sequence[str]) -> Iterator[ItemReport]:
    """Reports as they come; an item whose task was lost for good is named, and the others go on."""
    from distributed import as_completed

    blocks = [block for part in parts for block in part.to_delayed().ravel()]
    futures = client.compute(blocks)
    names = dict(zip((future.key for future in futures), ids, strict=False))
    waiting = as_completed(futures)
    # a report that has come is let go, so that a lost worker does not bring its item back
    del futures
    for future in waiting:
        try:
            report = future.result()[0]
        except (Exception, CancelledError) as error:
            # a lost scheduler cancels what it has not done
            if future.key not in names:
                raise
            words = f"The cluster could not do it ({type(error).__name__}: {error}). Run again to do it anew."
            report = ItemReport(id=names[future.key], quality=failure(words), files=(), problems=(words,))
        yield report


def _active_client() -> Any | None:
    """The user's client, where there is one; distributed is not imported just to ask."""
    wanted = dask.config.get("scheduler", None)
    if "distributed" not in sys.modules or wanted not in (None, "dask.distributed", "distributed"):
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
