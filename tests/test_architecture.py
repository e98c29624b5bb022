"""The floors of ARCHITECTURE.md: no room imports from a floor above its own."""

import re
from pathlib import Path

import pytest

import coregstack

ROOT = Path(coregstack.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
IMPORT = re.compile(r"^ *from coregstack(?:\.([\w.]+))? import ([\w, ]+|\()", re.MULTILINE)


@pytest.fixture(scope="module")
def floors() -> dict[str, int]:
    """Floor of each room, as the table tells it."""
    page = ROOT.parent / "ARCHITECTURE.md"
    if not page.exists():
        pytest.skip("the page is not installed with the package")
    rows = re.findall(r"^\| (\d+) \| ([^|]+)\|", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {room.strip("/"): int(floor) for floor, rooms in rows for room in re.findall(r"`([\w/]+)`", rooms)}


def floor_of(module: str, floors: dict[str, int]) -> int | None:
    """Floor of the nearest room that a module, written with slashes, lies in."""
    parts = module.split("/")
    rooms = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((floors[room] for room in rooms if room in floors), None)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_room_imports_from_above(path: Path, floors: dict[str, int]) -> None:
    module = path.relative_to(ROOT).with_suffix("").as_posix().removesuffix("/__init__")
    own = floor_of(module, floors)
    if own is None:
        assert module in ("__init__", "__main__", "_version") or module.startswith("testing")
        return
    for package, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        rooms = [package.replace(".", "/")] if package else [name.strip() for name in names.split(",")]
        for room in rooms:
            floor = floor_of(room, floors)
            assert floor is None or floor <= own, f"{module} (floor {own}) imports {room} (floor {floor})"
