"""Whatever lies where the lock of an output folder has to lie: a run says so, or goes on."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coregstack.errors import CoregError, OutputConflict
from coregstack.export import lock
from coregstack.export.files import WriteError
from coregstack.export.lock import locked


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock of `tmp_path` lies."""
    (tmp_path / ".coregstack").mkdir()
    return tmp_path / ".coregstack" / "lock"


@pytest.mark.parametrize(
    "left",
    [b"", b"process 1 on another-host", b"process 999999999 on " + socket.gethostname().encode(),
     b"\xff\xfe\0" * 500, b"x" * 10_000],
    ids=["empty", "another host", "a dead process", "garbage", "long"],
)  # fmt: skip
def test_what_an_earlier_run_has_left_does_not_stand_in_the_way(
    left: bytes, path: Path, tmp_path: Path
) -> None:
    path.write_bytes(left)
    with locked(tmp_path):
        assert path.read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert path.read_bytes() == b""


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_what_is_no_file_is_named(make: Callable[[Path], None], path: Path, tmp_path: Path) -> None:
    make(path)
    with pytest.raises(WriteError, match="lock' cannot be written"), locked(tmp_path):
        pass


def test_a_link_is_not_written_through(path: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    path.symlink_to(mine)
    with pytest.raises(WriteError, match="lock' cannot be written"), locked(tmp_path):
        pass
    assert mine.read_text() == "mine"


def test_a_file_where_the_folder_of_notes_has_to_be(tmp_path: Path) -> None:
    (tmp_path / ".coregstack").write_text("mine")
    with pytest.raises(WriteError, match="lock' cannot be written"), locked(tmp_path):
        pass


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_a_folder_that_cannot_be_written(
    code: int, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock.os, "open", failing(code))
    with pytest.raises(CoregError, match=os.strerror(code)), locked(tmp_path):
        pass


@pytest.mark.parametrize("call", ["write", "ftruncate"])
def test_a_full_disk_does_not_undo_the_lock(
    call: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(lock.os, call, failing(errno.ENOSPC))
        with locked(tmp_path), pytest.raises(OutputConflict, match="Another run"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_told_of(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lock, "lock", failing(errno.ENOLCK))
    with locked(tmp_path):
        assert "do not start a second run" in caplog.text


def test_the_holder_is_told_as_text_that_can_be_shown(path: Path, tmp_path: Path) -> None:
    with locked(tmp_path):
        path.write_bytes(b"\x1b[31mred\n" + b"\xff" * 1000)
        with pytest.raises(OutputConflict) as caught, locked(tmp_path):
            pass
    assert "[31mred" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500


def failing(code: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail
