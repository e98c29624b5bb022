"""The report tells what the run tells, loads nothing from anywhere, and trusts no text it is given."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
import xarray as xr
from scipy import ndimage

import coregstack
from coregstack import align, estimate, report, run_order, run_scenes
from coregstack.errors import InvalidRequest, MissingFile, UnreadableFile
from coregstack.export.evidence import kept_evidence
from coregstack.export.files import STATE
from coregstack.export.plan import TABLE
from coregstack.matching.preview import CHIP
from coregstack.run.result import RunResult
from coregstack.show.plot import _decoded
from coregstack.testing import SampleOrder, sample_stack

HOSTILE = '</script><script>document.title="taken"</script><img src=x onerror=alert(1)><!-- \u2028'


class Page(HTMLParser):
    """Elements of a page, and the text of its script and style blocks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.blocks: dict[str, str] = {}
        self._inside = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        known = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in known.items()]
        self._inside = known.get("id", tag) if tag in ("script", "style") else ""
        if self._inside:
            self.blocks[self._inside] = ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside] += data

    @property
    def data(self) -> Any:
        """What the page is told."""
        return json.loads(self.blocks["data"])


@pytest.fixture(scope="module")
def page(result: RunResult, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(report(result, tmp_path_factory.mktemp("page") / "own name.html"))


def test_report_lies_in_the_output_folder_unless_told_otherwise(result: RunResult) -> None:
    assert report(result) == Path(result.output) / "report.html"


def test_every_number_is_that_of_the_result(page: Page, result: RunResult) -> None:
    table = result.to_dataframe()
    assert [item["id"] for item in page.data["items"]] == list(table.index)
    names = {"x": "shift_x", "y": "shift_y", "sx": "shift_sigma_x", "sy": "shift_sigma_y",
             "before": "matching_score_before", "after": "matching_score_after"}  # fmt: skip
    for item in page.data["items"]:
        row = table.loc[item["id"]]
        assert (item["status"], item["reason"]) == (row["status"], row["details"])
        for key, name in names.items():
            told = np.nan if item[key] is None else item[key]
            np.testing.assert_allclose(told, float(row[name]), atol=1e-6)


def test_folder_tells_what_the_result_tells(page: Page, result: RunResult, tmp_path: Path) -> None:
    from_folder = Page(report(result.output, tmp_path / "report.html"))
    assert from_folder.data["items"] == page.data["items"]
    assert from_folder.data["anchor"] == result.anchor


def test_resumed_run_still_has_all_pictures(sample_order: SampleOrder, page: Page, result: RunResult) -> None:
    again = run_order(sample_order.payload, input=sample_order.folder, output=result.output)
    assert all(found.resumed for found in again.reports)
    blocks = Page(report(again)).blocks
    assert [name for name in blocks if name.startswith("evidence-")] == [f"evidence-{k}" for k in range(8)]
    assert {name: blocks[name] for name in blocks if name.startswith("evidence-")} == {
        name: page.blocks[name] for name in page.blocks if name.startswith("evidence-")
    }


def test_footprints_are_where_the_files_are_valid(page: Page, result: RunResult) -> None:
    areas = {item["id"]: item["area"] for item in page.data["items"]}
    for found in result.reports:
        image = next(file.path for file in found.files if "AnalyticMS" in file.path and ".tif" in file.path)
        with rasterio.open(Path(result.output, image)) as dataset:
            valid, crs = dataset.read(1) != dataset.nodata, dataset.crs
            places = dataset.transform * (np.argwhere(valid)[:, ::-1].T + 0.5)
        with rasterio.open(result.sources[result.anchor]) as anchor:
            x, y = rasterio.warp.transform(crs, anchor.crs, *places)
        (part,) = areas[found.id]
        truth = [np.min(x), np.max(x), np.min(y), np.max(y)]
        told = [np.min(part, 0)[0], np.max(part, 0)[0], np.min(part, 0)[1], np.max(part, 0)[1]]
        np.testing.assert_allclose(told, truth, atol=2.6 * abs(dataset.transform.a))


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    links = [
        value for _, name, value in page.attributes if name in ("src", "href", "srcset", "action", "data")
    ]
    assert links == ["#items"]
    assert "@import" not in page.blocks["style"]
    assert "url(" not in page.blocks["style"]
    assert not re.search(
        r"fetch\(|XMLHttpRequest|importScripts|innerHTML|document\.write", page.blocks["script"]
    )


def test_policy_lets_only_the_own_script_and_style_run(page: Page) -> None:
    policy = next(value for tag, name, value in page.attributes if tag == "meta" and "default-src" in value)
    assert "default-src 'none'" in policy
    for name in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.blocks[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


@pytest.fixture
def hostile(result: RunResult, tmp_path: Path) -> Path:
    """A copy of a run whose ids and reasons are written by an enemy."""
    folder = tmp_path / "hostile"
    shutil.copytree(Path(result.output, STATE), folder / STATE)
    with open(Path(result.output, TABLE), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:3]:
        row["details"] = HOSTILE
    rows[1]["item"] = HOSTILE
    with open(folder / TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_hostile_text_stays_text(hostile: Path, page: Page) -> None:
    found = Page(report(hostile))
    assert found.data["items"][0]["reason"] == HOSTILE
    assert found.data["items"][1]["id"] == HOSTILE
    assert found.count["script"] == page.count["script"] - 1
    assert found.count["img"] == 0


@pytest.fixture
def many(result: RunResult, tmp_path: Path) -> Path:
    """A run of a thousand items, each with the largest picture of the real one."""
    states = Path(result.output, STATE).glob("*.evidence")
    largest = max(states, key=lambda path: path.stat().st_size).read_bytes()
    with open(Path(result.output, TABLE), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (tmp_path / STATE).mkdir()
    with open(tmp_path / TABLE, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for k in range(1000):
            writer.writerow(rows[k % len(rows)] | {"item": f"item_{k:04d}"})
            (tmp_path / STATE / f"item_{k:04d}.evidence").write_bytes(largest)
    return tmp_path


def test_thousand_items_stay_below_twenty_megabytes(many: Path) -> None:
    assert report(many).stat().st_size < 20e6


def test_damaged_evidence_costs_only_its_picture(hostile: Path, page: Page) -> None:
    for k, path in enumerate(sorted((hostile / STATE).glob("*.evidence"))):
        whole = path.read_bytes()
        path.write_bytes((b"{", whole[: len(whole) // 2], b"\xff\xfe", b"[]", b'{"box": 3}')[k % 5])
    found = Page(report(hostile))
    assert len(found.data["items"]) == 8
    assert not [name for name in found.blocks if name.startswith("evidence-")]


def test_aligned_stack_is_reported_with_pictures(tmp_path: Path) -> None:
    aligned = align(sample_stack(3, (224, 224), seed=5), anchor=1)
    found = Page(report(aligned, tmp_path / "stack.html"))
    assert [item["status"] for item in found.data["items"]] == aligned.status.values.tolist()
    ties = json.loads(found.blocks["evidence-0"])["ties"]
    told = found.data["items"][0]
    assert all(len(item["area"][0]) == 4 for item in found.data["items"])
    # windows are those of the item before it was aligned
    np.testing.assert_allclose(np.median(ties["shift_x"]), told["x"], atol=0.1)
    np.testing.assert_allclose(np.median(ties["shift_y"]), told["y"], atol=0.1)


def test_aligned_network_is_reported_with_the_pairs_it_was_scored_by(
    chain: xr.DataArray, tmp_path: Path
) -> None:
    found = Page(report(chain, tmp_path / "chain.html"))
    against = [json.loads(found.blocks[f"evidence-{k}"])["against"] for k in range(4)]
    assert against == [None, None, chain.id.values[1], chain.id.values[2]]


def test_a_network_shows_an_item_beside_the_one_that_it_was_matched_with(
    strip: list[Path], tmp_path: Path
) -> None:
    result = run_scenes(strip, anchor=0, output=tmp_path, method="network")
    shifts = {found.id: found.quality.shift for found in result.reports}
    data = Page(report(result)).blocks
    evidence = [json.loads(data[f"evidence-{k}"]) for k in range(6)]
    assert [one["against"] for one in evidence[:3]] == [None] * 3
    for k in (4, 5):
        partner = evidence[k]["against"]
        assert partner in [f"part_{other}" for other in range(1, 6) if other != k]
        picture = _decoded(kept_evidence(tmp_path, f"part_{k}").evidence)
        shown, _, after = picture[:CHIP].reshape(CHIP, 3, CHIP).transpose(1, 0, 2).astype(float)
        for chip, item in ((shown, partner), (after, f"part_{k}")):
            with rasterio.open(strip[int(item[-1])]) as dataset, rasterio.open(strip[0]) as anchor:
                left = (dataset.bounds.left - anchor.bounds.left) / anchor.res[0]
                band = dataset.read(dataset.count // 2 + 1).astype(float)
            row, col = np.subtract(evidence[k]["chips"], shifts[item]) - (0, left)
            place = np.mgrid[:CHIP, :CHIP] + np.reshape([row, col], (2, 1, 1))
            aligned = ndimage.map_coordinates(band, place, order=3)
            # where the item ends the picture is black, which the blocks of its compression carry on
            seen = (place >= 8).all(axis=0) & (place < np.reshape(band.shape, (2, 1, 1)) - 8).all(axis=0)
            assert seen.any()
            assert np.corrcoef(chip[seen], aligned[seen])[0, 1] > 0.95


def test_an_item_of_a_network_that_was_matched_with_none_is_shown_alone(
    strip: list[Path], tmp_path: Path
) -> None:
    result = run_scenes([strip[0], strip[1], strip[5]], anchor=0, output=tmp_path, method="network")
    alone = json.loads(Page(report(result)).blocks["evidence-2"])
    assert alone["chips"] is None
    assert alone["ties"]["y"] == []
    assert set(coregstack.tie_points(result).against) == {"part_0"}


def test_quality_is_reported_without_pictures(tmp_path: Path) -> None:
    quality = estimate(sample_stack(3, (224, 224), seed=5), anchor=1)
    found = Page(quality.coreg.report(tmp_path / "quality.html"))
    assert len(found.data["items"]) == 3
    assert found.data["anchor"] == quality.attrs["anchor"]


def test_what_cannot_be_reported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="float was given"):
        report(3.5, tmp_path / "a.html")
    with pytest.raises(MissingFile, match=re.escape(TABLE)):
        report(tmp_path)
    with pytest.raises(InvalidRequest, match="status"):
        report(sample_stack(2, (64, 64)), tmp_path / "a.html")
    with pytest.raises(InvalidRequest, match="where the report goes"):
        report(estimate(sample_stack(2, (64, 64)), anchor=0))
    (tmp_path / TABLE).write_text("item,status\na,unheard of\n")
    with pytest.raises(UnreadableFile, match="not the table of a run"):
        report(tmp_path)
    assert not list(tmp_path.glob("*.html"))


def test_command_line_writes_it_unless_told_not_to(sample_order: SampleOrder, result: RunResult) -> None:
    from coregstack.cli import main

    path = Path(result.output, "report.html")
    path.unlink(missing_ok=True)
    order = [
        "order",
        str(sample_order.payload),
        "--input",
        str(sample_order.folder),
        "--output",
        result.output,
        "-q",
    ]
    assert main([*order, "--no-report"]) == 0
    assert not path.exists()
    assert main(order) == 0
    assert path.is_file()


def test_it_is_a_function_of_the_package() -> None:
    assert coregstack.report is report
