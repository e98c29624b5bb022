"""Of processes that want one file, one makes it; nothing that happens to it stops the others for good."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from coregstack.kernels.turns import take_turn

HOLDER = """
import sys, time
from pathlib import Path
from coregstack.kernels.turns import take_turn
path = Path(sys.argv[1])
turn = take_turn(path, path.exists)
print("held", flush=True)
sys.stdin.readline()
if sys.argv[2] == "make":
    path.write_text("made")
    turn.end()
"""


def holder(path: Path, then: str) -> subprocess.Popen[str]:
    """A process that holds the turn until it is told to go on."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), then],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def told_to_go_on(process: subprocess.Popen[str]) -> None:
    process.communicate("\n")


def test_what_another_makes_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    process, sleep = holder(path, "make"), time.sleep

    def meanwhile(seconds: float) -> None:
        monkeypatch.setattr("coregstack.kernels.turns.time.sleep", sleep)
        told_to_go_on(process)

    monkeypatch.setattr("coregstack.kernels.turns.time.sleep", meanwhile)
    assert take_turn(path, path.exists) is None
    assert path.read_text() == "made"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_process_that_ends_without_making_it_leaves_the_turn_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    process, sleep = holder(path, "die"), time.sleep

    def meanwhile(seconds: float) -> None:
        monkeypatch.setattr("coregstack.kernels.turns.time.sleep", sleep)
        told_to_go_on(process)

    monkeypatch.setattr("coregstack.kernels.turns.time.sleep", meanwhile)
    turn = take_turn(path, path.exists)
    assert turn is not None
    turn.end()
    assert not path.exists()


def test_who_has_waited_long_enough_makes_it_as_well(tmp_path: Path) -> None:
    path = tmp_path / "file"
    process = holder(path, "make")
    turn = take_turn(path, path.exists, patience=0.0)
    assert turn is not None
    turn.end()
    told_to_go_on(process)
    assert path.exists()


def test_a_folder_that_cannot_be_written_is_no_reason_to_wait(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    turn = take_turn(tmp_path / "file" / "below", lambda: False)
    assert turn is not None
    turn.end()


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file.lock").symlink_to(tmp_path / "elsewhere")
    turn = take_turn(tmp_path / "file", lambda: False)
    assert turn is not None
    turn.end()
    assert not (tmp_path / "elsewhere").exists()
