"""Runs on a cluster write what threads write, and neither a lost worker nor a killed run changes that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
from dask.callbacks import Callback
from distributed import Client, LocalCluster
from rasterio.transform import from_origin

from coregstack.cli import main
from coregstack.export.plan import ItemReport
from coregstack.graph.blocks import object_array
from coregstack.matching.decision import failure
from coregstack.model import Status
from coregstack.run.scenes import run_scenes
from coregstack.run.scheduler import compute_items
from coregstack.testing import Conditions, shifted_scene

SIDE = 200
ITEMS = 5


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the notes that hold paths and times."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in files if ".coregstack" not in path.parts
    }


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An anchor and items that are off by known shifts."""
    folder = tmp_path_factory.mktemp("scenes")
    rng = np.random.default_rng(5)
    paths = []
    for k in range(ITEMS + 1):
        shift = (0.0, 0.0) if k == 0 else tuple(rng.uniform(-2, 2, 2))
        values = shifted_scene((SIDE, SIDE), shift, conditions=Conditions(seed=k)).values
        path = folder / f"item_{k}.tif"
        with rasterio.open(
            path, "w", driver="GTiff", width=SIDE, height=SIDE, count=4, dtype="uint16", nodata=0,
            crs="EPSG:32633", transform=from_origin(5e5, 5.3e6, 3, 3), compress="deflate",
        ) as out:  # fmt: skip
            out.write(values)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def undisturbed(scenes: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What threads of one process write."""
    output = tmp_path_factory.mktemp("threads") / "out"
    with dask.config.set(scheduler="threads", num_workers=2):
        result = run_scenes(scenes, anchor=0, output=output)
    assert result.count(Status.COREGISTERED) >= ITEMS - 1
    return contents(output)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two worker processes of one thread, as on two machines with shared storage."""
    with (
        dask.config.set({"distributed.worker.daemon": False}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as local,
    ):
        yield local


def test_one_thread_writes_what_two_write(
    scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    with dask.config.set(scheduler="synchronous"):
        run_scenes(scenes[::-1], anchor="item_0", output=tmp_path / "out")
    found = contents(tmp_path / "out")
    table = "coregistration.csv"
    assert {k: v for k, v in found.items() if k != table} == {
        k: v for k, v in undisturbed.items() if k != table
    }


def test_an_active_client_is_used_and_writes_the_same_bytes(
    cluster: LocalCluster, scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with Client(cluster) as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # dask warns of graphs that carry data
            result = run_scenes(
                scenes, anchor=0, output=tmp_path / "out", progress=lambda done, of: told.append((done, of))
            )
        prepared = client.run_on_scheduler(_tasks_named, name="prepare")
    assert contents(tmp_path / "out") == undisturbed
    assert [report.id for report in result.reports] == [path.stem for path in scenes]
    assert told == [(k, ITEMS + 1) for k in range(ITEMS + 2)]
    assert len(prepared) == 1


def _tasks_named(name: str, dask_scheduler: object = None) -> list[str]:
    """Keys of tasks of that name that the scheduler has ever sent to a worker."""
    keys = {str(row[0]) for row in dask_scheduler.transition_log}  # type: ignore[attr-defined]
    return sorted(key for key in keys if name in key)


def test_command_line_uses_the_scheduler_it_is_given(
    cluster: LocalCluster, scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    arguments = [
        "align",
        *map(str, scenes),
        "--anchor",
        "item_0",
        "--output",
        str(tmp_path / "out"),
        "--quiet",
    ]
    assert main([*arguments, "--scheduler", cluster.scheduler_address]) == 0
    assert undisturbed.items() <= contents(tmp_path / "out").items()  # and a report


def test_a_killed_worker_costs_only_its_tasks(
    scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as local,
        Client(local) as client,
    ):
        victims = sorted(client.run(os.getpid).values())[:1]

        def kill(done: int, of: int) -> None:
            if done == 2 and victims:
                os.kill(victims.pop(), signal.SIGKILL)

        result = run_scenes(scenes, anchor=0, output=tmp_path / "out", progress=kill)
        assert not victims
    assert not result.problems
    assert contents(tmp_path / "out") == undisturbed


RUN = """
import sys, dask
from coregstack.run.scenes import run_scenes
if __name__ == "__main__":
    with dask.config.set(scheduler="threads", num_workers=2):
        run_scenes(sys.argv[2:], anchor="item_0", output=sys.argv[1])
"""


def test_a_killed_run_is_finished_by_the_next(
    scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    process = subprocess.Popen([sys.executable, "-c", RUN, str(output), *map(str, scenes)])
    notes, after = output / ".coregstack", 2
    deadline = time.monotonic() + 120
    while len(list(notes.glob("*.json"))) < after and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert contents(output).items() <= undisturbed.items() | {
        (name, data) for name, data in contents(output).items() if Path(name).name.endswith(".part")
    }
    result = run_scenes(scenes, anchor=0, output=output)
    assert sum(report.resumed for report in result.reports) >= after
    assert contents(output) == undisturbed
    assert not list(output.rglob("*.part"))


def test_what_a_lost_worker_was_writing_is_cleared_away(scenes: list[Path], tmp_path: Path) -> None:
    left = tmp_path / "out" / ".0123456789abcdef.part"
    run_scenes(scenes[:2], anchor=0, output=tmp_path / "out", progress=lambda done, of: left.touch())
    assert (tmp_path / "out" / "coregistration.csv").exists()
    assert not left.exists()


def test_an_item_that_the_cluster_cannot_do_is_named(cluster: LocalCluster) -> None:
    def undone(item: str, reason: str) -> ItemReport:
        return ItemReport(id=item, quality=failure(reason), files=(), problems=(reason,))

    values = object_array("coregstack-values-", [undone("first", ""), undone("second", "")])
    broken = values.map_blocks(_only_first, dtype=object, meta=np.empty(0, object))
    with Client(cluster):
        reports = compute_items([broken], None, total=2, ids=["first", "second"], undone=undone)
    good, bad = sorted(reports, key=lambda report: report.id)
    assert (good.id, good.problems) == ("first", ("",))
    assert bad.id == "second"
    assert "nobody expected this" in bad.problems[0]


def _only_first(block: np.ndarray) -> np.ndarray:
    if block[0].id == "second":
        raise RuntimeError("nobody expected this")
    return block


def test_graphs_stay_small_and_prepare_the_anchor_once(scenes: list[Path], tmp_path: Path) -> None:
    seen: list[object] = []

    def count(key: object, *_: object) -> None:
        seen.append(key)

    with Callback(posttask=count), dask.config.set(scheduler="threads", num_workers=2):
        run_scenes(scenes, anchor=0, output=tmp_path / "out")
    assert len(seen) <= 5 * (ITEMS + 1) + 1
    assert sum("prepare" in str(key) for key in seen) == 1


def test_a_run_that_is_interrupted_and_begun_again_at_once_has_no_rival_on_its_cluster(
    cluster: LocalCluster, scenes: list[Path], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with Client(cluster) as client:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                run_scenes(scenes, anchor=0, output=tmp_path / "out", overwrite=True, progress=interrupt)
        result = run_scenes(scenes, anchor=0, output=tmp_path / "out")
        told = " ".join(line for lines in client.get_worker_logs().values() for _, line in lines)
    assert not result.problems
    assert "cannot be written" not in told
    assert contents(tmp_path / "out") == undisturbed
