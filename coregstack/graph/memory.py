"""How a worker of a cluster keeps the memory that its tasks need again and again.

dask's nanny starts workers with ``MALLOC_TRIM_THRESHOLD_=65536``, by which glibc gives memory back after each task, and
by which it also takes every array of more than 128 KiB as new memory from the system: pages that are given back and
taken again for each of thousands of arrays, which costs most where scenes are small.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache

VARIABLE = "MALLOC_TRIM_THRESHOLD_"
"""Environment variable by which glibc is told how much free memory it keeps."""

_BY_DASK = "65536"
"""What dask sets it to by itself; another value is somebody's wish."""
_TRIM, _MMAP = -1, -3
"""glibc's numbers of what is set."""
_KEPT, _LARGE = 1 << 26, 1 << 22
"""Bytes that stay with the process while they are free, and of arrays that go back to the system by themselves."""


@cache
def keep_memory() -> None:
    """Let this process keep up to 64 MiB of free memory, and of arrays below 4 MiB, where dask has forbidden it.

    glibc may come to more by itself where nothing is set. It is done once and stays. Nothing is changed where the
    variable is not set, or not to dask's own value, nor without glibc.
    """
    if os.environ.get(VARIABLE) != _BY_DASK:
        return
    # another C library has none of it, or does nothing
    with suppress(AttributeError, OSError, TypeError):
        tell = ctypes.CDLL(None).mallopt
        tell(_TRIM, _KEPT)
        tell(_MMAP, _LARGE)
