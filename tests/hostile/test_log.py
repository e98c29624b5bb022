"""What happened to one item of many is found in the log, by its id."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import recipes

from coregstack import run_scenes
from coregstack.cli.console import show
from coregstack.errors import CoregError

MANY = 100


@pytest.fixture
def scenes(sound: SimpleNamespace, tmp_path: Path) -> list[Path]:
    """An anchor, a good scene, a file that is no raster, and very many small scenes."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for path in (sound.anchor, sound.good):
        shutil.copy(path, folder)
    (folder / "junk.tif").write_bytes(b"junk")
    for k in range(MANY):
        recipes.write_tiff(folder / f"small_{k:03d}.tif", recipes.pixels()[:, :16, :16].copy())
    return sorted(folder.iterdir())


def told(caplog: pytest.LogCaptureFixture, item: str) -> list[tuple[int, str]]:
    """Level and words of all records of an item."""
    return [
        (record.levelno, record.getMessage())
        for record in caplog.records
        if getattr(record, "item", None) == item
    ]


def test_one_item_of_many_is_followed_through_the_log(
    scenes: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "coregstack"):
        result = run_scenes(scenes, anchor="anchor", output=tmp_path / "out")
    assert len(result.reports) == MANY + 3
    for report in result.reports:
        level = logging.WARNING if report.id == "junk" else logging.INFO
        words = f"item {report.id}: {report.quality.status}; {report.quality.details}"
        assert told(caplog, report.id) == [(level, words)]
    # the same in the plain text of a log: the id finds that one line
    lines = caplog.text.splitlines()
    assert sum("item small_017:" in line for line in lines) == 1
    assert f"{MANY + 3} items to anchor anchor, 0 of them done by an earlier run" in caplog.text


def test_the_log_tells_what_an_earlier_run_has_done(
    scenes: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_scenes(scenes[:3], anchor="anchor", output=tmp_path / "out")
    caplog.clear()
    with caplog.at_level(logging.INFO, "coregstack"):
        run_scenes(scenes[:3], anchor="anchor", output=tmp_path / "out")
    assert "3 items to anchor anchor, 2 of them done by an earlier run" in caplog.text
    (_, good), (_, junk) = *told(caplog, "good"), *told(caplog, "junk")
    assert good.startswith("item good: coregistered by an earlier run; ")
    assert junk.startswith("item junk: failed; ")


def test_a_file_writes_no_lines_of_its_own_into_log_and_terminal(
    sound: SimpleNamespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipes.named_crs(tmp_path / "bad.tif", b"\x1b[31m\nitem good: done")
    with caplog.at_level(logging.INFO, "coregstack"):
        result = run_scenes([sound.anchor, tmp_path / "bad.tif"], anchor="anchor", output=tmp_path / "out")
    show(result)
    reason = result.reports[1].quality.details
    assert reason.startswith(r"The scene does not overlap the anchor (\x1b[31m")
    assert len(reason) < 150
    for text in (caplog.text, capsys.readouterr().out):
        assert "[31m" in text
        assert "\x1b" not in text
    assert not [line for line in caplog.text.splitlines() if line.startswith("item good")]
    with pytest.raises(CoregError) as caught:
        run_scenes([sound.anchor], anchor="\x1b[31m", output=tmp_path / "other")
    assert "\x1b" not in str(caught.value)


def test_a_log_without_detail_still_names_what_went_wrong(
    scenes: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_scenes(scenes[:3], anchor="anchor", output=tmp_path / "out")
    assert [getattr(r, "item", None) for r in caplog.records if r.name.startswith("coregstack")] == ["junk"]
