"""Sound inputs that stand beside the bad ones, and what becomes of them when nothing is wrong."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import recipes
from digests import tree

from coregstack import run_scenes


@pytest.fixture(scope="session")
def sound(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """An anchor and a good scene, and the output of an undisturbed run over both."""
    folder = tmp_path_factory.mktemp("sound")
    recipes.write_tiff(folder / "anchor.tif", recipes.pixels((0.0, 0.0)))
    recipes.write_tiff(folder / "good.tif")
    output = tmp_path_factory.mktemp("undisturbed")
    run_scenes([folder / "anchor.tif", folder / "good.tif"], anchor="anchor", output=output)
    good = {name: digest for name, digest in tree(output).items() if name.startswith("good")}
    assert sorted(good) == ["good_coreg.tif", "good_coreg_qa_metadata.json"]
    return SimpleNamespace(
        folder=folder,
        anchor=folder / "anchor.tif",
        good=folder / "good.tif",
        output=output,
        digests=good,
    )
