"""A state has one colour wherever it is shown, and it is seen there."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import coregstack
from coregstack.model import Status
from coregstack.run.colours import COLOURS, ON_DARK
from coregstack.run.notebook import table_html
from coregstack.show import plot
from coregstack.show.report.page import report
from coregstack.testing import sample_stack


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_state_has_a_colour_of_its_own() -> None:
    for table in (COLOURS, ON_DARK):
        assert set(table) == set(Status)
        assert len(set(table.values())) == len(table)


@pytest.mark.parametrize("status", Status)
def test_a_colour_is_seen_on_dark(status: Status) -> None:
    assert contrast(ON_DARK[status], "#1a1e23") > 3


def test_notebook_plot_and_report_show_the_same_colours(tmp_path: Path) -> None:
    table = pd.DataFrame({"item": list(Status), "status": list(Status), "details": ""}).set_index("item")
    notebook = table_html(table, "")
    quality = coregstack.estimate(sample_stack(2, shape=(256, 256)), anchor=0)
    page = report(quality, tmp_path / "report.html").read_text(encoding="utf-8")
    for status, colour in COLOURS.items():
        assert f"color:{colour}" in notebook
        assert f"--{status}: {colour};" in page
        assert page.count(f"--{status}:") == 2
        assert f"--{status}: {ON_DARK[status]};" in page
    assert plot.COLOURS is COLOURS
