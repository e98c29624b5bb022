"""The displacement estimator keeps its promises: the right model, accuracy, told errors, and what must not bend it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter, map_coordinates

from coregstack.kernels.equations import Equations, Grid, gather
from coregstack.kernels.field import Search, _worth_it, estimate_displacement
from coregstack.kernels.lattice import Lattice, splines
from coregstack.kernels.prior import Prior
from coregstack.kernels.selection import Candidate, simplest
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.symmetric import inverse
from coregstack.model import FIELD, SHIFT, Displacement, DisplacementEstimate

Array = NDArray[np.float64]
SIDE = 208


def texture(rng: np.random.Generator, side: int) -> Array:
    """Four times finer texture of all scales."""
    return sum(
        gaussian_filter(rng.normal(size=(4 * side, 4 * side)), s, mode="wrap") * s for s in (2, 4, 8, 16)
    )


def pair(d: Array, rng: np.random.Generator, noise: float = 0.05) -> tuple[Array, Array]:
    """Anchor and item with ``item(p - d(p)) = anchor(p)``, block means of one finer texture."""
    side = d.shape[1]
    fine = texture(rng, side + 20)
    at = (np.arange(4 * side) + 0.5) / 4 - 0.5
    y, x = np.meshgrid(at, at, indexing="ij")

    def seen(dy: Array, dx: Array) -> Array:
        place = [(y - dy + 10.5) * 4 - 0.5, (x - dx + 10.5) * 4 - 0.5]
        return map_coordinates(fine, place, order=3).reshape(side, 4, side, 4).mean(axis=(1, 3))

    bent = [map_coordinates(c, [y, x], order=1, mode="nearest") for c in d]
    anchor, item = seen(*bent), seen(np.zeros_like(y), np.zeros_like(y))
    spread = noise * item.std()
    return anchor + rng.normal(0, spread, anchor.shape), 5 - 1.3 * (item + rng.normal(0, spread, item.shape))


def estimated(anchor: Array, item: Array, model: str = "auto", **more: object) -> DisplacementEstimate:
    usable = np.ones(anchor.shape, bool)
    prepared = prepare_anchor(ArraySource(values=anchor[None], usable=usable))
    source = ArraySource(values=item[None], usable=usable)
    return estimate_displacement(prepared, source, estimate_shift(prepared, source), model=model, **more)


def dense(found: Displacement, shape: tuple[int, int]) -> Array:
    """(dy, dx, sigma) at every pixel, by scipy's natural cubic splines."""
    out = []
    for values in (found.y, found.x, found.sigma):
        for axis, (size, start) in enumerate(zip(shape, found.origin, strict=True)):
            knots = start + found.step * np.arange(values.shape[axis])
            at = np.clip(np.arange(size), knots[0], knots[-1])
            values = CubicSpline(knots, values, axis=axis, bc_type="natural")(at)
        out.append(values)
    return np.array(out)


def left(found: DisplacementEstimate, d: Array) -> Array:
    """What the model leaves, px, shape (2, y, x), without the outermost pixels."""
    if found.displacement is None:
        assert found.shift is not None
        away = np.array(found.shift)[:, None, None] - d
    else:
        away = dense(found.displacement, d.shape[1:])[:2] - d
    return away[:, 12:-12, 12:-12]


def rms(away: Array) -> float:
    return float(np.sqrt(np.square(away).sum(axis=0).mean()))


def smooth(rng: np.random.Generator, length: float, amplitude: float, side: int = SIDE) -> Array:
    parts = [gaussian_filter(rng.normal(size=(side, side)), length, mode="wrap") for _ in range(2)]
    return np.stack([amplitude * (p - p.mean()) / p.std() for p in parts])


@pytest.mark.parametrize("seed", range(3))
def test_a_true_shift_stays_a_shift(seed: int) -> None:
    rng = np.random.default_rng(seed)
    d = np.full((2, SIDE, SIDE), 0.0) + rng.uniform(-2, 2, 2)[:, None, None]
    found = estimated(*pair(d, rng))
    assert found.model == "shift"
    assert found.displacement is None
    assert found.details == ""
    assert rms(left(found, d)) < 0.02


def test_an_affine_displacement_is_told_as_one() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    d = np.stack([0.8 * y + 0.3 * x + 1.2, -0.5 * y + 0.9 * x - 0.4])
    found = estimated(*pair(d, rng), model="affine")
    assert found.model == "affine"
    assert rms(left(found, d)) < 0.006
    assert found.residual is not None
    assert rms(left(found, d)) < 1.5 * found.residual < 0.03


def test_a_smooth_field_is_followed_and_its_error_told() -> None:
    rng = np.random.default_rng(4)
    d = smooth(rng, 30, 0.5) + np.array([0.7, -1.4])[:, None, None]
    anchor, item = pair(d, rng)
    found = estimated(anchor, item)
    assert found.model == "field"
    away = left(found, d)
    assert rms(away) < 0.06
    assert found.residual is not None
    assert 0.5 < found.residual / rms(away) < 2
    assert found.displacement is not None
    sigma = dense(found.displacement, d.shape[1:])[2, 12:-12, 12:-12]
    assert 0.5 < np.sqrt(np.mean(np.square(away / sigma))) < 1.6
    assert found.spread == pytest.approx(
        np.sqrt(np.square(d - d.mean(axis=(1, 2), keepdims=True)).sum(0).mean()), rel=0.15
    )
    np.testing.assert_allclose(found.shift, d.mean(axis=(1, 2)), atol=0.05)


def test_one_shift_says_that_its_parts_lie_apart() -> None:
    rng = np.random.default_rng(4)
    d = smooth(rng, 30, 0.5)
    found = estimated(*pair(d, rng), model="shift")
    assert found.displacement is None
    assert "model='field'" in found.details
    assert found.residual is not None
    assert 0.5 < found.residual / rms(left(found, d)) < 2


@pytest.mark.parametrize("bands", [1, 3])
def test_one_shift_is_the_mean_over_the_scene_whatever_windows_are_chosen(bands: int) -> None:
    side = 640
    rng = np.random.default_rng(5)
    fine = sum(gaussian_filter(rng.normal(size=(side + 40, side + 40)), s) * s for s in (1.5, 3, 6))
    bent = gaussian_filter(rng.normal(size=(2, side, side)), (0, 100, 100))
    bent *= 0.4 / bent.std()
    d = bent - bent.mean(axis=(1, 2))[:, None, None] + np.array([1.2, -0.8])[:, None, None]
    y, x = np.mgrid[:side, :side] + 20.0
    anchor, item = fine[20:-20, 20:-20], map_coordinates(fine, [y - d[0], x - d[1]], order=3)
    noisy = [
        np.stack([one + rng.normal(0, 0.05 * one.std(), one.shape) for _ in range(bands)])
        for one in (anchor, item)
    ]
    usable = np.ones((side, side), bool)
    first, second = (ArraySource(values=one, usable=usable) for one in noisy)
    found = estimate_shift(prepare_anchor(first), second)
    assert found.shift is not None
    assert found.sigma is not None
    wrong = np.add(found.shift, [1.2, -0.8])
    assert np.abs(wrong).max() < 0.15
    assert (np.abs(wrong) < 3 * np.array(found.sigma)).all()
    assert found.spread == pytest.approx(0.4 * np.sqrt(2), rel=0.3)


@pytest.mark.parametrize("model", ["auto", "field"])
def test_an_isolated_region_that_moves_alone_bends_nothing(model: str) -> None:
    rng = np.random.default_rng(5)
    d = np.zeros((2, SIDE, SIDE)) + np.array([0.6, -0.3])[:, None, None]
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    moving = np.hypot(y, x) < np.sqrt(0.2 / np.pi) * SIDE
    d[:, moving] += np.array([3.0, 4.0])[:, None]
    found = estimated(*pair(d, rng), model=model)
    off = np.hypot(y, x)[12:-12, 12:-12] > np.sqrt(0.2 / np.pi) * SIDE + 8
    assert rms(left(found, d)[:, off]) < 0.03
    assert found.model == ("shift" if model == "auto" else "field")


def test_only_stable_ground_drives_the_displacement() -> None:
    rng = np.random.default_rng(6)
    d = np.zeros((2, SIDE, SIDE))
    d[0, :, SIDE // 2 :] = 1.0
    anchor, item = pair(d, rng)
    stable = np.zeros((SIDE, SIDE), bool)
    stable[:, : SIDE // 2 - 4] = True
    found = estimated(anchor, item, model="field", stable=stable)
    assert rms(left(found, d)[:, :, :80]) < 0.05
    none = estimated(anchor, item, model="field", stable=np.zeros_like(stable))
    assert none.model == "shift"
    assert none.details.startswith("one shift, not model='field': fewer than 30 pieces of stable ground")
    with pytest.raises(ValueError, match="mask of stable ground"):
        estimated(anchor, item, stable=stable[1:])


def field_with_a_hole() -> tuple[Array, Array]:
    """Sigma and error of a field, of which a square of 90 px in the middle shows no texture."""
    rng = np.random.default_rng(7)
    d = smooth(rng, 20, 0.5)
    anchor, item = pair(d, rng)
    item[60:150, 60:150] = item.mean()
    found = estimated(anchor, item, model="field")
    assert found.displacement is not None
    sigma = dense(found.displacement, d.shape[1:])[2, 12:-12, 12:-12]
    return sigma, left(found, d)


def test_sigma_grows_where_nothing_was_seen() -> None:
    sigma, _ = field_with_a_hole()
    assert sigma[83:103, 83:103].min() > 3 * np.median(sigma[:38])


def test_sigma_tells_the_error_where_nothing_was_seen() -> None:
    sigma, away = field_with_a_hole()
    middle = slice(83, 103), slice(83, 103)
    assert np.sqrt(np.mean(np.square(away[:, *middle] / sigma[middle]))) < 1.5


def test_a_turned_and_scaled_item_is_found() -> None:
    rng = np.random.default_rng(8)
    side = 280
    y, x = np.mgrid[:side, :side] - side / 2
    angle, scale = np.radians(1.0), 1.01
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    d = np.stack([y - (c * y + s * x), x - (c * x - s * y)])
    found = estimated(*pair(d, rng), model="affine")
    assert found.model == "affine"
    assert rms(left(found, d)[:, 20:-20, 20:-20]) < 0.03


def test_the_lattice_depends_on_the_frame_alone_and_covers_it() -> None:
    for shape in ((24, 30), (200, 180), (1000, 700), (12000, 9000)):
        lattice = Lattice.of(shape)
        for nodes, size in zip(lattice.nodes, shape, strict=True):
            assert nodes[0] <= 0
            assert nodes[-1] >= size - 1
        assert np.prod(lattice.shape) < 70000


def test_splines_are_natural_cubic_splines() -> None:
    rng = np.random.default_rng(9)
    coefficients = rng.normal(size=9)
    at = np.linspace(0, 8, 101)
    values = splines(9, np.arange(9.0)).dense() @ coefficients
    exact = CubicSpline(np.arange(9), values, bc_type="natural")(at)
    np.testing.assert_allclose(splines(9, at).dense() @ coefficients, exact, atol=1e-12)


def test_means_of_splines_over_blocks_are_those_over_their_pixels() -> None:
    lattice = Lattice.of((96, 96))
    waves = np.sin(lattice.nodes[0] / 9)
    pixels = lattice.rows(np.arange(96.0)).dense() @ waves
    rows = Grid.of((96, 96), 8).rows
    exact = pixels.reshape(-1, 8).mean(axis=1)
    assert np.abs(lattice.rows(rows).dense() @ waves - exact).max() > 0.02
    np.testing.assert_allclose(lattice.rows(rows, 8).dense() @ waves, exact, atol=0.003)


@pytest.mark.parametrize("noise", [1.0, np.inf])
def test_slopes_of_noise_shorten_steps_less_and_tell_little(noise: float) -> None:
    rng = np.random.default_rng(3)
    scene = gaussian_filter(rng.normal(size=(SIDE, SIDE)), 2)
    scene *= 0 if np.isinf(noise) else 1 / (noise * scene.std())
    sources = []
    for _ in range(2):
        noisy = (scene + rng.normal(size=scene.shape)).astype(np.float32)
        sources.append(ArraySource(values=noisy[None], usable=np.ones(scene.shape, bool)))
    grid = Grid.of(scene.shape, 8)
    plain = gather(*sources, [0], grid, np.full((*grid.shape, 2), (0.3, 0.0)))
    even = plain.without_noise()
    if np.isinf(noise):
        assert even.matrix.sum() < 0.4 * plain.matrix.sum()
    else:
        steps = [-float(some.vector[..., 0].sum() / some.matrix[..., 0].sum()) for some in (plain, even)]
        assert 1.05 * steps[0] < steps[1] < 0.3


def test_a_prior_of_another_form_keeps_its_finest_detail() -> None:
    prior = Prior(power=3.0, length=32.0, slope=4.5)
    other = prior.with_detail_kept(8.0, length=128.0, slope=3.0)
    fine = np.s_[8:, 8:]
    assert (other.length, other.slope) == (128.0, 3.0)
    assert other.spectrum((16, 16), 8.0)[fine].mean() == pytest.approx(
        prior.spectrum((16, 16), 8.0)[fine].mean()
    )


def test_an_unknown_model_is_refused() -> None:
    image = np.random.default_rng(10).normal(size=(64, 64))
    with pytest.raises(ValueError, match="model is one of shift, affine, field, auto"):
        estimated(image, image, model="spline")


def test_what_a_field_leaves_beside_a_cliff_is_told() -> None:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:SIDE, :SIDE]
    below = 1 / (1 + np.exp(-(y - 90 - 20 * np.sin(x / 30)) / 1.5))
    d = smooth(rng, 40, 0.15) + np.stack([2.0 * below, -1.2 * below])
    found = estimated(*pair(d, rng))
    assert found.model == "field"
    assert found.residual is not None
    assert 0.6 < found.residual / rms(left(found, d)) < 1.7


def searched(anchor: Array, item: Array) -> Search:
    """The search of a field."""
    usable = np.ones(anchor.shape, bool)
    prepared = prepare_anchor(ArraySource(values=anchor[None], usable=usable))
    source = ArraySource(values=item[None], usable=usable)
    found = estimate_shift(prepared, source)
    return Search(anchor=prepared, item=source, found=found, model=FIELD, stable=None)


def test_a_field_has_edges_where_a_scene_is_torn_and_none_where_it_is_bent() -> None:
    rng = np.random.default_rng(6)
    side = 0.35 * np.sign(np.arange(SIDE) - 88.5)[:, None] * np.ones(SIDE)
    torn = np.stack([side, -side])
    search = searched(*pair(torn, rng))
    state = search.run()
    assert state is not None
    sharp = search.sharpened(state)
    assert sharp.prior is not None
    assert np.isfinite(sharp.prior.freedom)
    places = np.arange(SIDE, dtype=float)
    away = [
        np.moveaxis(one.solution.at(one.weighed.basis.lattice, places, places), -1, 0) - torn
        for one in (state, sharp)
    ]
    before, after = (rms(some[:, 12:-12, 12:-12]) for some in away)
    assert after < 0.97 * before
    search = searched(*pair(smooth(rng, 20, 0.4), rng))
    state = search.run()
    assert state is not None
    assert search.sharpened(state) is state


def test_what_blurs_blocks_adds_to_their_variance_and_leaves_their_steps() -> None:
    rng = np.random.default_rng(0)
    slopes = rng.normal(size=(3, 4, 5, 2))
    matrix = np.stack(
        [np.einsum("kij,kij->ij", slopes[..., a], slopes[..., b]) for a, b in ((0, 0), (0, 1), (1, 1))], -1
    )
    told = Equations(
        grid=Grid.of((32, 40), 8),
        matrix=matrix,
        vector=rng.normal(size=(4, 5, 2)),
        here=np.zeros((4, 5, 2)),
        usable=np.ones((4, 5)),
        shared=np.ones((4, 5)),
    )
    blurred = told.blurred(0.3)
    assert inverse(blurred.matrix) == pytest.approx(inverse(matrix) + np.array([0.3, 0.0, 0.3]))
    assert blurred.steps == pytest.approx(told.steps)
    assert not replace(told, matrix=0 * matrix, vector=0 * told.vector).blurred(0.3).matrix.any()


def test_the_roughness_of_a_field_is_that_which_predicts_best_once_there_is_one() -> None:
    stiff, rough = Prior(power=0.1, length=50.0, slope=3.0), Prior(power=10.0, length=50.0, slope=3.0)
    loss = {SHIFT: [9.0, 9.5, 8.5, 9.0], stiff: [1.0, 1.5, 1.0, 1.0], rough: [1.0, 1.0, 0.5, 1.5]}
    candidates = [
        Candidate(
            model=SHIFT if key == SHIFT else FIELD, prior=None if key == SHIFT else key, loss=np.array(some)
        )
        for key, some in loss.items()
    ]
    assert simplest(candidates, 3.0).prior == rough
    near = [replace(candidates[0], loss=np.array([1.5, 1.0, 0.5, 2.0])), *candidates[1:]]
    assert simplest(near, 3.0).model == SHIFT
    # a field that is about as good as the simpler model that is best is not taken
    best = [replace(candidates[0], loss=np.array([0.5, 0.5, 0.25, 0.75])), *candidates[1:]]
    assert simplest(best, 3.0).model == SHIFT


def test_a_field_that_bends_hardly_more_than_it_leaves_is_not_worth_it() -> None:
    rng = np.random.default_rng(3)
    found = estimated(*pair(smooth(rng, 30, 0.5), rng), model="field")
    assert _worth_it(found)
    assert not _worth_it(replace(found, spread=1.5 * found.residual))
