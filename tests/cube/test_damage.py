"""What is damaged in a cube is found: named in words with what to do, or mended by the next run."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from test_cube import CALLS, assert_holds, make

import coregstack
from coregstack.cli import main
from coregstack.cube.check import verify_cube
from coregstack.cube.place import DamagedCube
from coregstack.cube.write import to_zarr
from coregstack.errors import CoregError, MissingFile, OutputConflict
from coregstack.testing import sample_stack

SIZE = (2, 9, 11)
DATES = [0, 1, 2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube of three dates; tests copy it."""
    path = tmp_path_factory.mktemp("whole") / "cube.zarr"
    to_zarr(make(DATES, size=SIZE), path)
    assert verify_cube(path) == ()
    return path


@pytest.fixture
def cube(whole: Path, tmp_path: Path) -> Path:
    """A copy of the cube."""
    return Path(shutil.copytree(whole, tmp_path / "cube.zarr"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\0[{" * 40)


def nested(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def other_json(path: Path) -> None:
    path.write_text('{"zarr_format": 3, "node_type": "array", "attributes": []}')


def no_object(path: Path) -> None:
    path.write_text("[1, 2]")


HARM: list[Callable[[Path], None]] = [cut, emptied, garbage, Path.unlink]
OF_METADATA = [*HARM, nested, other_json, no_object]
ARRAYS = ["image", "clear", "time", "id", "x", "y", "band", "spatial_ref", "shift_y", "status", "details",
          "_coregstack/item", "_coregstack/date"]  # fmt: skip
DESCRIBED = ["image", "clear", "time", "x", "spatial_ref", "status"]


def turns(names: list[str], harms: list[Callable[[Path], None]], each: int) -> list[Any]:
    """Some harms for each name, in turn, so that every harm meets several names."""
    pairs = [
        (name, harms[(at * each + more) % len(harms)])
        for at, name in enumerate(names)
        for more in range(each)
    ]
    return [pytest.param(name, harm, id=f"{name}-{harm.__name__}") for name, harm in pairs]


def objects(cube: Path, name: str) -> list[Path]:
    """Files of an array, without its metadata."""
    return sorted(path for path in (cube / name / "c").rglob("*") if path.is_file())


@pytest.mark.parametrize(("name", "harm"), [*turns(ARRAYS[:2], HARM, len(HARM)), *turns(ARRAYS[2:], HARM, 1)])
def test_a_chunk_that_is_missing_or_damaged_is_found_on_resume_and_mended(
    name: str, harm: Callable[[Path], None], cube: Path
) -> None:
    if name in ("image", "clear") and harm is garbage:
        pytest.skip("of another size")
    paths = objects(cube, name)
    if not paths:
        pytest.skip("it has no chunk, since all are fill values")
    harm(paths[len(paths) // 2])
    if name in ("image", "clear"):
        assert verify_cube(cube)
    CALLS.clear()
    to_zarr(make(DATES, size=SIZE), cube)
    if name in ("image", "clear"):
        assert {date for kind, date in CALLS if kind == "pixels"} == {1}
    assert_holds(cube, DATES, size=SIZE)
    assert verify_cube(cube) == ()


def test_only_the_date_that_lost_an_object_is_written_again(cube: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in objects(cube, "image")}
    objects(cube, "image")[0].unlink()
    to_zarr(make(DATES, size=SIZE), cube)
    after = {path: path.stat().st_mtime_ns for path in objects(cube, "image")}
    assert [path for path in before if before[path] != after[path]] == [objects(cube, "image")[0]]


def test_an_object_where_a_date_has_only_nodata_is_found(tmp_path: Path) -> None:
    stack = make([0, 1], size=SIZE, lazy=False)
    stack[0] = 0
    to_zarr(stack, tmp_path / "c.zarr")
    assert len(objects(tmp_path / "c.zarr", "image")) == 1
    here = objects(tmp_path / "c.zarr", "image")[0]
    foreign = tmp_path / "c.zarr/image/c/0/0/0/0"
    foreign.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(here, foreign)
    assert any("Missing, cut or foreign" in str(problem) for problem in verify_cube(tmp_path / "c.zarr"))
    to_zarr(stack, tmp_path / "c.zarr")
    assert verify_cube(tmp_path / "c.zarr") == ()
    assert not xr.open_zarr(tmp_path / "c.zarr", mask_and_scale=False).image[0].any()


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("name", ["image", "clear"])
def test_a_changed_byte_of_a_chunk_is_named_by_verify(name: str, at: float, cube: Path) -> None:
    flip(objects(cube, name)[1], at)
    problems = verify_cube(cube)
    assert [problem.path for problem in problems] == [f"{name}, item_1 2024-01-02T10:30:15.500000000"]


@pytest.mark.parametrize(("name", "harm"), turns(DESCRIBED, OF_METADATA, 2))
def test_damaged_metadata_are_told_with_what_to_do(
    name: str, harm: Callable[[Path], None], cube: Path
) -> None:
    harm(cube / name / "zarr.json")
    before = sorted(cube.rglob("*"))
    for call in (
        lambda: to_zarr(make(DATES, size=SIZE), cube),
        lambda: to_zarr(make([0, 1, 2, 3], size=SIZE), cube),
        lambda: coregstack.append(make([3], size=SIZE), cube),
    ):
        with pytest.raises(DamagedCube, match=rf"{name}/zarr.json.*overwrite=True"):
            call()
    assert sorted(cube.rglob("*")) == before
    assert any(name in str(problem) for problem in verify_cube(cube))
    to_zarr(make(DATES, size=SIZE), cube, overwrite=True)
    assert_holds(cube, DATES, size=SIZE)
    assert verify_cube(cube) == ()


@pytest.mark.parametrize("harm", OF_METADATA)
def test_a_damaged_mark_is_told_and_nothing_is_replaced(harm: Callable[[Path], None], cube: Path) -> None:
    harm(cube / "_coregstack" / "zarr.json")
    before = {path: path.read_bytes() for path in cube.rglob("*") if path.is_file()}
    for overwrite in (False, True):
        with pytest.raises(DamagedCube, match="may not be replaced"):
            to_zarr(make(DATES, size=SIZE), cube, overwrite=overwrite)
    assert len(verify_cube(cube)) == 1
    after = {path: path.read_bytes() for path in cube.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("harm", OF_METADATA)
def test_a_damaged_group_is_named_and_mended_by_the_next_run(
    harm: Callable[[Path], None], cube: Path, whole: Path
) -> None:
    harm(cube / "zarr.json")
    assert [problem.path for problem in verify_cube(cube)] == ["zarr.json"]
    with pytest.raises(CoregError, match="repairs them"):
        coregstack.append(make([3], size=SIZE), cube)
    to_zarr(make(DATES, size=SIZE), cube)
    assert verify_cube(cube) == ()
    mended, before = (json.loads((path / "zarr.json").read_text()) for path in (cube, whole))
    assert mended["attributes"] == before["attributes"]
    assert (
        mended["consolidated_metadata"]["metadata"].keys()
        == before["consolidated_metadata"]["metadata"].keys()
    )


@pytest.mark.parametrize(("name", "harm"), turns(["item", "date"], OF_METADATA, 4))
def test_damaged_metadata_of_the_memory_cost_no_more_than_time(
    name: str, harm: Callable[[Path], None], cube: Path
) -> None:
    harm(cube / "_coregstack" / name / "zarr.json")
    assert verify_cube(cube)
    to_zarr(make(DATES, size=SIZE), cube)
    assert_holds(cube, DATES, size=SIZE)
    assert verify_cube(cube) == ()


def test_a_lost_name_does_not_let_a_smaller_stack_in(cube: Path) -> None:
    shutil.rmtree(cube / "_coregstack" / "item" / "c")
    with pytest.raises(OutputConflict, match="'an unknown date'"):
        to_zarr(make([0], size=SIZE), cube)


def test_metadata_of_another_array_are_not_taken(cube: Path, tmp_path: Path) -> None:
    to_zarr(make(DATES, size=(1, 9, 11)), tmp_path / "other.zarr")
    shutil.copy(tmp_path / "other.zarr/image/zarr.json", cube / "image/zarr.json")
    with pytest.raises(DamagedCube, match="not those that were written"):
        to_zarr(make(DATES, size=SIZE), cube)


def changed(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_attributes_that_a_user_adds_are_no_damage(cube: Path) -> None:
    for name in ("image", "time"):
        changed(cube / name / "zarr.json", lambda told: told["attributes"].update(note="mine"))
    CALLS.clear()
    to_zarr(make(DATES, size=SIZE), cube)
    assert not CALLS
    assert verify_cube(cube) == ()


def test_verify_names_what_does_not_fit(cube: Path) -> None:
    (cube / "notes.txt").write_text("mine")
    (cube / "_coregstack" / "mine").write_text("mine")
    named = {problem.path for problem in verify_cube(cube)}
    assert named == {"notes.txt", "_coregstack/mine"}


def test_verify_names_a_value_that_is_not_what_was_found(cube: Path) -> None:
    import zarr

    shift = zarr.open_array(cube / "shift_y", mode="r+")
    shift[1] = 7.0
    (problem,) = verify_cube(cube)
    assert problem.path == "shift_y"
    assert "7.0" in problem.message
    assert "item_1" in problem.message


@pytest.mark.parametrize("name", ["x", "y", "time"])
def test_verify_names_coordinates_that_are_not_of_the_grid_or_the_dates(name: str, cube: Path) -> None:
    import zarr

    array = zarr.open_array(cube / name, mode="r+")
    array[:] = np.asarray(array[:]) + np.asarray(1000, array.dtype)
    assert [problem.path for problem in verify_cube(cube)] == ["coordinates"]


def test_verify_names_dates_that_are_not_finished(cube: Path) -> None:
    to_zarr(make([*DATES, 3, 4], size=SIZE), cube, compute=False)
    named = [str(problem) for problem in verify_cube(cube)]
    assert len([text for text in named if "is not finished" in text]) == 2
    assert any(text.startswith("_coregstack/record") for text in named)


def test_verify_on_the_command_line(cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(cube)]) == 0
    assert "no problem found" in capsys.readouterr().out
    assert main(["verify", f"file://{cube}"]) == 0
    capsys.readouterr()
    objects(cube, "image")[0].unlink()
    assert main(["verify", str(cube), "--json"]) == 3
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "image/c/0/0/0/0" in problem
    (cube / "_coregstack" / "zarr.json").write_text("{")
    assert main(["verify", str(cube)]) == 3
    assert main(["verify", str(tmp_path / "nothing.zarr")]) == 2
    with pytest.raises(MissingFile):
        verify_cube(tmp_path / "nothing.zarr")
    xr.Dataset({"a": ("n", [1])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    assert main(["verify", str(tmp_path / "other.zarr")]) == 2
    assert not (tmp_path / "nothing.zarr").exists()


def test_dates_are_not_appended_to_a_cube_that_has_lost_some(tmp_path: Path) -> None:
    dates = sample_stack(4, (128, 128), seed=8, max_shift=1)
    cube = tmp_path / "cube.zarr"
    coregstack.to_zarr(coregstack.align(dates[:3], anchor=0), cube)
    lost = objects(cube, "reflectance")[0]
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(DamagedCube, match="has lost"):
        coregstack.append(dates[3:], cube)
    lost.write_bytes(data)
    objects(cube, "x")[0].unlink()
    with pytest.raises(CoregError, match=r"wrote the cube again|overwrite"):
        coregstack.append(dates[3:], cube)
    coregstack.to_zarr(coregstack.align(dates[:3], anchor=0), cube)
    objects(cube, "status")[0].unlink()
    coregstack.append(dates[3:], cube)
    assert verify_cube(cube) == ()
    assert set(xr.open_zarr(cube).status.values) <= {"anchor", "coregistered", "already_aligned"}


@pytest.mark.parametrize("store", ["cube.zarr", "./cube.zarr", "file://cube.zarr"])
def test_a_relative_name_means_the_folder_in_which_it_was_said(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    later = to_zarr(make(DATES, size=SIZE), store, compute=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    later.compute()
    assert os.listdir(tmp_path / "elsewhere") == []
    assert_holds(tmp_path / "cube.zarr", DATES, size=SIZE)
    assert verify_cube(tmp_path / "cube.zarr") == ()


def test_workers_that_stand_elsewhere_write_to_the_same_cube(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    options: dict[str, Any] = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    dates = sample_stack(2, (128, 128), seed=8, max_shift=1)
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        assert list(client.run(os.getcwd).values()) == [str(tmp_path / "elsewhere")]
        monkeypatch.chdir(tmp_path / "here")
        coregstack.to_zarr(coregstack.align(dates, anchor=0), "cube.zarr")
    assert os.listdir(tmp_path / "elsewhere") == []
    assert verify_cube("cube.zarr") == ()


CHANGED = {
    "image": {"scale_factor": 7.0, "_FillValue": 3, "grid_mapping": "elsewhere"},
    "time": {"units": "days since 1900-01-01"},
    "spatial_ref": {"crs_wkt": "+proj=utm +zone=33 +nadgrids=/dev/stdin", "spatial_ref": "junk"},
}


def test_attributes_that_change_what_values_mean_are_mended(tmp_path: Path) -> None:
    cube = tmp_path / "cube.zarr"
    to_zarr(make([0, 1]), cube)
    documents = {name: json.loads((cube / name / "zarr.json").read_text()) for name in CHANGED}
    for name, change in CHANGED.items():
        attributes = {**documents[name]["attributes"], **change, "mine": "stays"}
        (cube / name / "zarr.json").write_text(json.dumps({**documents[name], "attributes": attributes}))
    assert verify_cube(cube)
    to_zarr(make([0, 1]), cube)
    assert verify_cube(cube) == ()
    assert_holds(cube, [0, 1])
    for name in CHANGED:
        found = json.loads((cube / name / "zarr.json").read_text())["attributes"]
        # only what says how values are read is ours alone
        assert found.pop("mine", "gone") == ("gone" if name == "spatial_ref" else "stays")
        assert found == documents[name]["attributes"]
