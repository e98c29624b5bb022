"""Every benchmark of whole runs works and prints tables whose numbers are numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.parametrize("name", ["throughput", "scaling", "resume", "report", "start"])
def test_quick_mode_prints_tables(name: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert len(lines) >= 3
    assert all(
        any(char.isdigit() for char in cell) for line in lines for cell in line[2:3] if line[0][0].isdigit()
    )
    assert "NO" not in done.stdout.split()


def test_right_and_wrong_peaks_are_apart_in_made_landscapes() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "peaks.py"), "--quick"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in done.stdout.splitlines()}
    (_, right, least, *_), (*_, most, _) = rows["right"], rows["wrong"]
    assert int(right) == 28
    assert float(least) > 6 > float(most)


def test_every_goal_of_the_network_is_met_by_a_small_stack(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "network.py"), "--quick"],
        env=os.environ | {"COREGSTACK_DATA": str(data_dir)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    goals = [line for line in done.stdout.splitlines() if line.startswith("| fields: ")]
    # How much time it takes cannot be told beside other tests.
    assert len([goal for goal in goals if goal.endswith("| yes |") or "CPU time" in goal]) == 4, done.stdout
