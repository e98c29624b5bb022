"""Locks on open files, on this system and as Windows would be asked for them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from coregstack.kernels import turns


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_one_process_at_a_time_and_its_end_frees_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    words = (
        "import os, sys; from coregstack.kernels.turns import lock; "
        "lock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)); print('held', flush=True); sys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", words, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    handle = opened(path)
    with pytest.raises(BlockingIOError):
        turns.lock(handle)
    holder.kill()
    holder.communicate()
    turns.lock(handle)
    os.close(handle)


def test_what_is_unlocked_can_be_locked_by_another(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "file"), opened(tmp_path / "file")
    turns.lock(first)
    with pytest.raises(BlockingIOError):
        turns.lock(second)
    turns.unlock(first)
    turns.lock(second)
    os.close(first)
    os.close(second)


def as_on_windows(monkeypatch: pytest.MonkeyPatch, holders: set[tuple[int, int]]) -> ModuleType:
    """The module as Windows loads it, with locks of a byte range of a file that are kept in `holders`."""

    def locking_of_bytes(descriptor: int, mode: int, count: int) -> None:
        key = os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR)
        if mode == 0:
            holders.discard(key)
        elif key in holders:
            raise PermissionError(13, "Permission denied")
        else:
            holders.add(key)

    monkeypatch.setitem(
        sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=locking_of_bytes)
    )
    monkeypatch.setattr(sys, "platform", "win32")
    spec = importlib.util.spec_from_file_location("turns_on_windows", turns.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_is_asked_for_a_byte_behind_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders: set[tuple[int, int]] = set()
    module = as_on_windows(monkeypatch, holders)
    first, second = opened(tmp_path / "file"), opened(tmp_path / "file")
    os.write(first, b"process 7")
    module.lock(first)
    ((_, place),) = holders
    assert place > 1 << 20
    with pytest.raises(BlockingIOError):
        module.lock(second)
    assert os.read(second, 20) == b"process 7"
    module.unlock(first)
    module.lock(second)
    os.close(first)
    os.close(second)
