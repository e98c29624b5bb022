"""A few injected faults end as promised, and a promise that is broken is found."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def faults() -> ModuleType:
    spec = importlib.util.spec_from_file_location("faults", ROOT / "benchmarks" / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["faults"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench(faults: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return faults.Bench(folder=tmp_path_factory.mktemp("bench"))


QUICK = [
    "opening of a file", "bytes read", "bytes written", "flush to disk", "renaming", "pixels read", "pixels written",
    "damaged earlier output", "input changed meanwhile", "stale lock and notes", "swapped input",
    "cube: no room for an object", "cube: damaged chunks", "cube: damaged metadata", "cube: a changed byte",
    "cube: a store with other content", "cube: files of others in it", "cube: a remote store refuses",
]  # fmt: skip
"""Kinds that need no process of their own."""


@pytest.mark.parametrize("kind", QUICK)
def test_a_fault_of_each_kind(kind: str, faults: ModuleType, bench: Any) -> None:
    assert set(faults.KINDS) - set(QUICK) == {
        "no room for a file", "killed process", "killed worker", "lost scheduler", "odd streams",
        "signal to stop", "cube: killed process", "cube: two writers",
    }  # fmt: skip
    assert faults.one(kind, 11, 0, bench) in ("equal", "named", "stopped")


def damaging(harm: Callable[[Any, Path], object]) -> Callable[..., str]:
    """A fault that harms what a run has written, or read."""

    def inject(bench: Any, rng: Any, output: Path) -> str:
        result = bench.run(output)
        harm(bench, output)
        return str(sys.modules["faults"].judge(bench, output, result))

    return inject


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


BROKEN: dict[str, Callable[[Any, Path], object]] = {
    "holds what it should not": lambda bench, output: cut(next(output.glob("*_coreg.tif"))),
    "and is not named": lambda bench, output: next(output.glob("*_coreg.tif")).unlink(),
    "half-written": lambda bench, output: (output / ".x.part").touch(),
}


@pytest.mark.parametrize("words", BROKEN)
def test_a_broken_promise_is_found(
    words: str, faults: ModuleType, bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(faults.KINDS, "renaming", (1, damaging(BROKEN[words])))
    assert words in faults.one("renaming", 0, 0, bench)


def test_a_changed_input_is_found(
    faults: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def harm(bench: Any, output: Path) -> None:
        cut(bench.source / "manifest.json")

    monkeypatch.setitem(faults.KINDS, "renaming", (1, damaging(harm)))
    assert faults.main(["--kind", "renaming", "--faults", "1"]) == 1
    told = capsys.readouterr()
    assert "| renaming | 1 | 0 | 0 | 0 | 1 |" in told.out
    assert '--kind "renaming" --seed 0 --only 0: an input was changed' in told.err
