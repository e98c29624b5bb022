"""Notebooks show a bar while a run computes, without being asked."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from dask.diagnostics import ProgressBar

import coregstack
from coregstack.graph import bar
from coregstack.testing import sample_stack


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(bar, "_WORTH_SHOWING", 0.0)


@pytest.fixture
def aligned() -> object:
    return coregstack.align(sample_stack(2, shape=(160, 160), bands=4), anchor=0)


@pytest.mark.usefixtures("notebook")
def test_runs_and_cubes_show_it(aligned: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coregstack.to_geotiffs(aligned, tmp_path / "out")
    assert "100% Completed" in capsys.readouterr().out
    coregstack.to_zarr(aligned, tmp_path / "cube.zarr")
    assert "100% Completed" in capsys.readouterr().out


@pytest.mark.usefixtures("notebook")
def test_there_is_one_bar_at_a_time(
    aligned: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int]] = []
    coregstack.to_geotiffs(aligned, tmp_path / "out", progress=lambda *counts: told.append(counts))
    assert told[-1] == (2, 2)
    assert capsys.readouterr().out == ""
    with ProgressBar(minimum=1e9):
        coregstack.to_geotiffs(aligned, tmp_path / "again")
    assert capsys.readouterr().out == ""


def test_nothing_is_shown_elsewhere(
    aligned: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coregstack.to_geotiffs(aligned, tmp_path / "out")
    assert capsys.readouterr().out == ""
