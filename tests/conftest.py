"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import recipes
import xarray as xr
from hypothesis import HealthCheck, settings
from webserver import WebServer, serving

import coregstack
from coregstack.testing import SampleOrder, sample_stack, write_sample_order

settings.register_profile(
    "ci", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("ci")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_finish() -> None:
    """Keep the garbage collector from going through all that was imported, which is some hundredths of the time."""
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real scenes; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("COREGSTACK_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scenes at {folder}: set COREGSTACK_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def sample_order(tmp_path_factory: pytest.TempPathFactory) -> SampleOrder:
    """A delivered order whose true shifts are known; tests read it and leave it as it is."""
    return write_sample_order(tmp_path_factory.mktemp("sample") / "order", size=320)


@pytest.fixture(scope="session")
def small_stack() -> xr.DataArray:
    """Five clear and cloudy dates in memory, with true shifts; tests leave its values as they are."""
    return sample_stack(5, (224, 256), seed=3, max_shift=2.5, cloud_cover=0.1)


@pytest.fixture(scope="session")
def chain() -> xr.DataArray:
    """Four dates in memory, aligned as a network: each sees a strip further on, the last two none of the anchor."""
    stack = sample_stack(4, (192, 520), seed=3, max_shift=2.0, cloud_cover=0)[:, :2].drop_vars("clear")
    for k, left in enumerate((0, 60, 180, 300)):
        stack[k, :, :, :left] = 0
        stack[k, :, :, left + 200 :] = 0
    return coregstack.align(stack, anchor=0, method="network").compute()


@pytest.fixture(scope="session")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an anchor, a scene that is shifted against it, and files that are none."""
    folder = tmp_path_factory.mktemp("scenes")
    recipes.write_tiff(folder / "anchor.tif", recipes.pixels((0.0, 0.0)))
    recipes.write_tiff(folder / "good.tif")
    (folder / "empty.tif").write_bytes(b"")
    (folder / "junk.tif").write_bytes(b"<html>no raster</html>")
    return folder


@pytest.fixture
def server(hosted: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server of these scenes, on this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(hosted) as found:
        yield found
