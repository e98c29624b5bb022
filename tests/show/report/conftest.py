"""A finished run to report on, and a browser to look at the report with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coregstack.run.result import RunResult
from coregstack.testing import sample_stack


@pytest.fixture(scope="session")
def strip(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes along a strip: each overlaps the one before it, and only the first ones the anchor."""
    folder = tmp_path_factory.mktemp("strip")
    wide = sample_stack(6, (300, 900), seed=3, max_shift=2, cloud_cover=0)
    paths = [folder / f"part_{k}.tif" for k in range(6)]
    for path, scene, left in zip(paths, wide, [0, 0, 110, 250, 380, 520], strict=True):
        scene[:, :, left : left + 300].drop_vars("clear").rio.to_raster(path)
    return paths


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium without network."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium to drive a browser with")
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no Chromium with chromedriver here: the report is not clicked through")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1400,1000",
        "host-resolver-rules=MAP * ~NOTFOUND", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    session = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    try:
        yield session
    finally:
        session.quit()


@pytest.fixture
def page(browser: Any, result: RunResult) -> Any:
    """The report of the run, opened afresh."""
    from coregstack import report

    return opened(browser, report(result))


def opened(browser: Any, path: Path) -> Any:
    """The browser with a report open and drawn."""
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(path.as_uri())
    from selenium.webdriver.support.ui import WebDriverWait

    # a busy machine may hand the page over before its script has run
    WebDriverWait(browser, 60).until(
        lambda page: page.execute_script("return document.documentElement.dataset.ready") == "true"
    )
    return browser
