"""How kernels are compiled, and how what was compiled is kept for the next process.

numba keeps the kinds of a function, one for each set of argument types, in files numbered 1, 2, 3 and an
index of them. Two processes that compile different kinds at once both call theirs 1, and a third may then be
given the one for the other, whose numbers it returns without a word. Workers start all at once and compile
all at once. So here every kind has a file of its own name, and there is no index.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile

_DIGEST = hashlib.sha256().digest_size


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function of arrays and numbers when it is first called, and keep it for other processes.

    It runs without Python's lock, divides by zero as numpy does, and adds in the order that is written: with
    leave to change it (`fastmath`) the compiler would not choose the same order in every process, and workers
    would not agree to the bit.

    Parameters
    ----------
    function : callable
        What numba can compile.

    Returns
    -------
    numba dispatcher

    Examples
    --------
    >>> @compiled
    ... def add(first, second):
    ...     return first + second
    >>> add(1, 2)
    3
    """
    dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
    # without a file behind it, or without a folder that can be written, it is compiled in every process
    with suppress(RuntimeError, OSError):
        dispatcher._cache = _Cache(function)
    return dispatcher


class _Cache(FunctionCache):  # type: ignore[misc]
    """What was compiled of one function; a folder that is full or gone costs time, not the result."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _source_digest(Path(function.__code__.co_filename))
        self._cache_file = _Files(self._cache_path, self._impl.filename_base, stamp)

    def _save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError):
            super()._save_overload(sig, data)


class _Files(IndexDataCacheFile):  # type: ignore[misc]
    """One file for each kind, named by all that it depends on, which holds its own digest."""

    def save(self, key: Any, data: Any) -> None:
        path = self._path_of(key)
        content = self._dump(data)
        with self._open_for_write(str(path)) as file:
            file.write(hashlib.sha256(content).digest() + content)
        for other in path.parent.glob("*.nbc"):
            if other.name.startswith(self._base) and not other.name.startswith(self._current):
                with suppress(OSError):
                    other.unlink()

    def load(self, key: Any) -> Any:
        try:
            content = self._path_of(key).read_bytes()
        except OSError:
            return None
        digest, content = content[:_DIGEST], content[_DIGEST:]
        return pickle.loads(content) if hashlib.sha256(content).digest() == digest else None

    def flush(self) -> None:
        for path in Path(self._cache_path).glob("*.nbc"):
            if path.name.startswith(self._base):
                path.unlink(missing_ok=True)

    @property
    def _base(self) -> str:
        return self._index_name.removesuffix("nbi")

    @property
    def _current(self) -> str:
        return f"{self._base}{self._source_stamp[:12]}."

    def _path_of(self, key: Any) -> Path:
        kind = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
        return Path(self._cache_path, f"{self._current}{kind[:24]}.nbc")


@cache
def _source_digest(path: Path) -> str:
    """Digest of a file and of all kernels, for what is compiled holds what it calls of them as well."""
    files = sorted({path, *Path(__file__).parent.glob("*.py")})
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
