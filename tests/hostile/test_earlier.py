"""Runs over the output of earlier runs: nothing that is not theirs is lost, and what is done again is said."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask
import pytest
import recipes
from digests import tree

from coregstack import cli, run_order, run_scenes, to_geotiffs
from coregstack.api import align
from coregstack.errors import InvalidRequest, OutputConflict
from coregstack.export import claim, contents
from coregstack.export.contents import sample_digest
from coregstack.export.deliver import deliver_item
from coregstack.export.files import RunEnded, staged
from coregstack.matching.decision import failure
from coregstack.model import Status
from coregstack.orders.verification import verify_output
from coregstack.run import execute, scenes
from coregstack.run.result import RunResult
from coregstack.testing import sample_stack


@pytest.fixture
def inputs(sound: SimpleNamespace, tmp_path: Path) -> list[Path]:
    """An anchor and two scenes, which a test may change."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, source in (("anchor", "anchor"), ("good", "good"), ("twin", "good")):
        shutil.copy2(sound.folder / f"{source}.tif", folder / f"{name}.tif")
    return [folder / f"{name}.tif" for name in ("anchor", "good", "twin")]


def run(paths: list[Path], output: Path, **options: Any) -> RunResult:
    with dask.config.set(scheduler="synchronous"):
        return run_scenes(paths, output=output, **{"anchor": "anchor"} | options)


def resumed(result: RunResult) -> dict[str, bool]:
    return {report.id: report.resumed for report in result.reports}


def sign(path: Path, state: dict[str, Any]) -> None:
    """Write a note as somebody does who knows how they are signed."""
    state.pop("check", None)
    signature = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps(state | {"check": signature}))


def swap(path: Path, at: int, *, value: bytes | None = None) -> None:
    """Change a byte of a file, or all, and nothing that its size and time tell."""
    before, data = path.stat(), path.read_bytes()
    path.write_bytes(value or data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


# --- notes


@pytest.mark.parametrize("signed", [False, True], ids=["copied", "signed"])
def test_a_note_that_names_files_of_another_item_deletes_none(
    signed: bool, inputs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(inputs, out)
    (out / "mine.txt").write_text("mine")
    before = tree(out)
    notes = out / ".coregstack"
    if signed:
        state = json.loads((notes / "good.json").read_text())
        of_others = [*json.loads((notes / "twin.json").read_text())["files"]]
        of_others += [{**of_others[0], "path": name} for name in ("mine.txt", "coregistration.csv")]
        state["files"] = of_others
        sign(notes / "good.json", state)
    else:
        shutil.copy(notes / "twin.json", notes / "good.json")
    result = run(inputs, out)
    assert resumed(result) == {"anchor": True, "good": False, "twin": True}
    assert not result.problems
    assert {name: digest for name, digest in tree(out).items() if name != "coregistration.csv"} == {
        name: digest for name, digest in before.items() if name != "coregistration.csv"
    }


def test_files_that_an_item_had_under_another_name_are_still_removed(
    inputs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(inputs, out)
    run(inputs, out, min_improvement=1)
    assert (out / "good.tif").is_file()
    assert not (out / "good_coreg.tif").exists()
    run(inputs, out, anchor="good")
    assert (out / "good_anchor.tif").is_file()
    assert not (out / "good.tif").exists()
    assert not (out / "good_coreg_qa_metadata.json").exists()
    assert not (out / "anchor_anchor.tif").exists()


# --- what is done again, and what is left


def test_what_is_done_again_is_said_in_one_line_with_the_reason(
    inputs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"

    def notes(**options: Any) -> list[str]:
        return [note for note in run(inputs, out, **options).notes if note.startswith("Done again")]

    assert notes() == []
    assert notes() == []
    assert notes(anchor="good") == ["Done again: 3 items, since the anchor is another one or has changed."]
    assert notes(anchor="good", max_shift=9.0) == ["Done again: 3 items, since an option has changed."]
    assert notes(anchor="good", max_shift=9.0, resampling="none") == [
        "Done again: 3 items, since the options for writing have changed."
    ]
    os.utime(inputs[2])
    (out / "anchor_coreg.tif").unlink()
    (said,) = notes(anchor="good", max_shift=9.0, resampling="none")
    assert "1 item, since their own inputs have changed" in said
    assert "1 item, since some of their files were removed" in said
    call = ["align", *map(str, inputs), "--anchor", "anchor", "--output", str(out), "--no-report"]
    assert cli.main(call) == 0
    told = capsys.readouterr().out
    assert told.count("note: Done again: 3 items, since the anchor is another one or has changed and ") == 1
    assert cli.main([*call, "--overwrite"]) == 0
    assert "Done again" not in capsys.readouterr().out


def test_files_of_scenes_that_are_no_longer_asked_for_are_named_and_left(
    inputs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(inputs, out)
    assert verify_output(out) == ()
    kept = tree(out)
    result = run(inputs[:2], out)
    left = {"twin_coreg.tif", "twin_coreg_qa_metadata.json"}
    assert [note for note in result.notes if all(name in note for name in left)]
    assert all(tree(out)[name] == kept[name] for name in left)
    assert {problem.path for problem in verify_output(out)} == left
    assert "earlier run" in str(verify_output(out)[0])
    # and they are taken up again
    again = run(inputs, out)
    assert resumed(again)["twin"]
    assert again.notes == ()
    assert verify_output(out) == ()


def test_files_of_an_order_that_are_no_longer_asked_for_are_named_and_left(tmp_path: Path) -> None:
    ids = ["20240101_100000_0e3a", "20240102_100000_0e3a", "20240103_100000_0e3a"]
    source, out = tmp_path / "order", tmp_path / "out"
    source.mkdir()
    for item, shift in zip(ids, ((0.0, 0.0), (1.3, -0.7), (0.4, 0.2)), strict=True):
        recipes.write_tiff(source / f"{item}_3B_AnalyticMS.tif", recipes.pixels(shift))
        (source / f"{item}_3B_AnalyticMS_metadata.xml").write_text("<xml/>")
    with dask.config.set(scheduler="synchronous"):
        run_order(recipes.payload(ids, ids[0]), input=source, output=out)
        result = run_order(recipes.payload(ids[:2], ids[0]), input=source, output=out)
    left = {name for name in tree(out) if name.startswith(ids[2])}
    assert f"{ids[2]}_3B_AnalyticMS_metadata.xml" in left
    assert [note for note in result.notes if all(name in note for name in left)]
    assert {problem.path for problem in verify_output(out)} == left


# --- names


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("coregistration.csv", "the table of the run"),
        ("report.html", "the report of the run"),
        ("manifest.json", "the manifest"),
        ("stac", "the folder of the STAC collection"),
        ("good_coreg_qa_metadata.json", "the sidecar of 'good'"),
        (".coregstack", "the folder of the run's notes"),
    ],
)
def test_a_scene_of_a_name_that_the_run_needs_is_refused_before_work(
    name: str, words: str, inputs: list[Path], tmp_path: Path
) -> None:
    taker = tmp_path / "in" / name
    shutil.copy(inputs[1], taker)
    with pytest.raises(InvalidRequest, match=words):
        run([*inputs[:2], taker], tmp_path / "out")
    assert tree(tmp_path / "out") == {}
    assert taker.read_bytes() == inputs[1].read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "coregistration.csv",
        "report.html",
        "stac/collection.json",
        "coregistration.csv/20240102_100000_0e3a_3B.xml",
    ],
)
def test_an_asset_of_a_name_that_the_run_needs_is_refused_before_work(name: str, tmp_path: Path) -> None:
    ids = ["20240101_100000_0e3a", "20240102_100000_0e3a"]
    source = tmp_path / "order"
    source.mkdir()
    for item in ids:
        recipes.write_tiff(source / f"{item}_3B_AnalyticMS.tif")
    (source / name).parent.mkdir(exist_ok=True)
    (source / name).write_text("mine")
    entry = {"path": name, "annotations": {"planet/item_id": ids[1]}}
    (source / "manifest.json").write_text(json.dumps({"files": [entry]}))
    with pytest.raises(InvalidRequest, match=r"may be written as"):
        run_order(recipes.payload(ids, ids[0]), input=source, output=tmp_path / "out")
    assert tree(tmp_path / "out") == {}


def test_ids_of_a_stack_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    stack = sample_stack(3, (160, 160), cloud_cover=0)
    named = stack.assign_coords(id=("time", ["a", "b", "b_coreg"]))
    with pytest.raises(InvalidRequest, match=r"may both be written as 'b_coreg.tif'"):
        to_geotiffs(align(named, anchor=0), tmp_path / "out")


def test_files_that_no_run_has_written_are_not_replaced(inputs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name in ("good_coreg.tif", "mine.txt"):
        (out / name).write_text("mine")
    for _ in range(2):
        with pytest.raises(OutputConflict, match=r"no run has written.*good_coreg.tif"):
            run(inputs, out)
        assert (out / "good_coreg.tif").read_text() == "mine"
    assert not run(inputs, out, overwrite=True).problems
    assert (out / "good_coreg.tif").read_bytes() != b"mine"
    assert (out / "mine.txt").read_text() == "mine"


def test_files_of_the_name_of_a_new_item_are_not_replaced(inputs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(inputs[:2], out)
    (out / "twin_coreg.tif").write_text("mine")
    before = tree(out)
    with pytest.raises(OutputConflict, match=r"no run has written.*twin_coreg.tif"):
        run(inputs, out)
    assert tree(out) == before
    assert not run(inputs[:2], out).problems
    assert not run(inputs, out, overwrite=True).problems


# --- bytes that size and time do not tell


@pytest.mark.parametrize("which", [0, 1])
def test_another_input_of_the_same_size_and_time_is_noticed(
    which: int, inputs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(inputs, out)
    swap(inputs[which], 0, value=inputs[which].read_bytes()[::-1])
    if which == 0:
        recipes.write_tiff(inputs[0], recipes.pixels((0.0, 0.0)))
        assert not any(resumed(run(inputs, out)).values())
        return
    result = run(inputs, out)
    assert resumed(result) == {"anchor": True, "good": False, "twin": True}
    assert result.reports[1].quality.status is Status.FAILED


@pytest.mark.parametrize("which", ["input", "anchor", "output"])
def test_a_bit_that_has_rotted_is_found_where_digests_are_checked(
    which: str, inputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as of files much larger than what is sampled of them
    monkeypatch.setattr(contents, "_SAMPLES", 3)
    monkeypatch.setattr(contents, "_SAMPLE", 16)
    # an anchor is read as a whole before a run: it has to stay one that can be
    recipes.write_tiff(inputs[0], recipes.pixels((0.0, 0.0)), compress=None)
    out = tmp_path / "out"
    run(inputs, out, check=True)
    assert all(resumed(run(inputs, out, check=True)).values())
    assert all(resumed(run(inputs, out)).values())
    path = {"input": inputs[1], "anchor": inputs[0], "output": out / "good_coreg.tif"}[which]
    swap(path, path.stat().st_size // 2 + 50)
    assert all(resumed(run(inputs, out)).values())
    result = run(inputs, out, check=True)
    expected = dict.fromkeys(("anchor", "good", "twin"), which != "anchor") | {"good": False}
    assert resumed(result) == expected
    assert "digest" in result.notes[0]


def test_digests_that_were_not_noted_are_not_taken_as_equal(inputs: list[Path], tmp_path: Path) -> None:
    run(inputs, tmp_path / "out")
    result = run(inputs, tmp_path / "out", check=True)
    assert not any(resumed(result).values())
    assert result.notes == ("Done again: 3 items, since their digests were not recorded.",)
    call = ["align", *map(str, inputs), "--anchor", "anchor", "--output", str(tmp_path / "out")]
    assert cli.main([*call, "--no-report", "--check"]) == 0
    assert all(resumed(run(inputs, tmp_path / "out", check=True)).values())


def test_samples_lie_all_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_SAMPLE", 10)
    path = tmp_path / "file"
    for size in (0, 1, 10, 159, 160, 1000):
        path.write_bytes(bytes(size))
        whole = sample_digest(str(path))
        told = 0
        for at in range(size):
            path.write_bytes(bytes(at) + b"x" + bytes(size - at - 1))
            told += sample_digest(str(path)) != whole
        assert told == size if size <= 10 else told >= min(size, 150), size
    assert sample_digest(str(tmp_path / "none")) == ""
    os.mkfifo(tmp_path / "pipe")
    assert sample_digest(str(tmp_path / "pipe")) == ""


# --- work for runs that have ended


def test_work_for_a_run_that_has_ended_writes_nothing_and_names_no_disk(
    inputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = []
    real = execute.scene_deliveries

    def keeping(*arguments: Any) -> Any:
        kept.append(arguments[-1])
        return real(*arguments)

    monkeypatch.setattr(execute, "scene_deliveries", keeping)
    out = tmp_path / "out"
    run(inputs, out)
    plans = [scenes.file_plan(path.stem, str(path)) for path in inputs]
    run(inputs, out)
    whole = tree(out)
    caplog.clear()
    caplog.set_level(logging.INFO, "coregstack")
    # a worker that was cut off from its run comes to its end
    report = deliver_item(plans[1], failure("late"), kept[0])
    assert "has ended" in report.problems[0]
    assert tree(out) == whole
    assert all(resumed(run(inputs, out)).values())
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "cannot be written" not in caplog.text


def test_what_the_next_run_clears_away_is_no_fault_of_the_disk(tmp_path: Path) -> None:
    (tmp_path / ".coregstack").mkdir()
    token = claim.claim(tmp_path)
    with claim.under(tmp_path, token):
        with staged(tmp_path / "first") as temporary:
            temporary.write_text("first")
        with pytest.raises(RunEnded):
            superseded(tmp_path / "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".coregstack", "first"]


def superseded(path: Path) -> None:
    """Write a file; meanwhile another run begins, and clears away what is half-written."""
    with staged(path) as temporary:
        temporary.write_text("second")
        claim.claim(path.parent)
        temporary.unlink()


@pytest.mark.parametrize("left", [None, b"", b"junk", b"\xff" * 32])
def test_a_claim_that_cannot_be_read_stops_nobody(left: bytes | None, tmp_path: Path) -> None:
    (tmp_path / ".coregstack").mkdir()
    token = claim.claim(tmp_path)
    path = tmp_path / ".coregstack" / claim.CLAIM
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    with claim.under(tmp_path, token), staged(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"


def test_an_interrupted_run_leaves_nothing_to_tasks_that_go_on(
    inputs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    real = execute.scene_deliveries
    monkeypatch.setattr(
        execute, "scene_deliveries", lambda *a: kept.append(a[-1]) or real(*a)
    )  # fmt: skip

    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run(inputs, out, progress=interrupt)
    before = tree(out)
    plan = scenes.file_plan("twin", str(inputs[2]))
    assert deliver_item(plan, failure("late"), kept[0]).files == ()
    assert tree(out) == before
    assert not run(inputs, out).problems


# --- what is written at the end


@pytest.mark.parametrize("name", ["coregistration.csv", "report.html"])
def test_a_table_or_report_that_cannot_be_written_is_a_problem_of_what_was_delivered(
    name: str, inputs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(inputs, out)
    (out / name).unlink(missing_ok=True)
    (out / name / "in the way").mkdir(parents=True)
    call = ["align", *map(str, inputs), "--anchor", "anchor", "--output", str(out)]
    assert cli.main(call) == 3
    told = capsys.readouterr()
    assert f"problem: {'table' if name.endswith('csv') else 'report'}: " in told.err
    assert ("cannot be written" if name.endswith("csv") else "is no report of coregstack") in told.err
    assert "3 items: 1 anchor, 2 coregistered" in told.out
