"""Make the README's picture: twelve made dates before and after alignment.

Usage: python benchmarks/readme_picture.py [docs/images/before_after.png]
"""

from __future__ import annotations

import sys

import matplotlib as mpl
import numpy as np
import xarray as xr

import coregstack
from coregstack.testing import sample_stack

mpl.use("Agg")
import matplotlib.pyplot as plt

WINDOW = {"y": slice(140, 300), "x": slice(150, 390)}
TARGET = "docs/images/before_after.png"


def main(path: str = TARGET) -> None:
    """Draw the temporal mean and the overlay of one date with the anchor, before and after."""
    stack = sample_stack(12, shape=(448, 512), seed=4)
    aligned = coregstack.align(stack, anchor=0).compute()
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.9), layout="constrained")
    for row, (array, words) in enumerate([(stack, "before"), (aligned, "after")]):
        axes[row, 0].imshow(_stretched(_mean(array)), interpolation="nearest")
        axes[row, 0].set_title(f"mean of {stack.sizes['time']} dates, {words}")
        axes[row, 1].imshow(_overlay(array), interpolation="nearest")
        axes[row, 1].set_title(f"anchor (orange) under one date (blue), {words}")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=110)
    errors = np.hypot(aligned.shift_y - stack.true_shift_y, aligned.shift_x - stack.true_shift_x)
    print(
        f"{path}: {int((aligned.status == 'coregistered').sum())} of {stack.sizes['time']} dates coregistered, "
        f"median error {float(errors.median()):.4f} px"
    )


def _mean(array: xr.DataArray) -> np.ndarray:
    """Mean of the clear pixels of all dates, red, green and blue."""
    bands = array.sel(band=["red", "green", "blue"]).isel(WINDOW).transpose("time", "y", "x", "band")
    return bands.where(array.clear.isel(WINDOW)).mean("time").values


def _overlay(array: xr.DataArray) -> np.ndarray:
    red = array.sel(band="red").isel(WINDOW)
    far = int(
        np.argmax(
            np.hypot(array.true_shift_y, array.true_shift_x).values
            * (array.clear.mean(("y", "x")).values > 0.8)
        )
    )
    anchor, item = (_stretched(red.isel(time=k).values.astype(float)) for k in (0, far))
    return np.stack([anchor, (anchor + item) / 2, item], axis=-1)


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.nanpercentile(values, (1, 99), axis=(0, 1))
    return np.clip(np.nan_to_num((values - low) / (high - low)), 0, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
