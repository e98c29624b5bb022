"""The benchmark of fields: its truth is exact, and a field leaves less than one shift."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


def test_a_smooth_field_is_followed_and_a_shift_stays_one(data_dir: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "fields.py"), "--quick"],
        env=os.environ | {"COREGSTACK_DATA": str(data_dir)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if " | auto | " in line]
    (_, _, shift, _, _, _, one, _), (_, _, smooth, _, _, _, field, _) = rows
    assert one == "1 shift"
    assert float(shift) < 0.02
    assert field == "1 field"
    assert float(smooth) < 0.06
