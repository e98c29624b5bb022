"""Every promise of the documents names tests, and every test that is named is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text("utf-8")
ROBUSTNESS = (ROOT / "docs" / "explain" / "robustness.md").read_text("utf-8")
_TEST = re.compile(r"`([\w/]*(?:\.py)?)::(test_\w+)`")


@cache
def in_file(file: str) -> frozenset[str]:
    """Names of the tests in a file below the folder of tests."""
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def named(text: str) -> list[tuple[str, str]]:
    """File and name of every test that a text names; one without a file is in that of the one before."""
    found: list[tuple[str, str]] = []
    for file, name in _TEST.findall(text):
        found.append((file or found[-1][0], name))
    return found


@pytest.mark.parametrize("text", [SECURITY, ROBUSTNESS], ids=["SECURITY.md", "robustness.md"])
def test_every_test_that_is_named_is_there(text: str) -> None:
    tests = named(text)
    assert len(tests) > 50
    assert [f"{file}::{name}" for file, name in tests if name not in in_file(file)] == []
    assert text.count("::test_") == len(tests)


def test_every_promise_has_a_test() -> None:
    promises = SECURITY[SECURITY.index("## Promises") : SECURITY.index("### Which test holds what")]
    table = dict(re.findall(r"^\| ([a-z]{1,2}) \| (.+) \|$", SECURITY, re.MULTILINE))
    asked = re.findall(r" \(([a-z]{1,2})\)", promises)
    assert sorted(asked) == sorted(table)
    assert all(named(cell) for cell in table.values())
    for number, promise in enumerate(re.split(r"^\d\. ", promises, flags=re.MULTILINE)[1:], start=1):
        assert re.search(r" \([a-z]{1,2}\)", promise), number


def test_every_input_and_fault_has_a_test() -> None:
    tables = ROBUSTNESS[
        ROBUSTNESS.index("## What becomes of a bad input") : ROBUSTNESS.index("## What was tested")
    ]
    rows = [
        line for line in tables.splitlines() if line.startswith("|") and not line.startswith(("|---", "| **"))
    ]
    rows = [row for row in rows if not row.endswith("| test |")]
    assert len(rows) > 50
    assert [row for row in rows if not named(row.split(" | ")[-1])] == []
