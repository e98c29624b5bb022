"""Views that were found beside those that metadata tell, as the report shows them."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coregstack import report
from coregstack.model import Shift, Status, Viewing
from coregstack.network.heights import tilt_of
from coregstack.run.result import RunResult

from .conftest import opened
from .test_report import Page

METRES = 8.0
OVERHEAD = Viewing(incidence=0.0, azimuth=0.0)


@pytest.fixture(scope="module")
def seen(result: RunResult) -> RunResult:
    """The run as if its items followed a pattern of 8 m, seen from all sides; of the second no angle is known."""
    assert result.lattice is not None
    pixel = Shift(result.lattice.affine.e, result.lattice.affine.a)
    viewings, reports = {}, []
    for k, found in enumerate(result.reports):
        viewing = OVERHEAD if found.quality.status is Status.ANCHOR else Viewing(5.0 + k, 77.0 * k)
        view = None if viewing == OVERHEAD else Shift(*(METRES * tilt_of(viewing, pixel)).tolist())
        viewings[found.id] = viewing
        reports.append(replace(found, quality=replace(found.quality, view=view)))
    assert reports[1].quality.status is not Status.ANCHOR
    del viewings[reports[1].id]
    return replace(result, reports=tuple(reports), viewings=viewings)


def test_views_are_told_beside_the_angles(seen: RunResult, tmp_path: Path) -> None:
    views = Page(report(seen, tmp_path / "a.html")).data["views"]
    assert views["metres"] == pytest.approx(METRES)
    assert "correlation of 1.00" in views["words"]
    assert views["tilts"][1] == [None, None]
    k = next(k for k in range(2, 8) if seen.reports[k].quality.view is not None)
    assert views["tilts"][k][1] * METRES == pytest.approx(seen.reports[k].quality.view.x, abs=1e-6)
    # the quality of the run tells the same
    assert Page(report(seen.to_quality(), tmp_path / "b.html")).data["views"] == views


def test_a_run_without_angles_has_no_such_chart(result: RunResult, tmp_path: Path) -> None:
    plain = replace(result, viewings={})
    assert Page(report(plain, tmp_path / "a.html")).data["views"] is None


def test_dots_lie_on_the_line_that_they_follow(browser: Any, seen: RunResult, tmp_path: Path) -> None:
    page = opened(browser, report(seen, tmp_path / "a.html"))
    assert page.execute_script("return document.getElementById('views').hidden") is False
    dots, (x1, y1, x2, y2) = json.loads(
        page.execute_script(
            "const c = document.getElementById('chart-views');"
            "const at = (p) => p.getAttribute('transform').match(/[-0-9.]+/g).map(Number);"
            "const line = [...c.querySelectorAll('svg > line')].at(-1);"
            "return JSON.stringify([[...c.querySelectorAll('.point')].map(at),"
            "['x1', 'y1', 'x2', 'y2'].map((n) => Number(line.getAttribute(n)))]);"
        )
    )
    assert len(dots) == 2 * sum(r.quality.view is not None and r.id in seen.viewings for r in seen.reports)
    for x, y in dots:
        off = ((x - x1) * (y2 - y1) - (y - y1) * (x2 - x1)) / math.hypot(x2 - x1, y2 - y1)
        assert off == pytest.approx(0.0, abs=0.2)
    drawn, box = page.execute_script(
        "const r = document.getElementById('chart-residual');"
        "return [r.firstChild.getBoundingClientRect().width, r.clientWidth]"
    )
    assert drawn <= box
    assert "8 m of height" in page.execute_script("return document.getElementById('views-words').textContent")
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
