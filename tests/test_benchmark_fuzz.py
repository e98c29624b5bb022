"""The fuzzer finds nothing in a few inputs of each kind, and would find what it looks for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "benchmarks" / "fuzz.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


KINDS = [
    "geotiff",
    "jpeg2000",
    "masks",
    "payloads",
    "json",
    "manifests",
    "names",
    "geometry",
    "zips",
    "notes",
    "claims",
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_a_few_inputs_of_each_kind(kind: str, fuzz: ModuleType, tmp_path: Path) -> None:
    assert list(fuzz.KINDS) == KINDS
    ends = [fuzz.one(kind, 7, number, tmp_path) for number in range(15)]
    assert set(ends) <= {"taken", "refused"}, ends


def test_what_it_looks_for_it_finds(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(rng: np.random.Generator, folder: Path) -> None:
        raise ZeroDivisionError

    def stray(rng: np.random.Generator, folder: Path) -> None:
        (folder / "stray").touch()

    def half(rng: np.random.Generator, folder: Path) -> None:
        (folder / "out" / ".x.part").touch()

    for kind, words in ((crash, "ZeroDivisionError"), (stray, "outside the output"), (half, "half-written")):
        monkeypatch.setitem(fuzz.KINDS, "names", kind)
        assert words in fuzz.one("names", 0, 0, tmp_path)


def test_the_command_makes_a_table(fuzz: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--kind", "names", "--inputs", "3"]) == 0
    printed = capsys.readouterr().out
    assert "| names | 3 |" in printed
    assert "3 inputs, 0 failures" in printed


def test_a_worker_that_dies_is_named_and_the_next_goes_on(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "worker.py"
    script.write_text(
        "import runpy, sys, os\n"
        f"sys.argv[0] = {fuzz.__file__!r}\n"
        "first = int(sys.argv[sys.argv.index('--first') + 1])\n"
        "if first == 0:\n"
        "    open('number', 'w').write('1')\n"
        "    os.kill(os.getpid(), 9)\n"
        f"runpy.run_path({fuzz.__file__!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(script))
    folder = tmp_path / "names"
    folder.mkdir()
    ends = dict(fuzz.supervise("names", 0, 4, float("inf"), folder))
    assert "died (-9)" in ends.pop(1)
    assert set(ends) == {2, 3}
