"""What stays on the pixel grid does not pull the shift, and gaps do not keep it from being known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from coregstack.kernels.gaps import fill
from coregstack.kernels.match_image import high_pass
from coregstack.kernels.shift import estimate_shift, prepare_anchor
from coregstack.kernels.sources import ArraySource
from coregstack.kernels.unheld import unheld
from coregstack.matching.assess import assess, prepare
from coregstack.matching.options import MatchOptions
from coregstack.model import ItemQuality, ShiftEstimate
from coregstack.pixels.scene import MatchPixels

TRUTH = (1.25, -0.75)
SIZE = 300


def ground(seed: int = 3) -> NDArray[np.float32]:
    """Texture of power spectrum frequency**-2.6 at four times the resolution."""
    size = 4 * (SIZE + 8)
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    radius[0, 0] = np.inf
    noise = np.random.default_rng(seed).standard_normal((size, size))
    field = np.fft.irfft2(np.fft.rfft2(noise) * radius**-1.3, (size, size))
    return (field / field.std()).astype(np.float32)


@pytest.fixture(scope="module")
def fine() -> NDArray[np.float32]:
    return ground()


def cut(fine: NDArray[np.float32], top: int, left: int) -> NDArray[np.float32]:
    """Means of 4 x 4 pixels."""
    part = fine[top : top + 4 * SIZE, left : left + 4 * SIZE]
    return part.reshape(SIZE, 4, SIZE, 4).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def pair(fine) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return cut(fine, 8, 8), cut(fine, 13, 5)


def estimate(
    images: tuple[NDArray[np.float32], NDArray[np.float32]],
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None,
) -> ShiftEstimate:
    whole = np.ones((SIZE, SIZE), bool)
    anchor, item = (
        ArraySource(values=image[None].astype(np.float32), usable=mask)
        for image, mask in zip(images, masks or (whole, whole), strict=True)
    )
    return estimate_shift(prepare_anchor(anchor), item)


def off(found: ShiftEstimate) -> float:
    assert found.shift is not None, found.reason
    return float(np.hypot(found.shift.y - TRUTH[0], found.shift.x - TRUTH[1]))


@pytest.mark.parametrize("quarters", [(1, 1), (-1, 2), (2, -2), (3, 1), (-4, -2)])
def test_a_scene_that_moved_by_parts_of_a_pixel_holds_no_pattern(fine, quarters: tuple[int, int]) -> None:
    down, along = quarters
    found = estimate((cut(fine, 8, 8), cut(fine, 8 + down, 8 + along)))
    assert found.shift is not None
    assert found.sigma is not None
    assert not found.reason
    assert np.abs(np.subtract(found.shift, (down / 4, along / 4))).max() < 0.005
    assert max(found.sigma) < 0.005


@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("quarters", [(1, 1), (3, -2)])
def test_noise_that_stays_near_by_widens_sigma_or_nothing_is_known(
    fine, quarters: tuple[int, int], share: float
) -> None:
    down, along = quarters
    pattern = share * patterns("noise")
    found = estimate((cut(fine, 8, 8) + pattern, cut(fine, 8 + down, 8 + along) + pattern))
    if found.shift is not None:
        assert found.sigma is not None
        assert "stays on the pixel grid" in found.reason
        away = np.divide(np.subtract(found.shift, (down / 4, along / 4)), found.sigma)
        assert np.abs(away).max() < 2.5


def test_sigma_of_what_a_pattern_pulled_says_how_well_it_was_taken_out(fine) -> None:
    rng = np.random.default_rng(8)
    parts = []
    for kind, down, along in zip(
        ["drift", "askew"] * 5, rng.integers(-16, 17, 10), rng.integers(-16, 17, 10), strict=True
    ):
        pattern = 0.15 * patterns(kind)
        found = estimate((cut(fine, 16, 16) + pattern, cut(fine, 16 + down, 16 + along) + pattern))
        if found.shift is not None:
            assert found.sigma is not None
            parts.append(np.divide(np.subtract(found.shift, (down / 4, along / 4)), found.sigma))
    assert len(parts) >= 6
    assert 0.4 < np.sqrt(np.mean(np.square(parts))) < 1.8


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("share", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("fixed", [True, False])
def test_stripes_do_not_pull(pair, axis: int, share: float, fixed: bool) -> None:
    rng = np.random.default_rng(axis)
    form = (SIZE, 1) if axis == 0 else (1, SIZE)
    first, other = share * rng.standard_normal((2, *form))
    assert off(estimate((pair[0] + first, pair[1] + (first if fixed else other)))) < 0.01


@pytest.mark.parametrize("value", [0.0, 9.0])
def test_dead_columns_and_rows_do_not_pull(pair, value: float) -> None:
    images = [image.copy() for image in pair]
    for image in images:
        image[:, 7::23] = value
        image[11::41] = value
    assert off(estimate((images[0], images[1]))) < 0.01


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("every", [4, 5])
@pytest.mark.parametrize("value", [0.0, 30.0])
def test_lines_that_are_dead_all_over_both_scenes_do_not_pull(
    fine, every: int, axis: int, value: float
) -> None:
    images = []
    for top, left in ((8, 8), (14, 4)):
        image = cut(fine, top, left)
        (image if axis == 0 else image.T)[1::every] = value
        images.append(image)
    found = estimate((images[0], images[1]))
    assert found.shift is not None, found.reason
    assert found.sigma is not None
    error = np.subtract(found.shift, (1.5, -1.0))
    assert np.abs(error).max() < 0.1
    assert np.abs(np.divide(error, found.sigma)).max() < 3


@pytest.mark.parametrize("ratio", [0.95, 0.9, 0.8, 0.67])
@pytest.mark.parametrize("down", [0, 1])
def test_sigma_knows_of_lines_that_repeat(fine, ratio: float, down: int) -> None:
    lines = np.floor((np.arange(SIZE) + 0.5) * ratio).astype(int)
    columns = lines if down else np.arange(SIZE)
    images = [cut(fine, top, left)[np.ix_(lines, columns)] for top, left in ((8, 8), (14, 4))]
    found = estimate((images[0], images[1]))
    assert found.shift is not None, found.reason
    assert found.sigma is not None
    assert found.sigma.y > 0.04
    assert (found.sigma.x > 0.04) or not down
    error = np.subtract(found.shift, (1.5 / ratio, -1 / (ratio if down else 1)))
    assert np.abs(np.divide(error, found.sigma)).max() < 3


def patterns(kind: str) -> NDArray[np.float32]:
    """What stays on the pixel grid, deviation 1."""
    rng = np.random.default_rng(5)
    if kind == "noise":
        return rng.standard_normal((SIZE, SIZE)).astype(np.float32)
    if kind == "drift":  # gains that change along their columns
        form = gaussian_filter1d(rng.standard_normal((SIZE, SIZE)), 12, axis=0)
        return (form / form.std()).astype(np.float32)
    gains = rng.standard_normal(2 * SIZE)
    askew = np.arange(SIZE)[None] + (0.1 * np.arange(SIZE)[:, None]).astype(int)
    return gains[askew].astype(np.float32)


@pytest.mark.parametrize("share", [0.15, 0.4])
@pytest.mark.parametrize("kind", ["noise", "drift", "askew"])
def test_what_levelling_leaves_is_taken_out(pair, kind: str, share: float) -> None:
    pattern = share * patterns(kind)
    found = estimate((pair[0] + pattern, pair[1] + pattern))
    assert "stays on the pixel grid" in found.reason
    if (kind, share) == ("noise", 0.4):
        assert found.shift is None
        return
    assert found.sigma is not None
    assert off(found) < 0.03
    assert off(found) < 3.5 * float(np.hypot(*found.sigma))


@pytest.mark.parametrize("kind", ["noise", "drift", "askew"])
def test_the_content_of_windows_is_found_beside_a_pattern(pair, kind: str) -> None:
    first, second = (image + 0.5 * patterns(kind) for image in pair)
    cuts = [(slice(y, y + 72), slice(x, x + 72)) for y in range(0, 226, 56) for x in range(0, 226, 56)]
    one, two = (
        high_pass(np.stack([image[cut] for cut in cuts]), np.ones((25, 72, 72), bool))
        for image in (first, second)
    )
    found = unheld(one, two, np.ones(one.shape, bool), 8)
    assert found is not None
    assert np.hypot(*(found.away - TRUTH)) < 0.08
    assert max(found.sigma) < 0.08
    assert not found.blocky


@pytest.mark.parametrize("share", [0.05, 0.12, 0.25, 0.36])
def test_lone_pixels_masked(pair, share: float) -> None:
    first, second = np.random.default_rng(4).random((2, SIZE, SIZE)) > share
    assert off(estimate(pair, (first, second))) < 0.03


@pytest.mark.parametrize(("gap", "period"), [(3, 15), (6, 33), (10, 33)])
def test_lines_masked_in_both(pair, gap: int, period: int) -> None:
    y, x = np.mgrid[:SIZE, :SIZE]
    place = y + 0.15 * x
    masks = place % period >= gap, (place + period / 2) % period >= gap
    assert off(estimate(pair, masks)) < 0.03


def test_what_is_masked_among_gaps_is_never_looked_at(pair) -> None:
    mask = np.random.default_rng(4).random((SIZE, SIZE)) > 0.2
    loud = pair[1] + np.where(mask, 0, 1e4).astype(np.float32)
    whole = np.ones((SIZE, SIZE), bool)
    assert estimate((pair[0], loud), (whole, mask)).shift == estimate(pair, (whole, mask)).shift


def test_filling_keeps_what_is_usable() -> None:
    rng = np.random.default_rng(0)
    image, usable = rng.normal(size=(1, 40, 40)).astype(np.float32), rng.random((1, 40, 40)) > 0.3
    filled = image.copy()
    fill(filled, usable)
    np.testing.assert_array_equal(filled[usable], image[usable])


def test_reasons_tell_flat_masked_and_interleaved_apart(pair) -> None:
    whole, none = np.ones((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    apart = none.copy()
    apart[::9, ::9] = True
    flat = np.full((SIZE, SIZE), 5, np.float32)
    assert "it is flat" in estimate((pair[0], flat)).reason
    assert "none of its pixels is usable" in estimate(pair, (whole, none)).reason
    assert "lie apart" in estimate(pair, (whole, apart)).reason


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("down", [1, 2])
def test_gaps_between_all_neighbours_are_named(pair, down: int, both: bool) -> None:
    whole, apart = np.ones((SIZE, SIZE), bool), np.zeros((SIZE, SIZE), bool)
    apart[::down, ::3] = True
    reason = estimate(pair, (apart if both else whole, apart)).reason
    assert ("anchor" if both else "item") in reason
    assert "usable pixels lie apart, with gaps" in reason


# --- the score and patterns


def assessed(images: tuple[NDArray[np.float32], NDArray[np.float32]], **options: object) -> ItemQuality:
    whole = np.ones((SIZE, SIZE), bool)
    anchor, item = (
        MatchPixels(source=ArraySource(values=image[None].astype(np.float32), usable=whole), valid=whole)
        for image in images
    )
    return assess(prepare(anchor), item, MatchOptions(bands=(0,), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("estimator", ["coregstack", "phase"])
@pytest.mark.parametrize("kind", ["columns", "rows", "dead"])
def test_a_pattern_that_stays_is_no_likeness(pair, kind: str, estimator: str) -> None:
    rng = np.random.default_rng(4)
    if kind == "dead":
        lines = rng.choice(SIZE, 20, replace=False)
        images = tuple(image.copy() for image in pair)
        for image in images:
            image[:, lines] = 5 * pair[0].max()
    else:
        stripes = 0.4 * rng.standard_normal((1, SIZE) if kind == "columns" else (SIZE, 1))
        images = tuple(image + stripes for image in pair)
    whole = assessed(pair, estimator=estimator)
    assert "pattern" not in whole.details
    found = assessed(images, estimator=estimator, threshold=0.8)
    assert found.status == "coregistered"
    assert found.before is not None
    assert found.before < 0.8
    assert "pattern that stays on the pixel grid" in found.details
    assert found.shift is not None
    assert np.hypot(found.shift.y - TRUTH[0], found.shift.x - TRUTH[1]) < 0.03


def test_what_lies_on_the_anchor_stays_there_under_a_pattern(pair) -> None:
    rng = np.random.default_rng(5)
    stripes = 0.6 * rng.standard_normal((1, SIZE))
    noisy = pair[0] + 0.05 * rng.standard_normal((SIZE, SIZE))
    found = assessed((pair[0] + stripes, noisy + stripes))
    assert found.status == "already_aligned"
    assert "counted" not in found.details
