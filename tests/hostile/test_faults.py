"""Disks that fail, runs that are killed, notes that are damaged: the result is whole, or the item is named.

Faults are injected into the system calls that reading and writing come down to, at every place in turn.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
import rasterio
from digests import tree
from rasterio.errors import RasterioIOError

from coregstack import run_scenes
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
                patch.setattr("coregstack.export.files._read", failing(_read(), fault))
            case "open":
                fault = Fault(system, at, lasting=lasting)
                patch.setattr(Path, "open", failing(Path.open, fault))
        yield fault


def _read() -> Callable[..., bytes]:
    from coregstack.export import files

    return files._read


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


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("kind", PLACES)
def test_every_system_call_may_fail(kind: str, lasting: bool, sound: SimpleNamespace, tmp_path: Path) -> None:
    inputs = tree(sound.folder)
    seen = []
    for at in range(PLACES[kind]):
        for code in CODES if ALL else [CODES[at % len(CODES)]]:
            output = tmp_path / f"{at} {code}"
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


SCRIPT = """
import resource, signal, sys
import dask
from coregstack import run_scenes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
with dask.config.set(scheduler="synchronous"):
    result = run_scenes(sys.argv[3:], anchor="anchor", output=sys.argv[2])
print("problems", len(result.problems))
"""


@pytest.mark.parametrize("size", range(20_000, 300_000, 20_000) if ALL else [1_000, 200_000])
def test_files_that_the_disk_has_no_room_for(size: int, sound: SimpleNamespace, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    output = tmp_path / "out"
    command = [sys.executable, str(script), str(size), str(output), str(sound.anchor), str(sound.good)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert not list(output.rglob("*.part"))
    whole = sound.digests | {
        "anchor_anchor.tif": tree(sound.folder)["anchor.tif"],
        "good.tif": tree(sound.folder)["good.tif"],
    }
    for name, digest in tree(output).items():
        if name.endswith(".tif"):
            assert digest == whole[name]
    room = all((output / name).exists() for name in ("anchor_anchor.tif", "good_coreg.tif"))
    assert ("problems 0" in done.stdout) == room, done.stderr
    assert not run(sound, output).problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "replaced", "removed"])
@pytest.mark.parametrize("name", ["good_coreg.tif", "good_coreg_qa_metadata.json", ".coregstack/good.json"])
def test_damaged_output_of_an_earlier_run_is_made_anew(
    name: str, damage: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run(sound, output)
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


@pytest.mark.parametrize("moment", range(8) if ALL else [1, 4])
def test_a_killed_process_leaves_nothing_that_is_not_whole(
    moment: int, sound: SimpleNamespace, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, dask\n"
        "from coregstack import run_scenes\n"
        "calls, real = 0, os.fsync\n"
        "def fsync(descriptor):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls > int(sys.argv[1]):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n"
        "with dask.config.set(scheduler='synchronous'):\n"
        "    run_scenes(sys.argv[3:], anchor='anchor', output=sys.argv[2])\n"
    )
    output = tmp_path / "out"
    command = [sys.executable, str(script), str(moment), str(output), str(sound.anchor), str(sound.good)]
    killed = subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert killed.returncode in (0, -signal.SIGKILL)
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


def test_a_lock_that_a_killed_run_has_left_does_not_stand_in_the_way(
    sound: SimpleNamespace, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    script = "import os, sys, pathlib\nfrom coregstack.export.lock import locked\n" + (
        "with locked(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(output)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert "process" in (output / ".coregstack" / "lock").read_text()
    assert not run(sound, output).problems


def test_two_processes_at_once_give_one_result(sound: SimpleNamespace, tmp_path: Path) -> None:
    output = tmp_path / "out"
    scenes = [str(sound.anchor), str(sound.good)]
    options = ["--anchor", "anchor", "--output", str(output), "--json", "--no-report"]
    command = [sys.executable, "-m", "coregstack", "align", *scenes, *options]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert sorted(process.returncode for process in both) in ([0, 0], [0, 2])
    for process, answer in zip(both, answers, strict=True):
        assert process.returncode == 0 or "Another run" in answer["general"][0]["message"]
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    assert verify_output(output) == ()


def test_limits_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, sound: SimpleNamespace
) -> None:
    monkeypatch.setenv("COREGSTACK_MAX_PIXELS", "100")
    with pytest.raises(UnreadableFile, match="COREGSTACK_MAX_PIXELS"):
        raster.read_header(sound.good)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
