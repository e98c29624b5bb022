"""Links in the output folder lead no file out of it, whichever file it is."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import recipes
from digests import tree
from recipes import payload, write_tiff

import coregstack
from coregstack import report, run_order, run_scenes
from coregstack.errors import CoregError, UnsafePath
from coregstack.export.evidence import keep_evidence, kept_evidence
from coregstack.export.files import STATE, inside
from coregstack.model import Status

IDS = ["20240101_100000_0e3a", "20240102_100000_0e3a"]


@pytest.fixture
def order(tmp_path: Path) -> Path:
    """An order whose second item, and a file of none, lie in folders."""
    folder = tmp_path / "order"
    write = folder / "PSScene" / "deep"
    write.mkdir(parents=True)
    write_tiff(folder / f"{IDS[0]}_3B_AnalyticMS.tif", recipes.pixels((0.0, 0.0)))
    write_tiff(write / f"{IDS[1]}_3B_AnalyticMS.tif")
    (write / "notes.txt").write_text("notes")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of somebody's own, that holds files of the names that a run writes."""
    folder = tmp_path / "mine"
    (folder / "deep").mkdir(parents=True)
    for name in (f"{IDS[1]}_3B_AnalyticMS_coreg.tif", f"{IDS[1]}_coreg_qa_metadata.json", "notes.txt",
                 "collection.json", f"{IDS[1]}.json", f"{IDS[1]}.evidence", "lock",
                 ".0123456789abcdef.part"):  # fmt: skip
        (folder / name).write_text("mine")
        (folder / "deep" / name).write_text("mine")
    return folder


@pytest.mark.parametrize("link", ["PSScene", "PSScene/deep"])
def test_folders_that_are_links_are_named(link: str, order: Path, mine: Path, tmp_path: Path) -> None:
    before, out = tree(mine), tmp_path / "out"
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(mine)
    result = run_order(payload(IDS, IDS[0]), input=order, output=out, overwrite=True)
    assert tree(mine) == before
    assert [report.quality.status for report in result.reports] == [Status.ANCHOR, Status.FAILED]
    assert any("link in the output folder" in problem for problem in result.reports[1].problems)
    assert any("notes.txt" in fault for fault in result.faults)
    (out / link).unlink()
    again = run_order(payload(IDS, IDS[0]), input=order, output=out)
    assert not again.problems
    assert again.reports[1].quality.status is Status.COREGISTERED


def test_a_link_that_stays_inside_is_followed(order: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "real" / "deep").mkdir(parents=True)
    (out / "PSScene").symlink_to("real")
    (tmp_path / "link").symlink_to(out)
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "link")
    assert not [problem for problem in result.problems if "link" in problem]
    assert (out / "real" / "deep" / f"{IDS[1]}_3B_AnalyticMS_coreg.tif").is_file()


def test_the_folder_of_notes(sound: SimpleNamespace, mine: Path, tmp_path: Path) -> None:
    before, out = tree(mine), tmp_path / "out"
    out.mkdir()
    (out / STATE).symlink_to(mine)
    with pytest.raises(UnsafePath, match="link in the output folder"):
        run_scenes([sound.anchor, sound.good], anchor="anchor", output=out)
    assert [path.name for path in out.iterdir()] == [STATE]
    with pytest.raises(UnsafePath):
        keep_evidence(out, IDS[1], None, None)
    assert kept_evidence(out, IDS[1]) is None
    assert tree(mine) == before


def test_files_of_an_earlier_run_are_not_removed_through_a_link(
    order: Path, mine: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_order(payload(IDS, IDS[0]), input=order, output=out)
    (out / "PSScene").rename(tmp_path / "moved")
    (out / "PSScene").symlink_to(mine)
    before = tree(mine)
    # with nothing accepted as aligned, the file of the earlier run would go
    run_order(payload(IDS, IDS[0]), input=order, output=out, min_improvement=0.9)
    assert tree(mine) == before


def test_the_collection(order: Path, mine: Path, tmp_path: Path) -> None:
    pytest.importorskip("pystac")
    result = run_order(payload(IDS, IDS[0]), input=order, output=tmp_path / "out")
    before = tree(mine)
    (tmp_path / "out" / "stac").symlink_to(mine)
    with pytest.raises(CoregError, match="link in the output folder"):
        result.to_stac()
    (tmp_path / "out" / "stac").unlink()
    (tmp_path / "out" / "stac").mkdir()
    for name in ("collection.json", f"{IDS[1]}.json"):
        (tmp_path / "out" / "stac" / name).symlink_to(mine / name)
    result.to_stac()
    assert tree(mine) == before
    assert not (tmp_path / "out" / "stac" / "collection.json").is_symlink()


def test_files_that_are_links_are_replaced(order: Path, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = ["manifest.json", "coregistration.csv", f"{IDS[0]}_3B_AnalyticMS_anchor.tif"]
    for name in names:
        (mine / name).write_text("mine")
        (out / name).symlink_to(mine / name)
    before = tree(mine)
    result = run_order(payload(IDS, IDS[0]), input=order, output=out, overwrite=True)
    report(result)
    assert not result.problems
    assert tree(mine) == before
    assert not any((out / name).is_symlink() for name in names)


def test_stacks_without_files(small_stack: object, mine: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / STATE).symlink_to(mine)
    before = tree(mine)
    with pytest.raises(UnsafePath):
        coregstack.to_geotiffs(coregstack.align(small_stack, anchor=0), out)
    assert tree(mine) == before


def test_what_is_inside(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "up").symlink_to("..")
    (tmp_path / "out" / "gone").symlink_to(tmp_path / "nothing")
    (tmp_path / "out" / "file").symlink_to(tmp_path / "nothing")
    for parts in (("up", "a"), ("gone", "a"), ("up", "out", "..", "a"), ("..", "a")):
        with pytest.raises(UnsafePath):
            inside(tmp_path / "out", *parts)
    assert inside(tmp_path / "out", "file") == tmp_path / "out" / "file"
    assert inside(tmp_path / "out", "up", "out", "a") == tmp_path / "out" / "up" / "out" / "a"
    for other in (tmp_path / "outside" / "a", tmp_path / "a"):
        with pytest.raises(UnsafePath):
            inside(tmp_path / "out", str(other))
    assert inside(tmp_path / "out", str(tmp_path / "out" / "a")) == tmp_path / "out" / "a"
