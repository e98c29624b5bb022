"""The command line: one command does the job, its exit code tells how it went, its words what to do."""

from __future__ import annotations

import errno
import io
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from numba import njit

from coregstack import cli
from coregstack.cli.console import ProgressBar, format_table
from coregstack.testing import SampleOrder, sample_stack, write_sample_order


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """An anchor and two shifted scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    stack: xr.DataArray = sample_stack(3, (176, 192), seed=4, max_shift=2.5, cloud_cover=0)
    paths = []
    for name, scene in zip(("anchor", "first", "second"), stack.drop_vars("clear"), strict=True):
        paths.append(str(folder / f"{name}.tif"))
        scene.rio.to_raster(paths[-1])
    return paths


@pytest.fixture(scope="module")
def order(tmp_path_factory: pytest.TempPathFactory) -> SampleOrder:
    return write_sample_order(tmp_path_factory.mktemp("order") / "order", size=224, seed=4)


def align(scenes: list[str], output: Path, *more: str) -> int:
    return cli.main(["align", *scenes, "--anchor", "anchor", "--output", str(output), *more])


# --- delivered


def test_scenes_are_aligned_in_one_command(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(scenes, tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[0].split()[:2] == ["item", "status"]
    assert [line.split()[:2] for line in lines if line.startswith(("anchor", "first", "second"))] == [
        ["anchor", "anchor"],
        ["first", "coregistered"],
        ["second", "coregistered"],
    ]
    assert f"3 items: 1 anchor, 2 coregistered. Written to {tmp_path / 'out'}" in printed.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"anchor_anchor.tif", "first_coreg.tif", "second_coreg.tif", "coregistration.csv"} <= names
    assert align(scenes, tmp_path / "out", "--quiet") == 0
    assert "why" not in capsys.readouterr().out


def test_json_is_all_that_is_printed(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = align(scenes, tmp_path / "out", "--json", "--workers", "1", "--resampling", "none", "--band", "-2")
    assert code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["anchor"] == "anchor"
    assert [item["status"] for item in told["items"]] == ["anchor", "coregistered", "coregistered"]
    assert told["items"][0]["shift_x"] is None
    assert isinstance(told["items"][1]["shift_x"], float)
    assert told["problems"] == []


def test_options_reach_the_run(scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--threshold", "0.01", "--zarr", str(tmp_path / "cube.zarr"), "--cog", "--max-shift", "5"]
    assert align(scenes, tmp_path / "out", "--json", *options) == 0
    told = json.loads(capsys.readouterr().out)
    assert {item["status"] for item in told["items"][1:]} == {"already_aligned"}
    assert (tmp_path / "cube.zarr").is_dir()


def test_an_order_is_run_in_one_command(
    order: SampleOrder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["order", str(order.payload), "--input", str(order.folder), "--output", str(tmp_path / "out")]
    assert cli.main([*call, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {item["item"] for item in told["items"]} == set(order.truth)
    assert (tmp_path / "out" / "manifest.json").is_file()


def test_a_running_cluster_is_used(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, protocol="tcp", dashboard_address=":0"
    ) as cluster:
        assert align(scenes, tmp_path / "far", "--scheduler", cluster.scheduler_address, "--no-report") == 0
    assert align(scenes, tmp_path / "near", "--no-report") == 0
    for name in ("first_coreg.tif", "second_coreg.tif", "coregistration.csv"):
        assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "near" / name).read_bytes()


def test_the_demo_recovers_the_truth(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "coregstack.cli.commands.write_sample_order", partial(write_sample_order, size=224, seed=4)
    )
    assert cli.main(["demo", str(tmp_path / "demo"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["items"]) == 8
    assert cli.main(["demo", str(tmp_path / "again")]) == 0
    printed = capsys.readouterr().out
    assert "Recovered against true shifts, px:" in printed
    assert "cannot be known" in printed
    # its own folder serves again; one that holds something else is not written over
    assert cli.main(["demo", str(tmp_path / "again")]) == 0
    assert "Using a sample order" in capsys.readouterr().out
    (tmp_path / "again" / "order" / "mine.txt").write_text("mine")
    assert cli.main(["demo", str(tmp_path / "again")]) == 2
    assert (tmp_path / "again" / "order" / "mine.txt").read_text() == "mine"


def test_the_best_anchor_is_named_alone_on_request(
    scenes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["anchors", *scenes]) == 0
    table = capsys.readouterr().out.splitlines()
    assert cli.main(["anchors", *scenes, "--quiet"]) == 0
    assert capsys.readouterr().out.split() == [table[1].split()[0]]


# --- refused


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--anchor", "nobody"], "No item has the id or time 'nobody'"),
        (["--band", "swir"], "There is no band 'swir'"),
        (["--band", "9"], "There is no band 9"),
        (["--threshold", "3"], "threshold has to lie between 0 and 1"),
        (["--max-shift", "-1"], "max_shift has to be a positive number"),
        (["--workers", "0"], "workers"),
        (["--output", "SCENES"], "inputs are never written to"),
        (["--output", ""], "a name was expected, but it is empty"),
        (["--zarr", "carrier-pigeon://cube.zarr"], "cannot be opened as a Zarr store: Protocol not known"),
    ],
)
def test_a_wrong_request_is_told_and_writes_nothing(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], words: str
) -> None:
    folder = Path(scenes[0]).parent
    before = sorted(folder.iterdir())
    change = [str(folder) if part == "SCENES" else part for part in change]
    try:
        code: Any = align(scenes, tmp_path / "out", *change)
    except SystemExit as left:
        code = left.code
    assert code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert not (tmp_path / "out").exists()
    assert sorted(folder.iterdir()) == before


def test_a_cube_that_cannot_be_is_refused_before_any_work(
    scenes: list[str], order: SampleOrder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").touch()
    assert align(scenes, tmp_path / "out", "--zarr", str(taken)) == 2
    call = ["order", str(order.payload), "--input", str(order.folder), "--output", str(tmp_path / "out")]
    assert cli.main([*call, "--zarr", str(taken)]) == 2
    assert capsys.readouterr().err.count("is no Zarr store. Choose a path that is free.") == 2
    assert not (tmp_path / "out").exists()


def test_a_cube_that_fails_in_the_end_is_a_problem_of_what_was_delivered(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("coregstack.run.request.write_cube", full)
    assert align(scenes, tmp_path / "out", "--zarr", str(tmp_path / "cube.zarr")) == 3
    printed = capsys.readouterr()
    assert "problem: cube: " in printed.err
    assert "3 items: 1 anchor, 2 coregistered" in printed.out


def test_an_output_inside_the_input_is_refused(
    order: SampleOrder, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = order.folder / "out"
    code = cli.main(["order", str(order.payload), "--input", str(order.folder), "--output", str(inside)])
    assert code == 2
    assert "overlap; inputs are never written to" in capsys.readouterr().err
    assert not inside.exists()


def test_errors_have_the_shape_of_the_api_on_request(
    scenes: list[str], order: SampleOrder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(scenes, tmp_path / "out", "--anchor", "nobody", "--json") == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    told = json.loads(printed.out)
    assert set(told) == {"field", "general"}
    assert told["general"][0]["message"].startswith("No item has the id or time 'nobody'")
    payload = json.loads(order.payload.read_text())
    payload["tools"] = [{"coregister": {"anchor_item": "20200101_000000_ffff"}}]
    wrong = tmp_path / "payload.json"
    wrong.write_text(json.dumps(payload))
    call = ["order", str(wrong), "--input", str(order.folder), "--output", str(tmp_path / "out"), "--json"]
    assert cli.main(call) == 2
    told = json.loads(capsys.readouterr().out)
    assert "20200101_000000_ffff" in json.dumps(told)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [[], ["align"], ["align", "a.tif", "--anchor", "a"], ["order", "p.json"], ["polish"]]
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("usage: coregstack")


# --- delivered with problems


def test_a_scene_that_cannot_be_read_is_named_and_the_exit_code_is_3(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_text("no raster")
    assert align([*scenes, str(bad)], tmp_path / "out") == 3
    printed = capsys.readouterr()
    assert "problem: bad:" in printed.err
    assert (tmp_path / "out" / "first_coreg.tif").is_file()
    assert (tmp_path / "out" / "bad.tif").read_text() == "no raster"
    assert align([*scenes, str(bad)], tmp_path / "out", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert len(told["problems"]) == 1


def test_an_item_that_cannot_be_matched_is_no_problem(
    scenes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(scenes, tmp_path / "out", "--min-improvement", "1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {item["status"] for item in told["items"][1:]} == {"no_improvement"}


# --- what a user sees


@pytest.mark.parametrize("command", ["order", "align", "demo"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert f"Example: coregstack {command}" in " ".join(text.split())
    if command != "demo":
        for option in (
            "--output",
            "--zarr",
            "--scheduler",
            "--workers",
            "--threshold",
            "--max-shift",
            "--band",
        ):
            assert option in text


def test_the_program_runs_as_a_module_and_tells_its_exit_codes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "coregstack", "--help"], capture_output=True, text=True, check=True
    )
    text = " ".join(done.stdout.split())
    assert "0 delivered; 2 the request is wrong, nothing was written; 3 delivered, but some files" in text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_alone() -> None:
    shown, silent = Terminal(), io.StringIO()
    for stream in (shown, silent):
        bar = ProgressBar(stream)
        for done in range(4):
            bar(done, 3)
    assert silent.getvalue() == ""
    assert "1/3 items" in shown.getvalue()
    assert "left" in shown.getvalue()
    assert shown.getvalue().rstrip(" ").endswith("\n")


def test_the_time_left_knows_nothing_of_what_was_done_before_or_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("coregstack.cli.console.time.monotonic", lambda: now[0])
    bar = ProgressBar(Terminal())
    bar(10, 20)
    bar.note_compiling()
    now[0] = 100
    assert bar.text() == "10/20 items, 1m40s, compiling once"
    bar(11, 20)
    assert bar.text() == "11/20 items, 1m40s"
    now[0] = 102
    bar(12, 20)
    assert bar.text() == "12/20 items, 1m42s, 16s left"
    bar.note_compiling()
    assert bar.text() == "12/20 items, 1m42s, compiling once"
    bar(20, 20)
    assert bar.text() == "20/20 items, 1m42s"


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coregstack.cli.console._TOLD", 0.01)
    log = io.StringIO()
    with ProgressBar(log) as bar:
        bar(0, 2)
        until = time.monotonic() + 20
        while not log.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
        bar(2, 2)
    assert log.getvalue().splitlines()[0] == "0/2 items, 0s"
    assert "\r" not in log.getvalue()


def test_tables_fit_the_terminal() -> None:
    lines = [
        ("item", "status", "why"),
        ("S2A_MSIL2A_20200620T101031_N0214_R022_T33UVP", "failed", "word " * 60),
    ]
    for width in (60, 80, 140):
        table = format_table(lines, width, most=2)
        assert max(map(len, table)) <= width
        assert table[-1].endswith("...")
    narrow = format_table(lines, 50)
    assert narrow[2] == lines[1][0]
    assert max(map(len, narrow)) <= 50
    assert "".join(narrow).count("word") == 60


@pytest.mark.parametrize(("stream", "told"), [(Terminal(), 1), (io.StringIO(), 0)])
def test_a_terminal_is_told_once_that_kernels_are_compiled(
    stream: io.StringIO, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_run(*_: object) -> list[str]:
        # two kinds of a kernel, of which nothing is kept
        double = njit(lambda value: 2 * value)
        assert (double(1), double(1.5)) == (2, 3.0)
        return []

    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("coregstack.cli.commands.verify_output", first_run)
    assert cli.main(["verify", "out"]) == 0
    assert stream.getvalue().count("Compiling kernels") == told


def test_a_reader_that_has_read_enough_is_no_error(order: SampleOrder) -> None:
    words = (
        "import os, sys; from coregstack import cli; read, write = os.pipe(); os.close(read); "
        "os.dup2(write, 1); sys.exit(cli.main(sys.argv[1:]))"
    )
    call = [sys.executable, "-c", words, "inspect", str(order.folder)]
    done = subprocess.run(call, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
