"""Displacements of all dates from those of pairs: adjusted together, composed where a date shares nothing with the
anchor."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack import estimate
from coregstack.kernels.displacement import constant
from coregstack.kernels.lattice import Lattice
from coregstack.model import Displacement, Shift
from coregstack.network.fields import adjust_fields, between, pair_field
from coregstack.testing import sample_stack

SIZE = 320
DATES = 5


def smooth(rng: np.random.Generator, length: float = 35, rms: float = 0.4) -> NDArray[np.float64]:
    """A displacement (2, y, x) about some shift."""
    field = np.stack([gaussian_filter(rng.normal(size=(SIZE, SIZE)), length, mode="wrap") for _ in "yx"])
    return field * rms / field.std(axis=(1, 2), keepdims=True) + rng.uniform(-1, 1, 2)[:, None, None]


@pytest.fixture(scope="module")
def truth() -> NDArray[np.float64]:
    """Displacement (date, 2, y, x) of each date; that of the first is 0."""
    rng = np.random.default_rng(11)
    return np.stack([np.zeros((2, SIZE, SIZE)), *(smooth(rng) for _ in range(DATES - 1))])


@pytest.fixture(scope="module")
def stack(truth: NDArray[np.float64]) -> xr.DataArray:
    """Displaced scenes: the anchor and the last date show other ground, those between both."""
    rng = np.random.default_rng(5)
    first = (
        sample_stack(DATES, shape=(SIZE, SIZE), seed=7).compute().drop_vars("clear").isel(band=slice(2, 3))
    )
    one, other = (
        sample_stack(2, shape=(SIZE, SIZE), seed=seed).values[0, 2].astype(float) for seed in (7, 8)
    )
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    values = []
    for field, scene in zip(truth, (one, *[one + other] * (DATES - 2), other), strict=True):
        at = np.zeros_like(field)
        for _ in range(20):
            at = np.stack(
                [map_coordinates(d, [y + at[0], x + at[1]], order=1, mode="nearest") for d in field]
            )
        seen = map_coordinates(scene, [y + at[0], x + at[1]], order=5, mode="nearest")
        values.append((seen + rng.normal(0, 0.02 * scene.std(), seen.shape)).clip(1, 60000).round())
    return first.copy(data=np.stack(values)[:, None].astype(np.uint16)).rio.write_nodata(0)


@pytest.fixture(scope="module")
def quality(stack: xr.DataArray) -> xr.Dataset:
    return estimate(stack, anchor=0, model="field", method="network", threshold=1.0).compute()


def errors(
    quality: xr.Dataset, stack: xr.DataArray, truth: NDArray[np.float64], date: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Errors (2, y, x) and sigma of a date at the nodes away from the edges."""
    one = quality.isel(time=date)
    places = [
        ((one[f"lattice_{axis}"] - stack[axis][0]) / (stack[axis][1] - stack[axis][0])).values
        for axis in "yx"
    ]
    inside = [(place > 20) & (place < SIZE - 20) for place in places]
    at = np.meshgrid(*(place[some] for place, some in zip(places, inside, strict=True)), indexing="ij")
    y, x, sigma = (one[f"displacement_{name}"].values[np.ix_(*inside)] for name in ("y", "x", "sigma"))
    true = [map_coordinates(field, at, order=3) for field in truth[date]]
    return np.stack([y - true[0], x - true[1]]), sigma


def test_a_date_that_shares_nothing_with_the_anchor_gets_the_composed_field(
    stack: xr.DataArray, quality: xr.Dataset, truth: NDArray[np.float64]
) -> None:
    assert quality.model.values.tolist() == ["", *["field"] * (DATES - 1)]
    assert quality.against.values[-1] in quality["id"].values[1:-1]
    assert (quality.status[1:] == "coregistered").all()
    spread = np.hypot(*(truth - truth.mean(axis=(2, 3), keepdims=True)).swapaxes(0, 1)).mean(axis=(1, 2))
    for date in range(1, DATES):
        away, sigma = errors(quality, stack, truth, date)
        assert np.hypot(*away).mean() < (0.25 if date < DATES - 1 else 0.5) * spread[date]
        assert 0.7 < np.sqrt((np.square(away) / np.square(sigma)).mean()) < 1.5
        assert quality.residual[date] == pytest.approx(np.sqrt(2 * np.square(away).mean()), rel=0.4)
        mean = truth[date].mean(axis=(1, 2))
        assert (quality.shift_y[date], quality.shift_x[date]) == pytest.approx(mean, abs=0.1)
    assert quality.spread[1:].values == pytest.approx(1.1 * spread[1:], rel=0.3)
    found, sigma = (
        np.stack([quality[f"{name}_{axis}"][1:].values for axis in "yx"]) for name in ("shift", "shift_sigma")
    )
    over_sigma = (found - truth[1:].mean(axis=(2, 3)).T) / sigma
    assert 0.5 < np.sqrt(np.square(over_sigma).mean()) < 1.4
    # the way to the last one is longer than that to the others
    assert (quality.residual[-1] > 1.5 * quality.residual[1:-1]).all()


def tilted(lattice: Lattice, slope: float, sigma: float = 0.02) -> Displacement:
    """A displacement down the rows that grows along the columns."""
    y = np.broadcast_to(slope * lattice.nodes[1] / 100, lattice.shape).astype(np.float32)
    return Displacement(
        origin=lattice.origin, step=lattice.step, y=y, x=0 * y, sigma=0 * y + np.float32(sigma)
    )


def test_fields_close_around_loops_and_turned_pairs_count_as_their_opposite() -> None:
    lattice = Lattice.of((100, 100))
    corner, mean = Shift(0.0, 0.0), Shift(0.0, 0.0)
    sigma = Shift(0.02, 0.02)
    fields = {(0, 1): 0.4, (2, 1): -0.3, (0, 2): 0.7}
    pairs = [pair_field(i, j, corner, tilted(lattice, s), mean, sigma, 0.2) for (i, j), s in fields.items()]
    found = adjust_fields(pairs, np.zeros((3, 2)), 0, lattice).displacement
    for item, slope in ((1, 0.4), (2, 0.7)):
        np.testing.assert_allclose(found[item].y, tilted(lattice, slope).y, atol=1e-3)
        # an item is as sure as the surer of two ways to it, which share its errors
        np.testing.assert_allclose(found[item].sigma, 0.02, rtol=1e-5)


def test_a_field_is_as_sure_as_the_surest_way_to_its_item() -> None:
    lattice = Lattice.of((100, 100))
    zero, sigma = Shift(0.0, 0.0), Shift(0.03, 0.03)
    steps = [(0, 1, 0.0), (2, 1, 0.0), (2, 3, 0.0), (0, 3, 1.0)]
    pairs = [pair_field(i, j, zero, tilted(lattice, 0.0), zero, sigma, 0.2, doubt) for i, j, doubt in steps]
    found = adjust_fields(pairs, np.zeros((4, 2)), 0, lattice).displacement
    for item in (1, 2, 3):
        np.testing.assert_allclose(found[item].sigma, 0.02 * np.sqrt(item), rtol=1e-5)


def test_a_pair_that_contradicts_the_others_loses_its_say() -> None:
    lattice = Lattice.of((100, 100))
    zero, sigma = Shift(0.0, 0.0), Shift(0.02, 0.02)
    slopes = {(0, 1): 0.4, (0, 2): 0.4, (1, 2): 0.0, (0, 3): 0.4, (1, 3): 0.0, (2, 3): -3.0}
    pairs = [pair_field(i, j, zero, tilted(lattice, s), zero, sigma, 0.2) for (i, j), s in slopes.items()]
    found = adjust_fields(pairs, np.zeros((4, 2)), 0, lattice).displacement
    np.testing.assert_allclose(found[3].y, tilted(lattice, 0.4).y, atol=0.05)


@pytest.mark.parametrize(("wrong", "factor"), [(0.0, 1.0), (0.3, 1.33), (0.6, 2.07)])
def test_means_of_fields_that_do_not_close_are_less_sure(wrong: float, factor: float) -> None:
    lattice = Lattice.of((100, 100))
    zero, sigma = Shift(0.0, 0.0), Shift(0.02, 0.02)
    # Each node knows its displacement much less well than all together their mean. What is wrong on average, half of
    # `wrong`, is parted among three pairs: sqrt((20 + 3 * (wrong / 6 / 0.02)**2) / (20 + 2)).
    fields = {(0, 1): 0.4, (1, 2): 0.4, (0, 2): 0.8 + wrong}
    pairs = [pair_field(*ends, zero, tilted(lattice, s, 0.3), zero, sigma, 0.2) for ends, s in fields.items()]
    assert adjust_fields(pairs, np.zeros((3, 2)), 0, lattice).mean_factor == pytest.approx(factor, abs=0.05)


def test_between_two_moved_items_lies_what_brings_one_onto_the_other() -> None:
    lattice = Lattice.of((100, 100))
    item, other = tilted(lattice, 0.6), tilted(lattice, 0.2)
    moved = between(item, constant_on(lattice, Shift(0.5, 1.0)), Shift(0.5, 1.0))
    np.testing.assert_allclose(moved.y, item.y, atol=1e-5)
    apart = between(item, other, Shift(0.0, 0.0))
    np.testing.assert_allclose(apart.y, item.y - other.y, atol=1e-3)
    assert apart.sigma == pytest.approx(np.hypot(item.sigma, other.sigma))


def constant_on(lattice: Lattice, shift: Shift) -> Displacement:
    one = constant(shift)
    y, x, sigma = (np.broadcast_to(v, lattice.shape).copy() for v in (one.y, one.x, one.sigma))
    return Displacement(origin=lattice.origin, step=lattice.step, y=y, x=x, sigma=sigma)
