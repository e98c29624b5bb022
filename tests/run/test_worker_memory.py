"""Workers that dask has told to give all memory back at once keep some of it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from coregstack.graph.memory import VARIABLE, keep_memory

_FAULTS = """
import resource
import numpy as np
from coregstack.graph.memory import keep_memory
keep_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    np.ones(1 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(value: str) -> int:
    """Pages that a process took from the system for fifty arrays of 512 pages, one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS], env=os.environ | {VARIABLE: value}, capture_output=True, check=True,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of another C library")
def test_what_dask_sets_by_itself_is_changed_and_what_a_user_sets_is_not() -> None:
    assert faults("65536") < 2_000
    assert faults("65537") > 20_000


def test_it_does_nothing_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: pytest.fail("the allocator was changed"))
    for value in (None, "1000000"):
        monkeypatch.delenv(VARIABLE, raising=False) if value is None else monkeypatch.setenv(VARIABLE, value)
        keep_memory.cache_clear()
        keep_memory()
