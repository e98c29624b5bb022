"""What a run unpacks is removed: at its end, or by the next run where it was killed; nothing else is."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from coregstack import report, run_order, run_scenes, to_zarr
from coregstack.errors import AnchorNotFound, OutputConflict
from coregstack.export.files import UNPACKED
from coregstack.orders.scratch import remove_dead, scratch_folder
from coregstack.testing import SampleOrder, sample_stack, write_sample_order

KILLED = """
import os, pathlib
from coregstack.orders.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "unpacked").mkdir()
    (folder / "unpacked" / "a.tif").write_text("a")
    print(folder, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def killed(place: Path) -> Path:
    """What a killed run has left."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True, check=False, timeout=240,
        env=os.environ | {"TMPDIR": str(place)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    return Path(done.stdout.strip())


def test_what_a_killed_run_has_unpacked_is_removed_by_the_next(place: Path) -> None:
    left = killed(place)
    assert (left / "unpacked" / "a.tif").is_file()
    with scratch_folder() as folder, scratch_folder() as other:
        remove_dead()
        assert not left.exists()
        # those of runs that live stay
        assert sorted(place.iterdir()) == sorted([folder, other])
    assert list(place.iterdir()) == []


MARK = f"{UNPACKED} on {socket.gethostname()}\n".encode()


def dead(place: Path) -> Path:
    """What a dead run has left, without a process for it."""
    left = place / "coregstack-dead"
    left.mkdir()
    (left / UNPACKED).write_bytes(MARK)
    return left


def test_a_run_over_an_archive_removes_what_dead_runs_have_unpacked(place: Path, tmp_path: Path) -> None:
    left = dead(place)
    order = write_sample_order(tmp_path / "small", size=64)
    archive = shutil.make_archive(str(tmp_path / "order"), "zip", order.folder)
    result = run_order(order.payload, input=archive, output=tmp_path / "out", dry_run=True)
    assert not result.problems
    assert not left.exists()
    assert list(place.iterdir()) == []


NOT_OURS = {
    "no mark": None,
    "an empty mark": b"",
    "another machine": f"{UNPACKED} on elsewhere\n".encode(),
    "other words": b"x" + MARK,
}


@pytest.mark.parametrize("mark", NOT_OURS.values(), ids=NOT_OURS)
def test_folders_that_are_not_of_a_dead_run_of_this_machine_stay(mark: bytes | None, place: Path) -> None:
    mine = place / "coregstack-demo"
    mine.mkdir()
    (mine / "mine.txt").write_text("mine")
    if mark is not None:
        (mine / UNPACKED).write_bytes(mark)
    remove_dead()
    assert (mine / "mine.txt").read_text() == "mine"


def test_links_and_pipes_of_such_names_are_left_alone(place: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / UNPACKED).write_bytes(MARK)
    (place / "coregstack-link").symlink_to(mine)
    (place / "coregstack-file").write_bytes(MARK)
    for name in ("coregstack-pipe", "coregstack-linked"):
        (place / name).mkdir()
    os.mkfifo(place / "coregstack-pipe" / UNPACKED)
    (place / "coregstack-linked" / UNPACKED).symlink_to(mine / UNPACKED)
    before = sorted(place.iterdir())
    remove_dead()
    assert sorted(place.iterdir()) == before
    assert (mine / UNPACKED).exists()


@pytest.mark.parametrize("role", ["input", "output", "zarr"])
def test_nothing_is_unpacked_into_a_place_of_the_run(
    role: str, sample_order: SampleOrder, place: Path, tmp_path: Path
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "order"), "zip", sample_order.folder, "payload.json"))
    (place.parent / "order").mkdir()
    archive.rename(place.parent / "order" / "order.zip")
    places = {"input": tmp_path / "order", "output": tmp_path / "out", "zarr": tmp_path / "cube.zarr"}
    # the system's temporary folder lies below one of the places, by way of a link
    (places[role] / "tmp").mkdir(parents=True)
    place.rmdir()
    place.symlink_to(places[role] / "tmp", target_is_directory=True)
    with pytest.raises(OutputConflict, match="TMPDIR"):
        run_order(sample_order.payload, **places)
    assert list((places[role] / "tmp").iterdir()) == []


def test_an_input_without_archives_needs_no_place_to_unpack(
    sample_order: SampleOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "order").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "order"))
    with pytest.raises(AnchorNotFound):
        run_order(sample_order.payload, input=tmp_path / "order", output=tmp_path / "out")
    assert list((tmp_path / "order").iterdir()) == []


@pytest.mark.parametrize("role", ["input", "output", "zarr"])
def test_a_place_that_would_be_removed_is_refused_and_stays(
    role: str, sample_order: SampleOrder, place: Path, tmp_path: Path
) -> None:
    places = {"input": sample_order.folder, "output": tmp_path / "out", "zarr": tmp_path / "cube.zarr"}
    places[role] = dead(place) / "unpacked" / "mine"
    places[role].mkdir(parents=True)
    (places[role] / "mine.txt").write_text("mine")
    with pytest.raises(OutputConflict, match="removed with all that it holds"):
        run_order(sample_order.payload, **places)
    assert (places[role] / "mine.txt").read_text() == "mine"


def test_scenes_cubes_and_reports_are_not_written_where_they_would_be_removed(
    sample_order: SampleOrder, place: Path
) -> None:
    mine = dead(place) / "mine"
    scene = next(sample_order.folder.rglob("*_SR_8b_clip.tif"))
    stack = sample_stack(1, (32, 32)).drop_vars("clear")
    for write in (
        lambda: run_scenes([scene], anchor=0, output=mine),
        lambda: to_zarr(stack, mine),
        lambda: report(stack, mine / "report.html"),
    ):
        with pytest.raises(OutputConflict, match="removed with all that it holds"):
            write()
    assert not mine.exists()
