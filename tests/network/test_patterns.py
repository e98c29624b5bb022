"""Patterns that the dates of a stack have in common: found, counted, and left alone where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from coregstack.kernels.equations import Grid
from coregstack.kernels.lattice import pattern_lattice
from coregstack.kernels.patterns import PITCH, Told
from coregstack.network.terrain import Terrain, better_terrain, find_terrain, learners

FRAME = (144, 144)
GRID = Grid.of(FRAME, PITCH)
SIGMA = 0.08
"""Noise of a block along an axis, px."""


def relief(seed: int) -> NDArray[np.float64]:
    """A smooth pattern at the blocks, mean 0 and rms 1."""
    values = gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 2, mode="nearest")
    values -= values.mean()
    return values / values.std()


def told(
    displacement: NDArray[np.float64], rng: np.random.Generator, cloud: NDArray[np.bool_] | None = None
) -> Told:
    """What the blocks of a date say of a displacement, each with its own precision; below a cloud, anything."""
    sigma = SIGMA * rng.uniform(0.6, 1.6, GRID.shape)
    seen = displacement + rng.normal(size=displacement.shape) * sigma[..., None]
    weight = 1 / np.square(sigma)
    own = np.stack([gaussian_filter(seen[..., k], 1.5) for k in range(2)], axis=-1)
    if cloud is not None:
        seen += np.where(cloud, rng.normal(0, 3, GRID.shape), 0.0)[..., None]
    matrix = np.stack([weight, np.zeros(GRID.shape), weight], axis=-1)
    return Told(
        grid=GRID,
        matrix=matrix.astype(np.float32),
        target=(seen * weight[..., None]).astype(np.float32),
        own=own.astype(np.float32),
        usable=np.ones(GRID.shape, np.float32),
    )


def stack(
    patterns: list[NDArray[np.float64]], count: int, view: float, seed: int = 0
) -> tuple[list[Told], list[NDArray[np.float64]]]:
    """Dates that see patterns under views by chance, and their true displacements."""
    rng = np.random.default_rng(seed)
    truth = [
        rng.uniform(-2, 2, 2) + sum(h[..., None] * rng.normal(0, view, 2) for h in patterns)
        + np.zeros((*GRID.shape, 2))
        for _ in range(count)
    ]  # fmt: skip
    return [told(d, rng) for d in truth], truth


def solve(dates: list[Told | None]) -> Terrain:
    return find_terrain(dates, FRAME, pattern_lattice(FRAME))


def displacements(terrain: Terrain) -> list[NDArray[np.float64]]:
    assert terrain.patterns is not None
    functions = terrain.patterns.functions(GRID.rows, GRID.cols)
    return [functions @ numbers.T for numbers in terrain.numbers if numbers is not None]


def rms(found: list[NDArray[np.float64]], truth: list[NDArray[np.float64]]) -> float:
    return float(
        np.sqrt(np.mean([np.square(f - t).sum(-1).mean() for f, t in zip(found, truth, strict=True)]))
    )


@pytest.fixture(scope="module")
def hills() -> tuple[list[Told], list[NDArray[np.float64]], Terrain]:
    dates, truth = stack([relief(1)], 8, 0.5)
    return dates, truth, solve(list(dates))


def test_one_relief_is_found_finer_than_any_date_tells_it(
    hills: tuple[list[Told], list[NDArray[np.float64]], Terrain],
) -> None:
    dates, truth, terrain = hills
    assert terrain.patterns is not None
    assert terrain.patterns.count == 1
    assert rms(displacements(terrain), truth) < 0.6 * rms([date.own.astype(float) for date in dates], truth)


def test_a_pattern_has_mean_0_and_rms_1_and_a_true_sigma(
    hills: tuple[list[Told], list[NDArray[np.float64]], Terrain],
) -> None:
    terrain = hills[2]
    assert terrain.patterns is not None
    found = terrain.patterns.functions(GRID.rows, GRID.cols)[..., 3]
    assert found.mean() == pytest.approx(0, abs=0.02)
    assert found.std() == pytest.approx(1, abs=0.05)
    true = relief(1) * np.sign((relief(1) * found).sum())
    error = float((found - true)[2:-2, 2:-2].std())
    # these blocks tell the displacement of their centres, so that the error is less than that of real texture
    assert 0.25 < error / np.sqrt(terrain.patterns.variance.mean()) < 1.2


def test_dates_without_a_pattern_have_none() -> None:
    dates, _ = stack([], 8, 0.5)
    terrain = solve(list(dates))
    assert terrain.patterns is None
    assert terrain.numbers == (None,) * 8
    assert "no pattern" in terrain.reason


def test_linear_maps_of_the_dates_are_no_pattern() -> None:
    """Each date has one of its own, and could take off again what a pattern would bring."""
    rng = np.random.default_rng(7)
    y, x = np.meshgrid(GRID.rows / FRAME[0], GRID.cols / FRAME[1], indexing="ij")
    plane = np.stack([x + 0.3 * y] * 2, axis=-1)
    assert solve([told(plane * rng.normal(0, 0.5, 2), rng) for _ in range(8)]).patterns is None


def test_dates_tell_the_same_patterns_better_about_what_they_say(
    hills: tuple[list[Told], list[NDArray[np.float64]], Terrain],
) -> None:
    dates, truth, terrain = hills
    assert terrain.patterns is not None
    again = better_terrain([*dates, None], terrain.patterns)
    assert again.patterns is not None
    assert again.patterns.count == 1
    assert again.numbers[-1] is None
    assert rms(displacements(again), truth) < 1.1 * rms(displacements(terrain), truth)


def test_what_changes_in_each_date_by_itself_is_no_pattern() -> None:
    rng = np.random.default_rng(5)
    truth = [0.3 * np.stack([relief(20 + 2 * k), relief(21 + 2 * k)], axis=-1) for k in range(8)]
    assert solve([told(d, rng) for d in truth]).patterns is None


def test_what_has_changed_since_the_anchor_is_no_pattern() -> None:
    """All dates show it alike, as they do the anchor's own noise."""
    rng = np.random.default_rng(6)
    anchor = 0.3 * np.stack([relief(30), relief(31)], axis=-1)
    assert solve([told(anchor + rng.uniform(-1, 1, 2), rng) for _ in range(8)]).patterns is None


def test_two_patterns_are_two() -> None:
    dates, truth = stack([relief(1), relief(2)], 16, 0.4)
    terrain = solve(list(dates))
    assert terrain.patterns is not None
    assert terrain.patterns.count == 2
    assert rms(displacements(terrain), truth) < 0.06


def test_a_date_that_disagrees_and_clouds_do_not_bend_the_others(
    hills: tuple[list[Told], list[NDArray[np.float64]], Terrain],
) -> None:
    dates, truth, terrain = hills
    rng = np.random.default_rng(9)
    stranger = told(0.8 * np.stack([relief(40), relief(41)], axis=-1), rng)
    cloudy = told(truth[0], rng, relief(42) > 0.5)
    found = displacements(solve([cloudy, *dates[1:], stranger, None]))
    assert rms(found[1:8], truth[1:]) < 1.4 * rms(displacements(terrain)[1:], truth[1:])


def test_few_dates_have_no_pattern_and_say_why() -> None:
    dates, _ = stack([relief(1)], 3, 0.5)
    terrain = solve([*dates, None])
    assert terrain.patterns is None
    assert terrain.reason == "3 of 4 dates tell how they are displaced, and a pattern takes 4"


def test_what_dates_tell_is_asked_for_only_as_far_as_memory_allows() -> None:
    chosen = learners(5000, (8719, 12367))
    assert 8 <= chosen.sum() < 100
    assert chosen[0]
    assert chosen[-1]
    assert learners(5, FRAME).all()
