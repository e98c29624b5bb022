"""The kernel benchmark runs, and its table says what it should."""

from __future__ import annotations

import math
import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "kernels.py"


def test_quick_run_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(SCRIPT))["main"](["--quick"])
    lines = [
        line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line[:1] == "|"
    ]
    made = {line[1]: float(line[6]) for line in lines[2:] if len(line) == 7}
    assert all(math.isfinite(float(cell)) for line in lines[2:] for cell in line[2:6])
    assert {"bilinear", "cubic", "lanczos", "allpass", "GDAL cubic"} <= made.keys()
    for kernel in ("bilinear", "cubic", "lanczos", "allpass"):
        assert made[kernel] == pytest.approx(0.1, abs=1e-4)
