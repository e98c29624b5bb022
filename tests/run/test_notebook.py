"""Notebooks show a run and a quality as a table that trusts no text."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
from PIL import Image

from coregstack import align, estimate, to_geotiffs
from coregstack.matching.preview import CHIP
from coregstack.run.notebook import table_html
from coregstack.testing import sample_stack


def table(count: int, **values: object) -> pd.DataFrame:
    numbers = (
        "shift_x",
        "shift_y",
        "shift_sigma_x",
        "shift_sigma_y",
        "matching_score_before",
        "matching_score_after",
    )
    columns = {"status": "coregistered", "details": "fine", **dict.fromkeys(numbers, 0.25), **values}
    return pd.DataFrame(columns, index=pd.Index([f"item {k}" for k in range(count)], name="item"))


def test_run_shows_itself(tmp_path: Path) -> None:
    result = to_geotiffs(align(sample_stack(3, (96, 96)), anchor=0), tmp_path)
    shown = result._repr_html_()
    assert all(found.id in shown for found in result.reports)
    assert result.anchor in shown
    assert f"written to {tmp_path}" in shown
    words = (
        f"<RunResult: 3 items aligned to {result.anchor}, written to {tmp_path}: 1 anchor, 2 coregistered>"
    )
    assert repr(result) == words
    assert "nothing written" in replace(result, dry_run=True)._repr_html_()


def test_quality_shows_itself_lazy_or_not() -> None:
    quality = estimate(sample_stack(3, (96, 96)), anchor=0)
    assert quality.coreg._repr_html_() == quality.compute().coreg._repr_html_()
    assert "3 items aligned to" in quality.coreg._repr_html_()


def test_text_is_escaped() -> None:
    shown = table_html(table(2, details="<script>alert(1)</script>"), "<b>run</b>", ["a & <i>b</i>"])
    assert "<script>" not in shown
    assert "&lt;b&gt;run" in shown
    assert "a &amp; &lt;i&gt;b" in shown


def test_items_that_need_a_look_come_first_and_the_rest_is_counted() -> None:
    status = ["coregistered"] * 30 + ["failed", "no_improvement"]
    shown = table_html(table(32, status=status), "run")
    assert shown.index("item 30") < shown.index("item 31") < shown.index("item 0<")
    assert shown.count("<tr>") == 21
    assert "12 more" in shown


def test_unknown_numbers_are_left_empty() -> None:
    shown = table_html(table(1, shift_x=float("nan"), matching_score_after=None), "run")
    assert "nan" not in shown.lower()
    assert "None" not in shown


def test_a_run_shows_the_item_that_gained_most(tmp_path: Path) -> None:
    result = to_geotiffs(align(sample_stack(4, (160, 160), cloud_cover=0), anchor=0), tmp_path)
    moved = {r.id: r.quality for r in result.reports if r.quality.status == "coregistered"}
    best = max(moved, key=lambda item: (moved[item].after or 0) - (moved[item].before or 0))
    shown = result._repr_html_()
    assert f"The anchor, and {best} before and after" in shown
    picture = shown.partition("data:image/jpeg;base64,")[2].partition('"')[0]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size[0] >= 3 * CHIP
    assert "<img" not in replace(result, dry_run=True)._repr_html_()


def test_a_stack_says_what_can_be_done_with_it() -> None:
    stack = sample_stack(2, (96, 96))
    assert "time: 2, band: 4, y: 96, x: 96" in repr(stack.coreg)
    assert "plot." not in repr(stack.coreg)
    assert "plot.shifts()" in repr(align(stack, anchor=0).coreg)
