"""The report of items that do not move as one: numbers, arrows, maps, and what is left."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from coregstack import estimate, open_scenes, report
from coregstack.export.evidence import STATE

from .conftest import opened
from .test_report import Page

ITEM = "20240201_b"
NAME = f"{ITEM}_coreg_displacement.tif"


def _field(page: Page) -> tuple[dict[str, Any], list[np.ndarray]]:
    told = json.loads(page.blocks["field-1"])
    planes = [
        np.frombuffer(base64.b64decode(told[name]), "<i2").reshape(told["shape"]) * told["unit"]
        for name in ("y", "x", "sigma")
    ]
    return told, planes


def test_the_field_of_the_page_is_that_of_the_file(bent: Any, tmp_path: Path) -> None:
    page = Page(report(bent.field.output, tmp_path / "a.html"))
    told, planes = _field(page)
    with rasterio.open(Path(bent.field.output, NAME)) as file, rasterio.open(bent.paths[0]) as anchor:
        written, place = file.read(), ~anchor.transform * file.transform
    item = page.data["items"][1]
    assert told["mean"] == [item["y"], item["x"]]
    assert told["step"] == pytest.approx(place.a)
    row, col = (
        round((at - first) / place.a)
        for at, first in zip(
            told["origin"], (place.f + place.a / 2 - 0.5, place.c + place.a / 2 - 0.5), strict=True
        )
    )
    rows, cols = told["shape"]
    for found, true, mean in zip(planes, written, [*told["mean"], 0], strict=True):
        np.testing.assert_allclose(found + mean, true[row : row + rows, col : col + cols], atol=1e-3)
    assert item["model"] == "field"
    assert item["residual"] < 0.3 * item["spread"]
    assert page.data["items"][0]["model"] == ""


def test_a_quality_shows_its_fields_without_pictures(bent: Any, tmp_path: Path) -> None:
    stack = open_scenes(bent.paths, anchor="20240101_a")
    quality = estimate(stack, anchor="20240101_a", model="field", threshold=1.0)
    page = Page(quality.coreg.report(tmp_path / "quality.html"))
    _, planes = _field(page)
    of_run = _field(Page(report(bent.field, tmp_path / "run.html")))[1]
    assert "evidence-1" not in page.blocks
    assert np.abs(planes[0]).max() == pytest.approx(np.abs(of_run[0]).max(), rel=0.3)


@pytest.fixture
def copied(bent: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bent.field.output, tmp_path / "out"))


@pytest.mark.parametrize("fault", ["gone", "garbage", "link", "empty", "huge"])
def test_a_file_that_cannot_be_used_costs_only_its_maps(copied: Path, fault: str) -> None:
    path = copied / NAME
    whole = path.read_bytes()
    with rasterio.open(path) as file:
        profile, values = file.profile, file.read()
    path.unlink()
    if fault == "garbage":
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == "link":
        (copied / "other.tif").write_bytes(whole)
        path.symlink_to(copied / "other.tif")
    elif fault == "empty":
        with rasterio.open(path, "w", **profile) as file:
            file.write(np.full_like(values, np.nan))
    elif fault == "huge":
        with rasterio.open(path, "w", **profile | {"height": 1 << 15, "width": 1 << 15, "sparse_ok": True}):
            pass
    page = Page(report(copied))
    assert "field-1" not in page.blocks
    assert "evidence-1" in page.blocks


def test_outputs_of_earlier_versions_are_reported(copied: Path) -> None:
    path = copied / STATE / f"{ITEM}.evidence"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({name: v for name, v in kept.items() if not name.startswith("residual")}))
    table = copied / "coregistration.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    drop = [k for k, name in enumerate(lines[0]) if name in ("model", "spread", "residual")]
    assert len(drop) == 3
    table.write_text(
        "".join(",".join(v for k, v in enumerate(line) if k not in drop) + "\n" for line in lines)
    )
    page = Page(report(copied))
    assert "residual_y" not in json.loads(page.blocks["evidence-1"])["ties"]
    assert "spread" not in page.data["items"][1]


pytest.importorskip("selenium", reason="no selenium to drive a browser with")

from .test_browser import By, no_errors, open_item, pixels, texts  # noqa: E402


@pytest.fixture
def sized(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    metrics = {"width": request.param, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield browser
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("sized", [390, 1280], indirect=True)
def test_a_field_is_seen_with_what_it_mends(sized: Any, bent: Any) -> None:
    page = opened(sized, report(bent.field))
    open_item(page, ITEM)
    inner, outer = page.execute_script(
        "const d = document.getElementById('viewer'); return [d.scrollWidth, d.clientWidth]"
    )
    assert inner <= outer
    assert page.find_elements(By.CSS_SELECTOR, "#vectors .arrow.field.top")
    assert "displacement field less its mean" in page.find_element(By.ID, "windows-caption").text
    assert "windows agree" in page.find_element(By.ID, "windows-caption").text
    fringes = {
        name: np.abs(np.diff(pixels(page, name)[:, :2])).mean() for name in ("before", "single", "after")
    }
    assert fringes["after"] < 0.6 * fringes["single"]
    for name in ("field-length", "field-sigma"):
        assert np.ptp(pixels(page, name), axis=0).max() > 30
    left = texts(page, "#field-left text")
    quality = bent.field.reports[1].quality
    assert left[1] == f"displacement field: {quality.residual:.3f} px"
    assert float(left[0].split()[2]) == pytest.approx(quality.spread, rel=0.02)
    assert not page.find_element(By.ID, "viewer-apart").is_displayed()
    page.find_element(By.CSS_SELECTOR, "#arrows input[value=Residual]").click()
    assert "beyond the field" in page.find_element(By.ID, "windows-caption").text
    assert not page.find_elements(By.CSS_SELECTOR, "#vectors .arrow.field")
    no_errors(page)


@pytest.mark.parametrize("sized", [390, 1280], indirect=True)
def test_an_item_whose_parts_lie_apart_says_so(sized: Any, bent: Any) -> None:
    page = opened(sized, report(bent.shift))
    assert texts(page, "td.apart") == [f"{bent.shift.reports[1].quality.spread:.3f}"]
    page.find_element(By.ID, "search").send_keys("parts apart")
    assert texts(page, "td.id") == [ITEM]
    open_item(page, ITEM)
    assert 'model="field" follows them' in page.find_element(By.ID, "viewer-apart").text
    assert not page.find_element(By.ID, "viewer-field").is_displayed()
    assert not page.find_element(By.ID, "single").is_displayed()
    assert [label for label in texts(page, "#arrows label") if label] == ["Shift", "Residual"]
    no_errors(page)
