"""One run at a time writes to a cube, wherever it lies, and who has it is told."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import dask
import fsspec
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem
from obstore.store import MemoryStore as ObjectMemory
from test_cube import assert_holds, make
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, WrapperStore

import coregstack
from coregstack.cube import claim
from coregstack.cube.claim import Holder, claimed, claims
from coregstack.cube.place import Place, create, place_of, read, remove, write
from coregstack.cube.write import to_zarr
from coregstack.errors import CoregError, OutputConflict
from coregstack.run import new_dates as appending
from coregstack.testing import sample_stack

SIZE = (1, 6, 7)
ABSENT = 2**22 + 7
"""A number that no process of Linux has."""


class Forgetful(MemoryFileSystem):
    """A file system that makes an object whether there is one or not, and keeps that to itself."""

    protocol = "forgetful"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        super().pipe_file(path, value, mode="overwrite")


class Plain(MemoryStore):
    """A store that looks before it writes, as Zarr's own fallback does."""

    set_if_not_exists = Store.set_if_not_exists


fsspec.register_implementation("forgetful", Forgetful, clobber=True)

STORES: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: folder / "cube.zarr",
    "file": lambda folder: f"file://{folder}/cube.zarr",
    "wrapped": lambda folder: WrapperStore(LocalStore(folder / "cube.zarr")),
    "dict": lambda folder: {},
    "zarr": lambda folder: MemoryStore(),
    "fsspec": lambda folder: f"memory://{folder.name}/cube.zarr",
    "obstore": lambda folder: ObjectStore(ObjectMemory()),
}


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place of each kind."""
    return place_of(STORES[request.param](tmp_path))


@pytest.fixture(params=["zarr", "fsspec", "obstore"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place that is no folder."""
    return place_of(STORES[request.param](tmp_path))


def test_a_second_run_is_refused_and_told_whose_the_cube_is(place: Place) -> None:
    to_zarr(make([0], size=SIZE), place)
    with (
        claimed(place),
        pytest.raises(OutputConflict, match=rf"process {os.getpid()} on {socket.gethostname()}"),
    ):
        to_zarr(make([0, 1], size=SIZE), place)
    to_zarr(make([0, 1], size=SIZE), place)
    assert claims(place) == {}


def looks_first(place: Place) -> bool:
    """Whether it is fsspec's memory, in which another may come between the look and the write."""
    return isinstance(place.store, FsspecStore)


def test_of_many_at_once_one_alone_has_the_cube(place: Place) -> None:
    if looks_first(place):
        pytest.skip("fsspec's memory looks before it writes")
    start, inside, most = threading.Barrier(8), [0], [0]
    lock = threading.Lock()

    def run(_: int) -> bool:
        start.wait()
        try:
            with claimed(place):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                threading.Event().wait(0.02)
                with lock:
                    inside[0] -= 1
        except OutputConflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            list(pool.map(run, range(8)))
    assert most[0] == 1
    with claimed(place):
        pass


def held(process: int, host: str = socket.gethostname(), space: str | None = None) -> bytes:
    """The claim of a run that has left it."""
    return json.dumps(
        {"mark": "m", "process": process, "host": host, "space": claim._space() if space is None else space,
         "since": "2026-01-02T03:04:05+00:00"}
    ).encode()  # fmt: skip


def test_the_claim_of_a_process_that_is_gone_is_taken_over(remote: Place) -> None:
    write(remote, remote.key("_coregstack", "lock.3"), held(ABSENT))
    with claimed(remote):
        assert list(claims(remote)) == [4]
    assert claims(remote) == {}


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (held(ABSENT, "elsewhere", "elsewhere"), "process 4194311 on elsewhere, since 2026-01-02"),
        (held(ABSENT, space="another container"), "process 4194311"),
        (held(1), "process 1"),
        (b"", "it is not known which"),
        (b"[[[", "it is not known which"),
        (b'{"mark": 1}', "it is not known which"),
        (b"\xff" * 999, "it is not known which"),
    ],
)
def test_any_other_claim_is_not_taken_and_the_error_says_whose_it_is(
    left: bytes, words: str, remote: Place
) -> None:
    key = remote.key("_coregstack", "lock.1")
    write(remote, key, left)
    with pytest.raises(OutputConflict, match=words) as caught:
        to_zarr(make([0], size=SIZE), remote)
    assert f"remove its claim '{key}'" in str(caught.value)
    assert read(remote, key) == left


def test_of_many_that_find_a_claim_of_a_run_that_is_gone_one_alone_takes_it_over(remote: Place) -> None:
    if looks_first(remote):
        pytest.skip("fsspec's memory looks before it writes")
    write(remote, remote.key("_coregstack", "lock.1"), held(ABSENT))
    start, hold, got, refused = threading.Barrier(6), threading.Event(), [], []

    def run(_: int) -> None:
        start.wait()
        try:
            with claimed(remote):
                got.append(1)
                hold.wait(20)
        except OutputConflict:
            # until all others have looked, or one that comes late finds none
            refused.append(1)
            if len(refused) == 5:
                hold.set()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(run, range(6)))
    assert len(got) <= 1


@pytest.fixture
def careless(tmp_path: Path) -> Iterator[Any]:
    """A URL whose file system makes objects over others."""
    Forgetful.store.clear()
    yield f"forgetful://{tmp_path.name}/cube.zarr"
    Forgetful.store.clear()


def test_a_store_that_cannot_make_an_object_only_where_there_is_none_is_told_of(
    careless: str, caplog: pytest.LogCaptureFixture
) -> None:
    for store in (careless, Plain()):
        caplog.clear()
        to_zarr(make([0], size=SIZE), store)
        assert "do not start a second run on it" in caplog.text
        place = place_of(store)
        assert claims(place) == {}
        # what can be known is still refused
        with claimed(place), pytest.raises(OutputConflict, match="has claimed "):
            to_zarr(make([0, 1], size=SIZE), store)


@pytest.mark.parametrize("name", ["zarr", "fsspec", "obstore"])
def test_stores_that_can_are_not_complained_of(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = place_of(STORES[name](tmp_path))
    key = place.key("_coregstack", "lock.1")
    assert [create(place, key, data) for data in (b"1", b"2")] == [True, False]
    assert read(place, key) == b"1"
    remove(place, [key])
    to_zarr(make([0], size=SIZE), place)
    assert caplog.text == ""


@pytest.fixture(scope="module")
def dates() -> xr.DataArray:
    """Four dates with true shifts."""
    return sample_stack(4, (128, 128), seed=8, max_shift=1)


@pytest.mark.parametrize("kind", ["path", "fsspec", "obstore"])
def test_two_appends_at_once_lose_nothing(
    kind: str, dates: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = STORES[kind](tmp_path)
    coregstack.to_zarr(coregstack.align(dates[:2], anchor=0), store)
    real, reached, go = appending.apply, threading.Event(), threading.Event()

    def slow(*arguments: Any, **options: Any) -> Any:
        reached.set()
        go.wait(60)
        return real(*arguments, **options)

    monkeypatch.setattr(appending, "apply", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(appending.append, dates[2:3], store)
        assert reached.wait(60)
        with pytest.raises(OutputConflict, match="Another run"):
            appending.append(dates[3:], store)
        go.set()
        first.result()
    appending.append(dates[3:], store)
    whole = xr.open_zarr(store, decode_coords="all", mask_and_scale=False)
    assert whole.id.values.tolist() == dates.id.values.tolist()
    assert (whole.reflectance.values != 0).any(axis=(1, 2, 3)).all()


def test_two_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    store = tmp_path / "cube.zarr"
    to_zarr(make([0, 1], size=SIZE), store)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom test_cube import make\n"
        "from coregstack.cube.write import to_zarr\nfrom coregstack.errors import OutputConflict\n"
        "print(flush=True)\nsys.stdin.readline()\n"
        "try: to_zarr(make([0, 1, int(sys.argv[3])], size=(1, 6, 7)), sys.argv[2])\n"
        "except OutputConflict: sys.exit(2)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(coregstack.__file__).parents[1])}
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(store)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": env}
    runs = {k: subprocess.Popen([*command, str(k)], **pipes) for k in (2, 3)}
    for run in runs.values():
        assert run.stdout is not None
        run.stdout.readline()
    for run in runs.values():
        assert run.stdin is not None
        run.stdin.write(b"\n")
        run.stdin.flush()
    for run in runs.values():
        run.communicate(timeout=120)
    codes = {k: run.returncode for k, run in runs.items()}
    assert sorted(codes.values()) == [0, 2]
    assert_holds(store, [0, 1, next(k for k in codes if codes[k] == 0)], size=SIZE)


def test_two_anchors_at_once_do_not_mix(place: Place) -> None:
    first = make([0, 1], size=SIZE).assign_attrs(coregstack_anchor="item_0")
    later = to_zarr(first, place, compute=False)
    with pytest.raises(OutputConflict, match="item_0 there, item_1 now"):
        to_zarr(first.assign_attrs(coregstack_anchor="item_1"), place)
    dask.compute(later)
    assert_holds(place.store, [0, 1], size=SIZE)


def test_what_was_to_be_computed_later_stops_once_another_run_has_begun(place: Place) -> None:
    later = to_zarr(make([0, 1], size=SIZE), place, compute=False)
    to_zarr(make([5], size=SIZE), place, overwrite=True)
    with pytest.raises(OutputConflict, match="Another run has begun"):
        dask.compute(later)
    assert_holds(place.store, [5], size=SIZE)


def test_a_claim_is_given_back_after_an_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("coregstack.cube.dates.record_date", full)
        with pytest.raises(CoregError, match="cannot be written"):
            to_zarr(make([0, 1], size=SIZE), place)
    assert claims(place) == {}
    to_zarr(make([0, 1], size=SIZE), place)
    assert_holds(place.store, [0, 1], size=SIZE)


def test_a_claim_tells_who_made_it(remote: Place) -> None:
    with claimed(remote):
        (holder,) = claims(remote).values()
    assert holder == Holder(
        mark=holder.mark,
        process=os.getpid(),
        host=socket.gethostname(),
        space=claim._space(),
        since=holder.since,
    )
