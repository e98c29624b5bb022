"""Arrays of reports computed on the active scheduler, one block an item, in any order."""

from __future__ import annotations

import logging
import sys
from asyncio import CancelledError
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext, suppress
from typing import Any

import dask
import dask.array as da
from dask.base import compute
from dask.callbacks import Callback

from coregstack.errors import SchedulerLost, WorkersPaused
from coregstack.export.deliver import log_report
from coregstack.export.plan import ItemReport
from coregstack.graph.bar import notebook_bar
from coregstack.graph.blocks import DELIVERY
from coregstack.run.memory import check_workers, watched

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of items done, and of all items."""

Undone = Callable[[str, str], ItemReport]
"""What becomes of an item that a cluster could not do, by its id and the reason in words."""

_NAMED = 10
"""How many lost items an error names; the log names all."""


def compute_items(
    parts: Sequence[da.Array],
    progress: Progress | None,
    *,
    total: int,
    before: int = 0,
    ids: Sequence[str] = (),
    undone: Undone | None = None,
    need: int = 0,
) -> list[ItemReport]:
    """Compute arrays of reports, one block an item.

    An active `distributed.Client` is used as it is; else dask's threads.

    Parameters
    ----------
    parts : sequence of dask Array
        An `ItemReport` for each item, in blocks of one.
    progress : callable, optional
        Called with the number of items done, and of all items; by default a notebook shows dask's bar.
    total, before : int
        How many items there are in all, and how many of them were done before.
    ids : sequence of str
        Ids of the items, in the order of the blocks, to name those that the cluster could not do.
    undone : callable, optional
        What becomes of these; by default their error is raised.
    need : int
        Bytes of memory that an item needs at least, beside what a worker takes before its first.

    Returns
    -------
    list of ItemReport
        In any order.

    Raises
    ------
    SchedulerLost
        If the cluster's scheduler is gone; what was done until then stays.
    WorkersTooSmall
        If no worker of the cluster may use as much memory as an item needs, or all have paused for want of it.
    """
    count = before
    tell = progress or (lambda done, of: None)
    tell(count, total)
    if not parts:
        return []
    client = active_client()
    if client is not None:
        check_workers(client, need)
        reports = []
        # what is left is cancelled at once where the caller is interrupted
        with closing(_on_cluster(client, parts, ids, undone)) as coming:
            for report in coming:
                reports.append(report)
                tell(before + len(reports), total)
        return reports

    def counted(key: Any, *_: Any) -> None:
        nonlocal count
        if isinstance(key, tuple) and str(key[0]).startswith(DELIVERY):
            count += 1
            tell(count, total)

    shown = notebook_bar() if progress is None else nullcontext()
    with shown, Callback(posttask=counted):
        computed = compute(*parts)
    return [report for part in computed for report in part]


def _on_cluster(
    client: Any, parts: Sequence[da.Array], ids: Sequence[str], undone: Undone | None
) -> Generator[ItemReport, None, None]:
    """Reports as they come; an item that killed its workers is not waited for, and the others go on."""
    from distributed import as_completed
    from distributed.comm.core import CommClosedError

    blocks = [block for part in parts for block in part.to_delayed().ravel()]
    futures = client.compute(blocks)
    left = dict(zip((future.key for future in futures), ids, strict=False))
    waiting = as_completed(futures)
    # a report that has come is let go, so that a lost worker does not bring its item back
    del futures

    def cancel() -> None:
        client.cancel(list(waiting.futures))

    try:
        with watched(client, cancel) as stuck:
            for future in waiting:
                try:
                    report = future.result()[0]
                except (Exception, CancelledError) as error:
                    if stuck.is_set():
                        raise _paused(list(left.values())) from error
                    # a client that loses its scheduler cancels all that it waits for
                    if isinstance(error, CancelledError | CommClosedError) or client.status != "running":
                        raise _lost(list(left.values())) from error
                    if undone is None or future.key not in left:
                        raise
                    why = " ".join(f"{type(error).__name__}: {error}".split())
                    report = undone(
                        left[future.key], f"The cluster could not do it ({why}). Run again to do it anew."
                    )
                else:
                    # its worker has logged it too, but in its own log, perhaps on another machine
                    log_report(report)
                left.pop(future.key, None)
                yield report
    except BaseException:
        # the rest is not needed once the waiting has stopped
        with suppress(Exception):
            if client.status == "running":
                cancel()
        raise


def _lost(ids: Sequence[str]) -> SchedulerLost:
    """The error that names what a lost scheduler has left undone; the log has an entry for each."""
    for item in ids:
        log.error("item %s: not done, since the dask scheduler is gone", item, extra={"item": item})
    return SchedulerLost(
        f"The dask scheduler is gone; not done, or not known to be done, are {_named(ids)}. What was done stays: "
        "start a scheduler and run the same command again."
    )


def _paused(ids: Sequence[str]) -> WorkersPaused:
    """The error that names what workers without memory have left undone."""
    return WorkersPaused(
        f"All workers of the cluster have paused for lack of memory; not done are {_named(ids)}. What was done stays: "
        "give each worker more memory, or fewer threads, and run the same command again."
    )


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def active_client() -> Any | None:
    """The user's client, where there is one; distributed is not imported just to ask."""
    wanted = dask.config.get("scheduler", None)
    if "distributed" not in sys.modules or wanted not in (None, "dask.distributed", "distributed"):
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None
