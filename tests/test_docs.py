"""The documentation's code is code: it parses, the tutorial runs, and the reference leaves nothing out."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

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


def test_pages_load_nothing_from_elsewhere() -> None:
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    assert "font: false" in config
    for page in DOCS.rglob("*.md"):
        assert not re.search(r"!\[[^]]*\]\(https?://", page.read_text("utf-8")), page
