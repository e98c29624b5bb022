"""The chain of AROSICS for `network.py`; runs in an environment that has it: data.npz in, data.npy out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from arosics import COREG
from geoarray import GeoArray
from pyproj import CRS

FRAME = (5e5, 10, 0, 5e6, 0, -10), CRS.from_epsg(32633).to_wkt()


def main(path: str) -> None:
    """Match each date with the nearest one on the anchor's side that could be matched."""
    data = np.load(path)
    pixels, clear, anchor = data["pixels"], data["clear"], int(data["anchor"])
    images = [GeoArray(image, *FRAME, nodata=0) for image in pixels]
    masks = [GeoArray((~mask).astype(np.uint8), *FRAME) for mask in clear]
    shift = np.full((len(images), 2), np.nan)
    shift[anchor] = 0
    for order in (range(anchor + 1, len(images)), range(anchor - 1, -1, -1)):
        last = anchor
        for k in order:
            try:
                found = COREG(
                    images[last], images[k], mask_baddata_ref=masks[last], mask_baddata_tgt=masks[k],
                    ws=(192, 192), max_shift=6, fmt_out="GTIFF", q=True, progress=False, CPUs=1, ignore_errors=True,
                )  # fmt: skip
                found.calculate_spatial_shifts()
                y, x = float(found.y_shift_px), float(found.x_shift_px)
            except (RuntimeError, ValueError, TypeError, AssertionError):
                continue
            if found.success and np.isfinite([y, x]).all():
                shift[k] = shift[last] + (y, x)
                last = k
    np.save(Path(path).with_suffix(".npy"), shift)


if __name__ == "__main__":
    main(sys.argv[1])
