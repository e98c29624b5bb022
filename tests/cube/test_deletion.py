"""Nothing is removed or replaced that the journal of a cube does not prove to be ours."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
import xarray as xr
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from obstore.store import LocalStore as ObjectFolder
from obstore.store import MemoryStore as ObjectMemory
from test_cube import assert_holds, make
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore

from coregstack import report, run_scenes
from coregstack.cube.place import place_of
from coregstack.cube.write import to_zarr
from coregstack.errors import CoregError, InvalidRequest, OutputConflict
from coregstack.testing import sample_stack

SIZE = (2, 9, 11)
KINDS = ["path", "relative", "file", "local", "link", "fsspec", "obstore", "zarr"]


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file of a folder, and the names of its folders, without the lock of a cube."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else ""
        for path in sorted(folder.rglob("*"))
    }


def named(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder of this machine, named or opened in one of the ways that there are."""
    if kind == "relative":
        monkeypatch.chdir(folder.parent)
        return os.path.join(".", "elsewhere", "..", folder.name)
    if kind == "link":
        (folder.parent / "link").symlink_to(folder, target_is_directory=True)
        return folder.parent / "link"
    return {
        "path": lambda: folder,
        "file": lambda: f"file://{folder}",
        "local": lambda: f"local://{folder}",
        "fsspec": lambda: FsspecStore.from_url(f"file://{folder}"),
        "obstore": lambda: ObjectFolder(folder),
        "zarr": lambda: LocalStore(folder),
    }[kind]()


def precious(folder: Path) -> None:
    (folder / "precious.txt").write_text("stay")


def group_beside_files(folder: Path) -> None:
    zarr.open_group(folder, mode="w")
    precious(folder)


def old_group(folder: Path) -> None:
    zarr.open_group(folder, mode="w", zarr_format=2)


def other_data(folder: Path) -> None:
    xr.Dataset({"a": ("n", [1, 2])}).to_zarr(folder, consolidated=False)


def downloads(folder: Path) -> None:
    (folder / "film.partial").write_text("stay")
    (folder / "zarr.0123456789abcdef0123456789abcdef.partial").write_text("stay")


def hidden(folder: Path) -> None:
    (folder / ".git").mkdir()


def below(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    precious(folder / "a" / "b")


def empty_memory(folder: Path) -> None:
    (folder / "_coregstack").mkdir()
    precious(folder / "_coregstack")


FOREIGN = [precious, group_beside_files, old_group, other_data, downloads, hidden, below, empty_memory]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("fill", FOREIGN)
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_no_cube_is_left_alone(
    kind: str, fill: Callable[[Path], None], overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    fill(folder)
    before = tree(folder)
    with pytest.raises(CoregError):
        to_zarr(make([0], size=SIZE), named(kind, folder, monkeypatch), overwrite=overwrite)
    assert tree(folder) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_free_folder_of_any_name_takes_a_cube(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cube.zarr"
    folder.mkdir()
    for _ in range(2):
        to_zarr(make([0, 1], size=SIZE), named(kind, folder, monkeypatch))
        (tmp_path / "link").unlink(missing_ok=True)
        assert_holds(folder, [0, 1], size=SIZE)


def in_memory(name: str) -> tuple[Any, Callable[[str, bytes], None], Callable[[], dict[str, bytes]]]:
    """A store in memory under a prefix, how to put an object beside it, and all that it holds."""
    if name == "fsspec":
        fs = fsspec.filesystem("memory")
        fs.store.clear()
        return (
            "memory://bucket/cube.zarr",
            lambda key, data: fs.pipe_file(f"/bucket/{key}", data),
            lambda: {k.removeprefix("/bucket/"): v.getvalue() for k, v in fs.store.items()},
        )
    if name == "obstore":
        objects = ObjectMemory()
        return (
            zarr.storage.StorePath(ObjectStore(objects), "cube.zarr"),
            lambda key, data: objects.put(key, data),
            lambda: {
                m["path"]: bytes(objects.get(m["path"]).bytes()) for batch in objects.list() for m in batch
            },
        )
    store = MemoryStore()
    return (
        zarr.storage.StorePath(store, "cube.zarr"),
        lambda key, data: sync(store.set(key, default_buffer_prototype().buffer.from_bytes(data))),
        lambda: {key: value.to_bytes() for key, value in store._store_dict.items()},
    )


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["fsspec", "obstore", "zarr"])
def test_other_objects_of_a_store_are_left_alone(name: str, overwrite: bool) -> None:
    for key in (
        "cube.zarr/precious.txt",
        "cube.zarr/a/b/precious",
        "cube.zarr/zarr.json",
        "cube.zarr/_coregstack/x",
    ):
        place, put, held = in_memory(name)
        put(key, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')
        before = held()
        with pytest.raises(CoregError):
            to_zarr(make([0], size=SIZE), place, overwrite=overwrite)
        assert held() == before


@pytest.mark.parametrize("name", ["fsspec", "obstore", "zarr"])
def test_what_lies_beside_and_in_a_cube_outlives_it(name: str) -> None:
    place, put, held = in_memory(name)
    to_zarr(make([0, 1], size=SIZE), place)
    others = {
        "cube.zarr-other/x": b"a",
        "cube.zarrays": b"b",
        "cube.zarr/precious.txt": b"c",
        "cube.zarr/image/notes.txt": b"d",
        "cube.zarr/image/c/0/notes": b"e",
        "cube.zarr/images/c/0/0": b"f",
        "cube.zarr/_coregstack/mine": b"g",
    }
    for key, data in others.items():
        put(key, data)
    to_zarr(make([5], size=(1, 7, 7)), place, overwrite=True)
    assert {key: data for key, data in held().items() if key in others} == others
    assert_holds(_opened(place), [5], size=(1, 7, 7))


def _opened(place: Any) -> Any:
    return zarr.storage.StorePath(place.store, place.path) if hasattr(place, "store") else place


def test_a_cube_with_foreign_files_is_replaced_around_them(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(make([0, 1, 2], size=SIZE), cube)
    keep = [
        "precious.txt",
        "image/notes.txt",
        "image/c/0/film.partial",
        "x/c/data.bin",
        "_coregstack/mine.json",
    ]
    for name in keep:
        (cube / name).write_text(name)
    to_zarr(make([7], size=(1, 5, 6)), cube, overwrite=True)
    assert [(cube / name).read_text() for name in keep] == keep
    assert_holds(cube, [7], size=(1, 5, 6))
    to_zarr(make([7, 8], size=(1, 5, 6)), cube)
    assert [(cube / name).read_text() for name in keep] == keep


def test_a_name_that_something_else_has_is_refused_before_anything_is_removed(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(make([0], size=SIZE), cube)
    (cube / "red").mkdir()
    precious(cube / "red")
    before = tree(cube)
    with pytest.raises(OutputConflict, match="something else named 'red'"):
        to_zarr(make([0], size=SIZE).rename("red"), cube, overwrite=True)
    assert tree(cube) == before


@pytest.mark.parametrize(
    "where", ["image", "image/c", "image/c/0", "_coregstack", "_coregstack/item", "time"]
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_object_goes_through_a_link(where: str, overwrite: bool, tmp_path: Path) -> None:
    cube, outside = tmp_path / "cube.zarr", tmp_path / "outside"
    to_zarr(make([0], size=SIZE), cube)
    (cube / where).rename(outside)
    (cube / where).symlink_to(outside, target_is_directory=True)
    before = tree(outside)
    with pytest.raises(OutputConflict, match="a link in place of its folder"):
        to_zarr(make([0, 1], size=SIZE), cube, overwrite=overwrite)
    assert tree(outside) == before


def test_a_file_is_no_place_for_a_cube(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_text("stay")
    for store in (path, f"file://{path}"):
        with pytest.raises(OutputConflict, match="no Zarr store"):
            to_zarr(make([0], size=SIZE), store, overwrite=True)
    assert path.read_text() == "stay"


def edited(cube: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the mark of a cube."""
    path = cube / "_coregstack" / "zarr.json"
    document = json.loads(path.read_text())
    change(document["attributes"])
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("change", [lambda mark: mark.pop("ready"), lambda mark: mark.update(ready=False)])
def test_a_cube_that_lost_its_mark_of_being_ready_is_an_error(
    change: Callable[[dict[str, Any]], object], tmp_path: Path
) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(make([0, 1, 2], size=SIZE), cube)
    edited(cube, change)
    before = tree(cube)
    with pytest.raises(CoregError, match="not the mark that the cube is ready"):
        to_zarr(make([0], size=SIZE), cube)
    assert tree(cube) == before
    to_zarr(make([0], size=SIZE), cube, overwrite=True)
    assert_holds(cube, [0], size=SIZE)


def test_another_anchor_or_set_of_items_asks_for_overwrite(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    stack = make([0, 1, 2], size=SIZE).assign_attrs(coregstack_anchor="item_0")
    to_zarr(stack, cube)
    before = tree(cube)
    with pytest.raises(OutputConflict, match="anchor: item_0 there, item_1 now"):
        to_zarr(stack.assign_attrs(coregstack_anchor="item_1"), cube)
    for others in ([0, 1], [0], [3, 4, 5, 6], [1, 0, 2]):
        with pytest.raises(OutputConflict, match="overwrite"):
            to_zarr(make(others, size=SIZE).assign_attrs(coregstack_anchor="item_0"), cube)
    assert tree(cube) == before


def test_a_cube_of_which_no_date_is_finished_is_not_replaced_by_another(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(make([0, 1, 2], size=SIZE), cube, compute=False)
    with pytest.raises(OutputConflict, match="Position 0"):
        to_zarr(make([5], size=SIZE), cube)
    with pytest.raises(OutputConflict, match="'nothing' in the stack"):
        to_zarr(make([0, 1], size=SIZE), cube)
    to_zarr(make([0, 1, 2], size=SIZE), cube)
    assert_holds(cube, [0, 1, 2], size=SIZE)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two scenes in a folder of their own."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = [folder / f"{name}.tif" for name in "ab"]
    for path, scene in zip(paths, sample_stack(2, (96, 96), seed=2, max_shift=1), strict=True):
        scene.drop_vars("clear").rio.to_raster(path)
    return paths


@pytest.mark.parametrize("spelling", ["{}", "file://{}", "local://{}", "link"])
@pytest.mark.parametrize(
    ("output", "cube"),
    [("out", "out"), ("out", "out/cube.zarr"), ("cube.zarr/out", "cube.zarr"), ("out", "."), ("out", "scenes"),
     ("out", "scenes/a.tif")],
)  # fmt: skip
def test_places_that_overlap_are_refused_before_any_work(
    output: str, cube: str, spelling: str, scenes: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "scenes"
    folder.mkdir()
    own = [folder / path.name for path in scenes]
    for path, copy in zip(scenes, own, strict=True):
        copy.write_bytes(path.read_bytes())
    store: Any = tmp_path / cube
    if spelling == "link":
        (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
        store = tmp_path / "link" / cube
    before = tree(tmp_path)
    with pytest.raises(OutputConflict):
        run_scenes(
            own, anchor="a", output=tmp_path / output, zarr=store if spelling == "link" else spelling.format(store),
            overwrite=True,
        )  # fmt: skip
    assert tree(tmp_path) == before


def test_a_run_with_another_anchor_or_fewer_items_is_refused_before_any_work(
    scenes: list[Path], tmp_path: Path
) -> None:
    cube = tmp_path / "cube.zarr"
    run_scenes(scenes, anchor="a", output=tmp_path / "out", zarr=cube)
    before = tree(cube)
    with pytest.raises(OutputConflict, match="a cube of the anchor 'a'"):
        run_scenes(scenes, anchor="b", output=tmp_path / "other", zarr=cube)
    with pytest.raises(OutputConflict, match="with b, not of this run"):
        run_scenes(scenes[:1], anchor="a", output=tmp_path / "other", zarr=cube)
    assert tree(cube) == before
    assert not (tmp_path / "other").exists()
    result = run_scenes(scenes, anchor="b", output=tmp_path / "other", zarr=cube, overwrite=True)
    assert not result.problems


def test_an_output_folder_in_a_zarr_store_is_refused(scenes: list[Path], tmp_path: Path) -> None:
    to_zarr(make([0], size=SIZE), tmp_path / "cube.zarr")
    before = tree(tmp_path)
    for name in ("cube.zarr", "cube.zarr/image", "cube.zarr/new/deep"):
        with pytest.raises(OutputConflict, match="lies in the Zarr store"):
            run_scenes(scenes, anchor="a", output=tmp_path / name)
    assert tree(tmp_path) == before


def test_a_report_replaces_nothing_but_a_report(scenes: list[Path], tmp_path: Path) -> None:
    run_scenes(scenes, anchor="a", output=tmp_path / "out")
    mine = tmp_path / "mine.html"
    mine.write_text("<html>stay</html>")
    for path in (mine, scenes[0], tmp_path):
        before = tree(path.parent)
        with pytest.raises(OutputConflict, match="is no report"):
            report(tmp_path / "out", path)
        assert tree(path.parent) == before
    for _ in range(2):
        assert report(tmp_path / "out", tmp_path / "report.html").is_file()
    to_zarr(make([0], size=SIZE), tmp_path / "cube.zarr")
    with pytest.raises(OutputConflict, match="lies in the Zarr store"):
        report(tmp_path / "out", tmp_path / "cube.zarr" / "report.html")


@pytest.mark.parametrize(
    "name",
    ["", "file:{}", "local:{}", "memory:/a", "s3:/bucket/cube.zarr", "file://localhost{}", "file://",
     "local://", "zip://a.zip", "reference://", "nothing://a", "ftp://127.0.0.1:9/x"],
)  # fmt: skip
def test_names_that_are_neither_a_path_nor_an_address_make_no_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest):
        to_zarr(make([0], size=SIZE), name.format(tmp_path / "cube.zarr"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["simplecache::file://", "blockcache::file://", "a folder of a file system"])
def test_a_folder_behind_another_file_system_is_that_folder(kind: str, tmp_path: Path) -> None:
    store: Any = f"{kind}{tmp_path}/cube.zarr"
    if "folder" in kind:
        inner = DirFileSystem(str(tmp_path), LocalFileSystem())
        store = FsspecStore(fs=AsyncFileSystemWrapper(inner, asynchronous=True), path="cube.zarr")
    assert place_of(store).local == tmp_path / "cube.zarr"


def test_a_folder_of_obstore_without_its_whole_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InvalidRequest, match="whole path"):
        to_zarr(make([0], size=SIZE), ObjectFolder("folder"))


@pytest.mark.parametrize("output", ["file:///out", "s3:/bucket/out", Path("file:///out")])
def test_an_address_is_no_output_folder(
    output: Any, scenes: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match="an address was given"):
        run_scenes(scenes, anchor="a", output=output)
    assert list(tmp_path.iterdir()) == []
