"""What a displacement promises between its nodes, in sums, bounds, other frames and compositions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from coregstack.errors import InvalidRequest
from coregstack.kernels.displacement import (
    Spline,
    composed,
    constant,
    mean_and_rms,
    moved_extent,
    reach,
    rescaled,
    sigma_on,
)
from coregstack.model import Displacement, Shift


def field(
    nodes: tuple[int, int] = (7, 9), step: float = 12.0, seed: int = 0, size: float = 1.0
) -> Displacement:
    random = np.random.default_rng(seed)
    y, x = (random.normal(scale=size, size=nodes).astype(np.float32) for _ in "yx")
    sigma = random.uniform(0.01, 0.3, nodes).astype(np.float32)
    return Displacement(origin=Shift(-5.0, 2.5), step=step, y=y, x=x, sigma=sigma)


def by_scipy(one: Displacement, nodes: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """The oracle: scipy's natural splines along either axis, the nearest edge outside."""
    axes = [o + one.step * np.arange(n) for o, n in zip(one.origin, nodes.shape, strict=True)]
    rows, cols = (np.clip(p, a[0], a[-1]) for p, a in zip((rows, cols), axes, strict=True))
    down = CubicSpline(axes[0], nodes.astype(float), axis=0, bc_type="natural")(rows)
    return CubicSpline(axes[1], down, axis=1, bc_type="natural")(cols)


@pytest.mark.parametrize("nodes", [(7, 9), (2, 3), (2, 2)])
def test_is_the_natural_cubic_spline_and_constant_outside(nodes: tuple[int, int]) -> None:
    one = field(nodes)
    rows, cols = np.linspace(-30, 120, 61), np.linspace(-20, 150, 83)
    dy, dx = Spline.of(one).at(rows, cols)
    np.testing.assert_allclose(dy, by_scipy(one, one.y, rows, cols), atol=1e-12)
    np.testing.assert_allclose(dx, by_scipy(one, one.x, rows, cols), atol=1e-12)
    y, x = np.meshgrid(rows, cols, indexing="ij")
    np.testing.assert_array_equal(Spline.of(one).at_points(y, x), (dy, dx))


def test_linear_fields_are_exact_and_constant_ones_to_the_bit() -> None:
    rows, cols = np.mgrid[:6, :5].astype(np.float32)
    one = Displacement(origin=Shift(0, 0), step=8.0, y=rows / 4, x=cols / 8, sigma=rows * 0)
    dy, dx = Spline.of(one).on((0, 0, 41, 33))
    np.testing.assert_allclose(dy, np.arange(41)[:, None] / 32 * np.ones(33), atol=1e-14)
    np.testing.assert_allclose(dx, np.arange(33) / 64 * np.ones((41, 1)), atol=1e-14)
    flat = np.full((4, 4), 0.3, np.float32)
    same = Displacement(origin=Shift(3, 1), step=7.0, y=flat, x=-flat, sigma=flat)
    assert (Spline.of(same).on((-5, -5, 40, 40))[0] == np.float32(0.3)).all()


@settings(max_examples=40)
@given(
    corner=st.tuples(st.integers(-30, 60), st.integers(-30, 60)),
    cut=st.tuples(st.integers(0, 20), st.integers(0, 20)),
    seed=st.integers(0, 5),
)
def test_a_window_is_the_same_part_of_the_whole_and_lies_within_its_bounds(
    corner: tuple[int, int], cut: tuple[int, int], seed: int
) -> None:
    spline = Spline.of(field(seed=seed))
    whole = spline.on((*corner, 40, 50))
    part = spline.on((corner[0] + cut[0], corner[1] + cut[1], 20, 30))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_array_equal(a[cut[0] : cut[0] + 20, cut[1] : cut[1] + 30], b)
    least, greatest = spline.bounds(corner[0], corner[0] + 39, corner[1], corner[1] + 49)
    for values, low, high in zip(whole, least, greatest, strict=True):
        assert low <= values.min()
        assert values.max() <= high
        assert high - low <= values.max() - values.min() + 1.0


def test_mean_and_rms_are_those_of_all_pixels_that_count() -> None:
    one = field()
    dy, dx = Spline.of(one).on((3, -4, 300, 40))
    mask = np.random.default_rng(1).random((300, 40)) > 0.4
    for count in (None, mask):
        chosen = np.ones_like(mask) if count is None else count
        mean, rms = mean_and_rms(one, (3, -4, 300, 40), count)
        assert mean == pytest.approx((dy[chosen].mean(), dx[chosen].mean()), abs=1e-12)
        assert rms == pytest.approx(np.sqrt(dy[chosen].var() + dx[chosen].var()), abs=1e-12)
    assert np.isnan(mean_and_rms(one, (0, 0, 5, 5), np.zeros((5, 5), bool))[1])


def test_sigma_is_linear_between_nodes() -> None:
    one = field()
    sigma = sigma_on(one, (-5, 2, 73, 97))
    assert one.sigma.min() - 1e-6 <= sigma.min()
    assert sigma.max() <= one.sigma.max() + 1e-6
    np.testing.assert_allclose(sigma[6, 6], (_corner_mean(one.sigma, 6 / 12, 5.5, 12)), rtol=1e-5)


def _corner_mean(nodes: np.ndarray, down: float, along: float, step: float) -> float:
    share = along / step
    rows = (1 - down) * nodes[0] + down * nodes[1]
    return float((1 - share) * rows[0] + share * rows[1])


def test_reach_bounds_what_is_moved_farthest() -> None:
    one = field(size=2.0)
    dy, dx = Spline.of(one).on((-10, -10, 100, 130))
    far = reach(one)
    for found, values in zip(far, (dy, dx), strict=True):
        assert np.abs(values).max() <= found <= np.abs(values).max() + 1.0


@pytest.mark.parametrize("seed", range(4))
def test_all_content_of_a_rectangle_lies_in_its_moved_extent(seed: int) -> None:
    one = field(seed=seed, size=1.5, step=20.0)
    top, bottom, left, right = -0.5, 99.5, 9.5, 119.5
    rows, cols = np.arange(-20.0, 130, 0.25), np.arange(-20.0, 150, 0.25)
    dy, dx = Spline.of(one).at(rows, cols)
    y, x = rows[:, None] - dy, cols[None, :] - dx
    inside = (y >= top) & (y <= bottom) & (x >= left) & (x <= right)
    held = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    edges = moved_extent(one, top, bottom, left, right)
    found = rows[held[0][0]], rows[held[0][-1]], cols[held[1][0]], cols[held[1][-1]]
    for outer, inner, sign in zip(edges, found, (1, -1, 1, -1), strict=True):
        assert 0 <= sign * (inner - outer) < 3.0


@pytest.mark.parametrize(
    ("scale", "miss"), [(Shift(2.0, 2.0), 1e-6), (Shift(0.5, 0.5), 1e-6), (Shift(2.0, 1.0), 1e-6),
                        (Shift(1.0, 0.7), 0.005), (Shift(-1.0, 1.0), 1e-6)],
)  # fmt: skip
def test_the_same_displacement_in_pixels_of_another_size(scale: Shift, miss: float) -> None:
    one = field(step=16.0, size=0.5)
    first = Shift(0.5, 1.25)
    other = rescaled(one, scale, first)
    rows, cols = np.arange(0, 40.0), np.arange(2, 60.0)
    there = Spline.of(other).at(rows, cols)
    here = Spline.of(one).at(rows * scale.y + first.y, cols * scale.x + first.x)
    for a, b, size in zip(there, here, scale, strict=True):
        np.testing.assert_allclose(a * size, b, atol=miss)


def test_a_composed_displacement_reaches_the_same_ground() -> None:
    smooth = np.linspace(0, 2, 30)
    y, x = (0.6 * np.sin(np.add.outer(a * smooth, smooth)).astype(np.float32) for a in (1.0, -1.5))
    first = Displacement(origin=Shift(0, 0), step=5.0, y=y, x=x, sigma=np.full_like(y, 0.03))
    second = Displacement(origin=Shift(0, 0), step=5.0, y=-2 * x, x=y + 1, sigma=np.full_like(y, 0.04))
    both = composed(first, second)
    rows, cols = np.arange(20.0, 120), np.arange(20.0, 120)
    a = Spline.of(first).at(rows, cols)
    b = Spline.of(second).at_points(rows[:, None] - a[0], cols - a[1])
    for got, one, two in zip(Spline.of(both).at(rows, cols), a, b, strict=True):
        np.testing.assert_allclose(got, one + two, atol=2e-4)
    np.testing.assert_allclose(both.sigma, 0.05, rtol=1e-5)
    swapped = composed(constant(Shift(1.0, 0.0)), second)
    np.testing.assert_allclose(
        Spline.of(swapped).on((40, 40, 9, 9))[1], Spline.of(second).on((39, 40, 9, 9))[1], atol=1e-3
    )


@pytest.mark.parametrize("damage", ["shape", "nan", "step", "empty"])
def test_nodes_that_make_no_sense_are_refused(damage: str) -> None:
    one = field()
    nodes, step = one.y.copy(), 12.0
    if damage == "shape":
        nodes = nodes[1:]
    elif damage == "nan":
        nodes[0, 0] = np.nan
    elif damage == "step":
        step = 0.0
    else:
        nodes = nodes[:0]
    with pytest.raises(InvalidRequest, match="nodes"):
        Spline.of(Displacement(origin=one.origin, step=step, y=nodes, x=one.x, sigma=one.sigma))
