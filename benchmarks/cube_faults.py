"""Faults that strike a cube: while it is written, after it was, and where it is not alone.

`faults.py` has them among its kinds. Each strikes the cube of an order's run. Then nothing that is no object of the
cube may have changed; the run has written a whole cube, or names what is wrong with it; and the same command
without the fault brings a cube of the undisturbed values that verifies, or, where the damage cannot be mended,
names it and brings it with `overwrite=True`.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import dask
import fsspec
import numpy as np
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

from coregstack import run_scenes
from coregstack.cube.check import verify_cube
from coregstack.errors import CoregError
from coregstack.testing import sample_stack

Rng = np.random.Generator
NAMES = ("a", "b", "c")
LIMIT_S = 120
"""A run that takes longer hangs."""


class Broken(Exception):
    """A promise that was not kept."""


@dataclass(kw_only=True)
class CubeBench:
    """Three scenes, and the cube that an undisturbed run makes of them."""

    folder: Path
    paths: list[Path] = field(init=False)
    whole: Path = field(init=False)
    output: Path = field(init=False)
    values: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = [self.folder / "scenes" / f"{name}.tif" for name in NAMES]
        self.paths[0].parent.mkdir(parents=True)
        for path, scene in zip(self.paths, sample_stack(3, (96, 112), seed=4, max_shift=1), strict=True):
            scene.drop_vars("clear").rio.to_raster(path)
        self.whole, self.output = self.folder / "whole.zarr", self.folder / "delivered"
        if problems := self.run(self.whole):
            raise Broken(f"an undisturbed run has problems: {problems}")
        self.values = values_of(self.whole)

    def run(self, store: Any, *, overwrite: bool = False) -> tuple[str, ...]:
        """Run the scenes into a cube; the problems. Items that are delivered already are not done again."""
        with tempfile.TemporaryDirectory(prefix="out-", dir=self.folder) as scratch:
            output = self.output
            if output.exists():
                output = Path(shutil.copytree(output, Path(scratch) / "out"))
            with dask.config.set(scheduler="synchronous"):
                result = run_scenes(self.paths, anchor="a", output=output, zarr=store, overwrite=overwrite)
        return result.problems


def values_of(store: Any) -> dict[str, str]:
    """Digest of the values of every variable of a cube."""
    cube = xr.open_zarr(store, decode_coords="all", mask_and_scale=False)
    found = {}
    for name, variable in cube.variables.items():
        values = variable.values
        data = repr(values.tolist()).encode() if values.dtype.kind in "OUT" else values.tobytes()
        found[str(name)] = hashlib.sha256(data).hexdigest()
    return found


def check_whole(bench: CubeBench, store: Any) -> None:
    """A cube has the values of an undisturbed run, and verifies."""
    if problems := verify_cube(store):
        raise Broken(f"the cube does not verify: {problems[0]}")
    if values_of(store) != bench.values:
        raise Broken("the cube has other values than an undisturbed one")


def heal(bench: CubeBench, store: Any, *, mends: bool = True) -> None:
    """The same command again, without the fault, brings a whole cube; or with overwrite, where it may not."""
    problems = bench.run(store)
    if problems and mends:
        raise Broken(f"the next run has problems: {problems}")
    if problems:
        problems = bench.run(store, overwrite=True)
    if problems:
        raise Broken(f"a run that overwrites has problems: {problems}")
    check_whole(bench, store)


def judge(bench: CubeBench, store: Any, problems: tuple[str, ...]) -> str:
    """Whether a run wrote a whole cube, or says what is wrong."""
    if problems:
        if not all(text.startswith("cube: ") for text in problems):
            raise Broken(f"something else is named: {problems}")
        return "named"
    check_whole(bench, store)
    return "equal"


@contextmanager
def failing_writes(after: int, code: int, *, lasting: bool) -> Iterator[list[int]]:
    """Writing an object to a folder fails after so many."""
    real, calls = LocalStore._set, [0]

    async def failing(self: Any, *given: Any, **options: Any) -> None:
        calls[0] += 1
        if calls[0] == after + 1 or (lasting and calls[0] > after):
            raise OSError(code, os.strerror(code))
        await real(self, *given, **options)

    with patch.object(LocalStore, "_set", failing):
        yield calls


def no_room(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """An object of the cube cannot be written, once or from then on."""
    store = folder / "cube.zarr"
    with failing_writes(10**9, 0, lasting=False) as calls:
        bench.run(store)
    shutil.rmtree(store)
    code = int(rng.choice([errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE]))
    after = int(rng.integers(0, calls[0]))
    with failing_writes(after, code, lasting=bool(rng.integers(0, 2))) as calls:
        problems = bench.run(store)
    if calls[0] <= after:
        raise Broken("the fault was not injected")
    end = judge(bench, store, problems)
    heal(bench, store)
    return end


def run_apart(bench: CubeBench, store: Path) -> None:
    """Run in a process of its own."""
    logging.disable()
    warnings.simplefilter("ignore")
    bench.run(store)


def killed(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """The process is killed after so many objects of the cube are there."""
    store = folder / "cube.zarr"
    count = sum(path.is_file() for path in bench.whole.rglob("*"))
    for _ in range(20):
        wanted = int(rng.integers(1, count))
        process = get_context("forkserver").Process(target=run_apart, args=(bench, store))
        process.start()
        limit = time.monotonic() + LIMIT_S
        while process.is_alive() and sum(path.is_file() for path in store.rglob("*")) < wanted:
            time.sleep(0.0005)
            if time.monotonic() > limit:
                process.kill()
                raise Broken("a run hangs")
        process.kill()
        process.join()
        if process.exitcode == -signal.SIGKILL:
            heal(bench, store)
            return "stopped"
        shutil.rmtree(store)
    raise Broken("the fault was not injected")


def harmed(rng: Rng, path: Path) -> None:
    """A file cut, emptied, removed or, in metadata, made into something else."""
    data = path.read_bytes()
    match int(rng.integers(0, 4 if path.name == "zarr.json" else 3)):
        case 0:
            path.write_bytes(data[: int(rng.integers(0, max(len(data), 1)))])
        case 1:
            path.write_bytes(b"")
        case 2:
            path.unlink()
        case _:
            path.write_bytes(
                [b"{}", b"[1]", b"[" * 10_000, b'{"zarr_format": 3}', rng.bytes(99)][int(rng.integers(0, 5))]
            )


def damaged_chunks(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """Objects of an earlier cube are cut, emptied or gone; the next run finds and mends them."""
    store = Path(shutil.copytree(bench.whole, folder / "cube.zarr"))
    paths = sorted(
        path for path in store.rglob("*") if path.is_file() and "c" in path.relative_to(store).parts
    )
    for path in rng.choice(np.array(paths, object), int(rng.integers(1, 4)), replace=False):
        harmed(rng, path)
    end = judge(bench, store, bench.run(store))
    if end != "equal":
        raise Broken("what was lost is not mended")
    heal(bench, store)
    return end


def damaged_metadata(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """Metadata of an earlier cube are cut, emptied, gone or something else."""
    store = Path(shutil.copytree(bench.whole, folder / "cube.zarr"))
    paths = sorted(store.rglob("zarr.json"))
    path = paths[int(rng.integers(0, len(paths)))]
    harmed(rng, path)
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    damage = verify_cube(store)
    problems = refused(lambda: bench.run(store))
    if path.parent.name == "_coregstack":
        # without its mark nothing proves that the cube is ours
        if not problems and damage:
            raise Broken("a cube without its mark was written to")
        if problems and {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} != before:
            raise Broken("a cube without its mark was changed")
        return "stopped"
    if not problems:
        check_whole(bench, store)
        return "equal"
    heal(bench, store, mends=False)
    return "named"


def refused(call: Callable[[], tuple[str, ...]]) -> tuple[str, ...]:
    """The problems of a run, or the error before any work, as one."""
    try:
        return call()
    except CoregError as error:
        return (f"cube: {error}",)


def changed_byte(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """A byte of a chunk of pixels is changed: verify names it."""
    store = Path(shutil.copytree(bench.whole, folder / "cube.zarr"))
    paths = sorted(path for path in (store / "pixels" / "c").rglob("*") if path.is_file())
    path = paths[int(rng.integers(0, len(paths)))]
    data = bytearray(path.read_bytes())
    data[int(rng.integers(0, len(data)))] ^= int(rng.integers(1, 256))
    path.write_bytes(data)
    if not verify_cube(store):
        raise Broken("a changed byte of pixels is not named")
    path.unlink()
    heal(bench, store)
    return "named"


FOREIGN = ("precious.txt", "a/b/c.tif", "zarr.json", ".zgroup", "film.partial", "_coregstack/x", "image/c/0/0/0/0",
           "zarr.0123456789abcdef0123456789abcdef.partial")  # fmt: skip


def foreign_store(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """A store that holds something else, by any name that it can have: it is refused, and nothing of it changes."""
    names = rng.choice(np.array(FOREIGN, object), int(rng.integers(1, 4)), replace=False)
    content = {str(name): rng.bytes(int(rng.integers(1, 99))) for name in names}
    if "zarr.json" in content and rng.random() < 0.5:
        content["zarr.json"] = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    store, held = store_of(int(rng.integers(0, 6)), content, folder)
    for overwrite in (False, True):
        if not refused(lambda: bench.run(store, overwrite=overwrite)):  # noqa: B023
            raise Broken(f"a cube was written over {sorted(content)}")
        if held() != content:
            raise Broken(f"of {sorted(content)} is left {sorted(held())}")
    return "stopped"


def store_of(
    kind: int, content: dict[str, bytes], folder: Path
) -> tuple[Any, Callable[[], dict[str, bytes]]]:
    """A store of some content, by one of the names that there are, and what it holds."""
    name = folder.name
    if kind < 3:
        place = folder / "place"
        for key, data in content.items():
            (place / key).parent.mkdir(parents=True, exist_ok=True)
            (place / key).write_bytes(data)
        return [place, f"file://{place}", f"local://{place}"][kind], lambda: {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file()
        }
    if kind == 3:
        fs = fsspec.filesystem("memory")
        for key, data in content.items():
            fs.pipe_file(f"/{name}/{key}", data)
        url = f"memory://{name}"
        return url, lambda: {
            path.removeprefix(f"/{name}/"): fs.cat_file(path) for path in fs.find(f"/{name}")
        }
    if kind == 4:
        import obstore.store

        objects = obstore.store.MemoryStore()
        for key, data in content.items():
            objects.put(key, data)
        return ObjectStore(objects), lambda: {
            meta["path"]: bytes(objects.get(meta["path"]).bytes())
            for batch in objects.list()
            for meta in batch
        }
    store = MemoryStore()
    for key, data in content.items():
        sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data)))
    return store, lambda: {key: value.to_bytes() for key, value in store._store_dict.items()}


def foreign_beside(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """Files of others in the folders of a cube outlive that it is written, grown, mended and replaced."""
    store = Path(shutil.copytree(bench.whole, folder / "cube.zarr"))
    folders = [store, *(path for path in store.rglob("*") if path.is_dir())]
    mine = {folders[int(rng.integers(0, len(folders)))] / f"mine-{k}.dat": rng.bytes(20) for k in range(5)}
    for path, data in mine.items():
        path.write_bytes(data)
    zarr.open_array(store / "shift_y", mode="r+")[:] = 0
    for overwrite in (False, True):
        if problems := bench.run(store, overwrite=overwrite):
            raise Broken(f"a run has problems: {problems}")
        if {path: path.read_bytes() for path in mine if path.exists()} != mine:
            raise Broken("a file of others is gone")
    for path in mine:
        path.unlink()
    heal(bench, store)
    return "equal"


def two_writers(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """Two processes write one cube at once: one at a time has it, and it is whole once one has ended well."""
    store = folder / "cube.zarr"
    context = get_context("forkserver")
    runs = [context.Process(target=write_apart, args=(bench, store, folder / f"end-{k}")) for k in range(2)]
    for process in runs:
        process.start()
        time.sleep(float(rng.uniform(0, 0.3)))
    for process in runs:
        process.join(LIMIT_S)
        if process.is_alive():
            process.kill()
            raise Broken("a run hangs")
    ends = [(folder / f"end-{k}").read_text() for k in range(2)]
    if bad := [end for end in ends if end and "Another run" not in end]:
        raise Broken(bad[0])
    if all(ends):
        raise Broken("neither run has written the cube")
    check_whole(bench, store)
    heal(bench, store)
    return "named" if any(ends) else "equal"


def write_apart(bench: CubeBench, store: Path, end: Path) -> None:
    """Run in a process of its own, and keep what was wrong."""
    logging.disable()
    warnings.simplefilter("ignore")
    end.write_text(" ".join(refused(lambda: bench.run(store))))


class FailingStore(FsspecStore):
    """A remote store that refuses objects after some."""

    left = 10**9

    async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
        if FailingStore.left <= 0:
            raise PermissionError(errno.EACCES, "Access Denied")
        FailingStore.left -= 1
        await super().set(key, value, byte_range)


def remote_refuses(bench: CubeBench, rng: Rng, folder: Path) -> str:
    """A remote store refuses to take more."""
    store = FailingStore.from_url(f"memory://{folder.name}/cube.zarr")
    FailingStore.left = int(rng.integers(0, 60))
    try:
        problems = bench.run(store)
    finally:
        FailingStore.left = 10**9
    end = judge(bench, store, problems)
    heal(bench, store)
    return end


KINDS: dict[str, tuple[int, Callable[[CubeBench, Rng, Path], str]]] = {
    "cube: no room for an object": (18, no_room),
    "cube: killed process": (8, killed),
    "cube: damaged chunks": (18, damaged_chunks),
    "cube: damaged metadata": (18, damaged_metadata),
    "cube: a changed byte": (12, changed_byte),
    "cube: a store with other content": (18, foreign_store),
    "cube: files of others in it": (6, foreign_beside),
    "cube: two writers": (6, two_writers),
    "cube: a remote store refuses": (10, remote_refuses),
}
"""How many faults of a run over all kinds are of one, and how one is injected."""
