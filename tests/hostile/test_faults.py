"""Disks that fail, runs that are killed, notes that are damaged: the result is whole, or the item is named.

Faults are injected into the system calls that reading and writing come down to, at every place in turn.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
import rasterio
from apart import ended, started
from digests import tree
from rasterio.errors import RasterioIOError

from coregstack import run_scenes
from coregstack.cli import main
from coregstack.errors import CoregError, OutputConflict, UnreadableFile
from coregstack.export.lock import locked
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.pixels import raster
from coregstack.run.result import RunResult

ALL = bool(os.environ.get("COREGSTACK_ALL_FAULTS"))
"""Whether every fault is injected at every place, which takes minutes."""
CODES = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE]


class Fault:
    """Raises an error at the n-th call, and from then on if it lasts."""

    def __init__(self, error: Callable[[], Exception], at: int, *, lasting: bool = False) -> None:
        self.error, self.at, self.lasting = error, at, lasting
        self.calls = 0

    @property
    def hit(self) -> bool:
        return self.calls > self.at

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at + 1 or (self.lasting and self.hit):
            raise self.error()


def failing(function: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    def wrapped(*args: Any, **options: Any) -> Any:
        fault()
        return function(*args, **options)

    return wrapped


@contextmanager
def injected(kind: str, code: int, at: int, *, lasting: bool = False) -> Iterator[Fault]:
    """The n-th read, write, flush or rename of a run fails."""
    text = os.strerror(code)

    def system() -> Exception:
        return OSError(code, text)

    def pixels() -> Exception:
        return RasterioIOError(text)

    with pytest.MonkeyPatch.context() as patch:
        match kind:
            case "replace" | "fsync":
                fault = Fault(system, at, lasting=lasting)
                patch.setattr(os, kind, failing(getattr(os, kind), fault))
            case "read pixels":
                fault = Fault(lambda: UnreadableFile(text), at, lasting=lasting)
                patch.setattr(raster, "read_window", failing(raster.read_window, fault))
            case "write pixels":
                fault = Fault(pixels, at, lasting=lasting)
                patch.setattr(
                    rasterio.io.DatasetWriter, "write", failing(rasterio.io.DatasetWriter.write, fault)
                )
            case "read bytes":
                fault = Fault(lambda: UnreadableFile(text), at, lasting=lasting)
                patch.setattr("coregstack.export.contents._read", failing(_read(), fault))
            case "open":
                fault = Fault(system, at, lasting=lasting)
                patch.setattr(Path, "open", failing(Path.open, fault))
        yield fault


def _read() -> Callable[..., bytes]:
    from coregstack.export import contents

    return contents._read


def run(sound: SimpleNamespace, output: Path) -> RunResult:
    with dask.config.set(scheduler="synchronous"):
        return run_scenes([sound.anchor, sound.good], anchor="anchor", output=output)


def attempt(sound: SimpleNamespace, output: Path) -> RunResult | None:
    """Run; None where the run stopped with an error of the package."""
    try:
        return run(sound, output)
    except CoregError as error:
        told = str(error)
    assert ".part" not in told
    return None


def check(sound: SimpleNamespace, output: Path, result: RunResult | None) -> str:
    """Hold what became of a run under a fault to the promise, and say what it was."""
    files = tree(output)
    assert not list(output.rglob("*.part"))
    known = sound.digests | {f"{name}.tif": tree(sound.folder)[f"{name}.tif"] for name in ("anchor", "good")}
    known["anchor_anchor.tif"] = known["anchor.tif"]
    rasters = {name: digest for name, digest in files.items() if name.endswith(".tif")}
    assert rasters == {name: known[name] for name in rasters}
    if result is None:
        return "stopped"
    assert ".part" not in " ".join(result.problems)
    good = result.reports[1]
    if good.quality.status is Status.COREGISTERED and "good_coreg_qa_metadata.json" in files:
        assert {name: files[name] for name in sound.digests} == sound.digests
        return "named, whole" if result.problems else "whole"
    assert good.problems
    return "named"


PLACES = {"replace": 7, "fsync": 7, "read pixels": 6, "write pixels": 1, "read bytes": 4, "open": 12}
"""How many calls of a run may fail; all are tried on request, and at random by `benchmarks/faults.py`."""
SOME = {
    "replace": {0: False, 3: True, 6: False}, "fsync": {1: True, 4: False}, "read pixels": {0: False, 3: True},
    "write pixels": {0: True}, "read bytes": {0: False, 3: True}, "open": {0: True, 5: False, 11: True},
}  # fmt: skip
"""Those that are always tried, and whether they fail from then on."""


@pytest.mark.parametrize("kind", PLACES)
def test_every_system_call_may_fail(kind: str, sound: SimpleNamespace, tmp_path: Path) -> None:
    inputs = tree(sound.folder)
    seen = []
    every = [(at, lasting) for at in range(PLACES[kind]) for lasting in (False, True)]
    for at, lasting in every if ALL else SOME[kind].items():
        for code in CODES if ALL else [CODES[at % len(CODES)]]:
            output = tmp_path / f"{at} {code} {lasting}"
            with injected(kind, code, at, lasting=lasting) as fault:
                result = attempt(sound, output)
            seen.append(check(sound, output, result) if output.exists() else "stopped")
            assert fault.hit or seen[-1] == "whole"
        # once the disk is well again, the same command brings the undisturbed result
        assert check(sound, output, run(sound, output)) == "whole"
        assert verify_output(output) == ()
    assert tree(sound.folder) == inputs
    assert {"named", "stopped", "named, whole"} & {*seen}
    print(f"{len(seen)} faults injected: {kind}")


def test_a_write_error_names_the_file_that_was_to_be_written(sound: SimpleNamespace, tmp_path: Path) -> None:
    with injected("write pixels", errno.ENOSPC, 0):
        result = run(sound, tmp_path / "out")
    assert f"{str(tmp_path / 'out' / 'good_coreg.tif')!r} cannot be written" in result.problems[0]
    assert os.strerror(errno.ENOSPC) in result.problems[0]


def without_room(size: int, sound: SimpleNamespace, output: Path) -> None:
    """Run where no file may grow beyond a size; end with the number of problems."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    result = attempt(sound, output)
    os._exit(99 if result is None else len(result.problems))


@pytest.mark.parametrize("size", range(20_000, 300_000, 20_000) if ALL else [1_000, 200_000])
def test_files_that_the_disk_has_no_room_for(size: int, sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    code = ended(started(without_room, size, sound, output))
    assert not list(output.rglob("*.part"))
    whole = sound.digests | {
        "anchor_anchor.tif": tree(sound.folder)["anchor.tif"],
        "good.tif": tree(sound.folder)["good.tif"],
    }
    for name, digest in tree(output).items():
        if name.endswith(".tif"):
            assert digest == whole[name]
    room = all((output / name).exists() for name in ("anchor_anchor.tif", "good_coreg.tif"))
    assert (code == 0) == room
    assert not run(sound, output).problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "replaced", "removed"])
@pytest.mark.parametrize("name", ["good_coreg.tif", "good_coreg_qa_metadata.json", ".coregstack/good.json"])
def test_damaged_output_of_an_earlier_run_is_made_anew(
    name: str, damage: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(sound.output, output)
    path = output / name
    data = path.read_bytes()
    changed = {
        "cut": data[: len(data) // 2], "flipped": bytes([*data[:-9], data[-9] ^ 1, *data[-8:]]), "emptied": b"",
        "replaced": os.urandom(len(data)), "removed": data,
    }  # fmt: skip
    path.write_bytes(changed[damage])
    if damage == "removed":
        path.unlink()
    result = run(sound, output)
    assert [report.resumed for report in result.reports] == [True, False]
    assert not result.problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert verify_output(output) == ()


@pytest.mark.parametrize("change", ["removed", "cut", "replaced"])
@pytest.mark.parametrize("who", ["anchor", "good"])
def test_inputs_that_change_while_a_run_goes_on(
    who: str, change: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("anchor", "good"):
        (folder / f"{name}.tif").write_bytes(getattr(sound, name).read_bytes())
    path, data = folder / f"{who}.tif", getattr(sound, who).read_bytes()

    def strike(done: int, total: int) -> None:
        if done == 0:
            path.unlink()
            if change != "removed":
                path.write_bytes(data[: len(data) // 2] if change == "cut" else data[::-1])

    with dask.config.set(scheduler="synchronous"):
        result = run_scenes(
            [folder / "anchor.tif", folder / "good.tif"],
            anchor="anchor",
            output=tmp_path / "out",
            progress=strike,
        )
    assert any(problem.startswith(f"{who}:") for problem in result.problems)
    assert "unexpected" not in " ".join(result.problems)
    assert result.reports[1].quality.status is Status.FAILED
    assert not (tmp_path / "out" / "good_coreg.tif").exists()
    if who == "anchor":
        assert (tmp_path / "out" / "good.tif").read_bytes() == sound.good.read_bytes()


def killed_at(moment: int, sound: SimpleNamespace, output: Path) -> None:
    """Run, and die when so many files have been flushed."""
    real, calls = os.fsync, iter(range(moment))

    def fsync(descriptor: int) -> None:
        if next(calls, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        real(descriptor)

    os.fsync = fsync
    run(sound, output)


@pytest.mark.parametrize("moment", range(7) if ALL else [1, 4])
def test_a_killed_process_leaves_nothing_that_is_not_whole(
    moment: int, sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    assert ended(started(killed_at, moment, sound, output)) == -signal.SIGKILL
    whole = sound.digests | {"anchor_anchor.tif": tree(sound.folder)["anchor.tif"]}
    for name, digest in tree(output).items():
        assert name.endswith((".part", ".csv")) or digest == whole[name]
    result = run(sound, output)
    assert not result.problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert verify_output(output) == ()


def test_only_what_a_run_has_half_written_is_cleared_away(sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "deeper").mkdir(parents=True)
    # the second is what GDAL puts beside a cloud-optimised file that it is writing
    left = [".0123456789abcdef.part", "deeper/.0123456789abcdef.part.ovr.tmp"]
    mine = [".download.part", "film.part", ".part", ".0123456789abcdef"]
    for name in (*left, *mine):
        (output / name).touch()
    run(sound, output)
    assert not [name for name in left if (output / name).exists()]
    assert all((output / name).exists() for name in mine)


def test_a_second_run_on_one_output_stops(sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    with locked(output), pytest.raises(OutputConflict, match=f"process {os.getpid()} on "):
        run(sound, output)
    assert tree(output) == {}
    assert not run(sound, output).problems


def killed_with_lock(output: Path) -> None:
    """Die while the folder is locked."""
    with locked(output):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_lock_that_a_killed_run_has_left_does_not_stand_in_the_way(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    assert ended(started(killed_with_lock, output)) == -signal.SIGKILL
    assert "process" in (output / ".coregstack" / "lock").read_text()
    assert not run(sound, output).problems


def answering(arguments: list[str], answer: Path) -> None:
    """Run the command; what it prints goes to a file."""
    with answer.open("w", encoding="utf-8") as sys.stdout:
        code = main(arguments)
    sys.exit(code)


def test_two_processes_at_once_give_one_result(sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    scenes = [str(sound.anchor), str(sound.good)]
    call = ["align", *scenes, "--anchor", "anchor", "--output", str(output), "--json", "--no-report"]
    places = [tmp_path / f"{k}.json" for k in range(2)]
    both = [started(answering, call, place) for place in places]
    codes = [ended(process) for process in both]
    assert sorted(codes) in ([0, 0], [0, 2])
    for code, place in zip(codes, places, strict=True):
        answer = json.loads(place.read_text("utf-8"))
        assert code == 0 or "Another run" in answer["general"][0]["message"]
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert verify_output(output) == ()


def test_limits_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, sound: SimpleNamespace
) -> None:
    monkeypatch.setenv("COREGSTACK_MAX_PIXELS", "100")
    with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_PIXELS"):
        raster.read_header(sound.good)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
