"""Whether the workers of a cluster have the memory that an item needs: checked before work, and watched
during it.

A worker that is short of memory pauses: it takes no task, and no error says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dask
import numpy as np

from coregstack.errors import WorkersTooSmall
from coregstack.pixels.bandcache import CACHE_BYTES
from coregstack.pixels.scene import Scene

PROCESS_BYTES = 300 * 2**20
"""Memory of a worker before its first item: Python, GDAL, compiled kernels."""

PATIENCE_S = 10.0
"""Seconds for which all workers may be paused, without any running task, before a run is given up."""

_POLL_S = 1.0


def scene_bytes(anchor: Scene, scenes: Iterable[Scene], bands: int) -> int:
    """Bytes that the largest of the items needs at least, beside what a worker takes before its first.

    Parameters
    ----------
    anchor : Scene
        Every item meets it.
    scenes : iterable of Scene
        Items.
    bands : int
        How many bands are matched.

    Returns
    -------
    int
        The match bands of both, which are in memory at once, and their masks.
    """
    most = _pixels(anchor)
    sizes = [_match_bytes(scene, min(_pixels(scene), most), bands) for scene in scenes]
    return _match_bytes(anchor, most, bands) + max(sizes, default=0)


def check_workers(client: Any, need: int) -> None:
    """Refuse a cluster if no worker has memory for an item.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    need : int
        Bytes that an item needs beside what a worker takes before its first.

    Raises
    ------
    WorkersTooSmall
        It says how much they have, and how much they need.
    """
    workers = _workers(client)
    if not workers or any(_fits(worker, need) for worker in workers):
        return
    limit = max(worker["memory_limit"] for worker in workers)
    taken = min(_taken(worker) for worker in workers)
    wanted = (taken + need) / _pause()
    raise WorkersTooSmall(
        f"The workers of the cluster may use {_mib(limit)} of memory each, but an item takes {_mib(need)} beside the "
        f"{_mib(taken)} that a worker takes itself: they would pause for ever. Give each {_mib(wanted)} or more "
        "(memory_limit), and as much more for each further thread."
    )


@contextmanager
def watched(client: Any, stop: Any) -> Iterator[threading.Event]:
    """Watch whether all workers have paused for lack of memory, and nothing goes on any more.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    stop : callable
        Called then, from another thread.

    Yields
    ------
    threading.Event
        Set before `stop` is called.
    """
    stuck, ended = threading.Event(), threading.Event()

    def watch() -> None:
        since = time.monotonic()
        while not ended.wait(_POLL_S):
            with suppress(Exception):  # a cluster that is lost is noticed by who waits for it
                if not _all_paused(_workers(client)):
                    since = time.monotonic()
                elif time.monotonic() - since > PATIENCE_S:
                    stuck.set()
                    stop()
                    return

    thread = threading.Thread(target=watch, name="coregstack-memory", daemon=True)
    thread.start()
    try:
        yield stuck
    finally:
        ended.set()
        thread.join(_POLL_S)


def _pixels(scene: Scene) -> int:
    height, width = scene.image.box.shape
    return int(height) * int(width)


def _match_bytes(scene: Scene, pixels: int, bands: int) -> int:
    """Bytes of the match bands that `coregstack.pixels.bandcache.cache_bands` keeps, and of a mask."""
    band = pixels * np.dtype(scene.image.dtype).itemsize
    whole = band * min(bands, len(scene.bands))
    return (whole if whole <= CACHE_BYTES else band) + pixels


def _workers(client: Any) -> list[Mapping[str, Any]]:
    try:
        found = client.scheduler_info(n_workers=-1)
    except TypeError:  # in older versions it has no argument and gives all
        found = client.scheduler_info()
    return list(found["workers"].values())


def _fits(worker: Mapping[str, Any], need: int) -> bool:
    limit = worker["memory_limit"]
    return not limit or _taken(worker) + need <= _pause() * limit


def _taken(worker: Mapping[str, Any]) -> int:
    return max(int(worker["metrics"].get("memory", 0)), PROCESS_BYTES)


def _pause() -> float:
    """Share of its memory at which a worker pauses, or is ended."""
    names = ("distributed.worker.memory.pause", "distributed.worker.memory.terminate")
    return float(next((part for name in names if (part := dask.config.get(name, False))), 1.0))


def _all_paused(workers: Iterable[Mapping[str, Any]]) -> bool:
    workers = list(workers)
    at_hand = [worker["metrics"].get("task_counts", {}).get("executing", 0) for worker in workers]
    return bool(workers) and not any(at_hand) and all(worker["status"] == "paused" for worker in workers)


def _mib(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"
