"""Whatever is amiss in an output folder is found, and named by its file."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from coregstack import report, run_order, run_scenes
from coregstack.cli import main
from coregstack.errors import MissingFile, UnreadableFile
from coregstack.orders.manifest import describe_file, read_manifest, write_manifest
from coregstack.orders.verification import verify_output
from coregstack.pixels.georeference import translate_georeference
from coregstack.testing import SampleOrder, write_sample_order

MOVED = "PSScene/20220604_094733_61_247a_3B_AnalyticMS_SR_8b_coreg_clip.tif"
SIDECAR = "PSScene/20220604_094733_61_247a_coreg_qa_metadata.json"
ANCHOR = "PSScene/20220612_094512_27_2465_3B_AnalyticMS_SR_8b_anchor_clip.tif"


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verification")
    order = write_sample_order(folder / "order", size=200)
    result = run_order(order.payload, input=order.folder, output=folder / "out")
    assert not result.problems
    return folder / "out"


@pytest.fixture
def output(delivered: Path, tmp_path: Path) -> Path:
    shutil.copytree(delivered, tmp_path / "out")
    return tmp_path / "out"


def listed_anew(output: Path) -> None:
    """Give a manifest the digests of the files as they are now."""
    old = read_manifest(output / "manifest.json")
    there = [entry for entry in old.entries if (output / entry.path).exists()]
    write_manifest(output, [describe_file(output, entry.path, entry.annotations) for entry in there])


def edit(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[str, Callable[[Path], object], bool, str]] = {
    "a flipped bit": (MOVED, flip, False, "sha256"),
    "a file gone": (MOVED, Path.unlink, False, "there is none"),
    "a file that nobody wrote": ("PSScene/more.tif", Path.touch, False, "No run has listed it"),
    "a file half-written": ("PSScene/.a.part", Path.touch, False, "partly written"),
    "a number out of range": (SIDECAR, lambda path: edit(path, matching_score_before=7), True, "maximum"),
    "a status of no kind": (SIDECAR, lambda path: edit(path, status="fine"), True, "fine"),
    "a sidecar of another item": (SIDECAR, lambda path: edit(path, target_item="other"), True, "another item"),
    "a sidecar of other files": (SIDECAR, lambda path: edit(path, output_item=["x.tif"]), True, "x.tif"),
    "a sidecar that is no JSON": (SIDECAR, lambda path: path.write_text("{"), True, "JSON"),
    "a raster off the lattice": (MOVED, lambda path: translate_georeference(path, 3e-6, 0), True, "1e-06 px off"),
    "a raster that breaks off": (MOVED, cut, True, "cannot be read"),
    "an anchor that breaks off": (ANCHOR, cut, True, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found(name: str, output: Path) -> None:
    file, harm, hidden, words = DAMAGE[name]
    harm(output / file)
    if hidden:
        listed_anew(output)
    problems = verify_output(output)
    assert any(problem.path == file and words in problem.message for problem in problems)
    assert {problem.path for problem in problems} <= {file, SIDECAR}


def test_a_whole_output(delivered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_output(delivered) == ()
    assert main(["verify", str(delivered)]) == 0
    assert "no problem found" in capsys.readouterr().out


def test_the_command_tells_by_its_exit_code(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (output / MOVED).unlink()
    assert main(["verify", str(output), "--json"]) == 3
    # by its digest and by its pixels it is missed, and named once
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert MOVED in problem
    assert main(["verify", str(tmp_path / "nothing")]) == 2
    (output / "manifest.json").write_text("[]")
    assert main(["verify", str(output)]) == 2


def test_what_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such folder"):
        verify_output(tmp_path / "nothing")
    with pytest.raises(MissingFile, match="nothing to check"):
        verify_output(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UnreadableFile):
        verify_output(tmp_path)


@pytest.mark.parametrize("resampling", ["nearest", "none"])
def test_scenes_without_manifest_are_known_by_their_notes(
    resampling: str, delivered: Path, tmp_path: Path
) -> None:
    order = delivered.parent / "order" / "PSScene"
    scenes = [
        path
        for path in sorted(order.glob("*_SR_8b_clip.tif"))
        if "_2465_" in path.name or "_247a_" in path.name
    ]
    anchor = next(path for path in scenes if "_2465_" in path.name)
    run_scenes(scenes, anchor=anchor, output=tmp_path, resampling=resampling)
    assert verify_output(tmp_path) == ()
    (moved,) = tmp_path.glob("*_coreg.tif")
    moved.write_bytes(moved.read_bytes() + b"more")
    (problem,) = verify_output(tmp_path)
    assert problem.path == moved.name


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> SampleOrder:
    return write_sample_order(tmp_path_factory.mktemp("reported") / "order", size=200)


def command(order: SampleOrder, output: Path, *more: str) -> list[str]:
    return ["order", str(order.payload), "--input", str(order.folder), "--output", str(output), "-q", *more]


def listed_reports(output: Path) -> list[dict[str, object]]:
    """What the manifest says of the report: an entry, or none."""
    files = json.loads((output / "manifest.json").read_text())["files"]
    return [file for file in files if file["path"] == "report.html"]


def listed_as_it_is(output: Path) -> bool:
    data = (output / "report.html").read_bytes()
    digests = {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    entry = {"path": "report.html", "media_type": "text/html", "size": len(data), "annotations": {}}
    return listed_reports(output) == [entry | {"digests": digests}]


def test_the_report_is_listed_and_checked(order: SampleOrder, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(command(order, output)) == 0
    assert listed_as_it_is(output)
    assert verify_output(output) == ()
    flip(output / "report.html")
    (problem,) = verify_output(output)
    assert (problem.path, "sha256" in problem.message) == ("report.html", True)
    assert main(command(order, output)) == 0, "a resumed run writes it anew"
    assert listed_as_it_is(output)
    assert verify_output(output) == ()


def test_the_report_of_a_run_that_appends_is_listed(order: SampleOrder, tmp_path: Path) -> None:
    cube = str(tmp_path / "cube.zarr")
    assert main(command(order, tmp_path / "first", "--zarr", cube)) == 0
    assert main(command(order, tmp_path / "second", "--zarr", cube, "--append")) == 0
    assert listed_as_it_is(tmp_path / "second")
    assert verify_output(tmp_path / "second") == ()


def test_a_report_that_was_not_wanted_is_not_listed(order: SampleOrder, tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert main(command(order, output, "--no-report")) == 0
    assert listed_reports(output) == []
    assert main(command(order, output)) == 0
    assert main(command(order, output, "--no-report")) == 0
    assert listed_reports(output) == [], "what an earlier run has left is no file of this run"
    assert verify_output(output) == ()


def test_a_report_that_is_made_later_is_listed(output: Path) -> None:
    before = read_manifest(output / "manifest.json").entries
    for path in (None, output / "report.html"):
        report(output, path)
        assert listed_as_it_is(output)
    assert verify_output(output) == ()
    after = read_manifest(output / "manifest.json").entries
    assert [entry for entry in after if entry.path.name != "report.html"] == list(before)
    (output / "manifest.json").write_text("[]")
    with pytest.raises(UnreadableFile, match="list 'files'"):
        report(output)


def test_only_the_report_of_the_run_is_listed(output: Path, order: SampleOrder, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    manifests = output / "manifest.json", Path(shutil.copy(order.folder / "manifest.json", foreign))
    before = [path.read_bytes() for path in manifests]
    for path in (output / "other.html", foreign / "report.html", tmp_path / "report.html"):
        report(output, path)
    assert [path.read_bytes() for path in manifests] == before


def test_the_report_of_an_earlier_order_is_not_delivered(
    output: Path, order: SampleOrder, tmp_path: Path
) -> None:
    report(output)
    run_order(order.payload, input=output, output=tmp_path / "second")
    assert (tmp_path / "second" / "manifest.json").exists()
    assert not (tmp_path / "second" / "report.html").exists()


def listed_collection(output: Path) -> set[str]:
    """Files of the STAC collection that the manifest lists; each is as it says."""
    entries = [
        entry for entry in read_manifest(output / "manifest.json").entries if "stac" in entry.path.parts
    ]
    assert entries == [describe_file(output, entry.path, {}) for entry in entries]
    return {entry.path.name for entry in entries}


@pytest.fixture(scope="module")
def described(order: SampleOrder) -> set[str]:
    """Files that describe the order as a STAC collection."""
    pytest.importorskip("pystac")
    return {"collection.json", *(f"{item}.json" for item in order.truth)}


def test_the_collection_is_listed_and_checked(
    order: SampleOrder, described: set[str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    for more in ([], [], ["--overwrite"], ["--no-report"]):
        assert main(command(order, output, "--stac", *more)) == 0
        assert listed_collection(output) == described
        assert verify_output(output) == ()
    flip(output / "stac" / "collection.json")
    (problem,) = verify_output(output)
    assert (problem.path, "sha256" in problem.message) == ("stac/collection.json", True)
    assert main(command(order, output)) == 0
    assert listed_collection(output) == set(), "what an earlier run has left is no file of this run"
    assert verify_output(output) == ()


def test_a_collection_that_is_made_later_is_listed(
    order: SampleOrder, described: set[str], tmp_path: Path
) -> None:
    result = run_order(order.payload, input=order.folder, output=tmp_path / "out")
    before = read_manifest(tmp_path / "out" / "manifest.json")
    for name in ("first", "second"):
        result.to_stac(name)
        assert listed_collection(tmp_path / "out") == described
    assert verify_output(tmp_path / "out") == ()
    after = read_manifest(tmp_path / "out" / "manifest.json")
    assert [entry for entry in after.entries if "stac" not in entry.path.parts] == list(before.entries)
    assert after.name == before.name
    (tmp_path / "out" / "manifest.json").unlink()
    assert result.to_stac().id == "out"


def test_the_collection_of_an_earlier_order_is_not_delivered(
    order: SampleOrder, described: set[str], tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_order(order.payload, input=order.folder, output=first).to_stac()
    (first / "stac" / "own.txt").write_text("a file of its owner")
    result = run_order(order.payload, input=first, output=second)
    assert [path.name for path in (second / "stac").iterdir()] == ["own.txt"]
    result.to_stac()
    assert listed_collection(second) == described | {"own.txt"}
    assert verify_output(second) == ()
