"""What a report costs as items are added: seconds to write it, its size, and how long a browser lets one wait.

Run ``python benchmarks/report.py``; it prints one table. Scenes of the sample landscape, each with its own season,
clouds, footprint and shift, are aligned by one real run, and reports are written of its first 100, its first 300 and
all of its items: windows and pictures are those that the run has left.

Waits are those of headless Chromium, median of some tries, each until the change is painted; a screen that is
painted 60 times a second alone makes up to 17 ms of them. "Open" is from naming the file until the table can be used,
"filter" from a letter typed into the search until the table shows what was found, "charts" until the charts show it too
(they wait 120 ms for the next letter), "sort" a click on a heading, "view" the opening of an item before and after.
Without selenium and Chromium these columns are empty.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import rasterio
from _common import table, workspace
from rasterio.transform import from_origin

from coregstack import report
from coregstack.run.scenes import run_scenes
from coregstack.testing import Conditions, shifted_scene

# a frame is painted after the tasks that were asked for in it
_PAINTED = "const painted = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));"
_OPENED = "await painted(); return document.documentElement.dataset.ready === 'true';"
_FILTER = """
const search = document.getElementById("search"), map = document.querySelector("#chart-map svg");
const begin = performance.now();
search.value = search.value ? "" : "3";
search.dispatchEvent(new Event("input"));
await painted();
const table = performance.now();
while (document.querySelector("#chart-map svg") === map) await painted();
return [table - begin, performance.now() - begin];
"""
_SORT = """
const begin = performance.now();
document.querySelector("th:nth-child(4) button").click();
await painted();
return performance.now() - begin;
"""
_VIEW = """
const buttons = document.querySelectorAll("td .open"), button = buttons[(arguments[0] + 1) % buttons.length];
const begin = performance.now();
button.click();
while (document.documentElement.dataset.opened !== button.textContent) await painted();
await painted();
return performance.now() - begin;
"""


def make_scenes(folder: Path, count: int, size: int, workers: int) -> list[Path]:
    """`count` dates of one place, named as scenes are; the first is clear and the anchor, some show only cloud."""
    folder.mkdir(parents=True, exist_ok=True)
    days = np.datetime64("2018-01-01") + 2 * np.arange(count)
    paths = [folder / f"{day.item():%Y%m%d}_094512_{k % 90 + 10}_2465.tif" for k, day in enumerate(days)]

    def make(k: int) -> None:
        rng = np.random.default_rng(k)
        how = Conditions(
            seed=k,
            season=days[k].item().timetuple().tm_yday / 366,
            cloud_cover=min(rng.exponential(0.2), 1) if k else 0,
            footprint=rng.uniform(-14, 14),
        )
        scene = shifted_scene((size, size), rng.normal(0, 1.5, 2) if k else (0, 0), conditions=how)
        profile = {
            "driver": "GTiff", "height": size, "width": size, "count": 4, "dtype": "uint16", "nodata": 0,
            "crs": "EPSG:32633", "transform": from_origin(5e5, 5.3e6, 3, 3), "compress": "deflate", "zlevel": 1,
        }  # fmt: skip
        with rasterio.open(paths[k], "w", **profile) as out:
            out.write(scene.values)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(make, (k for k in range(count) if not paths[k].exists())))
    return paths


@contextmanager
def chromium() -> Iterator[Any]:
    """Headless Chromium; None, and a word on why, where it or selenium is missing."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    missing = [
        name
        for name, found in (("selenium", webdriver), ("Chromium", binary), ("chromedriver", driver))
        if found is None
    ]
    if missing:
        print(f"Waits in a browser are not measured: no {' and no '.join(missing)} here.\n")
        yield None
        return
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    with tempfile.TemporaryDirectory(prefix="coregstack-profile-", ignore_cleanup_errors=True) as profile:
        for argument in (
            "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-sync",
            "disable-component-update", "disable-dev-shm-usage", "window-size=1400,1000", f"user-data-dir={profile}",
        ):  # fmt: skip
            options.add_argument(f"--{argument}")
        session = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
        try:
            yield session
        finally:
            session.quit()


def waits(browser: Any, page: Path, tries: int) -> list[float]:
    """Milliseconds of opening, filter of the table and of the charts, sort and view: medians of some tries."""

    def run(script: str, *arguments: Any) -> Any:
        return browser.execute_script(
            f"return (async function() {{ {_PAINTED} {script} }})(...arguments)", *arguments
        )

    found = []
    for k in range(tries):
        browser.get("about:blank")
        begin = time.perf_counter()
        browser.get(page.as_uri())
        if not run(_OPENED):
            raise SystemExit(f"{page} does not work in this browser.")
        opened = 1000 * (time.perf_counter() - begin)
        found.append([opened, *run(_FILTER), run(_SORT), run(_VIEW, k)])
    return [statistics.median(values) for values in zip(*found, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, nargs="+", default=[100, 300, 1000], help="items of each report")
    parser.add_argument("--size", type=int, default=384, help="rows and columns of the scenes")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--tries", type=int, default=5, help="tries, of which the median counts")
    parser.add_argument(
        "--folder", type=Path, help="keep scenes and reports here; they are used the next time"
    )
    parser.add_argument("--quick", action="store_true", help="a small smoke run")
    options = parser.parse_args(arguments)
    if options.quick:
        options.items, options.tries, options.size = [3, 6], 1, 256
    with (
        workspace(options.folder) as folder,
        dask.config.set(scheduler="threads", num_workers=options.workers),
    ):
        paths = make_scenes(
            folder / f"report_{options.size}", max(options.items), options.size, options.workers
        )
        result = run_scenes(paths, anchor=0, output=folder / f"report_{options.size}_out")
        with chromium() as browser:
            row = table(
                "items",
                "with a picture",
                "s to write",
                "MB",
                *(f"{name}, ms" for name in ("open", "filter", "charts", "sort", "view")),
            )
            for count in sorted(options.items):
                page = folder / f"report_{count}.html"
                begin = time.perf_counter()
                report(replace(result, reports=result.reports[:count]), page)
                wall = time.perf_counter() - begin
                pictures = page.read_text("utf-8").count('id="evidence-')
                times = (
                    [""] * 5 if browser is None else map("{:.0f}".format, waits(browser, page, options.tries))
                )
                row(count, pictures, f"{wall:.2f}", f"{page.stat().st_size / 1e6:.2f}", *times)


if __name__ == "__main__":
    main()
