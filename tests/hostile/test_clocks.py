"""Clocks that are wrong, and times that are missing or that no scene can have, change no pixel."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from digests import tree

from coregstack import open_scenes, run_scenes
from coregstack.errors import InvalidRequest
from coregstack.model import Status

FAR = {"1970": 0, "long before": -(10**9), "in 300 years": 2**33}
"""Times of change of a file, seconds since 1970."""


def run(sound: SimpleNamespace, output: Path, **options: object) -> list[bool]:
    """Run over the sound scenes, hold the result to the undisturbed one, and say which items were resumed."""
    result = run_scenes([sound.anchor, sound.good], anchor="anchor", output=output, **options)
    assert not result.problems
    assert {name: tree(output)[name] for name in sound.digests} == sound.digests
    return [report.resumed for report in result.reports]


@pytest.mark.parametrize("when", FAR.values(), ids=FAR)
def test_files_of_any_age_are_read_and_resumed(when: int, sound: SimpleNamespace, tmp_path: Path) -> None:
    copy = SimpleNamespace(digests=sound.digests, anchor=tmp_path / "anchor.tif", good=tmp_path / "good.tif")
    for name in ("anchor", "good"):
        getattr(copy, name).write_bytes(getattr(sound, name).read_bytes())
        os.utime(getattr(copy, name), (when, when))
    assert run(copy, tmp_path / "out") == [False, False]
    assert run(copy, tmp_path / "out") == [True, True]
    os.utime(copy.good, (when + 1, when + 1))
    assert run(copy, tmp_path / "out") == [True, False]


def test_a_clock_that_was_set_back_costs_only_time(sound: SimpleNamespace, tmp_path: Path) -> None:
    run(sound, tmp_path / "out")
    # the note is older than what it tells of: as if the file had been changed since
    os.utime(tmp_path / "out" / ".coregstack" / "good.json", (1, 1))
    assert run(sound, tmp_path / "out") == [True, False]


@pytest.mark.parametrize("method", ["direct", "network"])
@pytest.mark.parametrize("times", [None, ["2024-01-01", "2024-01-01"], ["2024-01-01", None]])
def test_times_that_are_missing_or_all_the_same(
    times: list[str | None] | None, method: str, sound: SimpleNamespace, tmp_path: Path
) -> None:
    scenes = [sound.anchor, sound.good]
    result = run_scenes(scenes, anchor="anchor", output=tmp_path / "out", method=method, times=times)
    assert not result.problems
    assert result.reports[1].quality.status is Status.COREGISTERED
    known = 0 if times is None else sum(time is not None for time in times)
    assert len(result.times) == known
    assert result.to_dataframe()["time"].notna().sum() == known


@pytest.mark.parametrize("time", ["yesterday", "1066-10-14", "9999-12-31", 10**30, "2024-13-01", [], "\0"])
def test_times_that_no_scene_can_have_are_refused(
    time: object, sound: SimpleNamespace, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="is not a time"):
        run_scenes(
            [sound.anchor, sound.good], anchor="anchor", output=tmp_path / "out", times=["2024-01-01", time]
        )
    assert not (tmp_path / "out").exists()


def test_times_become_utc(sound: SimpleNamespace) -> None:
    stack = open_scenes(
        [sound.anchor, sound.good], anchor="anchor", times=["2024-01-01T00:30:00+14:00", "2024-01-01"]
    )
    assert stack.time.values[0] == np.datetime64("2023-12-31T10:30:00", "ns")
