"""What strikes while a cube is written is named, ends with exit code 3, and is healed by the next run."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
import xarray as xr
from distributed import Client
from obstore.store import MemoryStore as ObjectMemory
from test_clusters import cluster
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from coregstack import run_scenes
from coregstack.cli import main
from coregstack.cli.commands import WITH_PROBLEMS
from coregstack.cube import dates as writing
from coregstack.cube.check import verify_cube
from coregstack.run import cube as run

IDS = ["anchor", "good"]


def healed(sound: SimpleNamespace, folder: Path) -> None:
    """The same run again, without the fault, brings a whole cube."""
    with dask.config.set(scheduler="synchronous"):
        result = run_scenes(
            [sound.anchor, sound.good], anchor="anchor", output=folder / "out", zarr=folder / "cube.zarr"
        )
    assert not result.problems
    assert verify_cube(folder / "cube.zarr") == ()
    cube = xr.open_zarr(folder / "cube.zarr", mask_and_scale=False)
    assert cube.id.values.tolist() == IDS
    assert cube.pixels.values.any(axis=(1, 2, 3)).all()
    assert not list((folder / "cube.zarr").rglob("*.partial"))


def arguments(sound: SimpleNamespace, folder: Path) -> list[str]:
    return [
        "align", str(sound.anchor), str(sound.good), "--anchor", "anchor", "--output", str(folder / "out"), "--zarr",
        str(folder / "cube.zarr"), "--json", "--no-report",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "after"), [(errno.ENOSPC, 0), (errno.EDQUOT, 3), (errno.EIO, 20), (errno.EROFS, 45)]
)
def test_a_full_disk_is_named(
    after: int, code: int, sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    real, calls = LocalStore._set, [0]

    async def full(self: Any, key: str, *rest: Any, **options: Any) -> None:
        calls[0] += 1
        if calls[0] > after:
            raise OSError(code, os.strerror(code))
        await real(self, key, *rest, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "_set", full)
        assert main(arguments(sound, tmp_path)) == WITH_PROBLEMS
    assert calls[0] > after
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem.startswith("cube: The cube in ")
    assert os.strerror(code) in problem
    healed(sound, tmp_path)


def blocks(monkeypatch: pytest.MonkeyPatch, at: int, strike: Callable[[], object]) -> None:
    """Strike when the date at a position is about to be written, wherever that is."""
    real = writing.write_dates

    def striking(cube: Any, target: Any, slots: list[int], *, mask: bool) -> Any:
        array = cube.array.copy()
        values = array.data.map_blocks(_struck, at, strike, dtype=array.dtype, meta=array.data._meta)
        object.__setattr__(cube, "array", array.copy(data=values))
        return real(cube, target, slots, mask=mask)

    monkeypatch.setattr("coregstack.cube.write.write_dates", striking)


def _struck(block: Any, at: int, strike: Callable[[], object], block_info: Any = None) -> Any:
    if block_info[0]["chunk-location"][0] == at:
        strike()
    return block


def deadly() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_date_that_kills_its_workers_is_named(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        blocks(patch, 1, deadly)
        with cluster(tmp_path) as (address, _), Client(address):
            result = run_scenes(
                [sound.anchor, sound.good],
                anchor="anchor",
                output=tmp_path / "out",
                zarr=tmp_path / "cube.zarr",
            )
    (problem,) = result.problems
    assert "The cluster could not write the cube" in problem
    assert "not finished are" in problem
    assert "good" in problem
    healed(sound, tmp_path)


def test_a_scheduler_that_is_lost_while_the_cube_is_written_is_named(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with cluster(tmp_path) as (address, process), Client(address, timeout=3):
        real = run.to_zarr

        def losing(*given: Any, **options: Any) -> Any:
            process.kill()
            process.wait()
            return real(*given, **options)

        with monkeypatch.context() as patch:
            patch.setattr(run, "to_zarr", losing)
            result = run_scenes(
                [sound.anchor, sound.good],
                anchor="anchor",
                output=tmp_path / "out",
                zarr=tmp_path / "cube.zarr",
            )
    (problem,) = result.problems
    assert problem.startswith("cube: The dask scheduler is gone")
    healed(sound, tmp_path)


class Failing(MemoryStore):
    """A store that takes no more objects after some."""

    left = 0

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        if Failing.left == 0:
            raise PermissionError(errno.EACCES, "Access Denied: https://bucket/x?X-Amz-Signature=secret")
        Failing.left -= 1
        await super().set(key, value, byte_range)


def test_a_store_that_refuses_is_named_without_its_secrets(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for left in (0, 5, 30):
        monkeypatch.setattr(Failing, "left", left)
        store = Failing()
        result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out", zarr=store)
        (problem,) = result.problems
        assert "cannot be written (Access Denied" in problem
        assert "secret" not in problem
        monkeypatch.setattr(Failing, "left", -1)
        again = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out", zarr=store)
        assert not again.problems
        assert verify_cube(store) == ()


def test_errors_of_obstore_are_those_of_a_store(
    sound: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from obstore.exceptions import PermissionDeniedError

    async def refused(*_: Any, **__: Any) -> None:
        raise PermissionDeniedError("Access Denied")

    store = ObjectStore(ObjectMemory())
    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "set", refused)
        result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out", zarr=store)
    (problem,) = result.problems
    assert "cannot be written (PermissionDeniedError: Access Denied)" in problem
