"""Every benchmark of whole runs works and prints tables whose numbers are numbers."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Quick = Callable[[str], str]
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Quick:
    """Runs a benchmark in its quick mode, here: most of what a new process does is to load what is loaded."""

    def run(name: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick"])
        # a folder of tests may have the name as well
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.import_module(name).main(["--quick"])
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("name", ["throughput", "scaling", "resume", "report", "start"])
def test_quick_mode_prints_tables(name: str, quick: Quick) -> None:
    printed = quick(name)
    lines = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    assert len(lines) >= 3
    assert all(
        any(char.isdigit() for char in cell) for line in lines for cell in line[2:3] if line[0][0].isdigit()
    )
    assert "NO" not in printed.split()


def test_right_and_wrong_peaks_are_apart_in_made_landscapes(quick: Quick) -> None:
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in quick("peaks").splitlines()}
    (_, right, least, *_), (*_, most, _) = rows["right"], rows["wrong"]
    assert int(right) == 28
    assert float(least) > 6 > float(most)


def test_every_goal_of_the_network_is_met_by_a_small_stack(
    data_dir: Path, quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COREGSTACK_DATA", str(data_dir))
    printed = quick("network")
    goals = [line for line in printed.splitlines() if line.startswith("| fields: ")]
    # How much time it takes cannot be told beside other tests.
    assert len([goal for goal in goals if goal.endswith("| yes |") or "CPU time" in goal]) == 4, printed
