"""What is shown on a terminal has been made visible: no name of a file writes to it, or forges a line."""

from __future__ import annotations

import ast
import json
import logging
import os
import pickle
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import recipes

import coregstack
from coregstack import run_scenes
from coregstack.cli import commands, main
from coregstack.cli.terminal import LogFormat, say
from coregstack.errors import CoregError, MissingFile, UnreadableFile, UnreadableFiles, one_line
from coregstack.stack.opening import Unusable, unreadable_files

BAD = "x\x1b]0;owned\x07\nproblem: forged\rcoregstack: all is well\u202e\x7f\x9b31m"
FORGED = ("\x1b", "\x07", "\r", "\u202e", "\x7f", "\x9b", "\nproblem: forged", "\ncoregstack: all")


@pytest.fixture(autouse=True)
def quiet_again() -> Iterator[None]:
    """Undo what ``--verbose`` has set for the process."""
    before = logging.getLogger("coregstack").level
    yield
    logging.getLogger("coregstack").setLevel(before)


def seen(capfd: pytest.CaptureFixture[str]) -> str:
    """All that came to the terminal, in which nothing may be forged."""
    out, err = capfd.readouterr()
    text = out + err
    assert not [part for part in FORGED if part in text], text
    return text


@pytest.fixture
def folder(sound: SimpleNamespace, tmp_path: Path) -> Path:
    """Scenes and other files under a name that writes to terminals."""
    where = tmp_path / "in"
    where.mkdir()
    shutil.copy(sound.anchor, where / "anchor.tif")
    shutil.copy(sound.good, where / f"{BAD}.tif")
    (where / f"{BAD}2.tif").write_bytes(b"junk")
    (where / f"{BAD}.txt").write_text("text")
    (where / f"{BAD}link").symlink_to(tmp_path)
    return where


def test_inspect(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(folder)]) == 0
    assert "forged" in seen(capfd)
    assert main(["inspect", str(folder), "--json"]) == 0
    json.loads(seen(capfd))


def test_inspect_of_an_order(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    item = "20240101_100000_0e3a"
    recipes.write_tiff(tmp_path / f"{item}_3B_AnalyticMS.tif")
    for name in (f"{item}_3B_{BAD}.tif", f"{item}_3B_AnalyticMS_{BAD}.tif", f"{BAD}.tif"):
        recipes.write_tiff(tmp_path / name)
    files = [{"path": f"{item}_{BAD}"}, {"path": BAD, "annotations": {"planet/item_id": BAD}}]
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))
    main(["inspect", str(tmp_path)])
    assert "forged" in seen(capfd)


def test_anchors(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--json"], ["--quiet"]):
        main(["anchors", *map(str, folder.glob("*.tif")), *more])
        seen(capfd)


def test_align_and_its_errors(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    scenes = list(map(str, folder.glob("*.tif")))
    for more in ([], ["--verbose"], ["--json"], ["--anchor", BAD], ["--output", str(folder / BAD)]):
        main(["align", *scenes, "--anchor", "anchor", "--output", str(tmp_path / "out"), *more])
        seen(capfd)
    main(["align", *scenes[:1], str(tmp_path / BAD), "--anchor", "anchor", "--output", str(tmp_path / "out")])
    assert "forged" in seen(capfd)


def test_verify(sound: SimpleNamespace, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    shutil.copytree(sound.output, out)
    (out / f"{BAD}.tif").write_bytes(b"junk")
    (out / f"{BAD}.part").write_bytes(b"junk")
    for more in ([], ["--json"]):
        assert main(["verify", str(out), *more]) == 3
        assert "forged" in seen(capfd)
    assert main(["verify", str(tmp_path / BAD)]) == 2
    seen(capfd)


def test_order_and_its_errors(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    payload = recipes.payload(["20240101_100000_0e3a", BAD], BAD, **{BAD: 1})
    (tmp_path / BAD).write_text(json.dumps(payload))
    for path in (tmp_path / BAD, tmp_path / f"{BAD}2"):
        assert main(["order", str(path), "--input", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
        assert "forged" in seen(capfd)


def test_words_of_the_command_line_itself(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in ([BAD], ["verify", "a", BAD], ["align", f"--{BAD}"], ["align", "a", "--workers", BAD]):
        with pytest.raises(SystemExit):
            main(arguments)
        seen(capfd)


def test_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    record = logging.LogRecord("a", logging.INFO, "a", 1, "item %s", (BAD,), None)
    text = LogFormat("%(message)s").format(record)
    assert text == one_line(f"item {BAD}")
    try:
        raise ValueError(BAD)
    except ValueError as error:
        record = logging.LogRecord(
            "a", logging.INFO, "a", 1, BAD, (), (ValueError, error, error.__traceback__)
        )
    text = LogFormat("%(message)s").format(record)
    assert not [part for part in FORGED[:6] if part in text]
    assert "Traceback" in text


@pytest.mark.filterwarnings("default")
def test_warnings_of_libraries(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(commands.COMMANDS, "verify", lambda options: warnings.warn(BAD, stacklevel=1) or 0)
    before = warnings.showwarning
    assert main(["verify", "a"]) == 0
    assert "UserWarning: x\\x1b" in seen(capfd)
    assert warnings.showwarning is before


def test_a_folder_that_the_demo_cannot_make(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", str(tmp_path / BAD / ("x" * 300))]) == 2
    assert "cannot be written" in seen(capfd)


def test_a_folder_of_a_name_that_is_no_text(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    os.mkdir(os.fsencode(tmp_path) + b"/x\xff\x1b")
    main(["inspect", str(tmp_path)])
    seen(capfd)


def test_errors_are_one_line_each() -> None:
    for error in (CoregError(BAD), MissingFile.at(BAD), UnreadableFile(f"{BAD} is gone")):
        assert "\n" not in str(error)
    several = unreadable_files([Unusable(id="a", path=BAD, reason=BAD)] * 2)
    assert len(str(several).split("\n")) == 3
    again = pickle.loads(pickle.dumps(several))
    assert isinstance(again, UnreadableFiles)
    assert str(again) == str(several)


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    say(BAD, "", "plain ünï 日本")
    assert capsys.readouterr().out.split("\n")[1:] == ["", "plain ünï 日本", ""]


def test_results_of_a_run_are_shown_as_lines(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from coregstack.cli.console import show

    result = run_scenes([folder / "anchor.tif", folder / f"{BAD}.tif"], anchor="anchor", output=tmp_path / "o",
                        ids=["anchor", "a"])  # fmt: skip
    show(result)
    seen(capfd)


def test_nothing_else_writes_to_the_terminal() -> None:
    root = Path(coregstack.__file__).parent
    for path in root.rglob("*.py"):
        # streams.py stands between Python and a stream that may fail; what goes through it was made safe before
        if path.name in ("terminal.py", "streams.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), f"{path}: {called}"
                assert not called.endswith("_stream.write"), f"{path}: {called}"
