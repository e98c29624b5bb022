"""Scenes behind addresses of this machine; nothing here asks any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import recipes
from webserver import WebServer, serving


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an anchor, and a scene that is shifted against it."""
    folder = tmp_path_factory.mktemp("scenes")
    recipes.write_tiff(folder / "anchor.tif", recipes.pixels((0.0, 0.0)))
    recipes.write_tiff(folder / "good.tif")
    (folder / "empty.tif").write_bytes(b"")
    (folder / "junk.tif").write_bytes(b"<html>no raster</html>")
    return folder


@pytest.fixture
def server(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server of the scenes."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(scenes) as found:
        yield found
