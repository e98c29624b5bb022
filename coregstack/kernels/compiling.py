"""How kernels are compiled, and how what was compiled is kept for the next process.

numba keeps the variants of a function, one for each set of argument types, in files numbered 1, 2, 3 and an
index of them. Two processes that compile different variants at once both use the number 1, and a third may
then load the wrong one, which returns wrong numbers without an error. Workers start all at once and compile
all at once. So here every variant has a file of its own name, and there is no index. Of processes that need
the same variant, one compiles it and the others wait for its file.

Machine code of several files is joined by the names of functions. numba tells functions of one name apart by a number
that it counts from 1 in every process, so two that were made for different constants could get one name in two
processes, and a third would call the one for the other. So here the number is drawn at random.

What was compiled when the package was built comes with it, and is used where Python, numba and the processor are
the same as there. Where the files lie, and which of them are believed, is in `coregstack.kernels.keeping`.

numba has no public way to give a function another cache, so the private classes of its own cache are extended here.
The tests run with the oldest numba that the package allows and with the newest.
"""
# numba's classes carry no types
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

import hashlib
import os
import pickle
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit
from numba.core import event
from numba.core.bytecode import FunctionIdentity
from numba.core.caching import CompileResultCacheImpl, FunctionCache, IndexDataCacheFile, _CacheLocator

from coregstack.kernels.keeping import ignore_current_folder, kept_in, read_kept, read_packaged, sealed
from coregstack.kernels.turns import Turn, take_turn

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parents[1]
_IMPORTS = re.compile(rf"^\s*from ({_PACKAGE.name}(?:\.\w+)+) import\b", re.MULTILINE)

PACKAGED = Path(__file__).parent / "packaged"
"""Folder of what was compiled when the package was built; it need not be there."""

ignore_current_folder()
# of 62 bits, which fit whatever it is written as; asked of the system, and so different in a fork as well
cast("Any", FunctionIdentity)._unique_ids = iter(partial(secrets.randbits, 62), -1)


def compiled(function: F) -> F:
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
    callable
        numba's dispatcher, typed as `function` is.

    Examples
    --------
    >>> @compiled
    ... def add(first, second):
    ...     return first + second
    >>> add(1, 2)
    3
    """
    # without what other languages would call, which takes time to compile; numba's types know no such option
    dispatcher: Any = cast("Any", njit)(nogil=True, error_model="numpy", no_cfunc_wrapper=True)(function)
    # without a file behind it, or without a folder that can be written, it is compiled in every process
    with suppress(RuntimeError, OSError):
        dispatcher._cache = _Cache(function)
    return cast("F", dispatcher)


@contextmanager
def notify_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Call `tell` each time that this process begins to compile, for what was kept is not compiled.

    Parameters
    ----------
    tell : callable
        Called without arguments, in the thread that compiles.

    Examples
    --------
    >>> @compiled
    ... def double(value):
    ...     return 2 * value
    >>> with notify_compiling(lambda: print("compiling")):
    ...     double(1), double(2)
    compiling
    (2, 4)
    """
    with event.install_listener("numba:compile", _Listener(tell)):
        yield


class _Listener(event.Listener):
    """Calls a function each time that numba begins to compile."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell

    def on_start(self, _: Any) -> None:
        self._tell()

    def on_end(self, _: Any) -> None:
        pass


class _Place(_CacheLocator):
    """Where a function is kept; numba would ask its settings, and so the current folder."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._py_file = function.__code__.co_filename
        self._line = function.__code__.co_firstlineno
        source = Path(self._py_file)
        folder = kept_in(source) if source.is_file() else None
        if folder is None:
            raise RuntimeError(f"what is compiled of {self._py_file} cannot be kept")
        self._folder = folder

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return _source_digest(Path(self._py_file))

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Impl(CompileResultCacheImpl):
    """What numba keeps of a function, in a place that is ours."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Place(function)
        name = f"{Path(function.__code__.co_filename).stem}.{function.__qualname__}"
        self._filename_base = self.get_filename_base(name, getattr(sys, "abiflags", ""))


class _Cache(FunctionCache):
    """What was compiled of one function; a folder that is full or gone costs time, not the result."""

    _impl_class = _Impl

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _source_digest(Path(function.__code__.co_filename))
        self._files = _Files(self._cache_path, self._impl.filename_base, stamp)
        self._cache_file = self._files

    def _save_overload(self, sig: Any, data: Any) -> None:
        try:
            with suppress(OSError):
                super()._save_overload(sig, data)
        finally:
            self._files.end_turn(self._index_key(sig, data.codegen))


class _Files(IndexDataCacheFile):
    """One file for each kind, named by all that it depends on."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._turns: dict[str, Turn] = {}

    def save(self, key: Any, data: Any) -> None:
        self._save_data(self._name(key), data)
        self._remove(keep=self._current)

    def load(self, key: Any) -> Any:
        name = self._name(key)
        path = Path(self._data_path(name))
        found = _loaded(PACKAGED / name, read_packaged)
        if found is None:
            found = _loaded(path)
        if found is not None:
            return found
        turn = take_turn(path, path.exists)
        if turn is None:
            return _loaded(path)
        self._turns[name] = turn
        return None

    def end_turn(self, key: Any) -> None:
        """Let the processes go on that wait for a kind."""
        turn = self._turns.pop(self._name(key), None)
        if turn is not None:
            turn.end()

    def flush(self) -> None:
        self._remove(keep=None)

    def _save_data(self, name: str, data: Any) -> None:
        content = sealed(name, self._dump(data))
        with self._open_for_write(self._data_path(name)) as file:
            if hasattr(os, "fchmod"):
                os.fchmod(file.fileno(), 0o644)
            file.write(content)

    @property
    def _base(self) -> str:
        return self._index_name.removesuffix("nbi")

    @property
    def _current(self) -> str:
        return f"{self._base}{self._source_stamp[:12]}."

    def _name(self, key: Any) -> str:
        kind = hashlib.sha256(repr((self._version, key)).encode()).hexdigest()
        return f"{self._current}{kind[:24]}.nbc"

    def _remove(self, *, keep: str | None) -> None:
        """Remove what was compiled of the function, but for names that begin with `keep`."""
        for path in Path(self._cache_path).glob("*.nbc"):
            if path.name.startswith(self._base) and not (keep and path.name.startswith(keep)):
                with suppress(OSError):
                    path.unlink()


def _loaded(path: Path, read: Callable[[Path], bytes] = read_kept) -> Any:
    try:
        return pickle.loads(read(path))
    except Exception:
        # whatever a file raises that is not there, damaged or another's: its kind is compiled and kept anew
        return None


@cache
def _source_digest(path: Path) -> str:
    """Digest of a file and of all modules of this package that it imports, for what is compiled holds what it calls."""
    files: set[Path] = set()
    waiting = {path}
    while waiting:
        files |= waiting
        waiting = set().union(*(_imported(file) for file in waiting)) - files
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).hexdigest()


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Files of this package that a file imports; found in its text, for parsing all of them costs a start 0.2 s."""
    names = _IMPORTS.findall(path.read_text("utf-8"))
    found = (_PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names)
    return frozenset(file for file in found if file.is_file())
