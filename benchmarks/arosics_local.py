"""`COREG_LOCAL` of AROSICS for `fields.py`; runs in an environment that has it: data.npz in, data.npy out.

What it has found is not asked of it: it is applied to an item whose pixels hold their own positions, and what comes out
at p is p - d(p).
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import numpy as np
from arosics import COREG_LOCAL, DESHIFTER
from geoarray import GeoArray
from pyproj import CRS

FRAME = (5e5, 10, 0, 5e6, 0, -10), CRS.from_epsg(32633).to_wkt()
GRID, WINDOW = 16, (64, 64)


def displacement(anchor: np.ndarray, item: np.ndarray) -> np.ndarray:
    """Displacement (2, y, x), px, of an item, NaN where it finds none; images of shape (y, x), NaN without data."""
    images = [GeoArray(np.nan_to_num(one).astype(np.float32), *FRAME, nodata=0) for one in (anchor, item)]
    found = COREG_LOCAL(
        *images, grid_res=GRID, window_size=WINDOW, max_shift=6, q=True, progress=False, CPUs=1, ignore_errors=True
    )  # fmt: skip
    found.calculate_spatial_shifts()
    at = np.indices(item.shape).astype(np.float32)
    moved = []
    for positions in at:
        # positions lie above 0, which stands for no data
        own = GeoArray(positions + 1000, *FRAME, nodata=0)
        done = DESHIFTER(
            own, found.coreg_info, align_grids=True, resamp_alg="cubic", q=True, progress=False, CPUs=1
        )
        out = np.asarray(done.correct_shifts()["arr_shifted"], float)
        moved.append(np.where(out > 0, out - 1000, np.nan))
    return at - np.stack(moved)


def main(path: str) -> None:
    """Match each pair of the file."""
    data = np.load(path)
    results = {}
    for name in data.files:
        if name.startswith("anchor"):
            anchor, item = data[name], data[name.replace("anchor", "item")]
            results[name.replace("anchor", "found")] = np.full((2, *anchor.shape), np.nan)
            with contextlib.suppress(RuntimeError, ValueError, TypeError, AssertionError, KeyError):
                results[name.replace("anchor", "found")] = displacement(anchor, item)
    np.savez(Path(path).with_suffix(".found.npz"), **results)


if __name__ == "__main__":
    main(sys.argv[1])
