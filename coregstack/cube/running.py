"""Dates computed on the active scheduler, and the errors when it fails."""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
from collections.abc import Sequence

from dask.delayed import Delayed

from coregstack.cube.journal import read_journal
from coregstack.cube.place import Place
from coregstack.errors import CoregError, SchedulerLost
from coregstack.export.files import WriteError
from coregstack.graph.bar import notebook_bar

_NAMED = 10
"""How many dates an error names."""


def compute_dates(writing: Delayed, place: Place, items: Sequence[str]) -> None:
    """Write dates into a cube.

    Parameters
    ----------
    writing : Delayed
        What writes them.
    place : Place
        Of the cube.
    items : sequence of str
        The dates that are written, as the cube's journal names them.

    Raises
    ------
    SchedulerLost
        If the cluster's scheduler is gone.
    WriteError
        If workers were lost one after another; what was written until then stays.
    """
    lost, killed = _cluster_errors()
    try:
        with notebook_bar():
            writing.compute()
    except CoregError:
        raise
    except lost as error:
        raise SchedulerLost(
            f"The dask scheduler is gone while the cube in {place.name} was written; {_undone(place, items)}. What was "
            "written stays: start a scheduler and run the same command again once the old workers are gone."
        ) from error
    except killed as error:
        why = " ".join(str(error).split())
        raise WriteError(
            f"The cluster could not write the cube in {place.name} ({why}); {_undone(place, items)}. What was written "
            "stays: run again to do the rest."
        ) from error


def _cluster_errors() -> tuple[tuple[type[BaseException], ...], tuple[type[BaseException], ...]]:
    """What a lost scheduler and lost workers raise; distributed is not imported just to ask."""
    cancelled = asyncio.CancelledError, concurrent.futures.CancelledError
    if "distributed" not in sys.modules:
        return cancelled, ()
    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    return (*cancelled, CommClosedError), (KilledWorker,)


def _undone(place: Place, items: Sequence[str]) -> str:
    journal = read_journal(place)
    done = {item for item, known in zip(journal.items, journal.done, strict=True) if known is not None}
    left = [item for item in items if item not in done]
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return (
        f"not finished are {', '.join(left[:_NAMED])}{more}" if left else "no date is known to be unfinished"
    )
