"""The report in a browser: seen, clicked, and used by keyboard alone."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

import coregstack
from coregstack import report
from coregstack.export.evidence import kept_evidence
from coregstack.export.plan import TABLE
from coregstack.run.result import RunResult
from coregstack.testing import sample_stack

from .conftest import opened
from .test_report import HOSTILE, hostile, many  # noqa: F401 (fixtures)

pytest.importorskip("selenium", reason="no selenium to drive a browser with")

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait


def texts(page: Any, selector: str) -> list[str]:
    return [element.text for element in page.find_elements(By.CSS_SELECTOR, selector)]


def pixels(page: Any, canvas: str) -> np.ndarray:
    """Colours of a canvas, shape (pixel, 3)."""
    script = (
        "const c = document.getElementById(arguments[0]);"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((v, k) => k % 16 < 3);"
    )
    return np.array(page.execute_script(script, canvas), float).reshape(-1, 3)


def open_item(page: Any, item: str) -> None:
    button = page.find_element(By.XPATH, f"//button[contains(@class, 'open') and .='{item}']")
    button.send_keys(Keys.ENTER)
    WebDriverWait(page, 5).until(
        lambda p: p.execute_script("return document.documentElement.dataset.opened") == item
    )


def no_errors(page: Any) -> None:
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture(scope="module")
def two_worlds(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run of two scenes of one place in degrees, and of one on the other side of the world."""
    folder = tmp_path_factory.mktemp("worlds")
    paths = []
    for scene, name, (lon, lat) in zip(
        sample_stack(3, (200, 200), seed=4, max_shift=2, cloud_cover=0).drop_vars("clear"),
        ["20220101_a", "20220201_b", "20220301_far"],
        [(13, 52), (13, 52), (174, -41)],
        strict=True,
    ):
        paths.append(folder / f"{name}.tif")
        with rasterio.open(
            paths[-1], "w", driver="GTiff", height=200, width=200, count=len(scene), dtype=scene.dtype, nodata=0,
            crs="EPSG:4326", transform=rasterio.Affine(3e-5, 0, lon, 0, -3e-5, lat),
        ) as file:  # fmt: skip
            file.write(scene.values)
    return coregstack.run_scenes(paths, anchor="auto", output=folder / "out")


def test_the_map_keeps_its_scale_where_a_scene_lies_far_away(browser: Any, two_worlds: RunResult) -> None:
    page = opened(browser, report(two_worlds))
    shapes = page.find_elements(By.CSS_SELECTOR, "#chart-map .shape")
    assert len(shapes) == 2
    assert all(min(shape.size["width"], shape.size["height"]) > 80 for shape in shapes)
    assert texts(page, "#map-far") == ["· 1 too far away to be shown"]
    page.find_element(By.ID, "search").send_keys("20220301_far")
    WebDriverWait(page, 5).until(lambda p: not p.find_elements(By.CSS_SELECTOR, "#chart-map .shape"))
    assert "too far away" in page.find_element(By.ID, "chart-map").text
    no_errors(page)


def test_table_and_charts_show_every_item(page: Any, result: RunResult) -> None:
    assert texts(page, "td.id") == [found.id for found in result.reports]
    assert len(page.find_elements(By.CSS_SELECTOR, "#chart-map .shape")) == 8
    # the anchor among them, which stays where it is
    assert len(page.find_elements(By.CSS_SELECTOR, "#chart-scatter .point")) == 1 + sum(
        found.quality.shift is not None for found in result.reports
    )
    for chart in ("shift", "scatter", "residual"):
        assert page.find_elements(By.CSS_SELECTOR, f"#chart-{chart} .point.anchor")
    no_errors(page)


def test_the_first_screen_shows_what_was_gained(page: Any, result: RunResult) -> None:
    WebDriverWait(page, 5).until(lambda p: p.find_element(By.ID, "gain").is_displayed())
    quality = {found.id: found.quality for found in result.reports}
    gains = {
        k: q.after - q.before for k, q in quality.items() if q.after is not None and q.before is not None
    }
    button = page.find_element(By.CSS_SELECTOR, "#gain .open")
    assert button.text == max(gains, key=gains.__getitem__)
    assert button.rect["y"] < 900
    before, after = (
        np.abs(np.diff(pixels(page, f"gain-{name}")[:, :2])).mean() for name in ("before", "after")
    )
    assert after < 0.8 * before
    no_errors(page)


def test_down_is_down_in_every_chart(page: Any, result: RunResult) -> None:
    marks = "[...document.querySelectorAll(arguments[0])]"
    script = f"return {marks}.map(p => [Number(p.dataset.k), p.getBoundingClientRect().y])"
    truth = {k: found.quality.shift.y for k, found in enumerate(result.reports) if found.quality.shift}
    both = page.execute_script(script, "#chart-shift .point.coregistered")
    for seen in (page.execute_script(script, "#chart-scatter .point.coregistered"), both[len(both) // 2 :]):
        ordered = [truth[k] for k, _ in sorted(seen, key=lambda mark: mark[1])]
        assert len(ordered) > 3
        assert ordered == sorted(ordered)


def test_the_table_can_be_saved_with_all_digits(page: Any, result: RunResult) -> None:
    page.find_element(By.ID, "search").send_keys("coregistered")
    text = page.execute_script("items[0].reason = '=1+1 \"a\"'; return csvText()")
    rows = {row["item"]: row for row in csv.DictReader(io.StringIO(text))}
    moved = {found.id: found for found in result.reports if found.quality.status == "coregistered"}
    assert set(rows) == set(moved)
    for item, row in rows.items():
        assert float(row["shift_x_px"]) == pytest.approx(moved[item].quality.shift.x, abs=1e-6)
    assert next(iter(rows.values()))["reason"] == '\'=1+1 "a"'
    page.find_element(By.ID, "save").send_keys(Keys.ENTER)
    no_errors(page)


def test_before_and_after_are_zoomed_and_moved_together(page: Any) -> None:
    open_item(page, "20220618_093957_18_24af")
    part = "const { top, left, side } = partNow(); return [top, left, side]"
    assert page.execute_script(part) == [0, 0, 96]
    whole = pixels(page, "after")
    page.find_element(By.ID, "viewer-id").send_keys("+", "+")
    top, left, side = page.execute_script(part)
    assert 30 < side < 60
    assert abs(top + side / 2 - 48) <= 1
    assert np.abs(pixels(page, "after") - whole).mean() > 1
    canvas = page.find_element(By.ID, "before")
    ActionChains(page).drag_and_drop_by_offset(canvas, -40, -60).perform()
    moved = page.execute_script(part)
    assert moved[0] > top
    assert moved[1] > left
    # about a place that stays where it is, and never beyond the chip
    ActionChains(page).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, 2000).perform()
    for _ in range(8):
        page.find_element(By.ID, "viewer-id").send_keys("-")
    assert page.execute_script(part) == [0, 0, 96]
    no_errors(page)


def test_windows_of_several_bands_are_told_apart_and_counted(page: Any, result: RunResult) -> None:
    kept = {report.id: kept_evidence(result.output, report.id) for report in result.reports}
    bands = {item: set(one.evidence.ties.band.tolist()) for item, one in kept.items() if one and one.evidence}
    open_item(page, max(bands, key=lambda item: len(bands[item])))
    keys = texts(page, "#windows-caption .key")
    counts = [tuple(map(int, re.findall(r"(\d+) of (\d+)", key)[0])) for key in keys if " of " in key]
    assert len(counts) > 1
    agree, everything = map(
        int, re.findall(r"(\d+) of (\d+) windows", page.find_element(By.ID, "windows-caption").text)[0]
    )
    assert [sum(column) for column in zip(*counts, strict=True)] == [agree, everything]
    assert len(page.find_elements(By.CSS_SELECTOR, "#vectors .arrow.top")) == everything
    no_errors(page)


def test_a_mark_tells_what_it_is_and_opens_its_item(page: Any, result: RunResult) -> None:
    mark = page.find_element(By.CSS_SELECTOR, "#chart-scatter .point")
    found = result.reports[int(mark.get_attribute("data-k"))]
    ActionChains(page).move_to_element(mark).click().perform()
    told = page.execute_script("return arguments[0].firstChild.textContent", mark)
    assert told.splitlines()[0] == found.id
    assert page.find_element(By.ID, "viewer-id").text == found.id
    no_errors(page)


def test_status_and_words_narrow_the_table(page: Any) -> None:
    button = page.find_element(By.XPATH, "//div[@id='statuses']/button[contains(., 'failed')]")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert "failed" not in texts(page, "tbody .status")
    button.click()
    page.find_element(By.ID, "search").send_keys("FAILED cloud")
    assert texts(page, "tbody .status") == ["failed"]
    assert page.find_element(By.ID, "shown").text == "1 of 8 items"
    WebDriverWait(page, 5).until(lambda p: len(p.find_elements(By.CSS_SELECTOR, "#chart-map .shape")) == 1)
    page.find_element(By.ID, "search").send_keys(" nonsense")
    assert texts(page, "tbody td") == ["No item fits the search."]
    no_errors(page)


def test_heading_sorts_both_ways_with_unknown_last(page: Any) -> None:
    heading = page.find_element(By.XPATH, "//th[contains(., 'Shift x')]/button")
    for direction in (1, -1):
        heading.send_keys(Keys.ENTER)
        cells = [row[3] for row in table(page)]
        known = [float(cell.replace("−", "-")) for cell in cells if cell]
        assert known == sorted(known, reverse=direction < 0)
        assert cells[len(known) :] == [""] * (8 - len(known))
    assert page.find_element(By.CSS_SELECTOR, "th[aria-sort]").get_attribute("aria-sort") == "descending"


def table(page: Any) -> list[list[str]]:
    script = (
        "return [...document.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    return page.execute_script(script)


def test_overlay_loses_its_fringes_when_the_item_is_moved(page: Any) -> None:
    open_item(page, "20220618_093957_18_24af")
    before, after = (np.abs(np.diff(pixels(page, name)[:, :2])).mean() for name in ("before", "after"))
    assert after < 0.7 * before
    assert page.find_elements(By.CSS_SELECTOR, "#vectors .arrow.top")
    assert "windows agree" in page.find_element(By.ID, "windows-caption").text
    no_errors(page)


def test_swipe_and_flicker_show_anchor_and_item(page: Any) -> None:
    open_item(page, "20220618_093957_18_24af")
    page.find_element(By.CSS_SELECTOR, "#modes input[value=Swipe]").click()
    slider = page.find_element(By.ID, "swipe")
    views = []
    for key in (Keys.HOME, Keys.END):
        slider.send_keys(key)
        views.append(pixels(page, "before"))
    assert np.abs(views[0] - views[1]).mean() > 3
    assert all(np.ptp(view[:-400], axis=1).mean() < 2 for view in views)
    page.find_element(By.CSS_SELECTOR, "#modes input[value=Flicker]").click()
    hints = set()
    WebDriverWait(page, 5, poll_frequency=0.1).until(
        lambda p: hints.add(p.find_element(By.ID, "chips-hint").text) or len(hints) == 2
    )
    page.find_element(By.ID, "toggle").click()
    assert page.find_element(By.ID, "toggle").text == "Play"
    no_errors(page)


def test_keyboard_alone_opens_pages_through_and_closes(page: Any, result: RunResult) -> None:
    first = page.find_element(By.CSS_SELECTOR, "td .open")
    first.send_keys(Keys.ENTER)
    title = page.find_element(By.ID, "viewer-id")
    assert title.text == result.reports[0].id
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert title.text == result.reports[1].id
    page.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert title.text == result.reports[0].id
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.find_element(By.ID, "viewer").is_displayed()
    assert page.switch_to.active_element == first
    no_errors(page)


def test_keys_are_heard_at_the_last_item_too(page: Any, result: RunResult) -> None:
    ids = [found.id for found in result.reports]
    page.execute_script("openItem(items.length - 2)")
    page.find_element(By.ID, "next").send_keys(Keys.ENTER)
    title = page.find_element(By.ID, "viewer-id")
    assert title.text == ids[-1]
    ActionChains(page).send_keys(Keys.ARROW_LEFT).perform()
    assert title.text == ids[-2]
    ActionChains(page).send_keys(Keys.ESCAPE).perform()
    assert not page.find_element(By.ID, "viewer").is_displayed()


def test_what_is_rare_is_not_hidden_by_the_many(page: Any) -> None:
    for chart in ("chart-shift", "chart-scatter", "chart-map"):
        marks = page.find_elements(By.CSS_SELECTOR, f"#{chart} [data-k]")
        status = [mark.get_attribute("class").split()[1] for mark in marks]
        assert status[0] == "coregistered"
        assert status[-1] != "coregistered"
    assert status[-1] == "anchor"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_status_that_is_hidden_can_still_be_read(page: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    button = page.find_element(By.CSS_SELECTOR, "#statuses button")
    button.click()
    script = "const s = getComputedStyle(arguments[0]); return [s.color, s.backgroundColor, s.opacity]"
    ink, back, opacity = page.execute_script(script, button)
    low, high = sorted(map(luminance, (ink, back)))
    assert (high + 0.05) / (low + 0.05) > 4.5
    assert opacity == "1"


def test_anchor_and_failed_items_open_too(page: Any, result: RunResult) -> None:
    open_item(page, result.anchor)
    assert not page.find_element(By.ID, "viewer-chips").is_displayed()
    page.find_element(By.ID, "close").click()
    open_item(page, "20220616_095015_39_2447")
    assert page.find_element(By.ID, "before").is_displayed()
    assert not page.find_element(By.ID, "after").is_displayed()
    no_errors(page)


def test_items_of_a_network_are_shown_with_whom_they_were_matched(
    browser: Any,
    strip: list[Path],
    tmp_path: Path,
) -> None:
    result = coregstack.run_scenes(strip, anchor=0, output=tmp_path / "out", method="network")
    page = opened(browser, report(result))
    open_item(page, "part_5")
    other = kept_evidence(tmp_path / "out", "part_5").evidence.against
    assert other in ("part_3", "part_4")
    assert (
        page.find_element(By.CSS_SELECTOR, "#modes legend").text == f"Compare with item {other} (aligned) by"
    )
    assert texts(page, "#grounds label") == ["Item", other]
    script = (
        "const sides = (e) => { const r = e.getBoundingClientRect(); return [r.left, r.top, -r.right, -r.bottom]; };"
        "return ['.scene', '#vectors .arrow.top'].map(s => [...document.querySelectorAll(s)].map(sides));"
    )
    scene, arrows = (np.array(sides) for sides in page.execute_script(script))
    assert len(arrows) > 10
    assert (arrows >= scene - 1).all(), "an arrow reaches out of the picture"
    item = pixels(page, "ground").mean(axis=1)
    page.find_element(By.CSS_SELECTOR, "#grounds input[value=Other]").click()
    # each covers its own part of the ground, and both the part where they were matched
    lit = [item > 20, pixels(page, "ground").mean(axis=1) > 20]
    assert all(0.2 < part.mean() < 0.9 for part in lit)
    assert (lit[0] & lit[1]).mean() > 0.1
    before, after = (np.abs(np.diff(pixels(page, name)[:, :2])).mean() for name in ("before", "after"))
    assert after < before
    no_errors(page)


def test_an_item_that_was_matched_with_none_is_shown_alone(
    browser: Any,
    strip: list[Path],
    tmp_path: Path,
) -> None:
    result = coregstack.run_scenes(
        [strip[0], strip[1], strip[5]], anchor=0, output=tmp_path / "out", method="network"
    )
    assert result.reports[2].quality.status == "failed"
    page = opened(browser, report(result))
    open_item(page, "part_5")
    assert not page.find_element(By.ID, "viewer-chips").is_displayed()
    assert not page.find_element(By.ID, "grounds").is_displayed()
    assert page.find_element(By.ID, "windows-caption").text == "No windows were matched."
    assert (pixels(page, "ground").mean(axis=1) > 20).mean() > 0.5
    no_errors(page)


def test_rows_of_many_items_come_as_they_are_scrolled_to(browser: Any, many: Path) -> None:  # noqa: F811
    page = opened(browser, report(many))
    assert page.find_element(By.ID, "shown").text == "1000 items"
    assert 50 <= len(table(page)) < 1000
    script = (
        "const [box, done] = [document.querySelector('.scroll'), arguments[0]];"
        "const down = () => { box.scrollTop = box.scrollHeight; setTimeout(() =>"
        " box.querySelectorAll('tbody tr').length < 1000 ? down() : done(true), 20); }; down()"
    )
    assert page.execute_async_script(script)
    assert [row[0] for row in table(page)] == [f"item_{k:04d}" for k in range(1000)]
    page.find_element(By.ID, "search").send_keys("item_0987")
    assert [row[0] for row in table(page)] == ["item_0987"]
    no_errors(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(page: Any, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    script = "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    ink, back = (luminance(colour) for colour in page.execute_script(script))
    assert (ink > back) == (scheme == "dark")
    assert (max(ink, back) + 0.05) / (min(ink, back) + 0.05) > 7  # the contrast that WCAG calls AAA


def luminance(colour: str) -> float:
    values = np.array([float(v) for v in colour[4:-1].split(",")]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("width", [380, 820, 1400])
def test_page_is_never_wider_than_the_window(page: Any, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.refresh()
        assert page.execute_script("return document.documentElement.scrollWidth") <= width
        open_item(page, "20220618_093957_18_24af")
        inner, outer = page.execute_script(
            "const d = document.getElementById('viewer'); return [d.scrollWidth, d.clientWidth]"
        )
        assert inner <= outer
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def rewritten(
    result: RunResult, folder: Path, change: Callable[[int, dict[str, str]], dict[str, str]]
) -> Path:
    """A folder with the table of a run alone, each row changed."""
    with open(Path(result.output, TABLE), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row | change(k, row) for k, row in enumerate(rows))
    return folder


@pytest.fixture
def long_names(result: RunResult, tmp_path: Path) -> Path:
    """A run whose items are named as files of orders are."""
    ending = "_3B_AnalyticMS_SR_8b_harmonized_clip"
    return rewritten(result, tmp_path, lambda _, row: {"item": row["item"] + ending})


def test_items_without_a_time_are_counted_where_they_are_not_shown(
    browser: Any, result: RunResult, tmp_path: Path
) -> None:
    page = opened(
        browser,
        report(rewritten(result, tmp_path, lambda k, _: {"item": f"field {k}", "time": ""} if k < 2 else {})),
    )
    for chart in ("chart-shift", "chart-score"):
        assert "2 without a time: not shown here" in texts(page, f"#{chart} text")
    no_errors(page)


@pytest.mark.parametrize("width", [390, 1280])
def test_long_names_are_broken_at_their_parts_and_cut_nothing(
    browser: Any, long_names: Path, width: int
) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page = opened(browser, report(long_names))
        ends = "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect().right)"
        assert max(page.execute_script(ends, "header *, main > section > *")) <= width
        table = "const t = document.querySelector('.scroll'); return [t.scrollWidth, t.clientWidth]"
        inner, outer = page.execute_script(table)
        assert inner <= outer or width == 390
        # a row that is moved sideways still tells whose it is
        page.execute_script("document.querySelector('.scroll').scrollLeft = 200")
        box, name = (
            page.find_element(By.CSS_SELECTOR, selector).rect["x"] for selector in (".scroll", "td.id")
        )
        assert 0 <= name - box <= 1
        breaks = (
            "const range = document.createRange(), out = [];"
            "for (const node of document.querySelector('td.id .open').childNodes) {"
            "  if (node.nodeType !== Node.TEXT_NODE) continue;"
            "  range.selectNode(node); out.push(range.getClientRects().length); } return out"
        )
        assert set(page.execute_script(breaks)) == {1}
        no_errors(page)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_hostile_text_is_shown_and_never_run(browser: Any, hostile: Path) -> None:  # noqa: F811
    page = opened(browser, report(hostile))
    assert page.title == "Coregistration report"
    assert page.find_elements(By.TAG_NAME, "img") == []
    assert table(page)[1][0] == HOSTILE
    no_errors(page)
