"""The documentation's code is code: it parses, the tutorial runs, and the reference leaves nothing out."""

from __future__ import annotations

import ast
import base64
import importlib.util
import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest

import coregstack

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])

if not (DOCS / "tutorial.md").is_file():
    pytest.skip("the documentation is not part of this copy", allow_module_level=True)


def _blocks(page: Path, *, nested: bool) -> list[str]:
    """Python code of a page; with `nested`, also what stands in tabs."""
    indent = r"[ ]*" if nested else ""
    found = re.findall(rf"(?ms)^({indent})```python\n(.*?)^\1```", page.read_text("utf-8"))
    return [textwrap.dedent(code) for _, code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_code_parses(page: Path) -> None:
    for code in _blocks(page, nested=True):
        ast.parse(code)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_code_calls_what_is_there(page: Path) -> None:
    named = set(re.findall(r"\bcoregstack\.([a-z_]+)\(", page.read_text("utf-8")))
    assert {name for name in named if not hasattr(coregstack, name)} == set()


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in _blocks(DOCS / "tutorial.md", nested=False):
        exec(compile(code, "tutorial.md", "exec"), names)
    assert float(names["error"].median()) < 0.05  # type: ignore[attr-defined]
    assert (tmp_path / "cube.zarr").is_dir()
    assert (tmp_path / "out" / "coregistration.csv").is_file()


def test_the_example_of_an_estimator_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for code in _blocks(DOCS / "howto" / "estimators.md", nested=False):
        exec(compile(code, "estimators.md", "exec"), names)
    assert names["quality"].status.values.tolist() == ["anchor", "coregistered"]
    assert "coregistered" in capsys.readouterr().out


def test_every_figure_can_be_drawn_anew(capsys: pytest.CaptureFixture[str]) -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    spec = importlib.util.spec_from_file_location("figures", DOCS / "figures.py")
    figures = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    with plt.rc_context():
        spec.loader.exec_module(figures)  # type: ignore[union-attr]
        for name in (path.stem for path in (DOCS / "images").glob("*.png") if path.stem != "before_after"):
            # fewer dates than on the page draw all that it shows
            fewer = {"network": {"dates": 16}, "tutorial": {"dates": 6}}.get(name, {})
            assert getattr(figures, name)(**fewer).axes
            plt.close("all")
    page = _without_numbers((DOCS / "howto" / "failures.md").read_text("utf-8"))
    for line in capsys.readouterr().out.splitlines():
        assert _without_numbers(line.partition(": ")[2]) in page, line


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+(\.\d+)?", "#", text)


def test_the_page_on_quality_names_every_benchmark() -> None:
    page = (DOCS / "good.md").read_text("utf-8")
    scripts = [path for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text("utf-8")]
    # those of AROSICS are run by other benchmarks, in its own environment
    missing = {
        path.name for path in scripts if path.name not in page and not path.name.startswith("arosics_")
    }
    assert scripts
    assert missing == set()


def test_the_reference_holds_every_public_function() -> None:
    text = (DOCS / "reference" / "python.md").read_text("utf-8")
    listed = set(re.findall(r"^::: coregstack\.(\w+)$", text, re.MULTILINE))
    functions = {name for name in coregstack.__all__ if callable(getattr(coregstack, name))} - {"CoregError"}
    assert functions - listed == set()


def test_every_public_function_has_an_example() -> None:
    for name in coregstack.__all__:
        thing = getattr(coregstack, name)
        if callable(thing) and not isinstance(thing, type):
            assert ">>>" in (thing.__doc__ or ""), name


@pytest.fixture
def hooks() -> Any:
    """What mkdocs calls when it builds the site."""
    pytest.importorskip("mkdocs", reason="mkdocs is an optional extra")
    spec = importlib.util.spec_from_file_location("docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _notebook(*outputs: dict[str, Any]) -> str:
    """A notebook of a heading and one cell, with what the cell has shown."""
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "\n", "Words."]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": list(outputs)},
    ]
    return json.dumps({"nbformat": 4, "cells": cells})


def test_a_notebook_becomes_a_page_with_what_it_has_shown(hooks: Any) -> None:
    png = b"\x89PNG"
    page, shown, pictures = hooks.notebook_page(
        _notebook(
            {"output_type": "stream", "name": "stderr", "text": ["a warning"]},
            {"output_type": "stream", "name": "stdout", "text": ["\x1b[31ma < b\x1b[0m\n"]},
            {"output_type": "display_data", "data": {hooks._WIDGET: {}, "text/plain": ["VBox()"]}},
            {"output_type": "execute_result", "data": {"text/plain": ["2"], "text/html": ["<b>two</b>"]}},
            {"output_type": "display_data", "data": {"image/png": base64.b64encode(png).decode()}},
        ),
        "made",
    )
    assert page.startswith("# Title")
    assert "```python\n1 + 1\n```" in page
    assert "a &lt; b" in shown[0]
    assert "\x1b" not in shown[0]
    assert "<b>two</b>" in shown[1]
    assert len(shown) == 2
    assert page.index("<!-- shown 0 -->") < page.index("<!-- shown 1 -->") < page.index("(made_1.png)")
    assert pictures == {"made_1.png": png}
    assert "before it is run" not in page


def test_a_notebook_that_was_not_run_says_so(hooks: Any) -> None:
    page, shown, pictures = hooks.notebook_page(_notebook(), "made")
    assert "before it is run" in page
    assert (shown, pictures) == ([], {})


def test_all_notebooks_are_in_the_navigation_and_kept_without_outputs() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for path in notebooks:
        assert f": notebooks/{path.stem}.md" in config
        for cell in json.loads(path.read_text("utf-8"))["cells"]:
            assert not cell.get("outputs"), path.name


def test_pages_load_nothing_from_elsewhere() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in config
    for page in DOCS.rglob("*.md"):
        assert not re.search(r"!\[[^]]*\]\(https?://", page.read_text("utf-8")), page
