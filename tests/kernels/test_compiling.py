"""What one process has compiled serves the next, and never as something else than it is."""

from __future__ import annotations

import ast
import errno
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from coregstack.kernels import compiling

SOURCE = """
from coregstack.kernels.compiling import compiled

def make(step):
    @compiled
    def add(values):
        total = values[0] * 0
        for value in values:
            total += value + step
        return total
    return add

add = make(1)
"""
WHOLE, HALF = np.array([1, 2]), np.array([0.5, 0.25], np.float32)


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], ModuleType]:
    """Makes the module anew, as another process would that keeps what it compiles in the same folder."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    path = tmp_path / "kernel.py"
    path.write_text(SOURCE)

    def load() -> ModuleType:
        compiling._source_digest.cache_clear()
        spec = importlib.util.spec_from_file_location("kernel", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "kernel", module)
        spec.loader.exec_module(module)
        return module

    return load


def hits(function: Any) -> int:
    return sum(function.stats.cache_hits.values())


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nbc"))


def test_kinds_that_processes_compile_at_once_are_not_taken_for_each_other(
    process: Callable[[], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = process(), process()
    dump = compiling._Files._dump

    def meanwhile(self: Any, content: Any) -> Any:
        # while one process keeps what it has compiled, another compiles another kind and keeps it
        monkeypatch.setattr(compiling._Files, "_dump", dump)
        assert second.add(HALF) == 2.75
        return dump(self, content)

    monkeypatch.setattr(compiling._Files, "_dump", meanwhile)
    assert first.add(WHOLE) == 5
    third = process()
    assert third.add(HALF) == 2.75
    assert third.add(WHOLE) == 5
    assert hits(third.add) == 2


def test_functions_made_for_different_constants_are_kept_apart(process: Callable[[], ModuleType]) -> None:
    module = process()
    assert (module.add(WHOLE), module.make(10)(WHOLE)) == (5, 23)
    again = process()
    other = again.make(10)
    assert (again.add(WHOLE), other(WHOLE)) == (5, 23)
    assert hits(again.add) == hits(other) == 1


JOINED = """
import sys
import numpy as np
from coregstack.kernels.compiling import compiled

def make(count):
    @compiled
    def smooth(values, taps, out):
        for k in range(values.shape[0]):
            rows = np.zeros(values.shape[1] + count, values.dtype)
            for x in range(values.shape[1]):
                rows[x] = values[k, x]
            for x in range(values.shape[1]):
                total = 0.0
                for i in range(count):
                    total += taps[i] * rows[x + i]
                out[k, x] = total
    return smooth

three, five = make(3), make(5)

@compiled
def by_three(values, taps, out):
    three(values, taps, out)
    three(out.copy(), taps, out)

@compiled
def by_five(values, taps, out):
    five(values, taps, out)
    five(out.copy(), taps, out)

if __name__ == "__main__":
    import kernel

    for name in sys.argv[1:]:
        out = np.zeros((1, 9))
        getattr(kernel, f"by_{name}")(np.ones((1, 9)), np.ones(9), out)
        print(int(out[0, 0]))
"""


def test_what_processes_made_of_one_function_for_different_constants_is_kept_apart_in_another(
    tmp_path: Path,
) -> None:
    # machine code is joined by the names of functions, which numba numbers anew in every process
    (tmp_path / "kernel.py").write_text(JOINED)

    def run(*names: str) -> list[int]:
        told = subprocess.run(
            [sys.executable, tmp_path / "kernel.py", *names],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept")},
            capture_output=True,
            text=True,
            check=True,
        )
        return [int(line) for line in told.stdout.split()]

    assert (run("three"), run("five")) == ([9], [25])
    assert run("three", "five") == [9, 25]
    assert run("five", "three") == [25, 9]


def test_compiling_is_told_and_finding_is_not(process: Callable[[], ModuleType]) -> None:
    told: list[str] = []
    with compiling.notify_compiling(lambda: told.append("compiling")):
        module = process()
        assert not told
        module.add(WHOLE)
        module.add(WHOLE)
        assert told == ["compiling"]
        process().add(WHOLE)
        assert told == ["compiling"]
        module.add(HALF)
        assert told == ["compiling"] * 2
    process().make(10)(WHOLE)
    assert told == ["compiling"] * 2


@pytest.mark.parametrize("damage", ["empty", "shorter", "zeros"])
def test_what_is_damaged_is_compiled_again(
    process: Callable[[], ModuleType], tmp_path: Path, damage: str
) -> None:
    process().add(WHOLE)
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "shorter": whole[:-100], "zeros": bytes(len(whole))}[damage])
    module = process()
    assert module.add(WHOLE) == 5
    assert hits(module.add) == 0
    assert hits_of_next(process) == 1


def test_what_came_with_the_package_is_found_without_a_cache(
    process: Callable[[], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process().add(WHOLE)
    (path,) = kept(tmp_path)
    packaged = tmp_path / "packaged" / path.name
    packaged.parent.mkdir()
    path.rename(packaged)
    monkeypatch.setattr(compiling, "PACKAGED", packaged.parent)
    assert hits_of_next(process) == 1
    assert kept(tmp_path) == [packaged]
    packaged.write_bytes(packaged.read_bytes()[:-100])
    module = process()
    assert module.add(WHOLE) == 5
    assert hits(module.add) == 0


def test_no_lock_is_left_behind(process: Callable[[], ModuleType], tmp_path: Path) -> None:
    process().add(WHOLE)
    assert not list(tmp_path.rglob("*.lock"))


def test_of_two_processes_that_want_one_kind_one_compiles(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(SOURCE)
    code = (
        "import kernel, numpy; kernel.add(numpy.ones(2)); print(sum(kernel.add.stats.cache_misses.values()))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environment.pop("NUMBA_CACHE_DIR", None)
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert sum(int(process.communicate()[0]) for process in processes) == 1


def hits_of_next(process: Callable[[], ModuleType]) -> int:
    module = process()
    module.add(WHOLE)
    return hits(module.add)


def test_a_change_of_the_source_is_compiled_and_what_was_there_goes(
    process: Callable[[], ModuleType], tmp_path: Path
) -> None:
    module = process()
    module.add(WHOLE)
    module.add(HALF)
    before = kept(tmp_path)
    assert len(before) == 2
    # of another length: Python tells a source from its bytecode by its size and the second it was written in
    (tmp_path / "kernel.py").write_text(SOURCE.replace("value + step", "value - 1 * step"))
    assert process().add(WHOLE) == 1
    after = kept(tmp_path)
    assert len(after) == 1
    assert not set(after) & set(before)


def test_what_is_compiled_depends_on_all_that_it_imports_and_on_nothing_else() -> None:
    package = Path(compiling.__file__).parents[1]
    needed = {path.name for path in all_imported(package / "kernels" / "_blocks.py")}
    assert {"compiling.py", "keeping.py", "turns.py"} <= needed
    assert "score.py" not in needed
    for path in sorted((package / "kernels").glob("*.py")):
        tree = ast.parse(path.read_text())
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        whole = {
            f"{node.name}"
            for found in ast.walk(tree)
            if isinstance(found, ast.Import)
            for node in found.names
        }
        assert not any(name.startswith("coregstack") for name in whole)
        expected = {name for name in modules if name and name.startswith("coregstack.")}
        found = {
            ".".join(file.relative_to(package.parent).with_suffix("").parts)
            for file in compiling._imported(path)
        }
        assert found == expected - {"coregstack.kernels"}


def all_imported(path: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = {path}
    while waiting:
        found |= waiting
        waiting = {file for each in waiting for file in compiling._imported(each)} - found
    return found


def test_flushing_empties_the_folder(process: Callable[[], ModuleType], tmp_path: Path) -> None:
    module = process()
    module.add(WHOLE)
    module.add._cache.flush()
    assert not kept(tmp_path)


def test_a_full_disk_costs_only_time(
    process: Callable[[], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(compiling._Files, "_open_for_write", full)
    assert process().add(WHOLE) == 5
    assert not kept(tmp_path)


def test_no_folder_that_can_be_written_is_needed(
    process: Callable[[], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*_: object) -> None:
        raise RuntimeError("cannot cache function")

    monkeypatch.setattr(compiling._Cache, "__init__", nowhere)
    assert process().add(WHOLE) == 5
    assert not kept(tmp_path)


def test_processes_that_start_at_once_agree(process: Callable[[], ModuleType], tmp_path: Path) -> None:
    words = (
        "import sys, numpy as np; sys.path.insert(0, sys.argv[1]); import kernel; "
        "print(kernel.add(np.array([1, 2], sys.argv[2])))"
    )
    kinds = ["i2", "i8", "f4", "f8"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", words, str(tmp_path), kind], stdout=subprocess.PIPE, text=True
        )
        for kind in kinds
    ]
    assert [float(each.communicate()[0]) for each in running] == [5.0] * len(kinds)
    module = process()
    assert [module.add(np.array([1, 2], kind)) for kind in kinds] == [5] * len(kinds)
