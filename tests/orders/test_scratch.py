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

from coregstack import run_order
from coregstack.orders import scratch
from coregstack.orders.scratch import scratch_folder
from coregstack.testing import SampleOrder

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
        assert not left.exists()
        # those of runs that live stay
        assert sorted(place.iterdir()) == sorted([folder, other])
    assert list(place.iterdir()) == []


def test_a_run_over_an_archive_removes_what_dead_runs_have_unpacked(
    sample_order: SampleOrder, place: Path, tmp_path: Path
) -> None:
    left = killed(place)
    archive = shutil.make_archive(str(tmp_path / "order"), "zip", sample_order.folder)
    result = run_order(sample_order.payload, input=archive, output=tmp_path / "out", dry_run=True)
    assert not result.problems
    assert not left.exists()
    assert list(place.iterdir()) == []


MARK = f"{scratch._MARK} on {socket.gethostname()}\n".encode()
NOT_OURS = {
    "no mark": None,
    "an empty mark": b"",
    "another machine": f"{scratch._MARK} on elsewhere\n".encode(),
    "other words": b"x" + MARK,
}


@pytest.mark.parametrize("mark", NOT_OURS.values(), ids=NOT_OURS)
def test_folders_that_are_not_of_a_dead_run_of_this_machine_stay(mark: bytes | None, place: Path) -> None:
    mine = place / "coregstack-demo"
    mine.mkdir()
    (mine / "mine.txt").write_text("mine")
    if mark is not None:
        (mine / scratch._MARK).write_bytes(mark)
    with scratch_folder():
        pass
    assert (mine / "mine.txt").read_text() == "mine"


def test_links_and_pipes_of_such_names_are_left_alone(place: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / scratch._MARK).write_bytes(MARK)
    (place / "coregstack-link").symlink_to(mine)
    (place / "coregstack-file").write_bytes(MARK)
    for name in ("coregstack-pipe", "coregstack-linked"):
        (place / name).mkdir()
    os.mkfifo(place / "coregstack-pipe" / scratch._MARK)
    (place / "coregstack-linked" / scratch._MARK).symlink_to(mine / scratch._MARK)
    before = sorted(place.iterdir())
    with scratch_folder():
        pass
    assert sorted(place.iterdir()) == before
    assert (mine / scratch._MARK).exists()
