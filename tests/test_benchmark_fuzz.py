"""The fuzzer finds nothing in a few inputs of each kind, and would find what it looks for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import fuzz
import numpy as np
import pytest

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
def test_a_few_inputs_of_each_kind(kind: str, tmp_path: Path) -> None:
    assert list(fuzz.KINDS) == KINDS
    ends = [fuzz.one(kind, 7, number, tmp_path) for number in range(5 if kind == "notes" else 15)]
    assert set(ends) <= {"taken", "refused"}, ends


def test_what_it_looks_for_it_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(rng: np.random.Generator, folder: Path) -> None:
        raise ZeroDivisionError

    def stray(rng: np.random.Generator, folder: Path) -> None:
        (folder / "stray").touch()

    def half(rng: np.random.Generator, folder: Path) -> None:
        (folder / "out" / ".x.part").touch()

    for kind, words in ((crash, "ZeroDivisionError"), (stray, "outside the output"), (half, "half-written")):
        monkeypatch.setitem(fuzz.KINDS, "names", kind)
        assert words in fuzz.one("names", 0, 0, tmp_path)


# this process may have threads by now, but none that names need
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@forks
def test_the_command_makes_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert fuzz.main(["--kind", "names", "--inputs", "3"]) == 0
    printed = capsys.readouterr().out
    assert "| names | 3 |" in printed
    assert "3 inputs, 0 failures" in printed


def dies_of_one(kind: str, seed: int, numbers: Iterable[int], folder: Path, deadline: float) -> None:
    """Work, as the fuzzer does, but die of number 1."""
    if 0 in numbers:
        fuzz.work(kind, seed, [0], folder, deadline)
        (folder / "number").write_text("1")
        os.write(2, b"last words")
        os.kill(os.getpid(), signal.SIGKILL)
    fuzz.work(kind, seed, numbers, folder, deadline)


@forks
def test_a_worker_that_dies_is_named_and_the_next_goes_on(tmp_path: Path) -> None:
    ends = dict(fuzz.supervise("names", 0, 4, float("inf"), tmp_path, dies_of_one))
    assert ends.pop(1) == "died (-9): last words"
    assert set(ends) == {0, 2, 3}


def dies_at_once(kind: str, seed: int, numbers: Iterable[int], folder: Path, deadline: float) -> None:
    """Die before any input is begun, as a worker does that cannot import what it needs."""
    os.kill(os.getpid(), signal.SIGKILL)


@forks
def test_workers_that_die_before_their_first_input_come_to_an_end(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    ends = dict(fuzz.supervise("names", 0, 3, float("inf"), tmp_path, dies_at_once))
    assert ends == dict.fromkeys(range(3), "died (-9): ")
