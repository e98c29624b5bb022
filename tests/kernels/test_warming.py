"""What a wheel brings along is all that ordinary runs compile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
from pathlib import Path
from coregstack import run_order, run_scenes
from coregstack.kernels import compiling, warming
from coregstack.testing import write_sample_order

asked, load = [], compiling._Cache.load_overload

def load_overload(self, signature, target):
    if self._py_func.__module__.startswith("coregstack.kernels"):
        asked.append((self._py_func.__qualname__, signature))
    return load(self, signature, target)

compiling._Cache.load_overload = load_overload
for part in warming.PARTS.values():
    part()
print(len(asked))
asked.clear()
folder = Path(sys.argv[1])
order = write_sample_order(folder / "order", size=160)
run_order(order.payload, input=order.folder, output=folder / "shifts")
images = sorted(order.folder.glob("PSScene/*_SR_8b_clip.tif"))
run_scenes(images[:2], anchor=0, output=folder / "fields", model="field")
print(asked)
"""


def test_a_run_compiles_nothing_that_warming_has_not(tmp_path: Path) -> None:
    # in a process of its own, for other tests ask for any kind
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    warmed, missing = done.stdout.splitlines()[-2:]
    assert int(warmed) > 0
    assert missing == "[]"
