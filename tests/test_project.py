"""What surrounds the package says the same as the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from coregstack import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONDA_NAMES = {"dask": "dask-core"}

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").is_dir(), reason="not a checkout")


def loaded(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


def test_the_version_is_the_same_everywhere() -> None:
    assert loaded("CITATION.cff")["version"] == __version__
    assert loaded(".ci/conda/recipe.yaml")["context"]["version"] == __version__
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert sections[:2] == ["Unreleased", __version__]


def test_the_conda_recipe_needs_what_the_package_needs() -> None:
    needed = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    expected = {f"{CONDA_NAMES.get(r.name, r.name)} {r.specifier}" for r in needed}
    python = f"python {PROJECT['project']['requires-python']}"
    assert set(loaded(".ci/conda/recipe.yaml")["requirements"]["run"]) == expected | {python}


def test_addresses_are_those_of_the_project() -> None:
    urls = PROJECT["project"]["urls"]
    source = urls["Source"]
    assert loaded("CITATION.cff")["repository-code"] == source
    about = loaded(".ci/conda/recipe.yaml")["about"]
    assert (about["homepage"], about["repository"]) == (urls["Homepage"], source)
    (contact,) = loaded(".github/ISSUE_TEMPLATE/config.yml")["contact_links"]
    assert contact["url"] == f"{source}/security/advisories/new"
    assert (urls["Issues"], urls["Changelog"]) == (f"{source}/issues", f"{source}/blob/main/CHANGELOG.md")


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "SECURITY.md", "CHANGELOG.md"]
)
def test_pages_link_only_to_what_the_sdist_brings(page: str) -> None:
    brought = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    links = re.findall(r"\]\(([^)\s#]+)", (ROOT / page).read_text("utf-8"))
    for link in (link for link in links if "://" not in link):
        assert (ROOT / link).exists(), link
        assert any(link.strip("/") == top or link.startswith(f"{top}/") for top in brought), link


def test_every_python_that_is_named_is_tested() -> None:
    classified = {
        text.rpartition(" ")[2]
        for text in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", text)
    }
    jobs = loaded(".github/workflows/tests.yml")["jobs"]
    tested = {run["python"] for run in jobs["elsewhere"]["strategy"]["matrix"]["include"]}
    tested |= {
        step["with"]["python-version"]
        for step in jobs["all"]["steps"]
        if "python-version" in step.get("with", {})
    }
    assert tested == classified
