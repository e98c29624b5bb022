"""Products of every layout, made of real scenes, each through one command: errors of shifts, files, masks.

python benchmarks/products.py [LAYOUT ...]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import layouts
import numpy as np
import rasterio

from coregstack.cli import main
from coregstack.orders.verification import verify_output

DATA = Path(os.environ.get("COREGSTACK_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHIFTS = [(0.0, 0.0), (1.3, -0.7), (-0.45, 2.2), (0.25, 0.25), (-3.6, -1.9)]
SIDE = 600


def sentinel() -> np.ndarray:
    """Blue, green, red and near infrared of a real Sentinel-2 scene, 10 m."""
    files = [
        DATA / "s2_l1c_33UUU_20170216_jp2" / f"T33UUU_20170216T102101_B{n}.jp2"
        for n in ("02", "03", "04", "08")
    ]
    return np.stack([_read(path) for path in files])


def landsat() -> np.ndarray:
    """The same of a real Landsat 8 scene, 30 m."""
    return np.stack(
        [_read(DATA / "l8_greenland_30m" / f"LC80030172015001LGN00_B{n}.tif") for n in (2, 3, 4, 5)]
    )


def _read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        rows, cols = ((size - SIDE - 24) // 2 for size in file.shape)
        return file.read(1, window=((rows, rows + SIDE + 24), (cols, cols + SIDE + 24)))


def measured(layout: str, root: Path) -> str:
    """One row of the table: largest and mean error over dates, and what became of the files."""
    image = landsat() if "Landsat" in layout else sentinel()
    dates = list(layouts.dates(image, SHIFTS, side=SIDE, clouds=0.15))
    ids = [layouts.LAYOUTS[layout](root / "in", date) for date in dates]
    with redirect_stdout(StringIO()) as text:
        code = main(["align", str(root / "in"), "--anchor", ids[0], "--output", str(root / "out"), "--json",
                     "--no-report", "--threshold", "0.995"])  # fmt: skip
    told = json.loads(text.getvalue())
    errors = [
        float(np.hypot(item["shift_y"] - y, item["shift_x"] - x))
        for item, (y, x) in zip(told["items"][1:], SHIFTS[1:], strict=True)
    ]
    copied, moved, strange = Counter(), 0, 0
    sources = {path.read_bytes(): path for path in (root / "in").rglob("*") if path.is_file()}
    listed = [name for item in told["items"] for name in item["files"].split(" ")]
    for name in listed:
        path = root / "out" / name
        if path.read_bytes() in sources:
            copied[path.suffix.lower()] += 1
        elif path.suffix.lower() == ".tif":
            moved += 1
            strange += _new_classes(path, root / "in")
    given = sum(1 for path in (root / "in").rglob("*") if path.is_file())
    problems = len(verify_output(root / "out")) + len(told["problems"])
    return (
        f"| {layout} | {code} | {np.mean(errors):.4f} | {max(errors):.4f} | {given} | {sum(copied.values())} | "
        f"{moved} | {strange} | {problems} |"
    )


def _new_classes(path: Path, source: Path) -> int:
    """Classes of a moved mask that its source does not have, beside its fill."""
    if not any(word in path.name for word in ("SCL", "QA_", "BQA", "Fmask", "udm2", "_clm", "MSK_")):
        return 0
    stem = path.stem.replace("_coreg", "")
    with rasterio.open(path) as after, rasterio.open(next(source.rglob(f"{stem}.*"))) as before:
        return len(set(np.unique(after.read())) - {*np.unique(before.read()), 0, 1, 255})


def run(wanted: list[str]) -> None:
    """Print the table."""
    print("| layout | exit code | mean error, px | largest | files in | copied byte for byte | moved | new classes | "
          "problems |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    for layout in layouts.LAYOUTS:
        if not wanted or any(word.lower() in layout.lower() for word in wanted):
            with tempfile.TemporaryDirectory() as folder:
                print(measured(layout, Path(folder)), flush=True)


if __name__ == "__main__":
    run(sys.argv[1:])
