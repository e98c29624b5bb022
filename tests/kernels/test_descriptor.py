"""Descriptors tell scenes apart, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from coregstack.kernels.descriptor import describe, similarity


def landscape(seed: int, size: int = 240) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return sum(gaussian_filter(rng.normal(size=(size, size)), s) * s for s in (1, 2, 4, 8, 16))


EVERYWHERE = np.ones((240, 240), bool)


def alike(first, second) -> float:
    return float(similarity(np.stack([first.texture, second.texture]))[0, 1])


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (3, 100), (-2, 7)])
def test_gain_of_either_sign_does_not_matter(gain, offset):
    image = landscape(0)
    first, second = describe(image, EVERYWHERE), describe(gain * image + offset, EVERYWHERE)
    assert alike(first, second) == pytest.approx(1, abs=1e-4)
    assert second.sharpness == pytest.approx(first.sharpness, rel=1e-6)


def test_same_place_under_cloud_noise_and_shift_is_more_alike_than_another_place():
    rng = np.random.default_rng(5)
    image = landscape(1)
    clear = gaussian_filter(rng.normal(size=image.shape), 20) > 0
    clouded = np.where(clear, np.roll(image, (1, -1), (0, 1)), 50 * landscape(9))
    noisy = clouded + 0.3 * image.std() * rng.normal(size=image.shape)
    same = alike(describe(image, EVERYWHERE), describe(noisy, clear))
    other = alike(describe(image, EVERYWHERE), describe(landscape(2), EVERYWHERE))
    assert same > 0.5
    assert abs(other) < 0.15


def test_blur_lowers_sharpness():
    image = landscape(3)
    blurred = describe(gaussian_filter(image, 1.5), EVERYWHERE)
    assert blurred.sharpness < 0.8 * describe(image, EVERYWHERE).sharpness


def test_masked_pixels_are_not_seen():
    image, clear = landscape(4), EVERYWHERE.copy()
    clear[:100] = False
    spoiled = image.copy()
    spoiled[:100] = np.nan
    first, second = describe(image, clear), describe(spoiled, clear.astype(float))
    np.testing.assert_array_equal(first.texture, second.texture)
    assert first.sharpness == second.sharpness
    assert first.clear == pytest.approx(140 / 240)
    assert not first.texture.reshape(48, 48)[:19].any()


@pytest.mark.parametrize("shape", [(0, 0), (1, 5), (2, 2), (7, 300), (20, 20)])
def test_small_images(shape):
    seen = describe(np.zeros(shape), np.ones(shape, bool))
    assert seen.sharpness == 0
    assert not seen.texture.any()


def test_nothing_in_common_is_unknown_similarity():
    first, second = np.zeros(100), np.zeros(100)
    first[:50], second[50:] = 1, 1
    assert np.isnan(similarity(np.stack([first, second]))[0, 1])
