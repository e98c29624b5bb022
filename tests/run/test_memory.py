"""Workers of a cluster that have too little memory say so, before work or when they stand still."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask
import pytest
import xarray as xr
from distributed import Client, LocalCluster

from coregstack import cli, run_scenes
from coregstack.errors import WorkersPaused, WorkersTooSmall
from coregstack.pixels.bandcache import CACHE_BYTES
from coregstack.run import memory, scheduler
from coregstack.stack.finding import find_scenes
from coregstack.testing import sample_stack


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """An anchor and a scene of four bands of 176 x 192."""
    folder = tmp_path_factory.mktemp("scenes")
    stack: xr.DataArray = sample_stack(2, (176, 192), seed=4, max_shift=2.5, cloud_cover=0).drop_vars("clear")
    for name, scene in zip(("anchor", "first"), stack, strict=True):
        scene.rio.to_raster(folder / f"{name}.tif")
    return [folder / "anchor.tif", folder / "first.tif"]


class Workers:
    """A client whose cluster has workers of some memory."""

    def __init__(self, *workers: dict[str, Any]) -> None:
        self.workers = {str(k): {"metrics": {}, "status": "running"} | w for k, w in enumerate(workers)}

    def scheduler_info(self, n_workers: int = 5) -> dict[str, Any]:
        return {"workers": dict(list(self.workers.items())[: None if n_workers == -1 else n_workers])}


GIB = 2**30


@pytest.mark.parametrize(
    ("workers", "need"),
    [
        ([], 100 * GIB),
        ([{"memory_limit": 0}], 100 * GIB),
        ([{"memory_limit": None}], 100 * GIB),
        ([{"memory_limit": 2 * GIB}], GIB),
        ([{"memory_limit": 1}] * 9 + [{"memory_limit": 2 * GIB}], GIB),
    ],
)
def test_one_worker_that_can_hold_an_item_is_enough(workers: list[dict[str, Any]], need: int) -> None:
    memory.check_workers(Workers(*workers), need)


@pytest.mark.parametrize(
    "worker", [{"memory_limit": GIB}, {"memory_limit": 4 * GIB, "metrics": {"memory": 3 * GIB}}]
)
def test_workers_none_of_which_can_are_refused_with_what_they_need(worker: dict[str, Any]) -> None:
    limit = f"{worker['memory_limit'] / 2**20:,.0f} MiB"
    with pytest.raises(WorkersTooSmall, match=f"may use {limit} of memory each, but an item takes 1,024 MiB"):
        memory.check_workers(Workers(worker, worker), GIB)


def test_what_an_item_needs_follows_from_its_pixels(paths: list[Path]) -> None:
    anchor, first = find_scenes(paths).scenes
    band = 176 * 192 * 2
    assert memory.scene_bytes(anchor, [first], 4) == 2 * (4 * band + band // 2)
    assert memory.scene_bytes(anchor, [], 1) == band + band // 2
    many = CACHE_BYTES // band + 1
    assert many > 4
    # what does not fit is not kept
    assert memory.scene_bytes(anchor, [first], many) == 2 * (4 * band + band // 2)


def test_a_run_on_workers_that_are_too_small_is_refused_before_work(
    paths: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=":0",
            memory_limit="100MiB",
        ) as cluster,
        Client(cluster),
    ):  # fmt: skip
        with pytest.raises(WorkersTooSmall, match=r"may use 100 MiB of memory each.*memory_limit"):
            run_scenes(paths, anchor="anchor", output=tmp_path / "out")
        call = ["align", *map(str, paths), "--anchor", "anchor", "--output", str(tmp_path / "out")]
        assert cli.main([*call, "--scheduler", cluster.scheduler_address]) == 2
    assert "may use 100 MiB" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".coregstack"]


def test_workers_that_pause_for_ever_end_the_run(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "check_workers", lambda client, need: None)
    monkeypatch.setattr(memory, "PATIENCE_S", 1.0)
    with (
        dask.config.set({"distributed.worker.memory.monitor-interval": "20ms"}),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", memory_limit="100MiB"
        ) as cluster,
        Client(cluster),
        pytest.raises(WorkersPaused, match=r"not done are (anchor, first|first, anchor)"),
    ):
        run_scenes(paths, anchor="anchor", output=tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tif"))
    assert not run_scenes(paths, anchor="anchor", output=tmp_path / "out").problems
