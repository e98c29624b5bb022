"""The sample order, coregistered; and a scene that does not move as one, moved by a field and by one shift."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack import run_order, run_scenes
from coregstack.run.result import RunResult
from coregstack.testing import SampleOrder, sample_stack

SIDE = 280


@dataclass(frozen=True, slots=True, kw_only=True)
class Bent:
    """Two times, of which the second is the first, displaced by a smooth field."""

    truth: NDArray[np.float64]
    """Displacement (2, y, x): ``item(y - dy, x - dx) = anchor(y, x)``."""
    stack: xr.DataArray
    paths: tuple[Path, Path]
    field: RunResult
    """The run with ``model="field"``."""
    shift: RunResult
    """The run with one shift."""


@pytest.fixture(scope="session")
def result(sample_order: SampleOrder, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The sample order, coregistered into a folder that tests leave as it is."""
    output = tmp_path_factory.mktemp("reported") / "out"
    return run_order(sample_order.payload, input=sample_order.folder, output=output)


@pytest.fixture(scope="session")
def bent(tmp_path_factory: pytest.TempPathFactory) -> Bent:
    folder = tmp_path_factory.mktemp("bent")
    rng = np.random.default_rng(5)
    truth = np.stack([gaussian_filter(rng.normal(size=(SIDE, SIDE)), 30) for _ in "yx"])
    truth *= 0.6 / truth.std(axis=(1, 2), keepdims=True)
    truth += np.array([0.8, -0.6])[:, None, None] - truth.mean(axis=(1, 2), keepdims=True)
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    back = np.zeros_like(truth)
    for _ in range(30):
        back = np.stack(
            [map_coordinates(d, [y + back[0], x + back[1]], order=3, mode="nearest") for d in truth]
        )
    first = sample_stack(2, shape=(SIDE, SIDE), seed=7).compute().drop_vars("clear")
    anchor = first.values[0].astype(float)
    item = [map_coordinates(band, [y + back[0], x + back[1]], order=5, mode="nearest") for band in anchor]
    stack = first.copy(data=np.stack([anchor, item]).clip(1, 60000).round().astype(np.uint16))
    paths = folder / "20240101_a.tif", folder / "20240201_b.tif"
    for k, path in enumerate(paths):
        stack.isel(time=k).drop_vars("id").rio.to_raster(path)
    field, shift = (
        run_scenes(paths, anchor="20240101_a", output=folder / model, model=model, threshold=1.0)
        for model in ("field", "shift")
    )
    return Bent(truth=truth, stack=stack, paths=paths, field=field, shift=shift)
