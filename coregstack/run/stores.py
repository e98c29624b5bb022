"""Outputs in an object store: a run writes to a folder of this machine, from which each item is put once it is done.

The folder stands for what the store holds: notes are fetched, and any other object is an empty file of its size.
So a run knows what an earlier one has done from one listing, and fetches no pixel of it.
"""

from __future__ import annotations

import functools
import inspect
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec

from zarr.storage import ObjectStore

from coregstack.cube.claim import claimed
from coregstack.cube.place import Place
from coregstack.cube.template import JOURNAL
from coregstack.errors import CoregError, InvalidRequest
from coregstack.export.claim import CLAIM
from coregstack.export.evidence import evidence_path
from coregstack.export.files import STATE, is_half_written
from coregstack.export.lock import LOCK
from coregstack.export.notes import read_note
from coregstack.export.objects import check_reachable, fetch, put, remove, sizes_below
from coregstack.pixels.remote import require_obstore, store_of
from coregstack.run.result import RunResult
from coregstack.run.scheduler import active_client
from coregstack.untrusted.addresses import OBJECT_STORES, Address, typed
from coregstack.untrusted.folders import walked

P = ParamSpec("P")

_THREADS = 8
_LARGE = 2**20
"""Bytes from which a file that was put makes room on this machine."""
_OWN = frozenset({f"{STATE}/{LOCK}", f"{STATE}/{CLAIM}"})
"""What keeps runs apart on this machine, and is nothing to others."""


def into_stores(write: Callable[P, RunResult]) -> Callable[P, RunResult]:
    """Let a function that writes to the folder `output` write to an object store as well.

    It takes `output` and `progress`, and may take `check`, `vrt` and `dry_run`.
    """
    signature = inspect.signature(write)

    @functools.wraps(write)
    def wrapped(*args: P.args, **options: P.kwargs) -> RunResult:
        given = signature.bind(*args, **options)
        address = _store(given.arguments.get("output"))
        if address is None:
            return write(*args, **options)
        for name, why in _REFUSED.items():
            if given.arguments.get(name):
                raise InvalidRequest(
                    f"{name}=True cannot be had in the object store {str(address)!r}: {why}."
                )
        check_reachable(address)
        dry = bool(given.arguments.get("dry_run"))
        # who writes nothing keeps nobody away
        alone = nullcontext() if dry else claimed(_place(address))
        with tempfile.TemporaryDirectory(prefix="coregstack-") as scratch, alone:
            folder = Path(scratch, "output")
            _check_shared(folder.parent)
            upload = _Upload(folder=folder, address=address)
            upload.begin()
            given.arguments["output"] = folder
            given.arguments["progress"] = upload.counting(given.arguments.get("progress"))
            try:
                result = write(*given.args, **given.kwargs)
            except BaseException:
                upload.finish(whole=False)
                raise
            upload.finish(whole=not dry)
        faults = (*result.faults, *upload.faults)
        return replace(result, output=str(address), faults=faults)

    return wrapped


_REFUSED = {
    "check": "digests of what lies there are not compared",
    "vrt": "a VRT names files relative to its own folder",
}
"""Options that make no sense there, and why."""


@dataclass(kw_only=True)
class _Upload:
    """What of a folder is in a store, and what is not yet."""

    folder: Path
    address: Address
    faults: list[str] = field(default_factory=list)
    """What could not be written to the store."""
    there: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of change of each file of the folder that the store holds as it is."""
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def begin(self) -> None:
        """Make the folder as the store is."""
        sizes = sizes_below(self.address)
        found = {path: size for path, size in sizes.items() if not path.startswith(f"{JOURNAL}/")}
        (self.folder / STATE).mkdir(parents=True)
        notes = [path for path in found if Path(path).parent.name == STATE and not path.endswith(".evidence")]
        with ThreadPoolExecutor(_THREADS) as pool:
            texts = dict(zip(notes, pool.map(functools.partial(fetch, self.address), notes), strict=True))
        for path, size in found.items():
            file = self.folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if path in texts:
                file.write_bytes(texts[path])
            else:
                _stand_in(file, size)
        self.there = self._files()

    def counting(self, progress: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
        """Progress that has what is done put meanwhile."""

        def told(done: int, of: int) -> None:
            self.pool.submit(self._send, whole=False)
            if progress is not None:
                progress(done, of)

        return told

    def finish(self, *, whole: bool) -> None:
        """Put what is left: of items that are done, and where the run has come to its end, of the run."""
        self.faults.clear()
        last = self.pool.submit(self._send, whole=whole)
        self.pool.shutdown()
        last.result()

    def _send(self, *, whole: bool) -> None:
        """Put what has changed: each item's files, its sidecar, its note; what is of the run only at its end.

        After a fault nothing more is tried until the end, when all that is left is tried once more.
        """
        if self.faults:
            return
        files = self._files()
        changed = {path: state for path, state in files.items() if self.there.get(path) != state}
        try:
            for note in [path for path in changed if _is_note(path)]:
                self._put_item(note, changed)
            if whole:
                for path in sorted(changed, key=lambda path: path.startswith(STATE)):
                    self._put(path, changed[path])
                # names that an item had before, which the run has removed
                remove(self.address, sorted(set(self.there) - set(files)))
        except CoregError as error:
            left = sum(self.there.get(path) != state for path, state in changed.items())
            self.faults.append(
                f"{error} {left} files are not in {self.address}: run again to do what is left."
            )

    def _put_item(self, note: str, changed: dict[str, tuple[int, int]]) -> None:
        """Put the files of an item in the order in which they were written, the sidecar last, then what is noted."""
        files = [file["path"] for file in read_note(self.folder / note)["files"]]
        kept = evidence_path(self.folder, Path(note).stem).relative_to(self.folder).as_posix()
        for path in (*files, kept, note):
            if path in changed:
                self._put(path, changed[path])

    def _put(self, path: str, state: tuple[int, int]) -> None:
        if self.there.get(path) == state:
            return
        file = self.folder / path
        put(self.address, path, file)
        if state[0] > _LARGE:
            _stand_in(file, state[0])
            stat = file.stat()
            # what is looked at from now on
            state = stat.st_size, stat.st_mtime_ns
        self.there[path] = state

    def _files(self) -> dict[str, tuple[int, int]]:
        """Size and time of change of every file of the folder that is complete, and not this machine's own."""
        found = {}
        for entry in walked(self.folder):
            path = Path(entry.path)
            name = path.relative_to(self.folder).as_posix()
            if name in _OWN or is_half_written(path) or entry.is_dir():
                continue
            with suppress(FileNotFoundError):
                stat = path.stat()
                found[name] = stat.st_size, stat.st_mtime_ns
        return found


def _store(output: Any) -> Address | None:
    """The object store that an output is in; None for a folder, and for what the function itself refuses."""
    if not isinstance(output, str) or output.partition("://")[0].lower() not in OBJECT_STORES:
        return None
    address = typed(output)
    assert isinstance(address, Address)
    require_obstore()
    return address


def _place(address: Address) -> Place:
    """The place of an output as runs are kept apart there."""
    store: Any = ObjectStore(store_of(address))
    return Place(store=store, path=address.key.strip("/"), local=None, name=str(address))


def _check_shared(folder: Path) -> None:
    """Refuse workers that do not see the folder in which files are made before they are put."""
    client = active_client()
    if client is None:
        return
    seen = client.run(os.path.isdir, str(folder))
    if not all(seen.values()):
        raise InvalidRequest(
            f"Files are made in {str(folder)!r} before they are put into the object store, but not all workers see "
            "this folder. Set TMPDIR to a folder that this process and the workers share."
        )


def _is_note(path: str) -> bool:
    return path.startswith(f"{STATE}/") and path.endswith(".json")


def _stand_in(file: Path, size: int) -> None:
    """An empty file of a size, older than anything, which takes no room."""
    with file.open("wb") as empty:
        empty.truncate(size)
    os.utime(file, (0, 0))
