"""The accuracy benchmark runs, and its table says what it should."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def test_quick_run_accepts_nothing_wrong(
    data_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("COREGSTACK_DATA", str(data_dir))
    for name in ("accuracy", "cases", "peers", "series"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import accuracy

    accuracy.main(["--quick", "--estimators", "coregstack"])
    lines = [line for line in capsys.readouterr().out.splitlines() if " coregstack " in line]
    tiny = next(line for line in lines if line.startswith("tiny"))
    assert float(tiny.split("coregstack")[1].split()[2]) < 0.05
    refused = [line.split("coregstack")[1].split() for line in lines if line.startswith("refuse")]
    assert len(refused) >= 6
    assert all(wrong == "0" for _, wrong, _, _ in refused)
