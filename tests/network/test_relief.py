"""Dates that share nothing with the anchor, and yet follow the relief that all have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack import estimate, open_scenes
from coregstack.kernels.displacement import Spline
from coregstack.kernels.lattice import Lattice, pattern_lattice
from coregstack.model import Displacement, Shift
from coregstack.network.places import NOWHERE, Place
from coregstack.network.relief import Followed, join
from coregstack.testing import sample_stack

SIZE, DATES = 150, 6


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """Displacement of each date, shape (time, 2, y, x): its shift, and one relief under its view."""
    rng = np.random.default_rng(3)
    relief = gaussian_filter(rng.normal(size=(SIZE, SIZE)), 12, mode="nearest")
    relief = (relief - relief.mean()) / relief.std()
    views, shifts = rng.uniform(-0.7, 0.7, (DATES, 2, 1, 1)), rng.uniform(-2, 2, (DATES, 2, 1, 1))
    return shifts + views * relief


@pytest.fixture(scope="module")
def stack(truth: NDArray[np.float64]) -> xr.DataArray:
    """Scenes whose ground fades from that of the anchor into another, which the last date shows alone."""
    first = sample_stack(DATES + 1, shape=(SIZE, SIZE), seed=7).compute().drop_vars("clear").isel(band=[2])
    anchor = first.values[0, 0].astype(float)
    other = sample_stack(1, shape=(SIZE, SIZE), seed=21).values[0, 2].astype(float)
    other *= anchor.std() / other.std()
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    scenes = [anchor]
    for part, true in zip(np.linspace(1 / DATES, 1, DATES), truth, strict=True):
        at = np.zeros_like(true)
        for _ in range(12):
            at = np.stack([map_coordinates(d, [y + at[0], x + at[1]], order=3, mode="nearest") for d in true])
        ground = (1 - part) * anchor + part * other
        item = map_coordinates(ground, [y + at[0], x + at[1]], order=5, mode="nearest")
        scenes.append(item + rng.normal(0, 0.05 * item.std(), item.shape))
    return first.copy(data=np.stack(scenes)[:, None].clip(1, 60000).round().astype(np.uint16))


def error_over_sigma(
    quality: xr.Dataset, stack: xr.DataArray, truth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rms of what is left of each date away from the edges, px, and the same over what its sigma says."""
    rows = ((quality.lattice_y - stack.y[0]) / (stack.y[1] - stack.y[0])).values
    cols = ((quality.lattice_x - stack.x[0]) / (stack.x[1] - stack.x[0])).values
    inside = np.ix_(*((v > 15) & (v < SIZE - 15) for v in (rows, cols)))
    at = np.meshgrid(rows[inside[0].ravel()], cols[inside[1].ravel()], indexing="ij")
    found = np.stack([quality[f"displacement_{axis}"].values[1:][:, *inside] for axis in "yx"], axis=1)
    true = np.array([[map_coordinates(d, at, order=3) for d in both] for both in truth])
    error = np.sqrt(np.square(found - true).sum(axis=1).mean(axis=(1, 2)))
    return error, error / np.sqrt(
        2 * np.square(quality.displacement_sigma.values[1:][:, *inside]).mean(axis=(1, 2))
    )


def test_dates_follow_the_relief_against_the_neighbour_that_they_are_reached_through(
    stack: xr.DataArray, truth: NDArray[np.float64]
) -> None:
    settings = {"anchor": 0, "model": "terrain", "threshold": 1.0}
    alone = estimate(stack.isel(time=[0, DATES]), **settings).compute()
    assert alone.status.values[1] == "failed"
    found = estimate(stack, method="network", **settings).compute()
    assert np.count_nonzero(found.model.values == "terrain") >= DATES - 1
    assert found.model.values[-1] == "terrain"
    assert found.against.values[-1] in stack.id.values[1:-1]
    assert f"beyond those of {found.against.values[-1]}" in str(found.details.values[-1])
    error, ratio = error_over_sigma(found, stack, truth)
    # views are told onto the anchor, whatever a date was matched with
    views = np.stack([found.view_y.values[1:], found.view_x.values[1:]], axis=1)
    known = np.isfinite(views).all(axis=1)
    assert known.sum() >= DATES // 2
    true = truth[known, 0].std(axis=(1, 2))
    told = np.abs(views[known, 0])
    assert told == pytest.approx(true * (told @ true) / (true @ true), abs=0.03)
    assert np.sqrt(np.square(error).mean()) < 0.11
    assert error.max() < 0.16
    assert ratio.max() < 1.6


def test_scenes_behind_files_do_so_as_well(
    stack: xr.DataArray, truth: NDArray[np.float64], tmp_path: Path
) -> None:
    """All reach beyond the anchor."""
    paths = []
    for k in range(DATES + 1):
        scene = stack.isel(time=k).drop_vars("id")
        scene = scene.isel(y=slice(8, -8), x=slice(8, -8)) if k == 0 else scene
        paths.append(tmp_path / f"date{k}.tif")
        scene.rio.to_raster(paths[-1])
    lazy = estimate(
        open_scenes(paths, anchor="date0"), anchor="date0", model="terrain", method="network", threshold=1
    )
    found = lazy.compute()
    assert np.count_nonzero(found.model.values == "terrain") >= DATES - 1
    error, ratio = error_over_sigma(found, stack, truth)
    assert np.sqrt(np.square(error).mean()) < 0.12
    assert ratio.max() < 1.6


def test_displacements_along_a_way_are_those_of_the_content() -> None:
    """Against maps that are inverted and composed exactly."""
    lattice = pattern_lattice((80, 90))
    y, x = np.meshgrid(*lattice.nodes, indexing="ij")

    def wave(at_y: NDArray[np.float64], at_x: NDArray[np.float64], phase: float) -> NDArray[np.float64]:
        return np.stack([2 + np.sin(at_y / 14 + phase), -3 + np.cos(at_x / 17 + phase)])

    def place(partner: int | None, shift: Shift) -> Place:
        shown = None if partner is None else "b"
        return Place(
            shift=Shift(1, 1), sigma=Shift(0.1, 0.1), reason="", partner=partner, partner_shift=shift,
            redundancy=None, closure=None, against=shown,
        )  # fmt: skip

    mean = Shift(2.0, -3.0)
    first = wave(y, x, 0.3)
    # against the first one, which is moved by its mean
    moved = wave(y - mean.y, x - mean.x, 1.1)
    seen = np.ones(lattice.shape, bool)
    followed = [
        Followed(place=NOWHERE, displacement=None, details="", seen=seen),
        Followed(
            place=place(None, Shift(0, 0)), displacement=_field(lattice, first), details="one", seen=seen
        ),
        Followed(place=place(1, mean), displacement=_field(lattice, moved), details="two", seen=seen),
    ]
    nobody, direct, beyond = join(followed, lattice)
    assert nobody is NOWHERE
    assert direct.displacement is not None
    assert beyond.displacement is not None
    np.testing.assert_allclose(direct.displacement.y, first[0], atol=1e-6)
    # anchor(x) = first(x - d) = second(x - d - e(x - d))
    expected = first + wave(y - first[0], x - first[1], 1.1)
    inner = np.s_[1:-1, 1:-1]
    np.testing.assert_allclose(beyond.displacement.y[inner], expected[0][inner], atol=0.01)
    np.testing.assert_allclose(beyond.displacement.x[inner], expected[1][inner], atol=0.01)
    np.testing.assert_allclose(beyond.displacement.sigma, np.hypot(0.1, 0.1), rtol=1e-5)
    assert beyond.against_partner is not None
    against = Spline.of(beyond.against_partner).at(*lattice.nodes)
    np.testing.assert_allclose(against[0], moved[0] + mean.y, atol=1e-5)


def _field(lattice: Lattice, values: NDArray[np.float64]) -> Displacement:
    y, x = values.astype(np.float32)
    return Displacement(
        origin=lattice.origin, step=lattice.step, y=y, x=x, sigma=np.full(lattice.shape, 0.1, np.float32)
    )
