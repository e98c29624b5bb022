"""The floors of ARCHITECTURE.md: a folder imports only from floors below its own."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import coregstack

ROOT = Path(coregstack.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))


MOST_LOOSE = 8
LONGEST_CHAIN = 14


@pytest.fixture(scope="module")
def floors() -> dict[str, int]:
    """Floor of each folder and loose module, as the table tells it."""
    page = ROOT.parent / "ARCHITECTURE.md"
    if not page.exists():
        pytest.skip("the page is not installed with the package")
    rows = re.findall(r"^\| (\d+) \| ([^|]+)\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {room.strip("/"): int(floor) for floor, rooms in rows for room in re.findall(r"`([\w/]+)`", rooms)}


def name_of(path: Path) -> str:
    """Dotted name of a module below the package; the package itself is the empty name."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


def imports_of(path: Path, *, late: bool = True) -> set[str]:
    """Modules of the package that a module imports; without those that it imports `late`, inside a function."""
    known = {name_of(module) for module in MODULES}
    found = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8")), late=late):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "coregstack":
            package = (node.module or "").removeprefix("coregstack").lstrip(".")
            for alias in node.names:
                full = f"{package}.{alias.name}".lstrip(".")
                found.add(full if full in known else package)
    return found - {name_of(path)}


def _nodes(node: ast.AST, *, late: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING" and not late:
            continue
        yield child
        if late or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _nodes(child, late=late)


IMPORTS = {name_of(path): imports_of(path) for path in MODULES}
AT_ONCE = {name_of(path): imports_of(path, late=False) for path in MODULES}


@cache
def chain(module: str) -> tuple[str, ...]:
    """The longest way down from a module."""
    return (module, *max((chain(name) for name in sorted(AT_ONCE[module])), key=len, default=()))


def test_imports_do_not_go_round() -> None:
    TopologicalSorter(AT_ONCE).prepare()


@pytest.mark.parametrize("module", sorted(set(IMPORTS) - {"", "__main__"}))
def test_a_folder_imports_only_from_floors_below(module: str, floors: dict[str, int]) -> None:
    own = module.split(".")[0]
    assert own in floors, f"ARCHITECTURE.md gives {own} no floor"
    for room in {name.split(".")[0] for name in IMPORTS[module]} - {own}:
        assert floors[room] < floors[own], (
            f"{module} (floor {floors[own]}) imports {room} (floor {floors[room]})"
        )


def test_few_modules_lie_loose() -> None:
    loose = [path.name for path in ROOT.glob("*.py")]
    assert len(loose) <= MOST_LOOSE, loose


def test_the_longest_chain_of_imports_is_short() -> None:
    longest = max((chain(module) for module in AT_ONCE), key=len)
    assert len(longest) <= LONGEST_CHAIN, " -> ".join(longest)
