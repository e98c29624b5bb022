"""A cluster that dies stops no more than it has to, and says what it has left undone."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from digests import tree
from distributed import Client

from coregstack import run_scenes
from coregstack.cli import main
from coregstack.cli.commands import WITH_PROBLEMS
from coregstack.errors import SchedulerLost
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.run import execute as delivery

CLUSTER = """
import sys
import dask
from distributed import LocalCluster
if __name__ == "__main__":
    dask.config.set({"distributed.scheduler.allowed-failures": 0})
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Address and process of a scheduler with one worker process."""
    script = folder / "cluster.py"
    script.write_text(CLUSTER)
    # whatever was imported before, workers find the modules beside this one
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True, env=os.environ | {"PYTHONPATH": path},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


@pytest.mark.parametrize("when", [0, 1])
def test_a_lost_scheduler_is_named_with_all_that_it_left_undone(
    when: int, sound: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out"
    scenes = [sound.anchor, sound.good]
    with cluster(tmp_path) as (address, process), Client(address):

        def strike(done: int, total: int) -> None:
            if done == when:
                process.kill()

        with pytest.raises(SchedulerLost, match="scheduler is gone") as caught:
            run_scenes(scenes, anchor="anchor", output=output, progress=strike)
    named = {
        record.item for record in caplog.records if record.levelno == logging.ERROR and "item" in vars(record)
    }
    assert named
    assert named <= {"anchor", "good"}
    assert all(item in str(caught.value) for item in named)
    assert len(named) == 2 - when
    for name in tree(output):
        assert name.endswith((".part", ".csv")) or (output / name).read_bytes() == whole(sound, name)
    with dask.config.set(scheduler="synchronous"):
        again = run_scenes(scenes, anchor="anchor", output=output)
    assert not again.problems
    assert verify_output(output) == ()


def whole(sound: SimpleNamespace, name: str) -> bytes:
    source = sound.folder / "anchor.tif" if name == "anchor_anchor.tif" else sound.output / name
    return source.read_bytes()


def test_an_item_that_kills_its_workers_is_delivered_as_it_came(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = delivery.scene_deliveries
    monkeypatch.setattr(
        delivery,
        "scene_deliveries",
        lambda *a: real(*a).map_blocks(deadly, dtype=object, meta=np.empty(0, object)),
    )
    output = tmp_path / "out"
    with cluster(tmp_path) as (address, _), Client(address):
        result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=output)
    good = result.reports[1]
    assert good.quality.status is Status.FAILED
    assert "KilledWorker" in good.problems[0]
    assert (output / "good.tif").read_bytes() == sound.good.read_bytes()
    assert verify_output(output) == ()
    monkeypatch.undo()
    assert not run_scenes([sound.anchor, sound.good], anchor="anchor", output=output).problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests


def deadly(block: object) -> object:
    os.kill(os.getpid(), signal.SIGKILL)
    return block


def test_the_command_tells_a_lost_scheduler_from_a_wrong_request(
    sound: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def lost(*_: object, **__: object) -> None:
        raise SchedulerLost("The dask scheduler is gone")

    monkeypatch.setattr("coregstack.cli.commands.run_scenes", lost)
    assert (
        main(["align", str(sound.good), "--anchor", "good", "--output", str(tmp_path / "out")])
        == WITH_PROBLEMS
    )
    assert "scheduler is gone" in capsys.readouterr().err
